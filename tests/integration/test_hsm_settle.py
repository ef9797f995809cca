#!/usr/bin/env python3
"""A keeper dies between a change in the token and its answer, while another keeper knows the keys of before: the proposal
ends as what the token shows, and the register of destroyed keys with it."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import BUILD, UNLIMITED, Estate, wait_until  # noqa: E402
from faults import DIE, Faults  # noqa: E402
from operators import ONE, Operators  # noqa: E402


class Settle(Operators, unittest.TestCase):
    def setUp(self):
        self.estate = Estate(secure=True, hsm_settings=UNLIMITED)
        self.estate.__enter__()
        self.addCleanup(self.estate.__exit__, None, None, None)
        self.put_faults_in_between()

    def put_faults_in_between(self):
        """The estate's token behind fault_module.so, under two keepers."""
        path, real = f"{self.estate.dir}/hsm.yaml", "/usr/lib/softhsm/libsofthsm2.so"
        self.estate.token_lines, self.estate.environment = [f"module: {real}"], {}
        self.faults = Faults(self.estate)
        with open(path, encoding="ascii") as file:
            text = file.read()
        with open(path, "w", encoding="ascii") as file:
            file.write(text.replace(real, f"{BUILD}/tests/lib/fault_module.so") +
                       f"keepers:\n  count: 2\n  environment: {Faults.environment}\n")
        os.environ.update(self.estate.environment)
        self.addCleanup(lambda: [os.environ.pop(name) for name in self.estate.environment])
        self.estate.tool("stop", "hsm")
        self.estate.tool("start", "hsm")
        wait_until(lambda: int(self.cli(ONE, "hsm", "status")["keepers"]) == 2, 60)

    def agree_dying(self, die, *words):
        """The keeper that carries it out dies at that point."""
        made = self.propose(*words)
        self.faults.inject(die, DIE)
        done = self.approve(made)
        self.assertEqual(self.faults.get("times"), 0)  # it did die
        return done

    def keys(self, zone):
        return [(int(k["version"]), k["state"]) for k in self.cli(ONE, "key", "list")["keys"] if k.get("zone") == zone]

    def test_created_key_is_made_once(self):
        zone = ("--role", "zone-pin", "--suite", "tdes", "--zone", "made")
        done = self.agree_dying("after:C_CloseSession", "create", *zone)
        self.assertEqual(self.keys("made"), [(1, "KEY_STATE_ACTIVE")])
        self.assertEqual(done["keys"][0]["kcv"], self.cli(ONE, "key", "show", *zone, "--version", "1")["key"]["kcv"])

    def test_destroyed_key_is_destroyed_and_in_the_register(self):
        zone = ("--role", "zone-pin", "--suite", "tdes", "--zone", "gone")
        kcv = self.agree("create", *zone)["keys"][0]["kcv"]
        self.agree("rotate", *zone)
        self.agree("deactivate", *zone, "--version", "1")
        self.agree_dying("after:C_CloseSession", "destroy", *zone, "--version", "1")
        self.assertEqual(self.keys("gone"), [(2, "KEY_STATE_ACTIVE")])
        gone = [k for k in self.cli(ONE, "key", "destroyed")["keys"] if k.get("zone") == "gone"]
        self.assertEqual([(int(k["version"]), k["kcv"], k["state"]) for k in gone], [(1, kcv, "KEY_STATE_DESTROYED")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
