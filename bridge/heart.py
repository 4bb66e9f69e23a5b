"""The engine's thread: one queue in, batches through the engine, effects out; and the timer that wakes it.

- Takes all that is waiting, at most `BATCH_MAX` events, so that one flush of the disk serves many lanes.
- `beat` tells when it last turned: the watchdog is fed only while this moves.
- It ends only by `stop`. What the engine raises (it should not) is logged, and the next batch is taken.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

from bridge.crash_points import Point, here
from bridge.effects import Effect
from bridge.engine import Engine
from bridge.events import CallbackReceived, Event
from bridge.lane_events import Heard

log = logging.getLogger(__name__)

BATCH_MAX: Final = 256
WAIT_MAX_S: Final = 5.0
"""The longest sleep: the beat is seen at least this often."""
QUEUE_MAX: Final = 10_000
"""Events waiting. Beyond it, `post` refuses: lines and callers are told nothing, and repeat."""


class Heart:
    """Runs the engine. `post` may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        carry: Callable[[Sequence[Effect]], None],
        now: Callable[[], float],
        after_batch: Callable[[], None] = lambda: None,
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`carry` lets effects out; `took` is told each batch's seconds, commit and all."""
        self._engine = engine
        self._carry = carry
        self._now = now
        self._after_batch = after_batch
        self._took = took
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="engine")
        self.beat = now()

    def start(self) -> None:
        self._thread.start()

    def post(self, event: Event) -> bool:
        """Puts an event into the queue; False where it is full, and what came from outside is not taken.

        PartPay's answers are always taken: each was asked for, and a lost one would be waited for.
        """
        if isinstance(event, Heard | CallbackReceived) and self._queue.qsize() >= QUEUE_MAX:
            log.error(
                "the engine's queue is full: an event is dropped", extra={"event": "queue-full"}
            )
            return False
        self._queue.put(event)
        return True

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> bool:
        """What is in the queue is still written and carried out; True where that was done in time."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._take()
            self.beat = self._now()
            for event in batch:
                here(Point.TAKEN, event)
            try:
                effects = self._engine.process(batch)
                self._took(self._now() - self.beat)
                self._carry(effects)
                self._after_batch()
            except Exception:
                log.exception(
                    "the engine failed on a batch; it goes on", extra={"event": "engine-failed"}
                )

    def _take(self) -> tuple[list[Event], bool]:
        batch: list[Event] = []
        try:
            first = self._queue.get(timeout=self._wait_s())
            while first is not None and len(batch) < BATCH_MAX:
                batch.append(first)
                first = self._queue.get_nowait()
        except queue.Empty:
            return batch, True
        return (batch, False) if first is None else ([*batch, first], True)

    def _wait_s(self) -> float:
        due = self._engine.next_wake()
        return WAIT_MAX_S if due is None else min(max(due - self._now(), 0.0), WAIT_MAX_S)
