"""The simulated cluster in small: every trial is stored, and every column has its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_runs import RAY_MARKS
from selfedit.run.ledger import Ledger

cluster = pytest.importorskip("benchmarks.cluster", reason="needs the extra ray")
pytestmark = RAY_MARKS


def test_every_trial_is_stored_once(tmp_path: Path) -> None:
    shape = cluster.Shape(workers=4, trials=100, loops=8, questions=2, seconds=0.02)
    row = cluster.bench_cluster(shape, tmp_path)
    assert (row["workers"], row["trials"]) == (4, 104)  # thirteen groups of eight
    assert 0 < row["busy"] <= 1 and row["driver_cores"] > 0
    with Ledger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert ledger.trial_count(cluster.PLACE) == 104
        assert sum(verdicts.judged for verdicts in ledger.verdicts(cluster.PLACE)) == 208
    assert len(cluster.cells(row)) == len(cluster.COLUMNS)
