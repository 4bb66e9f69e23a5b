"""How facts are shown: JSON for programs, a table for a person at a terminal, plain columns for a
pipe.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from bridge.cli.command import wants_json

Row = Mapping[str, Any]
Column = tuple[str, str | Callable[[Row], Any]]
"""A heading, and the key or function that gives its value."""


def put_json(value: Any) -> None:
    """One value, whole."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def put_rows(rows: Iterable[Row], columns: Sequence[Column], *, none: str) -> None:
    """A list. `none`: what is said on stderr where it is empty."""
    if wants_json():
        _put_json_rows(rows)
        return
    table = [[_cell(row, column) for _, column in columns] for row in rows]
    if not table:
        click.echo(none, err=True)
        return
    headings = [heading for heading, _ in columns]
    if sys.stdout.isatty():
        _put_rich(headings, table)
        return
    widths = [max(map(len, column)) for column in zip(headings, *table, strict=True)]
    for line in ([heading.upper() for heading in headings], *table):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def put_facts(value: Row, lines: Sequence[Column]) -> None:
    """One thing: a line for each fact that it has."""
    if wants_json():
        put_json(value)
        return
    width = max(len(name) for name, _ in lines)
    for name, column in lines:
        cell = _cell(value, column)
        if cell:
            click.echo(f"{name.ljust(width)}  {cell}")


def _put_json_rows(rows: Iterable[Row]) -> None:
    # Row by row: an export may be larger than memory.
    before = "["
    for row in rows:
        click.echo(f"{before}\n  {json.dumps(row, ensure_ascii=False)}", nl=False)
        before = ","
    click.echo("\n]" if before == "," else "[]")


def _put_rich(headings: Sequence[str], table: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 (40 ms, for people alone)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    whole = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        whole.add_column(heading, overflow="fold")
    for line in table:
        whole.add_row(*(Text(cell) for cell in line))
    Console().print(whole)


def _cell(row: Row, column: str | Callable[[Row], Any]) -> str:
    value = row.get(column) if isinstance(column, str) else column(row)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        value = ", ".join(str(one) for one in value)
    return shown(str(value))


def shown(text: str) -> str:
    """A text as it may stand on a screen: what a terminal or PartPay said must not steer it."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def money(minor: int | None) -> str:
    """Minor units as a person writes them: 1250 -> 12.50."""
    if minor is None:
        return ""
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d}"


def amount(key: str = "amount_minor") -> Callable[[Row], str]:
    """A column of money."""
    return lambda row: money(row.get(key))


def duration(seconds: float) -> str:
    """A time that passed, in its largest unit: 7205 -> 2 h."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
