"""fault_module.c between an estate of the HSM service and its token: makes it fail on command, and counts objects."""
import mmap
import struct

from estate import BUILD

FAIL, HANG, DIE, DROP, LOGOUT, LOSE, LEAK = range(1, 8)
RV = {"GENERAL_ERROR": 0x5, "DEVICE_ERROR": 0x30, "MECHANISM_INVALID": 0x70, "SESSION_HANDLE_INVALID": 0xB3}
FIELDS = ("action", "rv", "times", "slot_shift", "sessions_most", "away", "logins", "done")
COUNTS = ("created", "destroyed")
SIZE = 80


class Faults:
    """struct control of fault_module.c. The estate's configuration has to be written after this, with keepers.environment
    as `environment` says."""

    environment = "SOFTHSM2_CONF HOME ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS POSWARD_FAULT_MODULE POSWARD_FAULT_FILE"

    def __init__(self, estate):
        path, real = f"{estate.dir}/faults", estate.token_lines[0].split(": ")[1]
        estate.token_lines[0] = f"module: {BUILD}/tests/lib/fault_module.so"
        estate.environment |= {"POSWARD_FAULT_MODULE": real, "POSWARD_FAULT_FILE": path}
        with open(path, "wb") as file:
            file.write(bytes(SIZE))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), SIZE)

    def set(self, name, value):
        struct.pack_into("<i", self.map, 32 + 4 * FIELDS.index(name), value)

    def get(self, name):
        return struct.unpack_from("<i", self.map, 32 + 4 * FIELDS.index(name))[0]

    def inject(self, call, action, times=1, rv="GENERAL_ERROR"):
        self.set("action", 0)
        self.map[0:32] = call.encode().ljust(32, b"\0")
        self.set("rv", RV[rv])
        self.set("times", times)
        self.set("action", action)

    def clear(self):
        for name in ("action", "times", "away", "sessions_most"):
            self.set(name, 0)

    def count(self, name):
        return struct.unpack_from("<Q", self.map, 64 + 8 * COUNTS.index(name))[0]
