"""PartPay's own pictures: found by what they say, and never more than there is room for."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.drawing import first_picture
from bridge.originals import BYTES_MAX, PICTURES_MAX, Originals
from drivers.display.geometry import Panel
from drivers.display.qr import Picture, draw, read_code, show

PAYLOAD = "https://pay.partpay.co.nz/o/3f1c2a9e"


def jpeg(payload: str, side: int) -> bytes:
    (picture,) = draw(payload, Panel(side, side), b"\x01")
    assert isinstance(picture, Picture)
    shown = show(1, side, side, picture.data, Panel(side, side))
    out = io.BytesIO()
    shown.convert("RGB").save(out, "JPEG", quality=95)
    return out.getvalue()


def test_what_is_kept_is_found_by_what_it_says() -> None:
    originals = Originals()
    originals.keep("a", b"first")
    originals.keep("b", b"other")
    originals.keep("a", b"second")
    assert originals.of("a") == b"second"
    assert originals.of("b") == b"other"
    assert originals.of("c") is None


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([0, 1000, 200_000, BYTES_MAX, BYTES_MAX + 1]))
    )
)
def test_there_are_never_more_than_there_is_room_for(kept: list[tuple[int, int]]) -> None:
    originals = Originals()
    for name, size in kept:
        originals.keep(str(name), bytes(size))
        if size <= BYTES_MAX:
            assert originals.of(str(name)) == bytes(size), "the latest one is always there"
    found = [one for name in range(61) if (one := originals.of(str(name))) is not None]
    assert len(found) <= PICTURES_MAX
    assert sum(map(len, found)) <= BYTES_MAX


def test_format_22_passes_on_what_partpay_sent_where_it_fits() -> None:
    sent = jpeg(PAYLOAD, 200)
    picture = first_picture(PAYLOAD, Panel(240, 320), b"\x22", None, sent)
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height, picture.data) == (200, 200, sent)


@pytest.mark.parametrize(
    ("original", "largest"),
    [
        (None, None),
        (jpeg(PAYLOAD, 320), None),
        (jpeg("another code", 200), None),
        (jpeg(PAYLOAD, 200), 15_000),
    ],
)
def test_what_does_not_fit_or_says_something_else_is_drawn_anew(
    original: bytes | None, largest: int | None
) -> None:
    picture = first_picture(PAYLOAD, Panel(240, 320), b"\x22", largest, original)
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height) == (240, 320)
    assert picture.data != original
    assert read_code(picture.data) == PAYLOAD
