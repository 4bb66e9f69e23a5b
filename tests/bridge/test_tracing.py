"""Watching a line: what is read is what went over it, decoded, bounded, and without secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge import tracing
from bridge.control import CommandError
from bridge.tracing import REMARK, WATCHERS_MAX, Tracing
from drivers.link.dialect import Dialect, dialect_named
from drivers.link.messages import Cancel, Hello, Identify, PairReveal
from drivers.link.trace import parse

PORT = "/dev/ttyUSB0"
NATIVE, CLASSIC = dialect_named("native"), dialect_named("classic")


@dataclass
class FakeLane:
    dialect: Dialect = NATIVE
    baud: int = 115_200
    hello: Hello | None = None


@dataclass
class Desk:
    lanes: dict[str, FakeLane] = field(default_factory=lambda: {PORT: FakeLane()})
    clock: float = 12.5

    def __post_init__(self) -> None:
        self.tracing = Tracing(
            lambda: self.lanes,
            lambda key: {"T1": PORT, "T9": "/dev/none"}[key],
            lambda: self.clock,
            lambda: datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
        )

    def watch(self, key: str = PORT) -> Iterator[Mapping[str, Any]]:
        """The rows after the first one, which says what is watched."""
        rows = self.tracing.watch(key)
        first = next(rows)
        assert first["kind"] == REMARK and first["words"].startswith(f"{PORT}: ")
        return rows

    def line(self, way: str, data: bytes) -> None:
        self.tracing.saw(PORT, way, "bytes", data)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(tracing, "HEARTBEAT_S", 0.001)
    return Desk()


def framed(message: Any, sequence: int = 1, dialect: Dialect = NATIVE) -> bytes:
    return dialect.framing.encode(dialect.encoding.encode(message, sequence))


def test_frames_of_both_ways_in_whatever_pieces(desk: Desk) -> None:
    rows = desk.watch()
    said = framed(Cancel("T0000001", 42))
    desk.line("in", said[:5])
    desk.clock = 12.75
    desk.line("in", said[5:])
    desk.line("out", b"\x06" + framed(Identify()))
    told = [next(rows) for _ in range(3)]
    assert [(row["way"], row["kind"]) for row in told] == [
        ("T>B", "frame"),
        ("B>T", "ack"),
        ("B>T", "frame"),
    ]
    assert told[0]["words"] == "CANCEL 1 terminal_id='T0000001' counter=42"
    assert told[0]["time_s"] == 12.75
    for row in told:
        assert str(parse(row["line"])) == row["line"]


def test_noise_and_damage_are_there(desk: Desk) -> None:
    rows = desk.watch()
    broken = bytearray(framed(Cancel("T0000001", 42)))
    broken[-1] ^= 1
    desk.line("in", b"hello " + bytes(broken))
    assert next(rows)["kind"] == "noise"
    assert next(rows)["kind"] == "bad"


def test_secrets_stay_out(desk: Desk) -> None:
    rows = desk.watch()
    nonce = bytes(range(0x40, 0x50))
    desk.line("out", framed(PairReveal(public_key=bytes(range(0x80, 0xA0)), pairing_nonce=nonce)))
    row = next(rows)
    assert nonce[2:].hex() not in str(row)
    assert ".." in row["hex"]


def test_what_the_lane_remarks_is_no_line(desk: Desk) -> None:
    rows = desk.watch()
    desk.tracing.saw(PORT, "in", "note", "LinkDown")
    desk.tracing.saw(PORT, "in", "message", Identify())
    desk.line("in", b"\x06")
    assert next(rows)["line"] == "# 12.500000 note: LinkDown"
    assert next(rows)["kind"] == "ack"


def test_another_dialect_from_now_on(desk: Desk) -> None:
    rows = desk.watch()
    desk.lanes = {PORT: FakeLane(CLASSIC, 9600)}
    assert next(rows) == {}
    assert next(rows)["words"].startswith(f"{PORT}: classic, 9600 baud")
    desk.line("in", framed(Cancel("T0000001", 42), dialect=CLASSIC))
    assert next(rows)["words"].startswith("CANCEL")


def test_a_port_that_is_gone_and_comes_back_is_watched_on(desk: Desk) -> None:
    rows = desk.watch()
    desk.lanes = {}
    assert next(rows) == {}
    desk.lanes = {PORT: FakeLane()}
    desk.line("in", b"\x15")
    assert next(rows)["kind"] == "nak"


def test_where_nothing_is_said_a_row_shows_that_it_goes_on(desk: Desk) -> None:
    assert next(desk.watch()) == {}


@pytest.mark.parametrize("limit", ["WAITING_MAX", "WAITING_MAX_BYTES"])
def test_who_reads_too_slowly_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(tracing, limit, 2)
    rows = desk.watch()
    for _ in range(5):
        desk.line("in", b"\x06")
    assert [next(rows)["kind"] for _ in range(2)] == ["ack", "ack"]
    assert "3 pieces left out" in next(rows)["words"]
    desk.line("in", b"\x06")
    assert next(rows)["kind"] == "ack"


def test_who_goes_away_is_forgotten(desk: Desk) -> None:
    rows = desk.watch()
    assert desk.tracing.watchers == 1
    rows.close()  # type: ignore[attr-defined]
    assert desk.tracing.watchers == 0
    desk.line("in", b"\x06")


def test_who_never_began_to_read_is_nobody(desk: Desk) -> None:
    desk.tracing.watch(PORT)
    assert desk.tracing.watchers == 0


def test_only_so_many_at_once(desk: Desk) -> None:
    watching = [desk.watch() for _ in range(WATCHERS_MAX)]
    with pytest.raises(CommandError, match="run already"):
        next(desk.tracing.watch(PORT))
    watching.pop().close()  # type: ignore[attr-defined]
    desk.watch()


def test_two_see_the_same(desk: Desk) -> None:
    first, second = desk.watch(), desk.watch()
    desk.line("in", b"\x06")
    assert next(first) == next(second)


def test_a_terminal_is_where_it_said_hello_else_where_it_is_registered(desk: Desk) -> None:
    elsewhere = "/dev/ttyUSB1"
    desk.lanes[elsewhere] = FakeLane()
    assert next(desk.tracing.watch("T1"))["words"].startswith(PORT)
    desk.lanes[elsewhere].hello = Hello(
        terminal_id="T1",
        serial_number="S1",
        version=1,
        model="M",
        firmware="1",
        panel_width=240,
        panel_height=320,
        formats=b"\x10",
        max_body=4092,
    )
    assert next(desk.tracing.watch("T1"))["words"].startswith(elsewhere)
    with pytest.raises(CommandError, match="does not have port /dev/none"):
        desk.tracing.watch("T9")
