"""``selfedit adapt``: documents into an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from selfedit.cli.command import say, working_with
from selfedit.cli.output import percent, print_json, print_table
from selfedit.cli.setting_options import overrides_from, with_settings

if TYPE_CHECKING:
    from selfedit.documents.adapt import AdaptResults
    from selfedit.documents.recall import Change
    from selfedit.documents.upkeep import LibraryResults
    from selfedit.tasks.knowledge.folder import SkippedRecord


@with_settings(
    "seed", "device", "dtype", "task", "edit", "inner", "answer", "judge", but=("edit.format",)
)
def adapt(
    model: str,
    documents: Annotated[list[str], Parameter(consume_multiple=True)],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    format: str = "implications",
    samples: int = 1,
    library: bool = False,
    own_questions: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
    **overrides: Any,
) -> None:
    """The model reads the documents, writes its own training data, and trains one adapter on all of
    it.

    The folder is an adapter in PEFT's format. The same command again goes on where it stopped. With
    --library it is
    one adapter a document, kept up to date: the same command after documents were added, changed or
    removed learns only what has changed, and `ask` routes each question to a document's adapter.

    Args:
        model: a short name, a folder, or a hub id.
        documents: text, Markdown, PDF, Word, PowerPoint, HTML, EPUB or CSV files, JSON with
            questions, or folders of documents.
        out: the adapter's folder.
        format: what kind of self-edit the model is asked for: implications, implications-long,
            implications-very-long, rewrite, self-qa, none, chain-of-thought, or your own as
            package.module:Name.
        samples: self-edits a passage; 0 trains on the passages alone.
        library: one adapter a document, for documents that change.
        own_questions: measure passages without questions by questions that the model writes itself.
        json: print the results as JSON.
        quiet: no progress.
    """
    from selfedit.config import read_settings

    chosen = {"model": model, "edit.format": format}
    settings = read_settings(overrides=chosen | overrides_from(overrides))
    from selfedit.tasks.knowledge.contexts import load_contexts

    # Before any model is fetched or loaded; what is left out is said here, and again at the end.
    contexts = load_contexts(list(documents))
    say(f"{len(contexts)} passages in {', '.join(documents)}")
    with working_with(settings.model, quiet=quiet) as options:
        from selfedit.documents.adapt import adapt_documents
        from selfedit.documents.upkeep import adapt_library

        learn = adapt_library if library else adapt_documents
        results: Any = learn(
            out, documents, settings, samples=samples, own_questions=own_questions, **options
        )
    if json:
        print_json(results)
        return
    (print_library if library else print_recall)(results)
    print_skipped(results.get("skipped", []))
    what = "library" if library else "adapter"
    say(f"{what}: {out}; ask it: selfedit ask {settings.model} 'YOUR QUESTION' --adapter {out}")


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
                f"{routed['right']}/{routed['questions']}" if routed else "-",
            ]
        )
    columns = ["document", "was", "passages", "answered %", "now %", "loss", "now", "routed right"]
    removed = len(results["done"].get("removed", []))
    print_table(columns, rows, title=f"{len(rows)} documents, {removed} removed")


def print_recall(results: AdaptResults) -> None:
    """What is recalled before and after, with paired differences over passages."""
    names = {
        "accuracy": "questions answered, %",
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
