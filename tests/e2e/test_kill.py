#!/usr/bin/env python3
"""kill -9 of each process in turn while purchases run: nothing answered is lost, nothing is doubled.

Two terminals buy without pause and send the same message again until it is answered. Meanwhile a keeper, then the HSM
service, POSP, POSV, the bank and a card are killed; keepers come back by themselves, daemons are started again here.
Afterwards the answers that the terminals saw, POSP's journal and the bank's ledger must tell the same story."""
import os
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import Estate  # noqa: E402

PAN, PIN, AMOUNT, BALANCE = "6225758326736419", "123456", 700, 1000000000
VICTIMS = ["keeper", "hsm", "posp", "posv", "bank", "card-c0"] * 2
ANSWERED, REVERSED = 2, 4  # posp/journal.h
BOOKED = 1  # card-emu/bank: booked and not undone


def buy(estate, terminal, card, seconds):
    out = os.path.join(estate.dir, f"answers-{terminal}")
    words = estate.terminal(terminal, card, "tdes", "run", "--count", "100000", "--seconds", str(seconds), "--timeout-ms",
                            "3000", "--amount", str(AMOUNT), "--pan", PAN, "--expiry", "3012", "--pin", PIN)
    with open(out, "wb") as file:
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL), out


def kill(estate, victim):
    if victim == "keeper":
        before = set(estate.keepers())
        estate.kill_keeper()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if len(set(estate.keepers()) - before) > 0:
                return
        raise AssertionError("no keeper was started in the place of the dead one")
    if victim.startswith("card-"):
        card, address = victim[5:], estate.card_address(victim[5:])
        os.kill(estate.pid(victim), signal.SIGKILL)
        estate.tool("kill", victim)
        estate.tool("card", card, "0", "--no-make", "--listen", address)
        return
    os.kill(estate.pid(victim), signal.SIGKILL)
    estate.tool("kill", victim)
    estate.tool("start", victim)


def rows(estate, name, query):
    with sqlite3.connect(os.path.join(estate.dir, name + ".db")) as db:
        return db.execute(query).fetchall()


def wait_for_reversals(estate):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = estate.posward("call", "posward.posp.v1.Operations/GetStatus", check=False)
        if int(status.get("reversalsPending", 0)) == 0 and status:
            return
        time.sleep(0.2)
    raise AssertionError(f"reversals are pending still: {status}")


def answers(path, terminal):
    """{(terminal, trace): response code} of the answers that this terminal saw."""
    seen = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            word = line.split()
            if len(word) >= 2 and len(word[0]) == 6 and word[0].isdigit():
                key = (terminal, word[0])
                assert key not in seen, f"{key} was answered twice"
                seen[key] = word[1]
            else:
                print(f"terminal {terminal}: {line.rstrip()}")
    return seen


def check(estate, seen):
    journal = {(t, n): (code, state) for t, n, code, state in
               rows(estate, "posp", "SELECT terminal_id, trace, response_code, state FROM journal")}
    ledger = rows(estate, "bank", "SELECT terminal_id, trace, amount, response_code, state FROM entries")
    booked = {(t, n) for t, n, _, code, state in ledger if code == "00" and state == BOOKED}
    assert len({(t, n) for t, n, *_ in ledger}) == len(ledger), "a transaction stands twice in the ledger"
    for key, code in seen.items():
        if code == "00":
            assert key in booked, f"{key} was approved to the terminal and is not on the account"
            assert journal[key] == ("00", ANSWERED), f"{key} was approved; the journal says {journal[key]}"
        else:
            assert key not in booked, f"{key} was declined with {code} and is on the account"
    for key in booked:
        assert journal.get(key) == ("00", ANSWERED), f"{key} is on the account; the journal says {journal.get(key)}"
    assert all(state in (ANSWERED, REVERSED) for _, state in journal.values()), "a transaction is open for ever"
    (balance,), = rows(estate, "bank", f"SELECT balance FROM accounts WHERE pan = '{PAN}'")
    assert balance == BALANCE - AMOUNT * len(booked), f"balance {balance} does not fit {len(booked)} purchases"
    return len(booked)


def main():
    with Estate("softhsm") as estate:
        equipped = estate.equip(2)
        seconds = 40
        buyers = [(t, *buy(estate, t, c, seconds)) for t, c in equipped]
        time.sleep(1)
        for victim in VICTIMS:
            kill(estate, victim)
            time.sleep(1.0)
        for _, process, _ in buyers:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=seconds + 30)
        wait_for_reversals(estate)
        seen = {}
        for terminal, _, path in buyers:
            seen.update(answers(path, terminal))
        codes = {code: list(seen.values()).count(code) for code in sorted(set(seen.values()))}
        booked = check(estate, seen)
        assert codes.get("00", 0) >= 100, f"too few purchases went through: {codes}"
        status = estate.posward("status")
        print(f"{len(seen)} purchases answered {codes}, {booked} on the account, {len(VICTIMS)} kills; status {status}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
