"""Kills a real daemon at every crash point of every way, starts it again, lets the sale end, and judges it.

Each way is played once without a death, to write down what it passes; then once for each place, and for each further
passing of the same place (`--passings all`). `--pairs N` adds N deaths of which each is followed by another in the
life that recovers from it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.crashing.kill import Killed, kill_all, places, record
from tools.crashing.shop import street
from tools.crashing.ways import WAYS, Way

RECOVERY: tuple[str, ...] = (
    *("after-commit:started", "taken:lineup", "taken:heard.hello", "before-effect:welcome"),
    *("after-effect:welcome", "before-bytes:#2", "after-bytes:#3"),
)
"""What every life passes at its start."""


def deaths_of(way: Way, passed: list[str], every_passing: bool) -> list[tuple[Way, list[str]]]:
    """One death for each place, and where wanted for each passing."""
    counted: Counter[str] = Counter()
    wanted = []
    for place in passed:
        counted[place] += 1
        if counted[place] == 1:
            wanted.append((way, [place]))
        elif every_passing:
            wanted.append((way, [f"{place}#{counted[place]}"]))
    return wanted


def pairs_of(
    way: Way, passed: list[str], count: int, draw: random.Random
) -> list[tuple[Way, list[str]]]:
    """So many deaths with a second one in the life after it."""
    distinct = sorted(set(passed))
    second = [*RECOVERY, *distinct]
    return [(way, [draw.choice(distinct), draw.choice(second)]) for _ in range(count)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/crash-points", description=__doc__)
    parser.add_argument("--way", choices=WAYS, action="append", help="only these (all)")
    parser.add_argument("--passings", choices=("first", "all"), default="first")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="for each way (0)")
    parser.add_argument("--times", type=int, default=1, help="each death so often (1)")
    parser.add_argument("--jobs", type=int, default=2, help="shops at once (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs (1)")
    given = parser.parse_args()
    began = time.monotonic()
    draw = random.Random(given.seed)
    seen: set[str] = set()
    done: list[Killed] = []
    with tempfile.TemporaryDirectory(prefix="crash-points-") as name, street(Path(name)) as where:
        wanted: list[tuple[Way, list[str]]] = []
        for way in (WAYS[name] for name in given.way or WAYS):
            passed = record(where, way, Path(name))
            seen |= set(passed)
            wanted += deaths_of(way, passed, given.passings == "all") * given.times
            wanted += pairs_of(way, passed, given.pairs, draw)
        print(f"{len(wanted)} deaths, at {len(seen)} places", flush=True)
        for one in kill_all(where, wanted, given.jobs):
            done.append(one)
            if one.fault is not None:
                print(f"WRONG {one.fault}", flush=True)
            elif not one.reached:
                print(f"not reached: {one.way}, {' then '.join(one.deaths)}", flush=True)
    wrong = [one for one in done if one.fault is not None]
    unreached = [one for one in done if not one.reached and one.fault is None]
    unnamed = seen - set(places())
    for place in sorted(unnamed):
        print(f"WRONG {place} is in no table")
    minutes = (time.monotonic() - began) / 60
    print(
        f"{len(done)} ways played, {sum(one.reached for one in done)} killed where it was meant, "
        f"{len(unreached)} not reached again, {len(wrong)} wrong; {minutes:.1f} min"
    )
    return 1 if wrong or unnamed else 0


if __name__ == "__main__":
    sys.exit(main())
