#!/usr/bin/python3
"""Two ports of the HSM service: what is done to the control plane does not stop what POSP calls."""
import glob
import os
import re
import signal
import threading
import unittest
import urllib.request

import grpc

from hsm_estate import Estate, Load, hsm, types
from estate import load_stubs, wait_until

keys, key_stubs = load_stubs("hsm/keys")

SLOTS, WORKERS = 8, 2
DATA = os.urandom(64)
KEY = hsm.KeyName(role="psam-master", suite="tdes", version=1)


def thread_states(pid):
    """A signal is sent before it is heard: a thread that runs still takes one more call."""
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        with open(path, encoding="utf-8") as file:
            yield file.read().rsplit(")", 1)[1].split()[0]


class Planes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.estate = Estate("softhsm")
        cls.addClassCleanup(cls.estate.drop)
        # Stopped keepers are not to be taken for hung, nor probed.
        cls.estate.write_config(keepers={"hang_ms": 120000, "probe_ms": 600000},
                                keymgmt={"path": f"{cls.estate.dir}/keymgmt.db"},
                                limits={"control_max_in_flight": SLOTS, "worker_count": WORKERS})

    def setUp(self):
        self.estate.start()
        self.addCleanup(lambda: self.assertEqual(self.estate.stop(), 0))
        self.estate.wait_keepers(2)
        self.stopped = []

    def stop_keepers(self):
        """From now on what needs a keeper waits for it."""
        self.stopped = self.estate.keeper_pids()
        self.addCleanup(self.go_on)
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(state == "T" for pid in self.stopped for state in thread_states(pid)))

    def go_on(self):
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)
        self.stopped = []

    def in_flight(self, plane):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.estate.metrics_port}/metrics", timeout=30) as page:
            text = page.read().decode()
        return int(re.search(rf'^posward_rpc_in_flight{{plane="{plane}"}} (\d+)$', text, re.M).group(1))

    def mac(self, call=None):
        zone = hsm.KeyRef(zone=hsm.ZoneKey(zone="bank", suite=types.SUITE_TDES))
        request = hsm.GenerateMacRequest(key=zone, algorithm=hsm.MAC_ALGORITHM_X9_19, data=DATA)
        return (call or self.estate.data.GenerateMac)(request, timeout=60)

    def test_operators_that_hold_every_slot_leave_payments_theirs(self):
        self.stop_keepers()
        held = [self.estate.control.ListKeys.future(hsm.ListKeysRequest(), timeout=60) for _ in range(SLOTS)]
        wait_until(lambda: self.in_flight("control") == SLOTS)
        with self.assertRaises(grpc.RpcError) as caught:
            self.estate.status()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(self.estate.data.Echo(hsm.EchoRequest(payload=DATA), timeout=30).payload, DATA)
        self.assertEqual(self.estate.data.GetStatus(hsm.GetStatusRequest(), timeout=30).keepers, 2)
        payments = [self.mac(self.estate.data.GenerateMac.future) for _ in range(4 * SLOTS)]
        wait_until(lambda: self.in_flight("data") == 4 * SLOTS)
        self.go_on()
        self.assertEqual(len({payment.result().mac for payment in payments}), 1)
        for call in held:
            self.assertGreater(len(call.result().keys), 0)

    def test_operators_that_hold_every_worker_leave_the_data_plane_its_own(self):
        self.stop_keepers()
        manage = key_stubs.KeyManagementStub(self.estate.control_channel)
        held = [manage.GetKey.future(keys.GetKeyRequest(key=KEY), timeout=60) for _ in range(WORKERS + 1)]
        wait_until(lambda: self.in_flight("control") == len(held))
        use = hsm.KeyUse(key=KEY, count=7, what="cards")
        self.estate.data.ReportKeyUse(hsm.ReportKeyUseRequest(uses=[use]), timeout=30)
        self.go_on()
        for call in held:
            self.assertEqual(call.result().key.version, 1)
        told = manage.GetKey(keys.GetKeyRequest(key=KEY), timeout=30).uses
        self.assertEqual([(use.what, use.count) for use in told], [("cards", 7)])

    def test_a_flood_of_control_calls_fails_no_payment(self):
        over, refused, answered = threading.Event(), [], []

        def flood():
            with grpc.insecure_channel(f"127.0.0.1:{self.estate.control_port}",
                                       [("grpc.use_local_subchannel_pool", 1)]) as channel:
                report = channel.unary_unary("/posward.hsm.v1.Control/GetTokenReport")
                while not over.is_set():
                    for call in [report.future(b"", timeout=60) for _ in range(4 * SLOTS)]:
                        (answered if call.exception() is None else refused).append(call.code())
        threads = [threading.Thread(target=flood) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: refused and answered)
            load = Load(self.mac)
            wait_until(lambda: load.done >= 200 or load.failures, 120)
            load.stop()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(load.failures, [])
        self.assertEqual(set(refused), {grpc.StatusCode.RESOURCE_EXHAUSTED})


if __name__ == "__main__":
    unittest.main(verbosity=2)
