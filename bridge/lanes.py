"""The lanes of all ports that the registry names, on the one I/O loop.

- A port is opened when a terminal is registered on it, and given up when none is any more; a changed dialect, baud
  rate or profile begins the lane afresh.
- What the engine wants of a line that is not there is dropped: it is told again after the next HELLO.
- A port that no line can be made for is a log line with the remedy; the others go on.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bridge.effects import ClearPanel, Say, ShowCode, ShowText, Welcome
from bridge.events import Event
from bridge.lane import CannotShow, Lane
from bridge.lane_events import LaneEvent
from bridge.lane_line import LaneOnLine
from bridge.registry import Pairing, Snapshot
from drivers.display.geometry import Panel
from drivers.line.line import line_maker
from drivers.line.loop import Loop
from drivers.link.authentication import Keys
from drivers.link.dialect import dialect_named
from drivers.link.image_transfer import Picture
from drivers.profiles import profile_named

log = logging.getLogger(__name__)

SESSION_NONCE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a lane was made from; another one of these makes another lane."""

    dialect: str
    baud: int
    profile: str | None


class Lanes:
    """All lanes by port. Its methods may be called from any thread, but `follow` from one only."""

    def __init__(
        self,
        loop: Loop,
        post: Callable[[Event], object],
        in_worker: Callable[[Callable[[], None]], object],
        text_prefix: str,
        keys_of: Callable[[str, str], tuple[Keys, ...]] | None = None,
        original_of: Callable[[str], bytes | None] = lambda payload: None,
    ) -> None:
        """`original_of(payload)`: PartPay's own picture, where it is at hand."""
        self._loop = loop
        self._post = post
        self._in_worker = in_worker
        self._text_prefix = text_prefix
        self._keys_of = keys_of
        self._original_of = original_of
        self._lanes: dict[str, LaneOnLine] = {}
        self._settings: dict[str, _Setting] = {}

    @property
    def by_port(self) -> Mapping[str, LaneOnLine]:
        return dict(self._lanes)

    def follow(self, snapshot: Snapshot) -> None:
        """Opens and gives up ports, so that they are those of the registry."""
        wanted = {p.port: p for p in snapshot.pairings if not p.retired and p.port}
        for port in [*self._lanes]:
            if port not in wanted or self._settings[port] != _setting(wanted[port]):
                self._lanes.pop(port).close()
                del self._settings[port]
                log.info("port given up", extra={"event": "port-closed", "port": port})
        for port, pairing in wanted.items():
            if port not in self._lanes:
                self._open(port, pairing)

    def _open(self, port: str, pairing: Pairing) -> None:
        try:
            maker = line_maker(port)
            dialect = dialect_named(pairing.dialect)
            profile = profile_named(pairing.profile)
            lane = LaneOnLine(
                self._loop,
                make_lane=lambda draw: Lane(
                    port,
                    dialect,
                    post=self._tell,
                    draw=draw,
                    baud=pairing.baud,
                    profile=profile,
                    text_prefix=self._text_prefix,
                    keys_of=self._keys_of,
                    fresh_nonce=lambda: secrets.token_bytes(SESSION_NONCE_BYTES),
                ),
                make_line=lambda user: maker(self._loop, port, user, baud=pairing.baud),
                draw=self._draw,
                in_worker=self._in_worker,
            )
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises costs its own port
            log.error("%s", error, extra={"event": "port-unusable", "port": port})
            return
        self._lanes[port] = lane
        self._settings[port] = _setting(pairing)
        lane.start()

    def quiet(self) -> bool:
        """Nothing that was said is still on its way."""
        return all(lane.lane.quiet for lane in self._lanes.values())

    def _draw(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None
    ) -> Picture | CannotShow:
        """Loads the drawing libraries when the first picture is drawn, in its worker."""
        from bridge.drawing import first_picture  # noqa: PLC0415 - 100 ms that a start need not wait for

        return first_picture(payload, panel, formats, largest, self._original_of(payload))

    def _tell(self, event: LaneEvent) -> None:
        self._post(event)

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    # -- what the engine wants ----------------------------------------------------------------------------------

    def _at(self, lane: str) -> LaneOnLine | None:
        found = self._lanes.get(lane)
        if found is None:
            log.info(
                "nothing is said on a line that is not there",
                extra={"event": "no-line", "port": lane},
            )
        return found

    def say(self, lane: str, effect: Say | Welcome) -> None:
        if (at := self._at(lane)) is not None:
            at.say(effect.message, effect.hello if isinstance(effect, Welcome) else None)

    def identify(self, lane: str) -> None:
        if (at := self._at(lane)) is not None:
            at.identify()

    def show(self, effect: ShowCode) -> None:
        if (at := self._at(effect.lane)) is not None:
            at.show_code(effect.accepted, effect.payload, effect.life_ends)

    def clear(self, effect: ClearPanel) -> None:
        if (at := self._at(effect.lane)) is not None:
            at.clear(after_outcome=effect.after_outcome)

    def text(self, effect: ShowText) -> None:
        if (at := self._at(effect.lane)) is not None:
            at.show_text(effect.text)


def _setting(pairing: Pairing) -> _Setting:
    return _Setting(pairing.dialect, pairing.baud, pairing.profile)
