"""PartPay's own books: orders, refunds, references, tokens.

Rules of this file:
- Pure: no sockets, threads, clocks or randomness of its own. `now` is PartPay's time, in seconds
  since 1970, and comes in as an argument; so does the source of randomness.
- It imports nothing of bridge/ or drivers/: tests and the fault simulation take these books as the
  judge of who paid what, and a judge that shares code with the accused proves little.
- Money is whole cents. An order's status changes once, from pending to one of five final ones.
- A reference belongs, within a merchant, to the order that came first with it.
- What happened is written in `history`, in order, and never changed.

What is stored is frozen; a change puts a new value in the place of the old one. Source of the rules:
docs of the PartPay API (orders, access token); where they are silent the docstring says so.
"""

from __future__ import annotations

import heapq
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from random import Random
from uuid import UUID

ORDER_LIFETIME_S = 600.0
"""How long an order may be paid. PartPay does not publish it; a customer who signs up needs minutes."""

TOKEN_LIFETIME_S = 86400.0
"""`expires_in` of PartPay's documented token answer."""


class Status(StrEnum):
    """An order's status, as the API spells it. All but PENDING are final."""

    PENDING = "pending"
    APPROVED = "approved"
    COMPLETE = "complete"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self is not Status.PENDING

    @property
    def paid(self) -> bool:
        return self in (Status.APPROVED, Status.COMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A credential. `merchants` None: it acts for every merchant that the books know."""

    client_id: str
    client_secret: str = field(repr=False)
    merchants: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    value: str = field(repr=False)
    client_id: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    reference: str
    amount_minor: int
    operator: str | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    order_id: str
    order_number: str
    merchant_id: str
    terminal_id: str | None
    amount_minor: int
    merchant_reference: str
    gateway_reference: str
    callback_url: str | None
    created_at: float
    expires_at: float
    status: Status = Status.PENDING
    closed_at: float | None = None
    cancelled_by: str | None = None
    refunds: tuple[Refund, ...] = ()

    @property
    def paid_minor(self) -> int:
        """What the customer owes PartPay for it, before refunds."""
        return self.amount_minor if self.status.paid else 0

    @property
    def refunded_minor(self) -> int:
        return sum(refund.amount_minor for refund in self.refunds)

    @property
    def kept_minor(self) -> int:
        """What the merchant gets in the end: paid less refunded."""
        return self.paid_minor - self.refunded_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A create call, its headers and body told apart already.

    unique_check: the header merchant-reference-unique-check; without it PartPay makes a second order.
    lifetime_s: None is what the books' terms say.
    """

    merchant_id: str
    amount_minor: int
    merchant_reference: str
    gateway_reference: str
    terminal_id: str | None = None
    callback_url: str | None = None
    idempotency_key: str | None = None
    unique_check: bool = True
    lifetime_s: float | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """A new order; `repeated`: the first answer to this Idempotency-Key, given again."""

    order: Order
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Exists:
    """One of the references was used before, by this order: 302."""

    order: Order


@dataclass(frozen=True, slots=True)
class KeyUsedOtherwise:
    """This Idempotency-Key came before with another content."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The first answer to this Idempotency-Key was a failure, and is given again."""

    status: int
    body: bytes


CreateAnswer = Created | Exists | KeyUsedOtherwise | Failed


@dataclass(frozen=True, slots=True)
class Cancelled:
    order: Order


@dataclass(frozen=True, slots=True)
class CancelTaken:
    """Taken (202), not yet cancelled: it will be at `at`, unless the customer is quicker."""

    order: Order
    at: float


@dataclass(frozen=True, slots=True)
class AlreadyFinal:
    order: Order


@dataclass(frozen=True, slots=True)
class Refunded:
    """`repeated`: this reference was refunded before; nothing was done now."""

    order: Order
    refund: Refund
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class NotPaid:
    order: Order


@dataclass(frozen=True, slots=True)
class TooMuch:
    order: Order
    left_minor: int


@dataclass(frozen=True, slots=True)
class ReferenceOfAnother:
    """The refund reference belongs to another order of this merchant."""

    order: Order


@dataclass(frozen=True, slots=True)
class NoSuchOrder:
    order_id: str


class Happened(StrEnum):
    CREATED = "created"
    CLOSED = "closed"
    CANCEL_TAKEN = "cancel-taken"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `history`. `order` is as it was right after it happened."""

    at: float
    what: Happened
    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    orders: int
    by_status: Mapping[Status, int]
    paid_minor: int
    refunded_minor: int
    kept_minor: int


class Books:
    """PartPay's state. Not for several threads at once: whoever shares it brings the lock.

    merchants: id -> name. keeps_answers False: Idempotency-Key is ignored (PartPay's documents for
    the in-store API tell of the key, those of the terminal API do not). `next_order_id` is the id
    of the order that is made next, known beforehand so that its picture can be drawn beforehand.
    """

    def __init__(
        self,
        random: Random,
        *,
        merchants: Mapping[str, str],
        clients: Iterable[Client],
        order_lifetime_s: float = ORDER_LIFETIME_S,
        token_lifetime_s: float = TOKEN_LIFETIME_S,
        keeps_answers: bool = True,
    ) -> None:
        self.merchants = dict(merchants)
        self.history: list[Entry] = []
        self._random = random
        self._clients = {client.client_id: client for client in clients}
        self._order_lifetime_s = order_lifetime_s
        self.token_lifetime_s = token_lifetime_s
        self._keeps_answers = keeps_answers
        self._orders: dict[str, Order] = {}
        self._numbers: set[str] = set()
        self._by_merchant_reference: dict[tuple[str, str], str] = {}
        self._by_gateway_reference: dict[tuple[str, str], str] = {}
        self._refund_references: dict[tuple[str, str], str] = {}
        self._answers: dict[tuple[str, str], tuple[tuple[object, ...], str | Failed]] = {}
        self._tokens: dict[str, Token] = {}
        self._planned: list[tuple[float, int, str, Status]] = []
        self._plan_number = 0
        self._closed: list[Order] = []
        self.next_order_id = self._new_id()

    # Access tokens

    def issue_token(self, client_id: str, client_secret: str, now: float) -> Token | None:
        """A new token, or None where the credential is wrong. Older tokens stay good."""
        client = self._clients.get(client_id)
        if client is None or not hmac.compare_digest(
            client.client_secret.encode(), client_secret.encode()
        ):
            return None
        self._tokens = {v: token for v, token in self._tokens.items() if token.expires_at > now}
        token = Token(
            value=f"{self._random.getrandbits(512):0128x}",
            client_id=client_id,
            expires_at=now + self.token_lifetime_s,
        )
        self._tokens[token.value] = token
        return token

    def allows(self, token: str, merchant_id: str, now: float) -> bool:
        """Whether the token is good now and its credential acts for that merchant."""
        held = self._tokens.get(token)
        if held is None or held.expires_at <= now or merchant_id not in self.merchants:
            return False
        merchants = self._clients[held.client_id].merchants
        return merchants is None or merchant_id in merchants

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    # Orders

    def create(self, wanted: Wanted, now: float) -> CreateAnswer:
        """Makes an order, once for each reference and each Idempotency-Key.

        The key is looked at first: the same key with the same content gives the first answer again,
        whatever has become of the order since; only then are the references compared. ValueError:
        an amount below one cent, or a merchant that the books do not have.
        """
        if wanted.amount_minor < 1:
            raise ValueError(f"amount must be at least one cent, got {wanted.amount_minor}")
        if wanted.merchant_id not in self.merchants:
            raise ValueError(f"no merchant {wanted.merchant_id!r} in these books")
        content = (
            wanted.amount_minor,
            wanted.merchant_reference,
            wanted.gateway_reference,
            wanted.terminal_id,
            wanted.callback_url,
        )
        key = wanted.idempotency_key if self._keeps_answers else None
        if key is not None and (kept := self._answers.get((wanted.merchant_id, key))) is not None:
            first_content, first = kept
            if first_content != content:
                return KeyUsedOtherwise()
            if isinstance(first, Failed):
                return first
            return Created(self._orders[first], repeated=True)
        if wanted.unique_check and (other := self.with_reference_of(wanted)) is not None:
            return Exists(other)
        order = self._new_order(wanted, now)
        if key is not None:
            self._answers[wanted.merchant_id, key] = (content, order.order_id)
        return Created(order)

    def with_reference_of(self, wanted: Wanted) -> Order | None:
        """The order that used one of these references first; the merchant reference counts before."""
        order_id = self._by_merchant_reference.get(
            (wanted.merchant_id, wanted.merchant_reference)
        ) or self._by_gateway_reference.get((wanted.merchant_id, wanted.gateway_reference))
        return None if order_id is None else self._orders[order_id]

    def forget_key(self, merchant_id: str, key: str) -> None:
        """As if this Idempotency-Key had never come: its next create meets the reference check."""
        self._answers.pop((merchant_id, key), None)

    def keep_failure(self, wanted: Wanted, failure: Failed) -> None:
        """From now on this Idempotency-Key is answered by that failure, though the order exists."""
        if wanted.idempotency_key is None:
            return
        slot = (wanted.merchant_id, wanted.idempotency_key)
        if slot in self._answers:
            self._answers[slot] = (self._answers[slot][0], failure)

    def order(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def orders(self) -> list[Order]:
        """All orders, oldest first."""
        return list(self._orders.values())

    def cancel(
        self, order_id: str, operator: str | None, now: float, *, later_s: float | None = None
    ) -> Cancelled | CancelTaken | AlreadyFinal | NoSuchOrder:
        """Cancels at once, or with `later_s` only takes it (202) and cancels that much later."""
        order = self._orders.get(order_id)
        if order is None:
            return NoSuchOrder(order_id)
        if order.status.final:
            return AlreadyFinal(order)
        order = replace(order, cancelled_by=operator)
        self._orders[order_id] = order
        if later_s is None:
            return Cancelled(self._close(order, Status.CANCELLED, now))
        self.history.append(Entry(now, Happened.CANCEL_TAKEN, order))
        self.plan(order_id, now + later_s, Status.CANCELLED)
        return CancelTaken(order, now + later_s)

    def refund(
        self, order_id: str, amount_minor: int, reference: str, operator: str | None, now: float
    ) -> Refunded | NotPaid | TooMuch | ReferenceOfAnother | NoSuchOrder:
        """Refunds once for each reference, and never more than was paid. ValueError: below a cent.

        A reference that was refunded on another order is refused: PartPay does not say what it does.
        """
        if amount_minor < 1:
            raise ValueError(f"a refund must be at least one cent, got {amount_minor}")
        order = self._orders.get(order_id)
        if order is None:
            return NoSuchOrder(order_id)
        owner = self._refund_references.get((order.merchant_id, reference))
        if owner is not None and owner != order_id:
            return ReferenceOfAnother(self._orders[owner])
        for refund in order.refunds:
            if refund.reference == reference:
                return Refunded(order, refund, repeated=True)
        if not order.status.paid:
            return NotPaid(order)
        if amount_minor > order.kept_minor:
            return TooMuch(order, order.kept_minor)
        refund = Refund(reference=reference, amount_minor=amount_minor, operator=operator, at=now)
        order = replace(order, refunds=(*order.refunds, refund))
        self._orders[order_id] = order
        self._refund_references[order.merchant_id, reference] = order_id
        self.history.append(Entry(now, Happened.REFUNDED, order))
        return Refunded(order, refund)

    # What customers and time do

    def close(
        self, order_id: str, status: Status, now: float
    ) -> Order | AlreadyFinal | NoSuchOrder:
        """The customer approves or declines, or PartPay expires, completes or cancels it by itself."""
        if not status.final:
            raise ValueError("an order cannot be closed as pending")
        order = self._orders.get(order_id)
        if order is None:
            return NoSuchOrder(order_id)
        if order.status.final:
            return AlreadyFinal(order)
        return self._close(order, status, now)

    def plan(self, order_id: str, at: float, status: Status) -> None:
        """The order is closed so at that time, unless it is final by then."""
        self._plan_number += 1
        heapq.heappush(self._planned, (at, self._plan_number, order_id, status))

    def next_due(self) -> float | None:
        """When `advance` has something to do, at the earliest."""
        return self._planned[0][0] if self._planned else None

    def advance(self, now: float) -> None:
        """Does what was planned for now or earlier: expiry, cancels taken, customers' plans.

        To be called before anything else is asked at `now`, so that an order whose time is over
        cannot be approved.
        """
        while self._planned and self._planned[0][0] <= now:
            at, _, order_id, status = heapq.heappop(self._planned)
            order = self._orders[order_id]
            if not order.status.final:
                self._close(order, status, at)

    def take_closed(self) -> list[Order]:
        """The orders that became final since the last call, in order: each is owed a callback."""
        closed, self._closed = self._closed, []
        return closed

    # The judge's view

    def pending(self) -> list[Order]:
        """The orders that a customer could pay now."""
        return [order for order in self._orders.values() if not order.status.final]

    def totals(self, merchant_id: str | None = None) -> Totals:
        """Of one merchant, or of all."""
        orders = [o for o in self._orders.values() if merchant_id in (None, o.merchant_id)]
        return Totals(
            orders=len(orders),
            by_status={s: sum(o.status is s for o in orders) for s in Status},
            paid_minor=sum(o.paid_minor for o in orders),
            refunded_minor=sum(o.refunded_minor for o in orders),
            kept_minor=sum(o.kept_minor for o in orders),
        )

    def _new_order(self, wanted: Wanted, now: float) -> Order:
        lifetime_s = self._order_lifetime_s if wanted.lifetime_s is None else wanted.lifetime_s
        order_id, self.next_order_id = self.next_order_id, self._new_id()
        order = Order(
            order_id=order_id,
            order_number=self._new_number(now),
            merchant_id=wanted.merchant_id,
            terminal_id=wanted.terminal_id,
            amount_minor=wanted.amount_minor,
            merchant_reference=wanted.merchant_reference,
            gateway_reference=wanted.gateway_reference,
            callback_url=wanted.callback_url,
            created_at=now,
            expires_at=now + lifetime_s,
        )
        merchant = wanted.merchant_id
        self._orders[order.order_id] = order
        self._by_merchant_reference.setdefault((merchant, order.merchant_reference), order.order_id)
        self._by_gateway_reference.setdefault((merchant, order.gateway_reference), order.order_id)
        self.plan(order.order_id, order.expires_at, Status.EXPIRED)
        self.history.append(Entry(now, Happened.CREATED, order))
        return order

    def _new_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _new_number(self, now: float) -> str:
        day = datetime.fromtimestamp(now, UTC).strftime("%y%m%d")
        number = f"{day}-{self._random.randrange(1_000_000):06d}"
        while number in self._numbers:
            # A longer one, not another try: a crowded day must not make this loop long.
            number += str(self._random.randrange(10))
        self._numbers.add(number)
        return number

    def _close(self, order: Order, status: Status, at: float) -> Order:
        order = replace(order, status=status, closed_at=at)
        self._orders[order.order_id] = order
        self._closed.append(order)
        self.history.append(Entry(at, Happened.CLOSED, order))
        return order
