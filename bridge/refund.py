"""The life of a refund that a terminal asked for: accepted -> closed.

- Its reference was written before it is sent, and is the same for every try, so that PartPay refunds once.
- 00 when PartPay has done it; 05 where it refuses for good (400, 422); 91 only where it was never sent within
  `create_timeout`, and then it never is. Once it may have been sent it is asked again, for ever, until it is known.
- Its one attempt holds the original's order id and its own reference (architecture, "REFUND").
"""

from dataclasses import replace
from typing import Final

from bridge import outcomes
from bridge.partpay.answers import NotSent, Perhaps, Refunded, Refused
from bridge.tender import (
    CALL_LIMIT_S,
    Ask,
    Attempt,
    Circumstances,
    Outcome,
    State,
    Tender,
)

PAUSE_MAX_S: Final = 60.0
ALERT_AFTER_S: Final = 900.0


def refund_reference(store: str, terminal_id: str, counter: int, random8: str) -> str:
    return f"{store}-{terminal_id}-{counter}-R-{random8}"


def refund_reference_of(a: Attempt) -> str:
    """What PartPay is told as this refund's reference: the attempt's own."""
    return a.gateway_reference


def refund_answered(t: Tender, answer: object, c: Circumstances) -> Tender:
    """PartPay's answer to this refund."""
    a = t.attempt.lands(Ask.REFUND)
    t = t.with_attempt(a)
    if not t.is_open:
        return t
    match answer:
        case Refunded():
            return close(t, outcomes.APPROVED, c)
        case Refused(text=why):
            c.note(
                "refund-refused",
                f"PartPay refused the refund {a.gateway_reference}: {why}",
                attention=False,
            )
            return close(replace(t, why=why), outcomes.DECLINED, c)
        case NotSent(why=why, retry_after_s=retry_after_s):
            c.note(
                "refund-not-sent",
                f"refund {a.gateway_reference} was not sent: {why}",
                attention=False,
            )
            return t.with_attempt(replace(_later(a, retry_after_s, c), sent=a.uncertain))
        case Perhaps(why=why, retry_after_s=retry_after_s):
            c.note("refund-unanswered", f"refund {a.gateway_reference}: {why}", attention=False)
            return t.with_attempt(replace(_later(a, retry_after_s, c), uncertain=True))
    raise TypeError(f"no answer to refund: {answer!r}")


def _later(a: Attempt, retry_after_s: float | None, c: Circumstances) -> Attempt:
    own = min(2.0 ** min(a.tries(Ask.REFUND), 10), PAUSE_MAX_S)
    return a.again(Ask.REFUND, c.now + max(own, min(retry_after_s or 0.0, PAUSE_MAX_S)))


def pursue(t: Tender, c: Circumstances) -> Tender:
    """What follows for an open refund from what is written and the time."""
    a = t.attempt
    if a.flies(Ask.REFUND) or c.more_to_come:
        return t
    if not a.sent and c.now >= t.deadline:
        return close(t, outcomes.UNREACHABLE, c)
    if (
        a.uncertain
        and c.now - (a.ordered_at if a.ordered_at is not None else c.now) >= ALERT_AFTER_S
    ):
        c.note(
            "refund-unknown",
            f"it is not known yet whether refund {a.gateway_reference} was done: asking on",
        )
    if c.now < a.due(Ask.REFUND):
        c.wake(a.due(Ask.REFUND))
        if not a.sent:
            c.wake(t.deadline)
        return t
    return t.with_attempt(replace(c.want(a, Ask.REFUND, CALL_LIMIT_S), sent=True))


def restarted(t: Tender, c: Circumstances) -> Tender:
    """After a start a refund that may have been sent counts as sent."""
    a = t.attempt
    t = t.with_attempt(replace(a, uncertain=a.uncertain or a.sent))
    if t.boot == c.boot or not t.is_open:
        return t
    return replace(
        t.with_attempt(replace(t.attempt, ordered_at=c.now)),
        boot=c.boot,
        deadline=c.now + c.timing.create_timeout,
    )


def close(t: Tender, code: str, c: Circumstances) -> Tender:
    """Writes the one outcome of a refund."""
    a = t.attempt
    amount = outcomes.money(t.amount_minor, c.currency)
    return replace(
        t,
        state=State.CLOSED,
        closed_at=c.now,
        boot=c.boot,
        outcome=Outcome(
            code=code,
            text=c.prefix + outcomes.refund_text(code, amount, t.why),
            local_date=int(c.local.strftime("%y%m%d")),
            local_time=int(c.local.strftime("%H%M%S")),
            order_number=a.order_number,
            order_id=a.order_id,
        ),
    )
