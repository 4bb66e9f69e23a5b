"""Whoever has the cable of a terminal with keys: what is replayed, reordered, altered, made up moves no tender.

The real engine, lane and simulated terminal on virtual time; between them somebody who sees every frame, can keep it
back, send it twice or late, change it with the check put right, and say things of their own in both directions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.effects import (
    ClearPanel,
    Effect,
    Identify,
    KeysProved,
    Say,
    ShowCode,
    ShowText,
    Welcome,
)
from bridge.events import RegistryChanged
from bridge.lane import Deliver, Lane
from bridge.registry import Snapshot
from bridge.tender import Ask, State
from drivers.display.geometry import Panel
from drivers.link import messages as link
from drivers.link.authentication import Keys
from drivers.link.dialect import DIALECTS
from drivers.link.framing import Frame
from tests.bridge.shop import LANE, Shop
from tools.terminal.core import Device, NotNow, Terminal
from tools.terminal.core import State as TerminalState
from tools.terminal.link import TerminalLink
from tools.terminal.storage import InMemory, Kept

KEYS = Keys(bytes(range(32)), bytes(range(100, 132)))
OLD_KEYS = Keys(b"\x07" * 32, b"\x08" * 32)
Between = Callable[[str, bytes], list[bytes]]
"""Direction ("to bridge", "to terminal") and a frame -> the frames that go on."""


def honest(direction: str, frame: bytes) -> list[bytes]:
    return [frame]


class Shopfloor:
    """One terminal with keys at one line of the real core, and somebody between."""

    def __init__(
        self, folder: Path, dialect: str = "native", keys: tuple[Keys, ...] = (KEYS,)
    ) -> None:
        self.shop = Shop(folder)
        self.dialect = DIALECTS[dialect]
        self.set_keys(*keys)
        self._numbers = iter(range(1, 1 << 30))
        self.lane = Lane(
            LANE,
            self.dialect,
            post=self._post,
            draw=self._draw,
            keys_of=self._keys_of,
            fresh_nonce=lambda: next(self._numbers).to_bytes(8, "big"),
        )
        self.storage = InMemory(Kept(keys=KEYS))
        self.device = Device("T0000001", "SN1", panel=Panel(64, 64), can_authenticate=True)
        self.terminal = self._terminal()
        self.between: Between = honest
        self.seen: list[tuple[str, bytes]] = []
        self._done = 0
        self.proved: list[KeysProved] = []

    def _terminal(self) -> TerminalLink:
        def random_bytes(count: int) -> bytes:
            return next(self._numbers).to_bytes(count, "little")

        return TerminalLink(Terminal(self.device, self.storage, random_bytes), self.dialect)

    @property
    def now(self) -> float:
        return self.shop.clock

    def set_keys(self, *keys: Keys) -> None:
        was = self.shop.snapshot
        every = {("T0000001", "SN1"): keys} if keys else {}
        self.shop.snapshot = Snapshot.of(was.merchants.values(), was.pairings, every)

    def _keys_of(self, terminal_id: str, serial_number: str) -> tuple[Keys, ...]:
        return self.shop.snapshot.keys_of(terminal_id, serial_number)

    # -- wires

    def _post(self, event: Any) -> None:
        self.shop.post(event)

    def _draw(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None, deliver: Deliver
    ) -> None:
        """It is being drawn all the time: nobody looks at it here."""

    def plug(self) -> None:
        self.lane.line_up(self.now)
        self.terminal.plugged(self.now)
        self.settle()

    def settle(self) -> None:
        for _ in range(400):
            self._effects()
            out = self.lane.take_output(self.now)
            if out:
                self.lane.written(self.now)
                for data in self._pass("to terminal", out):
                    self.terminal.receive(data, self.now)
            back = self.terminal.take_output(self.now)
            if back:
                self.terminal.written(self.now)
                for data in self._pass("to bridge", back):
                    self.lane.receive(data, self.now)
            if not out and not back:
                return
        raise AssertionError("they talk for ever")

    def _pass(self, direction: str, data: bytes) -> list[bytes]:
        """ACK and NAK pass; each frame as whoever is between wants it."""
        decoder = self.dialect.framing.decoder(4092)
        frames = [event for event in decoder.feed(data) if isinstance(event, Frame)]
        if not frames:
            return [data]
        (frame,) = frames
        whole = self.dialect.framing.encode(frame.body)
        assert data.endswith(whole)
        self.seen.append((direction, whole))
        return [data[: -len(whole)], *self.between(direction, whole)]

    def _effects(self) -> None:
        while self._done < len(self.shop.effects):
            effect: Effect = self.shop.effects[self._done]
            self._done += 1
            match effect:
                case Welcome(message=message, hello=hello):
                    self.lane.say(message, self.now, answers=hello)
                case Say(message=message):
                    self.lane.say(message, self.now)
                case Identify():
                    self.lane.identify(self.now)
                case ShowCode():
                    self.lane.show_code(effect.accepted, effect.payload, effect.life_ends, self.now)
                case ClearPanel(after_outcome=after):
                    self.lane.clear(self.now, after_outcome=after)
                case ShowText(text=text):
                    self.lane.show_text(text, self.now)
                case KeysProved():
                    self.proved.append(effect)
                case _:
                    pass

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        self.settle()
        while True:
            wakes = (
                self.lane.next_wake(), self.terminal.next_wake(), self.shop.engine.next_wake()
            )  # fmt: skip
            due = [at for at in wakes if at is not None and at <= until]
            if not due:
                break
            self.shop.clock = max(self.now, min(due))
            self.shop.post()
            self.lane.wake(self.now)
            self.terminal.wake(self.now)
            self.settle()
        self.shop.clock = until

    # -- people and PartPay

    def sale(self, amount_minor: int = 12_550) -> int:
        self.terminal.act(self.terminal.terminal.sale(amount_minor, self.now), self.now)
        self.settle()
        return self.terminal.terminal.kept.counter

    def partpay(self, status: str | None) -> None:
        """PartPay answers all that waits; `status` of the order."""
        while (asked := self.shop.pending(Ask.CREATE)) is not None:
            counter = asked.tender.counter
            self.shop.created(f"order-{counter}", f"number-{counter}")
        while self.shop.pending(Ask.PICTURE):
            self.shop.read_code()
        for ask in (Ask.STATUS, Ask.ORDER):
            while status is not None and self.shop.pending(ask):
                self.shop.status(status, ask)
        while self.shop.pending(Ask.CANCEL):
            self.shop.cancelled()
        self.settle()

    def say_to_bridge(self, message: link.Message, number: int = 77) -> None:
        """Somebody's own words, without a code."""
        body = self.dialect.encoding.encode(message, number)
        self.lane.receive(self.dialect.framing.encode(body), self.now)
        self.settle()

    def say_to_terminal(self, message: link.Message, number: int = 77) -> None:
        body = self.dialect.encoding.encode(message, number)
        self.terminal.receive(self.dialect.framing.encode(body), self.now)
        self.settle()

    # -- what must hold

    def check(self, begun: dict[int, int], cancelled: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        """`begun`: counter to amount of what was keyed at the terminal."""
        journal = self.shop.engine._journal
        assert journal is not None
        told = {outcome.counter: outcome for outcome in self.terminal.terminal.kept.outcomes}
        for counter in {*range(1, 100)}:
            t = journal.find(1, counter)
            if t is None:
                assert counter not in told
                continue
            assert t.amount_minor == begun[counter]
            if counter not in cancelled:
                assert t.closing_code != "17"
            if counter in told:
                assert t.outcome is not None
                assert (told[counter].response_code, told[counter].amount_minor) == (
                    t.outcome.code,
                    t.amount_minor,
                )
            if t.stored:
                assert counter in told


DIALECT = pytest.mark.parametrize("dialect", sorted(DIALECTS))


@pytest.fixture
def floor(tmp_path: Path) -> Shopfloor:
    floor = Shopfloor(tmp_path)
    floor.plug()
    assert floor.terminal.terminal.state is TerminalState.READY
    return floor


@DIALECT
def test_a_sale_over_the_authenticated_link(tmp_path: Path, dialect: str) -> None:
    floor = Shopfloor(tmp_path, dialect)
    floor.plug()
    counter = floor.sale()
    floor.partpay("approved")
    floor.run(5)
    floor.partpay("approved")
    floor.run(5)
    assert floor.terminal.terminal.kept.outcomes[-1].response_code == "00"
    assert floor.shop.known(counter).stored
    for _, frame in floor.seen[1:]:
        assert frame


UNPROVED: list[link.Message] = [
    link.Tender("T0000001", 5, 100, 554),
    link.Cancel("T0000001", 1),
    link.Query("T0000001", 1),
    link.Refund("T0000001", 6, 1, 100),
    link.Stored("T0000001", 1, "00"),
    link.Stored("T0000001", 1, "17"),
    link.Ping(),
    link.ImageStatus(1, 0),
]
MADE_UP: list[link.Message] = [
    link.Outcome("T0000001", 1, "00", 12_550, "APPROVED", 261123, 120000),
    link.Outcome("T0000001", 1, "05", 12_550, "DECLINED", 261123, 120000),
    link.Accepted("T0000001", 1, 1, 554, 300),
    link.Progress("T0000001", 1, 1, "look", 300),
    link.Refused(4, b"\x10\x02", "busy", "T0000001", 1),
    link.Refused(2, b"\x11\x02", "no such", "T0000001", 1),
    link.Welcome(1, bytes(8), 1, 261123, 120000, 99),
    link.Welcome(1, bytes(8), 0, 261123, 120000),
    link.DisplayText("Pay to my account"),
    link.DisplayClear(),
]


@DIALECT
@pytest.mark.parametrize("message", UNPROVED, ids=lambda message: message.type_name)
def test_what_is_said_without_a_code_is_refused_and_moves_nothing(
    tmp_path: Path, dialect: str, message: link.Message
) -> None:
    floor = Shopfloor(tmp_path, dialect)
    floor.plug()
    counter = floor.sale()
    floor.partpay(None)
    before = floor.shop.known(counter)
    floor.say_to_bridge(message)
    refused = [m for m in _heard_by_terminal(floor) if isinstance(m, link.Refused)]
    assert refused[-1].reason == link.Reason.NOT_AUTHENTICATED
    assert floor.shop.known(counter) == before
    assert floor.shop.find(5) is None
    assert floor.shop.find(6) is None
    floor.check({counter: 12_550})


def _heard_by_terminal(floor: Shopfloor) -> list[link.Message]:
    heard = []
    for direction, frame in floor.seen:
        if direction == "to terminal":
            decoder = floor.dialect.framing.decoder(4092)
            (event,) = decoder.feed(frame)
            assert isinstance(event, Frame)
            heard.append(floor.dialect.encoding.decode(event.body).message)
    return heard


@DIALECT
@pytest.mark.parametrize("message", MADE_UP, ids=lambda message: message.type_name)
def test_what_somebody_tells_the_terminal_is_not_taken(
    tmp_path: Path, dialect: str, message: link.Message
) -> None:
    floor = Shopfloor(tmp_path, dialect)
    floor.plug()
    counter = floor.sale()
    terminal = floor.terminal.terminal
    before = (terminal.kept.outcomes, terminal.kept.open, terminal.text)
    floor.say_to_terminal(message)
    assert (terminal.kept.outcomes, terminal.kept.open, terminal.text) == before
    assert terminal.kept.open[0].counter == counter
    assert not terminal.kept.open[0].cancelled
    floor.check({counter: 12_550})


@DIALECT
def test_what_was_said_in_an_earlier_session_is_nothing_in_this_one(
    tmp_path: Path, dialect: str
) -> None:
    floor = Shopfloor(tmp_path, dialect)
    floor.plug()
    counter = floor.sale()
    floor.terminal.act(floor.terminal.terminal.cancel(floor.now), floor.now)
    floor.settle()
    floor.partpay("cancelled")
    floor.run(30)
    floor.partpay("cancelled")
    floor.run(5)
    assert set(floor.shop.outcomes(counter)) == {"17"}
    recorded = [frame for direction, frame in floor.seen if direction == "to bridge"]
    told = [frame for direction, frame in floor.seen if direction == "to terminal"]
    floor.lane.line_down("replugged", floor.now)
    floor.terminal.unplugged(floor.now)
    floor.plug()
    second = floor.sale(99_00)
    floor.partpay(None)
    before = floor.shop.known(second)
    for frame in recorded[1:]:
        floor.lane.receive(frame, floor.now)
        floor.settle()
    for frame in told:
        floor.terminal.receive(frame, floor.now)
        floor.settle()
    assert floor.shop.known(second) == before
    floor.check({counter: 12_550, second: 99_00}, {counter})
    floor.run(70)
    floor.partpay("approved")
    floor.run(10)
    assert floor.terminal.terminal.kept.outcomes[-1].response_code == "00"


def test_a_replayed_hello_of_another_line_takes_no_line_away(floor: Shopfloor) -> None:
    counter = floor.sale()
    other = Lane(
        "/dev/ttyS9",
        floor.dialect,
        post=floor.shop.post,
        draw=floor._draw,
        keys_of=floor._keys_of,
        fresh_nonce=lambda: b"another!",
    )
    other.line_up(floor.now)
    for direction, frame in floor.seen:
        if direction == "to bridge":
            other.receive(frame, floor.now)
    floor.partpay("approved")
    floor.run(5)
    floor.partpay("approved")
    floor.run(5)
    assert floor.terminal.terminal.kept.outcomes[-1].counter == counter
    assert floor.terminal.terminal.kept.outcomes[-1].response_code == "00"


def test_a_plain_terminal_under_a_keyed_pairing_is_not_paired_and_refused(tmp_path: Path) -> None:
    floor = Shopfloor(tmp_path)
    floor.storage.kept = replace(floor.storage.kept, keys=None)
    floor.device = replace(floor.device, can_authenticate=False)
    floor.terminal = floor._terminal()
    floor.plug()
    assert floor.terminal.terminal.state is TerminalState.UNPAIRED
    assert floor.terminal.terminal.paired is False
    with pytest.raises(NotNow):
        floor.sale()
    floor.say_to_bridge(link.Tender("T0000001", 1, 100, 554))
    assert [m.reason for m in _heard_by_terminal(floor) if isinstance(m, link.Refused)] == [9]
    assert floor.shop.find(1) is None
    assert "without-keys" in floor.shop.attention()


def test_old_keys_serve_until_the_new_ones_have_proved_themselves(tmp_path: Path) -> None:
    floor = Shopfloor(tmp_path, keys=(OLD_KEYS, KEYS))
    floor.plug()
    assert floor.terminal.terminal.state is TerminalState.READY
    assert floor.proved == []
    floor.storage.kept = replace(floor.storage.kept, keys=OLD_KEYS)
    floor.lane.line_down("replugged", floor.now)
    floor.terminal = floor._terminal()
    floor.plug()
    assert floor.proved == [KeysProved("T0000001", "SN1", OLD_KEYS.identifier)]


def test_keys_that_are_forgotten_at_the_bridge_end_the_talk(floor: Shopfloor) -> None:
    counter = floor.sale()
    floor.set_keys()
    floor.shop.post(RegistryChanged())
    floor.run(6)
    assert floor.terminal.terminal.state is TerminalState.GREETING
    assert "unknown-keys" in floor.shop.attention()
    floor.check({counter: 12_550})


class Attacker:
    """Somebody who does to each frame what `moves` say, and knows how a check is made."""

    def __init__(self, floor: Shopfloor, moves: list[tuple[str, int]]) -> None:
        self._floor = floor
        self._moves = iter(moves)
        self._held: list[tuple[str, bytes]] = []

    def __call__(self, direction: str, frame: bytes) -> list[bytes]:
        move, number = next(self._moves, ("pass", 0))
        same_way = [one for way, one in self._floor.seen if way == direction]
        match move:
            case "drop":
                return []
            case "twice":
                return [frame, frame]
            case "hold":
                self._held.append((direction, frame))
                return []
            case "release":
                held = [one for way, one in self._held if way == direction]
                self._held = [one for one in self._held if one[0] != direction]
                return [frame, *reversed(held)]
            case "replay":
                return [same_way[number % len(same_way)], frame]
            case "instead":
                return [same_way[number % len(same_way)]]
            case "alter":
                return [self._altered(frame, number)]
            case "mirror":
                other_way = [one for way, one in self._floor.seen if way != direction]
                return [frame, *other_way[-1:]]
        return [frame]

    def _altered(self, frame: bytes, number: int) -> bytes:
        """One bit of the body is another; the check is right again."""
        (event,) = self._floor.dialect.framing.decoder(4092).feed(frame)
        assert isinstance(event, Frame)
        body = bytearray(event.body)
        at = number % len(body)
        body[at] ^= 1 << (number % 7)
        if body[0] == 0:
            return frame
        try:
            return self._floor.dialect.framing.encode(bytes(body))
        except ValueError:
            return frame


MOVES = ["pass", "pass", "drop", "twice", "hold", "release", "replay", "instead", "alter", "mirror"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 5000)), max_size=40),
    words=st.lists(st.sampled_from([*UNPROVED, *MADE_UP]), max_size=6),
    status=st.sampled_from(["approved", "declined", "pending"]),
    dialect=st.sampled_from(sorted(DIALECTS)),
)
def test_whatever_somebody_between_does_no_tender_is_moved(
    tmp_path_factory: pytest.TempPathFactory,
    moves: list[tuple[str, int]],
    words: list[link.Message],
    status: str,
    dialect: str,
) -> None:
    floor = Shopfloor(tmp_path_factory.mktemp("shop"), dialect)
    floor.plug()
    begun = {}
    floor.between = Attacker(floor, moves)
    for message in [None, *words]:
        terminal = floor.terminal.terminal
        if terminal.state is TerminalState.READY and terminal.tender is None:
            amount = 10_000 + len(begun)
            begun[floor.sale(amount)] = amount
        if message in UNPROVED:
            floor.say_to_bridge(message)  # type: ignore[arg-type]
        elif message is not None:
            floor.say_to_terminal(message)
        floor.partpay(status)
        floor.run(4)
        floor.check(begun)
    # Whoever was between has gone: what is open goes on to its end.
    floor.between = honest
    for _ in range(12):
        floor.run(10)
        floor.partpay("approved" if status == "pending" else status)
        floor.check(begun)
    terminal = floor.terminal.terminal
    assert terminal.state is TerminalState.READY
    assert terminal.kept.open == ()
    for counter in begun:
        t = floor.shop.find(counter)
        assert t is None or t.state is State.CLOSED
    assert "two-alike" not in floor.shop.attention()
    floor.shop.engine.close()
