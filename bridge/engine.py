"""The one writer: takes all that is waiting, decides on each in order, writes the batch, commits, lets effects out.

- `process` is the whole engine, without threads or clocks: the daemon's thread calls it, and so does the fault
  simulation on its virtual time.
- Nothing leaves before its commit. Where the commit fails, nothing of the batch leaves: what waits for an answer is
  refused (`_cannot_write`), the journal is opened anew, and the state is read again before the next decision.
- A poisoned event (its decision raises, or would break an invariant) is set aside alone, and its tender frozen.
"""

import errno
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeAlias, assert_never

from bridge import book as books
from bridge import refund, reversal, sale
from bridge.book import Book, Page, TenderFault
from bridge.effects import Answer, Effect, Identify, KeysProved, Say, Welcome
from bridge.events import (
    Acknowledged,
    CallbackReceived,
    CodeRead,
    DisplayResult,
    Event,
    PartPayAnswered,
    RegistryChanged,
    TechnicianAt,
)
from bridge.invariants import broken
from bridge.journal.archive import Archived
from bridge.journal.journal import Journal
from bridge.lane_events import (
    Heard,
    LineDown,
    LineGivenUp,
    LineUp,
    PictureResult,
    Proved,
    UnknownKeys,
)
from bridge.partpay.callback import SignedCallback
from bridge.registry import Pairing, Snapshot
from bridge.stored_form import Plain
from bridge.switchboard import Switchboard, Verdict
from bridge.tender import (
    FINAL,
    PAID,
    Ask,
    Circumstances,
    Confirm,
    Kind,
    Note,
    Tender,
    Timing,
)
from drivers.link import messages as link
from drivers.link.authentication import Keys
from drivers.link.messages import Reason

log = logging.getLogger(__name__)

REOPEN_PAUSE_S: Final = 1.0
"""A journal that cannot be written is opened anew at most this often."""
ROOM_MIN_BYTES: Final = 64 * 1024 * 1024
"""Below this no new tender is taken, so that open ones can still be written (architecture)."""
PROTOCOL_VERSION: Final = 1
NOT_WRITTEN: Final = -1
"""The count that an acknowledgement gets where the journal cannot be written."""
LISTED_MAX: Final = 10_000
"""Findings remembered as listed; beyond it the memory is emptied, and a finding may be listed once more."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decisions need of the configuration. `prefix`: before every text outside production."""

    store: str
    currency: int
    currency_text: str
    prefix: str
    timing: Timing
    confirm: Confirm


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside that the engine reads, passed in.

    `now`: boot time in seconds; `boot`: the boot's id; `local`: the shop's date and time; `free_bytes`: room beside
    the journal; `registry`: the present snapshot; `random8`: eight lower-case hex digits; `open_journal`: opens it
    (raises sqlite3.Error or OSError).
    """

    now: Callable[[], float]
    boot: str
    local: Callable[[], datetime]
    free_bytes: Callable[[], int]
    registry: Callable[[], Snapshot]
    open_journal: Callable[[], Journal]
    random8: Callable[[], str] = lambda: secrets.token_hex(4)


@dataclass(slots=True)
class Decision:
    """What one event comes to, before it is written."""

    name: str = ""
    given: dict[str, Plain] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    pages: list[tuple[Page, list[Note]]] = field(default_factory=list)
    loose: list[Note] = field(default_factory=list)
    write_loose: bool = False


@dataclass(frozen=True, slots=True)
class _Due:
    """A book that waited for this moment. Made by the engine, for one book at a time, so that a fault stays there."""

    pairing: int


@dataclass(frozen=True, slots=True)
class _NobodyAnswered:
    """A line that was asked whether a pairing is still there had its time."""


_Matter: TypeAlias = Event | _Due | _NobodyAnswered
"""What is decided on: what came to the queue, and what the engine finds to be due."""


def is_full(error: Exception) -> bool:
    """Whether this is a disk without room, which passes by itself."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Engine:
    """Decides and remembers. Not thread-safe: one thread calls `process` and `next_wake`."""

    def __init__(self, rules: Rules, world: World) -> None:
        self._rules = rules
        self._world = world
        self._journal: Journal | None = None
        self._books: dict[int, Book] = {}
        self._board = Switchboard()
        self._helloed: dict[str, link.Hello] = {}
        self._welcomed: dict[str, int | None] = {}
        """By line, what its last WELCOME said: the pairing, or None for "not paired"."""
        self._technicians: set[str] = set()
        self._missed: dict[object, Event] = {}
        """What nobody says again by himself, and came while the journal could not be written; see `_keep`."""
        self._wakes: dict[int, float] = {}
        self._more_to_come = False
        """The event that is decided on is not the last of its batch."""
        self._reopen_at = float("-inf")
        self._listed: set[tuple[int | None, int | None, str, str]] = set()
        self.poisoned = 0
        self.why_not_writing: str | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """Opens the journal, reads what is live, and lets it go on; the effects of that.

        Raises:
            WrongJournal: another environment's or a newer release's.
            sqlite3.Error, OSError: the journal cannot be opened or written.
        """
        before = (self._books, self._wakes)
        try:
            return self._start()
        except BaseException:
            # What was decided and is not written must not be told (`_told_again`).
            self._books, self._wakes = before
            raise

    def _start(self) -> list[Effect]:
        self._journal = self._world.open_journal()
        self._read_state()
        effects: list[Effect] = []
        self._journal.begin()
        notes = []
        if self._journal.restored:
            notes = [
                Note(
                    "journal-restored",
                    "the journal is behind its stamp: restored from a copy, or lost; it has a new identity",
                )
            ]
        self._journal.write("started", {"boot": self._world.boot}, None, notes)
        self._journal.forget_restored()
        self._decide_all([], effects)
        self._journal.commit()
        return effects

    def start_later(self, error: Exception) -> None:
        """The disk is full at the start: the engine refuses what it must, and starts by itself when there is room."""
        self._lose_journal(error)

    def _read_state(self) -> None:
        assert self._journal is not None
        lanes = {p: b.lane for p, b in self._books.items()}
        frozen = {p: b.frozen for p, b in self._books.items()}
        self._books, self._wakes = {}, {}
        for was in self._journal.live():
            book = self._book(was.pairing, was)
            c = self._circumstances(book)
            t = (refund if was.kind is Kind.REFUND else sale).restarted(was, c)
            if self._journal.restored:
                t = sale.from_a_copy(t)
            self._wakes[t.pairing] = c.now
            self._books[t.pairing] = replace(
                book,
                tenders={**book.tenders, t.counter: t},
                lane=lanes.get(t.pairing),
                frozen=frozen.get(t.pairing, frozenset()),
            )
        for pairing, lane in lanes.items():
            if pairing not in self._books and (known := self._world.registry().pairing(pairing)):
                self._books[pairing] = Book(known, lane)

    def _book(self, pairing: int, t: Tender | None = None) -> Book:
        book = self._books.get(pairing)
        known = self._world.registry().pairing(pairing)
        if book is None:
            if known is None:
                assert t is not None
                known = Pairing(pairing=pairing, terminal_id=t.terminal_id, retired=True)
            return Book(known)
        return book if known is None or known is book.pairing else replace(book, pairing=known)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def archive(self, before: str) -> Archived | None:
        """Moves some settled tenders older than `before` (ISO 8601) out of the journal; see `Journal.archive`."""
        if self._journal is None:
            return None
        try:
            done = self._journal.archive(before)
        except (sqlite3.Error, OSError) as error:
            log.error("nothing can be archived: %s", error, extra={"event": "archive-failed"})
            return None
        if done is not None:
            log.info(
                "%d settled tenders archived to %s", done.tenders, done.file,
                extra={"event": "archived", "number": done.last_event, "hash": done.last_hash.hex()},
            )  # fmt: skip
        return done

    @property
    def frozen(self) -> frozenset[str]:
        """The tenders that were set aside, as `terminal/counter`. A start tries them anew."""
        return frozenset(
            f"{book.pairing.terminal_id}/{counter}"
            for book in self._books.values()
            for counter in book.frozen
        )

    @property
    def head(self) -> tuple[int, bytes] | None:
        """Number and hash of the last event, for the system log."""
        return None if self._journal is None else (self._journal.last_event, self._journal.head)

    def next_wake(self) -> float | None:
        """The boot time, in seconds, at which `process` should be called though nothing happened."""
        if self._journal is None:
            return self._reopen_at  # before that nothing can be decided, whatever is due
        times = [*self._wakes.values()]
        if (moving := self._board.next_wake()) is not None:
            times.append(moving)
        return min(times, default=None)

    # -- a batch ------------------------------------------------------------------------------------------------

    def process(self, batch: Iterable[Event]) -> list[Effect]:
        """Decides on each event in order, writes them in one durable transaction, and gives the effects.

        Never raises for bad input or a journal that cannot be written.
        """
        events = [*batch]
        effects: list[Effect] = []
        before = (dict(self._books), self._board)
        try:
            if self._journal is None:
                effects += self._reopen()
            if self._journal is None:
                return self._cannot_write(events)
            self._journal.begin()
            self._decide_all([*self._missed.values(), *events], effects)
            self._journal.commit()
            self._missed.clear()
        except (sqlite3.Error, OSError) as error:
            self._books, self._board = before
            self._lose_journal(error)
            return self._cannot_write(events)
        return effects

    def _lose_journal(self, error: Exception) -> None:
        why = f"the journal cannot be written: {error}: free some room, or look at the disk"
        if self.why_not_writing is None:
            log.error("journal lost", extra={"event": "journal-lost", "why": str(error)})
        self.why_not_writing = why
        self.close()
        self._reopen_at = self._world.now() + REOPEN_PAUSE_S
        self._wakes = {}

    def _reopen(self) -> list[Effect]:
        if self._world.now() < self._reopen_at:
            return []
        try:
            effects = self.start()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from opening, the daemon stays up and tries on
            self._lose_journal(error)
            return []
        self.why_not_writing = None
        log.info("journal writable again", extra={"event": "journal-writable"})
        return effects

    def _decide_all(self, events: Iterable[Event], effects: list[Effect]) -> None:
        waiting = list(events)
        for number, event in enumerate(waiting, 1):
            self._more_to_come = number < len(waiting)
            self._decide_one(event, effects)
        self._more_to_come = False
        now = self._world.now()
        if (due := self._board.next_wake()) is not None and now >= due:
            self._decide_one(_NobodyAnswered(), effects)
        for pairing in [p for p, due in self._wakes.items() if now >= due]:
            self._decide_one(_Due(pairing), effects)

    def _decide_one(self, event: _Matter, effects: list[Effect]) -> None:
        books, board, wakes = dict(self._books), self._board, dict(self._wakes)
        try:
            decision = self._decide(event)
            self._check(books, decision)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a poisoned event is set aside alone
            self._books, self._board, self._wakes = books, board, wakes
            effects += self._set_aside(event, error)
            return
        self._write(decision)
        effects += decision.effects

    def _check(self, before: dict[int, Book], decision: Decision) -> None:
        for page, _ in decision.pages:
            book = before.get(page.book.pairing.pairing)
            for t in page.changed.values():
                was = book.tenders.get(t.counter) if book else None
                for breach in broken(was, t):
                    raise breach

    def _write(self, decision: Decision) -> None:
        assert self._journal is not None
        given = decision.given
        decision.loose = self._unlisted(None, decision.loose)
        if decision.write_loose and (given or decision.loose):
            self._journal.write(decision.name, given, None, decision.loose)
            given = {}
        for page, all_notes in decision.pages:
            notes = self._unlisted(page.book.pairing.pairing, all_notes)
            for note in notes:
                self._tell_log([note], self._about(page, note))
            for t in page.changed.values():
                if given or self._journal.changes(t):
                    own = [n for n in notes if n.counter in (None, t.counter)]
                    log_step(t, self._journal.write(decision.name, given, t, own))
                    given, notes = {}, [n for n in notes if n not in own]
            for note in notes:
                if note.attention:
                    self._journal.write("noted", {}, self._about(page, note), [note])
        self._tell_log(decision.loose)

    def _about(self, page: Page, note: Note) -> Tender | None:
        """The tender that a finding is about, as it is after the decision."""
        assert self._journal is not None
        counter = note.counter
        changed = None if counter is None else page.changed.get(counter)
        return changed or (counter and page.book.find(counter, self._journal)) or None

    def _unlisted(self, pairing: int | None, notes: list[Note]) -> list[Note]:
        """A finding is written and listed once, however often it is found."""
        fresh = []
        for note in notes:
            key = (pairing, note.counter, note.code, note.text)
            if note.attention:
                if key in self._listed:
                    continue
                if len(self._listed) >= LISTED_MAX:
                    self._listed.clear()
                self._listed.add(key)
            fresh.append(note)
        return fresh

    @staticmethod
    def _tell_log(notes: Iterable[Note], t: Tender | None = None) -> None:
        for note in notes:
            about = {"terminal": note.terminal, "port": note.port} if t is None else subject(t)
            level = logging.WARNING if note.attention else logging.INFO
            log.log(level, "%s", note.text, extra={"event": note.code, **about})

    def _set_aside(self, event: _Matter, error: Exception) -> list[Effect]:
        self.poisoned += 1
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else "?"
        text = f"{type(event).__name__} was set aside: {type(error).__name__} in {where}: {error}"
        assert self._journal is not None
        pairing, counter = self._subject(event)
        if isinstance(error, TenderFault):
            counter = error.counter
        t = None
        if pairing is not None and counter is not None and (book := self._books.get(pairing)):
            t = book.tenders.get(counter)
            if t is not None:
                self._wakes[pairing] = self._world.now()
                self._books[pairing] = replace(book, frozen=book.frozen | {counter})
        log.error("%s", text, extra={"event": "poisoned", **(subject(t) if t is not None else {})})
        self._journal.write("set-aside", {}, t, [Note("poisoned", text)])
        return self._refusal(event)

    def _subject(self, event: _Matter) -> tuple[int | None, int | None]:
        match event:
            case PartPayAnswered() | CodeRead() | DisplayResult():
                return event.pairing, event.counter
            case Heard(lane=lane, message=message):
                return self._board.pairing_on(lane), getattr(message, "counter", None)
            case CallbackReceived(callback=callback):
                found = self._journal and self._journal.attempt_of_reference(
                    callback.gateway_reference
                )
                return (found[0], found[1]) if found else (None, None)
            case _Due(pairing=pairing):
                return pairing, None
        return None, None

    def _cannot_write(self, events: Iterable[Event]) -> list[Effect]:
        for event in events:
            self._keep(event)
        return [effect for event in events for effect in self._refusal(event)]

    def _keep(self, event: Event) -> None:
        """To be decided on when there is a journal again: who is on a line, and what was paired.

        A terminal that was welcomed just before says HELLO no more, and its lane takes nothing from it before a
        WELCOME. The last word on each line counts, so that there are never many of these.
        """
        match event:
            case Heard(message=link.Hello()) | UnknownKeys() | LineDown() | LineGivenUp():
                key: object = event.lane
            case TechnicianAt() | Proved():
                key = (type(event), event.lane)
            case RegistryChanged():
                key = RegistryChanged
            case _:
                return
        self._missed.pop(key, None)
        self._missed[key] = event

    def _refusal(self, event: _Matter) -> list[Effect]:
        """What can be said truly of an event that is not written."""
        prefix = self._rules.prefix
        match event:
            case Heard(
                lane=lane, message=link.Tender() | link.Refund() as message, sequence=sequence
            ):
                welcomed = self._welcomed.get(lane) is not None
                if self._speaker(event) is None:
                    reason = Reason.SAY_HELLO if welcomed else Reason.NOT_PAIRED
                elif (known := self._written(event, message.counter)) is None:
                    reason = Reason.CANNOT_WRITE
                elif books.is_repeat(known, message):
                    return self._told_again(lane, known)
                else:
                    reason = Reason.COUNTER_USED
                return [Say(lane, books.refused(reason, message, sequence, prefix))]
            case Heard(lane=lane, message=link.Cancel() | link.Query() as message):
                known = self._written(event, message.counter)
                return [] if known is None else self._told_again(lane, known)
            case CallbackReceived(reply=reply):
                return [Answer(reply, 503)]
            case Acknowledged(reply=reply):
                return [Answer(reply, NOT_WRITTEN)]
        return []

    def _speaker(self, event: Heard) -> int | None:
        """The pairing that says this: the one on its line, or, by its right code, the one that was welcomed there."""
        on_line = self._board.pairing_on(event.lane)
        if on_line is None and event.key_id is not None and self._is_authentic(event):
            return self._welcomed.get(event.lane)
        return on_line

    def _written(self, event: Heard, counter: int | None) -> Tender | None:
        """A live tender of this terminal as it was last written."""
        pairing = self._speaker(event)
        book = self._books.get(pairing) if pairing is not None else None
        return book.tenders.get(counter) if book is not None and counter is not None else None

    def _told_again(self, lane: str, t: Tender) -> list[Effect]:
        """What is written of it is durable, and may be said though nothing new can be written."""
        page = Page(replace(self._book(t.pairing), lane=lane), [], {})
        books.tell_written(page, t, self._circumstances(page.book))
        return page.effects

    # -- deciding -----------------------------------------------------------------------------------------------

    def _circumstances(self, book: Book, counter: int | None = None) -> Circumstances:
        rules, world = self._rules, self._world

        def elsewhere(order_id: str) -> bool:
            found = self._journal.attempt_of_order(order_id) if self._journal else None
            return found is not None and found[:2] != (book.pairing.pairing, counter)

        return Circumstances(
            now=world.now(),
            boot=world.boot,
            local=world.local(),
            timing=rules.timing,
            confirm=rules.confirm,
            store=rules.store,
            prefix=rules.prefix,
            currency=rules.currency_text,
            random8=world.random8,
            elsewhere=elsewhere,
            more_to_come=self._more_to_come,
            about=counter,
        )

    def _decide(self, event: _Matter) -> Decision:
        decision = Decision(type(event).__name__)
        match event:
            case Heard(message=link.Hello() as hello, lane=lane):
                self._hello(lane, hello, decision)
            case Heard():
                self._heard(event, decision)
            case Proved(lane=lane, key_id=key_id):
                self._proved(lane, key_id, decision)
            case LineUp():
                pass
            case LineDown(lane=lane) | LineGivenUp(lane=lane):
                self._nobody_on(lane, decision)
            case UnknownKeys(lane=lane, hello=hello):
                decision.name = "hello"
                self._nobody_on(lane, decision)
                self._not_served(lane, hello, decision)
            case TechnicianAt(lane=lane, here=here):
                self._technicians -= {lane}
                if here:
                    self._technicians |= {lane}
                else:
                    self._ask_whom_it_concerns(lane, decision)
            case PictureResult():
                self._picture(event, decision)
            case PartPayAnswered():
                self._answered(event, decision)
            case CodeRead():
                self._code_read(event, decision)
            case DisplayResult():
                self._display_result(event, decision)
            case CallbackReceived():
                self._callback(event, decision)
            case _NobodyAnswered():
                decision.name = "time"
                self._follow(self._board.wake(self._world.now()), decision)
            case _Due(pairing=pairing):
                decision.name = "time"
                self._turn(pairing, decision, lambda page, c: None)
            case RegistryChanged():
                self._registry(decision)
            case Acknowledged():
                assert self._journal is not None
                count = self._journal.acknowledge(event.entry, event.who)
                decision.name = "acknowledged"
                decision.given = {"who": event.who, "entry": event.entry or 0, "count": count}
                decision.write_loose = True
                decision.effects.append(Answer(event.reply, count))
            case _:
                assert_never(event)
        return decision

    def _turn(
        self,
        pairing: int,
        decision: Decision,
        change: Callable[[Page, Circumstances], None],
        counter: int | None = None,
    ) -> None:
        """One book changes, then acts on what it now is."""
        before = self._book(pairing)
        c = self._circumstances(before, counter)
        page = Page(before, [], {})
        change(page, c)
        books.act(page, before, c)
        self._books[pairing] = page.book
        decision.effects += page.effects
        decision.pages.append((page, c.notes))
        if c.more_to_come:
            self._wakes[pairing] = c.now
        elif c.wakes:
            self._wakes[pairing] = min(c.wakes)
        else:
            self._wakes.pop(pairing, None)

    def _hello(self, lane: str, hello: link.Hello, decision: Decision) -> None:
        pairing = self._pairing_of(hello)
        self._helloed[lane] = hello
        self._welcomed.pop(lane, None)
        decision.name = "hello"
        if pairing is None:
            self._not_served(lane, hello, decision)
        if pairing is not None and hello.key_id is not None:
            verdict = self._board.hello_with_keys(lane, pairing)
        else:
            verdict = self._board.hello(lane, pairing, self._world.now())
        self._follow(verdict, decision)

    def _pairing_of(self, hello: link.Hello) -> int | None:
        """The pairing that this HELLO may speak for: with its keys, where it has any."""
        registry = self._world.registry()
        known = registry.find(hello.terminal_id, hello.serial_number)
        keys = registry.keys_of(hello.terminal_id, hello.serial_number)
        if known is None or not self._serves(known) or not _fits(hello.key_id, keys):
            return None
        return known.pairing

    def _not_served(self, lane: str, hello: link.Hello, decision: Decision) -> None:
        """Whoever this is gets no sale: listed, unless a person is pairing it just now."""
        if lane in self._technicians:
            return
        who = f"terminal {hello.terminal_id}, serial number {hello.serial_number}, on {lane}"
        if hello.key_id is not None:
            note = Note(
                "unknown-keys",
                f"{who} has keys of another pairing than this bridge: pair it again, or unplug it",
                terminal=hello.terminal_id,
                port=lane,
            )
        elif self._world.registry().keys_of(hello.terminal_id, hello.serial_number):
            note = Note(
                "without-keys",
                f"{who} does not show the keys that it was paired with: if it is the right device, pair it again",
                terminal=hello.terminal_id,
                port=lane,
            )
        else:
            note = Note(
                "not-paired",
                f"{who} is not paired: pair it, or unplug it",
                terminal=hello.terminal_id,
                port=lane,
            )
        decision.loose.append(note)
        decision.write_loose = True

    def _nobody_on(self, lane: str, decision: Decision) -> None:
        self._helloed.pop(lane, None)
        self._welcomed.pop(lane, None)
        self._follow(self._board.down(lane), decision)
        self._place(lane, None)

    def _proved(self, lane: str, key_id: bytes, decision: Decision) -> None:
        """A message with a right code: the pairing with these keys is on this line now, and told so."""
        hello = self._helloed.get(lane)
        if hello is None:
            return
        pair = (hello.terminal_id, hello.serial_number)
        keys = self._world.registry().keys_of(*pair)
        if not keys or not _fits(key_id, keys):
            return
        if keys[-1].identifier != key_id:
            decision.effects.append(KeysProved(*pair, key_id))
        known = self._world.registry().find(*pair)
        if known is None or not self._serves(known):
            return
        if self._board.pairing_on(lane) == known.pairing:
            return
        self._board = self._board.proved(lane, known.pairing)
        self._place(lane, known.pairing)
        self._turn(known.pairing, decision, books.welcomed)

    def _serves(self, pairing: Pairing) -> bool:
        """Retired: nothing new, but what is open or unstored is still told."""
        return not pairing.retired or bool(self._book(pairing.pairing).tenders)

    def _follow(self, verdict: Verdict, decision: Decision) -> None:
        self._board = verdict.board
        decision.effects += [Identify(lane) for lane in verdict.ask]
        if verdict.doubled is not None:
            decision.loose.append(
                Note(
                    "two-alike",
                    f"two devices say that they are pairing {verdict.doubled}: the later one is not served",
                )
            )
            decision.write_loose = True
        for lane, pairing in verdict.welcome:
            self._welcome(lane, pairing, decision)

    def _welcome(self, lane: str, pairing: int | None, decision: Decision) -> None:
        assert self._journal is not None
        hello = self._helloed.get(lane)
        if hello is None:
            return  # its line went down in a batch that could not be written
        if pairing is not None and pairing != self._pairing_of(hello):
            pairing = None  # it got keys while it waited for this
        self._welcomed[lane] = pairing
        local = self._world.local()
        decision.effects.append(
            Welcome(
                lane,
                link.Welcome(
                    version=min(PROTOCOL_VERSION, hello.version),
                    journal_id=self._journal.identity,
                    paired=0 if pairing is None else 1,
                    local_date=int(local.strftime("%y%m%d")),
                    local_time=int(local.strftime("%H%M%S")),
                    counter=None if pairing is None else self._journal.highest_counter(pairing),
                ),
                paired=pairing is not None,
                hello=hello,
            )
        )
        if hello.key_id is not None:
            pairing = None  # nothing is told before a message has proved who is there
        self._place(lane, pairing)
        if pairing is not None:
            self._turn(pairing, decision, books.welcomed)

    def _place(self, lane: str, pairing: int | None) -> None:
        """This line is this pairing's alone."""
        for other, book in list(self._books.items()):
            if book.lane == lane and other != pairing:
                self._books[other] = replace(book, lane=None)
        if pairing is not None:
            self._books[pairing] = replace(self._book(pairing), lane=lane)

    def _heard(self, event: Heard, decision: Decision) -> None:
        assert self._journal is not None
        message, lane, shelf = event.message, event.lane, self._journal
        if event.key_id is not None:
            self._proved(lane, event.key_id, decision)
        if not self._is_authentic(event):
            reason = Reason.NOT_AUTHENTICATED
            refusal = books.refused(reason, message, event.sequence, self._rules.prefix)
            decision.effects.append(Say(lane, refusal))
            return
        pairing = self._board.pairing_on(lane)
        known = self._world.registry().pairing(pairing) if pairing is not None else None
        new = isinstance(message, link.Tender | link.Refund)
        if pairing is None or (new and (known is None or known.retired)):
            # Told that it is paired here, and found on another line since: it may be here after all.
            elsewhere = pairing is None and self._welcomed.get(lane) is not None
            reason = Reason.SAY_HELLO if elsewhere else Reason.NOT_PAIRED
            refusal = books.refused(reason, message, event.sequence, self._rules.prefix)
            decision.effects.append(Say(lane, refusal))
            return
        room = not new or self._world.free_bytes() >= ROOM_MIN_BYTES
        snapshot = self._world.registry()

        def change(page: Page, c: Circumstances) -> None:
            match message:
                case link.Tender():
                    books.tender(
                        page,
                        message,
                        event.sequence,
                        shelf,
                        self._rules.currency,
                        room,
                        snapshot.usable,
                        c,
                    )
                case link.Refund():
                    books.refund_asked(page, message, event.sequence, shelf, room, c)
                case link.Cancel():
                    books.cancel(page, message, event.sequence, shelf, c)
                case link.Query():
                    books.query(page, message, event.sequence, shelf, c)
                case link.Stored():
                    books.stored(page, message, shelf, c)
                case _:
                    raise TypeError(f"a lane handed over {message.type_name}")

        decision.name = type(message).__name__.lower()
        self._turn(pairing, decision, change, getattr(message, "counter", None))

    def _is_authentic(self, event: Heard) -> bool:
        """The lane has seen to it; but keys may have been agreed on, or forgotten, since its last HELLO."""
        hello = self._helloed.get(event.lane)
        if hello is None:
            return event.key_id is None
        keys = self._world.registry().keys_of(hello.terminal_id, hello.serial_number)
        return _fits(event.key_id, keys)

    def _picture(self, event: PictureResult, decision: Decision) -> None:
        pairing = self._board.pairing_on(event.lane)
        if pairing is None or event.counter is None:
            return
        counter = event.counter
        decision.name = "cannot-show"
        if event.shown:
            self._books[pairing] = books.panel_shows(self._book(pairing), counter)
            return
        self._turn(
            pairing,
            decision,
            lambda page, c: books.cannot_show(page, counter, event.why, c),
            counter,
        )

    def _display_result(self, event: DisplayResult, decision: Decision) -> None:
        decision.name = "display-result"
        why = None if event.shown else event.why
        self._turn(
            event.pairing,
            decision,
            lambda page, c: books.display_told(page, event.counter, event.payload, why, c),
            event.counter,
        )

    def _answered(self, event: PartPayAnswered, decision: Decision) -> None:
        decision.name = f"{event.ask}-answer"

        def change(page: Page, c: Circumstances) -> None:
            assert self._journal is not None
            t = page.book.find(event.counter, self._journal)
            if t is None:
                return
            if event.ask is not Ask.REFUND:
                page.put(sale.answered(t, event.attempt, event.ask, event.answer, c))
            elif t.kind is Kind.REFUND:
                page.put(refund.refund_answered(t, event.answer, c))
            else:
                page.put(reversal.refund_answered(t, event.attempt, event.answer, c))

        self._turn(event.pairing, decision, change, event.counter)

    def _code_read(self, event: CodeRead, decision: Decision) -> None:
        decision.name = "picture-read"

        def change(page: Page, c: Circumstances) -> None:
            t = page.book.tenders.get(event.counter)
            if t is not None:
                page.put(
                    sale.picture_read(t, event.attempt, event.payload, event.why, event.fetched, c)
                )

        self._turn(event.pairing, decision, change, event.counter)

    def _callback(self, event: CallbackReceived, decision: Decision) -> None:
        assert self._journal is not None
        callback = event.callback
        by_reference = self._journal.attempt_of_reference(callback.gateway_reference)
        by_order = self._journal.attempt_of_order(callback.order_id)
        found = by_reference or by_order
        t = None
        if found is not None:
            t = self._book_find(found[0], found[1])
        if t is not None and not self._signed_for(t, callback):
            log.warning(
                "callback signed by another merchant's key",
                extra={"event": "callback-wrong-key", **subject(t)},
            )
            decision.effects.append(Answer(event.reply, 401))
            return
        decision.name = "callback"
        decision.given = {
            "order_id": callback.order_id,
            "order_number": callback.order_number,
            "status": callback.status,
            "gateway_reference": callback.gateway_reference,
        }
        status = callback.status.lower() if callback.status.isascii() else callback.status
        agreed = (
            by_reference is not None
            and t is not None
            and self._agrees(t, by_reference, by_order, callback)
        )
        if not agreed:
            self._stray_callback(status, t, found, callback, decision)
            decision.effects.append(Answer(event.reply, 404))
            return
        assert by_reference is not None
        pairing, counter, number = by_reference

        def change(page: Page, c: Circumstances) -> None:
            assert self._journal is not None
            t = page.book.find(counter, self._journal)
            assert t is not None
            page.put(sale.signed(t, number, callback.order_id, callback.order_number, status, c))

        self._turn(pairing, decision, change, counter)
        decision.effects.append(Answer(event.reply, 200))

    def _book_find(self, pairing: int, counter: int) -> Tender | None:
        assert self._journal is not None
        book = self._books.get(pairing)
        return (book.tenders.get(counter) if book else None) or self._journal.find(pairing, counter)

    def _signed_for(self, t: Tender, callback: SignedCallback) -> bool:
        merchant = self._world.registry().merchant(t.merchant)
        own = merchant is not None and merchant.callback_key_file is not None
        return (t.merchant if own else "") in callback.signers

    @staticmethod
    def _agrees(
        t: Tender,
        by_reference: tuple[int, int, int],
        by_order: tuple[int, int, int] | None,
        callback: SignedCallback,
    ) -> bool:
        if by_order is not None:
            return by_order == by_reference
        attempt = next(a for a in t.attempts if a.number == by_reference[2])
        return attempt.order_id in (None, callback.order_id)

    def _stray_callback(
        self,
        status: str,
        t: Tender | None,
        found: tuple[int, int, int] | None,
        callback: SignedCallback,
        decision: Decision,
    ) -> None:
        """No order of ours, or its reference and order id disagree: written down, and asked about once."""
        note = Note(
            "stray-callback",
            f"a signed callback says {status} of order {callback.order_id}, reference "
            f"{callback.gateway_reference}, which is no order of ours",
            attention=status in PAID,
        )
        decision.loose.append(note)
        decision.write_loose = True
        if t is None or found is None:
            return
        pairing, counter, number = found

        def change(page: Page, c: Circumstances) -> None:
            a = next(a for a in t.attempts if a.number == number)
            if a.order_id is not None and not (a.told in FINAL and t.is_open):
                checked = replace(a, run=replace(a.run, check=not t.is_open))
                page.put(t.with_attempt(checked.at_once(Ask.STATUS)))

        self._turn(pairing, decision, change, counter)

    def _registry(self, decision: Decision) -> None:
        decision.name = "registry"
        snapshot = self._world.registry()
        for lane in [*self._helloed]:
            if lane not in self._technicians:
                self._ask_whom_it_concerns(lane, decision)
        for pairing, book in self._books.items():
            if (known := snapshot.pairing(pairing)) is not None:
                self._books[pairing] = replace(book, pairing=known)

    def _ask_whom_it_concerns(self, lane: str, decision: Decision) -> None:
        """Whoever would be welcomed otherwise now than it was is asked to say HELLO."""
        hello = self._helloed.get(lane)
        if hello is None or lane not in self._welcomed:
            return
        if self._welcomed[lane] != self._pairing_of(hello):
            decision.effects.append(Identify(lane))


def _fits(key_id: bytes | None, keys: tuple[Keys, ...]) -> bool:
    """Whether these are keys of a pairing that has `keys`; without any it speaks without."""
    if not keys:
        return key_id is None
    return any(one.identifier == key_id for one in keys)


def subject(t: Tender) -> dict[str, object]:
    """What a log line says of the tender that it is about."""
    return {
        "terminal": t.terminal_id,
        "counter": t.counter,
        "order": t.attempt.order_number if t.attempts else None,
        "reference": t.attempt.gateway_reference if t.attempts else None,
    }


def log_step(t: Tender, changed: dict[str, Plain]) -> None:
    """One line for each step of a tender's life."""
    more: dict[str, object] = {}
    if "outcome.code" in changed:
        event, more = "outcome", {"code": t.outcome and t.outcome.code, "reversal": str(t.reversal)}
    elif "pairing" in changed:
        event, more = str(t.kind), {"amount_minor": t.amount_minor, "merchant": t.merchant}
    elif "stored" in changed:
        event, more = "stored", {"code": t.outcome and t.outcome.code}
    elif "state" in changed:
        event, more = str(t.state), {"code": t.closing_code}
    elif any(key.endswith(".owed") for key in changed):
        event, more = "reversal", {"state": str(t.reversal)}
    else:
        return
    log.info("", extra={"event": event, **subject(t), **more})
