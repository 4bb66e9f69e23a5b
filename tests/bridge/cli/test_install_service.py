"""What `install-service` writes and takes away, below a folder that stands for a machine."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bridge.cli import install_service as service
from bridge.cli.install_service import Installed, pauses_for, service_files, unit_for, why_not

Invoke = Callable[..., Any]
TOP = Path(__file__).parents[3]


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """An environment that all users can read: not below `tmp_path`, which is its owner's alone."""
    with TemporaryDirectory() as folder:
        prefix = Path(folder) / "opt" / "partpay-bridge"
        yield _installed(prefix, Path(folder), monkeypatch)


def _installed(prefix: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib" / "python3.11").mkdir(parents=True)
    for name in ("partpay-bridge", "python"):
        (prefix / "bin" / name).touch(mode=0o755)
    for folder in (prefix, *prefix.parents):
        if folder.is_relative_to(top):
            folder.chmod(folder.stat().st_mode | 0o055)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(service, "HIDDEN", ())
    return Installed(prefix, Path("/usr"))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    folder = tmp_path / "machine"
    folder.mkdir()
    return folder


def written(folder: Path) -> set[str]:
    return {
        f"/{file.relative_to(folder)}"
        for file in folder.rglob("*")
        if file.is_file() or file.is_symlink()
    }


def test_it_brings_what_the_package_brings(
    bare: Invoke, where: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_was_run", lambda words: True)
    assert bare("install-service", "--root", str(machine)).exit_status == 0
    assert written(machine) == {
        "/etc/systemd/system/partpay-bridge.service",
        "/etc/systemd/system/partpay-bridge.service.d/10-growing-pauses.conf",
        "/etc/sysusers.d/partpay-bridge.conf",
        "/etc/tmpfiles.d/partpay-bridge.conf",
        "/etc/udev/rules.d/70-partpay-bridge.rules",
        "/etc/partpay-bridge/bridge.toml",
        "/usr/local/bin/partpay-bridge",
        "/usr/local/share/man/man5/bridge.toml.5",
        "/usr/local/share/man/man8/partpay-bridge.8",
        "/usr/local/share/bash-completion/completions/partpay-bridge",
        "/usr/local/share/zsh/site-functions/_partpay-bridge",
        "/usr/local/share/fish/vendor_completions.d/partpay-bridge.fish",
    }
    unit = (machine / "etc/systemd/system/partpay-bridge.service").read_text()
    assert f"ExecStart={where.program} run\n" in unit
    assert (machine / "usr/local/bin/partpay-bridge").readlink() == where.program


def test_taken_away_it_leaves_configuration_and_secrets_alone(
    bare: Invoke, where: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_was_run", lambda words: True)
    bare("install-service", "--root", str(machine))
    (machine / "etc/partpay-bridge/client-secret").write_text("s")
    done = bare("install-service", "--uninstall", "--root", str(machine))
    assert done.exit_status == 0
    assert written(machine) == {
        "/etc/partpay-bridge/bridge.toml",
        "/etc/partpay-bridge/client-secret",
    }
    again = bare("install-service", "--uninstall", "--root", str(machine))
    assert (again.exit_status, "removed" in again.out) == (0, False)


def test_a_command_of_somebody_elses_is_kept(
    bare: Invoke, where: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_was_run", lambda words: True)
    other = machine / "usr/local/bin/partpay-bridge"
    other.parent.mkdir(parents=True)
    other.write_text("other")
    for words in (("install-service",), ("install-service", "--uninstall")):
        assert bare(*words, "--root", str(machine)).exit_status == 0
        assert other.read_text() == "other"


def test_a_configuration_that_is_there_is_kept(
    bare: Invoke, where: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_was_run", lambda words: True)
    config = machine / "etc/partpay-bridge/bridge.toml"
    config.parent.mkdir(parents=True)
    config.write_text("mine")
    done = bare("install-service", "--root", str(machine))
    assert config.read_text() == "mine"
    assert "kept /etc/partpay-bridge/bridge.toml" in done.out


def test_a_dry_run_says_the_same_and_does_nothing(
    bare: Invoke, where: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(service, "_was_run", lambda words: ran.append(words) or True)
    told = bare("install-service", "--dry-run", "--json", "--root", str(machine)).json
    assert (written(machine), ran) == (set(), [])
    done = bare("install-service", "--json", "--root", str(machine)).json
    assert told["steps"] == done["steps"]
    assert ran == [("systemctl", f"--root={machine}", "enable", "partpay-bridge.service")]


def test_beside_the_package_it_refuses(bare: Invoke, where: Installed, machine: Path) -> None:
    packaged = machine / "usr/lib/systemd/system/partpay-bridge.service"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    done = bare("install-service", "--root", str(machine))
    assert done.exit_status == 1
    assert "Debian package" in done.err
    assert written(machine) == {"/usr/lib/systemd/system/partpay-bridge.service"}


def test_a_program_in_somebodys_home_is_refused(
    bare: Invoke, where: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "HIDDEN", (where.prefix.parent,))
    done = bare("install-service", "--root", str(machine))
    assert done.exit_status == 1
    assert "cannot see" in done.err
    assert "/opt/partpay-bridge" in done.err
    assert written(machine) == set()


def test_a_program_that_others_cannot_read_is_refused(where: Installed) -> None:
    assert why_not(where) is None
    where.prefix.chmod(0o700)
    assert "cannot be read by other users" in str(why_not(where))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do it")
def test_who_is_not_root_is_told_so(bare: Invoke, where: Installed) -> None:
    done = bare("install-service")
    assert (done.exit_status, "root" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("prefix", "base", "shown"),
    [
        ("/opt/partpay-bridge", "/usr", []),
        ("/usr/local/lib/bridge", "/usr/local", []),
        ("/srv/bridge", "/usr", ["/srv/bridge"]),
        ("/srv/bridge", "/srv/python", ["/srv/bridge", "/srv/python"]),
    ],
)
def test_the_unit_shows_the_program_to_itself(prefix: str, base: str, shown: list[str]) -> None:
    text = service_files().joinpath("partpay-bridge.service").read_text()
    made = unit_for(Installed(Path(prefix), Path(base)), text)
    before, after = (set(re.findall(r"(?m)^BindReadOnlyPaths=(.*)$", one)) for one in (text, made))
    assert after - before == set(shown)
    assert f"ExecStart={prefix}/bin/partpay-bridge run" in made


@pytest.mark.parametrize(
    ("release", "name"),
    [
        (None, "growing-pauses-before-254.conf"),
        (252, "growing-pauses-before-254.conf"),
        (254, "growing-pauses.conf"),
        (257, "growing-pauses.conf"),
    ],
)
def test_pauses_grow_by_what_this_systemd_knows(release: int | None, name: str) -> None:
    assert pauses_for(release) == name


def test_the_wheel_has_the_same_files_as_the_sources() -> None:
    project = (TOP / "pyproject.toml").read_text()
    assert re.search(r'force-include\]\n"systemd" = "config/systemd"', project)
    assert service_files().joinpath("partpay-bridge.service").is_file()
