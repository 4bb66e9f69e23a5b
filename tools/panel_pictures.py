"""Panels as pictures: what a device would show, pixel for pixel, decoded from the very bytes that would be sent.

Rules
- A picture is drawn as for a terminal, and then shown by what reads the format, not by what wrote it.
- A format that cannot be made for a panel makes no file; why is said.
- File names say panel, code and name of the format: `240x320-83-packed-pages.png`.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from drivers.display.beside import DisplayConfigError, display_named
from drivers.display.escpos import EscposDisplay
from drivers.display.geometry import Panel
from drivers.display.qr import CannotDraw, draw, show
from drivers.display.raster import image_formats
from drivers.display.reading import Unreadable, read_code
from drivers.profiles import ProfileError, installed_profiles, profile_named

PAYLOAD: Final = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"
"""80 characters, as PartPay's codes have."""
assert len(PAYLOAD) == 80


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture, or why there is none. `name` is the file's, without its ending."""

    name: str
    image: Image.Image | CannotDraw


def main(words: Sequence[str] | None = None) -> int:
    """Exit status 1 where no picture could be made, 2 where it was used wrongly."""
    options = _parser().parse_args(words)
    try:
        payload, original = _said(options)
        shown = list(_pictures(options, payload, original))
    except (ProfileError, DisplayConfigError, ValueError, OSError) as error:
        print(f"tools/panels: {error}", file=sys.stderr)
        return 2
    options.to.mkdir(parents=True, exist_ok=True)
    made = 0
    for one in shown:
        if isinstance(one.image, CannotDraw):
            print(f"{one.name}: {one.image.why}", file=sys.stderr)
            continue
        file = options.to / f"{one.name}.png"
        file.write_bytes(png(one.image))
        print(file)
        made += 1
    return 0 if made else 1


def panel_in(payload: str, panel: Panel, code: int, original: bytes | None = None) -> Shown:
    """What `panel` looks like with `payload` sent in the format `code`."""
    known = image_formats().by_code.get(code)
    size = f"{panel.width}x{panel.height}"
    name = f"{size}-{code:02X}" + (f"-{known.name}" if known else "")
    for made in draw(payload, panel, bytes((code,)), None, original):
        if isinstance(made, CannotDraw):
            return Shown(name, made)
        return Shown(name, show(made.format, made.width, made.height, made.data, panel))
    return Shown(name, CannotDraw("no format was asked for", code))


def png(image: Image.Image) -> bytes:
    """The file: one bit a pixel where there is only black and white."""
    colours = image.getcolors(2)
    plain = colours is not None and {value for _, value in colours} <= {0, 255}
    out = io.BytesIO()
    (image.convert("1") if plain else image).save(out, "PNG", optimize=True)
    return out.getvalue()


def generic_panels() -> tuple[Panel, ...]:
    """Those that there are generic profiles for, smallest first."""
    sizes = {
        (profile.panel_width or 0, profile.panel_height or 0)
        for name, profile in installed_profiles().items()
        if name.startswith("mono-")
    }
    return tuple(Panel(*size) for size in sorted(sizes, key=lambda size: (size[0] * size[1], size)))


def _pictures(options: argparse.Namespace, payload: str, original: bytes | None) -> Iterator[Shown]:
    chosen = bytes(options.format) or bytes(sorted(image_formats().by_code))
    panels = list(options.panel)
    for name in options.profile:
        profile = profile_named(name)
        if profile.panel_width is None or profile.panel_height is None:
            raise ProfileError(f"profile {name} says no panel; give one by --panel")
        panel = Panel(profile.panel_width, profile.panel_height, profile.inverted)
        formats = bytes(options.format) or profile.formats or chosen
        for code in formats:
            shown = panel_in(payload, panel, code, original)
            yield Shown(f"{name}-{shown.name}", shown.image)
    for name in options.display:
        yield _display(name, payload)
    if not (panels or options.profile or options.display):
        panels = list(generic_panels())
    for panel in panels:
        turned = Panel(panel.width, panel.height, options.inverted)
        for code in chosen:
            yield panel_in(payload, turned, code, original)


def _display(name: str, payload: str) -> Shown:
    display = display_named(name)
    if not isinstance(display, EscposDisplay):
        raise DisplayConfigError(f"display {name}: only escpos: displays can be drawn here")
    kind = display.model.kind.value
    panel = display.model.panel
    size = f"{panel.width}x{panel.height}" if panel else f"{display.model.width_px}-dots"
    return Shown(f"escpos-{kind}-{size}", display.picture(payload))


def _said(options: argparse.Namespace) -> tuple[str, bytes | None]:
    if options.picture is None:
        return options.payload, None
    original = options.picture.read_bytes()
    payload = read_code(original)
    if isinstance(payload, Unreadable):
        raise ValueError(f"{options.picture}: {payload.why}")
    return payload, original


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/panels",
        description="Panels as PNG files, pixel for pixel as the device would show them.",
    )
    parser.add_argument("--panel", metavar="WxH", action="append", default=[], type=_panel)
    parser.add_argument("--profile", metavar="NAME", action="append", default=[])
    parser.add_argument("--display", metavar="escpos:…", action="append", default=[])
    parser.add_argument(
        "--format", metavar="CODE", action="append", default=[], type=lambda text: int(text, 16)
    )
    parser.add_argument("--inverted", action="store_true", help="the panels show a 0 dark")
    parser.add_argument("--payload", metavar="TEXT", default=PAYLOAD, help="what the code says")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="PartPay's picture instead")
    parser.add_argument("--to", metavar="FOLDER", type=Path, default=Path("panels"))
    return parser


def _panel(text: str) -> Panel:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r}: give width and height, as 128x64")
    return Panel(int(width), int(height))


if __name__ == "__main__":
    sys.exit(main())
