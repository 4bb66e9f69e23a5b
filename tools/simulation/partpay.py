"""PartPay over its own books: calls in, HTTP answers out, as bytes and header names.

- The books are `tools/sandbox`'s: they know nothing of the bridge, and are the judge of who paid what.
- What is refused for good stays refused: by reference, once and for all. Everything else may be different at the
  next call.
- A customer pays what he has scanned. `api.eager` orders are final by themselves, before anybody has seen them.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING

from bridge.partpay.answers import HttpAnswer
from bridge.partpay.fields import amount_text
from tools.sandbox import books as accounts
from tools.sandbox.books import Books, Order, Status, Wanted

if TYPE_CHECKING:
    from tools.simulation.world import World

EPOCH_S = 1_795_000_000.0
"""PartPay's clock when a world begins."""
JPEG = b"\xff\xd8\xff"
"""How a picture begins here; what the code says follows, as plain text."""
PAYLOAD = "https://pay.example/q/"
FOREIGN = "POS9"
"""The store of a till that is not ours."""
CUSTOMER_GAP_S = 0.05


@dataclass(frozen=True, slots=True)
class Access:
    """In whose name a call is made."""

    merchant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it leaves the bridge. `amount` is the JSON number as text."""

    kind: str
    merchant: str = ""
    terminal_id: str = ""
    amount: str = ""
    merchant_reference: str = ""
    gateway_reference: str = ""
    with_key: bool = True
    order_id: str = ""
    operator: str = ""
    refund_reference: str = ""


class Asking:
    """Stands where `bridge.partpay.orders.Orders` stands, and gives each request back as a `Call`."""

    def create(
        self,
        merchant: Access,
        *,
        terminal_id: str,
        amount_minor: int,
        merchant_reference: str,
        gateway_reference: str,
        deadline_s: float,
        with_key: bool = True,
    ) -> Call:
        return Call(
            kind="create",
            merchant=merchant.merchant_id,
            terminal_id=terminal_id,
            amount=amount_text(amount_minor),
            merchant_reference=merchant_reference,
            gateway_reference=gateway_reference,
            with_key=with_key,
        )

    def order(
        self, merchant: Access, *, terminal_id: str, order_id: str, deadline_s: float
    ) -> Call:
        return Call(
            kind="order",
            merchant=merchant.merchant_id,
            terminal_id=terminal_id,
            order_id=order_id,
        )

    def status(
        self, merchant: Access, *, terminal_id: str, order_id: str, deadline_s: float
    ) -> Call:
        return Call(
            kind="status",
            merchant=merchant.merchant_id,
            terminal_id=terminal_id,
            order_id=order_id,
        )

    def cancel(
        self,
        merchant: Access,
        *,
        terminal_id: str,
        order_id: str,
        operator: str,
        deadline_s: float,
    ) -> Call:
        return Call(
            kind="cancel",
            merchant=merchant.merchant_id,
            terminal_id=terminal_id,
            order_id=order_id,
            operator=operator,
        )

    def refund(
        self,
        merchant: Access,
        *,
        terminal_id: str,
        order_id: str,
        amount_minor: int,
        refund_reference: str,
        operator: str,
        deadline_s: float,
    ) -> Call:
        return Call(
            kind="refund",
            merchant=merchant.merchant_id,
            terminal_id=terminal_id,
            order_id=order_id,
            amount=amount_text(amount_minor),
            refund_reference=refund_reference,
            operator=operator,
        )


def cents(text: str) -> int:
    """A JSON number of dollars as cents, read in PartPay's own way."""
    dollars, _, rest = text.partition(".")
    return int(dollars) * 100 + int(f"{rest:0<2}")


def payload_of(picture: bytes) -> str | None:
    """What the code of a picture says; None where it holds none."""
    if not picture.startswith(JPEG):
        return None
    return picture[len(JPEG) :].decode()


def order_of_payload(payload: str) -> str:
    """The order that a code is about."""
    return payload.removeprefix(PAYLOAD)


_SHAPES = (
    b"",
    b'{"message":"Something went wrong"}',
    b'{"title":"Error","detail":"It failed","type":"about:blank","traceId":"00-1","errorCode":"E1"}',
    b"<html><body>Bad gateway</body></html>",
)
_REFUSALS = (
    b'{"isValid":false,"errors":[{"propertyName":"Amount","errorMessages":["Amount is too high"]}]}',
    b'{"isValid":false,"errors":[{"propertyName":"Customer.Limit","errorMessages":["No"]}]}',
    b'{"isValid":false,"errors":[{"propertyName":"MerchantReference","errorMessages":["Bad"]}]}',
    b'{"message":"This order cannot be made"}',
)
_GARBAGE = (
    b"<html>Welcome to the captive portal</html>",
    b'{"orderId":',
    b"",
    b"null",
    b"[]",
    b'{"isValid":false,"errors":[]}',
)


class PartPay:
    """The service. Every call that arrives goes through `handle`."""

    def __init__(self, world: World, *, order_lifetime_s: float, keeps_answers: bool) -> None:
        self._world = world
        self._faults = world.faults
        self._schedule = world.schedule
        self._draw = world.streams.of("partpay")
        self.books = Books(
            world.streams.of("books"),
            merchants=dict.fromkeys(world.merchants, ""),
            clients=(),
            order_lifetime_s=order_lifetime_s,
            keeps_answers=keeps_answers,
        )
        self.of_tender: dict[tuple[str, int], list[str]] = defaultdict(list)
        """Ids of our orders, by terminal and counter."""
        self.by_url = self._draw.random() < 0.25
        self.tells_expiry = self._draw.random() < 0.7
        self.barred: str | None = None
        """A merchant that is answered 401, whatever its token."""
        self._refuses: dict[str, HttpAnswer | None] = {}
        self._never_cancelled: set[str] = set()

    @property
    def now(self) -> float:
        """PartPay's time."""
        return EPOCH_S + self._schedule.now

    def order(self, order_id: str) -> Order | None:
        """As it is now."""
        self.books.advance(self.now)
        return self.books.order(order_id)

    def orders(self, terminal_id: str, counter: int) -> list[Order]:
        """All orders of one tender, as they are now."""
        self.books.advance(self.now)
        found = (self.books.order(order_id) for order_id in self.of_tender[terminal_id, counter])
        return [order for order in found if order is not None]

    # -- what customers and time do ----------------------------------------------------------

    def decide(self, order_id: str, status: Status) -> bool:
        """A customer approves or declines; False where the order is final already."""
        self.books.advance(self.now)
        closed = isinstance(self.books.close(order_id, status, self.now), Order)
        self._tell_closed()
        return closed

    def tick(self) -> None:
        """Something that was planned is due: an expiry, a cancel that was taken."""
        self.books.advance(self.now)
        self._tell_closed()

    def _tell_closed(self) -> None:
        for order in self.books.take_closed():
            self._world.note("closed", order.order_id, str(order.status))
            if order.gateway_reference.startswith(FOREIGN):
                continue
            self._world.oracles.order_closed(order)
            self._world.callbacks.owed(order)

    # -- calls -------------------------------------------------------------------------------

    def handle(self, call: Call) -> HttpAnswer:
        """The call arrives: it takes effect, and this is what is answered."""
        self.books.advance(self.now)
        got = self._answer(call)
        self._tell_closed()
        self._world.note("partpay", call.kind, call.order_id or call.gateway_reference, got.status)
        return got

    def _answer(self, call: Call) -> HttpAnswer:
        faults, kind = self._faults, call.kind
        if kind == "picture":
            return self._picture_file(call)
        if faults.on:
            if call.merchant == self.barred or faults.hits("api.unauthorised"):
                return _plain(401)
            if faults.hits("api.too-many"):
                wait = self._draw.choice((None, "1", "4", "10"))
                return HttpAnswer(429, {"retry-after": wait} if wait else {}, b"")
            if faults.hits("api.error"):
                return self._error()
            if faults.hits("api.odd"):
                return _plain(self._draw.choice((303, 307, 409, 418, 100, 206)))
        if kind == "create":
            got = self._create(call)
        elif kind == "refund":
            got = self._refund(call)
        elif kind == "cancel":
            got = self._cancel(call)
        else:
            got = self._told(call)
        if faults.on and got.status < 300:
            if faults.hits("api.error-done"):
                return self._error()
            if faults.hits("api.garbage"):
                return HttpAnswer(got.status, {}, self._draw.choice(_GARBAGE))
        return got

    def _error(self) -> HttpAnswer:
        status = self._draw.choice((500, 500, 502, 503, 504))
        headers = {}
        if status == 503 and self._draw.random() < 0.5:
            headers["retry-after"] = self._draw.choice(("1", "3", "20"))
        return HttpAnswer(status, headers, self._draw.choice(_SHAPES))

    # -- create ------------------------------------------------------------------------------

    def _create(self, call: Call) -> HttpAnswer:
        faults = self._faults
        reference = call.gateway_reference
        if faults.hits("api.forbidden"):
            return _plain(self._draw.choice((403, 404)))
        if reference not in self._refuses:
            self._refuses[reference] = self._refusal() if faults.hits("api.refuses") else None
            if faults.hits("api.foreign"):
                self._foreign(call)
        if (refusal := self._refuses[reference]) is not None:
            return refusal
        wanted = _wanted(call)
        made = self.books.create(wanted, self.now)
        match made:
            case accounts.Created(order, repeated):
                if not repeated:
                    self._made(order)
                if faults.hits("api.kept-error"):
                    failure = accounts.Failed(500, b'{"message":"kept"}')
                    self.books.keep_failure(wanted, failure)
                    return HttpAnswer(500, {}, failure.body)
                return self._created(order)
            case accounts.Exists(order):
                where = f"https://api.example/terminal/order/{order.order_id}/status"
                return HttpAnswer(302, {"location": where}, b"")
            case accounts.Failed(status, body):
                return HttpAnswer(status, {}, body)
            case accounts.KeyUsedOtherwise():
                self._world.oracles.require(
                    False, "key-reused", f"{reference}: the key came before with other content"
                )
        raise AssertionError(made)

    def may_make(self, call: Call) -> bool:
        """Whether this create would make an order if it arrived now; not under a reference that another till used."""
        return self.books.with_reference_of(_wanted(call)) is None

    def _refusal(self) -> HttpAnswer:
        return HttpAnswer(self._draw.choice((400, 422)), {}, self._draw.choice(_REFUSALS))

    def _foreign(self, call: Call) -> None:
        """Another till has used this merchant reference before us."""
        self.books.create(
            Wanted(
                merchant_id=call.merchant,
                amount_minor=self._draw.randrange(1, 100_000),
                merchant_reference=call.merchant_reference,
                gateway_reference=f"{FOREIGN}-{self._draw.getrandbits(64):016x}",
            ),
            self.now,
        )

    def _made(self, order: Order) -> None:
        _, terminal_id, counter, _, _ = order.gateway_reference.rsplit("-", 4)
        tender = (terminal_id, int(counter))
        self._world.oracles.order_made(tender, order)
        self.of_tender[tender].append(order.order_id)
        self._schedule.at(order.expires_at - EPOCH_S + 0.001, self.tick)
        if self._faults.hits("api.eager"):
            draw = self._faults.stream("api.eager")
            status = draw.choice((Status.APPROVED, Status.DECLINED, Status.CANCELLED))
            self._schedule.after(
                draw.choice((0.0, 0.01, 1.0, 8.0, 15.0, 40.0)), self.decide, order.order_id, status
            )

    def _created(self, order: Order) -> HttpAnswer:
        told = [f'"orderId":"{order.order_id}","orderNumber":"{order.order_number}"']
        headers = {}
        if self.tells_expiry:
            told.append(f'"orderExpiry":"{_iso(order.expires_at)}"')
            headers["date"] = formatdate(self.now, usegmt=True)
        if not self._faults.hits("api.no-picture"):
            told.append(self._picture(order))
        body = "{" + ",".join(told) + "}"
        return HttpAnswer(self._draw.choice((201, 202)), headers, body.encode())

    def _picture(self, order: Order) -> str:
        if self.by_url:
            return f'"qrCodeUrl":"https://api.example/pictures/{order.order_id}.jpg"'
        return f'"qrCode":"{base64.b64encode(self._jpeg(order.order_id)).decode()}"'

    def _jpeg(self, order_id: str) -> bytes:
        if self._faults.hits("api.bad-picture"):
            return b"\xff\xd8 no code"
        return JPEG + f"{PAYLOAD}{order_id}".encode()

    def _picture_file(self, call: Call) -> HttpAnswer:
        if self._faults.hits("api.error"):
            return self._error()
        return HttpAnswer(200, {"content-type": "image/jpeg"}, self._jpeg(call.order_id))

    # -- order, status -----------------------------------------------------------------------

    def _told(self, call: Call) -> HttpAnswer:
        faults = self._faults
        if faults.hits("api.forbidden"):
            return _plain(403)
        order = self.books.order(call.order_id)
        if order is None:
            return _plain(404)
        if order.merchant_id != call.merchant:
            return _plain(401)
        if not faults.on:
            return self._tell(call, order, str(order.status))
        if order.cancelled_by is not None and not order.status.final:
            self._schedule.after(
                0.0, self._world.people.gap, "pending after cancel", order.order_id
            )
        if self.now < order.created_at + 30 and faults.hits("api.unknown-yet"):
            return _plain(404)
        if faults.hits("api.other-order"):
            other = self._draw.choice(self.books.orders())
            if other.order_id != order.order_id:
                return self._tell(call, other, str(other.status), whole=True)
        status = str(order.status)
        if faults.hits("api.stale"):
            status = "pending"
        elif faults.hits("api.word"):
            status = self._draw.choice(
                ("on_hold", "Paid", "", "approved ", "ＡＰＰＲＯＶＥＤ", "null")
            )
        elif self._draw.random() < 0.05:
            status = status.upper()
        return self._tell(call, order, status)

    def _tell(self, call: Call, order: Order, status: str, *, whole: bool = False) -> HttpAnswer:
        if call.kind == "status" and not whole:
            body = f'{{"orderNumber":"{order.order_number}","status":{json.dumps(status)}}}'
            return HttpAnswer(200, {}, body.encode())
        dollars = f"{order.amount_minor // 100}.{order.amount_minor % 100:02d}"
        amount = self._draw.choice((dollars, f'"{dollars}"', str(order.amount_minor / 100)))
        told = (
            f'"orderId":"{order.order_id}","orderNumber":"{order.order_number}",'
            f'"status":{json.dumps(status)},"amount":{amount},'
            f'"merchantReference":{json.dumps(order.merchant_reference)},'
            f'"gatewayReference":"{order.gateway_reference}"'
        )
        if not order.status.final and not self._faults.hits("api.no-picture"):
            told += "," + self._picture(order)
        return HttpAnswer(200, {}, f"{{{told}}}".encode())

    # -- cancel, refund ----------------------------------------------------------------------

    def _cancel(self, call: Call) -> HttpAnswer:
        faults, order_id = self._faults, call.order_id
        order = self.books.order(order_id)
        self._world.oracles.cancel_came(order, call)
        if order is None:
            return _plain(404)
        if order.merchant_id != call.merchant:
            return _plain(401)
        self._world.people.gap("cancel-arrives", order_id)
        if faults.on and (order_id in self._never_cancelled or faults.hits("cancel.never")):
            self._never_cancelled.add(order_id)
            return HttpAnswer(202, {}, b"")
        later_s = None
        approved = faults.hits("cancel.approved")
        if approved or faults.hits("cancel.later"):
            later_s = faults.stream("cancel.later").choice((0.3, 1.5, 4.0, 12.0))
        answer = self.books.cancel(order_id, call.operator, self.now, later_s=later_s)
        match answer:
            case accounts.Cancelled():
                return HttpAnswer(200, {}, b"{}")
            case accounts.CancelTaken(_, at):
                self._schedule.at(at - EPOCH_S + 0.001, self.tick)
                if approved and self._world.people.may_pay(order_id):
                    self.books.plan(order_id, at - CUSTOMER_GAP_S, Status.APPROVED)
                    self._world.happened("approval in a gap: between 202 and cancelled")
                return HttpAnswer(202, {}, b"{}")
            case _:
                return HttpAnswer(400, {}, b'{"errorCode":"order_final"}')

    def _refund(self, call: Call) -> HttpAnswer:
        faults, reference = self._faults, call.refund_reference
        order = self.books.order(call.order_id)
        if order is None:
            return _plain(404)
        if order.merchant_id != call.merchant:
            return _plain(401)
        if reference.endswith("-V"):
            if faults.hits("refund.refused"):
                return self._refusal()
        else:
            if reference not in self._refuses:
                self._refuses[reference] = (
                    self._refusal() if faults.hits("refund.refused") else None
                )
            if (refusal := self._refuses[reference]) is not None:
                return refusal
        match self.books.refund(
            call.order_id, cents(call.amount), reference, call.operator, self.now
        ):
            case accounts.Refunded(order, refund, repeated):
                if not repeated:
                    self._world.oracles.refunded(order, refund)
                return HttpAnswer(200, {}, f'{{"amount":{call.amount}}}'.encode())
            case _:
                return HttpAnswer(400, {}, b'{"errorCode":"not_refundable"}')


def _wanted(call: Call) -> Wanted:
    return Wanted(
        merchant_id=call.merchant,
        amount_minor=cents(call.amount),
        merchant_reference=call.merchant_reference,
        gateway_reference=call.gateway_reference,
        terminal_id=call.terminal_id,
        callback_url=None,
        idempotency_key=call.gateway_reference if call.with_key else None,
    )


def _plain(status: int) -> HttpAnswer:
    return HttpAnswer(status, {}, b"")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
