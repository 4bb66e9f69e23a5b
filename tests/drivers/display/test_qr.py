"""For each panel and each format, 200 payloads: what is drawn is read back, by two readers."""

import io
import random
import string

import pytest
import zxingcpp
from PIL import Image, ImageChops

from drivers.display.qr import (
    CannotDraw,
    Panel,
    Picture,
    draw,
    modules_for,
    read_code,
    show,
    warm_up,
)
from drivers.display.raster import SHOWN_MAX_PIXELS, image_formats
from drivers.profiles import installed_profiles
from tests.drivers.display import second_reader

PANELS = [Panel(128, 64), Panel(160, 160), Panel(240, 320), Panel(320, 240), Panel(480, 272)]
ALL = bytes(sorted(image_formats().by_code))
PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"


def payloads(count: int) -> list[str]:
    """Different ones of 20 to 200 bytes, of the kinds that a payment service may use."""
    rnd = random.Random(20181211)
    kinds = (
        ("https://pay.partpay.co.nz/o/", "0123456789abcdef-"),
        ("", string.digits),
        ("PAY:", string.ascii_letters + string.digits + "-_=/+"),
        ("HTTPS://PAY.NZ/", string.digits + "ABCDEF"),
        ("https://pay.nz/?s=", string.printable[:95] + "éŌ"),
    )
    made: dict[str, None] = {}
    while len(made) < count:
        head, letters = kinds[len(made) % len(kinds)]
        text = head + "".join(rnd.choices(letters, k=200))
        while len(text.encode()) > 20 + 180 * len(made) // (count - 1):
            text = text[:-1]
        made[text] = None
    return list(made)


def measured(shown: Image.Image) -> tuple[int, int, int]:
    """Module size, modules a side and quiet zone in modules of the only code on a panel; fails
    unless all modules are the same whole number of pixels, and in the middle."""
    dark = shown.point(lambda value: 255 if value < 128 else 0)
    box = dark.getbbox()
    assert box is not None
    left, top, right, bottom = box
    code = dark.crop(box)
    first_row = code.crop((0, 0, code.width, 1)).tobytes()
    finder_px = first_row.index(0)  # the finder pattern's seven modules
    module_px, rest = divmod(finder_px, 7)
    assert rest == 0
    side, rest = divmod(code.width, module_px)
    assert rest == 0
    assert code.width == code.height
    assert side % 4 == 1
    small = code.resize((side, side), Image.Resampling.NEAREST)
    again = small.resize(code.size, Image.Resampling.NEAREST)
    assert ImageChops.difference(code, again).getbbox() is None
    around = (left, top, shown.width - right, shown.height - bottom)
    assert 0 <= around[2] - around[0] <= 1
    assert 0 <= around[3] - around[1] <= 1
    return module_px, side, min(around) // module_px


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_every_format_reads_back(panel):
    for payload in payloads(200):
        seen: set[bytes] = set()
        pictures = list(draw(payload, panel, ALL))
        for picture in pictures:
            assert isinstance(picture, Picture), picture
            shown = show(picture.format, picture.width, picture.height, picture.data, panel)
            if shown.tobytes() in seen:
                continue
            seen.add(shown.tobytes())
            (read,) = zxingcpp.read_barcodes(shown)
            assert read.bytes == payload.encode()
            if second_reader.zbar_reads is not None and payload.isascii():
                assert second_reader.zbar_reads(shown) == {payload.encode()}
            module_px, side, quiet = measured(shown)
            room = min(panel.width, panel.height)
            full, narrow = room // (side + 8), room // (side + 4)
            if picture.format in (0x10, 0x90) or full >= 3 or full == narrow:
                assert (module_px, quiet >= 4) == (full, True)
            else:
                assert (module_px, quiet >= 2) == (narrow, True)
            assert module_px >= (1 if panel.height <= 64 else 2)
        assert len(seen) <= 3  # pixels, jpeg, and modules where their quiet zone differs


def families() -> dict[tuple[Panel, bytes], str]:
    """Every panel and list of formats that a family's profile has, once."""
    made = {}
    for name, profile in installed_profiles().items():
        if name.startswith("family-"):
            assert profile.panel_width is not None
            assert profile.panel_height is not None
            panel = Panel(profile.panel_width, profile.panel_height, profile.inverted)
            made[(panel, profile.formats or b"")] = name
    return made


@pytest.mark.parametrize(("panel", "formats"), families(), ids=families().values())
def test_every_family_of_panels_reads_back_in_its_own_formats(panel, formats):
    for payload in payloads(200):
        seen: set[bytes] = set()
        for picture in draw(payload, panel, formats):
            assert isinstance(picture, Picture), picture
            shown = show(picture.format, picture.width, picture.height, picture.data, panel)
            if shown.tobytes() not in seen:
                seen.add(shown.tobytes())
                (read,) = zxingcpp.read_barcodes(shown)
                assert read.bytes == payload.encode()
                if second_reader.zbar_reads is not None and payload.isascii():
                    assert second_reader.zbar_reads(shown) == {payload.encode()}
                measured(shown)


@second_reader.needs_zbar
def test_the_second_reader_was_there():
    (picture,) = draw(PAYLOAD, PANELS[2], b"\x01")
    assert isinstance(picture, Picture)
    shown = show(picture.format, picture.width, picture.height, picture.data, PANELS[2])
    assert second_reader.zbar_reads is not None
    assert second_reader.zbar_reads(shown) == {PAYLOAD.encode()}


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_what_is_too_much_for_a_panel_says_so_for_every_format(panel):
    longest = "x" * 2900
    reasons = list(draw(longest, panel, ALL))
    assert len(reasons) == len(ALL)
    for code, reason in zip(ALL, reasons, strict=True):
        assert isinstance(reason, CannotDraw)
        assert reason.format == code
        assert f"the panel has {panel}" in reason.why


@pytest.mark.parametrize(
    ("length", "version", "rows_fit", "modules_fit"),
    [(230, 9, True, True), (231, 10, True, False), (271, 10, True, False), (272, 11, False, False)],
)
def test_where_a_small_panel_ends(length, version, rows_fit, modules_fit):
    payload = "x" * length
    assert modules_for(payload).version == version  # type: ignore[union-attr]
    rows, modules = draw(payload, Panel(128, 64), b"\x83\x10")
    assert isinstance(rows, Picture) is rows_fit
    assert isinstance(modules, Picture) is modules_fit


def test_the_terminals_order_and_each_once():
    made = list(draw(PAYLOAD, Panel(240, 320), b"\x83\x10\x7f\x83\x01"))
    assert [picture.format for picture in made] == [0x83, 0x10, 0x7F, 0x01]
    assert isinstance(made[2], CannotDraw)
    assert "7F" in made[2].why


def test_what_is_larger_than_the_terminal_takes_is_passed_over():
    rows, packed, modules = draw(PAYLOAD, Panel(240, 320), b"\x01\x83\x10", largest=1500)
    assert isinstance(rows, CannotDraw)
    assert "9600 bytes, the terminal takes 1500" in rows.why
    assert isinstance(packed, Picture)
    assert len(packed.data) <= 1500
    assert isinstance(modules, Picture)


def test_nothing_is_made_before_it_is_asked_for(mocker):
    write = mocker.Mock(side_effect=AssertionError)
    known = dict(image_formats().by_code)
    known[0x01] = mocker.Mock(code=0x01, write=write)
    mocker.patch("drivers.display.qr.image_formats", return_value=mocker.Mock(by_code=known))
    assert isinstance(next(draw(PAYLOAD, Panel(240, 320), b"\x10\x01")), Picture)
    write.assert_not_called()


def jpeg_of(payload: str, side_px: int) -> bytes:
    symbol = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode)
    image = Image.fromarray(symbol.to_image(scale=8, add_quiet_zones=True))
    out = io.BytesIO()
    image.convert("RGB").resize((side_px, side_px)).save(out, "JPEG", quality=85)
    return out.getvalue()


def test_jpeg_as_partpay_sent_it():
    panel = Panel(240, 320)
    original = jpeg_of(PAYLOAD, 240)
    assert list(draw(PAYLOAD, panel, b"\x22", original=original)) == [
        Picture(0x22, 240, 240, original)
    ]


@pytest.mark.parametrize(
    ("original", "largest"),
    [
        (jpeg_of(PAYLOAD, 241), None),
        (jpeg_of("something else", 240), None),
        (jpeg_of(PAYLOAD, 240)[:-3000], None),
        (jpeg_of(PAYLOAD, 240) + bytes(50_000), 40_000),
        (b"no picture", None),
    ],
    ids=["too wide", "says something else", "cut short", "too large", "no picture"],
)
def test_jpeg_drawn_anew(original, largest):
    panel = Panel(240, 320)
    (picture,) = draw(PAYLOAD, panel, b"\x22", largest=largest, original=original)
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height) == (240, 320)


def test_a_picture_that_does_not_read_back_is_passed_over(mocker):
    """A format whose writer says something else, one whose bytes cannot be shown, one that fails."""
    rows = image_formats().by_code[0x01]
    other = next(draw("something else", Panel(240, 320), b"\x01"))
    cut = Picture(0x01, 240, 320, b"short")
    known = {
        0x41: mocker.Mock(code=0x41, write=lambda drawing, code: iter([other]), show=rows.show),
        0x42: mocker.Mock(code=0x42, write=lambda drawing, code: iter([cut]), show=rows.show),
        0x43: mocker.Mock(code=0x43, write=mocker.Mock(side_effect=KeyError("x"))),
        0x44: mocker.Mock(code=0x44, write=lambda drawing, code: iter([])),
        0x01: rows,
    }
    mocker.patch("drivers.display.qr.image_formats", return_value=mocker.Mock(by_code=known))
    made = list(draw(PAYLOAD, Panel(240, 320), bytes(known)))
    for reason, why in zip(
        made, ["not read back", "cannot be shown", "KeyError", "no picture"], strict=False
    ):
        assert isinstance(reason, CannotDraw)
        assert why in reason.why
    assert isinstance(made[-1], Picture)


@pytest.mark.parametrize(
    ("payload", "panel", "why"),
    [
        ("", Panel(240, 320), "nothing to say"),
        ("x" * 2954, Panel(4000, 1000), "2954 bytes"),
        (PAYLOAD, Panel(65535, 65535), str(SHOWN_MAX_PIXELS)),
    ],
)
def test_no_code_at_all(payload, panel, why):
    (reason,) = draw(payload, panel, ALL)
    assert isinstance(reason, CannotDraw)
    assert reason.format is None
    assert why in reason.why


def test_a_panel_without_pixels_and_a_list_without_formats():
    assert all(isinstance(made, CannotDraw) for made in draw(PAYLOAD, Panel(0, 0), ALL))
    assert list(draw(PAYLOAD, Panel(240, 320), b"")) == []


def test_what_partpay_sent_is_what_a_panel_says():
    said = read_code(jpeg_of(PAYLOAD, 600))
    assert said == PAYLOAD
    picture = next(draw(said, Panel(128, 64), b"\x83"))
    assert isinstance(picture, Picture)
    shown = show(picture.format, picture.width, picture.height, picture.data, Panel(128, 64))
    assert zxingcpp.read_barcodes(shown)[0].text == PAYLOAD


def test_warming_up_is_quiet():
    warm_up()
