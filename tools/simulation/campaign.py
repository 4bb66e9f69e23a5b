"""Many worlds, on several cores: what was run, what was drawn, what was found.

- Worlds are counted in the order of their numbers, so that a campaign is the same on any number of cores.
- A sample of the worlds is run again: the same number has to give the same hash of its event log. Another sample is
  run with and without jumps of the wall clock: the same has to be decided.
- It ends at the first violation, unless it is told to go on.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from tools.simulation.faults import KINDS
from tools.simulation.sometimes import conditions
from tools.simulation.world import Plan, Result, run

AGAIN_EVERY = 50
"""One world in so many is run twice."""
WALL_EVERY = 40
"""One world in so many is run with and without jumps of the wall clock."""
ENFORCED_FROM = 20_000
"""From so many tenders on, a condition that never came about is a failure of the campaign."""
CHUNK = 4
CALM_HARSHNESS = 3.0
"""Faults drawn for each tender that a campaign should reach, on average."""


@dataclass(slots=True)
class Report:
    """What a campaign came to."""

    worlds: int = 0
    tenders: int = 0
    orders: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    seconds: float = 0.0
    core_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    violations: list[Result] = field(default_factory=list)
    by_chance: list[Result] = field(default_factory=list)
    abandoned: int = 0
    run_again: int = 0
    wall_compared: int = 0

    @property
    def never(self) -> list[str]:
        """The conditions that never came about."""
        seen = Counter(self.happened)
        seen.update({f"fault: {name}": count for name, count in self.faults.items()})
        return [name for name in conditions() if not seen[name]]

    def add(self, result: Result) -> None:
        """One world more."""
        self.worlds += 1
        self.tenders += result.tenders
        self.orders += result.orders
        self.steps += result.steps
        self.virtual_s += result.virtual_s
        self.core_seconds += result.core_seconds
        self.faults.update(result.faults)
        self.happened.update(result.happened)
        self.abandoned += result.abandoned
        self.run_again += result.run_again
        self.wall_compared += result.wall_compared
        if result.violation:
            self.violations.append(result)
        elif result.by_chance:
            self.by_chance.append(result)


def one(plan: Plan) -> Result:
    """One world of a campaign, with the comparisons that its number asks for."""
    began = time.process_time()
    result = run(plan)
    if not result.violation and plan.index % AGAIN_EVERY == AGAIN_EVERY // 2:
        result.run_again = 1
        if run(plan).hash != result.hash:
            result.violation = "not-determined"
            result.text = "the same number gave another event log"
    if not result.violation and plan.faults and plan.index % WALL_EVERY == WALL_EVERY // 2:
        result.wall_compared = 1
        jumping = run(replace(plan, flat=True))
        steady = run(replace(plan, flat=True, wall_jumps=False))
        if jumping.violation or jumping.decisions != steady.decisions:
            result.violation = jumping.violation or "wall-clock"
            result.text = jumping.text or "jumps of the wall clock have changed a decision"
            result.plan = replace(plan, flat=True)
    result.core_seconds = time.process_time() - began
    return result


def campaign(
    plan: Plan,
    tenders: int,
    *,
    jobs: int = 1,
    go_on: bool = False,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Worlds from number `plan.index` on, until so many tenders were made. `jobs`: processes.

    KeyboardInterrupt cuts it off: what was done until then is reported.
    """
    report = Report()
    began = time.perf_counter()
    with _results(plan, jobs) as results, suppress(KeyboardInterrupt):
        for result in results:
            report.add(result)
            report.seconds = time.perf_counter() - began
            progress(report)
            if report.tenders >= tenders or (report.violations and not go_on):
                break
    report.seconds = time.perf_counter() - began
    return report


@contextmanager
def _results(plan: Plan, jobs: int) -> Iterator[Iterator[Result]]:
    plans = _plans(plan)
    gc.freeze()
    if jobs <= 1:
        yield map(one, plans)
        return
    with multiprocessing.get_context("fork").Pool(jobs, initializer=_worker) as pool:
        # An endless iterator must be fed by what comes out, or the pool would take all of it.
        yield _fed(pool.imap, plans, jobs)
        pool.terminate()


def _worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _fed(
    imap: Callable[..., Iterator[Result]], plans: Iterator[Plan], jobs: int
) -> Iterator[Result]:
    waiting: list[Iterator[Result]] = []
    while True:
        while len(waiting) < 3 * jobs:
            waiting.append(imap(one, [next(plans) for _ in range(CHUNK)], CHUNK))
        yield from waiting.pop(0)


def _plans(plan: Plan) -> Iterator[Plan]:
    index = plan.index
    while True:
        yield replace(plan, index=index)
        index += 1


def faults_by_source(report: Report) -> dict[str, Counter[str]]:
    """How often each kind was drawn, by its source."""
    found: dict[str, Counter[str]] = {}
    for name in KINDS:
        found.setdefault(name.partition(".")[0], Counter())[name] = report.faults[name]
    return found
