"""Terminals with one fault each: what a firmware gets wrong, and which rule must find it.

Rules
- Each fault is the simulated terminal with one rule taken out, as small as it can be.
- `breaks` is what the tester has to name; a fault may break more than that.
- Here are faults alone; the terminal that keeps the rules is `tools/terminal`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from drivers.link.authentication import Verdict
from drivers.link.dialect import Dialect
from drivers.link.encoding import Decoded
from drivers.link.encoding.fs import without_check
from drivers.link.framing import ACK, NAK, Bad, Frame, FrameEvent, dle_crc16
from drivers.link.framing import Decoder as AnyDecoder
from drivers.link.framing.crc16 import crc16
from drivers.link.messages import (
    OBJECTS,
    Cancel,
    DisplayClear,
    Hello,
    ImageShown,
    ImageStatus,
    Message,
    NotUnderstood,
    Outcome,
    PairDone,
    PairOpen,
    PairReveal,
    Ping,
    Reason,
    Refused,
    Role,
    Stored,
    Tender,
    Welcome,
)
from drivers.link.pairing import TerminalPairing, commitment, confirmation
from drivers.link.sealed import TerminalSeal
from drivers.link.session import Delivered, Judged, Session, SessionEvent
from tools.conformance_tester.simulated import MakeLink
from tools.terminal import panel
from tools.terminal.actions import Closed, Ending
from tools.terminal.core import Device, State, Terminal
from tools.terminal.images import Intake, PanelImage
from tools.terminal.link import TerminalLink
from tools.terminal.storage import Kind, Phase, Storage, Transaction


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `dialect` is the one it is tried in."""

    name: str
    breaks: tuple[str, ...]
    make: MakeLink
    dialect: str = "native"


FAULTS: dict[str, Fault] = {}


def _of_terminal(*breaks: str, dialect: str = "native") -> Callable[[type[Terminal]], None]:
    """A fault in what the terminal decides."""

    def note(faulty: type[Terminal]) -> None:
        def make(device: Device, storage: Storage, spoken: Dialect) -> TerminalLink:
            return TerminalLink(_terminal(faulty, device, storage), spoken)

        _note(faulty, breaks, make, dialect)

    return note


def _of_session(*breaks: str, dialect: str = "native") -> Callable[[type[Session]], None]:
    """A fault in numbering and acknowledgement."""

    def note(faulty: type[Session]) -> None:
        def make(device: Device, storage: Storage, spoken: Dialect) -> TerminalLink:
            link = TerminalLink(_terminal(Terminal, device, storage), spoken)
            link.session = faulty(spoken, max_body=device.max_body, seal=link._seal)
            return link

        _note(faulty, breaks, make, dialect)

    return note


def _of_dialect(
    *breaks: str, dialect: str = "native"
) -> Callable[[Callable[[Dialect], Dialect]], None]:
    """A fault in framing or encoding."""

    def note(spoilt: Callable[[Dialect], Dialect]) -> None:
        def make(device: Device, storage: Storage, spoken: Dialect) -> TerminalLink:
            return TerminalLink(_terminal(Terminal, device, storage), spoilt(spoken))

        _note(spoilt, breaks, make, dialect)

    return note


def _note(faulty: Any, breaks: tuple[str, ...], make: MakeLink, dialect: str) -> None:
    name = faulty.__name__
    FAULTS[name] = Fault(name, breaks, make, dialect)


def _terminal(kind: type[Terminal], device: Device, storage: Storage) -> Terminal:
    return kind(
        device, storage, os.urandom, can_show=lambda image: panel.can_show(image, device.panel)
    )


# Framing


class _Spoilt:
    """A decoder whose events go through `change`."""

    def __init__(self, inner: AnyDecoder, change: Callable[[FrameEvent], list[FrameEvent]]) -> None:
        self._inner = inner
        self._change = change

    def feed(self, data: bytes) -> list[FrameEvent]:
        return [event for found in self._inner.feed(data) for event in self._change(found)]

    @property
    def inside(self) -> bool:
        return self._inner.inside

    def drop(self) -> None:
        self._inner.drop()

    def take_noise(self) -> bytes:
        return self._inner.take_noise()


def _framed(
    dialect: Dialect, change: Callable[[FrameEvent], list[FrameEvent]], more_bytes: int = 0
) -> Dialect:
    decoder = dialect.framing.decoder
    spoilt = replace(
        dialect.framing, decoder=lambda size: _Spoilt(decoder(size + more_bytes), change)
    )
    return replace(dialect, framing=spoilt)


@_of_dialect("line.bad-check")
def takes_a_wrong_check(dialect: Dialect) -> Dialect:
    return _framed(
        dialect, lambda e: [Frame(e.body)] if isinstance(e, Bad) and "CRC" in e.why else [e]
    )


@_of_dialect("line.bad-check", dialect="classic")
def takes_a_wrong_lrc(dialect: Dialect) -> Dialect:
    return _framed(
        dialect, lambda e: [Frame(e.body)] if isinstance(e, Bad) and "LRC" in e.why else [e]
    )


@_of_dialect("line.too-short", "line.bad-check", "line.bad-byte", "line.too-long")
def never_says_nak(dialect: Dialect) -> Dialect:
    return _framed(dialect, lambda e: [] if isinstance(e, Bad) else [e])


@_of_dialect("line.too-long")
def takes_a_body_that_is_too_long(dialect: Dialect) -> Dialect:
    return _framed(dialect, lambda e: [e], more_bytes=1)


@_of_dialect("line.type-00")
def takes_type_00(dialect: Dialect) -> Dialect:
    return _framed(
        dialect, lambda e: [Frame(e.body)] if isinstance(e, Bad) and "type 00" in e.why else [e]
    )


@_of_dialect("line.start-inside")
def keeps_what_came_before_a_start(dialect: Dialect) -> Dialect:
    class Keeps(dle_crc16.Decoder):
        def _enter(self) -> None:
            if not self._inside:
                super()._enter()

    return replace(dialect, framing=replace(dialect.framing, decoder=Keeps))


@_of_dialect("line.bytewise", "line.slow")
def wants_a_frame_in_one_piece(dialect: Dialect) -> Dialect:
    class Wants(dle_crc16.Decoder):
        def feed(self, data: bytes) -> list[FrameEvent]:
            events = super().feed(data)
            self.drop()
            return events

    return replace(dialect, framing=replace(dialect.framing, decoder=Wants))


# Encoding


def _decoded(dialect: Dialect, decode: Callable[[bytes], Decoded]) -> Dialect:
    return replace(dialect, encoding=replace(dialect.encoding, decode=decode))


@_of_dialect("words.text-check", "words.not-understood", dialect="classic")
def does_not_look_at_df7e(dialect: Dialect) -> Dialect:
    def decode(body: bytes) -> Decoded:
        text = without_check(body)
        return dialect.encoding.decode(text + b"\x1cDF7E=%04X" % crc16(text))

    return _decoded(dialect, decode)


@_of_dialect("words.unknown-objects", "line.longest-body")
def trips_over_unknown_objects(dialect: Dialect) -> Dialect:
    def decode(body: bytes) -> Decoded:
        if any(tag not in OBJECTS for tag, _, _ in dialect.encoding.places(body)):
            raise NotUnderstood("an unknown object")
        return dialect.encoding.decode(body)

    return _decoded(dialect, decode)


@_of_dialect("words.not-understood")
def takes_any_response_code(dialect: Dialect) -> Dialect:
    return _decoded(
        dialect, lambda body: dialect.encoding.decode(body.replace(b"\x8a\x0299", b"\x8a\x0205"))
    )


@_of_dialect("words.any-order")
def wants_its_objects_in_order(dialect: Dialect) -> Dialect:
    def decode(body: bytes) -> Decoded:
        decoded = dialect.encoding.decode(body)
        rank = {tag: place for place, tag in enumerate(decoded.message.tags)}
        tags = [tag for tag, _, _ in dialect.encoding.places(body) if tag in rank]
        if tags != sorted(tags, key=rank.__getitem__):
            raise NotUnderstood("another order")
        return decoded

    return _decoded(dialect, decode)


@_of_dialect("words.foreign-objects")
def trips_over_foreign_objects(dialect: Dialect) -> Dialect:
    def decode(body: bytes) -> Decoded:
        decoded = dialect.encoding.decode(body)
        own = {*decoded.message.tags, 0xDF26, 0xDF7F}
        if any(tag in OBJECTS and tag not in own for tag, _, _ in dialect.encoding.places(body)):
            raise NotUnderstood("an object of another message")
        return decoded

    return _decoded(dialect, decode)


@_of_dialect("words.wraps")
def does_not_know_number_255(dialect: Dialect) -> Dialect:
    def decode(body: bytes) -> Decoded:
        decoded = dialect.encoding.decode(body)
        if decoded.sequence == 255:
            raise NotUnderstood("number 255")
        return decoded

    return _decoded(dialect, decode)


def _encoded(dialect: Dialect, change: Callable[[Message], Message]) -> Dialect:
    plain = dialect.encoding.encode

    def encode(message: Message, sequence: int, **coded: Any) -> bytes:
        return plain(change(message), sequence, **coded)

    return replace(dialect, encoding=replace(dialect.encoding, encode=encode))


@_of_dialect("words.understood")
def writes_half_an_object(dialect: Dialect) -> Dialect:
    plain = dialect.encoding.encode

    def encode(message: Message, sequence: int, **coded: Any) -> bytes:
        body = plain(message, sequence, **coded)
        return body + b"\x9f" if isinstance(message, Tender) else body

    return replace(dialect, encoding=replace(dialect.encoding, encode=encode))


@_of_dialect("hello.right")
def asks_for_small_bodies(dialect: Dialect) -> Dialect:
    return _encoded(dialect, lambda m: replace(m, max_body=256) if isinstance(m, Hello) else m)


@_of_dialect("who.own-name")
def stores_for_another(dialect: Dialect) -> Dialect:
    return _encoded(
        dialect, lambda m: replace(m, terminal_id="OTHER") if isinstance(m, Stored) else m
    )


# Session


@_of_session("line.ack-in-time")
class AcknowledgesLate(Session):
    LATE_S = 0.6

    _answer_at = 0.0

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        before = len(self._answers)
        events = super().receive(data, now)
        if len(self._answers) > before:
            self._answer_at = now + self.LATE_S
        return events

    def take_output(self, now: float) -> bytes:
        if now >= self._answer_at:
            return super().take_output(now)
        kept, self._answers = self._answers, bytearray()
        data = super().take_output(now)
        self._answers = kept
        return data

    def next_wake(self) -> float | None:
        when = super().next_wake()
        if not self._answers:
            return when
        return self._answer_at if when is None else min(when, self._answer_at)


@_of_session("image.duplicate-piece", "words.duplicate", "image.shown-once")
class TakesDuplicates(Session):
    def _take(self, body: bytes, now: float) -> list[SessionEvent]:
        self._last_taken = None
        return super()._take(body, now)


@_of_session("line.sent-again", "line.nak")
class SendsTwice(Session):
    def _send_again(self, ready_at: float, now: float) -> list[SessionEvent]:
        if self._out is not None and self._out.times_sent == 2:
            self._out.times_sent = 3
        return super()._send_again(ready_at, now)


@_of_session("line.sent-right")
class SendsFourTimes(Session):
    _spare = 1

    def _send_again(self, ready_at: float, now: float) -> list[SessionEvent]:
        if self._out is not None and self._out.times_sent == 3 and self._spare:
            self._spare = 0
            self._out.times_sent = 2
        return super()._send_again(ready_at, now)


@_of_session("line.sent-again")
class SendsAgainWithANewNumber(Session):
    def take_output(self, now: float) -> bytes:
        out = self._out
        if out is not None and out.times_sent and now >= out.ready_at:
            fresh = self._frame(out.message)
            if out.stage.name == "READY":
                out.frame = fresh
        return super().take_output(now)


@_of_session("line.cut")
class KeepsHalfAFrame(Session):
    @property
    def _gap_ends_at(self) -> float | None:
        return None


@_of_session("line.slow")
class DropsAFrameTooSoon(Session):
    @property
    def _gap_ends_at(self) -> float | None:
        return self._last_byte_at + 0.2 if self._decoder.inside else None


@_of_session("line.stray-answers", "line.late-answers")
class KeepsAnswersForLater(Session):
    _spare: Any = None

    def _answer_came(self, answer: Any, now: float) -> list[SessionEvent]:
        if self._out is None:
            self._spare = answer
        return super()._answer_came(answer, now)

    def written(self, now: float) -> list[SessionEvent]:
        events = super().written(now)
        spare, self._spare = self._spare, None
        if spare is None or self._out is None:
            return events
        return events + super()._answer_came(spare, now)


@_of_session("line.stands-still")
class CountsOnWhileAFrameComesIn(Session):
    def _count_or_stand_still(self, now: float) -> None:
        pass


@_of_session("line.frames-right")
class AnswersInsideItsOwnFrame(Session):
    def take_output(self, now: float) -> bytes:
        answers, self._answers = bytes(self._answers), bytearray()
        frame = super().take_output(now)
        if not (answers and frame):
            return answers + frame
        return frame[:5] + answers + frame[5:]


@_of_session("line.ack", "line.answer-once")
class AcknowledgesTwice(Session):
    def _answer(self, answer: bytes) -> None:
        super()._answer(answer)
        if answer == ACK:
            super()._answer(answer)


@_of_session("line.noise")
class AnswersNoise(Session):
    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        events = super().receive(data, now)
        if self.take_noise():
            self._answer(NAK)
        return events


@_of_session("line.both-ways", "line.ack-in-time")
class IsDeafWhileItWaits(Session):
    def _answer(self, answer: bytes) -> None:
        if self._out is None or self._out.stage.name != "WAITING":
            super()._answer(answer)


@_of_session("line.one-out", "line.sent-again")
class DoesNotWaitForAnswers(Session):
    def written(self, now: float) -> list[SessionEvent]:
        events = super().written(now)
        out = self._out
        if out is None:
            return events
        self._finish(now)
        return [*events, Delivered(out.message)]


@_of_session("words.numbered")
class GoesRoundAt100(Session):
    def _frame(self, message: Message) -> bytes:
        frame = super()._frame(message)
        self._next_sequence = (self._next_sequence - 1) % 100 + 1
        return frame


@_of_session("words.hello-afresh")
class RemembersBeyondHello(Session):
    def _number_afresh(self) -> None:
        last = self._last_taken
        super()._number_afresh()
        self._last_taken = last


@_of_session("hello.on-identify", "hello.power-up")
class CountsItsHello(Session):
    def _frame(self, message: Message) -> bytes:
        number = self._next_sequence
        frame = super()._frame(message)
        if isinstance(message, Hello):
            body = self.dialect.encoding.encode(message, number % 255 + 1)
            frame = self.dialect.framing.encode(body)
            self._next_sequence = number % 255 + 1
        return frame


# Who is meant


@_of_terminal("who.another-terminal")
class TakesWhatNamesAnother(Terminal):
    def _names_me(self, message: Any, now: float) -> bool:
        return True


@_of_terminal("session.no-welcome", "hello.every-5-s")
class SaysHelloOnce(Terminal):
    def _hello(self, now: float) -> None:
        super()._hello(now)
        self._hello_at = now + 1e6


@_of_terminal("hello.nothing-else", "hello.alone")
class SpeaksBeforeWelcome(Terminal):
    def _due(self, now: float) -> None:
        super()._due(now)
        if self.state is State.GREETING:
            self._say_what_is_due(now)

    def next_wake(self) -> float | None:
        when = super().next_wake()
        says = self._says.values() if self.state is State.GREETING else ()
        return min([time for time in (when, *says) if time is not None], default=None)


@_of_terminal("journal.other")
class KnowsNoJournal(Terminal):
    def _on_welcome(self, message: Welcome, now: float) -> None:
        known = self._kept.journal_id
        super()._on_welcome(replace(message, journal_id=known or message.journal_id), now)


@_of_terminal("journal.set-back", "journal.no-counter")
class DoesNotLookAtTheCounterOfWelcome(Terminal):
    def _on_welcome(self, message: Welcome, now: float) -> None:
        super()._on_welcome(replace(message, counter=self._kept.counter), now)


@_of_terminal("unpaired.silent", "unpaired.every-60-s")
class SellsUnpaired(Terminal):
    def _on_welcome(self, message: Welcome, now: float) -> None:
        super()._on_welcome(replace(message, paired=1), now)


@_of_terminal("words.text")
class ShowsHalfAText(Terminal):
    def _show_text(self, text: str) -> None:
        super()._show_text(text[:40])


@_of_terminal("line.given-up")
class SaysNoHelloAfterGivingUp(Terminal):
    def given_up(self, message: Message, now: float) -> Any:
        return []


@_of_terminal("hello.on-refused")
class DoesNotGreetWhenRefused(Terminal):
    def handle(self, message: Any, now: float, refused: Message | None = None) -> Any:
        if isinstance(message, Refused) and message.reason in (9, 11):
            return []
        return super().handle(message, now, refused)


@_of_terminal("hello.cable")
class IsDeafOnceItsCableWasOut(Terminal):
    _was_out = False

    def unplugged(self) -> Any:
        self._was_out = True
        return super().unplugged()

    def plugged(self, now: float) -> Any:
        return [] if self._was_out else super().plugged(now)


@_of_terminal("hello.power-up")
class WaitsToBeAsked(Terminal):
    def plugged(self, now: float) -> Any:
        self.state = State.GREETING
        self._hello_at = now + 1e6
        return []

    def _greet_when_asked(self, now: float) -> None:
        if self.state is not State.GREETING or self._hello_at > now + 1e5:
            self._greet(now)


# A sale


@_of_terminal("tender.through-power-cut")
class SaysBeforeItStores(Terminal):
    def _begin(self, part: Transaction, now: float) -> None:
        storage, self._storage = self._storage, _Nowhere()
        super()._begin(part, now)
        self._storage = storage


class _Nowhere:
    def load(self) -> Any:
        raise AssertionError("nothing was kept")

    def save(self, kept: Any) -> None:
        pass


@_of_terminal("tender.above-welcome", "tender.counters-rise")
class CountsByItself(Terminal):
    def _on_welcome(self, message: Welcome, now: float) -> None:
        before = self._kept.counter
        super()._on_welcome(message, now)
        self._save(counter=before)


@_of_terminal("refused.3-again", "tender.after-refused-6", "tender.said-again")
class SaysItOnce(Terminal):
    def _say_stored(self, part: Transaction, now: float) -> None:
        super()._say_stored(part, now)
        self._says[part.counter] = now + 1e6


@_of_terminal(
    "accepted.other-currency",
    "accepted.other-amount",
    "progress.other-amount",
    "image.after-other-amount",
)
class TakesAnotherAmount(Terminal):
    def _other_amount(self, part: Transaction, amount_minor: int, now: float) -> None:
        self._life_ends[part.counter] = now + 300


@_of_terminal("accepted.unknown-counter")
class LetsStrangersBe(Terminal):
    def _cancel_stranger(self, counter: int, now: float) -> None:
        pass


@_of_terminal("cancel.no-tender", "cancel.no-tender-ever")
class SaysATenderAfterItsCancel(Terminal):
    def _cancel_own(self, part: Transaction, now: float) -> None:
        says = self._says.get(part.counter)
        super()._cancel_own(part, now)
        if says is not None:
            self._says[part.counter] = says


@_of_terminal("cancel.said-again")
class TakesProgressForTheEndOfACancel(Terminal):
    def _on_progress(self, message: Any, now: float) -> None:
        super()._on_progress(message, now)
        self._cancels.pop(message.counter, None)


@_of_terminal("refused.3-other-amount", "refused.3-unknown", "refused.ends-not")
class TakesAnyRefusedForTheEnd(Terminal):
    def _on_refused(self, message: Refused, refused: Message | None, now: float) -> None:
        sale = self.tender
        if sale is not None and sale.phase is Phase.SAID and message.refused[0] == 0x10:
            self._close(sale, Ending.REFUSED, message.reason, message.text)
        else:
            super()._on_refused(message, refused, now)


@_of_terminal("refused.another")
class DoesNotLookAtDf0c(Terminal):
    def _on_refused(self, message: Refused, refused: Message | None, now: float) -> None:
        sale = self.tender
        if sale is not None and sale.phase is Phase.SAID and message.reason == Reason.NOT_PAIRED:
            self._close(sale, Ending.REFUSED, message.reason, message.text)
        else:
            super()._on_refused(message, refused, now)


@_of_terminal("refused.late")
class TakesARefusedAfterAccepted(Terminal):
    def _on_refused(self, message: Refused, refused: Message | None, now: float) -> None:
        sale = self.tender
        if sale is not None and sale.phase is Phase.ACCEPTED and message.refused[0] == 0x10:
            self._close(sale, Ending.REFUSED, message.reason, message.text)
        else:
            super()._on_refused(message, refused, now)


@_of_terminal("cancel.refused-2-late")
class TakesRefused2ForNoSale(Terminal):
    def _not_known_there(self, part: Transaction) -> None:
        self._close(part, Ending.NEVER_TAKEN)


@_of_terminal("refused.3-first")
class AsksNobody(Terminal):
    def _found_used(self, part: Transaction, own: bool, now: float) -> None:
        if part.phase is Phase.USED_FIRST:
            part = replace(part, phase=Phase.USED_AGAIN)
        super()._found_used(part, own, now)


@_of_terminal("cancel.slowly", "sale.needs-only-hello", "sale.decides-nothing")
class GivesUpByItself(Terminal):
    PATIENCE_S = 40.0

    _begun_at = 0.0

    def _on_accepted(self, message: Any, now: float) -> None:
        self._begun_at = now
        super()._on_accepted(message, now)

    def _due(self, now: float) -> None:
        sale = self.tender
        late = now > self._begun_at + self.PATIENCE_S
        if late and sale is not None and sale.phase is Phase.ACCEPTED:
            self._close(sale, Ending.NEVER_TAKEN)
        super()._due(now)


@_of_terminal("query.in-silence")
class NeverAsks(Terminal):
    def _silent(self) -> list[int]:
        return []


@_of_terminal("tender.content")
class SellsInDollarsOfAustralia(Terminal):
    def sale(self, amount_minor: int, now: float, **content: Any) -> Any:
        return super().sale(amount_minor, now, **{**content, "currency": 36})


@_of_terminal("tender.same-content", "tender.said-again")
class ChangesItsReference(Terminal):
    def _message(self, part: Transaction) -> Any:
        message = super()._message(part)
        if part.kind is Kind.TENDER and part.times_said > 1:
            return replace(message, reference="AGAIN")
        return message


@_of_terminal("tender.one-open", "tender.no-second")
class SellsTwoAtOnce(Terminal):
    def sale(self, amount_minor: int, now: float, **content: Any) -> Any:
        if self.tender is None:
            return super().sale(amount_minor, now, **content)
        counter = self._next_counter()
        self._begin(Transaction(counter, Kind.TENDER, amount_minor, 554), now)
        return self._done()


@_of_terminal("cancel.refused-2")
class GoesOnAfterRefused2(Terminal):
    def _on_refused(self, message: Refused, refused: Message | None, now: float) -> None:
        if message.refused[0] != Cancel.type_code:
            super()._on_refused(message, refused, now)


@_of_terminal("refused.ends", "refund.refused")
class TakesNoRefused(Terminal):
    def _on_refused(self, message: Refused, refused: Message | None, now: float) -> None:
        if message.reason in (2, 3, 6, 9, 11) and message.refused[0] != 0x13:
            super()._on_refused(message, refused, now)


@_of_terminal("refund.approved", "refund.beside-a-sale")
class RefundsAnotherSale(Terminal):
    def refund(self, original_counter: int, amount_minor: int, now: float, **how: Any) -> Any:
        return super().refund(original_counter + 1, amount_minor, now, **how)


# Its outcome


@_of_terminal("outcome.approved")
class NeverBooks(Terminal):
    def _close_by(self, part: Transaction, outcome: Any) -> None:
        super()._close_by(part, replace(outcome, response_code="05"))


@_of_terminal("outcome.not-approved")
class AlwaysBooks(Terminal):
    def _close_by(self, part: Transaction, outcome: Any) -> None:
        super()._close_by(part, replace(outcome, response_code="00"))


@_of_terminal("outcome.before-accepted")
class WaitsForAccepted(Terminal):
    def _on_outcome(self, message: Outcome, now: float) -> None:
        part = self._open.get(message.counter)
        if part is None or part.phase is not Phase.SAID or part.cancelled:
            super()._on_outcome(message, now)


@_of_terminal("outcome.other-code", "outcome.stored-as-told", "outcome.last-eight")
class SaysStoredWithTheNewCode(Terminal):
    def _on_outcome(self, message: Outcome, now: float) -> None:
        kept = self._outcomes.get(message.counter)
        if kept is not None:
            self._outcomes[message.counter] = replace(kept, response_code=message.response_code)
        super()._on_outcome(message, now)


@_of_terminal("outcome.last-eight")
class RemembersSeven(Terminal):
    def _save(self, **changes: object) -> None:
        while len(self._outcomes) > 7:
            del self._outcomes[next(iter(self._outcomes))]
        super()._save(**changes)


@_of_terminal("unpaired.by-person", "outcome.beside-a-sale", "outcome.unknown-counter")
class DropsOutcomesItDoesNotKnow(Terminal):
    def _on_outcome(self, message: Outcome, now: float) -> None:
        if message.counter in self._open or message.counter in self._outcomes:
            super()._on_outcome(message, now)


@_of_terminal("outcome.through-power-cut")
class SaysStoredBeforeItStores(Terminal):
    def _on_outcome(self, message: Outcome, now: float) -> None:
        storage, self._storage = self._storage, _Nowhere()
        super()._on_outcome(message, now)
        self._storage = storage


@_of_terminal("outcome.repeated")
class AnswersAnOutcomeOnce(Terminal):
    def _on_outcome(self, message: Outcome, now: float) -> None:
        if message.counter not in self._outcomes:
            super()._on_outcome(message, now)


@_of_terminal("outcome.other-amount")
class BooksAnotherAmount(Terminal):
    def _close_by(self, part: Transaction, outcome: Any) -> None:
        super()._close_by(part, replace(outcome, amount_minor=part.amount_minor))


@_of_terminal("outcome.after-cancel")
class TakesNoApprovalAfterCancel(Terminal):
    def _close_by(self, part: Transaction, outcome: Any) -> None:
        if part.cancelled:
            self._out.append(
                Closed(part.counter, part.kind, Ending.NOT_APPROVED, part.amount_minor, "17")
            )
        else:
            super()._close_by(part, outcome)


@_of_terminal("refund.said-again")
class SaysARefundOnce(Terminal):
    def _say_stored(self, part: Transaction, now: float) -> None:
        super()._say_stored(part, now)
        if part.kind is Kind.REFUND:
            self._says[part.counter] = now + 1e6


# Images


@_of_terminal("image.too-large")
class HasNoEndOfMemory(Terminal):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intake._largest = 1 << 40


@_of_terminal("image.unknown-format")
class CallsEverythingTooLarge(Terminal):
    def _say(self, message: Any, now: float) -> None:
        if isinstance(message, ImageStatus) and message.status == ImageShown.UNKNOWN_FORMAT:
            message = replace(message, status=ImageShown.OUT_OF_MEMORY)
        super()._say(message, now)


@_of_terminal("image.new-open")
class FinishesOneFirst(Terminal):
    def _on_image_open(self, message: Any, now: float) -> None:
        if self._intake._open is None:
            super()._on_image_open(message, now)


@_of_terminal("image.cleared")
class ClearsNothing(Terminal):
    def _on_display(self, message: Any) -> None:
        if not isinstance(message, DisplayClear):
            super()._on_display(message)


@_of_terminal("image.between-pieces")
class TakesPicturesAlone(Terminal):
    def _on_progress(self, message: Any, now: float) -> None:
        self._intake.drop()
        super()._on_progress(message, now)


@_of_terminal("image.every-format")
class ShowsModulesAlone(Terminal):
    def _on_image_show(self, message: Any, now: float) -> None:
        opened = self._intake._open
        if opened is not None and opened.image_format != 0x10:
            self._intake.drop()
        super()._on_image_show(message, now)


@_of_terminal("image.while-closing", "image.before-accepted", "image.of-another")
class ShowsBeforeAccepted(Terminal):
    def _may_show(self, image: PanelImage, now: float) -> ImageShown:
        return ImageShown.SHOWN


@_of_terminal("image.life-over")
class ShowsForEver(Terminal):
    def _on_accepted(self, message: Any, now: float) -> None:
        super()._on_accepted(replace(message, seconds_left=9000), now)


@_of_terminal("image.of-a-tender")
class LeavesItOnThePanel(Terminal):
    def _drop(self, counter: int) -> None:
        shown, self.image = self.image, None
        super()._drop(counter)
        self.image = shown

    def _life_over(self, image: PanelImage, now: float) -> bool:
        return image.counter in self._life_ends and super()._life_over(image, now)

    def next_wake(self) -> float | None:
        shown, self.image = self.image, None
        when = super().next_wake()
        self.image = shown
        return when


@_of_terminal("image.bad-check")
class ShowsWhateverCame(Terminal):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intake = _Unchecked(self._intake)


@_of_terminal("image.gap")
class PutsPiecesWhereTheyCome(Terminal):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intake = _Unchecked(self._intake, gaps=True)


class _Unchecked(Intake):
    """Takes the check of what came for the check that was announced."""

    def __init__(self, like: Intake, *, gaps: bool = False) -> None:
        super().__init__(like._formats, like._panel, like._largest)
        self._gaps = gaps

    def show(self, message: Any) -> Any:
        if self._open is not None:
            import zlib

            data = b"".join(self._parts)
            broken = self._broken or self._size != self._open.image_length
            if self._gaps or not broken:
                self._open = replace(self._open, image_crc=zlib.crc32(data), image_length=len(data))
                self._broken = False
        return super().show(message)


# The authenticated link


def _sealed(*breaks: str) -> Callable[[type[TerminalSeal]], None]:
    """A fault in codes and what is taken without them."""

    def note(faulty: type[TerminalSeal]) -> None:
        def make(device: Device, storage: Storage, spoken: Dialect) -> TerminalLink:
            link = TerminalLink(_terminal(Terminal, device, storage), spoken)
            link._seal = faulty(spoken.encoding, storage.load().keys)
            link.session = Session(spoken, max_body=device.max_body, seal=link._seal)
            return link

        _note(faulty, breaks, make, "native")

    return note


def _pairing(*breaks: str) -> Callable[[type[TerminalPairing]], None]:
    """A fault in the dialogue of the six digits."""

    def note(faulty: type[TerminalPairing]) -> None:
        class Pairs(Terminal):
            def pair(self, now: float) -> Any:
                done = super().pair(now)
                assert self._pairing is not None
                self._pairing = faulty(self._pairing._share, self.device.terminal_id, now)
                return done

        def make(device: Device, storage: Storage, spoken: Dialect) -> TerminalLink:
            return TerminalLink(_terminal(Pairs, device, storage), spoken)

        _note(faulty, breaks, make, "native")

    return note


@_sealed("session.without-code", "session.wrong-code", "session.old-number")
class DoesNotLookAtCodes(TerminalSeal):
    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        judged = super().judge(body, read)
        if isinstance(read, Decoded) and isinstance(read.message, Outcome):
            return Judged(Verdict.TAKEN)
        return judged


@_sealed("session.old-number")
class DoesNotLookAtNumbers(TerminalSeal):
    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        is_outcome = isinstance(read, Decoded) and isinstance(read.message, Outcome)
        if self._session is not None and is_outcome:
            self._session.taken = 0
        return super().judge(body, read)


@_sealed("session.coded")
class CountsNothing(TerminalSeal):
    def encode(self, message: Message, sequence: int) -> bytes:
        if self._session is not None:
            self._session.sent = 0
        return super().encode(message, sequence)


@_sealed("session.wrong-welcome")
class TakesAnyWelcome(TerminalSeal):
    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        judged = super().judge(body, read)
        if isinstance(read, Decoded) and isinstance(read.message, Welcome):
            return Judged(Verdict.TAKEN)
        return judged


def _listens_before_welcome() -> None:
    """Two floors have this rule; both are without it here."""

    class Listens(TerminalSeal):
        def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
            before, self._welcomed = self._welcomed, True
            judged = super().judge(body, read)
            self._welcomed = self._welcomed if judged.verdict is Verdict.TAKEN else before
            return judged

    class Acts(Terminal):
        def handle(self, message: Any, now: float, refused: Message | None = None) -> Any:
            if self.state is State.GREETING and isinstance(message, Outcome):
                self._on_outcome(message, now)
                return self._done()
            return super().handle(message, now, refused)

    def make(device: Device, storage: Storage, spoken: Dialect) -> TerminalLink:
        link = TerminalLink(_terminal(Acts, device, storage), spoken)
        link._seal = Listens(spoken.encoding, storage.load().keys)
        link.session = Session(spoken, max_body=device.max_body, seal=link._seal)
        return link

    _note(_listens_before_welcome, ("session.meanwhile",), make, "native")


_listens_before_welcome()


@_of_terminal("session.hello-rate")
class SaysHelloToEachIdentify(Terminal):
    def _greet_when_asked(self, now: float) -> None:
        self._greet(now)


@_of_terminal("pair.done", "session.ping")
class SaysNoPing(Terminal):
    def _say(self, message: Any, now: float) -> None:
        self._said_at = now
        if not isinstance(message, Ping):
            super()._say(message, now)


@_of_terminal("session.same-nonce")
class HasOneNonce(Terminal):
    def _hello(self, now: float) -> None:
        self._nonce = b"\x01" * 8 if self.device.can_authenticate else None
        super()._hello(now)


@_of_terminal("pair.menu-closed")
class PairsWithAnybody(Terminal):
    def handle(self, message: Any, now: float, refused: Message | None = None) -> Any:
        if isinstance(message, PairOpen) and self._pairing is None:
            self.pair(now)
        return super().handle(message, now, refused)


@_of_terminal("pair.fresh")
class UsesItsKeyAgain(Terminal):
    def pair(self, now: float) -> Any:
        before, self._random_bytes = self._random_bytes, lambda size: bytes(range(size))
        try:
            return super().pair(now)
        finally:
            self._random_bytes = before


@_pairing("pair.commitment")
class BelievesAnyReveal(TerminalPairing):
    def receive(self, message: Any) -> Any:
        if isinstance(message, PairReveal):
            self._commitment = commitment(message.public_key, message.pairing_nonce)
        return super().receive(message)


@_pairing("pair.done-without-yes")
class NeedsNoYes(TerminalPairing):
    def receive(self, message: Any) -> Any:
        if isinstance(message, PairDone):
            self.person_says(yes=True)
        return super().receive(message)


@_pairing("pair.wrong-done")
class BelievesAnyDone(TerminalPairing):
    def _take_done(self, message: PairDone) -> Any:
        assert self._keys is not None
        return super()._take_done(PairDone(confirmation(self._keys, Role.BRIDGE)))


@_pairing("pair.refused-9")
class PairsAfterANo(TerminalPairing):
    def _take_refused(self, message: Refused) -> Any:
        return []


@_pairing("pair.time-over")
class WaitsForEver(TerminalPairing):
    def wake(self, now: float) -> Any:
        return []

    @property
    def next_wake(self) -> float | None:
        return None


@_pairing("pair.refused-6")
class SaysItsKeyOnce(TerminalPairing):
    def _take_refused(self, message: Refused) -> Any:
        if message.reason == Reason.NOT_UNDERSTOOD:
            return []
        return super()._take_refused(message)


@_pairing("pair.zeros")
class TakesAKeyOfZeros(TerminalPairing):
    def _take_reveal(self, message: PairReveal) -> Any:
        if message.public_key == bytes(32):
            message = replace(message, public_key=bytes((9, *bytes(31))))
            self._commitment = commitment(message.public_key, message.pairing_nonce)
        return super()._take_reveal(message)


@_pairing("pair.no")
class TakesNoForYes(TerminalPairing):
    def person_says(self, yes: bool) -> Any:
        return super().person_says(yes=True)


@_sealed("session.sale", "session.coded")
class SendsTendersWithoutCode(TerminalSeal):
    def encode(self, message: Message, sequence: int) -> bytes:
        if isinstance(message, Tender):
            return self._encoding.encode(message, sequence)
        return super().encode(message, sequence)


@_sealed("session.refused-9")
class DropsRefused9(TerminalSeal):
    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        judged = super().judge(body, read)
        is_refused = isinstance(read, Decoded) and isinstance(read.message, Refused)
        if self._session is not None and is_refused and read.code is None:
            return Judged(Verdict.OLD)
        return judged


@_of_terminal("session.keys-stay")
class ForgetsItsKeysWhenRefused(Terminal):
    def handle(self, message: Any, now: float, refused: Message | None = None) -> Any:
        if isinstance(message, Refused) and message.reason == 9 and message.refused[0] == 2:
            self._save(keys=None)
        return super().handle(message, now, refused)
