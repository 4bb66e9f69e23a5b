"""What a check says, and how checks are run: one after the other, whatever happens in one of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

Patient = TypeVar("Patient")


class Level(StrEnum):
    """OK: as it should be. NOTE: allowed, and worth knowing. WRONG: sales fail or may fail by it.

    UNKNOWN: could not be looked at, because of something else that is said, or for want of rights.
    """

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. check: which check says so. remedy: a command, or what to do."""

    check: str
    level: Level
    looked_at: str
    found: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A finding as a check says it, before it has the check's name."""

    level: Level
    looked_at: str
    found: str
    remedy: str | None = None


def ok(looked_at: str, found: str) -> Said:
    return Said(Level.OK, looked_at, found)


def note(looked_at: str, found: str, remedy: str | None = None) -> Said:
    return Said(Level.NOTE, looked_at, found, remedy)


def wrong(looked_at: str, found: str, remedy: str) -> Said:
    return Said(Level.WRONG, looked_at, found, remedy)


def unknown(looked_at: str, found: str, remedy: str | None = None) -> Said:
    return Said(Level.UNKNOWN, looked_at, found, remedy)


@dataclass(frozen=True, slots=True)
class Check(Generic[Patient]):
    """One check, by name. look: says what it finds; may raise, which costs only itself."""

    name: str
    look: Callable[[Patient], Iterable[Said]]


BROKE: Final = "see the daemon's log, and report it with: partpay-bridge doctor --json"


def examine(checks: Iterable[Check[Patient]], patient: Patient) -> Iterator[Finding]:
    """All findings of all checks, as they come."""
    for check in checks:
        try:
            for said in check.look(patient):
                yield Finding(check.name, said.level, said.looked_at, said.found, said.remedy)
        except Exception as error:  # noqa: BLE001 - a diagnosis does not stop at a fault, its own neither
            found = f"the check itself failed: {type(error).__name__}: {error}"
            yield Finding(check.name, Level.WRONG, "itself", found, BROKE)


def as_json(finding: Finding) -> dict[str, Any]:
    """A finding in JSON."""
    return {**asdict(finding), "level": finding.level.value}
