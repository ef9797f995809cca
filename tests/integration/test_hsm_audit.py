#!/usr/bin/python3
"""The audit log of the HSM service: what it holds, what the token signs, and what stops when it cannot be written."""
import glob
import json
import os
import resource
import signal
import subprocess
import unittest
import urllib.request

import grpc

import proven
import reference as ref
from hsm_estate import PIN, Estate, Load, hsm, refusals_in, types, wait_until

PAN = "6225758326736419"


class Audited:
    """One estate a token; every test starts its own service on it and the one log goes on."""

    @classmethod
    def setUpClass(cls):
        cls.estate = Estate(cls.token, load=False)
        cls.log = f"{cls.estate.dir}/audit"
        cls.configure()
        cls.estate.keys["psam-master-tdes"] = cls.estate.load("psam-master", "tdes", None, 16)
        cls.estate.load("zone-mac", "tdes", "bank", 16)
        cls.estate.cli("key", "init", "--hsm-config", cls.estate.config)

    @classmethod
    def tearDownClass(cls):
        cls.estate.drop()

    @classmethod
    def configure(cls, **audit):
        cls.estate.write_config(keepers={"count": 1}, audit={"path": cls.log, **audit})

    def start(self, **audit):
        self.configure(**audit)
        self.estate.start()
        self.estate.wait_keepers(1)
        self.addCleanup(self.end)

    def end(self):
        if self.estate.process is not None:
            self.assertEqual(self.estate.stop(), 0)

    def verify(self, *words, check=True):
        done = self.estate.cli("audit", "verify", "--log", self.log, "--public-key", f"{self.log}/audit-public-key.pem",
                               *words, "--json", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def records(self, *words):
        return [json.loads(line) for line in
                self.estate.cli("audit", "show", "--log", self.log, *words, "--json").stdout.splitlines()]

    def diversify(self):
        return self.estate.data.DiversifyCardKey(hsm.DiversifyCardKeyRequest(
            psam_number="62010000001234567890", suite=types.SUITE_TDES, challenge=bytes(8)), timeout=20,
            metadata=[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])

    def working_keys(self):
        return hsm.GenerateWorkingKeysRequest(psam_number="62010000001234567890", suite=types.SUITE_TDES,
                                              master_version=1, keys=[hsm.WorkingKeySpec(usage=2)])

    def mac(self):
        return self.estate.data.GenerateMac(hsm.GenerateMacRequest(
            key=hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES)), algorithm=hsm.MAC_ALGORITHM_X9_19,
            data=bytes(16)), timeout=20)

    def page(self):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10).read().decode()

    def metric(self, name):
        return float(next(line for line in self.page().splitlines() if line.startswith(name + " ")).split()[1])

    def test_records_tell_who_did_what(self):
        self.start(use="all")
        self.diversify()
        self.estate.data.GenerateWorkingKeys(self.working_keys(), timeout=20)
        self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=[
            hsm.BatchItem(generate_working_keys=self.working_keys())] * 2), timeout=20)
        self.mac()
        self.estate.data.ResealBlobs(hsm.ResealBlobsRequest(blobs=[b"no blob"] * 3), timeout=20)
        with self.assertRaises(grpc.RpcError) as caught:  # a MAC key's blob where a data key is asked for
            blob = self.estate.data.GenerateWorkingKeys(self.working_keys(), timeout=20).keys[0].blob
            self.estate.data.EncryptData(hsm.EncryptDataRequest(key=hsm.KeyRef(blob=blob), data=bytes(16)), timeout=20)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.end()
        told = self.records()
        events = [(r["kind"], r["what"], r["result"]) for r in told]
        for event in [("ceremony", "load-components: loaded", "OK"), ("ceremony", "key init: made", "OK"),
                      ("service", "start", "OK"), ("service", "stop", "OK"), ("login", "keeper logged in", "OK"),
                      ("key", "key is there", "OK"), ("use", "GenerateWorkingKeys", "OK"), ("use", "GenerateMac", "OK"),
                      ("refusal", "EncryptData", "DENIED")]:
            self.assertIn(event, events)
        self.assertEqual(events.count(("use", "ProcessBatch/GenerateWorkingKeys", "OK")), 2)
        moved = next(r for r in told if r["what"] == "ResealBlobs")
        self.assertEqual(moved["note"], "blobs=3 changed=0 failed=3")
        diversified = next(r for r in told if r["what"] == "DiversifyCardKey")
        self.assertEqual(diversified["trace"], "0af7651916cd43dd8448eb211c80319c")
        self.assertTrue(diversified["key"].startswith("psam-master/tdes/"), diversified)
        self.assertEqual(diversified["grade"], "IN_TOKEN")
        summary = self.verify()
        self.assertGreater(summary["checkpoints"], 1)
        self.assertLessEqual(summary["unsigned"], 1)
        text = json.dumps(told)
        for secret in (PIN, PAN, blob.hex(), blob.hex().upper()):
            self.assertNotIn(secret, text)

    def test_uses_are_recorded_by_class(self):
        self.start(use="none", use_pin="all", use_mac="sampled", sample_every=4)
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        made = {k.usage: k.blob for k in self.estate.data.GenerateWorkingKeys(hsm.GenerateWorkingKeysRequest(
            psam_number="62010000001234567890", suite=types.SUITE_TDES, master_version=1,
            keys=[hsm.WorkingKeySpec(usage=usage) for usage in (1, 2, 3)]), timeout=20).keys}
        before = self.records()[-1]["seq"]
        mac = hsm.GenerateMacRequest(key=zone, algorithm=hsm.MAC_ALGORITHM_X9_19, data=bytes(16))
        data = hsm.EncryptDataRequest(key=hsm.KeyRef(blob=made[3]), data=bytes(16))
        pin = hsm.TranslatePinRequest(source=hsm.KeyRef(blob=made[1]), destination=zone, block=bytes(8),
                                      source_format=hsm.PIN_FORMAT_ISO_0, destination_format=hsm.PIN_FORMAT_ISO_0,
                                      pan=PAN)
        wrong = hsm.EncryptDataRequest(key=hsm.KeyRef(blob=made[2]), data=bytes(16))
        self.estate.data.ProcessBatch(hsm.ProcessBatchRequest(items=[
            *[hsm.BatchItem(generate_mac=mac)] * 6, *[hsm.BatchItem(encrypt_data=data)] * 6,
            hsm.BatchItem(translate_pin=pin), hsm.BatchItem(encrypt_data=wrong)]), timeout=20)
        for _ in range(2):
            self.mac()
        self.estate.data.EncryptData(data, timeout=20)
        page = self.page()
        self.end()
        told = [(r["kind"], r["what"], r["key"]) for r in self.records() if r["seq"] > before]
        count = [(kind, what) for kind, what, _ in told].count
        self.assertEqual(count(("use", "ProcessBatch/GenerateMac")), 2)  # the first and the fifth of eight
        self.assertEqual(count(("use", "GenerateMac")), 0)
        self.assertEqual([what for _, what, _ in told if "EncryptData" in what], ["ProcessBatch/EncryptData"])
        refused = next(r for r in self.records() if r["kind"] == "refusal" and r["what"] == "ProcessBatch/EncryptData")
        self.assertEqual((refused["result"], refused["key"]), ("DENIED", "MAK/62010000001234567890/storage/1"))
        pins = [key for kind, what, key in told if what == "ProcessBatch/TranslatePin"]
        self.assertEqual(len(pins), 1)
        self.assertTrue(pins[0].startswith("PIK/62010000001234567890/storage/1 zone/bank/"), pins)
        for line in ('operation="GenerateMac",code="OK"} 8', 'operation="EncryptData",code="OK"} 7',
                     'operation="EncryptData",code="PERMISSION_DENIED"} 1', 'operation="DiversifyCardKey",code="OK"} 0'):
            self.assertIn("posward_hsm_token_operations_total{" + line + "\n", page)
        self.verify()

    def test_records_say_the_version_that_was_used(self):
        """Of a zone with versions 1 and 2, and one with version 1 alone, no request says which."""
        self.estate.load("card-control", "aes-256", None, 32, version=2)
        for role in ("zone-mac", "zone-data", "zone-pin"):
            self.estate.load(role, "tdes", "two", 16, version=1)
            pin_key = self.estate.load(role, "tdes", "two", 16, version=2)
        self.estate.load("zone-pin", "tdes", "one", 16, version=1)
        self.start(use="all")
        zone, one = (hsm.KeyRef(zone=hsm.ZoneKey(zone=name)) for name in ("two", "one"))
        data = self.estate.data
        before = self.records()[-1]["seq"]
        made = data.GenerateMac(hsm.GenerateMacRequest(key=zone, algorithm=hsm.MAC_ALGORITHM_X9_19, data=bytes(16)), timeout=20)
        mac = hsm.VerifyMacRequest(key=zone, algorithm=hsm.MAC_ALGORITHM_X9_19, data=bytes(16), mac=made.mac)
        pin = hsm.TranslatePinRequest(source=zone, destination=one, pan=PAN, source_format=hsm.PIN_FORMAT_ISO_0,
                                      destination_format=hsm.PIN_FORMAT_ISO_0,
                                      block=ref.des_ecb(pin_key, ref.pin_block_0("1234", PAN)))
        back = hsm.TranslatePinRequest(source=one, destination=zone, pan=PAN, source_format=hsm.PIN_FORMAT_ISO_0,
                                       destination_format=hsm.PIN_FORMAT_ISO_0, block=data.TranslatePin(pin, timeout=20).block)
        track = hsm.DecryptDataRequest(key=zone, data=data.EncryptData(
            hsm.EncryptDataRequest(key=zone, data=bytes(16)), timeout=20).data)
        terminal = proven.Terminal(self.estate)
        purchase = terminal.request(terminal.message(), zone="two")
        forged = terminal.request(terminal.message()[:-8] + bytes(8), track=False, zone="two")
        self.assertTrue(data.VerifyMac(mac, timeout=20).matches)
        self.assertEqual(data.DecryptData(track, timeout=20).data, bytes(16))
        self.assertEqual(data.TranslatePin(back, timeout=20).block, pin.block)
        self.assertTrue(data.ProcessTransaction(purchase, timeout=20).mac.matches)
        self.assertFalse(data.ProcessTransaction(forged, timeout=20).mac.matches)
        none = hsm.EncryptDataRequest(key=hsm.KeyRef(zone=hsm.ZoneKey(zone="none")), data=bytes(8))
        first = hsm.GenerateMacRequest(key=hsm.KeyRef(zone=hsm.ZoneKey(zone="two", version=1)),
                                       algorithm=hsm.MAC_ALGORITHM_X9_19, data=bytes(16))
        data.ProcessBatch(hsm.ProcessBatchRequest(items=[
            hsm.BatchItem(process_transaction=purchase), hsm.BatchItem(encrypt_data=none), hsm.BatchItem(translate_pin=back),
            hsm.BatchItem(generate_mac=first)]), timeout=20)
        card = self.diversify()
        self.end()
        blob = f"/{terminal.psam}/storage/1"
        told = [(r["what"], r["key"]) for r in self.records() if r["seq"] > before and r["kind"] in ("use", "refusal")]
        self.assertEqual(told, [
            ("GenerateMac", "zone/two/2"), ("TranslatePin", "zone/two/2 zone/one/1"), ("EncryptData", "zone/two/2"),
            ("GenerateWorkingKeys", "psam-master/tdes/1"),
            ("VerifyMac", "zone/two/2"), ("DecryptData", "zone/two/2"), ("TranslatePin", "zone/one/1 zone/two/2"),
            ("ProcessTransaction", f"MAK{blob} PIK{blob} zone/two/2 TDK{blob}"),
            ("ProcessTransaction", f"MAK{blob} PIK{blob} zone/two/newest"),  # the MAC was wrong: no PIN key was used
            ("ProcessBatch/ProcessTransaction", f"MAK{blob} PIK{blob} zone/two/2 TDK{blob}"),
            ("ProcessBatch/EncryptData", "zone/none/newest"), ("ProcessBatch/TranslatePin", "zone/one/1 zone/two/2"),
            ("ProcessBatch/GenerateMac", "zone/two/1"),
            ("DiversifyCardKey", f"psam-master/tdes/{card.master_version} card-control/aes-256/2")])
        self.verify()

    def test_a_call_over_the_limit_is_recorded(self):
        self.estate.write_config(keepers={"count": 1}, audit={"path": self.log}, limits={"max_in_flight": 1})
        self.estate.start()
        self.addCleanup(self.end)
        load = Load(self.mac, clients=4)
        wait_until(lambda: load.failures, 20)
        load.stop()
        self.assertEqual({code for code, _ in load.failures}, {grpc.StatusCode.RESOURCE_EXHAUSTED})
        self.end()
        refused = [r for r in self.records("--kind", "refusal") if r["result"] == "LIMIT"]
        self.assertEqual(sum(map(refusals_in, refused)), len(load.failures))
        self.assertEqual(refused[0]["what"], "/posward.hsm.v1.DataPlane/GenerateMac")
        self.verify()

    def test_openssl_agrees_with_the_signature(self):
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        with open(f"{self.log}/audit-public-key.pem", "rb") as file:
            key = serialization.load_pem_public_key(file.read())
        note = dict(word.split("=") for word in self.records("--kind", "checkpoint")[-1]["note"].split())
        sig = bytes.fromhex(note["sig"])
        der = utils.encode_dss_signature(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
        key.verify(der, f"posward audit checkpoint 1\n{note['at']}\n{note['hash']}\n".encode(), ec.ECDSA(hashes.SHA256()))

    def test_a_full_disk_stops_making_keys_and_nothing_else(self):
        self.start(checkpoint_seconds=3600)
        self.diversify()
        pid = self.estate.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for _ in range(3):
            with self.assertRaises(grpc.RpcError) as caught:
                self.diversify()
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertIn("audit log cannot be written", caught.exception.details())
        self.mac()
        self.assertGreater(self.metric("posward_audit_write_failures_total"), 0)
        self.assertGreater(self.metric("posward_audit_lag_records"), 0)
        self.assertGreater(self.metric("posward_audit_lag_seconds"), 0)
        self.assertEqual(self.metric("posward_audit_writable"), 0)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: self.metric("posward_audit_lag_records") == 0, 20)
        self.diversify()
        self.end()
        self.verify()

    def test_a_disk_that_is_really_full(self):
        """A file system of its own, as small as they get, beside the log of the other tests."""
        disk = f"{self.estate.dir}/disk"
        os.makedirs(disk, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True,
                          check=False).returncode != 0:
            self.skipTest("no file system can be mounted here; a limit of files stands for it in another test")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=True)
        self.estate.write_config(keepers={"count": 1}, audit={"path": f"{disk}/audit", "use": "none", "use_mac": "all"})
        self.estate.start()
        self.estate.wait_keepers(1)
        self.addCleanup(self.end)
        self.diversify()
        self.mac()
        filler = open(f"{disk}/filler", "wb", buffering=0)
        self.addCleanup(filler.close)
        for size in (4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                pass
        free = os.statvfs(disk).f_bavail
        self.assertEqual(free, 0)

        def refused(call):
            """The room that is left in the last page of the log goes first."""
            try:
                call()
            except grpc.RpcError as failure:
                self.assertEqual(failure.code(), grpc.StatusCode.UNAVAILABLE)
                self.assertIn("audit log cannot be written", failure.details())
                return True
            return False
        wait_until(lambda: refused(self.diversify), 60)
        self.assertTrue(refused(self.diversify))
        self.assertTrue(refused(self.mac))  # use_mac: all
        made = hsm.DecryptDataRequest(key=hsm.KeyRef(blob=b"none"), data=bytes(16))
        with self.assertRaises(grpc.RpcError) as caught:  # goes on, and to the keeper, which knows no such blob
            self.estate.data.DecryptData(made, timeout=20)
        self.assertNotEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.metric("posward_audit_writable"), 0)
        failures = self.metric("posward_audit_write_failures_total")
        wait_until(lambda: self.metric("posward_audit_write_failures_total") > failures + 3, 60)
        self.assertEqual(self.estate.log().count("audit log cannot be written: sensitive operations"), 1)
        os.truncate(filler.fileno(), 0)
        wait_until(lambda: self.metric("posward_audit_writable") == 1, 60)
        self.assertEqual(self.estate.log().count("the audit log is written again"), 1)
        self.diversify()
        self.mac()
        self.end()
        self.estate.cli("audit", "verify", "--log", f"{disk}/audit", "--public-key",
                        f"{disk}/audit/audit-public-key.pem", "--unsigned-most", "1")

    def test_a_full_disk_stops_a_ceremony(self):
        def no_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
        self.configure()
        before = self.verify()["lastSeq"]
        done = self.estate.cli("key", "init", "--hsm-config", self.estate.config, "--zone", "other", check=False,
                               preexec_fn=no_room, restore_signals=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("audit log cannot be written", done.stderr)
        self.assertEqual(self.verify()["lastSeq"], before)

    def test_a_wrong_pin_is_recorded(self):
        self.configure()
        self.estate.secret("pin", "not-the-pin")
        try:
            self.estate.cli("key", "init", "--hsm-config", self.estate.config, check=False)
            self.estate.start()
            self.addCleanup(self.end)
            self.estate.wait_log("keepers are halted")
        finally:
            self.estate.secret("pin", PIN)
        self.end()
        told = [(r["kind"], r["what"], r["result"]) for r in self.records()]
        self.assertIn(("ceremony", "the token was not opened", "UNAUTHENTICATED"), told)
        self.assertIn(("login", "keeper could not start", "UNAUTHENTICATED"), told)
        self.assertNotIn("not-the-pin", json.dumps(self.records()))
        self.verify()

    def test_a_kill_loses_no_answered_key_and_a_cut_line_is_told(self):
        self.start()
        for _ in range(5):
            self.diversify()
        self.estate.process.kill()
        self.estate.process.wait()
        self.estate.process = None
        self.assertGreaterEqual(len(self.records("--what", "DiversifyCardKey")), 5)
        newest = sorted(glob.glob(f"{self.log}/audit-*.log"))[-1]
        with open(newest, "ab") as file:
            file.write(b'{"seq":99999,"time":"20')
        torn = self.verify(check=False)
        self.assertIn("cut within", torn)
        self.start()
        self.end()
        self.assertEqual(self.verify()["torn"], 1 + getattr(self, "torn_before", 0))

    def test_rotation_carries_the_chain(self):
        before = len(glob.glob(f"{self.log}/audit-*.log"))
        self.start(rotate_bytes=4096, use="all")
        for _ in range(60):
            self.mac()
        self.end()
        files = sorted(glob.glob(f"{self.log}/audit-*.log"))
        self.assertGreater(len(files), before + 3)
        summary = self.verify()
        self.assertEqual(summary["files"], len(files))
        last = ("--expect-seq", str(summary["lastSeq"]), "--expect-hash", summary["lastHash"])
        self.verify(*last)
        os.rename(files[-1], self.estate.dir + "/aside")
        self.assertIn("truncated", self.verify(*last, check=False))
        os.rename(self.estate.dir + "/aside", files[-1])
        os.rename(files[-2], self.estate.dir + "/aside")
        self.assertIn("is missing", self.verify(check=False))
        os.rename(self.estate.dir + "/aside", files[-2])
        self.verify(*last)

    def test_a_ceremony_beside_the_service_keeps_the_chain(self):
        self.start(use="all")
        for _ in range(3):
            self.mac()
            self.estate.cli("key", "init", "--hsm-config", self.estate.config)
        self.estate.load("psam-master", "tdes", None, 16, version=200)
        self.estate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(r["key"] == "psam-master/tdes/200" for r in self.records("--kind", "key")), 30)
        second = subprocess.run([f"{self.estate_bin()}/posward-hsm", "--config", self.estate.config],
                                env=self.estate.environment, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another service", second.stderr)
        self.end()
        self.verify()

    @staticmethod
    def estate_bin():
        from hsm_estate import BIN
        return BIN


class SoftHsm(Audited, unittest.TestCase):
    token = "softhsm"


class Nss(Audited, unittest.TestCase):
    token = "nss"


if __name__ == "__main__":
    unittest.main()
