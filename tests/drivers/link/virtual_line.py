"""Two ends, a clock and two wires between them, all virtual: what tests of the link stand on.

A wire takes bytes at its baud rate, keeps their order, delays them, and may do harm to them. All
randomness comes in as a function, so that a run repeats itself.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.link.messages import Message
from drivers.link.session import Delivered, GivenUp, Received, Session, SessionEvent

Harm = Callable[[bytes], bytes]


def no_harm(data: bytes) -> bytes:
    """What a perfect wire does."""
    return data


@dataclass
class End:
    """One session, the wire that leads away from it, and what has happened to it."""

    session: Session
    baud: int = 115_200
    delay_s: float = 0.0
    harm: Harm = no_harm
    bytewise: bool = False
    events: list[tuple[float, SessionEvent]] = field(default_factory=list)
    written: list[tuple[float, bytes]] = field(default_factory=list)
    on_event: Callable[[SessionEvent], None] = lambda _: None
    taken: int = 0
    left: int = 0
    free_at: float = 0.0

    def heard(self) -> list[Message]:
        return [event.message for _, event in self.events if isinstance(event, Received)]

    def delivered(self) -> list[Message]:
        return [event.message for _, event in self.events if isinstance(event, Delivered)]

    def given_up(self) -> list[Message]:
        return [event.message for _, event in self.events if isinstance(event, GivenUp)]

    def plain_events(self) -> list[SessionEvent]:
        return [event for _, event in self.events]

    def sent_at(self, data: bytes) -> list[float]:
        """When exactly these bytes were given to the line."""
        return [when for when, chunk in self.written if chunk == data]


class VirtualLine:
    """The clock, and all that is still to happen."""

    def __init__(self, one: End, other: End) -> None:
        self.one = one
        self.other = other
        self.now = 0.0
        self._order = itertools.count()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (when, next(self._order), call))

    def say(self, end: End, *messages: Message) -> None:
        for message in messages:
            assert end.session.send(message) is None
        self._pump()

    def run(self, until: float = 120.0) -> None:
        """Go on until nothing more is to happen, or to that moment."""
        self._pump()
        while True:
            wakes = [self._wake_time(end) for end in (self.one, self.other)]
            moments = [moment for moment in wakes if moment is not None]
            if self._coming:
                moments.append(self._coming[0][0])
            if not moments or min(moments) > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, min(moments))
            # What has come in is given to a session before it is told the time.
            while self._coming and self._coming[0][0] <= self.now:
                heapq.heappop(self._coming)[2]()
            for end in (self.one, self.other):
                self._tell(end, end.session.wake(self.now))
            self._pump()

    def inject(self, end: End, data: bytes) -> None:
        """Let `end` hear these bytes now."""
        self._tell(end, end.session.receive(data, self.now))
        self._pump()

    def _wake_time(self, end: End) -> float | None:
        due = end.session.next_wake()
        return None if due is None else max(due, self.now)

    def _pump(self) -> None:
        for end, peer in ((self.one, self.other), (self.other, self.one)):
            data = end.session.take_output(self.now)
            if data:
                self._put_on_wire(end, peer, data)

    def _put_on_wire(self, end: End, peer: End, data: bytes) -> None:
        end.written.append((self.now, data))
        end.taken += 1
        byte_s = 10 / end.baud
        starts_at = max(self.now, end.free_at)
        end.free_at = starts_at + len(data) * byte_s
        self.at(end.free_at, lambda: self._left(end))
        pieces = [bytes((byte,)) for byte in data] if end.bytewise else [data]
        leaves_at = starts_at
        for piece in pieces:
            leaves_at += len(piece) * byte_s
            arrives = end.harm(piece)
            if arrives:
                self._arrives(peer, arrives, leaves_at + end.delay_s)

    def _arrives(self, peer: End, data: bytes, when: float) -> None:
        self.at(when, lambda: self._tell(peer, peer.session.receive(data, self.now)))

    def _left(self, end: End) -> None:
        end.left += 1
        if end.left == end.taken:
            self._tell(end, end.session.written(self.now))

    def _tell(self, end: End, events: list[SessionEvent]) -> None:
        for event in events:
            end.events.append((self.now, event))
            end.on_event(event)


def line_between(one: Session, other: Session) -> VirtualLine:
    """A perfect one."""
    return VirtualLine(End(one), End(other))
