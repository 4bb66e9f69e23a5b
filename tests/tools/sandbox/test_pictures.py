"""The pictures: what a decoder finds in each kind."""

from __future__ import annotations

import base64
import io

import pytest
import zxingcpp
from PIL import Image, UnidentifiedImageError

from tools.sandbox import pictures
from tools.sandbox.scenarios import Picture

PAYLOAD = "https://app-ci.partpay.co.nz/instore/order/7e7a0198-b547-421b-abc9-f7ed7b02fe7a"


def read(data: bytes) -> list[str]:
    image = Image.open(io.BytesIO(data)).convert("L")
    found = zxingcpp.read_barcodes(image)
    return [code.text for code in found if code.valid]


@pytest.mark.parametrize(
    "kind", [Picture.INLINE, Picture.BY_URL, Picture.DENSE, Picture.POOR, Picture.HUGE, Picture.PNG]
)
def test_a_decoder_reads_what_the_code_is_meant_to_say(kind: Picture) -> None:
    assert read(pictures.picture(kind, PAYLOAD)) == [pictures.payload_of(kind, PAYLOAD)]


def test_an_ordinary_picture_is_a_jpeg_of_600_pixels() -> None:
    image = Image.open(io.BytesIO(pictures.picture(Picture.INLINE, PAYLOAD)))
    assert (image.format, image.size) == ("JPEG", (600, 600))


def test_a_picture_without_a_code_has_none() -> None:
    assert read(pictures.picture(Picture.NO_CODE, PAYLOAD)) == []


def test_a_cut_jpeg_cannot_be_opened_whole() -> None:
    with pytest.raises((OSError, UnidentifiedImageError)):
        Image.open(io.BytesIO(pictures.picture(Picture.CUT, PAYLOAD))).load()


def test_a_dense_code_says_400_characters_and_begins_as_it_should() -> None:
    said = pictures.payload_of(Picture.DENSE, PAYLOAD)
    assert len(said) == 400
    assert said.startswith(PAYLOAD)


def test_the_huge_picture_is_three_mebibytes() -> None:
    assert len(pictures.picture(Picture.HUGE, PAYLOAD)) == 3 * 1024 * 1024


def test_inline_text_is_base64_but_for_the_row_that_says_it_is_not() -> None:
    text = pictures.inline(Picture.INLINE, PAYLOAD)
    assert read(base64.b64decode(text, validate=True)) == [PAYLOAD]
    assert pictures.inline(Picture.DATA_URL, PAYLOAD).startswith("data:image/jpeg;base64,/9j/")
    with pytest.raises(ValueError, match=r"base64|ascii"):
        base64.b64decode(pictures.inline(Picture.NO_PICTURE, PAYLOAD), validate=True)


@pytest.mark.parametrize("kind", [Picture.NONE, Picture.GONE_URL, Picture.NO_PICTURE])
def test_kinds_that_are_no_picture(kind: Picture) -> None:
    with pytest.raises(ValueError, match="no picture"):
        pictures.picture(kind, PAYLOAD)


def test_the_page_has_it_as_svg() -> None:
    assert "<svg" in pictures.svg(PAYLOAD)
