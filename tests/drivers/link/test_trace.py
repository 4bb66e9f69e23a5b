"""Trace lines: read as they were written, and without what belongs to an authenticated link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.dialect import DIALECTS
from drivers.link.framing import Ack, Bad, Frame, FrameEvent, Nak
from drivers.link.messages import DisplayText, ImageData, Message, PairOpen, Role
from drivers.link.trace import (
    Kind,
    Line,
    NotATraceLine,
    Way,
    describe,
    line_of,
    noise_line,
    parse,
    parse_all,
)
from tests.drivers.link.link_examples import AUTHENTICATED, LINK, messages, sequences

NATIVE = DIALECTS["native"].encoding
CLASSIC = DIALECTS["classic"].encoding
names = st.sampled_from(list(DIALECTS))
events = st.builds(Frame, st.binary(max_size=60)) | st.sampled_from([Ack(), Nak()])
damage = st.builds(Bad, st.text(max_size=20), st.binary(max_size=60))


def test_how_a_line_looks() -> None:
    body = bytes.fromhex("11039f1c0854303030303030319f410400000042")
    line = line_of(12.345678, Way.FROM_TERMINAL, Frame(body), NATIVE)
    assert str(line) == (
        f"12.345678 T>B frame {body.hex()} CANCEL 3 terminal_id='T0000001' counter=42"
    )
    assert line.body == body
    assert line.time_s == 12.345678
    assert str(line_of(13, Way.FROM_BRIDGE, Ack(), NATIVE)) == "13.000000 B>T ack -"
    assert str(line_of(0.05, Way.FROM_BRIDGE, Nak(), NATIVE)) == "0.050000 B>T nak -"
    bad = Bad("CRC 1234, not 2189", b"\x7f\x01")
    assert (
        str(line_of(1, Way.FROM_TERMINAL, bad, NATIVE))
        == "1.000000 T>B bad 7f01 CRC 1234, not 2189"
    )
    assert str(noise_line(1, Way.FROM_TERMINAL, b"\r\nOK")) == "1.000000 T>B noise 0d0a4f4b"


def test_a_body_that_is_not_understood_says_why() -> None:
    line = line_of(1, Way.FROM_TERMINAL, Frame(b"\x55\x02"), NATIVE)
    assert line.words == "not understood: no message has type 55"


@given(now=st.floats(0, 1e9), way=st.sampled_from(Way), event=events | damage, name=names)
def test_a_line_is_read_as_it_was_written(
    now: float, way: Way, event: FrameEvent, name: str
) -> None:
    line = line_of(now, way, event, DIALECTS[name].encoding)
    text = str(line)
    assert text.isprintable()
    assert parse(text) == parse(text + "\n") == line


@given(message=messages(), sequence=sequences, name=names)
def test_any_message_has_one_line(message: Message, sequence: int, name: str) -> None:
    encoding = DIALECTS[name].encoding
    line = line_of(1, Way.FROM_BRIDGE, Frame(encoding.encode(message, sequence)), encoding)
    assert str(line).isprintable()
    assert parse(str(line)) == line
    assert line.words == describe(message, sequence)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("vector", LINK["messages"], ids=lambda v: f"{v['type']}-{v['seq']}")
def test_a_message_without_secrets_is_replayed_as_it_was(name: str, vector: dict) -> None:
    body = bytes.fromhex(vector[name]["body"])
    line = line_of(1, Way.FROM_BRIDGE, Frame(body), DIALECTS[name].encoding)
    secret = any(tag.startswith("DF2") and tag != "DF20" for tag in vector["objects"])
    assert line.body == (None if secret else body)
    assert len(line.hex) == 2 * len(body)


@pytest.mark.parametrize(
    "vector", AUTHENTICATED["messages"], ids=lambda v: f"{v['dialect']}-{v['type']}"
)
def test_codes_and_nonces_are_shortened(vector: dict) -> None:
    encoding = DIALECTS[vector["dialect"]].encoding
    body = bytes.fromhex(vector["body"])
    text = str(line_of(1, Way.FROM_BRIDGE, Frame(body), encoding))
    assert vector["code"] not in text
    assert AUTHENTICATED["session_nonce_bridge"] not in text
    if vector["dialect"] == "classic":
        assert body[-20:-10].hex() not in text
    assert text.split()[3].count("..") >= 6


def test_a_pairing_is_shortened_in_words_too() -> None:
    line = line_of(1, Way.FROM_BRIDGE, Frame(NATIVE.encode(PairOpen(bytes(range(32))), 7)), NATIVE)
    assert str(line) == (
        f"1.000000 B>T frame 8207df21200001{'..' * 30} PAIR_OPEN 7 commitment=0001…(32)"
    )


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("8207df2120") + b"secret" * 4,
        bytes.fromhex("820700df2120") + b"secret" * 4,
        b"8207\x1cnothing\x1cDF21=" + b"secret" * 4,
    ],
)
def test_what_cannot_be_read_shows_nothing_after_a_mark(data: bytes) -> None:
    shown = [
        noise_line(1, Way.FROM_TERMINAL, data),
        line_of(1, Way.FROM_TERMINAL, Bad("why", data), NATIVE),
        line_of(1, Way.FROM_TERMINAL, Frame(data), NATIVE),
        line_of(1, Way.FROM_TERMINAL, Frame(data), CLASSIC),
    ]
    for line in shown:
        assert b"secret".hex() not in line.hex
        assert "secret" not in line.words
        assert line.body is None
        assert len(line.hex) == 2 * len(data)


def test_words_stay_on_their_line_and_are_bounded() -> None:
    assert describe(DisplayText("a\nb\u2028'"), 1) == 'DISPLAY_TEXT 1 text="a\\nb\\u2028\'"'
    assert describe(ImageData(1, 0, bytes(4000)), 1).endswith(f"data={'00' * 16}…(4000)")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12.3 T>B ack -",
        "12.345678 T>T ack -",
        "12.345678 T>B acknowledged -",
        "12.345678 T>B frame 7",
        "12.345678 T>B frame 7F01",
        "12.345678 T>B frame",
        "-1.000000 T>B ack -",
    ],
)
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(NotATraceLine):
        parse(text)


def test_a_file_has_comments_and_its_faults_have_numbers() -> None:
    text = ["# classic, 9600 baud\n", "\n", "1.000000 T>B ack -\n", "what\n"]
    assert list(parse_all(text[:3])) == [Line(1_000_000, Way.FROM_TERMINAL, Kind.ACK)]
    with pytest.raises(NotATraceLine, match="line 4"):
        list(parse_all(text))


def test_who_says_it() -> None:
    assert Way.of_sender(Role.BRIDGE) is Way.FROM_BRIDGE
    assert Way.of_sender(Role.TERMINAL) is Way.FROM_TERMINAL
