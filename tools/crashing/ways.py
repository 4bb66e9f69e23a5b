"""The ways that money can take: what people do, and what must be true in the end.

People do not know that the daemon dies: each waits for what they would wait for, and does what they would do. What is
judged is PartPay's own books and what the terminal heard, never the bridge's opinion of itself alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tools.crashing.shop import NotSo, Shop

AMOUNT_MINOR: Final = 12500
NOBODY_PAYS: Final = 12509
"""By its cents (sandbox): nobody pays, and the order stays pending."""
CANCEL_FAILS: Final = 12576
"""By its cents: a cancel is answered by 500 for ever, and nothing is done."""
REFUND_MINOR: Final = 2500


@dataclass(frozen=True, slots=True)
class Way:
    """`go` plays it to its end; `codes` are the outcomes by counter; `kept_minor` what PartPay keeps of it."""

    name: str
    go: Callable[[Shop], None]
    codes: tuple[str, ...]
    kept_minor: int


def _ready(shop: Shop) -> None:
    shop.until(lambda: shop.happened("ready", paired=True), "the terminal is ready")


def _code(shop: Shop, counter: int) -> dict[str, Any]:
    """The order that the panel shows."""
    shop.until(lambda: shop.happened("image", counter=counter), "a code is on the panel")
    image = next(e for e in shop.terminal.events if e.matches("image", {"counter": counter}))
    return shop.sandbox.order(image["code"].rsplit("/", 1)[1])


def _closed(shop: Shop, counter: int) -> None:
    shop.until(lambda: shop.happened("closed", counter=counter), f"{counter} is closed")


def _approve(shop: Shop) -> None:
    _ready(shop)
    counter = shop.terminal.sale(AMOUNT_MINOR)
    shop.sandbox.approve(_code(shop, counter)["order_id"])
    _closed(shop, counter)


def _cancel(shop: Shop) -> None:
    _ready(shop)
    counter = shop.terminal.sale(NOBODY_PAYS)
    _code(shop, counter)
    shop.terminal.cancel()
    _closed(shop, counter)


def _reversal(shop: Shop) -> None:
    """The customer pays after the terminal was told that nothing was paid."""
    _ready(shop)
    counter = shop.terminal.sale(CANCEL_FAILS)
    order = _code(shop, counter)
    shop.terminal.cancel()
    _closed(shop, counter)
    shop.sandbox.approve(order["order_id"])
    shop.until(lambda: shop.sandbox.order(order["order_id"])["kept_minor"] == 0, "it is given back")


def _refund(shop: Shop) -> None:
    _approve(shop)
    shop.until(lambda: bool(shop.received("OUTCOME", counter=1)), "the sale's outcome")
    counter = shop.terminal.refund(1, REFUND_MINOR)
    _closed(shop, counter)


WAYS: Final = {
    way.name: way
    for way in (
        Way("approve", _approve, ("00",), AMOUNT_MINOR),
        Way("cancel", _cancel, ("17",), 0),
        Way("reversal", _reversal, ("17",), 0),
        Way("refund", _refund, ("00", "00"), AMOUNT_MINOR - REFUND_MINOR),
    )
}


def judge(shop: Shop, way: Way) -> None:
    """Raises NotSo where anything is not as it must be, once all has settled."""
    for counter, code in enumerate(way.codes, start=1):
        told = {event["response_code"] for event in shop.received("OUTCOME", counter=counter)}
        if told != {code}:
            raise NotSo(f"counter {counter} was told {told}, not {code}")
    orders = shop.orders()
    kept = sum(order["kept_minor"] for order in orders)
    if kept != way.kept_minor:
        raise NotSo(f"PartPay keeps {kept}, not {way.kept_minor}: {orders}")
    if len([order for order in orders if order["paid_minor"] > 0]) > 1:
        raise NotSo(f"paid more than once: {orders}")
    if open_ := [order["order_id"] for order in orders if order["status"] == "pending"]:
        raise NotSo(f"still to be paid: {open_}")
    for order in orders:
        answers = [said["http_status"] for said in shop.sandbox.callbacks(order["order_id"])]
        if wrong := [answer for answer in answers if answer not in (200, 503, None)]:
            raise NotSo(f"a callback of ours was answered {wrong}")
