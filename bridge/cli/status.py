"""`partpay-bridge status`: what is going on just now."""

from typing import Any

import click

from bridge.cli.asking import facts
from bridge.cli.command import Command, wants_json
from bridge.cli.printing import duration, put_json, put_rows
from bridge.control import Status


@click.command(cls=Command)
def status() -> None:
    """Say what is going on, and what is wrong.

    Exit status 1 where no daemon runs.

    \b
    partpay-bridge status
    partpay-bridge status --json | jq .conditions
    """
    told = facts(Status())
    if wants_json():
        put_json(told)
        return
    click.echo(
        f"{told['store']} ({told['environment']}): {told['status']}, "
        f"up {duration(told['up_s'])}, version {told['version']}, process {told['pid']}"
    )
    tenders = told["tenders"]
    click.echo(
        f"sales: {tenders['open']} open, {tenders['unstored']} not yet stored by their terminals, "
        f"{tenders['owed']} reversals owed, {tenders['attention']} for attention"
    )
    click.echo(f"listener: {told['listener']}" + ("" if told["callbacks"] else ", no callbacks"))
    for condition in told["conditions"]:
        since = duration(condition["for_s"])
        click.echo(f"{condition['severity']}: {condition['text']} (for {since})")
    click.echo()
    put_rows(
        told["lines"],
        [
            ("Port", "port"),
            ("Line", _line),
            ("Terminal", "terminal"),
            ("Serial", "serial"),
            ("Model", "model"),
            ("Firmware", "firmware"),
        ],
        none="no terminal is registered; see: partpay-bridge terminals add --help",
    )


def _line(line: Any) -> str:
    if not line["open"]:
        return "not there"
    return "up" if line["up"] else "silent"
