"""Whether the callback address comes back to this very listener: a question that only its own answer fits.

- Both are random and new for each try, and known for PROBE_S; whoever else sends anything gets what he always gets.
- A probe goes the way of a callback (POST, to its route), and is none: no signature is looked at, nothing is
  counted, nothing reaches the engine, nothing is written.
"""

import hmac
import secrets
import threading
from collections.abc import Callable
from typing import Final

PROBE_S: Final = 60.0
PROBES_MAX: Final = 8
"""That wait; the oldest is forgotten first."""
PREFIX: Final = b"partpay-bridge-probe="
TOKEN_BYTES: Final = 16


def body_of(question: str) -> bytes:
    """What is sent to ask it."""
    return PREFIX + question.encode()


class Probes:
    """The questions that wait for being asked. Any thread may call any method."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[float, str]] = {}

    def begin(self) -> dict[str, str]:
        """A new question and its answer, as JSON."""
        question, answer = secrets.token_hex(TOKEN_BYTES), secrets.token_hex(TOKEN_BYTES)
        with self._lock:
            while len(self._waiting) >= PROBES_MAX:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[question] = (self._now() + PROBE_S, answer)
        return {"question": question, "answer": answer}

    def answer(self, raw: bytes) -> str | None:
        """The answer to what came in; None where it is no question of ours."""
        if not self._waiting or not raw.startswith(PREFIX):
            return None
        asked = raw.removeprefix(PREFIX)
        with self._lock:
            for question, (ends, answer) in self._waiting.items():
                if self._now() < ends and hmac.compare_digest(question.encode(), asked):
                    return answer
        return None
