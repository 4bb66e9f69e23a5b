"""The pairing dialogue: the published vectors, two ends over a perfect line, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.link.authentication import Keys
from drivers.link.messages import (
    BY_TYPE,
    Hello,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Ping,
    Reason,
    Refused,
    Role,
    Welcome,
)
from drivers.link.pairing import (
    PAIRING_TIME_S,
    BridgePairing,
    Compare,
    End,
    Ended,
    Keep,
    Refuse,
    Send,
    Share,
    Step,
    TerminalPairing,
    WeakKey,
    commitment,
    confirmation,
    keys_of,
    six_digits,
)
from tests.drivers.link.link_examples import AUTHENTICATED

TERMINAL_ID = AUTHENTICATED["terminal_id"]


def given_bytes(name: str) -> bytes:
    return bytes.fromhex(AUTHENTICATED[name])


BRIDGE_SHARE = Share(given_bytes("bridge_private"), given_bytes("bridge_nonce"))
TERMINAL_SHARE = Share(given_bytes("terminal_private"), given_bytes("terminal_nonce"))
KEYS = Keys(given_bytes("key_to_bridge"), given_bytes("key_to_terminal"))
OTHER_SHARE = Share(b"\x07" * 32, b"\x08" * 16)
START = 1000.0


@dataclass
class Table:
    """A bridge and a terminal on one perfect line, and what each of them was told to do."""

    bridge: BridgePairing = field(
        default_factory=lambda: BridgePairing(BRIDGE_SHARE, TERMINAL_ID, START)
    )
    terminal: TerminalPairing = field(
        default_factory=lambda: TerminalPairing(TERMINAL_SHARE, TERMINAL_ID, START)
    )
    bridge_did: list[Step] = field(default_factory=list)
    terminal_did: list[Step] = field(default_factory=list)
    sequence: int = 0

    def from_bridge(self, steps: list[Step]) -> None:
        for step in steps:
            self.bridge_did.append(step)
            if isinstance(step, Send):
                self.from_terminal(self.terminal.receive(step.message))  # type: ignore[arg-type]
            elif isinstance(step, Refuse):
                refused = Refused(Reason.NOT_AUTHENTICATED, step.refused, "TEST")
                self.from_terminal(self.terminal.receive(refused))

    def from_terminal(self, steps: list[Step]) -> None:
        for step in steps:
            self.terminal_did.append(step)
            if isinstance(step, Send):
                self.sequence += 1
                self.from_bridge(self.bridge.receive(step.message, self.sequence))  # type: ignore[arg-type]

    def digits_shown(self) -> Table:
        self.from_bridge(self.bridge.open())
        return self


def kept(steps: list[Step]) -> list[Keys]:
    return [step.keys for step in steps if isinstance(step, Keep)]


def ends(steps: list[Step]) -> list[End]:
    return [step.why for step in steps if isinstance(step, Ended)]


# The vectors


def test_public_keys_and_secret_of_the_vectors() -> None:
    assert BRIDGE_SHARE.public_key == given_bytes("bridge_public")
    assert TERMINAL_SHARE.public_key == given_bytes("terminal_public")
    secret = given_bytes("shared_secret")
    assert BRIDGE_SHARE.shared_secret(TERMINAL_SHARE.public_key) == secret
    assert TERMINAL_SHARE.shared_secret(BRIDGE_SHARE.public_key) == secret
    assert keys_of(secret, BRIDGE_SHARE.nonce, TERMINAL_SHARE.nonce) == KEYS


def test_what_both_ends_compare_and_confirm_of_the_vectors() -> None:
    assert commitment(BRIDGE_SHARE.public_key, BRIDGE_SHARE.nonce) == given_bytes("commitment")
    digits = six_digits(
        BRIDGE_SHARE.public_key,
        BRIDGE_SHARE.nonce,
        TERMINAL_SHARE.public_key,
        TERMINAL_SHARE.nonce,
        TERMINAL_ID,
    )
    assert digits == AUTHENTICATED["six_digits"]
    assert confirmation(KEYS, Role.TERMINAL) == given_bytes("pair_confirm")
    assert confirmation(KEYS, Role.BRIDGE) == given_bytes("pair_done")
    assert KEYS.identifier == given_bytes("key_identifier")


def test_a_short_terminal_id_is_filled_up_for_the_digits() -> None:
    parts = (bytes(32), bytes(16), bytes(32), bytes(16))
    assert six_digits(*parts, "AB12") == six_digits(*parts, "AB12    ")


@given(st.binary(min_size=32, max_size=32))
def test_digits_are_six(public: bytes) -> None:
    digits = six_digits(public, bytes(16), public, bytes(16), "T")
    assert len(digits) == 6
    assert digits.isdecimal()


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31)])
def test_a_secret_of_zeros_is_refused(public: bytes) -> None:
    with pytest.raises(WeakKey):
        BRIDGE_SHARE.shared_secret(public)


def test_a_share_does_not_show_itself_and_has_its_lengths() -> None:
    assert "x07" not in repr(OTHER_SHARE)
    for wrong in ((bytes(31), bytes(16)), (bytes(32), bytes(8))):
        with pytest.raises(ValueError, match="random bytes"):
            Share(*wrong)


# The dialogue


@pytest.mark.parametrize("first", ["bridge", "terminal"])
def test_two_people_who_agree_leave_both_ends_with_the_same_keys(first: str) -> None:
    table = Table().digits_shown()
    digits = Compare(AUTHENTICATED["six_digits"])
    assert table.bridge_did[-1] == digits
    assert table.terminal_did[-1] == digits

    says: list[Callable[[], None]] = [
        lambda: table.from_bridge(table.bridge.person_says(True)),
        lambda: table.from_terminal(table.terminal.person_says(True)),
    ]
    for say in says if first == "bridge" else reversed(says):
        assert not table.bridge.over
        say()

    done = Send(PairDone(given_bytes("pair_done")))
    assert table.bridge_did[-3:] == [Keep(KEYS), done, Ended(End.PAIRED)]
    assert table.terminal_did[-2:] == [Keep(KEYS), Ended(End.PAIRED)]
    assert table.bridge.over
    assert table.terminal.over
    assert (table.bridge.next_wake, table.terminal.next_wake) == (None, None)


def test_what_goes_over_the_line_in_order() -> None:
    table = Table().digits_shown()
    assert table.bridge_did[0] == Send(PairOpen(given_bytes("commitment")))
    key, _ = table.terminal_did
    assert key == Send(PairKey(TERMINAL_SHARE.public_key, TERMINAL_SHARE.nonce))
    assert table.bridge_did[1] == Send(PairReveal(BRIDGE_SHARE.public_key, BRIDGE_SHARE.nonce))
    assert len(table.bridge_did) == 3


@given(st.lists(st.sampled_from(["bridge yes", "terminal yes", "bridge no", "terminal no"])))
def test_keys_are_kept_only_when_both_have_said_yes(said: list[str]) -> None:
    table = Table().digits_shown()
    for word in said:
        yes = word.endswith("yes")
        if word.startswith("bridge"):
            table.from_bridge(table.bridge.person_says(yes))
        else:
            table.from_terminal(table.terminal.person_says(yes))

    at_bridge, at_terminal = kept(table.bridge_did), kept(table.terminal_did)
    first_words = {word.split()[0]: word.split()[1] for word in reversed(said)}
    if first_words != {"bridge": "yes", "terminal": "yes"}:
        assert at_bridge == at_terminal == []
    elif not any(word.endswith("no") for word in said):
        assert at_bridge == at_terminal == [KEYS]
    else:
        # A yes cannot be taken back once it is said to the other end: that end may have the new
        # keys beside its old ones, which harms nobody. The terminal has them only with the bridge.
        assert at_terminal in ([], at_bridge)


def test_nothing_is_kept_before_the_other_end_has_confirmed() -> None:
    table = Table().digits_shown()
    assert table.bridge.person_says(True) == []
    assert table.terminal.person_says(True) == [Send(PairConfirm(given_bytes("pair_confirm")))]
    assert not table.terminal.over


def test_a_no_at_the_bridge_ends_pairing_at_both_ends() -> None:
    table = Table().digits_shown()
    table.from_bridge(table.bridge.person_says(False))
    assert table.bridge_did[-2:] == [Refuse(b"\x02\x01"), Ended(End.OWN_NO)]
    assert ends(table.terminal_did) == [End.OTHER_NO]


def test_a_no_after_the_terminals_yes_names_its_pair_confirm() -> None:
    table = Table().digits_shown()
    table.from_terminal(table.terminal.person_says(True))
    assert table.bridge.person_says(False) == [Refuse(b"\x03\x02"), Ended(End.OWN_NO)]


def test_a_yes_before_there_are_digits_counts_for_nothing() -> None:
    table = Table()
    assert table.bridge.person_says(True) == []
    assert table.terminal.person_says(True) == []
    table.digits_shown()
    table.from_terminal(table.terminal.person_says(True))
    assert kept(table.bridge_did) == []


def test_a_no_before_the_terminal_has_spoken_refuses_nothing() -> None:
    assert Table().bridge.person_says(False) == [Ended(End.OWN_NO)]


def test_after_120_seconds_it_is_over() -> None:
    for table in (Table(), Table().digits_shown()):
        for end in (table.bridge, table.terminal):
            assert end.next_wake == START + PAIRING_TIME_S
            assert end.wake(START + PAIRING_TIME_S - 0.1) == []
            assert ends(end.wake(START + PAIRING_TIME_S)) == [End.TIME_OVER]
            assert end.over
            assert end.wake(START + 999) == []
            assert end.person_says(True) == end.person_says(False) == []


# Somebody between


def test_a_second_key_after_the_reveal_ends_the_try() -> None:
    table = Table().digits_shown()
    steps = table.bridge.receive(PairKey(OTHER_SHARE.public_key, OTHER_SHARE.nonce), 9)
    assert steps == [Refuse(b"\x02\x09"), Ended(End.KEY_CHANGED)]
    assert table.bridge.person_says(True) == []
    assert table.bridge.receive(PairConfirm(given_bytes("pair_confirm")), 10) == []


def test_the_same_key_again_is_answered_again() -> None:
    table = Table().digits_shown()
    again = table.bridge.receive(PairKey(TERMINAL_SHARE.public_key, TERMINAL_SHARE.nonce), 9)
    assert again == [Send(PairReveal(BRIDGE_SHARE.public_key, BRIDGE_SHARE.nonce))]


@pytest.mark.parametrize(
    "reveal",
    [
        PairReveal(OTHER_SHARE.public_key, BRIDGE_SHARE.nonce),
        PairReveal(BRIDGE_SHARE.public_key, OTHER_SHARE.nonce),
    ],
)
def test_a_bridge_that_reveals_another_key_than_announced(reveal: PairReveal) -> None:
    terminal = TerminalPairing(TERMINAL_SHARE, TERMINAL_ID, START)
    terminal.receive(PairOpen(given_bytes("commitment")))
    assert terminal.receive(reveal) == [Ended(End.COMMITMENT_WRONG)]


def test_somebody_who_runs_a_pairing_with_each_end_gives_them_different_digits() -> None:
    to_bridge = BridgePairing(BRIDGE_SHARE, TERMINAL_ID, START)
    to_bridge.open()
    _, at_bridge = to_bridge.receive(PairKey(OTHER_SHARE.public_key, OTHER_SHARE.nonce), 1)
    table = Table(bridge=BridgePairing(OTHER_SHARE, TERMINAL_ID, START)).digits_shown()
    at_terminal = table.terminal_did[-1]
    assert isinstance(at_bridge, Compare)
    assert isinstance(at_terminal, Compare)
    assert at_bridge != at_terminal


def test_keys_that_give_a_secret_of_zeros_end_it_at_either_end() -> None:
    bridge = BridgePairing(BRIDGE_SHARE, TERMINAL_ID, START)
    bridge.open()
    assert bridge.receive(PairKey(bytes(32), bytes(16)), 4) == [
        Refuse(b"\x02\x04"),
        Ended(End.WEAK_KEY),
    ]
    terminal = TerminalPairing(TERMINAL_SHARE, TERMINAL_ID, START)
    terminal.receive(PairOpen(commitment(bytes(32), bytes(16))))
    assert terminal.receive(PairReveal(bytes(32), bytes(16))) == [Ended(End.WEAK_KEY)]


def test_a_wrong_confirmation_ends_it_at_either_end() -> None:
    table = Table().digits_shown()
    table.bridge.person_says(True)
    assert table.bridge.receive(PairConfirm(bytes(8)), 5) == [
        Refuse(b"\x03\x05"),
        Ended(End.CONFIRMATION_WRONG),
    ]
    table.terminal.person_says(True)
    assert table.terminal.receive(PairDone(given_bytes("pair_confirm"))) == [
        Ended(End.CONFIRMATION_WRONG)
    ]


def test_a_terminal_takes_no_done_before_its_own_yes() -> None:
    table = Table().digits_shown()
    assert table.terminal.receive(PairDone(given_bytes("pair_done"))) == []
    assert not table.terminal.over


# What is said again


def test_what_was_not_understood_is_said_again() -> None:
    def not_understood(refused: bytes) -> Refused:
        return Refused(Reason.NOT_UNDERSTOOD, refused, "TEST")

    terminal = TerminalPairing(TERMINAL_SHARE, TERMINAL_ID, START)
    key = terminal.receive(PairOpen(given_bytes("commitment")))
    assert terminal.receive(not_understood(b"\x02\x01")) == key
    assert terminal.receive(not_understood(b"\x10\x01")) == []
    terminal.receive(PairReveal(BRIDGE_SHARE.public_key, BRIDGE_SHARE.nonce))
    assert terminal.receive(not_understood(b"\x02\x01")) == []
    confirm = terminal.person_says(True)
    assert terminal.receive(not_understood(b"\x03\x02")) == confirm


def test_a_confirmation_said_again_is_answered_again_and_kept_once() -> None:
    table = Table().digits_shown()
    table.from_bridge(table.bridge.person_says(True))
    table.from_terminal(table.terminal.person_says(True))
    again = table.bridge.receive(PairConfirm(given_bytes("pair_confirm")), 9)
    assert again == [Send(PairDone(given_bytes("pair_done")))]
    assert table.bridge.receive(PairConfirm(bytes(8)), 10) == []
    assert table.bridge.receive(PairKey(OTHER_SHARE.public_key, bytes(16)), 11) == []


def test_the_same_opening_again_is_answered_again_and_another_ends_it() -> None:
    terminal = TerminalPairing(TERMINAL_SHARE, TERMINAL_ID, START)
    opening = PairOpen(given_bytes("commitment"))
    assert terminal.receive(opening) == terminal.receive(opening)
    assert terminal.receive(PairOpen(bytes(32))) == [Ended(End.BEGUN_AGAIN)]


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (6, 9)])
def test_other_refusals_end_nothing(reason: Reason) -> None:
    table = Table().digits_shown()
    assert table.terminal.receive(Refused(reason, b"\x02\x01", "TEST")) == []
    assert table.terminal.receive(Refused(Reason.NOT_AUTHENTICATED, b"\x10\x01", "TEST")) == []
    assert not table.terminal.over


def test_other_messages_are_passed_over() -> None:
    table = Table().digits_shown()
    hello = Hello(TERMINAL_ID, "S", 1, "M", "1", 1, 1, b"", 640)
    assert table.bridge.receive(hello, 1) == table.bridge.receive(Ping(), 2) == []
    assert table.terminal.receive(Welcome(1, bytes(8), 1, 0, 0)) == []
    table.from_bridge(table.bridge.person_says(False))
    assert table.bridge_did[-2] == Refuse(b"\x02\x01")


@given(st.data())
def test_no_order_of_messages_keeps_keys_without_a_persons_yes(data: st.DataObject) -> None:
    table = Table()
    if data.draw(st.booleans()):
        table.digits_shown()
    pairing = [kind for kind in BY_TYPE.values() if kind.type_name.startswith("PAIR_")]
    parts = {
        PairOpen: [(given_bytes("commitment"),), (bytes(32),)],
        PairKey: [(TERMINAL_SHARE.public_key, TERMINAL_SHARE.nonce), (bytes(32), bytes(16))],
        PairReveal: [(BRIDGE_SHARE.public_key, BRIDGE_SHARE.nonce), (bytes(32), bytes(16))],
        PairConfirm: [(given_bytes("pair_confirm"),), (bytes(8),)],
        PairDone: [(given_bytes("pair_done"),), (bytes(8),)],
    }
    for kind in data.draw(st.lists(st.sampled_from(pairing), max_size=12)):
        message = kind(*data.draw(st.sampled_from(parts[kind])))  # type: ignore[index,arg-type]
        steps = [*table.bridge.receive(message, 1), *table.terminal.receive(message)]  # type: ignore[arg-type]
        assert kept(steps) == []
