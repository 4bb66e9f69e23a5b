"""`partpay-bridge profiles …`: what is known of kinds of terminals beside what they say of themselves."""

from typing import Any, Final

import click

from bridge.cli.command import Group
from bridge.cli.printing import Column, put_facts, put_rows
from bridge.control import CommandError


def _panel(row: Any) -> str | None:
    if row["panel_width"] is None:
        return None
    return f"{row['panel_width']} x {row['panel_height']}"


_COLUMNS: Final[list[Column]] = [
    ("Name", "name"),
    ("For", "title"),
    ("Panel", _panel),
    ("Formats", "formats"),
]
_FACTS: Final[list[Column]] = [
    ("name", "name"),
    ("for", "title"),
    ("panel", _panel),
    ("inverted", lambda row: "yes" if row["inverted"] else None),
    ("formats, best first", "formats"),
    ("max body", "max_body"),
    ("largest image", "largest_image"),
    ("baud", "baud"),
    ("USB ids", lambda row: row["usb_ids"] or None),
    ("USB interface", "usb_interface"),
    ("quirks", lambda row: row["quirks"] or None),
]


@click.group(cls=Group)
def profiles() -> None:
    """Kinds of terminals: panels, formats and quirks that HELLO does not say, or says wrongly.

    \b
    partpay-bridge profiles list
    partpay-bridge terminals set T1 --profile mono-128x64
    """


@profiles.command("list")
def list_() -> None:
    """All profiles that come with the program.

    \b
    partpay-bridge profiles list
    """
    from drivers.profiles import all_profile_facts  # noqa: PLC0415 (only here)

    put_rows(all_profile_facts(), _COLUMNS, none="no profile is installed")


@profiles.command()
@click.argument("name", metavar="NAME")
def show(name: str) -> None:
    """One profile; what it leaves out is as the terminal says.

    \b
    partpay-bridge profiles show mono-128x64
    """
    from drivers.profiles import (  # noqa: PLC0415 (only here)
        UnknownProfileError,
        profile_facts,
        profile_named,
    )

    try:
        if not name:
            raise UnknownProfileError("a profile has a name")
        profile = profile_named(name)
    except UnknownProfileError as error:
        raise CommandError(2, str(error), "see: partpay-bridge profiles list") from None
    put_facts(profile_facts(profile), _FACTS)
