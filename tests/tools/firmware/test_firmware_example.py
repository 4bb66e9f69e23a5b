"""The example terminal as a vendor meets it: how it is built, what it needs, how it keeps its storage."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from _pytest.outcomes import Failed, Skipped

from drivers.link.messages import Stored
from tests.tools.firmware.compiling import AUTHENTICATED, compiled, needs_compiler
from tests.tools.terminal.bridge_end import PAYLOAD, BridgeEnd
from tools.firmware.driver import FOLDER, EventReader, FirmwareTerminal, NoCompiler, build, compiler
from tools.terminal.core import NotNow

README = (FOLDER / "README.md").read_text()
STRICTER = ("-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror")


def symbols(object_file: Path, option: str) -> set[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed (binutils)")
    listed = subprocess.run(
        [nm, option, str(object_file)], capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in listed.stdout.splitlines()}


@pytest.fixture(scope="module")
def link_object(built: Path) -> Path:
    flags = ("-Os", "-c", *STRICTER, *AUTHENTICATED)
    return compiled(built / "partpay_link.o", FOLDER / "partpay_link.c", flags=flags)


def test_the_link_calls_nothing_but_five_functions_of_string_h(link_object: Path) -> None:
    wanted = {name for name in symbols(link_object, "-u") if not name.startswith("_")}
    assert wanted <= {"memcpy", "memmove", "memset", "memcmp", "strlen", "strcmp"}


def test_the_link_has_no_memory_of_its_own(link_object: Path) -> None:
    """Two terminals in one program do not know each other."""
    nm = symbols(link_object, "--defined-only")
    public = {name for name in nm if name.startswith("pp_")}
    header = (FOLDER / "partpay_link.h").read_text()
    assert public == set(re.findall(r"\b(pp_\w+)\(", header)) - {"pp_kept", "pp_port"}
    listed = subprocess.run(
        ["nm", str(link_object)], capture_output=True, text=True, check=True
    ).stdout
    writable = [line for line in listed.splitlines() if re.search(r" [bBdDcC] ", line)]
    assert writable == []


@pytest.mark.parametrize(
    "flags",
    [
        ("-O2",),
        ("-Os", "-DPP_BODY_MAX=4092"),
        ("-DPP_OPEN_MAX=1", "-DPP_BODY_MAX=640"),
        ("-O2", *AUTHENTICATED),
    ],
)
def test_the_link_compiles_without_a_warning(built: Path, flags: tuple[str, ...]) -> None:
    out = built / f"link{abs(hash(flags))}.o"
    compiled(out, FOLDER / "partpay_link.c", flags=("-c", *STRICTER, *flags))


@pytest.mark.parametrize("flag", ["-DPP_BODY_MAX=639", "-DPP_BODY_MAX=4093", "-DPP_OPEN_MAX=0"])
def test_sizes_that_cannot_be(built: Path, flag: str) -> None:
    with needs_compiler():
        made = subprocess.run(
            [compiler(), "-std=c99", flag, "-fsyntax-only", str(FOLDER / "partpay_link.c")],
            capture_output=True,
            text=True,
            check=False,
        )
    assert made.returncode != 0
    assert "#error" in made.stderr


@pytest.mark.parametrize("flags", [(), AUTHENTICATED], ids=["plain", "authenticated"])
def test_the_readme_says_how_much_memory_it_takes(built: Path, flags: tuple[str, ...]) -> None:
    program = compiled(built / f"sizes{len(flags)}", FOLDER / "sizes.c", flags=flags)
    printed = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines():
        name, _, size = line.rpartition(" ")
        told = re.search(rf"^\| `{name}` \| ([\d,]+) \|", README, re.MULTILINE)
        assert told is not None, name
        assert int(told[1].replace(",", "")) == int(size), f"{name} has {size} bytes"


def test_the_makefile_builds_the_example(built: Path) -> None:
    with needs_compiler():
        assert build(built / "plain").is_file()


def test_the_example_that_authenticates_compiles(built: Path) -> None:
    with needs_compiler():
        assert build(built / "pairs", "AUTHENTICATED=1").is_file()


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NoCompiler, match="apt-get install gcc"):
        compiler()


@pytest.mark.parametrize(("ci", "ending"), [("true", Failed), ("", Skipped)])
def test_without_a_compiler_the_tests_fail_in_ci_and_are_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, ending: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(ending, match="no C compiler: install one"):
        compiled(tmp_path / "nothing", FOLDER / "sizes.c")


# As a program


@pytest.mark.parametrize("dialect", ["native", "classic"])
@pytest.mark.parametrize("formats", ["10", "90", "81", "01"])
def test_a_sale_whose_code_is_read_from_the_panel(
    example_terminal: Path, tmp_path: Path, dialect: str, formats: str
) -> None:
    port = tmp_path / "line"
    options = ("--formats", formats, "--panel", "160x160")
    with (
        FirmwareTerminal(example_terminal, port, dialect=dialect, options=options) as terminal,
        BridgeEnd(port, dialect) as bridge,
    ):
        terminal.wait_for("ready", paired=True)
        counter = terminal.sale(1250, "INV-1")
        image = terminal.wait_for("image")
        assert (image["code"], image["format"]) == (PAYLOAD, int(formats, 16))
        assert image["counter"] == counter
        terminal.wait_for("text", text="TEST Scan")
        with pytest.raises(NotNow, match="a sale is open"):
            terminal.sale(5)
        bridge.approve()
        closed = terminal.wait_for("closed", counter=counter)
        assert (closed["ending"], closed["amount_minor"]) == ("approved", 1250)
        assert closed["order_number"] == "181211-303902"
        assert bridge.has_heard(Stored("T0000001", counter, "00"))


def test_half_a_write_to_its_storage_costs_nothing(example_terminal: Path, tmp_path: Path) -> None:
    port = tmp_path / "line"
    with FirmwareTerminal(example_terminal, port) as terminal, BridgeEnd(port) as bridge:
        terminal.wait_for("ready")
        counter = terminal.sale(1250)
        terminal.wait_for("image")
        terminal.power_off()
        storage = terminal.storage
        whole = storage.read_bytes()
        half = len(whole) // 2
        newer = max((0, half), key=lambda at: int.from_bytes(whole[at + 4 : at + 8], "little"))
        # The power went in the middle of the last write: the one before it counts.
        torn = bytearray(whole)
        torn[newer + half // 2 : newer + half] = bytes(half - half // 2)
        assert bytes(torn) != whole
        storage.write_bytes(torn)
        terminal.power_on()
        assert terminal.wait_for("image")["counter"] == counter
        bridge.approve()
        assert terminal.wait_for("closed", counter=counter)["ending"] == "approved"


def test_storage_that_means_nothing_is_a_new_terminal(
    example_terminal: Path, tmp_path: Path
) -> None:
    port = tmp_path / "line"
    with FirmwareTerminal(example_terminal, port) as terminal, BridgeEnd(port):
        terminal.wait_for("ready")
        terminal.power_off()
        terminal.storage.write_bytes(b"\xff" * 20_000)
        terminal.power_on()
        terminal.wait_for("ready")
        assert terminal.sale(100) == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["PORT", "--storage", "FILE", "--terminal-id", "123456789", "--serial", "S"],
        ["PORT", "--storage", "FILE", "--terminal-id", "T", "--serial", "S", "--baud", "1234"],
        ["PORT", "--storage", "FILE", "--terminal-id", "T", "--serial", "S", "--dialect", "pidgin"],
        ["PORT", "--storage", "FILE", "--terminal-id", "T", "--serial", "S", "--formats", "XY"],
        ["PORT", "--storage", "/nowhere/f", "--terminal-id", "T", "--serial", "S"],
    ],
)
def test_what_it_cannot_start_with(
    example_terminal: Path, tmp_path: Path, words: list[str]
) -> None:
    words = [str(tmp_path / word) if word in ("PORT", "FILE") else word for word in words]
    ended = subprocess.run(
        [str(example_terminal), *words], capture_output=True, text=True, timeout=10, check=False
    )
    assert ended.returncode == 2
    assert "example_terminal" in ended.stderr


def test_words_that_are_no_command(example_terminal: Path, tmp_path: Path) -> None:
    words = [str(tmp_path / "line"), "--storage", str(tmp_path / "s"), "--terminal-id", "T"]
    ended = subprocess.run(
        [str(example_terminal), *words, "--serial", "S"],
        input="sale\nsale 1.5\nsale 99999999999\nrefund 1\nsing\n"
        + "x" * 500
        + "\nsale 1.00\nquit\n",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    reader = EventReader()
    events = [reader.take(line, 0.0) for line in ended.stdout.splitlines()]
    answers = [event.fields for event in events if event is not None and event.kind == "answer"]
    assert [answer["cannot"] for answer in answers[:5]] == ["no such command; --help has them"] * 5
    assert answers[-1]["cannot"] == "no WELCOME yet, or not paired"
