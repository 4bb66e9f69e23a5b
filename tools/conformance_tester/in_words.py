"""Rules of numbers and words (link, section 3): what a terminal makes of a body.

Rules
- What is to be taken, or not, is an OUTCOME of a counter that the terminal does not know: STORED
  says that it was taken.
- The frame around it is always right, and always acknowledged.
"""

from __future__ import annotations

from drivers.link.messages import DisplayText, Hello, Outcome, Stored, Tender
from tools.conformance_tester.bench import (
    AGAIN_LATE_S,
    HELLO_AGAIN_S,
    NO_ANSWER_S,
    REACT_S,
    SAY_AGAIN_S,
    SENT_TIMES,
    Bench,
)
from tools.conformance_tester.craft import (
    FOREIGN,
    UNKNOWN_LONG,
    UNKNOWN_SHORT,
    Body,
    swapped_amount,
)

WRAP_MESSAGES = 260
"""So many that both numberings go round."""

LONG_TEXT = "TEST Kāore i whakaaetia\n" + "€" * 42 + "..\nC:\\new"
"""160 bytes, with line breaks, long characters and a backslash."""


def _outcome(bench: Bench) -> Outcome:
    return bench.outcome_for(bench.unknown_counter(), "05", bench.next_amount())


def _taken(bench: Bench, change: str, body: bytes, outcome: Outcome) -> None:
    bench.means(outcome)
    bench.say_body(body, f"OUTCOME {change}")
    bench.stored(outcome.counter, outcome.response_code, after=f"after an OUTCOME {change}")


def _apart(bench: Bench, outcome: Outcome) -> Body:
    return bench.craft.apart(bench.body(outcome))


def duplicate(bench: Bench) -> None:
    outcome = _outcome(bench)
    frame = bench.say(outcome)
    bench.stored(outcome.counter, "05")
    bench.deliver(frame, "the same frame again")
    bench.never(Stored, REACT_S, after="after the same frame again")
    # The same message with a new number is no duplicate.
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after the same OUTCOME with a new number")


def afresh(bench: Bench) -> None:
    before = bench.knows.highest or None
    with bench.manners(welcomes=False):
        bench.greet()
        first = bench.welcome(local_time=120000, counter=before)
        with bench.manners(acks=False):
            sale = bench.sale()
            bench.copies(sale.first, SENT_TIMES, SENT_TIMES * (NO_ANSWER_S + AGAIN_LATE_S))
            bench.wait(NO_ANSWER_S / 2)
        bench.expect(Hello, NO_ANSWER_S + HELLO_AGAIN_S, after="after TENDER was given up")
        # The last message that the terminal took is the first WELCOME: these are its bytes again.
        second = bench.welcome(local_time=120000, counter=before)
    assert first == second
    bench.pass_by()
    bench.expect(
        Tender,
        SAY_AGAIN_S + REACT_S,
        where=lambda tender: tender.counter == sale.counter,
        after="after a WELCOME with the same bytes as the one before that HELLO",
    )
    bench.accepted(sale)
    bench.end(sale)


def wraps(bench: Bench) -> None:
    for _ in range(WRAP_MESSAGES):
        outcome = _outcome(bench)
        bench.say(outcome)
        bench.stored(outcome.counter, "05", after="while the numbers go round")


def any_order(bench: Bench) -> None:
    outcome = _outcome(bench)
    apart = _apart(bench, outcome)
    body = bench.craft.together(apart.with_pieces(list(reversed(apart.pieces))))
    _taken(bench, "with its objects in reverse order", body, outcome)


def unknown_objects(bench: Bench) -> None:
    craft = bench.craft
    outcome = _outcome(bench)
    apart = _apart(bench, outcome)
    strange = [craft.object(UNKNOWN_SHORT, b"1"), craft.object(UNKNOWN_LONG, b"x" * 130)]
    body = craft.together(apart.with_pieces([*strange, *apart.pieces, strange[1]]))
    _taken(bench, "with objects of no table", body, outcome)


def foreign_objects(bench: Bench) -> None:
    outcome = _outcome(bench)
    native = bench.craft.object(FOREIGN, b"\x07")
    text = bench.craft.object(FOREIGN, b"7")
    piece = text if bench.dialect.encoding.printable else native
    body = bench.craft.together(_apart(bench, outcome).plus(piece))
    _taken(bench, "with an object of another message", body, outcome)


def not_understood(bench: Bench) -> None:
    outcome = _outcome(bench)
    for what, body in bench.craft.wrong_bodies(bench.body(outcome)):
        bench.say_body(body, f"OUTCOME {what}")
        bench.never(Stored, 0.3, after=f"after an OUTCOME {what}")
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after a right OUTCOME")


def text_check(bench: Bench) -> None:
    outcome = bench.outcome_for(bench.unknown_counter(), "05", 123_45)
    body = swapped_amount(bench.body(outcome))
    bench.say_body(body, "OUTCOME with two digits of its amount swapped: the LRC is right")
    bench.never(Stored, REACT_S, after="after an OUTCOME whose DF7E is wrong")


def text(bench: Bench) -> None:
    bench.say(DisplayText(LONG_TEXT))
    bench.look(
        "sees",
        "text",
        LONG_TEXT,
        question=f"Does the panel show this text (as far as it fits)? {LONG_TEXT!r}",
        otherwise="a text of 160 bytes was not shown",
    )
    outcome = _outcome(bench)
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after a text of 160 bytes")
