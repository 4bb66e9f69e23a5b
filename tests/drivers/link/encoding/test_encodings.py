"""What holds of every encoding."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.dialect import DIALECTS, ENCODINGS
from drivers.link.encoding import CODE_BYTES, COUNTER_MAX, Encoding
from drivers.link.messages import (
    IMAGE_DATA_MAX_BYTES,
    ImageData,
    Message,
    NotUnderstood,
    Ping,
    Query,
)
from tests.drivers.link.link_examples import LINK, messages, sequences

by_encoding = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
PRINTABLE = {*range(0x20, 0x7F), *range(0x80, 0x100), 0x1C}


@by_encoding
@given(message=messages(), sequence=sequences)
def test_what_is_written_is_read(encoding: Encoding, message: Message, sequence: int) -> None:
    body = encoding.encode(message, sequence)
    decoded = encoding.decode(body)
    assert (decoded.message, decoded.sequence) == (message, sequence)
    assert (decoded.message_counter, decoded.code) == (None, None)
    assert decoded.signed_part == encoding.without_check(body)
    assert body[0] != 0
    if encoding.printable:
        assert PRINTABLE.issuperset(body)


@by_encoding
@given(
    message=messages(),
    sequence=sequences,
    counter=st.integers(0, COUNTER_MAX),
    code=st.binary(min_size=CODE_BYTES, max_size=CODE_BYTES),
)
def test_count_and_code_come_last_and_are_read(
    encoding: Encoding, message: Message, sequence: int, counter: int, code: bytes
) -> None:
    covered: list[bytes] = []

    def coded(signed_part: bytes) -> bytes:
        covered.append(signed_part)
        return code

    body = encoding.encode(message, sequence, message_counter=counter, code=coded)
    decoded = encoding.decode(body)
    assert decoded.message == message
    assert (decoded.message_counter, decoded.code) == (counter, code)
    assert [decoded.signed_part] == covered
    assert body.startswith(decoded.signed_part)


@by_encoding
@given(body=st.binary(max_size=200))
def test_anything_is_understood_or_not(encoding: Encoding, body: bytes) -> None:
    try:
        encoding.decode(body)
    except NotUnderstood as fault:
        assert len(fault.refused) == 2
        assert str(fault) == fault.why


@by_encoding
@given(message=messages(), data=st.data())
def test_a_damaged_body_is_understood_or_not(
    encoding: Encoding, message: Message, data: st.DataObject
) -> None:
    body = bytearray(encoding.encode(message, 1, message_counter=1, code=lambda _: bytes(8)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        action = data.draw(st.sampled_from(["change", "drop", "put", "cut"]))
        if action == "change":
            body[place] = data.draw(st.integers(0, 255))
        elif action == "drop" and len(body) > 1:
            del body[place]
        elif action == "put":
            body.insert(place, data.draw(st.integers(0, 255)))
        else:
            del body[place + 1 :]
    try:
        encoding.decode(bytes(body))
    except NotUnderstood as fault:
        assert str(fault) == fault.why


@by_encoding
def test_random_bytes_after_a_right_beginning(encoding: Encoding) -> None:
    source = random.Random(20261123)
    beginning = encoding.encode(Query("T1"), 1)
    for _ in range(2000):
        body = beginning[: source.randrange(len(beginning))] + source.randbytes(
            source.randrange(40)
        )
        try:
            encoding.decode(body)
        except NotUnderstood as fault:
            assert str(fault) == fault.why


@by_encoding
def test_a_very_long_body_is_not_understood(encoding: Encoding) -> None:
    with pytest.raises(NotUnderstood):
        encoding.decode(b"9" * 100_000)


@by_encoding
@pytest.mark.parametrize("sequence", [0, -1, 256])
def test_no_message_has_such_a_number(encoding: Encoding, sequence: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        encoding.encode(Ping(), sequence)


@by_encoding
@pytest.mark.parametrize("counter", [-1, COUNTER_MAX + 1])
def test_no_message_has_such_a_count(encoding: Encoding, counter: int) -> None:
    with pytest.raises(ValueError, match="message_counter"):
        encoding.encode(Ping(), 1, message_counter=counter, code=lambda _: bytes(8))


@by_encoding
def test_a_code_has_eight_bytes(encoding: Encoding) -> None:
    with pytest.raises(ValueError, match="8 bytes, not 32"):
        encoding.encode(Ping(), 1, message_counter=1, code=lambda _: bytes(32))


@by_encoding
@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("body_bytes", [64, 127, 160, 161, 170, 240, 290, 640, 2880, 4092])
def test_image_data_fills_a_body_and_does_not_pass_it(
    encoding: Encoding, body_bytes: int, coded: bool
) -> None:
    def length(data_bytes: int) -> int:
        message = ImageData(255, 2**32 - 1, bytes(data_bytes))
        if not coded:
            return len(encoding.encode(message, 255))
        code = bytes(CODE_BYTES)
        return len(encoding.encode(message, 255, message_counter=COUNTER_MAX, code=lambda _: code))

    room = encoding.image_room(body_bytes, coded=coded)
    if room:
        assert length(room) <= body_bytes
    if room < IMAGE_DATA_MAX_BYTES:
        assert length(room + 3) > body_bytes


@by_encoding
def test_a_body_too_small_for_image_data_has_no_room(encoding: Encoding) -> None:
    assert encoding.image_room(10, coded=True) == 0


@pytest.mark.parametrize("name", DIALECTS)
def test_places_are_where_the_values_stand(name: str) -> None:
    vector = next(v for v in LINK["messages"] if v["type"] == "CANCEL")
    body = bytes.fromhex(vector[name]["body"])
    found = {
        f"{tag:02X}": body[start:end] for tag, start, end in DIALECTS[name].encoding.places(body)
    }
    if name == "native":
        assert found == {"9F1C": b"T0000001", "9F41": bytes.fromhex("00000042")}
    else:
        assert found == {"9F1C": b"T0000001", "9F41": b"00000042", "DF7E": b"C61E"}
