"""What a technician has the daemon do with its own ports: watch one, test a display, look for a silent terminal.

- Nothing here decides on a sale, and nothing is written down.
- A port is let go for asking only while nobody answers on it: no terminal that is heard loses its line.
- A panel is only used while it is idle (`display_test.py`).
"""

import base64
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, Final

from bridge.config import Settings
from bridge.control import CommandError
from bridge.display_test import (
    Tried,
    clear_display,
    clear_lane,
    on_display,
    on_lane,
    on_line,
)
from bridge.lane import Lane
from bridge.lanes import SESSION_NONCE_BYTES, AlreadyLentError, Lanes
from bridge.ports import heard_facts
from bridge.probe import Probes
from bridge.registry import NotKnownError, Pairing, Registry, Snapshot
from bridge.tracing import Tracing
from drivers.asking import Setting, ask, settings_for
from drivers.line.usb_port import PREFIX

PICTURE_WAIT_S: Final = 45.0
"""Shorter than a command's patience at the socket."""


def tried_facts(tried: Tried) -> dict[str, Any]:
    """What became of one test, in JSON; picture: the panel as a PNG file, in base64."""
    picture = None if tried.picture is None else base64.b64encode(tried.picture).decode()
    return {**tried.facts(), "picture": picture}


def terminal_at(snapshot: Snapshot, key: str) -> Pairing | None:
    """The terminal that `key` names by its id, or by the port that it is registered on."""
    for one in snapshot.pairings:
        if not one.retired and key in (
            one.terminal_id,
            f"{one.terminal_id}/{one.serial_number}",
            one.port,
        ):
            return one
    return None


def asked_on(port: str, snapshot: Snapshot) -> dict[str, Any]:
    """Asks on a port that nobody has; see `heard_facts`."""
    known = terminal_at(snapshot, port)
    first = None if known is None else Setting(known.dialect, known.baud)
    return heard_facts(ask(port, settings_for(first, usb=port.startswith(PREFIX))))


class Technician:
    """The daemon's side. Any thread may call any method, but the loop's own.

    `has_sale(terminal_id)`: whether it has a sale open.
    """

    def __init__(
        self,
        lanes: Lanes,
        registry: Registry,
        tracing: Tracing,
        probes: Probes,
        has_sale: Callable[[str], bool],
    ) -> None:
        self._lanes = lanes
        self._registry = registry
        self._tracing = tracing
        self._probes = probes
        self._has_sale = has_sale

    def trace(self, key: str) -> Iterator[Mapping[str, Any]]:
        """See `Tracing.watch`."""
        return self._tracing.watch(key)

    def probe(self) -> dict[str, str]:
        """See `Probes.begin`."""
        return self._probes.begin()

    def ask_port(self, port: str) -> dict[str, Any]:
        """Who answers on a silent port of ours, in whatever setting; see `heard_facts`."""
        at = self._lanes.by_port.get(port)
        if at is not None:
            if at.lane.hello is not None:
                raise CommandError(
                    1, f"{port}: its terminal is heard", "see: partpay-bridge status"
                )
            try:
                with self._lanes.let_go(port):
                    return asked_on(port, self._registry.snapshot)
            except AlreadyLentError as error:
                raise CommandError(1, str(error), "try again when that is over") from None
        raise CommandError(1, f"the bridge does not have port {port}", "see: partpay-bridge ports")

    def test_display(self, key: str, clear: bool) -> list[dict[str, Any]]:
        """A test picture on the panel of that terminal or port, and on the display beside it."""
        known = terminal_at(self._registry.snapshot, key)
        at = self._lanes.by_port.get(key)
        if at is None:
            at = next((one for one in self._lanes.by_port.values() if _is(one.lane, key)), None)
        if at is None and known is not None:
            at = self._lanes.by_port.get(known.port)
        if at is None and known is None:
            raise NotKnownError(f"no terminal and no port is known by {key}", "see: terminals list")
        told = []
        if at is not None:
            if clear:
                clear_lane(at)
                told.append(tried_facts(Tried(at.name, None, "cleared")))
            else:
                tried = on_lane(at, busy=self._has_sale, wait_s=PICTURE_WAIT_S)
                told.append(tried_facts(tried))
        if known is not None and known.display is not None:
            beside = clear_display if clear else on_display
            if self._has_sale(known.terminal_id):
                busy = Tried(known.display, False, "left alone: the terminal has a sale open")
                told.append(tried_facts(busy))
            else:
                told.append(tried_facts(beside(known.display)))
        if not told:
            raise CommandError(
                1,
                f"{key} is not there: no line that it could be on is open",
                "partpay-bridge status says why; partpay-bridge ports shows what is plugged in",
            )
        return told


def _is(lane: Lane, terminal_id: str) -> bool:
    return lane.hello is not None and lane.hello.terminal_id == terminal_id


class TechnicianAlone:
    """The same without a daemon, for a command that holds the state lock."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry

    def trace(self, key: str) -> Iterator[Mapping[str, Any]]:
        """Nothing goes over a line that nobody speaks on."""
        raise CommandError(
            1,
            f"no daemon runs, so nothing goes over the line of {key}",
            "systemctl start partpay-bridge; or ask once: partpay-bridge ports --ask",
        )

    def probe(self) -> dict[str, str]:
        raise CommandError(1, "no daemon listens", "systemctl start partpay-bridge")

    def ask_port(self, port: str) -> dict[str, Any]:
        """See `asked_on`."""
        return asked_on(port, self._registry.snapshot)

    def test_display(self, key: str, clear: bool) -> list[dict[str, Any]]:
        """As the daemon does it, on lines of this command's own."""
        from bridge.alone import welcome  # noqa: PLC0415 - the whole daemon
        from bridge.daemon import open_journal  # noqa: PLC0415

        snapshot = self._registry.snapshot
        known = terminal_at(snapshot, key)
        if known is None:
            raise NotKnownError(f"no terminal is known by {key}", "see: terminals list")
        told = []
        # What a panel shows goes with its line: there is nothing to take away.
        if not clear:
            zone = self._settings.bridge.zone
            with closing(open_journal(self._settings)) as journal:
                tried = on_line(
                    known.port,
                    lambda hello: welcome(hello, snapshot, journal, datetime.now(zone)),
                    dialect=known.dialect,
                    baud=known.baud,
                    profile=known.profile,
                    keys_of=snapshot.keys_of,
                    fresh_nonce=lambda: secrets.token_bytes(SESSION_NONCE_BYTES),
                )
            told.append(tried_facts(tried))
        if known.display is not None:
            told.append(tried_facts((clear_display if clear else on_display)(known.display)))
        return told
