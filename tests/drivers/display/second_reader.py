"""ZBar as a second pair of eyes: what reads a picture must not be only what wrote it.

The C library is called directly (libzbar.so.0, Debian: libzbar0): no package on PyPI brings it
along for Linux. Where it is not installed, `zbar_reads` is None, and tests that need it say so.
"""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest
from PIL import Image

QR_CODE = 64
ENABLE = 0
GREY = int.from_bytes(b"Y800", "little")
ENOUGH_PX = 600
"""A camera sees a small panel large: pictures below this size are magnified in whole steps."""


def _library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("zbar")
    if name is None:
        return None
    zbar = ctypes.CDLL(name)
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
    for function, result, arguments in (
        ("zbar_image_scanner_create", pointer, []),
        ("zbar_image_scanner_destroy", None, [pointer]),
        ("zbar_image_scanner_set_config", number, [pointer, number, number, number]),
        ("zbar_image_create", pointer, []),
        ("zbar_image_destroy", None, [pointer]),
        ("zbar_image_set_format", None, [pointer, size]),
        ("zbar_image_set_size", None, [pointer, ctypes.c_uint, ctypes.c_uint]),
        ("zbar_image_set_data", None, [pointer, pointer, size, pointer]),
        ("zbar_scan_image", number, [pointer, pointer]),
        ("zbar_image_first_symbol", pointer, [pointer]),
        ("zbar_symbol_next", pointer, [pointer]),
        ("zbar_symbol_get_data", pointer, [pointer]),
        ("zbar_symbol_get_data_length", ctypes.c_uint, [pointer]),
    ):
        entry = getattr(zbar, function)
        entry.restype, entry.argtypes = result, arguments
    return zbar


_ZBAR = _library()
needs_zbar = pytest.mark.skipif(
    _ZBAR is None, reason="ZBar is not installed (Debian: apt install libzbar0)"
)


def _zbar_reads(image: Image.Image) -> set[bytes]:
    """What ZBar reads in an image of mode L."""
    assert _ZBAR is not None
    times = max(1, -(-ENOUGH_PX // max(image.size)))
    seen = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    data = seen.tobytes()
    scanner, picture = _ZBAR.zbar_image_scanner_create(), _ZBAR.zbar_image_create()
    try:
        _ZBAR.zbar_image_scanner_set_config(scanner, 0, ENABLE, 0)
        _ZBAR.zbar_image_scanner_set_config(scanner, QR_CODE, ENABLE, 1)
        _ZBAR.zbar_image_set_format(picture, GREY)
        _ZBAR.zbar_image_set_size(picture, *seen.size)
        _ZBAR.zbar_image_set_data(picture, data, len(data), None)
        _ZBAR.zbar_scan_image(scanner, picture)
        found = set()
        symbol = _ZBAR.zbar_image_first_symbol(picture)
        while symbol:
            length = _ZBAR.zbar_symbol_get_data_length(symbol)
            found.add(ctypes.string_at(_ZBAR.zbar_symbol_get_data(symbol), length))
            symbol = _ZBAR.zbar_symbol_next(symbol)
        return found
    finally:
        _ZBAR.zbar_image_destroy(picture)
        _ZBAR.zbar_image_scanner_destroy(scanner)


zbar_reads = _zbar_reads if _ZBAR is not None else None
