"""Checks of this machine, each with the fault that it is for."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import namedtuple
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.install_service import service_files
from bridge.config import ConfigError, load
from bridge.doctor import machine
from bridge.doctor.finding import Check, Level, examine, ok
from bridge.doctor.machine import daemons_in
from bridge.doctor.patient import Service
from bridge.ports import World
from bridge.registry import Merchant
from drivers.discovery import Inventory
from tests.bridge.doctor.conftest import MakePatient, found, status, wrongs
from tests.bridge.shop import Shop

Usage = namedtuple("Usage", "total used free")


# -- how checks are run


def test_a_check_that_fails_ends_nothing() -> None:
    def broken(patient: int) -> Any:
        yield ok("first", "good")
        raise ZeroDivisionError("of its own")

    told = list(examine([Check("a", broken), Check("b", lambda patient: [ok("it", "good")])], 1))
    assert [(one.check, one.level) for one in told] == [
        ("a", Level.OK),
        ("a", Level.WRONG),
        ("b", Level.OK),
    ]
    assert "ZeroDivisionError: of its own" in told[1].found


# -- configuration and secrets


def test_everything_wrong_with_the_configuration(tmp_path: Path, make_patient: MakePatient) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[bridge]\nstroe = "AKL01"\n')
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    patient = replace(make_patient(), file=file, settings=None, problems=raised.value.problems)
    told = wrongs(patient, "configuration")
    assert f"{file}:2, bridge.stroe" in [one.looked_at for one in told]
    assert len(told) == len(raised.value.problems)


def test_a_configuration_that_can_be_used(make_patient: MakePatient) -> None:
    assert found(make_patient(), "configuration", level=Level.OK)


def test_a_secret_that_all_can_read(make_patient: MakePatient, tmp_path: Path) -> None:
    patient = make_patient()
    assert wrongs(patient, "secrets") == []
    secret = tmp_path / "client-secret"
    secret.chmod(0o644)
    (told,) = wrongs(patient, "secrets")
    assert told.found == "can be read by others (mode 0644)"
    assert told.remedy is not None and told.remedy.startswith(f"chmod 600 {secret}")
    assert "s3cret" not in str(told)


def test_a_merchants_own_files(make_patient: MakePatient, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    merchant = Merchant("M2", "Hats", "c", str(tmp_path / "none"), str(key))
    gone = Merchant("M3", "Gone", "c", str(tmp_path / "gone"), None, retired=True)
    told = wrongs(make_patient(merchants=[merchant, gone]), "secrets")
    assert [one.looked_at for one in told] == [
        f"{tmp_path / 'none'}, the secret of merchant M2",
        f"{key}, the callback keys of merchant M2",
    ]
    assert "is empty" in told[1].found


# -- state directory, daemons


def test_a_state_directory_that_others_can_change(
    make_patient: MakePatient, tmp_path: Path
) -> None:
    patient = make_patient()
    assert wrongs(patient, "state-directory") == []
    (tmp_path / "state").chmod(0o777)
    (told,) = wrongs(patient, "state-directory")
    assert told.remedy == f"chmod go-w {tmp_path}/state"


def test_a_state_directory_that_is_not_there_yet(make_patient: MakePatient, tmp_path: Path) -> None:
    patient = make_patient()
    (tmp_path / "state").rmdir()
    (told,) = found(patient, "state-directory")
    assert told.level is Level.NOTE


def test_a_daemon_with_another_socket(make_patient: MakePatient, tmp_path: Path) -> None:
    patient = make_patient()
    lock = tmp_path / "state/lock"
    lock.write_text(json.dumps({"name": "the daemon", "pid": os.getpid()}))
    (told,) = wrongs(patient, "state-directory")
    assert f"process {os.getpid()} has it, and does not answer" in told.found
    assert wrongs(replace(patient, status=status()), "state-directory") == []
    lock.write_text(json.dumps({"name": "a command", "pid": os.getpid()}))
    assert wrongs(patient, "state-directory") == []


def test_no_daemon_and_an_old_one_and_an_unwell_one(make_patient: MakePatient) -> None:
    patient = make_patient(version="1.0")
    (told,) = wrongs(patient, "daemon")
    assert told.remedy == "systemctl start partpay-bridge"
    assert wrongs(replace(patient, status=status()), "daemon") == []
    (told,) = wrongs(replace(patient, status=status(version="0.9")), "daemon")
    assert told.remedy == "systemctl restart partpay-bridge"
    condition = {"code": "attention", "text": "2 sales need a person."}
    (told,) = wrongs(replace(patient, status=status(conditions=[condition])), "daemon")
    assert (told.found, told.remedy) == (
        "2 sales need a person.",
        "partpay-bridge tenders attention",
    )


def call(root: Path, pid: int, *words: str) -> None:
    process = root / "proc" / str(pid)
    process.mkdir(parents=True)
    (process / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")


def test_two_daemons(make_patient: MakePatient, tmp_path: Path) -> None:
    own = ("/opt/x/bin/python", "/opt/x/bin/partpay-bridge", "run")
    call(tmp_path, 4711, *own)
    call(tmp_path, 4712, "/usr/bin/vim", "partpay-bridge", "run")
    call(tmp_path, 4713, *own[:2], "status")
    (tmp_path / "proc/self").mkdir()
    call(tmp_path, 4714)
    patient = make_patient(daemons=daemons_in(tmp_path), status=status())
    (told,) = found(patient, "other-daemons")
    assert (told.level, told.found) == (Level.OK, "one daemon runs")
    call(
        tmp_path,
        99,
        "/usr/lib/x/python",
        "-I",
        "/usr/bin/partpay-bridge",
        "--config",
        "/tmp/other.toml",
        "run",
    )
    (told,) = wrongs(replace(patient, daemons=daemons_in(tmp_path)), "other-daemons")
    assert "2 daemons run" in told.found
    assert "--config /tmp/other.toml" in told.found
    assert told.remedy is not None and told.remedy.endswith("kill 99")


# -- the service


UNIT = service_files().joinpath("partpay-bridge.service").read_text()
RULES = service_files().joinpath("70-partpay-bridge.rules").read_text()
SERVICE = Service(
    unit=UNIT,
    unit_files=(Path("/etc/unit"), Path("/usr/unit")),
    rules=RULES,
    rules_files=(Path("/etc/rules"), Path("/usr/rules")),
    program=Path("/opt/x/bin/partpay-bridge"),
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    for folder in ("etc", "usr", "opt"):
        (tmp_path / folder).mkdir()
    (tmp_path / "opt/program").touch()
    (tmp_path / "etc/unit").write_text(
        UNIT.replace("ExecStart=/usr/bin/partpay-bridge run", "ExecStart=/opt/program run")
    )
    (tmp_path / "etc/rules").write_text(RULES)
    return tmp_path


def test_a_service_of_this_release(make_patient: MakePatient, installed: Path) -> None:
    assert wrongs(make_patient(service=SERVICE), "service") == []


def test_an_old_unit(make_patient: MakePatient, installed: Path) -> None:
    unit = installed / "etc/unit"
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSec=300"))
    (told,) = wrongs(make_patient(service=SERVICE), "service")
    assert "is not this release's (WatchdogSec=30" in told.found
    assert told.remedy is not None and "install-service" in told.remedy


def test_a_unit_that_hides_the_packages(make_patient: MakePatient, installed: Path) -> None:
    (installed / "usr/unit").write_text(UNIT)
    unit = installed / "etc/unit"
    unit.write_text(unit.read_text().replace("Type=notify", "Type=simple"))
    (told,) = wrongs(make_patient(service=SERVICE), "service")
    assert "hides the package's own" in told.found
    assert told.remedy is not None and told.remedy.startswith("rm /etc/unit && systemctl daemon-re")


def test_a_unit_whose_program_is_gone(make_patient: MakePatient, installed: Path) -> None:
    (installed / "opt/program").unlink()
    (told,) = wrongs(make_patient(service=SERVICE), "service")
    assert "/opt/program, which is not there" in told.found


def test_udev_rules_that_are_old_or_missing(make_patient: MakePatient, installed: Path) -> None:
    rules = installed / "etc/rules"
    rules.write_text("# older\n" + RULES.replace("ID_MM_PORT_IGNORE", "ID_MM_PORT"))
    (told,) = wrongs(make_patient(service=SERVICE), "service")
    assert "are not this release's" in told.found
    rules.unlink()
    (told,) = wrongs(make_patient(service=SERVICE), "service")
    assert "are not installed" in told.found


def test_no_service_is_no_fault(make_patient: MakePatient) -> None:
    (told,) = found(make_patient(service=SERVICE), "service")
    assert (told.level, told.remedy) == (Level.NOTE, "partpay-bridge install-service")


# -- disk and journal


@pytest.mark.parametrize(
    ("free_mib", "words"), [(10, "no new sale"), (100, "nearly full"), (10_000, None)]
)
def test_a_disk_that_is_nearly_full(
    make_patient: MakePatient, monkeypatch: pytest.MonkeyPatch, free_mib: int, words: str | None
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free_mib << 20))
    told = wrongs(make_patient(), "disk")
    assert [words in one.found for one in told if words] == ([True] if words else [])
    assert bool(told) is (words is not None)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    shop = Shop(state)
    shop.hello()
    for counter in range(1, 40):
        shop.sell(counter, f"order-{counter}")
        shop.callback("approved", f"order-{counter}", counter=counter)
        shop.status("approved")
        shop.stored(counter)
    shop.engine.close()
    return state / "journal.db"


def test_a_journal_that_is_whole(make_patient: MakePatient, journal: Path) -> None:
    told = found(make_patient(), "journal")
    assert [one.level for one in told] == [Level.OK, Level.OK]


def test_a_journal_with_pages_overwritten(make_patient: MakePatient, journal: Path) -> None:
    with journal.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)
    (told,) = wrongs(make_patient(), "journal")
    assert "damaged" in told.found or "cannot be read" in told.found
    assert told.remedy is not None and "cp -a" in told.remedy


def test_a_journal_that_is_none(make_patient: MakePatient, journal: Path) -> None:
    journal.write_bytes(b"not a database at all" * 500)
    (told,) = wrongs(make_patient(), "journal")
    assert "cannot be read" in told.found


def test_a_journal_whose_past_was_changed(make_patient: MakePatient, journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute("UPDATE events SET at='2026-11-23T00:00' WHERE seq=3")
        db.commit()
    told = wrongs(make_patient(), "journal")
    assert any("event 3 was changed" in one.found for one in told)


def test_a_long_journal_is_left_to_audit(
    make_patient: MakePatient, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "AUDIT_MAX_EVENTS", 10)
    told = found(make_patient(), "journal", level=Level.NOTE)
    assert [one.remedy for one in told] == ["partpay-bridge audit"]


def test_no_journal_yet_is_no_fault(make_patient: MakePatient) -> None:
    (told,) = found(make_patient(), "journal")
    assert told.level is Level.NOTE


# -- the registry


def test_nothing_is_registered(make_patient: MakePatient) -> None:
    told = wrongs(make_patient(merchants=[]), "registry")
    assert [one.remedy and one.remedy.split()[1] for one in told] == ["merchants", "pair"]
    terminal = {"terminal": "T1", "serial": "S1", "port": "/x", "dialect": "native", "baud": 9600}
    world = World(Inventory(()), terminals=[terminal])
    assert wrongs(make_patient(world=world), "registry") == []


def test_a_registry_that_cannot_be_read(make_patient: MakePatient) -> None:
    (told,) = found(make_patient(registry_trouble="it is another environment's"), "registry")
    assert (told.level, told.found) == (Level.UNKNOWN, "it is another environment's")


@pytest.mark.parametrize(
    "check", ["secrets", "state-directory", "daemon", "disk", "journal", "registry", "clock"]
)
def test_without_a_configuration_a_check_says_nothing(
    make_patient: MakePatient, check: str
) -> None:
    assert found(replace(make_patient(), settings=None), check) == []
