from dataclasses import dataclass

import pytest

from bridge.health import KINDS, Health, Severity, Status


@dataclass
class Clock:
    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def codes(health: Health) -> list[str]:
    return [shown.code for shown in health.report().conditions]


def test_nothing_wrong_is_ok(health: Health) -> None:
    report = health.report()
    assert (report.status, report.conditions) == (Status.OK, ())


def test_a_condition_shows_after_its_time_and_ends(health: Health, clock: Clock) -> None:
    health.begin("line-closed", "/dev/ttyUSB0", "no such device")
    assert codes(health) == []
    clock.seconds += KINDS["line-closed"].show_after_s
    (shown,) = health.report().conditions
    assert shown.text == "Port /dev/ttyUSB0 cannot be opened (no such device). Check its cable."
    assert shown.for_s == KINDS["line-closed"].show_after_s
    assert health.report().status is Status.DEGRADED
    health.end("line-closed", "/dev/ttyUSB0")
    assert health.report().status is Status.OK


def test_a_flap_stays_quiet_and_begins_anew(health: Health, clock: Clock) -> None:
    for _ in range(5):
        health.begin("line-closed", "a")
        clock.seconds += KINDS["line-closed"].show_after_s - 1
        assert codes(health) == []
        health.end("line-closed", "a")


def test_saying_it_again_keeps_its_beginning(health: Health, clock: Clock) -> None:
    health.begin("partpay-unreachable", detail="timeout")
    clock.seconds += 29
    health.begin("partpay-unreachable", detail="refused")
    clock.seconds += 1
    (shown,) = health.report().conditions
    assert "(refused)" in shown.text


def test_causes_hide_consequences_of_the_same_subject(health: Health, clock: Clock) -> None:
    health.begin("terminal-silent", "a")
    health.begin("terminal-silent", "b")
    clock.seconds += 60
    health.begin("line-closed", "a")
    assert [shown.subject for shown in health.report().conditions] == ["b"]


def test_a_cause_without_subject_hides_every_consequence(health: Health, clock: Clock) -> None:
    health.begin("merchant-refused", "m-1")
    health.begin("reversal-overdue", detail="1")
    clock.seconds += 3600
    assert codes(health) == ["merchant-refused", "reversal-overdue"]
    health.begin("partpay-unreachable")
    assert codes(health) == []
    clock.seconds += 30
    assert codes(health) == ["partpay-unreachable"]


def test_the_worst_is_told_first(health: Health, clock: Clock) -> None:
    health.begin("attention", detail="2")
    clock.seconds += 5
    health.begin("journal-unwritable", detail="disk full")
    assert codes(health) == ["journal-unwritable", "attention"]
    assert health.report().status is Status.FAILING
    health.put("journal-unwritable", False)
    assert health.report().status is Status.DEGRADED


def test_an_unknown_code_is_a_mistake(health: Health) -> None:
    with pytest.raises(KeyError):
        health.begin("sunny")
    with pytest.raises(KeyError):
        health.end("sunny")


def test_the_table_is_whole() -> None:
    for kind in KINDS.values():
        assert set(kind.depends_on) <= KINDS.keys()
        assert kind.text.format(subject="s", detail="d")
        assert kind.show_after_s >= 0
        assert kind.severity in Severity
