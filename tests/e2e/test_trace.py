#!/usr/bin/env python3
"""One trace id a request, in the logs of every service that worked on it: W3C traceparent from the first service on."""
import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import SERVICES, Estate  # noqa: E402

PURCHASE = ("purchase", "--amount", "1234", "--pan", "6225758326736419", "--expiry", "3012", "--pin", "123456")


class Trace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate(settings="log:\n  level: debug\n  format: json\n")
        cls.addClassCleanup(cls.estate.__exit__, None, None, None)
        cls.estate.__enter__()
        (cls.terminal, cls.card), = cls.estate.equip(1)

    def records(self, name, **wanted):
        lines = [json.loads(line, object_pairs_hook=self.unique) for line in self.estate.log(name).splitlines()
                 if line.startswith("{")]
        return [record for record in lines if wanted.items() <= record.items()]

    def unique(self, pairs):
        self.assertEqual(len(dict(pairs)), len(pairs), pairs)
        return dict(pairs)

    def wait(self, name, **wanted):
        """A service logs after it has answered."""
        deadline = time.monotonic() + 10
        while not self.records(name, **wanted):
            self.assertLess(time.monotonic(), deadline, f"no {wanted} in the log of {name}")
            time.sleep(0.05)
        return self.records(name, **wanted)

    def buy(self):
        before = {record["trace"] for record in self.records("posp", event="message taken", mti="0200")}
        subprocess.run(self.estate.terminal(self.terminal, self.card, "tdes", *PURCHASE), check=True, timeout=60,
                       stdout=subprocess.DEVNULL)
        new = {record["trace"] for record in self.wait("posp", event="message taken", mti="0200")} - before
        self.assertEqual(len(new), 1)
        return new.pop()

    def test_a_purchase_is_one_trace_through_posp_hsm_and_bank(self):
        trace = self.buy()
        self.assertRegex(trace, "^[0-9a-f]{32}$")
        self.assertEqual(len(self.wait("posp", event="purchase answered", trace=trace, code="00")), 1)
        keeper = self.wait("hsm", program="posward-keeper", event="operation done", trace=trace, result="OK")
        self.assertIn("ProcessTransactionResponse", {record["answer"] for record in keeper})
        self.wait("hsm", program="posward-hsm", event="call served", trace=trace, status="OK",
                  method="/posward.hsm.v1.DataPlane/ProcessBatch")
        self.assertEqual(len(self.wait("bank", event="purchase", trace=trace)), 1)
        self.wait("bank", event="call served", trace=trace, method="/posward.business.v1.Business/Authorize")
        self.assertEqual(self.records("posv", trace=trace), [])
        self.assertNotEqual(trace, self.buy())

    def test_a_command_is_one_trace_through_all_that_it_calls(self):
        written = self.wait("posp", event="card key handed out")[0]["trace"]
        self.assertRegex(written, "^[0-9a-f]{32}$")
        self.wait("posp", event="call served", trace=written, method="/posward.posp.v1.CardKeys/ConfirmCardKey")
        self.wait("hsm", program="posward-keeper", event="operation done", trace=written,
                  answer="DiversifyCardKeyResponse")
        self.wait("posv", event="call served", trace=written, method="/posward.posv.v1.Registry/RegisterDevice")

    def test_a_refused_message_says_its_trace_too(self):
        words = self.estate.terminal("29999999", self.card, "tdes", "signin")
        subprocess.run(words, check=False, timeout=60, capture_output=True)
        refused = self.wait("posp", event="message refused", code="97")[0]
        self.wait("posp", event="message taken", trace=refused["trace"], terminal="29999999")

    def test_items_of_a_batch_keep_their_own_traces(self):
        own, other, bad = "1" * 32, "2" * 32, "3" * 32
        items = [{"traceparent": f"00-{own}-00f067aa0ba902b7-01", "verifyMac": {}},
                 {"traceparent": f"00-{other}-00f067aa0ba902b7-01", "generateMac": {}},
                 {"traceparent": f"00-{bad}-00f067aa0ba902b7-01\nforged", "translatePin": {}}]
        self.estate.posward("call", "posward.hsm.v1.DataPlane/ProcessBatch", json.dumps({"items": items}))
        keeper = {"program": "posward-keeper", "event": "operation done"}
        self.assertEqual([r["answer"] for r in self.wait("hsm", trace=own, **keeper)], ["VerifyMacResponse"])
        self.assertEqual([r["answer"] for r in self.wait("hsm", trace=other, **keeper)], ["GenerateMacResponse"])
        of_the_call = self.wait("hsm", answer="TranslatePinResponse", result="INPUT", **keeper)[-1]["trace"]
        self.wait("hsm", trace=of_the_call, answer="ProcessBatchResponse", **keeper)
        self.assertNotIn(bad, self.estate.log("hsm"))

    def test_every_line_of_every_daemon_is_json(self):
        """Their children's too: keepers, what a library says, the start and the stop."""
        self.buy()
        subprocess.run(self.estate.terminal("29999999", self.card, "tdes", "signin"), check=False, timeout=60,
                       capture_output=True)
        programs = set()
        for name in SERVICES:
            for line in self.estate.log(name).splitlines():
                record = json.loads(line, object_pairs_hook=self.unique)
                self.assertTrue({"time", "level", "program", "event"} <= record.keys(), line)
                programs.add(record["program"])
        self.assertEqual(programs, {"posward-hsm", "posward-keeper", "posward-posp", "posward-posv", "posward-bank"})

    def test_no_log_line_has_a_secret(self):
        self.buy()
        for name in SERVICES:
            for secret in ("6225758326736419", "123456\"", "pin_block"):
                self.assertNotIn(secret, self.estate.log(name))


if __name__ == "__main__":
    unittest.main(verbosity=2)
