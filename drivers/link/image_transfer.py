"""One picture's way to a terminal's panel: pieces, status, again, next format (section 5).

Rules of this module:
- Messages are asked for one at a time (`next_message`), so that all else goes before the rest of an
  image, and breaking off is always between two frames.
- A format is a `Picture`. They are drawn elsewhere and handed in one by one, best first, each only
  once the one before has failed.
- Every try has an image id of its own; a status with another id is about a try that is over.
- A try fails by status 1 (and by silence, by a frame that was given up): the same picture again,
  ACCEPTED first, twice at most. By 2 or 3, and after the third 1: the next format.
- A terminal that says nothing at all is not asked for another format: it may well show the image.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from drivers.link.dialect import Dialect
from drivers.link.encoding import CODE_BYTES, COUNTER_MAX
from drivers.link.messages import (
    SEQUENCE_MAX,
    Accepted,
    ImageData,
    ImageOpen,
    ImageShow,
    ImageShown,
    ImageStatus,
    Message,
)

STATUS_TIMEOUT_S: Final = 5.0
TRIES_MAX: Final = 3
"""Of one format."""

PIECES_A_SECOND: Final = 4
"""A piece takes at most 0.25 s on the line, so that nothing waits long behind a picture."""

BITS_A_BYTE: Final = 10
"""8 data bits, a start and a stop bit."""

BODY_LEAST_BYTES: Final = 64
"""However slow the line, a piece's body may have so many."""

IMAGE_ID_MAX: Final = 255


def image_ids(after: int = 0) -> Iterator[int]:
    """1 to 255 and round again, without end, from the one after `after` on. One for each line."""
    while True:
        after = after % IMAGE_ID_MAX + 1
        yield after


class Picture(Protocol):
    """A picture as it is sent: format (DF15), width and height (DF16, DF17), bytes."""

    @property
    def format(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class For:
    """Whose image it is. `accepted(now)` is the ACCEPTED that goes before each further try."""

    terminal_id: str
    counter: int
    accepted: Callable[[float], Accepted]


class Result(Enum):
    """What became of it."""

    SHOWN = "shown"
    FAILED = "failed"
    """No format could be made, or the terminal has answered each, none by 0: nobody can pay."""
    UNANSWERED = "unanswered"
    """It was sent, and at least one format was never answered: somebody may see it."""
    BROKEN_OFF = "broken off"


class _Stage(Enum):
    DRAWING = auto()
    """`picture` is to be called with the next one."""
    ACCEPTING = auto()
    OPENING = auto()
    SENDING = auto()
    SHOWING = auto()
    WAITING = auto()
    """For the status, or after a frame was given up for the time of one."""
    OVER = auto()


_SILENCE_COUNTED: Final = (_Stage.DRAWING, _Stage.ACCEPTING, _Stage.OPENING)
"""The present try has failed already; a status 1 that comes now says the same."""


class ImageTransfer:
    """One image of one tender, or, with `owner` None, a test picture for an idle panel.

    `baud` and `max_body` (bytes, the terminal's) size the pieces; `coded`: messages carry DF26 and
    DF7F. `ids` is the line's `image_ids`. `tries_max`: of one format, where
    nothing is said to it; 1 for a terminal that is known to say no status, so that its panel does
    not flicker for nothing.

    How to drive it. While `wants_picture`, have the next one drawn and give it to `picture`. When
    the session is idle, send what `next_message` returns. Tell it `status`, `delivered`, `given_up`
    as they come, and `wake` at `next_wake`. After each call look at `result`.
    """

    def __init__(
        self,
        dialect: Dialect,
        ids: Iterator[int],
        *,
        baud: int,
        max_body: int,
        coded: bool = False,
        owner: For | None = None,
        tries_max: int = TRIES_MAX,
    ) -> None:
        self._dialect = dialect
        self._tries_max = tries_max
        self._ids = ids
        self._owner = owner
        self._coded = coded
        self._body_max_bytes, self._frame_max_bytes = _piece_limits(baud, max_body)
        self._piece_bytes = max(dialect.encoding.image_room(self._body_max_bytes, coded=coded), 1)
        self._stage = _Stage.DRAWING
        self._result: Result | None = None
        self._picture: Picture | None = None
        self._made = 0
        self._image_id: int | None = None
        self._offset = 0
        self._tries = 0
        self._try_answered = False
        self._show_said = False
        self._frame_lost = False
        self._answered = False
        self._answered_ever = False
        self._unanswered: set[int] = set()
        self._deadline: float | None = None

    @property
    def result(self) -> Result | None:
        """None while it goes on. UNANSWERED may yet turn into another one: by a late status."""
        return self._result

    @property
    def wants_picture(self) -> bool:
        """The next picture of the list is to be drawn and given to `picture`."""
        return self._stage is _Stage.DRAWING

    @property
    def image_id(self) -> int | None:
        """DF14 of the present try."""
        return self._image_id

    # -- pictures and messages ---------------------------------------------------------------

    def picture(self, picture: Picture | None) -> None:
        """The next picture of the list; None: there is no other. Not asked for, it is dropped."""
        if self._stage is not _Stage.DRAWING:
            return
        self._picture = picture
        if picture is None:
            self._end(Result.UNANSWERED if self._unanswered else Result.FAILED)
            return
        self._made += 1
        self._image_id = None
        self._tries = 0
        self._answered = False
        self._stage = _Stage.OPENING

    def next_message(self, now: float) -> Message | None:
        """What to send now; None while it waits, and when it is over."""
        match self._stage:
            case _Stage.DRAWING | _Stage.WAITING | _Stage.OVER:
                return None
            case _Stage.ACCEPTING:
                assert self._owner is not None
                self._stage = _Stage.OPENING
                return self._owner.accepted(now)
            case _Stage.OPENING:
                return self._open()
            case _Stage.SENDING:
                return self._piece()
            case _Stage.SHOWING:
                assert self._image_id is not None
                self._show_said = True
                self._wait(now)
                return ImageShow(self._image_id)

    def _open(self) -> ImageOpen:
        picture = self._picture
        assert picture is not None
        self._image_id = next(self._ids)
        self._tries += 1
        self._offset = 0
        self._try_answered = self._show_said = self._frame_lost = False
        self._stage = _Stage.SENDING if picture.data else _Stage.SHOWING
        return ImageOpen(
            image_id=self._image_id,
            image_format=picture.format,
            image_width=picture.width,
            image_height=picture.height,
            image_length=len(picture.data),
            image_crc=zlib.crc32(picture.data),
            terminal_id=None if self._owner is None else self._owner.terminal_id,
            counter=None if self._owner is None else self._owner.counter,
        )

    def _piece(self) -> ImageData:
        picture = self._picture
        assert picture is not None
        piece = self._piece_of(picture, self._piece_bytes)
        while (excess_bytes := self._excess_bytes(piece)) > 0 and len(piece.data) > 1:
            # Some bytes are sent twice. Less by what is too much is enough, or nearly.
            piece = self._piece_of(picture, max(len(piece.data) - excess_bytes, 1))
        self._offset += len(piece.data)
        if self._offset >= len(picture.data):
            self._stage = _Stage.SHOWING
        return piece

    def _piece_of(self, picture: Picture, size_bytes: int) -> ImageData:
        assert self._image_id is not None
        data = picture.data[self._offset : self._offset + size_bytes]
        return ImageData(self._image_id, self._offset, data)

    def _excess_bytes(self, piece: ImageData) -> int:
        body = self._written(piece)
        if len(body) <= BODY_LEAST_BYTES:
            return 0
        return len(self._dialect.framing.encode(body)) - self._frame_max_bytes

    def _written(self, piece: ImageData) -> bytes:
        encode = self._dialect.encoding.encode
        if not self._coded:
            return encode(piece, SEQUENCE_MAX)
        return encode(
            piece,
            SEQUENCE_MAX,
            message_counter=COUNTER_MAX,
            code=lambda _: bytes(CODE_BYTES),
        )

    # -- what becomes of it ------------------------------------------------------------------

    def status(self, status: ImageStatus) -> None:
        """The terminal has said what became of an image. The first word on the present try counts,
        late or not; nothing can have been shown before IMAGE_SHOW."""
        if self._result not in (None, Result.UNANSWERED):
            return
        if status.image_id != self._image_id or self._try_answered:
            return
        if status.status == ImageShown.SHOWN and not self._show_said:
            return
        self._try_answered = self._answered = self._answered_ever = True
        self._unanswered.discard(self._made)
        match status.status:
            case ImageShown.SHOWN:
                self._end(Result.SHOWN)
            case ImageShown.OUT_OF_MEMORY | ImageShown.UNKNOWN_FORMAT:
                self._next_format()
            case _ if self._stage not in _SILENCE_COUNTED:
                self._again_or_next()

    def delivered(self, message: Message, now: float) -> None:
        """The terminal has acknowledged `message`: it has 5 s for its status from here on."""
        if isinstance(message, ImageShow) and message.image_id == self._image_id:
            self._wait_again(now)

    def given_up(self, message: Message, now: float) -> None:
        """`message` was not acknowledged. Without one of its frames a try cannot be finished; it
        counts as not answered 5 s from now, and the link may be back by then."""
        if not isinstance(message, ImageOpen | ImageData | ImageShow):
            return
        if message.image_id != self._image_id:
            return
        self._frame_lost = True
        if self._stage in (_Stage.SENDING, _Stage.SHOWING):
            self._wait(now)
        else:
            self._wait_again(now)

    def break_off(self) -> None:
        """The tender has ended, or another image takes its place: nothing more is sent."""
        if self._result in (None, Result.UNANSWERED):
            self._end(Result.BROKEN_OFF)

    def next_wake(self) -> float | None:
        """When `wake` is due; None: not before something comes."""
        return self._deadline

    def wake(self, now: float) -> None:
        """Do what is due at `now`."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._again_or_next()

    def _wait(self, now: float) -> None:
        self._stage = _Stage.WAITING
        self._deadline = now + STATUS_TIMEOUT_S

    def _wait_again(self, now: float) -> None:
        if self._stage is _Stage.WAITING:
            self._deadline = now + STATUS_TIMEOUT_S

    def _again_or_next(self) -> None:
        self._deadline = None
        heard_of = self._try_answered or self._frame_lost
        if self._tries < (TRIES_MAX if heard_of else self._tries_max):
            self._stage = _Stage.OPENING if self._owner is None else _Stage.ACCEPTING
            self._result = None
        elif self._answered_ever:
            self._next_format()
        else:
            # It stays at that; what was sent may stand on the panel.
            self._end(Result.UNANSWERED)

    def _next_format(self) -> None:
        if not self._answered:
            self._unanswered.add(self._made)
        self._deadline = None
        self._result = None
        self._picture = None
        self._stage = _Stage.DRAWING

    def _end(self, result: Result) -> None:
        self._deadline = None
        self._picture = None
        self._stage = _Stage.OVER
        self._result = result


def _piece_limits(baud: int, max_body: int) -> tuple[int, int]:
    """The longest body and the longest frame of a piece, in bytes."""
    quarter_second_bytes = baud // BITS_A_BYTE // PIECES_A_SECOND
    body_bytes = min(max(quarter_second_bytes, BODY_LEAST_BYTES), max_body)
    return body_bytes, quarter_second_bytes
