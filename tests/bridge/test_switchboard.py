"""Which pairing is on which line (terminal link, section 4, 1), through the real engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.effects import Identify, KeysProved, Welcome
from bridge.events import RegistryChanged, TechnicianAt
from bridge.lane_events import Heard, LineGivenUp, Proved, UnknownKeys
from bridge.registry import Snapshot
from drivers.link import messages as link
from drivers.link.authentication import Keys
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


def test_two_that_move_wait_each_its_own_time(shop: Shop) -> None:
    shop.hello()
    shop.hello("/dev/ttyS1", "T0000002", "SN2")
    shop.hello("/dev/ttyS2")
    shop.advance(5.0)
    shop.hello("/dev/ttyS3", "T0000002", "SN2")
    shop.advance(7.1)
    assert paired(shop.said) == [1, 1, 1]
    shop.advance(5.0)
    assert paired(shop.said) == [1, 1, 1, 1]


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


def test_who_waited_for_a_line_that_another_took_is_not_welcomed_there(shop: Shop) -> None:
    shop.hello()
    assert paired(shop.hello(OTHER)) == []
    shop.hello(OTHER, "T0000002", "SN2")
    mark = len(shop.effects)
    shop.advance(12.1)
    assert not [e for e in shop.effects[mark:] if isinstance(e, Welcome)]
    assert isinstance(shop.hear(link.Tender("T0000002", 1, 100, 554), OTHER)[0], link.Accepted)


def test_a_line_that_is_given_up_is_not_asked(shop: Shop) -> None:
    shop.hello()
    shop.post(LineGivenUp(LANE))
    assert paired(shop.hello(OTHER)) == [1]


def test_what_a_technician_is_pairing_is_not_listed(shop: Shop) -> None:
    shop.post(TechnicianAt(OTHER, here=True))
    assert paired(shop.hello(OTHER, serial="NEW")) == [0]
    assert shop.attention() == []
    shop.post(TechnicianAt(OTHER, here=False))
    shop.hello(OTHER, serial="NEW")
    assert shop.attention() == ["not-paired"]


def test_a_technician_asks_who_is_there_and_the_engine_only_afterwards(shop: Shop) -> None:
    shop.hello()
    shop.post(TechnicianAt(LANE, here=True))
    with_keys(shop, OLD)
    assert asked(shop) == []
    shop.post(TechnicianAt(LANE, here=False))
    assert asked(shop) == [LANE]


# -- pairings with keys


OLD = Keys(bytes(32), bytes(range(32)))
NEW = Keys(b"\x01" * 32, bytes(range(32)))


def with_keys(shop: Shop, *keys: Keys) -> None:
    """`keys`: of the first terminal, the newest first."""
    every = {("T0000001", "SN1"): keys} if keys else {}
    shop.snapshot = Snapshot.of(shop.snapshot.merchants.values(), shop.snapshot.pairings, every)
    shop.post(RegistryChanged())


def keyed_hello(shop: Shop, lane: str = LANE, keys: Keys = OLD) -> list[link.Message]:
    hello = link.Hello("T0000001", "SN1", 1, "Sim", "1", 240, 320, b"\x10", 1024)
    return shop.hear(replace(hello, can_authenticate=1, key_id=keys.identifier), lane)


def coded(shop: Shop, message: link.Message, lane: str = LANE, keys: Keys = OLD) -> list[Any]:
    return shop.post(Heard(lane, message, 1, keys.identifier))  # type: ignore[arg-type]


def ping(shop: Shop, lane: str = LANE, keys: Keys = OLD) -> list[Any]:
    return shop.post(Proved(lane, keys.identifier))


TENDER = link.Tender("T0000001", 1, 12550, 554)


def kinds(said: list[Any]) -> list[type]:
    return [type(message) for message in said]


def test_what_is_open_is_told_only_after_a_right_code(shop: Shop) -> None:
    with_keys(shop, OLD)
    assert paired(keyed_hello(shop)) == [1]
    ping(shop)
    assert kinds(coded(shop, TENDER)) == [link.Accepted]
    shop.created()
    shop.read_code()
    shop.unplug()
    shown = len(shop.shown())
    assert kinds(keyed_hello(shop)) == [link.Welcome]
    assert len(shop.shown()) == shown
    assert link.Accepted in kinds(ping(shop))
    assert len(shop.shown()) == shown + 1
    assert ping(shop) == []


def test_a_tender_with_a_right_code_proves_as_much_as_a_ping(shop: Shop) -> None:
    with_keys(shop, OLD)
    keyed_hello(shop)
    assert kinds(coded(shop, TENDER)) == [link.Accepted]


def test_nobody_is_asked_and_a_hello_alone_takes_no_line_away(shop: Shop) -> None:
    with_keys(shop, OLD)
    keyed_hello(shop)
    ping(shop)
    coded(shop, TENDER)
    assert paired(keyed_hello(shop, OTHER)) == [1]
    assert asked(shop) == []
    shop.created()
    shop.read_code()
    assert shop.shown()[-1].lane == LANE
    ping(shop, OTHER)
    assert shop.shown()[-1].lane == OTHER
    assert kinds(coded(shop, link.Query("T0000001", 1), OTHER)) == [link.Progress]
    ping(shop, LANE)
    assert shop.shown()[-1].lane == LANE


def test_a_hello_on_its_own_line_stops_what_is_told_there_until_it_is_proved(shop: Shop) -> None:
    with_keys(shop, OLD)
    keyed_hello(shop)
    ping(shop)
    coded(shop, TENDER)
    shop.created()
    keyed_hello(shop)
    said = len(shop.said)
    shop.read_code()
    shop.advance(20)
    assert shop.shown() == []
    assert kinds(shop.said[said:]) == []


def test_without_the_keys_of_its_pairing_it_is_not_paired(shop: Shop) -> None:
    with_keys(shop, OLD)
    keyed_hello(shop)
    ping(shop)
    coded(shop, TENDER)
    shop.created()
    assert paired(shop.hello(OTHER)) == [0]
    assert shop.attention() == ["without-keys"]
    shop.read_code()
    assert shop.shown()[-1].lane == LANE
    assert shop.tender(2)[0].reason == 9  # type: ignore[union-attr]
    assert shop.hear(TENDER, OTHER)[0].reason == 9  # type: ignore[union-attr]


def test_unknown_keys_are_listed_and_the_line_is_nobodys(shop: Shop) -> None:
    shop.hello()
    shop.post(
        UnknownKeys(LANE, link.Hello("T9", "S9", 1, "m", "1", 1, 1, b"", 640, key_id=b"none"))
    )
    assert shop.attention() == ["unknown-keys"]
    assert paired(shop.hello(OTHER)) == [1]
    assert asked(shop) == []


def test_the_first_message_under_new_keys_drops_the_old(shop: Shop) -> None:
    def dropped() -> list[KeysProved]:
        return [e for e in shop.effects if isinstance(e, KeysProved)]

    with_keys(shop, NEW, OLD)
    keyed_hello(shop, keys=OLD)
    ping(shop, keys=OLD)
    assert dropped() == []
    keyed_hello(shop, keys=NEW)
    assert dropped() == []
    ping(shop, keys=NEW)
    assert dropped() == [KeysProved("T0000001", "SN1", NEW.identifier)]
    with_keys(shop, NEW)
    ping(shop, keys=NEW)
    assert len(dropped()) == 1


def test_keys_agreed_on_or_forgotten_since_the_hello_count_at_once(shop: Shop) -> None:
    shop.hello()
    with_keys(shop, OLD)
    assert asked(shop) == [LANE]
    assert [m.reason for m in shop.tender() if isinstance(m, link.Refused)] == [9]
    keyed_hello(shop)
    assert kinds(coded(shop, TENDER)) == [link.Accepted]
    with_keys(shop)
    assert asked(shop) == [LANE, LANE]
    refused = coded(shop, link.Query("T0000001", 1))
    assert [m.reason for m in refused if isinstance(m, link.Refused)] == [9]
    assert ping(shop) == []


def test_keys_that_came_while_a_move_was_waited_for(shop: Shop) -> None:
    shop.hello()
    shop.hello(OTHER)
    with_keys(shop, OLD)
    shop.advance(12.1)
    assert paired(shop.said) == [1, 0]
