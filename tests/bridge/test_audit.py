"""The audit finds what was changed, and finds nothing where nothing was."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bridge.audit import audit
from bridge.explain import explain
from bridge.journal import chain
from bridge.journal.reader import JournalReader
from bridge.partpay.answers import NoAnswer, Refunded
from bridge.tender import Ask
from tests.bridge.shop import Shop


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """An approved sale with a refund, a cancelled one, and one whose late approval was taken back."""
    shop = Shop(tmp_path)
    shop.hello()
    shop.sell(1)
    shop.callback("approved")
    shop.status("approved")
    shop.stored(1)
    shop.refund(2, 1, 500)
    shop.answer(Ask.REFUND, Refunded())
    shop.sell(3, "order-3")
    shop.cancel(3)
    shop.cancelled()
    shop.status("cancelled")
    shop.stored(3, "17")
    shop.sell(4, "order-4")
    shop.cancel(4)
    shop.answer(Ask.CANCEL, NoAnswer("away"))
    shop.advance(25)
    shop.asked.clear()
    shop.restart()
    shop.cancelled()
    shop.status("approved")
    shop.answer(Ask.REFUND, Refunded())
    shop.engine.close()
    return tmp_path / "journal.db"


def change(journal: Path, sql: str, *values: Any) -> None:
    with sqlite3.connect(journal) as db:
        assert db.execute(sql, values).rowcount > 0


def rehash(journal: Path) -> None:
    """What a careful forger does: every later hash made anew."""
    with sqlite3.connect(journal) as db:
        before = chain.START
        for row in db.execute(
            "SELECT seq,at,pairing,counter,name,data FROM events ORDER BY seq"
        ).fetchall():
            before = chain.link(before, *row)
            db.execute("UPDATE events SET hash=? WHERE seq=?", (before, row[0]))


def broken(journal: Path, **more: Any) -> set[str]:
    return {one["invariant"] for one in audit(journal, **more)["broken"]}


def test_an_honest_journal_holds(journal: Path) -> None:
    told = audit(journal)
    assert told["broken"] == []
    assert told["holds"] is True
    assert told["tenders"] == 4
    assert audit(journal, told["head"])["head_found"] is True


def test_a_changed_event_shows(journal: Path) -> None:
    change(journal, "UPDATE events SET data=replace(data,'12550','1') WHERE seq=2")
    assert "chain" in broken(journal)


def test_a_removed_event_shows(journal: Path) -> None:
    change(journal, "DELETE FROM events WHERE seq=5")
    assert "chain" in broken(journal)


def test_a_rehashed_past_shows_by_the_head_that_was_told(journal: Path) -> None:
    head = audit(journal)["head"]
    change(journal, "UPDATE events SET at='2020' WHERE seq=2")
    rehash(journal)
    assert broken(journal) == set()
    assert broken(journal, head=head) == {"chain"}


def test_a_changed_table_shows(journal: Path) -> None:
    change(journal, "UPDATE tenders SET code='00' WHERE counter=3")
    assert broken(journal) == {"tables"}


def write_into(journal: Path, counter: int, name: str, values: dict[str, Any]) -> None:
    """Adds to what the last event of this kind wrote about this tender."""
    with sqlite3.connect(journal) as db:
        seq, data = db.execute(
            "SELECT seq, data FROM events WHERE counter=? AND data LIKE ? ORDER BY seq DESC LIMIT 1",
            (counter, f"%{name}%"),
        ).fetchone()
        event = json.loads(data)
        event["set"].update(values)
        event["set"] = {key: value for key, value in event["set"].items() if value != "gone"}
        db.execute("UPDATE events SET data=? WHERE seq=?", (json.dumps(event), seq))
    rehash(journal)


@pytest.mark.parametrize(
    ("counter", "event", "values", "invariant"),
    [
        (3, "outcome.code", {"outcome.code": "00"}, "true-approval"),
        (4, "outcome.code", {"a1.owed": "gone"}, "no-lost-money"),
        (4, "a1.refunded", {"a1.refunded": "gone"}, "no-lost-money"),
        (3, '"stored"', {"outcome.code": "00"}, "one-outcome"),
        (1, '"stored"', {"amount_minor": 1}, "true-approval"),
    ],
)
def test_each_broken_promise_is_named(
    journal: Path, counter: int, event: str, values: dict[str, Any], invariant: str
) -> None:
    write_into(journal, counter, event, values)
    assert invariant in broken(journal)


def test_a_tender_is_explained_in_plain_words(journal: Path) -> None:
    reader = JournalReader(journal)
    approved = explain(reader, 1, 1, "NZD")
    assert approved["money"] == "125.50 NZD was taken from the customer, once"
    assert next(step["who"] for step in approved["timeline"]) == "terminal"
    assert "no money was taken" in explain(reader, 1, 3, "NZD")["money"]
    assert "given back in full" in explain(reader, 1, 4, "NZD")["money"]
    assert "was given back" in explain(reader, 1, 2, "NZD")["money"]
    assert explain(reader, 1, 99, "NZD")["money"] == "nothing is known of it"
