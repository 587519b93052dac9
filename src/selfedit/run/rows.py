"""What a run's ledger holds: one frozen dataclass a table; the tables are made from them.

Every row of a round starts with where it belongs: `phase` ("rl", "eval:base", "eval:seal", ...), `round` and
`context_id`. Seconds are wall-clock seconds of the part that was done for this row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from selfedit.storage.tables import Table

BASE = -1
"""The candidate number of the unadapted model; its answers have repeat 0 and no adaptation."""


class InnerKey(NamedTuple):
    """One inner loop within a phase and round: a context, a candidate self-edit, a repeat."""

    context_id: str
    candidate: int
    repeat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEditRow:
    """One sampled self-edit. `rejected` says why it cannot be trained on, or is None."""

    phase: str
    round: int
    context_id: str
    candidate: int
    text: str
    prompt_hash: str
    seed: int
    tokens: int
    seconds: float
    finish: str
    directives_json: str | None = None
    rejected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationRow:
    """One finished inner loop. `tokens` counts every token trained on, `settings_hash` what it was trained with."""

    phase: str
    round: int
    context_id: str
    candidate: int
    repeat: int
    seed: int
    steps: int
    tokens: int
    final_loss: float
    seconds: float
    settings_hash: str

    @property
    def key(self) -> InnerKey:
        """The inner loop within its phase and round."""
        return InnerKey(self.context_id, self.candidate, self.repeat)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One answer to one question; `correct`, `score` and `grader` are None until it is graded.

    With a `grader` but no `correct` it was graded without a verdict: it counts neither as right nor as wrong.
    """

    phase: str
    round: int
    context_id: str
    candidate: int
    repeat: int
    question_id: str
    text: str
    tokens: int
    correct: bool | None = None
    score: float | None = None
    grader: str | None = None
    seconds: float

    @property
    def key(self) -> InnerKey:
        """The inner loop this answer was given after, within its phase and round."""
        return InnerKey(self.context_id, self.candidate, self.repeat)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeRow:
    """A new grade for a stored answer: see `Ledger.replace_grades`."""

    phase: str
    round: int
    context_id: str
    candidate: int
    repeat: int
    question_id: str
    correct: bool | None
    score: float | None
    grader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRow:
    """What a candidate earned: its mean accuracy, the base's, the reward made of both, whether it was kept.

    With another ``rl.reward.signal`` than accuracy, ``accuracy`` and ``baseline`` are of that signal.
    """

    phase: str
    round: int
    context_id: str
    candidate: int
    reward: float
    accuracy: float
    baseline: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingRow:
    """Seconds spent on one part of a round and how many things were done in them; parts add up over sessions.

    Parts: ``"sampling"``, ``"adapting"``, ``"answering"``, ``"grading"``, ``"reading"`` (gold answers),
    ``"waiting"``. Seconds are the run's: N workers that are busy together for a second are one second.
    """

    phase: str
    round: int
    part: str
    seconds: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A finished named step; `finished_at` is UTC, ISO 8601."""

    name: str
    payload_json: str
    finished_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRow:
    """What the unadapted model answers to a question, and its grade: see `rl.known`.

    `weights` names the model's weights, `asked` is a hash of the prompt, of how it is decoded, and of what the grade
    depends on.
    """

    weights: str
    asked: str
    text: str
    tokens: int
    correct: bool | None
    score: float | None
    grader: str


_CANDIDATE = ("phase", "round", "context_id", "candidate")
SELF_EDITS = Table(SelfEditRow, "self_edits", _CANDIDATE)
ADAPTATIONS = Table(AdaptationRow, "adaptations", (*_CANDIDATE, "repeat"))
ANSWERS = Table(AnswerRow, "answers", (*_CANDIDATE, "repeat", "question_id"))
REWARDS = Table(RewardRow, "rewards", _CANDIDATE)
TIMINGS = Table(TimingRow, "timings", ("phase", "round", "part"))
STEPS = Table(StepRow, "steps", ("name",))
KNOWN = Table(KnownRow, "known_answers", ("weights", "asked"))
"""Younger than the ledger's form: a ledger made before it gets the table when it is next written to."""
TABLES = (SELF_EDITS, ADAPTATIONS, ANSWERS, REWARDS, TIMINGS, STEPS, KNOWN)
