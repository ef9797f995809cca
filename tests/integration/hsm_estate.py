"""A token with known keys, and posward-hsm on it, for tests over loopback."""
import atexit
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import grpc

SOURCE, BUILD = os.environ["POSWARD_SOURCE"], os.environ["POSWARD_BUILD"]
BIN = os.path.join(BUILD, "bin")
PIN = "posward-test-1"
SANITIZED = bool(glob.glob(os.path.join(BUILD, "CMakeCache.txt"))) and \
    re.search(r"^POSWARD_SANITIZE:\w+=\S", open(os.path.join(BUILD, "CMakeCache.txt")).read(), re.M) is not None
START_S = 90 if SANITIZED else 30


def generate_stubs():
    """Stubs as a foreign client would make them: stock protoc, stock plugin, our .proto files."""
    out = tempfile.mkdtemp(prefix="posward-stubs-")
    subprocess.run(["protoc", "-I", f"{SOURCE}/proto", f"--python_out={out}", f"--grpc_python_out={out}",
                    "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
                    "posward/types/v1/types.proto", "posward/hsm/v1/hsm.proto"], check=True)
    sys.path.insert(0, out)
    import posward.hsm.v1.hsm_pb2 as messages
    import posward.hsm.v1.hsm_pb2_grpc as stubs
    import posward.types.v1.types_pb2 as types
    shutil.rmtree(out)
    return messages, stubs, types


hsm, stubs, types = generate_stubs()

# role, suite, zone, bytes of the keys that the estate loads from components
LOADED = [("psam-master", "tdes", None, 16), ("psam-master", "aes-256", None, 32),
          ("card-control", "tdes", None, 16), ("card-control", "aes-256", None, 32),
          ("zone-pin", "tdes", "bank", 16), ("zone-mac", "tdes", "bank", 16), ("zone-data", "tdes", "bank", 16),
          ("zone-pin", "aes-128", "bank", 16), ("zone-mac", "aes-128", "bank", 16),
          ("zone-data", "aes-128", "bank", 16)]


def odd_parity(key):
    return bytes(b & 0xFE | (bin(b >> 1).count("1") + 1) % 2 for b in key)


class Estate:
    """A folder with a token; `keys` holds what was loaded, by role-suite."""

    def __init__(self, token="softhsm", load=True):
        self.dir = tempfile.mkdtemp(prefix="posward-hsm-")
        self.token, self.keys, self.process = token, {}, None
        atexit.register(self.drop)  # also when a set-up fails, after which no tear-down runs
        self.environment = dict(os.environ)
        os.mkdir(f"{self.dir}/token")
        self.secret("pin", PIN)
        self.token_lines = self.new_softhsm() if token == "softhsm" else self.new_nss()
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
        sections["keepers"].setdefault("environment", environment)
        with open(self.config, "w") as f:
            f.write("listen: 127.0.0.1:0\ntls:\n  insecure: true\nmetrics:\n  listen: 127.0.0.1:0\ntoken:\n")
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
        key = bytes(a ^ b for a, b in zip(*parts))
        return odd_parity(key) if suite == "tdes" else key

    # ---- the service ----

    def start(self, wait="serving"):
        self.log_path = f"{self.dir}/log-{time.monotonic_ns()}"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([f"{BIN}/posward-hsm", "--config", self.config], env=self.environment,
                                            stderr=log)
        port = self.wait_log(rf"{wait} .*?\bport=(\d+)").group(1)
        self.port = int(port)
        self.metrics_port = int(re.search(r"metrics_port=(\d+)", self.log()).group(1))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.data, self.control = stubs.DataPlaneStub(self.channel), stubs.ControlStub(self.channel)
        return self

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def wait_log(self, pattern, seconds=START_S):
        until = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.log())
            if found:
                return found
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"no '{pattern}' in the log:\n{self.log()}")
            time.sleep(0.02)

    def status(self):
        return self.control.GetStatus(hsm.GetStatusRequest(), timeout=10)

    def wait_keepers(self, count, seconds=START_S):
        until = time.monotonic() + seconds
        while self.status().keepers != count:
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)

    def keeper_pids(self):
        """Processes that run now as children of the service."""
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z":
                found.append(int(path.split("/")[2]))
        return sorted(found)

    def stop(self):
        """Exit status of an orderly stop."""
        if self.process is None:
            return 0
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
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
