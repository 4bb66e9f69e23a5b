"""What is plugged in, from a tree of /dev and /sys that the test brings, and from pyserial's own list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from serial.tools.list_ports_common import ListPortInfo
from serial.tools.list_ports_linux import comports

from drivers.discovery import Device, Inventory, inventory, stable_name
from drivers.line.usb_port import Plugged
from tests.drivers.line.usb_bus import Bus

FTDI = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KZQ-if00-port0"


@dataclass
class Machine:
    """A machine's /dev and /sys below `root`, and what pyserial would list on it."""

    root: Path
    infos: list[ListPortInfo] = field(default_factory=list)

    def adapter(
        self,
        node: str,
        socket: str,
        *,
        serial: str | None = "A10KZQ",
        by_id: str | None = FTDI,
        latency: str = "16",
        **more: Any,
    ) -> None:
        info = ListPortInfo(node)
        info.vid, info.pid = more.get("ids", (0x0403, 0x6001))
        info.manufacturer, info.product = "FTDI", "FT232R USB UART"
        info.serial_number, info.location = serial, socket
        self.infos.append(info)
        self.put(node)
        for link in filter(None, (by_id, f"/dev/serial/by-path/pci-0:usb-{socket}")):
            self.link(link, f"../../{Path(node).name}")
        sysfs = self.root / f"sys/class/tty/{Path(node).name}/device"
        sysfs.mkdir(parents=True)
        (sysfs / "latency_timer").write_text(latency + "\n")
        (self.root / "sys/bus/drivers/ftdi_sio").mkdir(parents=True, exist_ok=True)
        (sysfs / "driver").symlink_to(self.root / "sys/bus/drivers/ftdi_sio")

    def put(self, node: str) -> None:
        file = self.root / node.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def link(self, name: str, target: str) -> None:
        link = self.root / name.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def look(self, usb: Iterable[Plugged] = ()) -> Inventory:
        return inventory(self.root, serial_ports=lambda: self.infos, usb_devices=lambda: usb)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_adapter_by_maker_product_serial_number_and_place(machine: Machine) -> None:
    machine.adapter("/dev/ttyUSB0", "1-4.2")
    machine.link("/dev/partpay/serial-A10KZQ", "../ttyUSB0")
    (device,) = machine.look().devices
    by_path = "/dev/serial/by-path/pci-0:usb-1-4.2"
    assert device == Device(
        port=FTDI,
        node="/dev/ttyUSB0",
        names=(FTDI, by_path, "/dev/partpay/serial-A10KZQ", "/dev/ttyUSB0"),
        maker="FTDI",
        product="FT232R USB UART",
        serial_number="A10KZQ",
        usb_id="0403:6001",
        place="1-4.2",
        driver="ftdi_sio",
        latency_ms=16,
    )
    assert device.what == (
        "FTDI FT232R USB UART, serial number A10KZQ, USB 0403:6001, socket 1-4.2"
    )


def test_back_under_another_name_it_is_the_same_device(machine: Machine) -> None:
    machine.adapter("/dev/ttyUSB0", "1-4.2")
    before = machine.look().find(FTDI)
    machine.infos.clear()
    machine.adapter("/dev/ttyUSB1", "1-1")
    after = machine.look().find(FTDI)
    assert before is not None and after is not None
    assert (before.node, after.node) == ("/dev/ttyUSB0", "/dev/ttyUSB1")
    assert before.port == after.port == FTDI


def test_twins_without_a_serial_number_go_by_their_sockets(machine: Machine) -> None:
    link = "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"
    for node, socket in (("/dev/ttyUSB0", "1-1"), ("/dev/ttyUSB1", "1-2")):
        machine.adapter(node, socket, serial=None, by_id=link, ids=(0x1A86, 0x7523))
    assert [device.port for device in machine.look().devices] == [
        "/dev/serial/by-path/pci-0:usb-1-1",
        "/dev/serial/by-path/pci-0:usb-1-2",
    ]


def test_one_of_a_kind_without_a_serial_number_goes_by_its_id(machine: Machine) -> None:
    machine.adapter("/dev/ttyUSB0", "1-1", serial=None)
    assert machine.look().devices[0].port == FTDI


def test_a_built_in_port_has_one_name(machine: Machine) -> None:
    machine.infos.append(ListPortInfo("/dev/ttyS0"))
    (device,) = machine.look().devices
    assert (device.port, device.names, device.place) == ("/dev/ttyS0", ("/dev/ttyS0",), "")
    assert "built in" in device.what


def test_a_usb_device_of_its_makers_own_class(machine: Machine) -> None:
    sysfs = machine.root / "sys/bus/usb/devices/1-4"
    sysfs.mkdir(parents=True)
    for name, text in (("busnum", "1"), ("devnum", "7"), ("manufacturer", "Acme")):
        (sysfs / name).write_text(text + "\n")
    found = machine.look([Plugged("usb:1234:5678:SN1", "", "T1", "SN1", "1-4")])
    (device,) = found.devices
    assert device.node == "/dev/bus/usb/001/007"
    assert device.what == "Acme T1, serial number SN1, USB 1234:5678, socket 1-4"
    for name in ("usb:1234:5678", "usb:1234:5678:SN1", "usb:1234:5678@1-4", device.node):
        assert found.find(name) is device
    for name in ("usb:1234:9999", "usb:1234:5678:SN2", "usb:1234:5678@1-5", "usb:?", "/dev/none"):
        assert found.find(name) is None


def test_a_name_that_several_usb_devices_share_means_none_of_them(machine: Machine) -> None:
    twins = [Plugged(f"usb:1234:5678@1-{n}", "Acme", "T1", "", f"1-{n}") for n in (1, 2)]
    found = machine.look(twins)
    assert found.find("usb:1234:5678") is None
    assert found.find("usb:1234:5678@1-2") is found.devices[1]


def test_what_cannot_be_listed_is_said_and_the_rest_is_there(machine: Machine) -> None:
    machine.adapter("/dev/ttyUSB0", "1-1")

    def no_libusb() -> Iterable[Plugged]:
        raise OSError("libusb cannot be loaded")

    found = inventory(machine.root, serial_ports=lambda: machine.infos, usb_devices=no_libusb)
    assert [device.node for device in found.devices] == ["/dev/ttyUSB0"]
    assert "libusb cannot be loaded" in found.troubles[0]

    def gone_meanwhile() -> Iterable[ListPortInfo]:
        raise TypeError("int() argument must be a string")

    found = inventory(machine.root, serial_ports=gone_meanwhile, usb_devices=lambda: [])
    assert (found.devices, len(found.troubles)) == ((), 1)


@pytest.mark.parametrize(
    ("port", "better"),
    [
        ("/dev/ttyUSB0", FTDI),
        ("/dev/ttyACM7", None),
        (FTDI, None),
        ("/dev/ttyS0", None),
        ("usb:1234:5678", None),
    ],
)
def test_advice_for_names_that_may_be_another_devices_tomorrow(
    machine: Machine, port: str, better: str | None
) -> None:
    machine.adapter("/dev/ttyUSB0", "1-1")
    assert stable_name(port, machine.look()) == better


def test_a_link_out_of_the_tree_is_passed_over(machine: Machine) -> None:
    machine.adapter("/dev/ttyUSB0", "1-1")
    machine.link("/dev/serial/by-id/strange", "/somewhere/else")
    assert machine.look().devices[0].port == FTDI


def test_this_machine_can_be_looked_at() -> None:
    bus = Bus()
    from drivers.line.usb_port import plugged_in

    found = inventory(usb_devices=lambda: plugged_in(bus))
    assert len(found.devices) == len(comports())
