"""A document as tests read it: tables and code blocks by the name that stands over them.

<!-- table: NAME -->          the next table; several of one name are one table
```WORD WORD …                a code block; its words say what it is
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]

_MARK = re.compile(r"<!-- (table|machine): (?P<name>[^>]+) -->")


@dataclass(frozen=True)
class Block:
    """A code block: `words` of its first line, and what is in it."""

    words: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Page:
    """One document below the repository's top."""

    path: str

    @property
    def text(self) -> str:
        return (TOP / self.path).read_text(encoding="utf-8")

    def rows(self, name: str) -> list[list[str]]:
        """The cells of the table of that name, without its head; code marks are taken off."""
        found: list[list[str]] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            mark = _MARK.fullmatch(line)
            if mark is not None and mark["name"] == name:
                found += _table(lines)
        assert found, f"{self.path} has no table {name!r}"
        return found

    def blocks(self, *words: str) -> list[Block]:
        """The code blocks whose first words are these."""
        found = []
        for first, body in re.findall(
            r"^```([^\n]+)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL
        ):
            block = Block(tuple(first.split()), body)
            if block.words[: len(words)] == words:
                found.append(block)
        return found


def _table(lines: Iterator[str]) -> list[list[str]]:
    rows = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]
