"""`ports`, on this machine, with a terminal on a pseudo-terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers import holders
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

Invoke = Callable[..., Any]
T1 = Device(terminal_id="T1", serial_number="S1")


def register(invoke: Invoke, port: str) -> None:
    invoke("merchants", "add", "--id", "M1", "--name", "Shoes")
    words = ("--terminal-id", "T1", "--serial", "S1", "--dialect", "native", "--merchant", "M1")
    assert invoke("terminals", "add", *words, "--port", port).exit_status == 0


def test_a_terminal_is_asked_and_recognised(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "occupancy", lambda: holders.NOBODY)
    port = str(tmp_path / "line")
    register(invoke, port)
    with TerminalOnPty(port, T1):
        done = invoke("ports", port, "--ask", "--json")
        (told,) = done.json
        assert told["answers"]["terminal"] == "T1"
        assert told["terminals"][0]["serial"] == "S1"
        assert told["remarks"] == []
        assert f"asking on {port}" in done.err
        text = invoke("ports", port).out
    assert "terminal  T1, serial number S1" in text
    assert "answers" not in text


def test_a_port_in_use_is_left_alone(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(tmp_path / "line")
    with TerminalOnPty(port, T1) as terminal:
        node = str(Path(port).resolve())
        gpsd = {node: (holders.Holder(77, "gpsd"),)}
        monkeypatch.setattr(
            holders, "occupancy", lambda: holders.Occupancy(gpsd, {}, {}, all_seen=True)
        )
        done = invoke("ports", port, "--ask")
        assert "used by   gpsd (process 77)" in done.out
        assert "not asked: in use by gpsd" in done.out
        assert not [event for event in terminal.events if event.kind == "received"]


def test_it_works_without_a_configuration(bare: Invoke, tmp_path: Path) -> None:
    done = bare("ports", "/dev/none", "--config", str(tmp_path / "none.toml"))
    assert done.exit_status == 0
    assert "not plugged in" in done.out
    assert "none.toml" in done.err


def test_what_a_device_calls_itself_cannot_steer_the_screen(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "occupancy", lambda: holders.NOBODY)
    port = str(tmp_path / "line")
    with TerminalOnPty(port, Device(terminal_id="T1", serial_number="S1", model="\u009b31m")):
        assert "\u009b" not in invoke("ports", port, "--ask").out
