"""The WSGI host: kept connections, limits, and each way to break off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tools.sandbox.scenarios import Wire
from tools.sandbox.server import BODY_MAX_BYTES, Server

CONTENT = b"0123456789"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/fails":
        raise OSError("a fault in the application")
    if path in (f"/{wire.name}" for wire in Wire):
        environ["sandbox.wire"] = Wire[path[1:]]
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["wsgi.input"].read() or CONTENT]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server("127.0.0.1", 0, application)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


def ask(line: socket.socket, path: str, body: bytes = b"", *, headers: str = "") -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    line.sendall(head.encode() + body)


def all_of(line: socket.socket) -> bytes:
    parts = []
    while part := line.recv(65536):
        parts.append(part)
    return b"".join(parts)


def one_answer(line: socket.socket) -> bytes:
    data = b""
    while not data.endswith(CONTENT):
        part = line.recv(65536)
        assert part
        data += part
    return data


def test_a_connection_is_kept(server: Server) -> None:
    with connect(server) as line:
        for _ in range(3):
            ask(line, "/")
            assert one_answer(line).startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_and_body_come_in_one_piece(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/")
        assert line.recv(65536).endswith(b"\r\n\r\n" + CONTENT)


def test_calls_sent_ahead_are_answered_in_turn(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/", b"first")
        ask(line, "/", b"second", headers="Connection: close\r\n")
        answers = all_of(line)
    assert answers.index(b"first") < answers.index(b"second")


def test_closed_without_a_byte(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/NOTHING")
        assert all_of(line) == b""


def test_reset_without_a_byte(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/RESET")
        with pytest.raises(ConnectionResetError):
            line.recv(1)


def test_cut_within_the_header(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/HALF_HEAD")
        got = all_of(line)
    assert got.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" not in got


def test_cut_within_the_body(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/HALF_BODY")
        head, _, body = all_of(line).partition(b"\r\n\r\n")
    assert b"content-length: 10" in head
    assert body == CONTENT[:5]


def test_drip_comes_byte_by_byte_and_ends_with_the_server(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/DRIP")
        assert len(line.recv(65536)) == 1
        server.stop()
        assert len(all_of(line)) < 50


def test_too_large_a_body_is_refused_unread(server: Server) -> None:
    with connect(server) as line:
        line.sendall(f"POST / HTTP/1.1\r\nContent-Length: {BODY_MAX_BYTES + 1}\r\n\r\n".encode())
        assert all_of(line).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "header", ["Content-Length: -1", "Content-Length: x", "Transfer-Encoding: chunked"]
)
def test_a_length_that_is_none(server: Server, header: str) -> None:
    with connect(server) as line:
        line.sendall(f"POST / HTTP/1.1\r\n{header}\r\n\r\n".encode())
        assert all_of(line).startswith(b"HTTP/1.1 411 ")


def test_what_breaks_one_connection_leaves_the_others(server: Server) -> None:
    with connect(server) as kept, connect(server) as broken, connect(server) as gone:
        ask(broken, "/fails")
        assert all_of(broken) == b""
        gone.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        gone.close()
        ask(kept, "/")
        assert one_answer(kept)


def test_the_port_can_be_had_again_at_once(server: Server) -> None:
    with connect(server) as line:
        ask(line, "/")
        one_answer(line)
        server.stop()
    host, port = server.server_address[:2]
    server.socket.close()
    Server(str(host), int(port), application).server_close()
