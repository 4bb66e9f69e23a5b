"""Taking an image: IMAGE_OPEN, IMAGE_DATA in order, IMAGE_SHOW (terminal link, section 5).

Rules
- One image at a time; a new IMAGE_OPEN ends an unfinished one.
- Status 2 and 3 answer IMAGE_OPEN already; status 1 (a gap, a wrong check) answers IMAGE_SHOW.
- The bytes are not looked into here: that is `panel.py`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from drivers.display.geometry import Panel, Placement, place_by_terminal
from drivers.link.messages import ImageData, ImageOpen, ImageShow, ImageShown

MODULES = 0x10
"""QR modules: width and height are the side length, and the terminal scales."""
PACKED = 0x80
"""Added to a format whose data is packed."""


@dataclass(frozen=True, slots=True)
class PanelImage:
    """An image that came whole. `counter` is None for a test picture."""

    image_id: int
    format: int
    width: int
    height: int
    data: bytes
    counter: int | None


class Intake:
    """The image that is coming in."""

    def __init__(self, formats: bytes, panel: Panel, largest_bytes: int) -> None:
        """`largest_bytes` is what there is memory for."""
        self._formats = formats
        self._panel = panel
        self._largest = largest_bytes
        self._answered: tuple[int, ImageShown] | None = None
        self.drop()

    def drop(self) -> None:
        """Forget an unfinished image."""
        self._open: ImageOpen | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._broken = False

    def open(self, message: ImageOpen) -> ImageShown | None:
        """Begin. A status where this image cannot be taken; it is to be said at once."""
        self.drop()
        self._answered = None
        fault = self._fault(message)
        if fault is not None:
            self.answered(message.image_id, fault)
            return fault
        self._open = message
        return None

    def _fault(self, message: ImageOpen) -> ImageShown | None:
        if message.image_format not in self._formats or not self._fits(message):
            return ImageShown.UNKNOWN_FORMAT
        if message.image_length > self._largest:
            return ImageShown.OUT_OF_MEMORY
        return None

    def _fits(self, message: ImageOpen) -> bool:
        width, height = message.image_width, message.image_height
        if message.image_format & ~PACKED == MODULES:
            return width == height and isinstance(place_by_terminal(width, self._panel), Placement)
        return 0 < width <= self._panel.width and 0 < height <= self._panel.height

    def data(self, message: ImageData) -> None:
        """A piece. One that is out of order spoils the image."""
        if self._open is None or message.image_id != self._open.image_id:
            return
        if message.offset != self._size or self._size + len(message.data) > self._open.image_length:
            self._broken = True
            return
        self._parts.append(message.data)
        self._size += len(message.data)

    def show(self, message: ImageShow) -> ImageShown | PanelImage:
        """All of it came: the picture, or the status to answer."""
        if self._answered is not None and self._answered[0] == message.image_id:
            return self._answered[1]
        opened = self._open
        if opened is None or opened.image_id != message.image_id:
            return ImageShown.BAD_CHECK
        data = b"".join(self._parts)
        whole = not self._broken and self._size == opened.image_length
        self.drop()
        if not whole or zlib.crc32(data) != opened.image_crc:
            return ImageShown.BAD_CHECK
        return PanelImage(
            opened.image_id,
            opened.image_format,
            opened.image_width,
            opened.image_height,
            data,
            opened.counter,
        )

    def answered(self, image_id: int, status: ImageShown) -> None:
        """Remember what was answered, for an IMAGE_SHOW that comes twice."""
        self._answered = (image_id, status)
