"""Virtual time: what happens when. Seconds since the world began; nothing waits for real.

- Two things of one moment happen in the order in which they were asked for.
- Nothing happens in the past: what is asked for too late happens now.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

NEVER = float("inf")


class Schedule:
    """The one clock of a world, and what is to come."""

    __slots__ = ("_heap", "_number", "now", "steps")

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0

    def at(self, when: float, do: Callable[..., object], *given: Any) -> None:
        """Have `do(*given)` done at `when`."""
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, do, given))

    def after(self, seconds: float, do: Callable[..., object], *given: Any) -> None:
        """Have `do(*given)` done so many seconds from now."""
        self._number += 1
        heapq.heappush(self._heap, (self.now + seconds, self._number, do, given))

    def next_at(self) -> float:
        """When the next thing happens; NEVER where nothing does."""
        return self._heap[0][0] if self._heap else NEVER

    def step(self) -> None:
        """The next thing happens."""
        self.now, _, do, given = heapq.heappop(self._heap)
        self.steps += 1
        do(*given)


class Alarm:
    """One thing that is due at one moment, which is set anew after everything that happens."""

    __slots__ = ("_at", "_queued", "_ring", "_schedule")

    def __init__(self, schedule: Schedule, ring: Callable[[], object]) -> None:
        self._schedule = schedule
        self._ring = ring
        self._at = NEVER
        self._queued = NEVER

    def set(self, at: float | None) -> None:
        """Ring at `at`, and not before; None: not at all."""
        self._at = NEVER if at is None else at
        if self._at < self._queued:
            self._queued = self._at
            self._schedule.at(self._at, self._due, self._at)

    def _due(self, queued: float) -> None:
        if queued != self._queued:
            return  # another entry of this alarm stands before it in time
        self._queued = NEVER
        if self._at > self._schedule.now:
            self.set(self._at)
        else:
            self._at = NEVER
            self._ring()
