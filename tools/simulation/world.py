"""One world from one number: a bridge, its terminals, their people, and PartPay.

    faults on: cashiers sell, and nothing wrong may happen
    faults off: nobody begins anything, and everything has to settle, in the time that the rules allow
    then all that was still on its way arrives, and nothing may change any more

- Everything is drawn from `Plan.seed` and `Plan.index`, by streams of their own.
- `flat`: lengths take no time, so that only the wall clock differs between two runs that are compared.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from bridge.engine import Rules
from bridge.registry import Merchant, Pairing, Snapshot
from bridge.tender import Confirm, Timing
from drivers.link import messages as link
from drivers.link.authentication import KEY_BYTES, SESSION_NONCE_BYTES, Keys
from drivers.link.dialect import dialect_named
from tools.simulation.accidents import Accidents
from tools.simulation.callbacks import (
    MERCHANT_KEY,
    SERVICE_KEY,
    SERVICE_KEY_NEXT,
    Callbacks,
)
from tools.simulation.faults import Faults
from tools.simulation.line import Line
from tools.simulation.machine import Machine
from tools.simulation.network import Network
from tools.simulation.oracles import Oracles, Violation
from tools.simulation.partpay import PartPay
from tools.simulation.people import People
from tools.simulation.schedule import NEVER, Schedule
from tools.simulation.sometimes import Observer
from tools.simulation.streams import Streams
from tools.simulation.till import Till
from tools.terminal.core import Device

STORE = "AKL01"
OUTCOME_WITHIN_S = 60.0
"""After its own deadlines, once faults are off, a tender has its outcome (reliability, I-22)."""
REVERSAL_WITHIN_S = 600.0
"""So long after faults are off every reversal is done."""
LOOK_EVERY_S = 0.5
LAST_SALE_MINOR = 777
READY_S = 75.0
"""So long after all is well every terminal has its WELCOME; who was told "not paired" asks every 60 s (T9)."""
LAST_SALE_S = 60.0
"""When all is well a sale is over in this time."""
STEPS_MAX = 400_000
"""No world needs so many; one that does goes round in circles."""
ONE_IN = 5
"""One world in five has no callbacks, another one no polling."""
OBSERVED_EVERY = 2
"""One world in so many is watched for the conditions that have to come about."""
QUIET_WORLD_S = 4 * 3600.0
"""No world sells for longer than that."""
_NO_DECISIONS = frozenset({"up", "down", "accident"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What one world is made of. `sales`: by each cashier at most; None: as drawn."""

    seed: int
    index: int
    faults: bool = True
    without: tuple[str, ...] = ()
    sales: int | None = None
    tills: int | None = None
    flat: bool = False
    wall_jumps: bool = True
    trace: bool = False


@dataclass(slots=True)
class Result:
    """What became of a world."""

    plan: Plan
    tenders: int = 0
    orders: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    hash: str = ""
    decisions: str = ""
    """Of what was said, asked and done, without the bytes on the lines, in which dates stand."""
    faults: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    violation: str = ""
    text: str = ""
    by_chance: str = ""
    """A damaged frame whose check was right by chance: this world proves nothing."""
    abandoned: int = 0
    run_again: int = 0
    wall_compared: int = 0
    core_seconds: float = 0.0
    trace: list[tuple[float, str, tuple[object, ...]]] = field(default_factory=list)
    """When, what, and about what."""


class ByChance(Exception):  # noqa: N818 - what happened
    """A check of 16 bits was right by chance, and a message was taken that nobody said."""


class World:
    """All parts, and what they share."""

    def __init__(self, plan: Plan) -> None:
        logging.getLogger("bridge").setLevel(logging.CRITICAL + 1)
        self.plan = plan
        self.flat = plan.flat
        self.schedule = Schedule()
        self.streams = Streams(f"{plan.seed}/{plan.index}")
        without = set(plan.without)
        if not plan.wall_jumps:
            without.add("wall.jump")
        if plan.flat:
            # HELLO upon HELLO: two WELCOMEs of one second are one and the same frame, and the second counts for none.
            without |= {"noise", "pieces", "cable.cut", "rogue.babble", "rogue.hellos"}
        self.faults = Faults(self.streams, on=plan.faults, without=without)
        self._happened: Counter[str] = Counter()
        self._hash = blake2b(digest_size=16)
        self._decisions = blake2b(digest_size=16)
        self._trace: list[tuple[float, str, tuple[object, ...]]] | None = [] if plan.trace else None
        self.tenders = 0
        self.forged_frames: list[object] = []
        """What somebody without keys has said on an authenticated link."""
        draw = self.streams.of("world")
        self.dialect = dialect_named("native" if draw.random() < 0.7 else "classic")
        self.baud = draw.choice((115_200, 115_200, 19_200, 921_600))
        self.confirm = draw.choice(
            (*[Confirm.PREFER] * 5, *[Confirm.OFF] * 2, *[Confirm.REQUIRE] * 1)
        )
        kind = plan.index % ONE_IN
        self.callbacks_on = kind != 0
        self.polling = kind != 1
        self.no_status_at_all = draw.random() < 0.15
        self.observed = plan.index % OBSERVED_EVERY == 0
        self._set_up_shop(draw)
        order_lifetime = draw.choice((45.0, 60.0, 90.0, 150.0))
        self.rules = Rules(
            store=STORE,
            currency=554,
            currency_text="NZD",
            prefix="TEST ",
            timing=Timing(
                order_lifetime=order_lifetime,
                create_timeout=draw.choice((10.0, 15.0, 30.0)),
                cancel_timeout=draw.choice((6.0, 10.0, 20.0)),
                poll_first=2.0,
                poll_interval=3.0,
                stored_alert=600.0,
            ),
            confirm=self.confirm,
        )
        self._parts(draw, order_lifetime)
        if self.observed:
            self.faults.told = self.observer.fault

    def _set_up_shop(self, draw: Any) -> None:
        own_key = draw.random() < 0.4
        self.merchants = ("M-1", "M-2")
        self.merchant_keys = frozenset({"M-2"} if own_key else ())
        self.callback_keys: dict[str, tuple[bytes, ...]] = {"": (SERVICE_KEY, SERVICE_KEY_NEXT)}
        if own_key:
            self.callback_keys["M-2"] = (MERCHANT_KEY,)
        self.callback_keys_changed = False
        tills = draw.choice((1, 2, 2, 3, 4))
        tills = min(tills, self.plan.tills or tills)
        ports = tills + draw.choice((0, 1))
        keyed = draw.random() < 0.12
        self.keyed = keyed
        self.keys: dict[tuple[str, str], tuple[Keys, ...]] = {}
        self._nonces = self.streams.of("bridge-nonces")
        self._retired_pairings: set[int] = set()
        self._retired_merchants: set[str] = set()
        self.number_of: dict[str, int] = {}
        self.terminal_of: dict[int, str] = {}
        pairings = []
        for number in range(1, tills + 1):
            name = f"T{number:07d}"
            self.number_of[name], self.terminal_of[number] = number, name
            own = self.streams.of(f"device/{name}")
            merchants = own.choice((("M-1",), ("M-2",), ("M-1", "M-2")))
            serial = f"SN{number:06d}"
            if keyed:
                keys = Keys(own.randbytes(KEY_BYTES), own.randbytes(KEY_BYTES))
                self.keys[name, serial] = (keys,)
            pairings.append(
                Pairing(
                    number,
                    name,
                    serial,
                    f"/dev/ttyS{number - 1}",
                    self.dialect.name,
                    self.baud,
                    merchants,
                )
            )
        self._pairings = tuple(pairings)
        self._ports = [f"/dev/ttyS{number}" for number in range(ports)]
        self._register()

    def _parts(self, draw: Any, order_lifetime: float) -> None:
        self.oracles = Oracles(self)
        self.observer = Observer(self)
        self.accidents = Accidents(self)
        framing = "dle-crc16" if self.dialect.name == "native" else "stx-lrc"
        self.said_by_tills: deque[object] = deque(maxlen=1000)
        """A terminal that is put on another port says there what it could not say before."""
        self.lines = [Line(self, name, self.baud, framing) for name in self._ports]
        self.network = Network(self)
        self.partpay = PartPay(
            self,
            order_lifetime_s=order_lifetime * draw.choice((0.6, 1.0, 1.5, 3.0)),
            keeps_answers=draw.random() < 0.8,
        )
        self.callbacks = Callbacks(self)
        self.people = People(self)
        self.machine = Machine(self)
        self.tills: list[Till] = []
        self.till_of: dict[str, Till] = {}
        for pairing, line in zip(self._pairings, self.lines, strict=False):
            own = self.streams.of(f"device/{pairing.terminal_id}")
            device = Device(
                pairing.terminal_id,
                pairing.serial_number,
                formats=own.choice((b"\x10", b"\x10\x83", b"\x81\x01\x10")),
                max_body=own.choice((640, 1024, 4092)),
                can_authenticate=self.keyed,
            )
            keys = self.keys.get((pairing.terminal_id, pairing.serial_number), (None,))[0]
            till = Till(self, device, line, keys)
            self.tills.append(till)
            self.till_of[pairing.terminal_id] = till
        most = self.plan.sales
        for till in self.tills:
            sales = self.streams.of(f"device/{till.terminal_id}").randrange(6, 16)
            self.people.hire(till, sales if most is None else min(sales, most))

    # -- what parts ask ----------------------------------------------------------------------

    def keys_of(self, terminal_id: str, serial_number: str) -> tuple[Keys, ...]:
        """All keys of a pairing."""
        return self.keys.get((terminal_id, serial_number), ())

    def fresh_nonce(self) -> bytes:
        """Of the bridge."""
        return self._nonces.randbytes(SESSION_NONCE_BYTES)

    def pairing_of(self, terminal_id: str) -> Pairing:
        """As it was set up."""
        return self._pairings[self.number_of[terminal_id] - 1]

    def _register(self) -> None:
        self.snapshot = Snapshot.of(
            [
                Merchant(
                    name,
                    name,
                    callback_key_file="own" if name in self.merchant_keys else None,
                    retired=name in self._retired_merchants,
                )
                for name in self.merchants
            ],
            [
                replace(pairing, retired=pairing.pairing in self._retired_pairings)
                for pairing in self._pairings
            ],
            self.keys,
        )

    def retire_pairing(self, number: int, *, retired: bool) -> None:
        """A terminal is removed by command, or added again."""
        (self._retired_pairings.add if retired else self._retired_pairings.discard)(number)
        self._register()
        self.machine.registry_changed()

    def retire_merchant(self, name: str, *, retired: bool) -> None:
        """A merchant is removed by command, or added again."""
        (self._retired_merchants.add if retired else self._retired_merchants.discard)(name)
        self._register()
        self.machine.registry_changed()

    def heard_by(self, till: Till, message: object) -> None:
        """A terminal has taken a message."""
        if not till.line.taken(till.line.down, message):
            self.by_chance(f"{till.line.name} down: {message}")

    def by_chance(self, text: str) -> None:
        """Nobody said this, and the check let it through: what follows proves nothing."""
        raise ByChance(text)

    def cancelled(self, terminal_id: str, counter: int) -> None:
        """A cashier has pressed CANCEL."""
        self.gap("CANCEL is said", terminal_id, counter)

    def gap(self, where: str, terminal_id: str, counter: int) -> None:
        """See `People.gap`, for all orders of a tender."""
        for order_id in self.partpay.of_tender.get((terminal_id, counter), ()):
            self.people.gap(where, order_id)

    def now_silent(self, terminal_id: str) -> bool:
        """Whether a terminal says nothing by itself: off, unplugged, or asking nobody."""
        till = self.till_of[terminal_id]
        return till.terminal is None

    def unknown_frame(self, till: Till, draw: Any) -> None:
        """A whole frame that says nothing, from a terminal."""
        body = bytes((draw.choice((0x01, 0x44, 0x10, 0x11, 0x93)), draw.randrange(256)))
        body += draw.randbytes(draw.choice((0, 3, 30)))
        if self.dialect.name == "classic":
            body = body.hex().upper().encode()
        frame = self.dialect.framing.encode(body)
        if till.line.connected:
            till.line.inject(till.line.up, frame)

    def unkeyed_frame(self, till: Till, draw: Any, counter: int) -> None:
        """Somebody on the cable without the keys says something as this terminal."""
        name = till.terminal_id
        message: link.FromTerminal = draw.choice(
            (
                link.Stored(name, counter, draw.choice(("00", "17"))),
                link.Cancel(name, counter),
                link.Tender(name, counter + 3, draw.randrange(1, 9999), 554),
            )
        )
        encode, number = self.dialect.encoding.encode, draw.randrange(1, 256)
        if draw.random() < 0.5:
            code = draw.randbytes(8)
            body = encode(message, number, message_counter=10**6, code=lambda _: code)
        else:
            body = encode(message, number)
        if till.line.connected:
            self.forged_frames.append(message)
            till.line.inject(till.line.up, self.dialect.framing.encode(body))

    # -- records -----------------------------------------------------------------------------

    def happened(self, condition: str) -> None:
        """A condition that has to come about now and then did."""
        self._happened[condition] += 1

    def note(self, what: str, *about: object) -> None:
        """Into the event log, of which the hash is kept."""
        entry = f"{self.schedule.now!r} {what} {about}".encode()
        self._hash.update(entry)
        if what not in _NO_DECISIONS:
            self._decisions.update(entry)
        if self._trace is not None:
            self._trace.append((self.schedule.now, what, about))

    # -- the run -----------------------------------------------------------------------------

    def run(self) -> Result:
        """To its end, or to what may never happen."""
        result = Result(self.plan)
        try:
            self._begin()
            self._sell()
            off_at = self._faults_off()
            self._settle(off_at)
            self._all_arrives()
            self._sells_still()
            self._judge()
        except Violation as found:
            result.violation, result.text = found.name, found.text
        except ByChance as chance:
            result.by_chance = str(chance)
        except Exception as error:  # noqa: BLE001 - whatever is raised, somebody has to see it
            result.violation = "crash"
            result.text = f"{type(error).__name__}: {error} in {_place(error)}"
        finally:
            self.machine.close()
        result.tenders = self.tenders
        result.orders = len(self.partpay.books.orders())
        result.steps = self.schedule.steps
        result.virtual_s = self.schedule.now
        result.hash = self._hash.hexdigest()
        result.decisions = self._decisions.hexdigest()
        result.faults = self.faults.count
        result.happened = self._happened
        result.abandoned = len(self.oracles.abandoned)
        result.trace = self._trace or []
        return result

    def _begin(self) -> None:
        self.machine.start()
        for till in self.tills:
            till.power_on()
        if self.faults.on:
            self.accidents.begin()

    def _sell(self) -> None:
        step, schedule, people = self.schedule.step, self.schedule, self.people
        until = 0.0
        while not people.done and until < QUIET_WORLD_S:
            until += LOOK_EVERY_S
            while schedule.next_at() < until:
                step()
            self.oracles.require(
                schedule.steps < STEPS_MAX, "no-end", f"{schedule.steps} steps, and no end of it"
            )
        # The last sales are still under way: some time for them to meet faults too.
        # From the last look on, and not from whatever happened last: a jump of the wall clock moves nothing.
        until += self.streams.of("world").uniform(0.0, 40.0)
        while schedule.next_at() < until:
            step()
        schedule.now = until

    def _faults_off(self) -> float:
        self.note("faults-off")
        self.faults.end()
        self.accidents.calm()
        for cashier in self.people.cashiers.values():
            cashier.left = 0
        # What stands still goes on when it goes on: from then on the rules count.
        return max(self.schedule.now, self.machine.stalled_until, self.machine.frozen_until)

    def _settle(self, off_at: float) -> None:
        timing = self.rules.timing
        rules_s = timing.create_timeout + 10.0 + 5.0 + timing.order_lifetime + timing.cancel_timeout
        outcome_by = off_at + rules_s + OUTCOME_WITHIN_S
        reversal_by = outcome_by + REVERSAL_WITHIN_S
        schedule = self.schedule
        look_at = off_at
        while True:
            while schedule.next_at() <= look_at:
                schedule.step()
            schedule.now = look_at
            if self._is_settled():
                return
            if look_at > outcome_by:
                without = [row for row in self._live() if row[2] == "tender" and row[4] is None]
                self.oracles.require(
                    not without, "no-outcome", f"{look_at - off_at:.0f} s after faults: {without}"
                )
            if look_at > reversal_by:
                live = self._live()
                open_there = [till.memory.kept.open for till in self.tills if till.memory.kept.open]
                self.oracles.require(
                    False,
                    "not-settled",
                    f"{look_at - off_at:.0f} s after faults: {live} {open_there}",
                )
            look_at += LOOK_EVERY_S if look_at < off_at + 60 else 5 * LOOK_EVERY_S

    def _is_settled(self) -> bool:
        if any(till.memory.kept.open for till in self.tills) or self.machine.life is None:
            return False
        return not self._live()

    def _live(self) -> list[tuple[Any, ...]]:
        """Terminal, counter, kind, state, code, stored and reversal of what is not settled."""
        rows = self.machine.disk.execute(
            "SELECT terminal, counter, kind, state, code, stored, reversal FROM tenders WHERE live=1"
        ).fetchall()
        lost = self.oracles.lost
        # Of a tender from before a restored copy, its outcome at least is known (O-15).
        return [row for row in rows if (row[0], row[1]) not in lost or row[4] is None]

    def _all_arrives(self) -> None:
        """What was still on its way, hours late: nothing may come of it."""
        schedule = self.schedule
        while (self.network.flying or self.callbacks.flying) and schedule.next_at() < NEVER:
            schedule.step()
        until = schedule.now + 5.0
        while schedule.next_at() < until:
            schedule.step()
        # Not at whatever happened last: a jump of the wall clock moves nothing.
        off_at = schedule.now = until
        if not self._is_settled():
            self._settle(off_at)

    def _sells_still(self) -> None:
        """One more sale at each terminal, to a customer who pays: after all that it has to work."""
        people, schedule = self.people, self.schedule
        people.sure = True
        until = schedule.now + READY_S
        while schedule.next_at() < until and not all(till.ready for till in self.tills):
            schedule.step()
        for till in self.tills:
            began = till.person(
                lambda terminal, now: terminal.sale(LAST_SALE_MINOR, now, reference="LAST")
            )
            state = till.terminal and till.terminal.state
            self.oracles.require(began, "cannot-sell", f"{till.terminal_id} is {state} in the end")
            self.tenders += 1
        until = schedule.now + LAST_SALE_S
        while schedule.next_at() < until and not self._is_settled():
            schedule.step()
        for till in self.tills:
            # Not the last that came: the outcome of an older tender may come after it.
            kept = till.memory.kept.outcomes
            self.oracles.require(
                ("00", LAST_SALE_MINOR) in [(one.response_code, one.amount_minor) for one in kept],
                "cannot-sell",
                f"{till.terminal_id}: after all is well a sale ends so: {kept[-1:]}",
            )

    def _judge(self) -> None:
        self.oracles.settled()
        self.oracles.journal()


def _place(error: Exception) -> str:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return "?"
    code = place.tb_frame.f_code
    return f"{code.co_filename.rsplit('/', 2)[-1]}:{place.tb_lineno} ({code.co_name})"


def run(plan: Plan) -> Result:
    """One world, to its end."""
    return World(plan).run()
