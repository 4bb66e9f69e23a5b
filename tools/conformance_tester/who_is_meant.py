"""Rules of HELLO and WELCOME (link, 4.1 to 4.4): who speaks, and with whose journal.

Rules
- Every rule ends with a terminal that is welcomed by the usual journal again.
- What "shows that to a person" means on a device, somebody has to look at: a Sight.
"""

from __future__ import annotations

from drivers.link.messages import (
    Accepted,
    Cancel,
    Hello,
    ImageOpen,
    ImageStatus,
    Progress,
    Query,
    Reason,
    Refund,
    Refused,
    Stored,
    Tender,
)
from tools.conformance_tester.bench import (
    HELLO_AGAIN_S,
    LIFE_S,
    REACT_S,
    SAY_AGAIN_S,
    Bench,
    Broken,
    Heard,
    Sale,
)

HELLO_UNPAIRED_S = 60.0
ALL_BUT_HELLO = (Tender, Refund, Cancel, Query, Stored, ImageStatus)
"""What a terminal does not say while it is not welcomed, or not paired."""

OTHER_TERMINAL = "ZZZZZZZZ"


def on_identify(bench: Bench) -> None:
    hello = bench.greet()
    if hello.sequence != 1:
        raise Broken(f"HELLO has number {hello.sequence}; it always has 1")


def every_5_s(bench: Bench) -> None:
    with bench.manners(welcomes=False):
        last = bench.greet()
        for _ in range(3):
            heard = bench.expect(
                Hello, HELLO_AGAIN_S + REACT_S, after="after a HELLO without WELCOME"
            )
            took_s = heard.at_s - last.at_s
            if took_s < HELLO_AGAIN_S - 0.5 - bench.slack_s:
                raise Broken(f"HELLO came again after {took_s:.3f} s; 5 s is right")
            last = heard
    bench.welcome()
    bench.pass_by()
    bench.never(Hello, HELLO_AGAIN_S + REACT_S, after="after WELCOME")


def nothing_else(bench: Bench) -> None:
    sale = bench.sale()
    with bench.manners(welcomes=False, tells=False):
        bench.greet()
        bench.never(
            (Tender, Refund, Cancel, Query, Stored, ImageStatus),
            2 * SAY_AGAIN_S + 0.5,
            after="between HELLO and WELCOME",
        )
        bench.welcome()
    bench.expect(Tender, SAY_AGAIN_S + REACT_S, after="after WELCOME")
    bench.accepted(sale)
    bench.end(sale)


def on_refused_9_and_11(bench: Bench) -> None:
    for reason in (Reason.SAY_HELLO, Reason.NOT_AUTHENTICATED):
        sale = bench.sale()
        bench.refused(sale.first, reason)
        bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after=f"after REFUSED {int(reason)}")
        heard = bench.expect(
            Tender, SAY_AGAIN_S + REACT_S, after=f"after REFUSED {int(reason)} and WELCOME"
        )
        _same(sale, heard)
        bench.accepted(sale)
        bench.end(sale)


def _same(sale: Sale, heard: Heard) -> None:
    if heard.message != sale.said:
        raise Broken(f"the TENDER was {sale.said}, and is {heard.message} when it is sent again")


def power_up(bench: Bench) -> None:
    sentence = "Cut the terminal's power, and give it back."
    bench.pass_by()
    bench.do("power-cycle", sentence=sentence)
    hello = bench.comes(Hello, sentence)
    if hello.sequence != 1:
        raise Broken(f"HELLO has number {hello.sequence} after power-up; it always has 1")


def cable_back(bench: Bench) -> None:
    sentence = "Pull the terminal's cable, wait two seconds, and put it back."
    bench.pass_by()
    bench.do("replug", sentence=sentence)
    if bench.perhaps(Hello, max(bench.operator.patience_s / 2, HELLO_AGAIN_S)) is None:
        # Nobody can see a wire of three pulled; the bridge asks when its own end comes back.
        bench.greet()
        bench.notes.append("it does not notice its cable; IDENTIFY brings its HELLO")


def another_terminal(bench: Bench) -> None:
    sale = bench.sale()
    other, counter, amount = OTHER_TERMINAL, sale.counter, sale.amount_minor
    outcome = bench.outcome_for(counter, "00", amount, terminal_id=other)
    image = ImageOpen(bench.next_image_id(), 1, 8, 8, 8, 0, other, counter)
    for message in (
        Accepted(other, counter, amount, sale.currency, LIFE_S),
        Refused(Reason.BAD_AMOUNT, bench.df0c(bench.last(Tender)), "TEST", other, counter),
        Progress(other, counter, amount + 1, "TEST", LIFE_S),
        outcome,
        image,
    ):
        name = f"{message.type_name} with another 9F1C"
        bench.pass_by()
        bench.say(message)
        bench.never((Stored, Cancel, ImageStatus), 0.3, after=f"after {name}")
        bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after=f"after {name}")
        bench.wait(0.2)
    bench.pass_by()
    # None of them has ended or accepted the sale: it is said until it is.
    bench.expect(
        Tender,
        SAY_AGAIN_S + REACT_S,
        where=lambda tender: tender.counter == counter,
        after="after messages that name another terminal",
    )
    bench.accepted(sale)
    bench.end(sale)


def not_paired(bench: Bench) -> None:
    sale = bench.sale()
    bench.paired = 0
    bench.greet()
    bench.look(
        "sees",
        "not-paired",
        question="Does the terminal show that it is not paired?",
        otherwise="the terminal does not show that it is not paired",
    )
    bench.never((*ALL_BUT_HELLO, Hello), 20.0, after="while DF1D is 0")
    _take_up(bench, sale)


def not_paired_for_long(bench: Bench) -> None:
    bench.paired = 0
    last = bench.greet()
    for _ in range(2):
        heard = bench.expect(Hello, HELLO_UNPAIRED_S + HELLO_AGAIN_S, after="while DF1D is 0")
        took_s = heard.at_s - last.at_s
        if took_s < HELLO_UNPAIRED_S - HELLO_AGAIN_S:
            raise Broken(
                f"HELLO came {took_s:.1f} s after the one before, while DF1D is 0; 60 s is right"
            )
        last = heard


def _take_up(bench: Bench, sale: Sale) -> None:
    bench.paired = 1
    bench.greet()
    heard = bench.expect(Tender, SAY_AGAIN_S + REACT_S, after="after a WELCOME with DF1D 1")
    _same(sale, heard)
    bench.accepted(sale)
    bench.end(sale)


# Another journal


def other_journal(bench: Bench) -> None:
    other = bytes(byte ^ 0xFF for byte in bench.journal_id)
    sale = bench.sale()
    _strange(bench, sale, {"journal_id": other}, "a WELCOME with another DF0D")


def counter_set_back(bench: Bench) -> None:
    sale = bench.accepted_sale()
    lower = sale.counter - 1
    _strange(bench, sale, {"counter": lower}, "a WELCOME whose 9F41 is below one that was accepted")


def no_counter(bench: Bench) -> None:
    sale = bench.accepted_sale()
    _strange(bench, sale, {"counter": None}, "a WELCOME with DF1D 1 and no 9F41")


def _strange(bench: Bench, sale: Sale, welcome: dict[str, object], after: str) -> None:
    counter = sale.counter
    with bench.manners(welcomes=False, tells=False):
        bench.greet()
        bench.welcome(**welcome)
        bench.pass_by()
        bench.look(
            "sees",
            "stranger",
            str(counter),
            question=f"Does it show that the bridge does not know sale {counter}?",
            otherwise=f"{after}: nobody is told that the bridge does not know {counter}",
        )
        bench.never(
            Tender,
            2 * SAY_AGAIN_S,
            where=lambda tender: tender.counter == counter,
            after=f"after {after}",
        )
        # A CANCEL may be said; that this journal does not know it says nothing about the sale.
        asked = bench.perhaps(Cancel, 0.1, where=lambda cancel: cancel.counter == counter)
        if asked is not None:
            bench.refused(asked, Reason.NO_SUCH_TRANSACTION)
        sentence = f"Cancel sale {counter} at the terminal, if it lets you."
        if asked is None and bench.tried("cancel", sentence=sentence):
            asked = bench.perhaps(Cancel, REACT_S, where=lambda cancel: cancel.counter == counter)
            if asked is not None:
                bench.refused(asked, Reason.NO_SUCH_TRANSACTION)
        bench.wait(0.2)
        bench.look(
            "sees",
            "open",
            str(counter),
            question=f"Is sale {counter} still open at the terminal?",
            otherwise=f"{after}: sale {counter} was ended by REFUSED 2",
        )
    _ended_by_person(bench, sale)


def _ended_by_person(bench: Bench, sale: Sale) -> None:
    sentence = f"End sale {sale.counter} at the terminal: the bridge does not know it."
    if bench.tried("end", str(sale.counter), sentence=sentence):
        bench.over(sale)
        bench.greet()
        bench.never(
            (Tender, Cancel, Query),
            SAY_AGAIN_S + REACT_S,
            where=lambda said: said.counter == sale.counter,
            after="of a sale that a person has ended",
        )


def outcome_after_end(bench: Bench) -> None:
    """While DF1D is 0 a person may end it; the OUTCOME that still comes is a strange one."""
    sale = bench.accepted_sale()
    bench.paired = 0
    bench.greet()
    bench.do(
        "end",
        str(sale.counter),
        sentence=f"End sale {sale.counter} at the terminal, while it is not paired.",
    )
    bench.paired = 1
    bench.greet()
    outcome = bench.outcome(sale, "00")
    bench.stored(
        sale.counter, outcome.response_code, after="after the OUTCOME of a sale ended by hand"
    )
    bench.look(
        "sees",
        "unknown",
        str(sale.counter),
        question=f"Does it show that {sale.counter}, which was ended by hand, has an outcome?",
        otherwise="the OUTCOME of a sale that was ended by hand is shown to nobody",
    )
