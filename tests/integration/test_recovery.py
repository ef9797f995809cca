#!/usr/bin/env python3
"""Each rung of the recovery ladder, driven by a PKCS#11 module that fails on command, under load: how long it takes, and
how many calls fail. Calls that can be repeated must not fail at all; while the token is away they fail at once."""
import os
import re
import time
import unittest
import urllib.request

import grpc

from hsm_estate import Estate, Load, hsm, types
from estate import BUILD, wait_until
from faults import DIE, DROP, FAIL, HANG, LEAK, LOGOUT, LOSE, Faults

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
ZONE = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))


class Recovery(unittest.TestCase):
    def setUp(self):
        self.estate = Estate("softhsm")
        self.addCleanup(self.estate.drop)
        self.faults = Faults(self.estate)

    def start(self, **keepers):
        self.audit = f"{self.estate.dir}/audit"
        self.estate.write_config(audit={"path": self.audit},
                                 keepers={"count": 2, "sessions": 2, "environment": self.faults.environment, **keepers})
        self.estate.start()
        self.addCleanup(self.end)
        self.estate.wait_keepers(2)
        self.pids = set(self.estate.keeper_pids())

    def end(self):
        self.faults.clear()
        if self.estate.process is not None:
            self.assertEqual(self.estate.stop(), 0)

    def mac(self, timeout=30):
        return self.estate.data.GenerateMac(hsm.GenerateMacRequest(key=ZONE, algorithm=hsm.MAC_ALGORITHM_X9_19,
                                                                   data=b"12345678"), timeout=timeout).mac

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10) as page:
            return int(float(re.search(rf"^{re.escape(name)} (\S+)$", page.read().decode(), re.M).group(1)))

    def health(self):
        return self.estate.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)

    def wait(self, what, seconds=60):
        wait_until(what, seconds, self.estate.log)

    def under_load(self, inject, settled, allowed=0):
        """Inject while clients call; the time until `settled`, and what failed."""
        right = self.mac()
        wrong = []
        load = Load(lambda: wrong.append(1) if self.mac() != right else None)
        self.wait(lambda: load.done > 50)
        begun = time.monotonic()
        inject()
        self.wait(settled)
        took, count = time.monotonic() - begun, load.done
        self.wait(lambda: load.done > count + 50)
        load.stop()
        self.assertEqual(wrong, [])
        if allowed is not None:
            self.assertLessEqual(len(load.failures), allowed, load.failures[:5])
        print(f"\n  {self._testMethodName}: recovered in {took * 1000:.0f} ms, {load.done} calls answered, "
              f"{len(load.failures)} failed", flush=True)
        return load

    def all_done(self):
        return self.faults.get("times") == 0

    def test_dead_sessions_are_opened_anew(self):
        self.start()
        self.under_load(lambda: self.faults.inject("C_EncryptInit", DROP, times=6), self.all_done)
        self.assertEqual(set(self.estate.keeper_pids()), self.pids)

    def test_lost_logins_are_made_again(self):
        self.start(probe_ms=100)
        self.under_load(lambda: self.faults.inject("C_EncryptInit", LOGOUT, times=4),
                        lambda: self.all_done() and self.metric("posward_hsm_relogins_total") > 0)
        self.assertEqual(set(self.estate.keeper_pids()), self.pids)

    def test_lost_token_is_found_under_another_slot_number(self):
        self.start(probe_ms=100)

        def lose():
            self.faults.set("slot_shift", 7)
            self.faults.inject("C_EncryptInit", LOSE, times=2)
        self.under_load(lose, lambda: self.all_done() and self.metric("posward_hsm_reinitialised_total") > 0)
        self.assertEqual(set(self.estate.keeper_pids()), self.pids)

    def test_passing_errors_are_retried(self):
        self.start()
        self.under_load(lambda: self.faults.inject("C_Encrypt", FAIL, times=10, rv="DEVICE_ERROR"), self.all_done,
                        allowed=None)

    def test_hung_call_costs_its_keeper_and_no_call(self):
        self.start(hang_ms=400)
        self.under_load(lambda: self.faults.inject("C_EncryptInit", HANG), lambda: self.all_done() and
                        "a call hung" in self.estate.log() and self.estate.status().keepers == 2)

    def test_dying_keeper_costs_no_call(self):
        self.start()
        self.under_load(lambda: self.faults.inject("C_EncryptInit", DIE), lambda: self.all_done() and
                        "keeper lost" in self.estate.log() and self.estate.status().keepers == 2)

    def test_idle_keeper_that_hangs_is_found(self):
        """Nobody calls: the probe does."""
        self.start(hang_ms=400, probe_ms=100)
        self.faults.inject("C_GenerateRandom", HANG)
        self.wait(lambda: "a call hung" in self.estate.log() and self.estate.status().keepers == 2)
        self.assertEqual(self.health(), SERVING)

    def test_token_that_fails_probes_costs_its_keeper(self):
        self.start(probe_ms=100)
        # A probe and its repetition; the third in case both keepers' probes meet one each.
        self.faults.inject("C_GenerateRandom", FAIL, times=3, rv="DEVICE_ERROR")
        self.wait(lambda: "keeper failed its probe" in self.estate.log() and self.estate.status().keepers == 2)
        self.mac()

    def test_breaker_opens_while_the_token_is_away_and_closes_after(self):
        self.start(probe_ms=200)
        slow = []

        def call():
            begun = time.monotonic()
            try:
                self.mac()
            finally:
                slow.append(time.monotonic() - begun)
        load = Load(call)
        self.wait(lambda: load.done > 50)
        self.faults.set("away", 1)
        self.wait(lambda: self.metric("posward_hsm_breaker_state") == 2)
        self.wait(lambda: self.health() == NOT_SERVING)
        del slow[:]
        refused = len(load.failures)
        self.wait(lambda: len(load.failures) > refused + 200)
        self.assertEqual([f for f in load.failures if f[0] != grpc.StatusCode.UNAVAILABLE], [])
        print(f"\n  while the token was away {len(load.failures)} calls were refused, the slowest in "
              f"{max(slow) * 1000:.0f} ms", flush=True)
        lines = len(re.findall("circuit breaker state=open", self.estate.log()))
        changes = self.metric('posward_hsm_breaker_changes_total{to="open"}')
        self.faults.set("away", 0)
        begun = time.monotonic()
        self.wait(lambda: self.metric("posward_hsm_breaker_state") == 0 and self.estate.status().keepers == 2)
        done = load.done
        self.wait(lambda: load.done > done + 50)
        load.stop()
        print(f"  back {(time.monotonic() - begun) * 1000:.0f} ms after the token was", flush=True)
        self.wait(lambda: self.health() == SERVING)
        self.assertLessEqual(lines, changes)  # one line a change, whatever came in meanwhile
        self.assertGreaterEqual(changes, 1)
        self.assertLess(changes, 12)
        self.assertEqual(self.estate.stop(), 0)
        shown = self.estate.cli("audit", "show", "--log", self.audit, "--what", "circuit breaker").stdout
        self.assertIn("open: ", shown)
        self.assertIn("closed: the token answers", shown)

    def test_wrong_pin_is_tried_once(self):
        self.start()
        self.estate.secret("pin", "not-the-pin")
        logins = self.faults.get("logins")
        for pid in self.estate.keeper_pids():
            os.kill(pid, 9)
        self.wait(lambda: "keepers are halted" in self.estate.log())
        with self.assertRaises(grpc.RpcError) as caught:
            self.mac()
        self.assertIn("mend token.pin_file", caught.exception.details())
        time.sleep(1.5)  # longer than the first back-offs: nothing is to come
        self.assertEqual(self.faults.get("logins") - logins, 1)
        self.estate.secret("pin", "posward-test-1")
        self.estate.process.send_signal(1)
        self.estate.wait_keepers(2)
        self.mac()

    def test_starts_do_not_overlap_and_passing_errors_are_waited_out(self):
        self.start()
        self.faults.inject("C_Login", FAIL, times=3, rv="GENERAL_ERROR")
        for pid in self.estate.keeper_pids():
            os.kill(pid, 9)
        self.wait(self.all_done)
        self.estate.wait_keepers(2)
        self.mac()

    def test_token_with_too_few_sessions_is_named(self):
        self.start()
        self.faults.set("sessions_most", 2)  # each keeper wants three
        for pid in self.estate.keeper_pids():
            os.kill(pid, 9)
        self.wait(lambda: "CKR_SESSION_COUNT" in self.estate.log())
        with self.assertRaises(grpc.RpcError) as caught:
            self.mac(timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.faults.set("sessions_most", 0)
        self.estate.wait_keepers(2)
        self.mac()

    def test_keeper_that_grows_retires_without_a_failed_call(self):
        self.start(retire_mib=256 if "asan" in BUILD else 64)
        self.under_load(lambda: self.faults.inject("C_EncryptInit", LEAK, times=600),
                        lambda: self.all_done() and self.metric("posward_hsm_keeper_retirements_total") > 0)
        self.assertIn("keeper has grown", self.estate.log())
        self.assertEqual(self.metric("posward_hsm_keeper_restarts_total"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
