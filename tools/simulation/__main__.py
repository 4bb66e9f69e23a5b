"""`tools/simulate`: a campaign of simulated tenders, or one world again.

tools/simulate --tenders 1000000 --jobs 2       a campaign, with a progress bar
tools/simulate --seed 7 --world 123 --trace     one world of it, with everything that happened
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tools.simulation.campaign import (
    CALM_HARSHNESS,
    ENFORCED_FROM,
    Report,
    campaign,
    faults_by_source,
    one,
)
from tools.simulation.faults import KINDS
from tools.simulation.shrink import Shrinker, command, traced
from tools.simulation.sometimes import conditions
from tools.simulation.world import Plan, Result

BAR = 40
TRACE_TAIL = 60
"""Lines of a trace that are shown without `--trace`."""


def main() -> int:
    """0: nothing was found. 1: something was, or a condition never came about. 2: used wrongly."""
    options = _options()
    plan = Plan(
        seed=options.seed,
        index=options.world or 0,
        faults=options.faults == "on",
        without=tuple(name for name in options.without.split(",") if name),
        sales=options.sales,
        tills=options.tills,
        flat=options.flat,
        wall_jumps=not options.steady_wall,
    )
    unknown = [name for name in plan.without if not _is_known(name)]
    if unknown:
        print(f"--without: no fault is called {', '.join(unknown)}; see --list", file=sys.stderr)
        return 2
    if options.list:
        for name, kind in KINDS.items():
            print(f"{name:18} {kind.of:4} {kind.what}")
        return 0
    if options.world is not None:
        return _one_world(plan, trace=options.trace, shrink=options.shrink)
    # Whoever ends a long campaign, or a time limit that does, wants what it has found until then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bar = _Bar(options.tenders)
    report = campaign(
        plan, options.tenders, jobs=options.jobs, go_on=options.go_on, progress=bar.show
    )
    bar.clear()
    if report.tenders < options.tenders and (options.go_on or not report.violations):
        print(f"cut off before {options.tenders:,} tenders")
    _print(report, options.verbose)
    for failed in report.violations if not options.brief else ():
        _print_failed(failed, shrink=options.shrink)
    if options.json is not None:
        _write_json(options.json, report, options)
    enforced = plan.faults and not plan.without and report.tenders >= ENFORCED_FROM
    return 1 if report.violations or (enforced and report.never) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/simulate", description=__doc__)
    add = parser.add_argument
    add("--tenders", type=int, default=2000, metavar="N", help="how many, at least")
    add("--jobs", type=int, default=1, metavar="J", help="how many processes")
    add("--seed", type=int, default=1, metavar="S", help="what everything is drawn from")
    add("--faults", choices=("on", "off"), default="on")
    add("--shrink", action="store_true", help="look for the shortest that still fails")
    add("--go-on", action="store_true", help="do not stop at what is found first")
    add("--brief", action="store_true", help="no trace of what is found")
    add("--verbose", action="store_true", help="show every fault and condition with its count")
    add("--list", action="store_true", help="list the faults, and end")
    add("--world", type=int, metavar="I", help="one world of this seed")
    add("--without", default="", metavar="A,B", help="faults that are off, by name or source")
    add("--sales", type=int, metavar="N", help="of one world: by each cashier at most")
    add("--tills", type=int, metavar="N", help="of one world: terminals at most")
    add("--flat", action="store_true", help="of one world: lengths take no time")
    add("--steady-wall", action="store_true", help="of one world: the wall clock does not jump")
    add("--trace", action="store_true", help="of one world: show everything that happens")
    add("--json", type=Path, metavar="FILE", help="write the figures to a file")
    return parser.parse_args()


def _is_known(name: str) -> bool:
    return name in KINDS or any(kind.partition(".")[0] == name for kind in KINDS)


def _one_world(plan: Plan, *, trace: bool, shrink: bool) -> int:
    if trace:
        result, lines = traced(plan)
        print("\n".join(lines))
    else:
        result = one(plan)
    if not result.violation:
        said = f"by chance: {result.by_chance}" if result.by_chance else "nothing wrong"
        print(f"world {plan.index} of seed {plan.seed}: {result.tenders} tenders, {said}")
        return 0
    _print_failed(result, shrink=shrink, trace=not trace)
    return 1


def _print_failed(failed: Result, *, shrink: bool, trace: bool = True) -> None:
    print(f"\nVIOLATION in world {failed.plan.index} of seed {failed.plan.seed}")
    print(f"  {failed.violation}: {failed.text}")
    print(f"  again, exactly: {command(failed.plan)}")
    if shrink:
        print("  looking for the shortest that still fails ...", file=sys.stderr)
        failed = Shrinker(failed, lambda smaller: None).shrink()
        print(f"  shortest: {command(failed.plan)}")
        print(f"  {failed.violation}: {failed.text}")
    if trace:
        result, lines = traced(failed.plan)
        left = len(lines) - TRACE_TAIL
        if left > 0 and not shrink:
            print(f"  ... {left} lines before these")
        print("\n".join(lines if shrink else lines[-TRACE_TAIL:]))
        print(f"  {result.violation}: {result.text}")


def _print(report: Report, verbose: bool) -> None:
    per_core = report.tenders / max(report.core_seconds, 1e-9)
    each = sum(report.faults.values()) / max(report.tenders, 1)
    print(
        f"{report.tenders:,} tenders, {report.orders:,} orders, {report.worlds:,} worlds, "
        f"{report.virtual_s / 3600:,.0f} h of shop time, {report.steps:,} steps"
    )
    print(
        f"{report.seconds:,.1f} s; {report.tenders / max(report.seconds, 1e-9):,.0f} tenders/s, "
        f"{per_core:,.0f} on one core"
    )
    print(f"{sum(report.faults.values()):,} faults drawn, {each:.1f} for each tender")
    if report.faults and each < CALM_HARSHNESS:
        print(f"  fewer than {CALM_HARSHNESS} for each tender: this campaign was mild")
    print(
        f"{report.run_again} worlds run again with equal hash, {report.wall_compared} compared "
        "with and without wall-clock jumps"
    )
    if report.by_chance:
        numbers = ", ".join(str(result.plan.index) for result in report.by_chance)
        print(
            f"{len(report.by_chance)} worlds ended at a check that was right by chance: {numbers}"
        )
    if report.abandoned:
        print(f"{report.abandoned} orders refused for good and never shown: left to a person")
    if verbose:
        for source, counts in faults_by_source(report).items():
            told = ", ".join(f"{n.partition('.')[2]} {c:,}" for n, c in counts.items())
            print(f"  {source}: {told}")
        for name, count in sorted(report.happened.items()):
            print(f"  {count:9,}  {name}")
    if report.never:
        print(f"{len(report.never)} of {len(conditions())} conditions never came about:")
        for name in report.never:
            if verbose or " meets " not in name:
                print(f"  never: {name}")
    print(f"{len(report.violations)} violations")


def _write_json(path: Path, report: Report, options: argparse.Namespace) -> None:
    import json  # noqa: PLC0415 - seldom wanted

    path.write_text(
        json.dumps(
            {
                "tenders": report.tenders,
                "orders": report.orders,
                "worlds": report.worlds,
                "seed": options.seed,
                "seconds": report.seconds,
                "core_seconds": report.core_seconds,
                "faults": dict(report.faults),
                "happened": dict(report.happened),
                "never": report.never,
                "by_chance": len(report.by_chance),
                "violations": [
                    {"name": one.violation, "text": one.text, "again": command(one.plan)}
                    for one in report.violations
                ],
            },
            indent=1,
        )
    )


class _Bar:
    """How far it is, on a terminal."""

    def __init__(self, tenders: int) -> None:
        self._tenders = tenders
        self._shown = 0.0
        self._told = 0
        self._on = sys.stderr.isatty()

    def show(self, report: Report) -> None:
        for found in report.violations[self._told :]:
            self.clear()
            print(f"found: {found.violation}: {command(found.plan)}", file=sys.stderr, flush=True)
        self._told = len(report.violations)
        now = time.monotonic()
        if not self._on or now - self._shown < 0.2:
            return
        self._shown = now
        part = min(report.tenders / self._tenders, 1.0)
        rate = report.tenders / max(report.seconds, 1e-9)
        left_s = (self._tenders - report.tenders) / max(rate, 1e-9)
        full = int(part * BAR)
        print(
            f"\r[{'#' * full}{' ' * (BAR - full)}] {report.tenders:,} of {self._tenders:,}, "
            f"{rate:,.0f}/s, {max(left_s, 0) / 60:.1f} min left, "
            f"{len(report.violations)} violations ",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def clear(self) -> None:
        if self._on:
            print("\r" + " " * 100 + "\r", end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
