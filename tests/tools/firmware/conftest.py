"""What the firmware's tests share: programs built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.firmware.compiling import AUTHENTICATED, HERE, SANITIZED, compiled, example
from tools.firmware.driver import FOLDER


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs are built."""
    return tmp_path_factory.mktemp("firmware")


@pytest.fixture(scope="session")
def vector_program(built: Path) -> Path:
    """The layers below the terminal, asked line by line."""
    sources = (HERE / "vector_program.c", FOLDER / "example_crypto.c", FOLDER / "partpay_link.c")
    return compiled(built / "vectors", *sources, flags=(*SANITIZED, *AUTHENTICATED))


def _stepped(out: Path, *more: str) -> Path:
    names = ("example_words.c", "example_crypto.c", "partpay_link.c")
    sources = (HERE / "stepped_terminal.c", *(FOLDER / name for name in names))
    return compiled(out, *sources, flags=(*SANITIZED, *more))


@pytest.fixture(scope="session")
def stepped_program(built: Path) -> Path:
    """The terminal on a clock that is given."""
    return _stepped(built / "stepped")


@pytest.fixture(scope="session")
def authenticated_program(built: Path) -> Path:
    """The same with the authenticated link."""
    return _stepped(built / "authenticated", *AUTHENTICATED)


@pytest.fixture(scope="session")
def example_terminal(built: Path) -> Path:
    """The example terminal."""
    return example(built / "sanitized")
