"""The udev rules, carried out by udev itself on devices that are only written down (umockdev).

In namespaces of their own: neither this machine's rules nor its database of devices is touched.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.systemd.unit_file import SYSTEMD
from tests.systemd.usb_devices import Usb

RULES = SYSTEMD / "70-partpay-bridge.rules"
ACM = ("020201", "0a0000")

FTDI = Usb("0403", "6001", "A50285BI", ("ffffff",), "ttyUSB0", "ftdi_sio")
CLONE = Usb("1a86", "7523", "", ("ff0102",), "ttyUSB0", "ch341-uart")
CP2102 = Usb("10c4", "ea60", "0001", ("ff0000",), "ttyUSB0", "cp210x")
TERMINAL = Usb("11ca", "0240", "80123456", ACM, "ttyACM0", "cdc_acm")
MODEM = Usb("1199", "68a3", "356000", (*ACM, "020d00", "0a0001"), "ttyACM0", "cdc_acm")
PHONE_MODEM = Usb("1546", "1141", "", (*ACM, *ACM, *ACM), "ttyACM0", "cdc_acm")

needs_udev = pytest.mark.skipif(
    not all(map(shutil.which, ("umockdev-run", "udevadm", "unshare"))),
    reason="umockdev-run, udevadm or unshare is not installed",
)


@dataclass(frozen=True)
class Seen:
    """What udev did. device, tty: what it told of each."""

    device: str
    adapter: str
    tty: str

    @property
    def links(self) -> set[str]:
        found = re.search(r"(?m)^DEVLINKS=(.*)$", self.tty)
        return set(found[1].split()) if found else set()


def plugged_in(folder: Path, usb: Usb, local_rule: str = "") -> Seen:
    mock = folder / "device.umockdev"
    mock.write_text(usb.text())
    local = folder / "69-partpay-bridge.rules"
    local.write_text(local_rule + "\n")
    paths = [usb.path, f"{usb.path}/1-4:1.0/{usb.port}", usb.tty]
    script = f"""
        set -e
        mkdir -p /run/udev
        mount -t tmpfs none /run/udev
        mount -t tmpfs none /etc/udev/rules.d
        cp {RULES} {local} /etc/udev/rules.d/
        umockdev-run --device {mock} -- sh -c '
            for path in {" ".join(paths)}; do
                [ ! -e /sys$path ] || udevadm test --action=add /sys$path 2>&1 || true
                echo "== end"
            done'
    """
    # A user's namespace may do this, too; where even that is forbidden there is nothing to test with.
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "debug"},
    )
    if done.returncode or "== end" not in done.stdout:
        pytest.skip(f"udev cannot be tried here: {(done.stderr or done.stdout).strip()[-200:]}")
    return Seen(*done.stdout.split("== end\n")[:3])


@needs_udev
def test_an_adapter_gets_its_links_its_group_and_no_delay(tmp_path: Path) -> None:
    seen = plugged_in(tmp_path, FTDI)
    assert {
        "/dev/partpay/serial-A50285BI",
        "/dev/partpay/socket-pci-0000:00:14.0-usb-0:4:1.0",
    } <= seen.links
    assert "ID_MM_DEVICE_IGNORE=1" in seen.device
    assert "power/control' writing 'on'" in seen.device
    assert "latency_timer' writing '1'" in seen.adapter
    assert re.search(r"70-partpay-bridge.rules:\d+ GROUP \d+", seen.tty)
    assert "70-partpay-bridge.rules" in seen.tty
    assert "MODE 0660" in seen.tty


@needs_udev
@pytest.mark.parametrize("usb", [CLONE, CP2102], ids=["no serial number", "the factory's"])
def test_adapters_that_cannot_be_told_apart_go_by_their_socket(tmp_path: Path, usb: Usb) -> None:
    seen = plugged_in(tmp_path, usb)
    ours = {link for link in seen.links if link.startswith("/dev/partpay/")}
    assert ours == {"/dev/partpay/socket-pci-0000:00:14.0-usb-0:4:1.0"}
    assert "latency_timer' writing" not in seen.adapter


@needs_udev
def test_a_terminal_that_is_a_serial_port_itself_is_kept_from_modemmanager(tmp_path: Path) -> None:
    seen = plugged_in(tmp_path, TERMINAL)
    assert "/dev/partpay/serial-80123456" in seen.links
    assert "ID_MM_DEVICE_IGNORE=1" in seen.device
    assert "ID_MM_PORT_IGNORE=1" in seen.tty


@needs_udev
@pytest.mark.parametrize("usb", [MODEM, PHONE_MODEM], ids=["with a network", "with many ports"])
def test_the_shops_modem_is_left_to_modemmanager(tmp_path: Path, usb: Usb) -> None:
    seen = plugged_in(tmp_path, usb)
    assert not any(link.startswith("/dev/partpay/") for link in seen.links)
    assert "ID_MM_DEVICE_IGNORE" not in seen.device
    assert "power/control" not in seen.device


@needs_udev
def test_a_line_of_ones_own_outranks_the_guess(tmp_path: Path) -> None:
    rule = 'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{}", ENV{{PARTPAY_TERMINAL}}="{}"'
    assert not any(
        "partpay" in link for link in plugged_in(tmp_path, FTDI, rule.format("0403", 0)).links
    )
    taken = plugged_in(tmp_path, PHONE_MODEM, rule.format("1546", 1))
    assert any("/dev/partpay/" in link for link in taken.links)
    assert "ID_MM_DEVICE_IGNORE=1" in taken.device


def test_every_place_that_is_gone_to_is_there_once() -> None:
    text = RULES.read_text(encoding="utf-8")
    places = re.findall(r'LABEL="(\w+)"', text)
    assert len(places) == len(set(places))
    for place in re.findall(r'GOTO="(\w+)"', text):
        assert text.index(f'GOTO="{place}"') < text.index(f'LABEL="{place}"')


def test_nothing_is_run() -> None:
    text = "\n".join(
        line for line in RULES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    assert not re.search(r"RUN|PROGRAM|IMPORT\{program\}", text)
