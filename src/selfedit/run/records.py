"""What a run's ledger holds: one frozen dataclass a table; the tables are made from them.

Every record has an address, a `Place`: what the run was doing, by which method, in which round. A
`Trial` is stored as it stands, with its training, its answers and their grades.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from selfedit.errors import RunFolderError
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.tables import Flat, RecordTable

_PUT_BACK = "put the ledger back from a copy, or start in a new folder"
_SAMPLED = BoundedReader("the record of sampled tokens", error=RunFolderError, fix=_PUT_BACK)

Measure = Literal["answers", "likelihoods"]
"""What can be measured of a model: its answers, or how likely it finds the reference answers."""


class Phase(StrEnum):
    """What a run was doing."""

    RL = "rl"
    """The rounds of reinforcement learning."""
    CREDIT = "rl-credit"
    """The rounds' self-edits without one of their lines."""
    RL_EARLIER = "rl-earlier"
    """What a round learns before its self-edits, where the reward asks for retention."""
    EVAL = "eval"
    """Held-out contexts, by method."""
    WRITE = "write"
    """Texts to train on, by who wrote them."""
    ADAPT = "adapt"
    """Documents into an adapter."""
    FILTER = "filter"
    """Which ARC tasks can be solved at all."""
    OWN_QUESTIONS = "own-questions"
    """Questions the model writes itself."""
    OWN_QUESTIONS_REWARD = "own-questions-reward"
    """Self-edits held against own questions and gold ones."""
    CONTINUAL = "continual"
    """One edit after the other, by the remedies used; a step is a round."""


@dataclass(frozen=True, slots=True, order=True)
class Place(Flat):
    """Where in a run a record belongs.

    Attributes:
        phase: what the run was doing.
        method: which method, writer or remedies, where a phase has several.
        round: which round or step, from 1, where a phase has several.
    """

    phase: Phase
    method: str = ""
    round: int | None = None

    def __str__(self) -> str:
        """For people and for the names of steps; nothing reads it back."""
        return " ".join(
            str(part) for part in (self.phase, self.method, self.round) if part not in ("", None)
        )


class TrialKey(NamedTuple):
    """One trial within a place: a context, a candidate self-edit of it (None: the unadapted model),
    a repeat.
    """

    context_id: str
    candidate: int | None
    repeat: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """A self-edit's tokens as they were sampled, the ending one included where there was one.

    Attributes:
        ids: the tokens.
        logprobs: of each when it was sampled, in nats (`selfedit.Completion`), to six places; empty
            where the sampler gave none.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()

    def as_json(self) -> str:
        """For a column of the ledger."""
        rounded = [round(value, 6) for value in self.logprobs]
        return json.dumps({"ids": self.ids, "logprobs": rounded}, separators=(",", ":"))


class Verdicts(NamedTuple):
    """How a context's answers with one repeat's seeds were graded: how many were right, how many
    have a verdict at all, how many were graded without one.
    """

    context_id: str
    repeat: int
    right: int
    judged: int
    undecided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEditRow:
    """One self-edit. `rejected` says why it cannot be trained on, or is None.

    `seconds` are wall-clock seconds: its share of the batch it was sampled in. `finish` is
    ``"length"`` where it was cut off at the token limit. `sampled_json` is its `Sampled`; None for
    a text from outside.
    """

    place: Place
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
    sampled_json: str | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the token limit ended it, and not its writer."""
        return self.finish == "length"

    @property
    def sampled(self) -> Sampled | None:
        """Its tokens as they were sampled; None for a text from outside.

        Raises:
            RunFolderError: the ledger's record is damaged.
        """
        if self.sampled_json is None:
            return None
        where = f"self-edit {self.candidate} of {self.context_id}, {self.place}"
        record = _SAMPLED.parse_json(self.sampled_json, where)
        sampled = _SAMPLED.shape(record, Sampled, where)
        if sampled.logprobs and len(sampled.logprobs) != len(sampled.ids):
            what = f"{len(sampled.ids)} sampled tokens have {len(sampled.logprobs)} probabilities"
            raise RunFolderError(what, where=where, fix=_PUT_BACK)
        return sampled


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One finished inner loop.

    `tokens` counts every token trained on, `final_loss` is the last epoch's mean (NaN where nothing
    was trained), `settings_hash` is of what it was trained with, `seconds` are its share of the
    batch it was trained in.
    """

    seed: int
    steps: int
    tokens: int
    final_loss: float
    seconds: float
    settings_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to one question; `correct`, `score` and `grader` are None until it is graded.

    With a `grader` but no `correct` it was graded without a verdict: it counts neither as right nor
    as wrong.
    """

    question_id: str
    text: str
    tokens: int
    correct: bool | None = None
    score: float | None = None
    grader: str | None = None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """The mean log-likelihood of a token of a question's reference answer, in nats."""

    question_id: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A self-edit of a context under one set of seeds: its training, the answers after it with
    their grades.

    What candidates earn stands beside the trials, for a reward is over all repeats of a candidate
    (`RewardRow`).

    Attributes:
        place: where in the run.
        context_id: the context.
        candidate: the self-edit's number; None for the unadapted model.
        repeat: which set of seeds.
        training: None for the unadapted model alone.
        answers: to the context's questions, in the order of their ids, so that sums over them have
            the same bits whatever the order they were asked in; empty where none were asked.
        likelihoods: of the questions' reference answers, in the same order; empty where they were
            not measured.
    """

    place: Place
    context_id: str
    candidate: int | None = None
    repeat: int = 0
    training: Training | None = None
    answers: tuple[Answer, ...] = ()
    likelihoods: tuple[Likelihood, ...] = ()

    def __post_init__(self) -> None:
        if (self.candidate is None) != (self.training is None):
            raise ValueError(
                f"a candidate's trial has a training, the unadapted model's has none: {self.key}"
            )
        for part in (self.answers, self.likelihoods):
            ids = [one.question_id for one in part]
            if ids != sorted(set(ids), key=_utf8):
                raise ValueError(
                    f"answers come in the order of their questions' ids, each once: {ids}"
                )

    @property
    def key(self) -> TrialKey:
        """The trial within its place."""
        return TrialKey(self.context_id, self.candidate, self.repeat)


def _utf8(text: str) -> bytes:
    """SQLite's order of texts, which the ledger's sums have always had."""
    return text.encode("utf-8", "surrogatepass")


def answers_in_order(answers: list[Answer]) -> tuple[Answer, ...]:
    """Answers in the order that a `Trial` wants them in."""
    return tuple(sorted(answers, key=lambda answer: _utf8(answer.question_id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRow:
    """What a candidate earned: what was measured of it, and of the unadapted model; the reward;
    whether it was kept.

    ``accuracy`` and ``baseline`` are in the unit of the run's reward. A ``reward`` of NaN is none
    at all: the self-edit was cut off, and those are dropped.
    """

    place: Place
    context_id: str
    candidate: int
    reward: float
    accuracy: float
    baseline: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingRow:
    """Seconds spent on one part of a round and how many things were done in them; parts add up over
    sessions.

    Parts: ``"sampling"``, ``"adapting"``, ``"answering"``, ``"grading"``, ``"reading"`` (gold
    answers), ``"waiting"``. Seconds are the run's: N workers that are busy together for a second
    are one second.
    """

    place: Place
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
class KnownAnswer:
    """What the unadapted model answers to a question, with its grade: see `rl.base_answers`.

    `weights` names the model's weights, `asked` is a hash of the prompt, of how it is decoded, and
    of what the grade depends on.
    """

    weights: str
    asked: str
    answer: Answer


_PLACE = ("phase", "method", "round")
_CANDIDATE = (*_PLACE, "context_id", "candidate")
SELF_EDITS = RecordTable(SelfEditRow, "self_edits", _CANDIDATE)
TRIALS = RecordTable(Trial, "trials", (*_CANDIDATE, "repeat"))
REWARDS = RecordTable(RewardRow, "rewards", _CANDIDATE)
TIMINGS = RecordTable(TimingRow, "timings", (*_PLACE, "part"), rewritten=True)
STEPS = RecordTable(StepRow, "steps", ("name",))
KNOWN = RecordTable(KnownAnswer, "known_answers", ("weights", "asked"))
TABLES = (SELF_EDITS, TRIALS, REWARDS, TIMINGS, STEPS, KNOWN)
