"""Reading the journal for people: lists, one tender's timeline, sums.

- Query-only connections, each opened for one question; a reader never writes and never checkpoints (architecture,
  "A journal of one writer"), sees only what is committed, and works whether the daemon runs or not.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

LIST_MAX: Final = 10_000
"""Rows that one list gives; more are for `export`, which streams."""

_COLUMNS: Final = (
    "terminal, counter, kind, merchant, amount_minor, state, code, stored, reversal, order_id, order_number,"
    " gateway_reference, reference, accepted_at, original_counter, pairing"
)


def as_json(row: sqlite3.Row) -> dict[str, Any]:
    """A tender as `--json` shows it (architecture, "Commands and configuration")."""
    return {**dict(row), "stored": bool(row["stored"])}


class JournalReader:
    """Questions to the journal at `path`. Each raises sqlite3.Error where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5.0)) as db:
            db.execute("PRAGMA query_only=1")
            db.row_factory = sqlite3.Row
            yield db

    def tenders(
        self,
        *,
        open_only: bool = False,
        terminal: str | None = None,
        first_day: str | None = None,
        last_day: str | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """The latest tenders and refunds, newest first. Days: YYYY-MM-DD in the shop's time, both included."""
        with self._open() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM tenders WHERE (? OR live=1) AND (? IS NULL OR terminal=?)"  # noqa: S608
                " AND (? IS NULL OR substr(accepted_at,1,10)>=?) AND (? IS NULL OR substr(accepted_at,1,10)<=?)"
                " ORDER BY accepted_at DESC, opened DESC LIMIT ?",
                (
                    not open_only,
                    terminal,
                    terminal,
                    first_day,
                    first_day,
                    last_day,
                    last_day,
                    min(limit, LIST_MAX),
                ),
            )
            return [as_json(row) for row in rows]

    def find(self, key: str) -> list[dict[str, Any]]:
        """What `[TERMINAL/]COUNTER`, an order id, an order number or a reference names; several may match."""
        terminal, slash, counter = key.rpartition("/")
        with self._open() as db:
            if counter.isdigit() and len(counter) <= 8 and (slash or counter == key):
                rows = db.execute(
                    f"SELECT {_COLUMNS} FROM tenders WHERE counter=? AND (?='' OR terminal=?)"  # noqa: S608
                    " ORDER BY opened DESC",
                    (int(counter), terminal, terminal),
                ).fetchall()
                if rows:
                    return [as_json(row) for row in rows]
            base = key.removesuffix("-V")
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM tenders WHERE (pairing, counter) IN"  # noqa: S608
                " (SELECT pairing, counter FROM attempts"
                " WHERE gateway_reference=? OR order_id=? OR order_number=?)"
                " OR gateway_reference=? OR reference=? OR order_id=? OR order_number=?"
                " ORDER BY opened DESC LIMIT 100",
                (base, key, key, base, key, key, key),
            ).fetchall()
            return [as_json(row) for row in rows]

    def form(self, pairing: int, counter: int) -> dict[str, Any]:
        """The whole stored form of one tender."""
        with self._open() as db:
            row = db.execute(
                "SELECT form FROM tenders WHERE pairing=? AND counter=?", (pairing, counter)
            ).fetchone()
            return {} if row is None else dict(json.loads(row["form"]))

    def events(self, pairing: int, counter: int) -> list[dict[str, Any]]:
        """Every event of one tender, in order."""
        with self._open() as db:
            rows = db.execute(
                "SELECT seq, at, name, data FROM events WHERE pairing=? AND counter=? ORDER BY seq",
                (pairing, counter),
            )
            return [{**dict(row), "data": json.loads(row["data"])} for row in rows]

    def attention(self) -> list[dict[str, Any]]:
        """What needs a person and nobody has acknowledged, oldest first."""
        with self._open() as db:
            rows = db.execute(
                "SELECT entry, at, a.pairing AS pairing, a.counter AS counter, t.terminal AS terminal,"
                " a.code AS code, text, t.order_number AS order_number FROM attention a LEFT JOIN tenders t"
                " ON t.pairing=a.pairing AND t.counter=a.counter"
                " WHERE acknowledged_at IS NULL ORDER BY entry LIMIT ?",
                (LIST_MAX,),
            )
            return [dict(row) for row in rows]

    def totals(
        self, first_day: str | None = None, last_day: str | None = None
    ) -> list[dict[str, Any]]:
        """By merchant and day: approved sales, done refunds, in minor units."""
        with self._open() as db:
            rows = db.execute(
                "SELECT substr(accepted_at,1,10) AS day, merchant,"
                " sum(kind='tender' AND code='00') AS sales,"
                " sum(CASE WHEN kind='tender' AND code='00' THEN amount_minor ELSE 0 END) AS sales_minor,"
                " sum(kind='refund' AND code='00') AS refunds,"
                " sum(CASE WHEN kind='refund' AND code='00' THEN amount_minor ELSE 0 END) AS refunds_minor,"
                " sum(live) AS unsettled"
                " FROM tenders WHERE (? IS NULL OR substr(accepted_at,1,10)>=?)"
                " AND (? IS NULL OR substr(accepted_at,1,10)<=?) GROUP BY day, merchant ORDER BY day, merchant",
                (first_day, first_day, last_day, last_day),
            )
            return [dict(row) for row in rows]

    def export(self, first_day: str, last_day: str) -> Iterator[dict[str, Any]]:
        """Every approved sale and done refund of these days, to match a settlement, oldest first."""
        with self._open() as db:
            rows = db.execute(
                "SELECT accepted_at, terminal, counter, kind, merchant, order_number, order_id, reference,"
                " amount_minor, gateway_reference, original_counter,"
                " (SELECT coalesce(sum(r.amount_minor),0) FROM tenders r WHERE r.pairing=t.pairing"
                "  AND r.original_counter=t.counter AND r.code='00') AS refunded_minor"
                " FROM tenders t WHERE code='00' AND substr(accepted_at,1,10) BETWEEN ? AND ? ORDER BY opened",
                (first_day, last_day),
            )
            for row in rows:
                yield dict(row)

    def waiting_long(self) -> int:
        """How many outcomes have waited for longer than `stored_alert` to be stored."""
        with self._open() as db:
            found = db.execute(
                "SELECT count(DISTINCT t.pairing || '/' || t.counter) FROM tenders t JOIN attention a"
                " ON a.pairing=t.pairing AND a.counter=t.counter AND a.code='not-stored'"
                " WHERE t.live=1 AND t.code IS NOT NULL AND t.stored=0"
            ).fetchone()
            return int(found[0])

    def counts(self) -> dict[str, int]:
        """How many tenders are open, owe a reversal, or wait to be stored; and what needs a person."""
        with self._open() as db:
            row = db.execute(
                "SELECT sum(code IS NULL) AS open, sum(reversal='owed') AS owed,"
                " sum(code IS NOT NULL AND stored=0) AS unstored FROM tenders WHERE live=1"
            ).fetchone()
            attention = db.execute(
                "SELECT count(*) FROM attention WHERE acknowledged_at IS NULL"
            ).fetchone()[0]
        return {name: int(row[name] or 0) for name in ("open", "owed", "unstored")} | {
            "attention": int(attention)
        }
