"""`partpay-bridge ports`: what is plugged in, and what it seems to be."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from bridge.cli.command import Command, wants_json
from bridge.cli.looking import daemon_status, machine, registered_terminals
from bridge.cli.printing import put_json, shown
from bridge.config import ConfigError

if TYPE_CHECKING:
    from bridge.ports import Port

ASKED_AT_ONCE: Final = 8
"""A port takes some ten seconds where nobody is there."""


@click.command(cls=Command)
@click.argument("names", metavar="[PORT]...", nargs=-1)
@click.option("--ask", is_flag=True, help="Ask what is there; ports in use are left alone.")
def ports(names: tuple[str, ...], ask: bool) -> None:
    """Say what is plugged in, what it seems to be, and which terminal it is.

    PORT: these alone, by any name. --ask says IDENTIFY in every dialect at the usual speeds: to a
    receipt printer that is noise, so name the ports to ask where there is one.

    \b
    partpay-bridge ports
    partpay-bridge ports --ask /dev/ttyUSB0
    """
    world = machine()
    try:
        status = daemon_status()
    except ConfigError:
        status = None
    terminals, why = registered_terminals()
    from bridge.ports import port_facts  # noqa: PLC0415 (no other command needs it)
    from bridge.ports import ports as all_ports  # noqa: PLC0415

    world = replace(world, terminals=terminals, lines=status["lines"] if status else ())
    found = all_ports(world, names)
    for trouble in (*world.inventory.troubles, *([why] if why else [])):
        click.echo(f"note: {trouble}", err=True)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        answers = list(pool.map(_asked, found)) if ask else [None] * len(found)
    told = [
        port_facts(port, world.inventory, answer)
        for port, answer in zip(found, answers, strict=True)
    ]
    if wants_json():
        put_json(told)
        return
    if not told:
        click.echo("nothing is plugged in that could be a terminal", err=True)
    for number, one in enumerate(told):
        if number:
            click.echo()
        _put(one)


def _asked(port: "Port") -> Any:
    from drivers.asking import ask  # noqa: PLC0415 (only with --ask)

    if (why := port.why_not_asked) is not None:
        return why
    click.echo(f"asking on {port.name} …", err=True)
    try:
        return ask(port.name, port.settings)
    except ValueError as error:
        return str(error)


def _put(one: Any) -> None:
    click.echo(shown(one["port"]))
    lines: list[tuple[str, str]] = []
    if one["plugged_in"]:
        what = [f"{one['maker']} {one['product']}".strip()]
        what += [f"serial number {one['serial_number']}"] if one["serial_number"] else []
        what += [f"USB {one['usb_id']}, socket {one['place']}"] if one["usb_id"] else []
        lines.append(("is", ", ".join(part for part in what if part) or "a port of this machine"))
        if one["node"] != one["port"]:
            lines.append(("now", one["node"]))
    else:
        lines.append(("is", "not plugged in"))
    if one["used_by"]:
        who = ", ".join(f"{user['name']} (process {user['pid']})" for user in one["used_by"])
        lines.append(("used by", who))
    for known in one["terminals"]:
        lines.append(("terminal", f"{known['terminal']}, serial number {known['serial']}"))
    heard = one["answers"]
    if heard is not None:
        who = f"{heard['dialect']}, {heard['baud']} baud"
        if heard["terminal"] is not None:
            who += f": {heard['terminal']}, serial number {heard['serial']}, "
            who += f"{heard['model']}, firmware {heard['firmware']}"
        lines.append(("answers", who))
    lines += [("note", remark) for remark in one["remarks"]]
    for name, text in lines:
        click.echo(f"  {name:<9} {shown(text)}")
