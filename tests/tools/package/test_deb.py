"""What stands around the program in the package: files, what dpkg is told, and one time for all."""

import gzip
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from bridge.cli.completion import SHELLS
from bridge.cli.main import program
from tools.package import deb
from tools.package.__main__ import SCRIPTS, project_version
from tools.package.tree import Part

TOP = Path(__file__).parents[3]
FACTS = deb.Facts(
    version="1.2.3-1+deb12",
    architecture="amd64",
    python="python3.11",
    glibc="2.34",
    libraries=("libc6", "libgcc-s1"),
    epoch=1_700_000_000,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    deb.place_files(TOP, folder)
    deb.place_made(TOP, folder, program, FACTS)
    return folder


def test_everything_of_the_service_is_in_its_place(root: Path) -> None:
    for path in (
        "usr/lib/systemd/system/partpay-bridge.service",
        "usr/lib/sysusers.d/partpay-bridge.conf",
        "usr/lib/tmpfiles.d/partpay-bridge.conf",
        "usr/lib/udev/rules.d/70-partpay-bridge.rules",
        "usr/share/man/man8/partpay-bridge.8.gz",
        "usr/share/man/man5/bridge.toml.5.gz",
        "usr/share/doc/partpay-bridge/changelog.Debian.gz",
        "usr/share/doc/partpay-bridge/examples/proxy/Caddyfile",
        "usr/share/doc/partpay-bridge/examples/tunnel/partpay-tunnel.service",
        "etc/partpay-bridge/bridge.toml",
    ):
        assert (root / path).is_file(), path
    assert set(deb.COMPLETIONS) == set(SHELLS)
    for path in deb.COMPLETIONS.values():
        assert "_PARTPAY_BRIDGE_COMPLETE" in (root / path).read_text()


def test_the_command_leads_into_the_tree(root: Path) -> None:
    link = root / "usr/bin/partpay-bridge"
    target = link.parent.resolve() / link.readlink()
    assert target.resolve() == (root / "usr/lib/partpay-bridge/bin/partpay-bridge").resolve()


def test_every_file_of_the_service_goes_somewhere() -> None:
    placed = set(deb.FILES)
    for file in (TOP / "systemd").rglob("*"):
        name = str(file.relative_to(TOP))
        assert file.is_dir() or any(name == one or name.startswith(f"{one}/") for one in placed), (
            name
        )


def test_the_configuration_is_the_administrators(root: Path) -> None:
    assert deb.CONFFILES == ("/etc/partpay-bridge/bridge.toml",)
    etc = {f"/{file.relative_to(root)}" for file in (root / "etc").rglob("*") if file.is_file()}
    assert etc == set(deb.CONFFILES), "what is below /etc is for administrators to change"
    assert "etc/partpay-bridge/bridge.toml" not in deb.md5sums(root)


def test_what_it_needs_is_named_exactly() -> None:
    text = deb.control(FACTS, 1000)
    needs = re.search(r"(?m)^Depends: (.*)$", text)
    assert needs is not None
    assert needs[1].startswith("python3.11, libc6 (>= 2.34), libgcc-s1, ")
    assert "Version: 1.2.3-1+deb12\n" in text
    assert all(len(line) <= 80 for line in deb.DESCRIPTION.splitlines())


def test_the_changelog_is_as_dpkg_reads_it() -> None:
    lines = deb.debian_changelog(FACTS).splitlines()
    assert lines[0] == "partpay-bridge (1.2.3-1+deb12) unstable; urgency=medium"
    assert re.fullmatch(r" -- .+ <\S+@\S+>  Tue, 14 Nov 2023 22:13:20 \+0000", lines[-1])


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project_version() == project["version"]


def test_every_part_has_its_licence(tmp_path: Path) -> None:
    site = tmp_path / deb.PLACE / "lib/python3.11/site-packages"
    licence = site / "thing-1.0.dist-info" / "LICENSE"
    licence.parent.mkdir(parents=True)
    licence.touch()
    text = deb.copyright_text([Part("thing", "1.0", "MIT", (licence,))], site, tmp_path)
    assert "Copyright: the authors of thing 1.0\nLicense: MIT~thing\n" in text
    assert f"/{licence.relative_to(tmp_path)}" in text
    assert "License: Apache-2.0" in text


def test_one_time_and_plain_modes_for_all(root: Path) -> None:
    (root / "usr/x").touch(mode=0o600)
    (root / "usr/y").touch(mode=0o700)
    program = root / deb.PLACE / "bin" / "partpay-bridge"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o700)
    deb.settle(root, FACTS.epoch)
    assert {path.lstat().st_mtime for path in root.rglob("*")} == {FACTS.epoch}
    assert (root / "usr/x").stat().st_mode & 0o777 == 0o644
    assert (root / "usr/y").stat().st_mode & 0o777 == 0o644
    assert program.stat().st_mode & 0o777 == 0o755


def test_the_same_pages_come_out_the_same(root: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    deb.place_files(TOP, again)
    deb.place_made(TOP, again, program, FACTS)
    for file in root.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (again / file.relative_to(root)).read_bytes(), file


def test_pages_carry_no_time() -> None:
    packed = deb.packed("text")
    assert gzip.decompress(packed) == b"text"
    assert packed[4:8] == bytes(4)


def test_libraries_are_found_by_either_of_their_names(tmp_path: Path) -> None:
    told = "libc6:amd64: /lib/x/libc.so.6\nlibgcc-s1:amd64, other:amd64: /lib/x/libgcc_s.so.1\n"
    libraries = [Path("/usr/lib/x/libc.so.6"), Path("/lib/x/libgcc_s.so.1")]
    assert deb.owners(libraries, told) == ["libc6", "libgcc-s1"]
    with pytest.raises(LookupError, match="libz"):
        deb.owners([Path("/usr/lib/x/libz.so")], told)


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_a_script_of_the_package_is_one_that_sh_reads(name: str) -> None:
    script = SCRIPTS / name
    assert script.read_text().startswith("#!/bin/sh\nset -e\n")
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_the_scripts_are_all_that_dpkg_runs() -> None:
    assert {script.name for script in SCRIPTS.iterdir()} == {"postinst", "prerm", "postrm"}


def test_a_purge_keeps_the_journal() -> None:
    text = (SCRIPTS / "postrm").read_text()
    assert text.index('mv $state "$keep"') < text.index("rm -rf $state ")
