"""What has to happen now and then; a campaign in which one of these never happened proves less than it says.

- The table of both sides (reliability, section 6.3): what the terminal does, against what is known of PartPay.
- An approval in each gap of closing an order; a crash between each write and what it was written for; every fault;
  a recovery that finds each state.
- Watching changes nothing that is drawn or decided.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.effects import Answer, AskPartPay, Effect, Say, ShowCode, Welcome
from bridge.events import CallbackReceived, Event, PartPayAnswered
from bridge.lane_events import Heard
from drivers.link import messages as link
from tools.simulation.faults import KINDS

if TYPE_CHECKING:
    from tools.simulation.line import Line
    from tools.simulation.machine import Life
    from tools.simulation.world import World

NO_ANSWER, PENDING, PAID, DEAD, AWAY = "no answer", "pending", "paid", "dead", "not reachable"
COLUMNS = (NO_ANSWER, PENDING, PAID, DEAD, AWAY)
ROWS = (
    "in time",
    "deadline passed",
    "CANCEL",
    "unplugged",
    "repeats TENDER",
    "other content",
    "new counter",
    "asks",
    "was told 00",
    "was told no",
    "gave up, silent",
)
CANNOT_BE = {("was told 00", NO_ANSWER), ("was told 00", DEAD), ("new counter", DEAD)}
"""No order, no 00; what is paid stays so in PartPay's books. What is dead is closed at once, and never found open."""

CRASH_BEFORE = (
    "ACCEPTED", "OUTCOME", "PROGRESS", "REFUSED", "WELCOME", "image",
    "create", "order", "status", "cancel", "refund", "answer to a callback",
)  # fmt: skip
GAPS = (
    "CANCEL is said",
    "cancel-arrives",
    "between 202 and cancelled",
    "cancel-answered",
    "pending after cancel",
    "outcome-said",
)
STATES = ("accepted", "ordered", "closing", "unstored", "owed")
"""A tender's states, for what has to meet each of them."""
RECOVERIES = STATES
OTHERS = (
    "a kill during the recovery",
    "approved after the terminal was told 17",
    "approved after the terminal was told 54",
    "approved after the terminal was told 91",
    "approved after the terminal was told 96",
    "outcome 00", "outcome 05", "outcome 17", "outcome 54", "outcome 91", "outcome 96",
    "refund 00", "refund 05", "refund 91",
    "callback before its create answer",
    "a second attempt at an order",
    "the same sale keyed again waits for a reversal",
    "a reversal is done by a refund", "a reversal is done by a cancel",
    "REFUSED 1", "REFUSED 2", "REFUSED 3", "REFUSED 4", "REFUSED 5", "REFUSED 6", "REFUSED 7",
    "REFUSED 8", "REFUSED 10", "REFUSED 11",
)  # fmt: skip


def conditions() -> list[str]:
    """All of them, by name."""
    cells = [f"table: {row} / {column}" for row in ROWS for column in COLUMNS]
    impossible = {f"table: {row} / {column}" for row, column in CANNOT_BE}
    return [
        *(cell for cell in cells if cell not in impossible),
        *(f"crash before: {what}" for what in CRASH_BEFORE),
        *(f"approval in a gap: {where}" for where in GAPS),
        *(f"recovery finds: {state}" for state in RECOVERIES),
        *OTHERS,
        *(f"fault: {name}" for name in KINDS),
        *(f"fault: {name} meets {state}" for name in KINDS for state in STATES),
    ]


class Observer:
    """Looks on, and counts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._happened = world.happened
        self._closing: set[tuple[str, int]] = set()

    # -- what the bridge is about to know ----------------------------------------------------

    def _form(self, pairing: int, counter: int) -> dict[str, Any] | None:
        disk = self._world.machine.disk
        found = disk.execute(
            "SELECT form FROM tenders WHERE pairing=? AND counter=?", (pairing, counter)
        ).fetchone()
        return None if found is None else json.loads(found[0])

    def fault(self, name: str) -> None:
        """A fault was drawn: which states does it meet?"""
        disk = self._world.machine.disk
        if not self._world.machine.made or disk.in_transaction:
            return
        for state, stored, reversal in disk.execute(
            "SELECT DISTINCT state, stored, reversal FROM tenders WHERE live=1"
        ).fetchall():
            for met in _states(state, stored, reversal):
                self._happened(f"fault: {name} meets {met}")

    def _column(self, form: dict[str, Any]) -> str:
        if "outcome.code" in form and self._world.network.outage in ("refused", "silent"):
            return AWAY
        last = max(
            (int(name[1 : name.index(".")]) for name in form if name[0] == "a" and "." in name),
            default=1,
        )
        told = {form.get(f"a{n}.told") for n in range(1, last + 1)}
        signed = form.get(f"a{last}.signed")
        if told & {"approved", "complete"} or signed in ("approved", "complete"):
            return PAID
        if form.get(f"a{last}.told") in ("declined", "expired", "cancelled"):
            return DEAD
        if self._world.network.outage in ("refused", "silent"):
            return AWAY
        return NO_ANSWER if form.get(f"a{last}.order_id") is None else PENDING

    def _cell(self, row: str, form: dict[str, Any]) -> None:
        self._happened(f"table: {row} / {self._column(form)}")

    # -- what happens ------------------------------------------------------------------------

    def heard(self, life: Life, event: Heard) -> None:
        """A message of a terminal is about to reach the engine."""
        if not self._world.observed:
            return
        message = event.message
        terminal_id = getattr(message, "terminal_id", None)
        pairing = self._world.number_of.get(terminal_id) if terminal_id else None
        if pairing is None:
            return
        counter = getattr(message, "counter", None)
        match message:
            case link.Hello():
                for (number,) in self._live(pairing):
                    self._asks(pairing, number)
            case link.Query():
                if counter is not None:
                    self._asks(pairing, counter)
            case link.Cancel():
                form = self._form(pairing, message.counter)
                if form is not None:
                    if "outcome.code" in form:
                        self._told(form)
                    self._cell("CANCEL", form)
            case link.Tender():
                self._tender(pairing, message)
            case _:
                pass

    def _live(self, pairing: int) -> list[tuple[int]]:
        if not self._world.machine.made:
            return []
        return self._world.machine.disk.execute(
            "SELECT counter FROM tenders WHERE pairing=? AND live=1 AND kind='tender'", (pairing,)
        ).fetchall()

    def _asks(self, pairing: int, counter: int) -> None:
        form = self._form(pairing, counter)
        if form is None:
            return
        self._cell("asks", form)
        if "outcome.code" in form:
            self._told(form)

    def _told(self, form: dict[str, Any]) -> None:
        self._cell("was told 00" if form["outcome.code"] == "00" else "was told no", form)

    def _tender(self, pairing: int, message: link.Tender) -> None:
        form = self._form(pairing, message.counter)
        if form is not None:
            same = form["amount_minor"] == message.amount_minor
            self._cell("repeats TENDER" if same else "other content", form)
            return
        for (number,) in self._live(pairing):
            live = self._form(pairing, number)
            if live is not None and "outcome.code" not in live:
                self._cell("new counter", live)

    def unplugged(self, line: Line) -> None:
        """A terminal is out of reach from now on."""
        if not self._world.observed:
            return
        for till in self._world.tills:
            if till.line is line:
                pairing = self._world.number_of[till.terminal_id]
                for (counter,) in self._live(pairing):
                    form = self._form(pairing, counter)
                    if form is not None:
                        self._cell("unplugged", form)

    def turned(self, life: Life, batch: list[Event], effects: list[Effect]) -> None:
        """The engine has taken a batch and committed it."""
        world = self._world
        if not world.observed:
            return
        for event in batch:
            match event:
                case Heard(message=link.Tender() as message):
                    pairing = world.number_of.get(message.terminal_id, 0)
                    form = self._form(pairing, message.counter)
                    if form is not None and form.get("hold_until") is not None:
                        self._happened("the same sale keyed again waits for a reversal")
                case PartPayAnswered(pairing=pairing, counter=counter, ask=ask):
                    form = self._form(pairing, counter)
                    if form is None or form["kind"] != "tender":
                        continue
                    self._answered(pairing, form, str(ask))
                case CallbackReceived(callback=callback):
                    found = world.machine.disk.execute(
                        "SELECT order_id FROM attempts WHERE gateway_reference=?",
                        (callback.gateway_reference,),
                    ).fetchone()
                    if found and any(
                        reference == callback.gateway_reference for reference in self._creates(life)
                    ):
                        self._happened("callback before its create answer")
                case _:
                    pass

    @staticmethod
    def _creates(life: Life) -> set[str]:
        return life.creates

    def _answered(self, pairing: int, form: dict[str, Any], ask: str) -> None:
        world = self._world
        key = (world.terminal_of[pairing], form["counter"])
        if "outcome.code" in form and key in world.oracles.told:
            self._told(form)
            if form.get("stored") is None and world.now_silent(key[0]):
                self._cell("gave up, silent", form)
            return
        why = form.get("closing_code")
        if why is None and form.get("outcome.code") != "91":
            self._cell("in time", form)
        else:
            self._cell("CANCEL" if why == "17" else "deadline passed", form)
        till = world.till_of[key[0]]
        if not till.line.connected or till.terminal is None:
            self._cell("unplugged", form)
        if world.now_silent(key[0]):
            self._cell("gave up, silent", form)
        if "a2.gateway_reference" in form:
            self._happened("a second attempt at an order")

    def starting(self, life: Life) -> None:
        """A process begins: what does it find?"""
        world = self._world
        if not world.machine.made:
            return
        for state, stored, reversal in world.machine.disk.execute(
            "SELECT state, stored, reversal FROM tenders WHERE live=1"
        ).fetchall():
            for found in _states(state, stored, reversal):
                self._happened(f"recovery finds: {found}")

    def lost(self, effect: Effect) -> None:
        """The process was killed before this was let out."""
        match effect:
            case Say(message=message):
                self._happened(f"crash before: {message.type_name}")
            case Welcome():
                self._happened("crash before: WELCOME")
            case ShowCode():
                self._happened("crash before: image")
            case AskPartPay(wanted=wanted):
                self._happened(f"crash before: {wanted.ask}")
            case Answer():
                self._happened("crash before: answer to a callback")
            case _:
                pass

    def said(self, message: link.Message) -> None:
        """A message leaves for a terminal."""
        if isinstance(message, link.Outcome):
            self._outcome(message)

    def _outcome(self, message: link.Outcome) -> None:
        key = (message.terminal_id, message.counter)
        said = self._world.oracles.contents.get(key)
        kind = "refund" if said and isinstance(said[0], link.Refund) else "outcome"
        self._happened(f"{kind} {message.response_code}")


def _states(state: str, stored: int, reversal: str) -> list[str]:
    """The words of STATES for one row."""
    found = [state] if state != "closed" else ([] if stored else ["unstored"])
    return [*found, "owed"] if reversal == "owed" else found
