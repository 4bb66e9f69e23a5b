"""`partpay-bridge terminals …`: terminals without the pairing dialogue, for prepared installations."""

import re
from typing import Final

import click

from bridge.cli.asking import facts, rows
from bridge.cli.command import Group, wants_json
from bridge.cli.merchants import put_changes
from bridge.cli.printing import Column, put_facts, put_rows
from bridge.control import (
    AddTerminal,
    ForgetKeys,
    ListTerminals,
    RemoveTerminal,
    SetTerminal,
    ShowTerminal,
)
from bridge.registry import DEFAULT_BAUD, Pairing

_FACTS: Final[list[Column]] = [
    ("terminal", "terminal"),
    ("serial number", "serial"),
    ("port", "port"),
    ("dialect", "dialect"),
    ("baud", "baud"),
    ("merchants", "merchants"),
    ("profile", "profile"),
    ("display", "display"),
    ("name", "name"),
    ("keys", lambda row: "yes" if row["keyed"] else None),
    ("removed", lambda row: "yes" if row["removed"] else None),
    ("pairing", "pairing"),
]


@click.group(cls=Group)
def terminals() -> None:
    """The terminals that may sell, and on which port.

    \b
    partpay-bridge terminals add --terminal-id T1 --serial S1 --merchant M1 \\
        --port /dev/serial/by-id/usb-FTDI_… --dialect native
    """


@terminals.command("list")
@click.option("--removed", is_flag=True, help="Those that were removed, too.")
def list_(removed: bool) -> None:
    """All terminals.

    \b
    partpay-bridge terminals list
    """
    columns: list[Column] = [
        ("Terminal", "terminal"),
        ("Serial", "serial"),
        ("Port", "port"),
        ("Dialect", "dialect"),
        ("Baud", "baud"),
        ("Merchants", "merchants"),
        ("Name", "name"),
    ]
    if removed:
        columns.append(("Removed", "removed"))
    with rows(ListTerminals(removed)) as told:
        put_rows(told, columns, none="no terminal yet; see: partpay-bridge terminals add --help")


@terminals.command()
@click.argument("key", metavar="TERMINAL[/SERIAL]")
def show(key: str) -> None:
    """One terminal, and who changed it when.

    \b
    partpay-bridge terminals show T0000001
    """
    told = facts(ShowTerminal(key))
    put_facts(told, _FACTS)
    if not wants_json():
        put_changes(told["changes"])


@terminals.command()
@click.option("--terminal-id", required=True, metavar="T", help="What it calls itself (9F1C).")
@click.option("--serial", required=True, metavar="S", help="The device's serial number (9F1E).")
@click.option("--port", required=True, metavar="P", help="Best by /dev/serial/by-id/…")
@click.option("--dialect", required=True, metavar="native|classic", help="What its line speaks.")
@click.option(
    "--merchant",
    "merchant_ids",
    required=True,
    multiple=True,
    metavar="ID",
    help="May be given more than once; the first is for sales that name none.",
)
@click.option("--baud", type=int, default=DEFAULT_BAUD, show_default=True, help="Of its line.")
@click.option("--profile", metavar="P", help="What is known of its model beside what it says.")
@click.option("--display", metavar="…", help="A customer display beside it.")
@click.option("--name", metavar="TEXT", help="Who faces it, and where it stands.")
def add(
    terminal_id: str,
    serial: str,
    port: str,
    dialect: str,
    merchant_ids: tuple[str, ...],
    baud: int,
    profile: str | None,
    display: str | None,
    name: str | None,
) -> None:
    """Add a terminal without the pairing dialogue.

    The same terminal id and serial number again keep their counters. Another serial number replaces
    the device that had this terminal id.

    \b
    partpay-bridge terminals add --terminal-id T1 --serial S1 --merchant M1 \\
        --dialect native --port /dev/serial/by-id/usb-FTDI_…
    """
    pairing = Pairing(
        0,
        terminal_id,
        serial,
        port,
        dialect,
        baud,
        merchant_ids,
        profile or None,
        display or None,
        name=name or None,
    )
    put_facts(facts(AddTerminal(pairing)), _FACTS)
    _warn_of_name(port)


@terminals.command("set")
@click.argument("key", metavar="TERMINAL[/SERIAL]")
@click.option("--port", metavar="P", help="Best by /dev/serial/by-id/…")
@click.option("--dialect", metavar="native|classic", help="What its line speaks.")
@click.option("--baud", type=int, help="Of its line.")
@click.option("--merchant", "merchant_ids", multiple=True, metavar="ID", help="In place of all.")
@click.option("--profile", metavar="P", help='"" takes it away.')
@click.option("--display", metavar="…", help='"" takes it away.')
@click.option("--name", metavar="TEXT", help='"" takes it away.')
def set_(
    key: str,
    port: str | None,
    dialect: str | None,
    baud: int | None,
    merchant_ids: tuple[str, ...],
    profile: str | None,
    display: str | None,
    name: str | None,
) -> None:
    """Change what is given; the rest stays.

    \b
    partpay-bridge terminals set T0000001 --profile mono-128x64
    """
    request = SetTerminal(key, port, dialect, baud, merchant_ids or None, profile, display, name)
    if request == SetTerminal(key):
        raise click.UsageError("nothing to change: give an option", click.get_current_context())
    put_facts(facts(request), _FACTS)
    if port is not None:
        _warn_of_name(port)


@terminals.command()
@click.argument("key", metavar="TERMINAL[/SERIAL]")
def remove(key: str) -> None:
    """Retire a terminal: no new sales. Outcomes that it has not stored are still told to it.

    \b
    partpay-bridge terminals remove T0000001
    """
    put_facts(facts(RemoveTerminal(key)), _FACTS)


@terminals.command("forget-keys")
@click.argument("key", metavar="TERMINAL[/SERIAL]")
def forget_keys(key: str) -> None:
    """Remove the keys of its pairing. From then on it is taken without any: pair it again.

    The terminal has its own menu for that: with keys that the bridge does not have it is refused.

    \b
    partpay-bridge terminals forget-keys T0000001
    """
    told = facts(ForgetKeys(key))
    put_facts(
        told, [("terminal", "terminal"), ("serial number", "serial"), ("keys", lambda _: "none")]
    )


def _warn_of_name(port: str) -> None:
    if not re.fullmatch(r"/dev/tty(USB|ACM)[0-9]+", port):
        return
    from drivers.discovery import inventory, stable_name  # noqa: PLC0415 (pyserial and libusb)

    better = stable_name(port, inventory()) or "its name under /dev/serial/by-id"
    click.echo(f"note: {port} may be another device after the next start; {better} stays", err=True)
