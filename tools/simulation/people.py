"""Cashiers and customers: a shop's normal day, with its impatience.

- A customer pays what he has scanned from a panel, and nothing else. Once scanned, an order can be approved for as
  long as PartPay lets him, whatever the panel shows by then.
- A cashier keys sales, some with the reference of the one before; cancels some, early or late; asks; refunds; and
  does what the terminal asks of a person.
- Now and then a customer is quicker than the closing of his order, at the very moment that hurts most (`gap`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.link import messages as link
from tools.sandbox.books import Status
from tools.simulation.partpay import order_of_payload
from tools.terminal.actions import Closed, Ending, Matter, NewCounter, TellPerson
from tools.terminal.storage import Kind

if TYPE_CHECKING:
    from random import Random

    from tools.simulation.till import Till
    from tools.simulation.world import World
    from tools.terminal.images import PanelImage

NZD = 554
ROGUE = (
    "second", "content", "repeat", "cancel", "stored", "refund", "other", "unkeyed", "unknown",
)  # fmt: skip
GAP_CHANCE = 0.12
LAST_CANCEL_S = 240.0
"""After so long a cashier has had enough, whatever happens."""
SALES_WAIT_S = 900.0
"""A sale that cannot begin for so long is not made."""
LOOK_EVERY_S = 15.0
"""How often a cashier looks whether the till has forgotten the sale that he waits for."""


@dataclass(slots=True)
class Customer:
    """One customer with one order on his phone, or about to scan it."""

    order_id: str
    scanned: bool = False
    decided: bool = False


class Cashier:
    """One person at one till."""

    def __init__(self, world: World, till: Till, sales: int) -> None:
        self.till = till
        self.left = sales
        self._world = world
        self._draw = world.streams.of(f"cashier/{till.terminal_id}")
        self._last: tuple[int, str | None] | None = None
        """Amount and reference of the sale before."""
        self._approved: list[tuple[int, int]] = []
        self._number = 0
        self._ended = 0
        self._waited_since = 0.0
        self._later(self._draw.uniform(0.5, 4.0), self._next)

    def _later(self, seconds: float, do: object, *given: object) -> None:
        self._world.schedule.after(seconds, do, *given)  # type: ignore[arg-type]

    @property
    def done(self) -> bool:
        """Nothing more is begun here."""
        return self.left <= 0

    # -- sales -------------------------------------------------------------------------------

    def _next(self) -> None:
        world, draw = self._world, self._draw
        if self.done:
            return
        if not self.till.ready:
            self._waited_since = self._waited_since or world.schedule.now
            if world.schedule.now - self._waited_since > SALES_WAIT_S:
                self.left = 0
            self._later(1.5, self._next)
            return
        self._waited_since = 0.0
        amount, reference = self._content(draw)
        merchant = draw.choice((None, None, *self._merchants(), *self._merchants()))
        currency = NZD
        if draw.random() < 0.02:
            merchant = "M-NOBODY"
        elif draw.random() < 0.01:
            currency = 840
        elif draw.random() < 0.01:
            amount = 0
        began = self.till.person(
            lambda terminal, now: terminal.sale(
                amount,
                now,
                reference=reference,
                merchant=merchant,
                operator=draw.choice((None, "Ana")),
                currency=currency,
            )
        )
        terminal = self.till.terminal
        if not began or terminal is None:
            self._later(1.0, self._next)
            return
        self.left -= 1
        self._number += 1
        self._last = (amount, reference)
        world.tenders += 1
        self._later(LOOK_EVERY_S, self._look, self._number)
        self._impatience(self._number)
        self._rogue(self._number)

    def _look(self, number: int) -> None:
        if number != self._number or number == self._ended:
            return
        if self.till.ready:
            self._ended = number
            self._next()
        else:
            self._later(LOOK_EVERY_S, self._look, number)

    def _merchants(self) -> tuple[str, ...]:
        pairing = self._world.pairing_of(self.till.terminal_id)
        return pairing.merchants

    def _content(self, draw: Random) -> tuple[int, str | None]:
        if self._last is not None and draw.random() < 0.3:
            return self._last
        reference = None if draw.random() < 0.3 else f"INV-{draw.randrange(10**6)}"
        return draw.choice((1, 99, 1000, draw.randrange(1, 200_000))), reference

    def _impatience(self, number: int) -> None:
        draw = self._draw
        kind = draw.random()
        if kind < 0.30:
            after = draw.choice((0.0, 0.02, 0.3, 1.0, 3.0, 8.0, 20.0, 60.0)) * draw.uniform(
                0.5, 1.5
            )
            self._later(after, self._cancel, number)
        elif kind < 0.36:
            self._later(draw.uniform(0.5, 30), self._ask, number)
        self._later(LAST_CANCEL_S, self._cancel, number)

    def _cancel(self, number: int) -> None:
        if number == self._number and not self._world.people.sure:
            sale = self.till.terminal and self.till.terminal.tender
            if sale and self.till.person(lambda terminal, now: terminal.cancel(now)):
                self._world.cancelled(self.till.terminal_id, sale.counter)

    def _ask(self, number: int) -> None:
        if number == self._number:
            self.till.person(lambda terminal, now: terminal.query(now))

    # -- what the terminal tells -------------------------------------------------------------

    def closed(self, how: Closed) -> None:
        """A sale or refund has ended at the till."""
        draw = self._draw
        if how.kind is Kind.TENDER:
            if how.ending is Ending.APPROVED:
                self._approved.append((how.counter, how.amount_minor))
            if self._ended != self._number:
                self._ended = self._number
                self._later(draw.choice((0.3, 1.0, 4.0)) * draw.random() + 0.05, self._next)
            if self._approved and draw.random() < 0.15 and not self._world.people.sure:
                self._later(draw.uniform(0.0, 6.0), self._refund)

    def told(self, what: TellPerson) -> None:
        """The terminal wants a person."""
        if what.counter is None:
            return
        match what.matter:
            case Matter.DECIDE:
                self._later(self._draw.uniform(0.5, 5.0), self._decide, what.counter)
            case Matter.OTHER_JOURNAL | Matter.NOT_KNOWN_THERE:
                self._later(self._draw.uniform(0.5, 5.0), self._end, what.counter)
            case _:
                pass

    def _decide(self, counter: int) -> None:
        mine = self._world.oracles.is_same_sale(self.till.terminal_id, counter)
        self.till.person(lambda terminal, now: terminal.decide(counter, mine, now))

    def _end(self, counter: int) -> None:
        self.till.person(lambda terminal, now: terminal.end(counter, now))

    def _refund(self) -> None:
        draw = self._draw
        counter, amount = draw.choice(self._approved)
        part = draw.choice((amount, amount, max(1, amount // 2), max(1, amount // 3), amount + 1))
        self.till.person(lambda terminal, now: terminal.refund(counter, part, now))

    # -- firmware that breaks the rules ------------------------------------------------------

    def _rogue(self, number: int) -> None:
        faults = self._world.faults
        for what in ROGUE:
            if faults.hits(f"rogue.{what}"):
                after = faults.stream(f"rogue.{what}").choice((0.05, 0.5, 3.0, 10.0, 30.0))
                self._later(after, self.break_rule, what)

    def break_rule(self, what: str) -> None:
        terminal, faults = self.till.terminal, self._world.faults
        if terminal is None or not faults.on:
            return
        draw = faults.stream(f"rogue.{what}")
        kept, name = terminal.kept, self.till.terminal_id
        past = [outcome.counter for outcome in kept.outcomes] or [kept.counter]
        match what:
            case "second":
                counter = kept.counter + draw.choice((1, 5))
                self.till.rogue(link.Tender(name, counter, draw.randrange(1, 9999), NZD))
            case "content":
                counter = draw.choice((kept.counter, *past))
                self.till.rogue(link.Tender(name, max(counter, 1), draw.randrange(1, 9999), NZD))
            case "repeat":
                opened = [part.counter for part in kept.open]
                message = self._world.oracles.content_of(name, draw.choice((*past, *opened)))
                if message is not None:
                    self.till.rogue(message)
            case "cancel":
                counter = draw.choice((*past, kept.counter + 7))
                self.till.rogue(link.Cancel(name, max(counter, 1)))
            case "stored":
                # Not of what is open: the code that is drawn might be right, before anything is kept.
                closed = [outcome.counter for outcome in kept.outcomes]
                counter = draw.choice((*closed, kept.counter + 7))
                code = draw.choice(("00", "05", "17", "54", "91", "96"))
                self.till.rogue(link.Stored(name, max(counter, 1), code))
            case "refund":
                original = draw.choice((*past, kept.counter + 3))
                amount = draw.choice((0, 1, 500, 10**9))
                counter = kept.counter + draw.choice((1, 2))
                self.till.rogue(link.Refund(name, counter, max(original, 1), amount))
            case "other":
                other = draw.choice([t.terminal_id for t in self._world.tills])
                self.till.rogue(link.Cancel(other, max(kept.counter, 1)))
            case "unkeyed":
                if self._world.keyed:
                    self._world.unkeyed_frame(self.till, draw, max(kept.counter, 1))
            case "unknown":
                self._world.unknown_frame(self.till, draw)


class People:
    """All of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = world.streams.of("customers")
        self.cashiers: dict[str, Cashier] = {}
        self.customers: dict[str, Customer] = {}
        self.sure = False
        """Every customer pays."""

    def hire(self, till: Till, sales: int) -> None:
        """A cashier for this till."""
        self.cashiers[till.terminal_id] = Cashier(self._world, till, sales)

    @property
    def done(self) -> bool:
        """No cashier begins anything more."""
        return not any(cashier.left > 0 for cashier in self.cashiers.values())

    # -- customers ---------------------------------------------------------------------------

    def sees(self, till: Till, image: PanelImage) -> None:
        """A picture is on this panel now."""
        order_id = order_of_payload(image.data.decode())
        self._world.oracles.shown(till.terminal_id, image.counter, order_id)
        if order_id not in self.customers:
            self.customers[order_id] = Customer(order_id)
            draw = self._draw
            self._world.schedule.after(
                draw.choice((0.2, 1.0, 3.0)) * draw.uniform(0.5, 1.5), self._scan, till, order_id, 0
            )

    def _scan(self, till: Till, order_id: str, tries: int) -> None:
        customer, draw, schedule = self.customers[order_id], self._draw, self._world.schedule
        image = till.shown
        if image is None or order_of_payload(image.data.decode()) != order_id:
            if tries < 8:
                schedule.after(2.0, self._scan, till, order_id, tries + 1)
            return
        customer.scanned = True
        kind = 0.0 if self.sure else draw.random()
        if kind < 0.76:
            after = draw.choice((0.3, 1.0, 4.0)) * draw.uniform(0.3, 2.0)
            status = Status.APPROVED if draw.random() < 0.8 else Status.COMPLETE
        elif kind < 0.88:
            after, status = draw.uniform(0.5, 8), Status.DECLINED
        elif kind < 0.94:
            # New customers take minutes to sign up; some approve when all is over.
            after, status = draw.uniform(20, 400), Status.APPROVED
        else:
            return
        schedule.after(after, self._decide, customer, status)

    def _decide(self, customer: Customer, status: Status) -> None:
        if not customer.decided:
            customer.decided = True
            self._world.partpay.decide(customer.order_id, status)

    def may_pay(self, order_id: str) -> bool:
        """Whether a customer has it on his phone and has not said yes or no."""
        customer = self.customers.get(order_id)
        return customer is not None and customer.scanned and not customer.decided

    def gap(self, where: str, order_id: str) -> None:
        """A moment in the closing of an order: somebody may be quicker just now."""
        if self.may_pay(order_id) and self._draw.random() < GAP_CHANCE:
            customer = self.customers[order_id]
            customer.decided = True
            if self._world.partpay.decide(order_id, Status.APPROVED):
                self._world.happened(f"approval in a gap: {where}")

    # -- cashiers ----------------------------------------------------------------------------

    def break_rule(self, till: Till, what: str) -> None:
        """What is drawn as `rogue.<what>` now and then, just now."""
        if self._world.faults.on:
            self._world.faults.drawn(f"rogue.{what}")
            self.cashiers[till.terminal_id].break_rule(what)

    def closed(self, till: Till, how: Closed) -> None:
        """See `Cashier.closed`."""
        self._world.note("sale-closed", till.terminal_id, how.counter, how.ending.value)
        self._world.oracles.till_closed(till.terminal_id, how)
        cashier = self.cashiers.get(till.terminal_id)
        if cashier is not None:
            cashier.closed(how)

    def told(self, till: Till, what: TellPerson) -> None:
        """See `Cashier.told`."""
        self._world.note("told", till.terminal_id, what.matter.value, what.counter)
        cashier = self.cashiers.get(till.terminal_id)
        if cashier is not None:
            cashier.told(what)

    def new_counter(self, till: Till, change: NewCounter) -> None:
        """A sale goes on under another counter."""
        self._world.note("new-counter", till.terminal_id, change.old, change.new)
