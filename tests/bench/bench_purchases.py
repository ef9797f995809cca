#!/usr/bin/env python3
"""Purchases a second, end to end: terminals and their cards, POSP, the HSM service, the bank, all on this machine.

usage: bench_purchases.py [TERMINALS [PURCHASES-EACH [ROUNDS]]]     default 8 100 5; at most 32, 10000, 20
Quotes the median of the rounds, and as reference the purchases a second of one terminal alone in the same run."""
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import Estate  # noqa: E402

PAN, PIN = "6225758326736419", "123456"


def buy(estate, terminals, count):
    """Every terminal buys `count` times at once: purchases a second."""
    start = time.monotonic()
    runs = [subprocess.Popen(estate.terminal(terminal, card, "tdes", "run", "--count", str(count), "--seconds", "120",
                                             "--amount", "1", "--pan", PAN, "--expiry", "3012", "--pin", PIN),
                             stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) for terminal, card in terminals]
    lines = sum((run.communicate(timeout=180)[0].splitlines() for run in runs), [])
    took = time.monotonic() - start
    approved = sum(1 for line in lines if line.split()[1] == "00")
    if approved != count * len(terminals):
        raise RuntimeError(f"{approved} of {count * len(terminals)} purchases were approved")
    return approved / took


def main():
    sizes = [int(word) for word in sys.argv[1:]] + [8, 100, 5][len(sys.argv) - 1:]
    terminals, count, rounds = min(sizes[0], 32), min(sizes[1], 10000), min(sizes[2], 20)
    for token in ("softhsm", "nss"):
        with Estate(token) as estate:
            equipped = estate.equip(terminals)
            alone, together = [], []
            for _ in range(rounds):
                alone.append(buy(estate, equipped[:1], count))
                together.append(buy(estate, equipped, count))
        one, many = statistics.median(alone), statistics.median(together)
        print(f"{token}: {many:.0f} purchases/s with {terminals} terminals, {one:.0f} with one (medians of {rounds} rounds), "
              f"ratio {many / one:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
