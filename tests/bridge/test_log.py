import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import log as log_module
from bridge.log import (
    BURST_LINES,
    HIDDEN,
    Journald,
    Level,
    Log,
    Stream,
    as_json,
    daemon_log,
    logfmt,
    plain,
)

WHEN = datetime(2024, 5, 6, 7, 8, 9, 123_456, tzinfo=UTC)


class Kept:
    def __init__(self) -> None:
        self.entries: list[tuple[Level, str, dict[str, str]]] = []
        self.broken = False

    def write(self, at: datetime, level: Level, event: str, fields: Mapping[str, str]) -> None:
        if self.broken:
            raise BlockingIOError
        self.entries.append((level, event, dict(fields)))


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(kept: Kept, clock: Clock) -> Log:
    return Log(kept, now=clock, wall=lambda: WHEN)


@pytest.fixture
def piped() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_line_of_logfmt(piped: tuple[int, int]) -> None:
    reading, writing = piped
    Log(Stream(writing, logfmt), wall=lambda: WHEN).info(
        "ready", listener="127.0.0.1:8480", lanes=1, took_s=0.25, text="it runs"
    )
    assert os.read(reading, 1000) == (
        b"time=2024-05-06T07:08:09.123Z level=info event=ready listener=127.0.0.1:8480 lanes=1 "
        b'took_s=0.25 text="it runs"\n'
    )


def test_a_line_of_json(piped: tuple[int, int]) -> None:
    reading, writing = piped
    Log(Stream(writing, as_json), wall=lambda: WHEN).error("x", text='a "b"\nc')
    line = os.read(reading, 1000)
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "time": "2024-05-06T07:08:09.123Z",
        "level": "error",
        "event": "x",
        "text": 'a "b"\nc',
    }


@given(st.text())
def test_nothing_breaks_a_line(value: str) -> None:
    for line in (logfmt({"a": value, "b": "end"}), as_json({"a": value})):
        assert len(line.splitlines()) == 1
        assert line.isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_secret", "canary"),
        ("token", "canary"),
        ("callback_key", "canary"),
        ("body", "canary"),
        ("text", "Authorization: Bearer canary-canary"),
        ("error", "got eyJcanarycanary.eyJcanary.canary back"),
        ("text", "client_secret=canary&x=1"),
        ("text", '{"access_token": "canary"}'),
        ("data", b"canary"),
        ("many", ("ok", "Bearer canary-canary")),
    ],
)
def test_secrets_are_hidden(name: str, value: object) -> None:
    assert "canary" not in plain(name, value)


def test_what_is_no_secret_is_shown() -> None:
    class Colour(Enum):
        RED = "red"

    assert plain("merchant", "m-1") == "m-1"
    assert plain("state", Colour.RED) == "red"
    assert plain("ok", True) == "true"
    assert plain("path", Path("/a b")) == "/a b"
    assert plain("ports", ("a", "b")) == "a,b"
    assert plain("tokens_left", 4) == "4"
    assert plain("key", "x") == HIDDEN


def test_none_is_left_out_and_long_values_are_cut(log: Log, kept: Kept) -> None:
    log.info("x", missing=None, long="y" * 5000)
    ((_, _, fields),) = kept.entries
    assert list(fields) == ["long"]
    assert len(fields["long"]) == 1000


def test_each_kind_has_its_rate_and_what_is_left_out_is_told(
    log: Log, kept: Kept, clock: Clock
) -> None:
    for _ in range(BURST_LINES + 7):
        log.warning("callback-refused")
    log.info("tender-accepted")
    assert len(kept.entries) == BURST_LINES + 1
    clock.seconds += 1.0
    log.warning("callback-refused")
    assert kept.entries[-1][2] == {"skipped": "7"}
    log.warning("callback-refused")
    assert kept.entries[-1][2] == {}


def test_a_sink_that_fails_is_survived_and_told(log: Log, kept: Kept) -> None:
    kept.broken = True
    log.info("a")
    log.info("b")
    kept.broken = False
    log.info("c")
    log.info("d")
    assert [(event, fields) for _, event, fields in kept.entries] == [
        ("c", {"lost": "2"}),
        ("d", {}),
    ]


def test_a_pipe_that_nobody_reads_does_not_stop_anybody(piped: tuple[int, int]) -> None:
    reading, writing = piped
    os.set_blocking(writing, False)
    filled = 0
    with pytest.raises(BlockingIOError):
        while True:
            filled += os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    log = Log(Stream(writing, logfmt))
    for _ in range(3):
        log.info("x")
    while filled:
        filled -= len(os.read(reading, filled))
    log.info("y")
    assert os.read(reading, 1000).endswith(b"event=y lost=3\n")


def test_debug_is_left_out(log: Log, kept: Kept) -> None:
    log.debug("x")
    assert kept.entries == []


def test_libraries_speak_here_too(log: Log, kept: Kept) -> None:
    root = logging.getLogger()
    before = root.handlers, root.level
    try:
        log.take_over_libraries()
        logging.getLogger("waitress").warning("a %s\nb", "line")
        logging.getLogger("waitress").info("quiet")
        try:
            raise ValueError("Bearer canary-canary")
        except ValueError:
            logging.getLogger("urllib3").exception("broke")
        logging.getLogger("odd").warning("%d", "no number")
    finally:
        root.handlers, root.level = before
        logging.captureWarnings(False)
    assert [(level, event) for level, event, _ in kept.entries] == [
        (Level.WARNING, "library"),
        (Level.ERROR, "library"),
        (Level.WARNING, "library"),
    ]
    assert kept.entries[0][2] == {"library": "waitress", "text": "a line\nb"}
    assert kept.entries[1][2]["error"] == f"ValueError: {HIDDEN}"


def test_fields_reach_the_journal_as_fields(tmp_path: Path) -> None:
    address = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(address)
        Log(Journald(address)).warning("line-lost", port="/dev/ttyUSB0", text="a\nb")
        entry = journal.recv(10_000)
    assert b"PRIORITY=4\n" in entry
    assert b"PARTPAY_EVENT=line-lost\n" in entry
    assert b"PARTPAY_PORT=/dev/ttyUSB0\n" in entry
    assert b"SYSLOG_IDENTIFIER=partpay-bridge\n" in entry
    assert b"PARTPAY_TEXT\n\x03\0\0\0\0\0\0\0a\nb\n" in entry
    assert b'MESSAGE=event=line-lost port=/dev/ttyUSB0 text="a\\nb"\n' in entry


def test_the_journal_is_used_where_stderr_goes_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piped: tuple[int, int]
) -> None:
    class Stderr:
        def fileno(self) -> int:
            return piped[1]

    about = os.fstat(piped[1])
    here = f"{about.st_dev}:{about.st_ino}"
    monkeypatch.setattr(log_module.sys, "__stderr__", Stderr())
    (tmp_path / "journal").touch()
    monkeypatch.setattr(log_module, "JOURNAL_SOCKET", str(tmp_path / "journal"))
    assert isinstance(daemon_log("logfmt", {"JOURNAL_STREAM": here})._sink, Journald)
    assert isinstance(daemon_log("logfmt", {"JOURNAL_STREAM": "1:2"})._sink, Stream)
    assert isinstance(daemon_log("json", {})._sink, Stream)
