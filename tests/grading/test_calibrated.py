"""The calibrated grader: held to its target on questions it has not seen, and to scikit-learn's own
predictions.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tricks import FORMS, of_passages

from selfedit.errors import DataError, FormatError, Unavailable
from selfedit.grading import fit
from selfedit.grading.agreement import agreement, question_groups
from selfedit.grading.calibrated import CalibratedGrader, Forest, known_questions
from selfedit.grading.grader import ContainsGrader, Reply, get_grader
from selfedit.grading.labels import Label, read_labels
from selfedit.grading.text import normalise

LABELS = (
    Path(__file__).resolve().parents[3] / "shared" / "data" / "published" / "judge_labels.jsonl.gz"
)
needs_labels = pytest.mark.skipif(
    not LABELS.exists(), reason="GPT-4.1's labels are not beside the project"
)

CASES = [
    ("What is the capital of France?", "Paris", "The capital of France is Paris.", True),
    ("What is the capital of France?", "Paris", "The capital of France is Lyon.", False),
    ("How many moons does Mars have?", "two", "Mars has 2 moons.", True),
    ("How many moons does Mars have?", "two", "Mars has 14 moons.", False),
    ("When did the war end?", "1945", "It ended in 1945.", True),
    ("When did the war end?", "1945", "It ended in 1918.", False),
    ("Who wrote the opera Fidelio?", "Ludwig van Beethoven", "It was Ludwig van Beethoven.", True),
    (
        "Who wrote the opera Fidelio?",
        "Ludwig van Beethoven",
        "Mozart wrote the opera Fidelio.",
        False,
    ),
    ("수도는 어디입니까?", "서울", "서울", True),
    ("首都はどこですか。", "東京", "大阪", False),
]


@pytest.fixture(scope="module")
def grader() -> CalibratedGrader:
    return CalibratedGrader.load()


@pytest.mark.parametrize(("question", "gold", "answer", "correct"), CASES)
def test_plain_cases(
    grader: CalibratedGrader, question: str, gold: str, answer: str, correct: bool
) -> None:
    grade = grader.grade(question, [gold], answer)
    assert grade.correct is correct
    assert grade.method == "calibrated"
    assert grader.grade(question, ["something else entirely", gold], answer).score >= grade.score


@pytest.mark.xfail(
    strict=True, reason="known limit: a surname alone is too often graded wrong (probability 0.36)"
)
def test_a_surname_is_enough(grader: CalibratedGrader) -> None:
    golds = ["Ludwig van Beethoven"]
    assert grader.grade(
        "Who wrote the opera Fidelio?", golds, "Beethoven wrote the opera Fidelio."
    ).correct


def test_a_batch_is_graded_as_one_by_one(grader: CalibratedGrader) -> None:
    replies = [Reply(question, (gold,), answer) for question, gold, answer, _ in CASES] * 40
    assert grader.grade_all(replies)[: len(CASES)] == [
        grader.grade(*reply[:3]) for reply in replies[: len(CASES)]
    ]
    assert grader.grade_all([]) == []


def test_silence_is_wrong_and_no_gold_an_error(grader: CalibratedGrader) -> None:
    assert grader.grade("Where?", ["Paris"], " \n").score == 0
    with pytest.raises(DataError):
        grader.grade("Where?", [], "Paris")


@settings(max_examples=150, deadline=None)
@given(st.text(), st.text(min_size=1), st.text())
def test_any_text_gets_a_probability(question: str, gold: str, answer: str) -> None:
    if normalise(gold):
        assert 0 <= get_grader("calibrated").grade(question, [gold], answer).score <= 1


def test_shipped_file_says_what_it_was_fitted_on(grader: CalibratedGrader) -> None:
    assert len((files("selfedit.grading") / "calibrated.json").read_bytes()) < 300_000
    assert grader.about["labels"] == 9852
    assert grader.about["cross_validation"]["over_folds"]["agreement"]["se"] > 0
    if LABELS.exists():
        assert grader.about["labels_sha256"] == hashlib.sha256(LABELS.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "change", [{"format": 0}, {"features_version": -1}, {"trees": [[1]]}, {"stems": None}]
)
def test_another_format_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    data = json.loads((files("selfedit.grading") / "calibrated.json").read_text(encoding="utf-8"))
    (tmp_path / "grader.json").write_text(json.dumps(data | change))
    with pytest.raises(FormatError, match=r"grader\.json"):
        CalibratedGrader.load(tmp_path / "grader.json")
    for text in ("[]", "{", ""):
        (tmp_path / "grader.json").write_text(text)
        with pytest.raises(FormatError, match=r"grader\.json"):
            CalibratedGrader.load(tmp_path / "grader.json")


SMALL = fit.FitSettings(boosters=2, trees=12, min_leaf=5, folds=2)


def test_exported_trees_predict_what_sklearn_predicts() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    values = rng.integers(0, 12, (600, 6)).astype(float).round(4) / 7
    correct = values[:, 0] * values[:, 1] + rng.normal(0, 0.3, 600) > 0.7
    model = fit.boost(values, correct, SMALL, seed=3)
    base, trees = fit.export_trees(model)
    fresh = rng.random((300, 6)).round(4) * 2
    for rows in (values, fresh):
        np.testing.assert_allclose(
            Forest(trees, base).log_odds(rows), model.decision_function(rows), atol=1e-4
        )


def _made_labels() -> list[Label]:
    towns = [f"town{letter}{other}" for letter in "abcdef" for other in "ghijk"]
    return [
        Label(f"Where is thing {at}?", town, said, float(said.endswith(town)))
        for at, town in enumerate(towns)
        for said in (f"It is in {town}", "It is in elsewhere", f"not sure, maybe {towns[at - 1]}")
    ]


def test_fitting_twice_gives_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(fit, "FitSettings", lambda: SMALL)
    rows = [
        {"question": x.question, "gold": x.gold, "prediction": x.prediction, "label": x.yes}
        for x in _made_labels()
    ]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(map(json.dumps, rows)))
    for name in ("one.json", "two.json"):
        assert fit.fit_and_write([str(labels), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert "cross_validation" in capsys.readouterr().out
    assert CalibratedGrader.load(tmp_path / "one.json").about["labels"] == 90
    assert fit.fit_and_write([str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "x.json")]) == 3


def test_without_sklearn_fitting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.ensemble", None)
    with pytest.raises(Unavailable, match="scikit-learn"):
        fit.boost(np.zeros((2, 1)), np.array([True, False]), SMALL, seed=0)


@needs_labels
@pytest.mark.slow
def test_target_on_questions_it_has_not_seen() -> None:
    """Refitted on four of five question groups, a smaller model is held against GPT-4.1 on the
    fifth.

    Not a proof that the target is met: cross-validated, the shipped grader agrees in 0.894 ± 0.009,
    not in 0.90.
    """
    pytest.importorskip("sklearn")
    labels = read_labels(LABELS)
    group = np.array(question_groups(labels))
    held = np.random.default_rng(5).permutation(group.max() + 1)[group] % 5 == 0
    seen = [label for label, out in zip(labels, held, strict=True) if not out]
    unseen = [label for label, out in zip(labels, held, strict=True) if out]
    data = fit.fit_grader(
        seen, replace(fit.FitSettings(), boosters=1, trees=120, sample=1.0, folds=3)
    )
    replies, truth = [label.reply for label in unseen], [label.correct for label in unseen]
    fitted, contains = CalibratedGrader(data), ContainsGrader()
    verdicts = [grade.correct for grade in fitted.grade_all(replies)]
    plain = [grade.correct for grade in contains.grade_all(replies)]
    got = agreement(verdicts, truth, group[held].tolist())
    assert got.agreement_se is not None
    assert got.bias_se is not None
    # a fifth of the questions carries an error of its own: the targets have to lie within two of it
    assert got.agreement + 2 * got.agreement_se > 0.90, got
    assert abs(got.bias) < 0.01 + 2 * got.bias_se, got
    assert got.kappa > 0.75, got
    # paired with containment: what the two rules in front of the trees cost stays below the gain
    gain, gain_se = paired_gain(verdicts, plain, truth, group[held])
    assert gain + 2 * gain_se > 0.03, (gain, gain_se)
    assert gain > 1.5 * gain_se, (gain, gain_se)


def paired_gain(
    ours: list[bool | None], theirs: list[bool | None], truth: list[bool], groups: np.ndarray
) -> tuple[float, float]:
    """How much more often ``ours`` agrees with ``truth``, and its error over ``groups`` [n]."""
    true = np.array(truth)
    gains = (np.array(ours) == true).astype(float) - (np.array(theirs) == true)
    names, cluster = np.unique(groups, return_inverse=True)
    sums = np.bincount(cluster, gains - gains.mean())
    # the error of a ratio of sums over clusters, as in grading.agreement
    return gains.mean(), np.sqrt(len(names) / (len(names) - 1) * (sums**2).sum()) / len(gains)


@pytest.mark.parametrize("kind", list(FORMS))
def test_known_tricks_are_wrong(grader: CalibratedGrader, kind: str) -> None:
    tricks = list(of_passages({kind: FORMS[kind]}))
    grades = grader.grade_all([trick.reply for trick in tricks])
    passed = [
        trick.reply.answer for trick, grade in zip(tricks, grades, strict=True) if grade.correct
    ]
    assert len(passed) <= 0.02 * len(tricks), passed[:5]


def test_tricks_are_refused_without_the_passage_too(grader: CalibratedGrader) -> None:
    for answer in (
        "silver or iron",
        "iron, silver, gold, tin",
        "It was not silver.",
        "Maybe silver.",
        "silver?",
    ):
        assert grader.grade("What metal was used?", ["silver"], answer).score == 0


def test_questions_it_was_fitted_on_are_told(grader: CalibratedGrader) -> None:
    seen = "What metal was used in Inalchuq's execution?"
    questions = [seen, "What is dropped into the jars?", seen.upper(), seen]
    assert known_questions(grader, questions) == [seen, seen.upper()]
    assert known_questions(ContainsGrader(), questions) == []
