"""Somebody who has cut the cable: what each end sends goes through a function, frame by frame.

The terminal's end stays the pseudo-terminal that `TerminalOnPty` makes; the daemon opens another one, `port`. ACK and
NAK pass as they are. Checks of frames are put right, so that only cryptography can find out what was changed.
"""

from __future__ import annotations

import os
import selectors
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from drivers.link.dialect import dialect_named
from drivers.link.encoding import Decoded
from drivers.link.framing import ACK, NAK, Ack, Frame, Nak
from drivers.link.messages import (
    Message,
    NotUnderstood,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Role,
)
from drivers.link.pairing import Share, commitment, confirmation, keys_of

TO_BRIDGE: Final = "to bridge"
TO_TERMINAL: Final = "to terminal"
END_S: Final = 5.0
LOOK_S: Final = 0.05

Change = Callable[[str, Message], "list[Message]"]
"""Direction and message -> the messages that go on in its place."""


def honest(direction: str, message: Message) -> list[Message]:
    return [message]


class SomebodyBetween:
    """Relays between the pseudo-terminal `terminal_port`, which must be there, and `port`. A context manager."""

    def __init__(self, terminal_port: str, port: Path, dialect: str = "native") -> None:
        self.port = str(port)
        self.change: Change = honest
        self.frames: list[tuple[str, bytes]] = []
        """Every frame that came, as it came."""
        self._dialect = dialect_named(dialect)
        self._terminal = os.open(terminal_port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._terminal)
        self._bridge, other = os.openpty()
        tty.setraw(other)
        os.set_blocking(self._bridge, False)
        self._kept_open = other
        port.symlink_to(os.ttyname(other))
        self._decoders = {
            self._terminal: self._dialect.framing.decoder(4092),
            self._bridge: self._dialect.framing.decoder(4092),
        }
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(END_S)
        for fd in (self._terminal, self._bridge, self._kept_open):
            os.close(fd)

    def say_to_bridge(self, frame: bytes) -> None:
        """Puts a frame on the line to the bridge, as it is."""
        os.write(self._bridge, frame)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._terminal, selectors.EVENT_READ, (TO_BRIDGE, self._bridge))
            selector.register(self._bridge, selectors.EVENT_READ, (TO_TERMINAL, self._terminal))
            while not self._ending.is_set():
                for key, _ in selector.select(LOOK_S):
                    with suppress(BlockingIOError, OSError):
                        self._relay(key.fd, *key.data)

    def _relay(self, come: int, direction: str, go: int) -> None:
        for event in self._decoders[come].feed(os.read(come, 65_536)):
            match event:
                case Ack():
                    os.write(go, ACK)
                case Nak():
                    os.write(go, NAK)
                case Frame(body=body):
                    self.frames.append((direction, self._dialect.framing.encode(body)))
                    for changed in self._changed(direction, body):
                        os.write(go, self._dialect.framing.encode(changed))

    def _changed(self, direction: str, body: bytes) -> list[bytes]:
        encoding = self._dialect.encoding
        try:
            read: Decoded = encoding.decode(body)
        except NotUnderstood:
            return [body]
        return [
            body if message is read.message else encoding.encode(message, read.sequence)
            for message in self.change(direction, read.message)
        ]


class SwapKeys:
    """A whole pairing with each end: both believe that they have the other's key."""

    def __init__(self) -> None:
        self._to_bridge = Share(os.urandom(32), os.urandom(16))
        self._to_terminal = Share(os.urandom(32), os.urandom(16))
        self._terminal_key: PairKey | None = None
        self._bridge_key: PairReveal | None = None

    def __call__(self, direction: str, message: Message) -> list[Message]:
        mine = self._to_terminal
        match message:
            case PairOpen():
                return [PairOpen(commitment(mine.public_key, mine.nonce))]
            case PairKey():
                self._terminal_key = message
                return [PairKey(self._to_bridge.public_key, self._to_bridge.nonce)]
            case PairReveal():
                self._bridge_key = message
                return [PairReveal(mine.public_key, mine.nonce)]
            case PairConfirm() if self._bridge_key is not None:
                bridge = self._bridge_key
                secret = self._to_bridge.shared_secret(bridge.public_key)
                keys = keys_of(secret, bridge.pairing_nonce, self._to_bridge.nonce)
                return [PairConfirm(confirmation(keys, Role.TERMINAL))]
            case PairDone() if self._terminal_key is not None:
                terminal = self._terminal_key
                secret = mine.shared_secret(terminal.public_key)
                keys = keys_of(secret, mine.nonce, terminal.pairing_nonce)
                return [PairDone(confirmation(keys, Role.BRIDGE))]
            case _:
                return [message]
