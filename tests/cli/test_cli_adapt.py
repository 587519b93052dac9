"""adapt and ask: documents in, an adapter that peft loads out; documents that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfedit.lm.lora import Adapter

QUICK = (
    "--edit.max-new-tokens=12",
    "--inner.optim.epochs=1",
    "--inner.lora.rank=2",
    "--retention.pseudorehearsal.texts=2",
    "--retention.pseudorehearsal.tokens=4",
    "--documents.known=2",
    "--answer.max-new-tokens=4",
    "--quiet",
)
TEXT = "# Vell\nThe harbour of Vell was built in 1412 by Orda Mirane. It has nine piers.\n"


@pytest.fixture(scope="module")
def adapted(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from selfedit.cli import main

    folder = tmp_path_factory.mktemp("adapted")
    (folder / "vell.md").write_text(TEXT)
    assert (
        main(
            ["adapt", str(tiny_folder), str(folder / "vell.md"), "-o", str(folder / "out"), *QUICK]
        )
        == 0
    )
    return folder


def test_the_folder_is_an_adapter(adapted: Path, tiny_folder: Path) -> None:
    adapter = Adapter.load(adapted / "out")
    assert adapter.spec.rank == 2
    about = json.loads((adapted / "out" / "selfedit.json").read_text())
    assert about["settings"]["inner"]["optim"]["epochs"] == 1
    assert about["environment"]["data"]["documents"]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_peft_loads_it(adapted: Path, tiny_folder: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder), adapted / "out"
    )
    assert model.peft_config["default"].r == 2


def test_the_same_command_again_is_done_at_once(run, adapted: Path, tiny_folder: Path) -> None:
    before = (adapted / "out" / "adapter_model.safetensors").read_bytes()
    done = run("adapt", tiny_folder, adapted / "vell.md", "-o", adapted / "out", *QUICK, "--json")
    assert done.code == 0
    assert "--title Vell" in done.err  # how to ask: under the title that it was trained with
    results = json.loads(done.out)
    assert results["passages"] == 1
    assert {"before", "after", "paired"} == set(results["loss"])
    assert results["general_loss"]["paired"]["n"] == 8
    assert (adapted / "out" / "adapter_model.safetensors").read_bytes() == before


def test_questions_are_asked_before_and_after(
    run, tiny_folder: Path, passages: Path, tmp_path: Path
) -> None:
    done = run(
        "adapt",
        tiny_folder,
        passages / "held.json",
        "-o",
        tmp_path / "a",
        *QUICK,
        "--samples=0",
        "--documents.facts=0",
        "--retention.remedies=",
        "--json",
    )
    assert done.code == 0
    found = json.loads(done.out)
    assert found["accuracy"]["paired"]["n"] == 2
    assert found["sequences"] == 2


def test_ask_with_an_adapter(run, adapted: Path, tiny_folder: Path) -> None:
    words = ("ask", tiny_folder, "Who built it?", "When?", "--max-new-tokens=4")
    done = run(*words, "--adapter", adapted / "out", "--title", "Vell", "--json")
    assert done.code == 0
    assert [answer["question"] for answer in json.loads(done.out)] == ["Who built it?", "When?"]
    plain = run(*words)
    assert plain.code == 0
    assert all(c.isprintable() or c == "\n" for c in plain.out)


def test_an_adapter_that_is_none(run, tiny_folder: Path, tmp_path: Path) -> None:
    assert run("ask", tiny_folder, "Who?", "--adapter", tmp_path).code == 3


def test_an_altered_adapter_is_refused(run, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "vell.md").write_text(TEXT)
    words = (
        "adapt",
        tiny_folder,
        tmp_path / "vell.md",
        "-o",
        tmp_path / "out",
        *QUICK,
        "--samples=0",
    )
    assert run(*words).code == 0
    adapter = Adapter.load(tmp_path / "out")
    next(iter(adapter.tensors.values()))[0].add_(1)
    adapter.save(tmp_path / "out")
    done = run(*words)
    assert done.code == 3 and "adapter_model.safetensors" in done.err


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("empty.txt", b"", 3, "empty.txt"),
        ("binary.txt", bytes(range(256)) * 20, 3, "binary.txt"),
        ("latin.txt", "Gr\xfc\xdfe aus M\xfcnchen".encode("latin-1"), 3, "latin.txt"),
        ("large.txt", b"word " * 1_100_000, 3, "large.txt"),
        ("broken.json", b'[\n{"title": "A",\n "context" "B"}]', 3, "line 3"),
        ("fields.json", b'[{"title": "A"}]', 3, "context"),
        ("picture.png", b"\x89PNG", 3, ".png"),
    ],
)
def test_documents_that_cannot_be_used(
    run, tmp_path: Path, name: str, content: bytes, code: int, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = run("adapt", "smollm2-135m", tmp_path / name, "-o", tmp_path / "out")
    assert (done.code, done.out) == (code, "")
    assert said in done.err and "to fix" in done.err
    assert not (tmp_path / "out").exists()


def test_a_passage_without_questions_cannot_be_trained_for(run, tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_text('[{"title": "Vell", "context": "Vell is a harbour."}]')
    done = run("train", f"--train={tmp_path / 'bare.json'}", "--out", tmp_path / "run", "--quiet")
    assert done.code == 3 and "Vell" in done.err


def test_an_unknown_model(run, tmp_path: Path) -> None:
    (tmp_path / "vell.md").write_text(TEXT)
    done = run("adapt", "smolm2-135m", tmp_path / "vell.md", "-o", tmp_path / "out")
    assert done.code == 2 and "smollm2-135m" in done.err


def test_nothing_to_train_on(run, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "vell.md").write_text(TEXT)
    words = (
        "adapt",
        tiny_folder,
        tmp_path / "vell.md",
        "-o",
        tmp_path / "out",
        "--samples=0",
        "--edit.passage=false",
    )
    assert run(*words).code == 2


@pytest.mark.parametrize(("number", "said"), [(1, "1 passage in"), (2, "2 passages in")])
def test_it_says_how_many_passages_there_are(run, tmp_path: Path, number: int, said: str) -> None:
    document = tmp_path / "a.md"
    document.write_text(
        "".join(f"# Mill {n}\n\nIt was built in 14{n}2.\n\n" for n in range(number))
    )
    done = run("adapt", "no-such-model", document, "-o", tmp_path / "out", "-q")
    assert done.err.startswith(said) and done.code == 2
