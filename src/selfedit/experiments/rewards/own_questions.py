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
from typing import Any

from selfedit.config import Settings
from selfedit.errors import DataError, UsageError
from selfedit.experiments.run import open_run
from selfedit.grading.grader import NO_VERDICT, get_grader
from selfedit.grading.stats import mean_se, spearman
from selfedit.lm.load import LanguageModel
from selfedit.results.compare import compare
from selfedit.results.results import Results
from selfedit.results.tabular import Cell, Column, Table
from selfedit.rl.base_answers import measure_base
from selfedit.rl.own_questions import survivors, with_own_questions
from selfedit.rl.sample import sample
from selfedit.rl.scoring import run_trials
from selfedit.rl.session import Session
from selfedit.rl.trial import CandidateKey, PlannedTrial, accuracies, likelihoods, split_questions
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, split_contexts

KIND = "own-questions-reward"
PLACE = Place(Phase.OWN_QUESTIONS_REWARD)
Scores = Mapping[str, Sequence[float]]
"""For each passage a mark of each of its self-edits."""
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
        gold, own: of each self-edit, the accuracy on gold questions and on own ones.
        likelihood: of each self-edit, the mean log-likelihood of the own answers.
    """

    base: Mapping[str, float]
    gold: Scores
    own: Scores
    likelihood: Scores


def run_own_questions(
    folder: str | Path,
    settings: Settings,
    *,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
    lm: LanguageModel | None = None,
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
    grader = get_grader(settings.answer.grader, settings.judge)
    hashes = {"train": data_hash(contexts)}
    told: Any = {"progress": progress, "interrupt": interrupt, "lm": lm}
    with open_run(folder, settings, hashes, grader, KnowledgeTask, kind=KIND, **told) as session:
        asked = with_own_questions(session, chosen)
        usable = [(gold, own) for gold, own in zip(chosen, asked, strict=True) if own.questions]
        if not usable:
            fix = "raise rl.own.quizzes or rl.own.known, or lower rl.own.agree"
            raise DataError(
                "no question that the model wrote is usable",
                where=f"{len(chosen)} passages",
                fix=fix,
            )
        results = _results(session, chosen, _measure(session, usable), hashes).as_dict()
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


def _measure(session: Session, usable: Sequence[tuple[Context, Context]]) -> Measured:
    """Train on every self-edit and ask both kinds of questions.

    Returns:
        Of every passage with all its verdicts; those that a judge left without one on some
        self-edit are left out.

    Raises:
        DataError: none is left.
    """
    rl, seed = session.settings.rl, session.settings.seed
    both = [replace(gold, questions=(*gold.questions, *own.questions)) for gold, own in usable]
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
    on_own, _ = split_questions(trials, [own for _, own in usable])
    by_gold, by_own, read = accuracies(on_gold), accuracies(on_own), likelihoods(on_own)
    models = [None, *range(rl.candidates)]
    # A passage needs a verdict on every self-edit, from both kinds of questions.
    ranked = [
        name
        for name in by_id
        if not any(math.isnan(by_gold[name, c] + by_own[name, c]) for c in models)
    ]
    if not ranked:
        raise DataError(
            "no passage has a verdict on all of its self-edits",
            where=session.grader.name,
            fix=NO_VERDICT,
        )
    base = {name: by_gold[name, None] for name in ranked}
    by_edit = [_by_edit(values, ranked, rl.candidates) for values in (by_gold, by_own, read)]
    return Measured(base, *by_edit)


def _by_edit(values: Mapping[CandidateKey, float], names: Sequence[str], candidates: int) -> Scores:
    return {name: [values[name, candidate] for candidate in range(candidates)] for name in names}


def _results(
    session: Session, chosen: Sequence[Context], measured: Measured, hashes: Mapping[str, str]
) -> Results:
    base, gold_edits, own_edits, read = (
        measured.base,
        measured.gold,
        measured.own,
        measured.likelihood,
    )
    scores = {
        "base": base,
        **choices(gold_edits, {"own-chosen": own_edits, "own-likelihood-chosen": read}),
    }
    agreement = rank_agreement(gold_edits, own_edits)
    by_likelihood = rank_agreement(gold_edits, read)
    written = survivors(session, chosen)
    compared = compare(scores, PAIRS)
    by_passage = {
        name: {
            "gold": gold_edits[name],
            "own": own_edits[name],
            "own_likelihood": read[name],
            "base": base[name],
        }
        for name in gold_edits
    }
    return Results(
        experiment=KIND,
        title="Gold questions answered, by who chooses the self-edit (n counts passages)",
        rows=compared.rows,
        paired=compared.paired,
        tables=[
            _agreement_table("Right answers to own questions as a reward", agreement),
            _agreement_table("Likelihood of own answers as a reward", by_likelihood),
            _survivor_table(written),
        ],
        contexts=by_passage,
        model={"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        grader=session.settings.answer.grader,
        data=hashes,
        settings=session.settings.model_dump(mode="json"),
        more={
            "inner_seeds": session.settings.rl.repeats,
            "agreement": agreement,
            "agreement_likelihood": by_likelihood,
            "survivors": written,
            "without_verdict": len(chosen) - written["passages_without"] - len(base),
        },
    )


def choices(gold: Scores, choosers: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """Gold accuracy of a random self-edit, of the one each chooser ranks first, and of the best;
    ties share.
    """
    chosen = {
        name: {context: _of_leaders(marks[context], values) for context, values in gold.items()}
        for name, marks in choosers.items()
    }
    mean = {context: sum(values) / len(values) for context, values in gold.items()}
    return {
        "random": mean,
        **chosen,
        "gold-chosen": {context: max(values) for context, values in gold.items()},
    }


def _of_leaders(chooser: Sequence[float], values: Sequence[float]) -> float:
    best = max(chooser)
    leaders = [value for mark, value in zip(chooser, values, strict=True) if mark == best]
    return sum(leaders) / len(leaders)


def rank_agreement(gold: Scores, own: Scores) -> dict[str, Any]:
    """Spearman's correlation and top-1 agreement of two rewards, mean and standard error over
    passages.

    A passage where one reward is the same for every self-edit has no ranking: it is counted, not
    averaged. Top-1 is the chance that a self-edit own questions rank first is one that gold
    questions rank first, ``chance`` what a random choice would reach.
    """
    ranks = {name: spearman(own[name], values) for name, values in gold.items()}
    ranked = [value for value in ranks.values() if value is not None]
    differing = [name for name, values in gold.items() if len(set(values)) > 1]
    best = {name: [float(v == max(gold[name])) for v in gold[name]] for name in differing}
    top = [_of_leaders(own[name], best[name]) for name in differing]
    return {
        "spearman": mean_se(ranked).as_dict() if ranked else None,
        "without_ranking": len(ranks) - len(ranked),
        "top1": mean_se(top).as_dict() if top else None,
        "chance": mean_se([sum(b) / len(b) for b in best.values()]).as_dict() if best else None,
        "without_best": len(gold) - len(differing),
    }


def _agreement_table(what: str, found: Mapping[str, Any]) -> Table:
    names = {
        "spearman": "rank agreement (Spearman)",
        "top1": "first choice is a best one",
        "chance": "the same by chance",
    }
    rows: list[list[Cell]] = []
    for key, name in names.items():
        value = found[key]
        rows.append(
            [name, None, None, 0]
            if value is None
            else [name, value["mean"], value["se"], value["n"]]
        )
    missing = (
        f"{found['without_ranking']} passages have no ranking, {found['without_best']} no best"
        " self-edit"
    )
    return Table.make(
        f"{what} ({missing})", ["", Column("mean", "number2"), Column("se", "number2"), "n"], rows
    )


def _survivor_table(found: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = [["written", found["written"]], ["kept", found["kept"]]]
    rows += [[f"rejected: {reason}", count] for reason, count in found["rejected"].items()]
    rows.append(["passages without any", found["passages_without"]])
    return Table.make(f"Own questions of {found['passages']} passages", ["questions", "n"], rows)
