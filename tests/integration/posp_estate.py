"""POSP with its real peers - HSM service, POSV, bank - and a terminal written in Python, for tests over loopback."""
import os
import signal
import socket
import struct

import grpc

import hsm_estate
import reference as ref
from estate import MERCHANT, Daemon, children, free_port, load_stubs, wait_until

PAN, POOR_PAN, TRIES_PAN = "6225758326736419", "6225758326736427", "6225758326736435"
PIN = "123456"
OPENING_BALANCE = 10_000_000_000
posv, posv_stubs, posp, posp_stubs, business, business_stubs = load_stubs("posv", "posp", "business")
SUITES = {"tdes": 1, "aes-128": 2, "aes-256": 3}

# ---- the wire: kind, length digits (0 fixed), size; after the facts, not after the C dictionary ----

FIELDS = {2: "nLL", 3: "n6", 4: "n12", 11: "n6", 12: "n6", 13: "n4", 14: "n4", 15: "n4", 22: "l3", 23: "n3", 25: "n2",
          26: "n2", 32: "nLL", 35: "zLL", 36: "zLLL", 37: "a12", 38: "a6", 39: "a2", 41: "a8", 42: "a15", 44: "aLL",
          49: "a3", 52: "b8", 53: "n16", 54: "aLLL", 55: "bLLL", 57: "bLLL", 60: "nLLL", 61: "nLLL", 62: "bLLL",
          63: "bLLL", 64: "b8"}


def bcd(digits, right=True):
    odd = len(digits) % 2
    return bytes.fromhex((digits + "0" * odd) if right else ("0" * odd + digits))


def pack_field(number, value):
    kind = FIELDS[number]
    raw = value if isinstance(value, bytes) else value.encode() if kind[0] in "ab" else None
    if raw is None:
        raw = bcd(value, right=kind[0] != "n" or "L" in kind)
    if "L" not in kind:
        return raw
    size = len(value)
    return bcd(str(size).zfill(2 if kind.endswith("LL") and not kind.endswith("LLL") else 4)) + raw


def pack(mti, fields):
    bitmap = 0
    for number in fields:
        bitmap |= 1 << (64 - number)
    return bytes.fromhex(mti) + struct.pack(">Q", bitmap) + b"".join(pack_field(n, fields[n]) for n in sorted(fields))


def unpack(message):
    mti, bitmap, at, fields = message[:2].hex(), struct.unpack(">Q", message[2:10])[0], 10, {}
    for number in range(2, 65):
        if not bitmap >> (64 - number) & 1:
            continue
        kind = FIELDS[number]
        if "L" in kind:
            width = 2 if kind.endswith("LLL") else 1
            size = int(message[at:at + width].hex())
            at += width
        else:
            size = int(kind[1:])
        count = size if kind[0] in "ab" else (size + 1) // 2
        raw = message[at:at + count]
        assert len(raw) == count, (number, message.hex())
        at += count
        if kind[0] in "nzl":
            text = raw.hex().upper()
            fields[number] = text[-size:] if kind == "n3" else text[:size]
        else:
            fields[number] = raw if kind[0] == "b" else raw.decode()
    assert at == len(message), message.hex()
    return mti, fields


TPDU, HEADER = bytes.fromhex("6000030000"), bytes.fromhex("603100311301")


def frame(message, tpdu=TPDU, header=HEADER):
    return struct.pack(">H", len(tpdu + header + message)) + tpdu + header + message


class Line:
    """One TCP connection."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                return None
            data += part
        return data

    def receive(self):
        """The next message without length, TPDU and header; None when the peer has closed."""
        try:
            head = self.exactly(2)
            body = head and self.exactly(struct.unpack(">H", head)[0])
        except ConnectionError:
            return None
        if not body:
            return None
        assert body[:5] == bytes.fromhex("6000000003"), body[:5].hex()
        return body[11:]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Terminal:
    """A terminal with a PSAM whose TMK the test knows."""

    def __init__(self, estate, terminal_id, psam_number, suite, wrap=None):
        self.estate, self.id, self.psam, self.suite = estate, terminal_id, psam_number, suite
        self.wrap = wrap or ref.wrap_version_of(suite)
        self.aes = suite != "tdes"
        self.tmk = ref.tmk_of(estate, suite, psam_number)
        self.trace, self.batch, self.keys = 0, "000001", {}

    def next_trace(self):
        self.trace += 1
        return f"{self.trace:06d}"

    def exchange(self, message):
        with Line(self.estate.terminals_port) as line:
            line.send(frame(message))
            answer = line.receive()
        assert answer is not None, "closed"
        return answer

    def sign_in_fields(self, code="004", **more):
        fields = {11: self.next_trace(), 41: self.id, 42: MERCHANT, 60: f"00{self.batch}{code}", 63: b"01 "}
        fields.update({int(k[1:]): v for k, v in more.items()})
        return fields

    def sign_in(self, code="004", keep=True, **more):
        mti, answer = unpack(self.exchange(pack("0800", self.sign_in_fields(code, **more))))
        assert mti == "0810", mti
        if answer[39] == "00" and keep:
            self.take_keys(answer[62])
        return answer

    def take_keys(self, f62):
        slots = {24: (8, 8, 0), 40: (16, 16, 0), 60: (16, 16, 16), 84: (24, 24, 24)}[len(f62)]
        at, keys = 0, {}
        for name, size in zip(("pik", "mak", "tdk"), slots):
            if size == 0:
                continue
            cipher, check = f62[at:at + size], f62[at + size:at + size + 4]
            at += size + 4
            if not self.aes:
                used = 8 if len(f62) == 24 or (len(f62) == 40 and name == "mak") else 16
                assert not any(cipher[used:]), "padding"
                cipher = cipher[:used]
            kek = ref.kek_of(self.tmk, name) if self.wrap == 2 else self.tmk
            keys[name] = ref.open_working_key("aes" if self.aes else "tdes", kek, cipher)
            assert ref.kcv("aes" if self.aes else "tdes", keys[name]) == check, name
        assert at == len(f62)
        self.keys = keys

    def mac(self, data):
        return ref.aes_cmac(self.keys["mak"], data)[:8] if self.aes else ref.unionpay_mac(self.keys["mak"], data)

    def encipher_track(self, track):
        count = 32 if self.aes else 16
        first = len(track) - (1 if len(track) % 2 else 2) - count
        part = bytes.fromhex(track[first:first + count])
        worker = ref.aes_ecb if self.aes else ref.des_ecb
        return track[:first] + worker(self.keys["tdk"], part).hex().upper() + track[first + count:]

    def purchase_fields(self, amount=100, pin=PIN, pan=PAN, track=True, show_pan=False, expiry="3012"):
        fields = {3: "000000", 4: f"{amount:012d}", 11: self.next_trace(), 22: "021", 25: "00", 26: "06", 41: self.id,
                  42: MERCHANT, 49: "156", 60: f"22{self.batch}00050"}
        if show_pan or not track:
            fields[2] = pan
        if track:
            clear = (pan + "D" + expiry + "101").ljust(37, "1")
            fields[35] = self.encipher_track(clear) if "tdk" in self.keys else clear
        if pin:
            if self.aes:
                fields[57] = ref.pin_block_4(self.keys["pik"], pin, pan, os.urandom(8))
            else:
                fields[52] = ref.des_ecb(self.keys["pik"], ref.pin_block_0(pin, pan))
        enciphered = "1" if track and "tdk" in self.keys else "0"
        fields[53] = ("2" if pin else "0") + ("4" if self.aes else "6") + enciphered + "0" * 13
        return fields

    def seal(self, fields, mti="0200"):
        fields = dict(fields)
        fields[64] = bytes(8)
        message = pack(mti, fields)
        return message[:-8] + self.mac(message[:-8])

    def purchase(self, check=True, **details):
        return self.settle(self.exchange(self.seal(self.purchase_fields(**details))), check)

    def settle(self, answer, check=True):
        mti, fields = unpack(answer)
        assert mti == "0210", mti
        if check and 64 in fields:
            assert fields[64] == self.mac(answer[:-8]), "MAC of the answer"
        if check and fields[39] == "00":
            assert 64 in fields, "an approval without MAC"
        return fields


class PospEstate(hsm_estate.Estate):
    """All services; each can be killed and started again on its port."""

    def __init__(self, token="softhsm", workers=8, bank_target=None, **limits):
        self.daemons, self.ports = {}, {}
        self.logs = {}  # of each name's newest process, alive or not
        super().__init__(token)
        self.write_peers(workers, bank_target, limits)

    def write_peers(self, workers, bank_target, limits):
        for name in ("hsm", "hsm_control", "posv", "bank", "posp", "terminals"):
            self.ports[name] = free_port(self.ports.values())
        with open(self.config) as f:
            text = f.read()
        self.put("hsm.yaml", text.replace(
            "listen: 127.0.0.1:0\ncontrol_listen: 127.0.0.1:0",
            f"listen: 127.0.0.1:{self.ports['hsm']}\ncontrol_listen: 127.0.0.1:{self.ports['hsm_control']}", 1))
        head = "listen: 127.0.0.1:{}\ntls: {{insecure: true}}\nmetrics: {{listen: 127.0.0.1:0}}\nlog: {{level: debug}}\n"
        self.put("posv.yaml", head.format(self.ports["posv"]) + f"store: {{path: {self.dir}/posv.db}}\n")
        accounts = "".join(f'  - {{pan: "{pan}", pin: "{PIN}", expiry: "3012", balance: {balance}}}\n'
                           for pan, balance in ((PAN, OPENING_BALANCE), (POOR_PAN, 100), (TRIES_PAN, 100000)))
        self.put("bank.yaml", head.format(self.ports["bank"]) + f"store: {{path: {self.dir}/bank.db}}\nzone_keys:\n"
                 + self.zone("tdes", "zone-pin-tdes") + self.zone("aes128", "zone-pin-aes-128")
                 + "accounts:\n" + accounts)
        peer = "{{target: 127.0.0.1:{}, tls: {{insecure: true}}{}}}"
        timeouts = {"idle_timeout_ms": 60000, "max_connections": 64, **limits}
        forward = timeouts.pop("forward_timeout_ms", 3000)
        hsm_timeout = timeouts.pop("hsm_timeout_ms", 3000)
        terminals = "".join(f"  {key}: {value}\n" for key, value in timeouts.items())
        self.put("posp.yaml", head.format(self.ports["posp"])
                 + f"terminals:\n  listen: 127.0.0.1:{self.ports['terminals']}\n  workers: {workers}\n" + terminals
                 + f"store: {{path: {self.dir}/posp.db}}\n"
                 + "hsm: " + peer.format(self.ports["hsm"], f", timeout_ms: {hsm_timeout}") + "\n"
                 + "posv: " + peer.format(self.ports["posv"], "") + "\n"
                 + f"forward: {{timeout_ms: {forward}, reversal_retry_ms: 200}}\n"
                 + "units:\n  - {name: bank, target: " + (bank_target or f"127.0.0.1:{self.ports['bank']}")
                 + ", tls: {insecure: true}}\nroutes:\n  - {prefix: \"62\", unit: bank}\n")

    @property
    def terminals_port(self):
        return self.ports["terminals"]

    def put(self, name, text):
        with open(f"{self.dir}/{name}", "w") as f:
            f.write(text)

    def zone(self, suite, name):
        """The zone key, and the next version, which the bank has before the HSM does: POSP must say which one it used."""
        size = len(self.keys[name])
        return self.zone_key(suite, 1, name, self.keys[name]) + self.zone_key(suite, 2, f"{name}.next", ref.odd_parity(os.urandom(size)))

    def zone_key(self, suite, version, name, key):
        pad = os.urandom(len(key))
        parts = [self.secret(f"{name}.1", pad.hex()), self.secret(f"{name}.2", ref.xor(key, pad).hex())]
        return (f"  - suite: {suite}\n    version: {version}\n    components:\n"
                + "".join(f"      - {{file: {part}}}\n" for part in parts))

    def launch(self, *names):
        for name in names:
            self.daemons[name] = Daemon(name, f"{self.dir}/{name}.yaml", self.dir, self.environment)
            self.logs[name] = self.daemons[name].path
        for name in names:
            self.daemons[name].wait_log("serving")
        return self

    @property
    def processes(self):
        return {name: daemon.process for name, daemon in self.daemons.items()}

    def text(self, name):
        return self.daemons[name].log()

    def end(self, name, kill=False):
        return self.daemons.pop(name).end(signal.SIGKILL if kill else signal.SIGTERM)

    def reload_keepers(self):
        """All of them: one that is on its way out still answers, with the keys that it knew."""
        front = self.processes["hsm"]
        before = set(children(front.pid))
        front.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & set(children(front.pid)), 90, lambda: self.text("hsm"))

    def stub(self, name):
        kind = {"posv": posv_stubs.RegistryStub, "cards": posp_stubs.CardKeysStub,
                "posp": posp_stubs.OperationsStub, "bank": business_stubs.BusinessStub}[name]
        port = self.ports["posp" if name == "cards" else name]
        return kind(grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]))

    def register(self, terminal_id, psam_number, suite="tdes", wrap=None):
        device = self.stub("posv").RegisterDevice(posv.RegisterDeviceRequest(
            terminal_id=terminal_id, merchant_id=MERCHANT, psam_number=psam_number, suite=SUITES[suite],
            master_version=1, wrap_version=wrap or ref.wrap_version_of(suite)), timeout=10)
        self.wait_revision(device.revision)
        return Terminal(self, terminal_id, psam_number, suite, wrap)

    def status_of_posp(self):
        return self.stub("posp").GetStatus(posp.GetStatusRequest(), timeout=10)

    def wait_revision(self, revision, seconds=15):
        self.wait_until(lambda: self.status_of_posp().device_revision >= revision, seconds)

    def wait_until(self, true, seconds=15):
        return wait_until(true, seconds)

    def drop(self):
        for name in list(self.daemons):
            self.end(name, kill=True)
        super().drop()
