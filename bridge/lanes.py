"""The lanes of all ports that the registry names, on the one I/O loop.

- A port is opened when a terminal is registered on it, and given up when none is any more; a changed dialect, baud
  rate or profile begins the lane afresh.
- What the engine wants of a line that is not there is dropped: it is told again after the next HELLO.
- A port that no line can be made for is a log line with the remedy; the others go on.
- A port that a person pairs on is lent: it stays open though no terminal is registered on it, and who borrowed it
  sees what happens there.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from bridge.effects import ClearPanel, Say, ShowCode, ShowText, Welcome
from bridge.events import Event
from bridge.lane import CannotShow, Lane, PairingMessage
from bridge.lane_events import LaneEvent, LineGivenUp
from bridge.lane_line import LaneOnLine
from bridge.registry import Pairing, Snapshot
from drivers.display.geometry import Panel
from drivers.line.line import line_maker
from drivers.line.loop import Loop
from drivers.link.authentication import Keys
from drivers.link.dialect import dialect_named
from drivers.link.image_transfer import Picture
from drivers.link.messages import Message
from drivers.profiles import profile_named

log = logging.getLogger(__name__)

SESSION_NONCE_BYTES: Final = 8

TraceOfPort = Callable[[str, str, str, bytes | Message | str], None]
"""As `bridge.lane.Trace`, with the port before it."""


@dataclass(frozen=True, slots=True)
class LaneSetting:
    """What a lane is made from; another one of these makes another lane."""

    dialect: str
    baud: int
    profile: str | None = None


class Borrower(Protocol):
    """Who pairs on a port, and sees what happens there. Called in any thread; must not block."""

    def said(self, message: PairingMessage, sequence: int, now: float) -> None:
        """The terminal says PAIR_KEY or PAIR_CONFIRM."""

    def told(self, event: LaneEvent) -> None:
        """What the lane tells the engine."""

    def welcomed(self, paired: bool) -> None:
        """WELCOME is said."""


class AlreadyLentError(Exception):
    """Somebody pairs on that port, or looks for its terminal."""


class Lanes:
    """All lanes by port. Its methods may be called from any thread."""

    def __init__(
        self,
        loop: Loop,
        post: Callable[[Event], object],
        in_worker: Callable[[Callable[[], None]], object],
        text_prefix: str,
        keys_of: Callable[[str, str], tuple[Keys, ...]] | None = None,
        original_of: Callable[[str], bytes | None] = lambda payload: None,
        trace: TraceOfPort | None = None,
    ) -> None:
        """`original_of(payload)`: PartPay's own picture, where it is at hand. `trace` sees all bytes."""
        self._loop = loop
        self._post = post
        self._in_worker = in_worker
        self._text_prefix = text_prefix
        self._keys_of = keys_of
        self._original_of = original_of
        self._trace = trace
        self._let_go: set[str] = set()
        self._lock = threading.Lock()
        self._lanes: dict[str, LaneOnLine] = {}
        self._settings: dict[str, LaneSetting] = {}
        self._registered: dict[str, LaneSetting] = {}
        self._lent: dict[str, tuple[LaneSetting, Borrower]] = {}

    @property
    def by_port(self) -> Mapping[str, LaneOnLine]:
        return dict(self._lanes)

    def follow(self, snapshot: Snapshot) -> None:
        """Opens and gives up ports, so that they are those of the registry."""
        with self._lock:
            self._registered = {
                p.port: _setting(p) for p in snapshot.pairings if not p.retired and p.port
            }
            self._open_and_give_up()

    def borrow(self, port: str, setting: LaneSetting, borrower: Borrower) -> None:
        """Opens that port, or keeps it open, until `give_back`. What is registered there is its setting.

        Raises AlreadyLentError; ValueError, UnknownName, BrokenPlugIn where no lane can be made so.
        """
        with self._lock:
            if port in self._lent:
                raise AlreadyLentError(f"somebody pairs on {port} already")
            if port in self._let_go:
                raise AlreadyLentError(f"somebody looks for the terminal on {port}")
            if port not in self._lanes:
                self._open(port, setting, borrower)
            self._lent[port] = (setting, borrower)
            self._lanes[port].with_lane(partial(_pair, borrower.said))

    def give_back(self, port: str) -> None:
        """The port is the registry's alone again."""
        with self._lock:
            if self._lent.pop(port, None) is not None and (at := self._lanes.get(port)) is not None:
                at.with_lane(partial(_pair, None))
            self._open_and_give_up()

    @contextmanager
    def let_go(self, port: str) -> Iterator[None]:
        """Nobody has that port for as long as it lasts: somebody else opens it. Raises AlreadyLentError."""
        with self._lock:
            if port in self._lent or port in self._let_go:
                raise AlreadyLentError(f"somebody pairs on {port}, or looks for its terminal")
            self._let_go.add(port)
            self._open_and_give_up()
        try:
            yield
        finally:
            with self._lock:
                self._let_go.discard(port)
                self._open_and_give_up()

    def _open_and_give_up(self) -> None:
        lent = {port: setting for port, (setting, _) in self._lent.items()}
        wanted = {**lent, **self._registered}
        for port in self._let_go:
            wanted.pop(port, None)
        for port in [*self._lanes]:
            if wanted.get(port) != self._settings[port]:
                self._lanes.pop(port).close()
                del self._settings[port]
                # After its last word, which the loop may just be passing on.
                self._loop.call(partial(self._tell, LineGivenUp(port)))
                log.info("port given up", extra={"event": "port-closed", "port": port})
        for port, setting in wanted.items():
            if port not in self._lanes:
                borrower = self._lent[port][1] if port in self._lent else None
                try:
                    self._open(port, setting, borrower)
                except Exception as error:  # noqa: BLE001 - whatever a plug-in raises costs its own port
                    log.error("%s", error, extra={"event": "port-unusable", "port": port})

    def _open(self, port: str, setting: LaneSetting, borrower: Borrower | None) -> None:
        maker = line_maker(port)
        dialect = dialect_named(setting.dialect)
        profile = profile_named(setting.profile)
        lane = LaneOnLine(
            self._loop,
            make_lane=lambda draw: Lane(
                port,
                dialect,
                post=self._tell,
                draw=draw,
                baud=setting.baud,
                profile=profile,
                text_prefix=self._text_prefix,
                keys_of=self._keys_of,
                fresh_nonce=lambda: secrets.token_bytes(SESSION_NONCE_BYTES),
                trace=None if self._trace is None else partial(self._trace, port),
            ),
            make_line=lambda user: maker(self._loop, port, user, baud=setting.baud),
            draw=self._draw,
            in_worker=self._in_worker,
        )
        self._lanes[port] = lane
        self._settings[port] = setting
        if borrower is not None:
            lane.with_lane(partial(_pair, borrower.said))
        lane.start()

    def quiet(self) -> bool:
        """Nothing that was said is still on its way."""
        return all(lane.lane.quiet for lane in self.by_port.values())

    def _draw(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None
    ) -> Picture | CannotShow:
        """Loads the drawing libraries when the first picture is drawn, in its worker."""
        from bridge.drawing import first_picture  # noqa: PLC0415 - 100 ms that a start need not wait for

        return first_picture(payload, panel, formats, largest, self._original_of(payload))

    def _tell(self, event: LaneEvent) -> None:
        lent = self._lent.get(event.lane)
        if lent is not None:
            lent[1].told(event)
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
        if isinstance(effect, Welcome) and (lent := self._lent.get(lane)) is not None:
            lent[1].welcomed(effect.paired)

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


def _setting(pairing: Pairing) -> LaneSetting:
    return LaneSetting(pairing.dialect, pairing.baud, pairing.profile)


def _pair(
    said: Callable[[PairingMessage, int, float], None] | None, lane: Lane, now: float
) -> None:
    del now
    lane.pairing = said
