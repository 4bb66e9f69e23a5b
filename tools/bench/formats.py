"""What each image format costs on the line: the same code, every format, both dialects, three baud rates.

    .venv/bin/python -m tools.bench.formats

Rules
- Counted, not timed: the frames that the bridge sends for one image (IMAGE_OPEN to IMAGE_SHOW, framed, with what is
  sent twice) and one ACK byte after each. A terminal that takes time to answer adds that to each frame.
- The pieces are as long as the line allows: 0.25 s, and the terminal's largest body.
- docs/displays.md has these tables; tests/docs/test_displays.py makes them again and compares.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from drivers.display.geometry import Panel
from drivers.display.qr import CannotDraw, Picture, draw
from drivers.display.raster import image_formats
from drivers.link.dialect import Dialect, dialect_named
from drivers.link.image_transfer import ImageTransfer, image_ids
from drivers.link.messages import ImageData, ImageShow, ImageStatus, Message
from tools.panel_pictures import PAYLOAD

PANEL: Final = Panel(240, 320)
BAUDS: Final = (9_600, 19_200, 115_200)
DIALECTS: Final = ("native", "classic")
BODY_BYTES: Final = 1_024
"""The terminal's largest body (DF13)."""
BITS_A_BYTE: Final = 10
ACK_BYTES: Final = 1
RANDOM_BYTES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Cost:
    """One image on one line. `image_bytes`: the data itself (DF18)."""

    image_bytes: int
    line_bytes: int
    frames: int
    baud: int

    @property
    def seconds(self) -> float:
        return self.line_bytes * BITS_A_BYTE / self.baud


@dataclass(frozen=True, slots=True)
class Data:
    """A picture whose bytes are given."""

    data: bytes
    format: int = 0x01
    width: int = PANEL.width
    height: int = PANEL.height


def cost(
    picture: Picture | Data, dialect: Dialect, baud: int, body_bytes: int = BODY_BYTES
) -> Cost:
    """What it takes to bring `picture` to a panel, nothing being lost on the way."""
    line_bytes = frames = 0
    for message in _said(picture, dialect, baud, body_bytes):
        line_bytes += frame_bytes(message, dialect) + ACK_BYTES
        frames += 1
    return Cost(len(picture.data), line_bytes, frames, baud)


def frame_bytes(message: Message, dialect: Dialect) -> int:
    """The frame of one message, in bytes on the line."""
    return len(dialect.framing.encode(dialect.encoding.encode(message, 1)))


def overhead(data: bytes, dialect: Dialect, body_bytes: int = BODY_BYTES) -> float:
    """What framing, message and acknowledgement add to the image's bytes in full pieces, as a fraction.

    In printable encodings image bytes travel as base64; what that adds is not framing, and not counted.
    """
    carried = spent = 0
    for message in _said(Data(data), dialect, max(BAUDS), body_bytes):
        if isinstance(message, ImageData):
            carried += _carried_bytes(message, dialect)
            spent += frame_bytes(message, dialect) + ACK_BYTES
    return spent / carried - 1


def _carried_bytes(message: ImageData, dialect: Dialect) -> int:
    if dialect.encoding.printable:
        return -(-len(message.data) // 3) * 4
    return len(message.data)


def _said(
    picture: Picture | Data, dialect: Dialect, baud: int, body_bytes: int
) -> Iterable[Message]:
    transfer = ImageTransfer(dialect, image_ids(), baud=baud, max_body=body_bytes)
    transfer.picture(picture)
    while transfer.result is None:
        message = transfer.next_message(0.0)
        assert message is not None
        yield message
        if isinstance(message, ImageShow):
            transfer.status(ImageStatus(message.image_id, 0))


def pictures() -> dict[int, Picture]:
    """The same code in every format, by code."""
    made = {}
    for picture in draw(PAYLOAD, PANEL, bytes(image_formats().by_code)):
        assert not isinstance(picture, CannotDraw), picture.why
        made[picture.format] = picture
    return made


def table(dialect: Dialect) -> list[str]:
    """Markdown lines: a format a row, the quickest first."""
    heads = ["format", "", "image, bytes"]
    heads += [f"on the line at {max(BAUDS):,} baud, bytes"]
    heads += [f"{baud:,} baud, s" for baud in BAUDS]
    rows = []
    for code, picture in pictures().items():
        costs = [cost(picture, dialect, baud) for baud in BAUDS]
        name = image_formats().by_code[code].name
        cells = [f"`{code:02X}`", name, f"{costs[-1].image_bytes:,}", f"{costs[-1].line_bytes:,}"]
        cells += [_seconds(one.seconds) for one in costs]
        rows.append((costs[-1].line_bytes, cells))
    return _markdown(heads, [cells for _, cells in sorted(rows)])


def overhead_table() -> list[str]:
    """Markdown lines: what is in the picture, and what each dialect adds to it."""
    rnd = random.Random(1)
    rows_bytes = pictures()[0x01].data * 10
    kinds = {
        "the rows of the code above": rows_bytes,
        "random bytes": rnd.randbytes(RANDOM_BYTES),
        "nothing but `10`, the byte that is sent twice": b"\x10" * RANDOM_BYTES,
    }
    rows = [
        [kind, *(f"{overhead(data, dialect_named(name)) * 100:.1f} %" for name in DIALECTS)]
        for kind, data in kinds.items()
    ]
    return _markdown(["what is sent", *DIALECTS], rows)


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _markdown(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return lines + [f"| {' | '.join(cells)} |" for cells in rows]


def main() -> int:
    print(f"{len(PAYLOAD)} characters on a panel of {PANEL}, a body of {BODY_BYTES:,} bytes")
    for name in DIALECTS:
        print(f"\n{name}\n")
        print("\n".join(table(dialect_named(name))))
    print("\nframing, message and acknowledgement\n")
    print("\n".join(overhead_table()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
