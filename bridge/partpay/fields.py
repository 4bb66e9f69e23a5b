"""The parts of PartPay's messages: JSON, amounts, times, references, addresses, reasons.

Rules:
- Reading is total: whatever stands in an answer, a function here gives a value. `object_of` alone
  raises, and only `BodyError`.
- A part that is told, but not readable, is UNREADABLE or AMOUNT_UNREADABLE: they equal nothing
  that we ever send, so that a comparison with what was asked for disagrees, as it must.
- Amounts are integers of minor units; no float is made anywhere on their way.
- Pure, and of the standard library alone: the core imports it before requests is there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeGuard

UNREADABLE: Final = "\ufffd"  # told, but not as text that can be an id, a reference or a status
AMOUNT_UNREADABLE: Final = -1  # told, but not as an amount; no tender has it

# ---- JSON -----------------------------------------------------------------------------------


class BodyError(ValueError):
    """A body that no answer can be read from; the text goes on from "PartPay answered …, but "."""


class _Number(str):
    """A JSON number as it was written: no float, and no integer of a million digits."""

    __slots__ = ()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a field stands twice")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_once,
    parse_float=_Number,
    parse_int=_Number,
    parse_constant=_no_constant,
    strict=False,  # a raw line break in a reason is no ground to lose the reason
)


def json_object(body: bytes) -> dict[str, object] | None:
    """The JSON object that the body is; None for anything else, a field twice included."""
    try:
        value = _DECODER.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def object_of(body: bytes) -> dict[str, object]:
    """The JSON object of a good answer. Raises `BodyError`."""
    fields = json_object(body)
    if fields is None:
        raise BodyError("not with one readable JSON object" if body else "with nothing in it")
    if fields.get("isValid") is False:  # PartPay's shape of an error, whatever the status says
        raise BodyError("says in it that it is not valid")
    return fields


# ---- ids and references ---------------------------------------------------------------------

TEXT_MAX_CHARS: Final = 256  # our own references and PartPay's words are far shorter
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def text_of(value: object) -> str | None:
    """An id, a reference or a word; None where nothing is told (null, or no character)."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > TEXT_MAX_CHARS:
        return UNREADABLE
    # JSON can spell half a surrogate pair, which no file and no line can hold
    return UNREADABLE if _SURROGATE.search(value) else str(value)


# ---- amounts --------------------------------------------------------------------------------

MINOR_DIGITS: Final = 2  # cents of a dollar: every PartPay amount is in NZD
AMOUNT_MAX_DIGITS: Final = 12  # what the link's 9F02 carries
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)


def amount_text(amount_minor: int) -> str:
    """12550 -> "125.50": exact, and a JSON number as it stands. ValueError where not above 0."""
    if isinstance(amount_minor, bool) or not isinstance(amount_minor, int) or amount_minor <= 0:
        raise ValueError(f"{amount_minor!r} is no amount in minor units above 0")
    major, minor = divmod(amount_minor, 10**MINOR_DIGITS)
    return f"{major}.{minor:0{MINOR_DIGITS}d}"


def amount_of(value: object) -> int | None:
    """12.5, "12.50" -> 1250; AMOUNT_UNREADABLE where it is no amount, or not of whole cents."""
    if value is None:
        return None
    if not isinstance(value, str) or _AMOUNT.fullmatch(value) is None:
        return AMOUNT_UNREADABLE
    scaled = Decimal(value).scaleb(MINOR_DIGITS)
    # adjusted() is the place of the first digit: 1E99 must not become an integer
    if scaled.adjusted() >= AMOUNT_MAX_DIGITS or scaled != scaled.to_integral_value():
        return AMOUNT_UNREADABLE
    return int(scaled)


# ---- the picture ----------------------------------------------------------------------------

ADDRESS_MAX_CHARS: Final = 2048  # what servers and proxies bear
_ADDRESS: Final = re.compile(rf"https?://[!-~]{{1,{ADDRESS_MAX_CHARS}}}", re.ASCII | re.IGNORECASE)
_DATA_PREFIX: Final = re.compile(r"\s*data:[^,]{0,100},", re.ASCII | re.IGNORECASE)
_OTHER_ALPHABET: Final = str.maketrans("-_", "+/", " \t\r\n\f\v")


def address_of(text: str) -> str | None:
    """The web address that `text` is, or None."""
    bare = text.strip()
    return bare if _ADDRESS.fullmatch(bare) else None


def base64_bytes(text: str, *, may_be_bare: bool = True) -> bytes | None:
    """Base64 of either alphabet, with or without white space and padding; or None.

    It may begin with `data:…,`, or must where it may not be bare.
    """
    prefix = _DATA_PREFIX.match(text)
    if prefix is None and not may_be_bare:
        return None
    bare = (text[prefix.end() :] if prefix else text).translate(_OTHER_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        return None


# ---- times ----------------------------------------------------------------------------------

RETRY_AFTER_MAX_S: Final = 3600.0  # a longer wait asked for is cut: we ask again after an hour
ISO_TIME_MAX_CHARS: Final = 40
_MONTH_NAMES: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES.split(), start=1)}
# strptime would read the names of days and months by the machine's language
_HTTP_TIME: Final = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT",
    re.ASCII,
)


def life_s(expiry: object, date: str | None) -> float | None:
    """orderExpiry less the Date of the same answer, at least 0; None where either says no time.

    A time without a zone is none: New Zealand's is 13 hours away from UTC.
    """
    ends, told = _iso_time(expiry), http_time(date)
    if ends is None or told is None:
        return None
    return max(0.0, (ends - told).total_seconds())


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds from the answer on, whichever of its two forms it has."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", value, re.ASCII):
        return min(float(value), RETRY_AFTER_MAX_S)
    until, told = http_time(value), http_time(headers.get("date"))
    if until is None or told is None:
        return None
    return min(max(0.0, (until - told).total_seconds()), RETRY_AFTER_MAX_S)


def _iso_time(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > ISO_TIME_MAX_CHARS or not value.isascii():
        return None
    try:
        time = datetime.fromisoformat(value.strip().upper())
        return None if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def http_time(value: str | None) -> datetime | None:
    """A date as HTTP's headers write it; None where it is none."""
    found = _HTTP_TIME.fullmatch(value.strip()) if value is not None else None
    if found is None or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[n]) for n in (1, 3, 4, 5, 6))
    try:
        return datetime(year, _MONTHS[found[2]], day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


# ---- PartPay's words ------------------------------------------------------------------------

PROBLEM_MAX_CHARS: Final = 200  # a line of a log, and more than a terminal's display holds
PROPERTY_MAX_CHARS: Final = 64
PROPERTIES_MAX: Final = 16


def problem_text(body: bytes) -> tuple[str, tuple[str, ...]]:
    """PartPay's reason as one plain line ("" where it gives none), and the fields it names.

    Takes the shapes of partpay-api.md "Error bodies", and those of OAuth and ASP.NET beside them.
    """
    fields = json_object(body)
    if fields is None:
        return "", ()
    messages: list[str] = []
    properties: list[str] = []
    for name, said in _errors(fields.get("errors")):
        if name is not None:
            properties.append(plain_line(name, PROPERTY_MAX_CHARS))
        messages += filter(_is_text, said[:PROPERTIES_MAX] if isinstance(said, list) else [said])
    if not messages:
        keys = ("title", "detail", "message", "error", "error_description")
        messages += filter(_is_text, map(fields.get, keys))
    lines = dict.fromkeys(plain_line(text, PROBLEM_MAX_CHARS) for text in messages)
    names = dict.fromkeys(name for name in properties if name)
    return plain_line("; ".join(filter(None, lines)), PROBLEM_MAX_CHARS), tuple(names)


def _errors(errors: object) -> Iterator[tuple[str | None, object]]:
    if isinstance(errors, dict):
        yield from list(errors.items())[:PROPERTIES_MAX]
    for error in errors[:PROPERTIES_MAX] if isinstance(errors, list) else ():
        if isinstance(error, dict):
            name = error.get("propertyName")
            yield (name if _is_text(name) else None), error.get("errorMessages")
        else:
            yield None, error


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and not isinstance(value, _Number)


def plain_line(text: str, max_chars: int) -> str:
    """`text` as one line that any log and display bears: printable, single spaces, cut by "…"."""
    # cut first: what comes from outside may be a megabyte; four times, since spaces go away yet
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * max_chars])
    line = " ".join(shown.split())
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"
