"""A test picture on a terminal's idle panel, or on the display beside it: what `display test` does.

- The code says `TEST_PAYLOAD`: whoever scans it reads that this display works, and can pay nothing.
- Each function waits, within a limit, and answers with a `Tried`: what was tried, whether it is shown as far as the
  device says, and what to do. Nothing is raised for a device that is off.
- A panel is only used while it is idle. A daemon's own line is used where there is one (`on_lane`); where none runs,
  the line is opened for this alone (`on_line`), and the WELCOME that the terminal needs is the caller's: it has to
  tell the truth about the journal, or the terminal takes it for another one (terminal link, section 4, 4).
- The panel as a picture is decoded from the bytes that are sent, pixel for pixel as the device shows it.
"""

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.lane import CannotShow, Draw, Greeting, Lane
from bridge.lane_events import Heard, LaneEvent, LineDown
from bridge.lane_line import LaneOnLine
from drivers.display.beside import DisplayConfigError, NotShown, display_named
from drivers.display.geometry import Panel
from drivers.line.line import line_maker
from drivers.line.loop import Loop
from drivers.link.authentication import Keys
from drivers.link.dialect import dialect_named
from drivers.link.image_transfer import Picture
from drivers.link.messages import Hello, Welcome
from drivers.profiles import profile_named

TEST_PAYLOAD: Final = "PartPay Terminal Bridge: this display works."
TEST_LINES: Final = ("Test: this works", "0.00")
HELLO_WAIT_S: Final = 12.0
"""IDENTIFY goes out every 5 s, and an adapter may need a moment to open."""
PICTURE_WAIT_S: Final = 90.0
"""Three tries of a large picture on a slow line. What takes longer is of no use to a customer either."""
TURN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one test.

    `where`: a port, or a display as configured. `shown`: True, False, or None where the device did not say.
    `what`: in plain words, with the remedy. `payload`: what the code says, for whoever scans it.
    `picture`: the panel as a PNG file, None where there is none.
    """

    where: str
    shown: bool | None
    what: str
    payload: str = TEST_PAYLOAD
    picture: bytes | None = None

    def facts(self) -> dict[str, Any]:
        """All but the picture, as JSON has it."""
        return {
            "where": self.where,
            "shown": self.shown,
            "what": self.what,
            "payload": self.payload,
        }


def on_display(name: str, payload: str = TEST_PAYLOAD) -> Tried:
    """A test picture on the display of that name; on one of text alone, two lines of text."""
    try:
        display = display_named(name)
    except DisplayConfigError as error:
        return Tried(name, False, str(error), payload)
    codes = display.shows_codes
    result = display.show_code(payload, TEST_LINES[:1]) if codes else display.show_lines(TEST_LINES)
    if isinstance(result, NotShown):
        return Tried(name, False, result.why, payload)
    what = f"sent ({result.how}); look at it"
    if not codes:
        what += ": it shows text alone, and cannot stand in for a panel"
    return Tried(name, True, what, payload, _picture_of_display(display, payload))


def clear_display(name: str) -> Tried:
    """Take the test picture away again; paper stays."""
    try:
        result = display_named(name).clear()
    except DisplayConfigError as error:
        return Tried(name, False, str(error))
    if isinstance(result, NotShown):
        return Tried(name, False, result.why)
    return Tried(name, None, "cleared")


def on_lane(
    at: LaneOnLine,
    *,
    busy: Callable[[str], bool] = lambda terminal_id: False,
    payload: str = TEST_PAYLOAD,
    wait_s: float = PICTURE_WAIT_S,
) -> Tried:
    """A test picture on the panel of the terminal that is on a running daemon's line.

    `busy(terminal_id)`: whether it has a sale open; then its panel is left alone. Not on the loop's thread, whose
    answer is waited for.
    """
    seen = _Seen()

    def show(lane: Lane, now: float) -> None:
        seen.greeting = lane.greeting
        if seen.greeting is not None and busy(seen.greeting.hello.terminal_id):
            seen.told(False, "the panel is not idle: the terminal has a sale open")
        else:
            lane.try_panel(payload, seen.told, now)

    at.with_lane(show)
    seen.done.wait(wait_s)
    return seen.tried(at.name, payload)


def clear_lane(at: LaneOnLine) -> None:
    """Take the test picture away again, where no sale has taken its place."""
    at.with_lane(lambda lane, now: lane.clear_test(now))


def on_line(
    port: str,
    welcome: Callable[[Hello], Welcome],
    *,
    dialect: str = "native",
    baud: int = 115_200,
    profile: str | None = None,
    keys_of: Callable[[str, str], Sequence[Keys]] | None = None,
    fresh_nonce: Callable[[], bytes] | None = None,
    payload: str = TEST_PAYLOAD,
    hello_wait_s: float = HELLO_WAIT_S,
    wait_s: float = PICTURE_WAIT_S,
) -> Tried:
    """The same where no daemon runs: opens the line, and gives it up again.

    `welcome` answers the terminal's HELLO: the journal's own identity (DF0D), and its highest counter. Raises
    ValueError for a port or profile that cannot be, UnknownName for a dialect.
    """
    seen = _Seen()
    maker, known, spoken = line_maker(port), profile_named(profile), dialect_named(dialect)
    with Loop() as loop:

        def tell(event: LaneEvent) -> None:
            match event:
                case Heard(message=Hello() as hello):
                    answer = welcome(hello)
                    at.say(answer, hello)
                    seen.greeting = at.lane.greeting
                    at.try_panel(payload, seen.told)
                case LineDown(why=why):
                    seen.line_is_down(why)

        def make_lane(draw: Draw) -> Lane:
            return Lane(
                port,
                spoken,
                post=tell,
                draw=draw,
                baud=baud,
                profile=known,
                keys_of=keys_of,
                fresh_nonce=fresh_nonce,
            )

        at = LaneOnLine(
            loop,
            make_lane=make_lane,
            make_line=lambda user: maker(loop, port, user, baud=baud),
            draw=_draw,
            in_worker=lambda job: job(),
        )
        at.start()
        ends = loop.now() + hello_wait_s
        while not seen.done.is_set() and loop.now() < ends:
            loop.turn(TURN_S)
            if seen.greeting is not None and not seen.waits_for_picture:
                seen.waits_for_picture = True
                ends = loop.now() + wait_s
        at.close()
        # What closes a line does so in a turn of its own.
        loop.turn(0.0)
    return seen.tried(port, payload)


def panel_picture(
    payload: str, panel: Panel, formats: bytes, largest: int | None
) -> bytes | CannotShow:
    """The panel as a PNG file, pixel for pixel as the device shows the first of `formats` that can be made."""
    from drivers.display.raster import show  # noqa: PLC0415 - 100 ms, and few ask for it

    drawn = _draw(payload, panel, formats, largest)
    if isinstance(drawn, CannotShow):
        return drawn
    return _png(show(drawn.format, drawn.width, drawn.height, drawn.data, panel))


class _Seen:
    """What is known of one test so far. `told` comes on the loop's thread."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.greeting: Greeting | None = None
        self.waits_for_picture = False
        self._shown: bool | None = None
        self._what = ""
        self._line_is_down = ""

    def told(self, shown: bool | None, why: str) -> None:
        if not self.done.is_set():
            self._shown, self._what = shown, why
            self.done.set()

    def line_is_down(self, why: str) -> None:
        self._line_is_down = why

    def tried(self, where: str, payload: str) -> Tried:
        if self.done.is_set():
            what = self._what or "the terminal says that it shows it; scan it"
            shown = self._shown
        elif self.greeting is None:
            shown, what = (
                False,
                self._line_is_down
                or (
                    f"no terminal answers on {where}: see that it is on, its dialect and its baud rate"
                ),
            )
        else:
            shown, what = None, "it takes too long; look at the panel, and at the formats it lists"
        greeting = self.greeting
        picture = None
        if greeting is not None:
            picture = panel_picture(
                payload, greeting.panel, greeting.formats, greeting.largest_image
            )
        return Tried(
            where, shown, what, payload, None if isinstance(picture, CannotShow) else picture
        )


def _draw(payload: str, panel: Panel, formats: bytes, largest: int | None) -> Picture | CannotShow:
    from bridge.drawing import first_picture  # noqa: PLC0415 - see above

    return first_picture(payload, panel, formats, largest)


def _picture_of_display(display: object, payload: str) -> bytes | None:
    """None where its driver cannot tell what it will look like."""
    picture = getattr(display, "picture", None)
    image = None if picture is None else picture(payload)
    return _png(image) if hasattr(image, "save") else None


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
