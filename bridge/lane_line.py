"""Binds a lane to its line and the loop: bytes to one, bytes from the other, one timer.

Rules
- Nothing is decided here. The lane decides; this hands over bytes and the time.
- The lane is touched on the loop's thread alone. What the engine and others want (`say`,
  `show_code`, …) may be called from any thread, and happens in the order in which it was called.
- Pictures are drawn in a worker; what comes of it goes back to the loop.
- An error in the lane costs its own line: lane and line begin afresh, as after an unplugging.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from bridge.crash_points import Point, here
from bridge.lane import CannotShow, Deliver, Draw, Lane, TestTold
from drivers.display.geometry import Panel
from drivers.line.line import Line, LineUser, Trouble
from drivers.line.loop import Loop, Timer
from drivers.link.image_transfer import Picture
from drivers.link.messages import Accepted, Hello, Message

log = logging.getLogger(__name__)


class DrawNow(Protocol):
    """Draws the first of `formats` that can be made; blocks. See `bridge.drawing`."""

    def __call__(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None
    ) -> Picture | CannotShow: ...


class LaneOnLine:
    """A lane at work on a line. `start` opens the line, `close` ends both.

    `make_lane` gets what draws, and gives the lane; `make_line` gets the one who uses it (this),
    and gives the line. `in_worker` has a function run in another thread; `draw` is run there.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        make_lane: Callable[[Draw], Lane],
        make_line: Callable[[LineUser], Line],
        draw: DrawNow,
        in_worker: Callable[[Callable[[], None]], object],
    ) -> None:
        self._loop = loop
        self._draw_now = draw
        self._in_worker = in_worker
        self.lane = make_lane(self._draw)
        self.line = make_line(self)
        self._timer: Timer | None = None
        self._timer_at: float | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """The port."""
        return self.lane.name

    # -- from any thread ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to open the line."""
        self._loop.call(self.line.start, self)

    def close(self) -> None:
        """Give the line up for good; nothing is posted any more."""
        self._loop.call(self._close, self)

    def say(self, message: Message, answers: Hello | None = None) -> None:
        """See `Lane.say`."""
        self._soon(partial(self.lane.say, message, answers=answers))

    def identify(self) -> None:
        """See `Lane.identify`."""
        self._soon(self.lane.identify)

    def show_code(self, accepted: Accepted | None, payload: str, life_ends: float) -> None:
        """See `Lane.show_code`."""
        self._soon(partial(self.lane.show_code, accepted, payload, life_ends))

    def try_panel(self, payload: str, told: TestTold) -> None:
        """See `Lane.try_panel`; `told` is called on the loop's thread."""
        self._soon(partial(self.lane.try_panel, payload, told))

    def clear(self, *, after_outcome: bool = False) -> None:
        """See `Lane.clear`."""
        self._soon(partial(self.lane.clear, after_outcome=after_outcome))

    def show_text(self, text: str) -> None:
        """See `Lane.show_text`."""
        self._soon(partial(self.lane.show_text, text))

    def with_lane(self, do: Callable[[Lane, float], None]) -> None:
        """Have `do(lane, now)` run on the loop's thread: pairing, tracing, questions of state."""
        self._soon(partial(do, self.lane))

    def _soon(self, do: Callable[[float], object]) -> None:
        def now_do() -> None:
            if self._closed:
                return
            do(self._loop.now())
            self._go_on()

        self._loop.call(now_do, self)

    # -- what the line tells, on the loop's thread -------------------------------------------

    def opened(self, now: float) -> None:
        """See `LineUser`."""
        self.lane.line_up(now)
        self._go_on()

    def lost(self, trouble: Trouble, now: float) -> None:
        """See `LineUser`."""
        self._log_trouble("line-lost", trouble)
        self.lane.line_down(trouble.text, now)
        self._go_on()

    def unavailable(self, trouble: Trouble, now: float) -> None:
        """See `LineUser`."""
        self._log_trouble("line-unavailable", trouble)
        self.lane.line_down(trouble.text, now)

    def received(self, data: bytes, now: float) -> None:
        """See `LineUser`."""
        self.lane.receive(data, now)
        self._go_on()

    def written(self, now: float) -> None:
        """See `LineUser`."""
        self.lane.written(now)
        self._go_on()

    def failed(self, error: Exception) -> None:
        """See `Owner`: lane and line begin afresh."""
        self.lane.reset()
        self.line.reset(f"its lane failed ({type(error).__name__}); the log has the reason")
        self._go_on()

    # -- inside ------------------------------------------------------------------------------

    @property
    def _terminal(self) -> str | None:
        hello = self.lane.hello
        return None if hello is None else hello.terminal_id

    def _log_trouble(self, event: str, trouble: Trouble) -> None:
        about = {"port": self.name, "terminal": self._terminal, "trouble": trouble.kind}
        log.warning("%s", trouble.text, extra={"event": event, **about})

    def _go_on(self) -> None:
        """After anything happened: write what is to be written, and set the timer."""
        data = self.lane.take_output(self._loop.now())
        if data:
            here(Point.BEFORE_BYTES)
            self.line.write(data)
            here(Point.AFTER_BYTES)
        wake_at = self.lane.next_wake()
        if wake_at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = None if wake_at is None else self._loop.at(wake_at, self._woken, self)

    def _woken(self) -> None:
        self._timer = None
        self.lane.wake(self._loop.now())
        self._go_on()

    def _close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.line.close()

    def _draw(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None, deliver: Deliver
    ) -> None:
        def work() -> None:
            drawn: Picture | CannotShow = CannotShow("drawing failed; the log has the reason")
            try:
                drawn = self._draw_now(payload, panel, formats, largest)
            except Exception:
                log.exception(
                    "drawing a picture for its panel failed",
                    extra={
                        "event": "drawing-failed",
                        "port": self.name,
                        "terminal": self._terminal,
                    },
                )
            self._soon(partial(deliver, drawn))

        self._in_worker(work)
