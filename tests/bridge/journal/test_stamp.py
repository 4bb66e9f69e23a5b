"""The stamp beside the journal: read as it was written, and no stamp at all where it is damaged."""

import json
from pathlib import Path

import pytest

from bridge.journal.journal import Journal
from bridge.journal.stamp import SIZE_BYTES, Stamp, StampFile, read

STAMP = Stamp("sandbox", 1, "00112233aabbccdd", 42)
FIELDS = {"environment": "sandbox", "schema": 1, "journal": "00112233aabbccdd", "last_event": 42}


@pytest.mark.parametrize("durable", [False, True])
def test_it_is_read_as_it_was_written(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "journal.stamp"
    with StampFile(path) as file:
        file.write(STAMP, durable=durable)
        file.write(Stamp("sandbox", 1, "00112233aabbccdd", 7), durable=durable)
    assert read(path) == Stamp("sandbox", 1, "00112233aabbccdd", 7)
    assert path.stat().st_size == SIZE_BYTES


def test_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "journal.stamp") is None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe",
        json.dumps(FIELDS).encode()[:-3],
        b"[]",
        b"7",
        json.dumps({**FIELDS, "last_event": "x"}).encode(),
        json.dumps({**FIELDS, "schema": True}).encode(),
        json.dumps({**FIELDS, "schema": None}).encode(),
        json.dumps({**FIELDS, "journal": 7}).encode(),
        json.dumps({**FIELDS, "more": 1}).encode(),
        json.dumps({"environment": "sandbox"}).encode(),
    ],
)
def test_a_damaged_one_counts_as_none_and_is_written_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.stamp"
    path.write_bytes(damage)
    assert read(path) is None
    journal = Journal(tmp_path / "journal.db", "sandbox", lambda: "2026-11-23")
    journal.close()
    again = read(path)
    assert again is not None
    assert again.environment == "sandbox"
