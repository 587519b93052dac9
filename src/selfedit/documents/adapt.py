"""Documents into one adapter: the model writes a self-edit of every passage, and one adapter is
trained on all of it.

What it recalls is measured before and after: the accuracy on the passages' questions where they
have any, the mean loss of the passages' own tokens, and, as what may have been damaged, the mean
loss of a text that has nothing to do with them (the project's held-out passages).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from selfedit.config import Settings
from selfedit.documents.recall import accuracies, ask_questions, passage_losses
from selfedit.errors import ModelFileError, UsageError
from selfedit.grading.grader import get_grader
from selfedit.grading.stats import mean_se, paired
from selfedit.inner.adapt import adapt
from selfedit.inner.checkpoint import Checkpoint
from selfedit.inner.job import AdaptJob, TrainSequence
from selfedit.lm.load import LanguageModel, load_for
from selfedit.lm.lora import Adapter
from selfedit.rl.own_questions import with_own_questions
from selfedit.rl.sample import sample
from selfedit.rl.session import Session
from selfedit.run.environment import environment
from selfedit.run.folder import RunFolder
from selfedit.run.interrupt import Interrupt
from selfedit.run.progress import SILENT, ProgressSink, count_up
from selfedit.run.records import Phase, Place
from selfedit.run.seeds import derive
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import (
    canonical_json,
    fingerprint,
    folder_atomic,
    hash_file,
    remove,
    write_atomic,
)
from selfedit.storage.neutral import in_line
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.directives import as_asked, combined
from selfedit.tasks.knowledge.edits import Directives, ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

KIND = "adapt"
PLACE = Place(Phase.ADAPT)
GENERAL = "corpus:heldout"
"""The text whose loss shows damage."""
_USED = ("model", "prompting", "device", "dtype", "seed", "edit", "inner", "answer")
_CHECKPOINT = "training.safetensors"
"""The training's state while it is under way."""
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapt_documents(
    folder: str | Path,
    documents: Sequence[str | Path],
    settings: Settings,
    *,
    samples: int = 1,
    own_questions: bool = False,
    progress: ProgressSink = SILENT,
    interrupt: Interrupt | None = None,
    lm: LanguageModel | None = None,
) -> dict[str, Any]:
    """Train an adapter on documents, or go on where that stopped; returns what is written to
    ``results.json``.

    The folder becomes the adapter's (PEFT's two files, and ``selfedit.json`` with where it comes
    from) and the run's. Sampled self-edits and finished measurements are kept, and the training's
    state every minute and where it is stopped.

    Args:
        folder: made if it is not there.
        documents: text, Markdown or JSON files, or folders of documents.
        settings: ``edit``, ``inner``, ``answer`` and the model are used; of what self-edits ask of
            their training one adapter gets what they ask for together
            (`selfedit.tasks.knowledge.directives.combined`).
        samples: self-edits a passage; 0 trains on the passages alone.
        own_questions: passages without questions are measured by questions that the model writes
            itself (``rl.own``).
        progress: where progress goes.
        interrupt: how the user stops the run.
        lm: the model, if it is loaded already.

    Raises:
        DocumentError, FormatError, SettingsChanged, RunFolderError, Interrupted: see
        `selfedit.errors`.
    """
    if samples < 0 or (samples == 0 and not settings.edit.passage):
        raise UsageError(
            "there is nothing to train on", where=f"samples = {samples}", fix="ask for 1 or more"
        )
    contexts = load_contexts(list(documents))
    hashes = {"documents": data_hash(contexts)}
    used = {
        name: value for name, value in settings.model_dump(mode="json").items() if name in _USED
    }
    extra = {"own_questions": settings.rl.own.model_dump(mode="json")} if own_questions else {}
    with RunFolder.open(
        folder, {**used, **extra, "samples": samples, "data": hashes}, kind=KIND
    ) as run:
        record = environment(hashes)
        run.record_environment(record)
        if (results := run.results()) is not None:
            _saved(run)
            return results
        lm = lm or load_for(settings)
        run.keep_model(settings.model, lm.fingerprint)
        grader = get_grader(settings.answer.grader, settings.judge)
        task = KnowledgeTask(lm, settings)
        session = Session(run, lm, task, settings, grader, progress, interrupt or Interrupt())
        probes = _asked(session, contexts) if own_questions else contexts
        before = _measured(session, "before", probes, None)
        adapter = _adapter(session, contexts, samples)
        after = _measured(session, "after", probes, adapter)
        results = _results(session, contexts, before, after) | {"data": hashes, "settings": used}
        about = {
            "base": {"name": lm.name, "fingerprint": lm.fingerprint},
            "samples": samples,
            "settings": used,
        }
        write_atomic(run.path / "selfedit.json", canonical_json({**about, "environment": record}))
        run.write_results(results)
    return results


def _asked(session: Session, contexts: Sequence[Context]) -> list[Context]:
    """The passages, those without questions with the model's own."""
    without = [context for context in contexts if not context.questions]
    questioned = {context.id: context for context in with_own_questions(session, without)}
    return [questioned.get(context.id, context) for context in contexts]


def _measured(
    session: Session, name: str, contexts: Sequence[Context], adapter: Adapter | None
) -> dict[str, Any]:
    """What is recalled now, once: a finished measurement is read from the ledger."""
    ledger = session.run.ledger
    if (stored := ledger.step(name)) is not None:
        return stored
    session.interrupt.check()
    say = f"what it recalls {name}"
    reporting = {"progress": session.progress, "interrupt": session.interrupt}
    answers = ask_questions(session.task, contexts, session.grader, adapter, name=say, **reporting)
    payload = {
        "answers": [asdict(answer) for answer in answers],
        "accuracy": accuracies(answers),
        "loss": passage_losses(session.lm, contexts, adapter),
        "general": passage_losses(session.lm, load_contexts(GENERAL), adapter),
    }
    ledger.finish_step(name, payload)
    # As a resumed run has it, in the ledger's order: sums over it have the same last bits.
    return ledger.step(name) or {}


def _adapter(session: Session, contexts: Sequence[Context], samples: int) -> Adapter:
    run = session.run
    if run.ledger.step("adapter") is not None:
        remove(run.path / _CHECKPOINT)
        return _saved(run)
    edits, directives = _edits(session, contexts, samples)
    sequences = [
        s for c in contexts for s in session.task.sequences(c, edits.get(c.id, ParsedEdit((), ())))
    ]
    adapter = _train(session, sequences, directives)
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
    return _saved(run)


def _edits(
    session: Session, contexts: Sequence[Context], samples: int
) -> tuple[dict[str, ParsedEdit], Directives]:
    """Each passage's self-edits as one, every line and pair once; what all ask of the training."""
    if not samples:
        return {}, Directives()
    edits: dict[str, ParsedEdit] = {}
    calls: list[Directives] = []
    for row in sample(session, PLACE, contexts, samples):
        edit = session.task.parse(row.text)
        had = edits.get(row.context_id, ParsedEdit((), ()))
        lines, pairs = (
            tuple(dict.fromkeys(a + b))
            for a, b in ((had.lines, edit.lines), (had.pairs, edit.pairs))
        )
        calls.append(edit.directives)
        edits[row.context_id] = replace(edit, lines=lines, pairs=pairs)
    together = combined(calls)
    return {name: replace(e, directives=together) for name, e in edits.items()}, together


def _train(session: Session, sequences: Sequence[TrainSequence], directives: Directives) -> Adapter:
    training = session.task.training(directives)
    seed = derive(session.settings.seed, "inner", PLACE.phase.value)
    job = AdaptJob(sequences, training.lora, training.optim, seed)
    total = training.optim.epochs * sum(len(s.ids) for s in sequences)
    key = fingerprint([session.lm.fingerprint, str(session.lm.dtype), job])
    checkpoint = Checkpoint(session.run.path / _CHECKPOINT, key)
    with session.progress.task("training the adapter", total=total, unit="tokens") as counter:
        on_step = count_up(counter, session.interrupt.check)
        return adapt(session.lm, [job], on_step, checkpoint=checkpoint)[0]


def _saved(run: RunFolder) -> Adapter:
    adapter = Adapter.load(run.path)
    recorded = (run.ledger.step("adapter") or {}).get("sha256")
    if hash_file(run.path / _WEIGHTS) != recorded:
        fix = "start in a new folder"
        raise ModelFileError(
            "the adapter is not the one this run trained", where=run.path / _WEIGHTS, fix=fix
        )
    return adapter


def _results(
    session: Session,
    contexts: Sequence[Context],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[str, Any]:
    trained = session.run.ledger.step("adapter") or {}
    measures = {"accuracy": "accuracy", "loss": "loss", "general": "general_loss"}
    return {
        "experiment": KIND,
        "passages": len(contexts),
        "sequences": trained.get("sequences"),
        "tokens": trained.get("tokens"),
        "model": {"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        "grader": session.settings.answer.grader,
        **{
            name: _compared(before[key], after[key])
            for key, name in measures.items()
            if before[key]
        },
    }


def _compared(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    """Means before and after and the paired difference; n counts passages, those measured both
    times.
    """
    both = [name for name in before if name in after]
    before, after = {name: before[name] for name in both}, {name: after[name] for name in both}
    return {
        "before": mean_se(before.values()).as_dict(),
        "after": mean_se(after.values()).as_dict(),
        "paired": paired(after, before).as_dict(),
    }


def read_about(folder: str | Path) -> dict[str, Any]:
    """What ``selfedit.json`` says of an adapter's folder; empty for an adapter from elsewhere."""
    path = Path(folder) / "selfedit.json"
    reader = BoundedReader("the adapter's description", error=ModelFileError, fix="remove it")
    return reader.shape(reader.json(path), dict[str, Any], path) if path.exists() else {}


def load_adapter(folder: str | Path, lm: LanguageModel) -> Adapter:
    """An adapter for a model.

    Raises:
        ModelFileError: it cannot be read, or says that it was trained on other weights.
    """
    adapter, about = Adapter.load(folder), read_about(folder).get("base")
    base = about if isinstance(about, dict) else {}
    if base.get("fingerprint", lm.fingerprint) != lm.fingerprint:
        what = f"the adapter was trained on other weights than those of {lm.name}"
        fix = f"give the model it was trained on ({in_line(base.get('name'), 200)})"
        raise ModelFileError(what, where=folder, fix=fix)
    return adapter
