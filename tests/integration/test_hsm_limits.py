#!/usr/bin/env python3
"""PIN operations by terminal and account, and callers' quotas: stopped at the count, told when to come again, on record."""
import os
import re
import urllib.request
import unittest

import grpc

import reference as ref
from hsm_estate import Estate, hsm, types

PAN = "6225758326736419"
ZONE = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def pan(number):
    return f"62257583{number:08d}"


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate("softhsm")
        cls.addClassCleanup(cls.estate.drop)

    def start(self, **limits):
        self.audit = f"{self.estate.dir}/audit-{self.id().rsplit('.', maxsplit=1)[-1]}"
        self.estate.write_config(limits=limits, audit={"path": self.audit})
        self.estate.start()
        self.addCleanup(self.end)

    def end(self):
        if self.estate.process is not None:
            self.assertEqual(self.estate.stop(), 0)

    def terminal(self, number):
        """A terminal's PIN key: blob and clear value; and its MAC key's."""
        psam = f"620100000012{number:08d}"
        tmk = ref.diversify_tdes(self.estate.keys["psam-master-tdes"], psam)
        made = self.estate.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=psam, suite=types.SUITE_TDES, master_version=1,
            keys=[hsm.WorkingKeySpec(usage=usage) for usage in (types.KEY_USAGE_PIK, types.KEY_USAGE_MAK)]))
        return [(hsm.KeyRef(blob=key.blob), ref.des_ecb(tmk, key.cryptogram, decrypt=True)) for key in made.keys]

    @staticmethod
    def request(key, number, digits="1234"):
        return hsm.TranslatePinRequest(source=key[0], destination=ZONE, source_format=hsm.PIN_FORMAT_ISO_0,
                                       destination_format=hsm.PIN_FORMAT_ISO_0, pan=number,
                                       block=ref.des_ecb(key[1], ref.pin_block_0(digits, number)))

    def translate(self, key, number):
        return self.estate.data.TranslatePin(self.request(key, number), timeout=30)

    def refusal(self, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        failure = caught.exception
        self.assertEqual(failure.code(), EXHAUSTED, failure.details())
        pushback = dict(failure.trailing_metadata())["grpc-retry-pushback-ms"]
        self.assertRegex(failure.details(), r"try again in \d+ s")
        return failure.details(), int(pushback)

    def counter(self, kind):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10) as page:
            text = page.read().decode()
        return int(re.search(rf'posward_hsm_limit_refusals_total{{kind="{kind}"}} (\d+)', text).group(1))

    def records(self):
        self.assertEqual(self.estate.stop(), 0)
        verified = self.estate.cli("audit", "verify", "--log", self.audit, "--public-key",
                                   f"{self.audit}/audit-public-key.pem")
        self.assertIn("signed", verified.stdout)
        shown = self.estate.cli("audit", "show", "--log", self.audit, "--kind", "refusal").stdout
        for clear in (PAN, "62257583"):
            self.assertNotIn(clear, shown + self.estate.log())
        return shown

    def test_account_is_stopped_through_whichever_terminal(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=6, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        terminals = [self.terminal(n)[0] for n in range(3)]
        for guess in range(6):
            self.translate(terminals[guess % 3], PAN)
        details, pushback = self.refusal(lambda: self.translate(terminals[0], PAN))
        self.assertIn("account (by its HMAC)", details)
        self.assertTrue(0 < pushback <= 7200000, pushback)
        for guess in range(20):
            self.refusal(lambda guess=guess: self.translate(terminals[guess % 3], PAN))
        self.translate(terminals[0], pan(1))  # others go on
        self.assertEqual(self.counter("account"), 21)
        shown = self.records()
        self.assertIn("TranslatePin", shown)
        self.assertIn("account (by its HMAC)", shown)

    def test_terminal_is_stopped_whichever_account(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=0, pin_terminal_per_minute=0, pin_terminal_per_hour=10)
        one, other = (self.terminal(n)[0] for n in (7, 8))
        for guess in range(10):
            self.translate(one, pan(guess))
        details, _ = self.refusal(lambda: self.translate(one, pan(99)))
        self.assertIn("PSAM 62010000001200000007", details)
        self.translate(other, pan(99))
        self.assertEqual(self.counter("terminal"), 1)
        self.assertIn("62010000001200000007", self.records())

    def test_it_works_again_after_its_time(self):
        self.start(pin_account_per_minute=2, pin_account_per_hour=0, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        key = self.terminal(1)[0]
        self.translate(key, PAN)
        self.translate(key, PAN)
        _, pushback = self.refusal(lambda: self.translate(key, PAN))
        self.assertLess(pushback, 120000)  # the exact time is the unit test's: with a clock that it sets

    def test_batch_refuses_only_what_is_too_much(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=3, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        key = self.terminal(1)[0]
        items = [hsm.BatchItem(translate_pin=self.request(key, number))
                 for number in (PAN, pan(1), PAN, PAN, PAN, pan(2), PAN)]
        items.insert(2, hsm.BatchItem(encrypt_data=hsm.EncryptDataRequest(key=ZONE, data=bytes(8))))
        results = self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=items), timeout=30).results
        self.assertEqual([r.status for r in results], [0, 0, 0, 0, 0, EXHAUSTED.value[0], 0, EXHAUSTED.value[0]])
        for result in results:
            self.assertEqual(result.retry_ms > 0, result.status != 0)
            self.assertEqual("try again in" in result.message, result.status != 0)
        self.assertIn("2 items of this", self.records())

    def test_wrong_mac_uses_up_nothing(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=2, pin_terminal_per_minute=0, pin_terminal_per_hour=2)
        key, mak = self.terminal(1)
        data = os.urandom(40)
        right = ref.unionpay_mac(mak[1], data)

        def transaction(mac):
            return hsm.ProcessTransactionRequest(
                mac=hsm.VerifyMacRequest(key=mak[0], algorithm=hsm.MAC_ALGORITHM_UNIONPAY_ECB, data=data, mac=mac),
                pin=self.request(key, PAN))

        for _ in range(4):
            answer = self.estate.data.ProcessTransaction(transaction(b"00000000"), timeout=30)
            self.assertFalse(answer.mac.matches)
            batch = hsm.ProcessBatchRequest(items=[hsm.BatchItem(process_transaction=transaction(b"00000000"))] * 2)
            self.assertFalse(any(r.process_transaction.mac.matches
                                 for r in self.estate.data.ProcessBatch(batch, timeout=30).results))
        for _ in range(2):
            self.assertTrue(self.estate.data.ProcessTransaction(transaction(right), timeout=30).mac.matches)
        self.refusal(lambda: self.estate.data.ProcessTransaction(transaction(right), timeout=30))

    def test_flood_of_refusals_does_not_flood_the_log(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=1, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        key = self.terminal(1)[0]
        request = self.request(key, PAN)
        self.translate(key, PAN)
        calls = [self.estate.data.TranslatePin.future(request, timeout=60) for _ in range(600)]
        self.assertEqual({call.exception().code() for call in calls}, {EXHAUSTED})
        self.assertEqual(self.counter("account"), 600)
        shown = self.records()
        lines = [line for line in shown.splitlines() if "TranslatePin" in line]
        self.assertGreater(len(lines), 0)
        self.assertLess(len(lines), 600)

    def test_callers_have_quotas(self):
        self.start(caller_per_second=1, caller_burst=20)
        mac = hsm.GenerateMacRequest(key=ZONE, algorithm=hsm.MAC_ALGORITHM_X9_19, data=b"12345678")
        batch = hsm.ProcessBatchRequest(items=[hsm.BatchItem(generate_mac=mac)] * 19)
        self.estate.data.ProcessBatch(batch, timeout=30)
        self.estate.data.GenerateMac(mac, timeout=30)
        details, _ = self.refusal(lambda: [self.estate.data.GenerateMac(mac, timeout=30) for _ in range(30)])
        self.assertIn("quota", details)
        self.estate.control.GetStatus(hsm.GetStatusRequest(), timeout=30)  # looking is not limited
        self.assertIn("quota", self.records())


if __name__ == "__main__":
    unittest.main(verbosity=2)
