"""Jobs through real ways: a pseudo-terminal, a socket, and pyusb above a device of our own."""

import contextlib
import logging
import os
import pty
import socket
import struct
import sys
import threading
import tty

import pytest
import zxingcpp

from drivers.display import escpos_connection
from drivers.display.beside import NotShown, Shown, display_named
from drivers.display.escpos import EscposDisplay, code_job
from drivers.display.escpos_connection import UsbConnection
from tests.drivers.display.escpos_interpreter import Interpreter
from tests.drivers.display.usb_printer import UsbPrinter

PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e-7d54-4b8e-9a6f-0c1d2e3f4a5b?n=181211-303902"
LINES = ("PartPay  NZ$ 25.00", "Order 181211-303902")
ONLINE, OFFLINE = b"\x12", b"\x1a"
PAPER, NO_PAPER = b"\x12", b"\x72"


def named(text: str) -> EscposDisplay:
    display = display_named(f"escpos:{text}")
    assert isinstance(display, EscposDisplay)
    return display


def assert_printed(data: bytes) -> None:
    device = Interpreter()
    device.take(data)
    assert [code.text for code in zxingcpp.read_barcodes(device.paper.image)] == [PAYLOAD]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(escpos_connection, "SLACK_S", 0.05)
    monkeypatch.setattr(escpos_connection, "NETWORK_BYTES_S", 1_000_000_000)
    monkeypatch.setattr(escpos_connection, "REPLY_TIMEOUT_S", 0.05)


class NetworkPrinter:
    """Takes jobs one after another, each to the end of its connection; answers what it is told."""

    def __init__(self, *, reads: bool = True) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.jobs: list[bytes] = []
        self.answers: list[bytes] = []
        self.came = threading.Semaphore(0)
        if reads:
            threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            job = b""
            with client:
                while data := client.recv(65536):
                    job += data
                    if data.startswith(b"\x10\x04"):
                        client.sendall(self.answers.pop(0))
            self.jobs.append(job)
            self.came.release()

    def __enter__(self) -> "NetworkPrinter":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()


def test_network():
    with NetworkPrinter() as printer:
        display = named(f"tcp:127.0.0.1:{printer.port}?profile=TM-T88V&code=raster")
        assert display.show_code(PAYLOAD, LINES) == Shown("bitImageRaster")
        assert printer.came.acquire(timeout=10)
        assert_printed(printer.jobs[0])
        assert display.show_lines(["Approved"]) == Shown("nothing")
        assert display.clear() == Shown("nothing")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([OFFLINE], "off-line"),
        ([ONLINE, NO_PAPER], "no paper"),
        ([ONLINE, PAPER], None),
    ],
)
def test_a_printer_is_asked_for_paper(answers, why):
    with NetworkPrinter() as printer:
        printer.answers = list(answers)
        display = named(f"tcp:127.0.0.1:{printer.port}?profile=TM-T88V&ask=yes")
        told = display.show_code(PAYLOAD, LINES)
        if why is None:
            assert told == Shown("qrCode")
        else:
            assert isinstance(told, NotShown)
            assert why in told.why
            assert printer.came.acquire(timeout=10)
            assert b"\x1d(k" not in printer.jobs[0]


def test_a_printer_that_does_not_answer(impatient):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        display = named(f"tcp:127.0.0.1:{silent.getsockname()[1]}?ask=yes")
        told = display.show_code(PAYLOAD, LINES)
        assert isinstance(told, NotShown)
        assert "does not say" in told.why


def test_a_printer_that_is_off():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = named(f"tcp:127.0.0.1:{port}").show_code(PAYLOAD, LINES)
    assert isinstance(told, NotShown)
    assert f"tcp:127.0.0.1:{port}" in told.why
    assert "printer is on" in told.why


@pytest.mark.parametrize("reads", [0, 100])
def test_a_printer_that_serves_another_till_throws_away_what_was_sent(reads):
    """It accepts, and resets: to whoever only sends, all of it has gone well."""
    with socket.create_server(("127.0.0.1", 0)) as busy:

        def reset() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = busy.accept()
                    if reads:
                        taken.recv(reads)
                    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    taken.close()

        server = threading.Thread(target=reset)
        server.start()
        told = named(f"tcp:127.0.0.1:{busy.getsockname()[1]}").show_code(PAYLOAD, LINES)
        busy.shutdown(socket.SHUT_RDWR)
        server.join()
    assert isinstance(told, NotShown)


def test_a_printer_that_takes_no_more(impatient, mocker):
    with NetworkPrinter(reads=False) as printer:
        job = mocker.Mock(data=bytes(20_000_000), how="")
        mocker.patch("drivers.display.escpos.code_job", return_value=job)
        told = named(f"tcp:127.0.0.1:{printer.port}").show_code(PAYLOAD, LINES)
        assert isinstance(told, NotShown)
        assert "has paper" in told.why


@pytest.fixture
def terminal():
    """A serial cable: its far end, and the path of the near one."""
    far, near = pty.openpty()
    tty.setraw(near)
    yield far, os.ttyname(near)
    os.close(near)
    os.close(far)


def read_until(far: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(far, 65536)
    return data


def test_serial(terminal):
    far, path = terminal
    display = named(f"serial:{path}?baud=115200&profile=TM-T88V&code=raster")
    job = code_job(display.model, PAYLOAD, LINES)
    came: list[bytes] = []
    reader = threading.Thread(target=lambda: came.append(read_until(far, len(job.data))))  # type: ignore[union-attr]
    reader.start()
    assert display.show_code(PAYLOAD, LINES) == Shown("bitImageRaster")
    reader.join(timeout=10)
    assert_printed(came[0])


def test_line_display_on_a_serial_port(terminal):
    far, path = terminal
    device = Interpreter(dots=False)
    display = named(f"serial:{path}?profile=OCD-300")
    for lines in (["NZ$ 25.00", "Scan the code"], ["Approved"], []):
        assert display.show_lines(lines) == Shown("text")
        device.take(os.read(far, 65536))
        assert [line for line in device.line_display.lines if line] == lines
    assert display.clear() == Shown("clear")
    assert not display.shows_codes
    assert isinstance(display.show_code(PAYLOAD, LINES), NotShown)


def test_a_serial_port_that_is_not_there():
    told = named("serial:/dev/not-there").show_code(PAYLOAD, LINES)
    assert isinstance(told, NotShown)
    assert "/dev/not-there" in told.why
    assert "plug it in" in told.why


def test_a_serial_port_that_another_has(terminal):
    _far, path = terminal
    first = named(f"serial:{path}?profile=OCD-300")
    with first._connection.opened():
        told = named(f"serial:{path}?profile=OCD-300").show_lines(["x"])
    assert isinstance(told, NotShown)
    assert path in told.why


def test_a_serial_device_that_holds_the_line(terminal, impatient):
    _far, path = terminal
    told = named(f"serial:{path}?baud=921600&code=raster&module=16").show_code("x" * 800, LINES)
    assert isinstance(told, NotShown)
    assert path in told.why


def usb(printer: UsbPrinter, text: str = "usb:04b8:0e15?profile=TM-T20II&code=raster", **at):
    display = named(text)
    display._connection = UsbConnection(0x04B8, 0x0E15, backend=printer, **at)
    return display


def test_usb():
    printer = UsbPrinter(takes=1000)
    assert usb(printer).show_code(PAYLOAD, LINES) == Shown("bitImageRaster")
    assert_printed(printer.taken)
    assert printer.said == [
        "opened",
        "driver detached from 1",
        "claimed 1",
        "released 1",
        "driver attached to 1",
        "closed",
    ]


def test_usb_by_serial_number():
    assert usb(UsbPrinter(), serial_number="J1").show_code(PAYLOAD, LINES) == Shown(
        "bitImageRaster"
    )
    told = usb(UsbPrinter(), serial_number="J2").show_code(PAYLOAD, LINES)
    assert isinstance(told, NotShown)
    assert "no such device is plugged in" in told.why


def test_usb_that_stalls():
    printer = UsbPrinter(takes=0)
    told = usb(printer).show_code(PAYLOAD, LINES)
    assert isinstance(told, NotShown)
    assert "usb:04b8:0e15" in told.why
    assert printer.kernel_driver
    assert printer.said.count("closed") == 2


def test_usb_printer_is_asked_for_paper():
    printer = UsbPrinter(answers=[ONLINE, NO_PAPER])
    told = usb(printer, "usb:04b8:0e15?ask=yes").show_code(PAYLOAD, LINES)
    assert isinstance(told, NotShown)
    assert "no paper" in told.why
    silent = usb(UsbPrinter(), "usb:04b8:0e15?ask=yes").show_code(PAYLOAD, LINES)
    assert isinstance(silent, NotShown)
    assert "does not say" in silent.why


def test_a_failed_job_is_tried_once_more(mocker):
    printer = UsbPrinter()
    tries = mocker.spy(printer, "bulk_write")
    fails = [OSError(5, "Input/output error")]
    mocker.patch.object(
        printer,
        "claim_interface",
        side_effect=lambda *_: (_ for _ in ()).throw(fails.pop()) if fails else None,
    )
    assert usb(printer).show_code(PAYLOAD, LINES) == Shown("bitImageRaster")
    assert tries.call_count >= 1


def test_the_library_leaves_nothing_behind():
    assert "escpos" in sys.modules
    for handler in logging.getLogger().handlers:
        assert "pytest" in type(handler).__module__


def test_nothing_is_written_to_standard_output(capsys):
    with NetworkPrinter() as printer:
        named(f"tcp:127.0.0.1:{printer.port}").show_code(PAYLOAD, LINES)
        assert printer.came.acquire(timeout=10)
    usb(UsbPrinter()).show_code(PAYLOAD, LINES)
    assert capsys.readouterr().out == ""
