"""Shell completion: click's scripts for bash, zsh and fish, which ask the program itself what fits."""

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")


def completion(shell: str, program: click.Command) -> str:
    """The script for that shell, one of `SHELLS`."""
    kind = get_completion_class(shell)
    assert kind is not None
    name = "partpay-bridge"
    # Not its source(): that runs bash to see how old it is.
    made = kind(program, {}, name, "_PARTPAY_BRIDGE_COMPLETE")
    return made.source_template % made.source_vars()
