"""What a failed call says about its request: surely not sent, or perhaps sent.

Rules:
- `TABLE` is the one place where an exception of another library is judged. A class stands for its
  children too, but each direct child of a library's root class has a row of its own; a test fails
  where one is missing.
- NOT_SENT is for classes that come from nowhere but before the first byte of the request
  (transport.py sees to it that connecting and handshake end in those). In doubt: PERHAPS.
- LOOK_INSIDE is for wrappers: what they wrap decides, and PERHAPS if nothing inside does.
- `why` is made of our own words and the system's, never of an exception's text: requests puts
  header values into some, and one of them is the token.
"""

from __future__ import annotations

import builtins
import http.client
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import urllib3.exceptions as urllib3
from oauthlib.oauth2 import OAuth2Error
from requests import exceptions as requests

from bridge.partpay.answers import Failure, NoTokenCause
from bridge.partpay.transport import (
    AnswerTooLongError,
    DeadlineError,
    HandshakeError,
    NotLoopbackError,
)


class NoTokenError(Exception):
    """No access token could be had, so nothing was sent with one. `why` goes to logs as it is.

    `cause`: whom a person has to look at.
    """

    def __init__(
        self,
        why: str,
        retry_after_s: float | None = None,
        cause: NoTokenCause = NoTokenCause.UNKNOWN,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.retry_after_s = retry_after_s
        self.cause = cause


class Sent(Enum):
    NOT_SENT = "surely not sent"
    PERHAPS = "perhaps sent"
    LOOK_INSIDE = "what it wraps decides"


@dataclass(frozen=True, slots=True)
class Row:
    sent: Sent
    words: str


def _no(words: str) -> Row:
    return Row(Sent.NOT_SENT, words)


def _perhaps(words: str) -> Row:
    return Row(Sent.PERHAPS, words)


_INSIDE: Final = Row(Sent.LOOK_INSIDE, "")
_ADDRESS: Final = _no("the address cannot be called")
_PROXY: Final = _perhaps("a proxy failed")
_BROKEN: Final = _perhaps("the connection broke")
_GARBLED: Final = _perhaps("what came is no HTTP answer")
_LATE: Final = _perhaps("no whole answer came in time")
_OWN: Final = _perhaps("the call failed within this program")
_TLS: Final = _perhaps("TLS broke on the open connection")
_TOKEN: Final = _no("the token service gave no token")

TABLE: Final[dict[type[BaseException], Row]] = {
    # ours
    NoTokenError: _TOKEN,
    DeadlineError: _no("no time was left to send it"),
    AnswerTooLongError: _perhaps("the answer was too long"),
    HandshakeError: _no("the handshake failed"),
    NotLoopbackError: _no("plain http is for loopback addresses alone; use https"),
    # requests
    requests.RequestException: _OWN,
    requests.InvalidJSONError: _OWN,
    requests.HTTPError: _OWN,
    requests.ConnectionError: _INSIDE,
    requests.ProxyError: _PROXY,
    requests.SSLError: _INSIDE,
    requests.Timeout: _LATE,
    requests.ConnectTimeout: _no("connecting took too long"),
    requests.ReadTimeout: _LATE,
    requests.URLRequired: _ADDRESS,
    requests.TooManyRedirects: _GARBLED,
    requests.MissingSchema: _ADDRESS,
    requests.InvalidSchema: _ADDRESS,
    requests.InvalidURL: _ADDRESS,
    requests.InvalidHeader: _GARBLED,  # an answer's Content-Length, too, comes as this one
    requests.ChunkedEncodingError: _BROKEN,
    requests.ContentDecodingError: _GARBLED,
    requests.StreamConsumedError: _OWN,
    requests.RetryError: _OWN,
    requests.UnrewindableBodyError: _OWN,
    # urllib3
    urllib3.HTTPError: _OWN,
    urllib3.PoolError: _OWN,
    urllib3.RequestError: _OWN,
    urllib3.SSLError: _INSIDE,
    urllib3.ProxyError: _PROXY,
    urllib3.DecodeError: _GARBLED,
    urllib3.ProtocolError: _BROKEN,
    urllib3.MaxRetryError: _INSIDE,
    urllib3.HostChangedError: _OWN,
    urllib3.TimeoutStateError: _OWN,
    urllib3.TimeoutError: _LATE,
    urllib3.ReadTimeoutError: _LATE,
    urllib3.ConnectTimeoutError: _no("connecting took too long"),
    urllib3.NewConnectionError: _no("no connection could be made"),
    urllib3.NameResolutionError: _no("the name could not be looked up"),
    urllib3.EmptyPoolError: _no("no connection was free"),
    urllib3.FullPoolError: _OWN,
    urllib3.ClosedPoolError: _OWN,
    urllib3.LocationValueError: _ADDRESS,
    urllib3.ProxySchemeUnsupported: _PROXY,
    urllib3.ResponseError: _GARBLED,
    urllib3.ResponseNotChunked: _GARBLED,
    urllib3.BodyNotHttplibCompatible: _OWN,
    urllib3.IncompleteRead: _BROKEN,
    urllib3.InvalidChunkLength: _GARBLED,
    urllib3.InvalidHeader: _GARBLED,
    urllib3.HeaderParsingError: _GARBLED,
    urllib3.UnrewindableBodyError: _OWN,
    # oauthlib: its errors come from the token service alone, before any order call
    OAuth2Error: _TOKEN,
    # http.client
    http.client.HTTPException: _GARBLED,
    http.client.NotConnected: _OWN,
    http.client.InvalidURL: _ADDRESS,
    http.client.UnknownProtocol: _GARBLED,
    http.client.UnknownTransferEncoding: _GARBLED,
    http.client.UnimplementedFileMode: _OWN,
    http.client.IncompleteRead: _BROKEN,
    http.client.ImproperConnectionState: _OWN,
    http.client.BadStatusLine: _GARBLED,
    http.client.LineTooLong: _GARBLED,
    http.client.RemoteDisconnected: _perhaps("the connection was closed without an answer"),
    # ssl: a certificate is looked at in the handshake alone (transport.py forbids another one)
    ssl.SSLError: _TLS,
    ssl.SSLCertVerificationError: _no("the certificate cannot be trusted"),
    ssl.SSLZeroReturnError: _BROKEN,
    ssl.SSLWantReadError: _TLS,
    ssl.SSLWantWriteError: _TLS,
    ssl.SSLSyscallError: _TLS,
    ssl.SSLEOFError: _BROKEN,
    # socket and the system
    socket.gaierror: _no("the name could not be looked up"),
    socket.herror: _no("the name could not be looked up"),
    OSError: _BROKEN,
    TimeoutError: _LATE,
    builtins.ConnectionError: _BROKEN,
    # anything else that a library lets through
    Exception: _OWN,
}

INSIDE_MAX: Final = 12  # wrappers in wrappers; requests, urllib3 and the system make five

# what a call is guarded with. The last three are a library's own mistakes over odd input: they
# end one call, as "perhaps sent", and not the thread that made it.
FAILURES: Final = (
    NoTokenError,
    requests.RequestException,
    urllib3.HTTPError,
    http.client.HTTPException,
    OAuth2Error,
    OSError,
    ValueError,
    AttributeError,
    LookupError,
    TypeError,
)


def row_of(kind: type[BaseException]) -> Row:
    """The row of this class, or of the nearest class that it descends from."""
    return next((TABLE[parent] for parent in kind.__mro__ if parent in TABLE), _OWN)


def failure(error: BaseException) -> Failure:
    """What the end of a call by this exception means for its request."""
    if isinstance(error, NoTokenError):
        return Failure(True, error.why, error.retry_after_s)
    rows = [row_of(type(each)) for each in _inside(error)]
    deciding = next((row for row in rows if row.sent is not Sent.LOOK_INSIDE), _BROKEN)
    detail = _detail(error)
    why = f"{deciding.words} ({detail})" if detail else deciding.words
    return Failure(deciding.sent is Sent.NOT_SENT, why)


def _inside(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it wraps, what that wraps …, from the outside in."""
    seen: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting and len(seen) < INSIDE_MAX:
        each = waiting.pop(0)
        if any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        wrapped = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting += [inner for inner in wrapped if isinstance(inner, BaseException)]


def _detail(error: BaseException) -> str:
    """What the system says of it: "Connection refused", "certificate has expired"."""
    for each in _inside(error):
        # ssl gives its errors these only where it raised them itself
        said = (
            getattr(each, "verify_message", "")
            or (isinstance(each, ssl.SSLError) and getattr(each, "reason", ""))
            or (isinstance(each, OSError) and each.strerror)
        )
        if said:
            return str(said)
    return ""
