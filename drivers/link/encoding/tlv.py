"""`tlv`: one byte type, one byte sequence number, then BER-TLV data objects (link, section 3).

    +------+----------+-----+--------+-------+-----+---
    | type | sequence | tag | length | value | tag | …
    +------+----------+-----+--------+-------+-----+---
       1        1       1-2    1-3

Rules of this module: tags have one or two bytes; a length has one form, its shortest; nothing
stands between objects; DF7F, where there is one, is the last of them.
"""

from __future__ import annotations

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
from drivers.link.messages import (
    CODE,
    IMAGE_DATA_MAX_BYTES,
    MESSAGE_COUNTER,
    DataObject,
    Format,
    ImageData,
    Message,
    NotUnderstood,
    Value,
    values_of,
)

_HEADER_BYTES = 2
_CODE_HEAD = bytes((0xDF, 0x7F, CODE_BYTES))
_CODE_OBJECT_BYTES = len(_CODE_HEAD) + CODE_BYTES

_LENGTH_ONE_BYTE_MAX = 0x7F
_LENGTH_81 = 0x81
_LENGTH_82 = 0x82


def encode(
    message: Message,
    sequence: int,
    *,
    message_counter: int | None = None,
    code: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """See `Encoding.encode`."""
    check_sequence(sequence)
    body = bytearray((message.type_code, sequence))
    for row, value in values_of(message):
        body += _object(row, value)
    if message_counter is not None:
        MESSAGE_COUNTER.check(message_counter)
        body += _object(MESSAGE_COUNTER, message_counter)
    if code is not None:
        body += _object(CODE, computed_code(code, bytes(body)))
    return bytes(body)


def decode(body: bytes) -> Decoded:
    """See `Encoding.decode`."""
    if len(body) < _HEADER_BYTES:
        raise NotUnderstood(f"a body of {len(body)} bytes")
    type_code, sequence = body[0], body[1]
    reader = Reader()
    try:
        for tag, start, end in places(body):
            if reader.code is not None:
                raise NotUnderstood(f"{CODE} is not the last object")
            row = reader.row(tag)
            if row is not None:
                reader.put(row, _read(row, body[start:end]))
        message = reader.message(type_code, sequence)
    except NotUnderstood as fault:
        code, signed_part = _sealed(body)
        raise NotUnderstood(
            fault.why, type_code, sequence, code=code, signed_part=signed_part
        ) from fault
    signed_part = body if reader.code is None else body[:-_CODE_OBJECT_BYTES]
    return Decoded(message, sequence, reader.message_counter, reader.code, signed_part)


def without_check(body: bytes) -> bytes:
    """See `Encoding.without_check`: here no message has a DF7E."""
    return body


def places(body: bytes) -> Iterator[tuple[int, int, int]]:
    """See `Encoding.places`."""
    place = _HEADER_BYTES
    while place < len(body):
        tag, place = _read_tag(body, place)
        length, start = _read_length(body, place)
        place = start + length
        if place > len(body):
            raise NotUnderstood(f"{tag:02X} is cut off: {len(body) - start} of {length} bytes")
        yield tag, start, place


def image_room(body_bytes: int, *, coded: bool) -> int:
    """See `Encoding.image_room`."""
    empty = len(_largest_image_data(b"", coded=coded))
    room = body_bytes - empty
    # A longer value has a longer length: one byte more from 128 on, two from 256 on.
    for data_bytes in (room, room - 1, room - 2):
        if data_bytes > 0 and len(_length(data_bytes)) - 1 + data_bytes <= room:
            return min(data_bytes, IMAGE_DATA_MAX_BYTES)
    return 0


def _largest_image_data(data: bytes, *, coded: bool) -> bytes:
    message = ImageData(image_id=1, offset=0, data=data)
    if not coded:
        return encode(message, 1)
    return encode(message, 1, message_counter=COUNTER_MAX, code=lambda _: bytes(CODE_BYTES))


def _sealed(body: bytes) -> tuple[bytes | None, bytes | None]:
    """Code and what it covers, by their place alone: the rest may not be understood."""
    seal = body[-_CODE_OBJECT_BYTES:]
    if len(body) < _HEADER_BYTES + _CODE_OBJECT_BYTES or not seal.startswith(_CODE_HEAD):
        return None, None
    return seal[len(_CODE_HEAD) :], body[:-_CODE_OBJECT_BYTES]


def _object(row: DataObject, value: Value) -> bytes:
    match value:
        case int() if row.format is Format.N:
            data = bytes.fromhex(f"{value:0{2 * row.max_bytes}d}")
        case int():
            data = value.to_bytes(row.max_bytes, "big")
        case str():
            data = filled_text(row, value)
        case _:
            data = value
    return bytes.fromhex(row.tag_hex) + _length(len(data)) + data


def _length(length: int) -> bytes:
    if length <= _LENGTH_ONE_BYTE_MAX:
        return bytes((length,))
    if length <= 0xFF:
        return bytes((_LENGTH_81, length))
    return bytes((_LENGTH_82, length >> 8, length & 0xFF))


def _read_tag(body: bytes, place: int) -> tuple[int, int]:
    first = body[place]
    if first == 0x00:
        raise NotUnderstood("00 where a tag should be")
    if first & 0x1F != 0x1F:
        return first, place + 1
    if place + 1 >= len(body):
        raise NotUnderstood(f"cut off in tag {first:02X}")
    second = body[place + 1]
    if second & 0x80:
        raise NotUnderstood(f"a tag of more than two bytes: {first:02X}{second:02X}…")
    return first << 8 | second, place + 2


def _read_length(body: bytes, place: int) -> tuple[int, int]:
    first = body[place] if place < len(body) else None
    match first:
        case None:
            raise NotUnderstood("cut off before a length")
        case _ if first <= _LENGTH_ONE_BYTE_MAX:
            return first, place + 1
        case 0x81:
            more, least = 1, _LENGTH_ONE_BYTE_MAX + 1
        case 0x82:
            more, least = 2, 0x100
        case _:
            raise NotUnderstood(f"a length that begins with {first:02X}")
    digits = body[place + 1 : place + 1 + more]
    if len(digits) < more:
        raise NotUnderstood("cut off in a length")
    length = int.from_bytes(digits, "big")
    if length < least:
        raise NotUnderstood(f"length {length} is not in its shortest form")
    return length, place + 1 + more


def _read(row: DataObject, data: bytes) -> Value:
    match row.format:
        case Format.N:
            check_length(row, len(data))
            digits = data.hex()
            if not digits.isdecimal():
                raise NotUnderstood(f"{row} has a digit that is none: {digits}")
            return int(digits)
        case Format.U:
            check_length(row, len(data))
            return int.from_bytes(data, "big")
        case Format.AN | Format.ANS:
            return read_text(row, data)
        case Format.B:
            check_length(row, len(data))
            return data
        case _:
            assert_never(row.format)


ENCODING = Encoding(
    name="tlv",
    printable=False,
    encode=encode,
    decode=decode,
    without_check=without_check,
    places=places,
    image_room=image_room,
)
