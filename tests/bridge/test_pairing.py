"""The dialogue that pairs a terminal, with the terminal's own end of the cryptography on a perfect line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.pairing import (
    ASKS,
    GREETING_S,
    OPEN_AGAIN_S,
    PICTURE_S,
    WAIT_S,
    AskWho,
    ClearTest,
    Dialogue,
    KeepKeys,
    Known,
    RefusePairing,
    Register,
    Say,
    SetName,
    ShowTest,
    Step,
    Want,
    Wishes,
    WrongAnswerError,
)
from drivers.link import pairing as link_pairing
from drivers.link.authentication import Keys
from drivers.link.messages import (
    Hello,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Reason,
    Refused,
)

PORT = "/dev/ttyUSB7"
HELLO = Hello("T1", "SN1", 1, "Model", "1.0", 128, 64, b"\x10", 1024, can_authenticate=1)
PLAIN = replace(HELLO, can_authenticate=None)
NEW = Known()
NO_WISHES = Wishes()
START = 1_000.0


def share(number: int) -> link_pairing.Share:
    return link_pairing.Share(bytes([number]) * 32, bytes([number]) * 16)


@dataclass
class Table:
    """A dialogue, a terminal whose menu is opened by `opened`, and a registry that writes when told."""

    known: Known = NEW
    wishes: Wishes = NO_WISHES
    now: float = START
    wants: list[Want] = field(default_factory=list)
    kept: list[Keys] = field(default_factory=list)
    at_terminal: list[link_pairing.Step] = field(default_factory=list)
    terminal: link_pairing.TerminalPairing | None = None
    sequence: int = 0
    hold_keys: bool = False
    hears_done: bool = True

    def __post_init__(self) -> None:
        self.dialogue = Dialogue(
            PORT, self.wishes, lambda terminal_id, serial: self.known, lambda: share(1), self.now
        )

    @property
    def step(self) -> Step:
        return self.dialogue.view.step

    @property
    def text(self) -> str:
        return self.dialogue.view.text

    def do(self, wants: Sequence[Want]) -> Table:
        for want in wants:
            self.wants.append(want)
            match want:
                case Say(message=PairDone()) if not self.hears_done:
                    pass
                case Say(message=message) if self.terminal is not None:
                    self._from_terminal(self.terminal.receive(message))  # type: ignore[arg-type]
                case RefusePairing(refused=refused) if self.terminal is not None:
                    said = Refused(Reason.NOT_AUTHENTICATED, refused, "TEST")
                    self._from_terminal(self.terminal.receive(said))
                case KeepKeys(keys=keys):
                    self.kept.append(keys)
                    if not self.hold_keys:
                        self.do(self.dialogue.kept(self.now))
                case Register(merchants=merchants):
                    self.do(self.dialogue.registered(7, merchants, None, self.now))
                case SetName(name=name):
                    self.do(self.dialogue.named(name, self.now))
        return self

    def _from_terminal(self, steps: Sequence[link_pairing.Step]) -> None:
        for step in steps:
            self.at_terminal.append(step)
            if isinstance(step, link_pairing.Send):
                self.sequence += 1
                self.do(self.dialogue.said(step.message, self.sequence, self.now))  # type: ignore[arg-type]

    def hello(self, hello: Hello = HELLO) -> Table:
        return self.do(self.dialogue.hello(hello, self.now))

    def opened(self) -> Table:
        """A person opens pairing in the terminal's menu."""
        self.terminal = link_pairing.TerminalPairing(share(2), "T1", self.now)
        return self

    def advance(self, seconds: float) -> Table:
        until = self.now + seconds
        while (wake := self.dialogue.next_wake()) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.do(self.dialogue.wake(self.now))
        self.now = until
        return self

    def answer(self, *answer: str) -> Table:
        return self.do(self.dialogue.answer(self.dialogue.view.number, answer, self.now))

    def terminal_says(self, yes: bool) -> Table:
        assert self.terminal is not None
        self._from_terminal(self.terminal.person_says(yes))
        return self

    def comparing(self) -> Table:
        self.opened().hello()
        assert self.step is Step.COMPARING
        return self

    def agreed(self) -> Table:
        return self.comparing().terminal_says(True).answer("yes")

    def registered(self) -> Table:
        self.agreed().answer("m-1")
        assert self.step is Step.GREETING
        return self

    def ready(self) -> Table:
        self.registered().hello()
        self.do(self.dialogue.welcomed(True, self.now))
        return self.do(self.dialogue.proved(self.now))

    def ends(self) -> list[link_pairing.End]:
        return [step.why for step in self.at_terminal if isinstance(step, link_pairing.Ended)]

    def terminal_keys(self) -> list[Keys]:
        return [step.keys for step in self.at_terminal if isinstance(step, link_pairing.Keep)]


# -- as it should go


def test_a_terminal_that_can_authenticate_from_hello_to_the_end() -> None:
    table = Table()
    assert table.step is Step.WAITING
    table.hello()
    assert table.step is Step.OPENED
    assert "own menu" in table.text
    table.opened().advance(OPEN_AGAIN_S)
    assert table.step is Step.COMPARING
    (shown,) = [s.digits for s in table.at_terminal if isinstance(s, link_pairing.Compare)]
    assert table.dialogue.view.digits == shown
    assert "six digits" in table.text
    table.answer("yes")
    assert table.step is Step.CONFIRMED
    table.terminal_says(True)
    assert table.step is Step.MERCHANT
    assert table.kept == table.terminal_keys()
    assert len(table.kept) == 1
    table.answer("m-1", "m-2", "m-1")
    assert table.step is Step.GREETING
    assert table.wants[-1] == AskWho()
    table.hello()
    table.do(table.dialogue.welcomed(True, table.now))
    assert table.step is Step.GREETING
    table.do(table.dialogue.proved(table.now))
    assert table.wants[-1] == ShowTest()
    table.do(table.dialogue.picture_told(True, "", table.now))
    assert table.step is Step.SCANNED
    table.answer("yes")
    assert ClearTest() in table.wants
    assert table.step is Step.NAME
    table.answer("customers, till 2")
    view = table.dialogue.view
    assert (view.step, view.over, table.dialogue.next_wake()) == (Step.DONE, True, None)
    assert (view.pairing, view.merchants, view.name) == (7, ("m-1", "m-2"), "customers, till 2")
    assert (view.authenticated, view.shown, view.scanned) == (True, True, True)


def test_keys_are_written_down_before_pair_done_is_said() -> None:
    table = Table(hold_keys=True)
    table.agreed()
    assert table.step is Step.KEEPING
    assert isinstance(table.wants[-1], KeepKeys)
    # The terminal has heard nothing, and says it again: that must not bring PAIR_DONE before.
    confirm = link_pairing.confirmation(table.kept[0], link_pairing.Role.TERMINAL)
    assert table.dialogue.said(PairConfirm(confirm), 9, table.now) == []
    table.do(table.dialogue.kept(table.now))
    assert isinstance(table.wants[-1], Say)
    assert isinstance(table.wants[-1].message, PairDone)
    assert table.terminal_keys() == table.kept


def test_keys_that_cannot_be_written_down_are_no_keys() -> None:
    table = Table(hold_keys=True)
    table.agreed()
    table.do(table.dialogue.not_kept("the disk is full", table.now))
    assert table.step is Step.ENDED
    assert "the disk is full" in table.text
    assert table.ends() == [link_pairing.End.OTHER_NO]
    assert table.terminal_keys() == []
    confirm = link_pairing.confirmation(table.kept[0], link_pairing.Role.TERMINAL)
    answer = table.dialogue.said(PairConfirm(confirm), 9, table.now)
    assert answer == [RefusePairing(bytes((PairConfirm.type_code, 9)))]


def test_a_terminal_that_cannot_authenticate_is_paired_after_a_persons_yes() -> None:
    table = Table().hello(PLAIN)
    assert table.step is Step.PLAIN
    assert "cannot authenticate" in table.text
    table.answer("yes").answer("m-1").hello(PLAIN)
    table.do(table.dialogue.welcomed(True, table.now))
    assert table.step is Step.PICTURE
    assert table.kept == []
    assert not any(isinstance(want, Say | RefusePairing) for want in table.wants)


def test_what_was_said_beforehand_is_not_asked() -> None:
    table = Table(wishes=Wishes(merchants=("m-1",), name="till 1", test=False))
    table.agreed()
    assert table.step is Step.GREETING
    table.hello()
    table.do(table.dialogue.welcomed(True, table.now))
    table.do(table.dialogue.proved(table.now))
    assert table.step is Step.DONE
    assert ShowTest() not in table.wants


def test_a_known_terminal_keeps_its_merchants_and_name_unless_told_otherwise() -> None:
    known = Known(merchants=("m-1",), name="till 1", pairing=3, keyed=True)
    table = Table(known=known).agreed()
    assert (table.dialogue.view.merchants, table.dialogue.view.pairing) == (("m-1",), 3)
    assert table.dialogue.view.name == "till 1"


def test_only_the_terminal_that_is_waited_for_is_taken() -> None:
    table = Table(wishes=Wishes(terminal_id="T1", serial_number="SN9")).hello()
    assert table.step is Step.WAITING
    assert "SN1" in table.text
    before = table.dialogue.view.number
    table.hello()
    assert table.dialogue.view.number == before
    table.hello(replace(HELLO, serial_number="SN9"))
    assert table.step is Step.OPENED


def test_another_device_is_replaced_only_after_a_yes() -> None:
    table = Table(known=Known(replaces="SN0"))
    table.hello()
    assert table.step is Step.REPLACE
    assert "SN0" in table.text
    assert table.wants == []
    table.answer("yes")
    assert table.step is Step.OPENED
    other = Table(known=Known(replaces="SN0")).hello().answer("no")
    assert (other.step, other.wants) == (Step.ENDED, [])


# -- noes, and whoever is between


def test_a_no_at_the_bridge_ends_it_at_the_terminal_too() -> None:
    table = Table().comparing().answer("no")
    assert table.step is Step.ENDED
    assert "look at the cable" in table.text
    assert table.ends() == [link_pairing.End.OTHER_NO]
    assert table.kept == []


def test_a_no_after_the_terminals_yes_keeps_nothing() -> None:
    table = Table().comparing().terminal_says(True).answer("no")
    assert (table.step, table.kept, table.terminal_keys()) == (Step.ENDED, [], [])


def test_a_no_at_the_terminal_is_noticed_when_the_time_is_over() -> None:
    table = Table().comparing().terminal_says(False).answer("yes").advance(WAIT_S)
    assert (table.step, table.kept) == (Step.ENDED, [])
    assert "120 seconds" in table.text


def test_somebody_between_who_swaps_keys_is_found_by_the_digits() -> None:
    between = share(3)
    to_terminal = link_pairing.BridgePairing(between, "T1", START)
    table = Table()
    table.hello()
    terminal = link_pairing.TerminalPairing(share(2), "T1", START)
    (opening,) = to_terminal.open()
    assert isinstance(opening, link_pairing.Send)
    (key,) = terminal.receive(opening.message)  # type: ignore[arg-type]
    assert isinstance(key, link_pairing.Send)
    reveal, _ = to_terminal.receive(key.message, 1)  # type: ignore[arg-type]
    assert isinstance(reveal, link_pairing.Send)
    (compare,) = terminal.receive(reveal.message)  # type: ignore[arg-type]
    assert isinstance(compare, link_pairing.Compare)
    table.do(table.dialogue.said(PairKey(between.public_key, between.nonce), 1, table.now))
    assert table.step is Step.COMPARING
    assert table.dialogue.view.digits != compare.digits
    table.answer("no")
    assert (table.step, table.kept) == (Step.ENDED, [])


def test_a_terminal_with_keys_that_says_it_cannot_authenticate_is_not_paired_without() -> None:
    table = Table(known=Known(pairing=3, keyed=True)).hello(PLAIN)
    assert table.step is Step.ENDED
    assert "forget-keys T1/SN1" in table.text
    assert table.wants == []


@pytest.mark.parametrize("prepare", [Table.hello, Table.comparing])
def test_another_terminal_in_the_middle_ends_it(prepare) -> None:  # type: ignore[no-untyped-def]
    table = Table()
    prepare(table)
    table.hello(replace(HELLO, serial_number="OTHER"))
    assert table.step is Step.ENDED
    assert "OTHER" in table.text


def test_the_same_terminal_may_say_hello_in_the_middle() -> None:
    table = Table().comparing().hello()
    assert table.step is Step.COMPARING


def test_a_line_that_goes_ends_it_until_keys_are_agreed_on_and_not_after() -> None:
    for prepare in (Table.hello, Table.comparing):
        table = Table()
        prepare(table)
        table.do(table.dialogue.line_down("unplugged", table.now))
        assert table.step is Step.ENDED
        assert "unplugged" in table.text
    table = Table().agreed()
    table.do(table.dialogue.line_down("unplugged", table.now))
    assert table.step is Step.MERCHANT


def test_while_nobody_is_there_the_ports_trouble_is_told() -> None:
    table = Table()
    table.do(table.dialogue.line_down("permission denied: add the user to dialout", table.now))
    assert table.step is Step.WAITING
    assert "dialout" in table.text


# -- what gets lost


def test_pair_open_is_said_again_the_same_until_the_menu_is_open() -> None:
    table = Table().hello().advance(3 * OPEN_AGAIN_S)
    openings = [want.message for want in table.wants if isinstance(want, Say)]
    assert len(openings) == 4
    assert len(set(openings)) == 1
    assert isinstance(openings[0], PairOpen)
    table.opened().advance(OPEN_AGAIN_S)
    assert table.step is Step.COMPARING
    table.advance(3 * OPEN_AGAIN_S)
    assert sum(isinstance(w, Say) and isinstance(w.message, PairReveal) for w in table.wants) == 1


def test_pair_done_that_was_lost_is_said_again_at_the_next_hello() -> None:
    table = Table(hears_done=False).agreed()
    assert (table.step, table.terminal_keys()) == (Step.MERCHANT, [])
    table.hears_done = True
    table.hello()
    assert table.terminal_keys() == table.kept
    said = len(table.wants)
    table.hello(replace(HELLO, key_id=table.kept[0].identifier))
    assert len(table.wants) == said


def test_pair_done_is_not_said_for_ever() -> None:
    table = Table(hears_done=False).agreed()
    table.advance(WAIT_S - 1).answer("m-1")
    table.advance(2)
    table.hello()
    dones = [w for w in table.wants if isinstance(w, Say) and isinstance(w.message, PairDone)]
    assert len(dones) == 1


def test_a_terminal_that_has_not_got_its_keys_is_told_to_begin_again() -> None:
    table = Table(hears_done=False).registered()
    table.do(table.dialogue.welcomed(False, table.now))
    table.advance(GREETING_S)
    assert table.step is Step.NAME
    assert "begin again" in table.text
    table.answer()
    assert (table.step, table.dialogue.view.name) == (Step.DONE, None)


# -- time


@pytest.mark.parametrize(
    ("prepare", "limit_s", "then"),
    [
        (lambda t: t, WAIT_S, Step.ENDED),
        (Table.hello, WAIT_S, Step.ENDED),
        (Table.comparing, WAIT_S, Step.ENDED),
        (lambda t: t.hello(PLAIN), WAIT_S, Step.ENDED),
        (Table.agreed, WAIT_S, Step.ENDED),
        (Table.registered, GREETING_S, Step.NAME),
        (Table.ready, PICTURE_S, Step.NAME),
    ],
)
def test_every_step_has_a_limit(prepare, limit_s: float, then: Step) -> None:  # type: ignore[no-untyped-def]
    table = Table()
    prepare(table)
    before = table.step
    table.advance(limit_s - 0.1)
    assert table.step is before
    table.advance(0.2)
    assert table.step is then
    table.advance(10 * WAIT_S)
    assert table.dialogue.view.over


def test_a_picture_that_nobody_looks_at_is_taken_away() -> None:
    table = Table().ready()
    table.do(table.dialogue.picture_told(None, "the terminal does not say", table.now))
    assert table.step is Step.SCANNED
    table.advance(WAIT_S)
    assert table.step is Step.DONE
    assert table.wants[-1] == ClearTest()
    assert table.dialogue.view.scanned is None


def test_a_picture_that_cannot_be_shown_says_why() -> None:
    table = Table().ready()
    table.do(table.dialogue.picture_told(False, "the panel is too small", table.now))
    assert table.step is Step.NAME
    assert "the panel is too small" in table.text
    table = Table().ready()
    table.do(table.dialogue.picture_told(True, "", table.now))
    table.answer("no")
    assert table.dialogue.view.scanned is False
    assert "profile" in table.text


def test_who_goes_away_before_it_is_registered_leaves_nothing_and_later_leaves_it_paired() -> None:
    table = Table().comparing()
    table.do(table.dialogue.cancel("gone", table.now))
    assert (table.step, table.ends()) == (Step.ENDED, [link_pairing.End.OTHER_NO])
    table = Table().ready()
    table.do(table.dialogue.cancel("gone", table.now))
    assert (table.step, table.wants[-1]) == (Step.DONE, ClearTest())


# -- answers


def test_answers_that_are_none() -> None:
    table = Table().comparing()
    number = table.dialogue.view.number
    for wrong in ((), ("maybe",), ("yes", "no")):
        with pytest.raises(WrongAnswerError):
            table.answer(*wrong)
    with pytest.raises(WrongAnswerError):
        table.dialogue.answer(number - 1, ("yes",), table.now)
    table.answer("yes")
    with pytest.raises(WrongAnswerError):
        table.dialogue.answer(number, ("no",), table.now)
    table.terminal_says(True)
    with pytest.raises(WrongAnswerError):
        table.answer()


def test_a_merchant_that_is_refused_is_asked_for_again() -> None:
    table = Table().agreed()
    wants = table.dialogue.answer(table.dialogue.view.number, ("m-9",), table.now)
    assert wants == [Register(("m-9",))]
    assert table.step is Step.REGISTERING
    table.do(table.dialogue.not_registered("no merchant m-9", table.now))
    assert table.step is Step.MERCHANT
    assert "no merchant m-9" in table.text


def test_a_name_that_cannot_be_written_down_leaves_it_paired() -> None:
    table = Table().ready()
    table.do(table.dialogue.picture_told(True, "", table.now)).answer("yes")
    wants = table.dialogue.answer(table.dialogue.view.number, ("till 2",), table.now)
    assert wants == [SetName("till 2")]
    table.do(table.dialogue.named(None, table.now))
    assert (table.step, table.dialogue.view.name) == (Step.DONE, None)


# -- whatever happens


WORDS = [
    *("hello", "other", "down", "welcomed", "proved", "key"),
    *("open", "terminal-yes", "terminal-no", "yes", "no", "wait", "gone"),
]


@given(st.data())
def test_nothing_is_registered_and_no_keys_are_kept_without_a_persons_yes(
    data: st.DataObject,
) -> None:
    hello = data.draw(st.sampled_from([HELLO, PLAIN, replace(HELLO, serial_number="OTHER")]))
    table = Table(known=Known(replaces=data.draw(st.sampled_from([None, "SN0"]))))
    said_yes = False
    for word in data.draw(
        st.lists(
            st.sampled_from(WORDS),
            max_size=14,
        )
    ):
        view = table.dialogue.view
        match word:
            case "hello":
                table.hello(hello)
            case "other":
                table.hello(HELLO)
            case "down":
                table.do(table.dialogue.line_down("gone", table.now))
            case "open" if table.terminal is None:
                table.opened().advance(OPEN_AGAIN_S)
            case "terminal-yes" | "terminal-no" if table.terminal is not None:
                table.terminal_says(word == "terminal-yes")
            case "yes" | "no" if view.step in ASKS and view.step not in (Step.MERCHANT, Step.NAME):
                said_yes |= word == "yes" and view.step in (Step.COMPARING, Step.PLAIN)
                table.answer(word)
            case "wait":
                table.advance(40)
            case "key":
                table.do(table.dialogue.said(PairKey(bytes(32), bytes(16)), 1, table.now))
            case "welcomed":
                table.do(table.dialogue.welcomed(True, table.now))
            case "proved":
                table.do(table.dialogue.proved(table.now))
            case "gone":
                table.do(table.dialogue.cancel("gone", table.now))
        if not said_yes:
            assert table.kept == []
            assert not any(isinstance(want, Register) for want in table.wants)
            assert table.step not in (Step.MERCHANT, Step.GREETING, Step.DONE)
