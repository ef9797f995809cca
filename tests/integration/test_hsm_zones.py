#!/usr/bin/python3
"""Which identity may do what with whose keys: a client that is not ours walks method x identity x zone of a running service over
mTLS, call by call and in batches. What is refused names what is missing, stands in the audit log and never reaches a keeper."""
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest
import urllib.request

import grpc

import proven
import reference as ref
from estate import SOURCE, wait_until
from hsm_estate import Estate, hsm, refusals_in, stubs, types
from posp_estate import PAN, PIN

# identity -> what its item of `roles` says besides role posp
GRANTS = {
    "posp": "",
    "posp2": "zones: [bank]",
    "bank": "zones: [bank], may: [zone-mac, zone-data]",
    "host": 'zones: [acquirer, bank], pin_pairs: ["acquirer>bank"]',
    "tools": "may: [translate-pin, verify-mac, decrypt-data, encrypt-data, any-mac]",
    "none": "may: []",
}
DATA_PLANE = "/posward.hsm.v1.DataPlane/"
BATCHED = {"GenerateMac": "generate_mac", "VerifyMac": "verify_mac", "TranslatePin": "translate_pin", "EncryptData": "encrypt_data",
           "DecryptData": "decrypt_data", "ProcessTransaction": "process_transaction", "GenerateWorkingKeys": "generate_working_keys"}

# After the head of hsm.proto: what the refusal names, by identity in the order of GRANTS; "": it is done.
ACQUIRER, DENIED = "zone acquirer: add it to zones", (grpc.StatusCode.PERMISSION_DENIED.value[0], None)
BLOCK = ref.pin_block_0(PIN, PAN)
OF_ZONES = {"GenerateMac": "zone-mac", "VerifyMac": "zone-mac", "EncryptData": "zone-data", "DecryptData": "zone-data"}
POSP, TOOLS, BANK = (lambda right, who=who: tuple("" if done else right for done in who)  # whose `may` has it
                     for who in ((1, 1, 0, 1, 0, 0), (0, 0, 0, 0, 1, 0), (0, 0, 1, 0, 0, 0)))
TABLE = {  # (method, what it works with) -> who may
    ("DiversifyCardKey", "card"): POSP("card-key"),
    ("GenerateWorkingKeys", "card"): POSP("working-keys"),
    ("ResealBlobs", "blob"): POSP("reseal"),
    ("ReportKeyUse", "nothing"): POSP("report-use"),
    **{("ProcessTransaction", of): POSP("transaction") for of in ("bank", "no PIN")},
    ("ProcessTransaction", "acquirer"): ("", ACQUIRER, "transaction", "", "transaction", "transaction"),
    **{("GenerateMac", f"blob {mti}"): ("", "", "answer-mac", "", "", "answer-mac") for mti in ("0210", "0410", "0330")},
    **{("GenerateMac", f"blob {mti}"): TOOLS("any-mac") for mti in ("0200", "0400", "0320", "1210", "02")},
    ("VerifyMac", "blob"): TOOLS("verify-mac"),
    **{("TranslatePin", of): TOOLS("translate-pin") for of in ("blob>bank", "blob>acquirer")},
    ("TranslatePin", "acquirer>bank"): ("acquirer>bank", ACQUIRER, ACQUIRER, "", "acquirer>bank", "acquirer>bank"),
    ("TranslatePin", "bank>acquirer"): ("bank>acquirer", ACQUIRER, ACQUIRER, *["bank>acquirer"] * 3),
    **{("TranslatePin", of): ("refused to everyone",) * 6 for of in ("bank>blob", "blob>blob")},
    ("EncryptData", "blob"): TOOLS("encrypt-data"),
    ("DecryptData", "blob"): TOOLS("decrypt-data"),
    **{(method, "bank"): BANK(right) for method, right in OF_ZONES.items()},
    **{(method, "acquirer"): (right, right, ACQUIRER, right, right, right) for method, right in OF_ZONES.items()},
}


class Zones(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = estate = Estate(load=False)  # which drops itself at the end
        cls.pki, cls.audit = f"{estate.dir}/pki", f"{estate.dir}/audit"
        subprocess.run([f"{SOURCE}/deploy/pki", cls.pki, "hsm", "operator", *GRANTS], check=True, capture_output=True)
        cls.configure(GRANTS)
        estate.keys["psam-master-tdes"] = estate.load("psam-master", "tdes", None, 16)
        estate.load("card-control", "aes-256", None, 32)
        for zone in ("bank", "acquirer"):
            for role in ("zone-pin", "zone-mac", "zone-data"):
                estate.keys[f"{role}-{zone}"] = estate.load(role, "tdes", zone, 16)
        estate.cli("key", "init", "--hsm-config", estate.config)

    @classmethod
    def configure(cls, grants):
        cls.estate.write_config(keepers={"count": 1}, audit={"path": cls.audit}, keymgmt={"path": f"{cls.estate.dir}/keymgmt.db"})
        rows = "".join(f"  - {{identity: spiffe://posward/{who}, roles: posp{', ' * bool(more)}{more}}}\n"
                       for who, more in grants.items())
        path = pathlib.Path(cls.estate.config)
        text = path.read_text(encoding="utf-8").replace(
            "  insecure: true\n", f"  ca: {cls.pki}/ca.pem\n  cert: {cls.pki}/hsm.pem\n  key: {cls.pki}/hsm.key\n")
        path.write_text(f"{text}roles:\n  - {{identity: spiffe://posward/operator, roles: operator}}\n{rows}", encoding="utf-8")

    def channel(self, who, port):
        parts = [pathlib.Path(self.pki, name).read_bytes() for name in ("ca.pem", f"{who}.key", f"{who}.pem")]
        channel = grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(*parts),
                                      [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def setUp(self):
        self.configure(GRANTS)
        self.estate.start()
        self.addCleanup(self.estate.stop)
        self.estate.control = stubs.ControlStub(self.channel("operator", self.estate.control_port))
        self.estate.wait_keepers(1)
        self.stubs = {who: stubs.DataPlaneStub(self.channel(who, self.estate.port)) for who in GRANTS}
        self.terminal = proven.Terminal(self.estate, data=self.stubs["posp"])
        self.refused, self.before = collections.Counter(), max(r["seq"] for r in self.records())

    def records(self, *words):
        return [json.loads(line) for line in
                self.estate.cli("audit", "show", "--log", self.audit, *words, "--json").stdout.splitlines()]

    def case(self, method, of):
        """A row's request, and what is right of its answer."""
        makers = {"Mac": self.mac, "Pin": self.pin, "cryptData": self.crypt, "Transaction": self.transaction}
        return next((makers[word] for word in makers if word in method), self.simple)(method, of)

    def simple(self, method, _):
        card = {"psam_number": self.terminal.psam, "suite": types.SUITE_TDES}
        return {"DiversifyCardKey": (hsm.DiversifyCardKeyRequest(**card, challenge=bytes(8)), lambda a: a.tmk_blob),
                "GenerateWorkingKeys": (hsm.GenerateWorkingKeysRequest(**card, master_version=1, keys=[{"usage": 1}]), lambda a: a.keys),
                "ResealBlobs": (hsm.ResealBlobsRequest(blobs=[self.terminal.blobs["mak"]]), lambda a: a.results[0].status == 0),
                "ReportKeyUse": (hsm.ReportKeyUseRequest(), lambda a: True)}[method]

    def key(self, name, of):
        """(reference, key) of a zone, or of the terminal's blob."""
        if of.startswith("blob"):
            name = {"pin": "pik", "mac": "mak", "data": "tdk"}[name]
            return self.terminal.ref(name), self.terminal.keys[name]
        return hsm.KeyRef(zone=hsm.ZoneKey(zone=of, suite=types.SUITE_TDES)), self.estate.keys[f"zone-{name}-{of}"]

    def mac(self, method, of):
        (reference, key), blob = self.key("mac", of), of.startswith("blob")
        start = bytes.fromhex(of[5:] if of[5:] and blob else "0200")
        data = start + bytes(14 * (len(start) > 1))
        mac = ref.unionpay_mac(key, data) if blob else ref.alg3_mac(key, data)
        fields = {"key": reference, "data": data, "algorithm": hsm.MAC_ALGORITHM_UNIONPAY_ECB if blob else hsm.MAC_ALGORITHM_X9_19}
        if method == "GenerateMac":
            return hsm.GenerateMacRequest(**fields), lambda a: a.mac == mac
        return hsm.VerifyMacRequest(**fields, mac=mac), lambda a: a.matches

    def crypt(self, method, of):
        (reference, key), clear = self.key("data", of), bytes(range(16))
        enciphered = ref.des_ecb(key, clear)
        if method == "EncryptData":
            return hsm.EncryptDataRequest(key=reference, data=clear), lambda a: a.data == enciphered
        return hsm.DecryptDataRequest(key=reference, data=enciphered), lambda a: a.data == clear

    def pin(self, _, of):
        (source, key), (destination, other) = (self.key("pin", end) for end in of.split(">"))
        return (hsm.TranslatePinRequest(source=source, destination=destination, source_format=1, destination_format=1, pan=PAN,
                                        block=ref.des_ecb(key, BLOCK)), lambda a: a.block == ref.des_ecb(other, BLOCK))

    def transaction(self, _, of):
        pin = of != "no PIN" and ref.des_ecb(self.key("pin", of)[1], BLOCK)
        return (self.terminal.request(self.terminal.message(), pin=bool(pin), zone=of),
                lambda a: a.mac.matches and (not pin or a.pin.block == pin))

    def call(self, who, method, of, missing):
        request, is_right = self.case(method, of)
        try:
            self.assertTrue(is_right(getattr(self.stubs[who], method)(request, timeout=30)))
            self.assertEqual("", missing, "was done")
        except grpc.RpcError as failure:
            self.assertEqual(failure.code(), grpc.StatusCode.PERMISSION_DENIED, failure.details())
            self.refused[f"spiffe://posward/{who}", DATA_PLANE + method, failure.details()] += 1
            self.check_note(failure.details(), method, missing)

    def check_note(self, note, method, missing):
        self.assertNotEqual(missing, "", note)
        self.assertIn(method, note)
        self.assertRegex(note, rf"(?<![\w-]){re.escape(missing)}(?![\w-])")

    def operations(self, code=r"\w+"):
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10).read().decode()
        found = re.findall(rf'^posward_hsm_token_operations_total{{operation="(\w+)",code="{code}"}} (\d+)$', page, re.M)
        return sum((collections.Counter({kind: int(count)}) for kind, count in found), collections.Counter())

    def check_log(self):
        """Every refusal that a caller got, and no other: none is a keeper's, which stands under the method alone."""
        self.assertEqual(self.estate.stop(), 0)
        told = collections.Counter()
        for record in (r for r in self.records("--kind", "refusal") if r["seq"] > self.before):
            self.assertEqual(record["result"], "DENIED")
            note = re.sub(r"^and [\d,]+ more in \d+ s: ", "", record["note"])
            told[record["who"], record["what"], note] += refusals_in(record)
        self.assertEqual(told, self.refused)

    def test_call_by_call(self):
        before, done = self.operations(), collections.Counter()
        for (method, of), row in TABLE.items():
            for who, missing in zip(GRANTS, row):
                for _ in range(2):  # the second refusal is joined to the first
                    with self.subTest(who=who, method=method, of=of):
                        self.call(who, method, of, missing)
                    done[method] += missing == "" and method != "ReportKeyUse"
        self.assertEqual(self.operations() - before, +done, "on the token, with whatever outcome")
        self.check_log()

    def batch(self, rows):
        """One batch with all rows an identity."""
        before, done = self.operations("OK"), collections.Counter()
        for n, who in enumerate(GRANTS):
            cases = [self.case(*key) for key in rows]
            results = self.stubs[who].ProcessBatch(hsm.ProcessBatchRequest(items=[
                hsm.BatchItem(**{BATCHED[method]: request}) for (method, _), (request, _) in zip(rows, cases)]), timeout=60).results
            notes = []
            for (method, of), (_, is_right), result in zip(rows, cases, results, strict=True):
                missing, kind = TABLE[method, of][n], result.WhichOneof("result")
                with self.subTest(who=who, method=method, of=of):
                    self.assertEqual((result.status, kind), DENIED if missing else (0, BATCHED[method]), result.message)
                    if missing:
                        self.check_note(result.message, method, missing)
                    else:
                        self.assertTrue(is_right(getattr(result, kind)))
                done[method] += missing == ""
                notes += [result.message] if missing else []
            if notes:  # one record a batch
                note = notes[0] + f"; {len(notes)} items of this batch" * (len(notes) > 1)
                self.refused[f"spiffe://posward/{who}", f"{DATA_PLANE}ProcessBatch", note] += 1
        self.assertEqual(self.operations("OK") - before, +done)
        self.check_log()

    def test_items_of_a_batch(self):
        self.batch([key for key in TABLE if key[0] in BATCHED and key[0] != "GenerateWorkingKeys"])

    def test_refused_making_of_keys_leaves_the_rest_of_a_batch(self):
        self.batch([("GenerateWorkingKeys", "card"), ("GenerateMac", "blob 0210"), ("GenerateMac", "bank")])

    def hang_up(self, grants, line="roles are read again"):
        self.configure(grants)
        count = self.estate.log().count(line)
        os.kill(self.estate.process.pid, signal.SIGHUP)
        wait_until(lambda: self.estate.log().count(line) > count, state=self.estate.log)

    def test_changed_grants_are_followed_at_once(self):
        self.call("none", "GenerateMac", "bank", "zone-mac")
        self.call("host", "TranslatePin", "acquirer>bank", "")
        self.call("posp", "ProcessTransaction", "acquirer", "")
        changed = {**GRANTS, "none": "may: [zone-mac]", "posp": "zones: [bank]",
                   "host": 'zones: [acquirer, bank], pin_pairs: ["bank>acquirer"]'}
        self.hang_up(changed)
        for _ in range(2):
            self.call("none", "GenerateMac", "bank", "")
            self.call("none", "EncryptData", "bank", "zone-data")
            self.call("host", "TranslatePin", "acquirer>bank", "acquirer>bank")
            self.call("host", "TranslatePin", "bank>acquirer", "")
            self.call("posp", "ProcessTransaction", "acquirer", ACQUIRER)
            self.call("posp", "ProcessTransaction", "bank", "")
            self.hang_up({**GRANTS, "none": "may: [zone-mca]"}, "'zone-mca' is no right")  # what is wrong changes nothing
        self.check_log()


if __name__ == "__main__":
    unittest.main(verbosity=2)
