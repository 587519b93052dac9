"""A run's results as they are written to ``results.json`` and read from it: numbers, no text made
of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from selfedit.errors import FormatError
from selfedit.grading.inference import Test
from selfedit.results.schema import MethodScores, as_form, check_stored
from selfedit.results.tabular import Table

JsonObject = dict[str, Any]
"""An object as JSON holds it."""


@dataclass(frozen=True)
class Row:
    """One method: its accuracy, the standard error, over how many contexts; and what an experiment
    adds.
    """

    method: str
    accuracy: float | None
    se: float | None
    n: int
    more: Mapping[str, Any] = field(default_factory=JsonObject)

    def as_dict(self) -> JsonObject:
        """As results.json keeps it."""
        return {
            "method": self.method,
            "accuracy": self.accuracy,
            "se": self.se,
            "n": self.n,
            **self.more,
        }

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Row:
        """A row as `as_dict` gives it."""
        known: JsonObject = {name: stored[name] for name in ("method", "accuracy", "se", "n")}
        return cls(
            **known, more={name: value for name, value in stored.items() if name not in known}
        )


@dataclass(frozen=True)
class Difference:
    """Method ``a`` less ``b``, paired over contexts; where several runs are pooled, ``by_run``,
    ``se_runs`` and the test ``both`` with an error over contexts and runs at once.
    """

    a: str
    b: str
    difference: float
    se: float | None
    n: int
    by_run: tuple[float, ...] = ()
    se_runs: float | None = None
    both: Test | None = None

    def as_dict(self) -> JsonObject:
        """As results.json keeps it."""
        stored = {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "se": self.se,
            "n": self.n,
        }
        pooled: JsonObject = {"by_run": list(self.by_run), "se_runs": self.se_runs}
        if self.both is not None:
            pooled["both"] = self.both.as_dict()
        return stored | (pooled if self.by_run else {})

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Difference:
        """A difference as `as_dict` gives it."""
        gap: JsonObject = {name: stored[name] for name in ("a", "b", "difference", "se", "n")}
        both = Test(**stored["both"]) if "both" in stored else None
        runs = tuple(stored.get("by_run", ()))
        return cls(**gap, by_run=runs, se_runs=stored.get("se_runs"), both=both)


@dataclass(frozen=True)
class Reference:
    """A published number: a share, its standard error where one was published, and over how many
    passages.
    """

    value: float
    se: float | None
    n: int


@dataclass(frozen=True)
class Published:
    """Published numbers to hold ours against.

    Attributes:
        source: where they are from.
        rows: by our methods' names.
        paired: by (b, a): the difference is a − b.
        more: what else an experiment compares with, a matrix for example.
    """

    source: str = ""
    rows: Mapping[str, Reference] = field(default_factory=dict[str, Reference])
    paired: Mapping[tuple[str, str], Reference] = field(
        default_factory=dict[tuple[str, str], Reference]
    )
    more: Mapping[str, Any] = field(default_factory=JsonObject)

    def as_dict(self) -> JsonObject:
        """As results.json keeps it."""
        rows = {method: asdict(number) for method, number in self.rows.items()}
        gaps = [{"b": b, "a": a, **asdict(number)} for (b, a), number in self.paired.items()]
        return {"source": self.source, "rows": rows, "paired": gaps, **self.more}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Published:
        """Published numbers as `as_dict` gives them."""
        rows = {method: Reference(**number) for method, number in stored.get("rows", {}).items()}
        gaps = {
            (g["b"], g["a"]): Reference(g["value"], g["se"], g["n"])
            for g in stored.get("paired", ())
        }
        more = {
            name: value
            for name, value in stored.items()
            if name not in ("source", "rows", "paired")
        }
        return cls(stored.get("source", ""), rows, gaps, more)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a run found.

    Attributes:
        experiment: which experiment.
        title: what the rows are of, and what n counts; empty for held-out passages.
        names: what methods are called where a person reads them, where it is not what all runs call
            them.
        rows: a row for each method, in order.
        paired: what was compared.
        tables: what else there is, in numbers.
        notes: what has to be said beside every number.
        published: numbers to hold these against.
        contexts: for each method, the accuracy of each context.
        model: the model's name and the hash of its files.
        grader: who said what is right; empty where that is part of the task.
        data: hashes of what was read.
        settings: the run's.
        runs: how many runs these are the results of, where it is more than one.
        seeds: of those runs.
        more: what else an experiment found, as plain data.
    """

    experiment: str
    title: str = ""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    rows: Sequence[Row] = ()
    paired: Sequence[Difference] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    published: Published = Published()
    contexts: Mapping[str, Any] = field(default_factory=JsonObject)
    model: Mapping[str, str] = field(default_factory=dict[str, str])
    grader: str = ""
    data: Mapping[str, Any] = field(default_factory=JsonObject)
    settings: Mapping[str, Any] = field(default_factory=JsonObject)
    runs: int | None = None
    seeds: Sequence[int] = ()
    more: Mapping[str, Any] = field(default_factory=JsonObject)

    def __post_init__(self) -> None:
        for name in (
            "rows",
            "paired",
            "tables",
            "notes",
            "seeds",
        ):  # so that equal results are equal
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def scores(self) -> dict[str, Mapping[str, float]]:
        """For each method, in the order of the rows, the accuracy of each context: a file has its
        keys sorted.
        """
        scores = as_form(dict(self.contexts), MethodScores)
        return {row.method: scores[row.method] for row in self.rows if row.method in scores}

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return self.settings.get("seed")

    def as_dict(self) -> JsonObject:
        """As results.json keeps it; what is empty is left out, rows and differences apart."""
        stored: JsonObject = {
            "experiment": self.experiment,
            "rows": [row.as_dict() for row in self.rows],
            "paired": [gap.as_dict() for gap in self.paired],
        }
        published = self.published.as_dict() if self.published.source else {}
        optional = {
            "title": self.title,
            "names": dict(self.names),
            "tables": [table.as_dict() for table in self.tables],
            "notes": list(self.notes),
            "published": published,
            "contexts": {method: dict(of_method) for method, of_method in self.contexts.items()},
            "model": dict(self.model),
            "grader": self.grader,
            "data": dict(self.data),
            "settings": dict(self.settings),
            "runs": self.runs,
            "seeds": list(self.seeds),
        }
        return stored | {name: value for name, value in optional.items() if value} | dict(self.more)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Results:
        """Results as `as_dict` gives them.

        Raises:
            FormatError: they are none.
        """
        plain = {
            "title",
            "names",
            "notes",
            "contexts",
            "model",
            "grader",
            "data",
            "settings",
            "runs",
            "seeds",
        }
        check_stored(stored)
        known = {f.name for f in fields(cls)} - {"more"}
        try:
            return cls(
                experiment=stored.get("experiment", ""),
                rows=[Row.read(row) for row in stored.get("rows", ())],
                paired=[Difference.read(gap) for gap in stored.get("paired", ())],
                tables=[Table.read(table) for table in stored.get("tables", ())],
                published=Published.read(stored.get("published", {})),
                more={name: value for name, value in stored.items() if name not in known},
                **{name: stored[name] for name in plain if name in stored},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"these are not a run's results: {error}", where="results.json"
            ) from error
