"""`dle-crc16`: the serial transport of the ZVT standard (link, section 2).

    +-----+-----+---------------------------+-----+-----+---------+----------+
    | DLE | STX | body, each 10 sent twice  | DLE | ETX | CRC low | CRC high |
    +-----+-----+---------------------------+-----+-----+---------+----------+
      10    02            2 to 4,092          10    03       not doubled

The CRC runs over the body, each 10 once, and the closing 03. What the decoder gets over: noise
before, between and after frames; a start inside a frame (what came before is dropped); 10 and
another byte inside a frame (damaged, read on to its end); a frame without an end (`drop`).
"""

from __future__ import annotations

import re

from drivers.link.framing import (
    ACK,
    NOISE_KEPT_BYTES,
    Ack,
    Bad,
    Frame,
    FrameEvent,
    Framing,
    Nak,
    body_fault,
    check_body,
)
from drivers.link.framing.crc16 import crc16

_DLE = 0x10
_STX = 0x02
_ETX = 0x03
_START = b"\x10\x02"
_END = b"\x10\x03"
_CRC_BYTES = 2

_MEANS_SOMETHING = re.compile(rb"[\x06\x15\x10]")
_PLAIN = re.compile(rb"[^\x10]*+(?:\x10\x10[^\x10]*+)*+")
"""Body bytes up to a 10 that is not doubled, in one step of the regex engine."""


def encode(body: bytes) -> bytes:
    """The frame around `body`. ValueError: see `check_body`."""
    check_body(body)
    crc = crc16(body + b"\x03").to_bytes(_CRC_BYTES, "little")
    return _START + body.replace(b"\x10", b"\x10\x10") + _END + crc


class Decoder:
    """See `drivers.link.framing.Decoder`."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._inside = False
        self._body = bytearray()
        self._fault: str | None = None
        self._rest = b""  # up to three bytes that mean nothing before the next one comes
        self._noise = bytearray()

    @property
    def inside(self) -> bool:
        return self._inside

    def drop(self) -> None:
        self._leave()
        self._rest = b""

    def take_noise(self) -> bytes:
        noise = bytes(self._noise)
        self._noise.clear()
        return noise

    def feed(self, data: bytes) -> list[FrameEvent]:
        data = self._rest + data
        events: list[FrameEvent] = []
        place = 0
        while True:
            step = self._inside_step if self._inside else self._between_step
            reached = step(data, place, events)
            if reached is None:
                return events
            place = reached

    def _between_step(self, data: bytes, place: int, events: list[FrameEvent]) -> int | None:
        """Go to what comes next between frames; None where no more can be said yet."""
        found = _MEANS_SOMETHING.search(data, place)
        if found is None:
            self._keep_noise(data[place:])
            self._rest = b""
            return None
        at = found.start()
        self._keep_noise(data[place:at])
        if data[at] != _DLE:
            events.append(Ack() if found[0] == ACK else Nak())
            return at + 1
        if at + 1 == len(data):
            self._rest = data[at:]
            return None
        if data[at + 1] != _STX:
            self._keep_noise(data[at : at + 1])
            return at + 1
        self._enter()
        return at + 2

    def _inside_step(self, data: bytes, place: int, events: list[FrameEvent]) -> int | None:
        """Go to the next 10 in a frame that is not doubled; None where none has come yet."""
        plain = _PLAIN.match(data, place)
        end_of_plain = place if plain is None else plain.end()
        self._take(data[place:end_of_plain].replace(b"\x10\x10", b"\x10"))
        after = end_of_plain + 2
        if len(data) < after:
            self._rest = data[end_of_plain:]
            return None
        follows = data[end_of_plain + 1]
        if follows == _STX:
            self._enter()
        elif follows == _ETX:
            check = data[after : after + _CRC_BYTES]
            if len(check) < _CRC_BYTES:
                self._rest = data[end_of_plain:]
                return None
            events.append(self._ended(int.from_bytes(check, "little")))
            self._leave()
            return after + _CRC_BYTES
        else:
            self._fault = self._fault or f"10 {follows:02X} in a frame"
        return after

    def _enter(self) -> None:
        self._leave()
        self._inside = True

    def _leave(self) -> None:
        self._inside = False
        self._body.clear()
        self._fault = None

    def _take(self, data: bytes) -> None:
        room = self._max_body_bytes - len(self._body)
        if len(data) > room:
            self._fault = self._fault or f"more than {self._max_body_bytes} bytes"
        self._body += data[:room]

    def _ended(self, crc: int) -> Frame | Bad:
        body = bytes(self._body)
        fault = self._fault
        if fault is None:
            expected = crc16(body + b"\x03")
            fault = body_fault(body) if crc == expected else f"CRC {crc:04X}, not {expected:04X}"
        return Frame(body) if fault is None else Bad(fault, body)

    def _keep_noise(self, data: bytes) -> None:
        self._noise += data[: NOISE_KEPT_BYTES - len(self._noise)]


FRAMING = Framing(name="dle-crc16", carries_any_byte=True, encode=encode, decoder=Decoder)
