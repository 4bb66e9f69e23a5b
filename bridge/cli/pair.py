"""`partpay-bridge pair`: the dialogue between a technician, a terminal and the bridge.

- What is going on and what is asked goes to stderr; what is paired in the end, to stdout.
- Rows come in a thread of their own, so that a dialogue that ends while a person thinks says so at once.
- Six digits are compared by a person at a screen, whose answer counts only after they are shown, or by this command
  with what was read off the terminal (stdin that is no screen, `--expect-digits`); never by `--yes`, or by a "yes"
  that was there before.
"""

import os
import queue
import re
import select
import sys
import termios
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from bridge.cli.asking import talking
from bridge.cli.command import Command, wants_json
from bridge.cli.printing import Column, put_facts, put_json, shown
from bridge.control import Answer, CommandError, Facts, Pair, PairAnswer, PairCancel, Request, Rows

LOOK_S: Final = 0.1
"""How often a person's line and the dialogue's rows are looked for."""
LEAVE_S: Final = 5.0
"""How long the dialogue may take to end after this command has broken it off."""
READ_BYTES: Final = 4096

_PAIRED: Final[list[Column]] = [
    ("terminal", "terminal"),
    ("serial number", "serial"),
    ("model", lambda row: f"{row['model']}, firmware {row['firmware']}"),
    ("panel", lambda row: f"{row['panel']['width']} x {row['panel']['height']}"),
    ("port", "port"),
    ("dialect", lambda row: f"{row['dialect']}, {row['baud']} baud"),
    ("keys", lambda row: "yes, compared" if row["authenticated"] else "none: it cannot"),
    ("merchants", "merchants"),
    ("name", "name"),
    ("test picture", lambda row: _picture(row["picture_shown"], row["picture_scanned"])),
    ("pairing", "pairing"),
]


@click.command(cls=Command)
@click.argument("port", metavar="[PORT]", required=False)
@click.option("--dialect", metavar="native|classic", help="Found out unless given.")
@click.option("--baud", type=int, help="Found out unless given.")
@click.option("--profile", metavar="P", help="What is known of its model beside what it says.")
@click.option("--terminal-id", metavar="T", help="The only terminal that is taken.")
@click.option("--serial", metavar="S", help="The only device that is taken.")
@click.option("--merchant", "merchant_ids", multiple=True, metavar="ID", help="Not asked then.")
@click.option("--name", metavar="TEXT", help="Who faces it, and where; not asked then.")
@click.option("--no-test", is_flag=True, help="No test picture.")
@click.option("--yes", is_flag=True, help="Asks nobody; says yes, but to no digits.")
@click.option(
    "--expect-digits",
    "digits_file",
    metavar="FILE",
    help="The six digits that it shows; - is stdin.",
)
def pair(
    port: str | None,
    dialect: str | None,
    baud: int | None,
    profile: str | None,
    terminal_id: str | None,
    serial: str | None,
    merchant_ids: tuple[str, ...],
    name: str | None,
    no_test: bool,
    yes: bool,
    digits_file: str | None,
) -> None:
    """Pair a terminal: compare six digits, name a merchant, scan a test picture.

    With the daemon and without it. A terminal that can authenticate is told, too.

    \b
    partpay-bridge pair
    partpay-bridge pair /dev/serial/by-id/usb-FTDI_… --merchant M1
    """
    if digits_file is not None and re.fullmatch(r"\d{6}", digits_file):
        raise click.UsageError(
            "six digits are made afresh each time, and cannot be given beforehand: "
            "name a file, or - for stdin, into which what the terminal shows is written",
            click.get_current_context(),
        )
    request = Pair(
        port,
        dialect,
        baud,
        profile or None,
        terminal_id,
        serial,
        merchant_ids,
        name or None,
        not no_test,
    )
    answers = _Answers(yes, serial, digits_file)
    with talking(request) as (answer, ask):
        assert isinstance(answer, Rows)
        paired = _Dialogue(answer.rows, ask, answers).lead()
    if wants_json():
        put_json(paired)
    else:
        put_facts(paired, _PAIRED)


@dataclass(frozen=True, slots=True)
class _Answers:
    """Who answers what: `yes`: nobody is asked. `serial`: was named on the command line."""

    yes: bool
    serial: str | None
    digits_file: str | None

    def to(self, row: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The answer to this question; None: a person's. Raises CommandError where nobody can give it."""
        match row["step"]:
            case "comparing":
                return None
            case "plain" if self.digits_file is not None:
                raise CommandError(
                    1,
                    "six digits were to be compared, and the terminal says that it cannot authenticate",
                    "look at its cable and its manual, or leave --expect-digits out",
                )
            case _ if not self.yes:
                return None
            case "replace" if self.serial is None:
                raise CommandError(
                    1,
                    f"{row['text']} Nobody is asked",
                    "name the device that is to replace it: --serial",
                )
            case "merchant":
                known = tuple(row["merchants"]) or tuple(one["id"] for one in row["choices"])
                if len(known) == 1 or row["merchants"]:
                    return known
                raise CommandError(1, row["text"], "nobody is asked: give --merchant ID")
            case "scanned":
                return ("skip",)
            case "name":
                return ()
            case _:
                return ("yes",)


class _Dialogue:
    """Reads rows, tells the person, asks, and passes the answers on."""

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        ask: Callable[[Request], Answer],
        answers: _Answers,
    ) -> None:
        self._rows = rows
        self._ask = ask
        self._answers = answers
        self._came: queue.Queue[Mapping[str, Any] | Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, name="rows", daemon=True)
        self._name = ""
        self._terminal: Mapping[str, Any] | None = None
        self._typed = _Typed()

    def lead(self) -> dict[str, Any]:
        """What is paired in the end. Raises CommandError where nothing is."""
        self._thread.start()
        over = False
        try:
            row = self._next()
            while True:
                self._tell(row)
                if row["step"] == "done":
                    over = True
                    return dict(row["paired"])
                if row["step"] == "ended":
                    over = True
                    raise CommandError(1, row["text"], "")
                row = self._question(row) if row.get("asks") else self._next()
        finally:
            self._leave(over)

    def _read(self) -> None:
        try:
            for row in self._rows:
                self._came.put(row)
        except Exception as error:  # noqa: BLE001 - told by the thread that leads
            self._came.put(error)
        else:
            self._came.put(None)

    def _next(self, wait_s: float | None = None) -> Mapping[str, Any]:
        """The next row that says something. Raises what ended them; queue.Empty after `wait_s`."""
        while True:
            row = self._came.get(timeout=wait_s)
            if isinstance(row, Exception):
                raise row
            if row is None:
                raise CommandError(1, "the dialogue ended without a word", "see the daemon's log")
            self._name = row["dialogue"]
            if "step" in row:
                return row

    def _leave(self, over: bool) -> None:
        if not over and self._name:
            with suppress(CommandError):
                self._ask(PairCancel(self._name))
        self._thread.join(LEAVE_S)

    def _tell(self, row: Mapping[str, Any]) -> None:
        terminal = row.get("terminal")
        if terminal is not None and self._terminal is None:
            self._terminal = terminal
            panel = terminal["panel"]
            _say(
                f"Terminal {terminal['terminal']}, serial number {terminal['serial']}: "
                f"{terminal['model']}, firmware {terminal['firmware']}; panel {panel['width']} x "
                f"{panel['height']}; speaks {terminal['dialect']} at {terminal['baud']} baud, "
                f"on {terminal['port']}."
            )
        if row["text"] and row["step"] != "ended":
            _say(row["text"])
        if row.get("digits") and row["step"] == "comparing":
            _say(f"\n        {row['digits']}\n")

    def _question(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answers it; the row that comes then."""
        answer = self._answers.to(row)
        while True:
            if answer is None:
                asked = self._ask_person(row)
                if isinstance(asked, Mapping):
                    return asked
                answer = asked
            try:
                told = self._ask(PairAnswer(self._name, row["number"], answer))
                assert isinstance(told, Facts)
            except CommandError as error:
                if error.exit_status != 2:
                    return self._next()
                _say(str(error))
                answer = None
            else:
                return self._next()

    def _ask_person(self, row: Mapping[str, Any]) -> tuple[str, ...] | Mapping[str, Any]:
        """A person's answer, or the row that came before it."""
        comparing = row["step"] == "comparing"
        if comparing and self._answers.digits_file is not None:
            return self._read_digits(row, self._answers.digits_file)
        if self._answers.yes:
            raise CommandError(
                1,
                "the six digits have to be compared, and nobody is asked",
                "leave --yes out, or give --expect-digits",
            )
        if comparing and not sys.stdin.isatty():
            _say("Give the six digits that the terminal shows: ", nl=False)
            return self._read_digits(row, "-")
        if comparing:
            self._typed.forget()
        while True:
            _say(_prompt(row), nl=False)
            typed = self._wait_for(self._typed.line)
            if isinstance(typed, Mapping):
                _say("")
                return typed
            answer = _understood(row, typed)
            if answer is not None:
                return answer
            _say("Please answer yes or no.")

    def _read_digits(
        self, row: Mapping[str, Any], file: str
    ) -> tuple[str, ...] | Mapping[str, Any]:
        """A program's answer: whether what it read off the terminal is the same."""
        read = self._typed.line if file == "-" else lambda: _digits_in(Path(file))
        told = self._wait_for(read)
        if isinstance(told, Mapping):
            return told
        same = "".join(told.split()) == row["digits"]
        _say("")
        _say("The terminal shows the same." if same else "The terminal shows others.")
        return ("yes",) if same else ("no",)

    def _wait_for(self, read: Callable[[], str | None]) -> str | Mapping[str, Any]:
        """What `read` gives, or the row that comes before it gives anything."""
        while True:
            told = read()
            if told is not None:
                return told
            with suppress(queue.Empty):
                return self._next(LOOK_S)


class _Typed:
    """Lines from stdin, without waiting for them: a thread that waits could not be ended."""

    def __init__(self) -> None:
        self._came = b""
        self._ended = False

    def line(self) -> str | None:
        """The next line, or None where there is none yet. Raises CommandError at its end."""
        while b"\n" not in self._came and not self._ended and self._is_ready():
            data = os.read(sys.stdin.fileno(), READ_BYTES)
            self._came += data
            self._ended = not data
        text, newline, rest = self._came.partition(b"\n")
        if newline:
            self._came = rest
            return text.decode(errors="replace")
        if self._ended:
            raise CommandError(
                1, "there is nobody to ask: stdin has ended", "see: partpay-bridge pair --help"
            )
        return None

    def forget(self) -> None:
        """What was typed until now."""
        self._came = b""
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)

    @staticmethod
    def _is_ready() -> bool:
        return bool(select.select([sys.stdin.fileno()], [], [], 0.0)[0])


def _digits_in(file: Path) -> str | None:
    """Six digits, once they are there whole."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(1, f"{file}: {error.strerror}", "name another file") from error
    digits = "".join(text.split())
    return digits if len(digits) >= 6 else None


def _prompt(row: Mapping[str, Any]) -> str:
    match row["step"]:
        case "merchant":
            for one in row["choices"]:
                _say(f"  {one['id']}  {one['name']}")
            so_far = ",".join(row["merchants"])
            return f"Merchant ids, with commas{f' [{so_far}]' if so_far else ''}: "
        case "name":
            return "Name: "
        case "scanned":
            return "[yes/no/skip]: "
        case "comparing":
            return "Are they the same? [yes/no]: "
        case _:
            return "[yes/no]: "


def _understood(row: Mapping[str, Any], typed: str) -> tuple[str, ...] | None:
    """None: it is no answer to that."""
    text = typed.strip()
    if row["step"] == "merchant":
        ids = tuple(one for one in re.split(r"[,\s]+", text) if one)
        return ids or tuple(row["merchants"])
    if row["step"] == "name":
        return (text,) if text else ()
    words = {"y": "yes", "yes": "yes", "n": "no", "no": "no"}
    if row["step"] == "scanned":
        words |= {"s": "skip", "skip": "skip"}
    word = words.get(text.lower())
    return None if word is None else (word,)


def _picture(panel_says: bool | None, scanned: bool | None) -> str:
    if scanned is not None:
        return "scans" if scanned else "does not scan"
    return {True: "shown", False: "cannot be shown", None: "not tried"}[panel_says]


def _say(text: str, *, nl: bool = True) -> None:
    """To the person; what a terminal said must not steer the screen."""
    lines = "\n".join(shown(line) for line in text.split("\n"))
    click.echo(lines, err=True, nl=nl)
