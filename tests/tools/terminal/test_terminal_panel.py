"""What the simulated panel shows is what a device would show, and what a camera would read."""

from __future__ import annotations

import pytest
from PIL import Image

from drivers.display.qr import Panel, Picture, draw
from drivers.display.raster import BUILT_IN
from drivers.display.reading import bytes_in
from tools.terminal import panel
from tools.terminal.images import PanelImage

PAYLOAD = "https://example.invalid/pay/181211-303902?token=ABCDEFGHIJKLMNOPQRSTUV"
PANELS = [Panel(128, 64), Panel(160, 160), Panel(240, 320), Panel(480, 272)]
BLOCKS = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}


def drawn(image_format: int, which: Panel) -> PanelImage:
    made = next(draw(PAYLOAD, which, bytes((image_format,))))
    assert isinstance(made, Picture)
    return PanelImage(1, made.format, made.width, made.height, made.data, 1)


@pytest.mark.parametrize("which", PANELS, ids=str)
@pytest.mark.parametrize("image_format", [known.code for known in BUILT_IN])
def test_every_format_is_read_from_the_panel(image_format: int, which: Panel) -> None:
    image = drawn(image_format, which)
    assert panel.can_show(image, which)
    pixels = panel.pixels(image, which)
    assert pixels.size == (which.width, which.height)
    assert panel.read(pixels) == PAYLOAD


@pytest.mark.parametrize("which", PANELS, ids=str)
def test_the_console_shows_the_same_code_one_dot_a_module(which: Panel) -> None:
    lines = panel.console(panel.pixels(drawn(0x10, which), which))
    assert len({len(line) for line in lines}) == 1
    size = (len(lines[0]), 2 * len(lines))
    assert 21 + 8 <= size[0] <= 57 + 8
    dots = Image.new("L", size)
    for y, line in enumerate(lines):
        for x, character in enumerate(line):
            upper, lower = BLOCKS[character]
            dots.putpixel((x, 2 * y), upper)
            dots.putpixel((x, 2 * y + 1), lower)
    assert all(dots.getpixel((x, y)) == 255 for x in range(size[0]) for y in range(4))
    assert bytes_in(dots.resize((size[0] * 4, size[1] * 4), Image.Resampling.NEAREST)) == {
        PAYLOAD.encode()
    }


def test_what_no_device_could_show_is_not_shown() -> None:
    image = drawn(0x81, PANELS[0])
    short = PanelImage(1, 0x81, image.width, image.height, image.data[:-1], 1)
    unknown = PanelImage(1, 0x55, 8, 8, b"", 1)
    assert not panel.can_show(short, PANELS[0])
    assert not panel.can_show(unknown, PANELS[0])


def test_an_empty_panel_says_nothing() -> None:
    empty = Image.new("L", (128, 64), 255)
    assert panel.read(empty) is None
    assert set("".join(panel.console(empty))) == {"█"}
