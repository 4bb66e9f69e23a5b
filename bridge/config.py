"""bridge.toml: read once, at start, into plain values; or every fault in it, at once.

- The tables below are the whole configuration: a section is a table of keys, a key is a check and a
  default. A key that is in none of them is a fault, never passed over: a misspelled
  `cancel_timeout` must not become a default.
- A fault says which file and line, which key, what is wrong, and what would be right.
- A key's attribute has its name. Durations are seconds. Secrets are files (`secrets_files.py`),
  never values, and no fault repeats what stands where a secret's file should be named.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from bridge import config_values as check
from bridge.config_values import CURRENCIES, Address, WrongValueError, close_to, kind_of, listed
from bridge.partpay.api import Api
from bridge.secrets_files import (
    CALLBACK_KEY_CREDENTIAL,
    CLIENT_SECRET_CREDENTIAL,
    Secret,
    SecretError,
    credential,
    secret_at,
)
from bridge.toml_lines import key_lines

DEFAULT_FILE: Final = Path("/etc/partpay-bridge/bridge.toml")

FILE_MAX_BYTES: Final = 1 << 20


class Environment(StrEnum):
    """PartPay's two worlds, and one of somebody's own."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"
    CUSTOM = "custom"


class ConfirmCallbacks(StrEnum):
    """Whether a status call comes before a callback is believed (architecture,
    `confirm_callbacks`).
    """

    OFF = "off"
    PREFER = "prefer"
    REQUIRE = "require"


class LogFormat(StrEnum):
    """How a line of the log is written."""

    LOGFMT = "logfmt"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where it is, what is wrong, and what would be right. `line` counts from 1."""

    file: Path
    line: int | None
    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.what) if part) + f"; {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used: all that is wrong with it, in the file's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """`[bridge]`"""

    store: str
    state_dir: Path
    currency: str
    timezone: str

    @property
    def currency_code(self) -> int:
        """ISO 4217 numeric, as in 5F2A."""
        return CURRENCIES[self.currency]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


@dataclass(frozen=True, slots=True)
class PartPaySettings:
    """`[partpay]`, with the environment's addresses filled in.

    client_secret, callback_key: the file of the configuration, else systemd's credential, else
    None. callback_url: None means polling alone.
    """

    environment: Environment
    base_url: str
    token_url: str
    audience: str
    client_id: str | None
    client_secret: Secret | None
    callback_key: Secret | None
    callback_url: str | None
    confirm_callbacks: ConfirmCallbacks
    api: Api

    @property
    def callback_path(self) -> str | None:
        """The listener's route: the path of `callback_url`."""
        return urlsplit(self.callback_url).path if self.callback_url else None

    @property
    def production(self) -> bool:
        """Outside production every text on a terminal begins with TEST."""
        return self.environment is Environment.PRODUCTION


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """`[listener]`"""

    address: Address


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """`[control]`. page: where the status page is; None: there is none."""

    socket: Path
    page: Address | None


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`[log]`"""

    format: LogFormat


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """`[journal]`"""

    keep_days: int


@dataclass(frozen=True, slots=True)
class TimingSettings:
    """`[timing]`, in seconds."""

    order_lifetime: float
    create_timeout: float
    cancel_timeout: float
    poll_first: float
    poll_interval: float
    stored_alert: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. `lines`: where each key stands, for what is found wrong later."""

    file: Path
    bridge: BridgeSettings
    partpay: PartPaySettings
    listener: ListenerSettings
    control: ControlSettings
    log: LogSettings
    journal: JournalSettings
    timing: TimingSettings
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)


_REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class _Key:
    check: Callable[[Any], Any]
    default: object = _REQUIRED
    example: str = ""


def _api_name(key: str) -> Callable[[object], str]:
    def name(value: object) -> str:
        text = check.text(value)
        try:
            Api(**{key: text})
        except ValueError as error:
            default = getattr(Api(), key)
            what = str(error).removeprefix(f"{key}: ")
            raise WrongValueError(what, f'the default is "{default}"') from None
        return text

    return name


_ORDER_LIFETIME_MAX_S: Final = 65535  # DF06 is two bytes of seconds

SECTIONS: Final[Mapping[str, Mapping[str, _Key]]] = {
    "bridge": {
        "store": _Key(check.store, example='store = "AKL01"'),
        "state_dir": _Key(check.absolute_path, Path("/var/lib/partpay-bridge")),
        "currency": _Key(check.currency, "NZD"),
        "timezone": _Key(check.timezone, "Pacific/Auckland"),
    },
    "partpay": {
        "environment": _Key(check.one_of(Environment), example='environment = "sandbox"'),
        "base_url": _Key(check.web_address, None),
        "token_url": _Key(check.web_address, None),
        "audience": _Key(check.text, None),
        "client_id": _Key(check.text, None),
        "client_secret_file": _Key(check.secret_path, None),
        "callback_key_file": _Key(check.secret_path, None),
        "callback_url": _Key(check.callback_url, None),
        "confirm_callbacks": _Key(check.one_of(ConfirmCallbacks), ConfirmCallbacks.PREFER),
    },
    "partpay.api": {
        field.name: _Key(_api_name(field.name), getattr(Api(), field.name)) for field in fields(Api)
    },
    "listener": {"address": _Key(check.listen_address, Address("127.0.0.1", 8480))},
    "control": {
        "socket": _Key(check.socket_path, Path("/run/partpay-bridge/control.sock")),
        "page": _Key(check.address_or_none, Address("127.0.0.1", 8482)),
    },
    "log": {"format": _Key(check.one_of(LogFormat), LogFormat.LOGFMT)},
    "journal": {"keep_days": _Key(check.whole(1, 36_525), 2557)},
    "timing": {
        "order_lifetime": _Key(check.seconds(1, _ORDER_LIFETIME_MAX_S), 300.0),
        "create_timeout": _Key(check.seconds(0.1, 600), 30.0),
        "cancel_timeout": _Key(check.seconds(0.1, 600), 20.0),
        "poll_first": _Key(check.seconds(0.05, 600), 2.0),
        "poll_interval": _Key(check.seconds(0.05, 600), 3.0),
        "stored_alert": _Key(check.seconds(1, 30 * 86400), 600.0),
    },
}

ADDRESSES: Final[Mapping[Environment, Mapping[str, str]]] = {
    Environment.SANDBOX: {
        "base_url": "https://api-ci.partpay.co.nz/",
        "token_url": "https://partpay-dev.au.auth0.com/oauth/token",
        "audience": "https://auth-dev.partpay.co.nz",
    },
    Environment.PRODUCTION: {
        "base_url": "https://api.partpay.co.nz/",
        "token_url": "https://partpay.au.auth0.com/oauth/token",
        "audience": "https://auth.partpay.co.nz",
    },
    Environment.CUSTOM: {},
}
"""PartPay API, "Access token"."""

_INLINE_SECRETS: Final = {
    "client_secret": "client_secret_file",
    "callback_key": "callback_key_file",
}


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in that file. Reads no secret. Raises `ConfigError` with all that is wrong."""
    text = _read(file)
    lines = key_lines(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((_not_toml(file, text, error),)) from None

    problems: list[Problem] = []

    def wrong(key: str, what: str, remedy: str) -> None:
        section = key.rpartition(".")[0]
        problems.append(Problem(file, lines.get(key, lines.get(section)), key, what, remedy))

    tables = _tables(document, wrong)
    values = {section: _values(section, table, wrong) for section, table in tables.items()}
    partpay = _partpay(values["partpay"], environ, wrong)
    if problems:
        problems.sort(key=lambda problem: problem.line or 0)
        raise ConfigError(tuple(problems))
    return Settings(
        file=file,
        bridge=BridgeSettings(**values["bridge"]),
        partpay=PartPaySettings(**partpay, api=Api(**values["partpay.api"])),
        listener=ListenerSettings(**values["listener"]),
        control=ControlSettings(**values["control"]),
        log=LogSettings(**values["log"]),
        journal=JournalSettings(**values["journal"]),
        timing=TimingSettings(**values["timing"]),
        lines=lines,
    )


def secret_problems(settings: Settings, *, serving: bool = False) -> tuple[Problem, ...]:
    """What is wrong with the secrets' files, read as the user that this process is now.

    serving: in the service itself, where systemd's credentials would be.
    """
    problems = []
    if serving and settings.partpay.client_id and settings.partpay.client_secret is None:
        key = "partpay.client_id"
        problems.append(
            Problem(
                settings.file,
                settings.lines.get(key),
                key,
                "has no client secret",
                f"name client_secret_file, or load a credential {CLIENT_SECRET_CREDENTIAL}",
            )
        )
    for key, secret, read in (
        ("partpay.client_secret_file", settings.partpay.client_secret, Secret.read),
        ("partpay.callback_key_file", settings.partpay.callback_key, Secret.read_keys),
    ):
        if secret is None:
            continue
        try:
            read(secret)
        except SecretError as error:
            what = f"{error.path} {error.what}"
            problems.append(
                Problem(settings.file, settings.lines.get(key), key, what, error.remedy)
            )
    return tuple(problems)


def notes(settings: Settings) -> tuple[Problem, ...]:
    """What is allowed and yet worth a look before money goes through it."""
    partpay = settings.partpay

    def note(key: str, what: str, remedy: str) -> Problem:
        return Problem(settings.file, settings.lines.get(key), key, what, remedy)

    found = []
    if partpay.client_id and partpay.client_secret is None:
        found.append(
            note(
                "partpay.client_id",
                "no client secret is named",
                f"the service must get a systemd credential {CLIENT_SECRET_CREDENTIAL}",
            )
        )
    if partpay.client_id is None:
        found.append(
            note(
                "partpay.client_id",
                "no credential of the service's own",
                "each merchant needs --client-id and --client-secret-file",
            )
        )
    if partpay.callback_url and partpay.callback_key is None:
        found.append(
            note(
                "partpay.callback_url",
                "no callback key is named",
                f"name callback_key_file or a systemd credential {CALLBACK_KEY_CREDENTIAL}, "
                "or give each merchant --callback-key-file",
            )
        )
    page = settings.control.page
    if page is not None and not page.loopback:
        found.append(
            note(
                "control.page",
                f"is {page}: whoever reaches it sees this shop's sales, and the codes that are paid",
                'keep it to this machine ("127.0.0.1:8482"), and look from elsewhere through ssh -L',
            )
        )
    if partpay.callback_url is None:
        found.append(note("partpay.callback_url", "left out", "outcomes come by polling alone"))
    return tuple(found)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        remedy = "write one after the example in config/bridge.toml, or name another by --config"
        raise ConfigError(
            (Problem(file, None, "", f"cannot be read: {error.strerror}", remedy),)
        ) from None
    if len(raw) > FILE_MAX_BYTES:
        what = "is no configuration: larger than 1 MiB"
        raise ConfigError((Problem(file, None, "", what, "name bridge.toml by --config"),))
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            (Problem(file, line, "", "is not UTF-8 text", "save it as UTF-8"),)
        ) from None


def _not_toml(file: Path, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    told = str(error)
    match = re.search(r" \(at line (\d+), column \d+\)", told)
    line = int(match[1]) if match else len(text.splitlines()) or None
    what = re.sub(r" \(at [^)]*\)$", "", told)
    return Problem(file, line, "", f"is not TOML: {what}", 'write key = value, and text as "…"')


_Tell = Callable[[str, str, str], None]


def _tables(document: dict[str, Any], wrong: _Tell) -> dict[str, dict[str, Any]]:
    """The known sections of the document, each a table, empty where it is left out."""
    tables: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    top = [section for section in SECTIONS if "." not in section]
    for name, value in document.items():
        if name in top and isinstance(value, dict):
            tables[name] = dict(value)
        elif name in top:
            wrong(name, f"is {kind_of(value)}", f"write it as a section: [{name}]")
        elif isinstance(value, dict):
            wrong(name, "is an unknown section", _rather(name, top, "[{}]"))
        else:
            remedy = _home(name) or f"put it under one of {listed(top, '[{}]')}"
            wrong(name, "stands in no section", remedy)
    api = tables["partpay"].pop("api", {})
    if isinstance(api, dict):
        tables["partpay.api"] = api
    else:
        wrong("partpay.api", f"is {kind_of(api)}", "write it as a section: [partpay.api]")
    return tables


def _values(section: str, table: dict[str, Any], wrong: _Tell) -> dict[str, Any]:
    keys = SECTIONS[section]
    for name in table.keys() - keys.keys():
        if name in _INLINE_SECRETS:
            remedy = (
                f"put the secret into a file of its own, and name that: {_INLINE_SECRETS[name]}"
            )
            wrong(f"{section}.{name}", "a secret never stands in this file", remedy)
        else:
            wrong(f"{section}.{name}", "is an unknown key", _rather(name, list(keys), home=True))
    values: dict[str, Any] = {}
    for name, key in keys.items():
        if name in table:
            try:
                values[name] = key.check(table[name])
            except WrongValueError as found:
                wrong(f"{section}.{name}", found.what, found.remedy)
        elif key.default is _REQUIRED:
            wrong(f"{section}.{name}", "is missing", f"add it, such as {key.example}")
        else:
            values[name] = key.default
    return values


def _partpay(values: dict[str, Any], environ: Mapping[str, str], wrong: _Tell) -> dict[str, Any]:
    """`[partpay]` with the environment's addresses, and paths of secrets as secrets."""
    partpay = dict(values)
    environment = partpay.get("environment")
    for key in ("base_url", "token_url", "audience"):
        if partpay.get(key) is None and environment is not None:
            partpay[key] = ADDRESSES[environment].get(key)
            if partpay[key] is None:
                remedy = f"add {key}, or use environment sandbox or production"
                wrong(f"partpay.{key}", "is missing, and environment is custom", remedy)
    client_secret_file = partpay.pop("client_secret_file", None)
    callback_key_file = partpay.pop("callback_key_file", None)
    if client_secret_file is not None and partpay.get("client_id", "") is None:
        wrong("partpay.client_secret_file", "has no client_id beside it", "add client_id")
    partpay["client_secret"] = (
        secret_at(client_secret_file, environ)
        if client_secret_file
        else credential(CLIENT_SECRET_CREDENTIAL, environ)
    )
    partpay["callback_key"] = (
        secret_at(callback_key_file, environ)
        if callback_key_file
        else credential(CALLBACK_KEY_CREDENTIAL, environ)
    )
    return partpay


def _rather(name: str, known: list[str], form: str = "{}", *, home: bool = False) -> str:
    if close := close_to(name, known):
        return f"did you mean {form.format(close)}?"
    if home and (place := _home(name)):
        return place
    return f"known: {listed(known, form)}"


def _home(name: str) -> str:
    section = next((section for section, keys in SECTIONS.items() if name in keys), None)
    return f"it belongs under [{section}]" if section else ""
