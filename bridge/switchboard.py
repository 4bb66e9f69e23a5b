"""Which pairing is on which line (terminal link, section 4, 1): pure, time passed in.

- A pairing is on whatever line it says HELLO. Where it was on another line that is still up, that line is asked
  first; the answer (WELCOME) waits for that, up to 12 s.
- If the same pair answers there, the new one is not paired, and listed. If another answers, nobody does, or the
  port is gone, the new line is its line. After a start no line is remembered.
- For a pairing with keys nobody is asked: each line gets its WELCOME, and the line on which a right code came last
  is its line. Until then a HELLO in its name moves nothing, and takes nothing away from another line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

ANSWER_WAIT_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class Moving:
    """A pairing said HELLO on `to`, while `old` is asked. `until`: boot time in seconds."""

    to: str
    old: str
    until: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows: `welcome` are (line, pairing or None for "not paired"); `ask`: lines that get IDENTIFY."""

    board: "Switchboard"
    welcome: tuple[tuple[str, int | None], ...] = ()
    ask: tuple[str, ...] = ()
    doubled: int | None = None


@dataclass(frozen=True, slots=True)
class Switchboard:
    """`line_of`: pairing to line; `moving`: pairings whose place is being asked for."""

    line_of: Mapping[int, str] = field(default_factory=dict)
    moving: Mapping[int, Moving] = field(default_factory=dict)

    def pairing_on(self, lane: str) -> int | None:
        return next((p for p, line in self.line_of.items() if line == lane), None)

    def hello(self, lane: str, pairing: int | None, now: float) -> Verdict:
        """HELLO on a line, by a known pairing or (None) by a device that is not paired."""
        board, settled = self._answered_on(lane, pairing)
        board = board._overtaken(lane, pairing)
        if pairing is None:
            return Verdict(board._leave(lane), (*settled, (lane, None)))
        moving = board.moving.get(pairing)
        if moving is not None and lane == moving.old:
            still = replace(board, moving=_without(board.moving, pairing))
            return Verdict(still, (*settled, (lane, pairing), (moving.to, None)), doubled=pairing)
        if moving is not None and lane == moving.to:
            return Verdict(board, settled)
        old = board.line_of.get(pairing)
        if old is None or old == lane:
            return Verdict(board._leave(lane)._place(pairing, lane), (*settled, (lane, pairing)))
        asked = Moving(to=lane, old=old, until=now + ANSWER_WAIT_S)
        board = replace(board._leave(lane), moving={**board.moving, pairing: asked})
        return Verdict(board, settled, ask=(old,))

    def hello_with_keys(self, lane: str, pairing: int) -> Verdict:
        """HELLO on a line, naming keys of this pairing: whether it is there is seen when it has `proved` it."""
        board, settled = self._answered_on(lane, pairing)
        board = board._overtaken(lane, pairing)
        return Verdict(board._leave(lane), (*settled, (lane, pairing)))

    def _answered_on(
        self, lane: str, pairing: int | None
    ) -> tuple["Switchboard", tuple[tuple[str, int | None], ...]]:
        """Another device than the one asked for has answered on this line: whoever was to move may."""
        board, welcome = self, []
        for other, moving in self.moving.items():
            if moving.old == lane and other != pairing:
                board = replace(board, moving=_without(board.moving, other))._place(
                    other, moving.to
                )
                welcome.append((moving.to, other))
        return board, tuple(welcome)

    def down(self, lane: str) -> Verdict:
        """The line's port is gone."""
        board = replace(self, moving={p: m for p, m in self.moving.items() if m.to != lane})
        board, welcome = board._answered_on(lane, None)
        return Verdict(board._leave(lane), welcome)

    def wake(self, now: float) -> Verdict:
        """Nobody answered on the old line in time."""
        board, welcome = self, []
        for pairing, moving in self.moving.items():
            if now >= moving.until:
                board = replace(board, moving=_without(board.moving, pairing))._place(
                    pairing, moving.to
                )
                welcome.append((moving.to, pairing))
        return Verdict(board, tuple(welcome))

    def next_wake(self) -> float | None:
        return min((m.until for m in self.moving.values()), default=None)

    def proved(self, lane: str, pairing: int) -> "Switchboard":
        """A message with a right code came on this line: the pairing is here."""
        board = replace(self, moving=_without(self.moving, pairing))
        return board._leave(lane)._place(pairing, lane)

    def _overtaken(self, lane: str, pairing: int | None) -> "Switchboard":
        """Another device says HELLO on a line to which one was to move: that one is not there any more."""
        still = {p: m for p, m in self.moving.items() if m.to != lane or p == pairing}
        return replace(self, moving=still)

    def _place(self, pairing: int, lane: str) -> "Switchboard":
        return replace(self, line_of={**self.line_of, pairing: lane})

    def _leave(self, lane: str) -> "Switchboard":
        return replace(self, line_of={p: line for p, line in self.line_of.items() if line != lane})


def _without(moving: Mapping[int, Moving], pairing: int) -> dict[int, Moving]:
    return {p: m for p, m in moving.items() if p != pairing}
