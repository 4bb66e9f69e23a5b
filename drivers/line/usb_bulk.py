"""A vendor-class USB device: one bulk IN and one bulk OUT endpoint carry what a serial line carries.

Rules
- pyusb waits where it reads and writes, and cannot be broken off. So a device has a thread of its
  own that finds it, takes it, reads it and gives it back, and while it is taken a second one that
  writes: what is to be said never waits for a read to end.
- The threads hold nothing that matters. They hand over bytes and ends by the loop; all that a user
  is told is told on the loop's thread. What comes from a time before the present one is dropped.
- Packet borders mean nothing. An empty packet read is nothing; one is sent after a transfer that
  fills its last packet, for devices that wait for a short one.
- A stalled endpoint is cleared, and what was not taken is sent again, from the start of that
  transfer: a start of frame inside a frame drops what came before it (the link's section 2).
- Both directions are bounded. A loop that is behind lets the device wait: USB does that by itself.
- Lost is what libusb says is lost, STALLS_MAX stalls on end, and a device that takes no byte for
  WRITE_STALL_S. It is looked for again, with pauses that grow from 0.1 s to 2 s.
"""

from __future__ import annotations

import array
import atexit
import errno
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import usb.core

from drivers.line.line import BAUD_MAX, BAUD_MIN, LineUser, Trouble, TroubleKind
from drivers.line.loop import Loop, boottime
from drivers.line.usb_port import (
    READ_MAX_BYTES,
    OpenUsb,
    close_usb,
    open_usb,
    trouble_of,
    usb_name,
)

log = logging.getLogger(__name__)

READ_TIMEOUT_MS: Final = 500
"""How long a read waits; so long may giving the device back take. Bytes end it at once."""

WRITE_TIMEOUT_MS: Final = 1_000
WRITE_STALL_S: Final = 10.0
"""No byte taken for so long is a dead device."""

WRITE_MAX_BYTES: Final = 16_384
"""One transfer."""

OUTGOING_MAX_BYTES: Final = 32_768
"""One frame is 8,190 bytes at most, and one is out at a time; beyond this nobody takes bytes."""

INCOMING_MAX_BYTES: Final = 65_536
"""What was read and the loop has not taken yet; beyond this nothing more is read."""

STALLS_MAX: Final = 3
"""Stalls without a byte between them; a device that goes on stalling needs to be plugged in anew."""

FIND_FIRST_S, FIND_MAX_S = 0.1, 2.0
"""Pauses between looks for the device double from the one to the other: back within 2 s."""

STEADY_S: Final = 5.0
"""Open for so long, the next loss begins with the short pause again."""

GIVE_BACK_S: Final = 1.0
"""How long an ending process waits for all its devices to be given back."""


class _Use:
    """One time of having the device, from taking it to losing it. Shared by three threads."""

    def __init__(self, taken: OpenUsb) -> None:
        self.taken = taken
        self.changed = threading.Condition()
        self.outgoing = bytearray()
        self.given_bytes = 0
        """All that `write` was given."""
        self.incoming_bytes = 0
        """Read, and not taken by the loop yet."""
        self._over = False

    @property
    def over(self) -> bool:
        return self._over

    def end(self) -> bool:
        """It is over; True for the first who says so."""
        with self.changed:
            first, self._over = not self._over, True
            self.changed.notify_all()
        return first


class UsbBulkLine:
    """One device, as `drivers.line.line` says what a line is.

    `port` as `usb_port` has it (ValueError where it is none). `baud` means nothing to USB, but a
    lane sizes its pieces by it. `backend`: pyusb's; None: libusb from its wheel. `pause(seconds)`
    waits between two looks for the device, or less; None: until `close` too.
    """

    def __init__(
        self,
        loop: Loop,
        port: str,
        user: LineUser,
        *,
        baud: int = 115_200,
        backend: Any = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        if not BAUD_MIN <= baud <= BAUD_MAX:
            raise ValueError(f"{port}: baud {baud} is not within {BAUD_MIN} to {BAUD_MAX}")
        self.port = port
        self._name = usb_name(port)
        self._backend = backend
        self._loop = loop
        self._user = user
        self._closed = threading.Event()
        self._pause = self._closed.wait if pause is None else pause
        self._use: _Use | None = None
        self._told: TroubleKind | None = None
        self._thread = threading.Thread(target=self._live, name=port, daemon=True)

    @property
    def is_open(self) -> bool:
        """True between `opened` and `lost`."""
        return self._use is not None

    # -- on the loop's thread ----------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for the device."""
        self._thread.start()
        _at_work.add(self)

    def write(self, data: bytes) -> None:
        """Send `data` after what waits already; dropped while the device is not open."""
        use = self._use
        if use is None or not data:
            return
        with use.changed:
            room = len(use.outgoing) + len(data) <= OUTGOING_MAX_BYTES
            if room:
                use.outgoing += data
                use.given_bytes += len(data)
                use.changed.notify_all()
        if not room:
            self.reset(f"{OUTGOING_MAX_BYTES} bytes wait and it takes none")

    def reset(self, why: str) -> None:
        """Give the device up as if it had been unplugged, and take it again."""
        if self._use is not None:
            self._lost(self._use, Trouble(TroubleKind.BROKEN, f"{self.port}: given up: {why}"))

    def close(self) -> None:
        """Give it up for good. Nothing is called any more after this."""
        self._closed.set()
        use, self._use = self._use, None
        if use is not None:
            use.end()

    def join(self, timeout_s: float) -> bool:
        """Wait until the device is given back, after `close`; from any other thread. True: it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _opened(self, use: _Use) -> None:
        if self._closed.is_set():
            use.end()
            return
        self._use = use
        self._told = None
        self._user.opened(self._loop.now())

    def _unavailable(self, trouble: Trouble) -> None:
        if not self._closed.is_set() and trouble.kind is not self._told:
            self._told = trouble.kind
            self._user.unavailable(trouble, self._loop.now())

    def _came(self, use: _Use, data: bytes) -> None:
        with use.changed:
            use.incoming_bytes -= len(data)
            use.changed.notify_all()
        if use is self._use:
            self._user.received(data, self._loop.now())

    def _left(self, use: _Use, left_bytes: int) -> None:
        """All of the first `left_bytes` bytes have left; what was given since has not."""
        if use is self._use and left_bytes == use.given_bytes:
            self._user.written(self._loop.now())

    def _lost(self, use: _Use, trouble: Trouble) -> None:
        if use is not self._use:
            return
        self._use = None
        use.end()
        self._user.lost(trouble, self._loop.now())

    # -- on the device's thread --------------------------------------------------------------

    def _tell(self, what: Callable[[], None]) -> None:
        self._loop.call(what, self._user)

    def _live(self) -> None:
        pause_s = FIND_FIRST_S
        while not self._closed.is_set():
            began = self._loop.now()
            try:
                found = open_usb(self._name, self._backend)
                if isinstance(found, Trouble):
                    self._tell(partial(self._unavailable, found))
                else:
                    self._have(found)
            except Exception:
                # Without this thread the port would never be tried again.
                log.exception(
                    "%s: its thread failed; it is looked for again",
                    self.port,
                    extra={"event": "handler-failed", "port": self.port},
                )
            if self._loop.now() - began >= STEADY_S:
                pause_s = FIND_FIRST_S
            if not self._closed.is_set():
                self._pause(pause_s)
                pause_s = min(pause_s * 2, FIND_MAX_S)
        _at_work.discard(self)

    def _have(self, taken: OpenUsb) -> None:
        """From taking the device to giving it back."""
        use = _Use(taken)
        writer = threading.Thread(
            target=self._until_over, args=(use, self._write), name=f"{self.port} out", daemon=True
        )
        try:
            self._tell(partial(self._opened, use))
            writer.start()
            self._until_over(use, self._read)
        finally:
            use.end()
            if writer.ident is not None:
                writer.join()
            close_usb(taken)

    def _until_over(self, use: _Use, work: Callable[[_Use], None]) -> None:
        """`work` until it ends; what it raises is why the device is lost."""
        try:
            work(use)
        except Exception as error:  # noqa: BLE001 - pyusb raises more than it says
            if use.end():
                self._tell(partial(self._lost, use, trouble_of(self.port, error)))

    def _read(self, use: _Use) -> None:
        endpoint, device = use.taken.in_endpoint, use.taken.device
        room = array.array("B", bytes(READ_MAX_BYTES))
        stalls = 0
        while not use.over and not self._closed.is_set():
            try:
                count = device.read(endpoint, room, READ_TIMEOUT_MS)
            except usb.core.USBTimeoutError:
                continue
            except usb.core.USBError as error:
                stalls = _stalled_once_more(error, stalls)
                device.clear_halt(endpoint)
                continue
            stalls = 0
            if count:
                self._hand_over(use, room[:count].tobytes())

    def _hand_over(self, use: _Use, data: bytes) -> None:
        with use.changed:
            use.incoming_bytes += len(data)
        self._tell(partial(self._came, use, data))
        with use.changed:
            use.changed.wait_for(
                lambda: use.over or use.incoming_bytes + READ_MAX_BYTES <= INCOMING_MAX_BYTES
            )

    # -- on the writing thread ---------------------------------------------------------------

    def _write(self, use: _Use) -> None:
        left_bytes = 0
        while True:
            with use.changed:
                use.changed.wait_for(lambda: use.over or bool(use.outgoing))
                if use.over:
                    return
                data = bytes(use.outgoing[:WRITE_MAX_BYTES])
            self._send(use, data)
            left_bytes += len(data)
            with use.changed:
                del use.outgoing[: len(data)]
                all_left = not use.outgoing
            if all_left:
                self._tell(partial(self._left, use, left_bytes))

    def _send(self, use: _Use, data: bytes) -> None:
        """One transfer, and an empty packet where its last one is full. Raises USBError."""
        endpoint, device = use.taken.out_endpoint, use.taken.device
        sent, stalls = 0, 0
        ends_full = len(data) % use.taken.packet_bytes == 0
        dead_at = self._loop.now() + WRITE_STALL_S
        while (sent < len(data) or ends_full) and not use.over:
            try:
                count = device.write(endpoint, data[sent:], WRITE_TIMEOUT_MS)
            except usb.core.USBTimeoutError:
                if self._loop.now() >= dead_at:
                    raise
                continue
            except usb.core.USBError as error:
                stalls = _stalled_once_more(error, stalls)
                device.clear_halt(endpoint)
                sent = 0
                continue
            if sent == len(data):
                return
            if count:
                sent, stalls = sent + count, 0
                dead_at = self._loop.now() + WRITE_STALL_S


def _stalled_once_more(error: usb.core.USBError, stalls: int) -> int:
    """How many stalls that is on end. Raises `error` where it is none, or one too many."""
    if error.errno != errno.EPIPE or stalls >= STALLS_MAX:
        raise error
    return stalls + 1


_at_work: set[UsbBulkLine] = set()
"""Lines whose thread may have a device."""


def give_all_back() -> None:
    """End every line's thread. They end with the process, but a kernel driver that was detached
    would stay detached."""
    lines = list(_at_work)
    for line in lines:
        line.close()
    ends_at = boottime() + GIVE_BACK_S
    for line in lines:
        line.join(max(ends_at - boottime(), 0.0))


atexit.register(give_all_back)
