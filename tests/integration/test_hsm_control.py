#!/usr/bin/env python3
"""Dual control with two operators' certificates: propose, approve by another, expire; the life of a key; what would break;
restarts and kills in between; and what of it stands in the audit log."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import BIN, UNLIMITED, Estate, wait_until  # noqa: E402
from operators import AUDITOR, ONE, TWO, Operators  # noqa: E402

MASTER = ("--role", "psam-master", "--suite", "tdes")
STORAGE = ("--role", "storage", "--suite", "aes-256")


class Control(Operators, unittest.TestCase):
    token = "softhsm"

    @classmethod
    def setUpClass(cls):
        cls.estate = Estate(cls.token, secure=True, hsm_settings=UNLIMITED)
        cls.addClassCleanup(cls.estate.__exit__, None, None, None)
        cls.estate.__enter__()

    def key(self, role, suite, version, zone=""):
        keys = [k for k in self.cli(ONE, "key", "list")["keys"]
                if (k["role"], k["suite"], int(k["version"]), k.get("zone", "")) == (role, suite, version, zone)]
        return keys[0] if keys else None

    def audit(self, *words):
        done = subprocess.run([f"{BIN}/posward", "audit", "show", "--json", "--log", f"{self.estate.dir}/audit", *words],
                              capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_nobody_agrees_with_himself_or_twice(self):
        made = self.propose("create", "--role", "zone-data", "--suite", "tdes", "--zone", "alone")
        self.assertEqual(made["state"], "PROPOSAL_STATE_PENDING")
        self.assertIn("1 more approval by an operator other than spiffe://posward/operator", made["waitsFor"])
        self.cli(ONE, "key", "approve", made["id"], fails="PERMISSION_DENIED.*another operator must approve")
        self.cli(AUDITOR, "key", "approve", made["id"], fails="PERMISSION_DENIED")
        self.assertIsNone(self.key("zone-data", "tdes", 1, "alone"))
        waiting = self.cli(AUDITOR, "key", "proposals")["proposals"]
        self.assertIn(made["id"], [p["id"] for p in waiting])
        done = self.cli(TWO, "key", "approve", made["id"])
        self.assertEqual(done["state"], "PROPOSAL_STATE_EXECUTED")
        self.assertEqual(self.key("zone-data", "tdes", 1, "alone")["state"], "KEY_STATE_ACTIVE")
        self.cli(TWO, "key", "approve", made["id"], fails="FAILED_PRECONDITION.*executed")
        records = [r for r in self.audit("--kind", "key", "--key", "zone-data/alone") if r["who"] != "service"]
        refused = [r for r in records if r["result"] != "OK"]
        self.assertEqual([(r["what"], r["who"].rsplit("/", 1)[-1]) for r in refused], [("approve", "operator")])
        records = [r for r in records if r["result"] == "OK"]
        self.assertEqual([r["what"] for r in records][:3], ["propose", "approve", "execute"])
        self.assertEqual([r["who"].rsplit("/", 1)[-1] for r in records][:2], ["operator", "operator2"])
        self.assertRegex(records[2]["note"], "kcv=[0-9A-F]{6}")

    def test_a_key_lives_from_pre_active_to_destroyed(self):
        zone = ("--role", "zone-mac", "--suite", "tdes", "--zone", "life")
        self.agree("create", *zone, "--pre-active")
        self.assertEqual(self.key("zone-mac", "tdes", 1, "life")["state"], "KEY_STATE_PRE_ACTIVE")
        self.agree("activate", *zone, "--version", "1")
        self.agree("rotate", *zone)
        self.assertEqual([self.key("zone-mac", "tdes", v, "life")["state"] for v in (1, 2)], ["KEY_STATE_ACTIVE"] * 2)
        self.cli(ONE, "key", "destroy", *zone, "--version", "1", "--reason", "x", fails="FAILED_PRECONDITION.*deactivate")
        self.agree("deactivate", *zone, "--version", "1")
        key = self.key("zone-mac", "tdes", 1, "life")
        self.assertEqual(key["state"], "KEY_STATE_DEACTIVATED")
        self.assertTrue(all(int(key[f]) > 0 for f in ("createdMs", "activatedMs", "deactivatedMs")), key)
        self.agree("destroy", *zone, "--version", "1")
        self.assertIsNone(self.key("zone-mac", "tdes", 1, "life"))
        gone = self.cli(ONE, "key", "destroyed")["keys"]
        self.assertIn(("zone-mac", "life", 1), [(k["role"], k["zone"], int(k["version"])) for k in gone])
        self.cli(ONE, "key", "create", *zone, "--version", "1", "--reason", "x", fails="ALREADY_EXISTS.*not used again")
        shown = self.cli(AUDITOR, "key", "show", *zone, "--version", "2")
        self.assertEqual(shown["key"]["kcv"], self.key("zone-mac", "tdes", 2, "life")["kcv"])
        self.assertGreaterEqual(len(shown["proposals"]), 1)

    def test_what_would_break_stops_a_destruction(self):
        old = str(max(int(k["version"]) for k in self.cli(ONE, "key", "list")["keys"] if k["role"] == "storage"))
        self.estate.card("breaks", "62010000000000990001")
        self.estate.issue("breaks", "tdes")  # POSP keeps its TMK's blob, and tells
        self.agree("rotate", *STORAGE)
        wait_until(lambda: sum(int(u["count"]) for u in self.cli(ONE, "key", "show", *STORAGE, "--version", old)["uses"]) > 0,
                   120)
        self.agree("deactivate", *STORAGE, "--version", old)
        stopped = self.cli(ONE, "key", "destroy", *STORAGE, "--version", old, "--reason", "x",
                           fails="FAILED_PRECONDITION.*break_use")
        self.assertRegex(stopped, "storage/aes-256/%s" % old)
        made = self.propose("destroy", *STORAGE, "--version", old, "--break-use")
        self.assertGreaterEqual(len(made["wouldBreak"]), 1)
        self.cli(TWO, "key", "reject", made["id"], "--reason", "not yet")
        self.assertIsNotNone(self.key("storage", "aes-256", int(old)))
        self.cli(ONE, "key", "deactivate", "--role", "blob-tag", "--suite", "aes-256", "--version", "1", "--reason", "x",
                 fails="FAILED_PRECONDITION.*last active key")

    def test_a_master_that_cards_need_stays_active(self):
        old = str(max(int(k["version"]) for k in self.cli(ONE, "key", "list")["keys"] if (k["role"], k["suite"]) == MASTER[1::2]))
        self.estate.card("needs", "62010000000000990002")
        self.estate.issue("needs", "tdes")
        self.agree("rotate", *MASTER)
        wait_until(lambda: sum(int(u["count"]) for u in self.cli(ONE, "key", "show", *MASTER, "--version", old)["uses"]) > 0, 60)
        stopped = self.cli(ONE, "key", "deactivate", *MASTER, "--version", old, "--reason", "x",
                           fails="FAILED_PRECONDITION.*break_use")
        self.assertRegex(stopped, f"psam-master/tdes/{old}: [0-9]+ cards")

    def test_two_proposals_do_not_break_together_what_neither_breaks(self):
        zone = ("--role", "zone-data", "--suite", "tdes", "--zone", "both")
        self.agree("create", *zone)
        self.agree("rotate", *zone)
        first = self.propose("deactivate", *zone, "--version", "1")
        second = self.propose("deactivate", *zone, "--version", "2")
        self.cli(TWO, "key", "approve", first["id"])
        self.cli(TWO, "key", "approve", second["id"], fails="FAILED_PRECONDITION.*last active key")
        self.assertEqual(self.key("zone-data", "tdes", 2, "both")["state"], "KEY_STATE_ACTIVE")

    def test_a_rejected_or_withdrawn_proposal_is_over(self):
        zone = ("--role", "zone-pin", "--suite", "aes-128", "--zone", "never")
        for who in (ONE, TWO):
            made = self.propose("create", *zone)
            self.cli(ONE, "key", "create", *zone, "--reason", "x", fails="ALREADY_EXISTS.*is open already")
            self.assertEqual(self.cli(who, "key", "reject", made["id"])["state"], "PROPOSAL_STATE_REJECTED")
            self.cli(TWO, "key", "approve", made["id"], fails="FAILED_PRECONDITION.*rejected")
        self.assertIsNone(self.key("zone-pin", "aes-128", 1, "never"))

    def test_what_makes_no_sense_is_refused_at_once(self):
        for words, note in ((("create", "--role", "zone-pin", "--suite", "tdes"), "INVALID_ARGUMENT.*zone"),
                            (("create", "--role", "psam-master", "--suite", "aes-128"), "INVALID_ARGUMENT.*suite"),
                            (("rotate", "--role", "zone-pin", "--suite", "tdes", "--zone", "nobody"), "NOT_FOUND"),
                            (("activate", *MASTER, "--version", "77"), "NOT_FOUND"),
                            (("activate", *MASTER, "--version", "1"), "FAILED_PRECONDITION.*active already"),
                            (("create", *MASTER, "--version", "1"), "ALREADY_EXISTS"),
                            (("policy-change", "--approvals", "1"), "INVALID_ARGUMENT"),
                            (("policy-change", "--exposure", "all"), "INVALID_ARGUMENT")):
            self.cli(ONE, "key", *words, "--reason", "x", fails=note)
        self.cli(ONE, "key", "approve", "aaaaaaaaaaaa", fails="NOT_FOUND")
        self.cli(ONE, "key", "create", *MASTER, "--reason", "r" * 201, fails="INVALID_ARGUMENT.*reason")

    def test_proposals_survive_a_restart(self):
        zone = ("--role", "zone-data", "--suite", "aes-128", "--zone", "later")
        made = self.propose("create", *zone)
        for how in ("stop", "kill"):
            self.estate.tool(how, "hsm")
            self.estate.tool("start", "hsm")
            waiting = self.cli(TWO, "key", "proposals")["proposals"]
            self.assertEqual([p["waitsFor"] for p in waiting if p["id"] == made["id"]], [made["waitsFor"]])
        self.assertEqual(self.cli(TWO, "key", "approve", made["id"])["state"], "PROPOSAL_STATE_EXECUTED")

    def test_policy_change_is_in_force_and_stays(self):
        before = self.cli(AUDITOR, "key", "policy")
        self.assertEqual((before["exposure"], int(before["approvals"])), ("any", 2))
        self.agree("policy-change", "--pin-account-per-hour", "7")
        self.assertEqual(int(self.cli(AUDITOR, "key", "policy")["pinAccountPerHour"]), 7)
        self.estate.tool("kill", "hsm")
        self.estate.tool("start", "hsm")
        self.assertEqual(int(self.cli(AUDITOR, "key", "policy")["pinAccountPerHour"]), 7)
        self.assertIn("policy", [r["what"] for r in self.audit("--key", "policy")])

    def test_policy_asks_for_no_more_approvals_than_there_are_operators(self):
        """An operator more, by SIGHUP, makes the proposal possible; without him it cannot be approved."""
        path = f"{self.estate.dir}/hsm.yaml"

        def grant(third):
            with open(path, encoding="ascii") as file:
                text = file.read()
            row = "roles:\n  - identity: spiffe://posward/third\n    roles: operator\n"
            text = text.replace("roles:\n  - ", row + "  - ", 1) if third else text.replace(row, "roles:\n")
            count = self.estate.log("hsm").count("roles are read again")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            os.kill(self.estate.pid("hsm"), signal.SIGHUP)
            wait_until(lambda: self.estate.log("hsm").count("roles are read again") > count, 30)
        few = "FAILED_PRECONDITION.*approvals %d, but only %d identities have role operator"
        self.cli(ONE, "key", "policy-change", "--approvals", "3", "--reason", "x", fails=few % (3, 2))
        grant(True)
        self.cli(ONE, "key", "policy-change", "--approvals", "4", "--reason", "x", fails=few % (4, 3))
        made = self.propose("policy-change", "--approvals", "3")
        grant(False)
        self.cli(TWO, "key", "approve", made["id"], fails=few % (3, 2))
        self.cli(ONE, "key", "reject", made["id"])
        self.assertEqual(int(self.cli(AUDITOR, "key", "policy")["approvals"]), 2)

    def test_killed_in_the_middle_it_is_done_once(self):
        """kill -9 of the service, or of its keepers, while the last approval is carried out."""
        def pid():
            with open(f"{self.estate.dir}/run/hsm.pid", encoding="ascii") as file:
                return int(file.read())

        def state():
            return self.cli(ONE, "call", "posward.hsm.v1.KeyManagement/GetProposal", json.dumps({"id": made["id"]}))["state"]

        def ready():
            return int(self.cli(ONE, "hsm", "status")["keepers"]) > 0

        def listed():
            """Whether keys can be listed: right after a kill no keeper may be there, or one that is dying."""
            return subprocess.run([f"{BIN}/posward", "--config", f"{self.estate.dir}/{ONE}.yaml", "key", "list"],
                                  capture_output=True, timeout=60, check=False).returncode == 0
        for attempt in range(6):
            zone = ("--role", "zone-mac", "--suite", "tdes", "--zone", f"kill-{attempt}")
            made = self.propose("create", *zone)
            approving = subprocess.Popen([f"{BIN}/posward", "--config", f"{self.estate.dir}/{TWO}.yaml", "key", "approve",
                                          made["id"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.01 + 0.02 * attempt)
            if attempt % 2 == 0:
                os.kill(pid(), signal.SIGKILL)
                approving.wait(180)
                self.estate.tool("start", "hsm")
            else:
                subprocess.run(["pkill", "-KILL", "-P", str(pid())], check=False)
                approving.wait(180)
            wait_until(lambda: state() in ("PROPOSAL_STATE_EXECUTED", "PROPOSAL_STATE_PENDING"), 60, state)
            if state() == "PROPOSAL_STATE_PENDING":  # killed before the approval was taken
                wait_until(ready, 60)  # UNAVAILABLE while no keeper is there is no answer to wait for here
                wait_until(listed, 60)
                self.cli(TWO, "key", "approve", made["id"])
            self.assertEqual(state(), "PROPOSAL_STATE_EXECUTED")
            wait_until(listed, 60)
            self.assertEqual(self.key("zone-mac", "tdes", 1, f"kill-{attempt}")["state"], "KEY_STATE_ACTIVE")
            self.assertIsNone(self.key("zone-mac", "tdes", 2, f"kill-{attempt}"))

    def test_the_log_verifies(self):
        self.agree("create", "--role", "zone-pin", "--suite", "tdes", "--zone", "logged")
        done = subprocess.run([f"{BIN}/posward", "audit", "verify", "--log", f"{self.estate.dir}/audit", "--public-key",
                               f"{self.estate.dir}/audit/audit-public-key.pem"], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


class Expiry(unittest.TestCase):
    def test_a_proposal_expires(self):
        with Estate(secure=True) as estate:
            path = f"{estate.dir}/hsm.yaml"
            with open(path, encoding="ascii") as file:
                text = file.read()
            with open(path, "w", encoding="ascii") as file:
                file.write(text.replace("keymgmt:\n", "keymgmt:\n  expire_seconds: 60\n"))
            estate.tool("stop", "hsm")
            estate.tool("start", "hsm")

            def cli(who, *words):
                return subprocess.run([f"{BIN}/posward", "--config", f"{estate.dir}/{who}.yaml", "--json", *words],
                                      capture_output=True, text=True, timeout=60, check=False)
            made = json.loads(cli(ONE, "key", "create", "--role", "zone-pin", "--suite", "tdes", "--zone", "x", "--reason",
                                  "r").stdout)
            self.assertEqual(int(made["expiresMs"]) - int(made["proposedMs"]), 60000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
