#!/usr/bin/python3
"""A caller without a role that asks 20,000 times: the log and the audit log stay small, and every refusal is counted in them."""
import glob
import json
import os
import re
import unittest
import urllib.request

import grpc

from hsm_estate import Estate, hsm, refusals_in

CALLS = 20000
UNDER_WAY = 500
GROWTH_MAX = 64 * 1024
METHODS = ("/posward.hsm.v1.DataPlane/GenerateMac", "/posward.hsm.v1.DataPlane/ProcessBatch")


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate(load=False)
        cls.audit = f"{cls.estate.dir}/audit"
        cls.estate.write_config(keepers={"count": 1}, audit={"path": cls.audit})
        with open(cls.estate.config, "a", encoding="utf-8") as file:
            file.write("insecure_role: monitor\n")
        cls.estate.load("psam-master", "tdes", None, 16)
        cls.estate.cli("key", "init", "--hsm-config", cls.estate.config)

    @classmethod
    def tearDownClass(cls):
        cls.estate.drop()

    def audit_bytes(self):
        return sum(os.path.getsize(path) for path in glob.glob(f"{self.audit}/*"))

    def flood(self):
        calls = [self.estate.data.GenerateMac, self.estate.data.ProcessBatch]
        requests = [hsm.GenerateMacRequest(data=bytes(16)), hsm.ProcessBatchRequest()]
        for at in range(0, CALLS, UNDER_WAY):
            futures = [calls[n % 2].future(requests[n % 2], timeout=60) for n in range(at, at + UNDER_WAY)]
            # What is refused explains no bytes: such a connection may be closed for a flood meanwhile.
            codes = {f.exception().code() for f in futures}
            self.assertLessEqual(codes, {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE})
            self.assertIn(grpc.StatusCode.PERMISSION_DENIED, codes)

    def test_refusal_flood_is_joined_and_counted(self):
        self.estate.start()
        self.estate.wait_keepers(1)
        audit, log = self.audit_bytes(), len(self.estate.log())
        self.flood()
        page = urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=10).read().decode()
        self.assertEqual(self.estate.stop(), 0)
        self.assertLess(self.audit_bytes() - audit, GROWTH_MAX)
        self.assertLess(len(self.estate.log()) - log, GROWTH_MAX)
        records = [json.loads(line) for line in self.estate.cli("audit", "show", "--log", self.audit, "--kind", "refusal",
                                                                "--json").stdout.splitlines()]
        for method in METHODS:
            of_method = [r for r in records if r["what"] == method]
            self.assertEqual({(r["who"], r["result"]) for r in of_method}, {("anonymous", "DENIED")})
            count = int(re.search(rf'posward_refusals_total{{method="{re.escape(method[1:])}",reason="denied"}} (\d+)\n',
                                  page).group(1))
            self.assertGreater(count, CALLS // 20)
            self.assertEqual(sum(map(refusals_in, of_method)), count, of_method)
            for record in of_method:
                self.assertIn("may not call", record["note"])
            self.assertEqual(refusals_in(of_method[0]), 1, "the first has a record at once")
            lines = re.findall(rf"call refused again .*method={method} count=(\d+)", self.estate.log())
            self.assertEqual(sum(map(int, lines)) + self.estate.log().count(f"method={method} allowed="), count)
        verified = self.estate.cli("audit", "verify", "--log", self.audit, "--public-key",
                                   f"{self.audit}/audit-public-key.pem")
        self.assertIn("signed", verified.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
