"""The program, called as from a shell but in this process, with a state directory of its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import main as program


@dataclass(frozen=True)
class Done:
    exit_status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Invoke = Callable[..., Done]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "bridge.toml"
    file.write_text(
        f"""
[bridge]
store = "AKL01"
state_dir = "{tmp_path}/state"
[partpay]
environment = "sandbox"
[control]
socket = "{tmp_path}/control.sock"
"""
    )
    return file


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Calls the program with exactly these words."""

    def invoke(*words: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["partpay-bridge", *words])
        with pytest.raises(SystemExit) as ended:
            program.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return Done(0 if code is None else int(code), out, err)

    return invoke


@pytest.fixture
def invoke(bare: Invoke, config: Path) -> Invoke:
    """Calls the program with the test's configuration."""
    return lambda *words: bare("--config", str(config), *words)
