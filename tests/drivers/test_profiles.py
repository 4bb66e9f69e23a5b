"""Profiles: those that come with the program, and what is said of one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drivers.display.raster import image_formats
from drivers.profiles import (
    AS_TOLD,
    KEYS,
    Profile,
    ProfileError,
    Quirk,
    UnknownProfileError,
    UsbId,
    all_profile_facts,
    installed_profiles,
    profile_facts,
    profile_named,
    profiles_in,
    read_profile,
)


@pytest.mark.parametrize("size", ["128x64", "160x160", "240x320", "320x240", "480x272"])
def test_there_is_a_generic_profile_for_each_common_panel(size: str) -> None:
    profile = profile_named(f"mono-{size}")
    assert f"{profile.panel_width}x{profile.panel_height}" == size
    assert profile.formats is not None
    assert profile.formats[0] == 0x10


def test_all_that_come_with_the_program_are_right_and_generic_ones_named_after_their_panel() -> (
    None
):
    for name, profile in installed_profiles().items():
        kind, _, size = name.partition("-")
        assert kind in {"mono", "colour", "family"}
        assert profile.formats is not None
        assert set(profile.formats) <= image_formats().by_code.keys()
        if kind != "family":
            assert size == f"{profile.panel_width}x{profile.panel_height}"


def test_no_profile_leaves_all_as_told() -> None:
    assert profile_named(None) is profile_named("") is AS_TOLD
    values = {AS_TOLD.panel_width, AS_TOLD.formats, AS_TOLD.max_body, AS_TOLD.largest_image}
    assert values == {None}
    assert not AS_TOLD.quirks


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownProfileError, match="mono-128x64"):
        profile_named("mono-129x64")


def test_what_a_file_says_is_what_comes_out() -> None:
    text = """
        title = "Acme T1"
        panel_width = 128
        panel_height = 64
        inverted = true
        formats = ["90", "83"]
        max_body = 1024
        largest_image = 4096
        baud = 9600
        usb_ids = ["0FE6:811e", "0fe6:811E", "1234:5678"]
        usb_interface = 1
        quirks = ["silent-image"]
    """
    profile = read_profile("acme-t1", text, "acme-t1.toml")
    assert profile == Profile(
        "acme-t1",
        "Acme T1",
        128,
        64,
        True,
        b"\x90\x83",
        1024,
        4096,
        9600,
        (UsbId(0x0FE6, 0x811E), UsbId(0x1234, 0x5678)),
        1,
        frozenset({Quirk.SILENT_IMAGE}),
    )
    assert profile_facts(profile) == {
        "name": "acme-t1",
        "title": "Acme T1",
        "panel_width": 128,
        "panel_height": 64,
        "inverted": True,
        "formats": ["90", "83"],
        "max_body": 1024,
        "largest_image": 4096,
        "baud": 9600,
        "usb_ids": ["0fe6:811e", "1234:5678"],
        "usb_interface": 1,
        "quirks": ["silent-image"],
    }


def test_facts_of_a_profile_are_what_its_file_may_say_and_can_be_written_as_json() -> None:
    every = all_profile_facts()
    assert [one["name"] for one in every] == sorted(installed_profiles())
    for one in every:
        assert list(one) == ["name", *KEYS]
        assert json.loads(json.dumps(one)) == one


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("panel_width = 128", "both or neither"),
        ("panel_widht = 128", "unknown key 'panel_widht'"),
        ("inverted = 1", "true or false"),
        ("max_body = 639", "640 to 4092"),
        ("max_body = true", "whole number"),
        ("max_body = 640.0", "whole number"),
        ("largest_image = 0", "whole number"),
        ("formats = []", "best first"),
        ("formats = [16]", "in hex"),
        ('formats = ["010"]', "in hex"),
        ('formats = ["zz"]', "in hex"),
        ('formats = ["10", "10"]', "twice"),
        ("formats = " + str([f"{code:02x}" for code in range(17)]), "1 to 16"),
        ("formats = ", "no TOML"),
        ('title = ""', "few words"),
        ("baud = 1200", "9600 to 921600"),
        ('usb_ids = ["0fe6811e"]', "lsusb"),
        ("usb_ids = []", "1 to 16"),
        ("usb_ids = [1]", "lsusb"),
        ("usb_interface = 1", "without usb_ids"),
        ('quirks = ["loud"]', "ascii-text"),
        ('quirks = "loud"', "give a list"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_remedy(line: str, said: str) -> None:
    text = line if line.startswith("title") else f'title = "x"\n{line}'
    with pytest.raises(ProfileError, match=said) as raised:
        read_profile("p", text, "p.toml")
    assert "p.toml" in str(raised.value)


def test_a_title_is_needed() -> None:
    with pytest.raises(ProfileError, match="title is missing"):
        read_profile("p", "max_body = 640", "p.toml")


def test_a_file_with_a_mistake_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "good.toml").write_text('title = "good"')
    (tmp_path / "acme.toml").write_text('title = "Acme"\ncolour = true')
    (tmp_path / "latin.toml").write_bytes(b'title = "caf\xe9"')
    assert profiles_in(tmp_path) == {"good": Profile("good", "good")}
    assert [record.message.partition(": ")[0] for record in caplog.records] == [
        str(tmp_path / "acme.toml"),
        str(tmp_path / "latin.toml"),
    ]


def test_a_folder_of_profiles_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('title = "one"')
    (tmp_path / "README.md").write_text("not a profile")
    assert profiles_in(tmp_path) == {"one": Profile("one", "one")}
