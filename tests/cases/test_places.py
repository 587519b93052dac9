"""Places that cannot be written, runs that can only be read, terminals that lack letters."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selfedit.cli import main
from selfedit.run.folder import RunFolder
from selfedit.run.records import Answer, Phase, Place, Trial
from tiny_arc import small_task, write_tasks

HERE = Place(Phase.EVAL, "base")
NOBODY = 65534
RESULTS: dict[str, Any] = {
    "experiment": "knowledge",
    "title": "Größe → 大きさ",
    "rows": [{"method": "base", "accuracy": 0.5, "se": None, "n": 1}],
    "paired": [],
}


@pytest.fixture
def finished() -> Iterator[Path]:
    """A finished run where another user can look."""
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        folder = Path(base) / "run"
        with RunFolder.open(folder, {"model": "m"}, kind="knowledge") as run:
            answers = (Answer(question_id="q", text="a", tokens=1, seconds=0.1),)
            run.ledger.add_trials([Trial(place=HERE, context_id="c", answers=answers)])
            run.ledger.finish_step("done", {})
            run.write_results(RESULTS)
        yield folder
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)


def as_nobody(work: Any) -> int:
    """The exit status of a child that may write nowhere (root may everywhere)."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        if os.getuid() == 0:
            os.setuid(NOBODY)
        os._exit(0 if work() else 1)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs another user")
@pytest.mark.parametrize("log", ["without a log", "with a log"])
def test_a_finished_run_is_readable_where_nothing_can_be_written(finished: Path, log: str) -> None:
    if log == "with a log":  # SQLite left it, say at a kill: empty
        (finished / "ledger.sqlite-wal").touch()
    else:
        assert not list(finished.glob("ledger.sqlite-*"))
    for path in [*finished.rglob("*"), finished]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def read() -> bool:
        with RunFolder.read(finished) as run:
            (trial,) = run.ledger.trials(HERE)
            return run.results()["rows"][0]["method"] == "base" and trial.answers[0].text == "a"

    assert as_nobody(read) == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_lacks_letters(
    finished: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    for words in (
        ["evaluate", str(finished)],
        ["report", str(finished), "--markdown"],
        ["nope\u2192"],
    ):
        assert main(words) == (2 if len(words) == 1 else 0)
    sys.stdout.flush()
    shown = sys.stdout.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert "base" in shown and "50.0" in shown


def test_pictures_caches_and_reports_that_cannot_be_written(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "labels.jsonl").write_text(
        '{"question": "q", "gold": "a", "prediction": "b", "label": true}'
    )
    source = write_tasks(tmp_path / "one.json", [small_task()])
    (name,) = __import__("json").loads(source.read_text())
    judge = ["--grader", "judge", "--judge.endpoint.model", "m", "--judge.endpoint.key-env", "none"]
    shutil.rmtree(finished / "report", ignore_errors=True)
    (finished / "report").write_text("a file where the folder belongs")
    for words in (
        ["arc", "show", name, "--source", source, "--picture", "/proc/x/y.png"],
        ["arc", "show", name, "--source", source, "--picture", tmp_path / "y.bmp"],
        ["grade", tmp_path / "labels.jsonl", *judge, "--judge.endpoint.cache", "/proc/x/y.sqlite"],
        ["report", finished],
    ):
        capsys.readouterr()
        code = main(list(map(str, words)))
        message = capsys.readouterr().err
        assert code in (0, 2, 3, 4) and (code == 0 or "to fix" in message or "error" in message)
    monkeypatch.setenv("SELFEDIT_CACHE", "/proc/x")
    assert main(["models", "fetch", "smollm2-135m"]) in (2, 3, 4)
