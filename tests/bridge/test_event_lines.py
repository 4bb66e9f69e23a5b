"""The lines that real sales leave: each says which terminal, counter and order it is about, in every form."""

from __future__ import annotations

import json
import logging
import shlex
import socket
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from bridge.log import Journald, Level, Log, _FromOurs, as_json, logfmt
from bridge.partpay.answers import Refunded
from bridge.tender import Ask
from tests.bridge.shop import Shop

Line = tuple[Level, str, dict[str, str]]


class Kept:
    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None:
        self.lines.append((level, event, dict(fields)))


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    """What the daemon's log takes from our own packages."""
    kept = Kept()
    handler = _FromOurs(Log(kept))
    ours = logging.getLogger("bridge")
    before = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    yield kept.lines
    ours.removeHandler(handler)
    ours.setLevel(before)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.hello()
    return shop


def a_full_day(shop: Shop) -> None:
    """A sale, a refund, a cancel with a late approval, a strange answer, an outcome nobody stores."""
    shop.sell()
    shop.callback("approved")
    shop.status("approved")
    shop.stored()
    shop.refund(2, 1, 500)
    shop.answer(Ask.REFUND, Refunded())
    shop.stored(2)
    shop.sell(3, "order-3")
    shop.cancel(3)
    shop.cancelled()
    shop.status("cancelled")
    shop.callback("approved", "order-3", counter=3)
    shop.status("approved")
    shop.advance(shop.rules.timing.stored_alert + 1)


def test_each_line_of_a_sale_says_whose_it_is(shop: Shop, lines: list[Line]) -> None:
    a_full_day(shop)
    events = [event for _, event, _ in lines]
    assert {"tender", "ordered", "outcome", "stored", "refund", "closing", "not-stored"} <= set(
        events
    )
    ordered: set[str] = set()
    for _, event, fields in lines:
        assert fields["terminal"] == "T0000001", event
        assert fields["counter"] in ("1", "2", "3"), event
        assert fields["reference"].startswith("AKL01-T0000001-"), event
        if event == "ordered":
            ordered.add(fields["counter"])
        if fields["counter"] in ordered:
            assert fields["order"].startswith("number-order-"), event


def test_each_line_is_one_line_in_both_forms(shop: Shop, lines: list[Line]) -> None:
    a_full_day(shop)
    for _, event, fields in lines:
        whole = {"event": event, **fields}
        text = logfmt(whole)
        assert "\n" not in text
        assert dict(word.partition("=")[::2] for word in shlex.split(text)) == whole
        assert json.loads(as_json(whole)) == whole


def test_the_journal_can_be_asked_by_terminal_counter_and_order(
    shop: Shop, lines: list[Line], tmp_path: Path
) -> None:
    a_full_day(shop)
    address = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(address)
        log = Log(Journald(address))
        level, event, fields = next(one for one in lines if one[1] == "outcome")
        log.event(level, event, fields)
        entry = dict(line.split(b"=", 1) for line in journal.recv(65536).splitlines())
    assert entry[b"PARTPAY_EVENT"] == b"outcome"
    assert entry[b"PARTPAY_TERMINAL"] == b"T0000001"
    assert entry[b"PARTPAY_COUNTER"] == b"1"
    assert entry[b"PARTPAY_ORDER"] == b"number-order-1"
    assert entry[b"PRIORITY"] == b"6"


def test_what_is_not_served_says_which_terminal_and_where(shop: Shop, lines: list[Line]) -> None:
    shop.hello("/dev/ttyS7", "T0000009", "SN9")
    (line,) = [one for one in lines if one[1] == "not-paired"]
    assert (line[0], line[2]["terminal"], line[2]["port"]) == (
        Level.WARNING,
        "T0000009",
        "/dev/ttyS7",
    )


def test_a_callback_by_another_key_says_whose_sale_it_names(shop: Shop, lines: list[Line]) -> None:
    shop.sell()
    assert shop.callback("approved", signers=("M-2",)) == 401
    (line,) = [one for one in lines if one[1] == "callback-wrong-key"]
    assert (line[2]["terminal"], line[2]["counter"]) == ("T0000001", "1")
