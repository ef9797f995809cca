#!/usr/bin/python3
"""deploy/tokens: every configuration is one that posward-hsm accepts, and the table of ways is what the report says."""
import glob
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import token_table  # noqa: E402
from estate import BIN, SOURCE, START_S  # noqa: E402
from faults import FAIL, Faults  # noqa: E402
from hsm_estate import Estate, hsm  # noqa: E402

NOT_RUN = ("luna", "utimaco")


class Tokens(unittest.TestCase):
    def test_every_configuration_is_accepted(self):
        paths = glob.glob(f"{SOURCE}/deploy/tokens/*.yaml") + [f"{SOURCE}/deploy/config/hsm.yaml"]
        self.assertEqual(len(paths), 6)
        for path in paths:
            with self.subTest(path):
                done = subprocess.run([f"{BIN}/posward-hsm", "--config", path, "--check-config"], capture_output=True, text=True,
                                      timeout=30)
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(path, encoding="utf-8") as file:
                    self.assertEqual("not run by us" in file.read(), os.path.basename(path)[:-5] in NOT_RUN)

    def test_a_wrong_word_is_refused(self):
        with open(f"{SOURCE}/deploy/tokens/opencryptoki.yaml", encoding="utf-8") as file:
            text = file.read()
        estate = Estate("softhsm", load=False)
        self.addCleanup(estate.drop)
        wrong = f"{estate.dir}/wrong.yaml"
        with open(wrong, "w", encoding="utf-8") as file:
            file.write(text.replace("flows_missing: allow", "flows_missing: perhaps"))
        done = subprocess.run([f"{BIN}/posward-hsm", "--config", wrong, "--check-config"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("policy.flows_missing is 'perhaps'; it must be refuse or allow", done.stderr)

    def test_a_token_that_lacks_a_flow(self):
        """SoftHSM without key pairs: no start, or one without what needs them."""
        estate = Estate("softhsm")
        self.addCleanup(estate.drop)
        faults = Faults(estate)
        faults.inject("C_GenerateKeyPair", FAIL, times=-1, rv="MECHANISM_INVALID")
        keepers = {"count": 1, "environment": faults.environment}
        estate.write_config(keepers=keepers)
        refused = subprocess.run([f"{BIN}/posward-hsm", "--config", estate.config], env=estate.environment, capture_output=True,
                                 text=True, timeout=START_S)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("the token has no way for import-rsa-oaep, component, audit; policy.flows_missing: allow starts without",
                      refused.stderr)
        for flow in ("import-rsa-oaep", "component", "audit"):
            self.assertIn(f"the token has no way for {flow}: C_GenerateKeyPair: CKR_MECHANISM_INVALID", refused.stderr)
        self.assertNotRegex(refused.stderr, "Sanitizer|no way for blob")
        estate.write_config(keepers=keepers, policy={"flows_missing": "allow"})
        estate.start()
        report = estate.control.GetTokenReport(hsm.GetTokenReportRequest(chosen_only=True), timeout=60)
        self.assertFalse({"import-rsa-oaep", "component", "audit"} & {way.flow for way in report.ways})
        self.assertIn("starts without flows that the token has no way for: import-rsa-oaep, component, audit", estate.log())
        self.assertEqual(estate.stop(), 0)

    def test_the_table_is_what_the_report_says(self):
        for token, heading in (("softhsm", "SoftHSM"), ("nss", "NSS")):
            with self.subTest(token):
                estate = Estate(token).start()
                self.addCleanup(estate.drop)
                report = estate.control.GetTokenReport(hsm.GetTokenReportRequest(), timeout=60)
                self.assertEqual(token_table.by_flow(report), token_table.column(heading))
                self.assertEqual(estate.stop(), 0)


if __name__ == "__main__":
    unittest.main()
