"""`partpay-bridge`: the commands, each in the file of its noun, loaded when it is called.

- Exit status: 0 done, 1 it failed, 2 it was used wrongly.
- What a command tells goes to stdout; errors, prompts and progress go to stderr.
- Loading nothing that a command does not need keeps `run` at a twentieth of a second: see
  `COMMANDS`.
"""

import sqlite3
import sys
from importlib import import_module
from typing import Final

import click

from bridge.cli.command import Command, Group, fail
from bridge.config import ConfigError
from bridge.control import CommandError
from bridge.registry import RegistryError
from bridge.state_dir import StateDirError

COMMANDS: Final = {
    "run": "bridge.cli.run:run",
    "check-config": "bridge.cli.check_config:check_config",
    "merchants": "bridge.cli.merchants:merchants",
    "terminals": "bridge.cli.terminals:terminals",
    "ports": "bridge.cli.ports:ports",
    "pair": "bridge.cli.pair:pair",
    "profiles": "bridge.cli.profiles:profiles",
    "display": "bridge.cli.display:display",
    "status": "bridge.cli.status:status",
    "doctor": "bridge.cli.doctor:doctor",
    "trace": "bridge.cli.trace:trace",
    "tenders": "bridge.cli.tenders:tenders",
    "audit": "bridge.cli.audit:audit",
    "install-service": "bridge.cli.install_service:install_service",
}
"""Name -> where it is, as `module:attribute`."""


class _Program(Group):
    """The commands of `COMMANDS`, in that order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found = getattr(import_module(module), attribute)
        assert isinstance(found, Command | Group)
        return found


def _version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 (10 ms that no other command needs)

        click.echo(f"partpay-bridge {version('partpay-terminal-bridge')}")
        ctx.exit()


@click.command(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Its version.",
)
def program() -> None:
    """PartPay on payment terminals: the bridge between the two.

    \b
    partpay-bridge merchants add --id M1 --name "Shoe Shop"
    partpay-bridge pair
    partpay-bridge doctor
    """


def main() -> None:
    """The program. Ends the process."""
    try:
        program(prog_name="partpay-bridge")
    except ConfigError as error:
        for problem in error.problems:
            fail(str(problem))
        sys.exit(2)
    except (CommandError, RegistryError) as error:
        fail(str(error))
        sys.exit(error.exit_status)
    except (StateDirError, sqlite3.Error, OSError) as error:
        fail(str(error))
        sys.exit(1)
