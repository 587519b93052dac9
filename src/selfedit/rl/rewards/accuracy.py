"""Right answers after the inner loop: SEAL's own reward (arXiv 2506.10943)."""

from __future__ import annotations

from collections.abc import Mapping

from selfedit.rl.rewards.base import PlainReward, ScoredRound, Value
from selfedit.rl.session import AnySession
from selfedit.rl.trial import CandidateKey, accuracies, split_questions


class Accuracy(PlainReward):
    """The mean over repeats of what the answers count for, as the task says."""

    def values(self, session: AnySession, scored: ScoredRound) -> Mapping[CandidateKey, Value]:
        """See `Reward`."""
        about_context, _ = split_questions(scored.trials, scored.contexts)
        return {
            key: Value(share)
            for key, share in accuracies(about_context, session.task, graded=True).items()
        }


REWARD = Accuracy
