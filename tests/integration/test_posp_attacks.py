"""What somebody on a terminal's line, or with POSP's credential, may try: no PIN moves but the one of a whole message
that its terminal has sealed."""
import os
import sqlite3
import unittest

import grpc

from posp_estate import PAN, Line, PospEstate, business, frame, unpack
from estate import START_S
from hsm_estate import hsm, stubs

OTHER_PAN = "6225758326736427"
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED)

estate, service = None, None


def setUpModule():
    global estate, service
    estate = PospEstate()
    estate.launch("hsm").launch("posv", "bank").launch("posp")
    service = stubs.DataPlaneStub(grpc.insecure_channel(f"127.0.0.1:{estate.ports['hsm']}"))


def tearDownModule():
    statuses = {name: estate.end(name) for name in ("posp", "bank", "posv", "hsm")}
    estate.drop()
    assert not any(statuses.values()), statuses


numbers = iter(range(1, 100))


def terminal(suite="tdes"):
    number = next(numbers)
    t = estate.register(f"V{number:07d}", f"6201{number:016d}", suite)
    assert t.sign_in()[39] == "00"
    return t


def seen_by_bank():
    status = estate.stub("bank").GetStatus(business.GetStatusRequest(), timeout=10)
    return status.authorized + status.declined


def flips(message):
    for at in range(len(message)):
        for mask in (0x01, 0xF0):
            bad = bytearray(message)
            bad[at] ^= mask
            yield at, bytes(bad)


class OnTheLine(unittest.TestCase):
    def setUp(self):
        self.before = seen_by_bank()

    def assert_code(self, t, message, codes, what):
        answer = unpack(t.exchange(message))[1]
        self.assertIn(answer[39], codes, what)
        self.assertEqual(seen_by_bank(), self.before, what)

    def test_single_des_is_not_given(self):
        t = terminal()
        self.assertEqual(t.sign_in("001")[39], "A7")
        self.assertIn("F60.3 003", estate.text("posp"))
        self.assertEqual(t.purchase()[39], "00")  # the keys of before go on

    def test_fields_that_contradict_each_other(self):
        t, aes = terminal(), terminal("aes-128")
        rows = [(t, {2: OTHER_PAN}, ("30",)), (aes, {2: OTHER_PAN}, ("30",)),
                (t, {2: OTHER_PAN, 52: None, 53: "0610000000000000"}, ("30",)),
                (t, {2: OTHER_PAN, 35: PAN + "D30121011111111", 53: "2600000000000000"}, ("30",)),
                (t, {52: None}, ("30",)), (t, {53: None}, ("30",)), (t, {53: "0610000000000000"}, ("30",)),
                (aes, {57: None}, ("30",)), (t, {35: None, 53: "2600000000000000"}, ("30",))]
        for sender, change, codes in rows:
            fields = {**sender.purchase_fields(), **change}
            self.assert_code(sender, sender.seal({k: v for k, v in fields.items() if v is not None}), codes, change)

    def test_each_byte_changed_under_the_old_mac(self):
        for suite in ("tdes", "aes-128"):
            t = terminal(suite)
            message = t.seal(t.purchase_fields(show_pan=suite == "tdes"))
            line = Line(estate.terminals_port)
            for at, bad in flips(message):
                line.send(frame(bad))
                answer = line.receive()
                if answer is None:  # no request at all: closed
                    line.close()
                    line = Line(estate.terminals_port)
                else:
                    self.assertNotEqual(unpack(answer)[1][39], "00", at)
            line.close()
            self.assertEqual(seen_by_bank(), self.before)
            self.assertEqual(t.settle(t.exchange(message))[39], "00")
            self.before = seen_by_bank()

    def test_parts_of_two_messages(self):
        t = terminal()
        one, two = (t.purchase_fields(pan=pan, show_pan=True) for pan in (PAN, OTHER_PAN))
        for field in (2, 35, 52):
            self.assertEqual(len(one[field]), len(two[field]))
            sealed = t.seal(one)
            mac = sealed[-8:]
            mixed = t.seal({**one, field: two[field]})[:-8] + mac
            self.assert_code(t, mixed, ("A0",), field)


class ShortMak(unittest.TestCase):
    """Layout 003 has an 8-byte MAK: served until policy.tdes_mak_bytes_min forbids it."""

    def serve_with(self, text):
        estate.end("hsm")
        estate.put("hsm.yaml", text)
        estate.launch("hsm")
        estate.wait_until(lambda: self.probe.purchase()[39] == "00", START_S)

    def test_policy_leads_terminals_to_longer_ones(self):
        t, self.probe = terminal(), terminal()
        with open(f"{estate.dir}/hsm.yaml") as f:
            as_it_was = f.read()
        self.assertEqual(t.sign_in("003")[39], "00")
        self.assertEqual(t.purchase()[39], "00")
        self.serve_with(as_it_was + "policy: {tdes_mak_bytes_min: 16}\n")
        self.assertEqual(t.purchase(check=False)[39], "99")  # sign in again
        self.assertEqual(t.sign_in("003")[39], "A7")
        self.assertIn("tdes_mak_bytes_min", estate.text("posp"))
        self.assertEqual(t.sign_in("004")[39], "00")
        self.assertEqual(t.purchase()[39], "00")
        self.serve_with(as_it_was)


class WithPospsCredential(unittest.TestCase):
    """The store of POSP, and its right to call the HSM service."""

    def blobs(self, t):
        with sqlite3.connect(f"file:{estate.dir}/posp.db?mode=ro", uri=True) as db:
            row = db.execute("SELECT pik, mak, tdk FROM key_sets WHERE terminal_id = ? ORDER BY generation DESC",
                             (t.id,)).fetchone()
        return dict(zip(("pik", "mak", "tdk"), row))

    def process(self, t, message, keys=None, parts="mpt", psam=None):
        keys = keys or self.blobs(t)
        request = hsm.ProcessTransactionRequest(message=message, psam_number=psam or t.psam, dialect="unionpay")
        if "m" in parts:
            request.mac.blob = keys["mak"]
        if "p" in parts:
            request.pin.blob = keys["pik"]
            request.pin.destination.zone = "bank"
            request.pin.destination.suite = 2 if t.aes else 1
            request.pin.destination_format = hsm.PIN_FORMAT_ISO_4 if t.aes else hsm.PIN_FORMAT_ISO_0
        if "t" in parts:
            request.track.blob = keys["tdk"]
        return service.ProcessTransaction(request, timeout=START_S)

    def assert_no_pin(self, t, message, why, **details):
        try:
            answer = self.process(t, message, **details)
        except grpc.RpcError as refusal:
            self.assertIn(refusal.code(), REFUSED, why)
            return
        self.assertFalse(answer.mac.matches, why)
        self.assertFalse(answer.HasField("pin") or answer.HasField("track"), why)

    def test_each_byte_changed_under_the_old_mac(self):
        for suite in ("tdes", "aes-128"):
            t = terminal(suite)
            message = t.seal(t.purchase_fields())
            self.assertEqual(len(self.process(t, message).pin.block), 16 if t.aes else 8)
            for at, bad in flips(message):
                self.assert_no_pin(t, bad, at)

    def test_message_cut_or_longer(self):
        t = terminal()
        message = t.seal(t.purchase_fields())
        for size in range(len(message)):
            self.assert_no_pin(t, message[:size], size)
        self.assert_no_pin(t, message + bytes(1), "longer")

    def test_parts_that_do_not_stand_alone(self):
        t = terminal()
        message = t.seal(t.purchase_fields())
        for parts in ("p", "pt", "t", "mp", ""):  # the last but one: what the track says is not known
            self.assert_no_pin(t, message, parts, parts=parts)

    def test_keys_of_two_sign_ins_or_terminals(self):
        t, other = terminal(), terminal()
        before = self.blobs(t)
        self.assertEqual(t.sign_in()[39], "00")
        now, others = self.blobs(t), self.blobs(other)
        message = t.seal(t.purchase_fields())
        for name in ("pik", "tdk"):
            for foreign in (before, others):
                self.assert_no_pin(t, message, name, keys={**now, name: foreign[name]})
        self.assert_no_pin(t, message, "psam_number", psam=other.psam)
        self.assertTrue(self.process(t, message).pin.block)

    def test_answer_is_no_message_of_a_terminal(self):
        t = terminal()
        for mti in ("0210", "0230"):
            self.assert_no_pin(t, t.seal(t.purchase_fields(), mti), mti)

    def test_pin_block_of_another_key_or_card_goes_on_as_it_is(self):
        """No oracle: what cannot be opened looks as what can, and is the issuer's to refuse."""
        t = terminal()
        for fields in (t.purchase_fields(), {**t.purchase_fields(), 52: os.urandom(8)}, t.purchase_fields(pan=OTHER_PAN)):
            self.assertEqual(len(self.process(t, t.seal(fields)).pin.block), 8)


if __name__ == "__main__":
    unittest.main()
