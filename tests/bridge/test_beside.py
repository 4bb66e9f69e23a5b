"""The display beside a terminal: when it shows the code, when it stands in for the panel, and when it is cleared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.effects import ClearBeside, ShowBeside
from bridge.events import DisplayResult, RegistryChanged
from bridge.lane_events import PictureResult
from bridge.registry import Snapshot
from bridge.tender import Ask
from drivers.link import messages as link
from tests.bridge.shop import LANE, LATER, Shop

DISPLAY = "escpos:tcp:192.0.2.7"
PAYLOAD = "https://pay.test/q/1"


def name_display(shop: Shop, display: str | None) -> None:
    shop.snapshot = Snapshot.of(
        shop.snapshot.merchants.values(),
        tuple(replace(p, display=display) if p.pairing == 1 else p for p in shop.snapshot.pairings),
    )
    shop.post(RegistryChanged())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    name_display(made, DISPLAY)
    made.hello()
    return made


def beside(shop: Shop) -> list[ShowBeside | ClearBeside]:
    return [e for e in shop.effects if isinstance(e, ShowBeside | ClearBeside)]


def told(shop: Shop, why: str = "", payload: str = PAYLOAD) -> list[link.Message]:
    return shop.post(DisplayResult(1, 1, payload, not why, why))


CLEARED = ClearBeside(DISPLAY, 1, 1)


def test_state_amount_code_and_the_time_that_is_left_and_then_nothing(shop: Shop) -> None:
    shop.sell()
    asking, scan = beside(shop)
    assert asking == ShowBeside(DISPLAY, 1, "T0000001", 1, "Asking PartPay", "TEST 125.50 NZD")
    assert isinstance(scan, ShowBeside)
    assert (scan.state, scan.payload, scan.order_number) == (
        "Scan to pay",
        PAYLOAD,
        "number-order-1",
    )
    assert scan.life_ends == shop.known().deadline
    shop.advance(10)
    shop.status("approved")
    assert beside(shop)[2:] == [CLEARED]
    assert shop.outcomes() == ["00"]


def test_a_cancel_takes_the_code_away_at_once(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    (closing,) = beside(shop)[2:]
    assert isinstance(closing, ShowBeside)
    assert (closing.payload, closing.state) == (None, "Ending the order")
    shop.cancelled()
    shop.status("cancelled")
    assert beside(shop)[3:] == [CLEARED]


def test_a_terminal_that_is_away_hinders_neither_showing_nor_clearing(shop: Shop) -> None:
    shop.tender()
    shop.unplug()
    shop.created()
    shop.read_code()
    assert isinstance(last := beside(shop)[-1], ShowBeside)
    assert last.payload == PAYLOAD
    assert shop.shown() == []
    shop.advance(3)
    shop.status("approved")
    assert beside(shop)[-1] == CLEARED


def test_a_terminal_that_comes_back_changes_nothing_beside_it(shop: Shop) -> None:
    shop.sell()
    before = beside(shop)
    shop.unplug()
    shop.plug()
    shop.hello()
    assert len(shop.shown()) == 2
    assert beside(shop) == before, "paper is not printed twice"


def test_after_a_start_it_is_shown_again_without_the_terminal(shop: Shop) -> None:
    shop.sell()
    before = beside(shop)[-1]
    shop.effects.clear()
    shop.restart()
    assert beside(shop) == [before]


def test_without_a_display_nothing_is_shown_beside(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.hello()
    shop.sell()
    assert beside(shop) == []


def test_another_display_in_the_middle_of_a_sale_takes_over(shop: Shop) -> None:
    shop.sell()
    name_display(shop, "escpos:tcp:192.0.2.8")
    shop.advance(10)
    cleared, shown = beside(shop)[2:]
    assert cleared == CLEARED
    assert isinstance(shown, ShowBeside)
    assert (shown.display, shown.payload) == ("escpos:tcp:192.0.2.8", PAYLOAD)
    name_display(shop, None)
    shop.advance(10)
    assert beside(shop)[4:] == [ClearBeside("escpos:tcp:192.0.2.8", 1, 1)]


def test_while_an_earlier_order_is_taken_back_it_says_to_wait(shop: Shop) -> None:
    shop.sell(reference="INV-1")
    shop.cancel()
    shop.advance(21)
    assert shop.outcomes() == ["17"]
    shop.tender(2, reference="INV-1")
    (waiting,) = [e for e in beside(shop) if isinstance(e, ShowBeside) and e.counter == 2]
    assert (waiting.state, waiting.payload) == ("One moment", None)


# -- who can show it -------------------------------------------------------------------------------------------


def closed_with(shop: Shop) -> str | None:
    return shop.known().closing_code


def test_a_panel_that_fails_is_no_matter_while_the_display_works(shop: Shop) -> None:
    shop.sell()
    told(shop)
    shop.panel_cannot()
    assert closed_with(shop) is None
    assert shop.texts() == []
    shop.advance(10)
    shop.status("approved")
    assert shop.outcomes() == ["00"]
    assert shop.attention() == []


def test_a_display_that_fails_is_no_matter_while_the_panel_works(shop: Shop) -> None:
    shop.sell()
    shop.post(PictureResult(LANE, "T0000001", 1, shown=True, why=""))
    told(shop, "no paper")
    assert closed_with(shop) is None


def test_a_terminal_that_says_nothing_about_its_panel_may_well_show_it(shop: Shop) -> None:
    shop.sell()
    told(shop, "no paper")
    shop.advance(60)
    assert closed_with(shop) is None


FAILS: tuple[Callable[[Shop], object], ...] = (
    lambda shop: shop.panel_cannot(),
    lambda shop: told(shop, "display d: no paper"),
)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_where_both_fail_nobody_can_pay(shop: Shop, order: tuple[int, int]) -> None:
    shop.sell()
    for which in order:
        assert closed_with(shop) is None
        FAILS[which](shop)
    assert closed_with(shop) == "96"
    (text,) = shop.texts()
    assert "number-order-1" in text
    assert shop.attention() == ["cannot-show"]
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["96"]


def test_a_panel_that_failed_waits_for_what_the_display_says(shop: Shop) -> None:
    shop.sell()
    shop.panel_cannot()
    shop.advance(5)
    assert closed_with(shop) is None
    told(shop)
    assert closed_with(shop) is None
    told(shop, "it was switched off")
    assert closed_with(shop) == "96"


def test_a_panel_that_shows_it_at_last_counts(shop: Shop) -> None:
    shop.sell()
    shop.panel_cannot()
    shop.post(PictureResult(LANE, "T0000001", 1, shown=True, why=""))
    told(shop, "no paper")
    assert closed_with(shop) is None


def test_a_display_that_works_again_counts(shop: Shop) -> None:
    shop.sell()
    told(shop, "no paper")
    told(shop)
    shop.panel_cannot()
    assert closed_with(shop) is None


@pytest.mark.parametrize("counter", [1, 2])
def test_what_is_said_of_another_code_means_nothing(shop: Shop, counter: int) -> None:
    shop.sell()
    shop.panel_cannot()
    shop.post(DisplayResult(1, counter, "https://pay.test/another", False, "no paper"))
    shop.post(DisplayResult(2, 1, PAYLOAD, False, "no paper"))
    assert closed_with(shop) is None


def test_what_is_said_after_the_end_means_nothing(shop: Shop) -> None:
    shop.sell()
    shop.advance(10)
    shop.status("approved")
    told(shop, "no paper")
    shop.panel_cannot()
    assert shop.outcomes() == ["00"]


def test_the_order_without_a_picture_is_asked_for_again_and_then_shown(shop: Shop) -> None:
    shop.tender()
    shop.created(picture=None)
    shop.answer(Ask.ORDER, LATER)
    shop.read_code()
    assert isinstance(last := beside(shop)[-1], ShowBeside)
    assert last.payload == PAYLOAD
