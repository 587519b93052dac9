"""Documents into one adapter: the model writes a self-edit of every passage, and one adapter is
trained on all of it.

What it recalls is measured before and after: the accuracy on the passages' questions where they
have any, the mean loss of the passages' own tokens, and, as what may have been damaged, the mean
loss of a text that has nothing to do with them (the project's held-out passages).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, Unpack

from typing_extensions import TypedDict

from selfedit.config import Settings
from selfedit.documents.known_language import LanguageRecord, tell_languages
from selfedit.documents.recall import Change, compared, measured
from selfedit.documents.training import saved_adapter, train_adapter
from selfedit.errors import ModelFileError, UsageError
from selfedit.grading.grader import get_grader
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.rl.opening import RunOptions, open_folder, open_session
from selfedit.rl.own_questions import with_own_questions
from selfedit.rl.session import Session
from selfedit.run.environment import environment
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import JsonObject, canonical_json, write_atomic
from selfedit.storage.neutral import in_line
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.folder import Skipped, SkippedRecord
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.named import knowledge_task
from selfedit.tasks.task import Context

KIND = "adapt"
_SETTINGS = ("model", "prompting", "device", "dtype", "seed", "task", "edit", "inner", "answer")


class AdaptResults(TypedDict):
    """What is written to ``results.json``.

    Keys:
        experiment: ``adapt``.
        passages, sequences, tokens: how many there were to learn, and were trained on.
        skipped: files of the folders that were left out, each with its reason.
        languages: of the passages, where they are not all English, and how well the model knows
            them.
        accuracy, loss, general_loss: what is recalled, on the passages' questions where there
            are any, their own tokens, and a text that has nothing to do with them.
        model, grader, data, settings: where the numbers come from.
    """

    experiment: str
    passages: int
    sequences: int
    tokens: int
    skipped: NotRequired[list[SkippedRecord]]
    languages: NotRequired[list[LanguageRecord]]
    accuracy: NotRequired[Change]
    loss: Change
    general_loss: Change
    model: dict[str, str]
    grader: str
    data: dict[str, str]
    settings: JsonObject


def adapt_documents(
    folder: str | Path,
    documents: Sequence[str | Path],
    settings: Settings,
    *,
    samples: int = 1,
    own_questions: bool = False,
    **options: Unpack[RunOptions],
) -> AdaptResults:
    """Train an adapter on documents, or go on where that stopped; returns what is written to
    ``results.json``.

    The folder becomes the adapter's (PEFT's two files, and ``selfedit.json`` with where it comes
    from) and the run's. Sampled self-edits and finished measurements are kept, and the training's
    state every minute and where it is stopped.

    Args:
        folder: made if it is not there.
        documents: documents (text, Markdown, PDF, Word, ...), JSON files, or folders of documents.
        settings: ``edit``, ``inner``, ``answer`` and the model are used; of what self-edits ask of
            their training one adapter gets what they ask for together
            (`selfedit.tasks.knowledge.directives.combined`).
        samples: self-edits a passage; 0 trains on the passages alone.
        own_questions: passages without questions are measured by questions that the model writes
            itself (``rl.own``).
        options: see `RunOptions`.

    Raises:
        DocumentError, FormatError, SettingsChanged, RunFolderError, Interrupted: see
        `selfedit.errors`.
    """
    skipped: list[Skipped] = []
    contexts = load_contexts(list(documents), on_skip=skipped.append)
    return adapt_passages(
        folder,
        contexts,
        settings,
        samples=samples,
        own_questions=own_questions,
        skipped=skipped,
        **options,
    )


def adapt_passages(
    folder: str | Path,
    contexts: Sequence[Context],
    settings: Settings,
    *,
    samples: int,
    own_questions: bool,
    skipped: Sequence[Skipped] = (),
    **options: Unpack[RunOptions],
) -> AdaptResults:
    """The same for passages that are read already; ``skipped`` is what was left out of them."""
    if samples < 0 or (samples == 0 and not settings.edit.passage):
        raise UsageError(
            "there is nothing to train on", where=f"samples = {samples}", fix="ask for 1 or more"
        )
    make_task = knowledge_task(settings)
    hashes = {"documents": data_hash(contexts)}
    frozen = frozen_settings(settings, samples, own_questions) | {"data": hashes}
    with open_folder(folder, frozen, hashes, kind=KIND) as run:
        # A finished run costs nothing: its model is not loaded again.
        if (stored := run.results()) is not None:
            saved_adapter(run)
            return stored
        grader = get_grader(settings.answer.grader, settings.judge)
        with open_session(run, settings, grader, make_task, workers=False, **options) as session:
            results = _learn(session, contexts, hashes, samples, own_questions)
            results["skipped"] = [each.as_record() for each in skipped]
            write_atomic(
                run.path / "selfedit.json",
                canonical_json(_adapter_record(session, samples, hashes)),
            )
            run.write_results(results)
    return results


def frozen_settings(settings: Settings, samples: int, own_questions: bool) -> JsonObject:
    """The settings that a run on documents depends on; others may change at a resume."""
    frozen = _used(settings) | {"samples": samples}
    if own_questions:
        frozen["own_questions"] = settings.rl.own.model_dump(mode="json")
    return frozen


def _used(settings: Settings) -> JsonObject:
    return settings.model_dump(mode="json", include=set(_SETTINGS))


def _learn(
    session: Session[KnowledgeTask],
    contexts: Sequence[Context],
    hashes: dict[str, str],
    samples: int,
    own_questions: bool,
) -> AdaptResults:
    """Measure, train, measure again."""
    languages = tell_languages(session, contexts)
    probes = _with_questions(session, contexts) if own_questions else contexts
    before = measured(session, "before", probes, None)
    adapter = train_adapter(session, contexts, samples)
    after = measured(session, "after", probes, adapter)
    training = session.run.ledger.step("adapter") or {}
    results: AdaptResults = {
        "experiment": KIND,
        "passages": len(contexts),
        "sequences": training["sequences"],
        "tokens": training["tokens"],
        "loss": compared(before["loss"], after["loss"]),
        "general_loss": compared(before["general"], after["general"]),
        "model": {"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        "grader": session.settings.answer.grader,
        "data": hashes,
        "settings": _used(session.settings),
    }
    if languages:
        results["languages"] = languages
    # Plain documents have no questions, and a judge may come to no verdict at all.
    if before["accuracy"]:
        results["accuracy"] = compared(before["accuracy"], after["accuracy"])
    return results


def _adapter_record(
    session: Session[KnowledgeTask], samples: int, hashes: dict[str, str]
) -> JsonObject:
    """What ``selfedit.json`` says beside the adapter."""
    return {
        "base": {"name": session.lm.name, "fingerprint": session.lm.fingerprint},
        "samples": samples,
        "settings": _used(session.settings),
        "environment": environment(hashes),
    }


def _with_questions(session: Session[KnowledgeTask], contexts: Sequence[Context]) -> list[Context]:
    """The passages, those without questions with the model's own."""
    without = [context for context in contexts if not context.questions]
    questioned = {context.id: context for context in with_own_questions(session, without)}
    return [questioned.get(context.id, context) for context in contexts]


def read_about(folder: str | Path) -> JsonObject:
    """What ``selfedit.json`` says of an adapter's folder; empty for an adapter from elsewhere."""
    path = Path(folder) / "selfedit.json"
    reader = BoundedReader("the adapter's description", error=ModelFileError, fix="remove it")
    return reader.shape(reader.json(path), JsonObject, path) if path.exists() else {}


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
