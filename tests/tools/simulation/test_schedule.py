from tools.simulation.schedule import Alarm, Schedule


def run(schedule: Schedule, until: float) -> None:
    while schedule.next_at() <= until:
        schedule.step()


def test_what_is_asked_for_first_happens_first_and_nothing_happens_in_the_past() -> None:
    schedule, done = Schedule(), []
    schedule.at(2.0, done.append, "late")
    schedule.at(1.0, done.append, "one")
    schedule.at(1.0, done.append, "two")
    run(schedule, 1.0)
    schedule.at(0.5, done.append, "asked for too late")
    run(schedule, 5.0)
    assert done == ["one", "two", "asked for too late", "late"]
    assert schedule.now == 2.0


def test_an_alarm_rings_once_at_the_time_it_was_set_to_last() -> None:
    schedule, rung = Schedule(), []
    alarm = Alarm(schedule, lambda: rung.append(schedule.now))
    alarm.set(5.0)
    alarm.set(2.0)
    alarm.set(3.0)
    run(schedule, 10.0)
    assert rung == [3.0]
    alarm.set(12.0)
    alarm.set(None)
    run(schedule, 20.0)
    assert rung == [3.0]


def test_an_alarm_that_is_set_again_while_it_rings_does_not_ring_twice() -> None:
    schedule, rung = Schedule(), []

    def ring() -> None:
        rung.append(schedule.now)
        if len(rung) < 3:
            alarm.set(schedule.now + 1.0)

    alarm = Alarm(schedule, ring)
    alarm.set(4.0)
    alarm.set(1.0)
    run(schedule, 10.0)
    assert rung == [1.0, 2.0, 3.0]
