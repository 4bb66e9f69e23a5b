"""`partpay-bridge trace`: the line live, frame by frame, decoded; saved, and printed again."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, TextIO

import click

from bridge.cli.asking import rows
from bridge.cli.command import Command, wants_json
from bridge.cli.printing import put_rows, shown
from bridge.control import CommandError, Trace

SHOWN_HEX: Final = 32
"""Hex digits of a frame that a person sees; a saved trace has them all."""
GONE: Final = 141
"""As a shell says that a pipe's reader has gone."""


@click.command(cls=Command)
@click.argument("key", metavar="[TERMINAL|PORT]", required=False)
@click.option("--save", metavar="FILE", type=click.Path(path_type=Path), help="Write it down, too.")
@click.option(
    "--replay",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Print a saved one; no line and no daemon.",
)
def trace(key: str | None, save: Path | None, replay: Path | None) -> None:
    """Watch what goes over a line, frame by frame, decoded, without secrets; ^C ends it.

    T>B is said by the terminal, B>T by the bridge. A saved trace holds every byte but secrets, and
    can be given to the conformance tester.

    \b
    partpay-bridge trace T0000001
    partpay-bridge trace T0000001 --save line.trace
    partpay-bridge trace --replay line.trace
    """
    if (key is None) == (replay is None):
        raise click.UsageError(
            "name a terminal or a port, or --replay FILE", click.get_current_context()
        )
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        # As root, before the command goes on as somebody else.
        file = None if save is None else stack.enter_context(_open(save))
        try:
            if replay is not None:
                _put(_replayed(replay), file)
            else:
                assert key is not None
                _put(stack.enter_context(rows(Trace(key))), file)
        except BrokenPipeError:
            # Who reads has enough; the interpreter must not stumble over it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(GONE)


def _open(path: Path) -> TextIO:
    # Amounts and references are nobody else's business.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def _put(told: Iterator[Mapping[str, Any]], file: TextIO | None) -> None:
    if wants_json():
        put_rows(_kept(told, file), [], none="")
        return
    for row in _kept(told, file):
        click.echo(shown(for_people(row)))


def _kept(told: Iterator[Mapping[str, Any]], file: TextIO | None) -> Iterator[Mapping[str, Any]]:
    """Each row once it is written down; empty ones show only that the daemon is there."""
    with suppress(KeyboardInterrupt):
        for row in told:
            if not row:
                continue
            if file is not None:
                file.write(row["line"] + "\n")
                file.flush()
            yield row
            sys.stdout.flush()


def for_people(row: Mapping[str, Any]) -> str:
    """One row on a screen: long hex is cut."""
    if row["time_s"] is None:
        return f"# {row['words']}"
    hex_ = row["hex"]
    if len(hex_) > SHOWN_HEX:
        hex_ = f"{hex_[:SHOWN_HEX]}…({len(hex_) // 2} bytes)"
    words = [f"{row['time_s']:.6f}", row["way"], f"{row['kind']:<5}"]
    words += [row["words"]] if row["kind"] == "frame" else [row["words"], hex_]
    if row["kind"] == "frame":
        words.append(f"[{hex_}]")
    return " ".join(word for word in words if word).rstrip()


def _replayed(path: Path) -> Iterator[Mapping[str, Any]]:
    from bridge.tracing import as_remark, as_row  # noqa: PLC0415 (only here)
    from drivers.link.trace import NotATraceLine, parse  # noqa: PLC0415

    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if text.startswith("#"):
                yield as_remark(text.removeprefix("#").strip())
            elif text.strip():
                try:
                    yield as_row(parse(text))
                except NotATraceLine as fault:
                    what = f"{path}:{number}: {fault}"
                    raise CommandError(2, what, "name a file that trace --save wrote") from None
