"""Anything may happen in any order: the real engine and journal against a PartPay with small books.

Hypothesis draws what people do, what PartPay does and when its answers come (or do not), when the daemon dies and
when its disk fails. After each step what always holds must hold, judged by PartPay's books and by what the terminal
heard; in the end everything goes well again, and all has to settle.

Longer: `TENDER_MACHINE_EXAMPLES=5000 pytest tests/bridge/test_tender_machine.py`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge import sale
from bridge.audit import audit
from bridge.carrier import call
from bridge.effects import AskPartPay
from bridge.events import CallbackReceived, CodeRead, PartPayAnswered
from bridge.journal.journal import Journal
from bridge.partpay.answers import NoAnswer, NotAllowed, NotSent, Perhaps, Refused, Told
from bridge.partpay.callback import SignedCallback
from bridge.tender import Ask, Attempt, Circumstances, Confirm, Tender, Timing
from drivers.link import messages as link
from tests.bridge.shop import Shop
from tests.bridge.small_partpay import Order, SmallPartPay

EXAMPLES = int(os.environ.get("TENDER_MACHINE_EXAMPLES", "25"))
STEPS = 50
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
TIMING = Timing()
SETTLES_WITHIN_S = 1200.0
"""Reversals pause for at most five minutes between tries."""
AMOUNTS = (100, 12550)
REFERENCES = (None, "INV-1")
REFERENCE = st.sampled_from(REFERENCES)
ENDS = ("approved", "approved", "approved", "complete", "declined", "expired", "cancelled")
HOW = (
    *(
        "well",
        "well",
        "well",
        "not sent",
        "request lost",
        "answer lost",
        "request late",
        "answer late",
    ),
    *("500 kept", "refused", "not allowed", "strange"),
)
STRANGE = (
    Told(status="pending"),
    Told(status="processing"),
    Told(),
    Told(order_id="order-x", status="approved"),
    Told(amount_minor=1, status="approved"),
    Told(gateway_reference="other", status="approved"),
)
"""Answers that prove nothing: stale, unknown, empty, or of another order."""
ANY = st.integers(0, 5)
"""Which one of those that there are."""
PAYLOAD = "https://pay.test/q/1"


class FailingDisk(sqlite3.Connection):
    """Fails at a statement to come: `left` more go well. `after`: what fails was done all the same."""

    left: int | None = None
    after: bool = False

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if self.left is None or sql.startswith("SELECT"):
            return super().execute(sql, *more)
        if self.left > 0:
            self.left -= 1
            return super().execute(sql, *more)
        if self.after and sql == "COMMIT":
            super().execute(sql)
        raise sqlite3.OperationalError("disk I/O error")


class ShopOnDisk(Shop):
    """A shop whose journal can fail."""

    def _open_journal(self) -> Journal:
        if self.journal_fails is not None:
            raise self.journal_fails

        def connect(path: Path) -> sqlite3.Connection:
            return sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, factory=FailingDisk
            )

        return Journal(
            self.folder / "journal.db", "sandbox", lambda: f"{self.clock:.3f}", connect=connect
        )

    def disk(self) -> FailingDisk | None:
        journal = self.engine._journal
        return None if journal is None else journal._db  # type: ignore[return-value]


class TenderMachine(RuleBasedStateMachine):
    confirm = Confirm.PREFER

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY))
        self.shop = ShopOnDisk(self.folder, confirm=self.confirm, timing=TIMING)
        self.partpay = SmallPartPay()
        self.counter = 0
        self.heard: dict[int, link.Outcome] = {}
        self.seen = 0
        self.late_requests: list[Callable[[], object]] = []
        self.late_answers: list[tuple[AskPartPay, object]] = []
        self.boots = 1

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.shop.engine.close()
            shutil.rmtree(self.folder)

    @initialize(stage=st.integers(0, 3), amount=st.sampled_from(AMOUNTS))
    def begin(self, stage: int, amount: int) -> None:
        """A terminal, and mostly a tender on its way already: accepted, ordered, or its code on the panel."""
        self.shop.hello()
        if stage:
            self.counter = 1
            self.shop.tender(1, amount, reference="INV-1")
            for _ in range(stage - 1):
                self.all_calls_go_well()

    # -- the terminal and its people --------------------------------------------------------------------------

    @rule(
        amount=st.sampled_from(AMOUNTS), reference=st.sampled_from(REFERENCES), well=st.booleans()
    )
    def a_new_tender(self, amount: int, reference: str | None, well: bool) -> None:
        self.counter += 1
        self.shop.tender(self.counter, amount, reference=reference)
        if well:
            self.all_calls_go_well()
            self.all_calls_go_well()

    @precondition(lambda self: self.counter)
    @rule(
        what=st.sampled_from(("tender", "query", "last", "hello", "stored", "panel")),
        back=ANY,
        reference=REFERENCE,
    )
    def the_terminal_says(self, what: str, back: int, reference: str | None) -> None:
        counter = max(1, self.counter - back)
        match what:
            case "tender":
                self.shop.tender(counter, AMOUNTS[back % 2], reference=reference)
            case "query":
                self.shop.query(counter)
            case "last":
                self.shop.query(None)
            case "hello":
                self.shop.hello()
            case "panel":
                self.shop.panel_cannot(counter)
            case "stored":
                told = self.heard.get(counter)
                self.shop.stored(counter, told.response_code if told else "00")

    @precondition(lambda self: self.counter)
    @rule(back=ANY)
    def cancel(self, back: int) -> None:
        self.shop.cancel(max(1, self.counter - back))

    @precondition(lambda self: self._approved())
    @rule(which=ANY, part=st.sampled_from((1, 2)))
    def refund(self, which: int, part: int) -> None:
        approved = self._approved()
        original = approved[which % len(approved)]
        self.counter += 1
        self.shop.refund(self.counter, original, self.heard[original].amount_minor // part)

    def _approved(self) -> list[int]:
        return [
            c for c, m in self.heard.items() if m.response_code == "00" and not self._is_refund(c)
        ]

    @rule(unplugged=st.booleans())
    def the_cable(self, unplugged: bool) -> None:
        if unplugged:
            self.shop.unplug()
        else:
            self.shop.plug()
            self.shop.hello()

    # -- PartPay ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.shop.asked)
    @rule()
    def all_calls_go_well(self) -> None:
        for effect in [*self.shop.asked]:
            self.shop.asked.remove(effect)
            self._answer(effect, self._act(effect))

    @precondition(lambda self: self.shop.asked)
    @rule(which=ANY, how=st.sampled_from(HOW))
    def a_call_goes(self, which: int, how: str) -> None:
        effect = self._take_call(which)
        ask = effect.wanted.ask
        match how:
            case "well":
                self._answer(effect, self._act(effect))
            case "not sent":
                self._answer(effect, self._fault(effect, surely=True))
            case "request lost":
                self._answer(effect, self._fault(effect, surely=False))
            case "answer lost":
                self._act(effect)
                self._answer(effect, self._fault(effect, surely=False))
            case "request late":
                # After the bridge has given up on it, and perhaps said it again (reliability, H4).
                self.late_requests.append(lambda: self._act(effect))
                self._answer(effect, self._fault(effect, surely=False))
            case "answer late":
                self.late_answers.append((effect, self._act(effect)))
            case "500 kept" if ask is Ask.CREATE:
                self._act(effect)
                self._answer(effect, Perhaps("500", "500:same"))
            case "refused" if ask in (Ask.CREATE, Ask.REFUND):
                self._answer(effect, Refused(400, "no", ("customer",)))
            case "not allowed" if ask is Ask.CREATE:
                self._answer(effect, NotAllowed(403, "no"))
            case "not allowed" if ask in (Ask.STATUS, Ask.ORDER):
                self._answer(effect, NoAnswer("401", unauthorised=True))
            case "strange" if ask is Ask.PICTURE:
                t = effect.tender
                self.shop.post(
                    CodeRead(t.pairing, t.counter, effect.wanted.attempt, None, "no code")
                )
            case "strange" if ask in (Ask.STATUS, Ask.ORDER):
                self._answer(effect, STRANGE[which % len(STRANGE)])
            case _:
                self._answer(effect, self._act(effect))

    @precondition(lambda self: self.late_requests)
    @rule(which=ANY)
    def a_late_request_arrives(self, which: int) -> None:
        self.late_requests.pop(which % len(self.late_requests))()

    @precondition(lambda self: self.late_answers)
    @rule(which=ANY)
    def a_late_answer_comes(self, which: int) -> None:
        self._answer(*self.late_answers.pop(which % len(self.late_answers)))

    @rule(more=st.booleans(), later=st.booleans())
    def partpay_is_otherwise(self, more: bool, later: bool) -> None:
        self.partpay.told_more = more
        self.partpay.cancels_later = later

    @precondition(lambda self: self._payable())
    @rule(which=ANY, status=st.sampled_from(ENDS), told=st.booleans())
    def an_order_ends(self, which: int, status: str, told: bool) -> None:
        """The customer pays or does not; `told`: the callback comes at once, and is confirmed."""
        orders = self._payable()
        order = orders[which % len(orders)]
        self.partpay.close(order, status)
        if told:
            self._callback(order)
            self.all_calls_go_well()

    @precondition(lambda self: any(order.status != "pending" for order in self.partpay.orders))
    @rule(which=ANY)
    def a_callback_comes(self, which: int) -> None:
        """Also twice, and in any order."""
        orders = [order for order in self.partpay.orders if order.status != "pending"]
        self._callback(orders[which % len(orders)])

    @precondition(lambda self: any(order.cancelling for order in self.partpay.orders))
    @rule()
    def a_cancel_that_was_taken_is_done(self) -> None:
        for order in self.partpay.orders:
            if order.cancelling:
                self.partpay.close(order, "cancelled")

    # -- what befalls the bridge ------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.5, 2.0, 2.0, 2.0, 5.0, 10.0, 30.0, 400.0)))
    def time_passes(self, seconds: float) -> None:
        self.shop.advance(seconds)

    @rule(new_boot=st.booleans(), away_s=st.sampled_from((1.0, 1.0, 60.0, 1000.0)))
    def it_is_killed_and_started(self, new_boot: bool, away_s: float) -> None:
        self.late_answers.clear()
        self.shop.journal_fails = None
        self.boots += new_boot
        self.shop.restart(boot=f"boot-{self.boots}", away_s=away_s)

    @rule(
        how=st.sampled_from(("fails", "fails after", "full", "away", "well", "well")),
        left=st.integers(0, 12),
    )
    def the_disk(self, how: str, left: int) -> None:
        match how:
            case "fails" | "fails after":
                if (disk := self.shop.disk()) is not None:
                    disk.left, disk.after = left, how == "fails after"
            case "full":
                self.shop.free_bytes = 1
            case "away":
                self.shop.journal_fails = sqlite3.OperationalError("unable to open database file")
            case "well":
                self._mend()

    def _mend(self) -> None:
        self.shop.journal_fails = None
        self.shop.free_bytes = 10**10
        if (disk := self.shop.disk()) is not None:
            disk.left = None

    # -- how a call goes --------------------------------------------------------------------------------------

    def _take_call(self, which: int) -> AskPartPay:
        return self.shop.asked.pop(which % len(self.shop.asked))

    def _act(self, effect: AskPartPay) -> object:
        """PartPay does it; its answer. A picture is read."""
        t = effect.tender
        a = next(a for a in t.attempts if a.number == effect.wanted.attempt)
        if effect.wanted.ask is Ask.PICTURE:
            return PAYLOAD
        merchant: Any = None
        orders: Any = self.partpay
        return call(orders, merchant, t, a, effect.wanted)

    def _fault(self, effect: AskPartPay, *, surely: bool) -> object:
        if effect.wanted.ask is Ask.PICTURE:
            return None
        if effect.wanted.ask in (Ask.CREATE, Ask.REFUND):
            return NotSent("no route") if surely else Perhaps("timeout")
        return NoAnswer("timeout")

    def _answer(self, effect: AskPartPay, value: object) -> None:
        t, wanted = effect.tender, effect.wanted
        if wanted.ask is Ask.PICTURE:
            payload = value if isinstance(value, str) else None
            self.shop.post(
                CodeRead(t.pairing, t.counter, wanted.attempt, payload, "", fetched=False)
            )
        else:
            self.shop.post(PartPayAnswered(t.pairing, t.counter, wanted.attempt, wanted.ask, value))

    def _payable(self) -> list[Order]:
        return [order for order in self.partpay.orders if order.status == "pending"]

    def _callback(self, order: Order) -> int:
        reply: Future[int] = Future()
        self.shop.post(
            CallbackReceived(
                SignedCallback(
                    order_id=order.order_id,
                    order_number=order.number,
                    status=order.status,
                    gateway_reference=order.gateway_reference,
                    merchant_reference=order.merchant_reference,
                    signers=frozenset({""}),
                ),
                reply,
            )
        )
        status = reply.result(timeout=0)
        assert status in (200, 503), f"a callback of ours is answered {status}"
        if status == 200:
            order.callbacks.clear()
            assert self._rows(
                "SELECT 1 FROM events WHERE name='callback' AND data LIKE ?", f"%{order.order_id}%"
            ), "200, and it is not written"
        return status

    # -- what always holds ------------------------------------------------------------------------------------

    def _rows(self, sql: str, *more: object) -> list[Any]:
        """What is committed, seen from another connection."""
        with closing(sqlite3.connect(f"file:{self.folder / 'journal.db'}?mode=ro", uri=True)) as db:
            return db.execute(sql, more).fetchall()

    @invariant()
    def what_is_said_is_written_true_and_one(self) -> None:
        new, self.seen = self.shop.said[self.seen :], len(self.shop.said)
        for message in new:
            if isinstance(message, link.Accepted):
                assert self._rows("SELECT 1 FROM tenders WHERE counter=?", message.counter), (
                    f"ACCEPTED {message.counter}, and it is not written"
                )
            if isinstance(message, link.Outcome):
                self._outcome(message)

    def _outcome(self, message: link.Outcome) -> None:
        counter = message.counter
        assert self._rows(
            "SELECT 1 FROM tenders WHERE counter=? AND code=?", counter, message.response_code
        ), f"OUTCOME {counter}, and it is not written"
        first = self.heard.setdefault(counter, message)
        assert (first.response_code, first.amount_minor, first.order_id) == (
            message.response_code,
            message.amount_minor,
            message.order_id,
        ), "another outcome"
        if message.response_code != "00":
            return
        if self._is_refund(counter):
            done = [
                m
                for o in self.partpay.orders
                for r, m in o.refunds.items()
                if f"-{counter}-R-" in r
            ]
            assert done == [message.amount_minor], "a refund that was not done"
        else:
            paid = [o for o in self._orders(counter) if o.paid]
            assert [o.amount_minor for o in paid] == [message.amount_minor], (
                f"00, and PartPay says {[(o.order_id, o.status) for o in self._orders(counter)]}"
            )

    def _is_refund(self, counter: int) -> bool:
        return bool(self._rows("SELECT 1 FROM tenders WHERE counter=? AND kind='refund'", counter))

    def _orders(self, counter: int) -> list[Order]:
        return [order for order in self.partpay.orders if order.counter == counter]

    @invariant()
    def nobody_pays_twice(self) -> None:
        for counter in range(1, self.counter + 1):
            orders = self._orders(counter)
            assert sum(order.kept_minor > 0 for order in orders) <= 1, f"{counter} is paid twice"
            if counter not in self.heard:
                live = [order for order in orders if order.status == "pending"]
                assert len(live) <= 1, f"{counter} can be paid twice"

    @invariant()
    def no_event_is_set_aside(self) -> None:
        assert self.shop.engine.poisoned == 0, [
            data for (data,) in self._rows("SELECT data FROM events WHERE name='set-aside'")
        ]

    # -- and in the end -----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Faults are over; nobody pays any more. All has to come to its end."""
        self.partpay.cancels_later = False
        self.a_cancel_that_was_taken_is_done()
        for late in self.late_requests:
            late()
        for late_answer in self.late_answers:
            self._answer(*late_answer)
        self._mend()
        self.shop.advance(2.0)
        assert self.shop.disk() is not None, "the journal is not opened again"
        self.shop.plug()
        self.shop.hello()
        ends = self.shop.clock + SETTLES_WITHIN_S
        while self._unsettled() and self.shop.clock < ends:
            for effect in [*self.shop.asked]:
                self.shop.asked.remove(effect)
                self._answer(effect, self._act(effect))
            self.what_is_said_is_written_true_and_one()
            for counter, message in self.heard.items():
                self.shop.stored(counter, message.response_code)
            self.shop.advance(1.0)
        self.no_event_is_set_aside()
        assert not self._unsettled(), self._rows(
            "SELECT counter, state, code, stored, reversal FROM tenders WHERE live=1"
        )
        for counter in range(1, self.counter + 1):
            self._final(counter)
        found = audit(self.folder / "journal.db")
        assert found["holds"], found["broken"]

    def _unsettled(self) -> bool:
        return bool(self._rows("SELECT 1 FROM tenders WHERE live=1"))

    def _final(self, counter: int) -> None:
        row = self._rows(
            "SELECT kind, code, amount_minor, reversal FROM tenders WHERE counter=?", counter
        )
        orders = self._orders(counter)
        if not row:
            assert not orders, f"an order for {counter}, which was never accepted"
            return
        kind, code, amount, reversal = row[0]
        if kind == "refund":
            return
        back = sum(
            amount
            for order in orders
            for reference, amount in order.refunds.items()
            if "-R-" in reference
        )
        kept = sum(order.kept_minor for order in orders)
        assert kept == (amount - back if code == "00" else 0), f"{counter}: {code}, kept {kept}"
        abandoned = reversal == "abandoned"
        assert abandoned or all(o.status != "pending" for o in orders), f"{counter} can be paid yet"


@pytest.mark.parametrize("confirm", Confirm)
def test_anything_in_any_order(confirm: Confirm) -> None:
    machine = type("Machine", (TenderMachine,), {"confirm": confirm})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def _says_before_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "commit", lambda self: self._db.execute("ROLLBACK"))


def _takes_a_202_for_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(t: Tender, a: Attempt, answer: object, c: Circumstances) -> Tender:
        return t.with_attempt(replace(a, told="cancelled"))

    monkeypatch.setattr(sale, "cancel_answered", answered)


@pytest.mark.parametrize(
    "plant",
    [
        _says_before_it_writes,
        _takes_a_202_for_cancelled,
    ],
)
def test_it_finds_what_is_planted(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The machine looks: each of these mistakes is found at once."""
    plant(monkeypatch)
    with pytest.raises(BaseException):  # noqa: B017 - whatever form the finding takes
        run_state_machine_as_test(
            TenderMachine,
            settings=settings(
                max_examples=100,
                stateful_step_count=STEPS,
                deadline=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
