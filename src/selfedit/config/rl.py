"""Settings of the outer loop: rounds, rewards, the M-step, and what is measured before and
after.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from selfedit.config.choice import check_name
from selfedit.config.group import Group
from selfedit.config.own import OwnQuestionSettings
from selfedit.config.updates import GradientSettings, MovementSettings, MStepSettings


class RewardSettings(Group):
    """Which self-edits the policy learns from.

    ``best-of-m`` keeps, for each context, the candidate with the highest mean accuracy (the
    published code); ``improves`` keeps every candidate that beats the unadapted model by more than
    ``threshold`` (eq. 2 of the paper); ``solved`` keeps every candidate whose accuracy is above
    ``threshold``, whatever the unadapted model does (the paper's few-shot ARC: a task is solved or
    not); ``leave-one-out`` keeps every candidate that beats the mean of its context's others by
    more than ``threshold``.

    With ``retention`` above 0 what a candidate makes the model forget is subtracted: each round
    first learns a few other passages, every inner loop starts on top of them, and their questions
    are asked again after it.
    """

    signal: Annotated[str, AfterValidator(check_name)] = Field(
        default="accuracy",
        description=(
            "what a self-edit is rewarded for: accuracy (right answers after the inner loop),"
            " loglik (how likely the gold answers are after it; nothing is decoded), proxy (a"
            " judge's marks for its text, with no inner loop), or a reward of your own as"
            " package.module:Name"
        ),
    )
    rule: Literal["best-of-m", "improves", "solved", "leave-one-out"] = "best-of-m"
    threshold: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="gain over the base needed; solved: the accuracy to be above",
    )
    ties: Literal["first", "all"] = "first"
    retention: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="λ: reward = gain on the passage − λ · loss on earlier ones",
    )
    earlier: int = Field(
        default=2, ge=1, description="retention: passages learned before each round's self-edits"
    )


class RLSettings(Group):
    """The outer loop."""

    rounds: int = Field(default=1, ge=0)
    contexts: int = Field(default=16, ge=1, description="N, contexts a round")
    candidates: int = Field(default=5, ge=1, description="M, self-edits a context")
    repeats: int = Field(
        default=1, ge=1, description="inner loops a self-edit, each with its own seed"
    )
    racing: bool = Field(
        default=False, description="repeats only for candidates that can still be kept"
    )
    racing_doubt: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="chance, in the racing model, that a context keeps others than without",
    )
    fresh: bool = Field(default=False, description="other contexts each round; else the same")
    credit: Literal["self-edit", "line"] = Field(
        default="self-edit",
        description=(
            "what a reward is shared out to: a whole self-edit, or each of its lines by what is"
            " earned without it (further inner loops, one a line)"
        ),
    )
    refill: int = Field(
        default=0,
        ge=0,
        description=(
            "how often a round replaces contexts whose self-edits all earned the same by others"
        ),
    )
    common: bool = Field(
        default=False,
        description=(
            "the same initial values for all self-edits of a context in a repeat (common random"
            " numbers); else each has its own"
        ),
    )
    questions: Literal["gold", "own"] = Field(
        default="gold",
        description="what self-edits are scored by: the passages' questions, or the model's own",
    )
    own: OwnQuestionSettings = OwnQuestionSettings()
    cut_off: Literal["keep", "drop"] = Field(
        default="keep",
        description=(
            "self-edits that the token limit cut off: keep (they earn and are learned from as all"
            " others, without an end, which they do not have), or drop (they are tried, and never"
            " learned from)"
        ),
    )
    reward: RewardSettings = RewardSettings()
    update: Annotated[str, AfterValidator(check_name)] = Field(
        default="filtered_sft",
        description=(
            "how the policy learns from a round: filtered_sft (it imitates the self-edits that were"
            " kept), rloo or grpo (towards those that earned more than their context's others, away"
            " from those that earned less), exact (the gradient of the expected reward, where"
            " self-edits can be listed), or an update of your own as package.module:Name"
        ),
    )
    gradient: GradientSettings = GradientSettings()
    draw: Literal["policy", "every"] = Field(
        default="policy",
        description=(
            "which self-edits a round tries: samples of the policy, or every one there is, where"
            " they can be listed"
        ),
    )
    mstep: MStepSettings = MStepSettings()
    movement: MovementSettings = MovementSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.racing and self.repeats < 2:
            raise ValueError("racing shares out repeats: it needs repeats of at least 2")
        if self.racing and self.reward.rule in ("solved", "leave-one-out"):
            raise ValueError(
                "racing decides by a gain over the base: use the rule best-of-m or improves"
            )
        if self.racing and self.reward.retention:
            raise ValueError(
                "racing does not know what is lost on earlier passages: set one of the two off"
            )
        if self.racing and self.reward.signal != "accuracy":
            raise ValueError(
                "racing decides by right answers: set rl.reward.signal = accuracy, or racing off"
            )
        if self.credit == "line" and (self.reward.retention or self.reward.signal == "proxy"):
            raise ValueError(
                "credit = line compares what inner loops earn: not with retention or the proxy"
                " reward"
            )
        if self.refill and (self.racing or self.reward.retention):
            raise ValueError(
                "refill tries further contexts within a round: not with racing or retention, which"
                " decide over a whole round"
            )
        if self.reward.retention and self.reward.signal != "accuracy":
            raise ValueError(
                "retention counts right answers lost: set rl.reward.signal = accuracy, or retention"
                " to 0"
            )
        return self


class EvalSettings(Group):
    """What is measured on the held-out contexts, before and after."""

    methods: tuple[str, ...] = ("base", "passage", "own", "seal", "gold")
    samples: int = Field(
        default=1, ge=1, description="self-edits a context, of the methods that write them"
    )
    repeats: int = Field(
        default=1, ge=1, description="inner loops a self-edit, each with its own seed"
    )
    sampler: Annotated[str, AfterValidator(check_name)] = Field(
        default="local",
        description=(
            "what answers under adapters: local (whoever trained them), or vllm (a vLLM server, as"
            " vllm.* says)"
        ),
    )
    by_round: bool = Field(
        default=False, description="measure seal after every round, not after the last one only"
    )
