"""A web site that a test owns: its certificate's last day, and what it answers."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[bytes], bytes]


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer."""
    told = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status} Some", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def certificate(folder: Path, ends: datetime) -> Path:
    """A certificate for this machine, with its key, in one file; it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=90))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{made.serial_number}.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@dataclass
class Site:
    """`heard`: the requests that came, as bytes."""

    port: int
    secure: bool
    roots: Path | None
    heard: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://localhost:{self.port}"

    def context(self) -> ssl.SSLContext:
        """Trusts this site's certificate alone."""
        context = ssl.create_default_context(cafile=None)
        if self.roots is not None:
            context.load_verify_locations(self.roots)
        return context


@contextmanager
def site(
    answer: Answer, folder: Path | None = None, ends: datetime | None = None
) -> Iterator[Site]:
    """Serves `answer` until the end of the `with`; over TLS where its certificate `ends` some day."""
    context = None
    file = None
    if ends is not None:
        assert folder is not None
        file = certificate(folder, ends)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Site(listener.getsockname()[1], context is not None, file)

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with suppress(OSError, ValueError), plain:
                    plain.settimeout(10)
                    if context is None:
                        _serve(plain, made, answer)
                    else:
                        with context.wrap_socket(plain, server_side=True) as secure:
                            _serve(secure, made, answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(connection: socket.socket, made: Site, answer: Answer) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            return
        head += piece
    request, _, body = head.partition(b"\r\n\r\n")
    for line in request.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            wanted = int(line.split(b":")[1])
            while len(body) < wanted:
                body += connection.recv(65536)
    whole = request + b"\r\n\r\n" + body
    made.heard.append(whole)
    connection.sendall(answer(whole))


def ends_in(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)
