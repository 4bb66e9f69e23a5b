"""A shop with a daemon that dies where it is told, and is started again; many such shops beside one PartPay.

- PartPay's sandbox is one process for all shops; each shop has a merchant's terminal of its own there, a folder, a
  daemon, and a terminal in this process that lives on while the daemon is dead.
- The registry is filled directly: a shop costs two starts of the daemon, and no command.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bridge.crash_points import RECORD, VARIABLE
from bridge.registry import Merchant, Pairing, Registry, Who
from drivers.display.geometry import Panel
from drivers.link.dialect import DIALECTS
from tools.daemon_process import CALLBACK_KEY, BridgeFolder, DaemonProcess, NotLogged
from tools.free_port import free_port
from tools.sandbox.client import SandboxClient, started
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

WAIT_S: Final = 30.0
MERCHANT: Final = "1001"
SERIAL: Final = "SN1"
LOOK_AGAIN_S: Final = 0.02
LAST_DEATH_S: Final = 1.0
TIMING: Final = {"poll_first": 1, "poll_interval": 1, "cancel_timeout": 2, "create_timeout": 15}
"""Short, so that a way takes seconds; not so short that a restart uses them up."""


class NotSo(AssertionError):  # noqa: N818 - what was expected, and what was there instead
    """Something is not as it must be."""


def until(is_so: Callable[[], bool], what: str, *, within_s: float = WAIT_S) -> None:
    """Waits until it is so. Raises NotSo, with `what`, where it does not become so in time."""
    pause = threading.Event()
    for _ in range(int(within_s / LOOK_AGAIN_S)):
        if is_so():
            return
        pause.wait(LOOK_AGAIN_S)
    raise NotSo(f"not within {within_s:.0f} s: {what}")


class Shop:
    """`lives`: the daemon's lives so far, the last one is running. `deaths`: places at which they end, in order."""

    def __init__(
        self, folder: BridgeFolder, sandbox: SandboxClient, terminal_id: str, deaths: Sequence[str]
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.terminal_id = terminal_id
        self.lives: list[DaemonProcess] = []
        self.terminal: TerminalOnPty
        self._deaths = list(deaths)
        self._planned = sum(not death.startswith(RECORD) for death in deaths)
        self._closing = threading.Event()
        self._reviver = threading.Thread(target=self._revive, name=terminal_id, daemon=True)
        self.died: list[str] = []
        self.failed: Exception | None = None

    @property
    def journal(self) -> Path:
        return self.folder.state_dir / "journal.db"

    @property
    def log(self) -> str:
        return "".join(life.log for life in self.lives)

    def open(self, port: str) -> None:
        """The daemon's first life, and the terminal on its cable."""
        self._reviver.start()
        self.terminal = TerminalOnPty(
            port, Device(terminal_id=self.terminal_id, serial_number=SERIAL, panel=Panel(128, 64))
        )

    def _revive(self) -> None:
        try:
            while not self._closing.is_set():
                deadly = self._deaths[len(self.died)] if len(self.died) < len(self._deaths) else ""
                life = DaemonProcess(self.folder, environment={VARIABLE: deadly})
                self.lives.append(life)
                try:
                    life.start()
                except NotLogged:
                    if life.wait() != -signal.SIGKILL:
                        raise
                status = self._end_of(life)
                if status == -signal.SIGKILL:
                    self.died.append(deadly)
                elif not self._closing.is_set():
                    raise NotSo(f"the daemon ended by itself, status {status}:\n{life.log}")
        except Exception as error:  # noqa: BLE001 - told to whoever waits for this shop
            self.failed = error

    def _end_of(self, life: DaemonProcess) -> int | None:
        """The status with which it ended; None: the shop is closed."""
        while not self._closing.is_set():
            try:
                return life.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        return None

    def close(self) -> None:
        """Ends the daemon's last life and the terminal."""
        self._closing.set()
        self._reviver.join(WAIT_S)
        if self.lives:
            self.lives[-1].__exit__(None, None, None)
        self.terminal.close()

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """See `until`; at once where the daemon has failed."""

        def looked() -> bool:
            if self.failed is not None:
                raise self.failed
            return is_so()

        try:
            until(looked, what)
        except NotSo as fault:
            events = "\n".join(event.json() for event in self.terminal.events[-15:])
            raise NotSo(f"{fault}\n{events}\n{self.log[-6000:]}") from None

    def wait_for_deaths(self) -> None:
        """Until the daemon has died as often as it was told, and lives again; not for long."""
        with contextlib.suppress(NotSo):
            until(lambda: len(self.died) >= self._planned, "the deaths", within_s=LAST_DEATH_S)
        self.until(lambda: "event=ready" in self.lives[-1].log, "the daemon is ready again")

    def received(self, message: str, **wanted: Any) -> list[Any]:
        """What the terminal has heard of this message with these fields."""
        wanted = {"message": message, **wanted}
        return [one for one in self.terminal.events if one.matches("received", wanted)]

    def happened(self, kind: str, **wanted: Any) -> bool:
        return any(event.matches(kind, wanted) for event in self.terminal.events)

    def orders(self) -> list[dict[str, Any]]:
        """PartPay's orders of this shop's terminal."""
        return self.sandbox.orders(terminal_id=self.terminal_id)


class Street:
    """Shops beside one PartPay; `shop` may be called from several threads."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._numbers = itertools.count(1)

    @contextmanager
    def shop(self, deaths: Sequence[str]) -> Iterator[Shop]:
        number = next(self._numbers)
        terminal_id = f"T{number:07}"
        place = self._folder / terminal_id
        port = free_port()
        folder = BridgeFolder(
            place,
            self._url,
            listener=f"127.0.0.1:{port}",
            callback_url=f"http://127.0.0.1:{port}/partpay-callback",
            sections={"timing": TIMING},
        )
        folder.write()
        folder.state_dir.mkdir(mode=0o700)
        line = str(place / "line")
        who = Who("tools/crash-points", 0)
        with Registry(
            folder.state_dir / "registry.db", "custom", dialects=tuple(DIALECTS)
        ) as registry:
            registry.add_merchant(Merchant(MERCHANT, "Kōwhai Books"), who)
            registry.add_terminal(Pairing(0, terminal_id, SERIAL, line, merchants=(MERCHANT,)), who)
        with SandboxClient(self._url) as sandbox:
            shop = Shop(folder, sandbox, terminal_id, deaths)
            shop.open(line)
            try:
                yield shop
            finally:
                shop.close()


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    """PartPay, and room for shops."""
    key = folder / "sandbox-key"
    key.touch(mode=0o600)
    key.write_text(CALLBACK_KEY + "\n")
    with started("--callback-key-file", str(key)) as sandbox:
        yield Street(folder, sandbox.url)
