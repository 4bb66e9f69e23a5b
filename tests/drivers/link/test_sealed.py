"""The authenticated link through two sessions: what is coded, what is taken, what begins anew."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.link.authentication import CodedSession, Keys
from drivers.link.dialect import DIALECTS, Dialect
from drivers.link.messages import (
    Accepted,
    DisplayText,
    Hello,
    Identify,
    Message,
    NotUnderstood,
    PairDone,
    PairKey,
    PairOpen,
    Ping,
    Pong,
    Query,
    Reason,
    Refused,
    Role,
    Welcome,
)
from drivers.link.sealed import BridgeSeal, Standing, TerminalSeal
from drivers.link.session import (
    Delivered,
    LinkUp,
    NotAuthenticated,
    NotUnderstoodBody,
    Received,
    Replayed,
    Session,
)
from tests.drivers.link.link_examples import AUTHENTICATED
from tests.drivers.link.virtual_line import End, VirtualLine

KEYS = Keys(
    to_bridge=bytes.fromhex(AUTHENTICATED["key_to_bridge"]),
    to_terminal=bytes.fromhex(AUTHENTICATED["key_to_terminal"]),
)
NEW_KEYS = Keys(to_bridge=bytes([1]) * 32, to_terminal=bytes([2]) * 32)
BRIDGE_NONCE = bytes.fromhex(AUTHENTICATED["session_nonce_bridge"])
TERMINAL_NONCE = bytes.fromhex(AUTHENTICATED["session_nonce_terminal"])

HELLO = Hello(
    terminal_id="T0000001",
    serial_number="SN123456",
    version=1,
    model="Sim",
    firmware="1",
    panel_width=128,
    panel_height=64,
    formats=b"\x10\x03",
    max_body=1024,
    can_authenticate=1,
    session_nonce=TERMINAL_NONCE,
    key_id=KEYS.identifier,
)
WITHOUT_KEYS = replace(HELLO, key_id=None)
WELCOME = Welcome(
    version=1,
    journal_id=bytes.fromhex("0011223344556677"),
    paired=1,
    local_date=261123,
    local_time=81500,
    counter=41,
)
ACCEPTED = Accepted(
    terminal_id="T0000001", counter=42, amount_minor=12_550, currency=554, seconds_left=300
)
REFUSED_9 = Refused(reason=Reason.NOT_AUTHENTICATED, refused=bytes(2), text="say HELLO")


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def nonces() -> Callable[[], bytes]:
    """The vectors' nonce first, then others, each once."""
    rest: Iterator[int] = count(1)
    first = iter([BRIDGE_NONCE])
    return lambda: next(first, None) or next(rest).to_bytes(8, "big")


class Both:
    """A bridge and a keyed terminal with a line between them."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        known: Sequence[Keys] = (KEYS,),
        keys: Keys | None = KEYS,
    ) -> None:
        self.dialect = dialect
        self.known = list(known)
        self.bridge_seal = BridgeSeal(dialect.encoding, self._keys_of, nonces())
        self.terminal_seal = TerminalSeal(dialect.encoding, keys)
        self.bridge = End(Session(dialect, seal=self.bridge_seal))
        self.terminal = End(Session(dialect, seal=self.terminal_seal))
        self.line = VirtualLine(self.bridge, self.terminal)

    def _keys_of(self, terminal_id: str, serial_number: str) -> Sequence[Keys]:
        return self.known if (terminal_id, serial_number) == ("T0000001", "SN123456") else ()

    def bridge_says(self, *messages: Message) -> None:
        self.line.say(self.bridge, *messages)
        self.line.run(self.line.now + 2.0)

    def terminal_says(self, *messages: Message) -> None:
        self.line.say(self.terminal, *messages)
        self.line.run(self.line.now + 2.0)

    def welcomed(self, hello: Hello = HELLO) -> Both:
        self.terminal_says(hello)
        self.bridge_says(WELCOME)
        return self

    def bodies(self, end: End) -> list[bytes]:
        """What this end has said, repetitions too."""
        decoder = self.dialect.framing.decoder(4092)
        found = [event for _, data in end.written for event in decoder.feed(data)]
        return [event.body for event in found if hasattr(event, "body")]


def bodies_of_vectors(dialect: Dialect) -> list[str]:
    rows = [row for row in AUTHENTICATED["messages"] if row["dialect"] == dialect.name]
    return [AUTHENTICATED["hello"][dialect.name]["body"], *(row["body"] for row in rows)]


def test_the_vectors_come_out_of_two_sessions(dialect: Dialect) -> None:
    wanted = bodies_of_vectors(dialect)
    _, welcome, tender, accepted, outcome = (
        dialect.encoding.decode(bytes.fromhex(body)).message for body in wanted
    )
    both = Both(dialect)
    both.terminal_says(HELLO)
    both.bridge_says(replace(welcome, session_nonce=None))
    both.terminal_says(tender)
    both.bridge_says(accepted, outcome)
    said = [body.hex() for body in both.bodies(both.terminal) + both.bodies(both.bridge)]
    assert sorted(said) == sorted(wanted)
    assert both.terminal.heard() == [welcome, accepted, outcome]
    assert both.terminal_seal.welcomed
    assert both.bridge.events[-1][1] == Delivered(outcome)


def test_what_is_proved_names_its_keys(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    both.terminal_says(Ping())
    hello, ping = (event for _, event in both.bridge.events if isinstance(event, Received))
    assert (hello.message, hello.key_id) == (HELLO, None)
    assert (ping.message, ping.key_id) == (Ping(), KEYS.identifier)
    assert both.bridge_seal.standing is Standing.KEYED
    assert both.bridge.session.coded
    assert both.terminal.session.coded


def test_without_keys_at_either_end_nothing_is_coded(dialect: Dialect) -> None:
    both = Both(dialect, known=(), keys=None)
    both.welcomed(WITHOUT_KEYS)
    both.terminal_says(Ping())
    both.bridge_says(Pong())
    assert both.bridge_seal.standing is Standing.PLAIN
    assert both.bridge.heard() == [WITHOUT_KEYS, Ping()]
    assert both.terminal.heard() == [WELCOME, Pong()]
    plain = [dialect.encoding.encode(m, n) for m, n in ((WELCOME, 1), (Pong(), 2))]
    assert both.bodies(both.bridge) == plain


def test_a_terminal_that_should_have_keys_and_names_none_is_not_paired(dialect: Dialect) -> None:
    both = Both(dialect, keys=None)
    both.welcomed(WITHOUT_KEYS)
    assert both.bridge_seal.standing is Standing.WITHOUT_KEYS
    assert both.terminal.heard() == [replace(WELCOME, paired=0, counter=None)]
    both.terminal_says(Query(terminal_id="T0000001"))
    assert both.bridge.heard() == [WITHOUT_KEYS]
    assert both.bridge.plain_events()[-1] == NotAuthenticated(bytes((0x12, 2)))
    key = PairKey(public_key=bytes(32), pairing_nonce=bytes(16))
    both.terminal_says(key)
    assert both.bridge.heard() == [WITHOUT_KEYS, key]


@pytest.mark.parametrize("known", [(), (NEW_KEYS,)])
def test_keys_that_the_bridge_has_not_are_not_authenticated(
    dialect: Dialect, known: tuple[Keys, ...]
) -> None:
    both = Both(dialect, known=known)
    both.terminal_says(HELLO)
    assert both.bridge.plain_events()[-1] == NotAuthenticated(bytes((0x01, 1)))
    assert both.bridge_seal.standing is Standing.UNKNOWN_KEYS
    both.bridge_says(REFUSED_9)
    assert both.terminal.heard() == [REFUSED_9]
    both.terminal_says(Ping())
    assert both.bridge.heard() == []


def test_old_keys_and_new_are_known_by_what_hello_names(dialect: Dialect) -> None:
    both = Both(dialect, known=(KEYS, NEW_KEYS), keys=NEW_KEYS)
    both.welcomed(replace(HELLO, key_id=NEW_KEYS.identifier))
    both.terminal_says(Ping())
    assert both.bridge.plain_events()[-1] == Received(Ping(), 2, NEW_KEYS.identifier)


def test_new_keys_count_from_the_next_hello_on(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    both.known.append(NEW_KEYS)
    both.terminal_seal.keys = NEW_KEYS
    both.terminal_says(Ping())
    assert both.bridge.plain_events()[-1] == Received(Ping(), 2, KEYS.identifier)
    both.welcomed(replace(HELLO, key_id=NEW_KEYS.identifier, session_nonce=bytes(8)))
    both.terminal_says(Ping())
    assert both.bridge.plain_events()[-1] == Received(Ping(), 2, NEW_KEYS.identifier)


# What is not taken


def coded_frames(both: Both, message: Message) -> bytes:
    """The terminal's frame of `message`, as it would go; the line does not get it."""
    both.terminal.session.send(message)
    data = both.terminal.session.take_output(both.line.now)
    both.terminal.session.written(both.line.now)
    both.terminal.session.receive(b"\x06", both.line.now)
    return data


def test_a_message_with_a_wrong_or_missing_code_is_not_taken(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    plain = dialect.framing.encode(dialect.encoding.encode(Ping(), 9))
    forged = dialect.framing.encode(
        dialect.encoding.encode(Ping(), 10, message_counter=9, code=lambda _: bytes(8))
    )
    uncounted = dialect.framing.encode(dialect.encoding.encode(Ping(), 11, code=right_code))
    for frame, number in ((plain, 9), (forged, 10), (uncounted, 11)):
        both.line.inject(both.bridge, frame)
        assert both.bridge.plain_events()[-1] == NotAuthenticated(bytes((0x7F, number)))
    assert both.bridge.heard() == [HELLO]
    # It has not moved the count: the terminal's own next message is taken.
    both.terminal_says(Ping())
    assert both.bridge.heard() == [HELLO, Ping()]


def right_code(signed_part: bytes) -> bytes:
    session = CodedSession(Role.TERMINAL, KEYS, BRIDGE_NONCE, TERMINAL_NONCE, hello=b"")
    return session.coder(Ping.type_code)(signed_part)


def test_a_message_that_came_before_is_dropped_without_a_word(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    first = coded_frames(both, Ping())
    second = coded_frames(both, Query(terminal_id="T0000001"))
    both.line.inject(both.bridge, first)
    both.line.inject(both.bridge, second)
    both.line.inject(both.bridge, first)
    assert both.bridge.plain_events()[-1] == Replayed(Ping())
    assert both.bridge.heard() == [HELLO, Ping(), Query(terminal_id="T0000001")]


def test_a_message_of_an_earlier_session_is_not_authentic(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    old = coded_frames(both, Ping())
    both.welcomed(replace(HELLO, session_nonce=bytes(8)))
    both.line.inject(both.bridge, old)
    assert both.bridge.plain_events()[-1] == NotAuthenticated(bytes((0x7F, 2)))


def test_authentic_but_not_understood_is_told_as_such(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    original = dialect.encoding.decode

    def newer_firmware(body: bytes) -> object:
        read = original(body)
        raise NotUnderstood("a type to come", 0x7F, 2, code=read.code, signed_part=read.signed_part)

    frame = coded_frames(both, Ping())
    newer = replace(dialect, encoding=replace(dialect.encoding, decode=newer_firmware))
    both.bridge.session.dialect = newer
    both.line.inject(both.bridge, frame)
    assert isinstance(both.bridge.plain_events()[-1], NotUnderstoodBody)
    both.bridge.session.dialect = dialect
    garbage = dialect.framing.encode(b"\x55\x02" if dialect.name == "native" else b"5502")
    both.line.inject(both.bridge, garbage)
    assert isinstance(both.bridge.plain_events()[-1], NotAuthenticated)


def test_before_any_hello_what_is_coded_is_not_authentic_and_the_rest_is_passed_on(
    dialect: Dialect,
) -> None:
    both = Both(dialect).welcomed()
    frame = coded_frames(both, Ping())
    both.bridge.session.restart()
    both.line.inject(both.bridge, frame)
    assert both.bridge.plain_events()[-2:] == [LinkUp(), NotAuthenticated(bytes((0x7F, 2)))]
    both.line.inject(both.bridge, dialect.framing.encode(dialect.encoding.encode(Ping(), 1)))
    assert both.bridge.plain_events()[-1] == Received(Ping(), 1)


def test_a_lost_line_ends_the_session(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    both.bridge.session.line_lost()
    assert both.bridge_seal.standing is Standing.NO_HELLO
    assert not both.bridge.session.coded
    both.bridge_says(Identify())
    assert both.terminal.heard()[-1] == Identify()


def test_a_terminal_that_lost_power_begins_a_session_with_its_next_hello(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    both.terminal.session.restart()
    assert not both.terminal_seal.welcomed
    assert not both.terminal.session.coded
    both.bridge_says(ACCEPTED)
    assert ACCEPTED not in both.terminal.heard()
    both.welcomed(replace(HELLO, session_nonce=bytes(8)))
    both.bridge_says(ACCEPTED)
    assert both.terminal.heard()[-1] == ACCEPTED


def test_what_cannot_be_read_at_all_is_refused_without_a_name() -> None:
    both = Both(DIALECTS["classic"]).welcomed()
    both.line.inject(both.bridge, both.dialect.framing.encode(b"zz"))
    assert both.bridge.plain_events()[-1] == NotAuthenticated(bytes(2))


def test_a_keyed_terminal_takes_nothing_unproved_but_what_the_link_names(dialect: Dialect) -> None:
    both = Both(dialect).welcomed()
    opening = PairOpen(commitment=bytes(32))
    for number, message in enumerate((Identify(), REFUSED_9, opening), 100):
        frame = dialect.framing.encode(dialect.encoding.encode(message, number))
        both.line.inject(both.terminal, frame)
    assert both.terminal.heard()[1:] == [Identify(), REFUSED_9, opening]
    for number, message in enumerate((ACCEPTED, WELCOME, Pong()), 110):
        frame = dialect.framing.encode(dialect.encoding.encode(message, number))
        both.line.inject(both.terminal, frame)
        told = both.terminal.plain_events()[-1]
        assert told == NotAuthenticated(bytes((message.type_code, number)))
    assert len(both.terminal.heard()) == 4


def test_between_its_hello_and_the_welcome_a_terminal_drops_what_is_coded(
    dialect: Dialect,
) -> None:
    both = Both(dialect).welcomed()
    both.terminal.session.send(replace(HELLO, session_nonce=bytes(8)))
    assert both.terminal.session.take_output(both.line.now)
    both.terminal.session.written(both.line.now)
    assert not both.terminal_seal.welcomed
    both.bridge_says(ACCEPTED)
    assert ACCEPTED not in both.terminal.heard()
    assert Replayed(ACCEPTED) in both.terminal.plain_events()


def test_a_welcome_for_another_hello_is_not_taken(dialect: Dialect) -> None:
    """Whoever alters the formats or the version on the way is found out."""
    both = Both(dialect)
    altered = replace(HELLO, formats=b"\x01")
    both.line.inject(both.bridge, dialect.framing.encode(dialect.encoding.encode(altered, 1)))
    both.terminal.session.send(HELLO)
    both.terminal.session.take_output(both.line.now)
    both.terminal.session.written(both.line.now)
    both.bridge_says(WELCOME)
    assert not both.terminal_seal.welcomed
    assert isinstance(both.terminal.plain_events()[-1], NotAuthenticated)


# Beginning anew


def nonce_and_counter(both: Both, body: bytes) -> tuple[bytes | None, int | None]:
    read = both.dialect.encoding.decode(body)
    assert isinstance(read.message, Welcome)
    return read.message.session_nonce, read.message_counter


def test_the_same_hello_again_goes_on_with_the_session(dialect: Dialect) -> None:
    both = Both(dialect).welcomed().welcomed()
    first, second = both.bodies(both.bridge)
    assert nonce_and_counter(both, first) == (BRIDGE_NONCE, 1)
    assert nonce_and_counter(both, second) == (BRIDGE_NONCE, 2)
    assert [type(m) for m in both.terminal.heard()] == [Welcome, Welcome]
    both.terminal_says(Ping())
    assert both.bridge.heard()[-1] == Ping()


def test_the_first_of_two_welcomes_is_not_taken_again(dialect: Dialect) -> None:
    both = Both(dialect).welcomed().welcomed()
    first, _ = both.bodies(both.bridge)
    both.line.inject(both.terminal, dialect.framing.encode(first))
    assert isinstance(both.terminal.plain_events()[-1], Replayed)
    assert len(both.terminal.heard()) == 2


@pytest.mark.parametrize("between", [True, False], ids=["ping between", "another nonce"])
def test_any_other_hello_begins_a_new_session(dialect: Dialect, between: bool) -> None:
    both = Both(dialect).welcomed()
    if between:
        both.terminal_says(Ping())
        both.welcomed()
    else:
        both.welcomed(replace(HELLO, session_nonce=bytes(8)))
    first, second = both.bodies(both.bridge)
    assert nonce_and_counter(both, second) == ((1).to_bytes(8, "big"), 1)
    assert first != second
    both.terminal_says(Ping())
    both.bridge_says(Pong())
    assert both.bridge.heard()[-1] == Ping()
    assert both.terminal.heard()[-1] == Pong()


def test_hello_for_keys_that_were_taken_away_meanwhile_is_not_authenticated(
    dialect: Dialect,
) -> None:
    both = Both(dialect).welcomed()
    both.known.clear()
    both.terminal_says(HELLO)
    assert both.bridge_seal.standing is Standing.UNKNOWN_KEYS


def test_from_pair_done_on_nothing_plain_is_taken(dialect: Dialect) -> None:
    both = Both(dialect, known=(), keys=None)
    both.welcomed(WITHOUT_KEYS)
    both.bridge_says(PairDone(confirmation=bytes(8)))
    both.terminal_says(Ping())
    assert both.bridge.plain_events()[-1] == NotAuthenticated(bytes((0x7F, 2)))
    both.known.append(KEYS)
    both.terminal_seal.keys = KEYS
    both.welcomed()
    both.terminal_says(Ping())
    assert both.bridge.heard()[-1] == Ping()


@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(sorted(DIALECTS)),
    share=st.sampled_from([0.05, 0.3]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_frame_that_is_sent_again_is_no_new_message(seed: int, name: str, share: float) -> None:
    both = Both(DIALECTS[name]).welcomed()
    for place, end in enumerate((both.bridge, both.terminal)):
        source = random.Random(f"{seed} {place}")
        end.harm = lambda data, source=source: b"" if source.random() < share else data
    texts: list[Message] = [DisplayText(text=f"text {n}") for n in range(10)]
    both.line.say(both.bridge, *texts)
    both.line.say(both.terminal, *(Query(terminal_id="T0000001", counter=n) for n in range(10)))
    both.line.run(300.0)
    heard = both.terminal.heard()[1:]
    assert set(both.bridge.delivered()) - {WELCOME} <= set(heard)
    assert heard == [one for one in texts if one in heard]
    for end in (both.bridge, both.terminal):
        assert not any(
            isinstance(event, Replayed | NotAuthenticated) for event in end.plain_events()
        )
