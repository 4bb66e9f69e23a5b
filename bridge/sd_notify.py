"""What the service manager is told, by its datagram socket (sd_notify(3)). Nothing where there is
none.
"""

import os
import socket
from collections.abc import Mapping


def notify(message: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Sends e.g. "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…". True where somebody was told.

    Never raises and never waits: a service manager that does not listen is no reason to stop a
    sale.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.connect(address)
            sender.send(message.encode())
    except OSError:
        return False
    return True


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often "WATCHDOG=1" is due: half of what the manager waits. None where it does not watch
    this process.
    """
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        limit_us = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return limit_us / 2_000_000 if limit_us > 0 else None
