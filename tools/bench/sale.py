"""How long the bridge takes in a sale, measured from the terminal's end of the line, in real processes.

    .venv/bin/python -m tools.bench.sale [--sales N] [--dialect native|classic]

- image: TENDER left the terminal -> the first byte of the image came to it, less the time that PartPay's sandbox
  itself took for the create.
- outcome: the callback's first byte left for the listener -> OUTCOME came whole to the terminal, once with PartPay's
  status call in it (`confirm_callbacks = "prefer"`, less the time that the sandbox took for it) and once without.
- ready: start of the process -> `event=ready`; memory: VmRSS after all sales.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from drivers.display.geometry import Panel
from drivers.line.loop import boottime
from tools.daemon_process import CALLBACK_KEY, BridgeFolder, DaemonProcess, Terminal
from tools.free_port import free_port
from tools.sandbox.client import started
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

WAIT_S: Final = 20.0
AMOUNT_MINOR: Final = 12560
"""The sandbox's amount without a callback: the benchmark sends its own."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sales", type=int, default=50)
    parser.add_argument("--dialect", choices=("native", "classic"), default="native")
    options = parser.parse_args()
    for confirm in ("prefer", "off"):
        _bench(confirm, options.sales, options.dialect)
    return 0


def _bench(confirm: str, sales: int, dialect: str) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        sandbox = stack.enter_context(started())
        port = free_port()
        bridge = BridgeFolder(
            folder / "bridge",
            sandbox.url,
            listener=f"127.0.0.1:{port}",
            callback_url=f"http://127.0.0.1:{port}/partpay-callback",
            sections={"partpay": {"confirm_callbacks": confirm}},
        )
        bridge.write()
        line = str(folder / "line")
        bridge.register({"1001": "Bench"}, [Terminal("T0000001", "SN1", line, dialect)])
        daemon = DaemonProcess(bridge)
        stack.push(daemon.__exit__)
        ready_s = daemon.start()
        device = Device(
            terminal_id="T0000001", serial_number="SN1", panel=Panel(240, 320), formats=b"\x10"
        )
        terminal = stack.enter_context(TerminalOnPty(line, device, dialect=dialect))
        terminal.wait_for("ready", WAIT_S, paired=True)
        images, outcomes = [], []
        for _ in range(sales):
            counter = terminal.sale(AMOUNT_MINOR)
            asked = terminal.wait_for("sent", WAIT_S, message="TENDER", counter=counter)
            first = terminal.wait_for("received", WAIT_S, message="IMAGE_OPEN", counter=counter)
            image = terminal.wait_for("image", WAIT_S, counter=counter)
            order = sandbox.order(image["code"].rsplit("/", 1)[1])
            images.append(first.at_ms - asked.at_ms - _took_ms(sandbox, "create", order))
            sandbox.approve(order["order_id"])
            sent_ms = _callback(port, order)
            told = terminal.wait_for("received", WAIT_S, message="OUTCOME", counter=counter)
            outcomes.append(told.at_ms - sent_ms - _took_ms(sandbox, "status", order, sent_ms))
            terminal.wait_for("closed", WAIT_S, counter=counter)
        print(f"confirm_callbacks = {confirm!r}, {dialect}, {sales} sales")
        _tell("image  ", images)
        _tell("outcome", outcomes)
        print(f"  ready    {ready_s * 1000:.0f} ms      memory {daemon.memory_mib:.1f} MiB")


def _took_ms(sandbox: Any, call: str, order: dict[str, Any], _since_ms: float = 0.0) -> float:
    """What PartPay took for the last call of this kind about this order; none is nothing."""
    calls = sandbox.calls(call=call, order_id=order["order_id"])
    return float(calls[-1]["took_ms"] or 0.0) if calls else 0.0


def _callback(port: int, order: dict[str, Any]) -> float:
    """Sends the signed callback as PartPay does; when it left, in milliseconds of boot time."""
    body = urlencode(
        [
            ("orderId", order["order_id"]),
            ("orderNumber", order["order_number"]),
            ("orderStatus", "approved"),
            ("gatewayReference", order["gateway_reference"]),
            ("merchantReference", order["merchant_reference"]),
        ]
    )
    signature = hmac.new(CALLBACK_KEY.encode(), body.encode(), hashlib.sha256).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    sent_ms = boottime() * 1000
    connection.request(
        "POST",
        "/partpay-callback",
        f"{body}&signature={signature}",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    status = connection.getresponse().status
    connection.close()
    assert status == 200, status
    return sent_ms


def _tell(what: str, values: list[float]) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    print(
        f"  {what}  median {statistics.median(values):5.1f} ms   p99 {p99:5.1f} ms   best {ordered[0]:5.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
