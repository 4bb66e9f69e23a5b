"""Rules of framing and acknowledgement (link, section 2): what a terminal makes of bytes.

Rules
- What is sent damaged is an OUTCOME: a terminal that takes it after all says STORED, and is seen.
- What is sent right and means nothing is a PONG.
- Where the terminal is to send something, an OUTCOME of a counter that it does not know makes it.
"""

from __future__ import annotations

from drivers.link.framing import ACK, BODY_MAX_BYTES, NAK
from drivers.link.framing.crc16 import crc16
from drivers.link.framing.stx_lrc import lrc
from drivers.link.messages import Hello, Outcome, Pong, Stored
from tools.conformance_tester.bench import (
    AGAIN_LATE_S,
    BYTE_GAP_S,
    HELLO_AGAIN_S,
    NO_ANSWER_S,
    REACT_S,
    SENT_TIMES,
    Answer,
    Bench,
    Broken,
    Heard,
)

GAP_ALLOWED_S = 0.35
"""A silence inside a frame that must not drop it; less than 0.5 s by what a busy machine adds."""

NAK_PAUSES_S = (0.05, 0.25)
LATE_ANSWERS_S = 0.25


def _outcome(bench: Bench) -> Outcome:
    return bench.outcome_for(bench.unknown_counter(), "05", bench.next_amount())


def _in_words(answers: list[Answer]) -> str:
    return ", ".join(str(answer) for answer in answers) or "no answer"


def _one(bench: Bench, answers: list[Answer], what: str, *, ack: bool) -> Answer:
    """Exactly one answer, the right one."""
    wanted = "ACK" if ack else "NAK"
    if [answer.is_ack for answer in answers] != [ack]:
        raise Broken(f"{what}: {_in_words(answers)}, where one {wanted} is right")
    return answers[0]


def _refused(bench: Bench, frame: bytes, what: str) -> None:
    """It is answered by one NAK, and nothing comes of it."""
    bench.send(frame, what)
    _one(bench, bench.answers(), what, ack=False)
    bench.never(Stored, 0.3, after=f"after {what}")


def right_frame(bench: Bench) -> None:
    bench.send(bench.frame(bench.body(Pong())), "PONG")
    _one(bench, bench.answers(), "a right frame", ack=True)


def bad_check(bench: Bench) -> None:
    outcome = _outcome(bench)
    frame = bench.frame(bench.body(outcome))
    _refused(bench, frame[:-1] + bytes((frame[-1] ^ 0x01,)), "a frame with a wrong check")
    # In the middle of the text: no byte there is, or becomes, one that means something.
    at = frame.index(b"TEST") + 1
    _refused(
        bench,
        frame[:at] + bytes((frame[at] ^ 0x01,)) + frame[at + 1 :],
        "a frame with one wrong bit in its body",
    )
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after the same OUTCOME in a right frame")


def bad_byte(bench: Bench) -> None:
    frame = bench.frame(bench.body(_outcome(bench)))
    native = bench.dialect.framing.carries_any_byte
    stray = b"\x10\x41\x06\x15" if native else b"\x06\x15"
    what = f"a frame with {stray.hex(' ')} in its body"
    at = frame.index(b"TEST")
    bench.send(frame[:at] + stray, what)
    early = bench.answers(0.2)
    if early:
        raise Broken(f"{what}: {_in_words(early)} before its end")
    # The check is right for the body with those bytes: it is they that are wrong.
    body = frame[:at] + stray + frame[at:]
    if not native:
        body = body[:-1] + bytes((lrc(body[1:-1]),))
    bench.send(body[at + len(stray) :], "the rest of it")
    _one(bench, bench.answers(), what, ack=False)
    bench.never(Stored, 0.3, after=f"after {what}")


def longest(bench: Bench) -> None:
    outcome = _outcome(bench)
    size = min(bench.hello.max_body, BODY_MAX_BYTES)
    bench.say(outcome)
    bench.stored(outcome.counter, "05")
    outcome = _outcome(bench)
    body = bench.craft.filled(bench.body(outcome), size)
    bench.means(outcome)
    bench.send(bench.frame(body), f"OUTCOME with an unknown object, a body of {size} bytes")
    _one(bench, bench.answers(), f"a body of {size} bytes", ack=True)
    bench.stored(outcome.counter, "05", after="after an OUTCOME as long as DF13")


def too_long(bench: Bench) -> None:
    size = min(bench.hello.max_body, BODY_MAX_BYTES)
    for length in (size + 1, 3 * size):
        body = bench.craft.filled(bench.body(_outcome(bench)), min(length, 0xFFFF))
        _refused(bench, _framed(bench, body), f"a body of {len(body)} bytes")


def _framed(bench: Bench, body: bytes) -> bytes:
    """Our framing refuses what is longer than the link allows."""
    if bench.dialect.framing.carries_any_byte:
        check = crc16(body + b"\x03").to_bytes(2, "little")
        return b"\x10\x02" + body.replace(b"\x10", b"\x10\x10") + b"\x10\x03" + check
    return b"\x02" + body + b"\x03" + bytes((lrc(body + b"\x03"),))


def too_short(bench: Bench) -> None:
    _refused(bench, _framed(bench, b"\x7f"), "a body of one byte")
    _refused(bench, _framed(bench, b""), "a body without bytes")


def type_00(bench: Bench) -> None:
    body = bench.body(_outcome(bench))
    _refused(bench, _framed(bench, b"\x00" + body), "a body with a byte 00 put in front")


def start_inside(bench: Bench) -> None:
    frame = bench.frame(bench.body(Pong()))
    lost = bench.frame(bench.body(_outcome(bench)))
    bench.send(lost[: len(lost) // 2] + frame, "half a frame, and a whole one")
    _one(bench, bench.answers(), "half a frame and a whole one", ack=True)


def cut(bench: Bench) -> None:
    outcome = _outcome(bench)
    frame = bench.frame(bench.body(outcome))
    at = frame.index(b"TEST")
    bench.send(frame[:at], "the first part of a frame")
    bench.wait(BYTE_GAP_S + 0.1 + bench.slack_s)
    bench.send_on(frame[at:], "the rest, after more than 0.5 s")
    answers = bench.answers()
    if answers:
        raise Broken(f"a frame cut by more than 0.5 s: {_in_words(answers)}, where none is right")
    bench.never(Stored, 0.3, after="after a frame cut by more than 0.5 s")
    # The rest may have left the terminal inside what it takes for a frame.
    bench.wait(BYTE_GAP_S + 0.1)
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="after the same OUTCOME in one piece")


def slow(bench: Bench) -> None:
    outcome = _outcome(bench)
    frame = bench.frame(bench.body(outcome))
    third = len(frame) // 3
    bench.means(outcome)
    bench.send(frame[:third], "a third of a frame")
    bench.wait(GAP_ALLOWED_S)
    bench.send_on(frame[third : 2 * third], f"the next, after {GAP_ALLOWED_S} s")
    bench.wait(GAP_ALLOWED_S)
    bench.send_on(frame[2 * third :], f"the last, after {GAP_ALLOWED_S} s")
    _one(bench, bench.answers(), f"a frame with pauses of {GAP_ALLOWED_S} s", ack=True)
    bench.stored(outcome.counter, "05", after="after a slow OUTCOME")


def bytewise(bench: Bench) -> None:
    outcome = _outcome(bench)
    frame = bench.frame(bench.body(outcome))
    bench.means(outcome)
    bench.send(frame[:1], "a frame byte by byte")
    for at in range(1, len(frame)):
        bench.send_on(frame[at : at + 1], "")
    _one(bench, bench.answers(), "a frame byte by byte", ack=True)
    bench.stored(outcome.counter, "05", after="after an OUTCOME byte by byte")


def noise(bench: Bench) -> None:
    frame = bench.frame(bench.body(Pong()))
    bench.send(b"abc\xff\x00 z" + frame + b"\r\nlogin: ", "noise, a frame, noise")
    _one(bench, bench.answers(), "a frame between noise", ack=True)
    if bench.dialect.framing.carries_any_byte:
        frame = bench.frame(bench.body(Pong()))
        bench.send(b"\x10A\x10" + frame, "10 41, a stray 10, and a frame")
        _one(bench, bench.answers(), "a frame after 10 41 and a stray 10", ack=True)


# What the terminal sends


def _provoked(bench: Bench) -> Heard:
    """A STORED that nobody has acknowledged yet."""
    outcome = _outcome(bench)
    bench.pass_by()
    bench.say(outcome)
    return bench.stored(outcome.counter, "05", after="after OUTCOME")


def _between(bench: Bench, what: str, took_s: float, least_s: float, most_s: float) -> None:
    if not least_s - bench.slack_s <= took_s <= most_s + bench.slack_s:
        raise Broken(f"{what} took {took_s:.3f} s; {least_s:g} s is right")


def sent_again(bench: Bench) -> None:
    with bench.manners(acks=False):
        heard = _provoked(bench)
        for count in (2, 3):
            bench.copies(heard, count, NO_ANSWER_S + AGAIN_LATE_S)
            took_s = heard.times[-1] - heard.times[-2]
            _between(bench, f"copy {count}", took_s, NO_ANSWER_S, NO_ANSWER_S + AGAIN_LATE_S)
        bench.wait(NO_ANSWER_S / 2)
    _no_fourth(bench, heard)
    bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after="after a message was given up")


def _no_fourth(bench: Bench, heard: Heard) -> None:
    bench.wait(NO_ANSWER_S)
    if len(heard.times) > SENT_TIMES:
        raise Broken(f"the same frame came {len(heard.times)} times; {SENT_TIMES} is right")


def given_up(bench: Bench) -> None:
    with bench.manners(acks=False):
        heard = _provoked(bench)
        bench.copies(heard, SENT_TIMES, SENT_TIMES * (NO_ANSWER_S + AGAIN_LATE_S))
        bench.wait(NO_ANSWER_S / 2)
    # Time to spare: it may wait for its answer until now, and as long as it likes to begin anew.
    bench.expect(Hello, NO_ANSWER_S + HELLO_AGAIN_S, after="after a message was given up")
    bench.wait(0.1)
    outcome = bench.knows.outcomes[max(bench.knows.outcomes)][0]
    bench.say(outcome)
    bench.stored(outcome.counter, "05", after="to the OUTCOME whose STORED was given up")


def nak(bench: Bench) -> None:
    with bench.manners(acks=False):
        heard = _provoked(bench)
        for count, pause_s in enumerate(NAK_PAUSES_S, 2):
            at_s = bench.now
            bench.nak()
            bench.copies(heard, count, NO_ANSWER_S - 0.1)
            _between(
                bench, f"copy {count}, after NAK,", heard.times[-1] - at_s, pause_s, pause_s + 0.3
            )
        bench.nak()
    _no_fourth(bench, heard)
    bench.expect(Hello, HELLO_AGAIN_S + REACT_S, after="after a third NAK")


def both_ways(bench: Bench) -> None:
    with bench.manners(acks=False):
        heard = _provoked(bench)
        bench.send(bench.frame(bench.body(Pong())), "PONG, while a frame waits for its ACK")
        _one(bench, bench.answers(), "a frame, while its own waits for ACK,", ack=True)
        second = _outcome(bench)
        bench.say(second)
        # Nothing new before the first one has its answer, or was sent three times.
        while len(heard.times) < SENT_TIMES:
            at = len(heard.times)
            bench.copies(heard, at + 1, NO_ANSWER_S + AGAIN_LATE_S)
        between = bench.heard_since(heard)
        if between:
            raise Broken("a second frame came while the first one had no answer")
        bench.ack()
    bench.stored(second.counter, "05", after="once the frame before it was acknowledged")


def late_answers(bench: Bench) -> None:
    with bench.manners(acks=False):
        first = _provoked(bench)
        second = _outcome(bench)
        bench.say(second)
        bench.copies(first, 2, NO_ANSWER_S + AGAIN_LATE_S)
        acked_at = bench.now
        bench.ack()
        bench.wait(LATE_ANSWERS_S / 2)
        bench.record.sent(bench.now, ACK, "a late ACK, for the first copy")
        bench.port.write(ACK)
        heard = bench.stored(
            second.counter, "05", after="once the frame before it was acknowledged"
        )
        took_s = heard.at_s - acked_at
        if took_s < LATE_ANSWERS_S - bench.slack_s:
            raise Broken(
                f"the next frame came {took_s:.3f} s after a frame sent twice; 0.25 s is right"
            )
        bench.copies(heard, 2, NO_ANSWER_S + AGAIN_LATE_S)
        bench.ack()


def stray_answers(bench: Bench) -> None:
    bench.record.sent(bench.now, ACK + NAK + ACK, "answers to nothing")
    bench.port.write(ACK + NAK + ACK)
    bench.wait(0.1)
    with bench.manners(acks=False):
        heard = _provoked(bench)
        bench.copies(heard, 2, NO_ANSWER_S + AGAIN_LATE_S)
        bench.ack()


def stands_still(bench: Bench) -> None:
    with bench.manners(acks=False):
        heard = _provoked(bench)
        bench.wait(NO_ANSWER_S / 2)
        frame = bench.frame(bench.body(Pong()))
        bench.send(frame[:2], "a frame, slowly")
        begun_at = bench.now
        for at in range(2, len(frame)):
            bench.wait(min(GAP_ALLOWED_S, 2.0 / (len(frame) - 2)))
            bench.send_on(frame[at : at + 1], "")
            if len(heard.times) > 1:
                raise Broken(
                    f"the frame was sent again {bench.now - begun_at:.3f} s after another began to come in"
                )
        _one(bench, bench.answers(0.2), "a slow frame", ack=True)
        bench.copies(heard, 2, NO_ANSWER_S + AGAIN_LATE_S)
        bench.ack()
