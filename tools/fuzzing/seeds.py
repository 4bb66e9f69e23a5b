"""Makes the first seeds of every target from what the parsers are for: good examples of each kind, and near misses.

`python -m tools.fuzzing.seeds` writes `tests/corpus/`. What a fuzzer found worth keeping is added by
`tools/fuzz --keep`, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Final

import zxingcpp
from PIL import Image

from bridge.stored_form import to_flat
from bridge.tender import Attempt, Kind, Outcome, Owed, State, Tender
from drivers.link.dialect import DIALECTS
from drivers.link.framing import BODY_MAX_BYTES
from drivers.link.framing.dle_crc16 import FRAMING as DLE
from tools.fuzzing import corpus
from tools.fuzzing.link_input import Step, course
from tools.fuzzing.targets import _SIGNED_BY, sign

VECTORS: Final = corpus.TOP / "tests" / "vectors" / "terminal-link.json"
RAW: Final = b"\x00"
BUILT: Final = b"\x40"


def _vectors() -> dict[str, Any]:
    return dict(json.loads(VECTORS.read_text()))


def _framing(dialect: str) -> Iterator[bytes]:
    link = _vectors()
    for vector in link["messages"]:
        yield RAW + bytes.fromhex(vector[dialect]["frame"])
    for stream in link["streams"][dialect]:
        yield RAW + bytes.fromhex(stream["bytes"])
    bodies = [bytes.fromhex(v[dialect]["body"])[:255] for v in link["messages"][:6]]
    yield BUILT + course(*(Step(1, 0, body) for body in bodies))
    yield BUILT + course(*(Step(n % 4, 3 * n, body) for n, body in enumerate(bodies)))
    yield BUILT + course(Step(1, 255, b"long " * 40), Step(0, 0, b"\x06\x15\x06"))
    yield RAW + bytes.fromhex(link["messages"][0][dialect]["frame"])[:-1]
    yield RAW + DLE.encode(b"\x10" * BODY_MAX_BYTES)[:1200]


def _encoding(dialect: str) -> Iterator[bytes]:
    link = _vectors()
    for vector in link["messages"]:
        body = bytes.fromhex(vector[dialect]["body"])
        yield RAW + body
        if dialect == "classic":
            yield BUILT + DIALECTS[dialect].encoding.without_check(body)
    for body in link["not_understood"][dialect]:
        yield RAW + bytes.fromhex(body["body"] if isinstance(body, dict) else body)


def _session() -> Iterator[bytes]:
    hello, tender, ping, outcome, image = 0, 2, 1, 7, 8
    for kind in range(8):
        said: list[Step] = []
        begin = [Step(5, _pick(hello, 1), b""), Step(1, 0, b""), Step(7, 0, b""), Step(1, 1, b"")]
        for what in (tender, ping, outcome, image):
            at = what % 2
            said += [
                Step(5, _pick(what, at), b""),
                Step(1, 1 - at, b""),
                Step(7, at, b""),
                Step(4, 64, b""),
                Step(1, at, b""),
            ]
        yield bytes((kind,)) + course(*begin, *said)
        lossy = [Step(3, 5, b""), Step(4, 130, b""), Step(2, 9, b""), Step(0, 0, b"\x06\x15")]
        yield bytes((kind,)) + course(*begin, *lossy, *said[:6], *lossy, Step(7, 252, b""))


def _pick(message: int, at: int) -> int:
    """The `how` of a step by which the end `at` says this message."""
    return next(how for how in range(256) if how % 9 == message and how & 1 == at)


CALLBACK = (
    b"orderId=123e4567-e89b-12d3-a456-426655440000&orderNumber=181211-303902&orderStatus=%s"
    b"&gatewayReference=AKL01-T0000001-7-1-0a1b2c3d&merchantReference=INV-7-0a1b2c3d"
)


def _callback() -> Iterator[bytes]:
    for status in (
        b"approved",
        b"complete",
        b"declined",
        b"expired",
        b"cancelled",
        b"odd+%E2%9C%93",
    ):
        yield RAW + sign(CALLBACK % status, _SIGNED_BY[0])
        yield BUILT + CALLBACK % status
    good = CALLBACK % b"approved"
    yield b"\x43" + good
    yield b"\x42" + good
    yield BUILT + good + b"&orderStatus=approved"
    yield BUILT + b"signature=00&" + good
    yield BUILT + good.replace(b"orderNumber=181211-303902", b"orderNumber=")
    yield BUILT + good.replace(b"-", b"%2D")
    yield BUILT + b"&".join(b"f%d=1" % n for n in range(34))
    yield BUILT + good + b"&x=%ff&y=%zz"
    yield RAW + good
    yield RAW + sign(good, b"x")[:-1]


ORDER = {
    "orderId": "123e4567-e89b-12d3-a456-426655440000",
    "orderNumber": "181211-303902",
    "orderExpiry": "2026-11-23T08:05:00.1234567Z",
    "status": "pending",
    "amount": 125.5,
    "merchantReference": "INV-7-0a1b2c3d",
    "gatewayReference": "AKL01-T0000001-7-1-0a1b2c3d",
    "qrCode": "/9j/4AAQSkZJRg==",
}
DATED = b"date: Mon, 23 Nov 2026 08:00:00 GMT\ncontent-length: 9\n\n"


def _answers() -> Iterator[bytes]:
    def body(**changed: object) -> bytes:
        return json.dumps({**ORDER, **changed}).encode()

    yield b"\x01" + DATED + body()
    for status in range(18):
        yield bytes((status,)) + DATED + body(status="approved")
        yield bytes((status,)) + b"retry-after: 2\n\n" + b'{"message":"no"}'
    yield b"\x04location: /terminal/order/123e4567-e89b-12d3-a456-426655440000/status\n\n"
    yield b"\x00" + DATED + body(qrCode=None, qrCodeUrl="https://qr.example/1?x=2")
    yield b"\x00" + DATED + body(qrCode="data:image/jpeg;base64,/9j_4AA-", amount="125.50")
    yield b"\x00" + DATED + body(amount=1e99, orderExpiry="2026-11-23")
    yield b"\x00" + DATED + body(orderId="\ud800", status="", isValid=False)
    yield (
        b"\x06"
        + b'\n\n{"isValid":false,"errors":[{"propertyName":"customer.a","errorMessages":["x"]}]}'
    )
    yield b"\x06" + b'\n\n{"title":"Bad","errors":{"amount":["above"]},"traceId":"0"}'
    yield b"\x06" + b'\n\n{"error":"invalid_client","error_description":"\\n\\u0000"}'
    yield b"\x0cretry-after: Mon, 23 Nov 2026 08:01:00 GMT\n" + DATED
    yield b"\x00\n\n" + b"[" * 300
    yield b"\x00\n\n\xef\xbb\xbf" + body()
    yield b"\x00transfer-encoding: chunked\n\n"
    yield b"\x0d\n\n<html>"


def _tender() -> Tender:
    return Tender(
        pairing=1, terminal_id="T0000001", counter=7, kind=Kind.TENDER, merchant="1001",
        amount_minor=12550, currency=554, accepted_at="2026-11-23T08:00:00.000+13:00", boot="b",
        deadline=1030.0, create_deadline=1030.0, reference="INV-7",
        attempts=(
            Attempt(1, "AKL01-T0000001-7-1-0a1b2c3d", "INV-7-0a1b2c3d", sent=True, void=True),
            Attempt(2, "AKL01-T0000001-7-2-0a1b2c3e", "INV-7-0a1b2c3e", order_id="o-1", sent=True),
        ),
    )  # fmt: skip


def _stored_form() -> Iterator[bytes]:
    t = _tender()
    closed = replace(
        t, state=State.CLOSED, stored=True, closed_at=1040.5,
        outcome=Outcome("00", "APPROVED", 261123, 80000, "181211-1", "o-1"),
    )  # fmt: skip
    owed = replace(closed, attempts=(replace(t.attempts[1], owed=Owed.OWED, told="approved"),))
    for one in (t, closed, owed, replace(t, kind=Kind.REFUND, original_counter=6)):
        yield json.dumps(to_flat(one)).encode()
    flat = to_flat(closed)
    for key in ("state", "a1.gateway_reference", "outcome.code"):
        yield json.dumps({k: v for k, v in flat.items() if k != key}).encode()
    yield json.dumps({**flat, "ax.told": "approved", "state": "odd", "a3.owed": "odd"}).encode()
    yield json.dumps({**flat, "new_field": 1, "a9.new": None, ".": 2, "outcome.x": 3}).encode()


def _stamp() -> Iterator[bytes]:
    good = {"environment": "sandbox", "schema": 1, "journal": "00" * 8, "last_event": 42}
    yield json.dumps(good).encode().ljust(255) + b"\n"
    for name in good:
        yield json.dumps({k: v for k, v in good.items() if k != name}).encode()
        yield json.dumps({**good, name: "x"}).encode()
        yield json.dumps({**good, name: None}).encode()
    yield json.dumps({**good, "more": 1}).encode()
    yield json.dumps(good).encode()[:30]
    yield b"[" * 250
    yield bytes(256)


def _picture() -> Iterator[bytes]:
    def saved(image: Image.Image, kind: str, **how: int) -> bytes:
        out = BytesIO()
        image.save(out, kind, **how)
        return out.getvalue()

    def code(text: str | bytes, scale: int = 2) -> Image.Image:
        made = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="L")
        pixels: Any = made.to_image(scale=scale)
        side = pixels.shape[0]
        return Image.frombytes("L", (side, side), bytes(memoryview(pixels)))

    for text in ("https://pay.test/q/1", "A"):
        grey = code(text, 1).convert("L")
        for image in (grey, grey.convert("1"), grey.convert("RGB"), grey.convert("P")):
            yield RAW + saved(image, "PNG")
            yield b"\x01" + saved(image, "PNG")
        yield RAW + saved(grey.resize((58, 58)), "JPEG", quality=30)
    clear = code("see through", 1).convert("RGBA")
    clear.putalpha(128)
    yield b"\x01" + saved(clear, "PNG")
    yield b"\x01" + saved(
        code("deep", 1).convert("I").point(lambda v: v * 257).convert("I;16"), "PNG"
    )
    yield RAW + saved(Image.new("L", (40, 40), 255), "PNG")
    yield RAW + saved(code("cut", 1).convert("L"), "PNG")[:120]
    yield RAW + b"GIF89a"
    for payload in (
        b"https://pay.test/q/1",
        "Kōwhai ✓".encode(),
        b"0123456789",
        b"\xff\x00\xfe",
        b"A",
    ):
        yield b"\x02" + bytes((len(payload),)) + payload
        yield b"\x06" + bytes((len(payload),)) + payload
        yield b"\x03" + bytes((len(payload),)) + payload + bytes(range(0, 250, 7))
        yield b"\x07" + bytes((len(payload),)) + payload + bytes(range(0, 250, 3))


SEEDS: Final[dict[str, Callable[[], Iterable[bytes]]]] = {
    "dle-crc16": partial(_framing, "native"),
    "stx-lrc": partial(_framing, "classic"),
    "tlv": partial(_encoding, "native"),
    "fs": partial(_encoding, "classic"),
    "session": _session,
    "callback": _callback,
    "answers": _answers,
    "stored-form": _stored_form,
    "stamp": _stamp,
    "picture": _picture,
}


def main() -> None:
    for target, made in SEEDS.items():
        print(f"{target}: {corpus.write(target, made())} inputs")


if __name__ == "__main__":
    main()
