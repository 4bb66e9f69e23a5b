"""The journal: tenders, every event, and what needs a person, in one SQLite file with one writer.

- A batch is one transaction: `begin`, any number of `write`, `commit`. WAL with synchronous=FULL: when `commit`
  returns, it is on the disk (as far as the disk is honest).
- Looking up sees what the open batch has written, since it is the same connection.
- Any `sqlite3.Error` ends the batch; the caller closes this journal, opens it anew and reads its state again.
- A newer schema, or another environment, is refused untouched (`WrongJournal`).
"""

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from bridge.crash_points import Point, here
from bridge.journal import chain
from bridge.journal.archive import Archived, archive
from bridge.journal.stamp import Stamp, StampFile
from bridge.journal.stamp import read as read_stamp
from bridge.stored_form import Plain, difference, from_flat, to_flat
from bridge.tender import Kind, Note, Tender

SCHEMA: Final = 1
RESTORED: Final = "restored"
"""In `meta` from when a copy that was put back is seen until what it asks for is written with it, through a crash."""
WAL_PAGES: Final = 1000
"""Pages after which SQLite checkpoints; the file is not truncated, so that later commits need not grow it."""


class WrongJournal(Exception):  # noqa: N818 - a finding about a file, with its remedy
    """The state directory is of another environment, or of a newer release. Nothing was changed."""


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def connection(path: Path) -> sqlite3.Connection:
    """The file, without transactions of Python's own making."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)


class Journal:
    """The engine's own connection: the only one that writes or checkpoints."""

    def __init__(
        self,
        path: Path,
        environment: str,
        wall: Callable[[], str],
        *,
        new_identity: Callable[[], str] = lambda: secrets.token_hex(8),
        connect: Callable[[Path], sqlite3.Connection] = connection,
    ) -> None:
        """Opens or makes the journal. `wall` gives the time for records (ISO 8601).

        `connect` gives the connection, which this object closes.

        Raises:
            WrongJournal: another environment's, or a newer schema's.
            sqlite3.Error, OSError: it cannot be opened or written.
        """
        self._wall = wall
        self.path = path
        stamp_path = path.with_suffix(".stamp")
        stamp = read_stamp(stamp_path)
        _refuse_strangers(path, stamp, environment)
        self._db = connect(path)
        self._stamp_file: StampFile | None = None
        self._flat: dict[tuple[int, int], dict[str, Plain]] = {}
        self._last_form: tuple[Tender | None, dict[str, Plain]] = (None, {})
        try:
            self._open(environment, stamp, stamp_path, new_identity)
        except BaseException:
            self.close()
            raise

    def _open(
        self,
        environment: str,
        stamp: Stamp | None,
        stamp_path: Path,
        new_identity: Callable[[], str],
    ) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        db.execute("PRAGMA foreign_keys=ON")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        fresh = version == 0
        if fresh:
            schema = (files("bridge.journal") / f"schema_{SCHEMA}.sql").read_text()
            db.executescript(f"BEGIN IMMEDIATE;{schema}PRAGMA user_version={SCHEMA};COMMIT;")
        row = db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        self.last_event: int = row[0] if row else int(self._meta("archived_seq") or 0)
        self.head: bytes = (
            bytes(row[1])
            if row
            else bytes.fromhex(self._meta("archived_hash") or chain.START.hex())
        )
        identity = self._meta("journal")
        behind = stamp is not None and (
            identity != stamp.journal or self.last_event < stamp.last_event
        )
        if identity is None or behind:
            identity = new_identity()
            own = {"journal": identity, "environment": environment}
            self._put_meta({**own, RESTORED: "yes"} if behind else own)
        self.restored = self._meta(RESTORED) is not None
        self.identity = bytes.fromhex(identity)
        self._environment = environment
        self._stamp_file = StampFile(stamp_path)
        self._stamp(durable=True)

    def close(self) -> None:
        """Leaves what is committed as it is; an open batch is gone."""
        if self._stamp_file is not None:
            self._stamp_file.__exit__()
            self._stamp_file = None
        self._db.close()

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _put_meta(self, values: dict[str, str]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", values.items())
        self._db.execute("COMMIT")

    def _stamp(self, *, durable: bool = False) -> None:
        assert self._stamp_file is not None
        stamp = Stamp(self._environment, SCHEMA, self.identity.hex(), self.last_event)
        self._stamp_file.write(stamp, durable=durable)

    # -- a batch ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Durable when it returns."""
        here(Point.BEFORE_COMMIT, None)
        self._db.execute("COMMIT")
        here(Point.BEFORE_STAMP, None)
        self._stamp()
        here(Point.AFTER_COMMIT, None)

    def forget_restored(self) -> None:
        """Within a batch: what a restored copy asks for is done with it."""
        self._db.execute("DELETE FROM meta WHERE key=?", (RESTORED,))
        self.restored = False

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def write(
        self, name: str, given: dict[str, Plain], t: Tender | None, notes: Iterable[Note] = ()
    ) -> dict[str, Plain]:
        """Appends one event, and brings the tender's row up to what it now is; what changed in it.

        `given`: what happened, as plain values. `t`: the tender as it is after it, or None for an event of none.
        """
        here(Point.BEFORE_WRITE, name)
        data: dict[str, object] = {}
        if given:
            data["in"] = given
        listed = list(notes)
        if listed:
            data["notes"] = [[n.code, n.text] for n in listed]
        pairing = counter = None
        changed: dict[str, Plain] = {}
        if t is not None:
            pairing, counter = t.pairing, t.counter
            flat = self._form_of(t)
            changed = difference(self._known(pairing, counter), flat)
            if changed:
                data["set"] = changed
        seq = self.last_event + 1
        at, text = self._wall(), compact(data)
        self.head = chain.link(self.head, seq, at, pairing, counter, name, text)
        self._db.execute(
            "INSERT INTO events VALUES (?,?,?,?,?,?,?)",
            (seq, at, pairing, counter, name, text, self.head),
        )
        self.last_event = seq
        if t is not None:
            self._put(t, flat, seq)
        for note in listed:
            if note.attention:
                self._db.execute(
                    "INSERT OR IGNORE INTO attention(at,pairing,counter,code,text) VALUES (?,?,?,?,?)",
                    (at, pairing, counter, note.code, note.text),
                )
        return changed

    def changes(self, t: Tender) -> bool:
        """Whether writing this tender would change what is stored of it."""
        return self._known(t.pairing, t.counter) != self._form_of(t)

    def _form_of(self, t: Tender) -> dict[str, Plain]:
        """The stored form; asked for twice of each tender, whether it changed and what to write."""
        if self._last_form[0] is not t:
            self._last_form = (t, to_flat(t))
        return self._last_form[1]

    def _known(self, pairing: int, counter: int) -> dict[str, Plain]:
        known = self._flat.get((pairing, counter))
        if known is None:
            row = self._db.execute(
                "SELECT form FROM tenders WHERE pairing=? AND counter=?", (pairing, counter)
            ).fetchone()
            known = json.loads(row[0]) if row else {}
        return known

    def _put(self, t: Tender, flat: dict[str, Plain], seq: int) -> None:
        key = (t.pairing, t.counter)
        order = t.outcome or t.attempt
        columns = (
            str(t.state), t.outcome and t.outcome.code, t.stored, str(t.reversal),
            order.order_id, order.order_number, t.attempt.gateway_reference, not t.is_settled, compact(flat),
        )  # fmt: skip
        if self._db.execute(
            "UPDATE tenders SET state=?,code=?,stored=?,reversal=?,order_id=?,order_number=?,gateway_reference=?,"
            "live=?,form=? WHERE pairing=? AND counter=?",
            (*columns, *key),
        ).rowcount == 0:  # fmt: skip
            self._db.execute(
                "INSERT INTO tenders(state,code,stored,reversal,order_id,order_number,gateway_reference,live,form,"
                "pairing,counter,terminal,kind,merchant,amount_minor,reference,accepted_at,original_counter,opened)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (*columns, *key, t.terminal_id, str(t.kind), t.merchant, t.amount_minor, t.reference,
                 t.accepted_at, t.original_counter, seq),
            )  # fmt: skip
        if t.kind is Kind.TENDER:
            before = self._flat.get(key) or {}
            for a in t.attempts:
                if before.get(f"a{a.number}.order_id", "") != a.order_id:
                    self._db.execute(
                        "INSERT INTO attempts VALUES (?,?,?,?,?,?) ON CONFLICT(gateway_reference) DO UPDATE"
                        " SET order_id=excluded.order_id, order_number=excluded.order_number",
                        (a.gateway_reference, *key, a.number, a.order_id, a.order_number),
                    )
        if t.is_settled:
            self._flat.pop(key, None)
        else:
            self._flat[key] = flat

    def archive(self, before: str) -> Archived | None:
        """Moves settled tenders older than `before` to `archive/`, in a batch of its own; see `archive.py`.

        Raises sqlite3.Error, OSError; nothing is deleted then.
        """
        self.begin()
        try:
            done = archive(self._db, self.path.parent / "archive", before)
        except BaseException:
            self.rollback()
            raise
        self.commit()
        return done

    def acknowledge(self, entry: int | None, who: str) -> int:
        """Marks one attention entry (None: all) as seen; how many there were. Within a batch."""
        return self._db.execute(
            "UPDATE attention SET acknowledged_at=?, acknowledged_by=?"
            " WHERE acknowledged_at IS NULL AND (? IS NULL OR entry=?)",
            (self._wall(), who, entry, entry),
        ).rowcount

    # -- looking up ---------------------------------------------------------------------------------------------

    def find(self, pairing: int, counter: int) -> Tender | None:
        flat = self._known(pairing, counter)
        return from_flat(flat) if flat else None

    def live(self) -> Iterator[Tender]:
        """Every tender that is open, owed or unstored."""
        for (form,) in self._db.execute("SELECT form FROM tenders WHERE live=1").fetchall():
            flat = json.loads(form)
            t = from_flat(flat)
            self._flat[t.pairing, t.counter] = flat
            yield t

    def last(self, pairing: int) -> Tender | None:
        row = self._db.execute(
            "SELECT counter FROM tenders WHERE pairing=? ORDER BY opened DESC LIMIT 1", (pairing,)
        ).fetchone()
        return self.find(pairing, row[0]) if row else None

    def highest_counter(self, pairing: int) -> int | None:
        """The highest that was ever written down, archived ones too."""
        row = self._db.execute(
            "SELECT max(counter) FROM tenders WHERE pairing=?", (pairing,)
        ).fetchone()
        archived = self._meta(f"highest_counter:{pairing}")
        known = [int(value) for value in (row[0], archived) if value is not None]
        return max(known, default=None)

    def refunded_minor(self, pairing: int, original_counter: int) -> int:
        """What refunds of this tender add up to, open ones too; those that were not done do not count."""
        row = self._db.execute(
            "SELECT total(amount_minor) FROM tenders WHERE pairing=? AND original_counter=?"
            " AND (code IS NULL OR code='00')",
            (pairing, original_counter),
        ).fetchone()
        return int(row[0])

    def attempt_of_reference(self, gateway_reference: str) -> tuple[int, int, int] | None:
        """(pairing, counter, attempt) whose gateway reference this is."""
        row = self._db.execute(
            "SELECT pairing, counter, number FROM attempts WHERE gateway_reference=?",
            (gateway_reference,),
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def attempt_of_order(self, order_id: str) -> tuple[int, int, int] | None:
        """(pairing, counter, attempt) for which this order id is recorded."""
        row = self._db.execute(
            "SELECT pairing, counter, number FROM attempts WHERE order_id=?", (order_id,)
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2])


def _refuse_strangers(path: Path, stamp: Stamp | None, environment: str) -> None:
    """Looks before anything is touched."""
    found, schema = (stamp.environment, stamp.schema) if stamp else (None, 0)
    if path.exists() and path.stat().st_size > 0:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            schema = max(schema, db.execute("PRAGMA user_version").fetchone()[0])
            if 0 < schema <= SCHEMA:
                row = db.execute("SELECT value FROM meta WHERE key='environment'").fetchone()
                found = row[0] if row else found
        finally:
            db.close()
    if schema > SCHEMA:
        raise WrongJournal(
            f"{path}: written by a newer release (schema {schema}, this one knows {SCHEMA}): "
            "install that release again"
        )
    if found is not None and found != environment:
        raise WrongJournal(
            f"{path}: of environment {found!r}, but the configuration says {environment!r}: "
            "set [partpay] environment back, or give [bridge] another state_dir"
        )
