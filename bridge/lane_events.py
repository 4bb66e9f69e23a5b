"""What a lane tells the engine.

Rules
- Plain values. A lane tells what came in or changed on its line; what it means is the engine's.
- `lane` is the lane's name: the port as configured.
- Only what can be taken is told: a lane answers by itself what cannot be understood, what came
  before a HELLO, and what names another terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from drivers.link.messages import Cancel, Hello, Query, Refund, Stored, Tender

HeardMessage: TypeAlias = Hello | Tender | Cancel | Query | Refund | Stored


@dataclass(frozen=True, slots=True)
class Heard:
    """A message from the terminal of this line's latest HELLO, or that HELLO itself.

    `sequence` (1 to 255) goes with the type into DF0C of a REFUSED that answers it. `key_id`
    (DF27) names the keys that prove it, 4 bytes; None on a link without codes, and for HELLO.
    """

    lane: str
    message: HeardMessage
    sequence: int
    key_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """A message with a right code came that means nothing else to the engine (PING after WELCOME).

    The pairing that has these keys is on this line now (terminal-link §4.1). A `Heard` with a
    `key_id` says the same.
    """

    lane: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class LineUp:
    """The port is open. No HELLO has come yet."""

    lane: str


@dataclass(frozen=True, slots=True)
class LineDown:
    """The port is gone; nothing that was said and not answered can be relied on.

    `why` names the port and the remedy. It is told also when a port cannot be opened at first,
    and again when the kind of trouble changes.
    """

    lane: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class LineGivenUp:
    """No terminal is expected on this port any more: it was let go, and nothing is wrong with it."""

    lane: str


@dataclass(frozen=True, slots=True)
class UnknownKeys:
    """A HELLO named keys (DF27) that are not known: it got REFUSED 9, and nobody is on this line now.

    Whoever says it was paired with another bridge, or with this one before its registry was lost or
    its keys were forgotten.
    """

    lane: str
    hello: Hello


@dataclass(frozen=True, slots=True)
class PictureResult:
    """What became of a tender's image at the panel (terminal-link §5).

    `shown`: the terminal said that it shows it. Else nobody can pay from this panel: no format
    could be made, or all were answered since the HELLO and none by 0; `why` says so in words.
    Where the terminal says nothing at all about an image, nothing is told. `terminal_id` and
    `counter` are None for a test picture.
    """

    lane: str
    terminal_id: str | None
    counter: int | None
    shown: bool
    why: str


LaneEvent: TypeAlias = (
    Heard | Proved | LineUp | LineDown | LineGivenUp | UnknownKeys | PictureResult
)
