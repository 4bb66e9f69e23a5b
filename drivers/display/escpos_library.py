"""python-escpos, imported so that nothing of it is left behind.

Rules of this module:
- Its import gives the root logger a handler and leaves a folder in /tmp each time; both are undone
  here, since a daemon that runs for years shares the one and is started on the other.
- Its profiles say what a device can do; one that is not known there is named with those that are.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

DEFAULT_PROFILE = "default"
WIDTH_UNKNOWN_PX = 384
"""Printable width of paper of 58 mm at 203 dots an inch: the narrowest there is."""


def _import(name: str) -> ModuleType:
    root = logging.getLogger()
    handlers, folder = root.handlers[:], tempfile.tempdir
    with tempfile.TemporaryDirectory() as swept:
        tempfile.tempdir = swept
        try:
            return import_module(name)
        finally:
            tempfile.tempdir = folder
            root.handlers[:] = handlers


printer: Any = _import("escpos.printer")
_capabilities: Any = _import("escpos.capabilities")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a profile of python-escpos says of a device. `width_px`: printable dots."""

    profile: str
    width_px: int
    columns: int
    native_qr: bool
    raster: bool
    column: bool
    cuts: bool

    @property
    def pictures(self) -> bool:
        return self.native_qr or self.raster or self.column


def profile_names() -> tuple[str, ...]:
    return tuple(_capabilities.CAPABILITIES["profiles"])


def capabilities(profile: str) -> Capabilities:
    """Raises KeyError where python-escpos has no such profile."""
    data = _capabilities.CAPABILITIES["profiles"][profile]
    features = data["features"]
    width = data["media"].get("width", {}).get("pixels")
    return Capabilities(
        profile=profile,
        width_px=width if isinstance(width, int) else WIDTH_UNKNOWN_PX,
        columns=int(data["fonts"]["0"]["columns"]),
        native_qr=bool(features.get("qrCode")),
        raster=bool(features.get("bitImageRaster")),
        column=bool(features.get("bitImageColumn")),
        cuts=bool(features.get("paperFullCut") or features.get("paperPartCut")),
    )


def recorder(profile: str, width_px: int) -> Any:
    """A printer of python-escpos that keeps its bytes (`.output`) instead of sending them.

    The width is put into its profile: without one, the library writes a warning to standard output.
    """
    kept = printer.Dummy(profile=profile)
    data = kept.profile.profile_data
    width = {**data["media"].get("width", {}), "pixels": width_px}
    kept.profile.profile_data = {**data, "media": {**data["media"], "width": width}}
    return kept
