"""posward-posp while its peers, or itself, are away: nothing answered is lost, nothing is doubled."""
import signal
import sqlite3
import threading
import time
import unittest

from posp_estate import PAN, Line, PospEstate, frame, pack, unpack

estate = None


def setUpModule():
    global estate
    estate = PospEstate(workers=8, forward_timeout_ms=800, hsm_timeout_ms=1500, idle_timeout_ms=1500)
    estate.launch("hsm").launch("posv", "bank").launch("posp")


def tearDownModule():
    estate.drop()


def balance():
    with sqlite3.connect(f"file:{estate.dir}/bank.db?mode=ro", uri=True) as db:
        return db.execute("SELECT balance FROM accounts WHERE pan = ?", (PAN,)).fetchone()[0]


def reversals_done():
    return estate.status_of_posp().reversals_pending == 0


numbers = iter(range(1, 100))


def terminal(suite="tdes"):
    number = next(numbers)
    t = estate.register(f"K{number:07d}", f"6201{number:016d}", suite)
    assert t.sign_in()[39] == "00"
    return t


class Peers(unittest.TestCase):
    def test_bank_away(self):
        t, before = terminal(), balance()
        estate.end("bank", kill=True)
        self.assertEqual(t.purchase()[39], "91")
        estate.launch("bank")
        estate.wait_until(reversals_done)
        self.assertEqual(balance(), before)
        estate.wait_until(lambda: t.purchase()[39] == "00")
        estate.wait_until(reversals_done)

    def test_bank_hangs(self):
        t, before = terminal(), balance()
        estate.processes["bank"].send_signal(signal.SIGSTOP)
        message = t.seal(t.purchase_fields())
        first = t.exchange(message)
        self.assertEqual(t.settle(first)[39], "98")
        self.assertEqual(t.exchange(message), first)
        estate.processes["bank"].send_signal(signal.SIGCONT)
        estate.wait_until(reversals_done)
        self.assertEqual(balance(), before)
        self.assertEqual(t.exchange(message), first)
        self.assertEqual(t.purchase()[39], "00")

    def test_hsm_away(self):
        t, before = terminal(), balance()
        estate.end("hsm", kill=True)
        message = t.seal(t.purchase_fields())
        self.assertEqual(t.settle(t.exchange(message))[39], "96")
        self.assertEqual(t.sign_in(keep=False)[39], "96")
        estate.launch("hsm")
        estate.wait_until(lambda: t.settle(t.exchange(message))[39] == "00")
        self.assertEqual(balance(), before - 100)

    def test_posv_away_and_posp_restarted(self):
        t = terminal()
        estate.end("posv", kill=True)
        self.assertEqual(t.purchase()[39], "00")
        estate.end("posp")
        estate.launch("posp")
        self.assertEqual(t.purchase()[39], "00")
        self.assertEqual(t.sign_in()[39], "00")
        self.assertEqual(t.purchase()[39], "00")
        estate.launch("posv")
        estate.wait_until(lambda: estate.status_of_posp().following)
        self.assertEqual(terminal().purchase()[39], "00")


class Store(unittest.TestCase):
    def test_keys_of_another_terminal_are_refused(self):
        """Who can write POSP's store cannot make one terminal pass for another."""
        mine, other = terminal(), terminal()
        estate.end("posp")
        with sqlite3.connect(f"{estate.dir}/posp.db") as db:
            db.execute("UPDATE key_sets SET (pik, mak, tdk) = (SELECT pik, mak, tdk FROM key_sets WHERE terminal_id = ?) "
                       "WHERE terminal_id = ?", (other.id, mine.id))
        estate.launch("posp")
        mine.keys = other.keys
        self.assertEqual(mine.purchase(check=False)[39], "99")  # sign in again
        self.assertEqual(other.purchase()[39], "00")
        self.assertEqual(mine.sign_in()[39], "00")
        self.assertEqual(mine.purchase()[39], "00")


class Lines(unittest.TestCase):
    def assert_closed_soon(self, line):
        began = time.monotonic()
        self.assertIsNone(line.receive())
        self.assertLess(time.monotonic() - began, 5)

    def test_silent_connection_is_closed(self):
        with Line(estate.terminals_port) as line:
            self.assert_closed_soon(line)

    def test_message_that_trickles_is_closed(self):
        t = terminal()
        data = frame(t.seal(t.purchase_fields()))
        with Line(estate.terminals_port) as line:
            began = time.monotonic()
            with self.assertRaises(OSError):
                for at in range(len(data)):
                    line.send(data[at:at + 1])
                    time.sleep(0.1)
            self.assertLess(time.monotonic() - began, 5)

    def test_terminal_that_never_reads_holds_nothing(self):
        t = terminal()
        echo = t.sign_in_fields("301")
        data = frame(pack("0820", echo)) * 200
        with Line(estate.terminals_port, timeout=8) as line:
            with self.assertRaises(OSError):
                for _ in range(1000):
                    line.send(data)
            self.assertEqual(t.purchase()[39], "00")
        estate.wait_until(lambda: estate.status_of_posp().terminals_connected == 0)

    def test_orderly_stop_answers_what_is_under_way(self):
        t = terminal()
        messages = [t.seal(t.purchase_fields()) for _ in range(8)]
        with Line(estate.terminals_port) as line:
            line.send(b"".join(frame(m) for m in messages))
            first = line.receive()
            status = estate.end("posp")
            codes = {unpack(first)[1][39]}
            while (answer := line.receive()) is not None:
                codes.add(unpack(answer)[1][39])
        self.assertEqual((status, codes), (0, {"00"}))
        estate.launch("posp")
        for message in messages:
            self.assertEqual(t.settle(t.exchange(message))[39], "00")


class Till(threading.Thread):
    """A terminal that sells without pause; what it has no answer to it repeats until it has one."""

    def __init__(self, t):
        super().__init__()
        self.t, self.over, self.sold, self.failure = t, False, 0, None

    def run(self):
        try:
            while not self.over:
                self.sell()
        except Exception as failure:
            self.failure = failure
            raise

    def sell(self):
        message = self.t.seal(self.t.purchase_fields(amount=7))
        until = time.monotonic() + 60
        while True:
            assert time.monotonic() < until, "no answer"
            try:
                code = self.t.settle(self.t.exchange(message))[39]
            except (OSError, AssertionError) as failure:
                if isinstance(failure, AssertionError) and str(failure) != "closed":
                    raise
                time.sleep(0.05)
                continue
            if code == "96" and not self.over:  # a fault before it was journaled: the same again
                time.sleep(0.05)
                continue
            self.sold += code == "00"
            return


class Kill(unittest.TestCase):
    def kill_during_sales(self, names):
        estate.wait_until(reversals_done)
        before = balance()
        tills = [Till(terminal(suite)) for suite in ("tdes", "aes-128", "tdes")]
        for till in tills:
            till.start()
        for name in names:
            time.sleep(0.7)
            estate.end(name, kill=True)
            time.sleep(0.2)
            estate.launch(name)
        time.sleep(1.0)
        for till in tills:
            till.over = True
        for till in tills:
            till.join()
            self.assertIsNone(till.failure)
        estate.wait_until(reversals_done, 30)
        sold = sum(till.sold for till in tills)
        self.assertGreater(sold, 0)
        self.assertEqual(before - balance(), 7 * sold)

    def test_posp(self):
        self.kill_during_sales(["posp"] * 4)

    def test_bank(self):
        self.kill_during_sales(["bank"] * 4)

    def test_hsm(self):
        self.kill_during_sales(["hsm"] * 2)

    def test_all_in_turn(self):
        self.kill_during_sales(["posv", "bank", "hsm", "posp"])


if __name__ == "__main__":
    unittest.main()
