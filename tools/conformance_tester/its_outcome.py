"""Rules of OUTCOME and STORED (link, 4.11, 4.12, 4.14): what a terminal keeps, and says that it keeps.

Rules
- STORED is the one thing that the bridge believes; a wrong one loses money. So it is tried often.
- Outcomes of counters that the terminal does not know need nobody to key a sale.
"""

from __future__ import annotations

from drivers.link.messages import RESPONSE_CODES, Cancel, Hello, Stored, Tender
from tools.conformance_tester.bench import REACT_S, SAY_AGAIN_S, Bench, Broken, Sale

REMEMBERED = 8
"""A terminal remembers its last eight counters (4.12)."""


def approved(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.end(sale, "00")
    _booked(bench, sale, "after an OUTCOME 00 with its amount")


def not_approved(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.end(sale, "05")
    bench.look(
        "sees",
        "ended",
        str(sale.counter),
        question=f"Has sale {sale.counter} ended, without being booked?",
        otherwise="a sale that was declined is booked, or still open",
    )


def _booked(bench: Bench, sale: Sale, after: str) -> None:
    bench.look(
        "sees",
        "booked",
        str(sale.counter),
        question=f"Is sale {sale.counter} booked as approved?",
        otherwise=f"the sale is not booked {after}",
    )


def before_accepted(bench: Bench) -> None:
    sale = bench.sale()
    bench.outcome(sale, "00")
    bench.stored(sale.counter, "00", after="after an OUTCOME that came before any ACCEPTED")
    bench.pass_by()
    bench.never(Tender, SAY_AGAIN_S + REACT_S, after="after OUTCOME")
    _booked(bench, sale, "after an OUTCOME 00 that came before any ACCEPTED")


def unknown_counters(bench: Bench) -> None:
    for code in sorted(RESPONSE_CODES):
        outcome = bench.outcome_for(bench.unknown_counter(), code, bench.next_amount())
        bench.say(outcome)
        bench.stored(outcome.counter, code, after="after an OUTCOME for a counter it does not know")
    bench.look(
        "sees",
        "unknown",
        str(outcome.counter),
        question=f"Does it show that {outcome.counter}, which it does not know, has an outcome?",
        otherwise="an OUTCOME for a counter that it does not know is shown to nobody",
    )


def repeated(bench: Bench) -> None:
    sale = bench.accepted_sale()
    outcome = bench.outcome(sale, "00")
    for _ in range(3):
        bench.stored(sale.counter, "00", after="after an OUTCOME that is said again")
        bench.say(outcome)
    bench.stored(sale.counter, "00", after="after an OUTCOME that is said again")


def other_code(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.end(sale, "00")
    bench.outcome(sale, "17")
    bench.stored(sale.counter, "00", after="after an OUTCOME with another 8A than the first one's")
    _booked(bench, sale, "once an OUTCOME with another 8A has come")


def last_eight(bench: Bench) -> None:
    counters = [bench.unknown_counter() for _ in range(REMEMBERED)]
    for counter in counters:
        bench.say(bench.outcome_for(counter, "05", bench.next_amount()))
        bench.stored(counter, "05")
    for counter in counters:
        bench.say(bench.outcome_for(counter, "17", bench.next_amount()))
        bench.stored(counter, "05", after="after another 8A for one of its last eight counters")


def through_power_cut(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.end(sale, "00")
    sentence = "Cut the terminal's power, and give it back."
    bench.pass_by()
    bench.do("power-cycle", sentence=sentence)
    bench.comes(Hello, sentence)
    bench.wait(0.2)
    bench.outcome(sale, "17")
    bench.stored(sale.counter, "00", after="after a power cut and an OUTCOME with another 8A")


def other_amount(bench: Bench) -> None:
    sale = bench.accepted_sale()
    bench.outcome(sale, "00", amount_minor=sale.amount_minor + 100)
    bench.stored(sale.counter, "00", after="after a 00 with another amount")
    bench.look(
        "sees",
        "unbooked",
        str(sale.counter),
        question=f"Does it show that {sale.counter} was approved for another amount, not booked?",
        otherwise="a 00 with another amount was booked, or nobody is told",
    )
    other = bench.accepted_sale()
    bench.end(other)


def after_cancel(bench: Bench) -> None:
    sale = bench.accepted_sale()
    sentence = "Cancel the sale at the terminal."
    bench.do("cancel", sentence=sentence)
    bench.comes(Cancel, sentence)
    bench.progress(sale)
    bench.end(sale, "00")
    _booked(bench, sale, "after a 00 that was quicker than its CANCEL")
    bench.pass_by()
    bench.never(Cancel, SAY_AGAIN_S + REACT_S, after="after OUTCOME")


def not_alone(bench: Bench) -> None:
    """An outcome that is not stored hinders no new sale, and the other way round."""
    sale = bench.accepted_sale()
    strange = bench.outcome_for(bench.unknown_counter(), "91", bench.next_amount())
    bench.say(strange)
    heard = bench.stored(strange.counter, "91", after="while a sale is open")
    later = [h for h in bench.heard_since(heard) if isinstance(h.message, Stored)]
    if later:
        raise Broken("STORED came twice for one OUTCOME")
    bench.progress(sale)
    bench.end(sale, "00")
    _booked(bench, sale, "after an outcome of another counter came meanwhile")
