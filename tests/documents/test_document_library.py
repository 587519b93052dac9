"""A living set of documents: only what has changed is learned, every step can be stopped, questions
find their way.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfedit.cli import main
from selfedit.config import read_settings
from selfedit.documents import adapt, sources, together, upkeep
from selfedit.documents.library import Library
from selfedit.documents.library_state import read_library
from selfedit.documents.sources import read_documents
from selfedit.documents.upkeep import adapt_library
from selfedit.errors import Interrupted, ModelFileError, SettingsChanged, UsageError
from selfedit.inner.packed import PackedSteps
from selfedit.lm.load import load
from selfedit.lm.lora import Adapter
from selfedit.rl import own_questions as stage
from selfedit.tasks.knowledge.contexts import load_contexts
from stopping import Stop
from tiny_run import HashGrader

TEXTS = {
    "vell.md": "# Vell\nThe harbour of Vell was built in 1412 by Orda Mirane.\n",
    "tarn.md": "# Tarn\nTarn is a lake with nine islands and no fish.\n",
    "deep/bell.md": "# Old Tam\nOld Tam is a bell that was cast twice.\n",
}


@pytest.fixture(scope="module")
def lm(small_folder: Path):
    return load(str(small_folder), device="cpu")


@pytest.fixture
def settings(small_folder: Path):
    changed = {
        "model": str(small_folder),
        "edit.max_new_tokens": 12,
        "answer.max_new_tokens": 4,
        "device": "cpu",
    }
    return read_settings(overrides=changed | {"inner.optim.epochs": 2, "inner.lora.rank": 2})


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents that were learned, as they are."""
    names: list[str] = []
    real = adapt.adapt_passages

    def counted(folder, passages, *rest, **named):
        names.append(f"{folder.name.rpartition('-')[0]}.md")  # before the hash of what it says
        return real(folder, passages, *rest, **named)

    monkeypatch.setattr(upkeep, "adapt_passages", counted)
    return names


def weights(out: Path) -> dict[str, bytes]:
    return {
        e.name: (out / e.adapter / "adapter_model.safetensors").read_bytes()
        for e in read_library(out)
    }


def test_only_what_has_changed_is_learned(documents, settings, lm, learned, tmp_path: Path) -> None:
    out = tmp_path / "library"
    found = adapt_library(out, [documents], settings, lm=lm)
    assert found["done"]["added"] == sorted(TEXTS) and sorted(learned) == [
        "bell.md",
        "tarn.md",
        "vell.md",
    ]
    assert all(
        entry["recall"]["loss"]["after"] != entry["recall"]["loss"]["before"]
        for entry in found["documents"]
    )
    first, before = found["documents"], weights(out)
    learned.clear()
    # Nothing has changed: nothing is learned, and no model is loaded.
    again = adapt_library(out, [documents], settings)
    assert (
        again["done"]["unchanged"] == sorted(TEXTS) and not learned and again["documents"] == first
    )
    # One changes, one goes, one comes, one gets another name.
    (documents / "vell.md").write_text(TEXTS["vell.md"].replace("1412", "1413"))
    (documents / "tarn.md").unlink()
    (documents / "new.md").write_text("# Quell\nQuell is a hill.\n")
    (documents / "deep" / "bell.md").rename(documents / "tam.md")
    found = adapt_library(out, [documents], settings, lm=lm)
    assert sorted(learned) == ["new.md", "vell.md"]
    kinds = {kind: names for kind, names in found["done"].items() if names}
    assert kinds == {
        "added": ["new.md"],
        "changed": ["vell.md"],
        "moved": ["tam.md"],
        "removed": ["tarn.md"],
    }
    after = weights(out)
    assert after["tam.md"] == before["deep/bell.md"] and after["vell.md"] != before["vell.md"]
    assert {e["name"]: e["recall"] for e in found["documents"]}["tam.md"] == first[0]["recall"]
    assert len(list((out / "documents").iterdir())) == 3
    assert [entry.name for entry in read_library(out)] == ["new.md", "tam.md", "vell.md"]
    assert all(Adapter.load(out / entry.adapter).spec.rank == 2 for entry in read_library(out))


def test_stopped_anywhere_it_goes_on_and_ends_the_same(
    documents, settings, lm, tmp_path: Path
) -> None:
    whole = adapt_library(tmp_path / "whole", [documents], settings, lm=lm)
    stops, checks = 0, 2
    while True:
        try:
            again = adapt_library(
                tmp_path / "parts", [documents], settings, lm=lm, interrupt=Stop(checks)
            )
            break
        except Interrupted:
            stops, checks = stops + 1, 3 * checks
    assert stops >= 2
    assert again == whole
    ends = [tmp_path / run / "results.json" for run in ("whole", "parts")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_what_is_finished_can_be_asked_while_the_rest_is_not(
    documents, settings, lm, learned, tmp_path: Path
) -> None:
    known: list[str] = []
    checks = 12
    while not known:  # they train together before the first of them is finished
        with pytest.raises(Interrupted):
            adapt_library(tmp_path / "out", [documents], settings, lm=lm, interrupt=Stop(checks))
        known = [entry.name for entry in read_library(tmp_path / "out")]
        checks += 6
    assert 0 < len(known) < 3
    assert Library(tmp_path / "out").entries


def test_new_documents_train_together_and_come_out_as_alone(
    documents, settings, lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    real = together.adapt

    def counted(lm, jobs, *rest, **named):
        trained.append(len(jobs))
        return real(lm, jobs, *rest, **named)

    monkeypatch.setattr(together, "adapt", counted)
    adapt_library(tmp_path / "out", [documents], settings, lm=lm)
    assert trained == [3]
    adapt_library(tmp_path / "alone", [documents / "vell.md"], settings, lm=lm)
    assert trained == [3]
    one, other = (
        Adapter.load(tmp_path / name / entry.adapter)
        for name in ("out", "alone")
        for entry in read_library(tmp_path / name)
        if entry.name == "vell.md"
    )
    for module, (a, b) in one.tensors.items():
        assert torch.allclose(a, other.tensors[module][0], atol=1e-4)
        assert torch.allclose(b, other.tensors[module][1], atol=1e-4)


def test_no_step_of_a_groups_training_is_done_twice(
    documents, settings, lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    run = PackedSteps.run
    monkeypatch.setattr(PackedSteps, "run", lambda self, n: (steps.append(n), run(self, n))[1])
    adapt_library(tmp_path / "whole", [documents], settings, lm=lm)
    whole, stops, out = sorted(steps), 0, tmp_path / "out"
    steps.clear()
    for checks in range(2, 90, 3):
        try:
            adapt_library(out, [documents], settings, lm=lm, interrupt=Stop(checks))
            break
        except Interrupted:
            stops += bool(list(out.glob("training*")))
        if stops == 1:
            # Of a group with another document in it: passed over, and removed at the end.
            shutil.copy(next(out.glob("training*")), out / "training-0-1.safetensors")
    assert stops >= 2 and sorted(steps) == whole
    assert not list(out.glob("training*"))
    assert weights(out) == weights(tmp_path / "whole")


def test_the_state_of_a_group_that_is_no_more_does_not_stay(
    documents, settings, lm, tmp_path: Path
) -> None:
    out, checks = tmp_path / "out", 2
    while not list(out.glob("training*")):
        with pytest.raises(Interrupted):
            adapt_library(out, [documents], settings, lm=lm, interrupt=Stop(checks))
        checks += 3
    adapt_library(out, [documents / "vell.md"], settings, lm=lm)
    assert not list(out.glob("training*"))


def test_groups_are_bounded_by_documents_and_words(documents) -> None:
    found = read_documents([documents])
    assert [len(group) for group in together.document_groups(found * 7)] == [16, 5]
    long = [replace(each, contexts=each.contexts * 400) for each in found]
    assert [len(group) for group in together.document_groups(long)] == [1, 1, 1]


def test_questions_go_to_the_document_whose_words_they_share(
    documents, settings, lm, tmp_path: Path
) -> None:
    adapt_library(tmp_path / "out", [documents], settings, lm=lm)
    library = Library(tmp_path / "out")
    asked = {
        "Who built the harbour of Vell?": "vell.md",
        "How many islands has the lake Tarn?": "tarn.md",
    }
    for question, name in asked.items():
        entry = library.route(question)
        assert entry is not None and entry.name == name
        assert library.adapter(entry, lm).spec.rank == 2
    assert library.route("What is a good way to cook rice?") is None
    entry = library.route("What is it?", title="Old Tam")
    assert entry is not None and entry.name == "deep/bell.md"


def test_documents_without_questions_are_measured_by_own_ones(
    documents, settings, lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz = "Question: What was built?\nAnswer: A harbour"
    monkeypatch.setattr(
        stage, "read_quiz", lambda task, text: [("What was built?", "A harbour"), (quiz[:8], text)]
    )
    monkeypatch.setattr(adapt, "get_grader", lambda *_: HashGrader())
    own = settings.rl.model_copy(
        update={"own": settings.rl.own.model_copy(update={"agree": 0.01, "known": 0.99})}
    )
    changed = settings.model_copy(update={"rl": own})
    found = adapt_library(
        tmp_path / "out", [documents / "vell.md"], changed, lm=lm, own_questions=True
    )
    assert found["documents"][0]["recall"]["accuracy"]["paired"]["n"] == 1
    plain = adapt_library(
        tmp_path / "plain", [documents / "vell.md"], settings, lm=lm, own_questions=False
    )
    assert "accuracy" not in plain["documents"][0]["recall"]


def test_other_settings_are_refused_by_name(documents, settings, lm, tmp_path: Path) -> None:
    adapt_library(tmp_path / "out", [documents / "vell.md"], settings, lm=lm)
    with pytest.raises(SettingsChanged, match="samples: 1 → 2"):
        adapt_library(tmp_path / "out", [documents / "vell.md"], settings, lm=lm, samples=2)


def test_two_documents_of_one_name_or_one_text(documents, settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one name"):
        (tmp_path / "vell.md").write_text("# Other\nAnother text.\n")
        adapt_library(tmp_path / "out", [documents, tmp_path / "vell.md"], settings)
    assert not (tmp_path / "out").exists()


def test_a_document_is_read_once(
    documents, settings, lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(source, **named):
        read.append(Path(source).name)
        return load_contexts(source, **named)

    monkeypatch.setattr(sources, "load_contexts", counted)
    monkeypatch.setattr(adapt, "load_contexts", counted)
    adapt_library(tmp_path / "out", [documents], settings, lm=lm)
    assert sorted(read) == ["bell.md", "tarn.md", "vell.md"]


def test_a_copy_and_an_empty_document_are_named_and_left_out(documents, caplog) -> None:
    (documents / "zell-copy.md").write_text(TEXTS["vell.md"])
    (documents / "todo.md").write_text(" \n")
    found = read_documents([documents])
    assert sorted(document.name for document in found) == sorted({*TEXTS} - {"todo.md"})
    assert "it is empty" in caplog.text and "todo.md" in caplog.text
    assert "says the same as" in caplog.text and "zell-copy.md" in caplog.text


def test_what_is_no_library(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not a library"):
        Library(tmp_path)
    (tmp_path / "library.json").write_text("{")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_library(tmp_path)


def test_the_command_line(
    documents, small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = (
        "--edit.max-new-tokens=12",
        "--inner.optim.epochs=1",
        "--inner.lora.rank=2",
        "--retention.pseudorehearsal.texts=2",
        "--retention.pseudorehearsal.tokens=4",
        "--documents.known=2",
        "--quiet",
        "--samples=0",
    )
    words = [
        "adapt",
        str(small_folder),
        str(documents),
        "--library",
        "-o",
        str(tmp_path / "out"),
        *quick,
    ]
    assert main(words) == 0
    assert "vell.md" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"]["unchanged"] == sorted(TEXTS)
    asked = [
        "ask",
        str(small_folder),
        "Who built the harbour of Vell?",
        "Where do cats sleep?",
        "--max-new-tokens=3",
    ]
    assert main([*asked, "--adapter", str(tmp_path / "out"), "--json"]) == 0
    assert [each["document"] for each in json.loads(capsys.readouterr().out)] == ["vell.md", None]
    # An adapter's folder and a library's are not mixed up.
    mixed = [word for word in words if word != "--library"]
    assert main(mixed) == 3
    assert "library" in capsys.readouterr().err
