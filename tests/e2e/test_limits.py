#!/usr/bin/env python3
"""A terminal that guesses PINs: response code 75 once the HSM service has counted enough, and nothing to reverse."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import Estate  # noqa: E402


class Limits(unittest.TestCase):
    def buy(self, estate, equipped, pan, pin):
        terminal, card = equipped
        done = subprocess.run(estate.terminal(terminal, card, "tdes", "purchase", "--amount", "100", "--pan", pan,
                                              "--expiry", "3012", "--pin", pin),
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def test_guessing_ends_with_75(self):
        with Estate(hsm_settings="limits:\n  pin_account_per_hour: 2\n") as estate:
            one, other = estate.equip(2)
            guessed = "6225758326736435"
            for equipped in (one, other):  # the bank's own counter stops at three
                self.assertRegex(self.buy(estate, equipped, guessed, "000001"), r"\b55\b")
            for equipped in (one, other, one):
                self.assertRegex(self.buy(estate, equipped, guessed, "000009"), r"\b75\b")
            self.assertEqual(estate.log("posp").count("too many PIN operations"), 3)
            self.assertRegex(self.buy(estate, one, "6225758326736419", "123456"), r"\b00\b")
            self.assertNotIn("reversal", estate.log("posp"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
