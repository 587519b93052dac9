"""Right answers after the inner loop: SEAL's own reward (arXiv 2506.10943)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfedit.rl.rewards.base import PlainReward, ScoredRound, Value
from selfedit.rl.session import Session
from selfedit.rl.trial import CandidateKey, accuracies, split_questions


class Accuracy(PlainReward):
    """The mean over repeats of what the answers count for, as the task says."""

    def values(self, session: Session[Any], scored: ScoredRound) -> Mapping[CandidateKey, Value]:
        """See `Reward`."""
        own, _ = split_questions(scored.trials, scored.contexts)
        return {
            key: Value(share) for key, share in accuracies(own, session.task, graded=True).items()
        }


REWARD = Accuracy
