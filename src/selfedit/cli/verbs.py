"""The verbs in the order in which people need them, each with a command to begin with."""

from __future__ import annotations

from selfedit.storage.neutral import in_line

VERBS: dict[str, dict[str, str]] = {
    "Documents": {
        "adapt": "selfedit adapt smollm2-135m handbook.md -o handbook/",
        "ask": "selfedit ask smollm2-135m 'Who built the harbour?' --adapter handbook/",
        "chat": "selfedit chat library/",
        "serve": "selfedit serve library/ --port 8600",
        "export": "selfedit export handbook/ -o out/ --as gguf",
        "view": "selfedit view runs/",
    },
    "Research": {
        "demo": "selfedit demo --minutes 20",
        "train": "selfedit train --train learn.json --heldout other.json -o runs/mine",
        "experiment": "selfedit experiment single-passage --recipe single-passage-cpu",
        "evaluate": "selfedit evaluate runs/mine --grader contains",
        "report": "selfedit report runs/mine",
        "compare": "selfedit compare runs/mine runs/other --method seal",
        "show": "selfedit show knowledge-cpu --ids",
        "recipes": "selfedit recipes",
        "signal": "selfedit signal runs/mine",
        "grade": "selfedit grade labels.jsonl --grader contains",
        "arc": "selfedit arc show 00d62c1b",
        "data": "selfedit data seal path/to/SEAL",
    },
    "Machine": {
        "doctor": "selfedit doctor",
        "models": "selfedit models fetch smollm2-135m",
        "launch": "selfedit launch slurm knowledge-cpu --nodes 4 --gpus 8 --submit",
        "bench": "selfedit bench arithmetic qwen2.5-7b --rank 32",
    },
}
"""By group: each verb with an example. What it does says the docstring of its function."""

WITH_VERBS = ("arc", "bench", "data", "launch")
"""Verbs with verbs of their own: apps, which say themselves how their help looks."""


def example(command: str) -> str:
    """How a verb's help ends."""
    return f"For example: {in_line(command)}"


def example_of(verb: str) -> str:
    """The same of one of the first verbs."""
    return example(next(group[verb] for group in VERBS.values() if verb in group))
