"""docs/architecture.md says what the code does: states, events, tables, limits, and what a power cut leaves."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import invariants
from bridge.journal.journal import Journal
from bridge.partpay.answers import (
    AlreadyExists,
    CancelTaken,
    NoAnswer,
    NotAllowed,
    NotSent,
    Perhaps,
    Refunded,
    Refused,
)
from bridge.tender import Ask, Attempt, Confirm, Owed, State, Timing
from drivers.link import messages as link
from tests.bridge.shop import Shop
from tests.docs.page import TOP, Page

PAGE = Page("docs/architecture.md")


# -- the rooms


def test_files_that_are_named_are_there() -> None:
    named = set(re.findall(r"`((?:bridge|drivers|tests|tools|config)/[\w/.]*)`", PAGE.text))
    named |= {
        f"bridge/{name}" for name in re.findall(r"`((?:journal/|partpay/)?\w+\.py)`", PAGE.text)
    }
    assert len(named) > 30
    for name in named:
        assert (TOP / name).exists(), name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.text):
        assert (TOP / "docs" / target).exists(), target


def test_threads_are_made_where_the_page_says() -> None:
    for name, where, *_ in PAGE.rows("threads")[1:]:
        assert f'"{name}"' in (TOP / where).read_text(encoding="utf-8"), name


# -- the life of a tender


def drawn(first: str) -> set[tuple[str, str]]:
    """The arrows of the state diagram that begins with `first`."""
    for block in PAGE.blocks("mermaid"):
        arrows = re.findall(r"^\s+(\S+) --> (\S+)(?: : .+)?$", block.text, re.MULTILINE)
        if arrows and arrows[0] == ("[*]", first):
            return {(was, now) for was, now in arrows if "[*]" not in (was, now)}
    raise AssertionError(first)


def gone_through(journal: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]], set[str]]:
    """Transitions of tenders, transitions of what attempts owe, and names of events in a journal."""
    states: dict[tuple[int, int], str] = {}
    owed: dict[tuple[int, int, str], str] = {}
    of_states, of_owed, names = set(), set(), set()
    with sqlite3.connect(journal) as db:
        rows = db.execute("SELECT pairing, counter, name, data FROM events ORDER BY seq").fetchall()
    for pairing, counter, name, data in rows:
        names.add(name)
        for key, value in json.loads(data).get("set", {}).items():
            if key == "state":
                was = states.get((pairing, counter), str(State.ACCEPTED))
                states[pairing, counter] = value or str(State.ACCEPTED)
                of_states.add((was, states[pairing, counter]))
            elif key.endswith(".owed"):
                was = owed.get((pairing, counter, key), str(Owed.NONE))
                owed[pairing, counter, key] = value or str(Owed.NONE)
                of_owed.add((was, owed[pairing, counter, key]))
    return of_states, of_owed, names


def opened(folder: Path, **more: object) -> Shop:
    shop = Shop(folder, **more)
    shop.hello()
    return shop


def approved(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    shop.status("approved")


def life_over(shop: Shop) -> None:
    shop.sell()
    for _ in range(400):
        if shop.pending(Ask.STATUS):
            shop.status("pending")
        if shop.pending(Ask.CANCEL):
            shop.cancelled()
        shop.advance(1.0)


def refused(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Refused(400, "no", ()))


def cancelled_before_an_order(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("silence"))
    shop.cancel()
    shop.advance(2.0)
    shop.created()
    shop.cancelled()
    shop.status("cancelled")


def found_and_not_ours(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("silence"))
    shop.advance(2.0)
    shop.answer(Ask.CREATE, AlreadyExists("order-9"))
    shop.status("pending", Ask.ORDER, amount_minor=1)
    shop.created()


def paid_late(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("silence"))
    shop.advance(1.0)
    shop.answer(Ask.CREATE, Perhaps("silence"))
    shop.cancel()
    shop.advance(30.0)
    shop.stored(code="17")
    settle(shop, ("cancelled", "approved"))


def abandoned(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("silence"))
    shop.advance(1.0)
    for _ in range(3):
        if shop.pending(Ask.CREATE):
            shop.answer(Ask.CREATE, Refused(422, "no", ()))
        shop.advance(10.0)
    shop.callback("approved")


def settle(shop: Shop, words: tuple[str, ...]) -> None:
    """Answers whatever is asked; the status by these words in turn."""
    for word in words:
        for _ in range(40):
            if shop.pending(Ask.CREATE):
                shop.created()
            elif shop.pending(Ask.CANCEL):
                shop.cancelled()
            elif shop.pending(Ask.REFUND):
                shop.answer(Ask.REFUND, Refunded())
            elif shop.pending(Ask.STATUS):
                shop.status(word)
                break
            else:
                shop.advance(1.0)
    shop.callback("approved")
    shop.advance(5.0)


LIVES = (
    approved,
    life_over,
    refused,
    cancelled_before_an_order,
    found_and_not_ours,
    paid_late,
    abandoned,
)


def test_every_arrow_of_both_diagrams_is_gone_through(tmp_path: Path) -> None:
    states, owed = set(), set()
    for number, live in enumerate(LIVES):
        folder = tmp_path / str(number)
        folder.mkdir()
        live(opened(folder))
        more_states, more_owed, _ = gone_through(folder / "journal.db")
        states |= more_states
        owed |= more_owed
    assert states == drawn("accepted")
    assert owed == drawn("none")


def test_the_states_are_those_of_the_code() -> None:
    assert {state for arrow in drawn("accepted") for state in arrow} == set(State)
    assert {state for arrow in drawn("none") for state in arrow} == set(Owed)


_WORDS = st.sampled_from(
    ["pending", "approved", "complete", "declined", "expired", "cancelled", "?"]
)


def _answer(ask: Ask, value: object) -> Callable[[Shop], object]:
    return lambda shop: shop.pending(ask) and shop.answer(ask, value)


_STEPS = st.one_of(
    st.sampled_from([0.3, 1.0, 3.0, 21.0, 40.0, 310.0]).map(lambda s: lambda shop: shop.advance(s)),
    _WORDS.map(lambda w: lambda shop: shop.pending(Ask.STATUS) and shop.status(w)),
    _WORDS.map(lambda w: lambda shop: shop.pending(Ask.ORDER) and shop.status(w, Ask.ORDER)),
    _WORDS.map(lambda w: lambda shop: shop.find() and shop.callback(w)),
    st.sampled_from(
        [
            lambda shop: shop.tender(),
            lambda shop: shop.cancel(),
            lambda shop: shop.stored(),
            lambda shop: shop.refund(2, 1, 50),
            lambda shop: shop.restart(),
            lambda shop: shop.restart(boot="boot-2"),
            lambda shop: shop.hello(),
            lambda shop: shop.panel_cannot(),
            lambda shop: shop.pending(Ask.CREATE) and shop.created(),
            lambda shop: shop.pending(Ask.CREATE) and shop.created(picture=None),
            lambda shop: shop.pending(Ask.PICTURE) and shop.read_code(),
            lambda shop: shop.pending(Ask.PICTURE) and shop.read_code(None),
            _answer(Ask.CREATE, Perhaps("silence")),
            _answer(Ask.CREATE, NotSent("no route", None)),
            _answer(Ask.CREATE, AlreadyExists("order-7")),
            _answer(Ask.CREATE, Refused(400, "no", ())),
            _answer(Ask.CREATE, NotAllowed(403, "no")),
            _answer(Ask.STATUS, NoAnswer("silence")),
            _answer(Ask.CANCEL, CancelTaken(202)),
            _answer(Ask.REFUND, Refunded()),
            _answer(Ask.REFUND, Perhaps("silence")),
        ]
    ),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(_STEPS, min_size=4, max_size=25))
def test_no_arrow_is_missing_in_the_diagrams(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Callable[[Shop], object]]
) -> None:
    folder = tmp_path_factory.mktemp("shop")
    shop = opened(folder)
    shop.tender()
    for step in steps:
        step(shop)
    states, owed, names = gone_through(folder / "journal.db")
    assert states <= drawn("accepted")
    assert owed <= drawn("none")
    assert names <= told_events()
    shop.engine.close()


# -- what is written


def told_events() -> set[str]:
    return {name for cell, _ in PAGE.rows("events") for name in re.findall(r"[\w-]+", cell)}


def test_the_events_are_those_that_the_engine_writes() -> None:
    source = (TOP / "bridge/engine.py").read_text(encoding="utf-8")
    names = set(re.findall(r'(?:decision\.name = |\.write\()"([\w-]+)"', source))
    names |= {f"{ask}-answer" for ask in Ask if ask is not Ask.PICTURE}
    names |= {"tender", "cancel", "query", "refund", "stored"}  # by the class of the message
    # A change of the registry is in the registry's own log.
    assert names - {"registry"} == told_events() - {"LineDown", "LineGivenUp", "Proved"}


def test_the_tables_are_those_of_the_schema(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db", "sandbox", lambda: "now").close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
        there = {
            name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")] for name in names
        }
    assert {name: columns.split(", ") for name, _, columns in PAGE.rows("tables")} == there


def test_the_marks_of_an_attempt_are_fields() -> None:
    marks = re.findall(
        r"^\| `(\w+)` \| ", PAGE.text.partition("| mark of")[2].partition("\n\n")[0], re.M
    )
    assert len(marks) >= 7
    assert set(marks) <= set(Attempt.__dataclass_fields__)


# -- when the power goes


class PowerCut(BaseException):
    """Not an Exception: nothing may catch it on the way out."""


def cut_before_the_commit(shop: Shop, happens: Callable[[], object]) -> None:
    def commit() -> None:
        raise PowerCut

    assert shop.engine._journal is not None
    shop.engine._journal.commit = commit  # type: ignore[method-assign]
    with pytest.raises(PowerCut):
        happens()


def back(shop: Shop, boot: str | None = None) -> list[str]:
    """The power is back, and the terminal says HELLO; what it is told."""
    shop.restart(boot=boot)
    return [type(message).__name__ for message in shop.hello()][1:]


def before_tender(shop: Shop) -> None:
    cut_before_the_commit(shop, shop.tender)
    assert back(shop) == []
    assert shop.find() is None
    assert [type(m) for m in shop.tender()] == [link.Accepted]


def before_accepted(shop: Shop) -> None:
    shop.tender()
    reference = shop.known().attempt.gateway_reference
    assert back(shop) == ["Accepted", "Progress"]
    create = shop.pending(Ask.CREATE)
    assert create is not None
    assert create.tender.attempt.gateway_reference == reference


def before_the_answer_to_create(shop: Shop) -> None:
    shop.tender()
    back(shop)
    shop.answer(Ask.CREATE, AlreadyExists("order-1"))
    assert shop.known().attempt.order_id == "order-1"


def after_the_answer_to_create(shop: Shop) -> None:
    shop.tender()
    shop.created()
    back(shop)
    assert {asked.wanted.ask for asked in shop.asked} == {Ask.ORDER, Ask.STATUS}


def while_the_image_is_on_the_line(shop: Shop) -> None:
    shop.sell()
    before = len(shop.shown())
    assert back(shop) == ["Accepted", "Progress"]
    assert len(shop.shown()) == before + 1
    assert {asked.wanted.ask for asked in shop.asked} == {Ask.STATUS}


def before_a_callback(shop: Shop) -> None:
    shop.sell()
    cut_before_the_commit(shop, lambda: shop.callback("approved"))
    back(shop)
    assert shop.known().attempt.signed is None
    assert shop.pending(Ask.STATUS) is not None
    assert shop.callback("approved") == 200


def before_the_200(shop: Shop) -> None:
    shop.sell()
    shop.callback("approved")
    back(shop)
    assert shop.pending(Ask.STATUS) is not None
    shop.answer(Ask.STATUS, NoAnswer("silence"))
    shop.advance(3.0)
    assert shop.outcomes() == ["00"]


def before_cancel(shop: Shop) -> None:
    shop.sell()
    cut_before_the_commit(shop, shop.cancel)
    back(shop)
    assert shop.known().state is State.ORDERED
    shop.cancel()
    assert shop.known().state is State.CLOSING


def after_cancel(shop: Shop) -> None:
    shop.sell()
    shop.cancel()
    shown = len(shop.shown())
    assert back(shop) == ["Accepted", "Progress"]
    assert len(shop.shown()) == shown
    assert shop.pending(Ask.CANCEL) is not None
    shop.cancelled()
    shop.status("cancelled")
    assert shop.outcomes() == ["17"]


def before_the_outcome(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    cut_before_the_commit(shop, lambda: shop.status("approved"))
    back(shop)
    shop.asked[:] = [asked for asked in shop.asked if asked.wanted.ask is Ask.STATUS][-1:]
    shop.status("approved")
    assert shop.outcomes() == ["00"]


def before_outcome_is_out(shop: Shop) -> None:
    shop.tender()
    shop.answer(Ask.CREATE, Perhaps("silence"))
    shop.advance(31.0)
    assert shop.outcomes() == ["91"]
    assert back(shop) == ["Outcome"]
    assert shop.known().reversal is Owed.OWED
    assert shop.pending(Ask.CREATE) is not None


def before_stored(shop: Shop) -> None:
    approved(shop)
    cut_before_the_commit(shop, shop.stored)
    assert back(shop) == ["Outcome"]
    shop.stored()
    assert back(shop) == []


def while_a_reversal_is_out(shop: Shop) -> None:
    shop.sell()
    shop.advance(2.0)
    shop.status("declined")
    shop.callback("approved")
    shop.status("approved")
    first = shop.pending(Ask.REFUND)
    assert first is not None
    back(shop)
    again = shop.pending(Ask.REFUND)
    assert again is not None
    reference = again.tender.attempt.gateway_reference
    assert reference == first.tender.attempt.gateway_reference
    shop.answer(Ask.REFUND, Refunded())
    assert shop.known().reversal is Owed.DONE
    assert shop.outcomes()[0] == "05"


def after_refund(shop: Shop) -> None:
    approved(shop)
    shop.refund(2, 1, 50)
    reference = shop.known(2).attempt.gateway_reference
    back(shop)
    again = shop.pending(Ask.REFUND)
    assert again is not None
    assert again.tender.attempt.gateway_reference == reference
    shop.answer(Ask.REFUND, NotSent("no route", None))
    shop.advance(600.0)
    assert shop.outcomes(2) == []


POWER_GOES = {
    "before TENDER is committed": before_tender,
    "after that, before ACCEPTED is out": before_accepted,
    "after create is out, before its answer": before_the_answer_to_create,
    "after the answer to create is committed": after_the_answer_to_create,
    "while the image is on the line": while_the_image_is_on_the_line,
    "before a callback is committed": before_a_callback,
    "after that, before 200 is out": before_the_200,
    "before CANCEL is committed": before_cancel,
    "after that": after_cancel,
    "before the outcome is committed": before_the_outcome,
    "after that, before OUTCOME is out": before_outcome_is_out,
    "after OUTCOME, before STORED is committed": before_stored,
    "while a reversal's refund is out": while_a_reversal_is_out,
    "after REFUND is committed": after_refund,
}


def test_each_row_about_the_power_is_tried() -> None:
    assert [when for when, *_ in PAGE.rows("power")] == list(POWER_GOES)


@pytest.mark.parametrize("when", POWER_GOES)
def test_when_the_power_goes(when: str, tmp_path: Path) -> None:
    POWER_GOES[when](opened(tmp_path))


# -- limits and rules


def test_limits_are_those_of_the_code() -> None:
    for dotted, value, _ in PAGE.rows("limits"):
        number = float(value.split()[0])
        place, _, name = dotted.rpartition(".")
        try:
            holder: object = import_module(place)
        except ModuleNotFoundError:
            module, _, kind = place.rpartition(".")
            holder = getattr(import_module(module), kind)(body_max_bytes=0)
        assert getattr(holder, name) == number, dotted


def test_timing_has_the_defaults_of_the_code() -> None:
    told = {key: float(value) for key, value in PAGE.rows("timing")}
    assert told == {name: getattr(Timing(), name) for name in Timing.__dataclass_fields__}


def test_the_invariants_that_the_engine_asserts_are_named() -> None:
    constants = {name: value for name, value in vars(invariants).items() if name.isupper()}
    asserted = {value for value in constants.values() if isinstance(value, str)}
    told = [name for name, *_ in PAGE.rows("invariants")]
    assert asserted == set(told[:4])


def test_what_is_said_of_confirm_callbacks_is_complete() -> None:
    for word in Confirm:
        assert f"`{word}`" in PAGE.text


def test_every_rule_that_is_cited_by_number_is_told() -> None:
    told = {number for number, _ in PAGE.rows("numbered rules")}
    for room in ("bridge", "drivers", "tools", "tests"):
        for file in TOP.glob(f"{room}/**/*.py"):
            for cited in re.findall(r"\b[IO]-\d+\b", file.read_text(encoding="utf-8")):
                assert cited in told, f"{file.relative_to(TOP)} cites {cited}"


def test_every_heading_that_is_cited_is_there() -> None:
    cited = set()
    for room in ("bridge", "drivers", "tools"):
        for file in TOP.glob(f"{room}/**/*.py"):
            text = file.read_text(encoding="utf-8")
            cited |= set(re.findall(r'architecture(?:\.md)?,? "([^"]+)"', text))
    assert cited
    for words in cited:
        assert words.lower() in PAGE.text.lower(), words
