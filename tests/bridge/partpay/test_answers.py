import base64
import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.partpay.answers import (
    AlreadyExists,
    AtUrl,
    CancelAnswer,
    CancelTaken,
    CreateAnswer,
    Created,
    Failure,
    HttpAnswer,
    Inline,
    NoAnswer,
    NotAllowed,
    NotSent,
    Perhaps,
    RefundAnswer,
    Refunded,
    Refused,
    Told,
    ToldAnswer,
    read_cancel,
    read_create,
    read_picture,
    read_refund,
    read_told,
)
from bridge.partpay.api import Api
from bridge.partpay.fields import AMOUNT_UNREADABLE, UNREADABLE

API = Api()
UUID = "123e4567-e89b-12d3-a456-426655440000"
JPEG = b"\xff\xd8\xff\xe0 not really"
ORDER = {
    "orderId": UUID,
    "orderNumber": "181211-303902",
    "orderExpiry": "2024-01-01T00:05:00Z",
    "qrCode": base64.b64encode(JPEG).decode(),
}
DATE = {"date": "Mon, 01 Jan 2024 00:00:00 GMT"}


def answer(status: int, body: object = b"", **headers: str) -> HttpAnswer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, {"content-length": str(len(data)), **told}, data)


def create(got: HttpAnswer | Failure) -> CreateAnswer:
    return read_create(got, API)


def told(got: HttpAnswer | Failure) -> ToldAnswer:
    return read_told(got, API)


# ---- create ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202])
def test_created_with_all_that_is_told(status: int) -> None:
    assert create(answer(status, {**ORDER, "amount": 125.5, "new": [1]}, **DATE)) == Created(
        Told(
            order_id=UUID,
            order_number="181211-303902",
            amount_minor=12550,
            life_s=300.0,
            picture=Inline(JPEG),
        )
    )


def test_created_with_hardly_anything_told() -> None:
    assert create(answer(201, {"orderId": UUID})) == Created(Told(order_id=UUID))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        {},
        {"orderId": None},
        {"orderId": ""},
        {"orderId": "../../admin"},
        {"orderId": ["x"]},
        {**ORDER, "isValid": False},
        json.dumps(ORDER).encode()[:-1],
        b'{"orderId": "a", "orderId": "b"}',
    ],
)
def test_a_good_status_without_a_readable_order_is_perhaps(body: object) -> None:
    assert isinstance(create(answer(201, body)), Perhaps)


def test_an_answer_cut_anywhere_never_makes_another_order() -> None:
    whole = json.dumps(ORDER).encode()
    for length in range(len(whole)):
        assert isinstance(create(answer(201, whole[:length])), Perhaps)


@pytest.mark.parametrize(
    "location",
    [
        f"/terminal/order/{UUID}/status",
        f"https://api.partpay.co.nz/terminal/order/{UUID}/status",
        f"https://other.example/{UUID.upper()}/status",
        f"../{UUID}/status",
    ],
)
def test_the_order_that_exists_is_found_in_location(location: str) -> None:
    assert create(answer(302, location=location)) == AlreadyExists(UUID)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/",
        f"/terminal/order/{UUID}",
        f"/terminal/order/{UUID}/status/",
        f"/terminal/order/{UUID}/status?x=1",
        f"/terminal/order/{UUID}/status#x",
        f"{UUID}/status",
        f"/terminal/order/{UUID}0/status",
        "/terminal/order//status",
        "/terminal/order/%2e%2e/status",
        f"/terminal/order/{UUID}/status, /terminal/order/{UUID}/status\n",
        f"/a b/{UUID}/status",
        "/" + "a" * 3000 + f"/{UUID}/status",
    ],
)
def test_another_location_is_perhaps(location: str) -> None:
    assert isinstance(create(answer(302, location=location)), Perhaps)


def test_a_302_without_location_is_perhaps() -> None:
    assert isinstance(create(answer(302)), Perhaps)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("read", [create, read_refund])
def test_refused_for_good(status: int, read: Callable[[HttpAnswer], object]) -> None:
    body = {"isValid": False, "errors": [{"propertyName": "amount", "errorMessages": ["Too low"]}]}
    assert read(answer(status, body)) == Refused(status, "Too low", ("amount",))
    assert read(answer(status)) == Refused(status, "", ())


@pytest.mark.parametrize("status", [401, 403, 404])
def test_not_allowed(status: int) -> None:
    got = create(answer(status, {"message": "Not this store"}))
    assert got == NotAllowed(status, f"PartPay answered {status}: Not this store")


def test_too_many_is_not_sent_and_says_how_long_to_wait() -> None:
    for read in (create, read_refund):
        got = read(answer(429, retry_after="7"))
        assert isinstance(got, NotSent)
        assert got.retry_after_s == 7.0


@pytest.mark.parametrize("read", [create, read_refund])
def test_two_equal_server_errors_have_one_fingerprint(read: Callable[[HttpAnswer], Any]) -> None:
    first, second = read(answer(500, b"a")), read(answer(500, b"a"))
    assert isinstance(first, Perhaps)
    assert first.fingerprint is not None
    assert first.fingerprint.startswith("500:")
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != read(answer(500, b"b")).fingerprint
    assert first.fingerprint != read(answer(503, b"a")).fingerprint
    assert read(answer(503, retry_after="9")).retry_after_s == 9.0


@pytest.mark.parametrize("status", [204, 304, 402, 405, 408, 409, 413, 418, 600])
def test_any_other_answer_is_perhaps(status: int) -> None:
    assert isinstance(create(answer(status)), Perhaps)


def test_no_answer_is_what_the_failure_says() -> None:
    for read in (create, read_refund):
        assert read(Failure(True, "refused", 3.0)) == NotSent("refused", 3.0)
        assert read(Failure(False, "cut off", 3.0)) == Perhaps("cut off", None, 3.0)


# ---- the picture ----------------------------------------------------------------------------


def test_a_picture_at_an_address() -> None:
    url = "https://img.example/qr?x=1"
    assert told(answer(200, {"qrCodeUrl": url})) == Told(picture=AtUrl(url))
    assert told(answer(200, {"qrCode": url})) == Told(picture=AtUrl(url))


def test_an_address_that_is_the_picture_itself() -> None:
    assert told(answer(200, {"qrCodeUrl": "data:image/jpeg;base64," + ORDER["qrCode"]})) == Told(
        picture=Inline(JPEG)
    )


def test_the_picture_in_the_answer_comes_first_unless_it_is_broken() -> None:
    url = "https://img.example/qr"
    both = told(answer(200, {"qrCode": ORDER["qrCode"], "qrCodeUrl": url}))
    assert both == Told(picture=Inline(JPEG))
    assert told(answer(200, {"qrCode": "AA=A", "qrCodeUrl": url})) == Told(picture=AtUrl(url))


@pytest.mark.parametrize(
    ("code", "url"),
    [
        ("AA=A", None),
        ("", None),
        (" ", "ftp://img.example/qr"),
        (7, None),
        ([], {}),
        (None, "https://"),
        (None, "AAAA"),
        (None, "https://a b"),
        (None, "javascript:alert(1)"),
        (None, "https://x/" + "y" * 3000),
    ],
)
def test_a_picture_that_cannot_be_used_says_why(code: object, url: object) -> None:
    got = told(answer(200, {"qrCode": code, "qrCodeUrl": url}))
    assert isinstance(got, Told)
    assert got.picture is None
    assert got.picture_why


def test_no_picture_is_no_problem() -> None:
    assert told(answer(200, {})) == Told()


def test_the_picture_as_fetched() -> None:
    assert read_picture(answer(200, JPEG)) == JPEG
    assert isinstance(read_picture(answer(200, b"")), NoAnswer)
    got = read_picture(answer(404))
    assert isinstance(got, NoAnswer)
    assert got.not_found
    assert read_picture(Failure(False, "cut off")) == NoAnswer("cut off")


# ---- order and status -----------------------------------------------------------------------


def test_told_with_everything_in_it() -> None:
    body = {
        "orderId": UUID.upper(),
        "orderNumber": "181211-303902",
        "status": "approved",
        "gatewayReference": "g",
        "merchantReference": "m",
        "amount": "12.50",
    }
    assert told(answer(200, body)) == Told(UUID, "181211-303902", "approved", "g", "m", 1250)


def test_what_is_told_unreadably_agrees_with_nothing() -> None:
    body = {
        "orderId": {"id": 1},
        "orderNumber": ["x"],
        "status": True,
        "gatewayReference": "a" * 999,
        "merchantReference": "\ud800",
        "amount": "twelve",
    }
    bad = UNREADABLE
    assert told(answer(200, body)) == Told(bad, bad, bad, bad, bad, AMOUNT_UNREADABLE)


def test_a_reference_that_was_told_as_a_number_is_read_as_written() -> None:
    assert told(answer(200, b'{"merchantReference": 87654321}')) == Told(
        merchant_reference="87654321"
    )


@pytest.mark.parametrize("status", [201, 202, 204, 301, 302, 400, 401, 403, 404, 429, 500, 503])
def test_only_200_tells_anything(status: int) -> None:
    got = told(answer(status, {**ORDER, "status": "approved"}, retry_after="5"))
    assert isinstance(got, NoAnswer)
    assert got.unauthorised == (status in (401, 403))
    assert got.not_found == (status == 404)
    assert got.retry_after_s == 5.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        {"isValid": False, "status": "approved"},
        b'{"status":"a","status":"b"}',
    ],
)
def test_a_200_that_cannot_be_read_tells_nothing(body: object) -> None:
    assert isinstance(told(answer(200, body)), NoAnswer)


def test_other_field_names() -> None:
    api = Api(order_id_field="id", status_field="state", qr_code_field="image")
    body = {"id": UUID, "state": "pending", "image": ORDER["qrCode"], "status": "approved"}
    assert read_told(answer(200, body), api) == Told(UUID, status="pending", picture=Inline(JPEG))


# ---- cancel and refund ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 403, 404, 409, 422])
def test_any_answer_to_a_cancel_is_taken(status: int) -> None:
    assert read_cancel(answer(status)) == CancelTaken(status)


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_cancel_that_was_not_heard(status: int) -> None:
    got = read_cancel(answer(status, retry_after="5"))
    assert isinstance(got, NoAnswer)
    assert got.unauthorised == (status == 401)
    assert got.retry_after_s == 5.0


def test_a_cancel_without_an_answer() -> None:
    assert read_cancel(Failure(True, "refused")) == NoAnswer("refused")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"refunded": true}'])
def test_refunded(body: bytes) -> None:
    assert read_refund(answer(200, body)) == Refunded()


def test_refunded_without_a_body_as_chunks_or_204() -> None:
    assert read_refund(HttpAnswer(200, {"transfer-encoding": "chunked"}, b"")) == Refunded()
    assert read_refund(HttpAnswer(204, {}, b"")) == Refunded()


@pytest.mark.parametrize(
    "got",
    [
        HttpAnswer(200, {}, b""),
        HttpAnswer(200, {"content-length": ""}, b""),
        HttpAnswer(200, {"transfer-encoding": "chun"}, b""),
        answer(200, b"<html>"),
        answer(200, {"isValid": False}),
        answer(202, {}),
        *(answer(status) for status in (302, 401, 403, 404, 409, 500)),
    ],
)
def test_a_refund_that_is_not_certain_is_perhaps(got: HttpAnswer) -> None:
    assert isinstance(read_refund(got), Perhaps)


# ---- anything at all ------------------------------------------------------------------------

header_values = st.text(st.characters(max_codepoint=255), max_size=40)
json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)
known_names = st.sampled_from(
    [
        *("orderId", "orderNumber", "orderExpiry", "status", "amount", "qrCode", "qrCodeUrl"),
        *("gatewayReference", "merchantReference"),
        *("message", "title", "isValid", "errors", "propertyName", "errorMessages"),
    ]
)
bodies = st.binary(max_size=300) | st.dictionaries(known_names, json_values, max_size=6).map(
    lambda fields: json.dumps(fields).encode()
)
answers = st.builds(
    HttpAnswer,
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(["location", "date", "retry-after", "content-length", "transfer-encoding"]),
        header_values,
        max_size=5,
    ),
    bodies,
)


@settings(deadline=None)
@given(answers)
def test_any_answer_becomes_one_of_its_values(got: HttpAnswer) -> None:
    assert isinstance(create(got), get_args(CreateAnswer))
    assert isinstance(told(got), get_args(ToldAnswer))
    assert isinstance(read_cancel(got), get_args(CancelAnswer))
    assert isinstance(read_refund(got), get_args(RefundAnswer))
    assert isinstance(read_picture(got), bytes | NoAnswer)


@settings(deadline=None)
@given(answers)
def test_an_order_is_taken_up_only_by_a_sane_id(got: HttpAnswer) -> None:
    made = create(got)
    if isinstance(made, Created):
        assert made.order.order_id is not None
        assert API.order_address(API.status_path, made.order.order_id)
    if isinstance(made, AlreadyExists):
        assert API.order_address(API.status_path, made.order_id)
