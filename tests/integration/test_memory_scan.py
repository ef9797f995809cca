#!/usr/bin/python3
"""Promise 1 outside the token: after and during a run of the whole system the memory of every process but the keepers,
the PIN pad and the card is searched for every secret of the run; logs and stores too, and logs also for what may travel
but not be written down. usage: test_memory_scan.py softhsm|nss"""
import glob
import os
import re
import sqlite3
import struct
import subprocess
import sys
import threading
import time

import known_run
import leaks
from hsm_estate import PIN as TOKEN_PIN
from known_system import KnownSystem
from posp_estate import HEADER, PAN, TPDU, Line, pack

BANK_KNOWS = {"zone-pin", "pin"}  # it verifies PINs under its zone's key
WRITE_KEY = 0xD4
ROUNDS = 4  # of scans while the system is busy


class Search:
    """Scans with the secrets known so far, and a marker that must be found: what a scan finds nothing in, it has read."""

    def __init__(self, system):
        self.system, self.failures = system, []
        self.marker = f"{system.dir}/".encode()
        self.secrets = system.secrets.without(())
        self.secrets.opaque("token-pin", "the token's PIN", TOKEN_PIN.encode())
        self.secrets.put(self.marker, "marker", "the estate's folder", "text")
        self.whole, self.bank = leaks.Index(self.secrets), leaks.Index(self.secrets.without(BANK_KNOWS))

    def memory(self, who, pid):
        started = time.monotonic()
        hits, size = leaks.find_in_memory(self.bank if who == "bank" else self.whole, pid, who)
        secret = [hit for hit in hits if hit.kind != "marker"]
        assert len(secret) < len(hits), f"{who}: not even the estate's folder was found in {size} bytes"
        print(f"memory of {who}: {size >> 20} MiB in {time.monotonic() - started:.1f} s, {len(secret)} hits", flush=True)
        return secret

    def close(self):
        self.whole.close()
        self.bank.close()


def keepers_of(front):
    found = []
    for path in glob.glob(f"/proc/{front}/task/*/children"):
        with open(path, encoding="ascii") as f:
            found += [int(word) for word in f.read().split()]
    return found


class Bustle:
    """Terminals that buy with PIN and a client that translates PINs, without pause, under keys that are known by now."""

    def __init__(self, system):
        self.system, self.over, self.done, self.failures = system, False, 0, []
        terminals = [system.terminal_of(next(system.numbers), suite) for suite in ("tdes", "aes-256")]
        assert all(terminal.sign_in()[39] == "00" for terminal in terminals)
        keys = known_run.Keys(system, "tdes")
        works = [terminal.purchase for terminal in terminals]
        works.append(lambda: known_run.translate(system, known_run.translation(system, keys, 0)))
        self.threads = [threading.Thread(target=self.run, args=(work,)) for work in works]

    def run(self, work):
        try:
            while not self.over:
                work()
                self.done += 1
                time.sleep(0.005)  # a sanitizer keeps freed memory for a while: no more of it than can be read in time
        except BaseException as failure:  # pylint: disable=broad-except
            self.failures.append(failure)

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()
        assert not self.failures and self.done > 0, self.failures


def scan_services(system):
    found, bustle = [], Bustle(system)
    search = Search(system)

    def all_services():
        return [hit for name in ("hsm", "posp", "posv", "bank") for hit in search.memory(name, system.processes[name].pid)]
    with bustle:
        for _ in range(ROUNDS):
            found += all_services()
    print(f"meanwhile {bustle.done} purchases and translations")
    found += all_services()
    search.close()
    assert not found, f"secrets in memory:\n{leaks.tell(found)}"


def scan_issuer(system):
    """While the issuer waits for the card's answer to WRITE KEY it holds all that it ever gets to hold."""
    for number, profile in ((41, "aes"), (42, "pboc")):
        reached, go_on = threading.Event(), threading.Event()
        last = {}

        def seen(to_card, frame):
            if to_card:
                last["command"] = frame
            elif len(last.get("command", b"")) > 1 and last["command"][1] == WRITE_KEY and not reached.is_set():
                reached.set()
                go_on.wait(60)

        failures = []

        def issue():
            try:
                system.issue(number, "tdes", profile, seen)
            except BaseException as failure:  # pylint: disable=broad-except
                failures.append(failure)
        worker = threading.Thread(target=issue)
        worker.start()
        try:
            assert reached.wait(30), f"the issuer wrote no key: {failures}"
            (pid,) = [int(p) for p in subprocess.run(["pgrep", "-P", str(os.getpid()), "-x", "posward"], check=True,
                                                     capture_output=True, text=True).stdout.split()]
            search = Search(system)
            found = search.memory(f"issuer ({profile})", pid)
            search.close()
        finally:
            go_on.set()
            worker.join()
        assert not failures, failures
        assert not found, f"secrets in memory:\n{leaks.tell(found)}"


def forbidden_in_logs(system):
    """All secrets, and PIN blocks and blobs, enciphered as they are, and card numbers, which tracks begin with."""
    forbidden = system.secrets.without(())
    forbidden.forms.update(system.never_logged.forms)
    forbidden.opaque("token-pin", "the token's PIN", TOKEN_PIN.encode())
    for blob, in rows(system, "posp", "SELECT pik FROM key_sets UNION SELECT mak FROM key_sets UNION SELECT tmk FROM cards"):
        forbidden.opaque("blob", "a stored blob", bytes(blob)[-24:])
    return leaks.Index(forbidden)


def scan_logs(system):
    index, paths = forbidden_in_logs(system), system.logs_of_all()
    hits = [hit for path in paths for hit in leaks.find_in_file(index, path)]
    index.close()
    print(f"{len(paths)} logs, {sum(map(os.path.getsize, paths))} bytes: {len(hits)} hits", flush=True)
    assert not hits, f"in logs:\n{leaks.tell(hits)}"
    assert re.search(rb"terminal", read(system.logs["posp"])), "POSP's log says nothing, so it proves nothing"


def scan_stores(system):
    """The services' stores, the token's folder, lock files. Blobs live in POSP's store; the bank knows its cards."""
    shared, bank = system.secrets.without(()), system.secrets.without(())
    shared.forms.update(system.never_logged.without({"blob"}).forms)
    bank.forms.update(system.never_logged.without({"blob", "pan"}).forms)
    of_bank = [path for path in system.stores() if "bank.db" in path]
    of_token = [path for path in glob.glob(f"{system.dir}/token/**", recursive=True) if os.path.isfile(path)]
    found, size = [], 0
    for secrets, paths in ((shared, set(system.stores()) - set(of_bank)), (bank, of_bank), (system.secrets, of_token)):
        index = leaks.Index(secrets)
        assert paths
        for path in paths:
            size += os.path.getsize(path)
            found += leaks.find_in_file(index, path)
        index.close()
    print(f"stores, {size} bytes: {len(found)} hits", flush=True)
    assert not found, f"in stores:\n{leaks.tell(found)}"


def read(path):
    with open(path, "rb") as f:
        return f.read()


def rows(system, name, query):
    with sqlite3.connect(f"file:{system.dir}/{name}.db?mode=ro", uri=True) as db:
        return db.execute(query).fetchall()


# ---- the test can fail ----

def planted_in_posp(system):
    """A message that is not complete yet lies in POSP's memory: POSP is the one process that is found to hold it."""
    terminal = system.terminal_of(51, "tdes")
    planted = leaks.Secrets()
    raw, text = os.urandom(16), os.urandom(8)
    planted.des("planted", "key", raw)
    planted.opaque("planted", "text", text)
    flipped = bytes(b ^ 1 for b in raw)
    message = pack("0800", terminal.sign_in_fields(f62=flipped + text.hex().upper().encode()))
    index = leaks.Index(planted)
    with Line(system.terminals_port) as line:
        frame = struct.pack(">H", len(TPDU + HEADER + message)) + TPDU + HEADER + message
        line.send(frame[:-1])
        time.sleep(0.5)
        for name in ("posp", "posv", "bank", "hsm"):
            hits, _ = leaks.find_in_memory(index, system.processes[name].pid, name)
            names = {(hit.name, hit.form.split()[0]) for hit in hits}
            expected = {("key", "bytes"), ("text", "HEX")} if name == "posp" else set()
            assert names == expected, f"{name}: planted secrets found as {names}, not {expected}"
    index.close()


def planted_in_files(system):
    index = forbidden_in_logs(system)
    blob = rows(system, "posp", "SELECT pik FROM key_sets LIMIT 1")[0][0]
    for value, kind in ((system.keys["psam-master-tdes"][8:], "master"), (PAN.encode(), "pan"), (bytes.fromhex(PAN), "pan"),
                        (system.keys["storage-aes-256"].hex().encode()[:32], "master"), (blob.hex().encode(), "blob")):
        path = system.new_log("planted")
        with open(path, "wb") as f:
            f.write(b"level=debug key=" + value + b"\n")
        assert {hit.kind for hit in leaks.find_in_file(index, path)} == {kind}, kind
        system.extra_logs.remove(path)
    index.close()


def keepers_hold_keys(system, token):
    """Why keepers are apart: with a software token the keys in use are in their memory. What ways graded PROCESS_MEMORY
    passed through it is wiped all the same."""
    index = leaks.Index(system.secrets)
    try:
        hits = [hit for pid in keepers_of(system.processes["hsm"].pid)
                for hit in leaks.find_in_memory(index, pid, "keeper")[0]]
    except PermissionError:
        print("keepers cannot be read by this user, as it should be")
        return
    finally:
        index.close()
    print(f"keepers: {len({hit.name for hit in hits})} of the secrets, as expected of {token}", flush=True)
    # SoftHSM wipes what it frees; NSS leaves parts of its own session objects, which are the token's affair.
    passed_through = [hit for hit in hits if hit.kind in ("pin", "tmk-pboc") and token == "softhsm"]
    assert not passed_through, f"not wiped by keepers:\n{leaks.tell(passed_through)}"
    assert "working" in {hit.kind for hit in hits}, "no working key in a keeper of a software token: the scan is blind"


def main():
    token = sys.argv[1]
    system = KnownSystem(token)
    try:
        system.begin()
        for phase in (known_run.cards_and_keys, known_run.macs_and_data, known_run.resealing, known_run.pins,
                      known_run.pboc, known_run.pin_formats):
            phase(system)
        scan_issuer(system)
        scan_services(system)
        scan_logs(system)
        scan_stores(system)
        planted_in_posp(system)
        planted_in_files(system)
        keepers_hold_keys(system, token)
        statuses = {name: system.end(name) for name in ("posp", "bank", "posv", "hsm")}
        assert not any(statuses.values()), statuses
        scan_logs(system)
        scan_stores(system)
    finally:
        system.drop()


if __name__ == "__main__":
    main()
