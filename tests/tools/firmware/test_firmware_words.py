"""The firmware's layers below the terminal: the published vectors, and whatever else may come.

Where the vectors say nothing, the daemon's own encodings and framings are the measure: both have to
make the same of the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from drivers.display.packbits import pack
from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.framing import BODY_MAX_BYTES, Frame
from drivers.link.framing.crc16 import crc16
from drivers.link.messages import (
    BY_TYPE,
    OBJECTS,
    DataObject,
    Format,
    Message,
    NotUnderstood,
    Value,
    values_of,
)

VECTORS = Path(__file__).parents[2] / "vectors"
LINK: dict[str, Any] = json.loads((VECTORS / "terminal-link.json").read_text())
AUTHENTICATED: dict[str, Any] = json.loads((VECTORS / "authenticated-link.json").read_text())

BODIES_TRIED = 4000
STREAMS_TRIED = 1500

by_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def ask(program: Path, questions: Iterable[str]) -> list[str]:
    """One answer for each question; a sanitizer that finds something ends the program."""
    asked = list(questions)
    run = subprocess.run(
        [str(program)],
        input="\n".join(asked) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    answers = run.stdout.splitlines()
    assert len(answers) == len(asked)
    return answers


def value_word(row: DataObject, value: Value) -> str:
    if isinstance(value, int):
        return f"{row.tag_hex}=n:{value}"
    data = value.encode() if isinstance(value, str) else value
    return f"{row.tag_hex}=x:{data.hex()}"


def of_vector(vector: dict[str, Any]) -> Message:
    kind = next(kind for kind in BY_TYPE.values() if kind.type_name == vector["type"])
    fields = {}
    for tag, value in vector["objects"].items():
        row = OBJECTS[int(tag, 16)]
        fields[row.name] = bytes.fromhex(value) if row.format is Format.B else value
    return kind(**fields)


def in_words(message: Message, sequence: int) -> tuple[str, frozenset[str]]:
    """Head and objects of an answer to `decode`."""
    words = [value_word(row, value) for row, value in values_of(message)]
    return f"ok {message.type_code:02x} {sequence:02x}", frozenset(words)


def of_answer(answer: str, message: Message | None = None) -> tuple[str, frozenset[str]]:
    """The same of the firmware's; what does not belong to `message` is passed over."""
    head, objects = answer[:8], answer[9:].split()
    own = {f"{tag:02X}" for tag in message.tags} if message is not None else set()
    return head, frozenset(word for word in objects if word.partition("=")[0] in own)


def encode_question(dialect: Dialect, message: Message, sequence: int) -> str:
    words = [value_word(row, value) for row, value in values_of(message)]
    return " ".join(["encode", dialect.name, f"{message.type_code:02x}", f"{sequence:02x}", *words])


def test_the_data_dictionary_is_the_daemons(vector_program: Path) -> None:
    [answer] = ask(vector_program, ["dictionary"])
    rows = [tuple(row.split()) for row in answer.split(";") if row]
    assert rows == [
        (row.tag_hex, row.format.value.upper(), str(row.min_bytes), str(row.max_bytes))
        for row in OBJECTS.values()
    ]


@by_dialect
def test_messages_as_the_vectors_have_them(vector_program: Path, dialect: Dialect) -> None:
    vectors = LINK["messages"]
    messages = [of_vector(vector) for vector in vectors]
    written = ask(
        vector_program,
        [
            encode_question(dialect, message, vector["seq"])
            for message, vector in zip(messages, vectors, strict=True)
        ],
    )
    assert written == [f"{v[dialect.name]['body']} {v[dialect.name]['frame']}" for v in vectors]
    read = ask(
        vector_program, [f"decode {dialect.name} {v[dialect.name]['body']}" for v in vectors]
    )
    for answer, message, vector in zip(read, messages, vectors, strict=True):
        assert of_answer(answer, message) == in_words(message, vector["seq"])


@by_dialect
def test_streams_as_the_vectors_have_them(vector_program: Path, dialect: Dialect) -> None:
    vectors = LINK["streams"][dialect.name]
    answers = ask(vector_program, [f"stream {dialect.name} 4092 {v['bytes']}" for v in vectors])
    for answer, vector in zip(answers, vectors, strict=True):
        assert answer.split(";")[:-1] == vector["does"], vector["note"]


@by_dialect
def test_what_is_not_understood(vector_program: Path, dialect: Dialect) -> None:
    vectors = LINK["not_understood"][dialect.name]
    answers = ask(vector_program, [f"decode {dialect.name} {v['body']}" for v in vectors])
    for answer, vector in zip(answers, vectors, strict=True):
        assert answer.startswith("no "), vector["note"]


def test_checks(vector_program: Path) -> None:
    data = b"123456789"
    noise = random.Random(3).randbytes(999)
    answers = ask(
        vector_program, [f"crc16 {data.hex()}", f"crc16 {noise.hex()}", f"crc32 {noise.hex()}"]
    )
    assert answers == [
        LINK["crc16_kermit_check"],
        f"{crc16(noise):04x}",
        f"{zlib.crc32(noise):08x}",
    ]


def test_the_examples_cryptography(vector_program: Path) -> None:
    source = random.Random(13)
    texts = [source.randbytes(size) for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000)]
    answers = ask(
        vector_program,
        [f"sha256 {text[:7].hex() or 'empty'} {text[7:].hex() or 'empty'}" for text in texts],
    )
    assert answers == [hashlib.sha256(text).hexdigest() for text in texts]

    known = AUTHENTICATED
    base = bytes((9, *bytes(31))).hex()
    exchanges = [
        (known["bridge_private"], base, known["bridge_public"]),
        (known["terminal_private"], base, known["terminal_public"]),
        (known["terminal_private"], known["bridge_public"], known["shared_secret"]),
        (known["bridge_private"], known["terminal_public"], known["shared_secret"]),
        (known["bridge_private"], bytes(32).hex(), bytes(32).hex()),
    ]
    for _ in range(20):
        mine = X25519PrivateKey.from_private_bytes(source.randbytes(32))
        other = X25519PrivateKey.from_private_bytes(source.randbytes(32)).public_key()
        exchanges.append(
            (
                mine.private_bytes_raw().hex(),
                other.public_bytes_raw().hex(),
                mine.exchange(other).hex(),
            )
        )
    answers = ask(vector_program, [f"x25519 {scalar} {point}" for scalar, point, _ in exchanges])
    assert answers == [result for _, _, result in exchanges]


@pytest.mark.parametrize(("piece", "room"), [(1, 1), (3, 7), (4096, 5), (4096, 4096)])
def test_packbits(vector_program: Path, piece: int, room: int) -> None:
    source = random.Random(5)
    plain = b"".join(bytes([source.randrange(256)]) * source.randrange(200) for _ in range(40))
    plain += source.randbytes(300)
    [vector] = LINK["images"]
    answers = ask(
        vector_program,
        [f"unpack {piece} {room} {data}" for data in (vector["data"], pack(plain).hex())],
    )
    assert answers == [vector["unpacked"], plain.hex()]


def mutated(body: bytes, source: random.Random, dialect: Dialect) -> bytes:
    """The body with one or two things wrong with it; in `fs` mostly with a right check."""
    changed = bytearray(dialect.encoding.without_check(body))
    for _ in range(source.choice((1, 1, 2))):
        at = source.randrange(len(changed))
        match source.randrange(5):
            case 0:
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                changed[at] = source.choice(b"\x00\x0a\x1c=09AFaf\\n\x7f\x80\xdf\x9f\xff\x81\x82")
            case 2:
                del changed[at]
            case 3:
                changed.insert(at, source.choice(b"\x00\x1c=09A\\ \xc3"))
            case _:
                end = source.randrange(at, len(changed)) + 1
                changed[at:at] = changed[at:end]
        if not changed:
            changed = bytearray(b"\x10")
    if dialect.encoding.printable and source.random() < 0.9:
        changed += b"\x1cDF7E=%04X" % crc16(bytes(changed))
    return bytes(changed[:BODY_MAX_BYTES])


@by_dialect
def test_bodies_are_read_as_the_daemon_reads_them(vector_program: Path, dialect: Dialect) -> None:
    source = random.Random(20261123)
    rights = [bytes.fromhex(v[dialect.name]["body"]) for v in LINK["messages"]]
    bodies = [mutated(source.choice(rights), source, dialect) for _ in range(BODIES_TRIED)]
    answers = ask(vector_program, [f"decode {dialect.name} {body.hex()}" for body in bodies])
    understood = 0
    for body, answer in zip(bodies, answers, strict=True):
        try:
            decoded = dialect.encoding.decode(body)
        except NotUnderstood:
            assert answer.startswith("no "), body
            continue
        understood += 1
        assert of_answer(answer, decoded.message) == in_words(decoded.message, decoded.sequence)
    assert understood > BODIES_TRIED / 50


@by_dialect
def test_streams_are_read_as_the_daemon_reads_them(vector_program: Path, dialect: Dialect) -> None:
    source = random.Random(7)
    frames = [bytes.fromhex(v[dialect.name]["frame"]) for v in LINK["messages"]]
    streams = []
    for _ in range(STREAMS_TRIED):
        stream = bytearray(b"".join(source.choice(frames) for _ in range(3)))
        for _ in range(source.randrange(4)):
            at = source.randrange(len(stream))
            stream[at : at + source.randrange(3)] = source.choice(
                (b"\x10", b"\x02", b"\x03", b"\x06", b"\x15", b"\x10\x02", b"", b"\x00")
            )
        streams.append(bytes(stream))
    limit = 640
    answers = ask(vector_program, [f"stream {dialect.name} {limit} {s.hex()}" for s in streams])
    for stream, answer in zip(streams, answers, strict=True):
        decoder = dialect.framing.decoder(limit)
        heard = [
            f"frame {event.body.hex()}"
            if isinstance(event, Frame)
            else type(event).__name__.lower()
            for event in decoder.feed(stream)
        ]
        assert answer.split(";") == [*heard, "inside" if decoder.inside else "between"]


@by_dialect
def test_what_cannot_be_said_is_not(vector_program: Path, dialect: Dialect) -> None:
    questions = [
        "10 00 9F41=n:1",  # number 0
        "10 01 9F41=n:100000000",
        "10 01 9F02=n:1000000000000",
        "10 01 DF06=n:65536",
        f"10 01 DF02=x:{'41' * 65}",
        "10 01 9F1C=x:414243444546474849",
        "10 01 DF02=x:c328",
        "10 01 DF02=x:0a",
        "a4 01 DF05=x:07",
        "10 01 DF0D=x:00",
    ]
    answers = ask(vector_program, [f"encode {dialect.name} {words}" for words in questions])
    assert answers == ["no"] * len(questions)
