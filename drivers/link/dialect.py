"""The table of dialects: which framing goes with which encoding, and how others are found by name.

Rules of this module: a name is what the configuration writes; our own names come first, then what
other packages bring by an entry point of the groups below, which is loaded when it is asked for;
a framing for text is never given an encoding for bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, TypeVar

from drivers.link.encoding import Encoding, fs, tlv
from drivers.link.framing import Framing, dle_crc16, stx_lrc

FRAMINGS_GROUP: Final = "partpay_bridge.framings"
ENCODINGS_GROUP: Final = "partpay_bridge.encodings"
DIALECTS_GROUP: Final = "partpay_bridge.dialects"

Named = TypeVar("Named")


class UnknownName(LookupError):  # noqa: N818 - says what it is
    """No framing, encoding or dialect has this name, here or in an installed package."""


class BrokenPlugIn(Exception):  # noqa: N818 - says what it is
    """An installed package offers this name, and what it offers cannot be used."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a line speaks. ValueError where the framing cannot carry what the encoding writes."""

    name: str
    framing: Framing
    encoding: Encoding

    def __post_init__(self) -> None:
        if not (self.framing.carries_any_byte or self.encoding.printable):
            raise ValueError(
                f"dialect {self.name}: framing {self.framing.name} carries text alone, and "
                f"encoding {self.encoding.name} writes any byte; take another of the two"
            )


FRAMINGS: Final[Mapping[str, Framing]] = {
    framing.name: framing for framing in (dle_crc16.FRAMING, stx_lrc.FRAMING)
}
ENCODINGS: Final[Mapping[str, Encoding]] = {
    encoding.name: encoding for encoding in (tlv.ENCODING, fs.ENCODING)
}
DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect("native", dle_crc16.FRAMING, tlv.ENCODING),
        Dialect("classic", stx_lrc.FRAMING, fs.ENCODING),
    )
}


def framing_named(name: str) -> Framing:
    """The framing of that name. UnknownName, BrokenPlugIn."""
    return _named(name, "framing", FRAMINGS, FRAMINGS_GROUP, Framing)


def encoding_named(name: str) -> Encoding:
    """The encoding of that name. UnknownName, BrokenPlugIn."""
    return _named(name, "encoding", ENCODINGS, ENCODINGS_GROUP, Encoding)


def dialect_named(name: str) -> Dialect:
    """The dialect of that name. UnknownName, BrokenPlugIn."""
    return _named(name, "dialect", DIALECTS, DIALECTS_GROUP, Dialect)


def _named(name: str, what: str, ours: Mapping[str, Named], group: str, kind: type[Named]) -> Named:
    own = ours.get(name)
    if own is not None:
        return own
    offered = entry_points(group=group)
    found = list(offered.select(name=name))
    if not found:
        names = ", ".join(sorted({*ours, *offered.names}))
        raise UnknownName(f"no {what} is called {name!r}; there are: {names}")
    entry = found[0]
    whose = f"{what} {name!r} of {entry.value}"
    try:
        loaded = entry.load()
    except Exception as fault:
        raise BrokenPlugIn(f"{whose} cannot be loaded: {fault}; mend or remove it") from fault
    if not isinstance(loaded, kind):
        raise BrokenPlugIn(f"{whose} is no {kind.__name__} but {loaded!r}; mend or remove it")
    return loaded
