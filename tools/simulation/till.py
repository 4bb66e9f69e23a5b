"""A terminal under power, on a line, with what it keeps through a power cut; and firmware that breaks the rules.

- It is `tools/terminal`: its core and its session. Here it gets a cable, a plug for the mains, and a memory.
- A memory that cannot be written is a power cut at that moment: what rested on it was never said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from drivers.link import messages as link
from drivers.link.authentication import Keys
from tools.simulation.schedule import Alarm
from tools.terminal.actions import Action, Closed, NewCounter, Send, ShowImage, TellPerson
from tools.terminal.core import Device, NotNow, State, Terminal
from tools.terminal.link import Happened, Heard, TerminalLink
from tools.terminal.storage import Kept

if TYPE_CHECKING:
    from tools.simulation.line import Line
    from tools.simulation.world import World
    from tools.terminal.images import PanelImage

OFF_S = (0.3, 40.0)
"""How long a terminal is without power."""


class Memory:
    """What a terminal keeps. Each outcome that comes in is told to the judge."""

    def __init__(self, till: Till, keys: Keys | None) -> None:
        self.kept = Kept(keys=keys)
        self._till = till

    def load(self) -> Kept:
        return self.kept

    def save(self, kept: Kept) -> None:
        world = self._till.world
        if world.faults.hits("power.save"):
            raise OSError("the terminal's storage cannot be written")
        if kept.outcomes is not self.kept.outcomes:
            before = self.kept.outcomes
            for outcome in kept.outcomes:
                if outcome not in before:
                    world.oracles.outcome_kept(self._till.terminal_id, outcome)
        self.kept = kept

    def lost(self) -> None:
        """All of it is gone but the keys, which are in a chip of their own."""
        self.kept = Kept(keys=self.kept.keys)


class _Under:
    """One time of having power: an end of a line."""

    __slots__ = ("alive", "leaving", "link", "till")

    def __init__(self, till: Till, link_: TerminalLink) -> None:
        self.till = till
        self.link = link_
        self.alive = True
        self.leaving = 0

    def receive(self, data: bytes) -> None:
        self.till.does(lambda now: self.link.receive(data, now))

    def written(self) -> None:
        self.till.does(self.link.written)


class Till:
    """One terminal with its memory. `line` is where its cable ends."""

    def __init__(self, world: World, device: Device, line: Line, keys: Keys | None) -> None:
        self.world = world
        self.device = device
        self.terminal_id = device.terminal_id
        self.line = line
        self.memory = Memory(self, keys)
        self.plugged = True
        """False: the cable is out, and the terminal knows."""
        self._under: _Under | None = None
        self._alarm = Alarm(world.schedule, self._ring)
        self._draw = world.streams.of(f"till/{device.terminal_id}")
        self._bytes = world.streams.of(f"nonces/{device.terminal_id}").randbytes
        self._off = 0

    # -- what can be seen --------------------------------------------------------------------

    @property
    def terminal(self) -> Terminal | None:
        """The terminal, while it has power."""
        return None if self._under is None else self._under.link.terminal

    @property
    def ready(self) -> bool:
        """A sale can begin."""
        terminal = self.terminal
        return terminal is not None and terminal.state is State.READY and terminal.tender is None

    @property
    def shown(self) -> PanelImage | None:
        """What is on the panel now."""
        terminal = self.terminal
        return None if terminal is None else terminal.image

    # -- power and cable ---------------------------------------------------------------------

    def power_on(self) -> None:
        """The power comes."""
        if self._under is not None:
            return
        terminal = Terminal(self.device, self.memory, self._bytes, self._can_show)
        link_ = TerminalLink(terminal, self.world.dialect, baud=self.world.baud)
        self._under = _Under(self, link_)
        self.line.till = self._under
        self.world.note("power-on", self.terminal_id)
        if self.plugged:
            self.does(link_.plugged)

    def power_off(self, *, back: bool = True) -> None:
        """The power goes, and comes back some time later."""
        if self._under is None:
            return
        self._under.alive = False
        self._under = None
        if self.line.till is not None and not self.line.till.alive:
            self.line.till = None
        self._off += 1
        faults = self.world.faults
        self.world.note("power-off", self.terminal_id)
        if faults.hits("power.forgets"):
            self.world.oracles.forgot(self.terminal_id, self.memory.kept)
            self.memory.lost()
        if back:
            self.world.schedule.after(self._draw.uniform(*OFF_S), self._power_back, self._off)

    def _power_back(self, off: int) -> None:
        if off == self._off:
            self.power_on()

    def cable_out(self) -> None:
        """The cable is out, and the terminal notices."""
        self.plugged = False
        under = self._under
        if under is not None:
            self.does(under.link.unplugged)

    def cable_in(self) -> None:
        """The cable is in again."""
        self.plugged = True
        under = self._under
        if under is not None:
            self.does(under.link.plugged)

    def move(self, line: Line) -> None:
        """The cable goes to another port; whoever was there is off it."""
        if self.line.till is self._under:
            self.line.till = None
        self.line = line
        line.till = self._under

    # -- a person at it ----------------------------------------------------------------------

    def person(self, what: Callable[[Terminal, float], list[Action]]) -> bool:
        """A person does something; False where it cannot be done now."""
        under = self._under
        if under is None:
            return False
        try:
            self.does(lambda now: under.link.act(what(under.link.terminal, now), now))
        except NotNow:
            return False
        return True

    def rogue(self, message: link.FromTerminal) -> bool:
        """Firmware that breaks the rules says this by itself; False where it can say nothing now."""
        under = self._under
        if under is None or under.link.terminal.state is not State.READY:
            return False
        self.does(lambda now: under.link.act([Send(message)], now))
        return True

    # -- inside ------------------------------------------------------------------------------

    def does(self, what: Callable[[float], list[Happened]]) -> None:
        """Something happens to the terminal, and what follows from it."""
        under = self._under
        if under is None:
            return
        now = self.world.schedule.now
        try:
            happened = what(now)
        except OSError:
            self.power_off()
            return
        heard = False
        for each in happened:
            match each:
                case Send(message):
                    self.line.up.said.append(message)
                    if isinstance(message, link.Tender | link.Refund):
                        self.world.oracles.keyed(message)
                case Heard(message):
                    heard = True
                    self.world.heard_by(self, message)
                case ShowImage(image):
                    self.world.people.sees(self, image)
                case Closed():
                    self.world.people.closed(self, each)
                case TellPerson():
                    self.world.people.told(self, each)
                case NewCounter():
                    self.world.people.new_counter(self, each)
                case _:
                    pass
        if heard and self.world.faults.hits("power.message"):
            self.power_off()
        if self._under is under:
            self._go_on(under)

    def _go_on(self, under: _Under) -> None:
        data = under.link.take_output(self.world.schedule.now)
        if data:
            self.line.write_up(data, under)
        self._alarm.set(under.link.next_wake())

    def _ring(self) -> None:
        under = self._under
        if under is not None:
            self.does(under.link.wake)

    def _can_show(self, image: PanelImage) -> bool:
        return not self.world.faults.hits("panel.refuses")
