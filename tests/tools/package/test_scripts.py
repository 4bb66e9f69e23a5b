"""The package's own scripts, run by sh in a folder that stands for the machine, with commands recorded."""

import os
import subprocess
from pathlib import Path

import pytest

from tools.package.__main__ import SCRIPTS

COMMANDS = (
    *(
        "systemctl",
        "systemd-sysusers",
        "systemd-tmpfiles",
        "deb-systemd-helper",
        "deb-systemd-invoke",
    ),
    *("udevadm", "partpay-bridge", "chown"),
)


class Machine:
    """`/` of the scripts is this folder: their paths are rewritten before they are run."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.said = folder / "said"
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        self.said.touch()
        for name in ("run/systemd/system", "var/lib", "etc", "usr/lib/systemd/system", "usr/bin"):
            (self.root / name).mkdir(parents=True)
        for name in COMMANDS:
            self.program(name, "exit 0")
        self.program("systemctl", 'if [ "$1" = --version ]; then echo "systemd 252 (x)"; fi')
        (self.root / "usr/bin/deb-systemd-helper").touch(mode=0o755)

    def program(self, name: str, body: str) -> None:
        file = self.programs / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.said}\n{body}\n')
        file.chmod(0o755)

    def run(self, script: str, *words: str) -> str:
        text = (SCRIPTS / script).read_text()
        for place in ("/usr/lib/", "/usr/bin/", "/var/", "/etc/", "/run/"):
            text = text.replace(place, f"{self.root}{place}")
        self.said.write_text("")
        done = subprocess.run(
            ["sh", "-c", text, script, *words],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{self.programs}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def calls(self) -> list[str]:
        return self.said.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


DROP_IN = "usr/lib/systemd/system/partpay-bridge.service.d/growing-pauses.conf"


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("systemd 252 (252.39-1~deb12u2)", "growing-pauses-before-254.conf"),
        ("systemd 254 (254.1)", "growing-pauses.conf"),
        ("systemd 257 (257.8-1~deb13u2)", "growing-pauses.conf"),
        ("", "growing-pauses-before-254.conf"),
    ],
)
def test_pauses_grow_by_what_this_systemd_knows(machine: Machine, release: str, name: str) -> None:
    machine.program("systemctl", f'if [ "$1" = --version ]; then echo "{release}"; fi')
    machine.run("postinst", "configure", "")
    assert (machine.root / DROP_IN).readlink().name == name


def test_it_starts_where_the_configuration_can_be_used(machine: Machine) -> None:
    machine.run("postinst", "configure", "1.0")
    assert "deb-systemd-invoke start partpay-bridge.service" in machine.calls


def test_what_is_wrong_is_said_where_it_cannot(machine: Machine) -> None:
    machine.program("partpay-bridge", "echo 'bridge.toml:31: no secret'; exit 2")
    said = machine.run("postinst", "configure", "")
    assert "  bridge.toml:31: no secret\n" in said
    assert not any(call.startswith("deb-systemd-invoke start") for call in machine.calls)


def test_who_switched_it_off_finds_it_off(machine: Machine) -> None:
    machine.program("deb-systemd-helper", 'case "$*" in *was-enabled*) exit 1;; esac')
    machine.run("postinst", "configure", "1.0")
    assert not any("helper enable" in call for call in machine.calls)


@pytest.mark.parametrize("why", ["remove", "upgrade"])
def test_it_is_stopped_before_its_files_change(machine: Machine, why: str) -> None:
    machine.run("prerm", why)
    assert machine.calls[-1] == "deb-systemd-invoke stop partpay-bridge.service"


def test_what_rests_is_said_at_a_removal(machine: Machine) -> None:
    machine.program(
        "partpay-bridge",
        """echo '{"tenders": {"open": 0, "unstored": 2, "owed": 1, "attention": 0}}'""",
    )
    python = machine.root / "usr/lib/partpay-bridge/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/usr/bin/env")
    python.unlink()
    python.write_text('#!/bin/sh\nexec python3 "$@"\n')
    python.chmod(0o755)
    said = machine.run("prerm", "remove")
    assert "1 with a reversal owed, 2 not stored by their terminals" in said
    assert "open" not in said


def test_a_purge_leaves_the_journal_and_nothing_else(machine: Machine) -> None:
    state = machine.root / "var/lib/partpay-bridge"
    state.mkdir()
    (state / "journal.db").write_text("money")
    (machine.root / "etc/partpay-bridge").mkdir()
    (machine.root / "etc/partpay-bridge/client-secret").write_text("s")
    (machine.root / "var/lib/partpay-bridge-root/usr").mkdir(parents=True)
    machine.run("postinst", "configure", "")
    machine.run("postrm", "remove")
    assert (state / "journal.db").exists()
    said = machine.run("postrm", "purge")
    left = list(machine.root.rglob("*partpay*"))
    assert [file.name for file in left] == ["partpay-bridge"]
    kept = list((machine.root / "var/backups/partpay-bridge").rglob("journal.db"))
    assert [file.read_text() for file in kept] == ["money"]
    assert f"kept in {kept[0].parent}" in said
    assert not (machine.root / DROP_IN).is_symlink()


def test_a_purge_without_a_journal_leaves_nothing(machine: Machine) -> None:
    (machine.root / "var/lib/partpay-bridge").mkdir()
    assert machine.run("postrm", "purge") == ""
    assert not list(machine.root.rglob("*partpay*"))
