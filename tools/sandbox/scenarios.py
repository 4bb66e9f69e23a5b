"""What goes wrong: faults by name, and which of them an amount chooses by its cents.

Rules of this file:
- Data only. FAULTS is the one table of faults, SCENARIOS the one table of cents; README.md and the
  page at / show tables made from these, and a test compares them.
- A fault says whether PartPay's books are told of the call (`acts`), what is answered in place of
  the true answer or changed in it, how late, and what happens to the connection.
- A scenario is a row: what the customer does, which picture the order has, which callbacks are sent,
  and which faults the 1st, 2nd … call of each kind meets. Cents without a row are as 00.
- What is left out is the ordinary case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import EllipsisType
from typing import Any

from tools.sandbox.books import Order, Status


class Call(StrEnum):
    """The calls that PartPay's API has, as the control API names them."""

    TOKEN = "token"
    CREATE = "create"
    ORDER = "order"
    STATUS = "status"
    CANCEL = "cancel"
    REFUND = "refund"
    PICTURE = "picture"


class Wire(Enum):
    """What becomes of an answer on its way."""

    WHOLE = "whole"
    NOTHING = "closed without a byte"
    RESET = "reset without a byte"
    HALF_HEAD = "cut within the header"
    HALF_BODY = "cut within the body"
    DRIP = "one byte after the other, slowly"


Alter = Callable[[dict[str, Any], Order], None]
"""Changes an answer's JSON; the order is the one that the answer tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that can go wrong with one call.

    acts: the books are told of the call. status: answered in place of the true answer, with `body`
    and `headers`; None: the true one. delay_s: between acting and answering. remembered: the answer
    is kept under the create's Idempotency-Key. held: the answer waits until the fault is taken away
    through the control API (30 s at most); with acts False the books are told only then.
    """

    what: str
    acts: bool = True
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    alter: Alter | None = None
    delay_s: float = 0.0
    wire: Wire = Wire.WHOLE
    remembered: bool = False
    held: bool = False
    stranger: bool = False


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def problem(status: int, title: str, detail: str, code: str) -> bytes:
    """The error shape {title, detail, type, traceId, errorCode}."""
    return _json(
        {
            "type": f"https://httpstatuses.com/{status}",
            "title": title,
            "detail": detail,
            "traceId": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "errorCode": code,
        }
    )


def message(text: str) -> bytes:
    """The error shape {message}."""
    return _json({"message": text})


def property_errors(*errors: tuple[str, str]) -> bytes:
    """The error shape {isValid, errors: [{propertyName, errorMessages}]}."""
    return _json(
        {
            "isValid": False,
            "errors": [{"propertyName": name, "errorMessages": [text]} for name, text in errors],
        }
    )


HTML = (
    b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad "
    b"Gateway</h1></center><hr><center>cloudflare</center></body></html>"
)
_HTML_TYPE = {"content-type": "text/html; charset=utf-8"}


def _set(name: str, value: object) -> Alter:
    return lambda answer, _order: answer.update({name: value})


def _drop(name: str) -> Alter:
    def alter(answer: dict[str, Any], _order: Order) -> None:
        answer.pop(name, None)

    return alter


def _amount(told: Callable[[int], object]) -> Alter:
    return lambda answer, order: answer.update({"amount": told(order.amount_minor)})


FAULTS: Mapping[str, Fault] = {
    # The connection
    "request-lost": Fault(what="the call never arrives; connection closed", acts=False,
                          wire=Wire.NOTHING),
    "answer-lost": Fault(what="done, then closed without an answer", wire=Wire.NOTHING),
    "answer-reset": Fault(what="done, then the connection is reset", wire=Wire.RESET),
    "answer-cut-head": Fault(what="done, answer cut within its header", wire=Wire.HALF_HEAD),
    "answer-cut": Fault(what="done, answer cut within its body", wire=Wire.HALF_BODY),
    "answer-drip": Fault(what="done, answered byte by byte, 0.2 s each", wire=Wire.DRIP),
    # Time
    "slow": Fault(what="done, answered 3 s later", delay_s=3.0),
    "too-slow": Fault(what="done, answered 20 s later", delay_s=20.0),
    "held": Fault(what="done, answered when the fault is cleared", held=True),
    "request-held": Fault(what="done and answered when the fault is cleared", acts=False, held=True),
    # Not now
    "error-500": Fault(what="500 {message}, nothing done", acts=False, status=500,
                       body=message("An unexpected error occurred.")),
    "error-500-empty": Fault(what="500 without a body, nothing done", acts=False, status=500),
    "error-500-done": Fault(what="500, though it was done", status=500,
                            body=message("An unexpected error occurred.")),
    "error-500-kept": Fault(what="500, though it was done, and again for the same key", status=500,
                            body=message("An unexpected error occurred."), remembered=True),
    "error-502-html": Fault(what="502 with a proxy's HTML page, nothing done", acts=False,
                            status=502, body=HTML, headers=_HTML_TYPE),
    "error-503": Fault(what="503 with Retry-After: 2, nothing done", acts=False, status=503,
                       headers={"retry-after": "2"}),
    "too-many": Fault(what="429 with Retry-After: 2, nothing done", acts=False, status=429,
                      headers={"retry-after": "2"}, body=message("Too many requests.")),
    "too-many-bare": Fault(what="429 without Retry-After, nothing done", acts=False, status=429),
    # Refused
    "refused-message": Fault(what="400 {message}", acts=False, status=400,
                             body=message("This order cannot be accepted.")),
    "refused-problem": Fault(what="400 {title, detail, type, traceId, errorCode}", acts=False,
                             status=400, body=problem(400, "Bad Request",
                             "The amount is above the limit for this merchant.", "limit_exceeded")),
    "refused-amount": Fault(what="400 {isValid, errors} about the amount", acts=False, status=400,
                            body=property_errors(("amount", "Amount must be at least 1.00."))),
    "refused-customer": Fault(what="400 {isValid, errors} about the customer", acts=False,
                              status=400, body=property_errors(
                              ("customer", "The customer is not eligible."))),
    "refused-property": Fault(what="400 {isValid, errors} about merchantReference", acts=False,
                              status=400, body=property_errors(
                              ("merchantReference", "Merchant reference is not valid."))),
    "refused-empty": Fault(what="400 without a body", acts=False, status=400),
    "refused-422": Fault(what="422 {title, detail …}", acts=False, status=422,
                         body=problem(422, "Unprocessable Entity", "The order is not acceptable.",
                                      "unprocessable")),
    "unauthorised": Fault(what="401 without detail", acts=False, status=401),
    "forbidden": Fault(what="403 without a body", acts=False, status=403),
    "not-found": Fault(what="404 {message}", acts=False, status=404,
                       body=message("Order not found.")),
    # Strange
    "html": Fault(what="200 with a sign-in page's HTML, nothing done", acts=False, status=200,
                  body=HTML, headers=_HTML_TYPE),
    "not-json": Fault(what="200 with half a JSON text", status=200, body=b'{"orderId":"4f1c'),
    "redirect-away": Fault(what="302 to another host, nothing done", acts=False, status=302,
                           headers={"location": "https://login.example.invalid/"}),
    "another-order": Fault(what="create: 302 to an order of another till, nothing done; "
                           "order, status: what is told is of another order", stranger=True),
    "answer": Fault(what="the answer that is given with the fault (status, headers, body, acts)"),
    # What is told
    "pending-again": Fault(what="status pending, whatever it is", alter=_set("status", "pending")),
    "unknown-status": Fault(what='status "processing"', alter=_set("status", "processing")),
    "no-status": Fault(what="no status in the answer", alter=_drop("status")),
    "no-expiry": Fault(what="no orderExpiry", alter=_drop("orderExpiry")),
    "amount-text": Fault(what='amount as text: "12.50"', alter=_amount(lambda cents: f"{cents / 100:.2f}")),
    "amount-cents": Fault(what="amount in cents: 1250", alter=_amount(lambda cents: cents)),
    "amount-wrong": Fault(what="another amount: one cent more",
                          alter=_amount(lambda cents: (cents + 1) / 100)),
    "reference-wrong": Fault(what="another gatewayReference",
                             alter=_set("gatewayReference", "ANOTHER-1-1-1-00000000")),
}  # fmt: skip


class Picture(Enum):
    """What an answer holds of the QR code."""

    INLINE = "qrCode: base64 JPEG"
    BY_URL = "qrCodeUrl"
    GONE_URL = "qrCodeUrl that answers 404"
    NONE = "neither qrCode nor qrCodeUrl"
    NO_CODE = "a picture without a code"
    CUT = "a JPEG that ends early"
    NO_PICTURE = "text that is not base64"
    HUGE = "a picture of 3 MiB"
    DENSE = "a code with a very long text"
    POOR = "small, turned, blurred, noisy, but readable"
    PNG = "a PNG in place of a JPEG"
    DATA_URL = "the JPEG as a data: URL"


@dataclass(frozen=True, slots=True)
class Does:
    """What the customer does by himself, so long after the order was made."""

    status: Status
    after_s: float


class Absent(Enum):
    WAITS = "for a person, the control API or --auto"
    STAYS_AWAY = "not even --auto approves"


class OnCancel(Enum):
    """What a cancel call meets."""

    CANCELLED = "200, cancelled"
    LATER = "202, cancelled 2 s later"
    APPROVED_BEFORE = "the customer approves just before: an error, the order is final"
    APPROVED_AFTER = "202, approved 0.5 s later"
    APPROVED_LATE = "202, stays pending, approved 30 s later"


CANCELLED_LATER_S = 2.0
APPROVED_AFTER_S = 0.5
APPROVED_LATE_S = 30.0


@dataclass(frozen=True, slots=True)
class Say:
    """One callback: so long after the order is final, telling `status` (None: the true one)."""

    after_s: float = 0.0
    status: str | None = None
    forged: bool = False


FaultNames = tuple[str | EllipsisType, ...]
"""For the 1st, 2nd … call; "" is none; after the last one none; `...` repeats the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A row of the table of cents.

    made_status: the status code of create. lifetime_s: the order's life; None: the books'.
    told_lifetime_s: what orderExpiry says instead. expiry_zone: how orderExpiry is written.
    order_picture: what the order call gives; None: as create. early: the answer to create waits
    until the callback was answered (2 s at most). forgets_key: Idempotency-Key is ignored.
    first_reference_only: a create with new references, of the same terminal and amount, goes well.
    """

    what: str
    customer: Does | Absent = Absent.WAITS
    made_status: int = 201
    lifetime_s: float | None = None
    told_lifetime_s: float | None = None
    expiry_zone: str = "Z"
    picture: Picture = Picture.INLINE
    order_picture: Picture | None = None
    callbacks: tuple[Say, ...] = (Say(),)
    early: bool = False
    forgets_key: bool = False
    first_reference_only: bool = False
    on_cancel: OnCancel = OnCancel.CANCELLED
    faults: Mapping[Call, FaultNames] = field(default_factory=dict)

    def fault_of(self, call: Call, earlier_calls: int) -> str | None:
        """The name of the fault that this call meets, the `earlier_calls`+1-th of its kind."""
        names = self.faults.get(call, ())
        if not names:
            return None
        if names[-1] is ...:
            name = names[min(earlier_calls, len(names) - 2)]
        else:
            name = names[earlier_calls] if earlier_calls < len(names) else ""
        return name if isinstance(name, str) and name else None


SCENARIOS: Mapping[int, Scenario] = {
    # The customer
    0: Scenario(what="waits for a person: the page, the control API, or --auto"),
    1: Scenario(what="approved by itself after 1 s", customer=Does(Status.APPROVED, 1.0)),
    2: Scenario(what="complete in place of approved, after 1 s",
                customer=Does(Status.COMPLETE, 1.0)),
    3: Scenario(what="approved by itself after 20 s: a new customer signs up first",
                customer=Does(Status.APPROVED, 20.0)),
    4: Scenario(what="approved the moment the order is made",
                customer=Does(Status.APPROVED, 0.0)),
    5: Scenario(what="declined by itself after 1 s", customer=Does(Status.DECLINED, 1.0)),
    6: Scenario(what="cancelled by PartPay itself after 1 s",
                customer=Does(Status.CANCELLED, 1.0)),
    7: Scenario(what="expires after 3 s, as its orderExpiry says", lifetime_s=3.0,
                customer=Absent.STAYS_AWAY),
    8: Scenario(what="expires after 3 s, though its orderExpiry says 10 minutes", lifetime_s=3.0,
                told_lifetime_s=600.0, customer=Absent.STAYS_AWAY),
    9: Scenario(what="nobody pays: pending until its life is over", customer=Absent.STAYS_AWAY),
    # What create answers
    10: Scenario(what="202 in place of 201", made_status=202),
    11: Scenario(what="qrCodeUrl in place of qrCode", picture=Picture.BY_URL),
    12: Scenario(what="no picture at all, nor by the order call", picture=Picture.NONE),
    13: Scenario(what="no picture from create; the order call has it", picture=Picture.NONE,
                 order_picture=Picture.INLINE),
    14: Scenario(what="a picture without a code, from the order call too", picture=Picture.NO_CODE),
    15: Scenario(what="a picture without a code; the order call has a good one",
                 picture=Picture.NO_CODE, order_picture=Picture.INLINE),
    16: Scenario(what="a JPEG that ends early", picture=Picture.CUT),
    17: Scenario(what="qrCode is not base64", picture=Picture.NO_PICTURE),
    18: Scenario(what="qrCodeUrl answers 404", picture=Picture.GONE_URL),
    19: Scenario(what="a picture of 3 MiB", picture=Picture.HUGE),
    20: Scenario(what="a small, turned, noisy picture, still readable", picture=Picture.POOR),
    21: Scenario(what="a code with a long text (400 characters)", picture=Picture.DENSE),
    22: Scenario(what="a PNG in place of a JPEG", picture=Picture.PNG),
    23: Scenario(what="qrCode as a data: URL", picture=Picture.DATA_URL),
    24: Scenario(what="no orderExpiry", faults={Call.CREATE: ("no-expiry", ...),
                                                Call.ORDER: ("no-expiry", ...)}),
    25: Scenario(what="orderExpiry with +13:00", expiry_zone="+13:00"),
    # Create goes wrong at first
    30: Scenario(what="create answer lost; the same key gives the first answer again",
                 faults={Call.CREATE: ("answer-lost",)}),
    31: Scenario(what="create answer lost; again: 302, the order call has the picture",
                 forgets_key=True, faults={Call.CREATE: ("answer-lost",)}),
    32: Scenario(what="create answer lost; again: 302, and the order has no picture; "
                 "new references go well", forgets_key=True, order_picture=Picture.NONE,
                 first_reference_only=True, faults={Call.CREATE: ("answer-lost",)}),
    33: Scenario(what="create lost before it arrives", faults={Call.CREATE: ("request-lost",)}),
    34: Scenario(what="create answer cut in its middle", faults={Call.CREATE: ("answer-cut",)}),
    35: Scenario(what="create 500 at first, nothing made", faults={Call.CREATE: ("error-500",)}),
    36: Scenario(what="create 500 though it was made, and again for the same key; "
                 "without the key 302", faults={Call.CREATE: ("error-500-kept",)}),
    37: Scenario(what="create 429 with Retry-After: 2 at first",
                 faults={Call.CREATE: ("too-many",)}),
    38: Scenario(what="create 503 with Retry-After: 2 at first",
                 faults={Call.CREATE: ("error-503",)}),
    39: Scenario(what="create answers after 3 s", faults={Call.CREATE: ("slow",)}),
    40: Scenario(what="create answers after 20 s; the same key gives the first answer again",
                 faults={Call.CREATE: ("too-slow",)}),
    41: Scenario(what="create 302 to an order of another till; new references go well",
                 first_reference_only=True, faults={Call.CREATE: ("another-order", ...)}),
    42: Scenario(what="create 401 at first: a new token is needed",
                 faults={Call.CREATE: ("unauthorised",)}),
    43: Scenario(what="create answered byte by byte, for ever",
                 faults={Call.CREATE: ("answer-drip",)}),
    # Create is refused
    50: Scenario(what="create 400 {message}", faults={Call.CREATE: ("refused-message", ...)}),
    51: Scenario(what="create 400 {title, detail, …}",
                 faults={Call.CREATE: ("refused-problem", ...)}),
    52: Scenario(what="create 400 {isValid, errors}: the amount",
                 faults={Call.CREATE: ("refused-amount", ...)}),
    53: Scenario(what="create 400 {isValid, errors}: the customer",
                 faults={Call.CREATE: ("refused-customer", ...)}),
    54: Scenario(what="create 400 {isValid, errors}: another property",
                 faults={Call.CREATE: ("refused-property", ...)}),
    55: Scenario(what="create 400 without a body", faults={Call.CREATE: ("refused-empty", ...)}),
    56: Scenario(what="create 422", faults={Call.CREATE: ("refused-422", ...)}),
    57: Scenario(what="create 401, with a new token too",
                 faults={Call.CREATE: ("unauthorised", ...)}),
    58: Scenario(what="create 403", faults={Call.CREATE: ("forbidden", ...)}),
    59: Scenario(what="create 502 with HTML, for ever",
                 faults={Call.CREATE: ("error-502-html", ...)}),
    # Callbacks
    60: Scenario(what="no callback", callbacks=()),
    61: Scenario(what="the callback comes twice", callbacks=(Say(), Say(0.2))),
    62: Scenario(what="approved, and the callback comes before the answer to create",
                 customer=Does(Status.APPROVED, 0.0), early=True),
    63: Scenario(what="the callback comes 8 s late", callbacks=(Say(8.0),)),
    64: Scenario(what="a callback with a wrong signature, and no other",
                 callbacks=(Say(forged=True),)),
    65: Scenario(what="a callback with a wrong signature, then the right one",
                 callbacks=(Say(forged=True), Say(0.5))),
    66: Scenario(what="the callback says declined, whatever the status is",
                 callbacks=(Say(status="declined"),)),
    67: Scenario(what="the callback says approved, whatever the status is",
                 callbacks=(Say(status="approved"),)),
    68: Scenario(what="the callback comes 100 times", callbacks=(Say(),) * 100),
    69: Scenario(what="the callback has an unknown status word, then the right one comes",
                 callbacks=(Say(status="processing"), Say(0.5))),
    # Cancel
    70: Scenario(what="cancel 202, cancelled 2 s later", on_cancel=OnCancel.LATER),
    71: Scenario(what="approved just before the cancel: it answers an error",
                 on_cancel=OnCancel.APPROVED_BEFORE),
    72: Scenario(what="cancel 202, approved 0.5 s later", on_cancel=OnCancel.APPROVED_AFTER),
    73: Scenario(what="cancel 202, pending for 30 s more, then approved",
                 on_cancel=OnCancel.APPROVED_LATE),
    74: Scenario(what="cancel 500 at first, nothing done", faults={Call.CANCEL: ("error-500",)}),
    75: Scenario(what="cancel answer lost, though it was done",
                 faults={Call.CANCEL: ("answer-lost",)}),
    76: Scenario(what="cancel 500 for ever, nothing done",
                 faults={Call.CANCEL: ("error-500", ...)}),
    # Status and order
    80: Scenario(what="status word unknown three times, then right",
                 faults={Call.STATUS: ("unknown-status",) * 3}),
    81: Scenario(what="status 404 three times, then right",
                 faults={Call.STATUS: ("not-found",) * 3}),
    82: Scenario(what="status 500, every second time",
                 faults={Call.STATUS: ("error-500", "") * 30}),
    83: Scenario(what="status says pending, for ever", faults={Call.STATUS: ("pending-again", ...)}),
    84: Scenario(what="status and order tell of another order",
                 faults={Call.STATUS: ("another-order", ...), Call.ORDER: ("another-order", ...)}),
    85: Scenario(what="status and order tell one cent more",
                 faults={Call.STATUS: ("amount-wrong", ...), Call.ORDER: ("amount-wrong", ...)}),
    86: Scenario(what='status and order tell the amount as text: "12.86"',
                 faults={Call.STATUS: ("amount-text", ...), Call.ORDER: ("amount-text", ...)}),
    87: Scenario(what="status 401 at first: a new token is needed",
                 faults={Call.STATUS: ("unauthorised",)}),
    88: Scenario(what="status 429 with Retry-After: 2 at first",
                 faults={Call.STATUS: ("too-many",)}),
    89: Scenario(what="status 200 with HTML at first", faults={Call.STATUS: ("html",)}),
    # Refund
    90: Scenario(what="refund 500 at first, nothing done", faults={Call.REFUND: ("error-500",)}),
    91: Scenario(what="refund answer lost, though it was done",
                 faults={Call.REFUND: ("answer-lost",)}),
    92: Scenario(what="refund 500, though it was done",
                 faults={Call.REFUND: ("error-500-done",)}),
    93: Scenario(what="refund 400 {message}", faults={Call.REFUND: ("refused-message", ...)}),
    94: Scenario(what="refund 429 with Retry-After: 2 at first",
                 faults={Call.REFUND: ("too-many",)}),
    95: Scenario(what="refund 502 with HTML five times, nothing done",
                 faults={Call.REFUND: ("error-502-html",) * 5}),
    # All of it
    99: Scenario(what="every call answers after 3 s",
                 faults={call: ("slow", ...) for call in Call if call is not Call.TOKEN}),
}  # fmt: skip

GROUPS: Mapping[int, str] = {
    0: "The customer",
    10: "What create answers",
    30: "Create goes wrong at first",
    50: "Create is refused, or never works",
    60: "Callbacks, once the order is final",
    70: "Cancel",
    80: "Status and order calls",
    90: "Refund",
    99: "All calls",
}


def scenario_for(amount_minor: int) -> Scenario:
    """The row that the amount's cents choose; row 00 where there is none."""
    return SCENARIOS.get(amount_minor % 100, SCENARIOS[0])


def grouped() -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """The table of cents in order: a group's heading with its rows (cents, what)."""
    starts = sorted(GROUPS)
    for start, following in zip(starts, [*starts[1:], 100], strict=True):
        rows = [(c, s.what) for c, s in sorted(SCENARIOS.items()) if start <= c < following]
        yield GROUPS[start], rows


def cents_table() -> str:
    """The table of cents, for README.md."""
    lines = ["| cents | what happens |", "| --- | --- |"]
    for heading, rows in grouped():
        lines.append(f"| | **{heading}** |")
        lines += [f"| .{cents:02d} | {what} |" for cents, what in rows]
    return "\n".join(lines)


def faults_table() -> str:
    """The table of faults, for README.md."""
    lines = ["| fault | what happens |", "| --- | --- |"]
    lines += [f"| `{name}` | {fault.what} |" for name, fault in FAULTS.items()]
    return "\n".join(lines)
