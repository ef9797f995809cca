"""The whole system with keys and PINs that the test knows: what a run does, in phases, and every secret of it.

Working keys are opened from the cryptograms that the service gave away, with TMKs computed from the masters."""
import contextlib
import itertools
import os
import subprocess

import hsm_estate
import leaks
import posp_estate
import reference as ref
from estate import BIN, BUILD, SOURCE
from posp_estate import MERCHANT, PAN, POOR_PAN, TRIES_PAN, PospEstate, Terminal

from lines import Courier

hsm_estate.LOADED.extend([("storage", "aes-256", None, 32), ("blob-tag", "aes-256", None, 32)])

RPC_PSAM = "62019999000000000001"


def random_pin():
    return str(10 ** 11 + int.from_bytes(os.urandom(8), "big") % (9 * 10 ** 11))


class Card:
    """A PSAM emulator with its control keys from the estate's masters."""

    def __init__(self, system, number, suite, profile, wrap=None):
        self.psam, self.suite, self.profile = f"6201{number:016d}", suite, profile
        self.wrap = wrap or ref.wrap_version_of(suite)
        self.file = f"{system.dir}/card-{number}"
        self.address = f"127.0.0.1:{posp_estate.free_port(system.ports.values())}"
        system.run("posward-psam", "new", "--card", self.file, "--psam-number", self.psam, *system.control_components())
        self.log = system.new_log("card")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([f"{BIN}/posward-psam", "serve", "--card", self.file, "--listen", self.address],
                                            stdout=log, stderr=log)

    def end(self):
        self.process.terminate()
        self.process.wait(30)


class KnownTerminal(Terminal):
    """Its working keys and what it sends enciphered are the system's to look for."""

    def take_keys(self, f62):
        super().take_keys(f62)
        self.estate.know_working(self.suite, self.keys)

    def purchase_fields(self, pan=PAN, pin=True, **details):
        fields = super().purchase_fields(pan=pan, pin=self.estate.pins[pan] if pin is True else pin, **details)
        for number in (52, 57):
            if number in fields:
                self.estate.never_logged.opaque("enciphered-pin", f"F{number}", fields[number])
        return fields


class KnownSystem(PospEstate):
    """`secrets` is what must not leak; `never_logged` what may travel, but not be written into a log."""

    def __init__(self, token):
        super().__init__(token)
        self.secrets, self.never_logged, self.public = leaks.Secrets(), leaks.Secrets(), {}
        self.pins = {pan: random_pin() for pan in (PAN, POOR_PAN, TRIES_PAN)}
        self.cards, self.extra_logs, self.count, self.numbers = [], [], 0, itertools.count(1001)
        self.edit("bank.yaml", *[(f'{{pan: "{pan}", pin: "{posp_estate.PIN}"', f'{{pan: "{pan}", pin: "{pin}"')
                                 for pan, pin in self.pins.items()])
        self.edit("hsm.yaml", ("token:\n", "log: {level: debug}\ntoken:\n"))
        endpoints = "".join(f"  {name}: 127.0.0.1:{self.ports[name]}\n" for name in ("hsm", "hsm_control", "posp", "posv", "bank"))
        with open(f"{self.dir}/hsm.yaml") as f:  # for ceremonies, which no tap hears: custodians type keys in
            self.put("ceremony.yaml", f.read())
        self.put("posward.yaml", f"endpoints:\n{endpoints}tls: {{insecure: true}}\n")
        self.know_all()

    # ---- what is secret ----

    def know_all(self):
        for name, key in self.keys.items():
            suite = "tdes" if name.endswith("tdes") else "aes"
            self.secrets.key(suite, "zone-pin" if name.startswith("zone-pin") else "master", name, key)
        for pan, pin in self.pins.items():
            self.secrets.pin(f"PIN of *{pan[-4:]}", pin, pan)
            self.never_logged.digits("pan", f"PAN *{pan[-4:]}", pan)
        self.know_card("tdes", RPC_PSAM)
        self.know_card("aes-128", RPC_PSAM)
        self.know_card("aes-256", RPC_PSAM)

    def know_card(self, suite, psam, kind="tmk"):
        family = "tdes" if suite == "tdes" else "aes"
        tmk = ref.tmk_of(self, suite, psam)
        self.secrets.key(family, kind, f"TMK {suite} {psam}", tmk)
        for usage in ref.CARD_USAGES if family == "aes" else ():
            self.secrets.aes("kek", f"key of {usage} of TMK {suite} {psam}", ref.kek_of(tmk, usage))
        self.secrets.des("control", f"control key of {psam}", ref.diversify_tdes(self.keys["card-control-tdes"], psam))
        aes_control = ref.diversify_aes(self.keys["card-control-aes-256"], psam, 2, 16)
        self.secrets.aes("control", f"control key of {psam}", aes_control)

    def know_working(self, suite, keys):
        for name, key in keys.items():
            self.count += 1
            self.secrets.key("tdes" if suite == "tdes" else "aes", "working", f"{name} {self.count}", key)

    # ---- processes ----

    def edit(self, name, *changes):
        with open(f"{self.dir}/{name}") as f:
            text = f.read()
        for old, new in changes:
            assert old in text, (name, old)
            text = text.replace(old, new)
        self.put(name, text)

    def tap(self):
        """From now on keepers go through the tap."""
        folder = f"{self.dir}/tapes"
        os.mkdir(folder)
        module = next(line.split(": ", 1)[1] for line in self.token_lines if line.startswith("module: "))
        self.environment.update(POSWARD_TAP_MODULE=module, POSWARD_TAP_DIR=folder)
        self.edit("hsm.yaml", (f"module: {module}", f"module: {BUILD}/tests/lib/tap_module.so"),
                  ("environment: ", "environment: POSWARD_TAP_MODULE POSWARD_TAP_DIR "))
        return leaks.Tapes(folder)

    def begin(self):
        self.launch("hsm").launch("posv", "bank").launch("posp")
        data, control = (
            hsm_estate.grpc.insecure_channel(f"127.0.0.1:{self.ports[name]}", [("grpc.use_local_subchannel_pool", 1)])
            for name in ("hsm", "hsm_control"))
        self.data, self.control = hsm_estate.stubs.DataPlaneStub(data), hsm_estate.stubs.ControlStub(control)
        return self

    def new_storage_key(self, version):
        """A further storage key, whose value the test knows, in use by keepers."""
        kept, self.config = self.config, f"{self.dir}/ceremony.yaml"
        key = self.load("storage", "aes-256", None, 32, version=version)
        self.config = kept
        self.secrets.key("aes", "master", f"storage {version}", key)
        self.reload_keepers()
        found = self.control.ListKeys(hsm_estate.hsm.ListKeysRequest(), timeout=10).keys
        assert any(key.role == "storage" and key.version == version for key in found), found

    def new_log(self, name):
        self.extra_logs.append(f"{self.dir}/{name}-{len(self.extra_logs)}.out")
        return self.extra_logs[-1]

    def run(self, program, *words, status=0):
        log = self.new_log(program)
        with open(log, "w") as f:
            done = subprocess.run([f"{BIN}/{program}", *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=f,
                                  stderr=f, timeout=120, check=False)
        assert done.returncode == status, (program, words[:3], done.returncode, open(log).read())

    def control_components(self):
        words = []
        for option, name in (("--control-tdes", "card-control-tdes"), ("--control-aes", "card-control-aes-256")):
            key, pad = self.keys[name], os.urandom(len(self.keys[name]))
            parts = (pad, ref.xor(key, pad))
            words += [option, *[self.secret(f"{name}.{i}", part.hex()) for i, part in enumerate(parts)]]
        return words

    def logs_of_all(self):
        return list(self.logs.values()) + self.extra_logs

    def stores(self):
        paths = [f"{self.dir}/{name}.db{tail}" for name in ("posp", "posv", "bank") for tail in ("", "-wal")]
        return [path for path in paths if os.path.exists(path)]

    def drop(self):
        for card in self.cards:
            card.process.kill()
            card.process.wait()
        super().drop()

    # ---- cards and terminals ----

    def terminal_of(self, number, suite, wrap=None):
        terminal = self.register(f"K{number:07d}", f"6201{number:016d}", suite, wrap)
        terminal.__class__ = KnownTerminal
        self.know_card(suite, terminal.psam)
        return terminal

    def issue(self, number, suite, profile="aes", seen=lambda to_card, frame: None, wrap=None):
        """A real card, issued by the operators' command; `seen` watches the reader's line."""
        card = Card(self, number, suite, profile, wrap)
        self.cards.append(card)
        self.wait_until(lambda: "listening" in open(card.log).read())
        self.know_card(suite, card.psam, "tmk-pboc" if profile == "pboc" else "tmk")
        self.write_card(card, number, seen, wrap)
        return card

    def write_card(self, card, number, seen=lambda to_card, frame: None, wrap=None):
        """`wrap` None: what the command does by itself."""
        courier = Courier(card.address, seen)
        self.run("posward", "--config", f"{self.dir}/posward.yaml", "card", "issue", "--reader", f"tcp:{courier.address}",
                 "--suite", card.suite, "--profile", card.profile, "--profiles-dir", f"{SOURCE}/deploy/cards",
                 *(["--wrap-version", str(wrap)] if wrap else []),
                 "--terminal-id", f"R{number:07d}", "--merchant-id", MERCHANT)
        courier.close()
        card.wrap = wrap or ref.wrap_version_of(card.suite)
        self.wait_revision(self.stub("posv").GetDevice(
            posp_estate.posv.GetDeviceRequest(terminal_id=f"R{number:07d}"), timeout=10).revision)

    @contextlib.contextmanager
    def line_of(self, card):
        """POSP's address for the terminal of a real card; the keys that it is sent become known."""
        watcher = Terminal(self, "", card.psam, card.suite, card.wrap)

        def seen(to_posp, frame):
            fields = None if to_posp else posp_estate.unpack(frame[11:])[1]
            if fields and 62 in fields and fields.get(39) == "00":
                watcher.take_keys(fields[62])
                self.know_working(card.suite, watcher.keys)
        courier = Courier(f"127.0.0.1:{self.terminals_port}", seen)
        yield courier.address
        courier.close()

    def at_terminal(self, card, *words):
        """Run the terminal emulator with a real card in it."""
        known = self.count
        with self.line_of(card) as posp:
            self.run("posward-terminal", "--posp", posp, "--psam", card.address, "--terminal-id",
                     "R" + card.psam[-7:], "--merchant-id", MERCHANT, "--suite", "tdes" if card.suite == "tdes" else "aes",
                     "--state", card.file + ".state", *words)
        assert self.count > known or words[0] != "signin", "the keys of a sign-in were not seen"
