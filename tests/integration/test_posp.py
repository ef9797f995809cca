"""posward-posp on its terminals' line, with the real HSM service, POSV and bank behind it."""
import json
import os
import random
import time
import unittest

import grpc

from posp_estate import (PAN, PIN, POOR_PAN, TRIES_PAN, Line, PospEstate, Terminal, business, frame, pack, posp, posv,
                         unpack)
from estate import SOURCE

estate = None


def read(path):
    with open(path, "rb") as f:
        return f.read()


def setUpModule():
    global estate
    estate = PospEstate(max_message_bytes=2048)
    estate.launch("hsm").launch("posv", "bank").launch("posp")


def tearDownModule():
    statuses = {name: estate.end(name) for name in ("posp", "bank", "posv", "hsm")}
    estate.drop()
    assert not any(statuses.values()), statuses


numbers = iter(range(1, 1000))


def terminal(suite="tdes", signed_in=True, code="004", wrap=None):
    number = next(numbers)
    t = estate.register(f"T{number:07d}", f"6201{number:016d}", suite, wrap)
    if signed_in:
        assert t.sign_in(code)[39] == "00"
    return t


class SignIn(unittest.TestCase):
    def test_each_layout(self):
        t = terminal(signed_in=False)
        for code, size in (("003", 40), ("004", 60), ("005", 84)):
            answer = t.sign_in(code)
            self.assertEqual((answer[39], len(answer[62])), ("00", size))
            self.assertEqual(set(answer), {11, 12, 13, 32, 37, 39, 41, 42, 60, 62})

    def test_aes_is_always_84(self):
        for suite in ("aes-128", "aes-256"):
            t = terminal(suite, signed_in=False)
            for code in ("001", "003", "004", "005"):
                self.assertEqual(len(t.sign_in(code)[62]), 84)

    def test_each_wrap_version(self):
        """The card's, as POSV says it; a card that is issued again changes it."""
        for suite in ("aes-128", "aes-256"):
            for wrap in (1, 2):
                self.assertEqual(terminal(suite, wrap=wrap).purchase()[39], "00")
        t = terminal("aes-256", wrap=1)
        change = estate.stub("posv").ReplaceCard(posv.ReplaceCardRequest(
            terminal_id=t.id, psam_number=t.psam, suite=3, master_version=1, wrap_version=2, reason="test"), timeout=10)
        self.assertEqual(change.wrap_version, 2)
        estate.wait_revision(change.revision)
        t.wrap = 2
        self.assertEqual(t.sign_in()[39], "00")
        self.assertEqual(t.purchase()[39], "00")

    def test_wrap_version_is_1_where_it_is_not_said(self):
        number = next(numbers)
        device = estate.stub("posv").RegisterDevice(posv.RegisterDeviceRequest(
            terminal_id=f"T{number:07d}", merchant_id="898100012345678", psam_number=f"6201{number:016d}", suite=3,
            master_version=1), timeout=10)
        self.assertEqual(device.wrap_version, 1)
        estate.wait_revision(device.revision)
        t = Terminal(estate, device.terminal_id, device.psam_number, "aes-256", wrap=1)
        self.assertEqual(t.sign_in()[39], "00")
        self.assertEqual(t.purchase()[39], "00")

    def test_unknown_terminal(self):
        t = Terminal(estate, "X0000001", "6201000000000001", "tdes")
        self.assertEqual(t.sign_in()[39], "97")

    def test_other_merchant(self):
        t = terminal(signed_in=False)
        self.assertEqual(t.sign_in(f42="000000000000000")[39], "03")

    def test_suspended_then_resumed_then_retired(self):
        t, registry = terminal(), estate.stub("posv")
        for change, code in ((registry.SuspendDevice, "58"), (registry.ResumeDevice, "00"), (registry.RetireDevice, "97")):
            kind = {registry.SuspendDevice: posv.SuspendDeviceRequest, registry.ResumeDevice: posv.ResumeDeviceRequest,
                    registry.RetireDevice: posv.RetireDeviceRequest}[change]
            estate.wait_revision(change(kind(terminal_id=t.id, reason="test"), timeout=10).revision)
            self.assertEqual(t.sign_in()[39], code)

    def test_serial_number_and_psam_number(self):
        t = terminal(signed_in=False)
        for f62, code in ((b"Sequence No163150SXX-C3404119", "00"), (t.psam.encode(), "00"), (t.psam[-16:].encode(), "00"),
                          (b"62010000000000009999", "A7"), (b"nonsense", "30")):
            self.assertEqual(t.sign_in(f62=f62)[39], code, f62)

    def test_lost_answer_does_not_lock_out(self):
        t = terminal()
        self.assertEqual(t.purchase()[39], "00")
        for _ in range(3):
            t.sign_in(keep=False)
            self.assertEqual(t.purchase()[39], "00")
        old = dict(t.keys)
        t.sign_in()
        self.assertEqual(t.purchase()[39], "00")
        t.keys = old
        self.assertEqual(t.purchase(check=False)[39], "A0")

    def test_replaced_card_must_sign_in(self):
        t = terminal()
        change = estate.stub("posv").ReplaceCard(posv.ReplaceCardRequest(
            terminal_id=t.id, psam_number="6299" + t.psam[4:], suite=1, master_version=1, reason="test"), timeout=10)
        estate.wait_revision(change.revision)
        self.assertEqual(t.purchase(check=False)[39], "99")

    def test_sign_off_and_echo(self):
        t = terminal()
        for code in ("002", "301"):
            fields = t.sign_in_fields(code)
            del fields[63]
            mti, answer = unpack(t.exchange(pack("0820", fields)))
            self.assertEqual((mti, answer[39]), ("0830", "00"))
        self.assertEqual(t.purchase()[39], "00")


class Purchase(unittest.TestCase):
    def test_approved_in_each_form(self):
        for suite, code in (("tdes", "003"), ("tdes", "004"), ("tdes", "005"), ("aes-128", "004"),
                            ("aes-256", "004")):
            t = terminal(suite, code=code)
            for details in ({}, {"pin": None}, {"track": False}, {"show_pan": True}):
                answer = t.purchase(**details)
                self.assertEqual(answer[39], "00", (suite, code, details))
                self.assertEqual(len(answer[38]), 6)
                for field in (3, 4, 11, 12, 13, 15, 25, 32, 37, 41, 42, 44, 49, 60, 63, 64):
                    self.assertIn(field, answer)
                for field in (35, 36, 52, 57):
                    self.assertNotIn(field, answer)

    def test_declines_of_the_bank(self):
        t = terminal()
        self.assertEqual(t.purchase(pan=POOR_PAN, amount=101)[39], "51")
        self.assertEqual(t.purchase(pan="6225758326739999")[39], "14")
        self.assertEqual(t.purchase(expiry="2001")[39], "54")
        for code in ("55", "55", "55", "75"):
            self.assertEqual(t.purchase(pan=TRIES_PAN, pin="654321")[39], code)
        self.assertEqual(t.purchase(pan=TRIES_PAN)[39], "75")

    def test_no_route(self):
        self.assertEqual(terminal().purchase(pan="4111111111111111")[39], "92")

    def test_pin_of_another_key_is_the_issuers_to_refuse(self):
        t = terminal()
        fields = t.purchase_fields()
        fields[52] = os.urandom(8)
        declined = estate.stub("bank").GetStatus(business.GetStatusRequest()).declined
        self.assertIn(t.settle(t.exchange(t.seal(fields)))[39], ("99", "55"))
        self.assertEqual(estate.stub("bank").GetStatus(business.GetStatusRequest()).declined, declined + 1)

    def test_no_working_keys(self):
        t = terminal(signed_in=False)
        t.keys = {"mak": os.urandom(16), "pik": os.urandom(16), "tdk": os.urandom(16)}
        self.assertEqual(t.purchase(check=False)[39], "99")

    def test_mac(self):
        t = terminal()
        fields = t.purchase_fields()
        good = t.seal(fields)
        for at in (15, 20, len(good) - 1):
            bad = bytearray(good)
            bad[at] ^= 1
            code = t.settle(t.exchange(bytes(bad)), check=False)[39]
            self.assertIn(code, ("A0", "30"), at)
        tampered = t.seal(fields).replace(bytes.fromhex("000000000100"), bytes.fromhex("000000000001"))
        self.assertEqual(t.settle(t.exchange(tampered), check=False)[39], "A0")
        self.assertEqual(t.settle(t.exchange(pack("0200", fields)), check=False)[39], "A0")

    def test_repeat_is_replayed_and_booked_once(self):
        t = terminal()
        before = estate.stub("bank").GetStatus(business.GetStatusRequest()).authorized
        message = t.seal(t.purchase_fields())
        first = t.exchange(message)
        self.assertEqual(t.settle(first)[39], "00")
        for _ in range(3):
            self.assertEqual(t.exchange(message), first)
        self.assertEqual(estate.stub("bank").GetStatus(business.GetStatusRequest()).authorized, before + 1)

    def test_repeat_after_new_sign_in_has_a_mac_of_the_new_key(self):
        t = terminal()
        fields = t.purchase_fields(track=False)
        first = t.settle(t.exchange(t.seal(fields)))
        t.trace += 10
        t.sign_in()
        fields.update({52: t.purchase_fields(track=False)[52]})
        again = t.settle(t.exchange(t.seal(fields)))
        self.assertEqual((first[37], first[38], first[39]), (again[37], again[38], again[39]))

    def test_same_trace_other_content(self):
        t = terminal()
        fields = t.purchase_fields(track=False)
        self.assertEqual(t.settle(t.exchange(t.seal(fields)))[39], "00")
        fields[4] = f"{200:012d}"
        self.assertEqual(t.settle(t.exchange(t.seal(fields)))[39], "94")

    def test_reference_numbers_differ(self):
        t = terminal()
        seen = {t.purchase()[37] for _ in range(20)} | {t.sign_in()[37]}
        self.assertEqual(len(seen), 21)


class Form(unittest.TestCase):
    """Missing, oversized, truncated and contradictory fields."""

    def code(self, t, fields, mti="0200", seal=True):
        message = t.seal(fields, mti) if seal else pack(mti, fields)
        return unpack(t.exchange(message))[1][39]

    def test_missing_fields(self):
        t = terminal()
        for field in (3, 4, 11, 22, 25, 41, 42, 49, 60):
            fields = t.purchase_fields()
            del fields[field]
            self.assertEqual(self.code(t, fields), "30", field)
        for field in (11, 41, 42, 60, 63):
            fields = t.sign_in_fields()
            del fields[field]
            self.assertEqual(self.code(t, fields, "0800", seal=False), "30", field)

    def test_contradictions(self):
        t, aes = terminal(), terminal("aes-128")
        changes = [({52: None}, "30"), ({53: None}, "30"), ({53: "0610000000000000"}, "30"),
                   ({53: "1610000000000000"}, "30"), ({53: "2410000000000000"}, "30"), ({35: None}, "30"),
                   ({53: "2600000000000000"}, ("30", "54")), ({35: "", 53: "2600000000000000"}, "30"), ({57: bytes(16)}, "30"), ({2: "6225758326730000"}, ("30", "99", "55")),
                   ({14: "2501"}, "30"), ({4: "0" * 12}, "13"), ({35: "6225D30121"}, "30"), ({60: "2200000100"}, "30"),
                   ({3: "310000"}, "12"), ({3: "200000"}, "12")]
        for change, wanted in changes:
            fields = {**t.purchase_fields(), **change}
            fields = {k: v for k, v in fields.items() if v is not None}
            self.assertIn(self.code(t, fields), wanted if isinstance(wanted, tuple) else (wanted,), change)
        for change in ({57: None}, {57: bytes(8)}, {52: bytes(8)}, {53: "2610000000000000"}, {35: (PAN + "D3012101")[:33]}):
            fields = {**aes.purchase_fields(), **change}
            fields = {k: v for k, v in fields.items() if v is not None}
            self.assertEqual(self.code(aes, fields), "30", change)
        self.assertEqual(t.purchase()[39], "00")

    def test_other_messages(self):
        t = terminal()
        for mti, code in (("0100", "12"), ("0220", "12"), ("0400", "12"), ("0500", "12"), ("0320", "12")):
            fields = t.purchase_fields()
            mti_back, answer = unpack(t.exchange(t.seal(fields, mti)))
            self.assertEqual((mti_back, answer[39]), (f"{int(mti) + 10:04d}", code))
        fields = t.sign_in_fields("999")
        self.assertEqual(self.code(t, fields, "0800", seal=False), "12")

    def test_cut_at_every_byte(self):
        t = terminal()
        message = t.seal(t.purchase_fields())
        with Line(estate.terminals_port) as line:
            for size in range(10, len(message)):
                line.send(frame(message[:size]))
                mti, answer = unpack(line.receive())
                self.assertEqual((mti, answer[39]), ("0210", "30"), size)
        self.assertEqual(t.purchase()[39], "00")

    def test_what_is_no_message_closes(self):
        for data in (frame(b""), frame(b"\x02"), frame(bytes.fromhex("0200") + bytes(7)), frame(bytes.fromhex("02AA") + bytes(8)), frame(pack("0210", {39: "00"})),
                     b"\x00\x00", b"\x00\x05" + bytes(5), b"\xff\xff" + bytes(64), b"GET / HTTP/1.0\r\n\r\n",
                     frame(bytes(3000)), frame(bytes(20), tpdu=bytes(5))):
            with Line(estate.terminals_port) as line:
                line.send(data)
                self.assertIsNone(line.receive(), data[:20])

    def test_half_a_frame_and_then_silence_leaves_others_alone(self):
        t = terminal()
        with Line(estate.terminals_port) as line:
            line.send(frame(t.seal(t.purchase_fields()))[:-1])
            self.assertEqual(t.purchase()[39], "00")

    def test_mutations_of_published_messages(self):
        with open(f"{SOURCE}/tests/vectors/iso8583.json") as f:
            vectors = json.load(f)
        seeds = []
        for vector in vectors:
            raw = bytes.fromhex(vector["inputs"]["raw"])
            raw = raw[2:] if vector["inputs"].get("has_length") else raw
            seeds.append(raw[11:] if vector["inputs"].get("has_tpdu_header", True) else raw)
        chance = random.Random(20090701)
        until, tried, answered = time.monotonic() + 8, 0, 0
        line = Line(estate.terminals_port)
        while time.monotonic() < until:
            data = bytearray(chance.choice(seeds))
            for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
                kind, at = chance.randrange(4), chance.randrange(len(data))
                if kind == 0:
                    data[at] ^= 1 << chance.randrange(8)
                elif kind == 1:
                    data[at] = chance.randrange(256)
                elif kind == 2 and len(data) > 12:
                    del data[at:at + chance.randrange(1, 8)]
                else:
                    data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 8)))
                if not data:
                    data = bytearray(b"\x02")
            tried += 1
            try:
                line.send(frame(bytes(data)))
                answer = line.receive()
            except OSError:
                answer = None
            if answer is None:
                line.close()
                line = Line(estate.terminals_port)
                continue
            answered += 1
            mti, fields = unpack(answer)
            self.assertIn(39, fields)
            self.assertNotEqual(fields[39], "00")
        line.close()
        self.assertGreater(answered, 100, tried)
        self.assertIsNone(estate.processes["posp"].poll())
        self.assertEqual(terminal().purchase()[39], "00")


class Connections(unittest.TestCase):
    def test_pipelined_messages_are_all_answered(self):
        t = terminal()
        messages = [t.seal(t.purchase_fields()) for _ in range(30)]
        with Line(estate.terminals_port) as line:
            line.send(b"".join(frame(m) for m in messages))
            answers = [unpack(line.receive())[1] for _ in messages]
        self.assertEqual({a[39] for a in answers}, {"00"})
        self.assertEqual(len({a[11] for a in answers}), 30)

    def test_byte_by_byte(self):
        t = terminal()
        with Line(estate.terminals_port) as line:
            for byte in frame(t.seal(t.purchase_fields())):
                line.send(bytes([byte]))
            self.assertEqual(t.settle(line.receive())[39], "00")

    def test_half_closed_connection_is_answered(self):
        t = terminal()
        with Line(estate.terminals_port) as line:
            line.send(frame(t.seal(t.purchase_fields())))
            line.socket.shutdown(1)
            self.assertEqual(t.settle(line.receive())[39], "00")
            self.assertIsNone(line.receive())

    def test_connection_that_dies_loses_nothing(self):
        t = terminal()
        message = t.seal(t.purchase_fields())
        line = Line(estate.terminals_port)
        line.send(frame(message))
        line.close()
        self.assertEqual(t.settle(t.exchange(message))[39], "00")

    def test_limit_of_connections(self):
        lines = [Line(estate.terminals_port) for _ in range(64)]
        with Line(estate.terminals_port) as one_more:
            self.assertIsNone(one_more.receive())
        for line in lines:
            line.close()
        t = terminal()
        estate.wait_until(lambda: estate.status_of_posp().terminals_connected == 0)
        self.assertEqual(t.purchase()[39], "00")


class Records(unittest.TestCase):
    def test_journal_has_no_card_data(self):
        t = terminal()
        t.purchase()
        t.purchase(show_pan=True)
        listed = estate.stub("posp").ListTransactions(posp.ListTransactionsRequest(terminal_id=t.id), timeout=10)
        self.assertEqual(len(listed.transactions), 2)
        self.assertEqual(listed.transactions[0].masked_pan, PAN[:6] + "******" + PAN[-4:])
        self.assertEqual((listed.transactions[0].state, listed.transactions[0].response_code), ("answered", "00"))
        for name in ("posp.db", "posp.db-wal"):
            data = read(f"{estate.dir}/{name}")
            for what in (PAN.encode(), bytes.fromhex(PAN), PIN.encode() + b"=", t.keys["mak"], t.keys["pik"], t.tmk):
                self.assertNotIn(what, data)
        self.assertNotIn(PAN, estate.text("posp"))
        self.assertNotIn(PAN, estate.text("bank"))

    def test_listing_refuses_what_names_no_terminal(self):
        call = estate.stub("posp").ListTransactions
        self.assertEqual(len(call(posp.ListTransactionsRequest(terminal_id="X9999999")).transactions), 0)
        for request, words in ((posp.ListTransactionsRequest(terminal_id="T1"), "terminal_id must be 8 characters"),
                               (posp.ListTransactionsRequest(terminal_id="T0000001\0x"), "terminal_id holds a NUL byte"),
                               (posp.ListTransactionsRequest(limit=1001), "limit is at most 1000")):
            with self.assertRaises(grpc.RpcError) as caught:
                call(request, timeout=10)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(words, caught.exception.details())

    def test_status(self):
        status = estate.status_of_posp()
        self.assertTrue(status.following)
        self.assertGreater(status.devices_known, 0)

    def test_card_keys(self):
        from posward.types.v1 import types_pb2
        import grpc
        cards = estate.stub("cards")
        made = cards.RequestCardKey(posp.RequestCardKeyRequest(
            psam_number="62010000009999999999", suite=types_pb2.SUITE_TDES, profile=1, challenge=bytes(8)), timeout=10)
        self.assertGreater(len(made.apdus), 0)
        card = cards.GetCard(posp.GetCardRequest(psam_number="62010000009999999999"), timeout=10)
        self.assertEqual((card.state, card.kcv, card.wrap_version, made.wrap_version), (1, made.kcv, 1, 1))
        made_2 = cards.RequestCardKey(posp.RequestCardKeyRequest(
            psam_number="62010000009999999998", suite=types_pb2.SUITE_AES_256, challenge=bytes(8), wrap_version=2), timeout=10)
        card_of_2 = cards.GetCard(posp.GetCardRequest(psam_number="62010000009999999998"), timeout=10)
        self.assertEqual((card_of_2.wrap_version, made_2.wrap_version, made_2.apdus[0][7]), (2, 2, 0x13))
        with self.assertRaises(grpc.RpcError) as refused:
            cards.ConfirmCardKey(posp.ConfirmCardKeyRequest(psam_number=card.psam_number, kcv=b"\0\0\0"), timeout=10)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        cards.ConfirmCardKey(posp.ConfirmCardKeyRequest(psam_number=card.psam_number, kcv=made.kcv[:3]), timeout=10)
        self.assertEqual(cards.GetCard(posp.GetCardRequest(psam_number=card.psam_number), timeout=10).state, 2)
        for request in ({"psam_number": "1"}, {"psam_number": "6" * 21}, {"psam_number": "62010000009999999999"}):
            with self.assertRaises(grpc.RpcError) as refused:
                cards.RequestCardKey(posp.RequestCardKeyRequest(**request), timeout=10)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT, request)
        with self.assertRaises(grpc.RpcError) as refused:
            cards.GetCard(posp.GetCardRequest(psam_number="6201000000888888"), timeout=10)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.NOT_FOUND)


if __name__ == "__main__":
    unittest.main()
