"""Devices written down pixel by pixel from the page alone (the link's section 5).

They share nothing with drivers/display: slow, plain, and the judge of its writers.
Each takes width, height and the bytes as sent, and says which pixels are dark: rows of booleans.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

Dark = list[list[bool]]


def rows(width: int, height: int, data: bytes, low_bit_left: bool = False) -> Dark:
    stride = (width + 7) // 8
    assert len(data) == stride * height
    return [
        [
            bool(data[y * stride + x // 8] >> (x % 8 if low_bit_left else 7 - x % 8) & 1)
            for x in range(width)
        ]
        for y in range(height)
    ]


def rows_low(width: int, height: int, data: bytes) -> Dark:
    return rows(width, height, data, low_bit_left=True)


def pages(width: int, height: int, data: bytes, top_bit_high: bool = False) -> Dark:
    assert len(data) == width * ((height + 7) // 8)
    return [
        [
            bool(data[y // 8 * width + x] >> (7 - y % 8 if top_bit_high else y % 8) & 1)
            for x in range(width)
        ]
        for y in range(height)
    ]


def pages_high(width: int, height: int, data: bytes) -> Dark:
    return pages(width, height, data, top_bit_high=True)


def rgb565(width: int, height: int, data: bytes) -> Dark:
    assert len(data) == 2 * width * height
    colours = struct.unpack(f">{width * height}H", data)
    assert set(colours) <= {0x0000, 0xFFFF}
    return [[colour == 0 for colour in colours[y * width : (y + 1) * width]] for y in range(height)]


def bmp(width: int, height: int, data: bytes) -> Dark:
    magic, size, _, pixels_at = struct.unpack_from("<2sIII", data)
    head, file_width, file_height, planes, bits, packing = struct.unpack_from("<IiiHHI", data, 14)
    assert (magic, size, head, planes, bits, packing) == (b"BM", len(data), 40, 1, 1, 0)
    assert (file_width, file_height) == (width, height)
    palette = [struct.unpack_from("<BBB", data, 14 + head + 4 * index) for index in (0, 1)]
    stride = (width + 31) // 32 * 4
    assert len(data) == pixels_at + stride * height
    return [
        [
            palette[data[pixels_at + (height - 1 - y) * stride + x // 8] >> (7 - x % 8) & 1]
            == (0, 0, 0)
            for x in range(width)
        ]
        for y in range(height)
    ]


def png(width: int, height: int, data: bytes) -> Dark:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        (check,) = struct.unpack_from(">I", data, at + 8 + length)
        assert check == zlib.crc32(kind + body)
        if kind == b"IHDR":
            assert struct.unpack(">IIBBBBB", body) == (width, height, 1, 0, 0, 0, 0)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    stride = (width + 7) // 8
    filtered = zlib.decompress(packed)
    before, dark = bytes(stride), []
    for y in range(height):
        row = bytearray(filtered[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for index in range(stride):
            left = row[index - 1] if index else 0
            up, corner = before[index], before[index - 1] if index else 0
            row[index] = (
                row[index] + _predicted(filtered[y * (stride + 1)], left, up, corner)
            ) & 255
        dark.append([not row[x // 8] >> (7 - x % 8) & 1 for x in range(width)])
        before = bytes(row)
    return dark


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:
        estimate = left + up - corner
        return min((left, up, corner), key=lambda known: abs(estimate - known))
    return (0, left, up, (left + up) // 2)[kind]


def unpacked(data: bytes) -> bytes:
    """TIFF 6.0, section 9, as its pseudo-code says."""
    out, at = b"", 0
    while at < len(data):
        head = data[at] - 256 if data[at] > 127 else data[at]
        at += 1
        if head >= 0:
            out += data[at : at + head + 1]
            at += head + 1
        elif head != -128:
            out += data[at : at + 1] * (1 - head)
            at += 1
    return out


def modules(data: bytes) -> Dark:
    """What stands in format 10, one boolean a module."""
    side = data[0]
    assert len(data) == 1 + (side * side + 7) // 8
    bits = [data[1 + index // 8] >> (7 - index % 8) & 1 for index in range(side * side)]
    return [[bool(bit) for bit in bits[y * side : (y + 1) * side]] for y in range(side)]


PLAIN: dict[int, Callable[[int, int, bytes], Dark]] = {
    0x01: rows,
    0x02: rows_low,
    0x03: pages,
    0x04: pages_high,
    0x20: bmp,
    0x21: png,
    0x30: rgb565,
}


def looks_like(image_format: int, width: int, height: int, data: bytes) -> Dark:
    """The pixels of any format of whole-panel pictures but JPEG."""
    if image_format & 0x80:
        return PLAIN[image_format & 0x7F](width, height, unpacked(data))
    return PLAIN[image_format](width, height, data)
