"""An estate for end-to-end tests and benchmarks: deploy/estate with a context manager around it."""
import json
import os
import shutil
import signal
import subprocess
import tempfile

SOURCE = os.environ.get("POSWARD_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("POSWARD_BUILD", os.path.join(SOURCE, "build", "release"))
MERCHANT = "898100012345678"
SERVICES = ("hsm", "bank", "posv", "posp")


class Estate:
    """`with Estate("softhsm") as estate:` a token, keys and running services, gone afterwards."""

    def __init__(self, token="softhsm", settings=""):
        """`settings`: YAML that is added to the configuration of each service."""
        self.token, self.settings = token, settings
        self.dir = tempfile.mkdtemp(prefix="posward-e2e.")
        self.bin = os.path.join(BUILD, "bin")

    def __enter__(self):
        os.rmdir(self.dir)
        try:
            self.tool("new", "--token", self.token, "--bin", self.bin)
            with open(os.path.join(self.dir, "env"), encoding="ascii") as file:
                self.env = dict(line.strip().split("=", 1) for line in file)
            for name in SERVICES:
                with open(os.path.join(self.dir, name + ".yaml"), "a", encoding="ascii") as file:
                    file.write(self.settings)
            self.tool("start")
        except BaseException:
            self.show_logs()
            self.__exit__(None, None, None)
            raise
        return self

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
        done = subprocess.run([os.path.join(self.bin, "posward"), "--config", os.path.join(self.dir, "posward.yaml"),
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
        done = subprocess.run([os.path.join(self.bin, "posward"), "--config", os.path.join(self.dir, "posward.yaml"),
                               *words], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"card issue: {done.stdout}{done.stderr}")

    def terminal(self, terminal, card, suite, *words):
        """The command line of a POS terminal with a card in it."""
        return [os.path.join(self.bin, "posward-terminal"), "--posp", "127.0.0.1:" + self.env["PORT_TERMINALS"],
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
        """The keeper processes: children of the HSM service."""
        with open(f"/proc/{self.pid('hsm')}/task/{self.pid('hsm')}/children", encoding="ascii") as file:
            direct = [int(word) for word in file.read().split()]
        if direct:
            return direct
        return [int(p) for p in subprocess.run(["pgrep", "-P", str(self.pid("hsm"))], capture_output=True, text=True,
                                               check=False).stdout.split()]

    def kill_keeper(self):
        os.kill(self.keepers()[0], signal.SIGKILL)
