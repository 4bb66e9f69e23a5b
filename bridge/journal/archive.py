"""Settled tenders older than `keep_days` leave the journal for a file beside it; the chain's head stays.

- Only a beginning of the chain can go: events up to one before which everything is old, and every tender in it is
  settled. What has gone is named by the number and hash of its last event, on which the rest of the chain stands.
- The file is written, flushed and named before anything is deleted; a crash between leaves both, and the next run
  writes the same file again.
- A pairing's highest counter stays known, so that no terminal begins below it.
"""

import gzip
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

EVENTS_MAX: Final = 2_000
"""Events archived in one go: a few milliseconds of the one writer's time."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What one run moved. `last_event` and `last_hash`: on which the rest of the chain stands."""

    events: int
    tenders: int
    last_event: int
    last_hash: bytes
    file: Path


def archive(db: sqlite3.Connection, folder: Path, before: str) -> Archived | None:
    """Moves what is settled and older than `before` (ISO 8601), at most EVENTS_MAX events; None: there is nothing.

    Within the caller's transaction on the writer's connection. Raises OSError, sqlite3.Error.
    """
    rows = _prefix(db, before)
    if not rows:
        return None
    last_event, last_hash = rows[-1]["seq"], bytes(rows[-1]["hash"])
    gone = {(r["pairing"], r["counter"]) for r in rows if r["counter"] is not None}
    tenders = [_tender(db, key) for key in sorted(gone)]
    file = folder / f"journal-{rows[0]['seq']:012d}-{last_event:012d}.jsonl.gz"
    _write(file, [*({"event": r} for r in rows), *({"tender": t} for t in tenders)])
    for pairing, counter in gone:
        db.execute(
            "INSERT INTO meta VALUES (?,?) ON CONFLICT(key) DO UPDATE SET"
            " value=max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
            (f"highest_counter:{pairing}", str(counter)),
        )
        db.execute("DELETE FROM tenders WHERE pairing=? AND counter=?", (pairing, counter))
        db.execute("DELETE FROM attempts WHERE pairing=? AND counter=?", (pairing, counter))
    db.execute("DELETE FROM events WHERE seq<=?", (last_event,))
    db.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?,?)",
        [("archived_seq", str(last_event)), ("archived_hash", last_hash.hex())],
    )
    return Archived(len(rows), len(tenders), last_event, last_hash, file)


def _prefix(db: sqlite3.Connection, before: str) -> list[dict[str, Any]]:
    """The chain's beginning that may go: old, settled, and no tender in it has an event behind it.

    The last event of all never goes: the chain goes on from it.
    """
    cursor = db.execute(
        "SELECT e.seq AS seq, e.at AS at, e.pairing AS pairing, e.counter AS counter, e.name AS name, e.data AS data,"
        " e.hash AS hash, coalesce(t.live, 0) AS live,"
        " (SELECT max(l.seq) FROM events l WHERE l.pairing=e.pairing AND l.counter=e.counter) AS last"
        " FROM events e LEFT JOIN tenders t ON t.pairing=e.pairing AND t.counter=e.counter"
        " WHERE e.seq < (SELECT max(seq) FROM events) ORDER BY e.seq LIMIT ?",
        (EVENTS_MAX,),
    )
    names = [column[0] for column in cursor.description]
    found: list[dict[str, Any]] = []
    whole, last_of_all = 0, 0
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        if row.pop("live") or row["at"] >= before:
            break
        last_of_all = max(last_of_all, row.pop("last") or 0)
        found.append(row)
        if last_of_all <= row["seq"]:
            whole = len(found)
    return found[:whole]


def _tender(db: sqlite3.Connection, key: tuple[int, int]) -> dict[str, Any]:
    row = db.execute("SELECT form FROM tenders WHERE pairing=? AND counter=?", key).fetchone()
    return dict(json.loads(row[0])) if row else {}


def _write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.parent.mkdir(mode=0o750, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        for line in lines:
            text = json.dumps(line, ensure_ascii=False, default=lambda value: bytes(value).hex())
            packed.write(text.encode() + b"\n")
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
