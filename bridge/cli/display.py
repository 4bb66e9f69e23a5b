"""`partpay-bridge display …`: panels, and displays beside them."""

import base64
import os
import sys
from pathlib import Path

import click

from bridge.cli.asking import facts
from bridge.cli.command import Group, wants_json
from bridge.cli.printing import put_json, shown
from bridge.control import TryDisplay


@click.group(cls=Group)
def display() -> None:
    """What customers look at.

    \b
    partpay-bridge display test T0000001
    """


@display.command()
@click.argument("key", metavar="TERMINAL|PORT")
@click.option(
    "--png", metavar="FILE", type=click.Path(path_type=Path), help="The panel as a picture, too."
)
@click.option("--clear", is_flag=True, help="Take the test picture away again.")
def test(key: str, png: Path | None, clear: bool) -> None:
    """Show a test QR code on a terminal's panel, and on the display beside it.

    It can pay nothing; whoever scans it reads that the display works. A panel with a sale on it is
    left alone. --png writes the panel pixel for pixel; of a second display into FILE-2.png.

    \b
    partpay-bridge display test T0000001
    partpay-bridge display test T0000001 --png panel.png
    """
    told = facts(TryDisplay(key, clear))
    for at, one in enumerate(told):
        one["png"] = _write(one.pop("picture"), png, at)
    if wants_json():
        put_json(told)
    else:
        for one in told:
            click.echo(f"{shown(one['where'])}: {shown(one['what'])}")
            if one["png"] is not None:
                click.echo(f"  its picture: {one['png']}")
    if any(one["shown"] is False for one in told):
        sys.exit(1)
    if not clear and not wants_json() and sys.stdin.isatty():
        click.prompt(
            "Scanned? Enter takes it away",
            default="",
            show_default=False,
            err=True,
            prompt_suffix=" ",
        )
        facts(TryDisplay(key, clear=True))


def _write(picture: str | None, png: Path | None, at: int) -> str | None:
    if picture is None or png is None:
        return None
    path = png if at == 0 else png.with_name(f"{png.stem}-{at + 1}{png.suffix}")
    path.write_bytes(base64.b64decode(picture))
    return os.fspath(path)
