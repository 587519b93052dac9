"""Folders that cannot be written and terminals that speak other encodings, through the verbs."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from small_runs import small_run

from places import Done, in_a_child
from selfedit.cli import main
from tiny_arc import small_task, write_tasks


@pytest.fixture(scope="module")
def kept(
    finished: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with finished runs in it: train, adapted, library; nothing in it can be written."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(finished, folder / "train")
    shutil.copytree(tiny_folder, folder / "model")
    documents = folder / "documents"
    documents.mkdir()
    (documents / "tower.md").write_text("# The Café – “Tower”\nThe tower is 30 m tall → high.\n")
    short = ["--edit.max-new-tokens=8", "--inner.optim.epochs=1", "--inner.lora.rank=2", "-q"]
    for out, more in (("adapted", []), ("library", ["--library"])):
        words = ["adapt", tiny_folder, documents, "--out", folder / out, *short, *more]
        assert main([str(word) for word in words]) == 0
    _let_write(folder, False)
    yield folder
    _let_write(folder, True)


def _let_write(folder: Path, allowed: bool) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200 if allowed else path.stat().st_mode & ~0o222)


@pytest.fixture(params=["no right", "mounted read-only"])
def run(request: pytest.FixtureRequest, kept: Path):
    """A command in a child that cannot write to the kept folder."""

    def command(*words: object, **options) -> Done:
        mounted = kept if request.param == "mounted read-only" else None
        done = in_a_child(words, mounted=mounted, **options)
        if done is None:
            pytest.skip("this system lets nobody mount")
        assert "Traceback" not in done.err, done.err
        return done

    return command


def _as_if(run: Path, copy: Path, setting: str, value: int) -> Path:
    """A run as if one of its settings had been another."""
    shutil.copytree(run, copy)
    _let_write(copy, True)
    for name, pattern in (
        ("config.toml", rf"^{setting} = .*$"),
        ("results.json", rf'"{setting}":\s*[\d.]+'),
    ):
        text = (copy / name).read_text()
        written = f"{setting} = {value}" if name == "config.toml" else f'"{setting}": {value}'
        (copy / name).write_text(re.sub(pattern, written, text, flags=re.MULTILINE))
    return copy


def test_every_verb_that_reads_a_run(run, kept, tmp_path):
    train, adapted, library = (kept / name for name in ("train", "adapted", "library"))
    seeded = _as_if(train, tmp_path / "seeded", "seed", 1)
    other = _as_if(train, tmp_path / "other", "alpha", 77)
    for words in (
        ["evaluate", train],
        ["evaluate", train, seeded, "--json"],
        ["evaluate", train, "--grader", "exact"],
        ["evaluate", adapted],
        ["evaluate", library],
        ["compare", train, other],
        ["report", train, "--markdown"],
        ["report", train, "--out", tmp_path / "report"],
        ["ask", kept / "model", "How tall?", "--adapter", adapted, "--max-new-tokens", 2],
        ["ask", kept / "model", "How tall?", "--adapter", library, "--max-new-tokens", 2],
    ):
        done = run(*words)
        assert done.code == 0 and done.out, done.err
    assert (tmp_path / "report" / "index.html").exists()
    done = run("signal", train)  # it has no repeats, and says so
    assert done.code == 3 and "no self-edit was tried more than once" in done.err


def test_what_would_write_there_says_so(run, kept, passages, tmp_path):
    again = small_run(kept / "model", passages, kept / "new")
    for words, fix in (
        (["report", kept / "train"], "name another folder with --out"),
        (["report", kept / "train", "--out", kept / "new"], "name another folder with --out"),
        (again, ""),
        (["adapt", kept / "model", kept / "documents", "--out", kept / "adapted"], ""),
    ):
        done = run(*words)
        assert done.code == 4 and ("permission denied" in done.err or "read-only" in done.err)
        assert fix in done.err


def test_a_run_that_was_killed_has_a_log_beside_its_ledger(run, kept, tmp_path):
    """The log is only read with an index, for which there is no room: a copy is."""
    _let_write(kept, True)
    ledger = kept / "train" / "ledger.sqlite"
    shutil.copy(ledger, tmp_path / "ledger")
    try:
        with closing(sqlite3.connect(ledger)) as db:
            db.execute("PRAGMA user_version = 4")  # the log is there while this is open
            db.commit()
            assert Path(f"{ledger}-wal").stat().st_size
            shutil.copytree(kept / "train", kept / "killed")
        (kept / "killed" / "ledger.sqlite-shm").unlink()
        _let_write(kept, False)
        done = run("evaluate", kept / "killed", "--grader", "exact")
        assert done.code == 0, done.err
    finally:
        _let_write(kept, True)
        shutil.rmtree(kept / "killed")
        shutil.copy(tmp_path / "ledger", ledger)
        _let_write(kept, False)


def test_caches_that_cannot_be_written(run, kept, passages, tmp_path):
    """Nothing of what is kept for later is needed for a run."""
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(kept))
    places = nowhere | {"MPLCONFIGDIR": None, "HF_HOME": None, "SELFEDIT_CACHE": None}
    done = run(*small_run(kept / "model", passages, tmp_path / "run"), environment=places)
    assert done.code == 0, done.err
    done = run("report", tmp_path / "run", environment=places)
    assert done.code == 0, done.err
    done = run("doctor", "--json", environment=places)
    (cache,) = [check for check in json.loads(done.out)["checks"] if check["name"] == "cache"]
    assert done.code == 4 and not cache["ok"]
    done = run("models", "fetch", "smollm2-135m", environment=places)
    assert done.code == 4 and "set SELFEDIT_CACHE" in done.err
    judge = ["--grader", "judge", "--judge.endpoint.model", "m"]
    done = run("evaluate", kept / "train", *judge, environment=places)
    assert done.code == 4 and "cannot be kept" in done.err and "SELFEDIT_CACHE" in done.err


@pytest.fixture(scope="module")
def printing(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[object]]:
    """A command of every verb that prints what somebody wrote."""
    folder = tmp_path_factory.mktemp("printing")
    tasks = write_tasks(folder / "tasks.json", [small_task()])
    task = next(iter(json.loads(tasks.read_text())))
    recipe = folder / "recipe.toml"
    recipe.write_text(f'model = "{kept / "model"}"\n')
    train, library = kept / "train", kept / "library"
    return [
        ["--help"],
        ["train", "--help"],
        ["arc", "--help"],
        ["evaluate", train],
        ["evaluate", library],
        ["evaluate", kept / "adapted"],
        ["evaluate", "塔"],
        ["compare", train, library],
        ["report", train, "--markdown"],
        ["report", train, "--out", folder / "塔"],
        ["show", recipe, "--ids"],
        ["signal", train],
        ["models"],
        ["data"],
        ["arc", "show", task, "--source", tasks],
        ["ask", kept / "model", "Wie hoch – “é” 塔?", "Why?", "--max-new-tokens", 8],
    ]


@pytest.fixture(scope="module")
def plain(printing: list[list[object]]) -> list[Done]:
    """What they print on a terminal that speaks UTF-8."""
    ended = [in_a_child(words) for words in printing]
    return [done for done in ended if done is not None]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_of_another_encoding_shows_the_same_with_marks_for_letters_it_lacks(
    printing, plain, encoding
):
    for words, expected in zip(printing, plain, strict=True):
        done = in_a_child(words, encoding=encoding)
        assert done is not None and "Traceback" not in done.err, done
        assert done.code == expected.code in (0, 2, 3), done.err
        if not set("─━") & set(expected.out):  # boxes are drawn with other letters
            assert done.out == expected.out.encode(encoding, "replace").decode(encoding)
