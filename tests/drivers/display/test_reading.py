import io
import struct
import zlib

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drivers.display.reading import (
    PICTURE_MAX_BYTES,
    Unreadable,
    payload_bytes,
    payload_text,
    read_code,
)

PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"


def code(content: str | bytes = PAYLOAD, scale: int = 10, **options: object) -> Image.Image:
    """A picture of a code as others draw it, mode L, with its quiet zone."""
    symbol = zxingcpp.create_barcode(content, zxingcpp.BarcodeFormat.QRCode, **options)
    return Image.fromarray(symbol.to_image(scale=scale, add_quiet_zones=True))


def file(image: Image.Image, file_format: str = "JPEG", **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **how)
    return out.getvalue()


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 6, 12, 30])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_reads_jpeg_of_any_size_and_colour(scale, mode):
    assert read_code(file(code(scale=scale).convert(mode), quality=85)) == PAYLOAD


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_reads_png(mode):
    assert read_code(file(code().convert(mode), "PNG")) == PAYLOAD


def test_reads_png_of_16_bits():
    deep = code().convert("I").point(lambda value: value * 257).convert("I;16")
    assert read_code(file(deep, "PNG")) == PAYLOAD


def test_what_is_transparent_is_light():
    drawn = code()
    black = Image.new("RGBA", drawn.size, (0, 0, 0, 0))
    black.putalpha(drawn.point(lambda value: 255 - value))
    assert read_code(file(black, "PNG")) == PAYLOAD


def test_reads_at_full_size_what_is_lost_at_half():
    small = file(code("x" * 1200, scale=3), quality=60)
    with Image.open(io.BytesIO(small)) as image:
        image.draft("L", (image.width // 2, image.height // 2))
        assert not zxingcpp.read_barcodes(image.convert("L"))
    assert read_code(small) == "x" * 1200


def test_reads_light_on_dark_and_turned():
    assert read_code(file(code().point(lambda value: 255 - value))) == PAYLOAD
    assert read_code(file(code().rotate(90))) == PAYLOAD


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("L", (left.width + right.width, max(left.height, right.height)), 255)
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def test_the_same_code_twice_is_one():
    assert read_code(file(side_by_side(code(), code()))) == PAYLOAD


def test_two_codes_that_differ_are_none():
    unreadable = read_code(file(side_by_side(code(), code("something else"))))
    assert isinstance(unreadable, Unreadable)
    assert "2 QR codes" in unreadable.why


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("Café", {"eci": "UTF-8"}, "Café"),
        ("Café", {"eci": "ISO8859_1"}, "Café"),
        ("日本", {"eci": "Shift_JIS"}, "日本"),
        (b"Caf\xe9", {}, "Caf\uefe9"),
        (bytes(range(256)), {}, payload_text(bytes(range(256)))),
    ],
)
def test_text_beyond_ascii(content, options, said):
    assert read_code(file(code(content, scale=4, **options), "PNG")) == said


@given(st.one_of(st.binary(), st.text("\uef80\uefff\uee00é", max_size=5).map(str.encode)))
def test_bytes_that_are_no_text_are_kept(data):
    payload = payload_text(data)
    assert payload_bytes(payload) == data
    payload.encode()  # it can be stored and printed


@given(st.text().filter(lambda text: not set(text) & set(map(chr, range(0xEF80, 0xF000)))))
def test_text_stands_for_itself(text):
    assert payload_text(text.encode()) == text


def test_a_code_with_fnc1_cannot_be_drawn_again():
    gs1 = file(code("[01]09501101530003[10]AB", gs1=True), "PNG")
    assert "cannot be drawn again" in read_code(gs1).why  # type: ignore[union-attr]


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (b"", "empty"),
        (b"<html><body>503 Service Unavailable</body></html>", "cannot be decoded"),
        (b"\xff\xd8\xff\xe0", "cannot be decoded"),
        (bytes(PICTURE_MAX_BYTES + 1), "more than"),
        (png_that_claims(4001, 4000), "4001 × 4000 pixels"),
        (png_that_claims(65000, 65000), "cannot be decoded"),
        (png_that_claims(300, 300), "cannot be decoded|no QR code"),
        (file(Image.new("L", (600, 600), 255)), "no QR code"),
        (file(Image.effect_noise((600, 600), 90)), "no QR code"),
        (file(code())[:2000], "cannot be decoded"),
        (file(code(), "GIF"), "cannot be decoded"),
        (file(code(), "BMP"), "cannot be decoded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_says_why(picture, why):
    unreadable = read_code(picture)
    assert isinstance(unreadable, Unreadable)
    assert any(part in unreadable.why for part in why.split("|"))


SOUND = file(code(scale=4), quality=70)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=20),
    st.integers(0, len(SOUND)),
)
def test_a_damaged_picture_is_read_rightly_or_not_at_all(changes, length):
    damaged = bytearray(SOUND)
    for at, value in changes:
        damaged[at] = value
    said = read_code(bytes(damaged[:length]))
    assert said == PAYLOAD or isinstance(said, Unreadable)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]))
def test_anything_at_all_is_a_value(tail, head):
    assert isinstance(read_code(head + tail), Unreadable)
