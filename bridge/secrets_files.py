"""Secrets: files that only their reader can read.

A secret never stands in the configuration, in the environment or on a command line: only the path
of its file does. The file is read afresh at each use, so that a new secret needs no restart. It is
refused where its group or others could read it. Files under `$CREDENTIALS_DIRECTORY` are exempt
from that: systemd shows them as 0440, inside a directory that only the service can enter.

No error of this module holds a byte of what a file holds.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECRET_MAX_BYTES: Final = 4096
"""No key or client secret comes near it; a path that names something else by mistake does."""

CALLBACK_KEYS_MAX: Final = 2
"""The key of today and the one before or after it, while PartPay changes over."""

CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
CLIENT_SECRET_CREDENTIAL: Final = "partpay-client-secret"  # noqa: S105 (a name)
CALLBACK_KEY_CREDENTIAL: Final = "partpay-callback-key"


class SecretError(Exception):
    """A secret's file cannot be used: which file, why, and what to do. The daemon goes on without
    it.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{path}: {what}; {remedy}")
        self.path = path
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret's file. `exempt`: it is systemd's, whose mode bits say nothing."""

    path: Path
    exempt: bool = False

    def read(self) -> str:
        """What the file says now, without the white space around it. Raises `SecretError`."""
        text = self._text().strip()
        if not text:
            raise SecretError(self.path, "is empty", "write the secret into it")
        if len(text.splitlines()) > 1:
            raise SecretError(self.path, "has more than one line", "leave the secret alone in it")
        return text

    def read_keys(self) -> tuple[bytes, ...]:
        """One key a line, as bytes: the key's text itself is the key (PartPay API, callback).
        Raises `SecretError`.
        """
        keys = [line.strip() for line in self._text().splitlines() if line.strip()]
        if not keys:
            raise SecretError(self.path, "is empty", "write PartPay's callback key into it")
        if len(keys) > CALLBACK_KEYS_MAX:
            raise SecretError(
                self.path,
                f"has {len(keys)} keys",
                f"leave {CALLBACK_KEYS_MAX} at most: the current one, and one that it changes to",
            )
        return tuple(key.encode() for key in keys)

    def _text(self) -> str:
        try:
            # O_NONBLOCK: a FIFO by that name must not hold up the thread that asks.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SecretError(
                self.path,
                f"cannot be read by user {os.geteuid()}: {error.strerror}",
                "name a file that this user can read",
            ) from None
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise SecretError(self.path, "is no plain file", "name a file")
            if about.st_mode & 0o077 and not self.exempt:
                raise SecretError(
                    self.path,
                    f"can be read by others (mode {stat.S_IMODE(about.st_mode):04o})",
                    f"chmod 600 {self.path}, and take it that others know the secret",
                )
            raw = os.read(descriptor, SECRET_MAX_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(raw) > SECRET_MAX_BYTES:
            raise SecretError(
                self.path, f"is larger than {SECRET_MAX_BYTES} bytes", "name the secret's own file"
            )
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise SecretError(self.path, "is not text", "name the secret's own file") from None


def secret_at(path: Path, environ: Mapping[str, str]) -> Secret:
    """The secret in that file; exempt from the mode check where it lies under
    `$CREDENTIALS_DIRECTORY`.
    """
    directory = environ.get(CREDENTIALS_DIRECTORY)
    exempt = bool(directory) and path.is_relative_to(Path(str(directory)))
    return Secret(path, exempt)


def credential(name: str, environ: Mapping[str, str]) -> Secret | None:
    """systemd's credential of that name, where the service was given one."""
    directory = environ.get(CREDENTIALS_DIRECTORY)
    if not directory:
        return None
    path = Path(directory) / name
    return Secret(path, exempt=True) if path.exists() else None
