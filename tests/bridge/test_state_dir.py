import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import state_dir
from bridge.state_dir import DAEMON, StateDir, StateDirBusyError, StateDirError


def in_another_process(body: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", body, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


LOCK = """
import sys
from pathlib import Path
from bridge.state_dir import StateDir, StateDirBusyError
try:
    StateDir.locked(Path(sys.argv[1]), "a command", wait_s=0.0)
except StateDirBusyError as busy:
    sys.exit(str(busy))
"""


def test_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "state"
    with StateDir.locked(path, DAEMON) as held:
        assert held.path == path
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_second_daemon_is_told_who_has_it(tmp_path: Path) -> None:
    with StateDir.locked(tmp_path, DAEMON):
        second = in_another_process(LOCK, tmp_path)
    assert second.returncode == 1
    assert f"in use by the daemon (process {os.getpid()})" in second.stderr
    assert in_another_process(LOCK, tmp_path).returncode == 0


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    killed = in_another_process(
        "import os, sys, signal\nfrom pathlib import Path\nfrom bridge.state_dir import StateDir\n"
        "held = StateDir.locked(Path(sys.argv[1]), 'the daemon')\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    assert killed.returncode == -9
    StateDir.locked(tmp_path, DAEMON, wait_s=0.0).close()


def test_a_command_is_waited_for_and_a_daemon_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StateDir.locked(tmp_path, "merchants add")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        first.close()

    monkeypatch.setattr(state_dir.time, "sleep", pause)
    with StateDir.locked(tmp_path, DAEMON):
        with pytest.raises(StateDirBusyError) as caught:
            StateDir.locked(tmp_path, "merchants list")
        assert caught.value.by_daemon
    assert len(pauses) == 1


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StateDirError, match="chmod go-w"):
        StateDir.locked(tmp_path, DAEMON)


def test_a_path_that_is_no_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match="cannot be used"):
        StateDir.locked(tmp_path / "file", DAEMON)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_goes_on_as_the_owner(tmp_path: Path) -> None:
    became = "import os, sys\nfrom pathlib import Path\nfrom bridge.state_dir import become_owner\n"
    became += "become_owner(Path(sys.argv[1]))\nprint(os.getuid(), os.geteuid(), os.getgid())"
    os.chown(tmp_path, 65534, 65534)
    done = in_another_process(became, tmp_path)
    assert done.stdout.split()[:2] == ["65534", "65534"], done.stderr
    assert done.stdout.split()[2] != "0"
    os.chown(tmp_path, 0, 0)
    assert in_another_process(became, tmp_path).stdout.split()[0] == "0"
    assert in_another_process(became, tmp_path / "missing").stdout.split()[0] == "0"
