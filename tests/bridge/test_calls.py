"""In what words PartPay is asked: the same references and amount each time, whatever became of the last call."""

from pathlib import Path
from typing import Any

import pytest

from bridge.carrier import call
from bridge.partpay.answers import Perhaps
from bridge.tender import Ask
from tests.bridge.shop import Shop


class Recorded:
    """Stands for `Orders`: what it was asked."""

    def __getattr__(self, name: str) -> Any:
        return lambda merchant, **told: (name, told)


def asked(shop: Shop, ask: Ask) -> tuple[str, dict[str, Any]]:
    effect = shop.pending(ask)
    assert effect is not None
    a = next(a for a in effect.tender.attempts if a.number == effect.wanted.attempt)
    orders: Any = Recorded()
    merchant: Any = None
    name, told = call(orders, merchant, effect.tender, a, effect.wanted)  # type: ignore[misc]
    return name, told


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def test_create(shop: Shop) -> None:
    shop.tender(7, reference="INV-7")
    name, told = asked(shop, Ask.CREATE)
    assert name == "create"
    assert told["amount_minor"] == 12550
    assert told["gateway_reference"] == "AKL01-T0000001-7-1-00000001"
    assert told["merchant_reference"] == "INV-7-00000001"
    assert told["terminal_id"] == "T0000001"
    assert told["with_key"] is True
    assert 0 < told["deadline_s"] <= 15


def test_create_without_its_key_after_two_equal_failures(shop: Shop) -> None:
    shop.tender()
    keys = []
    for _ in range(4):
        keys.append(asked(shop, Ask.CREATE)[1]["with_key"])
        shop.answer(Ask.CREATE, Perhaps("500", "500:same"))
        shop.advance(8.0)
    assert keys == [True, True, False, False]


def test_to_find_an_order_that_is_owed_the_key_is_left_out_in_the_end(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("timeout"))
    shop.cancel()
    shop.advance(21.0)
    assert shop.outcomes() == ["17"]
    keys = []
    while len(keys) < 5:
        if shop.pending(Ask.CREATE):
            keys.append(asked(shop, Ask.CREATE)[1]["with_key"])
            shop.answer(Ask.CREATE, Perhaps("timeout"))
        shop.advance(10.0)
    assert keys[0] is True
    assert keys[-1] is False


def test_order_status_and_cancel(shop: Shop) -> None:
    shop.tender(operator="ana")
    shop.created(picture=None)
    name, told = asked(shop, Ask.ORDER)
    assert (name, told["order_id"]) == ("order", "order-1")
    shop.advance(2.0)
    name, told = asked(shop, Ask.STATUS)
    assert (name, told["order_id"]) == ("status", "order-1")
    shop.cancel()
    name, told = asked(shop, Ask.CANCEL)
    assert (name, told["order_id"], told["operator"]) == ("cancel", "order-1", "ana")


def test_a_refund_and_a_reversal_have_references_of_their_own_that_never_change(
    shop: Shop,
) -> None:
    shop.sell(1)
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.sell(2, "order-2")
    shop.cancel(2)
    shop.cancelled(409)
    shop.advance(21.0)
    shop.status("approved")
    refund_in_full = [asked(shop, Ask.REFUND)[1]]
    shop.answer(Ask.REFUND, Perhaps("timeout"))
    shop.advance(10.0)
    refund_in_full.append(asked(shop, Ask.REFUND)[1])
    assert refund_in_full[0] == refund_in_full[1]
    assert refund_in_full[0]["refund_reference"] == "AKL01-T0000001-2-1-00000002-V"
    assert refund_in_full[0]["amount_minor"] == 12550
    assert refund_in_full[0]["operator"] == "T0000001"
    shop.answer(Ask.REFUND, Perhaps("timeout"))
    shop.refund(3, 1, 500)
    own = asked(shop, Ask.REFUND)[1]
    assert own["refund_reference"].startswith("AKL01-T0000001-3-R-")
    assert (own["order_id"], own["amount_minor"]) == ("order-1", 500)
    shop.restart()
    shop.hello()
    asked_again = [asked_one(shop, n) for n in range(len(shop.asked))]
    assert own["refund_reference"] in [told.get("refund_reference") for told in asked_again]


def asked_one(shop: Shop, which: int) -> dict[str, Any]:
    effect = shop.asked[which]
    a = next(a for a in effect.tender.attempts if a.number == effect.wanted.attempt)
    orders: Any = Recorded()
    merchant: Any = None
    return call(orders, merchant, effect.tender, a, effect.wanted)[1]  # type: ignore[index]


def test_a_picture_is_no_call(shop: Shop) -> None:
    shop.tender()
    shop.created()
    with pytest.raises(AssertionError, match="no call"):
        asked(shop, Ask.PICTURE)
