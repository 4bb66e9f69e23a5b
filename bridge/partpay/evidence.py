"""What an answer of PartPay's proves about one order: paid, dead, pending, or nothing.

Rules (architecture.md "Evidence"; reliability.md I-12):
- Only a known status word proves anything. Everything else is `Nothing`: never paid, never
  unpaid, ask again.
- An answer is evidence (E1) only if everything it tells agrees with what was asked for.
- Pure and total: every value has an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from bridge.partpay.answers import NoAnswer, Told


class DeadStatus(Enum):
    """The final statuses in which nobody has paid; the value is PartPay's word."""

    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Paid:
    """The customer has paid."""


@dataclass(frozen=True, slots=True)
class Dead:
    """Final, and not paid."""

    status: DeadStatus


@dataclass(frozen=True, slots=True)
class Pending:
    """PartPay still waits for the customer."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No evidence; `why` says what it lacks."""

    why: str


Evidence = Paid | Dead | Pending | Nothing

_BY_STATUS: Final[dict[str, Evidence]] = {
    "pending": Pending(),
    "approved": Paid(),
    "complete": Paid(),
    **{status.value: Dead(status) for status in DeadStatus},
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The order as it is written down here; None for what is not known of it."""

    order_id: str
    order_number: str | None
    gateway_reference: str
    merchant_reference: str
    amount_minor: int


def of_status(status: str | None) -> Evidence:
    """What a status word by itself proves. Upper and lower case are the same word."""
    if status is None:
        return Nothing("no status was told")
    # isascii: str.lower() turns some letters of other alphabets into ASCII ones
    known = _BY_STATUS.get(status.lower()) if status.isascii() else None
    return known if known is not None else Nothing(f"unknown status {status!r}")


def disagreement(told: Told, asked: Asked) -> str | None:
    """The first thing told that is not as asked for, in words; None if all of it agrees."""
    for name in ("order_id", "order_number", "gateway_reference", "merchant_reference"):
        said, wanted = getattr(told, name), getattr(asked, name)
        if said is not None and wanted is not None and said != wanted:
            return f"PartPay told {name} {said!r} where {wanted!r} was asked for"
    if told.amount_minor is not None and told.amount_minor != asked.amount_minor:
        return f"PartPay told amount {told.amount_minor} where it is {asked.amount_minor}"
    return None


def weigh(answer: Told | NoAnswer, asked: Asked) -> Evidence:
    """What the answer to an order or status call about `asked` proves (E1)."""
    if isinstance(answer, NoAnswer):
        return Nothing(answer.why)
    differs = disagreement(answer, asked)
    return Nothing(differs) if differs is not None else of_status(answer.status)
