"""What is counted in a journal that the real engine wrote."""

from pathlib import Path

import pytest

from bridge.journal.reader import JournalReader
from tests.bridge.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def waiting_long(shop: Shop) -> int:
    return JournalReader(shop.folder / "journal.db").waiting_long()


def test_an_outcome_waits_long_only_after_stored_alert_and_until_it_is_stored(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    assert JournalReader(shop.folder / "journal.db").counts()["unstored"] == 1
    assert waiting_long(shop) == 0
    shop.unplug()
    shop.advance(shop.rules.timing.stored_alert + 1)
    assert waiting_long(shop) == 1
    shop.plug()
    shop.hello()
    shop.stored()
    assert waiting_long(shop) == 0


def test_a_finding_names_its_tender_though_nothing_of_it_changed(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.advance(shop.rules.timing.stored_alert + 1)
    (entry,) = JournalReader(shop.folder / "journal.db").attention()
    assert (entry["code"], entry["terminal"], entry["counter"]) == ("not-stored", "T0000001", 1)
    (line,) = [one for one in caplog.records if one.__dict__.get("event") == "not-stored"]
    assert (line.__dict__["terminal"], line.__dict__["counter"]) == ("T0000001", 1)
