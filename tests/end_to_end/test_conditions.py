"""What is wrong shows: in `status`, at `/healthz`, and ends by itself."""

from __future__ import annotations

import time
from typing import Any

import requests

from bridge.daemon import ROUND_EVERY_S
from bridge.watch import FORGED_MIN
from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

assert ROUND_EVERY_S <= WAIT_S


def until(shop: Shop, code: str, *, there: bool = True) -> dict[str, Any]:
    """Waits until the condition shows in `/healthz` (or no longer does); what `status` says of it."""

    def found(told: dict[str, Any]) -> dict[str, Any] | None:
        return next((one for one in told["conditions"] if one["code"] == code), None)

    ends = time.monotonic() + 2 * WAIT_S
    while (found(shop.get("/healthz").json()) is not None) is not there:
        assert time.monotonic() < ends, shop.daemon.log
        time.sleep(0.05)
    return found(shop.folder.json("status")) or {}


def test_a_refused_token_and_a_new_secret(make_shop: MakeShop) -> None:
    shop = make_shop(start=False)
    secret = shop.folder.path / "client-secret"
    secret.write_text("another\n")
    shop.daemon.start()
    shop.terminal.wait_for("ready", WAIT_S, paired=True)
    told = until(shop, "token-refused")
    assert told["subject"] == "sandbox-service"
    assert "answered" in told["text"]
    counter = shop.terminal.sale(12500)
    secret.write_text(shop.folder.client_secret + "\n")
    until(shop, "token-refused", there=False)
    shown, order = shop.code()
    assert shown == counter
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"


def test_a_merchant_that_is_not_allowed(shop: Shop) -> None:
    shop.sandbox.put_fault("create", "answer", times=0, status=403)
    shop.terminal.sale(12500)
    assert until(shop, "merchant-refused")["subject"] == "1001"
    shop.sandbox.clear_faults()
    shop.terminal.wait_for("closed", WAIT_S)
    shop.sell()
    until(shop, "merchant-refused", there=False)


def test_a_terminal_that_is_not_paired(make_shop: MakeShop) -> None:
    shop = make_shop()
    line = shop.terminal.port
    shop.terminal.close()
    other = Device(terminal_id="T0000001", serial_number="SNX")
    with TerminalOnPty(line, other) as stranger:
        stranger.wait_for("ready", WAIT_S, paired=False)
        told = until(shop, "terminal-not-paired")
        assert "T0000001, serial number SNX," in told["text"]
        shop.folder.command(
            "terminals", "add", "--terminal-id", "T0000001", "--serial", "SNX",
            "--port", line, "--dialect", "native", "--merchant", "1001",
        )  # fmt: skip
        until(shop, "terminal-not-paired", there=False)


def test_attention_until_it_is_acknowledged(shop: Shop) -> None:
    shop.terminal.sale(12500)
    _, order = shop.code()
    names = ("orderId", "orderNumber", "orderStatus", "gatewayReference", "merchantReference")
    values = ("no-order-of-ours", "1", "approved", "AKL01-none", "none")
    shop.sandbox.send_callback(order["order_id"], fields=list(zip(names, values, strict=True)))
    told = until(shop, "attention")
    assert told["text"].startswith("1 sales need a person")
    shop.folder.command("tenders", "acknowledge", "--all")
    until(shop, "attention", there=False)


def test_forged_callbacks(shop: Shop) -> None:
    body = b"orderId=1&orderStatus=approved&signature=" + b"0" * 64
    for _ in range(FORGED_MIN):
        answer = requests.post(shop.url("/partpay-callback"), body, timeout=5)
        assert answer.status_code == 401
    until(shop, "callbacks-refused")
    shop.sell()
    until(shop, "callbacks-refused", there=False)
