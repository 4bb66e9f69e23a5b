"""The status page: one page that looks at the daemon, on an HTTP server of its own.

- It shows and changes nothing: every route takes GET alone, and no route passes anything on.
- At a loopback address it is for this machine alone, and what was forwarded finds nothing, as at
  `/metrics`. At another address, which somebody configured, it is for whoever reaches that address,
  asked for by its number: a name could be anybody's who wants a browser in the shop to read it.
- A picture has its own content for a name, so that what has left the panel is found no more.
- Nothing in the JSON is a secret, and of the codes that customers scan it has the pictures' names.
- However many look, the journal is asked once in FACTS_LAST_S.
- The page may run its own script and style, known by their hashes, and load nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
import ipaddress
import json
import re
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypedDict

import falcon
from falcon import Request, Response

from bridge.http_server import Application, Limits
from bridge.lane import PanelNow
from bridge.listener import Gate, by_no_proxy, from_here, plainly
from bridge.log import Log
from bridge.outcomes import APPROVED, CANCELLED, DECLINED, EXPIRED, FAILED, UNREACHABLE
from bridge.registry import Snapshot
from bridge.status import StatusFacts

PAGE_FILE: Final = Path(__file__).parent / "pages" / "status.html"
LIMITS: Final = Limits(body_max_bytes=0, connections_max=32, threads=2)
THREAD: Final = "status-page"
LATEST_MAX: Final = 20
"""Tenders that are over, as many as one looks back at."""
OPEN_MAX: Final = 100
ATTENTION_MAX: Final = 100
FACTS_LAST_S: Final = 1.0

_TENDER_KEYS: Final = (
    *("terminal", "counter", "kind", "merchant", "amount_minor", "state", "code", "stored"),
    *("reversal", "order_id", "order_number", "gateway_reference", "accepted_at"),
)
_ATTENTION_KEYS: Final = ("entry", "at", "terminal", "counter", "code", "text", "order_number")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Tenders(Protocol):
    """The journal, as far as the page looks at it; each may raise sqlite3.Error."""

    def tenders(self, *, open_only: bool = ..., limit: int = ...) -> list[dict[str, Any]]: ...
    def attention(self) -> list[dict[str, Any]]: ...
    def counts(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class PageSources:
    """What the page asks. Each may be called from any thread.

    status: `status_facts` with these counts. panels: what is on each port's panel. now: monotonic
    seconds. local: the shop's time, in words.
    """

    status: Callable[[Mapping[str, int]], StatusFacts]
    journal: Callable[[], Tenders]
    snapshot: Callable[[], Snapshot]
    panels: Callable[[], Mapping[str, PanelNow | None]]
    now: Callable[[], float]
    local: Callable[[], str]
    currency: str


class PanelFacts(TypedDict):
    """One port's panel. terminals: those that are registered there. code: "on its way", "shown",
    "unanswered" or None; picture: its route.

    display: what shows codes beside the terminal, or in place of its panel. width and height in
    pixels, 0 where there is no picture.
    """

    port: str
    terminals: list[str]
    code: str | None
    picture: str | None
    width: int
    height: int
    display: str | None


class PageFacts(TypedDict):
    """What `/status.json` says. trouble: why there is nothing of the journal, else None.

    tenders: the open ones, then the latest that are over, each newest first; `says`: its end, or
    how far it is, in words.
    """

    at: str
    currency: str
    status: StatusFacts
    panels: list[PanelFacts]
    merchants: dict[str, str]
    tenders: list[dict[str, Any]]
    attention: list[dict[str, Any]]
    trouble: str | None


def application(sources: PageSources, log: Log, *, for_all: bool) -> Application:
    """The WSGI application. `for_all`: at an address that is not loopback, as configured."""
    app = falcon.App(media_type="text/plain; charset=utf-8", middleware=[_PageGate()])
    app.set_error_serializer(plainly)

    def broken(request: Request, response: Response, error: Exception, params: object) -> None:
        log.error("status-page-broke", route=request.uri_template, error=repr(error))
        raise falcon.HTTPServiceUnavailable

    app.add_error_handler(Exception, broken)
    admits = _asked_by_number if for_all else from_here
    app.add_route("/", _Page(admits))
    app.add_route("/status.json", _Facts(admits, sources))
    app.add_route("/panels/{name}.png", _Panel(admits, sources))
    return app


def page_facts(sources: PageSources) -> PageFacts:
    """What is going on now; without the journal's part where that cannot be read."""
    counts: Mapping[str, int] = {}
    live: list[dict[str, Any]] = []
    latest: list[dict[str, Any]] = []
    attention: list[dict[str, Any]] = []
    trouble = None
    try:
        journal = sources.journal()
        counts = journal.counts()
        live = journal.tenders(open_only=True, limit=OPEN_MAX)
        latest = journal.tenders(limit=LATEST_MAX)
        attention = journal.attention()[:ATTENTION_MAX]
    except sqlite3.Error as error:
        trouble = f"The journal cannot be read ({error}): see partpay-bridge doctor."
    open_ones = {(row["pairing"], row["counter"]) for row in live}
    over = [row for row in latest if (row["pairing"], row["counter"]) not in open_ones]
    snapshot = sources.snapshot()
    tenders = [_tender(row) for row in (*live, *over)]
    return PageFacts(
        at=sources.local(),
        currency=sources.currency,
        status=sources.status(counts),
        panels=_panels(snapshot, sources.panels()),
        merchants={
            name: known.name
            for name in sorted({row["merchant"] for row in tenders if row["merchant"]})
            if (known := snapshot.merchant(name)) is not None
        },
        tenders=tenders,
        attention=[{key: row[key] for key in _ATTENTION_KEYS} for row in attention],
        trouble=trouble,
    )


_GOES_ON: Final = {
    ("tender", "accepted"): "being ordered at PartPay",
    ("tender", "ordered"): "waiting for the customer",
    ("tender", "closing"): "being ended at PartPay",
}
_OVER: Final = {
    APPROVED: "approved",
    DECLINED: "declined",
    CANCELLED: "cancelled",
    EXPIRED: "expired",
    UNREACHABLE: "PartPay was not reached",
    FAILED: "failed",
}


def _tender(row: Mapping[str, Any]) -> dict[str, Any]:
    code, kind = row["code"], row["kind"]
    if code is None:
        says = _GOES_ON.get((kind, row["state"]), "being refunded")
    elif (kind, code) == ("refund", APPROVED):
        says = "refunded"
    else:
        says = _OVER.get(code, f"code {code}")
    return {**{key: row[key] for key in _TENDER_KEYS}, "says": says}


def _panels(snapshot: Snapshot, panels: Mapping[str, PanelNow | None]) -> list[PanelFacts]:
    used = [p for p in snapshot.pairings if not p.retired]
    displays = {p.port: p.display for p in used if p.display}
    return [
        PanelFacts(
            port=port.port,
            terminals=[p.terminal_id for p in used if p.port == port.port],
            code=None if now is None else now.state.value,
            picture=None if now is None else f"/panels/{name_of(now)}.png",
            width=0 if now is None else now.panel.width,
            height=0 if now is None else now.panel.height,
            display=displays.get(port.port),
        )
        for port in snapshot.ports
        for now in (panels.get(port.port),)
    ]


def name_of(now: PanelNow) -> str:
    """What this picture on this panel is found by."""
    picture, panel = now.picture, now.panel
    about = (picture.format, picture.width, picture.height, panel.width, panel.height)
    content = hashlib.sha256(repr((*about, panel.inverted)).encode())
    content.update(picture.data)
    return content.hexdigest()[:32]


def png_of(now: PanelNow) -> bytes:
    """The panel as a PNG file, pixel for pixel as the device shows what was sent."""
    from drivers.display.raster import show  # noqa: PLC0415 - heavy, and loaded long before a code is there

    picture = now.picture
    image = show(picture.format, picture.width, picture.height, picture.data, now.panel)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class _Route:
    methods = ("GET",)

    def __init__(self, admits: Callable[[Request], bool]) -> None:
        self.admits = admits


class _Page(_Route):
    def __init__(self, admits: Callable[[Request], bool]) -> None:
        super().__init__(admits)
        self._page = PAGE_FILE.read_bytes()
        self._policy = policy_of(self._page)

    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = "text/html; charset=utf-8"
        response.set_header("Content-Security-Policy", self._policy)
        response.data = self._page


class _Facts(_Route):
    def __init__(self, admits: Callable[[Request], bool], sources: PageSources) -> None:
        super().__init__(admits)
        self._sources = sources
        self._lock = threading.Lock()
        self._known: bytes | None = None
        self._until = 0.0

    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = falcon.MEDIA_JSON
        with self._lock:
            now = self._sources.now()
            if self._known is None or now >= self._until:
                self._known = json.dumps(page_facts(self._sources)).encode() + b"\n"
                self._until = now + FACTS_LAST_S
            response.data = self._known


class _Panel(_Route):
    def __init__(self, admits: Callable[[Request], bool], sources: PageSources) -> None:
        super().__init__(admits)
        self._sources = sources

    def on_get(self, request: Request, response: Response, name: str) -> None:
        for now in self._sources.panels().values():
            if now is not None and name_of(now) == name:
                response.content_type = falcon.MEDIA_PNG
                response.data = png_of(now)
                return
        raise falcon.HTTPNotFound


class _PageGate(Gate):
    """Beside the gate: every answer has its headers, refusals too."""

    def process_response(
        self, request: Request, response: Response, resource: object, succeeded: bool
    ) -> None:
        response.set_headers(_HEADERS)
        if response.get_header("Content-Security-Policy") is None:
            response.set_header("Content-Security-Policy", "default-src 'none'")


def policy_of(page: bytes) -> str:
    """The Content-Security-Policy of a page with one style and one script in it, by their hashes."""

    def only(element: bytes) -> str:
        (text,) = re.findall(rb"<%b>(.*?)</%b>" % (element, element), page, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {only(b'script')}; style-src {only(b'style')}; "
        "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _asked_by_number(request: Request) -> bool:
    host = request.host.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host != "localhost":
            return False
    return by_no_proxy(request)
