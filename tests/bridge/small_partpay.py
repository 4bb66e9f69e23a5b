"""PartPay with small books, for the stateful test: what it was asked, what it then knows, what it answers.

It has the methods of `bridge.partpay.orders.Orders`, so that `carrier.call` asks it in the daemon's own words. It
imports nothing that decides; what an order is worth in the end is judged by these books.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.partpay.answers import (
    AlreadyExists,
    CancelTaken,
    CreateAnswer,
    Created,
    Inline,
    NoAnswer,
    Refunded,
    Refused,
    Told,
)

PICTURE = Inline(b"jpeg")


@dataclass
class Order:
    order_id: str
    number: str
    gateway_reference: str
    merchant_reference: str
    amount_minor: int
    status: str = "pending"
    cancelling: bool = False
    refunds: dict[str, int] = field(default_factory=dict)
    callbacks: list[str] = field(default_factory=list)
    """Final statuses that were not yet told by callback, and taken."""

    @property
    def paid(self) -> bool:
        return self.status in ("approved", "complete")

    @property
    def kept_minor(self) -> int:
        return self.amount_minor - sum(self.refunds.values()) if self.paid else 0

    @property
    def counter(self) -> int:
        return int(self.gateway_reference.split("-")[2])


class SmallPartPay:
    """Several orders; `told_more` False leaves out of answers what PartPay need not tell."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.told_more = True
        self.cancels_later = False
        self._answered: dict[str, Order] = {}

    def order_of(self, order_id: str) -> Order | None:
        return next((order for order in self.orders if order.order_id == order_id), None)

    def close(self, order: Order, status: str) -> None:
        """The order is final; a callback is to be sent."""
        if order.status == "pending":
            order.status = status
            order.cancelling = False
            order.callbacks.append(status)

    def _told(self, order: Order, *, picture: bool) -> Told:
        return Told(
            order_id=order.order_id,
            order_number=order.number,
            status=order.status,
            gateway_reference=order.gateway_reference if self.told_more else None,
            merchant_reference=order.merchant_reference if self.told_more else None,
            amount_minor=order.amount_minor if self.told_more else None,
            life_s=600.0 if self.told_more else None,
            picture=PICTURE if picture else None,
        )

    # The methods of Orders; `merchant` and the deadlines mean nothing here.

    def create(
        self,
        merchant: object,
        *,
        terminal_id: str,
        amount_minor: int,
        merchant_reference: str,
        gateway_reference: str,
        deadline_s: float,
        with_key: bool = True,
    ) -> CreateAnswer:
        if with_key and (known := self._answered.get(gateway_reference)) is not None:
            return Created(self._told(known, picture=True))
        for order in self.orders:
            if order.merchant_reference == merchant_reference:
                return AlreadyExists(order.order_id)
        number = len(self.orders) + 1
        order = Order(
            f"order-{number}", f"number-{number}", gateway_reference, merchant_reference,
            amount_minor,
        )  # fmt: skip
        self.orders.append(order)
        if with_key:
            self._answered[gateway_reference] = order
        return Created(self._told(order, picture=True))

    def order(
        self, merchant: object, *, terminal_id: str, order_id: str, deadline_s: float
    ) -> Told | NoAnswer:
        order = self.order_of(order_id)
        return self._told(order, picture=True) if order else NoAnswer("404", not_found=True)

    def status(
        self, merchant: object, *, terminal_id: str, order_id: str, deadline_s: float
    ) -> Told | NoAnswer:
        order = self.order_of(order_id)
        return self._told(order, picture=False) if order else NoAnswer("404", not_found=True)

    def cancel(
        self, merchant: object, *, terminal_id: str, order_id: str, operator: str, deadline_s: float
    ) -> CancelTaken:
        order = self.order_of(order_id)
        if order is None:
            return CancelTaken(404)
        if order.status != "pending":
            return CancelTaken(409)
        if self.cancels_later:
            order.cancelling = True
            return CancelTaken(202)
        self.close(order, "cancelled")
        return CancelTaken(200)

    def refund(
        self,
        merchant: object,
        *,
        terminal_id: str,
        order_id: str,
        amount_minor: int,
        refund_reference: str,
        operator: str,
        deadline_s: float,
    ) -> Refunded | Refused:
        order = self.order_of(order_id)
        if order is None or not order.paid:
            return Refused(400, "not paid")
        if refund_reference in order.refunds:
            return Refunded()
        if amount_minor > order.kept_minor:
            return Refused(400, "exceeds what is left")
        order.refunds[refund_reference] = amount_minor
        return Refunded()
