import sqlite3
from pathlib import Path

import pytest

from bridge.journal.journal import Journal
from tools.simulation.disk import Disk, Killed


@pytest.fixture
def disk() -> Disk:
    disk = Disk.fresh()
    disk.execute("CREATE TABLE t (x)")
    return disk


def rows(disk: Disk) -> list[int]:
    return [x for (x,) in disk.execute("SELECT x FROM t")]


def test_what_was_not_committed_is_gone_with_the_process_and_the_rest_stays(disk: Disk) -> None:
    disk.execute("BEGIN IMMEDIATE")
    disk.execute("INSERT INTO t VALUES (1)")
    disk.execute("COMMIT")
    disk.execute("BEGIN IMMEDIATE")
    disk.execute("INSERT INTO t VALUES (2)")
    disk.close()
    assert rows(disk) == [1]


def test_a_kill_comes_at_its_statement_and_is_no_error_that_anybody_catches(disk: Disk) -> None:
    disk.kill_at("INSERT", 2)
    disk.execute("BEGIN IMMEDIATE")
    disk.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(Killed):
        disk.execute("INSERT INTO t VALUES (2)")
    assert not issubclass(Killed, Exception)
    disk.close()
    assert rows(disk) == []


def test_a_commit_that_is_said_to_fail_may_be_durable(disk: Disk) -> None:
    disk.fail_once("COMMIT", after=True)
    disk.execute("BEGIN IMMEDIATE")
    disk.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.OperationalError):
        disk.execute("COMMIT")
    disk.close()
    assert rows(disk) == [1]


def test_a_full_disk_stays_full_when_the_journal_is_opened_anew(tmp_path: Path) -> None:
    disk = Disk.fresh()

    def journal() -> Journal:
        return Journal(tmp_path / "j.db", "sandbox", lambda: "now", connect=disk.connect)

    opened = journal()
    disk.full = True
    disk.heal()
    opened.close()
    opened = journal()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        opened.begin()
    disk.full = False
    disk.heal()
    opened.begin()
    opened.commit()
