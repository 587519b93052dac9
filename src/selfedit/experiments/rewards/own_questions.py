"""How well a reward from the model's own questions stands in for one from gold questions.

Every passage gets the questions that the model writes itself; each of its self-edits is trained on
once, and the same adapter answers both kinds, and says how likely it finds the answers to the own
ones: a few questions, right or wrong, leave many self-edits level, likelihoods leave none. Measured
for each passage: the rank agreement of either reward with the one from gold questions over its
self-edits, and what the self-edit it chooses is worth on the gold questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import DataError, UsageError
from selfedit.experiments.knowledge.summary import answers_of
from selfedit.experiments.rewards.agreement import (
    Scores,
    agreement_table,
    choices,
    rank_agreement,
    survivor_table,
)
from selfedit.grading.grader import NO_VERDICT
from selfedit.results.compare import compare
from selfedit.results.results import Results
from selfedit.rl.base_answers import measure_base
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.rl.own_questions import survivors, with_own_questions
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import Session
from selfedit.rl.trial import CandidateKey, PlannedTrial, accuracies, likelihoods, split_questions
from selfedit.run.records import Phase, Place, Trial
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.second_opinion import SecondOpinion, second_opinion
from selfedit.tasks.task import Context, split_contexts

KIND = "own-questions-reward"
PLACE = Place(Phase.OWN_QUESTIONS_REWARD)


PAIRS = (
    ("base", "random"),
    ("random", "own-chosen"),
    ("random", "own-likelihood-chosen"),
    ("own-chosen", "own-likelihood-chosen"),
    ("own-likelihood-chosen", "gold-chosen"),
)
"""The differences reported, the earlier method first."""


@dataclass(frozen=True)
class Measured:
    """What was measured of each passage.

    Attributes:
        base: the unadapted model's accuracy on gold questions.
        gold, by_own: of each self-edit, the accuracy on gold questions and on own ones.
        second_base, second_gold: `base` and `gold` by the second grader.
        opinion: what else that says: tricks, the length of answers, notes.
        likelihood: of each self-edit, the mean log-likelihood of the own answers.
    """

    base: Mapping[str, float]
    gold: Scores
    by_own: Scores
    likelihood: Scores
    second_base: Mapping[str, float]
    second_gold: Scores
    opinion: SecondOpinion


def run_own_questions(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start a run, or go on with it where it stopped; returns what is written to ``results.json``.

    ``rl.contexts``, ``rl.candidates`` and ``rl.repeats`` say how many passages, self-edits and
    inner loops; ``rl.own`` how questions are written and which are kept.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    contexts = own_questions_data(settings)
    (chosen,) = split_contexts(
        contexts, [settings.rl.contexts], seed=derive(settings.seed, "contexts")
    )
    hashes = {"train": data_hash(contexts)}
    with open_passages(folder, settings, hashes, kind=KIND, **options) as session:
        quizzed = with_own_questions(session, chosen)
        usable = [
            (gold, with_own)
            for gold, with_own in zip(chosen, quizzed, strict=True)
            if with_own.questions
        ]
        if not usable:
            fix = "raise rl.own.quizzes or rl.own.known, or lower rl.own.agree"
            raise DataError(
                "no question that the model wrote is usable",
                where=f"{len(chosen)} passages",
                fix=fix,
            )
        results = _ranking_results(
            session, chosen, _measure_passages(session, usable), hashes
        ).as_dict()
        session.run.write_results(results)
    return results


def own_questions_data(settings: Settings) -> list[Context]:
    """The passages to choose from.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
    """
    if settings.workers not in (1, "auto"):
        raise UsageError(
            "own questions are measured in this process", where="workers", fix="set workers = 1"
        )
    if settings.rl.candidates < 2:
        raise UsageError(
            "a ranking needs two or more self-edits",
            where="rl.candidates",
            fix="set it to 2 or more",
        )
    contexts = load_contexts(settings.train, require_questions=True)
    if settings.rl.contexts > len(contexts):
        what = f"{settings.rl.contexts} passages are asked for, there are {len(contexts)}"
        raise DataError(what, where="rl.contexts", fix="give more passages or lower it")
    return contexts


def _measure_passages(session: Session, usable: Sequence[tuple[Context, Context]]) -> Measured:
    """Train on every self-edit and ask both kinds of questions.

    Returns:
        Of every passage with all its verdicts; those that a judge left without one on some
        self-edit are left out.

    Raises:
        DataError: none is left.
    """
    rl, seed = session.settings.rl, session.settings.seed
    both = [
        replace(gold, questions=(*gold.questions, *with_own.questions)) for gold, with_own in usable
    ]
    measure_base(session, PLACE, both)
    edits = sample(session, PLACE, both, rl.candidates)
    by_id = {context.id: context for context in both}
    planned = [
        PlannedTrial(
            by_id[row.context_id],
            row.candidate,
            repeat,
            session.task.parse(row.text),
            derive(seed, "inner", KIND, row.context_id, row.candidate, repeat),
            derive(seed, "order", KIND, repeat),
        )
        for row in edits
        for repeat in range(rl.repeats)
    ]
    run_trials(session, PLACE, planned, ("answers", "likelihoods"))
    trials = session.run.ledger.trials(PLACE)
    on_gold, _ = split_questions(trials, [gold for gold, _ in usable])
    on_own, _ = split_questions(trials, [with_own for _, with_own in usable])
    by_gold, by_own, by_likelihood = accuracies(on_gold), accuracies(on_own), likelihoods(on_own)
    models = [None, *range(rl.candidates)]

    def has_verdicts(name: str) -> bool:
        return not any(math.isnan(by_gold[name, c] + by_own[name, c]) for c in models)

    # A passage needs a verdict on every self-edit, from both kinds of questions.
    ranked = list(filter(has_verdicts, by_id))
    if not ranked:
        raise DataError(
            "no passage has a verdict on all of its self-edits",
            where=session.grader.name,
            fix=NO_VERDICT,
        )
    base = {name: by_gold[name, None] for name in ranked}
    gold_contexts = [gold for gold, _ in usable if gold.id in base]
    counted = [trial for trial in on_gold if trial.context_id in base]
    opinion, by_second = _graded_again(session, gold_contexts, counted)
    return Measured(
        base=base,
        gold=_by_edit(by_gold, ranked, rl.candidates),
        by_own=_by_edit(by_own, ranked, rl.candidates),
        likelihood=_by_edit(by_likelihood, ranked, rl.candidates),
        second_base={name: by_second[name, None] for name in ranked},
        second_gold=_by_edit(by_second, ranked, rl.candidates),
        opinion=opinion,
    )


def _graded_again(
    session: Session, contexts: Sequence[Context], trials: Sequence[Trial]
) -> tuple[SecondOpinion, dict[CandidateKey, float]]:
    """What the second grader says, and the accuracies of every candidate by it."""
    parts = {
        "base": [trial for trial in trials if trial.candidate is None],
        "random": [trial for trial in trials if trial.candidate is not None],
    }
    answers = {name: answers_of(of_part) for name, of_part in parts.items()}
    opinion = second_opinion(session.grader, contexts, answers)
    again: list[Trial] = []
    for name, of_part in parts.items():
        verdicts = iter(opinion.verdicts[name])
        for trial in of_part:
            graded = tuple(replace(answer, correct=next(verdicts)) for answer in trial.answers)
            again.append(replace(trial, answers=graded))
    return opinion, accuracies(again)


def _by_edit(values: Mapping[CandidateKey, float], names: Sequence[str], candidates: int) -> Scores:
    table: dict[str, list[float]] = {}
    for name in names:
        table[name] = [values[name, candidate] for candidate in range(candidates)]
    return table


def _ranking_results(
    session: Session, chosen: Sequence[Context], measured: Measured, hashes: Mapping[str, str]
) -> Results:
    base, gold_edits, own_edits, by_likelihood = (
        measured.base,
        measured.gold,
        measured.by_own,
        measured.likelihood,
    )
    choosers = {"own-chosen": own_edits, "own-likelihood-chosen": by_likelihood}
    scores = {"base": base, **choices(gold_edits, choosers)}
    again = choices(measured.second_gold, {**choosers, "gold-chosen": gold_edits})
    opinion = measured.opinion
    opinion.more["second"]["contexts"] = {"base": measured.second_base, **again}
    agreement = rank_agreement(gold_edits, own_edits)
    likelihood_agreement = rank_agreement(gold_edits, by_likelihood)
    written = survivors(session, chosen)
    compared = compare(scores, PAIRS)
    by_passage = {
        name: {
            "gold": gold_edits[name],
            "own": own_edits[name],
            "own_likelihood": by_likelihood[name],
            "base": base[name],
        }
        for name in gold_edits
    }
    return Results(
        experiment=KIND,
        title="Gold questions answered, by who chooses the self-edit (n counts passages)",
        rows=compared.rows,
        paired=compared.paired,
        notes=opinion.notes,
        tables=[
            *opinion.tables,
            agreement_table("Right answers to own questions as a reward", agreement),
            agreement_table("Likelihood of own answers as a reward", likelihood_agreement),
            survivor_table(written),
        ],
        contexts=by_passage,
        model={"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        grader=session.settings.answer.grader,
        data=hashes,
        settings=session.settings.model_dump(mode="json"),
        more={
            **opinion.more,
            "inner_seeds": session.settings.rl.repeats,
            "agreement": agreement,
            "agreement_likelihood": likelihood_agreement,
            "survivors": written,
            "without_verdict": len(chosen) - written["passages_without"] - len(base),
        },
    )
