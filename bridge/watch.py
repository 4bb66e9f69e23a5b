"""Notices what is wrong just now, and says it to `Health` and `Metrics`; decides nothing.

Fed by what passes anyway: lane events, PartPay's answers, and a look at the engine after each batch.
"""

from collections.abc import Callable, Sequence
from typing import Final

from bridge.effects import Effect, Say
from bridge.engine import ROOM_MIN_BYTES, Engine
from bridge.events import Event
from bridge.health import Health
from bridge.lane_events import Heard, LineDown, LineUp
from bridge.metrics import Metrics
from bridge.partpay.answers import (
    AlreadyExists,
    CancelTaken,
    Created,
    NoAnswer,
    NotAllowed,
    NotSent,
    Perhaps,
    Refunded,
    Told,
)
from bridge.partpay.answers import Refused as RefusedByPartPay
from bridge.tender import Ask
from drivers.link.messages import Hello, Outcome, Refused

LOOK_EVERY_S: Final = 5.0
"""How often the disk is looked at."""


class Watch:
    """Any thread may call any method."""

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        free_bytes: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._free_bytes = free_bytes
        self._now = now
        self._looked_at = float("-inf")
        self._poisoned = 0

    def passed(self, event: Event) -> None:
        """An event on its way to the engine."""
        match event:
            case LineUp(lane=lane):
                self._health.end("line-closed", lane)
                self._health.begin("terminal-silent", lane)
            case LineDown(lane=lane, why=why):
                self._health.end("terminal-silent", lane)
                self._health.begin("line-closed", lane, why)
            case Heard(lane=lane, message=Hello()):
                self._health.end("terminal-silent", lane)

    def answered(self, ask: Ask, seconds: float, answer: object) -> None:
        """PartPay's answer to one call, and how long it took, in seconds."""
        result = type(answer).__name__
        self._metrics.calls.labels(str(ask), result).inc()
        self._metrics.call_seconds.labels(str(ask)).observe(seconds)
        match answer:
            case NotSent(why=why):
                self._health.begin("partpay-unreachable", detail=why)
            case NoAnswer(why=why, unauthorised=False, not_found=False) | Perhaps(why=why):
                self._health.begin("partpay-unreachable", detail=why)
            case (
                Told()
                | Created()
                | AlreadyExists()
                | CancelTaken()
                | RefusedByPartPay()
                | Refunded()
                | NotAllowed()
                | NoAnswer()
            ):
                self._health.end("partpay-unreachable")

    def carried(self, effects: Sequence[Effect]) -> None:
        """What the engine let out, counted."""
        for effect in effects:
            match effect:
                case Say(message=Outcome(response_code=code)):
                    self._metrics.outcomes.labels(code).inc()
                case Say(message=Refused(reason=reason)):
                    self._metrics.refused.labels(str(reason)).inc()

    def look(self, engine: Engine) -> None:
        """After a batch: whether the journal can be written, and the disk has room."""
        if engine.why_not_writing is not None:
            self._health.begin("journal-unwritable", detail=engine.why_not_writing)
        else:
            self._health.end("journal-unwritable")
        if engine.poisoned > self._poisoned:
            self._metrics.poisoned.inc(engine.poisoned - self._poisoned)
            self._poisoned = engine.poisoned
        if self._now() < self._looked_at + LOOK_EVERY_S:
            return
        self._looked_at = self._now()
        free = self._free_bytes()
        if free < ROOM_MIN_BYTES:
            self._health.begin("disk-low", detail=f"{free // 1_048_576} MiB free")
        else:
            self._health.end("disk-low")
