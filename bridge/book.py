"""One terminal's book: (book, what happens) -> (book, effects).

What needs other tenders of the same terminal is here.

- Messages of the terminal are answered as the terminal link, section 4, says; everything else about a tender is
  decided in `sale.py`, `refund.py` and `reversal.py`.
- `act` runs after everything that happens: it lets each live tender go on, and says what changed. What is said
  is worked out from the difference between what was written and what is, so nothing is said twice or forgotten.
- The display beside a terminal is the pairing's, not the line's: it shows the code, and is cleared, whether the
  terminal is there or not. Nobody can pay only where the panel and the display have both failed.
- A book holds the live tenders only (open, owed or unstored); older ones are looked up on the `Shelf`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from bridge import outcomes, refund, reversal, sale
from bridge.effects import (
    AskPartPay,
    ClearBeside,
    ClearPanel,
    Effect,
    Say,
    ShowBeside,
    ShowCode,
    ShowText,
)
from bridge.registry import Pairing
from bridge.tender import (
    Ask,
    Attempt,
    Circumstances,
    Kind,
    Owed,
    State,
    Tender,
    new_attempt,
)
from drivers.link import messages as link
from drivers.link.messages import Reason, fit_display_text, fit_text

OUTCOME_PAUSES_S: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Until STORED comes (terminal link, section 4, 11)."""
PROGRESS_S: Final = 9.0
"""PROGRESS at least every 10 s while a tender is open (terminal link, section 3)."""
HOLD_S: Final = 10.0
"""The same sale keyed again waits this long for the earlier one's reversal (architecture)."""


class Shelf(Protocol):
    """What is written down of this pairing, looked up; the present batch's decisions included."""

    def find(self, pairing: int, counter: int) -> Tender | None: ...
    def last(self, pairing: int) -> Tender | None: ...
    def highest_counter(self, pairing: int) -> int | None: ...
    def refunded_minor(self, pairing: int, original_counter: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Telling:
    """What the terminal has been told of one tender on its present line; boot times in seconds.

    `beside`: what the display beside it was last wanted to show. `panel_fails`, `display_fails`: why the code is not
    to be seen there, as far as is known.
    """

    progress_at: float = 0.0
    outcome_at: float | None = None
    outcomes_said: int = 0
    beside: ShowBeside | None = None
    panel_fails: str | None = None
    display_fails: str | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """A pairing's live tenders by counter, and the line on which it said HELLO (None: none since the start)."""

    pairing: Pairing
    lane: str | None = None
    tenders: Mapping[int, Tender] = field(default_factory=dict)
    told: Mapping[int, Telling] = field(default_factory=dict)
    frozen: frozenset[int] = frozenset()

    def find(self, counter: int, shelf: Shelf) -> Tender | None:
        return self.tenders.get(counter) or shelf.find(self.pairing.pairing, counter)

    @property
    def open_tender(self) -> Tender | None:
        return next((t for t in self.tenders.values() if t.is_open and t.kind is Kind.TENDER), None)


class TenderFault(Exception):  # noqa: N818 - where it happened; what happened is its cause
    """A decision about this one tender raised."""

    def __init__(self, counter: int) -> None:
        super().__init__(f"counter {counter}")
        self.counter = counter


@dataclass(slots=True)
class Page:
    """One decision in the making: the book, the tenders it changed, and the effects it wants."""

    book: Book
    effects: list[Effect]
    changed: dict[int, Tender]

    def put(self, t: Tender) -> None:
        self.book = replace(self.book, tenders={**self.book.tenders, t.counter: t})
        self.changed[t.counter] = t

    def tell(self, counter: int, telling: Telling) -> None:
        self.book = replace(self.book, told={**self.book.told, counter: telling})

    def say(self, message: link.Message) -> None:
        if self.book.lane is not None:
            self.effects.append(Say(self.book.lane, message))


# -- what the terminal says -------------------------------------------------------------------------------------


def refused(
    reason: Reason, message: object, sequence: int, prefix: str, *, text: str | None = None
) -> link.Refused:
    """REFUSED, naming the message it refuses (DF0C) and what it was about."""
    type_code = getattr(message, "type_code", 0)
    return link.Refused(
        reason=int(reason),
        refused=bytes((type_code, sequence)),
        text=fit_display_text(prefix + (text or outcomes.REFUSALS[int(reason)])),
        terminal_id=getattr(message, "terminal_id", None),
        counter=getattr(message, "counter", None),
    )


def is_repeat(known: Tender, message: link.Tender | link.Refund) -> bool:
    """Is this what was written under that counter, said again? Else it gets reason 3 (link, section 4, 6)."""
    if known.stored:
        return False
    if isinstance(message, link.Refund):
        return (
            known.kind is Kind.REFUND
            and known.original_counter == message.original_counter
            and known.amount_minor == message.amount_minor
        )
    return (
        known.kind is Kind.TENDER
        and (known.amount_minor, known.currency) == (message.amount_minor, message.currency)
        and (known.asked_merchant, known.reference) == (message.merchant, message.reference)
    )


def tender(
    page: Page,
    message: link.Tender,
    sequence: int,
    shelf: Shelf,
    currency: int,
    room: bool,
    usable: frozenset[str],
    c: Circumstances,
) -> None:
    """TENDER. `usable`: merchants that are not retired. `room`: there is disk space for new tenders."""
    book = page.book
    merchant = message.merchant or next(iter(book.pairing.merchants), "")
    known = book.find(message.counter, shelf)
    reason: Reason | None = None
    if known is not None:
        if is_repeat(known, message):
            return tell_again(page, known, c)
        reason = Reason.COUNTER_USED
    elif book.open_tender is not None:
        reason = Reason.BUSY
    elif message.amount_minor == 0 or message.currency != currency:
        reason = Reason.BAD_AMOUNT
    elif merchant not in book.pairing.merchants or merchant not in usable:
        reason = Reason.UNKNOWN_MERCHANT
    elif not room:
        reason = Reason.CANNOT_WRITE
    if reason is not None:
        return page.say(refused(reason, message, sequence, c.prefix))
    t = Tender(
        pairing=book.pairing.pairing,
        terminal_id=book.pairing.terminal_id,
        counter=message.counter,
        kind=Kind.TENDER,
        merchant=merchant,
        amount_minor=message.amount_minor,
        currency=message.currency,
        accepted_at=c.local.isoformat(timespec="milliseconds"),
        boot=c.boot,
        deadline=c.now + c.timing.create_timeout,
        create_deadline=c.now + c.timing.create_timeout,
        asked_merchant=message.merchant,
        reference=message.reference,
        operator=message.operator,
        attempts=(
            new_attempt(
                c.store,
                book.pairing.terminal_id,
                message.counter,
                1,
                message.reference,
                c.random8(),
            ),
        ),
    )
    if any(_same_sale(t, earlier) for earlier in book.tenders.values()):
        t = replace(t, hold_until=c.now + HOLD_S)
        for earlier in book.tenders.values():
            if _same_sale(t, earlier):
                page.put(
                    replace(earlier, attempts=tuple(a.at_once(*Ask) for a in earlier.attempts))
                )
    page.put(t)
    _accept(page, t, c)
    return None


def _same_sale(t: Tender, earlier: Tender) -> bool:
    return (
        t.counter != earlier.counter
        and t.reference is not None
        and (t.reference, t.amount_minor) == (earlier.reference, earlier.amount_minor)
        and earlier.reversal is Owed.OWED
    )


def refund_asked(
    page: Page,
    message: link.Refund,
    sequence: int,
    shelf: Shelf,
    room: bool,
    c: Circumstances,
) -> None:
    """REFUND, with its limits (architecture, "REFUND"; terminal link, section 4, 17)."""
    book = page.book
    known = book.find(message.counter, shelf)
    original = book.find(message.original_counter, shelf)
    reason: Reason | None = None
    if known is not None:
        if is_repeat(known, message):
            return tell_again(page, known, c)
        reason = Reason.COUNTER_USED
    elif message.amount_minor == 0:
        reason = Reason.BAD_AMOUNT
    elif (
        original is None
        or original.kind is not Kind.TENDER
        or original.outcome is None
        or original.outcome.code != outcomes.APPROVED
    ):
        reason = Reason.NO_SUCH_TRANSACTION
    elif (
        shelf.refunded_minor(book.pairing.pairing, original.counter) + message.amount_minor
        > original.amount_minor
    ):
        reason = Reason.NOT_REFUNDABLE
    elif not room:
        reason = Reason.CANNOT_WRITE
    if reason is not None:
        return page.say(refused(reason, message, sequence, c.prefix))
    assert original is not None
    paid = next(
        a for a in original.attempts if original.outcome and a.order_id == original.outcome.order_id
    )
    reference = refund.refund_reference(
        c.store, book.pairing.terminal_id, message.counter, c.random8()
    )
    t = Tender(
        pairing=book.pairing.pairing,
        terminal_id=book.pairing.terminal_id,
        counter=message.counter,
        kind=Kind.REFUND,
        merchant=original.merchant,
        amount_minor=message.amount_minor,
        currency=original.currency,
        accepted_at=c.local.isoformat(timespec="milliseconds"),
        boot=c.boot,
        deadline=c.now + c.timing.create_timeout,
        create_deadline=c.now + c.timing.create_timeout,
        operator=message.operator,
        original_counter=message.original_counter,
        attempts=(
            Attempt(
                number=1,
                gateway_reference=reference,
                merchant_reference=paid.merchant_reference,
                order_id=paid.order_id,
                order_number=paid.order_number,
                ordered_at=c.now,
            ),
        ),
    )
    page.put(t)
    page.say(_accepted(t, c))
    return None


def cancel(page: Page, message: link.Cancel, sequence: int, shelf: Shelf, c: Circumstances) -> None:
    """CANCEL asks; it is written down before PROGRESS answers it. A refund cannot be cancelled."""
    t = page.book.find(message.counter, shelf)
    if t is None:
        return page.say(refused(Reason.NO_SUCH_TRANSACTION, message, sequence, c.prefix))
    if not t.is_open:
        return _say_outcome(page, t, c)
    if t.kind is Kind.REFUND or t.counter in page.book.frozen or t.state is State.CLOSING:
        return _say_progress(page, t, c)
    page.put(sale.cancel_asked(t, c))
    return None


def query(page: Page, message: link.Query, sequence: int, shelf: Shelf, c: Circumstances) -> None:
    """QUERY for one counter, or for the last one written."""
    if message.counter is None:
        t = shelf.last(page.book.pairing.pairing)
        t = t and page.book.tenders.get(t.counter, t)
    else:
        t = page.book.find(message.counter, shelf)
    if t is None:
        return page.say(refused(Reason.NO_SUCH_TRANSACTION, message, sequence, c.prefix))
    if t.is_open:
        return _say_progress(page, t, c)
    return _say_outcome(page, t, c)


def stored(page: Page, message: link.Stored, shelf: Shelf, c: Circumstances) -> None:
    """STORED: the terminal has this outcome in its own storage. Another code than ours is not taken."""
    t = page.book.find(message.counter, shelf)
    if t is None or t.outcome is None:
        c.note(
            "stored-unknown",
            f"STORED for counter {message.counter}, which has no outcome",
            attention=False,
        )
    elif message.response_code != t.outcome.code:
        c.note(
            "stored-differs",
            f"the terminal keeps {message.response_code} for counter {t.counter}, its outcome is {t.outcome.code}",
        )
    elif not t.stored:
        page.put(replace(t, stored=True))


def welcomed(page: Page, c: Circumstances) -> None:
    """After WELCOME: what is open is told again, then every outcome not stored."""
    for t in sorted(page.book.tenders.values(), key=lambda t: t.counter):
        if t.is_open:
            tell_again(page, t, c)
            if t.kind is Kind.TENDER:
                page.put(sale.look_again(t))
    for t in sorted(page.book.tenders.values(), key=lambda t: t.counter):
        if t.outcome is not None and not t.stored:
            page.tell(t.counter, Telling())
            _say_outcome(page, t, c)


def tell_again(page: Page, t: Tender, c: Circumstances) -> None:
    """ACCEPTED, the image from the start (none once closing), PROGRESS; or the outcome."""
    if not t.is_open:
        return _say_outcome(page, t, c)
    if t.kind is Kind.REFUND:
        page.say(_accepted(t, c))
        return _say_progress(page, t, c)
    _accept(page, t, c)
    _show(page, t, c)
    return _say_progress(page, t, c)


def tell_written(page: Page, t: Tender, c: Circumstances) -> None:
    """ACCEPTED and PROGRESS of an open tender, or its outcome: all that can be said while nothing can be written."""
    if not t.is_open:
        return _say_outcome(page, t, c)
    page.say(_accepted(t, c))
    return _say_progress(page, t, c)


# -- what is said -----------------------------------------------------------------------------------------------


def seconds_left(t: Tender, c: Circumstances) -> int:
    """DF06: the order's life until the create answer, 0 while closing and for a refund."""
    if t.kind is Kind.REFUND or t.state in (State.CLOSING, State.CLOSED):
        return 0
    if t.state is State.ACCEPTED:
        return int(c.timing.order_lifetime)
    return max(0, min(65_535, round(t.deadline - c.now)))


def _accepted(t: Tender, c: Circumstances) -> link.Accepted:
    return link.Accepted(
        terminal_id=t.terminal_id,
        counter=t.counter,
        amount_minor=t.amount_minor,
        currency=t.currency,
        seconds_left=seconds_left(t, c),
    )


def _accept(page: Page, t: Tender, c: Circumstances) -> None:
    page.say(_accepted(t, c))
    page.tell(
        t.counter, replace(page.book.told.get(t.counter, Telling()), progress_at=c.now + PROGRESS_S)
    )


def _show(page: Page, t: Tender, c: Circumstances) -> None:
    a = t.attempt
    if page.book.lane is None or t.state is not State.ORDERED or a.payload is None or a.dropped:
        return
    if not a.shown:
        page.put(t.with_attempt(replace(a, shown=True)))
    page.effects.append(
        ShowCode(page.book.lane, _accepted(t, c), a.payload, a.order_number, life_ends=t.deadline)
    )


def _progress_text(t: Tender, frozen: bool, c: Circumstances) -> str:
    if frozen:
        first = outcomes.SET_ASIDE
    elif t.kind is Kind.REFUND:
        first = outcomes.REFUNDING
    elif t.state is State.CLOSING:
        first = outcomes.ENDING
    elif t.hold_until is not None:
        first = outcomes.WAITING_FOR_EARLIER
    elif t.state is State.ORDERED and t.attempt.payload is not None:
        first = outcomes.SCAN
    else:
        first = outcomes.ASKING
    return f"{c.prefix}{first}\n{outcomes.money(t.amount_minor, c.currency)}"


def _say_progress(page: Page, t: Tender, c: Circumstances) -> None:
    page.say(
        link.Progress(
            terminal_id=t.terminal_id,
            counter=t.counter,
            amount_minor=t.amount_minor,
            text=_progress_text(t, t.counter in page.book.frozen, c),
            seconds_left=seconds_left(t, c),
        )
    )
    telling = page.book.told.get(t.counter, Telling())
    page.tell(t.counter, replace(telling, progress_at=c.now + PROGRESS_S))


def _say_outcome(page: Page, t: Tender, c: Circumstances) -> None:
    assert t.outcome is not None
    page.say(
        link.Outcome(
            terminal_id=t.terminal_id,
            counter=t.counter,
            response_code=t.outcome.code,
            amount_minor=t.amount_minor,
            text=fit_display_text(t.outcome.text),
            local_date=t.outcome.local_date,
            local_time=t.outcome.local_time,
            order_number=t.outcome.order_number and fit_text(t.outcome.order_number, 32),
            order_id=t.outcome.order_id and fit_text(t.outcome.order_id, 36),
        )
    )
    if not t.stored:
        telling = page.book.told.get(t.counter, Telling())
        pause = OUTCOME_PAUSES_S[min(telling.outcomes_said, len(OUTCOME_PAUSES_S) - 1)]
        page.tell(
            t.counter,
            replace(telling, outcome_at=c.now + pause, outcomes_said=telling.outcomes_said + 1),
        )


# -- what follows -----------------------------------------------------------------------------------------------


def act(page: Page, before: Book, c: Circumstances) -> None:
    """Every live tender goes on from what is written and the time; what changed is said; wakes are noted."""
    for counter in list(page.book.tenders):
        if counter in page.book.frozen:
            _remind(page, page.book.tenders[counter], c)
            continue
        try:
            _act_on(page, before.tenders.get(counter), counter, c)
        except Exception as error:
            raise TenderFault(counter) from error
    settled = {n for n, t in page.book.tenders.items() if t.is_settled and not _checking(t)}
    if settled:
        page.book = replace(
            page.book,
            tenders={n: t for n, t in page.book.tenders.items() if n not in settled},
            told={n: t for n, t in page.book.told.items() if n not in settled},
        )


def _act_on(page: Page, was: Tender | None, counter: int, c: Circumstances) -> None:
    asked = len(c.wanted)
    c.about = counter
    t = _pursue(page, page.book.tenders[counter], c)
    for wanted in c.wanted[asked:]:
        page.effects.append(AskPartPay(t, wanted))
    if t.kind is Kind.TENDER:
        _beside(page, t, c)
    _announce(page, was, t, c)
    _remind(page, page.book.tenders[counter], c)


def _checking(t: Tender) -> bool:
    return any(a.run.check for a in t.attempts)


def _pursue(page: Page, t: Tender, c: Circumstances) -> Tender:
    c.held = any(_same_sale(t, other) for other in page.book.tenders.values())
    on = t
    if on.is_open:
        on = refund.pursue(on, c) if on.kind is Kind.REFUND else sale.pursue(on, c)
    if not on.is_open or len(on.attempts) > 1:
        on = reversal.pursue(on, c)
    if on is not t:
        page.put(on)
    return on


def _announce(page: Page, was: Tender | None, t: Tender, c: Circumstances) -> None:
    if not t.is_open:
        # What is stored was looked up for some late news of it: the terminal has had its outcome.
        if (was is None or was.is_open) and not t.stored:
            if t.kind is Kind.TENDER and page.book.lane is not None:
                page.effects.append(ClearPanel(page.book.lane, after_outcome=True))
            page.tell(t.counter, Telling())
            _say_outcome(page, t, c)
        return
    if t.state is State.CLOSING and (was is None or was.state is not State.CLOSING):
        if page.book.lane is not None:
            page.effects.append(ClearPanel(page.book.lane))
            if t.why is not None:
                page.effects.append(ShowText(page.book.lane, _why_text(t, c)))
        _say_progress(page, t, c)
        return
    if t.kind is Kind.REFUND:
        return
    if t.attempt.payload is not None and (
        was is None or not was.attempts or was.attempt.payload != t.attempt.payload
    ):
        _show(page, t, c)
        _say_progress(page, t, c)


def _why_text(t: Tender, c: Circumstances) -> str:
    number = t.attempt.order_number
    lines = (c.prefix + (t.why or ""), f"Order {number}" if number else "")
    return fit_display_text("\n".join(line for line in lines if line))


def _remind(page: Page, t: Tender, c: Circumstances) -> None:
    telling = page.book.told.get(t.counter, Telling())
    if t.outcome is not None:
        if t.stored:
            return
        _alert_unstored(t, c)
        if page.book.lane is None:
            return
        # None: what was said is forgotten with a journal that was lost and is open again.
        if telling.outcome_at is None or c.now >= telling.outcome_at:
            _say_outcome(page, t, c)
            telling = page.book.told[t.counter]
        assert telling.outcome_at is not None
        c.wake(telling.outcome_at)
    elif t.kind is Kind.TENDER and page.book.lane is not None:
        if c.now >= telling.progress_at:
            _say_progress(page, t, c)
            telling = page.book.told[t.counter]
        c.wake(telling.progress_at)


def _alert_unstored(t: Tender, c: Circumstances) -> None:
    assert t.outcome is not None
    since = t.closed_at if t.closed_at is not None and t.boot == c.boot else c.now
    if c.now >= since + c.timing.stored_alert:
        c.note(
            "not-stored",
            f"the terminal has not stored outcome {t.outcome.code} of counter {t.counter}",
        )
    else:
        c.wake(since + c.timing.stored_alert)


def _beside(page: Page, t: Tender, c: Circumstances) -> None:
    """The display beside the terminal, where there is one: what it is to show, said when that changes.

    Nothing of it is written down, so that after a start it is said again.
    """
    told = page.book.told.get(t.counter, Telling())
    wanted = _wanted_beside(page.book.pairing.display, t, c) if t.is_open else None
    was = told.beside
    if wanted == was:
        return
    if was is not None and (wanted is None or wanted.display != was.display):
        page.effects.append(ClearBeside(was.display, was.pairing, was.counter))
    if wanted is not None:
        page.effects.append(wanted)
    page.tell(t.counter, replace(told, beside=wanted, display_fails=None))


def _wanted_beside(display: str | None, t: Tender, c: Circumstances) -> ShowBeside | None:
    if display is None:
        return None
    show = ShowBeside(
        display=display,
        pairing=t.pairing,
        terminal_id=t.terminal_id,
        counter=t.counter,
        state=outcomes.ASKING,
        amount=c.prefix + outcomes.money(t.amount_minor, c.currency),
    )
    a = t.attempt
    if t.state is State.CLOSING:
        return replace(show, state=outcomes.ENDING_BESIDE)
    if t.hold_until is not None:
        return replace(show, state=outcomes.WAITING_BESIDE)
    if t.state is State.ORDERED and a.payload is not None and not a.dropped:
        return replace(
            show,
            state=outcomes.SCAN_BESIDE,
            payload=a.payload,
            order_number=a.order_number,
            life_ends=t.deadline,
        )
    return show


def cannot_show(page: Page, counter: int, why: str, c: Circumstances) -> None:
    """No format can be made for the panel, or every one was answered and none by 0."""
    t = page.book.tenders.get(counter)
    if t is None or not t.is_open or t.state is not State.ORDERED:
        return
    told = page.book.told.get(counter, Telling())
    page.tell(counter, replace(told, panel_fails=why))
    if page.book.pairing.display is None:
        _nobody_can_pay(page, t, why, c)
    elif told.display_fails is not None:
        _nobody_can_pay(page, t, f"{why}; {told.display_fails}", c)
    else:
        text = f"counter {counter}: {why}; the display beside it stands in"
        c.note("panel-failed", text, attention=False)


def panel_shows(book: Book, counter: int) -> Book:
    """The terminal says that the code is on its panel."""
    told = book.told.get(counter)
    if told is None or told.panel_fails is None:
        return book
    return replace(book, told={**book.told, counter: replace(told, panel_fails=None)})


def display_told(page: Page, counter: int, payload: str, why: str | None, c: Circumstances) -> None:
    """What became of the code on the display beside the terminal; `why` None: it is shown."""
    t = page.book.tenders.get(counter)
    if t is None or not t.is_open or t.state is not State.ORDERED or t.attempt.payload != payload:
        return
    told = page.book.told.get(counter, Telling())
    page.tell(counter, replace(told, display_fails=why))
    if why is not None and told.panel_fails is not None:
        _nobody_can_pay(page, t, f"{told.panel_fails}; {why}", c)


def _nobody_can_pay(page: Page, t: Tender, why: str, c: Circumstances) -> None:
    c.note("cannot-show", f"counter {t.counter}: {why}")
    page.put(sale.close_down(t, outcomes.FAILED, outcomes.CANNOT_SHOW, c))
