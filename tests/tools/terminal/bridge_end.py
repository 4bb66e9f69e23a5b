"""The least of a bridge, for tests of the simulated terminal: it accepts, shows a code, and waits."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from typing import Self

from drivers.display.qr import Panel, Picture, draw
from drivers.line.line import Trouble
from drivers.line.loop import Loop, Timer
from drivers.line.serial import SerialLine
from drivers.link.dialect import dialect_named
from drivers.link.messages import (
    Accepted,
    Cancel,
    Hello,
    Identify,
    ImageData,
    ImageOpen,
    ImageShow,
    Message,
    Outcome,
    Ping,
    Pong,
    Progress,
    Stored,
    Tender,
    Welcome,
)
from drivers.link.session import Received, Session, SessionEvent

PAYLOAD = "https://example.invalid/pay/181211-303902"
CHUNK_BYTES = 200


class BridgeEnd:
    """One port, opened like the daemon's, in a thread of its own."""

    name = "bridge end"

    def __init__(self, port: Path, dialect: str = "native") -> None:
        self.heard: list[Message] = []
        self._more = threading.Condition()
        self.errors: list[Exception] = []
        self._highest: int | None = None
        self._open: Tender | None = None
        self._panel = Panel(240, 320)
        self._formats = b""
        self._loop = Loop()
        self._session = Session(dialect_named(dialect))
        self._line = SerialLine(self._loop, str(port), self)
        self._timer: Timer | None = None
        self._thread = threading.Thread(target=self._loop.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.call(self._line.start, self)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call(self._line.close, self)
        self._loop.call(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        assert not self.errors

    def approve(self, code: str = "00") -> None:
        """End the open tender."""
        self._loop.call(lambda: self._outcome(code), self)

    def has_heard(self, message: Message) -> bool:
        """Whether it comes within 5 s."""
        with self._more:
            return self._more.wait_for(lambda: message in self.heard, 5)

    # LineUser

    def opened(self, now: float) -> None:
        del now
        self._session.restart()
        self._say(Identify())

    def lost(self, trouble: Trouble, now: float) -> None:
        del trouble, now
        self._session.line_lost()
        self._flush()

    def unavailable(self, trouble: Trouble, now: float) -> None:
        pass

    def received(self, data: bytes, now: float) -> None:
        self._take(self._session.receive(data, now))

    def written(self, now: float) -> None:
        self._take(self._session.written(now))

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    # What it does

    def _take(self, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, Received):
                with self._more:
                    self.heard.append(event.message)
                    self._more.notify_all()
                self._answer(event.message)
        self._flush()

    def _answer(self, message: Message) -> None:
        match message:
            case Hello():
                self._panel = Panel(message.panel_width, message.panel_height)
                self._formats = message.formats
                self._say(Welcome(1, bytes(8), 1, 261123, 81500, self._highest))
                if self._open is not None:
                    self._tell(self._open)
            case Tender():
                self._highest = message.counter
                self._open = message
                self._tell(message)
            case Cancel():
                self._outcome("17")
            case Stored():
                self._open = None
            case Ping():
                self._say(Pong())
            case _:
                pass

    def _tell(self, tender: Tender) -> None:
        who = (tender.terminal_id, tender.counter, tender.amount_minor)
        self._say(Accepted(*who, tender.currency, 300))
        picture = next(draw(PAYLOAD, self._panel, self._formats))
        assert isinstance(picture, Picture)
        self._say(
            ImageOpen(
                1,
                picture.format,
                picture.width,
                picture.height,
                len(picture.data),
                zlib.crc32(picture.data),
                tender.terminal_id,
                tender.counter,
            )
        )
        for at in range(0, len(picture.data), CHUNK_BYTES):
            self._say(ImageData(1, at, picture.data[at : at + CHUNK_BYTES]))
        self._say(ImageShow(1))
        self._say(Progress(*who, "TEST Scan", 299))

    def _outcome(self, code: str) -> None:
        tender = self._open
        if tender is not None:
            amount = tender.amount_minor
            who = (tender.terminal_id, tender.counter, code, amount)
            self._say(Outcome(*who, "TEST done", 261123, 81512, "181211-303902"))

    def _say(self, message: Message) -> None:
        self._session.send(message)
        self._flush()

    def _flush(self) -> None:
        self._line.write(self._session.take_output(self._loop.now()))
        if self._timer is not None:
            self._timer.cancel()
        when = self._session.next_wake()
        self._timer = None if when is None else self._loop.at(when, self._woken, self)

    def _woken(self) -> None:
        self._timer = None
        self._take(self._session.wake(self._loop.now()))
