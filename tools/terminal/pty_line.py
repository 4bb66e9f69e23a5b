"""A pseudo-terminal as the terminal's end of a cable: the daemon opens the other end by a link.

Rules
- `plug` makes a new pseudo-terminal and points the link at it; `unplug` removes the link and closes
  this end, so that the daemon sees what it sees when an adapter is pulled.
- While nobody has the other end open, what is written goes nowhere, as on a wire.
- It is a line as `drivers.line.line` says what a line is. That the daemon goes away is not noticed;
  that it is there again is, where something went nowhere meanwhile: as a USB device sees its host
  open the port (DTR), this is told as a loss and a new beginning.
"""

from __future__ import annotations

import errno
import os
import select
import tty
from pathlib import Path

from drivers.line.line import LineUser, Trouble, TroubleKind
from drivers.line.loop import Interest, Loop

READ_MAX_BYTES = 65_536
WAITING_MAX_BYTES = 65_536
"""What the other end does not read; beyond this it is lost, as on a wire without flow control."""


class PtyLine:
    """One cable to a daemon on this machine. All calls on the loop's thread."""

    def __init__(self, loop: Loop, port: str, user: LineUser) -> None:
        """`port` is the path of the link that the daemon opens."""
        self.port = port
        self._loop = loop
        self._user = user
        self._fd = -1
        self._name = ""
        self._edges: select.epoll | None = None
        self._waiting = bytearray()
        self._went_nowhere = False

    @property
    def is_plugged(self) -> bool:
        return self._fd >= 0

    def start(self) -> None:
        """Plug the cable in: a new pseudo-terminal, the same link."""
        if self.is_plugged:
            return
        self._fd, other = os.openpty()
        tty.setraw(other)
        self._name = os.ttyname(other)
        # Not kept open: only so does poll tell whether somebody has the other end.
        os.close(other)
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)
        # Level-triggered, a pseudo-terminal that nobody has open is ready without end.
        self._edges = select.epoll()
        self._edges.register(self._fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        self._loop.watch(self._edges.fileno(), Interest.READ, self._ready, self._user)
        link = Path(self.port)
        draft = link.with_name(f".{link.name}.new")
        draft.unlink(missing_ok=True)
        draft.symlink_to(self._name)
        draft.replace(link)
        self._user.opened(self._loop.now())

    def unplug(self) -> None:
        """Pull the cable: the link is gone, the other end hangs up."""
        if self.is_plugged:
            self._close()
            trouble = Trouble(TroubleKind.ABSENT, f"{self.port}: unplugged")
            self._user.lost(trouble, self._loop.now())

    def reset(self, why: str) -> None:
        """Unplug and plug in again."""
        del why
        self.unplug()
        self.start()

    def close(self) -> None:
        """Unplug for good, without a word."""
        if self.is_plugged:
            self._close()

    def write(self, data: bytes) -> None:
        """Send `data`; `written` comes by the loop, not out of this call."""
        if not self.is_plugged or not data:
            return
        if not self._somebody_listens():
            self._waiting += data
            self._lose_waiting()
            return
        if len(self._waiting) + len(data) <= WAITING_MAX_BYTES:
            self._waiting += data
        self._write_waiting()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        edges, self._edges = self._edges, None
        assert edges is not None
        self._waiting.clear()
        self._went_nowhere = False
        link = Path(self.port)
        if link.is_symlink() and link.readlink() == Path(self._name):
            link.unlink()
        self._loop.unwatch(edges.fileno())
        edges.close()
        os.close(fd)

    def _somebody_listens(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, 0)
        return not poll.poll(0)

    def _ready(self, interest: Interest) -> None:
        del interest
        assert self._edges is not None
        self._edges.poll(0)
        if self._somebody_listens():
            self._write_waiting()
        else:
            self._lose_waiting()
        while self.is_plugged:
            try:
                data = os.read(self._fd, READ_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return  # nobody has the other end open
            if self._went_nowhere:
                self._begin_again()
            self._user.received(data, self._loop.now())

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        try:
            taken = os.write(self._fd, self._waiting)
        except BlockingIOError:
            return
        del self._waiting[:taken]
        if not self._waiting:
            self._loop.call(self._written, self._user)

    def _begin_again(self) -> None:
        self._went_nowhere = False
        now = self._loop.now()
        self._user.lost(Trouble(TroubleKind.ABSENT, f"{self.port}: nobody had it open"), now)
        self._user.opened(now)

    def _lose_waiting(self) -> None:
        if self._waiting:
            self._went_nowhere = True
            self._waiting.clear()
            self._loop.call(self._written, self._user)

    def _written(self) -> None:
        if self.is_plugged and not self._waiting:
            self._user.written(self._loop.now())
