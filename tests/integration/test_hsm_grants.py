#!/usr/bin/python3
"""Grants as an operator writes them: the sample's examples, what --check-config prints of them, and who refuses them."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import BIN, SOURCE  # noqa: E402

EXAMPLE = re.compile(r"^# (?=roles:$|  - identity: |    (?:roles|may|zones|pin_pairs): )")

EXPECTED = """\
posward-hsm: the configuration is valid
spiffe://posward/auditor
  roles      auditor
  may        none
  zones      none
  pin_pairs  none
spiffe://posward/bank-host
  roles      posp
  may        zone-mac, zone-data
  zones      acquirer, acquirer2, bank
  pin_pairs  acquirer2>bank, acquirer>bank
spiffe://posward/monitor
  roles      monitor
  may        none
  zones      none
  pin_pairs  none
spiffe://posward/operator
  roles      operator
  may        none
  zones      none
  pin_pairs  none
spiffe://posward/posp
  roles      posp
  may        card-key, working-keys, transaction, answer-mac, reseal, report-use (default)
  zones      all
  pin_pairs  none
spiffe://posward/posp2
  roles      posp
  may        card-key, working-keys, transaction, answer-mac, reseal, report-use
  zones      acquirer2
  pin_pairs  none
"""


def sample(service):
    with open(f"{SOURCE}/deploy/config/{service}.yaml", encoding="utf-8") as file:
        return file.read()


class Grants(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="posward-grants.")
        self.addCleanup(self.folder.cleanup)

    def check(self, service, text):
        path = f"{self.folder.name}/{service}.yaml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return subprocess.run([f"{BIN}/posward-{service}", "--config", path, "--check-config"], capture_output=True, text=True,
                              timeout=30, check=False)

    def with_examples(self):
        """The sample with TLS, its commented items of roles taken in."""
        pki = f"{self.folder.name}/pki"
        subprocess.run([f"{SOURCE}/deploy/pki", pki, "hsm"], check=True, capture_output=True)
        text = "".join(EXAMPLE.sub("", line) for line in sample("hsm").splitlines(keepends=True))
        return re.sub(r"^  insecure: true.*$", f"  ca: {pki}/ca.pem\n  cert: {pki}/hsm.pem\n  key: {pki}/hsm.key", text, flags=re.M)

    def test_the_samples_examples_are_what_they_say(self):
        done = self.check("hsm", self.with_examples())
        self.assertEqual((done.returncode, done.stdout), (0, EXPECTED), done.stderr)

    def test_a_mistake_is_named_with_its_item(self):
        text = self.with_examples()
        for old, new, note in (
                ("may: [zone-mac,", "may: [zone-mca,", "roles[5]: may: 'zone-mca' is no right; did you mean 'zone-mac'?"),
                ("zones: [acquirer2]", "zones: [acquirer2, acquirer2]", "roles[4]: zones: acquirer2 stands twice"),
                ("zones: [acquirer2]", "zones:", "'zones' is a list"),
                ("roles: operator\n", "roles: operator\n    zones: [bank]\n",
                 "roles[1]: spiffe://posward/operator has may, zones or pin_pairs, but none of its roles can use a key"),
                ("[acquirer>bank,", "[acquirer>north,", "roles[5]: pin_pairs: acquirer>north needs the zone north in zones")):
            with self.subTest(note):
                self.assertEqual(text.count(old), 1, old)
                done = self.check("hsm", text.replace(old, new))
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(note, done.stderr)

    def test_an_insecure_caller_has_what_its_role_has(self):
        done = self.check("hsm", sample("hsm"))
        self.assertIn("every caller (tls.insecure)\n  roles      issuer, posp,", done.stdout)
        self.assertIn("  pin_pairs  all\n", done.stdout)
        done = self.check("hsm", sample("hsm") + "insecure_role: posp\n")
        self.assertEqual(done.stdout.splitlines()[1:], [
            "every caller (tls.insecure)", "  roles      posp",
            "  may        card-key, working-keys, transaction, answer-mac, reseal, report-use (default)",
            "  zones      all", "  pin_pairs  none"], done.stderr)

    def test_other_services_have_no_keys_to_grant(self):
        for service in ("posp", "posv"):
            for key in ("may", "zones", "pin_pairs"):
                with self.subTest(service=service, key=key):
                    done = self.check(service, sample(service) + f"roles: [{{identity: a, roles: posp, {key}: []}}]\n")
                    self.assertEqual(done.returncode, 1)
                    self.assertIn("roles[0]: may, zones and pin_pairs say what may be done with keys", done.stderr)
            done = self.check(service, sample(service))
            self.assertEqual(done.stdout.splitlines()[1:],
                             ["every caller (tls.insecure)  issuer, posp, posv, operator, auditor, monitor"], done.stderr)


if __name__ == "__main__":
    unittest.main()
