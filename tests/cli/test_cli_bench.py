"""``selfedit bench``: what needs no measuring, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import selfedit


def test_arithmetic_goes_into_a_page(run, tmp_path: Path) -> None:
    done = run("bench", "arithmetic", "smollm2-135m", "--k", "1,16", "--json")
    assert done.code == 0 and [row["k"] for row in json.loads(done.out)["rows"]] == [1, 16]
    (tmp_path / "found.json").write_text(done.out)
    (tmp_path / "page.md").write_text("<!-- bench arithmetic -->\n<!-- end -->\n")
    assert run("bench", "page", tmp_path / "page.md", tmp_path / "found.json").out == "arithmetic\n"
    table = run("bench", "arithmetic", "smollm2-135m", "--k", "1,16").out
    cells = table.splitlines()[3].split()
    assert f"| {' | '.join(cells)} |" in (tmp_path / "page.md").read_text()


def test_racing_on_a_finished_run(run, finished: Path) -> None:
    done = run("bench", "racing", finished, "--draws", "5", "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found["stored"] is None and found["simulated"]["n"] == 2
    assert "inner loops saved" in run("bench", "racing", finished, "--draws", "5").out


def test_what_cannot_be_measured(run, tmp_path: Path) -> None:
    for words in (
        ("arithmetic", "--k", "0"),
        ("inner", "--k", "1,x", "--model", tmp_path),
        ("arithmetic", "gpt"),
    ):
        done = run("bench", *words)
        assert done.code == 2 and "to fix" in done.err, words
    assert run("bench", "racing", tmp_path).code == 3


def test_help_names_every_benchmark(run) -> None:
    out = run("bench", "--help").out
    assert all(
        name in out for name in ("inner", "generate", "profile", "arithmetic", "racing", "page")
    )
    assert "--inner.lora.rank" in run("bench", "inner", "--help").out


def test_an_installed_package_says_where_the_benchmarks_are(tmp_path: Path) -> None:
    shutil.copytree(Path(selfedit.__file__).parent, tmp_path / "site" / "selfedit")
    done = subprocess.run(
        [sys.executable, "-m", "selfedit", "bench", "arithmetic"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert (
        "come with the source checkout" in done.stderr
        and "to fix: install selfedit from" in done.stderr
    )
