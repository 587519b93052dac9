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
- a text or Markdown document (.txt, .rst, .md, .markdown), or a folder of them, which gives
  passages without questions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfedit.errors import DataError, DocumentError, UsageError
from selfedit.storage.bounded import is_there
from selfedit.storage.neutral import in_line, slug
from selfedit.tasks.knowledge import corpus
from selfedit.tasks.knowledge.documents import MAX_BYTES, MAX_WORDS, read_document, split_document
from selfedit.tasks.knowledge.passage_files import json_records, jsonl_records
from selfedit.tasks.knowledge.passage_forms import (
    LISTED_PLACES,
    PassageForm,
    checked_passages,
    list_first,
)
from selfedit.tasks.task import Context, Question

CORPUS_PREFIX = "corpus:"
CORPORA = ("train", "heldout", "learn", "choose", "sealed")
MARKDOWN_SUFFIXES = (".md", ".markdown")
DOCUMENT_SUFFIXES = (*MARKDOWN_SUFFIXES, ".txt", ".rst")
DATA_SUFFIXES = (".json", ".jsonl")

_LOG = logging.getLogger(__name__)
_BLANK = 2**12


def load_contexts(
    source: str | Path | Sequence[str | Path],
    *,
    require_questions: bool = False,
    max_words: int = MAX_WORDS,
    max_bytes: int = MAX_BYTES,
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
        max_bytes: the largest document read; of a data file up to 256 MiB are.

    Raises:
        FormatError: a data file has the wrong form; the first few bad records are listed.
        DocumentError: a document cannot be read as text.
        DataError: passages without questions, where they are required.
        UsageError: no source, an unknown ``corpus:`` name, or a ``max_words`` that is not positive.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise UsageError("no passages are named", fix="give a file, a folder or corpus:train")
    passages: list[PassageForm] = []
    for each in sources:
        forms = _passages(each, max_words, max_bytes)
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
        # Left out where empty, so that hashes of older data stay the same.
        if not question["topic"]:  # none of a data file's questions has one
            del question["topic"]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _passages(source: str | Path, max_words: int, max_bytes: int) -> list[PassageForm]:
    """The passages of one source."""
    if isinstance(source, str) and source.startswith(CORPUS_PREFIX):
        return checked_passages(json_records(_corpus_file(source)), source)
    path = Path(source)
    if is_there(path) and path.is_dir():
        return _folder_passages(path, max_words, max_bytes)
    if not is_there(path):
        fix = f"check the path; the project's own passages are called {_corpus_names()}"
        raise DocumentError("the file or folder does not exist", where=in_line(path, 200), fix=fix)
    suffix = path.suffix.lower()
    if suffix in DATA_SUFFIXES:
        return checked_passages(
            jsonl_records(path) if suffix == ".jsonl" else json_records(path), path
        )
    # By the ending: a JSON file may hold anything, so the name decides what is read.
    if suffix in DOCUMENT_SUFFIXES:
        return _document_passages(path, max_words, max_bytes)
    fix = "convert it to one of these and name it so: " + " ".join(
        (*DATA_SUFFIXES, *DOCUMENT_SUFFIXES)
    )
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


def documents_in(folder: Path) -> list[Path]:
    """The documents under a folder in the order of their paths, hidden ones left out."""
    documents = [
        # Hidden folders hold what other programs keep: .git, .venv.
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in DOCUMENT_SUFFIXES and path.is_file()
    ]
    documents = [
        path
        for path in documents
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if documents and (others := _others(folder, documents)):
        more = f" and {len(others) - LISTED_PLACES} more" if len(others) > LISTED_PLACES else ""
        _LOG.warning(
            "not read, no document: %s%s", in_line(", ".join(others[:LISTED_PLACES])), more
        )
    if not documents:
        fix = "put files in it that end in " + " ".join(DOCUMENT_SUFFIXES)
        raise DocumentError("the folder holds no documents", where=folder, fix=fix)
    return documents


def _others(folder: Path, documents: list[Path]) -> list[str]:
    """The files of a folder that are not read, hidden ones left out."""
    known = set(documents)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in known]
    names = [path.relative_to(folder) for path in paths]
    return [str(name) for name in names if not any(part.startswith(".") for part in name.parts)]


def _folder_passages(folder: Path, max_words: int, max_bytes: int) -> list[PassageForm]:
    """The passages of a folder's documents; one that is empty is named and left out."""
    forms: list[PassageForm] = []
    for path in documents_in(folder):
        if is_blank(path):
            _LOG.warning("left out, it is empty: %s", in_line(path))
            continue
        forms += _document_passages(path, max_words, max_bytes)
    if not forms:
        raise DocumentError(
            "every document of the folder is empty", where=folder, fix="put text in them"
        )
    return forms


def is_blank(path: Path) -> bool:
    """Whether a document has nothing in it but white space; only small ones are looked at."""
    return path.stat().st_size < _BLANK and not path.read_bytes().strip()


def _document_passages(path: Path, max_words: int, max_bytes: int) -> list[PassageForm]:
    """The passages of a text or Markdown file."""
    text = read_document(path, max_bytes=max_bytes)
    markdown = path.suffix.lower() in MARKDOWN_SUFFIXES
    # Separators of file names become spaces: the title is put before every line.
    title = re.sub(r"[\s_-]+", " ", readable(path.stem)).strip() or readable(path.name)
    try:
        passages = split_document(text, title=title, markdown=markdown, max_words=max_words)
    except DocumentError as error:
        # Without the cause: it is the same error, with the file's name added.
        raise DocumentError(error.what, where=path, fix=error.fix) from None
    return [PassageForm(title=passage.title, context=passage.text) for passage in passages]


def readable(name: str) -> str:
    """A file's name as text: what is not UTF-8 is taken for Latin-1, as old archives hold it."""
    data = os.fsencode(name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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
        # Of the text: a title may be used twice, and an id must not change with the order of
        # records.
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
    """``name``, or ``name-2``, ``name-3``, ... if it is in ``used``, which knows the last number of
    each.
    """
    # From the last number on: ten thousand equal ids would else be counted up each time.
    free, number = name, used.get(name, 0)
    while free in used:
        number += 1
        free = f"{name}-{number + 1}"
    used[name] = number
    used.setdefault(free, 0)
    return free
