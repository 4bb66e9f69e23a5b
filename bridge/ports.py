"""What `partpay-bridge ports` tells: the one place where its JSON is put together, and what to ask where.

- A device is what is plugged in, whatever it is called just now; a terminal is registered on a name.
  Both are brought together by every name that the device has.
- Only a port that nobody has is asked. Where it cannot be seen who has it, it is not asked either.
- What the daemon has heard on its own ports is taken from the daemon.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from drivers.asking import Answer, Setting, Silence, settings_for
from drivers.discovery import Device, Inventory, stable_name
from drivers.holders import NOBODY, Occupancy, Use
from drivers.line.line import Trouble
from drivers.line.usb_port import PREFIX


class Registered(TypedDict):
    """A terminal that is registered on this port, under whichever of its names."""

    terminal: str
    serial: str
    port: str
    dialect: str
    baud: int


class Heard(TypedDict):
    """Who answers on a port, and how it speaks. terminal … firmware: None where it said no HELLO."""

    dialect: str
    baud: int
    terminal: str | None
    serial: str | None
    model: str | None
    firmware: str | None


class PortFacts(TypedDict):
    """One port. port: the name to configure. node: where the device is just now, None: not plugged in.

    names: every name that means it. used_by: who has it open ("pid", "name"), None where that
    cannot be seen. answers: None where nobody was heard. remarks: what to look at, in words.
    """

    port: str
    plugged_in: bool
    node: str | None
    names: list[str]
    maker: str
    product: str
    serial_number: str
    usb_id: str
    place: str
    driver: str
    latency_ms: int | None
    used_by: list[dict[str, Any]] | None
    terminals: list[Registered]
    answers: Heard | None
    remarks: list[str]


@dataclass(frozen=True, slots=True)
class World:
    """What is known before anybody is asked.

    terminals, lines: as `ListTerminals` and `Status` tell them; lines are empty where no daemon
    runs.
    """

    inventory: Inventory
    occupancy: Occupancy = NOBODY
    terminals: Sequence[Mapping[str, Any]] = ()
    lines: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A device, or a registered name that means none; and who is registered there."""

    name: str
    device: Device | None
    use: Use
    terminals: tuple[Registered, ...]
    line: Mapping[str, Any] | None

    @property
    def is_ours(self) -> bool:
        """The daemon has it open."""
        return self.line is not None and bool(self.line["open"])

    @property
    def why_not_asked(self) -> str | None:
        """Why nobody is to be asked there; None: it may be."""
        if self.device is None:
            return "nothing is plugged in"
        if self.is_ours:
            return "the bridge has it"
        if self.use.holders:
            who = ", ".join(f"{one.name} (process {one.pid})" for one in self.use.holders)
            return f"in use by {who}"
        if not self.use.all_seen:
            return "who has it can be seen by root alone: run this as root"
        return None

    @property
    def settings(self) -> tuple[Setting, ...]:
        """In which settings to ask, the registered one first."""
        first = None
        if self.terminals:
            first = Setting(self.terminals[0]["dialect"], self.terminals[0]["baud"])
        return settings_for(first, usb=self.name.startswith(PREFIX))


def device_at(port: str, present: Inventory) -> Device | None:
    """The device that `port` means; one that no list has (a pseudo-terminal), too."""
    found = present.find(port)
    if found is None and port.startswith("/") and Path(port).exists():
        node = os.path.realpath(port)
        return Device(port, node, tuple(dict.fromkeys((port, node))))
    return found


def ports(world: World, only: Iterable[str] = ()) -> list[Port]:
    """All ports, those with a terminal first. only: these alone, by any of their names."""
    devices: dict[str, Device] = {one.port: one for one in world.inventory.devices}
    registered: dict[str, list[Registered]] = {}
    lines = {line["port"]: line for line in world.lines}
    found_lines: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys([*(str(one["port"]) for one in world.terminals), *lines, *only]):
        device = device_at(name, world.inventory)
        key = name if device is None else device.port
        if device is not None:
            devices.setdefault(key, device)
        registered.setdefault(key, []).extend(
            _registered(one) for one in world.terminals if one["port"] == name
        )
        if name in lines:
            found_lines[key] = lines[name]
    wanted = [*dict.fromkeys([*registered, *devices])]
    if chosen := list(only):
        keys = {
            name if (device := device_at(name, world.inventory)) is None else device.port
            for name in chosen
        }
        wanted = [key for key in wanted if key in keys]
    return [
        Port(
            key,
            device := devices.get(key),
            world.occupancy.of(device.node if device is not None else key),
            tuple(registered.get(key, ())),
            found_lines.get(key),
        )
        for key in wanted
    ]


def port_facts(
    port: Port, present: Inventory, asked: Answer | Silence | Trouble | str | None = None
) -> PortFacts:
    """What is known of one port. asked: what came of asking there; a text: why nobody was."""
    device = port.device or Device(port.name, "", ())
    heard = _heard(port, asked)
    return PortFacts(
        port=port.name,
        plugged_in=port.device is not None,
        node=device.node or None,
        names=list(device.names),
        maker=device.maker,
        product=device.product,
        serial_number=device.serial_number,
        usb_id=device.usb_id,
        place=device.place,
        driver=device.driver,
        latency_ms=device.latency_ms,
        used_by=(
            [{"pid": one.pid, "name": one.name} for one in port.use.holders]
            if port.use.all_seen or port.use.holders
            else None
        ),
        terminals=list(port.terminals),
        answers=heard,
        remarks=[*_remarks(port, present, heard), *_of_asking(asked)],
    )


def heard_facts(found: Answer | Silence | Trouble) -> dict[str, Any]:
    """What came of asking, in JSON."""
    setting = found.setting if isinstance(found, Answer) else None
    hello = found.hello if isinstance(found, Answer) else None
    return {
        "dialect": setting and setting.dialect,
        "baud": setting and setting.baud,
        "terminal": hello and hello.terminal_id,
        "serial": hello and hello.serial_number,
        "noise": isinstance(found, Silence) and found.noise,
        "trouble": found.text if isinstance(found, Trouble) else None,
    }


def _registered(one: Mapping[str, Any]) -> Registered:
    return Registered(
        terminal=one["terminal"],
        serial=one["serial"],
        port=one["port"],
        dialect=one["dialect"],
        baud=one["baud"],
    )


def _heard(port: Port, asked: Answer | Silence | Trouble | str | None) -> Heard | None:
    if isinstance(asked, Answer):
        hello = asked.hello
        return Heard(
            dialect=asked.setting.dialect,
            baud=asked.setting.baud,
            terminal=hello.terminal_id if hello else None,
            serial=hello.serial_number if hello else None,
            model=hello.model if hello else None,
            firmware=hello.firmware if hello else None,
        )
    line = port.line
    if line is None or line["terminal"] is None:
        return None
    return Heard(
        dialect=line["dialect"],
        baud=line["baud"],
        terminal=line["terminal"],
        serial=line["serial"],
        model=line["model"],
        firmware=line["firmware"],
    )


def _remarks(port: Port, present: Inventory, heard: Heard | None) -> list[str]:
    said = []
    for one in port.terminals:
        name = f"{one['terminal']}/{one['serial']}"
        if (better := stable_name(one["port"], present)) is not None:
            said.append(
                f"{one['port']} may be another device after the next start: "
                f"partpay-bridge terminals set {name} --port {better}"
            )
        if heard is not None and (heard["dialect"], heard["baud"]) != (one["dialect"], one["baud"]):
            said.append(
                f"it speaks {heard['dialect']} at {heard['baud']} baud, and is registered with "
                f"{one['dialect']} at {one['baud']}: partpay-bridge terminals set {name} "
                f"--dialect {heard['dialect']} --baud {heard['baud']}"
            )
    if heard is None or heard["terminal"] is None:
        return said
    known = [(one["terminal"], one["serial"]) for one in port.terminals]
    if (heard["terminal"], heard["serial"]) not in known:
        who = f"terminal {heard['terminal']}, serial number {heard['serial']},"
        where = "is not registered on this port" if known else "is not registered"
        said.append(f"{who} {where}: partpay-bridge pair {port.name}")
    return said


def _of_asking(asked: Answer | Silence | Trouble | str | None) -> list[str]:
    match asked:
        case str():
            return [f"not asked: {asked}"]
        case Trouble(text=text):
            return [f"not asked: {text}"]
        case Silence(noise=True):
            return ["something talks there, but not the terminal link in any usual setting"]
        case Silence():
            return ["nobody answers"]
        case Answer(hello=None):
            return ["it acknowledges, but says no HELLO"]
        case _:
            return []
