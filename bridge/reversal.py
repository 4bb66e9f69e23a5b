"""A reversal owed: an order that may still be paid, or was, for a tender whose outcome is another.

    owed --> find (the same create again, until an id comes, and whose it is) --> cancel, ask
         --> refund where it was paid --> done

- It ends only on PartPay's own word that nobody paid and nobody can (E1), on a confirmed refund in full, or where
  no order can exist: the same create, sent again, was refused for good twice and no picture was ever shown
  (abandoned, listed for attention).
- Pauses double from 1 s to 5 min, for ever, through restarts. After 6 tries or 15 min a person is told.
- The refund's reference is fixed by the attempt (`<gateway reference>-V`), so that it is refunded once.
"""

from dataclasses import replace
from typing import Final

from bridge.partpay.answers import NotSent, Perhaps, Refunded, Refused
from bridge.tender import CALL_LIMIT_S, DEAD, PAID, Ask, Attempt, Circumstances, Owed, Tender

PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 300.0
ALERT_TRIES: Final = 6
ALERT_AFTER_S: Final = 900.0
REFUSALS_TO_ABANDON: Final = 2
DISPUTES_TO_BELIEVE: Final = 8
"""A signed approval against PartPay's own word: its word is believed after it was given this often."""


def refund_reference(a: Attempt) -> str:
    """The reference of the refund in full; never another one for the same order."""
    return f"{a.gateway_reference}-V"


def pause(tries: int) -> float:
    """Seconds before the next try of a reversal."""
    return float(min(PAUSE_FIRST_S * 2 ** min(tries, 20), PAUSE_MAX_S))


def refund_answered(t: Tender, number: int, answer: object, c: Circumstances) -> Tender:
    """PartPay's answer to the refund in full of one attempt."""
    a = next((a for a in t.attempts if a.number == number), None)
    if a is None:
        return t
    a = a.lands(Ask.REFUND)
    match answer:
        case Refunded():
            c.note("reversed", f"order {a.order_id} is refunded in full", attention=False)
            return t.with_attempt(replace(a, owed=Owed.DONE, refunded=True))
        case Refused(text=why):
            c.note("reversal-refused", f"PartPay will not refund order {a.order_id}: {why}")
            return t.with_attempt(_later(a, c).at_once(Ask.STATUS))
        case NotSent(why=why) | Perhaps(why=why):
            c.note("reversal-unanswered", f"refund of order {a.order_id}: {why}", attention=False)
            return t.with_attempt(_later(a, c))
    raise TypeError(f"no answer to refund: {answer!r}")


def _later(a: Attempt, c: Circumstances) -> Attempt:
    return a.again(Ask.REFUND, c.now + pause(a.tries(Ask.REFUND)))


def pursue(t: Tender, c: Circumstances) -> Tender:
    """What follows for every attempt of a closed tender that still owes a reversal."""
    for a in t.attempts:
        if a.owed is Owed.OWED:
            t = t.with_attempt(_pursue(a, t, c))
        elif a.run.check and a.order_id is not None:
            t = t.with_attempt(_check(a, c))
    return t


def _check(a: Attempt, c: Circumstances) -> Attempt:
    if a.flies(Ask.STATUS):
        return a
    if c.now < a.due(Ask.STATUS):
        c.wake(a.due(Ask.STATUS))
        return a
    return c.want(a, Ask.STATUS)


def _pursue(a: Attempt, t: Tender, c: Circumstances) -> Attempt:
    disputed = a.signed in PAID and a.told in DEAD
    if a.void or (a.order_id is None and not a.sent and not a.uncertain):
        return replace(a, owed=Owed.DONE)
    if a.told in DEAD and (not disputed or a.disputes >= DISPUTES_TO_BELIEVE):
        return replace(a, owed=Owed.DONE)
    if a.order_id is None and a.refusals >= REFUSALS_TO_ABANDON and not a.shown:
        c.note(
            "no-order",
            f"PartPay refuses {a.gateway_reference} for good, and no code was shown: no order",
        )
        return replace(a, owed=Owed.ABANDONED)
    before = len(c.wanted)
    if a.told in PAID:
        a = _when_due(a, Ask.REFUND, c)
    elif a.order_id is None:
        a = _when_due(a, Ask.CREATE, c)
    elif a.unproven:
        a = _when_due(a, Ask.ORDER, c)
    elif disputed:
        a = _when_due(a, Ask.STATUS, c)
    else:
        a = _when_due(a, Ask.CANCEL, c)
        if a.tries(Ask.CANCEL):
            a = _when_due(a, Ask.STATUS, c)
    if len(c.wanted) > before:
        a = replace(a, owed_tries=a.owed_tries + len(c.wanted) - before)
    since = a.owed_since if a.owed_since is not None else c.now
    if a.owed_tries > ALERT_TRIES or c.now - since >= ALERT_AFTER_S:
        c.note(
            "reversal-owed",
            f"the reversal of {a.gateway_reference} is not done yet: it goes on being tried",
        )
    else:
        c.wake(since + ALERT_AFTER_S)
    return a


def _when_due(a: Attempt, ask: Ask, c: Circumstances) -> Attempt:
    """Asked no more often than the growing pauses allow, whatever the pause was while the tender was open."""
    if a.flies(ask):
        return a
    if c.now < a.due(ask):
        c.wake(a.due(ask))
        return a
    if ask is Ask.CREATE:
        a = replace(a, sent=True, uncertain=True)
    return c.want(a, ask, CALL_LIMIT_S)


def slowed(a: Attempt, ask: Ask, c: Circumstances) -> Attempt:
    """After an answer that settled nothing the next try waits longer than the one before."""
    if a.owed is not Owed.OWED or a.tries(ask) == 0:
        return a
    at = max(a.due(ask), c.now + pause(a.tries(ask) - 1))
    return replace(a, run=replace(a.run, due={**a.run.due, ask: at}))
