"""Displays beside a terminal, or in place of its own panel: what they can do, and how one is named.

Rules of this module:
- A display is named as the registry has it: `DRIVER:WHERE?KEY=VALUE&…`. What stands before the
  first colon is the driver, one of DRIVERS or an entry point of the group
  `partpay_bridge.displays`; the rest is the driver's own matter and checked by it.
- Naming a display touches no device. Each showing opens it and lets it go again, so that a cable
  may come and go, and the shop's till can use the same printer.
- Every call ends, within a limit that the driver states, and answers with a value: a display that
  is off, unplugged or out of paper is no error of the bridge.
- What a display's calls block on is a device: they belong in a worker, one at a time a display.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

ENTRY_POINT_GROUP = "partpay_bridge.displays"


NOTHING = "nothing"
"""`Shown.how` where nothing had to be sent: it tells nothing about the device."""


class DisplayConfigError(ValueError):
    """A display is named wrongly: what was given, what is wrong with it, what would be right."""


@dataclass(frozen=True, slots=True)
class Shown:
    """It has gone to the device; `how` says in a word what was sent."""

    how: str


@dataclass(frozen=True, slots=True)
class NotShown:
    """It has not, or not whole; `why` names the display and what to do."""

    why: str


class Display(Protocol):
    """One display, printer or line display."""

    @property
    def name(self) -> str:
        """As configured."""

    @property
    def shows_codes(self) -> bool:
        """False: text alone; it cannot stand in for a terminal's panel."""

    def show_code(self, payload: str, lines: Sequence[str]) -> Shown | NotShown:
        """A QR code that says exactly `payload`, with lines of text (amount, order number)."""

    def show_lines(self, lines: Sequence[str]) -> Shown | NotShown:
        """Lines of text alone: amount and state. Where that would cost paper, nothing."""

    def clear(self) -> Shown | NotShown:
        """Take away what is shown: the tender has ended."""


Driver = Callable[[str], Display]
"""What follows the driver's colon -> the display. Raises DisplayConfigError, and nothing else."""

DRIVERS: Mapping[str, tuple[str, str]] = {"escpos": ("drivers.display.escpos", "escpos_display")}
"""Name -> module and function, loaded when it is asked for: python-escpos costs 0.2 s and 10 MB."""


def display_named(text: str) -> Display:
    """The display that `text` names. Raises DisplayConfigError."""
    name, colon, rest = text.partition(":")
    if not colon:
        raise DisplayConfigError(
            f"display {text!r}: the driver is missing; write escpos:… ({known_drivers()} are known)"
        )
    try:
        driver = _driver(name)
    except (ImportError, AttributeError) as error:
        raise DisplayConfigError(
            f"display {text!r}: driver {name} cannot be loaded: {error}; install its package anew"
        ) from error
    if driver is None:
        raise DisplayConfigError(
            f"display {text!r}: there is no driver {name!r}; known are {known_drivers()}"
        )
    return driver(rest)


def known_drivers() -> str:
    """The names of all drivers, for messages."""
    brought = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return ", ".join(sorted({*DRIVERS, *brought}))


def _driver(name: str) -> Driver | None:
    if name in DRIVERS:
        module, function = DRIVERS[name]
        return cast("Driver", getattr(import_module(module), function))
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return cast("Driver", point.load())
    return None
