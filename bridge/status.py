"""What `partpay-bridge status` tells: the one place where its JSON is put together."""

from collections.abc import Mapping
from typing import Any, Protocol, TypedDict

from bridge.config import Settings
from bridge.health import Report
from bridge.registry import Snapshot
from drivers.link.messages import Hello


class Line(Protocol):
    """A lane, as far as `status` looks at it."""

    @property
    def hello(self) -> Hello | None: ...
    @property
    def link_up(self) -> bool | None: ...


class LineFacts(TypedDict):
    """One port. open: the port is there. up: somebody answers on it. The rest: of its last HELLO,
    else None.
    """

    port: str
    dialect: str
    baud: int
    open: bool
    up: bool
    terminal: str | None
    serial: str | None
    model: str | None
    firmware: str | None


class StatusFacts(TypedDict):
    """status: the worst condition, "ok", "degraded" or "failing". up_s: since the start.

    callbacks: whether a callback route is served. callback_age_s: since the last signed one came,
    None: none did. tenders: counts of "open", "unstored", "owed",
    "attention". conditions: each "code", "severity", "subject", "text", "for_s".
    """

    status: str
    store: str
    environment: str
    version: str
    pid: int
    up_s: float
    listener: str
    callbacks: bool
    callback_age_s: float | None
    lines: list[LineFacts]
    tenders: dict[str, int]
    conditions: list[dict[str, Any]]


def status_facts(
    settings: Settings,
    *,
    report: Report,
    snapshot: Snapshot,
    lines: Mapping[str, Line],
    closed: frozenset[str],
    counts: Mapping[str, int],
    listener: str,
    version: str,
    pid: int,
    up_s: float,
    callback_age_s: float | None = None,
) -> StatusFacts:
    """lines: the lanes by port. closed: ports that cannot be opened just now."""
    return StatusFacts(
        status=report.status.value,
        store=settings.bridge.store,
        environment=settings.partpay.environment.value,
        version=version,
        pid=pid,
        up_s=round(up_s, 3),
        listener=listener,
        callbacks=settings.partpay.callback_path is not None,
        callback_age_s=callback_age_s,
        lines=[
            _line(port.port, port.dialect, port.baud, lines.get(port.port), port.port in closed)
            for port in snapshot.ports
        ],
        tenders=dict(counts),
        conditions=[
            {
                "code": shown.code,
                "severity": shown.severity.value,
                "subject": shown.subject,
                "text": shown.text,
                "for_s": round(shown.for_s, 3),
            }
            for shown in report.conditions
        ],
    )


def _line(port: str, dialect: str, baud: int, line: Line | None, closed: bool) -> LineFacts:
    is_open = line is not None and not closed
    hello = line.hello if line is not None and is_open else None
    return LineFacts(
        port=port,
        dialect=dialect,
        baud=baud,
        open=is_open,
        up=is_open and line is not None and line.link_up is True,
        terminal=hello.terminal_id if hello else None,
        serial=hello.serial_number if hello else None,
        model=hello.model if hello else None,
        firmware=hello.firmware if hello else None,
    )
