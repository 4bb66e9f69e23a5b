"""Carries effects out: messages to lanes, calls to PartPay, answers to waiting callers.

- Nothing here decides, and nothing here is remembered: what comes back is posted as an event, and what is lost
  with the process is wanted again after a start.
- Three bounded pools for PartPay, so that reversals never starve sales, and one for reading pictures. Each attempt
  has at most one call of each kind under way, so what waits for a pool is bounded too.
- A call that raises what it must not is an answer without evidence, and a log line.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from bridge.crash_points import Point, here
from bridge.effects import (
    Answer,
    AskPartPay,
    ClearBeside,
    ClearPanel,
    Effect,
    Identify,
    KeysProved,
    Say,
    ShowBeside,
    ShowCode,
    ShowText,
    Welcome,
)
from bridge.events import CodeRead, Event, PartPayAnswered
from bridge.partpay.answers import AtUrl, Inline, NoAnswer, Perhaps
from bridge.refund import refund_reference_of
from bridge.reversal import refund_reference
from bridge.sale import without_key
from bridge.tender import Ask, Attempt, Kind, Tender, Wanted
from bridge.workers import Workers

if TYPE_CHECKING:
    from bridge.partpay.orders import Orders
    from bridge.partpay.tokens import MerchantAccess

log = logging.getLogger(__name__)

SALE_CALLS: Final = 8
STATUS_CALLS: Final = 8
REVERSAL_CALLS: Final = 2


class Lanes(Protocol):
    """The lines by name; each method may be called from any thread and returns at once."""

    def say(self, lane: str, effect: Say | Welcome) -> None: ...
    def identify(self, lane: str) -> None: ...
    def show(self, effect: ShowCode) -> None: ...
    def clear(self, effect: ClearPanel) -> None: ...
    def text(self, effect: ShowText) -> None: ...


class Displays(Protocol):
    """The displays beside terminals; each method may be called from any thread and returns at once."""

    def show(self, effect: ShowBeside) -> None: ...
    def clear(self, effect: ClearBeside) -> None: ...


class Carrier:
    """The edge between the engine and everything that takes time."""

    def __init__(
        self,
        post: Callable[[Event], object],
        lanes: Lanes,
        displays: Displays,
        pictures: Workers,
        orders: "Callable[[], Orders]",
        access: "Callable[[str], MerchantAccess | None]",
        answered_in: Callable[[Ask, float, object, str], None] = lambda *answer: None,
        clock: Callable[[], float] = lambda: 0.0,
        keep_original: Callable[[str, bytes], None] = lambda payload, picture: None,
        keys_proved: Callable[[KeysProved], None] = lambda effect: None,
    ) -> None:
        """`orders` is called in a worker: it may import and connect. `access`: a merchant's credential, by id.
        `keep_original(payload, picture)` gets what PartPay sent, once it is read. `keys_proved` tells the registry,
        in a worker."""
        self._post = post
        self._lanes = lanes
        self._displays = displays
        self._orders = orders
        self._access = access
        self._keep_original = keep_original
        self._keys_proved = keys_proved
        self._answered_in = answered_in
        self._clock = clock
        self._sales = Workers(SALE_CALLS, "partpay-sale")
        self._statuses = Workers(STATUS_CALLS, "partpay-status")
        self._reversals = Workers(REVERSAL_CALLS, "partpay-reversal")
        self._pictures = pictures

    def carry(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            here(Point.BEFORE_EFFECT, effect)
            match effect:
                case Say(lane=lane) | Welcome(lane=lane):
                    self._lanes.say(lane, effect)
                case Identify(lane=lane):
                    self._lanes.identify(lane)
                case ShowCode():
                    self._lanes.show(effect)
                case ClearPanel():
                    self._lanes.clear(effect)
                case ShowText():
                    self._lanes.text(effect)
                case ShowBeside():
                    self._displays.show(effect)
                case ClearBeside():
                    self._displays.clear(effect)
                case KeysProved():
                    self._pictures.do(partial(self._keys_proved, effect))
                case AskPartPay(tender=tender, wanted=wanted):
                    self._submit(tender, wanted)
                case Answer(reply=reply, status=status):
                    answer(reply, status)
                case _:
                    assert_never(effect)
            here(Point.AFTER_EFFECT, effect)

    def _submit(self, t: Tender, wanted: Wanted) -> None:
        a = next(a for a in t.attempts if a.number == wanted.attempt)
        self._pool(t, wanted.ask).do(lambda: self._ask(t, a, wanted))

    def _pool(self, t: Tender, ask: Ask) -> Workers:
        if ask is Ask.PICTURE:
            return self._pictures
        if not t.is_open or t.kind is Kind.REFUND:
            return self._reversals
        return self._statuses if ask in (Ask.STATUS, Ask.ORDER) else self._sales

    def _ask(self, t: Tender, a: Attempt, wanted: Wanted) -> None:
        began = self._clock()
        here(Point.BEFORE_CALL, str(wanted.ask))
        try:
            event = self._event(t, a, wanted)
        except Exception as error:  # noqa: BLE001 - the answer to a call that failed in us is no evidence
            log.error(
                "a call to PartPay failed in the bridge: %s: %s",
                type(error).__name__,
                error,
                extra={
                    "event": "call-failed",
                    "ask": str(wanted.ask),
                    "terminal": t.terminal_id,
                    "counter": t.counter,
                    "order": a.order_number,
                    "reference": a.gateway_reference,
                },
            )
            event = _no_evidence(t, a, wanted.ask, f"{type(error).__name__} in the bridge")
        here(Point.AFTER_ANSWER, str(wanted.ask))
        if isinstance(event, PartPayAnswered):
            self._answered_in(wanted.ask, self._clock() - began, event.answer, t.merchant)
        self._post(event)

    def _event(self, t: Tender, a: Attempt, wanted: Wanted) -> Event:
        if wanted.ask is Ask.PICTURE:
            return self._picture(t, a, wanted.limit_s)
        merchant = self._access(t.merchant)
        if merchant is None:
            return _no_evidence(t, a, wanted.ask, f"merchant {t.merchant} is not in the registry")
        value = call(self._orders(), merchant, t, a, wanted)
        return PartPayAnswered(t.pairing, t.counter, a.number, wanted.ask, value)

    def _picture(self, t: Tender, a: Attempt, limit_s: float) -> CodeRead:
        from drivers.display.reading import Unreadable, read_code  # noqa: PLC0415 - heavy, and in a worker

        source = a.run.picture
        match source:
            case Inline(data=data):
                pass
            case AtUrl(url=url):
                fetched = self._orders().picture(url, deadline_s=limit_s)
                if isinstance(fetched, NoAnswer):
                    why = f"its picture cannot be fetched: {fetched.why}"
                    return CodeRead(t.pairing, t.counter, a.number, None, why, fetched=False)
                data = fetched
            case None:
                return CodeRead(t.pairing, t.counter, a.number, None, "there is no picture")
            case _:
                assert_never(source)
        said = read_code(data)
        if isinstance(said, Unreadable):
            why = f"PartPay's picture holds no code: {said.why}"
            return CodeRead(t.pairing, t.counter, a.number, None, why)
        self._keep_original(said, data)
        return CodeRead(t.pairing, t.counter, a.number, said)


def call(
    orders: "Orders", merchant: "MerchantAccess", t: Tender, a: Attempt, wanted: Wanted
) -> object:
    """Asks PartPay what `wanted` says for attempt `a` of `t`: which call that is, and with what in it.

    Blocks as long as `orders` does; gives what it gives. Apart from the pools, so that the fault simulation
    asks in the same words.
    """
    limit_s, terminal_id = wanted.limit_s, t.terminal_id
    operator = t.operator or t.terminal_id
    match wanted.ask:
        case Ask.CREATE:
            return orders.create(
                merchant,
                terminal_id=terminal_id,
                amount_minor=t.amount_minor,
                merchant_reference=a.merchant_reference,
                gateway_reference=a.gateway_reference,
                deadline_s=limit_s,
                with_key=not without_key(a),
            )
        case Ask.ORDER | Ask.STATUS:
            ask = orders.order if wanted.ask is Ask.ORDER else orders.status
            return ask(
                merchant, terminal_id=terminal_id, order_id=a.order_id or "", deadline_s=limit_s
            )
        case Ask.CANCEL:
            return orders.cancel(
                merchant,
                terminal_id=terminal_id,
                order_id=a.order_id or "",
                operator=operator,
                deadline_s=limit_s,
            )
        case Ask.REFUND:
            own = t.kind is Kind.REFUND
            return orders.refund(
                merchant,
                terminal_id=terminal_id,
                order_id=a.order_id or "",
                amount_minor=t.amount_minor,
                refund_reference=refund_reference_of(a) if own else refund_reference(a),
                operator=operator,
                deadline_s=limit_s,
            )
        case Ask.PICTURE:
            raise AssertionError("a picture is no call")
        case _:
            assert_never(wanted.ask)


def answer(reply: "Future[int]", status: int) -> None:
    """Answers a waiting caller; one that has gone away is no fault."""
    try:
        reply.set_result(status)
    except InvalidStateError:
        log.info("a caller did not wait for its answer", extra={"event": "caller-gone"})


def _no_evidence(t: Tender, a: Attempt, ask: Ask, why: str) -> Event:
    if ask is Ask.PICTURE:
        return CodeRead(t.pairing, t.counter, a.number, None, why)
    value = Perhaps(why) if ask in (Ask.CREATE, Ask.REFUND) else NoAnswer(why)
    return PartPayAnswered(t.pairing, t.counter, a.number, ask, value)
