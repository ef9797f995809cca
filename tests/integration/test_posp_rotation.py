"""Rotation of the PSAM master and the storage key with terminals at work: old cards sign in under their version, new ones
under the new; the HSM service is told what depends on which key."""
import copy
import os
import threading
import unittest

import grpc

import hsm_estate
from estate import MERCHANT, load_stubs
from posp_estate import SUITES, PospEstate, Terminal, posv

keys, key_stubs = load_stubs("hsm/keys")
hsm = hsm_estate.hsm
COUNT = int(os.environ.get("POSWARD_ROTATION_DEVICES", "24"))


class Rotating(PospEstate):
    def __init__(self):
        super().__init__(workers=8)
        # The test has to know the new master's value, so ceremonies make it, on a configuration without dual control.
        with open(self.config) as f:
            ceremonies = f.read()
        with open(f"{self.dir}/hsm.yaml", "a") as f:
            f.write(f"keymgmt:\n  path: {self.dir}/keymgmt.db\n")
        self.config = f"{self.dir}/ceremony.yaml"
        self.put("ceremony.yaml", ceremonies)
        with open(f"{self.dir}/posp.yaml") as f:
            text = f.read()
        self.put("posp.yaml", text.replace("timeout_ms: 3000}", "timeout_ms: 10000, report_period_ms: 1000}", 1))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.ports['hsm_control']}")
        self.masters = {1: self.keys["psam-master-tdes"]}

    def reload(self, role, version):
        """The token has the key; keepers see it after SIGHUP."""
        self.reload_keepers()
        control = hsm_estate.stubs.ControlStub(self.channel)
        found = control.ListKeys(hsm.ListKeysRequest(), timeout=10).keys
        assert any(k.role == role and k.version == version for k in found), found

    def used(self, role, suite, version):
        manage = key_stubs.KeyManagementStub(self.channel)
        uses = manage.GetKey(keys.GetKeyRequest(key=hsm.KeyName(role=role, suite=suite, version=version)),
                             timeout=10).uses
        return sum(u.count for u in uses)

    def device(self, number, version):
        """A registered device and its terminal, whose card has its TMK from the master of that version."""
        device = self.stub("posv").RegisterDevice(posv.RegisterDeviceRequest(
            terminal_id=f"R{number:07d}", merchant_id=MERCHANT, psam_number=f"6201{number:016d}",
            suite=SUITES["tdes"], master_version=version), timeout=10)
        known = copy.copy(self)
        known.keys = {**self.keys, "psam-master-tdes": self.masters[version]}
        terminal = Terminal(known, device.terminal_id, f"6201{number:016d}", "tdes")
        return device.revision, terminal


class Load:
    """Terminals that sign in without pause. A sign-in that is refused, or whose keys do not open, is kept."""

    def __init__(self, terminals, threads=4):
        self.stop, self.failures, self.done = threading.Event(), [], 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(terminals[i::threads],)) for i in range(threads)]

    def run(self, terminals):
        while not self.stop.is_set():
            for t in terminals:
                try:
                    code = t.sign_in()[39]  # opens the keys with the card's TMK and compares check values
                    failure = None if code == "00" else code
                except Exception as e:  # pylint: disable=broad-exception-caught
                    failure = repr(e)
                with self.lock:
                    self.done += 1
                    if failure:
                        self.failures.append((t.id, failure))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class Rotation(unittest.TestCase):
    def moved(self, estate):
        try:
            return estate.wait_until(lambda: estate.used("storage", "aes-256", 1) == 0, 10)
        except AssertionError:
            return False

    def test_master_and_storage_rotate_under_load(self):
        estate = Rotating()
        self.addCleanup(estate.drop)
        estate.launch("hsm").launch("posv", "bank").launch("posp")
        made = [estate.device(n, 1) for n in range(1, COUNT + 1)]
        estate.wait_revision(made[-1][0], 60)
        old = [t for _, t in made]
        with Load(old) as load:
            estate.wait_until(lambda: load.done >= COUNT, 120)
            estate.wait_until(lambda: estate.used("psam-master", "tdes", 1) == COUNT, 60)
            estate.wait_until(lambda: estate.used("storage", "aes-256", 1) > 0, 60)
            estate.masters[2] = estate.load("psam-master", "tdes", None, 16, version=2)
            estate.reload("psam-master", 2)
            estate.load("storage", "aes-256", None, 32, version=2)
            estate.reload("storage", 2)
            made = [estate.device(n, 2) for n in range(COUNT + 1, COUNT + COUNT // 4 + 1)]
            estate.wait_revision(made[-1][0], 60)
            new = [t for _, t in made]
            with Load(new, 2) as later:
                so_far = load.done
                estate.wait_until(lambda: later.done >= 2 * len(new) and load.done >= so_far + 2 * COUNT, 180)
        self.assertEqual(load.failures + later.failures, [])
        def all_moved():  # keepers load new keys one after the other: who met a late one signs in again
            for t in old + new:
                self.assertEqual(t.sign_in()[39], "00")
                self.assertEqual(t.purchase()[39], "00")  # POSP has the keys that the terminal holds, and drops older ones
            return self.moved(estate)

        estate.wait_until(all_moved, 120)
        estate.wait_until(lambda: estate.used("psam-master", "tdes", 2) == len(new), 60)
        self.assertEqual(estate.used("psam-master", "tdes", 1), COUNT)
        self.assertEqual(estate.used("storage", "aes-256", 1), 0)
        self.assertGreaterEqual(estate.used("storage", "aes-256", 2), 3 * (COUNT + len(new)))
        print(f"{load.done + later.done} sign-ins of {COUNT + len(new)} devices, none failed")
        for name in ("posp", "bank", "posv", "hsm"):
            self.assertEqual(estate.end(name), 0)


if __name__ == "__main__":
    unittest.main()
