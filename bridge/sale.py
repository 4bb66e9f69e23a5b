"""How an open tender goes on: one function for each thing that happens, and `pursue` for what follows from what is.

- What happens is only taken down (`answered`, `signed`, `picture_read`, `cancel_asked`, …); what is to be done
  about it is decided by `pursue` alone, from what is written. So a restart and a normal run go the same way.
- Evidence comes before deadlines; a deadline never says what PartPay did, it only begins to close.
- E1 outranks E2 until the outcome is written; then the outcome stands (architecture, "Evidence").
- No second attempt while the one before it is not certainly dead.
"""

from dataclasses import replace
from typing import Final, assert_never

from bridge import outcomes, reversal
from bridge.partpay.answers import (
    AlreadyExists,
    CancelTaken,
    Created,
    NoAnswer,
    NotAllowed,
    NotSent,
    Perhaps,
    Refused,
    Told,
)
from bridge.partpay.evidence import Asked, disagreement
from bridge.tender import (
    CALL_LIMIT_S,
    CONFIRM_LIMIT_S,
    DEAD,
    FINAL,
    PAID,
    Ask,
    Attempt,
    Circumstances,
    Confirm,
    Outcome,
    Owed,
    State,
    Tender,
    new_attempt,
)

CREATE_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
"""Between creates (reliability, section 6.2)."""
ATTEMPTS_AT_ONCE: Final = 2
"""Later attempts wait as repeated creates do: a PartPay that takes none is not asked in a circle."""
KEYED_FINDS: Final = 3
"""Creates with the key that look for an order owed a reversal; the next ones go without it."""
DISPUTE_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
"""Between questions where a signed approval and PartPay's own answer differ (reliability, O-3)."""
CONFIRM_PAUSE_S: Final = 0.4
"""Between questions while a signed callback waits for PartPay's word: four in its 2 s."""
CLOSING_PAUSE_S: Final = 1.0
"""Between questions after a cancel was taken: a 202 is not yet cancelled."""
CANCEL_AGAIN_S: Final = 5.0
"""A cancel that was taken and shows nothing is said again."""
CANCEL_LIMIT_S: Final = 5.0
"""One cancel's total deadline: short, so that a hanging one is said again within `cancel_timeout`."""
PICTURE_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
SLOW_AFTER_S: Final = 120.0
SLOW_FACTOR: Final = 3
"""Polling is slower after two minutes (architecture, "no callback")."""
LAST_PICTURE_S: Final = 5.0
"""After `create_timeout` the order is asked once more for a picture, and has this long to answer."""
UNKNOWN_ALERT_S: Final = 30.0
"""PartPay does not know an order that it gave us: listed after this long (reliability, O-11)."""
RETRY_AFTER_MAX_S: Final = 300.0
"""A Retry-After beyond this is taken as this, so that no answer silences a tender for hours."""
STATUS_FAULT_PAUSES_S: Final = (0.5, 1.0, 2.0, 3.0)


def pause(table: tuple[float, ...], tries: int, retry_after_s: float | None = None) -> float:
    """Seconds until the next try; what PartPay asks for (Retry-After) can only make it longer."""
    own = table[min(tries, len(table) - 1)]
    return max(own, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))


# -- what happens -----------------------------------------------------------------------------------------------


def answered(
    t: Tender,
    number: int,
    ask: Ask,
    answer: object,
    c: Circumstances,
) -> Tender:
    """PartPay's answer to one call is taken down. The tender may be open or closed."""
    a = next((a for a in t.attempts if a.number == number), None)
    if a is None:
        return t
    a = a.lands(ask)
    match ask:
        case Ask.CREATE:
            t = create_answered(t, a, answer, c)
        case Ask.ORDER | Ask.STATUS:
            t = asked(t, a, ask, answer, c)
        case Ask.CANCEL:
            t = cancel_answered(t, a, answer, c)
        case Ask.PICTURE | Ask.REFUND:
            raise AssertionError(f"{ask} is answered elsewhere")
        case _:
            assert_never(ask)
    if t.is_open:
        return t
    return t.with_attempt(reversal.slowed(t.attempts[number - 1], ask, c))


def create_answered(t: Tender, a: Attempt, answer: object, c: Circumstances) -> Tender:
    match answer:
        case Created(order=told):
            return _created(t, a, told, c)
        case AlreadyExists(order_id=order_id):
            return _already_exists(t, a, order_id, c)
        case Refused() | NotAllowed():
            return _refused_for_good(t, a, answer, c)
        case NotSent(why=why, retry_after_s=retry_after_s):
            c.note("create-not-sent", f"create was not sent: {why}", attention=False)
            at = c.now + pause(CREATE_PAUSES_S, a.tries(Ask.CREATE), retry_after_s)
            return t.with_attempt(replace(a.again(Ask.CREATE, at), sent=a.uncertain))
        case Perhaps(why=why, fingerprint=fingerprint, retry_after_s=retry_after_s):
            c.note("create-unanswered", f"create has no certain answer: {why}", attention=False)
            return t.with_attempt(_perhaps(a, fingerprint, retry_after_s, c))
    raise TypeError(f"no answer to create: {answer!r}")


def _perhaps(
    a: Attempt, fingerprint: str | None, retry_after_s: float | None, c: Circumstances
) -> Attempt:
    same = a.run.same_fingerprint + 1 if fingerprint and fingerprint == a.run.fingerprint else 0
    run = replace(
        a.run, fingerprint=fingerprint, same_fingerprint=max(same, a.run.same_fingerprint)
    )
    at = c.now + pause(CREATE_PAUSES_S, a.tries(Ask.CREATE), retry_after_s)
    return replace(a, run=run, uncertain=True).again(Ask.CREATE, at)


def without_key(a: Attempt) -> bool:
    """Whether the create goes without its Idempotency-Key, under which PartPay may keep a useless answer (O-7).

    So after two equal 5xx; and, to find an order that is owed a reversal, after some tries of any kind.
    """
    owed = a.owed is Owed.OWED and a.tries(Ask.CREATE) >= KEYED_FINDS
    return owed or a.run.same_fingerprint >= 1


def _created(t: Tender, a: Attempt, told: Told, c: Circumstances) -> Tender:
    order_id = told.order_id
    strange = "PartPay told no order id" if order_id is None else differs(t, a, told)
    if order_id is not None and c.elsewhere(order_id):
        strange = f"order {order_id} is recorded for another tender"
    if strange is not None:
        c.note("strange-create", f"the answer to create is no evidence: {strange}")
        return t.with_attempt(_perhaps(a, None, None, c))
    first_answer = a.ordered_at is None
    a = replace(
        a,
        order_id=order_id,
        order_number=told.order_number or a.order_number,
        void=False,
        ordered_at=c.now if first_answer else a.ordered_at,
        run=replace(a.run, picture=told.picture),
    ).at_once(Ask.CREATE)
    if told.picture is None:
        a = replace(a, picture_failures=a.picture_failures + 1)
    a = _poll_from_now(a, c)
    return _ordered(t.with_attempt(a), told.life_s, c)


def _ordered(t: Tender, life_s: float | None, c: Circumstances) -> Tender:
    if t.state not in (State.ACCEPTED, State.ORDERED):
        return t
    life = c.timing.order_lifetime if life_s is None else min(c.timing.order_lifetime, life_s)
    return replace(t, state=State.ORDERED, deadline=c.now + life)


def _poll_from_now(a: Attempt, c: Circumstances) -> Attempt:
    if a.signed is not None:
        return a
    run = replace(a.run, due={**a.run.due, Ask.STATUS: c.now + c.timing.poll_first})
    return replace(a, run=run)


def _already_exists(t: Tender, a: Attempt, order_id: str, c: Circumstances) -> Tender:
    if a.order_id is not None:
        if a.order_id != order_id:
            c.note("strange-order", f"create points at order {order_id}, not at {a.order_id}")
        return t.with_attempt(a)
    if not a.uncertain or c.elsewhere(order_id):
        return _not_ours(t, a, order_id, c)
    a = replace(a, order_id=order_id, found=True, ordered_at=c.now).at_once(Ask.CREATE)
    return _ordered(t.with_attempt(_poll_from_now(a, c)), None, c)


def _not_ours(t: Tender, a: Attempt, order_id: str, c: Circumstances) -> Tender:
    c.note(
        "reference-taken",
        f"{a.merchant_reference} is taken by order {order_id}, which is not ours: left alone",
        attention=a.uncertain,
    )
    return t.with_attempt(replace(a, order_id=None, order_number=None, found=False, void=True))


def _refused_for_good(
    t: Tender, a: Attempt, answer: Refused | NotAllowed, c: Circumstances
) -> Tender:
    if isinstance(answer, NotAllowed):
        code, why = outcomes.FAILED, answer.why
        c.note("create-not-allowed", f"PartPay does not allow merchant {t.merchant}: {why}")
    else:
        code = outcomes.DECLINED if _about_the_customer(answer.properties) else outcomes.FAILED
        why = answer.text
        c.note(
            "create-refused", f"PartPay refused the order: {why}", attention=code == outcomes.FAILED
        )
    a = replace(a, refusals=a.refusals + 1)
    if a.order_id is not None:
        return t.with_attempt(a)
    if not t.is_open:
        return t.with_attempt(a.again(Ask.CREATE, c.now + CREATE_PAUSES_S[0]))
    a = replace(a, void=not a.uncertain)
    t = replace(t.with_attempt(a), why=why if t.state is not State.CLOSING else t.why)
    return close(t, t.closing_code or code, None, c)


def _about_the_customer(properties: tuple[str, ...]) -> bool:
    return all(
        name.casefold().partition(".")[0].startswith(("customer", "amount")) for name in properties
    )


def differs(t: Tender, a: Attempt, told: Told) -> str | None:
    """The first thing told that is not what was asked for, in words (architecture, E1)."""
    return disagreement(
        told,
        Asked(
            order_id=a.order_id or told.order_id or "",
            order_number=a.order_number,
            gateway_reference=a.gateway_reference,
            merchant_reference=a.merchant_reference,
            amount_minor=t.amount_minor,
        ),
    )


def asked(t: Tender, a: Attempt, ask: Ask, answer: object, c: Circumstances) -> Tender:
    """The answer to `order` or `status`: E1 where it names this order and all that it tells agrees."""
    match answer:
        case NoAnswer():
            return t.with_attempt(_no_answer(t, a, ask, answer, c))
        case Told() if (why := differs(t, a, answer)) is not None:
            if a.unproven and a.order_id is not None and _of_another(a, answer):
                return _not_ours(t, a, a.order_id, c)
            c.note("strange-answer", f"{ask} of order {a.order_id} is no evidence: {why}")
            return t.with_attempt(_again(a, ask, c))
        case Told() if a.unproven and ask is Ask.STATUS:
            return t.with_attempt(_again(a, ask, c))  # it does not say whose order it is
        case Told():
            a = replace(
                a,
                order_number=a.order_number or answer.order_number,
                run=replace(a.run, unknown_since=None),
            )
            if ask is Ask.ORDER:
                a = _picture_told(a, answer, c)
            return _status_told(t.with_attempt(a), a, ask, answer.status, c)
    raise TypeError(f"no answer to {ask}: {answer!r}")


def _of_another(a: Attempt, told: Told) -> bool:
    """What differs was told of this very order: it stands under another's references."""
    return told.order_id in (None, a.order_id) and told.gateway_reference != a.gateway_reference


def _picture_told(a: Attempt, told: Told, c: Circumstances) -> Attempt:
    if a.payload is not None or a.run.picture is not None:
        return a
    if told.picture is not None:
        return replace(a, run=replace(a.run, picture=told.picture))
    if a.found:
        return replace(a, dropped=True)
    return replace(a, picture_failures=a.picture_failures + 1).again(
        Ask.ORDER, c.now + PICTURE_PAUSES_S[0]
    )


def _no_answer(t: Tender, a: Attempt, ask: Ask, answer: NoAnswer, c: Circumstances) -> Attempt:
    c.note("no-answer", f"{ask} of order {a.order_id}: {answer.why}", attention=False)
    if answer.unauthorised:
        c.note(
            "not-allowed",
            f"PartPay does not let merchant {t.merchant} ask for its own order: {answer.why}",
        )
    if answer.not_found:
        since = a.run.unknown_since if a.run.unknown_since is not None else c.now
        a = replace(a, run=replace(a.run, unknown_since=since))
        if c.now - since >= UNKNOWN_ALERT_S:
            c.note("order-unknown", f"PartPay does not know order {a.order_id}, which it gave us")
    return _again(a, ask, c, answer.retry_after_s)


def _again(a: Attempt, ask: Ask, c: Circumstances, retry_after_s: float | None = None) -> Attempt:
    if ask is Ask.ORDER:
        return a.again(ask, c.now + pause(PICTURE_PAUSES_S, a.tries(ask), retry_after_s))
    own = CONFIRM_PAUSE_S if _confirming(a, c) else pause(STATUS_FAULT_PAUSES_S, a.tries(ask))
    return a.again(ask, c.now + max(own, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S)))


def _unconfirmed(a: Attempt) -> bool:
    return a.signed is not None and a.told not in FINAL


def _confirming(a: Attempt, c: Circumstances) -> bool:
    """A signed callback came just now, and PartPay's own word on it is awaited."""
    return _unconfirmed(a) and a.signed_at is not None and c.now < a.signed_at + CONFIRM_LIMIT_S


def _status_told(t: Tender, a: Attempt, ask: Ask, status: str | None, c: Circumstances) -> Tender:
    status = status.lower() if status is not None and status.isascii() else status
    if status not in FINAL:
        if status not in (None, "pending"):
            c.note(
                "unknown-status",
                f"PartPay says {status!r} of order {a.order_id}: asking again",
                attention=False,
            )
        if a.told is None and status == "pending":
            a = replace(a, told="pending")
        return t.with_attempt(a.again(ask, c.now + _next_poll(t, a, c)) if ask is Ask.STATUS else a)
    if a.told in FINAL and a.told != status and not {a.told, status} <= PAID:
        c.note("two-statuses", f"PartPay said {a.told} of order {a.order_id}, now {status}")
        if a.told in PAID:
            return t.with_attempt(a)
    if status in DEAD and a.signed in PAID:
        a = replace(a, disputes=a.disputes + 1)
        c.note("disputed", f"order {a.order_id}: signed {a.signed}, but PartPay says {status}")
    a = replace(a, told=status, run=replace(a.run, check=False))
    a = a.again(Ask.STATUS, c.now + pause(DISPUTE_PAUSES_S, a.disputes - 1))
    t = t.with_attempt(a)
    if not t.is_open and t.outcome is not None:
        return _late(t, a, c)
    return t


def _next_poll(t: Tender, a: Attempt, c: Circumstances) -> float:
    if _confirming(a, c):
        return CONFIRM_PAUSE_S
    if t.state is State.CLOSING or a.dropped or not t.is_open:
        return CLOSING_PAUSE_S
    if a.ordered_at is not None and c.now - a.ordered_at >= SLOW_AFTER_S:
        return c.timing.poll_interval * SLOW_FACTOR
    return c.timing.poll_interval


def cancel_answered(t: Tender, a: Attempt, answer: object, c: Circumstances) -> Tender:
    """After any answer to a cancel the status is asked: 202 is not yet cancelled, an error may mean final."""
    match answer:
        case CancelTaken():
            a = a.again(Ask.CANCEL, c.now + CANCEL_AGAIN_S)
        case NoAnswer(why=why, retry_after_s=retry_after_s):
            c.note("cancel-unanswered", f"cancel of order {a.order_id}: {why}", attention=False)
            a = a.again(
                Ask.CANCEL, c.now + pause(CREATE_PAUSES_S, a.tries(Ask.CANCEL), retry_after_s)
            )
        case _:
            raise TypeError(f"no answer to cancel: {answer!r}")
    return t.with_attempt(a.at_once(Ask.STATUS))


def picture_read(
    t: Tender, number: int, payload: str | None, why: str, fetched: bool, c: Circumstances
) -> Tender:
    """What PartPay's picture says; `payload` None: it says nothing (`fetched`), or could not be fetched."""
    a = next((a for a in t.attempts if a.number == number), None)
    if a is None:
        return t
    a = a.lands(Ask.PICTURE)
    if payload is not None:
        return t.with_attempt(replace(a, payload=payload, run=replace(a.run, picture=None)))
    c.note("no-code", f"order {a.order_id}: {why}", attention=False)
    if not fetched:
        return t.with_attempt(
            a.again(Ask.PICTURE, c.now + pause(PICTURE_PAUSES_S, a.tries(Ask.PICTURE)))
        )
    return t.with_attempt(
        replace(
            a, picture_failures=a.picture_failures + 1, run=replace(a.run, picture=None)
        ).at_once(Ask.ORDER)
    )


def signed(
    t: Tender, number: int, order_id: str, order_number: str | None, status: str, c: Circumstances
) -> Tender:
    """A callback with a good signature that names this attempt, and its order or the first id it hears (E2)."""
    a = next(a for a in t.attempts if a.number == number)
    if a.order_id is None:
        a = replace(a, order_id=order_id, order_number=order_number, ordered_at=c.now, void=False)
        t = (
            _ordered(t.with_attempt(a), None, c)
            if a.number == t.attempt.number
            else t.with_attempt(a)
        )
    if status not in FINAL:
        c.note(
            "unknown-status",
            f"a signed callback says {status!r} of order {order_id}",
            attention=False,
        )
        return t.with_attempt(a.at_once(Ask.STATUS))
    if a.signed is not None:
        if a.signed != status and not {a.signed, status} <= PAID:
            c.note(
                "two-statuses", f"signed callbacks say {a.signed} and {status} of order {order_id}"
            )
            a = replace(a, run=replace(a.run, check=True))
        return t.with_attempt(a.at_once(Ask.STATUS))
    a = replace(a, signed=status, signed_at=c.now).at_once(Ask.STATUS)
    if a.told in FINAL and a.told != status and not {a.told, status} <= PAID:
        c.note(
            "two-statuses",
            f"order {order_id}: PartPay said {a.told}, a signed callback says {status}",
        )
        a = replace(a, run=replace(a.run, check=True))
    t = t.with_attempt(a)
    return t if t.is_open else _late(t, a, c)


def _late(t: Tender, a: Attempt, c: Circumstances) -> Tender:
    """News of an order after the outcome was written: the outcome stands, and an approval is taken back."""
    assert t.outcome is not None
    booked = t.outcome.code == outcomes.APPROVED and t.outcome.order_id == a.order_id
    paid = a.told in PAID or (a.signed in PAID and a.told not in PAID)
    if booked:
        if a.told in DEAD or (a.signed in DEAD):
            c.note(
                "approved-then-not",
                f"order {a.order_id} was approved to the terminal, and is now said not to be",
            )
        return t
    if paid and not a.refunded and a.owed is not Owed.OWED:
        c.note(
            "late-approval",
            f"order {a.order_id} was paid after outcome {t.outcome.code}: it is taken back",
        )
        a = replace(a, owed=Owed.OWED, owed_since=c.now, owed_tries=0)
    return t.with_attempt(a.at_once(Ask.STATUS, Ask.REFUND) if paid else a)


def cancel_asked(t: Tender, c: Circumstances) -> Tender:
    """CANCEL from the terminal."""
    return close_down(t, outcomes.CANCELLED, None, c)


def close_down(t: Tender, code: str, why: str | None, c: Circumstances) -> Tender:
    """As CANCEL, with `code`. `t` is accepted or ordered."""
    assert t.state in (State.ACCEPTED, State.ORDERED)
    t = replace(
        t,
        state=State.CLOSING,
        closing_code=code,
        why=why,
        deadline=c.now + c.timing.cancel_timeout,
        hold_until=None,
    )
    return t.with_attempt(t.attempt.at_once(*Ask))


def look_again(t: Tender) -> Tender:
    """After a start or a reconnect the status is asked at once."""
    return t.with_attempt(t.attempt.at_once(Ask.STATUS)) if t.attempts else t


def from_a_copy(t: Tender) -> Tender:
    """As read from a journal that was put back: what the copy does not know of may have been sent since (O-15)."""
    attempts = tuple(
        replace(a, uncertain=a.uncertain or (a.order_id is None and not a.void)) for a in t.attempts
    )
    return replace(t, attempts=attempts)


def restarted(t: Tender, c: Circumstances) -> Tender:
    """The first look after a start: what was under way is not; deadlines of another boot begin anew, once."""
    attempts = tuple(
        replace(a, uncertain=a.uncertain or (a.sent and a.order_id is None and not a.void))
        for a in t.attempts
    )
    t = replace(t, attempts=attempts)
    if t.boot == c.boot or not t.is_open:
        return t
    span = {
        State.ACCEPTED: c.timing.create_timeout,
        State.ORDERED: c.timing.order_lifetime,
        State.CLOSING: c.timing.cancel_timeout,
        State.CLOSED: 0.0,
    }[t.state]
    if t.state is State.ORDERED and t.renewed:
        span = 0.0
    return replace(
        t,
        boot=c.boot,
        renewed=t.renewed or t.state is State.ORDERED,
        hold_until=None,
        deadline=c.now + span,
        create_deadline=c.now + c.timing.create_timeout,
        attempts=tuple(
            replace(
                a,
                signed_at=None if a.signed_at is None else c.now,
                ordered_at=None if a.ordered_at is None else c.now,
                owed_since=None if a.owed_since is None else c.now,
            )
            for a in attempts
        ),
    )


# -- what follows -----------------------------------------------------------------------------------------------


def pursue(t: Tender, c: Circumstances) -> Tender:
    """What follows for an open tender from what is written and the time; asks go into `c.wanted`."""
    t = _conclude(t, c)
    if c.more_to_come:
        return t  # an answer that is here already has not failed to come, however late it is read
    if t.is_open:
        t = _overdue(t, c)
    if t.is_open:
        t = _ask(t, c)
    if t.is_open:
        _wake_for_deadlines(t, c)
    return t


def _conclude(t: Tender, c: Circumstances) -> Tender:
    for a in t.attempts:
        if a.told in PAID:
            return close(t, outcomes.APPROVED, a, c)
    a = t.attempt
    if a.told in DEAD:
        if a.signed in PAID and a.disputes <= len(DISPUTE_PAUSES_S) and not a.dropped:
            return t
        if a.dropped and t.state is State.ORDERED:
            return _next_attempt(t, c)
        return close(t, _code_of(t, a.told), a, c)
    if a.signed is not None and _believed(a, c):
        return close(t, _code_of(t, a.signed), a, c)
    return t


def _believed(a: Attempt, c: Circumstances) -> bool:
    match c.confirm:
        case Confirm.OFF:
            return True
        case Confirm.PREFER:
            assert a.signed_at is not None
            return c.now >= a.signed_at + CONFIRM_LIMIT_S and not c.more_to_come
        case Confirm.REQUIRE:
            return False
        case _:
            assert_never(c.confirm)


def _code_of(t: Tender, status: str) -> str:
    if status == "cancelled" and t.closing_code is not None:
        return t.closing_code
    return outcomes.CODE_OF_STATUS[status]


def _next_attempt(t: Tender, c: Circumstances) -> Tender:
    number = t.attempt.number + 1
    following = new_attempt(c.store, t.terminal_id, t.counter, number, t.reference, c.random8())
    if number > ATTEMPTS_AT_ONCE:
        at = c.now + pause(CREATE_PAUSES_S, number - ATTEMPTS_AT_ONCE - 1)
        following = following.again(Ask.CREATE, at)
    return replace(
        t, state=State.ACCEPTED, deadline=t.create_deadline, attempts=(*t.attempts, following)
    )


def _overdue(t: Tender, c: Circumstances) -> Tender:
    if t.hold_until is not None and (not c.held or c.now >= t.hold_until):
        until = c.now + c.timing.create_timeout
        t = replace(t, hold_until=None, deadline=until, create_deadline=until)
    a = t.attempt
    if (
        t.state is State.ORDERED
        and a.payload is None
        and not a.dropped
        and c.now >= t.create_deadline
    ):
        t = _without_picture(t, c)
    if c.now < t.deadline or t.hold_until is not None:
        return t
    if t.state is State.ACCEPTED:
        return close(t, outcomes.UNREACHABLE, None, c)
    if t.state is State.ORDERED:
        return close_down(t, outcomes.EXPIRED, None, c)
    if _confirming(a, c) and c.confirm is Confirm.PREFER:
        return t
    return close(t, t.closing_code or outcomes.CANCELLED, None, c)


def _without_picture(t: Tender, c: Circumstances) -> Tender:
    """`create_timeout` is over and there is no code: the order is asked once more, and then it is given up."""
    a = t.attempt
    if a.picture_failures == 0 and c.now < t.create_deadline + LAST_PICTURE_S:
        if a.run.picture is not None and not a.flies(Ask.PICTURE):
            a = replace(a, picture_failures=1, run=replace(a.run, picture=None)).at_once(Ask.ORDER)
            return t.with_attempt(a)
        return t
    if a.picture_failures == 1 and c.now < t.create_deadline + LAST_PICTURE_S:
        return t
    return close_down(t, outcomes.FAILED, "PartPay sent no code", c)


def _ask(t: Tender, c: Circumstances) -> Tender:
    a = t.attempt
    if a.order_id is None:
        if not a.void:
            return _ask_create(t, a, c)
        if t.state is State.CLOSING:
            return close(t, t.closing_code or outcomes.CANCELLED, None, c)
        return _ask(_next_attempt(t, c), c)
    if a.unproven:
        a = _ask_when_due(a, Ask.ORDER, c)
    elif a.told in DEAD:
        a = _ask_when_due(a, Ask.STATUS, c)
    elif t.state is State.CLOSING or a.dropped:
        a = _ask_when_due(a, Ask.CANCEL, c)
        if a.tries(Ask.CANCEL) or _unconfirmed(a):
            a = _ask_when_due(a, Ask.STATUS, c)
    else:
        t = _ask_picture(t, a, c)
        if t.state is not State.ORDERED:
            return _ask(t, c)
        a = _ask_when_due(t.attempt, Ask.STATUS, c)
    return t.with_attempt(a)


def _ask_create(t: Tender, a: Attempt, c: Circumstances) -> Tender:
    if t.hold_until is not None:
        c.wake(t.hold_until)
        return t
    if t.state is State.CLOSING and not a.uncertain and not a.flies(Ask.CREATE):
        return close(
            t.with_attempt(replace(a, void=True)), t.closing_code or outcomes.CANCELLED, None, c
        )
    going = _ask_when_due(a, Ask.CREATE, c)
    if going is not a:
        going = replace(going, sent=True)
    return t.with_attempt(going)


def _ask_picture(t: Tender, a: Attempt, c: Circumstances) -> Tender:
    if a.payload is not None:
        return t
    if a.picture_failures > 1:
        return close_down(t, outcomes.FAILED, "PartPay sent no code", c)
    ask = Ask.PICTURE if a.run.picture is not None else Ask.ORDER
    return t.with_attempt(_ask_when_due(a, ask, c))


def _ask_when_due(a: Attempt, ask: Ask, c: Circumstances) -> Attempt:
    if a.flies(ask):
        return a
    if c.now < a.due(ask):
        c.wake(a.due(ask))
        return a
    if ask is Ask.STATUS and _confirming(a, c) and c.confirm is Confirm.PREFER:
        return c.want(a, ask, CONFIRM_LIMIT_S)
    return c.want(a, ask, CANCEL_LIMIT_S if ask is Ask.CANCEL else CALL_LIMIT_S)


def _wake_for_deadlines(t: Tender, c: Circumstances) -> None:
    a = t.attempt
    if t.hold_until is None and t.deadline > c.now:
        c.wake(t.deadline)
    if a.signed_at is not None and c.confirm is Confirm.PREFER and a.told not in FINAL:
        c.wake(a.signed_at + CONFIRM_LIMIT_S)
    if t.state is State.ORDERED and a.payload is None:
        c.wake(t.create_deadline)
        c.wake(t.create_deadline + LAST_PICTURE_S)


def close(t: Tender, code: str, by: Attempt | None, c: Circumstances) -> Tender:
    """Writes the one outcome, and with it what is owed for every order that may still be paid.

    `by`: the attempt whose evidence it is. Source: architecture, "What always holds"; reliability, I-5.
    """
    amount = outcomes.money(t.amount_minor, c.currency)
    shown = by or next((a for a in reversed(t.attempts) if a.order_id is not None), t.attempt)
    outcome = Outcome(
        code=code,
        text=c.prefix + outcomes.tender_text(code, amount, t.why),
        local_date=int(c.local.strftime("%y%m%d")),
        local_time=int(c.local.strftime("%H%M%S")),
        order_number=shown.order_number,
        order_id=shown.order_id,
    )
    attempts = tuple(
        a if code == outcomes.APPROVED and by is not None and a.number == by.number else _owe(a, c)
        for a in t.attempts
    )
    return replace(
        t,
        state=State.CLOSED,
        outcome=outcome,
        closed_at=c.now,
        boot=c.boot,
        hold_until=None,
        attempts=attempts,
    )


def _owe(a: Attempt, c: Circumstances) -> Attempt:
    disputed = a.signed in PAID
    said_dead = a.signed in DEAD and c.confirm is Confirm.OFF and a.told not in PAID
    nothing_sent = a.order_id is None and not a.sent and not a.uncertain
    if a.void or nothing_sent or (not disputed and (a.told in DEAD or said_dead)):
        return a
    return replace(a, owed=Owed.OWED, owed_since=c.now).at_once(*Ask)
