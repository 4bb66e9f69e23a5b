"""What is plugged in: by maker, product, serial number and place, and by every name that means it.

Rules
- Nothing here opens a port or a device's pipe: to look disturbs nobody. Who has a port is
  `drivers.holders`, what answers on one is `drivers.asking`.
- A device is known by its link under /dev/serial/by-id: that name stays when the kernel counts anew
  (ttyUSB0 comes back as ttyUSB1). Where several devices would share that link, because they tell no
  serial number, it is known by the socket that it is plugged into.
- What pyserial's list and libusb tell is believed; sysfs adds the driver, its latency and the node.
- `root` is where /dev and /sys are looked for, so that tests bring their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serial.tools import list_ports

from drivers.line.usb_port import PREFIX, Plugged, usb_name
from drivers.line.usb_port import plugged_in as usb_plugged_in

ROOT: Final = Path("/")
LINK_FOLDERS: Final = ("dev/serial/by-id", "dev/serial/by-path", "dev/partpay")
"""Where udev keeps names that stay; the first ones come first."""
UNSTABLE: Final = re.compile(r"/dev/tty(USB|ACM|XRUSB)[0-9]+")
"""Names that the kernel counts out in the order in which devices come."""
LATENCY_MAX_MS: Final = 2
"""An adapter that keeps bytes back for longer slows every frame (FTDI's own 16 ms are 20 frames)."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that could be a terminal.

    `port`: the name to configure. `node`: where it is just now (`/dev/ttyUSB0`, `/dev/bus/usb/…`).
    `names`: every name that means it now, `port` and `node` among them. `usb_id`: `0403:6001`, or
    empty. `place`: the USB socket as the kernel writes it (`1-4.2`), or empty for what is built in.
    `driver`: the kernel's. `latency_ms`: how long its adapter keeps bytes back, where it can.
    """

    port: str
    node: str
    names: tuple[str, ...]
    maker: str = ""
    product: str = ""
    serial_number: str = ""
    usb_id: str = ""
    place: str = ""
    driver: str = ""
    latency_ms: int | None = None

    @property
    def what(self) -> str:
        """In words: `FTDI FT232R USB UART, serial number A10K, USB socket 1-4.2`."""
        parts = [f"{self.maker} {self.product}".strip()]
        if self.serial_number:
            parts.append(f"serial number {self.serial_number}")
        if self.usb_id:
            parts.append(f"USB {self.usb_id}")
        parts.append(f"socket {self.place}" if self.place else "built in")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that is plugged in, and why a part of it could not be looked at."""

    devices: tuple[Device, ...]
    troubles: tuple[str, ...] = ()

    def find(self, port: str) -> Device | None:
        """The device that `port` means now, by whichever of its names. None: it is not plugged in,
        or is none that is listed (a pseudo-terminal)."""
        for device in self.devices:
            if port in device.names:
                return device
        if port.startswith(PREFIX):
            return self._by_usb_name(port)
        with suppress(OSError):
            node = str(Path(port).resolve(strict=True))
            return next((one for one in self.devices if one.node == node), None)
        return None

    def _by_usb_name(self, port: str) -> Device | None:
        try:
            name = usb_name(port)
        except ValueError:
            return None
        ids = {str(usb_id) for usb_id in name.ids}
        alike = [
            one
            for one in self.devices
            if one.port.startswith(PREFIX)
            and one.usb_id in ids
            and name.serial_number in (None, one.serial_number)
            and name.socket in (None, one.place)
        ]
        return alike[0] if len(alike) == 1 else None


def inventory(
    root: Path = ROOT,
    *,
    serial_ports: Callable[[], Iterable[Any]] = list_ports.comports,
    usb_devices: Callable[[], Iterable[Plugged]] = usb_plugged_in,
) -> Inventory:
    """All that is plugged in. `serial_ports`: as pyserial's comports; `usb_devices`: vendor-class."""
    troubles: list[str] = []
    devices: list[Device] = []
    try:
        found = sorted(serial_ports(), key=lambda info: str(info.device))
    except (OSError, TypeError, ValueError) as error:
        # pyserial reads sysfs while devices come and go.
        troubles.append(f"serial ports cannot be listed: {error}; try again")
        found = []
    links = _links(root)
    shared = _shared_ids(found)
    devices += [_serial(info, root, links, shared) for info in found]
    try:
        devices += [_usb(one, root) for one in usb_devices()]
    except (OSError, ValueError) as error:
        troubles.append(f"USB devices cannot be listed: {error}")
    return Inventory(tuple(devices), tuple(troubles))


def stable_name(port: str, present: Inventory) -> str | None:
    """The name that stays, for a port whose name may be another device's tomorrow; None where the
    name is as good as any, or nothing better is known."""
    if not UNSTABLE.fullmatch(port):
        return None
    device = present.find(port)
    return device.port if device is not None and device.port != port else None


def _links(root: Path) -> dict[str, list[str]]:
    """Node -> its links, best first."""
    found: dict[str, list[str]] = {}
    for folder in LINK_FOLDERS:
        with suppress(OSError):
            for link in sorted((root / folder).iterdir()):
                with suppress(ValueError):
                    node = "/" + str(link.resolve().relative_to(root.resolve()))
                    found.setdefault(node, []).append(f"/{folder}/{link.name}")
    return found


def _shared_ids(found: Iterable[Any]) -> set[tuple[int, int]]:
    """Ids of devices that tell no serial number and are there more than once: one link for all."""
    seen: dict[tuple[int, int], set[str]] = {}
    for info in found:
        if info.vid is not None and not info.serial_number:
            # Several ports of one adapter have links of their own.
            socket = str(info.location or "").partition(":")[0]
            seen.setdefault((info.vid, info.pid), set()).add(socket)
    return {ids for ids, sockets in seen.items() if len(sockets) > 1}


def _serial(
    info: Any, root: Path, links: dict[str, list[str]], shared: set[tuple[int, int]]
) -> Device:
    node = str(info.device)
    names = list(links.get(node, ()))
    if (info.vid, info.pid) in shared:
        names.sort(key=lambda name: name.startswith("/dev/serial/by-id"))
    sysfs = root / "sys/class/tty" / Path(node).name / "device"
    return Device(
        port=names[0] if names else node,
        node=node,
        names=(*names, node),
        maker=info.manufacturer or "",
        product=info.product or "",
        serial_number=info.serial_number or "",
        usb_id="" if info.vid is None else f"{info.vid:04x}:{info.pid:04x}",
        place=str(info.location or "").partition(":")[0],
        driver=_driver(sysfs),
        latency_ms=_number(sysfs / "latency_timer"),
    )


def _usb(one: Plugged, root: Path) -> Device:
    sysfs = root / "sys/bus/usb/devices" / one.socket
    bus, number = _number(sysfs / "busnum"), _number(sysfs / "devnum")
    node = "" if bus is None or number is None else f"/dev/bus/usb/{bus:03d}/{number:03d}"
    usb_id = ":".join(one.port.removeprefix(PREFIX).split("@")[0].split(":")[:2])
    return Device(
        port=one.port,
        node=node,
        names=(one.port, *([node] if node else [])),
        # libusb needs the right to open the device to tell these; sysfs does not.
        maker=one.manufacturer or _text(sysfs / "manufacturer"),
        product=one.product or _text(sysfs / "product"),
        serial_number=one.serial_number,
        usb_id=usb_id,
        place=one.socket,
    )


def _driver(sysfs: Path) -> str:
    link = sysfs / "driver"
    return link.resolve().name if link.exists() else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None
