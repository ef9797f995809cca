#!/usr/bin/env python3
"""Tokens with the same keys serve as one. Under load one of them goes - away, hung, crashed, its folder removed - and no
call fails; a token with other keys is kept out, by name of the key; without the last one callers hear UNAVAILABLE."""
import os
import re
import shutil
import signal
import subprocess
import time
import unittest
import urllib.request

import grpc

from hsm_estate import PIN, Estate, Load, hsm, types
from estate import BIN, Estate as Whole, wait_until
from faults import DIE, FAIL, HANG, LOSE, Faults

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
ZONE = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
FIRST, SECOND = "posward", "posward-2"


def signal_keepers(estate, file, text, number=signal.SIGKILL):
    """Those whose `environ` or `cmdline` has the text: of one token."""
    sent = 0
    for pid in estate.keeper_pids():
        with open(f"/proc/{pid}/{file}", "rb") as f:
            if text.encode() in f.read():
                os.kill(pid, number)
                sent += 1
    assert sent > 0, (file, text)


class Replica:
    """A copy of the estate's SoftHSM token in a folder of its own, which a configuration of its own leads to."""

    def __init__(self, estate, name="b"):
        self.dir = f"{estate.dir}/{name}"
        shutil.copytree(f"{estate.dir}/token", f"{self.dir}/token")
        self.conf = f"{self.dir}/softhsm2.conf"
        with open(self.conf, "w") as f:
            f.write(f"directories.tokendir = {self.dir}/token\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.environment = [f"SOFTHSM2_CONF={self.conf}"]
        self.faults = None

    def with_faults(self, estate):
        """Faults of its own beside those of the first token."""
        keep, words = list(estate.token_lines), dict(estate.environment)
        estate.token_lines[0] = f"module: {words['POSWARD_FAULT_MODULE']}"
        own, estate.dir = estate.dir, self.dir
        self.faults = Faults(estate)
        estate.dir, estate.token_lines, estate.environment = own, keep, words
        self.environment.append(f"POSWARD_FAULT_FILE={self.dir}/faults")
        return self

    def line(self, **more):
        rows = {"lock_file": f"{self.dir}/lock", "environment": "[" + ", ".join(self.environment) + "]", **more}
        return "{" + ", ".join(f"{key}: {value}" for key, value in rows.items()) + "}"


class Case(unittest.TestCase):
    def mac(self, timeout=30):
        return self.estate.data.GenerateMac(hsm.GenerateMacRequest(key=ZONE, algorithm=hsm.MAC_ALGORITHM_X9_19,
                                                                   data=b"12345678"), timeout=timeout).mac

    def page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10) as page:
            return page.read().decode()

    def metric(self, name, token=None):
        name += f'{{token="{token}"}}' if token else ""
        return int(float(re.search(rf"^{re.escape(name)} (\S+)$", self.page(), re.M).group(1)))

    def health(self):
        return self.estate.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)

    def wait(self, what, seconds=60):
        wait_until(what, seconds, self.estate.log)

    def up(self, token):
        return self.metric("posward_token_up", token) == 1

    def load(self):
        right = self.mac()
        self.wrong = []
        load = Load(lambda: self.wrong.append(1) if self.mac() != right else None)
        self.addCleanup(load.stop)
        self.wait(lambda: load.done > 50)
        return load

    def no_failure(self, load, more=100):
        count = load.done
        self.wait(lambda: load.done > count + more or load.failures)
        load.stop()
        print(f"\n  {self._testMethodName}: {load.done} calls answered, {len(load.failures)} failed, "
              f"{self.metric('posward_hsm_calls_retried_total')} tried again", flush=True)
        self.assertEqual((self.wrong, load.failures[:5]), ([], []))

    def lose_and_return(self, token, other, lose, bring_back):
        """Under load: without it, and with it again; not one call fails."""
        load = self.load()
        self.wait(lambda: self.up(token) and self.up(other))
        lose()
        begun = time.monotonic()
        self.wait(lambda: not self.up(token))
        seen = time.monotonic() - begun
        self.assertEqual(self.health(), SERVING)
        self.assertEqual(self.metric("posward_hsm_breaker_state"), 0)
        count = load.done
        self.wait(lambda: load.done > count + 200 or load.failures)
        self.assertFalse(self.up(token))
        self.assertTrue(self.up(other))
        bring_back()
        begun = time.monotonic()
        self.wait(lambda: self.up(token) and self.estate.status().keepers == 4)
        print(f"\n  {token} was lost: seen after {seen * 1000:.0f} ms, back {(time.monotonic() - begun) * 1000:.0f} ms "
              "after it was", flush=True)
        self.no_failure(load)


class Pool(Case):
    def setUp(self):
        self.estate = Estate("softhsm")
        self.addCleanup(self.estate.drop)
        self.first = Faults(self.estate)
        self.one_token = list(self.estate.token_lines)

    def replica(self, name="b"):
        return Replica(self.estate, name).with_faults(self.estate)

    def configure(self, *replicas, more=None, **keepers):
        self.estate.token_lines = list(self.one_token)
        if replicas:
            self.estate.token_lines.append("replicas: [" + ", ".join(r.line(**(more or {})) for r in replicas) + "]")
        self.audit = f"{self.estate.dir}/audit"
        self.estate.write_config(audit={"path": self.audit},
                                 keepers={"count": 2, "sessions": 2, "environment": self.first.environment,
                                          "probe_ms": 200, **keepers})

    def start(self, *replicas, keepers=4, **settings):
        self.replicas = replicas
        self.configure(*replicas, **settings)
        self.estate.start()
        self.addCleanup(self.end)
        if keepers:
            self.estate.wait_keepers(keepers)

    def end(self):
        for faults in [self.first, *(r.faults for r in self.replicas)]:
            faults.clear()
        if self.estate.process is not None:
            self.assertEqual(self.estate.stop(), 0)

    # ---- one is lost ----

    def test_token_that_is_away(self):
        b = self.replica()
        self.start(b)
        for faults, token, other in ((self.first, FIRST, SECOND), (b.faults, SECOND, FIRST)):
            with self.subTest(token):
                self.lose_and_return(token, other, lambda: faults.set("away", 1), lambda: faults.set("away", 0))

    def test_token_that_hangs(self):
        b = self.replica()
        self.start(b, hang_ms=1000, start_ms=10000)
        self.lose_and_return(FIRST, SECOND, lambda: self.first.inject("*", HANG, times=-1), self.first.clear)

    def test_token_whose_module_crashes(self):
        b = self.replica()
        self.start(b)
        self.lose_and_return(FIRST, SECOND, lambda: self.first.inject("*", DIE, times=-1), self.first.clear)

    def test_token_that_answers_with_errors(self):
        b = self.replica()
        self.start(b)
        self.lose_and_return(SECOND, FIRST, lambda: b.faults.inject("*", FAIL, times=-1, rv="DEVICE_ERROR"),
                             b.faults.clear)

    def test_folder_that_is_removed(self):
        b = self.replica()
        self.start(b)
        away = f"{b.dir}/moved"

        def lose():
            os.rename(f"{b.dir}/token", away)
            signal_keepers(self.estate, "environ", b.conf)  # what lives has its keys still
        self.lose_and_return(SECOND, FIRST, lose, lambda: os.rename(away, f"{b.dir}/token"))

    def test_one_of_three_is_enough(self):
        b, c = self.replica(), self.replica("c")
        self.start(b, c, keepers=6)
        load = self.load()
        self.first.set("away", 1)
        b.faults.inject("*", LOSE, times=-1)
        self.wait(lambda: not self.up(FIRST) and not self.up(SECOND))
        self.assertTrue(self.up("posward-3"))
        self.no_failure(load, 200)

    def test_service_starts_without_the_first(self):
        b = self.replica()
        self.first.set("away", 1)
        self.start(b, keepers=2)
        self.mac()
        self.assertEqual(self.health(), SERVING)
        self.first.set("away", 0)
        self.estate.wait_keepers(4)

    def test_first_token_that_hangs_holds_the_second_up_for_a_while_only(self):
        b = self.replica()
        self.first.inject("C_OpenSession", HANG, times=-1)
        begun = time.monotonic()
        self.start(b, keepers=2)
        self.mac()
        self.assertLess(time.monotonic() - begun, 30)  # keepers.start_ms is 60 s
        self.first.clear()

    def test_last_token_that_is_lost(self):
        b = self.replica()
        self.start(b)
        self.first.set("away", 1)
        self.wait(lambda: not self.up(FIRST))
        self.mac()
        b.faults.set("away", 1)
        self.wait(lambda: self.health() == NOT_SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            self.mac(timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.wait(lambda: self.metric("posward_hsm_breaker_state") != 0)
        b.faults.set("away", 0)
        self.wait(lambda: self.health() == SERVING)
        self.mac()
        self.assertFalse(self.up(FIRST))
        self.first.set("away", 0)
        self.estate.wait_keepers(4)

    def test_wrong_pin_halts_its_token_only(self):
        b = self.replica()
        pin = self.estate.secret("pin-b", "not-the-pin")
        self.start(b, keepers=2, more={"pin_file": pin})
        self.wait(lambda: "keepers are halted" in self.estate.log())
        logins = b.faults.get("logins")
        self.mac()
        time.sleep(1.5)
        self.assertEqual(b.faults.get("logins"), logins)  # no login is burnt
        self.estate.secret("pin-b", PIN)
        self.estate.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.up(SECOND))

    # ---- other keys ----

    def change(self, replica, *words):
        """A ceremony at the replica alone."""
        own = self.estate.environment
        self.estate.environment = own | dict(v.split("=", 1) for v in replica.environment)
        self.estate.token_lines = list(self.one_token)
        self.estate.write_config(keepers={"environment": self.first.environment})
        try:
            return self.estate.load(*words)
        finally:
            self.estate.environment = own

    def kept_out(self, token=SECOND):
        return self.metric("posward_token_kept_out", token) == 1

    def test_other_key_keeps_a_token_out(self):
        b = self.replica()
        whole = f"{b.dir}/whole"
        shutil.copytree(f"{b.dir}/token", whole)
        self.estate.load("zone-pin", "tdes", "shop", 16)
        self.change(b, "zone-pin", "tdes", "shop", 16)
        self.start(b, keepers=2)
        self.wait(self.kept_out)
        said = re.search(r'token kept out.*', self.estate.log()).group(0)
        self.assertRegex(said, r"key zone-pin/shop/tdes/1 has check value [0-9A-F]{6}, in the tokens that serve [0-9A-F]{6}")
        self.assertFalse(self.up(SECOND))
        self.assertFalse(self.kept_out(FIRST))
        load = self.load()
        self.wait(lambda: self.estate.log().count("keeper ended") > 3)  # it is tried again
        self.assertEqual(self.estate.log().count("token kept out"), 1)  # and told once
        # The first one goes: what was kept out does not take its place.
        self.no_failure(load)
        self.first.set("away", 1)
        self.wait(lambda: self.health() == NOT_SERVING)
        self.estate.process.send_signal(signal.SIGHUP)
        time.sleep(3)
        self.assertFalse(self.up(SECOND))
        with self.assertRaises(grpc.RpcError) as caught:
            self.mac(timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.first.set("away", 0)
        self.wait(lambda: self.up(FIRST))
        # A true copy is let in.
        shutil.rmtree(f"{b.dir}/token")
        shutil.copytree(f"{self.estate.dir}/token", f"{b.dir}/token")
        self.estate.process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.up(SECOND) and not self.kept_out() and self.estate.status().keepers == 4)
        self.assertEqual(self.estate.stop(), 0)
        shown = self.estate.cli("audit", "show", "--log", self.audit, "--what", "token kept out").stdout
        self.assertIn("posward-2: key zone-pin/shop/tdes/1 has check value", shown)
        self.assertIn("CHECK", shown)
        self.estate.cli("audit", "verify", "--log", self.audit, "--public-key", f"{self.audit}/audit-public-key.pem")

    def test_token_that_comes_back_with_other_keys(self):
        """Under a keeper that lives: it finds the token of the same name, and must not work with its keys."""
        b = self.replica()
        other = Estate("softhsm")
        self.addCleanup(other.drop)
        self.start(b)
        load = self.load()
        signal_keepers(self.estate, "environ", b.conf, signal.SIGSTOP)  # or SoftHSM itself sees the exchange
        os.rename(f"{b.dir}/token", f"{b.dir}/whole")
        shutil.copytree(f"{other.dir}/token", f"{b.dir}/token")
        b.faults.inject("*", LOSE, times=2)
        signal_keepers(self.estate, "environ", b.conf, signal.SIGCONT)
        self.wait(self.kept_out)
        count = load.done
        self.wait(lambda: load.done > count + 200 or load.failures)
        os.rename(f"{b.dir}/token", f"{b.dir}/other")
        os.rename(f"{b.dir}/whole", f"{b.dir}/token")
        self.wait(lambda: self.up(SECOND) and not self.kept_out())
        self.no_failure(load)

    def test_missing_and_additional_keys_are_named(self):
        b, c = self.replica(), self.replica("c")
        self.change(c, "zone-mac", "tdes", "shop", 16)
        shutil.rmtree(f"{b.dir}/token")
        shutil.copytree(f"{c.dir}/token", f"{b.dir}/token")
        self.estate.load("zone-data", "tdes", "shop", 16)
        self.start(b, c, keepers=2)
        self.wait(lambda: self.kept_out(SECOND) and self.kept_out("posward-3"))
        self.assertIn("key zone-data/shop/tdes/1 is missing, the tokens that serve have it", self.estate.log())

    def test_generated_keys_differ_by_their_own_value(self):
        """A token that was made by itself: it has an audit key too, and another one."""
        b = self.replica()
        other = Estate("softhsm", load=False)
        self.addCleanup(other.drop)
        other.cli("key", "init", "--hsm-config", other.config)
        shutil.rmtree(f"{b.dir}/token")
        shutil.copytree(f"{other.dir}/token", f"{b.dir}/token")
        self.start(b, keepers=2)
        self.wait(self.kept_out)
        self.assertRegex(self.estate.log(), r"token kept out .*key audit/ec-p256/1 has check value [0-9A-F]{16}, ")

    def test_reload_takes_keys_that_both_tokens_have(self):
        b = self.replica()
        self.start(b)
        load = self.load()
        self.estate.load("zone-pin", "tdes", "shop", 16)
        for name in os.listdir(f"{b.dir}/token"):
            shutil.copytree(f"{self.estate.dir}/token/{name}", f"{b.dir}/token/{name}", dirs_exist_ok=True)
        self.configure(b)  # the ceremony wrote none
        self.estate.process.send_signal(signal.SIGHUP)
        self.wait(lambda: len(re.findall("keeper ready", self.estate.log())) >= 8 and
                  self.estate.status().keepers == 4)
        self.assertFalse(self.kept_out(SECOND) or self.kept_out(FIRST))
        self.assertNotIn("token kept out", self.estate.log())
        keys = self.estate.control.ListKeys(hsm.ListKeysRequest(), timeout=10).keys
        self.assertIn("shop", [k.zone for k in keys])
        self.no_failure(load)


class Nss(Case):
    """The same keys on NSS softoken: a copy of its database."""

    def test_database_that_is_removed(self):
        self.estate = Estate("nss")
        self.addCleanup(self.estate.drop)
        second = f"{self.estate.dir}/b"
        shutil.copytree(f"{self.estate.dir}/token", second)
        words = f"configdir='sql:{second}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        self.estate.token_lines += ["replicas:", f'  - init_string: "{words}"', f"    lock_file: {second}.lock"]
        self.estate.write_config(keepers={"count": 2, "sessions": 2, "probe_ms": 200})
        self.estate.start()
        self.estate.wait_keepers(4)

        def lose():
            os.rename(second, f"{second}.away")
            signal_keepers(self.estate, "cmdline", second)
        first = "NSS Certificate DB"
        self.lose_and_return(first + "-2", first, lose, lambda: (shutil.rmtree(second, ignore_errors=True),
                                                                 os.rename(f"{second}.away", second)))
        self.assertEqual(self.estate.stop(), 0)


class Orders(unittest.TestCase):
    """A key changed in one token would not change in the other."""

    def test_keys_are_not_changed_in_one_of_two(self):
        with Whole("softhsm", secure=True, replica=True) as estate:
            def cli(who, *words):
                return subprocess.run([f"{BIN}/posward", "--config", f"{estate.dir}/{who}.yaml", *words],
                                      capture_output=True, text=True, timeout=60, check=False)
            storage = ("--role", "storage", "--suite", "aes-256")
            for words in (("create", "--role", "zone-data", "--suite", "tdes", "--zone", "new"), ("rotate", *storage),
                          ("deactivate", *storage, "--version", "1", "--break-use")):
                done = cli("posward", "key", *words, "--reason", "a test")
                self.assertNotEqual(done.returncode, 0, words)
                self.assertRegex(done.stderr, "FAILED_PRECONDITION.*take token.replicas out, restart, change keys")
            for words in (("key", "list"), ("key", "transport-keys"), ("token", "report")):
                done = cli("posward", *words)
                self.assertEqual(done.returncode, 0, (words, done.stderr))

            def both_are_up():
                with urllib.request.urlopen(f"http://127.0.0.1:{estate.env['PORT_METRICS_HSM']}/metrics", timeout=10) as page:
                    return len(re.findall(r'(?m)^posward_token_up\{token="posward(-2)?"\} 1$', page.read().decode())) == 2
            wait_until(both_are_up, 60, lambda: "a copy of the estate's token does not serve")


if __name__ == "__main__":
    unittest.main(verbosity=2)
