"""One line for one thing that went over the link: for traces, replay and conformance.

    12.345678 T>B frame 1102…42 CANCEL 2 terminal_id='T0000001' counter=42
    12.346102 B>T ack -
    time      way kind  hex     what it says

Rules of this module:
- Time is in seconds, six decimals, of the clock that the link runs on. `T>B`: from the terminal.
- Hex is a frame's body, not doubled, without check; `-` where there is none.
- What belongs to an authenticated link is shortened, in hex and in words; each byte left out is
  `..` in hex. Such a body cannot be replayed, and `Line.body` says so.
- The hex counts; the words are for people, and nobody reads them back.
- A line is read as it was written: `parse(str(line)) == line`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from drivers.link.encoding import Encoding
from drivers.link.framing import Ack, Bad, Frame, FrameEvent, Nak
from drivers.link.messages import OBJECTS, Message, NotUnderstood, Role

SHORTENED_TAGS: Final = frozenset({*range(0xDF21, 0xDF28), 0xDF7F})
SHOWN_BYTES: Final = 2
"""Of a shortened value; less of one below 8 bytes. Enough to see whether two are the same."""

DATA_SHOWN_BYTES: Final = 16
"""Of other bytes, in words."""

_LEFT_OUT = ".."
_MARK = re.compile(rb"\xdf[\x21-\x27\x7f]|DF(?:2[1-7]|7F)=")
"""Where a shortened object may begin in bytes that are no message: all after it is left out."""

_LINE = re.compile(
    r"(?P<s>\d{1,12})\.(?P<us>\d{6}) (?P<way>T>B|B>T) (?P<kind>frame|ack|nak|bad|noise)"
    r" (?P<hex>-|(?:[0-9a-f]{2}|\.\.)+)(?: (?P<words>.+))?"
)


class Way(Enum):
    """Who said it."""

    FROM_TERMINAL = "T>B"
    FROM_BRIDGE = "B>T"

    @classmethod
    def of_sender(cls, sender: Role) -> Way:
        """The way of what `sender` says."""
        return cls.FROM_BRIDGE if sender is Role.BRIDGE else cls.FROM_TERMINAL


class Kind(Enum):
    """What went over the line."""

    FRAME = "frame"
    ACK = "ack"
    NAK = "nak"
    BAD = "bad"
    """A damaged frame: what was read of its body, and what is wrong with it."""
    NOISE = "noise"


class NotATraceLine(ValueError):  # noqa: N818 - says what it is
    """This text is no line of a trace."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a trace. `hex` is empty where there are no bytes; `words` are for people."""

    time_us: int
    way: Way
    kind: Kind
    hex: str = ""
    words: str = ""

    @property
    def time_s(self) -> float:
        """Its time in seconds."""
        return self.time_us / 1_000_000

    @property
    def body(self) -> bytes | None:
        """The bytes; None where some of them were left out."""
        return None if _LEFT_OUT in self.hex else bytes.fromhex(self.hex)

    def __str__(self) -> str:
        seconds, micros = divmod(self.time_us, 1_000_000)
        line = f"{seconds}.{micros:06d} {self.way.value} {self.kind.value} {self.hex or '-'}"
        return f"{line} {self.words}" if self.words else line


def line_of(now: float, way: Way, event: FrameEvent, encoding: Encoding) -> Line:
    """The line for what a decoder has told, or for what is sent, as if it had been heard.

    `now` is in seconds, and not negative.
    """
    time_us = _micros(now)
    match event:
        case Frame(body):
            return Line(time_us, way, Kind.FRAME, _hex(body, encoding), _words(body, encoding))
        case Bad(why, body):
            return Line(time_us, way, Kind.BAD, _hex_of_damaged(body), _printable(why))
        case Ack():
            return Line(time_us, way, Kind.ACK)
        case Nak():
            return Line(time_us, way, Kind.NAK)


def noise_line(now: float, way: Way, noise: bytes) -> Line:
    """The line for bytes that belong to nothing."""
    return Line(_micros(now), way, Kind.NOISE, _hex_of_damaged(noise))


def parse(text: str) -> Line:
    """The line that was written as `text`; a line end behind it is let pass. NotATraceLine."""
    found = _LINE.fullmatch(text.rstrip("\r\n"))
    if found is None:
        raise NotATraceLine(f"no line of a trace: {text[:80]!r}")
    return Line(
        time_us=int(found["s"]) * 1_000_000 + int(found["us"]),
        way=Way(found["way"]),
        kind=Kind(found["kind"]),
        hex="" if found["hex"] == "-" else found["hex"],
        words=found["words"] or "",
    )


def parse_all(lines: Iterable[str]) -> Iterator[Line]:
    """The lines of a file; empty ones and those that begin with # are passed over.

    NotATraceLine names the number of the line.
    """
    for number, text in enumerate(lines, 1):
        if not text.strip() or text.startswith("#"):
            continue
        try:
            yield parse(text)
        except NotATraceLine as fault:
            raise NotATraceLine(f"line {number}: {fault}") from fault


def describe(message: Message, sequence: int) -> str:
    """A message in words: its name, its number, its fields; what is to be shortened is."""
    words = [message.type_name, str(sequence)]
    for tag in message.tags:
        value = getattr(message, OBJECTS[tag].name)
        if value is None:
            continue
        if isinstance(value, bytes):
            shown = _shown(len(value)) if tag in SHORTENED_TAGS else DATA_SHOWN_BYTES
            value = value.hex() if len(value) <= shown else f"{value[:shown].hex()}…({len(value)})"
        else:
            value = repr(value)
        words.append(f"{OBJECTS[tag].name}={value}")
    return " ".join(words)


def _words(body: bytes, encoding: Encoding) -> str:
    try:
        decoded = encoding.decode(body)
    except NotUnderstood as fault:
        return _printable(f"not understood: {fault.why}")
    return describe(decoded.message, decoded.sequence)


def _hex(body: bytes, encoding: Encoding) -> str:
    parts = []
    read_to = 0
    try:
        for tag, start, end in encoding.places(body):
            if tag in SHORTENED_TAGS:
                hidden_from = start + _shown(end - start)
                parts += [body[read_to:hidden_from].hex(), _LEFT_OUT * (end - hidden_from)]
                read_to = end
    except NotUnderstood:
        pass  # the rest is as good as damaged
    else:
        return "".join([*parts, body[read_to:].hex()])
    return "".join([*parts, _hex_of_damaged(body[read_to:])])


def _hex_of_damaged(data: bytes) -> str:
    """What cannot be read may hold anything from the first mark on."""
    mark = _MARK.search(data)
    hidden_from = len(data) if mark is None else mark.end()
    return data[:hidden_from].hex() + _LEFT_OUT * (len(data) - hidden_from)


def _shown(length: int) -> int:
    return min(SHOWN_BYTES, length // 4)


def _printable(words: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in words)


def _micros(now: float) -> int:
    return round(now * 1_000_000)
