"""A simulated terminal whose end of a pseudo-terminal has a speed: at another one both ends hear noise."""

from __future__ import annotations

import termios
from pathlib import Path
from typing import Any

from drivers.line.line import LineUser
from drivers.line.loop import Loop
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty
from tools.terminal.pty_line import PtyLine

SPEEDS = {9_600: termios.B9600, 19_200: termios.B19200, 115_200: termios.B115200}
DEVICE = Device(terminal_id="T0000001", serial_number="SN1")


class PtyLineAtSpeed(PtyLine):
    """What a UART makes of another speed: other bytes, though not more of them."""

    def __init__(self, loop: Loop, port: str, user: LineUser, speed: int) -> None:
        super().__init__(loop, port, _Hearing(self, user))
        self._speed = speed

    def write(self, data: bytes) -> None:
        super().write(self.as_heard(data))

    def as_heard(self, data: bytes) -> bytes:
        """The other end's speed is what it last set on the pseudo-terminal that both have."""
        other = termios.tcgetattr(self._fd)[5]
        return data if other == SPEEDS[self._speed] else bytes(byte ^ 0xFF for byte in data)


class _Hearing:
    """Passes on what a line tells, with its bytes as they are heard."""

    def __init__(self, line: PtyLineAtSpeed, user: LineUser) -> None:
        self._line = line
        self._user = user

    def __getattr__(self, name: str) -> Any:
        return getattr(self._user, name)

    def received(self, data: bytes, now: float) -> None:
        self._user.received(self._line.as_heard(data), now)


class TerminalAtSpeed(TerminalOnPty):
    """As TerminalOnPty, at a speed of its own."""

    def __init__(self, port: Path | str, speed: int = 115_200, **more: Any) -> None:
        self._speed = speed
        super().__init__(port, more.pop("device", DEVICE), **more)

    def _line(self, loop: Loop, user: LineUser) -> PtyLine:
        return PtyLineAtSpeed(loop, self.port, user, self._speed)
