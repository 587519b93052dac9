"""Tables as Markdown, and a page's block rewritten and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfedit.errors import DataError
from selfedit.report.markdown import results_markdown, rewrite
from selfedit.results.results import Results


def shown(stored: dict[str, Any]) -> str:
    return results_markdown(Results.read(stored))


RESULTS: dict[str, Any] = {
    "experiment": "replay",
    "rows": [
        {"method": "base", "accuracy": 0.1, "se": 0.02, "n": 32},
        {"method": "seal-2:rewrite", "accuracy": 0.25, "se": None, "n": 32},
        {"method": "odd|<b>", "accuracy": 0.3, "se": 0.1, "n": 32},
    ],
    "paired": [{"a": "seal-2:rewrite", "b": "base", "difference": 0.15, "se": 0.03, "n": 32}],
    "published": {
        "source": "a paper",
        "rows": {"base": {"value": 0.327, "se": 0.019, "n": 200}},
        "paired": [{"a": "seal-2:rewrite", "b": "base", "value": 0.073, "se": 0.024, "n": 200}],
    },
    "training": {"own": [{"documents": 5, "steps": 2, "tokens": 99, "losses": [3.0, 2.0]}]},
    "model": {"name": "smollm2-135m"},
    "grader": "contains",
    "settings": {"seed": 3, "eval": {"repeats": 2}},
}


def test_ours_and_the_published_side_by_side() -> None:
    text = shown(RESULTS)
    assert "| base: the model as it is | 10.0 | 2.0 | 32 | 32.7 | 1.9 | 200 |" in text
    assert "after round 2 of RL (SEAL) [rewrite\\] | 25.0 | ? | 32 |  |  |  |" in text
    assert "| seal-2:rewrite − base | +15.0 | 3.0 | 32 | +7.3 | 2.4 | 200 |" in text
    assert "| own | 5 | 2 | 99 | 3.000 | 2.000 |" in text
    assert "`smollm2-135m`" in text and "2 inner seeds" in text and "run seed 3" in text
    assert "odd\\|&lt;b>" in text


def test_tasks_by_name_and_what_else_was_found() -> None:
    text = shown({
        "experiment": "few-shot",
        "title": "tasks solved (n counts tasks)",
        "names": {"base": "in context", "own": "after training"},
        "rows": [{"method": m, "accuracy": 0.25, "se": 0.25, "n": 2} for m in ("base", "own")],
        "tasks": {"train": ["t1", "t<2"], "heldout": ["h1", "h2"]},
        "contexts": {"own": {"h1": 0.5, "h2": 1.0}, "base": {"h1": 0.0, "h2": None}},
        "tables": [{"title": "What changed", "columns": ["", "before"], "rows": [["basic on %", "70.0"]]}],
        "notes": ["Departure: primed."],
        "model": {"name": "smollm2-135m"},
        "settings": {"seed": 4},
    })  # fmt: skip
    assert "`smollm2-135m`" in text and "run seed 4. tasks solved (n counts tasks)." in text
    assert "grader" not in text and "passages" not in text
    assert "| in context | 25.0 | 25.0 | 2 |" in text
    assert "| held-out task, solved % | base | own |" in text
    assert "| h1 | 0.0 | 50.0 |" in text and "| h2 | ? | 100.0 |" in text
    assert "RL learned on: t1, t&lt;2." in text
    assert (
        "What changed:" in text
        and "| basic on % | 70.0 |" in text
        and "- Departure: primed." in text
    )


def test_the_published_order_and_what_self_edits_are_like() -> None:
    shape = {
        "policy": "round-1",
        "n": 4,
        "tokens": 101.6,
        "facts": 7.25,
        "single_fact": 0.5,
        "diversity": 0.777,
    }
    steps = [
        {"from": "base", "to": "passage", "holds": True, "z": 2.04},
        {"from": "passage", "to": "no-rl", "holds": False, "z": None},
    ]
    text = shown({**RESULTS, "order": steps, "self_edits": [{**shape, "compression": None}]})
    assert (
        "| base &lt; passage | yes | +2.0 |" in text and "| passage &lt; no-rl | no | ? |" in text
    )
    assert "| round-1 | 4 | 102 | 7.2 | 0.50 | 0.78 | ? |" in text
    assert "published order" not in shown(RESULTS)


def test_only_the_block_is_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Before\n<!-- results: one -->\nold\n<!-- end of results -->\nbetween\n"
                    "<!-- results: two -->\n<!-- end of results -->\nafter\n")  # fmt: skip
    rewrite(page, "two", "NEW \\1 text")
    first = page.read_text()
    assert first.startswith(
        "# Before\n<!-- results: one -->\nold\n<!-- end of results -->\nbetween\n"
    )
    assert first.endswith("<!-- results: two -->\n\nNEW \\1 text\n<!-- end of results -->\nafter\n")
    rewrite(page, "two", "NEW \\1 text")
    assert page.read_text() == first


def test_a_page_without_the_block_says_what_to_put_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(DataError, match="'one'") as caught:
        rewrite(page, "one", "x")
    assert "<!-- results: one -->" in str(caught.value.fix)


def test_results_without_a_table_are_refused() -> None:
    with pytest.raises(DataError, match="no table"):
        shown({"experiment": "adapt"})


def test_an_empty_block_before_another_is_filled(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    other = "<!-- results: two -->\n<!-- end of results -->\n"
    page.write_text(f"<!-- results: one -->\n<!-- end of results -->\n{other}")
    rewrite(page, "one", "a table")
    assert page.read_text() == f"<!-- results: one -->\n\na table\n<!-- end of results -->\n{other}"
