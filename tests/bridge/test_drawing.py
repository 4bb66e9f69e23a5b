"""The first picture that can be made."""

from __future__ import annotations

from bridge.drawing import first_picture
from bridge.lane import CannotShow
from drivers.display.geometry import Panel
from drivers.display.raster import show
from drivers.display.reading import bytes_in

PAYLOAD = "https://pay.example/abc"


def test_the_first_of_the_list_that_fits_is_drawn_and_says_the_payload() -> None:
    panel = Panel(128, 64)
    for formats, chosen in ((b"\x10\x83", 0x10), (b"\x7e\x83", 0x83)):
        picture = first_picture(PAYLOAD, panel, formats, None)
        assert not isinstance(picture, CannotShow)
        assert picture.format == chosen
        shown = show(picture.format, picture.width, picture.height, picture.data, panel)
        assert bytes_in(shown) == {PAYLOAD.encode()}


def test_what_is_larger_than_the_terminal_takes_is_passed_over() -> None:
    picture = first_picture(PAYLOAD, Panel(128, 64), b"\x01\x10", 200)
    assert not isinstance(picture, CannotShow)
    assert picture.format == 0x10


def test_where_nothing_can_be_made_it_says_why() -> None:
    nothing = first_picture(PAYLOAD, Panel(10, 10), b"\x01\x10", None)
    assert isinstance(nothing, CannotShow)
    assert nothing.why
    assert isinstance(first_picture(PAYLOAD, Panel(128, 64), b"", None), CannotShow)
