"""USB as a pyusb backend: a bus that devices are plugged into, with descriptors, bulk transfers, time-outs, stalls.

Below the real pyusb. A device's end of the pipes is `say`, `took` and `heard`; what the host does to it stands in
`done`. Reads and writes block as libusb's do, and end when the device is unplugged.
"""

from __future__ import annotations

import array
import errno
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

BULK, INTERRUPT = 2, 3
GIVE_UP_S = 20.0


def error(number: int) -> usb.core.USBError:
    if number == errno.ETIMEDOUT:
        return usb.core.USBTimeoutError("Operation timed out", -7, number)
    return usb.core.USBError(errno.errorcode[number], -1, number)


@dataclass
class Interface:
    """`endpoints`: (address, type). `alternate`: the setting under which they are there."""

    number: int = 0
    kind: int = 0xFF
    endpoints: Sequence[tuple[int, int]] = ((0x01, BULK), (0x81, BULK))
    alternate: int = 0


@dataclass(eq=False)
class Device:
    """`driver_on`: interfaces that the kernel's driver has. `taken_by_others`, `forbidden`: claiming, opening fails.

    `in_errors`, `out_errors`: what the next transfers end with, each once. `takes`: bytes of one transfer at most;
    None: all. `answers`: called with each transfer's bytes, for a device that talks back.
    """

    vendor: int = 0x1234
    product: int = 0x5678
    serial: str = "SN1"
    socket: str = "1-4"
    kind: int = 0
    packet_bytes: int = 64
    interfaces: Sequence[Interface] = (Interface(),)
    configured: bool = True
    driver_on: set[int] = field(default_factory=set)
    taken_by_others: bool = False
    forbidden: bool = False
    takes: int | None = None
    in_errors: deque[int] = field(default_factory=deque)
    out_errors: deque[int] = field(default_factory=deque)
    answers: Callable[[bytes], None] = lambda data: None
    on_timeout: Callable[[], None] = lambda: None
    plugged: bool = False
    done: list[str] = field(default_factory=list)
    transfers: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self._saying: deque[bytes] = deque()
        self.handles = 0

    # -- the device's end --------------------------------------------------------------------------------------

    def say(self, *packets: bytes) -> None:
        with self.changed:
            self._saying.extend(packets)
            self.changed.notify_all()

    def forget(self) -> None:
        """What nobody has read is gone, as it is when a cable is pulled."""
        with self.changed:
            self._saying.clear()

    @property
    def unsaid_bytes(self) -> int:
        """What nobody has read yet."""
        with self.changed:
            return sum(map(len, self._saying))

    @property
    def took(self) -> bytes:
        """All bytes of all transfers until now."""
        with self.changed:
            return b"".join(self.transfers)

    def wait(self, holds: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, GIVE_UP_S), f"never came: {self.done}"

    # -- transfers ---------------------------------------------------------------------------------------------

    def read(self, room: Any, timeout_ms: int) -> int:
        with self.changed:
            if self.in_errors:
                raise error(self.in_errors.popleft())
            self.changed.wait_for(
                lambda: self._saying or self.in_errors or not self.plugged, timeout_ms / 1000
            )
            self._there()
            if self.in_errors:
                raise error(self.in_errors.popleft())
            if not self._saying:
                raise error(errno.ETIMEDOUT)
            packet = self._saying.popleft()
            assert len(packet) <= len(room), "an overflow"
            room[: len(packet)] = array.array("B", packet)
            self.changed.notify_all()
            return len(packet)

    def write(self, data: bytes, timeout_ms: int) -> int:
        assert timeout_ms > 0
        with self.changed:
            self._there()
            if self.out_errors:
                failed = self.out_errors.popleft()
                if failed == errno.ETIMEDOUT:
                    self.on_timeout()
                raise error(failed)
            part = data if self.takes is None else data[: self.takes]
            self.transfers.append(part)
            self.changed.notify_all()
        self.answers(part)
        return len(part)

    def note(self, what: str) -> None:
        with self.changed:
            self.done.append(what)
            self.changed.notify_all()

    def _there(self) -> None:
        if not self.plugged:
            raise error(errno.ENODEV)


class Bus(usb.backend.IBackend):
    """The backend. Any thread may plug and unplug."""

    def __init__(self, *devices: Device) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.devices: list[Device] = []
        for device in devices:
            self.plug(device)

    def plug(self, device: Device) -> None:
        with device.changed:
            device.plugged = True
        with self.changed:
            self.devices.append(device)
            self.changed.notify_all()

    def unplug(self, device: Device) -> None:
        with self.changed:
            self.devices.remove(device)
        with device.changed:
            device.plugged = False
            device.changed.notify_all()

    # -- what pyusb asks ---------------------------------------------------------------------------------------

    def enumerate_devices(self) -> Iterator[Device]:
        with self.changed:
            return iter([*self.devices])

    def get_parent(self, dev: Device) -> None:
        return None

    def get_device_descriptor(self, dev: Device) -> Any:
        bus, _, ports = dev.socket.partition("-")
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x200, bDeviceClass=dev.kind, bDeviceSubClass=0,
            bDeviceProtocol=0, bMaxPacketSize0=64, idVendor=dev.vendor, idProduct=dev.product,
            bcdDevice=0x100, iManufacturer=1, iProduct=2, iSerialNumber=3 if dev.serial else 0,
            bNumConfigurations=1, address=5, bus=int(bus), port_number=int(ports.split(".")[0]),
            port_numbers=tuple(map(int, ports.split("."))), speed=3,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: Device, config: int) -> Any:
        if config:
            raise IndexError
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=55,
            bNumInterfaces=len({one.number for one in dev.interfaces}), bConfigurationValue=1,
            iConfiguration=0, bmAttributes=0xC0, bMaxPower=1, extra_descriptors=b"",
        )  # fmt: skip

    def get_interface_descriptor(self, dev: Device, intf: int, alt: int, config: int) -> Any:
        numbers = sorted({one.number for one in dev.interfaces})
        one = [known for known in dev.interfaces if known.number == numbers[intf]][alt]
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=one.number, bAlternateSetting=one.alternate,
            bNumEndpoints=len(one.endpoints), bInterfaceClass=one.kind, bInterfaceSubClass=0,
            bInterfaceProtocol=0, iInterface=0, extra_descriptors=b"",
        )  # fmt: skip

    def get_endpoint_descriptor(
        self, dev: Device, ep: int, intf: int, alt: int, config: int
    ) -> Any:
        numbers = sorted({one.number for one in dev.interfaces})
        one = [known for known in dev.interfaces if known.number == numbers[intf]][alt]
        address, kind = one.endpoints[ep]
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=address, bmAttributes=kind,
            wMaxPacketSize=dev.packet_bytes, bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=b"",
        )  # fmt: skip

    def open_device(self, dev: Device) -> Device:
        if not dev.plugged:
            raise error(errno.ENODEV)
        if dev.forbidden:
            raise error(errno.EACCES)
        dev.handles += 1
        return dev

    def close_device(self, dev_handle: Device) -> None:
        dev_handle.handles -= 1

    def get_configuration(self, dev_handle: Device) -> int:
        return int(dev_handle.configured)

    def set_configuration(self, dev_handle: Device, config_value: int) -> None:
        dev_handle.configured = True
        dev_handle.note(f"configured {config_value}")

    def set_interface_altsetting(self, dev_handle: Device, intf: int, altsetting: int) -> None:
        dev_handle.note(f"setting {altsetting} of {intf}")

    def is_kernel_driver_active(self, dev_handle: Device, intf: int) -> bool:
        return intf in dev_handle.driver_on

    def detach_kernel_driver(self, dev_handle: Device, intf: int) -> None:
        dev_handle.driver_on.remove(intf)
        dev_handle.note(f"driver detached from {intf}")

    def attach_kernel_driver(self, dev_handle: Device, intf: int) -> None:
        if not dev_handle.plugged:
            raise error(errno.ENODEV)
        dev_handle.driver_on.add(intf)
        dev_handle.note(f"driver attached to {intf}")

    def claim_interface(self, dev_handle: Device, intf: int) -> None:
        if dev_handle.taken_by_others:
            raise error(errno.EBUSY)
        dev_handle.note(f"claimed {intf}")

    def release_interface(self, dev_handle: Device, intf: int) -> None:
        if not dev_handle.plugged:
            raise error(errno.ENODEV)
        dev_handle.note(f"released {intf}")

    def clear_halt(self, dev_handle: Device, ep: int) -> None:
        dev_handle.note(f"cleared {ep:02x}")

    def ctrl_transfer(
        self, dev_handle: Device, request_type: int, request: int, value: int, index: int,
        data: Any, timeout: int,
    ) -> int:  # fmt: skip
        """String descriptors: the languages, maker, product, serial number."""
        text = (
            b"\x09\x04",
            *(one.encode("utf-16-le") for one in ("Acme", "T1", dev_handle.serial)),
        )
        answer = bytes([len(text[value & 0xFF]) + 2, 3]) + text[value & 0xFF]
        data[: len(answer)] = array.array("B", answer)
        return len(answer)

    def bulk_write(self, dev_handle: Device, ep: int, intf: int, data: Any, timeout: int) -> int:
        assert ep < 0x80
        return dev_handle.write(data.tobytes(), timeout)

    def bulk_read(self, dev_handle: Device, ep: int, intf: int, buff: Any, timeout: int) -> int:
        assert ep >= 0x80
        return dev_handle.read(buff, timeout)
