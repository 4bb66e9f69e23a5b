"""The unit: what it promises in words, and what systemd itself says of it where it is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bridge.boot import TOLD
from bridge.config import DEFAULT_FILE, SECTIONS
from bridge.secrets_files import CALLBACK_KEY_CREDENTIAL, CLIENT_SECRET_CREDENTIAL
from tests.systemd.unit_file import SYSTEMD, unit

EXPOSURE_MAX = 1.2
"""A ratchet: the best units of a stock Debian have this."""

UNITS = ("partpay-bridge.service", "tunnel/partpay-tunnel.service")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def service(key: str) -> list[str]:
    return unit("partpay-bridge.service")["Service"][key]


def test_it_is_ready_when_it_says_so_and_is_watched() -> None:
    assert service("Type") == ["notify"]
    assert float(service("WatchdogSec")[0]) >= 2 * 10, "a beat may be 10 s old (daemon.STUCK_S)"


def test_it_is_started_again_for_ever_but_for_what_a_person_has_to_mend() -> None:
    assert service("Restart") == ["on-failure"]
    assert service("RestartPreventExitStatus") == ["2"]
    assert unit("partpay-bridge.service")["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_the_user_gets_its_groups_from_sysusers() -> None:
    assert service("SupplementaryGroups") == []
    rows = [line.split() for line in (SYSTEMD / "sysusers.conf").read_text().splitlines()]
    members = [row[1:] for row in rows if row[:1] == ["m"]]
    assert members == [["partpay-bridge", "dialout"], ["partpay-bridge", "lp"]]
    assert service("User") == service("Group") == ["partpay-bridge"]


def test_it_has_the_ports_and_no_other_device() -> None:
    assert service("DevicePolicy") == ["closed"]
    kinds = {value.split()[0] for value in service("DeviceAllow")}
    assert kinds == {"char-ttyUSB", "char-ttyACM", "char-ttyS", "char-usb_device"}


def test_places_agree_with_the_configurations_defaults() -> None:
    state = str(SECTIONS["bridge"]["state_dir"].default)
    socket = Path(str(SECTIONS["control"]["socket"].default))
    assert f"/var/lib/{service('StateDirectory')[0]}" == state
    assert f"/run/{service('RuntimeDirectory')[0]}" == str(socket.parent)
    shown = " ".join(service("BindReadOnlyPaths")).split()
    assert any(DEFAULT_FILE.is_relative_to(path) for path in shown)
    made = {
        line.split()[1]
        for line in (SYSTEMD / "tmpfiles.conf").read_text().splitlines()
        if line[:1] == "d"
    }
    root = service("RootDirectory")[0]
    # systemd 252 takes no NoExecPaths=+/run whose place is missing in the new root: it started nothing.
    assert made == {state, root, f"{root}/run"}


def test_nothing_it_can_write_can_be_run() -> None:
    closed = {path.removeprefix("+") for path in service("NoExecPaths")[0].split()}
    assert {"/", "/tmp", "/var/tmp", "/var/lib/partpay-bridge", "/run/partpay-bridge"} <= closed
    assert service("ReadWritePaths") == []


def test_the_boot_is_told_where_the_kernel_is_out_of_sight() -> None:
    assert service("ProcSubset") == ["pid"]
    assert service("Environment") == [f"{TOLD}=%b"]


@pytest.mark.parametrize("name", ["credentials.conf.example", "credentials-encrypted.conf.example"])
def test_credentials_have_the_names_that_the_program_looks_for(name: str) -> None:
    loaded = [value for values in unit(name)["Service"].values() for value in values]
    assert [value.partition(":")[0] for value in loaded] == [
        CLIENT_SECRET_CREDENTIAL,
        CALLBACK_KEY_CREDENTIAL,
    ]


def verified(folder: Path, name: str, drop_in: str | None = None) -> str:
    """What systemd finds wrong; its program stands in for ours, which is not installed here."""
    text = (SYSTEMD / name).read_text(encoding="utf-8")
    file = folder / Path(name).name
    file.write_text(
        re.sub(r"(?m)^ExecStart=/usr/bin/partpay-bridge run", "ExecStart=/bin/true run", text)
    )
    if drop_in is not None:
        beside = folder / f"{file.name}.d"
        beside.mkdir()
        shutil.copy(SYSTEMD / drop_in, beside / "drop-in.conf")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"({done.returncode})")


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    program = unit(name)["Service"]["ExecStart"][0].split()[0]
    if "partpay-bridge" not in program and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    assert verified(tmp_path, name) == ""


@needs_systemd
@pytest.mark.parametrize(
    "drop_in",
    [
        "growing-pauses-before-254.conf",
        "growing-pauses.conf",
        "credentials.conf.example",
        "credentials-encrypted.conf.example",
        "other-places.conf.example",
        "tunnel/wireguard.conf.example",
    ],
)
def test_systemd_finds_nothing_wrong_with_a_drop_in(tmp_path: Path, drop_in: str) -> None:
    release = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    if drop_in == "growing-pauses.conf" and int(release) < 254:
        assert "RestartSteps" in verified(tmp_path, "partpay-bridge.service", drop_in)
        return
    assert verified(tmp_path, "partpay-bridge.service", drop_in) == ""


@needs_systemd
def test_it_is_as_closed_as_the_best_of_a_stock_system(tmp_path: Path) -> None:
    file = tmp_path / "partpay-bridge.service"
    shutil.copy(SYSTEMD / file.name, file)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd cannot judge a file: {done.stderr.strip()}")
    assert float(found[1]) <= EXPOSURE_MAX, done.stdout
