"""Every fault of the simulation, and how often it may be drawn.

- A fault has a name `source.what`. `--without source` and `--without source.what` switch it off; every other one
  draws as before, for each has a stream of its own.
- In each world about half of them are off, and the rest have a rate of their own up to `most`.
- `most` is a chance at each opportunity; for the kinds of `BY_ITSELF` it is how often a second, at most.
- What people do (`person.*`) is a shop's normal day, no fault: it stays on when faults are off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from tools.simulation.streams import Streams

OFF_CHANCE = 0.35
"""How often a kind is off in a world."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`of`: the fault's number in the list of faults (reliability, section 4)."""

    most: float
    of: str
    what: str


BY_ITSELF: dict[str, Kind] = {
    "noise.storm": Kind(1 / 60, "L1", "for some seconds one bit in 100 to 1,000 flips"),
    "cable.silent": Kind(1 / 60, "L5", "the cable is out, and neither end notices"),
    "cable.out": Kind(1 / 60, "L5", "the cable is out, and both ends notice"),
    "cable.swap": Kind(1 / 200, "L5", "two terminals are put on each other's port"),
    "cable.moved": Kind(1 / 200, "L5", "a terminal is put on another port"),
    "power.cut": Kind(1 / 60, "L6", "a terminal loses power"),
    "outage.refused": Kind(1 / 80, "H7", "no connection to PartPay can be made"),
    "outage.silent": Kind(1 / 80, "H7", "PartPay takes connections and answers nothing"),
    "outage.deaf": Kind(1 / 120, "H7", "PartPay acts, and no answer comes back"),
    "outage.long": Kind(1 / 4000, "H7", "out of reach for hours"),
    "token.away": Kind(1 / 120, "H3", "no token is given out"),
    "token.barred": Kind(1 / 120, "H3", "401 for one merchant, new token or not"),
    "kill.idle": Kind(1 / 60, "P1", "SIGKILL between two things that happen"),
    "boot.cut": Kind(1 / 150, "P3", "the PC loses power, and has another boot id"),
    "stall.engine": Kind(1 / 60, "S1", "the engine's thread stands still"),
    "stall.all": Kind(1 / 100, "S1", "the whole daemon stands still (SIGSTOP, suspend)"),
    "disk.full": Kind(1 / 120, "D1", "nothing can be written for a while"),
    "disk.low": Kind(1 / 120, "D1", "little room is left"),
    "wall.jump": Kind(1 / 30, "T1", "the wall clock jumps"),
    "rogue.hellos": Kind(1 / 100, "L6", "a storm of HELLO"),
    "rogue.babble": Kind(1 / 100, "L7", "bytes without sense at full speed"),
    "registry.retired": Kind(1 / 200, "M1", "a terminal is retired for a while"),
    "registry.merchant": Kind(1 / 200, "M1", "a merchant is retired for a while"),
    "key.rotated": Kind(1 / 200, "M1", "PartPay signs with a new key, both are known"),
}

AT_A_CHANCE: dict[str, Kind] = {
    # the line, for each piece that is written to it
    "noise.flip": Kind(0.03, "L1", "one to three bits flip"),
    "noise.loss": Kind(0.02, "L2", "bytes are lost"),
    "noise.double": Kind(0.01, "L2", "a byte comes twice"),
    "noise.insert": Kind(0.02, "L2", "a byte is put in, mostly one that means something"),
    "noise.swap": Kind(0.01, "L2", "two neighbours change places"),
    "pieces.cut": Kind(0.10, "L3", "it comes in several reads"),
    "pieces.stall": Kind(0.01, "L3", "it stands still for 0.4 or 0.6 s in the middle"),
    "answer.lost": Kind(0.04, "L4", "an ACK or NAK is lost"),
    "answer.late": Kind(0.03, "L4", "an ACK or NAK comes 0.9 to 3 s late"),
    "answer.twice": Kind(0.03, "L4", "an ACK or NAK comes twice"),
    "answer.turned": Kind(0.03, "L4", "an ACK becomes NAK, or a NAK ACK"),
    "cable.cut": Kind(0.004, "L5", "the cable is pulled in the middle of it"),
    # the terminal
    "power.message": Kind(0.006, "L6", "power goes right after a message was taken"),
    "power.save": Kind(0.004, "L6", "its storage cannot be written: as a power cut"),
    "power.forgets": Kind(0.03, "L6", "its storage is lost with the power"),
    "panel.refuses": Kind(0.03, "L7", "it cannot show what came"),
    "rogue.second": Kind(0.08, "L7", "a second TENDER while one is open"),
    "rogue.content": Kind(0.08, "L7", "the same counter with other content"),
    "rogue.repeat": Kind(0.08, "L7", "TENDER or REFUND again, open or stored"),
    "rogue.cancel": Kind(0.08, "L7", "CANCEL of a closed or unknown counter"),
    "rogue.stored": Kind(0.08, "L7", "STORED with a wrong code or counter, or twice"),
    "rogue.refund": Kind(0.08, "L7", "REFUND of nothing, of too much, of a refund"),
    "rogue.other": Kind(0.08, "L7", "a message in another terminal's name"),
    "rogue.unkeyed": Kind(
        0.1, "C2", "on an authenticated link: a message without a code, or with a wrong one"
    ),
    "rogue.unknown": Kind(0.08, "L7", "a whole frame that says nothing"),
    # the way to PartPay and back, for each call
    "call.refused": Kind(0.05, "H1", "no connection: surely not sent"),
    "call.lost": Kind(0.05, "H1", "the request is lost"),
    "call.broken": Kind(0.03, "H1", "the connection breaks, before or after PartPay acts"),
    "call.answer-lost": Kind(0.05, "H1", "PartPay acts, the answer is lost"),
    "call.slow": Kind(0.05, "H1", "it takes seconds"),
    "call.late": Kind(0.04, "H4", "the request arrives after it was given up, and after its retry"),
    "call.twice": Kind(0.04, "H4", "the request arrives twice"),
    # what PartPay answers
    "api.error": Kind(0.04, "H2", "5xx, and nothing done"),
    "api.error-done": Kind(0.04, "H2", "5xx, and it was done"),
    "api.kept-error": Kind(0.03, "O-7", "5xx kept under the Idempotency-Key, the order made"),
    "api.too-many": Kind(0.03, "H2", "429, with or without Retry-After"),
    "api.unauthorised": Kind(0.015, "H3", "401 after a new token"),
    "api.forbidden": Kind(0.01, "H2", "403 or 404 to a create, 403 elsewhere"),
    "api.refuses": Kind(0.03, "H2", "400 or 422 to a create, for good"),
    "api.odd": Kind(0.02, "H2", "a redirect, 409, 418: no answer of this call's"),
    "api.garbage": Kind(0.02, "H8", "a good status with HTML, half a JSON, nothing"),
    "api.stale": Kind(0.06, "H5", "a read that is behind: pending"),
    "api.unknown-yet": Kind(0.03, "H5", "404 for an order that is there"),
    "api.word": Kind(0.04, "H8", "a status word that nobody knows"),
    "api.other-order": Kind(0.03, "H8", "another order's data"),
    "api.foreign": Kind(0.02, "O-6", "the reference is taken by another till's order"),
    "api.no-picture": Kind(0.03, "H8", "no picture in the create answer"),
    "api.bad-picture": Kind(0.03, "H8", "a picture that holds no code"),
    "api.eager": Kind(
        0.03, "C1", "the order is final by itself, before its create answer has come or later"
    ),
    "cancel.later": Kind(0.3, "H6", "202: cancelled some seconds later"),
    "cancel.never": Kind(0.06, "H6", "202, and then nothing"),
    "cancel.approved": Kind(0.10, "H6", "202, and the customer is quicker"),
    "refund.refused": Kind(0.1, "H6", "a refund is refused for now (of a reversal), or for good"),
    "token.trouble": Kind(0.01, "H3", "no token can be had for this call"),
    # callbacks, for each that PartPay owes
    "callback.never": Kind(0.3, "C1", "it does not come"),
    "callback.late": Kind(0.2, "C1", "it comes late, up to an hour"),
    "callback.twice": Kind(0.2, "C1", "it comes several times"),
    "callback.unwilling": Kind(0.1, "C1", "it is not sent again when it was not taken"),
    "callback.word": Kind(0.06, "H8", "before it another one with an unknown status"),
    "callback.lies": Kind(0.04, "O-4", "before it another one that says declined"),
    "forged.key": Kind(0.1, "C2", "signed with no key, or another merchant's"),
    "forged.bit": Kind(0.1, "C2", "one bit changed"),
    "forged.order": Kind(0.1, "C2", "well signed by another merchant for this order"),
    "forged.shape": Kind(0.1, "C2", "signature first, twice, or a field twice"),
    "forged.replay": Kind(0.1, "C2", "another order's callback under this reference"),
    # the PC
    "kill.commit": Kind(0.01, "P1", "SIGKILL before the commit is done"),
    "kill.write": Kind(0.006, "P1", "SIGKILL in the middle of the writes"),
    "kill.durable": Kind(0.01, "P1", "SIGKILL after the commit, before the first effect"),
    "kill.effects": Kind(0.03, "P1", "SIGKILL between two effects"),
    "kill.again": Kind(0.15, "P2", "SIGKILL during the recovery"),
    "disk.write": Kind(0.004, "D1", "one write fails"),
    "disk.commit": Kind(0.004, "D1", "one commit fails"),
    "disk.lies": Kind(0.004, "D1", "one commit is said to fail, and is durable"),
    "disk.restored": Kind(0.04, "D2", "after a kill the journal is one restored from a copy"),
    "disk.open": Kind(0.3, "D1", "after a failed commit it cannot be opened at first"),
    "draw.fails": Kind(0.02, "H8", "no format of the panel can be made"),
    "timer.late": Kind(0.01, "T2", "a timer of the engine rings up to 10 s late"),
}

KINDS = {**BY_ITSELF, **AT_A_CHANCE}


def switched_off(name: str, without: Collection[str]) -> bool:
    """Whether `--without` names this kind, or its source."""
    return name in without or name.partition(".")[0] in without


class Faults:
    """The faults of one world: their rates, and how often each was drawn."""

    def __init__(self, streams: Streams, *, on: bool, without: Collection[str] = ()) -> None:
        self._streams = streams
        self.told: Callable[[str], None] | None = None
        """Hears of each fault that was drawn."""
        self.count: Counter[str] = Counter()
        self.on = on
        self.rate: dict[str, float] = {}
        draw = streams.of("rates")
        for name, kind in KINDS.items():
            # Always drawn, so that switching one off leaves the others as they are.
            off, share = draw.random() < OFF_CHANCE, draw.random()
            if on and not off and not switched_off(name, without):
                self.rate[name] = kind.most * share * share
        self._chance = {
            name: (rate, streams.of(f"fault/{name}").random)
            for name, rate in self.rate.items()
            if name in AT_A_CHANCE
        }

    def hits(self, name: str) -> bool:
        """Whether this fault happens at this opportunity."""
        chance = self._chance.get(name)
        if chance is None or chance[1]() >= chance[0]:
            return False
        self.drawn(name)
        return True

    def drawn(self, name: str) -> None:
        """This fault happens now."""
        self.count[name] += 1
        if self.told is not None:
            self.told(name)

    def any(self, *names: str) -> bool:
        """Whether one of these can happen at all in this world."""
        return any(name in self._chance for name in names)

    def stream(self, name: str) -> Random:
        """What else this fault draws: how long, how much."""
        return self._streams.of(f"fault/{name}")

    def end(self) -> None:
        """From here on no fault is drawn."""
        self.on = False
        self.rate.clear()
        self._chance.clear()
