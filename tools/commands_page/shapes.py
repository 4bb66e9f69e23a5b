"""What every command prints with --json: keys, kinds of values, and what they mean.

- One table, SHAPES: the page `docs/commands.md` is made from it, and the tests hold the program to it.
- A key that is listed is always there; "or null" where there may be nothing to say. None is added or taken away
  without a change here.
- Amounts are whole numbers of minor units (cents). Times are ISO 8601.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Value:
    """A plain value. kind: text, number, yes or no, any. null: there may be none."""

    kind: str
    meaning: str
    null: bool = False


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts. null: or null."""

    meaning: str
    null: bool = False


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with these keys. null: or null."""

    meaning: str
    keys: "Mapping[str, Shape]"
    null: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """A list of such objects. null: or null."""

    meaning: str
    each: Fields
    null: bool = False


@dataclass(frozen=True, slots=True)
class ByName:
    """An object whose keys are names that are not known before."""

    meaning: str
    each: "Shape"


Shape = Value | Texts | Fields | Many | ByName

KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,),
    "number": (int, float),
    "yes or no": (bool,),
    "any": (str, int, float, bool, list, dict),
}


def faults(shape: Shape, value: Any, path: str = "") -> list[str]:
    """In what a value is not of that shape; empty where it is."""
    where = path or "the whole"
    if value is None:
        allowed = getattr(shape, "null", False) or (
            isinstance(shape, Value) and shape.kind == "any"
        )
        return [] if allowed else [f"{where} is null"]
    match shape:
        case Value(kind=kind):
            right = isinstance(value, KINDS[kind]) and (
                kind in ("yes or no", "any") or not isinstance(value, bool)
            )
            return [] if right else [f"{where} is {value!r}, not {kind}"]
        case Texts():
            right = isinstance(value, list) and all(isinstance(one, str) for one in value)
            return [] if right else [f"{where} is {value!r}, not a list of texts"]
        case Fields(keys=keys):
            if not isinstance(value, dict):
                return [f"{where} is {value!r}, not an object"]
            found = [f"{path}.{name} is missing" for name in keys if name not in value]
            found += [f"{path}.{name} is not in the table" for name in value if name not in keys]
            for name in keys.keys() & value.keys():
                found += faults(keys[name], value[name], f"{path}.{name}")
            return found
        case Many(each=each):
            if not isinstance(value, list):
                return [f"{where} is {value!r}, not a list"]
            return [
                one
                for at, each_one in enumerate(value)
                for one in faults(each, each_one, f"{path}[{at}]")
            ]
        case ByName(each=each):
            if not isinstance(value, dict):
                return [f"{where} is {value!r}, not an object"]
            return [one for name in value for one in faults(each, value[name], f"{path}.{name}")]


def text(meaning: str, *, null: bool = False) -> Value:
    return Value("text", meaning, null)


def number(meaning: str, *, null: bool = False) -> Value:
    return Value("number", meaning, null)


def yes_or_no(meaning: str, *, null: bool = False) -> Value:
    return Value("yes or no", meaning, null)


# -- what several commands print


_MERCHANT: Final[Mapping[str, Shape]] = {
    "id": text("PartPay's id of the brand"),
    "name": text("for people"),
    "client_id": text("its own credential; null: the service's", null=True),
    "client_secret_file": text("the file of its secret", null=True),
    "callback_key_file": text("the file of its callback keys; null: the service's", null=True),
    "removed": yes_or_no("retired: no new sales"),
}
_TERMINAL: Final[Mapping[str, Shape]] = {
    "terminal": text("terminal id (9F1C)"),
    "serial": text("serial number of the device (9F1E)"),
    "port": text("the port that it is registered on"),
    "dialect": text("`native`, `classic`, or an installed one"),
    "baud": number("of its line"),
    "merchants": Texts("whose sales it may take; the first one for sales that name none"),
    "profile": text("what is known of its model", null=True),
    "display": text("the display beside it", null=True),
    "name": text("who faces it, and where", null=True),
    "keyed": yes_or_no("its link is authenticated"),
    "removed": yes_or_no("retired: no new sales"),
    "pairing": number("the number of this device under this terminal id"),
}
_CHANGES: Final = Many(
    "who changed it, the oldest first",
    Fields(
        "",
        {
            "at": text("when"),
            "who": text("by whom"),
            "uid": number("that user's number"),
            "action": text("`add`, `set`, `remove` …"),
            "was": Value("any", "an object: how it was; null where it was not there", null=True),
            "became": Value("any", "an object: how it became"),
        },
    ),
)
_TENDER: Final[Mapping[str, Shape]] = {
    "terminal": text("terminal id"),
    "counter": number("of that terminal (9F41)"),
    "kind": text("`tender` or `refund`"),
    "merchant": text("merchant id"),
    "amount_minor": number("in cents"),
    "state": text("`accepted`, `ordered`, `closing` or `closed`"),
    "code": text("the response code, once it is closed", null=True),
    "stored": yes_or_no("its terminal has stored the outcome"),
    "reversal": text("`none`, `owed`, `done` …: money that has to go back"),
    "order_id": text("PartPay's", null=True),
    "order_number": text("PartPay's, for people", null=True),
    "gateway_reference": text("the bridge's own reference at PartPay"),
    "reference": text("the terminal's (DF02)", null=True),
    "accepted_at": text("when it was written down"),
    "original_counter": number("of a refund: the sale's counter", null=True),
    "pairing": number("which device"),
}
_CONDITION: Final = Fields(
    "",
    {
        "code": text("which condition; see docs/architecture.md"),
        "severity": text("`degraded` or `failing`"),
        "subject": text("which port, merchant, file or sale; empty where there is only one"),
        "text": text("for people"),
        "for_s": number("how long it has lasted, in seconds"),
    },
)
_PROBLEM: Final = Fields(
    "",
    {
        "file": text("where"),
        "line": number("from 1; null where no line is to blame", null=True),
        "key": text("section and key"),
        "what": text("what is wrong"),
        "remedy": text("what would be right"),
    },
)
_PROFILE: Final[Mapping[str, Shape]] = {
    "name": text("as `--profile` takes it"),
    "title": text("which terminals it is for"),
    "panel_width": number("in pixels; null: as the terminal says", null=True),
    "panel_height": number("in pixels; null: as the terminal says", null=True),
    "inverted": yes_or_no("the panel shows a 0 dark"),
    "formats": Texts("image formats in hex, best first; null: as the terminal says", null=True),
    "max_body": number("bytes; null: as the terminal says", null=True),
    "largest_image": number("bytes; null: as the terminal says", null=True),
    "baud": number("how it leaves the factory", null=True),
    "usb_ids": Texts("how it is known on USB"),
    "usb_interface": number("which of its interfaces", null=True),
    "quirks": Texts("what it does against the link's page"),
}
_TIMELINE: Final = Many(
    "what happened, the oldest first",
    Fields(
        "",
        {
            "at": text("when"),
            "who": text("terminal, PartPay, bridge …"),
            "what": text("what happened, in plain words"),
        },
    ),
)

SHAPES: Final[Mapping[str, Shape | None]] = {
    "run": None,
    "check-config": Fields(
        "",
        {
            "ok": yes_or_no("it can be used"),
            "problems": Many("what is wrong", _PROBLEM),
            "notes": Many("what is allowed, and worth a look", _PROBLEM),
        },
    ),
    "merchants add": Fields("the merchant", _MERCHANT),
    "merchants list": Many("", Fields("", _MERCHANT)),
    "merchants show": Fields("", {**_MERCHANT, "changes": _CHANGES}),
    "merchants set": Fields("the merchant as it is now", _MERCHANT),
    "merchants remove": Fields(
        "", {**_MERCHANT, "terminals": Texts("terminals that name it still")}
    ),
    "merchants import": Fields(
        "",
        {
            "added": Texts("ids"),
            "changed": Texts("ids"),
            "unchanged": Texts("ids"),
        },
    ),
    "terminals add": Fields("the terminal", _TERMINAL),
    "terminals list": Many("", Fields("", _TERMINAL)),
    "terminals show": Fields("", {**_TERMINAL, "changes": _CHANGES}),
    "terminals set": Fields("the terminal as it is now", _TERMINAL),
    "terminals remove": Fields("the terminal", _TERMINAL),
    "terminals forget-keys": Fields(
        "",
        {
            "terminal": text("terminal id"),
            "serial": text("serial number"),
            "keyed": yes_or_no("no"),
        },
    ),
    "ports": Many(
        "those with a terminal first",
        Fields(
            "",
            {
                "port": text("the name to configure"),
                "plugged_in": yes_or_no("something is there"),
                "node": text("where it is just now", null=True),
                "names": Texts("every name that means it"),
                "maker": text("empty where it does not say"),
                "product": text("empty where it does not say"),
                "serial_number": text("empty where it does not say"),
                "usb_id": text("`0403:6001`; empty where it is not on USB"),
                "place": text("the USB socket, `1-4.2`; empty where it is built in"),
                "driver": text("the kernel's"),
                "latency_ms": number("how long its adapter keeps bytes back", null=True),
                "used_by": Many(
                    "who has it open; null: that cannot be seen",
                    Fields("", {"pid": number("process"), "name": text("its name")}),
                    null=True,
                ),
                "terminals": Many(
                    "those registered on it",
                    Fields(
                        "",
                        {
                            key: _TERMINAL[key]
                            for key in ("terminal", "serial", "port", "dialect", "baud")
                        },
                    ),
                ),
                "answers": Fields(
                    "who was heard there; null: nobody",
                    {
                        "dialect": text("that it speaks"),
                        "baud": number("that it speaks at"),
                        "terminal": text("terminal id; null: it said no HELLO", null=True),
                        "serial": text("serial number", null=True),
                        "model": text("of its HELLO", null=True),
                        "firmware": text("of its HELLO", null=True),
                    },
                    null=True,
                ),
                "remarks": Texts("what to look at"),
            },
        ),
    ),
    "profiles list": Many("", Fields("", _PROFILE)),
    "profiles show": Fields("", _PROFILE),
    "display test": Many(
        "the panel, then the display beside it",
        Fields(
            "",
            {
                "where": text("port, or display as configured"),
                "shown": yes_or_no("null: the device did not say", null=True),
                "what": text("what became of it, with the remedy"),
                "payload": text("what the code says"),
                "png": text("the file that was written", null=True),
            },
        ),
    ),
    "status": Fields(
        "",
        {
            "status": text("the worst condition: `ok`, `degraded` or `failing`"),
            "store": text("as configured"),
            "environment": text("`sandbox`, `production` or `custom`"),
            "version": text("of the daemon"),
            "pid": number("of the daemon"),
            "up_s": number("since its start, in seconds"),
            "listener": text("its address"),
            "callbacks": yes_or_no("a callback route is served"),
            "callback_age_s": number("since the last signed one; null: none came", null=True),
            "lines": Many(
                "every port that a terminal is registered on",
                Fields(
                    "",
                    {
                        "port": text(""),
                        "dialect": text(""),
                        "baud": number(""),
                        "open": yes_or_no("the port is there"),
                        "up": yes_or_no("somebody answers on it"),
                        "terminal": text("of its last HELLO", null=True),
                        "serial": text("of its last HELLO", null=True),
                        "model": text("of its last HELLO", null=True),
                        "firmware": text("of its last HELLO", null=True),
                    },
                ),
            ),
            "tenders": Fields(
                "how many",
                {
                    "open": number("have no outcome"),
                    "unstored": number("are not stored by their terminals"),
                    "owed": number("owe a reversal"),
                    "attention": number("need a person"),
                },
            ),
            "conditions": Many("the worst first", _CONDITION),
        },
    ),
    "doctor": Fields(
        "",
        {
            "findings": Many(
                "in the order of the checks",
                Fields(
                    "",
                    {
                        "check": text("which one"),
                        "level": text("`ok`, `note`, `wrong` or `unknown`"),
                        "looked_at": text("what was looked at"),
                        "found": text("what was found"),
                        "remedy": text("the command that mends it", null=True),
                    },
                ),
            ),
            "looked_at": number("how many findings there are"),
            "wrong": number("how many are `wrong`"),
            "complete": yes_or_no("yes: the diagnosis is whole"),
        },
    ),
    "trace": Many(
        "one a line, as they come",
        Fields(
            "",
            {
                "line": text("as it is saved"),
                "time_s": number("seconds of the lines' clock; null: a remark", null=True),
                "way": text("`T>B` from the terminal, `B>T` from the bridge", null=True),
                "kind": text("`frame`, `ack`, `nak`, `bad`, `noise` or `remark`"),
                "hex": text("the body; `..` for each byte of a secret"),
                "words": text("what it says"),
            },
        ),
    ),
    "tenders list": Many("newest first", Fields("", _TENDER)),
    "tenders show": Fields(
        "",
        {
            **_TENDER,
            "events": Many(
                "everything that was written down of it",
                Fields(
                    "",
                    {
                        "seq": number("its number in the journal"),
                        "at": text("when"),
                        "name": text("what happened"),
                        "data": Value("any", "an object: what came in, what changed"),
                    },
                ),
            ),
        },
    ),
    "tenders explain": Fields(
        "",
        {
            "tender": Fields("", _TENDER),
            "timeline": _TIMELINE,
            "money": text("taken or not"),
            "to_do": text("what a person has to do"),
        },
    ),
    "tenders attention": Many(
        "the oldest first",
        Fields(
            "",
            {
                "entry": number("as `tenders acknowledge` takes it"),
                "at": text("since when"),
                "pairing": number("which device; null: it is about none", null=True),
                "counter": number("of that terminal", null=True),
                "terminal": text("terminal id", null=True),
                "code": text("what kind of finding"),
                "text": text("for people"),
                "order_number": text("PartPay's", null=True),
            },
        ),
    ),
    "tenders acknowledge": Fields("", {"acknowledged": number("how many entries")}),
    "tenders totals": Many(
        "",
        Fields(
            "",
            {
                "day": text("YYYY-MM-DD, in the shop's time"),
                "merchant": text("merchant id"),
                "sales": number("how many were approved"),
                "sales_minor": number("in cents"),
                "refunds": number("how many were done"),
                "refunds_minor": number("in cents"),
                "unsettled": number("how many have something due still"),
            },
        ),
    ),
    "tenders export": Many(
        "the oldest first",
        Fields(
            "",
            {
                **{
                    key: _TENDER[key]
                    for key in (
                        *("accepted_at", "terminal", "counter", "kind", "merchant", "order_number"),
                        *("order_id", "reference", "amount_minor", "gateway_reference"),
                        "original_counter",
                    )
                },
                "refunded_minor": number("of a sale: what has gone back, in cents"),
            },
        ),
    ),
    "pair": Fields(
        "the terminal that was paired",
        {
            "terminal": text("terminal id"),
            "serial": text("serial number"),
            "model": text("of its HELLO"),
            "firmware": text("of its HELLO"),
            "panel": Fields("in pixels", {"width": number(""), "height": number("")}),
            "can_authenticate": yes_or_no("it can have keys"),
            "port": text("where it is"),
            "dialect": text("that it speaks"),
            "baud": number("that it speaks at"),
            "pairing": number("which device"),
            "authenticated": yes_or_no("it has keys, and the digits were compared"),
            "merchants": Texts("whose sales it may take"),
            "name": text("who faces it, and where", null=True),
            "picture_shown": yes_or_no(
                "the test picture; null: it did not say, or none was", null=True
            ),
            "picture_scanned": yes_or_no("as a person said; null: nobody was asked", null=True),
        },
    ),
    "install-service": Fields(
        "",
        {
            "dry_run": yes_or_no("nothing was done"),
            "steps": Many(
                "in order",
                Fields(
                    "",
                    {
                        "does": text("`write`, `keep`, `link`, `remove`, `run`, `leave` or `miss`"),
                        "what": text("a file, or a command"),
                        "done": yes_or_no("it was, or would be"),
                    },
                ),
            ),
        },
    ),
    "audit": Fields(
        "",
        {
            "holds": yes_or_no("what always holds did hold"),
            "broken": Many(
                "what did not",
                Fields(
                    "",
                    {
                        "invariant": text("which rule"),
                        "tender": text("whose; empty: the chain's"),
                        "what": text("what is wrong"),
                    },
                ),
            ),
            "broken_count": number("how many, told one by one or not"),
            "tenders": number("sales and refunds that were looked at"),
            "events": number("that were looked at"),
            "head": text("the chain's last hash"),
            "head_found": yes_or_no("`--head` is in the chain; null: none was given", null=True),
        },
    ),
}
"""Command -> what it prints; None: nothing."""
