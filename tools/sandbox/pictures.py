"""The pictures that PartPay answers with: a QR code as a JPEG of about 600 pixels, and its bad kin.

Rules of this file:
- `picture(kind, payload)` is a function of its arguments alone; the last ones are kept, so that the
  order call and the picture's address give the same bytes as create did.
- An ordinary picture is what a service on .NET would send: error correction M, a quiet zone of four
  modules, 600 x 600 pixels whatever the number of modules (so modules differ by a pixel), in colour.
- zxing-cpp draws, because it takes 0.2 ms where qrcode takes 6; a create call must stay below 2 ms.
"""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from random import Random
from typing import Any

import zxingcpp
from PIL import Image, ImageFilter

from tools.sandbox.scenarios import Picture

SIDE_PIXELS = 600
JPEG_QUALITY = 80
HUGE_BYTES = 3 * 1024 * 1024
DENSE_CHARACTERS = 400
KEPT_PICTURES = 64
POOR_SIDE_PIXELS = 240
POOR_TURN_DEGREES = 4


@lru_cache(maxsize=KEPT_PICTURES)
def picture(kind: Picture, payload: str) -> bytes:
    """The picture's bytes (JPEG, except Picture.PNG). ValueError: a kind that is no picture."""
    match kind:
        case Picture.INLINE | Picture.BY_URL | Picture.DATA_URL:
            return _jpeg(_code(payload))
        case Picture.DENSE:
            return _jpeg(_code(payload_of(kind, payload)))
        case Picture.PNG:
            return _saved(_code(payload), "PNG")
        case Picture.CUT:
            whole = _jpeg(_code(payload))
            return whole[: len(whole) // 3]
        case Picture.NO_CODE:
            return _jpeg(Image.radial_gradient("L").resize((SIDE_PIXELS, SIDE_PIXELS)))
        case Picture.HUGE:
            jpeg = _jpeg(_code(payload))
            return jpeg + bytes(HUGE_BYTES - len(jpeg))
        case Picture.POOR:
            return _poor(payload)
        case Picture.NONE | Picture.GONE_URL | Picture.NO_PICTURE:
            raise ValueError(f"{kind} has no picture")


def payload_of(kind: Picture, payload: str) -> str:
    """What the code in this kind of picture says."""
    if kind is not Picture.DENSE:
        return payload
    joint = "&" if "?" in payload else "?"
    pattern = "a1B2c3D4e5F6g7H8"
    filled = payload + joint + "context=" + pattern * (DENSE_CHARACTERS // len(pattern) + 1)
    return filled[:DENSE_CHARACTERS]


def inline(kind: Picture, payload: str) -> str:
    """The text of the qrCode field."""
    if kind is Picture.NO_PICTURE:
        return "<the picture could not be rendered>"
    text = base64.b64encode(picture(kind, payload)).decode()
    return f"data:image/jpeg;base64,{text}" if kind is Picture.DATA_URL else text


def svg(payload: str) -> str:
    """The code for a browser page, sharp at any size."""
    code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    return str(zxingcpp.write_barcode_to_svg(code))


def _code(payload: str) -> Image.Image:
    code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    pixels: Any = code.to_image(scale=1)
    side = pixels.shape[0]
    small = Image.frombytes("L", (side, side), bytes(memoryview(pixels)))
    return small.resize((SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.NEAREST)


def _poor(payload: str) -> bytes:
    random = Random(payload)
    small = _code(payload).resize((POOR_SIDE_PIXELS, POOR_SIDE_PIXELS))
    turned = small.rotate(POOR_TURN_DEGREES, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    blurred = turned.filter(ImageFilter.GaussianBlur(0.7))
    noise = Image.frombytes("L", blurred.size, random.randbytes(blurred.width * blurred.height))
    return _saved(Image.blend(blurred, noise, 0.25), "JPEG", quality=40)


def _jpeg(image: Image.Image) -> bytes:
    return _saved(image.convert("RGB"), "JPEG", quality=JPEG_QUALITY)


def _saved(image: Image.Image, form: str, **how: int) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()
