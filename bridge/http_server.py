"""waitress, with limits that hold against slow, many and large.

- A request has a time to come in, a connection a time to be idle, a reply a time to be taken: by a
  clock that nobody sets. waitress itself counts silence only, by the wall clock, so that a byte now
  and then holds a connection for ever.
- There is always room for one more connection: where all are taken, the oldest one that is not
  being answered goes. A thousand that say nothing do not keep PartPay out.
- What is too large is refused at its headers, and its body is thrown away for a moment, so that the
  sender reads the refusal instead of a broken connection.
"""

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self

from waitress import wasyncore  # type: ignore[import-untyped]
from waitress.adjustments import Adjustments  # type: ignore[import-untyped]
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.server import TcpWSGIServer  # type: ignore[import-untyped]
from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]

from bridge.config_values import Address

THREADS: Final = 8
"""Replies at once. A callback waits for the journal: some milliseconds."""
LINGER_S: Final = 2.0
LINGER_MAX_BYTES: Final = 16 << 20
ACCEPT_PAUSE_S: Final = 0.5
"""After the kernel had no descriptor to give."""
BROKEN_PAUSE_S: Final = 0.5
STOP_POLL_S: Final = 0.005

_NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class CannotListenError(Exception):
    """The address cannot be had."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer can take."""

    body_max_bytes: int
    header_max_bytes: int = 8192
    connections_max: int = 100
    request_s: float = 10.0
    idle_s: float = 30.0
    reply_s: float = 10.0
    tick_s: float = 1.0
    """How often the times are looked at."""
    threads: int = THREADS


class _Phase(Enum):
    IDLE = "nothing has come"
    RECEIVING = "a request is coming in"
    SERVING = "it is being answered"
    FLUSHING = "the answer is being taken"


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. Runs in the server's thread, but for `service`."""

    server: "_Server"

    def __init__(self, *given: Any, **named: Any) -> None:
        self.opened_at = self._since = time.monotonic()
        self._phase = _Phase.IDLE
        self.served = False
        self._refused = False
        self._writing = False
        self._linger_until: float | None = None
        self._drained_bytes = 0
        super().__init__(*given, **named)

    @property
    def phase(self) -> _Phase:
        if self.requests:
            return _Phase.SERVING
        if self.total_outbufs_len:
            return _Phase.FLUSHING
        return _Phase.IDLE if self.request is None else _Phase.RECEIVING

    def check_time(self, now: float) -> None:
        """Ends the connection where something takes too long."""
        if self._linger_until is not None:
            if now >= self._linger_until:
                self._end()
            return
        if (phase := self.phase) is not self._phase:
            self._phase, self._since = phase, now
        limits = self.server.limits
        limit_s = {
            _Phase.IDLE: limits.idle_s,
            _Phase.RECEIVING: limits.request_s,
            _Phase.FLUSHING: limits.reply_s,
        }.get(phase)
        if limit_s is None or now - self._since < limit_s:
            return
        if phase is _Phase.RECEIVING:
            self._tell(_TOO_SLOW)
        self._end()

    def _tell(self, answer: bytes) -> None:
        try:
            self.socket.send(answer)
        except OSError:
            return

    def service(self) -> None:
        self._refused = self.requests[0].error is not None
        super().service()
        self.served = True

    def readable(self) -> bool:
        return self._linger_until is not None or bool(super().readable())

    def handle_read(self) -> None:
        if self._linger_until is None:
            super().handle_read()
            return
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._drained_bytes += len(data)
        if not data or self._drained_bytes > LINGER_MAX_BYTES:
            self._end()

    def handle_write(self) -> None:
        self._writing = True
        try:
            super().handle_write()
        finally:
            self._writing = False

    def handle_close(self) -> None:
        # Closing with bytes unread resets the connection, and the refusal that was just written is
        # lost.
        if self._writing and self._refused and self._linger_until is None and self.connected:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._end()
                return
            self._linger_until = time.monotonic() + LINGER_S
            self.will_close = self.close_when_flushed = False
            return
        self._end()

    def _end(self) -> None:
        self._refused = False
        super().handle_close()


class _Server(TcpWSGIServer):  # type: ignore[misc]
    channel_class = _Channel

    def __init__(self, limits: Limits, *given: Any, **named: Any) -> None:
        self.limits = limits
        self._next_check = 0.0
        self._no_accept_until = 0.0
        super().__init__(*given, **named)

    def readable(self) -> bool:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + self.limits.tick_s
            for channel in list(self.active_channels.values()):
                channel.check_time(now)
        return bool(self.accepting) and now >= self._no_accept_until

    def handle_accept(self) -> None:
        try:
            accepted = self.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # The one that waits is still there: without a pause this would be asked in a
                # circle.
                self._no_accept_until = time.monotonic() + ACCEPT_PAUSE_S
                self._make_room()
            return
        if accepted is None:
            return
        connection, peer = accepted
        if len(self.active_channels) >= self.limits.connections_max and not self._make_room():
            with connection:
                connection.setblocking(False)
                try:
                    connection.send(_TOO_MANY)
                except OSError:
                    return
            return
        self.channel_class(self, connection, peer, self.adj, map=self._map)

    def _make_room(self) -> bool:
        """Ends the oldest connection that is not being answered: first one that never said anything
        whole.
        """
        waiting = [one for one in self.active_channels.values() if not one.requests]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda one: (one.served, one.opened_at))
        oldest._end()
        return True

    @property
    def busy(self) -> bool:
        return any(
            one.phase in {_Phase.SERVING, _Phase.FLUSHING}
            for one in list(self.active_channels.values())
        )

    def stop_accepting(self) -> None:
        self.accepting = False
        wasyncore.dispatcher.close(self)


class HttpServer:
    """A WSGI application on an address. The address is taken at once; `start` begins to answer."""

    def __init__(
        self,
        address: Address,
        limits: Limits,
        key: str = "[listener] address",
        thread: str = "listener",
    ) -> None:
        """`key`: where the configuration says so. Raises `CannotListenError`."""
        self._limits = limits
        self._thread_name = thread
        try:
            family, kind, protocol, _, bound = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._socket = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._socket.bind(bound)
                # Whoever comes before `start` waits in the kernel's queue.
                self._socket.listen(128)
            except OSError:
                self._socket.close()
                raise
        except OSError as error:
            raise CannotListenError(
                f"{key} {address} cannot be had: {error.strerror}; "
                "end what has it (ss -ltnp), or name another"
            ) from error
        host, port, *_ = self._socket.getsockname()
        self.address = Address(host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(0.0)

    def start(self, application: Application, broke: Callable[[BaseException], None]) -> None:
        """Answers from a thread of its own. `broke` is told where that thread fails; it goes on."""
        limits = self._limits
        adjustments = Adjustments(
            sockets=[self._socket],
            threads=limits.threads,
            ident=None,
            clear_untrusted_proxy_headers=False,  # /metrics asks whether there are any
            max_request_body_size=limits.body_max_bytes + 1,  # waitress refuses what is equal to it
            max_request_header_size=limits.header_max_bytes,
            log_socket_errors=False,
            backlog=128,
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(limits.threads)
        self._dispatcher = dispatcher
        self._map: dict[int, Any] = {}
        self._server = _Server(
            limits,
            application,
            self._map,
            True,
            self._socket,
            dispatcher=dispatcher,
            adj=adjustments,
            bind_socket=False,
            sockinfo=(
                self._socket.family,
                self._socket.type,
                self._socket.proto,
                self._socket.getsockname(),
            ),
        )
        self._thread = threading.Thread(
            target=self._run, args=(broke,), name=self._thread_name, daemon=True
        )
        self._thread.start()

    def _run(self, broke: Callable[[BaseException], None]) -> None:
        while not self._stopping:
            try:
                wasyncore.loop(self._limits.tick_s, use_poll=True, map=self._map, count=1)
            except Exception as error:  # noqa: BLE001 (the listener outlives whatever a peer does)
                broke(error)
                time.sleep(BROKEN_PAUSE_S)

    def stop(self, wait_s: float) -> None:
        """Takes nothing new, lets open replies go out for so long, and ends."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            self._socket.close()
            return
        self._server = None
        deadline = time.monotonic() + wait_s
        server.trigger.pull_trigger(server.stop_accepting)
        while server.busy and time.monotonic() < deadline:
            time.sleep(STOP_POLL_S)
        self._stopping = True
        server.pull_trigger()
        thread.join(2.0)
        self._dispatcher.shutdown(cancel_pending=True, timeout=0.5)
        for channel in list(server.active_channels.values()):
            channel._end()
        # A thread that is still answering would write to the trigger, whoever has its descriptor
        # then.
        if not self._dispatcher.threads and not thread.is_alive():
            server.trigger.close()
