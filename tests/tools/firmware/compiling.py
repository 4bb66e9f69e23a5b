"""Compiling the firmware for tests: warnings are errors, sanitizers are on, no compiler is no failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.firmware.driver import FOLDER, NoCompiler, build, compiler

HERE = Path(__file__).parent

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
AUTHENTICATED = ("-DPP_AUTHENTICATED_LINK=1",)
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@contextmanager
def needs_compiler() -> Iterator[None]:
    """Where there is none: in CI a fault of the machine; elsewhere the rest can be tested without."""
    try:
        yield
    except NoCompiler as why:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the firmware cannot be tested: {why}")
        pytest.skip(str(why))


def compiled(out: Path, *sources: Path, flags: tuple[str, ...] = SANITIZED) -> Path:
    """`out`, made of these sources; the compiler's words where it has any."""
    with needs_compiler():
        words = [compiler(), *STRICT, *flags, f"-I{FOLDER}", f"-I{HERE}", "-o", str(out)]
        words += [str(source) for source in sources]
        made = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert (made.returncode, made.stderr) == (0, "")
    return out


def example(out: Path, *, authenticated: bool = False) -> Path:
    """The example terminal, as its Makefile builds it with sanitizers."""
    with needs_compiler():
        return build(out, "sanitized", f"AUTHENTICATED={int(authenticated)}")
    raise AssertionError("skipped or failed before this")
