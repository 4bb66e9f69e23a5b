"""Sales over lines that flip bits both ways: right, or told that the link is down; never wrong."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from drivers.display.geometry import Panel
from tests.end_to_end.conftest import MakeShop, Shop
from tools.noisy_line import NoisyLine
from tools.terminal.core import Device
from tools.terminal.driver import NothingCame, TerminalOnPty

LANES = 4


def over_noise(
    shop: Shop, stack: ExitStack, folder: Path, ber: float, dialect: str = "native"
) -> tuple[list[TerminalOnPty], list[NoisyLine]]:
    """The shop's terminals again, each behind a noisy line at the path that the daemon opens."""
    ends, lines = [], []
    for n, quiet in enumerate(shop.terminals):
        quiet.close()
        source = folder / f"quiet{n}"
        device = Device(
            terminal_id=f"T{n + 1:07d}",
            serial_number=f"SN{n + 1}",
            panel=Panel(240, 320),
            formats=b"\x10",
        )
        ends.append(stack.enter_context(TerminalOnPty(source, device, dialect=dialect)))
        lines.append(stack.enter_context(NoisyLine(source, Path(quiet.port), ber, seed=n)))
    return ends, lines


def sell(terminal: TerminalOnPty, amount_minor: int, wait_s: float) -> tuple[int, str | None]:
    """One sale whose customer approves by himself; its counter, and the code that came in time."""
    counter = terminal.sale(amount_minor)
    try:
        terminal.wait_for("closed", wait_s, counter=counter)
    except NothingCame:
        return counter, None
    told = [e for e in terminal.events if e.kind == "received" and e["message"] == "OUTCOME"]
    return counter, next(e["response_code"] for e in told if e["counter"] == counter)


def kept_minor(shop: Shop, terminal_id: str, counter: int) -> int:
    return sum(
        order["kept_minor"]
        for order in shop.sandbox.orders()
        if order["gateway_reference"].startswith(f"AKL01-{terminal_id}-{counter}-")
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("dialect", "sales"), [("native", 100), ("classic", 20)])
def test_one_bit_in_ten_thousand_costs_no_sale(
    make_shop: MakeShop, tmp_path: Path, dialect: str, sales: int
) -> None:
    shop = make_shop(dialect=dialect, terminals=LANES, sandbox_options=("--auto", "0.05"))
    with ExitStack() as stack:
        ends, lines = over_noise(shop, stack, tmp_path, 1e-4, dialect)

        def lane(n: int) -> list[tuple[int, str | None]]:
            ends[n].wait_for("ready", 30, paired=True)
            return [sell(ends[n], 12500, 60) for _ in range(sales // LANES)]

        with ThreadPoolExecutor(LANES) as pool:
            found = list(pool.map(lane, range(LANES)))
        assert [code for lane_found in found for _, code in lane_found] == ["00"] * sales
        assert sum(line.flipped for line in lines) > sales // 2
        for n, lane_found in enumerate(found):
            for counter, _ in lane_found:
                assert kept_minor(shop, f"T{n + 1:07d}", counter) == 12500


@pytest.mark.timeout(240)
def test_one_bit_in_a_thousand_is_right_or_not_told(make_shop: MakeShop, tmp_path: Path) -> None:
    shop = make_shop(terminals=LANES, sandbox_options=("--auto", "0.05"))
    with ExitStack() as stack:
        ends, _ = over_noise(shop, stack, tmp_path, 1e-3)

        def lane(n: int) -> list[tuple[int, str | None]]:
            ends[n].wait_for("ready", 60, paired=True)
            found = []
            for _ in range(3):
                found.append(sell(ends[n], 12500, 25))
                if found[-1][1] is None:
                    break
            return found

        with ThreadPoolExecutor(LANES) as pool:
            found = list(pool.map(lane, range(LANES)))
        for n, lane_found in enumerate(found):
            for counter, code in lane_found:
                kept = kept_minor(shop, f"T{n + 1:07d}", counter)
                assert code is None or (kept == 12500) == (code == "00"), (n, counter, code, kept)
        assert "Traceback" not in shop.daemon.log
