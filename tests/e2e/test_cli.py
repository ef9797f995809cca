#!/usr/bin/env python3
"""What `posward` prints of a running system: each command that reads, and RPCs of every service, as a table and as JSON
that say the same."""
import base64
import binascii
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import BIN, Estate  # noqa: E402

READS = [("hsm", "status"), ("key", "list"), ("key", "proposals"), ("key", "destroyed"), ("key", "policy"), ("token", "report"),
         ("posp", "status"), ("posv", "status"), ("device", "list"), ("transaction", "list"), ("card", "record", "PSAM"),
         ("device", "show", "TERMINAL"), ("call", "posward.business.v1.Business/GetStatus"),
         ("call", "posward.hsm.v1.Control/ListKeys"), ("call", "posward.hsm.v1.DataPlane/GetStatus")]
WRITES = [("hsm", "echo", "--payload", "00ff10"),
          ("hsm", "generate-working-keys", "--psam-number", "PSAM", "--suite", "tdes", "--master-version", "1",
           "--keys", '{"usage": "KEY_USAGE_MAK"}'),
          ("device", "suspend", "TERMINAL"), ("device", "resume", "TERMINAL")]


def leaves(value):
    """Each scalar of a JSON document."""
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


def as_hex(text):
    """JSON has bytes in base64, as protobuf wants it; a table in hexadecimal."""
    try:
        return base64.b64decode(text, validate=True).hex().upper() or None
    except binascii.Error:
        return "\0"


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate()
        cls.addClassCleanup(cls.estate.__exit__, None, None, None)
        cls.estate.__enter__()
        (cls.terminal, cls.card), = cls.estate.equip(1)
        cls.psam = cls.estate.posward("device", "show", cls.terminal)["psamNumber"]

    def run_words(self, words, *more):
        words = [{"PSAM": self.psam, "TERMINAL": self.terminal}.get(word, word) for word in words]
        done = subprocess.run([f"{BIN}/posward", "--config", f"{self.estate.dir}/posward.yaml", *words, *more],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout

    def test_status_asks_every_port(self):
        rows = json.loads(self.run_words(("status",), "--json"))
        self.assertEqual([(row["endpoint"], row["health"]) for row in rows],
                         [(name, "SERVING") for name in ("hsm", "hsm_control", "posp", "posv", "bank")])

    def test_reads_say_the_same_as_table_and_as_json(self):
        for words in READS:
            with self.subTest(words=words):
                answer, table = json.loads(self.run_words(words, "--json")), self.run_words(words)
                self.assertTrue(table.strip())
                for value in leaves(answer):
                    # Numbers of a running service move on, times and enums are spelled for the reader.
                    if isinstance(value, str) and value and not value.isdigit() and "_" not in value:
                        self.assertTrue(value in table or as_hex(value) in table, value)
                lists = [value for value in answer.values() if isinstance(value, list)]
                if lists and words[0] != "key":
                    self.assertGreaterEqual(len(table.splitlines()), len(lists[0]))

    def test_an_empty_list_is_a_heading_and_an_empty_list(self):
        self.assertEqual(json.loads(self.run_words(("device", "list", "--state", "retired"), "--json"))["devices"], [])
        self.assertIn("TERMINAL_ID", self.run_words(("device", "list", "--state", "retired")))

    def test_rpcs_that_do_something_print_their_answer(self):
        for words in WRITES:
            with self.subTest(words=words):
                self.assertIsInstance(json.loads(self.run_words(words, "--json")), dict)
                if words[0] != "device":  # a second suspension is refused
                    self.assertTrue(self.run_words(words).strip())

    def test_a_stream_is_json_a_line(self):
        with subprocess.Popen([f"{BIN}/posward", "--config", f"{self.estate.dir}/posward.yaml", "device", "watch", "--json"],
                              stdout=subprocess.PIPE, text=True) as watch:
            try:
                self.assertIn("device", json.loads(watch.stdout.readline()))
            finally:
                watch.kill()


if __name__ == "__main__":
    unittest.main(verbosity=2)
