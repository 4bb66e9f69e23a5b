"""Where one pairs: one dialogue at a time, on a port that is found, with rows for as long as somebody reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bridge import pairing_desk
from bridge.control import CommandError, Pair, PairAnswer, PairCancel
from bridge.control_socket import ask as ask_socket
from bridge.events import Event, TechnicianAt
from bridge.lane_events import Heard, LineDown, Proved, UnknownKeys
from bridge.lanes import AlreadyLentError, Borrower, LaneSetting
from bridge.pairing_desk import PairingDesk
from bridge.registry import Merchant, Pairing, Registry, Who
from drivers.asking import Answer, Setting, Silence
from drivers.discovery import Device, Inventory
from drivers.line.line import Trouble, TroubleKind
from drivers.link import pairing as link_pairing
from drivers.link.messages import Hello, Message, PairOpen, Reason, Refused
from tests.bridge.test_control import refusal, serving

ALICE = Who("alice", 1000)
PORT = "/dev/ttyS7"
HELLO = Hello("T1", "SN1", 1, "Model", "1.0", 128, 64, b"\x10", 1024, can_authenticate=1)
PLAIN = replace(HELLO, can_authenticate=None)
WAIT_S = 20.0


@dataclass
class FakeLane:
    """What the desk asks of a lane, and the terminal at its end."""

    port: str
    hello: Hello | None = None
    quiet: bool = True
    terminal: link_pairing.TerminalPairing | None = None
    borrower: Borrower | None = None
    said: list[Message] = field(default_factory=list)
    asked: int = 0
    tests: int = 0
    cleared: int = 0
    refused: list[bytes] = field(default_factory=list)
    sequence: int = 0

    @property
    def lane(self) -> FakeLane:
        return self

    def say(self, message: Message) -> None:
        self.said.append(message)
        if self.terminal is not None:
            self.from_terminal(self.terminal.receive(message))  # type: ignore[arg-type]

    def from_terminal(self, steps: list[link_pairing.Step]) -> None:
        for step in steps:
            if isinstance(step, link_pairing.Send) and self.borrower is not None:
                self.sequence += 1
                self.borrower.said(step.message, self.sequence, 0.0)  # type: ignore[arg-type]

    def identify(self) -> None:
        self.asked += 1

    def with_lane(self, do: Callable[[Any, float], None]) -> None:
        do(self, 0.0)

    def refuse_pairing(self, refused: bytes, now: float) -> None:
        self.refused.append(refused)
        if self.terminal is not None:
            self.terminal.receive(Refused(Reason.NOT_AUTHENTICATED, refused, "TEST"))

    def clear_test(self, now: float) -> None:
        self.cleared += 1

    def try_panel(self, payload: str, told: Callable[[bool | None, str], None]) -> None:
        self.tests += 1
        told(True, "")


class FakeLanes:
    def __init__(self) -> None:
        self.by_port: dict[str, FakeLane] = {}
        self.settings: dict[str, LaneSetting] = {}
        self.fails: Exception | None = None

    def borrow(self, port: str, setting: LaneSetting, borrower: Borrower) -> None:
        if self.fails is not None:
            raise self.fails
        lane = self.by_port.setdefault(port, FakeLane(port))
        lane.borrower = borrower
        self.settings[port] = setting

    def give_back(self, port: str) -> None:
        del self.by_port[port]

    def identify(self, port: str) -> None:
        self.by_port[port].identify()


class Bench:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.lanes = FakeLanes()
        self.posted: list[Event] = []
        self.present: list[Device] = []
        self.answers: list[Answer | Silence | Trouble] = [Answer(Setting("classic", 9600), HELLO)]
        self.asked: list[tuple[Setting, ...]] = []
        self.busy = False
        self.now = 1000.0
        self.desk = PairingDesk(
            self.lanes,  # type: ignore[arg-type]
            registry,
            self._in_worker,
            self.posted.append,
            lambda terminal_id: self.busy,
            present=lambda: Inventory(tuple(self.present)),
            ask=self._ask,
            now=lambda: self.now,
        )

    def _in_worker(self, job: Callable[[], None]) -> None:
        # In a thread of its own, as workers are: nothing may wait for it under the desk's lock.
        thread = threading.Thread(target=job)
        thread.start()

    def _ask(self, port: str, settings: tuple[Setting, ...]) -> Answer | Silence | Trouble:
        self.asked.append(settings)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def lane(self) -> FakeLane:
        (lane,) = self.lanes.by_port.values()
        return lane

    @property
    def borrower(self) -> Borrower:
        assert self.lane.borrower is not None
        return self.lane.borrower

    def rows(self, request: Pair | None = None) -> Iterator[Mapping[str, Any]]:
        return self.desk.rows(request or Pair(PORT, "native"), ALICE)

    def until(self, rows: Iterator[Mapping[str, Any]], step: str) -> Mapping[str, Any]:
        for row in rows:
            if row.get("step") == step:
                return row
        raise AssertionError(f"no {step}")

    def greet(self, hello: Hello) -> None:
        port = self.lane.port
        self.borrower.told(Heard(port, hello, 1))
        self.borrower.welcomed(True)
        self.borrower.told(Proved(port, b"keys"))

    def answer(self, row: Mapping[str, Any], *answer: str) -> None:
        self.desk.answer(PairAnswer(row["dialogue"], row["number"], answer))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(
        tmp_path / "registry.db", "sandbox", dialects=("native", "classic"), environ={}
    ) as registry:
        registry.add_merchant(Merchant("m-1", "Shoes"), ALICE)
        yield registry


@pytest.fixture
def bench(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(pairing_desk, "ROW_EVERY_S", 0.05)
    monkeypatch.setattr(pairing_desk, "FIND_PAUSE_S", 0.01)
    return Bench(registry)


def test_a_dialogue_from_end_to_end(bench: Bench) -> None:
    rows = bench.rows()
    first = next(rows)
    assert first["port"] == PORT
    bench.until(rows, "waiting")
    assert bench.posted == [TechnicianAt(PORT, here=True)]
    assert bench.lane.asked == 1
    bench.lane.terminal = link_pairing.TerminalPairing(
        link_pairing.Share(bytes(32), bytes(16)), "T1", bench.now
    )
    bench.borrower.told(Heard(PORT, HELLO, 1))
    comparing = bench.until(rows, "comparing")
    assert len(comparing["digits"]) == 6
    assert comparing["terminal"] == {
        "terminal": "T1",
        "serial": "SN1",
        "model": "Model",
        "firmware": "1.0",
        "panel": {"width": 128, "height": 64},
        "can_authenticate": True,
        "port": PORT,
        "dialect": "native",
        "baud": 115_200,
    }
    bench.lane.from_terminal(bench.lane.terminal.person_says(True))
    bench.answer(comparing, "yes")
    merchant = bench.until(rows, "merchant")
    assert merchant["choices"] == [{"id": "m-1", "name": "Shoes"}]
    assert len(bench.registry.keys_of("T1", "SN1")) == 1
    bench.answer(merchant, "m-1")
    bench.until(rows, "greeting")
    assert bench.lane.asked == 2
    bench.greet(HELLO)
    scanned = bench.until(rows, "scanned")
    assert bench.lane.tests == 1
    bench.answer(scanned, "yes")
    name = bench.until(rows, "name")
    assert bench.lane.cleared == 1
    bench.answer(name, "customers, till 2")
    done = bench.until(rows, "done")["paired"]
    assert (done["authenticated"], done["picture_scanned"], done["pairing"]) == (True, True, 1)
    assert list(rows) == []
    assert bench.posted[-1] == TechnicianAt(PORT, here=False)
    assert bench.lanes.by_port == {}
    terminal = bench.registry.terminal("T1")
    assert (terminal.port, terminal.name) == (PORT, "customers, till 2")
    assert [one.who for one in bench.registry.history("keys", "T1/SN1")] == ["alice"]


def test_who_stops_reading_ends_it_at_the_terminal_too(bench: Bench) -> None:
    rows = bench.rows()
    bench.until(rows, "waiting")
    lane = bench.lane
    lane.terminal = link_pairing.TerminalPairing(
        link_pairing.Share(bytes(32), bytes(16)), "T1", bench.now
    )
    bench.borrower.told(Heard(PORT, HELLO, 1))
    row = bench.until(rows, "comparing")
    rows.close()  # type: ignore[attr-defined]
    assert lane.terminal.over
    assert bench.lanes.by_port == {}
    assert refusal(lambda: bench.answer(row, "yes")).exit_status == 1
    bench.until(bench.rows(), "waiting")


def test_one_at_a_time_and_a_row_at_least_every_so_often(bench: Bench) -> None:
    rows = bench.rows()
    first = next(rows)
    bench.until(rows, "waiting")
    assert next(rows) == {"dialogue": first["dialogue"]}
    refused = refusal(lambda: next(bench.rows()))
    assert (refused.exit_status, "alice is pairing" in str(refused)) == (1, True)
    bench.desk.cancel(PairCancel("another"))
    assert next(rows) == {"dialogue": first["dialogue"]}
    bench.desk.cancel(PairCancel(first["dialogue"]))
    assert bench.until(rows, "ended")["text"] == "You broke it off."
    assert list(rows) == []


def test_a_command_that_ends_is_noticed_over_the_socket(bench: Bench, tmp_path: Path) -> None:
    ended = threading.Event()

    def handler(request: Any, who: Who) -> Any:
        def rows() -> Iterator[Mapping[str, Any]]:
            try:
                yield from bench.desk.rows(request, who)
            finally:
                ended.set()

        return pairing_desk_rows(rows())

    from bridge.control import Rows

    def pairing_desk_rows(rows: Iterator[Mapping[str, Any]]) -> Rows:
        return Rows(rows, live=True)

    with serving(tmp_path / "control.sock", handler) as path:
        answer = ask_socket(path, Pair(PORT, "native"), ALICE)
        rows = iter(answer.rows)  # type: ignore[union-attr]
        bench.until(rows, "waiting")
        rows.close()  # type: ignore[attr-defined]
        assert ended.wait(WAIT_S)
    assert bench.lanes.by_port == {}


def test_keys_that_cannot_be_written_are_told_to_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(bench.registry, "keep_keys", full)
    rows = bench.rows()
    bench.until(rows, "waiting")
    lane = bench.lane
    lane.terminal = link_pairing.TerminalPairing(
        link_pairing.Share(bytes(32), bytes(16)), "T1", bench.now
    )
    bench.borrower.told(Heard(PORT, HELLO, 1))
    row = bench.until(rows, "comparing")
    lane.from_terminal(lane.terminal.person_says(True))
    bench.answer(row, "yes")
    assert "No space left" in bench.until(rows, "ended")["text"]
    assert lane.terminal.over
    assert [type(message).__name__ for message in lane.said] == ["PairOpen", "PairReveal"]


def test_a_terminal_with_unknown_keys_is_paired_afresh(bench: Bench) -> None:
    rows = bench.rows()
    bench.until(rows, "waiting")
    bench.borrower.told(UnknownKeys(PORT, replace(HELLO, key_id=b"gone")))
    bench.until(rows, "opened")
    assert isinstance(bench.lane.said[0], PairOpen)


def test_the_ports_trouble_is_told(bench: Bench) -> None:
    rows = bench.rows()
    bench.until(rows, "waiting")
    bench.borrower.told(LineDown(PORT, "in use by ModemManager: stop it"))
    assert "ModemManager" in bench.until(rows, "waiting")["text"]


def test_a_terminal_with_a_sale_open_keeps_its_panel(bench: Bench) -> None:
    bench.busy = True
    rows = bench.rows(Pair(PORT, "native", merchants=("m-1",), name="till"))
    bench.until(rows, "waiting")
    bench.borrower.told(Heard(PORT, PLAIN, 1))
    bench.answer(bench.until(rows, "plain"), "yes")
    bench.until(rows, "greeting")
    bench.borrower.welcomed(True)
    done = bench.until(rows, "done")
    assert "sale open" in done["text"]
    assert (done["paired"]["picture_shown"], bench.lane.tests) == (False, 0)


def test_a_merchant_that_the_registry_refuses_is_asked_for_again(bench: Bench) -> None:
    rows = bench.rows()
    bench.until(rows, "waiting")
    bench.borrower.told(Heard(PORT, PLAIN, 1))
    bench.answer(bench.until(rows, "plain"), "yes")
    bench.answer(bench.until(rows, "merchant"), "m-9")
    again = bench.until(rows, "merchant")
    assert "no merchant m-9" in again["text"]
    bench.answer(again, "m-1")
    bench.until(rows, "greeting")
    assert refusal(lambda: bench.answer(again, "m-1")).exit_status == 2


def test_what_is_registered_is_kept_where_nothing_else_is_said(bench: Bench) -> None:
    known = Pairing(0, "T1", "SN1", PORT, "classic", 9600, ("m-1",), "mono-128x64", name="till 1")
    bench.registry.add_terminal(known, ALICE)
    rows = bench.rows(Pair(PORT))
    bench.until(rows, "waiting")
    assert bench.asked == []
    bench.borrower.told(Heard(PORT, PLAIN, 1))
    bench.answer(bench.until(rows, "plain"), "yes")
    merchant = bench.until(rows, "merchant")
    assert merchant["merchants"] == ["m-1"]
    bench.answer(merchant, "m-1")
    bench.until(rows, "greeting")
    now = bench.registry.terminal("T1")
    assert now == replace(known, pairing=1)
    refused = refusal(lambda: next(Bench(bench.registry).rows(Pair(PORT, "native"))))
    assert "classic at 9600 baud" in str(refused)


# -- which port, and how it speaks


def test_how_it_speaks_is_found_out_where_nobody_says(bench: Bench) -> None:
    bench.answers = [
        Trouble(TroubleKind.ABSENT, "nothing there"),
        Silence((), noise=False),
        Answer(Setting("classic", 9600), None),
    ]
    rows = bench.rows(Pair(PORT))
    assert "plug it in" in bench.until(rows, "looking")["text"]
    bench.until(rows, "waiting")
    assert bench.lanes.settings[PORT] == LaneSetting("classic", 9600)
    assert len(bench.asked) == 3
    bench = Bench(bench.registry)
    bench.until(bench.rows(Pair(PORT, baud=19_200)), "waiting")
    assert {setting.baud for setting in bench.asked[0]} == {19_200}


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (Silence((), noise=False), "no terminal answers"),
        (Trouble(TroubleKind.ABSENT, "nothing is plugged in there"), "nothing is plugged in"),
        (Trouble(TroubleKind.DENIED, "not allowed: usermod"), "usermod"),
    ],
)
def test_a_port_on_which_nobody_is_found(bench: Bench, found: Silence | Trouble, what: str) -> None:
    bench.answers = [found]
    rows = bench.rows(Pair(PORT))
    next(rows)
    bench.now += 121

    def to_the_end() -> None:
        for _ in rows:
            bench.now += 121

    refused = refusal(to_the_end)
    assert (refused.exit_status, what in str(refused)) == (1, True)
    bench.until(bench.rows(), "waiting")


def test_without_a_port_it_is_the_only_one_that_can_be(bench: Bench) -> None:
    assert refusal(lambda: next(bench.rows(Pair()))).exit_status == 2
    bench.registry.add_terminal(Pairing(0, "T2", "S2", "/dev/by-id/a", merchants=("m-1",)), ALICE)
    bench.present = [
        Device("/dev/by-id/a", "/dev/ttyUSB0", ("/dev/by-id/a", "/dev/ttyUSB0")),
        Device("/dev/by-id/b", "/dev/ttyUSB1", ("/dev/by-id/b", "/dev/ttyUSB1")),
    ]
    assert next(bench.rows(Pair()))["port"] == "/dev/by-id/b"
    bench.present.append(Device("/dev/ttyS0", "/dev/ttyS0", ("/dev/ttyS0",)))
    several = refusal(lambda: next(bench.rows(Pair())))
    assert (several.exit_status, "/dev/by-id/b, /dev/ttyS0" in str(several)) == (2, True)
    bench.lanes.by_port["/dev/by-id/a"] = FakeLane("/dev/by-id/a", hello=HELLO)
    bench.present = bench.present[:1]
    assert next(bench.rows(Pair()))["port"] == "/dev/by-id/a"


def test_a_name_that_may_be_anothers_tomorrow_becomes_one_that_stays(bench: Bench) -> None:
    bench.present = [Device("/dev/by-id/b", "/dev/ttyUSB1", ("/dev/by-id/b", "/dev/ttyUSB1"))]
    assert next(bench.rows(Pair("/dev/ttyUSB1")))["port"] == "/dev/by-id/b"


def test_a_port_that_is_registered_under_another_name_is_that_one(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "device").touch()
    (tmp_path / "link").symlink_to(tmp_path / "device")
    known = Pairing(0, "T2", "S2", str(tmp_path / "link"), merchants=("m-1",))
    bench.registry.add_terminal(known, ALICE)
    rows = bench.rows(Pair(str(tmp_path / "device")))
    assert next(rows)["port"] == str(tmp_path / "link")


@pytest.mark.parametrize(
    ("request_", "exit_status", "what"),
    [
        (Pair(PORT, "klingon"), 2, "klingon"),
        (Pair(PORT, profile="none such"), 2, "none such"),
        (Pair("odd:port"), 2, "odd"),
        (Pair(PORT, merchants=("m-9",)), 2, "no merchant m-9"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(
    bench: Bench, request_: Pair, exit_status: int, what: str
) -> None:
    refused = refusal(lambda: next(bench.rows(request_)))
    assert (refused.exit_status, what in str(refused)) == (exit_status, True)
    assert bench.lanes.by_port == {}
    assert bench.asked == []


def test_without_a_merchant_there_is_nothing_to_pair_for(bench: Bench) -> None:
    bench.registry.remove_merchant("m-1", ALICE)
    assert "merchants add" in str(refusal(lambda: next(bench.rows())))


def test_a_port_that_somebody_has_is_refused_and_the_desk_is_free_again(bench: Bench) -> None:
    bench.lanes.fails = AlreadyLentError("somebody pairs there")
    rows = bench.rows()
    next(rows)
    with pytest.raises(CommandError, match="somebody pairs there"):
        list(rows)
    bench.lanes.fails = None
    bench.until(bench.rows(), "waiting")
