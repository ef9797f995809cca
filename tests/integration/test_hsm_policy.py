#!/usr/bin/python3
"""Rows of `policy` about working keys, from the configuration to the refusal, with key blobs as they were before."""
import datetime
import unittest
import urllib.request

import grpc

import reference as ref
from hsm_estate import Estate, hsm, types

DENIED = grpc.StatusCode.PERMISSION_DENIED
PSAM = "12345678901234567890"


class Policy(unittest.TestCase):
    def start(self, **policy):
        if policy:
            self.estate.write_config(policy=policy)
        self.estate.start()

    def setUp(self):
        self.estate = Estate("softhsm")
        self.addCleanup(self.estate.drop)

    def make(self, **spec):
        answer = self.estate.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number=PSAM, suite=types.SUITE_TDES, master_version=1, keys=[hsm.WorkingKeySpec(**spec)]), timeout=20)
        return answer.keys[0].blob

    def mac(self, blob):
        return self.estate.data.GenerateMac(hsm.GenerateMacRequest(
            key=hsm.KeyRef(blob=blob), algorithm=hsm.MAC_ALGORITHM_UNIONPAY_ECB, data=b"data"), timeout=20).mac

    def refused(self, call, words):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), DENIED, caught.exception.details())
        self.assertIn(words, caught.exception.details())

    def said(self, least):
        """By the report, the metric and the log."""
        self.assertEqual(self.estate.control.GetTokenReport(hsm.GetTokenReportRequest()).tdes_mak_bytes_min, least)
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10).read().decode()
        self.assertIn(f"posward_hsm_tdes_mak_bytes_min {least}\n", page)
        self.assertEqual("may be single DES" in self.estate.log(), least == 8)

    def test_single_des_mac_keys_end_with_the_policy(self):
        self.start()
        mak = self.make(usage=types.KEY_USAGE_MAK, key_bytes=8)
        self.assertEqual(len(self.mac(mak)), 8)
        self.said(8)
        self.assertEqual(self.estate.stop(), 0)
        self.start(tdes_mak_bytes_min=16)
        self.refused(lambda: self.make(usage=types.KEY_USAGE_MAK, key_bytes=8), "policy.tdes_mak_bytes_min is 16")
        self.refused(lambda: self.mac(mak), "policy.tdes_mak_bytes_min is 16; sign in again")
        self.assertEqual(len(self.mac(self.make(usage=types.KEY_USAGE_MAK, key_bytes=16))), 8)
        self.said(16)
        self.assertEqual(self.estate.stop(), 0)


    def form_1(self, blob):
        """The same key as it was sealed before form 2: by the tag key, which this estate knows."""
        head_and_key = b"PWB1" + blob[4:34] + blob[43:-16]
        return head_and_key + ref.aes_cmac(self.tag_key, head_and_key)

    def test_blobs_of_form_1_serve_until_a_date(self):
        self.estate.drop()
        self.estate = Estate("softhsm", load=False)
        self.addCleanup(self.estate.drop)
        self.tag_key = self.estate.load("blob-tag", "aes-256", None, 32)
        self.estate.cli("key", "init", "--hsm-config", self.estate.config)
        self.start()
        new = self.make(usage=types.KEY_USAGE_MAK)
        old = self.form_1(new)
        self.assertEqual(len(old), len(new) - 9)
        self.refused(lambda: self.mac(old), "sealed in form 1; sign in again, or set policy.blob_form1_until")
        self.assertEqual(self.estate.stop(), 0)
        today = datetime.datetime.now(datetime.timezone.utc).date()
        for days, serves in ((-1, False), (2, True)):
            self.start(blob_form1_until=today + datetime.timedelta(days=days))
            if serves:
                self.assertEqual(self.mac(old), self.mac(new))
            else:
                self.refused(lambda: self.mac(old), "sealed in form 1")
            results = self.estate.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=[old, new]), timeout=20).results
            self.assertEqual([(r.status, r.changed, r.blob) for r in results], [(0, False, old), (0, False, new)])
            self.assertIn(f"key blobs of form 1 {'serve until' if serves else 'are refused'}", self.estate.log())
            self.assertEqual(self.estate.stop(), 0)


if __name__ == "__main__":
    unittest.main()
