"""Whom the doctor looks at: this machine, its configuration, and the daemon where one runs."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bridge.config import Problem, Settings
from bridge.control import Request
from bridge.ports import World
from bridge.registry import Merchant


@dataclass(frozen=True, slots=True)
class Service:
    """The service's files as this release has them, by where they belong; and this program's path.

    `packaged`: where a distribution's package puts the unit; `program`: what its ExecStart should name.
    """

    unit: str
    unit_files: Sequence[Path]
    rules: str
    rules_files: Sequence[Path]
    program: Path


def _nothing_asked(request: Request) -> Any:
    raise LookupError(f"nobody answers {type(request).__name__}")


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything that was found out before the first check.

    `settings` None: the configuration cannot be used, for `problems`. `status`: as the daemon tells it, None: it does
    not run, or does not answer. `merchants`, `registry_trouble`: what is registered, or why that is not known.
    `seen_as_root`: other users' processes were seen. `ask`: asks the daemon. `locked`: keeps a daemon from
    starting meanwhile. `tls`: what certificates are trusted by. `root`: where /etc, /proc, /run and /sys are.
    """

    file: Path
    settings: Settings | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    world: World | None = None
    status: Mapping[str, Any] | None = None
    merchants: Sequence[Merchant] = ()
    registry_trouble: str | None = None
    service: Service | None = None
    version: str = ""
    root: Path = Path("/")
    daemons: Sequence[tuple[int, str]] = ()
    ask: Callable[[Request], Any] = _nothing_asked
    locked: Callable[[], AbstractContextManager[object]] | None = None
    tls: Callable[[], ssl.SSLContext] | None = None
    wall: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    say: Callable[[str], object] = field(default=lambda text: None)

    @property
    def running(self) -> bool:
        """A daemon runs and answers."""
        return self.status is not None

    def tls_context(self) -> ssl.SSLContext:
        if self.tls is not None:
            return self.tls()
        from bridge.partpay.transport import tls_context  # noqa: PLC0415 - requests and its TLS

        return tls_context()
