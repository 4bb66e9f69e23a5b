import base64
import itertools
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bridge.partpay.access import MerchantAccess
from bridge.partpay.answers import (
    AlreadyExists,
    CancelTaken,
    Created,
    Inline,
    NoAnswer,
    NotAllowed,
    NotSent,
    Perhaps,
    Refunded,
    Refused,
    Told,
)
from bridge.partpay.api import Api
from bridge.partpay.orders import Orders
from bridge.partpay.tokens import Tokens

LONG_S, SHORT_S = 30.0, 0.5
UUID = "123e4567-e89b-12d3-a456-426655440000"
JPEG = b"\xff\xd8\xff\xe0 not really"
MERCHANT = MerchantAccess("m-1", "client-1", lambda: "secret")
OTHER = MerchantAccess("m-2", "client-1", lambda: "secret")
CALLBACK = "https://shop.example/partpay-callback"


@pytest.fixture
def token_server(other_server: Any, http: Any) -> Any:
    numbers = itertools.count(1)
    other_server.answer = lambda _: http(200, {"access_token": f"token-{next(numbers)}"})
    return other_server


@pytest.fixture
def orders(server: Any, token_server: Any, roots: ssl.SSLContext) -> Iterator[Orders]:
    tokens = Tokens(token_server.url, "audience", roots)
    with Orders(server.url + "/nz/api/", tokens, roots, callback_url=CALLBACK) as made:
        yield made


def create(orders: Orders, merchant: MerchantAccess = MERCHANT, **changed: Any) -> Any:
    arguments = {
        "terminal_id": "T-1",
        "amount_minor": 12550,
        "merchant_reference": "m-ref",
        "gateway_reference": "g-ref",
        "deadline_s": LONG_S,
    }
    return orders.create(merchant, **{**arguments, **changed})


ORDER = {"terminal_id": "T-1", "order_id": UUID, "deadline_s": LONG_S}


# ---- what is sent ---------------------------------------------------------------------------


def test_create_as_partpay_wants_it(orders: Orders, server: Any, http: Any) -> None:
    body = {"orderId": UUID, "qrCode": base64.b64encode(JPEG).decode()}
    server.answer = lambda _: http(201, body)
    assert create(orders) == Created(Told(UUID, picture=Inline(JPEG)))
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/nz/api/terminal/order")
    assert b'"amount":125.50' in request.body
    assert request.json == {
        "amount": 125.5,
        "merchantReference": "m-ref",
        "gatewayReference": "g-ref",
        "callbackUrl": CALLBACK,
    }
    wanted = {
        "authorization": "Bearer token-1",
        "content-type": "application/json",
        "accept": "application/json",
        "partpay-merchantid": "m-1",
        "partpay-terminalid": "T-1",
        "idempotency-key": "g-ref",
        "merchant-reference-unique-check": "true",
    }
    assert wanted.items() <= request.headers.items()


def test_create_without_the_key_still_checks_that_it_is_the_only_one(
    orders: Orders, server: Any, http: Any
) -> None:
    server.answer = lambda _: http(302, Location=f"/terminal/order/{UUID}/status")
    assert create(orders, with_key=False) == AlreadyExists(UUID)
    assert "idempotency-key" not in server.requests[0].headers
    assert server.requests[0].headers["merchant-reference-unique-check"] == "true"
    assert len(server.requests) == 1


def test_every_assumed_name_is_configuration(
    server: Any, token_server: Any, roots: ssl.SSLContext, http: Any
) -> None:
    api = Api(
        create_path="/v2/new",
        merchant_header="X-Merchant",
        terminal_header="X-Terminal",
        idempotency_header="X-Key",
        unique_check_header="X-Unique",
        amount_field="total",
        callback_url_field="hook",
    )
    server.answer = lambda _: http(201, {"orderId": UUID, "total": 125.5})
    tokens = Tokens(token_server.url, "audience", roots)
    with Orders(server.url, tokens, roots, callback_url=CALLBACK, api=api) as orders:
        assert create(orders) == Created(Told(UUID, amount_minor=12550))
    request = server.requests[0]
    assert request.path == "/v2/new"
    assert request.json["total"] == 125.5
    assert request.json["hook"] == CALLBACK
    assert {
        "x-merchant": "m-1",
        "x-terminal": "T-1",
        "x-key": "g-ref",
        "x-unique": "true",
    }.items() <= (request.headers.items())


def test_polling_alone_tells_no_callback(
    server: Any, token_server: Any, roots: ssl.SSLContext
) -> None:
    with Orders(server.url, Tokens(token_server.url, "a", roots), roots) as orders:
        create(orders)
    assert "callbackUrl" not in server.requests[0].json


def test_order_status_cancel_and_refund_as_partpay_wants_them(
    orders: Orders, server: Any, http: Any
) -> None:
    server.answer = lambda _: http(200, {"orderId": UUID, "status": "pending"})
    assert orders.order(MERCHANT, **ORDER) == Told(UUID, status="pending")
    assert orders.status(MERCHANT, **ORDER) == Told(UUID, status="pending")
    assert orders.cancel(MERCHANT, operator="Anna", **ORDER) == CancelTaken(200)
    refunded = orders.refund(
        MERCHANT, amount_minor=5, refund_reference="r-ref", operator="Anna", **ORDER
    )
    assert refunded == Refunded()
    sent = [(request.method, request.path) for request in server.requests]
    path = f"/nz/api/terminal/order/{UUID}"
    assert sent == [
        ("GET", path),
        ("GET", path + "/status"),
        ("POST", path + "/cancel"),
        ("POST", path + "/refund"),
    ]
    assert server.requests[0].body == b""
    assert server.requests[2].json == {"operator": "Anna"}
    assert b'"amount":0.05' in server.requests[3].body
    assert server.requests[3].json == {
        "amount": 0.05,
        "merchantRefundReference": "r-ref",
        "operator": "Anna",
    }
    for request in server.requests:
        assert request.headers["partpay-merchantid"] == "m-1"
        assert "idempotency-key" not in request.headers
    assert server.connections == 1


def test_nothing_that_is_sent_breaks_out_of_its_place(
    orders: Orders, server: Any, http: Any
) -> None:
    server.answer = lambda _: http(201, {"orderId": UUID})
    odd = MerchantAccess("m\r\nX-Evil: 1", "client-1", lambda: "secret")
    reference = 'a","amount":1,"x":"ä\ud800'
    create(orders, odd, terminal_id=" Ä", merchant_reference=reference)
    request = server.requests[0]
    assert "x-evil" not in request.headers
    assert request.headers["partpay-merchantid"] == "m%0D%0AX-Evil%3A%201"
    assert request.headers["partpay-terminalid"] == "%20%C3%84"
    assert json.loads(request.body)["merchantReference"] == reference
    assert json.loads(request.body)["amount"] == 125.5


@pytest.mark.parametrize("amount_minor", [0, -1, True, 1.5])
def test_an_amount_that_is_none_is_never_sent(
    orders: Orders, server: Any, amount_minor: Any
) -> None:
    with pytest.raises(ValueError, match="amount"):
        create(orders, amount_minor=amount_minor)
    assert not server.requests


def test_what_is_no_order_id_is_never_sent(orders: Orders, server: Any) -> None:
    for call in (orders.order, orders.status):
        with pytest.raises(ValueError, match="order"):
            call(MERCHANT, terminal_id="T-1", order_id="../admin", deadline_s=LONG_S)
    assert not server.requests


# ---- what comes back ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "value"),
    [
        *((400, Refused), (422, Refused), (403, NotAllowed), (404, NotAllowed), (429, NotSent)),
        *((500, Perhaps), (503, Perhaps), (409, Perhaps), (200, Perhaps)),
    ],
)
def test_create_by_status(orders: Orders, server: Any, http: Any, status: int, value: type) -> None:
    server.answer = lambda _: http(status, b"<html>")
    assert isinstance(create(orders), value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", ["close", "reset", [b"HTTP/1.1 201 Cre", "close"], "hang"])
def test_a_create_without_an_answer_is_perhaps_and_not_repeated(
    orders: Orders, server: Any, answer: Any
) -> None:
    server.answer = lambda _: answer
    assert isinstance(create(orders, deadline_s=SHORT_S), Perhaps)
    assert len(server.requests) == 1


def test_a_kept_connection_that_ends_under_a_create_is_perhaps(
    orders: Orders, server: Any, http: Any
) -> None:
    server.answer = lambda request: http(404) if request.method == "GET" else "close"
    orders.status(MERCHANT, **ORDER)
    assert isinstance(create(orders), Perhaps)
    assert len(server.requests) == 2
    assert server.connections == 1


def test_a_create_cut_at_each_byte_is_never_another_order(
    orders: Orders, server: Any, http: Any
) -> None:
    whole = http(201, {"orderId": UUID, "qrCode": "AAAA"})
    for length in range(len(whole)):
        server.answer = lambda _, cut=length: [whole[:cut], "close"]
        assert isinstance(create(orders), Perhaps)


def test_a_refund_cut_at_each_byte_is_never_done(orders: Orders, server: Any, http: Any) -> None:
    whole = http(200, {"refunded": True})
    for length in range(len(whole)):
        server.answer = lambda _, cut=length: [whole[:cut], "close"]
        got = orders.refund(MERCHANT, amount_minor=5, refund_reference="r", operator="o", **ORDER)
        assert isinstance(got, Perhaps), whole[:length]


def test_nobody_listens_is_not_sent(
    no_listener: str, token_server: Any, roots: ssl.SSLContext
) -> None:
    with Orders(no_listener, Tokens(token_server.url, "a", roots), roots) as orders:
        assert create(orders) == NotSent("no connection could be made (Connection refused)")
        assert isinstance(orders.status(MERCHANT, **ORDER), NoAnswer)
        assert isinstance(orders.cancel(MERCHANT, operator="o", **ORDER), NoAnswer)
        assert orders.warm(MERCHANT, deadline_s=LONG_S) is not None


# ---- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 401, 500])
def test_without_a_token_nothing_is_sent(
    orders: Orders, server: Any, token_server: Any, http: Any, status: int
) -> None:
    token_server.answer = lambda _: http(status, b"<html>", Retry_After="3")
    got = create(orders)
    assert isinstance(got, NotSent)
    assert "no token" in got.why
    assert got.retry_after_s == 3.0
    assert isinstance(orders.status(MERCHANT, **ORDER), NoAnswer)
    assert not server.requests


def only(token: str, http: Any, good: bytes) -> Any:
    return lambda request: (
        good if request.headers["authorization"] == f"Bearer {token}" else http(401)
    )


def test_after_a_401_the_same_create_goes_once_more_with_a_new_token(
    orders: Orders, server: Any, http: Any
) -> None:
    server.answer = only("token-2", http, http(201, {"orderId": UUID}))
    assert isinstance(create(orders), Created)
    first, second = server.requests
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_401_after_a_new_token_stands(
    orders: Orders, server: Any, token_server: Any, http: Any
) -> None:
    server.answer = lambda _: http(401)
    assert create(orders) == NotAllowed(401, "PartPay answered 401")
    assert len(server.requests) == 2
    got = orders.status(MERCHANT, **ORDER)
    assert isinstance(got, NoAnswer)
    assert got.unauthorised
    assert isinstance(orders.cancel(MERCHANT, operator="o", **ORDER), NoAnswer)
    assert isinstance(
        orders.refund(MERCHANT, amount_minor=5, refund_reference="r", operator="o", **ORDER),
        Perhaps,
    )
    assert len(token_server.requests) == 2  # and not two more for each call


def test_a_401_for_one_merchant_leaves_the_other_alone(
    orders: Orders, server: Any, http: Any
) -> None:
    server.answer = lambda request: (
        http(401)
        if request.headers["partpay-merchantid"] == "m-2"
        else http(201, {"orderId": UUID})
    )
    assert isinstance(create(orders), Created)
    assert isinstance(create(orders, OTHER), NotAllowed)
    assert isinstance(create(orders), Created)


def test_a_401_without_a_new_token_is_not_sent_but_for_a_refund_perhaps(
    orders: Orders, server: Any, token_server: Any, http: Any
) -> None:
    assert orders.warm(MERCHANT, deadline_s=LONG_S) is None
    server.answer = lambda _: http(401)
    token_server.answer = lambda _: http(500)
    assert isinstance(create(orders), NotSent)
    got = orders.refund(MERCHANT, amount_minor=5, refund_reference="r", operator="o", **ORDER)
    assert isinstance(got, Perhaps)


def test_a_401_and_then_no_answer_is_perhaps(orders: Orders, server: Any, http: Any) -> None:
    server.answer = only("token-2", http, "close")  # type: ignore[arg-type]
    assert isinstance(create(orders), Perhaps)


def test_a_token_that_ends_under_many_lanes_is_renewed_once(
    orders: Orders, server: Any, token_server: Any, http: Any
) -> None:
    assert orders.warm(MERCHANT, deadline_s=LONG_S) is None
    server.answer = only("token-2", http, http(201, {"orderId": UUID}))
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: create(orders), range(40)))
    assert all(isinstance(each, Created) for each in got)
    assert len(token_server.requests) == 2


def test_the_token_is_in_no_text(orders: Orders, server: Any, http: Any) -> None:
    server.answer = lambda request: http(
        422, {"message": "bad " + request.headers["authorization"]}
    )
    got = create(orders)
    assert isinstance(got, Refused)
    assert "token-1" not in got.text


# ---- ahead of need --------------------------------------------------------------------------


def test_warm_has_token_and_connection_ready(
    orders: Orders, server: Any, token_server: Any, http: Any
) -> None:
    assert orders.warm(MERCHANT, deadline_s=LONG_S) is None
    assert orders.warm(MERCHANT, deadline_s=LONG_S) is None
    assert [(request.method, request.path) for request in server.requests] == [("HEAD", "/nz/api/")]
    assert "authorization" not in server.requests[0].headers
    server.answer = lambda _: http(201, {"orderId": UUID})
    create(orders)
    assert server.connections == 1
    assert len(token_server.requests) == 1


# ---- the picture ----------------------------------------------------------------------------


def test_a_picture_is_fetched_without_credentials(orders: Orders, server: Any, http: Any) -> None:
    server.answer = lambda _: http(200, JPEG)
    assert orders.picture(server.url + "/qr?x=1", deadline_s=LONG_S) == JPEG
    request = server.requests[0]
    assert request.path == "/qr?x=1"
    assert "authorization" not in request.headers
    assert "partpay-merchantid" not in request.headers


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 302 Found\r\nLocation: /qr\r\nContent-Length: 0\r\n\r\n", "close", "hang"]
)
def test_a_picture_that_does_not_come(orders: Orders, server: Any, answer: Any) -> None:
    server.answer = lambda _: answer
    assert isinstance(orders.picture(server.url + "/qr", deadline_s=SHORT_S), NoAnswer)
    assert len(server.requests) == 1


def test_a_picture_beyond_its_limit(orders: Orders, server: Any, http: Any) -> None:
    server.answer = lambda _: http(200, b"x" * 2_500_000)
    assert isinstance(orders.picture(server.url, deadline_s=LONG_S), NoAnswer)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://127.0.0.1/qr",
            "http://192.0.2.1/qr",
            "http://other.example/qr",
            "http://localhost/qr",
        ),
        *("https://user:pw@127.0.0.1/", "https://[::/", "file:///etc/passwd", ""),
    ],
)
def test_a_picture_is_not_fetched_from_anywhere(orders: Orders, url: str) -> None:
    got = orders.picture(url, deadline_s=LONG_S)
    assert isinstance(got, NoAnswer)
    assert "address" in got.why


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "api.partpay.co.nz", "https://x/?a"])
def test_a_base_address_that_no_credentials_may_go_to(
    roots: ssl.SSLContext, token_server: Any, url: str
) -> None:
    with pytest.raises(ValueError, match=r"address|must hold"):
        Orders(url, Tokens(token_server.url, "a", roots), roots)


def test_partpays_date_is_passed_on(
    server: Any, token_server: Any, roots: ssl.SSLContext, http: Any
) -> None:
    date = "Mon, 23 Nov 2026 12:00:00 GMT"
    server.answer = lambda _: http(404, Date=date)
    heard: list[str] = []
    with Orders(
        server.url, Tokens(token_server.url, "a", roots), roots, dated=heard.append
    ) as orders:
        orders.status(MERCHANT, **ORDER)
        assert heard == [date]
    with Orders(
        server.url, Tokens(token_server.url, "a", roots), roots, dated=heard.append
    ) as orders:
        orders.warm(MERCHANT, deadline_s=LONG_S)
        assert heard == [date, date]
