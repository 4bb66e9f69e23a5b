"""Answers of PartPay out of the ordinary: none is taken for a payment, and none leaves a sale without an end."""

from pathlib import Path

import pytest

from bridge.events import PartPayAnswered
from bridge.partpay.answers import (
    AlreadyExists,
    AtUrl,
    Created,
    NoAnswer,
    NotAllowed,
    Perhaps,
    Refused,
    Told,
)
from bridge.tender import Ask, Confirm, Owed, State
from drivers.link import messages as link
from tests.bridge.shop import PICTURE, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def two_lines(shop: Shop) -> None:
    """The other terminal has an order of its own."""
    shop.hello("/dev/ttyS1", "T0000002", "SN2")
    shop.hear(link.Tender("T0000002", 1, 500, currency=554), "/dev/ttyS1")
    shop.created("order-other", "number-other")


# -- create ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        Told(order_id="order-1", amount_minor=12551),
        Told(order_id="order-1", gateway_reference="ANOTHER-1"),
        Told(order_id="order-1", merchant_reference="ANOTHER"),
        Told(),
    ],
)
def test_a_create_that_tells_another_order_is_asked_again(shop: Shop, told: Told) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Created(told))
    assert shop.known().attempt.order_id is None
    assert "strange-create" in shop.attention()
    shop.advance(1.0)
    shop.created()
    assert shop.known().attempt.order_id == "order-1"


def test_a_create_that_tells_an_order_of_another_tender_is_no_evidence(shop: Shop) -> None:
    two_lines(shop)
    shop.tender()
    shop.answer(Ask.CREATE, Created(Told(order_id="order-other", picture=PICTURE)))
    assert shop.known().attempt.order_id is None
    assert "strange-create" in shop.attention()
    shop.advance(31.0)
    assert shop.outcomes() == ["91"]
    assert shop.known().reversal is Owed.OWED


@pytest.mark.parametrize(
    ("answer", "attention"),
    [
        (AlreadyExists("order-1"), []),
        (AlreadyExists("order-9"), ["strange-order"]),
        (Refused(400, "no"), []),
    ],
)
def test_a_create_answered_after_its_callback_changes_nothing_of_the_order(
    shop: Shop, answer: object, attention: list[str]
) -> None:
    """A callback gave the id while a create was under way; whatever that one says now is late."""
    shop.tender()
    shop.callback("odd-word")
    shop.answer(Ask.CREATE, answer)
    assert shop.known().attempt.order_id == "order-1"
    assert shop.known().is_open
    assert shop.attention() == attention
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_302_to_an_order_of_another_tender_is_left_alone(shop: Shop) -> None:
    two_lines(shop)
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.advance(1.0)
    shop.answer(Ask.CREATE, AlreadyExists("order-other"))
    assert "reference-taken" in shop.attention()
    assert shop.known().attempt.number == 2
    assert shop.pending(Ask.CANCEL) is None


def test_create_not_allowed_is_96_and_a_person_is_told(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, NotAllowed(403, "PartPay answered 403"))
    assert shop.outcomes() == ["96"]
    assert "create-not-allowed" in shop.attention()
    assert shop.known().reversal is Owed.NONE


# -- the picture ----------------------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_fetched_is_fetched_again(shop: Shop) -> None:
    shop.tender()
    shop.created(picture=AtUrl("https://example.test/qr"))
    for _ in range(3):
        shop.read_code(None, why="no route", fetched=False)
        shop.advance(4.0)
    shop.read_code()
    assert shop.shown()


def test_create_without_a_picture_asks_for_the_order(shop: Shop) -> None:
    shop.tender()
    shop.created(picture=None)
    shop.status("pending", Ask.ORDER, picture=PICTURE)
    shop.read_code()
    assert shop.shown()


def test_an_order_that_never_has_a_picture_is_96(shop: Shop) -> None:
    shop.tender()
    shop.created(picture=None)
    shop.status("pending", Ask.ORDER)
    assert shop.known().state is State.CLOSING
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["96"]


@pytest.mark.parametrize("still_fetching", [True, False])
@pytest.mark.parametrize("asked_again", [True, False])
def test_no_code_within_create_timeout(shop: Shop, asked_again: bool, still_fetching: bool) -> None:
    """The order is asked once more, has five seconds for it, and then it is given up."""
    shop.tender()
    shop.created(picture=AtUrl("https://example.test/qr"))
    if still_fetching:
        shop.advance(31.0)
        assert shop.pending(Ask.ORDER) is None
        shop.read_code(None, why="no route", fetched=False)
    else:
        while shop.clock < 1029.0:
            shop.read_code(None, why="no route", fetched=False)
            shop.advance(4.0)
    assert shop.pending(Ask.ORDER)
    assert shop.known().state is State.ORDERED
    if asked_again:
        shop.status("pending", Ask.ORDER, picture=PICTURE)
        shop.advance(1.0)
        shop.read_code()
        shop.advance(6.0)
        assert shop.known().state is State.ORDERED
        assert shop.shown()
    else:
        shop.advance(6.0)
        assert shop.known().state is State.CLOSING
        shop.status("cancelled")
        assert shop.outcomes() == ["96"]


def test_a_late_create_answer_brings_the_picture_that_is_being_asked_for(shop: Shop) -> None:
    shop.tender()
    shop.callback("odd-word")
    assert shop.pending(Ask.ORDER), "the callback gave the id; there is no picture yet"
    shop.created()
    shop.status("pending", Ask.ORDER, picture=AtUrl("https://example.test/other"))
    shop.read_code()
    assert [e.payload for e in shop.shown()] == ["https://pay.test/q/1"]


# -- order and status -----------------------------------------------------------------------------------------


def test_unknown_words_prove_nothing_and_are_asked_again(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    for word in ("processing", "APPROVEDISH", "approved\u00a0", "ſettled", None):
        shop.status(word)
        assert shop.outcomes() == []
        shop.advance(3.0)
    shop.status("Approved")
    assert shop.outcomes() == ["00"]


def test_pending_while_a_callback_waits_for_confirmation(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("pending")
    shop.advance(0.5)
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_not_allowed_to_ask_for_ones_own_order(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    shop.answer(Ask.STATUS, NoAnswer("PartPay answered 401", unauthorised=True))
    assert "not-allowed" in shop.attention()
    shop.advance(1.0)
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_an_order_that_partpay_does_not_know_is_listed_after_half_a_minute(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    lost = NoAnswer("PartPay answered 404", not_found=True)
    shop.answer(Ask.STATUS, lost)
    assert "order-unknown" not in shop.attention()
    began = shop.clock
    while shop.clock < began + 32.0:
        shop.advance(1.0)
        if shop.pending(Ask.STATUS):
            shop.answer(Ask.STATUS, lost)
    assert "order-unknown" in shop.attention()
    assert shop.outcomes() == []
    shop.advance(3.0)
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_a_status_that_does_not_say_whose_it_is_proves_nothing_of_an_order_found(
    shop: Shop,
) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.advance(1.0)
    shop.answer(Ask.CREATE, AlreadyExists("order-9"))
    shop.advance(6.0)
    shop.post(PartPayAnswered(1, 1, 1, Ask.STATUS, Told(status="approved")))
    assert shop.outcomes() == []
    assert shop.known().attempt.told is None


# -- cancel ---------------------------------------------------------------------------------------------------


def test_a_cancel_without_an_answer_is_said_again(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    shop.answer(Ask.CANCEL, NoAnswer("timeout"))
    shop.status("pending")
    shop.advance(1.0)
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["17"]
    assert shop.known().reversal is Owed.NONE


def test_a_panel_that_fails_while_closing_changes_nothing(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    before = shop.known()
    shop.panel_cannot()
    shop.cancel()
    assert shop.known() == before


# -- require: a callback alone is never enough, and never forgotten ---------------------------------------------


def test_a_signed_decline_waits_for_partpays_word_under_require(tmp_path: Path) -> None:
    shop = Shop(tmp_path, confirm=Confirm.REQUIRE)
    shop.hello()
    shop.sell()
    shop.callback("declined")
    shop.advance(100.0)
    assert shop.outcomes() == []
    shop.status("declined")
    assert shop.outcomes() == ["05"]
