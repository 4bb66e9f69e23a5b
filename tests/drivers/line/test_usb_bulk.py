"""USB lines over a bus of the test's own, below the real pyusb: real threads, a real loop."""

from __future__ import annotations

import errno
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from drivers import profiles
from drivers.line.line import Line, Trouble, TroubleKind, line_maker
from drivers.line.loop import Loop, boottime
from drivers.line.usb_bulk import (
    FIND_MAX_S,
    INCOMING_MAX_BYTES,
    OUTGOING_MAX_BYTES,
    STALLS_MAX,
    WRITE_MAX_BYTES,
    WRITE_STALL_S,
    UsbBulkLine,
    give_all_back,
)
from drivers.line.usb_port import Plugged, plugged_in
from drivers.profiles import Profile, UsbId
from tests.drivers.line.usb_bus import BULK, GIVE_UP_S, INTERRUPT, Bus, Device, Interface

PORT = "usb:1234:5678"
ALL_BYTES = bytes(range(256))


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
    """A loop whose time may be pushed forward, a bus, and one line on it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.loop = Loop(lambda: boottime() + self.ahead_s)
        self.bus = Bus()
        self.device = Device()
        self.user = User()
        self.pauses: list[float] = []
        self.lines: list[UsbBulkLine] = []

    def line(self, port: str = PORT, user: User | None = None) -> UsbBulkLine:
        made = UsbBulkLine(self.loop, port, user or self.user, backend=self.bus, pause=self.pause)
        self.lines.append(made)
        made.start()
        return made

    def opened(self, port: str = PORT) -> UsbBulkLine:
        if not self.device.plugged:
            self.bus.plug(self.device)
        made = self.line(port)
        self.until(lambda: "opened" in self.user.told)
        self.user.told.clear()
        return made

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        with self.bus.changed:
            self.bus.changed.wait(0.01)

    def until(self, holds: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + GIVE_UP_S
        while not holds():
            assert time.monotonic() < give_up_at, (
                f"never came: {self.user.told}, {self.device.done}"
            )
            self.loop.turn(0.01)

    def told(self, *expected: str) -> None:
        self.until(lambda: len(self.user.told) >= len(expected))
        assert self.user.told == list(expected)

    def close(self) -> None:
        for line in self.lines:
            line.close()
        for device in [*self.bus.devices]:
            device.say(b"")
        for line in self.lines:
            assert line.join(GIVE_UP_S)
        self.loop.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


# -- finding ---------------------------------------------------------------------------------


def test_lines_named_usb_are_these() -> None:
    assert line_maker("usb:1234:5678:SN1") is UsbBulkLine


def test_it_is_a_line(bench: Bench) -> None:
    line: Line = bench.opened()
    assert line.port == PORT


def test_an_absent_device_is_told_once_and_taken_when_it_comes(bench: Bench) -> None:
    bench.line()
    bench.until(lambda: len(bench.pauses) > 3)
    bench.bus.plug(bench.device)
    bench.told("unavailable", "opened")
    (trouble,) = bench.user.troubles
    assert trouble.kind is TroubleKind.ABSENT
    assert PORT in trouble.text
    assert "partpay-bridge ports" in trouble.text


def test_pauses_grow_to_two_seconds_and_begin_anew_after_steady_use(bench: Bench) -> None:
    line = bench.line()
    bench.until(lambda: len(bench.pauses) > 7)
    assert bench.pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, FIND_MAX_S]
    assert max(bench.pauses) == FIND_MAX_S
    bench.bus.plug(bench.device)
    bench.told("unavailable", "opened")
    bench.ahead_s += 3600.0
    bench.pauses.clear()
    bench.bus.unplug(bench.device)
    bench.until(lambda: len(bench.pauses) > 2)
    assert bench.pauses[:2] == [0.1, 0.2]
    assert not line.is_open


@pytest.mark.parametrize(
    ("port", "serial"),
    [
        ("usb:1234:5678:SN2", "SN2"),
        ("usb:1234:5678@1-4.2", "SN2"),
        ("usb:1234:5678:SN3@2-1", "SN3"),
        ("usb:abcd:00FF", "other"),
        ("usb:acme-t1:SN1", "SN1"),
        ("usb:acme-t2", "other"),
    ],
)
def test_found_by_ids_serial_number_socket_or_profile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, port: str, serial: str
) -> None:
    known = {
        "acme-t1": Profile("acme-t1", "", usb_ids=(UsbId(0x1234, 0x5678),)),
        "acme-t2": Profile("acme-t2", "", usb_ids=(UsbId(1, 1), UsbId(0xABCD, 0xFF))),
    }
    monkeypatch.setattr(profiles, "installed_profiles", lambda: known)
    devices = [
        Device(serial="SN1", socket="1-4.1"),
        Device(serial="SN2", socket="1-4.2"),
        Device(serial="SN3", socket="2-1"),
        Device(vendor=0xABCD, product=0xFF, serial="other", socket="2-2"),
    ]
    for device in devices:
        bench.bus.plug(device)
    bench.line(port)
    bench.told("opened")
    taken = [device.serial for device in devices if "claimed 0" in device.done]
    assert taken == [serial]
    assert sum(device.handles for device in devices) == 1, "the others are let go"


@pytest.mark.parametrize(
    ("serials", "names"),
    [
        (("A", "B"), ("usb:1234:5678:A", "usb:1234:5678:B")),
        (("", ""), ("usb:1234:5678@1-1", "usb:1234:5678@1-2")),
    ],
)
def test_where_several_answer_none_is_taken_and_their_names_are_told(
    bench: Bench, serials: tuple[str, str], names: tuple[str, str]
) -> None:
    devices = [Device(serial=one, socket=f"1-{n + 1}") for n, one in enumerate(serials)]
    for device in devices:
        bench.bus.plug(device)
    bench.line()
    bench.told("unavailable")
    (trouble,) = bench.user.troubles
    assert trouble.kind is TroubleKind.AMBIGUOUS
    for name in names:
        assert name in trouble.text
    assert not any("claimed 0" in device.done for device in devices)
    bench.bus.unplug(devices[0])
    bench.told("unavailable", "opened")


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("usb:", "names no USB device"),
        ("usb:1234", "no profile '1234'"),
        ("usb:no-such-model", "no profile 'no-such-model'"),
        ("usb:mono-128x64", "no usb_ids"),
        ("usb:1234:567", "no profile '1234'"),
        ("usb:1234:5678:", "no profile '1234'"),
        ("usb:acme_t1", "names no USB device"),
    ],
)
def test_a_port_that_names_no_device_is_refused_with_the_remedy(
    bench: Bench, port: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        UsbBulkLine(bench.loop, port, bench.user)
    assert "usb:VVVV:PPPP" in str(raised.value)


@pytest.mark.parametrize("baud", [1_200, 1_000_000])
def test_a_baud_rate_outside_the_links_is_refused(bench: Bench, baud: int) -> None:
    with pytest.raises(ValueError, match="baud"):
        UsbBulkLine(bench.loop, PORT, bench.user, baud=baud)


def test_what_is_plugged_in_is_listed_by_the_name_to_configure(bench: Bench) -> None:
    devices = (
        Device(),
        Device(serial="", socket="1-2.3"),
        Device(serial="adapter", driver_on={0}),
        Device(serial="modem", interfaces=(Interface(kind=10),)),
        Device(serial="secret", forbidden=True),
    )
    for device in devices:
        bench.bus.plug(device)
    assert plugged_in(bench.bus) == (
        Plugged("usb:1234:5678:SN1", "Acme", "T1", "SN1", "1-4"),
        Plugged("usb:1234:5678@1-2.3", "Acme", "T1", "", "1-2.3"),
    )
    assert [device.handles for device in devices] == [0] * 5


# -- taking and giving back ------------------------------------------------------------------


def test_the_kernels_driver_is_detached_and_given_back(bench: Bench) -> None:
    bench.device.driver_on = {0}
    line = bench.opened()
    assert bench.device.done == ["driver detached from 0", "claimed 0"]
    line.close()
    bench.device.say(b"")
    assert line.join(GIVE_UP_S)
    assert bench.device.done[2:] == ["released 0", "driver attached to 0"]
    assert bench.device.handles == 0


def test_an_interface_without_a_driver_gets_none(bench: Bench) -> None:
    line = bench.opened()
    line.close()
    bench.device.say(b"")
    assert line.join(GIVE_UP_S)
    assert bench.device.done == ["claimed 0", "released 0"]


def test_an_ending_process_gives_all_back(bench: Bench) -> None:
    bench.device.driver_on = {0}
    bench.opened()
    give_all_back()
    assert bench.device.driver_on == {0}


def test_taken_by_another_program_the_driver_is_given_back_and_it_is_tried_again(
    bench: Bench,
) -> None:
    bench.device.driver_on = {0}
    bench.device.taken_by_others = True
    bench.bus.plug(bench.device)
    bench.line()
    bench.told("unavailable")
    assert bench.user.troubles[0].kind is TroubleKind.TAKEN
    assert bench.device.done[:2] == ["driver detached from 0", "driver attached to 0"]
    bench.device.taken_by_others = False
    bench.told("unavailable", "opened")


def test_no_right_to_open_it_is_told_with_the_remedy(bench: Bench) -> None:
    bench.device.forbidden = True
    bench.bus.plug(bench.device)
    bench.line("usb:1234:5678:SN1")
    bench.told("unavailable")
    (trouble,) = bench.user.troubles
    assert trouble.kind is TroubleKind.DENIED
    assert "udev" in trouble.text


def test_without_libusb_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libusb_package.get_libusb1_backend", lambda: None)
    line = UsbBulkLine(bench.loop, PORT, bench.user, pause=bench.pause)
    bench.lines.append(line)
    line.start()
    bench.told("unavailable")
    (trouble,) = bench.user.troubles
    assert trouble.kind is TroubleKind.BROKEN
    assert "libusb-package" in trouble.text


@pytest.mark.parametrize(
    ("interfaces", "kind"),
    [
        ((Interface(kind=10),), 0),
        ((Interface(endpoints=((0x81, BULK),)),), 0),
        ((Interface(endpoints=((0x01, INTERRUPT), (0x81, INTERRUPT))),), 0),
    ],
)
def test_a_device_without_such_an_interface_is_told_to_be_a_serial_line(
    bench: Bench, interfaces: tuple[Interface, ...], kind: int
) -> None:
    bench.device.interfaces, bench.device.kind = interfaces, kind
    bench.bus.plug(bench.device)
    bench.line()
    bench.told("unavailable")
    (trouble,) = bench.user.troubles
    assert "/dev/serial/by-id" in trouble.text
    assert bench.device.done == []


@pytest.mark.parametrize(
    ("interfaces", "kind", "done"),
    [
        ((Interface(0, kind=3, endpoints=((0x82, INTERRUPT),)), Interface(2)), 0, ["claimed 2"]),
        ((Interface(0, kind=0),), 0xFF, ["claimed 0"]),
        (
            (Interface(0, endpoints=()), Interface(0, alternate=1)),
            0,
            ["claimed 0", "setting 1 of 0"],
        ),
    ],
)
def test_the_vendors_interface_is_found_wherever_it_is(
    bench: Bench, interfaces: tuple[Interface, ...], kind: int, done: list[str]
) -> None:
    bench.device.interfaces, bench.device.kind = interfaces, kind
    line = bench.opened()
    assert bench.device.done == done
    line.write(b"through")
    bench.told("written")


def test_a_profile_names_another_interface(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = Profile("acme", "", usb_ids=(UsbId(0x1234, 0x5678),), usb_interface=1)
    monkeypatch.setattr(profiles, "installed_profiles", lambda: {"acme": profile})
    bench.device.interfaces = (
        Interface(0),
        Interface(1, kind=10, endpoints=((2, BULK), (0x82, BULK))),
    )
    bench.opened("usb:acme")
    assert bench.device.done == ["claimed 1"]


def test_a_device_that_is_not_configured_yet(bench: Bench) -> None:
    bench.device.configured = False
    bench.opened()
    assert bench.device.done == ["configured 1", "claimed 0"]


def test_what_stood_in_the_device_before_it_was_opened_is_nobodys(bench: Bench) -> None:
    bench.device.say(b"for whoever was here before", b"")
    bench.device.in_errors.append(errno.EPIPE)
    bench.opened()
    bench.device.say(b"for us")
    bench.until(lambda: bool(bench.user.bytes))
    assert bench.user.bytes == b"for us"
    assert "cleared 81" in bench.device.done


# -- bytes -----------------------------------------------------------------------------------


def test_every_byte_goes_through_unchanged_both_ways(bench: Bench) -> None:
    line = bench.opened()
    line.write(ALL_BYTES)
    line.write(ALL_BYTES[::-1])
    bench.until(lambda: len(bench.device.took) == 512)
    assert bench.device.took == ALL_BYTES + ALL_BYTES[::-1]
    bench.device.say(ALL_BYTES[:64], ALL_BYTES[64:200], ALL_BYTES[200:])
    bench.until(lambda: len(bench.user.bytes) == 256)
    assert bench.user.bytes == ALL_BYTES


def test_packet_borders_and_empty_packets_mean_nothing(bench: Bench) -> None:
    rnd = random.Random(1)
    sent = rnd.randbytes(5_000)
    bench.opened()
    at = 0
    while at < len(sent):
        size = rnd.randrange(65)
        bench.device.say(sent[at : at + size])
        at += size
    bench.until(lambda: len(bench.user.bytes) >= len(sent))
    assert bench.user.bytes == sent


@pytest.mark.parametrize(
    ("size", "transfers"), [(63, [63]), (64, [64, 0]), (65, [65]), (128, [128, 0])]
)
def test_a_transfer_that_fills_its_last_packet_is_ended_by_an_empty_one(
    bench: Bench, size: int, transfers: list[int]
) -> None:
    line = bench.opened()
    line.write(bytes(size))
    bench.told("written")
    assert [len(one) for one in bench.device.transfers] == transfers


def test_written_is_told_when_all_that_was_given_has_left(bench: Bench) -> None:
    line = bench.opened()
    bench.device.takes = 100
    line.write(bytes(WRITE_MAX_BYTES + 1000))
    line.write(b"and this")
    bench.told("written")
    assert len(bench.device.took) == WRITE_MAX_BYTES + 1008


def test_a_slow_device_gets_all_in_order(bench: Bench) -> None:
    bench.device.takes = 7
    bench.device.out_errors = deque([errno.ETIMEDOUT] * 3)
    line = bench.opened()
    line.write(ALL_BYTES)
    bench.told("written")
    assert bench.device.took == ALL_BYTES


def test_a_device_that_takes_no_byte_is_given_up_and_taken_again(bench: Bench) -> None:
    bench.device.out_errors = deque([errno.ETIMEDOUT] * 5)

    def time_passes() -> None:
        bench.ahead_s += WRITE_STALL_S / 4

    bench.device.on_timeout = time_passes
    line = bench.opened()
    line.write(b"x")
    bench.device.wait(lambda: len(bench.device.out_errors) < 2)
    bench.until(lambda: "lost" in bench.user.told)
    bench.device.say(b"")
    bench.until(lambda: "opened" in bench.user.told)
    assert "written" not in bench.user.told


def test_a_stalled_out_is_cleared_and_the_transfer_sent_again_from_its_start(
    bench: Bench,
) -> None:
    line = bench.opened()
    bench.device.takes = 5
    bench.device.answers = lambda part: (
        bench.device.out_errors.append(errno.EPIPE) if len(bench.device.transfers) == 2 else None
    )
    line.write(b"0123456789abc")
    bench.told("written")
    assert bench.device.transfers == [b"01234", b"56789", b"01234", b"56789", b"abc"]
    assert bench.device.done == ["claimed 0", "cleared 01"]


def test_a_stalled_in_is_cleared_and_read_on(bench: Bench) -> None:
    bench.opened()
    bench.device.in_errors.append(errno.EPIPE)
    bench.device.say(b"after the stall")
    bench.until(lambda: bool(bench.user.bytes))
    assert bench.user.bytes == b"after the stall"
    assert bench.device.done == ["claimed 0", "cleared 81"]


def test_a_device_that_goes_on_stalling_is_given_up_and_taken_again(bench: Bench) -> None:
    bench.opened()
    bench.device.in_errors.extend([errno.EPIPE] * (STALLS_MAX + 1))
    bench.device.say(b"")
    bench.told("lost", "opened")
    assert bench.user.troubles[-1].kind is TroubleKind.BROKEN


# -- bounds ----------------------------------------------------------------------------------


def test_a_full_buffer_gives_the_device_up_and_memory_stays_bounded(bench: Bench) -> None:
    bench.device.out_errors = deque([errno.ETIMEDOUT] * 10_000)
    line = bench.opened()
    for _ in range(OUTGOING_MAX_BYTES // 1024 + 1):
        line.write(bytes(1024))
    assert bench.user.told == ["lost"]
    assert not line.is_open
    bench.device.out_errors.clear()
    bench.device.say(b"")
    bench.told("lost", "opened")
    line.write(b"anew")
    bench.until(lambda: bench.device.took.endswith(b"anew"))


def test_a_loop_that_is_behind_lets_the_device_wait(bench: Bench) -> None:
    bench.opened()
    packet = bytes(4096)
    count = 4 * INCOMING_MAX_BYTES // len(packet)
    bench.device.say(*[packet] * count)
    bench.device.wait(
        lambda: bench.device.unsaid_bytes <= count * len(packet) - INCOMING_MAX_BYTES // 2
    )
    assert bench.device.unsaid_bytes >= count * len(packet) - INCOMING_MAX_BYTES
    bench.until(lambda: len(bench.user.bytes) == count * len(packet))


def test_garbage_at_full_speed_comes_through_in_order(bench: Bench) -> None:
    rnd = random.Random(7)
    bench.opened()
    sent = [rnd.randbytes(rnd.choice((0, 1, 64, 512, 4096))) for _ in range(500)]
    bench.device.say(*sent)
    bench.until(lambda: len(bench.user.bytes) >= sum(map(len, sent)))
    assert bench.user.bytes == b"".join(sent)


# -- losing ----------------------------------------------------------------------------------


def test_unplugged_it_is_lost_at_once_and_found_again_wherever_it_comes_back(bench: Bench) -> None:
    line = bench.opened("usb:1234:5678:SN1")
    bench.bus.unplug(bench.device)
    bench.told("lost")
    assert bench.user.troubles[0].kind is TroubleKind.ABSENT
    line.write(b"said to nobody")
    again = Device(socket="3-1")
    bench.bus.plug(again)
    bench.until(lambda: "opened" in bench.user.told)
    again.say(b"here")
    bench.until(lambda: bench.user.bytes == b"here")
    assert again.took == b""
    assert bench.device.handles == 0


def test_unplugged_in_the_middle_of_a_write(bench: Bench) -> None:
    bench.device.takes = 10
    bench.device.answers = lambda part: (
        bench.bus.unplug(bench.device) if len(bench.device.transfers) == 3 else None
    )
    line = bench.opened()
    line.write(bytes(1000))
    bench.until(lambda: "lost" in bench.user.told)
    assert "written" not in bench.user.told
    assert len(bench.device.took) == 30


def test_replugged_many_times_nothing_is_left_behind(bench: Bench) -> None:
    line = bench.line()
    for n in range(15):
        device = Device(serial=f"SN{n}")
        bench.bus.plug(device)
        bench.until(lambda: line.is_open)
        line.write(b"hello")
        device.say(b"hello")
        if n % 2:
            bench.until(lambda: len(bench.user.bytes) >= 5)
        bench.user.bytes.clear()
        bench.bus.unplug(device)
        bench.until(lambda: not line.is_open)
        bench.until(lambda device=device: device.handles == 0)  # type: ignore[misc]
    told = [one for one in bench.user.told if one in ("opened", "lost")]
    assert told == ["opened", "lost"] * 15


def test_reset_gives_it_back_and_takes_it_again(bench: Bench) -> None:
    line = bench.opened()
    line.write(b"before")
    bench.told("written")
    line.reset("the test wants it")
    assert bench.user.told == ["written", "lost"]
    assert "the test wants it" in bench.user.troubles[0].text
    bench.device.say(b"from the time before")
    bench.told("written", "lost", "opened")
    assert bench.user.bytes == b""
    assert bench.device.done == ["claimed 0", "released 0", "claimed 0"]


def test_an_error_of_the_user_is_told_to_the_user_and_the_line_goes_on(bench: Bench) -> None:
    bench.opened()

    def fail(data: bytes) -> None:
        bench.user.on_received = bench.user.bytes.extend
        raise ZeroDivisionError

    bench.user.on_received = fail
    bench.device.say(b"poison")
    bench.until(lambda: bool(bench.user.errors))
    bench.device.say(b"and on")
    bench.until(lambda: bench.user.bytes == b"and on")


def test_an_error_inside_costs_a_pause_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = bench.bus.get_device_descriptor
    failures = iter([True, True, False])

    def fail(dev: Device) -> object:
        if next(failures, False):
            raise ZeroDivisionError
        return descriptor(dev)

    monkeypatch.setattr(bench.bus, "get_device_descriptor", fail)
    bench.opened()


def test_after_close_nothing_is_told_and_the_device_is_given_back(bench: Bench) -> None:
    line = bench.opened()
    line.close()
    bench.device.say(b"too late")
    assert line.join(GIVE_UP_S)
    line.write(b"x")
    done: list[bool] = []
    bench.loop.call(partial(done.append, True))
    bench.until(lambda: bool(done))
    assert bench.user.told == []
    assert bench.user.bytes == b""
    assert bench.device.handles == 0


def test_closed_before_it_was_found(bench: Bench) -> None:
    line = bench.line()
    line.close()
    assert line.join(GIVE_UP_S)
    bench.loop.turn(0)
    assert "opened" not in bench.user.told


def test_two_devices_do_not_hold_each_other_up(bench: Bench) -> None:
    slow, quick = Device(serial="slow"), Device(serial="quick")
    slow.out_errors = deque([errno.ETIMEDOUT] * 10_000)
    bench.bus.plug(slow)
    bench.bus.plug(quick)
    one = bench.line("usb:1234:5678:slow")
    other_user = User()
    other = bench.line("usb:1234:5678:quick", other_user)
    bench.until(lambda: one.is_open and other.is_open)
    one.write(b"x")
    other.write(b"y")
    bench.until(lambda: "written" in other_user.told)
    assert bench.user.told == ["opened"]
    slow.out_errors.clear()
