#!/usr/bin/env python3
"""The include law of the house: who may include whom, and which words may not stand where.

A row names a folder, and what its files may include beyond their own folder. The longest prefix wins.
Run with --self-test to see that the check finds each kind of breach."""
import os
import re
import sys

BASE = ["proto/base/"]
GENERATED = ["posward/", "grpc/"]  # messages in the build tree
RPC = BASE + ["proto/rpc/"]
RUN = RPC + ["proto/run/"]
WIRE = ["proto/iso8583/", "proto/apdu/"]
PROGRAM = RUN + WIRE + GENERATED

LAW = {
    "proto/base/": [],
    "proto/posward/": [],
    "proto/rpc/": BASE + ["proto/posward/"] + GENERATED,
    "proto/run/": RPC + GENERATED,
    "proto/iso8583/": BASE,
    "proto/apdu/": BASE,
    # p11's rooms, as in room_law.py; the root has tok.c and recovery.c.
    "p11/module/": BASE,
    "p11/object/": BASE + ["p11/module/"],
    "p11/keys/": BASE + ["p11/module/", "p11/object/"],
    "p11/flow/": BASE + ["p11/module/", "p11/object/", "p11/keys/"],
    "p11/travel/": BASE + ["p11/module/", "p11/object/", "p11/keys/", "p11/flow/", "p11/tok.h"],
    "p11/probe/": BASE + ["p11/module/", "p11/object/", "p11/keys/", "p11/flow/", "p11/tok.h", "p11/travel/"],
    "p11/": BASE,
    "hsm-service/": PROGRAM + ["p11/"],
    "posv/": PROGRAM,
    "posp/": PROGRAM,
    "issuer/": PROGRAM,
    "card-emu/": PROGRAM,
    # The operators' command joins the services' command tables, nothing else of theirs.
    "deploy/posward/": RUN + ["hsm-service/cli.h", "posv/cli.h", "posp/cli.h", "issuer/cli.h"] + GENERATED,
    "tests/": ["proto/", "p11/", "hsm-service/", "posv/", "posp/", "issuer/", "card-emu/"] + GENERATED,
}
# Foreign headers that have one home.
FOREIGN = {
    "p11-kit/": ["p11/", "tests/"],
    "openssl/": ["proto/rpc/", "card-emu/", "tests/"],
    "nettle/": ["hsm-service/audit/", "hsm-service/limits/", "tests/"],
    "grpc/": ["proto/rpc/", "tests/"],
    "sqlite3.h": ["proto/run/", "posv/", "posp/", "card-emu/bank/", "tests/"],
    "microhttpd.h": ["proto/run/", "posv/", "tests/"],
}
# memcmp leaks where two secrets differ; base/secret.h has secret_equal.
NO_MEMCMP = ["p11/", "hsm-service/", "card-emu/", "posp/", "issuer/", "proto/base/secret.c"]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def home_of(header, exists):
    """The path from the root that a quoted include names, or None for generated code."""
    for root in ("", "proto/"):
        if exists(root + header):
            return root + header
    return None


def breaches(path, text, exists=os.path.exists):
    allowed = LAW[max((p for p in LAW if path.startswith(p)), key=len)]
    own = max((p for p in LAW if path.startswith(p)), key=len)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match and match.group(1) == '"':
            home = home_of(match.group(2), exists)
            if home is None:
                fine = match.group(2).startswith(tuple(GENERATED)) and (
                    not allowed or any(g in allowed for g in GENERATED) or own == "tests/")
                fine = fine or (own == "tests/")
                fine = fine or match.group(2).startswith("google/protobuf/") and own == "proto/rpc/"
            else:
                fine = home.startswith(own) or home.startswith(tuple(allowed))
            if not fine:
                yield f"{path}:{number}: {own} may not include \"{match.group(2)}\""
        elif match and not match.group(2).endswith(".pb-c.h"):
            for prefix, homes in FOREIGN.items():
                if match.group(2).startswith(prefix) and not path.startswith(tuple(homes)):
                    yield f"{path}:{number}: <{match.group(2)}> is for {', '.join(homes)} only"
        if re.search(r"\bmemcmp\s*\(", line) and path.startswith(tuple(NO_MEMCMP)):
            yield f"{path}:{number}: memcmp near secrets; use secret_equal of base/secret.h"
        if re.search(r"#\s*if.*\bTEST\b", line):
            yield f"{path}:{number}: no test hooks in product code"


def self_test():
    there = {"proto/base/err.h", "p11/travel/oaep.h", "p11/tok.h", "posp/store.h", "posv/cli.h", "posv/store.h"}.__contains__
    bad = {
        "proto/base/x.c": '#include "p11/tok.h"',
        "posp/x.c": '#include "p11/tok.h"',
        "posv/x.c": '#include "posp/store.h"',
        "deploy/posward/main.c": '#include "posv/store.h"',
        "p11/x.c": "#include <openssl/evp.h>",
        "p11/keys/x.c": '#include "p11/travel/oaep.h"',
        "p11/module/x.c": '#include "p11/tok.h"',
        "posp/y.c": "#include <p11-kit/pkcs11.h>",
        "p11/y.c": "if (memcmp(a, b, 8) == 0)",
        "issuer/x.c": "#ifdef TEST",
    }
    good = {
        "posp/x.c": '#include "base/err.h"\n#include "posp/store.h"\n#include "posward/hsm/v1/hsm.pb-c.h"',
        "hsm-service/x.c": '#include "p11/tok.h"',
        "deploy/posward/main.c": '#include "posv/cli.h"',
    }
    missed = [p for p, t in bad.items() if not list(breaches(p, t, there))]
    wrong = [b for p, t in good.items() for b in breaches(p, t, there)]
    for path in missed:
        print(f"self-test: a breach in {path} was not found")
    for breach in wrong:
        print(f"self-test: {breach}: but that is allowed")
    return not missed and not wrong


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    if not self_test():
        return 1
    if "--self-test" in sys.argv:
        return 0
    names = []
    for top in sorted({prefix.split("/")[0] for prefix in LAW}):
        for folder, _, files in os.walk(top):
            names += [os.path.join(folder, f) for f in files if f.endswith((".c", ".h"))]
    found = []
    for name in sorted(names):
        if name.startswith(tuple(LAW)):
            with open(name, encoding="utf-8") as file:
                found += breaches(name, file.read())
    print("\n".join(found) if found else f"{len(names)} files keep the include law")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
