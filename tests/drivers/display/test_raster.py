import io
from functools import cache
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drivers.display import raster
from drivers.display.geometry import Panel
from drivers.display.raster import (
    BadImage,
    CannotDraw,
    Drawing,
    ImageFormat,
    Picture,
    Pixels,
    UnknownFormat,
    image_formats,
    show,
)
from drivers.display.symbol import Modules, modules_for
from tests.drivers.display import plain_devices

PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"
PANELS = [Panel(128, 64), Panel(160, 160), Panel(240, 320), Panel(320, 240), Panel(480, 272)]
ODD_PANELS = [Panel(131, 61), Panel(97, 203)]
CODES = {0x01, 0x02, 0x03, 0x04, 0x10, 0x20, 0x21, 0x22, 0x30}
PACKED = {0x81, 0x82, 0x83, 0x84, 0x90, 0xB0}


@cache
def modules() -> Modules:
    made = modules_for(PAYLOAD)
    assert isinstance(made, Modules)
    return made


def written(code: int, panel: Panel, original: bytes | None = None) -> Picture:
    drawing = Drawing(modules(), panel, original)
    made = next(image_formats().by_code[code].write(drawing, code))
    assert isinstance(made, Picture)
    return made


def expected(panel: Panel) -> plain_devices.Dark:
    """The panel by the rules of the page: as large as fits, in the middle."""
    side, rows = modules().side, modules().rows
    room = min(panel.width, panel.height)
    module_px, narrow_px = room // (side + 8), room // (side + 4)
    if module_px < 3 and narrow_px > module_px:
        module_px = narrow_px
    left = (panel.width - side * module_px) // 2
    top = (panel.height - side * module_px) // 2
    dark = [[False] * panel.width for _ in range(panel.height)]
    for y in range(side * module_px):
        for x in range(side * module_px):
            dark[top + y][left + x] = bool(rows[y // module_px] >> (side - 1 - x // module_px) & 1)
    return dark


def dark_in(image: Image.Image) -> plain_devices.Dark:
    data = image.tobytes()
    return [
        [value < 128 for value in data[y * image.width : (y + 1) * image.width]]
        for y in range(image.height)
    ]


def test_every_format_of_the_page_is_in_the_table():
    assert image_formats().by_code.keys() == CODES | PACKED
    assert len(image_formats().by_name) == len(CODES | PACKED)
    assert image_formats().problems == ()


@pytest.mark.parametrize("panel", PANELS + ODD_PANELS, ids=str)
def test_a_plain_device_shows_what_is_expected(panel):
    wanted = expected(panel)
    for code in sorted((CODES | PACKED) - {0x10, 0x90, 0x22}):
        made = written(code, panel)
        assert (made.width, made.height) == (panel.width, panel.height)
        assert plain_devices.looks_like(code, made.width, made.height, made.data) == wanted, code


@pytest.mark.parametrize("panel", PANELS + ODD_PANELS, ids=str)
def test_shown_as_a_plain_device_does(panel):
    wanted = expected(panel)
    for code in sorted((CODES | PACKED) - {0x10, 0x90}):
        made = written(code, panel)
        shown = show(code, made.width, made.height, made.data, panel)
        assert (shown.mode, shown.size) == ("L", (panel.width, panel.height))
        assert dark_in(shown) == wanted, code


def test_modules_are_the_symbol_row_by_row():
    made = written(0x10, Panel(240, 320))
    side = modules().side
    assert (made.width, made.height) == (side, side)
    assert plain_devices.modules(made.data) == [
        [bool(row >> (side - 1 - x) & 1) for x in range(side)] for row in modules().rows
    ]
    assert plain_devices.unpacked(written(0x90, Panel(240, 320)).data) == made.data


def test_a_terminal_scales_modules_to_whole_pixels():
    made = written(0x10, Panel(240, 320))
    shown = show(0x10, made.width, made.height, made.data, Panel(240, 320))
    assert dark_in(shown) == expected(Panel(240, 320))


def test_bytes_by_hand():
    """A panel of 11 × 9 pixels: a dark top left corner, a dark bottom right one, and one between."""
    pixels = Pixels(11, 9, bytes.fromhex("8000 0000 0000 0010" + "0000" * 4 + "0020"))
    packed = {
        0x01: "8000 0000 0000 0010 0000 0000 0000 0000 0020",
        0x02: "0100 0000 0000 0008 0000 0000 0000 0000 0004",
        0x03: "01" + "00" * 10 + "00" * 10 + "01",
        0x04: "80" + "00" * 10 + "00" * 10 + "80",
    }
    pixels_of_pages = Pixels(11, 9, bytes.fromhex("8000" + "0000" * 7 + "0020"))
    for code, wanted in packed.items():
        source = pixels if code < 3 else pixels_of_pages
        shown = show(code, 11, 9, bytes.fromhex(wanted), Panel(11, 9))
        assert dark_in(shown) == plain_devices.rows(11, 9, source.data)


def test_rgb565_is_big_endian():
    shown = show(0x30, 3, 1, bytes.fromhex("F800 07E0 001F"), Panel(3, 1))
    red, green, blue = shown.tobytes()
    assert green > red > blue > 0


@pytest.mark.parametrize("code", sorted({0x01, 0x02, 0x03, 0x04, 0x10} | PACKED - {0xB0}))
def test_an_inverted_panel_gets_inverted_bits(code):
    upright, inverted = Panel(128, 64), Panel(128, 64, inverted=True)
    made = written(code, inverted)
    assert made.data != written(code, upright).data
    shown = show(code, made.width, made.height, made.data, inverted)
    assert dark_in(shown) == expected(upright)


@pytest.mark.parametrize("code", [0x20, 0x21, 0x22, 0x30, 0xB0])
def test_files_and_colours_say_themselves_what_is_dark(code):
    assert written(code, Panel(128, 64, inverted=True)) == written(code, Panel(128, 64))


def jpeg(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height), 255).save(out, "JPEG")
    return out.getvalue()


def test_jpeg_as_sent_comes_first_where_it_fits_the_panel():
    panel = Panel(240, 320)
    fits, too_wide = jpeg(240, 240), jpeg(241, 240)
    assert written(0x22, panel, fits) == Picture(0x22, 240, 240, fits)
    anew = written(0x22, panel)
    assert (anew.width, anew.height) == (240, 320)
    for original in (too_wide, b"\x89PNG\r\n\x1a\n", b"", b"\xff\xd8"):
        assert written(0x22, panel, original) == anew
    drawing = Drawing(modules(), panel, fits)
    made = list(image_formats().by_code[0x22].write(drawing, 0x22))
    assert made == [Picture(0x22, 240, 240, fits), anew]


def test_a_smaller_picture_stands_in_the_middle():
    shown = show(0x01, 8, 1, b"\xff", Panel(20, 3))
    assert dark_in(shown)[1] == [6 <= x < 14 for x in range(20)]
    assert not any(dark_in(shown)[0] + dark_in(shown)[2])


def test_what_does_not_fit_says_so():
    made = modules_for("x" * 300)
    assert isinstance(made, Modules)
    drawing = Drawing(made, Panel(128, 64))
    for code in CODES | PACKED:
        (said,) = image_formats().by_code[code].write(drawing, code)
        assert isinstance(said, CannotDraw)
        assert "128 × 64" in said.why
        assert said.format == code


@pytest.mark.parametrize(
    ("code", "width", "height", "data", "why"),
    [
        (0x01, 128, 64, bytes(1023), "1023 bytes where there must be 1024"),
        (0x03, 128, 64, bytes(1025), "1025 bytes"),
        (0x30, 128, 64, bytes(5), "5 bytes"),
        (0x01, 136, 64, bytes(17 * 64), "136 × 64 is more than 128 × 64"),
        (0x81, 128, 64, b"\x02\x00", "3 bytes were to come"),
        (0x10, 33, 33, b"", "0 modules"),
        (0x10, 33, 33, bytes([33]) + bytes(136), "137 bytes"),
        (0x10, 33, 37, bytes([33]) + bytes(137), "33 × 37 told"),
        (0x10, 34, 34, bytes([34]) + bytes(145), "34 modules"),
        (0x10, 177, 177, bytes([177]) + bytes(3917), "need"),
        (0x21, 128, 64, b"\x89PNG\r\n\x1a\n", "png"),
        (0x20, 128, 64, b"BM", "bmp"),
        (0x22, 10, 10, jpeg(11, 10), "10 × 10 told"),
        (0x22, 3000, 3000, jpeg(3000, 3000), "more than"),
        (0x21, 10, 10, jpeg(10, 10), "png"),
    ],
)
def test_bytes_that_no_device_could_show(code, width, height, data, why):
    with pytest.raises(BadImage, match=why):
        show(code, width, height, data, Panel(128, 64))


def test_a_code_that_nobody_knows():
    with pytest.raises(UnknownFormat, match="7F"):
        show(0x7F, 1, 1, b"", Panel(128, 64))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(CODES | PACKED)),
    st.integers(0, 200),
    st.integers(0, 200),
    st.binary(max_size=300),
)
def test_any_bytes_are_shown_or_bad(code, width, height, data):
    panel = Panel(128, 64)
    try:
        shown = show(code, width, height, data, panel)
    except BadImage:
        return
    assert shown.size == (128, 64)


@pytest.fixture
def other_packages(mocker):
    def bring(**brought: object) -> None:
        points = []
        for name, what in brought.items():
            point = mocker.Mock(spec=EntryPoint, value=name)
            point.load.side_effect = what if isinstance(what, Exception) else lambda what=what: what
            points.append(point)
        mocker.patch.object(raster, "entry_points", return_value=points)
        image_formats.cache_clear()

    yield bring
    mocker.stopall()
    image_formats.cache_clear()


def test_another_package_brings_a_format(other_packages):
    rows = image_formats().by_code[0x01]
    extra = ImageFormat(0x41, "rows-again", "rows under another code", rows.write, rows.show)
    other_packages(extra=extra)
    assert image_formats().by_name["rows-again"] is extra
    assert written(0x41, Panel(128, 64)).format == 0x41


def test_a_broken_format_of_another_package_is_told_and_left_out(other_packages):
    rows = image_formats().by_code[0x01]
    other_packages(
        missing=ImportError("no such module"),
        taken=ImageFormat(0x01, "mine", "", rows.write, rows.show),
        nothing=42,
    )
    assert image_formats().by_code.keys() == CODES | PACKED
    missing, taken, nothing = image_formats().problems
    assert "no such module" in missing
    assert "01" in taken
    assert "no ImageFormat" in nothing
