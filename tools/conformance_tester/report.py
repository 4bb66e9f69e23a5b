"""The report: rule by rule, what came of it and the bytes, for a person and for a program.

Rules
- The text has every rule in the order of the table; bytes follow the verdict, shortened only where
  they are long. The JSON has the same, with all bytes.
- A broken rule is listed again at the end, where a person looks first.
"""

from __future__ import annotations

import json
from typing import Any

from tools.conformance_tester.run import Outcomes, Result, Verdict

FORMAT = 1
"""Of the JSON; a new number where a reader has to know."""

MARKS = {Verdict.KEPT: "kept", Verdict.BROKEN: "BROKEN", Verdict.NOT_CHECKED: "-"}


def one_line(result: Result) -> str:
    """The verdict, as it is told while the run goes on."""
    line = (
        f"{MARKS[result.verdict]:7} {result.rule.id:26} {result.rule.section:9} {result.rule.text}"
    )
    return f"{line}\n        {result.why}" if result.why else line


def text(outcomes: Outcomes, *, brief: bool = False) -> str:
    """The whole report. `brief`: bytes of broken rules alone."""
    lines = [*_head(outcomes), ""]
    for result in outcomes.results:
        lines.append(one_line(result))
        lines += [f"        note: {note}" for note in result.notes]
        if result.verdict is Verdict.BROKEN or not brief:
            lines += [f"        {entry.text(result.start_s)}" for entry in result.entries]
    return "\n".join([*lines, "", *_end(outcomes)])


def _head(outcomes: Outcomes) -> list[str]:
    hello = outcomes.hello
    lines = ["Terminal link, version 1: conformance of a terminal", f"port      {outcomes.port}"]
    lines.append(f"dialect   {outcomes.dialect}")
    if hello is not None:
        lines += [
            f"terminal  {hello.terminal_id}, serial number {hello.serial_number}",
            f"model     {hello.model}, firmware {hello.firmware}",
            f"panel     {hello.panel_width} x {hello.panel_height}, formats {hello.formats.hex(' ')}, "
            f"max body {hello.max_body}",
        ]
    return lines


def _end(outcomes: Outcomes) -> list[str]:
    counts = {verdict: outcomes.count(verdict) for verdict in Verdict}
    lines = [
        f"broken: {r.rule.id}: {r.why}" for r in outcomes.results if r.verdict is Verdict.BROKEN
    ]
    lines.append(
        f"{len(outcomes.results)} rules: {counts[Verdict.KEPT]} kept, {counts[Verdict.BROKEN]} broken, "
        f"{counts[Verdict.NOT_CHECKED]} not checked; {outcomes.took_s:.0f} s"
    )
    return lines


def as_json(outcomes: Outcomes) -> str:
    """The same for a program."""
    hello = outcomes.hello
    data = {
        "format": FORMAT,
        "port": outcomes.port,
        "dialect": outcomes.dialect,
        "terminal": None
        if hello is None
        else {
            "terminal_id": hello.terminal_id,
            "serial_number": hello.serial_number,
            "model": hello.model,
            "firmware": hello.firmware,
            "panel": [hello.panel_width, hello.panel_height],
            "formats": hello.formats.hex(),
            "max_body": hello.max_body,
        },
        "counts": {verdict.value: outcomes.count(verdict) for verdict in Verdict},
        "took_s": round(outcomes.took_s, 3),
        "rules": [_rule(result) for result in outcomes.results],
    }
    return json.dumps(data, indent=1, ensure_ascii=False)


def _rule(result: Result) -> dict[str, Any]:
    rule = result.rule
    return {
        "id": rule.id,
        "section": rule.section,
        "text": rule.text,
        "how": rule.how,
        "verdict": result.verdict.value,
        "why": result.why,
        "notes": list(result.notes),
        "took_s": round(result.took_s, 3),
        "bytes": [entry.json(result.start_s) for entry in result.entries],
    }
