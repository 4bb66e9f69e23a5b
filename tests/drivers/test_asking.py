"""Asking who is there, over real pseudo-terminals, with the simulated terminal at the other end."""

from __future__ import annotations

import os
import pty
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.asking import USUAL_BAUDS, Answer, Setting, Silence, ask, settings_for
from drivers.line.line import LineUser, Trouble, TroubleKind
from drivers.line.loop import Loop
from drivers.line.serial import close_port, open_port
from drivers.link.dialect import dialect_named
from drivers.link.framing import ACK
from drivers.link.messages import Ping
from tests.drivers.slow_line import TerminalAtSpeed

FAST = Setting("native", 115_200)
TRIED = (FAST, Setting("classic", 115_200), Setting("native", 9_600), Setting("classic", 9_600))


@pytest.fixture
def port(tmp_path: Path) -> str:
    return str(tmp_path / "line")


@pytest.mark.parametrize("setting", [*TRIED, Setting("native", 19_200)])
def test_the_one_setting_that_is_right_is_found(port: str, setting: Setting) -> None:
    tried: list[Setting] = []
    with TerminalAtSpeed(port, setting.baud, dialect=setting.dialect):
        answer = ask(port, (*TRIED, Setting("native", 19_200)), about=tried.append)
    assert isinstance(answer, Answer)
    assert answer.setting == setting
    assert answer.hello is not None
    assert (answer.hello.terminal_id, answer.hello.serial_number) == ("T0000001", "SN1")
    assert tried[-1] == setting


def test_a_terminal_that_was_asked_goes_on_to_its_bridge(port: str) -> None:
    with TerminalAtSpeed(port) as terminal:
        assert isinstance(ask(port, [FAST]), Answer)
        terminal.wait_for("received", message="IDENTIFY")
        assert isinstance(ask(port, [FAST]), Answer)


def test_nobody_there(port: str) -> None:
    ours, theirs = pty.openpty()
    Path(port).symlink_to(os.ttyname(theirs))
    os.close(theirs)
    try:
        assert ask(port, TRIED) == Silence(TRIED, noise=False)
    finally:
        os.close(ours)


@pytest.fixture
def talker() -> Iterator[tuple[str, list[bytes]]]:
    """A device that answers each piece that it hears with the next of these bytes."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    says: list[bytes] = []

    def talk() -> None:
        while True:
            try:
                os.read(ours, 4096)
                if says:
                    os.write(ours, says.pop(0))
            except OSError:
                return

    threading.Thread(target=talk, daemon=True).start()
    yield os.ttyname(theirs), says
    os.close(theirs)
    os.close(ours)


def test_noise_is_told_from_silence(talker: tuple[str, list[bytes]]) -> None:
    port, says = talker
    says.append(b"Ready.\r\n")
    assert ask(port, TRIED[:2]) == Silence(TRIED[:2], noise=True)


def test_who_acknowledges_and_says_no_hello_is_told_apart(
    talker: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, says = talker
    monkeypatch.setattr("drivers.asking.HELLO_WAIT_S", 0.1)
    native = dialect_named("native")
    says += [b"\x06" + native.framing.encode(native.encoding.encode(Ping(), 1))]
    assert ask(port, TRIED[:2]) == Answer(FAST, None)


class OvertakenLine:
    """Its far end's ACK is read before the word that all has left."""

    def __init__(self, loop: Loop, port: str, user: LineUser, *, baud: int) -> None:
        self.port = port
        self._loop, self._user = loop, user

    def start(self) -> None:
        self._loop.call(lambda: self._user.opened(self._loop.now()), self._user)

    def write(self, data: bytes) -> None:
        self._loop.call(self._answer, self._user)

    def _answer(self) -> None:
        self._user.received(ACK, self._loop.now())
        self._user.written(self._loop.now())

    def reset(self, why: str) -> None:
        raise AssertionError(why)

    def close(self) -> None:
        pass


def test_an_acknowledgement_that_is_here_before_all_has_left_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a quick line it was lost, and doctor found no terminal where there was one."""
    monkeypatch.setattr("drivers.asking.HELLO_WAIT_S", 0.0)
    assert ask("quick", [FAST], make_line=OvertakenLine) == Answer(FAST, None)


def test_an_echo_is_nobody(talker: tuple[str, list[bytes]]) -> None:
    port, says = talker
    native = dialect_named("native")
    from drivers.link.messages import Identify

    says += [native.framing.encode(native.encoding.encode(Identify(), 1))]
    assert ask(port, TRIED[:2]) == Silence(TRIED[:2], noise=True)


def test_a_port_in_use_is_left_alone(port: str) -> None:
    with TerminalAtSpeed(port) as terminal:
        taken = open_port(port, 115_200)
        try:
            found = ask(port, [FAST])
        finally:
            close_port(taken.device)
        assert isinstance(found, Trouble)
        assert found.kind is TroubleKind.TAKEN
        assert not [event for event in terminal.events if event.kind == "received"]


def test_nothing_plugged_in(port: str) -> None:
    found = ask(port, [FAST])
    assert isinstance(found, Trouble)
    assert found.kind is TroubleKind.ABSENT


def test_the_usual_settings_begin_with_the_one_that_is_known() -> None:
    known = Setting("classic", 57_600)
    settings = settings_for(known)
    assert settings[0] == known
    assert len(settings) == len(set(settings)) == 2 * len(USUAL_BAUDS)
    assert settings_for()[0] == FAST
    assert settings_for(Setting("classic", 1_200))[0].baud == 1_200
    assert {setting.baud for setting in settings_for(usb=True)} == {115_200}
