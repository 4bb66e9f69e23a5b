"""`partpay-bridge tenders …`: sales and refunds, one by one and in sums."""

import csv
import sys
from datetime import date
from typing import Any, Final

import click

from bridge.cli.asking import facts, rows
from bridge.cli.command import Group, wants_json
from bridge.cli.printing import Column, amount, put_facts, put_json, put_rows
from bridge.control import (
    Acknowledge,
    ExplainTender,
    Export,
    ListAttention,
    ListTenders,
    ShowTender,
    Totals,
)

_KEY: Final = "[TERMINAL/]COUNTER|ORDER|REFERENCE"
_COLUMNS: Final[list[Column]] = [
    ("Accepted", "accepted_at"),
    ("Terminal", "terminal"),
    ("Counter", "counter"),
    ("Kind", "kind"),
    ("Amount", amount()),
    ("Merchant", "merchant"),
    ("State", "state"),
    ("Code", "code"),
    ("Stored", "stored"),
    ("Reversal", "reversal"),
    ("Order", "order_number"),
]
_FACTS: Final[list[Column]] = [
    ("terminal", "terminal"),
    ("counter", "counter"),
    ("kind", "kind"),
    ("amount", amount()),
    ("merchant", "merchant"),
    ("accepted", "accepted_at"),
    ("state", "state"),
    ("code", "code"),
    ("stored", "stored"),
    ("reversal", "reversal"),
    ("order", "order_number"),
    ("order id", "order_id"),
    ("gateway reference", "gateway_reference"),
    ("terminal's reference", "reference"),
    ("refund of counter", "original_counter"),
]


def _day(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no day; write it as 2024-05-31") from None


@click.group(cls=Group)
def tenders() -> None:
    """Sales and refunds.

    \b
    partpay-bridge tenders list --open
    partpay-bridge tenders show T1/42
    partpay-bridge tenders export --from 2024-05-01 --to 2024-05-31 > may.csv
    """


@tenders.command("list")
@click.option("--open", "open_only", is_flag=True, help="Those that something is still due for.")
@click.option("--terminal", metavar="T", help="Of one terminal.")
@click.option("--from", "first_day", callback=_day, metavar="D", help="From this day on.")
@click.option("--to", "last_day", callback=_day, metavar="D", help="Up to this day.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="So many."
)
def list_(
    open_only: bool, terminal: str | None, first_day: str | None, last_day: str | None, limit: int
) -> None:
    """The latest ones, newest first.

    \b
    partpay-bridge tenders list --open
    partpay-bridge tenders list --terminal T0000001 --from 2024-05-01
    """
    with rows(ListTenders(open_only, terminal, first_day, last_day, limit)) as told:
        put_rows(told, _COLUMNS, none="none")


@tenders.command()
@click.argument("key", metavar=_KEY)
def show(key: str) -> None:
    """One sale or refund, and everything that was written down of it.

    \b
    partpay-bridge tenders show T0000001/42
    """
    told = facts(ShowTender(key))
    put_facts(told, _FACTS)
    if wants_json():
        return
    click.echo()
    columns: list[Column] = [("When", "at"), ("What", "name"), ("Changed", _changed)]
    put_rows(told["events"], columns, none="nothing")


@tenders.command()
@click.argument("key", metavar=_KEY)
def explain(key: str) -> None:
    """What happened, in plain words: was money taken, and what is to be done.

    \b
    partpay-bridge tenders explain 42
    """
    told = facts(ExplainTender(key))
    if wants_json():
        put_json(told)
        return
    put_rows(told["timeline"], [("When", "at"), ("Who", "who"), ("What", "what")], none="nothing")
    click.echo(f"\n{told['money']}\n{told['to_do']}")


@tenders.command()
def attention() -> None:
    """What needs a person.

    \b
    partpay-bridge tenders attention
    """
    columns: list[Column] = [
        ("Entry", "entry"),
        ("Since", "at"),
        ("Terminal", "terminal"),
        ("Counter", "counter"),
        ("Order", "order_number"),
        ("What", "text"),
    ]
    with rows(ListAttention()) as told:
        put_rows(told, columns, none="nothing needs a person")


@tenders.command()
@click.argument("entries", metavar="ENTRY…", type=click.IntRange(1), nargs=-1)
@click.option("--all", "every", is_flag=True, help="All that wait.")
def acknowledge(entries: tuple[int, ...], every: bool) -> None:
    """Say that a person has seen to it. ENTRY: as `tenders attention` lists it.

    \b
    partpay-bridge tenders acknowledge 3 4
    """
    if bool(entries) == every:
        raise click.UsageError("give the entries, or --all", click.get_current_context())
    wanted: tuple[int | None, ...] = (None,) if every else entries
    done = sum(facts(Acknowledge(entry))["acknowledged"] for entry in wanted)
    put_facts({"acknowledged": done}, [("acknowledged", "acknowledged")])


@tenders.command()
@click.option("--from", "first_day", callback=_day, metavar="D", help="From this day on.")
@click.option("--to", "last_day", callback=_day, metavar="D", help="Up to this day.")
def totals(first_day: str | None, last_day: str | None) -> None:
    """By merchant and day.

    \b
    partpay-bridge tenders totals --from 2024-05-01
    """
    columns: list[Column] = [
        ("Day", "day"),
        ("Merchant", "merchant"),
        ("Sales", "sales"),
        ("Amount", amount("sales_minor")),
        ("Refunds", "refunds"),
        ("Refunded", amount("refunds_minor")),
        ("Unsettled", "unsettled"),
    ]
    with rows(Totals(first_day, last_day)) as told:
        put_rows(told, columns, none="none")


@tenders.command()
@click.option(
    "--from", "first_day", callback=_day, metavar="D", required=True, help="From this day on."
)
@click.option("--to", "last_day", callback=_day, metavar="D", required=True, help="Up to this day.")
def export(first_day: str, last_day: str) -> None:
    """CSV of what was taken and refunded, to match a settlement; both days included.

    Amounts are in minor units (cents).

    \b
    partpay-bridge tenders export --from 2024-05-01 --to 2024-05-31 > may.csv
    """
    with rows(Export(first_day, last_day)) as told:
        if wants_json():
            put_rows(told, [], none="")
            return
        writer = None
        for row in told:
            if writer is None:
                writer = csv.DictWriter(sys.stdout, row.keys(), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)


def _changed(event: Any) -> str:
    data = event["data"]
    return ", ".join(f"{name}={value}" for name, value in data.get("set", {}).items())
