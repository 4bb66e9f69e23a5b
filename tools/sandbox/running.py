"""A sandbox in this process: books, desk and server put together, for as long as a `with` lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tools.sandbox import app
from tools.sandbox.api import AUDIENCE, CUSTOMER_URL, Api, Names
from tools.sandbox.books import Books
from tools.sandbox.callbacks import PAUSES_S
from tools.sandbox.desk import Desk, Settings
from tools.sandbox.server import Server


def wall_clock(offset_s: float = 0.0) -> Callable[[], float]:
    """Seconds since 1970 that never jump while it runs."""
    start = time.time() + offset_s - time.monotonic()
    return lambda: start + time.monotonic()


@contextmanager
def running(
    books: Books,
    *,
    key_of: Callable[[str], str],
    host: str = "127.0.0.1",
    port: int = 0,
    names: Names | None = None,
    audience: str = AUDIENCE,
    customer_url: str = CUSTOMER_URL,
    clock: Callable[[], float] | None = None,
    settings: Settings | None = None,
    pauses_s: Sequence[float] = PAUSES_S,
    told: Callable[[str], None] = lambda _line: None,
) -> Iterator[str]:
    """Gives the URL it answers at. OSError: the address cannot be had. The rest as Desk and Api."""
    names = names or Names()
    clock = clock or wall_clock()
    api = Api(books, names=names, audience=audience, customer_url=customer_url)
    with Desk(
        books, api, clock, key_of=key_of, settings=settings, pauses_s=pauses_s, told=told
    ) as desk:
        server = Server(host, port, app.make(desk, names))
        serving = threading.Thread(target=server.serve, name="server", daemon=True)
        serving.start()
        try:
            yield server.url
        finally:
            desk.stop_waiting()
            server.stop()
            serving.join()
