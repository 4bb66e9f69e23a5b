"""Ports that are opened for the registry, and lent to whoever pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bridge import lanes as lanes_module
from bridge.effects import Say, Welcome
from bridge.events import Event
from bridge.lane import PairingMessage
from bridge.lane_events import Heard, LaneEvent, LineDown, LineGivenUp, LineUp
from bridge.lanes import AlreadyLentError, Lanes, LaneSetting
from bridge.registry import Pairing, Snapshot
from drivers.line.line import LineUser, Trouble, TroubleKind
from drivers.line.loop import Loop
from drivers.link.dialect import DIALECTS
from drivers.link.messages import Hello, PairKey, Ping
from drivers.link.messages import Welcome as WelcomeMessage

PORT = "/dev/ttyS0"
HELLO = Hello("T1", "SN1", 1, "Model", "1.0", 128, 64, b"\x10", 1024)
WELCOME = WelcomeMessage(1, b"journal1", 1, 261123, 101500)


@dataclass
class FakeLine:
    port: str
    user: LineUser
    baud: int
    open: bool = False
    sent: bytes = b""

    def start(self) -> None:
        self.open = True
        self.user.opened(0.0)

    def write(self, data: bytes) -> None:
        self.sent += data
        self.user.written(0.0)

    def reset(self, why: str) -> None: ...

    def close(self) -> None:
        self.open = False


@dataclass
class Watcher:
    heard: list[LaneEvent] = field(default_factory=list)
    words: list[PairingMessage] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)

    def said(self, message: PairingMessage, sequence: int, now: float) -> None:
        self.words.append(message)

    def told(self, event: LaneEvent) -> None:
        self.heard.append(event)

    def welcomed(self, paired: bool) -> None:
        self.answers.append(paired)


class Bench:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.lines: list[FakeLine] = []
        self.posted: list[Event] = []
        self.lanes = Lanes(loop, self.posted.append, lambda job: job(), "TEST ")

    def make(self, loop: Loop, port: str, user: LineUser, *, baud: int) -> FakeLine:
        line = FakeLine(port, user, baud)
        self.lines.append(line)
        return line

    def turn(self) -> None:
        for _ in range(5):
            self.loop.turn(0.0)

    def follow(self, *pairings: Pairing) -> None:
        self.lanes.follow(Snapshot.of((), pairings))
        self.turn()

    def hear(self, *messages: object) -> None:
        """As a terminal would say it, in frames."""
        dialect = DIALECTS["native"]
        for number, message in enumerate(messages, 1):
            body = dialect.encoding.encode(message, number)  # type: ignore[arg-type]
            self.lines[-1].user.received(dialect.framing.encode(body), 0.0)
        self.turn()

    def open_ports(self) -> list[tuple[str, int]]:
        return [(line.port, line.baud) for line in self.lines if line.open]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with Loop() as loop:
        bench = Bench(loop)
        monkeypatch.setattr(lanes_module, "line_maker", lambda port: bench.make)
        yield bench


def pairing(port: str = PORT, baud: int = 115_200, number: int = 1) -> Pairing:
    return Pairing(number, f"T{number}", "S", port, baud=baud, merchants=("m-1",))


def test_ports_are_those_of_the_registry(bench: Bench) -> None:
    bench.follow(pairing(), pairing("/dev/ttyS1", number=2))
    assert bench.open_ports() == [(PORT, 115_200), ("/dev/ttyS1", 115_200)]
    bench.follow(pairing(baud=9600))
    assert bench.open_ports() == [(PORT, 9600)]
    given_up = [e.lane for e in bench.posted if isinstance(e, LineGivenUp)]
    assert sorted(given_up) == [PORT, "/dev/ttyS1"]
    bench.follow()
    assert bench.open_ports() == []
    assert not bench.lanes.by_port


def test_a_lent_port_is_open_without_a_terminal_and_given_up_after(bench: Bench) -> None:
    watcher = Watcher()
    bench.lanes.borrow(PORT, LaneSetting("native", 9600), watcher)
    bench.turn()
    bench.follow()
    assert bench.open_ports() == [(PORT, 9600)]
    with pytest.raises(AlreadyLentError):
        bench.lanes.borrow(PORT, LaneSetting("native", 9600), Watcher())
    bench.lanes.give_back(PORT)
    bench.turn()
    assert bench.open_ports() == []
    assert bench.posted[-1] == LineGivenUp(PORT)
    bench.lanes.give_back(PORT)


def test_a_lent_port_goes_on_as_it_is_where_a_terminal_is_registered_so(bench: Bench) -> None:
    bench.lanes.borrow(PORT, LaneSetting("native", 115_200), Watcher())
    bench.turn()
    bench.follow(pairing())
    bench.lanes.give_back(PORT)
    bench.turn()
    assert len(bench.lines) == 1
    assert bench.open_ports() == [(PORT, 115_200)]
    assert not any(isinstance(event, LineGivenUp) for event in bench.posted)


def test_what_is_registered_on_a_lent_port_is_its_setting(bench: Bench) -> None:
    watcher = Watcher()
    bench.lanes.borrow(PORT, LaneSetting("native", 115_200), watcher)
    bench.turn()
    bench.follow(pairing(baud=9600))
    assert bench.open_ports() == [(PORT, 9600)]
    bench.hear(HELLO, PairKey(bytes(32), bytes(16)))
    assert watcher.words == [PairKey(bytes(32), bytes(16))]


def test_who_borrowed_it_sees_what_happens_there(bench: Bench) -> None:
    bench.follow(pairing(), pairing("/dev/ttyS1", number=2))
    bench.lines.reverse()
    watcher = Watcher()
    bench.lanes.borrow(PORT, LaneSetting("native", 9600), watcher)
    bench.turn()
    bench.hear(HELLO, PairKey(bytes(32), bytes(16)))
    assert watcher.heard == [Heard(PORT, HELLO, 1)]
    assert watcher.words == [PairKey(bytes(32), bytes(16))]
    bench.lanes.say(PORT, Welcome(PORT, WELCOME, True, HELLO))
    bench.lanes.say("/dev/ttyS1", Welcome("/dev/ttyS1", WELCOME, False, HELLO))
    bench.lanes.say(PORT, Say(PORT, Ping()))
    assert watcher.answers == [True]
    bench.lines[-1].user.lost(Trouble(TroubleKind.ABSENT, "unplugged"), 0.0)
    assert watcher.heard[-1] == LineDown(PORT, "unplugged")
    bench.lanes.give_back(PORT)
    bench.turn()
    bench.lines[-1].user.opened(0.0)
    assert watcher.heard[-1] == LineDown(PORT, "unplugged")
    assert bench.posted[-1] == LineUp(PORT)


def test_a_port_that_cannot_be_is_refused_to_who_borrows_and_logged_for_the_registry(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LookupError, match="klingon"):
        bench.lanes.borrow(PORT, LaneSetting("klingon", 9600), Watcher())
    bench.lanes.borrow(PORT, LaneSetting("native", 9600), Watcher())
    bench.follow(Pairing(1, "T1", "S", "/dev/ttyS1", "klingon", merchants=("m-1",)))
    assert "klingon" in caplog.text
    assert bench.open_ports() == [(PORT, 9600)]
