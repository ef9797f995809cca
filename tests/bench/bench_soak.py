#!/usr/bin/python3
"""Objects made and destroyed on SoftHSM through the HSM service, and the memory of the service and its keepers meanwhile.

usage: bench_soak.py [SECONDS [OBJECTS [RETIRE-AFTER [CSV]]]]       default 600 10000000 200000 and no file
Clients sign terminals in (three working keys each) and use each new MAC key once, in batches, until OBJECTS were made and
destroyed or SECONDS are over. The exit status is 1 when a call failed, or when memory is not bounded: a keeper grew past
keepers.retire_mib, objects were left behind in the token, or the front, which never retires, grew with the work.
Wants POSWARD_SOURCE and POSWARD_BUILD; measure with a release build."""
import csv
import os
import random
import re
import statistics
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.environ["POSWARD_SOURCE"], "tests/integration"))
from hsm_estate import Estate, Load, hsm, types  # noqa: E402
from estate import SANITIZED  # noqa: E402
from faults import Faults  # noqa: E402

BATCH, CLIENTS = 32, 4
KEEPERS, RETIRE_MIB = 2, 512
SAMPLE_S = 1
OVERSHOOT_MIB = 64     # the front weighs keepers each second
FRONT_GROWTH_MIB = 8   # from the second quarter of the run to the last
KEPT_OBJECTS = 2304    # of a keeper: its cache of blobs (1024, a key and its left half each) and copies of the token's keys
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024
COLUMNS = ("seconds", "created", "destroyed", "operations", "retired", "front_kib", "keepers_kib", "largest_keeper_kib",
           "keepers")
SPECS = [hsm.WorkingKeySpec(usage=usage) for usage in (types.KEY_USAGE_PIK, types.KEY_USAGE_MAK, types.KEY_USAGE_TDK)]


def resident_kib(pid):
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * PAGE_KIB
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Soak:
    def __init__(self, retire_after):
        self.estate = Estate("softhsm")
        self.faults = Faults(self.estate)
        if SANITIZED:  # freed memory that is held back for finding errors would look like growth
            options = self.estate.environment.get("ASAN_OPTIONS", "")
            self.estate.environment["ASAN_OPTIONS"] = f"{options}:quarantine_size_mb=4".lstrip(":")
        self.estate.write_config(audit={"path": f"{self.estate.dir}/audit"},
                                 keepers={"count": KEEPERS, "retire_after": retire_after, "retire_mib": RETIRE_MIB,
                                          "environment": self.faults.environment})
        self.random = random.Random(1)
        self.failed_items = []
        self.samples = []

    def batch(self, items):
        results = self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=items), timeout=60).results
        self.failed_items += [(r.status, r.message) for r in results if r.status != 0]
        return results

    def sign_in_and_use(self):
        cards = [f"{self.random.randrange(10 ** 16):016d}" for _ in range(BATCH)]
        made = self.batch([hsm.BatchItem(generate_working_keys=hsm.GenerateWorkingKeysRequest(
            psam_number=card, suite=types.SUITE_TDES, master_version=1, keys=SPECS)) for card in cards])
        self.batch([hsm.BatchItem(generate_mac=hsm.GenerateMacRequest(
            key=hsm.KeyRef(blob=r.generate_working_keys.keys[1].blob), algorithm=hsm.MAC_ALGORITHM_UNIONPAY_ECB, data=b"12345678"))
            for r in made if r.status == 0])

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=30) as page:
            text = page.read().decode()
        return {name: int(float(re.search(rf"^posward_hsm_{name} (\S+)$", text, re.M).group(1)))
                for name in ("operations_total", "keeper_retirements_total", "keeper_restarts_total")}

    def sample(self, begun):
        metrics = self.metrics()
        keepers = [kib for kib in map(resident_kib, self.estate.keeper_pids()) if kib > 0]
        destroyed = self.faults.count("destroyed")  # first: it must not seem to be ahead
        self.samples.append(dict(zip(COLUMNS, (
            round(time.monotonic() - begun, 2), self.faults.count("created"), destroyed, metrics["operations_total"],
            metrics["keeper_retirements_total"], resident_kib(self.estate.process.pid), sum(keepers), max(keepers, default=0),
            len(keepers)))))
        return self.samples[-1]

    def run(self, seconds, objects):
        self.estate.start().wait_keepers(KEEPERS)
        begun = time.monotonic()
        load = Load(self.sign_in_and_use, CLIENTS)
        try:
            now = self.sample(begun)
            while now["seconds"] < seconds and now["destroyed"] < objects and not load.failures and not self.failed_items:
                time.sleep(SAMPLE_S)
                now = self.sample(begun)
        finally:
            load.stop()
        self.sample(begun)  # of a service at rest: nothing is half made
        self.restarts = self.metrics()["keeper_restarts_total"]
        self.grown = self.estate.log().count("keeper has grown")
        self.failures = load.failures
        if self.estate.stop() != 0:
            self.failures.append("the service did not end in order")

    def complaints(self):
        """What is not as it should be."""
        last, quarter = self.samples[-1], max(len(self.samples) // 4, 1)
        growth = [statistics.median(s["front_kib"] for s in part) / 1024
                  for part in (self.samples[quarter:2 * quarter] or self.samples, self.samples[-quarter:])]
        largest = max(s["largest_keeper_kib"] for s in self.samples) / 1024
        most = max(s["keepers_kib"] for s in self.samples) / 1024
        left = last["created"] - last["destroyed"]
        processes = KEEPERS + last["retired"] + self.restarts
        print(f"front: {growth[0]:.1f} MiB in the second quarter of the run, {growth[1]:.1f} in the last\n"
              f"keepers: at most {largest:.0f} MiB one, {most:.0f} all; {last['retired']} retired, {self.grown} of them for "
              f"memory; {self.restarts} lost\n"
              f"objects that ended with their process: {left}, in {processes} processes\n"
              f"failed: {len(self.failures)} calls, {len(self.failed_items)} items", flush=True)
        checks = ((not self.failures, f"calls failed: {self.failures[:3]}"),
                  (not self.failed_items, f"items failed: {self.failed_items[:3]}"),
                  (self.restarts == 0, "keepers were lost"),
                  (last["retired"] > 0, "no keeper retired: the run was too short to say that memory is bounded"),
                  (largest < RETIRE_MIB + OVERSHOOT_MIB, "a keeper grew past keepers.retire_mib"),
                  (growth[1] - growth[0] < FRONT_GROWTH_MIB, "the front grew with the work"),
                  (left < KEPT_OBJECTS * processes, "objects were left behind in the token"))
        return [text for good, text in checks if not good]


def plot(samples, column, label, width=72, height=10):
    """The most of each stretch of time, in MiB."""
    values = [[] for _ in range(width)]
    for s in samples:
        values[min(int(s["seconds"] / samples[-1]["seconds"] * width), width - 1)].append(s[column] / 1024)
    tops = [max(part, default=0) for part in values]
    for i, top in enumerate(tops):  # a stretch without a sample is as the one before
        tops[i] = top or tops[i - 1]
    scale = max(tops)
    print(f"{label}, MiB")
    for row in range(height, 0, -1):
        line = "".join("#" if top > scale * (row - 0.5) / height else " " for top in tops)
        print(f"{scale * row / height:7.1f} |{line}".rstrip())
    print(f"{'':8}+{'-' * width}\n{'':9}0 s{samples[-1]['seconds']:>{width - 5}.0f} s")


def main():
    numbers = [int(word) for word in sys.argv[1:4]] + [600, 10_000_000, 200_000][len(sys.argv[1:4]):]
    seconds, objects, retire_after = numbers[0], numbers[1], numbers[2]
    soak = Soak(retire_after)
    try:
        soak.run(seconds, objects)
    finally:
        soak.estate.drop()
    if len(sys.argv) > 4:
        with open(sys.argv[4], "w", encoding="ascii", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(soak.samples)
    last = soak.samples[-1]
    print(f"{last['created']} objects made and {last['destroyed']} destroyed in {last['seconds']:.0f} s "
          f"({last['destroyed'] / last['seconds']:.0f} a second), by {last['operations']} operations")
    plot(soak.samples, "keepers_kib", "resident memory of all keepers")
    plot(soak.samples, "front_kib", "resident memory of the front")
    complaints = soak.complaints()
    for text in complaints:
        print(f"NOT as it should be: {text}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
