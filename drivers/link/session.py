"""Numbering, acknowledgement and sending again: one end of the link, either end (sections 2 and 3).

Rules of this module:
- Bytes in, events out; messages in, bytes out; `now` comes with every call. It knows no role: a
  HELLO starts the numbering afresh in both directions, where it is said and where it is heard.
- One frame is out at a time. It is encoded when it is first sent, and never changes after that.
- An answer (ACK, NAK) is a hint about the line. Nothing that matters rests on it, and it is looked
  at only while a frame waits for one.
- Each whole frame is answered by itself, at once, understood or not.
- Everything is bounded: what waits to be sent, what a peer without end can hold up.
- Codes of an authenticated link are the business of a `Seal` (`sealed.py`); without one there are
  none.

How to drive it. After each call of `send`, `receive`, `wake` and `written`: write what
`take_output` returns, then set a timer for `next_wake`. Give it what has come in before telling it
the time: an answer that is here already has not failed to come.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias

from drivers.link.authentication import PAIRING_TYPES, Verdict
from drivers.link.dialect import Dialect
from drivers.link.encoding import CODE_BYTES, COUNTER_MAX, Decoded
from drivers.link.framing import (
    ACK,
    BODY_MAX_BYTES,
    MAX_BODY_LEAST_BYTES,
    NAK,
    Ack,
    Bad,
    Frame,
    Nak,
)
from drivers.link.messages import (
    SEQUENCE_MAX,
    SEQUENCE_MIN,
    Hello,
    Identify,
    ImageData,
    ImageOpen,
    ImageShow,
    Message,
    NotUnderstood,
    Outcome,
    Ping,
    Pong,
    Progress,
)

ANSWER_TIMEOUT_S: Final = 1.0
"""From the frame's last byte on; the peer has 0.3 s, or as long as its own frame takes."""

SENT_TIMES_MAX: Final = 3

NAK_PAUSES_S: Final = (0.05, 0.25)
"""Before sending again after the first NAK and after later ones: a burst of noise may be over."""

LATE_ANSWERS_S: Final = 0.25
"""After a frame that was sent more than once an answer too many may come; it must not be taken for
the next frame's, or every answer from then on would be one frame late."""

OVERTAKEN_WAIT_S: Final = 0.3
"""A frame that a HELLO has made pointless waits for its answer as long as the peer has for one."""

BYTE_GAP_S: Final = 0.5
"""Inside a frame; a longer silence drops the frame."""

LEFT_TOLD_LATE_S: Final = 0.05
"""How much later than it happens we may be told that our last byte has left: an answer that came
less than this before was not early. An event loop that reads before it looks at its timers."""

QUEUE_MAX: Final = 64
"""Messages that wait to be sent. After a HELLO a terminal is told all outcomes that it has not
stored; the rest of more than this comes with their next repetition."""

ANSWERS_MAX_BYTES: Final = 1024
"""Answers that wait to be taken; more frames than this at once are no peer's."""

_REPLACEABLE: Final = (Progress, ImageOpen, ImageData, ImageShow, Ping, Pong)
"""What goes first where too much waits: it is soon said again, or not missed."""

_NEVER_DUPLICATES: Final = frozenset({Hello.type_code, Identify.type_code})


@dataclass(frozen=True, slots=True)
class Received:
    """A message came that is understood, new, and, where the link asks for that, authentic.

    `key_id` (DF27) names the keys that prove it; None where it carries no code that was checked.
    """

    message: Message
    sequence: int
    key_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class NotUnderstoodBody:
    """A whole frame that says nothing. A bridge answers REFUSED, reason 6; a terminal drops it."""

    error: NotUnderstood


@dataclass(frozen=True, slots=True)
class NotAuthenticated:
    """The code of this message is wrong or missing, or its HELLO names keys that are not known.

    A bridge answers REFUSED, reason 9, at most once a second; a terminal says HELLO, at most every
    5 s. `refused` is DF0C. `hello`: that HELLO, which proves nothing but may be paired afresh.
    """

    refused: bytes
    hello: Hello | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A message was dropped because its number is an old one, or because a keyed terminal hears
    nothing between its HELLO and the WELCOME. For the log."""

    message: Message


@dataclass(frozen=True, slots=True)
class Damaged:
    """A frame came damaged and was answered NAK. For counting; `why` is for people."""

    why: str = field(default="", compare=False)
    body: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has acknowledged this message: a hint that it came, not a proof."""

    message: Message
    times_sent: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Sent as often as may be, and not acknowledged; it may have come all the same."""

    message: Message


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A message was given up, or the line is gone. Told once, until LinkUp."""


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A right frame came in: the first ever, or the first since LinkDown."""


SessionEvent: TypeAlias = (
    Received
    | NotUnderstoodBody
    | NotAuthenticated
    | Replayed
    | Damaged
    | Delivered
    | GivenUp
    | LinkDown
    | LinkUp
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a seal makes of a message that came: take it only where it says TAKEN."""

    verdict: Verdict
    key_id: bytes | None = None


class Seal(Protocol):
    """The codes of an authenticated link, as a session uses them."""

    @property
    def coded(self) -> bool:
        """Messages carry a code now: they are longer by DF26 and DF7F."""

    def restart(self) -> None:
        """As after power-up: nobody has said HELLO."""

    def encode(self, message: Message, sequence: int) -> bytes:
        """The body of a message that is about to be sent for the first time."""

    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        """May what came be taken? Called once for each body that is no duplicate."""


class _Stage(Enum):
    READY = auto()
    """To be sent, or sent again, from `ready_at` on."""
    LEAVING = auto()
    """Its bytes were taken and have not all left the line."""
    WAITING = auto()
    """For its answer."""


@dataclass(slots=True)
class _Out:
    """The one frame that is out."""

    message: Message
    frame: bytes
    ready_at: float
    stage: _Stage = _Stage.READY
    times_sent: int = 0
    naks: int = 0
    waited_s: float = 0.0
    """Of the answer's time, without what is counting now."""
    counting_since: float | None = None
    """None: the answer's time stands still."""
    early_answer: tuple[float, Ack | Nak] | None = None
    """An answer that came before we were told that the last byte had left."""
    overtaken: bool = False
    """A HELLO came meanwhile: not to be sent again."""

    @property
    def deadline(self) -> float | None:
        """When its answer has failed to come; None: not yet known."""
        if self.stage is not _Stage.WAITING or self.counting_since is None:
            return None
        limit_s = OVERTAKEN_WAIT_S if self.overtaken else ANSWER_TIMEOUT_S
        return self.counting_since + max(limit_s - self.waited_s, 0.0)


class Session:
    """One end of one line.

    `dialect`: see `drivers.link.dialect`. `baud` is kept for those who size what they send.
    `max_body` (bytes) is the longest body that this end takes; `peer_max_body` the longest that the
    peer takes, learnt from its HELLO. `first_sequence` is the number of the first message of this
    end. `seal` is given where the link can be authenticated.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        baud: int = 115_200,
        max_body: int = BODY_MAX_BYTES,
        first_sequence: int = SEQUENCE_MIN,
        seal: Seal | None = None,
    ) -> None:
        if not SEQUENCE_MIN <= first_sequence <= SEQUENCE_MAX:
            raise ValueError(f"sequence numbers run 1 to 255, not {first_sequence}")
        self.dialect = dialect
        self.baud = baud
        self.peer_max_body = BODY_MAX_BYTES
        self._seal = seal
        self._decoder = dialect.framing.decoder(max_body)
        # A byte may be sent twice; what is longer than this without an end is no frame.
        self._frame_max_bytes = 2 * max_body + 16
        self._next_sequence = first_sequence
        self._queue: deque[Message] = deque()
        self._out: _Out | None = None
        self._pause_until: float | None = None
        self._answers = bytearray()
        self._last_taken: tuple[int, int | None, int] | None = None
        self._last_byte_at = 0.0
        self._frame_bytes = 0
        self._link_up: bool | None = None

    # -- what is known -----------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """A message given now would go out now: nothing waits, no pause is kept.

        Ask before giving the next message of an image, so that all else goes before it.
        """
        return self._out is None and not self._queue and self._pause_until is None

    @property
    def link_up(self) -> bool | None:
        """Whether the peer is there, as far as is known; None before the first sign either way."""
        return self._link_up

    @property
    def coded(self) -> bool:
        """Messages of this end carry DF26 and DF7F now."""
        return self._seal is not None and self._seal.coded

    def take_noise(self) -> bytes:
        """The first bytes that came between frames and meant nothing, since this was last asked."""
        return self._decoder.take_noise()

    # -- sending -----------------------------------------------------------------------------

    def send(self, message: Message) -> Message | None:
        """Have `message` sent after those that wait.

        Returns what fell out because more than QUEUE_MAX wait: the oldest replaceable message, else
        this one. An OUTCOME that waits already is not put a second time: it is repeated for as long
        as it takes. ValueError where the message cannot be written, or is too long for this peer.
        """
        self._check(message)
        if isinstance(message, Outcome) and message in self._queue:
            return None
        if len(self._queue) < QUEUE_MAX:
            self._queue.append(message)
            return None
        for place, waiting in enumerate(self._queue):
            if isinstance(waiting, _REPLACEABLE):
                del self._queue[place]
                self._queue.append(message)
                return waiting
        return message

    def take_output(self, now: float) -> bytes:
        """The bytes to write to the line now, after all that were taken before; mostly none.

        A frame is given out whole, so that an answer never stands inside one.
        """
        data = bytes(self._answers)
        self._answers.clear()
        self._end_pause(now)
        if self._out is None and self._queue and self._pause_until is None:
            message = self._queue.popleft()
            self._out = _Out(message, self._frame(message), ready_at=now)
        out = self._out
        if out is not None and out.stage is _Stage.READY and now >= out.ready_at:
            out.stage = _Stage.LEAVING
            out.times_sent += 1
            data += out.frame
        return data

    def written(self, now: float) -> list[SessionEvent]:
        """All bytes that were taken have left the line: the time for an answer begins."""
        self._drop_after_gap(now)
        out = self._out
        if out is None or out.stage is not _Stage.LEAVING:
            return []
        out.stage = _Stage.WAITING
        out.waited_s = 0.0
        out.counting_since = now
        self._count_or_stand_still(now)
        if out.early_answer is not None and now - out.early_answer[0] <= LEFT_TOLD_LATE_S:
            return self._answered(out.early_answer[1], now)
        return []

    def _check(self, message: Message) -> None:
        # Found when it is given, where the one who made it is told, and not when its turn comes.
        encode = self.dialect.encoding.encode
        if self.coded:
            body = encode(
                message,
                SEQUENCE_MAX,
                message_counter=COUNTER_MAX,
                code=lambda _: bytes(CODE_BYTES),
            )
        else:
            body = encode(message, SEQUENCE_MAX)
        if len(body) > self.peer_max_body:
            raise ValueError(
                f"{message.type_name} has {len(body)} bytes; this peer takes {self.peer_max_body}"
            )

    def _frame(self, message: Message) -> bytes:
        if isinstance(message, Hello):
            self._number_afresh()
        sequence = self._next_sequence
        self._next_sequence = SEQUENCE_MIN if sequence == SEQUENCE_MAX else sequence + 1
        if self._seal is None:
            body = self.dialect.encoding.encode(message, sequence)
        else:
            body = self._seal.encode(message, sequence)
        return self.dialect.framing.encode(body)

    def _number_afresh(self) -> None:
        self._next_sequence = SEQUENCE_MIN
        self._last_taken = None

    # -- receiving ---------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """What the bytes that came in mean. `data` may be cut anywhere; it is never too much."""
        if not data:
            return []
        self._drop_after_gap(now)
        was_inside = self._decoder.inside
        found = self._decoder.feed(data)
        self._last_byte_at = now
        ended = any(isinstance(event, Frame | Bad) for event in found)
        before = self._frame_bytes if was_inside and not ended else 0
        self._frame_bytes = before + len(data) if self._decoder.inside else 0
        events: list[SessionEvent] = []
        for event in found:
            match event:
                case Frame():
                    self._answer(ACK)
                    events += self._link_is(up=True)
                    events += self._take(event.body, now)
                case Bad():
                    self._answer(NAK)
                    events.append(Damaged(event.why, event.body))
                case Ack() | Nak():
                    events += self._answer_came(event, now)
        self._count_or_stand_still(now)
        return events

    def _answer(self, answer: bytes) -> None:
        self._answers += answer
        del self._answers[:-ANSWERS_MAX_BYTES]

    def _take(self, body: bytes, now: float) -> list[SessionEvent]:
        read = self._read(body)
        if isinstance(read, Decoded):
            type_code: int | None = read.message.type_code
        else:
            type_code = read.type_code
        signature = (len(body), read.sequence, zlib.crc32(body))
        if signature == self._last_taken and type_code not in _NEVER_DUPLICATES:
            return []
        self._last_taken = signature
        judged = Judged(Verdict.TAKEN) if self._seal is None else self._seal.judge(body, read)
        if isinstance(read, Decoded) and isinstance(read.message, Hello):
            self._hello_came(read.message, now)
        match judged.verdict:
            case Verdict.NOT_AUTHENTIC:
                message = read.message if isinstance(read, Decoded) else None
                hello = message if isinstance(message, Hello) else None
                return [NotAuthenticated(_refused(type_code, read.sequence), hello)]
            case Verdict.OLD:
                return [Replayed(read.message)] if isinstance(read, Decoded) else []
            case Verdict.TAKEN:
                if isinstance(read, NotUnderstood):
                    return [NotUnderstoodBody(read)]
                return [Received(read.message, read.sequence, judged.key_id)]

    def _read(self, body: bytes) -> Decoded | NotUnderstood:
        try:
            return self.dialect.encoding.decode(body)
        except NotUnderstood as error:
            return error

    def _hello_came(self, hello: Hello, now: float) -> None:
        """Begin anew with this peer.

        What waits to be sent is for the numbering, and perhaps the terminal, of before: all that
        matters of it is told again after WELCOME. The pairing dialogue goes on: a terminal that is
        not paired says HELLO every minute.
        """
        self._next_sequence = SEQUENCE_MIN
        self.peer_max_body = min(max(hello.max_body, MAX_BODY_LEAST_BYTES), BODY_MAX_BYTES)
        self._queue = deque(_of_pairing(self._queue))
        out = self._out
        if out is None or out.message.type_code in PAIRING_TYPES:
            return
        out.overtaken = True
        match out.stage:
            case _Stage.READY:
                self._finish(now)
            case _Stage.LEAVING:
                pass
            case _Stage.WAITING:
                # The peer could not answer while its HELLO was on the way.
                out.waited_s = 0.0
                out.counting_since = now

    def _drop_after_gap(self, now: float) -> None:
        gap_ends_at = self._gap_ends_at
        if gap_ends_at is not None and now >= gap_ends_at:
            self._decoder.drop()
            self._frame_bytes = 0
            self._count_or_stand_still(gap_ends_at)

    @property
    def _gap_ends_at(self) -> float | None:
        return self._last_byte_at + BYTE_GAP_S if self._decoder.inside else None

    # -- answers to our frame ----------------------------------------------------------------

    def _answer_came(self, answer: Ack | Nak, now: float) -> list[SessionEvent]:
        out = self._out
        if out is None:
            return []
        match out.stage:
            case _Stage.READY:
                return []
            case _Stage.LEAVING:
                out.early_answer = (now, answer)
                return []
            case _Stage.WAITING:
                return self._answered(answer, now)

    def _answered(self, answer: Ack | Nak, now: float) -> list[SessionEvent]:
        out = self._out
        assert out is not None
        if isinstance(answer, Ack):
            self._finish(now)
            return [Delivered(out.message, out.times_sent)]
        pause_s = NAK_PAUSES_S[min(out.naks, len(NAK_PAUSES_S) - 1)]
        out.naks += 1
        return self._send_again(now + pause_s, now)

    def _send_again(self, ready_at: float, now: float) -> list[SessionEvent]:
        out = self._out
        assert out is not None
        if out.overtaken:
            self._finish(now)
            return []
        if out.times_sent >= SENT_TIMES_MAX:
            self._finish(now)
            return [GivenUp(out.message), *self._link_is(up=False)]
        out.stage = _Stage.READY
        out.ready_at = ready_at
        return []

    def _finish(self, now: float) -> None:
        assert self._out is not None
        if self._out.times_sent > 1:
            self._pause_until = now + LATE_ANSWERS_S
        self._out = None

    def _link_is(self, *, up: bool) -> list[SessionEvent]:
        if self._link_up is up:
            return []
        self._link_up = up
        return [LinkUp() if up else LinkDown()]

    # -- time --------------------------------------------------------------------------------

    def next_wake(self) -> float | None:
        """When `wake` and `take_output` are due next; None: not before something else happens."""
        moments: list[float | None] = [self._gap_ends_at]
        out = self._out
        if out is not None:
            moments.append(out.ready_at if out.stage is _Stage.READY else out.deadline)
        else:
            moments.append(self._pause_until)
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now: float) -> list[SessionEvent]:
        """Do what is due at `now`; may be called at any time."""
        self._drop_after_gap(now)
        self._end_pause(now)
        deadline = None if self._out is None else self._out.deadline
        if deadline is None or now < deadline:
            return []
        return self._send_again(now, now)

    def _end_pause(self, now: float) -> None:
        if self._pause_until is not None and now >= self._pause_until:
            self._pause_until = None

    def _count_or_stand_still(self, now: float) -> None:
        """The time for an answer stands still while a frame is coming in: the peer cannot answer
        inside its own. Not for ever: bytes without end are no frame."""
        out = self._out
        if out is None or out.stage is not _Stage.WAITING:
            return
        coming_in = self._decoder.inside and self._frame_bytes <= self._frame_max_bytes
        if coming_in and out.counting_since is not None:
            out.waited_s += now - out.counting_since
            out.counting_since = None
        elif not coming_in and out.counting_since is None:
            out.counting_since = now

    # -- the line ----------------------------------------------------------------------------

    def line_lost(self) -> list[SessionEvent]:
        """The line is gone, with all that was on it. What waited is dropped, the numbering kept
        until a HELLO: what matters is told again after that."""
        self._forget()
        return self._link_is(up=False)

    def restart(self) -> None:
        """As after power-up: nothing said, nothing heard, nothing known of the peer."""
        self._forget()
        self._number_afresh()
        self._link_up = None

    def _forget(self) -> None:
        self._decoder.drop()
        self._frame_bytes = 0
        self._answers.clear()
        self._queue.clear()
        self._out = None
        self._pause_until = None
        self.peer_max_body = BODY_MAX_BYTES
        if self._seal is not None:
            self._seal.restart()


def _of_pairing(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if message.type_code in PAIRING_TYPES]


def _refused(type_code: int | None, sequence: int | None) -> bytes:
    if type_code is None or sequence is None:
        return bytes(2)
    return bytes((type_code, sequence))
