"""Loading what a model adapts to: passages with questions from JSON, or plain documents.

Accepted sources:

- ``corpus:train`` and ``corpus:heldout``, the project's own 24 invented passages; ``corpus:`` with
  ``learn``, ``choose`` or ``sealed``, its 160 further ones (``docs/corpus.md`` says what each part
  is for);
- a ``.json`` file: a list of ``{"title", "context", "questions": [{"question", "answer" or
  "answers"}]}``, one such record by itself, or SQuAD's nested form ``{"data": [{"title",
  "paragraphs": [{"context", "qas": [...]}]}]}`` (questions that SQuAD 2 marks ``is_impossible`` are
  left out);
- a ``.jsonl`` file with one such record a line, or rows of one question each (``{"title",
  "context", "question", "answers": {"text": [...]}}``, as the `datasets` library has SQuAD), put
  together where the passage is the same; lines under the name ``.json`` are read too;
- a document, or a folder of documents, which gives passages without questions: text and Markdown
  (.txt, .rst, .md, .markdown), and what `selfedit.tasks.knowledge.readers` reads (.pdf, .docx,
  .pptx, .html, .epub, .csv, ...). Of a folder, a file that cannot be read is left out and named.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfedit.errors import DataError, DocumentError, Unavailable, UsageError
from selfedit.storage.bounded import is_there
from selfedit.storage.neutral import in_line, slug
from selfedit.tasks.knowledge import corpus
from selfedit.tasks.knowledge.documents import MAX_BYTES, MAX_WORDS, read_document, split_document
from selfedit.tasks.knowledge.folder import (
    DATA_SUFFIXES,
    DOCUMENT_SUFFIXES,
    MARKDOWN_SUFFIXES,
    OnSkip,
    Skipped,
    documents_in,
    log_skipped,
    readable,
)
from selfedit.tasks.knowledge.passage_files import json_records, jsonl_records
from selfedit.tasks.knowledge.passage_forms import PassageForm, checked_passages, list_first
from selfedit.tasks.knowledge.readers.extract import extract
from selfedit.tasks.knowledge.readers.kinds import CONVERTIBLE, KINDS
from selfedit.tasks.task import Context, Question

CORPUS_PREFIX = "corpus:"
CORPORA = ("train", "heldout", "learn", "choose", "sealed")


def load_contexts(
    source: str | Path | Sequence[str | Path],
    *,
    require_questions: bool = False,
    max_words: int = MAX_WORDS,
    max_bytes: int = MAX_BYTES,
    on_skip: OnSkip = log_skipped,
) -> list[Context]:
    """The contexts of one or several sources, in their order, with ids that do not change between
    runs.

    A record's own ``id`` is kept. Without one a context is called after its title and a hash of its
    text (``mount-kerrigal-1f0c83ab``) and its questions ``<context id>/q1``, ``/q2``, ... An id
    that is met again gets a number behind it.

    Args:
        source: a source as listed at the top of this module, or several.
        require_questions: refuse passages without questions.
        max_words: the size of the passages a document is cut to.
        max_bytes: the largest text or Markdown document read; of any other up to 256 MiB are.
        on_skip: told of every file of a folder that is left out, and why.

    Raises:
        FormatError: a data file has the wrong form; the first few bad records are listed.
        DocumentError: a document cannot be read, or no document of a folder.
        Unavailable: the reader of a kind of document is not installed.
        DataError: passages without questions, where they are required.
        UsageError: no source, an unknown ``corpus:`` name, or a ``max_words`` that is not positive.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise UsageError("no passages are named", fix="give a file, a folder or corpus:train")
    passages: list[PassageForm] = []
    for each in sources:
        forms = _passages(each, max_words, max_bytes, on_skip)
        if require_questions:
            _require_questions(forms, each)
        passages += forms
    return _with_ids(passages)


def contexts_from(
    records: Iterable[Any], source: object, *, require_questions: bool = False
) -> list[Context]:
    """The contexts of records that are read already, in the form of a data file; other fields are
    passed over.

    Raises:
        FormatError, DataError: as `load_contexts`.
    """
    passages = checked_passages(
        ((f"record {number}", record) for number, record in enumerate(records, 1)), source
    )
    if require_questions:
        _require_questions(passages, source)
    return _with_ids(passages)


def data_hash(contexts: Iterable[Context]) -> str:
    """The SHA-256 of everything in ``contexts``, in their order: equal hashes mean equal data."""
    plain = [asdict(context) for context in contexts]
    for question in (question for context in plain for question in context["questions"]):
        if not question["topic"]:  # none of a data file's questions has one
            del question["topic"]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _passages(
    source: str | Path, max_words: int, max_bytes: int, on_skip: OnSkip
) -> list[PassageForm]:
    """The passages of one source."""
    if isinstance(source, str) and source.startswith(CORPUS_PREFIX):
        return checked_passages(json_records(_corpus_file(source)), source)
    path = Path(source)
    if is_there(path) and path.is_dir():
        return _folder_passages(path, max_words, max_bytes, on_skip)
    if not is_there(path):
        fix = f"check the path; the project's own passages are called {_corpus_names()}"
        raise DocumentError("the file or folder does not exist", where=in_line(path, 200), fix=fix)
    suffix = path.suffix.lower()
    if suffix in DATA_SUFFIXES:
        return checked_passages(
            jsonl_records(path) if suffix == ".jsonl" else json_records(path), path
        )
    if suffix in DOCUMENT_SUFFIXES:
        return _document_passages(path, max_words, max_bytes)
    endings = " ".join((*DATA_SUFFIXES, *DOCUMENT_SUFFIXES))
    fix = CONVERTIBLE.get(suffix, f"convert it to one of these and name it so: {endings}")
    raise DocumentError(f"files ending in '{path.suffix}' are not read", where=path, fix=fix)


def _corpus_file(name: str) -> Path:
    part = name.removeprefix(CORPUS_PREFIX)
    if part not in CORPORA:
        raise UsageError(
            "the project has no such corpus", where=name, fix=f"use one of {_corpus_names()}"
        )
    return Path(corpus.__file__).with_name(f"{part}.json")


def _corpus_names() -> str:
    return ", ".join(CORPUS_PREFIX + part for part in CORPORA)


def _folder_passages(
    folder: Path, max_words: int, max_bytes: int, on_skip: OnSkip
) -> list[PassageForm]:
    """The passages of a folder's documents; one that cannot be read is told and left out."""
    forms: list[PassageForm] = []
    last: Skipped | None = None
    for path in documents_in(folder, on_skip):
        try:
            forms += _document_passages(path, max_words, max_bytes)
        except (DocumentError, Unavailable) as error:
            last = Skipped.because(path, error)
            on_skip(last)
    if last is not None and not forms:
        raise DocumentError(
            f"no document of the folder can be read; the last: {last.reason}", where=last.file
        )
    return forms


def _document_passages(path: Path, max_words: int, max_bytes: int) -> list[PassageForm]:
    """The passages of a document."""
    suffix = path.suffix.lower()
    if suffix in KINDS:
        text, markdown = extract(path).text, True
    else:
        text, markdown = read_document(path, max_bytes=max_bytes), suffix in MARKDOWN_SUFFIXES
    title = re.sub(r"[\s_-]+", " ", readable(path.stem)).strip() or readable(path.name)
    try:
        passages = split_document(text, title=title, markdown=markdown, max_words=max_words)
    except DocumentError as error:
        raise DocumentError(error.what, where=path, fix=error.fix) from None
    return [PassageForm(title=passage.title, context=passage.text) for passage in passages]


def _require_questions(passages: list[PassageForm], source: object) -> None:
    """Raise unless every passage has a question."""
    bare = [
        f"passage {n}, '{form.title}'" for n, form in enumerate(passages, 1) if not form.questions
    ]
    if bare:
        what = f"{len(bare)} of {len(passages)} passages have no questions"
        fix = (
            "questions measure what was learned: add some to each passage, or leave these"
            " passages out"
        )
        raise DataError(what, where=list_first(bare, source), fix=fix)


def _with_ids(passages: list[PassageForm]) -> list[Context]:
    """The passages as contexts; no two contexts and no two questions have the same id."""
    contexts = []
    used: dict[str, int] = {}
    used_by_questions: dict[str, int] = {}
    for form in passages:
        digest = hashlib.sha256(form.context.encode()).hexdigest()[:8]
        name = _unused(form.id or f"{slug(form.title, 'passage')}-{digest}", used)
        questions = tuple(
            Question(
                _unused(each.id or f"{name}/q{number}", used_by_questions),
                each.question,
                each.answers,
            )
            for number, each in enumerate(form.questions, 1)
        )
        contexts.append(Context(name, form.title, form.context, questions))
    return contexts


def _unused(name: str, used: dict[str, int]) -> str:
    """``name``, or ``name-2``, ``name-3``, ...; ``used`` knows the last number of each."""
    free, number = name, used.get(name, 0)
    while free in used:
        number += 1
        free = f"{name}-{number + 1}"
    used[name] = number
    used.setdefault(free, 0)
    return free
