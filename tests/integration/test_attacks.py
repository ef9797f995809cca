#!/usr/bin/python3
"""Attacks on the gRPC ports that must fail: another identity's calls are answered meanwhile, and afterwards the service
serves. No figure of time decides."""
import itertools
import os
import resource
import socket
import subprocess
import sys
import time
import unittest

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import h2  # noqa: E402
from test_roles import TABLE, Estate, call  # noqa: E402

STATUS = {"hsm": "/posward.hsm.v1.DataPlane/GetStatus", "posp": "/posward.posp.v1.Operations/GetStatus",
          "hsm_control": "/posward.hsm.v1.Control/GetStatus", "posv": "/posward.posv.v1.Registry/GetStatus", "bank": "/posward.business.v1.Business/GetStatus"}
SECONDS = 3  # of a flood
OF_EACH_KIND = ("hold", "reset", "continuation_full", "settings")  # the code is the same for every port
ATTACKERS = ("monitor", "auditor", "issuer")  # in turn: whose flood was closed makes no new connection for a while
PATIENCE_S = 60
SILENT = 1100


def silent_connections(port, count):
    """Peers that connect and say nothing."""
    found = []
    for _ in range(count):
        try:
            found.append(socket.create_connection(("127.0.0.1", int(port)), timeout=10))
        except OSError:
            break
    return found


def daemon_of(service):
    return service.removesuffix("_control")


class Attacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * SILENT)), hard))
        cls.estate = Estate()
        cls.addClassCleanup(cls.estate.drop)
        cls.estate.tool("start")

    def closed(self, service, reason):
        """Connections that a port closed, for this reason."""
        plane = {"hsm": ',plane="data"', "hsm_control": ',plane="control"'}.get(service, "")
        name = f'posward_rpc_connections_closed_total{{reason="{reason}"{plane}}}'
        return self.estate.metric(daemon_of(service), name)

    def log(self, service):
        return self.estate.log(daemon_of(service))

    def served(self, service, who="operator"):
        """On a new connection, of which the first may be closed with the attacker's."""
        until = time.monotonic() + PATIENCE_S
        while True:
            with self.estate.channel(service, who) as channel:
                try:
                    channel.unary_unary(STATUS[service])(b"", timeout=PATIENCE_S, wait_for_ready=True)
                    return True
                except grpc.RpcError as failure:
                    if failure.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                        return f"{failure.code()} {failure.details()}"

    def flood(self, service, who, name, path):
        pki = self.estate.pki
        return subprocess.Popen([sys.executable, h2.__file__, name, self.estate.port(service), path, str(SECONDS), "4",
                                 f"{pki}/ca.pem", f"{pki}/{who}.pem", f"{pki}/{who}.key"],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def fail_to_stop(self, service, who, name, path):
        """A flood that does not keep an operator from calling on a connection that was there before."""
        with self.estate.channel(service, "operator") as channel:
            method = channel.unary_unary(STATUS[service])
            method(b"", timeout=PATIENCE_S)
            attacker = self.flood(service, who, name, path)
            answered = 0
            while attacker.poll() is None:
                method(b"", timeout=PATIENCE_S)
                answered += 1
            self.assertGreater(answered, 0)
            method(b"", timeout=PATIENCE_S)
        out = attacker.communicate()[0]
        self.assertEqual(attacker.returncode, 0, out)
        self.assertIs(True, self.served(service))
        return int(out)

    def test_floods_stop_nobody(self):
        for service, floods in (("hsm", h2.FLOODS), ("hsm_control", OF_EACH_KIND), ("posv", OF_EACH_KIND)):
            for name, who in zip(floods, itertools.cycle(ATTACKERS)):
                with self.subTest(service=service, flood=name, attacker=who):
                    self.fail_to_stop(service, who, name, STATUS[service])
            self.assertGreater(self.closed(service, "flood"), 0)

    def once_there_is_room(self, channel):
        """Its own flood holds the identity's share of calls until it is unwound."""
        until = time.monotonic() + PATIENCE_S
        while (code := call(channel, STATUS["hsm"])[0]) == grpc.StatusCode.RESOURCE_EXHAUSTED and time.monotonic() < until:
            time.sleep(0.1)
        return code

    def test_who_floods_makes_no_new_connection_for_a_while(self):
        with self.estate.channel("hsm", "monitor") as early:
            self.assertEqual(call(early, STATUS["hsm"])[0], grpc.StatusCode.OK)
            attacker = self.flood("hsm", "monitor", "hold", STATUS["hsm"])
            heard = set()
            while attacker.poll() is None:
                with self.estate.channel("hsm", "monitor") as late:
                    heard.add(call(late, STATUS["hsm"])[0])
            self.assertEqual(attacker.returncode, 0, attacker.communicate()[0])
            self.assertIn(grpc.StatusCode.UNAVAILABLE, heard)
            self.assertEqual(self.once_there_is_room(early), grpc.StatusCode.OK)  # a connection that floods nothing stays
            self.assertIs(True, self.served("hsm"))
            self.assertIs(True, self.served("hsm", "monitor"))  # waits until it may

    def test_a_certificate_without_a_role_floods_nothing(self):
        def audit_bytes():
            return sum(os.path.getsize(f"{folder}/{name}") for folder, _, names in os.walk(self.estate.dir)
                       for name in names if "audit" in folder)
        before, refused = audit_bytes(), self.estate.metric("hsm", "posward_tls_peers_refused_total")
        denied = [line for line in self.estate.page("hsm").splitlines() if line.startswith("posward_refusals_total")]
        for name in ("hold", "reset"):
            self.fail_to_stop("hsm", "stranger", name, "/posward.hsm.v1.DataPlane/Echo")
        self.assertGreater(self.estate.metric("hsm", "posward_tls_peers_refused_total"), refused)
        after = [line for line in self.estate.page("hsm").splitlines() if line.startswith("posward_refusals_total")]
        self.assertEqual(after, denied)
        self.assertLess(audit_bytes() - before, 1 << 20)  # checkpoints and the operator's calls, no refusals

    def test_silent_connections_lock_nobody_out(self):
        for service in TABLE:
            with self.subTest(service=service), self.estate.channel(service, "operator") as early:
                self.assertEqual(call(early, STATUS[service])[0], grpc.StatusCode.OK)
                silent = silent_connections(self.estate.port(service), SILENT)
                self.assertEqual(len(silent), SILENT)
                self.addCleanup(lambda peers=silent: [peer.close() for peer in peers])
                until = time.monotonic() + PATIENCE_S
                while self.closed(service, "limit") == 0:
                    self.assertLess(time.monotonic(), until)
                    time.sleep(0.05)
                self.assertEqual(call(early, STATUS[service])[0], grpc.StatusCode.OK)
                self.assertIs(True, self.served(service))
                for peer in silent:
                    peer.close()
                self.assertIs(True, self.served(service))
                self.assertGreater(self.closed(service, "limit"), 0)

    def pid(self, service):
        return int(self.estate.read(f"run/{daemon_of(service)}.pid"))

    def test_without_descriptors_a_service_ends_in_order_and_serves_after_its_start(self):
        for service in TABLE:
            with self.subTest(service=service):
                pid = self.pid(service)
                used = len(os.listdir(f"/proc/{pid}/fd"))
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
                silent = silent_connections(self.estate.port(service), 200)
                until = time.monotonic() + PATIENCE_S
                while self.runs(pid):
                    self.assertLess(time.monotonic(), until, self.log(service)[-2000:])
                    time.sleep(0.05)
                for peer in silent:
                    peer.close()
                self.assertRegex(self.log(service), "no more connections are accepted; the process ends")
                self.assertRegex(self.log(service), "error .*failed.*accepting a connection failed")
                self.estate.tool("stop", daemon_of(service))
                self.estate.tool("start", daemon_of(service))
                self.assertIs(True, self.served(service))

    @staticmethod
    def runs(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False


if __name__ == "__main__":
    unittest.main()
