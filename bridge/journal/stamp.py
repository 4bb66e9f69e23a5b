"""The stamp beside the journal: which journal it was, of which environment and schema, and how far it had come.

It stands outside the journal, so that a journal restored from a copy is found out: it is behind its stamp
(architecture, `state_dir`). Written in place after each commit, without a flush: a stamp that is behind is harmless.
"""

import contextlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, get_type_hints

SIZE_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Stamp:
    """`journal`: its identity (DF0D) in hex. `last_event`: the number of its last event."""

    environment: str
    schema: int
    journal: str
    last_event: int


STAMP_FILE: Final = "journal.stamp"
"""Beside `journal.db`; the journal names it after its own file."""

_FIELDS: Final = tuple(part.name for part in fields(Stamp))
_KINDS: Final = get_type_hints(Stamp)


def read(path: Path) -> Stamp | None:
    """The stamp, or None where there is none or it cannot be read as one."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        told = Stamp(**json.loads(path.read_bytes()[:SIZE_BYTES]))
        # One of other kinds would be compared with the journal's numbers, and end the start there.
        if all(type(getattr(told, name)) is kind for name, kind in _KINDS.items()):
            return told
    return None


class StampFile:
    """Keeps the stamp's file open and overwrites it in place. A context manager."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def __enter__(self) -> "StampFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def write(self, stamp: Stamp, *, durable: bool = False) -> None:
        """Raises OSError where the disk refuses."""
        # In every commit's way: `asdict` alone would cost a tenth of a decision.
        told = {name: getattr(stamp, name) for name in _FIELDS}
        os.pwrite(self._fd, json.dumps(told).encode().ljust(SIZE_BYTES - 1) + b"\n", 0)
        if durable:
            os.fsync(self._fd)
