"""ESC/POS: receipt printers, graphic customer displays and line displays, through python-escpos.

Rules of this module:
- The code says exactly what PartPay's picture said: it is drawn from the same modules as for a
  panel, in whole equal dots, and read back before it is sent. A printer that draws by itself
  (GS ( k) gets exactly the payload's bytes.
- What is sent is made first, as bytes, without a device: a way that cannot be made leads to the
  next (by the printer itself, as rows, as columns), one that can be made is sent.
- By itself only where a profile is named that has it, and only plain ASCII: printers take other
  bytes for Kanji.
- Text is stripped of control bytes: an order number must not be able to give commands.

A display is named `escpos:WHERE?KEY=VALUE&…`: WHERE is `serial:/dev/…`, `usb:VVVV:PPPP` or
`tcp:HOST[:PORT]`; keys are those of KEYS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

from PIL import Image

from drivers.display.beside import NOTHING, DisplayConfigError, NotShown, Shown
from drivers.display.escpos_connection import (
    Connection,
    DeviceError,
    NetworkConnection,
    SerialConnection,
    UsbConnection,
)
from drivers.display.escpos_library import (
    DEFAULT_PROFILE,
    Capabilities,
    capabilities,
    profile_names,
    recorder,
)
from drivers.display.geometry import QUIET_MODULES, DoesNotFit, Panel
from drivers.display.raster import CannotDraw, Drawing
from drivers.display.reading import bytes_in, payload_bytes
from drivers.display.segments import BYTES, LEVELS, VERSIONS, Segment, capacity_bits, size_bits
from drivers.display.symbol import Modules, NoSymbol, modules_for

PAPER_MODULE_PX = 6
"""0.75 mm at 203 dots an inch: read at arm's length, and a code is 30 mm wide."""
PAPER_MODULE_MIN_PX = 3
"""0.4 mm: what phones still read from thermal paper."""
NATIVE_MODULE_MAX_PX = 16
"""What GS ( k can say."""
LINE_PX = 24
"""What one line feed moves the paper by, at least: the height of its letters."""
LINE_DISPLAY_COLUMNS, LINE_DISPLAY_ROWS = 20, 2
CLEAR = b"\x0c"
"""CLR of customer displays."""


class Kind(Enum):
    PRINTER = "printer"
    PANEL = "panel"
    TEXT = "text"


class Way(Enum):
    """How a code gets onto a device; the value is what python-escpos calls it."""

    NATIVE = "qrCode"
    RASTER = "bitImageRaster"
    COLUMN = "bitImageColumn"


WAYS: Mapping[str, Way] = {"native": Way.NATIVE, "raster": Way.RASTER, "column": Way.COLUMN}


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a device. `ways`: those it has, best first; none: text alone.

    `width_px` is a printer's printable width; `panel` a graphic display's pixels; `columns` and
    `rows` a line display's characters. `asks`: a printer is asked for paper before each code.
    """

    kind: Kind
    profile: str
    ways: tuple[Way, ...]
    width_px: int
    columns: int
    rows: int = LINE_DISPLAY_ROWS
    panel: Panel | None = None
    module_px: int = PAPER_MODULE_PX
    cuts: bool = False
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    data: bytes
    how: str


def code_job(model: Model, payload: str, lines: Sequence[str]) -> Job | CannotDraw:
    """The bytes that show `payload` as a QR code, by the first way of `model` that can be made."""
    modules = modules_for(payload)
    if isinstance(modules, NoSymbol):
        return CannotDraw(modules.why)
    reasons = []
    for way in model.ways:
        kept = _recorder(model)
        quiet_lines = -(-QUIET_MODULES * model.module_px // LINE_PX)
        kept.hw("INIT")
        if model.kind is Kind.PRINTER:
            kept.set(align="center")
            for line in lines:
                kept.textln(_printable(line, model.columns))
            kept.ln(quiet_lines)
        else:
            kept._raw(CLEAR)
        why = (
            _native(kept, model, payload)
            if way is Way.NATIVE
            else _picture(kept, model, modules, way, payload)
        )
        if why:
            reasons.append(f"{way.value}: {why}")
            continue
        if model.kind is Kind.PRINTER:
            kept.ln(quiet_lines)
            _let_go_of_paper(kept, model)
        return Job(kept.output, way.value)
    return CannotDraw("; ".join(reasons) or "it shows text alone")


def code_picture(model: Model, payload: str) -> Image.Image | CannotDraw:
    """What the code looks like on the device, dot by dot: a graphic display's panel, or the square on
    paper (mode L, 0 is dark). A printer that draws by itself may choose other modules."""
    if not model.ways:
        return CannotDraw("it shows text alone")
    modules = modules_for(payload)
    if isinstance(modules, NoSymbol):
        return CannotDraw(modules.why)
    drawn = _drawn(model, modules)
    return CannotDraw(drawn.why) if isinstance(drawn, DoesNotFit) else drawn


def lines_job(model: Model, lines: Sequence[str]) -> Job:
    """The bytes that show lines of text; none for a printer, which would only waste paper."""
    if model.kind is Kind.PRINTER:
        return Job(b"", NOTHING)
    kept = _recorder(model)
    if model.kind is Kind.TEXT:
        fitted = [_printable(line, model.columns) for line in lines[: model.rows]]
        kept.linedisplay("".join(line.ljust(model.columns) for line in fitted))
    else:
        kept.hw("INIT")
        kept._raw(CLEAR)
        for line in lines:
            kept.textln(_printable(line, model.columns))
    return Job(kept.output, "text")


def clear_job(model: Model) -> Job:
    """The bytes that take away what is shown; paper stays as it is."""
    if model.kind is Kind.PRINTER:
        return Job(b"", NOTHING)
    kept = _recorder(model)
    if model.kind is Kind.TEXT:
        kept.linedisplay("")
    else:
        kept.hw("INIT")
        kept._raw(CLEAR)
    return Job(kept.output, "clear")


def _recorder(model: Model) -> Any:
    return recorder(model.profile, model.width_px)


def _native(kept: Any, model: Model, payload: str) -> str:
    """GS ( k; says why not, or nothing."""
    data = payload_bytes(payload)
    if not data.isascii():
        return "only plain ASCII is safe with a printer that draws by itself"
    segment = (Segment(BYTES, data),)  # all that can be relied on: a printer may know no other mode
    for version in VERSIONS:
        levels = [
            level
            for level in LEVELS
            if size_bits(segment, version) <= capacity_bits(version, level)
        ]
        if levels:
            break
    else:
        return f"{len(data)} bytes are more than a QR code holds"
    side = 17 + 4 * version
    module_px = _module_on_paper(side, model)
    if isinstance(module_px, DoesNotFit):
        return module_px.why
    kept.qr(payload, ec=LEVELS.index(levels[-1]), size=module_px, native=True)
    return ""


def _picture(kept: Any, model: Model, modules: Modules, way: Way, payload: str) -> str:
    """GS v 0 or ESC *; says why not, or nothing."""
    drawn = _drawn(model, modules)
    if isinstance(drawn, DoesNotFit):
        return drawn.why
    if bytes_in(drawn) != {payload_bytes(payload)}:
        return "it does not read back"
    kept.image(drawn, impl=way.value)
    return ""


def _drawn(model: Model, modules: Modules) -> Image.Image | DoesNotFit:
    """The whole panel of a graphic display; on paper a square no larger than it need be."""
    panel = model.panel
    if panel is None:
        module_px = _module_on_paper(modules.side, model)
        if isinstance(module_px, DoesNotFit):
            return module_px
        side_px = (modules.side + 2 * QUIET_MODULES) * module_px
        panel = Panel(side_px, side_px)
    pixels = Drawing(modules, panel).pixels
    return pixels if isinstance(pixels, DoesNotFit) else pixels.image()


def _module_on_paper(side: int, model: Model) -> int | DoesNotFit:
    """No larger than reads well, since each row costs paper and time on the line."""
    module_px = min(model.module_px, model.width_px // (side + 2 * QUIET_MODULES))
    if module_px < PAPER_MODULE_MIN_PX:
        return DoesNotFit(
            f"{side} modules of {PAPER_MODULE_MIN_PX} dots with a quiet zone of {QUIET_MODULES} "
            f"need {(side + 2 * QUIET_MODULES) * PAPER_MODULE_MIN_PX} dots, the paper has "
            f"{model.width_px}"
        )
    return module_px


def _let_go_of_paper(kept: Any, model: Model) -> None:
    if model.cuts:
        kept.cut()
    else:
        kept.print_and_feed(4)


def _printable(line: str, columns: int) -> str:
    return "".join(letter for letter in line if letter.isprintable())[:columns]


class EscposDisplay:
    """One device. Opened for each job; one job at a time; a failed one is tried once more.

    A call takes at most twice: connecting, the bytes' own time on the wire, and a few seconds
    (`escpos_connection`).
    """

    def __init__(self, name: str, model: Model, connection: Connection) -> None:
        self._name = name
        self.model = model
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def shows_codes(self) -> bool:
        return bool(self.model.ways)

    def show_code(self, payload: str, lines: Sequence[str]) -> Shown | NotShown:
        job = code_job(self.model, payload, lines)
        if isinstance(job, CannotDraw):
            return NotShown(f"display {self._name}: {job.why}")
        return self._send(job, asks=self.model.asks)

    def picture(self, payload: str) -> Image.Image | CannotDraw:
        """See `code_picture`. Touches no device."""
        return code_picture(self.model, payload)

    def show_lines(self, lines: Sequence[str]) -> Shown | NotShown:
        return self._send(lines_job(self.model, lines))

    def clear(self) -> Shown | NotShown:
        return self._send(clear_job(self.model))

    def _send(self, job: Job, asks: bool = False) -> Shown | NotShown:
        if not job.data:
            return Shown(job.how)
        with self._one_at_a_time:
            for last in (False, True):
                try:
                    with self._connection.opened() as device:
                        why = _what_it_lacks(device) if asks else ""
                        if why:
                            return NotShown(f"display {self._name}: {why}")
                        device._raw(job.data)
                    return Shown(job.how)
                except DeviceError as error:
                    if last:
                        return NotShown(f"display {self._name}: {error}")
        raise AssertionError("the second try returns")


def _what_it_lacks(device: Any) -> str:
    try:
        if not device.is_online():
            return "the printer is off-line; close its cover, or press its feed button"
        if device.paper_status() == 0:
            return "the printer has no paper; put in a new roll"
    except OSError:
        return "the printer does not say whether it has paper; leave out ask, or see that it is on"
    return ""


def escpos_display(rest: str) -> EscposDisplay:
    """The display that `escpos:` and `rest` name. Touches no device. Raises DisplayConfigError."""
    name = f"escpos:{rest}"
    where, _, options = rest.partition("?")
    given = {}
    for key, value in parse_qsl(options, keep_blank_values=True):
        if key not in KEYS or key in given:
            known = ", ".join(KEYS)
            what = "stands there twice" if key in given else f"is not known; known are {known}"
            raise DisplayConfigError(f"display {name}: {key} {what}")
        try:
            given[key] = KEYS[key](value)
        except ValueError as error:
            raise DisplayConfigError(f"display {name}: {key}={value}: {error}") from error
    try:
        return EscposDisplay(name, _model(given), _connection(where, given))
    except ValueError as error:
        raise DisplayConfigError(f"display {name}: {error}") from error


def _model(given: Mapping[str, Any]) -> Model:
    can: Capabilities = given.get("profile") or capabilities(DEFAULT_PROFILE)
    panel: Panel | None = given.get("size")
    kind = given.get("kind") or (
        Kind.PANEL if panel else Kind.PRINTER if can.pictures else Kind.TEXT
    )
    if (kind is Kind.PANEL) is not (panel is not None):
        raise ValueError("kind=panel and size=WIDTHxHEIGHT go together")
    has = {
        Way.NATIVE: can.native_qr and "profile" in given and kind is Kind.PRINTER,
        Way.RASTER: can.raster,
        Way.COLUMN: can.column,
    }
    ways = (given["code"],) if "code" in given else tuple(way for way in Way if has[way])
    if kind is Kind.TEXT and "code" in given:
        raise ValueError("a display of text alone shows no code; leave out code, or give its kind")
    text = kind is Kind.TEXT
    return Model(
        kind=kind,
        profile=can.profile,
        ways=() if text else ways,
        width_px=given.get("width") or (panel.width if panel else can.width_px),
        columns=given.get("columns")
        or (LINE_DISPLAY_COLUMNS if text and can.pictures else can.columns),
        rows=given.get("rows", LINE_DISPLAY_ROWS),
        panel=panel,
        module_px=given.get("module", PAPER_MODULE_PX),
        cuts=can.cuts,
        asks=given.get("ask", False),
    )


def _connection(where: str, given: Mapping[str, Any]) -> Connection:
    how, _, rest = where.partition(":")
    if how == "serial" and rest:
        return SerialConnection(rest, given.get("baud", 9600), given.get("flow", "none"))
    if how == "tcp" and rest:
        host, colon, port = rest.rpartition(":")
        if not colon:
            return NetworkConnection(rest)
        if host and port.isdecimal() and 0 < int(port) < 65536:
            return NetworkConnection(host, int(port))
    if how == "usb":
        vendor, _, product = rest.partition(":")
        if len(vendor) == len(product) == 4:
            return UsbConnection(int(vendor, 16), int(product, 16), given.get("serial"))
    raise ValueError("write serial:/dev/…, usb:VVVV:PPPP (four hex digits each) or tcp:HOST:PORT")


def _profile(value: str) -> Capabilities:
    try:
        return capabilities(value)
    except KeyError:
        known = ", ".join(profile_names())
        raise ValueError(f"python-escpos has no such profile; it has {known}") from None


def _one_of(choices: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(value: str) -> Any:
        if value not in choices:
            raise ValueError(f"give one of {', '.join(choices)}")
        return choices[value]

    return read


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.isdecimal() or not low <= int(value) <= high:
            raise ValueError(f"give a whole number, {low} to {high}")
        return int(value)

    return read


def _size(value: str) -> Panel:
    width, _, height = value.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError("give width and height in pixels, as 240x320")
    return Panel(int(width), int(height))


KEYS: Mapping[str, Callable[[str], Any]] = {
    "profile": _profile,
    "kind": _one_of({kind.value: kind for kind in Kind}),
    "code": _one_of(WAYS),
    "size": _size,
    "width": _whole(64, 2048),
    "module": _whole(PAPER_MODULE_MIN_PX, NATIVE_MODULE_MAX_PX),
    "columns": _whole(8, 80),
    "rows": _whole(1, 8),
    "ask": _one_of({"yes": True, "no": False}),
    "baud": _whole(1200, 921_600),
    "flow": _one_of({flow: flow for flow in ("none", "rtscts", "xonxoff", "dsrdtr")}),
    "serial": str,
}
"""Key of a display's name -> what checks and reads its value.

profile: of python-escpos · kind: printer, panel, text · code: native, raster, column, instead of
what the profile has · size: a graphic display's pixels, 240x320 · width: printable dots of a
printer · module: dots of a module on paper, at most · columns, rows: characters of a line display
· ask: yes asks a printer for paper before each code · baud, flow: of a serial port · serial: of a
USB device
"""
