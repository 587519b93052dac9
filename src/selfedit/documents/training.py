"""The adapter of a run on documents: its self-edits are sampled, and one training learns all of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfedit.errors import ModelFileError
from selfedit.inner.adapt import adapt
from selfedit.inner.checkpoint import Checkpoint
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.lora import Adapter
from selfedit.rl.sample import sample
from selfedit.rl.session import Session
from selfedit.run.folder import RunFolder
from selfedit.run.progress import count_up
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.storage.files import fingerprint, folder_atomic, hash_file, remove
from selfedit.tasks.knowledge.directives import as_asked, combined
from selfedit.tasks.knowledge.edits import Directives, ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

PLACE = Place(Phase.ADAPT)
_CHECKPOINT = "training.safetensors"
"""The training's state while it is under way."""
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def train_adapter(
    session: Session[KnowledgeTask], contexts: Sequence[Context], samples: int
) -> Adapter:
    """One adapter on all passages and their self-edits, saved where PEFT looks for it; a finished
    one is read.
    """
    run = session.run
    if run.ledger.step("adapter") is not None:
        remove(run.path / _CHECKPOINT)
        return saved_adapter(run)
    edits, directives = _merged_edits(session, contexts, samples)
    sequences: list[TrainSequence] = []
    for context in contexts:
        # No self-edit at all (samples = 0) still leaves the passage itself.
        edit = edits.get(context.id, ParsedEdit((), ()))
        sequences += session.task.sequences(context, edit)
    adapter = _train_sequences(session, sequences, directives)
    with folder_atomic(run.adapters / "new") as new:
        adapter.save(new)
    for name in (_WEIGHTS, _CONFIG):  # the configuration last: without it a folder is no adapter
        (run.adapters / "new" / name).replace(run.path / name)
    (run.adapters / "new").rmdir()
    run.adapters.rmdir()
    payload = {
        "sequences": len(sequences),
        "tokens": adapter.tokens,
        "sha256": hash_file(run.path / _WEIGHTS),
    }
    payload |= {"directives": as_asked(directives)} if as_asked(directives) else {}
    run.ledger.finish_step("adapter", payload)
    remove(run.path / _CHECKPOINT)
    # As a resumed run has it: the same numbers laid out otherwise give sums other last bits.
    return saved_adapter(run)


def _merged_edits(
    session: Session[KnowledgeTask], contexts: Sequence[Context], samples: int
) -> tuple[dict[str, ParsedEdit], Directives]:
    """Each passage's self-edits as one, every line and pair once; what all ask of the training."""
    if not samples:
        return {}, Directives()
    edits: dict[str, ParsedEdit] = {}
    calls: list[Directives] = []
    for row in sample(session, PLACE, contexts, samples):
        edit = session.task.parse(row.text)
        before = edits.get(row.context_id, ParsedEdit((), ()))
        lines = tuple(dict.fromkeys(before.lines + edit.lines))
        pairs = tuple(dict.fromkeys(before.pairs + edit.pairs))
        calls.append(edit.directives)
        edits[row.context_id] = replace(edit, lines=lines, pairs=pairs)
    together = combined(calls)
    return {name: replace(e, directives=together) for name, e in edits.items()}, together


def _train_sequences(
    session: Session[KnowledgeTask], sequences: Sequence[TrainSequence], directives: Directives
) -> Adapter:
    training = session.task.training(directives)
    seed = derive(session.settings.seed, "inner", PLACE.phase.value)
    job = AdaptJob(sequences, training.lora, training.optim, seed)
    total = training.optim.epochs * sum(len(s.ids) for s in sequences)
    key = fingerprint([session.lm.fingerprint, str(session.lm.dtype), job])
    checkpoint = Checkpoint(session.run.path / _CHECKPOINT, key)
    with session.progress.task("training the adapter", total=total, unit="tokens") as counter:
        on_step = count_up(counter, session.interrupt.check)
        return adapt(session.lm, [job], on_step, checkpoint=checkpoint)[0]


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
