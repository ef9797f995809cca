"""What the Python tests' estates share, and the estate that deploy/estate makes.

Estate: a whole system as its operators start it. tests/integration has two more, whose keys the test knows:
hsm_estate.py, the HSM service on a token, and posp_estate.py, all services around POSP."""
import glob
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ.get("POSWARD_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("POSWARD_BUILD", os.path.join(SOURCE, "build", "release"))
BIN = os.path.join(BUILD, "bin")
MERCHANT = "898100012345678"
SERVICES = ("hsm", "bank", "posv", "posp")


def sanitized():
    """Whether the programs run with sanitizers, which take their time."""
    path = os.path.join(BUILD, "CMakeCache.txt")
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as file:
        return re.search(r"^POSWARD_SANITIZE:\w+=\S", file.read(), re.M) is not None


SANITIZED = sanitized()
START_S = 90 if SANITIZED else 30


def load_stubs(*names):
    """Stubs as a foreign client would make them: stock protoc, stock plugin, our .proto files. For each name of
    proto/posward, messages and stubs; "hsm/keys" is another file of hsm."""
    files = [f"posward/{name.split('/')[0]}/v1/{name.split('/')[-1]}" for name in names]
    out = tempfile.mkdtemp(prefix="posward-stubs-")
    subprocess.run(["protoc", "-I", f"{SOURCE}/proto", f"--python_out={out}", f"--grpc_python_out={out}",
                    "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
                    *(f"{file}.proto" for file in files)], check=True)
    sys.path.insert(0, out)
    modules = [importlib.import_module(f"{file.replace('/', '.')}_pb2{tail}") for file in files for tail in ("", "_grpc")]
    sys.path.remove(out)
    shutil.rmtree(out)
    return modules


def wait_until(true, seconds=START_S, state=lambda: "not in time"):
    """What `true` gives as soon as that counts as true; AssertionError with `state` when it does not in time."""
    until = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < until, state()
        time.sleep(0.02)
    return found


def free_port(taken=()):
    """A port to listen on, below the range that connections come from."""
    while True:
        port = 10000 + int.from_bytes(os.urandom(2), "big") % 20000
        if port in taken:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def children(pid):
    """Processes that run now as children of `pid`."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.split("/")[2]))
    return sorted(found)


# Tests buy with few accounts, more often than their holders would.
UNLIMITED = "limits:\n" + "".join(f"  pin_{of}_per_{time}: 0\n" for of in ("terminal", "account", "zone") for time in ("minute", "hour"))


class Daemon:
    """A posward-NAME process with its log in a file."""

    def __init__(self, name, config, folder, environment):
        self.path = f"{folder}/{name}-{time.monotonic_ns()}.log"
        with open(self.path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([f"{BIN}/posward-{name}", "--config", config], env=environment, stderr=log)

    def log(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def wait_log(self, pattern, seconds=START_S):
        """The match of `pattern` as soon as it stands in the log."""
        def look():
            ended = self.process.poll() is not None
            found = re.search(pattern, self.log())
            assert found or not ended, f"ended without '{pattern}' in the log:\n{self.log()}"
            return found
        return wait_until(look, seconds, lambda: f"no '{pattern}' in the log:\n{self.log()}")

    def end(self, how=signal.SIGTERM):
        """The exit status."""
        self.process.send_signal(how)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Estate:
    """`with Estate("softhsm") as estate:` a token, keys and running services, gone afterwards."""

    def __init__(self, token="softhsm", settings="", hsm_settings=UNLIMITED, secure=False,
                 replica=False):
        """`settings`: YAML that is added to the configuration of each service; `hsm_settings`: to the HSM service's.
        `replica`: a copy of the token serves beside it."""
        self.token, self.settings, self.hsm_settings = token, settings, hsm_settings
        self.secure, self.replica = secure, replica
        self.dir = tempfile.mkdtemp(prefix="posward-e2e.")

    def __enter__(self):
        os.rmdir(self.dir)
        try:
            self.tool("new", "--token", self.token, *(["--tls"] if self.secure else []),
                      *(["--replica"] if self.replica else []), "--bin", BIN)
            with open(os.path.join(self.dir, "env"), encoding="ascii") as file:
                self.env = dict(line.strip().split("=", 1) for line in file)
            for name in SERVICES:
                with open(os.path.join(self.dir, name + ".yaml"), "a", encoding="ascii") as file:
                    file.write(self.settings)
                    if name == "hsm":
                        file.write(self.hsm_settings)
            self.configure()
            self.tool("start")
        except BaseException:
            self.show_logs()
            self.__exit__(None, None, None)
            raise
        return self

    def configure(self):
        """Before anything starts, with the configuration written."""

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.show_logs()
        self.tool("down")
        shutil.rmtree(self.dir, ignore_errors=True)

    def tool(self, command, *words):
        subprocess.run([os.path.join(SOURCE, "deploy", "estate"), command, "--dir", self.dir, *words], check=True,
                       stdin=subprocess.DEVNULL, timeout=120)

    def show_logs(self):
        folder = os.path.join(self.dir, "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                print(f"---- {name}\n" + "".join(file.readlines()[-15:]), flush=True)

    def posward(self, *words, check=True):
        """Run the operators' command with --json; the parsed answer."""
        done = subprocess.run([os.path.join(BIN, "posward"), "--config", os.path.join(self.dir, "posward.yaml"),
                               *words, "--json"], capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"posward {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def card(self, name, psam_number):
        self.tool("card", name, psam_number)
        return self.card_address(name)

    def card_address(self, name):
        with open(os.path.join(self.dir, "run", f"card-{name}.address"), encoding="ascii") as file:
            return file.read().strip()

    def issue(self, card, suite, terminal=None):
        words = ["card", "issue", "--reader", "tcp:" + self.card_address(card), "--suite", suite]
        if terminal:
            words += ["--terminal-id", terminal, "--merchant-id", MERCHANT]
        done = subprocess.run([os.path.join(BIN, "posward"), "--config", os.path.join(self.dir, "issuer.yaml"),
                               *words], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"card issue: {done.stdout}{done.stderr}")

    def terminal(self, terminal, card, suite, *words):
        """The command line of a POS terminal with a card in it."""
        return [os.path.join(BIN, "posward-terminal"), "--posp", "127.0.0.1:" + self.env["PORT_TERMINALS"],
                "--psam", self.card_address(card), "--terminal-id", terminal, "--merchant-id", MERCHANT,
                "--suite", suite, "--state", os.path.join(self.dir, "terminal-" + terminal), *words]

    def equip(self, count, suite="tdes"):
        """`count` terminals, each with an issued card, signed in: a list of (terminal, card)."""
        made = []
        for i in range(count):
            terminal, card = f"2{i:07d}", f"c{i}"
            self.card(card, f"6201000001{i:010d}")
            self.issue(card, suite, terminal)
            subprocess.run(self.terminal(terminal, card, suite[:4].rstrip("-"), "signin"), check=True, timeout=60,
                           stdout=subprocess.DEVNULL)
            made.append((terminal, card))
        return made

    def log(self, name):
        with open(os.path.join(self.dir, "log", name + ".log"), encoding="ascii") as file:
            return file.read()

    def pid(self, name):
        with open(os.path.join(self.dir, "run", name + ".pid"), encoding="ascii") as file:
            return int(file.read())

    def keepers(self):
        return children(self.pid("hsm"))

    def kill_keeper(self):
        os.kill(self.keepers()[0], signal.SIGKILL)
