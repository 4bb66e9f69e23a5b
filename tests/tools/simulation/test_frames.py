import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.dialect import DIALECTS
from drivers.link.messages import Cancel, Ping
from tools.simulation.frames import bodies, kermit


def test_the_check_value_of_the_link_page() -> None:
    assert kermit(b"123456789") == 0x2189


@given(st.binary(min_size=2, max_size=60).filter(lambda body: body[0] != 0))
def test_a_frame_of_the_session_is_found_and_a_damaged_one_is_not(body: bytes) -> None:
    frame = DIALECTS["native"].framing.encode(body)
    assert body in bodies("dle-crc16", b"\x06" + frame + b"\x10")
    damaged = frame[:-1] + bytes((frame[-1] ^ 1,))
    assert body not in bodies("dle-crc16", damaged)


@pytest.mark.parametrize("message", [Ping(), Cancel("T0000001", 7)])
def test_the_same_of_the_other_framing(message: Ping | Cancel) -> None:
    dialect = DIALECTS["classic"]
    body = dialect.encoding.encode(message, 5)
    frame = dialect.framing.encode(body)
    assert bodies("stx-lrc", b"\x15" + frame) == {body}
    assert bodies("stx-lrc", frame[:-1] + bytes((frame[-1] ^ 4,))) == set()
    two_bits = bytearray(body)  # of one column: the LRC does not see them, DF7E does
    two_bits[2] ^= 1
    two_bits[3] ^= 1
    assert bodies("stx-lrc", dialect.framing.encode(bytes(two_bits))) == set()
