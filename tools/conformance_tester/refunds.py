"""Rules of a REFUND (link, 4.5, 4.8, 4.9, 4.15, 4.17), for terminals that can.

Rules
- A terminal that has no refunds says so through its operator; nothing here is checked then.
- The original is always a sale of the same run that was approved.
"""

from __future__ import annotations

from typing import cast

from drivers.link.messages import Cancel, Hello, Query, Reason, Refund
from tools.conformance_tester.bench import (
    REACT_S,
    SAY_AGAIN_S,
    Bench,
    Broken,
    Sale,
)

ENDS_REFUND = (Reason.NO_SUCH_TRANSACTION, Reason.NOT_REFUNDABLE, Reason.CANNOT_WRITE)


def _original(bench: Bench) -> Sale:
    sale = bench.accepted_sale()
    bench.end(sale, "00")
    return sale


def _refund(bench: Bench, original: Sale) -> Sale:
    amount = original.amount_minor // 2
    sentence = (
        f"Key a refund of {amount // 100}.{amount % 100:02d} of the sale with counter "
        f"{original.counter} at the terminal."
    )
    bench.pass_by()
    bench.do("refund", str(original.counter), str(amount), sentence=sentence)
    heard = bench.comes(Refund, sentence)
    said = cast(Refund, heard.message)
    if (said.original_counter, said.amount_minor) != (original.counter, amount):
        raise Broken(f"REFUND is {said}; {amount} of {original.counter} was keyed")
    if said.counter <= original.counter:
        raise Broken(
            f"REFUND has counter {said.counter}, after {original.counter}: it has to be above"
        )
    return bench.knows.sales[said.counter]


def a_refund(bench: Bench) -> None:
    original = _original(bench)
    refund = _refund(bench, original)
    bench.accepted(refund, seconds_left=0)
    bench.progress(refund, seconds_left=0)
    bench.never(Cancel, 0.5, after="after ACCEPTED and PROGRESS of a refund")
    bench.end(refund, "00")
    bench.look(
        "sees",
        "booked",
        str(refund.counter),
        question=f"Is refund {refund.counter} booked as approved?",
        otherwise="a refund that was approved is not booked",
    )


def said_again(bench: Bench) -> None:
    original = _original(bench)
    refund = _refund(bench, original)
    heard = bench.expect(Refund, SAY_AGAIN_S + REACT_S, after="without ACCEPTED")
    if heard.message != refund.said:
        raise Broken(f"REFUND came again as {heard.message}; it was {refund.said}")
    bench.accepted(refund, seconds_left=0)
    bench.end(refund, "00")


def refused(bench: Bench) -> None:
    original = _original(bench)
    for reason in ENDS_REFUND:
        _ended_by(bench, _refund(bench, original), reason)


def _ended_by(bench: Bench, refund: Sale, reason: Reason) -> None:
    bench.refused(refund.first, reason)
    bench.over(refund)
    bench.wait(0.2)
    bench.greet()
    bench.never(
        (Refund, Query),
        SAY_AGAIN_S + REACT_S,
        where=lambda said: said.counter == refund.counter,
        after=f"after REFUSED {int(reason)}, which ends a refund,",
    )


def beside_a_sale(bench: Bench) -> None:
    original = _original(bench)
    sale = bench.accepted_sale()
    refund = _refund(bench, original)
    bench.accepted(refund, seconds_left=0)
    bench.end(sale, "00")
    # Its result is not known yet; the next sale is not held up.
    other = bench.accepted_sale()
    bench.end(other)
    sentence = "Cut the terminal's power, and give it back."
    bench.pass_by()
    if bench.tried("power-cycle", sentence=sentence):
        bench.comes(Hello, sentence)
        bench.wait(0.2)
        bench.accepted(refund, seconds_left=0)
    bench.end(refund, "00")
