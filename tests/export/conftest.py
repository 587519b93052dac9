"""What is exported in these tests: a document learned, and a run of two rounds, each made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from selfedit.config import Settings, read_settings
from selfedit.documents.adapt import adapt_documents
from selfedit.lm.load import load
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.run_cards import write_cards
from selfedit.rl.session import Session
from selfedit.run.folder import RunFolder
from selfedit.tasks.knowledge.task import KnowledgeTask
from tiny_run import HashGrader, contexts, tiny_settings

TEXT = "# Vell | <b>\nThe harbour of Vell was built in 1412.\n\n# Tarn\nTarn has nine islands.\n"
CHANGED = {"edit.max_new_tokens": 12, "inner.optim.epochs": 2, "inner.optim.lr": 0.01}


@pytest.fixture(scope="session")
def learned(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``selfedit adapt`` on one document."""
    folder = tmp_path_factory.mktemp("learned")
    (folder / "vell.md").write_text(TEXT)
    settings = read_settings(overrides=CHANGED | {"model": str(small_folder)})
    old = os.umask(0o022)
    try:
        adapt_documents(folder / "handbook", [folder / "vell.md"], settings)
    finally:
        os.umask(old)
    return folder / "handbook"


def two_rounds(folder: Path, model: Path, **changed: object) -> Path:
    """A run of two rounds on made-up passages."""
    settings: Settings = tiny_settings(model=str(model), **changed)
    lm = load(str(model), device="cpu")
    with RunFolder.open(folder, settings.model_dump(mode="json"), kind="knowledge") as run:
        run.keep_model(str(model), lm.fingerprint)
        session = Session(run, lm, KnowledgeTask(lm, settings), settings, HashGrader())
        run_rounds(session, contexts(4))
        write_cards(session)
    return folder


@pytest.fixture(scope="session")
def policy_run(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose two rounds are in its policies' weights."""
    return two_rounds(tmp_path_factory.mktemp("runs") / "merged", small_folder)
