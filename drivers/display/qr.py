"""A payment's QR code on a terminal's panel: what it says -> pictures, best first, read back.

Rules of this module:
- The terminal's list decides the order; what it lists twice counts once.
- Lazy: a picture is made when it is asked for, since the first one nearly always does.
- No picture leaves that does not say exactly the payload when its own bytes are decoded again as
  the device would show them. One that does not is passed over, and said so.
- Pure: bytes in, values out; nothing is raised, whatever the list, the panel or the payload.
"""

from __future__ import annotations

from collections.abc import Iterator

from drivers.display.geometry import Panel
from drivers.display.raster import (
    SHOWN_MAX_PIXELS,
    BadImage,
    CannotDraw,
    Drawing,
    ImageFormat,
    Picture,
    image_formats,
    show,
)
from drivers.display.reading import Unreadable, bytes_in, payload_bytes, payload_text, read_code
from drivers.display.symbol import Modules, NoSymbol, modules_for

__all__ = [
    "BadImage",
    "CannotDraw",
    "Modules",
    "NoSymbol",
    "Panel",
    "Picture",
    "Unreadable",
    "draw",
    "modules_for",
    "payload_bytes",
    "payload_text",
    "read_code",
    "show",
    "warm_up",
]


def draw(
    payload: str,
    panel: Panel,
    formats: bytes,
    largest: int | None = None,
    original: bytes | None = None,
) -> Iterator[Picture | CannotDraw]:
    """Pictures that say `payload` on `panel`, in the order of `formats` (DF12, one code a byte).

    `largest` is DF1E in bytes; `original` PartPay's own picture, for a format that may pass it on
    (22). For each format either a Picture that was read back, or a CannotDraw with the reason; a
    single CannotDraw without a format where no QR code can say the payload at all.
    """
    modules = modules_for(payload)
    if isinstance(modules, NoSymbol):
        yield CannotDraw(modules.why)
        return
    if panel.width * panel.height > SHOWN_MAX_PIXELS:
        yield CannotDraw(f"a panel of {panel} pixels is more than {SHOWN_MAX_PIXELS}")
        return
    drawing = Drawing(modules, panel, original)
    said = payload_bytes(payload)
    known = image_formats().by_code
    for code in dict.fromkeys(formats):
        if code in known:
            yield _drawn(known[code], drawing, said, largest)
        else:
            yield CannotDraw(f"image format {code:02X} is not known", code)


def warm_up() -> None:
    """Draw one picture of each kind, so that the first sale finds every library loaded."""
    for made in draw("warm", Panel(240, 320), bytes(image_formats().by_code)):
        if isinstance(made, Picture):
            read_code(made.data)


def _drawn(
    image_format: ImageFormat, drawing: Drawing, said: bytes, largest: int | None
) -> Picture | CannotDraw:
    reasons = []
    try:
        for made in image_format.write(drawing, image_format.code):
            why = _what_is_wrong(made, drawing.panel, said, largest)
            if not why and isinstance(made, Picture):
                return made
            reasons.append(why)
    except Exception as error:  # noqa: BLE001 - a format of another package may raise anything
        reasons.append(f"{type(error).__name__}: {error}")
    why = "; ".join(reasons) or "it makes no picture"
    return CannotDraw(f"{image_format.name}: {why}", image_format.code)


def _what_is_wrong(
    made: Picture | CannotDraw, panel: Panel, said: bytes, largest: int | None
) -> str:
    if isinstance(made, CannotDraw):
        return made.why
    if largest is not None and len(made.data) > largest:
        return f"{len(made.data)} bytes, the terminal takes {largest}"
    try:
        shown = show(made.format, made.width, made.height, made.data, panel)
    except BadImage as error:
        return f"it cannot be shown: {error}"
    if bytes_in(shown) != {said}:
        return "it does not read back"
    return ""
