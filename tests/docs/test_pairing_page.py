"""docs/pairing.md says what the dialogue says: its steps, its sentences, its options and its JSON."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_type_hints

import click

from bridge.cli.pair import pair
from bridge.pairing import Known, RefusePairing, Step, Wishes
from bridge.pairing_desk import PairedFacts
from drivers.link.messages import PairConfirm, PairKey
from tests.bridge.test_pairing import HELLO, PLAIN, Table
from tests.docs.page import Page

PAGE = Page("docs/pairing.md")


def said() -> dict[Step, set[str]]:
    """What is said in each step, in dialogues that go well and in others."""
    texts: dict[Step, set[str]] = {step: set() for step in Step}

    class Watched(Table):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.note()

        def do(self, wants):  # type: ignore[no-untyped-def]
            self.note()
            super().do(wants)
            self.note()
            return self

        def note(self) -> None:
            texts[self.step].add(self.text)

        def answer(self, *answer: str):  # type: ignore[no-untyped-def]
            self.note()
            return super().answer(*answer)

    def ready() -> Watched:
        table = Watched().comparing()
        table.answer("yes").terminal_says(True)
        table.answer("m-1").hello()
        table.do(table.dialogue.welcomed(True, table.now))
        return table.do(table.dialogue.proved(table.now))

    table = ready()
    table.do(table.dialogue.picture_told(True, "", table.now))
    table.answer("yes").answer("till 2")
    Watched().hello().advance(200).note()
    Watched().advance(200).note()
    Watched(wishes=Wishes(serial_number="S9")).hello()
    Watched(known=Known(replaces="SN0")).hello()
    plain = Watched().hello(PLAIN).answer("yes").answer("m-1").hello(PLAIN)
    plain.do(plain.dialogue.welcomed(True, plain.now))
    plain.do(plain.dialogue.picture_told(False, "no", plain.now)).answer()
    Watched(known=Known(keyed=True)).hello(PLAIN)
    Watched().comparing().answer("no")
    Watched().comparing().hello(replace(HELLO, serial_number="OTHER"))
    gone = Watched().comparing()
    gone.do(gone.dialogue.line_down("unplugged", gone.now))
    for message in (PairConfirm(bytes(8)), PairKey(bytes(range(32)), bytes(16))):
        wrong = Watched().comparing()
        wrong.do(wrong.dialogue.said(message, 9, wrong.now))
        assert isinstance(wrong.wants[-1], RefusePairing)
    full = Watched(hold_keys=True).agreed()
    full.do(full.dialogue.not_kept("full", full.now))
    refused = Watched().agreed()
    refused.dialogue.answer(refused.dialogue.view.number, ("m-9",), refused.now)
    refused.note()
    refused.do(refused.dialogue.not_registered("no", refused.now))
    unproved = Watched().registered()
    unproved.advance(60).note()
    return texts


def quoted(cell: str) -> list[str]:
    return [words for words in re.findall(r"`([^`]+)`", cell) if not words.startswith("--")]


def rows(name: str) -> list[list[str]]:
    """The cells with their code marks, which `Page.rows` takes off."""
    text = PAGE.text.partition(f"<!-- table: {name} -->\n")[2].lstrip("\n")
    lines = text.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_step_is_told_with_its_words() -> None:
    texts = said()
    told = {quoted(row[0])[0]: row for row in rows("steps")}
    assert set(told) == {step.value for step in Step}
    for step in Step:
        for words in quoted(told[step.value][1]):
            pattern = re.escape(words).replace("…", ".*")
            assert any(re.search(pattern, text) for text in texts[step]), (step, words, texts[step])


def test_every_early_end_has_its_words() -> None:
    every = {text for texts in said().values() for text in texts}
    for row in rows("ends"):
        (words,) = quoted(row[0])
        assert any(words in text for text in every), words


def test_every_option_is_told() -> None:
    told = {word for row in rows("options") for word in re.findall(r"`(--[a-z-]+)`", row[0])}
    there = {
        name
        for option in pair.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--")
    }
    assert told == there - {"--config", "--help"}


def test_every_key_of_its_json_is_told() -> None:
    told = {key for row in rows("json") for key in quoted(row[0])}
    assert told == set(get_type_hints(PairedFacts))
