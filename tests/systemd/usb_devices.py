"""USB devices as the kernel shows them, written down for umockdev: only what udev's rules look at."""

from dataclasses import dataclass

HOST = "/devices/pci0000:00/0000:00:14.0"
BUS = f"""\
P: {HOST}
E: SUBSYSTEM=pci
A: vendor=0x8086\\n

P: {HOST}/usb1
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: busnum=1\\n
A: devpath=0\\n
"""


@dataclass(frozen=True)
class Usb:
    """A device in socket 1-4. interfaces: class, subclass and protocol of each, as hex. port: its first tty."""

    vendor: str
    product: str
    serial: str
    interfaces: tuple[str, ...]
    port: str
    driver: str

    @property
    def path(self) -> str:
        return f"{HOST}/usb1/1-4"

    @property
    def tty(self) -> str:
        """The tty's own path: through usb-serial for adapters, straight below the interface for CDC-ACM."""
        adapter = f"/{self.port}" if self.port.startswith("ttyUSB") else ""
        return f"{self.path}/1-4:1.0{adapter}/tty/{self.port}"

    def text(self) -> str:
        parts = [
            BUS,
            f"P: {self.path}\nN: bus/usb/001/004\nE: DEVNAME=/dev/bus/usb/001/004\nE: DEVTYPE=usb_device\n"
            f"E: SUBSYSTEM=usb\nE: MAJOR=189\nE: MINOR=3\nA: dev=189:3\\n\nA: idVendor={self.vendor}\\n\n"
            f"A: idProduct={self.product}\\n\nA: manufacturer=Maker\\n\nA: product=Thing\\n\n"
            f"A: bNumInterfaces={len(self.interfaces):2d}\\n\nA: busnum=1\\n\nA: devnum=4\\n\nA: bDeviceClass=00\\n\n"
            f"A: power/control=auto\\n\n"
            + (f"A: serial={self.serial}\\n\n" if self.serial else "")
            + f"H: descriptors={self.descriptors()}\n",
        ]
        for number, kind in enumerate(self.interfaces):
            parts.append(
                f"P: {self.path}/1-4:1.{number}\nE: DEVTYPE=usb_interface\nE: SUBSYSTEM=usb\n"
                f"A: bInterfaceNumber={number:02x}\\n\nA: bInterfaceClass={kind[:2]}\\n\n"
                f"A: bInterfaceSubClass={kind[2:4]}\\n\nA: bInterfaceProtocol={kind[4:]}\\n\n"
            )
        if self.port.startswith("ttyUSB"):
            parts.append(
                f"P: {self.path}/1-4:1.0/{self.port}\nE: SUBSYSTEM=usb-serial\n"
                f"L: driver=../../../../../../../bus/usb-serial/drivers/{self.driver}\n"
                f"A: latency_timer=16\\n\nA: port_number=0\\n\n"
            )
        parts.append(
            f"P: {self.tty}\nN: {self.port}\nE: DEVNAME=/dev/{self.port}\nE: SUBSYSTEM=tty\n"
            f"E: MAJOR=188\nE: MINOR=0\nA: dev=188:0\\n\n"
            + (f"L: device=../../../{self.port}\n" if self.port.startswith("ttyUSB") else "")
        )
        return "\n".join(parts)

    def descriptors(self) -> str:
        """From these udev learns the kinds of its interfaces (ID_USB_INTERFACES)."""
        device = f"12010002000000{'40'}{_swapped(self.vendor)}{_swapped(self.product)}000101020301"
        body = "".join(
            f"0904{number:02x}0001{kind}000705810240000a"
            for number, kind in enumerate(self.interfaces)
        )
        length = 9 + len(body) // 2
        return f"{device}0902{length & 255:02x}{length >> 8:02x}{len(self.interfaces):02x}0100c032{body}"


def _swapped(number: str) -> str:
    return number[2:] + number[:2]
