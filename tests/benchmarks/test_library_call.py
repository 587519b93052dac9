"""The benchmark of the library's own call: like work on both sides, and its figures on disk."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

from benchmarks.library_call import bench_adapt  # noqa: E402


def test_both_sides_do_the_same_work(tiny_folder, tmp_path):
    """The losses of every step agree, and what is printed is what is stored."""
    seen = []
    results = bench_adapt(
        str(tiny_folder), "corpus:learn", tmp_path, count=3, lines=2, rounds=1, on_part=seen.append
    )
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert len(seen) == 4 and sum("not counted" in line for line in seen) == 2
    assert results["jobs"] == 3 and len(results["lengths"]) == 9
    assert results["tokens"] == sum(results["lengths"])
    assert results["loss_difference"] < 1e-4
    (ours,), (theirs,) = results["seconds"]["together"], results["seconds"]["careful"]
    assert results["ratio"] == pytest.approx(theirs / ours)
