"""A sandbox in this process with a clock that tests move, a merchant's till, and a callback listener."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests

from tools.sandbox.api import AUDIENCE
from tools.sandbox.books import Books, Client
from tools.sandbox.client import SandboxClient
from tools.sandbox.desk import Settings
from tools.sandbox.running import running, wall_clock

KEY = "a key for tests"
MERCHANTS = {"1001": "Kōwhai Books", "1002": "Harbour Cycles"}
CLIENTS = (
    Client(client_id="service", client_secret="service secret"),
    Client(client_id="only-1002", client_secret="1002 secret", merchants=frozenset({"1002"})),
)


class Clock:
    """PartPay's time: the real one, and what a test adds to it."""

    def __init__(self) -> None:
        self._real = wall_clock()
        self._ahead_s = 0.0

    def __call__(self) -> float:
        return self._real() + self._ahead_s

    def go_on(self, seconds: float) -> None:
        self._ahead_s += seconds


class Sandbox(SandboxClient):
    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url)
        self.clock = clock


class Till:
    """A merchant's till: speaks PartPay's API over a kept connection."""

    def __init__(self, url: str, client: str = "service", secret: str = "service secret") -> None:
        self.url = url
        self.client, self.secret = client, secret
        self.session = requests.Session()
        self.session.trust_env = False
        self.headers = {
            "partpay-merchantid": "1001",
            "partpay-terminalid": "00000042",
            "merchant-reference-unique-check": "true",
        }
        self._numbers = itertools.count(1)

    def token(self, **changes: str) -> requests.Response:
        content = {
            "client_id": self.client,
            "client_secret": self.secret,
            "audience": AUDIENCE,
            "grant_type": "client_credentials",
        } | changes
        return self.session.post(f"{self.url}/oauth/token", json=content)

    def log_in(self) -> Till:
        self.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"
        return self

    def reference(self) -> str:
        return f"AKL01-42-{next(self._numbers)}-1-0123abcd"

    def create(
        self, amount: float, reference: str | None = None, *, key: bool = True, **more: Any
    ) -> requests.Response:
        reference = reference or self.reference()
        content = {"amount": amount, "merchantReference": reference, "gatewayReference": reference}
        headers = {"Idempotency-Key": reference} if key else {}
        return self.post("/terminal/order", content | more, headers)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, headers=self.headers, allow_redirects=False)

    def post(
        self, path: str, content: object, headers: dict[str, str] | None = None
    ) -> requests.Response:
        return self.session.post(
            self.url + path,
            json=content,
            headers=self.headers | (headers or {}),
            allow_redirects=False,
        )

    def order(self, order_id: str) -> requests.Response:
        return self.get(f"/terminal/order/{order_id}")

    def status(self, order_id: str) -> requests.Response:
        return self.get(f"/terminal/order/{order_id}/status")

    def cancel(self, order_id: str) -> requests.Response:
        return self.post(f"/terminal/order/{order_id}/cancel", {"operator": "00000042"})

    def refund(self, order_id: str, amount: float, reference: str = "R-1") -> requests.Response:
        content = {"amount": amount, "merchantRefundReference": reference, "operator": "ana"}
        return self.post(f"/terminal/order/{order_id}/refund", content)


class Listener:
    """Takes callbacks; answers `statuses` one after the other, then 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.came: Callable[[], None] = lambda: None
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.bodies.append(body)
                listener.heads.append({n.lower(): v for n, v in self.headers.items()})
                listener.came()
                status = listener.statuses.pop(0) if listener.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # Else the sixth of many callbacks at once has its connection tried again a second later.
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/partpay-callback"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def fields(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(body.decode())) for body in self.bodies]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def books(**terms: Any) -> Books:
    return Books(Random(1), merchants=MERCHANTS, clients=CLIENTS, **terms)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with (
        running(
            books(),
            key_of=lambda merchant_id: f"{KEY} {merchant_id}",
            clock=clock,
            settings=Settings(),
            pauses_s=(0.01, 0.01, 0.01),
        ) as url,
    ):
        client = Sandbox(url, clock)
        with client:
            yield client


@pytest.fixture
def till(sandbox: Sandbox) -> Till:
    return Till(sandbox.url).log_in()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()
