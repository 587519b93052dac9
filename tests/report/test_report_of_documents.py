"""The report of a run on documents: what was learned beside the passage, what was left out, every
question with its answers; on a page, in Markdown.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from selfedit.cli import main
from selfedit.documents.adapt import adapt_documents
from selfedit.documents.recipe import document_settings
from selfedit.tasks.knowledge.edits import parse_edit

TEXT = (
    "# Vell\nThe harbour of Vell was built in 1412 by Orda Mirane. The crane is called Berta.\n\n"
    "# Tarn\nTarn is a lake with nine islands. The ferry costs 4 crowns.\n"
)
WRITTEN = "The harbour was built in 1412.\nThe harbour was built in 1999.\nTarn"


@pytest.fixture(scope="module")
def adapted(tiny_folder: Path, tiny_lm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model wrote one line that is true, one that is not, and one that says nothing."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "vell.md").write_text(TEXT)
    chosen = {
        "model": str(tiny_folder),
        "edit.max_new_tokens": 8,
        "answer.max_new_tokens": 4,
        "inner.optim.epochs": 1,
        "inner.lora.rank": 2,
        "retention.remedies": ("replay", "gate"),
        "documents.known": 2,
    }
    settings = document_settings(chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "selfedit.tasks.knowledge.task.KnowledgeTask.parse",
            lambda self, text: parse_edit(WRITTEN, self.settings.edit),
        )
        adapt_documents(folder / "out", [folder / "vell.md"], settings, lm=tiny_lm)
    return folder / "out"


def test_the_page_shows_passages_lines_and_questions(adapted: Path) -> None:
    assert main(["report", str(adapted)]) == 0
    page = (adapted / "report" / "index.html").read_text("utf-8")
    for words in (
        "Passages and what was learned of them",
        "<td>The harbour was built in 1412.</td>",
        "<td>The harbour was built in 1999.</td><td>not in the passage: 1999</td>",
        "What is the name of the crane?",
        "facts asked about can be asked for now",
        "not finished",
    ):
        assert (words in page) == (words != "not finished"), words


def test_markdown_has_the_same_tables(adapted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(adapted), "--markdown"]) == 0
    text = capsys.readouterr().out
    assert "| now: from the weights, the passage nowhere in the prompt |" in text
    assert "Left out:" in text and "not in the passage: 1999" in text
    assert "- Loss on unrelated text:" in text
