"""The table of what a terminal must keep: each rule, where it stands in the link, how it is checked.

Rules
- One row for one rule. `docs/conformance.md` is made from this table (`document.py`).
- A row is either tried, by a function that plays it through, or watched, by a class that looks on.
- `hands`: somebody has to do something at the terminal. `slow`: it takes more than 20 s.
- The order is that of the run: first the line, then words, then what needs hands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.conformance_tester import (
    a_sale,
    authenticated,
    images,
    in_words,
    its_outcome,
    on_the_line,
    refunds,
    watch,
    who_is_meant,
)
from tools.conformance_tester.bench import Bench
from tools.conformance_tester.watch import Watch

Try = Callable[[Bench], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the link for a terminal."""

    id: str
    section: str
    """Of docs/terminal-link.md: `2`, `4.8`."""
    text: str
    """What the terminal does."""
    how: str
    """How the tester finds out."""
    check: Try | type[Watch]
    hands: bool = False
    slow: bool = False
    authenticated: bool = False
    """Of the authenticated link: for terminals whose HELLO has DF20."""
    dialect: str | None = None
    """The one dialect in which the rule can be broken; None: in each."""

    @property
    def watched(self) -> bool:
        return isinstance(self.check, type)


def _tried(rule_id: str, section: str, text: str, how: str, check: Try) -> Rule:
    return Rule(rule_id, section, text, how, check)


def _keyed(
    rule_id: str,
    section: str,
    text: str,
    how: str,
    check: Try,
    *,
    slow: bool = False,
) -> Rule:
    return Rule(rule_id, section, text, how, check, hands=True, slow=slow)


def _slow(rule_id: str, section: str, text: str, how: str, check: Try) -> Rule:
    return Rule(rule_id, section, text, how, check, slow=True)


def _watched(rule_id: str, section: str, text: str, how: str, check: type[Watch]) -> Rule:
    return Rule(rule_id, section, text, how, check)


def _paired(
    rule_id: str,
    section: str,
    text: str,
    how: str,
    check: Try,
    *,
    slow: bool = False,
) -> Rule:
    return Rule(rule_id, section, text, how, check, hands=True, slow=slow, authenticated=True)


RULES: tuple[Rule, ...] = (
    # Section 2: framing and acknowledgement
    _tried(
        "line.ack",
        "2",
        "A right frame is answered by one ACK within 0.3 s.",
        "PONG, which means nothing to an idle terminal; every other frame of the run is timed too.",
        on_the_line.right_frame,
    ),
    _watched(
        "line.ack-in-time",
        "2",
        "Each right frame is answered by ACK within 0.3 s of its end, or of the end of its own frame.",
        "Watched: the time from the last byte of every frame to its answer.",
        watch.Acknowledged,
    ),
    _watched(
        "line.answer-once",
        "2",
        "Nothing but a frame is answered, and each frame once.",
        "Watched: an ACK or NAK that nothing had asked for.",
        watch.AnsweredOnce,
    ),
    _tried(
        "line.bad-check",
        "2",
        "A frame with a wrong check is answered by one NAK, and has no effect.",
        "OUTCOME with one bit of its check wrong, and with one bit of its body wrong: NAK, no STORED.",
        on_the_line.bad_check,
    ),
    _tried(
        "line.bad-byte",
        "2",
        "A byte that cannot be there makes a frame damaged: it is read on to its end, then one NAK.",
        "native: 10 41 06 15 in the body; classic: 06 15. No answer before the end, one NAK after it.",
        on_the_line.bad_byte,
    ),
    _tried(
        "line.longest-body",
        "2, 3",
        "A body as long as DF13 says is taken.",
        "OUTCOME with an unknown object that fills the body up to DF13: ACK, STORED.",
        on_the_line.longest,
    ),
    _tried(
        "line.too-long",
        "2",
        "A longer body is read on to its end, answered by one NAK, and has no effect.",
        "A body of DF13 + 1 bytes, and one three times as long.",
        on_the_line.too_long,
    ),
    _tried(
        "line.too-short",
        "2",
        "A body of fewer than 2 bytes is a damaged frame.",
        "Frames with a right check around a body of one byte, and of none: one NAK each.",
        on_the_line.too_short,
    ),
    Rule(
        "line.type-00",
        "2",
        "A body that begins with 00 is a damaged frame: its CRC cannot see a zero put in front.",
        "OUTCOME with 00 put in front and a right CRC: one NAK, no STORED.",
        on_the_line.type_00,
        dialect="native",
    ),
    _tried(
        "line.start-inside",
        "2",
        "A start of frame inside a frame drops what came before it.",
        "Half an OUTCOME and a whole PONG, without a pause: one ACK.",
        on_the_line.start_inside,
    ),
    _tried(
        "line.cut",
        "2",
        "A silence of 0.5 s inside a frame drops it, without an answer.",
        "OUTCOME in two parts, 0.6 s apart: no answer, no STORED; the same in one piece is taken.",
        on_the_line.cut,
    ),
    _tried(
        "line.slow",
        "2",
        "A shorter silence does not drop it.",
        "OUTCOME in three parts, 0.35 s apart: ACK, STORED.",
        on_the_line.slow,
    ),
    _tried(
        "line.bytewise",
        "1, 2",
        "How bytes are packed on their way means nothing.",
        "OUTCOME byte by byte: ACK, STORED.",
        on_the_line.bytewise,
    ),
    _tried(
        "line.noise",
        "2",
        "Bytes between frames that are neither ACK nor NAK are dropped.",
        "Noise before and after a PONG; native: also 10 41, and a 10 before the frame.",
        on_the_line.noise,
    ),
    _watched(
        "line.frames-right",
        "2",
        "The terminal's own frames are right; no ACK or NAK stands inside one.",
        "Watched: every frame that comes damaged.",
        watch.FramesRight,
    ),
    _tried(
        "line.sent-again",
        "2",
        "Without an answer for 1.0 s the same bytes are sent again, 3 times in all.",
        "STORED is left without ACK: copies after 1.0 s each, three and no fourth.",
        on_the_line.sent_again,
    ),
    _tried(
        "line.nak",
        "2",
        "After NAK the same bytes are sent again: after 50 ms, the second time after 250 ms.",
        "STORED is answered by NAK three times: three copies and no fourth.",
        on_the_line.nak,
    ),
    _watched(
        "line.sent-right",
        "2",
        "A frame is sent three times at most, and not again once it has its ACK.",
        "Watched: copies of every frame.",
        watch.SentRight,
    ),
    _tried(
        "line.both-ways",
        "2",
        "While its own frame waits for an answer, frames are taken and answered.",
        "PONG and OUTCOME while a STORED waits: ACK each; the second STORED only after the first.",
        on_the_line.both_ways,
    ),
    _watched(
        "line.one-out",
        "2",
        "A sender has one frame out at a time.",
        "Watched: a new frame while the one before it has no answer.",
        watch.OneOut,
    ),
    _tried(
        "line.late-answers",
        "2",
        "After a frame was sent more than once, 0.25 s pass before the next; late answers are dropped.",
        "A STORED sent twice gets two ACKs, 0.12 s apart: the second is not taken for the next frame's.",
        on_the_line.late_answers,
    ),
    _tried(
        "line.stray-answers",
        "2",
        "ACK and NAK are looked at only while a frame waits for one.",
        "ACK, NAK, ACK to an idle terminal; the STORED after that is sent again without an ACK.",
        on_the_line.stray_answers,
    ),
    _tried(
        "line.stands-still",
        "2",
        "The 1.0 s stands still while a frame is coming in.",
        "A PONG that takes 2 s while a STORED waits: no copy before its end, one after it.",
        on_the_line.stands_still,
    ),
    _tried(
        "line.given-up",
        "2, 4.3",
        "A message that was sent three times is given up, and HELLO is said.",
        "STORED without any answer: HELLO; after WELCOME the OUTCOME is answered by STORED again.",
        on_the_line.given_up,
    ),
    # Section 3: numbers and words
    _watched(
        "words.numbered",
        "3",
        "Sequence numbers run 1 to 255 and round again; HELLO has 1.",
        "Watched: the number of every message.",
        watch.Numbered,
    ),
    _tried(
        "words.duplicate",
        "3",
        "A message equal, byte for byte, to the last one taken is acknowledged and dropped.",
        "The frame of an OUTCOME twice: one STORED; the same OUTCOME with a new number: STORED.",
        in_words.duplicate,
    ),
    _tried(
        "words.wraps",
        "3",
        "Both numberings go round.",
        f"{in_words.WRAP_MESSAGES} OUTCOMEs, each answered by STORED.",
        in_words.wraps,
    ),
    _keyed(
        "words.hello-afresh",
        "3",
        "HELLO starts the numbering afresh in both directions: the same WELCOME again is no duplicate.",
        "TENDER is given up, HELLO comes, and the WELCOME has the bytes of the last message taken.",
        in_words.afresh,
    ),
    _watched(
        "words.understood",
        "3",
        "What the terminal says is written as the link writes it, with all that its type needs.",
        "Watched: every body is decoded as the daemon does.",
        watch.Understood,
    ),
    _tried(
        "words.any-order",
        "3",
        "Objects may come in any order.",
        "OUTCOME with its objects in reverse order: STORED.",
        in_words.any_order,
    ),
    _tried(
        "words.unknown-objects",
        "3",
        "Objects that are not in the tables are passed over.",
        "OUTCOME with objects of unknown tags of one and two bytes, one of them twice: STORED.",
        in_words.unknown_objects,
    ),
    _tried(
        "words.foreign-objects",
        "3",
        "Objects of the tables that do not belong to a message are checked and passed over.",
        "OUTCOME with an image id: STORED. (One that is wrong: see words.not-understood.)",
        in_words.foreign_objects,
    ),
    _tried(
        "words.not-understood",
        "3",
        "A message that is not understood is acknowledged and dropped.",
        "OUTCOMEs in right frames, each wrong in one way of section 3, 8A 99 among them: no STORED.",
        in_words.not_understood,
    ),
    Rule(
        "words.text-check",
        "3",
        "A wrong DF7E makes a message not understood, though the LRC is right.",
        "OUTCOME with two digits of its amount swapped: ACK, no STORED.",
        in_words.text_check,
        dialect="classic",
    ),
    _tried(
        "words.text",
        "3",
        "A text has up to 160 bytes of UTF-8, with line breaks.",
        "DISPLAY_TEXT of 160 bytes; somebody looks at the panel.",
        in_words.text,
    ),
    # Section 4.1 to 4.4: who is meant
    _watched(
        "hello.right",
        "3",
        "HELLO says the same pairing each time, DF13 of 640 to 4,092, and formats with a panel.",
        "Watched: every HELLO.",
        watch.HelloRight,
    ),
    _tried(
        "hello.on-identify",
        "4.3",
        "IDENTIFY is answered by HELLO.",
        "IDENTIFY: HELLO with number 1.",
        who_is_meant.on_identify,
    ),
    _slow(
        "hello.every-5-s",
        "4.3",
        "HELLO is said every 5 s until WELCOME comes, and then no more.",
        "No WELCOME for three HELLOs, then one.",
        who_is_meant.every_5_s,
    ),
    _watched(
        "hello.alone",
        "4.1, 4.2",
        "Between HELLO and WELCOME, and while DF1D is 0, nothing but HELLO and PAIR_* is said.",
        "Watched: every message.",
        watch.HelloAlone,
    ),
    _keyed(
        "hello.nothing-else",
        "4.2",
        "A sale that is open waits for the WELCOME, too.",
        "No WELCOME for 6.5 s while a TENDER has no ACCEPTED: no TENDER; after WELCOME it comes.",
        who_is_meant.nothing_else,
    ),
    _keyed(
        "hello.on-refused",
        "4.3, 4.8",
        "REFUSED 9 and 11 are answered by HELLO; after WELCOME the TENDER is said again.",
        "TENDER is answered by REFUSED 11, another by REFUSED 9.",
        who_is_meant.on_refused_9_and_11,
    ),
    _keyed(
        "hello.power-up",
        "4.3",
        "HELLO is said at power-up.",
        "The power is cut and given back: HELLO with number 1.",
        who_is_meant.power_up,
    ),
    _keyed(
        "hello.cable",
        "4.3",
        "HELLO is said when the cable comes back.",
        "The cable is pulled and put back: HELLO, of itself, or to IDENTIFY where it cannot notice.",
        who_is_meant.cable_back,
    ),
    _watched(
        "who.own-name",
        "4.2",
        "What the terminal says names itself.",
        "Watched: 9F1C of every message is that of HELLO.",
        watch.OwnName,
    ),
    _keyed(
        "who.another-terminal",
        "4.2",
        "What names another terminal is dropped, and HELLO is said.",
        "ACCEPTED, REFUSED, PROGRESS, OUTCOME and IMAGE_OPEN with another 9F1C: HELLO; the sale stays open.",
        who_is_meant.another_terminal,
    ),
    _keyed(
        "unpaired.silent",
        "4.1",
        "With DF1D 0 it shows that and says nothing; with DF1D 1 it takes up what it has open.",
        "WELCOME with DF1D 0 while a sale is open: 20 s of silence; after DF1D 1 the same TENDER.",
        who_is_meant.not_paired,
        slow=True,
    ),
    _slow(
        "unpaired.every-60-s",
        "4.1",
        "While DF1D is 0, HELLO is said every 60 s.",
        "WELCOME with DF1D 0: two HELLOs, 60 s apart.",
        who_is_meant.not_paired_for_long,
    ),
    _keyed(
        "unpaired.by-person",
        "4.9",
        "While DF1D is 0 a person may end a sale; an OUTCOME that still comes is kept and shown.",
        "A sale is ended by hand, then its OUTCOME 00 comes: STORED 00, and somebody is told.",
        who_is_meant.outcome_after_end,
    ),
    _keyed(
        "journal.other",
        "4.4",
        "Another DF0D means another journal: the sale is shown to a person, its TENDER not said again.",
        "WELCOME with another DF0D while a TENDER has no ACCEPTED; REFUSED 2 to a CANCEL ends nothing.",
        who_is_meant.other_journal,
    ),
    _keyed(
        "journal.set-back",
        "4.4",
        "So does a 9F41 in WELCOME below one that was accepted.",
        "The same, with 9F41 one lower than the sale that was accepted.",
        who_is_meant.counter_set_back,
    ),
    _keyed(
        "journal.no-counter",
        "4.4",
        "A WELCOME with DF1D 1 and no 9F41 counts as 0.",
        "The same, without 9F41.",
        who_is_meant.no_counter,
    ),
    # Section 4.5 to 4.10: a sale
    _keyed(
        "tender.content",
        "4.5",
        "TENDER says the amount that was keyed, in currency 554.",
        "A sale is keyed; every sale of the run is compared.",
        a_sale.content,
    ),
    _watched(
        "tender.same-content",
        "4.6",
        "A TENDER or REFUND that is said again has the same content.",
        "Watched: every TENDER and REFUND.",
        watch.SameContent,
    ),
    _watched(
        "tender.counters-rise",
        "4.5",
        "Counters, which tenders and refunds share, rise, above the one in WELCOME.",
        "Watched: every new counter.",
        watch.CountersRise,
    ),
    _keyed(
        "tender.above-welcome",
        "4.5",
        "The next counter is above the one in WELCOME.",
        f"WELCOME with a 9F41 that is {a_sale.COUNTER_JUMP} higher than any used.",
        a_sale.above_welcome,
    ),
    _keyed(
        "tender.through-power-cut",
        "4.5",
        "Counter and content are stored durably before they are sent.",
        "Power cut between TENDER and ACCEPTED: the same TENDER again; the next counter is higher.",
        a_sale.through_power_cut,
    ),
    _watched(
        "tender.one-open",
        "4.7",
        "A terminal has one open TENDER.",
        "Watched: a TENDER with a new counter while another one has no outcome.",
        watch.OneTender,
    ),
    _keyed(
        "tender.no-second",
        "4.7",
        "A second sale cannot be begun while one is open.",
        "A second sale is keyed: no TENDER.",
        a_sale.one_open,
    ),
    _keyed(
        "tender.said-again",
        "4.8",
        "Without ACCEPTED or REFUSED the TENDER is said again every 3 s, rather than QUERY.",
        "Three repetitions, then ACCEPTED: none after it.",
        a_sale.said_again,
    ),
    _keyed(
        "tender.after-refused-6",
        "4.8",
        "After REFUSED 6 the TENDER is said again, after 3 s.",
        "TENDER is answered by REFUSED 6.",
        a_sale.after_refused_6,
    ),
    _keyed(
        "accepted.other-amount",
        "4.8",
        "ACCEPTED with another amount than was sent: CANCEL.",
        "ACCEPTED with one cent more.",
        a_sale.accepted_other_amount,
    ),
    _keyed(
        "accepted.other-currency",
        "4.8",
        "ACCEPTED with another currency than was sent: CANCEL.",
        "ACCEPTED with currency 036.",
        a_sale.accepted_other_currency,
    ),
    _keyed(
        "progress.other-amount",
        "4.8",
        "PROGRESS with another amount than was sent: CANCEL.",
        "PROGRESS with one cent more, after ACCEPTED.",
        a_sale.progress_other_amount,
    ),
    _tried(
        "accepted.unknown-counter",
        "4.8",
        "ACCEPTED or PROGRESS for a counter that is not open: CANCEL for it, until REFUSED 2.",
        "Both, for counters that the terminal has never used; then REFUSED 2.",
        a_sale.unknown_counter,
    ),
    _keyed(
        "cancel.said-again",
        "4.8",
        "CANCEL is said every 3 s, PROGRESS or not, and after WELCOME, until OUTCOME.",
        "A sale is cancelled and answered by PROGRESS; then IDENTIFY; then OUTCOME.",
        a_sale.cancel_again,
    ),
    _keyed(
        "cancel.slowly",
        "4.8",
        "After a minute CANCEL is said every 60 s.",
        "A sale is cancelled, and there is no OUTCOME for two minutes.",
        a_sale.cancel_slowly,
        slow=True,
    ),
    _keyed(
        "cancel.no-tender",
        "4.8",
        "After a CANCEL that TENDER is not sent any more.",
        "A sale is cancelled before ACCEPTED: no TENDER, also after WELCOME.",
        a_sale.no_tender_after_cancel,
    ),
    _watched(
        "cancel.no-tender-ever",
        "4.8",
        "After a CANCEL that TENDER is not sent any more, at any time.",
        "Watched: every TENDER.",
        watch.SilentAfterCancel,
    ),
    _keyed(
        "cancel.refused-2",
        "4.9",
        "REFUSED 2 to its CANCEL, from the same journal, before any ACCEPTED ends a sale.",
        "A sale is cancelled before ACCEPTED, and refused by 2: silence; the next sale can be keyed.",
        a_sale.cancel_refused_2,
    ),
    _keyed(
        "cancel.refused-2-late",
        "4.9",
        "After ACCEPTED it does not.",
        "The same after ACCEPTED: QUERY within 15 s; the OUTCOME 00 is taken.",
        a_sale.cancel_refused_2_late,
        slow=True,
    ),
    _keyed(
        "refused.ends",
        "4.9",
        "REFUSED 1, 4, 5, 7 and 10 of its TENDER, before any ACCEPTED, end a sale.",
        "Five sales, each refused by one of them: nothing more is said of it, also after WELCOME.",
        a_sale.refused_ends,
    ),
    _keyed(
        "refused.ends-not",
        "4.9",
        "No other REFUSED ends it.",
        "TENDER is refused by 2 and by 8: after WELCOME it is said again.",
        a_sale.refused_ends_not,
    ),
    _keyed(
        "refused.another",
        "4.9",
        "DF0C says which message was refused; one of another message ends no sale.",
        "REFUSED 1 with DF0C of a PING, of a QUERY, and 0000: the TENDER is said again.",
        a_sale.refused_another,
    ),
    _keyed(
        "refused.late",
        "4.9",
        "A REFUSED that comes after ACCEPTED ends no sale, nor does REFUSED 2 to QUERY.",
        "REFUSED 5 of the TENDER after ACCEPTED, REFUSED 2 of the QUERY: it still asks; a 00 is taken.",
        a_sale.refused_late,
        slow=True,
    ),
    _keyed(
        "refused.3-first",
        "4.9",
        "REFUSED 3 to a first TENDER: QUERY; where the answer has its amount, a person decides.",
        "PROGRESS answers the QUERY; a person says no: the same sale under a higher counter.",
        a_sale.refused_3_first,
    ),
    _keyed(
        "refused.3-again",
        "4.9",
        "REFUSED 3 to a repeated TENDER: QUERY; an OUTCOME with its amount is its sale's.",
        "OUTCOME 00 answers the QUERY: STORED, and it is booked.",
        a_sale.refused_3_again,
    ),
    _keyed(
        "refused.3-other-amount",
        "4.9",
        "With another amount it takes a higher counter.",
        "OUTCOME with another amount answers the QUERY: TENDER under a higher counter.",
        a_sale.refused_3_other_amount,
    ),
    _keyed(
        "refused.3-unknown",
        "4.9",
        "Where the bridge knows nothing by that counter it takes a higher one.",
        "REFUSED 2 answers the QUERY: TENDER under a higher counter.",
        a_sale.refused_3_unknown,
    ),
    _keyed(
        "query.in-silence",
        "4.8, 4.10",
        "After 15 s of silence with something open: QUERY, every 3 s until it is answered.",
        "An accepted sale and silence; PROGRESS after three QUERYs: no more.",
        a_sale.query_in_silence,
        slow=True,
    ),
    _keyed(
        "sale.decides-nothing",
        "4.14",
        "A terminal never decides by itself, and takes a 00 that comes late.",
        "70 s without an answer to anything, then OUTCOME 00: STORED, and it is booked.",
        a_sale.decides_nothing,
        slow=True,
    ),
    _keyed(
        "sale.needs-only-hello",
        "4.16",
        "A terminal that lost power needs no more than HELLO.",
        "Power cut after ACCEPTED; ACCEPTED, PROGRESS and OUTCOME 00 after WELCOME: it is booked.",
        a_sale.needs_only_hello,
    ),
    # Section 4.11 to 4.15: its outcome
    _keyed(
        "outcome.approved",
        "4.12",
        "OUTCOME is answered by STORED with its 8A, and 00 with the amount books the sale.",
        "A sale and OUTCOME 00.",
        its_outcome.approved,
    ),
    _keyed(
        "outcome.not-approved",
        "4.12, 4.14",
        "Any other code ends it unbooked.",
        "A sale and OUTCOME 05.",
        its_outcome.not_approved,
    ),
    _watched(
        "outcome.stored-as-told",
        "4.12",
        "STORED is said for an OUTCOME alone, with the 8A that was told first.",
        "Watched: every STORED.",
        watch.StoredAsTold,
    ),
    _keyed(
        "outcome.before-accepted",
        "4.6, 4.9",
        "An OUTCOME ends a sale, ACCEPTED or not.",
        "OUTCOME 00 is the first answer to a TENDER: STORED, no more TENDER, and it is booked.",
        its_outcome.before_accepted,
    ),
    _tried(
        "outcome.unknown-counter",
        "4.12",
        "An OUTCOME for a counter that it does not know is stored, answered, and shown to a person.",
        "One with each response code: STORED with that code.",
        its_outcome.unknown_counters,
    ),
    _keyed(
        "outcome.repeated",
        "4.12",
        "Every OUTCOME is answered by STORED, a repeated one too.",
        "The same OUTCOME four times, with new numbers: STORED four times.",
        its_outcome.repeated,
    ),
    _keyed(
        "outcome.other-code",
        "4.11, 4.12",
        "An outcome never changes: STORED says the 8A that is kept.",
        "OUTCOME 00, then 17 for the same counter: STORED 00, and it stays booked.",
        its_outcome.other_code,
    ),
    _tried(
        "outcome.last-eight",
        "4.12",
        "It remembers its last eight counters.",
        "OUTCOMEs for eight counters, then another 8A for each: STORED with the first one's.",
        its_outcome.last_eight,
    ),
    _keyed(
        "outcome.through-power-cut",
        "4.12",
        "STORED is said once the outcome is in its own storage.",
        "OUTCOME 00, STORED, power cut, then OUTCOME 17: STORED 00.",
        its_outcome.through_power_cut,
    ),
    _keyed(
        "outcome.other-amount",
        "4.12",
        "A 00 with another amount ends the sale unbooked, and a person is told.",
        "OUTCOME 00 with a dollar more: STORED 00; the next sale can be keyed.",
        its_outcome.other_amount,
    ),
    _keyed(
        "outcome.after-cancel",
        "4.14, 4.15",
        "CANCEL asks: a 00 that was quicker is taken.",
        "A sale is cancelled, PROGRESS, then OUTCOME 00: it is booked, and CANCEL ends.",
        its_outcome.after_cancel,
    ),
    _keyed(
        "outcome.beside-a-sale",
        "4.7, 4.12",
        "An outcome of another counter does not touch the sale that is open.",
        "OUTCOME 91 for an unknown counter while a sale is open, then its own 00.",
        its_outcome.not_alone,
    ),
    # Refunds
    _keyed(
        "refund.approved",
        "4.5, 4.17",
        "REFUND has a counter of its own, and says the original's counter and the amount.",
        "A refund of half a sale is keyed: ACCEPTED, PROGRESS, OUTCOME 00, STORED.",
        refunds.a_refund,
    ),
    _keyed(
        "refund.said-again",
        "4.8",
        "Without ACCEPTED it is said again after 3 s.",
        "No answer to REFUND for 3 s.",
        refunds.said_again,
    ),
    _keyed(
        "refund.refused",
        "4.9",
        "REFUSED 2, 8 and 10 end a refund.",
        "Three refunds, each refused by one of them: nothing more is said of it.",
        refunds.refused,
    ),
    _keyed(
        "refund.beside-a-sale",
        "4.17",
        "A refund stays open beside sales, and through a power cut.",
        "A refund is keyed while a sale is open; the next sale is not held up; its OUTCOME comes last.",
        refunds.beside_a_sale,
    ),
    # Section 5: images
    _tried(
        "image.every-format",
        "5",
        "A test picture in each format of DF12 that can be drawn for the panel is shown.",
        "IMAGE_OPEN without 9F1C and 9F41, IMAGE_DATA, IMAGE_SHOW: status 0, and somebody looks.",
        images.every_format,
    ),
    _keyed(
        "image.of-a-tender",
        "5",
        "The image of an accepted sale is shown, and taken away at OUTCOME.",
        "ACCEPTED, an image, OUTCOME; somebody looks at the panel.",
        images.of_a_tender,
    ),
    _tried(
        "image.bad-check",
        "5",
        "An image whose DF1B is wrong is not shown: status 1.",
        "One bit of DF1B wrong; then the same image with a right one: 0.",
        images.bad_check,
    ),
    _tried(
        "image.gap",
        "5",
        "IMAGE_DATA comes in order without gaps; one with a gap, or too short, has status 1.",
        "An image with a byte left out, and one without its second half.",
        images.gap,
    ),
    _tried(
        "image.duplicate-piece",
        "3, 5",
        "An IMAGE_DATA frame that comes twice is one piece.",
        "Every frame of an image twice: status 0.",
        images.duplicate_piece,
    ),
    _tried(
        "image.too-large",
        "5",
        "An image larger than DF1E, or than its memory, has status 2.",
        "IMAGE_OPEN with a DF18 one above DF1E, or of 4 GB.",
        images.too_large,
    ),
    _tried(
        "image.unknown-format",
        "5",
        "A format that it does not know has status 3.",
        "An image in format 7F.",
        images.unknown_format,
    ),
    _tried(
        "image.new-open",
        "5",
        "A new IMAGE_OPEN ends an unfinished image; pieces of the old one are passed over.",
        "Half an image, then another one whole: status 0.",
        images.new_open,
    ),
    _tried(
        "image.cleared",
        "5",
        "DISPLAY_CLEAR ends an unfinished image, and takes one away that is shown.",
        "DISPLAY_CLEAR before IMAGE_SHOW: status 1; after it: somebody looks at the panel.",
        images.cleared,
    ),
    _tried(
        "image.shown-once",
        "3, 5",
        "An IMAGE_SHOW frame that comes twice has one IMAGE_STATUS.",
        "The frame of an IMAGE_SHOW twice.",
        images.show_again,
    ),
    _keyed(
        "image.between-pieces",
        "5",
        "Other messages may come between the pieces of an image.",
        "PROGRESS and PONG after every piece: status 0.",
        images.between_pieces,
    ),
    _keyed(
        "image.before-accepted",
        "5",
        "No image of a tender is shown before a matching ACCEPTED: status 1.",
        "An image before ACCEPTED, and the same after it.",
        images.before_accepted,
    ),
    _keyed(
        "image.of-another",
        "5",
        "No image of a tender that is not open is shown: status 1.",
        "An image for a counter that the terminal has never used.",
        images.of_another_sale,
    ),
    _keyed(
        "image.after-other-amount",
        "4.8, 5",
        "No image is shown after an ACCEPTED that does not match.",
        "ACCEPTED with one cent more, then an image: status 1.",
        images.after_other_amount,
    ),
    _keyed(
        "image.life-over",
        "5",
        "An image is taken away when DF06 has run out.",
        "ACCEPTED with DF06 3, an image, 4 s; somebody looks at the panel.",
        images.life_over,
    ),
    _keyed(
        "image.while-closing",
        "3, 5",
        "DF06 is 0 while a sale is being closed: nobody can pay any more.",
        "An image, then PROGRESS with DF06 0; somebody looks at the panel; the image again: status 1.",
        images.while_closing,
    ),
    # Section 6: the authenticated link
    _paired(
        "pair.menu-closed",
        "6",
        "PAIR_OPEN is not answered while pairing is not open in the terminal's menu.",
        "PAIR_OPEN to an idle terminal: no PAIR_KEY.",
        authenticated.menu_closed,
    ),
    _paired(
        "pair.refused-9",
        "6",
        "Both ends show six digits; a REFUSED 9 that names PAIR_KEY ends pairing.",
        "PAIR_OPEN, PAIR_KEY, PAIR_REVEAL; somebody compares; REFUSED 9: no PAIR_CONFIRM.",
        authenticated.refused_9,
    ),
    _paired(
        "pair.refused-6",
        "6",
        "PAIR_KEY is sent again after REFUSED 6.",
        "REFUSED 6 that names PAIR_KEY: the same key and nonce again.",
        authenticated.refused_6,
    ),
    _paired(
        "pair.fresh",
        "6",
        "Key pairs and nonces are fresh each time.",
        "Two tries: two keys, two nonces.",
        authenticated.fresh,
    ),
    _paired(
        "pair.commitment",
        "6",
        "A PAIR_REVEAL that does not match the commitment breaks off.",
        "PAIR_REVEAL with another key than was announced; a person's yes: no PAIR_CONFIRM.",
        authenticated.wrong_commitment,
    ),
    _paired(
        "pair.zeros",
        "6",
        "A shared secret of zeros breaks off.",
        "A public key of zeros, rightly announced; a person's yes: no PAIR_CONFIRM.",
        authenticated.zeros,
    ),
    _paired(
        "pair.no",
        "6",
        "A person's no ends pairing.",
        "No at the terminal, then a right PAIR_DONE: no PAIR_CONFIRM, no DF27.",
        authenticated.persons_no,
    ),
    _paired(
        "pair.done-without-yes",
        "6",
        "Keys are kept only when its own person has said yes.",
        "A right PAIR_DONE before that: no DF27.",
        authenticated.done_without_yes,
    ),
    _paired(
        "pair.wrong-done",
        "6",
        "Keys are kept only when the bridge's confirmation is right.",
        "A person's yes, a right PAIR_CONFIRM, a wrong PAIR_DONE: no DF27.",
        authenticated.wrong_done,
    ),
    _paired(
        "pair.time-over",
        "6",
        "120 s without PAIR_DONE end pairing.",
        "Pairing is opened; PAIR_OPEN after 121 s: no PAIR_KEY.",
        authenticated.time_over,
        slow=True,
    ),
    _paired(
        "pair.done",
        "6",
        "After PAIR_DONE it says HELLO with DF27 and DF25, and PING after the WELCOME.",
        "A whole pairing: yes at both ends.",
        authenticated.done,
    ),
    Rule(
        "session.coded",
        "6",
        "From the WELCOME on each message ends with DF26, which counts from 1, and a right DF7F.",
        "Watched: every message of a session.",
        watch.Coded,
        authenticated=True,
    ),
    _paired(
        "session.sale",
        "6",
        "A sale goes through with codes.",
        "TENDER, ACCEPTED, PROGRESS, OUTCOME, STORED.",
        authenticated.a_sale,
    ),
    _paired(
        "session.ping",
        "4.1, 6",
        "A terminal with keys says PING after every WELCOME.",
        "IDENTIFY, HELLO, WELCOME: PING.",
        authenticated.after_welcome,
    ),
    _paired(
        "session.same-nonce",
        "6",
        "DF25 is kept until a WELCOME for it is right, and is new after that.",
        "No WELCOME to a HELLO: the same bytes again; another HELLO after a WELCOME.",
        authenticated.same_nonce,
    ),
    _paired(
        "session.wrong-welcome",
        "6",
        "A WELCOME that is not right does not end the sending of HELLO.",
        "Wrong DF7F; DF7F over a HELLO with other formats; no code: HELLO each; a right one: none.",
        authenticated.wrong_welcome,
        slow=True,
    ),
    _paired(
        "session.without-code",
        "6",
        "What has no code is not taken, and makes it say HELLO.",
        "OUTCOME without DF26 and DF7F: no STORED, HELLO; the same with a code: STORED.",
        authenticated.without_code,
    ),
    _paired(
        "session.wrong-code",
        "6",
        "What has a wrong code is not taken, and makes it say HELLO.",
        "OUTCOME with a DF7F of zeros: no STORED, HELLO.",
        authenticated.wrong_code,
    ),
    _paired(
        "session.old-number",
        "6",
        "A message with a right code and an old number is dropped.",
        "The body of an OUTCOME again after another one: no STORED, no HELLO.",
        authenticated.old_number,
    ),
    _paired(
        "session.hello-rate",
        "6",
        "IDENTIFY, REFUSED 9 and wrong codes make it say HELLO at most every 5 s.",
        "Six IDENTIFYs in 3 s.",
        authenticated.at_most_every_5_s,
        slow=True,
    ),
    _paired(
        "session.meanwhile",
        "6",
        "Between HELLO and a right WELCOME all else but PAIR_* is acknowledged and dropped.",
        "OUTCOME with a code of the session before, and without one: no STORED.",
        authenticated.meanwhile,
    ),
    _paired(
        "session.refused-9",
        "6",
        "REFUSED 9 carries no code, and means: say HELLO.",
        "REFUSED 9 without a code: HELLO.",
        authenticated.refused_9_says_hello,
    ),
    _paired(
        "session.no-welcome",
        "6",
        "After a minute without a right WELCOME it shows that.",
        "No WELCOME for 61 s; somebody looks.",
        authenticated.no_welcome,
        slow=True,
    ),
    _paired(
        "session.keys-stay",
        "6",
        "Keys are removed only at its own menu.",
        "PAIR_OPEN, PAIR_DONE and REFUSED 9 without a pairing: the same DF27; then by the menu: none.",
        authenticated.not_by_line,
    ),
)
"""All rules, in the order in which they are gone through."""

BY_ID = {rule.id: rule for rule in RULES}


def of_dialect(name: str) -> tuple[Rule, ...]:
    """The rules that can be broken in that dialect."""
    return tuple(rule for rule in RULES if rule.dialect in (None, name))
