"""`stx-lrc`: ISO 1745 / ANSI X3.28 style, for text (link, section 2).

    +-----+--------------------------------+-----+-----+
    | STX | body: 20..7E, 80..FF, 1C       | ETX | LRC |
    +-----+--------------------------------+-----+-----+
      02            2 to 4,092               03

The LRC is the exclusive-or of the body bytes and the 03; any byte can be one. What the decoder gets
over: noise before, between and after frames; a start inside a frame (what came before is dropped);
a byte that cannot stand in a body (damaged, read on to its end); a frame without an end (`drop`).
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

_STX = 0x02
_ETX = 0x03

_MEANS_SOMETHING = re.compile(rb"[\x02\x06\x15]")
_PLAIN = re.compile(rb"[\x20-\x7e\x80-\xff\x1c]*+")


def lrc(data: bytes) -> int:
    """The exclusive-or of all bytes of `data`, by halves: a step for each doubling of its size."""
    value, size_bytes = int.from_bytes(data, "big"), len(data)
    while size_bytes > 1:
        half_bits = 8 * ((size_bytes + 1) // 2)
        value = (value >> half_bits) ^ (value & ((1 << half_bits) - 1))
        size_bytes = half_bits // 8
    return value


def encode(body: bytes) -> bytes:
    """The frame around `body`. ValueError: see `check_body`; or a byte that text has not."""
    check_body(body)
    plain = _PLAIN.match(body)
    if plain is None or plain.end() != len(body):
        raise ValueError(
            "stx-lrc carries only 20..7E, 80..FF and 1C: it needs a printable encoding"
        )
    ended = body + b"\x03"
    return b"\x02" + ended + bytes((lrc(ended),))


class Decoder:
    """See `drivers.link.framing.Decoder`."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._inside = False
        self._ending = False  # the 03 has come, its LRC has not
        self._body = bytearray()
        self._fault: str | None = None
        self._noise = bytearray()

    @property
    def inside(self) -> bool:
        return self._inside

    def drop(self) -> None:
        self._inside = self._ending = False
        self._body.clear()
        self._fault = None

    def take_noise(self) -> bytes:
        noise = bytes(self._noise)
        self._noise.clear()
        return noise

    def feed(self, data: bytes) -> list[FrameEvent]:
        events: list[FrameEvent] = []
        place = 0
        while place < len(data):
            if self._ending:
                events.append(self._ended(data[place]))
                self.drop()
                place += 1
            elif self._inside:
                place = self._inside_step(data, place)
            else:
                place = self._between_step(data, place, events)
        return events

    def _between_step(self, data: bytes, place: int, events: list[FrameEvent]) -> int:
        found = _MEANS_SOMETHING.search(data, place)
        at = len(data) if found is None else found.start()
        self._noise += data[place:at][: NOISE_KEPT_BYTES - len(self._noise)]
        if found is not None:
            if data[at] == _STX:
                self._inside = True
            else:
                events.append(Ack() if found[0] == ACK else Nak())
        return at + 1

    def _inside_step(self, data: bytes, place: int) -> int:
        plain = _PLAIN.match(data, place)
        at = place if plain is None else plain.end()
        self._take(data[place:at])
        if at < len(data):
            if data[at] == _STX:
                self.drop()
                self._inside = True
            elif data[at] == _ETX:
                self._ending = True
            else:
                self._fault = self._fault or f"byte {data[at]:02X} in a frame"
        return at + 1

    def _take(self, data: bytes) -> None:
        room = self._max_body_bytes - len(self._body)
        if len(data) > room:
            self._fault = self._fault or f"more than {self._max_body_bytes} bytes"
        self._body += data[:room]

    def _ended(self, check: int) -> Frame | Bad:
        body = bytes(self._body)
        fault = self._fault
        if fault is None:
            expected = lrc(body + b"\x03")
            fault = (
                body_fault(body) if check == expected else f"LRC {check:02X}, not {expected:02X}"
            )
        return Frame(body) if fault is None else Bad(fault, body)


FRAMING = Framing(name="stx-lrc", carries_any_byte=False, encode=encode, decoder=Decoder)
