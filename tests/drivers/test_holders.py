"""Who has a port: this machine's /proc with real processes, and trees that the test brings."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.holders import INTRUDERS, Holder, Use, running, uses_of


@pytest.fixture
def port() -> Iterator[str]:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    os.close(theirs)
    yield name
    os.close(ours)


@contextmanager
def process_named(folder: Path, name: str, stdin: int | None = None) -> Iterator[int]:
    """A process that the kernel calls `name`, with `stdin` open."""
    program = folder / name
    program.symlink_to("/usr/bin/sleep")
    process = subprocess.Popen([str(program), "60"], stdin=stdin)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_nobody(port: str) -> None:
    assert uses_of([port])[port].holders == ()


def test_a_process_that_has_it_open(port: str, tmp_path: Path) -> None:
    theirs = os.open(port, os.O_RDWR | os.O_NOCTTY)
    with process_named(tmp_path, "ModemManager", theirs) as pid:
        os.close(theirs)
        assert uses_of([port, "/dev/null/none"]) == {
            port: Use((Holder(pid, "ModemManager"),), True),
            "/dev/null/none": Use((), True),
        }
        assert Holder(pid, "ModemManager") in running(INTRUDERS)
    assert uses_of([port])[port].holders == ()


def test_this_process_does_not_count(port: str) -> None:
    theirs = os.open(port, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(theirs, fcntl.LOCK_EX)
    assert uses_of([port])[port].holders == ()
    os.close(theirs)


def fake_process(root: Path, pid: int, name: str, *files: str) -> Path:
    process = root / "proc" / str(pid)
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text(name + "\n")
    for number, target in enumerate(files):
        (process / "fd" / str(number)).symlink_to(target)
    return process


def test_a_lock_tells_whose_files_are_hidden(tmp_path: Path) -> None:
    node = tmp_path / "ttyUSB0"
    node.touch()
    about = node.stat()
    fake_process(tmp_path, 1, "systemd")
    fake_process(tmp_path, 77, "gpsd", "socket:[1]", "/dev/null")
    device = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}"
    (tmp_path / "proc/locks").write_text(
        f"1: POSIX  ADVISORY  WRITE 5 00:01:1 0 EOF\n"
        f"2: FLOCK  ADVISORY  WRITE 77 {device}:{about.st_ino} 0 EOF\n"
        f"2: -> FLOCK  ADVISORY  WRITE 78 {device}:{about.st_ino} 0 EOF\n"
    )
    assert uses_of([str(node)], tmp_path) == {str(node): Use((Holder(77, "gpsd"),), True)}


def test_processes_that_are_not_listed_are_not_taken_for_nobody(tmp_path: Path) -> None:
    fake_process(tmp_path, 4711, "own")
    assert uses_of(["/dev/ttyUSB0"], tmp_path) == {"/dev/ttyUSB0": Use((), False)}


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_without_the_right_to_see_all_it_says_so(port: str, tmp_path: Path) -> None:
    script = (
        "import os\nfrom drivers.holders import uses_of\nos.setgid(65534)\nos.setuid(65534)\n"
        f"print(uses_of([{port!r}])[{port!r}].all_seen)"
    )
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "False", done.stderr
