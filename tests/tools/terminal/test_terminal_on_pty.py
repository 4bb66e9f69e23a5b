"""The simulated terminal as others use it: a real pseudo-terminal, a real session at the other end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.display.geometry import Panel
from drivers.link.messages import Stored, Tender
from tests.tools.terminal.bridge_end import PAYLOAD, BridgeEnd
from tools.terminal.core import Device, NotNow
from tools.terminal.driver import NothingCame, TerminalOnPty, TerminalProcess
from tools.terminal.storage import InMemory, Kept

ROOT = Path(__file__).parents[3]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "ttyTERM"


def device(**fields: object) -> Device:
    return Device("T0000001", "SN123456", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["native", "classic"])
@pytest.mark.parametrize("formats", [b"\x10", b"\x83", b"\x21", b"\xb0"])
def test_a_sale_whose_code_is_read_from_the_panel(port: Path, dialect: str, formats: bytes) -> None:
    which = device(formats=formats, panel=Panel(160, 160))
    with (
        TerminalOnPty(port, which, dialect=dialect) as terminal,
        BridgeEnd(port, dialect) as bridge,
    ):
        terminal.wait_for("ready", paired=True)
        counter = terminal.sale(1250, reference="INV-1")
        image = terminal.wait_for("image")
        assert image["code"] == PAYLOAD
        assert image["format"] == formats[0]
        terminal.wait_for("text", text="TEST Scan")
        bridge.approve()
        closed = terminal.wait_for("closed", counter=counter)
        assert closed["ending"] == "approved"
        assert closed["order_number"] == "181211-303902"
        terminal.wait_for("sent", message="STORED")
        assert terminal.kept.outcomes[0].response_code == "00"
        assert bridge.has_heard(Stored("T0000001", counter, "00"))


def test_the_terminal_may_be_there_first(port: Path) -> None:
    with TerminalOnPty(port, device()) as terminal:
        terminal.wait_for("sent", message="HELLO")
        with pytest.raises(NotNow, match="WELCOME"):
            terminal.sale(100)
        with BridgeEnd(port):
            terminal.wait_for("received", message="IDENTIFY")
            terminal.wait_for("ready")
            terminal.sale(100)
            terminal.cancel()
            assert terminal.wait_for("closed")["response_code"] == "17"


def test_the_cable_is_pulled_and_put_back(port: Path) -> None:
    with TerminalOnPty(port, device()) as terminal, BridgeEnd(port) as bridge:
        terminal.wait_for("ready")
        counter = terminal.sale(1250)
        terminal.wait_for("image")
        terminal.unplug()
        assert not port.is_symlink()
        terminal.plug()
        terminal.wait_for("ready")
        assert terminal.wait_for("image")["code"] == PAYLOAD
        bridge.approve()
        assert terminal.wait_for("closed", counter=counter)["ending"] == "approved"
    assert bridge.heard.count(Tender("T0000001", counter, 1250, 554)) == 1


def test_the_power_goes_and_comes(port: Path) -> None:
    storage = InMemory()
    with TerminalOnPty(port, device(), storage=storage) as terminal, BridgeEnd(port) as bridge:
        terminal.wait_for("ready")
        counter = terminal.sale(1250)
        terminal.wait_for("image")
        terminal.power_off()
        assert terminal.status()["power"] is False
        assert [part.counter for part in storage.kept.open] == [counter]
        terminal.power_on()
        assert terminal.wait_for("image")["code"] == PAYLOAD
        bridge.approve()
        assert terminal.wait_for("closed", counter=counter)["ending"] == "approved"


def test_storage_that_cannot_be_written_is_a_power_cut(port: Path) -> None:
    storage = InMemory()
    save = storage.save
    with TerminalOnPty(port, device(), storage=storage) as terminal, BridgeEnd(port) as bridge:
        terminal.wait_for("ready")
        counter = terminal.sale(1250)
        terminal.wait_for("image")

        def full(_: Kept) -> None:
            raise OSError(28, "No space left on device")

        storage.save = full  # type: ignore[method-assign]
        bridge.approve()
        assert "space" in terminal.wait_for("failed")["why"]
        assert terminal.status()["power"] is False
        storage.save = save  # type: ignore[method-assign]
        terminal.power_on()
        terminal.wait_for("image")
        bridge.approve()
        assert terminal.wait_for("closed", counter=counter)["ending"] == "approved"


def test_a_wait_that_fails_says_what_came(port: Path) -> None:
    with TerminalOnPty(port, device()) as terminal:
        terminal.wait_for("cable")
        with pytest.raises(NothingCame, match=r"(?s)no closed .*'counter': 7.*\n.*HELLO"):
            terminal.wait_for("closed", 0.01, counter=7)


def test_as_a_process_with_its_storage_in_a_file(port: Path, tmp_path: Path) -> None:
    file = tmp_path / "terminal.json"
    options = ["--pty", str(port), "--terminal-id", "T0000001", "--serial", "SN123456"]
    options += ["--panel", "128x64", "--formats", "83,10", "--storage", str(file)]
    with BridgeEnd(port) as bridge:
        with TerminalProcess(options, root=ROOT) as terminal:
            terminal.wait_for("ready")
            counter = terminal.sale(1250, reference="INV-7")
            image = terminal.wait_for("image")
            assert (image["code"], image["format"]) == (PAYLOAD, 0x83)
            assert len(image["panel"]) > 10
            with pytest.raises(NotNow, match="still open"):
                terminal.sale(5)
            assert terminal.close() == 0
        with TerminalProcess(options, root=ROOT) as terminal:
            terminal.wait_for("image")
            assert terminal.status()["open"] == [counter]
            bridge.approve()
            assert terminal.wait_for("closed")["ending"] == "approved"
            terminal.wait_for("sent", message="STORED")
    assert json.loads(file.read_text())["outcomes"][0]["response_code"] == "00"
    assert file.stat().st_mode & 0o077 == 0


def test_a_script_and_its_exit_status(port: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    command = [sys.executable, "-m", "tools.terminal", "--pty", str(port)]
    command += ["--terminal-id", "T1", "--serial", "S1", "--script", str(script)]
    lines = [
        "wait ready",
        "sale 12.50 INV-1 # a comment",
        "wait image",
        "cancel",
        "wait closed response_code=17",
        "status",
    ]
    script.write_text("\n".join(lines))
    with BridgeEnd(port):
        done = run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "▀" in done.stdout
        script.write_text("wait closed 0.01\n")
        done = run(command)
        assert done.returncode == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--dialect", "klingon"],
        ["--panel", "240"],
        ["--formats", "zz"],
        ["--script", "/nonexistent/script"],
        ["--storage", str(Path(__file__))],
    ],
)
def test_started_wrongly(port: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "tools.terminal", "--pty", str(port)]
    command += ["--terminal-id", "T1", "--serial", "S1", *options]
    done = run(command)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert options[1] in done.stderr
