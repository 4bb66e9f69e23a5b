"""`partpay-bridge install-service`: what the Debian package would do, for a program that came by pipx or into a venv.

- A plan is made first, then carried out: `--dry-run` shows the same plan.
- Only files of the bridge's own names are written and removed. The configuration is written where there is none, and
  it, its secrets and the journal stay when the service is taken away.
- The unit sees nothing of homes. A program that it could not see or read is refused, with where to put it.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, assert_never

import click

from bridge.cli.command import Command, wants_json
from bridge.cli.completion import SHELLS, completion
from bridge.cli.manual import config_page, program_page
from bridge.cli.printing import put_json
from bridge.control import CommandError

UNIT: Final = "partpay-bridge.service"
CONFIG: Final = Path("/etc/partpay-bridge/bridge.toml")
PACKAGED_UNIT: Final = Path("/usr/lib/systemd/system") / UNIT
COMMAND: Final = Path("/usr/local/bin/partpay-bridge")
SEEN: Final = (Path("/usr"), Path("/opt"), Path("/etc"))
"""What the unit shows to the daemon (BindReadOnlyPaths=) besides what is added to it."""
HIDDEN: Final = tuple(map(Path, ("/home", "/root", "/run", "/tmp", "/var/tmp", "/dev", "/proc")))  # noqa: S108 (refused)
"""Where nothing for a service belongs; the unit hides it."""
FIRST_WITH_STEPS: Final = 254
"""The release of systemd that brought RestartSteps=; older ones warn of it at each start."""
RUN_LIMIT_S: Final = 60

COPIED: Final = {
    "sysusers.conf": Path("/etc/sysusers.d/partpay-bridge.conf"),
    "tmpfiles.conf": Path("/etc/tmpfiles.d/partpay-bridge.conf"),
    "70-partpay-bridge.rules": Path("/etc/udev/rules.d/70-partpay-bridge.rules"),
}
UNIT_FILE: Final = Path("/etc/systemd/system") / UNIT
PAUSES_FILE: Final = Path("/etc/systemd/system") / f"{UNIT}.d" / "10-growing-pauses.conf"
PAGES: Final = Path("/usr/local/share/man")
COMPLETIONS: Final = {
    "bash": Path("/usr/local/share/bash-completion/completions/partpay-bridge"),
    "zsh": Path("/usr/local/share/zsh/site-functions/_partpay-bridge"),
    "fish": Path("/usr/local/share/fish/vendor_completions.d/partpay-bridge.fish"),
}


@dataclass(frozen=True, slots=True)
class Write:
    """Put a file there. once: only where there is none."""

    path: Path
    text: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    path: Path
    to: Path


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a file away. to: only where it is a link to there."""

    path: Path
    to: Path | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A command of the system; what it cannot do is told, and is no reason to stop."""

    words: tuple[str, ...]


Step = Write | Link | Remove | Run


@dataclass(frozen=True, slots=True)
class Installed:
    """Where this program is: its environment, and the one that its interpreter comes from."""

    prefix: Path
    base_prefix: Path

    @property
    def program(self) -> Path:
        return self.prefix / "bin" / "partpay-bridge"


def service_files() -> Traversable:
    """Unit, rules and examples: inside the wheel, or beside the sources."""
    packed = files("config").joinpath("systemd")
    if packed.is_dir():
        return packed
    return Path(__file__).parents[2] / "systemd"


def unit_for(where: Installed, text: str) -> str:
    """The unit, with this program's path, and what it needs to see to be run."""
    text, count = re.subn(r"(?m)^ExecStart=\S+ run$", f"ExecStart={where.program} run", text)
    assert count == 1, "the unit has no ExecStart= of ours"
    unseen = [
        prefix
        for prefix in dict.fromkeys((where.prefix, where.base_prefix))
        if not any(prefix.is_relative_to(seen) for seen in SEEN)
    ]
    more = "".join(f"BindReadOnlyPaths={prefix}\n" for prefix in unseen)
    return re.sub(r"(?m)^(BindReadOnlyPaths=.*\n)", rf"\g<1>{more}", text, count=1)


def why_not(where: Installed) -> str | None:
    """Why the service could not run this program; None: it could."""
    for prefix in (where.prefix, where.base_prefix):
        if any(prefix.is_relative_to(hidden) for hidden in HIDDEN):
            return f"it is in {prefix}, which the service cannot see"
    needed = (where.program, where.prefix / "bin" / "python", *where.prefix.glob("lib/python3*"))
    for path in needed:
        for part in (path, *path.parents):
            try:
                mode = part.stat().st_mode
            except OSError as error:
                return f"{part} cannot be looked at: {error.strerror}"
            wanted = stat.S_IROTH | stat.S_IXOTH if part == path else stat.S_IXOTH
            if mode & wanted != wanted:
                return f"{part} cannot be read by other users (mode {stat.S_IMODE(mode):04o})"
    return None


def pauses_for(systemd: int | None) -> str:
    """Which drop-in makes pauses grow; where the release is not known, the one that all understand."""
    if systemd is not None and systemd >= FIRST_WITH_STEPS:
        return "growing-pauses.conf"
    return "growing-pauses-before-254.conf"


def installing(where: Installed, systemd: int | None, program: click.Command) -> Iterator[Step]:
    """All steps, in order."""
    source = service_files()
    example = files("config").joinpath("bridge.toml").read_text(encoding="utf-8")
    yield Write(UNIT_FILE, unit_for(where, source.joinpath(UNIT).read_text(encoding="utf-8")))
    pauses = source.joinpath(pauses_for(systemd))
    yield Write(PAUSES_FILE, pauses.read_text(encoding="utf-8"))
    for name, path in COPIED.items():
        yield Write(path, source.joinpath(name).read_text(encoding="utf-8"))
    release = version("partpay-terminal-bridge")
    yield Write(PAGES / "man8" / "partpay-bridge.8", program_page(program, release))
    yield Write(PAGES / "man5" / "bridge.toml.5", config_page(example, release))
    for shell in SHELLS:
        yield Write(COMPLETIONS[shell], completion(shell, program))
    yield Link(COMMAND, where.program)
    yield Write(CONFIG, example, once=True)
    yield Run(("systemd-sysusers", COPIED["sysusers.conf"].name))
    yield Run(("systemd-tmpfiles", "--create", COPIED["tmpfiles.conf"].name))
    yield Run(("systemctl", "daemon-reload"))
    yield Run(("systemctl", "enable", UNIT))
    yield Run(("systemctl", "try-restart", UNIT))
    yield from _udev()


def uninstalling(where: Installed) -> Iterator[Step]:
    """All steps, in order."""
    yield Run(("systemctl", "disable", "--now", UNIT))
    for path in (UNIT_FILE, PAUSES_FILE, *COPIED.values()):
        yield Remove(path)
    yield Remove(PAGES / "man8" / "partpay-bridge.8")
    yield Remove(PAGES / "man5" / "bridge.toml.5")
    for shell in SHELLS:
        yield Remove(COMPLETIONS[shell])
    yield Remove(COMMAND, where.program)
    yield Run(("systemctl", "daemon-reload"))
    yield from _udev()


def _udev() -> Iterator[Step]:
    yield Run(("udevadm", "control", "--reload"))
    # Devices first: their ports look at what was found out about them.
    for subsystem in ("usb", "usb-serial", "tty"):
        yield Run(("udevadm", "trigger", "--action=change", f"--subsystem-match={subsystem}"))


@click.command("install-service", cls=Command)
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@click.option(
    "--uninstall", is_flag=True, help="Take the service away; configuration and journal stay."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Write below DIR, and start nothing: for an image of a system.",
)
def install_service(dry_run: bool, uninstall: bool, root: Path | None) -> None:
    """Make a service of this program: unit, user, udev rules, manual pages, completion.

    For pipx and venv installations; the Debian package has done it already.

    \b
    python3 -m venv /opt/partpay-bridge
    /opt/partpay-bridge/bin/pip install --require-hashes -r tools/lock/run.txt
    /opt/partpay-bridge/bin/pip install --no-deps .
    /opt/partpay-bridge/bin/partpay-bridge install-service
    """
    where = Installed(Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    below = root or Path("/")
    _refuse(where, below, uninstall=uninstall)
    if not dry_run and root is None and os.geteuid() != 0:
        raise CommandError(1, "only root can do that", "use sudo, or see what it is by --dry-run")
    whole = click.get_current_context().find_root().command
    steps = uninstalling(where) if uninstall else installing(where, systemd_release(), whole)
    told = [
        {"does": does, "what": what, "done": done}
        for does, what, done in (
            _carried_out(step, below, dry_run=dry_run, runs=root is None) for step in steps
        )
    ]
    _tell(told, dry_run=dry_run, uninstall=uninstall)


def _refuse(where: Installed, below: Path, *, uninstall: bool) -> None:
    if (below / PACKAGED_UNIT.relative_to("/")).exists():
        raise CommandError(
            1,
            f"the Debian package has installed the service ({PACKAGED_UNIT})",
            "use that one, or remove the package first: apt-get remove partpay-bridge",
        )
    why = None if uninstall else why_not(where)
    if why is not None:
        raise CommandError(
            1,
            f"the service could not run this program: {why}",
            "install it for all users, in /opt/partpay-bridge: see docs/technician.md",
        )


def systemd_release() -> int | None:
    """The number of systemd's release; None where there is none."""
    try:
        told = _run(("systemctl", "--version")).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"systemd (\d+)", told)
    return int(found[1]) if found else None


def _carried_out(step: Step, below: Path, *, dry_run: bool, runs: bool) -> tuple[str, str, bool]:
    """What is done, to what, and whether it was (or would be)."""
    match step:
        case Write(path=path, text=text, once=once):
            real = below / path.relative_to("/")
            if once and real.exists():
                return "keep", str(path), True
            if not dry_run:
                _put(real, text)
            return "write", str(path), True
        case Link(path=path, to=to):
            real = below / path.relative_to("/")
            if real.exists() and not real.is_symlink():
                return "keep", str(path), True
            if not dry_run:
                real.parent.mkdir(parents=True, exist_ok=True)
                real.unlink(missing_ok=True)
                real.symlink_to(to)
            return "link", f"{path} to {to}", True
        case Remove(path=path, to=aim):
            real = below / path.relative_to("/")
            if not os.path.lexists(real):
                return "miss", str(path), True
            if aim is not None and not (real.is_symlink() and real.readlink() == aim):
                return "keep", str(path), True
            if not dry_run:
                real.unlink()
            return "remove", str(path), True
        case Run(words=words):
            if not runs and words[:2] == ("systemctl", "enable"):
                words = ("systemctl", f"--root={below}", *words[1:])
            elif not runs:
                return "leave", " ".join(words), True
            return "run", " ".join(words), dry_run or _was_run(words)
        case _:
            assert_never(step)


def _put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(file)


def _was_run(words: tuple[str, ...]) -> bool:
    if shutil.which(words[0]) is None:
        return False
    try:
        done = _run(words)
    except (OSError, subprocess.SubprocessError):
        return False
    if done.returncode:
        click.echo(f"{words[0]}: {done.stderr.strip()}", err=True)
    return done.returncode == 0


def _run(words: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 (the words are of this file)
        words, capture_output=True, text=True, check=False, timeout=RUN_LIMIT_S
    )


_SHOWN: Final = {
    "write": ("would write", "wrote"),
    "keep": ("would keep", "kept"),
    "link": ("would link", "linked"),
    "remove": ("would remove", "removed"),
    "run": ("would run", "ran"),
    "leave": ("would leave to the first start", "left to the first start"),
}


def _tell(told: list[dict[str, Any]], *, dry_run: bool, uninstall: bool) -> None:
    if wants_json():
        put_json({"dry_run": dry_run, "steps": told})
        return
    for step in told:
        if step["does"] == "miss":
            continue
        verb = _SHOWN[step["does"]][0 if dry_run else 1] if step["done"] else "could not run"
        click.echo(f"{verb} {step['what']}")
    if not dry_run and not uninstall:
        click.echo(
            f"\nnext: edit {CONFIG}, partpay-bridge check-config, systemctl start partpay-bridge",
            err=True,
        )
