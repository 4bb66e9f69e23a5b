import os
import socket
from pathlib import Path

from bridge.sd_notify import notify, watchdog_interval_s


def test_tells_the_manager_by_path_and_by_abstract_name(tmp_path: Path) -> None:
    for bound, told in (
        (str(tmp_path / "notify"), str(tmp_path / "notify")),
        (f"\0partpay-test-{os.getpid()}", f"@partpay-test-{os.getpid()}"),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(bound)
            assert notify("READY=1", {"NOTIFY_SOCKET": told})
            assert manager.recv(100) == b"READY=1"


def test_no_manager_is_no_error(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_watchdog_is_half_of_the_limit() -> None:
    assert watchdog_interval_s({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert watchdog_interval_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_interval_s({}) is None
    assert watchdog_interval_s({"WATCHDOG_USEC": "soon"}) is None
