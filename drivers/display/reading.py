"""What a picture of a QR code says (zxing-cpp and Pillow).

Rules of this module:
- A picture from outside can be anything: whatever is wrong with it comes back as an Unreadable
  value that says why; nothing is raised.
- What a code says is text. Its bytes are UTF-8 in practice, and then stand for themselves. A code
  that declares another character set is taken at its text. Bytes that are neither are kept
  without loss: a byte that is no UTF-8 stands as one of U+EF80..U+EFFF, which are for private use
  (and where a code holds one of those itself, as its three bytes). `payload_bytes` gives back
  exactly the bytes that were in the code. Not PEP 383's lone surrogates: they can be neither
  printed nor stored, and a payload is both.
- Two codes that differ in one picture are no code: nobody can say which one is to be paid.
- Half size first: a JPEG of 600 pixels is read in 0.44 ms so, in 1.1 ms at full size. What does
  not read at half is read at full.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import zxingcpp
from PIL import Image

PICTURE_FORMATS = ("JPEG", "PNG")
"""PartPay sends JPEG. Other decoders of Pillow are no part of what strangers can reach."""
PICTURE_MAX_BYTES = 2 * 1024 * 1024
"""As many as are fetched from PartPay; its pictures have 20 to 60 kB."""
PICTURE_MAX_PIXELS = 16_000_000
"""4000 × 4000: forty times what is needed. One of that size costs 52 MB while it is read, 174 MB
where it has transparency (measured), and no picture of PartPay's comes near it."""
HALF_SIZE_FROM_PX = 240
"""Below this a module may have under 3 pixels once halved."""

_TO_SURROGATES = {0xEF00 + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}
_FROM_SURROGATES = {surrogate: raw for raw, surrogate in _TO_SURROGATES.items()}
_RAW_BYTES = frozenset(map(chr, _TO_SURROGATES))

_QR_ONLY = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_PLAIN = "]Q1"
"""Symbology identifier of ISO/IEC 15424; 3 to 6 are codes with FNC1, which ours would lack."""
_WITH_CHARACTER_SET = "5D 51 32"
_WITHOUT_MEANING = "5D 51 32 5C 30 30 30 38 39 39"
"""How HexECI text begins where a code declares a character set: "]Q2", with "\\000899" none."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture that says nothing, and why, in words for a log line."""

    why: str


def payload_bytes(payload: str) -> bytes:
    """The bytes in the code that says `payload`; the reverse of `payload_text`.

    Raises UnicodeEncodeError for half a character (a lone surrogate), which no payload holds.
    """
    return payload.translate(_TO_SURROGATES).encode("utf-8", "surrogateescape")


def payload_text(data: bytes) -> str:
    """The payload for any bytes in a code: text that can be stored and printed, without loss."""
    text = data.decode("utf-8", "surrogateescape")
    for letter in sorted(_RAW_BYTES.intersection(text)):
        in_bytes = "".join(chr(0xDC00 + byte) for byte in letter.encode())
        text = text.replace(letter, in_bytes)
    return text.translate(_FROM_SURROGATES)


def read_code(picture: bytes) -> str | Unreadable:
    """What the QR code in a JPEG or PNG file says, or why that cannot be told.

    Bounded by PICTURE_MAX_BYTES and PICTURE_MAX_PIXELS. Never raises.
    """
    if not picture:
        return Unreadable("the picture is empty")
    if len(picture) > PICTURE_MAX_BYTES:
        return Unreadable(f"the picture has {len(picture)} bytes, more than {PICTURE_MAX_BYTES}")
    try:
        return _read(picture)
    except Exception as error:  # noqa: BLE001 - a decoder fed by strangers may raise anything
        return Unreadable(f"the picture cannot be decoded: {type(error).__name__}: {error}")


def bytes_in(image: Image.Image) -> frozenset[bytes]:
    """The bytes of every QR code in an image of mode L or 1; damaged ones do not count."""
    return frozenset(code.bytes for code in _codes_in(image))


def _read(picture: bytes) -> str | Unreadable:
    with _opened(picture) as image:
        width, height = image.size
        if width * height > PICTURE_MAX_PIXELS:
            return Unreadable(
                f"the picture has {width} × {height} pixels, more than {PICTURE_MAX_PIXELS}"
            )
        halved = image.format == "JPEG" and min(width, height) >= HALF_SIZE_FROM_PX
        if halved:
            image.draft("L", (width // 2, height // 2))
        seen = _grey(image)
        codes = _codes_in(seen)
    if not codes and halved:
        with _opened(picture) as image:
            seen = _grey(image)
            codes = _codes_in(seen)
    if not codes:
        return Unreadable(f"no QR code is found in the picture of {width} × {height} pixels")
    said = {_said(code, seen) for code in codes}
    if len(said) > 1:
        return Unreadable(f"the picture holds {len(said)} QR codes that say different things")
    (what,) = said
    return what


def _opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture), formats=PICTURE_FORMATS)


def _grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion cuts off at 255
        return image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        seen = Image.new("RGBA", image.size, "white")
        seen.alpha_composite(image.convert("RGBA"))
        return seen.convert("L")
    return image.convert("L")


def _codes_in(
    image: Image.Image, text_mode: zxingcpp.TextMode = zxingcpp.TextMode.Plain
) -> list[zxingcpp.Barcode]:
    found = zxingcpp.read_barcodes(image, formats=_QR_ONLY, text_mode=text_mode)
    return [code for code in found if code.valid]


def _said(code: zxingcpp.Barcode, image: Image.Image) -> str | Unreadable:
    if code.symbology_identifier != _PLAIN:
        return Unreadable(
            f"the code is of a kind ({code.symbology_identifier}) that cannot be drawn again"
        )
    if not code.bytes:
        return Unreadable("the code in the picture is empty")
    if not code.bytes.isascii() and _declares_character_set(code, image):
        return payload_text(code.text.encode())
    return payload_text(code.bytes)


def _declares_character_set(code: zxingcpp.Barcode, image: Image.Image) -> bool:
    """Only the text of a second reading tells; it costs nothing to the codes that are ASCII."""
    return any(
        again.bytes == code.bytes
        and again.text.startswith(_WITH_CHARACTER_SET)
        and not again.text.startswith(_WITHOUT_MEANING)
        for again in _codes_in(image, zxingcpp.TextMode.HexECI)
    )
