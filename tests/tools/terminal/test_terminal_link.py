"""The simulated terminal on a session, at the other end of which a bridge's session stands."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from drivers.link.authentication import Keys
from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.messages import (
    BY_TYPE,
    Accepted,
    Hello,
    Identify,
    Message,
    Outcome,
    PairDone,
    Ping,
    Progress,
    Reason,
    Refused,
    Stored,
    Tender,
    Welcome,
)
from drivers.link.pairing import BridgePairing, Compare, Keep, Refuse, Share, Step
from drivers.link.pairing import Send as PairingSend
from drivers.link.sealed import BridgeSeal
from drivers.link.session import NotAuthenticated, Received, Session
from tools.terminal.actions import Closed, Ending, PairingEnded, Ready, Send, ShowDigits
from tools.terminal.core import Device, NotNow, State, Terminal
from tools.terminal.link import Happened, NotHeard, TerminalLink
from tools.terminal.storage import InMemory, Kept

ME = "T0000001"
DEVICE = Device(ME, "SN123456")
KEYED = Device(ME, "SN123456", can_authenticate=True)
WELCOME = Welcome(1, bytes(8), 1, 261123, 81500)
KEYS = Keys(bytes(range(32)), bytes(range(32, 64)))


class Cable:
    """A terminal and a bridge's session, and a wire between them that takes no time."""

    def __init__(self, dialect: Dialect, device: Device, kept: Kept | None = None) -> None:
        numbers = itertools.count(1)
        self.now = 100.0
        self.storage = InMemory(kept)
        self.fresh: Callable[[int], bytes] = lambda size: next(numbers).to_bytes(size, "big")
        self.bridge_keys: list[Keys] = [] if kept is None or kept.keys is None else [kept.keys]
        self.bridge = Session(
            dialect,
            seal=BridgeSeal(dialect.encoding, lambda *_: self.bridge_keys, lambda: self.fresh(8)),
        )
        self.terminal = TerminalLink(Terminal(device, self.storage, self.fresh), dialect)
        self.dialect = dialect
        self.happened: list[Happened] = []
        self.heard: list[Received] = []
        self.refused: list[NotAuthenticated] = []
        self.answers: dict[type[Message], Callable[[Received], None]] = {
            Hello: lambda _: self.say(WELCOME)
        }
        self.cut = False

    def plug(self) -> Cable:
        self.bridge.restart()
        return self.happens(self.terminal.plugged(self.now))

    def happens(self, happened: list[Happened]) -> Cable:
        self.happened += happened
        return self.settle()

    def say(self, message: Message) -> None:
        self.bridge.send(message)

    def settle(self) -> Cable:
        """Until nobody has anything to say at this moment."""
        while True:
            out = self.terminal.take_output(self.now)
            back = self.bridge.take_output(self.now)
            if not out and not back:
                return self
            self.happened += self.terminal.written(self.now)
            self.bridge.written(self.now)
            if self.cut:
                continue
            for event in self.bridge.receive(out, self.now):
                match event:
                    case Received():
                        self.heard.append(event)
                        self.answers.get(type(event.message), lambda _: None)(event)
                    case NotAuthenticated():
                        self.refused.append(event)
            self.happened += self.terminal.receive(back, self.now)

    def after(self, seconds: float) -> Cable:
        end = self.now + seconds
        while True:
            due = [self.terminal.next_wake(), self.bridge.next_wake()]
            when = min((moment for moment in due if moment is not None), default=end + 1)
            if when > end:
                break
            self.now = max(self.now, when)
            self.bridge.wake(self.now)
            self.happens(self.terminal.wake(self.now))
        self.now = end
        return self

    def of(self, kind: type) -> list[Happened]:
        return [one for one in self.happened if isinstance(one, kind)]

    def messages(self) -> list[Message]:
        return [one.message for one in self.heard]


@pytest.fixture(params=["native", "classic"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def accepted(message: Tender) -> Accepted:
    return Accepted(ME, message.counter, message.amount_minor, message.currency, 300)


def outcome(message: Tender) -> Outcome:
    return Outcome(ME, message.counter, "00", message.amount_minor, "", 261123, 81512)


def test_a_sale(dialect: Dialect) -> None:
    cable = Cable(dialect, DEVICE).plug()
    cable.happens(cable.terminal.act(cable.terminal.terminal.sale(1250, cable.now), cable.now))
    tender = cable.messages()[-1]
    assert isinstance(tender, Tender)
    cable.say(accepted(tender))
    cable.say(outcome(tender))
    cable.settle()
    assert cable.messages()[-1] == Stored(ME, 1, "00")
    assert [one.ending for one in cable.of(Closed)] == [Ending.APPROVED]


def test_a_refused_without_a_counter_is_known_by_the_number_of_its_message() -> None:
    cable = Cable(DIALECTS["native"], DEVICE).plug()
    terminal = cable.terminal.terminal
    cable.happens(cable.terminal.act(terminal.refund(7, 100, cable.now), cable.now))
    cable.happens(cable.terminal.act(terminal.refund(8, 200, cable.now), cable.now))
    second = cable.heard[-1]
    refused = bytes((second.message.type_code, second.sequence))
    cable.say(Refused(Reason.NOT_REFUNDABLE, refused, "no", ME))
    cable.settle()
    assert [one.counter for one in cable.of(Closed)] == [2]
    cable.say(Refused(Reason.NOT_REFUNDABLE, bytes((second.message.type_code, 77)), "no", ME))
    cable.settle()
    assert [one.counter for one in cable.of(Closed)] == [2, 1], "one waits: it is that one"


def test_a_message_that_nobody_acknowledges_is_followed_by_hello() -> None:
    cable = Cable(DIALECTS["native"], DEVICE).plug()
    cable.cut = True
    cable.happens(
        cable.terminal.act(cable.terminal.terminal.sale(1250, cable.now), cable.now)
    ).after(6)
    assert [type(one.message) for one in cable.of(NotHeard)] == [Tender]
    assert isinstance(cable.of(Send)[-1].message, Hello)
    cable.cut = False
    cable.after(5)
    assert isinstance(cable.messages()[-1], Tender)


def test_more_than_can_wait_to_be_said_ends_in_a_hello_and_not_in_silence() -> None:
    cable = Cable(DIALECTS["native"], DEVICE).plug()
    terminal = cable.terminal.terminal
    for counter in range(1, 70):
        told = Outcome(ME, counter, "05", 1, "", 261123, 81512)
        cable.happened += cable.terminal.act(terminal.handle(told, cable.now), cable.now)
    assert terminal.state is State.GREETING
    cable.settle().after(10)
    assert terminal.state is State.READY
    assert len([one for one in cable.messages() if isinstance(one, Stored)]) > 60


# The authenticated link


def keyed(dialect: Dialect) -> Cable:
    return Cable(dialect, KEYED, Kept(keys=KEYS))


def test_hello_says_that_it_can_and_which_keys_it_has() -> None:
    cable = Cable(DIALECTS["native"], KEYED).plug()
    (first,) = cable.messages()
    assert isinstance(first, Hello)
    assert (first.can_authenticate, first.key_id) == (1, None)
    assert first.session_nonce is not None
    assert len(first.session_nonce) == 8
    second = keyed(DIALECTS["native"]).plug().messages()[0]
    assert isinstance(second, Hello)
    assert second.key_id == KEYS.identifier


def test_a_keyed_terminal_says_ping_after_every_welcome_and_all_is_coded(dialect: Dialect) -> None:
    cable = keyed(dialect).plug()
    assert cable.messages()[1:] == [Ping()]
    assert cable.heard[1].key_id == KEYS.identifier
    cable.happens(cable.terminal.act(cable.terminal.terminal.sale(1250, cable.now), cable.now))
    assert cable.heard[-1].key_id == KEYS.identifier
    cable.say(accepted(cable.messages()[-1]))  # type: ignore[arg-type]
    cable.settle()
    assert cable.storage.kept.highest_accepted == 1


def test_the_nonce_is_kept_until_a_welcome_answers_it() -> None:
    cable = keyed(DIALECTS["native"])
    cable.answers = {}
    cable.plug().after(5)
    first, second = cable.messages()
    assert first == second
    cable.answers = {Hello: lambda _: cable.say(WELCOME)}
    cable.after(5)
    assert cable.of(Ready) == [Ready(True)]
    cable.after(10)
    cable.say(Identify())
    cable.settle()
    again = [one for one in cable.messages() if isinstance(one, Hello)][-1]
    assert again.session_nonce != first.session_nonce  # type: ignore[union-attr]


def test_who_only_asks_gets_one_hello_in_five_seconds() -> None:
    cable = keyed(DIALECTS["native"]).plug()
    for _ in range(10):
        cable.say(Identify())
        cable.say(Refused(Reason.NOT_AUTHENTICATED, bytes(2), ""))
        cable.settle().after(0.4)
    assert len([one for one in cable.messages() if isinstance(one, Hello)]) == 1
    cable.after(2)
    assert len([one for one in cable.messages() if isinstance(one, Hello)]) == 2


def test_what_is_not_coded_is_not_taken_and_asked_about(dialect: Dialect) -> None:
    cable = keyed(dialect).plug()
    cable.happens(cable.terminal.act(cable.terminal.terminal.sale(1250, cable.now), cable.now))
    tender = cable.messages()[-1]
    assert isinstance(tender, Tender)
    stranger = Session(dialect, first_sequence=9)
    for message in (accepted(tender), outcome(tender), Progress(ME, 1, 1250, "", 0)):
        stranger.send(message)
        cable.happened += cable.terminal.receive(stranger.take_output(cable.now), cable.now)
        stranger.restart()
    assert cable.of(Closed) == []
    assert cable.storage.kept.highest_accepted == 0
    cable.after(5)
    assert len([one for one in cable.messages() if isinstance(one, Hello)]) == 2
    assert cable.terminal.terminal.state is State.READY


def test_a_bridge_that_has_lost_the_keys_is_told_of_to_a_person_and_never_spoken_to() -> None:
    cable = keyed(DIALECTS["native"])
    cable.bridge_keys = []
    cable.plug().after(70)
    assert {type(one) for one in cable.messages()} == set()
    assert cable.terminal.terminal.state is State.GREETING
    assert len(cable.refused) > 10


class Pairing:
    """The bridge's end of the dialogue, on a cable."""

    def __init__(self, cable: Cable) -> None:
        self.cable = cable
        self.digits: list[str] = []
        self.pairing = BridgePairing(Share(cable.fresh(32), cable.fresh(16)), ME, cable.now)
        for kind in (2, 3):
            cable.answers[BY_TYPE[kind]] = self.take
        self.do(self.pairing.open())

    def take(self, received: Received) -> None:
        self.do(self.pairing.receive(received.message, received.sequence))  # type: ignore[arg-type]

    def do(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case PairingSend(message):
                    self.cable.say(message)
                case Refuse(refused):
                    self.cable.say(Refused(Reason.NOT_AUTHENTICATED, refused, ""))
                case Compare(digits):
                    self.digits.append(digits)
                case Keep(keys):
                    self.cable.bridge_keys.append(keys)
        self.cable.settle()


def test_pairing_by_six_digits(dialect: Dialect) -> None:
    cable = Cable(dialect, KEYED)
    cable.answers = {Hello: lambda _: cable.say(Welcome(1, bytes(8), 0, 261123, 81500))}
    cable.plug()
    terminal = cable.terminal.terminal
    closed = Pairing(cable)
    assert closed.digits == [], "the terminal's own menu is not open"
    cable.happens(cable.terminal.act(terminal.pair(cable.now), cable.now))
    bridge = Pairing(cable)
    assert cable.of(ShowDigits) == [ShowDigits(bridge.digits[0])]
    bridge.do(bridge.pairing.person_says(True))
    cable.answers[Hello] = lambda _: cable.say(WELCOME)
    cable.happens(cable.terminal.act(terminal.confirm(True, cable.now), cable.now))
    assert [one.why.value for one in cable.of(PairingEnded)] == ["paired"]
    assert [cable.storage.kept.keys] == cable.bridge_keys
    assert cable.heard[-1].message == Ping()
    assert cable.heard[-1].key_id == cable.bridge_keys[0].identifier
    assert cable.of(Ready)[-1] == Ready(True)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("terminal says no", "a person here said no"),
        ("bridge says no", "the other end broke pairing off"),
        ("nobody says anything", "nobody was done within 120 seconds"),
        ("somebody is between", "the other end has other keys: somebody may be between"),
    ],
)
def test_pairing_that_does_not_come_about_leaves_no_keys(spoil: str, why: str) -> None:
    cable = Cable(DIALECTS["native"], KEYED)
    cable.answers = {Hello: lambda _: cable.say(Welcome(1, bytes(8), 0, 261123, 81500))}
    cable.plug()
    terminal = cable.terminal.terminal
    cable.happens(cable.terminal.act(terminal.pair(cable.now), cable.now))
    with pytest.raises(NotNow, match="already"):
        terminal.pair(cable.now)
    bridge = Pairing(cable)
    match spoil:
        case "terminal says no":
            cable.happens(cable.terminal.act(terminal.confirm(False, cable.now), cable.now))
        case "bridge says no":
            bridge.do(bridge.pairing.person_says(False))
        case "nobody says anything":
            cable.after(121)
        case "somebody is between":
            cable.happens(cable.terminal.act(terminal.confirm(True, cable.now), cable.now))
            cable.say(PairDone(bytes(8)))
            cable.settle()
    assert [one.why.value for one in cable.of(PairingEnded)] == [why]
    assert cable.storage.kept.keys is None
    cable.happens(cable.terminal.act(terminal.pair(cable.now), cable.now))


def test_keys_are_removed_at_the_terminals_own_menu() -> None:
    cable = keyed(DIALECTS["native"]).plug()
    cable.happens(cable.terminal.act(cable.terminal.terminal.forget_keys(cable.now), cable.now))
    assert cable.storage.kept.keys is None
    assert cable.messages()[-1].key_id is None  # type: ignore[union-attr]
    assert cable.terminal.terminal.state is State.UNPAIRED, "a bridge with keys asks for them"


def test_a_terminal_that_cannot_authenticate_cannot_pair() -> None:
    cable = Cable(DIALECTS["native"], DEVICE).plug()
    with pytest.raises(NotNow, match="cannot"):
        cable.terminal.terminal.pair(cable.now)
