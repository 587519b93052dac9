"""The passages to learn from, to choose on and to seal keep what docs/corpus.md promises."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from corpus_checks import KINDS, Passage, across, in_passage, shared_names, word_runs

from selfedit.tasks.knowledge import corpus
from selfedit.tasks.knowledge.contexts import load_contexts

SIZES = {"learn": 80, "choose": 24, "sealed": 56}


def records(part: str) -> list[Passage]:
    return json.loads(Path(corpus.__file__).with_name(f"{part}.json").read_text("utf-8"))


PARTS = {part: records(part) for part in SIZES}
EVERY = [passage for part in PARTS.values() for passage in part]
DEMO = records("train") + records("heldout")


@pytest.mark.parametrize("part", SIZES)
def test_each_part_has_its_size_and_loads_whole(part: str):
    contexts = load_contexts(f"corpus:{part}", require_questions=True)
    assert len(contexts) == SIZES[part]
    for context, record in zip(contexts, PARTS[part], strict=True):
        assert (context.id, context.text) == (record["id"], record["context"])
        assert [question.text for question in context.questions] == [
            question["question"] for question in record["questions"]
        ]


@pytest.mark.parametrize("passage", EVERY, ids=lambda passage: passage["id"])
def test_a_passage_keeps_the_rules(passage: Passage):
    assert in_passage(passage) == []


def test_passages_share_no_id_title_question_or_name():
    assert across(EVERY) == []
    assert shared_names(DEMO + EVERY) == []  # nor with the demo's


@pytest.mark.parametrize(("one", "other"), list(combinations(SIZES, 2)))
def test_no_two_parts_share_a_long_run_of_words(one: str, other: str):
    here, there = word_runs(PARTS[one]), word_runs(PARTS[other])
    assert {here[run]: there[run] for run in here.keys() & there.keys()} == {}


@pytest.mark.parametrize("part", SIZES)
def test_each_part_has_every_kind_and_many_styles(part: str):
    kinds = {passage["kind"] for passage in PARTS[part]}
    assert kinds == {passage["kind"] for passage in EVERY} and len(kinds) >= 6
    assert len({passage["style"] for passage in PARTS[part]}) >= 8
    questions = [question for passage in PARTS[part] for question in passage["questions"]]
    assert {question["kind"] for question in questions} == set(KINDS)


GOOD: Passage = {
    "id": "odd-mill",
    "title": "Oddmill",
    "context": (
        "Oddmill was built in 1801 by a cooper. "
        + "It stands on a low hill above the ford. " * 6
        + "Its 12 sails were made of linen. In 1844 the miller Jonas Wrack sold 4 sails. "
        "The buyer was a sailmaker."
    ),
    "questions": [
        {"question": "Who built Oddmill?", "answers": ["cooper", "a cooper"], "kind": "stated"},
        {"question": "Of what cloth were Oddmill's sails?", "answers": ["linen"], "kind": "stated"},
        {
            "question": "Who bought what Jonas Wrack sold?",
            "answers": ["sailmaker", "a sailmaker"],
            "kind": "combined",
        },
        {
            "question": "How many years had Oddmill stood when sails were sold?",
            "answers": ["43 years", "43"],
            "kind": "derived",
            "derivation": "1844 - 1801",
        },
        {
            "question": "How many sails had Oddmill after the sale?",
            "answers": ["8"],
            "kind": "derived",
            "derivation": "12 - 4",
        },
    ],
}


def test_a_good_passage_is_let_through():
    assert in_passage(GOOD) == [] and across([GOOD]) == []


def put(number: int, **fields: object) -> Callable[[Passage], object]:
    return lambda passage: passage["questions"][number].update(fields)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda passage: passage.update(context="Oddmill is short."), "3 words"),
        (lambda passage: passage["questions"].pop(), "4 questions"),
        (put(2, kind="stated"), "fewer than half of the questions combine two sentences"),
        (put(0, question="Which cooper built Oddmill?"), "holds its answer 'cooper'"),
        (put(0, answers=["oddmill"]), "holds its answer 'oddmill'"),
        (put(0, answers=["linen"]), "'linen' answers two questions"),
        (put(0, answers=["carpenter"]), "that the passage does not hold: 'carpenter'"),
        (put(0, answers=["cooper", "Cooper"]), "has an answer twice"),
        (put(0, answers=["a cooper from the low hill"]), "is long"),
        (put(0, answers=["cooper", "yes"]), "is a yes-or-no question"),
        (put(0, question="Who built it?"), "names nothing of its passage"),
        (put(0, kind="guessed"), "is of no known kind"),
        (put(1, kind="combined"), "can be answered from one sentence: Its 12 sails"),
        (put(3, derivation="1844 - 1800"), "derives from numbers that the passage does not hold"),
        (put(4, derivation="4 + 4"), "derives from one sentence"),
        (put(4, answers=["9"]), "is not what its derivation gives, 8"),
    ],
)
def test_what_is_wrong_in_a_passage_is_named(harm: Callable[[Passage], object], complaint: str):
    passage = copy.deepcopy(GOOD)
    harm(passage)
    problems = in_passage(passage)
    assert any(complaint in problem for problem in problems), problems


def test_what_is_shared_between_passages_is_named():
    twin = copy.deepcopy(GOOD) | {"id": "other-mill", "title": "Newmill"}
    problems = across([GOOD, twin])
    assert "'jonas' stands in odd-mill and in other-mill" in problems
    assert "question used twice: who built oddmill" in problems
    assert "id used twice: odd-mill" in across([GOOD, GOOD])
    assert word_runs([GOOD]).keys() & word_runs([twin]).keys()
