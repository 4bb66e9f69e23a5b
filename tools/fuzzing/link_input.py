"""Bytes read as a course of events, for parsers that remember: what comes, in which pieces, when.

Total: every byte string is one, so that a fuzzer's every change is another course. A step is one byte for what
happens, one for how, and where it needs them one for a length and so many bytes more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

STEPS_MAX = 400


@dataclass(frozen=True, slots=True)
class Step:
    """`what`, `how`: 0 to 255, for the target to read. `data`: 0 to 255 bytes."""

    what: int
    how: int
    data: bytes


def steps(data: bytes) -> Iterator[Step]:
    """At most STEPS_MAX; the last one has what is left."""
    place = 0
    for _ in range(STEPS_MAX):
        if place + 3 > len(data):
            return
        what, how, length = data[place : place + 3]
        yield Step(what, how, data[place + 3 : place + 3 + length])
        place += 3 + length


def course(*given: Step) -> bytes:
    """The bytes that `steps` reads as these: for seeds."""
    return b"".join(bytes((s.what, s.how, len(s.data))) + s.data for s in given)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """`data` cut into pieces of `size` bytes, at least one each."""
    size = max(size, 1)
    for at in range(0, len(data), size):
        yield data[at : at + size]
