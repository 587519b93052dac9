"""The demo: the whole of SEAL's knowledge experiment, as large as the time given allows.

`selfedit.experiments.estimate` says what a size costs and ``LADDER`` which sizes there are; `plan`
takes the largest that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfedit.config import Settings, read_settings
from selfedit.experiments.estimate import estimate

SAFETY = 0.9
"""Share of the time given that is planned for: machines differ."""


@dataclass(frozen=True)
class Size:
    """How large a demo is.

    Attributes:
        heldout: held-out passages.
        samples: self-edits for each of them.
        rounds: rounds of ReST-EM.
        contexts: N, passages a round.
        candidates: M, self-edits a passage.
        repeats: inner loops a self-edit.
    """

    heldout: int
    samples: int
    rounds: int
    contexts: int
    candidates: int
    repeats: int

    @property
    def seconds(self) -> float:
        """On two cores, whether each round moved the policy included."""
        return estimate("train", _sized(self)).seconds


LADDER = (
    Size(heldout=1, samples=1, rounds=1, contexts=1, candidates=2, repeats=1),
    Size(heldout=2, samples=1, rounds=1, contexts=2, candidates=2, repeats=1),
    Size(heldout=4, samples=1, rounds=1, contexts=3, candidates=3, repeats=1),
    Size(heldout=6, samples=1, rounds=1, contexts=5, candidates=3, repeats=1),
    Size(heldout=8, samples=1, rounds=1, contexts=8, candidates=3, repeats=1),
    Size(heldout=8, samples=2, rounds=1, contexts=12, candidates=4, repeats=1),
    Size(heldout=8, samples=3, rounds=1, contexts=16, candidates=5, repeats=1),
    Size(heldout=8, samples=3, rounds=2, contexts=16, candidates=6, repeats=1),
    Size(heldout=8, samples=3, rounds=2, contexts=16, candidates=8, repeats=2),
)
"""From small to large; each is dearer than the one before."""

SETTINGS: dict[str, Any] = {
    "workers": "auto",
    "answer.grader": "contains",  # what the figures on the recipe's page were graded by
    "edit.format": "implications",
    "edit.temperature": 0.8,
    "edit.max_new_tokens": 200,
    "inner.group": 32,
    "inner.lora.rank": 16,
    "inner.lora.alpha": 32,
    "inner.optim.lr": 2e-3,
    "inner.optim.epochs": 4,
    "rl.reward.threshold": 0.15,
    "rl.mstep.lora.rank": 32,
    "rl.mstep.lora.alpha": 64,
    "rl.mstep.optim.lr": 3e-4,
    "rl.mstep.optim.epochs": 4,
    "rl.mstep.optim.batch_size": 2,
}
"""What the demo sets besides its size."""


def plan(minutes: float) -> Size:
    """The largest size that fits into the time; the smallest if none does."""
    fitting = [size for size in LADDER if size.seconds <= SAFETY * 60 * minutes]
    return fitting[-1] if fitting else LADDER[0]


def demo_settings(size: Size, *, seed: int = 0, model: str = "smollm2-135m") -> Settings:
    """The settings of a demo of that size."""
    return _sized(size, {"seed": seed, "model": model} | _on_gpus())


def _sized(size: Size, more: Mapping[str, Any] | None = None) -> Settings:
    sized = {
        "heldout_contexts": size.heldout,
        "eval.samples": size.samples,
        "rl.rounds": size.rounds,
        "rl.contexts": size.contexts,
        "rl.candidates": size.candidates,
        "rl.repeats": size.repeats,
    }
    return read_settings(overrides=SETTINGS | sized | dict(more or {}))


def _on_gpus() -> dict[str, Any]:
    """On GPUs as many inner loops together as are worth it."""
    import torch

    return {"inner.group": "auto"} if torch.cuda.is_available() else {}
