"""The authenticated link, as one end of it goes through a session (section 6).

Rules of this module:
- A seal stands between a `Session` and its encoding: it writes DF26 and DF7F, and judges them.
- The bridge's seal learns at each HELLO which keys this line has to be spoken with; a function that
  is given to it knows the keys. A terminal's seal has one pair of keys, or none.
- A HELLO begins a new session, with a new nonce, but for the same HELLO again, nothing between.
- What is not proved is not taken, but for what the link names: HELLO and the pairing dialogue by a
  bridge; the pairing dialogue, IDENTIFY and REFUSED 9 by a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final

from drivers.link.authentication import (
    PAIRING_TYPES,
    CodedSession,
    Keys,
    Verdict,
    carries_code,
)
from drivers.link.encoding import Decoded, Encoding
from drivers.link.messages import (
    Hello,
    Identify,
    Message,
    NotUnderstood,
    PairDone,
    Reason,
    Refused,
    Role,
    Welcome,
)
from drivers.link.session import Judged

_TAKEN: Final = Judged(Verdict.TAKEN)
_NOT_AUTHENTIC: Final = Judged(Verdict.NOT_AUTHENTIC)
_OLD: Final = Judged(Verdict.OLD)

_BRIDGE_TAKES_UNCODED: Final = PAIRING_TYPES | {Hello.type_code}


class Standing(Enum):
    """How the bridge speaks with the terminal on this line, since its last HELLO."""

    NO_HELLO = "no hello"
    """Nobody has said HELLO. What is coded cannot be checked, and is not authentic."""
    PLAIN = "plain"
    """There are no keys for this pairing, and the terminal names none."""
    KEYED = "keyed"
    """HELLO named keys that the bridge has: all is coded, all that comes has to be."""
    WITHOUT_KEYS = "without keys"
    """The bridge has keys for this pairing, HELLO named none: a WELCOME with DF1D 0, no more."""
    UNKNOWN_KEYS = "unknown keys"
    """HELLO named keys that the bridge has not: REFUSED 9, no more."""


class BridgeSeal:
    """The bridge's end. Shared state is none; one for each line.

    `keys_of(terminal_id, serial_number)` gives all keys of that pairing, old and new, and is asked
    at each HELLO. `fresh_nonce` gives 8 random bytes, never the same again.
    """

    def __init__(
        self,
        encoding: Encoding,
        keys_of: Callable[[str, str], Sequence[Keys]],
        fresh_nonce: Callable[[], bytes],
    ) -> None:
        self._encoding = encoding
        self._keys_of = keys_of
        self._fresh_nonce = fresh_nonce
        self._standing = Standing.NO_HELLO
        self._session: CodedSession | None = None
        self._last_came: bytes | None = None

    @property
    def standing(self) -> Standing:
        """What the last HELLO has brought about."""
        return self._standing

    @property
    def coded(self) -> bool:
        """See `Seal.coded`."""
        return self._session is not None

    def restart(self) -> None:
        """See `Seal.restart`."""
        self._become(Standing.NO_HELLO)
        self._last_came = None

    def encode(self, message: Message, sequence: int) -> bytes:
        """See `Seal.encode`.

        A WELCOME gets the session's nonce; one to a terminal that should have keys and has none
        says that it is not paired, whatever `message` says.
        """
        if isinstance(message, PairDone) and self._standing is Standing.PLAIN:
            # From here on this terminal is one with keys, and nothing plain is taken from it.
            self._become(Standing.WITHOUT_KEYS)
        session = self._session
        if isinstance(message, Welcome):
            if self._standing is Standing.WITHOUT_KEYS:
                message = replace(message, paired=0, counter=None)
            nonce = None if session is None else session.bridge_nonce
            message = replace(message, session_nonce=nonce)
        return _encode(self._encoding, session, message, sequence)

    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        """See `Seal.judge`."""
        before, self._last_came = self._last_came, body
        if isinstance(read, Decoded) and isinstance(read.message, Hello):
            return self._hello(read.message, body, again=body == before)
        match self._standing:
            case Standing.PLAIN:
                return _TAKEN
            case Standing.NO_HELLO:
                return _TAKEN if read.code is None else _NOT_AUTHENTIC
            case Standing.KEYED | Standing.WITHOUT_KEYS | Standing.UNKNOWN_KEYS:
                if _type_code(read) in _BRIDGE_TAKES_UNCODED:
                    return _TAKEN
                return _judge_coded(self._session, read)

    def _hello(self, hello: Hello, body: bytes, *, again: bool) -> Judged:
        known = self._keys_of(hello.terminal_id, hello.serial_number)
        if hello.key_id is None:
            self._become(Standing.WITHOUT_KEYS if known else Standing.PLAIN)
            return _TAKEN
        keys = next((keys for keys in known if keys.identifier == hello.key_id), None)
        if keys is None or hello.session_nonce is None:
            self._become(Standing.UNKNOWN_KEYS)
            return _NOT_AUTHENTIC
        if not again or self._session is None:
            self._become(
                Standing.KEYED,
                CodedSession(
                    Role.BRIDGE,
                    keys,
                    self._fresh_nonce(),
                    hello.session_nonce,
                    self._encoding.without_check(body),
                ),
            )
        return _TAKEN

    def _become(self, standing: Standing, session: CodedSession | None = None) -> None:
        self._standing = standing
        self._session = session


class TerminalSeal:
    """A terminal's end: simulated terminals, and tests, are such.

    `keys` may be set at any time, and count from the next HELLO on. The HELLO that is sent has to
    have DF25 and, where there are keys, DF27; the terminal keeps its DF25 until `welcomed`.
    """

    def __init__(self, encoding: Encoding, keys: Keys | None = None) -> None:
        self.keys = keys
        self._encoding = encoding
        self._keys: Keys | None = keys
        self._hello: bytes | None = None
        self._nonce: bytes | None = None
        self._session: CodedSession | None = None
        self._welcomed = False

    @property
    def welcomed(self) -> bool:
        """A WELCOME with a right code has answered the last HELLO."""
        return self._welcomed

    @property
    def coded(self) -> bool:
        """See `Seal.coded`."""
        return self._session is not None

    def restart(self) -> None:
        """See `Seal.restart`."""
        self._keys = self.keys
        self._hello = self._nonce = self._session = None
        self._welcomed = False

    def encode(self, message: Message, sequence: int) -> bytes:
        """See `Seal.encode`."""
        body = _encode(self._encoding, self._session, message, sequence)
        if isinstance(message, Hello):
            self._keys = self.keys
            self._hello = self._encoding.without_check(body)
            self._nonce = message.session_nonce
            self._welcomed = False
        return body

    def judge(self, body: bytes, read: Decoded | NotUnderstood) -> Judged:
        """See `Seal.judge`. Between HELLO and its WELCOME all else is dropped as OLD."""
        del body
        if self._keys is None or _type_code(read) in PAIRING_TYPES:
            return _TAKEN
        message = read.message if isinstance(read, Decoded) else None
        if isinstance(message, Identify) or _is_not_authenticated(message):
            return _TAKEN
        if isinstance(read, Decoded) and isinstance(message, Welcome):
            return self._welcome(self._keys, message, read)
        if self._hello is not None and not self._welcomed:
            return _OLD
        return _judge_coded(self._session, read)

    def _welcome(self, keys: Keys, welcome: Welcome, read: Decoded) -> Judged:
        if self._hello is None or self._nonce is None or welcome.session_nonce is None:
            return _NOT_AUTHENTIC
        session = CodedSession(Role.TERMINAL, keys, welcome.session_nonce, self._nonce, self._hello)
        if self._session is not None and _same_session(self._session, session):
            # The same HELLO was answered once more: both counts go on.
            session.sent, session.taken = self._session.sent, self._session.taken
        judged = _judge_coded(session, read)
        if judged.verdict is Verdict.TAKEN:
            self._session = session
            self._welcomed = True
        return judged


def _encode(
    encoding: Encoding,
    session: CodedSession | None,
    message: Message,
    sequence: int,
) -> bytes:
    if session is None or not carries_code(message):
        return encoding.encode(message, sequence)
    return encoding.encode(
        message,
        sequence,
        message_counter=session.next_counter(),
        code=session.coder(message.type_code),
    )


def _judge_coded(session: CodedSession | None, read: Decoded | NotUnderstood) -> Judged:
    if session is None:
        return _NOT_AUTHENTIC
    key_id = session.keys.identifier
    if isinstance(read, NotUnderstood):
        # Its count cannot be trusted to be there. Nothing is done on it but to say so.
        if session.is_authentic(read.type_code, read.signed_part, read.code):
            return Judged(Verdict.TAKEN, key_id)
        return _NOT_AUTHENTIC
    verdict = session.take(
        read.message.type_code, read.signed_part, read.code, read.message_counter
    )
    return Judged(verdict, key_id if verdict is Verdict.TAKEN else None)


def _same_session(one: CodedSession, other: CodedSession) -> bool:
    return (one.keys, one.bridge_nonce, one.terminal_nonce, one.hello) == (
        other.keys,
        other.bridge_nonce,
        other.terminal_nonce,
        other.hello,
    )


def _type_code(read: Decoded | NotUnderstood) -> int | None:
    return read.message.type_code if isinstance(read, Decoded) else read.type_code


def _is_not_authenticated(message: Message | None) -> bool:
    return isinstance(message, Refused) and message.reason == Reason.NOT_AUTHENTICATED
