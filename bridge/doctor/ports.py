"""Checks of each terminal's port: its name, its rights, who else has it, how quick it is, and who answers there.

A port that the daemon has is not touched; where its terminal is silent, the daemon is asked to look for it in other
dialects and at other speeds, for the seconds that that takes.
"""

import grp
import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.control import AskPort, CommandError
from bridge.doctor.finding import Said, note, ok, unknown, wrong
from bridge.doctor.patient import Patient
from bridge.ports import Port, Registered, heard_facts, ports
from drivers.asking import Answer, Silence, ask
from drivers.discovery import LATENCY_MAX_MS, UNSTABLE, stable_name
from drivers.holders import INTRUDERS, running
from drivers.line.line import Trouble

ASKED_AT_ONCE: Final = 8
SERVICE_USER: Final = "partpay-bridge"
RULES: Final = "partpay-bridge install-service"
"""It puts the udev rules there; the Debian package has done so."""


def _used(patient: Patient) -> list[Port]:
    """The ports that a terminal is registered on."""
    if patient.world is None:
        return []
    return [port for port in ports(patient.world) if port.terminals]


def names(patient: Patient) -> Iterator[Said]:
    """That each port is named by what stays."""
    for port in _used(patient):
        for one in port.terminals:
            looked_at = f"{one['port']}, of terminal {one['terminal']}"
            if not UNSTABLE.fullmatch(one["port"]):
                yield ok(looked_at, "a name that stays")
                continue
            assert patient.world is not None
            better = stable_name(one["port"], patient.world.inventory)
            found = "this name may be another device's after the next start"
            if better is None:
                yield note(
                    looked_at, f"{found}, and no better one is known now", "partpay-bridge ports"
                )
            else:
                yield wrong(
                    looked_at, found, f"partpay-bridge terminals set {_key(one)} --port {better}"
                )


def rights(patient: Patient) -> Iterator[Said]:
    """That each port is there, and this user may open it."""
    for port in _used(patient):
        if port.device is None:
            yield wrong(
                port.name, "nothing is plugged in there", "partpay-bridge ports   # where is it?"
            )
            continue
        node = port.device.node
        if not node or port.is_ours or os.access(node, os.R_OK | os.W_OK):
            yield ok(port.name, "it is there, and may be opened")
            continue
        try:
            about = Path(node).stat()
        except OSError as error:
            yield wrong(
                port.name, f"{node} cannot be looked at: {error.strerror}", "run this as root"
            )
            continue
        mode = stat.S_IMODE(about.st_mode)
        group = _group(about.st_gid)
        found = f"user {_user()} may not open {node} (group {group}, mode {mode:04o})"
        if mode & 0o060 == 0o060 and group != "root":
            remedy = f"usermod -aG {group} {_user()} && systemctl restart partpay-bridge"
        else:
            remedy = f"{RULES}   # then plug it in again"
        yield wrong(port.name, found, remedy)


def holders(patient: Patient) -> Iterator[Said]:
    """That nobody else has a port, nor is about to take one."""
    own = patient.status["pid"] if patient.status is not None else None
    for port in _used(patient):
        looked_at = f"{port.name}, who has it open"
        others = [one for one in port.use.holders if one.pid != own]
        for one in others:
            remedy = INTRUDERS.get(one.name, f"kill {one.pid}   # and keep it from starting again")
            yield wrong(looked_at, f"{one.name} (process {one.pid}) has it", remedy)
        if others:
            continue
        if not port.use.all_seen:
            yield unknown(
                looked_at, "only root sees what other users' processes have", "run this as root"
            )
        else:
            yield ok(looked_at, "the bridge" if port.use.holders or port.is_ours else "nobody")
    for one in running(INTRUDERS, patient.root):
        exposed = [port.name for port in _used(patient) if not _kept_away(port, patient.root)]
        if exposed:
            found = f"{one.name} (process {one.pid}) runs, and nothing keeps it from {', '.join(exposed)}"
            yield note("programs that take serial ports", found, INTRUDERS[one.name])


def _kept_away(port: Port, root: Path) -> bool:
    """udev tells ModemManager to leave it alone."""
    if port.device is None or not port.device.node.startswith("/dev/tty"):
        return True
    try:
        number = Path(port.device.node).stat().st_rdev
        known = (root / f"run/udev/data/c{os.major(number)}:{os.minor(number)}").read_text()
    except OSError:
        return False
    return "E:ID_MM_PORT_IGNORE=1" in known or "E:ID_MM_DEVICE_IGNORE=1" in known


def latency(patient: Patient) -> Iterator[Said]:
    """That no adapter keeps bytes back."""
    for port in _used(patient):
        if port.device is None or port.device.latency_ms is None:
            continue
        looked_at = f"{port.name}, latency_timer of its adapter"
        if port.device.latency_ms > LATENCY_MAX_MS:
            file = f"/sys/class/tty/{Path(port.device.node).name}/device/latency_timer"
            found = f"it keeps bytes back for {port.device.latency_ms} ms"
            yield wrong(looked_at, found, f"echo 1 > {file}   # for good: {RULES}")
        else:
            yield ok(looked_at, f"{port.device.latency_ms} ms")


# -- who answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """Who answers on a port, and how it speaks."""

    dialect: str
    baud: int
    terminal: str | None
    serial: str | None


def answers(patient: Patient) -> Iterator[Said]:
    """That the registered terminal answers on each port, in the registered setting."""
    used = _used(patient)
    if not used:
        return
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        for port, heard in zip(used, pool.map(lambda one: _ask(one, patient), used), strict=True):
            yield _judged(port, heard)


def _ask(port: Port, patient: Patient) -> _Heard | str | tuple[str, str]:
    """Who answers; or why nobody does; or why it was not asked, and what to do."""
    line = port.line
    if line is not None and line["open"] and line["terminal"] is not None:
        return _Heard(line["dialect"], line["baud"], line["terminal"], line["serial"])
    if port.device is None:
        return ("nothing is plugged in", "partpay-bridge ports")
    if line is not None and line["open"]:
        patient.say(f"asking on {port.name} …")
        try:
            told = patient.ask(AskPort(port.terminals[0]["port"]))
        except CommandError as error:
            return (error.what, error.remedy)
        return _from_daemon(told)
    if (why := port.why_not_asked) is not None:
        return (why, "see the port above")
    patient.say(f"asking on {port.name} …")
    return _from_asking(ask(port.name, port.settings))


def _from_daemon(told: Mapping[str, Any]) -> _Heard | str | tuple[str, str]:
    """See `heard_facts`."""
    if told["trouble"] is not None:
        return (told["trouble"], "see the port above")
    if told["dialect"] is None:
        return "noise" if told["noise"] else "silence"
    return _Heard(told["dialect"], told["baud"], told["terminal"], told["serial"])


def _from_asking(found: Answer | Silence | Trouble) -> _Heard | str | tuple[str, str]:
    return _from_daemon(heard_facts(found))


def _judged(port: Port, heard: _Heard | str | tuple[str, str]) -> Said:
    known = port.terminals[0]
    looked_at = f"{port.name}, who answers ({known['dialect']}, {known['baud']} baud)"
    if isinstance(heard, tuple):
        why, remedy = heard
        return unknown(looked_at, f"not asked: {why}", remedy)
    if heard == "noise":
        found = "something talks there, but not the terminal link in any usual dialect and at no usual speed"
        return wrong(
            looked_at, found, f"partpay-bridge trace {port.name}   # is it the right device?"
        )
    if isinstance(heard, str):
        found = "nobody answers, in no dialect and at no usual speed"
        return wrong(
            looked_at, found, "switch the terminal on; check its cable and its link settings"
        )
    if (heard.dialect, heard.baud) != (known["dialect"], known["baud"]):
        which = "another baud rate" if heard.dialect == known["dialect"] else "another dialect"
        if heard.dialect != known["dialect"] and heard.baud != known["baud"]:
            which = "another dialect and baud rate"
        found = f"it answers in {which}: {heard.dialect}, {heard.baud} baud"
        set_ = f"partpay-bridge terminals set {_key(known)} --dialect {heard.dialect} --baud {heard.baud}"
        return wrong(looked_at, found, set_)
    who = f"terminal {heard.terminal}, serial number {heard.serial}"
    if heard.terminal is None:
        return note(looked_at, "somebody acknowledges, and says no HELLO")
    if any(
        (one["terminal"], one["serial"]) == (heard.terminal, heard.serial) for one in port.terminals
    ):
        return ok(looked_at, who)
    return wrong(looked_at, f"{who}, which is not paired here", f"partpay-bridge pair {port.name}")


def _key(one: Registered) -> str:
    return f"{one['terminal']}/{one['serial']}"


def _user() -> str:
    import pwd  # noqa: PLC0415 - for a sentence

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
