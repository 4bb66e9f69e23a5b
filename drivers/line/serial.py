"""A serial line: a real port, a USB adapter, a CDC-ACM device or a pseudo-terminal.

Rules
- pyserial sets the port up (raw, 8N1, no flow control unless configured); from then on the
  descriptor belongs to the loop: no read timeout, no polling.
- The port is ours alone: flock against other careful programs, TIOCEXCL against all others.
- Lost is what the kernel says is lost (EIO, a hang-up, a read of nothing), and a port that takes no
  byte for WRITE_STALL_S. It is opened again by its path, so that a by-id link finds a new name.
- Opening and closing talk to the device and may wait for it for seconds: they are done aside, in
  a thread that does nothing else. All else is done on the loop's thread.
- "Written" is told when the bytes have left, without draining: by the baud rate, then by TIOCOUTQ.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path

import serial

from drivers.line.line import BAUD_MAX, BAUD_MIN, LineUser, Trouble, TroubleKind
from drivers.line.loop import Interest, Loop, Timer

READ_MAX_BYTES = 65_536
"""One read takes what there is: the kernel's own buffer holds 4 KiB."""

WRITE_BUFFER_MAX_BYTES = 32_768
"""One frame is 8,190 bytes at most, and one is out at a time; beyond this nobody takes bytes."""

WRITE_STALL_S = 10.0
"""No byte taken for so long is a dead port. At 9,600 baud the kernel's 4 KiB take 4.3 s."""

REOPEN_FIRST_S, REOPEN_MAX_S = 0.1, 2.0
"""Pauses between attempts to open double from the one to the other: back within 2 s."""

STEADY_S = 5.0
"""Open for so long, the next loss begins with the short pause again."""

BITS_A_BYTE = 10
"""8N1: a start bit, eight, a stop bit."""

LEAVE_POLL_MIN_S, LEAVE_POLL_MAX_S = 0.001, 0.25
"""How soon a transmit queue that should be empty, and is not, is looked at again."""

SYSFS_DEVICES = Path("/sys/dev/char")

PTY_MAJORS = range(136, 144)
"""Device numbers of Unix 98 pseudo-terminals."""


WIRE_CHIPS = frozenset(
    {
        *("ftdi_sio", "cp210x", "ch341-uart", "pl2303", "f81232", "f81534", "xr_serial"),
        *("mct_u232", "mos7720", "mos7840", "spcp8x5", "ark3116", "io_ti", "io_edgeport"),
        *("ti_usb_3410_5052_1", "keyspan_1", "keyspan_2", "keyspan_4", "quatech2", "upd78f0730"),
    }
)
"""Kernel drivers of USB adapters that have a wire at their far end, and so a baud rate."""


class Pace(Enum):
    """How to tell that bytes have left."""

    AT_ONCE = auto()
    """A pseudo-terminal has no wire."""
    BY_QUEUE = auto()
    """A device that is USB itself: its baud rate means nothing, the queue tells what it has taken.
    Told too late, its answers would look as if they had come before the question had left."""
    BY_BAUD = auto()
    """A wire: what the queue has passed on to the chip is still on its way."""


class CannotOpenError(Exception):
    """The port could not be opened or set up; `trouble` says why and what to do."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class OpenPort:
    """An open port, ours alone, raw, non-blocking."""

    device: serial.Serial
    fd: int
    pace: Pace
    low_latency: bool
    """True where the adapter was told to pass bytes on at once (FTDI waits 16 ms otherwise)."""


def open_port(port: str, baud: int, *, rtscts: bool = False) -> OpenPort:
    """Open and set up `port` (a path). May wait for the device. Raises CannotOpenError."""
    try:
        # inter_byte_timeout 0 is VMIN 1: a read of nothing then means a hang-up, not "no bytes".
        device = serial.Serial(
            port,
            baud,
            timeout=0,
            write_timeout=0,
            inter_byte_timeout=0,
            rtscts=rtscts,
            exclusive=True,
        )
    except (OSError, ValueError, termios.error) as error:
        raise CannotOpenError(trouble_of(port, error)) from error
    try:
        fd = device.fileno()
        pace = _pace(fd)
        _make_raw(fd)
        if pace is not Pace.AT_ONCE:
            # A pseudo-terminal would keep the mark after a kill -9, against our own next start.
            fcntl.ioctl(fd, termios.TIOCEXCL)
        return OpenPort(device, fd, pace, pace is not Pace.AT_ONCE and _low_latency(device))
    except (OSError, ValueError, termios.error) as error:
        close_port(device)
        raise CannotOpenError(trouble_of(port, error)) from error


def close_port(device: serial.Serial) -> None:
    """Close without waiting for bytes that will not leave; errors of a dead device are nothing."""
    with suppress(OSError, termios.error, serial.SerialException):
        # Else the kernel waits up to 30 s for the transmit queue.
        termios.tcflush(device.fileno(), termios.TCIOFLUSH)
    with suppress(OSError, serial.SerialException):
        device.close()


def trouble_of(port: str, error: Exception) -> Trouble:
    """What an error in opening or use means, with port and remedy."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return Trouble(
            TroubleKind.ABSENT,
            f"{port}: nothing is plugged in there; plug the terminal in, or see "
            "`partpay-bridge ports` for where it is",
        )
    if number in (errno.EACCES, errno.EPERM):
        return Trouble(
            TroubleKind.DENIED,
            f"{port}: no right to open it; the daemon's user has to be in the port's group "
            "(mostly dialout)",
        )
    if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return Trouble(
            TroubleKind.TAKEN,
            f"{port}: another program has it open; stop that one (`partpay-bridge doctor` "
            "says which)",
        )
    if number == errno.EIO:
        return Trouble(TroubleKind.BROKEN, f"{port}: unplugged, or dead; plug it in again")
    return Trouble(
        TroubleKind.BROKEN,
        f"{port}: it failed ({error}); check the cable, replug the adapter",
    )


def _make_raw(fd: int) -> None:
    # What pyserial leaves as it found it: a break must not flush the queue, nothing be stripped.
    attributes = termios.tcgetattr(fd)
    attributes[0] &= ~(termios.BRKINT | termios.IXANY | termios.IMAXBEL)
    attributes[3] &= ~(termios.NOFLSH | termios.TOSTOP)
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _pace(fd: int) -> Pace:
    if os.major(os.fstat(fd).st_rdev) in PTY_MAJORS:
        return Pace.AT_ONCE
    device = _sysfs(fd) / "device"
    bus = (device / "subsystem").resolve().name
    chip = (device / "driver").resolve().name
    if bus == "usb" or (bus == "usb-serial" and chip not in WIRE_CHIPS):
        return Pace.BY_QUEUE
    return Pace.BY_BAUD


def _sysfs(fd: int) -> Path:
    device = os.fstat(fd).st_rdev
    return SYSFS_DEVICES / f"{os.major(device)}:{os.minor(device)}"


def _low_latency(device: serial.Serial) -> bool:
    try:
        device.set_low_latency_mode(True)
    except (OSError, ValueError, NotImplementedError):
        try:
            timer = _sysfs(device.fileno()) / "device" / "latency_timer"
            timer.write_text("1")
        except OSError:
            return False
    return True


def aside(work: Callable[[], None]) -> None:
    """Run `work` in a thread of its own: what waits for a device must not hold up the loop."""
    threading.Thread(target=work, name="line-aside", daemon=True).start()


class _Stage(Enum):
    """Where the port is in its life."""

    WAITING = auto()
    """Not open; a timer is set for the next attempt (or `start` was not called)."""
    BUSY = auto()
    """Being opened, or being closed, aside."""
    OPEN = auto()
    CLOSED = auto()
    """For good."""


class SerialLine:
    """One serial port, as `drivers.line.line` says what a line is.

    `port` is a path, best a link of /dev/serial/by-id; `baud` 9,600 to 921,600 (else ValueError).
    """

    def __init__(
        self,
        loop: Loop,
        port: str,
        user: LineUser,
        *,
        baud: int = 115_200,
        rtscts: bool = False,
        run_aside: Callable[[Callable[[], None]], None] = aside,
    ) -> None:
        if not BAUD_MIN <= baud <= BAUD_MAX:
            raise ValueError(f"{port}: baud {baud} is not within {BAUD_MIN} to {BAUD_MAX}")
        self.port = port
        self.baud = baud
        self._rtscts = rtscts
        self._loop = loop
        self._user = user
        self._aside = run_aside
        self._stage = _Stage.WAITING
        self._open: OpenPort | None = None
        self._opened_at = 0.0
        self._pause_s = REOPEN_FIRST_S
        self._told: TroubleKind | None = None
        self._waiting = bytearray()
        self._leaves_at = 0.0
        self._attempt_timer: Timer | None = None
        self._stall_timer: Timer | None = None
        self._leave_timer: Timer | None = None

    @property
    def is_open(self) -> bool:
        """True between `opened` and `lost`."""
        return self._stage is _Stage.OPEN

    @property
    def low_latency(self) -> bool:
        """True while open on an adapter that was told to pass bytes on at once."""
        return self._open is not None and self._open.low_latency

    def start(self) -> None:
        """Begin to open the port; the first attempt is made at once."""
        self._attempt_after(0.0)

    def write(self, data: bytes) -> None:
        """Send `data` after what waits already; dropped while the port is not open."""
        if self._stage is not _Stage.OPEN or not data:
            return
        if len(self._waiting) + len(data) > WRITE_BUFFER_MAX_BYTES:
            self.reset(f"{WRITE_BUFFER_MAX_BYTES} bytes wait and it takes none")
            return
        self._leave_timer = _cancelled(self._leave_timer)
        blocked = bool(self._waiting)
        self._waiting += data
        if not blocked:
            self._write_waiting()

    def reset(self, why: str) -> None:
        """Give the port up as if it had been unplugged, and open it again."""
        if self._stage is _Stage.OPEN:
            self._lose(Trouble(TroubleKind.BROKEN, f"{self.port}: given up: {why}"))

    def close(self) -> None:
        """Give it up for good. Nothing is called any more after this."""
        stage, self._stage = self._stage, _Stage.CLOSED
        self._stop_timers()
        if stage is _Stage.OPEN:
            device = self._release()
            self._aside(partial(close_port, device))

    # -- opening -----------------------------------------------------------------------------

    def _attempt_after(self, pause_s: float) -> None:
        self._attempt_timer = self._loop.at(self._loop.now() + pause_s, self._attempt, self._user)

    def _attempt(self) -> None:
        self._attempt_timer = None
        if not os.path.lexists(self.port):
            self._not_opened(trouble_of(self.port, FileNotFoundError(errno.ENOENT, "")))
            return
        self._stage = _Stage.BUSY

        def work() -> None:
            found: OpenPort | Trouble = Trouble(
                TroubleKind.BROKEN, f"{self.port}: opening it failed; the log has the reason"
            )
            try:
                found = open_port(self.port, self.baud, rtscts=self._rtscts)
            except CannotOpenError as error:
                found = error.trouble
            finally:
                # Whatever happened: without an answer this port would never be tried again.
                self._loop.call(partial(self._attempted, found), self._user)

        self._aside(work)

    def _attempted(self, found: OpenPort | Trouble) -> None:
        if self._stage is _Stage.CLOSED:
            if isinstance(found, OpenPort):
                self._aside(partial(close_port, found.device))
            return
        if isinstance(found, Trouble):
            self._not_opened(found)
            return
        now = self._loop.now()
        self._stage = _Stage.OPEN
        self._open = found
        self._opened_at = self._leaves_at = now
        self._told = None
        self._loop.watch(found.fd, Interest.READ, self._ready, self._user)
        self._user.opened(now)

    def _not_opened(self, trouble: Trouble) -> None:
        self._stage = _Stage.WAITING
        self._attempt_after(self._next_pause_s())
        if trouble.kind is not self._told:
            self._told = trouble.kind
            self._user.unavailable(trouble, self._loop.now())

    def _next_pause_s(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, REOPEN_MAX_S)
        return pause_s

    # -- in use ------------------------------------------------------------------------------

    def _ready(self, interest: Interest) -> None:
        if Interest.READ in interest:
            self._read()
        if Interest.WRITE in interest and self._stage is _Stage.OPEN and self._waiting:
            self._write_waiting()

    def _read(self) -> None:
        assert self._open is not None
        try:
            data = os.read(self._open.fd, READ_MAX_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(trouble_of(self.port, error))
            return
        if not data:
            self._lose(Trouble(TroubleKind.BROKEN, f"{self.port}: unplugged; plug it in again"))
            return
        self._user.received(data, self._loop.now())

    def _write_waiting(self) -> None:
        assert self._open is not None
        try:
            taken = os.write(self._open.fd, self._waiting)
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError as error:
            self._lose(trouble_of(self.port, error))
            return
        now = self._loop.now()
        del self._waiting[:taken]
        self._leaves_at = max(self._leaves_at, now) + taken * BITS_A_BYTE / self.baud
        if self._waiting:
            if taken or self._stall_timer is None:
                self._stall_timer = _cancelled(self._stall_timer)
                self._stall_timer = self._loop.at(now + WRITE_STALL_S, self._stalled, self._user)
                both = Interest.READ | Interest.WRITE
                self._loop.watch(self._open.fd, both, self._ready, self._user)
            return
        if self._stall_timer is not None:
            self._stall_timer = _cancelled(self._stall_timer)
            self._loop.watch(self._open.fd, Interest.READ, self._ready, self._user)
        when = self._leaves_at if self._open.pace is Pace.BY_BAUD else now
        self._leave_timer = self._loop.at(when, self._perhaps_left, self._user)

    def _perhaps_left(self) -> None:
        assert self._open is not None
        self._leave_timer = None
        now = self._loop.now()
        if self._open.pace is not Pace.AT_ONCE and (queued := _queued_bytes(self._open.fd)):
            wait_s = min(
                max(queued * BITS_A_BYTE / self.baud, LEAVE_POLL_MIN_S),
                LEAVE_POLL_MAX_S if self._open.pace is Pace.BY_BAUD else LEAVE_POLL_MIN_S,
            )
            if self._stall_timer is None:
                self._stall_timer = self._loop.at(now + WRITE_STALL_S, self._stalled, self._user)
            self._leave_timer = self._loop.at(now + wait_s, self._perhaps_left, self._user)
            return
        self._stall_timer = _cancelled(self._stall_timer)
        self._user.written(now)

    def _stalled(self) -> None:
        self._stall_timer = None
        self.reset(f"it took no byte for {WRITE_STALL_S:.0f} s")

    # -- losing ------------------------------------------------------------------------------

    def _lose(self, trouble: Trouble) -> None:
        now = self._loop.now()
        self._stop_timers()
        device = self._release()
        self._stage = _Stage.BUSY
        if now - self._opened_at >= STEADY_S:
            self._pause_s = REOPEN_FIRST_S

        def work() -> None:
            close_port(device)
            self._loop.call(self._released, self._user)

        self._aside(work)
        self._user.lost(trouble, now)

    def _release(self) -> serial.Serial:
        assert self._open is not None
        found, self._open = self._open, None
        self._loop.unwatch(found.fd)
        self._waiting.clear()
        return found.device

    def _released(self) -> None:
        if self._stage is _Stage.BUSY:
            self._stage = _Stage.WAITING
            self._attempt_after(self._next_pause_s())

    def _stop_timers(self) -> None:
        self._attempt_timer = _cancelled(self._attempt_timer)
        self._stall_timer = _cancelled(self._stall_timer)
        self._leave_timer = _cancelled(self._leave_timer)


def _cancelled(timer: Timer | None) -> Timer | None:
    if timer is not None:
        timer.cancel()
    return None


def _queued_bytes(fd: int) -> int:
    try:
        answer = fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        # The next read or write tells what is wrong; nothing is learnt by waiting here.
        return 0
    return int(struct.unpack("i", answer)[0])
