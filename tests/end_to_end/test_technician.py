"""What a technician does at a running daemon, and without one: watch a line, test a display."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.display.geometry import Panel
from drivers.display.reading import read_code
from drivers.link.trace import Kind, Way, parse_all
from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tools.daemon_process import PROGRAM


@contextmanager
def tracing(shop: Shop, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, once it watches."""
    process = subprocess.Popen(
        [PROGRAM, "--config", str(shop.folder.config), "trace", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("dialect", ["native", "classic"])
def test_a_sale_is_watched_saved_and_printed_again(
    make_shop: MakeShop, tmp_path: Path, dialect: str
) -> None:
    shop = make_shop(dialect=dialect)
    saved = tmp_path / "line.trace"
    with tracing(shop, "T0000001", "--save", str(saved)) as process:
        assert f": {dialect}, 115200 baud" in first_line(process)
        shop.sell()
        assert process.stdout is not None
        for line in process.stdout:
            if "STORED" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
    assert saved.stat().st_mode & 0o777 == 0o600
    lines = list(parse_all(saved.read_text().splitlines()))
    said = [line.words.split()[0] for line in lines if line.kind is Kind.FRAME]
    assert [word for word in said if word in ("TENDER", "ACCEPTED", "OUTCOME", "STORED")] == [
        "TENDER",
        "ACCEPTED",
        "OUTCOME",
        "STORED",
    ]
    assert {line.way for line in lines} == set(Way)
    assert all(line.body for line in lines if line.kind is Kind.FRAME)
    replayed = shop.folder.command("trace", "--replay", str(saved))
    assert "TENDER" in replayed.stdout
    told = shop.folder.json("trace", "--replay", str(saved))
    assert [one["line"] for one in told if one["kind"] != "remark"] == [str(line) for line in lines]


def test_who_is_killed_is_forgotten_and_sales_go_on(shop: Shop) -> None:
    for _ in range(6):  # more than may watch at once
        with tracing(shop, shop.terminal.port) as process:
            assert first_line(process).startswith("# ")
        shop.sell()
    with tracing(shop, "T0000001", "--json") as process:
        assert first_line(process).strip() == "["
        shop.terminal.write_raw(b"noise ")
        told = json.loads(first_line(process).strip().rstrip(","))
        assert told["kind"] == "remark"


def test_a_watcher_that_does_not_read_holds_up_nobody(shop: Shop) -> None:
    with tracing(shop, "T0000001") as process:
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(5):
            shop.sell()
        assert time.monotonic() - began < WAIT_S


def test_what_is_not_there_is_not_watched(shop: Shop, tmp_path: Path) -> None:
    done = shop.folder.command("trace", "T9999999", check=False)
    assert done.returncode == 2
    file = tmp_path / "no.trace"
    file.write_text("12.5 nonsense\n")
    done = shop.folder.command("trace", "--replay", str(file), check=False)
    assert (done.returncode, "no.trace:1" in done.stderr) == (2, True)
    shop.daemon.stop()
    done = shop.folder.command("trace", "T0000001", check=False)
    assert done.returncode == 1
    assert "no daemon runs" in done.stderr


@pytest.mark.parametrize("running", [True, False])
def test_a_test_picture_on_the_panel(make_shop: MakeShop, tmp_path: Path, running: bool) -> None:
    shop = make_shop(panel=Panel(128, 64), formats=b"\x03")
    if not running:
        shop.daemon.stop()
    png = tmp_path / "panel.png"
    (told,) = shop.folder.json("display", "test", "T0000001", "--png", str(png))
    assert told["shown"] is True
    assert told["png"] == str(png)
    image = shop.terminal.wait_for("image", WAIT_S)
    assert image["code"] == told["payload"]
    assert read_code(png.read_bytes()) == told["payload"]
    if running:
        shop.folder.command("display", "test", "T0000001", "--clear")
        shop.terminal.wait_for("received", WAIT_S, message="DISPLAY_CLEAR")
        shop.sell()


def test_a_panel_with_a_sale_on_it_is_left_alone(shop: Shop) -> None:
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    done = shop.folder.command("display", "test", shop.terminal.port, check=False)
    assert done.returncode == 1
    assert "sale" in done.stdout
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"
