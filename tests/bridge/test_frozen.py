import dataclasses

import pytest

from bridge.frozen import replace
from bridge.tender import Ask, Attempt, Owed, new_attempt


def attempt() -> Attempt:
    return new_attempt("AKL01", "T0000001", 1, 1, "INV-1", "abcd1234").departs(Ask.CREATE)


def test_it_does_what_dataclasses_does() -> None:
    changed = replace(attempt(), owed=Owed.OWED, order_id="order-1")
    assert changed == dataclasses.replace(attempt(), owed=Owed.OWED, order_id="order-1")
    assert changed.run == attempt().run
    assert attempt().owed is Owed.NONE


def test_a_name_that_is_no_field_is_an_error() -> None:
    with pytest.raises(AttributeError):
        replace(attempt(), owned=Owed.OWED)  # type: ignore[call-arg]


def test_a_class_that_checks_itself_is_left_to_dataclasses() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Checked:
        amount: int

        def __post_init__(self) -> None:
            assert self.amount > 0

    with pytest.raises(TypeError, match="post_init"):
        replace(Checked(1), amount=2)
