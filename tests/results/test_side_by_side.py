"""Runs side by side: paired on what they share, tested against scipy, and a refusal where nothing is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from selfedit.cli.app import main
from selfedit.errors import UsageError
from selfedit.results.side_by_side import as_table, side_by_side
from selfedit.run.folder import RunFolder
from selfedit.run.records import Phase, Place, TimingRow

ONE = {"a": 0.5, "b": 0.2, "c": 0.9, "d": 0.4}
TWO = {"a": 0.8, "b": 0.2, "c": 1.0, "d": 0.7, "only": 0.1}
THREE = {"a": 0.4, "b": 0.3, "c": 0.8, "d": 0.4}


def test_differences_are_paired_and_tested():
    stats = pytest.importorskip("scipy.stats")
    first, second, third = side_by_side({"1": {0: ONE}, "2": {1: TWO}, "3": {0: THREE}}, {"2": 3.5})
    assert (first.test, first.p_holm, first.n) == (None, None, 4)
    expected = [
        stats.ttest_rel([one[k] for k in "abcd"], list(ONE.values())) for one in (TWO, THREE)
    ]
    for got, right in zip((second, third), expected, strict=True):
        assert got.test is not None and got.test.p == pytest.approx(right.pvalue)
    assert second.test is not None and second.test.difference == pytest.approx(0.175)
    assert second.accuracy == pytest.approx(np.mean([0.8, 0.2, 1.0, 0.7]))
    small, large = sorted(right.pvalue for right in expected)
    adjusted = sorted([second.p_holm or 0, third.p_holm or 0])
    assert adjusted == pytest.approx([min(1, 2 * small), max(min(1, 2 * small), large)])
    assert as_table([first, second, third], "own").shown()[1][-1] == "3.5"


def test_nothing_shared_is_refused():
    with pytest.raises(UsageError, match="no passage in common"):
        side_by_side({"1": {0: {"a": 1.0}}, "2": {0: {"b": 1.0}}}, {})


def made(folder, rank, scores):
    with RunFolder.open(folder, {"inner": {"rank": rank}}, kind="train") as run:
        place = Place(Phase.EVAL)
        run.ledger.add_trials([], [TimingRow(place=place, part="adapting", seconds=8, count=4)])
        mean = sum(scores.values()) / len(scores)
        row = {"method": "own", "accuracy": mean, "se": 0.1, "n": len(scores)}
        run.write_results({"experiment": "train", "rows": [row], "contexts": {"own": scores}})
    return folder


def test_the_verb_says_which_settings_differ(tmp_path, capsys):
    folders = [made(tmp_path / "one", 8, ONE), made(tmp_path / "two", 16, TWO)]
    assert main(["compare", *map(str, folders), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert (first["changed"], second["changed"]) == ([], ["inner.rank: 8 → 16"])
    assert second["test"]["difference"] == pytest.approx(0.175)
    assert first["seconds"] == 2.0
    assert main(["compare", *map(str, folders)]) == 0
    assert "inner.rank: 8 → 16" in capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: lr -->\n<!-- end of results -->\nafter\n")
    assert main(["compare", *map(str, folders), "--into", str(page), "--block", "lr"]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| run |" in text and f"- {folders[1]}" in text
    assert main(["compare", *map(str, folders), "--method", "seal"]) == 2
    assert "choose with --method among own" in capsys.readouterr().err
    assert main(["compare", str(folders[0]), str(folders[0])]) == 2
