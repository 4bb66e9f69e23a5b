"""`tools/conformance` as a person and a program use it."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from tools.conformance_tester.__main__ import main
from tools.conformance_tester.document import PAGE, page
from tools.conformance_tester.operators import Act, Command, Nobody, Person, Reply, Sight
from tools.conformance_tester.rules import BY_ID, RULES
from tools.terminal.core import Device
from tools.terminal.driver import TerminalOnPty

IN_STEPS = ["--simulated", "--in-steps"]
SALE = Act(("sale", "1234"), "Key a sale of 12.34 at the terminal.")
LOOK = Sight(("sees", "picture"), "Does a QR code stand on the panel?")


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text() == page(), "run python -m tools.conformance_tester.document"


def test_rules_have_names_of_their_own_and_say_how_they_are_checked() -> None:
    assert len(BY_ID) == len(RULES)
    for rule in RULES:
        assert rule.text.endswith("."), rule.id
        assert rule.how.endswith((".", ".)")), rule.id
        assert rule.section[0] in "123456"


@pytest.mark.parametrize("dialect", ["native", "classic"])
def test_a_run_in_steps(dialect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    rules = ["--only", "outcome.*", "--only", "line.nak"]
    assert main([*IN_STEPS, "--dialect", dialect, *rules, "--json", str(file)]) == 0
    said = capsys.readouterr()
    assert "STORED 2 terminal_id='T0000001'" in said.out
    assert "0 broken, 0 not checked" in said.out.splitlines()[-1]
    assert "kept    line.nak" in said.err

    report = json.loads(file.read_text())
    assert report["counts"] == {"kept": 13, "broken": 0, "not checked": 0}
    assert report["dialect"] == dialect
    assert report["terminal"]["terminal_id"] == "T0000001"
    nak = next(rule for rule in report["rules"] if rule["id"] == "line.nak")
    assert nak["section"] == "2"
    naks = [piece for piece in nak["bytes"] if piece["hex"] == "15"]
    assert [piece["way"] for piece in naks] == ["B>T"] * 3


def test_brief_leaves_out_the_bytes_of_what_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*IN_STEPS, "--only", "line.ack", "--brief"]) == 0
    assert "B>T" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "PORT, or --simulated"),
        (["/dev/null", "--simulated"], "PORT, or --simulated"),
        (["/dev/null", "--in-steps"], "--in-steps goes with --simulated"),
        ([*IN_STEPS, "--only", "line.nothing"], "line.nothing"),
        (["/dev/null", "--baud", "300"], "9600 to 921600"),
    ],
)
def test_wrong_options(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bus:7"], "there is no line 'bus'"),
        ([*IN_STEPS, "--dialect", "pidgin"], "no dialect is called 'pidgin'"),
        (["/dev/null", "--operator", "'"], "No closing quotation"),
    ],
)
def test_what_cannot_be_run(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("dialect", ["native", "classic"])
def test_a_terminal_on_a_port_keyed_by_a_command(
    dialect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In real time, through the kernel: the terminal in its own thread, the sale keyed by a process."""
    wish = tmp_path / "wish"
    os.mkfifo(wish)
    robot = tmp_path / "robot.py"
    robot.write_text(
        "import pathlib, sys\n"
        "if sys.argv[1] != 'sale':\n"
        "    sys.exit(3)\n"
        f"pathlib.Path({str(wish)!r}).write_text(sys.argv[2])\n"
    )
    port = tmp_path / "terminal"
    with TerminalOnPty(port, Device("AB12", "9"), dialect=dialect) as terminal:
        hand = threading.Thread(target=lambda: terminal.sale(int(wish.read_text())), daemon=True)
        hand.start()
        options = ["--dialect", dialect, "--operator", f"{sys.executable} {robot}", "--brief"]
        rules = ["--only", "line.ack", "--only", "line.bad-check", "--only", "outcome.repeated"]
        status = main([str(port), *options, *rules])
        hand.join(10)
    report, told = capsys.readouterr()
    assert status == 0, (report, told)
    assert "3 rules: 3 kept" in report


def test_the_simulated_terminal_in_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    rules = ["--only", "line.too-long", "--only", "hello.cable", "--only", "image.of-a-tender"]
    assert main(["--simulated", *rules]) == 0, capsys.readouterr().out


# Who keys and looks


def wait_for(person: Person) -> Reply:
    while (reply := person.reply()) is None:
        pass
    return reply


@pytest.mark.parametrize(
    ("typed", "reply"), [("y\n", Reply.YES), ("No\n", Reply.NO), ("\n", Reply.CANNOT)]
)
def test_a_person_is_asked_what_is_to_be_seen(typed: str, reply: Reply) -> None:
    questions = io.StringIO()
    answers = _Slow(typed)
    person = Person(answers, questions)  # type: ignore[arg-type]
    person.begin(LOOK)
    answers.type()
    assert wait_for(person) is reply
    assert "Does a QR code stand on the panel?" in questions.getvalue()


def test_what_shows_on_the_line_is_not_asked_back() -> None:
    questions = io.StringIO()
    person = Person(io.StringIO(), questions)
    person.begin(SALE)
    assert person.reply() is Reply.YES
    assert "Key a sale of 12.34" in questions.getvalue()


class _Slow:
    """Somebody who types once he is asked."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._typed = threading.Event()

    def type(self) -> None:
        self._typed.set()

    def __iter__(self) -> _Slow:
        return self

    def __next__(self) -> str:
        self._typed.wait(10)
        if not self._line:
            raise StopIteration
        line, self._line = self._line, ""
        return line


@pytest.mark.parametrize(
    ("status", "reply"), [(0, Reply.YES), (1, Reply.NO), (3, Reply.CANNOT), (9, Reply.NO)]
)
def test_a_command_is_given_the_words(status: int, reply: Reply, tmp_path: Path) -> None:
    file = tmp_path / "words"
    script = tmp_path / "robot.py"
    script.write_text(
        "import pathlib, sys\n"
        f"pathlib.Path({str(file)!r}).write_text(' '.join(sys.argv[1:]))\n"
        f"sys.exit({status})\n"
    )
    command = Command(f"{sys.executable} '{script}' --fast")
    command.begin(SALE)
    while (found := command.reply()) is None:
        pass
    assert found is reply
    assert file.read_text() == "--fast sale 1234"


def test_nobody_can_do_nothing() -> None:
    nobody = Nobody()
    nobody.begin(SALE)
    assert nobody.reply() is Reply.CANNOT
    assert main([*IN_STEPS, "--only", "line.ack", "--nobody"]) == 0
