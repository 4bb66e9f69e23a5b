"""docs/logs.md names every event that the code can log, with its level and fields; its examples are the program's."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bridge.log import OURS, as_json, logfmt
from bridge.tender import Kind, State
from tests.docs.page import TOP, Page

PAGE = Page("docs/logs.md")
LEVELS = {"exception": "error", "critical": "error"}
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
SALE = {"terminal", "counter", "order", "reference"}
STEPS = {*map(str, Kind), *map(str, State), "outcome", "stored", "reversal"}
"""What `engine.log_step` names by the step itself."""
ELSEWHERE = {"library"}
"""What others say: `bridge/log.py`."""
NO_LOG = ("bridge/config.py", "bridge/doctor/", "bridge/cli/")
"""Their notes are for the screen."""


@dataclass(frozen=True)
class Logged:
    event: str
    level: str
    fields: frozenset[str]
    place: str


def logged() -> Iterator[Logged]:
    """Every event that is named where it is logged."""
    for room in OURS:
        for file in sorted((TOP / room).rglob("*.py")):
            name = str(file.relative_to(TOP))
            if name.startswith(NO_LOG):
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield from _of_call(node, f"{name}:{node.lineno}")


def _of_call(call: ast.Call, place: str) -> Iterator[Logged]:
    function = ast.unparse(call.func)
    last = function.rpartition(".")[2]
    named = {word.arg: word.value for word in call.keywords if word.arg is not None}
    first = call.args[0] if call.args else None
    extra = named.get("extra")
    if extra is not None:
        assert isinstance(extra, ast.Dict), f"{place}: write extra as a dictionary"
        keys = [key.value if isinstance(key, ast.Constant) else "**" for key in extra.keys]
        assert "event" in keys, f"{place}: name the event"
        event = extra.values[keys.index("event")]
        if isinstance(event, ast.Constant):
            fields = {str(key) for key in keys} - {"event", "**"}
            yield Logged(str(event.value), LEVELS.get(last, last), frozenset(fields), place)
    elif last in ("note", "Note") and isinstance(first, ast.Constant):
        quiet = named.get("attention")
        told = isinstance(quiet, ast.Constant) and quiet.value is False
        yield Logged(str(first.value), "info" if told else "warning", frozenset(), place)
    elif last == "_log_trouble" and isinstance(first, ast.Constant):
        yield Logged(str(first.value), "warning", frozenset({"port", "terminal"}), place)
    elif last in METHODS and function.split(".")[-2:-1] in (["log"], ["_log"]):
        assert isinstance(first, ast.Constant), f"{place}: name the event, or say extra="
        assert re.fullmatch(r"[a-z-]+", str(first.value)), f"{place}: {first.value!r} is no event"
        yield Logged(str(first.value), LEVELS.get(last, last), frozenset(named) - {"text"}, place)


def table() -> dict[str, tuple[set[str], set[str]]]:
    """Event -> its levels and fields, as the page has them."""
    found = {}
    for event, levels, fields, what in PAGE.rows("events"):
        assert what, event
        assert event not in found, f"{event} is there twice"
        known = set(re.findall(r"`?([a-z_]+)`?", fields.replace("a sale's", "")))
        known |= SALE if "a sale's" in fields else set()
        found[event] = ({one.strip() for one in levels.split(",")}, known)
    return found


def test_every_event_is_in_a_table_and_no_other() -> None:
    known = set(table())
    for one in logged():
        assert one.event in known, f"{one.place}: docs/logs.md does not name {one.event}"
    assert known == {one.event for one in logged()} | STEPS | ELSEWHERE


def test_levels_and_fields_are_those_of_the_code() -> None:
    rows = table()
    for one in logged():
        levels, fields = rows[one.event]
        assert one.level in levels, f"{one.place}: {one.event} is {one.level}"
        assert one.fields <= fields, f"{one.place}: {one.event} has {one.fields - fields}"


def test_every_field_is_explained() -> None:
    explained = set()
    for names, _ in PAGE.rows("fields"):
        explained |= set(re.findall(r"[a-z_]+", names))
    used = {field for _, fields in table().values() for field in fields}
    assert used <= explained


def test_what_is_logged_by_pythons_logging_names_its_event() -> None:
    """`log = logging.getLogger(...)`: a line without `event` would be named after its module."""
    for room in OURS:
        for file in sorted((TOP / room).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if "logging.getLogger(__name__)" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                    f"log.{method}" for method in METHODS
                }:
                    named = {word.arg for word in node.keywords}
                    assert "extra" in named, f"{file.relative_to(TOP)}:{node.lineno}"


def test_the_examples_are_as_the_program_writes_them() -> None:
    (plain,) = PAGE.blocks("logfmt")
    (line,) = PAGE.blocks("json-line")
    fields = json.loads(line.text)
    assert list(fields)[:3] == ["time", "level", "event"]
    assert as_json(fields) == line.text.strip()
    assert logfmt(fields) == plain.text.strip()
    assert datetime.fromisoformat(fields["time"]).tzinfo == UTC


def test_the_page_says_how_many_lines_there_may_be() -> None:
    from bridge.log import BURST_LINES, RATE_PER_S

    assert f"({BURST_LINES} at once, then {RATE_PER_S:.0f} a second)" in PAGE.text
    assert Path(TOP / "tests/docs/test_logs.py").name in PAGE.text
