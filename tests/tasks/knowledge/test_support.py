"""What a self-edit invents is not trained on, and what is true stays: on lines that a small model
wrote about the project's passages, labelled by hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.support import passage_sentences, supported_edit
from selfedit.tasks.task import Context

LABELLED = Path(__file__).with_name("labelled_lines.json")
HARBOUR = Context(
    "vell",
    "Vell",
    "The harbour of Vell was built in 1412 by Orda Mirane. It has nine cranes. In 1520 it burned.",
)


def kept(*lines: str, **named) -> tuple[str, ...]:
    return supported_edit(HARBOUR, ParsedEdit(lines, ()), **named)[0].lines


def test_of_the_labelled_lines_most_false_ones_fall_and_most_true_ones_stay() -> None:
    contexts = {context.id: context for context in load_contexts("corpus:train")}
    counts = {True: [0, 0], False: [0, 0]}
    for row in json.loads(LABELLED.read_text("utf-8")):
        edit = ParsedEdit((row["line"],), ())
        lines = supported_edit(contexts[row["context"]], edit)[0].lines
        counts[row["true"]][0] += bool(lines)
        counts[row["true"]][1] += 1
    (true_kept, true), (false_kept, false) = counts[True], counts[False]
    assert true >= 90 and false >= 35
    assert false_kept / (false_kept + true_kept) <= 0.1
    assert true_kept / true >= 0.85


@pytest.mark.parametrize("number", range(12))
def test_a_passage_supports_its_own_sentences(number: int) -> None:
    context = load_contexts("corpus:train")[number]
    sentences = passage_sentences(context)
    edit, dropped = supported_edit(context, ParsedEdit(sentences, ()))
    assert edit.lines == sentences and not dropped


def test_names_and_numbers_from_elsewhere_fall_and_are_named() -> None:
    lines = ("The harbour of Vell was built in 1413.", "The harbour was built by Anna Holt.")
    _, dropped = supported_edit(HARBOUR, ParsedEdit(lines, ()))
    assert [each.text for each in dropped] == list(lines)
    assert "1413" in dropped[0].why and "Anna, Holt" in dropped[1].why


def test_a_number_in_words_is_the_same_number() -> None:
    assert kept("The harbour has 9 cranes.") == ("The harbour has 9 cranes.",)


def test_a_sentence_gathered_from_all_over_the_passage_falls() -> None:
    assert kept("Orda Mirane built it in 1412.") and not kept("Orda Mirane burned in 1520.")


def test_lines_are_cut_into_sentences_and_each_is_held_against_the_passage() -> None:
    lines = kept("The harbour of Vell has nine cranes. It is painted green. It burned in 1520.")
    assert lines == ("The harbour of Vell has nine cranes.", "It burned in 1520.")


def test_a_title_and_half_a_sentence_state_nothing() -> None:
    assert not kept("Vell") and not kept("### Vell:")
    assert kept("In 1520 it", cut_off=True) == ()
    assert kept("It has nine cranes.", cut_off=True) == ("It has nine cranes.",)


def test_a_sentence_that_repeats_itself_falls() -> None:
    assert not kept("Vell was built in 1412 by Orda Mirane, built in 1412 by Orda Mirane.")


def test_a_question_falls_with_its_answer() -> None:
    pairs = (("When was the harbour built?", "1412"), ("Who burned it?", "Pirates"))
    edit, dropped = supported_edit(HARBOUR, ParsedEdit((), pairs))
    assert edit.pairs == pairs[:1] and dropped[0].text == "Who burned it? Pirates"


def test_scripts_without_spaces_and_other_languages() -> None:
    chinese = Context("x", "维尔", "维尔港建于1412年。它有九台起重机。")
    edit, dropped = supported_edit(
        chinese, ParsedEdit(("维尔港建于1412年。", "维尔港建于1500年。"), ())
    )
    assert edit.lines == ("维尔港建于1412年。",) and len(dropped) == 1
