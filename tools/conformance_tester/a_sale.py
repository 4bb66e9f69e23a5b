"""Rules of a sale until its outcome (link, 4.5 to 4.10 and 4.14 to 4.16).

Rules
- Whether a sale is still open at the terminal is seen on the line: after a WELCOME a terminal says
  the TENDER that was not accepted, and within 15 s of silence QUERY for the one that was.
- Every rule ends the sale that it began, so that the next one finds an idle terminal.
"""

from __future__ import annotations

from drivers.link.messages import (
    CURRENCY_NZD,
    Accepted,
    Cancel,
    Hello,
    Ping,
    Progress,
    Query,
    Reason,
    Refused,
    Stored,
    Tender,
)
from tools.conformance_tester.bench import (
    LIFE_S,
    REACT_S,
    SAY_AGAIN_S,
    SILENCE_S,
    Bench,
    Broken,
    Heard,
    Sale,
)

PATIENCE_S = 60.0
"""CANCEL and QUERY are said every 3 s for so long, then every 60 s (4.8)."""

ENDS_TENDER = (
    Reason.NOT_PAIRED,
    Reason.BUSY,
    Reason.BAD_AMOUNT,
    Reason.UNKNOWN_MERCHANT,
    Reason.CANNOT_WRITE,
)
ENDS_NO_TENDER = (Reason.NO_SUCH_TRANSACTION, Reason.NOT_REFUNDABLE)

COUNTER_JUMP = 25


def _again(bench: Bench, sale: Sale, last_at_s: float, *, after: str) -> Heard:
    """The same TENDER, about 3 s after the last one."""
    heard = bench.expect(
        Tender,
        SAY_AGAIN_S + REACT_S,
        where=lambda tender: tender.counter == sale.counter,
        after=after,
    )
    took_s = heard.at_s - last_at_s
    if took_s < SAY_AGAIN_S - 0.5 - bench.slack_s:
        raise Broken(f"TENDER came again after {took_s:.3f} s {after}; 3 s is right")
    if heard.message != sale.said:
        raise Broken(f"TENDER came again as {heard.message}; it was {sale.said}")
    return heard


def content(bench: Bench) -> None:
    sale = bench.sale()
    said = sale.said
    if isinstance(said, Tender) and said.currency != CURRENCY_NZD:
        raise Broken(f"TENDER has currency {said.currency}; the link has 554 alone")
    bench.accepted(sale)
    bench.end(sale)


def above_welcome(bench: Bench) -> None:
    first = bench.accepted_sale()
    bench.end(first)
    bench.knows.highest += COUNTER_JUMP
    told = bench.knows.highest
    bench.greet()
    sale = bench.sale()
    if sale.counter <= told:
        raise Broken(f"TENDER has counter {sale.counter}; WELCOME had said {told}")
    bench.accepted(sale)
    bench.end(sale)


def said_again(bench: Bench) -> None:
    sale = bench.sale()
    last = sale.first
    for _ in range(3):
        bench.never(Query, 0, after="without ACCEPTED")
        last = _again(bench, sale, last.at_s, after="without ACCEPTED")
    bench.accepted(sale)
    bench.pass_by()
    bench.never(Tender, SAY_AGAIN_S + REACT_S, after="after ACCEPTED")
    bench.end(sale)


def after_refused_6(bench: Bench) -> None:
    sale = bench.sale()
    bench.refused(sale.first, Reason.NOT_UNDERSTOOD)
    _again(bench, sale, sale.first.at_s, after="after REFUSED 6")
    bench.accepted(sale)
    bench.end(sale)


def _power_cut(bench: Bench) -> None:
    sentence = "Cut the terminal's power, and give it back."
    bench.pass_by()
    bench.do("power-cycle", sentence=sentence)
    bench.comes(Hello, sentence)


def through_power_cut(bench: Bench) -> None:
    sale = bench.sale()
    _power_cut(bench)
    heard = bench.expect(
        Tender,
        SAY_AGAIN_S + REACT_S,
        where=lambda tender: tender.counter == sale.counter,
        after="after a power cut between TENDER and ACCEPTED",
    )
    if heard.message != sale.said:
        raise Broken(f"TENDER came again as {heard.message}; it was {sale.said}")
    bench.accepted(sale)
    bench.end(sale)
    other = bench.sale()
    if other.counter <= sale.counter:
        raise Broken(f"after a power cut counter {other.counter} was used, after {sale.counter}")
    bench.accepted(other)
    bench.end(other)


def one_open(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.pass_by()
    amount = bench.next_amount()
    bench.tried(
        "sale",
        str(amount),
        sentence=f"Try to key a second sale, of {amount // 100}.{amount % 100:02d}, now.",
    )
    bench.never(
        Tender,
        SAY_AGAIN_S + REACT_S,
        where=lambda tender: tender.counter != sale.counter,
        after="while a TENDER is open",
    )
    bench.end(sale)


# What the bridge says of it


def _cancelled(bench: Bench, counter: int, *, after: str) -> None:
    bench.expect(Cancel, REACT_S, where=lambda cancel: cancel.counter == counter, after=after)


def accepted_other_amount(bench: Bench) -> None:
    sale = bench.sale()
    bench.accepted(sale, amount_minor=sale.amount_minor + 1)
    _cancelled(bench, sale.counter, after="after ACCEPTED with another amount")
    bench.end(sale)


def accepted_other_currency(bench: Bench) -> None:
    sale = bench.sale()
    bench.accepted(sale, currency=36)
    _cancelled(bench, sale.counter, after="after ACCEPTED with another currency")
    bench.end(sale)


def progress_other_amount(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.progress(sale, amount_minor=sale.amount_minor + 1)
    _cancelled(bench, sale.counter, after="after PROGRESS with another amount")
    bench.end(sale)


def unknown_counter(bench: Bench) -> None:
    me, amount = bench.terminal_id, bench.next_amount()
    strange = bench.unknown_counter()
    _asked_for(bench, Accepted(me, strange, amount, CURRENCY_NZD, LIFE_S))
    _asked_for(bench, Progress(me, bench.unknown_counter(), amount, "TEST", LIFE_S))


def _asked_for(bench: Bench, said: Accepted | Progress) -> None:
    """Nobody here has said a TENDER of that counter: CANCEL, until it has an answer."""
    bench.pass_by()
    bench.say(said)
    after = f"after {said.type_name} for a counter that is not open"
    _cancelled(bench, said.counter, after=after)
    bench.refused(bench.last(Cancel), Reason.NO_SUCH_TRANSACTION)
    bench.pass_by()
    bench.never(
        Cancel,
        SAY_AGAIN_S + REACT_S,
        where=lambda cancel: cancel.counter == said.counter,
        after="after REFUSED 2 to CANCEL",
    )


# CANCEL


def _cancel(bench: Bench, sale: Sale) -> Heard:
    sentence = "Cancel the sale at the terminal."
    bench.do("cancel", sentence=sentence)
    return bench.comes(Cancel, sentence, where=lambda cancel: cancel.counter == sale.counter)


def cancel_again(bench: Bench) -> None:
    sale = bench.accepted_sale()
    last = _cancel(bench, sale)
    bench.progress(sale)
    for _ in range(2):
        heard = bench.expect(Cancel, SAY_AGAIN_S + REACT_S, after="after CANCEL and PROGRESS")
        took_s = heard.at_s - last.at_s
        if took_s < SAY_AGAIN_S - 0.5 - bench.slack_s:
            raise Broken(f"CANCEL came again after {took_s:.3f} s; 3 s is right")
        last = heard
    bench.greet()
    bench.expect(Cancel, REACT_S, after="after WELCOME, with a CANCEL that has no answer")
    bench.end(sale)
    bench.pass_by()
    bench.never(Cancel, SAY_AGAIN_S + REACT_S, after="after OUTCOME")


def cancel_slowly(bench: Bench) -> None:
    sale = bench.accepted_sale()
    first = _cancel(bench, sale)
    while bench.now < first.at_s + PATIENCE_S + SAY_AGAIN_S:
        bench.wait(5.0)
        bench.progress(sale)
    bench.pass_by()
    came = 0
    until = bench.now + 65.0
    while bench.now < until:
        came += bench.perhaps(Cancel, min(9.0, until - bench.now)) is not None
        bench.progress(sale)
    if not 1 <= came <= 2:
        raise Broken(f"after a minute CANCEL came {came} times in 65 s; every 60 s is right")
    bench.end(sale)


def no_tender_after_cancel(bench: Bench) -> None:
    sale = bench.sale()
    _cancel(bench, sale)
    bench.pass_by()
    bench.never(Tender, 2 * SAY_AGAIN_S, after="after CANCEL")
    bench.greet()
    bench.never(Tender, SAY_AGAIN_S, after="after CANCEL and WELCOME")
    bench.end(sale)


def cancel_refused_2(bench: Bench) -> None:
    sale = bench.sale()
    asked = _cancel(bench, sale)
    bench.refused(asked, Reason.NO_SUCH_TRANSACTION)
    bench.over(sale)
    _stays_over(bench, sale, "REFUSED 2 to its CANCEL, before any ACCEPTED")
    other = bench.accepted_sale()
    bench.end(other)


def cancel_refused_2_late(bench: Bench) -> None:
    sale = bench.accepted_sale()
    asked = _cancel(bench, sale)
    bench.refused(asked, Reason.NO_SUCH_TRANSACTION)
    _still_open(bench, sale, "REFUSED 2 to its CANCEL, after ACCEPTED")
    bench.end(sale, "00")


def _stays_over(bench: Bench, sale: Sale, after: str) -> None:
    bench.wait(0.2)
    bench.greet()
    bench.never(
        (Tender, Cancel, Query),
        SAY_AGAIN_S + REACT_S,
        where=lambda said: said.counter == sale.counter,
        after=f"after {after}, which ends the sale,",
    )


def _still_open(bench: Bench, sale: Sale, after: str) -> None:
    """An accepted sale that is open is asked about after 15 s of silence."""
    with bench.manners(tells=False):
        heard = bench.perhaps(
            Query,
            SILENCE_S + SAY_AGAIN_S + REACT_S,
            where=lambda query: query.counter in (sale.counter, None),
        )
    if heard is None:
        raise Broken(
            f"no QUERY within 15 s of silence after {after}: the sale has ended, and must not"
        )
    bench.progress(sale)


# REFUSED


def refused_ends(bench: Bench) -> None:
    for reason in ENDS_TENDER:
        sale = bench.sale()
        bench.refused(sale.first, reason)
        bench.over(sale)
        _stays_over(bench, sale, f"REFUSED {int(reason)}")


def refused_ends_not(bench: Bench) -> None:
    sale = bench.sale()
    for reason in ENDS_NO_TENDER:
        bench.refused(bench.last(Tender), reason)
        bench.wait(0.2)
        bench.greet()
        heard = bench.expect(
            Tender,
            SAY_AGAIN_S + REACT_S,
            where=lambda tender: tender.counter == sale.counter,
            after=f"after REFUSED {int(reason)}, which ends no sale, and WELCOME",
        )
        if heard.message != sale.said:
            raise Broken(f"TENDER came again as {heard.message}; it was {sale.said}")
    bench.accepted(sale)
    bench.end(sale)


def refused_another(bench: Bench) -> None:
    sale = bench.sale()
    last = sale.first
    for refused in (bytes((Ping.type_code, 1)), bytes((Query.type_code, 1)), bytes(2)):
        bench.say(Refused(Reason.NOT_PAIRED, refused, "TEST another message", bench.terminal_id))
        after = f"after a REFUSED 1 whose DF0C is {refused.hex()}, another message,"
        last = _again(bench, sale, last.at_s, after=after)
    bench.accepted(sale)
    bench.end(sale)


def refused_late(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.refused(sale.first, Reason.BAD_AMOUNT)
    _still_open(bench, sale, "a REFUSED 5 that came after ACCEPTED")
    asked = bench.last(Query)
    bench.refused(asked, Reason.NO_SUCH_TRANSACTION)
    _still_open(bench, sale, "REFUSED 2 to its QUERY")
    bench.end(sale, "00")


def _queried(bench: Bench, sale: Sale, *, after: str) -> Heard:
    return bench.expect(
        Query, REACT_S, where=lambda query: query.counter == sale.counter, after=after
    )


def refused_3_first(bench: Bench) -> None:
    sale = bench.sale()
    with bench.manners(tells=False):
        bench.refused(sale.first, Reason.COUNTER_USED)
        _queried(bench, sale, after="after REFUSED 3")
        bench.progress(sale)
    bench.pass_by()
    counter = str(sale.counter)
    bench.look(
        "sees",
        "decide",
        counter,
        question=f"Does it ask whether the bridge's sale {counter} is this one?",
        otherwise="after REFUSED 3 to the first TENDER, and a sale of that amount, nobody is asked",
    )
    bench.never(Tender, SAY_AGAIN_S, after="before a person has decided")
    sentence = f"Say at the terminal that sale {counter} is not this one."
    bench.do("decide", counter, "no", sentence=sentence)
    heard = bench.comes(Tender, sentence)
    _under_new_counter(bench, sale, heard)


def refused_3_other_amount(bench: Bench) -> None:
    sale = bench.sale()
    with bench.manners(tells=False):
        bench.refused(sale.first, Reason.COUNTER_USED)
        _queried(bench, sale, after="after REFUSED 3")
        bench.outcome(sale, "00", amount_minor=sale.amount_minor + 100)
    heard = bench.expect(
        Tender,
        SAY_AGAIN_S + REACT_S,
        after="after REFUSED 3 and an OUTCOME with another amount: it takes a higher counter",
    )
    _under_new_counter(bench, sale, heard)


def refused_3_unknown(bench: Bench) -> None:
    sale = bench.sale()
    with bench.manners(tells=False):
        bench.refused(sale.first, Reason.COUNTER_USED)
        asked = _queried(bench, sale, after="after REFUSED 3")
        bench.refused(asked, Reason.NO_SUCH_TRANSACTION)
    heard = bench.expect(
        Tender,
        SAY_AGAIN_S + REACT_S,
        after="after REFUSED 3 and REFUSED 2 to QUERY: it takes a higher counter",
    )
    _under_new_counter(bench, sale, heard)


def refused_3_again(bench: Bench) -> None:
    sale = bench.sale()
    again = _again(bench, sale, sale.first.at_s, after="without ACCEPTED")
    with bench.manners(tells=False):
        bench.refused(again, Reason.COUNTER_USED)
        _queried(bench, sale, after="after REFUSED 3")
        bench.outcome(sale, "00")
    bench.stored(sale.counter, "00", after="after the OUTCOME of a sale that was refused by 3")
    bench.look(
        "sees",
        "booked",
        str(sale.counter),
        question=f"Is sale {sale.counter} booked as approved?",
        otherwise="a 00 with its own amount, after REFUSED 3 to a repeated TENDER, was not booked",
    )
    bench.never(Tender, SAY_AGAIN_S + REACT_S, after="after its OUTCOME")


def _under_new_counter(bench: Bench, sale: Sale, heard: Heard) -> None:
    said, before = heard.message, sale.said
    assert isinstance(said, Tender) and isinstance(before, Tender)
    if said.counter <= before.counter:
        raise Broken(
            f"TENDER has counter {said.counter}, where one above {before.counter} is right"
        )
    mine = (said.amount_minor, said.currency, said.merchant, said.reference)
    if mine != (before.amount_minor, before.currency, before.merchant, before.reference):
        raise Broken(f"under its new counter the TENDER is {said}; it was {before}")
    bench.over(sale)
    other = bench.knows.sales[said.counter]
    bench.accepted(other)
    bench.end(other)


# Silence


def query_in_silence(bench: Bench) -> None:
    sale = bench.accepted_sale()
    quiet_since = bench.now
    with bench.manners(tells=False):
        last = bench.expect(
            Query,
            SILENCE_S + REACT_S,
            where=lambda query: query.counter in (sale.counter, None),
            after="in silence, with a sale open",
        )
        took_s = last.at_s - quiet_since
        if took_s < SILENCE_S - 1 - bench.slack_s:
            raise Broken(f"QUERY came after {took_s:.1f} s of silence; 15 s is right")
        for _ in range(2):
            heard = bench.expect(Query, SAY_AGAIN_S + REACT_S, after="after a QUERY without answer")
            took_s = heard.at_s - last.at_s
            if took_s < SAY_AGAIN_S - 0.5 - bench.slack_s:
                raise Broken(f"QUERY came again after {took_s:.3f} s; 3 s is right")
            last = heard
        bench.progress(sale)
        bench.pass_by()
        bench.never(Query, 2 * SAY_AGAIN_S, after="after its answer, PROGRESS")
    bench.end(sale)


def decides_nothing(bench: Bench) -> None:
    sale = bench.accepted_sale()
    with bench.manners(tells=False):
        bench.never(Stored, PATIENCE_S + 10, after="without OUTCOME")
    bench.outcome(sale, "00")
    bench.stored(sale.counter, "00", after="after a 00 that came late")
    bench.look(
        "sees",
        "booked",
        str(sale.counter),
        question=f"Is sale {sale.counter} booked as approved?",
        otherwise="a 00 that came after a minute of silence was not booked",
    )


def needs_only_hello(bench: Bench) -> None:
    sale = bench.accepted_sale()
    _power_cut(bench)
    bench.wait(0.2)
    bench.accepted(sale)
    bench.progress(sale)
    bench.never(Cancel, REACT_S, after="after ACCEPTED of a sale from before the power cut")
    bench.end(sale, "00")
    bench.look(
        "sees",
        "booked",
        str(sale.counter),
        question=f"Is sale {sale.counter} booked as approved?",
        otherwise="the 00 of a sale from before a power cut was not booked",
    )
