"""After a rotation of the storage or tag key the HSM service advises to re-seal, and ResealBlobs moves what the token can.
usage: test_hsm_reseal.py softhsm|nss [unittest's arguments]"""
import os
import signal
import sys
import unittest

import hsm_estate
import proven
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

    def sign_in(self):
        terminal = proven.Terminal(self.estate, psam=PSAM, x9_19=True)
        terminal.whole = terminal.message()
        terminal.block = ref.des_ecb(terminal.keys["pik"], ref.pin_block_0("123456", PAN))
        return terminal

    def card(self):
        return self.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, profile=hsm.CARD_PROFILE_AES, challenge=os.urandom(8)), timeout=20)

    def use(self, terminal, blobs):
        """What the operations answer, without what says that a blob is old; and that, of each. The terminal's keys are in
        the blobs, and known, as the test knows its card's TMK."""
        pik, mak, tdk = (hsm.KeyRef(blob=blob, psam_number=PSAM) for blob in blobs)
        made = self.data.GenerateMac(hsm.GenerateMacRequest(key=mak, algorithm=MAC, data=DATA), timeout=20)
        verify = hsm.VerifyMacRequest(key=mak, algorithm=MAC, data=DATA, mac=made.mac)
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        block = hsm.TranslatePinRequest(source=pik, destination=zone, source_format=1, destination_format=1, pan=PAN,
                                        block=terminal.block)
        encrypted = self.data.EncryptData(hsm.EncryptDataRequest(key=tdk, data=DATA), timeout=20)
        decrypt = hsm.DecryptDataRequest(key=tdk, data=encrypted.data)
        whole = self.data.ProcessTransaction(terminal.request(
            terminal.whole, blobs=dict(zip(("pik", "mak", "tdk"), blobs))), timeout=20)
        self.assertTrue(whole.mac.matches)
        parts = [made, self.data.VerifyMac(verify, timeout=20), self.data.TranslatePin(block, timeout=20), encrypted,
                 self.data.DecryptData(decrypt, timeout=20), whole, whole.mac, whole.pin, whole.track]
        return (made.mac, whole.pin.block, encrypted.data), [p.reseal_advised for p in parts]

    def reseal(self, *blobs):
        return self.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=blobs), timeout=30).results

    def test_advised_and_changed_after_rotation(self):
        terminal, tmk = self.sign_in(), self.card().tmk_blob
        blobs = [key.blob for key in terminal.made]
        values, advised = self.use(terminal, blobs)
        self.assertEqual(set(advised), {False})
        current = self.reseal(tmk, *blobs)
        self.assertEqual([(r.status, r.changed, r.blob) for r in current], [(0, False, blob) for blob in (tmk, *blobs)])

        self.rotate("storage", 2)
        self.assertEqual(self.use(terminal, blobs), (values, [True] * len(advised)))  # the old blobs work on
        moved = self.reseal(tmk, *blobs)
        self.check_moved(moved[0], tmk, (2, 1))
        if TOKEN == "softhsm":  # whose storage keys let nothing be wrapped again
            self.assertEqual([(r.status, r.changed, r.blob) for r in moved[1:]], [(UNIMPLEMENTED, False, b"")] * 3)
            self.assertIn("next sign-in", moved[1].message)
            fresh = self.sign_in()
            self.assertEqual([(k.storage_version, k.tag_version) for k in fresh.made], [(2, 1)] * 3)
            self.assertEqual(set(self.use(fresh, [k.blob for k in fresh.made])[1]), {False})
            return
        for result, blob in zip(moved[1:], blobs):
            self.check_moved(result, blob, (2, 1))
        newer = [r.blob for r in moved[1:]]
        self.assertEqual(self.use(terminal, newer), (values, [False] * len(advised)))  # the same keys, and nothing advised
        self.assertEqual([r.changed for r in self.reseal(*newer)], [False] * 3)

        self.rotate("blob-tag", 2)
        self.assertEqual(self.use(terminal, newer), (values, [True] * len(advised)))
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
