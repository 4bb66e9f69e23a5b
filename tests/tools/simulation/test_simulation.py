"""The simulation itself: it finds nothing wrong in 2,000 tenders, is determined, and finds what is wrong."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import sale
from bridge.partpay.answers import CancelTaken
from bridge.tender import Attempt, Circumstances, Tender
from tools.simulation.campaign import campaign, one
from tools.simulation.faults import KINDS
from tools.simulation.shrink import Shrinker, command, traced
from tools.simulation.sometimes import conditions
from tools.simulation.world import Plan, run

ROOT = Path(__file__).resolve().parents[3]


def test_two_thousand_tenders_with_every_fault_and_nothing_wrong() -> None:
    report = campaign(Plan(seed=2026, index=0), 2000)
    assert [f"{found.violation}: {found.text}" for found in report.violations] == []
    assert report.tenders >= 2000
    assert report.run_again > 0
    assert report.wall_compared > 0
    assert sum(report.faults.values()) > 2 * report.tenders
    drawn = sum(1 for name in KINDS if report.faults[name])
    assert drawn > 0.8 * len(KINDS)


def test_without_faults_every_tender_comes_to_its_end() -> None:
    report = campaign(Plan(seed=7, index=0, faults=False), 150)
    assert not report.violations
    assert not report.faults


def test_the_same_number_gives_the_same_event_log_in_another_process() -> None:
    code = (
        "from tools.simulation.world import Plan, run\n"
        "print(*(run(Plan(seed=3, index=i)).hash for i in (2, 5)))\n"
    )
    logs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(logs) == 1
    assert run(Plan(seed=3, index=2)).hash in logs.pop()


def test_another_number_is_another_world_and_a_fault_that_is_off_is_not_drawn() -> None:
    first = run(Plan(seed=3, index=2))
    assert run(Plan(seed=3, index=3)).hash != first.hash
    source = max(first.faults, key=lambda name: first.faults[name])
    quieter = run(Plan(seed=3, index=2, without=(source,)))
    assert not quieter.faults[source]


def test_wall_jumps_change_no_decision() -> None:
    jumping = run(Plan(seed=4, index=8, flat=True))
    steady = run(Plan(seed=4, index=8, flat=True, wall_jumps=False))
    assert not jumping.violation
    assert jumping.decisions == steady.decisions


def a_202_taken_for_cancelled(t: Tender, a: Attempt, answer: object, c: Circumstances) -> Tender:
    told = "cancelled" if isinstance(answer, CancelTaken) else a.told
    return _cancel_answered(t, replace(a, told=told), answer, c)


_cancel_answered = sale.cancel_answered


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sale, "cancel_answered", a_202_taken_for_cancelled)


@pytest.mark.usefixtures("bug")
def test_what_is_wrong_is_found_shrunk_and_shown_with_the_command_that_runs_it_again() -> None:
    report = campaign(Plan(seed=1, index=0), 4000)
    assert len(report.violations) == 1
    found = report.violations[0]
    assert one(found.plan).violation == found.violation
    smaller = Shrinker(found, lambda result: None).shrink()
    assert smaller.violation == found.violation
    assert smaller.steps < found.steps
    assert sum(smaller.faults.values()) < sum(found.faults.values())
    again, lines = traced(smaller.plan)
    assert again.hash == smaller.hash
    assert any("cancel" in line for line in lines)
    assert command(smaller.plan).startswith("tools/simulate --seed 1 --world ")


def test_every_condition_has_one_name() -> None:
    assert len(set(conditions())) == len(conditions())
