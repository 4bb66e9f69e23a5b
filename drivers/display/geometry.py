"""Where the modules of a QR code stand on a panel (the link's section 5).

Rules of this module:
- A module is a whole number of pixels, the same for all of them.
- As large as fits with a quiet zone of 4 modules; where that makes a module smaller than 3 pixels
  and a quiet zone of 2 makes it larger, with 2.
- Never fewer than 2 pixels; on a panel of up to 64 rows, whose dots are 0.4 mm and more, 1.
- In the middle of the panel. What does not fit is a value that says so, with the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

QUIET_MODULES = 4
"""The quiet zone that ISO/IEC 18004 asks for."""
QUIET_NARROW_MODULES = 2
"""What phones get by with, where it buys a larger module."""
NARROW_BELOW_PX = 3
"""From modules of this size on, the full quiet zone is worth more than a larger module."""
MODULE_MIN_PX = 2
COARSE_MODULE_MIN_PX = 1
COARSE_ROWS = 64
"""Panels of up to so many rows have dots of 0.4 mm and more: one of them is enough for a module."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What a terminal shows pictures on: width and height in pixels.

    `inverted`: the device shows a 0 of formats 01 to 04 and 10 dark, against the link's page; its
    profile says so. Files (20 to 22) and colours (30) say themselves what is dark.
    """

    width: int
    height: int
    inverted: bool = False

    @property
    def module_min_px(self) -> int:
        return COARSE_MODULE_MIN_PX if self.height <= COARSE_ROWS else MODULE_MIN_PX

    def __str__(self) -> str:
        return f"{self.width} × {self.height}"


@dataclass(frozen=True, slots=True)
class Placement:
    """How the modules stand: pixels for a module, the quiet zone kept free in modules, and the
    first dark-or-light module's left and top pixel. The code is `side_px` pixels wide and high."""

    module_px: int
    quiet_modules: int
    left: int
    top: int
    side_px: int


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    why: str


def place(side: int, panel: Panel) -> Placement | DoesNotFit:
    """The place of a code of `side` modules on `panel`, by the rules above."""
    return _placed(side, panel, (QUIET_MODULES, QUIET_NARROW_MODULES))


def place_by_terminal(side: int, panel: Panel) -> Placement | DoesNotFit:
    """The same for format 10: the terminal scales it by itself and always leaves 4 modules free."""
    return _placed(side, panel, (QUIET_MODULES,))


def _placed(side: int, panel: Panel, quiet_zones: tuple[int, ...]) -> Placement | DoesNotFit:
    room_px = min(panel.width, panel.height)
    module_px, quiet = 0, quiet_zones[0]
    for quiet_modules in quiet_zones:
        larger_px = room_px // (side + 2 * quiet_modules)
        if module_px < NARROW_BELOW_PX and larger_px > module_px:
            module_px, quiet = larger_px, quiet_modules
    if module_px < panel.module_min_px:
        needed_px = panel.module_min_px * (side + 2 * quiet_zones[-1])
        return DoesNotFit(
            f"{side} modules of {panel.module_min_px} px with a quiet zone of {quiet_zones[-1]} "
            f"need {needed_px} px, the panel has {panel}"
        )
    side_px = side * module_px
    return Placement(
        module_px=module_px,
        quiet_modules=quiet,
        left=(panel.width - side_px) // 2,
        top=(panel.height - side_px) // 2,
        side_px=side_px,
    )
