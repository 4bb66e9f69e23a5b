"""PartPay's own pictures, kept for panels that take them as they were sent (image format 22).

- Kept by what the code says: a drawing is asked for by that, and a picture that says it may stand in its place. It is
  read back before it is sent, like any other.
- Never written down, and not many: after a restart, or when there were more sales than room, the picture is drawn.
"""

import threading
from collections import OrderedDict
from typing import Final

PICTURES_MAX: Final = 32
"""As many sales as are open at once in a large shop."""
BYTES_MAX: Final = 2 * 1024 * 1024
"""All together. PartPay's have 20 to 60 kB."""


class Originals:
    """The latest pictures. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_payload: OrderedDict[str, bytes] = OrderedDict()
        self._size_bytes = 0

    def keep(self, payload: str, picture: bytes) -> None:
        """`picture`, a file as PartPay sent it, says `payload`. One larger than all the room is not kept."""
        if len(picture) > BYTES_MAX:
            return
        with self._lock:
            self._size_bytes += len(picture) - len(self._by_payload.pop(payload, b""))
            self._by_payload[payload] = picture
            while len(self._by_payload) > PICTURES_MAX or self._size_bytes > BYTES_MAX:
                _, dropped = self._by_payload.popitem(last=False)
                self._size_bytes -= len(dropped)

    def of(self, payload: str) -> bytes | None:
        """The picture that says `payload`, where it is still here."""
        with self._lock:
            return self._by_payload.get(payload)
