"""The simulated terminal as a program: a console, a script, or lines of JSON for another program.

Rules
- Commands come from standard input or `--script`, one a line, and are carried out in order.
- `--json`: standard output has one event a line (`events.py`), and an `answer` for each command.
- It ends with `quit` or with the end of its commands: exit status 0; 1 where a `wait` of a script
  failed or the terminal did; 2 where it was started wrongly.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from drivers.display.geometry import Panel
from drivers.line.line import Line, LineUser
from drivers.line.loop import Loop, boottime
from drivers.line.serial import SerialLine
from drivers.link.dialect import BrokenPlugIn, UnknownName, dialect_named
from tools.terminal import commands
from tools.terminal.console import Console
from tools.terminal.core import PANEL, Device, NotNow
from tools.terminal.driver import WAIT_S, EventLog, NothingCame
from tools.terminal.events import Event
from tools.terminal.host import Host
from tools.terminal.pty_line import PtyLine
from tools.terminal.storage import DamagedStorageError, InFile, InMemory

COMMAND_S = 30.0
"""How long a command may take on the loop's thread."""


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit status."""
    options = _options(arguments)
    log = EventLog()
    console = Console(json=options.json)

    def tell(event: Event) -> None:
        log.add(event)
        console.tell(event)

    def make_line(loop: Loop, user: LineUser) -> Line:
        if options.pty is not None:
            return PtyLine(loop, str(options.pty), user)
        return SerialLine(loop, str(options.port), user, baud=options.baud)

    storage = InFile(options.storage) if options.storage is not None else InMemory()
    try:
        storage.load()
        dialect = dialect_named(options.dialect)
        script = None if options.script is None else options.script.read_text().splitlines()
    except (OSError, DamagedStorageError, UnknownName, BrokenPlugIn) as fault:
        print(f"tools.terminal: {fault}", file=sys.stderr)
        return 2
    with Loop() as loop:
        host = Host(loop, _device(options), storage, make_line, dialect, tell, baud=options.baud)
        reader = _Reader(loop, host, log, tell)
        loop.call(host.power_on, host)
        loop.call(host.plug, host)
        lines: Iterable[str] = sys.stdin if script is None else script
        threading.Thread(target=reader.run, args=(lines,), name="commands", daemon=True).start()
        loop.run()
        host.close()
    return 1 if reader.failed or any(event.kind == "failed" for event in log.events) else 0


class _Reader:
    """Carries out commands, one after the other, in a thread of its own."""

    def __init__(self, loop: Loop, host: Host, log: EventLog, tell: Any) -> None:
        self._loop = loop
        self._host = host
        self._log = log
        self._tell = tell
        self.failed = False

    def run(self, lines: Iterable[str]) -> None:
        """All lines; then the loop is stopped."""
        try:
            for line in lines:
                if line.split("#")[0].strip() and not self._one(line.split("#")[0].strip()):
                    break
        finally:
            self._loop.stop()

    def _one(self, line: str) -> bool:
        word, *rest = line.split()
        match word:
            case "quit":
                self._answer(line, {})
                return False
            case "wait":
                return self._wait(line, rest)
        try:
            self._answer(line, self._carry_out(line))
        except (NotNow, commands.NotACommand) as cannot:
            self._answer(line, {}, str(cannot))
        return True

    def _carry_out(self, line: str) -> dict[str, Any]:
        answer: Future[dict[str, Any]] = Future()

        def run() -> None:
            try:
                answer.set_result(commands.run(self._host, line))
            except (NotNow, commands.NotACommand) as cannot:
                answer.set_exception(cannot)
            except Exception as error:
                answer.set_exception(error)
                raise

        self._loop.call(run, self._host)
        return answer.result(COMMAND_S)

    def _wait(self, line: str, words: list[str]) -> bool:
        """`wait EVENT [SECONDS] [FIELD=VALUE ...]`: the next one; a script ends where none comes."""
        fields = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        try:
            timeout_s = float(plain[1]) if len(plain) > 1 else WAIT_S
            found = self._log.wait_for_text(plain[0], timeout_s, fields)
        except (IndexError, ValueError):
            self._answer(line, {}, "usage: wait EVENT [SECONDS] [FIELD=VALUE ...]")
            return True
        except NothingCame as fault:
            self.failed = True
            self._answer(line, {}, str(fault))
            return False
        self._answer(line, {"found": found.fields})
        return True

    def _answer(self, line: str, fields: dict[str, Any], cannot: str | None = None) -> None:
        now_ms = round(boottime() * 1000, 3)
        self._tell(Event("answer", now_ms, {"command": line, "cannot": cannot, **fields}))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.terminal",
        description="A simulated payment terminal on a pseudo-terminal or a real port.",
        epilog="Commands: "
        + "; ".join(command.usage for command in commands.COMMANDS.values())
        + "; wait EVENT [SECONDS] [FIELD=VALUE ...]; quit",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=Path, help="a real port, by path")
    where.add_argument("--pty", type=Path, metavar="LINK", help="the link that the daemon opens")
    parser.add_argument("--terminal-id", required=True, metavar="T")
    parser.add_argument("--serial", required=True, metavar="S")
    parser.add_argument("--dialect", default="native", help="native (default) or classic")
    parser.add_argument("--baud", type=int, default=115_200)
    parser.add_argument(
        "--panel", type=_panel, default=PANEL, metavar="WxH", help="pixels; default 240x320"
    )
    parser.add_argument(
        "--formats",
        type=_formats,
        default=Device.__dataclass_fields__["formats"].default,
        metavar="HEX,...",
        help="image formats, best first; default 10,83,81,03,01",
    )
    parser.add_argument("--max-body", type=int, default=4092)
    parser.add_argument("--largest-image", type=int, default=None)
    parser.add_argument(
        "--authenticate", action="store_true", help="it can pair by six digits (DF20)"
    )
    parser.add_argument("--storage", type=Path, help="what a power cut leaves; default: memory")
    parser.add_argument("--json", action="store_true", help="events as lines of JSON")
    parser.add_argument("--script", type=Path, help="commands from a file")
    return parser.parse_args(arguments)


def _panel(text: str) -> Panel:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no panel; write 240x320")
    return Panel(int(width), int(height))


def _formats(text: str) -> bytes:
    try:
        return bytes(int(part, 16) for part in text.split(","))
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"{text!r}: write codes in hex, 10,83,01") from fault


def _device(options: argparse.Namespace) -> Device:
    return Device(
        options.terminal_id,
        options.serial,
        panel=options.panel,
        formats=options.formats,
        max_body=options.max_body,
        largest_image=options.largest_image,
        can_authenticate=options.authenticate,
    )


if __name__ == "__main__":
    sys.exit(main())
