"""The benchmark of the library's own call: like work on both sides, and its figures on disk."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

from benchmarks.library_call import bench_adapt  # noqa: E402
from selfedit.report.bench_page import fill_page  # noqa: E402


def test_both_sides_do_the_same_work(tiny_folder, tmp_path):
    """The losses of every step agree, and what is printed is what is stored."""
    parts = []
    results = bench_adapt(
        str(tiny_folder),
        "corpus:learn",
        tmp_path,
        count=3,
        lines=2,
        rounds=1,
        layers=[(1,)],
        on_part=parts.append,
    )
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert len(parts) == 6 and sum("not counted" in line for line in parts) == 3
    assert results["jobs"] == 3 and results["tokens"] >= results["longest"]
    assert results["loss_difference"] < 1e-4
    careful, ours, upper = results["rows"]
    assert ours["ratio"] == pytest.approx(careful["median"] / ours["median"])
    assert upper["name"].endswith("layers 1–1")
    assert results["targets"][0]["met"] == (ours["ratio"] >= 2)


def test_a_page_has_its_table(tiny_folder, tmp_path):
    """What the benchmark stored fills its place in a page."""
    bench_adapt(str(tiny_folder), "corpus:learn", tmp_path, count=2, lines=1, rounds=1)
    page = tmp_path / "page.md"
    page.write_text("<!-- bench adapt -->\n<!-- end -->\n")
    assert fill_page(page, [tmp_path]) == ["adapt"]
    assert "| careful loop |" in page.read_text() and "≥ 2" in page.read_text()
