"""What one release writes the next one reads: names and values in the journal, and that events lead to the form."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.stored_form import apply, difference, from_flat, to_flat
from bridge.tender import Attempt, Kind, Outcome, Owed, State, Tender

PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
FLAT = st.dictionaries(st.text(max_size=3), PLAIN.filter(lambda v: v is not None), max_size=6)

NAMES = {
    *("pairing", "terminal_id", "counter", "kind", "merchant", "amount_minor", "currency"),
    *("accepted_at", "boot", "deadline", "create_deadline", "asked_merchant", "reference"),
    *("operator", "state", "hold_until", "renewed", "closing_code", "why", "original_counter"),
    *("closed_at", "stored"),
}
ATTEMPT_NAMES = {
    *("gateway_reference", "merchant_reference", "sent", "uncertain", "void", "found", "order_id"),
    *("order_number", "ordered_at", "told", "signed", "signed_at", "disputes", "payload"),
    *("picture_failures", "shown", "dropped", "refusals", "owed", "owed_since", "owed_tries"),
    "refunded",
}
OUTCOME_NAMES = {"code", "text", "local_date", "local_time", "order_number", "order_id"}


def full(made: type, but: tuple[str, ...] = (), **own: Any) -> dict[str, Any]:
    """Something for every field, none of it at its default."""
    values: dict[str, Any] = {}
    for part in fields(made):
        if part.name in but:
            continue
        text = str(part.type)
        values[part.name] = (
            7 if "int" in text or "float" in text else True if "bool" in text else "x"
        )
    return {**values, **own}


TENDER = Tender(
    **full(
        Tender,
        but=("attempts", "outcome"),
        kind=Kind.REFUND,
        state=State.CLOSED,
        attempts=(
            Attempt(**full(Attempt, but=("run",), number=1, owed=Owed.OWED)),
            Attempt(**full(Attempt, but=("run",), number=2, owed=Owed.ABANDONED)),
        ),
        outcome=Outcome(**full(Outcome)),
    )
)


def test_every_name_in_the_journal() -> None:
    """One that is changed here is lost in every journal there is: add, and read the old one too."""
    expected = (
        NAMES
        | {f"a{n}.{name}" for n in (1, 2) for name in ATTEMPT_NAMES}
        | {f"outcome.{name}" for name in OUTCOME_NAMES}
    )
    known = set(to_flat(TENDER))
    assert expected <= known
    assert known - expected == set(), "a new field: add its name here"


def test_every_value_of_an_enum() -> None:
    assert [str(one) for one in Kind] == ["tender", "refund"]
    assert [str(one) for one in State] == ["accepted", "ordered", "closing", "closed"]
    assert [str(one) for one in Owed] == ["none", "owed", "done", "abandoned"]


def test_it_is_read_as_it_was_written() -> None:
    assert from_flat(to_flat(TENDER)) == TENDER
    bare = replace(TENDER, outcome=None, attempts=())
    assert from_flat(to_flat(bare)) == bare
    nameless = replace(TENDER, outcome=Outcome("17", "x", 1, 1, None, None))
    assert from_flat(to_flat(nameless)) == nameless


@pytest.mark.parametrize(
    "change",
    [{"state": "odd"}, {"a1.owed": "odd"}, {"unknown": 1}, {"a1.unknown": 1}, {"ax.told": "x"}],
)
def test_what_no_release_wrote_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_flat({**to_flat(TENDER), **change})


@given(before=FLAT, after=FLAT)
def test_events_lead_from_what_was_to_what_is(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    replayed = dict(before)
    apply(replayed, difference(before, after))
    assert replayed == after


def test_a_key_that_went_back_to_its_default_is_gone() -> None:
    changed = difference({"a": 1, "b": 2}, {"a": 1})
    assert changed == {"b": None}
    flat: dict[str, Any] = {"a": 1, "b": 2}
    apply(flat, changed)
    assert flat == {"a": 1}
