"""The simulated terminal under test: on a pseudo-terminal, or step by step on a clock of its own.

Rules
- Its operator is a program: what is keyed goes into the terminal, what is seen comes from its events.
- `OnPty` runs it as the daemon meets it, in real time (`tools.terminal.driver`); `InSteps` runs the
  same core and session with time passed in: minutes of waiting take a second.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from drivers.display.raster import BadImage
from drivers.line.loop import boottime
from drivers.link.dialect import Dialect
from tools.conformance_tester.operators import Act, Reply, Sight
from tools.conformance_tester.port import LinePort, SteppedPort
from tools.terminal import panel
from tools.terminal.actions import Action, ShowImage
from tools.terminal.core import Device, NotNow, Terminal
from tools.terminal.driver import TerminalOnPty
from tools.terminal.events import Event, fields_of
from tools.terminal.link import Happened, TerminalLink
from tools.terminal.storage import InMemory, Storage

DEVICE = Device("T0000001", "SN123456", largest_image=65_536, can_authenticate=True)

SEEN_WITHIN_S = 1.0
"""An event of a terminal in another thread may come after the bytes that tell of the same."""


class Hands(Protocol):
    """What a person does to a simulated terminal. NotNow: it does not let one."""

    def sale(self, amount_minor: int) -> int: ...

    def cancel(self) -> None: ...

    def refund(self, original_counter: int, amount_minor: int) -> int: ...

    def end(self, counter: int) -> None: ...

    def decide(self, counter: int, mine: bool) -> None: ...

    def pair(self) -> None: ...

    def confirm(self, yes: bool) -> None: ...

    def forget_keys(self) -> None: ...

    def power_off(self) -> None: ...

    def power_on(self) -> None: ...

    def unplug(self) -> None: ...

    def plug(self) -> None: ...

    @property
    def events(self) -> Sequence[Event]: ...


class ByProgram:
    """The operator of a simulated terminal."""

    patience_s = 10.0
    sure = True

    def __init__(self, hands: Hands, *, seen_within_s: float = 0.0) -> None:
        self._hands = hands
        self._seen_within_s = seen_within_s
        self._looking: tuple[Sight, float] | None = None
        self._done = Reply.CANNOT

    def begin(self, asked: Act | Sight) -> None:
        if isinstance(asked, Sight):
            self._looking = (asked, boottime() + self._seen_within_s)
            return
        self._looking = None
        try:
            self._done = self._do(*asked.words)
        except NotNow:
            self._done = Reply.NO

    def reply(self) -> Reply | None:
        if self._looking is None:
            return self._done
        sight, until = self._looking
        if seen(self._hands.events, sight.words[1:]):
            return Reply.YES
        return None if boottime() < until else Reply.NO

    def _do(self, word: str, *rest: str) -> Reply:
        hands = self._hands
        match (word, *rest):
            case ("sale", amount):
                hands.sale(int(amount))
            case ("cancel",):
                hands.cancel()
            case ("refund", counter, amount):
                hands.refund(int(counter), int(amount))
            case ("end", counter):
                hands.end(int(counter))
            case ("decide", counter, answer):
                hands.decide(int(counter), answer == "yes")
            case ("pair",):
                hands.pair()
            case ("compare", answer):
                hands.confirm(answer == "yes")
            case ("forget-keys",):
                hands.forget_keys()
            case ("power-cycle",):
                hands.power_off()
                hands.power_on()
            case ("replug",):
                hands.unplug()
                hands.plug()
            case _:
                return Reply.CANNOT
        return Reply.YES


def seen(events: Sequence[Event], words: tuple[str, ...]) -> bool:
    """Whether this is to be seen at a terminal that has told these events."""
    match words:
        case ("picture",):
            return _on_panel(events)
        case ("no-picture",):
            return not _on_panel(events)
        case ("text", text):
            return _last(events, "text").get("text") == text
        case ("not-paired",):
            return _last(events, "person", "ready").get("matter") == "not-paired"
        case ("stranger", counter):
            return _told(events, "other-journal", counter)
        case ("decide", counter):
            return _told(events, "decide", counter)
        case ("booked", counter):
            return _ending(events, counter) == "approved"
        case ("ended", counter):
            return _ending(events, counter) not in (None, "approved")
        case ("open", counter):
            return _ending(events, counter) is None
        case ("unbooked", counter):
            return _ending(events, counter) == "unbooked" and _told(events, "unbooked", counter)
        case ("digits", digits):
            return _last(events, "digits").get("digits") == digits
        case ("no-welcome",):
            return _last(events, "person", "ready").get("matter") == "no-welcome"
        case ("unknown", counter):
            return _told(events, "unknown-outcome", counter)
        case _:
            raise ValueError(f"nothing is seen by {words}")


def _last(events: Sequence[Event], *kinds: str) -> dict[str, Any]:
    found = (event for event in reversed(events) if event.kind in kinds)
    return dict(next(found, Event("none", 0.0)).fields)


def _on_panel(events: Sequence[Event]) -> bool:
    """A picture that can be read; a power cut takes it away."""
    return _last(events, "image", "image-gone", "power").get("code") is not None


def _told(events: Sequence[Event], matter: str, counter: str) -> bool:
    wanted = {"matter": matter, "counter": int(counter)}
    return any(event.matches("person", wanted) for event in events)


def _ending(events: Sequence[Event], counter: str) -> str | None:
    for event in events:
        if event.matches("closed", {"counter": int(counter)}):
            return str(event["ending"])
    return None


class _WithKeys(TerminalOnPty):
    """And what its own menu can do to its keys."""

    def forget_keys(self) -> None:
        self._do(self._host.forget_keys)


class OnPty:
    """It runs in a thread, on a pseudo-terminal of its own. A context manager."""

    def __init__(self, dialect: Dialect, device: Device = DEVICE) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-")
        link = Path(self._folder.name) / "terminal"
        self.terminal = _WithKeys(link, device, dialect=dialect.name)
        self.operator = ByProgram(self.terminal, seen_within_s=SEEN_WITHIN_S)
        self.port = LinePort(str(link), baud=115_200)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.port.close()
        self.terminal.close()
        self._folder.cleanup()


MakeLink = Callable[[Device, Storage, Dialect], TerminalLink]


def make_link(device: Device, storage: Storage, dialect: Dialect) -> TerminalLink:
    """A terminal under power, with a panel that is looked at."""
    terminal = Terminal(
        device,
        storage,
        os.urandom,
        can_show=lambda image: panel.can_show(image, device.panel),
    )
    return TerminalLink(terminal, dialect)


class InSteps:
    """The same without threads and without waiting: `port` has the clock, and moves it."""

    def __init__(
        self, dialect: Dialect, device: Device = DEVICE, make: MakeLink = make_link
    ) -> None:
        self._dialect = dialect
        self._device = device
        self._make = make
        self._storage = InMemory()
        self.events: list[Event] = []
        self._plugged = True
        self.port = SteppedPort(self, f"simulated terminal, {dialect.name}")
        self.operator = ByProgram(self)
        self._link: TerminalLink | None = None
        self.power_on()

    # Stepped

    def receive(self, data: bytes, now: float) -> bytes:
        if self._link is None or not self._plugged:
            return b""
        return self._follow(self._link.receive(data, now), now)

    def wake(self, now: float) -> bytes:
        return b"" if self._link is None else self._follow(self._link.wake(now), now)

    def next_wake(self) -> float | None:
        return None if self._link is None else self._link.next_wake()

    def _follow(self, happened: list[Happened], now: float) -> bytes:
        assert self._link is not None
        self._report(happened, now)
        output = b""
        while piece := self._link.take_output(now):
            output += piece
            self._report(self._link.written(now), now)
        return output

    def _report(self, happened: list[Happened], now: float) -> None:
        for one in happened:
            kind, values = fields_of(one)
            if isinstance(one, ShowImage):
                values["code"] = self._code(one)
            self.events.append(Event(kind, now * 1000, values))

    def _code(self, shown: ShowImage) -> str | None:
        try:
            return panel.read(panel.pixels(shown.image, self._device.panel))
        except BadImage:
            return None

    # Hands

    def sale(self, amount_minor: int) -> int:
        self._person(lambda terminal, now: terminal.sale(amount_minor, now))
        return self._under_power.terminal.kept.counter

    def cancel(self) -> None:
        self._person(lambda terminal, now: terminal.cancel(now))

    def refund(self, original_counter: int, amount_minor: int) -> int:
        self._person(lambda terminal, now: terminal.refund(original_counter, amount_minor, now))
        return self._under_power.terminal.kept.counter

    def end(self, counter: int) -> None:
        self._person(lambda terminal, now: terminal.end(counter, now))

    def decide(self, counter: int, mine: bool) -> None:
        self._person(lambda terminal, now: terminal.decide(counter, mine, now))

    def pair(self) -> None:
        self._person(lambda terminal, now: terminal.pair(now))

    def confirm(self, yes: bool) -> None:
        self._person(lambda terminal, now: terminal.confirm(yes, now))

    def forget_keys(self) -> None:
        self._person(lambda terminal, now: terminal.forget_keys(now))

    def power_off(self) -> None:
        self._link = None
        self.events.append(Event("power", 0.0, {"on": False}))

    def power_on(self) -> None:
        self._link = self._make(self._device, self._storage, self._dialect)
        self.events.append(Event("power", 0.0, {"on": True}))
        self.plug()

    def unplug(self) -> None:
        self._plugged = False
        now = self.port.now()
        self._report(self._under_power.unplugged(now), now)

    def plug(self) -> None:
        self._plugged = True
        now = self.port.now()
        self.port.said(self._follow(self._under_power.plugged(now), now))

    @property
    def _under_power(self) -> TerminalLink:
        if self._link is None:
            raise NotNow("the power is off")
        return self._link

    def _person(self, what: Callable[[Terminal, float], list[Action]]) -> None:
        now = self.port.now()
        link = self._under_power
        actions = what(link.terminal, now)
        self.port.said(self._follow(link.act(actions, now), now))
