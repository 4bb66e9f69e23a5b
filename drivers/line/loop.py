"""The one thread that drives every serial line: descriptors, timers, calls from other threads.

Rules
- One loop, one thread. Descriptors are non-blocking; nothing that is called here may block.
- `call` is the only method that other threads may use. Calls run in the order they came in.
- Time is CLOCK_BOOTTIME in seconds. A timer never fires early; timers of one instant fire in
  the order they were set.
- Whoever registers something is its owner. An exception out of a handler is logged and the owner
  told (`failed`), so that it resets itself; the loop and the other owners go on.
- A turn runs what was due when it began and no more, so that no owner can keep the others waiting.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, IntFlag, auto
from functools import partial
from typing import Protocol

log = logging.getLogger(__name__)

CALLS_WAITING_MAX = 100_000
"""Calls from other threads that may wait. A loop that is so far behind is stuck, not busy."""

WAIT_MAX_S = 3600.0
"""The longest single wait: epoll takes milliseconds in 32 bits."""

CANCELLED_TIMERS_MAX = 64
"""Cancelled timers stay in the heap until they are due, or until there are this many and they
are the greater part of it."""


def boottime() -> float:
    """Seconds since the machine started, time in suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LoopStuckError(RuntimeError):
    """The loop does not take up calls any more: it is not running, or a handler blocks."""


class Owner(Protocol):
    """Who registers handlers: one line, or one lane."""

    @property
    def name(self) -> str:
        """The name that a log line gives, as a person knows it (a port)."""

    def failed(self, error: Exception) -> None:
        """A handler of this owner raised `error`: begin afresh. Called on the loop's thread."""


class Interest(IntFlag):
    """What a descriptor is watched for. A hang-up counts as both."""

    READ = selectors.EVENT_READ
    WRITE = selectors.EVENT_WRITE


class _State(Enum):
    WAITING = auto()
    DUE = auto()
    DONE = auto()


class Timer:
    """One call at one time; `cancel` may be called at any moment, also after it ran."""

    __slots__ = ("_loop", "call", "owner", "state")

    def __init__(self, loop: Loop, call: Callable[[], None], owner: Owner) -> None:
        self._loop = loop
        self.call = call
        self.owner = owner
        self.state = _State.WAITING

    def cancel(self) -> None:
        """Take it back. Nothing happens where it has run already."""
        was, self.state = self.state, _State.DONE
        if was is _State.WAITING:
            self._loop._timer_cancelled()


class Loop:
    """The loop. Made by any thread, run by one; a context manager that frees its descriptors."""

    def __init__(self, now: Callable[[], float] = boottime) -> None:
        self.now = now
        self._selector = selectors.DefaultSelector()
        self._wakeup_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Held for one write: a late caller must not write into a number that means another file.
        self._wakeup_lock = threading.Lock()
        self._selector.register(self._wakeup_fd, selectors.EVENT_READ)
        self._calls: deque[tuple[Callable[[], None], Owner | None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._stopping = threading.Event()

    # -- from any thread ---------------------------------------------------------------------

    def call(self, fn: Callable[[], None], owner: Owner | None = None) -> None:
        """Have `fn` run on the loop's thread, soon; never, once the loop is closed.

        Raises LoopStuckError when CALLS_WAITING_MAX wait already.
        """
        if len(self._calls) >= CALLS_WAITING_MAX:
            raise LoopStuckError(
                f"the I/O thread has {CALLS_WAITING_MAX} calls waiting and takes none: "
                "it is not running or a handler blocks; restart the daemon"
            )
        self._calls.append((fn, owner))
        self._wake()

    def stop(self) -> None:
        """Make `run` return after its present turn."""
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        with self._wakeup_lock:
            if self._wakeup_fd < 0:
                return
            # A full counter (EAGAIN) means that a wake-up is on its way already.
            with suppress(BlockingIOError):
                os.eventfd_write(self._wakeup_fd, 1)

    # -- on the loop's thread ----------------------------------------------------------------

    def at(self, when: float, fn: Callable[[], None], owner: Owner) -> Timer:
        """Run `fn` once at `when` (seconds of `now`) or as soon after as can be."""
        timer = Timer(self, fn, owner)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def watch(
        self, fd: int, interest: Interest, ready: Callable[[Interest], None], owner: Owner
    ) -> None:
        """Call `ready` while `fd` can be read or written; replaces an earlier watch of `fd`."""
        entry = (ready, owner)
        try:
            self._selector.modify(fd, int(interest), entry)
        except KeyError:
            self._selector.register(fd, int(interest), entry)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; nothing happens where it is not watched. To be called before its close."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def run(self) -> None:
        """Run until `stop`. Exceptions of handlers never come out of here."""
        while not self._stopping.is_set():
            self.turn()

    def turn(self, wait_max_s: float = WAIT_MAX_S) -> None:
        """Wait for the next thing, `wait_max_s` at most, and do all that is due."""
        for key, events in self._selector.select(self._wait_s(wait_max_s)):
            if key.fd == self._wakeup_fd:
                self._wakeups_taken()
                continue
            # An earlier handler of this turn may have closed or replaced this one.
            current = self._selector.get_map().get(key.fd)
            if current is None or current.data is not key.data:
                continue
            ready, owner = key.data
            self._guarded(owner, partial(ready, Interest(events)))
        for _ in range(len(self._calls)):
            fn, caller = self._calls.popleft()
            self._guarded(caller, fn)
        self._run_timers()

    def close(self) -> None:
        """Free the descriptors; the loop cannot be used any more."""
        self._stopping.set()
        with self._wakeup_lock:
            fd, self._wakeup_fd = self._wakeup_fd, -1
        if fd >= 0:
            self._selector.close()
            os.close(fd)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------

    def _wait_s(self, wait_max_s: float) -> float:
        if self._calls:
            return 0.0
        while self._timers and self._timers[0][2].state is not _State.WAITING:
            heapq.heappop(self._timers)
            self._cancelled -= 1
        if not self._timers:
            return wait_max_s
        return min(max(self._timers[0][0] - self.now(), 0.0), wait_max_s)

    def _wakeups_taken(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wakeup_fd)

    def _run_timers(self) -> None:
        now = self.now()
        due: list[Timer] = []
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.state is _State.WAITING:
                timer.state = _State.DUE
                due.append(timer)
            else:
                self._cancelled -= 1
        for timer in due:
            if timer.state is _State.DUE:
                timer.state = _State.DONE
                self._guarded(timer.owner, timer.call)

    def _timer_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > CANCELLED_TIMERS_MAX and self._cancelled * 2 > len(self._timers):
            waiting = _State.WAITING
            self._timers = [entry for entry in self._timers if entry[2].state is waiting]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _guarded(self, owner: Owner | None, fn: Callable[[], None]) -> None:
        try:
            fn()
        except Exception as error:
            name = "a call from another thread" if owner is None else owner.name
            log.exception(
                "%s: its handler failed; it begins afresh, the others go on",
                name,
                extra={"event": "handler-failed", "port": name},
            )
            if owner is None:
                return
            try:
                owner.failed(error)
            except Exception:
                log.exception(
                    "%s: it could not begin afresh either; replug it or restart",
                    name,
                    extra={"event": "handler-stuck", "port": name},
                )
