"""What PartPay's API answers when nothing goes wrong: its calls over the books.

Rules of this file:
- A call comes in as `Asked` and goes out as `Reply`: bytes and header names, no sockets, no threads,
  no web framework, the time passed in.
- The error bodies have the several shapes that PartPay's have, on purpose not one.
- What PartPay's documents leave open is in `Names`, so that a bridge can be tried under other names.
- Rows of the table of cents that only change what PartPay does (pictures, expiry, cancel) are carried
  out here; those that break a call are not: see desk.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, quote

from tools.sandbox import pictures, scenarios
from tools.sandbox.books import (
    AlreadyFinal,
    Books,
    Cancelled,
    CancelTaken,
    CreateAnswer,
    Created,
    Exists,
    Failed,
    KeyUsedOtherwise,
    NoSuchOrder,
    NotPaid,
    Order,
    ReferenceOfAnother,
    Refunded,
    Status,
    TooMuch,
    Wanted,
)
from tools.sandbox.scenarios import Call, OnCancel, Picture, Scenario, Wire, scenario_for

AUDIENCE = "https://auth-dev.partpay.co.nz"
CUSTOMER_URL = "https://app-ci.partpay.co.nz/instore/order"
TEXT_CHARACTERS = 500
"""The longest reference, operator or URL taken; PartPay does not publish its own."""

AMOUNT_LIMIT_MINOR = 10**12
"""Above it an amount is refused, so that dollars as a JSON number stay exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Paths, headers and fields that are assumed, not known. Paths hold {order_id}."""

    token_path: str = "/oauth/token"
    create_path: str = "/terminal/order"
    order_path: str = "/terminal/order/{order_id}"
    status_path: str = "/terminal/order/{order_id}/status"
    cancel_path: str = "/terminal/order/{order_id}/cancel"
    refund_path: str = "/terminal/order/{order_id}/refund"
    merchant_header: str = "partpay-merchantid"
    terminal_header: str = "partpay-terminalid"
    callback_url_field: str = "callbackUrl"
    qr_code_field: str = "qrCode"
    qr_code_url_field: str = "qrCodeUrl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call as it came: header names in lower case; base_url without a slash at its end."""

    call: Call
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    order_id: str = ""

    def json(self) -> dict[str, Any] | None:
        """The body as a JSON object, amounts exact; None where it is none."""
        try:
            value = json.loads(self.body, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wire: Wire = Wire.WHOLE


@dataclass(frozen=True, slots=True)
class Done:
    """A reply, with what the books said. `wanted` and `made` are a create's; `order` is the one told."""

    reply: Reply
    order: Order | None = None
    wanted: Wanted | None = None
    made: CreateAnswer | None = None


class Api:
    """The calls. `customer_url`: what the QR code says, before `/{orderId}`."""

    def __init__(
        self,
        books: Books,
        *,
        names: Names,
        audience: str = AUDIENCE,
        customer_url: str = CUSTOMER_URL,
    ) -> None:
        self.names = names
        self._books = books
        self._audience = audience
        self._customer_url = customer_url.rstrip("/")

    def answer(self, asked: Asked, now: float) -> Done:
        """PartPay's true answer, the books told. Their `advance(now)` has been called before."""
        match asked.call:
            case Call.TOKEN:
                return Done(self._token(asked, now))
            case Call.PICTURE:
                return Done(self._picture(asked))
            case Call.CREATE:
                return self._refused(asked, now) or self._create(asked, now)
            case Call.ORDER | Call.STATUS | Call.CANCEL | Call.REFUND:
                return self._refused(asked, now) or self._about(asked, now)

    def payload(self, order_id: str, picture: Picture = Picture.INLINE) -> str:
        """What the QR code of an order says."""
        return pictures.payload_of(picture, f"{self._customer_url}/{order_id}")

    def wanted(self, asked: Asked) -> Wanted | Reply:
        """A create call's content, or the 400 that says what is wrong with it."""
        content = asked.json()
        if content is None:
            return _problem(400, "Bad Request", "The JSON value could not be read.", "invalid_json")
        wrong: list[tuple[str, str]] = []
        amount_minor = _cents(content.get("amount"))
        if amount_minor is None:
            wrong.append(("amount", "Amount must be a number above 0 with 2 decimals at most."))
        texts: dict[str, str] = {}
        for name in ("merchantReference", "gatewayReference"):
            value = _text(content.get(name))
            if value is None:
                wrong.append((name, f"{name} must not be empty."))
            else:
                texts[name] = value
        url_field = self.names.callback_url_field
        callback_url = _text(content.get(url_field))
        if content.get(url_field) is not None and not (
            callback_url and callback_url.startswith(("http://", "https://"))
        ):
            wrong.append((url_field, f"{url_field} must be an absolute URL."))
        if wrong or amount_minor is None:
            return _reply(400, scenarios.property_errors(*wrong))
        scenario = scenario_for(amount_minor)
        return Wanted(
            merchant_id=asked.headers.get(self.names.merchant_header, ""),
            terminal_id=asked.headers.get(self.names.terminal_header),
            amount_minor=amount_minor,
            merchant_reference=texts["merchantReference"],
            gateway_reference=texts["gatewayReference"],
            callback_url=callback_url,
            idempotency_key=None
            if scenario.forgets_key
            else asked.headers.get("idempotency-key") or None,
            unique_check=asked.headers.get("merchant-reference-unique-check", "").lower() == "true",
            lifetime_s=scenario.lifetime_s,
        )

    def exists(self, asked: Asked, order: Order) -> Reply:
        """302 with the order's id in Location only."""
        path = self.names.status_path.format(order_id=order.order_id)
        return Reply(status=302, headers={"location": asked.base_url + path})

    # Who asks

    def _token(self, asked: Asked, now: float) -> Reply:
        kind = asked.headers.get("content-type", "").split(";")[0].strip().lower()
        given: Mapping[str, Any]
        if kind == "application/json":
            given = asked.json() or {}
        elif kind == "application/x-www-form-urlencoded":
            given = dict(parse_qsl(asked.body.decode("utf-8", "replace")))
        else:
            return _oauth(400, "invalid_request", "Content-Type must be a form or JSON")
        if given.get("grant_type") != "client_credentials":
            return _oauth(403, "unsupported_grant_type", "Unsupported grant type")
        if given.get("audience") != self._audience:
            return _oauth(403, "access_denied", f"Service not found: {given.get('audience')}")
        token = self._books.issue_token(
            str(given.get("client_id", "")), str(given.get("client_secret", "")), now
        )
        if token is None:
            return _oauth(401, "access_denied", "Unauthorized")
        return _reply(
            200,
            _json(
                {
                    "access_token": token.value,
                    "scope": "terminal:order",
                    "expires_in": int(self._books.token_lifetime_s),
                    "token_type": "Bearer",
                }
            ),
            {"cache-control": "no-store"},
        )

    def admits(self, asked: Asked, now: float) -> bool:
        """Whether its token is good, and good for its merchant."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        merchant_id = asked.headers.get(self.names.merchant_header, "")
        return scheme.lower() == "bearer" and self._books.allows(token.strip(), merchant_id, now)

    def _refused(self, asked: Asked, now: float) -> Done | None:
        if not self.admits(asked, now):
            # No detail on purpose: PartPay's 401 does not tell an old token from a wrong merchant.
            return Done(Reply(status=401))
        kind = asked.headers.get("content-type", "").split(";")[0].strip().lower()
        if asked.call not in (Call.ORDER, Call.STATUS) and kind != "application/json":
            return Done(
                _problem(415, "Unsupported Media Type", f"Not JSON: {kind!r}", "media_type")
            )
        return None

    # Orders

    def _create(self, asked: Asked, now: float) -> Done:
        wanted = self.wanted(asked)
        if isinstance(wanted, Reply):
            return Done(wanted)
        made = self._books.create(wanted, now)
        match made:
            case Created(order):
                scenario = scenario_for(order.amount_minor)
                told = {
                    "orderId": order.order_id,
                    "orderNumber": order.order_number,
                    "orderExpiry": _expiry(order, scenario),
                    **self._told_picture(asked, order, scenario.picture),
                }
                return Done(_reply(scenario.made_status, _json(told)), order, wanted, made)
            case Exists(order):
                return Done(self.exists(asked, order), order, wanted, made)
            case KeyUsedOtherwise():
                detail = "This Idempotency-Key was used with another request."
                reply = _problem(422, "Unprocessable Entity", detail, "idempotency_key_reused")
                return Done(reply, None, wanted, made)
            case Failed(status, body):
                return Done(_reply(status, body), None, wanted, made)

    def _about(self, asked: Asked, now: float) -> Done:
        order = self._books.order(asked.order_id)
        if order is None:
            return Done(_reply(404, scenarios.message(f"Order {asked.order_id} was not found.")))
        if order.merchant_id != asked.headers.get(self.names.merchant_header):
            return Done(Reply(status=401))
        match asked.call:
            case Call.ORDER:
                return Done(_reply(200, _json(self._told(asked, order))), order)
            case Call.CANCEL:
                return Done(self._cancel(asked, order, now), order)
            case Call.REFUND:
                return Done(self._refund(asked, order, now), order)
            case _:
                told = {"orderNumber": order.order_number, "status": order.status.value}
                return Done(_reply(200, _json(told)), order)

    def _told(self, asked: Asked, order: Order) -> dict[str, Any]:
        scenario = scenario_for(order.amount_minor)
        told = {
            "orderId": order.order_id,
            "orderNumber": order.order_number,
            "status": order.status.value,
            "amount": order.amount_minor / 100,
            "merchantReference": order.merchant_reference,
            "gatewayReference": order.gateway_reference,
            "orderExpiry": _expiry(order, scenario),
        }
        if not order.status.final:
            kind = scenario.order_picture or scenario.picture
            told |= self._told_picture(asked, order, kind)
        return told

    def _told_picture(self, asked: Asked, order: Order, kind: Picture) -> dict[str, str]:
        if kind is Picture.NONE:
            return {}
        if kind in (Picture.BY_URL, Picture.GONE_URL):
            name = "gone" if kind is Picture.GONE_URL else "qrcode"
            address = f"{asked.base_url}/pictures/{quote(order.order_id)}/{name}.jpg"
            return {self.names.qr_code_url_field: address}
        return {self.names.qr_code_field: pictures.inline(kind, self.payload(order.order_id))}

    def _picture(self, asked: Asked) -> Reply:
        order = self._books.order(asked.order_id)
        if order is None:
            return Reply(status=404)
        jpeg = pictures.picture(Picture.BY_URL, self.payload(order.order_id))
        return Reply(status=200, body=jpeg, headers={"content-type": "image/jpeg"})

    def _cancel(self, asked: Asked, order: Order, now: float) -> Reply:
        content = asked.json()
        operator = None if content is None else _text(content.get("operator"))
        if operator is None:
            return _reply(400, scenarios.property_errors(("operator", "operator is required.")))
        match scenario_for(order.amount_minor).on_cancel:
            case OnCancel.CANCELLED:
                outcome = self._books.cancel(order.order_id, operator, now)
            case OnCancel.APPROVED_BEFORE:
                self._books.close(order.order_id, Status.APPROVED, now)
                outcome = self._books.cancel(order.order_id, operator, now)
            case OnCancel.LATER:
                outcome = self._books.cancel(
                    order.order_id, operator, now, later_s=scenarios.CANCELLED_LATER_S
                )
            case OnCancel.APPROVED_AFTER:
                outcome = self._cancel_too_late(order, operator, now, scenarios.APPROVED_AFTER_S)
            case OnCancel.APPROVED_LATE:
                outcome = self._cancel_too_late(order, operator, now, scenarios.APPROVED_LATE_S)
        match outcome:
            case Cancelled(order) | CancelTaken(order):
                told = {"orderNumber": order.order_number, "status": order.status.value}
                return _reply(200 if order.status.final else 202, _json(told))
            case AlreadyFinal(order):
                detail = f"Order {order.order_number} is {order.status.value} already."
                return _problem(400, "Order cannot be cancelled", detail, "order_final")
            case NoSuchOrder():
                return Reply(status=404)

    def _cancel_too_late(
        self, order: Order, operator: str, now: float, after_s: float
    ) -> CancelTaken | Cancelled | AlreadyFinal | NoSuchOrder:
        outcome = self._books.cancel(order.order_id, operator, now, later_s=after_s)
        if isinstance(outcome, CancelTaken):
            # Just before the cancel is carried out, so that the customer is the quicker one.
            self._books.plan(order.order_id, outcome.at - 0.001, Status.APPROVED)
        return outcome

    def _refund(self, asked: Asked, order: Order, now: float) -> Reply:
        content = asked.json()
        if content is None:
            return _problem(400, "Bad Request", "The JSON value could not be read.", "invalid_json")
        amount_minor = _cents(content.get("amount"))
        reference = _text(content.get("merchantRefundReference"))
        operator = _text(content.get("operator"))
        wrong = [
            (name, f"{name} is missing or not valid.")
            for name, value in (
                ("amount", amount_minor),
                ("merchantRefundReference", reference),
                ("operator", operator),
            )
            if value is None
        ]
        if wrong or amount_minor is None or reference is None:
            return _reply(400, scenarios.property_errors(*wrong))
        match self._books.refund(order.order_id, amount_minor, reference, operator, now):
            case Refunded(order, refund):
                told = {
                    "orderNumber": order.order_number,
                    "merchantRefundReference": refund.reference,
                    "amount": refund.amount_minor / 100,
                }
                return _reply(200, _json(told))
            case NotPaid(order):
                detail = f"Order {order.order_number} is {order.status.value}."
                return _problem(400, "Order cannot be refunded", detail, "not_refundable")
            case TooMuch(_, left_minor):
                text = f"Amount is above what is left to refund: {left_minor / 100:.2f}."
                return _reply(400, scenarios.property_errors(("amount", text)))
            case ReferenceOfAnother():
                return _reply(400, scenarios.message("merchantRefundReference was used before."))
            case NoSuchOrder():
                return Reply(status=404)


def _expiry(order: Order, scenario: Scenario) -> str:
    """ISO 8601 with seven decimals, as .NET writes it."""
    at = order.expires_at
    if scenario.told_lifetime_s is not None:
        at = order.created_at + scenario.told_lifetime_s
    zone = UTC if scenario.expiry_zone == "Z" else timezone(timedelta(hours=13))
    text = datetime.fromtimestamp(at, zone).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text}0{scenario.expiry_zone}"


def _cents(value: object) -> int | None:
    """A JSON number of dollars as cents; None where it is no number, not above 0, or finer."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    cents = Decimal(value) * 100
    if not 1 <= cents <= AMOUNT_LIMIT_MINOR or cents != cents.to_integral_value():
        return None
    return int(cents)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= TEXT_CHARACTERS else None


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _reply(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status=status, body=body, headers=headers or {})


def _problem(status: int, title: str, detail: str, code: str) -> Reply:
    return _reply(status, scenarios.problem(status, title, detail, code))


def _oauth(status: int, error: str, description: str) -> Reply:
    return _reply(status, _json({"error": error, "error_description": description}))
