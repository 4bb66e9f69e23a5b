"""What a QR code says -> its modules, in the smallest version there is for it.

Rules of this module:
- The smallest version that holds the payload's bytes, in the best mix of segments; room that is
  left goes into a higher error correction level, never into a larger version (the link's
  section 5).
- The code says the payload's bytes and nothing else: no declared character set, no FNC1. Phones
  take bytes without a declaration as UTF-8.
- Every symbol is read back before it is given out.

Two writers, for a reason (80 characters, medians: zxing-cpp 0.16 ms, qrcode 3.7 ms; mixed
payloads of 20 to 200 characters against an exact search over all splits):
- zxing-cpp found the smallest version and the highest level for all of 3,000. qrcode's own
  splitting missed the smallest version for 15 of 1,500 (runs from 6 characters on, its best) and
  for 328 (20, its default).
- But zxing-cpp writes text: what is not ASCII it turns into Latin-1 or Shift-JIS, and bytes it
  declares as binary. So all other payloads are drawn by qrcode, from the segments found here; and
  so is what zxing-cpp cannot write, or what does not read back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import zxingcpp
from PIL import Image

from drivers.display.reading import bytes_in, payload_bytes

PAYLOAD_MAX_BYTES = 7089
"""Digits in version 40: nothing longer is ever a QR code, so nothing longer is tried."""

_DARK_AS_ONE = bytes.maketrans(b"\x00\xff", b"10")
_PROOF_MODULE_PX = 2
_PROOF_QUIET_MODULES = 4


@dataclass(frozen=True, slots=True)
class Modules:
    """A QR symbol without its quiet zone: `rows` from the top, each an integer of `side` bits, the
    leftmost module the highest bit, 1 is dark. `level` is the error correction level."""

    side: int
    rows: tuple[int, ...]
    level: str

    @property
    def version(self) -> int:
        return (self.side - 17) // 4

    def packed(self) -> bytes:
        """side × side bits, row by row, high bit first, no padding between rows (format 10)."""
        bits = 0
        for row in self.rows:
            bits = bits << self.side | row
        size_bytes = -(-self.side * self.side // 8)
        return (bits << (size_bytes * 8 - self.side * self.side)).to_bytes(size_bytes, "big")

    def image(self) -> Image.Image:
        """One pixel a module, mode L, 0 is dark."""
        stride = -(-self.side // 8)
        padding = stride * 8 - self.side
        data = b"".join((row << padding).to_bytes(stride, "big") for row in self.rows)
        return Image.frombytes("1", (self.side, self.side), data, "raw", "1;I").convert("L")


@dataclass(frozen=True, slots=True)
class NoSymbol:
    """No QR code can say this payload, and why."""

    why: str


def modules_for(payload: str) -> Modules | NoSymbol:
    """The smallest symbol that says `payload`, in the highest level its version holds."""
    try:
        data = payload_bytes(payload)
    except UnicodeEncodeError:
        return NoSymbol("it holds half a character, which no code can say")
    if not data:
        return NoSymbol("there is nothing to say")
    if len(data) > PAYLOAD_MAX_BYTES:
        return NoSymbol(f"{len(data)} bytes are more than a QR code holds")
    for write in _WRITERS:
        modules = write(data)
        if modules is not None and bytes_in(_proof(modules)) == {data}:
            return modules
    return NoSymbol(f"no QR code of these {len(data)} bytes can be made that reads back")


def _by_zxing(data: bytes) -> Modules | None:
    if not data.isascii():
        return None
    try:
        symbol = zxingcpp.create_barcode(data.decode("ascii"), zxingcpp.BarcodeFormat.QRCode)
    except ValueError:  # too long, mostly; the exact search of the other writer has the last word
        return None
    image = symbol.to_image(scale=1, add_quiet_zones=False)
    side = int(image.shape[0])
    bits = memoryview(cast("memoryview", image)).tobytes().translate(_DARK_AS_ONE)
    rows = tuple(int(bits[at : at + side], 2) for at in range(0, side * side, side))
    return Modules(side, rows, symbol.ec_level)


def _by_qrcode(data: bytes) -> Modules | None:
    """Loads qrcode when it is first needed: most daemons never do, and it costs them 3 MiB."""
    from drivers.display.qrcode_writer import matrix_of  # noqa: PLC0415

    drawn = matrix_of(data)
    if drawn is None:
        return None
    matrix, level = drawn
    rows = tuple(int("".join("1" if dark else "0" for dark in row), 2) for row in matrix)
    return Modules(len(rows), rows, level)


def _proof(modules: Modules) -> Image.Image:
    side_px = modules.side * _PROOF_MODULE_PX
    quiet_px = _PROOF_QUIET_MODULES * _PROOF_MODULE_PX
    proof = Image.new("L", (side_px + 2 * quiet_px, side_px + 2 * quiet_px), "white")
    code = modules.image().resize((side_px, side_px), Image.Resampling.NEAREST)
    proof.paste(code, (quiet_px, quiet_px))
    return proof


_WRITERS: tuple[Callable[[bytes], Modules | None], ...] = (_by_zxing, _by_qrcode)
