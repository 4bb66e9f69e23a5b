"""Each invariant, by the change that would break it; and that ordinary changes break none."""

from dataclasses import replace

import pytest

from bridge.invariants import (
    NO_LOST_MONEY,
    ONE_LIVE_ORDER,
    ONE_OUTCOME,
    TRUE_APPROVAL,
    InvariantBroken,
    broken,
)
from bridge.tender import Attempt, Kind, Outcome, Owed, State, Tender

ATTEMPT = Attempt(1, "AKL01-T1-1-1-a", "INV-a", sent=True, order_id="order-1")
OPEN = Tender(
    pairing=1, terminal_id="T1", counter=1, kind=Kind.TENDER, merchant="M", amount_minor=100,
    currency=554, accepted_at="", boot="b", deadline=0.0, create_deadline=0.0,
    state=State.ORDERED, attempts=(ATTEMPT,),
)  # fmt: skip
NO = Outcome("17", "CANCELLED", 1, 1, None, None)
YES = Outcome("00", "APPROVED", 1, 1, None, "order-1")


def names(before: Tender | None, after: Tender) -> list[str]:
    return [breach.name for breach in broken(before, after)]


def closed(outcome: Outcome, *attempts: Attempt) -> Tender:
    return replace(OPEN, state=State.CLOSED, outcome=outcome, attempts=attempts or OPEN.attempts)


def test_ordinary_changes_break_nothing() -> None:
    assert names(None, OPEN) == []
    assert names(OPEN, closed(YES, replace(ATTEMPT, told="approved"))) == []
    assert names(OPEN, closed(NO, replace(ATTEMPT, told="cancelled"))) == []
    assert names(OPEN, closed(NO, replace(ATTEMPT, owed=Owed.OWED))) == []
    told = replace(ATTEMPT, signed="approved")
    late = replace(told, told="declined")
    assert names(closed(YES, told), closed(YES, late)) == [], "what comes later is written down"
    owed = closed(NO, replace(ATTEMPT, owed=Owed.OWED))
    assert names(owed, closed(NO, replace(ATTEMPT, owed=Owed.DONE))) == []
    void = replace(ATTEMPT, void=True, order_id=None)
    assert names(OPEN, replace(OPEN, attempts=(void, replace(ATTEMPT, number=2)))) == []


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (ONE_OUTCOME, closed(NO, replace(ATTEMPT, owed=Owed.OWED)),
         closed(YES, replace(ATTEMPT, owed=Owed.OWED, told="approved"))),
        (TRUE_APPROVAL, OPEN, replace(OPEN, amount_minor=101)),
        (TRUE_APPROVAL, OPEN, replace(OPEN, currency=840)),
        (TRUE_APPROVAL, OPEN, closed(YES)),
        (TRUE_APPROVAL, OPEN, closed(replace(YES, order_id="order-2"), replace(ATTEMPT, told="approved"))),
        (TRUE_APPROVAL, OPEN, closed(YES, replace(ATTEMPT, signed="approved", told="declined"))),
        (TRUE_APPROVAL, OPEN, replace(OPEN, attempts=(replace(ATTEMPT, order_id="order-2"),))),
        (NO_LOST_MONEY, OPEN, closed(NO)),
        (NO_LOST_MONEY, OPEN, replace(OPEN, attempts=())),
        (NO_LOST_MONEY, closed(NO, replace(ATTEMPT, owed=Owed.OWED)), closed(NO)),
        (ONE_LIVE_ORDER, OPEN, replace(OPEN, attempts=(ATTEMPT, replace(ATTEMPT, number=2)))),
    ],
)  # fmt: skip
def test_what_breaks_it(name: str, before: Tender, after: Tender) -> None:
    assert name in names(before, after)


def test_a_refund_is_held_to_its_outcome_and_amount_alone() -> None:
    before = replace(OPEN, kind=Kind.REFUND)
    assert names(before, replace(before, state=State.CLOSED, outcome=YES)) == []
    assert names(replace(before, outcome=NO), replace(before, outcome=YES)) == [ONE_OUTCOME]


def test_it_says_what_and_where() -> None:
    breach = next(broken(OPEN, closed(NO)))
    assert isinstance(breach, InvariantBroken)
    assert str(breach) == "no-lost-money: AKL01-T1-1-1-a may be paid, and nothing is owed"
