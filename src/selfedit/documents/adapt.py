"""Documents into one adapter: the model writes a self-edit of every passage, and one adapter is
trained on all that the passages support of it.

What it recalls is measured before and after: questions (`selfedit.documents.questions`), the mean
loss of the passages' own tokens, and, as what may have been damaged, the mean loss of a text that
has nothing to do with them (the project's held-out passages) and everyday facts. The same questions
are asked with their passage in the prompt. A verdict says in words what that comes to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Unpack

from selfedit.config import Settings
from selfedit.documents.estimate import phase_percents
from selfedit.documents.facts import coverage, learned_facts
from selfedit.documents.outcome import KIND, AdaptResults, PhaseBar, learn_documents, used_settings
from selfedit.documents.questions import given_questions, made_questions, placed_questions
from selfedit.documents.training import saved_adapter
from selfedit.errors import ModelFileError, UsageError
from selfedit.grading.grader import get_grader
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.rl.opening import RunOptions, check_named, open_folder, open_session
from selfedit.rl.session import Session
from selfedit.run.environment import environment
from selfedit.run.folder import RunFolder
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import JsonObject, canonical_json, fingerprint, write_atomic
from selfedit.storage.neutral import in_line
from selfedit.tasks.knowledge.contexts import data_hash, load_contexts
from selfedit.tasks.knowledge.folder import Skipped
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.named import knowledge_task
from selfedit.tasks.task import Context, Question


def adapt_documents(
    folder: str | Path,
    documents: Sequence[str | Path],
    settings: Settings,
    *,
    samples: int = 1,
    own_questions: bool = True,
    questions: str | Path | None = None,
    **options: Unpack[RunOptions],
) -> AdaptResults:
    """Train an adapter on documents, or go on where that stopped; returns what is written to
    ``results.json``.

    The folder becomes the adapter's (PEFT's two files, and ``selfedit.json`` with where it comes
    from) and the run's. Sampled self-edits and finished measurements are kept, and the training's
    state every minute and where it is stopped.

    Args:
        folder: generated if it is not there.
        documents: documents (text, Markdown, PDF, Word, ...), JSON files, or folders of documents.
        settings: ``edit``, ``inner``, ``answer`` and the model are used; of what self-edits ask of
            their training one adapter gets what they ask for together
            (`selfedit.tasks.knowledge.directives.combined`).
        samples: self-edits a passage; 0 trains on the passages alone.
        own_questions: passages without questions are measured by questions that the model makes
            itself.
        questions: a JSON file of questions to measure by instead.
        options: see `RunOptions`.

    Raises:
        DocumentError, FormatError: documents that cannot be used.
        SettingsChanged, RunFolderError, Interrupted: see `selfedit.errors`.
    """
    skipped: list[Skipped] = []
    contexts = load_contexts(list(documents), on_skip=skipped.append)
    return adapt_passages(
        folder,
        contexts,
        settings,
        samples=samples,
        own_questions=own_questions,
        questions=None if questions is None else given_questions(questions),
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
    questions: Sequence[Question] | None = None,
    skipped: Sequence[Skipped] = (),
    **options: Unpack[RunOptions],
) -> AdaptResults:
    """The same for passages that are read already; ``skipped`` is what was left out of them."""
    if samples < 0 or (samples == 0 and not settings.edit.passage):
        raise UsageError(
            "there is nothing to train on", where=f"samples = {samples}", fix="ask for 1 or more"
        )
    hashes = _hashes(contexts, questions)
    check_named(settings)
    with open_document(folder, hashes, settings, samples, own_questions) as run:
        # A finished run costs nothing: its model is not loaded again.
        if (stored := run.results()) is not None:
            saved_adapter(run)
            return stored
        with (
            document_session(run, settings, **options) as session,
            session.progress.task("learning", total=100, unit="%") as percent_done,
        ):
            phases = PhaseBar(percent_done, phase_percents(contexts, settings, samples))
            probes, covered = _asked_contexts(session, contexts, own_questions, questions)
            phases.finish("questions")
            results = learn_documents(session, contexts, probes, covered, hashes, samples, phases)
            results["skipped"] = [each.as_record() for each in skipped]
            write_atomic(
                run.path / "selfedit.json",
                canonical_json(_adapter_record(session, samples, hashes)),
            )
            run.write_results(results)
    return results


def open_document(
    folder: str | Path,
    hashes: Mapping[str, str],
    settings: Settings,
    samples: int,
    own_questions: bool,
) -> AbstractContextManager[RunFolder]:
    """The folder of a run on documents, new or gone on with; ``hashes`` are its data's."""
    frozen = frozen_settings(settings, samples, own_questions) | {"data": dict(hashes)}
    return open_folder(folder, frozen, hashes, kind=KIND)


def document_session(
    run: RunFolder, settings: Settings, **options: Unpack[RunOptions]
) -> AbstractContextManager[Session[KnowledgeTask]]:
    """The model, task and grader of a run on documents whose folder is open."""
    grader = get_grader(settings.answer.grader, settings.judge)
    return open_session(run, settings, grader, knowledge_task(settings), workers=False, **options)


def _hashes(contexts: Sequence[Context], questions: Sequence[Question] | None) -> dict[str, str]:
    hashes = {"documents": data_hash(contexts)}
    if questions is not None:
        hashes["questions"] = fingerprint([asdict(question) for question in questions])
    return hashes


def frozen_settings(settings: Settings, samples: int, own_questions: bool) -> JsonObject:
    """The settings that a run on documents depends on; others may change at a resume."""
    frozen = used_settings(settings) | {"samples": samples}
    if own_questions:
        frozen["own_questions"] = settings.rl.own.model_dump(mode="json")
    return frozen


def _asked_contexts(
    session: Session[KnowledgeTask],
    contexts: Sequence[Context],
    own_questions: bool,
    questions: Sequence[Question] | None,
) -> tuple[list[Context], float | None]:
    """What is asked, each question under its passage; the share of the sentences that the model's
    own questions could be about, where all are its own.
    """
    if questions is not None:
        return placed_questions(session, contexts, questions), None
    # Questions that came with the passages are somebody's: better than any of ours.
    with_questions = [context for context in contexts if context.questions]
    without = [context for context in contexts if not context.questions]
    if not (own_questions and without):
        return with_questions, None
    facts = learned_facts(session, contexts)
    generated = made_questions(session, without, facts)
    covered = None if with_questions else coverage(contexts, facts, generated)
    return [*with_questions, *generated], covered


def _adapter_record(
    session: Session[KnowledgeTask], samples: int, hashes: dict[str, str]
) -> JsonObject:
    """What ``selfedit.json`` says beside the adapter."""
    return {
        "base": {"name": session.lm.name, "fingerprint": session.lm.fingerprint},
        "samples": samples,
        "settings": used_settings(session.settings),
        "environment": environment(hashes),
    }


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
