"""Every behaviour that the sandbox has by amount, against the real daemon: the right code, and the books agree.

The oracle is PartPay's own books: for each sale, what was paid less what was given back is the amount where the
terminal has 00, and nothing else anywhere.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from drivers.line.loop import boottime
from tests.end_to_end.conftest import MakeShop, Shop
from tools.terminal.driver import TerminalOnPty

LANES = 12
TIMING = {
    "order_lifetime": 14,
    "create_timeout": 6,
    "cancel_timeout": 4,
    "poll_first": 1,
    "poll_interval": 1,
}

APPROVED_BY_AUTO = {
    "00": [0, 1, 2, 4, 10, 11, 13, 15, *range(20, 26), *range(30, 40), 41, 42, *range(60, 66), 68, 69, *range(80, 83),
           *range(86, 90)],
    "05": [5, 50, 51, 52, 53, 55, 56],
    "17": [6],
    "54": [7, 8],
    "96": [12, 14, 16, 17, 54, 57, 58],
    "91": [59],
}  # fmt: skip
"""By response code, the cents whose customers approve by themselves 0.3 s after the code is there."""
NOBODY_PAYS = {"96": [12, 14, 18], "91": [19, 43, 59], "54": [9]}
"""The same, where no customer does anything: what the bridge says by itself."""
CANCELLED_AT_THE_TILL = {"17": [70, 74, 75, 73, 76, 0], "00": [71, 72]}


@dataclass(frozen=True)
class Case:
    cents: int
    code: str
    cancel: bool

    @property
    def amount_minor(self) -> int:
        return 12000 + self.cents


def cases(table: dict[str, list[int]], *, cancel: bool) -> list[Case]:
    return [Case(cents, code, cancel) for code, listed in table.items() for cents in listed]


def play(shop: Shop, terminal: TerminalOnPty, case: Case) -> str:
    """One sale; what was wrong with it, in words."""
    counter = terminal.sale(case.amount_minor)
    if case.cancel:
        terminal.wait_for("image", 30, counter=counter)
        terminal.cancel()
    outcome = terminal.wait_for("received", 60, message="OUTCOME", counter=counter)
    terminal.wait_for("closed", 30, counter=counter)
    code = outcome["response_code"]
    return (
        ""
        if code == case.code
        else f".{case.cents:02d}: {code}, not {case.code} ({outcome['text']!r})"
    )


def play_all(shop: Shop, wanted: list[Case]) -> list[str]:
    waiting: Iterator[Case] = iter(wanted)

    def lane(terminal: TerminalOnPty) -> list[str]:
        return [play(shop, terminal, case) for case in waiting]

    with ThreadPoolExecutor(len(shop.terminals)) as pool:
        return [
            wrong for lane_found in pool.map(lane, shop.terminals) for wrong in lane_found if wrong
        ]


SLOWLY_OR_NEVER_CERTAIN = frozenset({19, 43, 59, 73, 76})
"""What PartPay says of these settles nothing for minutes, or ever: what is owed goes on being tried."""


def check_books(shop: Shop, wait_s: float = 60.0) -> None:
    """Once nothing is owed any more, PartPay has kept exactly what the terminals were told is paid."""

    def owed() -> set[int]:
        every = shop.folder.json("tenders", "list", "--limit", "1000")
        return {row["amount_minor"] % 100 for row in every if row["reversal"] == "owed"}

    ends = boottime() + wait_s
    while not owed() <= SLOWLY_OR_NEVER_CERTAIN and boottime() < ends:
        shop.daemon.wait_for_log("event=reversal", wait_s)
    told = {
        row["gateway_reference"]: row
        for row in shop.folder.json("tenders", "list", "--limit", "1000")
    }
    kept: dict[str, int] = {}
    for order in shop.sandbox.orders():
        reference = order["gateway_reference"]
        parts = reference.split("-")
        if parts[0] == "AKL01":
            sale = "-".join(parts[:3])
            kept[sale] = kept.get(sale, 0) + order["kept_minor"]
    for row in told.values():
        if row["reversal"] == "owed":
            assert row["code"] != "00"
            continue
        sale = f"AKL01-{row['terminal']}-{row['counter']}"
        wanted = row["amount_minor"] if row["code"] == "00" else 0
        assert kept.get(sale, 0) == wanted, (row, kept.get(sale))


@pytest.mark.timeout(300)
def test_every_amount_has_its_outcome_and_the_books_agree(make_shop: MakeShop) -> None:
    shop = make_shop(terminals=LANES, timing=TIMING, sandbox_options=("--auto", "0.3"))
    wrong = play_all(shop, cases(APPROVED_BY_AUTO, cancel=False))
    assert wrong == [], "\n".join(wrong)
    check_books(shop)
    assert shop.folder.json("audit")["holds"] is True
    assert "Traceback" not in shop.daemon.log


@pytest.mark.timeout(300)
def test_cancels_and_sales_that_nobody_pays(make_shop: MakeShop) -> None:
    shop = make_shop(terminals=LANES, timing=TIMING)
    sales = cases(CANCELLED_AT_THE_TILL, cancel=True) + cases(NOBODY_PAYS, cancel=False)
    wrong = play_all(shop, sales)
    assert wrong == [], "\n".join(wrong)
    check_books(shop)
    assert shop.folder.json("audit")["holds"] is True
