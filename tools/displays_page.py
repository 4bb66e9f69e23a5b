"""Makes what is made in docs/displays.md: tables from the code, and the pictures beside the page.

    .venv/bin/python -m tools.displays_page          writes the page and docs/pictures/

What stands between `<!-- made: NAME -->` and `<!-- end -->` is made; all else is written by people.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from PIL import Image

from drivers.display.beside import display_named
from drivers.display.escpos import EscposDisplay
from drivers.display.geometry import DoesNotFit, Panel, Placement, place, place_by_terminal
from drivers.display.qr import CannotDraw, modules_for
from drivers.display.raster import image_formats
from drivers.display.segments import BYTES, VERSIONS, Segment, capacity_bits, size_bits
from drivers.display.symbol import Modules
from drivers.link.dialect import dialect_named
from drivers.profiles import installed_profiles
from tools.bench import formats as bench
from tools.panel_pictures import PAYLOAD, generic_panels, panel_in, png

TOP: Final = Path(__file__).parents[1]
PAGE: Final = TOP / "docs" / "displays.md"
PICTURES: Final = TOP / "docs" / "pictures"
SHOWN_ON: Final = Panel(160, 160)
"""The panel on which the page shows each format."""
PRINTER: Final = "escpos:tcp:192.0.2.10"
CUSTOMER_DISPLAY: Final = "escpos:tcp:192.0.2.11?size=240x320"
SMALL_PX: Final = 128
"""A picture that is not wider is shown twice as large."""

_MADE = re.compile(r"(<!-- made: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pictures() -> dict[str, Image.Image]:
    """All pictures of the page by file name, pixel for pixel."""
    made = {
        f"panel-{width}x{height}.png": _shown(Panel(width, height), 0x01)
        for width, height in _sizes()
    }
    for code in sorted(image_formats().by_code):
        made[_format_file(code)] = _shown(SHOWN_ON, code)
    for name, display in (("escpos-paper", PRINTER), ("escpos-display", CUSTOMER_DISPLAY)):
        made[f"{name}.png"] = _of_display(display)
    return made


def page(text: str) -> str:
    """`text` with all that is made in it made anew."""
    return _MADE.sub(lambda found: f"{found[1]}{_SECTIONS[found[2]]()}\n{found[3]}", text)


def _sizes() -> list[tuple[int, int]]:
    sizes = {
        (profile.panel_width or 0, profile.panel_height or 0)
        for profile in installed_profiles().values()
    }
    return sorted(sizes, key=lambda size: (size[0] * size[1], size))


def _format_file(code: int) -> str:
    """One file for all formats that look the same on the panel."""
    if code & 0x7F == 0x10:
        return "format-10.png"
    return "format-22.png" if code == 0x22 else f"panel-{SHOWN_ON.width}x{SHOWN_ON.height}.png"


def _shown(panel: Panel, code: int) -> Image.Image:
    shown = panel_in(PAYLOAD, panel, code)
    assert not isinstance(shown.image, CannotDraw), shown.image.why
    return shown.image


def _of_display(name: str) -> Image.Image:
    display = display_named(name)
    assert isinstance(display, EscposDisplay)
    image = display.picture(PAYLOAD)
    assert not isinstance(image, CannotDraw), image.why
    return image


def _img(file: str, width_px: int, what: str) -> str:
    width_px *= 2 if width_px <= SMALL_PX else 1
    return f'<img src="pictures/{file}" width="{width_px}" alt="{what}">'


def _formats() -> str:
    rows = []
    for code, known in sorted(image_formats().by_code.items()):
        picture = _img(_format_file(code), SHOWN_ON.width, f"format {code:02X}")
        rows.append([f"`{code:02X}`", f"`{known.name}`", known.what, picture])
    return _table(["code", "name", "what is sent", f"on {SHOWN_ON}"], rows)


def _panels() -> str:
    rows = []
    for width, height in _sizes():
        panel = Panel(width, height)
        placed = place(_side(), panel)
        assert isinstance(placed, Placement)
        module = f"{placed.module_px} px, {placed.quiet_modules} modules free"
        rows.append(
            [
                str(panel),
                module,
                f"{_longest_bytes(panel, place):,}",
                f"{_longest_bytes(panel, place_by_terminal):,}",
                _img(f"panel-{width}x{height}.png", width, f"a panel of {panel}"),
            ]
        )
    heads = [
        "panel",
        "a module",
        "longest payload, bytes",
        "in format 10",
        "as the device shows it",
    ]
    return _table(heads, rows)


def _side() -> int:
    modules = modules_for(PAYLOAD)
    assert isinstance(modules, Modules)
    return modules.side


def _longest_bytes(panel: Panel, placed: Callable[[int, Panel], Placement | DoesNotFit]) -> int:
    """Of a payload that may be any bytes; digits and capitals take less room."""
    longest = 0
    for version in VERSIONS:
        if isinstance(placed(17 + 4 * version, panel), DoesNotFit):
            break
        head_bits = size_bits((Segment(BYTES, b""),), version)
        longest = (capacity_bits(version, "L") - head_bits) // 8
    return longest


def _profiles() -> str:
    rows = []
    for name, profile in sorted(installed_profiles().items()):
        formats = " ".join(f"{code:02X}" for code in profile.formats or b"")
        dark = "0" if profile.inverted else "1"
        rows.append([f"`{name}`", profile.title, f"`{formats}`", dark])
    return _table(["profile", "for", "formats, best first", "dark is"], rows)


def _cost(dialect: str) -> str:
    return "\n".join(bench.table(dialect_named(dialect)))


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


_SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "formats": _formats,
    "panels": _panels,
    "profiles": _profiles,
    "native": lambda: _cost("native"),
    "classic": lambda: _cost("classic"),
    "overhead": lambda: "\n".join(bench.overhead_table()),
}


def main() -> int:
    PICTURES.mkdir(exist_ok=True)
    made = pictures()
    for file in PICTURES.glob("*.png"):
        if file.name not in made:
            file.unlink()
    for name, image in made.items():
        (PICTURES / name).write_bytes(png(image))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(
        f"{PAGE.relative_to(TOP)} and {len(made)} pictures: {len(generic_panels())} generic panels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
