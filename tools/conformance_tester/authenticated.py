"""Rules of the authenticated link (link, section 6), for terminals whose HELLO has DF20.

Rules
- What a pairing computes is the daemon's own: `drivers.link.pairing` and `drivers.link.sealed`.
- A try at pairing ends with the rule that began it. One alone is carried through: `paired`; the rules
  of a session stand on it, and make it where it was not made yet.
- A message that must not be taken is an OUTCOME of a counter that the terminal does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from drivers.link.authentication import SESSION_NONCE_BYTES, CodedSession, Keys
from drivers.link.encoding import CODE_BYTES
from drivers.link.messages import (
    Hello,
    Identify,
    Outcome,
    PairConfirm,
    PairDone,
    PairKey,
    PairOpen,
    PairReveal,
    Ping,
    Reason,
    Refused,
    Role,
    Stored,
    Welcome,
)
from drivers.link.pairing import (
    PAIRING_NONCE_BYTES,
    PAIRING_TIME_S,
    PRIVATE_KEY_BYTES,
    Share,
    commitment,
    confirmation,
    keys_of,
    six_digits,
)
from tools.conformance_tester.bench import (
    HELLO_AGAIN_S,
    REACT_S,
    Bench,
    Broken,
    CannotTell,
    Heard,
)

NO_WELCOME_S = 60.0


@dataclass(slots=True)
class Try:
    """One try at pairing, as the bridge has it."""

    share: Share
    heard: Heard
    """PAIR_KEY."""
    keys: Keys | None = None

    @property
    def terminal(self) -> PairKey:
        return cast(PairKey, self.heard.message)


def _share(bench: Bench) -> Share:
    return Share(bench.random_bytes(PRIVATE_KEY_BYTES), bench.random_bytes(PAIRING_NONCE_BYTES))


def _menu(bench: Bench) -> None:
    bench.do("pair", sentence="Open pairing in the terminal's menu.", shows=False)


def _opened(bench: Bench) -> Try:
    _menu(bench)
    share = _share(bench)
    bench.pass_by()
    bench.say(PairOpen(commitment(share.public_key, share.nonce)))
    return Try(share, bench.expect(PairKey, REACT_S, after="after PAIR_OPEN"))


def _revealed(bench: Bench) -> Try:
    pairing = _opened(bench)
    share, terminal = pairing.share, pairing.terminal
    pairing.keys = keys_of(
        share.shared_secret(terminal.public_key), share.nonce, terminal.pairing_nonce
    )
    bench.say(PairReveal(share.public_key, share.nonce))
    digits = six_digits(
        share.public_key,
        share.nonce,
        terminal.public_key,
        terminal.pairing_nonce,
        bench.terminal_id,
    )
    bench.look(
        "sees",
        "digits",
        digits,
        question=f"Does the terminal show the six digits {digits}?",
        otherwise=f"the terminal does not show {digits}",
    )
    return pairing


def _compared(bench: Bench, *, yes: bool) -> bool:
    word = "yes" if yes else "no"
    sentence = f"Say {word} to the six digits at the terminal, if it lets you."
    return bench.tried("compare", word, sentence=sentence)


def _break_off(bench: Bench, pairing: Try) -> None:
    """REFUSED 9 that names PAIR_KEY, which has no counter and no terminal."""
    bench.say(Refused(Reason.NOT_AUTHENTICATED, bench.df0c(pairing.heard), "TEST no pairing"))
    bench.wait(0.2)


def _not_confirmed(bench: Bench, why: str) -> None:
    """No PAIR_CONFIRM, whatever the person says."""
    bench.wait(0.2)
    _compared(bench, yes=True)
    bench.never(PairConfirm, REACT_S, after=f"after {why}")
    _compared(bench, yes=False)


def _keeps_no_keys(bench: Bench, why: str) -> None:
    heard = bench.greet()
    if cast(Hello, heard.message).key_id is not None:
        raise Broken(f"HELLO has DF27: keys were kept {why}")


def menu_closed(bench: Bench) -> None:
    share = _share(bench)
    bench.say(PairOpen(commitment(share.public_key, share.nonce)))
    bench.never(PairKey, 2.0, after="after PAIR_OPEN, and pairing is not open at its menu")


def refused_9(bench: Bench) -> None:
    pairing = _revealed(bench)
    _break_off(bench, pairing)
    bench.say(PairOpen(commitment(pairing.share.public_key, pairing.share.nonce)))
    bench.never(PairKey, REACT_S, after="after a REFUSED 9 that names PAIR_KEY")
    _not_confirmed(bench, "a REFUSED 9 that names PAIR_KEY")


def refused_6(bench: Bench) -> None:
    pairing = _opened(bench)
    bench.say(Refused(Reason.NOT_UNDERSTOOD, bench.df0c(pairing.heard), "TEST not understood"))
    again = bench.expect(PairKey, REACT_S, after="after a REFUSED 6 that names it")
    if again.message != pairing.terminal:
        raise Broken("PAIR_KEY came again with another key or nonce")
    _break_off(bench, replace(pairing, heard=again))


def fresh(bench: Bench) -> None:
    first = _opened(bench)
    _break_off(bench, first)
    second = _opened(bench)
    _break_off(bench, second)
    if first.terminal.public_key == second.terminal.public_key:
        raise Broken("the same public key was used twice")
    if first.terminal.pairing_nonce == second.terminal.pairing_nonce:
        raise Broken("the same nonce was used twice")


def wrong_commitment(bench: Bench) -> None:
    _opened(bench)
    other = _share(bench)
    bench.say(PairReveal(other.public_key, other.nonce))
    _not_confirmed(bench, "a PAIR_REVEAL that is not what PAIR_OPEN announced")


def zeros(bench: Bench) -> None:
    _menu(bench)
    nonce = bench.random_bytes(PAIRING_NONCE_BYTES)
    bench.pass_by()
    bench.say(PairOpen(commitment(bytes(32), nonce)))
    bench.expect(PairKey, REACT_S, after="after PAIR_OPEN")
    bench.say(PairReveal(bytes(32), nonce))
    _not_confirmed(bench, "a public key of zeros, whose shared secret is zeros")


def persons_no(bench: Bench) -> None:
    pairing = _revealed(bench)
    if not _compared(bench, yes=False):
        raise CannotTell("nobody said no")
    bench.never(PairConfirm, REACT_S, after="after a person's no")
    assert pairing.keys is not None
    bench.say(PairDone(confirmation(pairing.keys, Role.BRIDGE)))
    bench.wait(0.2)
    _keeps_no_keys(bench, "after a person's no")


def done_without_yes(bench: Bench) -> None:
    pairing = _revealed(bench)
    assert pairing.keys is not None
    bench.say(PairDone(confirmation(pairing.keys, Role.BRIDGE)))
    bench.wait(0.2)
    _keeps_no_keys(bench, "before its own person had said yes")
    _compared(bench, yes=False)


def wrong_done(bench: Bench) -> None:
    pairing = _revealed(bench)
    _confirmed(bench, pairing)
    bench.say(PairDone(bytes(8)))
    bench.wait(0.2)
    _keeps_no_keys(bench, "after a PAIR_DONE with a wrong confirmation")
    _compared(bench, yes=False)


def _confirmed(bench: Bench, pairing: Try) -> None:
    sentence = "Say yes to the six digits at the terminal."
    bench.do("compare", "yes", sentence=sentence)
    heard = bench.comes(PairConfirm, sentence)
    assert pairing.keys is not None
    if cast(PairConfirm, heard.message).confirmation != confirmation(pairing.keys, Role.TERMINAL):
        raise Broken("PAIR_CONFIRM has a wrong DF24")


def time_over(bench: Bench) -> None:
    _menu(bench)
    bench.wait(PAIRING_TIME_S + 1.0)
    share = _share(bench)
    bench.pass_by()
    bench.say(PairOpen(commitment(share.public_key, share.nonce)))
    bench.never(PairKey, 2.0, after="120 s after pairing was opened")


def done(bench: Bench) -> None:
    pairing = _revealed(bench)
    _confirmed(bench, pairing)
    assert pairing.keys is not None
    bench.keys = [pairing.keys]
    bench.say(PairDone(confirmation(pairing.keys, Role.BRIDGE)))
    heard = bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after="after PAIR_DONE")
    hello = cast(Hello, heard.message)
    if hello.key_id != pairing.keys.identifier:
        raise Broken("HELLO after PAIR_DONE does not name the new keys in DF27")
    if hello.session_nonce is None:
        raise Broken("HELLO after PAIR_DONE has no DF25")
    bench.expect(Ping, REACT_S, after="after the WELCOME that follows PAIR_DONE")


# A session


def _paired(bench: Bench) -> None:
    if not bench.keys:
        done(bench)
        bench.settle()


def _outcome(bench: Bench) -> Outcome:
    return bench.outcome_for(bench.unknown_counter(), "05", bench.next_amount())


def _not_taken(bench: Bench, body: bytes, what: str, *, says_hello: bool) -> None:
    """It is acknowledged, and nothing comes of it but a HELLO."""
    bench.pass_by()
    with bench.manners(welcomes=True):
        bench.say_body(body, what)
        bench.never(Stored, REACT_S, after=f"after {what}")
        if says_hello:
            bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after=f"after {what}")
            bench.wait(0.2)
        else:
            bench.never(Hello, HELLO_AGAIN_S + REACT_S, after=f"after {what}")


def a_sale(bench: Bench) -> None:
    _paired(bench)
    sale = bench.accepted_sale()
    bench.progress(sale)
    bench.end(sale, "00")


def after_welcome(bench: Bench) -> None:
    _paired(bench)
    bench.greet()
    bench.expect(Ping, REACT_S, after="after a coded WELCOME")


def same_nonce(bench: Bench) -> None:
    _paired(bench)
    with bench.manners(welcomes=False):
        first = bench.greet()
        second = bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after="without WELCOME")
        if first.body != second.body:
            raise Broken("HELLO came again with other bytes, before a right WELCOME")
        bench.welcome()
    third = bench.greet()
    if cast(Hello, third.message).session_nonce == cast(Hello, first.message).session_nonce:
        raise Broken("DF25 is the same after a right WELCOME")


def wrong_welcome(bench: Bench) -> None:
    _paired(bench)
    with bench.manners(welcomes=False):
        heard = bench.greet()
        hello = cast(Hello, heard.message)
        altered = replace(hello, formats=bytes(reversed(hello.formats)) or b"\x01")
        for what, hashed, spoilt in (
            ("a WELCOME with a wrong DF7F", hello, True),
            ("a WELCOME for a HELLO with other formats", altered, False),
        ):
            bench.say_body(_welcome(bench, hello, hashed, spoilt=spoilt), what)
            bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after=f"after {what}")
        bench.say_body(bench.bare_body(_plain_welcome(bench)), "a WELCOME without a code")
        bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after="after a WELCOME without a code")
        bench.welcome()
    bench.pass_by()
    bench.never(Hello, HELLO_AGAIN_S + REACT_S, after="after a right WELCOME")


def _plain_welcome(bench: Bench) -> Welcome:
    return Welcome(1, bench.journal_id, 1, 260101, 120000, bench.knows.highest or None)


def _welcome(bench: Bench, hello: Hello, hashed: Hello, *, spoilt: bool) -> bytes:
    """A WELCOME to `hello` whose code covers `hashed`."""
    encoding = bench.dialect.encoding
    assert hello.session_nonce is not None
    nonce = bench.random_bytes(SESSION_NONCE_BYTES)
    session = CodedSession(
        Role.BRIDGE,
        bench.keys[0],
        nonce,
        hello.session_nonce,
        encoding.without_check(encoding.encode(hashed, 1)),
    )

    def code(signed_part: bytes) -> bytes:
        right = session.code(Role.BRIDGE, Welcome.type_code, signed_part)
        return bytes((right[0] ^ 1, *right[1:])) if spoilt else right

    return encoding.encode(
        replace(_plain_welcome(bench), session_nonce=nonce),
        bench.next_number(),
        message_counter=session.next_counter(),
        code=code,
    )


def without_code(bench: Bench) -> None:
    _paired(bench)
    outcome = _outcome(bench)
    _not_taken(bench, bench.bare_body(outcome), "an OUTCOME without a code", says_hello=True)
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after the same OUTCOME with a code")


def wrong_code(bench: Bench) -> None:
    _paired(bench)
    body = bench.dialect.encoding.encode(
        _outcome(bench),
        bench.next_number(),
        message_counter=100,
        code=lambda _: bytes(CODE_BYTES),
    )
    _not_taken(bench, body, "an OUTCOME with a wrong DF7F", says_hello=True)


def old_number(bench: Bench) -> None:
    _paired(bench)
    first, second = _outcome(bench), _outcome(bench)
    old = bench.body(first)
    bench.means(first)
    bench.say_body(old, "OUTCOME")
    bench.stored(first.counter, "05")
    bench.say(second)
    bench.stored(second.counter, "05")
    _not_taken(bench, old, "an OUTCOME with a right code and an old DF26", says_hello=False)


def at_most_every_5_s(bench: Bench) -> None:
    _paired(bench)
    last = bench.greet()
    for _ in range(6):
        bench.say(Identify())
        bench.wait(0.5)
    came = 0
    while (heard := bench.perhaps(Hello, HELLO_AGAIN_S)) is not None:
        came += 1
        took_s = heard.at_s - last.at_s
        if took_s < HELLO_AGAIN_S - 0.5 - bench.slack_s:
            raise Broken(f"HELLO came {took_s:.3f} s after the one before; 5 s is right")
        last = heard
    if not came:
        raise Broken("no HELLO came to six IDENTIFYs within 8 s")


def meanwhile(bench: Bench) -> None:
    _paired(bench)
    outcome = _outcome(bench)
    # Of the session that the next HELLO ends.
    coded = bench.body(outcome)
    with bench.manners(welcomes=False):
        bench.greet()
        bare = bench.bare_body(outcome)
        for code, body in (("with", coded), ("without", bare)):
            what = f"an OUTCOME {code} a code, between HELLO and WELCOME"
            bench.say_body(body, what)
            bench.never(Stored, REACT_S, after=f"after {what}")
        bench.welcome()
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after WELCOME")


def refused_9_says_hello(bench: Bench) -> None:
    _paired(bench)
    bench.pass_by()
    bench.say(Refused(Reason.NOT_AUTHENTICATED, bytes(2), "TEST say HELLO"))
    bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after="after a REFUSED 9, which has no code")


def no_welcome(bench: Bench) -> None:
    _paired(bench)
    with bench.manners(welcomes=False):
        bench.greet()
        bench.wait(NO_WELCOME_S + 1.0)
        bench.look(
            "sees",
            "no-welcome",
            question="Does the terminal show that the bridge does not answer?",
            otherwise="after a minute without a right WELCOME the terminal does not show that",
        )


def not_by_line(bench: Bench) -> None:
    """Nothing that comes over the line removes keys; its own menu does."""
    _paired(bench)
    assert bench.keys
    share = _share(bench)
    bench.say(PairOpen(commitment(share.public_key, share.nonce)))
    bench.say(PairDone(bytes(8)))
    bench.say(Refused(Reason.NOT_AUTHENTICATED, bytes((PairKey.type_code, 1)), "TEST no pairing"))
    bench.wait(0.2)
    hello = cast(Hello, bench.greet().message)
    if hello.key_id != bench.keys[0].identifier:
        raise Broken("HELLO does not name its keys any more, after PAIR_* and REFUSED 9")
    sentence = "Remove the keys in the terminal's menu."
    bench.pass_by()
    bench.do("forget-keys", sentence=sentence)
    heard = bench.comes(Hello, sentence, where=lambda hello: hello.key_id is None)
    bench.keys = []
    if cast(Hello, heard.message).can_authenticate != 1:
        raise Broken("HELLO has no DF20 once the keys are removed")
