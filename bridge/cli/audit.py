"""`partpay-bridge audit`: whether what always holds did hold.

It reads the journal itself, whether the daemon runs or not: a minute of work has no place beside
sales.
"""

import re
import sys
from typing import Any

import click

from bridge.cli.asking import journal_file, load_everything
from bridge.cli.command import Command, config_file, wants_json
from bridge.cli.printing import Column, put_facts, put_json, put_rows
from bridge.config import load
from bridge.state_dir import become_owner


def _hash(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise click.BadParameter("write the 64 hex digits of event=journal-head")
    return value


@click.command(cls=Command)
@click.option(
    "--head", metavar="HASH", callback=_hash, help="A head that the log told; must be in it."
)
def audit(head: str | None) -> None:
    """Check every sale of the journal.

    Exit status 1 where something does not hold, or where the head is not in the chain.

    \b
    partpay-bridge audit --head 9f2c…    # of a line event=journal-head
    """
    settings = load(config_file())
    become_owner(settings.bridge.state_dir, load_everything)
    journal = journal_file(settings)
    from bridge.audit import audit as audit_journal  # noqa: PLC0415 (no other command needs it)

    told = audit_journal(journal, head)
    if wants_json():
        put_json(told)
    else:
        _put(told)
    if not told["holds"]:
        sys.exit(1)


def _put(told: dict[str, Any]) -> None:
    names: list[Column] = [
        ("holds", "holds"),
        ("sales and refunds", "tenders"),
        ("events", "events"),
        ("head", "head"),
        ("head found", "head_found"),
    ]
    put_facts(told, names)
    if told["broken"]:
        click.echo()
        columns: list[Column] = [("Rule", "invariant"), ("Sale", "tender"), ("What", "what")]
        put_rows(told["broken"], columns, none="")
