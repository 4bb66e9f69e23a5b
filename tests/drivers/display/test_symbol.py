import random

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drivers.display import segments, symbol
from drivers.display.reading import bytes_in, payload_bytes, payload_text
from drivers.display.symbol import Modules, NoSymbol, modules_for

PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"


def says(modules: Modules) -> frozenset[bytes]:
    plain = Image.new("L", (modules.side + 8, modules.side + 8), 255)
    for y, row in enumerate(modules.rows):
        for x in range(modules.side):
            if row >> (modules.side - 1 - x) & 1:
                plain.putpixel((x + 4, y + 4), 0)
    return bytes_in(plain.resize((plain.width * 3, plain.height * 3), Image.Resampling.NEAREST))


def some_payloads(count: int, seed: int = 1) -> list[str]:
    rnd = random.Random(seed)
    parts = ("https://pay.nz/", "?n=", "181211", "ABC-DEF", "abcdef", "0", "/", "3f1c2a9e")
    return ["".join(rnd.choices(parts, k=rnd.randrange(3, 30)))[:200] for _ in range(count)]


@pytest.mark.parametrize("payload", [PAYLOAD, *some_payloads(150)])
def test_smallest_version_and_highest_level_that_hold_it(payload):
    modules = modules_for(payload)
    assert isinstance(modules, Modules)
    fit = segments.smallest(payload.encode())
    assert fit is not None
    assert (modules.version, modules.level) == (fit.version, fit.level)
    assert says(modules) == {payload.encode()}


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_said_without_loss(data):
    payload = payload_text(data)
    assert payload_bytes(payload) == data
    modules = modules_for(payload)
    assert isinstance(modules, Modules)
    assert says(modules) == {data}
    fit = segments.smallest(data)
    assert fit is not None
    assert (modules.version, modules.level) == (fit.version, fit.level)


@pytest.mark.parametrize("payload", ["Café", "日本語", "€5 → ☕", "a\x00b", "\\x41", "\x1d]"])
def test_text_beyond_letters(payload):
    modules = modules_for(payload)
    assert isinstance(modules, Modules)
    assert says(modules) == {payload.encode()}


def test_another_writer_takes_over_where_one_says_something_else(mocker):
    wrong = zxingcpp.create_barcode("something else", zxingcpp.BarcodeFormat.QRCode)
    mocker.patch("drivers.display.symbol.zxingcpp.create_barcode", return_value=wrong)
    modules = modules_for(PAYLOAD)
    assert isinstance(modules, Modules)
    assert says(modules) == {PAYLOAD.encode()}


def test_what_no_writer_can_say(mocker):
    assert modules_for("") == NoSymbol("there is nothing to say")
    assert "more than a QR code holds" in modules_for("1" * 7090).why  # type: ignore[union-attr]
    assert isinstance(modules_for("x" * 2954), NoSymbol)
    assert "half a character" in modules_for("\ud800").why  # type: ignore[union-attr]
    mocker.patch.object(symbol, "_WRITERS", (lambda data: None,))
    assert isinstance(modules_for("x"), NoSymbol)


def test_the_largest_code_there_is():
    modules = modules_for("x" * 2953)
    assert isinstance(modules, Modules)
    assert (modules.version, modules.level) == (40, "L")
    assert len(modules.packed()) == (177 * 177 + 7) // 8
