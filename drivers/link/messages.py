"""The words of the terminal link: its data objects, its messages, and what cannot be understood.

Rules of this module:
- `OBJECTS` is the data dictionary (link, section 3 and 6): one row a tag, and the only place that
  knows an object's format and length. Encodings, traces and documents are made from it.
- A message is a frozen dataclass. Its fields are named after their objects; `tags` gives them in
  the order in which they are written; a field with a default of None is one that may be missing.
- A value is checked against its row when it is written (`DataObject.check`, ValueError) and when it
  is read (by the encoding, NotUnderstood). What a value means for a sale is decided elsewhere.
- Nothing here knows how bytes look on the line.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from enum import Enum, IntEnum
from typing import ClassVar, TypeAlias

PROTOCOL_VERSION = 1
CURRENCY_NZD = 554

SEQUENCE_MIN = 1
SEQUENCE_MAX = 255

FROM_BRIDGE = 0x80
"""A type with this bit is said by the bridge, one without it by the terminal."""

RESPONSE_CODES = frozenset({"00", "05", "17", "54", "91", "96"})
"""All that 8A can be; a message with another one is not understood."""

TEXT_MAX_BYTES = 160
IMAGE_FORMATS_MAX = 16
IMAGE_DATA_MAX_BYTES = 4092
"""DF1A has no length of its own; more than a whole body cannot come."""

_CONTROL_CHARACTERS = frozenset(chr(code) for code in [*range(0x20), 0x7F])


class Role(Enum):
    """Which end of the link one is."""

    BRIDGE = "bridge"
    TERMINAL = "terminal"


class Format(Enum):
    """How an object's value is written (link, section 3)."""

    N = "n"
    """Decimal digits, all of them: two a byte."""
    U = "u"
    """An unsigned number."""
    AN = "an"
    """Text of a fixed length, filled up with spaces that mean nothing."""
    ANS = "ans"
    """Text of up to a length."""
    B = "b"
    """Bytes."""


class Reason(IntEnum):
    """DF09: why a message is refused. Another number is understood, and means no more than no."""

    NOT_PAIRED = 1
    NO_SUCH_TRANSACTION = 2
    COUNTER_USED = 3
    BUSY = 4
    BAD_AMOUNT = 5
    NOT_UNDERSTOOD = 6
    UNKNOWN_MERCHANT = 7
    NOT_REFUNDABLE = 8
    NOT_AUTHENTICATED = 9
    CANNOT_WRITE = 10
    SAY_HELLO = 11


class ImageShown(IntEnum):
    """DF1C: what became of an image."""

    SHOWN = 0
    BAD_CHECK = 1
    OUT_OF_MEMORY = 2
    UNKNOWN_FORMAT = 3


class NotUnderstood(ValueError):  # noqa: N818 - the link's own word for it
    """A body came whole, and is no message (link, section 3).

    `why` says what is wrong with it; `type_code` and `sequence` are None where they cannot be read.
    `code` and `signed_part` are the message authentication code and what it covers, where the body
    ends with one: a message may be authentic and yet not understood.
    """

    def __init__(
        self,
        why: str,
        type_code: int | None = None,
        sequence: int | None = None,
        *,
        code: bytes | None = None,
        signed_part: bytes | None = None,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.type_code = type_code
        self.sequence = sequence
        self.code = code
        self.signed_part = signed_part

    @property
    def refused(self) -> bytes:
        """DF0C for the REFUSED that answers it: type and sequence number, or 0000."""
        if self.type_code is None or self.sequence is None:
            return bytes(2)
        return bytes((self.type_code, self.sequence))


Value: TypeAlias = int | str | bytes


@dataclass(frozen=True, slots=True)
class DataObject:
    """One row of the data dictionary. Lengths are in bytes, as they are in `tlv`."""

    tag: int
    name: str
    """The field of a message that holds it."""
    format: Format
    min_bytes: int
    max_bytes: int
    line_breaks: bool = False
    allowed: frozenset[str] | None = None

    @property
    def tag_hex(self) -> str:
        """The tag as the link writes it: `8A`, `9F1C`."""
        return f"{self.tag:02X}"

    @property
    def largest(self) -> int:
        """The largest number that an `n` or `u` object can hold."""
        if self.format is Format.N:
            return int(10 ** (2 * self.max_bytes)) - 1
        return (1 << (8 * self.max_bytes)) - 1

    def check(self, value: object) -> None:
        """Raise ValueError where this object cannot hold `value`."""
        match self.format:
            case Format.N | Format.U:
                if not isinstance(value, int) or not 0 <= value <= self.largest:
                    raise ValueError(f"{self} holds 0 to {self.largest}, not {value!r}")
            case Format.AN | Format.ANS:
                if not isinstance(value, str):
                    raise ValueError(f"{self} holds text, not {value!r}")
                self._check_text(value)
            case Format.B:
                if not isinstance(value, bytes):
                    raise ValueError(f"{self} holds bytes, not {value!r}")
                if not self.min_bytes <= len(value) <= self.max_bytes:
                    raise ValueError(f"{self} holds {self._lengths()}, not {len(value)}")

    def _check_text(self, text: str) -> None:
        fault = self.text_fault(text)
        if fault is not None:
            raise ValueError(f"{self}: {fault}")
        length = len(text.encode())  # UnicodeEncodeError, of half a character, is a ValueError
        if length > self.max_bytes:
            raise ValueError(f"{self} holds {self._lengths()}, not {length}: {text!r}")

    def text_fault(self, text: str) -> str | None:
        """What cannot stand in this object's text, in words; None where all of it can."""
        bad = _CONTROL_CHARACTERS.intersection(text)
        if self.line_breaks:
            bad -= {"\n"}
        if bad:
            return f"control character {ord(min(bad)):02X} in the text"
        if self.allowed is not None and text not in self.allowed:
            return f"{text!r} is none of {', '.join(sorted(self.allowed))}"
        return None

    def _lengths(self) -> str:
        if self.min_bytes == self.max_bytes or self.format is Format.AN:
            return f"{self.max_bytes} bytes"
        return f"{self.min_bytes} to {self.max_bytes} bytes"

    def __str__(self) -> str:
        return f"{self.tag_hex} ({self.name})"


def _fixed(tag: int, name: str, form: Format, length_bytes: int) -> DataObject:
    return DataObject(tag, name, form, length_bytes, length_bytes)


def _up_to(tag: int, name: str, form: Format, max_bytes: int) -> DataObject:
    return DataObject(tag, name, form, 0, max_bytes)


MESSAGE_COUNTER = _fixed(0xDF26, "message_counter", Format.U, 4)
TEXT_CHECK = _fixed(0xDF7E, "text_check", Format.B, 2)
CODE = _fixed(0xDF7F, "code", Format.B, 8)
"""These three belong to the envelope, not to a message: the encodings handle them."""

OBJECTS: dict[int, DataObject] = {
    row.tag: row
    for row in (
        _fixed(0x9F02, "amount_minor", Format.N, 6),
        _fixed(0x5F2A, "currency", Format.N, 2),
        _fixed(0x9F41, "counter", Format.N, 4),
        _fixed(0x9F1C, "terminal_id", Format.AN, 8),
        _fixed(0x9F1E, "serial_number", Format.AN, 8),
        _up_to(0x9F16, "merchant", Format.ANS, 36),
        DataObject(0x8A, "response_code", Format.AN, 2, 2, allowed=RESPONSE_CODES),
        _fixed(0x9A, "local_date", Format.N, 3),
        _fixed(0x9F21, "local_time", Format.N, 3),
        _fixed(0xDF01, "version", Format.U, 1),
        _up_to(0xDF02, "reference", Format.ANS, 64),
        _up_to(0xDF03, "order_number", Format.ANS, 32),
        _up_to(0xDF04, "order_id", Format.ANS, 36),
        DataObject(0xDF05, "text", Format.ANS, 0, TEXT_MAX_BYTES, line_breaks=True),
        _fixed(0xDF06, "seconds_left", Format.U, 2),
        _up_to(0xDF07, "operator", Format.ANS, 32),
        _up_to(0xDF08, "firmware", Format.ANS, 32),
        _fixed(0xDF09, "reason", Format.U, 1),
        _up_to(0xDF0A, "model", Format.ANS, 32),
        _fixed(0xDF0B, "original_counter", Format.N, 4),
        _fixed(0xDF0C, "refused", Format.B, 2),
        _fixed(0xDF0D, "journal_id", Format.B, 8),
        _fixed(0xDF10, "panel_width", Format.U, 2),
        _fixed(0xDF11, "panel_height", Format.U, 2),
        _up_to(0xDF12, "formats", Format.B, IMAGE_FORMATS_MAX),
        _fixed(0xDF13, "max_body", Format.U, 2),
        _fixed(0xDF14, "image_id", Format.U, 1),
        _fixed(0xDF15, "image_format", Format.U, 1),
        _fixed(0xDF16, "image_width", Format.U, 2),
        _fixed(0xDF17, "image_height", Format.U, 2),
        _fixed(0xDF18, "image_length", Format.U, 4),
        _fixed(0xDF19, "offset", Format.U, 4),
        _up_to(0xDF1A, "data", Format.B, IMAGE_DATA_MAX_BYTES),
        _fixed(0xDF1B, "image_crc", Format.U, 4),
        _fixed(0xDF1C, "status", Format.U, 1),
        _fixed(0xDF1D, "paired", Format.U, 1),
        _fixed(0xDF1E, "largest_image", Format.U, 4),
        _fixed(0xDF1F, "text_size", Format.B, 2),
        _fixed(0xDF20, "can_authenticate", Format.U, 1),
        _fixed(0xDF21, "commitment", Format.B, 32),
        _fixed(0xDF22, "public_key", Format.B, 32),
        _fixed(0xDF23, "pairing_nonce", Format.B, 16),
        _fixed(0xDF24, "confirmation", Format.B, 8),
        _fixed(0xDF25, "session_nonce", Format.B, 8),
        MESSAGE_COUNTER,
        _fixed(0xDF27, "key_id", Format.B, 4),
        TEXT_CHECK,
        CODE,
    )
}


# From the terminal


@dataclass(frozen=True, slots=True)
class Hello:
    """01: who I am, what I can show. Answered by WELCOME, then by what is open."""

    type_code: ClassVar[int] = 0x01
    type_name: ClassVar[str] = "HELLO"
    tags: ClassVar[tuple[int, ...]] = (
        *(0x9F1C, 0x9F1E, 0xDF01, 0xDF0A, 0xDF08, 0xDF10, 0xDF11, 0xDF12, 0xDF13),
        *(0xDF1E, 0xDF1F, 0xDF20, 0xDF25, 0xDF27),
    )

    terminal_id: str
    serial_number: str
    version: int
    model: str
    firmware: str
    panel_width: int
    panel_height: int
    formats: bytes
    max_body: int
    largest_image: int | None = None
    text_size: bytes | None = None
    can_authenticate: int | None = None
    session_nonce: bytes | None = None
    key_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tender:
    """10: take this amount."""

    type_code: ClassVar[int] = 0x10
    type_name: ClassVar[str] = "TENDER"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41, 0x9F02, 0x5F2A, 0x9F16, 0xDF02, 0xDF07)

    terminal_id: str
    counter: int
    amount_minor: int
    currency: int
    merchant: str | None = None
    reference: str | None = None
    operator: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """11: end that tender."""

    type_code: ClassVar[int] = 0x11
    type_name: ClassVar[str] = "CANCEL"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41)

    terminal_id: str
    counter: int


@dataclass(frozen=True, slots=True)
class Query:
    """12: what became of that tender, or, without a counter, of the last one."""

    type_code: ClassVar[int] = 0x12
    type_name: ClassVar[str] = "QUERY"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41)

    terminal_id: str
    counter: int | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """13: give back an amount of an earlier tender; the counter is its own."""

    type_code: ClassVar[int] = 0x13
    type_name: ClassVar[str] = "REFUND"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41, 0xDF0B, 0x9F02, 0xDF07)

    terminal_id: str
    counter: int
    original_counter: int
    amount_minor: int
    operator: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """14: that outcome is in the terminal's own storage."""

    type_code: ClassVar[int] = 0x14
    type_name: ClassVar[str] = "STORED"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41, 0x8A)

    terminal_id: str
    counter: int
    response_code: str


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """20: what became of an image (`ImageShown`)."""

    type_code: ClassVar[int] = 0x20
    type_name: ClassVar[str] = "IMAGE_STATUS"
    tags: ClassVar[tuple[int, ...]] = (0xDF14, 0xDF1C)

    image_id: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """7F: are you there? Answered by PONG."""

    type_code: ClassVar[int] = 0x7F
    type_name: ClassVar[str] = "PING"
    tags: ClassVar[tuple[int, ...]] = ()


@dataclass(frozen=True, slots=True)
class PairKey:
    """02: the terminal's public key and nonce."""

    type_code: ClassVar[int] = 0x02
    type_name: ClassVar[str] = "PAIR_KEY"
    tags: ClassVar[tuple[int, ...]] = (0xDF22, 0xDF23)

    public_key: bytes
    pairing_nonce: bytes


@dataclass(frozen=True, slots=True)
class PairConfirm:
    """03: a person at the terminal has found the six digits equal."""

    type_code: ClassVar[int] = 0x03
    type_name: ClassVar[str] = "PAIR_CONFIRM"
    tags: ClassVar[tuple[int, ...]] = (0xDF24,)

    confirmation: bytes


# From the bridge


@dataclass(frozen=True, slots=True)
class Identify:
    """80: say HELLO."""

    type_code: ClassVar[int] = 0x80
    type_name: ClassVar[str] = "IDENTIFY"
    tags: ClassVar[tuple[int, ...]] = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """81: whose journal this is, whether you are paired, what time it is.

    `counter` is the highest one written down for this pairing; `local_date` is YYMMDD and
    `local_time` hhmmss, both as decimal numbers.
    """

    type_code: ClassVar[int] = 0x81
    type_name: ClassVar[str] = "WELCOME"
    tags: ClassVar[tuple[int, ...]] = (0xDF01, 0xDF0D, 0xDF1D, 0x9A, 0x9F21, 0x9F41, 0xDF25)

    version: int
    journal_id: bytes
    paired: int
    local_date: int
    local_time: int
    counter: int | None = None
    session_nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class PairOpen:
    """82: pairing begins, with the bridge's commitment."""

    type_code: ClassVar[int] = 0x82
    type_name: ClassVar[str] = "PAIR_OPEN"
    tags: ClassVar[tuple[int, ...]] = (0xDF21,)

    commitment: bytes


@dataclass(frozen=True, slots=True)
class PairReveal:
    """83: what the bridge has committed itself to."""

    type_code: ClassVar[int] = 0x83
    type_name: ClassVar[str] = "PAIR_REVEAL"
    tags: ClassVar[tuple[int, ...]] = (0xDF22, 0xDF23)

    public_key: bytes
    pairing_nonce: bytes


@dataclass(frozen=True, slots=True)
class PairDone:
    """84: a person at the bridge has found the six digits equal, and the keys are kept."""

    type_code: ClassVar[int] = 0x84
    type_name: ClassVar[str] = "PAIR_DONE"
    tags: ClassVar[tuple[int, ...]] = (0xDF24,)

    confirmation: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """90: written down, and on its way."""

    type_code: ClassVar[int] = 0x90
    type_name: ClassVar[str] = "ACCEPTED"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41, 0x9F02, 0x5F2A, 0xDF06)

    terminal_id: str
    counter: int
    amount_minor: int
    currency: int
    seconds_left: int


@dataclass(frozen=True, slots=True)
class Progress:
    """91: still open."""

    type_code: ClassVar[int] = 0x91
    type_name: ClassVar[str] = "PROGRESS"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41, 0x9F02, 0xDF05, 0xDF06)

    terminal_id: str
    counter: int
    amount_minor: int
    text: str
    seconds_left: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """92: how it ended. Never changes."""

    type_code: ClassVar[int] = 0x92
    type_name: ClassVar[str] = "OUTCOME"
    tags: ClassVar[tuple[int, ...]] = (
        *(0x9F1C, 0x9F41, 0x8A, 0x9F02, 0xDF05, 0x9A, 0x9F21),
        *(0xDF03, 0xDF04),
    )

    terminal_id: str
    counter: int
    response_code: str
    amount_minor: int
    text: str
    local_date: int
    local_time: int
    order_number: str | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """93: nothing new was written down, and why (`Reason`).

    `refused` is type and sequence number of the message that is refused, 0000 where not known.
    """

    type_code: ClassVar[int] = 0x93
    type_name: ClassVar[str] = "REFUSED"
    tags: ClassVar[tuple[int, ...]] = (0x9F1C, 0x9F41, 0xDF09, 0xDF0C, 0xDF05)

    reason: int
    refused: bytes
    text: str
    terminal_id: str | None = None
    counter: int | None = None


@dataclass(frozen=True, slots=True)
class ImageOpen:
    """A0: an image follows: a tender's, or, without terminal and counter, a test picture.

    Terminal and counter come both or neither; one alone raises ValueError.
    """

    type_code: ClassVar[int] = 0xA0
    type_name: ClassVar[str] = "IMAGE_OPEN"
    tags: ClassVar[tuple[int, ...]] = (
        *(0x9F1C, 0x9F41),
        *(0xDF14, 0xDF15, 0xDF16, 0xDF17, 0xDF18, 0xDF1B),
    )

    image_id: int
    image_format: int
    image_width: int
    image_height: int
    image_length: int
    image_crc: int
    terminal_id: str | None = None
    counter: int | None = None

    def __post_init__(self) -> None:
        if (self.terminal_id is None) is not (self.counter is None):
            raise ValueError("IMAGE_OPEN has 9F1C and 9F41 both or neither")


@dataclass(frozen=True, slots=True)
class ImageData:
    """A1: a piece of it, from `offset` on."""

    type_code: ClassVar[int] = 0xA1
    type_name: ClassVar[str] = "IMAGE_DATA"
    tags: ClassVar[tuple[int, ...]] = (0xDF14, 0xDF19, 0xDF1A)

    image_id: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ImageShow:
    """A2: that was all of it."""

    type_code: ClassVar[int] = 0xA2
    type_name: ClassVar[str] = "IMAGE_SHOW"
    tags: ClassVar[tuple[int, ...]] = (0xDF14,)

    image_id: int


@dataclass(frozen=True, slots=True)
class DisplayClear:
    """A3: take the image away."""

    type_code: ClassVar[int] = 0xA3
    type_name: ClassVar[str] = "DISPLAY_CLEAR"
    tags: ClassVar[tuple[int, ...]] = ()


@dataclass(frozen=True, slots=True)
class DisplayText:
    """A4: show this text."""

    type_code: ClassVar[int] = 0xA4
    type_name: ClassVar[str] = "DISPLAY_TEXT"
    tags: ClassVar[tuple[int, ...]] = (0xDF05,)

    text: str


@dataclass(frozen=True, slots=True)
class Pong:
    """FF: here I am."""

    type_code: ClassVar[int] = 0xFF
    type_name: ClassVar[str] = "PONG"
    tags: ClassVar[tuple[int, ...]] = ()


FromTerminal: TypeAlias = (
    Hello | PairKey | PairConfirm | Tender | Cancel | Query | Refund | Stored | ImageStatus | Ping
)
FromBridge: TypeAlias = (
    Identify
    | Welcome
    | PairOpen
    | PairReveal
    | PairDone
    | Accepted
    | Progress
    | Outcome
    | Refused
    | ImageOpen
    | ImageData
    | ImageShow
    | DisplayClear
    | DisplayText
    | Pong
)
Message: TypeAlias = FromTerminal | FromBridge

_TYPES: tuple[type[Message], ...] = (
    *(Hello, PairKey, PairConfirm, Tender, Cancel, Query, Refund, Stored, ImageStatus, Ping),
    *(Identify, Welcome, PairOpen, PairReveal, PairDone, Accepted, Progress, Outcome, Refused),
    *(ImageOpen, ImageData, ImageShow, DisplayClear, DisplayText, Pong),
)

BY_TYPE: dict[int, type[Message]] = {kind.type_code: kind for kind in _TYPES}

REQUIRED: dict[int, frozenset[str]] = {
    kind.type_code: frozenset(part.name for part in fields(kind) if part.default is MISSING)
    for kind in _TYPES
}
"""By type: the fields that a message of it must have."""


def values_of(message: Message) -> list[tuple[DataObject, Value]]:
    """The objects of `message` with their values, in the order in which they are written.

    ValueError where a value does not fit its object.
    """
    present: list[tuple[DataObject, Value]] = []
    for tag in message.tags:
        row = OBJECTS[tag]
        value = getattr(message, row.name)
        if value is None and row.name not in REQUIRED[message.type_code]:
            continue
        try:
            row.check(value)
        except ValueError as fault:
            raise ValueError(f"{message.type_name} cannot be written: {fault}") from fault
        present.append((row, value))
    return present


def fit_text(text: str, limit_bytes: int, *, line_breaks: bool = False) -> str:
    """`text` as it can stand in an `ans` object of `limit_bytes`.

    Cut at a character's border; control characters and halves of characters are dropped, tabs and
    line breaks become spaces. With `line_breaks` (DF05 alone has them) 0A stays.
    """
    kept = []
    for character in text:
        if line_breaks and character == "\n":
            kept.append(character)
        elif character in "\t\n":
            kept.append(" ")
        elif character not in _CONTROL_CHARACTERS:
            kept.append(character)
    data = "".join(kept).encode(errors="ignore")
    return data[:limit_bytes].decode(errors="ignore")


def fit_display_text(text: str) -> str:
    """`text` as it can stand in DF05: up to 160 bytes, with line breaks."""
    return fit_text(text, TEXT_MAX_BYTES, line_breaks=True)
