"""Over real sockets: what a browser on this machine gets, and what nobody gets."""

import http.client
import io
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bridge.config import Settings, load
from bridge.config_values import Address
from bridge.drawing import first_picture
from bridge.health import Health
from bridge.http_server import HttpServer
from bridge.lane import CannotShow, OnPanel, PanelNow
from bridge.log import Level, Log
from bridge.registry import Merchant, Pairing, Snapshot
from bridge.status import StatusFacts, status_facts
from bridge.status_page import LIMITS, PAGE_FILE, PageSources, application, policy_of
from drivers.display.geometry import Panel
from drivers.display.reading import read_code

PORT = "/dev/partpay/till-1"
PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b"
SECRETS = ("very-secret-client", "/etc/partpay-bridge/client-secret", "1001-client-id")
TENDER = {
    "terminal": "T0000001", "counter": 7, "kind": "tender", "merchant": "1001",
    "amount_minor": 12550, "state": "ordered", "code": None, "stored": False, "reversal": "none",
    "order_id": "o-1", "order_number": "181211-303902", "gateway_reference": "AKL01-T0000001-7-1",
    "reference": None, "accepted_at": "2026-11-24T09:30:00.000+13:00", "original_counter": None,
    "pairing": 1,
}  # fmt: skip
FINDING = {
    "entry": 3, "at": "2026-11-24T09:00:00.000+13:00", "pairing": 1, "counter": 5,
    "terminal": "T0000001", "code": "not-stored", "text": "Nobody stored it",
    "order_number": None,
}  # fmt: skip


def panel_now(payload: str = PAYLOAD) -> PanelNow:
    panel = Panel(240, 320)
    picture = first_picture(payload, panel, b"\x01", None)
    assert not isinstance(picture, CannotShow)
    return PanelNow(picture, panel, OnPanel.SHOWN)


class Quiet:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, str]]] = []

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None:
        self.events.append((event, dict(fields)))


@dataclass
class Books:
    """The journal, as far as the page reads it."""

    rows: list[dict[str, Any]] = field(default_factory=lambda: [TENDER])
    findings: list[dict[str, Any]] = field(default_factory=lambda: [FINDING])
    error: Exception | None = None
    asked: int = 0

    def tenders(self, *, open_only: bool = False, limit: int = 50) -> list[dict[str, Any]]:
        return [row for row in self.rows if not open_only or row["code"] is None][:limit]

    def attention(self) -> list[dict[str, Any]]:
        return self.findings

    def counts(self) -> dict[str, int]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {"open": 1, "owed": 0, "unstored": 0, "attention": 1}


@dataclass
class World:
    address: Address
    books: Books
    health: Health
    panels: dict[str, PanelNow | None]
    log: Quiet
    now: float = 100.0

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        with closing(
            http.client.HTTPConnection(self.address.host, self.address.port, timeout=20)
        ) as connection:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read(), response

    def facts(self) -> dict[str, Any]:
        self.now += 10
        status, body, _ = self.ask("/status.json")
        assert status == 200
        return dict(json.loads(body))


def settings(folder: Path) -> Settings:
    file = folder / "bridge.toml"
    file.write_text(
        '[bridge]\nstore = "AKL01"\n[partpay]\nenvironment = "sandbox"\n'
        f'client_id = "{SECRETS[0]}"\nclient_secret_file = "{SECRETS[1]}"\n'
    )
    return load(file, {})


@contextmanager
def serving(folder: Path, *, for_all: bool = False) -> Iterator[World]:
    log = Quiet()
    snapshot = Snapshot.of(
        [Merchant("1001", "Kōwhai Books", client_id=SECRETS[2], client_secret_file=SECRETS[1])],
        [Pairing(1, "T0000001", "SN1", PORT, "native", 115200, ("1001",))],
    )
    known = settings(folder)
    server = HttpServer(Address("127.0.0.1", 0), replace(LIMITS, tick_s=0.02))
    world = World(server.address, Books(), Health(lambda: 50.0), {PORT: None}, log)

    def status(counts: Mapping[str, int]) -> StatusFacts:
        return status_facts(
            known, report=world.health.report(), snapshot=snapshot, lines={}, closed=frozenset(),
            counts=counts, listener="127.0.0.1:8480", version="0", pid=1, up_s=1.0,
        )  # fmt: skip

    sources = PageSources(
        status=status,
        journal=lambda: world.books,
        snapshot=lambda: snapshot,
        panels=lambda: world.panels,
        now=lambda: world.now,
        local=lambda: "2026-11-24T09:30:05.000+13:00",
        currency="NZD",
    )
    broken: list[BaseException] = []
    with server:
        server.start(application(sources, Log(log), for_all=for_all), broken.append)
        yield world
    assert broken == []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(tmp_path) as world:
        yield world


def test_the_page_loads_nothing_and_runs_its_own_script_alone(world: World) -> None:
    status, body, response = world.ask("/")
    assert status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy == policy_of(body)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = body.decode()
    assert not re.search(r"https?://|//[a-z]", text)
    assert not re.search(r"\bon[a-z]+=|style=|innerHTML|eval\(|<form|<button|<input|method:", text)


@pytest.mark.parametrize("path", ["/", "/status.json", "/panels/0.png", "/elsewhere"])
def test_every_answer_is_for_this_page_alone(world: World, path: str) -> None:
    _, _, response = world.ask(path)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("path", ["/", "/status.json", "/panels/0.png"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_nothing_but_get(world: World, path: str, method: str) -> None:
    assert world.ask(path, method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/status.json", "/panels/0.png"])
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"Host": "rebound.example"},
    ],
)
@pytest.mark.parametrize("for_all", [False, True])
def test_a_proxy_or_a_foreign_name_finds_nothing(
    tmp_path: Path, path: str, headers: dict[str, str], for_all: bool
) -> None:
    with serving(tmp_path, for_all=for_all) as world:
        assert world.ask(path, headers=headers)[0] == 404


def test_an_address_for_others_is_asked_for_by_number(tmp_path: Path) -> None:
    with serving(tmp_path, for_all=True) as world:
        assert world.ask("/", headers={"Host": "192.0.2.7:8482"})[0] == 200
        assert world.ask("/", headers={"Host": "[2001:db8::7]:8482"})[0] == 200
    with serving(tmp_path) as world:
        assert world.ask("/", headers={"Host": "192.0.2.7:8482"})[0] == 404


def test_what_is_going_on(world: World) -> None:
    world.health.begin("journal-unwritable", detail="no room")
    facts = world.facts()
    assert [line["port"] for line in facts["status"]["lines"]] == [PORT]
    assert [one["code"] for one in facts["status"]["conditions"]] == ["journal-unwritable"]
    assert facts["status"]["tenders"] == {"open": 1, "owed": 0, "unstored": 0, "attention": 1}
    (tender,) = facts["tenders"]
    assert tender["says"] == "waiting for the customer"
    assert (tender["amount_minor"], tender["counter"]) == (12550, 7)
    assert facts["merchants"] == {"1001": "Kōwhai Books"}
    assert [one["text"] for one in facts["attention"]] == ["Nobody stored it"]
    assert facts["trouble"] is None


def test_open_tenders_come_first_and_each_once(world: World) -> None:
    newer = {**TENDER, "counter": 8, "state": "closed", "code": "05"}
    refund = {**TENDER, "counter": 9, "kind": "refund", "state": "closed", "code": "00"}
    world.books.rows = [refund, newer, TENDER]
    says = [(one["counter"], one["says"]) for one in world.facts()["tenders"]]
    assert says == [(7, "waiting for the customer"), (9, "refunded"), (8, "declined")]


def test_no_secret_and_no_code_in_the_json(world: World) -> None:
    world.panels[PORT] = panel_now()
    text = json.dumps(world.facts())
    assert not [secret for secret in SECRETS if secret in text]
    assert PAYLOAD not in text


def test_a_journal_that_cannot_be_read_hides_nothing_else(world: World) -> None:
    world.health.begin("disk-low", detail="1 MB")
    world.books.error = sqlite3.OperationalError("unable to open database file")
    facts = world.facts()
    assert "unable to open" in facts["trouble"]
    assert facts["tenders"] == facts["attention"] == []
    assert [one["code"] for one in facts["status"]["conditions"]] == ["disk-low"]


def test_however_many_look_the_journal_is_asked_once(world: World) -> None:
    for _ in range(5):
        world.ask("/status.json")
    assert world.books.asked == 1
    world.facts()
    assert world.books.asked == 2


def test_the_panel_pixel_for_pixel_and_only_while_it_is_there(world: World) -> None:
    assert world.facts()["panels"][0]["picture"] is None
    world.panels[PORT] = panel_now()
    (panel,) = world.facts()["panels"]
    assert (panel["code"], panel["width"], panel["height"]) == ("shown", 240, 320)
    status, body, response = world.ask(panel["picture"])
    assert status == 200
    assert response.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(body)).size == (240, 320)
    assert read_code(body) == PAYLOAD
    world.panels[PORT] = panel_now(PAYLOAD[:-1] + "c")
    assert world.ask(panel["picture"])[0] == 404
    world.panels[PORT] = None
    assert world.ask(panel["picture"])[0] == 404


def test_a_fault_is_a_refusal_and_a_log_line(world: World) -> None:
    world.books.rows = [{"no": "such row"}]
    status, body, _ = world.ask("/status.json")
    assert (status, body) == (503, b"503 Service Unavailable\n")
    assert [event for event, _ in world.log.events] == ["status-page-broke"]


def test_the_page_is_in_the_package() -> None:
    assert PAGE_FILE.is_file()
    assert PAGE_FILE.parent.parent.name == "bridge"
