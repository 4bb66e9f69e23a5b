"""A small WSGI host that can also break off: HTTP/1.1 with kept connections, a thread for each.

Rules of this file:
- Knows nothing of PartPay: an application, a socket, and what shall become of an answer.
- An application puts a `Wire` into environ["sandbox.wire"]; the host cuts, drips or resets then.
  waitress and its like give no way to the socket, which is why this exists.
- Head and body leave in one write, with TCP_NODELAY: an answer never waits for an ACK.
"""

from __future__ import annotations

import io
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import unquote_to_bytes

from tools.sandbox.scenarios import Wire

BODY_MAX_BYTES = 1024 * 1024
IDLE_S = 75.0
"""A kept connection without a call is closed after it, as nginx does."""

DRIP_PAUSE_S = 0.2
BACKLOG = 128
ACCEPT_AGAIN_S = 0.1
STOP_WITHIN_S = 1.0

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server(ThreadingMixIn, HTTPServer):
    """Listens from its construction on; `serve()` answers, `stop()` from another thread ends it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = BACKLOG

    def __init__(self, host: str, port: int, application: Wsgi) -> None:
        self.application = application
        self.stopping = threading.Event()
        self._busy = 0
        self._quiet = threading.Condition()
        super().__init__((host, port), _Connection)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def server_bind(self) -> None:
        # Not HTTPServer's: that one looks the host's name up, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def serve(self) -> None:
        """Not serve_forever(): that one looks several times a second whether it shall stop."""
        with self:
            while not self.stopping.is_set():
                try:
                    connection, address = self.get_request()
                except OSError:
                    # Out of descriptors, or stopped: then the socket gives no other answer.
                    self.stopping.wait(ACCEPT_AGAIN_S)
                    continue
                self.process_request(connection, address)

    def stop(self) -> None:
        """Takes no more calls, lets those that are being answered finish, then returns."""
        self.stopping.set()
        # Wakes accept(); closing the socket would not.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with self._quiet:
            self._quiet.wait_for(lambda: self._busy == 0, STOP_WITHIN_S)

    def shutdown_request(self, request: Any) -> None:
        # No shutdown() of the socket: its FIN would come before the RST of Wire.RESET.
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)

    def busy(self, change: int) -> None:
        with self._quiet:
            self._busy += change
            self._quiet.notify_all()


class _Connection(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    wbufsize = 0

    def log_message(self, *_: object) -> None:
        """What is worth telling, the application tells."""

    def _answer(self) -> None:
        self.server.busy(1)
        try:
            body = self._body()
            if body is None:
                return
            environ = self._environ(body)
            status, headers, content = self._run(environ)
            self._write(status, headers, content, environ["sandbox.wire"])
        finally:
            self.server.busy(-1)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isascii() or not length.isdigit():
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > BODY_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._write(f"{status.value} {status.phrase}", [], b"", Wire.WHOLE)

    def _environ(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": self.server.server_name,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "sandbox.wire": Wire.WHOLE,
        }
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ

    def _run(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _exc_info: object = None
        ) -> Callable[[bytes], None]:
            started[:] = [(status, headers)]
            return lambda _data: None

        content = b"".join(self.server.application(environ, start_response))
        return *started[0], content

    def _write(
        self, status: str, headers: list[tuple[str, str]], content: bytes, wire: Wire
    ) -> None:
        names = {name.lower() for name, _ in headers}
        if "content-length" not in names:
            headers = [*headers, ("content-length", str(len(content)))]
        if "date" not in names:
            headers = [*headers, ("date", self.date_time_string())]
        if self.close_connection or self.server.stopping.is_set():
            self.close_connection = True
            headers = [*headers, ("connection", "close")]
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        body = b"" if self.command == "HEAD" else content
        if wire is Wire.WHOLE:
            self.connection.sendall(head + body)
            return
        self.close_connection = True
        match wire:
            case Wire.NOTHING:
                pass
            case Wire.RESET:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            case Wire.HALF_HEAD:
                self.connection.sendall(head[: len(head) // 2])
            case Wire.HALF_BODY:
                self.connection.sendall(head + body[: len(body) // 2])
            case Wire.DRIP:
                for byte in head + body:
                    self.connection.sendall(bytes((byte,)))
                    if self.server.stopping.wait(DRIP_PAUSE_S):
                        break
