#!/usr/bin/python3
"""A client that is not ours calls every method of the HSM service, on each token; every answer is computed again."""
import os
import unittest

import grpc
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

import proven
import reference as ref
from hsm_estate import Estate, hsm, types

PSAM = "12345678901234567890"
PAN = "6225880000000009"
PIK, MAK, TDK = types.KEY_USAGE_PIK, types.KEY_USAGE_MAK, types.KEY_USAGE_TDK
SUITES = {"tdes": types.SUITE_TDES, "aes-128": types.SUITE_AES_128, "aes-256": types.SUITE_AES_256}


def zone(suite="tdes"):
    return hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=SUITES[suite]))


class Methods:
    """Every method; the subclass says on which token."""

    @classmethod
    def setUpClass(cls):
        cls.estate = Estate(cls.token).start()
        cls.data, cls.control = cls.estate.data, cls.estate.control

    @classmethod
    def tearDownClass(cls):
        log = cls.estate.log()
        status = cls.estate.stop()
        cls.estate.drop()
        assert status == 0, log
        for secret in [key.hex() for key in cls.estate.keys.values()] + [PAN]:
            assert secret not in log.lower()

    def working_keys(self, suite, *specs):
        """(usage, bytes, a MAK's algorithm) -> what was answered, and the clear keys by our own arithmetic."""
        answer = self.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=SUITES[suite], master_version=1,
            keys=[hsm.WorkingKeySpec(usage=usage, key_bytes=size, mac_algorithm=algorithm[0] if algorithm else 0)
                  for usage, size, *algorithm in specs]))
        tmk = ref.tmk_of(self.estate, suite, PSAM)
        clear = [ref.open_working_key(suite, tmk, key.cryptogram) for key in answer.keys]
        return answer, clear

    def blob_of(self, suite, usage, size=16, algorithm=hsm.MAC_ALGORITHM_UNSPECIFIED):
        answer, clear = self.working_keys(suite, (usage, size, algorithm))
        return hsm.KeyRef(blob=answer.keys[0].blob), clear[0]

    def test_working_keys_open_under_the_tmk(self):
        for suite in SUITES:
            size = 8 if suite == "tdes" else 16
            answer, clear = self.working_keys(suite, (PIK, 16), (MAK, size), (TDK, 0))
            self.assertEqual([key.usage for key in answer.keys], [PIK, MAK, TDK])
            self.assertEqual([len(key) for key in clear], [16, size, 16])
            self.assertEqual(answer.grade, types.GRADE_IN_TOKEN)
            for key, value in zip(answer.keys, clear):
                self.assertEqual(key.kcv, ref.kcv(suite, value))
                self.assertLessEqual(len(key.blob), 160)
                self.assertNotIn(value, key.blob)

    def test_every_mac(self):
        data = os.urandom(45)
        algorithms_of = {
            hsm.MAC_ALGORITHM_UNIONPAY_ECB: ("tdes", 16, lambda k: ref.unionpay_mac(k, data)),
            hsm.MAC_ALGORITHM_X9_9: ("tdes", 8, lambda k: ref.cbc_mac(k, ref.pad1(data, 8))),
            hsm.MAC_ALGORITHM_X9_19: ("tdes", 16, lambda k: ref.alg3_mac(k, ref.pad1(data, 8))),
            hsm.MAC_ALGORITHM_ISO9797_1_ALG1_PAD1: ("tdes", 16, lambda k: ref.cbc_mac(k, ref.pad1(data, 8))),
            hsm.MAC_ALGORITHM_ISO9797_1_ALG1_PAD2: ("tdes", 16, lambda k: ref.cbc_mac(k, ref.pad2(data, 8))),
            hsm.MAC_ALGORITHM_ISO9797_1_ALG3_PAD2: ("tdes", 16, lambda k: ref.alg3_mac(k, ref.pad2(data, 8))),
            hsm.MAC_ALGORITHM_AES_CMAC: ("aes-128", 16, lambda k: ref.aes_cmac(k, data)),
        }
        for algorithm, (suite, size, expected) in algorithms_of.items():
            with self.subTest(hsm.MacAlgorithm.Name(algorithm)):
                key, clear = self.blob_of(suite, MAK, size, algorithm)
                made = self.data.GenerateMac(hsm.GenerateMacRequest(key=key, algorithm=algorithm, data=data))
                self.assertEqual(made.mac, expected(clear))
                self.assertEqual(made.grade, types.GRADE_IN_TOKEN)
                short = 8 if algorithm == hsm.MAC_ALGORITHM_UNIONPAY_ECB else 4
                for mac, matches in ((made.mac, True), (made.mac[:short], True), (bytes(short), False),
                                     (made.mac[:-1] + bytes([made.mac[-1] ^ 1]), False)):
                    checked = self.data.VerifyMac(hsm.VerifyMacRequest(key=key, algorithm=algorithm, data=data,
                                                                       mac=mac))
                    self.assertEqual(checked.matches, matches)

    def test_zone_mac(self):
        made = self.data.GenerateMac(hsm.GenerateMacRequest(key=zone(), algorithm=hsm.MAC_ALGORITHM_X9_19,
                                                            data=b"zone"))
        self.assertEqual(made.mac, ref.alg3_mac(self.estate.keys["zone-mac-tdes"], ref.pad1(b"zone", 8)))

    def translate(self, source, destination, block, source_format=hsm.PIN_FORMAT_ISO_0,
                  destination_format=hsm.PIN_FORMAT_ISO_0):
        answer = self.data.TranslatePin(hsm.TranslatePinRequest(
            source=source, destination=destination, source_format=source_format,
            destination_format=destination_format, pan=PAN, block=block))
        same = source_format == destination_format
        inside = types.GRADE_IN_TOKEN if self.token == "nss" and same else types.GRADE_PROCESS_MEMORY
        self.assertEqual(answer.grade, inside)
        return answer.block

    def test_pin_to_the_zone(self):
        key, clear = self.blob_of("tdes", PIK)
        block = self.translate(key, zone(), ref.des_ecb(clear, ref.pin_block_0("123456", PAN)))
        opened = ref.des_ecb(self.estate.keys["zone-pin-tdes"], block, decrypt=True)
        self.assertEqual(opened, ref.pin_block_0("123456", PAN))

    def test_pin_format_4_to_the_zone(self):
        key, clear = self.blob_of("aes-256", PIK)
        block = self.translate(key, zone("aes-128"), ref.pin_block_4(clear, "9876", PAN, os.urandom(8)),
                               hsm.PIN_FORMAT_ISO_4, hsm.PIN_FORMAT_ISO_4)
        opened = ref.open_pin_block_4(self.estate.keys["zone-pin-aes-128"], block, PAN)
        self.assertEqual(opened, "449876AAAAAAAAAA")

    def test_pin_between_suites(self):
        key, clear = self.blob_of("tdes", PIK)
        block = self.translate(key, zone("aes-128"), ref.des_ecb(clear, ref.pin_block_0("123456", PAN)),
                               hsm.PIN_FORMAT_ISO_0, hsm.PIN_FORMAT_ISO_4)
        opened = ref.open_pin_block_4(self.estate.keys["zone-pin-aes-128"], block, PAN)
        self.assertEqual(opened, "46123456AAAAAAAA")

    def test_data_both_ways(self):
        for suite, block, cipher in (("tdes", 8, ref.des_key), ("aes-128", 16, algorithms.AES)):
            for mode in (hsm.CIPHER_MODE_ECB, hsm.CIPHER_MODE_CBC):
                with self.subTest(f"{suite} {hsm.CipherMode.Name(mode)}"):
                    key, clear = self.blob_of(suite, TDK)
                    data = os.urandom(96)
                    iv = os.urandom(block) if mode == hsm.CIPHER_MODE_CBC else b""
                    expected = ref.crypt(cipher(clear), modes.CBC(iv) if iv else modes.ECB(), data)
                    sent = self.data.EncryptData(hsm.EncryptDataRequest(key=key, mode=mode, iv=iv, data=data))
                    self.assertEqual(sent.data, expected)
                    back = self.data.DecryptData(hsm.DecryptDataRequest(key=key, mode=mode, iv=iv, data=sent.data))
                    self.assertEqual(back.data, data)

    def check_transaction(self, terminal, answer):
        self.assertTrue(answer.mac.matches)
        self.assertEqual(terminal.opened(answer.pin.block), terminal.expected())
        self.assertEqual(answer.track.data, terminal.clear_part())
        self.assertEqual(answer.grade, max(answer.mac.grade, answer.pin.grade, answer.track.grade))

    def test_transaction(self):
        for suite in SUITES:
            terminal = proven.Terminal(self.estate, suite)
            message = terminal.message()
            self.check_transaction(terminal, self.data.ProcessTransaction(terminal.request(message)))
            only_mac = self.data.ProcessTransaction(terminal.request(message, pin=False, track=False))
            self.assertTrue(only_mac.mac.matches)
            self.assertFalse(only_mac.HasField("pin") or only_mac.HasField("track"))
            track = self.data.ProcessTransaction(terminal.request(message, pin=False))
            self.assertEqual(track.track.data, terminal.clear_part())
            self.assertFalse(track.HasField("pin"))

    def test_transaction_with_the_card_number_in_the_clear(self):
        for suite in SUITES:
            terminal = proven.Terminal(self.estate, suite)
            answer = self.data.ProcessTransaction(terminal.request(terminal.message(track=False), track=False))
            self.assertEqual(terminal.opened(answer.pin.block), terminal.expected())

    def test_transaction_to_another_format(self):
        terminal = proven.Terminal(self.estate)
        answer = self.data.ProcessTransaction(terminal.request(terminal.message(), to_format=hsm.PIN_FORMAT_ISO_4))
        self.assertEqual(terminal.opened(answer.pin.block, hsm.PIN_FORMAT_ISO_4),
                         terminal.expected(to_format=hsm.PIN_FORMAT_ISO_4))

    def test_transaction_with_a_wrong_mac_does_nothing_else(self):
        terminal = proven.Terminal(self.estate)
        request = terminal.request(terminal.message()[:-8] + b"00000000")
        request.pin.destination.zone = "none"  # not even looked at
        answer = self.data.ProcessTransaction(request)
        self.assertTrue(answer.HasField("mac"))
        self.assertFalse(answer.mac.matches or answer.HasField("pin") or answer.HasField("track"))

    def test_batch_keeps_order_and_fails_alone(self):
        terminal = proven.Terminal(self.estate)
        transaction = terminal.request(terminal.message())
        key, clear = self.blob_of("tdes", MAK)
        items = []
        for i in range(256):
            kind = i % 4
            if kind == 0:
                items.append(hsm.BatchItem(generate_mac=hsm.GenerateMacRequest(
                    key=key, algorithm=hsm.MAC_ALGORITHM_UNIONPAY_ECB, data=bytes([i]))))
            elif kind == 1:
                items.append(hsm.BatchItem(process_transaction=transaction))
            elif kind == 2:
                items.append(hsm.BatchItem(verify_mac=hsm.VerifyMacRequest(key=terminal.ref("pik"),
                                                                           algorithm=hsm.MAC_ALGORITHM_X9_19,
                                                                           data=b"a", mac=bytes(8))))
            else:
                items.append(hsm.BatchItem())
        answer = self.data.ProcessBatch(hsm.ProcessBatchRequest(items=items))
        self.assertEqual(len(answer.results), 256)
        for i, result in enumerate(answer.results):
            if i % 4 == 0:
                self.assertEqual(result.generate_mac.mac, ref.unionpay_mac(clear, bytes([i])))
            elif i % 4 == 1:
                self.check_transaction(terminal, result.process_transaction)
            elif i % 4 == 2:
                self.assertEqual(result.status, grpc.StatusCode.PERMISSION_DENIED.value[0])
                self.assertNotEqual(result.message, "")
            else:
                self.assertEqual(result.status, grpc.StatusCode.INVALID_ARGUMENT.value[0])

    def test_batch_of_sign_ins(self):
        keys = [hsm.WorkingKeySpec(usage=usage) for usage in (PIK, MAK, TDK)]
        item = hsm.BatchItem(generate_working_keys=hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=types.SUITE_AES_256, master_version=1, keys=keys))
        answer = self.data.ProcessBatch(hsm.ProcessBatchRequest(items=[item] * 256))
        tmk = ref.tmk_of(self.estate, "aes-256", PSAM)
        for result in answer.results:
            self.assertEqual(result.status, 0, result.message)
            for key in result.generate_working_keys.keys:
                self.assertEqual(key.kcv, ref.kcv("aes", aes_key_unwrap(tmk, key.cryptogram)))

    def test_working_keys_of_wrap_version_2(self):
        """Each under the key of its usage, which no other cryptogram opens under."""
        for suite in ("aes-128", "aes-256"):
            request = hsm.GenerateWorkingKeysRequest(psam_number=PSAM, suite=SUITES[suite], master_version=1, wrap_version=2,
                                                     keys=[hsm.WorkingKeySpec(usage=usage) for usage in (PIK, MAK, TDK)])
            answer = self.data.GenerateWorkingKeys(request)
            self.assertEqual(answer.grade, types.GRADE_IN_TOKEN)
            tmk = ref.tmk_of(self.estate, suite, PSAM)
            keks = {usage: ref.kek_of(tmk, name) for usage, name in ((PIK, "pik"), (MAK, "mak"), (TDK, "tdk"))}
            for key in answer.keys:
                self.assertEqual(key.kcv, ref.kcv("aes", aes_key_unwrap(keks[key.usage], key.cryptogram)))
                for wrong in [tmk] + [kek for usage, kek in keks.items() if usage != key.usage]:
                    with self.assertRaises(InvalidUnwrap):
                        aes_key_unwrap(wrong, key.cryptogram)

    def test_card_script_of_profile_aes(self):
        for suite, algorithm, wrap in (("tdes", 0, 0), ("aes-128", 2, 0), ("aes-256", 3, 1), ("aes-128", 0x12, 2),
                                       ("aes-256", 0x13, 2)):
            challenge = os.urandom(8)
            answer = self.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
                psam_number=PSAM, suite=SUITES[suite], profile=hsm.CARD_PROFILE_AES, challenge=challenge, wrap_version=wrap))
            tmk = ref.tmk_of(self.estate, suite, PSAM)
            control = ref.diversify_aes(self.estate.keys["card-control-aes-256"], PSAM, 2, 16)
            (apdu,) = answer.apdus
            wrapped = apdu[8:-8]
            self.assertEqual(apdu[:8], bytes.fromhex("84D40100") + bytes([len(apdu) - 5, 5, 1, algorithm]))
            self.assertEqual(aes_key_unwrap(control, wrapped), tmk)
            self.assertEqual(apdu[-8:], ref.aes_cmac(control, challenge + apdu[:-8])[:8])
            self.assertEqual(answer.kcv, ref.kcv("tdes" if suite == "tdes" else "aes", tmk))
            self.assertEqual((answer.master_version, answer.grade), (1, types.GRADE_IN_TOKEN))

    def test_card_script_of_profile_pboc(self):
        challenge = os.urandom(4)
        answer = self.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, profile=hsm.CARD_PROFILE_PBOC, challenge=challenge))
        control = ref.diversify_tdes(self.estate.keys["card-control-tdes"], PSAM)
        (apdu,) = answer.apdus
        record = ref.des_ecb(control, apdu[5:29], decrypt=True)
        self.assertEqual(apdu[:5], bytes.fromhex("84D400001C"))
        self.assertEqual(record, bytes.fromhex("13050100") + ref.tmk_of(self.estate, "tdes", PSAM)
                         + bytes.fromhex("80000000"))
        first = ref.xor(challenge + bytes(4), ref.pad2(apdu[:29], 8)[:8])
        self.assertEqual(apdu[29:], ref.alg3_mac(control, first + ref.pad2(apdu[:29], 8)[8:])[:4])
        inside = types.GRADE_IN_TOKEN if self.token == "nss" else types.GRADE_PROCESS_MEMORY
        self.assertEqual(answer.grade, inside)

    def test_echo(self):
        for payload in (b"", b"x", os.urandom(65536)):
            self.assertEqual(self.data.Echo(hsm.EchoRequest(payload=payload)).payload, payload)

    def test_reports(self):
        report = self.control.GetTokenReport(hsm.GetTokenReportRequest())
        self.assertFalse(report.in_token_only)
        self.assertTrue(all(way.why for way in report.ways if not way.works))
        self.assertEqual(len([way for way in report.ways if way.chosen]), 27)
        keys = self.control.ListKeys(hsm.ListKeysRequest()).keys
        self.assertEqual(len(keys), 13)
        order = ["tdes", "aes-128", "aes-256", "ec-p256"]
        self.assertEqual(list(keys), sorted(keys, key=lambda k: (k.role, k.zone, order.index(k.suite),
                                                                  k.version)))
        for key in keys:
            self.assertEqual(key.suite == "ec-p256", key.role == "audit")
            loaded = self.estate.keys.get(f"{key.role}-{key.suite}")
            if loaded:
                self.assertEqual(key.kcv, ref.kcv("tdes" if key.suite == "tdes" else "aes", loaded)[:3])
        status = self.estate.status()
        self.assertEqual((status.keepers_wanted, status.keeper_restarts), (2, 0))
        self.assertNotEqual(status.version, "")


class SoftHsm(Methods, unittest.TestCase):
    token = "softhsm"


class Nss(Methods, unittest.TestCase):
    token = "nss"


if __name__ == "__main__":
    unittest.main()
