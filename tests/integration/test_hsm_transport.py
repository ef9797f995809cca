#!/usr/bin/env python3
"""Keys travel under dual control: handed out and brought back as key block, cryptogram and RFC 3394; by RSA-OAEP and by components that
openssl enciphers; and each error says what differs."""
import base64
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import UNLIMITED, Estate  # noqa: E402
from operators import ONE, TWO, Operators  # noqa: E402


class Transport(Operators, unittest.TestCase):
    token = "softhsm"

    @classmethod
    def setUpClass(cls):
        cls.estate = Estate(cls.token, secure=True, hsm_settings=UNLIMITED)
        cls.addClassCleanup(cls.estate.__exit__, None, None, None)
        cls.estate.__enter__()

    def file(self, name, text):
        path = f"{self.estate.dir}/{name}"
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        return path

    def kcv_of(self, exported):
        return base64.b64decode(exported["kcv"]).hex()

    def public_key(self, role):
        keys = self.cli(ONE, "key", "transport-keys")["keys"]
        return self.file(f"{role}.pem", [k for k in keys if k["key"]["role"] == role][-1]["publicKey"])

    def encipher(self, pem, value):
        return subprocess.run(["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", pem, "-pkeyopt",
                               "rsa_padding_mode:oaep"], input=value, capture_output=True, check=True).stdout

    def round_trip(self, form, under, zone, key):
        """The exported key of version 1, and what brings it back."""
        self.agree("create", "--role", "zone-master", "--suite", under, "--zone", zone)
        done = self.agree("create", *key, "--zone", zone, "--export-format", form, "--under-suite", under)
        exported = done["exported"]
        block = form.startswith("tr31")
        text = exported["keyBlock"] if block else base64.b64decode(exported["wrapped"]).hex()
        words = ("import", *key, "--zone", zone, "--format", form, "--under-suite", under)
        return exported, text, words, "--key-block" if block else "--wrapped"

    def test_what_is_handed_out_comes_back(self):
        for form, under, key in (("tr31-b", "tdes", ("--role", "zone-pin", "--suite", "tdes")),
                                 ("tr31-d", "aes-256", ("--role", "zone-mac", "--suite", "aes-128")),
                                 ("aes-key-wrap", "aes-256", ("--role", "zone-data", "--suite", "tdes")),
                                 ("tdes-ecb", "tdes", ("--role", "zone-mac", "--suite", "tdes"))):
            with self.subTest(form=form):
                exported, text, words, flag = self.round_trip(form, under, "z" + form.replace("-", ""), key)
                kcv = self.kcv_of(exported)
                path = self.file("travels", text + "\n")
                self.propose(*words, flag, path, "--kcv", "000000", fails="KCV|check value")
                done = self.agree(*words, flag, path, "--kcv", kcv)
                self.assertEqual(self.kcv_of(done["keys"][0]), kcv)
                self.assertEqual(int(done["keys"][0]["version"]), 2)
                if flag == "--key-block":
                    self.assertEqual(done["header"]["version"], text[0])
                    self.assertEqual(done["grade"], "GRADE_PROCESS_MEMORY")
                    self.assertIn(done["header"]["usage"], text)

    def test_a_key_block_is_refused_by_what_differs(self):
        key = ("--role", "zone-pin", "--suite", "aes-128")
        _, text, words, flag = self.round_trip("tr31-d", "aes-256", "wrong", key)
        changed = self.file("changed", text[:-1] + ("0" if text[-1] != "0" else "1"))
        self.propose(*words, flag, changed, fails="MAC")
        used = ("import", "--role", "zone-data", "--suite", "aes-128", *words[5:])
        self.propose(*used, flag, self.file("used", text), fails="PERMISSION_DENIED.*usage")
        self.propose(*words, flag, self.file("old", "A" + text[1:]), fails="version A")
        self.propose(*words, flag, self.file("cut", text[:-2]), fails="INVALID_ARGUMENT.*length")

    def test_a_key_under_the_transport_key(self):
        self.agree("create", "--role", "transport", "--suite", "rsa-3072")
        value = bytes(range(0x20, 0x40))
        wrapped = self.encipher(self.public_key("transport"), value)
        words = ("import", "--role", "card-control", "--suite", "aes-256", "--format", "rsa-oaep", "--wrapped")
        done = self.agree(*words, self.file("oaep", wrapped.hex()))
        self.assertEqual(done["grade"], "GRADE_IN_TOKEN")
        self.propose(*words, self.file("oaep", wrapped[:-1].hex() + "%02x" % (wrapped[-1] ^ 1)), fails="wrapping")
        short = self.encipher(self.public_key("transport"), value[:16])
        self.propose(*words, self.file("oaep", short.hex()), fails="length: 16 bytes")

    def test_custodians_hand_in_components(self):
        self.agree("create", "--role", "component", "--suite", "rsa-3072")
        pem = self.public_key("component")
        parts = [bytes.fromhex(h) for h in ("1123456789ABCDEF0123456789ABCDEF", "FEDCBA98765432100022446688AACCEE")]
        made = self.propose("import", "--role", "zone-pin", "--suite", "aes-128", "--zone", "parts", "--components", "2")
        for who, part in zip((ONE, TWO), parts):
            sealed = self.file("part", self.encipher(pem, part))
            self.cli(who, "key", "submit-component", "--id", made["id"], "--component", "@" + sealed,
                     "--kcv", "000000", fails="check value")
            self.cli(who, "key", "submit-component", "--id", made["id"], "--component", "@" + sealed)
        done = self.cli(TWO, "key", "approve", made["id"])
        self.assertEqual(done["state"], "PROPOSAL_STATE_EXECUTED", done)
        self.assertEqual(done["grade"], "GRADE_PROCESS_MEMORY")
        whole = bytes(a ^ b for a, b in zip(*parts))
        cmac = subprocess.run(["openssl", "mac", "-cipher", "AES-128-CBC", "-macopt", "hexkey:" + whole.hex(), "-in",
                               self.file("zeros", bytes(16)), "CMAC"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(self.kcv_of(done["keys"][0]).upper(), cmac.strip()[:6].upper())


class TransportOnNss(Transport):
    token = "nss"


if __name__ == "__main__":
    unittest.main()
