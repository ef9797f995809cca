#!/usr/bin/env python3
"""kill -9 of keepers, of the service and of ceremonies while they log in and make keys on SoftHSM: the token is never lost,
and no key that was reported is missing. POSWARD_KILLS says how often (24; the release check takes 200)."""
import glob
import os
import random
import re
import signal
import subprocess
import time
import unittest

from hsm_estate import BIN, Estate, hsm, types

KILLS = int(os.environ.get("POSWARD_KILLS", "24"))


class TokenKill(unittest.TestCase):
    def setUp(self):
        self.estate = Estate("softhsm")
        self.addCleanup(self.estate.drop)
        self.estate.token_lines.append(f"backup_dir: {self.estate.dir}/backup")
        self.estate.write_config(audit={"path": f"{self.estate.dir}/audit"}, keepers={"count": 2})
        self.random = random.Random(1)
        self.restored = 0

    def token_object(self):
        return glob.glob(f"{self.estate.dir}/token/*/token.object")[0]

    def ceremony(self):
        """A zone's keys, made by a process that may be killed; what it printed as made."""
        self.zones += 1
        process = subprocess.Popen(
            ["stdbuf", "-oL", f"{BIN}/posward", "key", "init", "--hsm-config", self.estate.config, "--zone",
             f"zone-{self.zones}"], env=self.estate.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(self.random.uniform(0, 0.25))
        process.kill()
        out, _ = process.communicate(timeout=60)
        return {line.split()[0] for line in out.splitlines() if line.endswith("  made")}

    def keys(self):
        return {f"posward/{k.role}/{k.zone + '/' if k.zone else ''}{k.suite}/{k.version}"
                for k in self.estate.control.ListKeys(hsm.ListKeysRequest(), timeout=30).keys}

    def wait_serving(self):
        """The service as it should be: both keepers log in, whatever was left."""
        self.estate.start()
        self.estate.wait_keepers(2)

    def count_restored(self):
        self.restored += len(re.findall("was restored from the backup", self.estate.log()))

    def test_kills_in_logins_and_key_making_lose_nothing(self):
        made, self.zones = set(), 0
        self.wait_serving()
        known = self.keys()
        for kill in range(KILLS):
            what = kill % 3
            if what == 0:  # keepers, both at once, which then log in again; one more while it does
                for pid in self.estate.keeper_pids():
                    os.kill(pid, signal.SIGKILL)
                time.sleep(self.random.uniform(0, 0.2))
                for pid in self.estate.keeper_pids():
                    os.kill(pid, signal.SIGKILL)
                self.estate.wait_keepers(2)
            elif what == 1:  # the service, and its keepers soon after, some of them in their login
                self.count_restored()
                self.estate.daemon.end(signal.SIGKILL)
                self.estate.channel.close()
                process = subprocess.Popen([f"{BIN}/posward-hsm", "--config", self.estate.config],
                                           env=self.estate.environment, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, start_new_session=True)
                time.sleep(self.random.uniform(0.01, 0.3))
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.wait_serving()
            else:
                made |= self.ceremony()
        self.count_restored()
        self.assertEqual(self.estate.stop(), 0)
        self.wait_serving()
        now = self.keys()
        self.assertEqual((known | made) - now, set(), "keys are missing")
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        self.estate.data.GenerateMac(hsm.GenerateMacRequest(key=zone, algorithm=hsm.MAC_ALGORITHM_X9_19, data=b"12345678"),
                                     timeout=30)
        self.assertEqual(self.estate.stop(), 0)
        print(f"{KILLS} kills: the token was restored {self.restored} times, {len(made)} keys of killed ceremonies are there",
              flush=True)

    def test_emptied_token_is_restored_and_told(self):
        self.wait_serving()
        known = self.keys()
        self.assertEqual(self.estate.stop(), 0)
        made = self.estate.cli("key", "init", "--hsm-config", self.estate.config, "--zone", "late")
        self.assertIn("zone-pin/late/tdes/1", made.stdout)
        with open(self.token_object(), "w", encoding="ascii"):
            pass
        self.wait_serving()
        self.assertRegex(self.estate.log(), r"keeper notice .*token\.object was damaged \(0 bytes\) and was restored")
        self.assertEqual(len(self.keys() - known), 3)
        self.assertEqual(self.estate.stop(), 0)
        shown = self.estate.cli("audit", "show", "--log", f"{self.estate.dir}/audit", "--what", "keeper notice")
        self.assertIn("restored from the backup", shown.stdout)

    def test_ceremony_restores_too(self):
        self.wait_serving()
        self.assertEqual(self.estate.stop(), 0)
        with open(self.token_object(), "w", encoding="ascii"):
            pass
        done = self.estate.cli("key", "init", "--hsm-config", self.estate.config)
        self.assertIn("restored from the backup", done.stderr)
        self.assertNotIn("  made\n", done.stdout)

    def test_without_a_backup_the_damage_is_named(self):
        self.estate.token_lines.pop()
        self.estate.write_config()
        with open(self.token_object(), "w", encoding="ascii"):
            pass
        done = self.estate.cli("key", "init", "--hsm-config", self.estate.config, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("posward", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
