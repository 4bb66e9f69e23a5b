"""The displays beside terminals, or in place of their panels: printers, customer displays, line displays.

- Each display has a thread of its own. Its calls block on a device, and a device that hangs must hold up nobody: not
  a lane, not the engine, not another display.
- Nothing waits in line: a display is told what it is to show now, and what it was to show before is forgotten. So
  what is held is bounded, however slow the device is.
- What could not be shown or cleared is tried again every AGAIN_S while it is still wanted: a printer gets paper, a
  display is switched on.
- A display of text alone gets state, amount and the time that is left; one that shows codes gets the code, and is
  left alone while it is there. Paper is printed once for one code.
- What becomes of a code goes to the engine, what is wrong with a display to health and the log. Nothing is decided
  here, and nothing is remembered: a display that nobody has told anything is cleared, in case it shows an old code.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from bridge.effects import ClearBeside, ShowBeside
from bridge.events import DisplayResult
from bridge.registry import Snapshot
from drivers.display.beside import (
    NOTHING,
    Display,
    DisplayConfigError,
    NotShown,
    Shown,
    display_named,
)

log = logging.getLogger(__name__)

AGAIN_S: Final = 10.0
"""Between two tries of what failed. A try may itself take that long."""
COUNTDOWN_S: Final = 10.0
"""A line display is told the time that is left so often: each time its port is opened, and let go."""


@dataclass(frozen=True, slots=True)
class Code:
    """Show a code, with lines of text where there is room for them."""

    payload: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Show lines of text alone."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Empty:
    """Show nothing."""


Content = Code | Lines | Empty


def content_of(wanted: ShowBeside | None, *, shows_codes: bool, now: float) -> Content:
    """What a display is to show. `wanted` None: nothing. `shows_codes` False: it shows text alone."""
    if wanted is None:
        return Empty()
    if wanted.payload is not None and shows_codes:
        order = f"Order {wanted.order_number}" if wanted.order_number else ""
        lines = (wanted.state, wanted.amount, order)
        return Code(wanted.payload, tuple(line for line in lines if line))
    left = "" if wanted.life_ends is None else f" {_minutes(wanted.life_ends - now)}"
    return Lines((wanted.state + left, wanted.amount))


def _minutes(seconds: float) -> str:
    whole = max(int(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"


class Displays:
    """All displays by name. Any thread may call any method; none of them waits.

    `post` gets the results. `trouble(name, why)` is told what is wrong with a display, None: nothing. `now`: boot
    time in seconds. `make` makes a display of its name; it may raise DisplayConfigError.
    """

    def __init__(
        self,
        post: Callable[[DisplayResult], object],
        trouble: Callable[[str, str | None], None],
        now: Callable[[], float],
        make: Callable[[str], Display] = display_named,
    ) -> None:
        self._post = post
        self._trouble = trouble
        self._now = now
        self._make = make
        self._lock = threading.Lock()
        self._screens: dict[str, _Screen] = {}

    def follow(self, snapshot: Snapshot) -> None:
        """Has the displays that the registry names; those it names no longer are cleared and given up."""
        wanted = {p.display for p in snapshot.pairings if p.display is not None and not p.retired}
        with self._lock:
            for name in wanted:
                self._screen(name)
            gone = [self._screens.pop(name) for name in [*self._screens] if name not in wanted]
        for screen in gone:
            screen.give_up()

    def show(self, effect: ShowBeside) -> None:
        """Shows that instead of whatever is there."""
        with self._lock:
            screen = self._screen(effect.display)
        screen.want(effect)

    def clear(self, effect: ClearBeside) -> None:
        """Takes that tender's away; another one's stays."""
        with self._lock:
            screen = self._screens.get(effect.display)
        if screen is not None:
            screen.want_no_more(effect.pairing, effect.counter)

    def close(self) -> None:
        """Ends the threads; what is shown stays, for the daemon that comes next."""
        with self._lock:
            screens = list(self._screens.values())
            self._screens.clear()
        for screen in screens:
            screen.end()

    def _screen(self, name: str) -> "_Screen":
        if name not in self._screens:
            self._screens[name] = _Screen(name, self._post, self._trouble, self._now, self._make)
        return self._screens[name]


class _Screen:
    """One display and its thread."""

    def __init__(
        self,
        name: str,
        post: Callable[[DisplayResult], object],
        trouble: Callable[[str, str | None], None],
        now: Callable[[], float],
        make: Callable[[str], Display],
    ) -> None:
        self._name = name
        self._post = post
        self._trouble = trouble
        self._now = now
        self._make = make
        self._changed = threading.Condition()
        self._wanted: ShowBeside | None = None
        self._version = 0
        """One more with each change of what is wanted."""
        self._giving_up = False
        self._ended = False
        self._why: str | None = None
        threading.Thread(target=self._run, name=f"display {name}", daemon=True).start()

    # -- from any thread ----------------------------------------------------------------------------------------

    def want(self, effect: ShowBeside) -> None:
        with self._changed:
            self._wanted = effect
            self._version += 1
            self._changed.notify_all()

    def want_no_more(self, pairing: int, counter: int) -> None:
        with self._changed:
            was = self._wanted
            if was is not None and (was.pairing, was.counter) == (pairing, counter):
                self._wanted = None
                self._version += 1
                self._changed.notify_all()

    def give_up(self) -> None:
        """Cleared once more, and then ended."""
        with self._changed:
            self._wanted = None
            self._version += 1
            self._giving_up = True
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # -- on the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        display = self._made()
        shown: Content | None = None
        done_version = -1
        due: float | None = self._now()
        while True:
            with self._changed:
                while self._version == done_version and not self._ended:
                    wait_s = None if due is None else max(due - self._now(), 0.0)
                    if wait_s == 0.0 or not self._changed.wait(wait_s):
                        break
                if self._ended:
                    break
                wanted, version = self._wanted, self._version
            content = content_of(wanted, shows_codes=display.shows_codes, now=self._now())
            result = Shown(NOTHING) if content == shown else self._do(display, content)
            shown = content if isinstance(result, Shown) else None
            due = self._due(wanted, content, result)
            if version != done_version or isinstance(content, Code):
                self._tell(wanted, display, result)
            self._health(result)
            if self._giving_up:
                break
            done_version = version
        self._trouble(self._name, None)

    def _made(self) -> Display:
        try:
            return self._make(self._name)
        except DisplayConfigError as error:
            return _NoDisplay(self._name, str(error))
        except Exception as error:
            log.exception(
                "it cannot be made", extra={"event": "display-broken", "display": self._name}
            )
            return _NoDisplay(self._name, f"display {self._name}: {type(error).__name__}: {error}")

    def _do(self, display: Display, content: Content) -> Shown | NotShown:
        try:
            match content:
                case Code(payload=payload, lines=lines):
                    return display.show_code(payload, lines)
                case Lines(lines=lines):
                    return display.show_lines(lines)
                case Empty():
                    return display.clear()
                case _:
                    assert_never(content)
        except Exception as error:
            # Another package's driver may raise what it must not.
            log.exception("it failed", extra={"event": "display-broken", "display": self._name})
            return NotShown(f"display {self._name}: {type(error).__name__}: {error}")

    def _due(
        self, wanted: ShowBeside | None, content: Content, result: Shown | NotShown
    ) -> float | None:
        if isinstance(result, NotShown):
            return self._now() + AGAIN_S
        if isinstance(content, Lines) and wanted is not None and wanted.life_ends is not None:
            return self._now() + COUNTDOWN_S
        return None

    def _tell(self, wanted: ShowBeside | None, display: Display, result: Shown | NotShown) -> None:
        """What became of a code, each time that something did."""
        if wanted is None or wanted.payload is None:
            return
        why = result.why if isinstance(result, NotShown) else ""
        if not display.shows_codes:
            why = why or f"display {self._name} shows text alone"
        self._post(DisplayResult(wanted.pairing, wanted.counter, wanted.payload, not why, why))

    def _health(self, result: Shown | NotShown) -> None:
        why = result.why if isinstance(result, NotShown) else None
        if why == self._why or result == Shown(NOTHING):
            return
        self._why = why
        self._trouble(self._name, why)
        if why is None:
            log.info("display works again", extra={"event": "display-works", "display": self._name})
        else:
            log.warning("%s", why, extra={"event": "display-failed", "display": self._name})


class _NoDisplay:
    """Stands for a display whose name is wrong: everything fails, with the reason."""

    shows_codes = True

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def show_code(self, payload: str, lines: object) -> NotShown:
        return NotShown(self._why)

    def show_lines(self, lines: object) -> NotShown:
        return NotShown(self._why)

    def clear(self) -> NotShown:
        return NotShown(self._why)
