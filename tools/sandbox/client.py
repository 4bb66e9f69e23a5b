"""The control API from Python: what a test does to the sandbox, and what it asks of it.

Rules of this file:
- Knows the control API's addresses only; imports nothing of the sandbox's inside.
- `started()` is the sandbox as a process of its own, with its client.
- Waiting is done by the sandbox: a call with `wait_s` returns as soon as it is so. Where it is not
  so in time, the error says what was there instead.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import requests

TIMEOUT_S = 10.0
WAIT_S = 10.0
STOP_WITHIN_S = 5.0
LINES_KEPT = 200


class SandboxError(Exception):
    """The sandbox did not do it, or it did not become so in time."""


class SandboxClient:
    """A person at PartPay's page, and the books' reader. Not for several threads at once."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> SandboxClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()

    # Orders: dictionaries with the fields of an order, status, paid_minor, kept_minor, payload …

    def orders(self, **matching: object) -> list[dict[str, Any]]:
        """Those whose fields are so: orders(status="pending", terminal_id="00000001")."""
        return list(self._ask("GET", "orders", query=matching)["orders"])

    def wait_for_orders(
        self, at_least: int = 1, *, wait_s: float = WAIT_S, **matching: object
    ) -> list[dict[str, Any]]:
        """Returns when so many orders match."""
        found = list(self._wait("orders", "orders", at_least, wait_s, matching))
        if len(found) < at_least:
            raise SandboxError(
                f"{len(found)} orders match {matching} after {wait_s} s, not {at_least}; there are "
                f"{[(o['gateway_reference'], o['status']) for o in self.orders()]}"
            )
        return found

    def wait_for_order(self, *, wait_s: float = WAIT_S, **matching: object) -> dict[str, Any]:
        """The newest order that matches, as soon as there is one."""
        return self.wait_for_orders(1, wait_s=wait_s, **matching)[-1]

    def order(self, order_id: str) -> dict[str, Any]:
        return self._ask("GET", f"orders/{order_id}")

    def approve(self, order_id: str) -> dict[str, Any]:
        return self._ask("POST", f"orders/{order_id}/approve")

    def complete(self, order_id: str) -> dict[str, Any]:
        return self._ask("POST", f"orders/{order_id}/complete")

    def decline(self, order_id: str) -> dict[str, Any]:
        return self._ask("POST", f"orders/{order_id}/decline")

    def expire(self, order_id: str) -> dict[str, Any]:
        return self._ask("POST", f"orders/{order_id}/expire")

    def cancel(self, order_id: str) -> dict[str, Any]:
        """PartPay cancels it by itself."""
        return self._ask("POST", f"orders/{order_id}/cancel")

    def refund(self, order_id: str, amount_minor: int | None = None) -> dict[str, Any]:
        """A person refunds it in PartPay's portal; without an amount: what is left."""
        return self._ask("POST", f"orders/{order_id}/refund", {"amount_minor": amount_minor})

    # Faults

    def put_fault(self, call: str, fault: str, *, times: int = 1, **more: object) -> dict[str, Any]:
        """On the next calls of that kind ("any": of all); times 0: until cleared.

        more: order_id, merchant_id (only theirs), delay_s, and for the fault "answer" status,
        headers, body, acts.
        """
        return self._ask("POST", "faults", {"call": call, "fault": fault, "times": times, **more})

    def faults(self) -> dict[str, Any]:
        """{put: [those that wait for their call], holding: [those whose call is held now]}"""
        return self._ask("GET", "faults")

    def clear_faults(self) -> None:
        """Takes all away, and lets go what is held."""
        self._ask("DELETE", "faults")

    def release(self) -> int:
        """Lets go the calls that are held now. How many that were."""
        return int(self._ask("POST", "release")["released"])

    def revoke_tokens(self) -> None:
        """Every token given out so far is answered by 401 from now on."""
        self._ask("POST", "revoke-tokens")

    def settings(self, **changes: object) -> dict[str, Any]:
        """auto_s, latency_ms, callbacks: changes those given, returns all."""
        return self._ask("POST", "settings", changes)

    # What happened

    def calls(self, **matching: object) -> list[dict[str, Any]]:
        """The calls that came, oldest first: calls(call="create", order_id=…)."""
        return list(self._ask("GET", "calls", query=matching)["calls"])

    def wait_for_calls(
        self, at_least: int = 1, *, wait_s: float = WAIT_S, **matching: object
    ) -> list[dict[str, Any]]:
        """Returns when so many calls have come; they need not be answered yet."""
        found = list(self._wait("calls", "calls", at_least, wait_s, matching))
        if len(found) < at_least:
            raise SandboxError(
                f"{len(found)} calls match {matching} after {wait_s} s, not {at_least}; there were "
                f"{[(c['call'], c['status']) for c in self.calls()]}"
            )
        return found

    def callbacks(self, order_id: str | None = None) -> list[dict[str, Any]]:
        """The tries of callbacks so far, with what was answered to them."""
        query = {} if order_id is None else {"order_id": order_id}
        return list(self._ask("GET", "callbacks", query=query)["callbacks"])

    def wait_for_callbacks(
        self, order_id: str, at_least: int = 1, *, wait_s: float = WAIT_S
    ) -> list[dict[str, Any]]:
        """Returns when so many callbacks of that order were tried."""
        found = list(self._wait("callbacks", "callbacks", at_least, wait_s, {"order_id": order_id}))
        if len(found) < at_least:
            raise SandboxError(
                f"{len(found)} callbacks were tried for order {order_id} after {wait_s} s, "
                f"not {at_least}"
            )
        return found

    def send_callback(self, order_id: str, **how: object) -> dict[str, Any]:
        """One more callback now; the answer to it. how: status, forged, fields, raw, url."""
        return self._ask("POST", "callbacks", {"order_id": order_id, **how})

    def books(self) -> dict[str, Any]:
        """{all: totals, merchants: {id: totals}, pending: [order ids]}"""
        return self._ask("GET", "books")

    def _wait(
        self, path: str, name: str, at_least: int, wait_s: float, matching: dict[str, object]
    ) -> list[dict[str, Any]]:
        query = {**matching, "at_least": at_least, "wait_s": wait_s}
        return list(self._ask("GET", path, query=query, timeout_s=TIMEOUT_S + wait_s)[name])

    def _ask(
        self,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        url = f"{self.url}/sandbox/{path}"
        answer = self._session.request(
            method, url, json=content, params=query or {}, timeout=timeout_s
        )
        if answer.status_code != 200:
            raise SandboxError(f"{method} {url}: {answer.status_code} {answer.text}")
        told = answer.json()
        assert isinstance(told, dict)
        return told


@contextmanager
def started(*options: str) -> Iterator[SandboxClient]:
    """A sandbox as a process of its own, on a port that it picks, ended at the end of the `with`.

    options: of `python -m tools.sandbox`. SandboxError: it did not start, with what it said.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.sandbox", "--port", "0", *options],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said: deque[str] = deque(maxlen=LINES_KEPT)
    try:
        url = _ready(process.stderr, said)
        # Read on, so that a sandbox that tells much does not block on a full pipe.
        threading.Thread(target=said.extend, args=(process.stderr,), daemon=True).start()
        with SandboxClient(url) as client:
            yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(stderr: IO[str], said: deque[str]) -> str:
    for line in stderr:
        said.append(line)
        if line.startswith("event=ready url="):
            return line.strip().removeprefix("event=ready url=")
    raise SandboxError(f"the sandbox did not start: {''.join(said)}")
