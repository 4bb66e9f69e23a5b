"""Who has a port open, found without opening it: by /proc, as lsof does, and by the kernel's locks.

Rules
- Only root sees every process. `Use.all_seen` says whether nobody can have been missed; where it is
  False, "nobody" means "nobody that this user can see".
- What is known to sit on serial ports that are none of its business is in `INTRUDERS`, with what
  keeps it away.
- `root` is where /proc is looked for, so that tests bring their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")

INTRUDERS: Final[Mapping[str, str]] = {
    "ModemManager": "systemctl disable --now ModemManager",
    "brltty": "systemctl mask --now brltty brltty-udev",
    "gpsd": "systemctl disable --now gpsd.socket gpsd",
}
"""Process name -> the command that keeps it from serial ports for good."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process. `name`: as the kernel has it (15 characters)."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Use:
    """Who has one port. `all_seen`: no process kept its open files from us."""

    holders: tuple[Holder, ...]
    all_seen: bool


def uses_of(nodes: Iterable[str], root: Path = ROOT) -> dict[str, Use]:
    """Who has each of these devices (`/dev/ttyUSB0`), this process apart; one walk through /proc."""
    wanted = {node: _device_number(node) for node in nodes}
    found: dict[str, dict[int, Holder]] = {node: {} for node in wanted}
    # Where others' processes are not even listed (hidepid, ProtectProc=), the first one is not.
    all_seen = (root / "proc/1").exists()
    for process in _processes(root):
        try:
            links = list((process / "fd").iterdir())
        except PermissionError:
            all_seen = False
            continue
        except OSError:
            continue  # it has ended
        for link in links:
            node = _node_of(link, wanted)
            if node is not None:
                pid = int(process.name)
                found[node][pid] = Holder(pid, name_of(pid, root))
    for node, pid in _locked(wanted, root):
        found[node].setdefault(pid, Holder(pid, name_of(pid, root)))
    return {
        node: Use(tuple(holders[pid] for pid in sorted(holders)), all_seen)
        for node, holders in found.items()
    }


def running(names: Iterable[str], root: Path = ROOT) -> tuple[Holder, ...]:
    """The processes that have one of these names, whatever they have open."""
    wanted = set(names)
    every = (Holder(int(one.name), name_of(int(one.name), root)) for one in _processes(root))
    return tuple(one for one in every if one.name in wanted)


def name_of(pid: int, root: Path = ROOT) -> str:
    """What the kernel calls it; `?` where it has ended."""
    try:
        name = (root / "proc" / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
    return name or "?"


def _processes(root: Path) -> Iterator[Path]:
    for entry in sorted((root / "proc").iterdir()):
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            yield entry


def _node_of(link: Path, wanted: Mapping[str, int | None]) -> str | None:
    try:
        target = os.readlink(link)  # noqa: PTH115 - a socket's or pipe's is no path
    except OSError:
        return None
    if target in wanted:
        return target
    if not target.startswith("/") or "/dev/" not in target:
        return None
    # A service with a root of its own has the same device under another path.
    for node, number in wanted.items():
        if number is not None and Path(target).name == Path(node).name:
            with suppress(OSError):
                if link.stat().st_rdev == number:
                    return node
    return None


def _device_number(node: str) -> int | None:
    with suppress(OSError):
        return Path(node).stat().st_rdev or None
    return None


def _locked(wanted: Iterable[str], root: Path) -> Iterator[tuple[str, int]]:
    """(node, process) of each flock on one of the nodes; also of processes whose files are hidden."""
    files: dict[str, str] = {}
    for node in wanted:
        with suppress(OSError):
            about = Path(node).stat()
            device = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}"
            files[f"{device}:{about.st_ino}"] = node
    try:
        lines = (root / "proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4711 00:06:145 0 EOF
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] in files:
            pid = int(words[4])
            if pid > 0 and pid != os.getpid():
                yield files[words[5]], pid
