"""The adapter of a run on documents: one training learns all of their material, with the remedies
that keep the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NotRequired

from typing_extensions import TypedDict

from selfedit.documents.material import PLACE, PassageMaterial
from selfedit.errors import ModelFileError
from selfedit.inner.adapt import adapt
from selfedit.inner.checkpoint import Checkpoint
from selfedit.inner.job import AdaptJob
from selfedit.lm.lora import Adapter
from selfedit.retention.learner import Learner
from selfedit.retention.remedies.base import GateRecord, NewEdit, Remedies
from selfedit.rl.own_texts import kept_own_texts
from selfedit.rl.progress_rows import follow_losses
from selfedit.rl.session import Session
from selfedit.run.folder import RunFolder
from selfedit.run.progress import count_up
from selfedit.run.seeds import derive
from selfedit.storage.files import fingerprint, folder_atomic, hash_file, remove
from selfedit.tasks.knowledge.directives import as_asked
from selfedit.tasks.knowledge.edits import Directives
from selfedit.tasks.knowledge.task import KnowledgeTask

CHECKPOINT = "training.safetensors"
"""The training's state while it is under way."""
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


class TrainedRecord(TypedDict):
    """What the ledger keeps of a finished training."""

    sequences: int
    tokens: int
    sha256: str
    directives: NotRequired[dict[str, object]]
    gate: NotRequired[GateRecord]


def train_adapter(
    session: Session[KnowledgeTask], material: Sequence[PassageMaterial], directives: Directives
) -> Adapter:
    """One adapter on all passages and what was made of them, saved where PEFT looks for it; a
    finished one is read.
    """
    run = session.run
    if is_trained(run):
        remove(run.path / CHECKPOINT)
        return saved_adapter(run)
    training = prepare_training(session, material, directives)
    store_adapter(session, training, _train(session, training.job))
    # As a resumed run has it: the same numbers laid out otherwise give sums other last bits.
    return saved_adapter(run)


@dataclass(frozen=True)
class ReadyTraining:
    """A training that is ready to run, and what decides about its adapter afterwards."""

    remedies: Remedies
    edits: Sequence[NewEdit]
    directives: Directives
    job: AdaptJob


def is_trained(run: RunFolder) -> bool:
    """Whether the run has its adapter."""
    return run.ledger.step("adapter") is not None


def prepare_training(
    session: Session[KnowledgeTask], material: Sequence[PassageMaterial], directives: Directives
) -> ReadyTraining:
    """The inner loop of all material, with what the remedies mix in."""
    edits = _passage_edits(session, material)
    retention = session.settings.retention
    remedies = Remedies(session.task, retention, kept_own_texts(session, retention.remedies))
    job = remedies.joint_job(edits, session.task.training(directives), _seed(session))
    return ReadyTraining(remedies, edits, directives, job)


def store_adapter(
    session: Session[KnowledgeTask], training: ReadyTraining, trained: Adapter
) -> None:
    """Save a trained adapter as far as the gate admits it; the run is then trained."""
    run = session.run
    follow_losses(run, "adapter", trained.losses)
    adapter, gate = _admitted(training.remedies, training.edits[0], trained)
    _keep(run, adapter)
    payload: TrainedRecord = {
        "sequences": len(training.job.sequences),
        "tokens": adapter.tokens,
        "sha256": hash_file(run.path / _WEIGHTS),
    }
    if requested := as_asked(training.directives):
        payload["directives"] = requested
    if gate is not None:
        payload["gate"] = gate
    run.ledger.finish_step("adapter", payload)
    remove(run.path / CHECKPOINT)


def _seed(session: Session[KnowledgeTask]) -> int:
    return derive(session.settings.seed, "inner", PLACE.phase.value)


def _passage_edits(
    session: Session[KnowledgeTask], material: Sequence[PassageMaterial]
) -> list[NewEdit]:
    """A passage's material as an edit of one learner, who has learned nothing yet."""
    learner = Learner()
    edits: list[NewEdit] = []
    for each in material:
        seed = derive(_seed(session), each.context.id)
        edits.append(NewEdit(learner, each.context, each.edit, seed, seed))
    return edits


def _train(session: Session[KnowledgeTask], job: AdaptJob) -> Adapter:
    checkpoint = kept_training(session, session.run, [job])
    name, total = "training the adapter", job_tokens(job)
    with session.progress.task(name, total=total, unit="tokens") as counter:
        on_step = count_up(counter, session.interrupt.check)
        return adapt(session.lm, [job], on_step, checkpoint=checkpoint)[0]


def job_tokens(job: AdaptJob) -> int:
    """Tokens that a job passes through the model, all epochs."""
    return job.optim.epochs * sum(len(s.ids) for s in job.sequences if not isinstance(s, str))


def kept_training(
    session: Session[KnowledgeTask],
    run: RunFolder,
    jobs: Sequence[AdaptJob],
    seconds: float = Checkpoint.seconds,
) -> Checkpoint:
    """Where a training of these jobs is kept in the run's folder, by what decides it."""
    described: list[AdaptJob] = []
    for job in jobs:
        # What a teacher says follows from the model, the sequence and the settings.
        bare = [replace(s, teacher=None) for s in job.sequences if not isinstance(s, str)]
        described.append(replace(job, sequences=bare))
    retention = session.settings.retention.model_dump(mode="json")
    key = fingerprint([session.lm.fingerprint, str(session.lm.dtype), *described, retention])
    return Checkpoint(run.path / CHECKPOINT, key, seconds)


def _admitted(
    remedies: Remedies, edit: NewEdit, adapter: Adapter
) -> tuple[Adapter, GateRecord | None]:
    """The adapter at the largest scale that the gate admits, where there is one.

    Refused at every scale it is kept at the smallest: what it damages is measured and said.
    """
    verdict = remedies.admit(edit, adapter)
    if not verdict.attempts:
        return adapter, None
    # Zero would be an adapter that does nothing.
    factor = verdict.factor or verdict.attempts[-1][0]
    tensors = {name: (a, factor * b) for name, (a, b) in adapter.tensors.items()}
    return replace(adapter, tensors=tensors), verdict.as_dict()


def _keep(run: RunFolder, adapter: Adapter) -> None:
    """Write PEFT's two files into the run's folder."""
    with folder_atomic(run.adapters / "new") as new:
        adapter.save(new)
    for name in (_WEIGHTS, _CONFIG):  # the configuration last: without it a folder is no adapter
        (run.adapters / "new" / name).replace(run.path / name)
    (run.adapters / "new").rmdir()
    run.adapters.rmdir()


def saved_adapter(run: RunFolder) -> Adapter:
    """The run's finished adapter.

    Raises:
        ModelFileError: it is not the one that was trained.
    """
    adapter = Adapter.load(run.path)
    recorded = (run.ledger.step("adapter") or {}).get("sha256")
    if hash_file(run.path / _WEIGHTS) != recorded:
        fix = "start in a new folder"
        raise ModelFileError(
            "the adapter is not the one this run trained", where=run.path / _WEIGHTS, fix=fix
        )
    return adapter
