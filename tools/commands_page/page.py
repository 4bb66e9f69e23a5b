"""docs/commands.md, made from the program and from SHAPES, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Final

import click

from tools.commands_page.shapes import SHAPES, ByName, Fields, Many, Shape, Texts, Value

SHARED: Final = frozenset({"--config", "--json", "--help"})

HEAD: Final = """\
# Commands

One program, `partpay-bridge`; what it does is a word or two after its name. This page is made by
`python -m tools.commands_page` from the program itself, and a test holds it to it.

- `--config FILE` names the configuration (else `/etc/partpay-bridge/bridge.toml`), `--json` asks for
  facts as JSON on stdout. Both stand before the command or after it.
- Exit status 0: done. 1: it failed, or what was asked about is not as it should be (`doctor`, `audit`,
  `status` without a daemon). 2: it was used wrongly: an unknown option, a mistake in the configuration,
  several matches.
- Prompts, progress, notes and errors go to stderr.
- Commands that change the registry work whether the daemon runs or not; a running daemon takes the
  change up by itself.

## JSON

What is listed for a command is always there, and nothing else is; `or null` where there may be nothing to
say. Lists are arrays. Amounts are whole numbers of minor units (cents). Times are ISO 8601; days and times
of sales are the shop's. Fields may be added in a later release: read what you know, pass over the rest.
"""


def page(program: click.Command) -> str:
    """The whole document."""
    parts = [HEAD]
    for path, command in _commands(program, ()):
        parts.append(_section(path, command))
    return "\n".join(parts)


def _commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from _commands(inner, (*path, name))


def _section(path: tuple[str, ...], command: click.Command) -> str:
    name = " ".join(path)
    lines = [f"## {name}", ""]
    text, examples = _help(command)
    lines += [text, ""]
    usage = " ".join(["partpay-bridge", *path, *_usage(command)])
    lines += ["```", usage, "```", ""]
    if options := list(_options(command)):
        lines += ["| option | |", "| --- | --- |", *options, ""]
    if examples:
        lines += ["```", *examples, "```", ""]
    shape = SHAPES[name]
    if shape is None:
        lines += ["It prints no facts.", ""]
    else:
        lines += [f"`--json`: {_in_words(shape)}", ""]
        lines += ["| key | value | |", "| --- | --- | --- |", *_rows(shape, ""), ""]
    return "\n".join(lines)


def _help(command: click.Command) -> tuple[str, list[str]]:
    """The text, and the examples that stand in it."""
    paragraphs = cleandoc(command.help or "").split("\n\n")
    text = [" ".join(one.split()) for one in paragraphs if not one.startswith("\b")]
    examples = [
        line
        for one in paragraphs
        if one.startswith("\b")
        for line in one.removeprefix("\b").strip("\n").splitlines()
    ]
    return "\n\n".join(text), examples


def _usage(command: click.Command) -> list[str]:
    context = click.Context(command)
    return command.collect_usage_pieces(context)


def _options(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or SHARED & set(parameter.opts):
            continue
        record = parameter.get_help_record(context)
        assert record is not None
        name, text = record
        yield f"| `{_cell(name)}` | {_cell(text)} |"


def _in_words(shape: Shape) -> str:
    match shape:
        case Many(meaning=meaning):
            return f"a list of objects{f', {meaning}' if meaning else ''}."
        case Fields(meaning=meaning):
            return f"one object{f': {meaning}' if meaning else ''}."
        case _:
            return "a value."


def _rows(shape: Shape, before: str) -> Iterator[str]:
    match shape:
        case Many(each=each):
            yield from _rows(each, before)
        case Fields(keys=keys):
            for name, inner in keys.items():
                yield _row(f"{before}{name}", inner)
                match inner:
                    case Many(each=each):
                        yield from _rows(each, f"{before}{name}[].")
                    case Fields():
                        yield from _rows(inner, f"{before}{name}.")
        case _:
            return


def _row(name: str, shape: Shape) -> str:
    match shape:
        case Value(kind=kind):
            what = kind
        case Texts():
            what = "list of texts"
        case Many():
            what = "list of objects"
        case Fields() | ByName():
            what = "object"
    if getattr(shape, "null", False):
        what += " or null"
    return f"| `{name}` | {what} | {_cell(shape.meaning)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
