"""What a line is: a way for bytes to and from one port, that comes and goes with its cable.

Rules
- A line opens its port, notices its loss, and opens it again by itself, until it is closed.
- All calls into a line, and all that it calls, are made on the loop's thread; none of them blocks.
- `opened` and `lost` come in turn, `opened` first; bytes come only between the two.
- Bytes that were given to `write` and had not left at a loss are gone.
- Lines are looked up by name: `LINES`, or an entry point of the group `partpay_bridge.lines`. The
  name is what stands before the colon of a port (`usb:…`); a path is a `serial` line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

from drivers.line.loop import Loop, Owner

ENTRY_POINT_GROUP = "partpay_bridge.lines"

BAUD_MIN, BAUD_MAX = 9_600, 921_600
"""terminal-link §1."""


class TroubleKind(Enum):
    """Why a line cannot be used; each has its own remedy."""

    ABSENT = "absent"
    """Nothing is plugged in at that port. The line comes back by itself."""
    DENIED = "denied"
    """This process may not open it. A person has to give it the right to."""
    TAKEN = "taken"
    """Another program has it. A person has to stop that."""
    AMBIGUOUS = "ambiguous"
    """Several devices answer to that name. A person has to say which one it is."""
    BROKEN = "broken"
    """It was there and failed: unplugged in use, or a device that does not answer."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a port, in words that name it and the remedy."""

    kind: TroubleKind
    text: str


class LineUser(Owner, Protocol):
    """Who gets a line's bytes. As an Owner it is told when one of these calls raised."""

    def opened(self, now: float) -> None:
        """The port is open and empty in both directions."""

    def lost(self, trouble: Trouble, now: float) -> None:
        """The port is gone; bytes that had not left are lost. It is being opened again."""

    def unavailable(self, trouble: Trouble, now: float) -> None:
        """It cannot be opened. Said again only when the kind of trouble changes."""

    def received(self, data: bytes, now: float) -> None:
        """Bytes came in, one or more, in whatever pieces they happened to come."""

    def written(self, now: float) -> None:
        """All that was given to `write` has left the line, as far as can be told."""


class Line(Protocol):
    """One port."""

    @property
    def port(self) -> str:
        """The port as configured."""

    def start(self) -> None:
        """Begin to open it. Called once."""

    def write(self, data: bytes) -> None:
        """Send `data` after what waits already; dropped while the port is not open."""

    def reset(self, why: str) -> None:
        """Give the port up as if it had been unplugged, and open it again."""

    def close(self) -> None:
        """Give it up for good. Nothing is called any more after this."""


class LineMaker(Protocol):
    """What a name in LINES stands for: a class or function that makes a Line."""

    def __call__(self, loop: Loop, port: str, user: LineUser, *, baud: int) -> Line:
        """Raises ValueError, with the remedy, for a port or baud rate that cannot be."""


LINES: Mapping[str, str] = {
    "serial": "drivers.line.serial:SerialLine",
    "usb": "drivers.line.usb_bulk:UsbBulkLine",
}
"""Name -> module:object. Imported when used, so that a line nobody has costs nothing."""


class UnknownLineError(ValueError):
    """No line of that name, here or in an installed package."""


def line_name(port: str) -> str:
    """The name of the kind of line that serves `port`: `/dev/ttyUSB0` -> `serial`."""
    if port.startswith("/"):
        return "serial"
    name, colon, _ = port.partition(":")
    if not colon or not name:
        raise UnknownLineError(
            f"port {port!r} is neither a path nor KIND:ADDRESS; "
            "`partpay-bridge ports` lists what is plugged in"
        )
    return name


def line_maker(port: str) -> LineMaker:
    """What makes the line for `port`. Raises UnknownLineError."""
    name = line_name(port)
    if name in LINES:
        module, _, attribute = LINES[name].partition(":")
        return cast(LineMaker, getattr(import_module(module), attribute))
    for found in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return cast(LineMaker, found.load())
    raise UnknownLineError(
        f"port {port!r}: there is no line {name!r}; known are {', '.join(sorted(LINES))} and what "
        f"packages add under {ENTRY_POINT_GROUP}"
    )
