"""A reward that asks for retention: gain on the new passage − λ · loss on a probe of earlier ones.

The paper's reward asks for the new passage only, and its authors name that as the cause of forgetting (SEAL, arXiv
2506.10943, section 5). Here every round first learns a few other passages, as a user's model would have; every inner
loop starts on top of that, and the questions of those passages are asked again after it, in the same batch.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from selfedit.config import Settings
from selfedit.errors import DataError, RunFolderError, UsageError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob
from selfedit.lm.lora import Adapter
from selfedit.rl.sample import sample
from selfedit.rl.score import accuracies
from selfedit.rl.session import Session
from selfedit.run.ledger import BASE, AnswerRow
from selfedit.run.seeds import derive
from selfedit.storage.files import folder_atomic, hash_folder
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

PHASE = "rl-earlier"


def earlier_contexts(
    settings: Settings, number: int, every: Sequence[Context], chosen: Sequence[Context]
) -> list[Context]:
    """The passages that a round has learned before its self-edits: others than its own, drawn by the run's seed.

    Raises:
        DataError: there are too few others.
    """
    own = {context.id for context in chosen}
    others = [context for context in every if context.id not in own]
    wanted = settings.rl.reward.earlier
    if len(others) < wanted:
        what = f"a reward with retention needs {wanted} passages beside a round's own, there are {len(others)}"
        raise DataError(what, where="rl.reward.earlier", fix="give more passages, lower it or rl.contexts")
    return random.Random(derive(settings.seed, "earlier", number)).sample(others, wanted)


def learn_earlier(
    session: Session, number: int, chosen: Sequence[Context], earlier: Sequence[Context], policy: Adapter | None
) -> list[Context]:
    """Let every inner loop of a round start from a model that has learned the earlier passages.

    Returns:
        The round's passages, the earlier ones' questions after their own.
    """
    session.stand_on(*_learned(session, number, earlier, policy))
    probe = tuple(replace(q, topic=q.topic or c.title) for c in earlier for q in c.questions)
    return [replace(context, questions=(*context.questions, *probe)) for context in chosen]


def _learned(session: Session, number: int, earlier: Sequence[Context], policy: Adapter | None) -> tuple[Adapter, str]:
    """One adapter on the earlier passages and a self-edit of each, trained once a round, and its files' hash."""
    ledger, folder, name = session.run.ledger, session.run.adapters / f"earlier-{number}", f"earlier-{number}"
    if (stored := ledger.step(name)) is None:
        edits = {row.context_id: row.text for row in sample(session, PHASE, number, earlier, 1, policy)}
        session.interrupt.check()
        task = _knowledge(session)
        sequences = [s for c in earlier for s in task.sequences(c, task.parse(edits[c.id]))]
        seed = derive(session.settings.seed, "inner", PHASE, number)
        (adapter,) = adapt(session.lm, [AdaptJob(sequences, task.lora, task.optim, seed)])
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_atomic(folder) as new:
            adapter.save(new)
        stored = {"adapter": hash_folder(folder), "passages": [c.id for c in earlier], "tokens": adapter.tokens}
        ledger.finish_step(name, stored)
    if not folder.exists() or hash_folder(folder) != stored["adapter"]:
        what = "the adapter of earlier passages is not the one this run made: a file is missing or altered"
        raise RunFolderError(what, where=folder, fix="put the folder back from a copy, or start in a new one")
    return replace(Adapter.load(folder), base=session.lm.name), stored["adapter"]


def _knowledge(session: Session) -> KnowledgeTask:
    if not isinstance(session.task, KnowledgeTask):
        fix = "set rl.reward.retention = 0"
        raise UsageError("a reward with retention is for passages only", where="rl.reward.retention", fix=fix)
    return session.task


def own_answers(rows: Iterable[AnswerRow], contexts: Sequence[Context]) -> list[AnswerRow]:
    """The answers to the passages' own questions."""
    own = {context.id: {question.id for question in context.questions} for context in contexts}
    return [row for row in rows if row.question_id in own[row.context_id]]


def lost(rows: Sequence[AnswerRow], contexts: Sequence[Context]) -> dict[tuple[str, int], float]:
    """For each (context, candidate) the accuracy lost on earlier passages; nothing where there were none."""
    own = {(row.context_id, row.candidate, row.repeat, row.question_id) for row in own_answers(rows, contexts)}
    probes = [row for row in rows if (row.context_id, row.candidate, row.repeat, row.question_id) not in own]
    after = accuracies(probes)
    return {key: after[key[0], BASE] - value for key, value in after.items() if key[1] != BASE}
