"""Checks of the callback address: real listeners, and sites that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.config_values import Address
from bridge.control import BeginProbe, Request
from bridge.doctor.callback import _application
from bridge.doctor.finding import Level
from bridge.http_server import HttpServer, Limits
from bridge.probe import Probes
from tests.bridge.doctor.conftest import MakePatient, found, status, wrongs
from tests.bridge.doctor.web_site import ends_in, http, site
from tools.free_port import free_port

KEY = {"callback_key_file": "/nowhere"}


def asked(request: Request) -> Any:
    """A daemon that answers probes, though nothing comes in at it."""
    assert isinstance(request, BeginProbe)
    return Probes(lambda: 0.0).begin()


# -- the address


def test_polling_alone_is_fine_and_said_so(make_patient: MakePatient) -> None:
    (told,) = found(make_patient(), "callback-address", "callback-way")
    assert told.level is Level.OK
    assert "polling alone" in told.found


def test_an_address_that_stands_for_nobody(make_patient: MakePatient) -> None:
    partpay = {"callback_url": "https://nowhere.invalid/partpay-callback"}
    patient = make_patient(partpay=partpay, status=status(), ask=asked)
    told = found(patient, "callback-address", "callback-way")
    assert [one.level for one in told] == [Level.WRONG, Level.UNKNOWN]
    assert "nowhere.invalid cannot be looked up" in told[0].found


@pytest.mark.parametrize(
    ("days", "words"),
    [(30, None), (3, "its certificate ends on"), (-1, "its certificate ended on")],
)
def test_its_certificate(
    make_patient: MakePatient, tmp_path: Path, days: float, words: str | None
) -> None:
    with site(lambda request: http(200), tmp_path, ends_in(days)) as there:
        partpay = {"callback_url": f"{there.url}/partpay-callback"}
        told = wrongs(make_patient(partpay=partpay, tls=there.context), "callback-address")
    assert bool(told) is (words is not None)
    for one in told:
        assert words is not None and words in one.found
        assert one.remedy is not None and one.remedy.startswith("certbot renew")


# -- whether it comes back


@contextmanager
def daemon(port: int) -> Iterator[Probes]:
    """A daemon's listener, as far as a probe sees it."""
    probes = Probes(lambda: 0.0)
    with HttpServer(Address("127.0.0.1", port), Limits(1024)) as listener:
        listener.start(_application(probes), lambda error: None)
        yield probes


@pytest.mark.parametrize("runs", [True, False])
def test_what_is_sent_comes_in_here(make_patient: MakePatient, runs: bool) -> None:
    port = free_port()
    with ExitStack() as stack:
        more: dict[str, Any] = {"locked": nullcontext}
        if runs:
            probes = stack.enter_context(daemon(port))
            more = {"status": status(), "ask": lambda request: probes.begin()}
        patient = make_patient(
            partpay={"callback_url": f"http://127.0.0.1:{port}/partpay-callback"},
            listener=f"127.0.0.1:{port}",
            **more,
        )
        (told,) = found(patient, "callback-way")
    assert (told.level, told.found) == (Level.OK, "it came in here")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(200, b"hello"), "200"),
        (http(404, Server="nginx"), "404 from nginx"),
        (http(502), "does not reach the bridge"),
        (http(301, Location="https://elsewhere/"), "to https://elsewhere/"),
    ],
)
def test_somebody_else_answers(make_patient: MakePatient, answer: bytes, words: str) -> None:
    with site(lambda request: answer) as there:
        partpay = {"callback_url": f"{there.url}/partpay-callback"}
        patient = make_patient(partpay=partpay, status=status(), ask=asked)
        (told,) = wrongs(patient, "callback-way")
        (heard,) = there.heard
    assert words in told.found
    assert heard.startswith(b"POST /partpay-callback ")
    assert b"orderId" not in heard


def test_nobody_is_reached_unless_callbacks_came_lately(make_patient: MakePatient) -> None:
    partpay = {"callback_url": f"http://127.0.0.1:{free_port()}/partpay-callback"}
    patient = make_patient(partpay=partpay, status=status(), ask=asked)
    (told,) = wrongs(patient, "callback-way")
    assert "nobody is reached from here" in told.found
    came = make_patient(partpay=partpay, status=status(callback_age_s=60.0), ask=asked)
    (told,) = found(came, "callback-way")
    assert (told.level, "PartPay's callbacks come" in told.found) == (Level.NOTE, True)


def test_the_listeners_address_is_somebody_elses(make_patient: MakePatient) -> None:
    with site(lambda request: http(200)) as there:
        patient = make_patient(
            partpay={"callback_url": f"{there.url}/partpay-callback"},
            listener=f"127.0.0.1:{there.port}",
            locked=nullcontext,
        )
        (told,) = wrongs(patient, "callback-way")
    assert told.remedy == f"ss -ltnp 'sport = :{there.port}'"


def test_while_it_listens_itself_a_callback_is_put_off() -> None:
    port = free_port()
    with daemon(port):
        answer = requests.post(f"http://127.0.0.1:{port}/x", b"orderId=1&signature=0", timeout=5)
    assert answer.status_code == 503
