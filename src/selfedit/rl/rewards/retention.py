"""A reward that asks for retention: gain on the new passage − λ · loss on a probe of earlier ones.

The paper's reward asks for the new passage only, and its authors name that as the cause of
forgetting (SEAL, arXiv 2506.10943, section 5). Here every round first learns a few other passages,
as a user's model would have; every inner loop starts on top of that, and the questions of those
passages are asked again after it, in the same batch.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from selfedit.config import Settings
from selfedit.errors import DataError, RunFolderError, UsageError
from selfedit.inner.adapt import adapt
from selfedit.inner.job import AdaptJob
from selfedit.lm.lora import Adapter
from selfedit.lm.stack import on_top
from selfedit.rl.rewards.accuracy import Accuracy
from selfedit.rl.rewards.base import ScoredRound, Value
from selfedit.rl.sample import sample
from selfedit.rl.session import AnySession, Session
from selfedit.rl.trial import CandidateKey, accuracies, split_questions
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.storage.files import folder_atomic, hash_folder
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context


class Retention(Accuracy):
    """Accuracy on the passage less ``rl.reward.retention`` times the accuracy lost on the earlier
    ones.
    """

    def check(self, plan: Sequence[Sequence[Context]], every: Sequence[Context]) -> None:
        """See `Reward`; there have to be enough other passages."""
        for number, chosen in enumerate(plan, start=1):
            earlier_contexts(self.settings, number, every, chosen)

    def prepare(
        self,
        session: AnySession,
        number: int,
        contexts: Sequence[Context],
        every: Sequence[Context],
        policy: Adapter | None,
    ) -> Sequence[Context]:
        """See `Reward`; the earlier passages are learned, and their questions asked beside the
        passage's own.
        """
        earlier = earlier_contexts(session.settings, number, every, contexts)
        return learn_earlier(session, number, contexts, earlier, policy)

    def values(self, session: AnySession, scored: ScoredRound) -> Mapping[CandidateKey, Value]:
        """See `Reward`."""
        _, probes = split_questions(scored.trials, scored.contexts)
        after = accuracies(probes)
        values = dict(super().values(session, scored))
        for key, share in after.items():
            # The unadapted model loses nothing against itself.
            if key[1] is not None:
                # Against the base of the same context: it has learned the earlier passages too.
                lost = after[key[0], None] - share
                values[key] = replace(values[key], penalty=self.settings.rl.reward.retention * lost)
        return values


REWARD = Retention


def earlier_contexts(
    settings: Settings, number: int, every: Sequence[Context], chosen: Sequence[Context]
) -> list[Context]:
    """The passages that a round has learned before its self-edits: others than its own, drawn by
    the run's seed.

    Raises:
        DataError: there are too few others.
    """
    chosen_ids = {context.id for context in chosen}
    others = [context for context in every if context.id not in chosen_ids]
    count = settings.rl.reward.earlier
    if len(others) < count:
        what = (
            f"a reward with retention needs {count} passages beside a round's own, there are"
            f" {len(others)}"
        )
        raise DataError(
            what, where="rl.reward.earlier", fix="give more passages, lower it or rl.contexts"
        )
    return random.Random(derive(settings.seed, "earlier", number)).sample(others, count)


def learn_earlier(
    session: Session,
    number: int,
    chosen: Sequence[Context],
    earlier: Sequence[Context],
    policy: Adapter | None,
) -> list[Context]:
    """Let every inner loop of a round start from a model that has learned the earlier passages.

    Returns:
        The round's passages, the earlier ones' questions after their own.
    """
    learned, name = _learned(session, number, earlier, policy)
    session.stand_on(on_top(session.policy, learned), f"{session.policy_name}+{name}")
    # Titles tell the questions of different passages apart once they are asked together.
    probe = tuple(replace(q, topic=q.topic or c.title) for c in earlier for q in c.questions)
    return [replace(context, questions=(*context.questions, *probe)) for context in chosen]


def _learned(
    session: Session, number: int, earlier: Sequence[Context], policy: Adapter | None
) -> tuple[Adapter, str]:
    """One adapter on the earlier passages and a self-edit of each, trained once a round on top of
    the policy, and its files' hash.
    """
    ledger, folder, name = (
        session.run.ledger,
        session.run.adapters / f"earlier-{number}",
        f"earlier-{number}",
    )
    # Trained once a round, whoever resumes it.
    if (stored := ledger.step(name)) is None:
        rows = sample(session, Place(Phase.RL_EARLIER, round=number), earlier, 1, policy)
        edits = {row.context_id: row.text for row in rows}
        session.interrupt.check()
        task = _knowledge(session)
        sequences = [s for c in earlier for s in task.sequences(c, task.parse(edits[c.id]))]
        seed = derive(session.settings.seed, "inner", Phase.RL_EARLIER.value, number)
        job = AdaptJob(sequences, task.lora, task.optim, seed, start=session.policy)
        (adapter,) = adapt(session.lm, [job])
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder_atomic(folder) as new:
            adapter.save(new)
        stored = {
            "adapter": hash_folder(folder),
            "passages": [c.id for c in earlier],
            "tokens": adapter.tokens,
        }
        ledger.finish_step(name, stored)
    # The ledger names the files it was trained into: others are another start.
    if not folder.exists() or hash_folder(folder) != stored["adapter"]:
        what = (
            "the adapter of earlier passages is not the one this run made: a file is missing or"
            " altered"
        )
        raise RunFolderError(
            what, where=folder, fix="put the folder back from a copy, or start in a new one"
        )
    return replace(Adapter.load(folder), base=session.lm.name), stored["adapter"]


def _knowledge(session: Session) -> KnowledgeTask:
    if not isinstance(session.task, KnowledgeTask):
        fix = "set rl.reward.retention = 0"
        raise UsageError(
            "a reward with retention is for passages only", where="rl.reward.retention", fix=fix
        )
    return session.task
