"""The tables of cents and faults: whole, consistent, and the same in README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.sandbox import scenarios
from tools.sandbox.books import Status
from tools.sandbox.scenarios import FAULTS, SCENARIOS, Call, Scenario, scenario_for

README = Path(scenarios.__file__).with_name("README.md").read_text(encoding="utf-8")


def test_the_cents_choose_the_row_and_those_without_one_are_as_00() -> None:
    assert scenario_for(1205) is SCENARIOS[5]
    assert scenario_for(98) is SCENARIOS[0]
    assert scenario_for(100_000) is SCENARIOS[0]


def test_every_fault_of_a_row_is_in_the_table_of_faults() -> None:
    for scenario in SCENARIOS.values():
        for names in scenario.faults.values():
            assert {name for name in names if isinstance(name, str) and name} <= set(FAULTS)
            assert names[0] is not ...


def test_every_row_says_something_of_its_own() -> None:
    said = [scenario.what for scenario in SCENARIOS.values()]
    assert len(said) == len(set(said))


def test_a_fault_that_is_answered_instead_is_not_also_a_change_of_the_true_answer() -> None:
    for fault in FAULTS.values():
        assert fault.status is None or fault.alter is None


@pytest.mark.parametrize(
    ("names", "met"),
    [
        ((), [None, None]),
        (("slow",), ["slow", None, None]),
        (("slow", "", "html"), ["slow", None, "html", None]),
        (("slow", ...), ["slow", "slow", "slow"]),
        (("html", "slow", ...), ["html", "slow", "slow"]),
    ],
)
def test_which_call_meets_which_fault(names: scenarios.FaultNames, met: list[str | None]) -> None:
    scenario = Scenario(what="a row", faults={Call.STATUS: names})
    assert [scenario.fault_of(Call.STATUS, n) for n in range(len(met))] == met
    assert scenario.fault_of(Call.CREATE, 0) is None


def test_unknown_status_words_are_unknown() -> None:
    assert "processing" not in set(Status)


def test_the_readme_has_both_tables_as_they_are() -> None:
    assert scenarios.cents_table() in README
    assert scenarios.faults_table() in README
