"""A terminal on a link session: bytes on the one side, a terminal's messages on the other.

Rules
- Nothing is decided here: what the session hears goes to the terminal, what the terminal says goes
  to the session, in order.
- A REFUSED names a message by type and number (DF0C). Numbers are the session's; which message that
  was is found here: they leave in the order in which they were given to the session.
- Driven like the session: after each call write `take_output`, then set a timer for `next_wake`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, cast

from drivers.link.dialect import Dialect
from drivers.link.messages import (
    SEQUENCE_MAX,
    SEQUENCE_MIN,
    FromBridge,
    FromTerminal,
    Hello,
    Message,
    Refused,
)
from drivers.link.sealed import TerminalSeal
from drivers.link.session import (
    Delivered,
    GivenUp,
    NotAuthenticated,
    Received,
    Session,
    SessionEvent,
)
from tools.terminal.actions import Action, Send
from tools.terminal.core import Terminal


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the bridge was taken."""

    message: FromBridge


@dataclass(frozen=True, slots=True)
class NotHeard:
    """Nobody acknowledged this message; it may have come all the same."""

    message: FromTerminal


Happened: TypeAlias = Action | Heard | NotHeard
"""What happened, in order; a `Send` among them is a message that was given to the session."""


class TerminalLink:
    """One terminal, under power, on one line. It authenticates where its device says so."""

    def __init__(self, terminal: Terminal, dialect: Dialect, *, baud: int = 115_200) -> None:
        self.terminal = terminal
        can = terminal.device.can_authenticate
        self._seal = TerminalSeal(dialect.encoding, terminal.kept.keys) if can else None
        self.session = Session(
            dialect, baud=baud, max_body=terminal.device.max_body, seal=self._seal
        )
        self._number = 0
        self._said: dict[int, FromTerminal] = {}
        """By number, since the last HELLO."""

    def plugged(self, now: float) -> list[Happened]:
        """The line is there."""
        self.session.restart()
        return self.act(self.terminal.plugged(now), now)

    def unplugged(self, now: float) -> list[Happened]:
        """The line is gone, and with it what was on it."""
        self.session.line_lost()
        return self.act(self.terminal.unplugged(), now)

    def act(self, actions: Iterable[Action], now: float) -> list[Happened]:
        """Carry out what the terminal wants; for what a person has it do."""
        happened: list[Happened] = []
        for action in actions:
            happened.append(action)
            if isinstance(action, Send):
                happened += self._send(action.message, now)
        return happened

    def receive(self, data: bytes, now: float) -> list[Happened]:
        """Bytes came in."""
        return self._follow(self.session.receive(data, now), now)

    def wake(self, now: float) -> list[Happened]:
        """Time has passed."""
        happened = self._follow(self.session.wake(now), now)
        return happened + self.act(self.terminal.wake(now), now)

    def next_wake(self) -> float | None:
        """When `wake` is due; None: not before bytes come."""
        session, terminal = self.session.next_wake(), self.terminal.next_wake()
        if session is None or terminal is None:
            return terminal if session is None else session
        return min(session, terminal)

    def take_output(self, now: float) -> bytes:
        """The bytes to write to the line now."""
        return self.session.take_output(now)

    def written(self, now: float) -> list[Happened]:
        """They have all left."""
        return self._follow(self.session.written(now), now)

    def _follow(self, events: Iterable[SessionEvent], now: float) -> list[Happened]:
        happened: list[Happened] = []
        for event in events:
            match event:
                case Received():
                    message = cast(FromBridge, event.message)
                    happened.append(Heard(message))
                    refused = self._refused(message) if isinstance(message, Refused) else None
                    happened += self.act(self.terminal.handle(message, now, refused), now)
                case NotAuthenticated():
                    happened += self.act(self.terminal.not_authentic(now), now)
                case Delivered():
                    self.terminal.delivered(event.message)
                case GivenUp():
                    happened += self._given_up(event.message, now)
                case _:
                    pass
        return happened

    def _given_up(self, message: Message, now: float) -> list[Happened]:
        actions = self.terminal.given_up(message, now)
        return [NotHeard(cast(FromTerminal, message)), *self.act(actions, now)]

    def _send(self, message: FromTerminal, now: float) -> list[Happened]:
        if isinstance(message, Hello):
            self._said.clear()
            self._number = 0
            if self._seal is not None:
                self._seal.keys = self.terminal.kept.keys
        self._number = SEQUENCE_MIN if self._number == SEQUENCE_MAX else self._number + 1
        self._said[self._number] = message
        fell_out = self.session.send(message)
        if fell_out is None:
            return []
        # Those after it move up: which message has which number is not known before the next HELLO.
        self._said.clear()
        return self._given_up(fell_out, now)

    def _refused(self, message: Refused) -> FromTerminal | None:
        type_code, number = message.refused
        said = self._said.get(number)
        return said if said is not None and said.type_code == type_code else None
