"""What a panel shows: as pixels, as what a camera reads there, as text for a console.

Rules
- Pixels are those of the device: mode L, of the panel's size, 0 is dark.
- What the code says is read from those pixels, not taken from what was sent.
- In the console a module is half a character, light modules are the bright ones, and the quiet
  zone is always there: a phone reads it from a dark console.
"""

from __future__ import annotations

import math

from PIL import Image

from drivers.display.geometry import QUIET_MODULES, Panel
from drivers.display.raster import BadImage, show
from drivers.display.reading import bytes_in, payload_text
from tools.terminal.images import PanelImage

DARK_BELOW = 128
_HALF_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
"""(upper is light, lower is light) -> character."""


def can_show(image: PanelImage, panel: Panel) -> bool:
    """Whether the device can make pixels of it."""
    try:
        pixels(image, panel)
    except BadImage:
        return False
    return True


def pixels(image: PanelImage, panel: Panel) -> Image.Image:
    """The panel with this image on it. Raises BadImage."""
    return show(image.format, image.width, image.height, image.data, panel)


def read(panel_pixels: Image.Image) -> str | None:
    """What the QR code on the panel says; None where there is none, or more than one."""
    found = bytes_in(panel_pixels)
    return payload_text(next(iter(found))) if len(found) == 1 else None


def warm_up(panel: Panel) -> None:
    """Read an empty panel, so that the first sale finds the decoder loaded."""
    read(Image.new("L", (panel.width, panel.height), "white"))


def console(panel_pixels: Image.Image) -> list[str]:
    """The panel cut to what is on it, as lines: a character is one dot wide, two high."""
    rows = _dots(panel_pixels)
    width = len(rows[0])
    quiet = [True] * QUIET_MODULES
    across = [True] * (width + 2 * QUIET_MODULES)
    framed = [across] * QUIET_MODULES
    framed += [[*quiet, *row, *quiet] for row in rows]
    framed += [across] * (QUIET_MODULES + len(framed) % 2)
    return [
        "".join(_HALF_BLOCKS[pair] for pair in zip(framed[y], framed[y + 1], strict=True))
        for y in range(0, len(framed), 2)
    ]


def _dots(panel_pixels: Image.Image) -> list[list[bool]]:
    """Rows of dots, True is light, in the coarsest grid that loses nothing: one dot a module."""
    dark = panel_pixels.point(lambda value: 255 if value < DARK_BELOW else 0)
    box = dark.getbbox()
    if box is None:
        return [[True]]
    cut = dark.crop(box)
    across = _step(cut)
    down = _step(cut.transpose(Image.Transpose.TRANSPOSE))
    data, width = cut.tobytes(), cut.width
    return [
        [not value for value in data[y * width : (y + 1) * width : across]]
        for y in range(0, cut.height, down)
    ]


def _step(image: Image.Image) -> int:
    """The greatest number of pixels that all runs in all rows are a multiple of."""
    data, width = image.tobytes(), image.width
    step = width
    for at in range(0, len(data), width):
        row = data[at : at + width]
        for x in range(1, width):
            if row[x] != row[x - 1]:
                step = math.gcd(step, x)
        if step == 1:
            break
    return step
