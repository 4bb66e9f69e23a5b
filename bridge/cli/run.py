"""`partpay-bridge run`: the daemon, in the foreground."""

import sys

import click

from bridge.cli.command import Command, config_file
from bridge.config import ConfigError, load, secret_problems
from bridge.state_dir import become_owner


def _load_everything() -> None:
    """At once what the daemon loads when it needs it."""
    from bridge import listener  # noqa: PLC0415 (only here, or when the daemon needs it)
    from bridge.access import load_libraries  # noqa: PLC0415
    from bridge.cli.asking import load_everything  # noqa: PLC0415

    assert listener
    load_everything()
    load_libraries()


@click.command(cls=Command)
def run() -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Says `event=ready` on stderr, and tells systemd, once it takes sales.

    \b
    partpay-bridge run --config /etc/partpay-bridge/bridge.toml
    """
    settings = load(config_file())
    become_owner(settings.bridge.state_dir, _load_everything)
    if problems := secret_problems(settings, serving=True):
        raise ConfigError(problems)
    from bridge import daemon  # noqa: PLC0415 (most commands do without it)

    sys.exit(daemon.run(settings))
