"""merchants and terminals, without a daemon: under the state lock."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.state_dir import StateDir

Invoke = Callable[..., Any]


@pytest.fixture
def shoes(invoke: Invoke) -> None:
    assert invoke("merchants", "add", "--id", "M1", "--name", "Shoes").exit_status == 0


def add_terminal(invoke: Invoke, *more: str, serial: str = "S1") -> Any:
    words = ("--terminal-id", "T1", "--serial", serial, "--port", "/dev/ttyS0")
    return invoke("terminals", "add", *words, "--dialect", "native", "--merchant", "M1", *more)


@pytest.mark.usefixtures("shoes")
def test_merchants(invoke: Invoke, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k")
    key.chmod(0o600)
    done = invoke("merchants", "set", "M1", "--callback-key-file", str(key), "--json")
    assert done.json["callback_key_file"] == str(key)
    assert invoke("merchants", "set", "M1", "--callback-key-file", "").exit_status == 0
    assert invoke("merchants", "list").out == "ID  NAME   CLIENT ID  CALLBACK KEY\nM1  Shoes\n"
    shown = invoke("merchants", "show", "M1")
    assert "name           Shoes" in shown.out
    assert "callback_key_file=None" in shown.out
    assert len(invoke("merchants", "show", "M1", "--json").json["changes"]) == 3
    assert invoke("merchants", "remove", "M1").exit_status == 0
    assert invoke("merchants", "list", "--json").json == []
    assert "no merchant yet" in invoke("merchants", "list").err
    assert invoke("merchants", "list", "--removed", "--json").json[0]["removed"] is True


@pytest.mark.usefixtures("shoes")
def test_terminals(invoke: Invoke) -> None:
    added = add_terminal(invoke, "--json").json
    assert (added["terminal"], added["baud"], added["merchants"]) == ("T1", 115_200, ["M1"])
    assert add_terminal(invoke, "--json").json["pairing"] == added["pairing"]
    assert add_terminal(invoke, "--json", serial="S2").json["pairing"] != added["pairing"]
    changed = invoke("terminals", "set", "T1", "--baud", "9600", "--dialect", "classic", "--json")
    assert (changed.json["baud"], changed.json["dialect"]) == (9600, "classic")
    assert "T1        S2" in invoke("terminals", "list").out
    assert "serial number  S1" in invoke("terminals", "show", "T1/S1").out
    assert invoke("terminals", "remove", "T1").exit_status == 0
    assert "no terminal yet" in invoke("terminals", "list").err
    assert len(invoke("terminals", "list", "--removed", "--json").json) == 2
    several = invoke("terminals", "show", "T1")
    assert (several.exit_status, "name one of: T1/S1, T1/S2" in several.err) == (2, True)


@pytest.mark.usefixtures("shoes")
@pytest.mark.parametrize(
    ("words", "exit_status", "what"),
    [
        ("merchants add --id M1 --name Hats", 1, "already there (Shoes)"),
        ("merchants show M9", 2, "no merchant M9"),
        ("merchants set M1", 2, "nothing to change"),
        ("merchants set M9 --name x", 2, "no merchant M9"),
        ("merchants add --id M2 --name x --client-id c", 2, "go together"),
        ("merchants add --id M2 --name x --callback-key-file /nowhere", 2, "No such file"),
        ("terminals show T9", 2, "no terminal T9"),
        ("terminals set T9 --baud 9600", 2, "no terminal T9"),
        ("terminals set T9", 2, "nothing to change"),
        ("terminals remove T9", 2, "no terminal T9"),
        (
            "terminals add --terminal-id T1 --serial S1 --port /dev/x --dialect x --merchant M1",
            2,
            "dialect",
        ),
        (
            "terminals add --terminal-id T1 --serial S1 --port /dev/x --dialect native --merchant M9",
            2,
            "no merchant M9; first: merchants add --id M9",
        ),
        (
            "terminals add --terminal-id T12345678 --serial S1 --port /dev/x --dialect native "
            "--merchant M1",
            2,
            "terminal id has 9 characters; use 1 to 8",
        ),
    ],
)
def test_refusals(invoke: Invoke, words: str, exit_status: int, what: str) -> None:
    done = invoke(*words.split())
    assert (done.exit_status, done.out) == (exit_status, "")
    assert what in done.err


@pytest.mark.usefixtures("shoes")
def test_what_is_left_is_said(invoke: Invoke) -> None:
    assert "by-id" not in add_terminal(invoke).err
    moved = invoke("terminals", "set", "T1", "--port", "/dev/ttyUSB0")
    assert "/dev/serial/by-id" in moved.err
    assert "still named by terminals T1" in invoke("merchants", "remove", "M1").err


def test_relative_secrets_become_whole_paths(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("secret", "key"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    words = ("--id", "M1", "--name", "x", "--client-id", "c", "--client-secret-file", "secret")
    done = invoke("merchants", "add", *words, "--callback-key-file", "key", "--json")
    assert done.json["client_secret_file"] == str(tmp_path / "secret")
    assert done.json["callback_key_file"] == str(tmp_path / "key")


def test_import(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "merchants.csv"
    file.write_text('\ufeffid,name\nM1,Shoes\nM2,"Hats, Ltd"\n', encoding="utf-8")
    assert invoke("merchants", "import", str(file)).out == (
        "added: 2 (M1, M2)\nchanged: 0\nunchanged: 0\n"
    )
    file.write_text("name,id,client_id\nBoots,M1,\nHats Ltd,M2,\n")
    done = invoke("merchants", "import", str(file), "--json")
    assert done.json == {"added": [], "changed": ["M1", "M2"], "unchanged": []}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", ":1: its columns are none"),
        ("id,name,colour\nM1,x,red\n", ":1: its columns are id, name, colour"),
        ("id\nM1\n", ":1: its columns are id"),
        ("id,name,name\nM1,x,y\n", ":1: its columns are id, name, name"),
        ("id,name\nM1\n", ":2: has not as many cells"),
        ("id,name\nM1,x,y\n", ":2: has not as many cells"),
        ("id,name\n,x\nM1,\n", ":3: id or name is empty"),
        ("id,name\nM1,x\nM1,y\n", ":3: M1 stands in line 2 already"),
        ('id,name\nM1,"x\n', "unexpected end of data"),
        ("id,name\nM1,x\nM 2,y\n", "merchant M 2: merchant id"),
    ],
)
def test_import_tells_every_line_that_is_wrong_and_changes_nothing(
    invoke: Invoke, tmp_path: Path, text: str, what: str
) -> None:
    file = tmp_path / "merchants.csv"
    file.write_text(text)
    done = invoke("merchants", "import", str(file))
    assert done.exit_status == 2
    assert what in done.err
    assert invoke("merchants", "list", "--json").json == []


def test_import_of_what_is_no_csv(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"id,name\n\xff,x\n")
    assert "not UTF-8" in invoke("merchants", "import", str(tmp_path / "x")).err
    assert invoke("merchants", "import", "/nowhere").exit_status == 2


def test_a_daemon_that_has_the_state_but_does_not_answer(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cli.asking.DAEMON_WAIT_S", 0.0)
    with StateDir.locked(tmp_path / "state", "the daemon"):
        done = invoke("merchants", "list")
    assert done.exit_status == 1
    assert "in use by the daemon (process " in done.err
    assert f"does not answer at {tmp_path}/control.sock" in done.err


def test_another_environment_is_2(invoke: Invoke, config: Path) -> None:
    assert invoke("merchants", "add", "--id", "M1", "--name", "Shoes").exit_status == 0
    config.write_text(config.read_text().replace("sandbox", "production"))
    done = invoke("merchants", "list")
    assert (done.exit_status, "of PartPay's sandbox environment" in done.err) == (2, True)


def test_a_state_dir_that_cannot_be_is_1(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    done = invoke("merchants", "list")
    assert (done.exit_status, "cannot be used by user" in done.err) == (1, True)
