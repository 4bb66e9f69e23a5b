"""A server that answers with the very bytes a test wants, over plain TCP or TLS.

It speaks just enough HTTP to know where a request ends. What it answers is up to `Server.answer`:
bytes, or an iterable of bytes with a pause of `DRIP_S` before each but the first; RESET tears the
connection down, CLOSE ends it, HANG says nothing until the test is over.
"""

import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.partpay.transport import tls_context

RESET, CLOSE, HANG = "reset", "close", "hang"
DRIP_S = 0.01


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Piece = bytes | str
Answer = bytes | str | Iterable[Piece]


def _http(status: int, body: object = b"", **headers: str) -> bytes:
    """A whole answer. A dict goes as JSON; headers by name with _ for -."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"Content-Length": str(len(data)), "Content-Type": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Some", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


@pytest.fixture
def http() -> Callable[..., bytes]:
    return _http


@dataclass
class Server:
    listener: socket.socket
    context: ssl.SSLContext | None = None
    answer: Callable[[Request], Answer] = lambda _: _http(404)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self.context else ''}://127.0.0.1:{self.port}"

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self.context is not None:
                connection = stack.enter_context(
                    self.context.wrap_socket(connection, server_side=True)
                )
            stream = stack.enter_context(connection.makefile("rb"))
            while (request := self._read(stream)) is not None:
                with self.lock:
                    self.requests.append(request)
                if not self._tell(connection, self.answer(request)):
                    return

    def _read(self, stream: Any) -> Request | None:
        first = stream.readline().decode().split()
        if not first:
            return None
        headers = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        return Request(first[0], first[1], headers, body)

    def _tell(self, connection: socket.socket, answer: Answer) -> bool:
        for number, piece in enumerate([answer] if isinstance(answer, bytes | str) else answer):
            if number and self.ended.wait(DRIP_S):
                return False
            if isinstance(piece, bytes):
                connection.sendall(piece)
            elif piece == RESET:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
            elif piece == HANG:
                self.ended.wait()
                return False
            else:
                return False
        return True


@contextlib.contextmanager
def _serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server = Server(listener, context)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            # close() alone does not end an accept() that another thread is in
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    with _serving() as made:
        yield made


@pytest.fixture
def other_server() -> Iterator[Server]:
    with _serving() as made:
        yield made


@pytest.fixture
def tls_server(certificates: "Certificates") -> Iterator[Server]:
    with _serving(certificates.server_context("localhost")) as made:
        yield made


@dataclass
class Certificates:
    folder: Path

    def server_context(self, host: str) -> ssl.SSLContext:
        key_file, certificate_file = self._pair(host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file)
        return context

    @property
    def roots(self) -> Path:
        return self.folder / "localhost.crt"

    def _pair(self, host: str) -> tuple[Path, Path]:
        key_file, certificate_file = self.folder / f"{host}.key", self.folder / f"{host}.crt"
        if not key_file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
            now = datetime.datetime.now(datetime.UTC)
            names: list[x509.GeneralName] = [x509.DNSName(host)]
            if host == "localhost":
                names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
            made = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(name)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(key, hashes.SHA256())
            )
            certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
            key_file.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        return key_file, certificate_file


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def roots() -> ssl.SSLContext:
    return tls_context()


@pytest.fixture
def no_listener() -> str:
    """An address on this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
