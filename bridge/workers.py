"""A few threads that do what blocks. They end with the process: a call that hangs never holds up a stop.

(concurrent.futures joins its threads at exit, which would wait for PartPay's last answer.)
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)


class Workers:
    """At most `count` threads that take jobs in order; one more is made only where none is idle."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def do(self, job: Callable[[], None]) -> None:
        """Has `job` done soon. Its exceptions are logged, and the thread goes on."""
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs) or self._threads >= self._count:
                self._changed.notify()
                return
            self._threads += 1
            name = f"{self._name}-{self._threads}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._jobs:
                    self._changed.wait()
                self._idle -= 1
                job = self._jobs.popleft()
            try:
                job()
            except Exception:
                log.exception(
                    "a worker's job failed", extra={"event": "job-failed", "pool": self._name}
                )
