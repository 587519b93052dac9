"""Continual self-edits: one passage after the other into one model, and what it still knows (SEAL,
section 5).

A sequence takes one self-edit a passage: the model writes it, a LoRA adapter is trained on it, the
questions of all passages so far are asked, the adapter is merged, the next one starts from there.
Many sequences run together: merging is adding low-rank updates (`selfedit.lm.stack`), so all of
them share one frozen base and one batch.

Beside it, what was damaged: the accuracy on everyday facts that the unedited model knows, which no
edit is about, and the loss on everyday text, before the first edit and after each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from selfedit.config import RetentionSettings, Settings, named_policy, parse_remedies, remedies_name
from selfedit.documents.recall import ask_questions, recall_accuracies
from selfedit.errors import UsageError
from selfedit.experiments.continual.layout import matrix_csv
from selfedit.experiments.continual.measures import MeasuredWay, StepRecord, Unedited
from selfedit.experiments.continual.plan import plan_sequences
from selfedit.experiments.continual.results import continual_results
from selfedit.experiments.continual.steps import run_group, store_step
from selfedit.experiments.continual.two_graders import by_two_graders
from selfedit.experiments.continual.way import KIND, Setting, Way
from selfedit.lm.perplexity import mean_losses
from selfedit.models.names import model_path
from selfedit.retention.facts import everyday_facts
from selfedit.retention.general import measured_texts
from selfedit.retention.remedies.base import OwnText, Remedies
from selfedit.rl.opening import RunOptions, open_passages
from selfedit.rl.own_texts import kept_own_texts
from selfedit.rl.policy import policy_folder, use_weights
from selfedit.rl.session import Session
from selfedit.storage.files import fingerprint, hash_folder, write_atomic
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context


def run_continual(
    folder: str | Path, settings: Settings, **options: Unpack[RunOptions]
) -> dict[str, Any]:
    """Start a run, or go on with it where it stopped; returns what is written to ``results.json``.

    Raises:
        UsageError, DataError: settings or passages that cannot be used; nothing is written.
        SettingsChanged, RunFolderError, StorageFull, Interrupted: see `selfedit.errors`.
    """
    contexts, probes, plan = continual_data(settings)
    policies = dict(map(named_policy, settings.continual.policies))
    hashes = {
        "train": data_hash(contexts),
        "probes": data_hash(probes),
        "general": fingerprint(measured_texts()),
    }
    hashes |= {f"policy {name}": hash_folder(Path(model)) for name, model in policies.items()}
    with open_passages(folder, settings, hashes, kind=KIND, **options) as session:
        run = session.run
        if settings.continual.facts:
            probes = _known_facts(session, probes)
        setting = Setting(session, plan, probes)
        before = _unedited(setting)
        texts = _own_texts(session)
        ways = [
            _way(session.task, settings.retention, name, texts) for name in _way_names(settings)
        ]
        measured = {way.name: MeasuredWay(before, _sequences(setting, way)) for way in ways}
        measured |= _after_rl(setting, policies)
        model = {"name": settings.model, "fingerprint": session.lm.fingerprint}
        numbers = continual_results(settings, plan, measured)
        second = by_two_graders(setting, measured)
        results = replace(
            numbers,
            model=model,
            data=hashes,
            notes=second.notes,
            tables=[*second.tables, *numbers.tables],
            more={**numbers.more, **second.more},
        ).as_dict()
        write_atomic(run.path / "matrix.csv", matrix_csv(results).encode())
        run.write_results(results)
    return results


def continual_data(settings: Settings) -> tuple[list[Context], list[Context], list[list[Context]]]:
    """All passages, those that are never edited, and the passages of each sequence.

    Raises:
        UsageError, DataError: settings or passages that cannot be used.
    """
    if settings.workers not in (1, "auto"):
        fix = "set workers = 1: sequences already train together (continual.together)"
        raise UsageError("continual edits run in this process", where="workers", fix=fix)
    chosen = settings.continual
    for policy in chosen.policies:
        policy_folder(named_policy(policy)[1], "continual.policies")
    contexts = load_contexts(settings.train, require_questions=True)
    plan = plan_sequences(contexts, chosen.sequences, chosen.steps, settings.seed)
    return contexts, everyday_facts() if chosen.facts else _probes(settings, contexts), plan


def _way_names(settings: Settings) -> tuple[str, ...]:
    return settings.continual.compare or (remedies_name(settings.retention.remedies),)


def _way(
    task: KnowledgeTask, retention: RetentionSettings, name: str, own_texts: Sequence[OwnText]
) -> Way:
    chosen = RetentionSettings.model_validate(
        retention.model_dump() | {"remedies": parse_remedies(name)}
    )
    return Way(name, Remedies(task, chosen, own_texts))


def _after_rl(setting: Setting, policies: Mapping[str, str]) -> dict[str, MeasuredWay]:
    """Every model after RL, edited without remedies; the session has its first weights again
    afterwards.
    """
    session = setting.session
    first = model_path(session.settings.model)
    measured: dict[str, MeasuredWay] = {}
    try:
        for name, folder in policies.items():
            use_weights(session, Path(folder), name)
            way = _way(session.task, session.settings.retention, "none", ())
            before = _unedited(setting, f"before any edit of {name}")
            measured[name] = MeasuredWay(before, _sequences(setting, replace(way, name=name)))
    finally:
        if policies:
            use_weights(session, first, session.lm.fingerprint)
    return measured


def _own_texts(session: Session) -> list[OwnText]:
    """What the unedited model writes of its own accord, if a way asks for it."""
    names = _way_names(session.settings)
    return kept_own_texts(session, {remedy for name in names for remedy in parse_remedies(name)})


def _probes(settings: Settings, contexts: Sequence[Context]) -> list[Context]:
    count = settings.continual.probes
    if not count:
        return []
    if settings.heldout is None:
        fix = "name a file of them, or set continual.probes = 0"
        raise UsageError(
            "passages that are never edited come from heldout, which is not set",
            where="heldout",
            fix=fix,
        )
    heldout = load_contexts(settings.heldout, require_questions=True)
    texts = {context.text for context in contexts}
    apart = [context for context in heldout if context.text not in texts]
    if count > len(apart):
        what = f"{count} passages that are never edited are asked for, there are {len(apart)}"
        raise UsageError(
            what, where="continual.probes", fix="lower it, or give other held-out passages"
        )
    return apart[:count]


def _known_facts(session: Session[KnowledgeTask], facts: Sequence[Context]) -> list[Context]:
    """The facts that the unedited model answers right, found by asking it once: what it does not
    know cannot be damaged.
    """
    ledger = session.run.ledger
    if (stored := ledger.step("known facts")) is None:
        answers = ask_questions(
            session.task,
            facts,
            session.grader,
            name="which facts it knows",
            progress=session.progress,
            interrupt=session.interrupt,
        )
        stored = {"right": [answer.question for answer in answers if answer.correct]}
        ledger.finish_step("known facts", stored)
    right = set(stored["right"])
    known = [
        replace(fact, questions=tuple(q for q in fact.questions if q.id in right)) for fact in facts
    ]
    return [fact for fact in known if fact.questions]


def _unedited(setting: Setting, step: str = "before") -> Unedited:
    """What the unedited model knows: every passage of the plan, the probes, everyday text."""
    session = setting.session
    if (stored := session.run.ledger.step(step)) is not None:
        return Unedited(**stored)
    by_id = {context.id: context for sequence in setting.plan for context in sequence}
    answers = ask_questions(
        session.task,
        [*by_id.values(), *setting.probes],
        session.grader,
        name="before any edit",
        progress=session.progress,
        interrupt=session.interrupt,
    )
    payload: Unedited = {
        "accuracy": recall_accuracies(answers),
        "general": mean_losses(session.lm, measured_texts()),
    }
    return Unedited(**store_step(session, step, payload))


def _sequences(setting: Setting, way: Way) -> list[list[StepRecord]]:
    """Every sequence through all its steps under one set of remedies: what each step measured, by
    sequence.
    """
    session, chosen = setting.session, setting.session.settings.continual
    numbers = range(chosen.sequences)
    groups = [
        numbers[start : start + chosen.together]
        for start in range(0, len(numbers), chosen.together)
    ]
    records: list[list[StepRecord]] = []
    total = chosen.sequences * chosen.steps
    done = sum(
        len(group)
        for at, group in enumerate(groups)
        for step in range(1, chosen.steps + 1)
        if session.run.ledger.step(way.step_name(at, step)) is not None
    )
    with session.progress.task(
        f"edits ({way.name})", total=total, unit="edits", done=done
    ) as counter:
        for at, group in enumerate(groups):
            records += run_group(setting, way, at, group, counter)
    return records
