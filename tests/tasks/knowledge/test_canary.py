"""Answers that are the same for every question of a passage: what each grader gives them."""

from __future__ import annotations

import pytest

from selfedit.grading.grader import Grade, Grader, get_grader
from selfedit.run.records import Answer, Phase, Place, Trial
from selfedit.tasks.knowledge.canary import BEST, LIST, answer_words, canary_rows, constant_scores
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.task import Context, Question, reply_to

MILL = Context(
    "mill",
    "Orlin Mill",
    "Orlin Mill was built of slate in 1812 by Marta Quill.",
    (
        Question("mill/1", "When was the mill built?", ("1812",)),
        Question("mill/2", "Who built the mill?", ("Marta Quill", "Quill")),
        Question("mill/3", "What is the mill built of?", ("slate",)),
        Question("mill/4", "In which year was it built?", ("1812",)),
    ),
)
EMPTY = Context("empty", "Nothing", "Nothing is asked of this.")


def test_containment_gives_a_list_everything_and_the_default_nothing() -> None:
    loose = constant_scores([MILL, EMPTY], get_grader("contains"))
    assert loose == {LIST: {"mill": 1.0}, BEST: {"mill": 0.5}}  # 1812 is right twice
    strict = constant_scores([MILL, EMPTY], get_grader("concise"))
    assert strict == {LIST: {"mill": 0.0}, BEST: {"mill": 0.5}}


def test_rows_have_an_error_over_passages() -> None:
    other = Context("one", "One", "A text.", (Question("one/1", "Which?", ("oak",)),))
    rows = canary_rows([MILL, other], get_grader("contains"))
    assert [(row["method"], row["n"]) for row in rows] == [(LIST, 2), (BEST, 2)]
    assert rows[1]["accuracy"] == pytest.approx(0.75)
    assert rows[1]["se"] == pytest.approx(0.25)


def test_the_projects_own_passages_cannot_be_listed() -> None:
    contexts = load_contexts("corpus:heldout")
    scores = constant_scores(contexts, get_grader("concise"))
    assert max(scores[LIST].values()) == 0
    assert max(constant_scores(contexts, get_grader("contains"))[LIST].values()) == 1


class Mute(Grader):
    name = "mute"

    def grade(self, question, golds, answer) -> Grade:
        return Grade(None, None, self.name)


def test_no_verdict_is_no_score() -> None:
    assert constant_scores([MILL], Mute()) == {LIST: {}, BEST: {}}
    assert canary_rows([MILL], Mute()) == []


def test_a_reply_knows_the_other_gold_answers() -> None:
    reply = reply_to(MILL, MILL.questions[1], "Quill")
    assert reply[:3] == ("Who built the mill?", ("Marta Quill", "Quill"), "Quill")
    assert reply.others == ("1812", "slate", "1812")
    assert reply.passage == MILL.text


def test_words_an_answer() -> None:
    answers = tuple(
        Answer(question_id=text, text=text, tokens=9, seconds=0.0) for text in ("a b", "c")
    )
    trial = Trial(place=Place(Phase.EVAL, "base"), context_id="mill", answers=answers)
    assert answer_words({"base": [trial], "own": []}) == {"base": 1.5}
