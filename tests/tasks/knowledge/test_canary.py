"""Answers that are the same for every question of a passage: what each grader gives them."""

from __future__ import annotations

import pytest

from selfedit.grading.grader import Grade, Grader, get_grader
from selfedit.results.names import CANARY, CANARY_NAMES
from selfedit.tasks.knowledge.canary import BEST, FORMS, LIST, canary_rows, constant_scores
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
    assert loose == {
        CANARY: {"mill": 1.0},
        LIST: {"mill": 1.0},
        "alternatives": {"mill": 1.0},
        "question": {"mill": 0.0},
        "recital": {"mill": 1.0},
        BEST: {"mill": 0.5},  # 1812 is right twice
    }
    strict = constant_scores([MILL, EMPTY], get_grader("concise"))
    assert strict == {name: {"mill": 0.5 if name == BEST else 0.0} for name in CANARY_NAMES}


def test_rows_have_an_error_over_passages() -> None:
    other = Context("one", "One", "A text.", (Question("one/1", "Which?", ("oak",)),))
    rows = canary_rows([MILL, other], get_grader("contains"))
    assert [(row["method"], row["n"]) for row in rows] == [(name, 2) for name in CANARY_NAMES]
    assert rows[-1]["accuracy"] == pytest.approx(0.75)
    assert rows[-1]["se"] == pytest.approx(0.25)


@pytest.mark.parametrize("grader", ["concise", "calibrated"])
@pytest.mark.parametrize("part", ["heldout", "learn", "choose"])
def test_tricks_about_the_projects_own_passages_are_wrong(part: str, grader: str) -> None:
    contexts = load_contexts(f"corpus:{part}")[:24]  # calibrated takes a minute for all of learn
    rows = {row["method"]: row["accuracy"] for row in canary_rows(contexts, get_grader(grader))}
    for form in (*FORMS, CANARY):
        assert rows[form] <= 0.02, form
    questions = sum(len(context.questions) for context in contexts) / len(contexts)
    assert rows[BEST] == pytest.approx(1 / questions, abs=0.05), "right to its own question"
    if part == "heldout":
        assert canary_rows(contexts, get_grader("contains"))[0]["accuracy"] == 1


class Mute(Grader):
    name = "mute"

    def grade(self, question, golds, answer) -> Grade:
        return Grade(None, None, self.name)


def test_no_verdict_is_no_score() -> None:
    assert constant_scores([MILL], Mute()) == {name: {} for name in CANARY_NAMES}
    assert canary_rows([MILL], Mute()) == []


def test_a_reply_knows_the_other_gold_answers() -> None:
    reply = reply_to(MILL, MILL.questions[1], "Quill")
    assert reply[:3] == ("Who built the mill?", ("Marta Quill", "Quill"), "Quill")
    assert reply.others == ("1812", "slate", "1812")
    assert reply.passage == MILL.text
