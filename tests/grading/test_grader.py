"""The key-free graders and how they are found by name."""

from __future__ import annotations

import pytest

from selfedit.errors import DataError, UsageError
from selfedit.grading.grader import ContainsGrader, F1Grader, Grade, Grader, Reply, get_grader

QUESTION = "Where was she born?"


@pytest.mark.parametrize(
    ("name", "answer", "correct"),
    [
        ("exact", "The Paris.", True),
        ("exact", "In Paris", False),
        ("contains", "In Paris, France", True),
        ("contains", "In Parisian suburbs", False),
        ("f1", "in Paris", True),
        ("f1", "in the city of Paris, France", False),
    ],
)
def test_verdicts(name: str, answer: str, correct: bool) -> None:
    grade = get_grader(name).grade(QUESTION, ["Paris"], answer)
    assert grade.correct is correct
    assert grade.method == name
    assert 0 <= grade.score <= 1


def test_a_batch_gives_the_same_grades_in_order() -> None:
    replies = [Reply(QUESTION, ["Paris"], "Rome"), Reply(QUESTION, ["Paris", "Rome"], "Rome")]
    assert ContainsGrader().grade_all(replies) == [
        Grade(False, 0.0, "contains"),
        Grade(True, 1.0, "contains"),
    ]
    assert ContainsGrader().grade_all([]) == []


def test_f1_threshold() -> None:
    assert F1Grader(1.0).grade(QUESTION, ["New York"], "York New").correct
    assert not F1Grader(1.0).grade(QUESTION, ["New York"], "in New York").correct
    with pytest.raises(UsageError, match="threshold"):
        F1Grader(0)


def test_unknown_grader_names_the_known() -> None:
    with pytest.raises(UsageError, match=r"calibrated, concise, contains, exact, f1"):
        get_grader("gut feeling")


def test_no_gold_is_an_error() -> None:
    with pytest.raises(DataError):
        ContainsGrader().grade(QUESTION, [], "Paris")


def test_protocol() -> None:
    assert isinstance(ContainsGrader(), Grader)
