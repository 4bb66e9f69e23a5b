"""Callbacks: PartPay's own published signature, the order of fields, and trying again."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from tools.sandbox import callbacks
from tools.sandbox.books import Order, Status
from tools.sandbox.callbacks import Sender, Try

if TYPE_CHECKING:
    from tests.tools.sandbox.conftest import Listener

PUBLISHED = Order(
    order_id="123e4567-e89b-12d3-a456-426655440000",
    order_number="181211-303902",
    merchant_id="1001",
    terminal_id=None,
    amount_minor=100,
    merchant_reference="87654321",
    gateway_reference="ab3902094330",
    callback_url=None,
    created_at=0.0,
    expires_at=600.0,
    status=Status.APPROVED,
)
PUBLISHED_KEY = "iDt3PoeoSHu3r/mTbzkaHg"
PUBLISHED_BODY = (
    b"orderId=123e4567-e89b-12d3-a456-426655440000&orderNumber=181211-303902&orderStatus=approved"
    b"&gatewayReference=ab3902094330&merchantReference=87654321"
    b"&signature=016df815e41f06afd4b35cae1ad1764a147230192ab125d5d7b0c3a65c3f3b42"
)


def test_the_example_that_partpay_publishes() -> None:
    assert callbacks.signed(callbacks.fields(PUBLISHED), PUBLISHED_KEY) == PUBLISHED_BODY


def test_values_are_form_encoded_before_they_are_signed() -> None:
    order = replace(PUBLISHED, merchant_reference="INV 1/2&é")
    body = callbacks.signed(callbacks.fields(order), PUBLISHED_KEY)
    assert b"&merchantReference=INV+1%2F2%26%C3%A9&signature=" in body


class Tries:
    """Lets a test wait for the n-th try."""

    def __init__(self) -> None:
        self._counted = threading.Semaphore(0)

    def tried(self, _try: Try) -> None:
        self._counted.release()

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self._counted.acquire(timeout=10)


def test_anything_but_200_is_tried_again_until_it_is_taken(listener: Listener) -> None:
    listener.statuses = [503, 302, 201]
    tries = Tries()
    sender = Sender(lambda: 7.0, pauses_s=(0.01, 0.01, 0.01, 0.01), tried=tries.tried)
    sender.send("o", listener.url, b"a=1")
    tries.wait(4)
    sender.close()
    assert [(t.number, t.http_status) for t in sender.tries] == [
        (1, 503),
        (2, 302),
        (3, 201),
        (4, 200),
    ]
    assert listener.bodies == [b"a=1"] * 4
    assert listener.heads[0]["content-type"] == "application/x-www-form-urlencoded"


def test_it_gives_up_after_its_pauses(listener: Listener) -> None:
    listener.statuses = [500] * 9
    tries = Tries()
    sender = Sender(lambda: 7.0, pauses_s=(0.01, 0.01), tried=tries.tried)
    sender.send("o", listener.url, b"a=1")
    tries.wait(3)
    sender.close()
    assert len(listener.bodies) == 3


def test_nobody_listening_is_told_as_an_error() -> None:
    sender = Sender(lambda: 7.0, pauses_s=())
    first = sender.send("o", "http://127.0.0.1:1/", b"a=1").result(10)
    assert first.http_status is None
    assert first.error is not None
    assert "Connection" in first.error
    assert sender.send("o", "no address", b"a=1").result(10).http_status is None
    sender.close()


def test_what_is_not_due_at_the_end_is_dropped(listener: Listener) -> None:
    sender = Sender(lambda: 7.0)
    sender.send("o", listener.url, b"a=1", after_s=3600.0)
    sender.close()
    assert listener.bodies == []
