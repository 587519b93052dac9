"""A paper's recipe on a two-layer model: the model, the data and the sizes are replaced, nothing
else.

Ranks, rates, epochs, batch sizes, schedules, targets, selection and methods stay the paper's, so a
test that runs the settings made here runs every step that the recipe asks for on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfedit.config import Settings, read_settings

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
SIZES: dict[str, Any] = {
    "heldout_contexts": 2,
    "edit.max_new_tokens": 12,
    "answer.max_new_tokens": 3,
    "rl.contexts": 2,
    "rl.candidates": 2,
    "rl.repeats": 2,
    "eval.repeats": 2,
    "replay.passages": 2,
    "cpt.passages": 2,
    "cpt.questions": 4,
    "cpt.samples": 2,
    "cpt.pairs": 2,
    "cpt.triples": 1,
    "cpt.full.processes": 1,
}
"""What is made smaller in any recipe."""


def shrunk(name: str, model: Path, data: Path, **sizes: Any) -> Settings:
    """The settings of ``recipes/NAME-paper.toml`` on a small model and small data.

    Args:
        name: the experiment.
        model: folder of a small model.
        data: folder with train.json, heldout.json and files of self-edits in the published form.
        sizes: further sizes; ``cpt__full__processes=2`` sets ``cpt.full.processes``.
    """
    places = {
        "model": str(model),
        "device": "cpu",
        "train": str(data / "train.json"),
        "heldout": str(data / "heldout.json"),
        "replay.folder": str(data),
    }
    paper = read_settings(RECIPES / f"{name}-paper.toml")
    if paper.external.file is not None:
        places["external.file"] = str(data / Path(paper.external.file).name)
    if paper.cpt.policy_file is not None:
        places["cpt.policy_file"] = str(data / Path(paper.cpt.policy_file).name)
    if paper.crossed.policy is not None:
        places["crossed.policy"] = str(model)
    more = {dotted.replace("__", "."): value for dotted, value in sizes.items()}
    return read_settings(RECIPES / f"{name}-paper.toml", SIZES | places | more)
