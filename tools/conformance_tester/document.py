"""Writes docs/conformance.md from the table of rules: `python -m tools.conformance_tester.document`.

Rules
- The page is made from `rules.py` and `operators.py`, never written by hand; a test compares it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.conformance_tester.operators import ACTS, EXIT_CANNOT, SIGHTS
from tools.conformance_tester.rules import RULES, Rule

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

_HEAD = """\
# Conformance of a terminal

<!-- Made by `python -m tools.conformance_tester.document`; change tools/conformance_tester/rules.py -->

`tools/conformance` plays the bridge against a terminal and goes through every rule of
[the terminal link](terminal-link.md) that a terminal must keep: {count} of them.

```
tools/conformance /dev/serial/by-id/usb-…            # a terminal on a port; you are asked to key sales
tools/conformance --dialect classic --baud 9600 PORT
tools/conformance --operator ./robot PORT             # a program keys and looks
tools/conformance --simulated                         # the simulated terminal, in real time
tools/conformance --simulated --in-steps              # the same on a clock of its own, in seconds
tools/conformance --only 'line.*' --only 'outcome.*' --brief PORT
```

The terminal has to be idle, with no sale open. It is told sales that nobody has paid, and books them: use
one that is in test. It meets journals that it has never seen and outcomes of counters that it does not
know; afterwards it goes on with its own bridge, with counters above those used here.

The report goes to standard output: each rule, its verdict (`kept`, `BROKEN`, `-` for not checked), and
the bytes; `--json FILE` writes the same for a program, `--brief` leaves out the bytes of rules that were
kept. Questions go to standard error. Exit status: 0 where no rule was found broken, 1 where one was, 2
where the run could not be made (no port, no HELLO, wrong options) or was broken off before one was found.
What nobody could try is not checked, and never counted as kept.

## The operator
Some rules need a hand or an eye at the terminal. A person is asked on standard error. `--operator COMMAND`
runs COMMAND with these words instead; it exits with 0 where it is done or seen, with {cannot} where it
cannot do that or cannot tell, with another status where the terminal does not let one, or it is not seen.
`--nobody` leaves out what needs a hand.

| words | meaning |
| --- | --- |
"""

_TABLE = """
## The rules
*Tried* rules are played through, one after the other, each from an idle terminal. *Watched* rules are looked
at from the first byte to the last. **Hand**: somebody has to do something at the terminal. **Slow**: it takes
more than 20 s; `--quick` leaves it out. **DF20**: for terminals that say in HELLO that they can authenticate;
such a terminal must have no keys when the run begins, and has none when it ends.

| rule | link | what a terminal does | how it is checked | |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """docs/conformance.md."""
    words = [f"| `{_cell(words)}` | {_cell(what)} |" for words, what in {**ACTS, **SIGHTS}.items()]
    rows = [_row(rule) for rule in RULES]
    head = _HEAD.format(count=len(RULES), cannot=EXIT_CANNOT)
    return head + "\n".join(words) + "\n" + _TABLE + "\n".join(rows) + "\n"


def _row(rule: Rule) -> str:
    marks = [
        mark
        for mark, is_so in (
            ("watched", rule.watched),
            ("hand", rule.hands),
            ("slow", rule.slow),
            ("DF20", rule.authenticated),
            (f"{rule.dialect} alone", rule.dialect is not None),
        )
        if is_so
    ]
    cells = (f"`{rule.id}`", rule.section, rule.text, rule.how, ", ".join(marks))
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: {len(RULES)} rules", file=sys.stderr)
