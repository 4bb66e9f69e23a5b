"""PartPay's API over a real socket: what its documents say, and each row of cents that shows in it."""

from __future__ import annotations

import base64
import hmac
import io
import threading
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any

import pytest
import requests
import zxingcpp
from PIL import Image

from tests.tools.sandbox.conftest import Listener, Sandbox, Till, books
from tools.sandbox.api import CUSTOMER_URL, Names
from tools.sandbox.running import running


def read(data: bytes) -> list[str]:
    return [code.text for code in zxingcpp.read_barcodes(Image.open(io.BytesIO(data)).convert("L"))]


# Tokens


def test_a_token_by_json_and_by_form(till: Till) -> None:
    by_json = till.token()
    assert by_json.status_code == 200
    told = by_json.json()
    assert (told["expires_in"], told["token_type"]) == (86400, "Bearer")
    form = {
        "client_id": "service",
        "client_secret": "service secret",
        "audience": "https://auth-dev.partpay.co.nz",
        "grant_type": "client_credentials",
    }
    by_form = requests.post(f"{till.url}/oauth/token", data=form)
    assert by_form.status_code == 200
    assert by_form.json()["access_token"] != told["access_token"]


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "access_denied"),
        ({"client_id": "nobody"}, 401, "access_denied"),
        ({"audience": "https://elsewhere"}, 403, "access_denied"),
        ({"grant_type": "password"}, 403, "unsupported_grant_type"),
    ],
)
def test_no_token(till: Till, changes: dict[str, str], status: int, error: str) -> None:
    answer = till.token(**changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_token_ends_and_can_be_taken_back(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(10.00).json()["orderId"]
    sandbox.revoke_tokens()
    assert till.status(order_id).status_code == 401
    till.log_in()
    assert till.status(order_id).status_code == 200
    sandbox.clock.go_on(86401)
    assert till.status(order_id).status_code == 401


def test_401_without_detail_for_a_merchant_that_the_credential_is_not_for(till: Till) -> None:
    till.client, till.secret = "only-1002", "1002 secret"
    till.log_in()
    refused = till.create(10.00)
    assert (refused.status_code, refused.content) == (401, b"")
    assert refused.headers["content-type"] == "application/json"
    till.headers["partpay-merchantid"] = "1002"
    assert till.create(10.00).status_code == 201
    till.headers.pop("partpay-merchantid")
    assert till.create(10.00).status_code == 401


def test_an_order_of_another_merchant_is_401(till: Till) -> None:
    order_id = till.create(10.00).json()["orderId"]
    till.headers["partpay-merchantid"] = "1002"
    assert till.status(order_id).status_code == 401


# Create


def test_create_tells_the_order_with_a_code_that_says_its_address(till: Till) -> None:
    answer = till.create(12.00)
    told = answer.json()
    assert answer.status_code == 201
    assert set(told) == {"orderId", "orderNumber", "orderExpiry", "qrCode"}
    assert read(base64.b64decode(told["qrCode"])) == [f"{CUSTOMER_URL}/{told['orderId']}"]
    date = parsedate_to_datetime(answer.headers["Date"])
    life = datetime.fromisoformat(told["orderExpiry"]) - date
    assert timedelta(seconds=599) < life <= timedelta(seconds=601)


def test_created_twice_with_the_key_gives_the_first_answer(till: Till) -> None:
    reference = till.reference()
    first, second = till.create(12.00, reference), till.create(12.00, reference)
    assert (second.status_code, second.json()) == (201, first.json())


def test_created_twice_without_the_key_is_302_with_the_id_in_location_only(till: Till) -> None:
    reference = till.reference()
    order_id = till.create(12.00, reference).json()["orderId"]
    again = till.create(12.00, reference, key=False)
    assert (again.status_code, again.content) == (302, b"")
    assert again.headers["location"] == f"{till.url}/terminal/order/{order_id}/status"


def test_a_gateway_reference_used_before_is_302_too(till: Till) -> None:
    till.create(12.00, "one")
    again = till.create(12.00, "one", key=False, merchantReference="another")
    assert again.status_code == 302


def test_the_same_key_with_another_amount_is_422(till: Till) -> None:
    till.create(12.00, "one")
    assert till.create(13.00, "one").status_code == 422


@pytest.mark.parametrize(
    ("content", "properties"),
    [
        ({}, {"amount", "merchantReference", "gatewayReference"}),
        ({"amount": 0}, {"amount"}),
        ({"amount": -1.0}, {"amount"}),
        ({"amount": 1.005}, {"amount"}),
        ({"amount": "12.50"}, {"amount"}),
        ({"amount": True}, {"amount"}),
        ({"amount": 1e300}, {"amount"}),
        ({"amount": 1.0, "callbackUrl": "no address"}, {"callbackUrl"}),
        ({"amount": 1.0, "merchantReference": ""}, {"merchantReference"}),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_create_is_told_by_property(
    till: Till, content: dict[str, Any], properties: set[str]
) -> None:
    if content:
        content = {"merchantReference": "m", "gatewayReference": "g"} | content
    answer = till.post("/terminal/order", content)
    assert answer.status_code == 400
    assert {error["propertyName"] for error in answer.json()["errors"]} == properties


def test_content_that_is_no_json(till: Till) -> None:
    headers = till.headers | {"Content-Type": "application/json"}
    for body in (b"{", b"[]", b"\xff", b"[" * 100_000):
        answer = requests.post(f"{till.url}/terminal/order", data=body, headers=headers)
        assert (answer.status_code, answer.json()["errorCode"]) == (400, "invalid_json")
    as_form = requests.post(f"{till.url}/terminal/order", data={"a": "1"}, headers=till.headers)
    assert as_form.status_code == 415


@pytest.mark.parametrize("amount", [12.29, 0.01, 1e9, 19.98])
def test_amounts_come_back_as_they_went(till: Till, sandbox: Sandbox, amount: float) -> None:
    reference = till.reference()
    till.create(amount, reference, key=False)
    (order,) = sandbox.orders(gateway_reference=reference)
    assert order["amount_minor"] == round(amount * 100)
    assert till.order(order["order_id"]).json()["amount"] == amount


# Order, status, cancel, refund


def test_order_and_status(till: Till, sandbox: Sandbox) -> None:
    reference = till.reference()
    made = till.create(12.00, reference).json()
    told = till.order(made["orderId"]).json()
    assert told == made | {
        "status": "pending",
        "amount": 12.0,
        "merchantReference": reference,
        "gatewayReference": reference,
    }
    sandbox.approve(made["orderId"])
    assert till.status(made["orderId"]).json() == {
        "orderNumber": made["orderNumber"],
        "status": "approved",
    }
    assert "qrCode" not in till.order(made["orderId"]).json()
    assert till.status("no-such-order").status_code == 404


def test_orders_expire(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00).json()["orderId"]
    sandbox.clock.go_on(601)
    assert till.status(order_id).json()["status"] == "expired"


def test_cancel_and_an_error_where_it_is_final(till: Till) -> None:
    order_id = till.create(12.00).json()["orderId"]
    assert till.post(f"/terminal/order/{order_id}/cancel", {}).status_code == 400
    done = till.cancel(order_id)
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    again = till.cancel(order_id)
    assert (again.status_code, again.json()["errorCode"]) == (400, "order_final")


def test_refund_once_for_a_reference_and_never_more_than_the_amount(
    till: Till, sandbox: Sandbox
) -> None:
    order_id = till.create(12.00).json()["orderId"]
    assert till.refund(order_id, 5.00).json()["errorCode"] == "not_refundable"
    sandbox.approve(order_id)
    first = till.refund(order_id, 5.00)
    assert first.status_code == 200
    assert till.refund(order_id, 5.00).json() == first.json()
    above = till.refund(order_id, 7.01, "R-2")
    assert (above.status_code, above.json()["errors"][0]["propertyName"]) == (400, "amount")
    assert till.refund(order_id, 7.00, "R-2").status_code == 200
    assert sandbox.order(order_id)["kept_minor"] == 0
    bare = till.post(f"/terminal/order/{order_id}/refund", {})
    assert {e["propertyName"] for e in bare.json()["errors"]} == {
        "amount",
        "merchantRefundReference",
        "operator",
    }


# The rows of cents


@pytest.mark.parametrize(
    ("amount", "status"), [(10.01, "approved"), (10.02, "complete"), (10.05, "declined"),
                           (10.06, "cancelled"), (10.07, "expired"), (10.08, "expired")]
)  # fmt: skip
def test_what_customers_do_by_themselves(
    till: Till, sandbox: Sandbox, amount: float, status: str
) -> None:
    order_id = till.create(amount).json()["orderId"]
    assert till.status(order_id).json()["status"] == "pending"
    sandbox.clock.go_on(3.1)
    assert till.status(order_id).json()["status"] == status


def test_approved_at_once(till: Till) -> None:
    order_id = till.create(10.04).json()["orderId"]
    assert till.status(order_id).json()["status"] == "approved"


def test_auto_approves_what_waits_but_not_who_stays_away(till: Till, sandbox: Sandbox) -> None:
    assert sandbox.settings(auto_s=2)["auto_s"] == 2
    waits, away = (till.create(a).json()["orderId"] for a in (10.00, 10.09))
    sandbox.clock.go_on(2.1)
    assert till.status(waits).json()["status"] == "approved"
    assert till.status(away).json()["status"] == "pending"


def test_202_from_create(till: Till) -> None:
    assert till.create(10.10).status_code == 202


def test_a_url_in_place_of_the_picture(till: Till) -> None:
    told = till.create(10.11).json()
    assert "qrCode" not in told
    picture = requests.get(told["qrCodeUrl"])
    assert picture.headers["content-type"] == "image/jpeg"
    assert read(picture.content) == [f"{CUSTOMER_URL}/{told['orderId']}"]
    assert requests.get(till.create(10.18).json()["qrCodeUrl"]).status_code == 404


def test_orders_without_a_good_picture(till: Till) -> None:
    def both(amount: float) -> tuple[str | None, str | None]:
        made = till.create(amount).json()
        return made.get("qrCode"), till.order(made["orderId"]).json().get("qrCode")

    assert both(10.12) == (None, None)
    created, asked = both(10.13)
    assert created is None
    assert asked is not None
    assert len(read(base64.b64decode(asked))) == 1
    assert [read(base64.b64decode(text or "")) for text in both(10.14)] == [[], []]
    assert [len(read(base64.b64decode(text or ""))) for text in both(10.15)] == [0, 1]


def test_ways_to_write_the_expiry(till: Till) -> None:
    assert "orderExpiry" not in till.create(10.24).json()
    assert till.create(10.25).json()["orderExpiry"].endswith("+13:00")
    short, false = (till.create(a) for a in (10.07, 10.08))
    assert _life_s(short) < 5
    assert _life_s(false) > 590


def _life_s(answer: requests.Response) -> float:
    expiry = datetime.fromisoformat(answer.json()["orderExpiry"])
    return (expiry - parsedate_to_datetime(answer.headers["Date"])).total_seconds()


def test_a_lost_answer_and_the_same_key(till: Till, sandbox: Sandbox) -> None:
    reference = till.reference()
    with pytest.raises(requests.ConnectionError):
        till.create(10.30, reference)
    (order,) = sandbox.orders()
    assert till.create(10.30, reference).json()["orderId"] == order["order_id"]


@pytest.mark.parametrize(("amount", "has_picture"), [(10.31, True), (10.32, False)])
def test_a_lost_answer_and_a_302(
    till: Till, sandbox: Sandbox, amount: float, has_picture: bool
) -> None:
    reference = till.reference()
    with pytest.raises(requests.ConnectionError):
        till.create(amount, reference)
    again = till.create(amount, reference)
    (order,) = sandbox.orders()
    assert again.headers["location"].endswith(f"/{order['order_id']}/status")
    assert ("qrCode" in till.order(order["order_id"]).json()) is has_picture


def test_after_a_302_without_a_picture_new_references_go_well_and_then_it_begins_anew(
    till: Till,
) -> None:
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            till.create(10.32)
        assert "qrCode" in till.create(10.32).json()


def test_a_create_that_never_arrived(till: Till, sandbox: Sandbox) -> None:
    reference = till.reference()
    with pytest.raises(requests.ConnectionError):
        till.create(10.33, reference)
    assert sandbox.orders() == []
    assert till.create(10.33, reference).status_code == 201


def test_an_answer_cut_in_its_middle(till: Till, sandbox: Sandbox) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        till.create(10.34)
    assert len(sandbox.orders()) == 1


def test_500_once(till: Till, sandbox: Sandbox) -> None:
    reference = till.reference()
    assert till.create(10.35, reference).status_code == 500
    assert sandbox.orders() == []
    assert till.create(10.35, reference).status_code == 201


def test_500_kept_under_the_key(till: Till) -> None:
    reference = till.reference()
    first, second = till.create(10.36, reference), till.create(10.36, reference)
    assert (first.status_code, second.status_code) == (500, 500)
    assert first.content == second.content
    assert till.create(10.36, reference, key=False).status_code == 302


def test_429_and_503_with_retry_after(till: Till) -> None:
    for amount, status in ((10.37, 429), (10.38, 503)):
        reference = till.reference()
        first = till.create(amount, reference)
        assert (first.status_code, first.headers["retry-after"]) == (status, "2")
        assert till.create(amount, reference).status_code == 201


def test_302_to_an_order_of_another_till(till: Till) -> None:
    first = till.create(10.41)
    assert first.status_code == 302
    order_id = first.headers["location"].split("/")[-2]
    told = till.order(order_id).json()
    assert told["gatewayReference"].startswith("OTHER-")
    assert till.create(10.41).status_code == 201


@pytest.mark.parametrize(
    ("amount", "status", "shape"),
    [
        (10.50, 400, {"message"}),
        (10.51, 400, {"title", "detail", "type", "traceId", "errorCode"}),
        (10.52, 400, {"isValid", "errors"}),
        (10.53, 400, {"isValid", "errors"}),
        (10.54, 400, {"isValid", "errors"}),
        (10.55, 400, None),
        (10.56, 422, {"title", "detail", "type", "traceId", "errorCode"}),
        (10.57, 401, None),
        (10.58, 403, None),
    ],
)
def test_the_shapes_of_errors(
    till: Till, amount: float, status: int, shape: set[str] | None
) -> None:
    reference = till.reference()
    for answer in (till.create(amount, reference), till.create(amount, reference)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert (set(answer.json()) if answer.content else None) == shape


def test_a_proxys_html(till: Till) -> None:
    answer = till.create(10.59)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("amount", "cancel", "after_s", "status"),
    [
        (10.70, 202, 2.1, "cancelled"),
        (10.71, 400, 0.0, "approved"),
        (10.72, 202, 0.6, "approved"),
        (10.73, 202, 29.0, "pending"),
        (10.73, 202, 31.0, "approved"),
    ],
)
def test_cancel_against_the_customer(
    till: Till, sandbox: Sandbox, amount: float, cancel: int, after_s: float, status: str
) -> None:
    order_id = till.create(amount).json()["orderId"]
    assert till.cancel(order_id).status_code == cancel
    if cancel == 202:
        assert till.status(order_id).json()["status"] == "pending"
    sandbox.clock.go_on(after_s)
    assert till.status(order_id).json()["status"] == status


def test_cancel_that_fails_and_cancel_whose_answer_is_lost(till: Till) -> None:
    fails, lost = (till.create(a).json()["orderId"] for a in (10.74, 10.75))
    assert till.cancel(fails).status_code == 500
    assert till.status(fails).json()["status"] == "pending"
    assert till.cancel(fails).status_code == 200
    with pytest.raises(requests.ConnectionError):
        till.cancel(lost)
    assert till.status(lost).json()["status"] == "cancelled"


def test_what_status_tells(till: Till, sandbox: Sandbox) -> None:
    def told(amount: float, times: int = 1) -> list[Any]:
        order_id = till.create(amount).json()["orderId"]
        sandbox.approve(order_id)
        answers = [till.status(order_id) for _ in range(times)]
        return [a.json()["status"] if a.status_code == 200 else a.status_code for a in answers]

    assert told(10.80, 4) == ["processing"] * 3 + ["approved"]
    assert told(10.81, 4) == [404] * 3 + ["approved"]
    assert told(10.82, 4) == [500, "approved", 500, "approved"]
    assert told(10.83, 3) == ["pending"] * 3
    assert told(10.87, 2) == [401, "approved"]
    assert told(10.88, 2) == [429, "approved"]


def test_status_and_order_that_tell_what_is_not_so(till: Till) -> None:
    def order(amount: float) -> tuple[dict[str, Any], dict[str, Any]]:
        made = till.create(amount).json()
        return made, till.order(made["orderId"]).json()

    made, told = order(10.84)
    assert told["orderId"] != made["orderId"]
    assert order(10.85)[1]["amount"] == 10.86
    made, told = order(10.86)
    assert told["amount"] == "10.86"
    assert till.status(made["orderId"]).json()["amount"] == "10.86"


def test_refunds_that_go_wrong(till: Till, sandbox: Sandbox) -> None:
    def paid(amount: float) -> str:
        order_id: str = till.create(amount).json()["orderId"]
        sandbox.approve(order_id)
        return order_id

    order_id = paid(10.90)
    assert [till.refund(order_id, 1.0, "R-90").status_code for _ in range(2)] == [500, 200]
    order_id = paid(10.91)
    with pytest.raises(requests.ConnectionError):
        till.refund(order_id, 1.0, "R-91")
    assert till.refund(order_id, 1.0, "R-91").status_code == 200
    assert sandbox.order(order_id)["refunded_minor"] == 100
    order_id = paid(10.92)
    assert till.refund(order_id, 1.0, "R-92").status_code == 500
    assert sandbox.order(order_id)["refunded_minor"] == 100
    refused = till.refund(paid(10.94), 1.0, "R-92")
    assert refused.status_code == 429
    reused = till.refund(paid(10.00), 1.0, "R-92")
    assert (reused.status_code, reused.json().keys()) == (400, {"message"})
    assert till.refund(paid(10.93), 1.0).json().keys() == {"message"}


# Callbacks


def test_a_callback_when_an_order_becomes_final(
    till: Till, sandbox: Sandbox, listener: Listener
) -> None:
    reference = till.reference()
    made = till.create(12.00, reference, callbackUrl=listener.url).json()
    sandbox.decline(made["orderId"])
    sandbox.wait_for_callbacks(made["orderId"])
    (body,) = listener.bodies
    signed_part, _, signature = body.rpartition(b"&signature=")
    assert signed_part.decode() == (
        f"orderId={made['orderId']}&orderNumber={made['orderNumber']}&orderStatus=declined"
        f"&gatewayReference={reference}&merchantReference={reference}"
    )
    right = hmac.new(b"a key for tests 1001", signed_part, sha256).hexdigest()
    assert signature.decode() == right


def test_a_callback_is_tried_again(till: Till, sandbox: Sandbox, listener: Listener) -> None:
    listener.statuses = [503, 500]
    order_id = till.create(12.00, callbackUrl=listener.url).json()["orderId"]
    sandbox.approve(order_id)
    tries = sandbox.wait_for_callbacks(order_id, 3)
    assert [t["http_status"] for t in tries] == [503, 500, 200]


def test_callbacks_never_twice_forged_and_false(
    till: Till, sandbox: Sandbox, listener: Listener
) -> None:
    def approved(amount: float, callbacks: int) -> list[dict[str, str]]:
        listener.bodies.clear()
        order_id = till.create(amount, callbackUrl=listener.url).json()["orderId"]
        sandbox.approve(order_id)
        if callbacks:
            sandbox.wait_for_callbacks(order_id, callbacks)
        return listener.fields()

    assert approved(10.60, 0) == []
    twice = approved(10.61, 2)
    assert twice[0] == twice[1]
    forged, right = approved(10.65, 2)
    assert forged.pop("signature") != right.pop("signature")
    assert forged == right
    assert [told["orderStatus"] for told in approved(10.66, 1)] == ["declined"]
    assert len(approved(10.68, 100)) == 100
    sandbox.settings(callbacks=False)
    assert approved(10.61, 0) == []


def test_the_callback_before_the_answer_to_create(
    till: Till, sandbox: Sandbox, listener: Listener
) -> None:
    answered = threading.Event()
    before: list[bool] = []
    listener.came = lambda: before.append(not answered.is_set())
    told = till.create(10.62, callbackUrl=listener.url).json()
    answered.set()
    assert before == [True]
    assert listener.fields()[0]["orderId"] == told["orderId"]
    assert [t["http_status"] for t in sandbox.callbacks(told["orderId"])] == [200]


# Names


def test_everything_assumed_can_have_another_name() -> None:
    names = Names(
        create_path="/v2/orders",
        order_path="/v2/orders/{order_id}",
        merchant_header="x-merchant",
        qr_code_field="image",
    )
    with running(books(), key_of=lambda _merchant_id: "key", names=names) as url:
        till = Till(url).log_in()
        till.headers["x-merchant"] = "1001"
        made = till.post(
            "/v2/orders", {"amount": 1.0, "merchantReference": "m", "gatewayReference": "g"}
        )
        assert made.status_code == 201
        assert "image" in made.json()
        assert till.get(f"/v2/orders/{made.json()['orderId']}").json()["status"] == "pending"
        assert till.post("/terminal/order", {}).status_code == 404
