"""The C terminal, step by step, for the conformance tester: its process has no clock and no line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.conformance_tester.port import SteppedPort
from tools.conformance_tester.simulated import ByProgram
from tools.firmware.driver import EventReader
from tools.terminal.core import NotNow
from tools.terminal.events import Event

WRAPS_AT = 1 << 32
"""The firmware's clock has 32 bits of milliseconds."""


class SteppedFirmware:
    """A context manager. `port` and `operator` are what the tester needs.

    `start_ms` is the firmware's clock when the port's clock is 0.
    """

    def __init__(
        self,
        program: Path,
        *,
        dialect: str,
        terminal_id: str = "T0000001",
        serial_number: str = "SN123456",
        panel: tuple[int, int] = (240, 320),
        formats: bytes = b"\x10\x90\x81\x01",
        start_ms: int = 0,
    ) -> None:
        words = [str(program), dialect, terminal_id, serial_number, *map(str, panel)]
        self._process = subprocess.Popen(
            [*words, formats.hex(), str(start_ms % WRAPS_AT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = EventReader()
        self._wake_ms: int | None = None
        self.events: list[Event] = []
        self.port = SteppedPort(self, f"firmware in steps, {dialect}")
        self.operator = ByProgram(self)
        self.power_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        complaint = self._process.stderr.read() if self._process.stderr is not None else ""
        status = self._process.wait(10)
        if error is None:
            assert (status, complaint) == (0, "")

    # Stepped

    def receive(self, data: bytes, now: float) -> bytes:
        return self._turn(f"rx {_ms(now)} {data.hex()}", now)

    def wake(self, now: float) -> bytes:
        return self._turn(f"tick {_ms(now)}", now)

    def next_wake(self) -> float | None:
        return None if self._wake_ms is None else self._wake_ms / 1000

    # Hands

    def sale(self, amount_minor: int) -> int:
        return int(self._do(f"sale {amount_minor // 100}.{amount_minor % 100:02d}")["counter"])

    def cancel(self) -> None:
        self._do("cancel")

    def refund(self, original_counter: int, amount_minor: int) -> int:
        amount = f"{amount_minor // 100}.{amount_minor % 100:02d}"
        return int(self._do(f"refund {original_counter} {amount}")["counter"])

    def end(self, counter: int) -> None:
        self._do(f"end {counter}")

    def decide(self, counter: int, mine: bool) -> None:
        self._do(f"decide {counter} {'yes' if mine else 'no'}")

    def pair(self) -> None:
        self._do("pair")

    def confirm(self, yes: bool) -> None:
        self._do("yes" if yes else "no")

    def forget_keys(self) -> None:
        self._do("forget-keys")

    def power_off(self) -> None:
        self._said("power-off")

    def power_on(self) -> None:
        self._said(f"power-on {_ms(self.port.now())}")

    def unplug(self) -> None:
        self._said(f"unplug {_ms(self.port.now())}")

    def plug(self) -> None:
        self._said(f"plug {_ms(self.port.now())}")

    def storage(self, state: str) -> None:
        """`ok` or `broken`."""
        self._said(f"storage {state}")

    # Inside

    def _do(self, command: str) -> Event:
        self._said(f"do {_ms(self.port.now())} {command}")
        answer = next(event for event in reversed(self.events) if event.kind == "answer")
        if answer["cannot"] is not None:
            raise NotNow(answer["cannot"])
        return answer

    def _said(self, line: str) -> None:
        now = self.port.now()
        self.port.said(self._turn(line, now))

    def _turn(self, line: str, now: float) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        output = b""
        for said in self._process.stdout:
            word, _, rest = said.rstrip("\n").partition(" ")
            if word == "wait":
                self._wake_ms = None if rest == "never" else _ms(now) + int(rest)
                return output
            if word == "tx":
                output += bytes.fromhex(rest)
            elif (event := self._reader.take(said, now * 1000)) is not None:
                self.events.append(event)
        complaint = self._process.stderr.read() if self._process.stderr is not None else ""
        raise RuntimeError(f"the firmware has ended after {line[:200]!r}:\n{complaint}")


def _ms(now: float) -> int:
    return round(now * 1000)
