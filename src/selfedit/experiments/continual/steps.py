"""The steps of continual self-edits: write, train, take over, ask, for a group of sequences at a
time.

A step of a group is one entry in the ledger: a kill loses at most the one in hand. What a sequence
has merged is never in the base's weights: a resumed run reads the stored adapters and adds them up
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfedit.experiments.continual.asking import ask_group
from selfedit.experiments.continual.measures import StepRecord
from selfedit.experiments.continual.way import (
    KIND,
    Setting,
    Way,
    adapters_folder,
    edit_of,
    keep_adapter,
    kept_adapter,
)
from selfedit.inner.adapt import adapt
from selfedit.lm.perplexity import mean_losses
from selfedit.retention.general import measured_texts
from selfedit.retention.learner import Learner
from selfedit.retention.remedies.base import NewEdit, Verdict
from selfedit.rl.sample import sampled, written_row
from selfedit.rl.session import Session
from selfedit.run.progress import ProgressTask
from selfedit.run.records import SelfEditRow
from selfedit.run.seeds import derive
from selfedit.storage.files import JsonObject, remove
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.task import Context


def run_group(
    setting: Setting, way: Way, at: int, group: Sequence[int], counter: ProgressTask
) -> list[list[StepRecord]]:
    """One group of sequences, step by step; what is stored is read: adapters from their files."""
    session, steps = setting.session, setting.session.settings.continual.steps
    learners = [Learner() for _ in group]
    records: list[list[StepRecord]] = [[] for _ in group]
    stored = [session.run.ledger.step(way.step_name(at, step)) for step in range(1, steps + 1)]
    finished = all(payload is not None for payload in stored)
    for step, payload in enumerate(stored, start=1):
        if payload is None:
            session.interrupt.check()
            measured = _edit_step(setting, way, group, step, learners)
            payload = store_step(session, way.step_name(at, step), measured)
            counter.advance(len(group))
        elif not finished:
            _relearn(setting, way, group, step, learners, payload)
        for row, number in zip(records, group, strict=True):
            row.append(payload[str(number)])
    if not session.settings.continual.keep_adapters:
        for number in group:
            remove(adapters_folder(setting, way, number))
    return records


def store_step(session: Session, name: str, payload: Mapping[str, object]) -> JsonObject:
    """Store a step and read it back: a resumed run must not see its numbers in another order."""
    session.run.ledger.finish_step(name, payload)
    return session.run.ledger.step(name) or {}


def _edit_step(
    setting: Setting, way: Way, group: Sequence[int], step: int, learners: Sequence[Learner]
) -> dict[str, StepRecord]:
    """One edit of every sequence of the group, and all that is measured after it."""
    session = setting.session
    contexts = [setting.plan[number][step - 1] for number in group]
    edits = _write(setting, way, group, step, contexts, learners)
    seeds = [derive(session.settings.seed, "inner", KIND, step, number) for number in group]
    order = derive(session.settings.seed, "order", KIND, step)
    new = [NewEdit(*parts, order) for parts in zip(learners, contexts, edits, seeds, strict=True)]
    adapters = adapt(session.lm, way.remedies.jobs(new))
    learned: list[tuple[str, Verdict]] = []
    for number, edit, adapter in zip(group, new, adapters, strict=True):
        session.interrupt.check()
        verdict = way.remedies.admit(edit, adapter)
        learned.append((keep_adapter(setting, way, number, step, adapter), verdict))
        edit.learner.add(edit_of(setting, edit.context, edit.edit, adapter, verdict.factor))
    session.interrupt.check()
    # Questions come last: a library routes among all of a sequence's adapters, the new one too.
    answered = ask_group(setting, way, group, step, learners)
    return {
        str(number): {
            "passage": contexts[at].id,
            "adapter": learned[at][0],
            "tokens": adapters[at].tokens,
            "gate": learned[at][1].as_dict(),
            **answered[at],
            "general": _general(session, way, learners[at]),
        }
        for at, number in enumerate(group)
    }


def _write(
    setting: Setting,
    way: Way,
    group: Sequence[int],
    step: int,
    contexts: Sequence[Context],
    learners: Sequence[Learner],
) -> list[ParsedEdit]:
    """One self-edit of each sequence's next passage, written by the model as it is by then; stored
    once.
    """
    session, at = setting.session, way.place(step)
    rows = {row.candidate: row for row in session.run.ledger.self_edits(at)}
    if any(number not in rows for number in group):
        prompts = [session.task.prompt(context) for context in contexts]
        # The same seed whatever the remedies: where the model is the same, so is what it writes.
        pairs = list(zip(contexts, group, strict=True))
        seeds = [
            derive(session.settings.seed, "sample", KIND, step, context.id, number)
            for context, number in pairs
        ]
        under = [way.remedies.start(learner) for learner in learners]
        completions = sampled(session, prompts, seeds, under)
        fresh: list[SelfEditRow] = []
        for pair, prompt, seed, completion in zip(pairs, prompts, seeds, completions, strict=True):
            empty = session.task.parse(completion.text).empty
            problem = "nothing in it to train on" if empty else None
            fresh.append(written_row(at, *pair, prompt, seed, completion, problem))
        session.run.ledger.add_self_edits(fresh)
        rows |= {row.candidate: row for row in fresh}
    return [session.task.parse(rows[number].text) for number in group]


def _general(session: Session, way: Way, learner: Learner) -> list[float]:
    """The loss of each everyday text; a library routes them as it would a question."""
    texts = measured_texts()
    adapters, _ = way.remedies.answering(learner, [("", text) for text in texts])
    return mean_losses(session.lm, texts, adapters)


def _relearn(
    setting: Setting,
    way: Way,
    group: Sequence[int],
    step: int,
    learners: Sequence[Learner],
    payload: JsonObject,
) -> None:
    """Give each learner a stored step's edit again, its adapter from its file."""
    session = setting.session
    rows = {row.candidate: row for row in session.run.ledger.self_edits(way.place(step))}
    for number, learner in zip(group, learners, strict=True):
        record: StepRecord = payload[str(number)]
        adapter = kept_adapter(setting, way, number, step, record["adapter"])
        context = setting.plan[number][step - 1]
        edit = session.task.parse(rows[number].text)
        learner.add(edit_of(setting, context, edit, adapter, record["gate"]["factor"]))
