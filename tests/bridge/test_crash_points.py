"""Crash points: nothing unless armed, never where money is real, and at exactly the passing that was meant."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import crash_points
from bridge.crash_points import PASSED_BY, VARIABLE, NotHereError, Point, here
from bridge.effects import Say
from bridge.events import PartPayAnswered
from bridge.tender import Ask
from drivers.link.messages import Ping

PASS = """
import os, sys
from bridge.crash_points import Point, arm, here
arm(os.environ, played=True)
for step in sys.argv[1:]:
    point, _, what = step.partition(":")
    here(Point(point), None if what == "*" else what)
    print(step, flush=True)
"""


def passing(told: str, *steps: str) -> tuple[int, list[str]]:
    """Exit status and the steps that were got over."""
    done = subprocess.run(
        [sys.executable, "-c", PASS, *steps],
        env={**os.environ, VARIABLE: told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout.split()


def test_without_the_variable_nothing_is_armed() -> None:
    assert crash_points.arm({}, played=False) is False
    assert crash_points.arm({VARIABLE: ""}, played=False) is False
    for point in Point:
        here(point, "anything")


def test_it_is_refused_where_partpay_is_not_played() -> None:
    with pytest.raises(NotHereError, match="unset it"):
        crash_points.arm({VARIABLE: "taken:heard.tender"}, played=False)
    here(Point.TAKEN, "heard.tender")


def test_it_dies_at_the_passing_that_was_meant() -> None:
    steps = ("before-call:create", "before-call:status", "before-call:create")
    assert passing("before-call:create#2", *steps) == (-signal.SIGKILL, list(steps[:2]))
    assert passing("before-call:create", *steps) == (-signal.SIGKILL, [])
    assert passing("before-call:cancel", *steps) == (0, list(steps))


def test_one_place_after_another() -> None:
    steps = ("before-bytes:", "after-commit:stored", "before-bytes:")
    told = "before-write:stored>after-commit:stored>before-bytes:"
    assert passing(told, "before-write:stored", *steps) == (
        -signal.SIGKILL,
        ["before-write:stored", *steps[:2]],
    )


def test_a_commit_is_passed_by_everything_in_its_batch() -> None:
    steps = ("before-write:tender", "before-write:stored", "before-commit:*", "after-commit:*")
    for what in ("tender", "stored"):
        assert passing(f"before-commit:{what}", *steps)[1] == list(steps[:2])
        assert passing(f"after-commit:{what}", *steps)[1] == list(steps[:3])
    twice = (*steps, "before-commit:*")
    assert passing("before-commit:tender#2", *twice) == (0, list(twice)), "a batch ends"


def test_it_writes_down_what_passes(tmp_path: Path) -> None:
    log = tmp_path / "passed"
    passing(f"record:{log}", "before-write:tender", "after-commit:*", "after-bytes:")
    assert log.read_text().split() == ["before-write:tender", "after-commit:tender", "after-bytes:"]


def test_events_and_effects_have_names() -> None:
    assert crash_points._name(Say("/dev/ttyS0", Ping())) == "say.ping"
    assert (
        crash_points._name(PartPayAnswered(1, 7, 1, Ask.CREATE, None)) == "partpayanswered.create"
    )
    assert crash_points._name("status") == "status"


def test_every_point_is_in_the_table() -> None:
    assert set(PASSED_BY) == set(Point)
    for point, names in PASSED_BY.items():
        assert names, f"nothing passes {point}"
        assert len(set(names)) == len(names)
