"""A poisoned event is set aside alone: its tender is frozen, PROGRESS only, and the rest of the shop goes on."""

import sqlite3
from pathlib import Path

import pytest

from bridge import book, refund, sale
from bridge.events import CodeRead, PartPayAnswered
from bridge.journal.journal import Journal
from bridge.lane_events import Heard, PictureResult
from bridge.partpay.answers import Created, Perhaps, Refunded, Told
from bridge.tender import Ask, Tender
from drivers.link import messages as link
from tests.bridge.shop import LANE, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def raising(*_: object, **__: object) -> Tender:
    raise ZeroDivisionError("planted")


def frozen(shop: Shop) -> frozenset[str]:
    return shop.engine.frozen


ODD = object()


@pytest.mark.parametrize(
    ("ask", "before"),
    [
        (Ask.CREATE, lambda shop: shop.tender()),
        (Ask.STATUS, lambda shop: (shop.sell(), shop.advance(2.0))),
        (Ask.CANCEL, lambda shop: (shop.sell(), shop.cancel())),
        (Ask.PICTURE, lambda shop: (shop.tender(), shop.created())),
    ],
)
def test_an_answer_that_cannot_be_understood(shop: Shop, ask: Ask, before: object) -> None:
    before(shop)  # type: ignore[operator]
    shop.answer(ask, ODD)
    assert shop.engine.poisoned == 1
    assert frozen(shop) == {"T0000001/1"}
    assert "poisoned" in shop.attention()
    assert shop.outcomes() == []
    said = shop.query()
    assert isinstance(said[-1], link.Progress)
    assert "call support" in said[-1].text
    mark = len(shop.said)
    shop.advance(30.0)
    assert {type(m) for m in shop.said[mark:]} == {link.Progress}, "never a code"
    assert isinstance(shop.cancel()[-1], link.Progress)


def test_a_refunds_answer_that_cannot_be_understood(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.refund(2, 1, 100)
    shop.answer(Ask.REFUND, ODD)
    assert frozen(shop) == {"T0000001/2"}
    shop.sell(3, "order-3")
    shop.cancel(3)
    shop.cancelled()
    shop.advance(25.0)
    shop.answer(Ask.STATUS, Told(status="approved"))
    shop.stored(3, "17")
    shop.answer(Ask.REFUND, ODD)
    assert frozen(shop) == {"T0000001/2", "T0000001/3"}


def test_the_next_start_tries_it_anew(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, ODD)
    shop.restart()
    shop.hello()
    assert frozen(shop) == frozenset()
    shop.created()
    shop.read_code()
    shop.callback("approved")
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def test_the_rest_of_the_batch_goes_on(shop: Shop) -> None:
    shop.hello("/dev/ttyS1", "T0000002", "SN2")
    shop.tender()
    t = shop.known()
    said = shop.post(
        PartPayAnswered(t.pairing, t.counter, 1, Ask.CREATE, ODD),
        Heard("/dev/ttyS1", link.Tender("T0000002", 5, 700, currency=554), 1),
    )
    assert isinstance(said[-1], link.Accepted)
    assert shop.find(5, pairing=2) is not None


def test_a_message_whose_decision_fails_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "new_attempt", raising)
    said = shop.tender()
    assert isinstance(said[-1], link.Refused)
    assert said[-1].reason == 10
    assert shop.find() is None
    assert frozen(shop) == frozenset()


def test_a_callback_whose_decision_fails_is_put_off(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sell()
    monkeypatch.setattr(sale, "signed", raising)
    assert shop.callback("approved") == 503
    assert frozen(shop) == {"T0000001/1"}
    monkeypatch.setattr(type(shop.engine), "_stray_callback", raising)
    assert shop.callback("approved", "order-9", "AKL01-NOBODY-1-1-0") == 503
    assert shop.engine.poisoned == 2


def test_a_decision_that_would_break_an_invariant_is_not_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop.sell()
    monkeypatch.setattr(sale, "_owe", lambda a, c: a)
    shop.cancel()
    shop.clock += 25.0
    shop.cancelled()
    assert shop.outcomes() == []
    assert shop.known().outcome is None
    assert shop.engine.poisoned == 1
    assert "poisoned" in shop.attention()
    assert "no-lost-money" in caplog.text


def test_only_the_tender_that_fails_is_frozen(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.sell(2, "order-2")
    shop.refund(3, 1, 100)
    real = refund.pursue
    monkeypatch.setattr(refund, "pursue", raising)
    shop.answer(Ask.REFUND, Perhaps("timeout"))
    assert frozen(shop) == {"T0000001/3"}
    monkeypatch.setattr(refund, "pursue", real)
    shop.callback("approved", "order-2", counter=2)
    shop.status("approved")
    assert shop.outcomes(2) == ["00"]
    assert "refund" not in shop.outcomes(3)


def test_what_names_no_tender_freezes_none(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sell()
    monkeypatch.setattr(book, "cannot_show", raising)
    shop.post(PictureResult(LANE, "T0000001", 1, shown=False, why="no format fits"))
    assert shop.engine.poisoned == 1
    assert frozen(shop) == frozenset()


def test_answers_for_what_is_not_known_change_nothing(shop: Shop) -> None:
    shop.sell()
    before = shop.known()
    shop.post(
        PartPayAnswered(1, 99, 1, Ask.STATUS, Told(status="approved")),
        PartPayAnswered(1, 1, 9, Ask.STATUS, Told(status="approved")),
        PartPayAnswered(1, 1, 9, Ask.CREATE, Created(Told(order_id="x"))),
        PartPayAnswered(1, 1, 9, Ask.REFUND, Refunded()),
        CodeRead(1, 99, 1, "https://other"),
        CodeRead(1, 1, 9, "https://other"),
        PictureResult(LANE, "T0000001", None, shown=False, why="no"),
        PictureResult("/dev/ttyS9", "T0000009", 1, shown=False, why="no"),
    )
    assert shop.known() == before
    assert shop.engine.poisoned == 0
    assert shop.outcomes() == []


def test_what_fails_when_its_time_comes_is_frozen_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sell()
    shop.clock += 3.0
    monkeypatch.setattr(sale, "pursue", raising)
    shop.post()
    assert frozen(shop) == {"T0000001/1"}
    shop.post()
    assert shop.engine.poisoned == 1


def test_a_journal_that_fails_within_a_decision_is_no_poison(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as disk:
        disk.setattr(Journal, "find", fails)
        said = shop.tender()
    assert isinstance(said[-1], link.Refused)
    assert said[-1].reason == 10
    assert shop.engine.poisoned == 0
    shop.advance(1.0)
    assert isinstance(shop.tender()[0], link.Accepted)
