"""The program's own environment: what is looked at before it is built, and what is left out of it."""

import sys
from pathlib import Path

import pytest

from tools.package import tree
from tools.package.tree import CannotBuild


def wheel(site: Path, name: str, metadata: str, tags: tuple[str, ...] = ()) -> Path:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}\n\nText\n"
    )
    (info / "WHEEL").write_text("".join(f"Tag: {tag}\n" for tag in tags))
    (info / "RECORD").write_text(
        f"../../../bin/{name},sha256=x,1\n{name}.py,sha256=y,2\n{name}-1.0.dist-info/direct_url.json,,\n"
    )
    (info / "direct_url.json").write_text('{"url": "file:///somewhere"}')
    return info


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT-CMU", "MIT-CMU"),
        ("License: BSD", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        (
            "Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: BSD License",
            "BSD License",
        ),
        ("", ""),
    ],
)
def test_a_part_tells_its_licence(tmp_path: Path, metadata: str, licence: str) -> None:
    info = wheel(tmp_path, "thing", metadata)
    (info / "licenses").mkdir()
    (info / "licenses" / "LICENSE.txt").touch()
    (found,) = tree.parts(tmp_path)
    assert (found.name, found.version, found.licence) == ("thing", "1.0", licence)
    assert [file.name for file in found.licence_files] == ["LICENSE.txt"]


def test_ours_is_no_part_of_others(tmp_path: Path) -> None:
    wheel(tmp_path, "partpay-terminal-bridge", "License: Apache-2.0")
    assert tree.parts(tmp_path) == []


def test_the_newest_of_the_oldest_glibcs_is_needed(tmp_path: Path) -> None:
    wheel(
        tmp_path,
        "a",
        "",
        ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64"),
    )
    wheel(tmp_path, "b", "", ("cp311-abi3-manylinux_2_34_x86_64",))
    wheel(tmp_path, "c", "", ("py3-none-any",))
    assert tree.glibc_needed(tmp_path) == "2.34"


def test_where_it_was_built_is_forgotten(tmp_path: Path) -> None:
    info = wheel(tmp_path, "thing", "")
    tree._forget_this_machine(tmp_path)
    assert not (info / "direct_url.json").exists()
    assert (info / "RECORD").read_text() == "thing.py,sha256=y,2\n"


def test_only_the_systems_own_python_will_do(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho /home/me/python 3.12\n")
    other.chmod(0o755)
    with pytest.raises(CannotBuild, match="/home/me/python"):
        tree.interpreter(other)
    system = tmp_path / "system"
    system.write_text("#!/bin/sh\necho /usr 3.13\n")
    system.chmod(0o755)
    assert tree.interpreter(system).name == "python3.13"
    with pytest.raises(CannotBuild, match="PYTHON="):
        tree.interpreter(tmp_path / "absent")


def test_what_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(CannotBuild, match=r"exit status 3\nno"):
        tree.run([sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)"])


def test_the_launcher_takes_nothing_of_its_callers() -> None:
    assert tree.LAUNCHER.splitlines()[0] == f"#!/{tree.PLACE}/bin/python -I"
