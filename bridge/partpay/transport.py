"""One HTTP exchange with the world outside: one request out, one whole answer in, in time.

Rules (architecture.md "Every call to PartPay"):
- requests and urllib3 carry it, but nothing is done behind our back: no redirect, no retry, no
  cookie, no proxy, nothing from the environment.
- A timeout is for all that a phase does together, not for each piece of it: connecting (the name,
  every address, the handshake), and the answer from its first byte to its last. So a slow drip
  ends in time, and the deadline of the call is one.
- All that goes wrong before the first byte of the request comes out of `connect()`, as urllib3's
  NewConnectionError or ConnectTimeoutError: by that failures.py knows "surely not sent".
- TLS is always verified. Plain http goes only to a name whose every address is loopback.

Clocks here are `time.monotonic`, raw: sockets' timeouts run on it, whatever a test pretends.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)
from urllib3.util import Url, parse_url

from bridge.partpay.answers import HttpAnswer

CONNECT_S: Final = 5.0  # the name, the address and the handshake together
READ_S: Final = 15.0  # the whole answer, from when the request has gone out
ANSWER_MAX_BYTES: Final = 1024 * 1024  # a create answer with its picture is some 30 kB
PICTURE_MAX_BYTES: Final = 2 * 1024 * 1024
# what one answer may bring over the wire: the largest body, and headers and chunk marks beside it
RECEIVED_MAX_BYTES: Final = PICTURE_MAX_BYTES + 1024 * 1024
KEPT_CONNECTIONS_MAX: Final = 16  # as many as there are threads that call PartPay, and some
KEPT_S: Final = 45.0  # routers and load balancers forget an idle connection after 60 s and more
PIECE_BYTES: Final = 64 * 1024


class HandshakeError(NewConnectionError):
    """The other side was reached, but no connection that a request may go over came about."""


class NotLoopbackError(NewConnectionError):
    """Plain http to a name that is not this machine's alone."""


class DeadlineError(TimeoutError):
    """No time was left before anything was begun."""


class AnswerTooLongError(OSError):
    """The answer went on beyond what any answer may have."""


# ---- sockets with one timeout for everything ------------------------------------------------


class _Budget(socket.socket):
    """A socket whose timeout, and whose bytes, count from `settimeout` on for all reads together.

    urllib3 sets the timeout once for each phase: so each phase has one budget.
    """

    _ends: float | None = None
    _received_bytes: int = 0

    def settimeout(self, value: float | None) -> None:
        self._ends = None if value is None else time.monotonic() + value
        self._received_bytes = 0
        super().settimeout(value)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if self._ends is not None:
            left_s = self._ends - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            super().settimeout(left_s)
        count = super().recv_into(*args, **kwargs)
        self._received_bytes += count
        if self._received_bytes > RECEIVED_MAX_BYTES:
            raise AnswerTooLongError(f"more than {RECEIVED_MAX_BYTES} bytes were sent to us")
        return count


class _TlsSocket(_Budget, ssl.SSLSocket):
    """Made by the context of `tls_context` for every connection."""


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """What every connection verifies by: build one and keep it, the roots cost 24 ms.

    The roots are the system's and certifi's: the one is kept fresh by the system, the other is
    there where the system has none. `ca_file` stands in for both. Raises OSError, ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # a server that shows its certificate once more, amid a request, would blur "not sent"
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.sslsocket_class = _TlsSocket
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


# ---- connections ----------------------------------------------------------------------------


class _Lookups:
    """Names looked up in threads of their own: getaddrinfo knows no timeout. One at a time each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[list[Any]]] = {}

    def addresses(self, host: str, port: int, timeout_s: float) -> list[Any]:
        """As getaddrinfo gives them. Raises OSError (gaierror, TimeoutError), UnicodeError."""
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with self._lock:
            found = self._running.get((host, port))
            if found is None:
                found = self._running[(host, port)] = Future()
                self._begin(host, port, found)
        return found.result(timeout_s)

    def _begin(self, host: str, port: int, found: Future[list[Any]]) -> None:
        name = f"look up {host}"
        try:
            threading.Thread(
                target=self._look_up, args=(host, port, found), name=name, daemon=True
            ).start()
        except RuntimeError as error:
            del self._running[(host, port)]
            raise OSError(f"no thread to look up {host}: {error}") from error

    def _look_up(self, host: str, port: int, found: Future[list[Any]]) -> None:
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._end(host, port)
            found.set_exception(error)
        else:
            self._end(host, port)
            found.set_result(result)

    def _end(self, host: str, port: int) -> None:
        with self._lock:
            del self._running[(host, port)]


_lookups: Final = _Lookups()


def _is_loopback(address: Any) -> bool:
    return ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback


class _Response(http.client.HTTPResponse):
    """An answer without cookies: none is kept, so none is parsed, by code with warts of its own."""

    def begin(self) -> None:
        super().begin()
        del self.headers["Set-Cookie"]


class _Connection(HTTPConnection):
    """A connection that keeps the rules on this module's first page."""

    response_class = _Response
    loopback_only = True
    _idle_since: float = 0.0

    @property
    def is_connected(self) -> bool:
        # asked by the pool before it takes a kept connection
        return time.monotonic() - self._idle_since < KEPT_S and super().is_connected

    def connect(self) -> None:
        try:
            super().connect()
        except ConnectTimeoutError:  # and its children: the name, the address, our own
            raise
        except (OSError, SSLError, ValueError) as error:  # ValueError: a name TLS cannot carry
            raise HandshakeError(self, f"handshake failed: {error}") from error
        self._idle_since = time.monotonic()

    def getresponse(self) -> Any:
        # a server that writes head and body apart waits between them for our ACK, which the
        # system holds back for 40 ms
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        response = super().getresponse()
        self._idle_since = time.monotonic()
        return response

    def _new_conn(self) -> socket.socket:
        ends = time.monotonic() + float(self.timeout or CONNECT_S)
        found = self._addresses(float(self.timeout or CONNECT_S))
        if self.loopback_only and not all(map(_is_loopback, found)):
            raise NotLoopbackError(self, "plain http is for loopback addresses alone: use https")
        failure: OSError = OSError("the name has no address")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            left_s = ends - time.monotonic()
            if left_s <= 0:
                break
            connecting = _Budget(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    connecting.setsockopt(*option)
                # an address that swallows everything must leave time for the next one
                connecting.settimeout(left_s / (len(found) - number))
                connecting.connect(address)
                connecting.settimeout(max(ends - time.monotonic(), 0.001))
                return connecting
            except OSError as error:
                failure = error
                connecting.close()
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"connecting to {self.host} timed out") from failure
        raise NewConnectionError(self, f"connecting failed: {failure}") from failure

    def _addresses(self, timeout_s: float) -> list[Any]:
        try:
            return _lookups.addresses(self._dns_host.strip("[]"), self.port, timeout_s)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except (OSError, UnicodeError) as error:
            reason = socket.gaierror(socket.EAI_AGAIN, str(error) or "no answer in time")
            raise NameResolutionError(self.host, self, reason) from error


class _TlsConnection(_Connection, HTTPSConnection):
    loopback_only = False


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_maxsize=KEPT_CONNECTIONS_MAX)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any
    ) -> None:
        self.poolmanager = PoolManager(
            connections, maxsize=maxsize, block=block, ssl_context=self._context
        )
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # the context verifies; requests would read the whole bundle again at each connection
        conn.cert_reqs = "CERT_REQUIRED"


# ---- the exchange ---------------------------------------------------------------------------


class Direct(requests.Session):
    """A session that goes exactly where it is sent. Also a base for oauthlib's kind of session."""

    def get_redirect_target(self, resp: Any) -> None:
        return None


def set_up(session: requests.Session, context: ssl.SSLContext) -> None:
    """Give a session this module's connections, and nothing from the environment."""
    session.trust_env = False
    adapter = _Adapter(context)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


@dataclass(frozen=True, slots=True)
class Limits:
    """`deadline_s`: for the whole exchange, from now."""

    deadline_s: float
    answer_max_bytes: int = ANSWER_MAX_BYTES


def exchange(
    session: requests.Session, request: requests.PreparedRequest, limits: Limits
) -> HttpAnswer:
    """Send, and read the answer whole. Raises what failures.py has in its table."""
    if limits.deadline_s <= 0:
        raise DeadlineError("no time was left to send it")
    timeout: Any = Timeout(total=limits.deadline_s, connect=CONNECT_S, read=READ_S)
    response = session.send(
        request, stream=True, timeout=timeout, allow_redirects=False, verify=True, proxies={}
    )
    with response:
        body = bytearray()
        for piece in response.iter_content(PIECE_BYTES):
            body += piece
            if len(body) > limits.answer_max_bytes:
                raise AnswerTooLongError(f"more than {limits.answer_max_bytes} bytes of answer")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(response.status_code, headers, bytes(body))


def prepared(
    method: str, url: str, headers: Mapping[str, str], body: bytes | Mapping[str, str] | None = None
) -> requests.PreparedRequest:
    """A request with these headers and none that a session would add. A mapping goes as a form."""
    told = {"User-Agent": "partpay-terminal-bridge", "Accept-Encoding": "identity", **headers}
    return requests.Request(method, url, headers=told, data=body).prepare()


def parts_of(url: str) -> Url:
    """The parts of an address that may be called. Raises ValueError with what is wrong with it.

    Plain http is refused here where the host is an address that is not loopback; where it is a
    name, at each connection.
    """
    try:
        parts = parse_url(url)
    except ValueError as error:
        raise ValueError(f"{url!r} is not a web address") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError(f"{url!r} is not an address that begins with https://")
    if parts.auth is not None:
        raise ValueError("a web address must hold no user name or password")
    if parts.scheme == "http" and not _may_be_loopback(parts.host):
        raise ValueError(f"{url!r}: http is for loopback addresses alone; use https")
    return parts


def base_of(url: str) -> str:
    """An address that paths can be put after. Raises ValueError with what is wrong with it."""
    parts = parts_of(url)
    if parts.query is not None or parts.fragment is not None:
        raise ValueError(f"{url!r} must hold no ? and no #")
    return url.rstrip("/")


def _may_be_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True  # a name
