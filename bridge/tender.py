"""The life of a tender: what is remembered of it, and the values that its rules pass around.

    accepted --> ordered --> closing --> closed        (architecture, "The life of a tender")

- A tender is *open* while it has no outcome. Its outcome is written once and never changes.
- An `Attempt` is one try for an order at PartPay, under two references that were never used before.
  What is known of it is kept by evidence: `told` is E1 (PartPay's answer to a question by the order's id),
  `signed` is E2 (a callback with a good signature).
- `Run` is what a restart forgets without harm: calls under way, pauses, pictures not yet read.
  After a restart it is empty, and so everything that is wanted is wanted at once.

Nothing here reads a clock, a file or a socket: `Circumstances` carries the time, and what else must be asked.
How a tender goes on stands in `sale.py`, `refund.py` and `reversal.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from bridge.partpay.answers import AtUrl, Inline

PAID: Final = frozenset({"approved", "complete"})
DEAD: Final = frozenset({"declined", "expired", "cancelled"})
FINAL: Final = PAID | DEAD


class Kind(StrEnum):
    TENDER = "tender"
    REFUND = "refund"


class State(StrEnum):
    ACCEPTED = "accepted"
    ORDERED = "ordered"
    CLOSING = "closing"
    CLOSED = "closed"


class Owed(StrEnum):
    """Whether a reversal is owed for an attempt: cancel, or refund where it was paid, until it is certain."""

    NONE = "none"
    OWED = "owed"
    DONE = "done"
    ABANDONED = "abandoned"


class Ask(StrEnum):
    """What can be asked of PartPay for one attempt; at most one of each is under way."""

    CREATE = "create"
    ORDER = "order"
    PICTURE = "picture"
    STATUS = "status"
    CANCEL = "cancel"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Run:
    """What a restart forgets. `due`: not before this boot time, in seconds; absent means now."""

    flights: frozenset[Ask] = frozenset()
    due: Mapping[Ask, float] = field(default_factory=dict)
    tries: Mapping[Ask, int] = field(default_factory=dict)
    picture: Inline | AtUrl | None = None
    fingerprint: str | None = None
    same_fingerprint: int = 0
    check: bool = False
    unknown_since: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try for an order. `sent`: a create went out, or may have. `uncertain`: one of them had no certain
    answer, so an order may exist. `void`: certain that no order of ours stands under these references."""

    number: int
    gateway_reference: str
    merchant_reference: str
    sent: bool = False
    uncertain: bool = False
    void: bool = False
    found: bool = False
    order_id: str | None = None
    order_number: str | None = None
    ordered_at: float | None = None
    told: str | None = None
    signed: str | None = None
    signed_at: float | None = None
    disputes: int = 0
    payload: str | None = None
    picture_failures: int = 0
    shown: bool = False
    dropped: bool = False
    refusals: int = 0
    owed: Owed = Owed.NONE
    owed_since: float | None = None
    owed_tries: int = 0
    refunded: bool = False
    run: Run = field(default=Run(), compare=False, hash=False)

    @property
    def dead(self) -> bool:
        """Certain (E1) that nobody can pay it any more and nobody has."""
        return self.void or self.told in DEAD

    @property
    def unproven(self) -> bool:
        """Its id is out of a 302, and PartPay has not yet told whose it is: perhaps another till's order, which
        is not ours to ask about, to cancel, or to believe."""
        return self.found and self.told is None and self.signed is None

    def flies(self, ask: Ask) -> bool:
        return ask in self.run.flights

    def due(self, ask: Ask) -> float:
        return self.run.due.get(ask, float("-inf"))

    def departs(self, ask: Ask) -> "Attempt":
        return replace(self, run=replace(self.run, flights=self.run.flights | {ask}))

    def lands(self, ask: Ask) -> "Attempt":
        return replace(self, run=replace(self.run, flights=self.run.flights - {ask}))

    def again(self, ask: Ask, at: float) -> "Attempt":
        """Ask once more, not before `at`; the number of tries goes up."""
        run = self.run
        tries = {**run.tries, ask: run.tries.get(ask, 0) + 1}
        return replace(self, run=replace(run, due={**run.due, ask: at}, tries=tries))

    def at_once(self, *asks: Ask) -> "Attempt":
        """Whatever pause these were in ends, and their tries begin anew."""
        run = self.run
        due = {k: v for k, v in run.due.items() if k not in asks}
        tries = {k: v for k, v in run.tries.items() if k not in asks}
        return replace(self, run=replace(run, due=due, tries=tries))

    def tries(self, ask: Ask) -> int:
        return self.run.tries.get(ask, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said to the terminal, fixed when it is written. `local_date` YYMMDD, `local_time` hhmmss."""

    code: str
    text: str
    local_date: int
    local_time: int
    order_number: str | None
    order_id: str | None


@dataclass(frozen=True, slots=True)
class Tender:
    """A tender or a refund of one terminal, known by its pairing and its counter.

    `amount_minor` in minor units. `deadline`, `create_deadline`, `hold_until`: boot time in seconds, of the boot
    `boot`. `deadline` is the one of the present state: to have an order (accepted), the order's life (ordered),
    the end of asking for a cancel (closing).
    """

    pairing: int
    terminal_id: str
    counter: int
    kind: Kind
    merchant: str
    amount_minor: int
    currency: int
    accepted_at: str
    boot: str
    deadline: float
    create_deadline: float
    asked_merchant: str | None = None
    reference: str | None = None
    operator: str | None = None
    state: State = State.ACCEPTED
    hold_until: float | None = None
    renewed: bool = False
    closing_code: str | None = None
    why: str | None = None
    attempts: tuple[Attempt, ...] = ()
    original_counter: int | None = None
    outcome: Outcome | None = None
    closed_at: float | None = None
    stored: bool = False

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    @property
    def attempt(self) -> Attempt:
        """The one that counts now."""
        return self.attempts[-1]

    @property
    def reversal(self) -> Owed:
        """The one word for all attempts: what is still owed hides what is done."""
        if self.kind is Kind.REFUND:
            return Owed.NONE
        states = {a.owed for a in self.attempts}
        for state in (Owed.OWED, Owed.ABANDONED, Owed.DONE):
            if state in states:
                return state
        return Owed.NONE

    @property
    def is_settled(self) -> bool:
        """Nothing is open, owed or unstored."""
        return not self.is_open and self.stored and self.reversal is not Owed.OWED

    def with_attempt(self, attempt: Attempt) -> "Tender":
        """This tender with `attempt` in place of the one of its number; itself where that is the same."""
        place = attempt.number - 1
        if self.attempts[place] is attempt:
            return self
        attempts = (*self.attempts[:place], attempt, *self.attempts[place + 1 :])
        return replace(self, attempts=attempts)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; `[timing]` of the configuration."""

    order_lifetime: float = 300.0
    create_timeout: float = 30.0
    cancel_timeout: float = 20.0
    poll_first: float = 2.0
    poll_interval: float = 3.0
    stored_alert: float = 600.0


class Confirm(StrEnum):
    """How far a signed callback is believed by itself; `confirm_callbacks` of the configuration."""

    OFF = "off"
    PREFER = "prefer"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should see: `attention` lists it until it is acknowledged.

    `counter`: of the tender that it is about; None: of none. `terminal`, `port`: where it is about no tender, for the
    log alone.
    """

    code: str
    text: str
    attention: bool = True
    counter: int | None = None
    terminal: str | None = None
    port: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is to go out now, for one attempt. `limit_s`: its total deadline, in seconds."""

    attempt: int
    ask: Ask
    limit_s: float


CALL_LIMIT_S: Final = 15.0
"""One call's total deadline (reliability, section 6.2: read 15 s)."""
CONFIRM_LIMIT_S: Final = 2.0
"""How long a signed callback waits for PartPay's own word (architecture, `confirm_callbacks`)."""


@dataclass(slots=True)
class Circumstances:
    """What a decision may look at besides the tender itself, and where it leaves its remarks.

    `now`: boot time in seconds. `elsewhere(order_id)`: is it recorded for another tender than this one? `about`: the
    counter of the tender that is being decided on. `more_to_come`: more has arrived already, and is decided on next;
    after that each tender gets its turn once more.
    """

    now: float
    boot: str
    local: datetime
    timing: Timing
    confirm: Confirm
    store: str
    prefix: str
    currency: str
    random8: Callable[[], str]
    elsewhere: Callable[[str], bool] = lambda order_id: False
    held: bool = False
    more_to_come: bool = False
    about: int | None = None
    notes: list[Note] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)

    def note(self, code: str, text: str, *, attention: bool = True) -> None:
        self.notes.append(Note(code, text, attention, self.about))

    def wake(self, at: float) -> None:
        """Look again at `at`. What is due already has had its turn: to wake for it would be to spin."""
        if at > self.now:
            self.wakes.append(at)

    def want(self, attempt: Attempt, ask: Ask, limit_s: float = CALL_LIMIT_S) -> Attempt:
        self.wanted.append(Wanted(attempt.number, ask, limit_s))
        return attempt.departs(ask)


def new_attempt(
    store: str, terminal_id: str, counter: int, number: int, reference: str | None, random8: str
) -> Attempt:
    """An attempt with references that were never used before (architecture, "The life of a tender")."""
    gateway = f"{store}-{terminal_id}-{counter}-{number}-{random8}"
    return Attempt(
        number=number,
        gateway_reference=gateway,
        merchant_reference=f"{reference}-{random8}" if reference else gateway,
    )
