from pathlib import Path

import pytest

from tools.simulation.planted import BUGS, ROOT, Bug, Found, table


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_fits_the_code_as_it_is_and_leaves_python(bug: Bug) -> None:
    for file, text in bug.planted(ROOT).items():
        compile(text, file, "exec")


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(BUGS) >= 40
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_a_bug_that_fits_nowhere_or_twice_is_told(tmp_path: Path) -> None:
    bug = BUGS[0]
    place = tmp_path / bug.file
    place.parent.mkdir(parents=True)
    for text in ("nothing", bug.before * 2):
        place.write_text(text)
        with pytest.raises(ValueError, match=bug.name):
            bug.planted(tmp_path)


def test_what_is_checked_twice_is_planted_at_both_places(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("first = 1\nsecond = 1\n")
    also = (("one.py", "second = 1", "second = 2"),)
    bug = Bug("b", "what", "I-1", "one.py", "first = 1", "first = 2", also)
    assert bug.planted(tmp_path) == {"one.py": "first = 2\nsecond = 2\n"}


def test_the_table_says_what_was_missed() -> None:
    text = table([Found(BUGS[0], 120, "money", 120), Found(BUGS[1], None, "", 20_000)], seed=1)
    assert "1 of 2 were found" in text
    assert "not in 20,000" in text
