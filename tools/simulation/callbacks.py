"""PartPay's callbacks: one is owed for each order that becomes final. Late, twice, out of order, forged, or never.

- What PartPay signs is signed as its page says; what is forged is known here to be forged, and must never be taken.
- A callback that was not answered by 200 is sent again, some times, unless this world's PartPay does not.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from tools.sandbox.books import Order, Status

if TYPE_CHECKING:
    from tools.simulation.world import World

SERVICE_KEY = b"service-key-0001"
SERVICE_KEY_NEXT = b"service-key-0002"
MERCHANT_KEY = b"merchant-key-0002"
STRANGERS_KEY = b"nobody-knows-this"
TRIES_MAX = 6
LIES_UNDER = ("prefer", "require")


@dataclass(frozen=True, slots=True)
class Letter:
    """One callback on its way. `genuine`: PartPay sent it so; else it must not be taken."""

    body: bytes
    order_id: str
    reference: str
    status: str
    genuine: bool = True
    mixed: bool = False
    """Genuine, but its reference and order id are those of two orders: 404, and nothing changes."""


class Callbacks:
    """Everything that is posted to the bridge's listener."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._faults = world.faults
        self._schedule = world.schedule
        self._draw = world.streams.of("callbacks")
        self.rotated = False
        self.flying = 0
        self._past: list[Letter] = []

    def owed(self, order: Order) -> None:
        """This order has become final."""
        if not self._world.callbacks_on:
            return
        faults, draw = self._faults, self._draw
        paid_or_declined = order.status.paid or order.status is Status.DECLINED
        if not paid_or_declined and draw.random() < 0.5:
            return  # PartPay's page names those two alone
        if faults.hits("callback.never"):
            return
        letter = self._letter(order, str(order.status))
        delay = draw.expovariate(8.0) + 0.01
        if faults.hits("callback.late"):
            late = faults.stream("callback.late")
            delay = late.choice((3.0, 10.0, 40.0, 400.0, 3600.0)) * late.random()
        self._send(letter, delay)
        if faults.hits("callback.word"):
            word = faults.stream("callback.word").choice(("on_hold", "refunded", "Paid?"))
            self._send(self._letter(order, word), delay * 0.5)
        if str(self._world.confirm) in LIES_UNDER and faults.hits("callback.lies"):
            lie = faults.stream("callback.lies").choice(("declined", "expired", "cancelled"))
            self._send(self._letter(order, lie), delay * 0.7)
        if faults.hits("callback.twice"):
            again = faults.stream("callback.twice")
            for _ in range(again.choice((1, 1, 2, 12))):
                self._send(letter, delay + again.choice((0.0, 0.5, 30.0)) * again.random())
        if faults.on:
            self._forge(order, letter, delay)
        self._past.append(letter)

    def _forge(self, order: Order, letter: Letter, delay: float) -> None:
        faults = self._faults
        if faults.hits("forged.key"):
            draw = faults.stream("forged.key")
            status = draw.choice(("approved", "complete", "declined"))
            key = draw.choice((STRANGERS_KEY, b""))
            self._send(self._letter(order, status, key=key, genuine=False), delay * draw.random())
        if faults.hits("forged.bit"):
            draw = faults.stream("forged.bit")
            changed = bytearray(letter.body)
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
            self._send(_forged(letter, bytes(changed)), delay * draw.uniform(0, 2))
        if self._world.merchant_keys and faults.hits("forged.order"):
            draw = faults.stream("forged.order")
            key = SERVICE_KEY if self._key(order) == MERCHANT_KEY else MERCHANT_KEY
            self._send(
                self._letter(order, "approved", key=key, genuine=False), delay * draw.uniform(0, 2)
            )
        if faults.hits("forged.shape"):
            draw = faults.stream("forged.shape")
            self._send(_forged(letter, _misshapen(letter.body, draw.randrange(5))), delay * 0.9)
        if self._past and faults.hits("forged.replay"):
            draw = faults.stream("forged.replay")
            past = draw.choice(self._past)
            if draw.random() < 0.5 or past.order_id == order.order_id:
                self._send(past, delay * draw.uniform(0, 3))
            else:
                mixed = self._letter(order, past.status, order_id=past.order_id, mixed=True)
                self._send(mixed, delay * draw.uniform(0, 3))

    def _key(self, order: Order) -> bytes:
        if order.merchant_id in self._world.merchant_keys:
            return MERCHANT_KEY
        return SERVICE_KEY_NEXT if self.rotated else SERVICE_KEY

    def _letter(
        self,
        order: Order,
        status: str,
        *,
        key: bytes | None = None,
        genuine: bool = True,
        order_id: str | None = None,
        mixed: bool = False,
    ) -> Letter:
        order_id = order_id or order.order_id
        body = (
            f"orderId={order_id}&orderNumber={order.order_number}&orderStatus={quote_plus(status)}"
            f"&gatewayReference={quote_plus(order.gateway_reference)}"
            f"&merchantReference={quote_plus(order.merchant_reference)}"
        ).encode()
        signature = hmac.new(self._key(order) if key is None else key, body, hashlib.sha256)
        signed = body + b"&signature=" + signature.hexdigest().encode()
        return Letter(signed, order_id, order.gateway_reference, status, genuine, mixed)

    # -- the post ----------------------------------------------------------------------------

    def _send(self, letter: Letter, delay: float, tries: int = 1) -> None:
        self.flying += 1
        self._schedule.after(delay, self._arrives, letter, tries)

    def _arrives(self, letter: Letter, tries: int) -> None:
        self.flying -= 1
        self._world.note("callback", letter.order_id, letter.status, letter.genuine)
        self._world.oracles.callback_came(letter)
        answered = False

        def answer(status: int) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            self._world.note("callback-answer", letter.order_id, status)
            self._world.oracles.callback_answered(letter, status)
            if status != 200:
                self._again(letter, tries)

        self._world.machine.callback(letter.body, answer)

    def _again(self, letter: Letter, tries: int) -> None:
        if not letter.genuine or letter.mixed or tries >= TRIES_MAX:
            return
        if tries == 1 and self._faults.hits("callback.unwilling"):
            return
        self._send(letter, self._draw.uniform(1.0, 4.0) * tries, tries + 1)


def _forged(letter: Letter, body: bytes) -> Letter:
    return Letter(body, letter.order_id, letter.reference, letter.status, genuine=False)


def _misshapen(body: bytes, kind: int) -> bytes:
    signed, _, signature = body.rpartition(b"&signature=")
    match kind:
        case 0:
            return b"signature=" + signature + b"&" + signed
        case 1:
            return signed + b"&signature=" + signature + b"&signature=" + signature
        case 2:
            return body + b"&orderStatus=approved"
        case 3:
            return signed + b"&orderStatus=approved&signature=" + signature
        case _:
            return signed
