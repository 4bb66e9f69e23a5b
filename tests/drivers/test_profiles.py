"""Profiles: those that come with the program, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.profiles import (
    AS_TOLD,
    Profile,
    ProfileError,
    UnknownProfileError,
    installed_profiles,
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


def test_all_that_come_with_the_program_are_right_and_named_after_their_panel() -> None:
    for name, profile in installed_profiles().items():
        kind, _, size = name.partition("-")
        assert kind in {"mono", "colour"}
        assert size == f"{profile.panel_width}x{profile.panel_height}"


def test_no_profile_leaves_all_as_told() -> None:
    assert profile_named(None) is profile_named("") is AS_TOLD
    values = {AS_TOLD.panel_width, AS_TOLD.formats, AS_TOLD.max_body, AS_TOLD.largest_image}
    assert values == {None}


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
    """
    profile = read_profile("acme-t1", text, "acme-t1.toml")
    assert profile == Profile("acme-t1", "Acme T1", 128, 64, True, b"\x90\x83", 1024, 4096)


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


def test_a_folder_of_profiles_is_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('title = "one"')
    (tmp_path / "README.md").write_text("not a profile")
    assert profiles_in(tmp_path) == {"one": Profile("one", "one")}
