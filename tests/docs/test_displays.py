"""docs/displays.md and the pictures beside it are what the code makes."""

from __future__ import annotations

import re

import pytest
import zxingcpp
from PIL import Image, ImageChops

from drivers import profiles
from drivers.display import escpos
from tests.docs.page import TOP, Page
from tools.displays_page import PICTURES, page, pictures
from tools.panel_pictures import PAYLOAD

PAGE = Page("docs/displays.md")
BY_OTHERS = ("| `21` |", "| `22` |")
"""Rows whose sizes come from Pillow's own libraries: another release may differ by some bytes."""
LEEWAY = 0.05
NUMBER = re.compile(r"(?<=\| )[\d,.]+(?= \|)")


def numbers(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(line)]


def without_sorting(text: str) -> list[str]:
    """Rows in an order of their own: two that cost nearly the same may change places."""
    return sorted(text.splitlines())


def test_what_is_made_in_the_page_is_as_it_is_made_now() -> None:
    written, made = without_sorting(PAGE.text), without_sorting(page(PAGE.text))
    assert len(written) == len(made)
    for one, other in zip(written, made, strict=True):
        if one.startswith(BY_OTHERS) and numbers(one):
            assert numbers(one) == pytest.approx(numbers(other), rel=LEEWAY)
        else:
            assert one == other, "run: .venv/bin/python -m tools.displays_page"


def test_the_pictures_are_what_the_devices_show() -> None:
    made = pictures()
    assert {file.name for file in PICTURES.iterdir()} == set(made)
    for name, image in made.items():
        with Image.open(PICTURES / name) as written:
            difference = ImageChops.difference(written.convert("L"), image)
        leeway = 40 if name == "format-22.png" else 0
        assert difference.getextrema()[1] <= leeway, name


def test_each_picture_can_be_scanned_from_the_page() -> None:
    for file in PICTURES.iterdir():
        with Image.open(file) as image:
            (found,) = zxingcpp.read_barcodes(image.convert("L"))
        assert found.text == PAYLOAD, file.name


def test_every_picture_is_shown_and_every_shown_one_is_there() -> None:
    shown = set(re.findall(r'src="pictures/([^"]+)"', PAGE.text))
    assert shown == {file.name for file in PICTURES.iterdir()}


def test_every_key_of_a_profile_and_of_a_display_is_told() -> None:
    for key in (*profiles.KEYS, *escpos.KEYS):
        assert f"`{key}`" in PAGE.text, key
    for quirk in profiles.Quirk:
        assert f"`{quirk.value}`" in PAGE.text


def test_what_the_page_names_is_there() -> None:
    for name in re.findall(r"`(tools/[\w/]+|config/[\w/]+)`?", PAGE.text):
        assert (TOP / name).exists(), name
    for name in re.findall(r"--profile (family-[\w-]+|mono-[\w-]+)", PAGE.text):
        assert profiles.profile_named(name)


@pytest.mark.parametrize("display", re.findall(r"'(escpos:[^']+)'", PAGE.text))
def test_every_display_of_an_example_can_be_named(display: str) -> None:
    escpos.escpos_display(display.removeprefix("escpos:"))
