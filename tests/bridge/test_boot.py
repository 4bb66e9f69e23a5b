"""Which boot this is, as the kernel or the service manager tells it."""

from pathlib import Path

import pytest

from bridge.boot import TOLD, boot_id

DASHED = "0C3d0bbf-6ed1-4b4b-9a53-1c40b2a1c0de\n"
PLAIN = "0c3d0bbf6ed14b4b9a531c40b2a1c0de"


def test_kernel_and_manager_name_one_boot_alike(tmp_path: Path) -> None:
    kernel = tmp_path / "boot_id"
    absent = tmp_path / "absent"
    kernel.write_text(DASHED)
    assert boot_id({}, kernel) == PLAIN
    assert boot_id({TOLD: PLAIN}, absent) == PLAIN


def test_the_kernels_own_word_outranks_a_stale_environment(tmp_path: Path) -> None:
    kernel = tmp_path / "boot_id"
    kernel.write_text(DASHED)
    assert boot_id({TOLD: "f" * 32}, kernel) == PLAIN


@pytest.mark.parametrize("told", ["", "%b", "f" * 31, "f" * 33, "yesterday"])
def test_no_boot_is_made_up(tmp_path: Path, told: str) -> None:
    with pytest.raises(FileNotFoundError):
        boot_id({TOLD: told}, tmp_path / "absent")


def test_this_machine_says_it() -> None:
    assert len(boot_id()) == 32
