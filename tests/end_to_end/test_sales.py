"""Whole sales in real processes, over a pseudo-terminal and real HTTP."""

import os
import random
import re
import signal
import socket
import threading

import pytest
import requests

from drivers.display.geometry import Panel
from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tools.daemon_process import DaemonProcess, NotLogged


@pytest.mark.parametrize("dialect", ["native", "classic"])
@pytest.mark.parametrize(("customer", "code"), [("approve", "00"), ("decline", "05")])
def test_a_sale(make_shop: MakeShop, dialect: str, customer: str, code: str) -> None:
    shop = make_shop(dialect=dialect)
    counter = shop.terminal.sale(12500, reference="INV-7")
    shown, order = shop.code()
    assert shown == counter
    assert order["amount_minor"] == 12500
    assert re.fullmatch(rf"AKL01-T0000001-{counter}-1-[0-9a-f]{{8}}", order["gateway_reference"])
    assert re.fullmatch(r"INV-7-[0-9a-f]{8}", order["merchant_reference"])
    getattr(shop.sandbox, customer)(order["order_id"])
    assert shop.outcome(counter) == code
    shop.terminal.wait_for("closed", WAIT_S, counter=counter)
    shop.daemon.wait_for_log("event=stored")
    assert shop.tender(counter)["stored"] is True
    assert shop.settled()["kept_minor"] == (12500 if code == "00" else 0)


def test_a_cancelled_sale_and_a_refund(shop: Shop) -> None:
    counter = shop.terminal.sale(8000)
    _, order = shop.code()
    shop.terminal.cancel()
    assert shop.outcome(counter) == "17"
    assert shop.sandbox.order(order["order_id"])["status"] == "cancelled"
    shop.sell(12500)
    sold = shop.tender(counter + 1)
    refund = shop.terminal.refund(counter + 1, 2500)
    assert shop.outcome(refund) == "00"
    assert shop.sandbox.order(sold["order_id"])["kept_minor"] == 10000


@pytest.mark.parametrize(
    ("panel", "formats"),
    [(Panel(128, 64), "03"), (Panel(160, 160), "81"), (Panel(320, 240), "90")],
)
def test_other_panels_and_formats(make_shop: MakeShop, panel: Panel, formats: str) -> None:
    shop = make_shop(panel=panel, formats=bytes.fromhex(formats))
    shop.sell()


def test_no_callback_at_all(make_shop: MakeShop) -> None:
    make_shop(callbacks=False).sell()


def test_the_cable_pulled_in_the_middle_of_an_image(make_shop: MakeShop) -> None:
    shop = make_shop(panel=Panel(320, 240), formats=b"\x01")
    counter = shop.terminal.sale(12500)
    shop.terminal.wait_for("received", WAIT_S, message="IMAGE_DATA")
    shop.terminal.unplug()
    shop.daemon.wait_for_log("unplugged")
    shop.terminal.plug()
    shown, order = shop.code()
    assert shown == counter
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"


def test_killed_after_accepted(shop: Shop) -> None:
    shop.sandbox.put_fault("create", "held")
    counter = shop.terminal.sale(12500)
    shop.terminal.wait_for("received", WAIT_S, message="ACCEPTED", counter=counter)
    shop.sandbox.wait_for_calls(1, call="create")
    shop.daemon.kill()
    shop.sandbox.release()
    shop.daemon.start()
    shown, order = shop.code()
    assert shown == counter
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"
    live = [o for o in shop.sandbox.orders() if o["status"] in ("pending", "approved")]
    assert len(live) == 1


def test_killed_after_the_callbacks_200(shop: Shop) -> None:
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    shop.terminal.unplug()
    shop.daemon.wait_for_log("unplugged")
    shop.sandbox.approve(order["order_id"])
    assert shop.sandbox.wait_for_callbacks(order["order_id"])[0]["http_status"] == 200
    shop.daemon.kill()
    shop.daemon.start()
    shop.terminal.plug()
    assert shop.outcome(counter) == "00"


def test_a_callback_before_the_answer_to_create(shop: Shop) -> None:
    shop.sandbox.put_fault("create", "slow")
    counter = shop.terminal.sale(12500)
    order = shop.sandbox.wait_for_order()
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"


def test_a_create_whose_answer_is_lost(shop: Shop) -> None:
    shop.sandbox.put_fault("create", "answer-lost")
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"
    assert shop.settled()["paid_minor"] == 12500


def test_sigterm_ends_it_in_time_and_ready_comes_quickly(shop: Shop) -> None:
    counter = shop.terminal.sale(12500)
    shop.code()
    status, seconds = shop.daemon.stop()
    assert status == 0
    assert seconds < 2.0
    assert shop.daemon.start() < 3.0
    assert shop.tender(counter)["state"] == "ordered"


def test_a_second_daemon_says_so_and_ends(shop: Shop) -> None:
    second = DaemonProcess(shop.folder)
    with pytest.raises(NotLogged, match="in use by"):
        second.start()
    assert second.wait() == 1
    shop.sell()


def test_several_terminals_at_once(make_shop: MakeShop) -> None:
    shop = make_shop(terminals=3)
    counters = [t.sale(1000 + n) for n, t in enumerate(shop.terminals)]
    for n, terminal in enumerate(shop.terminals):
        _, order = shop.code(terminal)
        assert order["amount_minor"] == 1000 + n
        shop.sandbox.approve(order["order_id"])
    for counter, terminal in zip(counters, shop.terminals, strict=True):
        assert shop.outcome(counter, terminal) == "00"


def test_garbage_on_the_line(shop: Shop) -> None:
    noise = random.Random(7)
    for _ in range(20):
        shop.terminal.write_raw(noise.randbytes(500))
    shop.sell()
    assert "Traceback" not in shop.daemon.log


def test_a_huge_callback_and_one_with_a_field_twice(shop: Shop) -> None:
    url = shop.url("/partpay-callback")
    assert requests.post(url, data=b"x" * 5_000_000, timeout=10).status_code == 413
    assert requests.get(url, timeout=5).status_code == 405
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    fields = [
        ["orderId", order["order_id"]],
        ["orderNumber", order["order_number"]],
        ["orderStatus", "declined"],
        ["orderStatus", "approved"],
        ["gatewayReference", order["gateway_reference"]],
        ["merchantReference", order["merchant_reference"]],
    ]
    assert shop.sandbox.send_callback(order["order_id"], fields=fields)["http_status"] == 400
    assert (
        shop.sandbox.send_callback(order["order_id"], status="approved", forged=True)["http_status"]
        == 401
    )
    assert shop.tender(counter)["code"] is None
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"


def test_a_picture_that_is_no_code(shop: Shop) -> None:
    counter = shop.terminal.sale(12514)
    assert shop.outcome(counter) == "96"
    shop.terminal.wait_for("closed", WAIT_S, counter=counter)
    shop.sell()


def test_a_token_endpoint_that_answers_html(make_shop: MakeShop) -> None:
    shop = make_shop(timing={"create_timeout": 3})
    shop.sandbox.revoke_tokens()
    shop.sandbox.put_fault("token", "html", times=0)
    counter = shop.terminal.sale(12500)
    assert shop.outcome(counter) == "91"
    assert shop.tender(counter)["reversal"] == "none"
    shop.sandbox.clear_faults()
    shop.sell()


def test_health_and_metrics(shop: Shop) -> None:
    shop.sell()
    health = shop.get("/healthz")
    assert health.status_code == 200
    assert health.json()["status"] == "ok"
    assert 'partpay_bridge_outcomes_total{code="00"} 1.0' in shop.get("/metrics").text
    assert shop.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 404


def test_slow_clients_do_not_hold_up_a_sale(shop: Shop) -> None:
    slow = [socket.create_connection(("127.0.0.1", shop.port)) for _ in range(30)]
    for one in slow:
        one.sendall(
            b"POST /partpay-callback HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\norder"
        )
    shop.sell()
    for one in slow:
        one.close()


def test_sigkill_at_any_time_leaves_one_order_paid_once(shop: Shop) -> None:
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    approving = threading.Thread(target=shop.sandbox.approve, args=(order["order_id"],))
    approving.start()
    os.kill(shop.daemon.pid, signal.SIGKILL)
    approving.join()
    shop.daemon.wait()
    shop.daemon.start()
    assert shop.outcome(counter) == "00"
    assert shop.settled()["kept_minor"] == 12500
