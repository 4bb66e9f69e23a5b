"""Serial lines over pseudo-terminals: real descriptors, a real loop."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import serial

from drivers.line import line as line_contract
from drivers.line import serial as serial_line
from drivers.line.line import (
    BAUD_MAX,
    ENTRY_POINT_GROUP,
    Trouble,
    TroubleKind,
    UnknownLineError,
    line_maker,
)
from drivers.line.loop import Loop, boottime
from drivers.line.serial import (
    REOPEN_MAX_S,
    WRITE_BUFFER_MAX_BYTES,
    WRITE_STALL_S,
    Pace,
    SerialLine,
    trouble_of,
)

GIVE_UP_S = 30.0
"""A test that waits for so long has failed; nothing is measured by it."""


class Clock:
    """CLOCK_BOOTTIME that a test may push forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return boottime() + self.ahead_s


class User:
    """Writes down what a line tells."""

    name = "the user"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.bytes = bytearray()
        self.troubles: list[Trouble] = []
        self.errors: list[Exception] = []
        self.on_received: Callable[[bytes], None] = self.bytes.extend

    def opened(self, now: float) -> None:
        self.told.append("opened")

    def lost(self, trouble: Trouble, now: float) -> None:
        self.told.append("lost")
        self.troubles.append(trouble)

    def unavailable(self, trouble: Trouble, now: float) -> None:
        self.told.append("unavailable")
        self.troubles.append(trouble)

    def received(self, data: bytes, now: float) -> None:
        self.on_received(data)

    def written(self, now: float) -> None:
        self.told.append("written")

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class Bench:
    """A loop, a link that stands for a by-id name, and the far end of the cable."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.user = User()
        self.link = folder / "by-id"
        self.far = -1
        self.lines: list[SerialLine] = []

    def plug(self) -> None:
        self.far, near = os.openpty()
        os.set_blocking(self.far, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(near))
        os.close(near)

    def unplug(self) -> None:
        os.close(self.far)
        self.far = -1

    def line(self, user: User | None = None, **options: object) -> SerialLine:
        made = SerialLine(self.loop, str(self.link), user or self.user, **options)  # type: ignore[arg-type]
        self.lines.append(made)
        made.start()
        return made

    def until(self, holds: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + GIVE_UP_S
        while not holds():
            assert time.monotonic() < give_up_at, f"never came: {self.user.told}"
            self.loop.turn(0.01)

    def told(self, *expected: str) -> None:
        self.until(lambda: len(self.user.told) >= len(expected))
        assert self.user.told == list(expected)

    def far_reads(self, count: int, chunk: int = 65_536) -> bytes:
        found = bytearray()

        def enough() -> bool:
            if select.select([self.far], [], [], 0)[0]:
                found.extend(os.read(self.far, chunk))
            return len(found) >= count

        self.until(enough)
        return bytes(found)

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.loop.close()
        if self.far >= 0:
            os.close(self.far)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


ALL_BYTES = bytes(range(256))


def test_every_byte_goes_through_unchanged_both_ways(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    line.write(ALL_BYTES)
    assert bench.far_reads(256) == ALL_BYTES
    bench.told("opened", "written")
    os.write(bench.far, ALL_BYTES)
    bench.until(lambda: len(bench.user.bytes) >= 256)
    assert bench.user.bytes == ALL_BYTES


def test_an_absent_port_is_told_once_and_opened_when_it_comes(bench: Bench) -> None:
    bench.line()
    bench.told("unavailable")
    assert bench.user.troubles[0].kind is TroubleKind.ABSENT
    for _ in range(20):
        bench.clock.ahead_s += REOPEN_MAX_S
        bench.loop.turn(0)
    bench.told("unavailable")
    bench.plug()
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.told("unavailable", "opened")


def test_a_lost_port_is_found_again_under_its_new_name(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    first = bench.link.readlink()
    bench.unplug()
    bench.told("opened", "lost")
    assert bench.user.troubles[0].kind is TroubleKind.BROKEN
    assert not line.is_open
    strangers = []
    bench.plug()
    while bench.link.readlink() == first:
        # The old number was free already: something else takes it.
        strangers.append(bench.far)
        bench.plug()
    bench.until(lambda: bench.user.told[-1] == "opened")
    line.write(b"back")
    assert bench.far_reads(4) == b"back"
    for fd in strangers:
        os.close(fd)


def test_pauses_grow_to_two_seconds_and_begin_anew_after_steady_use(bench: Bench) -> None:
    attempts: list[float] = []

    class Recording(SerialLine):
        def _attempt_after(self, pause_s: float) -> None:
            attempts.append(pause_s)
            super()._attempt_after(pause_s)

    line = Recording(bench.loop, str(bench.link), bench.user)
    bench.lines.append(line)
    line.start()

    def attempts_made(count: int) -> None:
        def there() -> bool:
            bench.clock.ahead_s += 0.05
            return len(attempts) >= count

        bench.until(there)

    attempts_made(8)
    assert attempts[:8] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    bench.plug()
    attempts.clear()
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.until(lambda: line.is_open)
    bench.unplug()
    attempts_made(1)
    assert attempts == [2.0], "a port that comes and goes at once is not tried ever faster"
    bench.plug()
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.until(lambda: line.is_open)
    bench.clock.ahead_s += serial_line.STEADY_S
    attempts.clear()
    bench.unplug()
    attempts_made(1)
    assert attempts == [0.1]


def test_ours_alone_against_others(bench: Bench) -> None:
    bench.plug()
    bench.line()
    bench.told("opened")
    with pytest.raises(serial.SerialException):
        serial.Serial(str(bench.link), exclusive=True)
    second = User()
    bench.line(second)
    bench.until(lambda: second.told == ["unavailable"])
    assert second.troubles[0].kind is TroubleKind.TAKEN
    assert str(bench.link) in second.troubles[0].text
    bench.lines[0].close()
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.until(lambda: second.told == ["unavailable", "opened"])


def test_taken_by_another_program_it_is_opened_when_that_ends(bench: Bench) -> None:
    bench.plug()
    other = os.open(bench.link, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    bench.line()
    bench.told("unavailable")
    assert bench.user.troubles[0].kind is TroubleKind.TAKEN
    os.close(other)
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.told("unavailable", "opened")


def test_a_file_that_is_no_port_is_told_and_tried_again(bench: Bench) -> None:
    bench.link.write_text("not a port")
    bench.line()
    bench.told("unavailable")
    assert bench.user.troubles[0].kind is TroubleKind.BROKEN
    bench.plug()
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.told("unavailable", "opened")


def test_a_slow_reader_gets_all_of_a_big_write_and_written_comes_after_it(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    sent = os.urandom(WRITE_BUFFER_MAX_BYTES)
    line.write(sent)
    bench.loop.turn(0)
    assert bench.user.told == ["opened"]
    assert bench.far_reads(len(sent), chunk=501) == sent
    bench.told("opened", "written")


def test_bytes_put_in_while_others_wait_come_after_them(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    line.write(b"a" * 20_000)
    line.write(b"b")
    assert bench.far_reads(20_001) == b"a" * 20_000 + b"b"
    bench.told("opened", "written")


def test_a_port_that_takes_no_byte_is_given_up_and_opened_again(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    line.write(bytes(30_000))
    bench.loop.turn(0)
    bench.clock.ahead_s += WRITE_STALL_S - 0.5
    bench.loop.turn(0)
    assert bench.user.told == ["opened"]
    bench.clock.ahead_s += 0.6
    bench.told("opened", "lost")
    assert "took no byte" in bench.user.troubles[0].text
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.until(lambda: line.is_open)


def test_a_full_buffer_gives_the_port_up_and_memory_stays_bounded(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    for _ in range(10):
        line.write(bytes(8_192))
    bench.told("opened", "lost")
    assert len(line._waiting) == 0


def test_what_is_written_while_it_is_away_is_dropped(bench: Bench) -> None:
    line = bench.line()
    bench.told("unavailable")
    line.write(b"nobody hears this")
    bench.plug()
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.until(lambda: line.is_open)
    line.write(b"this")
    assert bench.far_reads(4) == b"this"


def test_garbage_at_full_speed_comes_through_in_order(bench: Bench) -> None:
    bench.plug()
    bench.line()
    bench.told("opened")
    garbage = os.urandom(100_000)
    left = memoryview(garbage)

    def fed() -> bool:
        nonlocal left
        if left and select.select([], [bench.far], [], 0)[1]:
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(bench.far, left[:4096]) :]
        return len(bench.user.bytes) == len(garbage)

    bench.until(fed)
    assert bench.user.bytes == garbage


def test_an_error_of_the_user_is_told_to_the_user_and_reset_reopens(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")

    def fail(data: bytes) -> None:
        raise ZeroDivisionError("poison")

    bench.user.on_received = fail
    os.write(bench.far, b"x")
    bench.until(lambda: bool(bench.user.errors))
    line.reset("its lane failed")
    bench.told("opened", "lost")
    bench.until(lambda: line.is_open)


def test_unplugged_in_the_middle_of_a_write(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    line.write(bytes(20_000))
    bench.unplug()
    bench.told("opened", "lost")
    bench.plug()
    bench.until(lambda: line.is_open)
    line.write(b"new")
    assert bench.far_reads(3) == b"new", "nothing of the old write is left"


def test_after_close_nothing_is_told_and_no_descriptor_stays(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    line.close()
    os.write(bench.far, b"late")
    probe = User()
    bench.line(probe)
    bench.clock.ahead_s += REOPEN_MAX_S
    bench.until(lambda: probe.told[-1:] == ["opened"])
    assert bench.user.told == ["opened"]


def test_closed_while_it_is_being_opened(bench: Bench) -> None:
    bench.plug()
    held: list[Callable[[], None]] = []
    line = bench.line(run_aside=held.append)
    bench.until(lambda: len(held) == 1)
    line.close()
    held.pop()()
    bench.until(lambda: len(held) == 1)
    held.pop()()
    assert bench.user.told == []
    serial.Serial(str(bench.link), exclusive=True).close()


def test_opening_does_not_hold_up_the_loop(bench: Bench) -> None:
    bench.plug()
    held: list[Callable[[], None]] = []
    bench.line(run_aside=held.append)
    bench.until(lambda: len(held) == 1)
    ran: list[bool] = []
    bench.loop.call(lambda: ran.append(True))
    bench.until(lambda: bool(ran))
    assert bench.user.told == []
    held.pop()()
    bench.told("opened")


def test_it_is_raw_eight_n_one_at_its_baud(bench: Bench) -> None:
    bench.plug()
    bench.line(baud=57_600)
    bench.told("opened")
    probe = os.open(bench.link, os.O_RDWR | os.O_NOCTTY)
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(probe)
    os.close(probe)
    assert iflag & (termios.IXON | termios.IXOFF | termios.ICRNL | termios.ISTRIP) == 0
    assert iflag & (termios.BRKINT | termios.PARMRK) == 0
    assert oflag & termios.OPOST == 0
    assert lflag & (termios.ICANON | termios.ECHO | termios.ISIG) == 0
    assert cflag & termios.CSIZE == termios.CS8
    assert cflag & (termios.PARENB | termios.CSTOPB | termios.CRTSCTS) == 0
    assert ispeed == ospeed == termios.B57600
    assert cc[termios.VMIN] == 1


@pytest.mark.parametrize("baud", [0, 4800, BAUD_MAX + 1])
def test_a_baud_rate_outside_the_links_is_refused(bench: Bench, baud: int) -> None:
    with pytest.raises(ValueError, match="baud"):
        SerialLine(bench.loop, "/dev/ttyUSB0", bench.user, baud=baud)


def test_on_a_wire_written_waits_for_the_baud_rate_and_then_for_the_queue(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = [10]
    monkeypatch.setattr(serial_line, "_pace", lambda fd: Pace.BY_BAUD)
    monkeypatch.setattr(serial_line, "_queued_bytes", lambda fd: queued[0])
    monkeypatch.setattr(bench.clock, "ahead_s", 0.0)
    frozen = boottime()
    monkeypatch.setattr(Clock, "__call__", lambda self: frozen + self.ahead_s)
    bench.plug()
    line = bench.line(baud=9_600)
    bench.told("opened")
    line.write(bytes(960))
    bench.clock.ahead_s = 0.99
    bench.loop.turn(0)
    assert bench.user.told == ["opened"]
    bench.clock.ahead_s = 1.01
    bench.loop.turn(0)
    assert bench.user.told == ["opened"], "the queue still holds bytes"
    queued[0] = 0
    bench.clock.ahead_s = 1.03
    bench.loop.turn(0)
    assert bench.user.told == ["opened", "written"]


@pytest.mark.parametrize(
    ("bus", "driver", "pace"),
    [
        ("usb", "cdc_acm", Pace.BY_QUEUE),
        ("usb-serial", "ftdi_sio", Pace.BY_BAUD),
        ("usb-serial", "option1", Pace.BY_QUEUE),
        ("platform", "serial8250", Pace.BY_BAUD),
        ("serial-base", "port", Pace.BY_BAUD),
    ],
)
def test_whether_there_is_a_wire_is_told_by_bus_and_driver(
    bus: str, driver: str, pace: Pace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open("rb") as device:
        number = os.fstat(device.fileno()).st_rdev
        folder = tmp_path / f"{os.major(number)}:{os.minor(number)}" / "device"
        folder.mkdir(parents=True)
        (folder / "subsystem").symlink_to(tmp_path / bus)
        (folder / "driver").symlink_to(tmp_path / driver)
        monkeypatch.setattr(serial_line, "SYSFS_DEVICES", tmp_path)
        assert serial_line._pace(device.fileno()) is pace


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, TroubleKind.ABSENT),
        (errno.ENODEV, TroubleKind.ABSENT),
        (errno.ENXIO, TroubleKind.ABSENT),
        (errno.EACCES, TroubleKind.DENIED),
        (errno.EPERM, TroubleKind.DENIED),
        (errno.EBUSY, TroubleKind.TAKEN),
        (errno.EAGAIN, TroubleKind.TAKEN),
        (errno.EIO, TroubleKind.BROKEN),
        (errno.EMFILE, TroubleKind.BROKEN),
    ],
)
def test_every_trouble_names_the_port(number: int, kind: TroubleKind) -> None:
    trouble = trouble_of("/dev/ttyACM3", OSError(number, os.strerror(number)))
    assert trouble.kind is kind
    assert "/dev/ttyACM3" in trouble.text


def test_another_package_can_bring_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = EntryPoint("pigeon", "drivers.line.serial:SerialLine", ENTRY_POINT_GROUP)

    def entry_points(*, group: str, name: str) -> list[EntryPoint]:
        return [found] if (group, name) == (ENTRY_POINT_GROUP, "pigeon") else []

    monkeypatch.setattr(line_contract, "entry_points", entry_points)
    assert line_maker("pigeon:loft-1") is SerialLine


def test_lines_are_found_by_name() -> None:
    assert line_maker("/dev/serial/by-id/x") is SerialLine
    with pytest.raises(UnknownLineError, match="carrier-pigeon"):
        line_maker("carrier-pigeon:1")
    with pytest.raises(UnknownLineError, match="ttyUSB0"):
        line_maker("ttyUSB0")


def test_replugged_at_any_byte_it_comes_back_whole_and_leaks_no_descriptor(bench: Bench) -> None:
    bench.plug()
    line = bench.line()
    bench.told("opened")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for count in range(1, 60):
        line.write(bytes(count * 100))
        os.write(bench.far, bytes(count))
        if count % 2:
            bench.loop.turn(0)
        bench.unplug()
        bench.until(lambda: not line.is_open)
        bench.plug()

        def back() -> bool:
            bench.clock.ahead_s += REOPEN_MAX_S
            return line.is_open

        bench.until(back)
        line.write(b"whole")
        assert bench.far_reads(5) == b"whole"
    bench.until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors)
    states = [told for told in bench.user.told if told in ("opened", "lost")]
    assert states == ["opened", "lost"] * 59 + ["opened"]
