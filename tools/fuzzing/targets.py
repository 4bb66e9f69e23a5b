"""Each parser under fuzzing, and what must hold whatever it is given.

- A target is a function of bytes. It lets the exceptions that its parser declares pass, and no other.
- Beside "no exception" it holds what the parser promises: what is read can be written and is read again the same;
  bytes cut otherwise mean the same; nothing forged is taken; everything is bounded. A broken promise is a `Find`.
- No target keeps anything from one call to the next.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, get_args
from urllib.parse import parse_qsl

import zxingcpp
from PIL import Image

from bridge.journal import stamp
from bridge.partpay.answers import (
    CancelAnswer,
    CreateAnswer,
    HttpAnswer,
    NoAnswer,
    RefundAnswer,
    Told,
    ToldAnswer,
    read_cancel,
    read_create,
    read_picture,
    read_refund,
    read_told,
)
from bridge.partpay.api import Api
from bridge.partpay.callback import SignedCallback, check
from bridge.stored_form import Plain, apply, difference, from_flat, to_flat
from bridge.tender import Outcome as StoredOutcome
from drivers.display.reading import Unreadable, payload_bytes, payload_text, read_code
from drivers.link.authentication import Keys
from drivers.link.dialect import DIALECTS, ENCODINGS, Dialect
from drivers.link.encoding import Encoding
from drivers.link.framing import (
    BODY_MAX_BYTES,
    BODY_MIN_BYTES,
    NOISE_KEPT_BYTES,
    Frame,
    FrameEvent,
    Framing,
)
from drivers.link.framing import dle_crc16 as dle
from drivers.link.framing import stx_lrc as stx
from drivers.link.framing.crc16 import crc16
from drivers.link.messages import (
    Accepted,
    Cancel,
    Hello,
    ImageOpen,
    Message,
    NotUnderstood,
    Outcome,
    Ping,
    Stored,
    Welcome,
)
from drivers.link.messages import Tender as TenderMessage
from drivers.link.sealed import BridgeSeal, TerminalSeal
from drivers.link.session import ANSWERS_MAX_BYTES, QUEUE_MAX, Session, SessionEvent
from tools.fuzzing.link_input import Step, pieces, steps

BYTEWISE_MAX: Final = 100
DECODER_LIMIT: Final = 60
"""Decoders are fuzzed with a low limit on bodies, so that short inputs reach it."""
BODY_LIMIT: Final = 700
"""A session's: near the least that a terminal may have."""


class Find(AssertionError):  # noqa: N818 - what fuzzing is for
    """A promise that a parser broke."""


@dataclass(frozen=True, slots=True)
class Target:
    """`parser`: the function as one finds it. `max_bytes`: as long as inputs may become."""

    name: str
    parser: str
    run: Callable[[bytes], None]
    max_bytes: int


def _hold(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Find(otherwise)


# -- framings ---------------------------------------------------------------------------------


def _line_of(framing: Framing, data: bytes) -> list[bytes | None]:
    """What comes on a line: noise, frames, damaged frames, and (None) silence."""
    line: list[bytes | None] = []
    for step in steps(data):
        match step.what % 4:
            case 0:
                line.append(step.data)
            case 3:
                line.append(None)
            case damaged:
                body = step.data * (1 + step.how // 64)
                try:
                    frame = bytearray(framing.encode(body))
                except ValueError:
                    frame = bytearray(body)
                if damaged == 2 and frame:
                    frame[step.how % len(frame)] ^= 1 << (step.how % 8)
                line.append(bytes(frame))
    return line


def _heard(framing: Framing, line: list[bytes | None], size: int) -> list[FrameEvent]:
    decoder = framing.decoder(DECODER_LIMIT)
    events: list[FrameEvent] = []
    for piece in line:
        if piece is None:
            decoder.drop()
            _hold(not decoder.inside, "inside a frame after drop")
            continue
        for part in pieces(piece, size or len(piece)):
            events += decoder.feed(part)
    _hold(len(decoder.take_noise()) <= NOISE_KEPT_BYTES, "more noise kept than is told")
    return events


def _framing(framing: Framing) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        line = [data[1:]] if data[:1] < b"\x40" else _line_of(framing, data[1:])
        whole = _heard(framing, line, 0)
        # Byte by byte is slow, and finds nothing in long inputs that it does not find in short ones.
        for size in (1, 7) if len(data) < BYTEWISE_MAX else (7,):
            again = _heard(framing, line, size)
            _hold(whole == again, f"cut into pieces of {size} it means something else")
        for event in whole:
            if isinstance(event, Frame):
                _hold(
                    BODY_MIN_BYTES <= len(event.body) <= DECODER_LIMIT, "a body out of its limits"
                )
                read = framing.decoder(BODY_MAX_BYTES).feed(framing.encode(event.body))
                _hold(read == [event], "a frame that is not read as it was written")

    return run


# -- encodings --------------------------------------------------------------------------------


def _encoding(encoding: Encoding) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        body = data[1:]
        if data[:1] >= b"\x40" and encoding.name == "fs":
            # No fuzzer guesses DF7E.
            body += b"\x1cDF7E=%04X" % crc16(body)
        encoding.without_check(body)
        try:
            for _, start, end in encoding.places(body):
                _hold(0 <= start <= end <= len(body), "an object outside its body")
        except NotUnderstood:
            pass
        try:
            read = encoding.decode(body)
        except NotUnderstood as error:
            _hold(bool(str(error)), "not understood, and no why")
            return
        _hold(len(read.signed_part) <= len(body), "signed more than there is")
        for other in ENCODINGS.values():
            again = other.decode(other.encode(read.message, read.sequence))
            _hold(
                (again.message, again.sequence) == (read.message, read.sequence),
                f"{read.message} is another one once written in {other.name}",
            )

    return run


# -- the session ------------------------------------------------------------------------------

_KEYS: Final = Keys(bytes(range(32)), bytes(range(32, 64)))
_OTHER_KEYS: Final = Keys(bytes(32), bytes(range(32)))
_TERMINAL: Final = "T0000001"

_HELLO: Final = Hello(
    terminal_id=_TERMINAL, serial_number="SN1", version=1, model="Sim", firmware="1",
    panel_width=128, panel_height=64, formats=b"\x10\x83", max_body=700,
    session_nonce=bytes(range(8)),
)  # fmt: skip
_SAID: Final[tuple[Message, ...]] = (
    _HELLO,
    Ping(),
    TenderMessage(_TERMINAL, 7, 12550, currency=554, reference="INV-7"),
    Cancel(_TERMINAL, 7),
    Stored(_TERMINAL, 7, "00"),
    Welcome(version=1, journal_id=bytes(8), paired=1, local_date=261123, local_time=80000),
    Accepted(
        terminal_id=_TERMINAL, counter=7, amount_minor=12550, currency=554, seconds_left=300
    ),
    Outcome(
        terminal_id=_TERMINAL, counter=7, response_code="00", amount_minor=12550,
        text="APPROVED", local_date=261123, local_time=80000,
    ),
    ImageOpen(
        image_id=1, image_format=0x83, image_width=64, image_height=64, image_length=512,
        image_crc=0x1234, terminal_id=_TERMINAL, counter=7,
    ),
)  # fmt: skip


class _Ends:
    """Two ends of one line; what each has said and the other not yet heard."""

    def __init__(self, dialect: Dialect, seals: int) -> None:
        self.now = 100.0
        bridge = BridgeSeal(dialect.encoding, lambda *_: (_KEYS,) if seals == 2 else (), _nonce)
        keys = {2: _KEYS, 3: _OTHER_KEYS}.get(seals)
        sealed = seals > 0
        self.ends = (
            Session(dialect, max_body=BODY_LIMIT, seal=bridge if sealed else None),
            Session(
                dialect,
                max_body=BODY_LIMIT,
                seal=TerminalSeal(dialect.encoding, keys) if sealed else None,
            ),
        )
        self.hello = _HELLO if keys is None else _hello_with(keys)
        self.waiting = [b"", b""]

    def step(self, step: Step) -> None:
        at = step.how & 1
        end = self.ends[at]
        match step.what % 8:
            case 0:
                self._hear(at, step.data)
            case 1:
                self._hear(at, self._arriving(at, len(self.waiting[1 - at])))
            case 2:
                self._hear(at, self._arriving(at, step.how))
            case 3:
                damaged = bytearray(self._arriving(at, len(self.waiting[1 - at])))
                if damaged:
                    damaged[step.how % len(damaged)] ^= 1 << (step.how % 8)
                self._hear(at, bytes(damaged))
            case 4:
                self.now += step.how / 128
                self._wake()
            case 5 | 6:
                said = _SAID[step.how % len(_SAID)]
                end.send(self.hello if said is _HELLO else said)
            case 7 if step.how > 250:
                end.line_lost()
            case 7 if step.how > 240:
                end.restart()
            case _:
                end.written(self.now)
        self._take()

    def _arriving(self, at: int, count: int) -> bytes:
        there = self.waiting[1 - at]
        self.waiting[1 - at] = there[count:]
        return there[:count]

    def _hear(self, at: int, data: bytes) -> None:
        for event in self.ends[at].receive(data, self.now):
            _hold(isinstance(event, get_args(SessionEvent)), f"{event!r} is no event")

    def _wake(self) -> None:
        for end in self.ends:
            end.wake(self.now)

    def _take(self) -> None:
        for at, end in enumerate(self.ends):
            said = end.take_output(self.now)
            most = ANSWERS_MAX_BYTES + 2 * BODY_MAX_BYTES + 16
            _hold(len(said) <= most, f"{len(said)} bytes are said at once")
            # A line without end is no line: what nobody hears is lost.
            self.waiting[at] = (self.waiting[at] + said)[-4096:]
            due = end.next_wake()
            _hold(due is None or due > self.now or self._rests(end), "it is due, and does nothing")

    def _rests(self, end: Session) -> bool:
        """After being woken at this moment nothing is due at this moment any more."""
        end.wake(self.now)
        self.waiting[self.ends.index(end)] += end.take_output(self.now)
        due = end.next_wake()
        return due is None or due > self.now


def _nonce() -> bytes:
    return bytes(range(8, 16))


def _hello_with(keys: Keys) -> Hello:
    return replace(_HELLO, key_id=keys.identifier)


def _session(data: bytes) -> None:
    kind = data[0] if data else 0
    ends = _Ends(tuple(DIALECTS.values())[kind % 2], kind // 2 % 4)
    for step in steps(data[1:]):
        ends.step(step)
    for end in ends.ends:
        _hold(len(end._queue) <= QUEUE_MAX, "more waits to be sent than may")


# -- PartPay ----------------------------------------------------------------------------------

CALLBACK_KEYS: Final = {"": (b"service-key", b"older-key"), "M-1": (b"key-of-a-merchant",)}
_SIGNED_BY: Final = (b"service-key", b"older-key", b"key-of-a-merchant", b"key-of-nobody")


def sign(body: bytes, key: bytes) -> bytes:
    """The body as PartPay would send it."""
    return body + b"&signature=" + hmac.digest(key, body, hashlib.sha256).hex().encode()


def _callback(data: bytes) -> None:
    kind, body = data[:1], data[1:]
    raw = body if kind < b"\x40" else sign(body, _SIGNED_BY[kind[0] % 4])
    said = check(raw, CALLBACK_KEYS)
    _storable(said)
    if not isinstance(said, SignedCallback):
        _hold(said.http_status in (400, 401), f"status {said.http_status} of a bad callback")
        return
    signed, _, signature = raw.rpartition(b"&signature=")
    names = {
        name
        for name, keys in CALLBACK_KEYS.items()
        if any(
            hmac.digest(key, signed, hashlib.sha256).hex() == signature.lower().decode()
            for key in keys
        )
    }
    _hold(said.signers == names != set(), f"taken as signed by {said.signers}, is by {names}")
    pairs = parse_qsl(
        signed.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
    )
    _hold(len(dict(pairs)) == len(pairs), "a field stands twice")
    told = dict(pairs)
    _hold(
        (said.order_number, said.status, said.gateway_reference, said.merchant_reference)
        == tuple(
            told[name]
            for name in ("orderNumber", "orderStatus", "gatewayReference", "merchantReference")
        ),
        "other fields than those that were sent",
    )
    _hold(said.order_id.lower() == told["orderId"].lower(), "another order than the one sent")


_STATUSES: Final = (
    200,
    201,
    202,
    204,
    302,
    307,
    400,
    401,
    403,
    404,
    409,
    422,
    429,
    500,
    502,
    503,
    100,
    999,
)
_API: Final = Api()


def http_answer(data: bytes) -> HttpAnswer:
    """One byte for the status, then header lines, an empty line, and the body."""
    status = _STATUSES[data[0] % len(_STATUSES)] if data else 200
    head, _, body = data[1:].partition(b"\n\n")
    headers = {}
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()
    return HttpAnswer(status, headers, body)


def _answers(data: bytes) -> None:
    got = http_answer(data)
    for read, kinds in (
        (lambda: read_create(got, _API), get_args(CreateAnswer)),
        (lambda: read_told(got, _API), get_args(ToldAnswer)),
        (lambda: read_cancel(got), get_args(CancelAnswer)),
        (lambda: read_refund(got), get_args(RefundAnswer)),
        (lambda: read_picture(got), (bytes, NoAnswer)),
    ):
        value = read()
        _hold(isinstance(value, kinds), f"{value!r} is none of {kinds}")
        _storable(value)
        if isinstance(value, Told):
            _hold(got.status == 200, f"told something by a {got.status}")


def _storable(value: object) -> None:
    """Every text in it can be written to the journal, and none is endless."""
    if isinstance(value, str):
        value.encode()
        _hold(len(value) <= 4096, f"a text of {len(value)} characters")
    elif isinstance(value, tuple | frozenset):
        for part in value:
            _storable(part)
    elif is_dataclass(value):
        for part in fields(value):
            _storable(getattr(value, part.name))


# -- the journal ------------------------------------------------------------------------------

_PLAIN: Final = str | int | float | bool | None


def _no_number(name: str) -> None:
    raise ValueError(f"the journal writes no {name}")


def _stored_form(data: bytes) -> None:
    try:
        flat = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return
    if not isinstance(flat, dict) or not all(isinstance(v, _PLAIN) for v in flat.values()):
        return
    known: dict[str, Plain] = {k: v for k, v in flat.items() if v is not None}
    replayed = dict(known)
    half = dict(list(known.items())[: len(known) // 2])
    apply(half, difference(half, known))
    _hold(half == replayed, "what an event writes does not lead to what it was made from")
    try:
        t = from_flat(known)
    except (KeyError, TypeError, ValueError):
        return
    if isinstance(t.outcome, StoredOutcome | None):
        _hold(from_flat(to_flat(t)) == t, "a tender that is not read as it was written")


class _File:
    """A path to bytes that are at hand."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_bytes(self) -> bytes:
        return self._data


def _stamp(data: bytes) -> None:
    file: Any = _File(data)
    read = stamp.read(file)
    if read is None:
        return
    kinds = {"environment": str, "schema": int, "journal": str, "last_event": int}
    for name, kind in kinds.items():
        _hold(type(getattr(read, name)) is kind, f"{name} of a stamp is {getattr(read, name)!r}")


# -- pictures ---------------------------------------------------------------------------------


_PNG: Final = b"\x89PNG\r\n\x1a\n"


def _mended(png: bytes) -> bytes:
    """The chunks of a PNG with right checksums: without them no decoder looks further."""
    out, place = bytearray(_PNG), len(_PNG)
    while place + 8 <= len(png):
        length = min(int.from_bytes(png[place : place + 4], "big"), len(png))
        chunk = png[place + 4 : place + 8 + length]
        out += (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        place += 12 + length
    return bytes(out)


def _drawn(payload: bytes, spots: bytes, kind: str) -> bytes:
    """A picture of a code that holds these bytes, with a spot for each byte of `spots`."""
    pixels: Any = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode).to_image(scale=2)
    side = pixels.shape[0]
    grey = bytearray(memoryview(pixels))
    for at, spot in enumerate(spots):
        grey[(at * 997 + spot * 131) % len(grey)] = spot
    out = io.BytesIO()
    Image.frombytes("L", (side, side), bytes(grey)).save(out, kind)
    return out.getvalue()


def _picture(data: bytes) -> None:
    kind, rest = (data[0], data[1:]) if data else (0, b"")
    payload, spots = rest[1:][: rest[0] or 1] if rest else b"", b""
    if kind % 4 == 0:
        picture = rest
    elif kind % 4 == 1:
        picture = _mended(rest)
    elif payload:
        spots = rest[1 + len(payload) :] if kind % 4 == 3 else b""
        picture = _drawn(payload, spots, "JPEG" if kind & 4 else "PNG")
    else:
        return
    said = read_code(picture)
    if isinstance(said, Unreadable):
        _hold(bool(said.why), "not readable, and no why")
        _hold(kind % 4 != 2, f"a clean code of {payload!r} is not read: {said.why}")
        return
    said.encode()
    _hold(payload_text(payload_bytes(said)) == said, "a code that is another one once drawn again")
    _hold(kind % 4 != 2 or payload_bytes(said) == payload, f"{payload!r} is read as {said!r}")


TARGETS: Final = {
    target.name: target
    for target in (
        Target("dle-crc16", "framing/dle_crc16.py: Decoder.feed", _framing(dle.FRAMING), 400),
        Target("stx-lrc", "framing/stx_lrc.py: Decoder.feed", _framing(stx.FRAMING), 400),
        Target("tlv", "encoding/tlv.py: decode", _encoding(ENCODINGS["tlv"]), 800),
        Target("fs", "encoding/fs.py: decode", _encoding(ENCODINGS["fs"]), 800),
        Target("session", "link/session.py: Session.receive, sealed and not", _session, 3000),
        Target("callback", "partpay/callback.py: check", _callback, 2000),
        Target("answers", "partpay/answers.py: all five readers", _answers, 4000),
        Target("stored-form", "stored_form.py: from_flat", _stored_form, 2000),
        Target("stamp", "journal/stamp.py: read", _stamp, 300),
        Target("picture", "display/reading.py: read_code", _picture, 20_000),
    )
}
"""By the name that `tools/fuzz --target` takes."""
