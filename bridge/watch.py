"""Notices what is wrong just now, and says it to `Health` and `Metrics`; decides nothing.

- Fed by what passes anyway: lane events, PartPay's answers, callbacks, and a look at the engine after each batch.
- What can only be counted in the journal is counted in rounds, beside the way of a sale (`counted`).
- A forged callback now and then is the internet's noise: only several in a row, with no good one between, show.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from bridge.effects import Effect, Say, ShowCode, Welcome
from bridge.engine import ROOM_MIN_BYTES, Engine
from bridge.events import CallbackReceived, Event
from bridge.health import Health
from bridge.lane_events import Heard, LineDown, LineGivenUp, LineUp, UnknownKeys
from bridge.metrics import Metrics
from bridge.partpay.answers import (
    AlreadyExists,
    CancelTaken,
    Created,
    NoAnswer,
    NotAllowed,
    NoTokenCause,
    NotSent,
    Perhaps,
    Refunded,
    Told,
)
from bridge.partpay.answers import Refused as RefusedByPartPay
from bridge.partpay.fields import http_time
from bridge.tender import Ask
from drivers.link.messages import Hello, Outcome, Refused, Tender

WAITING_MAX: Final = 1_000
"""Tenders and callbacks whose delay is being measured; the oldest are let go."""
LOOK_EVERY_S: Final = 5.0
"""How often the disk is looked at."""
CLOCK_OFF_S: Final = 60.0
"""What a receipt's time may be wrong by; PartPay's Date is to the second, and some seconds on its way."""
FORGED_MIN: Final = 3
"""Callbacks with a wrong signature, one after the other."""
FORGED_FORGET_S: Final = 3600.0
BROKEN_FORGET_S: Final = 60.0


class Watch:
    """Any thread may call any method."""

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        free_bytes: Callable[[], int],
        now: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._free_bytes = free_bytes
        self._now = now
        self._looked_at = float("-inf")
        self._poisoned = 0
        self._wall = wall
        self._frozen: frozenset[str] = frozenset()
        self._without_token: set[str] = set()
        self._forged = 0
        self._forged_at = float("-inf")
        self._broke_at = float("-inf")
        self.callback_at: float | None = None
        self._delays = _Delays(metrics, now)

    @property
    def callback_age_s(self) -> float | None:
        """How long ago the last signed callback came; None: none did."""
        return None if self.callback_at is None else round(self._now() - self.callback_at, 3)

    def passed(self, event: Event) -> None:
        """An event on its way to the engine."""
        self._delays.passed(event)
        match event:
            case LineUp(lane=lane):
                self._health.end("line-closed", lane)
                self._health.end("terminal-not-paired", lane)
                self._health.begin("terminal-silent", lane)
            case LineDown(lane=lane, why=why):
                self._health.end("terminal-silent", lane)
                self._health.end("terminal-not-paired", lane)
                self._health.begin("line-closed", lane, why)
            case LineGivenUp(lane=lane):
                self.gave_up(lane)
            case UnknownKeys(lane=lane, hello=hello):
                who = f"{hello.terminal_id}, serial number {hello.serial_number}, with other keys,"
                self._health.end("terminal-silent", lane)
                self._health.begin("terminal-not-paired", lane, who)
            case Heard(lane=lane, message=Hello()):
                self._health.end("terminal-silent", lane)

    def gave_up(self, lane: str) -> None:
        """No terminal is registered on this port any more: nothing is wrong with it."""
        for code in ("line-closed", "terminal-silent", "terminal-not-paired"):
            self._health.end(code, lane)

    def token(self, client_id: str, cause: NoTokenCause | None, why: str) -> None:
        """How a fetch of an access token ended; `cause` None: it was had."""
        self._health.put("token-refused", cause is NoTokenCause.REFUSED, client_id, why)
        self._health.put("secret-unusable", cause is NoTokenCause.SECRET, client_id, why)
        if cause in (None, NoTokenCause.UNKNOWN):
            self._without_token.discard(client_id)
        else:
            self._without_token.add(client_id)

    def dated(self, date: str) -> None:
        """The Date of an answer of PartPay's."""
        told = http_time(date)
        if told is not None:
            off_s = abs((told - self._wall()).total_seconds())
            self._health.put("clock-wrong", off_s > CLOCK_OFF_S, detail=_in_words(off_s))

    def callback(self, http_status: int) -> None:
        """What a callback was answered."""
        if http_status == 401:
            self._forged += 1
            self._forged_at = self._now()
            if self._forged >= FORGED_MIN:
                self._health.begin("callbacks-refused")
        elif http_status in (200, 404, 503):  # signed
            self.callback_at = self._now()
            self._forged = 0
            self._health.end("callbacks-refused")

    def listener_broke(self, error: BaseException) -> None:
        """The listener's thread failed; it goes on by itself."""
        self._broke_at = self._now()
        self._health.begin("listener-down", detail=repr(error))

    def counted(self, counts: Mapping[str, int]) -> None:
        """What the journal holds: as `JournalReader.counts`, and "not-stored" of `waiting_long`."""
        owed, late, attention = counts["owed"], counts["waiting_long"], counts["attention"]
        self._health.put("reversal-overdue", owed > 0, detail=str(owed))
        self._health.put("outcome-unstored", late > 0, detail=str(late))
        self._health.put("attention", attention > 0, detail=str(attention))
        if self._now() >= self._forged_at + FORGED_FORGET_S:
            self._forged = 0
            self._health.end("callbacks-refused")
        if self._now() >= self._broke_at + BROKEN_FORGET_S:
            self._health.end("listener-down")

    def answered(self, ask: Ask, seconds: float, answer: object, merchant: str = "") -> None:
        """PartPay's answer to one call for a merchant, and how long it took, in seconds."""
        self._delays.answered(ask, seconds, answer)
        result = type(answer).__name__
        self._metrics.calls.labels(str(ask), result).inc()
        self._metrics.call_seconds.labels(str(ask)).observe(seconds)
        match answer:
            case NotSent(why=why) | NoAnswer(why=why) if self._without_token and why.startswith(
                "no token"
            ):
                # PartPay's door is shut to us, not out of reach.
                self._health.end("partpay-unreachable")
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
        match answer:
            case NotAllowed(why=why) | NoAnswer(why=why, unauthorised=True):
                self._health.begin("merchant-refused", merchant, why)
            case Told() | Created() | AlreadyExists() | RefusedByPartPay() | Refunded():
                self._health.end("merchant-refused", merchant)

    def carried(self, effects: Sequence[Effect]) -> None:
        """What the engine let out, counted."""
        for effect in effects:
            self._delays.carried(effect)
            match effect:
                case Say(message=Outcome(response_code=code)):
                    self._metrics.outcomes.labels(code).inc()
                case Say(message=Refused(reason=reason)):
                    self._metrics.refused.labels(str(reason)).inc()
                case Welcome(lane=lane, hello=hello, paired=paired):
                    who = f"{hello.terminal_id}, serial number {hello.serial_number},"
                    self._health.put("terminal-not-paired", not paired, lane, who)

    def look(self, engine: Engine) -> None:
        """After a batch: whether the journal can be written, and the disk has room."""
        if engine.why_not_writing is not None:
            self._health.begin("journal-unwritable", detail=engine.why_not_writing)
        else:
            self._health.end("journal-unwritable")
        if engine.poisoned > self._poisoned:
            self._metrics.poisoned.inc(engine.poisoned - self._poisoned)
            self._poisoned = engine.poisoned
        self._look_at_frozen(engine.frozen)
        if self._now() < self._looked_at + LOOK_EVERY_S:
            return
        self._looked_at = self._now()
        free = self._free_bytes()
        if free < ROOM_MIN_BYTES:
            self._health.begin("disk-low", detail=f"{free // 1_048_576} MiB free")
        else:
            self._health.end("disk-low")

    def _look_at_frozen(self, frozen: frozenset[str]) -> None:
        if frozen == self._frozen:
            return
        for tender in frozen - self._frozen:
            self._health.begin("tender-frozen", tender, "see the log: event=poisoned")
        for tender in self._frozen - frozen:
            self._health.end("tender-frozen", tender)
        self._frozen = frozen


def _in_words(seconds: float) -> str:
    """A time in its largest unit: 3605 -> 1 h."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


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
