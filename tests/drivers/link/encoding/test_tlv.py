"""What is special to `tlv`: tags, lengths, order."""

from __future__ import annotations

import pytest

from drivers.link.encoding.tlv import decode, encode
from drivers.link.messages import Cancel, DisplayText, Hello, ImageData, NotUnderstood, Ping

TERMINAL = "9f1c085430303030303031"
COUNTER = "9f410400000042"
CODE = "df7f080102030405060708"
CANCEL = Cancel("T0000001", 42)


def body(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


@pytest.mark.parametrize(
    "objects",
    [
        [COUNTER, TERMINAL],
        ["df6e020102", TERMINAL, COUNTER],
        [TERMINAL, "df6e020102", "df6e020102", COUNTER],
        [TERMINAL, COUNTER, "5a00"],
        [TERMINAL, COUNTER, "e1020102"],
        [TERMINAL, COUNTER, "df0501 41".replace(" ", "")],
        [TERMINAL, COUNTER, "df2a0101"],
        [TERMINAL, COUNTER, "df7e020000"],
        [TERMINAL, COUNTER, "df6e8180" + "00" * 128],
        [TERMINAL, COUNTER, "df6e820100" + "00" * 256],
    ],
    ids=[
        "any order",
        "unknown first",
        "unknown twice",
        "unknown, empty",
        "unknown, constructed",
        "known, of another message",
        "reserved for the authenticated link",
        "DF7E, of fs",
        "unknown, length 81",
        "unknown, length 82",
    ],
)
def test_understood(objects: list[str]) -> None:
    decoded = decode(body("1103", *objects))
    assert (decoded.message, decoded.sequence) == (CANCEL, 3)


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([TERMINAL], r"CANCEL without 9F41 \(counter\)"),
        ([TERMINAL, COUNTER, "00"], "00 where a tag should be"),
        ([TERMINAL, COUNTER, "0000"], "00 where a tag should be"),
        ([TERMINAL, COUNTER, "df"], "cut off in tag DF"),
        ([TERMINAL, COUNTER, "df6e"], "cut off before a length"),
        ([TERMINAL, COUNTER, "df6e81"], "cut off in a length"),
        ([TERMINAL, COUNTER, "df6e8201"], "cut off in a length"),
        ([TERMINAL, COUNTER, "df6e8100"], "shortest"),
        ([TERMINAL, COUNTER, "df6e817f" + "00" * 127], "shortest"),
        ([TERMINAL, COUNTER, "df6e8200ff" + "00" * 255], "shortest"),
        ([TERMINAL, COUNTER, "df6e80"], "begins with 80"),
        ([TERMINAL, COUNTER, "df6e8300000101"], "begins with 83"),
        ([TERMINAL, COUNTER, "df6e0201"], "DF6E is cut off: 1 of 2 bytes"),
        ([TERMINAL, COUNTER, "df8001" + "00"], "more than two bytes"),
        ([TERMINAL, COUNTER, "df05024107"], "control character 07"),
        ([TERMINAL, COUNTER, "df0701 0a".replace(" ", "")], "control character 0A"),
        ([TERMINAL, COUNTER, "df0601" + "00"], "DF06 .* has 1 bytes"),
        ([TERMINAL, COUNTER, "df0721" + "41" * 33], "DF07 .* has 33 bytes"),
        ([TERMINAL, COUNTER, "8a023031"], "'01' is none of"),
        ([TERMINAL, COUNTER, "df050141", "df050142"], "DF05 .* twice"),
        ([TERMINAL, COUNTER, "9a0326110a"], "digit that is none"),
        ([TERMINAL, COUNTER, CODE, "df6e00"], "not the last"),
        ([TERMINAL, COUNTER, CODE, "df7e020000"], "not the last"),
        ([TERMINAL, COUNTER, CODE, CODE], "not the last"),
        ([TERMINAL, COUNTER, "df7f0701020304050607"], "DF7F .* has 7 bytes"),
    ],
)
def test_not_understood(objects: list[str], why: str) -> None:
    with pytest.raises(NotUnderstood, match=why) as caught:
        decode(body("1103", *objects))
    assert caught.value.refused == b"\x11\x03"


@pytest.mark.parametrize("short", [b"", b"\x11"])
def test_a_body_without_type_and_number_names_neither(short: bytes) -> None:
    with pytest.raises(NotUnderstood) as caught:
        decode(short)
    assert (caught.value.type_code, caught.value.sequence) == (None, None)


def test_an_image_with_a_counter_and_no_terminal_is_not_understood() -> None:
    image = "df140101df150101df16020008df17020008df180400000008df1b0400000000"
    assert decode(body("a001", image)).message
    with pytest.raises(NotUnderstood, match="both or neither"):
        decode(body("a001", COUNTER, image))


def test_what_is_not_understood_may_yet_be_authentic() -> None:
    unknown = body("5503", COUNTER, "df260400000007")
    with pytest.raises(NotUnderstood) as caught:
        decode(unknown + body(CODE))
    assert caught.value.code == bytes(range(1, 9))
    assert caught.value.signed_part == unknown
    with pytest.raises(NotUnderstood) as caught:
        decode(unknown)
    assert (caught.value.code, caught.value.signed_part) == (None, None)


@pytest.mark.parametrize(
    ("length", "written"),
    [(0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100"), (4092, "820ffc")],
)
def test_lengths_are_written_in_their_shortest_form(length: int, written: str) -> None:
    encoded = encode(ImageData(1, 0, bytes(length)), 1)
    assert encoded.hex()[26:].startswith("df1a" + written + "00" * min(length, 1))
    assert decode(encoded).message == ImageData(1, 0, bytes(length))


def test_filling_is_written_and_means_nothing() -> None:
    hello = Hello("A", "", 1, "M", "2", 1, 1, b"", 640)
    encoded = encode(hello, 1)
    assert body("9f1c08", "4120202020202020") in encoded
    assert body("9f1e08", "20" * 8) in encoded
    assert decode(encoded).message == hello


def test_only_display_text_has_lines() -> None:
    assert encode(DisplayText("a\nb"), 1).hex() == "a401df0503610a62"


def test_a_message_without_objects_is_two_bytes() -> None:
    assert encode(Ping(), 9) == b"\x7f\x09"
