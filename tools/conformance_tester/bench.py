"""The bridge's end of the link, on the bench: it keeps the rules, and breaks them when it is told to.

Rules
- One thread, one clock, the port's. `pump` alone reads; all else waits by pumping.
- Left alone it has a bridge's manners: it acknowledges, answers HELLO, PING and QUERY. `manners`
  takes them away for as long as a rule needs that.
- What it says of its own accord waits until the frame that is out has its answer.
- It remembers what it has heard, told and written down, so that a rule can say what is new.
- Codes of an authenticated link are the daemon's own: `keys` are those that it has of the terminal.
- A rule that finds something raises Broken, one that cannot find out raises CannotTell.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, TypeVar, cast

from drivers.display.raster import Picture
from drivers.link.authentication import SESSION_NONCE_BYTES, Keys, Verdict
from drivers.link.dialect import Dialect
from drivers.link.encoding import Decoded
from drivers.link.framing import ACK, BODY_MAX_BYTES, NAK, Ack, Bad, Frame, FrameEvent, Nak
from drivers.link.image_transfer import image_ids
from drivers.link.messages import (
    CURRENCY_NZD,
    PROTOCOL_VERSION,
    SEQUENCE_MAX,
    SEQUENCE_MIN,
    Accepted,
    Cancel,
    DisplayClear,
    Hello,
    Identify,
    ImageData,
    ImageOpen,
    ImageShow,
    ImageStatus,
    Message,
    NotUnderstood,
    Outcome,
    Ping,
    Pong,
    Progress,
    Query,
    Reason,
    Refund,
    Refused,
    Stored,
    Tender,
    Welcome,
)
from drivers.link.sealed import BridgeSeal
from tools.conformance_tester.craft import Craft, craft_of
from tools.conformance_tester.operators import Act, Operator, Reply, Sight
from tools.conformance_tester.port import Chunk, Port
from tools.conformance_tester.record import Record

ANSWER_S = 0.3
"""How long a receiver has for its ACK or NAK (2)."""
NO_ANSWER_S = 1.0
"""How long a sender waits for it (2)."""
SENT_TIMES = 3
AGAIN_LATE_S = 0.5
"""How much later than it may the next copy of a frame may come."""
BYTE_GAP_S = 0.5
"""A silence inside a frame that drops it (2)."""
HELLO_AGAIN_S = 5.0
SAY_AGAIN_S = 3.0
SILENCE_S = 15.0

REACT_S = 1.0
"""How long a terminal may take to do what the link asks for without naming a time: it may have to
write to a slow storage first."""

BABBLE_S = 10.0
"""How long to wait for a terminal to be quiet."""

ASKED_MAX_S = 300.0
"""How long somebody may take to answer a question."""
POLL_S = 0.05

LIFE_S = 300
"""DF06 of what is accepted here."""

TAKES_AWAY = ("power-cycle", "replug")
"""From these acts on, until its HELLO, nobody knows whether there is a terminal: what is not answered
then is not held against it."""

OUTCOMES_TOLD_AGAIN = 8
"""Where the terminal has open what it should not."""

OWN_COUNTERS = range(70_000_000, 80_000_000)
"""Where counters are taken from that the terminal does not know."""

IMAGE_PIECE_BYTES = 200
"""Of image bytes in one IMAGE_DATA: less than 0.25 s at 9,600 baud, in both encodings."""

Kind = TypeVar("Kind", bound=Message)


class Broken(Exception):  # noqa: N818 - the verdict's word
    """The terminal does not keep the rule; the message says what it did."""


class CannotTell(Exception):  # noqa: N818 - says what it is
    """The rule could not be tried; the message says why."""


class NotThere(Exception):  # noqa: N818 - says what it is
    """The terminal does not come back to where a rule can begin."""


@dataclass(slots=True)
class Heard:
    """One message of the terminal. `times` are those at which its copies came, the first first."""

    message: Message | None
    sequence: int | None
    body: bytes
    times: list[float]
    fault: str | None = None
    acked: bool = False
    authentic: bool = True
    """Its code is right, where it must have one."""

    @property
    def at_s(self) -> float:
        return self.times[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """An ACK or NAK of the terminal."""

    at_s: float
    is_ack: bool

    def __str__(self) -> str:
        return "ACK" if self.is_ack else "NAK"


class Went(Enum):
    """How a sale went on at this end."""

    SAID = "said"
    ACCEPTED = "accepted"
    OVER = "over"


@dataclass(slots=True)
class Sale:
    """A TENDER or REFUND that came, as this end's books have it."""

    said: Tender | Refund
    first: Heard
    went: Went = Went.SAID

    @property
    def counter(self) -> int:
        return self.said.counter

    @property
    def amount_minor(self) -> int:
        return self.said.amount_minor

    @property
    def currency(self) -> int:
        return self.said.currency if isinstance(self.said, Tender) else CURRENCY_NZD


@dataclass(frozen=True, slots=True)
class Manners:
    """What the bench does of its own accord."""

    acks: bool = True
    welcomes: bool = True
    pongs: bool = True
    tells: bool = True
    """QUERY is answered: PROGRESS while open, the OUTCOME after that."""


class Watcher(Protocol):
    """Looks on, from the first byte to the last; see `watch.py`."""

    def heard(self, bench: Bench, heard: Heard, *, again: bool) -> None: ...

    def damaged(self, bench: Bench, why: str) -> None: ...

    def answered(self, bench: Bench, answer: Answer | None, took_s: float) -> None:
        """What the terminal made of a right frame; None: nothing within the time for it."""

    def stray(self, bench: Bench, answer: Answer) -> None:
        """An answer that nothing had asked for."""

    def said(self, bench: Bench, message: Message) -> None: ...


@dataclass(slots=True)
class Knowledge:
    """What there is to know about the terminal, and what it was told."""

    hello: Hello | None = None
    sales: dict[int, Sale] = field(default_factory=dict)
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)
    """All that were told, by counter."""
    highest: int = 0
    """The highest counter that is written down here (9F41 of WELCOME)."""
    cancels: set[int] = field(default_factory=set)


class Bench:
    """One run over one port. `random_bytes(n)` makes journal and counters that are new each time."""

    def __init__(
        self,
        port: Port,
        dialect: Dialect,
        operator: Operator,
        *,
        random_bytes: Callable[[int], bytes],
        local_time: Callable[[], datetime],
        watchers: tuple[Watcher, ...] = (),
    ) -> None:
        self.port = port
        self.dialect = dialect
        self.operator = operator
        self.craft: Craft = craft_of(dialect.encoding)
        self.record = Record(dialect.encoding)
        self.knows = Knowledge()
        self.journal_id = random_bytes(8)
        self.random_bytes = random_bytes
        self.keys: list[Keys] = []
        """Of the terminal, once it is paired by six digits."""
        self.seal = BridgeSeal(
            dialect.encoding,
            lambda terminal_id, serial_number: self.keys,
            lambda: random_bytes(SESSION_NONCE_BYTES),
        )
        self.paired = 1
        self.notes: list[str] = []
        """What of the present rule nobody has looked at."""
        self._local_time = local_time
        self._watchers = watchers
        self._manners = Manners()
        self._decoder = dialect.framing.decoder(BODY_MAX_BYTES)
        self._last_byte_at = 0.0
        self._number = SEQUENCE_MIN
        self._heard: list[Heard] = []
        self._cursor = 0
        self._answers: deque[Answer] = deque()
        self._awaiting = False
        self._frame_ended_at = 0.0
        self._todo: deque[Callable[[], object]] = deque()
        self._busy = False
        self._image_ids = image_ids()
        self._is_there = False
        self._may_be_stuck = False
        self._amount = 1000 + int.from_bytes(random_bytes(2), "big") % 5000
        first = int.from_bytes(random_bytes(4), "big") % (len(OWN_COUNTERS) // 2)
        self._unknown_counters = iter(OWN_COUNTERS[first:])

    # -- time, and what comes ----------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.port.now()

    @property
    def slack_s(self) -> float:
        return self.port.slack_s

    def pump(self, until: float) -> bool:
        """Take what comes next, or let the time pass; False where `until` has come."""
        self._react()
        chunk = self.port.read(until)
        if chunk is not None:
            self._take(chunk)
        self._react()
        return chunk is not None

    def wait(self, for_s: float) -> None:
        """Let time pass, with good manners."""
        until = self.now + for_s
        while self.now < until:
            self.pump(until)

    def _take(self, chunk: Chunk) -> None:
        if self._decoder.inside and chunk.at_s - self._last_byte_at >= BYTE_GAP_S:
            self._decoder.drop()
        self._last_byte_at = chunk.at_s
        events = self._decoder.feed(chunk.data)
        self.record.heard(chunk.at_s, chunk.data, events, self._decoder.take_noise())
        for event in events:
            self._event(event, chunk.at_s)

    def _event(self, event: FrameEvent, at_s: float) -> None:
        match event:
            case Frame(body):
                self._frame_ended_at = at_s
                self._frame(body, at_s)
            case Bad(why, _):
                self._frame_ended_at = at_s
                for watcher in self._watchers:
                    watcher.damaged(self, why)
                if self._manners.acks:
                    self.nak()
            case Ack() | Nak():
                answer = Answer(at_s, isinstance(event, Ack))
                if self._awaiting:
                    self._answers.append(answer)
                else:
                    self._stray(answer)

    def _stray(self, answer: Answer) -> None:
        if not self._is_there:
            return
        for watcher in self._watchers:
            watcher.stray(self, answer)

    def _frame(self, body: bytes, at_s: float) -> None:
        last = self._heard[-1] if self._heard else None
        again = last is not None and last.body == body and not self._is_new_hello(last, at_s)
        if again:
            assert last is not None
            last.times.append(at_s)
            heard = last
        else:
            heard = self._read(body, at_s)
            self._heard.append(heard)
        for watcher in self._watchers:
            watcher.heard(self, heard, again=again)
        if self._manners.acks:
            self.ack()
        if not again and heard.authentic:
            self._learn(heard)

    def _is_new_hello(self, last: Heard, at_s: float) -> bool:
        """A HELLO has the same bytes each time: a later one is no copy."""
        if not isinstance(last.message, Hello):
            return False
        late_s = at_s - last.times[-1]
        return last.acked or late_s > NO_ANSWER_S + REACT_S or len(last.times) >= SENT_TIMES

    def _read(self, body: bytes, at_s: float) -> Heard:
        read: Decoded | NotUnderstood
        try:
            read = self.dialect.encoding.decode(body)
        except NotUnderstood as fault:
            read = fault
        authentic = self.seal.judge(body, read).verdict is Verdict.TAKEN
        if isinstance(read, NotUnderstood):
            return Heard(None, read.sequence, body, [at_s], read.why, authentic=authentic)
        return Heard(read.message, read.sequence, body, [at_s], authentic=authentic)

    def _learn(self, heard: Heard) -> None:
        knows = self.knows
        match heard.message:
            case Hello() as hello:
                knows.hello = hello
                self._is_there = True
                self._number = SEQUENCE_MIN
                if self._manners.welcomes:
                    self._todo.append(self.welcome)
            case Tender() | Refund() as said if said.counter not in knows.sales:
                knows.sales[said.counter] = Sale(said, heard)
                knows.highest = max(knows.highest, said.counter)
            case Cancel(counter=counter):
                knows.cancels.add(counter)
            case Query() as query if self._manners.tells:
                self._todo.append(lambda: self._tell(query))
            case Ping() if self._manners.pongs:
                self._todo.append(lambda: self.say(Pong()))
            case Stored(counter=counter):
                sale = knows.sales.get(counter)
                if sale is not None and counter in knows.outcomes:
                    sale.went = Went.OVER
            case _:
                pass

    def _tell(self, query: Query) -> None:
        counter = query.counter if query.counter is not None else max(self.knows.sales, default=0)
        sale = self.knows.sales.get(counter)
        told = self.knows.outcomes.get(counter)
        if told:
            self.say(told[0])
        elif sale is not None and sale.went is not Went.OVER:
            self.progress(sale)

    def _react(self) -> None:
        while self._todo and not self._busy:
            self._todo.popleft()()

    @contextmanager
    def manners(self, **changes: bool) -> Iterator[None]:
        """Other manners for a while: `with bench.manners(acks=False)`."""
        before, self._manners = self._manners, replace(self._manners, **changes)
        try:
            yield
        finally:
            self._manners = before

    # -- what comes, as a rule expects it ----------------------------------------------------

    def expect(
        self,
        kind: type[Kind],
        within_s: float = REACT_S,
        *,
        where: Callable[[Kind], bool] = lambda _: True,
        after: str = "",
    ) -> Heard:
        """The next message of `kind` that came since the last one expected. Broken: it did not."""
        found = self.perhaps(kind, within_s, where=where)
        if found is None:
            because = f" {after}" if after else ""
            raise Broken(f"no {kind.type_name} within {within_s:g} s{because}; {self._came()}")
        return found

    def perhaps(
        self,
        kind: type[Kind],
        within_s: float = REACT_S,
        *,
        where: Callable[[Kind], bool] = lambda _: True,
    ) -> Heard | None:
        """The same, or None."""
        until = self.now + within_s + self.slack_s
        at = self._cursor
        while True:
            while at < len(self._heard):
                heard = self._heard[at]
                at += 1
                if isinstance(heard.message, kind) and heard.authentic and where(heard.message):
                    self._cursor = at
                    return heard
            if not self.pump(until) and self.now >= until and at >= len(self._heard):
                return None

    def never(
        self,
        kinds: type[Any] | tuple[type[Any], ...],
        for_s: float,
        *,
        where: Callable[[Any], bool] = lambda _: True,
        after: str = "",
    ) -> None:
        """Nothing of `kinds` comes, since the last one expected and for so long. Else Broken."""
        start = self._cursor
        self.wait(for_s)
        for heard in self._heard[start:]:
            if isinstance(heard.message, kinds) and where(heard.message):
                assert heard.message is not None
                name = heard.message.type_name
                raise Broken(f"{name} came {after}, where it must not".replace("  ", " "))

    def copies(self, heard: Heard, count: int, within_s: float) -> None:
        """So many copies of a frame have come, within that time from now. Broken."""
        until = self.now + within_s + self.slack_s
        while len(heard.times) < count and self.now < until:
            self.pump(until)
        if len(heard.times) < count:
            raise Broken(
                f"copy {count} of a frame did not come within {within_s:g} s; "
                f"it came {len(heard.times)} times"
            )

    def pass_by(self) -> None:
        """From here on only what is still to come is expected."""
        self._cursor = len(self._heard)

    def last(self, kind: type[Message]) -> Heard:
        """The last message of `kind` that came."""
        return next(heard for heard in reversed(self._heard) if isinstance(heard.message, kind))

    def heard_since(self, first: Heard) -> list[Heard]:
        """All that came after it."""
        return self._heard[self._heard.index(first) + 1 :]

    def _came(self) -> str:
        names = [
            "what is not understood" if h.message is None else h.message.type_name
            for h in self._heard[self._cursor :]
        ]
        return f"there came {', '.join(names[-6:])}" if names else "nothing came"

    # -- what is said ------------------------------------------------------------------------

    def body(self, message: Message) -> bytes:
        """A message as a body, with the next number, coded where the link is."""
        return self.seal.encode(message, self.next_number())

    def bare_body(self, message: Message) -> bytes:
        """The same without a code, whatever the link is."""
        return self.dialect.encoding.encode(message, self.next_number())

    def next_number(self) -> int:
        """The next number, taken."""
        number = self._number
        self._number = SEQUENCE_MIN if number == SEQUENCE_MAX else number + 1
        return number

    def say(self, message: Message) -> bytes:
        """Say it as a bridge does, until it is acknowledged; its frame. Broken: it is not."""
        self._react()
        body = self.body(message)
        self.means(message)
        frame = self.frame(body)
        self.deliver(frame, message.type_name)
        return frame

    def frame(self, body: bytes) -> bytes:
        return self.dialect.framing.encode(body)

    def say_body(self, body: bytes, what: str) -> None:
        """The same for a body of one's own making; `means` goes before, where it means something."""
        self.deliver(self.frame(body), what)

    def deliver(self, frame: bytes, what: str) -> None:
        """Send a right frame, three times at most, until ACK comes."""
        was_busy, self._busy = self._busy, True
        try:
            for _ in range(SENT_TIMES):
                is_there = self._is_there
                left_at = self.send(frame, what)
                answer = self._answer(left_at, is_there=is_there)
                if answer is not None and answer.is_ack:
                    for other in self._answers:
                        self._stray(other)
                    return
        finally:
            self._busy = was_busy
            self._awaiting = False
            self._answers.clear()
        raise Broken(f"{what} was not acknowledged, sent {SENT_TIMES} times")

    def send(self, data: bytes, what: str) -> float:
        """Put bytes on the line, whatever they are; the time at which they had left."""
        self._answers.clear()
        self._awaiting = True
        self.record.sent(self.now, data, what)
        return self.port.write(data)

    def send_on(self, data: bytes, what: str) -> float:
        """The same for the rest of something: answers that have come are kept."""
        self.record.sent(self.now, data, what)
        return self.port.write(data)

    def answers(self, for_s: float = ANSWER_S + 0.3) -> list[Answer]:
        """All answers to what was sent, those of the next `for_s` seconds included."""
        was_busy, self._busy = self._busy, True
        self.wait(for_s)
        self._busy = was_busy
        found = list(self._answers)
        self._answers.clear()
        self._awaiting = False
        self._react()
        return found

    def _answer(self, left_at: float, *, is_there: bool) -> Answer | None:
        """The answer to a right frame; the watchers are told how long it took."""
        until = left_at + NO_ANSWER_S
        while not self._answers and self.now < until:
            self.pump(until)
        answer = self._answers.popleft() if self._answers else None
        begun = max(left_at, self._frame_ended_at if answer is None else 0.0)
        if answer is not None and left_at < self._frame_ended_at <= answer.at_s:
            begun = self._frame_ended_at
        took_s = (self.now if answer is None else answer.at_s) - begun
        if is_there:
            for watcher in self._watchers:
                watcher.answered(self, answer, took_s)
        return answer

    def ack(self) -> None:
        """Acknowledge what came, now."""
        self.record.sent(self.now, ACK, "ACK")
        self.port.write(ACK)
        if self._heard:
            self._heard[-1].acked = True

    def nak(self) -> None:
        self.record.sent(self.now, NAK, "NAK")
        self.port.write(NAK)

    def means(self, message: Message) -> None:
        """What is about to be sent says this: remember it."""
        match message:
            case Outcome() if message.terminal_id == self.terminal_id:
                self.knows.outcomes.setdefault(message.counter, []).append(message)
            case Accepted() if message.counter in self.knows.sales:
                sale = self.knows.sales[message.counter]
                if sale.went is Went.SAID:
                    sale.went = Went.ACCEPTED
            case _:
                pass
        for watcher in self._watchers:
            watcher.said(self, message)

    # -- the words of a bridge ---------------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """The terminal's last HELLO."""
        if self.knows.hello is None:
            raise NotThere("the terminal has not said HELLO")
        return self.knows.hello

    @property
    def terminal_id(self) -> str:
        return self.hello.terminal_id

    def welcome(self, **changes: Any) -> bytes:
        """Say WELCOME, the usual one but for `changes`."""
        now = self._local_time()
        usual = Welcome(
            version=PROTOCOL_VERSION,
            journal_id=self.journal_id,
            paired=self.paired,
            local_date=int(now.strftime("%y%m%d")),
            local_time=int(now.strftime("%H%M%S")),
            counter=self.knows.highest or None,
        )
        return self.say(replace(usual, **changes))

    def greet(self) -> Heard:
        """Have the terminal say HELLO, and answer it; the HELLO."""
        self.pass_by()
        self.say(Identify())
        hello = self.expect(Hello, HELLO_AGAIN_S + REACT_S, after="after IDENTIFY")
        self._until_welcomed()
        return hello

    def _until_welcomed(self) -> None:
        # WELCOME goes out by itself; what the terminal says because of it is still to come.
        while self._todo:
            self.pump(self.now)

    def accepted(self, sale: Sale, **changes: Any) -> None:
        """Say that it is written down; `changes` are of the message."""
        usual = Accepted(self.terminal_id, sale.counter, sale.amount_minor, sale.currency, LIFE_S)
        self.say(replace(usual, **changes))

    def progress(self, sale: Sale, **changes: Any) -> None:
        usual = Progress(
            self.terminal_id, sale.counter, sale.amount_minor, "TEST Scan the code", LIFE_S
        )
        self.say(replace(usual, **changes))

    def outcome_for(self, counter: int, code: str, amount_minor: int, **changes: Any) -> Outcome:
        """An OUTCOME, not said yet."""
        usual = Outcome(
            self.terminal_id,
            counter,
            code,
            amount_minor,
            "TEST APPROVED" if code == "00" else "TEST NOT APPROVED",
            int(self._local_time().strftime("%y%m%d")),
            int(self._local_time().strftime("%H%M%S")),
        )
        return replace(usual, **changes)

    def outcome(self, sale: Sale, code: str, **changes: Any) -> Outcome:
        """Say how it ended."""
        usual = self.outcome_for(sale.counter, code, sale.amount_minor)
        outcome = replace(usual, **changes)
        self.say(outcome)
        return outcome

    def refused(self, of: Heard, reason: Reason, **changes: Any) -> None:
        """Refuse that message."""
        usual = Refused(
            reason,
            self.df0c(of),
            f"TEST refused {int(reason)}",
            self.terminal_id,
            getattr(of.message, "counter", None),
        )
        self.say(replace(usual, **changes))

    @staticmethod
    def df0c(of: Heard) -> bytes:
        """What names that message in a REFUSED."""
        assert of.message is not None and of.sequence is not None
        return bytes((of.message.type_code, of.sequence))

    # -- what happens often ------------------------------------------------------------------

    def unknown_counter(self) -> int:
        """A counter that the terminal has never used, and no run before this one."""
        return next(self._unknown_counters)

    def next_amount(self) -> int:
        """An amount in cents that was not used before in this run."""
        self._amount += 37
        return self._amount

    def ask(self, asked: Act | Sight) -> Reply:
        """Ask the operator, and go on with the line meanwhile."""
        sentence = asked.sentence if isinstance(asked, Act) else asked.question
        if asked.words[0] in TAKES_AWAY:
            self._is_there = False
        self.record.note(self.now, f"[operator] {sentence}")
        self.operator.begin(asked)
        ends_at = self.now + ASKED_MAX_S
        while (reply := self.operator.reply()) is None:
            self.pump(self.now + POLL_S)
            if self.now > ends_at:
                return Reply.CANNOT
        return reply

    def do(
        self, *words: str, sentence: str, otherwise: str | None = None, shows: bool = True
    ) -> None:
        """Have it done. CannotTell: it cannot be; Broken, with `otherwise`: it should be possible.

        `shows`: it is noticed by what comes over the line.
        """
        match self.ask(Act(words, sentence, shows)):
            case Reply.YES:
                return
            case Reply.NO if otherwise is not None:
                raise Broken(otherwise)
            case Reply.NO:
                raise CannotTell(f"the terminal does not let one: {sentence}")
            case Reply.CANNOT:
                raise CannotTell(f"nobody can do this here: {sentence}")

    def tried(self, *words: str, sentence: str) -> bool:
        """Have it done, where it can be; whether it was."""
        return self.ask(Act(words, sentence, shows=False)) is Reply.YES

    def comes(self, kind: type[Kind], asked: str, **how: Any) -> Heard:
        """What comes of something that was done. A person may have been too slow."""
        found = self.perhaps(kind, self.operator.patience_s, **how)
        if found is not None:
            return found
        why = f"no {kind.type_name} within {self.operator.patience_s:g} s of: {asked}"
        raise Broken(why) if self.operator.sure else CannotTell(why)

    def look(self, *words: str, question: str, otherwise: str) -> None:
        """Have somebody look. Broken, with `otherwise`, where it is not to be seen."""
        match self.ask(Sight(words, question)):
            case Reply.YES:
                return
            case Reply.NO:
                raise Broken(otherwise)
            case Reply.CANNOT:
                self.notes.append(f"nobody looked: {question}")

    def sale(self) -> Sale:
        """Have a sale keyed; its TENDER has come, and nothing was said to it yet."""
        amount = self.next_amount()
        sentence = f"Key a sale of {amount // 100}.{amount % 100:02d} at the terminal."
        self.pass_by()
        self._may_be_stuck = True
        self.do(
            "sale",
            str(amount),
            sentence=sentence,
            otherwise="no sale can be keyed, though all that were have ended",
        )
        self._may_be_stuck = False
        heard = self.comes(Tender, sentence)
        said = cast(Tender, heard.message)
        if said.amount_minor != amount:
            raise Broken(f"{amount} was keyed, and TENDER says {said.amount_minor}")
        return self.knows.sales[said.counter]

    def accepted_sale(self, **changes: Any) -> Sale:
        """The same, and it was accepted."""
        sale = self.sale()
        self.accepted(sale, **changes)
        return sale

    def over(self, sale: Sale) -> None:
        """It has ended, by something other than its outcome."""
        sale.went = Went.OVER

    def stored(
        self, counter: int, code: str, *, after: str = "", within_s: float = REACT_S
    ) -> Heard:
        """STORED for that counter comes, and says that code. Broken."""
        heard = self.expect(
            Stored, within_s, where=lambda stored: stored.counter == counter, after=after
        )
        said = cast(Stored, heard.message).response_code
        if said != code:
            raise Broken(f"STORED for {counter} says {said}, and {code} is right {after}")
        return heard

    def end(self, sale: Sale, code: str = "17") -> None:
        """End it, and see it stored."""
        self.outcome(sale, code)
        self.stored(sale.counter, code, after="after OUTCOME")

    # -- pictures ----------------------------------------------------------------------------

    def next_image_id(self) -> int:
        return next(self._image_ids)

    def image_open(self, picture: Picture, sale: Sale | None = None, **changes: Any) -> int:
        """Say IMAGE_OPEN for it; the image id."""
        usual = ImageOpen(
            image_id=self.next_image_id(),
            image_format=picture.format,
            image_width=picture.width,
            image_height=picture.height,
            image_length=len(picture.data),
            image_crc=zlib.crc32(picture.data),
            terminal_id=None if sale is None else self.terminal_id,
            counter=None if sale is None else sale.counter,
        )
        opened = replace(usual, **changes)
        self.pass_by()
        self.say(opened)
        return opened.image_id

    def image_data(self, image_id: int, data: bytes, start: int = 0) -> None:
        """Say all of `data` from `start` on, in pieces."""
        for at in range(start, len(data), IMAGE_PIECE_BYTES):
            self.say(ImageData(image_id, at, data[at : at + IMAGE_PIECE_BYTES]))

    def image_show(self, image_id: int) -> int:
        """Say IMAGE_SHOW; the status that answers it, or that has answered IMAGE_OPEN."""
        self.say(ImageShow(image_id))
        return self.image_status(image_id)

    def image_status(self, image_id: int, within_s: float = 5.0) -> int:
        heard = self.expect(
            ImageStatus,
            within_s,
            where=lambda status: status.image_id == image_id,
            after=f"for image {image_id}",
        )
        return cast(ImageStatus, heard.message).status

    def image(self, picture: Picture, sale: Sale | None = None, **changes: Any) -> int:
        """Send a whole picture; the status."""
        image_id = self.image_open(picture, sale, **changes)
        self.image_data(image_id, picture.data)
        return self.image_show(image_id)

    # -- between two rules -------------------------------------------------------------------

    def settle(self) -> None:
        """Back to a terminal that is idle, paired, and has nothing open. NotThere."""
        self._manners = Manners()
        self.paired = 1
        self._todo.clear()
        self._busy = self._awaiting = False
        self.notes = []
        try:
            self._let_frames_end()
            self.greet()
            for sale in list(self.knows.sales.values()):
                if sale.went is not Went.OVER:
                    self._clear_away(sale)
            if self._may_be_stuck:
                self._tell_outcomes_again()
            for counter in self.knows.cancels - self.knows.outcomes.keys():
                self.say(self.outcome_for(counter, "17", 0))
            self.say(DisplayClear())
            self._let_frames_end()
        except Broken as fault:
            raise NotThere(str(fault)) from fault
        self.pass_by()

    def _clear_away(self, sale: Sale) -> None:
        told = self.knows.outcomes.get(sale.counter)
        outcome = told[0] if told else self.outcome_for(sale.counter, "17", sale.amount_minor)
        self.say(outcome)
        if self.perhaps(Stored, where=lambda stored: stored.counter == sale.counter) is None:
            sale.went = Went.OVER  # it will not be asked for again and again

    def _tell_outcomes_again(self) -> None:
        """A sale that the terminal has open still, though it has said STORED, ends by that."""
        for outcomes in list(self.knows.outcomes.values())[-OUTCOMES_TOLD_AGAIN:]:
            self.say(outcomes[0])
        self._may_be_stuck = False

    def _let_frames_end(self) -> None:
        """Until nothing has come for as long as a frame waits for its answer."""
        quiet_s = 0.1 if self._all_acked() else NO_ANSWER_S + 0.2
        ends_at = self.now + BABBLE_S
        while self.pump(self.now + quiet_s) and self.now < ends_at:
            pass

    def _all_acked(self) -> bool:
        return not self._heard or self._heard[-1].acked
