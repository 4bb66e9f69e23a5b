"""What the firmware's tests share: programs built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.firmware.compiling import HERE, compiled, example
from tools.firmware.driver import FOLDER


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs are built."""
    return tmp_path_factory.mktemp("firmware")


@pytest.fixture(scope="session")
def vector_program(built: Path) -> Path:
    """The layers below the terminal, asked line by line."""
    return compiled(built / "vectors", HERE / "vector_program.c", FOLDER / "partpay_link.c")


@pytest.fixture(scope="session")
def stepped_program(built: Path) -> Path:
    """The terminal on a clock that is given."""
    sources = (HERE / "stepped_terminal.c", FOLDER / "example_words.c", FOLDER / "partpay_link.c")
    return compiled(built / "stepped", *sources)


@pytest.fixture(scope="session")
def example_terminal(built: Path) -> Path:
    """The example terminal."""
    return example(built / "sanitized")
