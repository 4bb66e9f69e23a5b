"""A question of our own, and nobody else's."""

from bridge.probe import PROBE_S, PROBES_MAX, Probes, body_of


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_question_gets_its_answer_and_nothing_else_does() -> None:
    probes = Probes(Clock())
    first, second = probes.begin(), probes.begin()
    assert probes.answer(body_of(first["question"])) == first["answer"]
    assert probes.answer(body_of(second["question"])) == second["answer"]
    assert len({*first.values(), *second.values()}) == 4
    for raw in (
        b"",
        b"orderId=1&signature=0",
        body_of(""),
        body_of("0" * 32),
        body_of(first["answer"]),
        body_of(first["question"] + "0"),
        body_of(first["question"])[:-1],
        first["question"].encode(),
    ):
        assert probes.answer(raw) is None


def test_it_is_known_for_a_minute() -> None:
    clock = Clock()
    probes = Probes(clock)
    told = probes.begin()
    clock.seconds += PROBE_S - 0.1
    assert probes.answer(body_of(told["question"])) is not None
    clock.seconds += 0.1
    assert probes.answer(body_of(told["question"])) is None


def test_only_so_many_wait() -> None:
    probes = Probes(Clock())
    told = [probes.begin() for _ in range(PROBES_MAX + 1)]
    assert probes.answer(body_of(told[0]["question"])) is None
    assert all(probes.answer(body_of(one["question"])) for one in told[1:])
