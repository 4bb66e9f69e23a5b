"""Checks of ports, on devices that the test names, and on real pseudo-terminals."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.control import AskPort, CommandError, Request
from bridge.doctor import ports as port_checks
from bridge.doctor.finding import Level
from bridge.ports import World
from drivers.asking import Setting
from drivers.discovery import Device, Inventory
from drivers.holders import NOBODY, Holder, Occupancy
from tests.bridge.doctor.conftest import MakePatient, found, status, wrongs
from tests.drivers.slow_line import TerminalAtSpeed
from tests.drivers.test_holders import process_named

BY_ID = "/dev/serial/by-id/usb-FTDI_A10K-if00-port0"


def terminal(port: str, **more: Any) -> dict[str, Any]:
    known = {"terminal": "T0000001", "serial": "SN1", "dialect": "native", "baud": 115_200}
    return {**known, "port": port, "merchants": ["M1"], **more}


def line(port: str, **more: Any) -> dict[str, Any]:
    told = {"port": port, "dialect": "native", "baud": 115_200, "open": True, "up": True}
    who = {"terminal": "T0000001", "serial": "SN1", "model": "M", "firmware": "1"}
    return {**told, **who, **more}


SILENT: dict[str, Any] = {"terminal": None, "serial": None, "up": False}


def world(port: str, device: Device | None = None, **more: Any) -> World:
    known = more.pop("terminals", [terminal(port)])
    return World(Inventory(() if device is None else (device,)), terminals=known, **more)


def ftdi(node: str = "/dev/ttyUSB0", **more: Any) -> Device:
    return Device(BY_ID, node, (BY_ID, node), "FTDI", "UART", "A10K", "0403:6001", **more)


# -- names, latency


def test_a_name_that_may_be_anothers_tomorrow(make_patient: MakePatient) -> None:
    patient = make_patient(world=world("/dev/ttyUSB0", ftdi()))
    (told,) = wrongs(patient, "port-names")
    assert told.remedy == f"partpay-bridge terminals set T0000001/SN1 --port {BY_ID}"
    assert wrongs(make_patient(world=world(BY_ID, ftdi())), "port-names") == []
    (told,) = found(make_patient(world=world("/dev/ttyUSB7")), "port-names")
    assert told.level is Level.NOTE


def test_an_adapter_that_keeps_bytes_back(make_patient: MakePatient) -> None:
    (told,) = wrongs(make_patient(world=world(BY_ID, ftdi(latency_ms=16))), "port-latency")
    assert "16 ms" in told.found
    assert told.remedy is not None
    assert told.remedy.startswith("echo 1 > /sys/class/tty/ttyUSB0/device/latency_timer")
    assert wrongs(make_patient(world=world(BY_ID, ftdi(latency_ms=1))), "port-latency") == []
    assert found(make_patient(world=world(BY_ID, ftdi())), "port-latency") == []


# -- rights


def test_nothing_is_plugged_in(make_patient: MakePatient) -> None:
    (told,) = wrongs(make_patient(world=world("/dev/none")), "port-rights")
    assert told.found == "nothing is plugged in there"
    told_of_terminal = found(make_patient(world=world("/dev/none")), "terminals")
    assert [one.level for one in told_of_terminal] == [Level.UNKNOWN]


@pytest.mark.parametrize(
    ("mode", "remedy"), [(0o660, "usermod -aG tty"), (0o600, "partpay-bridge install-service")]
)
def test_no_right_to_open_it(
    make_patient: MakePatient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    remedy: str,
) -> None:
    node = tmp_path / "ttyUSB0"
    node.touch()
    node.chmod(mode)
    monkeypatch.setattr(os, "access", lambda path, how: False)
    monkeypatch.setattr(port_checks, "_group", lambda number: "tty")
    (told,) = wrongs(make_patient(world=world(BY_ID, ftdi(str(node)))), "port-rights")
    assert f"group tty, mode {mode:04o}" in told.found
    assert told.remedy is not None and told.remedy.startswith(remedy)
    held = world(BY_ID, ftdi(str(node)), lines=[line(BY_ID)])
    assert wrongs(make_patient(world=held, status=status()), "port-rights") == []


# -- holders


def held_by(name: str, pid: int = 77, all_seen: bool = True) -> Occupancy:
    return Occupancy({"/dev/ttyUSB0": (Holder(pid, name),)}, {}, {}, all_seen)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ModemManager", "systemctl disable --now ModemManager"),
        ("brltty", "systemctl mask --now brltty brltty-udev"),
        ("gpsd", "systemctl disable --now gpsd.socket gpsd"),
        ("minicom", "kill 77   # and keep it from starting again"),
        ("partpay-bridge", "kill 77   # and keep it from starting again"),
    ],
)
def test_somebody_else_has_it(make_patient: MakePatient, name: str, remedy: str) -> None:
    taken = world(BY_ID, ftdi(), occupancy=held_by(name))
    (told,) = wrongs(make_patient(world=taken), "port-holders")
    assert (told.found, told.remedy) == (f"{name} (process 77) has it", remedy)


def test_the_bridge_has_it_itself(make_patient: MakePatient) -> None:
    taken = world(BY_ID, ftdi(), occupancy=held_by("partpay-bridge", 4711), lines=[line(BY_ID)])
    (told,) = found(make_patient(world=taken, status=status()), "port-holders")
    assert (told.level, told.found) == (Level.OK, "the bridge")


def test_who_has_it_is_unknown_without_the_right_to_see(make_patient: MakePatient) -> None:
    hidden = world(BY_ID, ftdi(), occupancy=Occupancy({}, {}, {}, all_seen=False))
    told = found(make_patient(world=hidden), "port-holders", "terminals")
    assert [one.level for one in told] == [Level.UNKNOWN, Level.UNKNOWN]


def test_who_runs_and_is_not_kept_away(make_patient: MakePatient, tmp_path: Path) -> None:
    process = tmp_path / "proc/99"
    process.mkdir(parents=True)
    (process / "comm").write_text("ModemManager\n")
    told = found(make_patient(world=world(BY_ID, ftdi())), "port-holders", level=Level.NOTE)
    assert [one.remedy for one in told] == ["systemctl disable --now ModemManager"]


# -- who answers


@pytest.fixture
def port(tmp_path: Path) -> str:
    return str(tmp_path / "line")


@pytest.fixture
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to find the right one, not all that there are."""
    monkeypatch.setattr("drivers.asking.USUAL_BAUDS", (115_200, 9_600))


@pytest.mark.usefixtures("few_settings")
@pytest.mark.parametrize(
    ("dialect", "baud", "words", "remedy"),
    [
        ("native", 115_200, None, None),
        ("native", 9_600, "another baud rate", "--dialect native --baud 9600"),
        ("classic", 115_200, "another dialect:", "--dialect classic --baud 115200"),
        ("classic", 9_600, "another dialect and baud rate", "--dialect classic --baud 9600"),
    ],
)
def test_without_a_daemon_it_asks(
    make_patient: MakePatient,
    port: str,
    dialect: str,
    baud: int,
    words: str | None,
    remedy: str | None,
) -> None:
    with TerminalAtSpeed(port, baud, dialect=dialect):
        (told,) = found(make_patient(world=world(port)), "terminals")
    assert (told.level is Level.WRONG) is (words is not None)
    assert words is None or words in told.found
    expected = f"partpay-bridge terminals set T0000001/SN1 {remedy}" if remedy else None
    assert told.remedy == expected


def test_a_terminal_that_is_not_paired(make_patient: MakePatient, port: str) -> None:
    other = [terminal(port, serial="SN2")]
    with TerminalAtSpeed(port):
        (told,) = wrongs(make_patient(world=world(port, terminals=other)), "terminals")
    assert "serial number SN1, which is not paired here" in told.found
    assert told.remedy == f"partpay-bridge pair {port}"


@pytest.fixture
def silent_port() -> Iterator[str]:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    os.close(theirs)
    yield name
    os.close(ours)


@pytest.mark.usefixtures("few_settings")
def test_nobody_answers(make_patient: MakePatient, silent_port: str) -> None:
    said: list[str] = []
    patient = make_patient(world=world(silent_port), say=said.append)
    (told,) = wrongs(patient, "terminals")
    assert "nobody answers" in told.found
    assert said == [f"asking on {silent_port} …"]


def test_a_port_that_somebody_has_is_not_asked(
    make_patient: MakePatient, silent_port: str, tmp_path: Path
) -> None:
    theirs = os.open(silent_port, os.O_RDWR | os.O_NOCTTY)
    with process_named(tmp_path, "ModemManager", theirs) as pid:
        os.close(theirs)
        from drivers.holders import occupancy

        taken = world(silent_port, occupancy=occupancy())
        told = found(make_patient(world=taken), "port-holders", "terminals")
    assert [one.level for one in told] == [Level.WRONG, Level.UNKNOWN]
    assert told[0].found == f"ModemManager (process {pid}) has it"


@pytest.mark.parametrize(
    ("heard", "level", "words"),
    [
        (line("p"), Level.OK, "terminal T0000001"),
        (line("p", serial="SN9"), Level.WRONG, "not paired here"),
        (line("p", open=False, **SILENT), Level.UNKNOWN, "nothing is plugged in"),
    ],
)
def test_with_a_daemon_its_word_is_taken(
    make_patient: MakePatient, heard: dict[str, Any], level: Level, words: str
) -> None:
    known = world("p", lines=[heard])
    (told,) = found(make_patient(world=known, status=status()), "terminals")
    assert told.level is level
    assert words in told.found


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        ({"dialect": "classic", "baud": 9600, "terminal": "T0000001"}, Level.WRONG, "another dial"),
        ({"noise": True}, Level.WRONG, "not the terminal link"),
        ({}, Level.WRONG, "nobody answers"),
        ({"trouble": "no right"}, Level.UNKNOWN, "no right"),
        ({"dialect": "native", "baud": 115_200}, Level.NOTE, "says no HELLO"),
    ],
)
def test_a_daemon_is_asked_to_look_for_a_silent_terminal(
    make_patient: MakePatient, silent_port: str, answer: dict[str, Any], level: Level, words: str
) -> None:
    asked: list[Request] = []

    def ask(request: Request) -> Any:
        asked.append(request)
        nothing = ("dialect", "baud", "terminal", "serial", "trouble")
        return {**dict.fromkeys(nothing), "noise": False, **answer}

    known = world(silent_port, lines=[line(silent_port, **SILENT)])
    (told,) = found(make_patient(world=known, status=status(), ask=ask), "terminals")
    assert asked == [AskPort(silent_port)]
    assert told.level is level
    assert words in told.found


def test_a_daemon_that_cannot_look_just_now(make_patient: MakePatient, silent_port: str) -> None:
    def ask(request: Request) -> Any:
        raise CommandError(1, "somebody pairs on it", "try again")

    known = world(silent_port, lines=[line(silent_port, **SILENT)])
    (told,) = found(make_patient(world=known, status=status(), ask=ask), "terminals")
    assert (told.level, told.remedy) == (Level.UNKNOWN, "try again")


def test_the_usual_settings_are_asked(make_patient: MakePatient) -> None:
    from bridge.ports import ports

    (port,) = ports(world("/dev/none"))
    assert port.settings[0] == Setting("native", 115_200)
    assert NOBODY.all_seen
