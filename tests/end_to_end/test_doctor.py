"""The doctor's whole round, with the program itself, the daemon up and down, and some faults at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bridge.doctor.checks import CHECKS
from tests.drivers.slow_line import TerminalAtSpeed
from tests.drivers.test_holders import process_named
from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tools.daemon_process import BridgeFolder, DaemonProcess
from tools.terminal.core import Device

OTHERS = {"other-daemons", "service"}
"""What depends on what else runs on the machine that tests."""


def doctor(folder: BridgeFolder) -> tuple[list[dict[str, Any]], int]:
    """What it finds to be wrong, but for OTHERS; and its exit status. The diagnosis must be whole."""
    done = folder.command("doctor", "--json", check=False)
    told = json.loads(done.stdout)
    assert told["complete"] is True
    assert told["looked_at"] == len(told["findings"])
    assert "the check itself failed" not in done.stdout
    wrong = [one for one in told["findings"] if one["level"] == "wrong"]
    assert told["wrong"] == len(wrong)
    assert done.returncode == (1 if wrong else 0)
    assert all(one["remedy"] for one in wrong)
    return [one for one in wrong if one["check"] not in OTHERS], done.returncode


@contextmanager
def at_speed(shop: Shop, baud: int, dialect: str = "native", **more: Any) -> Iterator[None]:
    """Another terminal in place of the shop's own."""
    port = shop.terminal.port
    shop.terminal.close()
    device = Device(terminal_id="T0000001", serial_number="SN1")
    with TerminalAtSpeed(port, baud, dialect=dialect, device=more.get("device", device)):
        yield


def test_all_is_well_with_the_daemon_up(shop: Shop) -> None:
    shop.sell()
    wrong, _ = doctor(shop.folder)
    assert wrong == []
    text = shop.folder.command("doctor", check=False).stdout
    last = text.splitlines()[-1]
    assert last.startswith("end of the diagnosis: ")
    for check in ("port-names", "callback-way", "credentials"):
        assert check in {one.name for one in CHECKS}
    assert "it came in here" in text
    shop.sell()


def test_with_the_daemon_down_only_that_is_wrong(shop: Shop) -> None:
    shop.sell()
    shop.daemon.stop()
    wrong, status = doctor(shop.folder)
    assert [one["check"] for one in wrong] == ["daemon"]
    assert status == 1
    shop.daemon.start()
    shop.terminal.wait_for("ready", WAIT_S, paired=True)
    shop.sell()


def test_before_anything_is_set_up(make_shop: MakeShop, tmp_path: Path) -> None:
    shop = make_shop(start=False)
    shutil.rmtree(shop.folder.state_dir)
    wrong, _ = doctor(shop.folder)
    assert {one["check"] for one in wrong} == {"daemon", "registry"}
    assert not shop.folder.state_dir.exists()


def test_a_configuration_that_cannot_be_read(make_shop: MakeShop) -> None:
    shop = make_shop(start=False)
    shop.folder.config.write_text("[bridge\n")
    wrong, _ = doctor(shop.folder)
    assert [one["check"] for one in wrong] == ["configuration"]


@pytest.mark.parametrize(
    ("baud", "dialect", "remedy"),
    [
        (9_600, "native", "--dialect native --baud 9600"),
        (115_200, "classic", "--dialect classic --baud 115200"),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_a_terminal_in_another_setting(
    make_shop: MakeShop, baud: int, dialect: str, remedy: str, running: bool
) -> None:
    shop = make_shop(start=False)
    with at_speed(shop, baud, dialect):
        if running:
            shop.daemon.start()
        wrong, _ = doctor(shop.folder)
        (told,) = [one for one in wrong if one["check"] == "terminals"]
        command = f"partpay-bridge terminals set T0000001/SN1 {remedy}"
        assert told["remedy"] == command
        shop.folder.command(*command.split()[1:])
        wrong, _ = doctor(shop.folder)
        assert [one["check"] for one in wrong] in ([], ["daemon"])


def test_a_terminal_that_is_not_paired(make_shop: MakeShop) -> None:
    shop = make_shop(start=False)
    with at_speed(shop, 115_200, device=Device(terminal_id="T0000001", serial_number="SNX")):
        wrong, _ = doctor(shop.folder)
    assert [one["check"] for one in wrong] == ["daemon", "terminals"]
    assert wrong[1]["remedy"].startswith("partpay-bridge pair ")


def test_several_faults_at_once(make_shop: MakeShop, tmp_path: Path) -> None:
    shop = make_shop(
        start=False, partpay={"callback_url": "https://nowhere.invalid/partpay-callback"}
    )
    folder = shop.folder
    (folder.path / "callback-key").chmod(0o644)
    (folder.path / "client-secret").write_text("another\n")
    theirs = os.open(shop.terminal.port, os.O_RDWR | os.O_NOCTTY)
    with process_named(tmp_path, "ModemManager", theirs):
        os.close(theirs)
        wrong, _ = doctor(folder)
    found = {(one["check"], one["remedy"].split("   #")[0]) for one in wrong}
    assert ("port-holders", "systemctl disable --now ModemManager") in found
    assert ("callback-address", "resolvectl query nowhere.invalid") in found
    assert {check for check, _ in found} == {
        *("secrets", "daemon", "port-holders", "credentials", "callback-address"),
    }


def test_a_merchant_that_is_not_allowed_and_a_callback_that_goes_elsewhere(
    make_shop: MakeShop,
) -> None:
    shop = make_shop()
    elsewhere = f"{shop.sandbox.url}/partpay-callback"
    text = shop.folder.config.read_text()
    shop.daemon.stop()
    shop.folder.config.write_text(text.replace(shop.url("/partpay-callback"), elsewhere))
    shop.daemon.start()
    shop.terminal.wait_for("ready", WAIT_S, paired=True)
    shop.sandbox.put_fault("status", "answer", times=0, status=403)
    wrong, _ = doctor(shop.folder)
    assert [one["check"] for one in wrong] == ["credentials", "callback-way"]
    assert "it did not come in here: 404" in wrong[1]["found"]


def test_two_daemons(make_shop: MakeShop, tmp_path: Path) -> None:
    shop = make_shop()
    second = BridgeFolder(tmp_path / "second", shop.sandbox.url)
    second.write()
    with DaemonProcess(second) as other:
        told = shop.folder.command("doctor", "--json", check=False).stdout
        (found,) = [one for one in json.loads(told)["findings"] if one["check"] == "other-daemons"]
        assert found["level"] == "wrong"
        assert f"process {other.pid}: " in found["found"]
        assert str(shop.daemon.pid) not in found["remedy"].split("kill ")[1].split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_right_to_open_the_port(make_shop: MakeShop) -> None:
    shop = make_shop(start=False)
    nobody = 65534
    with TemporaryDirectory() as name:  # tmp_path is root's alone, all the way up
        Path(name).chmod(0o755)
        folder = BridgeFolder(Path(name) / "bridge", shop.sandbox.url)
        folder.write()
        port = str(Path(name) / "line")
        with TerminalAtSpeed(port) as terminal:
            folder.register({"1001": "Books"}, [])
            known = ("--terminal-id", "T0000001", "--serial", "SN1", "--dialect", "native")
            folder.command("terminals", "add", *known, "--merchant", "1001", "--port", port)
            for path in [*folder.path.rglob("*"), folder.path]:
                os.chown(path, nobody, nobody)
            script = "from bridge.cli.main import main; main()"
            words = [sys.executable, "-c", script, "doctor", "--json", "--config", folder.config]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            told = json.loads(done.stdout)
            wrong = [one for one in told["findings"] if one["level"] == "wrong"]
            (rights,) = [one for one in wrong if one["check"] == "port-rights"]
            assert f"user nobody may not open {Path(port).resolve()}" in rights["found"]
            assert done.returncode == 1
            assert not [event for event in terminal.events if event.kind == "received"]
        assert {path.stat().st_uid for path in folder.state_dir.iterdir()} == {nobody}
