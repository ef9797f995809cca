"""Keys on their way, under dual control, in every form that there is: what a client of a business unit and custodians do
with keys that the test knows, each step with what the token's grade lets be seen of it."""
import base64
import collections
import glob
import json
import os
import subprocess

import leaks
import reference as ref
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from estate import BIN, BUILD, UNLIMITED, Estate

ONE, TWO = "posward", "operator2"
ZONE = "tapped"
BYTES = {"tdes": 16, "aes-128": 16, "aes-256": 32}
ATTRIBUTES = {("zone-pin", "tdes"): "P0TB00N", ("zone-mac", "tdes"): "M3TC00N", ("zone-data", "tdes"): "D0TB00N",
              ("zone-pin", "aes-128"): "P0AB00N", ("zone-mac", "aes-128"): "M6AC00N", ("zone-data", "aes-128"): "D0AB00N",
              ("zone-master", "aes-256"): "K1AB00N"}
# flow, format, suite of the zone master key, keys. A zone's TDES MAC key is halved by the process that has it.
IMPORTS = [("import-aes-key-wrap", "aes-key-wrap", "aes-256", [("zone-data", "tdes"), ("zone-pin", "aes-128")]),
           ("import-tdes-ecb", "tdes-ecb", "tdes", [("zone-pin", "tdes"), ("zone-mac", "tdes")]),
           ("key-block-b", "tr31-b", "tdes", [("zone-pin", "tdes"), ("zone-mac", "tdes")]),
           ("key-block-d", "tr31-d", "aes-256", [("zone-data", "tdes"), ("zone-pin", "aes-128"), ("zone-master", "aes-256")])]
EXPORTS = [("export-aes-key-wrap", "aes-key-wrap", "aes-256", [("zone-data", "tdes"), ("zone-mac", "aes-128")]),
           ("export-tdes-ecb", "tdes-ecb", "tdes", [("zone-data", "tdes"), ("zone-mac", "tdes")]),
           ("key-block-b", "tr31-b", "tdes", [("zone-pin", "tdes"), ("zone-mac", "tdes")]),
           ("key-block-d", "tr31-d", "aes-256", [("zone-data", "tdes"), ("zone-mac", "aes-128")])]

# Where keys of each kind are seen when they pass through a keeper: in all of the first calls, and in no others than both.
# A MAC is made over a key in the clear, but for what is in the last block.
CALLS = {"import-tdes-ecb": ({"C_Decrypt o", "C_CreateObject i"}, set()),
         "export-tdes-ecb": ({"C_GenerateRandom o", "C_Encrypt i", "C_CreateObject i"}, set()),
         "block in": ({"C_Decrypt o", "C_CreateObject i"}, {"C_Encrypt i"}),
         "block out": ({"C_GenerateRandom o", "C_Encrypt i", "C_CreateObject i"}, set()),
         "block key": ({"C_CreateObject i"}, {"C_Encrypt o", "C_Sign o"}),
         "component": ({"C_Decrypt o", "C_CreateObject i"}, set()),
         "composed": ({"C_CreateObject i"}, set())}

# secrets: names of those that this step is about, by kind; grade: as the answer said it; since, until: marks of the tapes
Step = collections.namedtuple("Step", "name flow key secrets grade since until")


def is_halved(key):
    return key == ("zone-mac", "tdes")


class TransportEstate(Estate):
    """A system with two operators. `secrets` is what must not leak."""

    def __init__(self, token, tapped=False):
        super().__init__(token, secure=True, hsm_settings=UNLIMITED)
        self.secrets, self.tapes, self.steps = leaks.Secrets(), None, []
        self.tapped, self.masters, self.count = tapped, {}, 0
        self.block_names = {}

    def configure(self):
        if self.tapped:
            folder, path = f"{self.dir}/tapes", f"{self.dir}/hsm.yaml"
            os.mkdir(folder)
            with open(path, encoding="ascii") as file:
                text = file.read()
            module = next(line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("  module: "))
            os.environ.update(POSWARD_TAP_MODULE=module, POSWARD_TAP_DIR=folder)
            text = text.replace(f"module: {module}\n", f"module: {BUILD}/tests/lib/tap_module.so\n")
            with open(path, "w", encoding="ascii") as file:
                file.write(text + "keepers:\n  count: 1\n  environment: SOFTHSM2_CONF HOME ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS "
                           "POSWARD_TAP_MODULE POSWARD_TAP_DIR\n")
            self.tapes = leaks.Tapes(folder)
        for path in glob.glob(f"{self.dir}/secrets/token.pin"):
            with open(path, "rb") as file:
                self.secrets.opaque("token-pin", "the token's PIN", file.read().strip())

    # ---- the operators' command ----

    def words(self, who, *words):
        return [f"{BIN}/posward", "--config", f"{self.dir}/{who}.yaml", "--json", *words]

    def cli(self, who, *words):
        done = subprocess.run(self.words(who, *words), capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, (words, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def agree(self, *words):
        made = self.cli(ONE, "key", *words, "--reason", "a test")
        done = self.cli(TWO, "key", "approve", made["id"])
        assert done["state"] == "PROPOSAL_STATE_EXECUTED", done
        return done

    def file(self, data):
        self.count += 1
        path = f"{self.dir}/travels.{self.count}"
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        return path

    def grades(self):
        report = self.cli(ONE, "token", "report", "--chosen-only", "true")
        return {way["flow"]: way["grade"] for way in report["ways"]}

    # ---- steps ----

    def know(self, kind, name, suite, value):
        """Kind and name, by which hits are told apart."""
        self.secrets.key("tdes" if suite == "tdes" else "aes", kind, name, value)
        return kind, name

    def new_value(self, suite):
        value = os.urandom(BYTES[suite])
        return ref.odd_parity(value) if suite == "tdes" else value

    def mark(self):
        return self.tapes.mark() if self.tapes else {}

    def step(self, flow, key, work):
        """`work` gives the answer and the names of the secrets that it was about."""
        since, name = self.mark(), f"{flow} {' '.join(key)}"
        done, secrets = work()
        self.after_step()
        self.steps.append(Step(name, flow, key, set(secrets), done.get("grade"), since, self.mark()))
        return done

    def take_master(self, suite, value):
        """The newest zone master key, and the keys that it gives for key blocks."""
        self.masters[suite] = value
        keys = ref.block_keys("B" if suite == "tdes" else "D", value)
        self.count += 1
        self.block_names[suite] = {self.know("block key", f"{part} key of blocks under {suite}, {self.count}", suite, key)
                                   for part, key in zip(("cipher", "mac"), keys)}

    def after_step(self):
        """For who wants to look."""

    def seen_with(self, form, under):
        """What a key block's keys are, as soon as they are derived by this process."""
        return self.block_names[under] if form.startswith("tr31") else set()

    def begin(self):
        for role in ("transport", "component"):
            self.agree("create", "--role", role, "--suite", "rsa-3072")
        keys = self.cli(ONE, "key", "transport-keys")["keys"]
        self.pems = {key["key"]["role"]: key["publicKey"] for key in keys}

    def import_oaep(self):
        for role, suite in (("zone-master", "tdes"), ("zone-master", "aes-256"), ("card-control", "tdes"),
                            ("zone-pin", "aes-128")):
            value = self.new_value(suite)
            name = self.know("import-rsa-oaep", f"{role} {suite}", suite, value)
            if role == "zone-master":
                self.take_master(suite, value)
            self.step("import-rsa-oaep", (role, suite), lambda: (self.bring(
                (role, suite), "rsa-oaep", None, "--wrapped", ref.rsa_oaep(self.pems["transport"], value)), {name}))

    def bring(self, key, form, under, flag, data, *more):
        role, suite = key
        zone = ("--zone", ZONE) if role.startswith("zone") else ()
        under = ("--under-suite", under) if under else ()
        return self.agree("import", "--role", role, "--suite", suite, *zone, "--format", form, *under, flag,
                          self.file(data if isinstance(data, str) else data.hex()), *more)

    def wrap(self, form, under, key, value):
        master = self.masters[under]
        if form == "aes-key-wrap":
            return aes_key_wrap(master, value)
        if form == "tdes-ecb":
            return ref.des_ecb(master, value)
        return ref.make_key_block(form[-1].upper(), master, ATTRIBUTES[key], value)

    def open(self, form, under, exported):
        master = self.masters[under]
        if form.startswith("tr31"):
            return ref.open_key_block(master, exported["keyBlock"])
        wrapped = base64.b64decode(exported["wrapped"])
        return aes_key_unwrap(master, wrapped) if form == "aes-key-wrap" else ref.des_ecb(master, wrapped, decrypt=True)

    def import_under_masters(self):
        for flow, form, under, keys in IMPORTS:
            for key in keys:
                value = self.new_value(key[1])
                block = form.startswith("tr31")
                name = self.know("block in" if block else flow, f"in by {form}: {' '.join(key)}", key[1], value)
                kcv = ref.kcv("tdes" if key[1] == "tdes" else "aes", value)[:3].hex()
                done = self.step(flow, key, lambda: (self.bring(
                    key, form, under, "--key-block" if block else "--wrapped", self.wrap(form, under, key, value), "--kcv", kcv),
                    {name} | self.seen_with(form, under)))
                assert base64.b64decode(done["keys"][0]["kcv"]).hex() == kcv
                if key[0] == "zone-master":
                    self.take_master(key[1], value)

    def export_one(self, flow, form, under, key):
        done = self.agree("create", "--role", key[0], "--suite", key[1], "--zone", ZONE, "--export-format", form,
                          "--under-suite", under)
        value = self.open(form, under, done["exported"])
        assert base64.b64decode(done["exported"]["kcv"]) == ref.kcv("tdes" if key[1] == "tdes" else "aes", value)[:3]
        name = self.know("block out" if form.startswith("tr31") else flow, f"out by {form}: {' '.join(key)}", key[1], value)
        return done, {name} | self.seen_with(form, under)

    def export_under_masters(self):
        for flow, form, under, keys in EXPORTS:
            for key in keys:
                self.step(flow, key, lambda: self.export_one(flow, form, under, key))

    def components(self):
        """Each custodian enciphers a part for the token; the second approves."""
        for role, suite in (("zone-pin", "tdes"), ("zone-data", "aes-128")):
            whole = self.new_value(suite)
            pad = os.urandom(BYTES[suite])
            parts = (pad, ref.xor(pad, whole))
            names = {self.know("component", f"component {i} of {role} {suite}", suite, part)
                     for i, part in enumerate(parts, 1)}
            names.add(self.know("composed", f"{role} {suite} of components", suite, whole))
            self.step("component", (role, suite), lambda: (self.custodians((role, suite), parts, whole), names))

    def custodians(self, key, parts, whole):
        family = "tdes" if key[1] == "tdes" else "aes"
        made = self.cli(ONE, "key", "import", "--role", key[0], "--suite", key[1], "--zone", ZONE, "--components", "2",
                        "--reason", "a test")
        for who, part in zip((ONE, TWO), parts):
            sealed = self.file(ref.rsa_oaep(self.pems["component"], part))
            self.cli(who, "key", "submit-component", "--id", made["id"], "--component", "@" + sealed, "--kcv",
                     ref.kcv(family, part)[:3].hex())
        done = self.cli(TWO, "key", "approve", made["id"])
        assert done["state"] == "PROPOSAL_STATE_EXECUTED", done
        assert base64.b64decode(done["keys"][0]["kcv"]) == ref.kcv(family, whole)[:3]
        return done

    def all_phases(self):
        self.begin()
        self.import_oaep()
        self.import_under_masters()
        self.export_under_masters()
        self.components()
