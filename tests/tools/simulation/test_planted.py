import pytest

from tools.simulation.planted import BUGS, ROOT, Bug, Found, table


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_fits_the_code_as_it_is_and_leaves_python(bug: Bug) -> None:
    planted = bug.planted((ROOT / bug.file).read_text())
    compile(planted, bug.file, "exec")


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(BUGS) >= 40
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_a_bug_that_fits_nowhere_or_twice_is_told() -> None:
    bug = BUGS[0]
    for text in ("", bug.before * 2):
        with pytest.raises(ValueError, match=bug.name):
            bug.planted(text)


def test_the_table_says_what_was_missed() -> None:
    text = table([Found(BUGS[0], 120, "money", 120), Found(BUGS[1], None, "", 20_000)], seed=1)
    assert "1 of 2 were found" in text
    assert "not in 20,000" in text
