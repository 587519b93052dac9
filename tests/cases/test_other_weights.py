"""A run that was stopped does not go on with other weights, and says what else is different."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from selfedit.cli import main
from selfedit.config import read_settings
from selfedit.documents.adapt import adapt_documents
from selfedit.documents.upkeep import adapt_library
from selfedit.errors import Interrupted, ModelFileError
from selfedit.experiments.train import train
from selfedit.lm.load import load
from selfedit.run.folder import RunFolder
from selfedit.tasks.knowledge.task import KnowledgeTask
from stopping import Stop
from tiny_llama import tiny_llama
from tiny_run import HashGrader, contexts, tiny_settings


def _adapt(folder: Path, model: Path, interrupt: Stop | None, into=adapt_documents) -> None:
    document = folder.parent / "vell.md"
    document.write_text("# Vell\nThe harbour of Vell was built in 1412.\n")
    changed = {"model": str(model), "edit.max_new_tokens": 8, "inner.lora.rank": 2}
    into(folder, [document], read_settings(overrides=changed), interrupt=interrupt)


def _library(folder: Path, model: Path, interrupt: Stop | None) -> None:
    _adapt(folder, model, interrupt, into=adapt_library)


def _train(folder: Path, model: Path, interrupt: Stop | None) -> None:
    settings = tiny_settings(model=str(model), rl__rounds=1, eval__methods=("base",))
    train(
        folder, settings, KnowledgeTask, contexts(3), contexts(1, 3), HashGrader(),
        interrupt=interrupt,
    )  # fmt: skip


@pytest.mark.parametrize("start", [_adapt, _library, _train])
def test_other_weights_in_the_models_folder_are_refused(
    start, small_folder: Path, tmp_path: Path
) -> None:
    model, run = tmp_path / "model", tmp_path / "run"
    shutil.copytree(small_folder, model)
    with pytest.raises(Interrupted):
        start(run, model, Stop(3))
    tiny_llama(load(str(model)).head.shape[0], seed=1).save_pretrained(model)
    with pytest.raises(ModelFileError, match="not those this run was started with"):
        start(run, model, None)
    shutil.copy(small_folder / "model.safetensors", model / "model.safetensors")
    start(run, model, None)


def test_what_else_is_different_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for version in ("2.13.0", "2.14.0"):
        with RunFolder.open(tmp_path / "run", {}, kind="rl") as run:
            run.record_environment({"packages": {"torch": version}})
    assert [record.getMessage() for record in caplog.records] == [
        'this run goes on in another environment:\n    packages.torch: "2.13.0" → "2.14.0"'
    ]


def test_an_adapter_is_not_put_on_another_base(
    small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, start in (("adapter", _adapt), ("library", _library)):
        start(tmp_path / name, small_folder, None)
    other = tmp_path / "other"
    shutil.copytree(small_folder, other)
    tiny_llama(load(str(other)).head.shape[0], seed=1).save_pretrained(other)
    asked = ["Who built the harbour of Vell?", "--max-new-tokens", "3", "--adapter"]
    for adapter in (tmp_path / "adapter", tmp_path / "library"):
        assert main(["ask", str(small_folder), *asked, str(adapter)]) == 0
        assert main(["ask", str(other), *asked, str(adapter)]) == 3
        assert "trained on other weights" in capsys.readouterr().err
