"""What one unit, or one terminal, may take of posward-posp: the others are served on."""
import signal
import threading
import time
import unittest

from posp_estate import PospEstate

WORKERS = 8
MOST_AT_ONE_UNIT = WORKERS - WORKERS // 4
WAITING_REPEATS = WORKERS // 8 + 1
FORWARD_S, PROMPT_S = 6, 2  # how long a unit may take; when a terminal calls it an answer at once

estate, terminals = None, []


def setUpModule():
    global estate
    estate = PospEstate(workers=WORKERS, forward_timeout_ms=FORWARD_S * 1000)
    estate.launch("hsm").launch("posv", "bank").launch("posp")
    terminals.extend(terminal(number) for number in range(1, 2 * WORKERS))


def tearDownModule():
    estate.drop()


def terminal(number):
    t = estate.register(f"L{number:07d}", f"6201{number:016d}")
    assert t.sign_in()[39] == "00"
    return t


class Exchange(threading.Thread):
    """A message on a line of its own; `code` and `took_s` when it is answered."""

    def __init__(self, t, message):
        super().__init__()
        self.t, self.message, self.code, self.took_s = t, message, None, None
        self.start()

    def run(self):
        began = time.monotonic()
        self.code = self.t.settle(self.t.exchange(self.message))[39]
        self.took_s = time.monotonic() - began


class HungUnit(unittest.TestCase):
    def setUp(self):
        estate.wait_until(lambda: terminals[0].purchase()[39] == "00")  # the line to the unit is up
        estate.processes["bank"].send_signal(signal.SIGSTOP)

    def tearDown(self):
        estate.processes["bank"].send_signal(signal.SIGCONT)
        estate.wait_until(lambda: estate.status_of_posp().reversals_pending == 0, 30)

    def assert_others_are_served(self):
        began = time.monotonic()
        self.assertEqual(terminals[-1].sign_in(keep=False)[39], "00")
        self.assertLess(time.monotonic() - began, PROMPT_S)

    def finish(self, exchanges):
        for exchange in exchanges:
            exchange.join()
        prompt = sorted(x.code for x in exchanges if x.took_s < PROMPT_S)
        late = sorted(x.code for x in exchanges if x.took_s >= PROMPT_S)
        return prompt, late

    def test_takes_no_more_than_its_share_of_workers(self):
        held = [Exchange(t, t.seal(t.purchase_fields())) for t in terminals[:MOST_AT_ONE_UNIT]]
        time.sleep(1.5)
        more = [Exchange(t, t.seal(t.purchase_fields())) for t in terminals[MOST_AT_ONE_UNIT:-1]]
        self.assert_others_are_served()
        self.assertEqual(self.finish(more), (["91"] * len(more), []))
        self.assertEqual(self.finish(held), ([], ["98"] * len(held)))
        estate.processes["bank"].send_signal(signal.SIGCONT)
        estate.wait_until(lambda: terminals[0].purchase()[39] == "00")

    def test_repeats_do_not_all_wait(self):
        t = terminals[0]
        message = t.seal(t.purchase_fields())
        first = Exchange(t, message)
        time.sleep(0.5)
        repeats = [Exchange(t, message) for _ in range(WORKERS + 2)]
        self.assert_others_are_served()
        self.assertEqual(self.finish(repeats),
                         (["96"] * (len(repeats) - WAITING_REPEATS), ["98"] * WAITING_REPEATS))
        self.assertEqual(self.finish([first]), ([], ["98"]))
        self.assertEqual(t.settle(t.exchange(message))[39], "98")


if __name__ == "__main__":
    unittest.main()
