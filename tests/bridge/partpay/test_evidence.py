from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.partpay.answers import NoAnswer, Told
from bridge.partpay.evidence import (
    Asked,
    Dead,
    DeadStatus,
    Nothing,
    Paid,
    Pending,
    of_status,
    weigh,
)
from bridge.partpay.fields import AMOUNT_UNREADABLE, UNREADABLE

ASKED = Asked("o-1", "181211-303902", "AKL01-1-1-1-00000000", "87654321-00000000", 12550)
TOLD = Told(
    "o-1", "181211-303902", "approved", ASKED.gateway_reference, ASKED.merchant_reference, 12550
)


@pytest.mark.parametrize(
    ("status", "evidence"),
    [
        ("pending", Pending()),
        ("approved", Paid()),
        ("complete", Paid()),
        ("Approved", Paid()),
        ("declined", Dead(DeadStatus.DECLINED)),
        ("expired", Dead(DeadStatus.EXPIRED)),
        ("cancelled", Dead(DeadStatus.CANCELLED)),
    ],
)
def test_the_known_words(status: str, evidence: object) -> None:
    assert of_status(status) == evidence
    assert weigh(replace(TOLD, status=status), ASKED) == evidence


@pytest.mark.parametrize("status", [None, "", "approved ", "refunded", "aproved", UNREADABLE])
def test_other_words_prove_nothing(status: str | None) -> None:
    assert isinstance(of_status(status), Nothing)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_nothing_but_the_words_is_paid(status: str) -> None:
    assert (of_status(status) == Paid()) == (
        status.lower() in ("approved", "complete") and status.isascii()
    )


@pytest.mark.parametrize(
    "told",
    [
        replace(TOLD, order_id="o-2"),
        replace(TOLD, order_id=UNREADABLE),
        replace(TOLD, order_number="181211-303903"),
        replace(TOLD, gateway_reference="AKL01-1-1-2-00000000"),
        replace(TOLD, merchant_reference="87654321"),
        replace(TOLD, amount_minor=12551),
        replace(TOLD, amount_minor=0),
        replace(TOLD, amount_minor=AMOUNT_UNREADABLE),
    ],
)
def test_whatever_disagrees_proves_nothing(told: Told) -> None:
    assert isinstance(weigh(told, ASKED), Nothing)


def test_what_is_not_told_or_not_known_does_not_disagree() -> None:
    assert weigh(Told(status="complete"), ASKED) == Paid()
    assert weigh(TOLD, replace(ASKED, order_number=None)) == Paid()


def test_no_answer_proves_nothing() -> None:
    assert weigh(NoAnswer("404", not_found=True), ASKED) == Nothing("404")
