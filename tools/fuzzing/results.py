"""What was really run, added up from the lines that each slice leaves; and the table that shows it.

A slice's line: target, commit, began (UTC), seconds, executions, corpus (inputs), covered (edges), resident_mib,
growth (as `growth.py` prints it), find (the file that holds it, or null).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tools.fuzzing.corpus import TOP
from tools.fuzzing.targets import TARGETS

SLICES: Final = TOP / ".fuzz" / "slices.jsonl"
MEASURED: Final = TOP / "docs" / "fuzzing.json"
"""The committed sums; docs/fuzzing.md is held to them by a test."""
PAGE: Final = TOP / "docs" / "fuzzing.md"
BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


def note(slice_: Mapping[str, Any]) -> None:
    SLICES.parent.mkdir(parents=True, exist_ok=True)
    with SLICES.open("a") as file:
        file.write(json.dumps(slice_) + "\n")


def slices() -> list[dict[str, Any]]:
    if not SLICES.exists():
        return []
    return [json.loads(line) for line in SLICES.read_text().splitlines()]


def added_up(lines: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By target: what all slices come to. `growth_kib`: the last look at memory, from warm to end."""
    sums: dict[str, dict[str, Any]] = {}
    for line in lines:
        one = sums.setdefault(
            line["target"],
            {"minutes": 0.0, "executions": 0, "slices": 0, "finds": 0, "first": line["commit"]},
        )
        one["minutes"] = round(one["minutes"] + line["seconds"] / 60, 1)
        one["executions"] += line["executions"]
        one["slices"] += 1
        one["finds"] += line["find"] is not None
        one["last"] = line["commit"]
        one["corpus"] = line["corpus"]
        one["covered"] = max(one.get("covered", 0), line["covered"])
        one["resident_mib"] = max(one.get("resident_mib", 0), line["resident_mib"])
        one["growth_kib"] = line["growth"]["end_kib"] - line["growth"]["warm_kib"]
        one["growth_runs"] = line["growth"]["runs"]
    return {name: sums[name] for name in TARGETS if name in sums}


def table(sums: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of docs/fuzzing.md."""
    rows = [
        "| target | parser | minutes | executions | a second | inputs kept | edges | finds | memory grew by |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in sums.items():
        rate = one["executions"] / (one["minutes"] * 60) if one["minutes"] else 0
        rows.append(
            f"| `{name}` | {TARGETS[name].parser} | {one['minutes']:.0f} | {one['executions']:,} | {rate:,.0f} "
            f"| {one['corpus']:,} | {one['covered']:,} | {one['finds']} "
            f"| {one['growth_kib']} KiB in {one['growth_runs']:,} runs |"
        )
    executions = sum(one["executions"] for one in sums.values())
    minutes = sum(one["minutes"] for one in sums.values())
    rows.append(
        f"| all | | {minutes:.0f} | {executions:,} | | | | {sum(o['finds'] for o in sums.values())} | |"
    )
    return "\n".join(rows)


def put_into(page: str, shown: str) -> str:
    """The page with the table between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{shown}\n{END}{tail}"


def publish(page: Path = PAGE, measured: Path = MEASURED) -> None:
    """Writes the sums of all slices so far into the repository."""
    sums = added_up(slices())
    measured.write_text(json.dumps(sums, indent=1) + "\n")
    page.write_text(put_into(page.read_text(), table(sums)))
