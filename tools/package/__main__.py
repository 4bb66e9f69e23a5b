"""Builds the Debian package, for the release of Debian (or its kin) that this machine runs."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from bridge.cli.main import program
from tools.package import deb, tree
from tools.package.tree import CannotBuild, run

TOP = Path(__file__).parents[2]
LOCK = TOP / "tools" / "lock" / "run.txt"
SCRIPTS = Path(__file__).parent / "scripts"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/build-deb", description=__doc__)
    parser.add_argument("--output", type=Path, default=TOP / "dist", metavar="DIR",
                        help="where the package goes (dist)")  # fmt: skip
    parser.add_argument("--wheels", type=Path, default=TOP / "build" / "wheels", metavar="DIR",
                        help="where wheels are kept (build/wheels)")  # fmt: skip
    parser.add_argument("--offline", action="store_true",
                        help="fetch nothing: every wheel is there from an earlier build")  # fmt: skip
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        package = build(options.output, options.wheels.resolve(), offline=options.offline)
    except (CannotBuild, LookupError) as error:
        print(f"tools/build-deb: {error}", file=sys.stderr)
        return 1
    size = package.stat().st_size / 1e6
    print(f"{package} ({size:.1f} MB, {time.monotonic() - began:.0f} s)")
    return 0


def build(output: Path, wheels: Path, *, offline: bool) -> Path:
    """The package's file. Raises CannotBuild."""
    for needed in ("dpkg-deb", "dpkg-query", "ldd"):
        if shutil.which(needed) is None:
            raise CannotBuild(f"{needed} is missing: build on Debian, or on a kin of it")
    python = tree.interpreter(Path(os.environ.get("PYTHON", "/usr/bin/python3")))
    epoch = source_epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    os.umask(0o022)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="partpay-deb-") as scratch:
        root, own = Path(scratch) / "root", Path(scratch) / "own"
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", own], cwd=TOP)
        if not offline:
            tree.fetch(pip, LOCK, python.path, wheels)
        site = tree.make(root, python, pip, LOCK, wheels, next(own.glob("*.whl")))
        libraries = tree.libraries(site)
        names = [name for library in sorted(libraries) for name in deb.names_of(library)]
        searched = run(["dpkg-query", "--search", *names], may_fail=True)
        facts = deb.Facts(
            version=f"{project_version()}-1+{release()}",
            architecture=run(["dpkg", "--print-architecture"]).strip(),
            python=python.name,
            glibc=tree.glibc_needed(site),
            libraries=tuple(deb.owners(libraries, searched)),
            epoch=epoch,
        )
        deb.place_files(TOP, root)
        deb.place_made(TOP, root, program, facts)
        deb.put(
            root / deb.DOC / "copyright", deb.copyright_text(tree.parts(site), site, root).encode()
        )
        for script in sorted(SCRIPTS.iterdir()):
            deb.put(root / "DEBIAN" / script.name, script.read_bytes(), 0o755)
        deb.put(
            root / "DEBIAN" / "conffiles", "".join(f"{name}\n" for name in deb.CONFFILES).encode()
        )
        deb.put(root / "DEBIAN" / "md5sums", deb.md5sums(root).encode())
        deb.put(root / "DEBIAN" / "control", deb.control(facts, deb.installed_kib(root)).encode())
        deb.settle(root, epoch)
        output.mkdir(parents=True, exist_ok=True)
        package = output / f"{deb.NAME}_{facts.version}_{facts.architecture}.deb"
        run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, package])
    return package


def project_version() -> str:
    with (TOP / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def release() -> str:
    """`deb12`, `ubuntu24.04`: later releases sort later, so that an upgrade of the system takes the package along."""
    told = platform.freedesktop_os_release()
    short = {"debian": "deb"}.get(told["ID"], told["ID"])
    return f"{short}{told.get('VERSION_ID', '')}"


def source_epoch() -> int:
    """The time of the last commit, so that one state of the sources makes one package."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told:
        return int(told)
    try:
        return int(run(["git", "-C", TOP, "log", "-1", "--format=%ct"]))
    except (CannotBuild, OSError, ValueError):
        return int((TOP / "pyproject.toml").stat().st_mtime)


if __name__ == "__main__":
    sys.exit(main())
