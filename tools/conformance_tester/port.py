"""Where the bytes go: a port of this machine, or a terminal that is driven step by step.

Rules
- A port has a clock of its own, in seconds. All waiting is done by `read`, all times come from it.
- `write` returns when the bytes have left, with the time of that; what comes meanwhile is kept.
- `slack_s` is what this way of measuring may be wrong by; limits of the link are widened by it.
- A terminal that is driven step by step has no time of its own: an hour of silence takes no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from drivers.line.line import LineMaker, Trouble, line_maker
from drivers.line.loop import Loop

PORT_SLACK_S = 0.15
"""A busy machine, a USB adapter that collects bytes for 16 ms, a terminal's own clock."""
STEPPED_SLACK_S = 0.005
AT_ONCE_MAX = 1000
"""So often a terminal without a time of its own may be woken at one instant, and say nothing."""
OPEN_S = 10.0
"""How long a port may take to open, or to come back."""
LEAVE_S = 15.0
"""The longest frame there is takes 8.6 s at 9,600 baud."""


class PortGone(Exception):  # noqa: N818 - says what it is
    """The port is not there; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that came together, and when."""

    at_s: float
    data: bytes


class Port(Protocol):
    """The way to one terminal."""

    @property
    def name(self) -> str:
        """As a person knows it."""

    @property
    def slack_s(self) -> float: ...

    def now(self) -> float: ...

    def write(self, data: bytes) -> float:
        """Send; the time at which the last byte had left. PortGone."""

    def read(self, until: float) -> Chunk | None:
        """The next bytes; None once `until` has come."""

    def close(self) -> None: ...


class LinePort:
    """A real port, or a pseudo-terminal: a line of `drivers.line`, driven in the caller's thread.

    `port` is what the daemon's configuration has; PortGone where it cannot be opened.
    """

    def __init__(self, port: str, *, baud: int, make: LineMaker | None = None) -> None:
        self.name = port
        self.slack_s = PORT_SLACK_S
        self._loop = Loop()
        self._came: deque[Chunk] = deque()
        self._is_open = False
        self._left_at: float | None = None
        self._why = f"{port}: it does not open"
        self._error: Exception | None = None
        self._line = (make or line_maker(port))(self._loop, port, self, baud=baud)
        self._line.start()
        try:
            self._turn_until(lambda: self._is_open, OPEN_S)
        except PortGone:
            self.close()
            raise

    def now(self) -> float:
        return self._loop.now()

    def write(self, data: bytes) -> float:
        self._turn_until(lambda: self._is_open, OPEN_S)
        self._left_at = None
        self._line.write(data)
        self._turn_until(lambda: self._left_at is not None or not self._is_open, LEAVE_S)
        return self.now() if self._left_at is None else self._left_at

    def read(self, until: float) -> Chunk | None:
        while not self._came:
            left_s = until - self.now()
            if left_s <= 0:
                return None
            self._turn(left_s)
        return self._came.popleft()

    def close(self) -> None:
        self._line.close()
        self._loop.turn(0)
        self._loop.close()

    def _turn(self, wait_max_s: float) -> None:
        self._loop.turn(wait_max_s)
        if self._error is not None:
            raise self._error

    def _turn_until(self, done: Callable[[], bool], limit_s: float) -> None:
        ends_at = self.now() + limit_s
        while not done():
            left_s = ends_at - self.now()
            if left_s <= 0:
                raise PortGone(self._why)
            self._turn(left_s)

    # LineUser

    def opened(self, now: float) -> None:
        del now
        self._is_open = True
        self._why = f"{self.name}: it takes no bytes"

    def lost(self, trouble: Trouble, now: float) -> None:
        del now
        self._is_open = False
        self._why = trouble.text

    def unavailable(self, trouble: Trouble, now: float) -> None:
        del now
        self._why = trouble.text

    def received(self, data: bytes, now: float) -> None:
        self._came.append(Chunk(now, data))

    def written(self, now: float) -> None:
        self._left_at = now

    def failed(self, error: Exception) -> None:
        self._error = error


class Stepped(Protocol):
    """A terminal without a time of its own. What it has to send comes back from each call."""

    def receive(self, data: bytes, now: float) -> bytes: ...

    def wake(self, now: float) -> bytes: ...

    def next_wake(self) -> float | None:
        """When `wake` is due; None: not before bytes come."""


class SteppedPort:
    """The way to such a terminal: nothing takes time but waiting, and that takes none either."""

    slack_s = STEPPED_SLACK_S

    def __init__(self, terminal: Stepped, name: str, *, start_s: float = 1000.0) -> None:
        self.name = name
        self.terminal = terminal
        self._now = start_s
        self._came: deque[Chunk] = deque()

    def now(self) -> float:
        return self._now

    def said(self, data: bytes) -> None:
        """The terminal sends this now, because of something that did not come over the line."""
        if data:
            self._came.append(Chunk(self._now, data))

    def write(self, data: bytes) -> float:
        self.said(self.terminal.receive(data, self._now))
        return self._now

    def read(self, until: float) -> Chunk | None:
        at_once = 0
        while not self._came:
            due = self.terminal.next_wake()
            if due is None or due > until:
                self._now = max(self._now, until)
                return None
            at_once = at_once + 1 if due <= self._now else 0
            if at_once > AT_ONCE_MAX:
                raise RuntimeError(f"{self.name}: it wants to be woken without end")
            self._now = max(self._now, due)
            self.said(self.terminal.wake(self._now))
        return self._came.popleft()

    def close(self) -> None:
        self._came.clear()
