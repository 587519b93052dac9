"""What an update and a question cost does not grow with the library: counted, not timed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from big_library import nothing_trained, write_documents
from selfedit.config import read_settings
from selfedit.documents import library_state, sources
from selfedit.documents.library import Library
from selfedit.documents.library_state import JOURNAL, STATE, read_library
from selfedit.documents.library_texts import TEXTS
from selfedit.documents.upkeep import adapt_library
from selfedit.lm.load import LanguageModel, load
from selfedit.run.metrics import Metrics

SMALL, LARGE = 300, 1200


class Cost(NamedTuple):
    """What was done: files of the library that were opened, documents that were read, bytes noted of
    each that was learned, whole states written.
    """

    opened: int
    read: int
    noted: float
    states: int


class _Opened:
    """Counts files opened below a folder, by the interpreter's own audit events."""

    folder: str | None = None
    names: ClassVar[Counter[str]] = Counter()

    @classmethod
    def hear(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and cls.folder and str(arguments[0]).startswith(cls.folder):
            cls.names[str(arguments[0])] += 1


sys.addaudithook(_Opened.hear)


@contextmanager
def counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cost]]:
    """The cost of what the block does is in the list when it is over."""
    read: list[str] = []
    noted: list[int] = []
    states: list[Path] = []
    found: list[Cost] = []
    load_contexts, append = sources.load_contexts, Metrics.append
    write = library_state.write_atomic

    def appended(lines: Metrics, *values: Any, **named: Any) -> None:
        before = lines.path.stat().st_size if lines.path.exists() else 0
        append(lines, *values, **named)
        if before:  # the first line says once what there was before
            noted.append(lines.path.stat().st_size - before)

    with monkeypatch.context() as patched:
        patched.setattr(
            sources, "load_contexts", lambda file: read.append(file) or load_contexts(file)
        )
        patched.setattr(Metrics, "append", appended)
        patched.setattr(
            library_state,
            "write_atomic",
            lambda path, data: (states.append(path), write(path, data))[1],
        )
        _Opened.folder, _Opened.names = str(folder), Counter()
        yield found
        _Opened.folder = None
    each = sum(noted) / max(1, len(read))
    found.append(Cost(sum(_Opened.names.values()), len(read), each, len(states)))


@pytest.fixture(scope="module")
def lm(small_folder: Path) -> LanguageModel:
    return load(str(small_folder), device="cpu")


def costs(
    count: int, folder: Path, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Cost]:
    documents, library = folder / "documents", folder / "library"
    questions = write_documents(documents, count)
    settings = read_settings(overrides={"model": lm.name})

    def update() -> dict[str, list[str]]:
        found = adapt_library(library, [documents], settings, samples=1, own_questions=False)
        return dict(found["done"])

    # As a file that has lain there: one of this moment is read again, to be sure.
    monkeypatch.setattr("selfedit.documents.known_files._SETTLED", -1)
    with nothing_trained():
        with counted(library, monkeypatch) as learning:
            assert len(update()["added"]) == count
        assert not (library / JOURNAL).exists() and len(read_library(library)) == count
        with counted(library, monkeypatch) as planning:
            assert len(update()["unchanged"]) == count
        first = documents / "000" / "00000.md"
        first.write_text(first.read_text() + "It was moved again.\n")
        with counted(library, monkeypatch) as changing:
            assert update()["changed"] == ["000/00000.md"]
    with counted(library, monkeypatch) as asking:
        opened = Library(library, lm)
        routes = [opened.route(question) for question in questions]
    assert all(route is not None for route in routes)
    return {
        "learning": learning[0],
        "planning": planning[0],
        "changing": changing[0],
        "asking": asking[0],
    }


def test_what_one_document_costs_does_not_grow_with_the_library(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = costs(SMALL, tmp_path / "small", lm, monkeypatch)
    large = costs(LARGE, tmp_path / "large", lm, monkeypatch)
    for found, count in ((small, SMALL), (large, LARGE)):
        # Each document is read once; what is known is not read again, what has changed alone is.
        assert [found[part].read for part in ("learning", "planning", "changing")] == [count, 0, 1]
        assert found["learning"].states == 2 and found["planning"].states == 0
    # The same files whatever there is in it: no document's own folder is looked into.
    for part in ("planning", "asking"):
        assert large[part].opened == small[part].opened < 60, part
    assert abs(large["changing"].opened - small["changing"].opened) < 10
    # Each document notes itself and its texts, and nothing of the others.
    assert large["learning"].noted == pytest.approx(small["learning"].noted, rel=0.05)
    assert large["changing"].noted == pytest.approx(small["changing"].noted, rel=0.2)


@pytest.mark.parametrize("left", [JOURNAL, TEXTS])
def test_half_a_line_that_a_kill_has_left_is_no_line(
    left: str, lm: LanguageModel, tmp_path: Path
) -> None:
    documents, library = tmp_path / "documents", tmp_path / "library"
    write_documents(documents, 5)
    settings = read_settings(overrides={"model": lm.name})
    with nothing_trained():
        adapt_library(library, [documents], settings, samples=1, own_questions=False)
        whole = {name: (library / name).read_bytes() for name in (STATE, TEXTS)}
        with (library / left).open("ab") as file:
            file.write(b'{"id": "half a li')
        assert len(read_library(library)) == 5
        adapt_library(library, [documents], settings, samples=1, own_questions=False)
    assert {name: (library / name).read_bytes() for name in (STATE, TEXTS)} == whole
    assert not (library / JOURNAL).exists()


def test_a_library_of_an_earlier_version_is_read_and_taken_over(
    lm: LanguageModel, tmp_path: Path
) -> None:
    documents, library = tmp_path / "documents", tmp_path / "library"
    questions = write_documents(documents, 4)
    settings = read_settings(overrides={"model": lm.name})
    with nothing_trained():
        adapt_library(library, [documents], settings, samples=1, own_questions=False)
        texts = (library / TEXTS).read_bytes()
        # Earlier versions had their state in library.json, and the texts in each document's folder.
        for name in (TEXTS, "files.json"):
            (library / name).unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patched:
            from big_library import passages

            patched.setattr("selfedit.documents.library.read_texts", passages)
            assert Library(library, lm).route(questions[0]) is not None
            found = adapt_library(library, [documents], settings, samples=1, own_questions=False)
    assert len(found["done"]["unchanged"]) == 4
    assert sorted((library / TEXTS).read_bytes().splitlines()) == sorted(texts.splitlines())
