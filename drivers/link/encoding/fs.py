"""`fs`: printable text, its objects separated by FS, 1C (link, section 3).

    +------+----------+----+-----+---+-------+----+-----+---+-------+---+----+------------+
    | type | sequence | FS | TAG | = | value | FS | TAG | = | value | … | FS | DF7E = crc |
    +------+----------+----+-----+---+-------+----+-----+---+-------+---+----+------------+
       2        2       1    2-4   1           1                          1       9

Rules of this module: DF7E is always the last object, and is wrong or missing in a body that was
damaged, which the LRC of a frame often passes; DF7F, where there is one, stands before it; a value
has one form (base64 with padding and without loose bits), only leading zeros of a `u` are let pass.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import assert_never

from drivers.link.encoding import (
    CODE_BYTES,
    COUNTER_MAX,
    Decoded,
    Encoding,
    Reader,
    check_length,
    check_sequence,
    computed_code,
    filled_text,
    read_text,
)
from drivers.link.framing.crc16 import crc16
from drivers.link.messages import (
    CODE,
    IMAGE_DATA_MAX_BYTES,
    MESSAGE_COUNTER,
    SEQUENCE_MAX,
    TEXT_CHECK,
    DataObject,
    Format,
    ImageData,
    Message,
    NotUnderstood,
    Value,
    values_of,
)

_FS = b"\x1c"
_HEADER_CHARS = 4
_HEADER = re.compile(rb"[0-9A-Fa-f]{4}")
_TAG = re.compile(rb"[0-9A-F][0-9A-E]|[02468ACE]F|[13579BDF]F[0-7][0-9A-F]")
"""A tag of BER with one byte, or with two."""

_CHECK_HEAD = b"\x1cDF7E="
_CHECK_OBJECT = re.compile(rb"\x1cDF7E=[0-9A-F]{4}\Z")
_CHECK_OBJECT_CHARS = len(_CHECK_HEAD) + 4
_CODE_OBJECT = re.compile(rb"\x1cDF7F=([A-Za-z0-9+/]{11}=)\Z")
_CODE_OBJECT_CHARS = len(b"\x1cDF7F=") + 12


def encode(
    message: Message,
    sequence: int,
    *,
    message_counter: int | None = None,
    code: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """See `Encoding.encode`."""
    check_sequence(sequence)
    body = bytearray(b"%02X%02X" % (message.type_code, sequence))
    for row, value in values_of(message):
        body += _object(row, value)
    if message_counter is not None:
        MESSAGE_COUNTER.check(message_counter)
        body += _object(MESSAGE_COUNTER, message_counter)
    if code is not None:
        body += _object(CODE, computed_code(code, bytes(body)))
    return bytes(body) + _CHECK_HEAD + _check(bytes(body))


def decode(body: bytes) -> Decoded:
    """See `Encoding.decode`."""
    if not _HEADER.match(body):
        raise NotUnderstood("the body does not begin with four hex digits")
    type_code, sequence = bytes.fromhex(body[:_HEADER_CHARS].decode())
    reader = Reader()
    try:
        text = _checked(body)
        reader.put(TEXT_CHECK, b"")  # it has stood, at the end: another one is one too many
        for tag, start, end in places(text):
            if reader.code is not None:
                raise NotUnderstood(f"{CODE} is not the last object before DF7E")
            row = reader.row(tag)
            if row is not None:
                reader.put(row, _read(row, text[start:end]))
        message = reader.message(type_code, sequence)
    except NotUnderstood as fault:
        code, signed_part = _sealed(body)
        raise NotUnderstood(
            fault.why, type_code, sequence, code=code, signed_part=signed_part
        ) from fault
    signed_part = text if reader.code is None else text[:-_CODE_OBJECT_CHARS]
    return Decoded(message, sequence, reader.message_counter, reader.code, signed_part)


def without_check(body: bytes) -> bytes:
    """See `Encoding.without_check`."""
    return body[:-_CHECK_OBJECT_CHARS] if _CHECK_OBJECT.search(body) else body


def places(body: bytes) -> Iterator[tuple[int, int, int]]:
    """See `Encoding.places`."""
    place = _HEADER_CHARS
    if body[place : place + 1] not in (b"", _FS):
        raise NotUnderstood("more than four hex digits before the first object")
    while place < len(body):
        end = body.find(_FS, place + 1)
        if end < 0:
            end = len(body)
        start = body.find(b"=", place, end) + 1
        if not start:
            raise NotUnderstood("an object without =")
        tag = body[place + 1 : start - 1]
        if not _TAG.fullmatch(tag):
            raise NotUnderstood(f"{tag[:8]!r} is no tag")
        yield int(tag, 16), start, end
        place = end


def image_room(body_bytes: int, *, coded: bool) -> int:
    """See `Encoding.image_room`."""
    empty = ImageData(image_id=0xFF, offset=0xFFFF_FFFF, data=b"")
    if coded:
        frame = encode(
            empty,
            SEQUENCE_MAX,
            message_counter=COUNTER_MAX,
            code=lambda _: bytes(CODE_BYTES),
        )
    else:
        frame = encode(empty, SEQUENCE_MAX)
    room = (body_bytes - len(frame)) // 4 * 3
    return max(0, min(room, IMAGE_DATA_MAX_BYTES))


def _check(text: bytes) -> bytes:
    return b"%04X" % crc16(text)


def _checked(body: bytes) -> bytes:
    """The body before DF7E, once DF7E is right."""
    if not _CHECK_OBJECT.search(body):
        raise NotUnderstood("the body does not end with DF7E and four upper-case hex digits")
    text = body[:-_CHECK_OBJECT_CHARS]
    if not body.endswith(_check(text)):
        raise NotUnderstood(f"DF7E is {body[-4:].decode()}, not {_check(text).decode()}")
    return text


def _sealed(body: bytes) -> tuple[bytes | None, bytes | None]:
    """Code and what it covers, by their place alone: the rest may not be understood."""
    text = without_check(body)
    seal = _CODE_OBJECT.search(text)
    if seal is None:
        return None, None
    return base64.b64decode(seal[1]), text[: seal.start()]


def _object(row: DataObject, value: Value) -> bytes:
    match value:
        case int() if row.format is Format.N:
            text = b"%0*d" % (2 * row.max_bytes, value)
        case int():
            text = b"%d" % value
        case str():
            text = filled_text(row, value)
            if row.line_breaks:
                text = text.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        case _:
            text = base64.b64encode(value)
    return _FS + row.tag_hex.encode() + b"=" + text


def _read(row: DataObject, text: bytes) -> Value:
    match row.format:
        case Format.N:
            if len(text) != 2 * row.max_bytes or not text.isdigit():
                raise NotUnderstood(f"{row} is not {2 * row.max_bytes} digits")
            return int(text)
        case Format.U:
            return _read_number(row, text)
        case Format.AN | Format.ANS:
            return read_text(row, _without_escapes(row, text) if row.line_breaks else text)
        case Format.B:
            data = _read_base64(row, text)
            check_length(row, len(data))
            return data
        case _:
            assert_never(row.format)


def _read_number(row: DataObject, text: bytes) -> int:
    if not text.isdigit():
        raise NotUnderstood(f"{row} has a digit that is none")
    digits = text.lstrip(b"0") or b"0"
    # The length is asked first: int() refuses, and takes long for, thousands of digits.
    if len(digits) > len(str(row.largest)) or int(digits) > row.largest:
        raise NotUnderstood(f"{row} is more than {row.largest}")
    return int(digits)


def _read_base64(row: DataObject, text: bytes) -> bytes:
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as fault:
        raise NotUnderstood(f"{row} is no base64: {fault}") from fault
    if base64.b64encode(data) != text:
        raise NotUnderstood(f"{row} is no base64: loose bits before the padding")
    return data


def _without_escapes(row: DataObject, text: bytes) -> bytes:
    if b"\n" in text:
        raise NotUnderstood(f"{row}: control character 0A in the text")
    parts = [part.replace(b"\\n", b"\n") for part in text.split(b"\\\\")]
    if any(b"\\" in part for part in parts):
        raise NotUnderstood(f"{row}: a backslash that is neither \\\\ nor \\n")
    return b"\\".join(parts)


ENCODING = Encoding(
    name="fs",
    printable=True,
    encode=encode,
    decode=decode,
    without_check=without_check,
    places=places,
    image_room=image_room,
)
