"""Going through the rules, one after the other, and what came of each.

Rules
- Every tried rule begins with a terminal that is idle, paired and has nothing open.
- A terminal that does not come back to that is looked for, then its power is cut once; where that
  does not help either, the rule before was broken, and the rest is not checked.
- A verdict is one of three; what nobody could try is never counted as kept.
- A run that is broken off, by a person or a port that is gone, has a report of what it found till then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from drivers.link.dialect import Dialect
from drivers.link.messages import Hello
from tools.conformance_tester.bench import Bench, Broken, CannotTell, NotThere
from tools.conformance_tester.operators import Operator
from tools.conformance_tester.port import Port, PortGone
from tools.conformance_tester.record import Entry
from tools.conformance_tester.rules import Rule
from tools.conformance_tester.watch import Watch

LOOKED_FOR_TIMES = 2
FIRST_HELLO_TIMES = 4


class Verdict(Enum):
    """What came of a rule."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Result:
    """One rule, what came of it, and the bytes that show it."""

    rule: Rule
    verdict: Verdict
    why: str = ""
    notes: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    start_s: float = 0.0
    took_s: float = 0.0


@dataclass(slots=True)
class Outcomes:
    """The whole run."""

    port: str
    dialect: str
    hello: Hello | None = None
    results: list[Result] = field(default_factory=list)
    took_s: float = 0.0
    broken_off: str = ""
    """Why the run has not come to its end."""

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.results)

    @property
    def exit_status(self) -> int:
        """0: no rule was found broken; 1: one was; 2: none was, and the run was broken off."""
        if self.count(Verdict.BROKEN):
            return 1
        return 2 if self.broken_off else 0


def run(
    port: Port,
    dialect: Dialect,
    operator: Operator,
    *,
    rules: Sequence[Rule],
    random_bytes: Callable[[int], bytes],
    local_time: Callable[[], datetime],
    tell: Callable[[Result], None] = lambda _: None,
) -> Outcomes:
    """Go through `rules`. NotThere: no terminal answers. PortGone: it went before one did."""
    watchers: dict[str, Watch] = {
        rule.id: rule.check() for rule in rules if isinstance(rule.check, type)
    }
    bench = Bench(
        port,
        dialect,
        operator,
        random_bytes=random_bytes,
        local_time=local_time,
        watchers=tuple(watchers.values()),
    )
    found = Outcomes(port.name, dialect.name)
    begun_at = bench.now
    _find(bench)
    if bench.hello.can_authenticate != 1:
        rules = [rule for rule in rules if not rule.authenticated]
    for rule in rules:
        if rule.watched:
            continue
        if not found.broken_off:
            try:
                result = _try(bench, rule, found.results)
            except PortGone as gone:
                found.broken_off = str(gone)
            except KeyboardInterrupt:
                found.broken_off = "a person has broken it off"
        if found.broken_off:
            result = Result(
                rule, Verdict.NOT_CHECKED, f"the run was broken off: {found.broken_off}"
            )
        found.results.append(result)
        tell(result)
    for rule in rules:
        if rule.watched:
            found.results.append(_watched(rule, watchers[rule.id]))
            tell(found.results[-1])
    found.results.sort(key=lambda result: rules.index(result.rule))
    found.hello = bench.knows.hello
    found.took_s = bench.now - begun_at
    return found


def _find(bench: Bench) -> None:
    """The terminal's first HELLO."""
    for times in range(FIRST_HELLO_TIMES):
        try:
            bench.greet()
            break
        except Broken as fault:
            if times == FIRST_HELLO_TIMES - 1:
                raise NotThere(
                    f"{bench.port.name}: no terminal says HELLO to IDENTIFY ({fault}); check cable, "
                    f"baud rate and dialect ({bench.dialect.name})"
                ) from fault
    if bench.hello.key_id is not None:
        raise NotThere(
            f"{bench.port.name}: terminal {bench.terminal_id} has keys of its own bridge and takes "
            "nothing from another; remove them in its menu, and pair it again afterwards"
        )


def _try(bench: Bench, rule: Rule, before: list[Result]) -> Result:
    assert not isinstance(rule.check, type)
    start, start_s = len(bench.record), bench.now
    try:
        _settle(bench)
    except NotThere as fault:
        _blame(before, str(fault))
        # Where it never was there, no rule before can be blamed.
        verdict = Verdict.NOT_CHECKED if before else Verdict.BROKEN
        return Result(rule, verdict, f"the terminal does not come back: {fault}")
    verdict, why = Verdict.KEPT, ""
    try:
        rule.check(bench)
    except Broken as fault:
        verdict, why = Verdict.BROKEN, str(fault)
    except (CannotTell, NotThere) as fault:
        verdict, why = Verdict.NOT_CHECKED, str(fault)
    return Result(
        rule,
        verdict,
        why,
        tuple(bench.notes),
        tuple(bench.record.entries[start:]),
        start_s,
        bench.now - start_s,
    )


def _settle(bench: Bench) -> None:
    for times in range(LOOKED_FOR_TIMES):
        try:
            bench.settle()
            return
        except NotThere:
            if times == LOOKED_FOR_TIMES - 1:
                break
    bench.tried("power-cycle", sentence="The terminal is silent. Cut its power, and give it back.")
    bench.wait(bench.operator.patience_s and 1.0)
    bench.settle()


def _blame(before: list[Result], why: str) -> None:
    """The rule after which a terminal is gone was broken, however well it looked."""
    if before and before[-1].verdict is Verdict.KEPT:
        before[-1] = replace(
            before[-1],
            verdict=Verdict.BROKEN,
            why=f"after this the terminal did not come back: {why}",
        )


def _watched(rule: Rule, watch: Watch) -> Result:
    if watch.faults:
        first = watch.faults[0]
        more = f" (and {len(watch.faults) - 1} more)" if len(watch.faults) > 1 else ""
        start_s = first.entries[0].at_s if first.entries else 0.0
        return Result(rule, Verdict.BROKEN, f"{first.why}{more}", (), first.entries, start_s)
    if not watch.occasions:
        return Result(rule, Verdict.NOT_CHECKED, "there was no occasion")
    return Result(rule, Verdict.KEPT, notes=(f"{watch.occasions} occasions",))
