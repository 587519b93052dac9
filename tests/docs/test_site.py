"""The site: built strictly, complete, and nothing of it is fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import selfedit
import site_pages
from selfedit.config import Settings
from selfedit.config.described import leaves

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_has_a_row_on_its_page() -> None:
    page = site_pages.settings_page()
    assert all(f"| `{dotted}` |" in page for dotted, _ in leaves(Settings))


def test_every_public_name_has_a_place_on_its_page() -> None:
    page = site_pages.python_page()
    for name in set(selfedit.__all__) - {"__version__"}:
        assert re.search(rf"^::: selfedit\.[\w.]+\.{name}$", page, re.MULTILINE), name


def test_every_table_of_the_ledger_is_described() -> None:
    from selfedit.run.records import TABLES

    page = site_pages.schema_page()
    assert all(f"## `{table.name}`" in page for table in TABLES)
    assert "| `reward` |" in page and "| `candidate` |" in page


def test_every_verb_has_its_help_and_its_example() -> None:
    from selfedit.cli.verbs import VERBS

    page = site_pages.commands_page()
    for verbs in VERBS.values():
        for verb, command in verbs.items():
            assert f"\n### {verb}\n" in page and f"    {command}" in page


def test_the_citation_and_the_list_for_machines_name_what_is_there() -> None:
    from selfedit._version import __version__

    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()
    listed = (ROOT / "docs" / "llms.txt").read_text()
    made = dict(site_pages.made_pages())
    for link in re.findall(r"\]\(([^)]+)/\)", listed):
        pages = {f"{link}.md", f"{link}/index.md"}
        assert pages & set(made) or (ROOT / "docs" / f"{link}.md").is_file(), link


@pytest.mark.slow
def test_the_site_is_built_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text(encoding="utf-8")
        # A link may be followed by a person; a picture, a script or a style is fetched by itself.
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]* src=[\"']?(https?:|//)", text)
        sheets = re.findall(r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect)[^>]*https?:", text)
        assert not fetched and not sheets, page
        assert "@import url(http" not in text, page
        # The theme's box with a repository's stars asks its host for them.
        assert 'data-md-component="source"' not in text, page
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:", style.read_text(encoding="utf-8")), style


def test_every_module_that_the_tree_of_rooms_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = next(block for block in text.split("```") if block.lstrip().startswith("src/selfedit/"))
    folders = ("src/selfedit", "benchmarks", "tools")
    there = {file.name for folder in folders for file in (ROOT / folder).rglob("*.py")}
    named = set(re.findall(r"\b[a-z0-9_]+\.py\b", tree))
    assert len(named) > 150 and named <= there
