"""Weights & Biases; ``WANDB_MODE``, ``WANDB_DIR`` and its login are its own."""

from __future__ import annotations

from collections.abc import Mapping

import wandb

from selfedit.trackers.base import TrackedRun

_SECONDS = 60
"""That a start or an end may wait for the network."""


class WeightsAndBiases:
    """One run there; without a network, in files that ``wandb sync`` sends."""

    def __init__(self, run: TrackedRun) -> None:
        settings = wandb.Settings(
            console="off",
            silent=True,
            init_timeout=_SECONDS,
            finish_timeout=_SECONDS,
            # Of itself it writes offline files every 15 seconds, and a kill would lose as much.
            x_transaction_log_flush_interval=0.5,
            # Names of this machine and its user, its command lines: none is the run's business.
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self._run = wandb.init(
            project=run.project,
            id=run.id,
            name=run.name,
            resume="allow",
            config=dict(run.settings),
            settings=settings,
        )
        # Offline nothing is read back: what was handed over counts as there.
        self.last_step: int | None = None if self._run.offline else self._run.step - 1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        # Without commit a row waits for the next one.
        self._run.log(dict(values), step=step, commit=True)

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()


TRACKER = WeightsAndBiases
