"""One picture's way to a panel: its pieces, what a terminal may answer, and what is made of that."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.image_transfer import TRIES_MAX, For, ImageTransfer, Result, image_ids
from drivers.link.messages import (
    Accepted,
    ImageData,
    ImageOpen,
    ImageShow,
    ImageStatus,
    Message,
    Outcome,
)
from drivers.link.session import Delivered, GivenUp, Received, Session, SessionEvent
from tests.drivers.link.virtual_line import End, VirtualLine

SHOWN, BAD_CHECK, OUT_OF_MEMORY, UNKNOWN_FORMAT = range(4)
NATIVE = DIALECTS["native"]


@dataclass(frozen=True)
class Drawn:
    """A picture of some format."""

    format: int = 0x10
    width: int = 29
    height: int = 29
    data: bytes = bytes(range(107))


def accepted(now: float) -> Accepted:
    return Accepted(
        terminal_id="T0000001",
        counter=42,
        amount_minor=12_550,
        currency=554,
        seconds_left=int(300 - now),
    )


TENDER = For(terminal_id="T0000001", counter=42, accepted=accepted)


def transfer(
    dialect: Dialect = NATIVE,
    *,
    baud: int = 115_200,
    max_body: int = 4092,
    coded: bool = False,
    owner: For | None = TENDER,
    after: int = 0,
    tries_max: int = TRIES_MAX,
) -> ImageTransfer:
    return ImageTransfer(
        dialect,
        image_ids(after),
        baud=baud,
        max_body=max_body,
        coded=coded,
        owner=owner,
        tries_max=tries_max,
    )


def said(image: ImageTransfer, now: float = 0.0) -> list[Message]:
    """All that it has to say before it waits."""
    messages = []
    while (message := image.next_message(now)) is not None:
        messages.append(message)
    return messages


def words(messages: list[Message]) -> list[str]:
    return [message.type_name for message in messages]


def opened(messages: list[Message]) -> ImageOpen:
    found = [message for message in messages if isinstance(message, ImageOpen)]
    assert len(found) == 1
    return found[0]


def answer(image: ImageTransfer, status: int, now: float = 0.0) -> list[Message]:
    """Answer the present try; what is said next."""
    assert image.image_id is not None
    image.status(ImageStatus(image_id=image.image_id, status=status))
    return said(image, now)


def silence(image: ImageTransfer) -> float:
    """Let the time for a status pass; when that is."""
    due = image.next_wake()
    assert due is not None
    image.wake(due)
    return due


# Pieces


def test_an_image_is_opened_sent_and_shown() -> None:
    image = transfer()
    assert image.wants_picture
    assert image.next_message(0.0) is None
    picture = Drawn()
    image.picture(picture)
    assert not image.wants_picture
    assert said(image) == [
        ImageOpen(
            image_id=1,
            image_format=0x10,
            image_width=29,
            image_height=29,
            image_length=107,
            image_crc=zlib.crc32(picture.data),
            terminal_id="T0000001",
            counter=42,
        ),
        ImageData(image_id=1, offset=0, data=picture.data),
        ImageShow(image_id=1),
    ]
    assert image.result is None
    assert answer(image, SHOWN) == []
    assert image.result is Result.SHOWN
    assert image.next_wake() is None


def test_a_test_picture_names_nobody_and_brings_no_accepted() -> None:
    image = transfer(owner=None)
    image.picture(Drawn())
    first = said(image)
    assert (opened(first).terminal_id, opened(first).counter) == (None, None)
    assert words(answer(image, BAD_CHECK)) == ["IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"]


@given(
    data=st.one_of(
        st.binary(min_size=1, max_size=6000),
        st.integers(1, 6000).map(lambda n: b"\x10" * n),
        st.integers(1, 6000).map(bytes),
    ),
    name=st.sampled_from(sorted(DIALECTS)),
    baud=st.sampled_from([1_200, 9_600, 19_200, 115_200, 921_600]),
    max_body=st.sampled_from([640, 1024, 4092]),
    coded=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pieces_have_no_gap_fit_the_terminal_and_hold_the_line_a_quarter_of_a_second(
    data: bytes, name: str, baud: int, max_body: int, coded: bool
) -> None:
    dialect = DIALECTS[name]
    image = transfer(dialect, baud=baud, max_body=max_body, coded=coded)
    image.picture(Drawn(data=data))
    pieces = [message for message in said(image) if isinstance(message, ImageData)]
    assert b"".join(piece.data for piece in pieces) == data
    offset = 0
    for piece in pieces:
        assert piece.offset == offset
        offset += len(piece.data)
        body = dialect.encoding.encode(
            piece,
            255,
            message_counter=2**32 - 1 if coded else None,
            code=(lambda _: bytes(8)) if coded else None,
        )
        least = len(piece.data) == 1
        assert least or len(body) <= min(max(baud // 40, 64), max_body)
        on_the_line_s = len(dialect.framing.encode(body)) * 10 / baud
        assert least or on_the_line_s <= 0.25 or len(body) <= 64


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_pieces_are_not_smaller_than_they_have_to_be(name: str) -> None:
    image = transfer(DIALECTS[name], baud=9_600)
    image.picture(Drawn(data=bytes([0x41]) * 1000))
    piece = next(message for message in said(image) if isinstance(message, ImageData))
    # Room is left for a longer offset and id alone.
    larger = replace(piece, image_id=255, offset=2**32 - 1, data=piece.data + b"AAA")
    dialect = DIALECTS[name]
    assert len(dialect.framing.encode(dialect.encoding.encode(larger, 255))) > 240


# Answers


def test_after_status_1_accepted_goes_first_and_the_image_again_under_a_new_id() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    for try_id in (2, 3):
        again = answer(image, BAD_CHECK, now=10.0)
        assert words(again) == ["ACCEPTED", "IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"]
        assert again[0] == accepted(10.0)
        assert opened(again).image_id == try_id
    assert answer(image, BAD_CHECK) == []
    assert image.wants_picture
    assert image.result is None


@pytest.mark.parametrize("status", [OUT_OF_MEMORY, UNKNOWN_FORMAT])
def test_after_2_and_3_comes_the_next_format_without_another_try(status: int) -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    assert answer(image, status) == []
    assert image.wants_picture
    image.picture(Drawn(format=0x83))
    second = said(image)
    assert words(second) == ["IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"]
    assert (opened(second).image_format, opened(second).image_id) == (0x83, 2)
    answer(image, SHOWN)
    assert image.result is Result.SHOWN


@pytest.mark.parametrize("status", [BAD_CHECK, OUT_OF_MEMORY, UNKNOWN_FORMAT])
def test_a_status_that_answers_image_open_breaks_the_try_off(status: int) -> None:
    image = transfer(baud=9_600)
    image.picture(Drawn(data=bytes(1000)))
    assert words([image.next_message(0.0), image.next_message(0.0)]) == ["IMAGE_OPEN", "IMAGE_DATA"]  # type: ignore[list-item]
    image.status(ImageStatus(image_id=1, status=status))
    assert image.wants_picture is (status != BAD_CHECK)
    if status == BAD_CHECK:
        assert words(said(image))[:2] == ["ACCEPTED", "IMAGE_OPEN"]


def test_nothing_is_shown_before_image_show() -> None:
    image = transfer()
    image.picture(Drawn())
    image.next_message(0.0)
    image.status(ImageStatus(image_id=1, status=SHOWN))
    assert image.result is None
    assert words(said(image)) == ["IMAGE_DATA", "IMAGE_SHOW"]


def test_a_status_of_another_try_is_passed_over() -> None:
    image = transfer(after=254)
    image.picture(Drawn())
    assert opened(said(image)).image_id == 255
    assert opened(answer(image, BAD_CHECK)).image_id == 1
    for status in range(4):
        image.status(ImageStatus(image_id=255, status=status))
        image.status(ImageStatus(image_id=7, status=status))
    assert image.result is None
    assert said(image) == []
    assert answer(image, SHOWN) == []
    assert image.result is Result.SHOWN


def test_a_status_for_the_last_format_does_not_touch_the_next_one() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    answer(image, UNKNOWN_FORMAT)
    image.picture(Drawn(format=0x01))
    image.status(ImageStatus(image_id=1, status=UNKNOWN_FORMAT))
    assert words(said(image)) == ["IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"]


def test_the_first_word_on_a_try_counts() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    image.status(ImageStatus(image_id=1, status=BAD_CHECK))
    image.status(ImageStatus(image_id=1, status=UNKNOWN_FORMAT))
    assert opened(said(image)).image_id == 2


def test_a_late_status_for_a_silent_format_does_not_touch_the_next_one() -> None:
    image = after_a_silent_format()
    late = image.image_id
    assert late is not None
    image.picture(Drawn(format=0x02))
    image.status(ImageStatus(image_id=late, status=UNKNOWN_FORMAT))
    assert opened(said(image)).image_format == 0x02


def test_a_late_status_for_a_silent_format_is_its_answer_all_the_same() -> None:
    image = after_a_silent_format()
    answer(image, BAD_CHECK)
    assert image.wants_picture
    image.picture(None)
    assert image.result is Result.FAILED


def after_a_silent_format() -> ImageTransfer:
    """The first format was not known, the second one has been sent three times without a word."""
    image = transfer()
    image.picture(Drawn())
    said(image)
    answer(image, UNKNOWN_FORMAT)
    image.picture(Drawn(format=0x01))
    for _ in range(3):
        said(image)
        silence(image)
    return image


def test_a_status_that_is_not_in_the_table_counts_as_1() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    assert words(answer(image, 9))[0] == "ACCEPTED"


# Silence


def test_five_seconds_without_a_status_count_as_status_1() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image, now=10.0)
    assert image.next_wake() == 15.0
    image.wake(14.9)
    assert said(image) == []
    image.wake(15.0)
    assert words(said(image, now=15.0)) == ["ACCEPTED", "IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW"]


def test_the_five_seconds_run_from_when_image_show_was_acknowledged() -> None:
    image = transfer()
    image.picture(Drawn())
    *_, show = said(image, now=10.0)
    image.delivered(show, 12.5)
    assert image.next_wake() == 17.5


def test_without_any_status_it_stays_at_that_after_the_third_time() -> None:
    image = transfer()
    image.picture(Drawn())
    for _ in range(3):
        assert words(said(image))[-1] == "IMAGE_SHOW"
        silence(image)
    assert image.result is Result.UNANSWERED
    assert not image.wants_picture
    assert said(image) == []
    assert image.next_wake() is None


def test_where_some_status_came_silence_leads_to_the_next_format() -> None:
    image = after_a_silent_format()
    assert image.wants_picture
    image.picture(None)
    # Format 01 was never answered: it may stand there.
    assert image.result is Result.UNANSWERED


def test_a_late_status_still_counts_for_the_last_try() -> None:
    image = transfer()
    image.picture(Drawn())
    for _ in range(3):
        said(image)
        silence(image)
    assert image.result is Result.UNANSWERED
    answer(image, SHOWN)
    assert image.result is Result.SHOWN


def test_a_late_no_for_the_last_try_leads_on() -> None:
    image = transfer()
    image.picture(Drawn())
    for _ in range(3):
        said(image)
        silence(image)
    answer(image, UNKNOWN_FORMAT)
    assert image.result is None
    assert image.wants_picture
    image.picture(None)
    assert image.result is Result.FAILED


def test_a_late_yes_before_the_next_try_ends_it() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    silence(image)
    answer(image, SHOWN)
    assert image.result is Result.SHOWN
    assert said(image) == []


# Ends


def test_no_format_that_can_be_made_is_a_failure() -> None:
    image = transfer()
    image.picture(None)
    assert image.result is Result.FAILED
    assert said(image) == []


def test_all_formats_answered_none_by_0_is_a_failure() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    for _ in range(3):
        answer(image, BAD_CHECK)
    image.picture(Drawn(format=0x01))
    said(image)
    answer(image, OUT_OF_MEMORY)
    image.picture(None)
    assert image.result is Result.FAILED


def test_a_format_that_was_answered_once_was_answered() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    answer(image, BAD_CHECK)
    for _ in range(2):
        said(image)
        silence(image)
    image.picture(None)
    assert image.result is Result.FAILED


def test_what_the_terminal_says_after_it_was_shown_changes_nothing() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    answer(image, SHOWN)
    assert answer(image, BAD_CHECK) == []
    assert image.result is Result.SHOWN


def test_a_late_1_before_the_next_try_says_no_more_than_the_silence() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    silence(image)
    assert words(answer(image, BAD_CHECK)) == [
        *("ACCEPTED", "IMAGE_OPEN", "IMAGE_DATA", "IMAGE_SHOW")
    ]
    for _ in range(2):
        assert not image.wants_picture
        said(image)
        silence(image)
    assert image.wants_picture


def test_it_breaks_off_between_two_frames() -> None:
    image = transfer(baud=9_600)
    image.picture(Drawn(data=bytes(1000)))
    image.next_message(0.0)
    image.next_message(0.0)
    image.break_off()
    assert image.result is Result.BROKEN_OFF
    assert said(image) == []
    image.status(ImageStatus(image_id=1, status=BAD_CHECK))
    image.picture(Drawn())
    image.wake(100.0)
    assert said(image) == []
    assert not image.wants_picture


def test_breaking_off_does_not_change_what_has_become_of_it() -> None:
    image = transfer()
    image.picture(Drawn())
    said(image)
    answer(image, SHOWN)
    image.break_off()
    assert image.result is Result.SHOWN


@pytest.mark.parametrize("frames_before", [1, 2, 7])
def test_a_frame_that_was_given_up_costs_the_try_and_the_time_of_one(frames_before: int) -> None:
    image = transfer(baud=9_600)
    image.picture(Drawn(data=bytes(1000)))
    message: Message | None = None
    for _ in range(frames_before):
        message = image.next_message(0.0)
    assert message is not None
    image.given_up(message, 3.0)
    assert said(image) == []
    assert image.next_wake() == 8.0
    image.wake(8.0)
    assert words(said(image, 8.0))[:2] == ["ACCEPTED", "IMAGE_OPEN"]
    # What is said of the try before means nothing now.
    image.given_up(message, 9.0)
    assert image.next_wake() == 13.0


def test_a_terminal_that_is_known_to_be_silent_is_asked_once_but_a_lost_frame_is_made_good() -> (
    None
):
    image = transfer(tries_max=1)
    image.picture(Drawn())
    opening, *_ = said(image)
    image.given_up(opening, 3.0)
    image.wake(8.0)
    assert words(said(image, 8.0))[:2] == ["ACCEPTED", "IMAGE_OPEN"]
    silence(image)
    assert image.result is Result.UNANSWERED


def test_a_terminal_that_was_thought_silent_and_says_1_gets_the_image_again() -> None:
    image = transfer(tries_max=1)
    image.picture(Drawn())
    said(image)
    assert words(answer(image, BAD_CHECK))[:2] == ["ACCEPTED", "IMAGE_OPEN"]


def test_another_message_that_was_given_up_means_nothing() -> None:
    image = transfer()
    image.picture(Drawn())
    image.next_message(0.0)
    image.given_up(accepted(0.0), 1.0)
    assert words(said(image)) == ["IMAGE_DATA", "IMAGE_SHOW"]


def test_image_ids_run_to_255_and_round_again() -> None:
    assert list(islice(image_ids(), 510)) == [*range(1, 256)] * 2
    assert next(image_ids(after=255)) == 1


# With sessions


@dataclass
class Panel:
    """A terminal that puts the pieces together and says what came of it."""

    end: End
    line: VirtualLine
    open: ImageOpen | None = None
    data: bytearray = field(default_factory=bytearray)
    shown: list[bytes] = field(default_factory=list)

    def hear(self, event: SessionEvent) -> None:
        if not isinstance(event, Received):
            return
        match event.message:
            case ImageOpen():
                self.open = event.message
                self.data.clear()
            case ImageData(image_id, offset, data):
                assert self.open is not None
                assert image_id == self.open.image_id
                if offset == len(self.data):
                    self.data += data
            case ImageShow(image_id):
                assert self.open is not None
                right = zlib.crc32(self.data) == self.open.image_crc
                if right:
                    self.shown.append(bytes(self.data))
                status = ImageStatus(image_id, SHOWN if right else BAD_CHECK)
                self.end.session.send(status)
            case _:
                pass


def send_idle(line: VirtualLine, end: End, image: ImageTransfer) -> None:
    if end.session.idle and (message := image.next_message(line.now)) is not None:
        line.say(end, message)


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("losses", [(), (3,), (2, 5, 8)], ids=str)
def test_an_image_comes_whole_and_other_messages_go_before_the_rest_of_it(
    name: str, losses: tuple[int, ...]
) -> None:
    dialect = DIALECTS[name]
    baud = 9_600
    bridge, terminal = (End(Session(dialect, baud=baud), baud=baud) for _ in range(2))
    line = VirtualLine(bridge, terminal)
    panel = Panel(terminal, line)
    image = transfer(dialect, baud=baud)
    picture = Drawn(format=0x01, data=bytes(range(256)) * 8)
    image.picture(picture)
    frames = 0

    def lossy(data: bytes) -> bytes:
        nonlocal frames
        frames += 1
        return b"" if frames in losses else data

    def lane(event: SessionEvent) -> None:
        match event:
            case Received(ImageStatus() as status):
                image.status(status)
            case Delivered(message):
                image.delivered(message, line.now)
            case GivenUp(message):
                image.given_up(message, line.now)
            case _:
                pass

    bridge.harm = lossy
    bridge.on_event = lane
    terminal.on_event = panel.hear
    outcome = Outcome(
        terminal_id="T0000001",
        counter=41,
        response_code="17",
        amount_minor=100,
        text="TEST",
        local_date=261123,
        local_time=81512,
    )
    line.at(1.0, lambda: line.say(bridge, outcome))
    moment = 0.0
    while image.result is None and moment < 60.0:
        image.wake(moment)
        send_idle(line, bridge, image)
        moment += 0.01
        line.run(moment)
    assert image.result is Result.SHOWN
    assert panel.shown == [picture.data]
    came_at = next(
        when
        for when, event in terminal.events
        if isinstance(event, Received) and event.message == outcome
    )
    # Behind one piece at most, and, where that one was lost, its repetition.
    assert came_at - 1.0 < (0.6 if not losses else 2.0)
    ordered = terminal.heard()
    assert isinstance(ordered[-1], ImageShow)
    assert 0 < ordered.index(outcome) < len(ordered) - 1
