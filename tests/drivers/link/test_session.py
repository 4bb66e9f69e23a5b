"""The session: what comes through which line, when answers and frames go, and what is given up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.framing import Bad, Frame, FrameEvent
from drivers.link.messages import (
    Accepted,
    DisplayClear,
    DisplayText,
    Hello,
    Identify,
    ImageData,
    Message,
    Outcome,
    PairOpen,
    Ping,
    Pong,
    Progress,
    Query,
    Tender,
    Welcome,
)
from drivers.link.session import (
    QUEUE_MAX,
    Damaged,
    Delivered,
    GivenUp,
    LinkDown,
    LinkUp,
    NotUnderstoodBody,
    Received,
    Session,
)
from tests.drivers.link.link_examples import LINK
from tests.drivers.link.virtual_line import End, Harm, VirtualLine, line_between

ACK, NAK = b"\x06", b"\x15"
TICK = 1e-6


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture
def session(dialect: Dialect) -> Session:
    return Session(dialect)


def query(counter: int) -> Query:
    return Query(terminal_id="T0000001", counter=counter)


def text(number: int) -> DisplayText:
    return DisplayText(text=f"order {number}, of many")


def outcome(counter: int) -> Outcome:
    return Outcome(
        terminal_id="T0000001",
        counter=counter,
        response_code="00",
        amount_minor=12_550,
        text="TEST APPROVED",
        local_date=261123,
        local_time=81512,
    )


def progress(seconds_left: int) -> Progress:
    return Progress(
        terminal_id="T0000001",
        counter=42,
        amount_minor=12_550,
        text="TEST wait",
        seconds_left=seconds_left,
    )


def hello(**other: int) -> Hello:
    return Hello(
        terminal_id="T0000001",
        serial_number="SN123456",
        version=1,
        model="Sim",
        firmware="1",
        panel_width=128,
        panel_height=64,
        formats=b"\x10",
        max_body=other.get("max_body", 1024),
    )


def welcome() -> Welcome:
    return Welcome(
        version=1, journal_id=bytes(8), paired=1, local_date=261123, local_time=81500, counter=41
    )


def body_of(dialect: Dialect, message: Message, sequence: int) -> bytes:
    return dialect.encoding.encode(message, sequence)


def frame_of(dialect: Dialect, message: Message, sequence: int) -> bytes:
    return dialect.framing.encode(body_of(dialect, message, sequence))


def put_out(session: Session, message: Message, now: float) -> bytes:
    """Send it, all of it having left the line at `now`."""
    assert session.send(message) is None
    data = session.take_output(now)
    assert data
    assert session.written(now) == []
    return data


def wait(session: Session) -> float:
    due = session.next_wake()
    assert due is not None
    return due


# What comes through


@pytest.mark.parametrize("bytewise", [False, True], ids=["in one piece", "bytewise"])
@pytest.mark.parametrize("delay_s", [0.0, 0.4], ids=["at once", "delayed"])
def test_all_comes_once_and_in_order(dialect: Dialect, bytewise: bool, delay_s: float) -> None:
    line = VirtualLine(
        End(Session(dialect), delay_s=delay_s, bytewise=bytewise),
        End(Session(dialect), delay_s=delay_s, bytewise=bytewise),
    )
    to_other: list[Message] = [text(n) for n in range(20)]
    to_one: list[Message] = [query(n) for n in range(20)]
    line.say(line.one, *to_other)
    line.say(line.other, *to_one)
    line.run()
    assert line.other.heard() == line.one.delivered() == to_other
    assert line.one.heard() == line.other.delivered() == to_one
    assert line.one.session.idle
    assert line.other.session.idle
    assert line.one.session.next_wake() is None
    for end in (line.one, line.other):
        assert end.given_up() == []
        assert end.plain_events().count(LinkUp()) == 1


def test_numbers_run_to_255_and_round_again(dialect: Dialect) -> None:
    line = line_between(Session(dialect), Session(dialect))
    for counter in range(600):
        line.say(line.one, query(counter))
        line.run(line.now + 1.0)
    numbers = [event.sequence for _, event in line.other.events if isinstance(event, Received)]
    assert numbers == [(n % 255) + 1 for n in range(600)]
    assert line.other.heard() == [query(n) for n in range(600)]


def random_harm(source: random.Random, per_byte: float) -> Harm:
    """Bits turned over, bytes lost, doubled and put in, each at its share of `per_byte`."""

    def harm(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if source.random() >= per_byte:
                out.append(byte)
                continue
            match source.randrange(6):
                case 0:
                    pass
                case 1:
                    out += bytes((byte, byte))
                case 2:
                    out += bytes((source.choice(b"\x00\x02\x03\x06\x10\x15"), byte))
                case _:
                    out.append(byte ^ (1 << source.randrange(8)))
        return bytes(out)

    return harm


def losing_frames(source: random.Random, share: float) -> Harm:
    """What is written at once is lost as a whole, or not at all."""
    return lambda data: b"" if source.random() < share else data


def is_part_in_order(part: list[Message], whole: list[Message]) -> bool:
    rest: Iterator[Message] = iter(whole)
    return all(any(message == one for one in rest) for message in part)


@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(sorted(DIALECTS)),
    per_byte=st.sampled_from([0.0003, 0.003, 0.03]),
    delay_s=st.sampled_from([0.0, 0.1, 0.7]),
    bytewise=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_on_a_noisy_line_nothing_wrong_comes_and_nothing_twice(
    seed: int, name: str, per_byte: float, delay_s: float, bytewise: bool
) -> None:
    one, other = (
        End(
            Session(DIALECTS[name]),
            delay_s=delay_s,
            bytewise=bytewise,
            harm=random_harm(random.Random(f"{seed} {end}"), per_byte),
        )
        for end in ("one", "other")
    )
    line = VirtualLine(one, other)
    to_other: list[Message] = [outcome(n) for n in range(12)]
    to_one: list[Message] = [query(n) for n in range(12)]
    line.say(one, *to_other)
    line.say(other, *to_one)
    line.run()
    assert is_part_in_order(other.heard(), to_other)
    assert is_part_in_order(one.heard(), to_one)
    assert one.session.idle
    assert other.session.idle
    assert is_part_in_order([*one.delivered()], to_other)
    assert sorted(map(repr, one.delivered() + one.given_up())) == sorted(map(repr, to_other))


@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(sorted(DIALECTS)),
    share=st.sampled_from([0.05, 0.3, 0.6]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_where_frames_are_lost_what_was_acknowledged_has_come(
    seed: int, name: str, share: float
) -> None:
    one = End(Session(DIALECTS[name]), harm=losing_frames(random.Random(f"{seed} one"), share))
    other = End(Session(DIALECTS[name]), harm=losing_frames(random.Random(f"{seed} 2"), share))
    line = VirtualLine(one, other)
    to_other: list[Message] = [text(n) for n in range(15)]
    line.say(one, *to_other)
    line.say(other, *(query(n) for n in range(15)))
    line.run(600.0)
    heard = other.heard()
    assert is_part_in_order(heard, to_other)
    assert set(one.delivered()) <= set(heard)
    assert len(one.delivered()) + len(one.given_up()) == len(to_other)


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    frame_of(one, message, sequence)
                    for one in DIALECTS.values()
                    for message in (Ping(), hello(), query(7))
                    for sequence in (1, 2)
                ]
            ),
            st.sampled_from([ACK, NAK, b"\x10\x02", b"\x02", b"\x10\x03", b"\x03"]),
        ),
        max_size=12,
    ),
    name=st.sampled_from(sorted(DIALECTS)),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_comes_each_whole_frame_gets_its_answer(pieces: list[bytes], name: str) -> None:
    session = Session(DIALECTS[name])
    decoder = DIALECTS[name].framing.decoder(4092)
    for place, piece in enumerate(pieces):
        found = decoder.feed(piece)
        session.receive(piece, place * 0.01)
        answers = [ACK if isinstance(event, Frame) else NAK for event in found if ends(event)]
        assert session.take_output(place * 0.01) == b"".join(answers)


def ends(event: FrameEvent) -> bool:
    return isinstance(event, Frame | Bad)


@pytest.mark.parametrize(
    ("name", "stream"),
    [(name, stream) for name, streams in LINK["streams"].items() for stream in streams],
    ids=lambda value: value["note"] if isinstance(value, dict) else value,
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_streams_of_the_vectors_are_answered(
    name: str, stream: dict[str, object], bytewise: bool
) -> None:
    data = bytes.fromhex(str(stream["bytes"]))
    does = stream["does"]
    assert isinstance(does, list)
    session = Session(DIALECTS[name])
    pieces = [data[i : i + 1] for i in range(len(data))] if bytewise else [data]
    answers = b""
    for piece in pieces:
        session.receive(piece, 0.0)
        answers += session.take_output(0.0)
    wanted = {"frame": ACK, "bad": NAK, "ack": b"", "nak": b""}
    assert answers == b"".join(wanted[step.split()[0]] for step in does)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (name, bytes.fromhex(row["body"]))
        for name, rows in LINK["not_understood"].items()
        for row in rows
    ],
)
def test_what_says_nothing_is_acknowledged_and_told_once(name: str, body: bytes) -> None:
    session = Session(DIALECTS[name])
    frame = DIALECTS[name].framing.encode(body)
    link, *found = session.receive(frame, 0.0)
    assert link == LinkUp()
    assert [type(event) for event in found] == [NotUnderstoodBody]
    assert session.receive(frame, 1.0) == []
    assert session.take_output(1.0) == ACK + ACK


# Duplicates


def test_the_same_frame_again_is_acknowledged_and_dropped(
    dialect: Dialect, session: Session
) -> None:
    frame = frame_of(dialect, query(1), 7)
    assert Received(query(1), 7) in session.receive(frame, 0.0)
    assert session.receive(frame, 1.0) == []
    assert session.take_output(1.0) == ACK + ACK


def test_the_same_message_under_another_number_is_a_new_one(
    dialect: Dialect, session: Session
) -> None:
    session.receive(frame_of(dialect, query(1), 7), 0.0)
    assert session.receive(frame_of(dialect, query(1), 8), 0.1) == [Received(query(1), 8)]
    assert session.receive(frame_of(dialect, query(1), 7), 0.2) == [Received(query(1), 7)]
    assert session.receive(frame_of(dialect, query(2), 7), 0.3) == [Received(query(2), 7)]


@pytest.mark.parametrize("message", [hello(), Identify()], ids=["HELLO", "IDENTIFY"])
def test_hello_and_identify_are_never_duplicates(
    dialect: Dialect, session: Session, message: Message
) -> None:
    frame = frame_of(dialect, message, 1)
    session.receive(frame, 0.0)
    assert session.receive(frame, 1.0) == [Received(message, 1)]


# Answers


def test_an_answer_goes_before_the_next_own_frame_and_never_inside_one(
    dialect: Dialect, session: Session
) -> None:
    session.send(text(1))
    session.receive(frame_of(dialect, query(1), 1), 0.0)
    assert session.take_output(0.0) == ACK + frame_of(dialect, text(1), 1)
    # It is on its way; the answer to the next one goes after it.
    session.receive(frame_of(dialect, query(2), 2), 0.001)
    assert session.take_output(0.001) == ACK
    assert session.take_output(0.001) == b""


def test_a_damaged_frame_is_answered_nak_and_told(dialect: Dialect, session: Session) -> None:
    frame = bytearray(frame_of(dialect, query(1), 1))
    frame[5] ^= 1
    assert session.receive(bytes(frame), 0.0) == [Damaged()]
    assert session.take_output(0.0) == NAK
    assert session.link_up is None


def test_a_frame_longer_than_this_end_takes_is_answered_nak(dialect: Dialect) -> None:
    session = Session(dialect, max_body=640)
    piece = ImageData(image_id=1, offset=0, data=bytes(range(32, 96)) * 11)
    frame = frame_of(dialect, piece, 1)
    assert session.receive(frame, 0.0) == [Damaged()]
    assert session.take_output(0.0) == NAK


def test_half_a_second_without_a_byte_drops_a_frame(dialect: Dialect, session: Session) -> None:
    frame = frame_of(dialect, query(1), 1)
    session.receive(frame[:6], 0.0)
    assert wait(session) == 0.5
    assert session.receive(frame[6:10], 0.49) == []
    assert wait(session) == 0.99
    assert session.wake(0.99) == []
    assert session.next_wake() is None
    assert not any(isinstance(e, Received) for e in session.receive(frame[10:], 1.0))
    session.receive(frame[:6], 2.0)
    # Not woken in time: the silence counts all the same.
    session.receive(frame[6:], 2.6)
    assert session.take_output(2.6) == b""
    assert Received(query(1), 1) in session.receive(frame, 2.7)


# Sending again


def test_without_an_answer_it_is_sent_three_times_a_second_apart(
    dialect: Dialect, session: Session
) -> None:
    frame = put_out(session, query(1), 10.0)
    for again in (11.0, 12.0):
        assert wait(session) == again
        assert session.wake(again - TICK) == []
        assert session.take_output(again - TICK) == b""
        assert session.wake(again) == []
        assert session.take_output(again) == frame
        assert session.written(again) == []
    assert wait(session) == 13.0
    assert session.wake(13.0) == [GivenUp(query(1)), LinkDown()]
    assert session.take_output(13.0) == b""
    assert session.link_up is False


def test_the_second_runs_from_when_the_last_byte_has_left(session: Session) -> None:
    session.send(query(1))
    session.take_output(0.0)
    assert session.next_wake() is None
    assert session.wake(5.0) == []
    session.written(7.0)
    assert wait(session) == 8.0


def test_nak_brings_it_again_after_50_ms_then_250_ms_then_it_is_given_up(session: Session) -> None:
    frame = put_out(session, query(1), 0.0)
    assert session.receive(NAK, 0.01) == []
    assert wait(session) == pytest.approx(0.06)
    assert session.take_output(0.0599) == b""
    assert session.take_output(0.0601) == frame
    session.written(0.07)
    assert session.receive(NAK, 0.10) == []
    assert session.take_output(0.349) == b""
    assert session.take_output(0.3501) == frame
    session.written(0.36)
    assert session.receive(NAK, 0.40) == [GivenUp(query(1)), LinkDown()]


def test_after_a_nak_answers_are_not_looked_at_until_it_was_sent_again(session: Session) -> None:
    frame = put_out(session, query(1), 0.0)
    session.receive(NAK, 0.01)
    assert session.receive(ACK + NAK, 0.02) == []
    assert session.take_output(0.0601) == frame
    session.written(0.0601)
    assert session.receive(ACK, 0.07) == [Delivered(query(1))]


def test_the_time_for_an_answer_stands_still_while_a_frame_comes_in(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, query(1), 0.0)
    incoming = frame_of(dialect, query(9), 1)
    now = 0.8
    session.receive(incoming[:2], now)
    for place in range(2, len(incoming)):
        now += 0.3
        session.receive(incoming[place : place + 1], now)
        assert session.wake(now) == []
    ended_at = now
    assert ended_at > 2.0
    assert session.take_output(ended_at) == ACK
    assert wait(session) == pytest.approx(ended_at + 0.2)
    assert session.receive(ACK, ended_at + 0.19) == [Delivered(query(1))]


def test_each_time_it_is_sent_has_a_second_of_its_own(dialect: Dialect, session: Session) -> None:
    frame = put_out(session, query(1), 0.0)
    incoming = frame_of(dialect, query(9), 1)
    session.receive(incoming[:8], 0.5)
    session.receive(incoming[8:], 0.9)
    session.take_output(0.9)
    assert wait(session) == pytest.approx(1.4)
    session.wake(wait(session))
    assert session.take_output(1.4001) == frame
    session.written(1.5)
    assert wait(session) == pytest.approx(2.5)


def test_it_goes_on_when_the_frame_that_came_in_breaks_off(
    dialect: Dialect, session: Session
) -> None:
    frame = put_out(session, query(1), 0.0)
    session.receive(frame_of(dialect, query(9), 1)[:8], 0.8)
    assert wait(session) == pytest.approx(1.3)
    session.wake(1.3)
    assert wait(session) == pytest.approx(1.5)
    session.wake(wait(session))
    assert session.take_output(1.5001) == frame


def test_bytes_without_an_end_do_not_hold_it_up_for_ever(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, query(1), 0.0)
    session.receive(frame_of(dialect, query(9), 1)[:8], 0.1)
    now = 0.1
    while not session.wake(now) and now < 60.0:
        session.receive(b"A" * 1000, now)
        session.take_output(now)
        session.written(now)
        now += 0.1
    assert session.link_up is False
    assert now < 6.0


def test_both_may_send_at_once(dialect: Dialect) -> None:
    slow = 9_600
    line = VirtualLine(
        End(Session(dialect), baud=slow, bytewise=True),
        End(Session(dialect), baud=slow, bytewise=True),
    )
    data = bytes(range(256)) * 5
    piece = ImageData(image_id=1, offset=0, data=data)
    line.say(line.one, piece)
    line.at(0.2, lambda: line.say(line.other, *(query(n) for n in range(3))))
    line.run()
    # The first query's ACK had to wait for the end of a frame of more than a second.
    assert line.other.heard() == [piece]
    assert line.one.heard() == [query(n) for n in range(3)]
    assert [len(line.one.written), line.one.delivered()] == [4, [piece]]
    assert line.other.given_up() == []


# Late answers


def test_after_a_frame_was_sent_twice_answers_are_dropped_for_a_quarter_of_a_second(
    session: Session,
) -> None:
    frame = put_out(session, query(1), 0.0)
    session.send(query(2))
    session.wake(1.0)
    assert session.take_output(1.0) == frame
    session.written(1.0)
    assert session.receive(ACK, 1.1) == [Delivered(query(1))]
    assert session.take_output(1.1) == b""
    assert wait(session) == pytest.approx(1.35)
    # The late answer to the second time it was sent: not one to what comes next.
    assert session.receive(ACK, 1.3) == []
    assert session.take_output(1.3499) == b""
    assert session.take_output(1.36) != b""
    session.written(1.36)
    assert not session.idle


def test_no_pause_after_a_frame_that_was_sent_once(session: Session) -> None:
    put_out(session, query(1), 0.0)
    session.send(query(2))
    assert session.receive(ACK, 0.1) == [Delivered(query(1))]
    assert session.take_output(0.1) != b""


def test_the_pause_is_kept_after_a_frame_was_given_up_too(session: Session) -> None:
    put_out(session, query(1), 0.0)
    session.send(query(2))
    for again in (1.0, 2.0):
        session.wake(again)
        session.take_output(again)
        session.written(again)
    assert GivenUp(query(1)) in session.wake(3.0)
    assert not session.idle
    assert session.receive(ACK, 3.1) == []
    assert session.take_output(3.24) == b""
    assert session.take_output(3.25) != b""


def test_the_session_is_idle_again_only_after_the_pause(session: Session) -> None:
    put_out(session, query(1), 0.0)
    session.wake(1.0)
    session.take_output(1.0)
    session.written(1.0)
    session.receive(ACK, 1.1)
    assert not session.idle
    session.wake(wait(session))
    assert session.idle
    assert session.next_wake() is None


def test_answers_are_not_looked_at_while_nothing_waits_for_one(session: Session) -> None:
    assert session.receive(ACK + NAK + ACK, 0.0) == []
    session.send(query(1))
    session.take_output(0.0)
    # The frame is still on its way: this cannot be its answer.
    assert session.receive(ACK, 0.01) == []
    assert session.written(0.2) == []
    assert not session.idle


@pytest.mark.parametrize(("answer", "told"), [(ACK, [Delivered(query(1))]), (NAK, [])])
def test_an_answer_counts_though_we_are_told_a_little_late_that_the_frame_has_left(
    session: Session, answer: bytes, told: list[object]
) -> None:
    session.send(query(1))
    session.take_output(0.0)
    assert session.receive(answer, 0.01) == []
    assert session.written(0.02) == told
    if not told:
        assert wait(session) == pytest.approx(0.07)


# Down and up


def test_the_link_is_told_down_once_and_up_with_the_next_right_frame(
    dialect: Dialect, session: Session
) -> None:
    for start in (0.0, 10.0):
        put_out(session, query(1), start)
        for again in (1.0, 2.0):
            session.wake(start + again)
            session.take_output(start + again)
            session.written(start + again)
        told = session.wake(start + 3.0)
        assert told == ([GivenUp(query(1)), LinkDown()] if start == 0.0 else [GivenUp(query(1))])
        session.wake(start + 3.3)
    damaged = bytearray(frame_of(dialect, Ping(), 1))
    damaged[3] ^= 1
    assert LinkUp() not in session.receive(bytes(damaged), 20.0)
    assert session.link_up is False
    assert session.receive(frame_of(dialect, Ping(), 1), 21.0) == [LinkUp(), Received(Ping(), 1)]
    assert session.receive(frame_of(dialect, Ping(), 2), 22.0) == [Received(Ping(), 2)]


def test_what_waits_is_tried_though_the_link_is_down(dialect: Dialect) -> None:
    line = line_between(Session(dialect), Session(dialect))
    line.one.harm = lambda data: b"" if line.now < 3.5 else data
    line.say(line.one, query(1), query(2))
    line.run()
    assert line.one.given_up() == [query(1)]
    assert line.other.heard() == [query(2)]
    assert line.one.delivered() == [query(2)]


def test_a_lost_line_drops_what_waited_and_is_told_once(dialect: Dialect, session: Session) -> None:
    put_out(session, query(1), 0.0)
    session.send(query(2))
    session.receive(frame_of(dialect, Ping(), 1) + frame_of(dialect, Ping(), 2)[:5], 0.1)
    assert session.line_lost() == [LinkDown()]
    assert session.line_lost() == []
    assert session.idle
    assert session.next_wake() is None
    assert session.take_output(1.0) == b""
    # Half a frame from before does not hide the first one after.
    assert Received(Ping(), 3) in session.receive(frame_of(dialect, Ping(), 3), 2.0)


def test_restart_is_as_after_power_up(dialect: Dialect, session: Session) -> None:
    session.receive(frame_of(dialect, Ping(), 1), 0.0)
    put_out(session, query(1), 0.0)
    session.restart()
    assert session.link_up is None
    assert put_out(session, query(2), 1.0) == frame_of(dialect, query(2), 1)
    assert Received(Ping(), 1) in session.receive(frame_of(dialect, Ping(), 1), 1.0)


# HELLO


def test_hello_that_is_heard_starts_the_numbers_of_this_end_afresh(
    dialect: Dialect, session: Session
) -> None:
    for n in range(5):
        put_out(session, text(n), float(n))
        session.receive(ACK, n + 0.1)
    session.receive(frame_of(dialect, hello(), 1), 10.0)
    assert put_out(session, welcome(), 10.0) == ACK + frame_of(dialect, welcome(), 1)


def test_hello_that_is_said_has_number_1_and_the_same_welcome_is_new_again(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, query(1), 0.0)
    session.receive(ACK, 0.0)
    for start in (1.0, 2.0):
        assert put_out(session, hello(), start) == frame_of(dialect, hello(), 1)
        session.receive(ACK, start)
        found = session.receive(frame_of(dialect, welcome(), 1), start + 0.1)
        assert Received(welcome(), 1) in found
        session.take_output(start + 0.1)
    assert put_out(session, query(2), 3.0) == frame_of(dialect, query(2), 2)


def test_hello_drops_what_waits_to_be_said_but_the_pairing_dialogue(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, outcome(1), 0.0)
    session.receive(ACK, 0.0)
    session.receive(NAK, 0.0)
    pair_open = PairOpen(commitment=bytes(32))
    put_out(session, outcome(2), 0.0)
    session.send(pair_open)
    session.send(outcome(3))
    session.receive(ACK + frame_of(dialect, hello(), 1), 0.1)
    session.send(welcome())
    assert session.take_output(0.1) == ACK + frame_of(dialect, pair_open, 1)
    session.written(0.1)
    session.receive(ACK, 0.2)
    assert session.take_output(0.2) == frame_of(dialect, welcome(), 2)


def test_a_frame_that_hello_overtakes_is_not_sent_again_but_its_answer_is_awaited(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, Identify(), 0.0)
    session.receive(frame_of(dialect, hello(), 1), 0.9)
    session.send(welcome())
    assert session.take_output(0.9) == ACK
    # The terminal was in the middle of its HELLO: this is what it answers to IDENTIFY.
    assert session.receive(ACK, 1.1) == [Delivered(Identify())]
    assert session.take_output(1.1) == frame_of(dialect, welcome(), 1)


def test_without_that_answer_the_next_frame_goes_after_the_time_for_one(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, Identify(), 0.0)
    session.receive(frame_of(dialect, hello(), 1), 0.9)
    session.send(welcome())
    session.take_output(0.9)
    assert wait(session) == pytest.approx(1.2)
    assert session.wake(wait(session)) == []
    assert session.take_output(1.2001) == frame_of(dialect, welcome(), 1)
    assert session.link_up is True


def test_a_frame_that_waits_to_be_sent_again_is_dropped_at_hello(
    dialect: Dialect, session: Session
) -> None:
    put_out(session, Identify(), 0.0)
    session.receive(NAK, 0.01)
    session.receive(frame_of(dialect, hello(), 1), 0.02)
    session.send(welcome())
    assert session.take_output(0.02) == ACK + frame_of(dialect, welcome(), 1)


def test_a_frame_that_is_on_its_way_at_hello_leaves_and_is_not_sent_again(
    dialect: Dialect, session: Session
) -> None:
    session.send(Identify())
    session.take_output(0.0)
    session.receive(frame_of(dialect, hello(), 1), 0.001)
    session.send(welcome())
    assert session.take_output(0.001) == ACK
    session.written(0.002)
    assert session.receive(NAK, 0.01) == []
    assert session.take_output(0.01) == frame_of(dialect, welcome(), 1)


def test_the_pairing_dialogue_is_sent_again_across_a_hello(
    dialect: Dialect, session: Session
) -> None:
    frame = put_out(session, PairOpen(commitment=bytes(32)), 0.0)
    session.receive(frame_of(dialect, hello(), 1), 0.5)
    session.take_output(0.5)
    session.wake(1.0)
    assert session.take_output(1.0) == frame


@pytest.mark.parametrize(
    ("announced", "used"), [(1024, 1024), (640, 640), (100, 640), (65535, 4092)]
)
def test_hello_says_how_long_a_body_may_be(
    dialect: Dialect, session: Session, announced: int, used: int
) -> None:
    assert session.peer_max_body == 4092
    session.receive(frame_of(dialect, hello(max_body=announced), 1), 0.0)
    assert session.peer_max_body == used


# What waits


def test_too_much_that_waits_costs_the_oldest_that_is_replaceable(session: Session) -> None:
    put_out(session, query(0), 0.0)
    session.send(accepted := _accepted())
    session.send(progress(30))
    session.send(Pong())
    for n in range(QUEUE_MAX - 3):
        assert session.send(text(n)) is None
    assert session.send(outcome(1)) == progress(30)
    assert session.send(outcome(2)) == Pong()
    # What is left is of use, all of it: what comes now comes too late.
    assert session.send(outcome(3)) == outcome(3)
    assert session.send(outcome(2)) is None
    said: list[Message] = []
    while not session.idle:
        said += [e.message for e in session.receive(ACK, 0.1) if isinstance(e, Delivered)]
        session.take_output(0.1)
        session.written(0.1)
    assert said[:2] == [query(0), accepted]
    assert said[-2:] == [outcome(1), outcome(2)]
    assert len(said) == QUEUE_MAX + 1


def _accepted() -> Accepted:
    return Accepted(
        terminal_id="T0000001", counter=42, amount_minor=12_550, currency=554, seconds_left=300
    )


def test_an_outcome_that_waits_is_not_put_twice(session: Session) -> None:
    put_out(session, query(0), 0.0)
    for _ in range(3):
        assert session.send(outcome(1)) is None
    session.send(DisplayClear())
    session.receive(ACK, 0.1)
    put = session.take_output(0.1)
    session.written(0.1)
    assert session.receive(ACK, 0.2) == [Delivered(outcome(1))]
    assert session.take_output(0.2) not in (b"", put)
    session.written(0.2)
    session.receive(ACK, 0.3)
    assert session.idle


def test_what_cannot_be_written_or_is_too_long_for_the_peer_is_told_to_who_sends_it(
    dialect: Dialect, session: Session
) -> None:
    with pytest.raises(ValueError, match="DISPLAY_TEXT"):
        session.send(DisplayText(text="x" * 161))
    session.receive(frame_of(dialect, hello(max_body=640), 1), 0.0)
    with pytest.raises(ValueError, match="640"):
        session.send(ImageData(image_id=1, offset=0, data=bytes(700)))
    session.send(ImageData(image_id=1, offset=0, data=bytes(400)))


def test_a_number_is_given_when_a_message_is_first_sent(dialect: Dialect) -> None:
    session = Session(dialect, first_sequence=255)
    put_out(session, query(1), 0.0)
    session.send(query(2))
    session.receive(ACK, 0.1)
    assert session.take_output(0.1) == frame_of(dialect, query(2), 1)


@pytest.mark.parametrize("number", [0, 256])
def test_there_is_no_number_out_of_1_to_255(dialect: Dialect, number: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        Session(dialect, first_sequence=number)


def test_noise_is_kept_for_a_person_to_see(session: Session) -> None:
    assert session.receive(b"", 0.0) == []
    assert session.receive(b"$GPGGA", 0.0) == []
    assert session.take_output(0.0) == b""
    assert session.take_noise() == b"$GPGGA"
    assert session.take_noise() == b""


def test_a_tender_comes_with_all_it_says(dialect: Dialect) -> None:
    tender = Tender(
        terminal_id="T1",
        counter=42,
        amount_minor=12_550,
        currency=554,
        merchant="m-1",
        reference="R–1",
        operator="Ann",
    )
    line = line_between(Session(dialect), Session(dialect))
    line.say(line.other, tender)
    line.run()
    assert line.one.heard() == [tender]
