"""One port: its session, the terminal at its end, and the picture on that terminal's panel.

Rules
- Pure: bytes, events and the time come in, bytes and events go out; no I/O, no clock, no thread.
- Until a HELLO has come since the port was opened, nothing is said but IDENTIFY, every 5 s, and
  REFUSED. Between a HELLO and its WELCOME nothing is said but the pairing dialogue, and what comes is
  dropped: the terminal says nothing there, and repeats whatever it still means.
- What needs no memory of tenders is answered here: PING, what is not understood (6), not
  authenticated (9), said before a HELLO or under another name (11). REFUSED is never answered.
- All else goes to the engine, and what the engine says is said only to the terminal that it names.
- A HELLO forgets the picture: what is open is told again after WELCOME.
- A picture is drawn elsewhere, a format at a time; one that comes when its image is over is dropped.

    AWAY --port opened--> ASKING --HELLO--> GREETED --WELCOME said--> WELCOMED
      ^                                        ^----------HELLO----------'
      '---------------port lost (from each)

How to drive it. After each call: write what `take_output` returns, then set a timer for `next_wake`.
Give it what has come in before telling it the time.
"""

from __future__ import annotations

import logging
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Protocol, TypeAlias, assert_never

from bridge.lane_events import (
    Heard,
    LaneEvent,
    LineDown,
    LineUp,
    PictureResult,
    Proved,
    UnknownKeys,
)
from bridge.outcomes import REFUSALS
from drivers.display.geometry import Panel
from drivers.link.authentication import PAIRING_TYPES, Keys
from drivers.link.dialect import Dialect
from drivers.link.image_transfer import (
    TRIES_MAX,
    For,
    ImageTransfer,
    Picture,
    Result,
    image_ids,
)
from drivers.link.messages import (
    OBJECTS,
    Accepted,
    Cancel,
    DisplayClear,
    DisplayText,
    Hello,
    Identify,
    ImageStatus,
    Message,
    NotUnderstood,
    Outcome,
    PairConfirm,
    PairKey,
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
    fit_display_text,
)
from drivers.link.sealed import BridgeSeal
from drivers.link.session import (
    Damaged,
    Delivered,
    GivenUp,
    LinkDown,
    LinkUp,
    NotAuthenticated,
    NotUnderstoodBody,
    Received,
    Replayed,
    Session,
    SessionEvent,
)
from drivers.profiles import AS_TOLD, Profile, Quirk

log = logging.getLogger(__name__)

IDENTIFY_EVERY_S: Final = 5.0
"""terminal-link §3, 80."""

NOT_AUTHENTICATED_EVERY_S: Final = 1.0
"""terminal-link §6: REFUSED 9 at most once a second."""

SECONDS_LEFT_MAX: Final = OBJECTS[0xDF06].largest

PairingMessage: TypeAlias = PairKey | PairConfirm
"""What a terminal says in the dialogue of the six digits."""


class Stage(Enum):
    """How far the talk with whoever is at the end of the line has come."""

    AWAY = "away"
    """The port is not open."""
    ASKING = "asking"
    """Nobody has said HELLO since the port was opened."""
    GREETED = "greeted"
    """HELLO came; its WELCOME has not been said."""
    WELCOMED = "welcomed"


@dataclass(frozen=True, slots=True)
class CannotShow:
    """No format of those asked for can be made; `why` in words."""

    why: str


class OnPanel(Enum):
    """What is known of a code on a panel."""

    ON_ITS_WAY = "on its way"
    SHOWN = "shown"
    UNANSWERED = "unanswered"
    """It was sent, and the terminal does not say what became of it."""


@dataclass(frozen=True, slots=True)
class PanelNow:
    """The picture that is on a panel now, or on its way there, as it was sent."""

    picture: Picture
    panel: Panel
    state: OnPanel


class Deliver(Protocol):
    """Takes what was drawn, once, on the lane's own thread."""

    def __call__(self, drawn: Picture | CannotShow, now: float) -> None: ...


class Draw(Protocol):
    """Has the first of `formats` that can be made drawn elsewhere; the result goes to `deliver`.

    `payload` is what the code says, `formats` are DF12's codes, best first, `largest` is DF1E in
    bytes (None: no limit).
    """

    def __call__(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None, deliver: Deliver
    ) -> None: ...


class TestTold(Protocol):
    """Is told once what became of a test picture; `shown` None: the terminal did not say."""

    def __call__(self, shown: bool | None, why: str) -> None: ...


class Trace(Protocol):
    """Sees what goes through: `direction` is "in" or "out", `kind` "bytes", "message" or "note"."""

    def __call__(self, direction: str, kind: str, data: bytes | Message | str) -> None: ...


@dataclass(frozen=True, slots=True)
class Greeting:
    """The terminal of the last HELLO, as it is spoken with: its profile's word before its own."""

    hello: Hello
    panel: Panel
    formats: bytes
    largest_image: int | None

    @classmethod
    def of(cls, hello: Hello, profile: Profile) -> Greeting:
        """What `hello` says, with what `profile` says in its place."""
        width = profile.panel_width or hello.panel_width
        height = profile.panel_height or hello.panel_height
        formats = hello.formats if profile.formats is None else profile.formats
        largest = profile.largest_image or hello.largest_image
        once = bytes(dict.fromkeys(formats))
        return cls(hello, Panel(width, height, profile.inverted), once, largest)


@dataclass(slots=True)
class Counts:
    """How good the line is; since the lane was made."""

    damaged_frames: int = 0
    given_up: int = 0
    not_understood: int = 0
    not_authenticated: int = 0
    replayed: int = 0
    dropped: int = 0
    """Messages that could not be said: no terminal to say them to, or too many wait."""


@dataclass(slots=True)
class _Image:
    """One image on its way, from `show_code` on."""

    transfer: ImageTransfer
    payload: str
    formats: bytes
    """Those not drawn yet."""
    terminal_id: str | None
    counter: int | None
    drawing: bool = False
    told: Result | None = None
    picture: Picture | None = None
    """The latest that was drawn."""
    told_to: TestTold | None = None
    """Who asked for a test picture; None: the engine is told."""
    reasons: list[str] = field(default_factory=list)


class Lane:
    """One port's talk, as the rules above say.

    `name` is the port as configured. `post` takes the events, `draw` has pictures drawn.
    `keys_of(terminal_id, serial_number)` gives all keys of a pairing, `fresh_nonce` 8 random bytes;
    without them no link is authenticated. `text_prefix` begins each DF05 outside production.
    """

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        *,
        post: Callable[[LaneEvent], None],
        draw: Draw,
        baud: int = 115_200,
        profile: Profile = AS_TOLD,
        text_prefix: str = "",
        keys_of: Callable[[str, str], Sequence[Keys]] | None = None,
        fresh_nonce: Callable[[], bytes] | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.name = name
        self.dialect = dialect
        self.baud = baud
        self.profile = profile
        self.counts = Counts()
        self.pairing: Callable[[PairingMessage, int, float], None] | None = None
        """Takes PAIR_KEY and PAIR_CONFIRM, with their numbers and the time, while a dialogue is open;
        None: REFUSED 9, which ends it."""
        self.trace = trace
        self._post = post
        self._draw = draw
        self._text_prefix = text_prefix
        seal = None
        if keys_of is not None and fresh_nonce is not None:
            seal = BridgeSeal(dialect.encoding, keys_of, fresh_nonce)
        self._session = Session(dialect, baud=baud, seal=seal)
        self._ids = image_ids()
        self._stage = Stage.AWAY
        self._greeting: Greeting | None = None
        self._stranger: Hello | None = None
        """Whose keys are not known: a dialogue can be opened with it, and nothing else."""
        self._pairing_refused: bytes | None = None
        self._image: _Image | None = None
        self._identify_at: float | None = None
        self._identify_is_out = False
        self._not_authenticated_at: float | None = None

    # -- what is known -----------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """How far the talk has come."""
        return self._stage

    @property
    def hello(self) -> Hello | None:
        """The last HELLO since the port was opened."""
        return None if self._greeting is None else self._greeting.hello

    @property
    def greeting(self) -> Greeting | None:
        """The terminal of the last HELLO, as it is spoken with."""
        return self._greeting

    @property
    def shows_sale(self) -> bool:
        """The code of a sale is on the panel, or on its way to it."""
        return self._image is not None and self._image.counter is not None

    @property
    def panel_now(self) -> PanelNow | None:
        """What is on the panel; None: no code. May be asked from any thread."""
        image, greeting = self._image, self._greeting
        if image is None or image.picture is None or greeting is None:
            return None
        match image.told:
            case Result.SHOWN:
                state = OnPanel.SHOWN
            case Result.UNANSWERED:
                state = OnPanel.UNANSWERED
            case None:
                state = OnPanel.ON_ITS_WAY
            case Result.FAILED | Result.BROKEN_OFF:
                return None
            case _:
                assert_never(image.told)
        return PanelNow(image.picture, greeting.panel, state)

    @property
    def link_up(self) -> bool | None:
        """Whether somebody is there, as far as is known; None before the first sign either way."""
        return self._session.link_up

    @property
    def quiet(self) -> bool:
        """Nothing waits to be said, or for its acknowledgement."""
        if self._stage is Stage.AWAY:
            return True
        return self._session.idle and self._pairing_refused is None

    # -- the line ----------------------------------------------------------------------------

    def line_up(self, now: float) -> None:
        """The port is open: ask who is there."""
        self._stage = Stage.ASKING
        self._identify_at = now
        self._post(LineUp(self.name))
        self._do_due(now)

    def line_down(self, why: str, now: float) -> None:
        """The port is gone, or could not be opened; `why` names it and the remedy."""
        self._happened(self._session.line_lost(), now)
        self._stage = Stage.AWAY
        self._begin_afresh()
        self._post(LineDown(self.name, why))

    def reset(self) -> None:
        """After an error in here: as before the port was opened."""
        self._session.restart()
        self._stage = Stage.AWAY
        self._begin_afresh()

    def _begin_afresh(self) -> None:
        self._end_image()
        self._greeting = None
        self._stranger = None
        self._pairing_refused = None
        self._identify_at = None
        self._identify_is_out = False

    def receive(self, data: bytes, now: float) -> None:
        """Bytes came in, in any pieces."""
        if self._stage is Stage.AWAY:
            return
        self._traced("in", "bytes", data)
        self._happened(self._session.receive(data, now), now)

    def written(self, now: float) -> None:
        """All that was taken by `take_output` has left the line."""
        self._happened(self._session.written(now), now)

    def take_output(self, now: float) -> bytes:
        """The bytes to write to the line now; mostly none."""
        if self._stage is Stage.AWAY:
            return b""
        self._feed_image(now)
        data = self._session.take_output(now)
        if data:
            self._traced("out", "bytes", data)
        return data

    def next_wake(self) -> float | None:
        """When `wake` is due; None: not before something else happens."""
        if self._stage is Stage.AWAY:
            return None
        image_at = None if self._image is None else self._image.transfer.next_wake()
        refusal_at = None if self._pairing_refused is None else self._may_refuse_at
        moments = (self._session.next_wake(), image_at, self._identify_at, refusal_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now: float) -> None:
        """Do what is due at `now`; may be called at any time."""
        if self._stage is Stage.AWAY:
            return
        self._happened(self._session.wake(now), now)
        if self._image is not None:
            self._image.transfer.wake(now)
            self._image_changed(now)
        self._do_due(now)

    def _do_due(self, now: float) -> None:
        if self._pairing_refused is not None and now >= self._may_refuse_at:
            refused, self._pairing_refused = self._pairing_refused, None
            self._refuse_not_authenticated(refused, now)
        if self._identify_at is None or now < self._identify_at:
            return
        self._identify_at = now + IDENTIFY_EVERY_S
        if not self._identify_is_out:
            self._identify_is_out = self._send(Identify())

    # -- what the engine wants ---------------------------------------------------------------

    def say(self, message: Message, now: float, *, answers: Hello | None = None) -> bool:
        """Say `message`, after what waits; False where nobody is there to whom it can be said.

        A WELCOME opens the line for all else; it is said to the terminal whose HELLO it `answers`,
        and not to another one that has come since. An OUTCOME ends the picture of its tender.
        """
        if not self._may_say(message) or not self._is_here(answers):
            self._drop(message, "it is for nobody who is here now")
            return False
        if isinstance(message, Outcome):
            image = self._image
            if image is not None and image.counter == message.counter:
                self._end_image()
        said = self._send(message)
        if said and isinstance(message, Welcome):
            self._stage = Stage.WELCOMED
        self._feed_image(now)
        return said

    def _is_here(self, answered: Hello | None) -> bool:
        greeting = self._greeting
        return answered is None or (
            greeting is not None
            and greeting.hello.terminal_id == answered.terminal_id
            and greeting.hello.serial_number == answered.serial_number
        )

    def _may_say(self, message: Message) -> bool:
        greeting = self._greeting
        if message.type_code in PAIRING_TYPES:
            return greeting is not None or self._stranger is not None
        if greeting is None:
            return False
        if isinstance(message, Welcome):
            return True
        named = getattr(message, "terminal_id", None)
        return self._stage is Stage.WELCOMED and named in (None, greeting.hello.terminal_id)

    def identify(self, now: float) -> None:
        """Ask who is there, every 5 s until a HELLO comes."""
        if self._stage is Stage.AWAY or self._identify_at is not None:
            return
        self._identify_at = now
        self._do_due(now)

    def try_panel(self, payload: str, told: TestTold, now: float) -> None:
        """Show a test picture on an idle panel, and tell `told` what became of it."""
        if self._stage is not Stage.WELCOMED:
            told(False, f"no terminal is there: none has said HELLO on {self.name}")
        elif self.shows_sale:
            told(False, "the panel is not idle: it has the code of a sale")
        else:
            self.show_code(None, payload, 0.0, now, told)

    def show_code(
        self,
        accepted: Accepted | None,
        payload: str,
        life_ends: float,
        now: float,
        told_to: TestTold | None = None,
    ) -> bool:
        """Show a code that says `payload`, from the start; ends the picture before it.

        `accepted` names the tender (None: a test picture for an idle panel) and is said again
        before each further try, with the seconds until `life_ends`. False where nobody is there.
        """
        greeting = self._greeting
        if self._stage is not Stage.WELCOMED or greeting is None:
            return False
        terminal_id = greeting.hello.terminal_id
        if accepted is not None and accepted.terminal_id != terminal_id:
            self._drop(accepted, "its code is for a terminal that is not here")
            return False
        self._end_image()
        transfer = ImageTransfer(
            self.dialect,
            self._ids,
            baud=self.baud,
            max_body=self._session.peer_max_body,
            coded=self._session.coded,
            owner=None if accepted is None else _owner(accepted, life_ends),
            tries_max=1 if Quirk.SILENT_IMAGE in self.profile.quirks else TRIES_MAX,
        )
        self._image = _Image(
            transfer,
            payload,
            greeting.formats,
            None if accepted is None else accepted.terminal_id,
            None if accepted is None else accepted.counter,
            told_to=told_to,
        )
        self._image_changed(now)
        self._feed_image(now)
        return True

    def clear_test(self, now: float) -> None:
        """Have a test picture taken away; a tender's, that came meanwhile, stays."""
        if self._image is not None and self._image.counter is None:
            self.clear(now)

    def refuse_pairing(self, refused: bytes, now: float) -> None:
        """End the dialogue at the terminal: REFUSED 9 of its PAIR_KEY or PAIR_CONFIRM (DF0C)."""
        self._pairing_refused = refused
        self._do_due(now)

    def clear(self, now: float, *, after_outcome: bool = False) -> None:
        """Break the picture off and have it taken away; `after_outcome`: the OUTCOME does that."""
        self._end_image()
        if not after_outcome:
            self.say(DisplayClear(), now)

    def show_text(self, text: str, now: float) -> bool:
        """DISPLAY_TEXT, cut to what DF05 holds, with the prefix where `text` has it not."""
        if not text.startswith(self._text_prefix):
            text = self._text_prefix + text
        return self.say(DisplayText(fit_display_text(text)), now)

    # -- what the session tells --------------------------------------------------------------

    def _happened(self, events: Sequence[SessionEvent], now: float) -> None:
        for event in events:
            match event:
                case Received():
                    self._traced("in", "message", event.message)
                    self._received(event, now)
                case NotUnderstoodBody(error=error):
                    self._not_understood(error)
                case NotAuthenticated(refused=refused, hello=hello):
                    self._not_authenticated(refused, hello, now)
                case Replayed():
                    self.counts.replayed += 1
                    self._traced("in", "note", f"said before: {event.message.type_name}, dropped")
                case Damaged():
                    self.counts.damaged_frames += 1
                    self._traced("in", "note", f"a damaged frame: {event.why}")
                case Delivered(message=message):
                    self._identify_is_out &= not isinstance(message, Identify)
                    if self._image is not None:
                        self._image.transfer.delivered(message, now)
                case GivenUp(message=message):
                    self._given_up(message, now)
                case LinkDown() | LinkUp():
                    self._traced("in", "note", type(event).__name__)
                case _:
                    assert_never(event)

    def _given_up(self, message: Message, now: float) -> None:
        self._identify_is_out &= not isinstance(message, Identify)
        self.counts.given_up += 1
        self._traced("out", "note", f"{message.type_name} was not acknowledged")
        if self._image is not None:
            self._image.transfer.given_up(message, now)
            self._image_changed(now)

    def _received(self, event: Received, now: float) -> None:
        message, sequence = event.message, event.sequence
        if isinstance(message, Hello):
            self._hello_came(message, sequence)
            return
        if isinstance(message, Refused):
            return
        if not isinstance(message, _FROM_TERMINAL):
            # The bridge's own words, from another bridge or out of an echo: no type for a bridge.
            self._refuse(Reason.NOT_UNDERSTOOD, _named(message, sequence))
            return
        if self._greeting is None and self._stranger is None:
            self._refuse(Reason.SAY_HELLO, _named(message, sequence), message)
            return
        if isinstance(message, PairKey | PairConfirm):
            self._pairing_said(message, sequence, now)
            return
        if self._greeting is None:
            return  # a stranger's messages are not authentic, and do not come so far
        if self._stage is Stage.GREETED:
            named = getattr(message, "terminal_id", None)
            if named not in (None, self._greeting.hello.terminal_id):
                # Put here since, and welcomed on another line: it would wait for ever.
                self._refuse(Reason.SAY_HELLO, _named(message, sequence), message)
            return
        match message:
            case Ping():
                self._proved(event)
                self._send(Pong())
            case ImageStatus():
                self._proved(event)
                self._image_status(message, now)
            case Tender() | Cancel() | Query() | Refund() | Stored():
                if message.terminal_id == self._greeting.hello.terminal_id:
                    self._post(Heard(self.name, message, sequence, event.key_id))
                else:
                    self._refuse(Reason.SAY_HELLO, _named(message, sequence), message)
            case _:
                assert_never(message)

    def _hello_came(self, hello: Hello, sequence: int) -> None:
        self._end_image()
        self._identify_at = None
        self._identify_is_out = False
        self._greeting = Greeting.of(hello, self.profile)
        self._stranger = None
        self._stage = Stage.GREETED
        if self.profile.max_body is not None:
            self._session.peer_max_body = self.profile.max_body
        self._post(Heard(self.name, hello, sequence))

    def _proved(self, event: Received) -> None:
        if event.key_id is not None:
            self._post(Proved(self.name, event.key_id))

    def _pairing_said(self, message: PairingMessage, sequence: int, now: float) -> None:
        if self.pairing is not None:
            self.pairing(message, sequence, now)
        else:
            # No dialogue is open (it ended, or the bridge was started anew): this ends it there.
            self._refuse_not_authenticated(_named(message, sequence), now)

    # -- what is refused here ----------------------------------------------------------------

    def _not_understood(self, error: NotUnderstood) -> None:
        self.counts.not_understood += 1
        self._traced("in", "note", f"not understood: {error.why}")
        if error.type_code != Refused.type_code and self._stage is not Stage.GREETED:
            self._refuse(Reason.NOT_UNDERSTOOD, error.refused)

    def _not_authenticated(self, refused: bytes, hello: Hello | None, now: float) -> None:
        self.counts.not_authenticated += 1
        self._traced("in", "note", f"not authenticated: {refused.hex()}")
        if hello is not None:
            # It named keys that are not known: whoever was here before is not here now.
            self._end_image()
            self._greeting = None
            self._stranger = hello
            self._stage = Stage.ASKING
            self._post(UnknownKeys(self.name, hello))
        if refused[0] != Refused.type_code:
            self._refuse_not_authenticated(refused, now)

    @property
    def _may_refuse_at(self) -> float:
        last_at = self._not_authenticated_at
        return -math.inf if last_at is None else last_at + NOT_AUTHENTICATED_EVERY_S

    def _refuse_not_authenticated(self, refused: bytes, now: float) -> None:
        if now < self._may_refuse_at:
            return
        self._not_authenticated_at = now
        self._refuse(Reason.NOT_AUTHENTICATED, refused)

    def _refuse(self, reason: Reason, refused: bytes, message: Message | None = None) -> None:
        self._send(
            Refused(
                reason=int(reason),
                refused=refused,
                text=fit_display_text(self._text_prefix + REFUSALS[int(reason)]),
                terminal_id=getattr(message, "terminal_id", None),
                counter=getattr(message, "counter", None),
            )
        )

    # -- the picture -------------------------------------------------------------------------

    def _image_status(self, status: ImageStatus, now: float) -> None:
        if self._image is not None:
            self._image.transfer.status(status)
            self._image_changed(now)

    def _feed_image(self, now: float) -> None:
        # Only when nothing else waits: other messages go before the rest of an image.
        if self._image is None or self._stage is not Stage.WELCOMED or not self._session.idle:
            return
        message = self._image.transfer.next_message(now)
        if message is not None:
            self._send(message)

    def _image_changed(self, now: float) -> None:
        """After anything that may have changed the image: draw on, or tell what became of it."""
        image = self._image
        if image is None:
            return
        if image.transfer.wants_picture and not image.drawing:
            self._draw_next(image, now)
        result = image.transfer.result
        if result is image.told:
            return
        image.told = result
        if result is Result.SHOWN:
            self._tell(image, shown=True)
        elif result is Result.FAILED:
            self._tell(image, shown=False)
        elif result is Result.UNANSWERED and image.told_to is not None:
            self._tell_test(image, None, "the terminal says nothing about its panel; look at it")

    def _draw_next(self, image: _Image, now: float) -> None:
        greeting = self._greeting
        if not image.formats or greeting is None:
            image.transfer.picture(None)
            return
        image.drawing = True

        def deliver(drawn: Picture | CannotShow, now: float) -> None:
            if self._image is not image or not image.drawing:
                return
            image.drawing = False
            if isinstance(drawn, CannotShow):
                image.formats = b""
                image.reasons.append(drawn.why)
                image.transfer.picture(None)
            else:
                # Those before it in the list were passed over: they cannot be made.
                _, _, image.formats = image.formats.partition(bytes((drawn.format,)))
                image.picture = drawn
                image.transfer.picture(drawn)
            self._image_changed(now)
            self._feed_image(now)

        self._draw(image.payload, greeting.panel, image.formats, greeting.largest_image, deliver)

    def _tell(self, image: _Image, *, shown: bool) -> None:
        why = ""
        if not shown:
            why = "; ".join(image.reasons) or "the terminal took none of its image formats"
        if image.told_to is not None:
            self._tell_test(image, shown, why)
            return
        self._post(PictureResult(self.name, image.terminal_id, image.counter, shown, why))

    def _end_image(self) -> None:
        image, self._image = self._image, None
        if image is not None:
            image.transfer.break_off()
            self._tell_test(image, None, "it was broken off: the terminal or its panel is needed")

    @staticmethod
    def _tell_test(image: _Image, shown: bool | None, why: str) -> None:
        told, image.told_to = image.told_to, None
        if told is not None:
            told(shown, why)

    # -- saying ------------------------------------------------------------------------------

    def _send(self, message: Message) -> bool:
        if Quirk.ASCII_TEXT in self.profile.quirks:
            message = _in_ascii(message)
        try:
            fell_out = self._session.send(message)
        except ValueError as error:
            # A message that cannot be written must not cost this terminal its line.
            log.error(
                "%s; report this with the log",
                error,
                extra={
                    "event": "cannot-say",
                    "port": self.name,
                    "terminal": getattr(message, "terminal_id", None),
                    "counter": getattr(message, "counter", None),
                },
            )
            self._drop(message, str(error))
            return False
        if fell_out is not None:
            self._drop(fell_out, "too many wait")
        if fell_out is message:
            return False
        self._traced("out", "message", message)
        return True

    def _drop(self, message: Message, why: str) -> None:
        self.counts.dropped += 1
        self._traced("out", "note", f"{message.type_name} dropped: {why}")

    def _traced(self, direction: str, kind: str, data: bytes | Message | str) -> None:
        if self.trace is not None:
            self.trace(direction, kind, data)


_FROM_TERMINAL: Final = (
    *(PairKey, PairConfirm, Tender, Cancel, Query, Refund, Stored, ImageStatus, Ping),
)


def _named(message: Message, sequence: int) -> bytes:
    """DF0C: type and sequence number."""
    return bytes((message.type_code, sequence))


def _in_ascii(message: Message) -> Message:
    """The same with its texts for people in ASCII; never longer than before."""
    match message:
        case Refused() | Progress() | DisplayText():
            return replace(message, text=_ascii(message.text))
        case Outcome():
            number = message.order_number
            return replace(
                message, text=_ascii(message.text), order_number=number and _ascii(number)
            )
        case _:
            return message


def _ascii(text: str) -> str:
    letters = (one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))
    return "".join(letters).encode("ascii", "replace").decode()


def _owner(accepted: Accepted, life_ends: float) -> For:
    def again(now: float) -> Accepted:
        seconds_left = min(max(int(life_ends - now), 0), SECONDS_LEFT_MAX)
        return replace(accepted, seconds_left=seconds_left)

    return For(accepted.terminal_id, accepted.counter, again)
