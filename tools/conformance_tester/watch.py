"""Rules that are watched from the first byte to the last, whatever is being tried meanwhile.

Rules
- A watcher counts the occasions on which its rule could have been broken, and keeps what broke it.
- No occasion is no pass: the rule was not checked.
- It judges what the terminal sends; what it makes of what it gets is tried, in the other modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.link.framing import BODY_MAX_BYTES, MAX_BODY_LEAST_BYTES
from drivers.link.messages import (
    FROM_BRIDGE,
    PROTOCOL_VERSION,
    SEQUENCE_MAX,
    SEQUENCE_MIN,
    Cancel,
    Hello,
    Message,
    Outcome,
    PairConfirm,
    PairKey,
    Refund,
    Refused,
    Stored,
    Tender,
    Welcome,
)
from drivers.link.sealed import Standing
from tools.conformance_tester.bench import ANSWER_S, SENT_TIMES, Answer, Bench, Heard, Went
from tools.conformance_tester.record import Entry

FAULTS_KEPT = 20
ENTRIES_BEFORE = 8
"""How much of the record before a fault is shown with it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What broke the rule, and what went over the line before it."""

    why: str
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class Watch:
    """The eyes on one rule; the base of all in this module."""

    occasions: int = 0
    faults: list[Fault] = field(default_factory=list)

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None: ...

    def damaged(self, bench: Bench, why: str) -> None: ...

    def answered(self, bench: Bench, answer: Answer | None, took_s: float) -> None: ...

    def stray(self, bench: Bench, answer: Answer) -> None: ...

    def said(self, bench: Bench, message: Message) -> None: ...

    def judge(self, bench: Bench, holds: bool, why: str) -> None:
        """One occasion."""
        self.occasions += 1
        if not holds and len(self.faults) < FAULTS_KEPT:
            self.faults.append(Fault(why, tuple(bench.record.entries[-ENTRIES_BEFORE:])))


class FramesRight(Watch):
    """Each frame is whole, its check right, its body allowed."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        self.judge(bench, True, "")

    def damaged(self, bench: Bench, why: str) -> None:
        self.judge(bench, False, f"a frame came damaged: {why}")


class Acknowledged(Watch):
    """Each right frame is answered within 0.3 s, by ACK."""

    def answered(self, bench: Bench, answer: Answer | None, took_s: float) -> None:
        if answer is None:
            self.judge(bench, False, "a right frame was not answered within 1 s")
        elif not answer.is_ack:
            self.judge(bench, False, "a right frame was answered by NAK")
        else:
            why = f"ACK came {took_s:.3f} s after the frame; 0.3 s is right"
            self.judge(bench, took_s <= ANSWER_S + bench.slack_s, why)


class AnsweredOnce(Watch):
    """Nothing but a frame is answered, and that once."""

    def answered(self, bench: Bench, answer: Answer | None, took_s: float) -> None:
        self.judge(bench, True, "")

    def stray(self, bench: Bench, answer: Answer) -> None:
        self.judge(bench, False, f"an {answer} came that no frame had asked for")


class SentRight(Watch):
    """A frame is sent three times at most, and not again once it was acknowledged."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        if not again:
            self.occasions += 1
        elif heard.acked:
            self.judge(bench, False, "a frame that was acknowledged was sent again")
        else:
            times = len(heard.times)
            self.judge(bench, times <= SENT_TIMES, f"a frame was sent {times} times; 3 is right")


class OneOut(Watch):
    """Nothing new before the frame that is out has its answer, or was sent three times."""

    def __init__(self) -> None:
        super().__init__()
        self._out: Heard | None = None

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        if not again:
            out = self._out
            done = out is None or out.acked or len(out.times) >= SENT_TIMES
            self.judge(bench, done, "a new frame came while the one before it had no answer")
        self._out = heard


class Understood(Watch):
    """Each body is a message of a terminal, with all it needs, as the link writes it."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        if heard.message is None:
            self.judge(bench, False, f"a body that is not understood: {heard.fault}")
        else:
            from_bridge = heard.message.type_code >= FROM_BRIDGE
            why = f"the terminal said {heard.message.type_name}, which only a bridge says"
            self.judge(bench, not from_bridge, why)


class Numbered(Watch):
    """Numbers run 1 to 255 and round again; HELLO has 1."""

    def __init__(self) -> None:
        super().__init__()
        self._last: int | None = None

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        number = heard.sequence
        if again or number is None:
            return
        if isinstance(heard.message, Hello):
            self.judge(bench, number == SEQUENCE_MIN, f"HELLO has number {number}; 1 is right")
        elif self._last is not None:
            right = SEQUENCE_MIN if self._last == SEQUENCE_MAX else self._last + 1
            self.judge(bench, number == right, f"number {number} came after {self._last}")
        self._last = number


class HelloRight(Watch):
    """HELLO says the same of the same device each time, and nothing impossible."""

    def __init__(self) -> None:
        super().__init__()
        self._first: Hello | None = None

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        hello = heard.message
        if again or not isinstance(hello, Hello):
            return
        first = self._first = self._first or hello
        who = (hello.terminal_id, hello.serial_number)
        for holds, why in (
            (who == (first.terminal_id, first.serial_number), f"{who} is another terminal"),
            (bool(hello.terminal_id and hello.serial_number), "9F1C or 9F1E is empty"),
            (hello.version >= PROTOCOL_VERSION, f"DF01 is {hello.version}"),
            (
                MAX_BODY_LEAST_BYTES <= hello.max_body <= BODY_MAX_BYTES,
                f"DF13 is {hello.max_body}; 640 to 4092 is right",
            ),
            (
                bool(hello.formats) == bool(hello.panel_width and hello.panel_height),
                "it has formats and no panel, or a panel and no format",
            ),
        ):
            self.judge(bench, holds, f"HELLO: {why}")


class HelloAlone(Watch):
    """Between HELLO and WELCOME, and while DF1D is 0, nothing else is said."""

    def __init__(self) -> None:
        super().__init__()
        self._welcomed = True

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        match heard.message:
            case Hello():
                self._welcomed = False
            case None | PairKey() | PairConfirm():
                pass
            case message if not again:
                why = f"{message.type_name} was said without a WELCOME with DF1D 1"
                self.judge(bench, self._welcomed, why)
            case _:
                pass

    def said(self, bench: Bench, message: Message) -> None:
        if isinstance(message, Welcome):
            self._welcomed = message.paired == 1


class OwnName(Watch):
    """Every message names the terminal of its HELLO."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        named = getattr(heard.message, "terminal_id", None)
        if (
            named is not None
            and bench.knows.hello is not None
            and not isinstance(heard.message, Hello)
        ):
            own = bench.knows.hello.terminal_id
            self.judge(bench, named == own, f"9F1C is {named!r}; HELLO said {own!r}")


class SameContent(Watch):
    """A TENDER or REFUND that is said again says the same."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        said = heard.message
        if again or not isinstance(said, Tender | Refund):
            return
        sale = bench.knows.sales.get(said.counter)
        if sale is not None:
            self.judge(bench, said == sale.said, f"{said.counter} was {sale.said}, and is {said}")


class CountersRise(Watch):
    """New counters are above all that were used, and above the one in WELCOME."""

    def __init__(self) -> None:
        super().__init__()
        self._highest = 0

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        said = heard.message
        if again or not isinstance(said, Tender | Refund) or said.counter in bench.knows.sales:
            return
        why = f"counter {said.counter} is new, and {self._highest} was used or told before"
        self.judge(bench, said.counter > self._highest, why)
        self._highest = max(self._highest, said.counter)

    def said(self, bench: Bench, message: Message) -> None:
        if isinstance(message, Welcome) and message.paired and message.counter is not None:
            self._highest = max(self._highest, message.counter)


class OneTender(Watch):
    """One TENDER is open at a time."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        said = heard.message
        if again or not isinstance(said, Tender) or said.counter in bench.knows.sales:
            return
        others = [
            sale.counter
            for sale in bench.knows.sales.values()
            if isinstance(sale.said, Tender) and sale.went is not Went.OVER
        ]
        ended = {*bench.knows.outcomes, *self._refused}
        still = [counter for counter in others if counter not in ended]
        self.judge(bench, not still, f"TENDER {said.counter} while {still} is open")

    def __init__(self) -> None:
        super().__init__()
        self._refused: set[int] = set()

    def said(self, bench: Bench, message: Message) -> None:
        if isinstance(message, Refused) and message.counter is not None:
            self._refused.add(message.counter)


class SilentAfterCancel(Watch):
    """After CANCEL that TENDER is not said any more."""

    def __init__(self) -> None:
        super().__init__()
        self._cancelled: set[int] = set()

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        match heard.message:
            case Cancel(counter=counter):
                self._cancelled.add(counter)
            case Tender(counter=counter) if not again:
                why = f"TENDER {counter} was said after CANCEL {counter}"
                self.judge(bench, counter not in self._cancelled, why)
            case _:
                pass


class StoredAsTold(Watch):
    """STORED comes only for an OUTCOME, with the code that was told first, and never twice for one."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[int, list[str]] = {}

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        stored = heard.message
        if again or not isinstance(stored, Stored):
            return
        told = self._told.get(stored.counter)
        if told is None:
            self.judge(bench, False, f"STORED {stored.counter}, and no OUTCOME was said for it")
        else:
            why = f"STORED {stored.counter} says {stored.response_code}; told was {told[0]}"
            self.judge(bench, stored.response_code == told[0], why)

    def said(self, bench: Bench, message: Message) -> None:
        if isinstance(message, Outcome) and message.terminal_id == bench.terminal_id:
            self._told.setdefault(message.counter, []).append(message.response_code)


class Coded(Watch):
    """From a coded WELCOME on, each message ends with DF26, which counts, and a right DF7F."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None:
        keyed = bench.seal.standing is Standing.KEYED
        if again or not keyed or isinstance(heard.message, Hello | PairKey | PairConfirm):
            return
        name = "a body" if heard.message is None else heard.message.type_name
        why = f"{name} came with a code or number that is wrong, old or missing"
        self.judge(bench, heard.authentic, why)
