"""docs/usb.md names ports that can be, and what is there."""

from __future__ import annotations

import re

import pytest

from drivers.line import usb_bulk
from drivers.line.usb_port import usb_name
from tests.docs.page import TOP, Page

PAGE = Page("docs/usb.md")
NUMBERS = {3: "three", 4: "four"}


@pytest.mark.parametrize("port", re.findall(r"`(usb:[0-9a-f]{4}:[^`]+)`", PAGE.text))
def test_every_port_of_the_page_can_be_named(port: str) -> None:
    assert usb_name(port).port == port


def test_files_that_are_named_are_there() -> None:
    for file in re.findall(r"`(systemd/[\w.-]+)`", PAGE.text):
        assert (TOP / file).is_file()


def test_limits_are_those_of_the_code() -> None:
    assert f"from {usb_bulk.FIND_FIRST_S} s to {usb_bulk.FIND_MAX_S:.0f} s" in PAGE.text
    assert f"{usb_bulk.WRITE_STALL_S:.0f} s without a byte taken" in PAGE.text
    assert f"{NUMBERS[usb_bulk.STALLS_MAX + 1].capitalize()} stalls" in PAGE.text
