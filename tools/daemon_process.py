"""The daemon as a process of its own, set up as a technician would: configuration, registry by commands, `run`.

Used by the demo, the end-to-end tests and the benchmarks. What it logs is kept, and can be waited for.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

PROGRAM: Final = str(Path(sys.executable).parent / "partpay-bridge")
READY_S: Final = 10.0
END_S: Final = 10.0
CALLBACK_KEY: Final = "sandbox-callback-key"


class NotLogged(TimeoutError):  # noqa: N818 - says what it is
    """The daemon did not log what was waited for."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal to register. `port` is the path that the daemon opens."""

    terminal_id: str
    serial_number: str
    port: str
    dialect: str = "native"
    merchants: tuple[str, ...] = ("1001",)
    more: tuple[str, ...] = ()


@dataclass(slots=True)
class BridgeFolder:
    """A folder with everything that one bridge has: configuration, secrets, state."""

    path: Path
    sandbox_url: str
    listener: str = "127.0.0.1:0"
    callback_url: str | None = None
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    client_secret: str = "sandbox-service-secret"

    @property
    def config(self) -> Path:
        return self.path / "bridge.toml"

    @property
    def state_dir(self) -> Path:
        return self.path / "state"

    def write(self) -> None:
        """Writes configuration and secrets, with the modes that they must have."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name, text in (("client-secret", self.client_secret), ("callback-key", CALLBACK_KEY)):
            secret = self.path / name
            secret.touch(mode=0o600)
            secret.write_text(text + "\n")
        sections: dict[str, dict[str, Any]] = {
            "bridge": {"store": "AKL01", "state_dir": str(self.state_dir)},
            "partpay": {
                "environment": "custom",
                "base_url": self.sandbox_url,
                "token_url": f"{self.sandbox_url.rstrip('/')}/oauth/token",
                "audience": "https://auth-dev.partpay.co.nz",
                "client_id": "sandbox-service",
                "client_secret_file": str(self.path / "client-secret"),
                "callback_key_file": str(self.path / "callback-key"),
            },
            "listener": {"address": self.listener},
            "control": {"socket": str(self.path / "control.sock"), "page": ""},
        }
        if self.callback_url is not None:
            sections["partpay"]["callback_url"] = self.callback_url
        for name, keys in self.sections.items():
            sections.setdefault(name, {}).update(keys)
        lines = []
        for name, keys in sections.items():
            lines += [
                f"[{name}]",
                *(f"{key} = {json.dumps(value)}" for key, value in keys.items()),
                "",
            ]
        self.config.write_text("\n".join(lines))

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs `partpay-bridge` with these words. Raises CalledProcessError where it fails."""
        done = subprocess.run(
            [PROGRAM, "--config", str(self.config), *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"partpay-bridge {shlex.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.command(*words, "--json").stdout)

    def register(self, merchants: Mapping[str, str], terminals: Sequence[Terminal]) -> None:
        """Registers merchants (id to name) and terminals by the program's own commands."""
        for merchant_id, name in merchants.items():
            self.command("merchants", "add", "--id", merchant_id, "--name", name)
        for one in terminals:
            whose = [word for merchant in one.merchants for word in ("--merchant", merchant)]
            self.command(
                "terminals", "add", "--terminal-id", one.terminal_id, "--serial", one.serial_number,
                "--port", one.port, "--dialect", one.dialect, *whose, *one.more,
            )  # fmt: skip


class DaemonProcess:
    """`partpay-bridge run`. A context manager: leaving it ends the process, whatever state it is in."""

    def __init__(
        self, folder: BridgeFolder, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._mark = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(END_S)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged, of all its lives."""
        with self._changed:
            return "".join(self._lines)

    @property
    def memory_mib(self) -> float:
        """What it holds of the machine's memory now (VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def start(self) -> float:
        """Starts it; seconds until it was ready."""
        began = time.monotonic()
        with self._changed:
            self._mark = len(self._lines)
        self._process = subprocess.Popen(
            [PROGRAM, "--config", str(self.folder.config), "run"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert self._process.stderr is not None
        threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True).start()
        self.wait_for_log("event=ready", READY_S)
        return time.monotonic() - began

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._lines.append("(ended)\n")
            self._changed.notify_all()

    def wait_for_log(self, text: str, timeout_s: float = 10.0) -> str:
        """The next line, after the one last waited for, that holds `text`. Raises NotLogged."""
        ends = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for at in range(self._mark, len(self._lines)):
                    if text in self._lines[at]:
                        self._mark = at + 1
                        return self._lines[at]
                ended = "(ended)\n" in self._lines[self._mark :]
                left = ends - time.monotonic()
                if ended or left <= 0 or not self._changed.wait(left):
                    raise NotLogged(
                        f"{text!r} was not logged; the log:\n{''.join(self._lines[-60:])}"
                    )

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(END_S)

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit status, and the seconds that it took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(END_S), time.monotonic() - began

    def wait(self, timeout_s: float = END_S) -> int:
        """Until it ends by itself; the exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)
