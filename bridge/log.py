"""What happened, for people and machines: one event, one line, on stderr; under systemd, fields in
its journal.

- An event has a name that never changes (`ready`, `callback-refused`) and fields; a text is for
  people alone.
- Nothing that comes from outside can break a line or begin a new one: what cannot be printed is
  escaped.
- Secrets are kept out in three ways: fields with telling names are hidden whatever they hold, what
  looks like a token is hidden wherever it stands, and bytes are never shown.
- Each kind of event has a rate of its own. What is left out is counted and told with the next one.
- It never raises and never waits for its reader for long: a log is no reason to stop a sale.
"""

import json
import logging
import os
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import Final, Protocol

BURST_LINES: Final = 40
"""So many of one kind of event at once, then `RATE_PER_S`: a sale has about ten lines of different
kinds.
"""
RATE_PER_S: Final = 5.0
KINDS_MAX: Final = 512
"""Kinds whose rate is kept; beyond it the oldest is forgotten, and begins afresh."""
STUCK_S: Final = 0.2
VALUE_MAX_CHARS: Final = 1000
JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
IDENTIFIER: Final = "partpay-bridge"

HIDDEN: Final = "[hidden]"
_HIDDEN_NAME: Final = re.compile(
    r"(^|_)(secret|token|password|authorization|signature|body|keys?)$"
)
_TOKEN: Final = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"  # an Authorization header
    r"|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"  # a JSON web token
    r"|(?i:(?:client_secret|access_token|signature)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"
)
_BARE: Final = re.compile(r"[^\s\"'=\\]+")


class Level(IntEnum):
    """syslog's numbers."""

    ERROR = 3
    WARNING = 4
    INFO = 6
    DEBUG = 7


OURS: Final = ("bridge", "drivers")
"""The packages whose loggers are ours."""
_LEVELS: Final = {
    logging.DEBUG: Level.DEBUG,
    logging.INFO: Level.INFO,
    logging.WARNING: Level.WARNING,
    logging.ERROR: Level.ERROR,
}
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Sink(Protocol):
    """Where events go. Raises OSError where it cannot take one."""

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None: ...


class Log:
    """Takes events from any thread."""

    def __init__(
        self,
        sink: Sink,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        least: Level = Level.INFO,
    ) -> None:
        self._sink = sink
        self._now = now
        self._wall = wall
        self._least = least
        self._lock = threading.Lock()
        self._rates: dict[str, _Rate] = {}
        self._lost = 0

    def error(self, event: str, /, **fields: object) -> None:
        self.event(Level.ERROR, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self.event(Level.WARNING, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self.event(Level.INFO, event, fields)

    def debug(self, event: str, /, **fields: object) -> None:
        self.event(Level.DEBUG, event, fields)

    def event(
        self, level: Level, event: str, fields: Mapping[str, object], *, kind: str = ""
    ) -> None:
        """Writes it down. `kind`: what shares its rate; the event's name where left out.

        A field that is None is left out.
        """
        if level > self._least:
            return
        shown = {
            name: plain(name, value)[:VALUE_MAX_CHARS]
            for name, value in fields.items()
            if value is not None
        }
        with self._lock:
            skipped = self._skipped(kind or event)
            if skipped is None:
                return
            if skipped:
                shown["skipped"] = str(skipped)
            if self._lost:
                shown["lost"] = str(self._lost)
            try:
                self._sink.write(self._wall(), level, event, shown)
            except OSError:
                self._lost += 1
            else:
                self._lost = 0

    def _skipped(self, kind: str) -> int | None:
        """How many of this kind were left out before this one; None where this one is, too."""
        now = self._now()
        rate = self._rates.pop(kind, None) or _Rate(now)
        self._rates[kind] = rate
        if len(self._rates) > KINDS_MAX:
            del self._rates[next(iter(self._rates))]
        return rate.take(now)

    def take_over_libraries(self) -> None:
        """What libraries say by `logging` comes here, warnings and worse."""
        root = logging.getLogger()
        root.handlers = [_FromLibraries(self)]
        root.setLevel(logging.WARNING)
        for name in OURS:
            own = logging.getLogger(name)
            own.handlers = [_FromOurs(self)]
            own.propagate = False
            own.setLevel({level: name for name, level in _LEVELS.items()}[self._least])
        # A queue that grows is what the listener's limits are for; a line for each request would be
        # worse.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        logging.captureWarnings(True)


class _Rate:
    """A bucket of `BURST_LINES` that fills by `RATE_PER_S`."""

    __slots__ = ("_at", "_room", "_skipped")

    def __init__(self, now: float) -> None:
        self._at = now
        self._room = float(BURST_LINES)
        self._skipped = 0

    def take(self, now: float) -> int | None:
        self._room = min(float(BURST_LINES), self._room + (now - self._at) * RATE_PER_S)
        self._at = now
        if self._room < 1.0:
            self._skipped += 1
            return None
        self._room -= 1.0
        skipped, self._skipped = self._skipped, 0
        return skipped


class _FromLibraries(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 (a library's wrong format is no reason to stop)
            text = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARNING
        fields = {
            "library": record.name,
            "text": text,
            "error": f"{type(error).__name__}: {error}" if error else None,
        }
        self._log.event(level, "library", fields, kind=f"library {record.name}")


class _FromOurs(logging.Handler):
    """Our rooms say `extra={"event": …, "terminal": …}`; what they add becomes fields."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {
            name: value for name, value in record.__dict__.items() if name not in _STANDARD
        }
        event = str(fields.pop("event", record.name.rpartition(".")[2]))
        text = record.getMessage()
        if text and text != event:
            fields["text"] = text
        if record.exc_info and (error := record.exc_info[1]) is not None:
            fields["error"] = f"{type(error).__name__}: {error}"
            fields["where"] = _place(error)
        self._log.event(_LEVELS.get(record.levelno, Level.INFO), event, fields)


def _place(error: BaseException) -> str:
    """Where it was raised, in one word: a traceback is for no log line."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "" if at is None else f"{at.tb_frame.f_globals.get('__name__')}:{at.tb_lineno}"


class Stream:
    """Lines on a file descriptor. A line goes out whole, by one write.

    A pipe that nobody reads is waited for once, for `STUCK_S`; until it is read again, lines are
    lost.
    """

    def __init__(self, descriptor: int, line: Callable[[Mapping[str, str]], str]) -> None:
        self._descriptor = descriptor
        self._line = line
        self._patience_s = STUCK_S

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None:
        stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if not select.select([], [self._descriptor], [], self._patience_s)[1]:
            self._patience_s = 0.0
            raise BlockingIOError
        self._patience_s = STUCK_S
        whole = {"time": stamp, "level": level.name.lower(), "event": event, **fields}
        os.write(self._descriptor, self._line(whole).encode(errors="backslashreplace") + b"\n")


class Journald:
    """systemd's journal, by its own datagrams (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    def __init__(self, address: str = JOURNAL_SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._address = address

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None:
        entry = {
            "MESSAGE": logfmt({"event": event, **fields}),
            "PRIORITY": str(int(level)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "PARTPAY_EVENT": event,
        }
        entry |= {f"PARTPAY_{name.upper()}": value for name, value in fields.items()}
        self._socket.sendto(b"".join(_journal_field(*one) for one in entry.items()), self._address)


def _journal_field(name: str, value: str) -> bytes:
    raw = value.encode(errors="backslashreplace")
    if b"\n" in raw:
        return name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"


def daemon_log(form: str, environ: Mapping[str, str] = os.environ) -> Log:
    """The daemon's log: to systemd's journal where stderr goes there, else lines on stderr.

    form: "logfmt" or "json", of the lines.
    """
    descriptor = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
    if _is_journal(descriptor, environ.get("JOURNAL_STREAM", "")):
        return Log(Journald())
    return Log(Stream(descriptor, as_json if form == "json" else logfmt))


def _is_journal(descriptor: int, stream: str) -> bool:
    try:
        about = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{about.st_dev}:{about.st_ino}" and os.path.exists(JOURNAL_SOCKET)  # noqa: PTH110


def logfmt(fields: Mapping[str, str]) -> str:
    """`key=value key="a value"`, on one line whatever the values hold."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())


def as_json(fields: Mapping[str, str]) -> str:
    """One JSON object on one line."""
    return json.dumps(fields)


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value) and value.isprintable():
        return value
    if value.isprintable():
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def plain(name: str, value: object) -> str:
    """How a field's value is shown, without secrets."""
    if _HIDDEN_NAME.search(name):
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, tuple | list | set | frozenset):
        value = ",".join(plain("", one) for one in value)
    return _TOKEN.sub(HIDDEN, str(value))
