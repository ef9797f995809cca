"""Rotation as two operators do it, on a system with TLS, with terminals at work: master and storage key are rotated while
sign-ins and purchases run and none fails; then `posward posp reseal` moves what is left, and what may go and what not is
told. usage: test_posp_reseal.py softhsm|nss [unittest's arguments]; POSWARD_ROTATION_DEVICES says how many devices."""
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

import grpc

import hsm_estate  # noqa: F401, its folder is on the path for what follows
from estate import BIN, MERCHANT, UNLIMITED, Estate, wait_until
from operators import ONE, Operators
from posp_estate import SUITES, Terminal, posv, posv_stubs
from reference import odd_parity, xor

COUNT = int(os.environ.get("POSWARD_ROTATION_DEVICES", "24"))
TOKEN = "softhsm"
OLD_MASTER, NEW_MASTER = 2, 3
MASTER = ("--role", "psam-master", "--suite", "tdes")
STORAGE = ("--role", "storage", "--suite", "aes-256")


class System(Operators, Estate):
    """Version 2 of the master is the test's own, so that it can be the cards; the next is the token's."""
    cli_seconds = 580

    def __init__(self, token):
        super().__init__(token, secure=True, hsm_settings=UNLIMITED)
        self.keys = {}
        self.estate = self  # Operators' own

    def tool(self, command, *words):
        super().tool(command, *words)
        if command == "new":
            self.load_master()
            self.edit("posp", "  report_period_ms: 5000\n", "  report_period_ms: 1000\n  timeout_ms: 10000\n  reseal_per_second: 50\n")
            self.edit("bank", "balance: 1000000000", "balance: 100000000000")

    def edit(self, name, old, new):
        with open(f"{self.dir}/{name}.yaml", encoding="ascii") as file:
            text = file.read()
        assert old in text, (name, old)
        with open(f"{self.dir}/{name}.yaml", "w", encoding="ascii") as file:
            file.write(text.replace(old, new, 1))

    def load_master(self):
        with open(f"{self.dir}/hsm.yaml", encoding="ascii") as file:
            text = file.read()
        with open(f"{self.dir}/ceremony.yaml", "w", encoding="ascii") as file:  # ceremonies are for tokens without dual control
            file.write(text.replace(f"keymgmt:\n  path: {self.dir}/keymgmt.db\n", ""))
        parts, words = [os.urandom(16) for _ in range(2)], []
        for i, part in enumerate(parts):
            path = f"{self.dir}/secrets/part{i}"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o400), "w") as file:
                file.write(part.hex().upper() + "\n")
            words += ["--component", path]
        environment = {**os.environ, "SOFTHSM2_CONF": f"{self.dir}/softhsm2.conf"}
        subprocess.run([f"{BIN}/posward", "key", "load-components", "--hsm-config", f"{self.dir}/ceremony.yaml", *MASTER,
                        "--version", str(OLD_MASTER), *words], env=environment, check=True, timeout=60,
                       stdout=subprocess.DEVNULL)
        self.keys["psam-master-tdes"] = odd_parity(xor(*parts))

    @property
    def terminals_port(self):
        return int(self.env["PORT_TERMINALS"])

    def registry(self):
        def read(name):
            with open(f"{self.dir}/pki/{name}", "rb") as file:
                return file.read()
        trust = grpc.ssl_channel_credentials(read("ca.pem"), read("issuer.key"), read("issuer.pem"))
        return posv_stubs.RegistryStub(grpc.secure_channel(f"127.0.0.1:{self.env['PORT_POSV']}", trust))

    def devices(self, count):
        """Registered devices with cards of the old master."""
        registry = self.registry()

        def register(number):
            return registry.RegisterDevice(posv.RegisterDeviceRequest(
                terminal_id=f"R{number:07d}", merchant_id=MERCHANT, psam_number=f"6201{number:016d}", suite=SUITES["tdes"],
                master_version=OLD_MASTER), timeout=30).revision
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            newest = max(pool.map(register, range(count)))
        wait_until(lambda: int(self.posward("posp", "status")["deviceRevision"]) >= newest, 120)
        return [Terminal(self, f"R{n:07d}", f"6201{n:016d}", "tdes") for n in range(count)]

    def used(self, name, version):
        return sum(int(u["count"]) for u in self.cli(ONE, "key", "show", *name, "--version", str(version)).get("uses", []))

    def metric(self, name):
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.env['PORT_METRICS_POSP']}/metrics", timeout=10).read().decode()
        return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name + " "))


class Work:
    """Terminals that sign in without pause, and pay with the new keys each fourth time. What fails is kept."""

    def __init__(self, terminals, threads=6):
        self.stop, self.failures, self.sign_ins, self.purchases = threading.Event(), [], 0, 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(terminals[i::threads],)) for i in range(threads)]

    def run(self, terminals):
        turn = 0
        while not self.stop.is_set():
            for t in terminals:
                if self.stop.is_set():
                    return
                turn += 1
                self.one(t, turn % 4 == 0)

    def one(self, t, pays):
        codes = []
        try:
            codes.append(t.sign_in()[39])  # opens the keys with the card's TMK and compares check values
            if pays:
                codes.append(t.purchase()[39])
        except Exception as e:  # pylint: disable=broad-exception-caught
            codes.append(repr(e))
        with self.lock:
            self.sign_ins += 1
            self.purchases += pays
            self.failures += [(t.id, c) for c in codes if c != "00"]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def all_of(terminals, act):
    """The response codes of `act` on each terminal that are not 00."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        return [(t.id, code) for t, code in zip(terminals, pool.map(lambda t: act(t)[39], terminals)) if code != "00"]


class Reseal(unittest.TestCase):
    def setUp(self):
        self.system = System(TOKEN)
        self.addCleanup(self.system.__exit__, None, None, None)
        self.system.__enter__()

    def start(self):
        """Devices that all have keys which they have used; half of them stay quiet from now on."""
        began = time.monotonic()
        self.system.card("before", "62010000000000980001")
        self.system.issue("before", "tdes")
        terminals = self.system.devices(COUNT)
        self.assertEqual(all_of(terminals, Terminal.sign_in), [])
        self.assertEqual(all_of(terminals, Terminal.purchase), [])
        print(f"{COUNT} devices registered and signed in, {time.monotonic() - began:.0f} s")
        return terminals[::2], terminals[1::2]

    def rotate(self, busy):
        with Work(busy) as work:
            wait_until(lambda: work.sign_ins >= 8, 60)
            before, began = work.sign_ins, time.monotonic()
            self.system.agree("rotate", *MASTER)
            self.system.agree("rotate", *STORAGE)
            rotated = time.monotonic() - began
            self.new_card()
            so_far = work.sign_ins
            wait_until(lambda: work.sign_ins >= so_far + min(2 * len(busy), 4000), 240)
        if work.failures:
            print("\n".join([line for line in self.system.log("posp").splitlines() if "refused" in line][:12]))
        self.assertEqual(work.failures, [])
        print(f"rotation of master and storage key by two operators: {rotated:.1f} s; "
              f"{work.sign_ins - before} sign-ins and about {work.purchases} purchases in {time.monotonic() - began:.1f} s "
              f"from the first proposal on, 0 failed")

    def new_card(self):
        system = self.system
        system.card("new", "62010000000000990001")
        system.issue("new", "tdes", "N0000001")
        shown = system.posward("device", "show", "N0000001")
        self.assertEqual(int(shown.get("device", shown)["masterVersion"]), NEW_MASTER)
        for what in (["signin"], ["purchase", "--amount", "100", "--pin", "123456"]):
            done = subprocess.run(system.terminal("N0000001", "new", "tdes", *what), capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def lazily(self, quiet):
        """A terminal that pays with keys under the old storage key has them moved soon, as far as the token can."""
        few = quiet[:4]
        name = "posward_posp_resealed_total" if TOKEN == "nss" else "posward_posp_reseal_must_sign_in_total"
        before = self.system.metric(name)
        self.assertEqual(all_of(few, Terminal.purchase), [])
        wait_until(lambda: self.system.metric(name) >= before + 3 * len(few), 60)
        moved = self.system.metric(name)
        self.assertEqual(all_of(few, Terminal.purchase), [])  # with the moved blobs
        time.sleep(0.5)
        self.assertEqual(self.system.metric(name), moved)  # nothing is moved, or tried in vain, twice

    def reseal(self, *words):
        began = time.monotonic()
        done = {k: int(v) if str(v).isdigit() else v for k, v in self.system.cli(ONE, "posp", "reseal", *words).items()}
        took = time.monotonic() - began
        print(f"posward posp reseal {' '.join(words)}: {took:.1f} s, {done['scanned'] / took:.0f} blobs/s: {json.dumps(done)}")
        self.assertEqual(done["scanned"],
                         sum(done[k] for k in ("resealed", "already", "mustSignIn", "replaced", "failed")))
        self.assertEqual((done["failed"], done["storageVersion"], done["done"]), (0, 2, True))
        return done

    def wait_used(self, name, version, count):
        wait_until(lambda: self.system.used(name, version) == count, 60, lambda: f"{self.system.used(name, version)} uses")

    def test_rotation_by_two_operators_under_load(self):
        busy, quiet = self.start()
        self.rotate(busy)
        self.lazily(quiet)
        (self.everything_moves if TOKEN == "nss" else self.working_keys_stay)(busy, quiet)
        self.old_master_in_use()

    def everything_moves(self, busy, quiet):
        first = self.reseal("--rate", "100000")
        self.assertGreaterEqual(first["resealed"], 3 * (len(quiet) - 4))
        self.assertEqual((first["mustSignIn"], first["left"]), (0, 0))
        again = self.reseal("--rate", "100000")
        self.assertEqual((again["resealed"], again["already"], again["left"]), (0, again["total"], 0))
        self.wait_used(STORAGE, 1, 0)
        self.system.agree("deactivate", *STORAGE, "--version", "1")
        self.system.agree("destroy", *STORAGE, "--version", "1")  # nothing would break: no override
        self.assertEqual(all_of(quiet, Terminal.purchase), [])  # without a new sign-in
        self.assertEqual(all_of(busy, Terminal.purchase), [])

    def working_keys_stay(self, busy, quiet):
        for work in (Terminal.sign_in, Terminal.purchase):  # keys that a sign-in replaced go with the first use of the new ones
            self.assertEqual(all_of(busy, work), [])
        done = self.reseal("--rate", "100000")
        self.assertEqual(done["resealed"], 1)  # the TMK of the card that was issued before: it is derived anew
        self.assertEqual(done["mustSignIn"], 3 * len(quiet))
        self.assertEqual(done["left"], done["mustSignIn"])
        self.wait_used(STORAGE, 1, done["left"])
        self.system.agree("deactivate", *STORAGE, "--version", "1")
        words = ("key", "destroy", *STORAGE, "--version", "1", "--reason", "x")
        left = rf"storage/aes-256/1: {self.grouped(done['left'])} blobs"
        self.system.cli(ONE, *words, fails=f"FAILED_PRECONDITION.*{left}.*break_use")
        made = self.system.cli(ONE, *words, "--break-use")
        self.assertRegex(" ".join(made["wouldBreak"]), left)
        self.system.approve(made)
        broken = all_of(busy + quiet, Terminal.purchase)
        self.assertEqual({code for _, code in broken}, {"99"})  # as was listed: sign in again
        self.assertEqual({terminal_id for terminal_id, _ in broken}, {t.id for t in quiet})
        self.assertEqual(all_of(quiet, Terminal.sign_in), [])
        self.assertEqual(all_of(busy + quiet, Terminal.purchase), [])
        self.wait_used(STORAGE, 1, 0)

    @staticmethod
    def grouped(count):
        return ",?".join(f"{count:,}".split(","))

    def old_master_in_use(self):
        self.wait_used(MASTER, OLD_MASTER, COUNT + 1)  # the card that was issued before is one
        self.wait_used(MASTER, NEW_MASTER, 1)
        for what in ("deactivate", "destroy"):
            words = (what, *MASTER, "--version", str(OLD_MASTER))
            refused = self.system.propose(
                *words, fails=rf"FAILED_PRECONDITION.*psam-master/tdes/2: {self.grouped(COUNT + 1)} cards.*break_use")
            print(refused.strip())
            if what == "deactivate":
                self.system.agree(*words, "--break-use")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("softhsm", "nss"):
        TOKEN = sys.argv.pop(1)
    unittest.main()
