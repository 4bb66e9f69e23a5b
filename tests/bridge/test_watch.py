"""What is noticed, and said to health: each condition begins and ends by what passes."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, cast

import pytest

from bridge.effects import Welcome
from bridge.engine import Engine
from bridge.events import CallbackReceived
from bridge.health import KINDS, Health
from bridge.lane_events import Heard, LineDown, LineUp
from bridge.metrics import Metrics
from bridge.partpay.answers import (
    CancelTaken,
    Created,
    NoAnswer,
    NotAllowed,
    NoTokenCause,
    NotSent,
    Refused,
    Told,
)
from bridge.partpay.callback import SignedCallback
from bridge.tender import Ask
from bridge.watch import CLOCK_OFF_S, FORGED_FORGET_S, FORGED_MIN, Watch
from drivers.link import messages as link

PORT = "/dev/ttyUSB0"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HELLO = link.Hello(
    terminal_id="T1",
    serial_number="S1",
    version=1,
    model="Model",
    firmware="1",
    panel_width=240,
    panel_height=320,
    formats=b"\x10",
    max_body=4092,
)
NOTHING = {"open": 0, "owed": 0, "unstored": 0, "attention": 0, "waiting_long": 0}


@dataclass
class Desk:
    """A watch, and what it has said; conditions that wait before they show count, too."""

    clock: float = 1000.0
    wall: datetime = NOON
    free_bytes: int = 10**12
    health: Health = field(init=False)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.health = Health(lambda: self.clock)
        self.watch = Watch(
            self.health, Metrics(), lambda: self.free_bytes, lambda: self.clock, lambda: self.wall
        )

    @property
    def lasting(self) -> dict[tuple[str, str], str]:
        return {key: detail for key, (_, detail) in self.health._lasting.items()}

    @property
    def codes(self) -> set[str]:
        return {code for code, _ in self.health._lasting}

    def welcome(self, *, paired: bool) -> None:
        told = link.Welcome(1, b"12345678", int(paired), 261123, 120000)
        self.watch.carried([Welcome(PORT, told, paired=paired, hello=HELLO)])

    def answer(self, answer: object, merchant: str = "M1") -> None:
        self.watch.answered(Ask.CREATE, 0.1, answer, merchant)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_terminal_that_is_not_paired(desk: Desk) -> None:
    desk.watch.passed(LineUp(PORT))
    desk.watch.passed(Heard(PORT, HELLO, 1))
    desk.welcome(paired=False)
    assert desk.lasting == {("terminal-not-paired", PORT): "T1, serial number S1,"}
    (shown,) = desk.health.report().conditions
    assert shown.text.startswith("Terminal T1, serial number S1, on port /dev/ttyUSB0 is not pai")
    desk.welcome(paired=True)
    assert desk.lasting == {}


@pytest.mark.parametrize("end", [LineUp(PORT), LineDown(PORT, "unplugged")])
def test_a_terminal_that_went_is_not_unpaired(desk: Desk, end: LineUp | LineDown) -> None:
    desk.watch.passed(Heard(PORT, HELLO, 1))
    desk.welcome(paired=False)
    desk.watch.passed(end)
    assert "terminal-not-paired" not in desk.codes


def test_nothing_is_wrong_with_a_port_that_nobody_is_registered_on(desk: Desk) -> None:
    desk.watch.passed(LineDown(PORT, "unplugged"))
    desk.watch.gave_up(PORT)
    assert desk.lasting == {}


def test_a_refused_token_is_no_network_fault(desk: Desk) -> None:
    why = "no token for client C from https://token.test/: it answered 403 (no)"
    desk.watch.token("C", NoTokenCause.REFUSED, why)
    desk.answer(NotSent(why))
    assert desk.lasting == {("token-refused", "C"): why}
    desk.watch.token("C", None, "")
    desk.answer(Created(Told(order_id="1")))
    assert desk.lasting == {}


def test_no_token_because_of_the_network_is_the_networks_fault(desk: Desk) -> None:
    desk.watch.token("C", NoTokenCause.UNKNOWN, "no route")
    desk.answer(NotSent("no token for client C: no route"))
    assert desk.codes == {"partpay-unreachable"}


def test_a_secret_that_cannot_be_read(desk: Desk) -> None:
    desk.watch.token("C", NoTokenCause.SECRET, "/x: can be read by others")
    desk.answer(NotSent("no token for client C: /x: can be read by others"))
    assert desk.codes == {"secret-unusable"}


@pytest.mark.parametrize("refusal", [NotAllowed(403, "no"), NoAnswer("no", unauthorised=True)])
@pytest.mark.parametrize("good", [Created(Told(order_id="1")), Refused(422, "no"), Told()])
def test_a_merchant_that_is_not_allowed(desk: Desk, refusal: object, good: object) -> None:
    desk.answer(refusal)
    assert desk.lasting == {("merchant-refused", "M1"): "no"}
    desk.answer(good, "M2")
    desk.answer(CancelTaken(403))
    assert desk.codes == {"merchant-refused"}
    desk.answer(good)
    assert desk.lasting == {}


def test_callbacks_with_wrong_signatures(desk: Desk) -> None:
    for _ in range(FORGED_MIN - 1):
        desk.watch.callback(401)
    desk.watch.callback(200)
    for _ in range(FORGED_MIN - 1):
        desk.watch.callback(401)
        desk.watch.callback(400)
    assert desk.lasting == {}
    desk.watch.callback(401)
    assert desk.codes == {"callbacks-refused"}
    desk.watch.callback(404)
    assert desk.lasting == {}


def test_wrong_signatures_are_forgotten(desk: Desk) -> None:
    for _ in range(FORGED_MIN):
        desk.watch.callback(401)
    desk.watch.counted(NOTHING)
    assert desk.codes == {"callbacks-refused"}
    desk.clock += FORGED_FORGET_S
    desk.watch.counted(NOTHING)
    assert desk.lasting == {}


def test_when_a_signed_callback_last_came(desk: Desk) -> None:
    desk.watch.callback(401)
    assert desk.watch.callback_at is None
    desk.watch.callback(200)
    assert desk.watch.callback_at == desk.clock


@pytest.mark.parametrize(
    ("count", "code", "detail"),
    [
        ("owed", "reversal-overdue", "2"),
        ("waiting_long", "outcome-unstored", "2"),
        ("attention", "attention", "2"),
    ],
)
def test_what_is_counted(desk: Desk, count: str, code: str, detail: str) -> None:
    desk.watch.counted({**NOTHING, count: 2})
    assert desk.lasting == {(code, ""): detail}
    desk.watch.counted(NOTHING)
    assert desk.lasting == {}


def test_open_and_not_yet_stored_is_how_every_sale_goes(desk: Desk) -> None:
    desk.watch.counted({**NOTHING, "open": 3, "unstored": 3})
    assert desk.lasting == {}


@dataclass
class FakeEngine:
    why_not_writing: str | None = None
    poisoned: int = 0
    frozen: frozenset[str] = frozenset()


def test_a_frozen_tender(desk: Desk) -> None:
    engine = FakeEngine(frozen=frozenset({"T1/7"}))
    desk.watch.look(cast(Engine, engine))
    assert [key for key in desk.lasting if key[0] == "tender-frozen"] == [("tender-frozen", "T1/7")]
    desk.watch.look(cast(Engine, FakeEngine()))
    assert desk.lasting == {}


@pytest.mark.parametrize(
    ("off_s", "words"), [(3600.0, "1 h"), (-3600.0, "1 h"), (2 * 86_400.0, "2 d"), (90.0, "2 min")]
)
def test_a_clock_that_is_wrong(desk: Desk, off_s: float, words: str) -> None:
    desk.wall = datetime.fromtimestamp(NOON.timestamp() + off_s, UTC)
    desk.watch.dated(format_datetime(NOON, usegmt=True))
    assert desk.lasting == {("clock-wrong", ""): words}
    desk.wall = datetime.fromtimestamp(NOON.timestamp() + CLOCK_OFF_S, UTC)
    desk.watch.dated(format_datetime(NOON, usegmt=True))
    assert desk.lasting == {}


def test_a_date_that_is_none_says_nothing(desk: Desk) -> None:
    desk.watch.dated("yesterday")
    assert desk.lasting == {}


def test_the_listener_broke_and_went_on(desk: Desk) -> None:
    desk.watch.listener_broke(OSError("no descriptor"))
    desk.watch.counted(NOTHING)
    assert desk.codes == {"listener-down"}
    desk.clock += 60
    desk.watch.counted(NOTHING)
    assert desk.lasting == {}


def test_every_condition_is_set_by_somebody() -> None:
    """A condition that nobody begins is a promise that nobody keeps."""
    from tests.docs.page import TOP

    code = "".join(file.read_text() for file in (TOP / "bridge").glob("*.py"))
    code = code.replace((TOP / "bridge/health.py").read_text(), "")
    for kind in KINDS:
        assert f'"{kind}"' in code, f"nobody sets {kind}"


def test_a_callback_is_measured_for_any_store(desk: Desk) -> None:
    signed = SignedCallback("1", "1", "approved", "A-B-T1-7-1-0a0b0c0d", "r", frozenset({""}))
    reply: Future[Any] = Future()
    desk.watch.passed(CallbackReceived(signed, reply))
    assert list(desk.watch._delays._callbacks) == [("T1", 7)]
