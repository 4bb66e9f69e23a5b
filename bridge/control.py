"""What commands ask, and the one handler that answers, whether a daemon runs or not.

- While the daemon runs it answers over its socket (`control_socket.py`); while it does not, the
  command takes the state lock and asks the same `Handler` itself. Commands print; they never open
  the journal or the registry.
- A request is a dataclass of `Request`; an answer is `Facts` (one value) or `Rows` (a list that is
  passed on as it is read). What a handler refuses is a `CommandError` with the command's exit
  status.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Protocol, assert_never, get_args

from bridge.registry import (
    Change,
    Merchant,
    NotRightError,
    Pairing,
    Registry,
    RegistryError,
    Snapshot,
    Who,
)

# -- what is asked


@dataclass(frozen=True, slots=True)
class Status:
    """What is going on. Only a daemon knows."""


@dataclass(frozen=True, slots=True)
class ListMerchants:
    """removed: those that are retired, too."""

    removed: bool = False


@dataclass(frozen=True, slots=True)
class ShowMerchant:
    """One merchant, and how it came to be so."""

    merchant_id: str


@dataclass(frozen=True, slots=True)
class AddMerchant:
    """See `Registry.add_merchant`."""

    merchant: Merchant


@dataclass(frozen=True, slots=True)
class SetMerchant:
    """What is None stays as it is; what is "" is taken away."""

    merchant_id: str
    name: str | None = None
    client_id: str | None = None
    client_secret_file: str | None = None
    callback_key_file: str | None = None


@dataclass(frozen=True, slots=True)
class RemoveMerchant:
    """Retires it."""

    merchant_id: str


@dataclass(frozen=True, slots=True)
class ImportMerchants:
    """See `Registry.import_merchants`."""

    merchants: tuple[Merchant, ...]


@dataclass(frozen=True, slots=True)
class ListTerminals:
    """removed: those that are retired, too."""

    removed: bool = False


@dataclass(frozen=True, slots=True)
class ShowTerminal:
    """One terminal, and how it came to be so. key: TERMINAL, or TERMINAL/SERIAL."""

    key: str


@dataclass(frozen=True, slots=True)
class AddTerminal:
    """See `Registry.add_terminal`."""

    terminal: Pairing


@dataclass(frozen=True, slots=True)
class SetTerminal:
    """What is None stays as it is; what is "" is taken away."""

    key: str
    port: str | None = None
    dialect: str | None = None
    baud: int | None = None
    merchants: tuple[str, ...] | None = None
    profile: str | None = None
    display: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RemoveTerminal:
    """Retires it."""

    key: str


@dataclass(frozen=True, slots=True)
class ForgetKeys:
    """Removes the keys of a terminal. key: TERMINAL, or TERMINAL/SERIAL, registered or not."""

    key: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Opens the dialogue that pairs a terminal: see `bridge.pairing_desk`. Its rows come as it goes on; who stops
    reading ends it.

    port: None: the only one that it can be. dialect, baud: None: found out. terminal_id, serial: of the only terminal
    that is taken. With merchants and name nobody is asked for them. test False: no test picture.
    """

    port: str | None = None
    dialect: str | None = None
    baud: int | None = None
    profile: str | None = None
    terminal_id: str | None = None
    serial: str | None = None
    merchants: tuple[str, ...] = ()
    name: str | None = None
    test: bool = True


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """What a person answers to the row of that number. dialogue: named in each row."""

    dialogue: str
    number: int
    answer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PairCancel:
    """Breaks that dialogue off."""

    dialogue: str


@dataclass(frozen=True, slots=True)
class ListTenders:
    """The latest ones, newest first. Days: YYYY-MM-DD in the shop's time, both included."""

    open_only: bool = False
    terminal: str | None = None
    first_day: str | None = None
    last_day: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ShowTender:
    """One tender. key: [TERMINAL/]COUNTER, an order id or number, or a reference."""

    key: str


@dataclass(frozen=True, slots=True)
class ExplainTender:
    """Its timeline in plain words. key: as in `ShowTender`."""

    key: str


@dataclass(frozen=True, slots=True)
class ListAttention:
    """What needs a person and nobody has acknowledged."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """entry: of `ListAttention`; None: all of them."""

    entry: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """By merchant and day."""

    first_day: str | None = None
    last_day: str | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """What a settlement is matched with."""

    first_day: str
    last_day: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What goes over a line, as it goes: see `bridge.tracing.Tracing.watch`. key: TERMINAL, or a port.

    Rows without end; who stops reading ends it. Only a daemon has lines.
    """

    key: str


@dataclass(frozen=True, slots=True)
class BeginProbe:
    """A question for the callback address, and its answer: see `bridge.probe`. Only a daemon listens."""


@dataclass(frozen=True, slots=True)
class AskPort:
    """Who answers on a silent port, in whatever dialect and at whatever speed: see `heard_facts`."""

    port: str


@dataclass(frozen=True, slots=True)
class TryDisplay:
    """A test picture on the panel of that TERMINAL or port, and on the display beside it.

    clear: take it away again.
    """

    key: str
    clear: bool = False


Request = (
    Status
    | ListMerchants
    | ShowMerchant
    | AddMerchant
    | SetMerchant
    | RemoveMerchant
    | ImportMerchants
    | ListTerminals
    | ShowTerminal
    | AddTerminal
    | SetTerminal
    | RemoveTerminal
    | ForgetKeys
    | Pair
    | PairAnswer
    | PairCancel
    | ListTenders
    | ShowTender
    | ExplainTender
    | ListAttention
    | Acknowledge
    | Totals
    | Export
    | Trace
    | BeginProbe
    | AskPort
    | TryDisplay
)
BY_NAME: Final[Mapping[str, type[Request]]] = {kind.__name__: kind for kind in get_args(Request)}


# -- what is answered


@dataclass(frozen=True, slots=True)
class Facts:
    """One value, as JSON has it."""

    value: Any


@dataclass(frozen=True, slots=True)
class Rows:
    """A list of objects, read as they are passed on; each at once where they are `live`."""

    rows: Iterable[Mapping[str, Any]]
    live: bool = False


Answer = Facts | Rows


class CommandError(Exception):
    """A command cannot be done. exit_status: 1 it failed, 2 it was used wrongly."""

    def __init__(self, exit_status: int, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.exit_status = exit_status
        self.what = what
        self.remedy = remedy


class Reader(Protocol):
    """The journal, for people: see `bridge.journal.reader.JournalReader`.

    Any thread may call any method. `export` holds no transaction open for longer than it takes to
    read.
    """

    def tenders(
        self,
        *,
        open_only: bool,
        terminal: str | None,
        first_day: str | None,
        last_day: str | None,
        limit: int,
    ) -> Iterable[Mapping[str, Any]]: ...
    def find(self, key: str) -> list[dict[str, Any]]: ...
    def events(self, pairing: int, counter: int) -> list[dict[str, Any]]: ...
    def attention(self) -> Iterable[Mapping[str, Any]]: ...
    def totals(
        self, first_day: str | None, last_day: str | None
    ) -> Iterable[Mapping[str, Any]]: ...
    def export(self, first_day: str, last_day: str) -> Iterable[Mapping[str, Any]]: ...


class Inquiry(Protocol):
    """What takes more than reading: see `bridge.inquiry.JournalInquiry`.

    explain: {"tender", "timeline": [{"at", "who", "what"}], "money", "to_do"}, in plain words.
    """

    def explain(self, pairing: int, counter: int) -> Mapping[str, Any]: ...


class Desk(Protocol):
    """Who does what is more than reading: the engine, or the journal itself while no daemon runs."""

    def acknowledge(self, entry: int | None, who: str) -> int:
        """How many entries are acknowledged by it. Raises `CommandError`."""
        ...


class PairingRoom(Protocol):
    """Where terminals are paired: see `bridge.pairing_desk.PairingDesk`."""

    def rows(self, request: Pair, who: Who) -> Iterator[Mapping[str, Any]]: ...
    def answer(self, request: PairAnswer) -> None: ...
    def cancel(self, request: PairCancel) -> None: ...


class Workbench(Protocol):
    """What a technician has done with the ports: see `bridge.technician.Technician`. Raise `CommandError`."""

    def trace(self, key: str) -> Iterator[Mapping[str, Any]]: ...
    def probe(self) -> Mapping[str, Any]: ...
    def ask_port(self, port: str) -> Mapping[str, Any]: ...
    def test_display(self, key: str, clear: bool) -> list[dict[str, Any]]: ...


class Handler:
    """Answers requests. Any thread may call it.

    status: what `status` tells; None where no daemon runs. reader: opened at the first question to
    the journal. inquiry: None where there is none. pairing: made at the first dialogue. technician:
    made at the first such request.
    """

    def __init__(
        self,
        registry: Registry,
        reader: Callable[[], Reader],
        desk: Desk,
        *,
        status: Callable[[], Mapping[str, Any]] | None = None,
        inquiry: Inquiry,
        pairing: Callable[[], PairingRoom] | None = None,
        technician: Callable[[], Workbench] | None = None,
    ) -> None:
        self._registry = registry
        self._reader = reader
        self._desk = desk
        self._status = status
        self._inquiry = inquiry
        self._pairing = pairing
        self._technician = technician

    def __call__(self, request: Request, who: Who) -> Answer:
        """Raises `CommandError`."""
        try:
            return self._answer(request, who)
        except RegistryError as error:
            raise CommandError(error.exit_status, error.what, error.remedy) from None

    def _answer(self, request: Request, who: Who) -> Answer:
        registry = self._registry
        match request:
            case Status():
                if self._status is None:
                    raise CommandError(1, "the daemon is not running", "start it")
                return Facts(dict(self._status()))
            case ListMerchants(removed=removed):
                every = registry.snapshot.merchants.values()
                return Rows([as_merchant(one) for one in every if removed or not one.retired])
            case ShowMerchant(merchant_id=merchant_id):
                merchant = registry.merchant(merchant_id)
                history = registry.history("merchant", merchant_id)
                return Facts(
                    {**as_merchant(merchant), "changes": [_as_change(one) for one in history]}
                )
            case AddMerchant(merchant=merchant):
                return Facts(as_merchant(registry.add_merchant(merchant, who)))
            case SetMerchant():
                changes = _changes(request, "merchant_id")
                return Facts(as_merchant(registry.set_merchant(request.merchant_id, changes, who)))
            case RemoveMerchant(merchant_id=merchant_id):
                removed_one = registry.remove_merchant(merchant_id, who)
                users = _users_of(registry.snapshot, merchant_id)
                return Facts({**as_merchant(removed_one), "terminals": users})
            case ImportMerchants(merchants=merchants):
                return Facts(registry.import_merchants(merchants, who))
            case ListTerminals(removed=removed):
                snapshot = registry.snapshot
                return Rows(
                    [
                        as_terminal(one, snapshot)
                        for one in snapshot.pairings
                        if removed or not one.retired
                    ]
                )
            case ShowTerminal(key=key):
                pairing = registry.terminal(key)
                history = (
                    *registry.history("terminal", str(pairing.pairing)),
                    *registry.history("keys", f"{pairing.terminal_id}/{pairing.serial_number}"),
                )
                told = [_as_change(one) for one in sorted(history, key=lambda one: one.at)]
                return Facts({**as_terminal(pairing, registry.snapshot), "changes": told})
            case AddTerminal(terminal=terminal):
                _check_line(terminal)
                added = registry.add_terminal(terminal, who)
                return Facts(as_terminal(added, registry.snapshot))
            case SetTerminal():
                changes = _changes(request, "key")
                _check_line(replace(registry.terminal(request.key), **changes))
                changed = registry.set_terminal(request.key, changes, who)
                return Facts(as_terminal(changed, registry.snapshot))
            case RemoveTerminal(key=key):
                removed_terminal = registry.remove_terminal(key, who)
                return Facts(as_terminal(removed_terminal, registry.snapshot))
            case ForgetKeys(key=key):
                terminal_id, serial = registry.forget_keys(key, who)
                return Facts({"terminal": terminal_id, "serial": serial, "keyed": False})
            case Pair():
                return Rows(self._pairing_room().rows(request, who), live=True)
            case PairAnswer():
                self._pairing_room().answer(request)
                return Facts({"dialogue": request.dialogue})
            case PairCancel():
                self._pairing_room().cancel(request)
                return Facts({"dialogue": request.dialogue})
            case ListTenders():
                return Rows(self._reader().tenders(**asdict(request)))
            case ShowTender(key=key):
                tender = self._tender(key)
                events = self._reader().events(tender["pairing"], tender["counter"])
                return Facts({**tender, "events": events})
            case ExplainTender(key=key):
                tender = self._tender(key)
                return Facts(self._inquiry.explain(tender["pairing"], tender["counter"]))
            case ListAttention():
                return Rows(self._reader().attention())
            case Acknowledge(entry=entry):
                return Facts(self._acknowledge(entry, who))
            case Totals(first_day=first_day, last_day=last_day):
                return Rows(self._reader().totals(first_day, last_day))
            case Export(first_day=first_day, last_day=last_day):
                return Rows(self._reader().export(first_day, last_day))
            case Trace(key=key):
                return Rows(self._workbench().trace(key), live=True)
            case BeginProbe():
                return Facts(dict(self._workbench().probe()))
            case AskPort(port=port):
                return Facts(dict(self._workbench().ask_port(port)))
            case TryDisplay(key=key, clear=clear):
                return Facts(self._workbench().test_display(key, clear))
            case _:
                assert_never(request)

    def _workbench(self) -> Workbench:
        if self._technician is None:
            raise CommandError(1, "there are no lines here", "ask the daemon")
        return self._technician()

    def _pairing_room(self) -> PairingRoom:
        if self._pairing is None:
            raise CommandError(1, "no terminal can be paired here", "ask the daemon")
        return self._pairing()

    def _tender(self, key: str) -> dict[str, Any]:
        found = self._reader().find(key)
        if not found:
            raise CommandError(
                2, f"nothing is known by {key}", "see: tenders list, and name [TERMINAL/]COUNTER"
            )
        if len(found) > 1:
            listed = ", ".join(
                f"{one['terminal']}/{one['counter']} ({one['gateway_reference']})" for one in found
            )
            raise CommandError(2, f"{len(found)} match {key}", f"name one of: {listed}")
        return found[0]

    def _acknowledge(self, entry: int | None, who: Who) -> dict[str, Any]:
        waiting = {row["entry"] for row in self._reader().attention()}
        if entry is not None and entry not in waiting:
            raise CommandError(2, f"no entry {entry} waits", "see: tenders attention")
        return {"acknowledged": self._desk.acknowledge(entry, who.name) if waiting else 0}


def as_merchant(merchant: Merchant) -> dict[str, Any]:
    """A merchant in JSON."""
    return {
        "id": merchant.merchant_id,
        "name": merchant.name,
        "client_id": merchant.client_id,
        "client_secret_file": merchant.client_secret_file,
        "callback_key_file": merchant.callback_key_file,
        "removed": merchant.retired,
    }


def as_terminal(pairing: Pairing, snapshot: Snapshot) -> dict[str, Any]:
    """A terminal in JSON. keyed: its link is authenticated."""
    return {
        "terminal": pairing.terminal_id,
        "serial": pairing.serial_number,
        "port": pairing.port,
        "dialect": pairing.dialect,
        "baud": pairing.baud,
        "merchants": list(pairing.merchants),
        "profile": pairing.profile,
        "display": pairing.display,
        "name": pairing.name,
        "keyed": bool(snapshot.keys_of(pairing.terminal_id, pairing.serial_number)),
        "removed": pairing.retired,
        "pairing": pairing.pairing,
    }


def _as_change(change: Change) -> dict[str, Any]:
    return asdict(change)


def _users_of(snapshot: Snapshot, merchant_id: str) -> list[str]:
    return [
        one.terminal_id
        for one in snapshot.pairings
        if not one.retired and merchant_id in one.merchants
    ]


_REMOVABLE: Final[Mapping[type, frozenset[str]]] = {
    SetMerchant: frozenset({"client_id", "client_secret_file", "callback_key_file"}),
    SetTerminal: frozenset({"profile", "display", "name"}),
}


def _changes(request: SetMerchant | SetTerminal, key: str) -> dict[str, Any]:
    given = {one.name: getattr(request, one.name) for one in fields(request) if one.name != key}
    return {
        name: None if value == "" and name in _REMOVABLE[type(request)] else value
        for name, value in given.items()
        if value is not None
    }


def _check_line(terminal: Pairing) -> None:
    """That a lane and a display can be made for it: what the registry takes, the daemon must be able to open."""
    from drivers.display.beside import DisplayConfigError, display_named  # noqa: PLC0415
    from drivers.line.line import line_maker, line_name  # noqa: PLC0415 (most need none of these)
    from drivers.line.usb_port import usb_name  # noqa: PLC0415
    from drivers.link.dialect import BrokenPlugIn, UnknownName, dialect_named  # noqa: PLC0415
    from drivers.profiles import profile_named  # noqa: PLC0415

    try:
        dialect_named(terminal.dialect)
        profile_named(terminal.profile)
        line_maker(terminal.port)
        if line_name(terminal.port) == "usb":
            usb_name(terminal.port)
        if terminal.display is not None:
            display_named(terminal.display)
    except DisplayConfigError as error:
        what, _, remedy = str(error).partition("; ")
        raise NotRightError(what, remedy or "see docs/displays.md") from None
    except (ValueError, UnknownName, BrokenPlugIn) as error:
        raise NotRightError(str(error), "name one that is known") from None
