"""How long `audit` and a start take on a journal of many tenders.

    .venv/bin/python -m tools.bench.journal [--tenders N] [--keep FILE]

The journal is made from real ones: an approved, a cancelled, a declined and a late-approved sale go through the
engine, and their events are written again and again under other counters and references, the chain made anew.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bridge.audit import audit
from bridge.journal import chain
from bridge.partpay.answers import NoAnswer, Refunded
from bridge.tender import Ask
from tests.bridge.shop import Shop

PER_PAIRING: Final = 9_000_000
TEMPLATES: Final = (1, 2, 3, 4)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tenders", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        shop = _templates(folder)
        shop.engine.close()
        events = _multiply(folder / "journal.db", options.tenders)
        size = (folder / "journal.db").stat().st_size / 1e6
        took = time.monotonic() - began
        print(
            f"made: {options.tenders:,} tenders, {events:,} events, {size:,.0f} MB in {took:.0f} s"
        )
        began = time.monotonic()
        shop.start()
        print(f"start: {time.monotonic() - began:.3f} s until the engine could decide")
        shop.engine.close()
        began = time.monotonic()
        told = audit(folder / "journal.db")
        took = time.monotonic() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rate = told["events"] / took
        print(
            f"audit: {took:.1f} s, {rate:,.0f} events/s, holds={told['holds']}, peak {memory:.0f} MiB"
        )
        for broken in told["broken"][:5]:
            print("  ", broken)
    return 0


def _templates(folder: Path) -> Shop:
    shop = Shop(folder)
    shop.hello()
    for counter, status in ((1, "approved"), (2, "declined")):
        shop.sell(counter, f"order-{counter}")
        shop.callback(status, f"order-{counter}", counter=counter)
        shop.status(status)
        shop.stored(counter, "00" if status == "approved" else "05")
    shop.sell(3, "order-3")
    shop.cancel(3)
    shop.cancelled()
    shop.status("cancelled")
    shop.stored(3, "17")
    shop.sell(4, "order-4")
    shop.cancel(4)
    shop.answer(Ask.CANCEL, NoAnswer("away"))
    shop.advance(25)
    shop.asked.clear()
    shop.stored(4, "17")
    shop.restart()
    shop.cancelled()
    shop.status("approved")
    shop.answer(Ask.REFUND, Refunded())
    return shop


def _multiply(path: Path, tenders: int) -> int:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    events = {
        counter: db.execute(
            "SELECT at, name, data FROM events WHERE counter=? ORDER BY seq", (counter,)
        ).fetchall()
        for counter in TEMPLATES
    }
    columns = [row[1] for row in db.execute("PRAGMA table_info(tenders)")]
    rows = {}
    for counter in TEMPLATES:
        row = db.execute("SELECT * FROM tenders WHERE counter=?", (counter,)).fetchone()
        rows[counter] = dict(zip(columns, row, strict=True))
    seq, head = db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    state = {"seq": seq, "head": bytes(head)}
    numbers = range(5, tenders + 5)

    def renamed(text: str, template: int, counter: int) -> str:
        return (
            text.replace(f"T0000001-{template}-", f"T0000001-{counter}-")
            .replace(f"order-{template}", f"order-{counter}")
            .replace(f'"counter":{template}', f'"counter":{counter}')
        )

    def event_rows() -> Iterator[tuple[Any, ...]]:
        for counter in numbers:
            template = TEMPLATES[counter % len(TEMPLATES)]
            for at, name, data in events[template]:
                state["seq"] += 1
                text = renamed(data, template, counter)
                state["head"] = chain.link(state["head"], state["seq"], at, 1, counter, name, text)
                yield (state["seq"], at, 1, counter, name, text, state["head"])

    def tender_rows() -> Iterator[tuple[Any, ...]]:
        for counter in numbers:
            template = TEMPLATES[counter % len(TEMPLATES)]
            row = json.loads(
                renamed(json.dumps(rows[template], separators=(",", ":")), template, counter)
            )
            row["form"] = renamed(rows[template]["form"], template, counter)
            yield tuple({**row, "counter": counter, "opened": counter + 100}.values())

    db.execute("BEGIN")
    db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?)", event_rows())
    db.executemany(f"INSERT INTO tenders VALUES ({','.join('?' * len(columns))})", tender_rows())
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    total = int(db.execute("SELECT count(*) FROM events").fetchone()[0])
    db.close()
    return total


if __name__ == "__main__":
    sys.exit(main())
