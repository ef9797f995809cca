#!/usr/bin/python3
"""Promise 1 for keys that travel, under dual control: each form in which a key is brought in or handed out, with a tap on
the PKCS#11 boundary. What an answer grades IN_TOKEN shows no key in any byte; what it grades PROCESS_MEMORY shows that key
and no other, in just the calls that must show it. Meanwhile the memory of every process but the keepers, the operators'
command among them, and at the end logs and stores hold none of these keys. usage: test_tap_transport.py softhsm|nss"""
import collections
import glob
import os
import signal
import subprocess
import sys
import time

import known_transport
import leaks
import reference as ref
from known_transport import CALLS, ONE, TransportEstate, is_halved

SERVICES = ("hsm", "posp", "posv", "bank")
TRAVEL = ("import-", "export-", "key-block-", "component")


class Watched(TransportEstate):
    """Scans the services' memory after each step."""

    def __init__(self, token):
        super().__init__(token, tapped=True)
        self.scans = 0

    def search(self, who, pid):
        known = self.secrets.without(())
        known.put(f"{self.dir}/".encode(), "marker", "the estate's folder", "text")
        index = leaks.Index(known)
        hits, size = leaks.find_in_memory(index, pid, who)
        index.close()
        secret = [hit for hit in hits if hit.kind != "marker"]
        assert len(secret) < len(hits), f"{who}: not even the estate's folder was found in {size} bytes"
        assert not secret, f"secrets in memory:\n{leaks.tell(secret)}"
        self.scans += 1

    def after_step(self):
        self.search("hsm", self.pid("hsm"))


# ---- the tape ----

def check_step(step, hits, reported):
    """Its own keys where its grade says so, and nothing else."""
    grade = "GRADE_PROCESS_MEMORY" if is_halved(step.key) else reported
    assert step.grade == grade, f"{step.name}: answered with {step.grade}, not {grade}"
    shown = step.secrets if grade == "GRADE_PROCESS_MEMORY" else set()
    calls = collections.defaultdict(set)
    for hit in hits:
        calls[hit.kind, hit.name].add(hit.where)
    assert calls.pop(("token-pin", "the token's PIN"), {"C_Login i"}) == {"C_Login i"}, f"{step.name}: the token's PIN"
    wrong = [hit for hit in hits if hit.kind != "token-pin"
             and ((hit.kind, hit.name) not in shown or hit.where not in set.union(*CALLS[hit.kind]))]
    assert not wrong, f"{step.name} ({grade}) shows what it may not:\n{leaks.tell(wrong)}"
    for secret in shown:
        missed = CALLS[secret[0]][0] - calls[secret]
        assert not missed, f"{step.name} ({grade}): {secret} was not seen in {missed}: the tap is blind"
    return sum(hit.kind != "token-pin" for hit in hits)


def check_tape(estate, token):
    reported, index, total = estate.grades(), leaks.Index(estate.secrets), 0
    for step in estate.steps:
        hits, size, _ = estate.tapes.find(index, step.since, step.until)
        assert size > 0, f"{step.name}: nothing was recorded"
        count = check_step(step, hits, reported[step.flow])
        print(f"{token}: {step.name}: {step.grade}, {size} bytes, {count} hits", flush=True)
        total += count
    everywhere = [hit for hit in estate.tapes.find(index, {})[0] if hit.kind != "token-pin"]
    assert len(everywhere) == total, f"keys cross between the steps:\n{leaks.tell(everywhere)}"
    travel = {flow for flow in reported if flow.startswith(TRAVEL)}
    assert {step.flow for step in estate.steps} == travel, f"flows that were not run: {travel}"
    if token == "nss":  # it can do whatever needs no value here
        assert {flow for flow in travel if reported[flow] != "GRADE_IN_TOKEN"} == {"key-block-b", "key-block-d", "component"}
    seen = {step.grade for step in estate.steps}
    assert seen == {"GRADE_IN_TOKEN", "GRADE_PROCESS_MEMORY"}, seen
    index.close()


def planted(estate):
    """The test can fail: a step that would be graded IN_TOKEN although it shows its key is found out."""
    index = leaks.Index(estate.secrets)
    step = next(s for s in estate.steps if s.grade == "GRADE_PROCESS_MEMORY" and not is_halved(s.key))
    hits = estate.tapes.find(index, step.since, step.until)[0]
    index.close()
    for changed, reported in ((step._replace(grade="GRADE_IN_TOKEN"), "GRADE_IN_TOKEN"),
                              (step._replace(secrets=set()), step.grade)):
        try:
            check_step(changed, hits, reported)
        except AssertionError as failure:
            assert "shows what it may not" in str(failure), failure
        else:
            raise AssertionError("a key that was shown counts as hidden")


# ---- memory, logs, stores ----

def scan_command(estate, words, marker):
    """The operators' command has all that it ever gets to hold while it waits for the service's answer."""
    front = estate.pid("hsm")
    known = estate.secrets.without(())
    known.put(marker, "marker", "what it was told to send", "text")
    index = leaks.Index(known)
    os.kill(front, signal.SIGSTOP)
    try:
        with subprocess.Popen(estate.words(ONE, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
            until, hits = time.monotonic() + 20, []
            while not any(hit.kind == "marker" for hit in hits):
                assert time.monotonic() < until, f"{words[:2]}: what it sends was not found in its memory"
                assert command.poll() is None, f"{words[:2]} has ended"
                time.sleep(0.2)
                hits, _ = leaks.find_in_memory(index, command.pid, "posward")
            command.kill()
    finally:
        os.kill(front, signal.SIGCONT)
        index.close()
    secret = [hit for hit in hits if hit.kind != "marker"]
    assert not secret, f"secrets in the memory of posward:\n{leaks.tell(secret)}"


def scan_commands(estate):
    """A proposal with a wrapped key, one with a key block, and a component that is handed in."""
    value = estate.new_value("tdes")
    estate.know("proposed", "a key that is proposed", "tdes", value)
    where = ("--role", "zone-pin", "--suite", "tdes", "--zone", known_transport.ZONE, "--reason", "a test")
    sealed = ref.rsa_oaep(estate.pems["transport"], value)
    block = estate.wrap("tr31-b", "tdes", ("zone-pin", "tdes"), value)
    part = ref.rsa_oaep(estate.pems["component"], value)
    for marker, words in (
            (sealed, ("import", *where, "--format", "rsa-oaep", "--wrapped", estate.file(sealed.hex()))),
            (block.encode(), ("import", *where, "--format", "tr31-b", "--under-suite", "tdes", "--key-block",
                              estate.file(block))),
            (part, ("submit-component", "--id", "abcdefghijkl", "--component", "@" + estate.file(part)))):
        scan_command(estate, ("key", *words), marker)


def scan_files(estate):
    paths = [path for pattern in ("log/*", "audit/*", "*.db", "*.db-wal", "travels.*") for path in
             glob.glob(f"{estate.dir}/{pattern}")]
    assert any("keymgmt.db" in path for path in paths) and any("/audit/" in path for path in paths), paths
    index = leaks.Index(estate.secrets)
    hits = [hit for path in paths for hit in leaks.find_in_file(index, path)]
    index.close()
    print(f"{len(paths)} logs and stores, {sum(map(os.path.getsize, paths))} bytes: {len(hits)} hits", flush=True)
    assert not hits, f"in logs or stores:\n{leaks.tell(hits)}"


def main():
    token = sys.argv[1]
    with Watched(token) as estate:
        estate.all_phases()
        for name in SERVICES:
            estate.search(name, estate.pid(name))
        print(f"{token}: {estate.scans} scans of memory without a hit", flush=True)
        scan_commands(estate)
        check_tape(estate, token)
        planted(estate)
        scan_files(estate)
        estate.tool("stop")
        scan_files(estate)


if __name__ == "__main__":
    main()
