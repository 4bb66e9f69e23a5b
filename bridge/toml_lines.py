"""Where each key of a TOML text stands, which tomllib does not tell.

Looks at the beginnings of lines, outside of multi-line strings. Good for pointing a person at a
line; nothing else rests on it.
"""

import re
from typing import Final

_TABLE_LINE: Final = re.compile(r"\s*\[\[?\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?")
_KEY_LINE: Final = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""")


def key_lines(text: str) -> dict[str, int]:
    """Where each table and key of a TOML text stands: dotted name -> line, from 1.

    tomllib does not tell. Looks at the beginnings of lines, outside of multi-line strings; keys
    inside of inline tables have the line of their table.
    """
    found: dict[str, int] = {}
    section = ""
    closing = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:
            if closing in line:
                closing = ""
            continue
        if match := _TABLE_LINE.fullmatch(line):
            section = _dotted(match[1])
            found.setdefault(section, number)
            continue
        if match := _KEY_LINE.match(line):
            key = _dotted(match[1])
            found.setdefault(f"{section}.{key}" if section else key, number)
            for quotes in ('"""', "'''"):
                if line.count(quotes) == 1:
                    closing = quotes
    return found


def _dotted(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
