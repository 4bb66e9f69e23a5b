import gzip
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.partpay import transport
from bridge.partpay.answers import Failure, HttpAnswer
from bridge.partpay.failures import FAILURES, failure
from bridge.partpay.transport import (
    Direct,
    Limits,
    base_of,
    exchange,
    parts_of,
    prepared,
    set_up,
    tls_context,
)

SHORT_S = 0.5  # a deadline that a test waits out
LONG_S = 30.0  # one that it does not
PATIENT = Limits(LONG_S)


@pytest.fixture
def get(roots: ssl.SSLContext) -> Iterator[Callable[..., HttpAnswer | Failure]]:
    with Direct() as session:
        set_up(session, roots)
        yield lambda url, limits=PATIENT: attempt(session, url, limits)


def attempt(session: Direct, url: str, limits: Limits) -> HttpAnswer | Failure:
    try:
        return exchange(session, prepared("POST", url, {"X": "y"}, b"body"), limits)
    except FAILURES as error:
        return failure(error)


def reply(status: str = "200 OK", body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


# ---- whole answers --------------------------------------------------------------------------


def test_an_answer_comes_with_lower_case_headers_over_one_kept_connection(
    server: Any, get: Any
) -> None:
    server.answer = lambda _: reply("201 Created", b'{"a":1}', "X-Thing: Y")
    for _ in range(3):
        got = get(server.url)
        assert (got.status, got.body, got.headers["x-thing"]) == (201, b'{"a":1}', "Y")
    assert server.connections == 1
    sent = server.requests[0]
    assert (sent.method, sent.body, sent.headers["x"]) == ("POST", b"body", "y")
    assert sent.headers["accept-encoding"] == "identity"


def test_chunks_and_gzip_are_read_all_the_same(server: Any, get: Any) -> None:
    packed = gzip.compress(b"x" * 1000)
    server.answer = lambda _: reply("200 OK", packed, "Content-Encoding: gzip")
    assert get(server.url).body == b"x" * 1000
    server.answer = lambda _: [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n",
        b"1\r\nd\r\n0\r\n\r\n",
    ]
    assert get(server.url).body == b"abcd"


def test_no_redirect_is_followed_whatever_it_says(server: Any, get: Any) -> None:
    for location in (server.url, "/loop", "http://[::", "https://user:pw@x/", "\x80", ""):
        server.answer = lambda _, to=location: reply("302 Found", b"", f"Location: {to}")
        before = len(server.requests)
        assert get(server.url).status == 302
        assert len(server.requests) == before + 1


@pytest.mark.filterwarnings("error")  # http.cookiejar warns of its own bugs over odd ones
@pytest.mark.parametrize("cookie", ["a=b; Path=/", "a=b; Max-Age", "\x80", ""])
def test_no_cookie_is_kept(server: Any, get: Any, cookie: str) -> None:
    server.answer = lambda _: reply("200 OK", b"", f"Set-Cookie: {cookie}", "set-cookie: c=d")
    assert "set-cookie" not in get(server.url).headers
    get(server.url)
    assert "cookie" not in server.requests[1].headers


def test_nothing_is_taken_from_the_environment(
    server: Any, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    server.answer = lambda _: reply()
    assert get(server.url).status == 200


# ---- perhaps sent ---------------------------------------------------------------------------

WHOLE = reply("200 OK", b'{"orderId":"a"}')


def test_an_answer_cut_anywhere_is_no_whole_answer(server: Any, get: Any) -> None:
    end_of_head = WHOLE.index(b"\r\n\r\n") + 4
    for length in [0, 1, 12, end_of_head - 1, *range(end_of_head, len(WHOLE))]:
        server.answer = lambda _, cut=length: [WHOLE[:cut], "close"]
        got = get(server.url)
        # cut within its head, it may come as an answer without a body
        if isinstance(got, HttpAnswer):
            assert length < end_of_head
            assert got.body == b""
        else:
            assert not got.surely_not_sent
    assert not [request for request in server.requests if request.body != b"body"]


@pytest.mark.parametrize(
    "pieces",
    [
        ["close"],
        ["reset"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "reset"],
        [b"SSH-2.0-OpenSSH\r\n", "close"],
        [b"HTTP/1.1 abc\r\n\r\n", "close"],
        [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "close"],
        [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "close"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nabc", "close"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close"],
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "close"],
    ],
)
def test_once_it_was_sent_it_is_perhaps(server: Any, get: Any, pieces: list[Any]) -> None:
    server.answer = lambda _: pieces
    got = get(server.url)
    assert isinstance(got, Failure)
    assert not got.surely_not_sent
    assert len(server.requests) == 1  # and never sent again by itself


def drip(first: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield b"1"


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_slow_drip_ends_with_the_deadline(server: Any, get: Any, first: bytes) -> None:
    server.answer = lambda _: drip(first)
    got = get(server.url, Limits(SHORT_S))
    assert isinstance(got, Failure)
    assert not got.surely_not_sent


def test_a_drip_over_tls_ends_with_the_deadline(tls_server: Any, certificates: Any) -> None:
    tls_server.answer = lambda _: drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with Direct() as session:
        set_up(session, tls_context(certificates.roots))
        got = attempt(session, tls_server.url, Limits(SHORT_S))
    assert isinstance(got, Failure)
    assert not got.surely_not_sent


def test_silence_ends_with_the_deadline(server: Any, get: Any) -> None:
    server.answer = lambda _: "hang"
    assert not get(server.url, Limits(SHORT_S)).surely_not_sent


def test_interim_answers_without_end_end_with_the_deadline(server: Any, get: Any) -> None:
    def interim() -> Iterator[bytes]:
        while True:
            yield b"HTTP/1.1 100 Continue\r\n\r\n"

    server.answer = lambda _: interim()
    assert not get(server.url, Limits(SHORT_S)).surely_not_sent


@pytest.mark.parametrize("head", [b"Content-Length: 2000000", b"X: y", b"Content-Encoding: gzip"])
def test_a_body_beyond_its_limit_is_no_answer(server: Any, get: Any, head: bytes) -> None:
    body = gzip.compress(b"x" * 2_000_000) if b"gzip" in head else b"x" * 2_000_000
    server.answer = lambda _: [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body, "close"]
    got = get(server.url, Limits(LONG_S, answer_max_bytes=1_000_000))
    assert got == Failure(False, "the answer was too long")


@pytest.mark.parametrize(
    "endless", [b"Content-Length: 1\r\n" * 99 + b"X: ", b"Transfer-Encoding: chunked\r\n\r\n0\r\n"]
)
def test_what_never_ends_before_or_after_the_body_is_no_answer(
    server: Any, get: Any, monkeypatch: pytest.MonkeyPatch, endless: bytes
) -> None:
    monkeypatch.setattr(transport, "RECEIVED_MAX_BYTES", 50_000)
    server.answer = lambda _: [b"HTTP/1.1 200 OK\r\n" + endless + b"x: y\r\n" * 100_000, "hang"]
    got = get(server.url)
    assert isinstance(got, Failure)
    assert not got.surely_not_sent


def test_a_kept_connection_that_was_closed_is_made_anew(server: Any, get: Any) -> None:
    server.answer = lambda _: [reply(), "close"]
    for _ in range(5):
        got = get(server.url)
        # the end may be seen before the next request, or cut it off: then it was perhaps sent
        assert isinstance(got, HttpAnswer) or not got.surely_not_sent


def test_a_connection_idle_for_long_is_not_trusted(
    server: Any, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda _: reply()
    get(server.url)
    monkeypatch.setattr(transport, "KEPT_S", 0.0)
    assert get(server.url).status == 200
    assert server.connections == 2


def test_many_threads_share_a_session(server: Any, get: Any) -> None:
    server.answer = lambda request: reply("200 OK", request.path.encode())
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(20):
            path = f"/{number}/{turn}"
            got = get(server.url + path)
            if not isinstance(got, HttpAnswer) or got.body != path.encode():
                wrong.append(got)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(server.requests) == 160


# ---- surely not sent ------------------------------------------------------------------------


def test_nobody_listens(get: Any, no_listener: str) -> None:
    got = get(no_listener)
    assert got == Failure(True, "no connection could be made (Connection refused)")


def test_no_time_left(get: Any, server: Any) -> None:
    assert get(server.url, Limits(0.0)) == Failure(True, "no time was left to send it")
    assert server.connections == 0


def look_up(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [
        (
            socket.AF_INET6 if ":" in host else socket.AF_INET,
            socket.SOCK_STREAM,
            6,
            "",
            (host, port),
        )
        for host, port in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_an_unknown_name(get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    got = get("https://nowhere.example/")
    assert got == Failure(True, "the name could not be looked up (Name or service not known)")
    assert get("https://nowhere.example/").surely_not_sent


def test_a_name_that_is_none(get: Any) -> None:
    assert get("https://" + "a" * 70 + ".example/").surely_not_sent


def test_a_look_up_that_hangs_ends_with_the_deadline_and_is_not_begun_twice(
    get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, calls = threading.Event(), []

    def hang(*_: object, **__: object) -> list[Any]:
        calls.append(1)
        free.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        for _ in range(3):
            got = get("https://slow.example/", Limits(SHORT_S / 3))
            assert got.surely_not_sent
            assert "looked up" in got.why
        assert len(calls) == 1
    finally:
        free.set()


def test_plain_http_goes_to_loopback_alone(
    server: Any, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up(monkeypatch, ("127.0.0.1", server.port), ("192.0.2.1", server.port))
    got = get(f"http://partpay.example:{server.port}/")
    assert got == Failure(True, "plain http is for loopback addresses alone; use https")
    look_up(monkeypatch, ("127.0.0.1", server.port))
    server.answer = lambda _: reply()
    assert get(f"http://partpay.example:{server.port}/").status == 200


def test_the_next_address_is_tried(
    server: Any, get: Any, monkeypatch: pytest.MonkeyPatch, no_listener: str
) -> None:
    dead = int(no_listener.rpartition(":")[2])
    look_up(monkeypatch, ("::1", dead), ("127.0.0.1", dead), ("127.0.0.1", server.port))
    server.answer = lambda _: reply()
    assert get("http://partpay.example/").status == 200


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    server: Any, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda _: reply()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)  # the queue is full now: who else connects, waits
            look_up(monkeypatch, address, ("127.0.0.1", server.port))
            assert get("http://partpay.example/", Limits(1.0)).status == 200
            look_up(monkeypatch, address)
            got = get("http://swallowed.example/", Limits(SHORT_S))
    assert got.surely_not_sent
    assert "too long" in got.why


def test_tls_with_a_certificate_of_ours(tls_server: Any, certificates: Any) -> None:
    tls_server.answer = lambda _: reply()
    with Direct() as session:
        set_up(session, tls_context(certificates.roots))
        assert attempt(session, tls_server.url, Limits(LONG_S)).status == 200  # type: ignore[union-attr]
        assert attempt(session, tls_server.url, Limits(LONG_S)).status == 200  # type: ignore[union-attr]
    assert tls_server.connections == 1


def test_an_unknown_certificate_is_not_trusted(tls_server: Any, get: Any) -> None:
    got = get(tls_server.url)
    assert got.surely_not_sent
    assert "self-signed" in got.why
    assert not tls_server.requests


def test_a_certificate_of_another_host_is_not_trusted(server: Any, certificates: Any) -> None:
    server.context = certificates.server_context("other.example")
    with Direct() as session:
        set_up(session, tls_context(certificates.folder / "other.example.crt"))
        got = attempt(session, server.url, Limits(LONG_S))
    assert isinstance(got, Failure)
    assert got.surely_not_sent
    assert not server.requests


def test_a_handshake_that_breaks_or_hangs_sent_nothing(get: Any) -> None:
    for greeting in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            done = threading.Event()

            def serve(
                listener: socket.socket = listener,
                greeting: bytes | None = greeting,
                done: threading.Event = done,
            ) -> None:
                connection, _ = listener.accept()
                with connection:
                    if greeting is None:
                        done.wait()
                    else:
                        connection.recv(1)
                        connection.sendall(greeting)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            got = get(f"https://127.0.0.1:{listener.getsockname()[1]}/", Limits(SHORT_S))
            done.set()
            thread.join()
        assert got.surely_not_sent, greeting


# ---- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "api.partpay.co.nz",
            "ftp://x",
            "https://",
            "http://192.0.2.1/",
            "http://[2001:db8::1]/",
        ),
        *("https://user:pw@x/", "https://[::", "file:///etc/passwd"),
    ],
)
def test_an_address_that_cannot_be_called(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parts_of(url)


@pytest.mark.parametrize(
    "url", ["https://zip.co/nz/api/", "http://localhost:8480", "http://[::1]:80/a"]
)
def test_an_address_that_paths_can_follow(url: str) -> None:
    assert base_of(url) == url.rstrip("/")


@pytest.mark.parametrize("url", ["https://x/?a=b", "https://x/#a"])
def test_a_base_address_has_no_query(url: str) -> None:
    with pytest.raises(ValueError, match="must hold no"):
        base_of(url)


def test_no_descriptor_is_lost(server: Any, get: Any, no_listener: str) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    server.answer = lambda _: "reset"
    get(server.url)
    before = count()
    for _ in range(20):
        get(server.url)
        get(no_listener)
    assert count() <= before + 2
