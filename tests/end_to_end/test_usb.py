"""Whole sales by a terminal that is a USB bulk pipe: the real daemon, the real pyusb, a bus below it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.display.geometry import Panel
from tests.drivers.line.usb_bus import Bus
from tests.drivers.line.usb_bus import Device as UsbDevice
from tests.end_to_end.daemon_here import daemon_here
from tests.end_to_end.terminal_on_usb import TerminalOnUsb
from tools.daemon_process import CALLBACK_KEY, BridgeFolder, Terminal
from tools.free_port import free_port
from tools.sandbox.client import SandboxClient, started
from tools.terminal.core import Device

WAIT_S = 20.0


@dataclass
class UsbShop:
    sandbox: SandboxClient
    bus: Bus
    gadget: UsbDevice
    terminal: TerminalOnUsb

    def sell(self) -> None:
        counter = self.terminal.sale(12500)
        self.approve(counter)

    def approve(self, counter: int) -> None:
        image = self.terminal.wait_for("image", WAIT_S, counter=counter)
        self.sandbox.approve(image["code"].rsplit("/", 1)[1])
        told = self.terminal.wait_for("received", WAIT_S, message="OUTCOME", counter=counter)
        assert told["response_code"] == "00"
        self.terminal.wait_for("closed", WAIT_S, counter=counter, ending="approved")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UsbShop]:
    bus = Bus()
    monkeypatch.setattr("libusb_package.get_libusb1_backend", lambda: bus)
    key = tmp_path / "sandbox-key"
    key.touch(mode=0o600)
    key.write_text(CALLBACK_KEY + "\n")
    with started("--callback-key-file", str(key)) as sandbox:
        port = free_port()
        folder = BridgeFolder(
            tmp_path / "bridge",
            sandbox.url,
            listener=f"127.0.0.1:{port}",
            callback_url=f"http://127.0.0.1:{port}/partpay-callback",
        )
        folder.write()
        folder.register(
            {"1001": "Kōwhai Books"}, [Terminal("T0000001", "SN1", "usb:1234:5678:GADGET")]
        )
        device = Device(
            terminal_id="T0000001",
            serial_number="SN1",
            panel=Panel(240, 320),
            formats=bytes.fromhex("83"),
        )
        gadget = UsbDevice(serial="GADGET", driver_on={0})
        with daemon_here(folder), TerminalOnUsb(bus, gadget, device) as terminal:
            terminal.wait_for("ready", WAIT_S, paired=True)
            yield UsbShop(sandbox, bus, gadget, terminal)


def test_a_sale_over_usb(shop: UsbShop) -> None:
    shop.sell()
    assert shop.gadget.done[:2] == ["driver detached from 0", "claimed 0"]


def test_stalls_and_time_outs_in_the_middle_of_a_sale(shop: UsbShop) -> None:
    shop.gadget.takes = 50
    counter = shop.terminal.sale(12500)
    shop.gadget.out_errors.extend([errno.EPIPE, errno.ETIMEDOUT, errno.EPIPE])
    shop.gadget.in_errors.extend([errno.EPIPE, errno.ETIMEDOUT])
    shop.approve(counter)
    assert {"cleared 01", "cleared 81"} <= set(shop.gadget.done)


def test_unplugged_while_the_code_is_on_the_panel(shop: UsbShop) -> None:
    counter = shop.terminal.sale(12500)
    shop.terminal.wait_for("image", WAIT_S, counter=counter)
    shop.terminal.unplug()
    shop.terminal.plug()
    shop.approve(counter)
    shop.sell()
