"""Encodings: a message as a body, and back. What is common to all of them.

Rules of this package:
- An encoding is an `Encoding`: pure functions and a name. `tlv.py` and `fs.py` are two;
  `drivers.link.dialect` finds others by name.
- `decode` raises NotUnderstood and nothing else, whatever it is given.
- Objects that are not in the tables are passed over; those that are, but do not belong to the
  message, are checked and passed over (link, section 3).
- What is read is written: a message that was decoded can be encoded again, in either encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from drivers.link.messages import (
    BY_TYPE,
    CODE,
    MESSAGE_COUNTER,
    OBJECTS,
    REQUIRED,
    SEQUENCE_MAX,
    SEQUENCE_MIN,
    DataObject,
    Format,
    Message,
    NotUnderstood,
    Value,
)

CODE_BYTES: Final = CODE.max_bytes
COUNTER_MAX: Final = MESSAGE_COUNTER.largest


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body that was understood.

    `message_counter` (DF26) and `code` (DF7F) are None where the body has none. `signed_part` is
    what a code covers: the body up to DF7F; where there is no code, the body without DF7E.
    """

    message: Message
    sequence: int
    message_counter: int | None
    code: bytes | None
    signed_part: bytes


class Encode(Protocol):
    """Writes a message; see `Encoding.encode`."""

    def __call__(
        self,
        message: Message,
        sequence: int,
        *,
        message_counter: int | None = None,
        code: Callable[[bytes], bytes] | None = None,
    ) -> bytes: ...


class ImageRoom(Protocol):
    """Says how many image bytes fit a body; see `Encoding.image_room`."""

    def __call__(self, body_bytes: int, *, coded: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to write messages (link, section 3)."""

    name: str
    printable: bool
    """A body holds only 20..7E, 80..FF and 1C, so that a framing for text can carry it."""

    encode: Encode
    """(message, sequence, *, message_counter, code) -> body.

    `message_counter` becomes DF26; `code` is given the body up to DF7F and returns the 8 bytes of
    DF7F. ValueError: a value that its object cannot hold, or a sequence number out of 1..255.
    """

    decode: Callable[[bytes], Decoded]
    """body -> what it says. NotUnderstood: it says nothing (link, section 3)."""

    without_check: Callable[[bytes], bytes]
    """The body without DF7E: of a HELLO, what its WELCOME hashes (link, section 6)."""

    places: Callable[[bytes], Iterator[tuple[int, int, int]]]
    """body -> tag, start and end of the value of each object, known or not, wherever it stands.

    NotUnderstood, in the middle of it, where what comes next is no object.
    """

    image_room: ImageRoom
    """(body_bytes, *, coded) -> how many image bytes an IMAGE_DATA of that size holds; 0: none.

    `coded`: it ends with DF26 and DF7F.
    """


class Reader:
    """Takes the objects of one body as they come, and makes the message of them.

    One for each body; every method raises NotUnderstood without type and sequence number, which
    the encoding adds.
    """

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def row(self, tag: int) -> DataObject | None:
        """The row of the object that comes next; None where it is to be passed over."""
        row = OBJECTS.get(tag)
        if row is not None and row.name in self._values:
            raise NotUnderstood(f"{row} twice")
        return row

    def put(self, row: DataObject, value: Value) -> None:
        """Keep the value that was read for it."""
        self._values[row.name] = value

    @property
    def message_counter(self) -> int | None:
        """DF26, if it was there."""
        value = self._values.get("message_counter")
        return value if isinstance(value, int) else None

    @property
    def code(self) -> bytes | None:
        """DF7F, if it was there."""
        value = self._values.get("code")
        return value if isinstance(value, bytes) else None

    def message(self, type_code: int, sequence: int) -> Message:
        """The message that these objects make."""
        kind = BY_TYPE.get(type_code)
        if kind is None:
            raise NotUnderstood(f"no message has type {type_code:02X}")
        if not SEQUENCE_MIN <= sequence <= SEQUENCE_MAX:
            raise NotUnderstood(f"sequence number {sequence}")
        missing = REQUIRED[type_code] - self._values.keys()
        if missing:
            rows = (OBJECTS[tag] for tag in kind.tags)
            names = ", ".join(str(row) for row in rows if row.name in missing)
            raise NotUnderstood(f"{kind.type_name} without {names}")
        own: dict[str, Any] = {
            name: self._values[name]
            for name in (OBJECTS[tag].name for tag in kind.tags)
            if name in self._values
        }
        try:
            return kind(**own)
        except ValueError as fault:
            raise NotUnderstood(str(fault)) from fault


def check_sequence(sequence: int) -> None:
    """ValueError where a message cannot have this sequence number."""
    if not SEQUENCE_MIN <= sequence <= SEQUENCE_MAX:
        raise ValueError(
            f"sequence number {sequence}; it runs {SEQUENCE_MIN} to {SEQUENCE_MAX} and round again"
        )


def computed_code(code: Callable[[bytes], bytes], signed_part: bytes) -> bytes:
    """DF7F of `signed_part`. ValueError where `code` does not give 8 bytes."""
    value = code(signed_part)
    if len(value) != CODE_BYTES:
        raise ValueError(f"a message authentication code has {CODE_BYTES} bytes, not {len(value)}")
    return value


def check_length(row: DataObject, length_bytes: int) -> None:
    """NotUnderstood where an object of the tables has a length that is wrong."""
    if not row.min_bytes <= length_bytes <= row.max_bytes:
        raise NotUnderstood(f"{row} has {length_bytes} bytes")


def read_text(row: DataObject, data: bytes) -> str:
    """The text in an `an` or `ans` object, without its filling."""
    check_length(row, len(data))
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        raise NotUnderstood(f"{row} is no UTF-8") from fault
    if row.format is Format.AN:
        text = text.rstrip(" ")
    wrong = row.text_fault(text)
    if wrong is not None:
        raise NotUnderstood(f"{row}: {wrong}")
    return text


def filled_text(row: DataObject, text: str) -> bytes:
    """The bytes of an `an` or `ans` value, an `an` filled up with spaces."""
    data = text.encode()
    return data.ljust(row.max_bytes) if row.format is Format.AN else data
