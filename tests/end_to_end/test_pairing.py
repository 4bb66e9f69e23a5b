"""`partpay-bridge pair` as a technician runs it: the real program, a terminal on a cable, and somebody between."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from drivers.link.dialect import dialect_named
from drivers.link.messages import Message, PairDone, Ping, Reason, Tender
from tests.end_to_end.conftest import WAIT_S
from tests.end_to_end.somebody_between import SomebodyBetween, SwapKeys
from tools.daemon_process import CALLBACK_KEY, PROGRAM, BridgeFolder, DaemonProcess
from tools.sandbox.client import SandboxClient, started
from tools.terminal.core import Device, NotNow
from tools.terminal.driver import TerminalOnPty
from tools.terminal.storage import InMemory


class Command:
    """`partpay-bridge pair …`, with somebody at its keyboard. A context manager."""

    def __init__(self, folder: BridgeFolder, *words: str, keyboard: int = subprocess.PIPE) -> None:
        self._process = subprocess.Popen(
            [PROGRAM, "--config", str(folder.config), "pair", *words],
            stdin=keyboard,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._told = ""
        self._mark = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stderr is not None
        while data := os.read(self._process.stderr.fileno(), 4096):
            with self._changed:
                self._told += data.decode()
                self._changed.notify_all()
        with self._changed:
            self._told += "(ended)"
            self._changed.notify_all()

    @property
    def told(self) -> str:
        with self._changed:
            return self._told

    def wait_for(self, text: str) -> str:
        """All that it has told until `text` came, after what was last waited for."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: text in self._told[self._mark :] or "(ended)" in self._told, WAIT_S
            )
            found = self._told.find(text, self._mark)
            assert came, f"{text!r} was not told; it told:\n{self._told}"
            assert found >= 0, f"{text!r} was not told; it told:\n{self._told}"
            self._mark = found + len(text)
            return self._told[: self._mark]

    def type(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Its exit status, and what it wrote to stdout."""
        assert self._process.stdout is not None
        status = self._process.wait(WAIT_S)
        return status, self._process.stdout.read()


class Shop:
    """A shop whose terminal is plugged in and not paired."""

    def __init__(self, tmp_path: Path, stack: ExitStack) -> None:
        key = tmp_path / "sandbox-key"
        key.touch(mode=0o600)
        key.write_text(CALLBACK_KEY + "\n")
        self.sandbox: SandboxClient = stack.enter_context(started("--callback-key-file", str(key)))
        self.folder = BridgeFolder(tmp_path / "bridge", self.sandbox.url)
        self.folder.write()
        self.folder.command("merchants", "add", "--id", "1001", "--name", "Kōwhai Books")
        self.daemon = DaemonProcess(self.folder)
        stack.push(self.daemon.__exit__)
        self.line = str(tmp_path / "line")
        self.storage = InMemory()
        self._stack = stack

    def plug(
        self, dialect: str = "native", *, can_authenticate: bool = True, line: str | None = None
    ) -> TerminalOnPty:
        device = Device("T0000001", "SN1", can_authenticate=can_authenticate)
        self.terminal = self._stack.enter_context(
            TerminalOnPty(line or self.line, device, dialect=dialect, storage=self.storage)
        )
        return self.terminal

    def pair(self, *words: str) -> Command:
        return self._stack.enter_context(Command(self.folder, *words))

    def at(self, screen: int) -> Command:
        """The same with a person at that pseudo-terminal."""
        return Command(self.folder, self.line, keyboard=screen)

    def pair_whole(self, *words: str) -> str:
        """A dialogue as it should go, until the test picture scanned; what the command printed."""
        with Command(self.folder, *words) as command:
            command.wait_for("Open pairing in the terminal's own menu")
            self.terminal.pair()
            digits = self.terminal.wait_for("digits", WAIT_S)["digits"]
            command.wait_for("Give the six digits")
            assert digits in command.told
            self.terminal.confirm(True)
            command.type(digits)
            self.terminal.wait_for("pairing-ended", WAIT_S, why="paired")
            command.wait_for("Merchant ids")
            command.type("1001")
            self.terminal.wait_for("image", WAIT_S, counter=None)
            command.wait_for("Does it scan?")
            command.type("yes")
            command.wait_for("Name:")
            command.type("customers, till 2")
            status, printed = command.end()
            assert status == 0, command.told
            return printed

    def pair_quickly(self, port: str | None = None) -> None:
        """A dialogue as it should go, with all said beforehand but the digits."""
        words = ("--merchant", "1001", "--name", "till", "--no-test")
        with Command(self.folder, port or self.line, *words) as command:
            command.wait_for("Open pairing")
            self.terminal.log.pass_by()
            self.terminal.pair()
            digits = self.terminal.wait_for("digits", WAIT_S)["digits"]
            self.terminal.confirm(True)
            command.wait_for("Give the six digits")
            command.type(digits)
            assert command.end()[0] == 0, command.told

    def sell(self, amount_minor: int = 12500) -> int:
        counter = self.terminal.sale(amount_minor)
        image = self.terminal.wait_for("image", WAIT_S, counter=counter)
        self.sandbox.approve(image["code"].rsplit("/", 1)[1])
        self.terminal.wait_for("closed", WAIT_S, counter=counter, ending="approved")
        return counter

    def start(self) -> None:
        """The daemon, with the terminal plugged in already."""
        self.terminal.log.pass_by()
        self.daemon.start()
        self.ready()

    def ready(self) -> None:
        self.terminal.wait_for("ready", WAIT_S, paired=True)

    @property
    def key_sets(self) -> list[tuple[bytes, bytes]]:
        with sqlite3.connect(self.folder.state_dir / "registry.db") as db:
            return db.execute("SELECT to_bridge, to_terminal FROM keys").fetchall()

    def terminals(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.folder.json("terminals", "list")
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, stack)


@pytest.mark.parametrize(
    ("running", "dialect"),
    [(True, "native"), (True, "classic"), (False, "classic")],
    ids=["daemon-native", "daemon-classic", "alone-classic"],
)
def test_paired_sold_replugged_restarted_sold(shop: Shop, dialect: str, running: bool) -> None:
    if running:
        shop.daemon.start()
    shop.plug(dialect)
    printed = shop.pair_whole(shop.line)
    assert "keys           yes, compared" in printed
    assert "test picture   scans" in printed
    (known,) = shop.terminals()
    assert (known["keyed"], known["dialect"], known["name"]) == (True, dialect, "customers, till 2")
    if not running:
        shop.start()
    shop.sell()
    shop.terminal.unplug()
    shop.daemon.wait_for_log("unplugged")
    shop.terminal.log.pass_by()
    shop.terminal.plug()
    shop.ready()
    shop.daemon.stop()
    shop.start()
    counter = shop.sell()
    assert shop.folder.json("tenders", "show", str(counter))["code"] == "00"

    # Keys are the daemon's user's alone, and are told to nobody.
    registry = shop.folder.state_dir / "registry.db"
    assert registry.stat().st_mode & 0o777 == 0o600
    ((to_bridge, to_terminal),) = shop.key_sets
    told = shop.daemon.log + printed + json.dumps(shop.folder.json("terminals", "show", "T0000001"))
    for key in (to_bridge, to_terminal):
        assert key.hex() not in told
    assert shop.terminal.kept.keys is not None
    assert shop.terminal.kept.keys.to_bridge == to_bridge


@pytest.mark.parametrize("running", [True, False], ids=["daemon", "alone"])
def test_a_terminal_that_cannot_authenticate_is_paired_without_keys_after_a_yes(
    shop: Shop, running: bool
) -> None:
    if running:
        shop.daemon.start()
    shop.plug("classic", can_authenticate=False)
    command = shop.pair(shop.line, "--merchant", "1001", "--name", "till 1")
    command.wait_for("It cannot authenticate")
    command.type("maybe")
    command.wait_for("Please answer yes or no.")
    command.type("y")
    shop.terminal.wait_for("image", WAIT_S, counter=None)
    command.wait_for("Does it scan?")
    command.type("skip")
    status, printed = command.end()
    assert (status, "keys           none" in printed) == (0, True)
    if not running:
        shop.start()
    shop.sell()


def test_somebody_between_who_swaps_keys_is_found_by_the_digits(shop: Shop, tmp_path: Path) -> None:
    shop.daemon.start()
    shop.plug()
    with SomebodyBetween(shop.line, tmp_path / "cut") as between:
        between.change = SwapKeys()
        command = shop.pair(between.port, "--dialect", "native", "--merchant", "1001")
        command.wait_for("Open pairing")
        shop.terminal.pair()
        at_terminal = shop.terminal.wait_for("digits", WAIT_S)["digits"]
        told = command.wait_for("Give the six digits")
        assert at_terminal not in told
        # A person at the terminal who did not look is not enough.
        shop.terminal.confirm(True)
        command.type(at_terminal)
        status, printed = command.end()
        assert (status, printed) == (1, "")
        assert "look at the cable" in command.told
        shop.terminal.wait_for("pairing-ended", WAIT_S)
    assert shop.key_sets == []
    assert shop.terminals() == []
    assert shop.terminal.kept.keys is None


def test_frames_of_somebody_between_never_move_a_tender(shop: Shop, tmp_path: Path) -> None:
    shop.daemon.start()
    shop.plug()
    with SomebodyBetween(shop.line, tmp_path / "cut") as between:
        shop.pair_quickly(between.port)
        counter = shop.terminal.sale(12500)
        image = shop.terminal.wait_for("image", WAIT_S, counter=counter)
        before = shop.folder.json("tenders", "show", str(counter))
        dialect = dialect_named("native")
        made_up = Tender("T0000001", counter + 1, 100, 554)
        between.say_to_bridge(dialect.framing.encode(dialect.encoding.encode(made_up, 99)))
        refused = shop.terminal.wait_for("received", WAIT_S, message="REFUSED")
        assert refused["reason"] == Reason.NOT_AUTHENTICATED
        for direction, frame in list(between.frames):
            if direction == "to bridge" and b"\x9f\x41" in frame:
                between.say_to_bridge(frame)
        # What they said has gone through once this has.
        shop.terminal.wait_for("ready", WAIT_S, paired=True)
        assert shop.folder.json("tenders", "show", str(counter))["state"] == before["state"]
        assert [one["counter"] for one in shop.folder.json("tenders", "list")] == [counter]
        shop.sandbox.approve(image["code"].rsplit("/", 1)[1])
        shop.terminal.wait_for("closed", WAIT_S, counter=counter, ending="approved")


def test_pair_done_that_is_lost_costs_a_second_try_and_no_sale(shop: Shop, tmp_path: Path) -> None:
    """A terminal that works under its old keys goes on under them; the new ones serve after another try."""
    shop.daemon.start()
    shop.plug()
    with SomebodyBetween(shop.line, tmp_path / "cut") as between:
        shop.pair_quickly(between.port)
        shop.sell()

        def without_done(direction: str, message: Message) -> list[Message]:
            # Acknowledged for the terminal by nobody: the bridge gives it up.
            return [Ping()] if isinstance(message, PairDone) else [message]

        between.change = without_done
        shop.pair_quickly(between.port)
        assert len(shop.key_sets) == 2
        shop.sell()
        assert len(shop.key_sets) == 2
        between.change = lambda direction, message: [message]
        # Its menu waits for PAIR_DONE still, unless a REFUSED has ended that: a person leaves it.
        with suppress(NotNow):
            shop.terminal.confirm(False)
        shop.terminal.unplug()
    shop.terminal.plug()
    with SomebodyBetween(shop.line, tmp_path / "whole") as whole:
        shop.pair_quickly(whole.port)
        shop.sell()
        assert len(shop.key_sets) == 1


def test_under_a_keyed_pairing_a_terminal_without_keys_sells_nothing(shop: Shop) -> None:
    shop.daemon.start()
    shop.plug()
    shop.pair_quickly()
    shop.terminal.close()
    shop.storage = InMemory()
    terminal = shop.plug()
    terminal.wait_for("ready", WAIT_S, paired=False)
    dialect = dialect_named("native")
    tender = dialect.encoding.encode(Tender("T0000001", 1, 12500, 554), 200)
    terminal.write_raw(dialect.framing.encode(tender))
    refused = terminal.wait_for("received", WAIT_S, message="REFUSED")
    assert refused["reason"] == Reason.NOT_AUTHENTICATED
    assert shop.folder.json("tenders", "list") == []
    attention = shop.folder.json("tenders", "attention")
    assert "without-keys" in {one["code"] for one in attention}
    # Paired again it works; the keys that nobody has any more go with the first proof of the new ones.
    shop.pair_quickly()
    shop.sell()
    assert len(shop.key_sets) == 1


def test_forgotten_keys(shop: Shop) -> None:
    shop.daemon.start()
    shop.plug()
    shop.pair_quickly()
    shop.folder.command("terminals", "forget-keys", "T0000001")
    refused = shop.terminal.wait_for("received", WAIT_S, message="REFUSED", reason=9)
    assert refused["refused"][:2] == "01"
    assert shop.key_sets == []
    # The bridge knows its keys no more, and it has them still: that too is paired afresh.
    shop.pair_quickly()
    shop.sell()


def test_who_breaks_off_leaves_nothing_at_either_end(shop: Shop) -> None:
    shop.daemon.start()
    shop.plug()
    for number in (signal.SIGINT, signal.SIGKILL):
        with Command(shop.folder, shop.line) as command:
            command.wait_for("Open pairing")
            shop.terminal.pair()
            shop.terminal.wait_for("digits", WAIT_S)
            command.wait_for("Give the six digits")
            command.signal(number)
            assert command.end()[0] != 0
        shop.terminal.wait_for("pairing-ended", WAIT_S, why="the other end broke pairing off")
        assert shop.key_sets == []
    assert shop.terminals() == []
    shop.pair(shop.line).wait_for("Open pairing")


def test_a_second_technician_is_told_to_wait(shop: Shop) -> None:
    shop.daemon.start()
    shop.plug()
    first = shop.pair(shop.line)
    first.wait_for("Open pairing")
    second = shop.pair(shop.line)
    assert second.end()[0] == 1
    assert "is pairing on" in second.told


def test_nobody_at_the_keyboard(shop: Shop, tmp_path: Path) -> None:
    shop.daemon.start()
    shop.plug()
    digits = tmp_path / "digits"
    words = ("--terminal-id", "T0000001", "--serial", "SN1", "--yes", "--json")
    for right in (False, True):
        digits.unlink(missing_ok=True)
        command = shop.pair(shop.line, *words, "--expect-digits", str(digits))
        command.wait_for("Open pairing")
        shop.terminal.pair()
        shown = shop.terminal.wait_for("digits", WAIT_S)["digits"]
        shop.terminal.confirm(True)
        digits.write_text(shown if right else shown[::-1] + "7")
        status, printed = command.end()
        assert status == (0 if right else 1), command.told
    paired = json.loads(printed)
    assert (
        paired.items()
        >= {
            "terminal": "T0000001",
            "serial": "SN1",
            "port": shop.line,
            "dialect": "native",
            "authenticated": True,
            "merchants": ["1001"],
            "picture_shown": True,
            "picture_scanned": None,
        }.items()
    )
    shop.sell()


def test_digits_are_never_given_beforehand_nor_by_yes(shop: Shop) -> None:
    beforehand = shop.pair(shop.line, "--expect-digits", "123456")
    assert beforehand.end() == (2, "")
    assert "afresh each time" in beforehand.told
    shop.plug()
    command = shop.pair(shop.line, "--yes")
    command.wait_for("Open pairing")
    shop.terminal.pair()
    shop.terminal.wait_for("digits", WAIT_S)
    assert command.end() == (1, "")
    assert "nobody is asked" in command.told
    shop.terminal.wait_for("pairing-ended", WAIT_S)
    assert shop.key_sets == []


def test_a_person_at_a_screen_whose_early_yes_does_not_count(shop: Shop) -> None:
    shop.plug()
    keyboard, screen = os.openpty()
    with shop.at(screen) as command:
        command.wait_for("Open pairing")
        os.write(keyboard, b"yes\nyes\nyes\n")
        shop.terminal.pair()
        shop.terminal.wait_for("digits", WAIT_S)
        shop.terminal.confirm(True)
        command.wait_for("Are they the same?")
        os.write(keyboard, b"perhaps\n")
        command.wait_for("Please answer yes or no.")
        assert shop.key_sets == []
        os.write(keyboard, b"no\n")
        assert command.end() == (1, "")
    shop.terminal.wait_for("pairing-ended", WAIT_S)
    assert shop.key_sets == []
    os.close(keyboard)
    os.close(screen)
