"""The data dictionary and the messages, against what section 3 says of them."""

from __future__ import annotations

from dataclasses import MISSING, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.messages import (
    BY_TYPE,
    FROM_BRIDGE,
    OBJECTS,
    DataObject,
    DisplayText,
    Format,
    ImageOpen,
    Message,
    NotUnderstood,
    Outcome,
    Stored,
    Tender,
    fit_display_text,
    fit_text,
    values_of,
)
from tests.drivers.link.link_examples import ENVELOPE

TABLE = """
9F02 n 6 6|5F2A n 2 2|9F41 n 4 4|9F1C an 8 8|9F1E an 8 8|9F16 ans 0 36|8A an 2 2|9A n 3 3|9F21 n 3 3
DF01 u 1 1|DF02 ans 0 64|DF03 ans 0 32|DF04 ans 0 36|DF05 ans 0 160|DF06 u 2 2|DF07 ans 0 32
DF08 ans 0 32|DF09 u 1 1|DF0A ans 0 32|DF0B n 4 4|DF0C b 2 2|DF0D b 8 8|DF10 u 2 2|DF11 u 2 2
DF12 b 0 16|DF13 u 2 2|DF14 u 1 1|DF15 u 1 1|DF16 u 2 2|DF17 u 2 2|DF18 u 4 4|DF19 u 4 4
DF1A b 0 4092|DF1B u 4 4|DF1C u 1 1|DF1D u 1 1|DF1E u 4 4|DF1F b 2 2|DF20 u 1 1|DF21 b 32 32
DF22 b 32 32|DF23 b 16 16|DF24 b 8 8|DF25 b 8 8|DF26 u 4 4|DF27 b 4 4|DF7E b 2 2|DF7F b 8 8
"""


MESSAGES = """
01 9F1C 9F1E DF01 DF0A DF08 DF10 DF11 DF12 DF13 [DF1E] [DF1F] [DF20] [DF25] [DF27]
02 DF22 DF23
03 DF24
10 9F1C 9F41 9F02 5F2A [9F16] [DF02] [DF07]
11 9F1C 9F41
12 9F1C [9F41]
13 9F1C 9F41 DF0B 9F02 [DF07]
14 9F1C 9F41 8A
20 DF14 DF1C
7F
80
81 DF01 DF0D DF1D 9A 9F21 [9F41] [DF25]
82 DF21
83 DF22 DF23
84 DF24
90 9F1C 9F41 9F02 5F2A DF06
91 9F1C 9F41 9F02 DF05 DF06
92 9F1C 9F41 8A 9F02 DF05 9A 9F21 [DF03] [DF04]
93 [9F1C] [9F41] DF09 DF0C DF05
A0 [9F1C] [9F41] DF14 DF15 DF16 DF17 DF18 DF1B
A1 DF14 DF19 DF1A
A2 DF14
A3
A4 DF05
FF
"""


def test_the_dictionary_is_the_table_of_the_link() -> None:
    rows = [part.split() for line in TABLE.split("\n") if line for part in line.split("|")]
    assert {
        row.tag_hex: [row.format.value, str(row.min_bytes), str(row.max_bytes)]
        for row in OBJECTS.values()
    } == {tag: rest for tag, *rest in rows}


def test_the_messages_are_the_tables_of_the_link() -> None:
    def written(kind: type[Message]) -> str:
        optional = {part.name for part in fields(kind) if part.default is not MISSING}
        tags = [
            f"[{tag:02X}]" if OBJECTS[tag].name in optional else f"{tag:02X}" for tag in kind.tags
        ]
        return " ".join([f"{kind.type_code:02X}", *tags])

    assert sorted(map(written, BY_TYPE.values())) == MESSAGES.strip().split("\n")


def test_each_field_is_an_object_and_none_belongs_to_the_envelope() -> None:
    for kind in BY_TYPE.values():
        assert not ENVELOPE.intersection(kind.tags)
        names = [OBJECTS[tag].name for tag in kind.tags]
        assert sorted(names) == sorted(part.name for part in fields(kind))
    assert len({row.name for row in OBJECTS.values()}) == len(OBJECTS)


def test_the_high_bit_of_the_type_says_who_speaks() -> None:
    from_bridge = {kind.type_name for code, kind in BY_TYPE.items() if code & FROM_BRIDGE}
    assert {"IDENTIFY", "OUTCOME", "PAIR_OPEN", "PONG"} <= from_bridge
    assert not {"HELLO", "TENDER", "PAIR_KEY", "PING"} & from_bridge


@pytest.mark.parametrize(
    "message",
    [
        Tender("T", 1, -1, 554),
        Tender("T", 1, 10**12, 554),
        Tender("T", 10**8, 1, 554),
        Tender("T", 1, 1, 10**4),
        Tender("T12345678", 1, 1, 554),
        Tender("T", 1, 1, 554, reference="x" * 65),
        Tender("T", 1, 1, 554, reference="a\nb"),
        Tender("T", 1, 1, 554, reference="a\x7fb"),
        Tender("T", 1, 1, 554, operator="ā" * 17),
        Tender("T", 1, 1, 554, operator="\ud800"),
        Tender("T", 1, None, 554),  # type: ignore[arg-type]
        Stored("T", 1, "01"),
        Stored("T", 1, ""),
        DisplayText("a\tb"),
        DisplayText("x" * 161),
        Outcome("T", 1, "00", 1, "ok", 10**6, 0),
    ],
)
def test_what_an_object_cannot_hold_is_not_written(message: Message) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        values_of(message)


def test_the_error_names_the_message_the_object_and_the_limit() -> None:
    with pytest.raises(ValueError, match=r"TENDER .*9F02 \(amount_minor\) holds 0 to 999999999999"):
        values_of(Tender("T", 1, 10**12, 554))


def test_a_text_as_long_as_allowed_is_written() -> None:
    assert values_of(DisplayText("x" * 160)) == [(OBJECTS[0xDF05], "x" * 160)]


@pytest.mark.parametrize("alone", [{"terminal_id": "T"}, {"counter": 1}])
def test_an_image_has_terminal_and_counter_both_or_neither(alone: dict) -> None:
    with pytest.raises(ValueError, match="both or neither"):
        ImageOpen(1, 1, 8, 8, 8, 0, **alone)
    ImageOpen(1, 1, 8, 8, 8, 0)
    ImageOpen(1, 1, 8, 8, 8, 0, terminal_id="T", counter=1)


def test_what_is_refused_is_named_where_it_can_be_read() -> None:
    assert NotUnderstood("why", 0x10, 2).refused == b"\x10\x02"
    assert NotUnderstood("why").refused == b"\x00\x00"
    assert NotUnderstood("why", 0x10).refused == b"\x00\x00"


@pytest.mark.parametrize(
    ("text", "limit", "fitted"),
    [
        ("short", 32, "short"),
        ("cut here", 3, "cut"),
        ("āāā", 5, "āā"),
        ("a\x00b\x7fc", 32, "abc"),
        ("one\ntwo\tthree", 32, "one two three"),
        ("half \ud83d of it", 32, "half  of it"),
        ("", 0, ""),
    ],
)
def test_text_is_made_to_fit(text: str, limit: int, fitted: str) -> None:
    assert fit_text(text, limit) == fitted


def test_display_text_keeps_its_lines() -> None:
    assert fit_display_text("one\ntwo\r\n" + "ā" * 100) == "one\ntwo\n" + "ā" * 76


@given(st.text(st.characters()), st.integers(0, 40))
def test_what_fits_can_be_written(text: str, limit: int) -> None:
    row = DataObject(0xDF02, "reference", Format.ANS, 0, limit)
    row.check(fit_text(text, limit))
    OBJECTS[0xDF05].check(fit_display_text(text))
