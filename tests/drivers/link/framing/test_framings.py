"""What holds of every framing, and what is special to each."""

from __future__ import annotations

import random
import sys
from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.dialect import FRAMINGS
from drivers.link.framing import (
    BODY_MAX_BYTES,
    NOISE_KEPT_BYTES,
    Ack,
    Bad,
    Decoder,
    Frame,
    FrameEvent,
    Framing,
    Nak,
    dle_crc16,
    stx_lrc,
)
from drivers.link.framing.crc16 import crc16

by_framing = pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
PING = b"\x7f\x01"
TEXT = b"7F01"

bodies = st.binary(min_size=2, max_size=80).filter(lambda body: body[0] != 0)
much_dle = st.lists(st.sampled_from([0x10, 0x02, 0x03, 0x06, 0x15, 0x41]), min_size=2).map(bytes)
plain = st.lists(
    st.sampled_from([*range(0x20, 0x7F), *range(0x80, 0x100), 0x1C]), min_size=2, max_size=80
).map(bytes)


def bodies_of(framing: Framing) -> st.SearchStrategy[bytes]:
    return (bodies | much_dle) if framing.carries_any_byte else plain


def feed(decoder: Decoder, data: bytes, piece: int) -> list[FrameEvent]:
    return [
        event
        for start in range(0, len(data), piece)
        for event in decoder.feed(data[start : start + piece])
    ]


@by_framing
@given(data=st.data(), piece=st.integers(1, 20))
def test_frames_come_out_as_they_went_in(framing: Framing, data: st.DataObject, piece: int) -> None:
    sent = data.draw(st.lists(bodies_of(framing), min_size=1, max_size=4))
    between = data.draw(st.sampled_from([b"", b"\x06", b"\x15", b"zz", b"\r\n"]))
    answer: list[FrameEvent] = [Ack()] if between == b"\x06" else []
    answer = [Nak()] if between == b"\x15" else answer
    decoder = framing.decoder(BODY_MAX_BYTES)
    line = b"".join(framing.encode(body) + between for body in sent)
    expected: list[FrameEvent] = []
    for body in sent:
        expected += [Frame(body), *answer]
    assert feed(decoder, line, piece) == expected
    assert not decoder.inside


@by_framing
@given(
    line=st.lists(
        st.binary(max_size=8)
        | st.sampled_from([b"\x10\x02", b"\x10\x03", b"\x10", b"\x02", b"\x03", b"\x06", b"\x15"])
        | st.sampled_from([dle_crc16.encode(PING), stx_lrc.encode(TEXT)]),
        max_size=30,
    ).map(b"".join),
    cuts=st.lists(st.integers(1, 9), min_size=1),
)
def test_any_bytes_mean_the_same_in_any_pieces(
    framing: Framing, line: bytes, cuts: list[int]
) -> None:
    whole = framing.decoder(BODY_MAX_BYTES)
    pieces = framing.decoder(BODY_MAX_BYTES)
    expected = whole.feed(line)
    heard: list[FrameEvent] = []
    place, turn = 0, 0
    while place < len(line):
        size = cuts[turn % len(cuts)]
        heard += pieces.feed(line[place : place + size])
        place, turn = place + size, turn + 1
    assert heard == expected
    assert pieces.inside == whole.inside
    assert pieces.take_noise() == whole.take_noise()


@by_framing
@given(data=st.data())
def test_one_changed_bit_is_never_another_body(framing: Framing, data: st.DataObject) -> None:
    body = data.draw(bodies_of(framing))
    line = bytearray(framing.encode(body))
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for event in framing.decoder(BODY_MAX_BYTES).feed(bytes(line)):
        assert not isinstance(event, Frame)


@by_framing
def test_a_body_may_be_as_long_as_the_limit_and_no_longer(framing: Framing) -> None:
    for length, event in ((640, Frame(b"A" * 640)), (641, Bad())):
        decoder = framing.decoder(640)
        line = framing.encode(b"A" * length)
        assert feed(decoder, line, 13) == [event]
        assert feed(decoder, framing.encode(TEXT), 13) == [Frame(TEXT)]


@by_framing
def test_a_frame_without_an_end_takes_no_more_memory_than_a_body(framing: Framing) -> None:
    decoder = framing.decoder(640)
    feed(decoder, framing.encode(TEXT)[:2], 1)
    for _ in range(200):
        assert decoder.feed(b"\x10\x10" * 2000 if framing.carries_any_byte else b"A" * 4000) == []
    assert decoder.inside
    names = [name for name in vars(decoder) if name.startswith("_")]
    assert sum(sys.getsizeof(getattr(decoder, name)) for name in names) < 10_000


@by_framing
def test_it_is_answered_once_at_its_end(framing: Framing) -> None:
    decoder = framing.decoder(640)
    line = framing.encode(b"A" * 4000)
    assert decoder.feed(line[:-1]) == []
    assert decoder.inside
    assert decoder.feed(line[-1:] + b"\x06") == [Bad(), Ack()]
    assert not decoder.inside


@by_framing
@pytest.mark.parametrize("part", [3, 5, -2, -1])
def test_after_a_silence_the_next_frame_is_read(framing: Framing, part: int) -> None:
    decoder = framing.decoder(BODY_MAX_BYTES)
    line = framing.encode(b"some body")
    assert decoder.feed(line[:part]) == []
    assert decoder.inside
    decoder.drop()
    assert not decoder.inside
    assert decoder.feed(line) == [Frame(b"some body")]


@by_framing
def test_a_start_inside_a_damaged_or_too_long_frame_drops_it(framing: Framing) -> None:
    decoder = framing.decoder(640)
    start = framing.encode(TEXT)[: 2 if framing.carries_any_byte else 1]
    damaged = start + (b"x\x10\x41y" if framing.carries_any_byte else b"x\x06y")
    assert decoder.feed(damaged + framing.encode(TEXT)) == [Frame(TEXT)]
    assert decoder.feed(start + b"A" * 700 + framing.encode(TEXT)) == [Frame(TEXT)]


@by_framing
def test_noise_is_kept_for_a_person_up_to_a_limit(framing: Framing) -> None:
    decoder = framing.decoder(BODY_MAX_BYTES)
    assert decoder.feed(b"abc" + framing.encode(TEXT) + b"def") == [Frame(TEXT)]
    assert decoder.take_noise() == b"abcdef"
    assert decoder.take_noise() == b""
    decoder.feed(b"x" * 10_000)
    decoder.feed(b"x" * 10_000)
    assert decoder.take_noise() == b"x" * NOISE_KEPT_BYTES


@by_framing
def test_damage_is_told_with_its_reason(framing: Framing) -> None:
    line = framing.encode(TEXT)
    (bad,) = framing.decoder(BODY_MAX_BYTES).feed(line[:-1] + bytes([line[-1] ^ 1]))
    assert isinstance(bad, Bad)
    assert bad.body == TEXT
    assert ", not " in bad.why


@by_framing
@pytest.mark.parametrize("body", [b"", b"A", b"A" * 4093, b"\x00A"])
def test_a_body_that_cannot_be_sent(framing: Framing, body: bytes) -> None:
    with pytest.raises(ValueError, match="body"):
        framing.encode(body)


def test_text_alone_goes_into_a_frame_for_text() -> None:
    for byte in [*range(0x1C), *range(0x1D, 0x20), 0x7F]:
        with pytest.raises(ValueError, match=r"body|printable"):
            stx_lrc.encode(bytes([byte, 0x41]))
        with pytest.raises(ValueError, match="printable"):
            stx_lrc.encode(bytes([0x41, byte]))


def test_an_lrc_may_look_like_anything_that_means_something() -> None:
    for lrc in (0x02, 0x03, 0x06, 0x15, 0x10):
        body = bytes([0x80, 0x80 ^ 0x03 ^ 0x40, 0x40 ^ lrc])
        line = stx_lrc.encode(body)
        assert line[-1] == lrc
        decoder = stx_lrc.Decoder(BODY_MAX_BYTES)
        assert feed(decoder, line + line, 1) == [Frame(body), Frame(body)]


@given(st.binary(max_size=300))
def test_lrc_is_the_exclusive_or_of_all_bytes(data: bytes) -> None:
    assert stx_lrc.lrc(data) == reduce(xor, data, 0)


@given(st.binary(max_size=300))
def test_crc_is_kermit(data: bytes) -> None:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    assert crc16(data) == crc


def test_a_crc_may_look_like_a_start_or_an_end() -> None:
    source = random.Random(1)
    wanted = {b"\x10\x02", b"\x10\x03", b"\x10\x10"}
    while wanted:
        body = b"A" + source.randbytes(3)
        line = dle_crc16.encode(body)
        if line[-2:] in wanted:
            wanted.remove(line[-2:])
            decoder = dle_crc16.Decoder(BODY_MAX_BYTES)
            assert feed(decoder, line + line, 1) == [Frame(body), Frame(body)]


def test_each_10_outside_is_looked_at_afresh() -> None:
    decoder = dle_crc16.Decoder(BODY_MAX_BYTES)
    assert feed(decoder, b"\x10\x15\x10\x10\x06\x10", 1) == [Nak(), Ack()]
    assert not decoder.inside
    assert decoder.feed(dle_crc16.encode(PING)[1:]) == [Frame(PING)]
    assert decoder.take_noise() == b"\x10\x10\x10"
