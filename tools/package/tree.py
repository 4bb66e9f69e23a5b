"""The program's own environment, as it lies on the machine: /usr/lib/partpay-bridge.

Rules
- Every package is of the version and hash in `tools/lock/run.txt`, and a wheel: nothing of others is built here.
- What is made depends on the sources, the lock files and the interpreter alone, not on where or when: no paths of
  this machine, no times, byte code that is checked against nothing.
- The interpreter is Debian's, by its whole name (python3.11): compiled modules fit that one only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PLACE = Path("usr/lib/partpay-bridge")
LAUNCHER = """\
#!/usr/lib/partpay-bridge/bin/python -I
import sys

from bridge.cli.main import main

sys.exit(main())
"""
"""-I: neither the caller's environment nor the folder it stands in decides what is loaded."""


class CannotBuild(Exception):  # noqa: N818 - says what it is
    """The package cannot be built: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of the system. name: as Debian's package and its file are called. release: "3.11"."""

    path: Path
    name: str
    release: str


@dataclass(frozen=True, slots=True)
class Part:
    """A package inside the tree, for the copyright file. licence_files: below the tree's root."""

    name: str
    version: str
    licence: str
    licence_files: tuple[Path, ...]


def interpreter(path: Path) -> Interpreter:
    """Looks at it. Raises CannotBuild."""
    asked = "import sys; print(sys.base_prefix, '%d.%d' % sys.version_info[:2])"
    try:
        prefix, release = run([path, "-I", "-c", asked]).split()
    except (OSError, ValueError) as error:
        raise CannotBuild(f"{path} is no Python: {error}; name one by PYTHON=") from error
    if prefix != "/usr":
        raise CannotBuild(
            f"{path} is not the system's (its prefix is {prefix}), which alone the shop's machine has; "
            "install python3, or name it by PYTHON="
        )
    return Interpreter(path, f"python{release}", release)


def fetch(pip: Sequence[str | Path], lock: Path, python: Path, wheels: Path) -> None:
    """All wheels of the lock file into `wheels`; what is there already is not fetched again."""
    run([*pip, "--python", python, "download", "--quiet", "--no-deps", "--require-hashes",
         "--only-binary", ":all:", "--find-links", wheels, "--dest", wheels, "-r", lock])  # fmt: skip


def make(
    root: Path, python: Interpreter, pip: Sequence[str | Path], lock: Path, wheels: Path, ours: Path
) -> Path:
    """The tree below `root`, from the wheels alone (no network). `ours`: the project's wheel. Its site-packages."""
    place = root / PLACE
    run([python.path, "-I", "-m", "venv", "--without-pip", "--symlinks", place])
    offline = [*pip, "--python", place / "bin" / "python3", "install", "--quiet", "--no-compile", "--no-index",
               "--no-deps", "--no-warn-script-location"]  # fmt: skip
    run(
        [*offline, "--find-links", wheels, "--require-hashes", "--only-binary", ":all:", "-r", lock]
    )
    run([*offline, ours])
    site = place / "lib" / python.name / "site-packages"
    _forget_this_machine(site)
    _lay_programs(place, python)
    _byte_compile(root, place, python)
    return site


def _forget_this_machine(site: Path) -> None:
    for left in site.rglob(".gitignore"):
        left.unlink()
    for info in site.glob("*.dist-info"):
        # Where the wheel was, when it was installed from a file.
        (info / "direct_url.json").unlink(missing_ok=True)
        record = info / "RECORD"
        kept = [
            line
            for line in record.read_text(encoding="utf-8").splitlines()
            if not re.search(r"direct_url\.json|\.gitignore", line)
            and not line.startswith(("../../../bin/", "../../bin/"))
        ]
        record.write_text("\n".join(sorted(kept)) + "\n", encoding="utf-8")


def _lay_programs(place: Path, python: Interpreter) -> None:
    programs = place / "bin"
    shutil.rmtree(programs)
    programs.mkdir()
    (programs / "python").symlink_to(f"/usr/bin/{python.name}")
    launcher = programs / "partpay-bridge"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    for left in ("include", "lib64", "share"):
        found = place / left
        if found.is_symlink():
            found.unlink()
        elif found.exists():
            shutil.rmtree(found)
    (place / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python.release}\n"
    )


def _byte_compile(root: Path, place: Path, python: Interpreter) -> None:
    for cache in place.rglob("__pycache__"):
        shutil.rmtree(cache)
    # One process, one seed: the order in sets and the sharing of constants would differ otherwise.
    run(
        [python.path, "-I", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash",
         "-s", root, "-p", "/", place / "lib"],
        PYTHONHASHSEED="0",
    )  # fmt: skip


def parts(site: Path) -> list[Part]:
    """Every package in the tree but ours, with its licence as it tells it itself."""
    found = []
    for info in sorted(site.glob("*.dist-info")):
        head = (info / "METADATA").read_text(encoding="utf-8").partition("\n\n")[0]
        fields: dict[str, list[str]] = {}
        for name, value in re.findall(r"(?m)^([A-Za-z-]+): (.*)$", head):
            fields.setdefault(name, []).append(value)
        name = fields["Name"][0]
        if name == "partpay-terminal-bridge":
            continue
        classified = [
            one.rpartition(" :: ")[2]
            for one in fields.get("Classifier", [])
            if one.startswith("License ::") and not one.endswith("OSI Approved")
        ]
        told = [
            one
            for one in (*fields.get("License-Expression", []), *fields.get("License", []))
            if one not in ("", "UNKNOWN", "Dual License") and len(one) < 80
        ]
        licence = told[0] if told else " and ".join(classified)
        files = sorted(
            file
            for file in info.rglob("*")
            if file.is_file()
            and re.match(r"(LICEN[SC]E|COPYING|NOTICE|AUTHORS)", file.name.upper())
        )
        found.append(Part(name, fields["Version"][0], licence, tuple(files)))
    return found


def glibc_needed(site: Path) -> str:
    """The oldest glibc that every wheel in the tree is for, by its tags: "2.28"."""
    minors = [17]
    for wheel in site.glob("*.dist-info/WHEEL"):
        tags = re.findall(r"(?m)^Tag: (.*)$", wheel.read_text(encoding="utf-8"))
        fits = [int(minor) for tag in tags for minor in re.findall(r"manylinux_2_(\d+)_", tag)]
        minors += [min(fits)] if fits else []
    return f"2.{max(minors)}"


def libraries(site: Path) -> set[Path]:
    """The system's libraries that the compiled modules load. Raises CannotBuild where one is missing."""
    found = set()
    for module in sorted({*site.rglob("*.so"), *site.rglob("*.so.*")}):
        told = run(["ldd", module])
        for name, path in re.findall(r"(?m)^\s*(\S+) => (.*?)(?: \(0x[0-9a-f]+\))?$", told):
            if path == "not found":
                raise CannotBuild(f"{module.relative_to(site)} needs {name}, which is nowhere")
            if not Path(path).resolve().is_relative_to(site.resolve()):
                found.add(Path(path))
    return found


def run(
    words: Sequence[str | Path],
    *,
    may_fail: bool = False,
    cwd: Path | None = None,
    **environment: str,
) -> str:
    """Its standard output. Raises CannotBuild with what it said."""
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **environment},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not may_fail:
        said = (done.stderr or done.stdout).strip()
        raise CannotBuild(
            f"{' '.join(map(str, words[:6]))} …: exit status {done.returncode}\n{said}"
        )
    return done.stdout
