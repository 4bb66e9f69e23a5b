"""What PartPay's API is called: paths, header names, field names.

PartPay's public pages leave part of this open, so every name is configuration with a default
(`[partpay.api]`, partpay-api.md "Orders"), and no other module spells one out. An `Api` that
was made is usable: the check is here, so that a wrong name is found at start, not in a sale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

ORDER_ID_MAX_CHARS = 36  # a UUID; longer is no id of PartPay's and does not go into an address
_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,36}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_FIELD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9_.~{}/-]{0,200}", re.ASCII)
_ORDER_ID_PLACE = "{order_id}"


def order_id_of(text: str) -> str | None:
    """The order id that `text` is, or None where it is none.

    A UUID comes back in lower case, so that one order has one id however PartPay writes it.
    """
    if _ORDER_ID.fullmatch(text) is None:
        return None
    return text.lower() if _UUID.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Api:
    """The names of `[partpay.api]`; ValueError names the key that cannot be used, and why."""

    create_path: str = "/terminal/order"
    order_path: str = "/terminal/order/{order_id}"
    status_path: str = "/terminal/order/{order_id}/status"
    cancel_path: str = "/terminal/order/{order_id}/cancel"
    refund_path: str = "/terminal/order/{order_id}/refund"

    merchant_header: str = "partpay-merchantid"
    terminal_header: str = "partpay-terminalid"
    idempotency_header: str = "Idempotency-Key"
    unique_check_header: str = "merchant-reference-unique-check"

    amount_field: str = "amount"
    merchant_reference_field: str = "merchantReference"
    gateway_reference_field: str = "gatewayReference"
    callback_url_field: str = "callbackUrl"
    order_id_field: str = "orderId"
    order_number_field: str = "orderNumber"
    order_expiry_field: str = "orderExpiry"
    status_field: str = "status"
    qr_code_field: str = "qrCode"
    qr_code_url_field: str = "qrCodeUrl"
    operator_field: str = "operator"
    refund_reference_field: str = "merchantRefundReference"

    def __post_init__(self) -> None:
        for key in (field.name for field in fields(self)):
            value = getattr(self, key)
            if not isinstance(value, str):
                raise ValueError(f"{key}: {value!r} is not text")
            kind = key.rsplit("_", 1)[1]
            rule = {"path": _PATH, "header": _HEADER_NAME, "field": _FIELD_NAME}[kind]
            if rule.fullmatch(value) is None:
                raise ValueError(f"{key}: {value!r} cannot be used as a {kind}")
            if kind == "path":
                _check_place(key, value)

    def order_address(self, path: str, order_id: str) -> str:
        """`path` (one of this object's) with the order id in its place."""
        if order_id_of(order_id) is None:
            raise ValueError(f"{order_id!r} is not the id of an order")
        return path.replace(_ORDER_ID_PLACE, order_id)


def _check_place(key: str, path: str) -> None:
    wanted = 0 if key == "create_path" else 1
    rest = path.replace(_ORDER_ID_PLACE, "")
    if path.count(_ORDER_ID_PLACE) != wanted or "{" in rest or "}" in rest:
        what = f"holds {_ORDER_ID_PLACE} once" if wanted else "holds no {…}"
        raise ValueError(f"{key}: {path!r} must be a path that {what}")
