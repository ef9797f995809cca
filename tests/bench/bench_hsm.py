#!/usr/bin/python3
"""Calls a second of the HSM service on each token, by bench_hsm. usage: bench_hsm.py [CALLS [IN-FLIGHT]]
Wants POSWARD_SOURCE and POSWARD_BUILD; measure with a release build."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["POSWARD_SOURCE"], "tests/integration"))
import reference as ref  # noqa: E402
from hsm_estate import Estate  # noqa: E402
from estate import BUILD  # noqa: E402

for token in ("softhsm", "nss"):
    estate = Estate(token)
    try:
        estate.start().wait_keepers(2)
        block = ref.des_ecb(estate.keys["zone-pin-tdes"], ref.pin_block_0("1234", "6225880000000009"))
        print(f"{token}: 2 keepers of 2 sessions", flush=True)
        subprocess.run([f"{BUILD}/tests/bin/bench_hsm", f"127.0.0.1:{estate.port}", block.hex(), *sys.argv[1:]],
                       check=True)
        estate.stop()
    finally:
        estate.drop()
