"""What happens, as values: everything that reaches the engine's one queue.

What lanes tell stands in `lane_events.py`.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field

from bridge.lane_events import LaneEvent
from bridge.partpay.callback import SignedCallback
from bridge.tender import Ask


@dataclass(frozen=True, slots=True)
class PartPayAnswered:
    """The answer, as a value of `partpay.answers`, to one call for one attempt."""

    pairing: int
    counter: int
    attempt: int
    ask: Ask
    answer: object


@dataclass(frozen=True, slots=True)
class CodeRead:
    """What PartPay's picture says. `payload` None: `why`; `fetched`: there was a picture, but no code in it."""

    pairing: int
    counter: int
    attempt: int
    payload: str | None
    why: str = ""
    fetched: bool = True


@dataclass(frozen=True, slots=True)
class DisplayResult:
    """What became of a code on the display beside a terminal; `why` in words where it is not `shown`."""

    pairing: int
    counter: int
    payload: str
    shown: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class CallbackReceived:
    """A callback with a good signature. `reply` gets the HTTP status once it is written."""

    callback: SignedCallback
    reply: "Future[int]" = field(compare=False)


@dataclass(frozen=True, slots=True)
class RegistryChanged:
    """Merchants or terminals were changed; the next decision sees the new ones."""


@dataclass(frozen=True, slots=True)
class TechnicianAt:
    """A person is pairing on this line (`here`), or is not any more: that its device is not paired is known there."""

    lane: str
    here: bool


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A person has seen what needed attention. `entry` None: all of them."""

    entry: int | None
    who: str
    reply: "Future[int]" = field(compare=False)


Event = (
    LaneEvent
    | PartPayAnswered
    | CodeRead
    | DisplayResult
    | CallbackReceived
    | RegistryChanged
    | TechnicianAt
    | Acknowledged
)
