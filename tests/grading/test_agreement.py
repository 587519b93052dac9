"""Agreement figures by hand and against scikit-learn; labelled files read strictly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from selfedit.errors import DataError, FormatError
from selfedit.grading.agreement import agreement, question_groups
from selfedit.grading.labels import Label, read_labels

ROW = {"question": "Where?", "gold": "Paris", "prediction": "Paris", "votes_yes": 2, "votes": 3}


def test_by_hand() -> None:
    got = agreement([True, True, True, False], [True, True, False, False])
    assert got.agreement == 0.75
    assert got.bias == 0.25
    assert got.kappa == pytest.approx(0.5)  # chance: 3/4 * 1/2 + 1/4 * 1/2 = 1/2
    assert got.agreement_se == pytest.approx(
        (0.75 * 0.25 / 3) ** 0.5
    )  # of a proportion, over n - 1
    assert (got.n, got.groups) == (4, 4)
    assert json.loads(json.dumps(got.as_dict()))["n"] == 4


def test_kappa_against_sklearn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    pred = [i % 3 == 0 for i in range(40)]
    true = [i % 4 == 0 for i in range(40)]
    assert agreement(pred, true).kappa == pytest.approx(metrics.cohen_kappa_score(true, pred))


def test_repeating_a_question_does_not_shrink_the_error() -> None:
    pred, true = [True, False, True, True], [True, True, True, False]
    once = agreement(pred, true)
    thrice = agreement(pred * 3, true * 3, [0, 1, 2, 3] * 3)
    assert thrice.agreement_se == pytest.approx(once.agreement_se)
    assert agreement(pred, true, [7, 7, 7, 7]).agreement_se is None


def test_one_sided_verdicts_and_bad_lengths() -> None:
    assert agreement([True, True], [True, True]).kappa == 1.0
    for pred, true in (([], []), ([True], [True, False])):
        with pytest.raises(DataError, match="labels"):
            agreement(pred, true)


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.gz"])
def test_reads_plain_and_gzipped(tmp_path: Path, name: str) -> None:
    rows = [ROW, {"question": "q", "gold": "g", "pred": "p", "label": False}]
    text = "\n".join(map(json.dumps, rows)) + "\n\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    labels = read_labels(path)
    assert labels == [
        Label("Where?", "Paris", "Paris", pytest.approx(2 / 3)),
        Label("q", "g", "p", 0.0),
    ]
    assert [label.correct for label in labels] == [True, False]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "gold": "g", "prediction": "p"},
        ROW | {"votes": 0},
        ROW | {"votes_yes": 4},
        ROW | {"gold": " "},
        ROW | {"prediction": 5},
        ROW | {"label": float("nan")},
        ["not", "an", "object"],
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: object) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(FormatError, match="line 2"):
        read_labels(path)


@pytest.mark.parametrize(
    "row",
    [
        {"query": "q", "golds": ["g", "h"], "response": "p", "correct": True},
        {"question": "q", "answers": [" ", "g", "h"], "answer": "p", "verdict": "Yes"},
        {"question": "q", "answer": ["g", "h"], "pred": "p", "label": "correct"},
        {
            "question": "q",
            "reference": ["g", "h"],
            "student_answer": "p",
            "votes_yes": 3,
            "votes": 3,
            "other": 1,
        },
    ],
)
def test_fields_by_other_names(tmp_path: Path, row: dict[str, object]) -> None:
    expected = [Label("q", "g", "p", 1.0, ("h",))]
    (tmp_path / "labels.jsonl").write_text(json.dumps(row))
    (tmp_path / "labels.json").write_text(json.dumps([row], indent=1))
    assert (
        read_labels(tmp_path / "labels.jsonl") == read_labels(tmp_path / "labels.json") == expected
    )
    assert expected[0].reply.golds == ("g", "h")


def test_no_verdict_counts_neither_way() -> None:
    got = agreement([True, None, False, None], [True, True, True, False])
    assert (got.n, got.no_verdict, got.agreement) == (2, 2, 0.5)
    assert (got.false_yes, got.false_no) == (0, 1)
    with pytest.raises(DataError, match="no verdict"):
        agreement([None], [True])


def test_error_of_kappa_is_about_its_spread_over_samples() -> None:
    rng = np.random.default_rng(0)

    def drawn() -> tuple[list[bool], list[bool], list[int]]:
        hard = np.repeat(rng.random(150), 4)  # the four replies to a question are alike
        true = rng.random(600) < 0.4
        return (
            ((rng.random(600) < hard * 0.4) ^ true).tolist(),
            true.tolist(),
            np.repeat(np.arange(150), 4).tolist(),
        )

    found = [agreement(*drawn()) for _ in range(200)]
    spread = np.std([each.kappa for each in found])
    assert np.mean([each.kappa_se or 0 for each in found]) == pytest.approx(spread, rel=0.15)


def test_missing_empty_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no labels"):
        read_labels(tmp_path / "empty.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode() * 50)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "cut.jsonl.gz")


def test_groups_join_what_shares_a_question_or_a_gold() -> None:
    labels = [
        Label(*row, 1.0)
        for row in [("a?", "1", ""), ("A", "2", ""), ("b", "2.", ""), ("c", "3", "")]
    ]
    assert question_groups(labels) == [0, 0, 0, 1]
    assert question_groups([*labels, Label("d", "4", "", 1.0, ("3",))]) == [0, 0, 0, 1, 1]
