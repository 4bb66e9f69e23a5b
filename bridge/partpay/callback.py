"""PartPay's callback: is it really PartPay's, and what does it say?

Rules (partpay-api.md "Callback"; architecture.md "answers to a callback"):
- The signature is checked over the bytes as they came, against every key, each time in full,
  before anything else is looked at. No valid signature: 401, and nothing was parsed.
- `signature` is the last field and stands once. Every other field stands once.
- A good signature proves who speaks, not which order is meant: that is for the book.
- Pure: no input raises, and `why` holds nothing of the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from bridge.partpay.api import order_id_of
from bridge.partpay.fields import TEXT_MAX_CHARS

BODY_MAX_BYTES: Final = 16 * 1024  # PartPay's own is some 300; the listener answers more by 413
FIELDS_MAX: Final = 32
FIELD_MAX_BYTES: Final = 2048  # as sent, percent signs and all; none of PartPay's comes near it

_SIGNATURE: Final = "signature"
_SIGNATURE_MARK: Final = b"&signature="
# in one case: so that a changed bit is never the same signature written otherwise
_HEX: Final = re.compile(rb"[0-9a-f]{64}|[0-9A-F]{64}")
_ENCODED: Final = re.compile(rb"(?:[!-$'-~]|%[0-9A-Fa-f]{2})*")  # printable ASCII without % and &


@dataclass(frozen=True, slots=True)
class SignedCallback:
    """What a callback with a good signature says.

    `signers`: whose keys signed it: "" for the service's, else the merchant id.
    """

    order_id: str
    order_number: str
    status: str
    gateway_reference: str
    merchant_reference: str
    signers: frozenset[str]


@dataclass(frozen=True, slots=True)
class BadCallback:
    """Not to be acted on. `http_status`: 401 without a good signature, 400 where malformed."""

    http_status: int
    why: str


def check(raw: bytes, keys: Mapping[str, tuple[bytes, ...]]) -> SignedCallback | BadCallback:
    """Judge the body of a callback as it came. `keys`: see `SignedCallback.signers`."""
    if len(raw) > BODY_MAX_BYTES:
        return BadCallback(400, f"longer than {BODY_MAX_BYTES} bytes")
    signed, mark, signature = raw.rpartition(_SIGNATURE_MARK)
    if not mark or _HEX.fullmatch(signature) is None:
        return BadCallback(401, "the signature is missing, is not the last field, or is not hex")
    signers = _signers(signed, bytes.fromhex(signature.decode()), keys)
    if not signers:
        return BadCallback(401, "the signature is by none of the keys")
    fields = _fields(signed)
    if isinstance(fields, BadCallback):
        return fields
    return _said(fields, signers)


def _signers(
    signed: bytes, signature: bytes, keys: Mapping[str, tuple[bytes, ...]]
) -> frozenset[str]:
    matches = [
        (name, hmac.compare_digest(hmac.digest(key, signed, hashlib.sha256), signature))
        for name, named in keys.items()
        for key in named
        if key  # with an empty key anybody can sign
    ]
    return frozenset(name for name, good in matches if good)


def _fields(signed: bytes) -> dict[str, str] | BadCallback:
    pieces = signed.split(b"&")
    if len(pieces) > FIELDS_MAX:
        return BadCallback(400, f"more than {FIELDS_MAX} fields")
    fields: dict[str, str] = {}
    for piece in pieces:
        name, equals, value = (_decoded(part) for part in piece.partition(b"="))
        if name is None or value is None or not name or not equals:
            return BadCallback(400, "a field is not name=value in percent-encoded UTF-8")
        if name == _SIGNATURE:
            return BadCallback(401, "the signature stands more than once")
        if name in fields:
            return BadCallback(400, "a field stands more than once")
        fields[name] = value
    return fields


def _decoded(part: bytes) -> str | None:
    if len(part) > FIELD_MAX_BYTES or _ENCODED.fullmatch(part) is None:
        return None
    try:
        return unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None


# which fields there must be, and whether one may be empty
_WANTED: Final = {
    "orderId": False,
    "orderNumber": True,
    "orderStatus": False,
    "gatewayReference": False,
    "merchantReference": True,
}


def _said(fields: dict[str, str], signers: frozenset[str]) -> SignedCallback | BadCallback:
    for name, may_be_empty in _WANTED.items():
        value = fields.get(name)
        if value is None or not (value or may_be_empty):
            return BadCallback(400, f"{name} is missing")
        if len(value) > TEXT_MAX_CHARS:
            return BadCallback(400, f"{name} is longer than {TEXT_MAX_CHARS} characters")
    order_id = order_id_of(fields["orderId"])
    if order_id is None:
        return BadCallback(400, "orderId is not the id of an order")
    return SignedCallback(
        order_id=order_id,
        order_number=fields["orderNumber"],
        status=fields["orderStatus"],
        gateway_reference=fields["gatewayReference"],
        merchant_reference=fields["merchantReference"],
        signers=signers,
    )
