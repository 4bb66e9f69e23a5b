"""Lanes at work: real descriptors, one loop, several lines at once."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from bridge.drawing import first_picture
from bridge.lane import CannotShow, Draw, Lane
from bridge.lane_events import Heard, LaneEvent, LineDown, LineUp, PictureResult
from bridge.lane_line import DrawNow, LaneOnLine
from drivers.display.geometry import Panel
from drivers.line.line import LineUser
from drivers.line.loop import Loop
from drivers.line.serial import SerialLine
from drivers.link.dialect import DIALECTS
from drivers.link.image_transfer import Picture
from drivers.link.messages import (
    Accepted,
    Hello,
    Identify,
    ImageShow,
    ImageStatus,
    Message,
    Outcome,
    Ping,
    Pong,
    Query,
    Welcome,
)
from drivers.link.session import Received, Session

GIVE_UP_S = 30.0
"""A test that waits for so long has failed; nothing is measured by it."""

NATIVE = DIALECTS["native"]
HELLO = Hello("T1", "SN1", 1, "Model", "1.0", 128, 64, b"\x10\x83\x21", 1024)
WELCOME = Welcome(1, b"journal1", 1, 261123, 101500)
ACCEPTED = Accepted("T1", 42, 12_550, 554, 300)
OUTCOME = Outcome("T1", 42, "00", 12_550, "APPROVED", 261123, 101530)


class FarEnd:
    """A terminal on the other side of a pseudo-terminal, moved on by the test."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.session = Session(NATIVE)
        self.heard: list[Message] = []
        self.fd = -1
        self.plug()

    def plug(self) -> None:
        self.fd, near = os.openpty()
        # What is readable may be flushed by the near side's opening before it is read.
        os.set_blocking(self.fd, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(near))
        os.close(near)
        self.session.restart()

    def unplug(self) -> None:
        os.close(self.fd)
        self.fd = -1

    def move(self, now: float) -> None:
        if self.fd < 0:
            return
        if select.select([self.fd], [], [], 0)[0]:
            try:
                data = os.read(self.fd, 65_536)
            except OSError:
                data = b""  # flushed, or nobody has the near side open just now
            for event in self.session.receive(data, now):
                if isinstance(event, Received):
                    self.heard.append(event.message)
                    if isinstance(event.message, ImageShow):
                        self.session.send(ImageStatus(event.message.image_id, 0))
        self.session.wake(now)
        out = self.session.take_output(now)
        if out:
            os.write(self.fd, out)
            self.session.written(now)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop()
        self.pool = ThreadPoolExecutor(1)
        self.posted: list[LaneEvent] = []
        self.far: list[FarEnd] = []
        self.lanes: list[LaneOnLine] = []

    def lane(self, name: str, draw: DrawNow = first_picture) -> tuple[LaneOnLine, FarEnd]:
        far = FarEnd(self.folder / name)
        port = str(far.link)

        def make_lane(drawer: Draw) -> Lane:
            return Lane(port, NATIVE, post=self.posted.append, draw=drawer)

        def make_line(user: LineUser) -> SerialLine:
            return SerialLine(self.loop, port, user)

        made = LaneOnLine(
            self.loop,
            make_lane=make_lane,
            make_line=make_line,
            draw=draw,
            in_worker=self.pool.submit,
        )
        self.far.append(far)
        self.lanes.append(made)
        made.start()
        return made, far

    def until(self, holds: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + GIVE_UP_S
        while not holds():
            assert time.monotonic() < give_up_at, f"never came: {self.posted}"
            self.loop.turn(0.005)
            for far in self.far:
                far.move(self.loop.now())

    def welcomed(self, lane: LaneOnLine, far: FarEnd) -> None:
        self.until(lambda: Identify() in far.heard)
        far.heard.clear()
        far.session.send(HELLO)
        self.until(lambda: Heard(lane.name, HELLO, 1) in self.posted)
        lane.say(WELCOME)
        self.until(lambda: WELCOME in far.heard)
        far.heard.clear()
        self.posted.clear()

    def close(self) -> None:
        for lane in self.lanes:
            lane.close()
        self.loop.turn(0)
        self.pool.shutdown()
        self.loop.close()
        for far in self.far:
            if far.fd >= 0:
                far.unplug()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_from_identify_to_a_picture_on_the_panel(bench: Bench) -> None:
    lane, far = bench.lane("one")
    bench.welcomed(lane, far)
    lane.show_code(ACCEPTED, "https://pay.example/abc", 1e9)
    result = PictureResult(lane.name, "T1", 42, True, "")
    bench.until(lambda: result in bench.posted)
    far.session.send(Ping())
    bench.until(lambda: Pong() in far.heard)


def test_what_is_said_from_other_threads_comes_in_its_order(bench: Bench) -> None:
    lane, far = bench.lane("one")
    bench.welcomed(lane, far)
    said: list[Message] = [Outcome("T1", n, "00", n, "x", 1, 1) for n in range(20)]

    def say_all() -> None:
        for message in said:
            lane.say(message)

    bench.pool.submit(say_all)
    bench.until(lambda: len(far.heard) >= len(said))
    assert far.heard == said


def test_unplugged_and_plugged_in_again_it_asks_who_is_there(bench: Bench) -> None:
    lane, far = bench.lane("one")
    bench.welcomed(lane, far)
    far.unplug()
    bench.until(lambda: any(isinstance(event, LineDown) for event in bench.posted))
    lane.say(OUTCOME)
    far.plug()
    bench.until(lambda: Identify() in far.heard)
    assert OUTCOME not in far.heard
    bench.welcomed(lane, far)


def test_a_lane_that_fails_begins_afresh_and_its_neighbour_notices_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, bad_far = bench.lane("bad")
    good, good_far = bench.lane("good")
    bench.welcomed(bad, bad_far)
    bench.welcomed(good, good_far)
    receive = bad.lane.receive

    def poisoned(data: bytes, now: float) -> None:
        monkeypatch.setattr(bad.lane, "receive", receive)
        raise ZeroDivisionError("a poisoned byte")

    monkeypatch.setattr(bad.lane, "receive", poisoned)
    bad_far.session.send(Query("T1"))
    good_far.session.send(Ping())
    bench.until(lambda: Pong() in good_far.heard)
    bench.until(lambda: LineUp(bad.name) in bench.posted)
    bench.welcomed(bad, bad_far)
    assert not any(event.lane == good.name for event in bench.posted if isinstance(event, LineDown))


def test_a_drawer_that_raises_counts_as_a_picture_that_cannot_be_made(bench: Bench) -> None:
    def fail(
        payload: str, panel: Panel, formats: bytes, largest: int | None
    ) -> Picture | CannotShow:
        raise ZeroDivisionError

    lane, far = bench.lane("one", fail)
    bench.welcomed(lane, far)
    lane.show_code(ACCEPTED, "x", 1e9)
    bench.until(lambda: bool(bench.posted))
    (result,) = bench.posted
    assert isinstance(result, PictureResult)
    assert not result.shown


def test_a_closed_lane_says_and_posts_nothing(bench: Bench) -> None:
    lane, far = bench.lane("one")
    bench.welcomed(lane, far)
    lane.close()
    lane.say(OUTCOME)
    done: list[bool] = []
    bench.loop.call(partial(done.append, True))
    bench.until(lambda: bool(done))
    assert OUTCOME not in far.heard
    assert bench.posted == []
