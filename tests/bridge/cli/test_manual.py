"""The manual pages say all that the program and the example configuration have, and nothing of their own."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from bridge.cli.main import COMMANDS, program
from bridge.cli.manual import Key, commands_of, config_page, program_page, sections_of
from bridge.config import SECTIONS

EXAMPLE = Path(__file__).parents[3] / "config" / "bridge.toml"


def plain(page: str) -> str:
    return page.replace("\\-", "-").replace("\\(dq", '"').replace("\\e", "\\").replace("\\&", "")


def pages() -> dict[str, str]:
    return {
        "partpay-bridge.8": program_page(program, "1.2.3"),
        "bridge.toml.5": config_page(EXAMPLE.read_text(encoding="utf-8"), "1.2.3"),
    }


def test_every_command_and_each_of_its_options_is_there() -> None:
    page = plain(program_page(program, "1.2.3"))
    shown = list(commands_of(program, click.Context(program, info_name="partpay-bridge")))
    assert {context.command_path.split()[1] for _, context in shown} == set(COMMANDS)
    for command, context in shown:
        begin = page.index(f".SS {context.command_path} ")
        end = page.find("\n.S", begin + 1)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in ("config", "json"):
                assert parameter.opts[0] in page[begin:end], context.command_path


def test_every_key_is_there_under_its_section_with_a_word_on_it() -> None:
    sections = {
        section.name: section for section in sections_of(EXAMPLE.read_text(encoding="utf-8"))
    }
    assert list(sections) == ["", *SECTIONS]
    for name, keys in SECTIONS.items():
        explained = {part.name for part in sections[name].parts if isinstance(part, Key)}
        remarks = " ".join(
            word
            for part in sections[name].parts
            for word in (part.text if isinstance(part, Key) else part)
        )
        for key in keys:
            assert key in explained or key in remarks, f"[{name}] {key}"


def test_what_is_set_in_columns_stays_so() -> None:
    page = config_page("# one\n#   two    columns\n# three\n\n[a]\n# for x\nx = 1\n", "1")
    assert "one\n.nf\n  two    columns\n.fi\nthree\n.SH [a]\n.TP\n.B x = 1\nfor x\n" in page


def test_text_cannot_be_taken_for_an_instruction() -> None:
    page = config_page("[a]\n# .so /etc/passwd\n# 'so it is\n# a\\b\nx = 1\n", "1")
    assert "\\&.so /etc/passwd" in page
    assert "\\&'so it is" in page
    assert "a\\eb" in page


def test_what_is_hidden_stays_so() -> None:
    @click.group()
    def top() -> None:
        """A program."""

    @top.command(hidden=True)
    def secret() -> None:
        """Not for people."""

    assert "Not for people" not in program_page(top, "1")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("name", ["partpay-bridge.8", "bridge.toml.5"])
def test_groff_has_nothing_to_say_against_it(name: str) -> None:
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-Kutf8"],
        input=pages()[name].encode(),
        capture_output=True,
        check=False,
    )
    if b"can't find" in done.stderr or b"cannot find" in done.stderr:
        pytest.skip("groff has no macros for manual pages here")
    assert (done.returncode, done.stderr) == (0, b"")
