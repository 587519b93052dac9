"""The same list of hostile names through every verb that prints or writes: nothing raw, nothing
outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from payloads import PAYLOADS, raw_in
from selfedit.cli import doctor, main
from selfedit.cli.command import say
from selfedit.cli.output import print_table
from selfedit.run.folder import RunFolder
from selfedit.run.progress import PlainProgress
from selfedit.storage.files import canonical_json
from tiny_arc import small_task, write_tasks

SETTINGS = {"model": "m", "seed": 1}
Shown = Callable[..., str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """What a command wrote to both streams; it ends in a result or a message, with nothing raw in
    either.
    """

    def run(*words: object) -> str:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert code in (0, 2, 3, 4), captured.err
        assert raw_in(captured.out + captured.err) == []
        return captured.out

    return run


def results(name: str) -> dict[str, Any]:
    row = {"accuracy": 0.5, "se": None, "n": 1}
    return {
        "experiment": name,
        "title": name,
        "rows": [{"method": method, **row} for method in (name, "base", "own", "seal-1")],
        "names": {"base": name},
        "paired": [{"a": name, "b": "base", "difference": 0.1, "se": 0.1, "n": 2}],
        "tables": [{"title": name, "columns": [name, "x"], "rows": [[name, "1"]]}],
        "notes": [name],
        "tasks": {"train": [name], "heldout": [name]},
        "contexts": {method: {name: 0.5} for method in (name, "base", "own", "seal-1")},
        "self_edits": [{"policy": name, "n": 1, "tokens": 3.0}],
        "order": [{"from": name, "to": name, "holds": True, "z": None}],
        "model": {"name": name},
        "grader": name,
    }  # fmt: skip


@pytest.fixture(params=PAYLOADS.values(), ids=PAYLOADS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def finished(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "run"
    with RunFolder.open(folder, SETTINGS, kind="knowledge") as run:
        run.write_results(results(name))
    return folder


@pytest.fixture
def everything(tmp_path: Path) -> Callable[[], set[Path]]:
    """The files around the run's folder."""
    return lambda: {
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and (tmp_path / "run") not in path.parents
    }


def test_evaluate(shown: Shown, finished: Path) -> None:
    shown("evaluate", finished)
    assert json.loads(shown("evaluate", finished, "--json"))


def test_evaluate_on_a_terminal(
    shown: Shown, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    shown("evaluate", finished)


def test_report(shown: Shown, finished: Path, everything: Callable[[], set[Path]]) -> None:
    before = everything()
    shown("report", finished)
    assert everything() == before
    page = (finished / "report" / "index.html").read_text()
    assert "<script" not in page and "<img src=x" not in page and raw_in(page) == []


def test_report_as_markdown(shown: Shown, finished: Path) -> None:
    text = shown("report", finished, "--markdown")
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    kinds = {child.type for token in tokens for child in token.children or []}
    assert not kinds & {"link_open", "image", "html_inline"}
    assert not any(token.type in ("html_block", "heading_open") for token in tokens)


def test_arc_show(
    shown: Shown, name: str, tmp_path: Path, everything: Callable[[], set[Path]]
) -> None:
    (tmp_path / "set.json").write_text(
        json.dumps(
            {
                name: (
                    json.loads(
                        write_tasks(tmp_path / "one.json", [small_task()]).read_text()
                    ).popitem()[1]
                )
            }
        )
    )
    before = everything()
    shown("arc", "show", "--source", tmp_path / "set.json", "--", name)
    shown(
        "arc",
        "show",
        "--source",
        tmp_path / "set.json",
        "--picture",
        tmp_path / "p.png",
        "--",
        name,
    )
    # A task whose id holds half a character is refused as it is read: nothing could keep that id.
    drawn = set() if "\ud800" in name else {tmp_path / "p.png"}
    assert everything() == before | drawn


def test_arc_filter(shown: Shown, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filtered = {"filter": {name: True}, "kept": [name], "notes": [name]}
    monkeypatch.setattr("selfedit.cli.fetching.have_model", lambda *_, **__: None)
    monkeypatch.setattr("selfedit.experiments.arc.verbs.run_filter", lambda *_, **__: filtered)
    shown("arc", "filter")


def test_doctor(shown: Shown, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_checks", lambda: [doctor.Check(name, False, name, name)])
    shown("doctor")


@pytest.mark.parametrize(
    "words", [["arc", "show", "--"], ["evaluate", "--"], ["report", "--"], ["grade", "--"]]
)
def test_a_name_that_is_nothing(shown: Shown, name: str, words: list[str]) -> None:
    shown(*words, name)


def test_tables_messages_and_progress(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    print_table([name, name], [[name, name]], title=name)
    say(name)
    with PlainProgress(sys.stderr).task(name, total=2) as task:
        task.advance(note=name)
    captured = capsys.readouterr()
    assert raw_in(captured.out + captured.err) == []


def test_json_escapes_what_is_no_ascii(name: str) -> None:
    assert canonical_json({name: name}).isascii()
