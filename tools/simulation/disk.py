"""The journal's file: what is committed outlives a kill, what is not is gone; and it may refuse to be written.

One SQLite database in memory per world, on one connection. Closing it, as the engine does after an error, or not
closing it, as SIGKILL does, rolls back what was not committed and leaves the rest: that is what the next process
finds. (Torn and lost sectors are not simulated here: that is for real files.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

FULL: Final = "database or disk is full"
BROKEN: Final = "disk I/O error"
_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "COMMIT", "BEGIN")


class Killed(BaseException):
    """SIGKILL: nothing of the process is left but what is committed."""


class Disk(sqlite3.Connection):
    """A connection that stays open behind whoever closes it."""

    full = False
    """Nothing can be written."""
    pragmas: list[str]
    """Those that the first opening asked for."""

    @classmethod
    def fresh(cls) -> Disk:
        """A new, empty one."""
        disk = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=cls
        )
        disk.pragmas = []
        return disk

    def close(self) -> None:
        """The process lets go of the file."""
        self.heal()
        if self.in_transaction:
            super().execute("ROLLBACK")

    def copied(self) -> bytes:
        """As a backup has it."""
        return self.serialize()

    def restore(self, copy: bytes) -> None:
        """An old copy in place of what is there."""
        self.heal()
        self.deserialize(copy)

    def discard(self) -> None:
        """For good."""
        self.full = False
        self.heal()
        super().close()

    def connect(self, path: Path) -> sqlite3.Connection:
        """What `Journal` is given in place of sqlite3's own."""
        if not self.pragmas:
            # In memory they mean nothing; on a disk everything rests on them.
            self.trouble(self._listen, _nothing)
        return self

    def _listen(self, sql: str) -> None:
        if sql.startswith("PRAGMA"):
            self.pragmas.append(sql)

    # -- trouble -----------------------------------------------------------------------------

    def heal(self) -> None:
        """No trouble any more, but for want of room."""
        self.__dict__.pop("execute", None)
        if self.full:
            self.trouble(_no_room, _nothing)

    def trouble(self, before: Callable[[str], None], after: Callable[[str], None]) -> None:
        """From now on `before` and `after` see each statement, and may raise."""
        really = super().execute

        def execute(sql: str, *given: Any) -> sqlite3.Cursor:
            before(sql)
            done = really(sql, *given)
            after(sql)
            return done

        self.__dict__["execute"] = execute

    def fail_once(self, what: str, *, after: bool = False) -> None:
        """The next statement that begins with `what` fails; `after`: having been done."""

        def fail(sql: str) -> None:
            if sql.startswith(what):
                self.heal()
                raise sqlite3.OperationalError(BROKEN)

        self.trouble(*((_nothing, fail) if after else (fail, _nothing)))

    def kill_at(self, what: str, times: int = 1, *, after: bool = False) -> None:
        """SIGKILL at the statement that begins with `what`, the so many-th; `after`: done."""
        left = times

        def kill(sql: str) -> None:
            nonlocal left
            if sql.startswith(what):
                left -= 1
                if left == 0:
                    self.heal()
                    raise Killed

        self.trouble(*((_nothing, kill) if after else (kill, _nothing)))


def _no_room(sql: str) -> None:
    if sql.startswith(_WRITES):
        raise sqlite3.OperationalError(FULL)


def _nothing(sql: str) -> None:
    """Sees it and lets it pass."""
