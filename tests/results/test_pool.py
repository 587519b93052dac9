"""Several runs as one table: contexts are the units, runs are averaged."""

import math

import pytest

from selfedit.errors import UsageError
from selfedit.results.compare import compare, pool, pool_results
from selfedit.results.results import Results

RUNS = [
    {"own": {"x": 0.0, "y": 0.5}, "seal": {"x": 0.5, "y": 0.5}},
    {"own": {"x": 0.2, "y": 0.5}, "seal": {"x": 0.7, "y": 1.0}},
]


def as_dict(found):
    """A comparison as results.json has it."""
    return {
        "rows": [row.as_dict() for row in found.rows],
        "paired": [gap.as_dict() for gap in found.paired],
    }


def test_pooled_by_hand():
    found = as_dict(pool(RUNS))
    own, seal = found["rows"]
    assert (own["accuracy"], seal["accuracy"]) == (pytest.approx(0.3), pytest.approx(0.675))
    (gap,) = found["paired"]
    # Per context, over runs: x gains 0.5, y gains 0.25. Mean 0.375, standard deviation 0.25/√2,
    # over √2.
    assert (gap["difference"], gap["n"]) == (pytest.approx(0.375), 2)
    assert gap["se"] == pytest.approx(0.25 / math.sqrt(2) / math.sqrt(2))
    assert gap["by_run"] == [pytest.approx(0.25), pytest.approx(0.5)]
    assert gap["se_runs"] == pytest.approx(0.125)
    # Differences 0.5, 0 and 0.5, 0.5: mean squares 2·(0.125² + 0.125²) over passages, the same over
    # runs, 4·0.125² left over, so the variance of the mean is (1 + 1 − 1)/16 / 4.
    assert gap["both"]["se"] == pytest.approx(math.sqrt(1 / 16 / 4))


def test_runs_with_their_names_as_one():
    runs = []
    for seed, scores in enumerate(RUNS):
        rows = compare(scores).rows
        runs.append(
            (
                f"run-{seed}",
                Results(
                    experiment="knowledge", rows=rows, contexts=scores, settings={"seed": seed}
                ),
            )
        )
    pooled = pool_results(runs)
    assert pooled.runs == 2 and pooled.seeds == (0, 1)
    assert as_dict(pooled) == as_dict(pool(RUNS))
    with pytest.raises(UsageError, match="no table of methods"):
        pool_results([*runs, ("run-2", Results(experiment="adapt"))])


def test_only_shared_methods_and_equal_passages():
    assert [
        row["method"] for row in as_dict(pool([RUNS[0], {"seal": RUNS[1]["seal"]}]))["rows"]
    ] == ["seal"]
    with pytest.raises(UsageError, match="different passages"):
        pool([RUNS[0], {"own": {"z": 1.0}}])
    with pytest.raises(UsageError, match="no method in common"):
        pool([RUNS[0], {"gold": {"x": 1.0}}])
