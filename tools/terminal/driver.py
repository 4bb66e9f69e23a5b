"""A simulated terminal for tests and demos: in a thread of this process, or in a process of its own.

Rules
- Both have the same methods: what a person does, and `wait_for` an event.
- A wait always has a limit, and its failure says what came instead.
- `wait_for` goes forward: each kind of event has a mark of its own, after the one last found.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from drivers.line.line import LineUser
from drivers.line.loop import Loop, boottime
from drivers.link.dialect import dialect_named
from tools.terminal import commands
from tools.terminal.core import Device, NotNow
from tools.terminal.events import Event, from_json
from tools.terminal.host import Host
from tools.terminal.pty_line import PtyLine
from tools.terminal.storage import InMemory, Kept, Storage

WAIT_S = 10.0
"""How long a wait lasts unless told otherwise."""
END_S = 5.0
"""How long a terminal may take to end."""
TOLD_LAST = 12
"""So many of the last events are told where a wait fails."""

Result = TypeVar("Result")


class NothingCame(TimeoutError):  # noqa: N818 - says what it is
    """The event that was waited for did not come."""


class EventLog:
    """All events of one terminal, in order; any thread may add and wait."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._marks: dict[str, int] = {}
        self._changed = threading.Condition()
        self._ended = ""

    @property
    def events(self) -> list[Event]:
        """All until now."""
        with self._changed:
            return list(self._events)

    def add(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """Nothing comes any more: who waits need not."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def wait_for(self, kind: str, timeout_s: float = WAIT_S, **wanted: Any) -> Event:
        """The next event of `kind` with these field values, after the one last found of that kind.

        Raises NothingCame after `timeout_s`, and at once where the terminal has failed or ended.
        """
        return self._wait_for(kind, timeout_s, wanted, lambda event: event.matches(kind, wanted))

    def wait_for_text(self, kind: str, timeout_s: float, wanted: Mapping[str, str]) -> Event:
        """The same, where the values are given as a script has them: as text."""

        def matches(event: Event) -> bool:
            return event.kind == kind and all(
                str(event.fields.get(name)) == value for name, value in wanted.items()
            )

        return self._wait_for(kind, timeout_s, wanted, matches)

    def _wait_for(
        self,
        kind: str,
        timeout_s: float,
        wanted: Mapping[str, Any],
        matches: Callable[[Event], bool],
    ) -> Event:
        ends_at = boottime() + timeout_s
        with self._changed:
            while True:
                start = self._marks.get(kind, 0)
                for at in range(start, len(self._events)):
                    if matches(self._events[at]):
                        self._marks[kind] = at + 1
                        return self._events[at]
                broken = self._ended or self._failed()
                left_s = ends_at - boottime()
                if broken or left_s <= 0 or not self._changed.wait(left_s):
                    raise NothingCame(self._nothing(kind, wanted, timeout_s))

    def pass_by(self) -> None:
        """From here on `wait_for` looks only at what is still to come."""
        with self._changed:
            for event in self._events:
                self._marks[event.kind] = len(self._events)

    def _failed(self) -> bool:
        """Whether it has failed since its power came on."""
        for event in reversed(self._events):
            if event.kind == "failed" or (event.kind == "power" and event["on"]):
                return event.kind == "failed"
        return False

    def _nothing(self, kind: str, wanted: Mapping[str, Any], timeout_s: float) -> str:
        last = "\n".join(f"  {event.json()}" for event in self._events[-TOLD_LAST:])
        ended = f" ({self._ended})" if self._ended else ""
        return f"no {kind} {wanted or ''} within {timeout_s} s{ended}; the last events:\n{last}"


class TerminalOnPty:
    """A terminal on a pseudo-terminal, in a thread of this process. A context manager.

    `port` is the path of the link that the daemon opens. Starts with power on and cable in unless
    told otherwise. NotNow comes out of what cannot be done now.
    """

    def __init__(
        self,
        port: Path | str,
        device: Device,
        *,
        dialect: str = "native",
        storage: Storage | None = None,
        plugged: bool = True,
    ) -> None:
        self.port = str(port)
        self.log = EventLog()
        self.wait_for = self.log.wait_for
        self._loop = Loop()
        self._host = Host(
            self._loop,
            device,
            storage if storage is not None else InMemory(),
            self._line,
            dialect_named(dialect),
            self.log.add,
        )
        self._thread = threading.Thread(target=self._loop.run, name=self._host.name, daemon=True)
        self._thread.start()
        self._do(self._host.power_on)
        if plugged:
            self._do(self._host.plug)

    def _line(self, loop: Loop, user: LineUser) -> PtyLine:
        return PtyLine(loop, self.port, user)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Pull the cable and end the thread. A second time does nothing."""
        if self._thread.is_alive():
            if self._host.status()["cable"]:
                self._do(self._host.unplug)
            self._loop.stop()
            self._thread.join(END_S)
            self._loop.close()
            self.log.end("the terminal was closed")

    @property
    def events(self) -> list[Event]:
        return self.log.events

    @property
    def kept(self) -> Kept:
        """What is in its storage now."""
        return self._do(lambda: self._host.kept)

    def status(self) -> dict[str, Any]:
        return self._do(self._host.status)

    def sale(self, amount_minor: int, **content: Any) -> int:
        """Begin a sale; its counter. `content`: reference, merchant, operator, currency."""
        return self._do(partial(self._host.sale, amount_minor, **content))

    def refund(self, original_counter: int, amount_minor: int) -> int:
        """Give back an amount of that sale; the refund's own counter."""
        return self._do(partial(self._host.refund, original_counter, amount_minor))

    def cancel(self) -> None:
        self._do(self._host.cancel)

    def query(self, counter: int | None = None) -> None:
        self._do(partial(self._host.query, counter))

    def decide(self, counter: int, mine: bool) -> None:
        self._do(partial(self._host.decide, counter, mine))

    def end(self, counter: int) -> None:
        self._do(partial(self._host.end, counter))

    def pair(self) -> None:
        """Open pairing at the terminal's menu."""
        self._do(self._host.pair)

    def confirm(self, yes: bool) -> None:
        """Say whether the six digits are the bridge's."""
        self._do(partial(self._host.confirm, yes))

    def unplug(self) -> None:
        self._do(self._host.unplug)

    def plug(self) -> None:
        self._do(self._host.plug)

    def power_off(self) -> None:
        self._do(self._host.power_off)

    def power_on(self) -> None:
        self._do(self._host.power_on)

    def write_raw(self, data: bytes) -> None:
        """Puts these bytes on the line beside what the terminal says, as interference would."""
        self._do(partial(self._host.write_raw, data))

    def _do(self, what: Callable[[], Result]) -> Result:
        """On the loop's thread; what it raises comes out here."""
        answer: Future[Result] = Future()

        def run() -> None:
            try:
                answer.set_result(what())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                answer.set_exception(error)

        self._loop.call(run)
        return answer.result(WAIT_S)


class TerminalProcess:
    """`python -m tools.terminal --json` as a process. A context manager.

    `options` are those of the command line, without `--json`. `python`: what runs it, such as an
    interpreter in another root. Methods as of TerminalOnPty.
    """

    def __init__(
        self,
        options: Sequence[str],
        *,
        root: Path | None = None,
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        self.log = EventLog()
        self.wait_for = self.log.wait_for
        self._process = subprocess.Popen(
            [*python, "-m", "tools.terminal", "--json", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root if root is not None else Path(__file__).parents[2],
        )
        self._reader = threading.Thread(target=self._read, name="terminal events", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def events(self) -> list[Event]:
        return self.log.events

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> int:
        """End the process; its exit status."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(END_S)
        return self._process.wait(END_S)

    def command(self, line: str) -> Event:
        """Carry out one command; its `done` event. Raises NotNow where it says `cannot`."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self.wait_for("answer", command=line)
        if answer["cannot"] is not None:
            raise NotNow(answer["cannot"])
        return answer

    def sale(self, amount_minor: int, reference: str | None = None) -> int:
        words = ["sale", _amount(amount_minor), *([reference] if reference else [])]
        return int(self.command(" ".join(words))["counter"])

    def refund(self, original_counter: int, amount_minor: int) -> int:
        return int(self.command(f"refund {original_counter} {_amount(amount_minor)}")["counter"])

    def cancel(self) -> None:
        self.command("cancel")

    def query(self, counter: int | None = None) -> None:
        self.command("query" if counter is None else f"query {counter}")

    def decide(self, counter: int, mine: bool) -> None:
        self.command(f"decide {counter} {'yes' if mine else 'no'}")

    def end(self, counter: int) -> None:
        self.command(f"end {counter}")

    def pair(self) -> None:
        self.command("pair")

    def confirm(self, yes: bool) -> None:
        self.command("yes" if yes else "no")

    def unplug(self) -> None:
        self.command("unplug")

    def plug(self) -> None:
        self.command("plug")

    def power_off(self) -> None:
        self.command("power off")

    def power_on(self) -> None:
        self.command("power on")

    def status(self) -> dict[str, Any]:
        return dict(self.command("status").fields)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self.log.add(from_json(line))
            except (ValueError, KeyError):
                self.log.add(Event("failed", 0.0, {"why": f"no event: {line!r}"}))
        self.log.end(f"the process has ended, status {self._process.wait()}")


def _amount(amount_minor: int) -> str:
    text = f"{amount_minor // 100}.{amount_minor % 100:02d}"
    assert commands.amount_minor(text) == amount_minor
    return text
