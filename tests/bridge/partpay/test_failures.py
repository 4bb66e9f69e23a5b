import builtins
import http.client
import inspect
import socket
import ssl
from types import ModuleType

import oauthlib.oauth2
import oauthlib.oauth2.rfc6749.errors
import oauthlib.oauth2.rfc8628.errors
import pytest
import requests.exceptions
import urllib3.exceptions

from bridge.partpay import failures, tokens, transport
from bridge.partpay.failures import FAILURES, TABLE, NoTokenError, Sent, failure, row_of
from bridge.secrets_files import SecretError

ROOTS = (
    Exception,
    OSError,
    ValueError,
    http.client.HTTPException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    urllib3.exceptions.PoolError,
    urllib3.exceptions.RequestError,
)


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    return [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, Exception)
        and not issubclass(kind, Warning)
        and not kind.__name__.startswith("_")
        # its own, and not what it imports
        and kind.__module__.partition(".")[0] == module.__name__.partition(".")[0]
    ]


LIBRARIES = (
    requests.exceptions,
    urllib3.exceptions,
    http.client,
    ssl,
    socket,
    oauthlib.oauth2,
    oauthlib.oauth2.rfc6749.errors,
    oauthlib.oauth2.rfc8628.errors,
    transport,
    failures,
    tokens,
)


@pytest.mark.parametrize("module", LIBRARIES, ids=lambda module: module.__name__)
def test_every_exception_of_every_library_that_calls_is_judged(module: ModuleType) -> None:
    for kind in exceptions_of(module):
        if kind is SecretError:  # tokens.py makes a NoTokenError of it
            continue
        nearest = next(parent for parent in kind.__mro__ if parent in TABLE)
        assert nearest is kind or nearest not in ROOTS, f"{kind} has no row of its own in TABLE"


def test_an_error_of_the_system_by_itself_is_perhaps() -> None:
    for kind in exceptions_of(builtins):
        if issubclass(kind, OSError):
            assert row_of(kind).sent is Sent.PERHAPS


def test_what_a_call_is_guarded_with_catches_all_that_is_judged() -> None:
    for kind in TABLE:
        assert kind is Exception or issubclass(kind, FAILURES)


def wrapped(inner: Exception) -> Exception:
    """As urllib3 and requests hand a failed connection on."""
    pool = urllib3.HTTPConnectionPool("localhost")
    outer = urllib3.exceptions.MaxRetryError(pool, "/", inner)
    return requests.exceptions.ConnectionError(outer)


CONNECTION = urllib3.connection.HTTPConnection("localhost")


@pytest.mark.parametrize(
    ("error", "surely_not_sent"),
    [
        (wrapped(urllib3.exceptions.NewConnectionError(CONNECTION, "refused")), True),
        (
            wrapped(
                urllib3.exceptions.NameResolutionError("x", CONNECTION, socket.gaierror(-2, "?"))
            ),
            True,
        ),
        (requests.exceptions.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError()), True),
        (
            requests.exceptions.SSLError(
                urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(1, "self-signed"))
            ),
            True,
        ),
        (
            requests.exceptions.SSLError(urllib3.exceptions.SSLError(ssl.SSLError(1, "bad mac"))),
            False,
        ),
        (
            requests.exceptions.ConnectionError(
                urllib3.exceptions.ProtocolError(
                    "aborted", http.client.RemoteDisconnected("closed")
                )
            ),
            False,
        ),
        (
            requests.exceptions.ConnectionError(
                urllib3.exceptions.ProtocolError("aborted", ConnectionResetError(104, "reset"))
            ),
            False,
        ),
        (requests.exceptions.ConnectionError(), False),
        (requests.exceptions.ReadTimeout(), False),
        (requests.exceptions.ChunkedEncodingError(), False),
        (requests.exceptions.InvalidHeader(), False),
        (wrapped(urllib3.exceptions.ResponseError()), False),
        (NoTokenError("no token"), True),
        (OSError(), False),
        (ValueError(), False),
        (KeyError(), False),
    ],
)
def test_the_cause_decides(error: Exception, surely_not_sent: bool) -> None:
    got = failure(error)
    assert got.surely_not_sent == surely_not_sent
    assert got.why


def test_a_ring_of_causes_comes_to_an_end() -> None:
    error = requests.exceptions.ConnectionError()
    error.args = (error,)
    error.__context__ = requests.exceptions.SSLError(error)
    assert not failure(error).surely_not_sent


def test_no_text_of_a_library_is_told() -> None:
    for kind in (requests.exceptions.InvalidHeader, http.client.HTTPException, ValueError):
        assert "canary" not in failure(kind("Bearer canary")).why


def test_what_the_system_says_is_told() -> None:
    error = urllib3.exceptions.NewConnectionError(CONNECTION, "x")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert failure(wrapped(error)).why == "no connection could be made (Connection refused)"
