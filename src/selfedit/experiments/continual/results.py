"""The results of continual edits: every way's numbers, and ways compared with one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfedit.config import Settings, named_policy
from selfedit.errors import DataError
from selfedit.experiments.continual.layout import way_tables
from selfedit.experiments.continual.measures import MeasuredWay, Sequences, WayRecord, way_record
from selfedit.experiments.continual.published import SOURCE, published
from selfedit.grading.grader import NO_VERDICT
from selfedit.grading.stats import mean_se
from selfedit.results.compare import difference
from selfedit.results.results import Difference, Published, Results, Row
from selfedit.tasks.task import Context

UNEDITED = "unedited"


def continual_results(
    settings: Settings, plan: Sequence[Sequence[Context]], measured: Mapping[str, MeasuredWay]
) -> Results:
    """All of a run's numbers but what it was made from; those of the first way also stand at the
    top.

    A sequence is counted if a judge gave a verdict on all its passages, before and after every
    edit, under every way.

    Args:
        settings: the run's.
        plan: the passages of each sequence.
        measured: each way, those of models after RL last.

    Raises:
        DataError: no sequence has all verdicts.
    """
    planned = [[context.id for context in sequence] for sequence in plan]
    counted: list[int] = []
    for number, passages in enumerate(planned):
        if all(_has_verdicts(passages, way, number) for way in measured.values()):
            counted.append(number)
    if not counted:
        raise DataError(
            "no sequence has a verdict on all of its passages",
            where=settings.answer.grader,
            fix=NO_VERDICT,
        )
    ids = [planned[number] for number in counted]
    ways: dict[str, Sequences] = {}
    for name, way in measured.items():
        ways[name] = Sequences(ids, way.before, [way.steps[number] for number in counted])
    records = {name: way_record(way) for name, way in ways.items()}
    first = next(iter(records.values()))
    return Results(
        experiment="continual",
        title=f"After {settings.continual.steps} edits one after the other (n counts sequences)",
        rows=_way_rows(ways, records),
        paired=_differences(ways, [named_policy(one)[0] for one in settings.continual.policies]),
        tables=way_tables(records),
        published=Published(SOURCE, more=published()),
        grader=settings.answer.grader,
        settings=settings.model_dump(mode="json"),
        more={
            "matrix": first["matrix"],
            "matrix_se": first["matrix_se"],
            "general_loss": first["general_loss"],
            "ways": records,
            "sequences": ids,
            "without_verdict": len(planned) - len(ids),
            "distinct_passages": len({name for passages in ids for name in passages}),
        },
    )


def _has_verdicts(passages: Sequence[str], way: MeasuredWay, number: int) -> bool:
    """Whether every passage of a sequence has an accuracy before, and after each edit from its own
    on.
    """
    return all(name in way.before["accuracy"] for name in passages) and all(
        name in step["accuracy"]
        for edits, step in enumerate(way.steps[number], start=1)
        for name in passages[:edits]
    )


def _way_rows(ways: Mapping[str, Sequences], records: Mapping[str, WayRecord]) -> list[Row]:
    estimate = mean_se(next(iter(ways.values())).unedited().values())
    rows = [Row(UNEDITED, estimate.mean, estimate.se, estimate.n)]
    for name, way in ways.items():
        estimate, record = mean_se(way.final().values()), records[name]
        more = {
            "just_edited": record["just_edited"],
            "kept": record["kept"],
            "general_rise": record["general_loss"]["rise"],
        }
        rows.append(Row(name, estimate.mean, estimate.se, estimate.n, more))
    return rows


def _differences(ways: Mapping[str, Sequences], policies: Sequence[str]) -> list[Difference]:
    """Each way against the unedited model, against the first way, its end against what was just
    learned, and models after RL against the first of them.
    """
    first = next(iter(ways))
    scores = {UNEDITED: ways[first].unedited()}
    scores |= {name: way.final() for name, way in ways.items()}
    gaps: list[Difference] = []
    for name, way in ways.items():
        gaps.append(difference(scores, UNEDITED, name))
        if name != first:
            gaps.append(difference(scores, first, name))
        ends = {f"{name}, at the end": scores[name], "just edited": way.just_edited()}
        gaps.append(difference(ends, "just edited", f"{name}, at the end"))
    gaps += [difference(scores, policies[0], name) for name in policies[1:]]
    return gaps
