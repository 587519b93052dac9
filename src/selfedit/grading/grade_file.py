"""How far a grader agrees with the labels of a file, on questions it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfedit.errors import UsageError
from selfedit.grading.agreement import agreement, question_groups
from selfedit.grading.calibrated import CalibratedGrader
from selfedit.grading.fit import FitSettings, unseen_verdicts
from selfedit.grading.grader import Grader
from selfedit.grading.judge import JudgeGrader
from selfedit.grading.labels import Label, read_labels
from selfedit.storage.files import hash_file

FOLDS = 10


def grade_file(path: str | Path, grader: Grader, folds: int | None = None) -> dict[str, Any]:
    """Grade every reply of a labelled file and compare; n, standard errors and what was compared
    with it.

    A fitted grader has seen the verdicts on the questions it was fitted on, so those are left out
    and counted as ``seen``. Where they are all there is, or with ``folds``, graders are fitted on
    the file itself instead, each fold by one that has seen none of its questions and none of their
    gold answers.

    Args:
        path: see :mod:`selfedit.grading.labels`.
        grader: whose verdicts to compare.
        folds: fit on the file, in so many parts; 0 takes the fitted grader as it is, on every
            question.

    Raises:
        DataError, FormatError: the file cannot be read, or nothing in it was graded.
        UsageError: folds for a grader that is not fitted, or a single one.
        Unavailable: fitting needs scikit-learn; a judge its endpoint.
    """
    labels = read_labels(path)
    fitted = isinstance(grader, CalibratedGrader)
    if folds is not None and (not fitted or folds == 1 or folds < 0):
        what = (
            f"{folds} folds"
            if fitted
            else f"the grader {grader.name!r} is not fitted, so it needs no folds"
        )
        raise UsageError(
            what, where="folds", fix="leave it out, or give calibrated 2 or more (0: as it is)"
        )
    known = (
        sum(grader.knows(label.question) for label in labels)
        if isinstance(grader, CalibratedGrader)
        else 0
    )
    graded_on = "as it is"
    if folds or (folds is None and known == len(labels)):
        folds = folds or FOLDS
        graded_on = f"fitted on the file, {folds} folds without a common question"
        verdicts: Sequence[bool | None] = unseen_verdicts(
            labels, replace(FitSettings(), folds=folds)
        )
    elif known and folds is None and isinstance(grader, CalibratedGrader):
        graded_on = "on questions it was not fitted on"
        labels = [label for label in labels if not grader.knows(label.question)]
        verdicts = _graded_labels(grader, labels)
    else:
        verdicts = _graded_labels(grader, labels)
    agreed = agreement(verdicts, [label.correct for label in labels], question_groups(labels))
    about = {
        "grader": grader.name,
        "how": graded_on,
        "seen": known,
        "sha256": hash_file(Path(path)),
    }
    return agreed.as_dict() | about | judge_report(grader)


def _graded_labels(grader: Grader, labels: Sequence[Label]) -> list[bool | None]:
    grades = grader.grade_all([label.reply for label in labels])
    return [grade.correct for grade in grades]


def judge_report(grader: Grader) -> dict[str, Any]:
    """Whom a judge asked, its unreadable replies and its bill; nothing for graders that cost
    nothing.
    """
    if not isinstance(grader, JudgeGrader):
        return {}
    endpoint = {"url": grader.settings.endpoint.url, "model": grader.settings.endpoint.model}
    return {"judge": {**endpoint, "unreadable": grader.unreadable, "bill": grader.bill.as_dict()}}
