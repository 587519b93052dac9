"""The form of ``results.json``, checked before anything is made of what a file holds.

What only one experiment writes and nothing here shows may be anything; what tables, pages and
pictures are made of is named and of its type.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from selfedit.storage.bounded import BoundedReader

_MOST_SHOWN = 10**15
T = TypeVar("T")


def _showable(value: float) -> float:
    """A number that a table or a picture has room for; results in memory may hold NaN."""
    if math.isfinite(value) and abs(value) > _MOST_SHOWN:
        raise ValueError("is too large")
    return value


Amount = Annotated[float, AfterValidator(_showable)]
Count = Annotated[int, Field(ge=-_MOST_SHOWN, le=_MOST_SHOWN)]
Matrix = list[list[Amount]]
MethodScores = dict[str, dict[str, Amount]]
"""For each method, the accuracy of each context."""
PartScores = dict[str, dict[str, Amount | None]]
"""The same where some contexts have none."""

_RESULTS = BoundedReader(
    "these results", fix="give the folder of a finished run, or start the run anew"
)


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Estimate(_Form):
    accuracy: Amount | None
    se: Amount | None
    n: Count


class _MethodRow(_Estimate):
    method: str
    trials: Count | None = None


class _Canary(_Estimate):
    method: str


class _Difference(_Form):
    a: str
    b: str
    difference: Amount
    se: Amount | None
    n: Count
    by_run: list[Amount] = []
    se_runs: Amount | None = None


class _Reference(_Form):
    model_config = ConfigDict(strict=True, extra="forbid")
    value: Amount
    se: Amount | None
    n: Count


class _Compared(_Form):
    a: str
    b: str
    value: Amount
    se: Amount | None
    n: Count


class _Published(_Form):
    source: str = ""
    rows: dict[str, _Reference] = {}
    paired: list[_Compared] = []
    matrix: Matrix | None = None


class _Way(_Form):
    matrix: Matrix


class _Tasks(_Form):
    train: list[str]
    heldout: list[str]


class _Training(_Form):
    documents: Count
    steps: Count
    tokens: Count
    losses: Annotated[list[Amount], Field(min_length=1)]


class _Step(_Form):
    model_config = ConfigDict(strict=True, extra="allow", populate_by_name=True)
    first: str = Field(alias="from")
    to: str
    holds: bool
    z: Amount | None


class _Shape(_Form):
    policy: str
    n: Count
    tokens: Amount | None = None
    facts: Amount | None = None
    single_fact: Amount | None = None
    diversity: Amount | None = None
    compression: Amount | None = None


class _Moved(_Form):
    prompts: Count
    kl: Amount
    entropy_before: Amount
    entropy: Amount
    changed: Amount
    tokens_before: Amount
    tokens: Amount
    facts_before: Amount | None
    facts: Amount | None


class _Expected(_Form):
    before: Amount
    after: Amount
    exact: bool


class _Movement(_Form):
    reason: str | None
    learned: _Moved | None
    heldout: _Moved | None
    expected: _Expected | None = None


class _CutOff(_Form):
    count: Count
    kept: Count
    accuracy: Amount | None
    others: Amount | None


class _Round(_Form):
    round: Count
    self_edits: Count | None = None
    baseline: Amount | None
    accuracy: Amount | None
    best: Amount | None
    movement: _Movement | None = None
    cut_off: _CutOff | None = None


class _Evaluation(_Form):
    repeats: Count = 1


class _RunSettings(_Form):
    seed: Count | None = None
    eval: _Evaluation = _Evaluation()


class _Stored(_Form):
    experiment: str = ""
    title: str = ""
    names: dict[str, str] = {}
    rows: list[_MethodRow] = []
    paired: list[_Difference] = []
    tables: list[dict[str, Any]] = []
    notes: list[str] = []
    published: _Published = _Published()
    contexts: dict[str, dict[str, Any]] = {}
    model: dict[str, Any] = {}
    grader: str = ""
    data: dict[str, Any] = {}
    settings: _RunSettings = _RunSettings()
    runs: Count | None = None
    seeds: list[Count] = []
    inner_seeds: Count | None = None
    training: dict[str, list[_Training]] = {}
    tasks: _Tasks | None = None
    canary: list[_Canary] = []
    answer_words: dict[str, Amount | None] = {}
    order: list[_Step] = []
    self_edits: list[_Shape] = []
    rounds: list[_Round] | dict[str, list[_Round]] = []
    matrix: Matrix | None = None
    ways: Annotated[dict[str, _Way], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _whole_matrices(self) -> _Stored:
        """A matrix stands among those of all ways, beside the published one."""
        if self.matrix and (self.ways is None or self.published.matrix is None):
            raise ValueError("a matrix needs ways and published.matrix")
        return self


def check_stored(stored: object, where: object = "results.json") -> None:
    """See that a file's value has the form of results.

    Raises:
        FormatError: says what in it has not.
    """
    _RESULTS.shape(stored, _Stored, where)


def as_form(stored: object, form: type[T], where: object = "results.json") -> T:
    """A file's value, or a part of it, as a type that pydantic checks.

    Raises:
        FormatError: says what in it is not of that type.
    """
    return _RESULTS.shape(stored, form, where)
