"""How events are written on standard output: for people, or as lines of JSON."""

from __future__ import annotations

import sys
import threading
from typing import TextIO

from tools.terminal.events import Event

_QUIET = frozenset({"panel"})


class Console:
    """Writes events; any thread may call it."""

    def __init__(self, *, json: bool, out: TextIO = sys.stdout) -> None:
        self._json = json
        self._out = out
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """Write one event and flush."""
        text = event.json() if self._json else _for_people(event)
        with self._lock:
            print(text, file=self._out, flush=True)


def _for_people(event: Event) -> str:
    fields = " ".join(
        f"{name}={value!r}"
        for name, value in event.fields.items()
        if value is not None and name not in _QUIET
    )
    line = f"{event.at_ms / 1000:12.4f}  {event.kind:<11} {fields}".rstrip()
    return "\n".join([line, *event.fields.get("panel", ())])
