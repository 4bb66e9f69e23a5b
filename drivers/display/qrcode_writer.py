"""The other writer of `symbol.py`: qrcode, from the exact split of `segments.py`."""

from __future__ import annotations

from qrcode import util as qrcode_tables
from qrcode.main import QRCode

from drivers.display import segments


def matrix_of(data: bytes) -> tuple[list[list[bool]], str] | None:
    """The modules of the smallest symbol, row by row, True is dark, and its level; None: none is large enough."""
    fit = segments.smallest(data)
    if fit is None:
        return None
    symbol: QRCode[object] = QRCode(
        version=fit.version, error_correction=segments.QRCODE_LEVELS[fit.level], border=0
    )
    for segment in fit.segments:
        symbol.add_data(qrcode_tables.QRData(segment.data, mode=segment.mode, check_data=False))
    symbol.make(fit=False)
    return [[bool(dark) for dark in row] for row in symbol.get_matrix()], fit.level
