"""A prompt of one's own asks for self-edits; what is wrong with it is said with the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfedit.config import make_settings
from selfedit.errors import UsageError
from selfedit.lm.load import load
from selfedit.tasks.knowledge.task import KnowledgeTask
from tiny_run import context


def test_a_template_is_filled_in_once_and_nothing_else_is_added(
    small_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "prompt.txt").write_text(
        "About {title} ({title}).\n{passage}\nNow write.", encoding="utf-8"
    )
    settings = make_settings({"edit": {"prompt": f"@{tmp_path / 'prompt.txt'}"}})
    lm = load(str(small_folder), device="cpu")
    passage = context("x")
    odd = type(passage)(passage.id, "A {passage}", "The {title} of it.")
    text = lm.decode(KnowledgeTask(lm, settings).prompt(odd))
    assert "About A {passage} (A {passage}).\nThe {title} of it.\nNow write." in text
    assert "Read the passage" not in text
    assert "{passage}" in (settings.edit.prompt or ""), (
        "the frozen settings hold the template, not its file"
    )


@pytest.mark.parametrize(
    ("prompt", "message"), [("Write.", "no {passage}"), ("@/no/such/file", "cannot be read")]
)
def test_a_template_that_cannot_be_used(prompt: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"edit\.prompt") as caught:
        make_settings({"edit": {"prompt": prompt}})
    assert message in str(caught.value)
