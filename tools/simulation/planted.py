"""Safety bugs, planted one by one in a copy of the code: does the simulation find each?

    tools/planted_bugs                 all of them; writes docs/planted-bugs.md
    tools/planted_bugs --only a-202    one

- A bug is a small change of text in one file; of two, where the code checks twice and either check is enough. It has to
  fit exactly once, so that a change of the code that makes it void is seen (tests/tools/simulation/test_planted.py).
- The copy is simulated as the code itself is, from a seed that was fixed beforehand, until something is found.
- A bug that is not found within TENDERS_MAX tenders is a hole in the simulation: exit status 1.
"""

# ruff: noqa: E501 - the longer lines are those of the files that they change

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

TENDERS_MAX = 20_000
SEED = 1
ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "planted-bugs.md"
COPIED = ("bridge", "drivers", "config", "tools")


Change: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Bug:
    """`before` becomes `after` in `file`; `rule` is what it breaks (reliability.md, section 3)."""

    name: str
    what: str
    rule: str
    file: str
    before: str
    after: str
    also: tuple[Change, ...] = ()
    """What guards the same, and has to go too."""

    def planted(self, root: Path) -> dict[str, str]:
        """The files with the bug in them, by name. ValueError where it does not fit exactly once."""
        files: dict[str, str] = {}
        for file, before, after in ((self.file, self.before, self.after), *self.also):
            text = files.get(file) or (root / file).read_text()
            if (count := text.count(before)) != 1:
                raise ValueError(
                    f"{self.name}: its place in {file} is there {count} times, not once"
                )
            files[file] = text.replace(before, after)
        return files


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one bug. `tenders` None: nothing was found."""

    bug: Bug
    tenders: int | None
    violation: str
    run: int


JOURNAL = "bridge/journal/journal.py"
ENGINE = "bridge/engine.py"
SALE = "bridge/sale.py"
BOOK = "bridge/book.py"
REVERSAL = "bridge/reversal.py"
REFUND = "bridge/refund.py"
CARRIER = "bridge/carrier.py"
TENDER = "bridge/tender.py"
CALLBACK = "bridge/partpay/callback.py"

BUGS = (
    # -- order of writing --------------------------------------------------------------------
    Bug(
        "commit-skipped", "every second batch is let out without its commit", "I-13 to I-15", JOURNAL,
        '        self._db.execute("BEGIN IMMEDIATE")\n\n    def commit(self) -> None:\n'
        '        """Durable when it returns."""\n        here(Point.BEFORE_COMMIT, None)\n'
        '        self._db.execute("COMMIT")\n',
        '        if not self._db.in_transaction:\n            self._db.execute("BEGIN IMMEDIATE")\n\n'
        '    def commit(self) -> None:\n        here(Point.BEFORE_COMMIT, None)\n'
        '        if self.last_event % 2:\n            self._db.execute("COMMIT")\n',
    ),
    Bug(
        "sync-dropped", "commits are not flushed to the disk", "I-13", JOURNAL,
        "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF",
    ),
    Bug(
        "failed-commit-ignored", "what a failed commit should have written is said", "I-16", ENGINE,
        "            self._lose_journal(error)\n            return self._cannot_write(events)\n        return effects",
        "            self._lose_journal(error)\n            return effects\n        return effects",
    ),
    Bug(
        "state-not-read-again", "after a failed write the books stay as they were decided", "I-16", ENGINE,
        "            self._books, self._board = before\n            self._lose_journal(error)",
        "            self._lose_journal(error)",
    ),
    Bug(
        "refused-though-written", "after a failed batch a known tender is told REFUSED 10", "I-16", ENGINE,
        "                elif (known := self._written(event, message.counter)) is None:",
        "                elif (known := self._written(lane, -1)) is None:",
    ),
    Bug(
        "event-without-row", "a change of a tender is an event, and its row stays as it was", "I-14", JOURNAL,
        "        if t is not None:\n            self._put(t, flat, seq)\n",
        "        if t is not None and name != \"status-answer\":\n            self._put(t, flat, seq)\n",
    ),
    Bug(
        "order-not-indexed", "the order id of an attempt is not written where callbacks look", "I-15", JOURNAL,
        '" SET order_id=excluded.order_id, order_number=excluded.order_number"',
        '" SET order_number=excluded.order_number"',
    ),
    Bug(
        "chain-broken", "an event's hash does not stand on the one before it", "I-28", JOURNAL,
        "        self.head = chain.link(self.head, seq,", "        self.head = chain.link(chain.START, seq,",
    ),
    Bug(
        "owed-not-stored", "what is owed is not in the stored form, and is forgotten by a restart", "I-6",
        "bridge/stored_form.py",
        'if f.name not in ("run", "number"))', 'if f.name not in ("run", "number", "owed"))',
    ),
    Bug(
        "sent-not-stored", "that a create went out is forgotten by a restart", "I-17", "bridge/stored_form.py",
        'if f.name not in ("run", "number"))', 'if f.name not in ("run", "number", "sent"))',
    ),
    Bug(
        "owed-not-live", "a stored tender that owes a reversal is not read at a start", "I-6", TENDER,
        "return not self.is_open and self.stored and self.reversal is not Owed.OWED",
        "return not self.is_open and self.stored",
    ),
    Bug(
        "unstored-not-live", "an outcome that is not stored is not read at a start", "I-19", TENDER,
        "return not self.is_open and self.stored and self.reversal is not Owed.OWED",
        "return not self.is_open and self.reversal is not Owed.OWED",
    ),
    # -- evidence ----------------------------------------------------------------------------
    Bug(
        "a-202", "a cancel that was taken is believed to be done", "I-12, O-5", SALE,
        "            a = a.again(Ask.CANCEL, c.now + CANCEL_AGAIN_S)\n",
        '            a = replace(a, told="cancelled").again(Ask.CANCEL, c.now + CANCEL_AGAIN_S)\n',
    ),
    Bug(
        "silence-is-dead", "a status call without an answer in closing counts as cancelled", "I-12", SALE,
        '    c.note("no-answer", f"{ask} of order {a.order_id}: {answer.why}", attention=False)\n',
        '    c.note("no-answer", f"{ask} of order {a.order_id}: {answer.why}", attention=False)\n'
        '    if t.state is State.CLOSING:\n        return replace(a, told="cancelled")\n',
    ),
    Bug(
        "a-404", "an order that PartPay does not know yet counts as dead", "O-11", SALE,
        "    if answer.not_found:\n", '    if answer.not_found and t.is_open:\n        return replace(a, told="expired")\n    if answer.not_found:\n',
    ),
    Bug(
        "word-trimmed", "a status word that is nearly one of PartPay's is taken for it", "I-12", SALE,
        "    status = status.lower() if status is not None and status.isascii() else status\n    if status not in FINAL:",
        "    status = status.strip().lower() if status is not None else status\n    if status not in FINAL:",
    ),
    Bug(
        "unknown-is-approved", "an unknown status word counts as approved", "I-12", SALE,
        '        if status not in (None, "pending"):\n',
        '        if status not in (None, "", "pending"):\n'
        '            a = replace(a, told="approved")\n'
        '        if status not in (None, "pending"):\n',
    ),
    Bug(
        "any-answer", "an answer about another order is evidence", "E1", SALE,
        '    """The first thing told that is not what was asked for, in words (architecture, E1)."""\n',
        '    """The first thing told that is not what was asked for, in words (architecture, E1)."""\n'
        "    if a.ordered_at is not None:\n        return None\n",
    ),
    Bug(
        "clock-says-expired", "the bridge's own clock ends an order, and nothing is owed", "O-10", SALE,
        "    if t.state is State.ORDERED:\n        return close_down(t, outcomes.EXPIRED, None, c)\n",
        "    if t.state is State.ORDERED:\n"
        '        return close(t.with_attempt(replace(a, told="expired")), outcomes.EXPIRED, None, c)\n',
    ),
    Bug(
        "found-is-ours", "an order that a 302 points at is believed to be ours", "O-6", SALE,
        "    if not a.uncertain or c.elsewhere(order_id):\n        return _not_ours(t, a, order_id, c)\n",
        "",
        also=((SALE, "        case Told() if (why := differs(", "        case Told() if not a.found and (why := differs("),),
    ),
    Bug(
        "found-not-asked", "an order found by 302 is polled before it is known whose it is", "O-6", TENDER,
        "        return self.found and self.told is None and self.signed is None",
        "        return False",
    ),
    Bug(
        "signer-not-checked", "a callback may be signed by any merchant's key", "E2", ENGINE,
        '        return (t.merchant if own else "") in callback.signers', "        return own is not None",
    ),
    Bug(
        "signature-not-checked", "a callback with any signature is taken", "I-23", CALLBACK,
        "    return frozenset(name for name, good in matches if good)",
        "    return frozenset(name for name, good in matches)",
    ),
    Bug(
        "mixed-callback", "a callback whose reference and order id are of two orders is taken", "E2", ENGINE,
        "            return by_order == by_reference", "            return by_order is not None",
    ),
    Bug(
        "callback-not-written", "200 to a callback that came again, without an event of it", "I-15", ENGINE,
        '            "gateway_reference": callback.gateway_reference,\n        }',
        '            "gateway_reference": callback.gateway_reference,\n        } if t is None or t.is_open else {}',
    ),
    Bug(
        "said-dead-is-dead", "a decline by callback alone leaves nothing owed", "O-4", SALE,
        "    said_dead = a.signed in DEAD and c.confirm is Confirm.OFF and a.told not in PAID",
        "    said_dead = a.signed in DEAD and a.told not in PAID",
    ),
    Bug(
        "stale-read", "a read that is behind takes back what a callback had said", "H5", SALE,
        '            a = replace(a, told="pending")', '            a = replace(a, told="pending", signed=None)',
    ),
    # -- orders ------------------------------------------------------------------------------
    Bug(
        "new-reference", "a create without an answer is sent again under a new reference", "O-6", SALE,
        "            return t.with_attempt(_perhaps(a, fingerprint, retry_after_s, c))",
        "            return _next_attempt(t.with_attempt(replace(a, void=True)), c)",
    ),
    Bug(
        "uncertain-forgotten", "after a kill a create that went out counts as never sent", "O-14", SALE,
        "replace(a, uncertain=a.uncertain or (a.sent and a.order_id is None and not a.void))",
        "replace(a, sent=a.uncertain)",
    ),
    Bug(
        "second-before-dead", "the next attempt begins before the order before it is dead", "I-3", SALE,
        "    a = t.attempt\n    if a.told in DEAD:\n        if a.signed",
        "    a = t.attempt\n    if a.dropped and t.state is State.ORDERED:\n"
        "        return _next_attempt(t.with_attempt(replace(a, void=True)), c)\n"
        "    if a.told in DEAD:\n        if a.signed",
    ),
    Bug(
        "not-sent-after-timeout", "a create that timed out counts as surely not sent", "H1",
        "bridge/partpay/answers.py",
        "        return Perhaps(got.why, None, got.retry_after_s)\n    status = got.status\n",
        "        return NotSent(got.why, got.retry_after_s)\n    status = got.status\n",
    ),
    Bug(
        "a-500-is-refused", "a 500 to a create counts as refused for good", "H2", "bridge/partpay/answers.py",
        "    if status in REFUSED_FOR_GOOD:\n        return _refused(got)\n    if status in NOT_ALLOWED:",
        "    if status in REFUSED_FOR_GOOD or status == 500:\n        return _refused(got)\n    if status in NOT_ALLOWED:",
    ),
    Bug(
        "cancel-wins", "CANCEL closes at once, and nothing is owed", "I-5", SALE,
        '    """CANCEL from the terminal."""\n',
        '    """CANCEL from the terminal."""\n'
        '    if t.state is State.ORDERED:\n'
        '        t = t.with_attempt(replace(t.attempt, told="cancelled"))\n'
        "        return close(t, outcomes.CANCELLED, t.attempt, c)\n",
    ),
    Bug(
        "approval-passed-over", "while closing an approval is passed over", "I-1, link 4.15", SALE,
        "    for a in t.attempts:\n        if a.told in PAID:\n            return close(t, outcomes.APPROVED, a, c)\n",
        "    for a in t.attempts:\n        if a.told in PAID and t.state is not State.CLOSING:\n"
        "            return close(t, outcomes.APPROVED, a, c)\n",
    ),
    Bug(
        "nothing-owed-without-id", "where the order's id is not known nothing is owed", "I-5", SALE,
        "    nothing_sent = a.order_id is None and not a.sent and not a.uncertain\n",
        "    nothing_sent = a.order_id is None\n",
    ),
    Bug(
        "late-approval-flips", "an approval after 17 makes it 00", "I-4, O-1", SALE,
        "    if paid and not a.refunded and a.owed is not Owed.OWED:\n",
        "    if paid and t.outcome.code == outcomes.CANCELLED:\n"
        "        return replace(t, outcome=replace(t.outcome, code=outcomes.APPROVED))\n"
        "    if paid and not a.refunded and a.owed is not Owed.OWED:\n",
    ),
    Bug(
        "code-while-closing", "after WELCOME the code is shown again though the order is closing", "I-7", BOOK,
        "    if page.book.lane is None or t.state is not State.ORDERED or a.payload is None or a.dropped:",
        "    if page.book.lane is None or a.payload is None or a.dropped:",
    ),
    # -- reversals ---------------------------------------------------------------------------
    Bug(
        "reversal-given-up", "a reversal is given up after six tries", "I-6", REVERSAL,
        "    before = len(c.wanted)\n    if a.told in PAID:",
        "    if a.owed_tries > ALERT_TRIES:\n        return replace(a, owed=Owed.ABANDONED)\n"
        "    before = len(c.wanted)\n    if a.told in PAID:",
    ),
    Bug(
        "reversal-by-cancel-alone", "a reversal is done when its cancel was sent", "I-6", REVERSAL,
        "        a = _when_due(a, Ask.CANCEL, c)\n        if a.tries(Ask.CANCEL):\n",
        "        a = _when_due(a, Ask.CANCEL, c)\n        if a.tries(Ask.CANCEL) > 1:\n"
        "            return replace(a, owed=Owed.DONE)\n        if a.tries(Ask.CANCEL):\n",
    ),
    Bug(
        "reversal-believes-callback", "a signed decline ends a reversal", "I-6, O-4", REVERSAL,
        "    disputed = a.signed in PAID and a.told in DEAD\n    if a.void",
        "    disputed = a.signed in PAID and a.told in DEAD\n    if a.signed in DEAD:\n"
        "        return replace(a, owed=Owed.DONE)\n    if a.void",
    ),
    Bug(
        "reversal-refund-unanswered", "a refund without an answer counts as done", "I-6", REVERSAL,
        "        case NotSent(why=why) | Perhaps(why=why):\n",
        "        case Perhaps():\n            return t.with_attempt(replace(a, owed=Owed.DONE, refunded=True))\n"
        "        case NotSent(why=why):\n",
    ),
    Bug(
        "reversal-never-refunds", "a reversal of what was paid counts as done without a refund", "I-2", REVERSAL,
        "    if a.told in PAID:\n        a = _when_due(a, Ask.REFUND, c)\n",
        "    if a.told in PAID:\n        return replace(a, owed=Owed.DONE)\n",
    ),
    Bug(
        "booked-reversed", "the order that was booked is owed a reversal too", "O-19", SALE,
        "        a if code == outcomes.APPROVED and by is not None and a.number == by.number else _owe(a, c)\n",
        "        _owe(a, c)\n",
    ),
    Bug(
        "reversal-in-part", "a reversal gives back one cent less", "O-1", CARRIER,
        "            own = t.kind is Kind.REFUND\n            return orders.refund(\n                merchant,\n"
        "                terminal_id=terminal_id,\n                order_id=a.order_id or \"\",\n"
        "                amount_minor=t.amount_minor,",
        "            own = t.kind is Kind.REFUND\n            return orders.refund(\n                merchant,\n"
        "                terminal_id=terminal_id,\n                order_id=a.order_id or \"\",\n"
        "                amount_minor=max(1, t.amount_minor - 1) if not own else t.amount_minor,",
    ),
    # -- refunds -----------------------------------------------------------------------------
    Bug(
        "refund-twice", "each try of a refund has a reference of its own", "O-17", CARRIER,
        "refund_reference=refund_reference_of(a) if own else refund_reference(a),",
        "refund_reference=refund_reference_of(a)[:-1] + str(a.tries(Ask.REFUND) % 10)"
        " if own else refund_reference(a),",
    ),
    Bug(
        "refund-91-after-sent", "91 is told for a refund that may have been sent", "O-17", REFUND,
        "    if not a.sent and c.now >= t.deadline:", "    if c.now >= t.deadline:",
    ),
    Bug(
        "refund-unanswered-is-no", "a refund without an answer is told as declined", "O-17", REFUND,
        "            return t.with_attempt(replace(_later(a, retry_after_s, c), uncertain=True))",
        "            return close(t, outcomes.DECLINED, c)",
    ),
    Bug(
        "open-refunds-not-counted", "refunds that are open do not count against the limit", "REFUND", JOURNAL,
        "\" AND (code IS NULL OR code='00')\"", "\" AND code='00'\"",
    ),
    Bug(
        "refund-of-anything", "a refund may be of what was not approved", "REFUND", BOOK,
        "        or original.outcome.code != outcomes.APPROVED\n    ):\n        reason = Reason.NO_SUCH_TRANSACTION\n",
        "    ):\n        reason = Reason.NO_SUCH_TRANSACTION\n",
    ),
    # -- terminals ---------------------------------------------------------------------------
    Bug(
        "other-content-same", "the same counter with another amount is the same tender", "I-9", BOOK,
        "        and (known.amount_minor, known.currency) == (message.amount_minor, message.currency)\n", "",
    ),
    Bug(
        "stored-is-repeated", "a stored tender that comes again is answered by its outcome", "I-10", BOOK,
        "    if known.stored:\n        return False\n", "",
    ),
    Bug(
        "other-content-unwritable", "the same, while the journal cannot be written", "I-9", ENGINE,
        "                elif books.is_repeat(known, message):", "                elif known:",
    ),
    Bug(
        "two-open", "a second TENDER is taken while one is open", "link 4.7", BOOK,
        "    elif book.open_tender is not None:\n        reason = Reason.BUSY\n", "",
    ),
    Bug(
        "stored-any-code", "STORED with another code is taken", "I-19", BOOK,
        "    elif message.response_code != t.outcome.code:\n", "    elif message.response_code == \"99\":\n",
    ),
    Bug(
        "any-currency", "another currency is taken", "link 4.9", BOOK,
        "    elif message.amount_minor == 0 or message.currency != currency:", "    elif message.amount_minor == 0:",
    ),
    Bug(
        "any-merchant", "a merchant that is not this terminal's is taken", "I-18", BOOK,
        "    elif merchant not in book.pairing.merchants or merchant not in usable:",
        "    elif merchant not in usable and merchant in book.pairing.merchants:",
    ),
    Bug(
        "wrong-merchant", "the order is made for the pairing's first merchant", "I-18", BOOK,
        "        merchant=merchant,\n        amount_minor=message.amount_minor,\n        currency=message.currency,",
        "        merchant=book.pairing.merchants[0],\n        amount_minor=message.amount_minor,\n"
        "        currency=message.currency,",
    ),
    Bug(
        "amount-rounded", "the order is made for whole dollars", "I-8", CARRIER,
        "                terminal_id=terminal_id,\n                amount_minor=t.amount_minor,\n"
        "                merchant_reference=a.merchant_reference,",
        "                terminal_id=terminal_id,\n"
        "                amount_minor=t.amount_minor // 100 * 100 or t.amount_minor,\n"
        "                merchant_reference=a.merchant_reference,",
    ),
    Bug(
        "outcome-once", "an outcome is said once, and not until STORED", "I-19", BOOK,
        "        if telling.outcome_at is None or c.now >= telling.outcome_at:\n", "        if telling.outcome_at is None:\n",
    ),
    Bug(
        "outcome-by-present", "an outcome says the order of the latest attempt", "I-4", BOOK,
        "            order_id=t.outcome.order_id and fit_text(t.outcome.order_id, 36),\n", "            order_id=t.attempt.order_id,\n",
    ),
    Bug(
        "counter-of-all", "WELCOME tells the highest counter of all terminals", "link 4.4", JOURNAL,
        '            "SELECT max(counter) FROM tenders WHERE pairing=?", (pairing,)',
        '            "SELECT max(counter) FROM tenders WHERE pairing=pairing OR ?", (pairing,)',
    ),
    Bug(
        "deadline-of-another-boot", "deadlines of the boot before are believed", "O-13", SALE,
        "    if t.boot == c.boot or not t.is_open:\n        return t\n    span = {",
        "    if t.boot or not t.is_open:\n        return t\n    span = {",
    ),
    # -- the link ----------------------------------------------------------------------------
    Bug(
        "crc-not-checked", "a frame with a wrong CRC is taken", "I-18", "drivers/link/framing/dle_crc16.py",
        "fault = body_fault(body) if crc == expected else", "fault = body_fault(body) if crc >= 0 else",
    ),
    Bug(
        "text-check-skipped", "in text, DF7E is not checked", "I-18", "drivers/link/encoding/fs.py",
        "    if not body.endswith(_check(text)):\n", "    if not text:\n",
    ),
    Bug(
        "to-whoever-is-there", "what is for a terminal is said to whoever is on its line", "I-18",
        "bridge/lane.py",
        "        return self._stage is Stage.WELCOMED and named in (None, greeting.hello.terminal_id)",
        "        return self._stage is Stage.WELCOMED and named != \"\"",
        also=((ENGINE, "            if book.lane == lane and other != pairing:\n", "            if book.lane == \"\":\n"),),
    ),
    Bug(
        "code-not-checked", "on an authenticated link a message without a right code is taken", "link 6",
        "drivers/link/authentication.py",
        "            return Verdict.NOT_AUTHENTIC\n", "            return Verdict.TAKEN\n",
    ),
)  # fmt: skip


def main() -> int:
    """0: all were found. 1: some were not. 2: one of them fits nowhere."""
    parser = argparse.ArgumentParser(prog="tools/planted_bugs", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--jobs", type=int, default=2, metavar="J")
    add("--tenders", type=int, default=TENDERS_MAX, metavar="N", help="for each bug, at most")
    add("--seed", type=int, default=SEED, metavar="S")
    add("--only", default="", metavar="A,B", help="these alone; the table is not written")
    options = parser.parse_args()
    wanted = set(options.only.split(",")) - {""}
    bugs = [bug for bug in BUGS if not wanted or bug.name in wanted]
    try:
        for bug in bugs:
            bug.planted(ROOT)
    except ValueError as misfit:
        print(f"{misfit}: bring it up to date in tools/simulation/planted.py", file=sys.stderr)
        return 2
    found = []
    for bug in bugs:
        found.append(try_one(bug, options.tenders, options.jobs, options.seed))
        last = found[-1]
        said = (
            f"{last.tenders:,} tenders: {last.violation}"
            if last.tenders is not None
            else "NOT FOUND"
        )
        print(f"{bug.name:28} {said}", flush=True)
    if not wanted:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table(found, options.seed))
    missed = [each.bug.name for each in found if each.tenders is None]
    print(f"{len(found) - len(missed)} of {len(found)} found")
    return 1 if missed else 0


def try_one(bug: Bug, tenders: int, jobs: int, seed: int) -> Found:
    """Plants it in a copy, and simulates that until something is found."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder)
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__", "lock")
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        for name, text in bug.planted(copy).items():
            (copy / name).write_text(text)
        figures = copy / "figures.json"
        command = (
            *(sys.executable, "-m", "tools.simulation", "--seed", str(seed)),
            *("--tenders", str(tenders), "--jobs", str(jobs), "--json", str(figures), "--brief"),
        )
        env = {**os.environ, "PYTHONPATH": str(copy)}
        ended = subprocess.run(
            command, cwd=copy, env=env, capture_output=True, text=True, check=False
        )
        if not figures.exists():
            raise RuntimeError(f"{bug.name}: the simulation did not run: {ended.stderr[-2000:]}")
        told = json.loads(figures.read_text())
    violations = told["violations"]
    if not violations:
        return Found(bug, None, "", told["tenders"])
    return Found(bug, told["tenders"], violations[0]["name"], told["tenders"])


def table(found: list[Found], seed: int) -> str:
    """`docs/planted-bugs.md`."""
    rows = [
        f"| `{each.bug.name}` | {each.bug.what} | {each.bug.rule} | `{each.bug.file}` | "
        + (
            f"{each.tenders:,} | {each.violation} |"
            if each.tenders is not None
            else f"not in {each.run:,} | |"
        )
        for each in found
    ]
    counts = sorted(each.tenders for each in found if each.tenders is not None)
    middle = counts[len(counts) // 2] if counts else 0
    return "\n".join(
        (
            "# Planted bugs",
            "",
            "Safety bugs that were planted one by one in a copy of the code, to see whether the fault "
            "simulation finds them. The simulation runs from a fixed seed until something is wrong; the number "
            "says how many simulated tenders that took. This page is written by `tools/planted_bugs`.",
            "",
            f"{len(counts)} of {len(found)} were found, within {TENDERS_MAX:,} tenders each "
            f"(seed {seed}); half of them within {middle:,}.",
            "",
            "| bug | what is wrong | what it breaks | where | tenders | found as |",
            "| --- | --- | --- | --- | ---: | --- |",
            *rows,
            "",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
