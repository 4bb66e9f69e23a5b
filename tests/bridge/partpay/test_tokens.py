import itertools
import logging
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from bridge.partpay import tokens as tokens_module
from bridge.partpay.access import MerchantAccess
from bridge.partpay.answers import NoTokenCause
from bridge.partpay.failures import NoTokenError
from bridge.partpay.tokens import REFUSED_AGAIN_S, Tokens
from bridge.partpay.transport import tls_context
from bridge.secrets_files import SecretError

WAIT_S = 30.0
SECRET = "s&cret+ä%20="
ACCESS = MerchantAccess("m-1", "client-1", lambda: SECRET)
OTHER_MERCHANT = MerchantAccess("m-2", "client-1", lambda: SECRET)
OTHER_CLIENT = MerchantAccess("m-3", "client-3", lambda: "other")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(server: Any, roots: ssl.SSLContext, clock: Clock, http: Any) -> Tokens:
    numbers = itertools.count(1)
    server.answer = lambda _: http(
        200,
        {
            "access_token": f"token-{next(numbers)}",
            "expires_in": 86400,
            "scope": "some",
            "token_type": "Bearer",
        },
    )
    return Tokens(server.url + "/oauth/token", "https://audience.example", roots, clock=clock)


def settled(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is doing; pytest's timeout ends it where it does not come."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


def test_the_form_that_is_sent(tokens: Tokens, server: Any) -> None:
    assert tokens.bearer(ACCESS, WAIT_S) == "token-1"
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/oauth/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in request.headers
    assert parse_qs(request.body.decode(), strict_parsing=True) == {
        "client_id": ["client-1"],
        "client_secret": [SECRET],
        "audience": ["https://audience.example"],
        "grant_type": ["client_credentials"],
    }


def test_over_tls(tls_server: Any, certificates: Any, http: Any) -> None:
    tls_server.answer = lambda _: http(200, {"access_token": "t"})
    context = tls_context(certificates.roots)
    made = Tokens(tls_server.url + "/oauth/token", "a", context)
    assert made.bearer(ACCESS, WAIT_S) == "t"


def test_a_token_is_kept_for_all_merchants_of_its_credential(tokens: Tokens, server: Any) -> None:
    for _ in range(3):
        assert tokens.bearer(ACCESS, WAIT_S) == "token-1"
        assert tokens.bearer(OTHER_MERCHANT, WAIT_S) == "token-1"
    assert tokens.bearer(OTHER_CLIENT, WAIT_S) == "token-2"
    assert len(server.requests) == 2


def test_a_token_is_renewed_before_its_end_while_the_old_one_serves(
    tokens: Tokens, server: Any, clock: Clock
) -> None:
    tokens.bearer(ACCESS, WAIT_S)
    clock.now += 86400 - 301
    tokens.bearer(ACCESS, WAIT_S)
    assert len(server.requests) == 1
    clock.now += 2
    assert tokens.bearer(ACCESS, WAIT_S) == "token-1"
    settled(lambda: tokens.bearer(ACCESS, WAIT_S) == "token-2")
    assert len(server.requests) == 2


def test_a_renewal_that_fails_is_not_tried_at_every_call(
    tokens: Tokens, server: Any, clock: Clock, http: Any
) -> None:
    tokens.bearer(ACCESS, WAIT_S)
    server.answer = lambda _: http(500)
    clock.now += 86400 - 200
    for _ in range(20):
        assert tokens.bearer(ACCESS, WAIT_S) == "token-1"
    settled(lambda: len(server.requests) == 2)
    clock.now += 200
    with pytest.raises(NoTokenError, match="500"):
        tokens.bearer(ACCESS, WAIT_S)


def test_a_token_at_its_end_is_not_used(tokens: Tokens, clock: Clock) -> None:
    tokens.bearer(ACCESS, WAIT_S)
    clock.now += 86400
    assert tokens.bearer(ACCESS, WAIT_S) == "token-2"


@pytest.mark.parametrize("life", [None, "", 0, -5, "soon", True, [], 1e400, 10**40])
def test_an_odd_life_is_no_ground_to_refuse_a_token(
    tokens: Tokens, server: Any, clock: Clock, http: Any, life: object
) -> None:
    server.answer = lambda _: (
        http(200, {"access_token": "t", "expires_in": life})
        if life != 1e400
        else (http(200, b'{"access_token": "t", "expires_in": 1e400}'))
    )
    assert tokens.bearer(ACCESS, WAIT_S) == "t"
    assert tokens.bearer(ACCESS, WAIT_S) == "t"


@pytest.mark.parametrize("life", ["600", 600, 600.9])
def test_life_in_each_spelling(
    tokens: Tokens, server: Any, clock: Clock, http: Any, life: object
) -> None:
    numbers = itertools.count(1)
    server.answer = lambda _: http(200, {"access_token": f"t{next(numbers)}", "expires_in": life})
    tokens.bearer(ACCESS, WAIT_S)
    clock.now += 539
    assert tokens.bearer(ACCESS, WAIT_S) == "t1"
    clock.now += 61
    assert tokens.bearer(ACCESS, WAIT_S) == "t2"


# ---- one fetch for all ----------------------------------------------------------------------


def test_all_who_wait_share_one_fetch(tokens: Tokens, server: Any, http: Any) -> None:
    everyone, go = threading.Barrier(16), threading.Event()

    def answer(_: object) -> bytes:
        go.wait()
        return bytes(http(200, {"access_token": "shared"}))

    server.answer = answer

    def ask(_: int) -> str:
        everyone.wait()
        return tokens.bearer(ACCESS, WAIT_S)

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask, number) for number in range(16)]
        settled(lambda: len(server.requests) == 1)
        go.set()
        assert {each.result() for each in asked} == {"shared"}
    assert len(server.requests) == 1


def test_after_a_401_a_new_token_comes_once_for_all(tokens: Tokens, server: Any) -> None:
    old = tokens.bearer(ACCESS, WAIT_S)
    everyone = threading.Barrier(16)

    def ask(_: int) -> str | None:
        everyone.wait()
        return tokens.after_401(ACCESS, old, WAIT_S)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {"token-2"}
    assert len(server.requests) == 2
    assert tokens.bearer(ACCESS, WAIT_S) == "token-2"


def test_who_waits_no_longer_leaves_the_fetch_to_the_others(
    tokens: Tokens, server: Any, http: Any
) -> None:
    go = threading.Event()

    def answer(_: object) -> bytes:
        go.wait()
        return bytes(http(200, {"access_token": "late"}))

    server.answer = answer
    with pytest.raises(NoTokenError, match="in time"):
        tokens.bearer(ACCESS, 0.01)
    go.set()
    assert tokens.bearer(ACCESS, WAIT_S) == "late"
    assert len(server.requests) == 1


def test_a_merchant_refused_with_a_new_token_does_not_wear_out_the_token_service(
    tokens: Tokens, server: Any, clock: Clock
) -> None:
    old = tokens.bearer(ACCESS, WAIT_S)
    new = tokens.after_401(ACCESS, old, WAIT_S)
    assert new == "token-2"
    tokens.refused_anew(ACCESS, new)
    for _ in range(5):
        assert tokens.after_401(ACCESS, new, WAIT_S) is None
    assert len(server.requests) == 2
    # another merchant of the same credential may still have a new one
    assert tokens.after_401(OTHER_MERCHANT, new, WAIT_S) == "token-3"
    tokens.refused_anew(ACCESS, "token-3")
    clock.now += REFUSED_AGAIN_S
    assert tokens.after_401(ACCESS, "token-3", WAIT_S) == "token-4"


def test_a_replaced_token_that_was_refused_says_nothing_of_the_merchant(tokens: Tokens) -> None:
    old = tokens.bearer(ACCESS, WAIT_S)
    new = tokens.after_401(ACCESS, old, WAIT_S)
    assert new is not None
    tokens.refused_anew(ACCESS, old)
    assert tokens.after_401(ACCESS, new, WAIT_S) == "token-3"


# ---- no token -------------------------------------------------------------------------------


def not_had(tokens: Tokens) -> NoTokenError:
    with pytest.raises(NoTokenError) as caught:
        tokens.bearer(ACCESS, WAIT_S)
    assert "client-1" in caught.value.why
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>sign in</html>", "not JSON"),
        (200, b"", "no reason"),
        (200, b"[]", "not JSON"),
        (200, {}, "access token"),
        (200, {"access_token": None}, "header"),
        (200, {"access_token": ""}, "header"),
        (200, {"access_token": ["t"]}, "header"),
        (200, {"access_token": "a b"}, "header"),
        (200, {"access_token": "a\r\nX: y"}, "header"),
        (200, {"access_token": "t", "token_type": "mac"}, "Bearer"),
        (200, {"access_token": "t", "token_type": 7}, "Bearer"),
        (200, {"error": "invalid_client", "error_description": "Unknown client"}, "Unknown client"),
        (200, {"error": {"a": "b"}}, "no reason"),
        (200, b'{"access_token": "a", "access_token": "b"}', "not JSON"),
        (201, {"access_token": "t"}, "201"),
        (302, b"", "302"),
        (400, {"error": "invalid_request"}, "invalid_request"),
        (401, {"error": "access_denied", "error_description": "Unauthorized"}, "Unauthorized"),
        (403, b"<html>", "403"),
        (503, b"", "503"),
    ],
)
def test_an_answer_without_a_token_says_why(
    tokens: Tokens, server: Any, http: Any, status: int, body: object, said: str
) -> None:
    server.answer = lambda _: http(status, body, Location=server.url)
    assert said in not_had(tokens).why
    assert len(server.requests) == 1


def test_too_many_says_how_long_to_wait(tokens: Tokens, server: Any, http: Any) -> None:
    server.answer = lambda _: http(429, {}, Retry_After="12")
    assert not_had(tokens).retry_after_s == 12.0


@pytest.mark.parametrize("answer", ["close", "reset", b"garbage\r\n\r\n"])
def test_a_broken_token_service(tokens: Tokens, server: Any, answer: object) -> None:
    server.answer = lambda _: [answer, "close"]
    not_had(tokens)


def test_a_token_service_that_hangs_is_given_up(
    tokens: Tokens, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "FETCH_S", 0.2)
    server.answer = lambda _: "hang"
    assert "in time" in not_had(tokens).why


def test_nobody_listens(no_listener: str, roots: ssl.SSLContext) -> None:
    assert "Connection refused" in not_had(Tokens(no_listener, "a", roots)).why


@pytest.mark.parametrize(
    "error",
    [SecretError(Path("/etc/secret"), "is empty", "write it"), OSError("gone"), ValueError("x")],
)
def test_a_secret_that_cannot_be_read(tokens: Tokens, server: Any, error: Exception) -> None:
    def read() -> str:
        raise error

    with pytest.raises(NoTokenError, match="secret cannot be read"):
        tokens.bearer(MerchantAccess("m", "c", read), WAIT_S)
    assert not server.requests


def test_after_a_failure_the_next_call_tries_again(tokens: Tokens, server: Any, http: Any) -> None:
    good, server.answer = server.answer, lambda _: http(500)
    not_had(tokens)
    server.answer = good
    assert tokens.bearer(ACCESS, WAIT_S) == "token-1"


def test_the_secret_is_read_at_each_fetch(tokens: Tokens, server: Any) -> None:
    secrets = iter(["first", "second"])
    access = MerchantAccess("m", "c", lambda: next(secrets))
    old = tokens.bearer(access, WAIT_S)
    tokens.after_401(access, old, WAIT_S)
    sent = [parse_qs(request.body.decode())["client_secret"] for request in server.requests]
    assert sent == [["first"], ["second"]]


@pytest.mark.parametrize("url", ["http://192.0.2.1/token", "ftp://x/", "token"])
def test_an_address_that_no_secret_may_go_to(roots: ssl.SSLContext, url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Tokens(url, "a", roots)


# ---- secrets --------------------------------------------------------------------------------


def test_no_secret_and_no_token_is_told(
    tokens: Tokens, server: Any, http: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("requests_oauthlib.oauth2_session").setLevel(logging.DEBUG)
    tokens.bearer(ACCESS, WAIT_S)
    echo = {"error_description": f"{'x' * 180} {SECRET} {SECRET * 20}"}
    server.answer = lambda _: http(400, echo)
    with pytest.raises(NoTokenError) as caught:
        tokens.after_401(ACCESS, "token-1", WAIT_S)
    server.answer = lambda request: http(400, {"error_description": request.body.decode()})
    with pytest.raises(NoTokenError) as again:
        tokens.after_401(ACCESS, "token-1", WAIT_S)
    told = [caplog.text, caught.value.why, again.value.why, repr(tokens._kept), repr(ACCESS)]
    for text in told:
        assert "s&cret" not in text
        assert "s%26cret" not in text
        assert "token-1" not in text


# ---- what should not happen -----------------------------------------------------------------


def test_without_a_thread_for_the_fetch_there_is_no_token_this_time(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        # the server's threads are started before, for the second half
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(NoTokenError, match="no thread"):
            tokens.bearer(ACCESS, WAIT_S)
    assert tokens.bearer(ACCESS, WAIT_S) == "token-1"


def test_a_mistake_in_the_fetch_lets_nobody_wait_for_ever(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("canary")

    with monkeypatch.context() as patch:
        patch.setattr(tokens_module, "exchange", fail)
        with pytest.raises(NoTokenError, match="RuntimeError") as caught:
            tokens.bearer(ACCESS, WAIT_S)
    assert "canary" not in caught.value.why
    assert tokens.bearer(ACCESS, WAIT_S) == "token-1"


def unreadable() -> str:
    raise SecretError(Path("/x/secret"), "is empty", "write the secret into it")


@pytest.mark.parametrize(
    ("answer", "access", "cause"),
    [
        ((200, {"access_token": "t"}), ACCESS, None),
        ((401, {"error": "access_denied"}), ACCESS, NoTokenCause.REFUSED),
        ((403, {"error": "invalid_client"}), ACCESS, NoTokenCause.REFUSED),
        ((200, {"error": "invalid_client"}), ACCESS, NoTokenCause.REFUSED),
        ((429, {"error": "too_many_requests"}), ACCESS, NoTokenCause.UNKNOWN),
        ((500, {"error": "server_error"}), ACCESS, NoTokenCause.UNKNOWN),
        ((200, b"<html>"), ACCESS, NoTokenCause.UNKNOWN),
        ((200, {}), MerchantAccess("m-1", "client-1", unreadable), NoTokenCause.SECRET),
    ],
)
def test_whom_a_person_has_to_look_at(
    server: Any, roots: ssl.SSLContext, http: Any, answer: Any, access: Any, cause: Any
) -> None:
    server.answer = lambda _: http(*answer)
    heard: list[tuple[str, Any, str]] = []
    made = Tokens(server.url, "a", roots, told=lambda *news: heard.append(news))
    if cause is None:
        assert made.bearer(access, WAIT_S) == "t"
        assert heard == [("client-1", None, "")]
        return
    with pytest.raises(NoTokenError) as raised:
        made.bearer(access, WAIT_S)
    assert raised.value.cause is cause
    assert heard == [("client-1", cause, raised.value.why)]
    assert SECRET not in heard[0][2]


def test_who_watches_and_fails_costs_no_token(
    server: Any, roots: ssl.SSLContext, http: Any
) -> None:
    server.answer = lambda _: http(200, {"access_token": "t"})
    assert Tokens(server.url, "a", roots, told=lambda *news: 1 / 0).bearer(ACCESS, WAIT_S) == "t"
