"""Over real sockets: what PartPay, a proxy, a monitor and an attacker get."""

import errno
import hashlib
import hmac
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from bridge import http_server, listener
from bridge.config_values import Address
from bridge.health import Health
from bridge.http_server import CannotListenError, HttpServer, Limits
from bridge.listener import Sources, application
from bridge.log import Level, Log
from bridge.metrics import Metrics
from bridge.partpay.callback import BODY_MAX_BYTES, SignedCallback

KEY = b"iDt3PoeoSHu3r/mTbzkaHg"
PATH = "/partpay-callback"
SIGNED = (
    b"orderId=123e4567-e89b-12d3-a456-426655440000&orderNumber=181211-303902"
    b"&orderStatus=approved&gatewayReference=ab3902094330&merchantReference=87654321"
)
TIMEOUT_S = 20.0


def sealed(part: bytes, key: bytes = KEY) -> bytes:
    return part + b"&signature=" + hmac.new(key, part, hashlib.sha256).hexdigest().encode()


class Lines:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, str]]] = []

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None:
        self.events.append((event, dict(fields)))


@dataclass
class World:
    server: HttpServer
    lines: Lines
    health: Health
    metrics: Metrics
    taken: list[SignedCallback] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    probe: Callable[[bytes], str | None] = lambda raw: None
    answer: Callable[[SignedCallback], Future[int]] = lambda callback: done(200)

    def connect(self) -> http.client.HTTPConnection:
        address = self.server.address
        return http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)

    def raw(self) -> socket.socket:
        address = self.server.address
        return socket.create_connection((address.host, address.port), timeout=TIMEOUT_S)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        with closing(self.connect()) as connection:
            connection.request(method, path, body, dict(headers or {}), **more)
            response = connection.getresponse()
            return response.status, response.read(), response


def done(status: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(status)
    return future


@contextmanager
def serving(callback_path: str | None = PATH, **limits: Any) -> Iterator[World]:
    lines = Lines()
    log = Log(lines)
    server = HttpServer(
        Address("127.0.0.1", 0),
        Limits(**{"body_max_bytes": BODY_MAX_BYTES, "tick_s": 0.02, **limits}),
    )
    world = World(server, lines, Health(lambda: 1000.0), Metrics())

    def submit(callback: SignedCallback) -> Future[int]:
        world.taken.append(callback)
        return world.answer(callback)

    sources = Sources(
        lambda: {"": (KEY,)},
        submit,
        world.health.report,
        world.answered.append,
        lambda raw: world.probe(raw),  # noqa: PLW0108 - a test gives world another one later
    )
    app = application(callback_path, sources, world.metrics, log)
    broken: list[BaseException] = []
    with server:
        server.start(app, broken.append)
        yield world
    assert broken == []


@pytest.fixture
def world() -> Iterator[World]:
    with serving() as world:
        yield world


def everything(connection: socket.socket) -> bytes:
    """What comes until the other end closes; a reset is an end, too."""
    got = b""
    try:
        while data := connection.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    return got


# -- the callback


@pytest.mark.parametrize("status", [200, 404, 401, 503])
def test_the_answer_is_what_the_engine_says(world: World, status: int) -> None:
    world.answer = lambda callback: done(status)
    assert world.ask("POST", PATH, sealed(SIGNED))[0] == status
    (taken,) = world.taken
    assert world.answered == [status]
    assert (taken.status, taken.gateway_reference) == ("approved", "ab3902094330")
    assert taken.signers == {""}
    assert f'callbacks_total{{status="{status}"}} 1.0' in world.metrics.page().decode()


def test_the_answer_waits_until_it_is_written(world: World) -> None:
    future: Future[int] = Future()
    asked = threading.Event()

    def answer(callback: SignedCallback) -> Future[int]:
        asked.set()
        return future

    world.answer = answer
    with closing(world.connect()) as connection:
        connection.request("POST", PATH, sealed(SIGNED))
        assert asked.wait(TIMEOUT_S)
        assert connection.sock is not None
        connection.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.sock.recv(1)
        connection.sock.settimeout(TIMEOUT_S)
        future.set_result(200)
        assert connection.getresponse().status == 200


def test_no_word_in_time_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REPLY_WAIT_S", 0.01)
    world.answer = lambda callback: Future()
    status, _, response = world.ask("POST", PATH, sealed(SIGNED))
    assert (status, response.headers["Retry-After"]) == (503, "5")


def test_an_engine_that_breaks_is_503_and_said(world: World) -> None:
    def answer(callback: SignedCallback) -> Future[int]:
        raise RuntimeError("no engine")

    world.answer = answer
    assert world.ask("POST", PATH, sealed(SIGNED))[0] == 503
    assert world.lines.events == [
        ("listener-broke", {"route": PATH, "error": "RuntimeError('no engine')"})
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 401),
        (SIGNED, 401),
        (sealed(SIGNED, b"another key"), 401),
        (sealed(SIGNED) + b"&more=1", 401),
        (sealed(SIGNED + b"&orderStatus=declined"), 400),
        (sealed(SIGNED.replace(b"&orderStatus=approved", b"")), 400),
        (b"\x00\xff" * 100, 401),
    ],
)
def test_what_is_not_partpays_or_is_malformed(world: World, body: bytes, status: int) -> None:
    assert world.ask("POST", PATH, body)[0] == status
    assert world.taken == []
    assert world.answered == [status]
    ((event, fields),) = world.lines.events
    assert (event, fields["status"], fields["peer"]) == (
        "callback-refused",
        str(status),
        "127.0.0.1",
    )
    assert "approved" not in str(fields)


def test_a_question_of_our_own_is_no_callback(world: World) -> None:
    world.probe = lambda raw: "yes" if raw == b"who?" else None
    assert world.ask("POST", PATH, b"who?")[:2] == (200, b"yes")
    assert (world.taken, world.answered, world.lines.events) == ([], [], [])
    assert "callbacks_total{" not in world.metrics.page().decode()
    assert world.ask("GET", PATH)[0] == 405
    assert world.ask("POST", PATH, b"whom?")[0] == 401


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO"])
def test_another_method_is_405(world: World, method: str) -> None:
    status, body, response = world.ask(method, PATH)
    assert (status, response.headers["Allow"]) == (405, "POST")
    assert (body == b"") == (method == "HEAD")


def test_without_callback_url_there_is_no_route() -> None:
    with serving(None) as world:
        assert world.ask("POST", PATH, sealed(SIGNED))[0] == 404
        assert world.ask("GET", "/healthz")[0] == 200


def test_nothing_else_is_there(world: World) -> None:
    for path in ("/", "/nothing", PATH + "/", PATH + "/../metrics", "/metrics/x", "/.env"):
        assert world.ask("GET", path)[0] == 404
    assert "Server" not in world.ask("GET", "/")[2].headers


# -- sizes


def test_5_megabytes_are_refused_at_the_header_and_the_next_one_works(world: World) -> None:
    status, body, _ = world.ask("POST", PATH, b"x" * 5_000_000)
    assert status == 413
    assert b"Request Entity Too Large" in body
    assert world.ask("POST", PATH, sealed(SIGNED))[0] == 200


def test_5_megabytes_in_chunks_are_refused(world: World) -> None:
    chunks = (b"x" * 50_000 for _ in range(100))
    status, _, _ = world.ask("POST", PATH, chunks, encode_chunked=True)
    assert status == 413
    assert world.taken == []


def test_a_chunked_callback_is_taken(world: World) -> None:
    whole = sealed(SIGNED)
    assert world.ask("POST", PATH, iter([whole[:10], whole[10:]]), encode_chunked=True)[0] == 200


def test_a_length_that_is_promised_is_refused_before_it_comes(world: World) -> None:
    with world.raw() as connection:
        connection.sendall(
            b"POST /partpay-callback HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", [BODY_MAX_BYTES, BODY_MAX_BYTES + 1])
def test_the_limit_is_16_kib(world: World, length: int) -> None:
    expected = 401 if length == BODY_MAX_BYTES else 413
    assert world.ask("POST", PATH, b"x" * length)[0] == expected


def test_large_headers_are_refused(world: World) -> None:
    assert world.ask("POST", PATH, b"", {"X-Large": "x" * 9000})[0] == 431


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /partpay-callback HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /partpay-callback HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /partpay-callback HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST /partpay-callback HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_and_ended(world: World, request_bytes: bytes) -> None:
    with world.raw() as connection:
        connection.sendall(request_bytes)
        assert everything(connection).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))


# -- slow and many


@pytest.mark.parametrize(
    "beginning",
    [
        b"POST /partpay-callback HTTP/1.1\r\nHost: x\r\n",
        b"POST /partpay-callback HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\norderId=",
        b"POST /partpay-callback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd",
    ],
)
def test_a_request_has_a_time_to_come_in(beginning: bytes) -> None:
    with serving(request_s=0.05) as world, world.raw() as connection:
        connection.sendall(beginning)
        assert everything(connection).startswith(b"HTTP/1.1 408")


def test_a_byte_now_and_then_holds_nothing() -> None:
    with serving(request_s=0.6) as world, world.raw() as connection:
        connection.sendall(b"POST /partpay-callback HTTP/1.1\r\n")
        connection.settimeout(0.1)
        got = b""
        for _ in range(200):
            try:
                connection.sendall(b"X")
                got += connection.recv(4096)
                break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it was held")


def test_a_connection_that_says_nothing_ends() -> None:
    with serving(idle_s=0.05) as world, world.raw() as connection:
        assert everything(connection) == b""


def test_many_that_say_nothing_do_not_keep_partpay_out() -> None:
    with serving(connections_max=10) as world:
        silent = [world.raw() for _ in range(30)]
        try:
            for connection in silent:
                connection.sendall(b"POST ")
            assert world.ask("POST", PATH, sealed(SIGNED))[0] == 200
            assert everything(silent[0]) == b""
        finally:
            for connection in silent:
                connection.close()


def test_callbacks_that_wait_leave_room_for_healthz(world: World) -> None:
    never: Future[int] = Future()
    world.answer = lambda callback: never
    waiting = []
    statuses = []
    try:
        for _ in range(listener.WAITING_MAX):
            connection = world.connect()
            connection.request("POST", PATH, sealed(SIGNED))
            waiting.append(connection)
        while len(world.taken) < listener.WAITING_MAX:
            assert world.ask("GET", "/healthz")[0] == 200
        status, _, response = world.ask("POST", PATH, sealed(SIGNED))
        assert (status, response.headers["Retry-After"]) == (503, "1")
        assert world.ask("GET", "/healthz")[0] == 200
        never.set_result(200)
        statuses = [connection.getresponse().status for connection in waiting]
    finally:
        for connection in waiting:
            connection.close()
    assert statuses == [200] * listener.WAITING_MAX


def test_where_all_are_being_answered_the_next_one_is_put_off() -> None:
    with serving(connections_max=1) as world:
        future: Future[int] = Future()
        asked = threading.Event()

        def answer(callback: SignedCallback) -> Future[int]:
            asked.set()
            return future

        world.answer = answer
        with closing(world.connect()) as first:
            first.request("POST", PATH, sealed(SIGNED))
            assert asked.wait(TIMEOUT_S)
            with world.raw() as second:
                assert everything(second).startswith(b"HTTP/1.1 503")
            future.set_result(200)
            assert first.getresponse().status == 200


def test_a_reply_that_nobody_takes_ends() -> None:
    with serving(reply_s=0.05) as world:
        # Each connection gets the buffer of the socket that it came in by.
        world.server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection = world.raw()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                connection.sendall(request)


def test_without_descriptors_there_is_a_pause_and_then_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "ACCEPT_PAUSE_S", 0.05)
    with serving() as world, world.raw() as silent:
        silent.sendall(b"POST ")
        server = world.server._server
        assert server is not None
        accept, failures = server.accept, [errno.EMFILE, errno.ECONNRESET]

        def failing() -> Any:
            if failures:
                raise OSError(failures.pop(0), "no")
            return accept()

        assert world.ask("GET", "/healthz")[0] == 200  # so that the silent one is in
        monkeypatch.setattr(server, "accept", failing)
        assert world.ask("GET", "/healthz")[0] == 200
        assert failures == []
        assert everything(silent) == b""


def test_what_breaks_the_loop_is_said_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "BROKEN_PAUSE_S", 0.0)
    loop, failures = http_server.wasyncore.loop, [ValueError("odd")]

    def failing(*given: Any, **named: Any) -> None:
        if failures:
            raise failures.pop()
        loop(*given, **named)

    monkeypatch.setattr(http_server.wasyncore, "loop", failing)
    said: list[BaseException] = []
    health = Health(lambda: 0.0)
    sources = Sources(dict, lambda callback: done(200), health.report)
    with HttpServer(Address("127.0.0.1", 0), Limits(BODY_MAX_BYTES)) as server:
        server.start(application(None, sources, Metrics(), Log(Lines())), said.append)
        host, port = server.address.host, server.address.port
        with closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
    assert [str(error) for error in said] == ["odd"]


def test_a_connection_is_used_again(world: World) -> None:
    with closing(world.connect()) as connection:
        for _ in range(3):
            connection.request("POST", PATH, sealed(SIGNED))
            response = connection.getresponse()
            response.read()
            assert response.status == 200
    assert len(world.taken) == 3


# -- health


def test_healthz_says_how_it_is(world: World) -> None:
    status, body, response = world.ask("GET", "/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok", "conditions": []})
    assert response.headers["Content-Type"] == "application/json"
    world.health.begin("attention", detail="2")
    status, body, _ = world.ask("GET", "/healthz")
    assert (status, json.loads(body)["status"]) == (200, "degraded")
    world.health.begin("journal-unwritable", detail="disk full")
    status, body, _ = world.ask("GET", "/healthz")
    assert (status, json.loads(body)["status"]) == (503, "failing")
    assert json.loads(body)["conditions"][0]["code"] == "journal-unwritable"
    assert "disk full" in json.loads(body)["conditions"][0]["text"]


def test_healthz_from_outside_names_nothing(world: World) -> None:
    world.health.begin("secret-unusable", "/etc/x", "is empty")
    headers = {"X-Forwarded-For": "203.0.113.9"}
    status, body, _ = world.ask("GET", "/healthz", headers=headers)
    assert (status, json.loads(body)) == (
        503,
        {"status": "failing", "conditions": [{"code": "secret-unusable", "severity": "failing"}]},
    )


def test_healthz_answers_head_and_nothing_else(world: World) -> None:
    status, body, _ = world.ask("HEAD", "/healthz")
    assert (status, body) == (200, b"")
    assert world.ask("POST", "/healthz", b"")[0] == 405


# -- metrics


def test_metrics_are_for_this_machine(world: World) -> None:
    status, body, _ = world.ask("GET", "/metrics")
    assert status == 200
    assert b"partpay_bridge_callbacks_total" in body
    port = world.server.address.port
    assert world.ask("GET", "/metrics", headers={"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-anything", ""),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("X-Real-IP", "127.0.0.1"),
        ("Host", "shop.example.co.nz"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_metrics_are_not_there_for_what_was_forwarded(
    world: World, method: str, header: tuple[str, str]
) -> None:
    status, body, _ = world.ask(method, "/metrics", headers=dict([header]))
    assert (status, body) == (404, b"404 Not Found\n")


def test_metrics_are_not_there_for_a_proxy_that_adds_nothing(world: World) -> None:
    with world.raw() as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.0 404")


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_what_is_this_machine(peer: str, here: bool) -> None:
    assert listener._is_loopback(peer) is here


# -- the server


def test_an_address_that_is_taken_is_said(world: World) -> None:
    with pytest.raises(CannotListenError, match="cannot be had: Address already in use"):
        HttpServer(world.server.address, Limits(BODY_MAX_BYTES))
    with pytest.raises(CannotListenError, match=r"\[listener\] address nowhere.invalid:1"):
        HttpServer(Address("nowhere.invalid", 1), Limits(BODY_MAX_BYTES))


def test_who_comes_before_the_start_is_answered_after_it() -> None:
    with serving() as other:
        app = application(
            None,
            Sources(dict, lambda _: done(200), other.health.report),
            Metrics(),
            Log(other.lines),
        )
        with HttpServer(Address("127.0.0.1", 0), Limits(BODY_MAX_BYTES)) as server:
            host, port = server.address.host, server.address.port
            with closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)) as early:
                early.request("GET", "/healthz")
                server.start(app, lambda error: None)
                assert early.getresponse().status == 200


def test_open_replies_are_finished_at_the_end() -> None:
    with serving() as world:
        future: Future[int] = Future()
        asked = threading.Event()

        def answer(callback: SignedCallback) -> Future[int]:
            asked.set()
            return future

        world.answer = answer
        with closing(world.connect()) as connection:
            connection.request("POST", PATH, sealed(SIGNED))
            assert asked.wait(TIMEOUT_S)
            stopping = threading.Thread(target=world.server.stop, args=(TIMEOUT_S,))
            stopping.start()
            future.set_result(200)
            assert connection.getresponse().status == 200
            stopping.join(TIMEOUT_S)
            assert not stopping.is_alive()
        with pytest.raises(ConnectionRefusedError):
            world.raw()


def test_stopping_twice_and_before_the_start_is_nothing() -> None:
    server = HttpServer(Address("127.0.0.1", 0), Limits(BODY_MAX_BYTES))
    server.stop(0.0)
    server.stop(0.0)
