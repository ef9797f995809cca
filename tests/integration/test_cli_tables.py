#!/usr/bin/env python3
"""What `posward` prints of its tables: bash completion (run in bash), the manual page, and that every RPC is in reach."""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from google.protobuf import descriptor_pb2

SOURCE, BUILD = os.environ["POSWARD_SOURCE"], os.environ["POSWARD_BUILD"]
POSWARD = os.path.join(BUILD, "bin", "posward")
GLOBAL = {"--config", "--json", "--help"}
MACROS = {"TH", "SH", "SS", "TP", "B", "I", "BR", "PP", "nf", "fi"}


def run(*words, check=True):
    done = subprocess.run([POSWARD, *words], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, (words, done.returncode, done.stderr)
    return done


class Tables(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="posward-cli-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.script = os.path.join(cls.dir, "completion")
        with open(cls.script, "w", encoding="ascii") as file:
            file.write(run("completion", "bash").stdout)
        overview = run("help").stdout.split("Options of every command")[0]
        cls.commands = [tuple(pair) for pair in re.findall(r"^  ([a-z]+) ([a-z-]+)  ", overview, re.M)
                        if pair[0] != "completion"]
        cls.methods = cls.all_methods()

    @classmethod
    def all_methods(cls):
        path = os.path.join(cls.dir, "set")
        files = [os.path.relpath(f, f"{SOURCE}/proto") for f in glob.glob(f"{SOURCE}/proto/posward/*/v1/*.proto")]
        subprocess.run(["protoc", "-I", f"{SOURCE}/proto", "--include_imports", f"--descriptor_set_out={path}", *files],
                       check=True)
        with open(path, "rb") as file:
            found = descriptor_pb2.FileDescriptorSet.FromString(file.read())
        return {f"{f.package}.{service.name}/{method.name}" for f in found.file for service in f.service
                for method in service.method}

    def complete(self, *words):
        """What bash offers for the last word."""
        text = ('set -eu; . "$1"; shift; complete -p posward | grep -qx "complete -F _posward posward";'
                'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _posward; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", text, "bash", self.script, "posward", *words], capture_output=True, text=True,
                              timeout=60, check=False, cwd=self.dir)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return {line.strip() for line in done.stdout.splitlines() if line.strip()}

    def test_completion_knows_groups_and_commands(self):
        groups = {group for group, _ in self.commands}
        self.assertGreaterEqual(groups, {"key", "hsm", "token", "device", "card", "transaction", "posp"})
        self.assertEqual(self.complete(""), groups | GLOBAL | {"status", "call", "help", "completion", "man",
                                                               "--help-config", "--version"})
        self.assertEqual(self.complete("dev"), {"device"})
        for group in groups:
            names = {name for its, name in self.commands if its == group}
            self.assertEqual(self.complete(group, ""), names | GLOBAL, group)
            self.assertEqual(self.complete("--json", "--config", "f", group, ""), names | GLOBAL, group)
            self.assertEqual(self.complete("help", group, ""), names | GLOBAL, group)
        self.assertEqual(self.complete("completion", ""), {"bash"})

    def test_completion_offers_the_options_that_the_help_explains(self):
        for group, name in self.commands:
            explained = set(re.findall(r"^  (--[a-z0-9.-]+)", run(group, name, "--help").stdout, re.M)) | GLOBAL
            self.assertEqual(self.complete(group, name, "--"), explained, (group, name))

    def test_completion_offers_values(self):
        suites = {"tdes", "aes-128", "aes-256"}
        for words in (["device", "register", "--suite"], ["card", "issue", "--json", "--suite"],
                      ["device", "register", "--suite", "="], ["key", "load-components", "--suite"],
                      ["hsm", "generate-mac", "--key.zone.suite"]):
            tail = [] if words[-1] == "=" else [""]
            self.assertEqual(self.complete(*words, *tail), suites, words)
            self.assertEqual(self.complete(*words, "aes-1"), {"aes-128"}, words)
        self.assertEqual(self.complete("device", "register", "--terminal-id", ""), set())
        for words in (["--config"], ["key", "init", "--hsm-config"], ["hsm", "verify-mac", "--data"]):
            self.assertEqual(self.complete(*words, "com"), {"completion"}, words)
        self.assertEqual(self.complete("call", "a.B/C", "--endpoint", "pos"), {"posp", "posv"})
        self.assertEqual(self.complete("call", "a.B/C", "--endpoint", "hsm"), {"hsm", "hsm_control"})

    def test_every_rpc_can_be_called(self):
        self.assertGreater(len(self.methods), 20)
        self.assertEqual(self.complete("call", ""), self.methods)
        config = os.path.join(self.dir, "nobody.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write("endpoints:\n" + "".join(f"  {name}: 127.0.0.1:1\n" for name in ("hsm", "hsm_control", "posp", "posv", "bank")) +
                       "tls:\n  insecure: true\n")
        for method in sorted(self.methods):
            done = run("--config", config, "call", method, check=False)
            self.assertEqual(done.returncode, 1, (method, done.stderr))
            self.assertIn(": UNAVAILABLE: ", done.stderr, method)

    def test_the_manual_page_has_it_all(self):
        page = run("man").stdout
        lines = page.splitlines()
        self.assertRegex(lines[0], r'^\.TH POSWARD 1 "" "Posward [^"]+" "Posward"$')
        for line in lines:
            if line.startswith((".", "'")):
                self.assertIn(re.match(r"[.'](\w*)", line).group(1), MACROS, line)
            self.assertRegex(line, r"^[\x20-\x7e]+$")
        plain = page.replace("\\-", "-")
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "CONFIGURATION", "EXIT STATUS", "FILES"):
            self.assertIn(f"\n.SH {section}\n", page)
        for group, name in self.commands:
            self.assertRegex(plain, rf'\n\.SS "posward {group} {name}( \[[a-z-]+\])?"\n[A-Z]', (group, name))
        for method in self.methods:
            self.assertIn(f"\n{method}\n", page)

    @unittest.skipUnless(shutil.which("man") and shutil.which("groff"), "man-db is not installed")
    def test_man_has_no_complaints(self):
        path = os.path.join(self.dir, "posward.1")
        with open(path, "w", encoding="ascii") as file:
            file.write(run("man").stdout)
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", path], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("posward device register", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
