"""Merchants and terminals: who may sell, by which device.

- One SQLite file with one writer: the daemon while it runs, a command under the state lock while it
  does not.
- Readers get a `Snapshot`: immutable, replaced whole after each change, safe in any thread.
- Nothing is ever deleted. What is removed is retired: it begins nothing new, and what is open, owed
  or unstored under it still finds its credentials.
- A pairing is a terminal id with a serial number, and has a number of its own that is never given
  again: a counter means something only within it. The same pair again keeps its number; another
  serial number under a known terminal id is another pairing, and retires the one before it.
- The keys of a pairing belong to the pair, registered or not: each set stays until a message under
  a newer one has proved that its terminal has that, or until a person has them forgotten.
- Each change is a row in `changes`: what it was, what it is, who did it, and when. Of keys it says
  how many sets there are; the keys themselves are in their table and nowhere else.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from bridge.secrets_files import SecretError, secret_at
from drivers.link.authentication import Keys

FILE_NAME: Final = "registry.db"
DEFAULT_BAUD: Final = 115_200
BAUD_RANGE: Final = (9_600, 921_600)
"""Terminal link, section 1."""
MERCHANT_ID_MAX: Final = 36
"""9F16 (terminal link, section 3), and a header of PartPay's."""
TERMINAL_ID_MAX: Final = 8
"""9F1C and 9F1E (terminal link, section 3)."""
NAME_MAX: Final = 100
WORD_MAX: Final = 255
"""A port, a profile, a display, a client id, a path."""

PRIVATE: Final = 0o600
"""Keys are in it: its owner alone may read."""

SCHEMA: Final = 2
_SCHEMA_1: Final = """
CREATE TABLE about (environment TEXT NOT NULL) STRICT;
CREATE TABLE merchants (
    merchant_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    client_id TEXT,
    client_secret_file TEXT,
    callback_key_file TEXT,
    retired INTEGER NOT NULL
) STRICT;
CREATE TABLE pairings (
    pairing INTEGER PRIMARY KEY AUTOINCREMENT,
    terminal_id TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    port TEXT NOT NULL,
    dialect TEXT NOT NULL,
    baud INTEGER NOT NULL,
    merchants TEXT NOT NULL,          -- a JSON array, the first one for tenders that name none
    profile TEXT,
    display TEXT,
    retired INTEGER NOT NULL,
    UNIQUE (terminal_id, serial_number)
) STRICT;
CREATE UNIQUE INDEX one_device_a_terminal_id ON pairings (terminal_id) WHERE retired = 0;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,                 -- ISO 8601, UTC
    who TEXT NOT NULL,
    uid INTEGER NOT NULL,
    action TEXT NOT NULL,             -- add, set, remove
    kind TEXT NOT NULL,               -- merchant, terminal
    subject TEXT NOT NULL,            -- a merchant id, or the number of a pairing
    was TEXT,                         -- JSON, null where it was not there
    became TEXT NOT NULL
) STRICT;
"""
_SCHEMA_2: Final = """
ALTER TABLE pairings ADD COLUMN name TEXT;
CREATE TABLE keys (                   -- those of the authenticated link, several sets for a pair
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order in which they were agreed on
    terminal_id TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    to_bridge BLOB NOT NULL,
    to_terminal BLOB NOT NULL
) STRICT;
"""
_SCHEMAS: Final = (_SCHEMA_1, _SCHEMA_2)
"""Each from the one before it; `changes` of kind "keys" has TERMINAL/SERIAL for its subject."""

Pair = tuple[str, str]
"""A terminal id and a serial number."""


class RegistryError(Exception):
    """A change or a question that the registry refuses. `exit_status`: of the command that asked."""

    exit_status = 1

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


class AlreadyThereError(RegistryError):
    """Something has that name already, or has that port otherwise."""


class NotKnownError(RegistryError):
    """Nothing has that name."""

    exit_status = 2


class SeveralMatchError(RegistryError):
    """More than one thing has that name: the remedy lists them."""

    exit_status = 2


class NotRightError(RegistryError):
    """A value that cannot be."""

    exit_status = 2


class WrongRegistryError(RegistryError):
    """The file is of another environment, or of a newer release. Nothing was changed."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Who:
    """The person behind a change."""

    name: str
    uid: int


@dataclass(frozen=True, slots=True)
class Merchant:
    """A trading brand's merchant id at PartPay.

    client_id, client_secret_file: the merchant's own credential; None: the service's.
    callback_key_file: the merchant's own keys, one a line; None: the service's.
    """

    merchant_id: str
    name: str
    client_id: str | None = None
    client_secret_file: str | None = None
    callback_key_file: str | None = None
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Pairing:
    """A terminal: terminal id with serial number, without filling.

    merchants: whose tenders it may take; the first one for tenders that name none.
    profile, display: names that `drivers` knows; None: what the terminal says of itself.
    name: for people: where it stands, and who faces it.
    """

    pairing: int
    terminal_id: str
    serial_number: str = ""
    port: str = ""
    dialect: str = "native"
    baud: int = DEFAULT_BAUD
    merchants: tuple[str, ...] = ()
    profile: str | None = None
    display: str | None = None
    retired: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """A line that terminals are expected on."""

    port: str
    dialect: str
    baud: int


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `changes`. at: ISO 8601, UTC. was: None where it was not there before."""

    at: str
    who: str
    uid: int
    action: str
    was: dict[str, Any] | None
    became: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything registered at one moment, retired ones too. Lookups take no lock and no time."""

    merchants: Mapping[str, Merchant]
    pairings: tuple[Pairing, ...]
    _numbered: Mapping[int, Pairing] = field(repr=False, compare=False)
    _paired: Mapping[tuple[str, str], Pairing] = field(repr=False, compare=False)
    usable: frozenset[str] = field(repr=False, compare=False)
    """The merchants that are not retired."""
    _keys: Mapping[Pair, tuple[Keys, ...]] = field(repr=False)

    @classmethod
    def of(
        cls,
        merchants: Iterable[Merchant],
        pairings: Iterable[Pairing],
        keys: Mapping[Pair, tuple[Keys, ...]] = MappingProxyType({}),
    ) -> Self:
        by_id = {merchant.merchant_id: merchant for merchant in merchants}
        every = tuple(pairings)
        return cls(
            merchants=MappingProxyType(by_id),
            pairings=every,
            _numbered=MappingProxyType({known.pairing: known for known in every}),
            _paired=MappingProxyType(
                {(known.terminal_id, known.serial_number): known for known in every}
            ),
            usable=frozenset(name for name, merchant in by_id.items() if not merchant.retired),
            _keys=MappingProxyType(dict(keys)),
        )

    def merchant(self, merchant_id: str) -> Merchant | None:
        """That merchant, retired or not."""
        return self.merchants.get(merchant_id)

    def pairing(self, number: int) -> Pairing | None:
        """The pairing of that number, retired or not."""
        return self._numbered.get(number)

    def find(self, terminal_id: str, serial_number: str) -> Pairing | None:
        """The pairing of that pair, retired or not."""
        return self._paired.get((terminal_id, serial_number))

    def keys_of(self, terminal_id: str, serial_number: str) -> tuple[Keys, ...]:
        """All keys of that pair, the newest first; none: its link is not authenticated."""
        return self._keys.get((terminal_id, serial_number), ())

    @property
    def keyed(self) -> frozenset[Pair]:
        """The pairs that have keys."""
        return frozenset(self._keys)

    def terminal(self, terminal_id: str) -> Pairing | None:
        """The pairing that has this terminal id now."""
        return next(
            (one for one in self.pairings if one.terminal_id == terminal_id and not one.retired),
            None,
        )

    @property
    def ports(self) -> tuple[Port, ...]:
        """The lines of the terminals that are not retired, each once, by name."""
        found = {
            known.port: Port(known.port, known.dialect, known.baud)
            for known in self.pairings
            if not known.retired
        }
        return tuple(found[name] for name in sorted(found))


class Registry:
    """The file, open for changes. A context manager; methods may be called from any thread.

    Each change raises `RegistryError` with nothing changed, or `sqlite3.Error` where the disk
    refuses.
    """

    def __init__(
        self,
        path: Path,
        environment: str,
        *,
        dialects: Collection[str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Opens the file, or makes it for this environment.

        dialects: the names that a terminal may have. now: for the log of changes.
        Raises `WrongRegistryError`, with the file untouched; `sqlite3.Error`.
        """
        self._dialects = tuple(dialects)
        self._now = now
        self._environ = environ
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Snapshot], None]] = []
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        try:
            self._open(path, environment)
            self._draft = self._read()
            self.snapshot = self._draft.snapshot()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def on_change(self, listener: Callable[[Snapshot], None]) -> None:
        """Calls `listener` with the new snapshot after each change, one change after the other.

        In the thread that made the change; the listener must not ask the registry anything.
        """
        self._listeners.append(listener)

    def history(self, kind: str, subject: str) -> tuple[Change, ...]:
        """What was changed of a "merchant" or a "terminal" (by its pairing's number), oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT at, who, uid, action, was, became FROM changes"
                " WHERE kind = ? AND subject = ? ORDER BY number",
                (kind, subject),
            ).fetchall()
        return tuple(
            Change(at, who, uid, action, json.loads(was) if was else None, json.loads(became))
            for at, who, uid, action, was, became in rows
        )

    def add_merchant(self, merchant: Merchant, who: Who) -> Merchant:
        """A new merchant, or one that was removed, with these values from now on."""
        with self._changing():
            known = self._draft.merchants.get(merchant.merchant_id)
            if known is not None and not known.retired:
                raise AlreadyThereError(
                    f"merchant {merchant.merchant_id} is already there ({known.name})",
                    f"change it with: merchants set {merchant.merchant_id}",
                )
            self._put_merchant(self._right_merchant(merchant), "add", who)
        return merchant

    def set_merchant(self, merchant_id: str, changes: Mapping[str, Any], who: Who) -> Merchant:
        """Changes the fields named. None takes a field away."""
        with self._changing():
            merchant = self._right_merchant(replace(self._merchant(merchant_id), **changes))
            self._put_merchant(merchant, "set", who)
        return merchant

    def remove_merchant(self, merchant_id: str, who: Who) -> Merchant:
        """Retires it."""
        with self._changing():
            merchant = replace(self._merchant(merchant_id), retired=True)
            self._put_merchant(merchant, "remove", who)
        return merchant

    def import_merchants(self, merchants: Iterable[Merchant], who: Who) -> dict[str, list[str]]:
        """Adds the new ones and changes the known ones to these values: all of them, or none.

        Returns the merchant ids by what became of them: "added", "changed", "unchanged".
        """
        done: dict[str, list[str]] = {"added": [], "changed": [], "unchanged": []}
        with self._changing():
            for merchant in merchants:
                known = self._draft.merchants.get(merchant.merchant_id)
                if known == merchant:
                    done["unchanged"].append(merchant.merchant_id)
                    continue
                new = known is None or known.retired
                try:
                    right = self._right_merchant(merchant)
                except NotRightError as error:
                    what = f"merchant {merchant.merchant_id}: {error.what}"
                    raise NotRightError(what, error.remedy) from None
                self._put_merchant(right, "add" if new else "set", who)
                done["added" if new else "changed"].append(merchant.merchant_id)
        return done

    def add_terminal(self, terminal: Pairing, who: Who) -> Pairing:
        """A terminal with these values from now on; `pairing` of what is passed in says nothing.

        The same pair again keeps its number. Another serial number retires the pairing before.
        """
        with self._changing():
            known, number = None, 0
            for one in list(self._draft.pairings.values()):
                if one.terminal_id != terminal.terminal_id:
                    continue
                if one.serial_number == terminal.serial_number:
                    known, number = one, one.pairing
                elif not one.retired:
                    self._put_pairing(replace(one, retired=True), "remove", who)
            right = self._right_pairing(replace(terminal, pairing=number, retired=False))
            new = known is None or known.retired
            return self._put_pairing(right, "add" if new else "set", who)

    def set_terminal(self, key: str, changes: Mapping[str, Any], who: Who) -> Pairing:
        """Changes the fields named. `key`: see `terminal`."""
        with self._changing():
            right = self._right_pairing(replace(self._terminal(key), **changes))
            self._put_pairing(right, "set", who)
        return right

    def remove_terminal(self, key: str, who: Who) -> Pairing:
        """Retires it. `key`: see `terminal`."""
        with self._changing():
            pairing = replace(self._terminal(key), retired=True)
            self._put_pairing(pairing, "remove", who)
        return pairing

    def keys_of(self, terminal_id: str, serial_number: str) -> tuple[Keys, ...]:
        """See `Snapshot.keys_of`, as things are now."""
        return self.snapshot.keys_of(terminal_id, serial_number)

    def keep_keys(self, terminal_id: str, serial_number: str, keys: Keys, who: Who) -> None:
        """Keeps these keys beside those that the pair has. Durable when it returns."""
        with self._changing():
            _check_id("terminal id", terminal_id, TERMINAL_ID_MAX, spaces=True)
            _check_id("serial number", serial_number, TERMINAL_ID_MAX, spaces=True)
            pair = (terminal_id, serial_number)
            self._db.execute(
                "INSERT INTO keys (terminal_id, serial_number, to_bridge, to_terminal)"
                " VALUES (?, ?, ?, ?)",
                (*pair, keys.to_bridge, keys.to_terminal),
            )
            self._put_keys(pair, (keys, *self._draft.keys.get(pair, ())), "pair", who)

    def keys_proved(self, terminal_id: str, serial_number: str, key_id: bytes, who: Who) -> None:
        """A message under these keys (DF27) has come: those from before them go. Twice is once."""
        with self._changing():
            pair = (terminal_id, serial_number)
            every = self._draft.keys.get(pair, ())
            proved = next((at for at, one in enumerate(every) if one.identifier == key_id), None)
            if proved is None or proved == len(every) - 1:
                return
            for old in every[proved + 1 :]:
                self._db.execute("DELETE FROM keys WHERE to_bridge = ?", (old.to_bridge,))
            self._put_keys(pair, every[: proved + 1], "proved", who)

    def forget_keys(self, key: str, who: Who) -> Pair:
        """Removes all keys of a pair: what they were for speaks without codes from then on, or not.

        `key`: see `terminal`; TERMINAL/SERIAL also of a pair that is not registered. Raises
        `NotKnownError` where it has no keys.
        """
        with self._changing():
            pair = next((one for one in self._draft.keys if "/".join(one) == key), None)
            if pair is None:
                terminal = self.terminal(key)
                pair = (terminal.terminal_id, terminal.serial_number)
            if pair not in self._draft.keys:
                raise NotKnownError(
                    f"terminal {'/'.join(pair)} has no keys", "nothing is to be forgotten"
                )
            self._db.execute("DELETE FROM keys WHERE terminal_id = ? AND serial_number = ?", pair)
            self._put_keys(pair, (), "forget", who)
        return pair

    def merchant(self, merchant_id: str) -> Merchant:
        """That merchant, retired or not. Raises `NotKnownError`."""
        found = self.snapshot.merchant(merchant_id)
        if found is None:
            raise NotKnownError(f"no merchant {merchant_id}", "see: merchants list")
        return found

    def terminal(self, key: str) -> Pairing:
        """The terminal that is meant: TERMINAL, or TERMINAL/SERIAL where several had that id.

        Where none has the id now, those that had it. Raises `NotKnownError`, `SeveralMatchError`.
        """
        every = self.snapshot.pairings
        found = [one for one in every if key in {one.terminal_id, _full_key(one)}]
        found = [one for one in found if not one.retired] or found
        if not found:
            raise NotKnownError(f"no terminal {key}", "see: terminals list")
        if len(found) > 1:
            keys = ", ".join(_full_key(one) for one in found)
            raise SeveralMatchError(f"several terminals match {key}", f"name one of: {keys}")
        return found[0]

    def _open(self, path: Path, environment: str) -> None:
        # A rollback journal, not WAL: there is one connection, and nothing is gained by a second
        # file.
        self._db.execute("PRAGMA synchronous = EXTRA")
        self._db.execute("PRAGMA secure_delete = ON")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise WrongRegistryError(
                f"{path} is of a newer release (schema {version}, this one knows {SCHEMA})",
                "use that release again, or restore the copy that was made before it",
            )
        if version:
            self._check_environment(path, environment)
        if path.stat().st_mode & 0o777 != PRIVATE:
            path.chmod(PRIVATE)
        if 0 < version < SCHEMA:
            _copy(self._db, path.with_name(f"{path.stem}.schema-{version}{path.suffix}"))
        if version < SCHEMA:
            self._db.executescript(f"BEGIN IMMEDIATE;{''.join(_SCHEMAS[version:])}")
            if not version:
                self._db.execute("INSERT INTO about VALUES (?)", (environment,))
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")
            self._db.execute("COMMIT")

    def _is_empty(self) -> bool:
        """Nothing was ever registered."""
        made = ("merchants", "pairings", "changes", "keys")
        return all(
            self._db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None  # noqa: S608
            for table in made
            if self._db.execute(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
            ).fetchone()
        )

    def _check_environment(self, path: Path, environment: str) -> None:
        row = self._db.execute("SELECT environment FROM about").fetchone()
        if row is not None and row[0] != environment and self._is_empty():
            # A command has made it, before anybody said which environment is meant.
            self._db.execute("UPDATE about SET environment = ?", (environment,))
        elif row is None or row[0] != environment:
            raise WrongRegistryError(
                f"{path} is of PartPay's {row[0] if row else 'unknown'} environment, "
                f"and the configuration says {environment}",
                "set [partpay] environment back, or give [bridge] another state_dir",
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._draft = _Draft.of(self.snapshot)
                raise
            self.snapshot = self._draft.snapshot()
            for listener in self._listeners:
                listener(self.snapshot)

    def _read(self) -> "_Draft":
        draft = _Draft({}, {}, {})
        for row in self._db.execute("SELECT * FROM merchants ORDER BY merchant_id"):
            merchant = Merchant(**{**row, "retired": bool(row["retired"])})
            draft.merchants[merchant.merchant_id] = merchant
        for row in self._db.execute("SELECT * FROM pairings ORDER BY pairing"):
            merchants = tuple(json.loads(row["merchants"]))
            pairing = Pairing(**{**row, "merchants": merchants, "retired": bool(row["retired"])})
            draft.pairings[pairing.pairing] = pairing
        for row in self._db.execute("SELECT * FROM keys ORDER BY number DESC"):
            pair = (row["terminal_id"], row["serial_number"])
            keys = Keys(row["to_bridge"], row["to_terminal"])
            draft.keys[pair] = (*draft.keys.get(pair, ()), keys)
        return draft

    def _put_merchant(self, merchant: Merchant, action: str, who: Who) -> None:
        was = self._draft.merchants.get(merchant.merchant_id)
        if was == merchant:
            return
        self._db.execute(
            "REPLACE INTO merchants VALUES (:merchant_id, :name, :client_id,"
            " :client_secret_file, :callback_key_file, :retired)",
            asdict(merchant),
        )
        self._draft.merchants[merchant.merchant_id] = merchant
        self._log(who, action, "merchant", merchant.merchant_id, was, merchant)

    def _put_pairing(self, pairing: Pairing, action: str, who: Who) -> Pairing:
        was = self._draft.pairings.get(pairing.pairing)
        if was == pairing:
            return pairing
        values = asdict(pairing) | {"merchants": json.dumps(pairing.merchants)}
        if was is None:
            number = self._db.execute(
                "INSERT INTO pairings VALUES (NULL, :terminal_id, :serial_number, :port,"
                " :dialect, :baud, :merchants, :profile, :display, :retired, :name)",
                values,
            ).lastrowid
            assert number is not None
            pairing = replace(pairing, pairing=number)
        else:
            self._db.execute(
                "UPDATE pairings SET port = :port, dialect = :dialect, baud = :baud,"
                " merchants = :merchants, profile = :profile, display = :display,"
                " retired = :retired, name = :name WHERE pairing = :pairing",
                values,
            )
        self._draft.pairings[pairing.pairing] = pairing
        self._log(who, action, "terminal", str(pairing.pairing), was, pairing)
        return pairing

    def _put_keys(self, pair: Pair, keys: tuple[Keys, ...], action: str, who: Who) -> None:
        was = len(self._draft.keys.get(pair, ()))
        if keys:
            self._draft.keys[pair] = keys
        else:
            self._draft.keys.pop(pair, None)
        counted = ({"key_sets": was}, {"key_sets": len(keys)})
        self._log(who, action, "keys", "/".join(pair), *counted)

    def _log(
        self,
        who: Who,
        action: str,
        kind: str,
        subject: str,
        was: Merchant | Pairing | dict[str, int] | None,
        became: Merchant | Pairing | dict[str, int],
    ) -> None:
        self._db.execute(
            "INSERT INTO changes (at, who, uid, action, kind, subject, was, became)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._now().isoformat(timespec="milliseconds"),
                who.name,
                who.uid,
                action,
                kind,
                subject,
                json.dumps(_told(was)) if was is not None else None,
                json.dumps(_told(became)),
            ),
        )

    def _merchant(self, merchant_id: str) -> Merchant:
        merchant = self.merchant(merchant_id)
        if merchant.retired:
            raise NotKnownError(
                f"merchant {merchant_id} was removed", "bring it back with: merchants add"
            )
        return merchant

    def _terminal(self, key: str) -> Pairing:
        pairing = self.terminal(key)
        if pairing.retired:
            raise NotKnownError(f"terminal {key} was removed", "bring it back with: terminals add")
        return pairing

    def _right_merchant(self, merchant: Merchant) -> Merchant:
        _check_id("merchant id", merchant.merchant_id, MERCHANT_ID_MAX)
        _check_text("name", merchant.name, NAME_MAX)
        if merchant.client_id is not None:
            _check_id("client id", merchant.client_id, WORD_MAX)
        if (merchant.client_id is None) != (merchant.client_secret_file is None):
            raise NotRightError(
                "a client id and a client secret's file go together", "give both, or neither"
            )
        try:
            if merchant.client_secret_file is not None:
                secret_at(_whole_path(merchant.client_secret_file), self._environ).read()
            if merchant.callback_key_file is not None:
                secret_at(_whole_path(merchant.callback_key_file), self._environ).read_keys()
        except SecretError as error:
            raise NotRightError(f"{error.path} {error.what}", error.remedy) from None
        return merchant

    def _right_pairing(self, pairing: Pairing) -> Pairing:
        _check_id("terminal id", pairing.terminal_id, TERMINAL_ID_MAX, spaces=True)
        _check_id("serial number", pairing.serial_number, TERMINAL_ID_MAX, spaces=True)
        _check_text("port", pairing.port, WORD_MAX)
        for name, value in (("profile", pairing.profile), ("display", pairing.display)):
            if value is not None:
                _check_text(name, value, WORD_MAX)
        if pairing.name is not None:
            _check_text("name", pairing.name, NAME_MAX)
        if pairing.dialect not in self._dialects:
            raise NotRightError(
                f'"{pairing.dialect}" is no dialect', f"use {' or '.join(self._dialects)}"
            )
        low, high = BAUD_RANGE
        if not low <= pairing.baud <= high:
            raise NotRightError(f"baud {pairing.baud} is out of range", f"use {low} to {high}")
        self._check_merchants(pairing)
        self._check_port(pairing)
        return pairing

    def _check_merchants(self, pairing: Pairing) -> None:
        if not pairing.merchants:
            raise NotRightError("a terminal needs a merchant", "give --merchant ID")
        if len(set(pairing.merchants)) != len(pairing.merchants):
            raise NotRightError("a merchant is named twice", "name each --merchant once")
        for merchant_id in pairing.merchants:
            merchant = self._draft.merchants.get(merchant_id)
            if merchant is None or merchant.retired:
                raise NotRightError(
                    f"no merchant {merchant_id}", f"first: merchants add --id {merchant_id}"
                )

    def _check_port(self, pairing: Pairing) -> None:
        line = Port(pairing.port, pairing.dialect, pairing.baud)
        for other in self._draft.pairings.values():
            if other.retired or other.pairing == pairing.pairing or other.port != line.port:
                continue
            if Port(other.port, other.dialect, other.baud) != line:
                raise AlreadyThereError(
                    f"port {line.port} speaks {other.dialect} at {other.baud} baud, "
                    f"for terminal {other.terminal_id}",
                    "give this one the same --dialect and --baud, or another port",
                )


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a change works on, until it is committed and becomes the snapshot."""

    merchants: dict[str, Merchant]
    pairings: dict[int, Pairing]
    keys: dict[Pair, tuple[Keys, ...]]
    """The newest first, as in `Snapshot.keys_of`."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> "_Draft":
        return cls(
            dict(snapshot.merchants),
            {one.pairing: one for one in snapshot.pairings},
            {pair: snapshot.keys_of(*pair) for pair in snapshot.keyed},
        )

    def snapshot(self) -> Snapshot:
        return Snapshot.of(self.merchants.values(), self.pairings.values(), self.keys)


def _told(value: Merchant | Pairing | dict[str, int]) -> dict[str, Any]:
    return value if isinstance(value, dict) else asdict(value)


def _copy(db: sqlite3.Connection, path: Path) -> None:
    """What was there before a migration, whole and on the disk. Raises sqlite3.Error, OSError."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    try:
        with closing(sqlite3.connect(draft)) as copy:
            db.backup(copy)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _full_key(pairing: Pairing) -> str:
    return f"{pairing.terminal_id}/{pairing.serial_number}"


def _whole_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise NotRightError("a secret's file is named by no absolute path", "name the whole path")
    return path


def _check_id(name: str, value: str, most: int, *, spaces: bool = False) -> None:
    _check_text(name, value, most)
    if not value.isascii() or (" " in value and not spaces):
        kind = "printable ASCII" if spaces else "printable ASCII without spaces"
        raise NotRightError(f'{name} "{value}" holds other characters', f"use {kind}")


def _check_text(name: str, value: str, most: int) -> None:
    if not 1 <= len(value) <= most:
        raise NotRightError(f"{name} has {len(value)} characters", f"use 1 to {most}")
    if not value.isprintable() or value != value.strip():
        raise NotRightError(
            f"{name} {value!r} holds what cannot be printed, or spaces at an end", "leave them out"
        )
