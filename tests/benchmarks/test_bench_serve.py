"""What `bench serve` compares is the same work, done one after another and at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.serving import bench_serve
from selfedit.report.bench_tables import bench_tables


@pytest.mark.server
def test_both_sides_write_the_same(small_folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    results = bench_serve(
        str(small_folder), tmp_path, adapters=3, requests=5, new_tokens=4, rounds=2,
        on_part=told.append,
    )  # fmt: skip
    assert results["equal"] is True and len(told) == 4
    alone, together = results["rows"]
    ratios = [a / b for a, b in zip(alone["seconds"], together["seconds"], strict=True)]
    assert results["ratios"] == ratios and together["ratio"] == sum(ratios) / 2
    (table, targets) = bench_tables(results)
    assert "5 requests to 3 adapters" in table.title and len(table.rows) == 2
    assert targets.rows[0][1] == "≥ 3"
    assert json.loads((tmp_path / "results.json").read_text()) == results
