"""`partpay-bridge merchants …`: the store of merchant ids."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from bridge.cli.asking import facts, rows
from bridge.cli.command import Group, wants_json
from bridge.cli.printing import Column, put_facts, put_json, put_rows
from bridge.control import (
    AddMerchant,
    CommandError,
    ImportMerchants,
    ListMerchants,
    RemoveMerchant,
    SetMerchant,
    ShowMerchant,
)
from bridge.registry import Merchant

CSV_MAX_BYTES: Final = 2 << 20
CSV_COLUMNS: Final = ("id", "name", "client_id", "client_secret_file", "callback_key_file")
_FACTS: Final[list[Column]] = [
    ("id", "id"),
    ("name", "name"),
    ("client id", "client_id"),
    ("client secret", "client_secret_file"),
    ("callback key", "callback_key_file"),
    ("removed", lambda row: "yes" if row["removed"] else None),
    ("used by", "terminals"),
]


@click.group(cls=Group)
def merchants() -> None:
    """The merchants that terminals may sell for.

    \b
    partpay-bridge merchants add --id M1 --name "Shoe Shop"
    partpay-bridge merchants import merchants.csv
    """


@merchants.command("list")
@click.option("--removed", is_flag=True, help="Those that were removed, too.")
def list_(removed: bool) -> None:
    """All merchants.

    \b
    partpay-bridge merchants list --removed
    """
    columns: list[Column] = [("Id", "id"), ("Name", "name"), ("Client id", "client_id")]
    columns += [("Callback key", "callback_key_file"), ("Removed", "removed")][: 1 + removed]
    with rows(ListMerchants(removed)) as told:
        put_rows(told, columns, none="no merchant yet; see: partpay-bridge merchants add --help")


@merchants.command()
@click.argument("merchant_id", metavar="ID")
def show(merchant_id: str) -> None:
    """One merchant, and who changed it when.

    \b
    partpay-bridge merchants show M1
    """
    told = facts(ShowMerchant(merchant_id))
    put_facts(told, _FACTS)
    if not wants_json():
        put_changes(told["changes"])


@merchants.command()
@click.option("--id", "merchant_id", required=True, metavar="ID", help="PartPay's id of the brand.")
@click.option("--name", required=True, help="For people.")
@click.option("--client-id", metavar="C", help="Its own credential; the service's unless given.")
@click.option(
    "--client-secret-file",
    metavar="F",
    type=click.Path(path_type=Path),
    help="Where its secret is.",
)
@click.option(
    "--callback-key-file",
    metavar="F",
    type=click.Path(path_type=Path),
    help="Its own callback keys, one a line; the service's unless given.",
)
def add(
    merchant_id: str,
    name: str,
    client_id: str | None,
    client_secret_file: Path | None,
    callback_key_file: Path | None,
) -> None:
    """Add a merchant, or bring one back that was removed.

    \b
    partpay-bridge merchants add --id M1 --name "Shoe Shop"
    """
    merchant = Merchant(
        merchant_id, name, client_id, _whole(client_secret_file), _whole(callback_key_file)
    )
    put_facts(facts(AddMerchant(merchant)), _FACTS)


@merchants.command("set")
@click.argument("merchant_id", metavar="ID")
@click.option("--name", help="For people.")
@click.option("--client-id", metavar="C", help='"" takes it away.')
@click.option("--client-secret-file", metavar="F", help='"" takes it away.')
@click.option("--callback-key-file", metavar="F", help='"" takes it away.')
def set_(
    merchant_id: str,
    name: str | None,
    client_id: str | None,
    client_secret_file: str | None,
    callback_key_file: str | None,
) -> None:
    """Change what is given; the rest stays.

    \b
    partpay-bridge merchants set M1 --callback-key-file /etc/partpay-bridge/key-m1
    """
    given = (name, client_id, client_secret_file, callback_key_file)
    if all(one is None for one in given):
        raise click.UsageError("nothing to change: give an option", click.get_current_context())
    request = SetMerchant(
        merchant_id,
        name,
        client_id,
        _whole_or_none(client_secret_file),
        _whole_or_none(callback_key_file),
    )
    put_facts(facts(request), _FACTS)


@merchants.command()
@click.argument("merchant_id", metavar="ID")
def remove(merchant_id: str) -> None:
    """Retire a merchant: no new sales. What is open under it is finished with its credential.

    \b
    partpay-bridge merchants remove M1
    """
    told = facts(RemoveMerchant(merchant_id))
    put_facts(told, _FACTS)
    if told["terminals"]:
        left = ", ".join(told["terminals"])
        click.echo(
            f"note: still named by terminals {left}; see: terminals set --merchant", err=True
        )


@merchants.command("import")
@click.argument("file", type=click.File("rb"), metavar="FILE.csv")
def import_(file: io.BufferedReader) -> None:
    """Add and change merchants from a CSV file: all of them, or none.

    Its first line names the columns: id,name and, where wanted,
    client_id,client_secret_file,callback_key_file. An empty cell means none. Merchants that are not
    in the file stay as they are.

    \b
    partpay-bridge merchants import merchants.csv
    """
    told = facts(ImportMerchants(tuple(_read_csv(file.read(CSV_MAX_BYTES + 1), file.name))))
    if wants_json():
        put_json(told)
        return
    for what, ids in told.items():
        click.echo(f"{what}: {len(ids)}" + (f" ({', '.join(ids)})" if ids else ""))


def _read_csv(raw: bytes, name: str) -> Iterator[Merchant]:
    """The merchants of a CSV file. Raises `CommandError` with every line that is wrong."""
    if len(raw) > CSV_MAX_BYTES:
        raise CommandError(
            2, f"{name} is larger than {CSV_MAX_BYTES >> 20} MiB", "import it in parts"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandError(2, f"{name} is not UTF-8 text", "save it as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    problems: list[str] = []
    found: dict[str, tuple[int, Merchant]] = {}
    try:
        _check_columns(list(reader.fieldnames or ()), name)
        for row in reader:
            if problem := _row_problem(row, found):
                problems.append(f"{name}:{reader.line_num}: {problem}")
                continue
            cells = {key: value.strip() or None for key, value in row.items()}
            merchant = Merchant(cells.pop("id") or "", cells.pop("name") or "", **cells)  # type: ignore[arg-type]
            found[merchant.merchant_id] = (reader.line_num, merchant)
    except csv.Error as error:
        problems.append(f"{name}:{reader.line_num}: {error}")
    if problems:
        raise CommandError(2, "\n".join(problems), "mend the file; nothing was changed")
    return iter([merchant for _, merchant in found.values()])


def _check_columns(columns: list[str], name: str) -> None:
    unknown = [column for column in columns if column not in CSV_COLUMNS]
    if unknown or not {"id", "name"} <= set(columns) or len(set(columns)) != len(columns):
        what = f"{name}:1: its columns are {', '.join(columns) or 'none'}"
        raise CommandError(2, what, f"name id, name and any of {', '.join(CSV_COLUMNS[2:])}, once")


def _row_problem(row: dict[str, Any], found: dict[str, tuple[int, Merchant]]) -> str | None:
    if "" in row or None in row.values():
        return "has not as many cells as the first line"
    merchant_id = row["id"].strip()
    if not merchant_id or not row["name"].strip():
        return "id or name is empty"
    if merchant_id in found:
        return f"{merchant_id} stands in line {found[merchant_id][0]} already"
    return None


def _whole(path: Path | None) -> str | None:
    """The daemon has another working directory."""
    return None if path is None else str(path.absolute())


def _whole_or_none(text: str | None) -> str | None:
    return _whole(Path(text)) if text else text


def put_changes(changes: list[dict[str, Any]]) -> None:
    """How something came to be as it is."""
    click.echo()
    columns: list[Column] = [
        ("When", "at"),
        ("Who", "who"),
        ("Did", "action"),
        ("What", lambda row: _difference(row["was"] or {}, row["became"])),
    ]
    put_rows(changes, columns, none="never changed")


def _difference(was: dict[str, Any], became: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in became.items() if was.get(name) != value)
