"""The steps of continual self-edits: write, train, take over, ask, for a group of sequences at a
time.

A step of a group is one entry in the ledger: a kill loses at most the one in hand. What a sequence
has merged is never in the base's weights: a resumed run reads the stored adapters and adds them up
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfedit.errors import RunFolderError
from selfedit.inner.adapt import adapt
from selfedit.lm.generate import generate
from selfedit.lm.lora import Adapter
from selfedit.lm.perplexity import mean_losses
from selfedit.results.compare import shares_right
from selfedit.retention.general import measured_texts
from selfedit.retention.learner import Edit, Learner
from selfedit.retention.remedies.base import NewEdit, Remedies
from selfedit.rl.sample import sampled, written_row
from selfedit.rl.session import Session
from selfedit.run.progress import Task
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.storage.files import folder_atomic, hash_folder, remove
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.task import Context, Question, reply_to

KIND = "continual"


@dataclass(frozen=True)
class Setting:
    """What all of a run's steps share.

    Attributes:
        session: the run and the model, whose weights stay as they are.
        plan: the passages of each sequence, in order.
        probes: passages, or facts, that are never edited.
    """

    session: Session
    plan: list[list[Context]]
    probes: list[Context]


@dataclass(frozen=True)
class Way:
    """One set of remedies, by its name."""

    name: str
    remedies: Remedies

    def place(self, step: int) -> Place:
        """Where a step's self-edits are in the ledger; a candidate is the number of its sequence."""
        return Place(Phase.CONTINUAL, self.name, step)

    def step_name(self, group: int, step: int) -> str:
        """What the ledger calls a finished step of a group of sequences."""
        return f"{self.name}/group-{group}/step-{step}"


def run_group(
    setting: Setting, way: Way, at: int, group: Sequence[int], counter: Task
) -> list[list[dict[str, Any]]]:
    """One group of sequences, step by step. What is stored is taken up again: adapters from their
    files.
    """
    session, steps = setting.session, setting.session.settings.continual.steps
    learners = [Learner() for _ in group]
    found: list[list[dict[str, Any]]] = [[] for _ in group]
    stored = [session.run.ledger.step(way.step_name(at, step)) for step in range(1, steps + 1)]
    finished = all(payload is not None for payload in stored)
    for step, payload in enumerate(stored, start=1):
        if payload is None:
            session.interrupt.check()
            payload = _step(setting, way, group, step, learners)
            payload = _stored(session, way.step_name(at, step), payload)
            counter.advance(len(group))
        elif not finished:
            _take_up(setting, way, group, step, learners, payload)
        for place, number in enumerate(group):
            found[place].append(payload[str(number)])
    if not session.settings.continual.keep_adapters:
        for number in group:
            remove(_folder(session, way, number))
    return found


def _stored(session: Session, name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Store a step and read it back: a resumed run must not see its numbers in another order."""
    session.run.ledger.finish_step(name, payload)
    return session.run.ledger.step(name) or {}


def _step(
    setting: Setting, way: Way, group: Sequence[int], step: int, learners: Sequence[Learner]
) -> dict[str, dict[str, Any]]:
    """One edit of every sequence of the group, and all that is measured after it."""
    session = setting.session
    contexts = [setting.plan[number][step - 1] for number in group]
    edits = _write(session, way, group, step, contexts, learners)
    seeds = [derive(session.settings.seed, "inner", KIND, step, number) for number in group]
    order = derive(session.settings.seed, "order", KIND, step)
    new = [NewEdit(*parts, order) for parts in zip(learners, contexts, edits, seeds, strict=True)]
    jobs = way.remedies.jobs(new)
    adapters = adapt(session.lm, jobs)
    payload: dict[str, dict[str, Any]] = {}
    for number, edit, adapter in zip(group, new, adapters, strict=True):
        session.interrupt.check()
        verdict = way.remedies.admit(edit, adapter)
        digest = _keep(session, way, number, step, adapter)
        edit.learner.add(_edit(session, edit.context, edit.edit, adapter, verdict.factor))
        payload[str(number)] = {
            "passage": edit.context.id,
            "adapter": digest,
            "tokens": adapter.tokens,
            "gate": verdict.as_dict(),
        }
    session.interrupt.check()
    for number, found in zip(group, _asked(setting, way, group, step, learners), strict=True):
        payload[str(number)] |= found
    for number, learner in zip(group, learners, strict=True):
        payload[str(number)]["general"] = _general(session, way, learner)
    return payload


def _edit(
    session: Session, context: Context, edit: ParsedEdit, adapter: Adapter, factor: float
) -> Edit:
    said = [*edit.lines, *[f"{question} {answer}" for question, answer in edit.pairs]]
    text = "\n".join([context.title, context.text, *said])
    return Edit(text, tuple(session.task.sequences(context, edit)), adapter, factor)


def _write(
    session: Session,
    way: Way,
    group: Sequence[int],
    step: int,
    contexts: Sequence[Context],
    learners: Sequence[Learner],
) -> list[ParsedEdit]:
    """One self-edit of each sequence's next passage, written by the model as it is by then; stored
    once.
    """
    place, settings = way.place(step), session.settings
    rows = {row.candidate: row for row in session.run.ledger.self_edits(place)}
    if any(number not in rows for number in group):
        prompts = [session.task.prompt(context) for context in contexts]
        # The same seed whatever the remedies: where the model is the same, so is what it writes.
        pairs = list(zip(contexts, group, strict=True))
        seeds = [
            derive(settings.seed, "sample", KIND, step, context.id, number)
            for context, number in pairs
        ]
        written = sampled(
            session, prompts, seeds, [way.remedies.start(learner) for learner in learners]
        )
        empty = [session.task.parse(said.text).empty for said in written]
        fresh = [
            written_row(
                place, *pair, prompt, seed, text, "nothing in it to train on" if nothing else None
            )
            for pair, prompt, seed, text, nothing in zip(
                pairs, prompts, seeds, written, empty, strict=True
            )
        ]
        session.run.ledger.add_self_edits(fresh)
        rows |= {row.candidate: row for row in fresh}
    return [session.task.parse(rows[number].text) for number in group]


def _asked(
    setting: Setting, way: Way, group: Sequence[int], step: int, learners: Sequence[Learner]
) -> list[dict[str, Any]]:
    """For each sequence its answers to the passages so far and to the probes: accuracies, and where
    they went.
    """
    session = setting.session
    asked: list[list[tuple[Context, Question]]] = []
    adapters: list[Adapter | None] = []
    routes: list[list[int | None]] = []
    for number, learner in zip(group, learners, strict=True):
        contexts = [*setting.plan[number][:step], *setting.probes]
        pairs = [(context, question) for context in contexts for question in context.questions]
        under, routed = way.remedies.answering(learner, [(c.title, q.text) for c, q in pairs])
        asked.append(pairs)
        adapters += under
        routes.append(routed)
    prompts = [session.task.question(*pair) for pairs in asked for pair in pairs]
    said = iter(
        generate(
            session.lm, prompts, adapters, max_new_tokens=session.settings.answer.max_new_tokens
        )
    )
    found = []
    for number, pairs, routed in zip(group, asked, routes, strict=True):
        answers = [next(said).text for _ in pairs]
        replies = [reply_to(*pair, text) for pair, text in zip(pairs, answers, strict=True)]
        grades: dict[str, list[bool | None]] = {}
        for (context, _), grade in zip(pairs, session.grader.grade_all(replies), strict=True):
            grades.setdefault(context.id, []).append(grade.correct)
        edited = [context.id for context in setting.plan[number][:step]]
        own = [
            r == edited.index(c.id)
            for r, (c, _) in zip(routed, pairs, strict=True)
            if c.id in edited
        ]
        found.append(
            {
                "accuracy": shares_right(grades),
                "answers": [[q.id, text] for (_, q), text in zip(pairs, answers, strict=True)],
                "routed_right": sum(own) / len(own) if way.remedies.apart else None,
            }
        )
    return found


def _general(session: Session, way: Way, learner: Learner) -> list[float]:
    """The loss of each everyday text; a library routes them as it would a question."""
    texts = measured_texts()
    adapters, _ = way.remedies.answering(learner, [("", text) for text in texts])
    return mean_losses(session.lm, texts, adapters)


def _folder(session: Session, way: Way, number: int) -> Path:
    return session.run.adapters / way.name / f"sequence-{number}"


def _keep(session: Session, way: Way, number: int, step: int, adapter: Adapter) -> str:
    """Store a step's adapter; returns its hash."""
    folder = _folder(session, way, number) / f"step-{step}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_atomic(folder) as new:
        adapter.save(new)
    return hash_folder(folder)


def _take_up(
    setting: Setting,
    way: Way,
    group: Sequence[int],
    step: int,
    learners: Sequence[Learner],
    payload: dict[str, dict[str, Any]],
) -> None:
    """Give each learner a stored step's edit again, its adapter from its file."""
    session = setting.session
    rows = {row.candidate: row for row in session.run.ledger.self_edits(way.place(step))}
    for number, learner in zip(group, learners, strict=True):
        stored, folder = payload[str(number)], _folder(session, way, number) / f"step-{step}"
        if not folder.exists() or hash_folder(folder) != stored["adapter"]:
            what = (
                "the adapter of a finished step is not the one this run made: a file is missing or"
                " altered"
            )
            raise RunFolderError(
                what, where=folder, fix="put the folder back from a copy, or start in a new one"
            )
        adapter = Adapter.load(folder)
        adapter.base = session.lm.name
        context = setting.plan[number][step - 1]
        edit = session.task.parse(rows[number].text)
        learner.add(_edit(session, context, edit, adapter, stored["gate"]["factor"]))
