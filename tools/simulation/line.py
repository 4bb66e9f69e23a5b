"""The bytes between a port and a terminal, and what befalls them.

- Bytes take their time (10 bits each), one direction does not hinder the other, and none overtakes.
- Whoever wrote is told when all of it has left, whether anybody was there to hear it or not.
- What is damaged here is remembered until a whole frame has come through again: a message that is taken and was
  never said is then looked into (`taken`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from drivers.link.messages import Welcome
from tools.simulation.frames import bodies

if TYPE_CHECKING:
    from random import Random

    from tools.simulation.world import World

ACK, NAK = b"\x06", b"\x15"
TELLING = b"\x00\x06\x15\x10\x02\x03\x1c"
"""Bytes that mean something to a framing; mostly one of these is put in."""
RECENT_MAX_BYTES = 16_384
CLEAN_AFTER_S = 5.0
"""So long after the last damage nothing of it can be in a decoder any more."""
FLAT_S = 0.004
"""What each piece takes where its length must not matter (see `World.flat`)."""


class End(Protocol):
    """Who writes to a line and hears from it. `alive` False: it is gone, and its bytes with it.

    `leaving`: its writes that have not left yet, on whatever line; cables are moved meanwhile.
    """

    alive: bool
    leaving: int

    def receive(self, data: bytes) -> None: ...
    def written(self) -> None: ...


class Direction:
    """One way."""

    __slots__ = (
        "busy_until",
        "damaged_at",
        "held_until",
        "name",
        "recent",
        "said",
        "sent",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy_until = 0.0
        self.held_until = 0.0
        """What is late holds up what comes behind it."""
        self.damaged_at: float | None = None
        self.recent = bytearray()
        """What came since the first damage of late."""
        self.sent: deque[bytes] = deque(maxlen=64)
        self.said: deque[object] = deque(maxlen=400)
        """Messages, as their sender gave them to its session."""


class Line:
    """One port and the cable in it. `till` and `port` are the two ends as they are now."""

    def __init__(self, world: World, name: str, baud: int, framing: str) -> None:
        self.name = name
        self.port: End | None = None
        self.till: End | None = None
        self.connected = True
        """False: what is on the way is lost."""
        self.present = True
        """The bridge sees a port here."""
        self.storm_until = -1.0
        self.storm_rate = 0.0
        self.down = Direction("down")
        self.up = Direction("up")
        self.up.said = world.said_by_tills
        self._world = world
        self._byte_s = 10.0 / baud
        self._framing = framing
        faults = world.faults
        self._noisy = faults.any(
            "noise.flip", "noise.loss", "noise.double", "noise.insert", "noise.swap"
        )
        self._cut = faults.any("pieces.cut", "pieces.stall", "cable.cut")

    # -- writing -----------------------------------------------------------------------------

    def write_down(self, data: bytes, port: End) -> None:
        """The bridge writes."""
        self._write(self.down, data, port)

    def write_up(self, data: bytes, till: End) -> None:
        """The terminal writes."""
        self._write(self.up, data, till)

    def _write(self, way: Direction, data: bytes, sender: End) -> None:
        schedule = self._world.schedule
        took = FLAT_S if self._world.flat else len(data) * self._byte_s
        way.busy_until = max(way.busy_until, schedule.now) + took
        sender.leaving += 1
        if len(data) > 1:
            way.sent.append(data)
        schedule.at(way.busy_until, self._left, way, data, sender)

    def _left(self, way: Direction, data: bytes, sender: End) -> None:
        sender.leaving -= 1
        if sender.alive and sender.leaving == 0:
            sender.written()
        if self.connected:
            self._befall(way, data)

    # -- what befalls them -------------------------------------------------------------------

    def _befall(self, way: Direction, data: bytes) -> None:
        faults, schedule = self._world.faults, self._world.schedule
        if schedule.now < way.held_until:
            schedule.at(way.held_until, self._held, way, data)
            return
        if not faults.on:
            self._deliver(way, data)
            return
        if len(data) == 1:
            data = self._answer(way, data)
            if not data:
                return
        if self._noisy or schedule.now < self.storm_until:
            broken = self._damage(data)
            if broken != data:
                way.damaged_at = schedule.now
                data = broken
        if self._cut and len(data) > 1:
            if faults.hits("cable.cut"):
                self._deliver(way, data[: faults.stream("cable.cut").randrange(len(data))])
                self._world.accidents.pull(self)
                return
            if faults.hits("pieces.cut"):
                self._in_pieces(way, data, faults.stream("pieces.cut"))
                return
            if faults.hits("pieces.stall"):
                at = faults.stream("pieces.stall").randrange(1, len(data))
                self._deliver(way, data[:at])
                pause = faults.stream("pieces.stall").choice((0.3, 0.4, 0.6))
                self._later(way, data[at:], pause)
                return
        self._deliver(way, data)

    def _answer(self, way: Direction, data: bytes) -> bytes:
        """ACK and NAK by themselves."""
        faults = self._world.faults
        if faults.hits("answer.lost"):
            return b""
        if faults.hits("answer.late"):
            self._later(way, data, faults.stream("answer.late").uniform(0.9, 3.0))
            return b""
        if faults.hits("answer.twice"):
            return data * 2
        if faults.hits("answer.turned"):
            return NAK if data == ACK else ACK
        return data

    def _in_pieces(self, way: Direction, data: bytes, draw: Random) -> None:
        count = draw.choice((2, 2, 3, 5))
        places = sorted({draw.randrange(1, len(data)) for _ in range(count - 1)})
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, None], strict=True)]
        delay = 0.0
        for piece in pieces:
            self._later(way, piece, delay)
            delay += draw.uniform(0.0, 0.02)

    def _later(self, way: Direction, data: bytes, seconds: float) -> None:
        schedule = self._world.schedule
        way.held_until = max(way.held_until, schedule.now + seconds)
        schedule.after(seconds, self._came_late, way, data)

    def _came_late(self, way: Direction, data: bytes) -> None:
        if self.connected:
            self._deliver(way, data)

    def _held(self, way: Direction, data: bytes) -> None:
        if self.connected:
            self._befall(way, data)

    def _damage(self, data: bytes) -> bytes:
        faults = self._world.faults
        if self._world.schedule.now < self.storm_until:
            data = self._storm(data)
        if faults.hits("noise.flip"):
            draw = faults.stream("noise.flip")
            data = _flipped(data, draw, draw.choice((1, 1, 2, 3)))
        if faults.hits("noise.loss"):
            draw = faults.stream("noise.loss")
            at, count = draw.randrange(len(data)), draw.choice((1, 1, 2, 16))
            data = data[:at] + data[at + count :]
        if faults.hits("noise.double") and data:
            at = faults.stream("noise.double").randrange(len(data))
            data = data[: at + 1] + data[at:]
        if faults.hits("noise.insert"):
            draw = faults.stream("noise.insert")
            at = draw.randrange(len(data) + 1)
            byte = draw.choice(TELLING) if draw.random() < 0.8 else draw.randrange(256)
            data = data[:at] + bytes((byte,)) + data[at:]
        if faults.hits("noise.swap") and len(data) > 1:
            at = faults.stream("noise.swap").randrange(len(data) - 1)
            data = data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]
        return data

    def _storm(self, data: bytes) -> bytes:
        draw = self._world.faults.stream("noise.storm")
        expected = len(data) * 8 * self.storm_rate
        count = 0
        while expected > 0:
            expected -= draw.expovariate(1.0)
            count += expected > 0
        return _flipped(data, draw, count) if count else data

    # -- arriving ----------------------------------------------------------------------------

    def inject(self, way: Direction, data: bytes) -> None:
        """Bytes that nobody said."""
        way.damaged_at = self._world.schedule.now
        self._deliver(way, data)

    def _deliver(self, way: Direction, data: bytes) -> None:
        if not data:
            return
        self._world.note(way.name, self.name, data)
        if way.damaged_at is not None:
            way.recent += data
            del way.recent[:-RECENT_MAX_BYTES]
        receiver = self.till if way is self.down else self.port
        if receiver is not None and receiver.alive:
            receiver.receive(data)

    def taken(self, way: Direction, message: object) -> bool:
        """A message was taken at the end of `way`. False: nobody said it, and its check was right by chance.

        Raises Violation where its check was not right.
        """
        if way.damaged_at is None:
            return True
        if message in self._world.forged_frames and message not in way.said:
            text = f"{self.name}: {message} was taken without a right code"
            self._world.oracles.require(False, "forged-frame", text)
        if message in way.said or _same_welcome(message, way.said):
            if self._world.schedule.now - way.damaged_at > CLEAN_AFTER_S:
                way.damaged_at = None
                way.recent.clear()
            return True
        ours = {body for frame in way.sent for body in bodies(self._framing, frame)}
        by_chance = bodies(self._framing, bytes(way.recent)) - ours
        self._world.oracles.require(
            bool(by_chance), "damaged-frame", f"{self.name}: {message} was taken, and never said"
        )
        return False


def _same_welcome(message: object, said: deque[object]) -> bool:
    """A seal writes into a WELCOME after it was given to the session."""
    return isinstance(message, Welcome) and any(
        isinstance(one, Welcome)
        and (one.journal_id, one.local_date, one.local_time)
        == (message.journal_id, message.local_date, message.local_time)
        for one in said
    )


def _flipped(data: bytes, draw: Random, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)
