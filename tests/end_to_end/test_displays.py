"""Sales with an ESC/POS display beside the terminal, or in place of its panel: real processes, a device on TCP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from drivers.display.geometry import Panel
from tests.drivers.display.escpos_interpreter import Interpreter
from tests.drivers.display.escpos_on_tcp import EscposOnTcp
from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tools.free_port import free_port


@pytest.fixture
def device() -> Iterator[Callable[[Interpreter], EscposOnTcp]]:
    made: list[EscposOnTcp] = []

    def make(interpreter: Interpreter) -> EscposOnTcp:
        made.append(EscposOnTcp(interpreter))
        return made[-1]

    yield make
    for one in made:
        one.close()


MakeDevice = Callable[[Interpreter], EscposOnTcp]


def order_of(shop: Shop, payload: str) -> dict[str, Any]:
    return shop.sandbox.order(payload.rsplit("/", 1)[1])


def paid(shop: Shop, counter: int, payload: str) -> None:
    shop.sandbox.approve(order_of(shop, payload)["order_id"])
    assert shop.outcome(counter) == "00"


@pytest.mark.parametrize("options", ["", "?code=column", "?profile=TM-T88V", "?module=4"])
def test_a_terminal_that_cannot_draw_and_a_printer(
    make_shop: MakeShop, device: MakeDevice, options: str
) -> None:
    printer = device(Interpreter(576))
    display = f"escpos:tcp:127.0.0.1:{printer.port}{options}"
    shop = make_shop(formats=b"", more=("--display", display))
    counter = shop.terminal.sale(12500)
    printer.until(lambda: bool(printer.codes()))
    (payload,) = printer.codes()
    assert order_of(shop, payload)["amount_minor"] == 12500
    assert "125.00 NZD" in printer.interpreter.paper.text
    paid(shop, counter, payload)
    assert printer.jobs == 1, "paper is printed once"


def test_a_graphic_display_in_place_of_the_panel_is_cleared(
    make_shop: MakeShop, device: MakeDevice
) -> None:
    panel = device(Interpreter(240, clears=True))
    display = f"escpos:tcp:127.0.0.1:{panel.port}?size=240x320"
    shop = make_shop(panel=Panel(20, 20), formats=b"\x01\x10", more=("--display", display))
    counter = shop.terminal.sale(12500)
    panel.until(lambda: bool(panel.codes()))
    (payload,) = panel.codes()
    paid(shop, counter, payload)
    panel.until(lambda: not panel.codes() and not panel.interpreter.paper.text)


def test_a_line_display_beside_the_panel_tells_state_and_amount(
    make_shop: MakeShop, device: MakeDevice
) -> None:
    lines = device(Interpreter(dots=False))
    shop = make_shop(more=("--display", f"escpos:tcp:127.0.0.1:{lines.port}?kind=text"))
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    shown = lines.interpreter.line_display
    lines.until(lambda: shown.lines[0].startswith("Scan to pay "))
    assert shown.lines[1] == "TEST 125.00 NZD"
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"
    lines.until(lambda: shown.lines == ["", ""])


def test_neither_panel_nor_display_is_96_with_the_order_number_in_plain_words(
    make_shop: MakeShop,
) -> None:
    display = f"escpos:tcp:127.0.0.1:{free_port()}"
    shop = make_shop(formats=b"", more=("--display", display))
    counter = shop.terminal.sale(12500)
    text = shop.terminal.wait_for("received", WAIT_S, message="DISPLAY_TEXT")["text"]
    assert "cannot show the code" in text
    assert "Order " in text
    assert shop.outcome(counter) == "96"
    conditions = shop.get("/healthz").json()["conditions"]
    assert "display-failed" in [condition["code"] for condition in conditions]


def test_a_display_that_takes_nothing_holds_up_no_sale(make_shop: MakeShop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        display = f"escpos:tcp:127.0.0.1:{deaf.getsockname()[1]}?kind=text"
        shop = make_shop(more=("--display", display))
        for _ in range(3):
            shop.sell()


def test_a_large_panel_gets_partpays_own_picture(make_shop: MakeShop) -> None:
    shop = make_shop(panel=Panel(700, 710), formats=b"\x22")
    counter = shop.terminal.sale(12500)
    opened = shop.terminal.wait_for("received", WAIT_S, message="IMAGE_OPEN")
    assert opened["image_width"] == opened["image_height"] < 700
    image = shop.terminal.wait_for("image", WAIT_S, counter=counter)
    paid(shop, counter, image["code"])


def test_killed_with_a_code_on_the_display_it_is_there_again_after_the_start(
    make_shop: MakeShop, device: MakeDevice
) -> None:
    panel = device(Interpreter(240, clears=True))
    display = f"escpos:tcp:127.0.0.1:{panel.port}?size=240x320"
    shop = make_shop(formats=b"", more=("--display", display))
    counter = shop.terminal.sale(12500)
    panel.until(lambda: bool(panel.codes()))
    (payload,) = panel.codes()
    shop.daemon.kill()
    shop.terminal.power_off()
    with panel.changed:
        panel.interpreter.take(b"\x0c")
    shop.daemon.start()
    panel.until(lambda: panel.codes() == [payload])
    shop.terminal.power_on()
    paid(shop, counter, payload)
