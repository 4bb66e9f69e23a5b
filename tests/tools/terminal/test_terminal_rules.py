"""Section 4 and 5 of the terminal link, rule by rule, at the simulated terminal's own end."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from drivers.display.geometry import Panel
from drivers.link.messages import (
    Accepted,
    Cancel,
    DisplayClear,
    DisplayText,
    FromBridge,
    Hello,
    Identify,
    ImageData,
    ImageOpen,
    ImageShow,
    ImageShown,
    ImageStatus,
    Message,
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
from tools.terminal.actions import (
    Action,
    Closed,
    Ending,
    Matter,
    NewCounter,
    Send,
    ShowImage,
    ShowText,
    TakeAway,
    TellPerson,
)
from tools.terminal.core import Device, NotNow, State, Terminal
from tools.terminal.storage import InMemory, Kept, KeptOutcome, Phase

ME = "T0000001"
JOURNAL = bytes.fromhex("0011223344556677")
OTHER_JOURNAL = bytes.fromhex("8899aabbccddeeff")
DEVICE = Device(ME, "SN123456", panel=Panel(128, 64), formats=b"\x10\x83", largest_image=2048)


def random_bytes(size: int) -> bytes:
    raise AssertionError(f"{size} random bytes for a terminal that cannot authenticate")


class Bench:
    """A terminal on the bench: a clock, and what it has done since it was last looked at."""

    def __init__(self, kept: Kept | None = None, device: Device = DEVICE) -> None:
        self.now = 1000.0
        self.device = device
        self.storage = InMemory(kept)
        self.terminal = Terminal(device, self.storage, random_bytes)
        self.done: list[Action] = []

    def hears(self, *messages: FromBridge, refused: Message | None = None) -> Bench:
        for message in messages:
            self.done += self.terminal.handle(message, self.now, refused)
        return self

    def does(self, actions: list[Action]) -> Bench:
        self.done += actions
        return self

    def plugged(self) -> Bench:
        return self.does(self.terminal.plugged(self.now))

    def hello_is_delivered(self) -> Bench:
        self.terminal.delivered(hello())
        return self

    def after(self, seconds: float) -> Bench:
        """Let time pass as a driver does: from one wake to the next."""
        end = self.now + seconds
        while (when := self.terminal.next_wake()) is not None and when <= end:
            self.now = max(self.now, when)
            self.does(self.terminal.wake(self.now))
        self.now = end
        return self.does(self.terminal.wake(end))

    def power_cut(self) -> Bench:
        self.terminal = Terminal(self.device, self.storage, random_bytes)
        self.done.clear()
        return self

    def ready(self, **welcome_fields: object) -> Bench:
        self.plugged().hello_is_delivered().hears(welcome(**welcome_fields))
        self.done.clear()
        return self

    def selling(self, amount_minor: int = 1250, *, accepted: bool = True) -> Bench:
        """Ready, and a sale begun under counter 1."""
        self.ready().does(self.terminal.sale(amount_minor, self.now))
        if accepted:
            self.hears(accept(amount_minor=amount_minor))
        self.done.clear()
        return self

    def said(self) -> list[Message]:
        """Messages since last asked; the rest stays."""
        said: list[Message] = [one.message for one in self.done if isinstance(one, Send)]
        self.done = [one for one in self.done if not isinstance(one, Send)]
        return said

    def other(self, kind: type[Action]) -> list[Action]:
        return [one for one in self.done if isinstance(one, kind)]

    def closed(self) -> Closed:
        (one,) = self.other(Closed)
        assert isinstance(one, Closed)
        return one

    def told(self) -> list[Matter]:
        return [one.matter for one in self.done if isinstance(one, TellPerson)]


def hello() -> Hello:
    return Hello(ME, "SN123456", 1, "Simulated", "1.0", 128, 64, b"\x10\x83", 4092, 2048)


def welcome(**fields: object) -> Welcome:
    return replace(Welcome(1, JOURNAL, 1, 261123, 81500), **fields)  # type: ignore[arg-type]


def tender(counter: int = 1, amount_minor: int = 1250) -> Tender:
    return Tender(ME, counter, amount_minor, 554)


def accept(counter: int = 1, amount_minor: int = 1250, seconds_left: int = 300) -> Accepted:
    return Accepted(ME, counter, amount_minor, 554, seconds_left)


def progress(counter: int = 1, amount_minor: int = 1250, seconds_left: int = 300) -> Progress:
    return Progress(ME, counter, amount_minor, "Scan", seconds_left)


def outcome(code: str = "00", counter: int = 1, amount_minor: int = 1250) -> Outcome:
    return Outcome(ME, counter, code, amount_minor, "TEST", 261123, 81512)


def refused(
    reason: int, of: type[Message] = Tender, counter: int | None = 1, number: int = 2
) -> Refused:
    return Refused(reason, bytes((of.type_code, number)), "no", ME, counter)


def image(
    data: bytes = b"\x15" + bytes(56), image_id: int = 1, counter: int | None = 1, **fields: object
) -> ImageOpen:
    opened = ImageOpen(image_id, 0x10, 21, 21, len(data), zlib.crc32(data))
    if counter is not None:
        opened = replace(opened, terminal_id=ME, counter=counter)
    return replace(opened, **fields)  # type: ignore[arg-type]


def whole(opened: ImageOpen, data: bytes = b"\x15" + bytes(56)) -> list[FromBridge]:
    half = len(data) // 2
    parts = [ImageData(opened.image_id, 0, data[:half])]
    parts.append(ImageData(opened.image_id, half, data[half:]))
    return [opened, *parts, ImageShow(opened.image_id)]


# HELLO (4.3)


def test_hello_is_said_every_five_seconds_until_welcome() -> None:
    bench = Bench().plugged()
    assert bench.said() == [hello()]
    bench.hello_is_delivered().after(4.9)
    assert bench.said() == []
    bench.after(0.2)
    assert bench.said() == [hello()]
    bench.hello_is_delivered().hears(welcome()).after(59)
    assert bench.said() == []


def test_a_hello_that_is_still_on_its_way_is_not_said_twice() -> None:
    bench = Bench().plugged().after(6)
    assert bench.said() == [hello()]
    bench.does(bench.terminal.given_up(hello(), bench.now)).after(5)
    assert bench.said() == [hello()]


@pytest.mark.parametrize(
    "cause",
    [
        Identify(),
        refused(Reason.SAY_HELLO),
        refused(Reason.NOT_AUTHENTICATED),
        Accepted("T0000002", 1, 5, 554, 10),
        Progress("T0000002", 1, 5, "", 10),
        Outcome("T0000002", 1, "00", 5, "", 261123, 81512),
        Refused(Reason.BUSY, b"\x10\x02", "", "T0000002", 1),
        image(terminal_id="T0000002"),
    ],
    ids=lambda message: f"{message.type_name}-{getattr(message, 'reason', '')}",
)
def test_what_makes_a_terminal_say_hello(cause: FromBridge) -> None:
    bench = Bench().ready().hears(cause)
    assert bench.said() == [hello()]
    assert bench.terminal.state is State.GREETING
    assert bench.done == [], "what names another terminal is dropped"


def test_a_message_that_was_given_up_makes_it_say_hello() -> None:
    bench = Bench().selling(accepted=False)
    bench.does(bench.terminal.given_up(tender(), bench.now))
    assert bench.said() == [hello()]


def test_between_hello_and_welcome_nothing_else_is_said() -> None:
    bench = Bench().selling().hears(Identify())
    bench.said()
    bench.hears(outcome(), progress(amount_minor=1), *whole(image()), refused(Reason.SAY_HELLO))
    bench.does(bench.terminal.cancel(bench.now)).after(4)
    assert bench.said() == []
    bench.hello_is_delivered().hears(welcome(counter=1))
    assert bench.said() == [Cancel(ME, 1)]


def test_without_a_welcome_for_a_minute_a_person_is_told_once() -> None:
    bench = Bench().plugged()
    for _ in range(30):
        bench.hello_is_delivered().after(5)
    assert bench.told() == [Matter.NO_WELCOME]


def test_nothing_is_done_while_the_cable_is_out() -> None:
    bench = Bench().selling(accepted=False).does([])
    bench.does(bench.terminal.unplugged()).hears(outcome()).after(100)
    assert bench.done == []
    bench.plugged().hello_is_delivered().hears(welcome(counter=1))
    assert bench.said() == [hello(), tender()]


# Not paired (4.1)


def test_not_paired_it_says_hello_every_minute_and_nothing_else() -> None:
    bench = Bench().selling(accepted=False)
    bench.hears(Identify()).hello_is_delivered().hears(welcome(paired=0))
    bench.said()
    assert bench.told() == [Matter.NOT_PAIRED]
    bench.hears(accept(), outcome(), *whole(image(counter=None))).after(59)
    assert bench.said() == []
    bench.after(2)
    assert bench.said() == [hello()]
    bench.hello_is_delivered().hears(welcome(paired=0))
    with pytest.raises(NotNow, match="not paired"):
        bench.terminal.refund(1, 5, bench.now)


def test_what_is_open_is_taken_up_when_it_is_paired() -> None:
    bench = Bench().selling(accepted=False)
    bench.hears(Identify()).hello_is_delivered().hears(welcome(paired=0), Identify())
    bench.said()
    bench.hello_is_delivered().hears(welcome(paired=1, counter=1))
    assert bench.said() == [tender()]


def test_not_paired_a_person_may_end_the_sale_and_its_outcome_is_a_strangers() -> None:
    bench = Bench().selling()
    with pytest.raises(NotNow, match="cancel"):
        bench.terminal.end(1, bench.now)
    bench.hears(Identify()).hello_is_delivered().hears(welcome(paired=0, counter=None))
    bench.does(bench.terminal.end(1, bench.now))
    assert bench.closed().ending is Ending.BY_PERSON
    bench.hears(Identify()).hello_is_delivered().hears(welcome(counter=1), outcome())
    assert bench.said()[-1] == Stored(ME, 1, "00")
    assert Matter.UNKNOWN_OUTCOME in bench.told()


# Another journal (4.4)


@pytest.mark.parametrize(
    "other", [welcome(journal_id=OTHER_JOURNAL, counter=9), welcome(counter=0), welcome()]
)
def test_another_journal_does_not_know_what_is_open(other: Welcome) -> None:
    bench = Bench().selling().hears(Identify()).hello_is_delivered().hears(other)
    assert Matter.OTHER_JOURNAL in bench.told()
    bench.said()
    bench.does(bench.terminal.cancel(bench.now)).hears(refused(Reason.NO_SUCH_TRANSACTION, Cancel))
    assert bench.other(Closed) == [], "REFUSED 2 is no 'no sale' from another journal"
    bench.does(bench.terminal.end(1, bench.now))
    assert bench.closed().ending is Ending.BY_PERSON


def test_a_tender_that_was_said_to_another_journal_is_not_said_again() -> None:
    bench = Bench().selling(accepted=False)
    bench.hears(Identify()).hello_is_delivered().hears(welcome(journal_id=OTHER_JOURNAL))
    bench.said()
    bench.after(20)
    assert tender() not in bench.said()


def test_the_journal_is_another_only_once() -> None:
    bench = Bench().selling().hears(outcome())
    for _ in range(2):
        bench.hears(Identify()).hello_is_delivered().hears(welcome(counter=0))
    bench.does(bench.terminal.sale(500, bench.now)).hears(accept(2, 500))
    bench.hears(Identify()).hello_is_delivered().hears(welcome(counter=2))
    assert Matter.OTHER_JOURNAL not in bench.told()
    assert bench.terminal.tender is not None
    assert not bench.terminal.tender.stranger


def test_the_same_journal_after_a_power_cut_knows_what_is_open() -> None:
    bench = Bench().selling().power_cut().ready(counter=1)
    bench.hears(accept(), outcome("05"))
    assert bench.closed().ending is Ending.NOT_APPROVED


# A tender (4.5 to 4.9)


def test_a_sale_is_in_the_storage_before_it_is_said() -> None:
    bench = Bench().ready()
    seen = []
    save = bench.storage.save
    bench.storage.save = lambda kept: (seen.append(kept), save(kept))[1]  # type: ignore[func-returns-value,method-assign]
    actions = bench.terminal.sale(1250, bench.now, reference="INV-1", merchant="M", operator="7")
    assert seen[0].counter == 1
    assert seen[0].open[0].amount_minor == 1250
    assert actions == [Send(Tender(ME, 1, 1250, 554, "M", "INV-1", "7"))]


def test_a_sale_that_cannot_be_stored_is_not_said() -> None:
    bench = Bench().ready()

    def full(_: Kept) -> None:
        raise OSError(28, "No space left on device")

    bench.storage.save = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="space"):
        bench.terminal.sale(1250, bench.now)


def test_what_the_link_cannot_say_is_not_begun() -> None:
    bench = Bench().ready()
    for wrong in ({"reference": "x" * 65}, {"currency": 10_000}, {"operator": "\x07"}):
        with pytest.raises(NotNow, match="cannot be said"):
            bench.terminal.sale(1250, bench.now, **wrong)  # type: ignore[arg-type]
    assert bench.storage.kept.counter == 0


def test_counters_rise_above_the_one_in_welcome() -> None:
    bench = Bench(Kept(counter=3, journal_id=JOURNAL)).ready(counter=41)
    bench.does(bench.terminal.sale(100, bench.now))
    assert bench.said() == [tender(42, 100)]
    bench.hears(accept(42, 100), outcome("05", 42, 100)).power_cut().ready(counter=7)
    bench.does(bench.terminal.sale(100, bench.now))
    assert bench.said() == [tender(43, 100)]


def test_there_is_one_open_tender() -> None:
    bench = Bench().selling()
    with pytest.raises(NotNow, match="sale 1"):
        bench.terminal.sale(1, bench.now)


def test_without_an_answer_the_tender_is_said_again_every_three_seconds() -> None:
    bench = Bench().selling(accepted=False).after(9.5)
    assert bench.said() == [tender()] * 3
    bench.hears(accept()).after(14)
    assert bench.said() == []


def test_progress_alone_does_not_end_the_repeating() -> None:
    bench = Bench().selling(accepted=False).hears(progress()).after(3)
    assert bench.said() == [tender()]


@pytest.mark.parametrize("reason", [Reason.SAY_HELLO, Reason.NOT_AUTHENTICATED])
def test_after_refused_9_or_11_hello_then_the_tender_again(reason: Reason) -> None:
    bench = Bench().selling(accepted=False).hears(refused(reason))
    assert bench.said() == [hello()]
    bench.hello_is_delivered().hears(welcome())
    assert bench.said() == [tender()]


def test_after_refused_6_the_tender_again_after_three_seconds() -> None:
    bench = Bench().selling(accepted=False)
    bench.hears(Refused(Reason.NOT_UNDERSTOOD, bytes(2), ""))
    assert bench.said() == []
    bench.after(3)
    assert bench.said() == [tender()]


ENDS_TENDER = {1, 4, 5, 7, 10}


@pytest.mark.parametrize("reason", range(1, 13))
def test_which_refused_ends_a_tender_before_accepted(reason: int) -> None:
    bench = Bench().selling(accepted=False).hears(refused(reason))
    assert bool(bench.other(Closed)) is (reason in ENDS_TENDER)
    if reason in ENDS_TENDER:
        assert bench.closed() == Closed(
            1, bench.closed().kind, Ending.REFUSED, 1250, reason=reason, text="no"
        )
        assert bench.storage.kept.open == ()


@pytest.mark.parametrize("reason", range(1, 13))
def test_no_refused_ends_a_tender_after_accepted(reason: int) -> None:
    bench = (
        Bench().selling().hears(refused(reason), refused(reason, Cancel), refused(reason, Query))
    )
    assert bench.other(Closed) == []
    assert bench.terminal.tender is not None


@pytest.mark.parametrize("reason", range(1, 13))
def test_a_refused_of_another_message_ends_no_tender(reason: int) -> None:
    bench = Bench().selling(accepted=False)
    for kind in (Query, Stored, Ping, ImageStatus, Refund):
        bench.hears(refused(reason, kind))
    assert bench.other(Closed) == []


def test_a_late_refused_of_an_earlier_tender_does_not_end_this_one() -> None:
    bench = Bench().selling(accepted=False).hears(refused(Reason.BUSY))
    bench.done.clear()
    bench.does(bench.terminal.sale(500, bench.now))
    bench.hears(refused(Reason.BUSY, counter=1))
    bench.hears(refused(Reason.BUSY, counter=None), refused=tender(1))
    assert bench.other(Closed) == []
    bench.hears(refused(Reason.BUSY, counter=None), refused=tender(2, 500))
    assert bench.closed().counter == 2


def test_which_refused_ends_a_refund() -> None:
    for reason in range(1, 13):
        bench = Bench().ready().does([])
        bench.does(bench.terminal.refund(7, 300, bench.now))
        assert bench.said() == [Refund(ME, 1, 7, 300)]
        bench.hears(refused(reason, Refund))
        assert bool(bench.other(Closed)) is (reason in ENDS_TENDER | {2, 8}), reason


def test_accepted_of_another_amount_or_currency_is_cancelled() -> None:
    for wrong in (accept(amount_minor=1251), replace(accept(), currency=36)):
        bench = Bench().selling(accepted=False).hears(wrong)
        assert bench.said() == [Cancel(ME, 1)]
        assert bench.told() == [Matter.OTHER_AMOUNT]
        bench.hears(*whole(image()))
        assert bench.said() == [ImageStatus(1, ImageShown.BAD_CHECK)]
        bench.hears(outcome("17", amount_minor=1251))
        assert bench.closed().ending is Ending.NOT_APPROVED


def test_progress_of_another_amount_is_cancelled() -> None:
    bench = Bench().selling().hears(progress(amount_minor=1))
    assert bench.said() == [Cancel(ME, 1)]


@pytest.mark.parametrize("stranger", [accept(77), progress(77)])
def test_a_counter_that_is_not_open_is_cancelled_and_not_in_a_circle(stranger: FromBridge) -> None:
    bench = Bench().ready().hears(stranger)
    assert bench.said() == [Cancel(ME, 77)]
    bench.hears(progress(77), progress(77))
    assert bench.said() == [], "an answer is not answered"
    bench.after(3)
    assert bench.said() == [Cancel(ME, 77)]
    bench.hears(outcome("17", 77))
    assert bench.said() == [Stored(ME, 77, "17")]
    bench.after(14)
    assert bench.said() == []


def test_cancel_is_said_every_three_seconds_and_after_a_minute_every_minute() -> None:
    bench = Bench().selling()
    bench.does(bench.terminal.cancel(bench.now))
    assert bench.said() == [Cancel(ME, 1)]
    for _ in range(12):
        bench.hears(progress()).after(5)
    assert 19 <= len(bench.said()) <= 21
    for _ in range(10):
        bench.hears(progress()).after(12)
    assert bench.said() == [Cancel(ME, 1)] * 2


def test_after_a_cancel_the_tender_is_not_said_any_more() -> None:
    bench = Bench().selling(accepted=False)
    bench.does(bench.terminal.cancel(bench.now)).after(30)
    assert tender() not in bench.said()
    bench.power_cut().ready(counter=0).after(30)
    assert set(bench.said()) == {Cancel(ME, 1)}


def test_after_a_welcome_cancel_is_said_again_at_once() -> None:
    bench = Bench().selling()
    bench.does(bench.terminal.cancel(bench.now)).hears(Identify())
    bench.said()
    bench.hello_is_delivered().hears(welcome(counter=1))
    assert bench.said() == [Cancel(ME, 1)]


def test_refused_2_to_a_cancel_before_accepted_means_no_sale() -> None:
    bench = Bench().selling(accepted=False)
    bench.does(bench.terminal.cancel(bench.now)).hears(refused(2, Cancel))
    assert bench.closed().ending is Ending.NEVER_TAKEN
    bench.said()
    bench.after(14)
    assert bench.said() == []


def test_refused_2_to_a_cancel_after_accepted_ends_the_repeating_only() -> None:
    bench = Bench().selling()
    bench.does(bench.terminal.cancel(bench.now)).hears(refused(2, Cancel))
    bench.said()
    assert bench.told() == [Matter.NOT_KNOWN_THERE]
    bench.after(14)
    assert Cancel(ME, 1) not in bench.said()
    assert bench.terminal.tender is not None


# Reason 3: the counter was used (4.9)


def test_reason_3_is_asked_about() -> None:
    bench = Bench().selling(accepted=False).hears(refused(Reason.COUNTER_USED))
    assert bench.said() == [Query(ME, 1)]
    bench.after(7)
    assert bench.said() == [Query(ME, 1)] * 2


@pytest.mark.parametrize(
    "answer", [outcome("00", 1, 99), progress(1, 99), refused(Reason.NO_SUCH_TRANSACTION, Query)]
)
def test_reason_3_about_another_sale_takes_a_higher_counter(answer: FromBridge) -> None:
    bench = Bench().selling(accepted=False).hears(refused(Reason.COUNTER_USED))
    bench.said()
    bench.hears(answer)
    said = bench.said()
    assert said[-1] == tender(2)
    assert bench.other(NewCounter) == [NewCounter(1, 2)]
    if isinstance(answer, Outcome):
        assert said[0] == Stored(ME, 1, "00")
    bench.hears(accept(2), outcome("00", 2))
    assert bench.closed().counter == 2
    assert bench.closed().ending is Ending.APPROVED


def test_reason_3_to_a_repeated_tender_finds_its_own_sale() -> None:
    bench = Bench().selling(accepted=False).after(3)
    bench.hears(refused(Reason.COUNTER_USED), outcome("00"))
    assert bench.closed().ending is Ending.APPROVED
    assert bench.said()[-1] == Stored(ME, 1, "00")

    bench = Bench().selling(accepted=False).after(3)
    bench.hears(refused(Reason.COUNTER_USED), progress()).after(10)
    assert tender() not in bench.said()[1:]
    bench.hears(outcome("05"))
    assert bench.closed().ending is Ending.NOT_APPROVED


def test_reason_3_to_the_first_tender_leaves_it_to_a_person() -> None:
    bench = Bench().selling(accepted=False).hears(refused(Reason.COUNTER_USED), outcome("00"))
    assert bench.said() == [Query(ME, 1), Stored(ME, 1, "00")]
    assert Matter.DECIDE in bench.told()
    assert bench.other(Closed) == []
    bench.power_cut().ready(counter=1)
    assert bench.said() == [], "also after a power cut"
    mine = Bench(bench.storage.kept).ready(counter=1)
    mine.does(mine.terminal.decide(1, True, mine.now))
    assert mine.closed().ending is Ending.APPROVED
    bench.does(bench.terminal.decide(1, False, bench.now))
    assert bench.said() == [tender(2)]


def test_a_person_may_say_that_a_sale_in_progress_is_this_one() -> None:
    bench = Bench().selling(accepted=False).hears(refused(Reason.COUNTER_USED), progress())
    with pytest.raises(NotNow, match="say first"):
        bench.terminal.cancel(bench.now)
    bench.said()
    bench.does(bench.terminal.decide(1, True, bench.now)).hears(outcome("00"))
    assert bench.closed().ending is Ending.APPROVED


def test_a_cancelled_sale_takes_no_new_counter() -> None:
    bench = Bench().selling(accepted=False)
    bench.does(bench.terminal.cancel(bench.now))
    bench.hears(refused(Reason.COUNTER_USED), outcome("00", 1, 99))
    assert bench.closed().ending is Ending.NEVER_TAKEN
    assert bench.other(NewCounter) == []


def test_power_that_goes_once_a_used_counters_outcome_is_kept_holds_up_no_sale() -> None:
    """World 1044 of seed 90210: the outcome was kept, the sale that had asked was not taken up."""
    bench = Bench().selling(accepted=False).hears(refused(Reason.COUNTER_USED))
    asked = bench.storage.kept
    bench.hears(outcome("00", 1, 99))
    bench.storage.kept = replace(asked, outcomes=bench.storage.kept.outcomes)
    bench.power_cut().ready(counter=1).hears(outcome("00", 1, 99))
    assert bench.said() == [Stored(ME, 1, "00"), tender(2)]


# Silence (4.10)


def test_silence_for_fifteen_seconds_while_something_is_open_is_asked_about() -> None:
    bench = Bench().selling().after(14.9)
    assert bench.said() == []
    bench.after(0.2)
    assert bench.said() == [Query(ME, 1)]
    bench.after(6)
    assert bench.said() == [Query(ME, 1)] * 2
    bench.hears(progress()).after(14.9)
    assert bench.said() == []


def test_an_idle_terminal_says_ping_every_minute() -> None:
    bench = Bench().ready().after(60)
    assert bench.said() == [Ping()]
    bench.hears(Pong()).after(59)
    assert bench.said() == []
    bench.after(1)
    assert bench.said() == [Ping()]


def test_a_person_asks() -> None:
    bench = Bench().ready()
    bench.does(bench.terminal.query(bench.now))
    assert bench.said() == [Query(ME)]
    bench.hears(refused(Reason.NO_SUCH_TRANSACTION, Query, counter=None)).after(10)
    assert bench.said() == []
    bench.does(bench.terminal.query(bench.now, 5)).after(3)
    assert bench.said() == [Query(ME, 5)] * 2
    unaccepted = Bench().selling(accepted=False)
    unaccepted.does(unaccepted.terminal.query(unaccepted.now))
    assert unaccepted.said() == [tender()], "without ACCEPTED it says TENDER rather than QUERY"


# Its outcome (4.11 to 4.14)


@pytest.mark.parametrize(
    ("code", "amount_minor", "ending"),
    [
        ("00", 1250, Ending.APPROVED),
        ("00", 1, Ending.UNBOOKED),
        *((code, 1250, Ending.NOT_APPROVED) for code in ("05", "17", "54", "91", "96")),
    ],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_an_outcome_ends_the_sale(
    code: str, amount_minor: int, ending: Ending, accepted: bool
) -> None:
    bench = Bench().selling(accepted=accepted).hears(outcome(code, amount_minor=amount_minor))
    assert bench.said() == [Stored(ME, 1, code)]
    assert bench.closed().ending is ending
    assert bench.closed().response_code == code
    assert bench.told() == ([Matter.UNBOOKED] if ending is Ending.UNBOOKED else [])
    assert bench.storage.kept.open == ()
    assert bench.storage.kept.outcomes[-1].response_code == code


def test_stored_comes_after_the_storage() -> None:
    bench = Bench().selling()

    def full(_: Kept) -> None:
        raise OSError(28, "No space left on device")

    bench.storage.save = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="space"):
        bench.hears(outcome())
    assert bench.said() == []


def test_an_approval_is_taken_after_a_cancel() -> None:
    bench = Bench().selling()
    bench.does(bench.terminal.cancel(bench.now)).hears(outcome("00"))
    assert bench.closed().ending is Ending.APPROVED


def test_a_repeated_outcome_is_stored_again_under_the_code_that_is_kept() -> None:
    bench = Bench().selling().hears(outcome("00"))
    bench.said()
    bench.hears(outcome("00"), outcome("05"))
    assert bench.said() == [Stored(ME, 1, "00")] * 2
    assert bench.told() == [Matter.OTHER_CODE]
    bench.power_cut().ready(counter=1).hears(outcome("00"))
    assert bench.said() == [Stored(ME, 1, "00")]
    assert bench.other(Closed) == []


def test_the_last_eight_counters_are_remembered() -> None:
    bench = Bench().ready()
    for counter in range(1, 10):
        bench.hears(outcome("05", counter))
    assert [kept.counter for kept in bench.storage.kept.outcomes] == list(range(2, 10))
    assert bench.told() == [Matter.UNKNOWN_OUTCOME] * 9
    bench.said()
    bench.hears(outcome("17", 1), outcome("17", 9))
    assert bench.said() == [Stored(ME, 1, "17"), Stored(ME, 9, "05")]


def test_a_refund_beside_a_tender() -> None:
    bench = Bench().selling()
    bench.does(bench.terminal.refund(7, 300, bench.now)).hears(accept(2, 300, 0))
    assert bench.said() == [Refund(ME, 2, 7, 300)]
    bench.hears(outcome("00", 2, 300))
    assert bench.closed().counter == 2
    assert bench.terminal.tender is not None
    with pytest.raises(NotNow):
        bench.terminal.sale(1, bench.now)


# The panel (5)


def test_an_image_is_shown_after_accepted_and_goes_at_the_outcome() -> None:
    bench = Bench().selling().hears(*whole(image()))
    assert bench.said() == [ImageStatus(1, ImageShown.SHOWN)]
    (shown,) = bench.other(ShowImage)
    assert isinstance(shown, ShowImage)
    assert shown.image.data == b"\x15" + bytes(56)
    bench.hears(outcome("05", 9))
    assert bench.terminal.image is not None, "another counter's outcome"
    bench.hears(outcome("00"))
    assert bench.other(TakeAway) == [TakeAway(1)]
    assert bench.terminal.image is None


def test_display_clear_takes_it_away_and_ends_an_unfinished_one() -> None:
    bench = Bench().selling().hears(*whole(image()), DisplayText("hello"), DisplayClear())
    assert bench.other(TakeAway) == [TakeAway(1)]
    assert bench.other(ShowText) == [ShowText("hello"), ShowText("")]
    bench.said()
    opened, *rest = whole(image(image_id=2))
    bench.hears(opened, DisplayClear(), *rest)
    assert bench.said() == [ImageStatus(2, ImageShown.BAD_CHECK)]


def test_it_goes_when_df06_has_run_out() -> None:
    bench = Bench().selling().hears(accept(seconds_left=10), *whole(image())).after(5)
    assert bench.terminal.image is not None
    bench.hears(progress(seconds_left=20)).after(12)
    assert bench.terminal.image is not None
    bench.after(9)
    assert bench.terminal.image is None
    bench.hears(*whole(image(image_id=2)))
    assert bench.said()[-1] == ImageStatus(2, ImageShown.BAD_CHECK)


def test_it_goes_at_once_when_no_seconds_are_left() -> None:
    bench = Bench().selling().hears(*whole(image()), progress(seconds_left=0))
    assert bench.terminal.image is None


def test_it_goes_without_a_bridge_too() -> None:
    bench = Bench().selling().hears(*whole(image())).does([])
    bench.does(bench.terminal.unplugged()).after(301)
    assert bench.terminal.image is None


@pytest.mark.parametrize("accepted", [None, accept(amount_minor=9), accept(seconds_left=0)])
def test_no_image_before_a_matching_accepted(accepted: Accepted | None) -> None:
    bench = Bench().selling(accepted=False)
    if accepted is not None:
        bench.hears(accepted)
    bench.hears(*whole(image()))
    assert bench.said()[-1] == ImageStatus(1, ImageShown.BAD_CHECK)
    assert bench.other(ShowImage) == []


def test_after_a_power_cut_accepted_must_come_before_the_image() -> None:
    bench = Bench().selling().power_cut().ready(counter=1).hears(*whole(image()))
    assert bench.said() == [ImageStatus(1, ImageShown.BAD_CHECK)]
    bench.hears(accept(), *whole(image(image_id=2)))
    assert bench.said() == [ImageStatus(2, ImageShown.SHOWN)]


DATA = b"\x15" + bytes(56)


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        (whole(image(image_crc=1)), ImageShown.BAD_CHECK),
        (whole(image(image_length=58)), ImageShown.BAD_CHECK),
        ([image(), ImageData(1, 1, DATA[1:]), ImageShow(1)], ImageShown.BAD_CHECK),
        ([image(), ImageData(2, 0, DATA), ImageShow(1)], ImageShown.BAD_CHECK),
        ([image(), ImageData(1, 0, DATA + DATA), ImageShow(1)], ImageShown.BAD_CHECK),
        ([ImageShow(1)], ImageShown.BAD_CHECK),
        ([image(image_length=2049)], ImageShown.OUT_OF_MEMORY),
        ([image(image_format=0x21)], ImageShown.UNKNOWN_FORMAT),
        ([image(image_width=64, image_height=64)], ImageShown.UNKNOWN_FORMAT),
        ([image(image_format=0x83, image_width=129, image_height=8)], ImageShown.UNKNOWN_FORMAT),
    ],
)
def test_what_is_wrong_with_an_image(messages: list[FromBridge], status: ImageShown) -> None:
    bench = Bench().selling().hears(*messages)
    assert bench.said() == [ImageStatus(1, status)]
    assert bench.other(ShowImage) == []


def test_a_status_that_answered_image_open_is_told_again_at_image_show() -> None:
    bench = Bench().selling().hears(*whole(image(image_format=0x21)))
    assert bench.said() == [ImageStatus(1, ImageShown.UNKNOWN_FORMAT)] * 2


def test_pixels_that_cannot_be_made_are_a_format_not_known() -> None:
    bench = Bench()
    bench.terminal = Terminal(DEVICE, bench.storage, random_bytes, can_show=lambda _: False)
    bench.selling().hears(*whole(image()))
    assert bench.said() == [ImageStatus(1, ImageShown.UNKNOWN_FORMAT)]


def test_a_new_image_ends_an_unfinished_one() -> None:
    opened, first, *_ = whole(image())
    bench = Bench().selling().hears(opened, first, *whole(image(image_id=2)), ImageShow(1))
    assert bench.said() == [
        ImageStatus(2, ImageShown.SHOWN),
        ImageStatus(1, ImageShown.BAD_CHECK),
    ]


def test_a_test_picture_is_for_an_idle_panel() -> None:
    picture = whole(image(counter=None))
    bench = Bench().ready().hears(*picture)
    assert bench.said() == [ImageStatus(1, ImageShown.SHOWN)]
    bench.after(400)
    assert bench.terminal.image is not None
    bench.does(bench.terminal.sale(1250, bench.now))
    assert bench.terminal.image is None
    bench.said()
    bench.hears(*picture)
    assert bench.said() == [ImageStatus(1, ImageShown.BAD_CHECK)]


# Power


@pytest.mark.parametrize("accepted", [True, False])
def test_a_power_cut_in_mid_sale_needs_no_more_than_hello(accepted: bool) -> None:
    bench = Bench().selling(accepted=accepted).power_cut()
    bench.plugged()
    assert bench.said() == [hello()]
    bench.hello_is_delivered().hears(welcome(counter=1))
    assert bench.said() == ([] if accepted else [tender()])
    bench.hears(accept(), *whole(image()), progress(), outcome())
    assert bench.closed().ending is Ending.APPROVED


def test_every_phase_survives_a_power_cut() -> None:
    bench = Bench().selling(accepted=False).after(3).hears(refused(Reason.COUNTER_USED))
    assert bench.storage.kept.open[0].phase is Phase.USED_AGAIN
    bench.power_cut().ready(counter=1)
    assert Terminal(DEVICE, bench.storage, random_bytes).tender == bench.terminal.tender
    bench.after(1)
    bench.hears(outcome("00"))
    assert bench.closed().ending is Ending.APPROVED


def test_a_kept_outcome_is_what_was_told() -> None:
    bench = Bench().selling()
    bench.hears(replace(outcome(), order_number="181211-303902", order_id="abc"))
    assert bench.storage.kept.outcomes == (
        KeptOutcome(1, "00", 1250, "TEST", "181211-303902", "abc"),
    )
    assert bench.closed().order_number == "181211-303902"
