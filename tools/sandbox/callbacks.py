"""PartPay's callbacks: how they are written and signed, and the sender that carries them out.

Rules of this file:
- Fields in the documented order, signature last; the signature is over the body as sent, without
  `&signature=…`, by the text of the pre-shared key.
- Anything but 200 is tried again after a pause; a redirect is not followed. PartPay does not publish
  its pauses: PAUSES_S is an assumption, and an option.
- Each try uses a connection of its own, as a service behind many machines would.
- What was tried, and what was answered, is in `tries`.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

import requests

from tools.sandbox.books import Order

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
SENDERS = 8
"""So many callbacks at once: a listener that hangs must not hold up the callbacks of others."""


def fields(order: Order, status: str | None = None) -> list[tuple[str, str]]:
    """The callback's fields in their order, without the signature."""
    return [
        ("orderId", order.order_id),
        ("orderNumber", order.order_number),
        ("orderStatus", order.status.value if status is None else status),
        ("gatewayReference", order.gateway_reference),
        ("merchantReference", order.merchant_reference),
    ]


def signed(pairs: Sequence[tuple[str, str]], key: str) -> bytes:
    """The body as it is sent: form-encoded, with its signature at the end."""
    body = urlencode(pairs).encode("ascii")
    signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    return body + b"&signature=" + signature.encode("ascii")


@dataclass(frozen=True, slots=True)
class Try:
    """One try of one callback: the answer's status, or what went wrong. `at`: PartPay's time."""

    at: float
    order_id: str
    url: str
    number: int
    http_status: int | None
    error: str | None


@dataclass(slots=True)
class _Owed:
    order_id: str
    url: str
    body: bytes
    number: int = 1
    first_try: Future[Try] = field(default_factory=Future)


class Sender:
    """Sends callbacks from threads of its own. Close it at the end: what is still owed is dropped."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        pauses_s: Sequence[float] = PAUSES_S,
        tried: Callable[[Try], None] = lambda _try: None,
    ) -> None:
        self.tries: list[Try] = []
        self._clock = clock
        self._pauses_s = tuple(pauses_s)
        self._tried = tried
        self._due: list[tuple[float, int, _Owed]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closing = False
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="callback")
        self._timer = threading.Thread(target=self._wait_and_send, name="callbacks", daemon=True)
        self._timer.start()

    def send(self, order_id: str, url: str, body: bytes, after_s: float = 0.0) -> Future[Try]:
        """Owes one callback; the future is its first try, whatever came of it."""
        owed = _Owed(order_id, url, body)
        self._put(owed, after_s)
        return owed.first_try

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._timer.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _put(self, owed: _Owed, after_s: float) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + after_s, next(self._order), owed))
            self._changed.notify()

    def _wait_and_send(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, _, owed = heapq.heappop(self._due)
                self._pool.submit(self._try, owed)

    def _try(self, owed: _Owed) -> None:
        status, error = _post(owed.url, owed.body)
        done = Try(self._clock(), owed.order_id, owed.url, owed.number, status, error)
        self.tries.append(done)
        if status != 200 and owed.number <= len(self._pauses_s):
            pause_s = self._pauses_s[owed.number - 1]
            owed.number += 1
            self._put(owed, pause_s)
        if not owed.first_try.done():
            owed.first_try.set_result(done)
        self._tried(done)


def _post(url: str, body: bytes) -> tuple[int | None, str | None]:
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                url,
                data=body,
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    "User-Agent": "PartPay-Sandbox",
                },
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
            )
    except (requests.RequestException, ValueError) as error:
        return None, f"{type(error).__name__}: {error}"
    return answer.status_code, None
