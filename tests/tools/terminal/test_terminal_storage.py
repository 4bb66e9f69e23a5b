"""What a simulated terminal keeps comes back as it was, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.authentication import Keys
from tools.terminal.storage import (
    DamagedStorageError,
    InFile,
    Kept,
    KeptOutcome,
    Transaction,
    from_json,
    to_json,
)

counters = st.integers(0, 99_999_999)
keys = st.binary(min_size=32, max_size=32)
kepts = st.builds(
    Kept,
    counter=counters,
    highest_accepted=counters,
    journal_id=st.none() | st.binary(min_size=8, max_size=8),
    open=st.lists(st.from_type(Transaction), max_size=3).map(tuple),
    outcomes=st.lists(st.from_type(KeptOutcome), max_size=3).map(tuple),
    keys=st.none() | st.builds(Keys, keys, keys),
)


@given(kepts)
def test_all_comes_back(kept: Kept) -> None:
    assert from_json(to_json(kept)) == kept


def test_a_missing_file_is_a_new_terminal(tmp_path: Path) -> None:
    assert InFile(tmp_path / "none").load() == Kept()


def test_a_file_that_others_cannot_read_and_that_is_replaced_whole(tmp_path: Path) -> None:
    storage = InFile(tmp_path / "terminal.json")
    storage.save(Kept(counter=1))
    storage.save(Kept(counter=2))
    assert storage.load() == Kept(counter=2)
    assert storage.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["terminal.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "open": 7}'])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "terminal.json"
    path.write_text(text)
    with pytest.raises(DamagedStorageError, match="name another file"):
        InFile(path).load()
