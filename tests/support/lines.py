"""A courier between two programs whose frames begin with a length of two bytes, big-endian: terminals and POSP,
readers and cards. It tells a listener what passes, and can hold a frame back or change it."""
import socket
import struct
import threading


def exactly(line, count):
    data = b""
    while len(data) < count:
        part = line.recv(count - len(data))
        if not part:
            return None
        data += part
    return data


class Courier:
    """`seen(to_target, frame)` is called before a frame goes on; as long as it waits, the frame does. What it gives, of
    the same length, goes on instead; None: the frame."""

    def __init__(self, target, seen):
        self.target, self.seen = target, seen
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            host, port = self.target.rsplit(":", 1)
            far = socket.create_connection((host, int(port)))
            for source, destination, to_target in ((near, far, True), (far, near, False)):
                threading.Thread(target=self.carry, args=(source, destination, to_target), daemon=True).start()

    def carry(self, source, destination, to_target):
        try:
            while True:
                head = exactly(source, 2)
                body = head and exactly(source, struct.unpack(">H", head)[0])
                if body is None:
                    break
                changed = self.seen(to_target, body)
                destination.sendall(head + (body if changed is None else changed))
        except OSError:
            pass
        for line in (source, destination):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
