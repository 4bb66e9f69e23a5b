"""Displays at work: a device that blocks, fails and comes back, and nobody who waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from bridge.displays import AGAIN_S, COUNTDOWN_S, Code, Displays, Empty, Lines, content_of
from bridge.effects import ClearBeside, ShowBeside
from bridge.events import DisplayResult
from bridge.registry import Pairing, Snapshot
from drivers.display.beside import NOTHING, DisplayConfigError, NotShown, Shown

GIVE_UP_S = 20.0
SCAN = ShowBeside(
    "counter",
    pairing=1,
    terminal_id="T1",
    counter=7,
    state="Scan to pay",
    amount="125.50 NZD",
    payload="https://pay.test/q/1",
    order_number="181211-1",
    life_ends=1_300.0,
)
ASKING = replace(SCAN, state="Asking PartPay", payload=None, order_number=None, life_ends=None)
DONE = ClearBeside("counter", 1, 7)


class FakeDisplay:
    """Writes down what is asked; fails and blocks as it is told."""

    def __init__(self, name: str, bench: Bench, *, shows_codes: bool = True) -> None:
        self.name = name
        self.shows_codes = shows_codes
        self.bench = bench

    def show_code(self, payload: str, lines: Sequence[str]) -> Shown | NotShown:
        return self.bench.asked(("code", payload, *lines))

    def show_lines(self, lines: Sequence[str]) -> Shown | NotShown:
        return self.bench.asked(("lines", *lines))

    def clear(self) -> Shown | NotShown:
        return self.bench.asked(("clear",))


class Bench:
    """Displays with one fake device, and time that stands until the test moves it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.did: list[tuple[str, ...]] = []
        self.results: list[DisplayResult] = []
        self.troubles: list[tuple[str, str | None]] = []
        self.fails: str | None = None
        self.shown = Shown("fake")
        self.raises: Exception | None = None
        self.blocked = False
        self.time = 1_000.0
        self.shows_codes = True
        self.displays = Displays(self._post, self._trouble, self._now, self._make)

    def _now(self) -> float:
        with self.changed:
            return self.time

    def _make(self, name: str) -> FakeDisplay:
        if name == "wrong":
            raise DisplayConfigError("display 'wrong': write escpos:…")
        return FakeDisplay(name, self, shows_codes=self.shows_codes)

    def _post(self, result: DisplayResult) -> None:
        with self.changed:
            self.results.append(result)
            self.changed.notify_all()

    def _trouble(self, name: str, why: str | None) -> None:
        with self.changed:
            self.troubles.append((name, why))
            self.changed.notify_all()

    def asked(self, what: tuple[str, ...]) -> Shown | NotShown:
        with self.changed:
            self.did.append(what)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: not self.blocked, GIVE_UP_S)
            if self.raises is not None:
                raise self.raises
            return self.shown if self.fails is None else NotShown(self.fails)

    def until(self, holds: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, GIVE_UP_S), f"never came: {self.did} {self.results}"

    def unblock(self) -> None:
        with self.changed:
            self.blocked = False
            self.changed.notify_all()

    def move(self, seconds: float) -> None:
        """Time moves, and whoever waits for it looks at it now."""
        with self.changed:
            self.time += seconds
        for screen in self.displays._screens.values():
            with screen._changed:
                screen._changed.notify_all()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.unblock()
    made.displays.close()


def registry(*displays: str | None) -> Snapshot:
    pairings = [Pairing(n, f"T{n}", display=name) for n, name in enumerate(displays)]
    return Snapshot.of((), pairings)


# -- what is shown ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "shows_codes", "content"),
    [
        (None, True, Empty()),
        (None, False, Empty()),
        (ASKING, True, Lines(("Asking PartPay", "125.50 NZD"))),
        (ASKING, False, Lines(("Asking PartPay", "125.50 NZD"))),
        (SCAN, False, Lines(("Scan to pay 5:00", "125.50 NZD"))),
        (
            SCAN,
            True,
            Code("https://pay.test/q/1", ("Scan to pay", "125.50 NZD", "Order 181211-1")),
        ),
        (
            replace(SCAN, order_number=None),
            True,
            Code("https://pay.test/q/1", ("Scan to pay", "125.50 NZD")),
        ),
    ],
)
def test_what_a_display_is_to_show(
    wanted: ShowBeside | None, shows_codes: bool, content: Code | Lines | Empty
) -> None:
    assert content_of(wanted, shows_codes=shows_codes, now=1_000.0) == content


@pytest.mark.parametrize(
    ("now", "left"), [(1_000.5, "4:59"), (1_239.9, "1:00"), (1_291.0, "0:09"), (1_301.0, "0:00")]
)
def test_the_time_that_is_left(now: float, left: str) -> None:
    content = content_of(SCAN, shows_codes=False, now=now)
    assert content == Lines((f"Scan to pay {left}", "125.50 NZD"))


# -- at work ---------------------------------------------------------------------------------


def test_a_code_is_shown_told_and_cleared(bench: Bench) -> None:
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    assert bench.results == [DisplayResult(1, 7, "https://pay.test/q/1", True)]
    bench.displays.clear(DONE)
    bench.until(lambda: bench.did[-1] == ("clear",))
    assert [what for what, *_ in bench.did if what == "code"] == ["code"]
    assert ("counter", None) not in bench.troubles


def test_the_registrys_displays_are_there_from_the_start_and_empty(bench: Bench) -> None:
    bench.displays.follow(registry("counter", None, "counter", "till"))
    bench.until(lambda: len(bench.did) == 2)
    assert bench.did == [("clear",), ("clear",)]


def test_a_display_that_is_named_no_longer_is_cleared_and_given_up(bench: Bench) -> None:
    bench.displays.follow(registry("counter"))
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    bench.displays.follow(registry(None))
    bench.until(lambda: bench.did[-1] == ("clear",))
    bench.until(lambda: ("counter", None) in bench.troubles)


def test_another_tenders_end_leaves_what_is_shown(bench: Bench) -> None:
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    bench.displays.clear(ClearBeside("counter", 1, 6))
    bench.displays.clear(ClearBeside("counter", 2, 7))
    bench.displays.clear(ClearBeside("another", 1, 7))
    bench.displays.show(replace(SCAN, counter=8, payload="https://pay.test/q/2"))
    bench.until(lambda: len(bench.results) == 2)
    assert bench.did[-2][0] == bench.did[-1][0] == "code"


def test_a_device_that_hangs_holds_up_nobody_and_gets_only_what_is_wanted_last(
    bench: Bench,
) -> None:
    bench.displays.follow(registry("counter"))
    bench.until(lambda: bool(bench.did))
    bench.blocked = True
    bench.displays.show(ASKING)
    bench.until(lambda: len(bench.did) == 2)
    for n in range(1_000):
        bench.displays.show(replace(SCAN, payload=f"https://pay.test/q/{n}"))
        bench.displays.clear(DONE)
    bench.displays.show(SCAN)
    bench.unblock()
    bench.until(lambda: bool(bench.results))
    assert [one[:2] for one in bench.did] == [
        ("clear",),
        ("lines", "Asking PartPay"),
        ("code", "https://pay.test/q/1"),
    ]


def test_what_fails_is_told_once_and_tried_again(bench: Bench) -> None:
    bench.fails = "display counter: the printer has no paper; put in a new roll"
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    assert bench.results[0] == DisplayResult(1, 7, "https://pay.test/q/1", False, bench.fails)
    bench.move(AGAIN_S)
    bench.until(lambda: len(bench.results) == 2)
    assert len({why for _, why in bench.troubles}) == 1
    bench.fails = None
    bench.move(AGAIN_S)
    bench.until(lambda: len(bench.results) == 3)
    assert bench.results[2].shown
    bench.until(lambda: bench.troubles[-1] == ("counter", None))


def test_where_nothing_had_to_be_sent_nothing_is_learnt(bench: Bench) -> None:
    bench.fails = "display counter: the printer has no paper; put in a new roll"
    bench.displays.show(SCAN)
    bench.until(lambda: ("counter", bench.fails) in bench.troubles)
    bench.fails, bench.shown = None, Shown(NOTHING)
    bench.displays.show(ASKING)
    bench.until(lambda: bench.did[-1][0] == "lines")
    bench.shown = Shown("fake")
    bench.displays.clear(DONE)
    bench.until(lambda: bench.did[-1][0] == "clear")
    bench.until(lambda: ("counter", None) in bench.troubles)
    assert len(bench.troubles) == 2


def test_what_could_not_be_cleared_is_tried_again(bench: Bench) -> None:
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    bench.fails = "display counter: unplugged"
    bench.displays.clear(DONE)
    bench.until(lambda: bench.did[-1] == ("clear",))
    count = len(bench.did)
    bench.until(lambda: ("counter", bench.fails) in bench.troubles)
    bench.fails = None
    bench.move(AGAIN_S)
    bench.until(lambda: len(bench.did) == count + 1)


def test_text_alone_counts_down_and_is_no_place_for_a_code(bench: Bench) -> None:
    bench.shows_codes = False
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    (result,) = bench.results
    assert not result.shown
    assert "text alone" in result.why
    bench.move(COUNTDOWN_S)
    bench.until(lambda: ("lines", "Scan to pay 4:50", "125.50 NZD") in bench.did)
    bench.displays.clear(DONE)
    bench.until(lambda: bench.did[-1] == ("clear",))
    assert not any(why for _, why in bench.troubles), "text alone is no fault"


def test_a_code_that_is_there_is_left_alone_but_told_again(bench: Bench) -> None:
    bench.displays.show(SCAN)
    bench.until(lambda: len(bench.results) == 1)
    bench.displays.show(replace(SCAN, life_ends=1_200.0))
    bench.until(lambda: len(bench.results) == 2)
    assert [what for what, *_ in bench.did if what == "code"] == ["code"]
    assert all(result.shown for result in bench.results)


def test_a_wrong_name_and_a_driver_that_raises_are_results_and_health(bench: Bench) -> None:
    bench.displays.show(replace(SCAN, display="wrong"))
    bench.until(lambda: bool(bench.results))
    assert "write escpos" in bench.results[0].why
    bench.raises = ZeroDivisionError("in a driver")
    bench.displays.show(SCAN)
    bench.until(lambda: len(bench.results) > 1)
    assert "in a driver" in bench.results[1].why
    assert {name for name, why in bench.troubles if why} == {"wrong", "counter"}


def test_closed_nothing_is_done_any_more(bench: Bench) -> None:
    bench.displays.show(SCAN)
    bench.until(lambda: bool(bench.results))
    count = len(bench.did)
    bench.displays.close()
    bench.until(lambda: ("counter", None) in bench.troubles)
    bench.displays.clear(DONE)
    assert len(bench.did) == count
