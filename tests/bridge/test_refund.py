"""A refund asked for at the terminal: its limits, and that its result is never told otherwise than it is."""

from pathlib import Path

import pytest

from bridge.partpay.answers import NotSent, Perhaps, Refunded, Refused
from bridge.tender import Ask
from drivers.link import messages as link
from tests.bridge.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    shop.sell(1)
    shop.callback("approved")
    shop.status("approved")
    shop.stored(1)
    return shop


def reason(said: list[link.Message]) -> int:
    assert isinstance(said[-1], link.Refused)
    return said[-1].reason


def test_a_refund_done(shop: Shop) -> None:
    said = shop.refund(2, 1, 5000)
    assert isinstance(said[0], link.Accepted)
    assert (said[0].amount_minor, said[0].currency, said[0].seconds_left) == (5000, 554, 0)
    shop.answer(Ask.REFUND, Refunded())
    assert shop.outcomes(2) == ["00"]


def test_what_is_not_refundable(shop: Shop) -> None:
    assert reason(shop.refund(2, 9, 100)) == 2
    assert reason(shop.refund(2, 1, 0)) == 5
    assert reason(shop.refund(2, 1, 12551)) == 8
    assert reason(shop.refund(1, 1, 100)) == 3
    shop.refund(2, 1, 12000)
    assert reason(shop.refund(3, 1, 600)) == 8
    assert reason(shop.refund(4, 2, 100)) == 2
    shop.answer(Ask.REFUND, Refused(400, "too late"))
    assert shop.outcomes(2) == ["05"]
    assert isinstance(shop.refund(5, 1, 600)[0], link.Accepted)


def test_never_sent_is_91_and_then_it_never_is(shop: Shop) -> None:
    shop.refund(2, 1, 100)
    while not shop.outcomes(2):
        if shop.pending(Ask.REFUND):
            shop.answer(Ask.REFUND, NotSent("connection refused"))
        shop.advance(1)
    assert shop.outcomes(2) == ["91"]
    shop.advance(600)
    assert shop.pending(Ask.REFUND) is None


def test_perhaps_sent_is_asked_under_the_same_reference_until_it_is_known(shop: Shop) -> None:
    shop.refund(2, 1, 100)
    references = set()
    for _ in range(20):
        if effect := shop.pending(Ask.REFUND):
            references.add(effect.tender.attempt.gateway_reference)
            shop.answer(Ask.REFUND, Perhaps("timeout"))
        shop.advance(30)
    assert shop.outcomes(2) == []
    assert [type(m).__name__ for m in shop.cancel(2)] == ["Progress"]
    shop.restart()
    shop.hello()
    effect = shop.pending(Ask.REFUND)
    assert effect is not None
    references.add(effect.tender.attempt.gateway_reference)
    shop.answer(Ask.REFUND, Refunded())
    assert shop.outcomes(2) == ["00"]
    assert len(references) == 1


def test_a_restart_after_it_may_have_been_sent_never_says_91(shop: Shop) -> None:
    shop.refund(2, 1, 100)
    shop.restart()
    shop.hello()
    for _ in range(60):
        if shop.pending(Ask.REFUND):
            shop.answer(Ask.REFUND, NotSent("connection refused"))
        shop.advance(1)
    assert shop.outcomes(2) == []


def test_it_holds_up_no_tender_and_is_told_again_when_asked(shop: Shop) -> None:
    shop.refund(2, 1, 100)
    assert isinstance(shop.tender(3)[0], link.Accepted)
    said = shop.hello()
    assert [type(m).__name__ for m in said if getattr(m, "counter", 0) == 2] == [
        "Accepted",
        "Progress",
    ]
    mark = len(shop.said)
    shop.advance(60)
    assert not [m for m in shop.said[mark:] if isinstance(m, link.Progress) and m.counter == 2]
