"""What happens by itself: cables, power, outages, clocks, disks, kills, and people with commands.

Each kind comes at random moments, as often as its rate says, for as long as faults are on. `calm` ends them all, and
everything that was out is in again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from drivers.link import messages as link
from tools.simulation.faults import BY_ITSELF
from tools.simulation.line import TELLING, Line

if TYPE_CHECKING:
    from random import Random

    from tools.simulation.till import Till
    from tools.simulation.world import World

HOUR_S = 3600.0


class Accidents:
    """All that befalls a world from outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._schedule = world.schedule
        self._wall = world.faults.stream("wall.jump")
        self._over: list[Callable[[], None]] = []
        """What ends what is going on."""

    def begin(self) -> None:
        """From now on they happen."""
        for name in BY_ITSELF:
            if self._world.faults.rate.get(name):
                self._next(name)

    def _next(self, name: str) -> None:
        draw = self._world.faults.stream(name)
        rate = self._world.faults.rate[name]
        self._schedule.after(draw.expovariate(rate), self._come, name)

    def _come(self, name: str) -> None:
        faults = self._world.faults
        if not faults.on:
            return
        faults.drawn(name)
        self._world.note("accident", name)
        do = getattr(self, "_" + name.replace(".", "_"))
        do(faults.stream(name))
        self._next(name)

    def calm(self) -> None:
        """Everything is well again."""
        for end in self._over:
            end()
        self._over.clear()
        world = self._world
        machine = world.machine
        machine.disk.full = False
        machine.disk.heal()
        machine.low = False
        machine.cannot_open = 0
        world.network.outage = ""
        world.network.token_away = False
        world.partpay.barred = None
        for till in world.tills:
            till.power_on()
        for line in world.lines:
            self._put_in(line)

    def _for(self, seconds: float, end: Callable[[], None]) -> None:
        """Something is over after so long, or when all is calm."""
        done = False

        def once() -> None:
            nonlocal done
            if not done:
                done = True
                end()

        self._over.append(once)
        self._schedule.after(seconds, once)

    # -- lines -------------------------------------------------------------------------------

    def _noise_storm(self, draw: Random) -> None:
        line = draw.choice(self._world.lines)
        line.storm_until = self._schedule.now + draw.choice((0.5, 3.0, 12.0))
        line.storm_rate = draw.choice((1e-3, 1e-3, 3e-3, 1e-2))

    def _cable_silent(self, draw: Random) -> None:
        line = draw.choice(self._world.lines)
        line.connected = False

        def back() -> None:
            line.connected = line.present

        self._for(draw.choice((0.2, 2.0, 8.0, 40.0)) * draw.uniform(0.5, 1.5), back)

    def _cable_out(self, draw: Random) -> None:
        self._out(draw.choice(self._world.lines), draw)

    def _out(self, line: Line, draw: Random) -> None:
        self.unplug(line)
        seconds = draw.choice((0.3, 2.0, 8.0, 60.0)) * draw.uniform(0.5, 1.5)
        self._for(seconds, lambda: self._put_in(line))

    def pull(self, line: Line) -> None:
        """The cable is pulled just now, in the middle of a frame."""
        self._out(line, self._world.faults.stream("cable.cut"))

    def unplug(self, line: Line) -> None:
        """Both ends notice."""
        if not line.present:
            return
        line.present = line.connected = False
        self._world.note("unplug", line.name)
        self._world.observer.unplugged(line)
        if (till := self._till_on(line)) is not None:
            till.cable_out()
        life = self._world.machine.life
        if life is not None and line.name in life.ports:
            life.ports[line.name].lost()

    def _put_in(self, line: Line) -> None:
        if line.present:
            line.connected = True
            return
        line.present = line.connected = True
        self._world.note("plug", line.name)
        life = self._world.machine.life
        if life is not None and line.name in life.ports:
            life.ports[line.name].open()
        if (till := self._till_on(line)) is not None:
            till.cable_in()

    def _till_on(self, line: Line) -> Till | None:
        return next((till for till in self._world.tills if till.line is line), None)

    def _cable_swap(self, draw: Random) -> None:
        """In pairs, without either end noticing anything but the silence."""
        if len(self._world.tills) < 2:
            return
        one, other = draw.sample(self._world.tills, 2)
        here, there = one.line, other.line
        one.move(there)
        other.move(here)
        for till in (one, other):
            noticed = draw.random() < 0.5
            if till.plugged != till.line.present:
                (till.cable_in if till.line.present else till.cable_out)()
            elif till.plugged and noticed:
                till.cable_out()
                till.cable_in()

    def _cable_moved(self, draw: Random) -> None:
        taken = {till.line.name for till in self._world.tills}
        free = [line for line in self._world.lines if line.name not in taken]
        if not free:
            return
        till, line = draw.choice(self._world.tills), draw.choice(free)
        if till.line.present:
            till.cable_out()
        till.move(line)
        if line.present:
            till.cable_in()

    # -- terminals ---------------------------------------------------------------------------

    def _power_cut(self, draw: Random) -> None:
        till = draw.choice(self._world.tills)
        self._world.observer.unplugged(till.line)
        till.power_off()

    def _rogue_hellos(self, draw: Random) -> None:
        till = draw.choice(self._world.tills)
        for number in range(draw.choice((2, 5, 12))):
            self._schedule.after(number * draw.choice((0.0, 0.05, 0.4)), self._hello, till)

    def _hello(self, till: Till) -> None:
        if self._world.faults.on and till.plugged:
            till.person(lambda terminal, now: terminal.given_up(link.Ping(), now))

    def _rogue_babble(self, draw: Random) -> None:
        line = draw.choice(self._world.lines)
        way = draw.choice((line.up, line.up, line.down))
        for number in range(draw.choice((1, 4, 20))):
            size = draw.choice((1, 16, 300))
            pool = TELLING if draw.random() < 0.3 else bytes(range(256))
            noise = bytes(draw.choices(pool, k=size))
            self._schedule.after(number * 0.03, self._babble, line, way, noise)

    def _babble(self, line: Line, way: object, noise: bytes) -> None:
        if line.connected and self._world.faults.on:
            line.inject(way, noise)  # type: ignore[arg-type]

    # -- PartPay -----------------------------------------------------------------------------

    def _outage(self, kind: str, seconds: float) -> None:
        network = self._world.network
        network.outage = kind

        def back() -> None:
            network.outage = ""

        self._for(seconds, back)

    def _outage_refused(self, draw: Random) -> None:
        self._outage("refused", draw.choice((1.0, 8.0, 40.0, 200.0)) * draw.random())

    def _outage_silent(self, draw: Random) -> None:
        self._outage("silent", draw.choice((1.0, 8.0, 40.0, 200.0)) * draw.random())

    def _outage_deaf(self, draw: Random) -> None:
        self._outage("deaf", draw.choice((1.0, 8.0, 40.0)) * draw.random())

    def _outage_long(self, draw: Random) -> None:
        kind = draw.choice(("refused", "silent"))
        self._outage(kind, draw.choice((1.0, 6.0, 72.0)) * HOUR_S * draw.random())

    def _token_away(self, draw: Random) -> None:
        network = self._world.network
        network.token_away = True

        def back() -> None:
            network.token_away = False

        self._for(draw.choice((2.0, 20.0, 60.0)) * draw.random(), back)

    def _token_barred(self, draw: Random) -> None:
        partpay = self._world.partpay
        partpay.barred = draw.choice(self._world.merchants)

        def back() -> None:
            partpay.barred = None

        self._for(draw.choice((2.0, 20.0, 60.0)) * draw.random(), back)

    def _key_rotated(self, draw: Random) -> None:
        self._world.callbacks.rotated = not self._world.callbacks.rotated

    # -- the PC ------------------------------------------------------------------------------

    def _kill_idle(self, draw: Random) -> None:
        self._world.machine.kill("idle")

    def _boot_cut(self, draw: Random) -> None:
        self._world.machine.lose_power()

    def _stall_engine(self, draw: Random) -> None:
        machine = self._world.machine
        machine.stalled_until = max(
            machine.stalled_until, self._schedule.now + draw.choice((0.1, 1.0, 5.0, 30.0))
        )

    def _stall_all(self, draw: Random) -> None:
        seconds = draw.choice((0.5, 0.5, 3.0, 3.0, 20.0, 20.0, 600.0)) * draw.random()
        self._world.machine.freeze(seconds)

    def _disk_full(self, draw: Random) -> None:
        disk = self._world.machine.disk
        disk.full = True
        disk.heal()
        # Rare each by itself, and together hardly ever: what is refused then rests on rules of its own.
        if draw.random() < 0.5:
            till = draw.choice(self._world.tills)
            self._schedule.after(
                draw.uniform(0.0, 3.0), self._world.people.break_rule, till, "content"
            )

        def room() -> None:
            disk.full = False
            disk.heal()

        self._for(draw.choice((0.5, 4.0, 20.0, 90.0)) * draw.random(), room)

    def _disk_low(self, draw: Random) -> None:
        machine = self._world.machine
        machine.low = True

        def room() -> None:
            machine.low = False

        self._for(draw.choice((5.0, 60.0)) * draw.random(), room)

    def _wall_jump(self, draw: Random) -> None:
        machine = self._world.machine
        days = draw.choice((0.0, 0.0, 1.0, 400.0, 3650.0))
        seconds = draw.choice((1.0, 60.0, HOUR_S, 13 * HOUR_S))
        jump = timedelta(days=days * draw.random(), seconds=seconds * draw.random())
        sign = draw.choice((1, -1))
        if machine.wall_offset * sign > timedelta(days=9000):
            sign = -sign
        machine.wall_offset += sign * jump

    # -- commands ----------------------------------------------------------------------------

    def _registry_retired(self, draw: Random) -> None:
        world = self._world
        number = draw.choice(world.snapshot.pairings).pairing
        world.retire_pairing(number, retired=True)
        self._for(draw.uniform(3.0, 60.0), lambda: world.retire_pairing(number, retired=False))

    def _registry_merchant(self, draw: Random) -> None:
        world = self._world
        merchant = draw.choice(world.merchants)
        world.retire_merchant(merchant, retired=True)
        self._for(draw.uniform(3.0, 60.0), lambda: world.retire_merchant(merchant, retired=False))
