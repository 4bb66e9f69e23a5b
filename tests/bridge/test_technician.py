"""A technician at the daemon's ports: what is let go, what is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge import lanes as lanes_module
from bridge import technician as technician_module
from bridge.control import CommandError
from bridge.lane_events import LineGivenUp
from bridge.lanes import AlreadyLentError, Lanes, LaneSetting
from bridge.probe import Probes
from bridge.registry import Merchant, NotKnownError, Pairing, Registry, Who
from bridge.technician import Technician
from bridge.tracing import Tracing
from drivers.line.loop import Loop
from tests.bridge.test_lanes import HELLO, PORT, Bench, Watcher, pairing

WHO = Who("alice", 1000)
SILENT = {"dialect": "classic", "baud": 9600, "terminal": None, "serial": None, "noise": False}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with Loop() as loop:
        bench = Bench(loop)
        monkeypatch.setattr(lanes_module, "line_maker", lambda port: bench.make)
        yield bench


@pytest.fixture
def desk(bench: Bench, tmp_path: Path) -> Iterator[Technician]:
    with Registry(tmp_path / "registry.db", "sandbox", dialects=("native",), environ={}) as known:
        known.add_merchant(Merchant("m-1", "Shoes"), WHO)
        known.add_terminal(Pairing(0, "T1", "SN1", PORT, merchants=("m-1",)), WHO)
        tracing = Tracing(dict, lambda key: PORT, lambda: 0.0, lambda: datetime.now(UTC))
        yield Technician(bench.lanes, known, tracing, Probes(lambda: 0.0), lambda terminal: False)


# -- a port that is let go


def test_a_port_is_let_go_and_had_again(bench: Bench) -> None:
    bench.follow(pairing())
    with bench.lanes.let_go(PORT):
        bench.turn()
        assert bench.open_ports() == []
        assert bench.posted[-1] == LineGivenUp(PORT)
        bench.follow(pairing(baud=9_600))
        assert bench.open_ports() == []
    bench.turn()
    assert bench.open_ports() == [(PORT, 9_600)]


def test_other_ports_stay_open(bench: Bench) -> None:
    bench.follow(pairing(), pairing("/dev/ttyS1", number=2))
    with bench.lanes.let_go(PORT):
        bench.turn()
        assert bench.open_ports() == [("/dev/ttyS1", 115_200)]


def test_whatever_goes_wrong_meanwhile_the_port_is_had_again(bench: Bench) -> None:
    bench.follow(pairing())
    with pytest.raises(ZeroDivisionError), bench.lanes.let_go(PORT):
        raise ZeroDivisionError
    bench.turn()
    assert bench.open_ports() == [(PORT, 115_200)]


def test_nobody_pairs_on_a_port_that_is_let_go_and_the_other_way_round(bench: Bench) -> None:
    bench.follow(pairing())
    setting = LaneSetting("native", 115_200)
    with bench.lanes.let_go(PORT):
        with pytest.raises(AlreadyLentError):
            bench.lanes.borrow(PORT, setting, Watcher())
        with pytest.raises(AlreadyLentError), bench.lanes.let_go(PORT):
            pass
    bench.lanes.borrow(PORT, setting, Watcher())
    with pytest.raises(AlreadyLentError), bench.lanes.let_go(PORT):
        pass


# -- asking on it


def test_a_silent_port_is_asked_while_it_is_let_go(
    bench: Bench, desk: Technician, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.follow(pairing())
    open_meanwhile: list[Any] = []

    def asked(port: str, snapshot: object) -> dict[str, Any]:
        bench.turn()
        open_meanwhile.append(bench.open_ports())
        return SILENT

    monkeypatch.setattr(technician_module, "asked_on", asked)
    assert desk.ask_port(PORT) == SILENT
    bench.turn()
    assert (open_meanwhile, bench.open_ports()) == ([[]], [(PORT, 115_200)])


def test_a_terminal_that_is_heard_keeps_its_line(bench: Bench, desk: Technician) -> None:
    bench.follow(pairing())
    bench.hear(HELLO)
    with pytest.raises(CommandError, match="its terminal is heard"):
        desk.ask_port(PORT)
    assert bench.open_ports() == [(PORT, 115_200)]


def test_a_port_that_is_not_ours_is_not_asked(desk: Technician) -> None:
    with pytest.raises(CommandError, match="does not have port /dev/other"):
        desk.ask_port("/dev/other")


def test_a_display_of_nobody(desk: Technician) -> None:
    with pytest.raises(NotKnownError):
        desk.test_display("T9", clear=False)


def test_a_display_of_a_terminal_whose_line_is_not_open(desk: Technician) -> None:
    with pytest.raises(CommandError, match="T1 is not there"):
        desk.test_display("T1", clear=False)


def test_what_goes_over_a_port_is_seen_by_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, str]] = []
    bench.lanes = Lanes(
        bench.loop,
        bench.posted.append,
        lambda job: job(),
        "TEST ",
        trace=lambda port, way, kind, data: seen.append((port, way, kind)),
    )
    bench.follow(pairing())
    bench.hear(HELLO)
    assert {(PORT, "in", "bytes"), (PORT, "out", "bytes")} <= set(seen)
