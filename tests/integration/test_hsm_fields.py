#!/usr/bin/python3
"""Requests that are wrong: each gets its precise status and a note that names the field, and the service lives on."""
import os
import random
import unittest

import grpc

import proven
import reference as ref
from hsm_estate import Estate, hsm, types

INPUT, DENIED, NOT_FOUND = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED,
                            grpc.StatusCode.NOT_FOUND)
DATA_LOSS, LIMIT = grpc.StatusCode.DATA_LOSS, grpc.StatusCode.RESOURCE_EXHAUSTED
PSAM, PAN = "12345678901234567890", "6225880000000009"
REQUESTS = {
    "DiversifyCardKey": hsm.DiversifyCardKeyRequest, "GenerateWorkingKeys": hsm.GenerateWorkingKeysRequest,
    "GenerateMac": hsm.GenerateMacRequest, "VerifyMac": hsm.VerifyMacRequest, "TranslatePin": hsm.TranslatePinRequest,
    "EncryptData": hsm.EncryptDataRequest, "DecryptData": hsm.DecryptDataRequest,
    "ProcessTransaction": hsm.ProcessTransactionRequest, "ProcessBatch": hsm.ProcessBatchRequest,
    "ResealBlobs": hsm.ResealBlobsRequest,
}


class Fields(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate("softhsm").start()
        cls.estate.wait_keepers(2)
        made = cls.estate.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, master_version=1,
            keys=[hsm.WorkingKeySpec(usage=types.KEY_USAGE_PIK),
                  hsm.WorkingKeySpec(usage=types.KEY_USAGE_MAK, mac_algorithm=hsm.MAC_ALGORITHM_X9_19),
                  hsm.WorkingKeySpec(usage=types.KEY_USAGE_TDK)]))
        made_aes = cls.estate.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=types.SUITE_AES_128, master_version=1,
            keys=[hsm.WorkingKeySpec(usage=types.KEY_USAGE_TDK)]))
        cls.aes_tdk = hsm.KeyRef(blob=made_aes.keys[0].blob)
        cls.pik, cls.mak, cls.tdk = [hsm.KeyRef(blob=key.blob) for key in made.keys]
        tmk = ref.tmk_of(cls.estate, "tdes", PSAM)
        cls.clear_pik = ref.des_ecb(tmk, made.keys[0].cryptogram, decrypt=True)
        cls.zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        cls.terminal = proven.Terminal(cls.estate)
        cls.sound = cls.sound_requests()

    @classmethod
    def tearDownClass(cls):
        status = cls.estate.status()
        assert (status.keepers, status.keeper_restarts) == (2, 0), cls.estate.log()
        code = cls.estate.stop()
        cls.estate.drop()
        assert code == 0

    @classmethod
    def sound_requests(cls):
        verify = hsm.VerifyMacRequest(key=cls.mak, algorithm=hsm.MAC_ALGORITHM_X9_19, data=b"data", mac=bytes(8))
        pin = hsm.TranslatePinRequest(source=cls.pik, destination=cls.zone, pan=PAN,
                                      source_format=hsm.PIN_FORMAT_ISO_0, destination_format=hsm.PIN_FORMAT_ISO_0,
                                      block=ref.des_ecb(cls.clear_pik, ref.pin_block_0("1234", PAN)))
        return {
            "DiversifyCardKey": hsm.DiversifyCardKeyRequest(psam_number=PSAM, suite=types.SUITE_TDES,
                                                            challenge=bytes(8)),
            "GenerateWorkingKeys": hsm.GenerateWorkingKeysRequest(
                psam_number=PSAM, suite=types.SUITE_TDES, master_version=1,
                keys=[hsm.WorkingKeySpec(usage=types.KEY_USAGE_MAK, key_bytes=8)]),
            "GenerateMac": hsm.GenerateMacRequest(key=cls.mak, algorithm=hsm.MAC_ALGORITHM_X9_19, data=b"data"),
            "VerifyMac": verify,
            "TranslatePin": pin,
            "EncryptData": hsm.EncryptDataRequest(key=cls.tdk, data=bytes(8)),
            "DecryptData": hsm.DecryptDataRequest(key=cls.tdk, data=bytes(8)),
            "ProcessTransaction": cls.terminal.request(cls.terminal.message()),
            "ProcessBatch": hsm.ProcessBatchRequest(items=[hsm.BatchItem(verify_mac=verify)]),
            "ResealBlobs": hsm.ResealBlobsRequest(blobs=[cls.pik.blob, cls.mak.blob]),
        }

    def refused(self, method, request, code, words):
        with self.assertRaises(grpc.RpcError) as caught:
            getattr(self.estate.data, method)(request, timeout=20)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertIn(words, caught.exception.details())
        self.assertNotIn(PAN, caught.exception.details())

    def changed(self, method, change):
        request = REQUESTS[method]()
        request.CopyFrom(self.sound[method])
        for path, value in change.items():
            *parents, leaf = path.split(".")
            target = request
            for parent in parents:
                target = target[int(parent)] if parent.isdigit() else getattr(target, parent)
            if value is None:
                target.ClearField(leaf)
            elif isinstance(value, (list, hsm.KeyRef)):
                target.ClearField(leaf)
                getattr(target, leaf).extend(value) if isinstance(value, list) else \
                    getattr(target, leaf).CopyFrom(value)
            else:
                setattr(target, leaf, value)
        return request

    def test_sound_requests_are_sound(self):
        for method, request in self.sound.items():
            with self.subTest(method):
                getattr(self.estate.data, method)(request, timeout=20)

    def test_wrong_fields(self):
        blob, zone = (lambda b: hsm.KeyRef(blob=b)), (lambda **k: hsm.KeyRef(zone=hsm.ZoneKey(**k)))
        spec = hsm.WorkingKeySpec
        altered = bytearray(self.mak.blob)
        altered[len(altered) // 2] ^= 1
        for method, change, code, words in [
            ("DiversifyCardKey", {"psam_number": None}, INPUT, "psam_number"),
            ("DiversifyCardKey", {"psam_number": "123"}, INPUT, "psam_number"),
            ("DiversifyCardKey", {"psam_number": "1" * 21}, INPUT, "psam_number"),
            ("DiversifyCardKey", {"psam_number": "1234567890123x56"}, INPUT, "psam_number"),
            ("DiversifyCardKey", {"suite": None}, INPUT, "suite"),
            ("DiversifyCardKey", {"suite": 17}, INPUT, "suite"),
            ("DiversifyCardKey", {"master_version": 256}, INPUT, "master_version"),
            ("DiversifyCardKey", {"master_version": 9}, NOT_FOUND, "psam-master/tdes/9"),
            ("DiversifyCardKey", {"control_version": 9}, NOT_FOUND, "card-control/aes-256/9"),
            ("DiversifyCardKey", {"profile": 3}, INPUT, "profile"),
            ("DiversifyCardKey", {"profile": hsm.CARD_PROFILE_PBOC}, INPUT, "challenge"),
            ("DiversifyCardKey", {"profile": hsm.CARD_PROFILE_PBOC, "suite": types.SUITE_AES_128,
                                  "challenge": bytes(4)}, INPUT, "PBOC"),
            ("DiversifyCardKey", {"challenge": None}, INPUT, "challenge is missing"),
            ("DiversifyCardKey", {"challenge": bytes(9)}, INPUT, "challenge has 9 bytes"),
            ("DiversifyCardKey", {"wrap_version": 2}, INPUT, "wrap_version is 2; with suite TDES it must be 1"),
            ("DiversifyCardKey", {"wrap_version": 3, "suite": 2}, INPUT, "wrap_version is 3; it must be 1 or 2"),
            ("GenerateWorkingKeys", {"wrap_version": 2}, INPUT, "wrap_version is 2; with suite TDES it must be 1"),
            ("GenerateWorkingKeys", {"wrap_version": 2 ** 32 - 1, "suite": 3}, INPUT, "wrap_version is 4294967295"),
            ("GenerateWorkingKeys", {"psam_number": ""}, INPUT, "psam_number is missing"),
            ("GenerateWorkingKeys", {"suite": None}, INPUT, "suite is missing"),
            ("GenerateWorkingKeys", {"master_version": None}, INPUT, "master_version is missing"),
            ("GenerateWorkingKeys", {"master_version": 77}, NOT_FOUND, "psam-master/tdes/77"),
            ("GenerateWorkingKeys", {"keys": []}, INPUT, "keys has 0 items"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=1)] * 2}, INPUT, "keys[1] has the usage of keys[0]"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=u) for u in (1, 2, 3, 1)]}, INPUT, "keys has 4 items"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=4)]}, INPUT, "keys[0]: usage is TMK"),
            ("GenerateWorkingKeys", {"keys": [spec()]}, INPUT, "keys[0]: usage is missing"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=1, key_bytes=24)]}, INPUT, "keys[0]: key_bytes is 24"),
            ("GenerateWorkingKeys", {"suite": types.SUITE_AES_128}, INPUT, "keys[0]: key_bytes is 8"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=1, key_bytes=8)]}, INPUT, "keys[0]: key_bytes is 8; a PIK of"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=3, key_bytes=8)]}, INPUT, "keys[0]: key_bytes is 8; a TDK of"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=1, mac_algorithm=1)]}, INPUT, "keys[0]: mac_algorithm is given"),
            ("GenerateWorkingKeys", {"keys": [spec(usage=2, mac_algorithm=hsm.MAC_ALGORITHM_X9_9)]}, INPUT,
             "keys[0]: mac_algorithm is X9_9; a MAK of 16 bytes"),
            ("GenerateMac", {"key": None}, INPUT, "key is missing"),
            ("GenerateMac", {"key": hsm.KeyRef()}, INPUT, "key names neither a blob nor a zone"),
            ("GenerateMac", {"key": blob(b"")}, INPUT, "key: blob is missing"),
            ("GenerateMac", {"key": blob(bytes(161))}, INPUT, "key: blob has 161 bytes"),
            ("GenerateMac", {"key": blob(bytes(altered))}, DATA_LOSS, ""),
            ("GenerateMac", {"key": self.pik}, DENIED, ""),
            ("GenerateMac", {"key": hsm.KeyRef(blob=self.mak.blob, psam_number="9" * 16)}, DENIED, "another card"),
            ("GenerateMac", {"key": hsm.KeyRef(blob=self.mak.blob, psam_number="9")}, INPUT, "key: psam_number"),
            ("GenerateMac", {"key": hsm.KeyRef(zone=self.zone.zone, psam_number=PSAM)}, INPUT, "key: psam_number"),
            ("GenerateMac", {"key": self.tdk}, DENIED, ""),
            ("GenerateMac", {"key": zone()}, INPUT, "key: zone.zone is missing"),
            ("GenerateMac", {"key": zone(zone="Bank!")}, INPUT, "key: zone.zone"),
            ("GenerateMac", {"key": zone(zone="bank", version=300)}, INPUT, "key: zone.version"),
            ("GenerateMac", {"key": zone(zone="bank", suite=3)}, INPUT, "key: zone.suite"),
            ("GenerateMac", {"key": zone(zone="nobody", suite=1)}, NOT_FOUND, "zone-mac/nobody"),
            ("GenerateMac", {"key": zone(zone="bank", suite=1, version=8)}, NOT_FOUND, "zone-mac/bank/tdes/8"),
            ("GenerateMac", {"algorithm": None}, INPUT, "algorithm is missing"),
            ("GenerateMac", {"algorithm": 8}, INPUT, "algorithm has the unknown value 8"),
            ("GenerateMac", {"algorithm": hsm.MAC_ALGORITHM_AES_CMAC}, DENIED,
             "the MAK was made for X9_19 and does not serve AES_CMAC"),
            ("GenerateMac", {"key": zone(zone="bank", suite=1), "algorithm": hsm.MAC_ALGORITHM_AES_CMAC}, INPUT, ""),
            ("GenerateMac", {"data": None}, INPUT, "data is missing"),
            ("GenerateMac", {"data": bytes(4097)}, INPUT, "data has 4097 bytes"),
            ("VerifyMac", {"mac": None}, INPUT, "mac is missing"),
            ("VerifyMac", {"mac": bytes(3)}, INPUT, "mac has 3 bytes"),
            ("VerifyMac", {"mac": bytes(9)}, INPUT, "mac has 9 bytes"),
            ("VerifyMac", {"key": self.pik}, DENIED, ""),
            ("VerifyMac", {"algorithm": hsm.MAC_ALGORITHM_UNIONPAY_ECB, "mac": bytes(8)}, DENIED,
             "the MAK was made for X9_19 and does not serve UNIONPAY_ECB"),
            ("TranslatePin", {"source": None}, INPUT, "source is missing"),
            ("TranslatePin", {"destination": None}, INPUT, "destination is missing"),
            ("TranslatePin", {"source": self.mak}, DENIED, ""),
            ("TranslatePin", {"destination": self.tdk}, DENIED, ""),
            ("TranslatePin", {"destination": self.pik}, DENIED, "a PIN moves from a terminal to a zone"),
            ("TranslatePin", {"source": self.zone, "destination": self.pik}, DENIED, "a PIN moves from a terminal to a zone"),
            ("TranslatePin", {"source_format": None}, INPUT, "source_format is missing"),
            ("TranslatePin", {"destination_format": 5}, INPUT, "destination_format has the unknown value 5"),
            ("TranslatePin", {"destination_format": hsm.PIN_FORMAT_ISO_1}, DENIED, ""),
            ("TranslatePin", {"pan": None}, INPUT, "pan is missing"),
            ("TranslatePin", {"pan": "12345678901"}, INPUT, "pan has 11 characters"),
            ("TranslatePin", {"pan": "1" * 20}, INPUT, "pan has 20 characters"),
            ("TranslatePin", {"pan": "62258800000000A9"}, INPUT, "pan has a character"),
            ("TranslatePin", {"block": None}, INPUT, "block is missing"),
            ("TranslatePin", {"block": bytes(7)}, INPUT, "block has 7 bytes"),
            ("TranslatePin", {"block": bytes(16)}, INPUT, "block has 16 bytes"),
            ("TranslatePin", {"source_format": hsm.PIN_FORMAT_ISO_4}, INPUT, "block has 8 bytes"),
            ("EncryptData", {"key": self.mak}, DENIED, ""),
            ("EncryptData", {"data": bytes(7)}, INPUT, "data has 7 bytes"),
            ("EncryptData", {"data": bytes(12)}, INPUT, "data has 12 bytes; it must be whole blocks"),
            ("EncryptData", {"data": bytes(4104)}, INPUT, "data has 4104 bytes"),
            ("EncryptData", {"iv": bytes(8)}, INPUT, "iv is given"),
            ("EncryptData", {"mode": hsm.CIPHER_MODE_CBC}, INPUT, "iv has 0 bytes"),
            ("EncryptData", {"mode": hsm.CIPHER_MODE_CBC, "iv": bytes(7)}, INPUT, "iv has 7 bytes"),
            ("EncryptData", {"mode": hsm.CIPHER_MODE_CBC, "iv": bytes(16), "data": bytes(16)}, INPUT,
             "iv has 16 bytes; the block of this key has 8"),
            ("EncryptData", {"key": self.aes_tdk, "mode": hsm.CIPHER_MODE_CBC, "iv": bytes(8)}, INPUT,
             "iv has 8 bytes; the block of this key has 16"),
            ("DecryptData", {"key": zone(zone="bank", suite=2), "mode": hsm.CIPHER_MODE_CBC, "iv": bytes(8)}, INPUT,
             "iv has 8 bytes; the block of this key has 16"),
            ("EncryptData", {"key": self.aes_tdk}, INPUT, ""),
            ("EncryptData", {"mode": 3}, INPUT, "mode has the unknown value 3"),
            ("DecryptData", {"key": None}, INPUT, "key is missing"),
            ("DecryptData", {"key": self.pik}, DENIED, ""),
            ("DecryptData", {"data": None}, INPUT, "data is missing"),
            ("ProcessTransaction", {"mac": None}, INPUT, "mac is missing"),
            ("ProcessTransaction", {"mac.blob": b""}, INPUT, "mac: blob is missing"),
            ("ProcessTransaction", {"mac.blob": bytes(60)}, DATA_LOSS, "mac: "),
            ("ProcessTransaction", {"mac.blob": self.terminal.blobs["pik"]}, DENIED, ""),
            ("ProcessTransaction", {"pin.blob": b""}, INPUT, "pin: blob is missing"),
            ("ProcessTransaction", {"pin.blob": self.terminal.blobs["mak"]}, DENIED, "pin: "),
            ("ProcessTransaction", {"pin.destination.zone": ""}, INPUT, "pin: destination: zone.zone is missing"),
            ("ProcessTransaction", {"pin.destination.zone": "none"}, NOT_FOUND, "pin: "),
            ("ProcessTransaction", {"pin.destination_format": 0}, INPUT, "pin: destination_format is missing"),
            ("ProcessTransaction", {"track.blob": bytes(161)}, INPUT, "track: blob has 161 bytes"),
            ("ProcessTransaction", {"track.blob": self.terminal.blobs["pik"]}, DENIED, "track: "),
            ("ProcessTransaction", {"track": None}, INPUT, "track is missing: the message's track is enciphered"),
            ("ProcessTransaction", {"psam_number": ""}, INPUT, "psam_number is missing"),
            ("ProcessTransaction", {"psam_number": "62010000001200000002"}, DENIED, ""),
            ("ProcessTransaction", {"dialect": "visa"}, INPUT, "dialect is none of this service"),
            ("ProcessTransaction", {"message": b""}, INPUT, "message is missing"),
            ("ProcessTransaction", {"message": bytes(4097)}, INPUT, "message has 4097 bytes"),
            ("ProcessTransaction", {"message": os.urandom(1) * 200}, INPUT, "message: "),
            ("ProcessTransaction", {"message": self.terminal.message("0210")}, INPUT, "message is of type 0210"),
            ("ProcessTransaction", {"message": self.terminal.message(pin=None)}, INPUT, "pin: field 53 says that there is no PIN"),
            ("ProcessTransaction", {"message": self.terminal.message(track=False)}, INPUT, "track: field 53 says"),
            ("ProcessTransaction", {"message": self.terminal.seal({**self.terminal.purchase_fields(), 2: "6225880000000017"})}, INPUT,
             "message: field 2 and field 35 are of different cards"),
            ("ProcessBatch", {"items": []}, INPUT, "items has 0 operations"),
            ("ProcessBatch", {"items": [hsm.BatchItem()] * 257}, INPUT, "items has 257 operations"),
            ("ResealBlobs", {"blobs": []}, INPUT, "blobs has 0 items"),
            ("ResealBlobs", {"blobs": [b""] * 257}, INPUT, "blobs has 257 items"),
        ]:
            with self.subTest(method=method, change=str(change)):
                self.refused(method, self.changed(method, change), code, words)

    def test_a_blob_that_cannot_be_resealed_fails_alone(self):
        altered = bytes([*self.mak.blob[:-1], self.mak.blob[-1] ^ 1])
        blobs = [self.pik.blob, altered, b"", self.tdk.blob, bytes(161)]
        results = self.estate.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=blobs), timeout=20).results
        self.assertEqual([r.status for r in results], [0, DATA_LOSS.value[0], DATA_LOSS.value[0], 0, DATA_LOSS.value[0]])
        self.assertEqual([r.blob for r in results], [self.pik.blob, b"", b"", self.tdk.blob, b""])
        self.assertEqual([(r.storage_version, r.tag_version) for r in results],
                         [(1, 1), (0, 0), (0, 0), (1, 1), (0, 0)])

    def test_a_block_that_does_not_decode_says_no_more(self):
        change = {"block": ref.des_ecb(self.clear_pik, bytes(8)), "destination_format": hsm.PIN_FORMAT_ISO_3}
        self.refused("TranslatePin", self.changed("TranslatePin", change), DATA_LOSS, "")

    def test_a_block_of_the_same_format_passes_unread(self):
        """Random blocks, the PANs that do not fit included: the zone's key gives what the terminal's key gives."""
        for iso in (hsm.PIN_FORMAT_ISO_0, hsm.PIN_FORMAT_ISO_1, hsm.PIN_FORMAT_ISO_3):
            for _ in range(20):
                clear = os.urandom(8)
                change = {"block": ref.des_ecb(self.clear_pik, clear), "source_format": iso, "destination_format": iso,
                          "pan": str(random.randrange(10**15, 10**16))}
                answer = self.estate.data.TranslatePin(self.changed("TranslatePin", change), timeout=20)
                self.assertEqual(ref.des_ecb(self.estate.keys["zone-pin-tdes"], answer.block, decrypt=True), clear)

    def test_large_messages(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.estate.data.GenerateMac(self.changed("GenerateMac", {"data": bytes(200000)}), timeout=20)
        self.assertEqual(caught.exception.code(), LIMIT)
        with self.assertRaises(grpc.RpcError) as caught:
            self.estate.data.Echo(hsm.EchoRequest(payload=bytes(65537)), timeout=20)
        self.assertEqual(caught.exception.code(), INPUT)
        items = hsm.ProcessBatchRequest(items=[hsm.BatchItem()] * 65000)  # small on the wire, large unpacked
        self.refused("ProcessBatch", items, INPUT, "items has 65000 operations")
        self.refused("GenerateMac", self.changed("GenerateMac", {"data": bytes(130000)}), INPUT, "data has 130000")

    def raw(self, method, body):
        """A status, whatever it is, within the deadline."""
        call = self.estate.channel.unary_unary(f"/posward.hsm.v1.DataPlane/{method}")
        try:
            call(body, timeout=20)
            return grpc.StatusCode.OK
        except grpc.RpcError as failure:
            return failure.code()

    def test_cut_anywhere(self):
        allowed = {grpc.StatusCode.OK, INPUT, DENIED, NOT_FOUND, DATA_LOSS}
        for method, request in self.sound.items():
            body = request.SerializeToString()
            for cut in range(len(body)):
                self.assertIn(self.raw(method, body[:cut]), allowed, f"{method} cut at {cut}")

    def test_bytes_changed_at_random(self):
        chance = random.Random(1)
        allowed = {grpc.StatusCode.OK, INPUT, DENIED, NOT_FOUND, DATA_LOSS, LIMIT, grpc.StatusCode.FAILED_PRECONDITION}
        for _ in range(1500):
            method = chance.choice(list(self.sound))
            body = bytearray(self.sound[method].SerializeToString())
            for _ in range(chance.randrange(1, 4)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            code = self.raw(method, bytes(body))
            self.assertIn(code, allowed, f"{method} {bytes(body).hex()}")

    def test_unknown_method(self):
        self.assertEqual(self.raw("ExportKey", b""), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_past_deadline_is_said(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.estate.data.GenerateMac(self.sound["GenerateMac"], timeout=0.000001)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


class Exposure(unittest.TestCase):
    def test_in_token_policy_refuses_what_shows_a_pin(self):
        estate = Estate("softhsm")
        self.addCleanup(estate.drop)
        estate.write_config(policy={"exposure": "in_token"})
        estate.start()
        made = estate.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, master_version=1,
            keys=[hsm.WorkingKeySpec(usage=types.KEY_USAGE_PIK)]))
        self.assertEqual(made.grade, types.GRADE_IN_TOKEN)
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        with self.assertRaises(grpc.RpcError) as caught:
            estate.data.TranslatePin(hsm.TranslatePinRequest(
                source=hsm.KeyRef(blob=made.keys[0].blob), destination=zone, pan=PAN, block=os.urandom(8),
                source_format=hsm.PIN_FORMAT_ISO_0, destination_format=hsm.PIN_FORMAT_ISO_0))
        self.assertEqual(caught.exception.code(), DENIED)
        self.assertTrue(estate.control.GetTokenReport(hsm.GetTokenReportRequest()).in_token_only)
        self.assertEqual(estate.stop(), 0)


if __name__ == "__main__":
    unittest.main()
