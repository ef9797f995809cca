"""A token with known keys, and posward-hsm on it, for tests over loopback."""
import atexit
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from estate import BIN, START_S, Daemon, children, load_stubs, wait_until  # noqa: E402
from reference import odd_parity, xor  # noqa: E402

PIN = "posward-test-1"
types, _, hsm, stubs = load_stubs("types", "hsm")

# role, suite, zone, bytes of the keys that the estate loads from components
LOADED = [("psam-master", "tdes", None, 16), ("psam-master", "aes-256", None, 32),
          ("card-control", "tdes", None, 16), ("card-control", "aes-256", None, 32),
          ("zone-pin", "tdes", "bank", 16), ("zone-mac", "tdes", "bank", 16), ("zone-data", "tdes", "bank", 16),
          ("zone-pin", "aes-128", "bank", 16), ("zone-mac", "aes-128", "bank", 16),
          ("zone-data", "aes-128", "bank", 16)]


def refusals_in(record):
    """How many refusals a record of the audit log stands for: equal ones are joined."""
    more = re.match(r"and ([\d,]+) more in \d+ s: ", record["note"])
    return int(more.group(1).replace(",", "")) if more else 1


class Estate:
    """A folder with a token; `keys` holds what was loaded, by role-suite."""

    def __init__(self, token="softhsm", load=True):
        self.dir = tempfile.mkdtemp(prefix="posward-hsm-")
        self.token, self.keys, self.process = token, {}, None
        atexit.register(self.drop)  # also when a set-up fails, after which no tear-down runs
        self.environment = dict(os.environ)
        os.mkdir(f"{self.dir}/token")
        self.secret("pin", PIN)
        self.token_lines = getattr(self, f"new_{token}")()
        self.write_config()
        if load:
            for role, suite, zone, size in LOADED:
                self.keys[f"{role}-{suite}"] = self.load(role, suite, zone, size)
            self.cli("key", "init", "--hsm-config", self.config)

    def new_softhsm(self):
        with open(f"{self.dir}/softhsm2.conf", "w") as f:
            f.write(f"directories.tokendir = {self.dir}/token\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.environment["SOFTHSM2_CONF"] = f"{self.dir}/softhsm2.conf"
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "posward", "--so-pin", "so-pin-1",
                        "--pin", PIN], env=self.environment, check=True, stdout=subprocess.DEVNULL)
        return ["module: /usr/lib/softhsm/libsofthsm2.so", "label: posward"]

    def new_nss(self):
        subprocess.run(["certutil", "-N", "-d", f"sql:{self.dir}/token", "-f", f"{self.dir}/pin"], check=True)
        return [f"module: {glob.glob('/usr/lib/*/libsoftokn3.so')[0]}", "label: NSS Certificate DB",
                f"init_string: \"configdir='sql:{self.dir}/token' certPrefix='' keyPrefix='' "
                "secmod='secmod.db' flags=\""]

    def secret(self, name, text):
        path = f"{self.dir}/{name}"
        if os.path.exists(path):
            os.remove(path)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o400), "w") as f:
            f.write(text + "\n")
        return path

    def write_config(self, **sections):
        """sections: keepers={"count": 1}, policy={"exposure": "in_token"}, ..."""
        self.config = f"{self.dir}/hsm.yaml"
        environment = "SOFTHSM2_CONF HOME ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS"
        sections.setdefault("keepers", {})
        sections.setdefault("limits", {f"pin_{of}_per_{time}": 0 for of in ("terminal", "account", "zone")
                                       for time in ("minute", "hour")})
        sections["keepers"].setdefault("environment", environment)
        with open(self.config, "w") as f:
            f.write("listen: 127.0.0.1:0\ncontrol_listen: 127.0.0.1:0\ntls:\n  insecure: true\nmetrics:\n  listen: 127.0.0.1:0\ntoken:\n")
            f.writelines(f"  {line}\n" for line in self.token_lines)
            f.write(f"  pin_file: {self.dir}/pin\n  lock_file: {self.dir}/lock\n")
            for name, rows in sections.items():
                f.write(f"{name}:\n" + "".join(f"  {key}: {value}\n" for key, value in rows.items()))

    def cli(self, *words, check=True, **options):
        done = subprocess.run([f"{BIN}/posward", *words], env=self.environment, capture_output=True, text=True,
                              timeout=60, **options)
        assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done

    def load(self, role, suite, zone, size, version=None):
        parts = [os.urandom(size) for _ in range(2)]
        words = ["--role", role, "--suite", suite]
        words += ["--zone", zone] if zone else []
        words += ["--version", str(version)] if version else []
        for i, part in enumerate(parts):
            words += ["--component", self.secret(f"part{i}", part.hex().upper())]
        self.cli("key", "load-components", "--hsm-config", self.config, *words)
        key = xor(*parts)
        return odd_parity(key) if suite == "tdes" else key

    # ---- the service ----

    def start(self, wait="serving"):
        self.daemon = Daemon("hsm", self.config, self.dir, self.environment)
        self.process, self.log, self.wait_log = self.daemon.process, self.daemon.log, self.daemon.wait_log
        self.port = int(self.wait_log(rf"{wait} .*?\bport=(\d+)").group(1))
        self.control_port = int(re.search(r"control_port=(\d+)", self.log()).group(1))
        self.metrics_port = int(re.search(r"metrics_port=(\d+)", self.log()).group(1))
        self.channel, self.control_channel = (
            grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
            for port in (self.port, self.control_port))
        self.data, self.control = stubs.DataPlaneStub(self.channel), stubs.ControlStub(self.control_channel)
        return self

    def status(self):
        return self.control.GetStatus(hsm.GetStatusRequest(), timeout=10)

    def wait_keepers(self, count, seconds=START_S):
        wait_until(lambda: self.status().keepers == count, seconds, self.log)

    def keeper_pids(self):
        return children(self.process.pid)

    def stop(self):
        """Exit status of an orderly stop."""
        if self.process is None:
            return 0
        self.channel.close()
        self.control_channel.close()
        status = self.daemon.end()
        self.process = None
        assert not re.search(r"Sanitizer|runtime error", self.log()), self.log()
        return status

    def drop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Load:
    """Clients that call without pause until stopped; failures are kept."""

    def __init__(self, call, clients=4):
        self.call, self.failures, self.done, self.over = call, [], 0, False
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.over:
            try:
                self.call()
                self.done += 1
            except grpc.RpcError as failure:
                self.failures.append((failure.code(), failure.details()))

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join()
        return self
