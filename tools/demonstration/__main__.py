"""The main job, end to end, in three real processes: PartPay's sandbox, the daemon, a payment terminal.

Each sale is one that the terminal itself reports: the QR code is read from the panel's pixels, the outcome is the
frame that came over the line. Exit status 0 only where all three sales ended as they must.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers.line.loop import boottime
from tools.daemon_process import CALLBACK_KEY, BridgeFolder, DaemonProcess, Terminal
from tools.free_port import free_port
from tools.sandbox.client import SandboxClient, started
from tools.terminal.driver import TerminalProcess
from tools.terminal.events import Event

TERMINAL_ID: Final = "T0000001"
SERIAL: Final = "SN123456"
MERCHANT: Final = {"1001": "Kōwhai Books"}
WAIT_S: Final = 20.0
TAP: Final = "the customer's tap to OUTCOME on the line"
IMAGE: Final = "TENDER to first byte of the image, less PartPay's own time"


@dataclass(frozen=True, slots=True)
class Sale:
    """What is sold, what the customer does, and the response code that must come of it."""

    title: str
    amount_minor: int
    customer: str
    code: str


SALES: Final = (
    Sale("a sale that the customer approves", 12500, "approve", "00"),
    Sale("a sale that the customer declines", 4900, "decline", "05"),
    Sale("a sale that the cashier cancels", 8000, "cancel", "17"),
)


class WentWrong(Exception):  # noqa: N818 - what the demo found
    """A sale did not end as it must."""


@dataclass(slots=True)
class Shop:
    """The three processes."""

    sandbox: SandboxClient
    daemon: DaemonProcess
    terminal: TerminalProcess
    metrics_url: str


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__)
    parser.add_argument(
        "--interactive", action="store_true", help="leave it running for a person with a browser"
    )
    parser.add_argument("--dialect", choices=("native", "classic"), default="native")
    parser.add_argument(
        "--panel", default="240x320", help="pixels of the terminal's panel (240x320)"
    )
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="partpay-demo-") as folder,
        contextlib.ExitStack() as stack,
    ):
        try:
            shop = _open(Path(folder), options, stack)
            if options.interactive:
                return _interactive(shop, Path(folder))
            took = [_sell(shop, sale) for sale in SALES]
            _summary(shop, took)
            status, seconds = shop.daemon.stop()
            print(f"SIGTERM: exit status {status} after {seconds * 1000:.0f} ms")
        except (WentWrong, TimeoutError) as error:
            print(f"\ntools/demo: {error}", file=sys.stderr)
            return 1
    return 0 if status == 0 else 1


def _open(folder: Path, options: argparse.Namespace, stack: contextlib.ExitStack) -> Shop:
    key = folder / "sandbox-callback-key"
    key.touch(mode=0o600)
    key.write_text(CALLBACK_KEY + "\n")
    sandbox = stack.enter_context(started("--callback-key-file", str(key)))
    print(f"PartPay sandbox   {sandbox.url}")
    port = free_port()
    bridge = BridgeFolder(
        folder / "bridge",
        sandbox.url,
        listener=f"127.0.0.1:{port}",
        callback_url=f"http://127.0.0.1:{port}/partpay-callback",
    )
    bridge.write()
    line = folder / "terminal"
    bridge.register(MERCHANT, [Terminal(TERMINAL_ID, SERIAL, str(line), options.dialect)])
    daemon = DaemonProcess(bridge)
    stack.enter_context(contextlib.ExitStack()).push(daemon.__exit__)
    ready_s = daemon.start()
    print(f"daemon            ready after {ready_s * 1000:.0f} ms, listening on 127.0.0.1:{port}")
    terminal = stack.enter_context(
        TerminalProcess(
            [
                "--pty", str(line), "--terminal-id", TERMINAL_ID, "--serial", SERIAL,
                "--dialect", options.dialect, "--panel", options.panel,
            ]
        )
    )  # fmt: skip
    terminal.wait_for("ready", WAIT_S, paired=True)
    print(
        f"terminal          {TERMINAL_ID}, {options.dialect}, panel {options.panel}, on a pseudo-terminal"
    )
    return Shop(sandbox, daemon, terminal, f"http://127.0.0.1:{port}/metrics")


def _sell(shop: Shop, sale: Sale) -> dict[str, float]:
    print(f"\n-- {sale.title}: {sale.amount_minor // 100}.{sale.amount_minor % 100:02d} NZD")
    terminal = shop.terminal
    counter = terminal.sale(sale.amount_minor)
    asked = terminal.wait_for("sent", WAIT_S, message="TENDER", counter=counter)
    accepted = terminal.wait_for("received", WAIT_S, message="ACCEPTED", counter=counter)
    first = terminal.wait_for("received", WAIT_S, message="IMAGE_OPEN", counter=counter)
    image = terminal.wait_for("image", WAIT_S, counter=counter)
    for row in image["panel"]:
        print("   ", row)
    order = shop.sandbox.wait_for_order(gateway_reference=_reference(shop, counter))
    if image["code"] is None or order["order_id"] not in image["code"]:
        raise WentWrong(f"the panel says {image['code']!r}, which is not order {order['order_id']}")
    print(f"    the panel says  {image['code']}")
    partpay_ms = sum(
        c["took_ms"] or 0.0 for c in shop.sandbox.calls(call="create", order_id=order["order_id"])
    )
    acted = _customer(shop, sale, order["order_id"])
    outcome = terminal.wait_for("received", WAIT_S, message="OUTCOME", counter=counter)
    closed = terminal.wait_for("closed", WAIT_S, counter=counter)
    if outcome["response_code"] != sale.code:
        raise WentWrong(f"the terminal was told {outcome['response_code']}, not {sale.code}")
    print(
        f"    the terminal is told  {outcome['response_code']} {outcome['text']!r}: {closed['ending']}"
    )
    steps = {
        "TENDER to ACCEPTED": accepted.at_ms - asked.at_ms,
        IMAGE: first.at_ms - asked.at_ms - partpay_ms,
        "PartPay's own time for create": partpay_ms,
        "first byte of the image to the code on the panel": image.at_ms - first.at_ms,
    }
    if acted is not None:
        steps[TAP] = outcome.at_ms - acted
    else:
        steps["CANCEL to OUTCOME"] = outcome.at_ms - _sent(terminal, "CANCEL").at_ms
    print("    " + "; ".join(f"{name} {ms:.1f} ms" for name, ms in steps.items()))
    return steps


def _sent(terminal: TerminalProcess, message: str) -> Event:
    return next(
        e for e in reversed(terminal.events) if e.kind == "sent" and e["message"] == message
    )


def _reference(shop: Shop, counter: int) -> str:
    line = shop.daemon.wait_for_log("event=ordered")
    found = re.search(rf"reference=(\S+-{counter}-\S+)", line)
    if found is None:
        raise WentWrong(f"the daemon ordered for another counter than {counter}: {line}")
    return found.group(1)


def _customer(shop: Shop, sale: Sale, order_id: str) -> float | None:
    """What the customer does at PartPay, or the cashier at the till; when the customer tapped, in ms."""
    if sale.customer == "cancel":
        shop.terminal.cancel()
        return None
    tapped_ms = boottime() * 1000
    getattr(shop.sandbox, sale.customer)(order_id)
    return tapped_ms


def _summary(shop: Shop, took: list[dict[str, float]]) -> None:
    image = sorted(t[IMAGE] for t in took)[1]
    outcomes = [t[TAP] for t in took if TAP in t]
    with urllib.request.urlopen(shop.metrics_url, timeout=5) as page:
        counted = re.findall(
            r'partpay_bridge_outcomes_total\{code="(\d\d)"\} (\S+)', page.read().decode()
        )
    print("\n-- in all")
    print(f"    outcomes told     {', '.join(f'{code}: {float(n):.0f}' for code, n in counted)}")
    print(
        f"    image             {image:.1f} ms after TENDER at the median, less PartPay's own time"
    )
    print(f"    outcome           {max(outcomes):.1f} ms after the customer's tap, at the most")
    print(f"    daemon's memory   {shop.daemon.memory_mib:.1f} MiB")


def _interactive(shop: Shop, folder: Path) -> int:
    print(f"\nOpen {shop.sandbox.url} in a browser: there you are the customer.")
    print(
        "Commands here: sale AMOUNT [REFERENCE], cancel, query, refund COUNTER AMOUNT, unplug, plug,"
    )
    print(
        "power off, power on, quit.  In another shell:\n"
        f"  .venv/bin/partpay-bridge --config {folder / 'bridge' / 'bridge.toml'} status\n"
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    shown = len(shop.terminal.events)
    for line in sys.stdin:
        if line.strip() in ("quit", "exit"):
            break
        if line.strip():
            shop.terminal.command(line.strip())
        shown = _tell(shop.terminal.events, shown)
    return 0


def _tell(events: list[Event], shown: int) -> int:
    for event in events[shown:]:
        if event.kind == "image":
            print("\n".join(event["panel"]))
        elif event.kind in ("text", "closed", "person", "ready", "cable"):
            print({"event": event.kind, **event.fields})
    return len(events)


if __name__ == "__main__":
    sys.exit(main())
