"""The cheapest way to write bytes into a QR code: which runs as digits, which as alphanumerics.

Rules of this module:
- Modes of ISO/IEC 18004: numeric (10 bits for three digits), alphanumeric (11 bits for two of 45
  characters), bytes (8 bits each). Kanji is left out: it would change the bytes.
- Each segment has a head whose length depends on the version (1..9, 10..26, 27..40), so the best
  split is another one for each of these classes.
- Exact: a shortest way through the modes, byte by byte. A symbol is then the smallest there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from qrcode import constants
from qrcode import util as qrcode_tables

VERSIONS = range(1, 41)
CLASSES_BEGIN = (1, 10, 27)
"""Versions from which on the heads of segments are longer."""
LEVELS = ("L", "M", "Q", "H")
"""Error correction levels, lowest first: 7, 15, 25 and 30 % of the codewords can be restored."""
QRCODE_LEVELS = {
    "L": constants.ERROR_CORRECT_L,
    "M": constants.ERROR_CORRECT_M,
    "Q": constants.ERROR_CORRECT_Q,
    "H": constants.ERROR_CORRECT_H,
}

NUMERIC = int(qrcode_tables.MODE_NUMBER)
ALPHANUMERIC = int(qrcode_tables.MODE_ALPHA_NUM)
BYTES = int(qrcode_tables.MODE_8BIT_BYTE)

_TAKES = {
    NUMERIC: frozenset(b"0123456789"),
    ALPHANUMERIC: frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"),
    BYTES: frozenset(range(256)),
}
_SIXTHS_OF_A_BIT = {NUMERIC: 20, ALPHANUMERIC: 33, BYTES: 48}
"""What one byte takes: 10/3, 11/2 and 8 bits, without fractions."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of bytes in one mode: NUMERIC, ALPHANUMERIC or BYTES."""

    mode: int
    data: bytes


class Fit(NamedTuple):
    version: int
    level: str
    segments: tuple[Segment, ...]


class _Way(NamedTuple):
    """A segment that begins at `start` in `mode`, and what came before it."""

    mode: int
    start: int
    before: _Way | None


def smallest(data: bytes) -> Fit | None:
    """The smallest version that holds `data`, and its highest level; None where 40 is too small."""
    segments: tuple[Segment, ...] = ()
    needed_bits = 0
    for version in VERSIONS:
        if version in CLASSES_BEGIN:
            segments = cheapest(data, version)
            needed_bits = size_bits(segments, version)
        levels = [level for level in LEVELS if needed_bits <= capacity_bits(version, level)]
        if levels:
            return Fit(version, levels[-1], segments)
    return None


def capacity_bits(version: int, level: str) -> int:
    """Data bits of a version at a level, heads of segments included."""
    return int(qrcode_tables.BIT_LIMIT_TABLE[QRCODE_LEVELS[level]][version])


def size_bits(segments: tuple[Segment, ...], version: int) -> int:
    """What segments take in a symbol of that version, in bits."""
    return sum(
        _head_bits(segment.mode, version)
        + _whole_bits(_SIXTHS_OF_A_BIT[segment.mode] * len(segment.data))
        for segment in segments
    )


def cheapest(data: bytes, version: int) -> tuple[Segment, ...]:
    """The split of `data` that takes the fewest bits in that version; nothing makes no segment."""
    heads = {mode: 6 * _head_bits(mode, version) for mode in _TAKES}
    here = {mode: (head, _Way(mode, 0, None)) for mode, head in heads.items()}
    ended = {BYTES: here[BYTES]}
    for at, byte in enumerate(data):
        ended = {
            mode: (cost + _SIXTHS_OF_A_BIT[mode], way)
            for mode, (cost, way) in here.items()
            if byte in _TAKES[mode]
        }
        here = dict(ended)
        for cost, way in ended.values():
            for mode, head in heads.items():
                changed = 6 * _whole_bits(cost) + head
                if mode not in here or changed < here[mode][0]:
                    here[mode] = (changed, _Way(mode, at + 1, way))
    last: _Way | None = min(ended.values(), key=lambda found: _whole_bits(found[0]))[1]
    segments: list[Segment] = []
    end = len(data)
    while last is not None and end:
        segments.append(Segment(last.mode, data[last.start : end]))
        end, last = last.start, last.before
    return tuple(reversed(segments))


def _head_bits(mode: int, version: int) -> int:
    return 4 + int(qrcode_tables.length_in_bits(mode, version))


def _whole_bits(sixths: int) -> int:
    return -(-sixths // 6)
