"""The firmware keeps every rule of the link: step by step all of them, and on a real port what is quick."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.link.dialect import DIALECTS
from drivers.link.framing import ACK
from drivers.link.messages import Message, Outcome, Welcome
from tests.tools.firmware.compiling import example
from tests.tools.firmware.stepped_firmware import WRAPS_AT, SteppedFirmware
from tools.conformance_tester.operators import Operator
from tools.conformance_tester.port import LinePort, Port
from tools.conformance_tester.rules import Rule, of_dialect
from tools.conformance_tester.run import Outcomes, Verdict, run
from tools.conformance_tester.simulated import SEEN_WITHIN_S, ByProgram
from tools.firmware.driver import FirmwareTerminal

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

ON_A_PORT = (
    *("line.bad-check", "line.bytewise", "words.wraps", "hello.cable", "refund.approved"),
    *("tender.through-power-cut", "outcome.through-power-cut", "outcome.last-eight"),
    *("outcome.other-amount", "image.every-format", "image.of-a-tender"),
)
"""Rules that lean on what only the real thing has: a port, a process, a file. None takes long."""


def gone_through(port: Port, operator: Operator, dialect: str, rules: Iterable[Rule]) -> Outcomes:
    return run(
        port,
        DIALECTS[dialect],
        operator,
        rules=tuple(rules),
        random_bytes=random.Random(1).randbytes,
        local_time=lambda: NOON,
    )


def verdicts(outcomes: Outcomes) -> dict[str, tuple[Verdict, str]]:
    return {result.rule.id: (result.verdict, result.why) for result in outcomes.results}


def all_kept(rules: Iterable[Rule]) -> dict[str, tuple[Verdict, str]]:
    return {rule.id: (Verdict.KEPT, "") for rule in rules}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "device",
    [
        {},
        {"panel": (128, 64), "formats": b"\x81\x01", "terminal_id": "AB12", "serial_number": "9"},
        {"start_ms": WRAPS_AT - 1_300_000},
        {"start_ms": (WRAPS_AT >> 1) - 1_200_000},
    ],
    ids=["large", "small", "clock-wraps", "clock-changes-its-sign"],
)
def test_every_rule_is_kept(stepped_program: Path, dialect: str, device: dict) -> None:
    rules = [rule for rule in of_dialect(dialect) if not rule.authenticated]
    with SteppedFirmware(stepped_program, dialect=dialect, **device) as firmware:
        outcomes = gone_through(firmware.port, firmware.operator, dialect, rules)
    assert verdicts(outcomes) == all_kept(rules)
    assert not any("nobody looked" in note for r in outcomes.results for note in r.notes)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("start_ms", [0, WRAPS_AT - 1_700_000])
def test_every_rule_is_kept_by_a_terminal_that_authenticates(
    authenticated_program: Path, dialect: str, start_ms: int
) -> None:
    rules = of_dialect(dialect)
    with SteppedFirmware(authenticated_program, dialect=dialect, start_ms=start_ms) as firmware:
        outcomes = gone_through(firmware.port, firmware.operator, dialect, rules)
    assert verdicts(outcomes) == all_kept(rules)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_on_a_port_in_real_time(example_terminal: Path, tmp_path: Path, dialect: str) -> None:
    link = tmp_path / "terminal"
    watched = [rule for rule in of_dialect(dialect) if rule.watched and not rule.authenticated]
    rules = [rule for rule in of_dialect(dialect) if rule.id in ON_A_PORT] + watched
    with FirmwareTerminal(example_terminal, link, dialect=dialect) as terminal:
        port = LinePort(str(link), baud=115_200)
        operator = ByProgram(terminal, seen_within_s=SEEN_WITHIN_S)
        outcomes = gone_through(port, operator, dialect, rules)
        port.close()
    assert verdicts(outcomes) == all_kept(rules)


def test_pairing_on_a_port_in_real_time(built: Path, tmp_path: Path) -> None:
    """With random bytes of the machine, and keys that a killed process finds again in its file."""
    link = tmp_path / "terminal"
    wanted = ("pair.done", "session.sale", "session.ping")
    rules = [rule for rule in of_dialect("native") if rule.id in wanted or rule.watched]
    with FirmwareTerminal(example(built / "pairs", authenticated=True), link) as terminal:
        port = LinePort(str(link), baud=115_200)
        operator = ByProgram(terminal, seen_within_s=SEEN_WITHIN_S)
        outcomes = gone_through(port, operator, "native", rules)
        before = terminal.wait_for("digits")
        assert 0 <= int(before["digits"]) < 1_000_000
        terminal.power_off()
        terminal.power_on()
        again = port.read(port.now() + 10)
        port.close()
    kept = {r.rule.id for r in outcomes.results if r.verdict is Verdict.KEPT}
    assert kept >= {*wanted, "session.coded", "words.understood", "line.ack-in-time"}
    assert again is not None
    assert b"\xdf\x27\x04" in again.data  # its HELLO names the keys


def test_a_terminal_that_cannot_store_says_nothing_more(stepped_program: Path) -> None:
    rules = [rule for rule in of_dialect("native") if rule.id == "outcome.approved"]
    with SteppedFirmware(stepped_program, dialect="native") as firmware:
        assert verdicts(
            gone_through(firmware.port, firmware.operator, "native", rules)
        ) == all_kept(rules)
        firmware.storage("broken")
        before = len(firmware.events)
        broken = gone_through(firmware.port, firmware.operator, "native", rules)
        # The TENDER would rest on what could not be stored: not a byte of it is said.
        assert verdicts(broken)["outcome.approved"][0] is not Verdict.KEPT
        told = [event.kind for event in firmware.events[before:]]
        assert "failed" in told
        assert firmware.port.read(firmware.port.now() + 60) is None
        firmware.storage("ok")
        firmware.power_off()
        firmware.power_on()
        again = gone_through(firmware.port, firmware.operator, "native", rules)
        assert verdicts(again) == all_kept(rules)


@pytest.mark.parametrize("storage", ["ok", "broken"])
def test_an_outcome_that_cannot_be_stored_is_not_answered(
    stepped_program: Path, storage: str
) -> None:
    with SteppedFirmware(stepped_program, dialect="native") as firmware:
        firmware.port.write(ACK)  # of its HELLO
        hear(firmware, "native", Welcome(1, bytes(8), 1, 261123, 81500))
        heard_of(firmware, 1)
        firmware.storage(storage)
        hear(firmware, "native", OUTCOME, 2)
        said = heard_of(firmware, 60)
        is_stored = b"\x10\x02\x14\x02\x9f\x1c" in said
        assert is_stored is (storage == "ok")
        assert (firmware.events[-1].kind == "failed") is (storage == "broken")


@pytest.mark.parametrize("kind", ["stepped_program", "authenticated_program"])
def test_noise_for_ever_breaks_nothing(request: pytest.FixtureRequest, kind: str) -> None:
    """Whatever comes, the sanitizers find nothing, and afterwards it sells."""
    source = random.Random(11)
    kept = [rule for rule in of_dialect("native") if rule.id == "outcome.approved"]
    with SteppedFirmware(request.getfixturevalue(kind), dialect="native") as firmware:
        gone_through(firmware.port, firmware.operator, "native", kept)
        pieces = [b"\x10\x02", b"\x10\x03", b"\x10\x10", b"\x06", b"\x15", b"\x92\x07", b"\xa0\x01"]
        for _ in range(3000):
            size = source.randrange(12)
            noise = b"".join(source.choice([*pieces, source.randbytes(3)]) for _ in range(size))
            firmware.port.write(noise)
            firmware.port.read(firmware.port.now() + source.choice([0, 0.01, 0.6]))
        assert verdicts(gone_through(firmware.port, firmware.operator, "native", kept)) == all_kept(
            kept
        )


OUTCOME = Outcome("T0000001", 4242, "91", 100, 'TEST "Kāore" \\ x=1\ncounter=7', 261123, 81512)


def hear(firmware: SteppedFirmware, name: str, message: Message, number: int = 1) -> None:
    """Have the terminal hear this, whatever it says to it."""
    dialect = DIALECTS[name]
    firmware.port.write(dialect.framing.encode(dialect.encoding.encode(message, number)))


def heard_of(firmware: SteppedFirmware, for_s: float) -> bytes:
    """All that it says within that time."""
    port, data = firmware.port, b""
    until = port.now() + for_s
    while (chunk := port.read(until)) is not None:
        data += chunk.data
    return data


@pytest.mark.parametrize("name", DIALECTS)
def test_texts_come_through_unharmed(stepped_program: Path, name: str) -> None:
    with SteppedFirmware(stepped_program, dialect=name) as firmware:
        hear(firmware, name, Welcome(1, bytes(8), 1, 261123, 81500))
        hear(firmware, name, OUTCOME)
        told = {event.kind: event for event in firmware.events}
    assert told["text"]["text"] == OUTCOME.text
    assert told["person"]["matter"] == "unknown-outcome"
    assert (told["person"]["counter"], told["person"]["amount_minor"]) == (4242, 100)
