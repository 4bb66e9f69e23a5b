"""What may never happen, and what must have happened in the end.

The judges are PartPay's own books, the terminals' own storage, and the rows of the journal's file as they are
committed. Nothing of bridge/ is asked or imported: what the bridge says is looked at as it leaves.

- `effect` looks at everything that is let out: is it written (I-13 to I-16), and is it true (I-1, I-4, I-5, I-7)?
- `order_made`, `refunded`, … look at what arrives at PartPay (I-3, I-8, I-9, O-1).
- `settled` judges the whole world when all is quiet (I-2, I-3, I-22), `journal` the journal itself (I-28).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.simulation.partpay import FOREIGN, order_of_payload

if TYPE_CHECKING:
    from drivers.link import messages as link
    from tools.sandbox.books import Order, Refund
    from tools.simulation.callbacks import Letter
    from tools.simulation.partpay import Call
    from tools.simulation.world import World
    from tools.terminal.actions import Closed
    from tools.terminal.storage import Kept, KeptOutcome

ROW = (
    "SELECT kind,amount_minor,state,code,stored,reversal,order_id,gateway_reference,merchant,original_counter"
    " FROM tenders WHERE pairing=? AND counter=?"
)


NZD = 554


class Violation(Exception):  # noqa: N818 - what was found
    """Something happened that may never happen."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


@dataclass(frozen=True, slots=True)
class Row:
    """A tender as it is committed."""

    kind: str
    amount_minor: int
    state: str
    code: str | None
    stored: int
    reversal: str
    order_id: str | None
    gateway_reference: str
    merchant: str
    original_counter: int | None


class Oracles:
    """The judges of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.contents: dict[tuple[str, int], list[Any]] = defaultdict(list)
        """TENDER and REFUND, as they were ever said, by terminal and counter."""
        self.told: dict[tuple[str, int], tuple[str, int, str | None]] = {}
        """Code, amount and order of the outcome that left for the terminal first."""
        self.kept: dict[tuple[str, int], set[str]] = defaultdict(set)
        """Codes that came to stand in the terminal's storage."""
        self.seen: set[str] = set()
        """Orders whose code stood on a panel."""
        self.abandoned: set[str] = set()
        self.told_at: dict[tuple[str, int], float] = {}
        self.begun_at: dict[tuple[str, int], float] = {}
        self.said_again: set[tuple[str, int]] = set()
        """Of these the batch that is let out has two TENDER or REFUND: one refused, perhaps, the next one taken."""
        self.disputed: set[str] = set()
        """Order ids of which a signed callback has said that they are not paid."""
        self.approved_open: set[tuple[str, int]] = set()
        """Tenders that were open when a signed callback, answered 200, said undisputed that they are approved."""
        self.lost: set[tuple[str, int]] = set()
        """Tenders from before the journal was restored from a copy: what became of them is for people."""

    def require(self, holds: bool, name: str, text: str) -> None:
        """Raises Violation where it does not hold."""
        if not holds:
            raise Violation(name, text)

    # -- the journal's file ------------------------------------------------------------------

    def row(self, terminal_id: str, counter: int) -> Row | None:
        """What is committed of this tender."""
        disk = self._world.machine.disk
        self.require(not disk.in_transaction, "said-before-commit", f"{terminal_id} {counter}")
        found = disk.execute(ROW, (self._world.number_of[terminal_id], counter)).fetchone()
        return None if found is None else Row(*found)

    def _attempt(self, gateway_reference: str) -> tuple[str, int, str | None] | None:
        """(terminal, counter, order id) of this reference, as committed."""
        disk = self._world.machine.disk
        self.require(not disk.in_transaction, "said-before-commit", gateway_reference)
        found = disk.execute(
            "SELECT pairing, counter, order_id FROM attempts WHERE gateway_reference=?",
            (gateway_reference,),
        ).fetchone()
        return found and (self._world.terminal_of[found[0]], found[1], found[2])

    # -- what is said to terminals -----------------------------------------------------------

    def keyed(self, message: link.Tender | link.Refund) -> None:
        """A terminal says this content under this counter."""
        key = (message.terminal_id, message.counter)
        if message not in self.contents[key]:
            self.contents[key].append(message)
        self.begun_at.setdefault(key, self._world.schedule.now)

    def content_of(self, terminal_id: str, counter: int) -> Any:
        """What was said first under this counter."""
        said = self.contents.get((terminal_id, counter))
        return said[0] if said else None

    def is_same_sale(self, terminal_id: str, counter: int) -> bool:
        """What a person sees who compares the till's sale with what the bridge has by that counter."""
        till = self._world.till_of[terminal_id]
        tender = None if till.terminal is None else till.terminal.tender
        row = self.row(terminal_id, counter)
        if tender is None or row is None or len(self.contents[terminal_id, counter]) > 1:
            return False
        return tender.amount_minor == row.amount_minor

    def accepted(self, lane: str, message: link.Accepted) -> None:
        """I-13, I-8: written before, and with the amount that was keyed."""
        if (message.terminal_id, message.counter) in self.lost:
            return
        row = self._written(message.terminal_id, message.counter, "accepted")
        self.require(
            message.amount_minor == row.amount_minor
            and any(
                said.amount_minor == message.amount_minor
                for said in self.contents[message.terminal_id, message.counter]
            ),
            "other-amount",
            f"{lane}: ACCEPTED for {message.amount_minor}",
        )
        self._limits((message.terminal_id, message.counter), row, message.currency)

    def _limits(self, key: tuple[str, int], row: Row, currency: int) -> None:
        """What may be taken at all: amount, currency, merchant, one open tender, refunds in their limits."""
        world = self._world
        pairing = world.pairing_of(key[0])
        self.require(
            row.amount_minor > 0 and currency == NZD, "limits", f"{key}: {row}, {currency}"
        )
        disk, number = world.machine.disk, world.number_of[key[0]]
        if row.kind == "refund":
            asked, original = disk.execute(
                "SELECT total(r.amount_minor), o.amount_minor FROM tenders r JOIN tenders o"
                " ON o.pairing=r.pairing AND o.counter=r.original_counter WHERE r.pairing=?"
                " AND r.original_counter=? AND (r.code IS NULL OR r.code='00')",
                (number, row.original_counter),
            ).fetchone()
            # None: those that were taken have failed since, in the batch that says ACCEPTED once more.
            self.require(
                original is None or asked <= original,
                "limits",
                f"{key}: refunds of {asked} in all, of {original}",
            )
            return
        tenders = [said for said in self.contents[key] if hasattr(said, "merchant")]
        wanted = {said.merchant or pairing.merchants[0] for said in tenders}
        self.require(
            row.merchant in pairing.merchants and row.merchant in wanted,
            "limits",
            f"{key}: for {row.merchant}, keyed for {wanted}, allowed {pairing.merchants}",
        )
        count = disk.execute(
            "SELECT count(*) FROM tenders WHERE pairing=? AND kind='tender' AND code IS NULL",
            (number,),
        ).fetchone()[0]
        self.require(count <= 1, "limits", f"{key}: {count} open tenders at one terminal")

    def repeated(self, message: link.Tender | link.Refund) -> str:
        """What this message is to what is written: "" new, "same", "stored", or "other" content."""
        found = self._world.machine.disk.execute(
            "SELECT stored, kind, amount_minor, form FROM tenders WHERE pairing=? AND counter=?",
            (self._world.number_of[message.terminal_id], message.counter),
        ).fetchone()
        if found is None:
            return ""
        stored, kind, amount_minor, form = found
        if stored:
            return "stored"
        flat = json.loads(form)
        if hasattr(message, "original_counter"):
            same = kind == "refund" and flat.get("original_counter") == message.original_counter
        else:
            told = (flat.get("reference"), flat.get("asked_merchant"), flat["currency"])
            said = (message.reference, message.merchant, message.currency)
            same = kind == "tender" and told == said
        return "same" if same and amount_minor == message.amount_minor else "other"

    def stored(self, terminal_id: str, counter: int) -> None:
        """I-19: STORED is believed only where the terminal does keep this code."""
        if (terminal_id, counter) in self.lost:
            return
        row = self.row(terminal_id, counter)
        if row is not None and row.stored:
            self.require(
                self.kept.get((terminal_id, counter)) == {row.code},
                "not-stored",
                f"{terminal_id} {counter}: taken for stored as {row.code},"
                f" kept {self.kept.get((terminal_id, counter))}",
            )

    def said_on(self, lane: str, message: Any, terminal_id: str | None) -> None:
        """I-18: what names a terminal is said to that terminal alone."""
        named = getattr(message, "terminal_id", None)
        self.require(
            named in (None, terminal_id) or message.type_name == "REFUSED",
            "isolation",
            f"{lane}: {message} said to {terminal_id}",
        )

    def durable(self, asked: list[str]) -> None:
        """The journal asks for what it promises: every commit flushed. `asked`: its own PRAGMAs."""
        self.require(
            any(one.replace(" ", "").lower().endswith("synchronous=full") for one in asked)
            and any(one.replace(" ", "").lower().endswith("journal_mode=wal") for one in asked),
            "not-durable",
            f"the journal was opened with {asked}",
        )

    def _written(self, terminal_id: str, counter: int, what: str) -> Row:
        row = self.row(terminal_id, counter)
        if row is None:
            raise Violation("not-written", f"{what} for {terminal_id} {counter}, which no row has")
        return row

    def progress(self, message: link.Progress) -> None:
        """PROGRESS is for what is open."""
        if (message.terminal_id, message.counter) in self.lost:
            return
        row = self._written(message.terminal_id, message.counter, "PROGRESS")
        self.require(
            row.amount_minor == message.amount_minor, "other-amount", f"PROGRESS {message}"
        )

    def outcome(self, message: link.Outcome, now: float) -> None:
        """I-1, I-4, I-5, I-15: written, never another, true, and nothing owed is forgotten.

        `now`: the bridge's boot clock.
        """
        if (message.terminal_id, message.counter) in self.lost:
            return
        key = (message.terminal_id, message.counter)
        row = self._written(*key, "OUTCOME")
        code = message.response_code
        self.require(
            row.code == code, "not-written", f"OUTCOME {code} of {key}, written {row.code}"
        )
        self.require(
            row.amount_minor == message.amount_minor, "other-amount", f"OUTCOME {code} of {key}"
        )
        told = (code, message.amount_minor, message.order_id)
        first = self.told.setdefault(key, told)
        self.told_at.setdefault(key, self._world.schedule.now)
        self.require(first == told, "outcome-changed", f"{key}: told {first}, now {told}")
        if code != "00" and row.kind == "tender" and first is told:
            self._no_approval_known(key, now)
            # E2: believed as it is, but where PartPay's own word on it is required.
            self.require(
                key not in self.approved_open or self._world.confirm.value == "require",
                "approval-ignored",
                f"{key}: {code}, though a signed approval had been taken",
            )
        if row.kind == "refund":
            self._refund_outcome(key, row)
        elif code == "00":
            self._approved(key, row, message.order_id)
        else:
            self.owed(key, row)

    def _no_approval_known(self, key: tuple[str, int], now: float) -> None:
        """A tender that is closed just now, and not by 00: PartPay had not told that it is paid."""
        form = self._world.machine.disk.execute(
            "SELECT form FROM tenders WHERE pairing=? AND counter=?",
            (self._world.number_of[key[0]], key[1]),
        ).fetchone()[0]
        flat = json.loads(form)
        told = {value for name, value in flat.items() if name.endswith(".told")}
        self.require(
            flat.get("closed_at") != now or not told & {"approved", "complete"},
            "approval-ignored",
            f"{key}: {flat['outcome.code']}, though PartPay had told {told}",
        )

    def _approved(self, key: tuple[str, int], row: Row, order_id: str | None) -> None:
        order = order_id and self._world.partpay.order(order_id)
        if not order:
            raise Violation("false-approval", f"{key}: 00 for order {order_id}, which is not there")
        self.require(
            order.status.paid
            and order.amount_minor == row.amount_minor
            and order.merchant_id == row.merchant
            and tender_of(order.gateway_reference) == key,
            "false-approval",
            f"{key}: 00 for {order}",
        )

    def _refund_outcome(self, key: tuple[str, int], row: Row) -> None:
        order = row.order_id and self._world.partpay.order(row.order_id)
        if not order:
            raise Violation("false-refund", f"{key}: of order {row.order_id}, which is not there")
        done = [r for r in order.refunds if r.reference == row.gateway_reference]
        self.require(
            (row.code == "00") == bool(done),
            "false-refund",
            f"{key}: {row.code}, and PartPay's books have {done}",
        )

    def owed(self, key: tuple[str, int], row: Row) -> None:
        """I-5, I-6: what may still be paid, or is, and is not booked, is owed a reversal."""
        if key in self.lost:
            return
        if row.reversal in ("owed", "abandoned"):
            return
        orders = self._world.partpay.orders(*key)
        for order in orders:
            booked = row.code == "00" and order.order_id == row.order_id
            self.require(
                booked or (order.status.final and order.kept_minor == 0),
                "nothing-owed",
                f"{key}: outcome {row.code}, nothing is owed, and PartPay has {order}",
            )
        may_be_made = any(map(self._world.partpay.may_make, self._world.network.under_way[key]))
        self.require(
            row.code == "00" or not may_be_made or bool(orders),
            "nothing-owed",
            f"{key}: outcome {row.code}, nothing is owed, and a create is still on its way",
        )

    def refused(self, message: link.Refused) -> None:
        """I-9, I-13: REFUSED leaves no row; reason 3 is for a counter that has one."""
        type_code = message.refused[0]
        if type_code not in (0x10, 0x13) or message.terminal_id is None or message.counter is None:
            return
        kind = "tender" if type_code == 0x10 else "refund"
        key = (message.terminal_id, message.counter)
        if key in self.lost:
            return
        if message.reason in (4, 5, 7, 8, 10):
            row = self.row(message.terminal_id, message.counter)
            if row is not None and (row.kind != kind or key in self.said_again):
                return  # what came right after it under the same counter
            self.require(
                row is None
                or (message.reason == 10 and (bool(row.stored) or self._world.machine.disk_lied)),
                "refused-and-written",
                f"{message.terminal_id} {message.counter}: REFUSED {message.reason}, written {row}",
            )
        elif message.reason == 3:
            self._written(message.terminal_id, message.counter, "REFUSED 3")

    def welcome(self, terminal_id: str, message: link.Welcome) -> None:
        """The highest counter written, and this journal's name."""
        if not message.paired:
            return
        disk = self._world.machine.disk
        self.require(not disk.in_transaction, "said-before-commit", "WELCOME")
        highest = disk.execute(
            "SELECT max(counter) FROM tenders WHERE pairing=?",
            (self._world.number_of[terminal_id],),
        ).fetchone()[0]
        self.require(
            highest == message.counter,
            "wrong-welcome",
            f"{terminal_id}: WELCOME with {message.counter}, the highest is {highest}",
        )

    def code_sent(self, lane: str, accepted: link.Accepted, payload: str, *, cleared: bool) -> None:
        """I-7: an order of this tender, written, open; no other order of it alive.

        `cleared`: the same batch takes the picture away again.
        """
        if (accepted.terminal_id, accepted.counter) in self.lost:
            return
        key = (accepted.terminal_id, accepted.counter)
        row = self._written(*key, "image")
        self.require(
            row.state == "ordered" or cleared, "code-of-closed", f"{key}: a code while {row.state}"
        )
        order_id = order_of_payload(payload)
        disk = self._world.machine.disk
        found = disk.execute(
            "SELECT counter FROM attempts WHERE order_id=? AND pairing=?",
            (order_id, self._world.number_of[key[0]]),
        ).fetchone()
        self.require(
            found is not None and found[0] == key[1],
            "not-written",
            f"{key}: a code for order {order_id}, which no row has",
        )
        for order in self._world.partpay.orders(*key):
            self.require(
                order.order_id == order_id or order.status.final,
                "two-live-orders",
                f"{key}: a code for {order_id} while {order} lives",
            )

    def shown(self, terminal_id: str, counter: int | None, order_id: str) -> None:
        """A code stands on a panel: it is this terminal's own order."""
        if (terminal_id, counter) in self.lost:
            return
        self.seen.add(order_id)
        order = self._world.partpay.order(order_id)
        if order is None:
            raise Violation(
                "isolation", f"{terminal_id} shows order {order_id}, which is not there"
            )
        self.require(
            tender_of(order.gateway_reference) == (terminal_id, counter),
            "isolation",
            f"{terminal_id} shows {order} for {counter}",
        )

    # -- what the terminals know -------------------------------------------------------------

    def outcome_kept(self, terminal_id: str, outcome: KeptOutcome) -> None:
        """I-4: the terminal sees one outcome for one counter."""
        if (terminal_id, outcome.counter) in self.lost:
            return
        key = (terminal_id, outcome.counter)
        codes = self.kept[key]
        codes.add(outcome.response_code)
        self.require(len(codes) == 1, "two-outcomes", f"{key}: the terminal has kept {codes}")
        told = self.told.get(key)
        self.require(
            told is not None and told[0] == outcome.response_code,
            "two-outcomes",
            f"{key}: kept {outcome.response_code}, told {told}",
        )

    def forgot(self, terminal_id: str, kept: Kept) -> None:
        """The terminal's storage is lost."""

    def till_closed(self, terminal_id: str, how: Closed) -> None:
        """A sale ended at the till: approved there only with money in PartPay's books."""
        if (terminal_id, how.counter) in self.lost:
            return
        key = (terminal_id, how.counter)
        if how.ending.value == "approved":
            told = self.told.get(key)
            self.require(
                told is not None and told[0] == "00" and told[1] == how.amount_minor,
                "false-approval",
                f"{key} is booked at the till for {how.amount_minor}, told {told}",
            )

    # -- what arrives at PartPay -------------------------------------------------------------

    def asks(self, call: Call, key: tuple[str, int]) -> None:
        """I-14: what is asked of PartPay was written first. Looked at as it leaves the engine."""
        if key in self.lost:
            return
        row = self._written(*key, call.kind)
        self.require(
            call.merchant == row.merchant, "isolation", f"{key}: {call} for {row.merchant}"
        )
        if call.kind == "create":
            found = self._attempt(call.gateway_reference)
            self.require(
                found is not None and found[:2] == key,
                "not-written",
                f"{key}: create under {call.gateway_reference}, which no row has",
            )
            return
        orders = self._world.machine.disk.execute(
            "SELECT order_id FROM attempts WHERE pairing=? AND counter=?",
            (self._world.number_of[key[0]], row.original_counter or key[1]),
        ).fetchall()
        self.require(
            (call.order_id,) in orders,
            "not-written",
            f"{key}: {call.kind} of {call.order_id}, which no row has",
        )
        if call.kind == "cancel":
            # What was decided first in a batch goes out, though an answer later in it has settled the matter.
            settled_since = (self._world.number_of[key[0]], key[1]) in self._world.machine.answered
            self.require(
                row.reversal == "owed" or key not in self.told or settled_since,
                "cancel-of-closed",
                f"{key}: {row}",
            )
        elif call.kind == "refund" and row.kind == "tender":
            self.require(
                row.reversal == "owed"
                and not (row.code == "00" and row.order_id == call.order_id)
                and call.refund_reference.endswith("-V"),
                "booked-refunded",
                f"{key}: reversal of {call.order_id}, but {row}",
            )
        elif call.kind == "refund":
            self.require(
                call.refund_reference == row.gateway_reference, "not-written", f"{key}: {call}"
            )

    def order_made(self, key: tuple[str, int], order: Order) -> None:
        """I-3, I-8: for a tender that is written, with its amount, and the only one alive."""
        if key in self.lost:
            return
        said = self.contents.get(key, ())
        self.require(
            any(s.amount_minor == order.amount_minor for s in said),
            "other-amount",
            f"{key}: {order}, keyed {said}",
        )
        for other in self._world.partpay.orders(*key):
            self.require(
                other.status.final,
                "two-live-orders",
                f"{key}: {order} is made while {other} lives",
            )

    def order_closed(self, order: Order) -> None:
        """An order is final now."""
        if order.status.paid:
            told = self.told.get(tender_of(order.gateway_reference))
            if told is not None and told[0] != "00":
                self._world.happened(f"approved after the terminal was told {told[0]}")

    def cancel_came(self, order: Order | None, call: Call) -> None:
        """A cancel is of an order of ours."""
        self.require(
            order is not None and not order.gateway_reference.startswith(FOREIGN),
            "foreign-cancelled",
            f"{call}: {order}",
        )

    def refunded(self, order: Order, refund: Refund) -> None:
        """O-1, O-19: a reversal is in full, and never of what was booked; a refund as it was keyed."""
        key = tender_of(order.gateway_reference)
        if key in self.lost:
            return
        if refund.reference.endswith("-V"):
            self.require(
                refund.amount_minor == order.amount_minor,
                "other-amount",
                f"{key}: reversal of {refund.amount_minor}, of {order}",
            )
            told = self.told.get(key)
            self.require(
                told is None or told[0] != "00" or told[2] != order.order_id,
                "booked-refunded",
                f"{key} was told 00, and {order} is refunded",
            )
            return
        terminal_id, counter = refund_of(refund.reference)
        said = self.contents.get((terminal_id, counter), ())
        self.require(
            any(
                s.amount_minor == refund.amount_minor
                and getattr(s, "original_counter", None) == key[1]
                and terminal_id == key[0]
                for s in said
            ),
            "other-amount",
            f"{order} is refunded {refund}, keyed {said}",
        )

    def callback_came(self, letter: Letter) -> None:
        """Whatever it is answered, it may be written, and a first word that is no approval counts (O-4)."""
        if letter.genuine and letter.status in ("declined", "cancelled", "expired"):
            self.disputed.add(letter.order_id)

    def callback_answered(self, letter: Letter, status: int) -> None:
        """I-23: what is forged is never taken; what disagrees is 404."""
        if not letter.genuine:
            # 404: signed by a key of ours, for an order that the restored copy does not know.
            unknown = status == 404 and tender_of(letter.reference) in self.lost
            self.require(
                status in (400, 401, 503) or unknown,
                "forged-taken",
                f"{status} for a forgery: {letter}",
            )
        elif letter.mixed:
            self.require(status in (404, 503), "mixed-taken", f"{status} for {letter}")
        elif status == 200:
            found = self._world.machine.disk.execute(
                "SELECT 1 FROM events WHERE name='callback' AND instr(data, ?) AND instr(data, ?)",
                (letter.reference, json.dumps(letter.status, ensure_ascii=False)),
            ).fetchone()
            self.require(found is not None, "not-written", f"200 for {letter}, and no event of it")
            self._signed(letter)
        else:
            self.require(
                status in (404, 503) or self._world.callback_keys_changed,
                "callback-refused",
                f"{status} for {letter}",
            )

    def _signed(self, letter: Letter) -> None:
        key = tender_of(letter.reference)
        agreed = letter.status in ("approved", "complete") and letter.order_id not in self.disputed
        if agreed and key not in self.lost:
            row = self.row(*key)
            if row is not None and row.state != "closed":
                self.approved_open.add(key)

    def restored(self) -> None:
        """O-15: the journal is an old copy. What was said before is not known to it, or not as it was."""
        self.lost.update(self.contents)
        self.lost.update(self._world.partpay.of_tender)

    # -- in the end --------------------------------------------------------------------------

    def settled(self) -> None:
        """I-2, I-3, I-19, I-22: the end of every tender, of every order, of every till."""
        world = self._world
        disk = world.machine.disk
        rows = disk.execute(
            "SELECT pairing, counter, kind, amount_minor, code, stored, reversal, order_id,"
            " gateway_reference FROM tenders"
        ).fetchall()
        codes: dict[tuple[str, int], str] = {}
        refunds: dict[str, int] = defaultdict(int)
        for pairing, counter, kind, amount, code, stored, reversal, order_id, _ in rows:
            key = (world.terminal_of[pairing], counter)
            self.require(code is not None, "no-outcome", f"{key} has no outcome")
            if kind == "refund" and code == "00":
                refunds[order_id] += amount
            if key in self.lost:
                continue
            self.require(bool(stored), "not-stored", f"{key}: outcome {code} is not stored")
            self.require(reversal != "owed", "still-owed", f"{key}: a reversal is still owed")
            codes[key] = code
            self.require(
                self.kept.get(key) == {code},
                "not-stored",
                f"{key}: the journal says {code}, the terminal kept {self.kept.get(key)}",
            )
            if reversal == "abandoned":
                self.abandoned.add(f"{key}")
            elif reversal == "done":
                orders = world.partpay.orders(*key)
                refunded = any(r.reference.endswith("-V") for o in orders for r in o.refunds)
                world.happened(f"a reversal is done by a {'refund' if refunded else 'cancel'}")
        for key, ids in world.partpay.of_tender.items():
            self._money(key, codes.get(key), ids, refunds)
        for till in world.tills:
            terminal = till.terminal
            if terminal is None:
                raise Violation("till-off", f"{till.terminal_id} has no power in the end")
            self.require(
                not terminal.kept.open,
                "till-open",
                f"{till.terminal_id}: still open there: {terminal.kept.open}",
            )

    def _money(
        self, key: tuple[str, int], code: str | None, ids: list[str], refunds: dict[str, int]
    ) -> None:
        if key in self.lost:
            return
        world = self._world
        kept = 0
        for order_id in ids:
            order = world.partpay.order(order_id)
            assert order is not None
            given_back = refunds.get(order_id, 0)
            kept += order.kept_minor + given_back
            self.require(
                order.status.final or order_id not in self.seen,
                "left-alive",
                f"{key}: nobody knows of {order} any more, and its code was shown",
            )
        row = self.row(*key)
        if f"{key}" in self.abandoned and not any(order_id in self.seen for order_id in ids):
            return  # refused for good twice, and nobody has seen its code: listed for a person
        wanted = row.amount_minor if row is not None and code == "00" else 0
        self.require(
            kept == wanted,
            "money",
            f"{key}: outcome {code}, PartPay keeps {kept} where it should be {wanted}: "
            f"{[world.partpay.order(order_id) for order_id in ids]}",
        )

    def journal(self) -> None:
        """I-28: the chain holds, and replaying the events gives the rows."""
        disk = self._world.machine.disk
        before = bytes(32)
        forms: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
        events = disk.execute(
            "SELECT seq, at, pairing, counter, name, data, hash FROM events ORDER BY seq"
        )
        for number, (seq, at, pairing, counter, name, data, told) in enumerate(events, start=1):
            of = ("" if pairing is None else str(pairing), "" if counter is None else str(counter))
            text = "\x1f".join((str(seq), at, *of, name, data))
            before = hashlib.sha256(before + text.encode()).digest()
            self.require(
                seq == number and bytes(told) == before, "chain", f"event {seq} is not in the chain"
            )
            for field, value in json.loads(data).get("set", {}).items():
                if value is None:
                    forms[pairing, counter].pop(field, None)
                else:
                    forms[pairing, counter][field] = value
        rows = disk.execute("SELECT pairing, counter, form, live, code, stored FROM tenders")
        for pairing, counter, form, live, code, stored in rows:
            replayed = forms.pop((pairing, counter), {})
            self.require(
                replayed == json.loads(form)
                and replayed.get("outcome.code") == code
                and bool(replayed.get("stored")) == bool(stored)
                and (not live or (self._world.terminal_of[pairing], counter) in self.lost),
                "replay",
                f"pairing {pairing} counter {counter}: {replayed} is not {form}",
            )
        self.require(not forms, "replay", f"events of tenders that have no row: {list(forms)}")


def tender_of(gateway_reference: str) -> tuple[str, int]:
    """Terminal and counter of an order's gateway reference."""
    if gateway_reference.startswith(FOREIGN):
        return ("", 0)
    _, terminal_id, counter, _, _ = gateway_reference.rsplit("-", 4)
    return terminal_id, int(counter)


def refund_of(reference: str) -> tuple[str, int]:
    """Terminal and counter of a refund's reference."""
    _, terminal_id, counter, _, _ = reference.rsplit("-", 4)
    return terminal_id, int(counter)
