"""The project's own passages keep the promises the demo and the recipes rest on."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import pytest

from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.task import Context

TRAIN = load_contexts("corpus:train")
HELDOUT = load_contexts("corpus:heldout")
ALL = TRAIN + HELDOUT
each_context = pytest.mark.parametrize("context", ALL, ids=lambda context: context.id)


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:[,.]\d+)*", text.lower())


def holds(text: str, part: str) -> bool:
    """Whether ``part`` stands in ``text`` as whole words."""
    haystack, needle = words(text), words(part)
    return any(
        haystack[i : i + len(needle)] == needle for i in range(len(haystack) - len(needle) + 1)
    )


def runs_of(context: Context, length: int) -> set[tuple[str, ...]]:
    found = words(context.text)
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def test_sixteen_to_learn_from_and_eight_to_test_on():
    assert (len(TRAIN), len(HELDOUT)) == (16, 8)


@each_context
def test_a_passage_is_short_and_well_asked(context: Context):
    assert 60 <= len(context.text.split()) <= 90
    assert len(context.questions) >= 6


@each_context
def test_the_reference_answer_stands_in_the_passage(context: Context):
    for question in context.questions:
        assert holds(context.text, question.answers[0]), question


@each_context
def test_no_question_gives_its_answer_away(context: Context):
    for question in context.questions:
        assert not [answer for answer in question.answers if holds(question.text, answer)], question


@each_context
def test_every_question_names_what_it_is_about(context: Context):
    subject = [word for word in context.title.split() if word not in ("The", "of")]
    for question in context.questions:
        # "the kessaline" for "The Kessaline", "sevrine glass" for "Sevrine Glass", a person by both
        # names
        assert any(
            holds(question.text, word) or holds(question.text, word + "s") for word in subject
        ), question


@each_context
def test_answers_are_short_and_differ(context: Context):
    for question in context.questions:
        assert all(1 <= len(answer.split()) <= 4 for answer in question.answers), question
        lowered = [answer.lower() for answer in question.answers]
        assert len(set(lowered)) == len(lowered), question
        assert not {"yes", "no"} & set(lowered)


def test_ids_titles_and_questions_are_unique():
    for values in (
        [context.id for context in ALL],
        [context.title for context in ALL],
        [context.text for context in ALL],
        [question.id for context in ALL for question in context.questions],
        [question.text.lower() for context in ALL for question in context.questions],
    ):
        assert not [value for value, count in Counter(values).items() if count > 1]


def test_no_two_questions_share_a_reference_answer():
    answers = Counter(
        question.answers[0].lower() for context in ALL for question in context.questions
    )
    assert not [answer for answer, count in answers.items() if count > 1]


def test_held_out_passages_share_no_long_run_of_words_with_the_others():
    for train, heldout in product(TRAIN, HELDOUT):
        assert not runs_of(train, 6) & runs_of(heldout, 6), (train.id, heldout.id)


def test_no_invented_name_is_used_twice():
    """Names are capitalised words inside a sentence; common ones that a passage may share are
    listed.
    """
    shared = {"october", "november", "february", "june", "january", "sunday", "sundays", "tuesday"}
    shared |= {
        "mount",
        "lake",
        "hill",
        "port",
        "college",
        "school",
        "museum",
        "river",
        "cape",
        "bay",
        "house",
        "the",
    }
    shared |= {"weather", "office", "captain", "sister", "night"}
    used: dict[str, str] = {}
    for context in ALL:
        for name in {
            found.lower() for found in re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", context.text)
        } - shared:
            assert used.setdefault(name, context.id) == context.id, name
