"""How likely the adapted model finds the reference answers.

The mean over the questions of the mean token log-likelihood of the reference answer: it costs the
inner loop, but no decoding, and has no ties.
"""

from __future__ import annotations

from collections.abc import Mapping

from selfedit.rl.rewards.base import PlainReward, ScoredRound, Value
from selfedit.rl.session import AnySession
from selfedit.rl.trial import CandidateKey, likelihoods


class LogLikelihood(PlainReward):
    """Nats a token, over repeats and questions."""

    needs = ("likelihoods",)

    def values(self, session: AnySession, scored: ScoredRound) -> Mapping[CandidateKey, Value]:
        """See `Reward`."""
        return {key: Value(mean) for key, mean in likelihoods(scored.trials).items()}


REWARD = LogLikelihood
