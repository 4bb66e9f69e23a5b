"""The words that a person types at a terminal's console, and what each does.

Rules
- One table: a word, how it is used, what it does. Help and error texts are made from it.
- A command gives back the fields of the `done` event; what it starts is told by events.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.terminal.host import Host

Fields = dict[str, Any]

_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d\d))?")


class NotACommand(ValueError):  # noqa: N818 - says what it is
    """These words are none; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Command:
    """`run` takes the host and the words after the first."""

    usage: str
    what: str
    run: Callable[[Host, list[str]], Fields]


def amount_minor(text: str) -> int:
    """`12` or `12.50` in cents. Raises NotACommand."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise NotACommand(f"{text!r} is no amount; write 12 or 12.50")
    return int(found[1]) * 100 + int(found[2] or 0)


def run(host: Host, line: str) -> Fields:
    """Carry out one line. Raises NotACommand, or NotNow where it cannot be done now."""
    word, *rest = line.split()
    command = COMMANDS.get(word)
    if command is None:
        raise NotACommand(f"{word!r} is no command; there are: {', '.join(COMMANDS)}")
    try:
        return command.run(host, rest)
    except (IndexError, _WrongWords) as fault:
        raise NotACommand(f"usage: {command.usage}") from fault


class _WrongWords(Exception):  # noqa: N818 - says what it is
    """The words after the first do not fit the command."""


def _number(word: str) -> int:
    if not word.isdecimal():
        raise _WrongWords
    return int(word)


def _choice(word: str, yes: str, no: str) -> bool:
    if word not in (yes, no):
        raise _WrongWords
    return word == yes


def _sale(host: Host, words: list[str]) -> Fields:
    reference = words[1] if len(words) > 1 else None
    return {"counter": host.sale(amount_minor(words[0]), reference=reference)}


def _refund(host: Host, words: list[str]) -> Fields:
    return {"counter": host.refund(_number(words[0]), amount_minor(words[1]))}


def _query(host: Host, words: list[str]) -> Fields:
    host.query(_number(words[0]) if words else None)
    return {}


def _decide(host: Host, words: list[str]) -> Fields:
    host.decide(_number(words[0]), _choice(words[1], "yes", "no"))
    return {}


def _end(host: Host, words: list[str]) -> Fields:
    host.end(_number(words[0]))
    return {}


def _power(host: Host, words: list[str]) -> Fields:
    if _choice(words[0], "on", "off"):
        host.power_on()
    else:
        host.power_off()
    return {}


def _plain(method: Callable[[Host], None]) -> Callable[[Host, list[str]], Fields]:
    def run_it(host: Host, words: list[str]) -> Fields:
        if words:
            raise _WrongWords
        method(host)
        return {}

    return run_it


def _status(host: Host, words: list[str]) -> Fields:
    if words:
        raise _WrongWords
    return host.status()


COMMANDS: dict[str, Command] = {
    command.usage.split()[0]: command
    for command in (
        Command("sale AMOUNT [REFERENCE]", "begin a sale", _sale),
        Command("cancel", "end the open sale", _plain(Host.cancel)),
        Command("query [COUNTER]", "ask what became of it, or of the last one", _query),
        Command("refund COUNTER AMOUNT", "give back an amount of that sale", _refund),
        Command("decide COUNTER yes|no", "say whether the bridge's sale is this one", _decide),
        Command("end COUNTER", "end what the bridge does not know", _end),
        Command("pair", "open pairing; then yes or no to the six digits", _plain(Host.pair)),
        Command("yes", "the six digits are the bridge's", _plain(lambda host: host.confirm(True))),
        Command("no", "they are not", _plain(lambda host: host.confirm(False))),
        Command("forget-keys", "remove the keys of a pairing", _plain(Host.forget_keys)),
        Command("unplug", "pull the cable", _plain(Host.unplug)),
        Command("plug", "put the cable back", _plain(Host.plug)),
        Command("power on|off", "switch the terminal; its storage stays", _power),
        Command("status", "what there is to see", _status),
    )
}
