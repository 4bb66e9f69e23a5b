"""A shop of real processes: PartPay's sandbox and the daemon, with a terminal on a pseudo-terminal between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from drivers.display.geometry import Panel
from tools.daemon_process import CALLBACK_KEY, BridgeFolder, DaemonProcess, Terminal
from tools.free_port import free_port
from tools.sandbox.client import SandboxClient, started
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

WAIT_S = 20.0
PANEL = Panel(240, 320)
FORMATS = bytes.fromhex("1083810301")


@dataclass
class Shop:
    """`terminal` is the first one. `port`: the listener's."""

    folder: BridgeFolder
    sandbox: SandboxClient
    daemon: DaemonProcess
    terminal: TerminalOnPty
    port: int
    terminals: list[TerminalOnPty] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(self.url(path), timeout=5, **more)

    def code(self, terminal: TerminalOnPty | None = None) -> tuple[int, dict[str, Any]]:
        """Waits until a code is on the panel: its counter, and the order that it names, which must be PartPay's."""
        image = (terminal or self.terminal).wait_for("image", WAIT_S)
        order_id = image["code"].rsplit("/", 1)[1]
        return image["counter"], self.sandbox.order(order_id)

    def outcome(self, counter: int, terminal: TerminalOnPty | None = None) -> str:
        event = (terminal or self.terminal).wait_for(
            "received", WAIT_S, message="OUTCOME", counter=counter
        )
        return str(event["response_code"])

    def sell(self, amount_minor: int = 12500) -> None:
        """A whole approved sale: what every fault must leave possible."""
        counter = self.terminal.sale(amount_minor)
        shown, order = self.code()
        assert shown == counter
        self.sandbox.approve(order["order_id"])
        assert self.outcome(counter) == "00"
        self.terminal.wait_for("closed", WAIT_S, counter=counter, ending="approved")

    def tender(self, counter: int) -> dict[str, Any]:
        """What the daemon's own command says of it."""
        shown: dict[str, Any] = self.folder.json("tenders", "show", str(counter))
        return shown

    def settled(self) -> dict[str, Any]:
        """PartPay's own books, in sums."""
        return dict(self.sandbox.books()["all"])


MakeShop = Callable[..., Shop]


@pytest.fixture
def make_shop(tmp_path: Path) -> Iterator[MakeShop]:
    with ExitStack() as stack:

        def make(
            *,
            dialect: str = "native",
            panel: Panel = PANEL,
            formats: bytes = FORMATS,
            callbacks: bool = True,
            sandbox_options: tuple[str, ...] = (),
            terminals: int = 1,
            more: tuple[str, ...] = (),
            start: bool = True,
            **sections: dict[str, Any],
        ) -> Shop:
            key = tmp_path / "sandbox-key"
            key.touch(mode=0o600)
            key.write_text(CALLBACK_KEY + "\n")
            sandbox = stack.enter_context(
                started("--callback-key-file", str(key), *sandbox_options)
            )
            port = free_port()
            folder = BridgeFolder(
                tmp_path / "bridge",
                sandbox.url,
                listener=f"127.0.0.1:{port}",
                callback_url=f"http://127.0.0.1:{port}/partpay-callback" if callbacks else None,
                sections=sections,
            )
            folder.write()
            lines = [str(tmp_path / f"line{n}") for n in range(terminals)]
            folder.register(
                {"1001": "Kōwhai Books"},
                [
                    Terminal(f"T{n + 1:07d}", f"SN{n + 1}", line, dialect, more=more)
                    for n, line in enumerate(lines)
                ],
            )
            daemon = DaemonProcess(folder)
            stack.push(daemon.__exit__)
            if start:
                daemon.start()
            ends = [
                stack.enter_context(
                    TerminalOnPty(
                        line,
                        Device(
                            terminal_id=f"T{n + 1:07d}",
                            serial_number=f"SN{n + 1}",
                            panel=panel,
                            formats=formats,
                        ),
                        dialect=dialect,
                    )
                )
                for n, line in enumerate(lines)
            ]
            shop = Shop(folder, sandbox, daemon, ends[0], port, ends)
            if start:
                for end in ends:
                    end.wait_for("ready", WAIT_S, paired=True)
            return shop

        yield make


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    return make_shop()
