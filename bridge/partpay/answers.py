"""What PartPay answered, as values: an HTTP answer, or why there is none, to one plain dataclass.

Rules kept here (architecture.md "The life of a tender", partpay-api.md):
- Pure: nothing is sent, waited for or logged, and no answer whatever makes a function raise.
- The one question behind every value: was the request surely not sent, or perhaps sent?
- What PartPay did not tell is None. What it told in no readable form equals nothing that we ever
  send (fields.py), so that it disagrees with what was asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bridge.partpay.api import Api, order_id_of
from bridge.partpay.fields import (
    ADDRESS_MAX_CHARS,
    UNREADABLE,
    BodyError,
    address_of,
    amount_of,
    base64_bytes,
    life_s,
    object_of,
    problem_text,
    retry_after_s,
    text_of,
)

# ---- what came ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One whole HTTP answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer came. `surely_not_sent`: not one byte of the request left for PartPay."""

    surely_not_sent: bool
    why: str
    retry_after_s: float | None = None


class NoTokenCause(Enum):
    """Why there is no access token: whom a person has to look at."""

    UNKNOWN = "the network, or the token service, for the time being"
    REFUSED = "the token service knows no such client, or another secret"
    SECRET = "the secret's file cannot be used"  # noqa: S105 (words)


# ---- what it says ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inline:
    """The picture of the code came in the answer: a JPEG, as far as PartPay keeps its word."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AtUrl:
    """The picture is to be fetched (`Orders.picture`)."""

    url: str


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer tells of one order; None for what it does not tell.

    `life_s`: orderExpiry less the same answer's Date, at least 0. `picture_why`: why a picture
    that was told cannot be used.
    """

    order_id: str | None = None
    order_number: str | None = None
    status: str | None = None
    gateway_reference: str | None = None
    merchant_reference: str | None = None
    amount_minor: int | None = None
    life_s: float | None = None
    picture: Inline | AtUrl | None = None
    picture_why: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """PartPay has the order; `order.order_id` is there."""

    order: Told


@dataclass(frozen=True, slots=True)
class AlreadyExists:
    """302: an order with this merchant reference exists. Ours or not is for the caller to ask."""

    order_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """400 or 422: refused for good. `text`: PartPay's reason as one plain line."""

    http_status: int
    text: str
    properties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """401 after a new token, 403, 404 to a create."""

    http_status: int
    why: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """PartPay surely did not take it: nothing left, or 429. May be sent again; nothing is owed."""

    why: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Perhaps:
    """PartPay may have taken it. `fingerprint`: equal for two equal 5xx ("500:<sha256>")."""

    why: str
    fingerprint: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing is known by this call: ask again. `unauthorised`: 401 after a new token, or 403."""

    why: str
    unauthorised: bool = False
    not_found: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class CancelTaken:
    """PartPay answered the cancel, whatever it said: ask for the status now."""

    http_status: int


@dataclass(frozen=True, slots=True)
class Refunded:
    """PartPay has done this refund."""


CreateAnswer = Created | AlreadyExists | Refused | NotAllowed | NotSent | Perhaps
ToldAnswer = Told | NoAnswer
CancelAnswer = CancelTaken | NoAnswer
RefundAnswer = Refunded | Refused | NotSent | Perhaps


# ---- an answer to a value -------------------------------------------------------------------

ORDER_HERE: Final = frozenset({200, 201, 202})  # documentation and service differ: take them all
REFUND_DONE: Final = frozenset({200, 201, 204})
REFUSED_FOR_GOOD: Final = frozenset({400, 422})
NOT_ALLOWED: Final = frozenset({401, 403, 404})
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
TOO_MANY: Final = 429


def read_create(got: HttpAnswer | Failure, api: Api) -> CreateAnswer:
    """The answer to *create terminal order* (partpay-api.md "Creating twice")."""
    if isinstance(got, Failure):
        if got.surely_not_sent:
            return NotSent(got.why, got.retry_after_s)
        return Perhaps(got.why, None, got.retry_after_s)
    status = got.status
    if status in ORDER_HERE:
        return _created(got, api)
    if status in REDIRECTS:
        order_id = _order_id_at(got.headers.get("location", ""))
        if order_id is not None:
            return AlreadyExists(order_id)
        return Perhaps(f"PartPay answered {status} with no order's address")
    if status in REFUSED_FOR_GOOD:
        return _refused(got)
    if status in NOT_ALLOWED:
        return NotAllowed(status, _why(got))
    if status == TOO_MANY:
        return NotSent(_why(got), retry_after_s(got.headers))
    if status >= 500:
        return Perhaps(_why(got), _fingerprint(got), retry_after_s(got.headers))
    return Perhaps(_why(got))


def read_told(got: HttpAnswer | Failure, api: Api) -> ToldAnswer:
    """The answer to an order or status call. Only a 200 tells anything."""
    if isinstance(got, Failure):
        return NoAnswer(got.why, retry_after_s=got.retry_after_s)
    if got.status == 200:
        try:
            return _told(got, api)
        except BodyError as why:
            return NoAnswer(f"PartPay answered 200, but {why}")
    return NoAnswer(
        _why(got),
        unauthorised=got.status in (401, 403),
        not_found=got.status == 404,
        retry_after_s=retry_after_s(got.headers),
    )


def read_cancel(got: HttpAnswer | Failure) -> CancelAnswer:
    """The answer to a cancel: whatever it is, the status is to be asked for next."""
    if isinstance(got, Failure):
        return NoAnswer(got.why, retry_after_s=got.retry_after_s)
    if got.status < 500 and got.status not in (401, TOO_MANY):
        return CancelTaken(got.status)
    return NoAnswer(
        _why(got), unauthorised=got.status == 401, retry_after_s=retry_after_s(got.headers)
    )


def read_refund(got: HttpAnswer | Failure) -> RefundAnswer:
    """The answer to a refund. `Perhaps` goes again under its reference: PartPay refunds once."""
    if isinstance(got, Failure):
        if got.surely_not_sent:
            return NotSent(got.why, got.retry_after_s)
        return Perhaps(got.why, None, got.retry_after_s)
    if got.status in REFUND_DONE:
        doubt = _doubt_of_done(got)
        return (
            Refunded() if doubt is None else Perhaps(f"PartPay answered {got.status}, but {doubt}")
        )
    if got.status in REFUSED_FOR_GOOD:
        return _refused(got)
    if got.status == TOO_MANY:
        return NotSent(_why(got), retry_after_s(got.headers))
    fingerprint = _fingerprint(got) if got.status >= 500 else None
    return Perhaps(_why(got), fingerprint, retry_after_s(got.headers))


def read_picture(got: HttpAnswer | Failure) -> bytes | NoAnswer:
    """The picture behind a `AtUrl`, as it came."""
    if isinstance(got, Failure):
        return NoAnswer(got.why, retry_after_s=got.retry_after_s)
    if got.status != 200:
        return NoAnswer(
            f"the picture's address answered {got.status}",
            not_found=got.status == 404,
            retry_after_s=retry_after_s(got.headers),
        )
    return got.body or NoAnswer("the picture's address answered with nothing")


def _created(got: HttpAnswer, api: Api) -> Created | Perhaps:
    try:
        told = _told(got, api)
    except BodyError as why:
        return Perhaps(f"PartPay answered {got.status}, but {why}")
    if told.order_id is None or told.order_id == UNREADABLE:
        return Perhaps(f"PartPay answered {got.status} without the id of the order")
    return Created(told)


def _refused(got: HttpAnswer) -> Refused:
    text, properties = problem_text(got.body)
    return Refused(got.status, text, properties)


def _why(got: HttpAnswer) -> str:
    text, _ = problem_text(got.body)
    return f"PartPay answered {got.status}" + (f": {text}" if text else "")


def _fingerprint(got: HttpAnswer) -> str:
    return f"{got.status}:{hashlib.sha256(got.body).hexdigest()}"


def _doubt_of_done(got: HttpAnswer) -> str | None:
    """Why a good status of a refund is not to be believed; None where it is.

    http.client takes an answer cut off within its headers for a whole one with no body. So an
    empty body counts only where the answer itself says that there is none.
    """
    if got.body:
        try:
            object_of(got.body)
        except BodyError as why:
            return str(why)
    elif got.status != 204 and got.headers.get("content-length", "").strip() != "0":
        chunked = got.headers.get("transfer-encoding", "").strip().lower() == "chunked"
        return None if chunked else "the answer was cut off"
    return None


# ---- an order -------------------------------------------------------------------------------

# what an answer tells of where an order is: only ever a place to ask, never followed
_STATUS_ADDRESS: Final = re.compile(r"[!-~]*/([A-Za-z0-9-]{1,36})/status", re.ASCII)


def _told(got: HttpAnswer, api: Api) -> Told:
    fields = object_of(got.body)
    order_id = text_of(fields.get(api.order_id_field))
    picture, picture_why = _picture(
        fields.get(api.qr_code_field), fields.get(api.qr_code_url_field)
    )
    return Told(
        order_id=None if order_id is None else order_id_of(order_id) or UNREADABLE,
        order_number=text_of(fields.get(api.order_number_field)),
        status=text_of(fields.get(api.status_field)),
        gateway_reference=text_of(fields.get(api.gateway_reference_field)),
        merchant_reference=text_of(fields.get(api.merchant_reference_field)),
        amount_minor=amount_of(fields.get(api.amount_field)),
        life_s=life_s(fields.get(api.order_expiry_field), got.headers.get("date")),
        picture=picture,
        picture_why=picture_why,
    )


def _order_id_at(location: str) -> str | None:
    if len(location) > ADDRESS_MAX_CHARS:
        return None
    found = _STATUS_ADDRESS.fullmatch(location)
    return order_id_of(found.group(1)) if found else None


def _picture(code: object, url: object) -> tuple[Inline | AtUrl | None, str | None]:
    """The picture that can be used, the one in the answer first; else why there is none."""
    whys: list[str] = []
    for name, value in (("the picture", code), ("the picture's address", url)):
        if value is None:
            continue
        if not isinstance(value, str):
            whys.append(f"{name} is not text")
        elif (address := address_of(value)) is not None:
            return AtUrl(address), None
        elif data := base64_bytes(value, may_be_bare=value is code):
            return Inline(data), None
        else:
            whys.append(f"{name} cannot be read" if value.strip() else f"{name} is empty")
    return None, "; ".join(whys) or None
