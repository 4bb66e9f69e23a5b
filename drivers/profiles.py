"""Terminal profiles: what is known of a kind of terminal that HELLO does not say, or says wrongly.

Rules
- A profile is data: one file `config/profiles/NAME.toml`. What it gives stands in place of what
  HELLO says; what it leaves out is as HELLO says.
- Everything in a file is checked when it is read; a key that is not known is an error, so that a
  misspelled one is never silently without effect.
- Generic profiles are by panel size (`mono-…`, `colour-…`) and by the family of the panel's controller
  (`family-…`); formats are listed quickest on the line first, and a terminal that does not know one
  says so (IMAGE_STATUS 3), which leads to the next.
- `baud` and `usb_ids` describe the port: they are for whoever registers a terminal (a baud rate that
  nobody named) and for ports that are named by a profile (`usb:PROFILE`), not for a running lane.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from drivers.line.line import BAUD_MAX, BAUD_MIN
from drivers.link.messages import OBJECTS

log = logging.getLogger(__name__)

BODY_MIN_BYTES, BODY_MAX_BYTES = 640, 4_092
"""terminal-link §2: beyond the one the CRC is too weak, below the other a message may not fit."""

FORMATS_MAX = OBJECTS[0xDF12].max_bytes
PIXELS_MAX = OBJECTS[0xDF10].largest
IMAGE_MAX_BYTES = OBJECTS[0xDF1E].largest

USB_INTERFACE_MAX = 255
"""bInterfaceNumber is a byte."""
USB_IDS_MAX = 16
"""One model under more product numbers than this is several models."""

_USB_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})", re.IGNORECASE)


class ProfileError(ValueError):
    """A profile cannot be used: the message names file, key and remedy."""


class UnknownProfileError(ProfileError):
    """There is no profile of that name."""


class Quirk(Enum):
    """What a kind of terminal does against the link's page, and what the bridge does about it."""

    SILENT_IMAGE = "silent-image"
    """It says no IMAGE_STATUS: an image is sent once, not three times with 5 s between."""
    ASCII_TEXT = "ascii-text"
    """Its letters are ASCII alone: in DF05 and DF03 accents are left out, what is left becomes a `?`."""


@dataclass(frozen=True, slots=True)
class UsbId:
    """idVendor and idProduct of a device."""

    vendor: int
    product: int

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"


@dataclass(frozen=True, slots=True)
class Profile:
    """What stands in place of what HELLO says; None: as HELLO says.

    `panel_width`, `panel_height` in pixels, both or neither. `formats`: image format codes, a byte
    each, best first (terminal-link §5). `max_body` and `largest_image` in bytes (DF13, DF1E).
    `inverted`: the panel shows a 0 dark in formats 01 to 04 and 10, against the link's page.
    `baud`: how it leaves the factory. `usb_ids`: how it is known on USB, where it is a vendor-class
    device; `usb_interface`: which of its interfaces, where the first one is the wrong one.
    """

    name: str
    title: str
    panel_width: int | None = None
    panel_height: int | None = None
    inverted: bool = False
    formats: bytes | None = None
    max_body: int | None = None
    largest_image: int | None = None
    baud: int | None = None
    usb_ids: tuple[UsbId, ...] = ()
    usb_interface: int | None = None
    quirks: frozenset[Quirk] = frozenset()


AS_TOLD = Profile("", "as the terminal says")
"""No profile: everything as HELLO says."""


def read_profile(name: str, text: str, source: str) -> Profile:
    """The profile in `text`, a TOML document; `source` is its file, for errors.

    Raises ProfileError.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{source}: this is no TOML: {error}") from error
    unknown = sorted(document.keys() - KEYS.keys())
    if unknown:
        raise ProfileError(f"{source}: unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    values: dict[str, Any] = {}
    for key, value in document.items():
        try:
            values[key] = KEYS[key](value)
        except ValueError as error:
            raise ProfileError(f"{source}: {key} = {value!r}: {error}") from error
    if "title" not in values:
        raise ProfileError(
            f"{source}: title is missing; say in a few words which terminals it is for"
        )
    if ("panel_width" in values) is not ("panel_height" in values):
        raise ProfileError(f"{source}: panel_width and panel_height come both or neither")
    if "usb_interface" in values and "usb_ids" not in values:
        raise ProfileError(f"{source}: usb_interface says nothing without usb_ids; add them")
    return Profile(name, **values)


def profiles_in(folder: Traversable | Path) -> Mapping[str, Profile]:
    """All profiles of `folder` that can be used, by name. What cannot is a line in the log, and costs no other."""
    found = {}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name, dot, ending = file.name.rpartition(".")
        if not dot or ending != "toml":
            continue
        try:
            found[name] = read_profile(name, file.read_text(encoding="utf-8"), str(file))
        except (ProfileError, OSError) as error:
            log.error("%s", error, extra={"event": "profile-unusable"})
        except UnicodeDecodeError as error:
            text = f"{file}: this is no UTF-8 text: {error.reason} at byte {error.start}"
            log.error("%s", text, extra={"event": "profile-unusable"})
    return found


@cache
def installed_profiles() -> Mapping[str, Profile]:
    """The profiles that come with the program, by name."""
    return profiles_in(files("config").joinpath("profiles"))


def profile_named(name: str | None) -> Profile:
    """The profile of that name; None or empty is AS_TOLD. Raises UnknownProfileError."""
    if not name:
        return AS_TOLD
    try:
        return installed_profiles()[name]
    except KeyError:
        known = ", ".join(installed_profiles())
        raise UnknownProfileError(f"there is no profile {name!r}; there are {known}") from None


def profile_facts(profile: Profile) -> dict[str, Any]:
    """What a profile says, as JSON has it: each key of KEYS as its file would give it, None where it
    says nothing, and `name` first. For `profiles list` and `profiles show`."""
    formats = None if profile.formats is None else [f"{code:02X}" for code in profile.formats]
    return {
        "name": profile.name,
        "title": profile.title,
        "panel_width": profile.panel_width,
        "panel_height": profile.panel_height,
        "inverted": profile.inverted,
        "formats": formats,
        "max_body": profile.max_body,
        "largest_image": profile.largest_image,
        "baud": profile.baud,
        "usb_ids": [str(usb_id) for usb_id in profile.usb_ids],
        "usb_interface": profile.usb_interface,
        "quirks": sorted(quirk.value for quirk in profile.quirks),
    }


def all_profile_facts() -> list[dict[str, Any]]:
    """`profile_facts` of every profile that comes with the program, by name."""
    return [profile_facts(profile) for _, profile in sorted(installed_profiles().items())]


def _number(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"give a whole number, {low} to {high}")
        return value

    return check


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("give true or false")
    return value


def _title(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a few words")
    return value


def _formats(value: object) -> bytes:
    remedy = 'give a list of codes in hex, best first, as ["10", "83"] (docs: image formats)'
    if not isinstance(value, list) or not value or len(value) > FORMATS_MAX:
        raise ValueError(f"{remedy}; 1 to {FORMATS_MAX} of them")
    codes = []
    for code in value:
        if not isinstance(code, str) or len(code) != 2:
            raise ValueError(f"{code!r}: {remedy}")
        try:
            codes.append(int(code, 16))
        except ValueError:
            raise ValueError(f"{code!r}: {remedy}") from None
    if len(set(codes)) != len(codes):
        raise ValueError("a code is there twice; each is tried once")
    return bytes(codes)


def _usb_ids(value: object) -> tuple[UsbId, ...]:
    remedy = 'give a list of ids as `lsusb` tells them, as ["0fe6:811e"]'
    if not isinstance(value, list) or not 0 < len(value) <= USB_IDS_MAX:
        raise ValueError(f"{remedy}; 1 to {USB_IDS_MAX} of them")
    ids = []
    for text in value:
        found = _USB_ID.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"{text!r}: {remedy}")
        ids.append(UsbId(int(found[1], 16), int(found[2], 16)))
    return tuple(dict.fromkeys(ids))


def _quirks(value: object) -> frozenset[Quirk]:
    known = ", ".join(quirk.value for quirk in Quirk)
    if not isinstance(value, list):
        raise ValueError(f"give a list; known are {known}")
    try:
        return frozenset(Quirk(name) for name in value)
    except ValueError:
        raise ValueError(f"one is not known; known are {known}") from None


KEYS: Mapping[str, Callable[[object], object]] = {
    "title": _title,
    "panel_width": _number(1, PIXELS_MAX),
    "panel_height": _number(1, PIXELS_MAX),
    "inverted": _yes_or_no,
    "formats": _formats,
    "max_body": _number(BODY_MIN_BYTES, BODY_MAX_BYTES),
    "largest_image": _number(1, IMAGE_MAX_BYTES),
    "baud": _number(BAUD_MIN, BAUD_MAX),
    "usb_ids": _usb_ids,
    "usb_interface": _number(0, USB_INTERFACE_MAX),
    "quirks": _quirks,
}
"""Key of a profile's file -> what checks and reads its value."""

assert set(KEYS) == {field.name for field in fields(Profile)} - {"name"}
