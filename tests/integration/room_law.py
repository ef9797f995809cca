#!/usr/bin/env python3
"""The room law, held by what was built: which object file takes a symbol of which other one.

No file may reach itself again through others (a circle), and a room may take from the rooms that its row names, and
from no others. usage: room_law.py BUILD | --self-test"""
import collections
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BASE = {"proto/base"}
LOWER = BASE | {"p11/module"}
# A room, and what it may take from. Rooms that are not here are not held yet: only circles are looked for.
LAW = {
    "proto/base": set(),
    "p11/module": BASE,
    "p11/object": LOWER,
    "p11/keys": LOWER | {"p11/object"},
    "p11/flow": LOWER | {"p11/object", "p11/keys"},
    "p11": LOWER | {"p11/keys"},  # tok and recovery
    "p11/travel": LOWER | {"p11/object", "p11/keys", "p11/flow", "p11"},
    "p11/probe": LOWER | {"p11/object", "p11/keys", "p11/flow", "p11", "p11/travel"},
}
# Programs that hold code of the token. posward: the key ceremonies on the HSM host.
WITH_TOKEN = {"posward-keeper", "posward"}
NAMES = {"p11/keys/name.c"}  # what keys are called is for everybody

# Files that call each other as they should: (files, why). There are none.
NATURAL = []


def sources(build):
    """{object file: the source that it was made of, by its path from the root}"""
    place = re.compile(re.escape(build) + r"/(.*?)/?CMakeFiles/[^/]+\.dir(/.*)?$")
    found = {}
    for folder, _, names in os.walk(build):
        where = place.match(folder)
        for name in names if where else []:
            source = os.path.normpath(os.path.join(where.group(1), (where.group(2) or "").lstrip("/"), name[:-2]))
            there = os.path.exists(os.path.join(ROOT, source))  # an object may have outlived its source
            if name.endswith(".c.o") and there and not source.startswith(("tests/", "proto/posward/", "proto/grpc/")):
                found[os.path.join(folder, name)] = source
    return found


def tables(build):
    """{source: symbols it defines}, {source: symbols it takes}"""
    gives, takes = collections.defaultdict(set), collections.defaultdict(set)
    made_of = sources(build)
    listing = subprocess.run(["nm", "-A", "-P", *made_of], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        path, symbol, kind = line.split()[:3]
        source = made_of[path.rstrip(":")]
        if kind == "U":
            takes[source].add(symbol)
        elif kind in "TDBRVWC":
            gives[source].add(symbol)
    return gives, takes


def arrows(gives, takes):
    """{source: {source it takes from: symbols}}; a symbol that two files define belongs to programs apart, and is left out."""
    home = collections.defaultdict(set)
    for source, symbols in gives.items():
        for symbol in symbols:
            home[symbol].add(source)
    graph = {source: collections.defaultdict(set) for source in gives.keys() | takes.keys()}
    for source, symbols in takes.items():
        for symbol in symbols:
            homes = home.get(symbol, set())
            if len(homes) == 1 and source not in homes:
                graph[source][next(iter(homes))].add(symbol)
    return graph


def circles(graph):
    """Strongly connected components of more than one file (Tarjan)."""
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on.add(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = []
            while not part or part[-1] != node:
                part.append(stack.pop())
                on.discard(part[-1])
            if len(part) > 1:
                found.append(sorted(part))
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def breaches(graph):
    known = [set(files) for files, _ in NATURAL]
    there = circles(graph)
    for files in known:
        if graph.keys() & files and not any(set(circle) <= files for circle in there):
            yield "no circle any more, take it out of the list: " + " ".join(sorted(files))
    for circle in there:
        if not any(set(circle) <= files for files in known):
            yield "a circle: " + " ".join(circle)
            for source in circle:
                for other in sorted(set(graph[source]) & set(circle)):
                    yield f"    {source} takes {', '.join(sorted(graph[source][other]))} of {other}"
    for source in sorted(graph):
        room = os.path.dirname(source)
        for other in sorted(graph[source]):
            theirs = os.path.dirname(other)
            if room in LAW and theirs != room and theirs not in LAW[room]:
                yield f"{source}: {room} may not take {', '.join(sorted(graph[source][other]))} of {other}"


def programs(build, gives):
    """What a program holds of the token that may not."""
    token = {symbol for source, symbols in gives.items() if source.startswith("p11/") and source not in NAMES
             for symbol in symbols}
    folder = os.path.join(build, "bin")
    names = set(os.listdir(folder))
    if not WITH_TOKEN <= names:
        yield f"no {', '.join(sorted(WITH_TOKEN - names))} in {folder}"
    for name in sorted(names):
        listing = subprocess.run(["nm", "-P", os.path.join(folder, name)], capture_output=True, text=True, check=True).stdout
        held = token & {line.split()[0] for line in listing.splitlines()}
        if name in WITH_TOKEN and not held:
            yield f"{name} holds nothing of the token, which cannot be"
        elif name not in WITH_TOKEN and held:
            yield f"{name} holds {', '.join(sorted(held)[:8])} of the token"


def self_test():
    def of(edges):
        gives, takes = collections.defaultdict(set), collections.defaultdict(set)
        for source, other in edges:
            gives[other].add(f"of_{other}")
            takes[source].add(f"of_{other}")
        return arrows(gives, takes)
    good = of([("p11/keys/a.c", "p11/module/b.c"), ("p11/keys/a.c", "p11/keys/c.c"), ("posp/x.c", "posp/y.c")])
    bad = [of([("p11/keys/a.c", "p11/keys/b.c"), ("p11/keys/b.c", "p11/keys/a.c")]),
           of([("posp/a.c", "posp/b.c"), ("posp/b.c", "posp/c.c"), ("posp/c.c", "posp/a.c")]),
           of([("p11/module/a.c", "p11/keys/b.c")]), of([("p11/flow/a.c", "posp/b.c")])]
    return not list(breaches(good)) and all(list(breaches(graph)) for graph in bad)


def main():
    if not self_test():
        print("self-test: a breach was not found, or one where there is none")
        return 1
    if "--self-test" in sys.argv:
        return 0
    build = os.path.abspath(sys.argv[1])
    gives, takes = tables(build)
    graph = arrows(gives, takes)
    missing = [room for room in LAW if not any(os.path.dirname(source) == room for source in graph)]
    found = [f"no object of {room} was found in {sys.argv[1]}" for room in missing] + list(breaches(graph)) + list(programs(build, gives))
    print("\n".join(found) if found else f"{len(graph)} object files and the programs keep the room law")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
