import base64
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.partpay.fields import (
    AMOUNT_UNREADABLE,
    PROBLEM_MAX_CHARS,
    PROPERTIES_MAX,
    UNREADABLE,
    amount_of,
    amount_text,
    base64_bytes,
    json_object,
    life_s,
    plain_line,
    problem_text,
    retry_after_s,
    text_of,
)

DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


def told_amount(spelling: str) -> int | None:
    fields = json_object(f'{{"amount": {spelling}}}'.encode())
    assert fields is not None
    return amount_of(fields["amount"])


@settings(deadline=None)
@given(st.integers(1, 10**12 - 1))
def test_an_amount_survives_json_both_ways(amount_minor: int) -> None:
    spelling = amount_text(amount_minor)
    assert re.fullmatch(r"(0|[1-9][0-9]*)\.[0-9]{2}", spelling)
    assert told_amount(spelling) == amount_minor
    assert told_amount(f'"{spelling}"') == amount_minor


@pytest.mark.parametrize(
    ("spelling", "amount_minor"),
    [
        ("12.5", 1250),
        ('"12.50"', 1250),
        ("12.500", 1250),
        ("1250", 125000),
        ("0", 0),
        ("1.255e2", 12550),
        ("null", None),
        ("0.1", 10),
        ("0.29", 29),  # 0.29 * 100 is 28.999… as a float
        ("4.35", 435),
    ],
)
def test_amounts_as_services_tell_them(spelling: str, amount_minor: int | None) -> None:
    assert told_amount(spelling) == amount_minor


@pytest.mark.parametrize(
    "spelling",
    [
        *("-12.5", "12.505", "1e99", "1e-99", "9999999999999", "1" * 5000, "true", "[]", "{}"),
        *(
            '""',
            '"12,50"',
            '"$12.50"',
            '" 12.50"',
            '"1_2"',
            '"١٢"',
            '"NaN"',
            '"Infinity"',
            '"12.50\\n"',
        ),
    ],
)
def test_what_is_no_amount_is_told_as_one_that_nobody_has(spelling: str) -> None:
    assert told_amount(spelling) == AMOUNT_UNREADABLE


@pytest.mark.parametrize("bad", [0, -1, True, 12.5, "12.50", None])
def test_only_an_amount_above_zero_is_sent(bad: object) -> None:
    with pytest.raises(ValueError, match="amount"):
        amount_text(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"null",
        b'"{}"',
        b"<html>no</html>",
        b'{"a": 1',
        b'{"a": 1} {"b": 2}',
        b'{"status": "pending", "status": "approved"}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        "{}".encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_one_plain_object_is_none(body: bytes) -> None:
    assert json_object(body) is None


def test_a_byte_order_mark_is_no_harm() -> None:
    assert json_object(b'\xef\xbb\xbf{"a": "b"}') == {"a": "b"}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_body_raises(body: bytes) -> None:
    json_object(body)
    problem_text(body)


def test_text_as_told() -> None:
    assert text_of("AKL01-ä") == "AKL01-ä"
    assert text_of(None) is None
    assert text_of("") is None
    for bad in ("a" * 257, "\ud800", 7, True, [], {}):
        assert text_of(bad) == UNREADABLE


JPEG = bytes(range(256)) * 3


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(JPEG).decode(),
        base64.encodebytes(JPEG).decode(),
        base64.urlsafe_b64encode(JPEG).decode(),
        base64.b64encode(JPEG).decode().rstrip("="),
        "data:image/jpeg;base64," + base64.b64encode(JPEG).decode(),
        " data:image/jpeg;base64, " + base64.b64encode(JPEG).decode() + "\r\n",
    ],
)
def test_base64_in_its_many_coats(text: str) -> None:
    assert base64_bytes(text) == JPEG


@pytest.mark.parametrize("text", ["?", "AAAAA", "AA=A", "data:image/jpeg;base64", "Ää"])
def test_broken_base64_is_none(text: str) -> None:
    assert base64_bytes(text) is None


@pytest.mark.parametrize(
    ("expiry", "life"),
    [
        ("2024-01-01T00:05:00Z", 300),
        ("2024-01-01t00:05:00z", 300),
        ("2024-01-01T00:05:00.1234567Z", 300.123456),
        ("2024-01-01T13:05:00+13:00", 300),
        ("2024-01-01T13:05:00+1300", 300),
        ("2024-01-01 13:05+13", 300),
        ("20240101T000500Z", 300),
        ("2023-12-31T23:59:59Z", 0),
        ("2024-01-01T00:05:00", None),  # of no zone
        ("0001-01-01T00:00:00+14:00", None),
        ("2024-13-01T00:05:00Z", None),
        ("tomorrow", None),
        ("", None),
        ("2024-01-01T00:05:00Z" * 10, None),
        ("٢٠٢٤-01-01T00:05:00Z", None),
        (1704067500, None),
        (None, None),
    ],
)
def test_life_is_the_expiry_by_the_answers_own_clock(expiry: object, life: float | None) -> None:
    assert life_s(expiry, DATE) == life


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "now",
        "Mon, 01 Foo 2024 00:00:00 GMT",
        "Mon, 31 Feb 2024 00:00:00 GMT",
        DATE + ", " + DATE,
    ],
)
def test_without_a_date_there_is_no_life(date: str | None) -> None:
    assert life_s("2024-01-01T00:05:00Z", date) is None


@settings(deadline=None)
@given(st.text(max_size=45), st.text(max_size=45))
def test_no_time_raises(expiry: str, date: str) -> None:
    life_s(expiry, date)
    life_s(expiry, DATE)
    retry_after_s({"retry-after": expiry, "date": date})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("86400", 3600),
        ("Mon, 01 Jan 2024 00:01:00 GMT", 60),
        ("Mon, 01 Jan 2023 00:01:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value, "date": DATE}) == seconds


@pytest.mark.parametrize(
    ("body", "text", "properties"),
    [
        ({"message": "No such store"}, "No such store", ()),
        (
            {"title": "Bad", "detail": "Too much", "type": "x", "traceId": "1", "errorCode": "E1"},
            "Bad; Too much",
            (),
        ),
        (
            {
                "isValid": False,
                "errors": [
                    {"propertyName": "amount", "errorMessages": ["Too low", "Too odd"]},
                    {"propertyName": "customer", "errorMessages": ["Too low"]},
                ],
            },
            "Too low; Too odd",
            ("amount", "customer"),
        ),
        ({"errors": {"Amount": ["Too low"]}, "title": "Bad"}, "Too low", ("Amount",)),
        ({"errors": ["Too low"]}, "Too low", ()),
        ({"errors": [{"propertyName": 7, "errorMessages": "Too low"}]}, "Too low", ()),
        (
            {"error": "invalid_client", "error_description": "Unknown"},
            "invalid_client; Unknown",
            (),
        ),
        ({"message": "two\r\nlines\x1b[31m\u202e\x00 and more"}, "two lines [31m and more", ()),
        ({"message": 7}, "", ()),
        ({"errors": 7}, "", ()),
        ({}, "", ()),
    ],
)
def test_reasons_in_every_shape(body: object, text: str, properties: tuple[str, ...]) -> None:
    assert problem_text(json.dumps(body).encode()) == (text, properties)


def test_a_reason_has_its_limits() -> None:
    errors = [{"propertyName": "p" * 999 + str(n), "errorMessages": ["m" * 999]} for n in range(99)]
    text, properties = problem_text(json.dumps({"errors": errors}).encode())
    assert len(text) == PROBLEM_MAX_CHARS
    assert len(properties) <= PROPERTIES_MAX
    assert all(len(name) <= 64 for name in properties)


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(1, 20))
def test_a_plain_line_is_one(text: str, max_chars: int) -> None:
    line = plain_line(text, max_chars)
    assert len(line) <= max_chars
    assert line.isprintable()
