"""Few-shot ARC in small: tasks made from rules, settings of a run of seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from selfedit.config import Settings, make_settings
from selfedit.tasks.arc.rules import rule_task
from selfedit.tasks.arc.task import ArcTask

LORA = {"rank": 2, "alpha": 16, "targets": ["q_proj", "v_proj"]}


def small_task(rule: str = "mirror", seed: int = 0, demonstrations: int = 2) -> ArcTask:
    return rule_task(rule, seed, demonstrations=demonstrations, side=4)


def write_tasks(path: Path, tasks: list[ArcTask]) -> Path:
    """A set file of these tasks."""

    def pair(one: Any) -> dict[str, Any]:
        return {"input": one.input.tolist(), "output": one.output.tolist()}

    record = {
        t.id: {"train": [pair(p) for p in t.train], "test": [pair(p) for p in t.test]}
        for t in tasks
    }
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def arc_settings(model: Path, train: Path, heldout: Path | None, **dotted: Any) -> Settings:
    """``rl__contexts=2`` sets ``rl.contexts``."""
    values: dict[str, Any] = {
        "model": str(model),
        "device": "cpu",
        "seed": 5,
        "edit": {"temperature": 0.8, "top_p": 1.0, "max_new_tokens": 300},
        "inner": {"lora": LORA, "optim": {"schedule": "cosine", "warmup_steps": 1}, "group": 3},
        "rl": {
            "contexts": 2,
            "candidates": 3,
            "repeats": 2,
            "reward": {"rule": "solved", "threshold": -1.0},
            "mstep": {"lora": LORA, "optim": {"epochs": 1, "lr": 0.05, "batch_size": 2}},
        },
        "eval": {"methods": ["base", "own", "seal", "oracle"], "samples": 2},
        "arc": {
            "train": str(train),
            "heldout": "train" if heldout is None else str(heldout),
            "spec": {"learning_rates": [1e-3, 5e-2], "epochs": [1, 2]},
            "data": {"max_examples": 6},
            "answer": {"views": ["identity", "flip_rows"], "orders": 1, "max_new_tokens": 40},
        },
    }
    for name, value in dotted.items():
        *path, last = name.split("__")
        tree = values
        for part in path:
            tree = tree.setdefault(part, {})
        tree[last] = value
    return make_settings(values)
