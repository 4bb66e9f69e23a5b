"""tenders, audit and status, with a daemon's socket and without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.config import load
from bridge.control import CommandError, Handler
from bridge.control_socket import ControlServer
from bridge.health import Health
from bridge.inquiry import JournalInquiry
from bridge.journal.reader import JournalReader
from bridge.log import Level, Log
from bridge.registry import Merchant, Pairing, Registry, Who
from bridge.status import status_facts
from drivers.link.messages import Hello
from tests.bridge.shop import Shop

Invoke = Callable[..., Any]
BY = Who("alice", 1000)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An approved sale whose terminal first kept another code, and one whose order is open."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    shop = Shop(state)
    shop.hello()
    shop.sell(1)
    shop.callback("approved")
    shop.status("approved")
    shop.stored(1, "17")
    shop.stored(1)
    shop.sell(2, "order-2")
    shop.engine.close()
    return state


class Silent:
    def write(self, at: datetime, level: Level, event: str, fields: object) -> None: ...


class Desk:
    def acknowledge(self, entry: int | None, who: str) -> int:
        raise CommandError(1, "the journal cannot be written", "free the disk")


class Lane:
    link_up = True
    hello = Hello(
        terminal_id="T1",
        serial_number="S1",
        version=1,
        model="Model \x1b[31m",
        firmware="1.2",
        panel_width=240,
        panel_height=320,
        formats=b"\x10",
        max_body=4092,
    )


@contextmanager
def daemon(config: Path, state: Path) -> Iterator[Registry]:
    """What a daemon answers, without the daemon."""
    settings = load(config, {})
    journal = state / "journal.db"
    with Registry(state / "registry.db", "sandbox", dialects=("native",), environ={}) as registry:
        registry.add_merchant(Merchant("M1", "Shoes"), BY)
        for number in (1, 2, 3):
            terminal = f"T{number}"
            registry.add_terminal(
                Pairing(0, terminal, "S1", f"/dev/ttyS{number}", merchants=("M1",)), BY
            )
        health = Health(lambda: 100.0)
        health.begin("attention", detail="2")

        def status() -> Any:
            return status_facts(
                settings,
                report=health.report(),
                snapshot=registry.snapshot,
                lines={"/dev/ttyS1": Lane(), "/dev/ttyS2": Lane()},
                closed=frozenset({"/dev/ttyS2"}),
                counts=JournalReader(journal).counts(),
                listener="127.0.0.1:8480",
                version="0.1.0",
                pid=4711,
                up_s=7300.0,
            )

        handler = Handler(
            registry,
            lambda: JournalReader(journal),
            Desk(),
            status=status,
            inquiry=JournalInquiry(journal, "NZD"),
        )
        with ControlServer(settings.control.socket, handler, Log(Silent())) as server:
            server.start()
            yield registry


@pytest.fixture(params=["up", "down"])
def told(
    request: pytest.FixtureRequest, invoke: Invoke, config: Path, state: Path
) -> Iterator[Invoke]:
    """The same commands with the daemon up and down."""
    if request.param == "down":
        yield invoke
        return
    with daemon(config, state):
        yield invoke


def test_list(told: Invoke) -> None:
    listed = told("tenders", "list", "--json").json
    assert [one["counter"] for one in listed] == [2, 1]
    assert {
        "terminal",
        "counter",
        "kind",
        "merchant",
        "amount_minor",
        "state",
        "code",
        "stored",
        "reversal",
        "order_id",
        "order_number",
        "gateway_reference",
    } <= listed[0].keys()
    assert (listed[1]["code"], listed[1]["stored"]) == ("00", True)
    assert [one["counter"] for one in told("tenders", "list", "--open", "--json").json] == [2]
    table = told("tenders", "list").out.splitlines()
    assert table[0].split()[:4] == ["ACCEPTED", "TERMINAL", "COUNTER", "KIND"]
    assert len(table) == 3
    assert told("tenders", "list", "--terminal", "T9").err == "none\n"


def test_show_and_explain(told: Invoke) -> None:
    one = told("tenders", "list", "--json").json[-1]
    for key in ("1", f"{one['terminal']}/1", one["order_id"], one["gateway_reference"]):
        shown = told("tenders", "show", key, "--json").json
        assert (shown["counter"], shown["code"]) == (1, "00")
        assert shown["events"]
    assert "gateway reference" in told("tenders", "show", "1").out
    assert told("tenders", "explain", "1", "--json").json["money"]
    assert told("tenders", "explain", "1").out.splitlines()[-1]
    missing = told("tenders", "show", "77")
    assert (missing.exit_status, "nothing is known by 77" in missing.err) == (2, True)


def test_sums(told: Invoke) -> None:
    (day,) = told("tenders", "totals", "--json").json
    assert day["sales"] == 1
    days = ("--from", "2000-01-01", "--to", "2099-12-31")
    lines = told("tenders", "export", *days).out.splitlines()
    assert len(lines) == 2
    assert "amount_minor" in lines[0].split(",")
    assert len(told("tenders", "export", *days, "--json").json) == 1
    assert told("tenders", "export", "--from", "2000-01-01", "--to", "2000-01-02").out == ""


def test_audit(told: Invoke) -> None:
    audited = told("audit", "--json").json
    assert (audited["holds"], audited["broken"]) == (True, [])
    assert told("audit", "--head", audited["head"]).exit_status == 0
    wrong = told("audit", "--head", "0" * 63 + "1")
    assert (wrong.exit_status, "is not in the chain" in wrong.out) == (1, True)


def test_attention_and_acknowledge_without_a_daemon(invoke: Invoke, state: Path) -> None:
    assert "keeps 17 for counter 1" in invoke("tenders", "attention").out
    before = invoke("tenders", "attention", "--json").json
    assert before
    missing = invoke("tenders", "acknowledge", "9999")
    assert (missing.exit_status, "no entry 9999" in missing.err) == (2, True)
    done = invoke("tenders", "acknowledge", "--all", "--json")
    assert done.json == {"acknowledged": len(before)}
    assert invoke("tenders", "attention", "--json").json == []
    assert invoke("audit", "--json").json["holds"]


def test_before_the_first_start_there_is_no_journal(invoke: Invoke) -> None:
    for command in ("tenders list", "tenders explain 1", "audit"):
        done = invoke(*command.split())
        assert (done.exit_status, "no journal yet" in done.err) == (1, True)


def test_status(invoke: Invoke, config: Path, state: Path) -> None:
    with daemon(config, state):
        told = invoke("status", "--json").json
        assert (told["status"], told["store"], told["pid"]) == ("degraded", "AKL01", 4711)
        assert told["tenders"]["open"] == 1
        assert [(line["open"], line["up"], line["terminal"]) for line in told["lines"]] == [
            (True, True, "T1"),
            (False, False, None),
            (False, False, None),
        ]
        assert told["conditions"][0]["code"] == "attention"
        out = invoke("status").out
    assert "AKL01 (sandbox): degraded, up 2 h, version 0.1.0, process 4711" in out
    assert "degraded: 2 sales need a person" in out
    assert "127.0.0.1:8480, no callbacks" in out
    assert "\x1b" not in out


def test_status_without_a_daemon_is_1(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("status")
    assert (done.exit_status, done.out) == (1, "")
    assert "the daemon is not running" in done.err
    assert not (tmp_path / "state").exists()


def test_the_registry_changes_through_the_daemon(invoke: Invoke, config: Path, state: Path) -> None:
    with daemon(config, state) as registry:
        assert invoke("merchants", "set", "M1", "--name", "Boots").exit_status == 0
        assert registry.merchant("M1").name == "Boots"
        assert invoke("merchants", "show", "M9").exit_status == 2
        assert invoke("terminals", "list", "--json").json[0]["terminal"] == "T1"
