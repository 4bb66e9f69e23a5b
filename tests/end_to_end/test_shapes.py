"""Every command, called against a real daemon after real sales, prints what `tools/commands_page/shapes.py` says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import main as program_file
from bridge.cli.main import program
from tests.bridge.cli.test_program import commands
from tests.end_to_end.conftest import WAIT_S, MakeShop
from tools.commands_page.shapes import SHAPES, faults
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

WORDS = {
    "check-config": (),
    "merchants add": ("--id", "M9", "--name", "Hats"),
    "merchants list": ("--removed",),
    "merchants show": ("M9",),
    "merchants set": ("M9", "--name", "More hats"),
    "merchants remove": ("M9",),
    "merchants import": ("{csv}",),
    "terminals add": (
        *("--terminal-id", "T9", "--serial", "S9", "--port", "/dev/none", "--dialect", "native"),
        *("--merchant", "1001"),
    ),
    "terminals list": ("--removed",),
    "terminals show": ("T9",),
    "terminals set": ("T9", "--profile", "mono-128x64"),
    "terminals remove": ("T9",),
    "ports": (),
    "profiles list": (),
    "profiles show": ("mono-128x64",),
    "display test": ("T0000001", "--png", "{png}"),
    "status": (),
    "doctor": (),
    "trace": ("--replay", "{trace}"),
    "tenders list": (),
    "tenders show": ("T0000001/1",),
    "tenders explain": ("T0000001/1",),
    "tenders attention": (),
    "tenders acknowledge": ("--all",),
    "tenders totals": (),
    "tenders export": ("--from", "2020-01-01", "--to", "2099-12-31"),
    "audit": (),
    "install-service": ("--dry-run", "--uninstall"),
}
"""In this order, and whatever order they are run in has to allow it."""
ELSEWHERE = {"run", "pair", "terminals forget-keys"}
"""Prints nothing; needs a terminal that waits to be paired, and one that has keys."""

MAY_FAIL = {"doctor"}
"""Exit status 1 is an answer, too."""

Invoke = Callable[..., Any]


def test_every_command_has_a_shape() -> None:
    named = {" ".join(path) for path in commands(program)}
    assert named == set(SHAPES), "tools/commands_page/shapes.py has a row for each command"
    assert named == set(WORDS) | ELSEWHERE


def test_every_shape_is_kept(
    make_shop: MakeShop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shop = make_shop()
    shop.sell()
    refund = shop.terminal.refund(1, 500)
    assert shop.outcome(refund) == "00"
    shop.terminal.wait_for("closed", WAIT_S, counter=refund)
    names = ("orderId", "orderNumber", "orderStatus", "gatewayReference", "merchantReference")
    stray = list(zip(names, ("none", "1", "approved", "none", "none"), strict=True))
    shop.sandbox.send_callback(shop.tender(1)["order_id"], fields=stray)
    files = {name: tmp_path / f"file.{name}" for name in ("csv", "png", "trace")}
    files["csv"].write_text("id,name\nM9,Hats again\n1001,Books\n")
    files["trace"].write_text("# a remark\n1.000000 T>B ack -\n")
    seen = set()
    for name, given in WORDS.items():
        words = [word.format(**files) for word in given]
        argv = ["partpay-bridge", "--config", str(shop.folder.config), *name.split(), *words]
        monkeypatch.setattr("sys.argv", [*argv, "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            program_file.main()
        out, err = capsys.readouterr()
        status = ended.value.code or 0
        assert status == 0 or (name in MAY_FAIL and status == 1), f"{name}: {status} {err}"
        shape = SHAPES[name]
        assert shape is not None
        told = json.loads(out)
        assert faults(shape, told) == [], f"{name}: {told}"
        if told:
            seen.add(name)
    # A list that is empty shows nothing of its shape.
    assert set(WORDS) - seen == set()


def test_pairing_keeps_its_shape(make_shop: MakeShop, tmp_path: Path) -> None:
    shop = make_shop()
    port = str(tmp_path / "new")
    device = Device(terminal_id="T0000009", serial_number="SN9")
    with TerminalOnPty(port, device) as terminal:
        words = ("pair", port, "--yes", "--no-test", "--merchant", "1001", "--name", "Till 9")
        told = shop.folder.json(*words)
        terminal.wait_for("ready", WAIT_S, paired=True)
    shape = SHAPES["pair"]
    assert shape is not None
    assert faults(shape, told) == []
    assert (told["terminal"], told["name"]) == ("T0000009", "Till 9")
