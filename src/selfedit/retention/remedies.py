"""The remedies at work: what a new edit is trained on, whether it is taken over, and what answers a question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from selfedit.config.retention import RetentionSettings
from selfedit.errors import UsageError
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.lora import Adapter
from selfedit.retention.gate import Verdict, gate
from selfedit.retention.learner import Learner
from selfedit.retention.library import WordRouter, route_by_likelihood
from selfedit.retention.pseudorehearsal import OwnText, own_sequences
from selfedit.retention.replay import draw, reservoir
from selfedit.retention.teachers import taught_by_itself, taught_with_passage
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context


@dataclass(frozen=True)
class NewEdit:
    """An edit to be made: whose, of which passage, from which self-edit, with which seeds."""

    learner: Learner
    context: Context
    edit: ParsedEdit
    seed: int
    order_seed: int


class Remedies:
    """A set of remedies with their settings.

    Args:
        task: makes training sequences and prompts.
        settings: which remedies, and their settings.
        own_texts: for pseudorehearsal, what the unedited model wrote (`write_own_texts`).

    Raises:
        UsageError: pseudorehearsal without texts.
    """

    def __init__(self, task: KnowledgeTask, settings: RetentionSettings, own_texts: Sequence[OwnText] = ()) -> None:
        self.task, self.settings = task, settings
        self.names = frozenset(settings.remedies)
        self.own_texts = own_texts
        if "pseudorehearsal" in self.names and not own_texts:
            raise UsageError("pseudorehearsal needs texts of the unedited model", fix="give write_own_texts(…)")

    @cached_property
    def own(self) -> list[TrainSequence]:
        """The own texts with their teacher; read by the model at the first edit, not where all edits are stored."""
        weight = self.settings.pseudorehearsal.weight
        return own_sequences(self.task.lm, self.own_texts, weight) if "pseudorehearsal" in self.names else []

    @property
    def apart(self) -> bool:
        """Adapters are kept apart, not merged."""
        return "library" in self.names

    def start(self, learner: Learner) -> Adapter | None:
        """What a new edit of this learner begins from, and what writes its self-edit."""
        return None if self.apart else learner.merged

    def jobs(self, edits: Sequence[NewEdit]) -> list[AdaptJob]:
        """The inner loop of each edit; teachers of all edits are read together."""
        jobs = [self.task.job(e.context, e.edit, e.seed, e.order_seed) for e in edits]
        taught = self._taught(edits, [list(job.sequences) for job in jobs])
        mixed = []
        for edit, job, sequences in zip(edits, jobs, taught, strict=True):
            start = self.start(edit.learner)
            outside = start if "orthogonal" in self.names else None
            mixed.append(replace(job, sequences=sequences, start=start, outside=outside))
        return mixed

    def _taught(self, edits: Sequence[NewEdit], new: Sequence[Sequence]) -> list[list[TrainSequence]]:
        """New and replayed sequences of each edit, with their teachers."""
        settings = self.settings
        old = [self._replayed(edit, len(sequences)) for edit, sequences in zip(edits, new, strict=True)]
        starts = [self.start(edit.learner) for edit in edits]
        new = [list(sequences) for sequences in new]
        if "kl" in self.names:
            new, old = (self._by_itself(sequences, starts, settings.kl.weight) for sequences in (new, old))
        if "distil" in self.names:
            written = [len(s) - self.task.settings.edit.passage for s in new]
            flat = [s for sequences, n in zip(new, written, strict=True) for s in sequences[:n]]
            contexts = [e.context for e, n in zip(edits, written, strict=True) for _ in range(n)]
            adapters = [start for start, n in zip(starts, written, strict=True) for _ in range(n)]
            taught = iter(taught_with_passage(self.task.lm, flat, contexts, adapters, settings.distil.weight))
            new = [[*islice(taught, n), *s[n:]] for s, n in zip(new, written, strict=True)]
        rehearsed = [self._own(edit, len(sequences)) for edit, sequences in zip(edits, new, strict=True)]
        return [[*fresh, *again, *mine] for fresh, again, mine in zip(new, old, rehearsed, strict=True)]

    def _own(self, edit: NewEdit, count: int) -> list[TrainSequence]:
        """The unedited model's own texts, as many as are mixed in with ``count`` new sequences."""
        number = math.ceil(self.settings.pseudorehearsal.share * count) if self.own else 0
        return draw(self.own, number, derive(edit.seed, "pseudorehearsal"))

    def _replayed(self, edit: NewEdit, count: int) -> list[TrainSequence]:
        """Earlier sequences: with their own loss for replay, without any where only the teacher's is wanted."""
        replay, kl = self.settings.replay, self.settings.kl
        if self.apart or not self.names & {"replay", "kl"}:
            return []
        stored = reservoir(edit.learner.earlier(), replay.size, derive(edit.seed, "reservoir"))
        if "replay" in self.names:
            return draw(stored, math.ceil(replay.share * count), derive(edit.seed, "replay"))
        return [replace(s, weight=0.0) for s in draw(stored, kl.prompts, derive(edit.seed, "replay"))]

    def _by_itself(
        self, groups: Sequence[Sequence[TrainSequence]], starts: Sequence[Adapter | None], weight: float
    ) -> list[list[TrainSequence]]:
        flat = [s for sequences in groups for s in sequences]
        adapters = [start for sequences, start in zip(groups, starts, strict=True) for _ in sequences]
        taught = iter(taught_by_itself(self.task.lm, flat, adapters, weight))
        return [list(islice(taught, len(sequences))) for sequences in groups]

    def admit(self, edit: NewEdit, adapter: Adapter) -> Verdict:
        """By how much a trained edit is taken over."""
        if "gate" not in self.names:
            return Verdict(1.0, ())
        seed = derive(edit.seed, "gate")
        return gate(self.task.lm, edit.learner, adapter, self.settings.gate, seed=seed, apart=self.apart)

    def answering(
        self, learner: Learner, questions: Sequence[tuple[str, str]]
    ) -> tuple[list[Adapter | None], list[int | None]]:
        """The adapter that answers each question, given as (title, question), and the edit it was routed to.

        Merged edits all answer together: the second list then says None everywhere.
        """
        if not self.apart:
            return [learner.merged] * len(questions), [None] * len(questions)
        edits = [edit for edit in learner.edits if edit.factor]
        adapters = [Learner.with_edits([edit]) for edit in edits]
        routes = self._routes([edit.text for edit in edits], [a for a in adapters if a is not None], questions)
        places = [learner.edits.index(edit) for edit in edits]
        return (
            [None if route is None else adapters[route] for route in routes],
            [None if route is None else places[route] for route in routes],
        )

    def _routes(
        self, texts: Sequence[str], adapters: Sequence[Adapter], questions: Sequence[tuple[str, str]]
    ) -> list[int | None]:
        library = self.settings.library
        queries = [f"{title}\n{question}" if title and library.title else question for title, question in questions]
        if library.route == "words":
            router = WordRouter(texts, library.least)
            return [router.route(query) for query in queries]
        lm = self.task.lm
        return route_by_likelihood(lm, [(lm.end_id, *lm.encode(s)) for s in queries], adapters, library.margin)
