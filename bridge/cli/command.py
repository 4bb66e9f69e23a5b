"""What every command has: `--config` and `--json`, before the command's name or after it.

The one that stands nearest to the command holds where both are given.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from bridge.config import DEFAULT_FILE

_CONFIG: Final = "partpay-bridge.config"
_JSON: Final = "partpay-bridge.json"


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            ctx.meta[key] = value

    return callback


def _shared_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_keep(_CONFIG),
            help=f"Else {DEFAULT_FILE}.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_keep(_JSON),
            help="Facts as JSON on stdout.",
        ),
    ]


class Command(click.Command):
    """A command with the shared options."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.params = [*self.params, *_shared_options()]


class Group(click.Group):
    """A noun with the shared options; its verbs have them, too."""

    command_class = Command

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.params = [*self.params, *_shared_options()]


def config_file() -> Path:
    """Which configuration the present command was given."""
    found = click.get_current_context().meta.get(_CONFIG, DEFAULT_FILE)
    assert isinstance(found, Path)
    return found


def wants_json() -> bool:
    """Whether the present command was asked for JSON."""
    return bool(click.get_current_context().meta.get(_JSON, False))


def fail(text: str) -> None:
    """Says on stderr what went wrong."""
    click.echo(f"partpay-bridge: {text}", err=True)
