"""A few threads that do what blocks. They end with the process: a call that hangs never holds up a stop.

(concurrent.futures joins its threads at exit, which would wait for PartPay's last answer.)
"""

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Workers:
    """At most `count` threads, one more with each of the first jobs, that take jobs in order."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def do(self, job: Callable[[], None]) -> None:
        """Has `job` done soon. Its exceptions are logged, and the thread goes on."""
        self._jobs.put(job)
        with self._lock:
            if len(self._threads) < self._count:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except Exception:
                log.exception("a worker's job failed", extra={"event": "job-failed"})
