"""What went over the line, as the report shows it: bytes as they were, and what they say.

Rules
- Nothing is left out: what was sent on purpose wrong stands there as it was sent.
- A line of the record is a piece as it came or went; its words name each frame that ended in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drivers.link.encoding import Encoding
from drivers.link.framing import Ack, Bad, Frame, FrameEvent, Nak
from drivers.link.messages import NotUnderstood
from drivers.link.trace import Way, describe

HEX_SHOWN_BYTES = 96
"""Of one piece, in the text report; the JSON report has all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece. `at_s` is the port's clock."""

    at_s: float
    way: Way
    data: bytes
    words: str

    def text(self, start_s: float) -> str:
        """A line for a person, with the time since `start_s`."""
        shown = self.data[:HEX_SHOWN_BYTES].hex()
        if len(self.data) > HEX_SHOWN_BYTES:
            shown += f"…({len(self.data)} bytes)"
        return f"{self.at_s - start_s:9.3f} {self.way.value} {shown or '-'}  {self.words}"

    def json(self, start_s: float) -> dict[str, Any]:
        """The same for a program; `hex` is whole."""
        return {
            "at_s": round(self.at_s - start_s, 6),
            "way": self.way.value,
            "hex": self.data.hex(),
            "words": self.words,
        }


@dataclass(slots=True)
class Record:
    """Everything since the beginning, in order."""

    encoding: Encoding
    entries: list[Entry] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries)

    def sent(self, at_s: float, data: bytes, words: str) -> None:
        self.entries.append(Entry(at_s, Way.FROM_BRIDGE, data, words))

    def heard(self, at_s: float, data: bytes, events: list[FrameEvent], noise: bytes) -> None:
        said = [in_words(event, self.encoding) for event in events]
        if noise:
            said.append(f"noise {noise.hex()}")
        words = "; ".join(said) or "(part of a frame)"
        self.entries.append(Entry(at_s, Way.FROM_TERMINAL, data, words))

    def note(self, at_s: float, words: str) -> None:
        """Something that was done to the terminal, by a hand."""
        self.entries.append(Entry(at_s, Way.FROM_BRIDGE, b"", words))


def in_words(event: FrameEvent, encoding: Encoding) -> str:
    """What a decoder has told, for a person."""
    match event:
        case Frame(body):
            return body_in_words(body, encoding)
        case Bad(why, _):
            return f"damaged: {why}"
        case Ack():
            return "ACK"
        case Nak():
            return "NAK"


def body_in_words(body: bytes, encoding: Encoding) -> str:
    """What a body says, or why it says nothing."""
    try:
        decoded = encoding.decode(body)
    except NotUnderstood as fault:
        return f"not understood: {fault.why}"
    return describe(decoded.message, decoded.sequence)
