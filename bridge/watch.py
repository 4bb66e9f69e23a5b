"""Notices what is wrong just now, and says it to `Health` and `Metrics`; decides nothing.

Fed by what passes anyway: lane events, PartPay's answers, and a look at the engine after each batch.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from bridge.effects import Effect, Say, ShowCode
from bridge.engine import ROOM_MIN_BYTES, Engine
from bridge.events import CallbackReceived, Event
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
from drivers.link.messages import Hello, Outcome, Refused, Tender

WAITING_MAX: Final = 1_000
"""Tenders and callbacks whose delay is being measured; the oldest are let go."""
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
        self._delays = _Delays(metrics, now)

    def passed(self, event: Event) -> None:
        """An event on its way to the engine."""
        self._delays.passed(event)
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
        self._delays.answered(ask, seconds, answer)
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
            self._delays.carried(effect)
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


class _Delays:
    """How long the bridge itself takes: TENDER to picture, callback to OUTCOME. Boot time in seconds."""

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self._now = now
        self._tenders: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._callbacks: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._create_s = 0.0

    def passed(self, event: Event) -> None:
        match event:
            case Heard(message=Tender(terminal_id=terminal_id, counter=counter)):
                self._begin(self._tenders, (terminal_id, counter))
            case CallbackReceived(callback=callback):
                # <store>-<terminal>-<counter>-<attempt>-<random>; only the store may hold more dashes.
                parts = callback.gateway_reference.rsplit("-", 4)
                if len(parts) == 5 and parts[2].isdigit():
                    self._begin(self._callbacks, (parts[1], int(parts[2])))

    def answered(self, ask: Ask, seconds: float, answer: object) -> None:
        if ask is Ask.CREATE and isinstance(answer, Created):
            self._create_s = seconds

    def carried(self, effect: Effect) -> None:
        match effect:
            case ShowCode(accepted=accepted):
                began = self._tenders.pop((accepted.terminal_id, accepted.counter), None)
                if began is not None:
                    took = self._now() - began - self._create_s
                    self._metrics.tender_to_image_seconds.observe(max(took, 0.0))
            case Say(message=Outcome(terminal_id=terminal_id, counter=counter)):
                self._tenders.pop((terminal_id, counter), None)
                began = self._callbacks.pop((terminal_id, counter), None)
                if began is not None:
                    self._metrics.callback_to_outcome_seconds.observe(self._now() - began)

    def _begin(self, waiting: "OrderedDict[tuple[str, int], float]", key: tuple[str, int]) -> None:
        waiting.setdefault(key, self._now())
        while len(waiting) > WAITING_MAX:
            waiting.popitem(last=False)
