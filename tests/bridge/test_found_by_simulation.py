"""What the fault simulation found in the core, each as the shortest story that shows it."""

from pathlib import Path

import pytest

from bridge.tender import Ask
from tests.bridge.shop import LATER, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def test_a_picture_that_does_not_come_in_time_does_not_make_the_engine_spin(shop: Shop) -> None:
    shop.tender()
    shop.created(picture=LATER.picture)
    assert shop.pending(Ask.PICTURE)
    shop.advance(31.0)
    wake = shop.engine.next_wake()
    assert wake is not None
    assert wake > shop.clock


def test_while_the_journal_is_away_the_engine_waits_for_it_and_for_nothing_else(
    shop: Shop,
) -> None:
    shop.hello(lane="/dev/ttyS1")  # the pairing is asked for on its old line, for 12 s
    shop.journal_fails = OSError("no such disk")
    assert shop.engine._journal is not None
    shop.engine._journal._db.execute("BEGIN")  # whoever begins a second batch fails
    shop.tender()
    shop.advance(13.0)
    wake = shop.engine.next_wake()
    assert wake is not None
    assert wake > shop.clock
