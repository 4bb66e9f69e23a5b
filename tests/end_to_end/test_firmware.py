"""The firmware reference in C sells, through the daemon, in real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tests.end_to_end.test_pairing import Shop as UnpairedShop
from tests.tools.firmware.compiling import example
from tools.firmware.driver import FirmwareTerminal


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example(tmp_path_factory.mktemp("firmware") / "sanitized")


@contextmanager
def in_its_place(shop: Shop, program: Path, dialect: str) -> Iterator[FirmwareTerminal]:
    """The C terminal on the line of the first one, paired as that one was."""
    line = shop.terminal.port
    shop.terminal.close()
    with FirmwareTerminal(
        program, line, terminal_id="T0000001", serial_number="SN1", dialect=dialect
    ) as terminal:
        terminal.wait_for("ready", WAIT_S, paired=True)
        yield terminal


def shown(shop: Shop, terminal: FirmwareTerminal, counter: int) -> str:
    """Waits for the code; the order that it names."""
    image = terminal.wait_for("image", WAIT_S, counter=counter)
    return str(shop.sandbox.order(image["code"].rsplit("/", 1)[1])["order_id"])


@pytest.mark.parametrize("dialect", ["native", "classic"])
def test_sales_and_a_refund(make_shop: MakeShop, program: Path, dialect: str) -> None:
    shop = make_shop(dialect=dialect)
    with in_its_place(shop, program, dialect) as terminal:
        counter = terminal.sale(12500, "INV-7")
        shop.sandbox.approve(shown(shop, terminal, counter))
        closed = terminal.wait_for("closed", WAIT_S, counter=counter)
        assert (closed["ending"], closed["response_code"]) == ("approved", "00")
        shop.daemon.wait_for_log("event=stored")
        assert shop.tender(counter)["stored"] is True

        declined = terminal.sale(990)
        shop.sandbox.decline(shown(shop, terminal, declined))
        closed = terminal.wait_for("closed", WAIT_S, counter=declined)
        assert (closed["ending"], closed["response_code"]) == ("not-approved", "05")

        refund = terminal.refund(counter, 2500)
        assert terminal.wait_for("closed", WAIT_S, counter=refund)["ending"] == "approved"
    assert shop.settled()["kept_minor"] == 10000


def test_a_power_cut_in_the_middle_of_a_sale(make_shop: MakeShop, program: Path) -> None:
    shop = make_shop()
    with in_its_place(shop, program, "native") as terminal:
        counter = terminal.sale(12500)
        order_id = shown(shop, terminal, counter)
        terminal.power_off()
        shop.sandbox.approve(order_id)
        shop.daemon.wait_for_log("event=outcome")
        terminal.power_on()
        closed = terminal.wait_for("closed", WAIT_S, counter=counter)
        assert (closed["ending"], closed["amount_minor"]) == ("approved", 12500)
        shop.daemon.wait_for_log("event=stored")
    assert shop.settled()["kept_minor"] == 12500


def test_the_cable_is_pulled_and_a_sale_is_cancelled(make_shop: MakeShop, program: Path) -> None:
    shop = make_shop()
    with in_its_place(shop, program, "native") as terminal:
        counter = terminal.sale(8000)
        order_id = shown(shop, terminal, counter)
        terminal.unplug()
        terminal.plug()
        assert shown(shop, terminal, counter) == order_id
        terminal.cancel()
        assert terminal.wait_for("closed", WAIT_S, counter=counter)["response_code"] == "17"
    assert shop.settled()["kept_minor"] == 0


@pytest.mark.parametrize("dialect", ["native", "classic"])
def test_paired_by_six_digits(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, dialect: str
) -> None:
    """A technician pairs it with the real program; then it sells with codes, also after a power cut."""
    program = example(tmp_path_factory.mktemp("pairs") / "sanitized", authenticated=True)
    with ExitStack() as stack:
        shop = UnpairedShop(tmp_path, stack)
        shop.daemon.start()
        terminal = FirmwareTerminal(program, shop.line, serial_number="SN1", dialect=dialect)
        shop.terminal = stack.enter_context(terminal)  # type: ignore[assignment]
        words = ("--merchant", "1001", "--name", "till", "--no-test", "--expect-digits", "-")
        with shop.pair(shop.line, *words) as command:
            command.wait_for("Open pairing")
            terminal.pair()
            command.type(str(terminal.wait_for("digits", WAIT_S)["digits"]))
            terminal.confirm(True)
            status, printed = command.end()
            assert status == 0, command.told
        assert "keys           yes, compared" in printed
        (known,) = shop.terminals()
        assert (known["keyed"], known["dialect"]) == (True, dialect)
        shop.sell()
        terminal.power_off()
        terminal.log.pass_by()
        terminal.power_on()
        shop.ready()
        shop.sell()
