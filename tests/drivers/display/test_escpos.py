"""ESC/POS bytes, read by an interpreter that is not python-escpos, and their pictures by decoders."""

import random
import string

import pytest
import zxingcpp

from drivers.display.beside import DisplayConfigError, display_named
from drivers.display.escpos import (
    EscposDisplay,
    Kind,
    Way,
    clear_job,
    code_job,
    escpos_display,
    lines_job,
)
from drivers.display.raster import CannotDraw
from drivers.display.reading import payload_bytes
from tests.drivers.display import second_reader
from tests.drivers.display.escpos_interpreter import Interpreter

PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"
LINES = ("PartPay  NZ$ 25.00", "Order 181211-303902")
PRINTER = "tcp:192.0.2.7"


def named(text: str) -> EscposDisplay:
    display = display_named(f"escpos:{text}")
    assert isinstance(display, EscposDisplay)
    return display


def on_paper(text: str, payload: str = PAYLOAD, width: int = 576) -> Interpreter:
    display = named(text)
    job = code_job(display.model, payload, LINES)
    assert not isinstance(job, CannotDraw), job
    device = Interpreter(width, clears=display.model.kind is Kind.PANEL)
    device.take(job.data)
    return device


def assert_says(device: Interpreter, payload: str) -> None:
    image = device.paper.image
    assert [code.bytes for code in zxingcpp.read_barcodes(image)] == [payload.encode()]
    if second_reader.zbar_reads is not None:
        assert second_reader.zbar_reads(image) == {payload.encode()}


WAYS = {
    "native": f"{PRINTER}?profile=TM-T88V",
    "raster": f"{PRINTER}?profile=POS-5890",
    "column": f"{PRINTER}?profile=TM-U220",
    "no profile": PRINTER,
    "no profile, columns": f"{PRINTER}?code=column",
    "panel": f"{PRINTER}?size=240x320",
    "panel, columns": f"{PRINTER}?size=320x240&code=column",
}


def payloads(count: int) -> list[str]:
    rnd = random.Random(4)
    letters = string.ascii_letters + string.digits + "-_=/+?&"
    return [
        "https://pay.nz/" + "".join(rnd.choices(letters, k=5 + 180 * at // count))
        for at in range(count)
    ]


@pytest.mark.parametrize("how", WAYS)
def test_what_is_on_paper_says_exactly_the_payload(how):
    width = {"panel": 240, "panel, columns": 320}.get(how, 384)
    for payload in [PAYLOAD, *payloads(12)]:
        assert_says(on_paper(WAYS[how], payload, width), payload)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("profile=TM-T88V", (Way.NATIVE, Way.RASTER, Way.COLUMN)),
        ("profile=TH230", (Way.RASTER, Way.COLUMN)),
        ("profile=TM-U220", (Way.COLUMN,)),
        ("profile=simple", (Way.RASTER,)),
        ("profile=OCD-300", ()),
        ("", (Way.RASTER, Way.COLUMN)),  # nobody said that it draws codes by itself
        ("code=native", (Way.NATIVE,)),
        ("profile=TM-T88V&code=column", (Way.COLUMN,)),
        ("size=240x320", (Way.RASTER, Way.COLUMN)),
        ("kind=text", ()),
    ],
)
def test_ways_come_from_the_profile(text, ways):
    display = named(f"{PRINTER}?{text}")
    assert display.model.ways == ways
    assert display.shows_codes is bool(ways)


def test_a_printer_that_draws_by_itself_gets_the_payload_alone():
    device = on_paper(WAYS["native"])
    assert device.paper.printed_by_itself == [PAYLOAD.encode()]
    assert device.paper.text.split("\n")[:2] == list(LINES)
    assert device.paper.cuts == 1


@pytest.mark.parametrize("payload", ["Café", "日本語", "Caf\uefe9"])
def test_what_is_not_ascii_is_sent_as_a_picture(payload):
    device = on_paper(WAYS["native"], payload)
    assert not device.paper.printed_by_itself
    said = payload_bytes(payload)
    assert [code.bytes for code in zxingcpp.read_barcodes(device.paper.image)] == [said]


def test_modules_on_paper_are_whole_and_large_enough():
    paper = on_paper(WAYS["raster"]).paper
    (picture,) = [strip for strip in paper.strips if strip.height > 100]
    dark = picture.convert("L").point(lambda value: 255 - value).getbbox()
    assert dark is not None
    left, top, right, bottom = dark
    assert right - left == bottom - top == 33 * 6
    assert top == picture.height - bottom == 4 * 6
    assert abs(left - (paper.width - right)) <= 8  # rows are padded to bytes


def test_a_panel_shows_the_code_alone_and_whole():
    image = on_paper(WAYS["panel"], width=240).paper.image
    assert image.size == (240, 320)
    box = image.point(lambda value: 255 - value).getbbox()
    assert box == (37, 77, 37 + 165, 77 + 165)


def test_what_does_not_fit_says_so():
    narrow = named(f"{PRINTER}?width=64&code=raster")
    reason = code_job(narrow.model, PAYLOAD, LINES)
    assert isinstance(reason, CannotDraw)
    assert "need" in reason.why
    by_itself = named(f"{PRINTER}?width=64&code=native")
    assert "the paper has 64" in code_job(by_itself.model, "x" * 500, LINES).why  # type: ignore[union-attr]
    assert "text alone" in code_job(named(f"{PRINTER}?kind=text").model, PAYLOAD, LINES).why  # type: ignore[union-attr]
    assert isinstance(code_job(narrow.model, "", LINES), CannotDraw)


def test_text_cannot_give_commands():
    display = named(WAYS["raster"])
    job = code_job(display.model, PAYLOAD, ["Order \x1b@\x1d(k\x10\x04\x01 1", "é\x00€"])
    assert not isinstance(job, CannotDraw)
    assert b"\x1b@\x1d(k" not in job.data
    assert b"\x10\x04" not in job.data[:60]


def test_a_line_display_shows_amount_and_state_and_is_cleared():
    display = named("serial:/dev/null?profile=OCD-300")
    assert display.model.kind is Kind.TEXT
    for passed_through in (True, False):
        device = Interpreter(dots=passed_through)
        device.take(lines_job(display.model, ["NZ$ 25.00", "Scan the code, please, now", "x"]).data)
        assert device.line_display.lines == ["NZ$ 25.00", "Scan the code, pleas"]
        device.take(lines_job(display.model, ["Approved"]).data)
        assert device.line_display.lines == ["Approved", ""]
        device.take(clear_job(display.model).data)
        assert device.line_display.lines == ["", ""]
        assert not device.paper.text


def test_a_panel_is_cleared_and_shows_lines():
    display = named(f"{PRINTER}?size=240x320")
    device = on_paper(f"{PRINTER}?size=240x320", width=240)
    device.take(clear_job(display.model).data)
    assert device.paper.image.getextrema() == (255, 255)
    device.take(lines_job(display.model, ["NZ$ 25.00", "Approved"]).data)
    assert device.paper.text.split() == ["NZ$", "25.00", "Approved"]


def test_paper_is_not_spent_on_lines_and_cannot_be_cleared():
    display = named(PRINTER)
    assert lines_job(display.model, ["NZ$ 25.00"]).data == b""
    assert clear_job(display.model).data == b""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("escpos", "the driver is missing"),
        ("hologram:1", "no driver 'hologram'; known are escpos"),
        ("escpos:", "write serial:"),
        ("escpos:serial:", "write serial:"),
        ("escpos:tcp:host:99999", "write serial:"),
        ("escpos:usb:4b8:202", "write serial:"),
        ("escpos:usb:zzzz:0202", "invalid literal"),
        ("escpos:tcp:h?profile=TM-T1000", "TM-T88V"),
        ("escpos:tcp:h?colour=red", "colour is not known; known are profile, kind"),
        ("escpos:tcp:h?baud=9600&baud=1", "baud stands there twice"),
        ("escpos:tcp:h?baud=fast", "baud=fast: give a whole number"),
        ("escpos:tcp:h?kind=panel", "go together"),
        ("escpos:tcp:h?size=240", "as 240x320"),
        ("escpos:tcp:h?code=laser", "native, raster, column"),
        ("escpos:tcp:h?kind=text&code=raster", "leave out code"),
    ],
)
def test_a_display_named_wrongly(text, why):
    with pytest.raises(DisplayConfigError, match=why) as refused:
        display_named(text)
    assert text in str(refused.value)


def test_naming_a_display_touches_no_device():
    for where in ("serial:/dev/not-there", "tcp:192.0.2.1:9100", "usb:04b8:0202?serial=X1"):
        assert escpos_display(where).name == f"escpos:{where}"
