"""PartPay's books: what an order can become, what a reference and a key do, what a refund may take."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tools.sandbox.books import (
    AlreadyFinal,
    Books,
    Cancelled,
    CancelTaken,
    Client,
    Created,
    Exists,
    Failed,
    Happened,
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

DAY_S = 1_544_500_000.0  # 2018-12-11, as in the documented order number


def new_books(**terms: object) -> Books:
    clients = [
        Client(client_id="service", client_secret="s1"),
        Client(client_id="one", client_secret="s2", merchants=frozenset({"m1"})),
    ]
    return Books(Random(7), merchants={"m1": "One", "m2": "Two"}, clients=clients, **terms)  # type: ignore[arg-type]


def wanted(reference: str = "r1", **changes: object) -> Wanted:
    given: dict[str, object] = {
        "merchant_id": "m1",
        "amount_minor": 1250,
        "merchant_reference": f"m-{reference}",
        "gateway_reference": f"g-{reference}",
        "idempotency_key": reference,
    }
    return Wanted(**(given | changes))  # type: ignore[arg-type]


def created(books: Books, now: float = DAY_S, **changes: object) -> Order:
    made = books.create(wanted(**changes), now)  # type: ignore[arg-type]
    assert isinstance(made, Created)
    return made.order


def test_a_new_order_is_pending_under_a_uuid_and_a_number_that_begins_with_the_day() -> None:
    order = created(new_books())
    assert order.status is Status.PENDING
    assert UUID(order.order_id).version == 4
    assert order.order_number.startswith("181211-")
    assert order.expires_at == DAY_S + 600


def test_the_next_order_has_the_id_that_was_told_beforehand() -> None:
    books = new_books()
    beforehand = books.next_order_id
    assert created(books).order_id == beforehand
    assert books.next_order_id != beforehand


def test_the_same_seed_gives_the_same_ids() -> None:
    assert created(new_books()) == created(new_books())


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_an_amount_below_one_cent_is_no_order(amount_minor: int) -> None:
    with pytest.raises(ValueError, match="one cent"):
        new_books().create(wanted(amount_minor=amount_minor), DAY_S)


def test_the_same_key_and_content_give_the_first_answer_even_when_the_order_is_final() -> None:
    books = new_books()
    order = created(books)
    books.close(order.order_id, Status.DECLINED, DAY_S + 1)
    again = books.create(wanted(), DAY_S + 2)
    assert isinstance(again, Created)
    assert again.repeated
    assert again.order.order_id == order.order_id
    assert len(books.orders()) == 1


def test_the_same_key_with_another_content_is_refused() -> None:
    books = new_books()
    created(books)
    assert books.create(wanted(amount_minor=1251), DAY_S) == KeyUsedOtherwise()


@pytest.mark.parametrize(
    "changes",
    [
        {"idempotency_key": None},
        {"idempotency_key": "new", "gateway_reference": "g-new"},
        {"idempotency_key": "new", "merchant_reference": "m-new"},
    ],
    ids=["no key", "merchant reference used", "gateway reference used"],
)
def test_a_reference_used_before_gives_the_order_that_has_it(changes: dict[str, object]) -> None:
    books = new_books()
    order = created(books)
    assert books.create(wanted(**changes), DAY_S) == Exists(order)  # type: ignore[arg-type]


def test_references_are_a_merchants_own() -> None:
    books = new_books()
    created(books)
    assert isinstance(books.create(wanted(merchant_id="m2"), DAY_S), Created)


def test_without_the_unique_check_a_used_reference_makes_a_second_order() -> None:
    books = new_books()
    first = created(books)
    second = created(books, idempotency_key=None, unique_check=False)
    assert second.order_id != first.order_id


def test_books_that_keep_no_keys_answer_by_the_reference() -> None:
    books = new_books(keeps_answers=False)
    order = created(books)
    assert books.create(wanted(), DAY_S) == Exists(order)


def test_a_kept_failure_is_given_for_its_key_and_the_order_without_it() -> None:
    books = new_books()
    order = created(books)
    books.keep_failure(wanted(), Failed(500, b"oh"))
    assert books.create(wanted(), DAY_S) == Failed(500, b"oh")
    assert books.create(wanted(idempotency_key=None), DAY_S) == Exists(order)


def test_an_order_expires_when_its_time_is_over_and_is_then_owed_a_callback() -> None:
    books = new_books(order_lifetime_s=30)
    order = created(books)
    assert books.next_due() == DAY_S + 30
    books.advance(DAY_S + 29.9)
    assert books.take_closed() == []
    books.advance(DAY_S + 40)
    (closed,) = books.take_closed()
    assert (closed.order_id, closed.status, closed.closed_at) == (
        order.order_id,
        Status.EXPIRED,
        DAY_S + 30,
    )
    assert books.take_closed() == []
    assert isinstance(books.close(order.order_id, Status.APPROVED, DAY_S + 41), AlreadyFinal)


def test_what_was_planned_happens_in_the_order_of_time() -> None:
    books = new_books()
    order = created(books)
    books.plan(order.order_id, DAY_S + 5, Status.DECLINED)
    books.plan(order.order_id, DAY_S + 2, Status.APPROVED)
    books.advance(DAY_S + 10)
    assert [closed.status for closed in books.take_closed()] == [Status.APPROVED]


def test_cancel_at_once() -> None:
    books = new_books()
    order = created(books)
    answer = books.cancel(order.order_id, "ana", DAY_S + 1)
    assert isinstance(answer, Cancelled)
    assert answer.order.cancelled_by == "ana"
    assert isinstance(books.cancel(order.order_id, "ana", DAY_S + 2), AlreadyFinal)


def test_a_cancel_that_was_taken_can_be_beaten_by_the_customer() -> None:
    books = new_books()
    order = created(books)
    assert books.cancel(order.order_id, "ana", DAY_S, later_s=2) == CancelTaken(
        books.pending()[0], DAY_S + 2
    )
    books.close(order.order_id, Status.APPROVED, DAY_S + 1)
    books.advance(DAY_S + 3)
    assert [order.status for order in books.orders()] == [Status.APPROVED]


def test_refunds_are_made_once_for_a_reference_and_never_above_what_was_paid() -> None:
    books = new_books()
    order = created(books)
    assert isinstance(books.refund(order.order_id, 100, "a", "ana", DAY_S), NotPaid)
    books.close(order.order_id, Status.COMPLETE, DAY_S)
    first = books.refund(order.order_id, 1000, "a", "ana", DAY_S)
    assert isinstance(first, Refunded)
    again = books.refund(order.order_id, 1000, "a", "ana", DAY_S + 9)
    assert isinstance(again, Refunded)
    assert (again.refund, again.repeated) == (first.refund, True)
    assert isinstance(books.refund(order.order_id, 251, "b", "ana", DAY_S), TooMuch)
    assert isinstance(books.refund(order.order_id, 250, "b", "ana", DAY_S), Refunded)
    held = books.order(order.order_id)
    assert held is not None
    assert (held.paid_minor, held.refunded_minor, held.kept_minor) == (1250, 1250, 0)


def test_a_refund_reference_is_of_one_order() -> None:
    books = new_books()
    orders = [created(books, reference=name) for name in ("r1", "r2")]
    for order in orders:
        books.close(order.order_id, Status.APPROVED, DAY_S)
    books.refund(orders[0].order_id, 100, "a", None, DAY_S)
    assert isinstance(books.refund(orders[1].order_id, 100, "a", None, DAY_S), ReferenceOfAnother)


def test_an_order_that_is_not_there() -> None:
    books = new_books()
    assert books.order("x") is None
    assert books.cancel("x", None, DAY_S) == NoSuchOrder("x")
    assert books.refund("x", 1, "a", None, DAY_S) == NoSuchOrder("x")
    assert books.close("x", Status.APPROVED, DAY_S) == NoSuchOrder("x")


def test_tokens_end_and_act_for_their_merchants_only() -> None:
    books = new_books(token_lifetime_s=60)
    assert books.issue_token("one", "wrong", DAY_S) is None
    assert books.issue_token("nobody", "s2", DAY_S) is None
    one = books.issue_token("one", "s2", DAY_S)
    service = books.issue_token("service", "s1", DAY_S)
    assert one is not None
    assert service is not None
    assert books.allows(one.value, "m1", DAY_S)
    assert not books.allows(one.value, "m2", DAY_S)
    assert books.allows(service.value, "m2", DAY_S)
    assert not books.allows(service.value, "unknown", DAY_S)
    assert not books.allows(service.value, "m2", DAY_S + 60)
    assert one.value not in repr(one)
    books.revoke_tokens()
    assert not books.allows(service.value, "m2", DAY_S)


class AnyCalls(RuleBasedStateMachine):
    """Whatever is called in whatever order, the money adds up and nothing final changes."""

    def __init__(self) -> None:
        super().__init__()
        self.books = new_books(order_lifetime_s=50)
        self.now = DAY_S
        self.final: dict[str, Status] = {}

    references = st.sampled_from(["r1", "r2", "r3", "r4"])
    any_order = st.integers(0, 5)

    def _pick(self, nth: int) -> str:
        orders = self.books.orders()
        return orders[nth % len(orders)].order_id if orders else "none"

    @rule(merchant=references, gateway=references, key=st.none() | references)
    def create(self, merchant: str, gateway: str, key: str | None) -> None:
        before = len(self.books.orders())
        answer = self.books.create(
            wanted(merchant_reference=merchant, gateway_reference=gateway, idempotency_key=key),
            self.now,
        )
        fresh = isinstance(answer, Created) and not answer.repeated
        assert len(self.books.orders()) == before + fresh

    @rule(nth=any_order, status=st.sampled_from([s for s in Status if s.final]))
    def close(self, nth: int, status: Status) -> None:
        self.books.close(self._pick(nth), status, self.now)

    @rule(nth=any_order, later_s=st.none() | st.floats(0, 40))
    def cancel(self, nth: int, later_s: float | None) -> None:
        self.books.cancel(self._pick(nth), "op", self.now, later_s=later_s)

    @rule(nth=any_order, amount=st.integers(1, 1500), reference=references)
    def refund(self, nth: int, amount: int, reference: str) -> None:
        self.books.refund(self._pick(nth), amount, reference, "op", self.now)

    @rule(seconds=st.floats(0, 60))
    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.books.advance(self.now)

    @invariant()
    def money_adds_up(self) -> None:
        totals = self.books.totals()
        assert totals.kept_minor == totals.paid_minor - totals.refunded_minor >= 0
        assert sum(totals.by_status.values()) == totals.orders
        for order in self.books.orders():
            assert 0 <= order.refunded_minor <= order.paid_minor

    @invariant()
    def what_is_final_stays(self) -> None:
        now = {o.order_id: o.status for o in self.books.orders() if o.status.final}
        assert self.final.items() <= now.items()
        self.final = now
        closed = [e.order.order_id for e in self.books.history if e.what is Happened.CLOSED]
        assert sorted(closed) == sorted(now)

    @invariant()
    def one_order_for_a_reference(self) -> None:
        references = [order.gateway_reference for order in self.books.orders()]
        assert len(references) == len(set(references))


TestAnyCalls = AnyCalls.TestCase
TestAnyCalls.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
