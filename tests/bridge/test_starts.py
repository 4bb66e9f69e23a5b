"""What a start finds: a journal put back, a pairing that the registry has lost, refunds under way, another boot."""

import sqlite3
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.engine import LISTED_MAX
from bridge.events import Acknowledged, PartPayAnswered, RegistryChanged
from bridge.journal.journal import Journal
from bridge.lane_events import Heard, LineUp, Proved
from bridge.partpay.answers import AlreadyExists, NotSent, Perhaps, Refunded
from bridge.registry import Snapshot
from bridge.tender import Ask, State
from drivers.link import messages as link
from drivers.link.authentication import Keys
from tests.bridge.shop import LANE, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def test_a_journal_that_was_put_back_is_listed(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    copy = (tmp_path / "journal.db").read_bytes(), (tmp_path / "journal.db-wal").read_bytes()
    shop.hello()
    shop.sell()
    identity = shop.engine._journal.identity  # type: ignore[union-attr]
    shop.engine.close()
    (tmp_path / "journal.db").write_bytes(copy[0])
    (tmp_path / "journal.db-wal").write_bytes(copy[1])
    again = Shop(tmp_path)
    assert again.attention() == ["journal-restored"]
    said = again.hello()
    assert isinstance(said[0], link.Welcome)
    assert said[0].journal_id != identity, "the terminal sees it too"


def test_a_copy_may_have_been_sent_since(tmp_path: Path) -> None:
    """World 6811 of seed 2028: surely not sent, as far as the copy knows, and its order was made and paid meanwhile.

    The 302 was taken for another till's order, and a second code was shown.
    """
    shop = Shop(tmp_path)
    shop.hello()
    shop.tender()
    shop.answer(Ask.CREATE, NotSent("PartPay answered 429", 5.0))
    copy = [(p, p.read_bytes()) for p in (tmp_path / "journal.db", tmp_path / "journal.db-wal")]
    shop.advance(6.0)
    shop.created()
    shop.engine.close()
    for path, content in copy:
        path.write_bytes(content)
    shop.restart()
    assert shop.known().attempt.uncertain
    shop.answer(Ask.CREATE, AlreadyExists("order-1"))
    assert shop.known().attempt.order_id == "order-1"
    assert len(shop.known().attempts) == 1


def test_a_copy_is_known_for_one_after_a_crash_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    copy = [(p, p.read_bytes()) for p in (tmp_path / "journal.db", tmp_path / "journal.db-wal")]
    shop.hello()
    shop.sell()
    shop.engine.close()
    for path, content in copy:
        path.write_bytes(content)
    Journal(tmp_path / "journal.db", "sandbox", lambda: "2026-11-23T").close()
    again = Shop(tmp_path)
    assert again.attention() == ["journal-restored"]
    again.restart()
    assert again.attention() == ["journal-restored"], "and listed once"


def test_a_tender_whose_pairing_is_lost_ends_all_the_same(shop: Shop) -> None:
    shop.sell()
    shop.snapshot = Snapshot.of(
        merchants=shop.snapshot.merchants.values(), pairings=shop.snapshot.pairings[1:]
    )
    shop.post(RegistryChanged())
    shop.restart()
    assert shop.callback("approved") == 200
    shop.status("approved")
    assert shop.known().outcome is not None
    assert shop.known().outcome.code == "00"  # type: ignore[union-attr]
    assert shop.engine.poisoned == 0


def test_what_the_head_is(shop: Shop) -> None:
    before = shop.engine.head
    assert before is not None
    shop.tender()
    after = shop.engine.head
    assert after is not None
    assert after[0] > before[0]
    assert after[1] != before[1]
    shop.engine.close()
    assert shop.engine.head is None


def test_a_refund_under_way_on_another_boot(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.refund(2, 1, 100)
    shop.refund(3, 1, 100)
    shop.answer(Ask.REFUND, Perhaps("timeout"))
    shop.restart(boot="boot-2")
    shop.hello()
    shop.advance(40.0)
    assert shop.outcomes(2) == shop.outcomes(3) == []
    shop.answer(Ask.REFUND, Refunded())
    shop.answer(Ask.REFUND, Refunded())
    assert (shop.outcomes(2), shop.outcomes(3)) == (["00"], ["00"])
    shop.restart(boot="boot-3")
    assert shop.known(2).outcome is not None


def test_a_refund_of_unknown_result_is_listed_after_a_quarter_of_an_hour(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.refund(2, 1, 100)
    while shop.clock < 2000.0:
        if shop.pending(Ask.REFUND):
            shop.answer(Ask.REFUND, Perhaps("timeout"))
        shop.advance(30.0)
    assert "refund-unknown" in shop.attention()
    assert shop.outcomes(2) == []


def test_the_same_refund_again_is_the_same_refund(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.refund(2, 1, 100)
    assert [type(m) for m in shop.refund(2, 1, 100)] == [link.Accepted, link.Progress]
    said = shop.refund(2, 1, 101)
    assert isinstance(said[-1], link.Refused)
    assert said[-1].reason == 3
    shop.answer(Ask.REFUND, Refunded())
    assert isinstance(shop.refund(2, 1, 100)[-1], link.Outcome)
    shop.stored(2)
    assert isinstance(shop.refund(2, 1, 100)[-1], link.Refused)


def test_two_earlier_sales_of_which_one_is_the_same(shop: Shop) -> None:
    shop.tender(1, reference="OTHER")
    shop.created("order-1")
    shop.read_code()
    shop.callback("approved")
    shop.status("approved")
    shop.tender(2, reference="INV-2")
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.cancel(2)
    shop.advance(21.0)
    assert shop.outcomes(2) == ["17"]
    shop.tender(3, reference="INV-2")
    assert shop.known(3).hold_until is not None
    assert shop.known(3).state is State.ACCEPTED


def test_what_was_seen_is_written_with_who_saw_it(shop: Shop) -> None:
    shop.callback("approved", "order-9", "ELSEWHERE-1")
    assert shop.attention() == ["stray-callback"]
    reply: Future[int] = Future()
    shop.post(Acknowledged(None, "ana", reply))
    assert reply.result(timeout=0) == 1
    assert shop.attention() == []
    reply = Future()
    shop.post(Acknowledged(7, "ana", reply))
    assert reply.result(timeout=0) == 0


def test_so_many_findings_that_they_are_not_all_remembered(shop: Shop) -> None:
    for number in range(LISTED_MAX + 2):
        shop.engine._listed.add((None, None, "old", str(number)))
    shop.callback("approved", "order-9", "ELSEWHERE-1")
    assert shop.attention() == ["stray-callback"]
    assert len(shop.engine._listed) == 1


def test_a_code_of_nobody_who_said_hello_moves_nothing(shop: Shop) -> None:
    shop.post(LineUp("/dev/ttyS5"), Proved("/dev/ttyS5", b"keys"))
    assert shop.tender(), "the terminal is still on its line"
    assert shop.engine.poisoned == 0


def test_a_message_that_no_lane_hands_over_is_set_aside(shop: Shop) -> None:
    shop.post(Heard(LANE, link.Ping(), 1))  # type: ignore[arg-type]
    assert shop.engine.poisoned == 1
    assert isinstance(shop.tender()[0], link.Accepted)


def test_a_callback_of_an_attempt_without_an_order_that_names_another_tenders_order(
    shop: Shop,
) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.tender(2)
    reference = shop.known(2).attempt.gateway_reference
    assert shop.callback("approved", "order-1", reference, counter=2) == 404
    assert shop.pending(Ask.STATUS) is None
    assert shop.known(2).attempt.order_id is None


def test_stored_for_what_has_no_outcome_and_twice(shop: Shop) -> None:
    shop.stored(9)
    shop.tender()
    shop.stored()
    assert not shop.known().stored
    shop.created()
    shop.read_code()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    head = shop.engine.head
    shop.stored()
    assert shop.known().stored
    assert shop.engine.head == head, "a second time changes nothing"


def test_a_late_answer_to_a_refund_that_is_closed_changes_nothing(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.refund(2, 1, 100)
    shop.answer(Ask.REFUND, Refunded())
    before = shop.known(2)
    shop.post(PartPayAnswered(1, 2, 1, Ask.REFUND, Perhaps("timeout")))
    assert shop.known(2) == before


def test_a_message_on_a_line_whose_end_was_not_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Journal) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as disk:
        disk.setattr(Journal, "commit", fails)
        shop.unplug()
    shop.advance(1.0)
    assert [type(m) for m in shop.tender()] == [link.Refused], "its end was kept, and counts now"
    shop.hello()
    assert isinstance(shop.tender()[0], link.Accepted)
    assert shop.post(Heard(LANE, link.Query("T0000001", 1), 2, b"keys"))[0].reason == 9  # type: ignore[union-attr]


def test_keys_of_a_retired_terminal_bring_it_nothing(shop: Shop) -> None:
    keys = Keys(bytes(range(32)), bytes(range(32, 64)))
    pairings = tuple(replace(p, retired=p.pairing == 1) for p in shop.snapshot.pairings)
    shop.snapshot = Snapshot.of(
        shop.snapshot.merchants.values(), pairings, {("T0000001", "SN1"): (keys,)}
    )
    hello = link.Hello("T0000001", "SN1", 1, "Sim", "1", 240, 320, b"\x10", 1024)
    shop.hear(replace(hello, can_authenticate=1, key_id=keys.identifier), "/dev/ttyS1")
    shop.post(Proved("/dev/ttyS1", keys.identifier))
    said = shop.post(Heard("/dev/ttyS1", link.Tender("T0000001", 1, 100, 554), 1, keys.identifier))
    assert isinstance(said[-1], link.Refused)
    assert shop.find() is None
