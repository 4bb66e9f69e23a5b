"""Ways to an ESC/POS device: serial port, USB, network (python-escpos, pyserial, pyusb).

Rules of this module:
- A connection is opened for a job and let go after it; opening, sending and closing all end within
  named limits, whatever the device does.
- The classes of python-escpos are opened here by our own rules: no word on standard output, an
  exclusive port, an endpoint that is looked up, the kernel's driver given back.
- What goes wrong is raised as DeviceError, with what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import libusb_package
import serial
import usb.core
import usb.util

from drivers.display.escpos_library import printer

CONNECT_TIMEOUT_S = 5.0
"""A printer in the same shop answers at once or is off."""
SLACK_S = 3.0
"""What a device may take beside the time of the bytes on the wire."""
NETWORK_BYTES_S = 20_000
"""A slow printer takes bytes as fast as it prints them."""
USB_TIMEOUT_MS = 5_000
REPLY_TIMEOUT_S = 1.0
RESET_WAIT_S = 0.5
"""Across a shop's network a reset is there in some milliseconds."""
STILL_WAITING_S = 0.01
"""Between two looks at whether the last bytes have left a serial port."""

PRINTER_CLASS = 7


class DeviceError(Exception):
    """A device cannot be used now; the words name it and the remedy."""


class Connection(Protocol):
    """A way to one device."""

    @property
    def name(self) -> str: ...

    def opened(self) -> contextlib.AbstractContextManager[Any]:
        """A printer object of python-escpos, open; raises DeviceError."""


@dataclass(frozen=True, slots=True)
class SerialConnection:
    """`path` with `baud`; `flow` is none, rtscts, xonxoff or dsrdtr."""

    path: str
    baud: int = 9600
    flow: str = "none"

    @property
    def name(self) -> str:
        return f"serial:{self.path}"

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        device = None
        try:
            device = _Serial(self)
            yield device
            device.drain()
        except (OSError, ValueError, termios.error) as error:  # pyserial's own are OSErrors
            raise DeviceError(_told(self.name, error)) from error
        finally:
            if device is not None:
                device.close()


@dataclass(frozen=True, slots=True)
class NetworkConnection:
    host: str
    port: int = 9100

    @property
    def name(self) -> str:
        return f"tcp:{self.host}:{self.port}"

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        device = None
        try:
            device = _Network(self)
            yield device
            device.drain()
        except OSError as error:
            raise DeviceError(_told(self.name, error)) from error
        finally:
            if device is not None:
                device.close()


@dataclass(frozen=True, slots=True)
class UsbConnection:
    """By vendor and product id, and by serial number where there are several of a kind."""

    vendor: int
    product: int
    serial_number: str | None = None
    backend: Any = None
    """A pyusb backend; libusb from its wheel where None."""

    @property
    def name(self) -> str:
        return f"usb:{self.vendor:04x}:{self.product:04x}"

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        device = None
        try:
            device = _Usb(self)
            yield device
        except (OSError, usb.core.NoBackendError, NotImplementedError, ValueError) as error:
            raise DeviceError(_told(self.name, error)) from error
        finally:
            if device is not None:
                device.close()


class _Serial(printer.Serial):  # type: ignore[misc]
    """Exclusive, raw, and with an end to every write."""

    device: Any
    _device: Any

    def __init__(self, at: SerialConnection) -> None:
        super().__init__(devfile=at.path, baudrate=at.baud)
        self.at = at
        self.drained = False
        self.open()

    def open(self, raise_not_found: bool = True) -> None:
        self.device = serial.Serial(
            port=self.at.path,
            baudrate=self.at.baud,
            timeout=REPLY_TIMEOUT_S,
            write_timeout=SLACK_S,
            exclusive=True,
            rtscts=self.at.flow == "rtscts",
            xonxoff=self.at.flow == "xonxoff",
            dsrdtr=self.at.flow == "dsrdtr",
        )

    def _raw(self, msg: bytes) -> None:
        self.device.write_timeout = SLACK_S + len(msg) * 10 / self.at.baud
        self.device.write(msg)

    def drain(self) -> None:
        """Until the last byte has left; a device that holds the line for longer is off."""
        _wait_until_none(
            lambda: int(self.device.out_waiting), self.device.out_waiting * 10 / self.at.baud
        )
        self.drained = True

    def close(self) -> None:
        device, self._device = self._device, None
        if not device:
            return
        if not self.drained:  # else the kernel waits half a minute for a device that takes no more
            with contextlib.suppress(OSError, termios.error):
                device.reset_output_buffer()
        device.close()


class _Network(printer.Network):  # type: ignore[misc]
    """An end to every write and to every wait for an answer."""

    device: Any
    _device: Any

    def __init__(self, at: NetworkConnection) -> None:
        super().__init__(at.host, at.port)
        self.open()

    def open(self, raise_not_found: bool = True) -> None:
        self.device = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S)

    def _raw(self, msg: bytes) -> None:
        self.device.settimeout(SLACK_S + len(msg) / NETWORK_BYTES_S)
        self.device.sendall(msg)

    def drain(self) -> None:
        """Until the printer has taken the last byte, so that closing cuts nothing off."""
        _wait_until_none(lambda: _not_taken(self.device), _not_taken(self.device) / NETWORK_BYTES_S)
        self._see_that_it_was_not_thrown_away()

    def _see_that_it_was_not_thrown_away(self) -> None:
        """A printer that serves another till takes a connection, and resets it with all that was sent.

        Raises OSError. One that says nothing, or ends the connection in order, has what was sent.
        """
        self.device.shutdown(socket.SHUT_WR)
        ends_at = time.monotonic() + RESET_WAIT_S
        while (left_s := ends_at - time.monotonic()) > 0:
            self.device.settimeout(left_s)
            try:
                if not self.device.recv(256):
                    return
            except TimeoutError:
                return

    def _read(self) -> bytes:
        self.device.settimeout(REPLY_TIMEOUT_S)
        return bytes(self.device.recv(16))

    def close(self) -> None:
        device, self._device = self._device, None
        if not device:
            return
        with contextlib.suppress(OSError):
            device.shutdown(socket.SHUT_WR)
        device.close()


class _Usb(printer.Usb):  # type: ignore[misc]
    """The first interface that is a printer's, or has a bulk OUT endpoint."""

    device: Any
    _device: Any

    def __init__(self, at: UsbConnection) -> None:
        super().__init__(at.vendor, at.product, usb_args={})
        self.at = at
        self.interface: int | None = None
        self.had_driver = False
        self.open()

    def open(self, raise_not_found: bool = True) -> None:
        at = self.at
        found = usb.core.find(
            backend=at.backend or libusb_package.get_libusb1_backend(),
            custom_match=lambda device: at.serial_number in (None, device.serial_number),
            **self.usb_args,
        )
        if found is None:
            raise DeviceError(
                f"{at.name}: no such device is plugged in; see `lsusb` for what is, and its power"
            )
        self.device = found
        try:
            self._claim(found)
        except BaseException:
            self.close()
            raise

    def _claim(self, device: Any) -> None:
        try:
            configuration = device.get_active_configuration()
        except usb.core.USBError:
            device.set_configuration()
            configuration = device.get_active_configuration()
        interfaces = sorted(configuration, key=lambda known: known.bInterfaceClass != PRINTER_CLASS)
        found = next((known for known in interfaces if _bulk(known, usb.util.ENDPOINT_OUT)), None)
        if found is None:
            raise DeviceError(f"{self.at.name}: it takes no bulk data, so it is no ESC/POS device")
        self.out_ep = _bulk(found, usb.util.ENDPOINT_OUT)[0]
        self.in_ep = next(iter(_bulk(found, usb.util.ENDPOINT_IN)), None)
        number = found.bInterfaceNumber
        with contextlib.suppress(NotImplementedError):
            if device.is_kernel_driver_active(number):
                device.detach_kernel_driver(number)
                self.had_driver = True
        self.interface = number
        usb.util.claim_interface(device, number)

    def _raw(self, msg: bytes) -> None:
        sent = 0
        while sent < len(msg):
            sent += self.device.write(self.out_ep, msg[sent:], USB_TIMEOUT_MS)

    def _read(self) -> bytes:
        if self.in_ep is None:
            return b""
        return bytes(self.device.read(self.in_ep, 64, int(REPLY_TIMEOUT_S * 1000)))

    def close(self) -> None:
        device, self._device = self._device, None
        if not device:
            return
        if self.interface is not None:
            with contextlib.suppress(OSError):
                usb.util.release_interface(device, self.interface)
            if self.had_driver:
                with contextlib.suppress(OSError, NotImplementedError):
                    device.attach_kernel_driver(self.interface)
        usb.util.dispose_resources(device)


def _wait_until_none(left_bytes: Callable[[], int], needed_s: float) -> None:
    ends = time.monotonic() + SLACK_S + needed_s
    while left_bytes():
        if time.monotonic() > ends:
            raise TimeoutError("it takes no more bytes")
        time.sleep(STILL_WAITING_S)


def _not_taken(connected: socket.socket) -> int:
    """Bytes that the other end has not acknowledged (SIOCOUTQ)."""
    answer = fcntl.ioctl(connected, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _bulk(interface: Any, direction: int) -> list[int]:
    return [
        endpoint.bEndpointAddress
        for endpoint in interface
        if usb.util.endpoint_type(endpoint.bmAttributes) == usb.util.ENDPOINT_TYPE_BULK
        and usb.util.endpoint_direction(endpoint.bEndpointAddress) == direction
    ]


def _told(name: str, error: BaseException) -> str:
    number = getattr(error, "errno", None)
    remedy = {
        errno.ENOENT: "plug it in, or see `partpay-bridge ports` for what is",
        errno.ENODEV: "plug it in again",
        errno.EACCES: "give the bridge's user access to it (group dialout or lp, or a udev rule)",
        errno.EBUSY: "another program has it: stop that",
        errno.ECONNREFUSED: "see that the printer is on and takes raw data at that port",
        errno.EHOSTUNREACH: "see that the printer is on and has that address",
    }.get(number or 0, "see that it is on, plugged in, and has paper")
    return f"{name}: {error or type(error).__name__}; {remedy}"
