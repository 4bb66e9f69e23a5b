"""Dialects, framings and encodings by name, ours and those of other packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from drivers.link import dialect as module
from drivers.link.dialect import (
    DIALECTS,
    DIALECTS_GROUP,
    BrokenPlugIn,
    Dialect,
    UnknownName,
    dialect_named,
    encoding_named,
    framing_named,
)
from drivers.link.encoding import fs, tlv
from drivers.link.framing import dle_crc16, stx_lrc

TEXT_OVER_DLE = Dialect("text-over-dle", dle_crc16.FRAMING, fs.ENCODING)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs an entry point of a dialect: name, value."""

    def install(name: str, value: str) -> None:
        points = EntryPoints([EntryPoint(name, value, DIALECTS_GROUP)])
        monkeypatch.setattr(module, "entry_points", lambda group: points.select(group=group))

    return install


def test_ours_are_found_by_the_names_of_the_configuration() -> None:
    assert dialect_named("native") == Dialect("native", dle_crc16.FRAMING, tlv.ENCODING)
    assert dialect_named("classic") == Dialect("classic", stx_lrc.FRAMING, fs.ENCODING)
    assert list(DIALECTS) == ["native", "classic"]
    assert framing_named("dle-crc16") is dle_crc16.FRAMING
    assert framing_named("stx-lrc") is stx_lrc.FRAMING
    assert encoding_named("tlv") is tlv.ENCODING
    assert encoding_named("fs") is fs.ENCODING


def test_an_unknown_name_is_told_with_those_there_are(
    installed: Callable[[str, str], None],
) -> None:
    installed("acme", "acme:DIALECT")
    with pytest.raises(UnknownName, match=r"'nativ'; there are: acme, classic, native"):
        dialect_named("nativ")


def test_another_package_adds_its_own(installed: Callable[[str, str], None]) -> None:
    installed("text-over-dle", f"{__name__}:TEXT_OVER_DLE")
    assert dialect_named("text-over-dle") == TEXT_OVER_DLE


def test_another_package_does_not_take_the_place_of_ours(
    installed: Callable[[str, str], None],
) -> None:
    installed("native", f"{__name__}:TEXT_OVER_DLE")
    assert dialect_named("native").encoding is tlv.ENCODING


@pytest.mark.parametrize(
    "value", ["no.such.module:X", f"{__name__}:NOT_THERE", f"{__name__}:pytest"]
)
def test_a_broken_package_is_told_by_its_name(
    installed: Callable[[str, str], None], value: str
) -> None:
    installed("acme", value)
    with pytest.raises(BrokenPlugIn, match="'acme' of " + value):
        dialect_named("acme")


def test_bytes_are_not_put_into_a_framing_for_text() -> None:
    with pytest.raises(ValueError, match="take another"):
        Dialect("impossible", stx_lrc.FRAMING, tlv.ENCODING)
