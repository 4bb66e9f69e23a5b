"""The control API through its Python client, and the page."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from tools.sandbox import scenarios
from tools.sandbox.client import SandboxError

if TYPE_CHECKING:
    from tests.tools.sandbox.conftest import Listener, Sandbox, Till


def test_orders_are_found_by_their_fields(till: Till, sandbox: Sandbox) -> None:
    first, second = (till.create(a).json()["orderId"] for a in (12.00, 13.00))
    sandbox.approve(first)
    assert [o["order_id"] for o in sandbox.orders(status="pending")] == [second]
    assert [o["order_id"] for o in sandbox.orders(amount_minor=1200)] == [first]
    assert [o["order_id"] for o in sandbox.orders(terminal_id="00000042")] == [first, second]
    assert sandbox.orders(terminal_id="1") == []
    assert sandbox.order(first)["merchant_name"] == "Kōwhai Books"


def test_waiting_returns_as_soon_as_it_is_so(till: Till, sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sandbox.wait_for_order, status="pending")
        order_id = till.create(12.00).json()["orderId"]
        assert waiting.result(10)["order_id"] == order_id


def test_waiting_in_vain_says_what_there_was(till: Till, sandbox: Sandbox) -> None:
    till.create(12.00, "one")
    with pytest.raises(SandboxError, match=r"0 orders match .*'one', 'pending'"):
        sandbox.wait_for_order(wait_s=0.01, status="approved")
    with pytest.raises(SandboxError, match="'create', 201"):
        sandbox.wait_for_calls(wait_s=0.01, call="cancel")
    with pytest.raises(SandboxError, match="0 callbacks"):
        sandbox.wait_for_callbacks("x", wait_s=0.01)


def test_a_change_wakes_the_page(till: Till, sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/sandbox/orders"
    version = requests.get(url).json()["version"]
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(requests.get, f"{url}?since={version}&wait_s=10")
        till.create(12.00)
        told = following.result(10).json()
    assert told["version"] != version
    assert len(told["orders"]) == 1


def test_what_is_final_cannot_be_decided_again(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00).json()["orderId"]
    assert sandbox.decline(order_id)["status"] == "declined"
    with pytest.raises(SandboxError, match=r"409 .*declined already"):
        sandbox.approve(order_id)
    with pytest.raises(SandboxError, match="404"):
        sandbox.approve("x")
    with pytest.raises(SandboxError, match="404"):
        sandbox.order("x")


def test_a_person_refunds_in_the_portal(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00).json()["orderId"]
    with pytest.raises(SandboxError, match="409"):
        sandbox.refund(order_id)
    sandbox.approve(order_id)
    assert sandbox.refund(order_id, 200)["kept_minor"] == 1000
    assert sandbox.refund(order_id)["kept_minor"] == 0
    assert till.refund(order_id, 12.00).status_code == 400


def test_a_fault_on_the_next_call_of_a_kind(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00).json()["orderId"]
    sandbox.put_fault("status", "error-500", times=2)
    assert till.order(order_id).status_code == 200
    assert [till.status(order_id).status_code for _ in range(3)] == [500, 500, 200]


def test_a_fault_until_it_is_cleared(till: Till, sandbox: Sandbox) -> None:
    sandbox.put_fault("any", "too-many", times=0)
    assert [till.token().status_code, till.create(1.0).status_code] == [429, 429]
    assert [put["fault"] for put in sandbox.faults()["put"]] == ["too-many"]
    sandbox.clear_faults()
    assert till.create(12.00).status_code == 201


def test_a_fault_for_one_order_or_merchant_only(till: Till, sandbox: Sandbox) -> None:
    one, other = (till.create(12.00).json()["orderId"] for _ in range(2))
    sandbox.put_fault("status", "not-found", order_id=other)
    assert [till.status(o).status_code for o in (one, other)] == [200, 404]
    sandbox.put_fault("create", "forbidden", merchant_id="1002")
    assert till.create(12.00).status_code == 201
    till.headers["partpay-merchantid"] = "1002"
    assert till.create(12.00).status_code == 403


def test_any_answer_at_all(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00).json()["orderId"]
    sandbox.put_fault(
        "status",
        "answer",
        status=418,
        acts=False,
        body={"status": "approved"},
        headers={"X-Odd": "1"},
    )
    answer = till.status(order_id)
    assert (answer.status_code, answer.json()) == (418, {"status": "approved"})
    assert answer.headers["x-odd"] == "1"


def test_every_fault_can_be_put_on_a_status_call(till: Till, sandbox: Sandbox) -> None:
    for name, fault in scenarios.FAULTS.items():
        if fault.held or fault.wire is scenarios.Wire.DRIP:
            continue
        order_id = till.create(12.00).json()["orderId"]
        sandbox.put_fault("status", name, delay_s=0.0)
        broken = fault.wire is not scenarios.Wire.WHOLE
        try:
            answer = till.status(order_id)
        except requests.RequestException:
            assert broken, name
        else:
            # http.client takes a header that ends early for a whole one: 200, and nothing in it.
            assert not broken or (name, answer.content) == ("answer-cut-head", b""), name
            assert answer.status_code == (fault.status or 200), name
        assert sandbox.faults()["put"] == []


def test_a_call_held_until_it_is_released(till: Till, sandbox: Sandbox) -> None:
    sandbox.put_fault("create", "request-held")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(till.create, 12.00, "one")
        (seen,) = sandbox.wait_for_calls(call="create")
        assert seen["status"] is None
        assert sandbox.orders() == []
        assert len(sandbox.faults()["holding"]) == 1
        assert sandbox.release() == 1
        order_id = late.result(10).json()["orderId"]
        sandbox.put_fault("cancel", "held")
        cancelled = pool.submit(till.cancel, order_id)
        sandbox.wait_for_order(order_id=order_id, status="cancelled")
        assert not cancelled.done()
        sandbox.clear_faults()
        assert cancelled.result(10).status_code == 200


def test_an_unknown_fault_or_call_is_refused_with_what_there_is(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"400 .*no fault 'gone'; there are: request-lost"):
        sandbox.put_fault("status", "gone")
    with pytest.raises(SandboxError, match="no call 'stat'"):
        sandbox.put_fault("stat", "slow")


def test_the_calls_that_came_hold_no_secret(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00, "one").json()["orderId"]
    till.status(order_id)
    calls = sandbox.calls()
    assert [(c["call"], c["status"]) for c in calls] == [
        ("token", 200),
        ("create", 201),
        ("status", 200),
    ]
    assert calls[1]["content"]["gatewayReference"] == "one"
    assert (calls[1]["order_id"], calls[1]["idempotency_key"]) == (order_id, "one")
    assert "secret" not in str(calls)
    assert till.headers["Authorization"].split()[1] not in str(calls)


def test_the_books_in_figures(till: Till, sandbox: Sandbox) -> None:
    paid, open_ = (till.create(a).json()["orderId"] for a in (12.00, 13.00))
    sandbox.approve(paid)
    till.refund(paid, 2.00)
    books = sandbox.books()
    assert books["pending"] == [open_]
    assert books["all"]["kept_minor"] == 1000
    assert books["merchants"]["1001"]["by_status"]["approved"] == 1
    assert books["merchants"]["1002"]["orders"] == 0


def test_callbacks_of_any_kind(till: Till, sandbox: Sandbox, listener: Listener) -> None:
    order_id = till.create(12.00, callbackUrl=listener.url).json()["orderId"]
    sandbox.send_callback(order_id, status="approved")
    sandbox.send_callback(order_id, forged=True)
    sandbox.send_callback(order_id, fields=[["orderStatus", "a"], ["orderStatus", "b"]])
    sandbox.send_callback(order_id, raw="anything")
    told = listener.fields()
    assert told[0]["orderStatus"] == "approved"
    assert told[1]["orderStatus"] == "pending"
    assert listener.bodies[2].startswith(b"orderStatus=a&orderStatus=b&signature=")
    assert listener.bodies[3] == b"anything"
    listener.statuses = [401]
    assert sandbox.send_callback(order_id)["http_status"] == 401
    bare = till.create(12.00).json()["orderId"]
    with pytest.raises(SandboxError, match="no callback URL"):
        sandbox.send_callback(bare)


def test_the_page_is_whole_without_anything_from_elsewhere(till: Till, sandbox: Sandbox) -> None:
    order_id = till.create(12.00).json()["orderId"]
    for path in ("/", f"/order/{order_id}"):
        page = requests.get(sandbox.url + path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "width=device-width" in page.text
        assert not re.search(r'(src|href)\s*=\s*"(https?:)?//', page.text)
        assert "<td>.05</td><td>declined by itself after 1 s</td>" in page.text
        for scenario in scenarios.SCENARIOS.values():
            assert scenario.what.replace('"', "&quot;") in page.text
    code = requests.get(f"{sandbox.url}/sandbox/orders/{order_id}/code.svg")
    assert code.headers["content-type"] == "image/svg+xml"
    assert "<svg" in code.text
    assert requests.get(f"{sandbox.url}/sandbox/orders/x/code.svg").status_code == 404


def test_every_field_and_route_that_the_page_uses_is_there(till: Till, sandbox: Sandbox) -> None:
    page = requests.get(sandbox.url).text
    order_id = till.create(12.00).json()["orderId"]
    used = set(re.findall(r"\border\.([a-z_]+)", page))
    assert "merchant_name" in used
    assert used <= set(sandbox.order(order_id))
    for act in re.findall(r'act\(order, "(\w+)"', page):
        assert requests.post(f"{sandbox.url}/sandbox/orders/{order_id}/{act}").status_code in (
            200,
            409,
        )


def test_wrong_requests_of_the_control_api(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/sandbox"
    assert requests.post(f"{url}/faults", data=b"[]").status_code == 400
    assert requests.post(f"{url}/faults", data=b"{").status_code == 400
    assert requests.get(f"{url}/orders?wait_s=soon").status_code == 400
    assert requests.delete(f"{url}/orders").status_code == 405
    assert requests.get(f"{url}/nothing").status_code == 404
