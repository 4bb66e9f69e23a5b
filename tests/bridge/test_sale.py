"""The life of a tender, through the real engine and journal: each row of architecture, "The life of a tender"."""

import sqlite3
from pathlib import Path

import pytest

from bridge.partpay.answers import (
    AlreadyExists,
    NoAnswer,
    NotAllowed,
    NotSent,
    Perhaps,
    Refunded,
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


def kinds(said: list[link.Message]) -> list[str]:
    return [type(m).__name__ for m in said]


def refusal(said: list[link.Message]) -> int:
    assert isinstance(said[-1], link.Refused)
    return said[-1].reason


def test_an_approved_sale(shop: Shop) -> None:
    assert kinds(shop.tender(7)) == ["Accepted"]
    assert kinds(shop.created()) == []
    assert kinds(shop.read_code()) == ["Progress"]
    assert shop.shown()[-1].payload == "https://pay.test/q/1"
    shop.advance(2.0)
    assert kinds(shop.status("approved")) == ["Outcome"]
    assert shop.outcomes(7) == ["00"]
    assert shop.known(7).reversal is Owed.NONE
    shop.stored(7)
    shop.advance(1000)
    assert shop.outcomes(7) == ["00"]


@pytest.mark.parametrize(
    ("status", "code"),
    [("declined", "05"), ("expired", "54"), ("cancelled", "17"), ("complete", "00")],
)
def test_every_final_status_has_its_code(shop: Shop, status: str, code: str) -> None:
    shop.sell()
    shop.advance(2.0)
    shop.status(status)
    assert shop.outcomes() == [code]
    assert shop.known().reversal is Owed.NONE


def test_the_callback_is_confirmed_with_partpay_and_answered_before_that(shop: Shop) -> None:
    shop.sell()
    assert shop.callback("approved") == 200
    assert shop.outcomes() == []
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_a_signed_approval_stands_alone_when_partpay_cannot_be_asked(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.answer(Ask.STATUS, NoAnswer("no route"))
    shop.advance(1.9)
    assert shop.outcomes() == []
    shop.advance(0.2)
    assert shop.outcomes() == ["00"]


def test_a_signed_decline_alone_keeps_a_reversal_owed(shop: Shop) -> None:
    shop.sell()
    shop.callback("declined")
    shop.advance(2.0)
    assert shop.outcomes() == ["05"]
    assert shop.known().reversal is Owed.OWED
    shop.answer(Ask.STATUS, Told(status="declined"))
    assert shop.known().reversal is Owed.DONE


def test_off_believes_the_signature_at_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path, confirm=Confirm.OFF)
    shop.hello()
    shop.sell()
    shop.callback("approved")
    assert shop.outcomes() == ["00"]


def test_require_never_believes_the_signature_alone(tmp_path: Path) -> None:
    shop = Shop(tmp_path, confirm=Confirm.REQUIRE)
    shop.hello()
    shop.sell()
    shop.callback("approved")
    shop.answer(Ask.STATUS, NoAnswer("no route"))
    shop.advance(60)
    assert shop.outcomes() == []
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_e1_outranks_e2_before_the_outcome(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    for _ in range(5):
        assert shop.outcomes() == []
        shop.status("declined")
        shop.advance(8.0)
    assert set(shop.outcomes()) == {"05"}
    assert shop.known().reversal is Owed.OWED
    assert "disputed" in shop.attention()


def test_a_callback_before_the_answer_to_create(shop: Shop) -> None:
    shop.tender()
    assert shop.callback("approved") == 200
    assert shop.known().attempt.order_id == "order-1"
    shop.status("approved")
    assert shop.outcomes() == ["00"]
    shop.created()
    assert shop.outcomes() == ["00"]
    assert shop.known().reversal is Owed.NONE


def test_a_callback_twice_is_answered_twice(shop: Shop) -> None:
    shop.sell()
    assert shop.callback("approved") == 200
    shop.status("approved")
    assert shop.callback("approved") == 200
    assert shop.outcomes() == ["00"]


def test_callbacks_that_are_not_ours(shop: Shop) -> None:
    shop.sell()
    assert shop.callback("approved", order_id="order-9", reference="elsewhere") == 404
    assert shop.callback("approved", order_id="order-9") == 404
    assert "stray-callback" in shop.attention()
    assert shop.callback("odd-word") == 200
    assert shop.outcomes() == []
    assert shop.callback("approved", signers=("M-2",)) == 401


def test_a_callback_must_be_signed_by_the_orders_merchant(tmp_path: Path) -> None:
    shop = Shop(tmp_path, callback_key_file=tmp_path / "key")
    shop.hello()
    shop.sell()
    assert shop.callback("approved", signers=("",)) == 401
    assert shop.callback("approved", signers=("M-2",)) == 401
    assert shop.callback("approved", signers=("M-1",)) == 200


def test_polling_alone_is_enough_and_slows_down(shop: Shop) -> None:
    shop.sell()
    asked = 0
    for _ in range(280):
        shop.advance(1.0)
        if shop.pending(Ask.STATUS):
            asked += 1
            shop.status("pending")
    assert 50 <= asked <= 70
    shop.advance(9)
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_progress_at_least_every_ten_seconds(shop: Shop) -> None:
    shop.sell()
    mark = len(shop.said)
    shop.advance(100.0)
    assert kinds(shop.said[mark:]).count("Progress") >= 10


def test_create_never_sent_is_91_and_owes_nothing(shop: Shop) -> None:
    shop.tender()
    for _ in range(100):
        if shop.pending(Ask.CREATE):
            shop.answer(Ask.CREATE, NotSent("connection refused"))
        shop.advance(1.0)
        if shop.outcomes():
            break
    assert shop.outcomes() == ["91"]
    assert shop.clock == pytest.approx(1030, abs=1.1)
    assert shop.known().reversal is Owed.NONE
    shop.advance(600)
    assert shop.pending(Ask.CREATE) is None


def test_create_perhaps_sent_is_91_and_owes_a_reversal_that_finds_and_cancels(shop: Shop) -> None:
    shop.tender()
    references = set()
    while not shop.outcomes():
        if effect := shop.pending(Ask.CREATE):
            references.add(effect.tender.attempt.gateway_reference)
            shop.answer(Ask.CREATE, Perhaps("timeout"))
        shop.advance(1.0)
    assert shop.outcomes() == ["91"]
    assert len(references) == 1
    assert shop.known().reversal is Owed.OWED
    shop.advance(60)
    shop.answer(Ask.CREATE, AlreadyExists("order-1"))
    assert shop.pending(Ask.CANCEL) is None, "whose order it is has to be known first"
    shop.status("pending", Ask.ORDER)
    assert shop.shown() == []
    shop.cancelled()
    shop.status("cancelled")
    assert shop.known().reversal is Owed.DONE


def test_a_late_approval_is_refunded_in_full_and_never_booked(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    shop.answer(Ask.CANCEL, NoAnswer("no route"))
    shop.advance(25)
    assert shop.outcomes()[0] == "17"
    assert shop.known().reversal is Owed.OWED
    shop.callback("approved")
    shop.status("approved")
    shop.advance(10)
    effect = shop.pending(Ask.REFUND)
    assert effect is not None
    shop.answer(Ask.REFUND, Perhaps("timeout"))
    shop.restart()
    shop.advance(10)
    shop.answer(Ask.REFUND, Refunded())
    assert shop.known().reversal is Owed.DONE
    assert set(shop.outcomes()) == {"17"}


def test_302_after_an_uncertain_send_is_ours(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("broken connection"))
    shop.advance(1.0)
    shop.answer(Ask.CREATE, AlreadyExists("order-1"))
    shop.status("pending", Ask.ORDER, picture=None)
    shop.cancelled(202)
    shop.status("pending")
    assert shop.pending(Ask.CREATE) is None
    shop.advance(1.0)
    shop.status("cancelled")
    effect = shop.pending(Ask.CREATE)
    assert effect is not None
    assert effect.wanted.attempt == 2
    shop.created("order-2")
    shop.read_code()
    assert shop.shown()[-1].accepted.counter == 1


def test_302_on_a_first_send_is_not_ours(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, AlreadyExists("order-77"))
    effect = shop.pending(Ask.CREATE)
    assert effect is not None
    assert effect.wanted.attempt == 2
    assert shop.pending(Ask.CANCEL) is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Refused(400, "limit exceeded", ("Amount",)), "05"),
        (Refused(422, "bad customer", ("Customer.Email",)), "05"),
        (Refused(400, "no reason"), "05"),
        (Refused(400, "bad merchant", ("MerchantId",)), "96"),
        (NotAllowed(403, "not allowed"), "96"),
    ],
)
def test_create_refused_for_good(shop: Shop, answer: object, code: str) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, answer)
    assert shop.outcomes() == [code]
    assert shop.known().reversal is Owed.NONE


def test_refused_after_an_uncertain_send_owes_until_refused_twice(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.advance(1)
    shop.answer(Ask.CREATE, Refused(400, "limit"))
    assert shop.known().reversal is Owed.OWED
    shop.advance(10)
    shop.answer(Ask.CREATE, Refused(400, "limit"))
    assert shop.known().reversal is Owed.ABANDONED
    assert "no-order" in shop.attention()


def test_cancel_asks_and_a_quicker_approval_wins(shop: Shop) -> None:
    shop.sell()
    assert "Progress" in kinds(shop.cancel())
    assert shop.cleared()
    shop.cancelled()
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_cancel_before_the_order_id_is_known_finds_it_first(shop: Shop) -> None:
    shop.tender()
    shop.cancel()
    assert shop.outcomes() == []
    shop.created()
    assert shop.pending(Ask.PICTURE) is None
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["17"]


def test_cancel_where_no_order_can_exist(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, NotSent("refused"))
    shop.cancel()
    assert shop.outcomes() == ["17"]
    assert shop.known().reversal is Owed.NONE
    assert shop.pending(Ask.CREATE) is None


def test_the_orders_life_is_over(shop: Shop) -> None:
    shop.tender()
    shop.created(life_s=60.0)
    shop.read_code()
    shop.advance(59)
    assert shop.pending(Ask.CANCEL) is None
    shop.advance(2)
    shop.cancelled()
    if shop.pending(Ask.STATUS):
        shop.status("cancelled")
    assert shop.outcomes() == ["54"]


def test_a_picture_without_a_code_is_asked_for_once_more_then_96(shop: Shop) -> None:
    shop.tender()
    shop.created()
    shop.read_code(None, why="no code")
    shop.status("pending", Ask.ORDER, picture=Told().picture)
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["96"]


def test_a_panel_that_cannot_show(shop: Shop) -> None:
    shop.sell()
    shop.panel_cannot()
    assert shop.texts()
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["96"]


def test_answers_that_tell_another_order_are_no_evidence(shop: Shop) -> None:
    shop.sell()
    for wrong in (
        {"order_id": "order-2"},
        {"amount_minor": 1},
        {"gateway_reference": "x"},
        {"order_number": "9"},
    ):
        shop.advance(3.0)
        shop.status("approved", **wrong)
        assert shop.outcomes() == []
    shop.advance(3.0)
    shop.status("approved", amount_minor=12550, order_id="order-1")
    assert shop.outcomes() == ["00"]


def test_repeating_and_asking(shop: Shop) -> None:
    shop.sell()
    assert kinds(shop.tender()) == ["Accepted", "Progress"]
    assert len(shop.shown()) == 2
    assert refusal(shop.tender(amount_minor=1)) == 3
    assert refusal(shop.tender(2)) == 4
    assert kinds(shop.query()) == ["Progress"]
    assert kinds(shop.query(None)) == ["Progress"]
    assert refusal(shop.query(9)) == 2
    assert refusal(shop.cancel(9)) == 2
    shop.callback("approved")
    shop.status("approved")
    assert kinds(shop.tender()) == ["Outcome"]
    shop.stored()
    assert refusal(shop.tender()) == 3
    assert kinds(shop.query()) == ["Outcome"]
    assert kinds(shop.cancel()) == ["Outcome"]


def test_bad_tenders(shop: Shop) -> None:
    assert refusal(shop.tender(1, 0)) == 5
    assert refusal(shop.tender(1, 100, currency=36)) == 5
    assert refusal(shop.tender(1, 100, merchant="M-9")) == 7
    assert shop.find(1) is None
    shop.free_bytes = 1
    assert refusal(shop.tender(1)) == 10


def test_the_outcome_is_sent_until_it_is_stored(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    times = []
    for _ in range(200):
        before = len(shop.outcomes())
        shop.advance(1.0)
        if len(shop.outcomes()) > before:
            times.append(round(shop.clock - 1000))
    assert times[:5] == [5, 15, 35, 75, 135]
    shop.stored(1, "05")
    assert "stored-differs" in shop.attention()
    shop.unplug()
    mark = len(shop.outcomes())
    shop.advance(100)
    assert len(shop.outcomes()) == mark
    shop.plug()
    assert kinds(shop.hello()) == ["Welcome", "Outcome"]
    shop.stored()


def test_a_hello_in_mid_tender_tells_it_again(shop: Shop) -> None:
    shop.sell()
    shop.unplug()
    shop.plug()
    said = shop.hello()
    assert kinds(said) == ["Welcome", "Accepted", "Progress"]
    assert isinstance(said[0], link.Welcome)
    assert said[0].counter == 1
    assert len(shop.shown()) == 2
    assert shop.pending(Ask.STATUS)


@pytest.mark.parametrize("boot", [None, "boot-2"])
def test_a_restart_in_every_state(shop: Shop, boot: str | None) -> None:
    shop.tender()
    shop.restart(boot=boot)
    shop.hello()
    assert shop.known().attempt.uncertain
    shop.answer(Ask.CREATE, AlreadyExists("order-1"))
    shop.status("pending", Ask.ORDER, picture=PICTURE)
    shop.read_code()
    shop.restart(boot=boot and "boot-3")
    shop.hello()
    assert shop.shown()[-1].payload
    assert shop.pending(Ask.STATUS)
    shop.cancel()
    shop.restart(boot=boot and "boot-4")
    shop.cancelled()
    shop.status("cancelled")
    shop.restart()
    assert shop.known().outcome is not None
    assert kinds(shop.hello())[-1] == "Outcome"
    assert shop.outcomes()[-1] == "17"


def test_another_boot_renews_an_orders_life_once(shop: Shop) -> None:
    shop.sell()
    shop.advance(290)
    shop.restart(boot="boot-2")
    shop.advance(100)
    assert shop.known().state is State.ORDERED
    shop.restart(boot="boot-3")
    shop.advance(1)
    assert shop.known().state is State.CLOSING


def test_the_same_sale_keyed_again_waits_for_the_reversal(shop: Shop) -> None:
    shop.sell(reference="INV-1")
    shop.cancel()
    shop.answer(Ask.CANCEL, NoAnswer("away"))
    shop.advance(21)
    assert shop.outcomes()[0] == "17"
    shop.stored(1, "17")
    shop.asked.clear()
    shop.tender(2, reference="INV-1")
    assert shop.pending(Ask.CREATE) is None
    shop.advance(10.5)
    effect = shop.pending(Ask.CREATE)
    assert effect is not None
    assert effect.tender.counter == 2


def test_disk_full_refuses_and_recovers(shop: Shop) -> None:
    shop.sell()
    shop.journal_fails = sqlite3.OperationalError("database or disk is full")
    journal = shop.engine._journal
    assert journal is not None
    journal._db.execute("PRAGMA query_only=1")
    assert refusal(shop.tender(2)) == 10
    assert shop.callback_503()
    assert kinds(shop.query()) == ["Accepted", "Progress"]
    assert kinds(shop.tender()) == ["Accepted", "Progress"]
    assert shop.query(2) == []
    assert refusal(shop.tender(3)) == 10
    shop.journal_fails = None
    shop.advance(5)
    shop.asked = [a for a in shop.asked if a.wanted.ask is Ask.STATUS][-1:]
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_a_partpay_that_takes_no_order_is_not_asked_in_a_circle(shop: Shop) -> None:
    shop.tender()
    asked = 0
    while not shop.outcomes():
        while shop.pending(Ask.CREATE):
            asked += 1
            shop.answer(Ask.CREATE, AlreadyExists(f"order-of-another-{asked}"))
        shop.advance(0.5)
    assert shop.outcomes()[0] == "91"
    assert asked < 10


def test_a_signed_approval_while_closing_is_waited_for_without_spinning(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    shop.advance(19.5)
    shop.callback("approved")
    shop.advance(1.0)
    assert shop.outcomes() == []
    shop.advance(1.1)
    assert shop.outcomes()[0] == "00"
