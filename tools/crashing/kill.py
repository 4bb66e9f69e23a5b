"""One way with its deaths, judged; and many of them at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bridge.audit import audit
from bridge.crash_points import PASSED_BY, RECORD
from bridge.journal.reader import JournalReader
from tools.crashing.shop import NotSo, Shop, Street
from tools.crashing.ways import Way, judge


@dataclass(frozen=True, slots=True)
class Killed:
    """`reached`: every death came. `fault`: what was not as it must be, or None."""

    way: str
    deaths: tuple[str, ...]
    reached: bool
    fault: str | None


def places() -> list[str]:
    """Every crash point by its name, in the order of one event's way."""
    return [f"{point}:{what}" for point, names in PASSED_BY.items() for what in names]


def kill(street: Street, way: Way, deaths: Sequence[str]) -> Killed:
    """Plays the way; the daemon dies at each of `deaths`, one life after the other."""
    with street.shop(deaths) as shop:
        fault = None
        try:
            way.go(shop)
            shop.until(lambda: _settled(shop, way), "all is settled in the journal")
            # The last commit can be seen before the death behind it.
            shop.wait_for_deaths()
            shop.until(lambda: _settled(shop, way), "all is still settled in the journal")
            judge(shop, way)
            _audited(shop)
        except Exception as error:  # noqa: BLE001 - it is the finding
            fault = f"{way.name}, killed at {', '.join(deaths)} (died at {shop.died}): {error}"
        return Killed(way.name, tuple(deaths), shop.died == list(deaths), fault)


def _settled(shop: Shop, way: Way) -> bool:
    try:
        tenders = JournalReader(shop.journal).tenders()
    except sqlite3.Error:
        return False
    by_counter = {one["counter"]: one for one in tenders}
    return all(
        (one := by_counter.get(counter)) is not None
        and one["code"] == code
        and one["stored"]
        and one["reversal"] in ("none", "done")
        for counter, code in enumerate(way.codes, start=1)
    )


def _audited(shop: Shop) -> None:
    found = audit(shop.journal)
    if not found["holds"]:
        raise NotSo(f"audit: {found['broken']}")


def record(street: Street, way: Way, folder: Path) -> list[str]:
    """Every passing of a crash point on this way without any death, in order."""
    file = folder / f"{way.name}.passed"
    done = kill(street, way, [f"{RECORD}{file}"])
    if done.fault is not None:
        raise NotSo(done.fault)
    return file.read_text().splitlines()


def kill_all(
    street: Street, wanted: Iterable[tuple[Way, Sequence[str]]], at_once: int
) -> Iterator[Killed]:
    """In the order in which they are wanted."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda one: kill(street, one[0], one[1]), wanted)
