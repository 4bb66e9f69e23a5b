"""Both dialects against the published vectors, both ways."""

from __future__ import annotations

import pytest

from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.framing import BODY_MAX_BYTES, Frame, FrameEvent
from drivers.link.framing.crc16 import crc16
from drivers.link.messages import NotUnderstood
from tests.drivers.link.link_examples import LINK, VECTORS, message_of

by_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
NAMES = list(DIALECTS)
PIECES = [1, 2, 3, 7, 5000]


def events(dialect: Dialect, data: bytes, piece: int) -> list[FrameEvent]:
    decoder = dialect.framing.decoder(BODY_MAX_BYTES)
    return [
        event
        for start in range(0, len(data), piece)
        for event in decoder.feed(data[start : start + piece])
    ]


def in_words(event: FrameEvent) -> str:
    if isinstance(event, Frame):
        return f"frame {event.body.hex()}"
    return type(event).__name__.lower()


@by_dialect
@pytest.mark.parametrize("vector", LINK["messages"], ids=lambda v: f"{v['type']}-{v['seq']}")
def test_message_body_and_frame(dialect: Dialect, vector: dict) -> None:
    expected = vector[dialect.name]
    body = dialect.encoding.encode(message_of(vector), vector["seq"])
    assert body.hex() == expected["body"]
    assert dialect.framing.encode(body).hex() == expected["frame"]

    decoded = dialect.encoding.decode(bytes.fromhex(expected["body"]))
    assert (decoded.message, decoded.sequence) == (message_of(vector), vector["seq"])
    assert (decoded.code, decoded.message_counter) == (None, None)


@by_dialect
@pytest.mark.parametrize("piece", PIECES)
def test_frames_are_read_in_any_pieces(dialect: Dialect, piece: int) -> None:
    frames = [vector[dialect.name] for vector in LINK["messages"]]
    line = b"".join(bytes.fromhex(frame["frame"]) for frame in frames)
    bodies = [Frame(bytes.fromhex(frame["body"])) for frame in frames]
    assert events(dialect, line, piece) == bodies


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    ("name", "vector"),
    [(name, vector) for name in NAMES for vector in LINK["streams"][name]],
    ids=lambda value: value["note"] if isinstance(value, dict) else value,
)
def test_stream(name: str, vector: dict, piece: int) -> None:
    heard = events(DIALECTS[name], bytes.fromhex(vector["bytes"]), piece)
    assert [in_words(event) for event in heard] == vector["does"]


@pytest.mark.parametrize(
    ("name", "vector"),
    [(name, vector) for name in NAMES for vector in LINK["not_understood"][name]],
    ids=lambda value: value["note"] if isinstance(value, dict) else value,
)
def test_not_understood(name: str, vector: dict) -> None:
    body = bytes.fromhex(vector["body"])
    with pytest.raises(NotUnderstood) as caught:
        DIALECTS[name].encoding.decode(body)
    head = body[:2] if name == "native" else bytes.fromhex(body[:4].decode())
    assert caught.value.refused == head


def test_crc_check_value() -> None:
    assert f"{crc16(b'123456789'):04x}" == LINK["crc16_kermit_check"]


def test_the_copies_of_the_vectors_are_the_published_ones() -> None:
    published = VECTORS.parents[2] / "shared" / "vectors"
    if not published.is_dir():
        pytest.skip("the contract is not beside this repository")
    for file in published.glob("*.json"):
        assert (VECTORS / file.name).read_bytes() == file.read_bytes(), file.name
