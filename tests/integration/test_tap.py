#!/usr/bin/python3
"""Promise 1 at the PKCS#11 boundary: a run of the whole system through a module that records every byte. Where the
token report grades a flow IN_TOKEN, no key and no PIN crosses; where it grades PROCESS_MEMORY, just what the flow must
show, in just the calls that must show it. usage: test_tap.py softhsm|nss"""
import os
import sys
import time

import known_run
import leaks
import reference as ref
from hsm_estate import PIN as TOKEN_PIN
from hsm_estate import hsm, types
from known_system import KnownSystem

PIN_CALLS = {"C_Decrypt o", "C_Encrypt i"}
CLEAR_TMK_CALLS = {"C_GetAttributeValue o", "C_Encrypt i"}
# phase, flows that decide whether something may be seen, kind, calls
PHASES = [("start", None, [], None, None),
          ("cards and keys", known_run.cards_and_keys, [], None, None),
          ("MACs and data", known_run.macs_and_data, [], None, None),
          ("re-sealing", known_run.resealing, [], None, None),
          ("PINs", known_run.pins, ["pin-tdes", "pin-aes"], "pin", PIN_CALLS),
          ("profile pboc", known_run.pboc, ["card-pboc"], "tmk-pboc", CLEAR_TMK_CALLS),
          ("PIN formats", known_run.pin_formats, ["pin-format"], "pin", PIN_CALLS)]
# What keys travel by, which needs operators with certificates, has a run of its own: test_tap_transport.py.
TRAVEL = ("import-", "export-", "key-block-", "component")


def grades(system):
    report = system.control.GetTokenReport(hsm.GetTokenReportRequest(chosen_only=True))
    return {way.flow: way.grade for way in report.ways}


def check_phase(name, hits, shown, kind, calls):
    """shown: whether the grade says that secrets of this kind are seen."""
    wrong = [hit for hit in hits if not (shown and hit.kind == kind and hit.where in calls)]
    assert not wrong, f"phase '{name}' shows what it may not:\n{leaks.tell(wrong)}"
    if shown:
        missed = calls - {hit.where for hit in hits}
        assert not missed, f"phase '{name}' is graded PROCESS_MEMORY, but nothing was seen in {missed}: the tap is blind"


def in_token_elsewhere(found, allowed):
    """Whatever the phases did not name is graded IN_TOKEN."""
    rest = {flow for flow, grade in found.items() if grade != types.GRADE_IN_TOKEN and not flow.startswith(TRAVEL)} - allowed
    assert not rest, f"graded PROCESS_MEMORY without a phase here: {rest}"


def planted(system, tapes):
    """The test can fail: secrets sent as data are seen, in each form."""
    keys = known_run.Keys(system, "aes-128")
    master, control = system.keys["psam-master-aes-256"], system.keys["card-control-tdes"]
    kek = ref.kek_of(ref.tmk_of(system, "aes-256", known_run.RPC_PSAM), "mak")
    flipped = bytes(b ^ 1 for b in control)
    pin = next(iter(system.pins.values()))
    index = leaks.Index(system.secrets)
    for value, kind in ((kek[16:], "kek"), (master[:16], "master"), (master[16:].hex().encode(), "master"), (flipped, "master"),
                        (b"x" + control[8:] + b"x" * 7, "master"), (pin.encode() + b"    ", "pin"),
                        (bytes.fromhex("0C" + pin + "FF") * 2, "pin"), (os.urandom(16), None)):
        before = tapes.mark()
        system.data.EncryptData(hsm.EncryptDataRequest(key=keys.tdk_ref, data=value))
        hits, _, _ = tapes.find(index, before)
        expected = {(kind, "C_Encrypt i")} if kind else set()
        assert {(hit.kind, hit.where) for hit in hits} == expected, (kind, leaks.tell(hits))
    index.close()


def run(system, token):
    tapes = system.tap()
    marks = [{}]
    system.begin()
    found = grades(system)
    for name, work, *_ in PHASES:
        started = time.monotonic()
        if work:
            work(system)
        marks.append(tapes.mark())
        print(f"{token}: phase '{name}' done in {time.monotonic() - started:.1f} s", flush=True)
    # Sought at the end, when all secrets are known: an early phase must not show a later phase's secret either.
    index, login = leaks.Index(system.secrets), leaks.Secrets()
    login.opaque("token-pin", "the token's PIN", TOKEN_PIN.encode())
    login_index = leaks.Index(login)
    assert len(tapes.paths()) >= 2, "keepers did not use the tap"
    print(f"{token}: {len(system.secrets)} secrets in {len(index.values)} forms")
    for (name, _, flows, kind, calls), since, until in zip(PHASES, marks, marks[1:]):
        hits, size, seen = tapes.find(index, since, until)
        shown = types.GRADE_PROCESS_MEMORY in {found[flow] for flow in flows}
        assert len({found[flow] for flow in flows}) <= 1, "flows of one phase have one grade on these tokens"
        print(f"{token}: phase '{name}': {size} bytes in {sum(seen.values())} records of {len(seen)} kinds: "
              f"{len(hits)} hits{', as graded:' if shown else ''}", *filter(None, [leaks.tell(hits)]), sep="\n", flush=True)
        assert size > 0, "nothing was recorded"
        check_phase(name, hits, shown, kind, calls)
        others = {hit.where for hit in tapes.find(login_index, since, until)[0]} - {"C_Login i"}
        assert not others, f"the token's PIN is in {others}"
    in_token_elsewhere(found, {flow for _, _, flows, *_ in PHASES for flow in flows})
    assert found["pin-format"] == types.GRADE_PROCESS_MEMORY  # so at least one phase on each token proves that the tap sees
    if token == "nss":
        assert found["pin-tdes"] == found["pin-aes"] == found["card-pboc"] == types.GRADE_IN_TOKEN
    index.close()
    planted(system, tapes)
    print(f"{token}: planted secrets were found in each form")


def main():
    token = sys.argv[1]
    system = KnownSystem(token)
    try:
        run(system, token)
        statuses = {name: system.end(name) for name in ("posp", "bank", "posv", "hsm")}
        assert not any(statuses.values()), statuses
    finally:
        system.drop()


if __name__ == "__main__":
    main()
