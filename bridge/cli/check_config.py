"""`partpay-bridge check-config`: what is wrong, where, and what would be right."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from bridge.cli.command import Command, config_file, wants_json
from bridge.cli.printing import put_json
from bridge.config import ConfigError, Problem, Settings, load, notes, secret_problems
from bridge.journal.stamp import STAMP_FILE
from bridge.journal.stamp import read as read_stamp
from bridge.state_dir import become_owner


@click.command(cls=Command)
def check_config() -> None:
    """Say whether the configuration and its secrets can be used.

    Prints OK, or everything that is wrong (exit status 2). As root, the secrets are read as the
    owner of state_dir.

    \b
    partpay-bridge check-config --config new.toml
    """
    remarks: tuple[Problem, ...] = ()
    try:
        settings = load(config_file())
        become_owner(settings.bridge.state_dir)
        problems = (*secret_problems(settings), *_of_another_environment(settings))
        remarks = notes(settings)
    except ConfigError as error:
        problems = error.problems
    if wants_json():
        put_json(
            {
                "ok": not problems,
                "problems": [_as_json(one) for one in problems],
                "notes": [_as_json(one) for one in remarks],
            }
        )
    else:
        for remark in remarks:
            click.echo(f"note: {remark}", err=True)
        for problem in problems:
            click.echo(str(problem))
        if not problems:
            click.echo("OK")
    if problems:
        sys.exit(2)


def _of_another_environment(settings: Settings) -> Iterator[Problem]:
    """With this the daemon would not start: what is remembered is of sales elsewhere."""
    folder, key = settings.bridge.state_dir, "partpay.environment"
    stamp = read_stamp(folder / STAMP_FILE)
    if stamp is not None and stamp.environment != settings.partpay.environment.value:
        yield Problem(
            settings.file,
            settings.lines.get(key),
            key,
            f"is {settings.partpay.environment.value}, and {folder} is of {stamp.environment}",
            f"set it back, or begin anew: stop the daemon, and move {folder} aside",
        )


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": str(problem.file),
        "line": problem.line,
        "key": problem.key,
        "what": problem.what,
        "remedy": problem.remedy,
    }
