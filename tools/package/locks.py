"""What the unit's settings let the daemon do, and what not: tried by a script that runs in the daemon's place."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from tools.package.debian import Debian

UNIT = "partpay-bridge.service"
PLACE = "/etc/systemd/system/probe.service"
SCRIPT = "/usr/local/lib/probe.py"

PROBE = """
import ctypes, errno, os, shutil, socket, subprocess
def may(what, *kinds):
    try:
        what()
    except kinds:
        return False
    return True
def ran(folder):
    shutil.copy("/usr/bin/true", folder + "/probe")
    os.chmod(folder + "/probe", 0o755)
    try:
        subprocess.run([folder + "/probe"])
    finally:
        os.unlink(folder + "/probe")
def netlink():
    import libusb_package, usb.core
    list(usb.core.find(find_all=True, backend=libusb_package.get_libusb1_backend()))
def native():
    from drivers.display import qr
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    X25519PrivateKey.generate()
    qr.warm_up()
yes = {
    "look for USB devices (libusb, netlink)": netlink,
    "read and draw codes, make keys (native code)": native,
    "resolve names": lambda: socket.getaddrinfo(HOST, 443),
    "write its state": lambda: open("/var/lib/partpay-bridge/written", "w"),
    "use callbacks of ctypes": lambda: ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)(),
}
no = {
    "see homes": lambda: os.listdir("/home"),
    "see /proc/sys": lambda: os.listdir("/proc/sys"),
    "write /etc": lambda: open("/etc/probe", "w"),
    "write /usr": lambda: open("/usr/probe", "w"),
    "write /run": lambda: open("/run/probe", "w"),
    "run what it wrote (state)": lambda: ran("/var/lib/partpay-bridge"),
    "run what it wrote (/tmp)": lambda: ran("/tmp"),
    "send raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "make memory that can be written and run": lambda: __import__("mmap").mmap(-1, 4096, prot=7),
}
for device, allowed in DEVICES:
    (yes if allowed else no)["open " + device] = lambda device=device: os.open(device, os.O_RDWR | os.O_NONBLOCK)
wrong = ["cannot " + name for name, what in yes.items() if not may(what, OSError)]
wrong += ["can " + name for name, what in no.items() if may(what, OSError)]
os.unlink("/var/lib/partpay-bridge/written")
print("PROBE", wrong or "as it should be:", len(yes), "allowed,", len(no), "refused")
"""


def probe(debian: Debian, unit_file: str, python: str) -> str:
    """Runs a script under the unit's settings; what it found.

    Raises AssertionError for what it may and should not, or should and may not.
    """
    sources = (debian.tree / "etc/apt/sources.list").read_text()
    host = urlsplit(sources.split()[1]).hostname or "localhost"
    devices = []
    for device, allowed in (("/dev/ttyS0", True), ("/dev/kmsg", False)):
        if (
            Path(device).is_char_device()
            and not debian.run(
                "mknod", "-m", "0666", device, "c", *_number(device), check=False
            ).returncode
        ):
            devices.append((device, allowed))
    debian.write(SCRIPT, f"DEVICES, HOST = {devices!r}, {host!r}\n{PROBE}")
    unit = debian.out("cat", unit_file)
    lines = []
    for line in unit.splitlines():
        key = line.partition("=")[0]
        if key == "ExecStart":
            lines.append(f"ExecStart={python} -I {SCRIPT}")
        elif key == "Type":
            lines.append("Type=oneshot")
        elif key not in {
            "WatchdogSec",
            "Restart",
            "RestartPreventExitStatus",
            "RestartSec",
            "NotifyAccess",
            "WantedBy",
        }:
            lines.append(line)
    debian.write(PLACE, "\n".join(lines) + "\n")
    debian.run("systemctl", "stop", UNIT)
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "start", "probe.service", check=False)
    debian.run("journalctl", "--sync", check=False)
    told = debian.out("journalctl", "-u", "probe.service", "-o", "cat", "--no-pager")
    debian.run("rm", "-f", PLACE, SCRIPT)
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "start", UNIT)
    found = [line for line in told.splitlines() if line.startswith("PROBE")]
    assert found, told
    assert "as it should be" in found[0], found[0]
    tried = ", ".join(name for name, _ in devices) or "none of its own"
    return f"{found[0].partition(': ')[2]}; devices tried: {tried}"


def _number(device: str) -> tuple[str, str]:
    about = Path(device).stat().st_rdev
    return str(os.major(about)), str(os.minor(about))
