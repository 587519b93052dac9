"""A run's tables as Markdown, and a page's block of them rewritten: the numbers of recipes/*.md come from here only.

A page marks where tables go: ``<!-- results: NAME -->`` and ``<!-- end of results -->``, each on a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selfedit.errors import DataError
from selfedit.report.further import further_tables
from selfedit.report.words import method_name
from selfedit.storage.files import write_atomic
from selfedit.storage.neutral import in_line, in_markdown

END = "<!-- end of results -->"


def begin(name: str) -> str:
    """The line before a block."""
    return f"<!-- results: {name} -->"


def markdown(results: Mapping[str, Any]) -> str:
    """Rows, paired differences and what else was found, as Markdown; published numbers in a column beside ours.

    Raises:
        DataError: the results hold no table.
    """
    if not results.get("rows"):
        fix = "give the folder of a finished experiment"
        raise DataError("there is no table of methods in these results", where=results.get("experiment"), fix=fix)
    published = results.get("published", {})
    parts = [_about(results), _rows(results, published), _paired(results, published), _training(results)]
    parts += [_tasks(results), *_more(results), _notes(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def rewrite(page: Path, name: str, text: str) -> None:
    """Put ``text`` into the page's block of that name; the rest of the page stays as it is.

    Raises:
        DataError: the page cannot be read, or has no such block.
    """
    try:
        before = page.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the page cannot be read: {error}", where=page) from error
    block = re.compile(rf"({re.escape(begin(name))}\n).*?({re.escape(END)})", re.DOTALL)
    if len(block.findall(before)) != 1:
        fix = f"put these two lines where the tables shall be:\n    {begin(name)}\n    {END}"
        raise DataError(f"the page has not one block of results named {name!r}", where=page, fix=fix)
    write_atomic(page, block.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", before).encode())


def _about(results: Mapping[str, Any]) -> str:
    settings = results.get("settings", {})
    seeds = results.get("inner_seeds") or settings.get("eval", {}).get("repeats", 1)
    runs = results.get("seeds", [settings.get("seed", "?")])
    about = [
        f"Model {_code(results.get('model', {}).get('name'))}",
        *([f"grader {_code(results['grader'])}"] if "grader" in results else []),
        f"{seeds} inner seed{'s' if seeds > 1 else ''}",
        f"run seed{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}",
    ]
    published = results.get("published", {})
    beside = published.get("rows") or published.get("matrix")
    counted = results.get("title", "n counts passages, the standard error is over passages")
    said = f"{', '.join(about)}. {in_markdown(counted)}."
    return f"{said} Published: {in_markdown(published['source'])}." if beside and "source" in published else said


def _rows(results: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    theirs = published.get("rows", {})
    columns = ["method", "accuracy %", "se", "n", *(["published %", "se", "n"] if theirs else [])]
    rows = []
    for row in results["rows"]:
        found = theirs.get(row["method"])
        more = [] if not theirs else ["", "", ""] if found is None else _published(found)
        rows.append(
            [method_name(results, row["method"]), _percent(row["accuracy"]), _percent(row["se"]), row["n"], *more]
        )
    return _table(columns, rows)


def _paired(results: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    if not results.get("paired"):
        return ""
    theirs = {(gap["b"], gap["a"]): gap for gap in published.get("paired", [])}
    columns = ["paired difference", "points", "se", "n", *(["published", "se", "n"] if theirs else [])]
    columns += [f"each of {results['runs']} runs", "se over runs"] if "runs" in results else []
    rows = []
    for gap in results["paired"]:
        found = theirs.get((gap["b"], gap["a"]))
        more = [] if not theirs else ["", "", ""] if found is None else _published(found, "+")
        if "runs" in results:
            more += [", ".join(_percent(one, "+") for one in gap["by_run"]), _percent(gap["se_runs"])]
        rows.append(
            [f"{gap['a']} − {gap['b']}", _percent(gap["difference"], "+"), _percent(gap["se"]), gap["n"], *more]
        )
    return _table(columns, rows)


def _training(results: Mapping[str, Any]) -> str:
    if not results.get("training"):
        return ""
    rows = [
        [method, run["documents"], run["steps"], run["tokens"], f"{run['losses'][0]:.3f}", f"{run['losses'][-1]:.3f}"]
        for method, runs in results["training"].items()
        for run in runs
    ]
    return _table(["trained on", "documents", "steps", "tokens", "first loss", "last loss"], rows)


def _tasks(results: Mapping[str, Any]) -> str:
    """Each held-out task with the share of its trials that solved it, and the names of those that RL learned on."""
    if "tasks" not in results:
        return ""
    methods = [row["method"] for row in results["rows"]]
    rows = [
        [name, *(_percent(results["contexts"][method].get(name)) for method in methods)]
        for name in results["tasks"]["heldout"]
    ]
    table = _table(["held-out task, solved %", *methods], rows)
    return f"{table}\n\nRL learned on: {', '.join(map(in_markdown, results['tasks']['train'])) or 'none'}."


def _more(results: Mapping[str, Any]) -> list[str]:
    tables = [*results.get("tables", []), *further_tables(results)]
    return [f"{_lead(t['title'])}\n\n{_table(t['columns'], t['rows'])}" for t in tables]


def _lead(title: str) -> str:
    """A title as the words before a table."""
    return in_markdown(title if title.endswith("?") else f"{title}:", starts_line=True)


def _notes(results: Mapping[str, Any]) -> str:
    return "\n".join(f"- {in_markdown(note, starts_line=True)}" for note in results.get("notes", []))


def _published(found: Mapping[str, Any], sign: str = "") -> list[object]:
    return [_percent(found["value"], sign), "" if found["se"] is None else _percent(found["se"]), found["n"]]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(in_markdown(cell) for cell in line)} |" for line in lines)


def _code(value: object) -> str:
    return f"`{in_line(value).replace('`', '').replace('|', '/')}`"


def _percent(share: float | None, sign: str = "") -> str:
    return "?" if share is None else f"{100 * share:{sign}.1f}"
