"""docs/commands.md is what the program makes of itself; the shapes in it can be checked and are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.cli.main import program
from tests.docs.page import Page
from tools.commands_page.page import page
from tools.commands_page.shapes import SHAPES, Fields, Many, Texts, Value, faults


def test_the_page_is_of_this_program() -> None:
    written = Page("docs/commands.md").text
    assert written == page(program), "write it anew: .venv/bin/python -m tools.commands_page"


def test_each_command_has_its_section() -> None:
    text = Page("docs/commands.md").text
    for name in SHAPES:
        assert f"\n## {name}\n" in text


ONE = Fields("", {"name": Value("text", ""), "size": Value("number", "", null=True)})


@pytest.mark.parametrize(
    ("shape", "value", "count"),
    [
        (ONE, {"name": "a", "size": 1}, 0),
        (ONE, {"name": "a", "size": None}, 0),
        (ONE, {"name": None, "size": 1}, 1),
        (ONE, {"name": "a"}, 1),
        (ONE, {"name": "a", "size": True}, 1),
        (ONE, {"name": "a", "size": 1, "more": 2}, 1),
        (ONE, [], 1),
        (ONE, None, 1),
        (Many("", ONE), [], 0),
        (Many("", ONE), [{"name": "a", "size": 1}, {"name": 1, "size": 1}], 1),
        (Many("", ONE), {}, 1),
        (Texts(""), ["a"], 0),
        (Texts(""), ["a", 1], 1),
        (Value("yes or no", ""), True, 0),
        (Value("yes or no", ""), 1, 1),
        (Value("any", ""), None, 0),
    ],
)
def test_what_is_not_of_a_shape_is_told(shape: Any, value: Any, count: int) -> None:
    assert len(faults(shape, value)) == count
