"""What PartPay answered, as values: an HTTP answer, or why there is none, to one plain dataclass.

Rules kept here (architecture.md "The life of a tender", partpay-api.md):
- Pure: nothing is sent, waited for or logged, and no answer whatever makes a function raise.
- The one question behind every value: was the request surely not sent, or perhaps sent?
- What PartPay did not tell is None. What it told, but in no readable form, is UNREADABLE or
  AMOUNT_UNREADABLE, which equal nothing that we ever send: so a comparison with what was asked
  for disagrees, as it must.
- Amounts are integers of minor units; no float is made anywhere on their way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

UNREADABLE: Final = "\ufffd"  # told, but not as text that can be an id, a reference or a status
AMOUNT_UNREADABLE: Final = -1  # told, but not as an amount; no tender has it


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
