#!/usr/bin/python3
"""deploy/haproxy in front of the HSM service: callers keep their identities, nobody names himself, floods end at the proxy.

Skipped without haproxy."""
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import h2  # noqa: E402
from estate import free_port  # noqa: E402
from test_roles import HEALTH, SOURCE, Estate, call  # noqa: E402

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
HEADER = "x-posward-client-identity"
GET_STATUS, LIST_KEYS = "/posward.hsm.v1.Control/GetStatus", "/posward.hsm.v1.Control/ListKeys"
FLOOD_SECONDS = 3
PATIENCE_S = 60


class Proxy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate()
        cls.addClassCleanup(cls.estate.drop)
        pki = cls.estate.pki
        subprocess.run([f"{SOURCE}/deploy/pki", pki, "proxy", "front"], check=True)
        for name, of in (("proxy-front", "front"), ("proxy-back", "proxy")):
            with open(f"{pki}/{name}.pem", "wb") as file:
                file.write(cls.estate.read(f"pki/{of}.pem") + cls.estate.read(f"pki/{of}.key"))
        cls.estate.edit("hsm", r"\Z", "trusted_proxy: spiffe://posward/proxy\n")
        cls.estate.tool("start", "hsm")
        cls.port = free_port()
        map_path = f"{cls.estate.dir}/identities.map"
        shutil.copy(f"{SOURCE}/deploy/haproxy/identities.map", map_path)
        environment = {**os.environ, "POSWARD_FRONT_HSM": f"127.0.0.1:{cls.port}", "POSWARD_PKI": pki,
                       "POSWARD_BACK_HSM": f"127.0.0.1:{cls.estate.port('hsm_control')}", "POSWARD_PROXY_MAP": map_path}
        cls.haproxy = subprocess.Popen([HAPROXY, "-db", "-f", f"{SOURCE}/deploy/haproxy/haproxy.cfg"], env=environment)
        cls.addClassCleanup(cls.end_haproxy)
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", cls.port), timeout=5).close()
                break
            except OSError:
                assert cls.haproxy.poll() is None and time.monotonic() < until, "haproxy does not listen"
                time.sleep(0.05)

    @classmethod
    def end_haproxy(cls):
        cls.haproxy.kill()
        cls.haproxy.wait()

    def channel(self, who, port=None):
        pki = "pki"
        credentials = grpc.ssl_channel_credentials(*(self.estate.read(f"{pki}/{name}") for name in
                                                     ("ca.pem", f"{who}.key", f"{who}.pem")))
        return grpc.secure_channel(f"localhost:{port or self.port}", credentials, [("grpc.use_local_subchannel_pool", 1)])

    def test_callers_keep_their_identities(self):
        with self.channel("operator") as operator, self.channel("monitor") as monitor:
            self.assertEqual(call(operator, LIST_KEYS)[0], grpc.StatusCode.OK)
            self.assertEqual(call(monitor, GET_STATUS)[0], grpc.StatusCode.OK)
            code, note = call(monitor, LIST_KEYS)
            self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
            self.assertIn("spiffe://posward/monitor", note)

    def test_who_is_not_in_the_map_is_refused(self):
        with self.channel("stranger") as stranger:
            self.assertEqual(call(stranger, HEALTH)[0], grpc.StatusCode.PERMISSION_DENIED)

    def names_itself(self, channel, identity):
        try:
            channel.unary_unary(LIST_KEYS)(b"", timeout=20, metadata=[(HEADER, identity)])
            return grpc.StatusCode.OK
        except grpc.RpcError as failure:
            return failure.code()

    def test_nobody_names_himself(self):
        operator = "spiffe://posward/operator"
        with self.channel("monitor") as proxied, self.channel("monitor", self.estate.port("hsm_control")) as direct:
            self.assertEqual(self.names_itself(proxied, operator), grpc.StatusCode.PERMISSION_DENIED)
            self.assertEqual(self.names_itself(direct, operator), grpc.StatusCode.PERMISSION_DENIED)

    def test_the_proxy_alone_is_nobody(self):
        with self.channel("proxy", self.estate.port("hsm_control")) as proxy:
            self.assertEqual(call(proxy, GET_STATUS)[0], grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(self.names_itself(proxy, "spiffe://posward/operator"), grpc.StatusCode.OK)
            for name in ("spiffe://posward/nobody", "with space", "x" * 3000):
                self.assertNotEqual(self.names_itself(proxy, name), grpc.StatusCode.OK)
            try:
                proxy.unary_unary(GET_STATUS)(b"", timeout=20, metadata=[(HEADER, "spiffe://posward/operator")] * 2)
                self.fail("two names")
            except grpc.RpcError as failure:
                self.assertEqual(failure.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_floods_end_at_the_proxy(self):
        pki = self.estate.pki
        for name in h2.FLOODS:
            with self.subTest(flood=name), self.channel("operator") as operator:
                method = operator.unary_unary(GET_STATUS)
                attacker = subprocess.Popen([sys.executable, h2.__file__, name, str(self.port), GET_STATUS,
                                             str(FLOOD_SECONDS), "4", f"{pki}/ca.pem", f"{pki}/monitor.pem",
                                             f"{pki}/monitor.key"])
                answered = 0
                while attacker.poll() is None:
                    method(b"", timeout=PATIENCE_S, wait_for_ready=True)
                    answered += 1
                self.assertGreater(answered, 0)
                self.assertEqual(call(operator, GET_STATUS, PATIENCE_S)[0], grpc.StatusCode.OK)


if __name__ == "__main__":
    if HAPROXY is None:
        print("haproxy is not installed: skipped")
        sys.exit(77)
    unittest.main()
