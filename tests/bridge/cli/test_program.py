import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest

from bridge.cli.main import COMMANDS, program

Invoke = Callable[..., Any]


SCREEN_COLUMNS, SCREEN_LINES = 80, 30


def commands(
    command: click.Command, path: tuple[str, ...] = (), *, groups: bool = False
) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    found = [path] if groups else []
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        found += commands(inner, (*path, name), groups=groups)
    return found


@pytest.mark.parametrize("path", commands(program, groups=True))
def test_every_command_explains_itself_on_a_screen(
    bare: Invoke, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(SCREEN_COLUMNS))
    done = bare(*path, "--help")
    assert done.exit_status == 0
    assert "--config FILE" in done.out
    assert "--json" in done.out
    lines = done.out.splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS
    example = f"partpay-bridge {' '.join(path)}".strip()
    assert any(example in line for line in lines[1:]), f"{example}: say how it is called"


def test_every_option_says_what_it_is_for() -> None:
    for path in commands(program, groups=True):
        for parameter in _command(path).params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{' '.join(path)} {parameter.opts[0]}"


def test_every_example_is_one_that_the_program_takes() -> None:
    for path in commands(program, groups=True):
        for words in _examples(path):
            command: click.Command = program
            context = click.Context(program, info_name="partpay-bridge")
            while isinstance(command, click.Group):
                name = words.pop(0)
                inner = command.get_command(context, name)
                assert inner is not None, f"{path}: no command {name}"
                command = inner
                context = click.Context(command, parent=context)
            # Raises where an option or argument is none of the command's; calls nothing.
            command.make_parser(context).parse_args(words)


def _command(path: tuple[str, ...]) -> click.Command:
    command: click.Command = program
    for name in path:
        assert isinstance(command, click.Group)
        inner = command.get_command(click.Context(command), name)
        assert inner is not None
        command = inner
    return command


def _examples(path: tuple[str, ...]) -> list[list[str]]:
    text = (_command(path).help or "").replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line.strip().startswith("partpay-bridge "):
            words = shlex.split(line.strip(), comments=True)[1:]
            ends = [at for at, word in enumerate(words) if word in ("|", ">")]
            found.append(words[: ends[0]] if ends else words)
    return found


def test_the_page_names_these_commands() -> None:
    named = {" ".join(path) for path in commands(program)}
    assert named >= {
        "run",
        "check-config",
        *(f"merchants {verb}" for verb in ("add", "list", "show", "set", "remove", "import")),
        *(f"terminals {verb}" for verb in ("add", "list", "show", "set", "remove", "forget-keys")),
        "pair",
        "status",
        "ports",
        "doctor",
        "trace",
        "display test",
        *(f"profiles {verb}" for verb in ("list", "show")),
        *(f"tenders {verb}" for verb in ("list", "show", "attention", "acknowledge", "explain")),
        *(f"tenders {verb}" for verb in ("totals", "export")),
        "audit",
    }


@pytest.mark.parametrize(
    "words",
    [
        ("--config", "{}", "--json", "merchants", "list"),
        ("merchants", "--config", "{}", "--json", "list"),
        ("merchants", "list", "--json", "--config", "{}"),
        ("--json", "merchants", "--config", "{}", "list"),
        ("--config", "/nowhere", "merchants", "list", "--config", "{}", "--json"),
    ],
)
def test_config_and_json_stand_before_or_after(
    bare: Invoke, config: Path, words: tuple[str, ...]
) -> None:
    done = bare(*(word.format(config) for word in words))
    assert (done.exit_status, done.json) == (0, [])


@pytest.mark.parametrize(
    "words",
    [
        ("frobnicate",),
        ("merchants", "frobnicate"),
        ("merchants", "add", "--id", "M1"),
        ("merchants", "list", "--frobnicate"),
        ("merchants", "show"),
        ("merchants", "show", "M1", "M2"),
        ("terminals", "add", "--baud", "fast"),
        ("tenders", "list", "--from", "yesterday"),
        ("tenders", "acknowledge"),
        ("audit", "--head", "xyz"),
        ("run", "away"),
    ],
)
def test_wrong_usage_is_2(invoke: Invoke, words: tuple[str, ...]) -> None:
    done = invoke(*words)
    assert (done.exit_status, done.out) == (2, "")
    assert "Error" in done.err


@pytest.mark.parametrize("command", ["run", "check-config", "status", "merchants list", "audit"])
def test_a_wrong_configuration_is_2_everywhere(bare: Invoke, tmp_path: Path, command: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[bridge]\nstroe = "AKL01"\n[partpay]\nenvironment = "sandbox"\n')
    done = bare(*command.split(), "--config", str(file))
    assert done.exit_status == 2
    told = done.out + done.err
    assert f"{file}:2: bridge.stroe: is an unknown key; did you mean store?" in told
    assert f"{file}:1: bridge.store: is missing" in told


def test_version(bare: Invoke) -> None:
    assert bare("--version").out.startswith("partpay-bridge 0.")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_root_begins_goes_on_as_the_owner(config: Path) -> None:
    nobody = 65534
    with TemporaryDirectory() as folder:  # tmp_path is root's alone, all the way up
        Path(folder).chmod(0o755)
        state = Path(folder) / "state"
        state.mkdir(mode=0o700)
        os.chown(state, nobody, nobody)
        file = Path(folder) / "bridge.toml"
        file.write_text(config.read_text().replace(str(config.parent), folder))
        script = "from bridge.cli.main import main; main()"
        for words in ("merchants add --id M1 --name Shoes", "merchants list --json"):
            done = subprocess.run(
                [sys.executable, "-c", script, *words.split(), "--config", str(file)],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
        assert '"id": "M1"' in done.stdout
        assert {one.stat().st_uid for one in state.iterdir()} == {nobody}


def test_nothing_heavy_is_loaded_before_a_command_needs_it() -> None:
    heavy = ("requests", "PIL", "zxingcpp", "rich", "falcon", "waitress", "cryptography", "qrcode")
    script = (
        "import sys\n"
        "import bridge.cli.main\n"
        f"from importlib import import_module\n"
        f"for place in {list(COMMANDS.values())!r}: import_module(place.partition(':')[0])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
