"""Which pairing is on which line (terminal link, section 4, 1), through the real engine."""

from pathlib import Path

import pytest

from bridge.effects import Identify
from drivers.link import messages as link
from tests.bridge.shop import LANE, Shop

OTHER = "/dev/ttyS1"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def paired(said: list[link.Message]) -> list[int]:
    return [m.paired for m in said if isinstance(m, link.Welcome)]


def asked(shop: Shop) -> list[str]:
    return [e.lane for e in shop.effects if isinstance(e, Identify)]


def test_an_unknown_device_is_not_paired_and_listed(shop: Shop) -> None:
    assert paired(shop.hello(serial="OTHER")) == [0]
    assert shop.attention() == ["not-paired"]
    said = shop.tender()
    assert isinstance(said[0], link.Refused)
    assert said[0].reason == 1


def test_a_moved_terminal_waits_until_nobody_answers_on_the_old_line(shop: Shop) -> None:
    shop.hello()
    shop.sell()
    assert paired(shop.hello(OTHER)) == []
    assert asked(shop) == [LANE]
    assert paired(shop.hello(OTHER)) == []
    shop.advance(12.1)
    assert paired(shop.said) == [1, 1]
    assert shop.shown()[-1].lane == OTHER


def test_the_same_pair_answers_on_the_old_line(shop: Shop) -> None:
    shop.hello()
    shop.hello(OTHER)
    said = shop.hello()
    assert sorted(paired(said)) == [0, 1]
    assert "two-alike" in shop.attention()
    assert isinstance(shop.tender()[0], link.Accepted)


def test_another_answers_on_the_old_line(shop: Shop) -> None:
    shop.hello()
    shop.hello(OTHER)
    said = shop.hello(LANE, "T0000002", "SN2")
    assert paired(said) == [1, 1]


def test_the_old_lines_port_is_gone(shop: Shop) -> None:
    shop.hello()
    shop.hello(OTHER)
    mark = len(shop.said)
    shop.unplug()
    assert paired(shop.said[mark:]) == [1]


def test_a_line_that_went_down_is_not_asked(shop: Shop) -> None:
    shop.hello()
    shop.unplug()
    assert paired(shop.hello(OTHER)) == [1]


def test_a_retired_terminal_is_told_what_it_has_open_and_nothing_new(shop: Shop) -> None:
    shop.hello()
    shop.sell()
    shop.retire(1)
    assert paired(shop.hello()) == [1]
    shop.callback("approved")
    shop.status("approved")
    assert shop.outcomes() == ["00"]
    said = shop.tender(2)
    assert isinstance(said[0], link.Refused)
    assert said[0].reason == 1
    shop.stored()
    assert paired(shop.hello()) == [0]
