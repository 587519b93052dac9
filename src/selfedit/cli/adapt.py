"""``selfedit adapt``: documents into an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from selfedit.cli.adapt_output import print_learned, say_how_to_ask
from selfedit.cli.command import say, working_with
from selfedit.cli.dry_run import documents_estimate, print_documents_estimate
from selfedit.cli.output import counted
from selfedit.cli.setting_options import overrides_from, with_settings
from selfedit.documents.recipe import RECIPE
from selfedit.errors import UsageError

if TYPE_CHECKING:
    from selfedit.config import Settings
    from selfedit.documents.adapt import AdaptResults
    from selfedit.documents.known_files import KnownFiles
    from selfedit.documents.sources import Document
    from selfedit.documents.upkeep import LibraryResults
    from selfedit.lm.load import LanguageModel
    from selfedit.tasks.knowledge.folder import Skipped
    from selfedit.tasks.task import Context, Question


@with_settings(
    "seed", "device", "dtype", "task", "edit", "inner", "documents", "retention", "answer", "judge",
    "run",
    but=("edit.format",), defaults=RECIPE,
)  # fmt: skip
def adapt(
    model: str,
    documents: Annotated[list[str], Parameter(consume_multiple=True)],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    format: str = "implications",
    samples: int = 1,
    library: bool = False,
    own_questions: Annotated[bool, Parameter(negative="--no-own-questions")] = True,
    questions: Path | None = None,
    dry_run: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
    **overrides: Any,
) -> None:
    """Documents into an adapter, with a verdict on what was learned and damaged.

    The model reads the documents, writes its own training data, and trains one adapter on all of it
    that the documents support; the verdict says what can be asked for now and what it cost.

    The folder is an adapter in PEFT's format. The same command again goes on where it stopped. With
    --library it is one adapter a document: after documents were added, changed or removed, it
    learns only those, and `ask` routes each question to a document's adapter.

    Args:
        model: a short name, a folder, or a hub id.
        documents: text, Markdown, PDF, Word, PowerPoint, HTML, EPUB or CSV files, JSON with
            questions, or folders of documents.
        out: the adapter's folder.
        format: what kind of self-edit the model is asked for: implications, implications-long,
            implications-very-long, rewrite, self-qa, none, chain-of-thought, or your own as
            package.module:Name.
        samples: self-edits a passage; 0 trains on the passages alone.
        library: one adapter a document, for documents that change.
        own_questions: measure by questions that the model makes itself, where there are none;
            with no- before it: only by the loss.
        questions: JSON, measured by instead: [{"question": "...", "answers": ["..."]}].
        dry_run: learn nothing: print minutes (of this machine where the model is on it), memory,
            and what will be fetched.
        json: print the results as JSON.
        quiet: no progress.
    """
    from selfedit.documents.recipe import document_settings
    from selfedit.rl.opening import check_named

    typed = overrides_from(overrides)
    settings = document_settings({"model": model, "edit.format": format} | typed)
    inputs = _read(documents, questions, library, out)
    check_named(settings)
    if dry_run:
        print_documents_estimate(inputs.contexts, settings, samples, json=json)
        return
    with working_with(settings.model, quiet=quiet) as options:
        lm = None if quiet else _estimated(out, inputs.contexts, settings, samples)
        learn = _update_of(out, inputs) if library else _adapter_of(out, inputs)
        results = learn(settings, samples=samples, own_questions=own_questions, lm=lm, **options)
    print_learned(results, library=library, json=json)
    say_how_to_ask(settings.model, out, inputs.contexts)
    say(f"what was learned, and what was left out: selfedit report {out}")


@dataclass(frozen=True)
class _Inputs:
    """What there is to learn and to be measured by, read once."""

    documents: Sequence[Document]
    contexts: Sequence[Context]
    questions: Sequence[Question] | None
    skipped: Sequence[Skipped]
    files: KnownFiles | None


def _read(sources: Sequence[str], questions: Path | None, library: bool, out: Path) -> _Inputs:
    """Read documents and questions, and see what is wrong with them, before any model is fetched;
    what is left out of a folder is said here, and again at the end.
    """
    if library and questions is not None:
        what = "a library is measured document by document, not by one file of questions"
        fix = "give the documents as JSON with their questions"
        raise UsageError(what, where="--questions", fix=fix)
    from selfedit.documents.known_files import KnownFiles
    from selfedit.documents.questions import given_questions
    from selfedit.documents.sources import read_documents
    from selfedit.tasks.knowledge.contexts import load_contexts
    from selfedit.tasks.knowledge.folder import log_skipped

    to_ask = None if questions is None else given_questions(questions)
    skipped: list[Skipped] = []

    def on_skip(left_out: Skipped) -> None:
        log_skipped(left_out)
        skipped.append(left_out)

    # What a library has learned and nobody has touched since is not read again.
    files = KnownFiles(out) if library else None
    entries = read_documents(sources, on_skip, files) if library else []
    contexts = (
        [context for document in entries for context in document.contexts]
        if library
        else load_contexts(list(sources), on_skip=on_skip)
    )
    passages = counted(len(contexts), "passage")
    if unread := sum(not document.contexts for document in entries):
        say(f"{counted(unread, 'document')} as before; {passages} in the others")
    else:
        say(f"{passages} in {', '.join(sources)}")
    return _Inputs(entries, contexts, to_ask, skipped, files)


def _adapter_of(out: Path, inputs: _Inputs) -> Callable[..., AdaptResults]:
    from selfedit.documents.adapt import adapt_passages

    return partial(
        adapt_passages, out, inputs.contexts, questions=inputs.questions, skipped=inputs.skipped
    )


def _update_of(out: Path, inputs: _Inputs) -> Callable[..., LibraryResults]:
    from selfedit.documents.upkeep import update_library

    return partial(
        update_library, out, inputs.documents, skipped=inputs.skipped, files=inputs.files
    )


def _estimated(
    out: Path, contexts: Sequence[Context], settings: Settings, samples: int
) -> LanguageModel | None:
    """The model of a run that is new, loaded to say how long it will take; None for one that is
    gone on with.
    """
    from selfedit.lm.load import load_for
    from selfedit.run.marker import is_run
    from selfedit.run.progress import duration

    # A run that is gone on with has said so before, and may need no model at all.
    if is_run(out):
        return None
    lm = load_for(settings)
    work = documents_estimate(lm, contexts, settings, samples)
    say(f"about {duration(work.seconds)} on this machine (--dry-run says what for)")
    return lm
