#!/usr/bin/python3
"""A client that is not ours, with a certificate of each role, calls every method of every service: exactly what the table
below allows passes the gate. The table is written after the policy, not after the C tables, and must name every method."""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import grpc
from google.protobuf import descriptor_pb2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import prometheus_text  # noqa: E402

SOURCE, BUILD = os.environ["POSWARD_SOURCE"], os.environ["POSWARD_BUILD"]
BIN = os.path.join(BUILD, "bin")
ROLES = ("issuer", "posp", "posv", "operator", "auditor", "monitor")
LOOKERS = {"operator", "auditor", "monitor"}
WRITERS = {"operator", "issuer"}
REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
REFLECTION = [f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1", "v1alpha")]
HEALTH = "/grpc.health.v1.Health/Check"

# By port: the HSM service has two, all other services have one.
POLICY = {
    "hsm": {
        "/posward.hsm.v1.DataPlane/": {
            **dict.fromkeys(("DiversifyCardKey", "GenerateWorkingKeys", "GenerateMac", "VerifyMac", "TranslatePin",
                             "EncryptData", "DecryptData", "ProcessTransaction", "ProcessBatch",
                             "ResealBlobs"), {"posp"}),
            "ReportKeyUse": {"posp"}, "Echo": {"posp", "operator", "monitor"}, "GetStatus": LOOKERS | {"posp"}}},
    "hsm_control": {
        "/posward.hsm.v1.Control/": {"GetTokenReport": LOOKERS, "ListKeys": {"operator", "auditor"}, "GetStatus": LOOKERS},
        "/posward.hsm.v1.KeyManagement/": {
            **dict.fromkeys(("Propose", "Approve", "Reject", "SubmitComponent"), {"operator"}),
            **dict.fromkeys(("GetTransportKeys", "GetProposal", "ListProposals", "GetKey", "GetPolicy",
                             "ListDestroyedKeys"),
                            {"operator", "auditor"})}},
    "posp": {
        "/posward.posp.v1.CardKeys/": {"RequestCardKey": {"issuer"}, "ConfirmCardKey": {"issuer"},
                                       "GetCard": {"issuer", "operator", "auditor"}},
        "/posward.posp.v1.Operations/": {"GetStatus": LOOKERS, "ListTransactions": {"operator", "auditor"},
                                            "ResealStore": {"operator"}}},
    "posv": {
        "/posward.posv.v1.Registry/": {
            **dict.fromkeys(("RegisterDevice", "ReplaceCard", "SuspendDevice", "ResumeDevice", "RetireDevice"), WRITERS),
            **dict.fromkeys(("GetDevice", "ListDevices"), LOOKERS | {"issuer"}),
            "WatchDevices": {"posp"}, "GetStatus": LOOKERS | {"posp"}}},
    "bank": {
        "/posward.business.v1.Business/": {"Authorize": {"posp"}, "Reverse": {"posp"}, "GetStatus": LOOKERS | {"posp"}}},
}
TABLE = {service: {**{prefix + name: roles for prefix, methods in groups.items() for name, roles in methods.items()},
                   **dict.fromkeys(REFLECTION, LOOKERS)} for service, groups in POLICY.items()}
DAEMONS = ("hsm", "posp", "posv", "bank")
STREAMS = {"/posward.posv.v1.Registry/WatchDevices", "/posward.posp.v1.Operations/ResealStore"}

# What the HSM service's identities of role posp may be granted (hsm-service/front/rights.c).
RIGHTS = ("card-key", "working-keys", "transaction", "answer-mac", "any-mac", "verify-mac", "translate-pin", "encrypt-data",
          "decrypt-data", "zone-mac", "zone-data", "reseal", "report-use")

# certificate -> the roles that its identity has here
HOLDERS = {**{role: {role} for role in ROLES}, "both": {"issuer", "monitor"}, "named": {"operator"}, "hsm": set(),
           "stranger": set()}


def served_methods():
    """What the .proto files say, by service."""
    with tempfile.NamedTemporaryFile() as out:
        files = [os.path.relpath(path, f"{SOURCE}/proto") for path in glob.glob(f"{SOURCE}/proto/posward/*/v1/*.proto")]
        subprocess.run(["protoc", "-I", f"{SOURCE}/proto", f"--descriptor_set_out={out.name}", *files], check=True)
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    return {f"/{file.package}.{service.name}/{method.name}": method.server_streaming
            for file in found.file for service in file.service for method in service.method}


def openssl_leaf(folder, name, subject, extension=""):
    """A leaf of the estate's authority that deploy/pki would not make."""
    script = """set -e; cd "$1"
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$2.key" -out "$2.csr"
        printf '%s\\n' "extendedKeyUsage=clientAuth" $4 >"$2.ext"
        openssl x509 -req -in "$2.csr" -CA ca.pem -CAkey ca.key -set_serial 77 -days 1 -extfile "$2.ext" -out "$2.pem" """
    subprocess.run(["bash", "-c", script, "bash", folder, name, subject, extension], check=True, capture_output=True)


class Estate:
    """deploy/estate --tls, with every role granted at every service."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="posward-roles.")
        os.rmdir(self.dir)
        self.tool("new", "--tls", "--bin", BIN)
        self.pki = f"{self.dir}/pki"
        subprocess.run([f"{SOURCE}/deploy/pki", self.pki, *ROLES, "both", "stranger"], check=True)
        self.odd_leaves()
        os.mkdir(f"{self.dir}/foreign")
        subprocess.run([f"{SOURCE}/deploy/pki", f"{self.dir}/foreign", "posp"], check=True)
        with open(f"{self.dir}/env", encoding="ascii") as file:
            self.env = dict(line.strip().split("=", 1) for line in file)
        rows = [(f"spiffe://posward/{name}" if name != "named" else name, roles) for name, roles in HOLDERS.items() if roles]
        grants = "roles:\n" + "".join(f"  - identity: {who}\n    roles: {', '.join(sorted(what))}\n" for who, what in rows)
        for service in DAEMONS:
            # Walked here is the table of methods: at the HSM service role posp has every right.
            may = f"    may: [{', '.join(RIGHTS)}]\n" if service == "hsm" else ""
            self.edit(service, r"^roles:\n(?:  .*\n)*", grants.replace("roles: posp\n", "roles: posp\n" + may))

    def odd_leaves(self):
        openssl_leaf(self.pki, "named", "/CN=named")
        openssl_leaf(self.pki, "nameless", "/O=somebody")
        openssl_leaf(self.pki, "posing", "/CN=spiffe:\\/\\/posward\\/posp")

    def edit(self, service, pattern, text):
        path = f"{self.dir}/{service}.yaml"
        with open(path, encoding="utf-8") as file:
            old = file.read()
        new, count = re.subn(pattern, text, old, flags=re.M)
        assert count == 1, (pattern, old)
        with open(path, "w", encoding="utf-8") as file:
            file.write(new)
        return old

    def tool(self, command, *words):
        subprocess.run([f"{SOURCE}/deploy/estate", command, "--dir", self.dir, *words], check=True,
                       stdin=subprocess.DEVNULL, timeout=180)

    def port(self, service):
        return self.env[f"PORT_{service.upper()}"]

    def read(self, name):
        with open(f"{self.dir}/{name}", "rb") as file:
            return file.read()

    def channel(self, service, who):
        """who: a certificate's name; None: no certificate; "foreign": of an authority nobody knows."""
        folder, name = ("foreign", "posp") if who == "foreign" else ("pki", who)
        pair = (self.read(f"{folder}/{name}.key"), self.read(f"{folder}/{name}.pem")) if who else (None, None)
        return grpc.secure_channel(f"127.0.0.1:{self.port(service)}",
                                   grpc.ssl_channel_credentials(self.read("pki/ca.pem"), *pair),
                                   [("grpc.use_local_subchannel_pool", 1)])

    def page(self, service):
        service = service.removesuffix("_control")  # both ports are on one page
        with urllib.request.urlopen(f"http://127.0.0.1:{self.env['PORT_METRICS_' + service.upper()]}/metrics") as page:
            text = page.read().decode()
        prometheus_text.parse(text)  # with roles and certificates in use, it is well-formed too
        return text

    def metric(self, service, name):
        return int(float(re.search(rf"^{re.escape(name)} (\S+)$", self.page(service), re.M).group(1)))

    def log(self, service):
        return self.read(f"log/{service.removesuffix('_control')}.log").decode()

    def drop(self):
        self.tool("down")
        shutil.rmtree(self.dir, ignore_errors=True)


def call(channel, path, seconds=20):
    """(status, note) of one call with an empty request; a stream counts as OK once it runs."""
    try:
        if path in REFLECTION:
            next(channel.stream_stream(path)(iter([b"\x3a\x00"]), timeout=seconds))  # list_services: ""
        elif path in STREAMS:
            # The feed starts with a message at once, or stays silent, which is not a refusal either.
            next(channel.unary_stream(path)(b"", timeout=1))
        else:
            channel.unary_unary(path)(b"", timeout=seconds)
    except grpc.RpcError as failure:
        return failure.code(), failure.details()
    return grpc.StatusCode.OK, ""


class Roles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate()
        cls.addClassCleanup(cls.estate.drop)
        cls.estate.tool("start")

    def walk(self, service, who):
        with self.estate.channel(service, who) as channel:
            return {path: call(channel, path) for path in TABLE[service]}

    def test_table_names_every_method(self):
        methods = served_methods()
        self.assertEqual(set(methods), {path for table in TABLE.values() for path in table} - set(REFLECTION))
        self.assertEqual({path for path, streams in methods.items() if streams}, STREAMS)

    def test_every_role_passes_exactly_where_the_table_says(self):
        for service, table in TABLE.items():
            before = {path: self.estate.metric(service, self.counter(path, "denied")) for path in table}
            refusals = dict.fromkeys(table, 0)
            for who, roles in HOLDERS.items():
                for path, (code, note) in self.walk(service, who).items():
                    with self.subTest(service=service, who=who, path=path):
                        useful = roles & set().union(*table.values())
                        self.check(who, roles if useful else set(), path, table[path], code, note)
                    refusals[path] += code in REFUSED
            for path in table:
                self.assertEqual(self.estate.metric(service, self.counter(path, "denied")) - before[path],
                                 refusals[path], path)

    def check(self, who, roles, path, allowed, code, note):
        if roles & allowed:
            self.assertNotIn(code, REFUSED + (grpc.StatusCode.UNIMPLEMENTED,), note)
            self.assertFalse(code == grpc.StatusCode.UNAVAILABLE and "handshake" in note.lower(), note)
            return
        if not roles:  # none that serves for something on this port: not even connected
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE, note)
            return
        self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED, note)
        identity = who if who == "named" else f"spiffe://posward/{who}"
        for part in (identity, path[:64], *allowed):
            self.assertIn(part, note)

    @staticmethod
    def counter(path, reason):
        return f'posward_refusals_total{{method="{path[1:]}",reason="{reason}"}}'

    def test_a_certificate_without_a_name_is_nobody(self):
        for who in ("nameless", "posing"):
            for service in TABLE:
                for path, (code, note) in self.walk(service, who).items():
                    with self.subTest(who=who, path=path):
                        self.assertEqual(code, grpc.StatusCode.UNAVAILABLE, note)

    def test_no_certificate_or_a_foreign_one_does_not_connect(self):
        for who in (None, "foreign"):
            for service in TABLE:
                with self.estate.channel(service, who) as channel:
                    for path in [HEALTH, *TABLE[service]]:
                        with self.subTest(who=who, path=path):
                            self.assertEqual(call(channel, path)[0], grpc.StatusCode.UNAVAILABLE)

    def test_health_is_open_to_every_role_and_nobody_else_gets_through_the_handshake(self):
        refused = "posward_tls_peers_refused_total"
        for service in TABLE:
            for who in ROLES:
                with self.estate.channel(service, who) as channel:
                    code = call(channel, HEALTH)[0]
                useful = who in set().union(*TABLE[service].values())  # else it has nothing to connect for
                self.assertEqual(code, grpc.StatusCode.OK if useful else grpc.StatusCode.UNAVAILABLE, (service, who))
            for who in ("stranger", "nameless"):
                before = self.estate.metric(service, refused)
                time.sleep(1.1)  # past the other tests' share of lines
                with self.estate.channel(service, who) as channel:
                    self.assertEqual(call(channel, HEALTH)[0], grpc.StatusCode.UNAVAILABLE)
                self.assertGreater(self.estate.metric(service, refused), before)
            self.assertRegex(self.estate.log(service),
                             "connection refused: its identity has no role here.*spiffe://posward/stranger")

    def test_each_port_of_the_hsm_service_serves_its_own_methods_only(self):
        for port, other, callers in (("hsm", "hsm_control", ("posp", "operator")), ("hsm_control", "hsm", ("operator",))):
            for who in callers:
                with self.estate.channel(port, who) as channel:
                    for path in set(TABLE[other]) - set(REFLECTION):
                        with self.subTest(port=port, who=who, path=path):
                            self.assertEqual(call(channel, path)[0], grpc.StatusCode.UNIMPLEMENTED)

    def test_posp_does_not_reach_the_control_plane(self):
        with self.estate.channel("hsm_control", "posp") as channel:
            for path in ("/posward.hsm.v1.Control/GetStatus", HEALTH):
                self.assertEqual(call(channel, path)[0], grpc.StatusCode.UNAVAILABLE)

    def test_each_port_of_the_hsm_service_describes_what_it_serves(self):
        for port, services in (("hsm", {b"DataPlane"}), ("hsm_control", {b"Control", b"KeyManagement"})):
            with self.estate.channel(port, "monitor") as channel:
                answer = next(channel.stream_stream(REFLECTION[0])(iter([b"\x3a\x00"]), timeout=20))
            self.assertEqual(set(re.findall(rb"posward\.hsm\.v1\.(\w+)", answer)), services)

    def test_refusals_are_logged(self):
        path = "/posward.posv.v1.Registry/RetireDevice"
        with self.estate.channel("posv", "auditor") as channel:
            call(channel, path)
        parts = ("call refused reason=denied", "spiffe://posward/auditor", path, "issuer, operator")
        self.assertTrue([line for line in self.estate.log("posv").splitlines() if all(part in line for part in parts)])

    def test_certificates_reload_without_dropping_calls(self):
        path = "/posward.posv.v1.Registry/GetStatus"
        expiry = "posward_tls_certificate_expiry_seconds"
        kept, broken = 'posward_tls_reloads_total{outcome="kept_old"}', "posward_tls_certificate_broken"
        old = self.estate.metric("posv", expiry)
        self.assertAlmostEqual(old, time.time() + 90 * 86400, delta=3600)
        before = self.estate.metric("posv", kept)
        with self.estate.channel("posv", "monitor") as early:
            self.assertEqual(call(early, path)[0], grpc.StatusCode.OK)
            good = self.estate.read("pki/posv.pem")
            with open(f"{self.estate.pki}/posv.pem", "wb") as file:
                file.write(good[:100])
            with self.estate.channel("posv", "monitor") as late:
                self.assertEqual(call(late, path)[0], grpc.StatusCode.OK)
            self.assertEqual(self.estate.metric("posv", kept), before + 1)
            self.assertEqual(self.estate.metric("posv", broken), 1)
            self.assertEqual(self.estate.metric("posv", expiry), old)
            subprocess.run([f"{SOURCE}/deploy/pki", self.estate.pki, "posv"], check=True, env={**os.environ, "DAYS": "30"})
            with self.estate.channel("posv", "monitor") as later:
                self.assertEqual(call(later, path)[0], grpc.StatusCode.OK)
            self.assertEqual(self.estate.metric("posv", broken), 0)
            self.assertAlmostEqual(self.estate.metric("posv", expiry), time.time() + 30 * 86400, delta=3600)
            self.assertEqual(call(early, path)[0], grpc.StatusCode.OK)

    def test_authority_changes_over_without_dropping_calls(self):
        """As deploy/pki says: a second authority beside the first, new leaves for all, the first one out."""
        status, watch = "/posward.posv.v1.Registry/GetStatus", "/posward.posv.v1.Registry/WatchDevices"
        pki = [f"{SOURCE}/deploy/pki", self.estate.pki]
        names = ["hsm", "posp", "posv", "bank", *ROLES, "both", "stranger"]

        def becomes(code, dial):
            """Handshakes use changed files a second or two later."""
            for _ in range(600):
                with dial() as channel:
                    if (got := call(channel, status)[0]) == code:
                        return
                time.sleep(0.05)
            self.assertEqual(got, code)

        def ok(who):
            becomes(grpc.StatusCode.OK, lambda: self.estate.channel("posv", who))
        shutil.copytree(self.estate.pki, f"{self.estate.dir}/old")
        self.addCleanup(self.estate.odd_leaves)
        with self.estate.channel("posv", "posp") as early:
            stream = early.unary_stream(watch)(b"", timeout=300)
            self.assertEqual(call(early, status)[0], grpc.StatusCode.OK)
            subprocess.run([*pki, "--new-ca"], check=True)
            self.assertEqual(subprocess.run([*pki, "--new-ca"], capture_output=True, check=False).returncode, 2)
            ok("monitor")  # its leaf is of the old authority still
            subprocess.run([*pki, *dict.fromkeys(names)], check=True)
            for service in DAEMONS:
                self.assertEqual(self.estate.metric(service, "posward_tls_certificate_broken"), 0)
            ok("monitor")
            subprocess.run([*pki, "--drop-old-ca"], check=True)
            ok("monitor")
            with open(f"{self.estate.pki}/monitor.pem", "rb") as file:
                self.assertNotEqual(file.read(), self.estate.read("old/monitor.pem"))
            becomes(grpc.StatusCode.UNAVAILABLE, lambda: grpc.secure_channel(
                f"127.0.0.1:{self.estate.port('posv')}", grpc.ssl_channel_credentials(
                    self.estate.read("pki/ca.pem"), self.estate.read("old/monitor.key"), self.estate.read("old/monitor.pem")),
                [("grpc.use_local_subchannel_pool", 1)]))
            self.assertEqual(call(early, status)[0], grpc.StatusCode.OK)
            self.assertTrue(stream.is_active())
        self.estate.tool("stop", "posv")
        self.estate.tool("start", "posv")
        for _ in range(1200):  # POSP, which nobody restarted, comes back with its new leaf
            if self.estate.metric("posv", "posward_rpc_in_flight") == 1:
                break
            time.sleep(0.05)
        self.assertEqual(self.estate.metric("posv", "posward_rpc_in_flight"), 1)
        self.assertIn("calls go on with changed certificates", self.estate.log("posp"))

    def hang_up(self, service):
        """SIGHUP, and wait until it is through."""
        outcomes = [f'posward_config_reloads_total{{outcome="{outcome}"}}' for outcome in ("taken", "kept_old")]
        before = [self.estate.metric(service, name) for name in outcomes]
        with open(f"{self.estate.dir}/run/{service}.pid", encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGHUP)
        for _ in range(600):
            after = [self.estate.metric(service, name) for name in outcomes]
            if after != before:
                return after[0] > before[0]
            time.sleep(0.05)
        self.fail("nothing was reloaded")

    def test_roles_are_read_again_at_sighup(self):
        watch, status = "/posward.posv.v1.Registry/WatchDevices", "/posward.posv.v1.Registry/GetStatus"
        with self.estate.channel("posv", "posp") as posp, self.estate.channel("posv", "both") as both:
            old = self.estate.edit("posv", r"(identity: spiffe://posward/both\n +)roles: .*", r"\1roles: posp")

            def back():
                with open(f"{self.estate.dir}/posv.yaml", "w", encoding="utf-8") as file:
                    file.write(old)
                self.hang_up("posv")
            self.addCleanup(back)
            self.assertEqual(call(both, watch)[0], grpc.StatusCode.PERMISSION_DENIED)
            self.assertTrue(self.hang_up("posv"))
            running = self.estate.metric("posv", "posward_rpc_in_flight")  # POSP's own stream
            streams = [channel.unary_stream(watch)(b"", timeout=120) for channel in (posp, both)]
            for _ in range(600):
                if self.estate.metric("posv", "posward_rpc_in_flight") >= running + 2:
                    break
                time.sleep(0.05)
            self.estate.edit("posv", r"  - identity: spiffe://posward/posp\n +roles: .*\n", "")
            self.assertTrue(self.hang_up("posv"))
            with self.assertRaises(grpc.RpcError) as caught:  # who is out is out, in the middle of a stream
                for _ in streams[0]:
                    pass
            self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED, caught.exception.details())
            self.assertIn("spiffe://posward/posp", caught.exception.details())
            self.assertEqual(call(posp, status)[0], grpc.StatusCode.PERMISSION_DENIED)
            with self.estate.channel("posv", "posp") as late:
                self.assertEqual(call(late, HEALTH)[0], grpc.StatusCode.UNAVAILABLE)
            self.assertTrue(streams[1].is_active())
            self.estate.edit("posv", r"roles: auditor", "roles: root")
            self.assertFalse(self.hang_up("posv"))
            self.assertIn("'root' is no role", self.estate.log("posv"))
            self.assertEqual(call(both, status)[0], grpc.StatusCode.OK)
            self.assertTrue(streams[1].is_active())

    def restarted(self, pattern, text):
        """POSV with an edited configuration; set back at the end of the test."""
        old = self.estate.edit("posv", pattern, text)

        def back():
            self.estate.tool("stop", "posv")
            with open(f"{self.estate.dir}/posv.yaml", "w", encoding="utf-8") as file:
                file.write(old)
            self.estate.tool("start", "posv")
        self.addCleanup(back)
        self.estate.tool("stop", "posv")
        self.estate.tool("start", "posv")

    def test_tls_that_asks_for_no_certificate_knows_nobody(self):
        self.restarted(r"^  ca: .*\n", "")
        for who in (None, "operator"):
            for path, (code, note) in self.walk("posv", who).items():
                with self.subTest(who=who, path=path):
                    self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, note)
        with self.estate.channel("posv", None) as channel:
            self.assertEqual(call(channel, HEALTH)[0], grpc.StatusCode.OK)

    def test_insecure_callers_have_the_insecure_role(self):
        self.restarted(r"^tls:\n(?:  .*\n)*", "tls:\n  insecure: true\ninsecure_role: monitor\n")
        self.assertRegex(self.estate.log("posv"), r"callers are not known: .*roles=monitor")
        with grpc.insecure_channel(f"127.0.0.1:{self.estate.port('posv')}") as channel:
            for path, roles in TABLE["posv"].items():
                with self.subTest(path=path):
                    self.assertEqual(call(channel, path)[0] in REFUSED, "monitor" not in roles)

    def test_reflection_can_be_off(self):
        self.restarted(r"\Z", "reflection: false\n")
        with self.estate.channel("posv", "operator") as channel:
            for path in REFLECTION:
                self.assertEqual(call(channel, path)[0], grpc.StatusCode.PERMISSION_DENIED)

    def test_configurations_that_would_not_do_are_refused(self):
        text = self.estate.read("posv.yaml").decode()
        port = self.estate.port("posv")
        cases = {
            "mTLS": [(f"127.0.0.1:{port}", f"0.0.0.0:{port}"), (r"\n  ca: .*", "")],
            "may not be plain text": [(f"127.0.0.1:{port}", f"0.0.0.0:{port}"),
                                      (r"tls:\n(?:  .*\n)*", "tls:\n  insecure: true\n")],
            "roles is empty": [(r"roles:\n(?:  .*\n)*", "")],
            "'root' is no role": [("roles: auditor", "roles: root")],
            "stands twice": [("identity: spiffe://posward/auditor", "identity: spiffe://posward/monitor")],
        }
        for note, edits in cases.items():
            with self.subTest(note):
                wrong = text
                for pattern, new in edits:
                    wrong, count = re.subn(pattern, new, wrong)
                    self.assertEqual(count, 1, pattern)
                with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                    file.write(wrong)
                    file.flush()
                    for words in (["--check-config"], []):
                        done = subprocess.run([f"{BIN}/posward-posv", "--config", file.name, *words], capture_output=True,
                                              text=True, timeout=30, check=False)
                        self.assertEqual(done.returncode, 1, done.stderr)
                        self.assertIn(note, done.stderr)


if __name__ == "__main__":
    unittest.main()
