"""Framings: a body as bytes on the line, and back. What is common to all of them.

Rules of this package:
- A framing is a `Framing`: a name, a function that frames, and a decoder. `dle_crc16.py` and
  `stx_lrc.py` are two; `drivers.link.dialect` finds others by name.
- A decoder takes bytes in any pieces, never raises, and holds no more than one body whatever comes.
- It knows nothing of messages: a body is bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

BODY_MIN_BYTES: Final = 2
BODY_MAX_BYTES: Final = 4092
"""Beyond that the CRC loses its distance of 4 (link, section 2)."""

MAX_BODY_LEAST_BYTES: Final = 640
"""No terminal may ask for less than this (DF13)."""

NOISE_KEPT_BYTES: Final = 256
"""Enough to see which other protocol, or which other speed, this line speaks."""

ACK: Final = b"\x06"
NAK: Final = b"\x15"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame came whole. Answer: ACK."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Bad:
    """A frame came to its end, damaged or too long. Answer: NAK, once.

    `why` and `body`, as far as it was kept, are for a person to read; two Bad are equal.
    """

    why: str = field(default="", compare=False)
    body: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Ack:
    """06 between frames."""


@dataclass(frozen=True, slots=True)
class Nak:
    """15 between frames."""


FrameEvent: TypeAlias = Frame | Bad | Ack | Nak


class Decoder(Protocol):
    """Bytes to events, for one direction of one line."""

    def feed(self, data: bytes) -> list[FrameEvent]:
        """What these bytes, after all before them, make. Never raises."""
        ...

    @property
    def inside(self) -> bool:
        """A frame has begun and not ended: after 0.5 s without a byte it is to be dropped."""
        ...

    def drop(self) -> None:
        """Forget what has begun: after that silence, or when the line was lost."""
        ...

    def take_noise(self) -> bytes:
        """The first bytes that were dropped as noise since this was last asked; bounded."""
        ...


@dataclass(frozen=True, slots=True)
class Framing:
    """One way to put bodies on a line (link, section 2)."""

    name: str
    carries_any_byte: bool
    """False: only what is `printable` (see `Encoding`) can be framed."""

    encode: Callable[[bytes], bytes]
    """body -> frame. ValueError: a body that cannot be sent."""

    decoder: Callable[[int], Decoder]
    """max_body_bytes -> a new decoder, which takes a longer body for a damaged frame."""


def check_body(body: bytes) -> None:
    """ValueError where this body cannot be sent in any framing."""
    if not BODY_MIN_BYTES <= len(body) <= BODY_MAX_BYTES:
        raise ValueError(
            f"a body has {BODY_MIN_BYTES} to {BODY_MAX_BYTES} bytes, this one {len(body)}"
        )
    if body[0] == 0:
        raise ValueError("a body that begins with 00 counts as damaged: there is no type 00")


def body_fault(body: bytes) -> str | None:
    """What is wrong with a body whose check is right; None where it can stand."""
    if len(body) < BODY_MIN_BYTES:
        return f"a body of {len(body)} bytes"
    if body[0] == 0:
        return "type 00"
    return None
