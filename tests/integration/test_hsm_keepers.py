#!/usr/bin/python3
"""Keepers die, hang, retire and are replaced; callers do not notice, or hear the reason."""
import fcntl
import os
import re
import signal
import time
import unittest
import urllib.request

import grpc

from hsm_estate import Estate, Load, hsm, types
from estate import load_stubs

keys, key_stubs = load_stubs("hsm/keys")

DATA = os.urandom(64)


def read(path):
    with open(path) as f:
        return f.read()


class Keepers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate("softhsm")

    @classmethod
    def tearDownClass(cls):
        cls.estate.drop()

    def start(self, **keepers):
        self.estate.write_config(keepers=keepers)
        self.estate.start()
        self.addCleanup(self.end)
        self.zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        return self.estate

    def end(self):
        if self.estate.process is not None:
            self.assertEqual(self.estate.stop(), 0)

    def mac(self, timeout=30):
        return self.estate.data.GenerateMac(hsm.GenerateMacRequest(
            key=self.zone, algorithm=hsm.MAC_ALGORITHM_X9_19, data=DATA), timeout=timeout).mac

    def health(self):
        ask = self.estate.channel.unary_unary("/grpc.health.v1.Health/Check")
        return ask(b"", timeout=10)

    def wait_health(self, answer):
        until = time.monotonic() + 20
        while self.health() != answer:
            self.assertLess(time.monotonic(), until, self.estate.log())
            time.sleep(0.05)

    def test_killed_keepers_cost_no_call(self):
        estate = self.start(count=2)
        estate.wait_keepers(2)
        expected = self.mac()
        load = Load(lambda: self.assertEqual(self.mac(), expected))
        for deadly in (signal.SIGKILL, signal.SIGABRT) * 4:
            estate.wait_keepers(2)
            os.kill(estate.keeper_pids()[0], deadly)
            time.sleep(0.25)
        estate.wait_log("(?s)(keeper lost.*){8}")
        estate.wait_keepers(2)
        load.stop()
        self.assertEqual(load.failures, [])
        self.assertGreater(load.done, 100)
        self.assertEqual(estate.status().keeper_restarts, 8)

    def test_all_keepers_killed_at_once_cost_no_call(self):
        estate = self.start(count=2)
        estate.wait_keepers(2)
        load = Load(self.mac)
        for _ in range(3):
            time.sleep(0.3)
            estate.wait_keepers(2)
            for pid in estate.keeper_pids():
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        estate.wait_keepers(2)
        load.stop()
        self.assertEqual(load.failures, [])

    def test_operators_are_answered_while_all_keepers_have_their_hands_full(self):
        self.estate.write_config(keepers={"count": 1, "sessions": 1}, keymgmt={"path": f"{self.estate.dir}/keymgmt.db"})
        self.estate.start()
        self.addCleanup(self.end)
        self.zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        manage = key_stubs.KeyManagementStub(self.estate.control_channel)
        name = hsm.KeyName(role="psam-master", suite="tdes", version=1)
        load = Load(self.mac, clients=12)
        try:
            for _ in range(60):
                self.assertEqual(manage.GetKey(keys.GetKeyRequest(key=name), timeout=30).key.version, 1)
        finally:
            load.stop()
        self.assertEqual(load.failures, [])
        self.assertGreater(load.done, 0)

    def test_a_hung_keeper_is_replaced(self):
        estate = self.start(count=2, hang_ms=500)
        estate.wait_keepers(2)
        load = Load(self.mac)
        time.sleep(0.2)
        stopped = estate.keeper_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        estate.wait_log(rf"keeper lost .*pid={stopped} .*hung")
        estate.wait_keepers(2)
        load.stop()
        self.assertEqual(load.failures, [])
        self.assertNotIn(stopped, estate.keeper_pids())

    def test_a_call_that_hangs_two_keepers_is_given_up(self):
        estate = self.start(count=1, hang_ms=20)
        keys = [hsm.WorkingKeySpec(usage=usage) for usage in (1, 2, 3)]
        item = hsm.BatchItem(generate_working_keys=hsm.GenerateWorkingKeysRequest(
            psam_number="1234567890123456", suite=types.SUITE_TDES, master_version=1, keys=keys))
        with self.assertRaises(grpc.RpcError) as caught:  # 768 keys take far longer than 20 ms and a tick
            estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=[item] * 256), timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INTERNAL)
        self.assertEqual(len(re.findall("keeper lost .*hung", estate.log())), 2)
        estate.wait_keepers(1)

    def test_a_deadline_is_kept_while_a_keeper_hangs(self):
        estate = self.start(count=1, hang_ms=3000)
        os.kill(estate.keeper_pids()[0], signal.SIGSTOP)
        began = time.monotonic()
        with self.assertRaises(grpc.RpcError) as caught:
            self.mac(timeout=0.3)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - began, 1)
        estate.wait_log("keeper lost .*hung")
        self.mac()

    def test_keepers_retire_without_a_lost_call(self):
        estate = self.start(count=2, retire_after=100)
        load = Load(self.mac)
        until = time.monotonic() + 60
        while len(re.findall("keeper retires", estate.log())) < 6:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        load.stop()
        self.assertEqual(load.failures, [])
        self.assertEqual(estate.status().keeper_restarts, 0)
        estate.wait_keepers(2)
        ended = re.findall(r'keeper ended .*reason="([^"]*)"', estate.log())
        self.assertEqual(set(ended), {"exit status 0"})

    def test_reload_sees_new_keys_and_loses_no_call(self):
        estate = self.start(count=2)
        estate.wait_keepers(2)
        before = set(estate.keeper_pids())
        load = Load(self.mac)
        said = estate.load("psam-master", "tdes", None, 16, version=len(estate.keys) + 1)
        self.assertIsNotNone(said)
        estate.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 30
        while before & set(estate.keeper_pids()):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        load.stop()
        self.assertEqual(load.failures, [])
        estate.wait_keepers(2)
        versions = [key.version for key in estate.control.ListKeys(hsm.ListKeysRequest()).keys
                    if (key.role, key.suite) == ("psam-master", "tdes")]
        self.assertEqual(versions, [1, len(estate.keys) + 1])

    def test_a_wrong_pin_halts_until_reload(self):
        right = read(f"{self.estate.dir}/pin").strip()
        self.estate.secret("pin", "wrong-pin")
        try:
            estate = self.start(count=2)
            time.sleep(1)
            self.assertEqual(len(re.findall("keeper starting", estate.log())), 1)
            began = time.monotonic()
            with self.assertRaises(grpc.RpcError) as caught:
                self.mac()
            self.assertLess(time.monotonic() - began, 1)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn("refused the login", caught.exception.details())
            self.assertNotIn("wrong-pin", estate.log())
            self.wait_health(b"\x08\x02")
            estate.data.Echo(hsm.EchoRequest(payload=b"front"))
        finally:
            self.estate.secret("pin", right)
        estate.process.send_signal(signal.SIGHUP)
        estate.wait_keepers(2)
        self.mac()
        self.wait_health(b"\x08\x01")

    def test_a_missing_token_is_tried_again_with_back_off(self):
        self.estate.write_config(keepers={"count": 1})
        with open(self.estate.config) as f:
            text = f.read().replace("label: posward", "label: elsewhere")
        with open(self.estate.config, "w") as f:
            f.write(text)
        self.estate.start()
        self.addCleanup(self.end)
        self.zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank"))
        time.sleep(1.5)
        self.assertIn(len(re.findall("keeper starting", self.estate.log())), range(2, 8))
        with self.assertRaises(grpc.RpcError) as caught:
            self.mac()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn("elsewhere", caught.exception.details())

    def test_keepers_end_with_their_front(self):
        estate = self.start(count=2)
        estate.wait_keepers(2)
        pids = estate.keeper_pids()
        estate.process.kill()
        estate.process.wait()
        estate.process = None
        until = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def test_a_keeper_that_hangs_ends_with_its_front_too(self):
        estate = self.start(count=1)
        estate.wait_keepers(1)
        with open(f"{estate.dir}/lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            estate.process.send_signal(signal.SIGHUP)
            estate.wait_log("(?s)(keeper starting.*){2}")
            pids = estate.keeper_pids()
            self.assertEqual(len(pids), 2)
            estate.process.kill()
            estate.process.wait()
            estate.process = None
            until = time.monotonic() + 20
            while any(os.path.exists(f"/proc/{pid}") for pid in pids):
                self.assertLess(time.monotonic(), until)
                time.sleep(0.05)

    def test_the_front_dumps_no_tracks(self):
        pid = self.start(count=1).process.pid
        self.assertRegex(read(f"/proc/{pid}/limits"), r"Max core file size\s+0\s+0")
        self.assertEqual(os.stat(f"/proc/{pid}/maps").st_uid, 0)

    def test_keepers_are_hard_to_look_into(self):
        estate = self.start(count=1)
        (pid,) = estate.keeper_pids()
        limits = read(f"/proc/{pid}/limits")
        self.assertRegex(limits, r"Max core file size\s+0\s+0")
        self.assertEqual(os.stat(f"/proc/{pid}/maps").st_uid, 0)
        self.assertIn("NoNewPrivs:\t1", read(f"/proc/{pid}/status"))
        sockets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        self.assertEqual(len([name for name in sockets if name.startswith("socket:")]), 1)
        words = read(f"/proc/{pid}/cmdline")
        self.assertNotIn("posward-test-1", words)
        names = {line.split("=")[0] for line in read(f"/proc/{pid}/environ").split("\0") if line}
        self.assertLessEqual(names, {"SOFTHSM2_CONF", "HOME", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS",
                                     "TSAN_OPTIONS"})

    def test_metrics(self):
        estate = self.start(count=1)
        self.mac()
        page = urllib.request.urlopen(f"http://127.0.0.1:{estate.metrics_port}/metrics", timeout=10).read().decode()
        self.assertIn("posward_hsm_keepers_ready 1\n", page)
        self.assertIn("posward_hsm_keepers_wanted 1\n", page)


if __name__ == "__main__":
    unittest.main()
