#!/usr/bin/python3
"""A gRPC client that is not ours, and peers that are no clients at all, against the Echo server.

Everything the client knows comes through server reflection: no generated stubs."""
import os
import random
import socket
import subprocess
import threading
import unittest

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVER = os.path.join(os.environ["POSWARD_BUILD"], "tests/bin/test_echo_server")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def text_field(number, text):
    raw = text.encode()
    return varint(number << 3 | 2) + varint(len(raw)) + raw


class Server:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([SERVER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        """Counts of the server, which must end by itself and in order."""
        out, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, self.process.returncode
        return dict((k, int(v)) for k, v in (item.split("=") for item in out.split()))


class Reflected:
    """The messages of a service, by asking the server for its descriptors."""

    def __init__(self, channel, version):
        self.ask = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        self.pool = descriptor_pool.DescriptorPool()
        self.factory = message_factory.MessageFactory(self.pool)

    def load(self, symbol):
        (answer,) = list(self.ask(iter([text_field(4, symbol)]), timeout=5))
        for raw in reversed(self.files(answer)):
            self.pool.AddSerializedFile(raw)
        return self

    @staticmethod
    def files(answer):
        """file_descriptor_response (4) . file_descriptor_proto (1): fields by hand, as this is the bootstrap."""
        def fields(data):
            at = 0
            while at < len(data):
                key, at = Reflected.read_varint(data, at)
                if key & 7 == 0:
                    _, at = Reflected.read_varint(data, at)
                    continue
                size, at = Reflected.read_varint(data, at)
                yield key >> 3, data[at:at + size]
                at += size
        return [inner for number, value in fields(answer) if number == 4 for _, inner in fields(value)]

    @staticmethod
    def read_varint(data, at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 0x80:
                return value, at

    def type(self, name):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(name))


class Foreign(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")

    def tearDown(self):
        self.channel.close()
        if self.server.process.poll() is None:
            self.assertEqual(self.server.stop()["in_flight"], 0)

    def service(self, version="v1"):
        reflected = Reflected(self.channel, version).load("posward.test.v1.Echo")
        request, response = (reflected.type("posward.test.v1.Echo" + end) for end in ("Request", "Response"))

        def method(kind, name):
            return getattr(self.channel, kind)("/posward.test.v1.Echo/" + name,
                                               request_serializer=request.SerializeToString,
                                               response_deserializer=response.FromString)
        return request, method

    def test_calls_of_each_kind_through_either_reflection(self):
        for version in ("v1", "v1alpha"):
            request, method = self.service(version)
            self.assertEqual(method("unary_unary", "Say")(request(text="你好"), timeout=5).text, "你好")
            stream = method("unary_stream", "Count")(request(count=50), timeout=5)
            self.assertEqual([m.number for m in stream], list(range(50)))
            talk = method("stream_stream", "Talk")(iter([request(text=str(i)) for i in range(30)]), timeout=5)
            self.assertEqual([m.text for m in talk], [str(i) for i in range(30)])
            method("stream_unary", "Gather")(iter([request()] * 5), timeout=5)

    def fails(self, call, code, *words):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        for word in words:
            self.assertIn(word, caught.exception.details())

    def test_failures_are_precise(self):
        request, method = self.service()
        say = method("unary_unary", "Say")
        raw = self.channel.unary_unary
        self.fails(lambda: say(request(text="密钥 50%", fail_class=2), timeout=5), grpc.StatusCode.PERMISSION_DENIED,
                   "密钥 50%")
        self.fails(lambda: raw("/posward.test.v1.Echo/Nope")(b"", timeout=5), grpc.StatusCode.UNIMPLEMENTED,
                   "/posward.test.v1.Echo/Nope")
        self.fails(lambda: raw("/" + "x" * 1000)(b"", timeout=5), grpc.StatusCode.UNIMPLEMENTED)
        self.fails(lambda: raw("/posward.test.v1.Echo/Say")(b"\xff\xff", timeout=5),
                   grpc.StatusCode.INVALID_ARGUMENT, "posward.test.v1.EchoRequest")
        self.fails(lambda: say(request(text="x" * 200000), timeout=5), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.fails(lambda: self.channel.stream_unary("/posward.test.v1.Echo/Say")(iter([]), timeout=5),
                   grpc.StatusCode.INVALID_ARGUMENT, "no message")
        self.fails(lambda: say(request(delay_ms=1000), timeout=0.2), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.fails(lambda: say(request(text="x"), timeout=5, compression=grpc.Compression.Gzip),
                   grpc.StatusCode.UNIMPLEMENTED)

    def test_requests_of_every_kind_of_call_are_checked_for_form(self):
        """text twice, behind a message that is in form where the call takes several."""
        good, twice = text_field(1, "a"), text_field(1, "a") + text_field(1, "b")
        method = "/posward.test.v1.Echo/"
        for call in (lambda: self.channel.unary_unary(method + "Say")(twice, timeout=5),
                     lambda: next(self.channel.unary_stream(method + "Count")(twice, timeout=5)),
                     lambda: self.channel.stream_unary(method + "Gather")(iter([good, twice]), timeout=5),
                     lambda: list(self.channel.stream_stream(method + "Talk")(iter([good, twice]), timeout=5))):
            self.fails(call, grpc.StatusCode.INVALID_ARGUMENT, "text stands twice")

    def test_every_cut_of_a_request_is_answered(self):
        request, _ = self.service()
        whole = request(text="some text", delay_ms=0, fill_bytes=3, filling=b"12345").SerializeToString()
        say = self.channel.unary_unary("/posward.test.v1.Echo/Say")
        for end in range(len(whole)):
            try:
                say(whole[:end], timeout=5)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_message_that_unpacks_to_too_much_is_refused(self):
        say = self.channel.unary_unary("/posward.test.v1.Echo/Say")
        unknown_field = varint(100 << 3) + b"\0"  # 3 bytes on the wire, about 100 in memory
        say(unknown_field * 1000, timeout=5)
        self.fails(lambda: say(unknown_field * 40000, timeout=5), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_cancelled_streams_leave_nothing(self):
        request, method = self.service()
        for _ in range(100):
            stream = method("unary_stream", "Count")(request(count=0))
            next(stream)
            stream.cancel()

    def raw_socket(self):
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=5)

    def test_peers_that_speak_no_grpc_do_no_harm(self):
        dice = random.Random(20261123)
        openings = [b"", PREFACE, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE + b"\0\0\0\4\0\0\0\0\0",
                    PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\xff\xff\xff\1\4\0\0\0\1"]
        for i in range(300):
            with self.raw_socket() as peer:
                junk = bytes(dice.randrange(256) for _ in range(dice.randrange(200)))
                try:
                    peer.sendall(openings[i % len(openings)] + junk)
                except OSError:
                    pass
        request, method = self.service()
        self.assertEqual(method("unary_unary", "Say")(request(text="alive"), timeout=5).text, "alive")

    def test_connections_cut_in_the_middle_of_calls_leave_nothing(self):
        """A proxy of ours between client and server, which drops everything at once, again and again."""
        for round_number in range(10):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                ends = []
                pump_threads = []

                def pump(source, sink):
                    try:
                        while data := source.recv(65536):
                            sink.sendall(data)
                    except OSError:
                        pass

                def accept():
                    try:
                        near, _ = listener.accept()
                    except OSError:
                        return
                    far = self.raw_socket()
                    ends.extend((near, far))
                    for pair in ((near, far), (far, near)):
                        pump_threads.append(threading.Thread(target=pump, args=pair, daemon=True))
                        pump_threads[-1].start()
                acceptor = threading.Thread(target=accept, daemon=True)
                acceptor.start()
                options = [("grpc.use_local_subchannel_pool", 1), ("round", round_number)]
                with grpc.insecure_channel(f"127.0.0.1:{listener.getsockname()[1]}", options) as channel:
                    futures = [channel.unary_unary("/posward.test.v1.Echo/Say").future(
                        varint(2 << 3) + varint(50), timeout=5) for _ in range(20)]
                    streams = [channel.unary_stream("/posward.test.v1.Echo/Count")(varint(2 << 3) + varint(20))
                               for _ in range(5)]
                    for stream in streams:
                        next(stream)
                    for end in ends:
                        end.shutdown(socket.SHUT_RDWR)
                        end.close()
                    for future in futures:
                        future.exception()
        request, method = self.service()
        self.assertEqual(method("unary_unary", "Say")(request(text="alive"), timeout=5).text, "alive")


class Tls(unittest.TestCase):
    def test_mutual_tls_identity_reaches_the_handler(self):
        import tempfile
        with tempfile.TemporaryDirectory() as where:
            make = """set -e
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
            for who in server client; do
              openssl req -newkey rsa:2048 -nodes -subj /CN=$who -keyout $who.key -out $who.csr
              echo "subjectAltName=DNS:localhost,URI:spiffe://posward.test/$who" >ext
              openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.pem
            done"""
            subprocess.run(["bash", "-c", make], cwd=where, check=True, capture_output=True)

            def path(name):
                return os.path.join(where, name)

            def content(name):
                with open(path(name), "rb") as file:
                    return file.read()
            server = Server(path("ca.pem"), path("server.pem"), path("server.key"))
            credentials = grpc.ssl_channel_credentials(content("ca.pem"), content("client.key"),
                                                       content("client.pem"))
            with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
                reflected = Reflected(channel, "v1").load("posward.test.v1.Echo")
                raw = channel.unary_unary("/posward.test.v1.Echo/Say")(b"", timeout=5)
                self.assertEqual(reflected.type("posward.test.v1.EchoResponse").FromString(raw).identity,
                                 "spiffe://posward.test/client")
            self.assertEqual(server.stop()["in_flight"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
