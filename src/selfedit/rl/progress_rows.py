"""Rows of ``metrics.jsonl`` while a run is under way: inner losses, rewards, and what the policy is
trained with. What they sum up is in the ledger; they are for whoever looks on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

from selfedit.run.folder import RunFolder
from selfedit.run.records import Place, RewardRow, Trial
from selfedit.storage.files import fingerprint


def follow_group(
    run: RunFolder, trials: Sequence[Trial], losses: Sequence[Sequence[float]]
) -> None:
    """A row of a group of inner loops: their first and last losses, in nats a token, and the share
    of their answers that are right.
    """
    place: Place = trials[0].place
    trained = [each for each in losses if each]
    marks: list[float] = []
    for trial in trials:
        marks += [float(one.correct) for one in trial.answers if one.correct is not None]
    row = {
        "phase": place.phase.value,
        "method": place.method,
        "round": place.round,
        "trials": len(trials),
        "first_loss": _mean_of([each[0] for each in trained]),
        "loss": _mean_of([each[-1] for each in trained]),
        "accuracy": _mean_of(marks),
    }
    named = fingerprint([str(place), *[list(_trial_key(trial)) for trial in trials]])[:16]
    run.append_metric(row, once=f"inner-{named}")


def follow_rewards(run: RunFolder, rewards: Sequence[RewardRow]) -> None:
    """A row of each context of a round: what its self-edits earned, and how many were kept."""
    by_context: dict[str, list[RewardRow]] = {}
    for each in rewards:
        by_context.setdefault(each.context_id, []).append(each)
    for context_id, rows in by_context.items():
        known = [each.reward for each in rows if not math.isnan(each.reward)]
        row = {
            "round": rows[0].place.round,
            "reward": _mean_of(known),
            "best": max(known, default=None),
            "spread": pstdev(known) if known else None,
            "kept": sum(each.kept for each in rows),
            "self_edits": len(rows),
        }
        named = fingerprint([rows[0].place.round, context_id])[:16]
        run.append_metric(row, once=f"rewards-{named}")


def follow_losses(
    run: RunFolder, kind: str, losses: Sequence[float], *, round: int | None = None
) -> None:
    """A row of each step of one training, in nats a token."""
    for step, loss in enumerate(losses):
        name = f"{kind}-{step}" if round is None else f"{kind}-{round}-{step}"
        run.append_metric({"round": round, "step": step, "loss": loss}, once=name)


def _trial_key(trial: Trial) -> tuple[str, int | None, int]:
    return trial.context_id, trial.candidate, trial.repeat


def _mean_of(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
