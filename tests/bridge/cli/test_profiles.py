"""`profiles`, which needs no daemon, no registry and no configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drivers.profiles import all_profile_facts

Invoke = Callable[..., Any]


def test_every_profile_is_listed_without_a_configuration(bare: Invoke, tmp_path: Path) -> None:
    nowhere = ("--config", str(tmp_path / "none.toml"))
    assert bare("profiles", "list", "--json", *nowhere).json == all_profile_facts()
    text = bare("profiles", "list", *nowhere).out
    for known in all_profile_facts():
        assert known["name"] in text


def test_one_profile(bare: Invoke) -> None:
    told = bare("profiles", "show", "mono-128x64").out
    assert "128 x 64" in told
    assert bare("profiles", "show", "mono-128x64", "--json").json["panel_height"] == 64


def test_one_that_is_not_there(bare: Invoke) -> None:
    done = bare("profiles", "show", "mono-1x1")
    assert done.exit_status == 2
    assert "mono-128x64" in done.err


def test_no_name_is_no_profile(bare: Invoke) -> None:
    assert bare("profiles", "show", "").exit_status == 2
