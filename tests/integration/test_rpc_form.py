#!/usr/bin/python3
"""Requests that can be read in two ways, from a client that sends bytes of its own making: every method of every
service refuses them, at every depth, before anything reads them."""
import unittest

import grpc
from google.protobuf.descriptor import FieldDescriptor as Field

from hsm_estate import Estate, hsm, load_stubs, types
from posp_estate import PospEstate, business, posp, posv

keys, _ = load_stubs("hsm/keys")
INPUT = grpc.StatusCode.INVALID_ARGUMENT
SERVICES = {  # by the daemon that has them
    "hsm": [hsm.DESCRIPTOR.services_by_name["DataPlane"]],
    "hsm_control": [hsm.DESCRIPTOR.services_by_name["Control"], keys.DESCRIPTOR.services_by_name["KeyManagement"]],
    "posv": list(posv.DESCRIPTOR.services_by_name.values()),
    "posp": list(posp.DESCRIPTOR.services_by_name.values()),
    "bank": list(business.DESCRIPTOR.services_by_name.values()),
}
FIXED64 = {Field.TYPE_FIXED64, Field.TYPE_SFIXED64, Field.TYPE_DOUBLE}
FIXED32 = {Field.TYPE_FIXED32, Field.TYPE_SFIXED32, Field.TYPE_FLOAT}
LENGTHS = {Field.TYPE_STRING, Field.TYPE_BYTES, Field.TYPE_MESSAGE}
VARINT_BITS = {Field.TYPE_BOOL: 1, Field.TYPE_INT32: 31, Field.TYPE_UINT32: 32, Field.TYPE_ENUM: 31}
PSAM, PAN = "12345678901234567890", "6225880000000009"


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def packed(number, value=b"", wire=2):
    return varint(number << 3 | wire) + (varint(len(value)) if wire == 2 else b"") + value


def wire_of(field):
    return 2 if field.type in LENGTHS else 1 if field.type in FIXED64 else 5 if field.type in FIXED32 else 0


def value_of(field):
    return {0: b"\1", 1: bytes(8), 2: b"", 5: bytes(4)}[wire_of(field)]


def wrong_fields(field):
    """What one field of a message can be made to be; with the words of the refusal."""
    wire, value = wire_of(field), value_of(field)
    once = packed(field.number, value, wire)
    repeated = field.label == Field.LABEL_REPEATED
    other = 0 if wire == 2 else 5 if wire == 0 else 0
    yield packed(field.number, {0: b"\1", 5: bytes(4)}[other], other), "another wire type than its own"
    if not repeated:
        yield once * 2, "one member too many" if field.containing_oneof else "stands twice"
        for sibling in field.containing_oneof.fields if field.containing_oneof else []:
            yield packed(sibling.number, value_of(sibling), wire_of(sibling)) + once, "one member too many"
    if field.type in VARINT_BITS:
        yield packed(field.number, varint(1 << VARINT_BITS[field.type]), 0), "a number that does not fit"
    if wire == 0:
        yield packed(field.number, b"\x81\x00", 0), "a varint that is longer"
    if wire == 2:
        yield varint(field.number << 3 | 2) + b"\x80\x00", "a varint that is longer"
        yield varint(field.number << 3 | 2) + b"\x05abcd", "cut short"
    if field.type == Field.TYPE_STRING:
        yield packed(field.number, b"a\0b"), "holds a NUL byte"
        yield packed(field.number, b"\xff"), "is not UTF-8"
    yield varint(field.number << 3 | 3) + varint(field.number << 3 | 4), "a group"


# What any message can hold, whatever its fields.
WRONG = [(packed(9999, b"\x80\x00", 0), "a varint that is longer"),
         (packed(9999, b"\xff" * 9 + b"\x02", 0), "a varint that is longer"),
         (b"\x00\x01", "a field number"), (varint(1 << 32) + b"\x01", "a field number"), (b"\x87", "cut short"),
         (varint(9999 << 3 | 3) + varint(9999 << 3 | 4), "a group"), (varint(9999 << 3 | 2) + b"\x05", "cut short")]


def wrong_messages(message, depth=3):
    """All faults of a message type, and of the messages in it."""
    yield from ((body, words, "") for body, words in WRONG)
    for field in message.fields:
        yield from ((body, words, field.name) for body, words in wrong_fields(field))
        if field.type == Field.TYPE_MESSAGE and depth > 0:
            for body, words, name in wrong_messages(field.message_type, depth - 1):
                yield packed(field.number, body), words, f"{field.name}.{name}"


class Form(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = PospEstate().launch("hsm", "posv", "bank", "posp")
        cls.channels = {name: grpc.insecure_channel(f"127.0.0.1:{cls.estate.ports[name]}") for name in SERVICES}

    @classmethod
    def tearDownClass(cls):
        for channel in cls.channels.values():
            channel.close()
        assert [cls.estate.end(name) for name in ("posp", "bank", "posv", "hsm")] == [0] * 4
        cls.estate.drop()

    def call(self, daemon, method, body):
        """The failure of a call that is made with these bytes, or None."""
        path, channel = f"/{method.containing_service.full_name}/{method.name}", self.channels[daemon]
        try:
            if method.server_streaming:
                next(channel.unary_stream(path)(body, timeout=30))
            else:
                channel.unary_unary(path)(body, timeout=30)
            return None
        except grpc.RpcError as failure:
            return failure

    def refused(self, daemon, method, body, *words):
        failure = self.call(daemon, method, body)
        self.assertIsNotNone(failure, body.hex())
        self.assertEqual(failure.code(), INPUT, failure.details())
        for word in words:
            self.assertIn(word, failure.details())

    def each_method(self):
        for daemon, services in SERVICES.items():
            for service in services:
                for method in service.methods:
                    yield daemon, method

    def test_every_method_refuses_every_fault_at_every_depth(self):
        calls = 0
        for daemon, method in self.each_method():
            seen = set()
            for body, words, path in wrong_messages(method.input_type):
                kind = (path.count("."), path.rpartition(".")[2], words)  # one of a kind is enough
                if kind in seen:
                    continue
                seen.add(kind)
                calls += 1
                with self.subTest(daemon=daemon, method=method.name, path=path, body=body.hex()):
                    self.refused(daemon, method, body, words, path.rpartition(".")[2])
        self.assertGreater(calls, 1000)

    def test_unknown_fields_pass(self):
        """What a newer client sends: it is well-formed, so the method reads what it knows."""
        newer = packed(9999, b"\x05", 0) * 2 + packed(9998, b"\xff\xff") + packed(9997, bytes(8), 1)
        for daemon, service, name in [("hsm_control", "Control", "GetStatus"), ("posp", "Operations", "GetStatus"),
                                      ("posv", "Registry", "GetStatus"), ("hsm", "DataPlane", "Echo")]:
            method = next(s for s in SERVICES[daemon] if s.name == service).methods_by_name[name]
            self.assertIsNone(self.call(daemon, method, newer))


class Attacks(unittest.TestCase):
    """The bytes with which limits and audit log were passed by: the limit counts no call, as none is made."""

    @classmethod
    def setUpClass(cls):
        cls.estate = Estate().start()

    @classmethod
    def tearDownClass(cls):
        code = cls.estate.stop()
        cls.estate.drop()
        assert code == 0

    def refused(self, method, body, words):
        with self.assertRaises(grpc.RpcError) as caught:
            self.estate.channel.unary_unary(f"/posward.hsm.v1.DataPlane/{method}")(body, timeout=30)
        self.assertEqual((caught.exception.code(), caught.exception.details()), (INPUT, words))

    def test_second_readings_are_refused(self):
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        translate = hsm.TranslatePinRequest(source=hsm.KeyRef(blob=b"blob"), destination=zone, pan=PAN, block=bytes(8),
                                            source_format=hsm.PIN_FORMAT_ISO_0, destination_format=hsm.PIN_FORMAT_ISO_0)
        pin = translate.SerializeToString()
        part = hsm.TransactionPin(blob=b"blob", destination=zone.zone).SerializeToString()
        again = hsm.TransactionPin(destination_format=hsm.PIN_FORMAT_ISO_0).SerializeToString()
        transaction = packed(8, part) + packed(8, again)
        bogus = hsm.TranslatePinRequest(pan="1" * 16).SerializeToString()
        two_members = packed(3, bogus) + packed(6, packed(8, part))
        once, too_many = "stands twice; give it once", "is one member too many of its oneof; give one of them, once"
        self.refused("ProcessTransaction", transaction, f"pin {once}")
        self.refused("TranslatePin", pin + packed(1), f"source {once}")
        self.refused("TranslatePin", packed(1) + pin, f"source {once}")
        self.refused("GenerateMac", packed(1, packed(1, b"blob") + packed(2)) + packed(3, b"x"), f"key.zone {too_many}")
        self.refused("ProcessBatch", packed(1, two_members), f"items.process_transaction {too_many}")
        self.refused("ProcessBatch", packed(1, packed(3, pin)) + packed(1, packed(6, transaction)),
                     f"items.process_transaction.pin {once}")


if __name__ == "__main__":
    unittest.main()
