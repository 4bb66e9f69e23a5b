"""A session of the authenticated link: what is coded, with which key, what is taken (section 6).

Rules of this module:
- It makes and checks codes and counts messages. It asks for no randomness: nonces come in.
- Each direction has a key and a count of its own; a count is never given out twice.
- A code is compared in constant time, and no repr shows a key.
- How the two ends come by their keys is `pairing.py`'s matter.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from drivers.link.messages import (
    CODE,
    MESSAGE_COUNTER,
    Hello,
    Identify,
    Message,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Reason,
    Refused,
    Role,
    Welcome,
)

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
SESSION_NONCE_BYTES: Final = 8

PAIRING_TYPES: Final = frozenset(
    kind.type_code for kind in (PairOpen, PairKey, PairReveal, PairConfirm, PairDone)
)
UNCODED_TYPES: Final = PAIRING_TYPES | {Hello.type_code, Identify.type_code}
"""These never carry DF26 and DF7F; nor does REFUSED, reason 9 (`carries_code`)."""


class CounterUsedUp(Exception):  # noqa: N818 - says what it is
    """4,294,967,295 messages were sent in this session. Remedy: a new HELLO."""


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, message, "sha256")


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys of a pairing, 32 bytes each. ValueError where they have another length."""

    to_bridge: bytes = field(repr=False)
    to_terminal: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.to_bridge) != KEY_BYTES or len(self.to_terminal) != KEY_BYTES:
            raise ValueError(f"a key of a pairing has {KEY_BYTES} bytes")

    @property
    def identifier(self) -> bytes:
        """DF27: says which keys these are, and nothing about them."""
        return mac(self.to_bridge, b"PTL1 key")[:KEY_ID_BYTES]

    def of_sender(self, sender: Role) -> bytes:
        """The key of what `sender` says."""
        return self.to_terminal if sender is Role.BRIDGE else self.to_bridge


def carries_code(message: Message) -> bool:
    """Whether `message` ends with DF26 and DF7F once a session has begun."""
    if message.type_code in UNCODED_TYPES:
        return False
    return not (isinstance(message, Refused) and message.reason == Reason.NOT_AUTHENTICATED)


def hello_hash(hello_without_check: bytes) -> bytes:
    """What WELCOME's code covers beside itself: SHA-256 of the HELLO's body without DF7E."""
    return hashlib.sha256(hello_without_check).digest()


class Verdict(Enum):
    """What a receiver makes of the code and count of a message."""

    TAKEN = "taken"
    NOT_AUTHENTIC = "not authentic"
    """The code is wrong or missing, or there is no count. The bridge answers REFUSED 9."""
    OLD = "old"
    """The code is right, the number was there before: dropped without a word."""


@dataclass(slots=True)
class CodedSession:
    """One session between two ends that have keys, from its HELLO to the next.

    `role` is this end. `hello` is the HELLO's body without DF7E. Both nonces have 8 bytes.
    """

    role: Role
    keys: Keys = field(repr=False)
    bridge_nonce: bytes
    terminal_nonce: bytes
    hello: bytes = field(repr=False)
    sent: int = 0
    """DF26 of the last message of this end."""
    taken: int = 0
    """The highest DF26 taken from the other end."""

    def __post_init__(self) -> None:
        if {len(self.bridge_nonce), len(self.terminal_nonce)} != {SESSION_NONCE_BYTES}:
            raise ValueError(f"a session nonce has {SESSION_NONCE_BYTES} bytes")

    def next_counter(self) -> int:
        """DF26 of a message that is about to be sent for the first time. CounterUsedUp."""
        if self.sent >= MESSAGE_COUNTER.largest:
            raise CounterUsedUp(
                f"all {MESSAGE_COUNTER.largest} numbers of this session are used; say HELLO"
            )
        self.sent += 1
        return self.sent

    def coder(self, type_code: int) -> Callable[[bytes], bytes]:
        """What an encoding's `encode` takes as `code`, for a message of this type from this end."""
        return lambda signed_part: self.code(self.role, type_code, signed_part)

    def code(self, sender: Role, type_code: int, signed_part: bytes) -> bytes:
        """DF7F of a message: 8 bytes. `signed_part` is its body up to DF7F."""
        covered = self.bridge_nonce + self.terminal_nonce
        if type_code == Welcome.type_code:
            covered += hello_hash(self.hello)
        return mac(self.keys.of_sender(sender), covered + signed_part)[: CODE.max_bytes]

    def is_authentic(
        self, type_code: int | None, signed_part: bytes | None, code: bytes | None
    ) -> bool:
        """Whether the other end wrote this, understood or not; its count is not looked at."""
        if type_code is None or signed_part is None or code is None:
            return False
        sender = Role.TERMINAL if self.role is Role.BRIDGE else Role.BRIDGE
        return hmac.compare_digest(self.code(sender, type_code, signed_part), code)

    def take(
        self, type_code: int, signed_part: bytes, code: bytes | None, counter: int | None
    ) -> Verdict:
        """Judge a message of the other end, and where it is taken, count it."""
        if counter is None or not self.is_authentic(type_code, signed_part, code):
            return Verdict.NOT_AUTHENTIC
        if counter <= self.taken:
            return Verdict.OLD
        self.taken = counter
        return Verdict.TAKEN
