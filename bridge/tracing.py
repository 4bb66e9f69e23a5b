"""The line live, for a person: what a lane reads and writes, frame by frame, decoded, with secrets out.

- On the I/O thread a piece of bytes is noted with its time, and nothing else: no decoding, no waiting,
  and no cost where nobody watches. Decoding is done in the thread of whoever reads.
- What waits to be read is bounded. Who reads too slowly is told how much was left out.
- A watcher that goes away is noticed at the next row, at the latest after HEARTBEAT_S, and forgotten.
- Nothing that goes over the line is held up or changed by being watched.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypedDict

from bridge.control import CommandError
from drivers.link.dialect import Dialect
from drivers.link.framing import BODY_MAX_BYTES, Decoder
from drivers.link.messages import Hello, Message
from drivers.link.trace import Line, Way, line_of, noise_line

WAITING_MAX_BYTES: Final = 1 << 20
"""Ten seconds of the fastest line."""
WAITING_MAX: Final = 20_000
"""Pieces and remarks that wait."""
HEARTBEAT_S: Final = 1.0
"""An empty row goes out so often where nothing else does: it shows whether anybody is there still."""
WATCHERS_MAX: Final = 4
"""At once, over all ports."""
REMARK: Final = "remark"


class TraceRow(TypedDict):
    """One line of a trace, or a remark (kind "remark", no time and no way). line: as it is saved."""

    line: str
    time_s: float | None
    way: str | None
    kind: str
    hex: str
    words: str


def as_row(line: Line) -> TraceRow:
    """A line of a trace in JSON."""
    return TraceRow(
        line=str(line),
        time_s=line.time_s,
        way=line.way.value,
        kind=line.kind.value,
        hex=line.hex,
        words=line.words,
    )


def as_remark(words: str) -> TraceRow:
    """Something that is no line, and that no reader of traces reads."""
    return TraceRow(line=f"# {words}", time_s=None, way=None, kind=REMARK, hex="", words=words)


@dataclass(frozen=True, slots=True)
class _Piece:
    at: float
    way: Way
    data: bytes


class _Watcher:
    """What one reader has still to read."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Piece | str] = deque()
        self._bytes = 0
        self._left_out = 0

    def saw(self, what: _Piece | str) -> None:
        """On the I/O thread."""
        size = len(what.data) if isinstance(what, _Piece) else len(what)
        with self._changed:
            if len(self._waiting) >= WAITING_MAX or self._bytes + size > WAITING_MAX_BYTES:
                self._left_out += 1
            else:
                self._waiting.append(what)
                self._bytes += size
            self._changed.notify()

    def take(self) -> tuple[list[_Piece | str], int]:
        """All that waits, and how many pieces were left out after it. Waits HEARTBEAT_S at most."""
        with self._changed:
            if not self._waiting and not self._left_out:
                self._changed.wait(HEARTBEAT_S)
            found, left_out = list(self._waiting), self._left_out
            self._waiting.clear()
            self._bytes = self._left_out = 0
        return found, left_out


class _Reading:
    """Bytes of both directions, made into rows."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._decoders: dict[Way, Decoder] = {way: self._decoder() for way in Way}

    def _decoder(self) -> Decoder:
        return self.dialect.framing.decoder(BODY_MAX_BYTES)

    def drop(self) -> None:
        """What has begun has no end any more."""
        self._decoders = {way: self._decoder() for way in Way}

    def rows(self, piece: _Piece) -> Iterator[TraceRow]:
        decoder = self._decoders[piece.way]
        events = decoder.feed(piece.data)
        if noise := decoder.take_noise():
            yield as_row(noise_line(piece.at, piece.way, noise))
        for event in events:
            yield as_row(line_of(piece.at, piece.way, event, self.dialect.encoding))


class Port(Protocol):
    """A lane, as far as it is watched."""

    @property
    def dialect(self) -> Dialect: ...
    @property
    def baud(self) -> int: ...
    @property
    def hello(self) -> Hello | None: ...


class Tracing:
    """All watchers of all ports. `saw` is called on the I/O thread, `watch` from any.

    `ports`: the lanes by port. `port_of(key)`: the port that a registered terminal or a port's name
    means; raises what commands tell of. `now`: seconds of the lines' clock, `wall`: the shop's time.
    """

    def __init__(
        self,
        ports: Callable[[], Mapping[str, Port]],
        port_of: Callable[[str], str],
        now: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._ports = ports
        self._port_of = port_of
        self._now = now
        self._wall = wall
        self._lock = threading.Lock()
        self._watchers: dict[str, tuple[_Watcher, ...]] = {}

    def saw(self, port: str, direction: str, kind: str, data: bytes | Message | str) -> None:
        """As `bridge.lane.Trace`, with the port before it."""
        watchers = self._watchers.get(port)
        if not watchers:
            return
        what: _Piece | str
        if isinstance(data, bytes):
            way = Way.FROM_TERMINAL if direction == "in" else Way.FROM_BRIDGE
            what = _Piece(self._now(), way, data)
        elif isinstance(data, str):
            what = f"{self._now():.6f} {kind}: {data}"
        else:
            return
        for watcher in watchers:
            watcher.saw(what)

    def watch(self, key: str) -> Iterator[Mapping[str, Any]]:
        """Rows without end, each a `TraceRow`; an empty one where there is nothing to tell.

        Closing the iterator ends it. Raises CommandError, RegistryError, at the first row at the latest.
        """
        return self._rows(self._resolve(key))

    @property
    def watchers(self) -> int:
        """How many there are."""
        with self._lock:
            return sum(map(len, self._watchers.values()))

    def _resolve(self, key: str) -> str:
        lanes = self._ports()
        if key in lanes:
            return key
        # Where it is rather than where it was registered: a cable can be moved.
        for port, lane in lanes.items():
            if lane.hello is not None and lane.hello.terminal_id == key:
                return port
        port = self._port_of(key)
        if port not in lanes:
            raise CommandError(
                1, f"the bridge does not have port {port}", "see: partpay-bridge status"
            )
        return port

    def _rows(self, port: str) -> Iterator[Mapping[str, Any]]:
        watcher = _Watcher()
        with self._lock:
            if sum(map(len, self._watchers.values())) >= WATCHERS_MAX:
                raise CommandError(1, f"{WATCHERS_MAX} traces run already", "end one of them")
            self._watchers[port] = (*self._watchers.get(port, ()), watcher)
        try:
            yield from self._told(port, watcher)
        finally:
            with self._lock:
                left = tuple(one for one in self._watchers.get(port, ()) if one is not watcher)
                if left:
                    self._watchers[port] = left
                else:
                    self._watchers.pop(port, None)

    def _told(self, port: str, watcher: _Watcher) -> Iterator[Mapping[str, Any]]:
        reading: _Reading | None = None
        while True:
            lane = self._ports().get(port)
            if lane is not None and (reading is None or lane.dialect is not reading.dialect):
                reading = _Reading(lane.dialect)
                at = f"{self._wall().isoformat(timespec='milliseconds')} is {self._now():.6f}"
                yield as_remark(f"{port}: {lane.dialect.name}, {lane.baud} baud; {at}")
            found, left_out = watcher.take()
            for what in found:
                if isinstance(what, str):
                    yield as_remark(what)
                elif reading is not None:
                    yield from reading.rows(what)
            if left_out:
                if reading is not None:
                    reading.drop()
                yield as_remark(f"{left_out} pieces left out: this trace is read too slowly")
            if not found:
                yield {}
