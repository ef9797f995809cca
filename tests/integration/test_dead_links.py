#!/usr/bin/python3
"""A cable that is pulled: no FIN, no RST. POSP notices within seconds that its peers are not there, and goes on by itself when
they are back. In a network namespace of its own, whose loopback goes down and up; that needs root, and is skipped without."""
import os
import subprocess
import sys
import time
import unittest

INSIDE = "POSWARD_NETNS"
SKIPPED = 77
SOON_S = 20  # core's own keepalive would have taken 40

if INSIDE not in os.environ:
    tried = subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        print(f"skipped: no network namespace of its own: {tried.stderr.strip()}")
        sys.exit(SKIPPED)
    os.execvpe("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv], {**os.environ, INSIDE: "1"})

from posp_estate import PospEstate  # noqa: E402


def cable(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


class DeadLinks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cable("up")
        cls.estate = PospEstate()
        cls.estate.launch("hsm").launch("posv", "bank").launch("posp")
        cls.terminal = cls.estate.register("K0000001", "6201000000000000001")
        assert cls.terminal.sign_in()[39] == "00"

    @classmethod
    def tearDownClass(cls):
        cls.estate.drop()

    def lines(self, text):
        return self.estate.text("posp").count(text)

    def test_pulled_cable_is_noticed_and_survived(self):
        self.estate.wait_until(lambda: self.estate.status_of_posp().following)
        self.assertEqual(self.terminal.purchase()[39], "00")
        away = self.lines("posv is unavailable")
        cable("down")
        try:
            began = time.monotonic()
            self.estate.wait_until(lambda: self.lines("posv is unavailable") > away, SOON_S)
            print(f"noticed after {time.monotonic() - began:.1f} s")
        finally:
            cable("up")
        began = time.monotonic()
        self.estate.wait_until(lambda: self.estate.status_of_posp().following, SOON_S)
        self.estate.wait_until(lambda: self.terminal.purchase()[39] == "00", SOON_S)
        print(f"back after {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    unittest.main(verbosity=2)
