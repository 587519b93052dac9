"""Which document a question goes to: other words for the same thing, questions about nothing here,
other scripts, and how the time grows.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.documents.routing import DocumentRouter
from selfedit.tasks.knowledge.contexts import load_contexts

QUESTIONS = json.loads(Path(__file__).with_name("paraphrases.json").read_text("utf-8"))


def characters(text: str) -> list[int]:
    """The ids of a tokenizer without words."""
    return [min(ord(sign), 255) for sign in text]


@pytest.mark.model
@pytest.mark.parametrize("part", ["learn", "choose"])
def test_paraphrases_find_their_passage_and_foreign_questions_none(part, smollm2):
    """`LEAST` was chosen on the first part; the second was written after it and asked once."""
    contexts = load_contexts(f"corpus:{part}")
    router = DocumentRouter(
        [[f"{context.title}\n{context.text}"] for context in contexts],
        smollm2.encoding.more,
        len(smollm2.tokenizer),
    )

    def document(question: str) -> str:
        route = router.route(question)
        return "" if route is None else contexts[route.document].id

    pairs = [
        (name, question)
        for name, questions in QUESTIONS[part]["paraphrased"].items()
        for question in questions
    ]
    right = sum(document(question).startswith(name) for name, question in pairs)
    assert right >= 0.95 * len(pairs)
    foreign = QUESTIONS[part]["foreign"]
    assert sum(not document(question) for question in foreign) >= 0.9 * len(foreign)


def test_stems_and_other_scripts():
    documents = [
        ["The council meets on Tuesdays in the granary."],
        ["Die Fähre legt um sieben Uhr in Lundvik ab."],
        ["灯塔建于一八九〇年，由渔民出资。"],
    ]
    router = DocumentRouter(documents, characters, 256)

    def number(question: str) -> int | None:
        route = router.route(question)
        return None if route is None else route.document

    assert number("When will the councils be meeting?") == 0
    assert number("Wann fährt die FÄHRE?") == 1
    assert number("谁出资建了灯塔？") == 2
    assert number("Xylophone zithers?") is None
    assert DocumentRouter([], characters, 256).route("anything") is None


def test_a_question_costs_what_it_shares_not_what_the_library_holds():
    """Of 2,000 further documents none has a word of the question: no score is summed for them."""
    documents = [[f"word{number} other{number}"] for number in range(2000)]
    router = DocumentRouter([["The lighthouse of Vell"], *documents], characters, 256)
    route = router.route("Who keeps the lighthouse of Vell?")
    assert route is not None and route.document == 0
    assert len(router._holders["lighthous"][0]) == 1
