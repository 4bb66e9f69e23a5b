"""What `ports` tells, from devices, terminals and lines that the test names."""

from pathlib import Path
from typing import Any

import pytest

from bridge.ports import World, port_facts, ports
from drivers.asking import Answer, Setting, Silence
from drivers.discovery import Device, Inventory
from drivers.holders import NOBODY, Holder, Occupancy
from drivers.line.line import Trouble, TroubleKind
from drivers.link.messages import Hello

BY_ID = "/dev/serial/by-id/usb-FTDI_A10K-if00-port0"
FTDI = Device(BY_ID, "/dev/ttyUSB0", (BY_ID, "/dev/ttyUSB0"), "FTDI", "UART", "A10K", "0403:6001")
SPARE = Device("/dev/ttyS0", "/dev/ttyS0", ("/dev/ttyS0",))
PRESENT = Inventory((SPARE, FTDI))
FAST = Setting("native", 115_200)
HELLO = Hello(
    terminal_id="T1",
    serial_number="S1",
    version=1,
    model="Model",
    firmware="1.2",
    panel_width=240,
    panel_height=320,
    formats=b"\x10",
    max_body=4092,
)


def terminal(port: str = BY_ID, **more: Any) -> dict[str, Any]:
    return {
        "terminal": "T1",
        "serial": "S1",
        "port": port,
        "dialect": "native",
        "baud": 115_200,
        "pairing": 1,
        **more,
    }


def line(port: str = BY_ID, **more: Any) -> dict[str, Any]:
    told = {"port": port, "dialect": "native", "baud": 115_200, "open": True, "up": True}
    return {**told, "terminal": "T1", "serial": "S1", "model": "Model", "firmware": "1", **more}


def held(node: str, name: str, all_seen: bool = True) -> Occupancy:
    return Occupancy({node: (Holder(77, name),)}, {}, {}, all_seen)


def test_a_terminal_and_its_device_come_together_under_any_name() -> None:
    for name in (BY_ID, "/dev/ttyUSB0"):
        first, second = ports(World(PRESENT, terminals=[terminal(name)]))
        assert (first.name, first.device) == (BY_ID, FTDI)
        assert [one["terminal"] for one in first.terminals] == ["T1"]
        assert (second.name, second.terminals) == ("/dev/ttyS0", ())


def test_only_those_that_are_named_by_any_name() -> None:
    found = ports(World(PRESENT, terminals=[terminal()]), ["/dev/ttyUSB0"])
    assert [one.name for one in found] == [BY_ID]
    (absent,) = ports(World(PRESENT), ["/dev/ttyUSB9"])
    assert (absent.name, absent.device) == ("/dev/ttyUSB9", None)
    assert port_facts(absent, PRESENT)["plugged_in"] is False


def test_a_port_that_is_in_no_list_is_there_where_its_path_is(tmp_path: Path) -> None:
    node, link = tmp_path / "pts", tmp_path / "line"
    node.touch()
    link.symlink_to(node)
    (port,) = ports(World(Inventory(()), terminals=[terminal(str(link))]))
    assert port.device == Device(str(link), str(node), (str(link), str(node)))


@pytest.mark.parametrize(
    ("occupancy", "lines", "why"),
    [
        (NOBODY, [], None),
        (NOBODY, [line()], "the bridge has it"),
        (NOBODY, [line(open=False)], None),
        (held("/dev/ttyUSB0", "gpsd"), [], "in use by gpsd (process 77)"),
        (Occupancy({}, {}, {}, all_seen=False), [], "run this as root"),
        (held("/dev/ttyS0", "gpsd"), [], None),
    ],
)
def test_who_is_asked(occupancy: Occupancy, lines: list[dict[str, Any]], why: str | None) -> None:
    world = World(PRESENT, occupancy, [terminal()], lines)
    told = ports(world)[0].why_not_asked
    assert told == why or (why is not None and told is not None and why in told)


def test_nobody_is_asked_where_nothing_is_plugged_in() -> None:
    (port,) = ports(World(Inventory(()), terminals=[terminal()]))
    assert port.why_not_asked == "nothing is plugged in"


def test_the_registered_setting_is_asked_in_first() -> None:
    known = terminal(dialect="classic", baud=9600)
    (port, spare) = ports(World(PRESENT, terminals=[known]))
    assert port.settings[0] == Setting("classic", 9600)
    assert spare.settings[0] == FAST


def test_what_the_daemon_hears_is_told_as_it_hears_it() -> None:
    world = World(PRESENT, held("/dev/ttyUSB0", "partpay-bridge"), [terminal()], [line()])
    facts = port_facts(ports(world)[0], PRESENT)
    assert facts["answers"] == {
        "dialect": "native",
        "baud": 115_200,
        "terminal": "T1",
        "serial": "S1",
        "model": "Model",
        "firmware": "1",
    }
    assert facts["used_by"] == [{"pid": 77, "name": "partpay-bridge"}]
    assert facts["remarks"] == []


def test_who_has_it_is_unknown_where_it_cannot_be_seen() -> None:
    world = World(PRESENT, Occupancy({}, {}, {}, all_seen=False))
    assert port_facts(ports(world)[0], PRESENT)["used_by"] is None
    seen = World(PRESENT, held("/dev/ttyS0", "gpsd", all_seen=False))
    assert port_facts(ports(seen)[0], PRESENT)["used_by"] == [{"pid": 77, "name": "gpsd"}]


@pytest.mark.parametrize(
    ("known", "asked", "remark"),
    [
        (terminal("/dev/ttyUSB0"), None, f"terminals set T1/S1 --port {BY_ID}"),
        (terminal(baud=9600), Answer(FAST, HELLO), "--dialect native --baud 115200"),
        (terminal(dialect="classic"), Answer(FAST, HELLO), "registered with classic at 115200"),
        (terminal(serial="S2"), Answer(FAST, HELLO), f"on this port: partpay-bridge pair {BY_ID}"),
        (None, Answer(FAST, HELLO), f"is not registered: partpay-bridge pair {BY_ID}"),
        (None, Answer(FAST, None), "says no HELLO"),
        (None, Silence((FAST,), noise=False), "nobody answers"),
        (None, Silence((FAST,), noise=True), "not the terminal link"),
        (None, Trouble(TroubleKind.DENIED, "no right"), "not asked: no right"),
        (None, "in use by gpsd", "not asked: in use by gpsd"),
    ],
)
def test_remarks(known: dict[str, Any] | None, asked: Any, remark: str) -> None:
    world = World(PRESENT, terminals=[known] if known else [])
    (port,) = [one for one in ports(world) if one.name == BY_ID]
    (said,) = port_facts(port, PRESENT, asked)["remarks"]
    assert remark in said
