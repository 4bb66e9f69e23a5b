"""While the journal cannot be written: nothing new is taken, what is written is told, and nothing is forgotten."""

import errno
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.effects import Answer, Identify
from bridge.engine import NOT_WRITTEN, is_full
from bridge.events import Acknowledged, RegistryChanged
from bridge.journal.journal import Journal
from bridge.lane_events import Heard, Proved
from bridge.registry import Pairing, Snapshot
from bridge.tender import State
from drivers.link import messages as link
from drivers.link.authentication import Keys
from tests.bridge.shop import LANE, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def broken(shop: Shop) -> None:
    """The next commit fails, and so does opening it anew."""
    shop.journal_fails = sqlite3.OperationalError("database or disk is full")
    assert shop.engine._journal is not None
    shop.engine._journal._db.execute("BEGIN")


@contextmanager
def no_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything can be opened and written, and nothing committed."""

    def fails(_: Journal) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as disk:
        disk.setattr(Journal, "commit", fails)
        yield


def mended(shop: Shop) -> None:
    shop.journal_fails = None
    shop.advance(1.0)


def refusal(said: list[link.Message]) -> tuple[int, str | None]:
    assert isinstance(said[-1], link.Refused)
    return said[-1].reason, said[-1].text


def test_tender_and_refund_are_refused_with_a_text(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    broken(shop)
    assert refusal(shop.refund(2, 1, 100)) == (10, "TEST CANNOT WRITE NOW")
    assert refusal(shop.tender(3)) == (10, "TEST CANNOT WRITE NOW")
    mended(shop)
    assert isinstance(shop.refund(2, 1, 100)[0], link.Accepted)
    assert isinstance(shop.tender(3)[0], link.Accepted)


def test_a_nearly_full_disk_takes_no_refund(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.free_bytes = 1000
    assert refusal(shop.refund(2, 1, 100)) == (10, "TEST CANNOT WRITE NOW")
    shop.free_bytes = 10**10
    assert isinstance(shop.refund(2, 1, 100)[0], link.Accepted)


def test_whoever_is_not_paired_is_told_so_all_the_same(shop: Shop) -> None:
    broken(shop)
    said = shop.hear(link.Tender("T0000009", 1, 100, currency=554), "/dev/ttyS7")
    assert refusal(said) == (1, "TEST NOT PAIRED")


def test_what_is_open_is_told_as_it_is_written(shop: Shop) -> None:
    shop.sell()
    broken(shop)
    for said in (shop.query(), shop.cancel(), shop.tender()):
        assert [type(m) for m in said] == [link.Accepted, link.Progress]
    assert shop.query(9) == []
    assert shop.query(None) == []
    mended(shop)
    assert shop.known().state is State.ORDERED, "the cancel was not taken: it is said again"


def test_other_content_under_a_written_counter_is_no_repeat(shop: Shop) -> None:
    """World 64 of seed 2026: what another sale keyed under counter 5 got was ACCEPTED for the first one's amount."""
    shop.sell()
    broken(shop)
    for other in (
        link.Tender("T0000001", 1, 4711, currency=554),
        link.Refund("T0000001", 1, original_counter=7, amount_minor=100),
    ):
        said = shop.hear(other)
        assert [type(m) for m in said] == [link.Refused]
        assert refusal(said) == (3, "TEST COUNTER ALREADY USED")
    mended(shop)
    assert shop.known().state is State.ORDERED


def test_an_outcome_is_told_as_it_is_written(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    broken(shop)
    assert [m.response_code for m in shop.query() if isinstance(m, link.Outcome)] == ["00"]
    assert [m.response_code for m in shop.tender() if isinstance(m, link.Outcome)] == ["00"]


def test_what_a_person_has_seen_is_not_written(shop: Shop) -> None:
    reply: Future[int] = Future()
    broken(shop)
    shop.post(Acknowledged(None, "ana", reply))
    assert reply.result(timeout=0) == NOT_WRITTEN
    assert shop.callback_503()


def test_nothing_is_told_of_what_opening_it_anew_has_decided_and_not_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """World 18701 of seed 2031: the second commit failed, too, and CANCEL got an OUTCOME that was nowhere written."""
    shop.sell()
    shop.cancel()

    with no_commit(monkeypatch):
        shop.advance(60.0)
        assert shop.outcomes() == []
        shop.cancel()
        assert shop.outcomes() == []
    shop.advance(2.0)
    assert shop.outcomes() == ["17"]


def test_a_hello_is_answered_when_there_is_room_again(shop: Shop) -> None:
    """World 146 of seed 77: the ACK of a HELLO was lost, and its repetition came in a batch that was not written.

    The terminal had its WELCOME and asked for no other; the lane waited for one, and dropped every TENDER.
    """
    broken(shop)
    assert shop.hello() == []
    mark = len(shop.said)
    mended(shop)
    assert [type(m) for m in shop.said[mark:]] == [link.Welcome]
    assert isinstance(shop.tender(1)[0], link.Accepted)


@pytest.fixture
def keyed(shop: Shop) -> Keys:
    """The terminal has keys, an outcome that it has not stored, and was welcomed: what it says next proves it."""
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    keys = Keys(bytes(range(32)), bytes(range(32, 64)))
    shop.snapshot = Snapshot.of(
        shop.snapshot.merchants.values(), shop.snapshot.pairings, {("T0000001", "SN1"): (keys,)}
    )
    shop.hello(key_id=keys.identifier)
    broken(shop)
    return keys


def test_whoever_proved_meanwhile_that_it_is_there_is_told_what_it_has_not_stored(
    shop: Shop, keyed: Keys
) -> None:
    shop.post(Proved(LANE, keyed.identifier))
    mark = len(shop.said)
    mended(shop)
    assert [m.response_code for m in shop.said[mark:] if isinstance(m, link.Outcome)] == ["00"]


def test_a_right_code_says_whose_tender_it_is(shop: Shop, keyed: Keys) -> None:
    """Worlds 5475 and 5734 of seed 2027: a tender that is written was refused as if it were not."""
    again = shop.post(
        Heard(LANE, link.Tender("T0000001", 1, 12550, currency=554), 7, keyed.identifier)
    )
    assert [m.response_code for m in again if isinstance(m, link.Outcome)] == ["00"]
    new = shop.post(Heard(LANE, link.Tender("T0000001", 2, 100, 554), 8, keyed.identifier))
    assert refusal(new)[0] == 10


def test_who_was_welcomed_and_is_not_known_to_be_here_says_hello(shop: Shop, keyed: Keys) -> None:
    assert refusal(shop.hear(link.Tender("T0000001", 1, 12550, currency=554)))[0] == 11


def test_what_was_paired_meanwhile_is_asked_for(shop: Shop) -> None:
    shop.hello("/dev/ttyS7", "T0000009", "SN9")
    new = Pairing(9, "T0000009", "SN9", "/dev/ttyS7", "native", 115200, ("M-1",))
    broken(shop)
    shop.snapshot = Snapshot.of(
        merchants=shop.snapshot.merchants.values(), pairings=(*shop.snapshot.pairings, new)
    )
    shop.post(RegistryChanged())
    mark = len(shop.effects)
    mended(shop)
    assert Identify("/dev/ttyS7") in shop.effects[mark:]


def test_only_the_last_word_on_each_line_is_kept(shop: Shop) -> None:
    broken(shop)
    for _ in range(100):
        shop.hello()
        shop.unplug("/dev/ttyS0")
    assert len(shop.engine._missed) == 1
    mark = len(shop.said)
    mended(shop)
    assert shop.said[mark:] == []


def test_a_line_that_went_down_meanwhile_is_not_welcomed_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairing moves to another line, which goes down in a batch that is not written."""
    shop.hello(lane="/dev/ttyS1")

    with no_commit(monkeypatch):
        shop.unplug("/dev/ttyS1")
    mended(shop)
    mark = len(shop.said)
    shop.advance(15.0)
    assert not [m for m in shop.said[mark:] if isinstance(m, link.Welcome)]
    assert shop.engine.poisoned == 0
    shop.hello()
    shop.advance(13.0)
    assert [type(m) for m in shop.said[mark:]] == [link.Welcome]


def test_a_line_that_went_down_is_not_welcomed_when_its_time_is_over_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before, and there is room again only when the old line has had its time to answer."""
    shop.hello(lane="/dev/ttyS1")

    with no_commit(monkeypatch):
        shop.unplug("/dev/ttyS1")
        shop.advance(15.0)
    mark = len(shop.said)
    shop.advance(2.0)
    assert not [m for m in shop.said[mark:] if isinstance(m, link.Welcome)]
    assert shop.engine.poisoned == 0


def test_a_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    first = Shop(tmp_path)
    first.hello()
    first.tender()
    first.engine.close()
    late = Shop.__new__(Shop)
    late.__dict__.update(first.__dict__)
    late.journal_fails = OSError(errno.ENOSPC, "No space left on device")
    late.start = lambda: None  # type: ignore[method-assign]
    Shop.__init__(late, tmp_path)
    late.journal_fails = OSError(errno.ENOSPC, "No space left on device")
    made = Shop.start
    try:
        made(late)
    except OSError as error:
        late.engine.start_later(error)
    assert late.engine.head is None
    assert late.engine.archive("2030-01-01") is None
    assert refusal(late.hear(link.Tender("T0000001", 7, 100, currency=554)))[0] in (1, 10)
    late.journal_fails = None
    late.advance(1.0)
    assert late.engine.why_not_writing is None
    assert late.engine.head is not None
    late.hello()
    assert late.known().state is State.ACCEPTED


def test_which_errors_are_a_full_disk() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert is_full(full)
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(OSError(errno.EDQUOT, ""))
    assert not is_full(OSError(errno.EIO, ""))
    assert not is_full(sqlite3.OperationalError("disk I/O error"))


def test_answers_that_wait_are_all_given(shop: Shop) -> None:
    broken(shop)
    mark = len(shop.effects)
    assert shop.callback_503()
    assert [e.status for e in shop.effects[mark:] if isinstance(e, Answer)] == [503]


def test_nothing_is_said_twice_by_a_journal_that_comes_back(shop: Shop) -> None:
    shop.sell()
    broken(shop)
    shop.advance(30.0)
    mark = len(shop.said)
    mended(shop)
    assert shop.known().attempt.payload is not None
    shop.callback("approved")
    shop.status("approved")
    assert [m.response_code for m in shop.said[mark:] if isinstance(m, link.Outcome)] == ["00"]
