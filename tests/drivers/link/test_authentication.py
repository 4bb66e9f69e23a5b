"""Codes and counts of an authenticated session, against the published vectors and by themselves."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from drivers.link.authentication import (
    CodedSession,
    CounterUsedUp,
    Keys,
    Verdict,
    carries_code,
    hello_hash,
)
from drivers.link.dialect import DIALECTS
from drivers.link.encoding import COUNTER_MAX, Decoded
from drivers.link.messages import (
    Hello,
    Identify,
    NotUnderstood,
    PairKey,
    Ping,
    Pong,
    Reason,
    Refused,
    Role,
    Welcome,
)
from tests.drivers.link.link_examples import AUTHENTICATED, LINK, TYPE_BY_NAME

KEYS = Keys(
    bytes.fromhex(AUTHENTICATED["key_to_bridge"]), bytes.fromhex(AUTHENTICATED["key_to_terminal"])
)
HELLO = b"the hello"
NATIVE = DIALECTS["native"].encoding


def vector_session(role: Role, dialect: str) -> CodedSession:
    return CodedSession(
        role,
        KEYS,
        bytes.fromhex(AUTHENTICATED["session_nonce_bridge"]),
        bytes.fromhex(AUTHENTICATED["session_nonce_terminal"]),
        bytes.fromhex(AUTHENTICATED["hello"][dialect]["hashed"]),
    )


def pair_of_sessions() -> tuple[CodedSession, CodedSession]:
    bridge, terminal = (
        CodedSession(role, KEYS, b"bridge_n", b"terminal", HELLO)
        for role in (Role.BRIDGE, Role.TERMINAL)
    )
    return bridge, terminal


def said(session: CodedSession, message: Ping | Pong | Welcome, sequence: int = 1) -> Decoded:
    """What the other end reads of a message that this end says."""
    return NATIVE.decode(
        NATIVE.encode(
            message,
            sequence,
            message_counter=session.next_counter(),
            code=session.coder(message.type_code),
        )
    )


def take(session: CodedSession, heard: Decoded) -> Verdict:
    return session.take(
        heard.message.type_code, heard.signed_part, heard.code, heard.message_counter
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_hello_of_the_vectors_is_hashed_without_its_check(dialect: str) -> None:
    hello = AUTHENTICATED["hello"][dialect]
    encoding = DIALECTS[dialect].encoding
    body = bytes.fromhex(hello["body"])
    decoded = encoding.decode(body)
    assert isinstance(decoded.message, Hello)
    assert decoded.message.key_id == KEYS.identifier
    assert encoding.encode(decoded.message, decoded.sequence) == body
    assert encoding.without_check(body).hex() == hello["hashed"]
    assert decoded.signed_part.hex() == hello["hashed"]
    assert hello_hash(decoded.signed_part).hex() == hello["sha256"]


@pytest.mark.parametrize(
    "vector", AUTHENTICATED["messages"], ids=lambda v: f"{v['dialect']}-{v['type']}"
)
def test_coded_messages_of_the_vectors(vector: dict) -> None:
    dialect = DIALECTS[vector["dialect"]]
    body = bytes.fromhex(vector["body"])
    decoded = dialect.encoding.decode(body)
    assert type(decoded.message) is TYPE_BY_NAME[vector["type"]]
    assert (decoded.sequence, decoded.message_counter) == (vector["seq"], vector["counter"])
    assert decoded.signed_part.hex() == vector["body_up_to_code"]
    assert decoded.code is not None
    assert decoded.code.hex() == vector["code"]

    sender, receiver = Role.TERMINAL, Role.BRIDGE
    if vector["key"] == "to terminal":
        sender, receiver = receiver, sender
    assert take(vector_session(receiver, dialect.name), decoded) is Verdict.TAKEN

    session = vector_session(sender, dialect.name)
    session.sent = vector["counter"] - 1
    written = dialect.encoding.encode(
        decoded.message,
        vector["seq"],
        message_counter=session.next_counter(),
        code=session.coder(decoded.message.type_code),
    )
    assert written == body
    assert dialect.framing.encode(written).hex() == vector["frame"]


def test_a_welcome_for_another_hello_is_not_authentic() -> None:
    bridge, _ = pair_of_sessions()
    welcome = said(bridge, Welcome(1, bytes(8), 1, 261123, 0, session_nonce=bytes(8)))
    other = CodedSession(Role.TERMINAL, KEYS, b"bridge_n", b"terminal", HELLO + b"!")
    assert take(other, welcome) is Verdict.NOT_AUTHENTIC
    assert take(other, said(bridge, Pong())) is Verdict.TAKEN


def test_a_number_that_was_there_is_old_and_a_gap_is_not() -> None:
    bridge, terminal = pair_of_sessions()
    first, second, third, fourth = (said(terminal, Ping(), number) for number in (1, 2, 3, 4))
    assert [take(bridge, heard) for heard in (first, first, third, second, third, fourth)] == [
        Verdict.TAKEN,
        Verdict.OLD,
        Verdict.TAKEN,
        Verdict.OLD,
        Verdict.OLD,
        Verdict.TAKEN,
    ]


def test_what_is_not_authentic_moves_no_count() -> None:
    bridge, terminal = pair_of_sessions()
    heard = said(terminal, Ping())
    wrong = bytes(8)
    assert bridge.take(0x7F, heard.signed_part, wrong, COUNTER_MAX) is Verdict.NOT_AUTHENTIC
    assert bridge.take(0x7F, heard.signed_part, None, 1) is Verdict.NOT_AUTHENTIC
    assert bridge.take(0x7F, heard.signed_part, heard.code, None) is Verdict.NOT_AUTHENTIC
    assert take(bridge, heard) is Verdict.TAKEN


def test_each_direction_and_each_session_has_codes_of_its_own() -> None:
    bridge, terminal = pair_of_sessions()
    heard = said(terminal, Ping())
    assert take(terminal, heard) is Verdict.NOT_AUTHENTIC
    for nonces in ((b"bridge_m", b"terminal"), (b"bridge_n", b"terminam")):
        other = CodedSession(Role.BRIDGE, KEYS, *nonces, HELLO)
        assert take(other, heard) is Verdict.NOT_AUTHENTIC
    assert take(bridge, heard) is Verdict.TAKEN


@pytest.mark.parametrize("code_is", ["right", "wrong", "missing"])
def test_what_is_not_understood_is_judged_by_its_code(code_is: str) -> None:
    bridge, terminal = pair_of_sessions()
    unknown = bytes.fromhex("5503df260400000001")
    code = terminal.code(Role.TERMINAL, 0x55, unknown)
    seal = {"right": code, "wrong": code[::-1], "missing": b""}[code_is]
    with pytest.raises(NotUnderstood) as caught:
        NATIVE.decode(unknown + (b"\xdf\x7f\x08" + seal if seal else b""))
    fault = caught.value
    authentic = bridge.is_authentic(fault.type_code, fault.signed_part, fault.code)
    assert authentic is (code_is == "right")


def test_a_count_is_never_given_out_twice() -> None:
    bridge, _ = pair_of_sessions()
    bridge.sent = COUNTER_MAX - 1
    assert bridge.next_counter() == COUNTER_MAX
    with pytest.raises(CounterUsedUp, match="say HELLO"):
        bridge.next_counter()


def test_which_messages_carry_a_code() -> None:
    def refused(reason: Reason) -> Refused:
        return Refused(reason, bytes(2), "TEST")

    without = {name for name, kind in TYPE_BY_NAME.items() if name.startswith("PAIR_")}
    assert len(without) == 5
    assert not carries_code(PairKey(bytes(32), bytes(16)))
    assert not carries_code(Identify())
    assert not carries_code(refused(Reason.NOT_AUTHENTICATED))
    assert carries_code(refused(Reason.SAY_HELLO))
    assert carries_code(Welcome(1, bytes(8), 1, 0, 0))
    hellos = [v for v in LINK["messages"] if v["type"] == "HELLO"]
    for vector in hellos:
        hello = NATIVE.decode(bytes.fromhex(vector["native"]["body"])).message
        assert not carries_code(hello)


def test_keys_do_not_show_themselves() -> None:
    bridge, _ = pair_of_sessions()
    for shown in (repr(KEYS), repr(bridge)):
        assert KEYS.to_bridge.hex() not in shown
        assert repr(KEYS.to_bridge) not in shown
        assert repr(KEYS.to_terminal) not in shown


@pytest.mark.parametrize("lengths", [(31, 32), (32, 33), (0, 0)])
def test_keys_have_32_bytes(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keys(bytes(lengths[0]), bytes(lengths[1]))


@pytest.mark.parametrize("nonces", [(b"", bytes(8)), (bytes(8), bytes(7))])
def test_session_nonces_have_8_bytes(nonces: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        CodedSession(Role.BRIDGE, KEYS, *nonces, HELLO)


def test_a_welcomes_code_covers_nonces_hello_and_body() -> None:
    bridge, _ = pair_of_sessions()
    covered = b"bridge_n" + b"terminal" + hashlib.sha256(HELLO).digest() + b"body"
    whole = hmac.new(KEYS.to_terminal, covered, hashlib.sha256).digest()
    assert bridge.code(Role.BRIDGE, Welcome.type_code, b"body") == whole[:8]
    without_hello = hmac.new(KEYS.to_terminal, b"bridge_nterminalbody", hashlib.sha256).digest()
    assert bridge.code(Role.BRIDGE, Pong.type_code, b"body") == without_hello[:8]
