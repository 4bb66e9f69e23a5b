"""What is special to `fs`: DF7E, the forms of values, escapes."""

from __future__ import annotations

import pytest

from drivers.link.encoding.fs import decode, encode
from drivers.link.framing.crc16 import crc16
from drivers.link.messages import (
    Cancel,
    DisplayText,
    Hello,
    NotUnderstood,
)

TERMINAL = "9F1C=T0000001"
COUNTER = "9F41=00000042"
CODE = "DF7F=AQIDBAUGBwg="
CANCEL = Cancel("T0000001", 42)


def body(*parts: str) -> bytes:
    """A body of these parts, with the DF7E that belongs to them."""
    text = "\x1c".join(parts).encode()
    return text + b"\x1cDF7E=%04X" % crc16(text)


@pytest.mark.parametrize(
    "parts",
    [
        ["1103", COUNTER, TERMINAL],
        ["1103", "DF6E=anything", TERMINAL, COUNTER, "DF6E=x"],
        ["1103", TERMINAL, COUNTER, "5A=1=2"],
        ["1103", TERMINAL, COUNTER, "DF05=a\\nb\\\\c"],
        ["1103", TERMINAL, COUNTER, "DF06=00300"],
        ["1103", TERMINAL, COUNTER, "DF1A="],
    ],
    ids=["any order", "unknown twice", "= in a value", "of another message", "zeros", "empty"],
)
def test_understood(parts: list[str]) -> None:
    decoded = decode(body(*parts))
    assert (decoded.message, decoded.sequence) == (CANCEL, 3)


def test_a_hex_digit_of_the_header_may_be_small() -> None:
    assert decode(body("7fff")).sequence == 255


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (["1103", TERMINAL], r"CANCEL without 9F41 \(counter\)"),
        (["1103x", TERMINAL, COUNTER], "more than four hex digits"),
        (["1103", TERMINAL, COUNTER, ""], "without ="),
        (["1103", TERMINAL, COUNTER, "DF05"], "without ="),
        (["1103", TERMINAL, COUNTER, "=x"], "is no tag"),
        (["1103", TERMINAL, COUNTER, "df05=x"], "is no tag"),
        (["1103", TERMINAL, COUNTER, "DF8104=x"], "is no tag"),
        (["1103", TERMINAL, COUNTER, "DF81=x"], "is no tag"),
        (["1103", TERMINAL, COUNTER, "DF=x"], "is no tag"),
        (["1103", TERMINAL, COUNTER, "8A01=x"], "is no tag"),
        (["1103", "9F1C=T1", COUNTER], "9F1C .* has 2 bytes"),
        (["1103", TERMINAL, "9F41=000000042"], "not 8 digits"),
        (["1103", TERMINAL, "9F41=0000004 "], "not 8 digits"),
        (["1103", TERMINAL, "9F41=+0000042"], "not 8 digits"),
        (["1103", TERMINAL, "9F41=٠٠٠٠"], "not 8 digits"),
        (["1103", TERMINAL, COUNTER, "DF06="], "digit that is none"),
        (["1103", TERMINAL, COUNTER, "DF06=-1"], "digit that is none"),
        (["1103", TERMINAL, COUNTER, "DF06=65536"], "more than 65535"),
        (["1103", TERMINAL, COUNTER, "DF06=" + "9" * 5000], "more than 65535"),
        (["1103", TERMINAL, COUNTER, "DF0C=EAI"], "no base64"),
        (["1103", TERMINAL, COUNTER, "DF0C=EAJ="], "no base64"),
        (["1103", TERMINAL, COUNTER, "DF0C= EAI="], "no base64"),
        (["1103", TERMINAL, COUNTER, "DF0C=EAI=EAI="], "no base64"),
        (["1103", TERMINAL, COUNTER, "DF0C=EA=="], "DF0C .* has 1 bytes"),
        (["1103", TERMINAL, COUNTER, "DF05=a\\tb"], "backslash"),
        (["1103", TERMINAL, COUNTER, "DF05=ab\\"], "backslash"),
        (["1103", TERMINAL, COUNTER, "DF05=a\nb"], "control character 0A"),
        (["1103", TERMINAL, COUNTER, "8A=01"], "'01' is none of"),
        (["1103", TERMINAL, COUNTER, "DF05=a", "DF05=b"], "DF05 .* twice"),
        (["1103", TERMINAL, COUNTER, "DF7E=0000"], "DF7E .* twice"),
        (["1103", TERMINAL, COUNTER, CODE, "DF6E=x"], "not the last object before DF7E"),
        (["1103", TERMINAL, COUNTER, CODE, CODE], "not the last object before DF7E"),
        (["1100", TERMINAL, COUNTER], "sequence number 0"),
    ],
)
def test_not_understood(parts: list[str], why: str) -> None:
    with pytest.raises(NotUnderstood, match=why) as caught:
        decode(body(*parts))
    assert caught.value.refused == bytes.fromhex(parts[0][:4])


@pytest.mark.parametrize("wrong", [b"", b"7F0", b"7G01", b"+7F1", b"\x1c7F01", b"  7F01"])
def test_a_body_without_type_and_number_names_neither(wrong: bytes) -> None:
    with pytest.raises(NotUnderstood) as caught:
        decode(wrong)
    assert (caught.value.type_code, caught.value.sequence) == (None, None)


def test_df7e_has_its_place_at_the_end() -> None:
    right = body("7F01")
    assert decode(right)
    for wrong in (right + b"\n", right + b"\x1c", right + b"\x1cDF6E=x", right[:-1], b"7F01"):
        with pytest.raises(NotUnderstood, match="does not end with DF7E"):
            decode(wrong)


def test_no_change_of_one_or_two_bits_gets_past_df7e() -> None:
    right = body("1103", TERMINAL, COUNTER)
    bits = 8 * len(right)
    number = int.from_bytes(right, "big")
    for first in range(bits):
        for second in range(first, bits, 37):
            changed = number ^ (1 << first) ^ (1 << second if second != first else 0)
            with pytest.raises(NotUnderstood):
                decode(changed.to_bytes(len(right), "big"))


def test_what_is_not_understood_may_yet_be_authentic() -> None:
    with pytest.raises(NotUnderstood) as caught:
        decode(body("5503", COUNTER, CODE))
    assert caught.value.code == bytes(range(1, 9))
    assert caught.value.signed_part == b"5503\x1c9F41=00000042"
    with pytest.raises(NotUnderstood) as caught:
        decode(body("5503", COUNTER))
    assert caught.value.code is None


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\nb", r"a\nb"),
        ("C:\\new", r"C:\\new"),
        ("\\\n", r"\\\n"),
        ("\n\\", r"\n\\"),
        ("\\\\n", r"\\\\n"),
        ("a=b", "a=b"),
    ],
)
def test_the_two_escapes_of_display_text(text: str, written: str) -> None:
    encoded = encode(DisplayText(text), 1)
    assert encoded.startswith(b"A401\x1cDF05=" + written.encode() + b"\x1cDF7E=")
    assert decode(encoded).message == DisplayText(text)


def test_the_length_of_display_text_is_counted_without_escapes() -> None:
    text = DisplayText("\\" * 160)
    assert decode(encode(text, 1)).message == text


def test_a_backslash_elsewhere_is_a_backslash() -> None:
    hello = Hello("A\\n", "S", 1, "M\\n", "\\", 1, 1, b"", 640)
    assert decode(encode(hello, 1)).message == hello
