"""Which USB device a port means, and how it is taken and given back (pyusb, libusb from its wheel).

Rules
- A port is named `usb:VVVV:PPPP`, by vendor and product id as `lsusb` tells them, or `usb:PROFILE`,
  by a profile that has `usb_ids`. After it may stand `:SERIAL`, the device's serial number, and
  `@BUS-PORT.PORT…`, the socket that it is plugged into, as the kernel writes it (`@1-4.2`).
- Where several devices answer to one name none is taken: which one has the customer's terminal is
  not for us to guess. It is said which names would tell them apart.
- Only an interface of the vendor's own class with bulk IN and OUT is taken, or the one that a
  profile names. A CDC-ACM device is a serial line, and is found by its path.
- What the kernel's driver had is given back to it. Everything here may wait for the device, within
  libusb's own limits: it is called from the device's thread.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import libusb_package
import usb.core
import usb.util

from drivers.line.line import Trouble, TroubleKind
from drivers.profiles import ProfileError, UsbId, profile_named

PREFIX = "usb:"
VENDOR_CLASS = 0xFF

READ_MAX_BYTES = 16_384
"""One read. A multiple of every packet size there is (8 to 1,024), else a full packet overflows."""

DRAIN_TIMEOUT_MS = 20
"""What is read within it after opening was said to whoever had the device before."""
DRAIN_MAX_READS = 16
"""A device that talks without end is taken as it is."""

_PORT = re.compile(
    r"usb:(?:(?P<vendor>[0-9a-f]{4}):(?P<product>[0-9a-f]{4})|(?P<profile>[a-z0-9][a-z0-9-]*))"
    r"(?::(?P<serial>.+?))?(?:@(?P<socket>\d+-\d+(?:\.\d+)*))?",
    re.IGNORECASE,
)
_REMEDY = "write usb:VVVV:PPPP (ids as `lsusb` tells them) or usb:PROFILE, then :SERIAL, @BUS-PORT"


@dataclass(frozen=True, slots=True)
class UsbName:
    """What a port's name asks for; None: whatever it is."""

    port: str
    ids: tuple[UsbId, ...]
    serial_number: str | None = None
    socket: str | None = None
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class OpenUsb:
    """A device that is ours: endpoint addresses, and the OUT endpoint's packet size in bytes."""

    device: Any
    interface: int
    in_endpoint: int
    out_endpoint: int
    packet_bytes: int
    had_driver: bool


@dataclass(frozen=True, slots=True)
class Plugged:
    """A device that could be a terminal, as `ports` lists it. `port`: the name to configure.
    `socket`: where it is plugged in, as the kernel writes it (`1-4.2`)."""

    port: str
    manufacturer: str
    product: str
    serial_number: str
    socket: str = ""


def usb_name(port: str) -> UsbName:
    """What `port` asks for. Raises ValueError, with the remedy."""
    found = _PORT.fullmatch(port)
    if found is None:
        raise ValueError(f"{port}: this names no USB device; {_REMEDY}")
    serial_number, socket = found["serial"], found["socket"]
    if found["profile"] is None:
        ids = (UsbId(int(found["vendor"], 16), int(found["product"], 16)),)
        return UsbName(port, ids, serial_number, socket)
    try:
        profile = profile_named(found["profile"])
    except ProfileError as error:
        raise ValueError(f"{port}: {error}; or {_REMEDY}") from error
    if not profile.usb_ids:
        raise ValueError(f"{port}: profile {profile.name} has no usb_ids; {_REMEDY}")
    return UsbName(port, profile.usb_ids, serial_number, socket, profile.usb_interface)


def open_usb(name: UsbName, backend: Any = None) -> OpenUsb | Trouble:
    """Find, take and empty the device. `backend`: pyusb's; None: libusb from its wheel."""
    device = None
    try:
        device = _the_one(name, backend or _libusb())
        if isinstance(device, Trouble):
            return device
        found = _interface(name, device)
        if isinstance(found, Trouble):
            usb.util.dispose_resources(device)
            return found
        taken = _taken(device, found)
        _drain(taken)
        return taken
    except (OSError, ValueError, NotImplementedError) as error:  # pyusb's own are among these
        if device is not None and not isinstance(device, Trouble):
            with suppress(OSError):
                usb.util.dispose_resources(device)
        return trouble_of(name.port, error)


def close_usb(taken: OpenUsb) -> None:
    """Give it back, the kernel's driver too; errors of a device that is gone are nothing."""
    with suppress(OSError):
        usb.util.release_interface(taken.device, taken.interface)
    if taken.had_driver:
        _give_back(taken.device, taken.interface)
    with suppress(OSError):
        usb.util.dispose_resources(taken.device)


def plugged_in(backend: Any = None) -> tuple[Plugged, ...]:
    """Devices that could be terminals: an interface as above that no kernel driver has taken.

    Raises OSError or ValueError where libusb cannot be used at all.
    """
    found = []
    for device in usb.core.find(find_all=True, backend=backend or _libusb()):
        with suppress(OSError, ValueError, NotImplementedError), _let_go(device):
            interface = next(_usable(device, None), None)
            if interface is None or device.is_kernel_driver_active(interface.bInterfaceNumber):
                continue
            serial_number = _text(device, device.iSerialNumber)
            port = f"{PREFIX}{device.idVendor:04x}:{device.idProduct:04x}"
            port += f":{serial_number}" if serial_number else f"@{_socket(device)}"
            manufacturer = _text(device, device.iManufacturer)
            product = _text(device, device.iProduct)
            found.append(Plugged(port, manufacturer, product, serial_number, _socket(device)))
    return tuple(found)


def trouble_of(port: str, error: Exception) -> Trouble:
    """What an error in opening or use means, with port and remedy."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENODEV, errno.ENXIO):
        return Trouble(TroubleKind.ABSENT, f"{port}: unplugged; plug it in again")
    if number in (errno.EACCES, errno.EPERM):
        return Trouble(
            TroubleKind.DENIED,
            f"{port}: no right to use it; name it in /etc/udev/rules.d/69-partpay-bridge.rules, as "
            "systemd/70-partpay-bridge.rules says, and plug it in again",
        )
    if number == errno.EBUSY:
        return Trouble(
            TroubleKind.TAKEN,
            f"{port}: another program has it; stop that one (`partpay-bridge doctor` says which)",
        )
    if isinstance(error, usb.core.NoBackendError):
        return Trouble(TroubleKind.BROKEN, f"{port}: {error}")
    return Trouble(
        TroubleKind.BROKEN,
        f"{port}: it failed ({error or type(error).__name__}); unplug it and plug it in again",
    )


def _libusb() -> Any:
    backend = libusb_package.get_libusb1_backend()
    if backend is None:
        raise usb.core.NoBackendError(
            "libusb cannot be loaded; install the package libusb-package anew"
        )
    return backend


def _the_one(name: UsbName, backend: Any) -> Any:
    """The device that `name` means, or the Trouble that there is none or that there are several."""
    wanted = {(usb_id.vendor, usb_id.product) for usb_id in name.ids}
    alike = list(
        usb.core.find(
            find_all=True,
            backend=backend,
            custom_match=lambda known: (known.idVendor, known.idProduct) in wanted,
        )
    )
    if name.socket is not None:
        alike = [known for known in alike if _socket(known) == name.socket]
    if name.serial_number is not None:
        numbers = [(known, _serial_number(known)) for known in alike]
        alike = [known for known, number in numbers if number == name.serial_number]
    if len(alike) == 1:
        return alike[0]
    if not alike:
        ids = ", ".join(map(str, name.ids))
        return Trouble(
            TroubleKind.ABSENT,
            f"{name.port}: no such device ({ids}) is plugged in; plug the terminal in, or see "
            "`partpay-bridge ports` for what is",
        )
    names = ", ".join(sorted(_told_apart(name, known) for known in alike))
    return Trouble(
        TroubleKind.AMBIGUOUS,
        f"{name.port}: {len(alike)} devices answer to this name; give one of {names} as the port",
    )


def _told_apart(name: UsbName, device: Any) -> str:
    number = "" if name.serial_number is not None else _text(device, device.iSerialNumber)
    if number:
        return f"{name.port}:{number}"
    return f"{name.port}@{_socket(device)}"


def _serial_number(device: Any) -> str:
    """Raises USBError where the device may not be opened: then nobody knows whether it is the one."""
    if not device.iSerialNumber:
        return ""
    device.get_active_configuration()
    return _text(device, device.iSerialNumber)


def _text(device: Any, index: int) -> str:
    try:
        return str(usb.util.get_string(device, index) or "").strip("\0 ")
    except (OSError, ValueError, NotImplementedError):
        return ""


def _socket(device: Any) -> str:
    return f"{device.bus}-{'.'.join(map(str, device.port_numbers or ()))}"


def _interface(name: UsbName, device: Any) -> Any:
    found = next(_usable(device, name.interface), None)
    if found is not None:
        return found
    which = "vendor-class interface" if name.interface is None else f"interface {name.interface}"
    return Trouble(
        TroubleKind.BROKEN,
        f"{name.port}: it has no {which} with bulk IN and OUT; a CDC-ACM device is a serial line: "
        "give its path under /dev/serial/by-id as the port",
    )


def _usable(device: Any, number: int | None) -> Iterator[Any]:
    try:
        configuration = device.get_active_configuration()
    except usb.core.USBError as error:
        if error.errno is not None:
            raise
        device.set_configuration()
        configuration = device.get_active_configuration()
    for interface in configuration:
        own = VENDOR_CLASS in (interface.bInterfaceClass, device.bDeviceClass)
        wanted = own if number is None else interface.bInterfaceNumber == number
        if (
            wanted
            and _bulk(interface, usb.util.ENDPOINT_IN)
            and _bulk(interface, usb.util.ENDPOINT_OUT)
        ):
            yield interface


def _bulk(interface: Any, direction: int) -> list[Any]:
    return [
        endpoint
        for endpoint in interface
        if usb.util.endpoint_type(endpoint.bmAttributes) == usb.util.ENDPOINT_TYPE_BULK
        and usb.util.endpoint_direction(endpoint.bEndpointAddress) == direction
    ]


def _taken(device: Any, interface: Any) -> OpenUsb:
    number = interface.bInterfaceNumber
    had_driver = False
    with suppress(NotImplementedError):
        if device.is_kernel_driver_active(number):
            device.detach_kernel_driver(number)
            had_driver = True
    try:
        usb.util.claim_interface(device, number)
        if interface.bAlternateSetting:
            device.set_interface_altsetting(number, interface.bAlternateSetting)
    except BaseException:
        if had_driver:
            _give_back(device, number)
        raise
    (out_endpoint, *_), (in_endpoint, *_) = (
        _bulk(interface, usb.util.ENDPOINT_OUT),
        _bulk(interface, usb.util.ENDPOINT_IN),
    )
    return OpenUsb(
        device,
        number,
        in_endpoint.bEndpointAddress,
        out_endpoint.bEndpointAddress,
        out_endpoint.wMaxPacketSize,
        had_driver,
    )


def _give_back(device: Any, number: int) -> None:
    with suppress(OSError, NotImplementedError):
        device.attach_kernel_driver(number)


def _drain(taken: OpenUsb) -> None:
    """An open port is empty: what still stood in the device's buffer was for somebody else."""
    for _ in range(DRAIN_MAX_READS):
        try:
            taken.device.read(taken.in_endpoint, READ_MAX_BYTES, DRAIN_TIMEOUT_MS)
        except usb.core.USBTimeoutError:
            return
        except usb.core.USBError as error:
            if error.errno != errno.EPIPE:
                raise
            taken.device.clear_halt(taken.in_endpoint)


@contextmanager
def _let_go(device: Any) -> Iterator[None]:
    try:
        yield
    finally:
        usb.util.dispose_resources(device)
