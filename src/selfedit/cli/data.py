"""``selfedit data``: the paper's data files, looked through and linked for its recipes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cyclopts import App

from selfedit.cli.output import print_json, print_table, write
from selfedit.cli.verbs import example_of

data = App(
    name="data",
    help=(
        "The paper's data files: look through them, link them where its recipes expect them.\n\n"
        "The recipes named *-paper read them; nothing is fetched."
    ),
    help_format="markdown",
    help_epilogue=example_of("data"),
)


@data.command(help_epilogue=example_of("data"))
def seal(folder: Path, /, *, into: Path = Path("data/seal"), json: bool = False) -> None:
    """Find SEAL's data files in a copy of its repository, check and link them.

    They are linked by their names into a folder. The paper's recipes look for them in data/seal.
    Nothing is copied or changed.

    Args:
        folder: the copy of the repository, or any folder with the files somewhere below it.
        into: where the links are put.
        json: print the files as JSON.
    """
    from selfedit.tasks.knowledge.seal_data import check_seal, link_seal

    files = check_seal(folder)
    links = link_seal(files, into)
    if json:
        linked = zip(files, links, strict=True)
        print_json([{**asdict(file), "link": link} for file, link in linked])
        return
    rows = [
        [f.name, str(f.passages), str(f.questions), str(f.self_edits or "-"), f.sha256[:12]]
        for f in files
    ]
    heads = ["file", "passages", "questions", "self-edits a passage", "sha256"]
    print_table(heads, rows)
    write(f"linked into {into}")
