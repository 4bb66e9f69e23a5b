"""What a value of bridge.toml may be: one check for each kind of value.

A check takes what TOML gives and returns what the settings hold, or raises `WrongValueError` with
what is wrong and what would be right. A check knows nothing of sections and keys; the table in
`config.py` puts them together.
"""

import difflib
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

CURRENCIES: Final[Mapping[str, int]] = {"NZD": 554}
"""ISO 4217: what PartPay takes, and how the terminal link numbers it."""

UNIX_SOCKET_MAX_BYTES: Final = 107
"""What the kernel's sockaddr_un holds."""

RESERVED_ROUTES: Final = ("/healthz", "/metrics")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0: one that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Nobody but this machine reaches it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class WrongValueError(Exception):
    """A value cannot be used: what is wrong with it, and what would be right."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


_KINDS: Final[Mapping[type, str]] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a section",
}


PLACEHOLDER = "…"
"""What the example configuration has where nobody but the shop knows a value."""


def text(value: object) -> str:
    """Text on one line, not empty, and not the example's."""
    if not isinstance(value, str):
        raise WrongValueError(f"is {kind_of(value)}", 'write text in quotes: "…"')
    if not value.strip():
        raise WrongValueError("is empty", "write a value, or leave the key out")
    if value == PLACEHOLDER:
        raise WrongValueError(f'is still "{PLACEHOLDER}", as in the example', "write your own")
    if not value.isprintable():
        raise WrongValueError("holds characters that cannot be printed", "write plain text")
    return value


def store(value: object) -> str:
    """The shop, as it stands in every gateway reference."""
    name = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,15}", name):
        raise WrongValueError(
            f'"{name}" cannot stand in a gateway reference',
            'use 1 to 16 letters, digits, "_", "." or "-", such as "AKL01"',
        )
    return name


def one_of(choices: type[StrEnum]) -> Callable[[object], StrEnum]:
    """A check for one of these words."""

    def check(value: object) -> StrEnum:
        name = text(value)
        try:
            return choices(name)
        except ValueError:
            known = [choice.value for choice in choices]
            close = close_to(name, known)
            remedy = f'did you mean "{close}"?' if close else f"use {listed(known)}"
            raise WrongValueError(f'"{name}" is not known', remedy) from None

    return check


def currency(value: object) -> str:
    """A currency of `CURRENCIES`."""
    name = text(value)
    if name not in CURRENCIES:
        raise WrongValueError(
            f'"{name}" is no currency of PartPay\'s', f"use {listed(list(CURRENCIES))}"
        )
    return name


def timezone(value: object) -> str:
    """A name of the time zone database."""
    name = text(value)
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise WrongValueError(
            f'"{name}" is no time zone', 'use a name such as "Pacific/Auckland"'
        ) from None
    return name


def absolute_path(value: object) -> Path:
    """A whole path."""
    path = Path(text(value))
    if not path.is_absolute():
        raise WrongValueError(
            f'"{path}" is no absolute path', f'write it whole, such as "/etc/{path.name}"'
        )
    return path


def secret_path(value: object) -> Path:
    """A whole path; what stands there instead is never repeated."""
    name = text(value)
    if not name.startswith("/"):
        raise WrongValueError(
            "is no absolute path",
            "name the file that holds the secret; the secret itself never stands in this file",
        )
    return Path(name)


def socket_path(value: object) -> Path:
    """A path that a unix socket can have."""
    path = absolute_path(value)
    if len(os.fsencode(path)) > UNIX_SOCKET_MAX_BYTES:
        raise WrongValueError(
            f"is longer than the {UNIX_SOCKET_MAX_BYTES} bytes that a socket's path may have",
            'use a shorter path, such as "/run/partpay-bridge/control.sock"',
        )
    return path


def _url(value: object) -> SplitResult:
    address = text(value)
    if "@" in address:
        raise WrongValueError("names a user in the address", "leave out what stands before the @")
    no_address = WrongValueError(
        f'"{address}" is no web address', 'write it as "https://host/path"'
    )
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise no_address from None
    if parts.scheme not in {"http", "https"} or not host or " " in address:
        raise no_address
    if parts.query or parts.fragment:
        raise WrongValueError(f'"{address}" has more than a path', "end it before the ? or #")
    if parts.scheme == "http" and not is_loopback(host):
        raise WrongValueError(
            f'"{address}" is not encrypted, and {host} is not this machine alone',
            f'use "https://{parts.netloc}{parts.path}"',
        )
    return parts


def web_address(value: object) -> str:
    """https, or http where every address is loopback."""
    return _url(value).geturl()


def callback_url(value: object) -> str:
    """Where PartPay calls back; its path is the listener's route."""
    parts = _url(value)
    if parts.path in {"", "/"}:
        raise WrongValueError(
            f'"{parts.geturl()}" has no path, which is the route of the callback',
            f'use "{parts.scheme}://{parts.netloc}/partpay-callback"',
        )
    if parts.path in RESERVED_ROUTES or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", parts.path):
        raise WrongValueError(
            f'the path "{parts.path}" cannot be the route of the callback',
            'use letters, digits, "-", "_" and ".", such as "/partpay-callback"',
        )
    return parts.geturl()


def listen_address(value: object) -> Address:
    """HOST:PORT, or [IPv6]:PORT."""
    name = text(value)
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^:\s\[\]]+)):([0-9]{1,5})", name)
    if match is None or int(match[3]) > 65535:
        raise WrongValueError(f'"{name}" is no address with a port', 'use "127.0.0.1:8480"')
    return Address(match[1] or match[2], int(match[3]))


def address_or_none(value: object) -> Address | None:
    """As `listen_address`; the empty string: nowhere."""
    return None if value == "" else listen_address(value)


def whole(low: int, high: int) -> Callable[[object], int]:
    """A check for a whole number in that range."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongValueError(
                f"is {kind_of(value)}", f"write a whole number from {low} to {high}"
            )
        if not low <= value <= high:
            raise WrongValueError(f"{value} is out of range", f"use {low} to {high}")
        return value

    return check


def seconds(low: float, high: float) -> Callable[[object], float]:
    """A check for a duration in that range."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongValueError(
                f"is {kind_of(value)}", f"write seconds, from {low:g} to {high:g}"
            )
        if not low <= value <= high:
            raise WrongValueError(
                f"{value:g} s is out of range", f"use {low:g} to {high:g} seconds"
            )
        return float(value)

    return check


def is_loopback(host: str) -> bool:
    """Whether every address of that host is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = [str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found]
    return bool(addresses) and all(ipaddress.ip_address(told).is_loopback for told in addresses)


def kind_of(value: object) -> str:
    """What a person calls a value of that type."""
    return _KINDS.get(type(value), "a date or time")


def listed(names: list[str], form: str = "{}") -> str:
    """The names in one line, each in that form."""
    return ", ".join(form.format(name) for name in names)


def close_to(name: str, known: list[str]) -> str | None:
    """The known name that was most likely meant."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)
