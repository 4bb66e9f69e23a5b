"""What is old and settled leaves the journal for a file; what is live, and the chain, stay."""

import gzip
import json
from pathlib import Path

import pytest

from bridge.audit import audit
from bridge.journal.archive import Archived
from drivers.link import messages as link
from tests.bridge.shop import Shop

LATER = "9999"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    for counter in (1, 2):
        shop.sell(counter, f"order-{counter}")
        shop.callback("approved", f"order-{counter}", counter=counter)
        shop.status("approved")
        shop.stored(counter)
    shop.sell(3, "order-3")
    return shop


def archived(shop: Shop, before: str = LATER) -> Archived | None:
    return shop.engine.archive(before)


def test_settled_tenders_go_and_the_open_one_stays(shop: Shop, tmp_path: Path) -> None:
    done = archived(shop)
    assert done is not None
    assert done.tenders == 2
    with gzip.open(done.file, "rt") as file:
        lines = [json.loads(line) for line in file]
    assert [line["tender"]["counter"] for line in lines if "tender" in line] == [1, 2]
    assert [line["event"]["seq"] for line in lines if "event" in line] == list(
        range(1, done.last_event + 1)
    )
    assert shop.find(1) is None
    assert shop.known(3).is_open
    assert archived(shop) is None


def test_the_chain_still_holds_after_it_and_after_a_restart(shop: Shop, tmp_path: Path) -> None:
    archived(shop)
    shop.restart()
    shop.hello()
    shop.callback("approved", "order-3", counter=3)
    shop.status("approved")
    told = audit(tmp_path / "journal.db")
    assert told["broken"] == []


def test_the_highest_counter_stays_known(shop: Shop) -> None:
    shop.cancel(3)
    shop.cancelled()
    shop.status("cancelled")
    shop.stored(3, "17")
    shop.query(9)
    shop.tender(4)
    archived(shop)
    welcome = shop.hello()[0]
    assert isinstance(welcome, link.Welcome)
    assert welcome.counter == 4
    refused = shop.refund(5, 1, 100)[-1]
    assert isinstance(refused, link.Refused)
    assert refused.reason == 2


def test_nothing_young_goes(shop: Shop) -> None:
    assert archived(shop, "2026-11-23T0") is None


def test_a_folder_that_cannot_be_written_loses_nothing(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("in the way")
    assert archived(shop) is None
    assert shop.find(1) is not None
