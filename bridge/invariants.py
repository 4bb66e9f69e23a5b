"""What always holds, by name.

Asserted by the engine on every change, and checked again by the simulation and `audit`.

Source: architecture, "What always holds". `written-before-said`, `isolation` and `no-secrets-told` are not
properties of one change; they are held by the engine's order of work, and tested from outside.
"""

from collections.abc import Iterator

from bridge import outcomes
from bridge.tender import DEAD, PAID, Attempt, Kind, Owed, Tender

TRUE_APPROVAL = "true-approval"
NO_LOST_MONEY = "no-lost-money"
ONE_LIVE_ORDER = "one-live-order"
ONE_OUTCOME = "one-outcome"


class InvariantBroken(AssertionError):  # noqa: N818 - a thing that happened, not an error to handle
    """A decision that must not be written; the event that led to it is set aside."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


def broken(before: Tender | None, after: Tender) -> Iterator[InvariantBroken]:
    """Every invariant that writing `after` in place of `before` would break."""
    outcome = after.outcome
    if before is not None and before.outcome is not None and before.outcome != outcome:
        yield InvariantBroken(ONE_OUTCOME, f"outcome {before.outcome.code} would change")
    if before is not None and (before.amount_minor, before.currency) != (
        after.amount_minor,
        after.currency,
    ):
        yield InvariantBroken(TRUE_APPROVAL, "the amount would change")
    if after.kind is Kind.REFUND:
        return
    # What comes to light afterwards changes nothing that was said: it is written down beside it.
    if outcome is not None and (before is None or before.outcome is None):
        proof = (_evident(a) and a.order_id == outcome.order_id for a in after.attempts)
        if outcome.code == outcomes.APPROVED and not any(proof):
            yield InvariantBroken(TRUE_APPROVAL, "00 without an approval of that order")
        for a in after.attempts:
            booked = outcome.code == outcomes.APPROVED and a.order_id == outcome.order_id
            if not booked and a.owed is Owed.NONE and _may_be_paid(a):
                yield InvariantBroken(
                    NO_LOST_MONEY, f"{a.gateway_reference} may be paid, and nothing is owed"
                )
    if before is not None:
        yield from _owed_stays(before, after)
    live = [a for a in after.attempts if not a.dead and a.owed is Owed.NONE and a.told not in PAID]
    if outcome is None and len(live) > 1:
        yield InvariantBroken(ONE_LIVE_ORDER, f"{[a.gateway_reference for a in live]}")


def _evident(a: Attempt) -> bool:
    return a.order_id is not None and (a.told in PAID or (a.signed in PAID and a.told not in DEAD))


def _may_be_paid(a: Attempt) -> bool:
    sent = a.sent or a.uncertain or a.order_id is not None
    return sent and not a.void and a.told not in DEAD and a.signed not in DEAD


def _owed_stays(before: Tender, after: Tender) -> Iterator[InvariantBroken]:
    now = {a.number: a for a in after.attempts}
    for was in before.attempts:
        a = now.get(was.number)
        if a is None:
            yield InvariantBroken(NO_LOST_MONEY, f"attempt {was.number} would be forgotten")
        elif was.owed is Owed.OWED and a.owed is Owed.NONE:
            yield InvariantBroken(
                NO_LOST_MONEY, f"{a.gateway_reference}: what is owed would be forgotten"
            )
        elif was.order_id is not None and a.order_id not in (was.order_id, None):
            yield InvariantBroken(TRUE_APPROVAL, f"order {was.order_id} would become {a.order_id}")
