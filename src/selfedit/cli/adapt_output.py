"""What `selfedit adapt` prints at its end."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfedit.cli.command import say
from selfedit.cli.output import counted, percent, print_json, print_table, write
from selfedit.storage.neutral import in_line

if TYPE_CHECKING:
    from selfedit.documents.changes import Change
    from selfedit.documents.outcome import AdaptResults
    from selfedit.documents.upkeep import LibraryResults
    from selfedit.tasks.knowledge.folder import SkippedRecord
    from selfedit.tasks.task import Context

_TITLES = 12
"""Titles that are listed; the report has all."""


def print_learned(results: Any, *, library: bool, json: bool) -> None:
    """The results, of one adapter or of a library."""
    if json:
        print_json(results)
        return
    (print_library if library else print_recall)(results)
    print_skipped(results.get("skipped", []))


def say_how_to_ask(model: str, out: Path, contexts: Sequence[Context]) -> None:
    """The command that asks what was learned, and the titles it takes: a question is asked under
    its passage's title, as in training.
    """
    # In order, each once: passages of one document share its title.
    titles = list(dict.fromkeys(in_line(context.title) for context in contexts if context.title))
    words = ["selfedit", "ask", model, "YOUR QUESTION", "--adapter", str(out)]
    say(f"ask it: {shlex.join([*words, *(['--title', titles[0]] if titles else [])])}")
    if len(titles) > 1:
        more = f" and {len(titles) - _TITLES} more" if len(titles) > _TITLES else ""
        say(f"titles: {'; '.join(titles[:_TITLES])}{more}")


def print_skipped(skipped: list[SkippedRecord]) -> None:
    """The files that were left out, each with its reason."""
    if skipped:
        rows = [[each["file"], each["reason"]] for each in skipped]
        print_table(["left out", "why"], rows)


def print_library(results: LibraryResults) -> None:
    """Every document with what was done about it, what is recalled of it, and where its questions
    go.
    """
    did = {name: word for word, names in results["done"].items() for name in names}
    rows = []
    for entry in results["documents"]:
        recall, routed = entry["recall"], results["routed"].get(entry["name"])
        answered = recall.get("accuracy")
        rows.append(
            [
                entry["name"],
                did.get(entry["name"], "?"),
                str(entry["passages"]),
                percent(answered["before"]["mean"]) if answered else "-",
                percent(answered["after"]["mean"]) if answered else "-",
                f"{recall['loss']['before']['mean']:.3f}",
                f"{recall['loss']['after']['mean']:.3f}",
                f"{100 * _rise(recall['general_loss']):+.1f}",
                f"{routed['right']}/{routed['questions']}" if routed else "-",
            ]
        )
    columns = ["document", "was", "passages", "answered %", "now %", "loss", "now", "damage %"]
    columns.append("routed right")
    print_table(
        columns, rows, title=f"{counted(len(rows), 'document')}; damage: loss on unrelated text"
    )
    for kind, names in results["done"].items():
        if names and kind != "unchanged":
            write(f"{kind}: {', '.join(names)}")


def _rise(change: Change) -> float:
    return change["after"]["mean"] / change["before"]["mean"] - 1


def print_recall(results: AdaptResults) -> None:
    """The verdict, and what is recalled before and after, with paired differences over passages."""
    for words in results["verdict"]["words"]:
        write(words)
    names = {
        "accuracy": "questions answered, %, mean over passages",
        "loss": "loss on the passages, nats a token",
        "general_loss": "loss on unrelated text, nats a token",
    }
    rows = [
        _recall_row(name, change, key == "accuracy")
        for key, name in names.items()
        if (change := results.get(key))
    ]
    print_table(["recalled", "before", "after", "difference", "se", "n"], rows)


def _recall_row(name: str, result: Change, share: bool) -> list[str]:
    gap = result["paired"]
    if share:
        cells = [percent(result["before"]["mean"]), percent(result["after"]["mean"])]
        return [
            name,
            *cells,
            percent(gap["difference"], signed=True),
            percent(gap["se"]),
            str(gap["n"]),
        ]
    cells = [
        f"{result['before']['mean']:.3f}",
        f"{result['after']['mean']:.3f}",
        f"{gap['difference']:+.3f}",
    ]
    return [name, *cells, "?" if gap["se"] is None else f"{gap['se']:.3f}", str(gap["n"])]
