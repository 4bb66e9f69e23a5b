"""The directory of what is remembered: made where it is missing, held by one process at a time.

- Whoever holds the lock may open and change what is in it: the daemon while it runs, a command
  while no daemon does. The lock is the kernel's (flock): it goes with its process, however that
  ends.
- What root begins goes on as the owner of the directory, so that no file of root's is left in it.
"""

import fcntl
import json
import os
import pwd
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

LOCK_FILE: Final = "lock"
DAEMON: Final = "the daemon"
"""What the daemon calls itself in the lock."""

COMMAND_LOCK_WAIT_S: Final = 10.0
"""A command holds the lock for a moment only: so long is waited for one, by a command or by the
daemon.
"""
LOCK_PAUSE_S: Final = 0.02


class StateDirError(Exception):
    """The directory cannot be used: why, and what to do."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{path}: {what}; {remedy}")
        self.path = path
        self.what = what
        self.remedy = remedy


class StateDirBusyError(StateDirError):
    """Another process holds it. `by_daemon`: it is a daemon, so it can be asked instead."""

    def __init__(self, path: Path, holder: Mapping[str, object]) -> None:
        name = str(holder.get("name") or "another process")
        pid = holder.get("pid")
        self.by_daemon = name == DAEMON
        super().__init__(
            path,
            f"in use by {name}" + (f" (process {pid})" if pid else ""),
            "stop that one first, or give this one a state_dir of its own",
        )


def become_owner(state_dir: Path, before: Callable[[], None] = lambda: None) -> None:
    """Goes on as the owner of the directory, where this process is root's and the directory is not.

    Nothing where it is missing. The groups are the owner's too (dialout opens the ports).
    before: called where a change is about to be made: it loads what only root may be able to read,
    such as a program that was installed in root's home.
    """
    if os.geteuid() != 0:
        return
    try:
        about = state_dir.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(state_dir, error) from error
    if about.st_uid == 0:
        return
    before()
    try:
        owner = pwd.getpwuid(about.st_uid)
    except KeyError:
        os.setgroups([about.st_gid])
        os.setgid(about.st_gid)
    else:
        os.initgroups(owner.pw_name, owner.pw_gid)
        os.setgid(owner.pw_gid)
    os.setuid(about.st_uid)


class StateDir:
    """The directory, locked. A context manager; leaving it lets the lock go."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def locked(cls, path: Path, name: str, *, wait_s: float = COMMAND_LOCK_WAIT_S) -> Self:
        """Makes the directory where it is missing, and locks it under that name.

        Waits `wait_s` for a command to end, and not at all for a daemon. Raises
        `StateDirBusyError`, `StateDirError`.
        """
        lock = _open_lock(path)
        try:
            deadline = time.monotonic() + wait_s
            while not _try_lock(lock):
                busy = StateDirBusyError(path, _holder(lock))
                if busy.by_daemon or time.monotonic() >= deadline:
                    raise busy
                time.sleep(LOCK_PAUSE_S)
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps({"name": name, "pid": os.getpid()}).encode(), 0)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the lock go. The file stays: removing it would let two processes lock two files."""
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1


def _open_lock(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = path.stat()
        if about.st_mode & 0o022:
            raise StateDirError(
                path,
                f"can be changed by others (mode {stat.S_IMODE(about.st_mode):04o})",
                f"chmod go-w {path}",
            )
        return os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> Mapping[str, object]:
    try:
        told = json.loads(os.pread(lock, 1024, 0))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _unusable(path: Path, error: OSError) -> StateDirError:
    return StateDirError(
        path,
        f"cannot be used by user {os.geteuid()}: {error.strerror}",
        "run as its owner or as root, or mend state_dir in the configuration",
    )
