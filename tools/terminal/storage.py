"""What a terminal keeps through a power cut, and two places to keep it.

Rules
- `Kept` is all of it: the counter, what is open, the last eight outcomes, the journal it last
  spoke to, and its keys. Everything else about a terminal is gone when the power goes.
- A value is never changed: the terminal makes a new one and saves it whole, before it says what
  rests on it (terminal link, section 4.5). A save that fails raises, and nothing is said.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from drivers.link.authentication import Keys

OUTCOMES_KEPT = 8
"""Terminal link, section 4.12: a terminal remembers its last eight counters."""

SCHEMA = 1


class Kind(Enum):
    """What a transaction is."""

    TENDER = "tender"
    REFUND = "refund"


class Phase(Enum):
    """How far a transaction has come, as its terminal knows."""

    SAID = "said"
    """Neither accepted nor refused: it is said again until it is."""
    USED_FIRST = "used-first"
    """REFUSED 3 to the first TENDER: QUERY, then a person decides or it takes a new counter."""
    USED_AGAIN = "used-again"
    """REFUSED 3 to a repeated TENDER: QUERY, then it is ours or it takes a new counter."""
    PERSON = "person"
    """The bridge has a sale of this counter and amount; a person knows whether it is this one."""
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open TENDER or REFUND: its content, and what is known of it."""

    counter: int
    kind: Kind
    amount_minor: int
    currency: int
    merchant: str | None = None
    reference: str | None = None
    operator: str | None = None
    original_counter: int | None = None
    phase: Phase = Phase.SAID
    times_said: int = 0
    """0, 1, or 2 for more than once."""
    cancelled: bool = False
    stranger: bool = False
    """Said to another journal than the one the terminal speaks to now (section 4.4)."""


@dataclass(frozen=True, slots=True)
class KeptOutcome:
    """An outcome as it was first told."""

    counter: int
    response_code: str
    amount_minor: int
    text: str
    order_number: str | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """All that a terminal keeps."""

    counter: int = 0
    """The last one used, or the highest one heard in a WELCOME."""
    highest_accepted: int = 0
    """The highest one that this journal has accepted."""
    journal_id: bytes | None = None
    open: tuple[Transaction, ...] = ()
    outcomes: tuple[KeptOutcome, ...] = ()
    """The last eight, oldest first."""
    keys: Keys | None = None


class Storage(Protocol):
    """Where a terminal keeps it. `save` returns when it is durable, or raises OSError."""

    def load(self) -> Kept: ...

    def save(self, kept: Kept) -> None: ...


class InMemory:
    """Durable for as long as the object lives: a power cut is a new terminal on the same one."""

    def __init__(self, kept: Kept | None = None) -> None:
        self.kept = kept if kept is not None else Kept()

    def load(self) -> Kept:
        return self.kept

    def save(self, kept: Kept) -> None:
        self.kept = kept


class DamagedStorageError(ValueError):
    """The file is no terminal's storage."""


class InFile:
    """A JSON file, replaced whole at every save. A missing file is a new terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Kept:
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return Kept()
        try:
            return from_json(json.loads(text))
        except (ValueError, KeyError, TypeError) as fault:
            raise DamagedStorageError(
                f"{self.path} is not the storage of a simulated terminal ({fault}): "
                "name another file, or remove it to begin with a new terminal"
            ) from fault

    def save(self, kept: Kept) -> None:
        draft = self.path.with_name(self.path.name + ".new")
        # Keys are in it: nobody else may read it.
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(to_json(kept), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def to_json(kept: Kept) -> dict[str, Any]:
    """`kept` as JSON has it: bytes in hex, enums by value."""

    def plain(value: object) -> object:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        if dataclasses.is_dataclass(value):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return value

    return {
        "schema": SCHEMA,
        **{f.name: plain(getattr(kept, f.name)) for f in dataclasses.fields(kept)},
    }


def from_json(data: dict[str, Any]) -> Kept:
    """The reverse of `to_json`. Raises ValueError, KeyError or TypeError where it is not that."""
    rest = dict(data)
    schema = rest.pop("schema")
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}, and this program knows {SCHEMA}")
    rest["open"] = tuple(
        Transaction(**{**row, "kind": Kind(row["kind"]), "phase": Phase(row["phase"])})
        for row in rest["open"]
    )
    rest["outcomes"] = tuple(KeptOutcome(**row) for row in rest["outcomes"])
    if rest["journal_id"] is not None:
        rest["journal_id"] = bytes.fromhex(rest["journal_id"])
    if rest["keys"] is not None:
        rest["keys"] = Keys(**{name: bytes.fromhex(key) for name, key in rest["keys"].items()})
    return Kept(**rest)
