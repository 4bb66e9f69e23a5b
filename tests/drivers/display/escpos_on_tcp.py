"""An ESC/POS device on the network: what it is sent is interpreted, and can be scanned and waited for."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable

import zxingcpp

from tests.drivers.display.escpos_interpreter import Interpreter

WAIT_S = 20.0


class EscposOnTcp:
    """A device at 127.0.0.1; each connection is one job."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.changed = threading.Condition()
        self.jobs = 0
        device = self

        class Job(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                data = self.rfile.read()
                with device.changed:
                    device.interpreter.take(data)
                    device.jobs += 1
                    device.changed.notify_all()

        self.server = socketserver.TCPServer(("127.0.0.1", 0), Job)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def until(self, holds: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, WAIT_S), "never came on the display"

    def codes(self) -> list[str]:
        """What can be scanned there now."""
        return [found.text for found in zxingcpp.read_barcodes(self.interpreter.paper.image)]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
