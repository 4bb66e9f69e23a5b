"""Every committed input of the fuzzer, run once: what was mended stays so, and the targets look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.partpay.callback import SignedCallback, check
from drivers.link.framing import dle_crc16
from tools.fuzzing import corpus
from tools.fuzzing.link_input import course, pieces, steps
from tools.fuzzing.seeds import CALLBACK
from tools.fuzzing.targets import CALLBACK_KEYS, TARGETS, Find, Target, sign


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_committed_inputs_find_nothing(target: Target) -> None:
    inputs = corpus.committed(target.name)
    assert inputs
    assert corpus.file_of(target.name).stat().st_size <= corpus.COMMITTED_MAX_BYTES
    for one in inputs:
        assert len(one) <= 20_000
        target.run(one)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_an_input(target: Target, data: bytes) -> None:
    target.run(data)


@given(st.binary(max_size=500))
def test_any_bytes_are_a_course(data: bytes) -> None:
    once = list(steps(data))
    assert list(steps(course(*once))) == once


@given(st.binary(max_size=50), st.integers(0, 20))
def test_pieces_are_the_whole(data: bytes, size: int) -> None:
    assert b"".join(pieces(data, size)) == data


def test_a_seed_reaches_what_it_is_for() -> None:
    """Else a fuzzer would spend its time on refusals."""
    approved = [
        one
        for data in corpus.committed("callback")
        if isinstance(one := check(sign(data[1:], b"service-key"), CALLBACK_KEYS), SignedCallback)
    ]
    assert {"approved", "declined"} <= {one.status for one in approved}


def test_a_forged_callback_that_is_taken_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.partpay.callback._signers", lambda *_: frozenset({""}))
    with pytest.raises(Find, match="signed"):
        TARGETS["callback"].run(b"\x00" + sign(CALLBACK % b"approved", b"key-of-nobody"))


def test_a_decoder_that_minds_how_bytes_are_cut_is_a_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dle_crc16.Decoder, "_take", lambda self, data: self._body.extend(data[:3]))
    with pytest.raises(Find, match="cut"):
        TARGETS["dle-crc16"].run(b"\x00" + dle_crc16.encode(b"\x7f\x01 a body"))
