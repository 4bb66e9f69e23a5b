"""The first picture of a terminal's list that can be made, for a worker to draw.

Apart from the lane, because the drawing libraries are heavy: whoever starts the daemon chooses when
they are loaded.
"""

from __future__ import annotations

from bridge.lane import CannotShow
from drivers.display.geometry import Panel
from drivers.display.qr import CannotDraw, draw
from drivers.link.image_transfer import Picture


def first_picture(
    payload: str,
    panel: Panel,
    formats: bytes,
    largest: int | None,
    original: bytes | None = None,
) -> Picture | CannotShow:
    """The first of `formats` that can be made, read back; or why none can.

    `payload`: what the code says; `formats`: DF12's codes, best first; `largest`: bytes, or None;
    `original`: PartPay's own picture of it, where it is at hand.
    """
    reasons = []
    for drawn in draw(payload, panel, formats, largest, original):
        if not isinstance(drawn, CannotDraw):
            return drawn
        reasons.append(drawn.why)
    return CannotShow("; ".join(reasons) or "the terminal lists no image format")
