"""The journal's file: whose it is, what it was before, and that a batch is whole or not at all."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bridge.journal.journal import SCHEMA, Journal, WrongJournal, connection
from bridge.journal.stamp import read
from bridge.tender import Attempt, Kind, Note, Tender


def opened(folder: Path, environment: str = "sandbox", **more: Any) -> Journal:
    return Journal(folder / "journal.db", environment, lambda: "2026-11-23T08:00", **more)


def tender(counter: int = 1) -> Tender:
    return Tender(
        pairing=1, terminal_id="T1", counter=counter, kind=Kind.TENDER, merchant="M",
        amount_minor=100, currency=554, accepted_at="2026-11-23", boot="b", deadline=1.0,
        create_deadline=1.0, attempts=(Attempt(1, f"AKL01-T1-{counter}-1-a", "INV"),),
    )  # fmt: skip


def test_an_open_batch_is_gone_with_its_connection(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.begin()
    journal.write("tender", {}, tender(1))
    journal.commit()
    head = journal.head
    journal.begin()
    journal.write("tender", {}, tender(2))
    assert journal.find(1, 2) is not None, "the open batch sees itself"
    journal.close()
    again = opened(tmp_path)
    assert again.find(1, 2) is None
    assert (again.last_event, again.head) == (1, head)
    again.close()


def test_rolled_back_where_there_is_a_batch_and_where_there_is_none(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.rollback()
    journal.begin()
    journal.write("tender", {}, tender())
    journal.rollback()
    assert journal._db.execute("SELECT count(*) FROM tenders").fetchone() == (0,)
    journal.close()


def test_another_environments_journal_is_left_alone(tmp_path: Path) -> None:
    opened(tmp_path, "sandbox").close()
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(WrongJournal, match=r"environment 'sandbox'.*'production'"):
        opened(tmp_path, "production")
    assert (tmp_path / "journal.db").read_bytes() == before
    (tmp_path / "journal.stamp").unlink()
    with pytest.raises(WrongJournal, match="environment"):
        opened(tmp_path, "production")


def test_the_stamp_alone_says_whose_it_was(tmp_path: Path) -> None:
    opened(tmp_path, "sandbox").close()
    (tmp_path / "journal.db").unlink()
    with pytest.raises(WrongJournal, match="environment"):
        opened(tmp_path, "production")
    assert not (tmp_path / "journal.db").exists()


def newer_schema(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        db.execute(f"PRAGMA user_version={SCHEMA + 1}")


def newer_stamp(folder: Path) -> None:
    stamp = folder / "journal.stamp"
    stamp.write_text(stamp.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}'))


@pytest.mark.parametrize("newer", [newer_schema, newer_stamp])
def test_a_newer_releases_journal_is_left_alone(
    tmp_path: Path, newer: Callable[[Path], None]
) -> None:
    opened(tmp_path).close()
    newer(tmp_path)
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(WrongJournal, match="newer release"):
        opened(tmp_path)
    assert (tmp_path / "journal.db").read_bytes() == before


def test_a_file_that_has_no_tables_yet_becomes_a_journal(tmp_path: Path) -> None:
    """As a start leaves it that ended between making the file and its first transaction."""
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA application_id=7")
        db.commit()
    assert (tmp_path / "journal.db").stat().st_size > 0
    journal = opened(tmp_path)
    assert journal.last_event == 0
    journal.close()


def test_one_without_its_environment_takes_this_one(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "journal.stamp").unlink()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("DELETE FROM meta")
        db.commit()
    journal = opened(tmp_path, "production")
    assert len(journal.identity) == 8
    journal.close()
    stamp = read(tmp_path / "journal.stamp")
    assert stamp is not None
    assert stamp.environment == "production"


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database at all, and long enough to be looked at")
    with pytest.raises(sqlite3.DatabaseError):
        opened(tmp_path)


def test_what_fails_while_it_opens_leaves_nothing_open(tmp_path: Path) -> None:
    made: list[sqlite3.Connection] = []

    def connect(path: Path) -> sqlite3.Connection:
        made.append(connection(path))
        return made[-1]

    (tmp_path / "journal.stamp").mkdir()
    with pytest.raises(OSError, match=r"journal\.stamp"):
        opened(tmp_path, connect=connect)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")


def test_a_copy_put_back_gets_a_new_identity(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.begin()
    journal.write("tender", {}, tender(1))
    journal.commit()
    first = journal.identity
    journal.close()
    copy = (tmp_path / "journal.db").read_bytes()
    journal = opened(tmp_path)
    assert not journal.restored
    assert journal.identity == first
    journal.begin()
    journal.write("tender", {}, tender(2))
    journal.commit()
    journal.close()
    (tmp_path / "journal.db").write_bytes(copy)
    (tmp_path / "journal.db-wal").unlink(missing_ok=True)
    journal = opened(tmp_path)
    assert journal.restored
    assert journal.identity != first
    again = journal.identity
    journal.close()
    journal = opened(tmp_path)
    assert journal.restored, "until what it asks for is written"
    journal.begin()
    journal.forget_restored()
    journal.commit()
    journal.close()
    journal = opened(tmp_path)
    assert not journal.restored, "only once"
    assert journal.identity == again
    journal.close()


def test_a_finding_is_listed_once_until_it_is_seen(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    finding = Note("odd", "something odd", attention=True)
    for _ in range(2):
        journal.begin()
        journal.write("noted", {}, None, [finding, Note("quiet", "of no concern", attention=False)])
        journal.commit()
    journal.begin()
    assert journal.acknowledge(None, "ana") == 1
    assert journal.acknowledge(None, "ana") == 0
    journal.write("noted", {}, None, [finding])
    journal.commit()
    assert journal.last_event == 3
    journal.begin()
    assert journal.acknowledge(99, "ana") == 0
    assert journal.acknowledge(2, "ana") + journal.acknowledge(3, "ana") == 1
    journal.commit()
    journal.close()
