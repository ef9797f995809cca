#!/usr/bin/env python3
"""What the four daemons say on /metrics: in the strict format, with what was done counted; promtool agrees if it is here."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import prometheus_text  # noqa: E402
from estate import SERVICES, Estate  # noqa: E402

SOURCE = os.environ["POSWARD_SOURCE"]
PROMTOOL = shutil.which("promtool", path=f"{os.environ['PATH']}:{SOURCE}/build/tools")
RULES = f"{SOURCE}/deploy/prometheus"
HANDLED, SECONDS = "posward_rpc_server_handled_total", "posward_rpc_server_handling_seconds"
OWN = {"hsm": "posward_hsm_keepers_ready", "bank": "posward_build_info", "posv": "posward_posv_devices",
       "posp": "posward_posp_sign_ins_total"}
PLANES = {"hsm": ("data", "control")}  # who has two gRPC servers has a label `plane`


def method_labels(name, method, *more):
    """The labels of a method that stands on the first server of daemon `name`."""
    return (("method", method), *more, *(("plane", plane) for plane in PLANES.get(name, ())[:1]))


def handled(families, name, method, code="OK"):
    return families[name][HANDLED].samples.get((HANDLED, method_labels(name, method, ("code", code))))


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate()
        cls.addClassCleanup(cls.estate.__exit__, None, None, None)
        cls.estate.__enter__()
        (terminal, card), = cls.estate.equip(1)
        subprocess.run(cls.estate.terminal(terminal, card, "tdes", "purchase", "--amount", "1234", "--pan",
                                           "6225758326736419", "--expiry", "3012", "--pin", "123456"),
                       check=True, timeout=60, stdout=subprocess.DEVNULL)
        cls.estate.posward("device", "show", "99999999", check=False)
        cls.pages = {name: cls.fetch(name) for name in SERVICES}
        cls.families = {name: prometheus_text.parse(page) for name, page in cls.pages.items()}

    @classmethod
    def fetch(cls, name):
        port = cls.estate.env["PORT_METRICS_" + name.upper()]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def test_the_reader_refuses_what_it_must(self):
        prometheus_text.self_check()

    def test_every_daemon_has_the_common_families_and_its_own(self):
        for name, families in self.families.items():
            for family in ("posward_build_info", "process_start_time_seconds", "posward_uptime_seconds",
                           "posward_rpc_in_flight", "posward_rpc_calls_total", HANDLED, SECONDS, OWN[name]):
                self.assertIn(family, families, name)

    def test_calls_are_counted_by_method_and_code(self):
        done = {"hsm": "posward.hsm.v1.DataPlane/ProcessBatch", "bank": "posward.business.v1.Business/Authorize",
                "posv": "posward.posv.v1.Registry/RegisterDevice", "posp": "posward.posp.v1.CardKeys/RequestCardKey"}
        for name, method in done.items():
            families = self.families[name]
            methods = {dict(labels)["method"] for _, labels in families[HANDLED].samples}
            self.assertIn(method, methods)
            self.assertGreaterEqual(handled(self.families, name, method), 1, method)
            count = families[SECONDS].samples[SECONDS + "_count", method_labels(name, method)]
            total = sum(value for (_, labels), value in families[HANDLED].samples.items() if ("method", method) in labels)
            self.assertEqual(count, total, method)
            self.assertGreater(families[SECONDS].samples[SECONDS + "_sum", method_labels(name, method)], 0)
        self.assertGreaterEqual(handled(self.families, "posv", "posward.posv.v1.Registry/GetDevice", "NOT_FOUND"), 1)
        self.assertEqual(handled(self.families, "bank", "posward.business.v1.Business/Authorize"), 1)

    def test_who_has_two_servers_counts_each(self):
        for name, families in self.families.items():
            for family in ("posward_rpc_in_flight", "posward_rpc_calls_total", HANDLED):
                planes = {dict(labels).get("plane") for _, labels in families[family].samples}
                self.assertEqual(planes, set(PLANES.get(name, (None,))), (name, family))

    def test_counters_do_not_fall(self):
        for name, before in self.families.items():
            after = prometheus_text.parse(self.fetch(name))
            for family in before.values():
                if family.type == "counter":
                    for sample, value in family.samples.items():
                        self.assertGreaterEqual(after[family.name].samples[sample], value, sample)

    def test_alerts_go_by_metrics_that_are_there(self):
        """With their types and labels, as far as this run has them; the others are named in the source at least."""
        with open(f"{RULES}/posward-alerts.yaml", encoding="utf-8") as file:
            expressions = "\n".join(re.findall(r"expr: (.*)", file.read()))
        source = "".join(path.read_text(encoding="utf-8") for folder in ("hsm-service", "posp", "posv", "proto")
                         for path in pathlib.Path(SOURCE, folder).rglob("*.c"))
        names = set(re.findall(r"\bposward_\w+", expressions))
        self.assertGreater(len(names), 15)
        for name in names:
            self.assertIn(f'"{name}"', source)
            for families in self.families.values():
                if name in families:
                    self.assertEqual(families[name].type == "counter", name.endswith("_total"))
        for name, label in re.findall(r"(posward_\w+)\{(\w+)=", expressions):
            for families in self.families.values():
                for _, labels in families[name].samples if name in families else ():
                    self.assertIn(label, dict(labels), name)

    def promtool(self, *words, **options):
        done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=120, check=False, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    @unittest.skipUnless(PROMTOOL, "promtool is not here: deploy/setup --with-tests fetches it")
    def test_alert_rules_are_sound_and_fire_when_they_should(self):
        self.promtool("check", "rules", f"{RULES}/posward-alerts.yaml")
        self.promtool("check", "config", f"{RULES}/prometheus.yaml")
        self.promtool("test", "rules", f"{RULES}/posward-alerts-test.yaml", cwd=RULES)

    @unittest.skipUnless(PROMTOOL, "promtool is not here: deploy/setup --with-tests fetches it")
    def test_promtool_agrees(self):
        for name, page in self.pages.items():
            done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
