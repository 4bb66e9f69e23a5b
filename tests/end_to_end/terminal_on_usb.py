"""The simulated terminal as a USB device: its own end of the pipes is a line like any other."""

from __future__ import annotations

from functools import partial

from drivers.line.line import LineUser, Trouble, TroubleKind
from drivers.line.loop import Loop
from tests.drivers.line.usb_bus import Bus, Device
from tools.terminal.driver import TerminalOnPty


class GadgetLine:
    """What firmware sees of USB: bytes come, bytes go in packets, and the cable may be pulled."""

    def __init__(self, loop: Loop, bus: Bus, device: Device, user: LineUser) -> None:
        self.port = "gadget"
        self._loop = loop
        self._bus = bus
        self._device = device
        self._user = user

    def start(self) -> None:
        self._device.answers = lambda data: self._loop.call(partial(self._came, data), self._user)
        self._bus.plug(self._device)
        self._user.opened(self._loop.now())

    def write(self, data: bytes) -> None:
        size = self._device.packet_bytes
        self._device.say(*(data[at : at + size] for at in range(0, len(data), size)))
        self._loop.call(lambda: self._user.written(self._loop.now()), self._user)

    def reset(self, why: str) -> None:
        self.close()
        self._user.lost(Trouble(TroubleKind.BROKEN, why), self._loop.now())
        self.start()

    def close(self) -> None:
        self._device.answers = lambda data: None
        self._bus.unplug(self._device)
        self._device.forget()

    def _came(self, data: bytes) -> None:
        if data:
            self._user.received(data, self._loop.now())


class TerminalOnUsb(TerminalOnPty):
    """`TerminalOnPty` on a bus in place of a pseudo-terminal."""

    def __init__(self, bus: Bus, gadget: Device, *args: object, **more: object) -> None:
        self._bus, self._gadget = bus, gadget
        super().__init__("usb", *args, **more)  # type: ignore[arg-type]

    def _line(self, loop: Loop, user: LineUser) -> GadgetLine:  # type: ignore[override]
        return GadgetLine(loop, self._bus, self._gadget, user)
