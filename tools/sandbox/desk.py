"""PartPay's front desk: one lock around the books, and all that goes wrong in front of them.

Rules of this file:
- A call is: latency; its fault looked up (one put there by the control API, else the row of its
  cents); the books told, unless the fault says they are not; the answer changed, held or delayed.
  The books are told under the lock; waiting is never done under it.
- One thread does what time does: orders expire, customers act by themselves, callbacks become due.
- Every change wakes whoever waits, so that tests wait for facts and need no sleep.
- What the control API shows is made here, as plain JSON values; app.py only routes.
"""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

from tools.sandbox import callbacks, pictures
from tools.sandbox.api import Api, Asked, Done, Reply
from tools.sandbox.books import (
    AlreadyFinal,
    Books,
    Created,
    Failed,
    NoSuchOrder,
    Order,
    Refunded,
    Status,
    Wanted,
)
from tools.sandbox.callbacks import Sender, Try
from tools.sandbox.scenarios import FAULTS, Absent, Call, Does, Fault, Picture, Wire, scenario_for

HELD_S = 30.0
"""The longest that a held call waits to be released: a forgotten one must not hang a test for ever."""

CALLBACK_S = callbacks.CONNECT_TIMEOUT_S + callbacks.READ_TIMEOUT_S + 1.0

EARLY_S = 2.0
"""The longest that an answer to create waits for the callback that is to come before it."""

DRAW_AFTER_S = 0.02
CALLS_KEPT = 5000
ORDERS_SHOWN = 200
LONGEST_WAIT_S = 60.0

T = TypeVar("T")


class MistakeError(ValueError):
    """The control API was asked for something that is not there or cannot be."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Settings:
    """What may be changed while it runs. auto_s: customers approve by themselves so late; None: not.

    callbacks False: none is sent to anybody.
    """

    auto_s: float | None = None
    latency_s: float = 0.0
    callbacks: bool = True


@dataclass(slots=True)
class Seen:
    """One call of PartPay's API, without tokens and secrets. `status` None: not answered, or not yet."""

    number: int
    at: float
    call: Call
    order_id: str
    merchant_id: str
    terminal_id: str
    idempotency_key: str
    content: dict[str, Any] | None
    fault: str | None = None
    status: int | None = None
    took_ms: float | None = None


@dataclass(slots=True)
class Put:
    """A fault put on the next calls of a kind. `call` None: of any. `left` None: until cleared."""

    number: int
    name: str
    fault: Fault
    call: Call | None
    left: int | None
    order_id: str | None
    merchant_id: str | None


class Desk:
    """Takes calls from any thread. A context manager: leaving it stops its threads.

    key_of: a merchant's callback key. clock: PartPay's time, seconds since 1970.
    """

    def __init__(
        self,
        books: Books,
        api: Api,
        clock: Callable[[], float],
        *,
        key_of: Callable[[str], str],
        settings: Settings | None = None,
        pauses_s: Sequence[float] = callbacks.PAUSES_S,
        told: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock
        self._books = books
        self._api = api
        self._key_of = key_of
        self._told = told
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._seen: list[Seen] = []
        self._numbers = itertools.count(1)
        self._puts: list[Put] = []
        self._holding: list[tuple[Put, threading.Event]] = []
        self._counts: Counter[tuple[Call, str]] = Counter()
        self._references: dict[tuple[str, str | None, int], list[str]] = {}
        self._strangers: dict[str, str] = {}
        self._sender = Sender(clock, pauses_s=pauses_s, tried=self._tried)
        self._timer = threading.Thread(target=self._do_what_is_due, name="desk", daemon=True)
        self._timer.start()

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_waiting()
        self._sender.close()
        self._timer.join()

    def stop_waiting(self) -> None:
        """From now on no call is held, delayed or waited for: those that are, are answered now."""
        self._stopping.set()
        with self._changed:
            self._release()

    # PartPay's API

    def answer(self, asked: Asked) -> Reply:
        """The reply to one call, after as long as it shall take."""
        self._pause(self.settings.latency_s)
        with self._changed:
            began = self.clock()
            self._catch_up(began)
            name, fault, held = self._fault_of(asked, began)
            seen = self._write_down(asked, name, began)
            self._change()
        if held is not None and not fault.acts:
            held.wait(HELD_S)
        with self._changed:
            now = self.clock()
            self._catch_up(now)
            reply, early = self._reply(asked, fault, now, seen)
            self._change()
        if held is not None and fault.acts:
            held.wait(HELD_S)
        for sent in early:
            with suppress(TimeoutError):
                sent.result(EARLY_S)
        self._pause(fault.delay_s)
        with self._changed:
            ended = self.clock()
            seen.status = reply.status if fault.wire in (Wire.WHOLE, Wire.DRIP) else None
            seen.took_ms = round((ended - began) * 1000, 3)
            self._change()
        self._told(
            f"event=call call={asked.call} status={seen.status or '-'} fault={name or '-'} "
            f"order={seen.order_id or '-'} merchant={seen.merchant_id or '-'} "
            f"took_ms={seen.took_ms}"
        )
        date = datetime.fromtimestamp(ended, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return replace(reply, headers={"date": date, **reply.headers}, wire=fault.wire)

    def _reply(
        self, asked: Asked, fault: Fault, now: float, seen: Seen
    ) -> tuple[Reply, list[Future[Try]]]:
        if fault.stranger:
            return self._reply_of_stranger(asked, now), []
        if not fault.acts and (fault.status is not None or not fault.held):
            return _instead(fault), []
        done = self._api.answer(asked, now)
        if done.order is not None:
            seen.order_id = done.order.order_id
        self._let_customer_act(done, now)
        sent = self._call_back()
        reply = done.reply
        if fault.status is not None:
            reply = _instead(fault)
            if fault.remembered and isinstance(done.made, Created) and done.wanted is not None:
                self._books.keep_failure(done.wanted, Failed(reply.status, reply.body))
        elif fault.alter is not None and done.order is not None and reply.status < 300:
            told = json.loads(reply.body)
            fault.alter(told, done.order)
            reply = replace(reply, body=json.dumps(told, separators=(",", ":")).encode())
        early = isinstance(done.made, Created) and scenario_for(done.made.order.amount_minor).early
        return reply, sent if early else []

    def _let_customer_act(self, done: Done, now: float) -> None:
        if not isinstance(done.made, Created) or done.made.repeated:
            return
        order = done.made.order
        customer = scenario_for(order.amount_minor).customer
        if isinstance(customer, Does):
            if customer.after_s > 0:
                self._books.plan(order.order_id, now + customer.after_s, customer.status)
            else:
                self._books.close(order.order_id, customer.status, now)
        elif customer is Absent.WAITS and self.settings.auto_s is not None:
            self._books.plan(order.order_id, now + self.settings.auto_s, Status.APPROVED)

    def _call_back(self) -> list[Future[Try]]:
        """Owes callbacks for what became final. Returns those that are sent at once."""
        at_once = []
        for order in self._books.take_closed():
            if order.callback_url is None or not self.settings.callbacks:
                continue
            for say in scenario_for(order.amount_minor).callbacks:
                key = self._key(order, forged=say.forged)
                body = callbacks.signed(callbacks.fields(order, say.status), key)
                sent = self._sender.send(order.order_id, order.callback_url, body, say.after_s)
                if say.after_s == 0:
                    at_once.append(sent)
        return at_once

    # Faults

    def _fault_of(
        self, asked: Asked, now: float
    ) -> tuple[str | None, Fault, threading.Event | None]:
        """The call's fault with its name, and where it is held, what lets it go."""
        for put in self._puts:
            if (
                put.call in (None, asked.call)
                and put.order_id in (None, asked.order_id)
                and put.merchant_id in (None, self._merchant_of(asked))
            ):
                held = threading.Event() if put.fault.held else None
                if held is not None:
                    self._holding.append((put, held))
                if put.left is not None:
                    put.left -= 1
                    if put.left == 0:
                        self._puts.remove(put)
                return put.name, put.fault, held
        name = self._row_fault(asked, now)
        return name, _NO_FAULT if name is None else FAULTS[name], None

    def _row_fault(self, asked: Asked, now: float) -> str | None:
        if asked.call is not Call.PICTURE and not self._api.admits(asked, now):
            return None
        if asked.call is Call.CREATE:
            wanted = self._api.wanted(asked)
            if not isinstance(wanted, Wanted):
                return None
            scenario = scenario_for(wanted.amount_minor)
            about = f"{wanted.merchant_id} {wanted.gateway_reference}"
            if scenario.first_reference_only and self._is_second_reference(wanted):
                return None
        else:
            order = self._books.order(asked.order_id)
            if order is None:
                return None
            scenario = scenario_for(order.amount_minor)
            about = order.order_id
        earlier = self._counts[asked.call, about]
        self._counts[asked.call, about] += 1
        return scenario.fault_of(asked.call, earlier)

    def _is_second_reference(self, wanted: Wanted) -> bool:
        """Every second one counts as one, so that the same sale can be played again and again."""
        place = (wanted.merchant_id, wanted.terminal_id, wanted.amount_minor)
        references = self._references.setdefault(place, [])
        if wanted.gateway_reference not in references:
            references.append(wanted.gateway_reference)
        return references.index(wanted.gateway_reference) % 2 == 1

    def _reply_of_stranger(self, asked: Asked, now: float) -> Reply:
        """The answer that would be right for an order of another till of the same merchant."""
        merchant_id = self._merchant_of(asked)
        if merchant_id not in self._books.merchants:
            return Reply(status=401)
        if merchant_id not in self._strangers:
            reference = secrets.token_hex(4)
            made = self._books.create(
                Wanted(
                    merchant_id=merchant_id,
                    terminal_id="another till",
                    amount_minor=4200,
                    merchant_reference=f"INV-{reference}",
                    gateway_reference=f"OTHER-{reference}",
                ),
                now,
            )
            assert isinstance(made, Created)
            self._strangers[merchant_id] = made.order.order_id
        order = self._books.order(self._strangers[merchant_id])
        assert order is not None
        if asked.call is Call.CREATE:
            return self._api.exists(asked, order)
        return self._api.answer(replace(asked, order_id=order.order_id), now).reply

    def put_fault(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Puts a named fault on the next calls of a kind; MistakeError where there is none of that name."""
        name = str(request.get("fault"))
        if name not in FAULTS:
            raise MistakeError(400, f"no fault {name!r}; there are: {', '.join(FAULTS)}")
        call = request.get("call", "any")
        if call != "any" and call not in set(Call):
            raise MistakeError(400, f"no call {call!r}; there are: any, {', '.join(Call)}")
        times = int(request.get("times", 1))
        put = Put(
            number=next(self._numbers),
            name=name,
            fault=_adjusted(FAULTS[name], request),
            call=None if call == "any" else Call(call),
            left=times if times > 0 else None,
            order_id=request.get("order_id"),
            merchant_id=request.get("merchant_id"),
        )
        with self._changed:
            self._puts.append(put)
            self._change()
        return _put_told(put)

    def faults(self) -> dict[str, Any]:
        with self._changed:
            return {
                "put": [_put_told(put) for put in self._puts],
                "holding": [_put_told(put) for put, _ in self._holding],
            }

    def clear_faults(self) -> None:
        """Takes all away, and lets go what is held."""
        with self._changed:
            self._puts.clear()
            self._release()

    def release(self) -> int:
        """Lets go what is held now, and leaves the rest. How many calls that were."""
        with self._changed:
            return self._release()

    def _release(self) -> int:
        holding, self._holding = self._holding, []
        for _, held in holding:
            held.set()
        self._change()
        return len(holding)

    # What the control API shows and does

    def orders(
        self,
        *,
        matching: Mapping[str, str] | None = None,
        at_least: int = 0,
        since: int | None = None,
        wait_s: float = 0.0,
    ) -> dict[str, Any]:
        """The newest orders that match, oldest first; waits until there are enough, or a change."""

        def look() -> tuple[bool, list[Order]]:
            self._catch_up(self.clock())
            if since is not None and since == len(self._books.history):
                return False, []
            found = [
                order
                for order in self._books.orders()
                if all(_matches(order, name, value) for name, value in (matching or {}).items())
            ]
            return len(found) >= at_least, found

        with self._changed:
            found = self._wait_for(look, wait_s)
            now = self.clock()
            return {
                "version": len(self._books.history),
                "now": now,
                "orders": [self._order_told(order, now) for order in found[-ORDERS_SHOWN:]],
            }

    def order(self, order_id: str) -> dict[str, Any]:
        with self._changed:
            now = self.clock()
            self._catch_up(now)
            return self._order_told(self._found(order_id), now)

    def payload(self, order_id: str) -> str:
        """What an order's QR code says."""
        with self._changed:
            return self._api.payload(self._found(order_id).order_id)

    def close(self, order_id: str, status: Status) -> dict[str, Any]:
        """What a person decides on the page. MistakeError 409 where the order is final already."""
        with self._changed:
            now = self.clock()
            self._catch_up(now)
            outcome = self._books.close(order_id, status, now)
            self._call_back()
            self._change()
            match outcome:
                case NoSuchOrder():
                    raise MistakeError(404, f"no order {order_id}")
                case AlreadyFinal(order):
                    raise MistakeError(409, f"order {order.order_number} is {order.status} already")
                case order:
                    return self._order_told(order, now)

    def refund(self, order_id: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """A refund made by a person in PartPay's portal. {amount_minor, reference}"""
        with self._changed:
            order = self._found(order_id)
            reference = str(request.get("reference") or f"portal-{secrets.token_hex(4)}")
            amount_minor = int(request.get("amount_minor") or order.kept_minor)
            if amount_minor < 1:
                raise MistakeError(409, f"order {order.order_number} has nothing left to refund")
            now = self.clock()
            outcome = self._books.refund(order_id, amount_minor, reference, "portal", now)
            self._change()
            if not isinstance(outcome, Refunded):
                raise MistakeError(409, f"order {order.order_number}: {type(outcome).__name__}")
            return self._order_told(outcome.order, now)

    def calls(
        self, *, matching: Mapping[str, str], at_least: int = 0, wait_s: float = 0.0
    ) -> dict[str, Any]:
        """The calls that came to PartPay's API, oldest first, as soon as they came."""

        def look() -> tuple[bool, list[Seen]]:
            found = [
                seen
                for seen in self._seen
                if all(str(getattr(seen, name)) == value for name, value in matching.items())
            ]
            return len(found) >= at_least, found

        with self._changed:
            return {"calls": [asdict(seen) for seen in self._wait_for(look, wait_s)]}

    def callbacks(
        self, *, order_id: str | None = None, at_least: int = 0, wait_s: float = 0.0
    ) -> dict[str, Any]:
        """The tries of callbacks so far, oldest first, each with what was answered."""

        def look() -> tuple[bool, list[Try]]:
            found = [t for t in list(self._sender.tries) if order_id in (None, t.order_id)]
            return len(found) >= at_least, found

        with self._changed:
            return {"callbacks": [asdict(done) for done in self._wait_for(look, wait_s)]}

    def send_callback(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Sends one more callback for an order, and tells what its first try gave.

        {order_id, status?, forged?, fields?: [[name, value] …], raw?: text, url?}: `fields` in place
        of the documented ones (signed), `raw` in place of the whole body (as it is).
        """
        with self._changed:
            order = self._found(str(request.get("order_id")))
        url = request.get("url") or order.callback_url
        if not url:
            raise MistakeError(409, f"order {order.order_number} has no callback URL")
        if (raw := request.get("raw")) is not None:
            body = str(raw).encode()
        else:
            pairs = [(str(n), str(v)) for n, v in request.get("fields") or []]
            key = self._key(order, forged=bool(request.get("forged")))
            body = callbacks.signed(pairs or callbacks.fields(order, request.get("status")), key)
        sent = self._sender.send(order.order_id, str(url), body)
        try:
            return asdict(sent.result(CALLBACK_S))
        except TimeoutError:
            raise MistakeError(504, f"the callback to {url} was not tried in time") from None

    def summary(self) -> dict[str, Any]:
        """The books in figures: over all, and for each merchant."""
        with self._changed:
            self._catch_up(self.clock())
            return {
                "all": asdict(self._books.totals()),
                "merchants": {
                    merchant_id: asdict(self._books.totals(merchant_id))
                    for merchant_id in self._books.merchants
                },
                "pending": [order.order_id for order in self._books.pending()],
            }

    def revoke_tokens(self) -> None:
        with self._changed:
            self._books.revoke_tokens()

    def change_settings(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """{auto_s?, latency_ms?, callbacks?}; what is left out stays. Returns all of them."""
        with self._changed:
            if "auto_s" in request:
                auto_s = request["auto_s"]
                self.settings.auto_s = None if auto_s is None else float(auto_s)
            if "latency_ms" in request:
                self.settings.latency_s = float(request["latency_ms"]) / 1000
            if "callbacks" in request:
                self.settings.callbacks = bool(request["callbacks"])
            return {
                "auto_s": self.settings.auto_s,
                "latency_ms": self.settings.latency_s * 1000,
                "callbacks": self.settings.callbacks,
            }

    # Inside

    def _catch_up(self, now: float) -> None:
        """What time did since the last look, callbacks owed for it."""
        before = len(self._books.history)
        self._books.advance(now)
        if len(self._books.history) != before:
            self._call_back()
            self._change()

    def _key(self, order: Order, *, forged: bool) -> str:
        key = self._key_of(order.merchant_id)
        return f"not {key}" if forged else key

    def _found(self, order_id: str) -> Order:
        order = self._books.order(order_id)
        if order is None:
            raise MistakeError(404, f"no order {order_id}")
        return order

    def _order_told(self, order: Order, now: float) -> dict[str, Any]:
        told = asdict(order)
        return told | {
            "status": order.status.value,
            "merchant_name": self._books.merchants[order.merchant_id],
            "seconds_left": None if order.status.final else max(0.0, order.expires_at - now),
            "paid_minor": order.paid_minor,
            "refunded_minor": order.refunded_minor,
            "kept_minor": order.kept_minor,
            "scenario": scenario_for(order.amount_minor).what,
            "payload": self._api.payload(order.order_id),
        }

    def _merchant_of(self, asked: Asked) -> str:
        return asked.headers.get(self._api.names.merchant_header, "")

    def _write_down(self, asked: Asked, fault: str | None, now: float) -> Seen:
        seen = Seen(
            number=next(self._numbers),
            at=now,
            call=asked.call,
            order_id=asked.order_id,
            merchant_id=self._merchant_of(asked),
            terminal_id=asked.headers.get(self._api.names.terminal_header, ""),
            idempotency_key=asked.headers.get("idempotency-key", ""),
            content=None if asked.call is Call.TOKEN else _content(asked),
            fault=fault,
        )
        self._seen.append(seen)
        del self._seen[:-CALLS_KEPT]
        return seen

    def _change(self) -> None:
        self._changed.notify_all()

    def _tried(self, done: Try) -> None:
        with self._changed:
            self._change()
        self._told(
            f"event=callback order={done.order_id} try={done.number} "
            f"status={done.http_status or '-'} error={json.dumps(done.error or '-')}"
        )

    def _wait_for(self, look: Callable[[], tuple[bool, T]], wait_s: float) -> T:
        """What is seen once it is enough, or when the time is over. The lock is held by the caller."""
        seen: list[T] = []

        def enough() -> bool:
            is_enough, what = look()
            seen[:] = [what]
            return is_enough or self._stopping.is_set()

        self._changed.wait_for(enough, min(wait_s, LONGEST_WAIT_S))
        return seen[0]

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._stopping.wait(seconds)

    def _do_what_is_due(self) -> None:
        drawn = ""
        while not self._stopping.is_set():
            with self._changed:
                now = self.clock()
                due = self._books.next_due()
                if due is not None and due <= now:
                    self._catch_up(now)
                    continue
                following = self._books.next_order_id
                if following == drawn:
                    self._changed.wait(None if due is None else due - now)
                    continue
            # Beforehand, because it is most of what a create call costs; a little later, because
            # the call before it is still being answered.
            self._pause(DRAW_AFTER_S)
            pictures.picture(Picture.INLINE, self._api.payload(following))
            drawn = following


_NO_FAULT = Fault(what="none")


def _instead(fault: Fault) -> Reply:
    # Without a status the connection is closed unanswered, so that none of it is ever seen.
    return Reply(status=fault.status or 500, body=fault.body, headers=fault.headers)


def _adjusted(fault: Fault, request: Mapping[str, Any]) -> Fault:
    """The fault with what the control API's request says about it."""
    changes: dict[str, Any] = {}
    if "delay_s" in request:
        changes["delay_s"] = float(request["delay_s"])
    if "acts" in request:
        changes["acts"] = bool(request["acts"])
    if "status" in request:
        changes["status"] = int(request["status"])
    if "body" in request:
        body = request["body"]
        changes["body"] = (body if isinstance(body, str) else json.dumps(body)).encode()
    if "headers" in request:
        changes["headers"] = {str(n).lower(): str(v) for n, v in request["headers"].items()}
    return replace(fault, **changes)


def _put_told(put: Put) -> dict[str, Any]:
    return {
        "number": put.number,
        "fault": put.name,
        "call": put.call or "any",
        "left": put.left,
        "order_id": put.order_id,
        "merchant_id": put.merchant_id,
    }


def _matches(order: Order, name: str, value: str) -> bool:
    held = getattr(order, name)
    return str(held) in value.split(",")


def _content(asked: Asked) -> dict[str, Any] | None:
    """The content for the list of calls."""
    try:
        value = json.loads(asked.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
