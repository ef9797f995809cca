"""What a card's working keys come under, from the issuer to a purchase: real cards, and somebody on the line between
terminal and POSP who swaps the cryptograms of PIK and TDK."""
import subprocess
import unittest

from estate import BIN, MERCHANT
from known_system import KnownSystem
from lines import Courier
from posp_estate import PAN, posv, unpack

APPROVED, REFUSED_BY_CARD = 0, 4
system = None


def setUpModule():
    global system
    system = KnownSystem("softhsm").begin()


def tearDownModule():
    statuses = {name: system.end(name) for name in ("posp", "bank", "posv", "hsm")}
    system.drop()
    assert not any(statuses.values()), statuses


def swap_pik_and_tdk(to_posp, frame):
    """Field 62 of a sign-in's answer: three slots of a cryptogram of 24 bytes and its check value. No MAC is over it."""
    mti, fields = unpack(frame[11:]) if not to_posp else (None, {})
    if mti != "0810" or 62 not in fields:
        return None
    f62 = fields[62]
    assert len(f62) == 84
    return frame.replace(f62, f62[56:] + f62[28:56] + f62[:28])


class Wrap(unittest.TestCase):
    def at_terminal(self, card, *words, seen=lambda to_posp, frame: None):
        """(exit status, output) of the terminal emulator with a real card in it."""
        line = Courier(f"127.0.0.1:{system.terminals_port}", seen)
        done = subprocess.run(
            [f"{BIN}/posward-terminal", "--posp", line.address, "--psam", card.address, "--terminal-id",
             "R" + card.psam[-7:], "--merchant-id", MERCHANT, "--suite", "aes", "--state", card.file + ".state", *words],
            capture_output=True, text=True, timeout=60, check=False)
        line.close()
        return done.returncode, done.stdout + done.stderr

    def expect(self, card, status, *words, **more):
        got, output = self.at_terminal(card, *words, **more)
        self.assertEqual(got, status, output)
        return output

    def pay(self, card):
        self.expect(card, APPROVED, "purchase", "--amount", "700", "--pan", PAN, "--pin", system.pins[PAN])

    def device(self, number):
        return system.stub("posv").GetDevice(posv.GetDeviceRequest(terminal_id=f"R{number:07d}"), timeout=10)

    def test_new_cards_refuse_swapped_keys(self):
        for number, suite in ((1, "aes-128"), (2, "aes-256")):
            card = system.issue(number, suite)
            self.assertEqual(self.device(number).wrap_version, 2)
            self.expect(card, APPROVED, "signin")
            self.pay(card)
            output = self.expect(card, REFUSED_BY_CARD, "signin", seen=swap_pik_and_tdk)
            self.assertIn("SW 9302", output)
            self.expect(card, APPROVED, "signin")
            self.pay(card)

    def test_cards_of_version_1_take_them(self):
        """Which is why version 2 exists: neither card nor terminal can tell."""
        card = system.issue(3, "aes-256", wrap=1)
        self.assertEqual(self.device(3).wrap_version, 1)
        self.expect(card, APPROVED, "signin")
        self.pay(card)
        self.expect(card, APPROVED, "signin", seen=swap_pik_and_tdk)

    def test_card_that_is_issued_again_changes_its_version(self):
        card = system.issue(4, "aes-128", wrap=1)
        self.expect(card, APPROVED, "signin")
        system.write_card(card, 4)
        self.assertEqual(self.device(4).wrap_version, 2)
        self.expect(card, APPROVED, "signin")
        self.pay(card)
        shown = subprocess.run([f"{BIN}/posward", "card", "show", "--reader", f"tcp:{card.address}"], capture_output=True,
                               text=True, timeout=60, check=True).stdout
        self.assertRegex(shown, r"TMK +version 1, AES-128, wrap version 2, KCV ")
        listed = subprocess.run([f"{BIN}/posward", "--config", f"{system.dir}/posward.yaml", "device", "show", "R0000004"],
                                capture_output=True, text=True, timeout=60, check=True).stdout
        self.assertRegex(listed, r"wrap_version: +2")

    def test_device_of_another_version_cannot_sign_in(self):
        """A wrong entry is no way around: the card refuses what comes by another version than its TMK's."""
        card = system.issue(5, "aes-256")
        change = system.stub("posv").ReplaceCard(posv.ReplaceCardRequest(
            terminal_id="R0000005", psam_number=card.psam, suite=3, master_version=1, wrap_version=1, reason="test"), timeout=10)
        system.wait_revision(change.revision)
        self.expect(card, REFUSED_BY_CARD, "signin")


if __name__ == "__main__":
    unittest.main()
