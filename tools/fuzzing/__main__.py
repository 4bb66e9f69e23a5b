"""Fuzzes the parsers, for as long as it is given: `tools/fuzz --minutes 60 --target all`.

The time is cut into slices, and the targets take turns, so that whenever it is stopped each had its share. Every
slice leaves a line in `.fuzz/slices.jsonl`; what is found lies in `.fuzz/finds/`, and gives exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

from tools.fuzzing import corpus, results
from tools.fuzzing.targets import TARGETS

FINDS: Final = corpus.TOP / ".fuzz" / "finds"
INPUT_LIMIT_S: Final = 10
MEMORY_LIMIT_MIB: Final = 1024
GROWTH_S: Final = 10.0
LOG_LINES_SHOWN: Final = 60

_EXECUTIONS: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PEAK: Final = re.compile(r"stat::peak_rss_mb:\s*(\d+)")
_COVERED: Final = re.compile(r"\bcov: (\d+)")
_WRITTEN_TO: Final = re.compile(r"Test unit written to (\S+)")

_telling = Lock()


def tell(text: str) -> None:
    with _telling:
        print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(corpus.TOP), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def fuzz(name: str, seconds: float) -> dict[str, Any]:
    """One slice; its line."""
    folder = corpus.unpack(name)
    FINDS.mkdir(parents=True, exist_ok=True)
    began, at = time.monotonic(), datetime.now(UTC)
    done = subprocess.run(
        [
            sys.executable, "-m", "tools.fuzzing.worker", name, str(folder),
            f"-max_total_time={max(int(seconds), 1)}", f"-max_len={TARGETS[name].max_bytes}",
            f"-timeout={INPUT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MIB}",
            "-print_final_stats=1", f"-artifact_prefix={FINDS / name}-",
        ],
        cwd=corpus.TOP, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    log = done.stderr + done.stdout
    if "Loaded" not in log and "INITED" not in log:
        raise SystemExit(f"{name} did not begin:\n{log}")
    find = _WRITTEN_TO.search(log)
    if find is not None:
        tell(
            f"{name}: exit status {done.returncode}\n"
            + "\n".join(log.splitlines()[-LOG_LINES_SHOWN:])
        )
    covered = [int(one) for one in _COVERED.findall(log)]
    executions, peak = _EXECUTIONS.search(log), _PEAK.search(log)
    return {
        "target": name,
        "commit": commit(),
        "began": at.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "executions": int(executions[1]) if executions else 0,
        "corpus": len(list(folder.iterdir())),
        "covered": max(covered, default=0),
        "resident_mib": int(peak[1]) if peak else 0,
        "growth": _growth(name),
        # Without one it was ended from outside, and found nothing until then.
        "find": find[1] if find else None,
    }  # fmt: skip


def _growth(name: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tools.fuzzing.growth", name, str(GROWTH_S)],
        cwd=corpus.TOP, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def turns(
    names: Sequence[str], minutes: float, slice_minutes: float
) -> Iterator[tuple[str, float]]:
    """(target, seconds) one after the other, until each has had its minutes; who had least before begins."""
    had = {name: one["minutes"] for name, one in results.added_up(results.slices()).items()}
    names = sorted(names, key=lambda name: had.get(name, 0.0))
    left = minutes * 60
    while left > 0:
        seconds = min(slice_minutes * 60, left)
        for name in names:
            yield name, seconds
        left -= seconds


def run(names: Sequence[str], minutes: float, slice_minutes: float, jobs: int) -> int:
    """Fuzzes; how many targets found something. A target that did is not run again."""
    found: set[str] = set()

    def one(turn: tuple[str, float]) -> None:
        name, seconds = turn
        if name in found:
            return
        line = fuzz(name, seconds)
        results.note(line)
        grew = line["growth"]["end_kib"] - line["growth"]["warm_kib"]
        tell(
            f"{name}: {line['executions']:,} executions in {line['seconds']:.0f} s, {line['corpus']} inputs, "
            f"{line['covered']} edges, memory grew by {grew} KiB in {line['growth']['runs']:,} runs"
            + (f", FOUND {line['find']}" if line["find"] else "")
        )
        if line["find"]:
            found.add(name)

    with ThreadPoolExecutor(jobs) as pool:
        for _ in pool.map(one, turns(names, minutes, slice_minutes)):
            pass
    return len(found)


def keep(names: Sequence[str]) -> None:
    """Brings the smallest inputs that reach everything back into the repository, beside what is there."""
    for name in names:
        folder = corpus.unpack(name)
        chosen = corpus.TOP / ".fuzz" / "chosen" / name
        chosen.mkdir(parents=True, exist_ok=True)
        for old in chosen.iterdir():
            old.unlink()
        subprocess.run(
            [sys.executable, "-m", "tools.fuzzing.worker", name, "-merge=1", str(chosen), str(folder)],
            cwd=corpus.TOP, capture_output=True, check=True,
        )  # fmt: skip
        inputs = [*corpus.committed(name), *(file.read_bytes() for file in chosen.iterdir())]
        tell(f"{name}: {corpus.write(name, inputs)} inputs kept")


def replay(names: Sequence[str], files: Sequence[Path]) -> None:
    """Runs each file once, with the traceback of what it finds."""
    for name in names:
        for file in files:
            TARGETS[name].run(file.read_bytes())
            tell(f"{name}: {file} is nothing")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (1)")
    parser.add_argument("--target", default="all", choices=["all", *TARGETS])
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (1)")
    parser.add_argument("--slice", type=float, default=5.0, help="minutes of one turn (5)")
    parser.add_argument(
        "--keep", action="store_true", help="only: the best of what was found into tests/corpus"
    )
    parser.add_argument(
        "--publish", action="store_true", help="only: the sums so far into docs/fuzzing.md"
    )
    parser.add_argument(
        "--replay", type=Path, nargs="+", metavar="FILE", help="only: run these inputs once"
    )
    given = parser.parse_args()
    names = list(TARGETS) if given.target == "all" else [given.target]
    if given.keep:
        keep(names)
    elif given.publish:
        results.publish()
    elif given.replay:
        replay(names, given.replay)
    else:
        return 1 if run(names, given.minutes, given.slice, given.jobs) else 0
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
