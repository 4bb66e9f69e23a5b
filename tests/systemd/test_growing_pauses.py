"""Pauses between starts, where systemd cannot let them grow by itself: the drop-in's own commands, run by sh."""

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.systemd.unit_file import unit

NAME = "growing-pauses-before-254.conf"
TEN_MINUTES_S = 600

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")


class Runtime:
    """The service's runtime directory, and a `sleep` that only says how long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.folder.mkdir()
        self.slept = folder / "slept"
        programs = folder / "bin"
        programs.mkdir()
        sleep = programs / "sleep"
        sleep.write_text(f'#!/bin/sh\necho "$1" >>{self.slept}\n')
        sleep.chmod(0o755)
        self.path = f"{programs}:{os.environ['PATH']}"

    def run(self, key: str, result: str = "") -> None:
        words = shlex.split(unit(NAME)["Service"][key][0].replace("$$", "$"))
        environment = {
            "PATH": self.path,
            "RUNTIME_DIRECTORY": str(self.folder),
            "SERVICE_RESULT": result,
        }
        subprocess.run(words, check=True, env=environment)

    def start(self) -> int:
        """Seconds that this start waited."""
        self.slept.unlink(missing_ok=True)
        self.run("ExecStartPre")
        return int(self.slept.read_text()) if self.slept.exists() else 0


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path)


def test_pauses_grow_to_half_a_minute(runtime: Runtime) -> None:
    assert [runtime.start() for _ in range(8)] == [0, 2, 4, 8, 16, 32, 32, 32]


def test_ten_good_minutes_begin_afresh(runtime: Runtime) -> None:
    for _ in range(4):
        runtime.start()
    before = time.time() - TEN_MINUTES_S - 120
    os.utime(runtime.folder / "starts", (before, before))
    assert [runtime.start(), runtime.start()] == [0, 2]


def test_a_person_who_stops_it_waits_for_nothing(runtime: Runtime) -> None:
    for _ in range(4):
        runtime.start()
    runtime.run("ExecStopPost", "success")
    assert runtime.start() == 0


def test_a_failure_is_remembered(runtime: Runtime) -> None:
    runtime.start()
    runtime.run("ExecStopPost", "watchdog")
    assert runtime.start() == 2


def test_the_count_outlives_the_restart() -> None:
    assert unit(NAME)["Service"]["RuntimeDirectoryPreserve"] == ["restart"]


def test_newer_systemd_gets_the_same_by_its_own_means() -> None:
    settings = unit("growing-pauses.conf")["Service"]
    assert settings["RestartSteps"] == ["5"]
    assert settings["RestartMaxDelaySec"] == ["32"]
