#!/usr/bin/env python3
"""PIN operations by terminal and account, and callers' quotas: stopped at the count, told when to come again, on record."""
import os
import re
import urllib.request
import unittest

import grpc

import proven
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

    def records(self, kind="refusal"):
        if self.estate.process is not None:
            self.assertEqual(self.estate.stop(), 0)
        verified = self.estate.cli("audit", "verify", "--log", self.audit, "--public-key",
                                   f"{self.audit}/audit-public-key.pem")
        self.assertIn("signed", verified.stdout)
        shown = self.estate.cli("audit", "show", "--log", self.audit, "--kind", kind).stdout
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
        terminal = proven.Terminal(self.estate)
        right = terminal.request(terminal.message())
        wrong = terminal.request(terminal.message()[:-8] + b"00000000")
        for _ in range(4):
            answer = self.estate.data.ProcessTransaction(wrong, timeout=30)
            self.assertFalse(answer.mac.matches)
            batch = hsm.ProcessBatchRequest(items=[hsm.BatchItem(process_transaction=wrong)] * 2)
            self.assertFalse(any(r.process_transaction.mac.matches
                                 for r in self.estate.data.ProcessBatch(batch, timeout=30).results))
        for _ in range(2):
            self.assertTrue(self.estate.data.ProcessTransaction(right, timeout=30).mac.matches)
        self.refusal(lambda: self.estate.data.ProcessTransaction(right, timeout=30))

    def test_account_of_an_enciphered_track_counts(self):
        """Nothing in the clear says whose card it is: the keeper does, before the block is let go."""
        self.start(pin_account_per_minute=0, pin_account_per_hour=3, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        terminals = [proven.Terminal(self.estate, suite, psam=f"6201000000120000010{n}")
                     for n, suite in enumerate(("tdes", "aes-128", "aes-256"))]
        for terminal in terminals:
            self.assertTrue(terminal.process().pin.block)
        for terminal in terminals:
            self.refusal(terminal.process)
        request = terminals[0].request(terminals[0].message())
        results = self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(
            items=[hsm.BatchItem(process_transaction=request)] * 3), timeout=30).results
        self.assertEqual({r.status for r in results}, {EXHAUSTED.value[0]})
        self.assertFalse(any(r.HasField("process_transaction") for r in results))
        self.assertTrue(terminals[0].process(pan=pan(7)).pin.block)
        self.assertEqual(self.counter("account"), 6)

    def test_code_book_of_one_account(self):
        """Whoever has a terminal's PIN key, or POSP's credential, and asks for block after block (review H1)."""
        self.start(pin_account_per_minute=0, pin_account_per_hour=5, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        key = self.terminal(1)[0]
        items = [hsm.BatchItem(translate_pin=self.request(key, PAN, f"{guess:04d}")) for guess in range(1000)]
        blocks = set()
        for at in range(0, len(items), 250):
            answer = self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=items[at:at + 250]), timeout=60)
            blocks |= {r.translate_pin.block for r in answer.results if r.HasField("translate_pin")}
        self.assertEqual(len(blocks), 5)

    def test_spellings_of_one_account(self):
        """Format 0 binds 12 digits: what is left and right of them is no other account."""
        self.start(pin_account_per_minute=0, pin_account_per_hour=4, pin_terminal_per_minute=0, pin_terminal_per_hour=0)
        key, passed = self.terminal(1)[0], 0
        account = PAN[-13:-1]
        for head in ("", "6", "62", "622", "999999"):
            for check in range(10):
                try:
                    self.translate(key, f"{head}{account}{check}")
                    passed += 1
                except grpc.RpcError as refusal:
                    self.assertEqual(refusal.code(), EXHAUSTED)
        self.assertEqual(passed, 4)

    def test_accounts_of_one_terminal(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=0, pin_terminal_per_minute=0, pin_terminal_per_hour=0,
                   pin_terminal_accounts_per_hour=4)
        key = self.terminal(1)[0]
        for number in (1, 2, 3, 4, 1, 2, 3, 4):
            self.translate(key, pan(10 * number))
        details, _ = self.refusal(lambda: self.translate(key, pan(50)))
        self.assertIn("different accounts", details)
        self.translate(key, pan(10))
        self.assertEqual(self.counter("terminal_accounts"), 1)

    def test_zone_as_source(self):
        self.start(pin_account_per_minute=0, pin_account_per_hour=0, pin_zone_per_minute=0, pin_zone_per_hour=3)
        block = self.translate(self.terminal(1)[0], PAN).block
        again = hsm.TranslatePinRequest(source=ZONE, destination=ZONE, source_format=1, destination_format=1, pan=PAN,
                                        block=block)
        for _ in range(3):
            self.estate.data.TranslatePin(again, timeout=30)
        details, _ = self.refusal(lambda: self.estate.data.TranslatePin(again, timeout=30))
        self.assertIn("from zone bank", details)

    def decode(self, kind, name):
        """Where formats differ, an answer tells whether a block decodes: so often, then nothing of it is decoded."""
        self.start(pin_account_per_minute=0, pin_account_per_hour=0, **{f"pin_failures_{kind}_per_hour": 3})
        key = self.terminal(1)[0]
        good = self.request(key, PAN)
        good.destination_format = hsm.PIN_FORMAT_ISO_4
        good.destination.zone.suite = types.SUITE_AES_128
        bad = hsm.TranslatePinRequest()
        bad.CopyFrom(good)
        bad.block = os.urandom(7) + ref.des_ecb(key[1], bytes(8))[:1]
        self.estate.data.TranslatePin(good, timeout=30)
        for _ in range(3):
            with self.assertRaises(grpc.RpcError) as caught:
                self.estate.data.TranslatePin(bad, timeout=30)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DATA_LOSS)
        for request in (bad, good):
            details, _ = self.refusal(lambda request=request: self.estate.data.TranslatePin(request, timeout=30))
            self.assertIn(name, details)
        self.estate.data.TranslatePin(self.request(key, PAN), timeout=30)  # passed on unread: nothing is learnt
        self.assertEqual(self.counter(f"failure_{kind}"), 2)
        self.assertIn(name, self.records())
        self.assertEqual(self.records(kind="use").count("CHECK"), 3)  # each failure, though uses are sampled

    def test_blocks_of_one_key_that_do_not_decode(self):
        self.decode("key", "62010000001200000001")

    def test_blocks_of_one_account_that_do_not_decode(self):
        self.decode("account", "account (by its HMAC)")

    def test_blocks_of_one_caller_that_do_not_decode(self):
        self.decode("caller", "of caller")

    def test_altered_blob_counts_for_nobody(self):
        """It only says whose it is: nobody is locked out by a blob that was never his."""
        self.start(pin_account_per_minute=0, pin_account_per_hour=3, pin_terminal_per_minute=0, pin_terminal_per_hour=3,
                   pin_failures_key_per_hour=3)
        key = self.terminal(1)[0]
        bad = hsm.TranslatePinRequest()
        bad.CopyFrom(self.request(key, PAN))
        bad.source.blob = key[0].blob[:-1] + bytes([key[0].blob[-1] ^ 1])
        for _ in range(6):
            with self.assertRaises(grpc.RpcError) as caught:
                self.estate.data.TranslatePin(bad, timeout=30)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DATA_LOSS)
        for _ in range(3):
            self.translate(key, PAN)

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
        batch = hsm.ProcessBatchRequest(items=[hsm.BatchItem(generate_mac=mac)] * 18)
        with self.assertRaises(grpc.RpcError) as caught:  # refused: it uses up one operation, not all of the others'
            self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=[hsm.BatchItem()] * 30000), timeout=30)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.estate.data.ProcessBatch(batch, timeout=30)
        self.estate.data.GenerateMac(mac, timeout=30)
        details, _ = self.refusal(lambda: [self.estate.data.GenerateMac(mac, timeout=30) for _ in range(30)])
        self.assertIn("quota", details)
        self.estate.control.GetStatus(hsm.GetStatusRequest(), timeout=30)  # looking is not limited
        self.assertIn("quota", self.records())


if __name__ == "__main__":
    unittest.main(verbosity=2)
