"""The firmware's example terminal for tests and demos: built, run as a process, on a cable to the daemon.

Rules
- The same methods and events as `tools.terminal.driver`: what drives one terminal drives the other.
- The cable has two ends: a link that the daemon opens as a port, and a pseudo-terminal that the C
  program opens as its own. What one writes the other reads; nothing else is done to it.
- The power goes by killing the process; its storage is a file, and stays.
- Where there is no C compiler, NoCompiler says what to install.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
import threading
import tty
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from drivers.line.line import Trouble
from drivers.line.loop import Interest, Loop, boottime
from tools.terminal import panel
from tools.terminal.core import NotNow
from tools.terminal.driver import END_S, WAIT_S, EventLog
from tools.terminal.events import Event
from tools.terminal.pty_line import READ_MAX_BYTES, PtyLine

FOLDER = Path(__file__).parent
BUILD_S = 120.0

MODULE_PX = 4
"""How large a dot of the text panel is drawn before it is read."""
QUIET_DOTS = 4

_FIELD = re.compile(r'([a-z_]+)=("((?:[^"\\]|\\.)*)"|\S+)')
_ESCAPE = re.compile(r"\\(.)")
_NUMBERS = frozenset(
    {
        *("counter", "amount_minor", "seconds_left", "reason", "old", "new"),
        *("format", "width", "height", "bytes", "phase"),
    }
)


class NoCompiler(RuntimeError):  # noqa: N818 - says what it is
    """There is no C compiler or no make on this machine; the message says what to install."""


class BuildFailed(RuntimeError):  # noqa: N818 - says what it is
    """The compiler refuses the sources; the message is its own."""


def compiler() -> str:
    """The C compiler of this machine: $CC, cc, gcc or clang. NoCompiler."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found is not None:
            return found
    raise NoCompiler(
        "no C compiler: install one that knows C99 (Debian and Ubuntu: apt-get install gcc make; "
        "Fedora: dnf install gcc make), or set CC"
    )


def build(out: Path, *targets: str) -> Path:
    """Build the example terminal into `out` with the Makefile; its path. NoCompiler, BuildFailed.

    `targets`: those of the Makefile, and its variables: `sanitized`, `AUTHENTICATED=1`.
    """
    make = shutil.which("make")
    if make is None:
        raise NoCompiler("no make: install it (Debian and Ubuntu: apt-get install make)")
    words = [make, "-s", "-f", str(FOLDER / "Makefile"), f"OUT={out}", f"CC={compiler()}", *targets]
    made = subprocess.run(words, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if made.returncode != 0:
        raise BuildFailed(f"{' '.join(words)}\n{made.stdout}{made.stderr}")
    return out / "example_terminal"


# What it prints


class EventReader:
    """Lines of the program, one by one, as events; the panel's lines become a code that was read."""

    def __init__(self) -> None:
        self._rows: list[str] = []

    def take(self, line: str, at_ms: float) -> Event | None:
        """The event of this line; None where it is a row of the panel."""
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "panel":
            self._rows.append(rest)
            return None
        fields: dict[str, Any] = {}
        for found in _FIELD.finditer(rest):
            fields[found[1]] = _value(found[1], found[2], found[3])
        if kind == "image":
            rows, self._rows = self._rows, []
            fields.setdefault("counter", None)  # a test picture
            fields["code"] = panel.read(picture_of(rows))
            fields["panel"] = rows
        if kind == "answer":
            fields.setdefault("cannot", None)
        return Event(kind, at_ms, fields)


def _value(name: str, word: str, quoted: str | None) -> Any:
    if quoted is not None:
        return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], quoted)
    if name in _NUMBERS:
        return int(word)
    return {"true": True, "false": False}.get(word, word)


def picture_of(rows: Sequence[str]) -> Image.Image:
    """Rows of `#` (dark) and `.` as a panel with room around it: mode L, each dot some pixels wide."""
    width = max((len(row) for row in rows), default=1)
    side = (width + 2 * QUIET_DOTS, len(rows) + 2 * QUIET_DOTS)
    image = Image.new("L", side, 255)
    for y, row in enumerate(rows):
        for x, dot in enumerate(row):
            if dot == "#":
                image.putpixel((x + QUIET_DOTS, y + QUIET_DOTS), 0)
    return image.resize((side[0] * MODULE_PX, side[1] * MODULE_PX), Image.Resampling.NEAREST)


# The cable


class PtyCable:
    """A cable between the daemon (`port`, a link) and the program (`inside`, a link too).

    All calls on the loop's thread.
    """

    def __init__(self, loop: Loop, port: str, inside: Path) -> None:
        self.name = f"cable {port}"
        self.inside = inside
        self._loop = loop
        self._outer = PtyLine(loop, port, self)
        self._inner = self._other = -1

    def plug(self) -> None:
        """Both ends are there."""
        if self._inner >= 0:
            raise NotNow("the cable is in already")
        self._inner, self._other = os.openpty()
        tty.setraw(self._other)
        os.set_blocking(self._inner, False)
        self._loop.watch(self._inner, Interest.READ, self._ready, self)
        self.inside.symlink_to(os.ttyname(self._other))
        self._outer.start()

    def unplug(self) -> None:
        """Both ends are gone, and what was on the way."""
        if self._inner < 0:
            raise NotNow("the cable is out already")
        self._outer.unplug()
        self._loop.unwatch(self._inner)
        self.inside.unlink()
        os.close(self._inner)
        os.close(self._other)
        self._inner = self._other = -1

    @property
    def is_plugged(self) -> bool:
        return self._inner >= 0

    def _ready(self, interest: Interest) -> None:
        del interest
        try:
            data = os.read(self._inner, READ_MAX_BYTES)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EIO):
                raise
            return
        self._outer.write(data)

    # LineUser, of the daemon's end

    def received(self, data: bytes, now: float) -> None:
        del now
        if self._inner >= 0:
            # What the program does not read is lost, as on a wire.
            with suppress(BlockingIOError):
                os.write(self._inner, data)

    def opened(self, now: float) -> None: ...

    def lost(self, trouble: Trouble, now: float) -> None: ...

    def unavailable(self, trouble: Trouble, now: float) -> None: ...

    def written(self, now: float) -> None: ...

    def failed(self, error: Exception) -> None:
        raise error


class FirmwareTerminal:
    """The example terminal on a cable. A context manager; power on and cable in when it begins.

    `program` is what `build` made, `port` the path of the link that the daemon opens, `options` more
    of its command line. NotNow comes out of what cannot be done now.
    """

    def __init__(
        self,
        program: Path,
        port: Path | str,
        *,
        terminal_id: str = "T0000001",
        serial_number: str = "SN123456",
        dialect: str = "native",
        options: Iterable[str] = (),
    ) -> None:
        self.port = str(port)
        self.log = EventLog()
        self.wait_for = self.log.wait_for
        self._folder = tempfile.TemporaryDirectory(prefix="firmware-")
        folder = Path(self._folder.name)
        self._words = [
            str(program),
            str(folder / "line"),
            *("--terminal-id", terminal_id),
            *("--serial", serial_number),
            *("--dialect", dialect),
            *("--storage", str(self.storage)),
            *options,
        ]
        self._loop = Loop()
        self._cable = PtyCable(self._loop, self.port, folder / "line")
        self._thread = threading.Thread(target=self._loop.run, name=self._cable.name, daemon=True)
        self._thread.start()
        self._process: subprocess.Popen[str] | None = None
        self.plug()
        self.power_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program and pull the cable. A second time does nothing."""
        if not self._thread.is_alive():
            return
        if self._process is not None:
            self.power_off()
        if self._cable.is_plugged:
            self.unplug()
        self._loop.stop()
        self._thread.join(END_S)
        self._loop.close()
        self._folder.cleanup()
        self.log.end("the terminal was closed")

    @property
    def events(self) -> list[Event]:
        return self.log.events

    @property
    def storage(self) -> Path:
        """The file that a power cut leaves."""
        return Path(self._folder.name) / "storage"

    def power_on(self) -> None:
        """Start the program on what its storage holds."""
        if self._process is not None:
            raise NotNow("the power is on already")
        self.log.add(Event("power", _now_ms(), {"on": True}))
        self._process = subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        reader = threading.Thread(
            target=self._read, args=(self._process,), name="firmware events", daemon=True
        )
        reader.start()

    def power_off(self) -> None:
        """Kill the program, wherever it is."""
        process, self._process = self._process, None
        if process is None:
            raise NotNow("the power is off already")
        process.kill()
        process.wait(END_S)
        self.log.add(Event("power", _now_ms(), {"on": False}))

    def plug(self) -> None:
        self._do(self._cable.plug)

    def unplug(self) -> None:
        self._do(self._cable.unplug)

    def command(self, line: str) -> Event:
        """Carry out one command; its answer. NotNow where it says `cannot`."""
        if self._process is None or self._process.stdin is None:
            raise NotNow("the power is off")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self.wait_for("answer", command=line)
        if answer["cannot"] is not None:
            raise NotNow(answer["cannot"])
        return answer

    def sale(self, amount_minor: int, reference: str | None = None) -> int:
        """Begin a sale; its counter."""
        words = ["sale", _amount(amount_minor), *([reference] if reference else [])]
        return int(self.command(" ".join(words))["counter"])

    def refund(self, original_counter: int, amount_minor: int) -> int:
        """Give back an amount of that sale; the refund's own counter."""
        return int(self.command(f"refund {original_counter} {_amount(amount_minor)}")["counter"])

    def cancel(self) -> None:
        self.command("cancel")

    def query(self, counter: int | None = None) -> None:
        self.command("query" if counter is None else f"query {counter}")

    def decide(self, counter: int, mine: bool) -> None:
        self.command(f"decide {counter} {'yes' if mine else 'no'}")

    def end(self, counter: int) -> None:
        self.command(f"end {counter}")

    def pair(self) -> None:
        """Open pairing at the terminal's menu, where it was built to authenticate."""
        self.command("pair")

    def confirm(self, yes: bool) -> None:
        """Say whether the six digits are the bridge's."""
        self.command("yes" if yes else "no")

    def forget_keys(self) -> None:
        self.command("forget-keys")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        reader = EventReader()
        for line in process.stdout:
            event = reader.take(line, _now_ms())
            if event is not None:
                self.log.add(event)

    def _do(self, what: Callable[[], None]) -> None:
        """On the loop's thread; what it raises comes out here."""
        answer: Future[None] = Future()

        def run() -> None:
            try:
                answer.set_result(what())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                answer.set_exception(error)

        self._loop.call(run)
        answer.result(WAIT_S)


def _now_ms() -> float:
    return round(boottime() * 1000, 3)


def _amount(amount_minor: int) -> str:
    return f"{amount_minor // 100}.{amount_minor % 100:02d}"
