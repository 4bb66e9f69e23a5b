"""What a decision wants done, as values: say, show, ask PartPay, answer a waiting caller.

Effects are let out only after the batch that wrote them is durable (architecture, "One way through").
Who carries them out stands in `carrier.py`; the fault simulation has its own.
"""

from concurrent.futures import Future
from dataclasses import dataclass

from bridge.tender import Tender, Wanted
from drivers.link import messages as link


@dataclass(frozen=True, slots=True)
class Say:
    """One message to the terminal on this line."""

    lane: str
    message: link.Message


@dataclass(frozen=True, slots=True)
class Welcome:
    """WELCOME: the line may be spoken on from now. `paired` False: it is not this terminal's line.

    `hello`: the one that it answers. By the time it is said another terminal may have come to this line.
    """

    lane: str
    message: link.Welcome
    paired: bool
    hello: link.Hello


@dataclass(frozen=True, slots=True)
class Identify:
    """IDENTIFY: say HELLO."""

    lane: str


@dataclass(frozen=True, slots=True)
class ShowCode:
    """A picture of `payload` for the panel, from the start. `life_ends`: boot time in seconds."""

    lane: str
    accepted: link.Accepted
    payload: str
    order_number: str | None
    life_ends: float


@dataclass(frozen=True, slots=True)
class ClearPanel:
    """The picture goes at once. `after_outcome`: OUTCOME follows, which takes it away by itself."""

    lane: str
    after_outcome: bool = False


@dataclass(frozen=True, slots=True)
class ShowText:
    """DISPLAY_TEXT."""

    lane: str
    text: str


@dataclass(frozen=True, slots=True)
class ShowBeside:
    """What the display beside a terminal is to show now, in place of what it showed.

    `display`: its name in the registry. `payload`: what the code says; None: there is none to scan. `life_ends`:
    boot time in seconds, where time runs; None where it does not. `amount` and `state` in words.
    """

    display: str
    pairing: int
    terminal_id: str
    counter: int
    state: str
    amount: str
    payload: str | None = None
    order_number: str | None = None
    life_ends: float | None = None


@dataclass(frozen=True, slots=True)
class ClearBeside:
    """The tender has ended: its display shows nothing of it any more. Another tender's stays."""

    display: str
    pairing: int
    counter: int


@dataclass(frozen=True, slots=True)
class KeysProved:
    """A message has come under keys of this pair (`key_id` is DF27): the registry drops those from before them."""

    terminal_id: str
    serial_number: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class AskPartPay:
    """One call, as this tender was written when it was wanted."""

    tender: Tender
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP status that a waiting callback gets."""

    reply: "Future[int]"
    status: int


Effect = (
    Say
    | Welcome
    | Identify
    | ShowCode
    | ClearPanel
    | ShowText
    | ShowBeside
    | ClearBeside
    | KeysProved
    | AskPartPay
    | Answer
)
