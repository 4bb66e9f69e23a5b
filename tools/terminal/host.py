"""A terminal on a real line: its loop, its cable, its power, its panel.

Rules
- Everything runs on the loop's thread; what a person does comes in by `Loop.call`.
- The line is served first: what the panel says is read after the answer has left.
- Power and cable are apart: the power can go with the cable in, and the other way round. What the
  storage keeps is all that a power cut leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from drivers.display.raster import BadImage
from drivers.line.line import Line, LineUser, Trouble
from drivers.line.loop import Loop, Timer
from drivers.link.dialect import Dialect
from tools.terminal import panel
from tools.terminal.actions import Action, ShowImage
from tools.terminal.core import Device, NotNow, Terminal
from tools.terminal.events import Event, fields_of
from tools.terminal.link import Happened, TerminalLink
from tools.terminal.storage import Kept, Storage


class MakeLine(Protocol):
    """Makes the cable: a pseudo-terminal or a port."""

    def __call__(self, loop: Loop, user: LineUser) -> Line: ...


class Host:
    """One simulated terminal on one line. Methods without a lock: the loop's thread alone."""

    def __init__(
        self,
        loop: Loop,
        device: Device,
        storage: Storage,
        make_line: MakeLine,
        dialect: Dialect,
        tell: Callable[[Event], None],
        *,
        baud: int = 115_200,
    ) -> None:
        self.name = f"terminal {device.terminal_id}"
        self.device = device
        self._loop = loop
        self._storage = storage
        self._make_line = make_line
        self._dialect = dialect
        self._baud = baud
        self._tell = tell
        self._line: Line | None = None
        self._line_open = False
        self._link: TerminalLink | None = None
        self._timer: Timer | None = None
        # The first picture is to take no longer than the next ones.
        panel.warm_up(device.panel)

    # -- power and cable ---------------------------------------------------------------------

    def power_on(self) -> None:
        """The terminal starts, with what its storage holds."""
        if self._link is not None:
            raise NotNow("the power is on already")
        device = self.device
        terminal = Terminal(
            device,
            self._storage,
            os.urandom,
            can_show=lambda image: panel.can_show(image, device.panel),
        )
        self._link = TerminalLink(terminal, self._dialect, baud=self._baud)
        self._event("power", on=True)
        if self._line_open:
            now = self._loop.now()
            self._follow(self._link.plugged(now), now)

    def power_off(self) -> None:
        """All but the storage is gone, at once."""
        if self._link is None:
            raise NotNow("the power is off already")
        self._link = None
        self._set_timer()
        self._event("power", on=False)

    def plug(self) -> None:
        """Put the cable in."""
        if self._line is not None:
            raise NotNow("the cable is in already")
        self._line = self._make_line(self._loop, self)
        self._line.start()

    def unplug(self) -> None:
        """Pull the cable out."""
        line = self._line
        if line is None:
            raise NotNow("the cable is out already")
        self._line = None
        line.close()
        self._unplugged("pulled")

    def write_raw(self, data: bytes) -> None:
        """Put bytes on the line that no message stands for. Raises NotNow."""
        if self._line is None:
            raise NotNow("the cable is out")
        self._line.write(data)

    def close(self) -> None:
        """Give the line up, without a word; after the loop has ended."""
        if self._line is not None:
            self._line.close()
            self._line = None

    # -- a person at the terminal ------------------------------------------------------------

    def sale(self, amount_minor: int, **content: Any) -> int:
        """Begin a sale; its counter. `content` is that of `Terminal.sale`. Raises NotNow."""
        self._person(lambda terminal, now: terminal.sale(amount_minor, now, **content))
        return self.kept.counter

    def refund(self, original_counter: int, amount_minor: int, **content: Any) -> int:
        """Give back an amount of that sale; the refund's own counter. Raises NotNow."""
        self._person(
            lambda terminal, now: terminal.refund(original_counter, amount_minor, now, **content)
        )
        return self.kept.counter

    def cancel(self) -> None:
        """End the open sale. Raises NotNow."""
        self._person(Terminal.cancel)

    def query(self, counter: int | None = None) -> None:
        """Ask what became of it, or of the last one. Raises NotNow."""
        self._person(lambda terminal, now: terminal.query(now, counter))

    def decide(self, counter: int, mine: bool) -> None:
        """Say whether the sale that the bridge has is this one. Raises NotNow."""
        self._person(lambda terminal, now: terminal.decide(counter, mine, now))

    def end(self, counter: int) -> None:
        """End what the bridge does not know. Raises NotNow."""
        self._person(lambda terminal, now: terminal.end(counter, now))

    def pair(self) -> None:
        """Open pairing at the terminal's menu. Raises NotNow."""
        self._person(Terminal.pair)

    def confirm(self, yes: bool) -> None:
        """Say whether the six digits are the bridge's. Raises NotNow."""
        self._person(lambda terminal, now: terminal.confirm(yes, now))

    def forget_keys(self) -> None:
        """Remove the keys. Raises NotNow."""
        self._person(Terminal.forget_keys)

    @property
    def kept(self) -> Kept:
        """What is in its storage, with or without power."""
        return self._storage.load() if self._link is None else self._link.terminal.kept

    def status(self) -> dict[str, Any]:
        """What there is to see, as an event's fields."""
        kept = self.kept
        terminal = None if self._link is None else self._link.terminal
        return {
            "power": terminal is not None,
            "cable": self._line is not None,
            "state": None if terminal is None else terminal.state.value,
            "text": "" if terminal is None else terminal.text,
            "image": None if terminal is None or terminal.image is None else True,
            "counter": kept.counter,
            "open": [part.counter for part in kept.open],
            "outcomes": {outcome.counter: outcome.response_code for outcome in kept.outcomes},
        }

    # -- what the line says (LineUser) -------------------------------------------------------

    def opened(self, now: float) -> None:
        self._line_open = True
        self._event("cable", plugged=True)
        if self._link is not None:
            self._follow(self._link.plugged(now), now)

    def lost(self, trouble: Trouble, now: float) -> None:
        del now
        self._unplugged(trouble.text)

    def unavailable(self, trouble: Trouble, now: float) -> None:
        del now
        self._event("cable", plugged=False, why=trouble.text)

    def received(self, data: bytes, now: float) -> None:
        # Without power the bytes run into nothing.
        if self._link is not None:
            self._follow(self._link.receive(data, now), now)

    def written(self, now: float) -> None:
        if self._link is not None:
            self._follow(self._link.written(now), now)

    def failed(self, error: Exception) -> None:
        """A mistake of this program, or storage that cannot be written: as a power cut."""
        self._event("failed", why=f"{type(error).__name__}: {error}")
        if self._link is not None:
            self.power_off()

    # -- inside ------------------------------------------------------------------------------

    def _person(self, what: Callable[[Terminal, float], list[Action]]) -> None:
        """A person does something at the terminal."""
        if self._link is None:
            raise NotNow("the power is off")
        now = self._loop.now()
        try:
            actions = what(self._link.terminal, now)
        except OSError as error:
            self.failed(error)
            raise
        self._follow(self._link.act(actions, now), now)

    def _unplugged(self, why: str) -> None:
        if not self._line_open:
            return
        self._line_open = False
        self._event("cable", plugged=False, why=why)
        if self._link is not None:
            now = self._loop.now()
            self._follow(self._link.unplugged(now), now)

    def _woken(self) -> None:
        if self._link is not None:
            now = self._loop.now()
            self._follow(self._link.wake(now), now)

    def _follow(self, happened: list[Happened], now: float) -> None:
        if self._link is not None:
            output = self._link.take_output(now)
            if output and self._line is not None:
                self._line.write(output)
        for one in happened:
            self._report(one, now)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = None if self._link is None else self._link.next_wake()
        if when is not None:
            self._timer = self._loop.at(when, self._woken, self)

    def _report(self, one: Happened, now: float) -> None:
        kind, values = fields_of(one)
        if isinstance(one, ShowImage):
            values |= self._seen(one)
        self._tell(Event(kind, round(now * 1000, 3), values))

    def _seen(self, shown: ShowImage) -> dict[str, Any]:
        try:
            pixels = panel.pixels(shown.image, self.device.panel)
        except BadImage as fault:
            return {"code": None, "why": str(fault)}
        return {"code": panel.read(pixels), "panel": panel.console(pixels)}

    def _event(self, kind: str, **values: Any) -> None:
        self._tell(Event(kind, round(self._loop.now() * 1000, 3), values))
