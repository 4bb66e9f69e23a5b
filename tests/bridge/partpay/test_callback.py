import hashlib
import hmac
import json
import random
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.partpay.callback import BODY_MAX_BYTES, BadCallback, SignedCallback, check

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "callback-signature.json").read_text())
KEY = b"the service's key"
KEYS = {"": (KEY,), "m-1": (b"old", b"new"), "m-2": (b"another",)}
FIELDS = {
    "orderId": "123e4567-e89b-12d3-a456-426655440000",
    "orderNumber": "181211-303902",
    "orderStatus": "approved",
    "gatewayReference": "AKL01-T1-7-1-0a1b2c3d",
    "merchantReference": "87654321-0a1b2c3d",
}


def signed(body: bytes | dict[str, str], key: bytes = KEY) -> bytes:
    data = body if isinstance(body, bytes) else urlencode(body).encode()
    return data + b"&signature=" + hmac.new(key, data, hashlib.sha256).hexdigest().encode()


def status_of(raw: bytes) -> int:
    got = check(raw, KEYS)
    return got.http_status if isinstance(got, BadCallback) else 200


def test_partpays_own_example() -> None:
    raw = f"{VECTOR['signed_part']}&signature={VECTOR['signature']}".encode()
    assert check(raw, {"": (VECTOR["key"].encode(),)}) == SignedCallback(
        order_id="123e4567-e89b-12d3-a456-426655440000",
        order_number="181211-303902",
        status="approved",
        gateway_reference="ab3902094330",
        merchant_reference="87654321",
        signers=frozenset({""}),
    )


@pytest.mark.parametrize(("key", "signer"), [(KEY, ""), (b"old", "m-1"), (b"new", "m-1")])
def test_whose_key_signed_it_is_told(key: bytes, signer: str) -> None:
    got = check(signed(FIELDS, key), KEYS)
    assert isinstance(got, SignedCallback)
    assert got.signers == {signer}


def test_a_key_that_two_share_names_both() -> None:
    got = check(signed(FIELDS), {"a": (KEY,), "b": (b"x", KEY), "c": (b"y",)})
    assert isinstance(got, SignedCallback)
    assert got.signers == {"a", "b"}


def test_without_a_key_nothing_is_signed() -> None:
    for keys in ({}, {"": ()}, {"": (b"",)}):
        got = check(signed(FIELDS, b""), keys)
        assert isinstance(got, BadCallback)
        assert got.http_status == 401


def test_capital_hex_is_the_same_signature_and_mixed_is_none() -> None:
    data, _, signature = signed(FIELDS).rpartition(b"=")
    assert status_of(data + b"=" + signature.upper()) == 200
    mixed = signature[:32].upper() + signature[32:]
    assert status_of(data + b"=" + mixed) == 401


def test_any_status_and_other_fields_are_let_through() -> None:
    got = check(signed({**FIELDS, "orderStatus": "odd", "reason": "x&y=z ä", "empty": ""}), KEYS)
    assert isinstance(got, SignedCallback)
    assert got.status == "odd"


def test_percent_signs_plus_and_utf8_are_decoded() -> None:
    body = signed({**FIELDS, "gatewayReference": "a b+c%ä", "merchantReference": "=&"})
    got = check(body, KEYS)
    assert isinstance(got, SignedCallback)
    assert got.gateway_reference == "a b+c%ä"
    assert got.merchant_reference == "=&"


def test_the_id_of_an_order_in_capitals_is_the_same_order() -> None:
    got = check(signed({**FIELDS, "orderId": FIELDS["orderId"].upper()}), KEYS)
    assert isinstance(got, SignedCallback)
    assert got.order_id == FIELDS["orderId"]


BODY = urlencode(FIELDS).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"signature=",
        BODY,
        BODY + b"&signature=",
        BODY + b"&signature=" + b"0" * 64,
        BODY + b"&signature=" + b"g" * 64,
        signed(BODY) + b"\n",
        signed(BODY) + b"&more=1",
        signed(BODY)[:-1],
        signed(BODY, b"unknown"),
        signed(BODY).replace(b"approved", b"declined"),
        signed(BODY).replace(b"signature", b"Signature"),
        b"signature=" + b"0" * 64 + b"&" + BODY,
        signed(signed(BODY)),
        signed(b"signature=x&" + BODY),
        signed(BODY + b"&s%69gnature=x"),
        b"\xff" * 200,
    ],
)
def test_without_one_good_signature_at_the_end_it_is_401(raw: bytes) -> None:
    assert status_of(raw) == 401


@pytest.mark.parametrize(
    "body",
    [
        BODY + b"&orderStatus=approved",
        BODY + b"&order%53tatus=approved",
        BODY + b"&x=1&x=1",
        BODY + b"&",
        b"&" + BODY,
        BODY + b"&x",
        BODY + b"&=x",
        BODY + b"&x=%4",
        BODY + b"&x=%zz",
        BODY + b"&x=%ff",
        BODY + b"&x=\xc3\xa4",
        BODY + b"&x=a b",
        BODY + b"&x=" + b"y" * 3000,
        BODY + b"".join(b"&x%d=" % n for n in range(40)),
        b"",
        *(urlencode({k: v for k, v in FIELDS.items() if k != gone}).encode() for gone in FIELDS),
        *(urlencode({**FIELDS, long: "a" * 257}).encode() for long in FIELDS),
        urlencode({**FIELDS, "orderId": ""}).encode(),
        urlencode({**FIELDS, "orderId": "a/b"}).encode(),
        urlencode({**FIELDS, "orderStatus": ""}).encode(),
        urlencode({**FIELDS, "gatewayReference": ""}).encode(),
    ],
)
def test_signed_but_malformed_is_400(body: bytes) -> None:
    assert status_of(signed(body)) == 400


def test_too_long_is_not_even_looked_at() -> None:
    assert status_of(signed(BODY + b"&x=" + b"y" * BODY_MAX_BYTES)) == 400


def test_no_why_tells_what_was_in_the_body() -> None:
    for raw in (signed(BODY + b"&canary=1&canary=1"), BODY + b"&canary=1"):
        got = check(raw, KEYS)
        assert isinstance(got, BadCallback)
        assert "canary" not in got.why


def test_no_mutation_is_accepted() -> None:
    whole = signed(FIELDS)
    randomly = random.Random(1)  # seeded: a failure comes again
    parts = whole.split(b"&")
    for _ in range(20_000):
        raw = bytearray(whole)
        match randomly.randrange(6):
            case 0:
                raw[randomly.randrange(len(raw))] ^= 1 << randomly.randrange(8)
            case 1:
                del raw[randomly.randrange(len(raw))]
            case 2:
                raw.insert(randomly.randrange(len(raw) + 1), randomly.randrange(256))
            case 3:
                mixed = parts[:]
                randomly.shuffle(mixed)
                raw = bytearray(b"&".join(mixed))
            case 4:
                raw = bytearray(b"&".join([*parts, parts[randomly.randrange(len(parts))]]))
            case 5:
                first, second = (randomly.randrange(len(raw)) for _ in range(2))
                raw[first], raw[second] = raw[second], raw[first]
        if bytes(raw) != whole:
            assert isinstance(check(bytes(raw), KEYS), BadCallback), bytes(raw)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_nothing_raises_and_only_what_is_signed_is_signed(raw: bytes, sign: bool) -> None:
    assert isinstance(check(signed(raw) if sign else raw, KEYS), BadCallback)
