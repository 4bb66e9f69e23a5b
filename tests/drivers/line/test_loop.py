"""The loop: order, other threads, and a handler that fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from drivers.line.loop import (
    CALLS_WAITING_MAX,
    CANCELLED_TIMERS_MAX,
    Interest,
    Loop,
    LoopStuckError,
    Timer,
)


class Owner:
    def __init__(self, name: str = "a lane") -> None:
        self.name = name
        self.errors: list[Exception] = []

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class HandClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def loop(clock: HandClock) -> Iterator[Loop]:
    with Loop(clock) as made:
        yield made


def test_timers_run_in_order_of_time_and_of_setting_and_never_early(
    loop: Loop, clock: HandClock
) -> None:
    ran: list[str] = []
    owner = Owner()
    loop.at(102.0, lambda: ran.append("third"), owner)
    loop.at(101.0, lambda: ran.append("first"), owner)
    loop.at(101.0, lambda: ran.append("second"), owner)
    clock.now = 100.999
    loop.turn(0)
    assert ran == []
    clock.now = 101.0
    loop.turn(0)
    assert ran == ["first", "second"]
    clock.now = 110.0
    loop.turn(0)
    assert ran == ["first", "second", "third"]


def test_a_cancelled_timer_does_not_run_even_when_cancelled_by_one_of_the_same_instant(
    loop: Loop, clock: HandClock
) -> None:
    ran: list[str] = []
    owner = Owner()
    later: list[Timer] = []
    loop.at(101.0, lambda: [timer.cancel() for timer in later], owner)
    later.append(loop.at(101.0, lambda: ran.append("cancelled"), owner))
    third = loop.at(101.0, lambda: ran.append("third"), owner)
    clock.now = 101.0
    loop.turn(0)
    third.cancel()
    assert ran == ["third"]


def test_many_cancelled_timers_are_forgotten_and_the_others_stay(
    loop: Loop, clock: HandClock
) -> None:
    ran: list[int] = []
    owner = Owner()
    timers = [loop.at(101.0 + n, lambda n=n: ran.append(n), owner) for n in range(1000)]
    for number, timer in enumerate(timers):
        if number % 100:
            timer.cancel()
    assert len(loop._timers) <= 2 * CANCELLED_TIMERS_MAX
    clock.now = 2000.0
    loop.turn(0)
    assert ran == [*range(0, 1000, 100)]


def test_a_timer_set_for_now_by_a_timer_waits_for_the_next_turn(
    loop: Loop, clock: HandClock
) -> None:
    count = [0]
    owner = Owner()

    def again() -> None:
        count[0] += 1
        loop.at(clock.now, again, owner)

    loop.at(clock.now, again, owner)
    loop.turn(0)
    assert count == [1]
    loop.turn(0)
    assert count == [2]


def test_calls_from_other_threads_run_here_in_their_order(loop: Loop) -> None:
    ran: list[tuple[int, int]] = []
    here = threading.get_ident()
    threads: list[int] = []

    def caller(number: int) -> None:
        for step in range(100):
            loop.call(lambda step=step: ran.append((number, step)))
        loop.call(lambda: threads.append(threading.get_ident()))

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for thread in callers:
        thread.start()
    while len(threads) < 4:
        loop.turn()
    for thread in callers:
        thread.join()
    for number in range(4):
        assert [step for who, step in ran if who == number] == [*range(100)]
    assert set(threads) == {here}


def test_stop_from_another_thread_ends_run(loop: Loop) -> None:
    thread = threading.Thread(target=loop.run)
    thread.start()
    loop.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_call_that_calls_does_not_keep_the_turn_going(loop: Loop) -> None:
    count = [0]

    def again() -> None:
        count[0] += 1
        loop.call(again)

    loop.call(again)
    loop.turn()
    assert count == [1]


def test_a_loop_that_takes_nothing_says_so(loop: Loop) -> None:
    with pytest.raises(LoopStuckError, match="takes none"):
        for _ in range(CALLS_WAITING_MAX + 1):
            loop.call(lambda: None)


def test_a_call_after_close_is_nothing() -> None:
    loop = Loop()
    loop.close()
    loop.call(lambda: None)
    loop.close()


def test_a_failing_handler_resets_its_owner_and_the_others_go_on(
    loop: Loop, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Owner("/dev/bad"), Owner("/dev/good")
    ran: list[str] = []

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    read, write = os.pipe()
    os.write(write, b"x")
    loop.watch(read, Interest.READ, fail, bad)
    loop.at(clock.now, fail, bad)
    loop.at(clock.now, lambda: ran.append("timer"), good)
    loop.call(fail, bad)
    loop.call(fail)
    loop.call(lambda: ran.append("call"), good)
    loop.turn(0)
    assert sorted(ran) == ["call", "timer"]
    assert len(bad.errors) == 3
    assert not good.errors
    assert "/dev/bad" in caplog.text
    loop.unwatch(read)
    os.close(read)
    os.close(write)


def test_an_owner_that_cannot_begin_afresh_does_not_end_the_loop(loop: Loop) -> None:
    class Hopeless(Owner):
        def failed(self, error: Exception) -> None:
            raise error

    def fail() -> None:
        raise ZeroDivisionError

    loop.call(fail, Hopeless())
    loop.turn(0)
    loop.turn(0)


def test_a_descriptor_that_a_handler_of_the_same_turn_gave_up_is_not_called(loop: Loop) -> None:
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []
    owner = Owner()

    def ready(which: int) -> None:
        called.append(which)
        loop.unwatch(pipes[1 - which][0])

    for which, (read, write) in enumerate(pipes):
        os.write(write, b"x")
        loop.watch(read, Interest.READ, lambda _, which=which: ready(which), owner)
    loop.turn(0)
    assert len(called) == 1
    for read, write in pipes:
        loop.unwatch(read)
        os.close(read)
        os.close(write)
