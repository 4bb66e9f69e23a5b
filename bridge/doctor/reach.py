"""How something on the internet is looked at: its name, its certificate, one request and its answer."""

import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from bridge.partpay.answers import Failure, HttpAnswer
from bridge.partpay.failures import FAILURES, failure
from bridge.partpay.transport import CONNECT_S, Direct, Limits, exchange, prepared, set_up

DEADLINE_S: Final = 10.0
HTTPS_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows. `why_not`: why it is not trusted, as OpenSSL says it; None: it is.

    `ends`: None where it could not be read.
    """

    ends: datetime | None
    why_not: str | None


def host_and_port(url: str) -> tuple[str, int]:
    """Whom that address means."""
    parts = urlsplit(url)
    port = parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)
    return parts.hostname or "", port


def addresses(url: str) -> tuple[str, ...]:
    """What its name stands for. Raises OSError, UnicodeError where it stands for nothing."""
    host, port = host_and_port(url)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


def certificate(url: str, context: ssl.SSLContext) -> Certificate:
    """The certificate behind that https address. Raises OSError where nobody is reached."""
    host, port = host_and_port(url)
    try:
        with (
            socket.create_connection((host, port), CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return Certificate(_ends(secure.getpeercert(binary_form=True)), None)
    except ssl.SSLCertVerificationError as error:
        return Certificate(_shown(host, port), error.verify_message)


def _shown(host: str, port: int) -> datetime | None:
    """When the certificate that is not trusted ends; nothing else is done with that connection."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port), CONNECT_S) as plain,
        blind.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return _ends(secure.getpeercert(binary_form=True))
    return None


def _ends(raw: bytes | None) -> datetime | None:
    if raw is None:
        return None
    with contextlib.suppress(ValueError):
        return x509.load_der_x509_certificate(raw).not_valid_after_utc.astimezone(UTC)
    return None


def request(
    method: str, url: str, context: ssl.SSLContext, body: bytes | None = None
) -> HttpAnswer | Failure:
    """One request, in our own transport: verified, in time, no redirect followed."""
    with Direct() as session:
        set_up(session, context)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            return exchange(session, prepared(method, url, headers, body), Limits(DEADLINE_S))
        except FAILURES as error:
            return failure(error)
