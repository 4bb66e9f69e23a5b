"""The places where the process can die between what is written and what follows from it, by name.

- In a shop nothing happens here: `here` is one comparison. A test arms a place by the environment variable
  `PARTPAY_BRIDGE_DIE_AT`, and the process ends there by SIGKILL, as in a power cut: nothing is closed or said.
- Armed only where PartPay is played on this machine: never in production, nor with any address that is not loopback.
- A place is a point and what passes it: `after-commit:tender`, `before-effect:say.outcome`. `#2` means the second
  passing; `>` means "and after that": `after-commit:stored>before-bytes`. `record:FILE` kills nothing, and writes
  down each passing.

The order of one event's way: taken, before-write, before-commit, before-stamp, after-commit, before-effect,
after-effect; a call to PartPay goes on with before-call, after-answer; a line with before-bytes, after-bytes; a
callback begins with callback-checked, and ends with before-reply.
"""

import os
import signal
import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

VARIABLE: Final = "PARTPAY_BRIDGE_DIE_AT"
RECORD: Final = "record:"


class Point(StrEnum):
    """Where: each is one line in the code."""

    TAKEN = "taken"
    """An event is out of the queue; nothing is decided."""
    BEFORE_WRITE = "before-write"
    """The batch's transaction has begun; this event is decided, and not in it."""
    BEFORE_COMMIT = "before-commit"
    """All of the batch is in the transaction."""
    BEFORE_STAMP = "before-stamp"
    """The batch is on the disk; the stamp is behind it."""
    AFTER_COMMIT = "after-commit"
    """The batch is on the disk, and the stamp says so; no effect is out."""
    BEFORE_EFFECT = "before-effect"
    AFTER_EFFECT = "after-effect"
    """It is handed over to its line, pool or waiting caller."""
    BEFORE_CALL = "before-call"
    """A worker is about to ask PartPay."""
    AFTER_ANSWER = "after-answer"
    """PartPay has done it and answered; nobody here knows yet."""
    BEFORE_BYTES = "before-bytes"
    AFTER_BYTES = "after-bytes"
    """A frame, or an answer to one, is on its way to the terminal."""
    CALLBACK_CHECKED = "callback-checked"
    """A callback is PartPay's; the engine does not know of it."""
    BEFORE_REPLY = "before-reply"
    """The callback is written; PartPay does not know."""


_TAKEN: Final = (
    *("lineup", "heard.hello", "heard.tender", "heard.cancel", "heard.refund", "heard.stored"),
    *("partpayanswered.create", "partpayanswered.status", "partpayanswered.cancel"),
    *("partpayanswered.refund", "coderead", "pictureresult", "callbackreceived"),
)
_WRITTEN: Final = (
    *("started", "tender", "create-answer", "picture-read", "callback", "status-answer", "time"),
    *("cancel", "cancel-answer", "refund", "refund-answer", "stored"),
)
_EFFECTS: Final = (
    *("welcome", "say.accepted", "say.progress", "say.outcome"),
    *("showcode", "clearpanel", "answer"),
    *("askpartpay.create", "askpartpay.picture", "askpartpay.status"),
    *("askpartpay.cancel", "askpartpay.refund"),
)
_CALLS: Final = ("create", "picture", "status", "cancel", "refund")

PASSED_BY: Final[Mapping[Point, tuple[str, ...]]] = {
    Point.TAKEN: _TAKEN,
    Point.BEFORE_WRITE: _WRITTEN,
    Point.BEFORE_COMMIT: _WRITTEN,
    Point.BEFORE_STAMP: _WRITTEN,
    Point.AFTER_COMMIT: _WRITTEN,
    Point.BEFORE_EFFECT: _EFFECTS,
    Point.AFTER_EFFECT: _EFFECTS,
    Point.BEFORE_CALL: _CALLS,
    Point.AFTER_ANSWER: _CALLS,
    Point.BEFORE_BYTES: ("",),
    Point.AFTER_BYTES: ("",),
    Point.CALLBACK_CHECKED: ("",),
    Point.BEFORE_REPLY: ("200",),
}
"""The one table of crash points: what passes where on the ways of a sale, a cancel, a reversal and a refund. The
end-to-end test holds it to what really passes, and kills the daemon at each."""


class NotHereError(RuntimeError):
    """A crash point is armed where none may be."""


class _Armed:
    """Counts passings, and dies at the one that is meant."""

    def __init__(self, told: str) -> None:
        self._lock = threading.Lock()
        self._batch: list[str] = []
        self._record: int | None = None
        self._stations: list[tuple[str, int]] = []
        if told.startswith(RECORD):
            path = told.removeprefix(RECORD)
            self._record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
            return
        for station in told.split(">"):
            place, _, number = station.partition("#")
            self._stations.append((place, int(number or 1)))

    def passed(self, point: Point, what: object) -> None:
        with self._lock:
            if point is Point.BEFORE_WRITE:
                self._batch.append(str(what))
            by = self._batch if what is None else [_name(what)]
            for one in [*by]:
                self._at(f"{point}:{one}")
            if point is Point.AFTER_COMMIT:
                self._batch.clear()

    def _at(self, place: str) -> None:
        if self._record is not None:
            os.write(self._record, place.encode() + b"\n")
        elif self._stations and self._stations[0][0] == place:
            left = self._stations[0][1] - 1
            self._stations[0] = (place, left)
            if left == 0:
                self._stations.pop(0)
                if not self._stations:
                    os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def here(point: Point, what: object = "") -> None:
    """The process is at `point`. `what` passes it: a name, an event, an effect; None: every event of the batch."""
    if _armed is not None:
        _armed.passed(point, what)


def arm(environment: Mapping[str, str], *, played: bool) -> bool:
    """Arms what the environment says; whether it says anything. `played`: PartPay is played on this machine.

    Raises:
        NotHereError: it is armed where real money may be.
    """
    global _armed  # noqa: PLW0603 - one process has one
    told = environment.get(VARIABLE)
    if not told:
        return False
    if not played:
        raise NotHereError(
            f"{VARIABLE} is set: it ends the process on purpose, for tests with a sandbox on this machine; unset it"
        )
    _armed = _Armed(told)
    return True


def _name(what: object) -> str:
    if isinstance(what, str):
        return what
    parts = [type(what).__name__]
    if (message := getattr(what, "message", None)) is not None:
        parts.append(type(message).__name__)
    if (ask := getattr(getattr(what, "wanted", what), "ask", None)) is not None:
        parts.append(str(ask))
    name = ".".join(parts).lower()
    return "welcome" if name == "welcome.welcome" else name
