import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.display.packbits import BadPacking, pack, unpack
from tests.drivers.display import plain_devices

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "terminal-link.json").read_text(encoding="utf-8")
)["images"]

alike = st.lists(
    st.tuples(st.sampled_from([0, 255, 7]), st.integers(1, 300)).map(
        lambda run: bytes([run[0]]) * run[1]
    )
).map(b"".join)
data_to_pack = st.one_of(
    st.binary(max_size=600), alike, st.lists(st.sampled_from([0, 1]), max_size=400).map(bytes)
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["note"])
def test_vectors_both_ways(vector):
    packed, plain = bytes.fromhex(vector["data"]), bytes.fromhex(vector["unpacked"])
    assert unpack(packed, len(plain)) == plain
    assert pack(plain) == packed


def test_the_example_of_tiff_6():
    packed = bytes.fromhex("FE AA 02 80 00 2A FD AA 03 80 00 2A 22 F7 AA")
    plain = bytes.fromhex("AA AA AA 80 00 2A AA AA AA AA 80 00 2A 22 AA AA AA AA AA AA AA AA AA AA")
    assert unpack(packed, len(plain)) == plain
    assert len(pack(plain)) == len(packed)


@given(data_to_pack)
def test_what_is_packed_comes_back(plain):
    packed = pack(plain)
    assert unpack(packed, len(plain)) == plain
    assert plain_devices.unpacked(packed) == plain
    assert len(packed) <= len(plain) + -(-len(plain) // 128)


@given(st.lists(st.sampled_from([0, 1, 255]), max_size=128).map(bytes))
def test_no_packing_is_shorter(plain):
    assert len(pack(plain)) == shortest(plain)


def shortest(plain: bytes) -> int:
    @cache
    def from_here(at: int) -> int:
        if at == len(plain):
            return 0
        same = 1
        while at + same < len(plain) and same < 128 and plain[at + same] == plain[at]:
            same += 1
        repeated = [2 + from_here(at + run) for run in range(2, same + 1)]
        literal = [1 + run + from_here(at + run) for run in range(1, min(128, len(plain) - at) + 1)]
        return min(repeated + literal)

    return from_here(0)


def test_128_stands_for_nothing_and_is_never_written():
    assert unpack(bytes.fromhex("80 00 41 80"), 1) == b"A"
    assert 0x80 not in (pack(b"\x01" * 129)[0], pack(b"\x01" * 128)[0])


@pytest.mark.parametrize(
    ("packed", "size_bytes", "why"),
    [
        ("02 41 42", 3, "3 bytes were to come, 2 are there"),
        ("FF", 2, "none is there"),
        ("FE 41", 2, "more than 2"),
        ("FE 41", 4, "makes 3 bytes, not 4"),
        ("", 1, "makes 0 bytes, not 1"),
        ("81 00" * 100, 50, "more than 50"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused(packed, size_bytes, why):
    with pytest.raises(BadPacking, match=why):
        unpack(bytes.fromhex(packed), size_bytes)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_unpack_or_are_refused(packed, size_bytes):
    try:
        plain = unpack(packed, size_bytes)
    except BadPacking:
        return
    assert len(plain) == size_bytes
