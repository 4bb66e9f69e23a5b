"""What a terminal does: the values that come out of `core.py`, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from drivers.link.messages import FromTerminal
from drivers.link.pairing import End
from tools.terminal.images import PanelImage
from tools.terminal.storage import Kind


class Ending(Enum):
    """How a sale or refund ended at the terminal."""

    APPROVED = "approved"
    """OUTCOME 00 with its own amount: booked."""
    NOT_APPROVED = "not-approved"
    """OUTCOME with another code: no money is taken."""
    UNBOOKED = "unbooked"
    """OUTCOME 00 with another amount: a person must look."""
    REFUSED = "refused"
    """REFUSED before any ACCEPTED."""
    NEVER_TAKEN = "never-taken"
    """Cancelled, and the bridge has never had it."""
    BY_PERSON = "by-person"
    """Ended by a person, because the bridge does not know it or the terminal is not paired."""


class Matter(Enum):
    """Why a person is told something."""

    NOT_PAIRED = "not-paired"
    NO_WELCOME = "no-welcome"
    OTHER_JOURNAL = "other-journal"
    OTHER_AMOUNT = "other-amount"
    OTHER_CODE = "other-code"
    UNBOOKED = "unbooked"
    UNKNOWN_OUTCOME = "unknown-outcome"
    NOT_KNOWN_THERE = "not-known-there"
    DECIDE = "decide"


@dataclass(frozen=True, slots=True)
class Send:
    """Say this to the bridge."""

    message: FromTerminal


@dataclass(frozen=True, slots=True)
class ShowImage:
    """The picture is on the panel now."""

    image: PanelImage


@dataclass(frozen=True, slots=True)
class TakeAway:
    """The picture is off the panel."""

    counter: int | None


@dataclass(frozen=True, slots=True)
class ShowText:
    """Text beside the picture, up to 160 bytes, with line breaks; empty: none."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The bridge has said WELCOME; `paired` False: nothing can be sold here yet."""

    paired: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """A sale or refund has ended at this terminal."""

    counter: int
    kind: Kind
    ending: Ending
    amount_minor: int
    response_code: str | None = None
    reason: int | None = None
    text: str = ""
    order_number: str | None = None


@dataclass(frozen=True, slots=True)
class NewCounter:
    """The sale goes on under another counter: the old one was somebody else's."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class TellPerson:
    """Something that a person has to see; `counter` is None where it is about the terminal."""

    matter: Matter
    counter: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ShowDigits:
    """Six digits: a person is to say whether the bridge shows the same."""

    digits: str


@dataclass(frozen=True, slots=True)
class PairingEnded:
    """The dialogue of the six digits is over."""

    why: End


Action: TypeAlias = (
    Send
    | ShowImage
    | TakeAway
    | ShowText
    | Ready
    | Closed
    | NewCounter
    | TellPerson
    | ShowDigits
    | PairingEnded
)
