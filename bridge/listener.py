"""What is answered over HTTP: PartPay's callback, `/healthz`, and `/metrics`. Only routes.

- A callback is checked over its bytes as they came, before anything else is looked at
  (`partpay/callback.py`). What is signed goes to the engine, and its answer is what the engine says
  once it is written; no word in time is 503, so that PartPay sends it again.
- `/metrics` is for this machine: what was forwarded, or comes from elsewhere, finds nothing there.
- Never a word of what came in is sent back or logged.
"""

import ipaddress
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Final

import falcon
from falcon import Request, Response

from bridge.crash_points import Point, here
from bridge.health import Report, Status
from bridge.http_server import THREADS, Application
from bridge.log import Log
from bridge.metrics import CONTENT_TYPE, Metrics
from bridge.partpay.callback import BODY_MAX_BYTES, BadCallback, SignedCallback, check

REPLY_WAIT_S: Final = 10.0
WAITING_MAX: Final = THREADS - 2
"""Callbacks that wait for the engine at once; two threads stay free for `/healthz`, forgeries and
refusals.
"""

FORWARDED_HEADERS: Final = (
    "FORWARDED",
    "VIA",
    "X-REAL-IP",
    "X-CLIENT-IP",
    "X-CLUSTER-CLIENT-IP",
    "X-ORIGINAL-HOST",
    "X-ORIGINAL-FORWARDED-FOR",
    "CLIENT-IP",
    "TRUE-CLIENT-IP",
    "FASTLY-CLIENT-IP",
    "CF-CONNECTING-IP",
    "CF-RAY",
)
"""What proxies add, beside everything that begins with X-Forwarded-."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the routes ask. Each may be called from any thread.

    keys: the callback keys by whose they are, "" the service's. submit: hands a signed callback to
    the engine; the future gives the HTTP status once it is written. health: what shows. answered:
    is told what each callback was answered. probe: the answer to a question of our own
    (`bridge/probe.py`), which came by the callback's way and is none; None: it is no such question.
    """

    keys: Callable[[], Mapping[str, tuple[bytes, ...]]]
    submit: Callable[[SignedCallback], Future[int]]
    health: Callable[[], Report]
    answered: Callable[[int], None] = lambda http_status: None
    probe: Callable[[bytes], str | None] = lambda raw: None


def application(
    callback_path: str | None, sources: Sources, metrics: Metrics, log: Log
) -> Application:
    """The WSGI application. callback_path None: polling alone, and no callback is taken."""
    app = falcon.App(media_type="text/plain; charset=utf-8", middleware=[Gate()])
    app.set_error_serializer(plainly)

    def broken(request: Request, response: Response, error: Exception, params: object) -> None:
        log.error("listener-broke", route=request.uri_template, error=repr(error))
        # 503, not 500: PartPay sends a callback again that it could not bring.
        raise falcon.HTTPServiceUnavailable

    app.add_error_handler(Exception, broken)
    if callback_path is not None:
        app.add_route(callback_path, _Callback(sources, metrics, log))
    app.add_route("/healthz", _Health(sources))
    app.add_route("/metrics", _Metrics(metrics))
    return app


class _Callback:
    methods = ("POST",)

    def __init__(self, sources: Sources, metrics: Metrics, log: Log) -> None:
        self._sources = sources
        self._metrics = metrics
        self._log = log
        self._room = threading.BoundedSemaphore(WAITING_MAX)

    def on_post(self, request: Request, response: Response) -> None:
        raw = request.bounded_stream.read(BODY_MAX_BYTES + 1)
        if (told := self._sources.probe(raw)) is not None:
            response.text = told
            return
        status = self._answer(raw, request, response)
        self._metrics.callbacks.labels(str(status)).inc()
        self._sources.answered(status)
        response.status = status
        if status != 200:
            response.text = f"{falcon.code_to_http_status(status)}\n"

    def _answer(self, raw: bytes, request: Request, response: Response) -> int:
        if len(raw) > BODY_MAX_BYTES:
            return 413
        callback = check(raw, self._sources.keys())
        if isinstance(callback, BadCallback):
            self._log.warning(
                "callback-refused",
                status=callback.http_status,
                why=callback.why,
                peer=request.remote_addr,
            )
            return callback.http_status
        if not self._room.acquire(blocking=False):
            self._log.warning(
                "callback-put-off",
                order=callback.order_number,
                reference=callback.gateway_reference,
                why="too many wait",
            )
            response.set_header("Retry-After", "1")
            return 503
        here(Point.CALLBACK_CHECKED)
        try:
            status = self._sources.submit(callback).result(REPLY_WAIT_S)
            here(Point.BEFORE_REPLY, str(status))
            return status
        except (TimeoutError, CancelledError):
            self._log.error(
                "callback-put-off",
                order=callback.order_number,
                reference=callback.gateway_reference,
                why="not written in time",
            )
            response.set_header("Retry-After", "5")
            return 503
        finally:
            self._room.release()


class _Health:
    methods = ("GET", "HEAD")

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def on_get(self, request: Request, response: Response) -> None:
        report = self._sources.health()
        here = from_here(request)
        conditions = [
            {"code": shown.code, "severity": shown.severity.value}
            # Texts name ports and merchants, which are nobody's business outside.
            | ({"subject": shown.subject, "text": shown.text} if here else {})
            for shown in report.conditions
        ]
        response.status = 503 if report.status is Status.FAILING else 200
        response.content_type = falcon.MEDIA_JSON
        response.set_header("Cache-Control", "no-store")
        response.text = json.dumps({"status": report.status.value, "conditions": conditions}) + "\n"

    on_head = on_get


class _Metrics:
    methods = ("GET", "HEAD")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def admits(self, request: Request) -> bool:
        return from_here(request)

    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = CONTENT_TYPE
        response.data = self._metrics.page()

    on_head = on_get


class Gate:
    """Falcon's middleware: which methods a route has, and whether it is there at all for whoever asks."""

    def process_resource(
        self, request: Request, response: Response, resource: object, params: object
    ) -> None:
        admits: Callable[[Request], bool] | None = getattr(resource, "admits", None)
        if admits is not None and not admits(request):
            raise falcon.HTTPNotFound
        methods: tuple[str, ...] = getattr(resource, "methods", ())
        if request.method not in methods:
            raise falcon.HTTPMethodNotAllowed(methods)


def plainly(request: Request, response: Response, error: falcon.HTTPError) -> None:
    response.text = f"{error.status}\n"
    response.content_type = "text/plain; charset=utf-8"


def from_here(request: Request) -> bool:
    """Asked for on this machine, by name or address of this machine, and by no proxy."""
    return (
        _is_loopback(request.remote_addr)
        and (request.host == "localhost" or _is_loopback(request.host))
        and by_no_proxy(request)
    )


def by_no_proxy(request: Request) -> bool:
    """Asked for without a proxy between, as far as one can tell.

    HTTP/1.0 is what a proxy speaks that adds no header at all (nginx, unless it is told otherwise).
    """
    headers = request.headers
    return (
        request.env.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and not any(name in headers for name in FORWARDED_HEADERS)
        and not any(name.startswith("X-FORWARDED-") for name in headers)
    )


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped.is_loopback
    return found.is_loopback
