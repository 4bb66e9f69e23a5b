"""A USB printer as a pyusb backend: descriptors, one bulk endpoint each way, a kernel driver.

Below the real pyusb, so that what is claimed, detached and written is what a device would see.
"""

from __future__ import annotations

import array
import errno
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

OUT, IN = 0x03, 0x84


@dataclass
class UsbPrinter(usb.backend.IBackend):
    vendor: int = 0x04B8
    product: int = 0x0E15
    serial: str = "J1"
    interface_class: int = 7
    takes: int = 1 << 20
    """Bytes of one transfer at most; 0: it stalls."""
    answers: list[bytes] = field(default_factory=list)
    kernel_driver: bool = True
    taken: bytes = b""
    said: list[str] = field(default_factory=list)

    def enumerate_devices(self) -> Any:
        yield self

    def get_parent(self, dev: Any) -> None:
        return None

    def get_device_descriptor(self, dev: Any) -> Any:
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x200, bDeviceClass=0, bDeviceSubClass=0,
            bDeviceProtocol=0, bMaxPacketSize0=64, idVendor=self.vendor, idProduct=self.product,
            bcdDevice=0x100, iManufacturer=0, iProduct=0, iSerialNumber=3, bNumConfigurations=1,
            address=5, bus=1, port_number=1, port_numbers=(1,), speed=3,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: Any, config: int) -> Any:
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=55, bNumInterfaces=2, bConfigurationValue=1,
            iConfiguration=0, bmAttributes=0xC0, bMaxPower=1, extra_descriptors=b"",
        )  # fmt: skip

    def get_interface_descriptor(self, dev: Any, intf: int, alt: int, config: int) -> Any:
        if alt or intf > 1:
            raise IndexError
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=intf, bAlternateSetting=0,
            bNumEndpoints=2 * intf, bInterfaceClass=self.interface_class if intf else 3,
            bInterfaceSubClass=1, bInterfaceProtocol=2, iInterface=0, extra_descriptors=b"",
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: Any, ep: int, intf: int, alt: int, config: int) -> Any:
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=(OUT, IN)[ep], bmAttributes=2,
            wMaxPacketSize=64, bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=b"",
        )  # fmt: skip

    def open_device(self, dev: Any) -> str:
        self.said.append("opened")
        return "handle"

    def close_device(self, dev_handle: Any) -> None:
        self.said.append("closed")

    def get_configuration(self, dev_handle: Any) -> int:
        return 1

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return self.kernel_driver

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernel_driver = False
        self.said.append(f"driver detached from {intf}")

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernel_driver = True
        self.said.append(f"driver attached to {intf}")

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        self.said.append(f"claimed {intf}")

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        self.said.append(f"released {intf}")

    def ctrl_transfer(
        self, dev_handle: Any, request_type: int, request: int, value: int, index: int,
        data: Any, timeout: int,
    ) -> int:  # fmt: skip
        """String descriptors: the languages, and the serial number."""
        text = b"\x09\x04" if value & 0xFF == 0 else self.serial.encode("utf-16-le")
        answer = bytes([len(text) + 2, 3]) + text
        data[: len(answer)] = array.array("B", answer)
        return len(answer)

    def bulk_write(self, dev_handle: Any, ep: int, intf: int, data: Any, timeout: int) -> int:
        assert ep == OUT
        assert timeout > 0
        if not self.takes:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        part = bytes(data[: self.takes])
        self.taken += part
        return len(part)

    def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: Any, timeout: int) -> int:
        assert ep == IN
        if not self.answers:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        answer = self.answers.pop(0)
        buff[: len(answer)] = array.array("B", answer)
        return len(answer)
