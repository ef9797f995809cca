"""Every secret of a run, in every form in which it could leak, and the search for them in bytes, files and memory."""
import array
import base64
import bisect
import collections
import ctypes
import glob
import os
import struct

BUILD = os.environ["POSWARD_BUILD"]
PAGE = os.sysconf("SC_PAGE_SIZE")
HUGE = 1 << 30  # the shadow of a sanitizer
CHUNK = 8 << 20
MOST_HITS = 4096

Hit = collections.namedtuple("Hit", "where offset kind name form")


class Needle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char_p), ("len", ctypes.c_uint32), ("des", ctypes.c_uint32)]


class RawHit(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("needle", ctypes.c_uint32), ("zero", ctypes.c_uint32)]


def load_scanner():
    library = ctypes.CDLL(os.path.join(BUILD, "tests", "lib", "leak_scan.so"))
    library.leak_index_new.restype = ctypes.c_void_p
    library.leak_index_new.argtypes = [ctypes.POINTER(Needle), ctypes.c_size_t]
    library.leak_index_free.argtypes = [ctypes.c_void_p]
    library.leak_find.restype = ctypes.c_size_t
    library.leak_find.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(RawHit), ctypes.c_size_t]
    return library


scanner = load_scanner()


def texts(value):
    """The forms of bytes as text."""
    return {value.hex().encode(): "hex", value.hex().upper().encode(): "HEX"}


def parities(half):
    """A DES key half with odd, even, cleared and set parity bits, and as it is."""
    odd = bytes(b & 0xFE | (bin(b >> 1).count("1") + 1) % 2 for b in half)
    return {half, odd, bytes(b ^ 1 for b in odd), bytes(b & 0xFE for b in half), bytes(b | 1 for b in half)}


class Secrets:
    """kind groups secrets by who may know them: "pin", "tmk", "zone-pin" ..."""

    def __init__(self):
        self.forms = {}  # bytes -> (kind, name, form, des)

    def __len__(self):
        return len({(kind, name) for kind, name, *_ in self.forms.values()})

    def put(self, value, kind, name, form, des=False):
        self.forms.setdefault(bytes(value), (kind, name, form, des))

    def des(self, kind, name, key):
        """Each half, whatever its parity bits."""
        for at in range(0, len(key), 8):
            half = key[at:at + 8]
            self.put(half, kind, name, f"bytes {at}-{at + 7}", des=True)
            for value in parities(half):
                for text, form in texts(value).items():
                    self.put(text, kind, name, f"{form} {at}-{at + 7}")
            self.put(base64.b64encode(key).rstrip(b"="), kind, name, "base64")

    def aes(self, kind, name, key):
        for at in range(0, len(key), 16):
            self.opaque(kind, name, key[at:at + 16], f" {at}-{at + 15}")
        self.put(base64.b64encode(key).rstrip(b"="), kind, name, "base64")

    def key(self, suite, kind, name, key):
        (self.des if suite == "tdes" else self.aes)(kind, name, key)

    def opaque(self, kind, name, value, part=""):
        """Bytes, raw and as text."""
        self.put(value, kind, name, "bytes" + part)
        for text, form in texts(value).items():
            self.put(text, kind, name, form + part)

    def digits(self, kind, name, digits):
        """A number as text and as BCD, in either half of the bytes."""
        self.put(digits.encode(), kind, name, "digits")
        even, shifted = digits[:len(digits) // 2 * 2], digits[1:1 + (len(digits) - 1) // 2 * 2]
        for text in (even, shifted):
            if len(text) >= 12:
                self.put(bytes.fromhex(text), kind, name, "BCD")

    def pin(self, name, pin, pan):
        """The digits, and what the PAN makes of them in formats 0 and 3. Formats 1 and 4 show them as they are."""
        assert len(pin) == 12, "a shorter PIN is found by chance"
        self.digits("pin", name, pin)
        self.put(f"C{pin}".encode(), "pin", name, "field")
        pan_field = bytes.fromhex("0000" + pan[-13:-1])
        pin_field = bytes.fromhex("0C" + pin + "FF")
        block = bytes(a ^ b for a, b in zip(pin_field, pan_field))
        self.opaque("pin", name, block[1:7], " block")

    def without(self, kinds):
        rest = Secrets()
        rest.forms = {value: row for value, row in self.forms.items() if row[0] not in kinds}
        return rest


class Index:
    """Finds all forms of all secrets in one pass."""

    def __init__(self, secrets):
        self.values = list(secrets.forms)
        self.rows = [secrets.forms[value] for value in self.values]
        self.needles = (Needle * len(self.values))(*[Needle(value, len(value), row[3])
                                                     for value, row in zip(self.values, self.rows)])
        self.longest = max(map(len, self.values))
        self.handle = scanner.leak_index_new(self.needles, len(self.values))
        assert self.handle, "a needle is too short"
        self.raw = (RawHit * MOST_HITS)()

    def close(self):
        scanner.leak_index_free(self.handle)

    def find(self, data, where, base=0):
        view = (ctypes.c_char * len(data)).from_buffer(data) if isinstance(data, bytearray) else data
        address = ctypes.cast(view, ctypes.c_void_p)
        count = min(scanner.leak_find(self.handle, address, len(data), self.raw, MOST_HITS), MOST_HITS)
        return [Hit(where, base + h.offset, *self.rows[h.needle][:3]) for h in self.raw[:count]]


# ---- recordings of tests/support/tap_module.c ----

HEADER = struct.Struct("=I27sc")


class Tapes:
    """All recordings of a folder; `mark` and `since` part them into phases."""

    def __init__(self, folder):
        self.folder = folder

    def paths(self):
        return sorted(glob.glob(f"{self.folder}/tap.*"))

    def mark(self):
        return {path: os.path.getsize(path) for path in self.paths()}

    def find(self, index, since, until=None):
        """(hits, bytes, functions seen) between two marks: where is "C_Decrypt o"."""
        hits, size, seen = [], 0, collections.Counter()
        for path in self.paths():
            with open(path, "rb") as f:
                f.seek(since.get(path, 0))
                tape = f.read() if until is None else f.read(until.get(path, since.get(path, 0)) - since.get(path, 0))
            size += len(tape)
            starts, names, at = [], [], 0
            while at + HEADER.size <= len(tape):
                length, function, direction = HEADER.unpack_from(tape, at)
                starts.append(at)
                names.append(f"{function.rstrip(bytes(1)).decode()} {direction.decode()}")
                seen[names[-1]] += 1
                at += HEADER.size + length
            assert at == len(tape), f"{path} is cut"
            for hit in index.find(tape, "") if tape else []:
                hits.append(hit._replace(where=names[bisect.bisect_right(starts, hit.offset) - 1]))
        return hits, size, seen


# ---- files and memory ----

def find_in_file(index, path):
    with open(path, "rb") as f:
        data = f.read()
    return index.find(data, os.path.basename(path)) if data else []


def present_runs(pagemap, start, end):
    """The parts of a mapping that are in memory or swapped out; the rest was never touched."""
    words = array.array("Q", os.pread(pagemap, (end - start) // PAGE * 8, start // PAGE * 8))
    run = None
    for i, word in enumerate(words):
        there = word >> 62
        if there and run is None:
            run = i
        elif not there and run is not None:
            yield start + run * PAGE, start + i * PAGE
            run = None
    if run is not None:
        yield start + run * PAGE, start + len(words) * PAGE


def mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
        for line in f:
            words = line.split(None, 5)
            start, end = (int(word, 16) for word in words[0].split("-"))
            name = words[5].strip() if len(words) > 5 else ""
            if words[1].startswith("r") and end - start <= HUGE and name not in ("[vvar]", "[vsyscall]"):
                yield start, end, name


def find_in_memory(index, pid, who):
    """(hits, bytes read) of a running process."""
    hits, size = [], 0
    memory, pagemap = os.open(f"/proc/{pid}/mem", os.O_RDONLY), os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        for start, end, name in mappings(pid):
            for first, last in present_runs(pagemap, start, end):
                for at in range(first, last, CHUNK):
                    buffer = bytearray(min(CHUNK + index.longest, last - at))
                    try:
                        got = os.preadv(memory, [buffer], at)
                    except OSError:
                        continue  # unmapped since, or a device's
                    size += got
                    hits += index.find(buffer, f"{who} {name or 'anonymous'}", at)
    finally:
        os.close(memory)
        os.close(pagemap)
    return hits, size


def tell(hits):
    """A line for each form of each secret at each place, with how often it was found; never the secret."""
    count = collections.Counter((h.where, h.kind, h.name, h.form) for h in hits)
    return "\n".join(f"  {where}: {kind} {name} as {form}, {times} times"
                     for (where, kind, name, form), times in sorted(count.items()))
