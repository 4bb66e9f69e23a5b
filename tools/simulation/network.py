"""How calls and answers travel between the bridge and PartPay, or do not.

- A call that was sent arrives whatever becomes of who sent it: a bridge that was killed, or has given it up.
- What comes back after the process that asked has ended, or after its deadline, comes to nobody.
- Calls wait for their pool as in the daemon: sales, questions, reversals, pictures.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge import carrier
from bridge.events import CodeRead, PartPayAnswered
from bridge.partpay.answers import (
    AtUrl,
    Failure,
    HttpAnswer,
    Inline,
    NoAnswer,
    read_cancel,
    read_create,
    read_picture,
    read_refund,
    read_told,
)
from bridge.partpay.api import Api
from bridge.tender import Ask, Kind, Tender, Wanted
from tools.simulation.partpay import Access, Asking, Call, payload_of

if TYPE_CHECKING:
    from tools.simulation.machine import Life
    from tools.simulation.world import World

READING_S = 0.002
QUICK_S = 0.002
CONNECT_S = 5.0
LATE_S = (0.5, 90.0)
ASKING = Asking()
API = Api()


@dataclass(slots=True)
class Flight:
    """One call on its way. `life`: the process that asked."""

    call: Call
    pairing: int
    counter: int
    attempt: int
    ask: Ask
    limit_s: float
    life: Life
    pool: Pool
    unpolled: bool = False
    """A question after an open tender, in a world without polling."""


@dataclass(slots=True)
class Pool:
    """Threads of the daemon that make calls."""

    room: int
    waiting: deque[Flight] = field(default_factory=deque)


class Network:
    """Between the two. `outage`: "", "refused", "silent" or "deaf"."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._faults = world.faults
        self._schedule = world.schedule
        self._draw = world.streams.of("network")
        self.outage = ""
        self.token_away = False
        self.under_way: defaultdict[tuple[str, int], list[Call]] = defaultdict(list)
        """Creates that are still to arrive, by tender."""
        self.flying = 0

    def pools(self) -> dict[str, Pool]:
        """Those of a process that begins."""
        return {
            "sale": Pool(carrier.SALE_CALLS),
            "status": Pool(carrier.STATUS_CALLS),
            "reversal": Pool(carrier.REVERSAL_CALLS),
            "picture": Pool(2),
        }

    def ask(self, t: Tender, wanted: Wanted, life: Life) -> Call | None:
        """The bridge wants to know; the call that it makes of it."""
        a = next(a for a in t.attempts if a.number == wanted.attempt)
        if wanted.ask is Ask.PICTURE:
            match a.run.picture:
                case Inline(data=data):
                    event = self._code(t.pairing, t.counter, a.number, data)
                    self._schedule.after(READING_S, life.post, event)
                    return None
                case AtUrl(url=url):
                    order_id = url.rsplit("/", 1)[1].removesuffix(".jpg")
                    call = Call(kind="picture", order_id=order_id)
                case None:
                    event = CodeRead(t.pairing, t.counter, a.number, None, "there is no picture")
                    self._schedule.after(QUICK_S, life.post, event)
                    return None
        else:
            call = carrier.call(ASKING, Access(t.merchant), t, a, wanted)  # type: ignore[arg-type,assignment]
            if wanted.ask is Ask.CREATE:
                life.creates.add(call.gateway_reference)
        pool = life.pools[_pool_of(t, wanted.ask)]
        flight = Flight(
            call, t.pairing, t.counter, a.number, wanted.ask, wanted.limit_s, life, pool
        )
        if not self._world.polling and wanted.ask is Ask.STATUS:
            # Reversals may ask, in most of these worlds: it is sales that polling is there for.
            flight.unpolled = t.is_open or self._world.no_status_at_all
        if pool.room > 0:
            pool.room -= 1
            self._start(flight)
        else:
            pool.waiting.append(flight)
        return call

    # -- there -------------------------------------------------------------------------------

    def _start(self, flight: Flight) -> None:
        faults, draw, limit_s = self._faults, self._draw, flight.limit_s
        takes_s = draw.expovariate(25.0) + 0.004
        if faults.on:
            if self.outage == "refused" or faults.hits("call.refused"):
                at = QUICK_S if draw.random() < 0.7 else min(CONNECT_S, limit_s)
                self._fails(flight, at, surely_not_sent=True, why="connection refused")
                return
            if self.token_away or faults.hits("token.trouble"):
                self._fails(flight, takes_s, surely_not_sent=True, why="no token")
                return
            if self.outage == "silent":
                self._fails(flight, limit_s)
                return
            if faults.hits("call.lost"):
                self._fails(flight, draw.choice((limit_s, takes_s)))
                return
            if faults.hits("call.broken"):
                if draw.random() < 0.5:
                    self._arrives(flight.call, takes_s)
                self._fails(flight, takes_s * 1.5)
                return
            if self.outage == "deaf" or faults.hits("call.answer-lost"):
                self._arrives(flight.call, takes_s)
                self._fails(flight, draw.choice((limit_s, takes_s * 1.5)))
                return
            if faults.hits("call.late"):
                late_s = faults.stream("call.late").uniform(*LATE_S)
                self._arrives(flight.call, limit_s + late_s)
                self._fails(flight, draw.choice((limit_s, takes_s)))
                return
            twice_s = draw.uniform(0.0, 20.0) if faults.hits("call.twice") else None
            if faults.hits("call.slow"):
                takes_s = draw.uniform(0.5, limit_s * 1.2)
            if flight.unpolled:
                self._schedule.after(takes_s, self._back, flight, HttpAnswer(503, {}, b""))
                return
        else:
            twice_s = None
        self._on_the_way(flight.call)
        if takes_s >= limit_s:
            self._schedule.after(takes_s / 2, self._reach, flight.call)
            self._fails(flight, limit_s)
        else:
            self._schedule.after(takes_s / 2, self._reach_and_answer, flight, takes_s / 2, twice_s)

    def _fails(
        self,
        flight: Flight,
        after_s: float,
        *,
        surely_not_sent: bool = False,
        why: str = "no whole answer came in time",
    ) -> None:
        self._schedule.after(after_s, self._back, flight, Failure(surely_not_sent, why))

    def _arrives(self, call: Call, after_s: float) -> None:
        """Without an answer that anybody waits for."""
        self._on_the_way(call)
        self._schedule.after(after_s, self._reach, call)

    def _on_the_way(self, call: Call) -> None:
        self.flying += 1
        if call.kind == "create":
            self.under_way[_tender_of(call)].append(call)

    def _reach(self, call: Call) -> HttpAnswer:
        self.flying -= 1
        if call.kind == "create":
            self.under_way[_tender_of(call)].remove(call)
        return self._world.partpay.handle(call)

    def _reach_and_answer(self, flight: Flight, back_s: float, twice_s: float | None) -> None:
        got = self._reach(flight.call)
        if twice_s is not None and not 400 <= got.status < 500:
            # Something on the way has lost the first answer, and asked again by itself.
            self._arrives(flight.call, twice_s)
        self._schedule.after(back_s, self._back, flight, got)

    # -- and back ----------------------------------------------------------------------------

    def _back(self, flight: Flight, got: HttpAnswer | Failure) -> None:
        life, pool = flight.life, flight.pool
        if not life.alive:
            return
        if pool.waiting:
            self._start(pool.waiting.popleft())
        else:
            pool.room += 1
        life.creates.discard(flight.call.gateway_reference)
        if flight.ask is Ask.CANCEL:
            self._world.people.gap("cancel-answered", flight.call.order_id)
        life.post(self._event(flight, got))

    def _event(self, flight: Flight, got: HttpAnswer | Failure) -> CodeRead | PartPayAnswered:
        value: object
        match flight.ask:
            case Ask.PICTURE:
                picture = read_picture(got)
                if isinstance(picture, NoAnswer):
                    why = f"its picture cannot be fetched: {picture.why}"
                    return CodeRead(
                        flight.pairing, flight.counter, flight.attempt, None, why, fetched=False
                    )
                return self._code(flight.pairing, flight.counter, flight.attempt, picture)
            case Ask.CREATE:
                value = read_create(got, API)
            case Ask.ORDER | Ask.STATUS:
                value = read_told(got, API)
            case Ask.CANCEL:
                value = read_cancel(got)
            case Ask.REFUND:
                value = read_refund(got)
        return PartPayAnswered(flight.pairing, flight.counter, flight.attempt, flight.ask, value)

    @staticmethod
    def _code(pairing: int, counter: int, attempt: int, picture: bytes) -> CodeRead:
        payload = payload_of(picture)
        why = "" if payload is not None else "PartPay's picture holds no code"
        return CodeRead(pairing, counter, attempt, payload, why)


def _pool_of(t: Tender, ask: Ask) -> str:
    if ask is Ask.PICTURE:
        return "picture"
    if not t.is_open or t.kind is Kind.REFUND:
        return "reversal"
    return "status" if ask in (Ask.STATUS, Ask.ORDER) else "sale"


def _tender_of(call: Call) -> tuple[str, int]:
    _, terminal_id, counter, _, _ = call.gateway_reference.rsplit("-", 4)
    return terminal_id, int(counter)
