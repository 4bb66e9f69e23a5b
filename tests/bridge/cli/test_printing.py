import sys
from typing import Any

import click
import pytest

from bridge.cli.command import Command
from bridge.cli.printing import duration, money, put_facts, put_rows


def shown(capsys: pytest.CaptureFixture[str], show: Any, *words: str) -> str:
    """What a command that does this prints."""
    command = Command("x", callback=show)
    with pytest.raises(SystemExit):
        command.main(list(words))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("minor", "text"), [(0, "0.00"), (5, "0.05"), (1250, "12.50"), (-1, "-0.01"), (None, "")]
)
def test_money(minor: int | None, text: str) -> None:
    assert money(minor) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (2e5, "2 d")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nothing_that_is_shown_steers_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    def show() -> None:
        put_facts({"a": "x\x1b[2J\ny"}, [("a", "a")])

    assert shown(capsys, show) == "a  x\ufffd[2J\ufffdy\n"


def test_a_table_for_a_person(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")

    def show() -> None:
        put_rows([{"a": "[bold]x", "b": None}], [("First", "a"), ("Second", "b")], none="")

    assert "[bold]x" in shown(capsys, show)


def test_json_of_rows_comes_row_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    def show() -> None:
        click.echo("before")
        put_rows(iter([{"a": 1}, {"a": "é"}]), [("First", "a")], none="")

    assert shown(capsys, show, "--json") == 'before\n[\n  {"a": 1},\n  {"a": "é"}\n]\n'
