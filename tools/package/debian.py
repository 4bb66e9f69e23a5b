"""A Debian to try the package in: a debootstrap tree, entered by chroot or booted with its own systemd.

Rules
- Needs root, debootstrap and the network. Mirror and proxy are those of this machine's apt; they go into the tree
  and nowhere else.
- Booting is systemd-nspawn's, which needs no running systemd around it. Network and loopback are shared, so that
  PartPay's sandbox outside is reached at 127.0.0.1.
- A context manager leaves nothing running and nothing mounted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.package.tree import CannotBuild, run

BASE = ("systemd", "systemd-sysv", "dbus", "udev", "ca-certificates")
PROJECT = "/mnt/project"
"""Where the sources are seen in the tree: the simulated terminal runs from there."""
CLEAN = (
    *("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    *("HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"),
)
"""Nothing of this machine's environment goes into the tree."""
BOOT_S = 60.0
POWER_OFF_S = 20.0


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where this machine's apt gets the release that it runs."""

    site: str
    suite: str
    lines: tuple[str, ...]
    settings: str


def mirror(suite: str) -> Mirror:
    """Of apt's own configuration. Raises CannotBuild."""
    targets = run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages",
         "Origin: Debian"]
    ).split("\n")  # fmt: skip
    known = [line.split() for line in dict.fromkeys(targets) if line.strip()]
    sites = [site for site, release, component in known if release == suite and component == "main"]
    if not sites:
        raise CannotBuild(
            f"apt knows no Debian {suite} here; run apt-get update, or name another --suite"
        )
    lines = tuple(
        f"deb {site} {release} {component}"
        for site, release, component in known
        if release.partition("-")[0] == suite
    )
    settings = "\n".join(
        line
        for line in run(["apt-config", "dump"]).splitlines()
        if re.match(r"Acquire::(http|https)::(?!User-Agent)\S+ \"[^\"]", line)
    )
    return Mirror(sites[0], suite, lines, settings)


def bootstrap(tree: Path, source: Mirror) -> None:
    """A minimal Debian with systemd. Raises CannotBuild."""
    for needed in ("debootstrap", "chroot", "mount"):
        if shutil.which(needed) is None:
            raise CannotBuild(f"{needed} is missing: apt-get install debootstrap")
    run(
        [
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(BASE)}",
            source.suite,
            tree,
            source.site,
        ]
    )
    (tree / "etc/apt/sources.list").write_text("\n".join(source.lines) + "\n")
    (tree / "etc/apt/apt.conf.d/90-of-the-machine").write_text(source.settings + "\n")
    (tree / "mnt/project").mkdir()
    run([*_chroot(tree), "apt-get", "update", "-qq"])


def _chroot(tree: Path) -> tuple[str, ...]:
    return ("chroot", str(tree), *CLEAN)


@dataclass(frozen=True, slots=True)
class Debian:
    """A tree that commands can be run in. enter: the words that lead into it."""

    tree: Path
    enter: tuple[str, ...]

    def run(
        self, *words: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Raises AssertionError with all that was said, where it fails."""
        done = subprocess.run(
            [*self.enter, *words], capture_output=True, text=True, check=False, input=stdin
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def out(self, *words: str) -> str:
        return self.run(*words).stdout.strip()

    def write(self, path: str, text: str, *, owner: str = "root", mode: str = "0644") -> None:
        self.run("install", "-D", "-m", mode, "-o", owner, "/dev/stdin", path, stdin=text)

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.tree / path.lstrip("/"))

    def files(self) -> set[str]:
        """All that is in the tree but what the system itself writes as it runs."""
        passing = re.compile(
            r"/(dev|proc|sys|run|tmp|root|mnt|var/(log|cache|tmp|lib/(dpkg|apt|systemd|private))"
            r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc/(machine-id|ld\.so\.cache|\.pwd\.lock))"
        )
        found = set()
        for folder, folders, names in os.walk(self.tree):
            here = "/" + os.path.relpath(folder, self.tree).removeprefix(".")
            here = here if here != "/" else ""
            folders[:] = [name for name in folders if not passing.match(f"{here}/{name}")]
            found |= {
                path for name in (*folders, *names) if not passing.match(path := f"{here}/{name}")
            }
        return found


@contextmanager
def entered(tree: Path, project: Path) -> Iterator[Debian]:
    """By chroot: no systemd runs in it."""
    mounts = [("-t", "proc", "proc", tree / "proc"), ("--rbind", "/dev", tree / "dev"),
              ("--bind", project, tree / PROJECT.lstrip("/"))]  # fmt: skip
    mounted: list[Path] = []
    try:
        for *words, place in mounts:
            run(["mount", *words, place])
            run(["mount", "--make-rslave", place])
            mounted.append(Path(place))
        yield Debian(tree, _chroot(tree))
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", "-R", "-l", place], check=False, capture_output=True)


@contextmanager
def booted(tree: Path, project: Path, devices: Sequence[str] = ()) -> Iterator[Debian]:
    """With its own systemd as process 1. devices: nodes of this machine that it has too.

    Raises CannotBuild where it does not come up.
    """
    if shutil.which("systemd-nspawn") is None:
        raise CannotBuild("systemd-nspawn is missing: apt-get install systemd-container")
    log = tree.parent / "boot.log"
    words = ["systemd-nspawn", "--quiet", "--register=no", "--console=pipe", f"--directory={tree}",
             f"--bind-ro={project}:{PROJECT}", *(f"--bind={device}" for device in devices), "--boot"]  # fmt: skip
    if not Path("/run/systemd/system").is_dir():
        words.insert(1, "--keep-unit")
    with log.open("w") as said:
        nspawn = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
    try:
        debian = _up(tree, nspawn, log)
        yield debian
        debian.run("systemctl", "poweroff", check=False)
        nspawn.wait(POWER_OFF_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if nspawn.poll() is None:
            nspawn.terminate()
            nspawn.terminate()
            try:
                nspawn.wait(POWER_OFF_S)
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()


def _up(tree: Path, nspawn: subprocess.Popen[bytes], log: Path) -> Debian:
    ends = time.monotonic() + BOOT_S
    while time.monotonic() < ends and nspawn.poll() is None:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        if children:
            # Not its user namespace: there is none.
            enter = (
                *("nsenter", "--target", children[0], "--mount", "--uts", "--ipc", "--pid"),
                *("--cgroup", *CLEAN),
            )
            debian = Debian(tree, enter)
            state = debian.run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in {"running", "degraded"}:
                return debian
        time.sleep(0.2)
    raise CannotBuild(f"the tree does not boot:\n{log.read_text(errors='replace')[-2000:]}")
