"""Modules on a panel -> the bytes of each image format, and back (the link's section 5).

Rules of this module:
- A format is one row of a table: code, name, how it is written, how a device shows it. Packages
  outside add rows by the entry point group `partpay_bridge.image_formats`.
- Formats 01 to 04, 20 to 22 and 30 are pictures of the whole panel; 10 is the modules alone.
- 80 added to a format of plain pixels is the same bytes, packed (PackBits, one stream).
- Writing tells what it can make, best first, or why it can make nothing; showing takes bytes from
  anywhere and raises BadImage, and nothing else, for what no device could show.
- Showing is for reading back, simulated terminals and pictures of panels: it follows the page,
  not the writer.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from PIL import Image

from drivers.display.geometry import DoesNotFit, Panel, Placement, place, place_by_terminal
from drivers.display.packbits import BadPacking, pack, unpack
from drivers.display.symbol import Modules

ENTRY_POINT_GROUP = "partpay_bridge.image_formats"
PACKED = 0x80
"""Added to the code of a format of plain pixels: its bytes are packed."""
SHOWN_MAX_PIXELS = 4_000_000
"""No panel of a payment terminal has more; a file that claims more is not decoded."""
JPEG_QUALITY = 80
"""Every pixel is on its own side of the middle from 40 on, and a second reader (ZBar) missed one
picture in 130 at 50, none in 800 at 60; the rest is for panels and cameras that add their own."""

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_INVERTED_BITS = bytes(range(255, -1, -1))
_BMP_HEAD = struct.Struct("<2sIHHI IiiHHIIiiII 4s4s")
_LIGHT_AND_DARK = (b"\xff\xff\xff\x00", b"\x00\x00\x00\x00")
"""A palette in which 1 is dark, so that firmware that looks at the bits alone is right too."""


class BadImage(ValueError):  # noqa: N818 - says what it is
    """Bytes that are no picture of that format and size for that panel; says what is wrong."""


class UnknownFormat(BadImage):
    """No format of that code is known here."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the link sends it: DF15, DF16, DF17 and the bytes that DF18 and DF1B speak of."""

    format: int
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CannotDraw:
    """Why there is no picture, of this format where one is named."""

    why: str
    format: int | None = None


@dataclass(frozen=True)
class Drawing:
    """What a format is written from: a symbol, the panel it is for, and PartPay's own picture."""

    modules: Modules
    panel: Panel
    original: bytes | None = None

    @functools.cached_property
    def pixels(self) -> Pixels | DoesNotFit:
        """The whole panel with the code in its middle."""
        placement = place(self.modules.side, self.panel)
        if isinstance(placement, DoesNotFit):
            return placement
        return _pixels(self.modules, self.panel, placement)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Black and white: rows from the top, padded to bytes, leftmost the high bit, 1 is dark."""

    width: int
    height: int
    data: bytes

    @property
    def stride_bytes(self) -> int:
        return -(-self.width // 8)

    def image(self) -> Image.Image:
        """Mode L, 0 is dark."""
        return self._image("1;I").convert("L")

    def columns(self) -> bytes:
        """The same columnwise: each column padded to bytes, topmost the high bit, 1 is dark."""
        return self._image("1").transpose(Image.Transpose.TRANSPOSE).tobytes()

    def _image(self, raw_mode: str) -> Image.Image:
        return Image.frombytes("1", (self.width, self.height), self.data, "raw", raw_mode)


Write = Callable[[Drawing, int], Iterator[Picture | CannotDraw]]
"""(drawing, code) -> the pictures of that format that can be made, best first, or why none can."""
Show = Callable[[int, int, bytes, Panel], Image.Image]
"""(width, height, data, panel) -> the picture, mode L, or of the panel's size, or smaller, for the
middle of the panel. May raise anything."""


@dataclass(frozen=True, slots=True)
class ImageFormat:
    code: int
    name: str
    what: str
    write: Write
    show: Show


@dataclass(frozen=True, slots=True)
class FormatTable:
    """The formats that are known, by code and by name, and what was wrong with those left out."""

    by_code: Mapping[int, ImageFormat]
    by_name: Mapping[str, ImageFormat]
    problems: tuple[str, ...]


@functools.cache
def image_formats() -> FormatTable:
    """All formats, those of other packages too. Looked up once; a broken one of another package is
    left out and told in `problems`, so that it stops no sale."""
    by_code = {known.code: known for known in BUILT_IN}
    by_name = {known.name: known for known in BUILT_IN}
    problems = []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            added = point.load()
        except Exception as error:  # noqa: BLE001 - another package's import may raise anything
            problems.append(f"image format {point.value}: {type(error).__name__}: {error}")
            continue
        if not isinstance(added, ImageFormat) or not 0 < added.code <= 0xFF:
            problems.append(f"image format {point.value}: it is no ImageFormat of code 01 to FF")
        elif added.code in by_code or added.name in by_name:
            problems.append(f"image format {point.value}: {added.code:02X} or its name is taken")
        else:
            by_code[added.code] = by_name[added.name] = added
    return FormatTable(by_code, by_name, tuple(problems))


def show(image_format: int, width: int, height: int, data: bytes, panel: Panel) -> Image.Image:
    """What a panel looks like with this image on it: mode L, of the panel's size, 0 is dark.

    `width` and `height` are DF16 and DF17, `data` the bytes as sent. Raises UnknownFormat for a
    code that nobody knows (image status 3), BadImage for bytes that no device could show.
    """
    known = image_formats().by_code.get(image_format)
    if known is None:
        raise UnknownFormat(f"image format {image_format:02X} is not known")
    try:
        image = known.show(width, height, data, panel)
    except BadImage:
        raise
    except Exception as error:
        raise BadImage(f"{known.name}: {type(error).__name__}: {error}") from error
    if image.width > panel.width or image.height > panel.height:
        raise BadImage(f"{known.name}: {image.width} × {image.height} is more than {panel}")
    if image.size == (panel.width, panel.height):
        return image
    shown = Image.new("L", (panel.width, panel.height), "white")
    shown.paste(image, ((panel.width - image.width) // 2, (panel.height - image.height) // 2))
    return shown


def _pixels(modules: Modules, panel: Panel, placement: Placement) -> Pixels:
    stride_bytes = -(-panel.width // 8)
    right = stride_bytes * 8 - placement.left - placement.side_px
    light, dark = "0" * placement.module_px, "1" * placement.module_px
    rows = [bytes(stride_bytes) * placement.top]
    for row in modules.rows:
        bits = f"{row:0{modules.side}b}".replace("1", "x").replace("0", light).replace("x", dark)
        rows.append((int(bits, 2) << right).to_bytes(stride_bytes, "big") * placement.module_px)
    bottom = panel.height - placement.top - placement.side_px
    rows.append(bytes(stride_bytes) * bottom)
    return Pixels(panel.width, panel.height, b"".join(rows))


def _bits(
    encode: Callable[[Pixels], bytes], decode: Callable[[int, int, bytes], Pixels]
) -> tuple[Write, Show]:
    """Formats of one bit a pixel: 1 is dark, or light where the panel is inverted."""

    def write(drawing: Drawing, code: int) -> Iterator[Picture | CannotDraw]:
        pixels = drawing.pixels
        if isinstance(pixels, DoesNotFit):
            yield CannotDraw(pixels.why, code)
            return
        data = _polarised(encode(pixels), drawing.panel)
        yield Picture(code, pixels.width, pixels.height, data)

    def shown(width: int, height: int, data: bytes, panel: Panel) -> Image.Image:
        return decode(width, height, _polarised(data, panel)).image()

    return write, shown


def _polarised(data: bytes, panel: Panel) -> bytes:
    return data.translate(_INVERTED_BITS) if panel.inverted else data


def _rows(pixels: Pixels) -> bytes:
    return pixels.data


def _rows_low_bit_left(pixels: Pixels) -> bytes:
    return pixels.data.translate(_REVERSED_BITS)


def _from_rows(width: int, height: int, data: bytes) -> Pixels:
    _check_size(data, -(-width // 8) * height)
    return Pixels(width, height, data)


def _from_rows_low_bit_left(width: int, height: int, data: bytes) -> Pixels:
    return _from_rows(width, height, data.translate(_REVERSED_BITS))


def _pages_high_bit_top(pixels: Pixels) -> bytes:
    columns = pixels.columns()
    pages = -(-pixels.height // 8)
    return b"".join(columns[page::pages] for page in range(pages))


def _pages_low_bit_top(pixels: Pixels) -> bytes:
    return _pages_high_bit_top(pixels).translate(_REVERSED_BITS)


def _from_pages_high_bit_top(width: int, height: int, data: bytes) -> Pixels:
    pages = -(-height // 8)
    _check_size(data, width * pages)
    columns = b"".join(data[column::width] for column in range(width))
    turned = Pixels(pages * 8, width, columns).columns()
    return Pixels(width, height, turned[: -(-width // 8) * height])


def _from_pages_low_bit_top(width: int, height: int, data: bytes) -> Pixels:
    return _from_pages_high_bit_top(width, height, data.translate(_REVERSED_BITS))


def _check_size(data: bytes, size_bytes: int) -> None:
    if len(data) != size_bytes:
        raise BadImage(f"{len(data)} bytes where there must be {size_bytes}")


def _write_modules(drawing: Drawing, code: int) -> Iterator[Picture | CannotDraw]:
    side = drawing.modules.side
    placement = place_by_terminal(side, drawing.panel)
    if isinstance(placement, DoesNotFit):
        yield CannotDraw(placement.why, code)
        return
    data = bytes((side,)) + _polarised(drawing.modules.packed(), drawing.panel)
    yield Picture(code, side, side, data)


def _show_modules(width: int, height: int, data: bytes, panel: Panel) -> Image.Image:
    side = data[0] if data else 0
    if side != width or side != height or side < 21 or side > 177 or side % 4 != 1:
        raise BadImage(f"{side} modules a side, {width} × {height} told")
    size_bytes = -(-side * side // 8)
    _check_size(data, 1 + size_bytes)
    bits = int.from_bytes(_polarised(data[1:], panel), "big") >> (size_bytes * 8 - side * side)
    rows = tuple(bits >> (side * (side - 1 - row)) & ((1 << side) - 1) for row in range(side))
    placement = place_by_terminal(side, panel)
    if isinstance(placement, DoesNotFit):
        raise BadImage(placement.why)
    return _pixels(Modules(side, rows, ""), panel, placement).image()


def _packed(plain: ImageFormat, size_bytes: Callable[[int, int], int]) -> ImageFormat:
    def write(drawing: Drawing, code: int) -> Iterator[Picture | CannotDraw]:
        for made in plain.write(drawing, code):
            if isinstance(made, Picture):
                yield Picture(code, made.width, made.height, pack(made.data))
            else:
                yield made

    def shown(width: int, height: int, data: bytes, panel: Panel) -> Image.Image:
        try:
            unpacked = unpack(data, size_bytes(width, height))
        except BadPacking as error:
            raise BadImage(f"{plain.name}, packed: {error}") from error
        return plain.show(width, height, unpacked, panel)

    return ImageFormat(
        plain.code | PACKED, f"packed-{plain.name}", f"{plain.what}; packed", write, shown
    )


def _rgb565(pixels: Pixels) -> bytes:
    rows: dict[bytes, bytes] = {}
    out = []
    for at in range(0, len(pixels.data), pixels.stride_bytes):
        row = pixels.data[at : at + pixels.stride_bytes]
        if row not in rows:
            bits = f"{int.from_bytes(row, 'big'):0{len(row) * 8}b}"[: pixels.width].encode()
            rows[row] = bits.replace(b"0", b"\xff\xff").replace(b"1", b"\x00\x00")
        out.append(rows[row])
    return b"".join(out)


def _show_rgb565(width: int, height: int, data: bytes, panel: Panel) -> Image.Image:
    _check_size(data, 2 * width * height)
    swapped = bytearray(len(data))
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    image = Image.frombytes("RGB", (width, height), bytes(swapped), "raw", "BGR;16")
    return image.convert("L")


def _bmp(pixels: Pixels) -> bytes:
    stride_bytes = -(-pixels.stride_bytes // 4) * 4
    padding = bytes(stride_bytes - pixels.stride_bytes)
    starts = range(len(pixels.data) - pixels.stride_bytes, -1, -pixels.stride_bytes)
    rows = [pixels.data[at : at + pixels.stride_bytes] + padding for at in starts]
    head = _BMP_HEAD.pack(
        *(b"BM", _BMP_HEAD.size + stride_bytes * pixels.height, 0, 0, _BMP_HEAD.size),
        *(40, pixels.width, pixels.height, 1, 1, 0, stride_bytes * pixels.height, 0, 0, 2, 2),
        *_LIGHT_AND_DARK,
    )
    return head + b"".join(rows)


def _png(pixels: Pixels) -> bytes:
    return _saved(pixels.image().convert("1"), "PNG", optimize=True)


def _saved(image: Image.Image, file_format: str, **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **how)
    return out.getvalue()


def _whole_panel(encode: Callable[[Pixels], bytes]) -> Write:
    """Files and colours: they say themselves what is dark."""

    def write(drawing: Drawing, code: int) -> Iterator[Picture | CannotDraw]:
        pixels = drawing.pixels
        if isinstance(pixels, DoesNotFit):
            yield CannotDraw(pixels.why, code)
        else:
            yield Picture(code, pixels.width, pixels.height, encode(pixels))

    return write


def _write_jpeg(drawing: Drawing, code: int) -> Iterator[Picture | CannotDraw]:
    if drawing.original is not None:
        try:
            with Image.open(io.BytesIO(drawing.original), formats=("JPEG",)) as image:
                width, height = image.size
        except Exception:  # noqa: BLE001 - no JPEG; whatever else it is, it is drawn anew
            width, height = 0, 0
        if 0 < width <= drawing.panel.width and 0 < height <= drawing.panel.height:
            yield Picture(code, width, height, drawing.original)
    yield from _WRITE_JPEG_ANEW(drawing, code)


def _jpeg(pixels: Pixels) -> bytes:
    return _saved(pixels.image(), "JPEG", quality=JPEG_QUALITY, optimize=True)


_WRITE_JPEG_ANEW = _whole_panel(_jpeg)


def _file(file_format: str) -> Show:
    def shown(width: int, height: int, data: bytes, panel: Panel) -> Image.Image:
        with Image.open(io.BytesIO(data), formats=(file_format,)) as image:
            if image.size != (width, height):
                raise BadImage(f"{width} × {height} told, the file has {image.size}")
            if width * height > SHOWN_MAX_PIXELS:
                raise BadImage(f"{width} × {height} pixels are more than {SHOWN_MAX_PIXELS}")
            return image.convert("L")

    return shown


def _row_bytes(width: int, height: int) -> int:
    return -(-width // 8) * height


def _page_bytes(width: int, height: int) -> int:
    return width * -(-height // 8)


ROWS = ImageFormat(0x01, "rows", "rows, leftmost pixel the high bit", *_bits(_rows, _from_rows))
ROWS_LOW = ImageFormat(
    0x02,
    "rows-low",
    "rows, leftmost pixel the low bit",
    *_bits(_rows_low_bit_left, _from_rows_low_bit_left),
)
PAGES = ImageFormat(
    0x03,
    "pages",
    "pages of 8 rows, top pixel the low bit",
    *_bits(_pages_low_bit_top, _from_pages_low_bit_top),
)
PAGES_HIGH = ImageFormat(
    0x04,
    "pages-high",
    "pages of 8 rows, top pixel the high bit",
    *_bits(_pages_high_bit_top, _from_pages_high_bit_top),
)
MODULES = ImageFormat(
    0x10, "modules", "QR modules, scaled by the terminal", _write_modules, _show_modules
)
BMP = ImageFormat(0x20, "bmp", "Windows BMP file, 1 bit a pixel", _whole_panel(_bmp), _file("BMP"))
PNG = ImageFormat(0x21, "png", "PNG file", _whole_panel(_png), _file("PNG"))
JPEG = ImageFormat(0x22, "jpeg", "JPEG file", _write_jpeg, _file("JPEG"))
RGB565 = ImageFormat(
    0x30, "rgb565", "rows of RGB565, big-endian", _whole_panel(_rgb565), _show_rgb565
)
BUILT_IN: tuple[ImageFormat, ...] = (
    *(ROWS, ROWS_LOW, PAGES, PAGES_HIGH, MODULES, BMP, PNG, JPEG, RGB565),
    _packed(ROWS, _row_bytes),
    _packed(ROWS_LOW, _row_bytes),
    _packed(PAGES, _page_bytes),
    _packed(PAGES_HIGH, _page_bytes),
    _packed(MODULES, lambda width, height: 1 + -(-width * height // 8)),
    _packed(RGB565, lambda width, height: 2 * width * height),
)
