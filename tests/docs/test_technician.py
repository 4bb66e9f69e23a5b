"""docs/technician.md and README.md name commands that there are; every document's links lead somewhere."""

import re
from pathlib import Path

import click
import pytest

from bridge.cli.main import program
from bridge.config_values import PLACEHOLDER
from tests.docs.page import TOP, Page

PAGE = Page("docs/technician.md")
DOCUMENTS = sorted([*(TOP / "docs").glob("*.md"), TOP / "README.md", TOP / "CONTRIBUTING.md"])


def _commands(text: str) -> list[str]:
    return re.findall(r"partpay-bridge ((?:[a-z][a-z-]+(?: |(?=`)|$))+)", text, re.MULTILINE)


def _exists(words: list[str]) -> bool:
    """Whether the first words are a command; what follows a command that is no group is its own business."""
    at: click.Command = program
    for word in words:
        if not isinstance(at, click.Group):
            return True
        found = at.get_command(click.Context(at), word)
        if found is None:
            return False
        at = found
    return at is not program


@pytest.mark.parametrize("name", ["docs/technician.md", "README.md", "docs/packaging.md"])
def test_every_command_that_is_named_is_there(name: str) -> None:
    found = [one.split() for one in _commands(Page(name).text)]
    words = [one for one in found if one and one[0] not in ("is", "which")]
    assert [one for one in words if not _exists(one)] == []


def test_the_steps_come_in_the_order_in_which_they_are_needed() -> None:
    wanted = ["check-config", "status", "merchants add", "ports", "pair", "doctor", "tenders list"]
    blocks = "".join(block.text for block in PAGE.blocks("console"))
    places = [blocks.index(f"partpay-bridge {command}") for command in wanted]
    assert places == sorted(places)


def test_what_the_example_lacks_is_told_with_its_lines() -> None:
    example = (TOP / "config/bridge.toml").read_text(encoding="utf-8").splitlines()
    lines = [number for number, line in enumerate(example, 1) if line.endswith(f'"{PLACEHOLDER}"')]
    assert [int(one) for one in re.findall(r"bridge\.toml:(\d+):", PAGE.text)] == lines


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
