"""The pages of the site that are made, not written: settings, commands, the public names, the
ledger, recipes, notebooks. mkdocs calls the functions named ``on_...`` (see ``hooks`` in
mkdocs.yml).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

from selfedit.config import Settings  # noqa: E402
from selfedit.config.by_name import about_recipe, recipe_names  # noqa: E402
from selfedit.config.described import Described, in_words, leaves  # noqa: E402
from site_pictures import PICTURES  # noqa: E402

ROOMS = {
    "config": "Settings",
    "documents": "Documents",
    "experiments": "Whole runs",
    "grading": "Grading",
    "inner": "Inner loops",
    "lm": "Language models and adapters",
    "results": "Results",
    "rl": "Reinforcement learning",
    "run": "A run's folder",
    "sampling": "Sampling",
    "tasks": "Tasks",
    "errors": "Errors",
}
"""The rooms that public names are from, as the site calls them."""
EXPERIMENT_PAGES = re.compile(r"^# (.+)$", re.MULTILINE)


def settings_page() -> str:
    """Every setting, group by group, from the pydantic models."""
    groups: dict[str, list[str]] = {}
    for dotted, field in leaves(Settings):
        row = _setting_row(dotted, in_words(field))
        groups.setdefault(dotted.rpartition(".")[0], []).append(row)
    lines = ["# Settings", "", _SETTINGS_HEAD]
    for group, rows in groups.items():
        lines += ["", f"## {group or 'The run'}", "", "| setting | what it is | default |"]
        lines += ["|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _setting_row(dotted: str, one: Described) -> str:
    allowed = "; ".join(filter(None, [" \\| ".join(one.choices), " and ".join(one.bounds)]))
    words = one.words.replace("|", "\\|") + (f"; **{allowed}**" if allowed else "")
    return f"| `{dotted}` | {words.replace('<', '&lt;')} | `{one.default or ' '}` |"


_SETTINGS_HEAD = """Every setting of a run, made from the code. In a recipe they are TOML
(`[inner.optim]` with `lr = 5e-4`, or `inner.optim.lr = 5e-4`), on the command line options with
dashes (`--edit.max-new-tokens 64`), in Python
`selfedit.make_settings({"inner": {"optim": {"lr": 5e-4}}})`. A name that does not exist and a
value out of bounds are errors that say which."""


def commands_page() -> str:
    """Every verb with its help, as the command prints it."""
    from selfedit.cli.app import app
    from selfedit.cli.verbs import VERBS

    lines = ["# Commands", "", "Made from the code; `selfedit VERB --help` says the same."]
    for group, verbs in VERBS.items():
        lines += ["", f"## {group}"]
        for verb in verbs:
            lines += _command(app[verb], verb, "###")
    return "\n".join(lines) + "\n"


def _command(app: Any, name: str, level: str) -> list[str]:
    """One verb, and the verbs below it."""
    words = re.split(r"\n\s*Args:\n", app.help)[0]
    body = "\n\n".join(_unindented(part) for part in words.split("\n\n"))
    lines = ["", f"{level} {name}", "", body, "", f"    {_example(app)}", ""]
    below = [each for each in app if not each.startswith("-")]
    for each in below:
        lines += _command(app[each], f"{name} {each}", level + "#")
    if not below:
        lines += _options(app)
    return lines


def _example(app: Any) -> str:
    return (app.help_epilogue or "").removeprefix("For example: ")


def _unindented(paragraph: str) -> str:
    return " ".join(line.strip() for line in paragraph.strip().splitlines())


def _options(app: Any) -> list[str]:
    """A verb's own options; settings have a page."""
    rows: list[str] = []
    settings = False
    for argument in app.assemble_argument_collection(parse_docstring=True):
        groups = [getattr(group, "name", group) for group in argument.parameter.group or ()]
        settings |= "Settings" in groups
        if argument.parse and argument.show and "Settings" not in groups:
            names = ", ".join(f"`{each}`" for each in argument.names)
            words = _unindented(argument.parameter.help or "").replace("|", "\\|")
            rows.append(f"| {names} | {words} |")
    head = ["| | |", "|---|---|", *rows] if rows else []
    more = ["", "Settings are options too: [Settings](settings.md)."] if settings else []
    return [*head, *more]


def python_page() -> str:
    """Every public name, room by room, for mkdocstrings."""
    from selfedit import _NAMES, __all__, errors  # pyright: ignore[reportPrivateUsage]

    raised = " ".join(name for name in __all__ if hasattr(errors, name))
    named = {**_NAMES, "errors": raised}
    lines = ["# Python", "", "`import selfedit as se`; every name below is `se.NAME`.", ""]
    for room, title in ROOMS.items():
        homes = [home for home in named if home.split(".")[0] == room]
        lines += [f"## {title}", ""]
        for home in homes:
            for name in named[home].split():
                lines += [f"::: selfedit.{home}.{name}", ""]
    return "\n".join(lines)


def schema_page() -> str:
    """The ledger's tables and the form of ``results.json``, from the records themselves."""
    from selfedit.run.records import TABLES

    lines = ["# Ledger and results", "", _SCHEMA_HEAD]
    for table in TABLES:
        about = _unindented((table.row.__doc__ or "").split("Attributes:")[0])
        lines += ["", f"## `{table.name}`", "", about, "", f"Key: {', '.join(table.key)}.", ""]
        lines += ["| column | SQL |", "|---|---|"]
        lines += [f"| `{column.name}` | `{column.declaration}` |" for column in table.columns]
    lines += ["", "## `results.json`", "", _RESULTS_HEAD, ""]
    home = "selfedit.results.results"
    for name in ("Results", "Row", "Difference"):
        lines.append(f"- [`{name}`](python.md#{home}.{name})")
    for name in ("Published", "Reference"):
        lines += ["", f"::: {home}.{name}"]
    return "\n".join(lines) + "\n"


_SCHEMA_HEAD = """A run's folder has `config.toml` (its frozen settings), `environment.json`,
`ledger.sqlite`, `metrics.jsonl`, `adapters/`, `policy/round-N/`, `results.json`, `report/`. The
ledger is SQLite: read it with anything, while a run goes on too. Times are seconds, likelihoods
nats, accuracies shares from 0 to 1; `candidate` NULL is the unadapted model."""
_RESULTS_HEAD = """Plain JSON of the record below: no number in it is formatted, errors are standard
errors over contexts, and what is not known is null."""


def recipes_page() -> str:
    """Every recipe with what it is, and the pages of what they showed."""
    lines = ["# Recipes", "", "`selfedit recipes` lists them, `--recipe NAME` takes one.", ""]
    lines += ["| recipe | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {about_recipe(name)} |" for name in recipe_names()]
    lines += ["", "## What they showed", ""]
    for page in sorted((ROOT / "recipes").glob("*.md")):
        lines.append(f"- [{_title(page)}]({page.name})")
    return "\n".join(lines) + "\n"


def _title(page: Path) -> str:
    found = EXPERIMENT_PAGES.search(page.read_text(encoding="utf-8"))
    return found[1] if found else page.stem


def notebook_page(path: Path) -> str:
    """A notebook's texts and code, to be read."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [f"[The notebook]({path.name}) itself runs in the tests.", ""]
    for number, cell in enumerate(cells):
        text = "".join(cell["source"])
        shown = text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        # The title comes first, then where the notebook is.
        parts.insert(0, shown + "\n") if number == 0 else parts.append(shown + "\n")
    return "\n".join(parts)


def made_pages() -> Iterator[tuple[str, Callable[[], str]]]:
    """Address and maker of every page that is not in docs/."""
    yield "reference/settings.md", settings_page
    yield "reference/commands.md", commands_page
    yield "reference/python.md", python_page
    yield "reference/schema.md", schema_page
    yield "recipes/index.md", recipes_page
    yield "changelog.md", (ROOT / "CHANGELOG.md").read_text
    yield "contributing.md", (ROOT / "CONTRIBUTING.md").read_text
    for page in sorted((ROOT / "recipes").glob("*.md")):
        yield f"recipes/{page.name}", page.read_text
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        yield f"notebooks/{notebook.stem}.md", lambda path=notebook: notebook_page(path)


def on_files(files: Any, config: Any) -> Any:
    """Add the made pages."""
    from mkdocs.structure.files import File

    for address, make in made_pages():
        files.append(File.generated(config, address, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Pages keep the links that hold in the repository; on the site recipes lie within docs."""
    at = page.file.src_uri
    if at.startswith("recipes/"):
        markdown = markdown.replace("](../docs/", "](../")
    elif "/" not in at:
        markdown = markdown.replace("](../recipes/", "](recipes/").replace("](docs/", "](")
    for name, draw in PICTURES.items():
        if (mark := f"<!-- picture: {name} -->") in markdown:
            markdown = markdown.replace(mark, draw())
    return markdown
