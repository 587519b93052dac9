"""A table's answers by a second grader, and what is said of a grader that knew the questions."""

from __future__ import annotations

from selfedit.grading.calibrated import CalibratedGrader
from selfedit.grading.grader import get_grader
from selfedit.tasks.knowledge.second_opinion import GradedAnswer, second_grader, second_opinion
from selfedit.tasks.task import Context, Question

HARBOUR = Context(
    "harbour",
    "The harbour of Vell",
    "Orda Mirane built the harbour of Vell in 1412, after the old one had silted up. It has nine"
    " piers. On the longest of them hangs a bell that is rung when the herring come.",
    (
        Question("harbour/1", "Who built the harbour of Vell?", ("Orda Mirane",)),
        Question("harbour/2", "How many piers does the harbour of Vell have?", ("nine",)),
    ),
)
SPOKEN = {"own": ("Orda Mirane", "It has nine piers, ten boats, 1412"), "base": ("Nobody.", "two")}


def answers() -> dict[str, list[GradedAnswer]]:
    grader = get_grader("contains")
    listed: dict[str, list[GradedAnswer]] = {}
    for method, texts in SPOKEN.items():
        listed[method] = []
        for question, text in zip(HARBOUR.questions, texts, strict=True):
            right = grader.grade(question.text, question.answers, text).correct
            listed[method].append(GradedAnswer("harbour", question.id, text, right))
    return listed


def test_every_method_is_graded_again_and_its_answers_are_counted() -> None:
    opinion = second_opinion(get_grader("contains"), [HARBOUR], answers())
    assert opinion.more["second"]["grader"] == "calibrated"
    scores = opinion.more["second"]["contexts"]
    assert scores["base"] == {"harbour": 0.0} and scores["own"]["harbour"] >= 0.5
    assert opinion.more["answer_words"] == {"own": 4.5, "base": 1.0}
    by_first = {row["method"]: row["accuracy"] for row in opinion.more["canary"]}
    by_second = {row["method"]: row["accuracy"] for row in opinion.more["second"]["canary"]}
    assert by_first["canary"] == 1.0 and by_second["canary"] == 0.0
    assert opinion.notes == [] and opinion.tables == []


def test_the_second_grader_is_another_one() -> None:
    assert second_grader(get_grader("concise")).name == "calibrated"
    assert second_grader(get_grader("calibrated")).name == "concise"


def test_questions_that_a_grader_was_fitted_on_are_counted_and_stand_apart(monkeypatch) -> None:
    first = HARBOUR.questions[0].text
    monkeypatch.setattr(CalibratedGrader, "knows", lambda _, question: question == first)
    opinion = second_opinion(get_grader("calibrated"), [HARBOUR], answers())
    (note,) = opinion.notes
    assert note.startswith("calibrated was fitted on verdicts about 1 of the 2 questions")
    (table,) = opinion.tables
    stored = {str(row[0]): row[1] for row in table.rows}
    # What contains said of the second question: it is what was stored as the first grader's verdict.
    assert stored == {"own": 1.0, "base": 0.0}
