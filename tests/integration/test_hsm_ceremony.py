#!/usr/bin/python3
"""Key ceremonies: posward key init and posward key load-components, by files and at a terminal."""
import concurrent.futures
import json
import os
import pty
import re
import select
import stat
import time
import unittest

import reference as ref
from hsm_estate import BIN, Estate, hsm

ONE, TWO = "0123456789ABCDEFFEDCBA9876543210", "8A8A8A8A2C2C2C2C4F4F4F4F61616161"
KEY = ref.odd_parity(ref.xor(bytes.fromhex(ONE), bytes.fromhex(TWO)))


def kcv3(key):
    return ref.kcv("tdes", key)[:3].hex().upper()


class Ceremony(unittest.TestCase):
    token = "softhsm"

    def setUp(self):
        self.estate = Estate(self.token, load=False)
        self.addCleanup(self.estate.drop)

    def load(self, *words, check=False, role="psam-master", suite="tdes"):
        return self.estate.cli("key", "load-components", "--hsm-config", self.estate.config, "--role", role,
                               "--suite", suite, *words, check=check)

    def files(self, *texts):
        words = []
        for i, text in enumerate(texts):
            words += ["--component", self.estate.secret(f"component{i}", text)]
        return words

    def test_init_makes_what_is_missing_once(self):
        first = self.estate.cli("key", "init", "--hsm-config", self.estate.config, "--zone", "bank",
                                "--zone", "bank-b:aes-128")
        lines = [line.split() for line in first.stdout.splitlines()[1:]]
        self.assertEqual(len(lines), 13)
        self.assertEqual({line[2] for line in lines}, {"made"})
        self.assertIn("posward/zone-pin/bank/tdes/1", [line[0] for line in lines])
        self.assertIn("posward/zone-data/bank-b/aes-128/1", [line[0] for line in lines])
        self.assertIn("SIGHUP", first.stderr)
        second = self.estate.cli("key", "init", "--hsm-config", self.estate.config, "--zone", "bank")
        again = [line.split(None, 2) for line in second.stdout.splitlines()[1:]]
        self.assertEqual({line[2] for line in again}, {"already there"})
        self.assertEqual([line[:2] for line in again], [line[:2] for line in lines[:10]])
        listed = json.loads(self.estate.cli("key", "init", "--hsm-config", self.estate.config, "--json").stdout)
        self.assertEqual(len(listed["keys"]), 13)

    def test_ceremonies_at_once_make_no_key_twice(self):
        init = ["key", "init", "--hsm-config", self.estate.config, "--zone", "bank"]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = list(pool.map(lambda _: self.estate.cli(*init, check=False), range(4)))
        for run in runs:
            self.assertTrue(run.returncode == 0 or "exists" in run.stderr, run.stderr)
        after = self.estate.cli(*init)
        self.assertEqual(len(after.stdout.splitlines()), 11)

    def test_load_from_files(self):
        done = self.load(*self.files(ONE, TWO), check=True)
        self.assertIn(f"component 1  check value {kcv3(bytes.fromhex(ONE))}", done.stdout)
        self.assertIn(f"component 2  check value {kcv3(bytes.fromhex(TWO))}", done.stdout)
        self.assertIn(f"posward/psam-master/tdes/1  check value {kcv3(KEY)}  loaded", done.stdout)
        for text in (ONE, TWO, KEY.hex().upper()):
            self.assertNotIn(text, (done.stdout + done.stderr).upper())
        init = self.estate.cli("key", "init", "--hsm-config", self.estate.config)
        self.assertRegex(init.stdout, rf"psam-master/tdes/1 +{kcv3(KEY)} +already there")
        self.estate.start()
        (key,) = [key for key in self.estate.control.ListKeys(hsm.ListKeysRequest()).keys
                  if (key.role, key.suite) == ("psam-master", "tdes")]
        self.assertEqual(key.kcv.hex().upper(), kcv3(KEY))
        config = self.estate.secret("client.yaml", f"endpoints:\n  hsm: 127.0.0.1:{self.estate.port}\n"
                                                   f"  hsm_control: 127.0.0.1:{self.estate.control_port}\n"
                                                   "tls:\n  insecure: true")
        listed = self.estate.cli("key", "list", "--config", config)
        self.assertRegex(listed.stdout, rf"psam-master +tdes +1 +{kcv3(KEY)}")
        self.assertIn("working-key-tdes", self.estate.cli("token", "report", "--config", config).stdout)
        self.assertIn("keepers_wanted", self.estate.cli("hsm", "status", "--config", config).stdout)
        echo = self.estate.cli("hsm", "echo", "--payload", "CAFE", "--config", config)
        self.assertIn("CAFE", echo.stdout.upper())
        self.assertEqual(self.estate.stop(), 0)

    def test_a_key_is_never_replaced(self):
        self.load(*self.files(ONE, TWO), check=True)
        done = self.load(*self.files(ONE, TWO))
        self.assertEqual(done.returncode, 1)
        self.assertIn("--version", done.stderr)
        self.assertEqual(self.load("--version", "1", *self.files(ONE, TWO)).returncode, 1)
        done = self.load("--version", "2", *self.files(TWO, "11" * 16), check=True)
        self.assertIn("posward/psam-master/tdes/2", done.stdout)
        init = self.estate.cli("key", "init", "--hsm-config", self.estate.config)
        self.assertIn("posward/psam-master/tdes/2", init.stdout)

    def test_wrong_components_are_refused(self):
        odd = "01" * 16
        for texts, words, said in [
            ((ONE,), (), "at least 2"),
            ((ONE, ONE), (), "same"),
            ((ONE, "00" * 16), (), "zeros"),
            ((ONE, TWO[:-2]), (), "30 hexadecimal digits"),
            ((ONE, TWO + "00"), (), "longer"),
            ((ONE, "G" + TWO[1:]), (), "no hexadecimal digit"),
            ((ONE, TWO, ref.xor(bytes.fromhex(ONE), bytes.fromhex(TWO)).hex()), (), "all zeros"),
            ((odd, "03" * 16), ("--odd-parity",), "parity"),
            (("44" * 16, "22" * 8 + "33" * 8, "33" * 8 + "22" * 8), (), "equal"),
            ((ONE, TWO), ("--zone", "bank"), "--zone"),
            ((ONE, TWO), ("--version", "256"), "--version"),
            ((ONE, TWO), ("--version", "x"), "--version"),
            ((ONE,), ("--component", f"{self.estate.dir}/missing"), "missing"),
        ]:
            with self.subTest(said):
                done = self.load(*words, *self.files(*texts))
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(said, done.stderr)
        self.assertEqual(self.load(*self.files(ONE, TWO), role="audit", suite="aes-256").returncode, 1)
        self.assertEqual(self.load(*self.files(ONE, TWO), suite="aes-128").returncode, 1)
        self.assertIn("made", self.estate.cli("key", "init", "--hsm-config", self.estate.config).stdout.split("\n")[1])

    def test_a_component_file_that_others_can_read_is_refused(self):
        words = self.files(ONE, TWO)
        os.chmod(words[1], stat.S_IRUSR | stat.S_IRGRP)
        done = self.load(*words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("component0", done.stderr)

    def test_help_and_missing_options(self):
        for name in ("init", "load-components"):
            self.assertIn("ceremony", self.estate.cli("key", name, "--help").stdout)
            self.assertIn("--hsm-config", self.estate.cli("key", name, check=False).stderr +
                          self.estate.cli("key", name, "--help").stdout)
        self.assertEqual(self.estate.cli("key", "init", check=False).returncode, 1)
        self.assertEqual(self.estate.cli("key", "init", "--nonsense", check=False).returncode, 1)

    def typed(self, *lines):
        """What the terminal showed, and the exit status, while custodians type `lines` at each prompt."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(f"{BIN}/posward", ["posward", "key", "load-components", "--hsm-config", self.estate.config,
                                         "--role", "psam-master", "--suite", "tdes"], self.estate.environment)
        shown, prompts, until = "", 0, time.monotonic() + 60
        while time.monotonic() < until:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown += os.read(terminal, 4096).decode()
                except OSError:
                    break
            asked = len(re.findall(r"Component: |Once more: |press Enter", shown))
            if asked > prompts:
                prompts = asked
                time.sleep(0.05)  # echo is off before the prompt shows; be sure of the read too
                os.write(terminal, lines[asked - 1].encode() + b"\n")
        os.close(terminal)
        return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_custodians_type_in_turn(self):
        shown, status = self.typed(ONE, TWO, ONE, ONE, "", TWO[:16] + " " + TWO[16:], TWO[:16] + " " + TWO[16:], "")
        self.assertEqual(status, 0, shown)
        self.assertIn("the two entries differ", shown)
        self.assertIn(f"Check value of component 1: {kcv3(bytes.fromhex(ONE))}", shown)
        self.assertIn(f"check value {kcv3(KEY)}  loaded", shown)
        self.assertEqual(shown.count("\033[2J"), 2)
        for text in (ONE, TWO, TWO[:16], KEY.hex().upper()):
            self.assertNotIn(text, shown)

    def test_a_custodian_breaks_off(self):
        shown, status = self.typed(ONE, "\x03")
        self.assertEqual(status, 1)
        self.assertIn("nothing was loaded", shown)
        self.assertNotIn(ONE, shown)


class CeremonyOnNss(Ceremony):
    token = "nss"


if __name__ == "__main__":
    unittest.main()
