"""A payment terminal: every rule for the terminal's side of the terminal link, section 4.

Rules
- Pure: messages, a person's wishes and the time come in; actions come out. No I/O, no clock.
- Written before said: what must outlive a power cut is saved before the action that rests on it.
  A new `Terminal` on the same storage is this terminal after a power cut.
- It never decides whether money was taken (4.14): only OUTCOME, and the REFUSED of 4.9, end a sale.
- What is said again lies in three tables of timers: `_says` (TENDER, REFUND), `_cancels`,
  `_queries`. Who is in none of them is silent; after 15 s without a word all silent ones ask.
- Between HELLO and WELCOME, and while not paired, nothing but HELLO and the pairing dialogue is
  said; timers stand still.
- Codes are not its business: what comes here was taken by the session (section 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import cast

from drivers.display.geometry import Panel
from drivers.link import pairing
from drivers.link.authentication import SESSION_NONCE_BYTES
from drivers.link.messages import (
    CURRENCY_NZD,
    PROTOCOL_VERSION,
    Accepted,
    Cancel,
    DisplayClear,
    DisplayText,
    FromBridge,
    FromTerminal,
    Hello,
    Identify,
    ImageData,
    ImageOpen,
    ImageShow,
    ImageShown,
    ImageStatus,
    Message,
    Outcome,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Ping,
    Pong,
    Progress,
    Query,
    Reason,
    Refund,
    Refused,
    Stored,
    Tender,
    Welcome,
    values_of,
)
from tools.terminal.actions import (
    Action,
    Closed,
    Ending,
    Matter,
    NewCounter,
    PairingEnded,
    Ready,
    Send,
    ShowDigits,
    ShowImage,
    ShowText,
    TakeAway,
    TellPerson,
)
from tools.terminal.images import Intake, PanelImage
from tools.terminal.storage import (
    OUTCOMES_KEPT,
    Kept,
    KeptOutcome,
    Kind,
    Phase,
    Storage,
    Transaction,
)

HELLO_AGAIN_S = 5.0
"""HELLO until WELCOME comes (4.3)."""
HELLO_UNPAIRED_S = 60.0
"""HELLO while DF1D is 0 (4.1)."""
SAY_AGAIN_S = 3.0
"""TENDER, REFUND, CANCEL and QUERY without an answer (4.8)."""
PATIENCE_S = 60.0
"""CANCEL and QUERY are said again quickly for this long, then slowly (4.8)."""
SLOWLY_S = 60.0
SILENCE_S = 15.0
"""QUERY after this long without a word while something is open (4.10)."""
PING_S = 60.0
"""PING when idle (4.10)."""
NO_WELCOME_S = 60.0
"""A person is told after this long without a WELCOME (6)."""

PANEL = Panel(240, 320)
COUNTER_MAX = 99_999_999
OPEN_MAX = 16
"""Transactions open at once; more refunds than that are not begun."""
CANCELS_MAX = 32
"""Counters under cancellation at once, strangers' included."""
MEMORY_BYTES = 1 << 20
"""Room for one image where HELLO names no limit."""

_ENDS_TENDER = frozenset(
    {
        Reason.NOT_PAIRED,
        Reason.BUSY,
        Reason.BAD_AMOUNT,
        Reason.UNKNOWN_MERCHANT,
        Reason.CANNOT_WRITE,
    }
)
ENDS_SALE = {
    Kind.TENDER: _ENDS_TENDER,
    Kind.REFUND: _ENDS_TENDER | {Reason.NO_SUCH_TRANSACTION, Reason.NOT_REFUNDABLE},
}
"""The reasons that end a sale before any ACCEPTED (4.9)."""

_PAIRING_TYPES = frozenset({PairKey.type_code, PairConfirm.type_code})

_USED = frozenset({Phase.USED_FIRST, Phase.USED_AGAIN})


@dataclass(frozen=True, slots=True)
class Device:
    """What a terminal is, as its HELLO says it."""

    terminal_id: str
    serial_number: str
    model: str = "Simulated"
    firmware: str = "1.0"
    panel: Panel = PANEL
    formats: bytes = b"\x10\x83\x81\x03\x01"
    max_body: int = 4092
    largest_image: int | None = None
    text_size: bytes | None = None
    can_authenticate: bool = False
    """DF20: it can pair by six digits and speak the authenticated link."""


class State(Enum):
    """How the terminal stands with the bridge."""

    UNPLUGGED = "unplugged"
    GREETING = "greeting"
    UNPAIRED = "unpaired"
    READY = "ready"


class NotNow(RuntimeError):  # noqa: N818 - what the terminal's display would say
    """A person wants what cannot be done now; the message says why."""


@dataclass(slots=True)
class _Again:
    """One thing that is said again: when next, and since when."""

    at: float
    since: float

    def said(self, now: float) -> None:
        self.at = now + (SAY_AGAIN_S if now - self.since < PATIENCE_S else SLOWLY_S)


class Terminal:
    """One terminal under power. All times are seconds of one clock that never goes back.

    Every method that takes `now` returns what is to be done, in order. Methods a person calls raise
    NotNow. Storage that cannot be written raises OSError out of any of them: what rests on it was
    not said, and the terminal is to be taken for one whose power was cut.
    """

    def __init__(
        self,
        device: Device,
        storage: Storage,
        random_bytes: Callable[[int], bytes],
        can_show: Callable[[PanelImage], bool] = lambda _: True,
    ) -> None:
        """`random_bytes` gives so many, fresh each time: nonces, and keys of a pairing.

        `can_show` looks into a picture that came whole; False is answered by status 3.
        """
        self.device = device
        self.state = State.UNPLUGGED
        self.image: PanelImage | None = None
        self.text = ""
        self.paired: bool | None = None
        """What the last WELCOME said; None before the first."""
        self._storage = storage
        self._kept = storage.load()
        self._random_bytes = random_bytes
        self._can_show = can_show
        self._intake = Intake(
            device.formats,
            device.panel,
            MEMORY_BYTES if device.largest_image is None else device.largest_image,
        )
        self._out: list[Action] = []
        self._open: dict[int, Transaction] = {part.counter: part for part in self._kept.open}
        self._outcomes: dict[int, KeptOutcome] = {o.counter: o for o in self._kept.outcomes}
        self._life_ends: dict[int, float] = {}
        """By counter, for those with a matching ACCEPTED: when its picture goes."""
        self._says: dict[int, float] = {}
        self._cancels: dict[int, _Again] = {}
        self._queries: dict[int | None, _Again] = {}
        self._told: set[tuple[Matter, int | None]] = set()
        self._hello_out = False
        self._hello_at = 0.0
        """When the next HELLO may be said; it is, until WELCOME."""
        self._hello_said_at = -math.inf
        self._asked_for_hello = False
        self._nonce: bytes | None = None
        """DF25, until a WELCOME answers it."""
        self._pairing: pairing.TerminalPairing | None = None
        self._greeting_since = 0.0
        self._heard_at = 0.0
        self._said_at = 0.0

    # -- what can be seen --------------------------------------------------------------------

    @property
    def kept(self) -> Kept:
        """What is in its storage."""
        return self._kept

    @property
    def tender(self) -> Transaction | None:
        """The open TENDER; there is one at most."""
        for part in self._open.values():
            if part.kind is Kind.TENDER:
                return part
        return None

    # -- a person at the terminal ------------------------------------------------------------

    def sale(
        self,
        amount_minor: int,
        now: float,
        *,
        reference: str | None = None,
        merchant: str | None = None,
        operator: str | None = None,
        currency: int = CURRENCY_NZD,
    ) -> list[Action]:
        """Begin a sale."""
        if self.tender is not None:
            raise NotNow(f"sale {self.tender.counter} is still open")
        counter = self._next_counter()
        self._begin(
            Transaction(
                counter,
                Kind.TENDER,
                amount_minor,
                currency,
                merchant=merchant,
                reference=reference,
                operator=operator,
            ),
            now,
        )
        return self._done()

    def refund(
        self, original_counter: int, amount_minor: int, now: float, *, operator: str | None = None
    ) -> list[Action]:
        """Give back an amount of the sale `original_counter`."""
        if len(self._open) >= OPEN_MAX:
            raise NotNow(f"{len(self._open)} refunds are open; wait for their outcomes")
        self._begin(
            Transaction(
                self._next_counter(),
                Kind.REFUND,
                amount_minor,
                CURRENCY_NZD,
                operator=operator,
                original_counter=original_counter,
            ),
            now,
        )
        return self._done()

    def cancel(self, now: float) -> list[Action]:
        """End the open sale; the outcome says how it ended."""
        sale = self.tender
        if sale is None:
            raise NotNow("no sale is open")
        if sale.phase is Phase.PERSON:
            raise NotNow(f"say first whether {sale.counter}, as the bridge has it, is this sale")
        self._cancel_own(sale, now)
        return self._done()

    def query(self, now: float, counter: int | None = None) -> list[Action]:
        """Ask what became of `counter`, or of the last one."""
        if self.state is not State.READY:
            raise NotNow(self._why_not_ready())
        if counter is None and self.tender is not None:
            counter = self.tender.counter
        if counter in self._says:
            self._says[counter] = now
        else:
            self._queries[counter] = _Again(now, now)
        self._due(now)
        return self._done()

    def decide(self, counter: int, mine: bool, now: float) -> list[Action]:
        """A person says whether the sale that the bridge knows by `counter` is this one (4.9)."""
        sale = self._open.get(counter)
        if sale is None or sale.phase is not Phase.PERSON:
            raise NotNow(f"nothing is to be decided about {counter}")
        if not mine:
            self._another_counter(sale, now)
        elif (outcome := self._outcomes.get(counter)) is not None:
            self._drop(counter)
            self._save()
            self._close_by(sale, outcome)
        else:
            self._set(replace(sale, phase=Phase.ACCEPTED))
            self._save()
            if sale.cancelled:
                self._cancels[counter] = _Again(now, now)
        self._due(now)
        return self._done()

    def end(self, counter: int, now: float) -> list[Action]:
        """A person ends a sale that the bridge does not know, or while not paired (4.4, 4.9)."""
        sale = self._open.get(counter)
        if sale is None:
            raise NotNow(f"{counter} is not open")
        if not sale.stranger and self.paired is not False:
            raise NotNow(f"{counter} is known to the bridge, which alone can end it: cancel it")
        self._close(sale, Ending.BY_PERSON)
        self._due(now)
        return self._done()

    def pair(self, now: float) -> list[Action]:
        """Open pairing at the terminal's own menu: it waits for the bridge's PAIR_OPEN (6)."""
        if not self.device.can_authenticate:
            raise NotNow("this terminal cannot authenticate")
        if self.state is State.UNPLUGGED:
            raise NotNow(self._why_not_ready())
        if self._pairing is not None:
            raise NotNow("pairing is open already")
        share = pairing.Share(
            self._random_bytes(pairing.PRIVATE_KEY_BYTES),
            self._random_bytes(pairing.PAIRING_NONCE_BYTES),
        )
        self._pairing = pairing.TerminalPairing(share, self.device.terminal_id, now)
        return self._done()

    def confirm(self, yes: bool, now: float) -> list[Action]:
        """A person has compared the six digits."""
        if self._pairing is None:
            raise NotNow("pairing is not open")
        self._step(self._pairing.person_says(yes), now)
        return self._done()

    def forget_keys(self, now: float) -> list[Action]:
        """Remove the keys, at the terminal's own menu alone (6)."""
        self._save(keys=None)
        if self.state is not State.UNPLUGGED:
            self._greet(now)
        return self._done()

    # -- the line ----------------------------------------------------------------------------

    def plugged(self, now: float) -> list[Action]:
        """The cable is in, or the power has come: HELLO."""
        self.state = State.UNPLUGGED
        self._greet(now)
        return self._done()

    def unplugged(self) -> list[Action]:
        """The cable is out."""
        self.state = State.UNPLUGGED
        self._hello_out = False
        self._intake.drop()
        return self._done()

    def delivered(self, message: Message) -> None:
        """The other end has acknowledged `message`."""
        if type(message) is Hello:
            self._hello_out = False

    def given_up(self, message: Message, now: float) -> list[Action]:
        """Nobody acknowledged `message`: HELLO, unless it is on its way already (4.3)."""
        if type(message) is Hello:
            self._hello_out = False
        if self.state in (State.READY, State.UNPAIRED):
            self._greet(now)
        return self._done()

    def not_authentic(self, now: float) -> list[Action]:
        """A message came whose code is wrong or missing: HELLO, at most every 5 s (6)."""
        if self.state in (State.READY, State.UNPAIRED):
            self._greet_when_asked(now)
        return self._done()

    def handle(
        self, message: FromBridge, now: float, refused: Message | None = None
    ) -> list[Action]:
        """A message has come. `refused` is the one that a REFUSED means, where that is known."""
        if self.state is State.UNPLUGGED:
            return []
        self._heard_at = now
        match message:
            case Identify():
                self._greet_when_asked(now)
            case Welcome():
                self._on_welcome(message, now)
            case PairOpen() | PairReveal() | PairDone():
                self._on_pairing(message, now)
            case DisplayClear() | DisplayText() if self.state is not State.GREETING:
                self._on_display(message)
            case Refused(reason=Reason.NOT_UNDERSTOOD) if message.refused[0] in _PAIRING_TYPES:
                self._on_pairing(message, now)
            case Refused(reason=Reason.NOT_AUTHENTICATED | Reason.SAY_HELLO):
                self._on_pairing(message, now)
                # While greeting it is about something said before: HELLO is on its way.
                if self.state is not State.GREETING and self._names_me(message, now):
                    self._greet_when_asked(now)
            case _ if self.state is not State.READY:
                pass
            case Accepted():
                if self._names_me(message, now):
                    self._on_accepted(message, now)
            case Progress():
                if self._names_me(message, now):
                    self._on_progress(message, now)
            case Outcome():
                if self._names_me(message, now):
                    self._on_outcome(message, now)
            case Refused():
                if self._names_me(message, now):
                    self._on_refused(message, refused, now)
            case ImageOpen():
                if self._names_me(message, now):
                    self._on_image_open(message, now)
            case ImageData():
                self._intake.data(message)
            case ImageShow():
                self._on_image_show(message, now)
            case Pong():
                pass
            case _:
                pass
        self._due(now)
        return self._done()

    # -- time --------------------------------------------------------------------------------

    def next_wake(self) -> float | None:
        """When `wake` has something to do next; None: not before something is heard."""
        times = []
        if self.image is not None and self.image.counter is not None:
            times.append(self._life_ends.get(self.image.counter, -math.inf))
        if self._pairing is not None and self._pairing.next_wake is not None:
            times.append(self._pairing.next_wake)
        match self.state:
            case State.UNPLUGGED:
                pass
            case State.GREETING | State.UNPAIRED:
                times.append(self._hello_at)
            case State.READY:
                if self._asked_for_hello:
                    times.append(self._hello_at)
                times.extend(self._says.values())
                times.extend([again.at for again in self._cancels.values()])
                times.extend([again.at for again in self._queries.values()])
                if not self._open:
                    times.append(max(self._heard_at, self._said_at) + PING_S)
                elif self._silent():
                    times.append(self._heard_at + SILENCE_S)
        return min(times, default=None)

    def wake(self, now: float) -> list[Action]:
        """Do what is due; nothing happens where nothing is."""
        self._due(now)
        return self._done()

    def _due(self, now: float) -> None:
        shown = self.image
        if shown is not None and self._life_over(shown, now):
            self._take_away()
        if self._pairing is not None:
            self._step(self._pairing.wake(now), now)
        if self._asked_for_hello and now >= self._hello_at:
            self._greet(now)
        match self.state:
            case State.UNPLUGGED:
                pass
            case State.GREETING:
                if now >= self._hello_at:
                    self._hello(now)
                if now - self._greeting_since >= NO_WELCOME_S:
                    self._tell(Matter.NO_WELCOME, None, "The bridge does not answer")
            case State.UNPAIRED:
                if now >= self._hello_at:
                    self._greet(now)
            case State.READY:
                self._say_what_is_due(now)

    def _say_what_is_due(self, now: float) -> None:
        for counter, at in list(self._says.items()):
            if now >= at:
                self._say_transaction(self._open[counter], now)
        for counter, again in self._cancels.items():
            if now >= again.at:
                again.said(now)
                self._say(Cancel(self.device.terminal_id, counter), now)
        if now >= self._heard_at + SILENCE_S:
            for counter in self._silent():
                self._queries[counter] = _Again(now, now)
        for asked, again in self._queries.items():
            if now >= again.at:
                again.said(now)
                self._say(Query(self.device.terminal_id, asked), now)
        if not self._open and now >= max(self._heard_at, self._said_at) + PING_S:
            self._say(Ping(), now)

    def _silent(self) -> list[int]:
        """What is open and said again by no timer."""
        return [
            counter
            for counter in self._open
            if counter not in self._says
            and counter not in self._cancels
            and counter not in self._queries
        ]

    # -- saying ------------------------------------------------------------------------------

    def _done(self) -> list[Action]:
        out, self._out = self._out, []
        return out

    def _say(self, message: FromTerminal, now: float) -> None:
        self._said_at = now
        self._out.append(Send(message))

    def _greet(self, now: float) -> None:
        """HELLO now, and every 5 s until WELCOME. One HELLO is under way at a time."""
        if self.state is not State.GREETING:
            self.state = State.GREETING
            self._greeting_since = now
        self._asked_for_hello = False
        self._intake.drop()
        self._hello(now)

    def _greet_when_asked(self, now: float) -> None:
        """Whoever asks is not proved to be the bridge: with keys, one HELLO in 5 s and no more."""
        if self._kept.keys is None:
            self._greet(now)
        elif self.state is not State.GREETING:
            self._hello_at = min(self._hello_at, self._hello_said_at + HELLO_AGAIN_S)
            self._asked_for_hello = True

    def _hello(self, now: float) -> None:
        self._hello_at = now + HELLO_AGAIN_S
        if self._hello_out:
            return
        self._hello_out = True
        self._hello_said_at = now
        device, keys = self.device, self._kept.keys
        if device.can_authenticate and self._nonce is None:
            self._nonce = self._random_bytes(SESSION_NONCE_BYTES)
        self._say(
            Hello(
                terminal_id=device.terminal_id,
                serial_number=device.serial_number,
                version=PROTOCOL_VERSION,
                model=device.model,
                firmware=device.firmware,
                panel_width=device.panel.width,
                panel_height=device.panel.height,
                formats=device.formats,
                max_body=device.max_body,
                largest_image=device.largest_image,
                text_size=device.text_size,
                can_authenticate=1 if device.can_authenticate else None,
                session_nonce=self._nonce,
                key_id=None if keys is None else keys.identifier,
            ),
            now,
        )

    def _say_transaction(self, part: Transaction, now: float) -> None:
        """TENDER or REFUND; that it was said is written down before."""
        if part.times_said < 2:
            part = replace(part, times_said=part.times_said + 1)
            self._set(part)
            self._save()
        self._say_stored(part, now)

    def _say_stored(self, part: Transaction, now: float) -> None:
        self._says[part.counter] = now + SAY_AGAIN_S
        self._say(self._message(part), now)

    def _message(self, part: Transaction) -> Tender | Refund:
        terminal_id = self.device.terminal_id
        match part.kind:
            case Kind.TENDER:
                return Tender(
                    terminal_id,
                    part.counter,
                    part.amount_minor,
                    part.currency,
                    part.merchant,
                    part.reference,
                    part.operator,
                )
            case Kind.REFUND:
                assert part.original_counter is not None
                return Refund(
                    terminal_id,
                    part.counter,
                    part.original_counter,
                    part.amount_minor,
                    part.operator,
                )

    def _tell(self, matter: Matter, counter: int | None, text: str) -> None:
        """Tell a person, once."""
        if (matter, counter) not in self._told:
            self._told.add((matter, counter))
            self._out.append(TellPerson(matter, counter, text))

    def _show_text(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._out.append(ShowText(text))

    # -- storage -----------------------------------------------------------------------------

    def _set(self, part: Transaction) -> None:
        self._open[part.counter] = part

    def _drop(self, counter: int) -> None:
        del self._open[counter]
        self._says.pop(counter, None)
        self._cancels.pop(counter, None)
        self._queries.pop(counter, None)
        self._life_ends.pop(counter, None)
        if self.image is not None and self.image.counter == counter:
            self._take_away()

    def _save(self, **changes: object) -> None:
        kept = replace(
            self._kept,
            open=tuple(self._open.values()),
            outcomes=tuple(self._outcomes.values()),
            **changes,  # type: ignore[arg-type]
        )
        self._storage.save(kept)
        self._kept = kept

    def _next_counter(self) -> int:
        if self.state is not State.READY:
            raise NotNow(self._why_not_ready())
        if self._kept.counter >= COUNTER_MAX:
            raise NotNow("the counters are used up: the terminal must be paired afresh")
        return self._kept.counter + 1

    def _why_not_ready(self) -> str:
        return {
            State.UNPLUGGED: "the cable is out",
            State.GREETING: "the bridge has not said WELCOME",
            State.UNPAIRED: "the terminal is not paired",
            State.READY: "",
        }[self.state]

    # -- a transaction's course --------------------------------------------------------------

    def _begin(self, part: Transaction, now: float) -> None:
        try:
            values_of(self._message(part))
        except ValueError as fault:
            raise NotNow(f"this cannot be said: {fault}") from fault
        if self.image is not None and part.kind is Kind.TENDER:
            self._take_away()
        part = replace(part, times_said=1)
        self._set(part)
        # Only where the storage was tampered with: an old outcome is not this sale's.
        self._outcomes.pop(part.counter, None)
        self._save(counter=part.counter)
        self._say_stored(part, now)

    def _cancel_own(self, part: Transaction, now: float) -> None:
        """From here on the TENDER is not said any more (4.8)."""
        if not part.cancelled:
            self._set(replace(part, cancelled=True))
            self._save()
        self._says.pop(part.counter, None)
        if part.counter not in self._cancels:
            self._cancels[part.counter] = _Again(now, now)
        self._due(now)

    def _cancel_stranger(self, counter: int, now: float) -> None:
        """A counter that is not open here (4.8)."""
        if counter not in self._cancels and len(self._cancels) < CANCELS_MAX:
            self._cancels[counter] = _Again(now, now)

    def _another_counter(self, part: Transaction, now: float) -> None:
        """The counter was somebody else's; a sale that was cancelled meanwhile is over (4.9)."""
        if part.cancelled:
            self._close(part, Ending.NEVER_TAKEN)
            return
        counter = self._kept.counter + 1
        self._drop(part.counter)
        self._set(replace(part, counter=counter, phase=Phase.SAID, times_said=0, stranger=False))
        self._save(counter=counter)
        self._says[counter] = now
        self._out.append(NewCounter(part.counter, counter))

    def _close(
        self, part: Transaction, ending: Ending, reason: int | None = None, text: str = ""
    ) -> None:
        self._drop(part.counter)
        self._save()
        self._out.append(
            Closed(part.counter, part.kind, ending, part.amount_minor, reason=reason, text=text)
        )

    def _close_by(self, part: Transaction, outcome: KeptOutcome) -> None:
        """Its outcome is in the storage already, and the transaction is not any more."""
        if outcome.response_code != "00":
            ending = Ending.NOT_APPROVED
        elif outcome.amount_minor == part.amount_minor:
            ending = Ending.APPROVED
        else:
            ending = Ending.UNBOOKED
            self._tell(
                Matter.UNBOOKED,
                part.counter,
                f"{part.counter}: approved for {outcome.amount_minor}, it was {part.amount_minor}: "
                "not booked",
            )
        self._out.append(
            Closed(
                part.counter,
                part.kind,
                ending,
                part.amount_minor,
                outcome.response_code,
                text=outcome.text,
                order_number=outcome.order_number,
            )
        )

    # -- what the bridge says ----------------------------------------------------------------

    def _names_me(
        self, message: Accepted | Progress | Outcome | Refused | ImageOpen, now: float
    ) -> bool:
        """False where it names another terminal: it is dropped, and HELLO said (4.2)."""
        if message.terminal_id is None or message.terminal_id == self.device.terminal_id:
            return True
        self._greet(now)
        return False

    def _on_welcome(self, message: Welcome, now: float) -> None:
        paired = message.paired == 1
        told = message.counter or 0
        kept = self._kept
        first = kept.journal_id is None
        other = not first and (
            kept.journal_id != message.journal_id or (paired and told < kept.highest_accepted)
        )
        if other:
            for part in list(self._open.values()):
                if part.times_said:
                    self._set(replace(part, stranger=True))
        highest = min(kept.highest_accepted, told) if other else kept.highest_accepted
        counter = max(kept.counter, told) if paired else kept.counter
        if other or first or counter != kept.counter:
            self._save(journal_id=message.journal_id, highest_accepted=highest, counter=counter)
        self._told.discard((Matter.NO_WELCOME, None))
        self._nonce = None
        self._asked_for_hello = False
        self.paired = paired
        self._out.append(Ready(paired))
        if not paired:
            self.state = State.UNPAIRED
            self._hello_at = now + HELLO_UNPAIRED_S
            self._tell(Matter.NOT_PAIRED, None, "Not paired: call the technician")
            return
        self._told.discard((Matter.NOT_PAIRED, None))
        self.state = State.READY
        if kept.keys is not None:
            # Only after this the bridge knows which line is ours, and tells what is open (4.1).
            self._say(Ping(), now)
        for again in self._cancels.values():
            again.at = again.since = now
        for part in list(self._open.values()):
            self._take_up(part, told, now)

    def _take_up(self, part: Transaction, told: int, now: float) -> None:
        """After a WELCOME: what this transaction says, at once (4.8, 4.9)."""
        counter = part.counter
        self._says.pop(counter, None)
        if part.stranger:
            self._tell(
                Matter.OTHER_JOURNAL,
                counter,
                f"{part.kind.value} {counter}: the bridge has another journal and does not know it",
            )
        if part.cancelled and part.phase is not Phase.PERSON:
            self._cancels[counter] = _Again(now, now)
        match part.phase:
            case Phase.SAID if not part.times_said and counter <= told:
                self._another_counter(part, now)
            case Phase.SAID if not part.cancelled and not part.stranger:
                self._says[counter] = now
            case Phase.USED_FIRST | Phase.USED_AGAIN:
                self._queries[counter] = _Again(now, now)
            case Phase.SAID | Phase.PERSON | Phase.ACCEPTED:
                pass

    def _on_pairing(self, message: FromBridge, now: float) -> None:
        if self._pairing is not None:
            self._step(self._pairing.receive(message), now)

    def _step(self, steps: list[pairing.Step], now: float) -> None:
        """What the pairing dialogue wants done, in its order (6)."""
        for step in steps:
            match step:
                case pairing.Send(message):
                    self._say(cast(FromTerminal, message), now)
                case pairing.Compare(digits):
                    self._out.append(ShowDigits(digits))
                case pairing.Keep(keys):
                    self._save(keys=keys)
                case pairing.Ended(why):
                    self._pairing = None
                    self._out.append(PairingEnded(why))
                    if why is pairing.End.PAIRED:
                        self._greet(now)
                case pairing.Refuse():
                    raise AssertionError("a terminal refuses nothing")

    def _on_accepted(self, message: Accepted, now: float) -> None:
        part = self._open.get(message.counter)
        if part is None:
            self._cancel_stranger(message.counter, now)
            return
        own = message.amount_minor == part.amount_minor and (
            part.kind is Kind.REFUND or message.currency == part.currency
        )
        if part.phase in _USED:
            self._found_used(part, own, now)
            return
        if part.phase is Phase.PERSON:
            return
        highest = max(self._kept.highest_accepted, part.counter)
        self._says.pop(part.counter, None)
        if part.phase is Phase.SAID or highest != self._kept.highest_accepted:
            part = replace(part, phase=Phase.ACCEPTED)
            self._set(part)
            self._save(highest_accepted=highest)
        if own:
            self._life_ends[part.counter] = now + message.seconds_left
        else:
            self._other_amount(part, message.amount_minor, now)

    def _on_progress(self, message: Progress, now: float) -> None:
        part = self._open.get(message.counter)
        self._answered(message.counter)
        self._show_text(message.text)
        if part is None:
            self._cancel_stranger(message.counter, now)
            return
        own = message.amount_minor == part.amount_minor
        if part.phase in _USED:
            self._found_used(part, own, now)
        elif part.phase is Phase.PERSON:
            pass
        elif not own:
            self._other_amount(part, message.amount_minor, now)
        elif part.counter in self._life_ends:
            self._life_ends[part.counter] = now + message.seconds_left

    def _on_outcome(self, message: Outcome, now: float) -> None:
        counter = message.counter
        self._answered(counter)
        self._show_text(message.text)
        kept = self._outcomes.get(counter)
        if kept is not None:
            if kept.response_code != message.response_code:
                self._tell(
                    Matter.OTHER_CODE,
                    counter,
                    f"{counter} ended with {kept.response_code}, and now "
                    f"{message.response_code} is told",
                )
            self._cancels.pop(counter, None)
            self._stored(kept, now)
            # Power went between keeping the outcome and taking up the sale that had asked about its counter.
            if (part := self._open.get(counter)) is not None and part.phase in _USED:
                self._found_used(part, kept.amount_minor == part.amount_minor, now)
            return
        outcome = KeptOutcome(
            counter,
            message.response_code,
            message.amount_minor,
            message.text,
            message.order_number,
            message.order_id,
        )
        self._outcomes[counter] = outcome
        while len(self._outcomes) > OUTCOMES_KEPT:
            del self._outcomes[next(iter(self._outcomes))]
        part = self._open.get(counter)
        if part is not None and part.phase not in _USED and part.phase is not Phase.PERSON:
            self._drop(counter)
            self._save()
            self._stored(outcome, now)
            self._close_by(part, outcome)
            return
        self._save()
        self._stored(outcome, now)
        if part is None:
            self._cancels.pop(counter, None)
            self._tell(
                Matter.UNKNOWN_OUTCOME,
                counter,
                f"{counter} is not known here: {outcome.response_code} {outcome.text}",
            )
        elif part.phase in _USED:
            self._found_used(part, message.amount_minor == part.amount_minor, now)

    def _on_refused(self, message: Refused, refused: Message | None, now: float) -> None:
        kind = message.refused[0]
        counter = getattr(refused, "counter", None) if refused is not None else message.counter
        if kind == Query.type_code:
            self._on_query_refused(message, counter, now)
            return
        part = self._refused_transaction(kind, counter)
        if kind == Cancel.type_code and message.reason == Reason.NO_SUCH_TRANSACTION:
            number = counter if part is None else part.counter
            if number is not None:
                self._cancels.pop(number, None)
            if part is None:
                return
            if part.stranger or part.phase not in (Phase.SAID, *_USED):
                self._not_known_there(part)
            else:
                self._close(part, Ending.NEVER_TAKEN, message.reason, message.text)
            return
        if part is None or kind not in (Tender.type_code, Refund.type_code):
            return
        if message.reason == Reason.COUNTER_USED:
            self._says.pop(part.counter, None)
            if part.phase is Phase.SAID:
                first = part.times_said <= 1
                phase = Phase.USED_FIRST if first else Phase.USED_AGAIN
                self._set(replace(part, phase=phase))
                self._save()
            self._queries[part.counter] = _Again(now, now)
        elif part.phase is Phase.SAID and message.reason in ENDS_SALE[part.kind]:
            self._close(part, Ending.REFUSED, message.reason, message.text)
            self._show_text(message.text)

    def _on_query_refused(self, message: Refused, counter: int | None, now: float) -> None:
        part = self._open.get(counter) if counter is not None else None
        if message.reason != Reason.NO_SUCH_TRANSACTION:
            # Not understood, or not now: it is said again, but only where something rests on it.
            if part is None:
                self._answered(counter)
            return
        self._answered(counter)
        if part is None:
            self._show_text(message.text)
        elif part.phase in _USED:
            self._another_counter(part, now)
        else:
            self._not_known_there(part)

    def _refused_transaction(self, kind: int, counter: int | None) -> Transaction | None:
        """What a REFUSED of a TENDER, CANCEL or REFUND is about."""
        wanted = Kind.REFUND if kind == Refund.type_code else Kind.TENDER
        if counter is not None:
            part = self._open.get(counter)
            return part if part is not None and part.kind is wanted else None
        if wanted is Kind.TENDER:
            return self.tender
        waiting = [self._open[number] for number in self._says if number in self._open]
        refunds = [part for part in waiting if part.kind is Kind.REFUND]
        return refunds[0] if len(refunds) == 1 else None

    def _answered(self, counter: int | None) -> None:
        """A QUERY for this counter, or for the last one, has its answer."""
        self._queries.pop(counter, None)
        self._queries.pop(None, None)

    def _found_used(self, part: Transaction, own: bool, now: float) -> None:
        """After REFUSED 3 the bridge has told what it knows by that counter (4.9)."""
        self._queries.pop(part.counter, None)
        if not own:
            self._another_counter(part, now)
        elif part.phase is Phase.USED_FIRST:
            self._cancels.pop(part.counter, None)
            self._set(replace(part, phase=Phase.PERSON))
            self._save()
            self._tell(
                Matter.DECIDE,
                part.counter,
                f"The bridge knows a sale {part.counter} of this amount. Is it this one?",
            )
        elif (outcome := self._outcomes.get(part.counter)) is not None:
            self._drop(part.counter)
            self._save()
            self._close_by(part, outcome)
        else:
            self._set(replace(part, phase=Phase.ACCEPTED))
            self._save(highest_accepted=max(self._kept.highest_accepted, part.counter))

    def _other_amount(self, part: Transaction, amount_minor: int, now: float) -> None:
        self._life_ends.pop(part.counter, None)
        self._tell(
            Matter.OTHER_AMOUNT,
            part.counter,
            f"{part.counter}: the bridge says {amount_minor}, it was {part.amount_minor}",
        )
        self._cancel_own(part, now)

    def _not_known_there(self, part: Transaction) -> None:
        self._tell(
            Matter.NOT_KNOWN_THERE,
            part.counter,
            f"The bridge does not know {part.kind.value} {part.counter}: call support",
        )

    def _stored(self, outcome: KeptOutcome, now: float) -> None:
        self._say(Stored(self.device.terminal_id, outcome.counter, outcome.response_code), now)

    # -- the panel ---------------------------------------------------------------------------

    def _life_over(self, image: PanelImage, now: float) -> bool:
        """Never of a test picture."""
        if image.counter is None:
            return False
        return now >= self._life_ends.get(image.counter, -math.inf)

    def _take_away(self) -> None:
        shown, self.image = self.image, None
        assert shown is not None
        self._out.append(TakeAway(shown.counter))

    def _on_display(self, message: DisplayClear | DisplayText) -> None:
        if isinstance(message, DisplayText):
            self._show_text(message.text)
            return
        self._intake.drop()
        if self.image is not None:
            self._take_away()
        self._show_text("")

    def _on_image_open(self, message: ImageOpen, now: float) -> None:
        status = self._intake.open(message)
        if status is not None:
            self._say(ImageStatus(message.image_id, status), now)

    def _on_image_show(self, message: ImageShow, now: float) -> None:
        taken = self._intake.show(message)
        if isinstance(taken, PanelImage):
            status = self._may_show(taken, now)
            if status is ImageShown.SHOWN:
                self.image = taken
                self._out.append(ShowImage(taken))
            self._intake.answered(taken.image_id, status)
        else:
            status = taken
        self._say(ImageStatus(message.image_id, status), now)

    def _may_show(self, image: PanelImage, now: float) -> ImageShown:
        """No picture of a tender before a matching ACCEPTED or after its life (5)."""
        if image.counter is None:
            if self.tender is not None:
                return ImageShown.BAD_CHECK
        elif image.counter not in self._life_ends or self._life_over(image, now):
            return ImageShown.BAD_CHECK
        return ImageShown.SHOWN if self._can_show(image) else ImageShown.UNKNOWN_FORMAT
