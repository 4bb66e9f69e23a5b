"""Checks of PartPay, against sites that the test owns and against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.doctor.finding import Level
from bridge.partpay.transport import tls_context
from bridge.ports import World
from bridge.registry import Merchant
from drivers.discovery import Inventory
from tests.bridge.doctor.conftest import MakePatient, found, wrongs
from tests.bridge.doctor.web_site import ends_in, http, site


def dated(moment: datetime) -> Callable[[bytes], bytes]:
    return lambda request: http(404, Date=format_datetime(moment, usegmt=True))


# -- reached, by a trusted certificate


def test_a_name_that_stands_for_nobody(make_patient: MakePatient) -> None:
    partpay = {"base_url": "https://nowhere.invalid/", "token_url": "https://nowhere.invalid/t"}
    (told,) = wrongs(make_patient(partpay=partpay), "partpay")
    assert "nowhere.invalid cannot be looked up" in told.found
    assert told.remedy == "resolvectl query nowhere.invalid"


def test_nobody_there(make_patient: MakePatient) -> None:
    partpay = {"base_url": "https://localhost:9/", "token_url": "https://localhost:9/t"}
    (told,) = wrongs(make_patient(partpay=partpay), "partpay")
    assert "cannot be reached: Connection refused" in told.found


@pytest.mark.parametrize(
    ("days", "trusted", "words"),
    [
        (30, True, None),
        (3, True, None),
        (-1, True, "its certificate ended on"),
        (30, False, "is not trusted: self-signed certificate"),
    ],
)
def test_certificates(
    make_patient: MakePatient, tmp_path: Path, days: float, trusted: bool, words: str | None
) -> None:
    with site(lambda request: http(200), tmp_path, ends_in(days)) as there:
        partpay = {"base_url": there.url, "token_url": f"{there.url}/oauth/token"}
        patient = make_patient(partpay=partpay, tls=there.context if trusted else tls_context)
        told = wrongs(patient, "partpay")
        assert there.heard == []
    assert [words in one.found for one in told if words] == ([True] if words else [])
    assert bool(told) is (words is not None)


def test_both_addresses_are_looked_at_where_they_differ(make_patient: MakePatient) -> None:
    with site(lambda request: http(200)) as first, site(lambda request: http(200)) as second:
        partpay = {"base_url": first.url, "token_url": second.url}
        told = found(make_patient(partpay=partpay), "partpay", level=Level.OK)
        assert [one.looked_at.split(",")[0] for one in told] == [
            "[partpay] base_url",
            "[partpay] token_url",
        ]


# -- the clock


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (timedelta(hours=1), "s ahead"),
        (timedelta(hours=-1), "s behind"),
        (timedelta(seconds=20), None),
    ],
)
def test_a_clock_that_is_off(make_patient: MakePatient, off: timedelta, words: str | None) -> None:
    now = datetime.now(UTC)
    with site(dated(now)) as there:
        patient = make_patient(partpay={"base_url": there.url}, wall=lambda: now + off)
        told = wrongs(patient, "clock")
    assert bool(told) is (words is not None)
    for one in told:
        assert words is not None and words in one.found
        assert one.remedy == "timedatectl set-ntp true"


@pytest.mark.parametrize("answer", [http(200), http(200, Date="noon")])
def test_a_time_that_is_not_told_is_not_known(make_patient: MakePatient, answer: bytes) -> None:
    with site(lambda request: answer) as there:
        (told,) = found(make_patient(partpay={"base_url": there.url}), "clock")
    assert told.level is Level.UNKNOWN
    (told,) = found(make_patient(), "clock")
    assert told.level is Level.UNKNOWN


# -- credentials


@contextmanager
def partpay(*, token: bytes, status: bytes = b"") -> Iterator[tuple[dict[str, str], list[bytes]]]:
    """A PartPay that gives this answer to a token's form, and that one to anything else."""

    def answer(request: bytes) -> bytes:
        return token if b"/oauth/token" in request.split(b"\r\n")[0] else status

    with site(answer) as there:
        yield {"base_url": there.url, "token_url": f"{there.url}/oauth/token"}, there.heard


def given() -> bytes:
    return http(200, json.dumps({"access_token": "t0ken", "expires_in": 60}).encode())


UNKNOWN_ORDER = http(404, b'{"title": "not found"}')


def test_all_is_well(make_patient: MakePatient) -> None:
    terminal: dict[str, Any] = {"terminal": "T7", "merchants": ["M1"]}
    with partpay(token=given(), status=UNKNOWN_ORDER) as (keys, heard):
        world = World(Inventory(()), terminals=[terminal])
        told = found(make_patient(partpay=keys, world=world), "credentials")
    assert [one.level for one in told] == [Level.OK, Level.OK]
    asked = heard[1].decode()
    assert asked.startswith("GET /terminal/order/")
    assert "partpay-terminalid: T7" in asked
    assert "partpay-merchantid: M1" in asked
    assert len([one for one in heard if one.startswith(b"POST")]) == 1


def test_a_token_that_is_refused(make_patient: MakePatient) -> None:
    refused = http(403, b'{"error": "access_denied", "error_description": "Unauthorized"}')
    with partpay(token=refused) as (keys, _):
        told = found(make_patient(partpay=keys), "credentials")
    assert [one.level for one in told] == [Level.WRONG, Level.UNKNOWN]
    assert "refused: " in told[0].found
    assert "s3cret" not in str(told)


def test_a_token_that_does_not_come(make_patient: MakePatient) -> None:
    with partpay(token=http(500)) as (keys, _):
        told = wrongs(make_patient(partpay=keys), "credentials")
    assert "none came" in told[0].found


def test_a_secret_that_cannot_be_read(make_patient: MakePatient, tmp_path: Path) -> None:
    with partpay(token=given()) as (keys, heard):
        patient = make_patient(partpay=keys)
        (tmp_path / "client-secret").chmod(0o644)
        told = wrongs(patient, "credentials")
        assert heard == []
    assert "can be read by others" in told[0].found


@pytest.mark.parametrize("status", [401, 403])
def test_a_merchant_that_is_not_allowed(make_patient: MakePatient, status: int) -> None:
    with partpay(token=given(), status=http(status)) as (keys, _):
        (told,) = wrongs(make_patient(partpay=keys), "credentials")
    assert told.looked_at.startswith("merchant M1 (Shoes)")
    assert "it is not allowed" in told.found
    assert told.remedy is not None and "client-1" in told.remedy


def test_a_partpay_that_does_not_say(make_patient: MakePatient) -> None:
    with partpay(token=given(), status=http(500)) as (keys, _):
        told = found(make_patient(partpay=keys), "credentials")
    assert [one.level for one in told] == [Level.OK, Level.UNKNOWN]


def test_each_client_is_asked_once_and_each_merchant(
    make_patient: MakePatient, tmp_path: Path
) -> None:
    own = tmp_path / "own-secret"
    own.touch(mode=0o600)
    own.write_text("0wn\n")
    merchants = [
        Merchant("M1", "Shoes"),
        Merchant("M2", "Hats"),
        Merchant("M3", "Books", "client-3", str(own)),
        Merchant("M4", "Gone", retired=True),
    ]
    with partpay(token=given(), status=UNKNOWN_ORDER) as (keys, heard):
        told = found(make_patient(partpay=keys, merchants=merchants), "credentials")
    assert [one.looked_at.split(" from ")[0].split(" (")[0] for one in told] == [
        "a token for client client-1",
        "merchant M1",
        "merchant M2",
        "a token for client client-3",
        "merchant M3",
    ]
    assert sum(b"/oauth/token" in one.split(b"\r\n")[0] for one in heard) == 2


def test_a_merchant_without_any_credential(make_patient: MakePatient, tmp_path: Path) -> None:
    patient = make_patient()
    assert patient.settings is not None
    partpay_settings = replace(patient.settings.partpay, client_id=None, client_secret=None)
    patient = replace(patient, settings=replace(patient.settings, partpay=partpay_settings))
    (told,) = wrongs(patient, "credentials")
    assert "has no credential" in told.found


def test_without_a_merchant_the_service_is_asked(make_patient: MakePatient) -> None:
    with partpay(token=given()) as (keys, _):
        (told,) = found(make_patient(partpay=keys, merchants=[]), "credentials")
    assert told.level is Level.OK
