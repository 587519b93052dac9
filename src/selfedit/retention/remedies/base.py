"""What a remedy is, and a set of them at work.

A remedy may change what a new edit is trained on, how, whether it is taken over, and what answers a
question. It overrides what it needs of `Remedy`; a set of them (`Remedies`) asks each in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from typing_extensions import TypedDict

from selfedit.config.retention import REMEDY_CHOICE, RetentionSettings
from selfedit.errors import DataError
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.lora import Adapter
from selfedit.retention.learner import Learner
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context
from selfedit.tasks.update_tools import UpdateKind

OwnText = tuple[Sequence[int], int]
"""Token ids, and the place from which on the model's predictions of them are held."""
Questions = Sequence[tuple[str, str]]
"""Questions as (title, question)."""
Routed = tuple[list[Adapter | None], list[int | None]]
"""For each question the adapter that answers it, and the edit it was routed to."""


@dataclass(frozen=True)
class NewEdit:
    """An edit to be made: whose, of which passage, from which self-edit, with which seeds."""

    learner: Learner
    context: Context
    edit: ParsedEdit
    seed: int
    order_seed: int


@dataclass(frozen=True)
class Setup:
    """What a remedy is made with: the task, all settings, what the unedited model wrote."""

    task: KnowledgeTask
    settings: RetentionSettings
    own_texts: Sequence[OwnText] = ()


@dataclass
class EditBatch:
    """Edits that are trained together, for remedies to change; each list has one entry an edit.

    Attributes:
        edits: the edits.
        starts: what each begins from.
        new: the sequences made of each self-edit and its passage.
        mixed: what is mixed in after them.
        apart: adapters are kept apart, not merged: there is nothing earlier to rehearse.
    """

    edits: Sequence[NewEdit]
    starts: Sequence[Adapter | None]
    new: list[list[TrainSequence]]
    mixed: list[list[TrainSequence]]
    apart: bool


class GateRecord(TypedDict):
    """A `Verdict` as the ledger keeps it."""

    factor: float
    attempts: list[list[float | None]]


@dataclass(frozen=True)
class Verdict:
    """Whether an edit is taken over.

    Attributes:
        factor: what the adapter is multiplied by; 0 refuses it.
        attempts: for each factor tried, the rise of the loss on everyday text and, where there is
            any, on earlier edits.
    """

    factor: float
    attempts: tuple[tuple[float, float, float | None], ...]

    def as_dict(self) -> GateRecord:
        """As the ledger keeps it."""
        return {"factor": self.factor, "attempts": [list(attempt) for attempt in self.attempts]}


class Remedy:
    """A remedy that changes nothing; what a real one changes it overrides.

    Attributes:
        turn: remedies change a batch in this order, whatever order they are named in.
        apart: adapters are kept apart, not merged.
        wants_own_texts: it needs what the unedited model writes of its own accord.
    """

    turn: int = 100
    apart: bool = False
    wants_own_texts: bool = False

    def __init__(self, setup: Setup) -> None:
        self.task, self.settings, self.own_texts = setup.task, setup.settings, setup.own_texts

    def change(self, batch: EditBatch) -> None:
        """Change what the edits are trained on."""

    def shape(self, job: AdaptJob) -> AdaptJob:
        """Change how an edit is trained."""
        return job

    def admit(self, edit: NewEdit, adapter: Adapter, *, apart: bool) -> Verdict | None:
        """By how much a trained edit is taken over; None has no say."""
        return None

    def answering(self, learner: Learner, questions: Questions) -> Routed | None:
        """What answers each question; None has no say."""
        return None


class Remedies:
    """A set of remedies with their settings.

    Args:
        task: makes training sequences and prompts.
        settings: which remedies, and their settings.
        own_texts: for those that want them, what the unedited model wrote (`write_own_texts`).

    Raises:
        UsageError: there is no such remedy, or one lacks something.
    """

    def __init__(
        self, task: KnowledgeTask, settings: RetentionSettings, own_texts: Sequence[OwnText] = ()
    ) -> None:
        self.task = task
        setup = Setup(task, settings, own_texts)
        chosen: list[Remedy] = [REMEDY_CHOICE.load(name)(setup) for name in settings.remedies]
        self.chosen = sorted(chosen, key=lambda remedy: remedy.turn)

    @property
    def apart(self) -> bool:
        """Adapters are kept apart, not merged."""
        return any(remedy.apart for remedy in self.chosen)

    def start(self, learner: Learner) -> Adapter | None:
        """What a new edit of this learner begins from, and what writes its self-edit."""
        return None if self.apart else learner.merged

    def jobs(self, edits: Sequence[NewEdit]) -> list[AdaptJob]:
        """The inner loop of each edit; teachers of all edits are read together."""
        jobs = [self.task.job(e.context, e.edit, e.seed, e.order_seed) for e in edits]
        starts = [self.start(edit.learner) for edit in edits]
        new = [_tokenised(job) for job in jobs]
        batch = EditBatch(edits, starts, new, [[] for _ in edits], self.apart)
        for remedy in self.chosen:
            remedy.change(batch)
        return [self._shaped(job, batch, number) for number, job in enumerate(jobs)]

    def joint_job(self, edits: Sequence[NewEdit], training: UpdateKind, seed: int) -> AdaptJob:
        """One inner loop that learns several edits together, of passages of one learner.

        What is mixed in is chosen for each edit, so that its share of the whole is the same however
        many edits there are.

        Raises:
            DataError: nothing at all to train on.
        """
        new = [self.task.sequences(edit.context, edit.edit) for edit in edits]
        starts = [self.start(edit.learner) for edit in edits]
        batch = EditBatch(edits, starts, new, [[] for _ in edits], self.apart)
        for remedy in self.chosen:
            remedy.change(batch)
        learned = [sequence for sequences in batch.new for sequence in sequences]
        if not learned:
            what = "the self-edits are empty and the passages are not trained on"
            raise DataError(what, fix="set edit.passage = true")
        # After all that is learned, as in `jobs`: the order is shuffled anyway.
        sequences = learned + [mixed for sequences in batch.mixed for mixed in sequences]
        job = AdaptJob(sequences, training.lora, training.optim, seed, start=starts[0])
        for remedy in self.chosen:
            job = remedy.shape(job)
        return job

    def _shaped(self, job: AdaptJob, batch: EditBatch, number: int) -> AdaptJob:
        sequences = [*batch.new[number], *batch.mixed[number]]
        job = replace(job, sequences=sequences, start=batch.starts[number])
        for remedy in self.chosen:
            job = remedy.shape(job)
        return job

    def admit(self, edit: NewEdit, adapter: Adapter) -> Verdict:
        """By how much a trained edit is taken over: wholly, unless a remedy says otherwise."""
        verdicts = (remedy.admit(edit, adapter, apart=self.apart) for remedy in self.chosen)
        return next((verdict for verdict in verdicts if verdict is not None), Verdict(1.0, ()))

    def answering(self, learner: Learner, questions: Questions) -> Routed:
        """The adapter that answers each question, and the edit it was routed to.

        Merged edits all answer together: the second list then says None everywhere.
        """
        routed = (remedy.answering(learner, questions) for remedy in self.chosen)
        merged: Routed = ([learner.merged] * len(questions), [None] * len(questions))
        return next((answer for answer in routed if answer is not None), merged)


def _tokenised(job: AdaptJob) -> list[TrainSequence]:
    return [sequence for sequence in job.sequences if isinstance(sequence, TrainSequence)]
