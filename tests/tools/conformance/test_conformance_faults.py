"""The tester finds what it is for, and finds nothing where nothing is."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from drivers.display.geometry import Panel
from drivers.link.dialect import DIALECTS
from tests.tools.conformance.faulty_terminals import FAULTS, Fault
from tools.conformance_tester.port import PortGone
from tools.conformance_tester.rules import RULES, Rule, of_dialect
from tools.conformance_tester.run import Outcomes, Verdict, run
from tools.conformance_tester.simulated import DEVICE, InSteps, make_link
from tools.terminal.core import Device

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def gone_through(terminal: InSteps, dialect: str, rules: Iterable[Rule]) -> Outcomes:
    return run(
        terminal.port,
        DIALECTS[dialect],
        terminal.operator,
        rules=tuple(rules),
        random_bytes=random.Random(1).randbytes,
        local_time=lambda: NOON,
    )


def broken(outcomes: Outcomes) -> dict[str, str]:
    return {r.rule.id: r.why for r in outcomes.results if r.verdict is Verdict.BROKEN}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "device",
    [
        DEVICE,
        Device("AB12", "9", panel=Panel(128, 64), formats=b"\x83\x03\x10", max_body=640),
    ],
    ids=["large", "small"],
)
def test_the_simulated_terminal_keeps_every_rule(dialect: str, device: Device) -> None:
    rules = of_dialect(dialect)
    outcomes = gone_through(InSteps(DIALECTS[dialect], device), dialect, rules)
    if not device.can_authenticate:
        rules = tuple(rule for rule in rules if not rule.authenticated)
    verdicts = {r.rule.id: (r.verdict, r.why) for r in outcomes.results}
    assert verdicts == {rule.id: (Verdict.KEPT, "") for rule in rules}
    assert not any("nobody looked" in note for r in outcomes.results for note in r.notes)
    assert outcomes.exit_status == 0


def of_the_same_kind(fault: Fault) -> list[Rule]:
    """The rules that it breaks, those of their families, and all that are watched."""
    families = {rule.partition(".")[0] for rule in fault.breaks}
    return [
        rule
        for rule in of_dialect(fault.dialect)
        if rule.watched or rule.id.partition(".")[0] in families
    ]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(fault: Fault) -> None:
    terminal = InSteps(DIALECTS[fault.dialect], make=fault.make)
    outcomes = gone_through(terminal, fault.dialect, of_the_same_kind(fault))
    found = broken(outcomes)
    assert set(fault.breaks) <= found.keys(), found
    # A fault is found, and not everything is called broken because of it.
    assert outcomes.count(Verdict.KEPT) > len(found)
    assert outcomes.exit_status == 1


def test_each_rule_is_broken_by_a_fault() -> None:
    """A rule that nothing breaks checks nothing."""
    broken_by_some = {rule for fault in FAULTS.values() for rule in fault.breaks}
    assert broken_by_some == {rule.id for rule in RULES}


def test_a_terminal_that_is_gone_is_blamed_on_the_rule_before() -> None:
    """It hangs for good, power or not, once it has got a body that is too long."""
    terminal = InSteps(DIALECTS["native"])
    receive = terminal.receive

    def hangs(data: bytes, now: float) -> bytes:
        answer = receive(data, now)
        if len(data) > 4100:
            terminal.power_off()
            terminal.power_on = lambda: None  # type: ignore[method-assign]
        return answer

    terminal.receive = hangs  # type: ignore[method-assign]
    rules = [rule for rule in of_dialect("native") if rule.id.startswith("line.")]
    found = gone_through(terminal, "native", rules)
    assert broken(found).keys() == {"line.too-long", "line.ack-in-time"}
    after = [r for r in found.results if r.verdict is Verdict.NOT_CHECKED and not r.rule.watched]
    assert len(after) > 5
    assert all("does not come back" in result.why for result in after)


def test_a_terminal_that_greets_once_and_is_gone_is_not_called_right() -> None:
    terminal = InSteps(DIALECTS["native"])
    receive = terminal.receive
    terminal.power_on = lambda: None  # type: ignore[method-assign]

    def hangs(data: bytes, now: float) -> bytes:
        answer = receive(data, now)
        if b"\x81\x01\xdf\x01" in data:  # a WELCOME
            terminal.power_off()
        return answer

    terminal.receive = hangs  # type: ignore[method-assign]
    found = gone_through(terminal, "native", of_dialect("native"))
    assert found.exit_status == 1
    assert found.count(Verdict.KEPT) < 10


@pytest.mark.parametrize("fault", [PortGone("unplugged"), KeyboardInterrupt()], ids=["port", "^C"])
def test_a_run_that_is_broken_off_tells_what_it_found(fault: BaseException) -> None:
    terminal = InSteps(DIALECTS["native"])
    receive = terminal.receive
    sent = 0

    def breaks(data: bytes, now: float) -> bytes:
        nonlocal sent
        sent += 1
        if sent == 60:
            raise fault
        return receive(data, now)

    terminal.receive = breaks  # type: ignore[method-assign]
    found = gone_through(terminal, "native", of_dialect("native"))
    assert broken(found) == {}
    assert 0 < found.count(Verdict.KEPT) < 20
    assert found.broken_off
    assert found.exit_status == 2
    assert len(found.results) == len(of_dialect("native"))


def test_each_tried_rule_shows_its_bytes() -> None:
    outcomes = gone_through(
        InSteps(DIALECTS["native"], make=make_link), "native", of_dialect("native")
    )
    for result in outcomes.results:
        assert result.entries or result.rule.watched, result.rule.id


def test_a_hello_is_welcomed_at_once() -> None:
    """It once waited for the terminal's next byte, and then for the end of what was expected after it.

    100293…: T>B 06 10 02 01 01 …: the HELLO had come with the ACK of the REFUSED that asked for it.
    """
    rules = [rule for rule in of_dialect("native") if rule.id == "hello.on-refused"]
    [result] = gone_through(InSteps(DIALECTS["native"]), "native", rules).results
    assert result.verdict is Verdict.KEPT
    hellos = [entry.at_s for entry in result.entries if "HELLO" in entry.words]
    welcomes = [entry.at_s for entry in result.entries if entry.words == "WELCOME"]
    assert len(hellos) == 3
    assert welcomes == hellos
