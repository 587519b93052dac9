"""A small model, and files of passages and of self-edits in the published form."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tiny_run import contexts

WRITERS = {"base": "weak", "iter1": "better", "iter2": "good", "gpt4_1": "long"}


def records(count: int, start: int = 0) -> list[dict]:
    """Passages as data files hold them."""
    return [
        {
            "title": each.title,
            "context": each.text,
            "questions": [{"question": q.text, "answer": q.answers[0]} for q in each.questions],
        }
        for each in contexts(count, start)
    ]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.json, heldout.json and the four files of published self-edits of the
    held-out passages.
    """
    folder = tmp_path_factory.mktemp("data")
    (folder / "train.json").write_text(json.dumps(records(6, 10)), encoding="utf-8")
    (folder / "heldout.json").write_text(json.dumps(records(4)), encoding="utf-8")
    for name, kind in WRITERS.items():
        edits = [
            {
                **record,
                "prompt": "?",
                "completions": [
                    f"1. A {kind} fact {n}.\n2. A second {kind} one." for n in range(5)
                ],
            }
            for record in records(4)
        ]
        with gzip.open(folder / f"self_edits_{name}.json.gz", "wt", encoding="utf-8") as file:
            json.dump(edits, file)
        (folder / f"{name}_val.json").write_text(json.dumps(edits), encoding="utf-8")
    return folder
