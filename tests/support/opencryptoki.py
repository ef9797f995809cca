"""An openCryptoki soft token of a test's own.

openCryptoki has one configuration, one daemon and one shared memory a machine, at fixed paths. So a test moves into mount, IPC and
process namespaces of its own, where those paths are its own: the machine's openCryptoki is neither seen nor touched, and the kernel
ends the daemon and drops the mounts with the test."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import time

CONFIG = "version opencryptoki-3.8\nslot 0\n{\nstdll = libpkcs11_sw.so\ntokname = swtok\n}\n"
SO_PIN = "posw4rdS"
SKIPPED = 77  # CTest's SKIP_RETURN_CODE
INSIDE = "POSWARD_OPENCRYPTOKI_INSIDE"
NAMESPACES = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def enter():
    """First thing in a test: goes on in the namespaces, or exits with SKIPPED and says why."""
    if INSIDE in os.environ:
        make_places()
        return
    if os.geteuid() != 0:
        skip("pkcsslotd and its fixed paths need root")
    if shutil.which("pkcsslotd") is None or shutil.which("pkcsconf") is None:
        skip("openCryptoki is not installed: apt-get install opencryptoki")
    tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        skip("no namespaces of its own in this kernel or container (it lacks CAP_SYS_ADMIN?): " + tried.stderr.strip())
    sys.stdout.flush()
    os.execvpe(NAMESPACES[0], [*NAMESPACES, sys.executable, "-B", *sys.argv], {**os.environ, INSIDE: "1"})


def run(*words, **options):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **options)


def make_places():
    """Empty folders over those that the library and the daemon name; unshare made the mounts private already."""
    for path in ("/run", "/dev/shm", "/var/lib/opencryptoki", "/etc/opencryptoki", "/var/log"):
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "posward-test", path)
    for path in ("/run/lock/opencryptoki/swtok", "/var/lib/opencryptoki/swtok/TOK_OBJ", "/var/log/opencryptoki"):
        os.makedirs(path)
    for path in ("/run/lock/opencryptoki", "/var/lib/opencryptoki", "/var/log/opencryptoki"):
        run("chgrp", "-R", "pkcs11", path)
        run("chmod", "-R", "ug=rwX,o=", path)
    with open("/etc/opencryptoki/opencryptoki.conf", "w", encoding="ascii") as file:
        file.write(CONFIG)


class Daemon:
    """pkcsslotd, which the library needs: it puts itself into the background."""

    def __init__(self):
        run("pkcsslotd")
        until = time.monotonic() + 10
        while subprocess.run(["pkcsconf", "-t"], capture_output=True).returncode != 0:
            assert time.monotonic() < until, "pkcsslotd does not answer"
            time.sleep(0.05)

    def pid(self):
        with open("/run/pkcsslotd.pid", encoding="ascii") as file:
            return int(file.read())

    def stop(self):
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}/exe"):
            assert time.monotonic() < until, "pkcsslotd does not end"
            time.sleep(0.02)


def multiarch():
    """As in /usr/lib/x86_64-linux-gnu."""
    return os.path.basename(os.path.dirname(glob.glob("/usr/lib/*/opencryptoki")[0]))


def make_token(label, pin):
    """Made new in slot 0. The soft token comes with the PINs 87654321 and 12345678, which must be changed; a PIN has 4 to 8 characters."""
    for words, typed in ((("-I", "-S", "87654321"), label + "\n"), (("-P", "-S", "87654321", "-n", SO_PIN), None),
                         (("-u", "-S", SO_PIN, "-n", "12345678"), None), (("-p", "-U", "12345678", "-n", pin), None)):
        run("pkcsconf", "-c", "0", *words, input=typed, text=True)
