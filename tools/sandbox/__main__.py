"""python -m tools.sandbox: PartPay on this machine, until SIGTERM or SIGINT.

Rules of this file: options, files, signals, wiring. `event=ready url=…` goes to stderr when calls are
answered. Exit status: 0 ended by a signal, 1 the address cannot be had, 2 used wrongly.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tools.sandbox.api import AUDIENCE, CUSTOMER_URL, Names
from tools.sandbox.books import ORDER_LIFETIME_S, TOKEN_LIFETIME_S, Books, Client
from tools.sandbox.callbacks import PAUSES_S
from tools.sandbox.desk import Settings
from tools.sandbox.running import running, wall_clock

MERCHANTS = {"1001": "Kōwhai Books", "1002": "Harbour Cycles", "1003": "Tūī Coffee"}
CLIENTS = (
    Client(client_id="sandbox-service", client_secret="sandbox-service-secret"),
    Client(
        client_id="sandbox-merchant-1003",
        client_secret="sandbox-merchant-1003-secret",
        merchants=frozenset({"1003"}),
    ),
)
CALLBACK_KEY = "sandbox-callback-key"
AUTO_S = 2.0


class UsageError(ValueError):
    """A file or an option that says nothing usable, and what would be right."""


@dataclass(frozen=True, slots=True)
class Known:
    """The merchants and credentials, and the callback keys of merchants that have their own."""

    merchants: Mapping[str, str]
    clients: Sequence[Client]
    keys: Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        known = _read_known(options.clients)
        key = _read_key(options.callback_key_file)
        names = _read_names(options.api)
        pauses_s = tuple(float(part) for part in options.callback_pauses.split(",") if part)
    except (OSError, ValueError) as error:
        print(f"tools.sandbox: {error}", file=sys.stderr)
        return 2
    books = Books(
        random.SystemRandom(),
        merchants=known.merchants,
        clients=known.clients,
        order_lifetime_s=options.order_lifetime,
        token_lifetime_s=options.token_lifetime,
        keeps_answers=not options.forget_keys,
    )
    settings = Settings(
        auto_s=options.auto,
        latency_s=options.latency_ms / 1000,
        callbacks=not options.no_callbacks,
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with running(
            books,
            key_of=lambda merchant_id: known.keys.get(merchant_id, key),
            host=options.host,
            port=options.port,
            names=names,
            audience=options.audience,
            customer_url=options.customer_url,
            clock=wall_clock(options.clock_offset),
            settings=settings,
            pauses_s=pauses_s,
            told=_say if options.verbose else lambda _line: None,
        ) as url:
            _say(f"event=ready url={url}")
            ended.wait()
    except OSError as error:
        _say(
            f"tools.sandbox: cannot listen on {options.host}:{options.port}: {error}; "
            "give another --port, or 0 to have one chosen"
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.sandbox",
        description="PartPay on this machine: its API, a page on which one plays the customer, "
        "and a control API for tests. What an amount's cents do: see the page.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8481, help="0 picks one (%(default)s)")
    parser.add_argument(
        "--callback-key-file", type=Path, metavar="F", help="its first line signs callbacks"
    )
    parser.add_argument(
        "--clients", type=Path, metavar="F", help="TOML file of merchants and credentials"
    )
    parser.add_argument(
        "--auto",
        type=float,
        nargs="?",
        const=AUTO_S,
        metavar="S",
        help=f"customers approve by themselves after S seconds ({AUTO_S:g})",
    )
    parser.add_argument(
        "--latency-ms", type=float, default=0.0, metavar="MS", help="added to every API call"
    )
    parser.add_argument(
        "--token-lifetime", type=float, default=TOKEN_LIFETIME_S, metavar="S", help="(%(default)g)"
    )
    parser.add_argument(
        "--order-lifetime", type=float, default=ORDER_LIFETIME_S, metavar="S", help="(%(default)g)"
    )
    parser.add_argument(
        "--customer-url",
        default=CUSTOMER_URL,
        metavar="URL",
        help="what QR codes say, before /ORDER-ID; with --host 0.0.0.0 and "
        "http://THIS-MACHINE:PORT/order a real phone can scan them (%(default)s)",
    )
    parser.add_argument("--audience", default=AUDIENCE, help="of the tokens (%(default)s)")
    parser.add_argument(
        "--callback-pauses",
        default=",".join(f"{pause:g}" for pause in PAUSES_S),
        metavar="S,S…",
        help="before each further try of a callback that was not answered by 200 (%(default)s)",
    )
    parser.add_argument("--no-callbacks", action="store_true", help="none is ever sent")
    parser.add_argument(
        "--forget-keys",
        action="store_true",
        help="ignore Idempotency-Key: repeated creates get 302",
    )
    parser.add_argument(
        "--clock-offset",
        type=float,
        default=0.0,
        metavar="S",
        help="PartPay's clock is ahead by it",
    )
    parser.add_argument(
        "--api",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another path, header or field name: " + ", ".join(f.name for f in fields(Names)),
    )
    parser.add_argument("--verbose", action="store_true", help="a line on stderr for each call")
    return parser


def _read_known(path: Path | None) -> Known:
    if path is None:
        return Known(MERCHANTS, CLIENTS, {})
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        merchants = told["merchants"]
        clients = told["clients"]
        return Known(
            {entry["id"]: entry.get("name", entry["id"]) for entry in merchants},
            [_client(entry) for entry in clients],
            {entry["id"]: entry["callback_key"] for entry in merchants if "callback_key" in entry},
        )
    except KeyError as error:
        raise UsageError(
            f"{path}: {error} is missing; it needs [[merchants]] with id (name, callback_key) and "
            "[[clients]] with client_id, client_secret (merchants)"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error


def _client(entry: Mapping[str, Any]) -> Client:
    merchants = entry.get("merchants")
    return Client(
        client_id=entry["client_id"],
        client_secret=entry["client_secret"],
        merchants=None if merchants is None else frozenset(merchants),
    )


def _read_key(path: Path | None) -> str:
    if path is None:
        return CALLBACK_KEY
    lines = path.read_text(encoding="utf-8").split()
    if not lines:
        raise UsageError(f"{path}: no key in it; its first line is the key")
    return lines[0]


def _read_names(pairs: Sequence[str]) -> Names:
    known = {field.name for field in fields(Names)}
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in known:
            raise UsageError(f"--api {pair}: not KEY=VALUE with one of {', '.join(sorted(known))}")
        changes[name] = value.lower() if name.endswith("_header") else value
    return Names(**changes)


def _say(line: str) -> None:
    # One write, so that lines of several threads do not mix.
    os.write(sys.stderr.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
