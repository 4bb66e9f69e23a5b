"""Test pictures: on a terminal's panel through a running daemon's line, over a line of one's own, and beside it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from bridge.display_test import (
    TEST_PAYLOAD,
    clear_display,
    clear_lane,
    on_display,
    on_lane,
    on_line,
)
from bridge.drawing import first_picture
from bridge.lane import Draw, Lane
from bridge.lane_events import Heard, LaneEvent
from bridge.lane_line import LaneOnLine
from drivers.display.geometry import Panel
from drivers.line.loop import Loop
from drivers.line.serial import SerialLine
from drivers.link.dialect import UnknownName, dialect_named
from drivers.link.messages import Accepted, Hello, Welcome
from tests.drivers.display.escpos_interpreter import Interpreter
from tests.drivers.display.escpos_on_tcp import EscposOnTcp
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

WAIT_S = 20.0
DEVICE = Device(
    terminal_id="T0000001",
    serial_number="SN1",
    panel=Panel(128, 64),
    formats=bytes.fromhex("8310"),
)


def welcome(hello: Hello) -> Welcome:
    return Welcome(1, b"journal1", 1, 261123, 101500, counter=0)


def scanned(picture: bytes | None) -> str:
    assert picture is not None
    with Image.open(io.BytesIO(picture)) as image:
        (found,) = zxingcpp.read_barcodes(image.convert("L"))
    return found.text


class DaemonsLine:
    """A lane as a daemon has it, in a loop's thread; its engine says WELCOME and nothing else."""

    def __init__(self, port: Path) -> None:
        self.loop = Loop()
        self.welcomed = threading.Event()

        def make_lane(draw: Draw) -> Lane:
            return Lane(str(port), dialect_named("native"), post=self._tell, draw=draw)

        self.at = LaneOnLine(
            self.loop,
            make_lane=make_lane,
            make_line=lambda user: SerialLine(self.loop, str(port), user),
            draw=first_picture,
            in_worker=lambda job: job(),
        )
        self.at.start()
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def _tell(self, event: LaneEvent) -> None:
        if isinstance(event, Heard) and isinstance(event.message, Hello):
            self.at.say(welcome(event.message), event.message)
            self.at.with_lane(lambda lane, now: self.welcomed.set())

    def close(self) -> None:
        self.at.close()
        self.loop.call(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[DaemonsLine]:
    made = DaemonsLine(tmp_path / "line")
    yield made
    made.close()


MakeTerminal = Callable[[Device], TerminalOnPty]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[MakeTerminal]:
    made: list[TerminalOnPty] = []

    def make(device: Device) -> TerminalOnPty:
        made.append(TerminalOnPty(tmp_path / "line", device))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_on_a_daemons_line(line: DaemonsLine, terminal: MakeTerminal) -> None:
    there = terminal(DEVICE)
    assert line.welcomed.wait(WAIT_S)
    tried = on_lane(line.at)
    assert tried.shown is True
    assert "scan" in tried.what
    assert there.wait_for("image", WAIT_S)["code"] == TEST_PAYLOAD
    assert scanned(tried.picture) == TEST_PAYLOAD
    with Image.open(io.BytesIO(tried.picture or b"")) as image:
        assert image.size == (128, 64)
    clear_lane(line.at)
    there.wait_for("received", WAIT_S, message="DISPLAY_CLEAR")


def test_a_panel_that_cannot_show_it_says_why(line: DaemonsLine, terminal: MakeTerminal) -> None:
    terminal(replace(DEVICE, panel=Panel(20, 20)))
    assert line.welcomed.wait(WAIT_S)
    tried = on_lane(line.at)
    assert tried.shown is False
    assert "the panel has 20 × 20" in tried.what
    assert tried.picture is None


def test_nobody_there(line: DaemonsLine) -> None:
    tried = on_lane(line.at)
    assert tried.shown is False
    assert "no terminal is there" in tried.what


def test_a_sale_is_left_alone(line: DaemonsLine, terminal: MakeTerminal) -> None:
    there = terminal(DEVICE)
    assert line.welcomed.wait(WAIT_S)
    tried = on_lane(line.at, busy=lambda terminal_id: terminal_id == "T0000001")
    assert tried.shown is False
    assert "not idle" in tried.what
    accepted = Accepted("T0000001", 42, 12_550, 554, 300)
    line.at.say(accepted)
    line.at.show_code(accepted, "https://pay.test/q/1", 1e9)
    tried = on_lane(line.at)
    assert tried.shown is False
    assert "the code of a sale" in tried.what
    clear_lane(line.at)
    done = threading.Event()
    line.at.with_lane(lambda lane, now: done.set())
    assert done.wait(WAIT_S)
    assert "DISPLAY_CLEAR" not in [one.fields.get("message") for one in there.events]


def test_a_test_that_is_broken_off_says_so(line: DaemonsLine, terminal: MakeTerminal) -> None:
    there = terminal(replace(DEVICE, panel=Panel(480, 272), formats=b"\x30"))
    assert line.welcomed.wait(WAIT_S)
    results = []
    waiting = threading.Thread(target=lambda: results.append(on_lane(line.at)))
    waiting.start()
    there.wait_for("received", WAIT_S, message="IMAGE_DATA")
    there.unplug()
    waiting.join(WAIT_S)
    (tried,) = results
    assert tried.shown is None
    assert "broken off" in tried.what


def test_over_a_line_of_its_own(tmp_path: Path, terminal: MakeTerminal) -> None:
    there = terminal(DEVICE)
    tried = on_line(str(tmp_path / "line"), welcome)
    assert tried.shown is True
    assert scanned(tried.picture) == TEST_PAYLOAD
    assert there.wait_for("image", WAIT_S)["code"] == TEST_PAYLOAD
    assert tried.facts() == {
        "where": str(tmp_path / "line"),
        "shown": True,
        "what": tried.what,
        "payload": TEST_PAYLOAD,
    }


def test_a_port_where_nothing_is_or_nobody_answers(tmp_path: Path, terminal: MakeTerminal) -> None:
    tried = on_line(str(tmp_path / "no-port"), welcome, hello_wait_s=0.3)
    assert tried.shown is False
    assert "nothing is plugged in" in tried.what
    there = terminal(DEVICE)
    there.power_off()
    tried = on_line(str(tmp_path / "line"), welcome, hello_wait_s=0.3)
    assert tried.shown is False
    assert "baud rate" in tried.what


@pytest.mark.parametrize(
    ("port", "more"),
    [("tty", {}), ("/dev/null", {"profile": "no-such"}), ("/dev/null", {"dialect": "no-such"})],
)
def test_what_cannot_be_is_refused(port: str, more: dict[str, str]) -> None:
    with pytest.raises((ValueError, UnknownName), match=r"no-such|tty"):
        on_line(port, welcome, **more)  # type: ignore[arg-type]


def test_on_a_printer_and_on_a_line_display() -> None:
    printer, lines = EscposOnTcp(Interpreter(576)), EscposOnTcp(Interpreter(dots=False))
    try:
        tried = on_display(f"escpos:tcp:127.0.0.1:{printer.port}")
        assert tried.shown is True
        printer.until(lambda: printer.codes() == [TEST_PAYLOAD])
        assert scanned(tried.picture) == TEST_PAYLOAD
        name = f"escpos:tcp:127.0.0.1:{lines.port}?kind=text"
        tried = on_display(name)
        assert tried.shown is True
        assert "text alone" in tried.what
        assert tried.picture is None
        shown = lines.interpreter.line_display
        lines.until(lambda: shown.lines == ["Test: this works", "0.00"])
        assert clear_display(name).shown is None
        lines.until(lambda: shown.lines == ["", ""])
    finally:
        printer.close()
        lines.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hologram:1", "no driver 'hologram'"),
        ("escpos:tcp:127.0.0.1:1", "see that the printer is on"),
    ],
)
def test_a_display_that_cannot_be_used(name: str, said: str) -> None:
    tried = on_display(name)
    assert tried.shown is False
    assert said in tried.what
