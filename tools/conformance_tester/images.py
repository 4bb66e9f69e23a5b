"""Rules of images (link, section 5): taken in order, checked whole, shown in time, taken away.

Rules
- A picture says what the tester wants it to say, drawn for the terminal's own panel by the same
  code that draws for the daemon.
- Where nothing of the terminal's list can be drawn for its panel, the rule cannot be tried.
"""

from __future__ import annotations

from drivers.display.geometry import Panel
from drivers.display.qr import draw
from drivers.display.raster import Picture
from drivers.link.messages import (
    DisplayClear,
    ImageData,
    ImageShow,
    ImageShown,
    ImageStatus,
    Pong,
)
from tools.conformance_tester.bench import IMAGE_PIECE_BYTES, Bench, Broken, CannotTell

PAYLOAD = "HTTPS://EXAMPLE.INVALID/PAY/1"
UNKNOWN_FORMAT = 0x7F
TOO_LARGE_BYTES = 0xFFFF_FFFF

SHORT_LIFE_S = 3


def _pictures(bench: Bench) -> list[Picture]:
    hello = bench.hello
    panel = Panel(hello.panel_width, hello.panel_height)
    drawn = draw(PAYLOAD, panel, hello.formats, hello.largest_image)
    return [picture for picture in drawn if isinstance(picture, Picture)]


def _picture(bench: Bench, pieces: int = 1) -> Picture:
    """The first of its list that has so many pieces at least."""
    for picture in _pictures(bench):
        if len(picture.data) > (pieces - 1) * IMAGE_PIECE_BYTES:
            return picture
    raise CannotTell("no picture of the terminal's formats fits its panel and the rule")


def _status(status: int, wanted: ImageShown, what: str) -> None:
    if status != wanted:
        raise Broken(f"{what}: status {status}, where {int(wanted)} ({wanted.name}) is right")


def _sees(bench: Bench, *, picture: bool, otherwise: str) -> None:
    if picture:
        bench.look(
            "sees", "picture", question="Does a QR code stand on the panel?", otherwise=otherwise
        )
    else:
        bench.look(
            "sees", "no-picture", question="Is the panel without a QR code?", otherwise=otherwise
        )


def every_format(bench: Bench) -> None:
    pictures = _pictures(bench)
    if not pictures:
        raise CannotTell("nothing of the terminal's formats can be drawn for its panel")
    for picture in pictures:
        status = bench.image(picture)
        _status(status, ImageShown.SHOWN, f"a test picture in format {picture.format:02X}")
        _sees(
            bench,
            picture=True,
            otherwise=f"a test picture in format {picture.format:02X} has status 0 and is not shown",
        )


def of_a_tender(bench: Bench) -> None:
    sale = bench.accepted_sale()
    status = bench.image(_picture(bench), sale)
    _status(status, ImageShown.SHOWN, "the image of an accepted sale")
    _sees(bench, picture=True, otherwise="the image of an accepted sale is not shown")
    bench.end(sale)
    bench.wait(0.2)
    _sees(bench, picture=False, otherwise="the image stands on the panel after OUTCOME")


def bad_check(bench: Bench) -> None:
    picture = _picture(bench)
    status = bench.image(picture, image_crc=_crc(picture) ^ 1)
    _status(status, ImageShown.BAD_CHECK, "an image with a wrong DF1B")
    _sees(bench, picture=False, otherwise="an image with a wrong DF1B is shown")
    _status(bench.image(picture), ImageShown.SHOWN, "the same image, with a right DF1B")


def _crc(picture: Picture) -> int:
    import zlib  # noqa: PLC0415 - here alone

    return zlib.crc32(picture.data)


def gap(bench: Bench) -> None:
    picture = _picture(bench)
    half = len(picture.data) // 2
    image_id = bench.image_open(picture)
    bench.image_data(image_id, picture.data[: half - 1])
    bench.say(ImageData(image_id, half, picture.data[half : half + IMAGE_PIECE_BYTES]))
    _status(bench.image_show(image_id), ImageShown.BAD_CHECK, "an image with a gap in its data")
    image_id = bench.image_open(picture)
    bench.image_data(image_id, picture.data[:half])
    _status(bench.image_show(image_id), ImageShown.BAD_CHECK, "an image without its second half")


def duplicate_piece(bench: Bench) -> None:
    picture = _picture(bench)
    image_id = bench.image_open(picture)
    for at in range(0, len(picture.data), IMAGE_PIECE_BYTES):
        frame = bench.say(ImageData(image_id, at, picture.data[at : at + IMAGE_PIECE_BYTES]))
        bench.deliver(frame, "the same IMAGE_DATA frame again")
    status = bench.image_show(image_id)
    _status(status, ImageShown.SHOWN, "an image whose frames were all sent twice")


def too_large(bench: Bench) -> None:
    picture = _picture(bench)
    largest = bench.hello.largest_image
    length = TOO_LARGE_BYTES if largest is None else largest + 1
    image_id = bench.image_open(picture, image_length=length)
    heard = bench.perhaps(ImageStatus, 0.5, where=lambda status: status.image_id == image_id)
    if heard is None:
        status = bench.image_show(image_id)
    else:
        assert isinstance(heard.message, ImageStatus)
        status = heard.message.status
    _status(status, ImageShown.OUT_OF_MEMORY, f"an image of {length} bytes")


def unknown_format(bench: Bench) -> None:
    picture = _picture(bench)
    image_id = bench.image_open(picture, image_format=UNKNOWN_FORMAT)
    heard = bench.perhaps(ImageStatus, 0.5, where=lambda status: status.image_id == image_id)
    if heard is None:
        bench.image_data(image_id, picture.data)
        status = bench.image_show(image_id)
    else:
        assert isinstance(heard.message, ImageStatus)
        status = heard.message.status
    _status(status, ImageShown.UNKNOWN_FORMAT, f"an image in format {UNKNOWN_FORMAT:02X}")


def new_open(bench: Bench) -> None:
    picture = _picture(bench)
    half = len(picture.data) // 2
    first = bench.image_open(picture)
    bench.image_data(first, picture.data[:half])
    second = bench.image_open(picture)
    # Nothing of the first one may get into the second.
    bench.say(ImageData(first, half, picture.data[half : half + IMAGE_PIECE_BYTES]))
    bench.image_data(second, picture.data)
    status = bench.image_show(second)
    _status(status, ImageShown.SHOWN, "an image begun before another one was finished")


def cleared(bench: Bench) -> None:
    picture = _picture(bench)
    image_id = bench.image_open(picture)
    bench.image_data(image_id, picture.data)
    bench.say(DisplayClear())
    status = bench.image_show(image_id)
    _status(status, ImageShown.BAD_CHECK, "IMAGE_SHOW of an image that DISPLAY_CLEAR has ended")
    _status(bench.image(picture), ImageShown.SHOWN, "a test picture")
    bench.say(DisplayClear())
    bench.wait(0.2)
    _sees(bench, picture=False, otherwise="a picture stands on the panel after DISPLAY_CLEAR")


def between_pieces(bench: Bench) -> None:
    sale = bench.accepted_sale()
    picture = _picture(bench)
    image_id = bench.image_open(picture, sale)
    for at in range(0, len(picture.data), IMAGE_PIECE_BYTES):
        bench.say(ImageData(image_id, at, picture.data[at : at + IMAGE_PIECE_BYTES]))
        bench.progress(sale)
        bench.say(Pong())
    status = bench.image_show(image_id)
    _status(status, ImageShown.SHOWN, "an image with other messages between its pieces")
    bench.end(sale)


def before_accepted(bench: Bench) -> None:
    sale = bench.sale()
    picture = _picture(bench)
    status = bench.image(picture, sale)
    _status(status, ImageShown.BAD_CHECK, "the image of a sale before its ACCEPTED")
    _sees(bench, picture=False, otherwise="the image of a sale is shown before its ACCEPTED")
    bench.accepted(sale)
    _status(bench.image(picture, sale), ImageShown.SHOWN, "the same image after ACCEPTED")
    bench.end(sale)


def of_another_sale(bench: Bench) -> None:
    sale = bench.accepted_sale()
    strange = bench.unknown_counter()
    status = bench.image(_picture(bench), sale, counter=strange)
    _status(status, ImageShown.BAD_CHECK, "the image of a counter that is not open")
    bench.end(sale)


def after_other_amount(bench: Bench) -> None:
    sale = bench.sale()
    bench.accepted(sale, amount_minor=sale.amount_minor + 1)
    status = bench.image(_picture(bench), sale)
    _status(status, ImageShown.BAD_CHECK, "an image after an ACCEPTED with another amount")
    bench.end(sale)


def life_over(bench: Bench) -> None:
    sale = bench.accepted_sale(seconds_left=SHORT_LIFE_S)
    status = bench.image(_picture(bench), sale)
    _status(status, ImageShown.SHOWN, "the image of an accepted sale")
    bench.wait(SHORT_LIFE_S + 1.0)
    _sees(bench, picture=False, otherwise="the image stands on the panel after DF06 has run out")
    bench.end(sale)


def while_closing(bench: Bench) -> None:
    sale = bench.accepted_sale()
    status = bench.image(_picture(bench), sale)
    _status(status, ImageShown.SHOWN, "the image of an accepted sale")
    bench.progress(sale, seconds_left=0)
    bench.wait(0.5)
    _sees(
        bench, picture=False, otherwise="the image stands on the panel after a PROGRESS with DF06 0"
    )
    status = bench.image(_picture(bench), sale)
    _status(status, ImageShown.BAD_CHECK, "the image of a sale whose DF06 is 0")
    bench.end(sale)


def show_again(bench: Bench) -> None:
    picture = _picture(bench)
    image_id = bench.image_open(picture)
    bench.image_data(image_id, picture.data)
    frame = bench.say(ImageShow(image_id))
    status = bench.image_status(image_id)
    _status(status, ImageShown.SHOWN, "a test picture")
    bench.deliver(frame, "the same IMAGE_SHOW frame again")
    bench.never(ImageStatus, 0.5, after="after the same IMAGE_SHOW frame again")
