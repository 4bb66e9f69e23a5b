"""Reads the whole journal, and says by name whether what always holds did hold, for every tender ever.

- Every event is replayed onto the stored form that it changes; nothing of what decided it is asked again, so that a
  fault in the deciding code shows.
- The chain: each event must carry the hash of itself and the one before it. The tables must be what replaying gives.
- Read in one pass, query-only, with a bounded memory: a settled tender is let go, its row compared at the end.

Source: architecture, "What always holds"; reliability, I-1 to I-6 and I-28.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from bridge.invariants import NO_LOST_MONEY, ONE_LIVE_ORDER, ONE_OUTCOME, TRUE_APPROVAL
from bridge.journal import chain
from bridge.stored_form import Plain, apply
from bridge.tender import DEAD, PAID

CHAIN: Final = "chain"
TABLES: Final = "tables"
WRITTEN_BEFORE_SAID: Final = "written-before-said"
BROKEN_MAX: Final = 1000
"""Findings that are told one by one; more are counted."""

Flat = dict[str, Plain]


class Findings:
    """What does not hold, and how much was looked at."""

    def __init__(self) -> None:
        self.broken: list[dict[str, str]] = []
        self.count = 0

    def add(self, invariant: str, tender: str, what: str) -> None:
        self.count += 1
        if len(self.broken) < BROKEN_MAX:
            self.broken.append({"invariant": invariant, "tender": tender, "what": what})


def audit(path: Path, head: str | None = None) -> dict[str, Any]:
    """{"holds", "broken": [{"invariant", "tender", "what"}], "tenders", "events", "head", "head_found"}.

    `head`: a hash in hex that the system log holds, to be found in the chain. Raises sqlite3.Error.
    """
    findings = Findings()
    wanted = None if head is None else bytes.fromhex(head)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.execute("PRAGMA query_only=1")
        db.execute("BEGIN")
        events, last, found = _replay(db, wanted, findings)
        tenders = db.execute("SELECT count(*) FROM tenders").fetchone()[0]
    if wanted is not None and not found:
        findings.add(
            CHAIN, "", f"hash {head} is not in the chain: the past was changed after it was told"
        )
    return {
        "holds": findings.count == 0,
        "broken": findings.broken,
        "broken_count": findings.count,
        "tenders": tenders,
        "events": events,
        "head": last.hex(),
        "head_found": None if wanted is None else found,
    }


def _start(db: sqlite3.Connection) -> tuple[int, bytes]:
    kept = dict(
        db.execute("SELECT key, value FROM meta WHERE key IN ('archived_seq', 'archived_hash')")
    )
    return int(kept.get("archived_seq", 0)), bytes.fromhex(
        kept.get("archived_hash", chain.START.hex())
    )


def _replay(
    db: sqlite3.Connection, wanted: bytes | None, findings: Findings
) -> tuple[int, bytes, bool]:
    expected, before = _start(db)
    found = wanted == before
    live: dict[tuple[int, int], Flat] = {}
    events = 0
    loads, link = json.loads, chain.link
    rows = db.execute("SELECT seq, at, pairing, counter, name, data, hash FROM events ORDER BY seq")
    for seq, at, pairing, counter, name, text, stored_hash in rows:
        events += 1
        expected += 1
        if seq != expected:
            findings.add(CHAIN, "", f"event {expected} is missing: the next one is {seq}")
            expected = seq
        before = link(before, seq, at, pairing, counter, name, text)
        if before != stored_hash:
            findings.add(CHAIN, _name(pairing, counter), f"event {seq} was changed")
            before = stored_hash
        found = found or stored_hash == wanted
        if pairing is None:
            continue
        changed = loads(text).get("set")
        if not changed:
            continue
        key = (pairing, counter)
        flat = live.get(key)
        if flat is None:
            # Without its first event, a tender was settled before, and has come to life again.
            flat = live[key] = {} if "pairing" in changed else _settled_form(db, key)
        _check(flat, changed, text, key, findings)
        apply(flat, changed)
        if flat.get("stored") is True and _is_settled(flat):
            _compare(db, key, live.pop(key), findings)
    for key, flat in live.items():
        _compare(db, key, flat, findings)
    return events, before, found


def _settled_form(db: sqlite3.Connection, key: tuple[int, int]) -> Flat:
    """The form that a settled tender was compared with: the table's, which replaying had given."""
    row = db.execute("SELECT form FROM tenders WHERE pairing=? AND counter=?", key).fetchone()
    return dict(json.loads(row[0])) if row else {}


def _name(pairing: int | None, counter: int | None) -> str:
    return "" if pairing is None else f"{pairing}/{counter}"


def _is_settled(flat: Flat) -> bool:
    return "outcome.code" in flat and "owed" not in flat.values()


def _compare(db: sqlite3.Connection, key: tuple[int, int], flat: Flat, findings: Findings) -> None:
    row = db.execute(
        "SELECT amount_minor, kind, merchant, code, stored, accepted_at FROM tenders WHERE pairing=? AND counter=?",
        key,
    ).fetchone()
    given = (
        flat.get("amount_minor"),
        flat.get("kind"),
        flat.get("merchant"),
        flat.get("outcome.code"),
        flat.get("stored") is True,
        flat.get("accepted_at"),
    )
    if row is None:
        findings.add(TABLES, _name(*key), "its row is missing")
    elif row != given:
        findings.add(TABLES, _name(*key), "its row is not what its events give")


def _attempts(flat: Mapping[str, Plain]) -> Iterator[str]:
    number = 1
    while f"a{number}.gateway_reference" in flat:
        yield f"a{number}."
        number += 1


def _check(
    flat: Flat, changed: Mapping[str, Plain], text: str, key: tuple[int, int], findings: Findings
) -> None:
    """What one event must not do to one tender. `text`: the event as it stands, to pass over most of them quickly."""
    decided = "outcome.code" in flat
    deciding = '"outcome.' in text
    if flat and (decided and deciding):
        for name in changed:
            if name.startswith("outcome."):
                what = f"{name} was {flat.get(name)}, and became {changed[name]}"
                findings.add(ONE_OUTCOME, _name(*key), what)
    if flat and ("amount_minor" in changed or "currency" in changed):
        findings.add(TRUE_APPROVAL, _name(*key), "amount or currency was changed")
    if changed.get("stored") and not decided and not deciding:
        what = "stored by the terminal before there was an outcome"
        findings.add(WRITTEN_BEFORE_SAID, _name(*key), what)
    owing = '.owed"' in text
    second = "a2.gateway_reference" in flat or "a2.gateway_reference" in changed
    if not (deciding or owing or second) or (changed.get("kind") or flat.get("kind")) != "tender":
        return
    after = {**flat, **changed}
    if deciding and not decided:
        _check_outcome(after, _name(*key), findings)
    if owing:
        for a in _attempts(after):
            _check_owed(flat, changed, after, a, _name(*key), findings)
    if second and not decided and not deciding:
        live = [
            a
            for a in _attempts(after)
            if not _dead(after, a) and after.get(a + "owed", "none") == "none"
        ]
        if len(live) > 1:
            findings.add(ONE_LIVE_ORDER, _name(*key), f"{len(live)} orders could be paid at once")


def _dead(flat: Mapping[str, Plain], a: str) -> bool:
    return bool(flat.get(a + "void")) or flat.get(a + "told") in DEAD


def _check_outcome(after: Mapping[str, Plain], tender: str, findings: Findings) -> None:
    code, order_id = after["outcome.code"], after.get("outcome.order_id")
    evident = False
    for a in _attempts(after):
        told, signed = after.get(a + "told"), after.get(a + "signed")
        known = after.get(a + "order_id")
        if known is not None and (told in PAID or (signed in PAID and told not in DEAD)):
            evident = evident or known == order_id
        sent = after.get(a + "sent") or after.get(a + "uncertain") or known is not None
        booked = code == "00" and known == order_id
        may_be_paid = sent and not _dead(after, a) and signed not in DEAD
        if may_be_paid and not booked and after.get(a + "owed", "none") == "none":
            findings.add(
                NO_LOST_MONEY,
                tender,
                f"{after[a + 'gateway_reference']} may be paid, and nothing was owed",
            )
    if code == "00" and not evident:
        findings.add(TRUE_APPROVAL, tender, "00 without PartPay's approval of that order")


def _check_owed(
    flat: Mapping[str, Plain],
    changed: Mapping[str, Plain],
    after: Mapping[str, Plain],
    a: str,
    tender: str,
    findings: Findings,
) -> None:
    if flat.get(a + "owed") != "owed" or a + "owed" not in changed:
        return
    became = changed[a + "owed"]
    nothing_sent = (
        not after.get(a + "sent")
        and not after.get(a + "uncertain")
        and not after.get(a + "order_id")
    )
    certain = _dead(after, a) or bool(after.get(a + "refunded")) or nothing_sent
    if became == "abandoned" and after.get(a + "shown"):
        findings.add(
            NO_LOST_MONEY,
            tender,
            f"{after[a + 'gateway_reference']} was given up, though its code was shown",
        )
    elif became != "abandoned" and not (became == "done" and certain):
        findings.add(
            NO_LOST_MONEY,
            tender,
            f"{after[a + 'gateway_reference']}: what was owed became {became}, unproved",
        )
