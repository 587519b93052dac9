"""Adapting to documents: what is kept when it is stopped, and the loss it reports."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch

from selfedit.config import read_settings
from selfedit.documents.adapt import adapt_documents
from selfedit.errors import Interrupted
from selfedit.inner.packed import PackedSteps
from selfedit.lm.lora import Adapter
from selfedit.lm.perplexity import mean_losses
from selfedit.run.folder import RunFolder
from selfedit.run.progress import PlainProgress
from selfedit.run.records import Phase, Place
from stopping import Stop

TEXT = (
    "# Vell\nThe harbour of Vell was built in 1412.\n\n# Tarn\nTarn is a lake with nine islands.\n"
)


@pytest.fixture
def given(tmp_path: Path, tiny_folder: Path):
    (tmp_path / "vell.md").write_text(TEXT)
    changed = {
        "model": str(tiny_folder),
        "edit.max_new_tokens": 12,
        "inner.optim.epochs": 2,
        "inner.lora.rank": 2,
    }
    return [tmp_path / "vell.md"], read_settings(overrides=changed)


def test_a_stopped_run_goes_on_and_ends_the_same(given, tiny_lm, tmp_path: Path) -> None:
    documents, settings = given
    whole = adapt_documents(tmp_path / "whole", documents, settings, lm=tiny_lm)
    stops = 0
    for checks in (1, 2, 4, 7, 100):
        try:
            again = adapt_documents(
                tmp_path / "parts", documents, settings, lm=tiny_lm, interrupt=Stop(checks)
            )
        except Interrupted:
            stops += 1
    assert stops >= 3
    assert again == whole
    files = [tmp_path / run / "adapter_model.safetensors" for run in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_no_step_of_a_training_is_done_twice(
    given, tiny_lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, settings = given
    steps: list[int] = []
    run = PackedSteps.run
    monkeypatch.setattr(PackedSteps, "run", lambda self, n: (steps.append(n), run(self, n))[1])
    adapt_documents(tmp_path / "whole", documents, settings, lm=tiny_lm)
    whole, stops = list(steps), 0
    steps.clear()
    for checks in range(2, 60, 2):  # those that are done already are checked too
        stop = Stop(checks)
        try:
            adapt_documents(tmp_path / "run", documents, settings, lm=tiny_lm, interrupt=stop)
            break
        except Interrupted:
            stops += (tmp_path / "run" / "training.safetensors").exists()
    assert stops >= 2 and steps == whole
    assert not (tmp_path / "run" / "training.safetensors").exists()


def test_self_edits_are_kept_in_the_ledger(given, tiny_lm, tmp_path: Path) -> None:
    documents, settings = given
    results = adapt_documents(tmp_path / "run", documents, settings, samples=2, lm=tiny_lm)
    with RunFolder.read(tmp_path / "run") as run:
        assert len(run.ledger.self_edits(Place(Phase.ADAPT))) == 2 * results["passages"]


def test_loss_falls_on_what_was_trained(given, tiny_lm, tmp_path: Path) -> None:
    documents, settings = given
    found = adapt_documents(tmp_path / "run", documents, settings, samples=0, lm=tiny_lm)["loss"]
    assert found["after"]["mean"] < found["before"]["mean"]
    adapter = Adapter.load(tmp_path / "run")
    texts = [
        "Vell\nThe harbour of Vell was built in 1412.",
        "Tarn\nTarn is a lake with nine islands.",
    ]
    again = mean_losses(tiny_lm, texts, adapter)
    assert sum(again) / 2 == pytest.approx(found["after"]["mean"], rel=0.2)


def test_mean_loss_is_that_of_transformers(tiny_lm, tiny_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(tiny_folder)
    texts = ["A short text.", "And another one, somewhat longer than the first."]
    for text, loss in zip(texts, mean_losses(tiny_lm, texts), strict=True):
        ids = torch.tensor([[*tiny_lm.encode(text), tiny_lm.end_id]])
        with torch.no_grad():
            expected = float(reference(input_ids=ids, labels=ids).loss)
        assert math.isclose(loss, expected, rel_tol=1e-4)


def test_a_language_that_the_model_hardly_knows_is_told_before_it_trains(
    given, tiny_lm, tmp_path: Path
) -> None:
    """The tiny tokenizer has English letters and single bytes for all others."""
    documents, settings = given
    korean = "# 벨\n벨 항구는 1412년에 지어졌다. 지금은 어선과 섬으로 가는 배가 이 항구를 쓴다.\n"
    (tmp_path / "bell.md").write_text(korean, encoding="utf-8")
    sink = Told()
    results = adapt_documents(
        tmp_path / "out", [*documents, tmp_path / "bell.md"], settings, lm=tiny_lm, progress=sink
    )
    (record,) = results.get("languages", [])
    assert (record["language"], record["passages"], record["hardly_known"]) == ("Korean", 1, True)
    body = korean.split("\n")[1]
    assert record["tokens_per_character"] == pytest.approx(len(tiny_lm.encode(body)) / len(body))
    (told,) = (line for line in sink.lines if "hardly knows" in line)
    assert "Korean (1 passage)" in told
    # Before anything is trained.
    assert sink.lines.index(told) < sink.lines.index("training the adapter")
    english = adapt_documents(tmp_path / "english", documents, settings, lm=tiny_lm, progress=sink)
    assert "languages" not in english and sum("hardly" in line for line in sink.lines) == 1


class Told(PlainProgress):
    """Progress that is remembered: what was told, and the names of tasks as they begin."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(text)

    def task(self, name: str, *, total: int, unit: str = "", done: int = 0):
        self.lines.append(name)
        return super().task(name, total=total, unit=unit, done=done)
