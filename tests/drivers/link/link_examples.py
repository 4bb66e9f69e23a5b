"""What the link's tests share: the published vectors, and any message that can be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from drivers.link.messages import (
    BY_TYPE,
    CODE,
    MESSAGE_COUNTER,
    OBJECTS,
    REQUIRED,
    RESPONSE_CODES,
    SEQUENCE_MAX,
    SEQUENCE_MIN,
    TEXT_CHECK,
    DataObject,
    Format,
    ImageOpen,
    Message,
    Value,
)

VECTORS = next(
    folder / "tests" / "vectors"
    for folder in Path(__file__).parents
    if (folder / "tests" / "vectors").is_dir()
)
LINK: dict[str, Any] = json.loads((VECTORS / "terminal-link.json").read_text())
AUTHENTICATED: dict[str, Any] = json.loads((VECTORS / "authenticated-link.json").read_text())

TYPE_BY_NAME: dict[str, type[Message]] = {kind.type_name: kind for kind in BY_TYPE.values()}


def message_of(vector: dict[str, Any]) -> Message:
    """The message that a vector describes."""
    fields: dict[str, Any] = {}
    for tag, value in vector["objects"].items():
        row = OBJECTS[int(tag, 16)]
        fields[row.name] = bytes.fromhex(value) if row.format is Format.B else value
    return TYPE_BY_NAME[vector["type"]](**fields)


def _text(row: DataObject) -> st.SearchStrategy[str]:
    """Text for `row`, of several scripts and with what an encoding has to escape."""
    characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
    special = st.sampled_from(list("\\n=ā✓ " + ("\n" if row.line_breaks else "")))
    text = st.text(characters | special, max_size=row.max_bytes)

    def fits(value: str) -> str:
        cut = value.encode()[: row.max_bytes].decode(errors="ignore")
        return cut.rstrip(" ") if row.format is Format.AN else cut

    return text.map(fits)


def values(row: DataObject) -> st.SearchStrategy[Value]:
    """Any value that an object can hold."""
    if row.allowed is not None:
        return st.sampled_from(sorted(RESPONSE_CODES))
    match row.format:
        case Format.N | Format.U:
            return st.integers(0, row.largest)
        case Format.AN | Format.ANS:
            return _text(row)
        case Format.B:
            return st.binary(min_size=row.min_bytes, max_size=min(row.max_bytes, 600))


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message of any type."""
    kind = draw(st.sampled_from(list(BY_TYPE.values())))
    rows = [OBJECTS[tag] for tag in kind.tags]
    optional = [row.name for row in rows if row.name not in REQUIRED[kind.type_code]]
    if kind is ImageOpen:
        chosen = set(optional) if draw(st.booleans()) else set()
    else:
        chosen = {name for name in optional if draw(st.booleans())}
    return kind(
        **{
            row.name: draw(values(row))
            for row in rows
            if row.name in REQUIRED[kind.type_code] or row.name in chosen
        }
    )


sequences = st.integers(SEQUENCE_MIN, SEQUENCE_MAX)
ENVELOPE = {MESSAGE_COUNTER.tag, TEXT_CHECK.tag, CODE.tag}
