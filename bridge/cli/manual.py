"""The manual pages, made from the program and from the example configuration, so that neither can go stale.

- partpay-bridge(8): every command with its help and options, as click knows them.
- bridge.toml(5): every section and key of `config/bridge.toml`, with the comment above it. A line `# key = value` is
  a key that may be left out, and its default.
- Plain man(7) in UTF-8. Values come in, text goes out: nothing is read or written here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Final

import click

SECTION_NAME: Final = "PartPay Terminal Bridge"

NOTHING: Final = "\u2026"
"""Where there is no text: man(7) would take the next entry for it."""

_SHARED: Final = frozenset({"--config", "--json", "--help"})

_EXIT_STATUS: Final = (
    ("0", "It was done."),
    ("1", "It failed; for `status`: no daemon is running."),
    (
        "2",
        "It was used wrongly: an unknown option, a mistake in the configuration, several matches.",
    ),
)
_FILES: Final = (
    ("/etc/partpay-bridge/bridge.toml", "The configuration; see bridge.toml(5)."),
    (
        "/var/lib/partpay-bridge",
        "Journal and registry: what must survive. Its owner alone may look.",
    ),
    ("/run/partpay-bridge/control.sock", "Where commands reach the running daemon."),
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the configuration: `line` as the example has it, with "# " where it may be left out."""

    name: str
    line: str
    text: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the configuration, "" what stands before the first one: remarks and keys in the file's order."""

    name: str
    parts: tuple["tuple[str, ...] | Key", ...]


def program_page(program: click.Command, version: str) -> str:
    """partpay-bridge(8)."""
    context = click.Context(program, info_name="partpay-bridge")
    summary, _, rest = cleandoc(program.help or "").partition("\n\n")
    lines = [
        _head("PARTPAY-BRIDGE", 8, version),
        ".SH NAME",
        f"partpay-bridge \\- {_escaped(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B partpay-bridge\n{_escaped(' '.join(program.collect_usage_pieces(context)))}",
        ".SH DESCRIPTION",
        "The daemon between payment terminals and PartPay, and the commands by which it is set up and looked into.",
        *_paragraphs(rest),
        ".SH OPTIONS",
        _escaped(
            "--config and --json stand before a command or after it. Every command has --help."
        ),
        *_options(program, context, shared=True),
        ".SH COMMANDS",
        *_commands(program, context),
        ".SH EXIT STATUS",
        *_listed(_EXIT_STATUS),
        ".SH FILES",
        *_listed(_FILES),
        ".SH SEE ALSO",
        ".BR bridge.toml (5),\n.BR systemctl (1),\n.BR journalctl (1)",
    ]
    return "\n".join(lines) + "\n"


def config_page(example: str, version: str) -> str:
    """bridge.toml(5). `example`: the text of the example configuration."""
    lines = [
        _head("BRIDGE.TOML", 5, version),
        ".SH NAME",
        "bridge.toml \\- configuration of the PartPay terminal bridge",
        ".SH SYNOPSIS",
        ".I /etc/partpay\\-bridge/bridge.toml",
    ]
    for section in sections_of(example):
        lines.append(f".SH [{_escaped(section.name)}]" if section.name else ".SH DESCRIPTION")
        for part in section.parts:
            if isinstance(part, Key):
                lines += [".TP", f".B {_escaped(part.line)}", *_remark(part.text or (NOTHING,))]
            else:
                lines += [".PP", *_remark(part)]
    lines += [".SH SEE ALSO", ".BR partpay\\-bridge (8)"]
    return "\n".join(lines) + "\n"


def sections_of(example: str) -> Iterator[Section]:
    """The example configuration, taken apart."""
    name, parts, comment = "", list[tuple[str, ...] | Key](), list[str]()
    for line in example.splitlines():
        section = re.fullmatch(r"\[([a-z.]+)\]", line)
        key = re.fullmatch(r"(?:# )?([a-z_]+) = [^ ].*", line)
        if key:
            parts.append(Key(key[1], line, tuple(comment)))
            comment = []
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").removeprefix(" "))
        elif comment and not section:
            parts.append(tuple(comment))
            comment = []
        elif section:
            yield Section(name, tuple(parts))
            name, parts, comment = section[1], [tuple(comment)] if comment else [], []
    yield Section(name, tuple(parts))


def commands_of(
    group: click.Command, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command below it that is shown, depth first, each with its context."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        yield command, below
        yield from commands_of(command, below)


def _commands(program: click.Command, context: click.Context) -> Iterator[str]:
    for command, below in commands_of(program, context):
        usage = f"{below.command_path} {' '.join(command.collect_usage_pieces(below))}"
        yield f".SS {_escaped(usage)}"
        yield from _paragraphs(cleandoc(command.help or ""))
        yield from _options(command, below)


def _options(
    command: click.Command, context: click.Context, *, shared: bool = False
) -> Iterator[str]:
    for parameter in command.get_params(context):
        if shared or not _SHARED.intersection(parameter.opts):
            record = parameter.get_help_record(context)
            name = record[0] if record else parameter.make_metavar(context)
            if record and record[1]:
                yield from _listed([(name, record[1])])
            elif isinstance(parameter, click.Option):
                yield from _listed([(name, NOTHING)])


def _remark(text: tuple[str, ...]) -> Iterator[str]:
    """Lines of a comment: those set in columns stay as they are."""
    kept = False
    for line in text:
        columns = "   " in line
        if columns != kept:
            yield ".nf" if columns else ".fi"
            kept = columns
        yield _escaped(line)
    if kept:
        yield ".fi"


def _listed(pairs: "tuple[tuple[str, str], ...] | list[tuple[str, str]]") -> Iterator[str]:
    for name, text in pairs:
        yield f".TP\n.B {_escaped(name)}\n{_escaped(text)}"


def _paragraphs(text: str) -> Iterator[str]:
    """click's help: paragraphs by empty lines; one that begins with \\b keeps its lines."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            kept = "\n".join(_escaped(line) for line in paragraph.splitlines()[1:])
            yield f".PP\n.nf\n.RS 4\n{kept}\n.RE\n.fi"
        elif paragraph.strip():
            yield f".PP\n{_escaped(' '.join(paragraph.split()))}"


def _head(name: str, section: int, version: str) -> str:
    return f'.TH {name} {section} "" "partpay\\-bridge {version}" "{SECTION_NAME}"\n.nh\n.ad l'


def _escaped(text: str) -> str:
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", plain)
