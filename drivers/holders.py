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
from typing import Final, TypeVar

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


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Who has which device, at one moment; this process apart.

    `by_path`: by the device's name; `by_number`: by its number, for a process that sees it under
    another name; `by_lock`: by the file that is locked, for one whose open files are hidden.
    """

    by_path: Mapping[str, tuple[Holder, ...]]
    by_number: Mapping[int, tuple[Holder, ...]]
    by_lock: Mapping[str, tuple[Holder, ...]]
    all_seen: bool

    def of(self, node: str) -> Use:
        """Who has the device at `node` (`/dev/ttyUSB0`)."""
        found = {one.pid: one for one in self.by_path.get(node, ())}
        with suppress(OSError):
            about = Path(node).stat()
            for one in self.by_number.get(about.st_rdev or -1, ()):
                found.setdefault(one.pid, one)
            for one in self.by_lock.get(_file(about), ()):
                found.setdefault(one.pid, one)
        return Use(tuple(found[pid] for pid in sorted(found)), self.all_seen)


NOBODY: Final = Occupancy({}, {}, {}, all_seen=True)


def occupancy(root: Path = ROOT) -> Occupancy:
    """Who has which device now: one walk through /proc."""
    by_path: dict[str, dict[int, Holder]] = {}
    by_number: dict[int, dict[int, Holder]] = {}
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
        holder: Holder | None = None
        for link in links:
            path, number = _device(link)
            if path is None:
                continue
            holder = holder or Holder(int(process.name), name_of(int(process.name), root))
            by_path.setdefault(path, {})[holder.pid] = holder
            if number is not None:
                by_number.setdefault(number, {})[holder.pid] = holder
    return Occupancy(_told(by_path), _told(by_number), _locks(root), all_seen)


def uses_of(nodes: Iterable[str], root: Path = ROOT) -> dict[str, Use]:
    """Who has each of these devices now."""
    now = occupancy(root)
    return {node: now.of(node) for node in nodes}


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


def _device(link: Path) -> tuple[str | None, int | None]:
    """Path and number of the device behind an open file; None where it is none."""
    try:
        path = os.readlink(link)  # noqa: PTH115 - a socket's or pipe's is no path
    except OSError:
        return None, None
    if not path.startswith("/") or "/dev/" not in path or path in _EVERYBODYS:
        return None, None
    number = None
    with suppress(OSError):
        number = link.stat().st_rdev or None
    return path, number


def _locks(root: Path) -> Mapping[str, tuple[Holder, ...]]:
    try:
        lines = (root / "proc/locks").read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, dict[int, Holder]] = {}
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4711 00:06:145 0 EOF
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[4].isdecimal():
            pid = int(words[4])
            if pid and pid != os.getpid():
                found.setdefault(words[5], {})[pid] = Holder(pid, name_of(pid, root))
    return _told(found)


def _file(about: os.stat_result) -> str:
    """A file as /proc/locks names it."""
    return f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"


_Key = TypeVar("_Key")


def _told(found: Mapping[_Key, Mapping[int, Holder]]) -> dict[_Key, tuple[Holder, ...]]:
    return {key: tuple(holders.values()) for key, holders in found.items()}


_EVERYBODYS: Final = frozenset({"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"})
