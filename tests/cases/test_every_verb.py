"""Every verb that the command has, found from the command itself, with hostile names wherever a
name can stand: nothing raw on the terminal or in a file, nothing outside the folder, no traceback.

A new verb fails `test_every_verb_is_covered` until `CONTENT` says how what it reads is covered.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payloads import PAYLOADS, raw_in
from selfedit.cli import main
from selfedit.cli.app import app
from selfedit.errors import ModelUnavailable
from tiny_arc import small_task, write_tasks

Verb = tuple[str, ...]
_APART = ("half a character", "zero", "300 letters")
NAMES = ["".join(text for key, text in PAYLOADS.items() if key not in _APART)]
NAMES += [f"{NAMES[0]}{PAYLOADS[key]}" for key in _APART]
"""All payloads in one name; with what else ends every reading of a name, three more."""
SETTINGS = (
    "model",
    "train",
    "heldout",
    "task",
    "sampler",
    "edit.format",
    "edit.prompt",
    "answer.grader",
    "judge.endpoint.url",
)
"""Settings that hold a name, where a verb takes any."""
CONTENT: dict[Verb, str] = {
    ("demo",): "test_a_run_over_hostile_passages",
    ("train",): "test_a_run_over_hostile_passages",
    ("experiment",): "test_an_experiment_over_hostile_tasks",
    ("arc", "show"): "test_payloads.test_arc_show",
    ("arc", "prime"): "names only: it makes its tasks itself",
    ("arc", "filter"): "test_payloads.test_arc_filter",
    ("arc", "together"): "names only: it prints seconds",
    ("show",): "test_a_run_over_hostile_passages",
    ("adapt",): "test_hostile_documents",
    ("ask",): "test_hostile_documents",
    ("serve",): "names only: its replies are JSON; tests/serving/test_limits.py",
    ("chat",): "test_hostile_documents",
    ("export",): "test_hostile_documents",
    ("view",): "names only: its page's texts are in tests/view/test_view.py and in a browser",
    ("evaluate",): "test_payloads.test_evaluate",
    ("compare",): "test_a_run_over_hostile_passages",
    ("grade",): "test_labels_of_hostile_texts",
    ("signal",): "test_a_run_over_hostile_passages",
    ("bench", "inner"): "names only: it prints seconds",
    ("bench", "generate"): "names only: it prints seconds",
    ("bench", "profile"): "names only: it prints seconds",
    ("bench", "adapt"): "names only: it prints seconds",
    ("bench", "serve"): "names only: it prints seconds",
    ("bench", "gpu"): "names only: it prints seconds",
    ("bench", "arithmetic"): "names only: it prints seconds",
    ("bench", "racing"): "names only: it prints shares",
    ("bench", "cluster"): "names only: it prints seconds",
    ("bench", "page"): "test_a_benchmarks_page",
    ("launch", "slurm"): "names only: it reads a recipe's settings",
    ("recipes",): "names only: it prints what comes with selfedit",
    ("report",): "test_payloads.test_report",
    ("data", "seal"): "names only: it prints the names it looks for",
    ("models",): "names only: it prints the names it has",
    ("doctor",): "test_payloads.test_doctor",
}  # fmt: skip


def verbs(group: Any = app, path: Verb = ()) -> Iterator[tuple[Verb, Callable[..., Any]]]:
    """The path and the function of every verb."""
    for name in group:
        if name.startswith("-"):
            continue
        below = group[name]
        inner = list(verbs(below, (*path, name)))
        yield from inner or [((*path, name), below.default_command)]


VERBS = dict(verbs())


def commands(verb: Verb) -> Iterator[list[str]]:
    """Commands with a hostile name as each argument and as each option's value, until each name
    and each place has had its turn.
    """
    templates, names = list(_templates(verb)), NAMES
    for number in range(max(len(templates), len(names))):
        name = names[number % len(names)]
        yield [word.replace("NAME", name) for word in templates[number % len(templates)]]


def _templates(verb: Verb) -> Iterator[list[str]]:
    function: Any = VERBS[verb]
    code, signature = function.__code__, inspect.signature(function).parameters
    written = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    parameters = [signature[name] for name in written]  # without one for each setting
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in places if p.default is p.empty]
    options = [
        p.name.replace("_", "-")
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default not in (True, False)
    ]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        options += SETTINGS
    plain = ["x"] * len(needed)
    if places:
        yield [*verb, "--", *["NAME"] * max(1, len(needed))]
    for option in options:
        yield [*verb, *plain, f"--{option}=NAME"]
    yield [*verb, "--NAME"]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in; around it nothing may appear."""
    folder = tmp_path / "inside"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SELFEDIT_CACHE", str(tmp_path / "inside" / "cache"))
    return folder


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], inside: Path) -> Callable[..., str]:
    """Run a command; its output, in which nothing is raw, as in the files it leaves."""

    def run(*words: object, good: bool = False) -> str:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:  # cyclopts ends the process for wrong usage
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        assert code in ((0,) if good else (0, 2, 3, 4)), captured.err
        assert raw_in(captured.out + captured.err) == []
        check_files(inside)
        return captured.out

    return run


def check_files(folder: Path) -> None:
    """See that nothing stands outside a folder, and that in it names and texts are harmless."""
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not Path("/tmp/outside").exists()
    for path in folder.rglob("*"):
        if path.suffix in (".md", ".html", ".csv") and "given" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert raw_in(text) == [] and "<script" not in text
            # In HTML a Markdown link is text.
            assert path.suffix == ".html" or not re.search(r"(?<!\\)\]\(javascript:", text)
        if path.suffix == ".csv":
            cells = [cell for row in csv.reader(path.open()) for cell in row]
            assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_every_verb_is_covered() -> None:
    assert set(CONTENT) == set(VERBS)


def test_what_is_said_to_cover_a_verb_is_there() -> None:
    here = Path(__file__)
    tests = here.read_text() + here.with_name("test_payloads.py").read_text()
    for covered in CONTENT.values():
        assert covered.startswith("names only") or f"def {covered.rpartition('.')[2]}(" in tests


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_hostile_name_in_every_place(
    verb: Verb, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(name: str, **_: Any) -> Path:
        raise ModelUnavailable("no model in this test", where=name)

    def no_cluster(shape: object, out: Path) -> None:
        raise ModelUnavailable("no cluster in this test", where=out)

    monkeypatch.setattr("selfedit.cli.fetching.have_model", no_model)
    monkeypatch.setattr("selfedit.models.names.model_path", no_model)
    monkeypatch.setattr("selfedit.cli.doctor._checks", lambda: [])
    monkeypatch.setattr("benchmarks.cluster.bench_cluster", no_cluster)
    for words in commands(verb):
        shown(*words)


def passages(folder: Path) -> Path:
    """Passages whose titles, questions and answers are hostile; both halves of a run."""
    records = [
        {
            "title": name,
            "context": f"{name} was built by Ada {name} in 1412.",
            "questions": [{"id": f"{name}/1", "question": f"Who built {name}?", "answer": f"Ada {name}"}],
        }
        for name in PAYLOADS.values()
        if name.strip() and "\ud800" not in name  # a reader of data refuses half a character
    ]  # fmt: skip
    for half, part in (("learn", records[:6]), ("held", records[6:])):
        (folder / f"{half}.json").write_text(json.dumps(part))
    return folder


@pytest.mark.slow
def test_a_run_over_hostile_passages(
    shown: Callable[..., str], small_folder: Path, inside: Path
) -> None:
    given = inside / "given"
    given.mkdir()
    passages(given)
    settings = {
        "model": small_folder, "train": given / "learn.json", "heldout": given / "held.json",
        "edit.max_new_tokens": 16, "answer.max_new_tokens": 6, "inner.optim.epochs": 1, "inner.lora.rank": 2,
        "rl.contexts": 4, "rl.candidates": 2, "rl.reward.threshold": -1, "rl.mstep.lora.rank": 2,
        "rl.mstep.optim.epochs": 1, "eval.methods": "base,own,seal",
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in settings.items()]
    for run, alpha in (("one", 4), ("two", 8)):
        shown("train", "--out", inside / run, *words, f"--inner.lora.alpha={alpha}", good=True)
    shown("evaluate", inside / "one", good=True)
    shown("evaluate", inside / "one", "--grader", "contains", good=True)
    shown("compare", inside / "one", inside / "two", good=True)
    shown("signal", inside / "one")
    shown("report", inside / "one", good=True)
    shown("report", inside / "one", "--markdown", good=True)
    (inside / "r.toml").write_text(
        f'model = "{small_folder}"\ntrain = "{given / "learn.json"}"\nheldout = "{given / "held.json"}"\n'
    )
    for more in ([], ["--ids"]):
        shown("show", inside / "r.toml", *more, good=True)


@pytest.mark.slow
def test_an_experiment_over_hostile_tasks(
    shown: Callable[..., str], small_folder: Path, inside: Path
) -> None:
    given = inside / "given"
    given.mkdir()
    names = [name for name in PAYLOADS.values() if name.strip() and "\ud800" not in name]
    numbered = zip(names, range(len(names)), strict=True)
    tasks = [replace(small_task(seed=seed), id=name) for name, seed in numbered]
    for half, part in (("learn", tasks[:4]), ("held", tasks[4:])):
        write_tasks(given / f"{half}.json", part)
    settings = {
        "model": small_folder, "arc.train": given / "learn.json", "arc.heldout": given / "held.json",
        "rl.rounds": 0, "eval.methods": "base", "arc.answer.max_new_tokens": 6, "arc.answer.orders": 1,
        "arc.answer.views": "identity",
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in settings.items()]
    shown("experiment", "few-shot", "--out", inside / "run", *words, good=True)
    shown("report", inside / "run", good=True)
    assert len(list((inside / "run" / "report").glob("task-*.png"))) >= 4
    shown("report", inside / "run", "--markdown", good=True)


@pytest.mark.slow
def test_hostile_documents(
    shown: Callable[..., str], small_folder: Path, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = inside / "given"
    given.mkdir()
    for number, name in enumerate(PAYLOADS.values()):
        text = f"# {name}\n\nThe harbour of {name} was built in 1412.\n"
        stem = f"{number} {name}".replace("/", "\u2215").replace("\0", "")[:80]
        (given / f"{stem}.md").write_bytes(
            text.encode("utf-8", "replace")
        ) if "\ud800" not in stem else None
    quick = ["--inner.lora.rank=2", "--inner.optim.epochs=1", "--samples=0"]
    shown("adapt", small_folder, given, "-o", inside / "adapter", *quick, good=True)
    first = sorted(given.glob("*.md"))[:3]
    shown("adapt", small_folder, *first, "-o", inside / "library", "--library", *quick, good=True)
    questions = [name for name in PAYLOADS.values() if "\ud800" not in name and "\0" not in name]
    for adapter in ("adapter", "library"):
        shown("ask", small_folder, "--max-new-tokens=4", f"--adapter={inside / adapter}", f"--title={questions[0]}",
              "--", *questions)  # fmt: skip
        lines = [*questions, *(f"/from {name}" for name in questions), "/source"]
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
        shown("chat", inside / adapter, "--max-new-tokens=4", good=True)
    # Its card has what was measured of them, and the command with their paths.
    shown("export", inside / "adapter", "-o", inside / "exported", "--as", "gguf", good=True)
    assert "facts" in (inside / "exported" / "README.md").read_text("utf-8")
    shutil.rmtree(given)


def test_labels_of_hostile_texts(shown: Callable[..., str], inside: Path) -> None:
    rows = [
        {"question": name, "gold": name, "prediction": other, "votes_yes": 1, "votes": 3}
        for name in PAYLOADS.values()
        for other in (name, "Ada")
        if name.strip()
    ]
    (inside / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for grader in ("calibrated", "concise", "contains", "exact", "f1"):
        shown("grade", inside / "labels.jsonl", "--grader", grader, good=True)
        shown("grade", inside / "labels.jsonl", "--grader", grader, "--json", good=True)


@pytest.mark.parametrize("name", PAYLOADS.values(), ids=PAYLOADS)
def test_a_benchmarks_page(shown: Callable[..., str], inside: Path, name: str) -> None:
    target = {"figure": name, "bound": name, "measured": 1.5, "met": True}
    stored = {"same": 0.5, "se": None, "n": 3, "races": 2, "saved": 0.1}
    bench = {
        "benchmark": "racing", "notes": [name], "repeats": 3, "simulated": None, "stored": stored, "targets": [target],
    }  # fmt: skip
    (inside / "results.json").write_text(json.dumps(bench))
    (inside / "page.md").write_text("<!-- bench racing -->\n<!-- end -->\n")
    shown("bench", "page", inside / "page.md", inside / "results.json", good=True)
