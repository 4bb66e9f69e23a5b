"""What is at the end of a line: asked with the bridge's own words, in every way a terminal may speak.

    IDENTIFY -->  <-- ACK  <-- HELLO        once for each dialect at each baud rate, until one answers

Rules
- It has the port to itself for as long as it asks, and lets it go. A port that somebody else has is
  not opened (`TAKEN`); who asks looks at `drivers.holders` before.
- A terminal that hears another dialect or another speed hears noise, and drops it.
- An acknowledgement alone is a hint: a terminal may be slow to say HELLO, but at a wrong speed one
  byte of noise may look like one, too. So the other settings are tried as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from drivers.line.line import LineMaker, Trouble, TroubleKind, line_maker
from drivers.line.loop import Loop, Timer
from drivers.link.dialect import DIALECTS, dialect_named
from drivers.link.messages import Hello, Identify
from drivers.link.session import Delivered, Received, Session, SessionEvent

USUAL_BAUDS: Final = (115_200, 9_600, 19_200, 38_400, 57_600, 230_400, 460_800, 921_600)
"""As terminals leave the factory, the likeliest first."""

ACK_WAIT_S: Final = 1.4
"""A terminal acknowledges within 0.3 s of the frame's end, or of the end of a frame of its own. IDENTIFY goes out
once more in this time, for noise, and for a PC that is busy."""
FIRST_WAIT_S: Final = 2.5
"""For the likeliest setting: IDENTIFY goes out twice more, in case noise has hit it."""
HELLO_WAIT_S: Final = 6.0
"""After an acknowledgement: a terminal with keys says HELLO at most every 5 s."""
TAKEN_WAIT_S: Final = 3.0
"""A port that was just let go may be closing still."""
TURN_MAX_S: Final = 0.5
FROM_BRIDGE: Final = 0x80
"""Types from here on are a bridge's own words: an echo, or another bridge."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to speak on a line."""

    dialect: str
    baud: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody is there who understands that setting. `hello` None: acknowledged, and no more."""

    setting: Setting
    hello: Hello | None


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody answered to any of `tried`. `noise`: bytes came that mean nothing in any of them."""

    tried: tuple[Setting, ...]
    noise: bool


def settings_for(first: Setting | None = None, *, usb: bool = False) -> tuple[Setting, ...]:
    """Every setting worth asking in, `first` before all others. `usb`: a pipe without a speed."""
    bauds = USUAL_BAUDS[:1] if usb else USUAL_BAUDS
    if first is not None:
        bauds = tuple(dict.fromkeys((first.baud, *bauds)))
    every = [Setting(dialect, baud) for baud in bauds for dialect in DIALECTS]
    return tuple(dict.fromkeys(every if first is None else (first, *every)))


def ask(
    port: str,
    settings: Sequence[Setting],
    *,
    about: Callable[[Setting], object] = lambda setting: None,
    make_line: LineMaker | None = None,
) -> Answer | Silence | Trouble:
    """Asks on `port` in each setting in turn, and waits; the first that answers ends it.

    `about` is told each setting before it is tried. Raises ValueError for a port that cannot be,
    UnknownName for a dialect.
    """
    maker = line_maker(port) if make_line is None else make_line
    silent: Answer | None = None
    noise = False
    for baud, group in groupby(settings, key=lambda setting: setting.baud):
        with Loop() as loop:
            asker = _Asker(loop, port, list(group), about, likeliest=settings[0])
            line = maker(loop, port, asker, baud=baud)
            asker.use(line.write)
            line.start()
            while not asker.done:
                loop.turn(TURN_MAX_S)
            line.close()
            # What closes a line does so in a turn of its own.
            loop.turn(0.0)
        if asker.trouble is not None:
            return asker.trouble
        noise = noise or asker.noise
        if asker.answer is not None and asker.answer.hello is not None:
            return asker.answer
        silent = silent or asker.answer
    return silent or Silence(tuple(settings), noise)


class _Asker:
    """Uses one line, at one speed, for one dialect after the other. All on the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        port: str,
        settings: Iterable[Setting],
        about: Callable[[Setting], object],
        *,
        likeliest: Setting,
    ) -> None:
        self.name = port
        self.done = False
        self.noise = False
        self.answer: Answer | None = None
        self.trouble: Trouble | None = None
        self._loop = loop
        self._settings = list(settings)
        self._about = about
        self._likeliest = likeliest
        self._write: Callable[[bytes], None] = lambda data: None
        self._setting: Setting | None = None
        self._session: Session | None = None
        self._timer: Timer | None = None
        self._patience: Timer = loop.at(loop.now() + TAKEN_WAIT_S, self._never_opened, self)

    def use(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    # -- what the line tells -----------------------------------------------------------------

    def opened(self, now: float) -> None:
        del now
        self.trouble = None
        if self._setting is None:
            self._next()

    def lost(self, trouble: Trouble, now: float) -> None:
        del now
        self._end(trouble)

    def unavailable(self, trouble: Trouble, now: float) -> None:
        del now
        self.trouble = trouble
        if trouble.kind is not TroubleKind.TAKEN:
            self._end(trouble)

    def received(self, data: bytes, now: float) -> None:
        assert self._session is not None
        self.noise = True
        self._happened(self._session.receive(data, now))

    def written(self, now: float) -> None:
        assert self._session is not None
        # An acknowledgement may be here before the word that all has left.
        self._happened(self._session.written(now))

    def _happened(self, events: Iterable[SessionEvent]) -> None:
        for event in events:
            match event:
                case Received(message=Hello() as hello):
                    self._heard(hello)
                case Received(message=message) if message.type_code < FROM_BRIDGE:
                    # A whole frame of a terminal's: no other setting can be right.
                    self._settings.clear()
                    self._acknowledged()
                case Delivered(message=Identify()):
                    self._acknowledged()
        self._go_on()

    def failed(self, error: Exception) -> None:
        self._end(Trouble(TroubleKind.BROKEN, f"{self.name}: asking failed ({error})"))

    # -- inside ------------------------------------------------------------------------------

    def _next(self) -> None:
        if not self._settings:
            self.done = True
            return
        self._setting = self._settings.pop(0)
        self._about(self._setting)
        self._session = Session(dialect_named(self._setting.dialect), baud=self._setting.baud)
        self._session.send(Identify())
        self._wait(FIRST_WAIT_S if self._setting == self._likeliest else ACK_WAIT_S)
        self._go_on()

    def _heard(self, hello: Hello) -> None:
        assert self._setting is not None
        self.answer = Answer(self._setting, hello)
        self.done = True

    def _acknowledged(self) -> None:
        assert self._setting is not None
        if self.answer is None:
            self.answer = Answer(self._setting, None)
            self._wait(HELLO_WAIT_S)

    def _wait(self, seconds: float) -> None:
        self._patience.cancel()
        self._patience = self._loop.at(self._loop.now() + seconds, self._next, self)

    def _never_opened(self) -> None:
        if self._setting is None:
            text = f"{self.name}: it does not open; unplug it and plug it in again"
            self._end(self.trouble or Trouble(TroubleKind.BROKEN, text))

    def _end(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.done = True

    def _go_on(self) -> None:
        """Writes what the session has to say, and wakes it when it wants to be woken."""
        assert self._session is not None
        data = self._session.take_output(self._loop.now())
        if data:
            self._write(data)
        if self._timer is not None:
            self._timer.cancel()
        wake_at = self._session.next_wake()
        self._timer = None if wake_at is None else self._loop.at(wake_at, self._woken, self)

    def _woken(self) -> None:
        assert self._session is not None
        self._happened(self._session.wake(self._loop.now()))
