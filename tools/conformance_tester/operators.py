"""Who keys what has to be keyed at the terminal, and says what is to be seen there.

Rules
- An `Act` is one thing to do, a `Sight` one thing to look for; both are words, for a command, and a
  sentence, for a person. The tables ACTS and SIGHTS are all there are.
- `begin` asks, `reply` tells; between the two the line goes on.
- Who cannot do or see something says CANNOT; what rests on it is then not checked, or not looked at.
- Questions go to standard error, so that standard output has nothing but the report.
"""

from __future__ import annotations

import queue
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TextIO

PERSON_PATIENCE_S = 180.0
COMMAND_PATIENCE_S = 15.0
STANDARD_ERROR = 2

EXIT_CANNOT = 3
"""A command's exit status for what it cannot do or see; 0 is done or seen, any other is not."""

ACTS: dict[str, str] = {
    "sale AMOUNT": "key a sale of AMOUNT (in cents)",
    "cancel": "end the open sale by the customer's or cashier's cancel key",
    "refund COUNTER AMOUNT": "key a refund of AMOUNT (in cents) of the sale with that counter",
    "end COUNTER": "end, as a person, the sale that the bridge does not know",
    "decide COUNTER yes|no": "say whether the bridge's sale of that counter is this one",
    "pair": "open pairing by six digits in the terminal's menu",
    "compare yes|no": "say whether the six digits at the terminal are the bridge's",
    "forget-keys": "remove the keys of a pairing in the terminal's menu",
    "power-cycle": "cut the terminal's power, and give it back",
    "replug": "pull the terminal's cable, and put it back",
}
"""What there is to do: the words that a command is given, and what they mean."""

SIGHTS: dict[str, str] = {
    "sees picture": "a picture stands on the panel",
    "sees no-picture": "no picture stands on the panel",
    "sees text TEXT": "this text stands on the panel",
    "sees not-paired": "it shows that it is not paired",
    "sees stranger COUNTER": "it shows that the bridge does not know that sale",
    "sees decide COUNTER": "it asks whether the bridge's sale of that counter is this one",
    "sees booked COUNTER": "that sale is booked as approved",
    "sees ended COUNTER": "that sale has ended, and is not booked",
    "sees open COUNTER": "that sale is still open",
    "sees unbooked COUNTER": "it shows that this was approved for another amount, and not booked",
    "sees digits DIGITS": "these six digits stand on the panel",
    "sees no-welcome": "it shows that the bridge does not answer",
    "sees unknown COUNTER": "it shows an outcome of a sale that it does not know",
}
"""What there is to see."""


class Reply(Enum):
    """What came of it."""

    YES = "yes"
    """Done; seen."""
    NO = "no"
    """The terminal does not let one; not seen."""
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Act:
    """Something to do at the terminal. `shows`: it is noticed by what comes over the line."""

    words: tuple[str, ...]
    sentence: str
    shows: bool = True


@dataclass(frozen=True, slots=True)
class Sight:
    """Something to look for at the terminal."""

    words: tuple[str, ...]
    question: str


class Operator(Protocol):
    """A person, a command, or a program that has the terminal in its hands."""

    @property
    def patience_s(self) -> float:
        """How long to wait for what was asked for."""

    @property
    def sure(self) -> bool:
        """What was asked for was done: where nothing comes of it, it is the terminal's fault."""

    def begin(self, asked: Act | Sight) -> None: ...

    def reply(self) -> Reply | None:
        """None: not yet."""


class Person:
    """Somebody at a keyboard, near the terminal."""

    patience_s = PERSON_PATIENCE_S
    sure = False

    def __init__(self, answers: TextIO = sys.stdin, questions: TextIO = sys.stderr) -> None:
        self._answers = answers
        self._questions = questions
        self._asked: Act | Sight | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    def begin(self, asked: Act | Sight) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
            self._reader.start()
        while not self._lines.empty():
            self._lines.get()
        self._asked = asked
        match asked:
            case Act(sentence=sentence, shows=True):
                self._say(f">> {sentence}")
            case Act(sentence=sentence):
                self._say(f">> {sentence} Then press Enter; n Enter: it does not let me. ")
            case Sight(question=question):
                self._say(f">> {question} y, n, or Enter if you cannot tell: ")

    def reply(self) -> Reply | None:
        if isinstance(self._asked, Act) and self._asked.shows:
            return Reply.YES
        try:
            word = self._lines.get_nowait().strip().lower()[:1]
        except queue.Empty:
            return None
        if isinstance(self._asked, Act):
            return Reply.NO if word == "n" else Reply.YES
        return {"y": Reply.YES, "n": Reply.NO}.get(word, Reply.CANNOT)

    def _say(self, text: str) -> None:
        print(text, file=self._questions, flush=True)

    def _read(self) -> None:
        for line in self._answers:
            self._lines.put(line)


class Command:
    """A command that does it: `COMMAND sale 1234`, `COMMAND sees picture`."""

    patience_s = COMMAND_PATIENCE_S
    sure = True

    def __init__(self, command: str) -> None:
        """ValueError where these are no words of a shell."""
        self._words = shlex.split(command)
        if not self._words:
            raise ValueError("--operator needs a command")
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, asked: Act | Sight) -> None:
        self._process = subprocess.Popen(
            [*self._words, *asked.words], stdin=subprocess.DEVNULL, stdout=STANDARD_ERROR
        )

    def reply(self) -> Reply | None:
        assert self._process is not None
        status = self._process.poll()
        if status is None:
            return None
        if status == EXIT_CANNOT:
            return Reply.CANNOT
        return Reply.YES if status == 0 else Reply.NO


class Nobody:
    """Nobody is there: only what needs no hand and no eye is checked."""

    patience_s = 0.0
    sure = False

    def begin(self, asked: Act | Sight) -> None:
        del asked

    def reply(self) -> Reply | None:
        return Reply.CANNOT
