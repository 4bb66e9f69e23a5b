"""How a tender is stored: a flat object of plain values, `field` or `a<number>.field`.

What is at its default is left out.

Only this module knows the names in the journal; a test holds each of them and every enum's value, because what was
written by one release is read by the next. `Run` is never stored.
"""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any, Final

from bridge.tender import Attempt, Outcome, Tender

Plain = str | int | float | bool | None

_OUTCOME_FIELDS: Final = tuple(f.name for f in fields(Outcome))
_TENDER_FIELDS: Final = tuple(f for f in fields(Tender) if f.name not in ("attempts", "outcome"))
_ATTEMPT_FIELDS: Final = tuple(f for f in fields(Attempt) if f.name not in ("run", "number"))


def _converter(annotation: object) -> Callable[[Any], Any] | None:
    options = (
        typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    )
    for option in options:
        if isinstance(option, type) and issubclass(option, StrEnum):
            return option
    return None


_TENDER_HINTS: Final = typing.get_type_hints(Tender)
_ATTEMPT_HINTS: Final = typing.get_type_hints(Attempt)
_TENDER_ENUMS: Final = {
    f.name: e for f in _TENDER_FIELDS if (e := _converter(_TENDER_HINTS[f.name]))
}
_ATTEMPT_ENUMS: Final = {
    f.name: e for f in _ATTEMPT_FIELDS if (e := _converter(_ATTEMPT_HINTS[f.name]))
}


def _plan(chosen: tuple[Any, ...]) -> tuple[tuple[str, object], ...]:
    return tuple((f.name, f.default) for f in chosen)


_TENDER_PLAN: Final = _plan(_TENDER_FIELDS)
_ATTEMPT_PLAN: Final = _plan(_ATTEMPT_FIELDS)


def to_flat(t: Tender) -> dict[str, Plain]:
    """The stored form; enums as their values."""
    flat: dict[str, Plain] = {}
    for name, default in _TENDER_PLAN:
        value = getattr(t, name)
        if default is MISSING or value != default:
            flat[name] = str(value) if isinstance(value, StrEnum) else value
    for a in t.attempts:
        prefix = f"a{a.number}."
        for name, default in _ATTEMPT_PLAN:
            value = getattr(a, name)
            if default is MISSING or value != default:
                flat[prefix + name] = str(value) if isinstance(value, StrEnum) else value
    if t.outcome is not None:
        for name in _OUTCOME_FIELDS:
            value = getattr(t.outcome, name)
            if value is not None:
                flat["outcome." + name] = value
    return flat


def from_flat(flat: Mapping[str, Plain]) -> Tender:
    """The tender of a stored form.

    Raises:
        KeyError, TypeError, ValueError: it is none that any release wrote.
    """
    own: dict[str, Any] = {}
    attempts: dict[int, dict[str, Any]] = {}
    outcome: dict[str, Any] = {}
    for key, value in flat.items():
        head, dot, name = key.partition(".")
        if not dot:
            convert = _TENDER_ENUMS.get(key)
            own[key] = convert(value) if convert else value
        elif head == "outcome":
            outcome[name] = value
        else:
            convert = _ATTEMPT_ENUMS.get(name)
            attempts.setdefault(int(head[1:]), {})[name] = convert(value) if convert else value
    own["attempts"] = tuple(Attempt(number=n, **attempts[n]) for n in sorted(attempts))
    if outcome:
        own["outcome"] = Outcome(
            **{"order_number": None, "order_id": None, **outcome},
        )
    return Tender(**own)


def difference(before: Mapping[str, Plain], after: Mapping[str, Plain]) -> dict[str, Plain]:
    """What an event writes: changed keys with their new values; a key that went back to its default is null."""
    changed = {k: v for k, v in after.items() if k not in before or before[k] != v}
    changed.update({k: None for k in before if k not in after})
    return changed


def apply(flat: dict[str, Plain], changed: Mapping[str, Plain]) -> None:
    """Replays one event onto a stored form."""
    for key, value in changed.items():
        if value is None:
            flat.pop(key, None)
        else:
            flat[key] = value
