"""Bodies that no encoder writes: objects in another order, strange ones, wrong ones.

Rules
- A body is taken apart into its objects, changed, and put together again; `fs` gets a right DF7E,
  unless its being wrong is the point.
- What comes out goes into a right frame: it is the message that is strange, not the line.
- `wrong_bodies` is the table of what is "not understood" (link, section 3), with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drivers.link.encoding import Encoding
from drivers.link.framing.crc16 import crc16

FOREIGN = 0xDF14
"""In the tables, and in no OUTCOME."""
UNKNOWN_SHORT = 0xC1
UNKNOWN_LONG = 0xDF5E
"""In no table of the link."""

_AMOUNT, _COUNTER, _CODE, _TEXT = 0x9F02, 0x9F41, 0x8A, 0xDF05
_TYPE_UNKNOWN = 0x95


@dataclass(frozen=True, slots=True)
class Piece:
    """One object as it stands in a body; in `fs` without the FS before it."""

    tag: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """A body in pieces. `check` is what stands behind them: DF7E, or nothing."""

    type_code: int
    sequence: int
    pieces: tuple[Piece, ...]

    def without(self, tag: int) -> Body:
        return self.with_pieces(piece for piece in self.pieces if piece.tag != tag)

    def plus(self, *pieces: Piece) -> Body:
        return self.with_pieces([*self.pieces, *pieces])

    def changed(self, tag: int, raw: bytes) -> Body:
        return self.with_pieces(
            Piece(tag, raw) if piece.tag == tag else piece for piece in self.pieces
        )

    def with_pieces(self, pieces: Iterator[Piece] | list[Piece]) -> Body:
        return Body(self.type_code, self.sequence, tuple(pieces))

    def piece(self, tag: int) -> Piece:
        return next(piece for piece in self.pieces if piece.tag == tag)


Wrong = tuple[str, bytes]
"""What is wrong with it, and the body."""


class Craft:
    """How bodies of one encoding are taken apart and put together."""

    def __init__(
        self,
        encoding: Encoding,
        head: Callable[[int, int], bytes],
        make: Callable[[int, bytes], bytes],
        join: Callable[[bytes, tuple[Piece, ...]], bytes],
        skip: int,
        wrong: Callable[[Craft, Body], Iterator[Wrong]],
    ) -> None:
        self._encoding = encoding
        self._head = head
        self._make = make
        self._join = join
        self._skip = skip
        self._wrong = wrong

    def apart(self, body: bytes) -> Body:
        """A right body in its pieces."""
        text = self._encoding.without_check(body)
        decoded = self._encoding.decode(body)
        pieces, place = [], len(self._head(1, 1))
        for tag, _, end in self._encoding.places(text):
            pieces.append(Piece(tag, text[place + self._skip : end]))
            place = end
        return Body(decoded.message.type_code, decoded.sequence, tuple(pieces))

    def together(self, body: Body) -> bytes:
        """The body of these pieces, with a right check where the encoding has one."""
        return self._join(self._head(body.type_code, body.sequence), body.pieces)

    def object(self, tag: int, value: bytes) -> Piece:
        """An object with this value, as it is written there: bytes in `tlv`, text in `fs`."""
        return Piece(tag, self._make(tag, value))

    def filled(self, body: bytes, length_bytes: int) -> bytes:
        """The same message with an unknown object that makes it so long."""
        apart = self.apart(body)
        missing = length_bytes - len(self.together(apart.plus(self.object(UNKNOWN_LONG, b""))))
        # A longer value may have a longer length: as much less.
        for size in range(missing, missing - 3, -1):
            made = self.together(apart.plus(self.object(UNKNOWN_LONG, b"x" * size)))
            if len(made) == length_bytes:
                return made
        raise ValueError(f"no body of {length_bytes} bytes can be made of this one")

    def wrong_bodies(self, body: bytes) -> Iterator[Wrong]:
        """Of a right OUTCOME: bodies that are not understood, and why."""
        apart = self.apart(body)
        yield "without the response code", self.together(apart.without(_CODE))
        yield "with the counter twice", self.together(apart.plus(apart.piece(_COUNTER)))
        yield (
            "with sequence number 0",
            self.together(Body(apart.type_code, 0, apart.pieces)),
        )
        yield (
            f"with the unknown type {_TYPE_UNKNOWN:02X}",
            self.together(Body(_TYPE_UNKNOWN, apart.sequence, apart.pieces)),
        )
        yield (
            "with response code 99",
            self.together(apart.changed(_CODE, self.object(_CODE, b"99").raw)),
        )
        yield (
            "with a text that is no UTF-8",
            self.together(apart.changed(_TEXT, self.object(_TEXT, b"TEST \xc3(").raw)),
        )
        yield from self._wrong(self, apart)


def craft_of(encoding: Encoding) -> Craft:
    """The craft for an encoding of ours."""
    return {"tlv": _tlv, "fs": _fs}[encoding.name](encoding)


# tlv


def _tlv(encoding: Encoding) -> Craft:
    return Craft(
        encoding,
        head=lambda type_code, sequence: bytes((type_code, sequence)),
        make=_tlv_object,
        join=lambda head, pieces: head + b"".join(piece.raw for piece in pieces),
        skip=0,
        wrong=_wrong_tlv,
    )


def _tlv_tag(tag: int) -> bytes:
    return tag.to_bytes(2 if tag > 0xFF else 1, "big")


def _tlv_object(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        length = bytes((size,))
    elif size <= 0xFF:
        length = bytes((0x81, size))
    else:
        length = bytes((0x82, size >> 8, size & 0xFF))
    return _tlv_tag(tag) + length + value


def _wrong_tlv(craft: Craft, apart: Body) -> Iterator[Wrong]:
    whole = craft.together(apart)
    amount = apart.piece(_AMOUNT).raw
    counter = apart.piece(_COUNTER).raw
    head = len(_tlv_tag(_AMOUNT)) + 1
    yield (
        "with a digit A in the amount",
        craft.together(apart.changed(_AMOUNT, amount[:-1] + bytes((amount[-1] & 0xF0 | 0x0A,)))),
    )
    yield (
        "with a counter of three bytes",
        craft.together(apart.changed(_COUNTER, craft.object(_COUNTER, counter[head + 1 :]).raw)),
    )
    yield "cut off in its last object", whole[:-2]
    yield (
        "with a length that is not in its shortest form",
        craft.together(apart.changed(_COUNTER, _tlv_tag(_COUNTER) + b"\x81\x04" + counter[head:])),
    )
    yield (
        "with a tag of three bytes",
        craft.together(apart.plus(Piece(0xDF81, b"\xdf\x81\x04\x01\x01"))),
    )
    yield (
        "with a control character in its text",
        craft.together(apart.changed(_TEXT, craft.object(_TEXT, b"TEST\x07").raw)),
    )
    yield (
        "with an object of the tables that has a wrong length",
        craft.together(apart.plus(craft.object(FOREIGN, b"\x00\x01"))),
    )
    yield "with padding between two objects", craft.together(apart.plus(Piece(0, b"\x00\x00")))


# fs


def _fs(encoding: Encoding) -> Craft:
    return Craft(
        encoding,
        head=lambda type_code, sequence: b"%02X%02X" % (type_code, sequence),
        make=lambda tag, value: b"%02X=%b" % (tag, value),
        join=_fs_joined,
        skip=1,
        wrong=_wrong_fs,
    )


def _fs_text(head: bytes, pieces: tuple[Piece, ...]) -> bytes:
    return b"\x1c".join([head, *(piece.raw for piece in pieces)])


def _fs_joined(head: bytes, pieces: tuple[Piece, ...]) -> bytes:
    return _fs_checked(_fs_text(head, pieces))


def _fs_checked(text: bytes) -> bytes:
    return text + b"\x1cDF7E=%04X" % crc16(text)


def _wrong_fs(craft: Craft, apart: Body) -> Iterator[Wrong]:
    whole = craft.together(apart)
    text = whole[: -len(b"\x1cDF7E=0000")]
    amount = apart.piece(_AMOUNT).raw
    yield (
        "with a letter in the amount",
        craft.together(apart.changed(_AMOUNT, amount[:-1] + b"A")),
    )
    yield (
        "with a counter of seven digits",
        craft.together(apart.changed(_COUNTER, craft.object(_COUNTER, b"1234567").raw)),
    )
    yield (
        "with an escape in its text that does not exist",
        craft.together(apart.changed(_TEXT, craft.object(_TEXT, rb"TEST \t").raw)),
    )
    yield (
        "with an object of the tables that is too large",
        craft.together(apart.plus(craft.object(FOREIGN, b"256"))),
    )
    yield (
        "with base64 without its padding",
        craft.together(apart.plus(craft.object(0xDF0C, b"EAI"))),
    )
    yield "without DF7E", text
    yield "with DF7E in lower case", _lower_case(craft, apart)
    yield "with DF7E before its last object", _fs_checked(text)[: len(whole)] + b"\x1cC1=x"


def _lower_case(craft: Craft, apart: Body) -> bytes:
    filling = b""
    while True:
        whole = craft.together(apart.plus(craft.object(UNKNOWN_LONG, filling)))
        lower = whole[:-4] + whole[-4:].lower()
        if lower != whole:
            return lower
        filling += b"x"  # all digits: there is no lower case of it


def swapped_amount(body: bytes) -> bytes:
    """An `fs` body with two digits of its amount swapped, and DF7E as it was: no LRC sees that."""
    start = body.index(b"9F02=") + len(b"9F02=")
    digits = body[start : start + 12]
    at = next(at for at in range(11) if digits[at] != digits[at + 1])
    swapped = digits[:at] + digits[at + 1 : at + 2] + digits[at : at + 1] + digits[at + 2 :]
    return body[:start] + swapped + body[start + 12 :]
