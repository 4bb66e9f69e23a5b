"""A lane on virtual time, with the other end of the link played by the same session code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.lane import (
    IDENTIFY_EVERY_S,
    CannotShow,
    Deliver,
    Lane,
    OnPanel,
    PanelNow,
    Stage,
)
from bridge.lane_events import (
    Heard,
    LaneEvent,
    LineDown,
    LineUp,
    PictureResult,
    Proved,
    UnknownKeys,
)
from drivers.display.geometry import Panel
from drivers.link.authentication import Keys
from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.image_transfer import STATUS_TIMEOUT_S, Picture
from drivers.link.messages import (
    Accepted,
    Cancel,
    DisplayClear,
    DisplayText,
    Hello,
    Identify,
    ImageData,
    ImageOpen,
    ImageShow,
    ImageStatus,
    Message,
    Outcome,
    PairConfirm,
    PairKey,
    PairOpen,
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
from drivers.link.sealed import TerminalSeal
from drivers.link.session import QUEUE_MAX, Received, Session
from drivers.profiles import AS_TOLD, Profile, Quirk

PORT = "/dev/ttyUSB7"
HELLO = Hello("T1", "SN1", 1, "Model", "1.0", 128, 64, b"\x10\x83\x21", 1024)
WELCOME = Welcome(1, b"journal1", 1, 261123, 101500, counter=41)
TENDER = Tender("T1", 42, 12_550, 554)
ACCEPTED = Accepted("T1", 42, 12_550, 554, 300)
PROGRESS = Progress("T1", 42, 12_550, "TEST Asking PartPay", 290)
OUTCOME = Outcome("T1", 42, "00", 12_550, "TEST APPROVED", 261123, 101530)
PAYLOAD = "https://pay.example/abc"
LIFE_ENDS = 1_300.0


@dataclass(frozen=True)
class Drawn:
    """A picture; its content is nothing to a lane."""

    format: int
    data: bytes = bytes(range(200))
    width: int = 128
    height: int = 64


@dataclass
class Order:
    """What was asked of the one who draws."""

    payload: str
    panel: Panel
    formats: bytes
    largest: int | None
    deliver: Deliver


@dataclass
class Bench:
    """A lane, its line as fast as thought, a terminal's session, and the time."""

    dialect: Dialect = DIALECTS["native"]
    profile: Profile = AS_TOLD
    keys: Keys | None = None
    terminal_keys: Keys | None = None
    now: float = 1_000.0
    posted: list[LaneEvent] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    answer: Callable[[Message], None] = lambda message: None
    deaf: bool = False
    """The terminal is not there: its end takes nothing and says nothing."""

    def __post_init__(self) -> None:
        nonces = iter(range(1, 1000))
        self.lane = Lane(
            PORT,
            self.dialect,
            post=self.posted.append,
            draw=self._draw,
            profile=self.profile,
            text_prefix="TEST ",
            keys_of=lambda terminal, serial: () if self.keys is None else (self.keys,),
            fresh_nonce=lambda: next(nonces).to_bytes(8, "big"),
        )
        encoding = self.dialect.encoding
        self.terminal = Session(self.dialect, seal=TerminalSeal(encoding, self.terminal_keys))

    def _draw(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None, deliver: Deliver
    ) -> None:
        self.orders.append(Order(payload, panel, formats, largest, deliver))

    def settle(self) -> None:
        """Carry bytes until neither end has any more to say now."""
        while True:
            out = self.lane.take_output(self.now)
            if out:
                self.lane.written(self.now)
                if not self.deaf:
                    self._at_terminal(out)
            back = b"" if self.deaf else self.terminal.take_output(self.now)
            if back:
                self.terminal.written(self.now)
                self.lane.receive(back, self.now)
            if not out and not back:
                return

    def _at_terminal(self, data: bytes) -> None:
        for event in self.terminal.receive(data, self.now):
            if isinstance(event, Received):
                self.heard.append(event.message)
                self.answer(event.message)

    def run(self, seconds: float) -> None:
        """Let so much time pass, each end woken when it asked for it."""
        until = self.now + seconds
        self.settle()
        while True:
            wakes = [self.lane.next_wake()]
            if not self.deaf:
                wakes.append(self.terminal.next_wake())
            due = [at for at in wakes if at is not None and at <= until]
            if not due:
                break
            self.now = max(self.now, min(due))
            self.lane.wake(self.now)
            if not self.deaf:
                self.terminal.wake(self.now)
            self.settle()
        self.now = until

    def tell(self, *messages: Message) -> list[Message]:
        """The terminal says these; gives what it hears back."""
        before = len(self.heard)
        for message in messages:
            self.terminal.send(message)
        self.settle()
        return self.heard[before:]

    def plug(self) -> None:
        self.lane.line_up(self.now)
        self.settle()

    def welcomed(self) -> None:
        """As after a HELLO and its WELCOME; what was said and posted until then is forgotten."""
        self.plug()
        self.tell(HELLO)
        self.lane.say(WELCOME, self.now)
        self.settle()
        assert self.lane.stage is Stage.WELCOMED
        self.heard.clear()
        self.posted.clear()

    def show(self) -> None:
        self.lane.show_code(ACCEPTED, PAYLOAD, LIFE_ENDS, self.now)
        self.settle()

    def drawn(self, picture: Picture | CannotShow) -> None:
        self.orders[-1].deliver(picture, self.now)
        self.settle()

    def heard_types(self) -> list[str]:
        return [message.type_name for message in self.heard]

    def statuses(self, *statuses: int) -> None:
        """The terminal answers each IMAGE_SHOW with the next of these; then no more."""
        left = list(statuses)

        def answer(message: Message) -> None:
            if isinstance(message, ImageShow) and left:
                self.terminal.send(ImageStatus(message.image_id, left.pop(0)))

        self.answer = answer


@pytest.fixture(params=["native", "classic"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(DIALECTS[request.param])


# -- identify --------------------------------------------------------------------------------


def test_identify_at_once_and_every_five_seconds_until_hello(bench: Bench) -> None:
    bench.plug()
    assert bench.posted == [LineUp(PORT)]
    assert bench.heard == [Identify()]
    bench.run(3 * IDENTIFY_EVERY_S)
    assert bench.heard == [Identify()] * 4
    bench.tell(HELLO)
    bench.run(60)
    assert bench.heard == [Identify()] * 4
    assert bench.posted[1:] == [Heard(PORT, HELLO, 1)]


def test_on_a_dead_line_identify_goes_on_and_does_not_pile_up(bench: Bench) -> None:
    bench.deaf = True
    bench.plug()
    bench.run(600)
    bench.deaf = False
    bench.run(IDENTIFY_EVERY_S)
    assert bench.heard in ([Identify()], [Identify()] * 2)


def test_before_hello_everything_is_refused_with_11_and_nothing_is_posted(bench: Bench) -> None:
    bench.plug()
    bench.posted.clear()
    asked = [
        TENDER,
        Cancel("T1", 42),
        Query("T1"),
        Refund("T1", 43, 42, 100),
        Stored("T1", 42, "00"),
        ImageStatus(1, 0),
        Ping(),
        PairKey(bytes(32), bytes(16)),
        PairConfirm(bytes(8)),
    ]
    for message in asked:
        (answer,) = bench.tell(message)
        assert isinstance(answer, Refused)
        assert answer.reason == Reason.SAY_HELLO
        assert answer.refused[0] == message.type_code
        assert answer.text.startswith("TEST ")
        assert answer.counter == getattr(message, "counter", None)
    assert bench.posted == []


def test_the_engine_can_say_nothing_before_hello_nor_between_hello_and_welcome(
    bench: Bench,
) -> None:
    bench.plug()
    bench.heard.clear()
    assert not bench.lane.say(OUTCOME, bench.now)
    assert not bench.lane.say(WELCOME, bench.now), "a WELCOME answers a HELLO"
    bench.tell(HELLO)
    for message in (OUTCOME, ACCEPTED, PROGRESS, DisplayClear(), DisplayText("TEST x"), Pong()):
        assert not bench.lane.say(message, bench.now)
    assert not bench.lane.show_text("x", bench.now)
    assert not bench.lane.show_code(ACCEPTED, PAYLOAD, LIFE_ENDS, bench.now)
    bench.lane.clear(bench.now)
    bench.run(1)
    assert bench.heard == []
    assert bench.lane.say(WELCOME, bench.now)
    assert bench.lane.say(OUTCOME, bench.now)
    bench.run(1)
    assert bench.heard == [WELCOME, OUTCOME]


def test_between_hello_and_welcome_what_comes_is_dropped(bench: Bench) -> None:
    bench.plug()
    bench.tell(HELLO)
    bench.heard.clear()
    bench.posted.clear()
    assert bench.tell(TENDER, Ping()) == []
    assert bench.posted == []


def test_another_terminal_between_hello_and_welcome_is_told_to_say_hello(bench: Bench) -> None:
    """World 8880 of seed 2031: cables were swapped while the WELCOME of whoever was here waited, and went elsewhere.

    The other one had its WELCOME on another line, and got neither an answer nor a question here.
    """
    bench.plug()
    bench.tell(HELLO)
    bench.heard.clear()
    bench.posted.clear()
    [refused] = bench.tell(replace(TENDER, terminal_id="T0000009"))
    assert isinstance(refused, Refused)
    assert refused.reason == Reason.SAY_HELLO
    assert bench.posted == []


def test_asked_by_the_engine_identify_goes_on_until_hello_and_the_line_stays_usable(
    bench: Bench,
) -> None:
    bench.welcomed()
    bench.lane.identify(bench.now)
    bench.run(IDENTIFY_EVERY_S)
    assert bench.heard == [Identify()] * 2
    bench.lane.say(PROGRESS, bench.now)
    bench.settle()
    assert bench.heard[-1] == PROGRESS
    bench.tell(HELLO)
    bench.heard.clear()
    bench.run(30)
    assert bench.heard == []


def test_a_lost_line_forgets_the_terminal_and_the_next_one_says_hello(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.lane.line_down("unplugged", bench.now)
    assert bench.posted == [LineDown(PORT, "unplugged")]
    assert bench.lane.take_output(bench.now) == b""
    assert bench.lane.next_wake() is None
    assert not bench.lane.say(OUTCOME, bench.now)
    bench.lane.receive(b"\x10\x02", bench.now)
    bench.now += 7
    bench.plug()
    assert bench.heard == [Identify()]
    (answer,) = bench.tell(Query("T1"))
    assert isinstance(answer, Refused)
    assert answer.reason == Reason.SAY_HELLO


# -- what the lane answers by itself ---------------------------------------------------------


def test_ping_is_answered_by_pong_and_told_nobody(bench: Bench) -> None:
    bench.welcomed()
    assert bench.tell(Ping()) == [Pong()]
    assert bench.posted == []


def test_what_the_terminal_says_goes_to_the_engine_with_its_number(bench: Bench) -> None:
    bench.welcomed()
    said = [TENDER, Cancel("T1", 42), Query("T1"), Refund("T1", 43, 42, 1), Stored("T1", 42, "00")]
    assert bench.tell(*said) == []
    assert bench.posted == [Heard(PORT, message, n) for n, message in enumerate(said, start=2)]


def test_another_terminals_name_is_refused_with_11(bench: Bench) -> None:
    bench.welcomed()
    (answer,) = bench.tell(replace(TENDER, terminal_id="T2"))
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.SAY_HELLO, b"\x10\x02")
    assert (answer.terminal_id, answer.counter) == ("T2", 42)
    assert bench.posted == []


def test_another_terminals_hello_takes_the_line_over(bench: Bench) -> None:
    bench.welcomed()
    other = replace(HELLO, terminal_id="T2", serial_number="SN2")
    bench.tell(other)
    assert bench.posted == [Heard(PORT, other, 1)]
    bench.lane.say(WELCOME, bench.now)
    assert not bench.lane.say(OUTCOME, bench.now), "it is for T1"
    assert not bench.lane.show_code(ACCEPTED, PAYLOAD, LIFE_ENDS, bench.now)
    bench.settle()
    assert bench.heard == [WELCOME]


def test_refused_is_never_answered(bench: Bench) -> None:
    refused = Refused(int(Reason.SAY_HELLO), b"\x80\x01", "x")
    bench.plug()
    bench.heard.clear()
    assert bench.tell(refused) == []
    bench.welcomed()
    assert bench.tell(refused) == []


def test_the_bridges_own_words_are_not_understood_so_that_an_echo_comes_to_rest(
    bench: Bench,
) -> None:
    bench.welcomed()
    (answer,) = bench.tell(OUTCOME)
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.NOT_UNDERSTOOD, b"\x92\x02")
    assert bench.posted == []


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b"\x10\x05\x9f\x41\x04\x00\x00\x00\x4a", b"\x10\x05"),
        (b"\x55\x07", b"\x55\x07"),
        (b"\x10\x00", b"\x10\x00"),
    ],
)
@pytest.mark.parametrize("hello_first", [False, True])
def test_what_is_not_understood_is_refused_with_6_and_named(
    body: bytes, refused: bytes, hello_first: bool
) -> None:
    bench = Bench()
    if hello_first:
        bench.welcomed()
    else:
        bench.plug()
        bench.heard.clear()
    bench.lane.receive(bench.dialect.framing.encode(body), bench.now)
    bench.settle()
    (answer,) = bench.heard
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.NOT_UNDERSTOOD, refused)
    assert answer.terminal_id is None


def test_where_type_and_number_cannot_be_read_0000_is_named() -> None:
    bench = Bench(DIALECTS["classic"])
    bench.welcomed()
    bench.lane.receive(bench.dialect.framing.encode(b"no hex"), bench.now)
    bench.settle()
    (answer,) = bench.heard
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.NOT_UNDERSTOOD, b"\x00\x00")


def test_a_refused_that_is_not_understood_is_not_answered() -> None:
    bench = Bench()
    bench.welcomed()
    bench.lane.receive(bench.dialect.framing.encode(b"\x93\x04"), bench.now)
    bench.settle()
    assert bench.heard == []


def test_a_message_that_cannot_be_written_costs_only_itself(bench: Bench) -> None:
    bench.welcomed()
    assert not bench.lane.say(replace(PROGRESS, text="x" * 161), bench.now)
    assert bench.lane.say(PROGRESS, bench.now)
    bench.settle()
    assert bench.heard == [PROGRESS]
    assert bench.lane.counts.dropped == 1


def test_display_text_has_the_prefix_once_and_is_cut_to_fit(bench: Bench) -> None:
    bench.welcomed()
    bench.lane.show_text("no code\norder 7", bench.now)
    bench.lane.show_text("TEST it is here", bench.now)
    bench.lane.show_text("x" * 300, bench.now)
    bench.settle()
    first, second, third = bench.heard
    assert (first, second) == (DisplayText("TEST no code\norder 7"), DisplayText("TEST it is here"))
    assert isinstance(third, DisplayText)
    assert len(third.text) == 160


# -- the picture -----------------------------------------------------------------------------


def test_a_picture_goes_to_the_panel_and_shown_is_told(bench: Bench) -> None:
    bench.welcomed()
    bench.statuses(0)
    bench.show()
    (order,) = bench.orders
    assert (order.payload, order.panel) == (PAYLOAD, Panel(128, 64))
    assert (order.formats, order.largest) == (HELLO.formats, None)
    picture = Drawn(0x10)
    bench.drawn(picture)
    opening, *pieces, show = bench.heard
    assert isinstance(opening, ImageOpen)
    assert (opening.terminal_id, opening.counter) == ("T1", 42)
    assert opening.image_format == 0x10
    data = b""
    for piece in pieces:
        assert isinstance(piece, ImageData)
        assert piece.offset == len(data)
        data += piece.data
    assert data == picture.data
    assert show == ImageShow(opening.image_id)
    assert bench.posted == [PictureResult(PORT, "T1", 42, True, "")]


def test_after_status_1_accepted_goes_first_with_the_seconds_that_are_left(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.statuses(1, 0)
    bench.run(100.5)
    bench.drawn(Drawn(0x10))
    assert bench.heard_types() == [
        *("IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"),
        "ACCEPTED",
        *("IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"),
    ]
    assert bench.heard[3] == replace(ACCEPTED, seconds_left=199)
    ids = [message.image_id for message in bench.heard if isinstance(message, ImageOpen)]
    assert ids[0] != ids[1]
    assert bench.posted == [PictureResult(PORT, "T1", 42, True, "")]


def test_a_format_the_terminal_refuses_leads_to_the_next_and_the_last_to_a_result(
    bench: Bench,
) -> None:
    bench.welcomed()
    bench.statuses(3, 2, 3)
    bench.show()
    bench.drawn(Drawn(0x10))
    assert bench.orders[-1].formats == b"\x83\x21"
    bench.drawn(Drawn(0x83))
    assert bench.orders[-1].formats == b"\x21"
    assert bench.posted == []
    bench.drawn(Drawn(0x21))
    formats = [message.image_format for message in bench.heard if isinstance(message, ImageOpen)]
    assert formats == [0x10, 0x83, 0x21]
    (result,) = bench.posted
    assert isinstance(result, PictureResult)
    assert (result.terminal_id, result.counter, result.shown) == ("T1", 42, False)
    assert result.why


def test_formats_that_cannot_be_made_are_passed_over(bench: Bench) -> None:
    bench.welcomed()
    bench.statuses(3)
    bench.show()
    bench.drawn(Drawn(0x21))
    assert bench.heard_types()[0] == "IMAGE_OPEN"
    (result,) = bench.posted
    assert isinstance(result, PictureResult)
    assert not result.shown
    assert len(bench.orders) == 1, "nothing is left of the list"


def test_where_no_format_can_be_made_the_engine_is_told_why(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.drawn(CannotShow("the panel is too small"))
    assert bench.posted == [PictureResult(PORT, "T1", 42, False, "the panel is too small")]
    assert bench.heard == []


def test_a_terminal_that_says_nothing_gets_three_tries_and_nobody_is_told(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.drawn(Drawn(0x10))
    bench.run(10 * STATUS_TIMEOUT_S)
    assert bench.heard_types().count("IMAGE_SHOW") == 3
    assert bench.posted == []
    assert len(bench.orders) == 1


def test_a_status_that_comes_after_all_tries_still_counts(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.drawn(Drawn(0x10))
    bench.run(10 * STATUS_TIMEOUT_S)
    last = bench.heard[-1]
    assert isinstance(last, ImageShow)
    bench.tell(ImageStatus(last.image_id, 0))
    assert bench.posted == [PictureResult(PORT, "T1", 42, True, "")]


def test_other_messages_go_before_the_rest_of_an_image(bench: Bench) -> None:
    bench.welcomed()
    bench.show()

    def answer(message: Message) -> None:
        if isinstance(message, ImageData) and message.offset == 0:
            bench.lane.say(PROGRESS, bench.now)
            bench.terminal.send(Ping())

    bench.answer = answer
    bench.drawn(Drawn(0x10, bytes(5_000)))
    types = bench.heard_types()
    assert types[:2] == ["IMAGE_OPEN", "IMAGE_DATA"]
    assert sorted(types[2:4]) == ["PONG", "PROGRESS"]
    assert types[-1] == "IMAGE_SHOW"
    assert "".join(f"{kind} " for kind in types).count("IMAGE_DATA") > 2


@pytest.mark.parametrize("how", ["clear", "clear after outcome", "outcome", "hello"])
def test_broken_off_between_two_frames(bench: Bench, how: str) -> None:
    bench.welcomed()
    bench.show()

    def answer(message: Message) -> None:
        if not isinstance(message, ImageData) or message.offset != 0:
            return
        match how:
            case "clear":
                bench.lane.clear(bench.now)
            case "clear after outcome":
                bench.lane.clear(bench.now, after_outcome=True)
            case "outcome":
                bench.lane.say(OUTCOME, bench.now)
            case "hello":
                bench.terminal.send(HELLO)

    bench.answer = answer
    bench.drawn(Drawn(0x10, bytes(20_000)))
    bench.run(60)
    last = {"clear": ["DISPLAY_CLEAR"], "outcome": ["OUTCOME"]}.get(how, [])
    allowed = bench.heard_types()
    if how == "hello":
        # What was on its way when HELLO came may still arrive.
        assert allowed.count("IMAGE_DATA") <= 2
    else:
        assert allowed == ["IMAGE_OPEN", "IMAGE_DATA", *last]
    assert [event for event in bench.posted if isinstance(event, PictureResult)] == []


def test_what_is_on_the_panel_is_known_while_it_is_there(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    assert bench.lane.panel_now is None
    picture = Drawn(0x10)
    bench.drawn(picture)
    panel = Panel(128, 64)
    assert bench.lane.panel_now == PanelNow(picture, panel, OnPanel.ON_ITS_WAY)
    bench.run(10 * STATUS_TIMEOUT_S)
    assert bench.lane.panel_now == PanelNow(picture, panel, OnPanel.UNANSWERED)
    last = bench.heard[-1]
    assert isinstance(last, ImageShow)
    bench.tell(ImageStatus(last.image_id, 0))
    assert bench.lane.panel_now == PanelNow(picture, panel, OnPanel.SHOWN)
    bench.lane.say(OUTCOME, bench.now)
    assert bench.lane.panel_now is None


def test_a_picture_that_the_panel_refused_is_not_on_it(bench: Bench) -> None:
    bench.welcomed()
    bench.statuses(3)
    bench.show()
    bench.drawn(Drawn(0x10))
    bench.drawn(CannotShow("too small"))
    assert bench.lane.panel_now is None


def test_a_picture_that_is_drawn_too_late_is_dropped(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.lane.clear(bench.now, after_outcome=True)
    bench.drawn(Drawn(0x10))
    bench.show()
    late, current = bench.orders
    late.deliver(Drawn(0x83), bench.now)
    bench.settle()
    assert bench.heard == []
    current.deliver(Drawn(0x10), bench.now)
    current.deliver(Drawn(0x83), bench.now)
    bench.settle()
    assert bench.heard_types().count("IMAGE_OPEN") == 1


def test_a_new_code_takes_the_place_of_the_one_before(bench: Bench) -> None:
    bench.welcomed()
    bench.statuses(0)
    bench.show()
    bench.drawn(Drawn(0x10))
    bench.posted.clear()
    bench.lane.show_code(replace(ACCEPTED, counter=43), "second", LIFE_ENDS, bench.now)
    assert bench.orders[-1].payload == "second"
    bench.statuses(0)
    bench.drawn(Drawn(0x10))
    assert bench.posted == [PictureResult(PORT, "T1", 43, True, "")]


def test_another_tenders_outcome_leaves_the_picture(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.lane.say(replace(OUTCOME, counter=41), bench.now)
    bench.statuses(0)
    bench.drawn(Drawn(0x10))
    assert bench.posted == [PictureResult(PORT, "T1", 42, True, "")]


def test_a_test_picture_names_no_tender(bench: Bench) -> None:
    bench.welcomed()
    bench.statuses(1, 0)
    bench.lane.show_code(None, "test", LIFE_ENDS, bench.now)
    bench.drawn(Drawn(0x10))
    opened = [message for message in bench.heard if isinstance(message, ImageOpen)]
    assert len(opened) == 2
    assert {message.counter for message in opened} == {None}
    assert "ACCEPTED" not in bench.heard_types()
    assert bench.posted == [PictureResult(PORT, None, None, True, "")]


def test_hello_forgets_the_picture_and_the_next_one_begins_with_the_best_format(
    bench: Bench,
) -> None:
    bench.welcomed()
    bench.statuses(3)
    bench.show()
    bench.drawn(Drawn(0x10))
    bench.welcomed()
    bench.show()
    assert bench.orders[-1].formats == HELLO.formats


def test_a_profile_stands_in_place_of_what_hello_says() -> None:
    profile = Profile("p", "p", 240, 320, True, b"\x81\x01", 700, 5_000)
    bench = Bench(profile=profile)
    bench.welcomed()
    bench.show()
    (order,) = bench.orders
    assert (order.panel, order.formats) == (Panel(240, 320, True), b"\x81\x01")
    assert order.largest == 5_000
    bench.drawn(Drawn(0x81, bytes(3_000)))
    pieces = [message for message in bench.heard if isinstance(message, ImageData)]
    assert max(len(piece.data) for piece in pieces) < 700


def test_a_terminal_that_is_known_to_say_no_status_gets_an_image_once() -> None:
    bench = Bench(profile=Profile("p", "p", quirks=frozenset({Quirk.SILENT_IMAGE})))
    bench.welcomed()
    bench.show()
    bench.drawn(Drawn(0x10))
    bench.run(10 * STATUS_TIMEOUT_S)
    assert bench.heard_types().count("IMAGE_SHOW") == 1
    assert bench.posted == []


def test_a_terminal_without_accents_gets_texts_without_them() -> None:
    bench = Bench(profile=Profile("p", "p", quirks=frozenset({Quirk.ASCII_TEXT})))
    bench.welcomed()
    told = replace(OUTCOME, text="TEST Kōwhai – café €5", order_number="Ā-1")
    bench.lane.say(told, bench.now)
    bench.lane.show_text("naïve", bench.now)
    bench.settle()
    outcome, text = bench.heard
    assert outcome == replace(told, text="TEST Kowhai ? cafe ?5", order_number="A-1")
    assert text == DisplayText("TEST naive")


def test_a_format_listed_twice_is_tried_once(bench: Bench) -> None:
    bench.plug()
    bench.tell(replace(HELLO, formats=b"\x10\x10\x83"))
    bench.lane.say(WELCOME, bench.now)
    bench.settle()
    bench.show()
    assert bench.orders[-1].formats == b"\x10\x83"


# -- keys ------------------------------------------------------------------------------------

KEYS = Keys(b"b" * 32, b"t" * 32)
KEYED_HELLO = replace(HELLO, can_authenticate=1, session_nonce=b"nonce--1", key_id=KEYS.identifier)


def test_with_keys_ping_proves_and_so_does_what_is_heard() -> None:
    bench = Bench(keys=KEYS, terminal_keys=KEYS)
    bench.plug()
    bench.tell(KEYED_HELLO)
    bench.lane.say(WELCOME, bench.now)
    bench.settle()
    bench.posted.clear()
    assert bench.tell(Ping()) == [Pong()]
    bench.tell(TENDER)
    assert bench.posted == [
        Proved(PORT, KEYS.identifier),
        Heard(PORT, TENDER, 3, KEYS.identifier),
    ]


def test_without_a_code_it_is_refused_with_9_at_most_once_a_second_whatever_else_holds() -> None:
    bench = Bench(keys=KEYS)
    bench.plug()
    bench.tell(KEYED_HELLO)
    bench.lane.say(WELCOME, bench.now)
    bench.settle()
    bench.heard.clear()
    bench.posted.clear()
    for counter in range(50, 60):
        bench.tell(replace(TENDER, counter=counter, terminal_id="T9"))
    (answer,) = bench.heard
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.NOT_AUTHENTICATED, b"\x10\x02")
    bench.run(1)
    bench.tell(Ping())
    assert [message.reason for message in bench.heard if isinstance(message, Refused)] == [9, 9]
    assert bench.posted == []


def test_a_hello_with_unknown_keys_is_refused_with_9_and_ends_the_talk_before_it() -> None:
    bench = Bench()
    bench.welcomed()
    (answer,) = bench.tell(KEYED_HELLO)
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.NOT_AUTHENTICATED, b"\x01\x01")
    assert bench.posted == [UnknownKeys(PORT, KEYED_HELLO)]
    assert not bench.lane.say(PROGRESS, bench.now)
    assert not bench.lane.say(WELCOME, bench.now)


def test_a_terminal_with_unknown_keys_can_be_paired_afresh() -> None:
    bench = Bench()
    bench.plug()
    led: list[Message] = []
    bench.lane.pairing = lambda message, sequence, now: led.append(message)
    assert not bench.lane.say(PairOpen(bytes(32)), bench.now)
    bench.tell(KEYED_HELLO)
    assert bench.lane.say(PairOpen(bytes(32)), bench.now)
    key = PairKey(bytes(32), bytes(16))
    assert PairOpen(bytes(32)) in bench.tell(key)
    assert led == [key]
    assert bench.lane.hello is None
    bench.lane.line_down("gone", bench.now)
    bench.plug()
    assert not bench.lane.say(PairOpen(bytes(32)), bench.now)


def test_the_pairing_dialogue_goes_to_who_leads_it_and_is_refused_where_nobody_does(
    bench: Bench,
) -> None:
    bench.welcomed()
    key = PairKey(bytes(32), bytes(16))
    (answer,) = bench.tell(key)
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused[0]) == (Reason.NOT_AUTHENTICATED, PairKey.type_code)
    led: list[tuple[Message, int]] = []
    bench.lane.pairing = lambda message, sequence, now: led.append((message, sequence))
    assert bench.lane.say(PairOpen(bytes(32)), bench.now)
    assert bench.tell(key) == [PairOpen(bytes(32))]
    assert led == [(key, 3)]


def test_a_dialogue_is_ended_by_refused_9_but_not_within_a_second_of_the_last(
    bench: Bench,
) -> None:
    bench.welcomed()
    bench.tell(PairKey(bytes(32), bytes(16)))
    bench.heard.clear()
    bench.lane.refuse_pairing(b"\x03\x07", bench.now)
    bench.settle()
    assert bench.heard == []
    bench.run(1)
    (answer,) = bench.heard
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.refused) == (Reason.NOT_AUTHENTICATED, b"\x03\x07")
    bench.run(5)
    assert len(bench.heard) == 1


def test_a_test_picture_is_taken_away_and_a_tenders_is_not(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.lane.clear_test(bench.now)
    bench.settle()
    assert bench.heard == []
    bench.lane.show_code(None, PAYLOAD, LIFE_ENDS, bench.now)
    bench.lane.clear_test(bench.now)
    bench.settle()
    assert DisplayClear() in bench.heard


# -- whatever comes --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    dialect=st.sampled_from(sorted(DIALECTS)),
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([TENDER, Ping(), HELLO, OUTCOME, ImageStatus(1, 0), Query("T2")]),
        ),
        max_size=20,
    ),
)
def test_whatever_comes_nothing_is_raised_and_what_is_held_stays_bounded(
    dialect: str, pieces: list[bytes | Message]
) -> None:
    bench = Bench(DIALECTS[dialect])
    bench.welcomed()
    bench.show()
    for number, piece in enumerate(pieces):
        data = piece
        if not isinstance(data, bytes):
            body = bench.dialect.encoding.encode(data, number % 255 + 1)
            data = bench.dialect.framing.encode(body)
        bench.lane.receive(data, bench.now)
        bench.settle()
        bench.run(0.2)
    bench.run(30)
    assert bench.lane.stage in (Stage.WELCOMED, Stage.GREETED)


def test_a_reset_lane_begins_as_before_the_port_was_opened(bench: Bench) -> None:
    bench.welcomed()
    bench.show()
    bench.lane.reset()
    assert bench.lane.stage is Stage.AWAY
    assert bench.lane.hello is None
    bench.terminal.restart()
    bench.welcomed()
    assert bench.tell(Ping()) == [Pong()]


def test_a_welcome_is_not_said_to_a_terminal_that_came_after_the_one_it_answers() -> None:
    bench = Bench()
    bench.plug()
    bench.tell(HELLO)
    other = replace(HELLO, terminal_id="T2", serial_number="SN2")
    bench.tell(other)
    assert not bench.lane.say(WELCOME, bench.now, answers=HELLO)
    assert bench.lane.stage is not Stage.WELCOMED
    assert bench.lane.say(WELCOME, bench.now, answers=other)
    assert bench.lane.stage is Stage.WELCOMED


def test_an_identify_that_found_no_room_is_said_when_there_is_some() -> None:
    bench = Bench()
    bench.welcomed()
    for counter in range(1, QUEUE_MAX + 9):
        bench.lane.say(replace(OUTCOME, counter=counter), bench.now)
    bench.lane.identify(bench.now)
    assert bench.lane.counts.dropped
    bench.run(600.0)
    assert "IDENTIFY" in bench.heard_types()
