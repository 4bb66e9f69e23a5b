"""What a terminal is told while it is paired and no daemon runs: the truth about the journal, and no sale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.alone import Alone
from bridge.effects import Say, Welcome
from bridge.journal.journal import Journal
from bridge.lane_events import Heard, Proved
from bridge.registry import Merchant, Pairing, Registry, Who
from drivers.link import messages as link
from drivers.link.authentication import Keys
from tests.bridge.shop import Shop

WHO = Who("alice", 1000)
LANE = "/dev/ttyS0"
HELLO = link.Hello("T0000001", "SN1", 1, "Model", "1.0", 128, 64, b"\x10", 1024)
OLD, NEW = Keys(bytes(32), bytes(32)), Keys(b"\x01" * 32, bytes(32))
WHEN = datetime(2026, 11, 23, 8, 15, 30, tzinfo=UTC)


class Bench:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = Shop(folder)
        shop.hello()
        shop.sell(7)
        shop.engine.close()
        self.journal = Journal(folder / "journal.db", "sandbox", lambda: "now")
        self.registry = Registry(
            folder / "registry.db", "sandbox", dialects=("native",), environ={}
        )
        self.registry.add_merchant(Merchant("M-1", "Shoes"), WHO)
        self.alone = Alone(self.registry, self.journal, "TEST ", lambda: WHEN, WHO)
        self.said: list[Say | Welcome] = []
        monkeypatch.setattr(
            self.alone, "_lanes", SimpleNamespace(say=lambda lane, effect: self.said.append(effect))
        )
        monkeypatch.setattr(self.alone, "_workers", SimpleNamespace(do=lambda job: job()))

    def register(self) -> None:
        terminal = Pairing(0, "T0000001", "SN1", LANE, merchants=("M-1",))
        assert self.registry.add_terminal(terminal, WHO).pairing == 1

    def hear(self, message: Any, key_id: bytes | None = None) -> list[Any]:
        self.said.clear()
        self.alone._post(Heard(LANE, message, 9, key_id))
        return [effect.message for effect in self.said]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path, monkeypatch)
    yield bench
    bench.registry.close()
    bench.journal.close()


def test_hello_gets_the_journals_own_identity_and_counter(bench: Bench) -> None:
    (unknown,) = bench.hear(HELLO)
    assert (unknown.paired, unknown.counter) == (0, None)
    bench.register()
    (welcome,) = bench.hear(HELLO)
    assert welcome == link.Welcome(
        1, bench.journal.identity, 1, local_date=261123, local_time=81530, counter=7
    )
    assert bench.said[0] == Welcome(LANE, welcome, True, HELLO)


def test_a_terminal_without_the_keys_of_its_pairing_is_not_paired(bench: Bench) -> None:
    bench.register()
    bench.registry.keep_keys("T0000001", "SN1", OLD, WHO)
    (welcome,) = bench.hear(HELLO)
    assert welcome.paired == 0
    (welcome,) = bench.hear(replace(HELLO, key_id=OLD.identifier))
    assert welcome.paired == 1


def test_a_new_sale_is_refused_and_one_that_is_written_gets_no_answer(bench: Bench) -> None:
    tender = link.Tender("T0000001", 8, 12_550, 554)
    (refused,) = bench.hear(tender)
    assert refused.reason == link.Reason.NOT_PAIRED
    bench.register()
    bench.hear(HELLO)
    (refused,) = bench.hear(tender)
    assert (refused.reason, refused.refused) == (link.Reason.CANNOT_WRITE, b"\x10\x09")
    assert refused.text.startswith("TEST ")
    (refused,) = bench.hear(link.Refund("T0000001", 9, 7, 100))
    assert refused.reason == link.Reason.CANNOT_WRITE
    assert bench.hear(replace(tender, counter=7)) == []
    for message in (
        link.Cancel("T0000001", 7),
        link.Query("T0000001"),
        link.Stored("T0000001", 7, "00"),
    ):
        assert bench.hear(message) == []
    assert bench.journal.find(1, 8) is None


def test_keys_that_have_proved_themselves_drop_those_before_them(bench: Bench) -> None:
    for keys in (OLD, NEW):
        bench.registry.keep_keys("T0000001", "SN1", keys, WHO)
    bench.alone._post(Proved(LANE, NEW.identifier))
    assert len(bench.registry.keys_of("T0000001", "SN1")) == 2
    bench.hear(replace(HELLO, key_id=OLD.identifier))
    bench.alone._post(Proved(LANE, OLD.identifier))
    assert len(bench.registry.keys_of("T0000001", "SN1")) == 2
    bench.hear(replace(HELLO, key_id=NEW.identifier))
    bench.alone._post(Proved(LANE, NEW.identifier))
    assert bench.registry.keys_of("T0000001", "SN1") == (NEW,)
    bench.registry.close()
    bench.alone._drop_older("T0000001", "SN1", NEW.identifier)
