"""Grading a labelled file: the fitted grader only on questions it has not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from selfedit.errors import DataError, UsageError
from selfedit.grading import fit
from selfedit.grading.calibrated import CalibratedGrader
from selfedit.grading.grade_file import grade_file
from selfedit.grading.grader import ContainsGrader, get_grader
from selfedit.grading.labels import Label, read_labels

SMALL = fit.FitSettings(boosters=2, trees=12, min_leaf=5, folds=2)
TOWNS = [f"town{letter}{other}" for letter in "abcdef" for other in "ghijk"]


def made_labels(first: int = 0, last: int = 30) -> list[Label]:
    return [
        Label(f"Where is thing {at}?", TOWNS[at], said, float(said.endswith(TOWNS[at])))
        for at in range(first, last)
        for said in (
            f"It is in {TOWNS[at]}",
            "It is in elsewhere",
            f"not sure, maybe {TOWNS[at - 1]}",
        )
    ]


Write = Callable[[list[Label]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(labels: list[Label]) -> Path:
        path = tmp_path / "labels.jsonl"
        rows = [
            {"query": x.question, "reference": x.gold, "response": x.prediction, "correct": x.yes}
            for x in labels
        ]
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    return written


@pytest.fixture(scope="module")
def fitted() -> CalibratedGrader:
    pytest.importorskip("sklearn")
    return CalibratedGrader(fit.fit_grader(made_labels(0, 20), SMALL))


def test_questions_it_was_fitted_on_are_left_out(write: Write, fitted: CalibratedGrader) -> None:
    assert fitted.knows("where is THING 3?")
    assert not fitted.knows("Where is thing 25?")
    path = write(made_labels(10, 30))
    found = grade_file(path, fitted)
    assert (found["n"], found["seen"], found["groups"]) == (30, 30, 10)
    assert "not fitted on" in found["how"]
    whole = grade_file(path, fitted, folds=0)
    assert (whole["n"], whole["seen"]) == (60, 30)


def test_where_it_has_seen_all_it_is_fitted_anew_in_folds(
    write: Write, fitted: CalibratedGrader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfedit.grading.grade_file.FitSettings", lambda: SMALL)
    tested: list[set[str]] = []
    real = fit.fit_trees

    def watched(values: object, correct: object, group: object, settings: object) -> object:
        tested.append(set(group.tolist()))  # type: ignore[attr-defined]
        return real(values, correct, group, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "fit_trees", watched)
    found = grade_file(write(made_labels(0, 20)), fitted)
    assert "folds" in found["how"]
    assert (found["n"], found["groups"]) == (60, 20)
    assert len(tested) == 10
    everyone = set(range(20))
    assert sorted(group for seen in tested for group in everyone - seen) == sorted(
        everyone
    )  # each out once, whole
    assert found["agreement"] > 0.9  # the towns can be told without having seen them
    assert abs(found["bias"]) < 0.05


def test_other_graders_need_no_split(write: Write) -> None:
    found = grade_file(write(made_labels()), ContainsGrader())
    assert (found["agreement"], found["kappa"], found["bias"], found["n"]) == (1.0, 1.0, 0.0, 90)
    with pytest.raises(UsageError, match="not fitted"):
        grade_file(write(made_labels()), ContainsGrader(), folds=5)
    with pytest.raises(UsageError, match="1 folds"):
        grade_file(write(made_labels()), get_grader("calibrated"), folds=1)


def test_one_question_cannot_be_split(write: Write, fitted: CalibratedGrader) -> None:
    path = write(made_labels(3, 4))
    assert len(read_labels(path)) == 3
    with pytest.raises(DataError, match="one question"):
        grade_file(path, fitted, folds=3)
