"""What a folder holds that can be asked, and which of it a question goes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from selfedit.config import read_settings
from selfedit.documents.asking import asking_messages, question_ids
from selfedit.documents.served import read_served
from selfedit.documents.shelf import AUTO, Shelf
from selfedit.documents.upkeep import adapt_library
from selfedit.errors import ModelFileError, RunFolderError, UsageError
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.rl.policy import save_policy
from selfedit.run.folder import RunFolder
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context, Question

TEXTS = {
    "vell.md": "# Vell\nThe harbour of Vell was built in 1412 by Orda Mirane.\n",
    "tarn.md": "# Tarn\nTarn is a lake with nine islands and no fish.\n",
    "auto": "# Quell\nQuell is a hill near Zorn where Bettany grows.\n",
}


@pytest.fixture(scope="module")
def lm(small_folder: Path) -> LanguageModel:
    return load(str(small_folder), device="cpu")


@pytest.fixture(scope="module")
def library(lm, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents, out = tmp_path_factory.mktemp("documents"), tmp_path_factory.mktemp("out") / "lib"
    for name, text in TEXTS.items():
        (documents / (name if "." in name else f"{name}.md")).write_text(text)
    changed = {"model": str(small_folder), "device": "cpu", "inner.optim.epochs": 1}
    settings = read_settings(overrides=changed | {"inner.lora.rank": 2})
    adapt_library(out, [documents], settings, lm=lm, samples=0)
    # A document may be called anything, even what stands for all of them.
    state = json.loads((out / "library.json").read_text())
    for entry in state["documents"]:
        entry["name"] = entry["name"].replace("auto.md", "auto")
    (out / "library.json").write_text(json.dumps(state))
    return out


def adapter_like(lm: LanguageModel, rank: int = 1) -> Adapter:
    size = lm.model.config.hidden_size
    matrices = (torch.full((rank, size), 0.1), torch.full((size, rank), 0.1))
    return Adapter(LoraSpec(rank, 1, ("q_proj",)), {"model.layers.0.self_attn.q_proj": matrices})


def test_a_library_answers_from_the_document_that_knows(library: Path, lm, small_folder) -> None:
    served = read_served(library)
    assert (served.kind, served.model, served.prompting) == ("document", str(small_folder), "auto")
    shelf = served.shelf(lm)
    folder = next(name for name in shelf.names if name.startswith("documents/"))
    assert shelf.names == [AUTO, small_folder.name, folder, "tarn.md", "vell.md"]
    assert shelf.in_words == f"{small_folder.name} with 3 adapters"
    source = shelf.source(AUTO, ["Who built the harbour of Vell?"])
    assert (source.kind, source.name, source.wants_form) == ("document", "vell.md", True)
    # A follow-up stays with the document before it; a question by itself finds its own.
    assert shelf.source(AUTO, ["And when?", "Who built the harbour of Vell?"]).name == "vell.md"
    assert shelf.source(AUTO, ["And of Quell?", "Who built the harbour of Vell?"]).name == folder
    # What is about something else does not stay.
    assert shelf.source(AUTO, ["How is rice cooked?", "Who built Vell harbour?"]).adapter is None
    assert shelf.source(AUTO, ["What is it?"], topic="Tarn lake").name == "tarn.md"
    none = shelf.source(AUTO, ["How is rice cooked?"])
    assert (none.adapter, none.reason) == (None, "no document knows this")
    # Named, a document answers whatever is asked, and the model itself too.
    assert shelf.source("tarn.md", ["How is rice cooked?"]).name == "tarn.md"
    assert shelf.source(small_folder.name, ["Who built Vell?"]).adapter is None
    with pytest.raises(UsageError, match="no model of this name"):
        shelf.source("vell", ["Who?"])


def test_an_adapter_is_read_once_and_only_so_many_are_kept(lm) -> None:
    read: list[str] = []

    def loader(name: str):
        def load_it() -> Adapter:
            read.append(name)
            return adapter_like(lm)

        return load_it

    loaders = {name: loader(name) for name in "abc"}
    shelf = Shelf(lm, loaders, lambda *_: None, kind="document", base="model", kept=2)
    assert not read
    for name in "aabab":
        shelf.source(name, ["?"])
    assert read == ["a", "b"]
    shelf.source("c", ["?"])
    shelf.source("a", ["?"])
    assert read == ["a", "b", "c", "a"]


def test_an_adapter_from_elsewhere(lm, small_folder: Path, tmp_path: Path) -> None:
    made = adapter_like(lm)
    folder = made.save(tmp_path / "mine")
    with pytest.raises(ModelFileError, match="which model"):
        read_served(folder)
    made.base = str(small_folder)
    made.save(folder)
    shelf = read_served(folder).shelf(lm)
    assert shelf.names == [AUTO, small_folder.name, "mine"]
    source = shelf.source(AUTO, ["anything"])
    assert (source.kind, source.name) == ("adapter", "mine")
    wide = adapter_like(lm)
    wide.tensors = {"model.layers.0.self_attn.q_proj": (torch.ones(1, 7), torch.ones(7, 1))}
    wide.save(folder)
    with pytest.raises(UsageError, match="7×7"):
        read_served(folder, str(small_folder)).shelf(lm).source(AUTO, ["anything"])


@pytest.mark.parametrize("merged", [False, True])
def test_a_runs_last_policy(lm, small_folder: Path, tmp_path: Path, merged: bool) -> None:
    settings = {"model": str(small_folder), "prompting": "chat"}
    with RunFolder.open(tmp_path / "run", settings, kind="train") as run:
        with pytest.raises(RunFolderError, match="not learned a policy"):
            read_served(tmp_path / "run")
        digests = [
            save_policy(lm, adapter_like(lm, rank), run.policy(rank), merged=merged)
            for rank in (1, 2)
        ]
        for number, digest in enumerate([*digests, None], 1):  # the third moved nothing
            run.ledger.finish_step(f"round-{number}", {"policy": digest})
    served = read_served(tmp_path / "run")
    assert (served.kind, served.prompting) == ("policy", "chat")
    last = tmp_path / "run" / "policy" / "round-2"
    assert served.model == (str(last / "model") if merged else str(small_folder))
    shelf = served.shelf(load(served.model, device="cpu"))
    source = shelf.source(AUTO, ["anything"])
    assert (source.kind, source.name, source.wants_form) == ("policy", "run", False)
    assert source.adapter is None if merged else source.adapter.spec.rank == 2
    (last / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(RunFolderError, match="altered"):
        read_served(tmp_path / "run")


def test_what_holds_nothing_to_ask(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path, "no library, no adapter and no run"),
        (tmp_path / "missing", "no such folder"),
        (Path("a\0b"), "no such folder"),
    ):
        with pytest.raises(RunFolderError, match=why):
            read_served(path)


def test_a_question_is_asked_as_it_was_trained(lm) -> None:
    task = KnowledgeTask(lm, read_settings())
    context = Context("1", "Vell", "text", (Question("q", "Who built it?", ("x",)),))
    trained = task.question(context, context.questions[0])
    assert question_ids(lm, "Who built it?", "Vell") == list(trained)
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    turns = asking_messages([*before, {"role": "user", "content": "Who?"}], chat=True)
    assert turns[1:3] == before and turns[0] == {"role": "system", "content": ""}
    assert turns[3]["content"] == "Who?\nAnswer directly and concisely."
    system = {"role": "system", "content": "Be kind."}
    assert asking_messages([system, *before[:1]], chat=True)[0] == system
