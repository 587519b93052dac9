"""Published numbers to hold ours against, as shares; the standard error is None where none was
published.

All are SEAL's (arXiv 2506.10943, v2 unless said otherwise, and its code's recorded results):
Qwen2.5-7B base on SQuAD v1.1 passages, graded by GPT-4.1. The standard error of single-passage
results is about 1.9 points for every row, from the recorded standard deviations over passages.
"""

from __future__ import annotations

from selfedit.results.results import Reference

SOURCE = "SEAL, arXiv 2506.10943: Qwen2.5-7B on SQuAD, graded by GPT-4.1"


def _single(percent: float, se: float | None = 0.019) -> Reference:
    return Reference(percent / 100, se, 200)


BY_FORMAT: dict[str, tuple[float, ...]] = {
    "implications": (39.7, 42.7, 47.0),
    "implications-long": (49.3, 52.4, 54.4),
    "implications-very-long": (45.0, 51.5, 52.1),
    "rewrite": (49.4, 55.3, 55.6),
    "self-qa": (37.3, 42.8, 48.7),
    "none": (13.8, 12.7, 18.9),
    "chain-of-thought": (38.7,),
}
"""Accuracy in percent of no RL, round 1, round 2; chain-of-thought from the recorded results,
without RL only.
"""

REPLAY: dict[str, Reference] = {
    "base": _single(32.7),
    "passage": _single(33.5),
    "no-rl": _single(39.7),
    "round-1": _single(42.7),
    "round-2": _single(47.0),
    "gpt-4.1": _single(46.3),
}
REPLAY_PAIRED: dict[tuple[str, str], Reference] = {
    ("no-rl", "round-2"): Reference(0.073, 0.024, 200),
    ("gpt-4.1", "round-2"): Reference(0.007, 0.021, 200),
}
"""Keyed (b, a): the difference is a − b."""


def single_passage(format: str) -> dict[str, Reference]:
    """The published numbers of a format, by our methods' names; ``external`` is GPT-4.1."""
    names = ("own", "seal-1", "seal-2")
    by_method = {
        name: _single(value) for name, value in zip(names, BY_FORMAT.get(format, ()), strict=False)
    }
    same = {"base": REPLAY["base"], "passage": REPLAY["passage"]}
    return same | by_method | ({"external": REPLAY["gpt-4.1"]} if format == "implications" else {})


_CPT: dict[tuple[str, int], dict[str, float]] = {
    ("full", 200): {
        "base": 32.7,
        "passage": 36.0,
        "own": 50.6,
        "external": 59.4,
        "seal": 58.2,
        "entigraph": 56.0,
    },
    ("full", 2067): {
        "base": 29.0,
        "passage": 31.2,
        "own": 43.4,
        "external": 49.2,
        "seal": 46.4,
        "entigraph": 48.6,
    },
    ("lora", 200): {
        "base": 32.6,
        "passage": 32.2,
        "own": 41.0,
        "external": 39.4,
        "seal": 43.8,
        "entigraph": 41.0,
    },
}
"""Continued pretraining in percent: update and passages, then methods; EntiGraph with pairs and
triples. LoRA: v1.
"""


def continued_pretraining(update: str, passages: int) -> dict[str, Reference]:
    """The published numbers for that update, of the size nearest from above (200 or 2,067)."""
    sizes = sorted(n for kind, n in _CPT if kind == update)
    size = next((n for n in sizes if n >= passages), sizes[-1])
    return {
        method: Reference(value / 100, None, size) for method, value in _CPT[update, size].items()
    }
