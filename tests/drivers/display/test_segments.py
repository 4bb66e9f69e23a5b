from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.display.segments import (
    ALPHANUMERIC,
    BYTES,
    NUMERIC,
    Segment,
    capacity_bits,
    cheapest,
    size_bits,
    smallest,
)

mixed = st.lists(st.sampled_from(b"0189AZ$:az?\xc3"), max_size=9).map(bytes)
ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def cheapest_of_all(data: bytes, version: int) -> int:
    """Every way to give each byte a mode, runs of the same mode being one segment."""
    best = None
    for modes in product((NUMERIC, ALPHANUMERIC, BYTES), repeat=len(data)):
        segments: list[Segment] = []
        for byte, mode in zip(data, modes, strict=True):
            if mode == NUMERIC and byte not in b"0123456789":
                break
            if mode == ALPHANUMERIC and byte not in ALPHABET:
                break
            if segments and segments[-1].mode == mode:
                segments[-1] = Segment(mode, segments[-1].data + bytes([byte]))
            else:
                segments.append(Segment(mode, bytes([byte])))
        else:
            size = size_bits(tuple(segments), version)
            best = size if best is None else min(best, size)
    assert best is not None
    return best


@given(mixed.filter(lambda data: len(data) <= 7), st.sampled_from([1, 10, 27]))
def test_no_split_is_cheaper(data, version):
    found = cheapest(data, version)
    assert b"".join(segment.data for segment in found) == data
    assert size_bits(found, version) == cheapest_of_all(data, version)


def test_sizes_are_those_of_the_standard():
    """ISO/IEC 18004, 7.4: 8 digits in version 1 are 41 bits, "AC-42" is 41 bits too."""
    assert size_bits((Segment(NUMERIC, b"01234567"),), 1) == 41
    assert size_bits((Segment(ALPHANUMERIC, b"AC-42"),), 1) == 41
    assert capacity_bits(1, "L"), capacity_bits(40, "H") == (152, 10208)


@pytest.mark.parametrize(
    ("data", "version", "level"),
    [
        (b"1" * 41, 1, "L"),
        (b"1" * 42, 2, "Q"),
        (b"A" * 25, 1, "L"),
        (b"a" * 17, 1, "L"),
        (b"a" * 7, 1, "H"),
        (b"a" * 18, 2, "Q"),
        (b"a" * 2953, 40, "L"),
        (b"1" * 7089, 40, "L"),
    ],
)
def test_smallest_version_and_highest_level(data, version, level):
    found = smallest(data)
    assert found is not None
    assert (found.version, found.level) == (version, level)


def test_what_no_version_holds():
    assert smallest(b"a" * 2954) is None
