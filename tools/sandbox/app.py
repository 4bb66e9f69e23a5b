"""The routes: PartPay's API, the customer's page, and the control API for tests.

Rules of this file:
- Routes only: what a call does is in desk.py, what PartPay answers in api.py.
- PartPay's part speaks as PartPay does; what is under /sandbox/ is ours: JSON, errors as {message}.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import falcon

from tools.sandbox import pictures, scenarios
from tools.sandbox.api import Asked, Names, Reply
from tools.sandbox.books import Order, Status
from tools.sandbox.desk import Desk, MistakeError, Seen
from tools.sandbox.scenarios import Call

ACTS = {
    "approve": Status.APPROVED,
    "complete": Status.COMPLETE,
    "decline": Status.DECLINED,
    "expire": Status.EXPIRED,
    "cancel": Status.CANCELLED,
}
_ORDER_FIELDS = frozenset(Order.__dataclass_fields__) - {"refunds"}
_SEEN_FIELDS = frozenset(Seen.__dataclass_fields__) - {"content"}


class _PartPay:
    """One route of PartPay's API."""

    def __init__(self, desk: Desk, **calls: Call) -> None:
        self._desk = desk
        self._calls = calls

    def on_get(
        self, request: falcon.Request, response: falcon.Response, order_id: str = ""
    ) -> None:
        self._answer("GET", request, response, order_id)

    def on_post(
        self, request: falcon.Request, response: falcon.Response, order_id: str = ""
    ) -> None:
        self._answer("POST", request, response, order_id)

    def _answer(
        self, method: str, request: falcon.Request, response: falcon.Response, order_id: str
    ) -> None:
        if method not in self._calls:
            raise falcon.HTTPMethodNotAllowed(list(self._calls))
        asked = Asked(
            call=self._calls[method],
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.bounded_stream.read(),
            base_url=request.prefix,
            order_id=order_id,
        )
        _put(self._desk.answer(asked), request, response)


class _Picture:
    """The address that qrCodeUrl tells. No token: PartPay would serve it from a store of files."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(
        self, request: falcon.Request, response: falcon.Response, order_id: str, name: str
    ) -> None:
        asked = Asked(
            call=Call.PICTURE,
            headers={},
            body=b"",
            base_url=request.prefix,
            order_id=order_id if name == "qrcode.jpg" else "",
        )
        _put(self._desk.answer(asked), request, response)


class _Page:
    """The customer's page; under /order/{id}, or the address in the QR code, one order alone."""

    def __init__(self) -> None:
        page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        self._page = page.replace("<!-- table of cents -->", _cents_rows()).encode()

    def on_get(
        self, _request: falcon.Request, response: falcon.Response, order_id: str = ""
    ) -> None:
        del order_id
        response.content_type = "text/html; charset=utf-8"
        response.set_header("cache-control", "no-store")
        response.data = self._page


class _Control:
    """One route of the control API: a function from the request, and what the path holds, to JSON."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self._methods = methods

    def on_get(self, request: falcon.Request, response: falcon.Response, **path: str) -> None:
        self._answer("GET", request, response, path)

    def on_post(self, request: falcon.Request, response: falcon.Response, **path: str) -> None:
        self._answer("POST", request, response, path)

    def on_delete(self, request: falcon.Request, response: falcon.Response, **path: str) -> None:
        self._answer("DELETE", request, response, path)

    def _answer(
        self, method: str, request: falcon.Request, response: falcon.Response, path: dict[str, str]
    ) -> None:
        if method not in self._methods:
            raise falcon.HTTPMethodNotAllowed(list(self._methods))
        response.set_header("cache-control", "no-store")
        try:
            told = self._methods[method](_Given(request), **path)
        except MistakeError as mistake:
            response.status, told = mistake.status, {"message": str(mistake)}
        except (TypeError, ValueError) as error:
            response.status, told = 400, {"message": str(error)}
        response.data = json.dumps(told).encode()


class _Given:
    """What a request of the control API says: its JSON object, its query."""

    def __init__(self, request: falcon.Request) -> None:
        self._request = request

    @property
    def content(self) -> dict[str, Any]:
        body = self._request.bounded_stream.read()
        value = json.loads(body) if body else {}
        if not isinstance(value, dict):
            raise ValueError("the body must be a JSON object")
        return value

    def number(self, name: str, default: float = 0.0) -> float:
        return float(str(self._request.params.get(name, default)))

    def text(self, name: str) -> str | None:
        value = self._request.params.get(name)
        return value if isinstance(value, str) else None

    def matching(self, names: Iterable[str]) -> dict[str, str]:
        params = self._request.params
        return {name: str(params[name]) for name in names if name in params}


def make(desk: Desk, names: Names) -> falcon.App[Any, Any]:
    """The WSGI application."""
    app = falcon.App(cors_enable=False)
    app.req_options.auto_parse_qs_csv = False
    app.add_route(names.token_path, _PartPay(desk, POST=Call.TOKEN))
    app.add_route(names.create_path, _PartPay(desk, POST=Call.CREATE))
    app.add_route(names.order_path, _PartPay(desk, GET=Call.ORDER))
    app.add_route(names.status_path, _PartPay(desk, GET=Call.STATUS))
    app.add_route(names.cancel_path, _PartPay(desk, POST=Call.CANCEL))
    app.add_route(names.refund_path, _PartPay(desk, POST=Call.REFUND))
    app.add_route("/pictures/{order_id}/{name}", _Picture(desk))
    page = _Page()
    for path in ("/", "/order/{order_id}"):
        app.add_route(path, page)
    for path, methods in _control(desk).items():
        app.add_route(f"/sandbox/{path}", _Control(**methods))
    app.add_route("/sandbox/orders/{order_id}/code.svg", _Code(desk))
    return app


class _Code:
    """The order's code for the page, always a good one."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, _: falcon.Request, response: falcon.Response, order_id: str) -> None:
        try:
            payload = self._desk.payload(order_id)
        except MistakeError as mistake:
            raise falcon.HTTPNotFound(description=str(mistake)) from None
        response.content_type = "image/svg+xml"
        response.set_header("cache-control", "max-age=3600")
        response.text = pictures.svg(payload)


def _control(desk: Desk) -> dict[str, dict[str, Callable[..., Any]]]:
    def orders(given: _Given) -> dict[str, Any]:
        since = given.text("since")
        return desk.orders(
            matching=given.matching(_ORDER_FIELDS),
            at_least=int(given.number("at_least")),
            since=None if since is None else int(since),
            wait_s=given.number("wait_s"),
        )

    def act(given: _Given, order_id: str, act: str) -> dict[str, Any]:
        if act == "refund":
            return desk.refund(order_id, given.content)
        if act not in ACTS:
            raise MistakeError(404, f"no act {act!r}; there are: {', '.join(ACTS)}, refund")
        return desk.close(order_id, ACTS[act])

    def calls(given: _Given) -> dict[str, Any]:
        return desk.calls(
            matching=given.matching(_SEEN_FIELDS),
            at_least=int(given.number("at_least")),
            wait_s=given.number("wait_s"),
        )

    def callbacks(given: _Given) -> dict[str, Any]:
        return desk.callbacks(
            order_id=given.text("order_id"),
            at_least=int(given.number("at_least")),
            wait_s=given.number("wait_s"),
        )

    def clear_faults(_given: _Given) -> dict[str, Any]:
        desk.clear_faults()
        return {}

    def revoke_tokens(_given: _Given) -> dict[str, Any]:
        desk.revoke_tokens()
        return {}

    return {
        "orders": {"GET": orders},
        "orders/{order_id}": {"GET": lambda _given, order_id: desk.order(order_id)},
        "orders/{order_id}/{act}": {"POST": act},
        "calls": {"GET": calls},
        "callbacks": {
            "GET": callbacks,
            "POST": lambda given: desk.send_callback(given.content),
        },
        "faults": {
            "GET": lambda _given: desk.faults(),
            "POST": lambda given: desk.put_fault(given.content),
            "DELETE": clear_faults,
        },
        "release": {"POST": lambda _given: {"released": desk.release()}},
        "books": {"GET": lambda _given: desk.summary()},
        "settings": {
            "GET": lambda _given: desk.change_settings({}),
            "POST": lambda given: desk.change_settings(given.content),
        },
        "revoke-tokens": {"POST": revoke_tokens},
    }


def _put(reply: Reply, request: falcon.Request, response: falcon.Response) -> None:
    response.status = reply.status
    response.data = reply.body
    for name, value in reply.headers.items():
        response.set_header(name, value)
    request.env["sandbox.wire"] = reply.wire


def _cents_rows() -> str:
    rows = []
    for heading, group in scenarios.grouped():
        rows.append(f'<tr><th colspan="2">{html.escape(heading)}</th></tr>')
        rows += [f"<tr><td>.{c:02d}</td><td>{html.escape(what)}</td></tr>" for c, what in group]
    return "\n".join(rows)
