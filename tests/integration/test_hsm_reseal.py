"""After a rotation of the storage or tag key the HSM service advises to re-seal, and ResealBlobs moves what the token can.
usage: test_hsm_reseal.py softhsm|nss [unittest's arguments]"""
import os
import signal
import sys
import unittest

import hsm_estate
import reference as ref
from hsm_estate import hsm, types
from estate import wait_until

TOKEN = "softhsm"
PSAM, PAN, DATA = "62010000000000000011", "6225758326736419", bytes(range(48))
MAC = hsm.MAC_ALGORITHM_X9_19
UNIMPLEMENTED = 12


class Reseal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = hsm_estate.Estate(TOKEN).start()
        cls.data = cls.estate.data

    @classmethod
    def tearDownClass(cls):
        status = cls.estate.stop()
        cls.estate.drop()
        assert status == 0, status

    def rotate(self, role, version):
        self.estate.load(role, "aes-256", None, 32, version=version)
        before = set(self.estate.keeper_pids())
        self.estate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & set(self.estate.keeper_pids()), 60, self.estate.log)

    def working_keys(self):
        specs = [hsm.WorkingKeySpec(usage=types.KEY_USAGE_PIK),
                 hsm.WorkingKeySpec(usage=types.KEY_USAGE_MAK, mac_algorithm=MAC),
                 hsm.WorkingKeySpec(usage=types.KEY_USAGE_TDK)]
        return self.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, master_version=1, keys=specs), timeout=20).keys

    def card(self):
        return self.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, profile=hsm.CARD_PROFILE_AES, challenge=os.urandom(8)), timeout=20)

    def use(self, blobs):
        """What the operations answer, without what says that a blob is old; and that, of each."""
        pik, mak, tdk = (hsm.KeyRef(blob=blob, psam_number=PSAM) for blob in blobs)
        made = self.data.GenerateMac(hsm.GenerateMacRequest(key=mak, algorithm=MAC, data=DATA), timeout=20)
        verify = hsm.VerifyMacRequest(key=mak, algorithm=MAC, data=DATA, mac=made.mac)
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        block = hsm.TranslatePinRequest(source=pik, destination=zone, source_format=1, destination_format=1, pan=PAN,
                                        block=self.block(blobs))
        encrypted = self.data.EncryptData(hsm.EncryptDataRequest(key=tdk, data=DATA), timeout=20)
        decrypt = hsm.DecryptDataRequest(key=tdk, data=encrypted.data)
        whole = self.data.ProcessTransaction(hsm.ProcessTransactionRequest(mac=verify, pin=block, track=decrypt), timeout=20)
        self.assertTrue(whole.mac.matches)
        self.assertEqual(whole.track.data, DATA)
        parts = [made, self.data.VerifyMac(verify, timeout=20), self.data.TranslatePin(block, timeout=20), encrypted,
                 self.data.DecryptData(decrypt, timeout=20), whole, whole.mac, whole.pin, whole.track]
        return (made.mac, whole.pin.block, encrypted.data), [p.reseal_advised for p in parts]

    def block(self, blobs):
        """A format 0 block under the PIK that is in the blob: the test can open it, as it knows the card's TMK."""
        return ref.des_ecb(self.clear[blobs[0]], ref.pin_block_0("123456", PAN))

    def reseal(self, *blobs):
        return self.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=blobs), timeout=30).results

    def test_advised_and_changed_after_rotation(self):
        keys, tmk = self.working_keys(), self.card().tmk_blob
        blobs = [key.blob for key in keys]
        pik = ref.open_working_key("tdes", ref.tmk_of(self.estate, "tdes", PSAM), keys[0].cryptogram)
        self.clear = {blobs[0]: pik}
        values, advised = self.use(blobs)
        self.assertEqual(set(advised), {False})
        current = self.reseal(tmk, *blobs)
        self.assertEqual([(r.status, r.changed, r.blob) for r in current], [(0, False, blob) for blob in (tmk, *blobs)])

        self.rotate("storage", 2)
        self.assertEqual(self.use(blobs), (values, [True] * len(advised)))  # the old blobs work on
        moved = self.reseal(tmk, *blobs)
        self.check_moved(moved[0], tmk, (2, 1))
        if TOKEN == "softhsm":  # whose storage keys let nothing be wrapped again
            self.assertEqual([(r.status, r.changed, r.blob) for r in moved[1:]], [(UNIMPLEMENTED, False, b"")] * 3)
            self.assertIn("next sign-in", moved[1].message)
            fresh = self.working_keys()
            self.assertEqual([(k.storage_version, k.tag_version) for k in fresh], [(2, 1)] * 3)
            self.clear[fresh[0].blob] = ref.open_working_key("tdes", ref.tmk_of(self.estate, "tdes", PSAM),
                                                             fresh[0].cryptogram)
            self.assertEqual(set(self.use([k.blob for k in fresh])[1]), {False})
            return
        for result, blob in zip(moved[1:], blobs):
            self.check_moved(result, blob, (2, 1))
        newer = [r.blob for r in moved[1:]]
        self.clear[newer[0]] = pik
        self.assertEqual(self.use(newer), (values, [False] * len(advised)))  # the same keys, and nothing advised
        self.assertEqual([r.changed for r in self.reseal(*newer)], [False] * 3)

        self.rotate("blob-tag", 2)
        self.assertEqual(self.use(newer), (values, [True] * len(advised)))
        for result, blob in zip(self.reseal(*newer), newer):
            self.check_moved(result, blob, (2, 2))

    def check_moved(self, result, blob, versions):
        self.assertEqual((result.status, result.changed), (0, True), result.message)
        self.assertNotEqual(result.blob, blob)
        self.assertEqual((result.storage_version, result.tag_version), versions)
        self.assertEqual(result.grade, types.GRADE_IN_TOKEN)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("softhsm", "nss"):
        TOKEN = sys.argv.pop(1)
    unittest.main()
