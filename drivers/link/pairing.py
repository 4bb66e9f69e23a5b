"""Pairing over the link: two public keys, six digits, two people who say yes (link, section 6).

Rules of this module:
- Pure: keys, nonces and the time come in as arguments; what is to be done comes out as steps, in
  the order in which it must be done. It plays either end: `BridgePairing`, `TerminalPairing`.
- One object is one try. Keys and nonces are fresh for each: a second try is a second object.
- After the bridge has revealed its key, another PAIR_KEY ends the try: whoever could go on guessing
  keys until the digits fit would need only a million of them.
- `Keep` comes out only when the other end's confirmation is right and the own person has said yes,
  and the bridge keeps before it says PAIR_DONE.

    bridge                                                  terminal
    OPENED     PAIR_OPEN     commitment             ->      WAITING -> KEY_SENT
    OPENED     PAIR_KEY      public key, nonce      <-      KEY_SENT
    COMPARING  PAIR_REVEAL   public key, nonce      ->      COMPARING (commitment right)
               both show six digits; a person compares, and says yes at both ends
    COMPARING  PAIR_CONFIRM  confirmation           <-      CONFIRMED (its person's yes)
    DONE       PAIR_DONE     confirmation           ->      DONE
    ENDED      at a no, 120 s, anything that does not fit: nothing is kept
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drivers.link.authentication import KEY_BYTES, Keys, mac
from drivers.link.messages import (
    OBJECTS,
    FromBridge,
    FromTerminal,
    Message,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Reason,
    Refused,
    Role,
)

PAIRING_TIME_S: Final = 120.0
"""Without PAIR_DONE by then, pairing ends at both ends."""

PAIRING_NONCE_BYTES: Final = 16
PRIVATE_KEY_BYTES: Final = 32
CONFIRMATION_BYTES: Final = 8
_TERMINAL_ID_BYTES: Final = OBJECTS[0x9F1C].max_bytes


# What is computed


class WeakKey(ValueError):  # noqa: N818 - says what it is
    """The other end's public key gives a shared secret of zeros: pairing breaks off."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one end brings to a try: made afresh from 32 and 16 random bytes, used once.

    ValueError where they have other lengths.
    """

    private_key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.private_key) != PRIVATE_KEY_BYTES or len(self.nonce) != PAIRING_NONCE_BYTES:
            raise ValueError(
                f"a try at pairing takes {PRIVATE_KEY_BYTES} random bytes for the key "
                f"and {PAIRING_NONCE_BYTES} for the nonce"
            )

    @property
    def public_key(self) -> bytes:
        """32 bytes, as in DF22."""
        return self._private().public_key().public_bytes_raw()

    def shared_secret(self, other_public_key: bytes) -> bytes:
        """X25519, 32 bytes. WeakKey."""
        try:
            return self._private().exchange(X25519PublicKey.from_public_bytes(other_public_key))
        except ValueError as fault:
            raise WeakKey("the shared secret is all zeros") from fault

    def _private(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.private_key)


def commitment(bridge_public: bytes, bridge_nonce: bytes) -> bytes:
    """DF21: what the bridge says of its key before it has seen the terminal's."""
    return hashlib.sha256(bridge_public + bridge_nonce).digest()


def six_digits(
    bridge_public: bytes,
    bridge_nonce: bytes,
    terminal_public: bytes,
    terminal_nonce: bytes,
    terminal_id: str,
) -> str:
    """What both ends show: six decimal digits, with leading zeros."""
    name = terminal_id.encode().ljust(_TERMINAL_ID_BYTES)
    digest = mac(
        bridge_nonce + terminal_nonce, b"PTL1 code" + bridge_public + terminal_public + name
    )
    return f"{int.from_bytes(digest[:4], 'big') % 1_000_000:06d}"


def keys_of(shared_secret: bytes, bridge_nonce: bytes, terminal_nonce: bytes) -> Keys:
    """The two keys that a pairing agrees on, by HKDF-SHA256."""

    def key(info: bytes) -> bytes:
        derive = HKDF(SHA256(), length=KEY_BYTES, salt=bridge_nonce + terminal_nonce, info=info)
        return derive.derive(shared_secret)

    return Keys(to_bridge=key(b"PTL1 to bridge"), to_terminal=key(b"PTL1 to terminal"))


def confirmation(keys: Keys, sender: Role) -> bytes:
    """DF24 of PAIR_CONFIRM (the terminal's) and of PAIR_DONE (the bridge's): 8 bytes."""
    return mac(keys.of_sender(sender), b"PTL1 confirm")[:CONFIRMATION_BYTES]


# What comes out


class End(Enum):
    """Why a try is over, in words for a person."""

    PAIRED = "paired"
    OWN_NO = "a person here said no"
    OTHER_NO = "the other end broke pairing off"
    TIME_OVER = "nobody was done within 120 seconds"
    COMMITMENT_WRONG = "the bridge's key is not the one that it announced: somebody may be between"
    WEAK_KEY = "the other end's key is no good"
    KEY_CHANGED = "the terminal sent a second, different key"
    CONFIRMATION_WRONG = "the other end has other keys: somebody may be between"
    BEGUN_AGAIN = "the bridge began again"


@dataclass(frozen=True, slots=True)
class Send:
    """Say this to the other end."""

    message: Message


@dataclass(frozen=True, slots=True)
class Refuse:
    """The bridge says REFUSED, reason 9, with this DF0C: it ends pairing at the terminal."""

    refused: bytes


@dataclass(frozen=True, slots=True)
class Compare:
    """Show these six digits, and ask the person whether the other end shows the same."""

    digits: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Store these keys durably before the next step is taken.

    At the bridge the old ones stay beside them until a message with a right code comes under these.
    """

    keys: Keys


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes of this try."""

    why: End


Step: TypeAlias = Send | Refuse | Compare | Keep | Ended


# The two ends


class _BridgeState(Enum):
    OPENED = "opened"
    COMPARING = "comparing"
    DONE = "done"
    ENDED = "ended"


class BridgePairing:
    """The bridge's end of one try.

    `terminal_id` is that of the HELLO. Times are seconds, of any clock that does not jump.
    """

    def __init__(self, share: Share, terminal_id: str, now: float) -> None:
        self._share = share
        self._terminal_id = terminal_id
        self._ends_at = now + PAIRING_TIME_S
        self._state = _BridgeState.OPENED
        self._terminal_key: PairKey | None = None
        self._keys: Keys | None = None
        self._yes = False
        self._confirmed = False
        self._last_heard = b""  # DF0C of the last PAIR_KEY or PAIR_CONFIRM

    @property
    def over(self) -> bool:
        """Paired, or ended."""
        return self._state in (_BridgeState.DONE, _BridgeState.ENDED)

    @property
    def next_wake(self) -> float | None:
        """When `wake` is to be called; None once it is over."""
        return None if self.over else self._ends_at

    def open(self) -> list[Step]:
        """Begin: PAIR_OPEN."""
        return [Send(PairOpen(commitment(self._share.public_key, self._share.nonce)))]

    def receive(self, message: FromTerminal, sequence: int) -> list[Step]:
        """A message of the terminal, with its number; anything but PAIR_* is passed over."""
        match message:
            case PairKey():
                self._last_heard = bytes((message.type_code, sequence))
                return self._take_key(message)
            case PairConfirm():
                self._last_heard = bytes((message.type_code, sequence))
                return self._take_confirmation(message)
            case _:
                return []

    def person_says(self, yes: bool) -> list[Step]:
        """The person at the bridge has compared. Before the digits are shown, only no counts."""
        if self.over:
            return []
        if not yes:
            return self._end(End.OWN_NO)
        if self._state is not _BridgeState.COMPARING:
            return []
        self._yes = True
        return self._done_if_both()

    def wake(self, now: float) -> list[Step]:
        """Time has passed."""
        if self.over or now < self._ends_at:
            return []
        return self._end(End.TIME_OVER)

    def _take_key(self, message: PairKey) -> list[Step]:
        if self._state is _BridgeState.ENDED:
            return []
        if self._terminal_key is not None:
            if message != self._terminal_key:
                return [] if self.over else self._end(End.KEY_CHANGED)
            return [self._reveal()]
        try:
            secret = self._share.shared_secret(message.public_key)
        except WeakKey:
            return self._end(End.WEAK_KEY)
        self._terminal_key = message
        self._keys = keys_of(secret, self._share.nonce, message.pairing_nonce)
        self._state = _BridgeState.COMPARING
        digits = six_digits(
            self._share.public_key,
            self._share.nonce,
            message.public_key,
            message.pairing_nonce,
            self._terminal_id,
        )
        return [self._reveal(), Compare(digits)]

    def _reveal(self) -> Step:
        return Send(PairReveal(self._share.public_key, self._share.nonce))

    def _take_confirmation(self, message: PairConfirm) -> list[Step]:
        if self._keys is None or self._state is _BridgeState.ENDED:
            return []
        right = confirmation(self._keys, Role.TERMINAL)
        if not hmac.compare_digest(message.confirmation, right):
            return [] if self.over else self._end(End.CONFIRMATION_WRONG)
        if self._state is _BridgeState.DONE:
            return [self._done(self._keys)]
        self._confirmed = True
        return self._done_if_both()

    def _done_if_both(self) -> list[Step]:
        if self._keys is None or not (self._yes and self._confirmed):
            return []
        self._state = _BridgeState.DONE
        return [Keep(self._keys), self._done(self._keys), Ended(End.PAIRED)]

    def _done(self, keys: Keys) -> Step:
        return Send(PairDone(confirmation(keys, Role.BRIDGE)))

    def _end(self, why: End) -> list[Step]:
        self._state = _BridgeState.ENDED
        self._keys = None
        refuse: list[Step] = [Refuse(self._last_heard)] if self._last_heard else []
        return [*refuse, Ended(why)]


class _TerminalState(Enum):
    WAITING = "waiting"
    KEY_SENT = "key sent"
    COMPARING = "comparing"
    CONFIRMED = "confirmed"
    DONE = "done"
    ENDED = "ended"


class TerminalPairing:
    """The terminal's end of one try: begins when its own menu is opened, at `now`."""

    def __init__(self, share: Share, terminal_id: str, now: float) -> None:
        self._share = share
        self._terminal_id = terminal_id
        self._ends_at = now + PAIRING_TIME_S
        self._state = _TerminalState.WAITING
        self._commitment = b""
        self._keys: Keys | None = None

    @property
    def over(self) -> bool:
        """Paired, or ended."""
        return self._state in (_TerminalState.DONE, _TerminalState.ENDED)

    @property
    def next_wake(self) -> float | None:
        """When `wake` is to be called; None once it is over."""
        return None if self.over else self._ends_at

    def receive(self, message: FromBridge) -> list[Step]:
        """A message of the bridge; anything but PAIR_* and REFUSED 6 and 9 is passed over."""
        if self.over:
            return []
        match message:
            case PairOpen():
                return self._take_open(message)
            case PairReveal():
                return self._take_reveal(message)
            case PairDone():
                return self._take_done(message)
            case Refused():
                return self._take_refused(message)
            case _:
                return []

    def person_says(self, yes: bool) -> list[Step]:
        """The person at the terminal has compared. Before the digits are shown, only no counts."""
        if self.over:
            return []
        if not yes:
            return self._end(End.OWN_NO)
        if self._state is not _TerminalState.COMPARING or self._keys is None:
            return []
        self._state = _TerminalState.CONFIRMED
        return [self._confirm(self._keys)]

    def wake(self, now: float) -> list[Step]:
        """Time has passed."""
        if self.over or now < self._ends_at:
            return []
        return self._end(End.TIME_OVER)

    def _take_open(self, message: PairOpen) -> list[Step]:
        if self._state is _TerminalState.WAITING:
            self._state = _TerminalState.KEY_SENT
            self._commitment = message.commitment
            return [self._key()]
        if message.commitment != self._commitment:
            return self._end(End.BEGUN_AGAIN)
        return [self._key()] if self._state is _TerminalState.KEY_SENT else []

    def _key(self) -> Step:
        return Send(PairKey(self._share.public_key, self._share.nonce))

    def _take_reveal(self, message: PairReveal) -> list[Step]:
        if self._state is not _TerminalState.KEY_SENT:
            return []
        announced = commitment(message.public_key, message.pairing_nonce)
        if not hmac.compare_digest(announced, self._commitment):
            return self._end(End.COMMITMENT_WRONG)
        try:
            secret = self._share.shared_secret(message.public_key)
        except WeakKey:
            return self._end(End.WEAK_KEY)
        self._keys = keys_of(secret, message.pairing_nonce, self._share.nonce)
        self._state = _TerminalState.COMPARING
        digits = six_digits(
            message.public_key,
            message.pairing_nonce,
            self._share.public_key,
            self._share.nonce,
            self._terminal_id,
        )
        return [Compare(digits)]

    def _confirm(self, keys: Keys) -> Step:
        return Send(PairConfirm(confirmation(keys, Role.TERMINAL)))

    def _take_done(self, message: PairDone) -> list[Step]:
        if self._state is not _TerminalState.CONFIRMED or self._keys is None:
            return []
        right = confirmation(self._keys, Role.BRIDGE)
        if not hmac.compare_digest(message.confirmation, right):
            return self._end(End.CONFIRMATION_WRONG)
        self._state = _TerminalState.DONE
        return [Keep(self._keys), Ended(End.PAIRED)]

    def _take_refused(self, message: Refused) -> list[Step]:
        refused_type = message.refused[0]
        if refused_type not in (PairKey.type_code, PairConfirm.type_code):
            return []
        if message.reason == Reason.NOT_AUTHENTICATED:
            return self._end(End.OTHER_NO)
        if message.reason != Reason.NOT_UNDERSTOOD:
            return []
        if refused_type == PairKey.type_code and self._state is _TerminalState.KEY_SENT:
            return [self._key()]
        if self._keys is not None and self._state is _TerminalState.CONFIRMED:
            return [self._confirm(self._keys)]
        return []

    def _end(self, why: End) -> list[Step]:
        self._state = _TerminalState.ENDED
        self._keys = None
        return [Ended(why)]
