"""An ESC/POS device written from the command reference: what bytes look like on paper or panel.

It shares nothing with python-escpos or drivers/display. It knows the commands that a display of
ours may send and fails at any other. Paper is a list of dot rows; text is drawn as solid blocks,
so that text that runs into a code's quiet zone spoils it, as it would on paper.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

import qrcode
from PIL import Image

ESC, GS, LF, CLR = 0x1B, 0x1D, 0x0A, 0x0C
CHARACTER_PX = (12, 24)
LEVELS = {
    48: qrcode.ERROR_CORRECT_L,
    49: qrcode.ERROR_CORRECT_M,
    50: qrcode.ERROR_CORRECT_Q,
    51: qrcode.ERROR_CORRECT_H,
}


class NotUnderstood(AssertionError):  # noqa: N818 - says what it is
    """Bytes that no device of this kind was told about."""


@dataclass
class LineDisplay:
    """20 × 2 characters, overwriting, wrapping from the first line to the second and back."""

    columns: int = 20
    rows: int = 2
    cells: list[str] = field(default_factory=list)
    at: int = 0

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.cells, self.at = [" "] * self.columns * self.rows, 0

    def put(self, letter: str) -> None:
        self.cells[self.at] = letter
        self.at = (self.at + 1) % len(self.cells)

    @property
    def lines(self) -> list[str]:
        text = "".join(self.cells)
        return [text[at : at + self.columns].rstrip() for at in range(0, len(text), self.columns)]


@dataclass
class Paper:
    """A printer, or a graphic display: `clears` says that CLR empties it."""

    width: int = 576
    clears: bool = False
    text: str = ""
    cuts: int = 0
    stored: bytes = b""
    printed_by_itself: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()
        self.strips: list[Image.Image] = []

    def reset(self) -> None:
        self.centred = False
        self.spacing = 30
        self.line: list[Image.Image] = []
        self.qr_size, self.qr_level, self.stored = 3, 48, b""

    def feed(self, dots: int) -> None:
        if dots:
            self.strips.append(Image.new("1", (self.width, dots), 1))

    def print_line(self) -> None:
        """What is in the line buffer, and the paper moves on: at least by the height of it."""
        height = max((piece.height for piece in self.line), default=0)
        if self.line:
            whole = Image.new("1", (sum(piece.width for piece in self.line), height), 1)
            left = 0
            for piece in self.line:
                whole.paste(piece, (left, 0))
                left += piece.width
            self.place(whole)
            self.line = []
        self.feed(max(0, self.spacing - height))

    def place(self, picture: Image.Image) -> None:
        if picture.width > self.width:
            raise NotUnderstood(f"{picture.width} dots on {self.width}")
        strip = Image.new("1", (self.width, picture.height), 1)
        strip.paste(picture, ((self.width - picture.width) // 2 if self.centred else 0, 0))
        self.strips.append(strip)

    @property
    def image(self) -> Image.Image:
        """All that is on the paper, mode L."""
        paper = Image.new(
            "L", (self.width, max(1, sum(strip.height for strip in self.strips))), 255
        )
        top = 0
        for strip in self.strips:
            paper.paste(strip, (0, top))
            top += strip.height
        return paper


class Interpreter:
    """A printer with a line display passed through it; either may be looked at alone."""

    def __init__(self, width: int = 576, clears: bool = False, dots: bool = True) -> None:
        self.paper = Paper(width, clears)
        self.line_display = LineDisplay()
        self.to_line_display = not dots
        self.asked: list[int] = []

    def take(self, data: bytes) -> None:
        """Interpret whole commands; raises NotUnderstood."""
        self.data, self.at = data, 0
        while self.at < len(data):
            self.step()

    def next(self, count: int = 1) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) != count:
            raise NotUnderstood(f"{count} bytes were to come, {len(taken)} are there")
        self.at += count
        return taken

    def number(self, count: int = 1) -> int:
        return int.from_bytes(self.next(count), "little")

    def step(self) -> None:
        byte = self.number()
        if byte == ESC:
            self.escape()
        elif byte == GS:
            self.group()
        elif byte == 0x10:
            if self.next() != b"\x04":
                raise NotUnderstood("DLE without EOT")
            self.asked.append(self.number())
        elif byte == LF and not self.to_line_display:
            self.paper.text += "\n"
            self.paper.print_line()
        elif byte == CLR and self.to_line_display:
            self.line_display.clear()
        elif byte == CLR and self.paper.clears:
            self.paper.strips, self.paper.line, self.paper.text = [], [], ""
        elif chr(byte) in string.printable[:95]:
            self.letter(chr(byte))
        else:
            raise NotUnderstood(f"{byte:02X} at {self.at - 1}")

    def letter(self, letter: str) -> None:
        if self.to_line_display:
            self.line_display.put(letter)
            return
        self.paper.text += letter
        if sum(piece.width for piece in self.paper.line) + CHARACTER_PX[0] > self.paper.width:
            self.paper.print_line()
        self.paper.line.append(Image.new("1", CHARACTER_PX, int(letter == " ")))

    def escape(self) -> None:
        command = self.next()
        if command == b"@":
            if self.to_line_display:
                self.line_display.clear()
            else:
                self.paper.reset()
        elif command == b"=":
            self.to_line_display = self.number() == 2
        elif command == b"t":
            self.next()
        elif command == b"a":
            self.paper.centred = self.number() in (1, 49)
        elif command == b"3":
            self.paper.spacing = self.number()
        elif command == b"2":
            self.paper.spacing = 30
        elif command == b"d":
            for _ in range(self.number()):
                self.paper.print_line()
        elif command == b"*":
            self.columns()
        else:
            raise NotUnderstood(f"ESC {command!r} at {self.at - 1}")

    def columns(self) -> None:
        """ESC * m nL nH: columns of 24 dots, top dot the high bit, three bytes a column."""
        if self.number() != 33:
            raise NotUnderstood("ESC * in another density than 24 dots, double")
        width = self.number(2)
        piece = Image.new("1", (width, 24), 1)
        for x in range(width):
            column = int.from_bytes(self.next(3), "big")
            for y in range(24):
                if column >> (23 - y) & 1:
                    piece.putpixel((x, y), 0)
        self.paper.line.append(piece)

    def group(self) -> None:
        command = self.next()
        if command == b"v":
            self.rows()
        elif command == b"(":
            self.function()
        elif command == b"V":
            if self.number() in (65, 66):
                self.next()
            self.paper.cuts += 1
        else:
            raise NotUnderstood(f"GS {command!r} at {self.at - 1}")

    def rows(self) -> None:
        """GS v 0 m xL xH yL yH: rows, leftmost dot the high bit."""
        if self.next(2) != b"0\x00":
            raise NotUnderstood("GS v in another mode than 0, at another size than 1")
        if self.paper.line:
            raise NotUnderstood("GS v 0 with something in the line buffer")
        stride, height = self.number(2), self.number(2)
        picture = Image.new("1", (stride * 8, height), 1)
        for y in range(height):
            row = int.from_bytes(self.next(stride), "big")
            for x in range(stride * 8):
                if row >> (stride * 8 - 1 - x) & 1:
                    picture.putpixel((x, y), 0)
        self.paper.place(picture)

    def function(self) -> None:
        """GS ( k pL pH cn fn …: two-dimensional codes; cn 49 is QR."""
        if self.next() != b"k":
            raise NotUnderstood("GS ( with another letter than k")
        body = self.next(self.number(2))
        if body[0] != 49:
            raise NotUnderstood("GS ( k for another code than QR")
        function, rest = body[1], body[2:]
        if function == 65:
            assert rest == b"2\x00", "model 2"
        elif function == 67:
            assert 1 <= rest[0] <= 16, "dots of a module"
            self.paper.qr_size = rest[0]
        elif function == 69:
            self.paper.qr_level = rest[0]
        elif function == 80:
            assert rest[:1] == b"0"
            self.paper.stored = rest[1:]
        elif function == 81:
            assert rest == b"0"
            self.print_code()
        else:
            raise NotUnderstood(f"GS ( k function {function}")

    def print_code(self) -> None:
        """By the plainest printer there is: it knows bytes alone, and prints no quiet zone."""
        code = qrcode.QRCode(
            border=0, box_size=self.paper.qr_size, error_correction=LEVELS[self.paper.qr_level]
        )
        code.add_data(qrcode.util.QRData(self.paper.stored, mode=qrcode.util.MODE_8BIT_BYTE))
        self.paper.printed_by_itself.append(self.paper.stored)
        self.paper.place(code.make_image().get_image().convert("1"))
