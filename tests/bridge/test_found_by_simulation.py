"""What the fault simulation found in the core, each as the shortest story that shows it."""

from pathlib import Path

import pytest

from bridge.events import PartPayAnswered
from bridge.lane_events import LineUp
from bridge.partpay.answers import AlreadyExists, CancelTaken, Perhaps, Told
from bridge.tender import Ask, Owed
from drivers.link import messages as link
from tests.bridge.shop import LATER, PICTURE, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def test_a_picture_that_does_not_come_in_time_does_not_make_the_engine_spin(shop: Shop) -> None:
    shop.tender()
    shop.created(picture=LATER.picture)
    assert shop.pending(Ask.PICTURE)
    shop.advance(31.0)
    wake = shop.engine.next_wake()
    assert wake is not None
    assert wake > shop.clock


def test_while_the_journal_is_away_the_engine_waits_for_it_and_for_nothing_else(
    shop: Shop,
) -> None:
    shop.hello(lane="/dev/ttyS1")  # the pairing is asked for on its old line, for 12 s
    shop.journal_fails = OSError("no such disk")
    assert shop.engine._journal is not None
    shop.engine._journal._db.execute("BEGIN")  # whoever begins a second batch fails
    shop.tender()
    shop.advance(13.0)
    wake = shop.engine.next_wake()
    assert wake is not None
    assert wake > shop.clock


def found_by_302(shop: Shop, order_id: str = "order-9") -> None:
    """A create without an answer, and then 302: perhaps ours."""
    shop.tender(reference="INV-1")
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.advance(1.0)
    shop.answer(Ask.CREATE, AlreadyExists(order_id))


def test_an_order_found_by_302_is_not_believed_before_it_is_known_whose_it_is(shop: Shop) -> None:
    found_by_302(shop)
    shop.advance(6.0)
    assert shop.pending(Ask.STATUS) is None
    shop.status(
        "approved", Ask.ORDER, order_id="order-9", gateway_reference="POS9-1", amount_minor=1
    )
    assert shop.outcomes() == []
    assert shop.known().attempt.number == 2


def test_an_order_found_by_302_is_not_cancelled_before_it_is_known_whose_it_is(shop: Shop) -> None:
    found_by_302(shop)
    shop.cancel()
    assert shop.pending(Ask.CANCEL) is None
    shop.status("pending", Ask.ORDER, order_id="order-9", gateway_reference="POS9-1")
    assert shop.pending(Ask.CANCEL) is None
    assert shop.outcomes() == ["17"]
    assert shop.known().reversal is Owed.NONE


def test_a_reversal_leaves_an_order_alone_that_turns_out_to_be_anothers(shop: Shop) -> None:
    shop.tender(reference="INV-1")
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.advance(31.0)
    assert shop.outcomes() == ["91"]
    shop.answer(Ask.CREATE, AlreadyExists("order-9"))
    assert shop.pending(Ask.CANCEL) is None
    shop.status("pending", Ask.ORDER, gateway_reference="POS9-1")
    assert shop.pending(Ask.CANCEL) is None
    assert shop.known().reversal is Owed.DONE


def test_an_answer_about_another_order_does_not_make_a_found_one_anothers(shop: Shop) -> None:
    found_by_302(shop)
    shop.status("pending", Ask.ORDER, order_id="order-7", gateway_reference="POS9-1")
    assert shop.known().attempt.order_id == "order-9"
    shop.advance(1.0)
    own = shop.known().attempt.gateway_reference
    shop.status("pending", Ask.ORDER, order_id="order-9", gateway_reference=own, picture=PICTURE)
    shop.read_code()
    assert shop.shown()


def test_an_outcome_is_said_again_after_the_journal_was_away(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    shop.status("approved")
    assert shop.outcomes() == ["00"]
    assert shop.engine._journal is not None
    shop.engine._journal._db.execute("BEGIN")  # STORED comes, and cannot be written
    shop.stored()
    shop.advance(70.0)
    assert len(shop.outcomes()) > 1
    shop.stored()
    said = len(shop.outcomes())
    shop.advance(300.0)
    assert len(shop.outcomes()) == said


def test_a_terminal_that_was_believed_elsewhere_is_asked_who_it_is(shop: Shop) -> None:
    shop.sell()
    shop.hello(lane="/dev/ttyS1")  # read late: it had been there before it came here
    shop.advance(13.0)  # and its word of being here was lost
    said = shop.query()
    assert isinstance(said[-1], link.Refused)
    assert said[-1].reason == link.Reason.SAY_HELLO
    shop.hello()
    shop.advance(13.0)
    assert isinstance(shop.query()[-1], link.Progress)


def test_late_news_of_a_stored_tender_leaves_the_next_ones_panel_alone(shop: Shop) -> None:
    shop.sell(1)
    shop.advance(2.0)
    shop.status("approved")
    shop.stored(1)
    shop.sell(2, "order-2")
    cleared, said = len(shop.cleared()), len(shop.said)
    assert shop.callback("approved") == 200
    assert len(shop.cleared()) == cleared
    assert shop.said[said:] == []


def test_an_answer_that_is_here_already_comes_before_the_deadline(shop: Shop) -> None:
    """World 1198 of seed 2030: after the engine had stood still, a refused cancel and "approved" waited in one
    batch. The first was decided on alone, its time was over, and the terminal was told 17."""
    shop.sell()
    shop.cancel()
    shop.answer(Ask.CANCEL, CancelTaken(202))
    shop.clock += 60.0
    t = shop.known()
    number = t.attempt.number
    shop.post(
        PartPayAnswered(t.pairing, t.counter, number, Ask.CANCEL, CancelTaken(400)),
        PartPayAnswered(t.pairing, t.counter, number, Ask.STATUS, Told(status="approved")),
    )
    assert shop.outcomes() == ["00"]
    assert shop.known().reversal is Owed.NONE


def test_a_deadline_counts_when_nothing_more_is_here(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    shop.clock += 60.0
    shop.post(LineUp("/dev/ttyS7"), LineUp("/dev/ttyS8"))
    assert shop.outcomes() == ["17"]
    assert shop.known().reversal is Owed.OWED
