"""Continued pretraining: many passages into one model, self-edits unsplit, an adapter or all
weights.

Each method makes one training set of all passages: every text written about a passage is a document
under its title, and the passage itself is one more. One model is trained on it from the untouched
weights, and answers the questions of all passages without them. The methods differ by their
documents alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import Settings
from selfedit.errors import DataError, UsageError
from selfedit.experiments.knowledge.cpt_training import forget, train_into
from selfedit.experiments.knowledge.edit_statistics import shape_of
from selfedit.experiments.knowledge.external import check_external, store_written, write_external
from selfedit.experiments.knowledge.summary import method_results
from selfedit.experiments.knowledge.training_documents import documents_of
from selfedit.experiments.knowledge.writing import costs, write_entigraph, write_spa
from selfedit.grading.stats import mean, means
from selfedit.lm.weights import load_weights
from selfedit.models.names import model_path
from selfedit.rl.base_answers import measure_base
from selfedit.rl.evaluate import held_out
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.rl.policy import policy_folder
from selfedit.rl.sample import sample
from selfedit.rl.session import Session
from selfedit.rl.trial import right_or_wrong
from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place, SelfEditRow
from selfedit.run.seeds import derive
from selfedit.storage.files import JsonObject, hash_folder
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.published import continued_pretraining
from selfedit.tasks.knowledge.written import read_self_edits
from selfedit.tasks.task import Context

KIND = "cpt"


@dataclass(frozen=True)
class _Data:
    """What a run works on: all passages, those asked about with the questions drawn, hashes of what
    is from outside.
    """

    contexts: list[Context]
    questioned: list[Context]
    external: dict[str, str]


def run_cpt(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start the experiment, or go on with it where it stopped; returns what is written to
    ``results.json``.

    Texts are kept in the ledger as they are written, full finetuning goes on from its last
    checkpoint, an adapter's training begins anew.

    Args:
        folder: the run's folder; made if it is not there.
        settings: ``cpt``, ``heldout`` (the passages, without ``cpt.sources``), ``edit``,
            ``answer``, ``external``, ``eval.repeats`` (training seeds) and, for adapters, ``inner``
            are used.
        options: see `RunOptions`.

    Raises:
        UsageError, DataError: settings or passages that cannot be used; nothing is written.
    """
    data = cpt_data(settings)
    hashes = {"passages": data_hash(data.contexts), "asked": data_hash(data.questioned)}
    hashes |= data.external
    hashes |= {"policy": hash_folder(Path(settings.cpt.policy))} if settings.cpt.policy else {}
    with open_passages(folder, settings, hashes, kind=KIND, workers=False, **options) as session:
        for method in settings.cpt.methods:
            _measure_method(session, method, data)
        results = _cpt_results(session, data, hashes)
        session.run.write_results(results)
    return results


def cpt_contexts(settings: Settings) -> list[Context]:
    """The passages that a run with these settings asks about, with the questions drawn."""
    return _questioned(_cpt_passages(settings), settings.cpt.questions, settings.seed)


def _cpt_passages(settings: Settings) -> list[Context]:
    cpt = settings.cpt
    sources = list(cpt.sources) or [settings.heldout or ""]
    if not sources[0]:
        raise UsageError(
            "there are no passages", where="heldout", fix="set cpt.sources to files of passages"
        )
    contexts = load_contexts(sources, require_questions=True)
    if settings.heldout_shuffle is not None:
        random.Random(settings.heldout_shuffle).shuffle(contexts)
    if cpt.passages is not None and cpt.passages > len(contexts):
        what = f"{cpt.passages} passages asked for, there are {len(contexts)}"
        raise DataError(what, where=", ".join(sources), fix="lower cpt.passages")
    return contexts[: cpt.passages]


def cpt_data(settings: Settings) -> _Data:
    """What a run works on, checked.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
    """
    cpt, contexts = settings.cpt, _cpt_passages(settings)
    if "seal" in cpt.methods and cpt.policy is None and cpt.policy_file is None:
        fix = (
            "set cpt.policy to the model folder of a round, runs/NAME/policy/round-2/model, or"
            " cpt.policy_file to a file of its self-edits, or leave the method out"
        )
        raise UsageError(
            "the method 'seal' has no policy to write with", where="cpt.policy", fix=fix
        )
    if cpt.policy is not None:
        policy_folder(cpt.policy, "cpt.policy")
    hashes = (
        check_external(settings, contexts, cpt.samples, "cpt.methods")
        if "external" in cpt.methods
        else {}
    )
    if "seal" in cpt.methods and cpt.policy_file is not None:
        written = read_self_edits(cpt.policy_file)
        written.of(contexts, cpt.samples)
        hashes |= {"seal": written.sha256}
    if cpt.writer == "endpoint" and settings.external.endpoint.model is None:
        fix = 'set external.endpoint.model, or cpt.writer = "own"'
        raise UsageError("there is no endpoint to write with", where="cpt.writer", fix=fix)
    return _Data(contexts, _questioned(contexts, cpt.questions, settings.seed), hashes)


def _questioned(contexts: Sequence[Context], count: int | None, seed: int) -> list[Context]:
    """The contexts with the questions that are asked of them: all, or so many drawn from all of
    them at random.
    """
    every = [question.id for context in contexts for question in context.questions]
    if count is None:
        return list(contexts)
    if count > len(every):
        what = f"{count} questions asked for, the passages have {len(every)}"
        raise DataError(what, where="cpt.questions", fix="lower it, or leave it out to ask all")
    chosen = set(random.Random(derive(seed, "questions")).sample(every, count))
    cut: list[Context] = []
    for context in contexts:
        questions = tuple(question for question in context.questions if question.id in chosen)
        if questions:
            cut.append(replace(context, questions=questions))
    return cut


def _measure_method(session: Session, method: str, data: _Data) -> None:
    """Write, train and answer, for each training seed; the model has its untouched weights again
    afterwards.
    """
    if method == "base":
        return measure_base(session, held_out("base"), data.questioned)
    for repeat in range(session.settings.eval.repeats):
        name = f"{method}-{repeat}"
        if session.run.ledger.step(f"answered:{name}") is not None:
            continue
        documents = documents_of(session, data.contexts, _written(session, method, data))
        session.interrupt.check()
        try:
            train_into(session, name, documents, derive(session.settings.seed, "cpt", repeat))
            # Other weights, and so another name: what the untouched model answered says nothing
            # about them.
            trained = replace(session, weights=f"{session.weights}+{name}")
            measure_base(trained, held_out(method), data.questioned, repeat=repeat)
        finally:
            load_weights(session.lm, model_path(session.settings.model))
        session.run.ledger.finish_step(f"answered:{name}", {})
        forget(session, name)
    return None


def _written(session: Session, method: str, data: _Data) -> list[SelfEditRow]:
    """The texts of a method, from the ledger where they are there already."""
    contexts, samples = data.contexts, session.settings.cpt.samples
    if method == "own":
        return sample(session, _written_at("own"), contexts, samples)
    if method == "seal":
        return _written_by_policy(session, contexts, samples)
    if method == "external":
        return write_external(session, _written_at("external"), contexts, samples)
    writers = {"entigraph": write_entigraph, "spa": write_spa}
    return writers[method](session, contexts) if method in writers else []


def _written_by_policy(
    session: Session, contexts: Sequence[Context], samples: int
) -> list[SelfEditRow]:
    """What a policy of another run writes, or wrote into a file; the training starts from the
    untouched weights, as the other rows'.
    """
    if (file := session.settings.cpt.policy_file) is not None:
        texts = read_self_edits(file).of(contexts, samples)
        return store_written(session, _written_at("seal"), contexts, texts)
    rows = session.run.ledger.self_edits(_written_at("seal"))
    if len(rows) == len(contexts) * samples or session.settings.cpt.policy is None:
        return rows
    load_weights(session.lm, Path(session.settings.cpt.policy))
    try:
        return sample(session, _written_at("seal"), contexts, samples)
    finally:
        load_weights(session.lm, model_path(session.settings.model))


def _cpt_results(session: Session, data: _Data, hashes: Mapping[str, str]) -> dict[str, Any]:
    settings, ledger = session.settings, session.run.ledger
    methods = list(settings.cpt.methods)
    grades = {method: _grades(ledger, method) for method in methods}
    scores = {method: means(by_context) for method, by_context in grades.items()}
    published = continued_pretraining(settings.cpt.update, len(data.contexts))
    table = method_results(
        KIND,
        session,
        scores,
        hashes,
        pairs=cpt_pairs(methods),
        published=published,
        questioned=data.questioned,
    )
    # Continued pretraining learns all passages at once, so its questions count one by one too.
    by_question = {
        method: mean(list(chain.from_iterable(by_context.values())))
        for method, by_context in grades.items()
    }
    texts = {m: ledger.self_edits(_written_at(m)) for m in methods}
    more = {
        "passages": len(data.contexts),
        "questions": sum(len(context.questions) for context in data.questioned),
        "costs": costs(ledger),
        "by_question": by_question,
        "training": {
            method: _trainings(ledger, method, settings.eval.repeats)
            for method in methods
            if method != "base"
        },
        "self_edits": [
            {"policy": m, **shape_of(rows, session.task)} for m, rows in texts.items() if rows
        ],
    }
    return replace(table, more={**table.more, **more}).as_dict()


def _written_at(method: str) -> Place:
    """Where a method's texts are in the ledger."""
    return Place(Phase.WRITE, method)


def _grades(ledger: Ledger, method: str) -> dict[str, list[float]]:
    """Every verdict on an answer by context, over all training seeds."""
    grades: dict[str, list[float]] = defaultdict(list)
    for trial in ledger.trials(held_out(method)):
        if marks := right_or_wrong(trial):
            grades[trial.context_id] += marks
    return grades


def _trainings(ledger: Ledger, method: str, repeats: int) -> list[JsonObject]:
    return [_training_record(ledger, method, repeat) for repeat in range(repeats)]


def _training_record(ledger: Ledger, method: str, repeat: int) -> JsonObject:
    done = ledger.step(f"trained:{method}-{repeat}") or {}
    return done | {"steps": len(done["losses"])}


def cpt_pairs(methods: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared, the earlier row first: neighbours, and each with the passage alone."""
    pairs = list(pairwise(methods))
    more = (
        [("passage", m) for m in methods if m not in ("base", "passage")]
        if "passage" in methods
        else []
    )
    return pairs + [pair for pair in more if pair not in pairs]
