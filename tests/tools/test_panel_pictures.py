"""tools/panels: files that hold what a device would show, and plain words where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from drivers.display.geometry import Panel
from tests.drivers.display import plain_devices
from tools.panel_pictures import PAYLOAD, generic_panels, main, panel_in, png


def scanned(file: Path) -> str:
    with Image.open(file) as image:
        (found,) = zxingcpp.read_barcodes(image.convert("L"))
    return found.text


def test_one_panel_in_one_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--panel", "128x64", "--format", "83", "--to", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    assert file.name == "128x64-83-packed-pages.png"
    assert capsys.readouterr().out.split() == [str(file)]
    with Image.open(file) as image:
        assert image.size == (128, 64)
    assert scanned(file) == PAYLOAD


def test_every_generic_panel_in_every_format_can_be_scanned(tmp_path: Path) -> None:
    assert main(["--to", str(tmp_path), "--payload", "PAY:42"]) == 0
    files = list(tmp_path.iterdir())
    assert len(files) == len(generic_panels()) * 15
    assert {scanned(file) for file in files} == {"PAY:42"}


def test_pixel_for_pixel_as_a_plain_device_shows_it() -> None:
    panel = Panel(131, 61, inverted=True)
    shown = panel_in(PAYLOAD, panel, 0x03).image
    assert isinstance(shown, Image.Image)
    upright = panel_in(PAYLOAD, Panel(131, 61), 0x03).image
    assert isinstance(upright, Image.Image)
    assert shown.tobytes() == upright.tobytes(), "an inverted panel looks no different"
    dark = [[value < 128 for value in shown.tobytes()[y * 131 : (y + 1) * 131]] for y in range(61)]
    packed = bytearray()
    for page in range(8):
        for x in range(131):
            rows = range(page * 8, min(page * 8 + 8, 61))
            packed.append(sum(dark[y][x] << (y - page * 8) for y in rows))
    assert plain_devices.looks_like(0x03, 131, 61, bytes(packed)) == dark


def test_a_profiles_panel_in_its_formats(tmp_path: Path) -> None:
    assert main(["--profile", "family-ssd1306", "--to", str(tmp_path)]) == 0
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [
        "family-ssd1306-128x64-03-pages.png",
        "family-ssd1306-128x64-83-packed-pages.png",
    ]


@pytest.mark.parametrize(
    ("display", "name", "size"),
    [
        ("escpos:tcp:x?size=240x320", "escpos-panel-240x320.png", (240, 320)),
        ("escpos:tcp:x?width=576&module=4", "escpos-printer-576-dots.png", (164, 164)),
    ],
)
def test_a_display_beside(tmp_path: Path, display: str, name: str, size: tuple[int, int]) -> None:
    assert main(["--display", display, "--to", str(tmp_path)]) == 0
    with Image.open(tmp_path / name) as image:
        assert image.size == size
    assert scanned(tmp_path / name) == PAYLOAD


def test_the_code_of_partpays_picture(tmp_path: Path) -> None:
    shown = panel_in("https://pay.test/q/7", Panel(200, 200), 0x01).image
    assert isinstance(shown, Image.Image)
    (tmp_path / "partpay.png").write_bytes(png(shown))
    words = ["--picture", str(tmp_path / "partpay.png"), "--panel", "128x64", "--format", "10"]
    assert main([*words, "--to", str(tmp_path / "out")]) == 0
    (file,) = (tmp_path / "out").iterdir()
    assert scanned(file) == "https://pay.test/q/7"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--panel", "20x20"], 1, "the panel has 20 × 20"),
        (["--panel", "128x64", "--format", "7F"], 1, "7F is not known"),
        (["--display", "escpos:tcp:x?kind=text"], 1, "text alone"),
        (["--display", "escpos:nowhere"], 2, "write serial:"),
        (["--profile", "no-such"], 2, "no profile 'no-such'"),
        (["--picture", "/dev/null"], 2, "the picture is empty"),
    ],
)
def test_where_there_is_no_picture_it_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    assert main([*words, "--to", str(tmp_path / "out")]) == status
    assert said in capsys.readouterr().err
