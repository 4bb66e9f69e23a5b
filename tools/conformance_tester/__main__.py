"""`tools/conformance`: whether a terminal keeps the terminal link.

Rules
- Standard output is the report, standard error what a person is asked and told meanwhile.
- Exit status: 0 no rule was found broken, 1 one was, 2 the run could not be made.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from drivers.line.line import BAUD_MAX, BAUD_MIN, UnknownLineError
from drivers.link.dialect import BrokenPlugIn, Dialect, UnknownName, dialect_named
from tools.conformance_tester import report
from tools.conformance_tester.bench import NotThere
from tools.conformance_tester.operators import Command, Nobody, Operator, Person
from tools.conformance_tester.port import LinePort, Port, PortGone
from tools.conformance_tester.rules import Rule, of_dialect
from tools.conformance_tester.run import Outcomes, run
from tools.conformance_tester.simulated import InSteps, OnPty

CANNOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.simulated == (options.port is not None):
        parser.error("give a PORT, or --simulated")
    if options.in_steps and not options.simulated:
        parser.error("--in-steps goes with --simulated: a port has its own time")
    rules = _chosen(options)
    if not rules:
        parser.error(f"no rule is called {' or '.join(options.only)}; docs/conformance.md has all")
    try:
        dialect = dialect_named(options.dialect)
        with _terminal(options, dialect) as (port, operator):
            outcomes = run(
                port,
                dialect,
                operator,
                rules=rules,
                random_bytes=os.urandom,
                local_time=lambda: datetime.now().astimezone(),
                tell=lambda result: print(report.one_line(result), file=sys.stderr, flush=True),
            )
        _write(outcomes, options)
    except (UnknownName, BrokenPlugIn, UnknownLineError, ValueError, OSError) as fault:
        return _cannot(fault)
    except (NotThere, PortGone) as fault:
        return _cannot(fault)
    except KeyboardInterrupt:
        return _cannot("broken off")
    return outcomes.exit_status


def _cannot(why: object) -> int:
    print(f"tools/conformance: {why}", file=sys.stderr)
    return CANNOT_RUN


@contextmanager
def _terminal(options: argparse.Namespace, dialect: Dialect) -> Iterator[tuple[Port, Operator]]:
    if options.in_steps:
        in_steps = InSteps(dialect)
        yield in_steps.port, in_steps.operator
    elif options.simulated:
        with OnPty(dialect) as on_pty:
            yield on_pty.port, on_pty.operator
    else:
        operator = _operator(options)
        with closing(LinePort(options.port, baud=options.baud)) as port:
            yield port, operator


def _operator(options: argparse.Namespace) -> Operator:
    if options.nobody:
        return Nobody()
    return Person() if options.operator is None else Command(options.operator)


def _chosen(options: argparse.Namespace) -> tuple[Rule, ...]:
    return tuple(
        rule
        for rule in of_dialect(options.dialect)
        if (not options.only or any(fnmatchcase(rule.id, name) for name in options.only))
        and not (options.quick and rule.slow)
        and not (options.nobody and rule.hands)
    )


def _write(outcomes: Outcomes, options: argparse.Namespace) -> None:
    if options.json is not None:
        options.json.write_text(report.as_json(outcomes) + "\n")
    print(report.text(outcomes, brief=options.brief))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/conformance",
        description="Play the bridge against a terminal, and find out which rules it keeps.",
        epilog="docs/conformance.md has the rules, and what an operator is asked.",
    )
    parser.add_argument("port", nargs="?", metavar="PORT", help="as in the daemon's configuration")
    parser.add_argument("--simulated", action="store_true", help="test the simulated terminal")
    parser.add_argument(
        "--in-steps",
        action="store_true",
        help="with --simulated: on a clock of its own, in seconds",
    )
    parser.add_argument("--dialect", default="native", help="native (default) or classic")
    parser.add_argument("--baud", type=_baud, default=115_200)
    hand = parser.add_mutually_exclusive_group()
    hand.add_argument("--operator", metavar="COMMAND", help="keys and looks, instead of a person")
    hand.add_argument("--nobody", action="store_true", help="leave out what needs a hand")
    parser.add_argument(
        "--only", action="append", default=[], metavar="RULE", help="this rule, or `line.*`; repeat"
    )
    parser.add_argument("--quick", action="store_true", help="leave out what takes more than 20 s")
    parser.add_argument("--brief", action="store_true", help="bytes of broken rules alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the report for a program")
    return parser


def _baud(text: str) -> int:
    if not text.isdecimal() or not BAUD_MIN <= int(text) <= BAUD_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not within {BAUD_MIN} to {BAUD_MAX}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
