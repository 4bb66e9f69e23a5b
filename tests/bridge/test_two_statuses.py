"""Two final statuses that differ: the first that was verified stands, the other is listed, checked, and made good."""

from pathlib import Path

import pytest

from bridge.partpay.answers import NotSent, Perhaps, Refunded, Refused
from bridge.tender import Ask, Owed
from tests.bridge.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    shop.sell()
    return shop


def closed_by_status(shop: Shop, status: str) -> None:
    shop.advance(2.0)
    shop.status(status)
    shop.stored(code={"approved": "00", "cancelled": "17", "declined": "05"}[status])


def test_declined_and_later_approved_by_callback_is_checked_before_anything_is_given_back(
    shop: Shop,
) -> None:
    closed_by_status(shop, "declined")
    assert shop.callback("approved") == 200
    assert "two-statuses" in shop.attention()
    assert shop.outcomes() == ["05"]
    assert shop.pending(Ask.REFUND) is None
    shop.status("approved")
    assert "late-approval" in shop.attention()
    shop.answer(Ask.REFUND, Refunded())
    assert shop.known().reversal is Owed.DONE
    assert shop.outcomes() == ["05"]


def test_declined_and_later_approved_by_callback_but_partpay_says_declined(shop: Shop) -> None:
    closed_by_status(shop, "declined")
    shop.callback("approved")
    for _ in range(12):
        if shop.pending(Ask.STATUS):
            shop.status("declined")
        shop.advance(300.0)
    assert shop.pending(Ask.REFUND) is None
    assert shop.outcomes() == ["05"]
    assert shop.known().reversal in (Owed.NONE, Owed.DONE)


def test_approved_and_later_said_not_to_be_stays_approved(shop: Shop) -> None:
    closed_by_status(shop, "approved")
    assert shop.callback("declined") == 200
    assert "approved-then-not" in shop.attention()
    shop.status("approved")
    assert shop.outcomes() == ["00"]
    assert shop.known().reversal is Owed.NONE


def test_approved_is_not_taken_back_by_a_later_answer(shop: Shop) -> None:
    shop.callback("approved")
    shop.advance(2.5)
    assert shop.outcomes() == ["00"]
    shop.status("declined")
    assert "approved-then-not" in shop.attention()
    assert shop.outcomes() == ["00"]
    assert shop.known().reversal is Owed.NONE


def test_two_answers_of_partpays_that_differ(shop: Shop) -> None:
    shop.tender(2)
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.tender(2)
    shop.created("order-2", "number-2", picture=None)
    shop.advance(2.0)
    assert shop.pending(Ask.ORDER)
    assert shop.pending(Ask.STATUS)
    shop.status("approved", Ask.ORDER)
    assert shop.outcomes(2) == ["00"]
    shop.status("declined")
    assert "two-statuses" in shop.attention()
    assert shop.known(2).attempt.told == "approved"
    assert shop.known(2).reversal is Owed.NONE


def test_two_callbacks_that_differ_are_listed_and_partpay_is_asked(shop: Shop) -> None:
    shop.callback("declined")
    shop.callback("approved")
    assert "two-statuses" in shop.attention()
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_two_callbacks_that_differ_after_the_outcome(shop: Shop) -> None:
    closed_by_status(shop, "cancelled")
    shop.callback("cancelled")
    shop.callback("approved")
    assert "two-statuses" in shop.attention()
    shop.status("cancelled")
    shop.advance(100.0)
    assert shop.outcomes() == ["17"]
    assert shop.pending(Ask.REFUND) is None


def test_a_check_is_asked_until_it_is_answered(shop: Shop) -> None:
    closed_by_status(shop, "cancelled")
    shop.callback("cancelled")
    shop.callback("approved")
    asked = 0
    shop.advance(5.0)
    shop.hello()
    assert len([e for e in shop.asked if e.wanted.ask is Ask.STATUS]) == 1, "one at a time"
    for _ in range(6):
        if shop.pending(Ask.STATUS):
            asked += 1
            shop.status("processing")
        shop.advance(0.5)
    assert asked >= 2
    shop.restart()
    shop.hello()
    assert shop.outcomes() == ["17"]


def test_approved_and_complete_are_the_same(shop: Shop) -> None:
    shop.callback("approved")
    shop.callback("complete")
    shop.status("complete")
    shop.callback("approved")
    assert shop.outcomes() == ["00"]
    assert shop.attention() == []


def test_paid_by_answer_then_another_answer_while_closing(shop: Shop) -> None:
    """The order found for a reversal was paid; an answer that says otherwise does not end the reversal."""
    shop.cancel()
    shop.advance(21.0)
    assert shop.outcomes() == ["17"]
    shop.cancelled(409)
    shop.status("approved")
    assert shop.pending(Ask.REFUND)
    shop.callback("declined")
    shop.answer(Ask.REFUND, NotSent("no route"))
    if shop.pending(Ask.STATUS):
        shop.status("declined")
    shop.advance(2.0)
    assert shop.known().attempt.told == "approved"
    shop.answer(Ask.REFUND, Perhaps("timeout"))
    shop.advance(4.0)
    shop.answer(Ask.REFUND, Refused(400, "not now"))
    assert "reversal-refused" in shop.attention()
    assert shop.known().reversal is Owed.OWED
    shop.advance(10.0)
    shop.answer(Ask.REFUND, Refunded())
    assert shop.known().reversal is Owed.DONE
