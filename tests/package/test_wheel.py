"""The package that people install: what is in it file by file, what PyPI shows, and the README's
commands in an environment that has nothing else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import versions

ROOT = Path(__file__).resolve().parents[2]
DATA = {
    "selfedit/py.typed",
    "selfedit/grading/calibrated.json",
    "selfedit/grading/words.txt",
    "selfedit/retention/facts.txt",
    "selfedit/retention/general.txt",
    "selfedit/retention/questions.txt",
    "selfedit/recipes/cpt-external.jsonl",
    "selfedit/tasks/knowledge/corpus/choose.json",
    "selfedit/tasks/knowledge/corpus/heldout.json",
    "selfedit/tasks/knowledge/corpus/learn.json",
    "selfedit/tasks/knowledge/corpus/sealed.json",
    "selfedit/tasks/knowledge/corpus/train.json",
    "selfedit/view/page/api.js",
    "selfedit/view/page/app.js",
    "selfedit/view/page/ask.js",
    "selfedit/view/page/charts.js",
    "selfedit/view/page/compare.js",
    "selfedit/view/page/context.js",
    "selfedit/view/page/dom.js",
    "selfedit/view/page/edits.js",
    "selfedit/view/page/icon.svg",
    "selfedit/view/page/index.html",
    "selfedit/view/page/run.js",
    "selfedit/view/page/runs.js",
    "selfedit/view/page/style.css",
}
"""Every file of the wheel that is neither Python nor a recipe: one that is added is added here."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as it would be for PyPI."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "-q", "-o", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What PyPI is told."""
    with zipfile.ZipFile(wheel) as packed:
        name = next(name for name in packed.namelist() if name.endswith("/METADATA"))
        return Parser().parsestr(packed.read(name).decode())


def test_the_wheel_file_by_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    source = ROOT / "src" / "selfedit"
    modules = {f"selfedit/{file.relative_to(source).as_posix()}" for file in source.rglob("*.py")}
    recipes = {f"selfedit/recipes/{file.name}" for file in (ROOT / "recipes").glob("*.toml")}
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == modules | recipes | DATA
    assert {name.partition("/")[2] for name in about} == {
        "METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE",
    }  # fmt: skip


def test_twine_finds_nothing_wrong(wheel: Path) -> None:
    check = [sys.executable, "-m", "twine", "check", "--strict", str(wheel)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_of_the_page_on_pypi_leads_somewhere(metadata: Message) -> None:
    page = str(metadata.get_payload())
    assert re.findall(r"\]\((?!https://|#)", page) == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    inside = project["urls"]["Repository"] + "/blob/main/"
    ours = [link for link in re.findall(r"\]\((https://[^)]+)\)", page) if inside in link]
    assert len(ours) > 10
    for link in ours:
        assert (ROOT / link.removeprefix(inside)).exists(), link
    assert {url.partition(", ")[0] for url in metadata.get_all("Project-URL", [])} == set(
        project["urls"]
    )


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with the wheel and what it needs, the newest of it, nothing
    else.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    pip += ["--python", str(folder / "bin" / "python"), "install", "-q"]
    # Of other versions of torch pip may choose one with gigabytes of CUDA.
    install = [*pip, f"torch=={versions.pinned_torch()}", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "bin" / "selfedit"


def test_the_readmes_commands_after_a_fresh_install(
    installed: Path, small_folder: Path, tmp_path: Path
) -> None:
    kept = ("PATH", "HOME", "SELFEDIT_CACHE", "XDG_CACHE_HOME", "TMPDIR")
    plain = {name: value for name, value in os.environ.items() if name in kept}

    def selfedit(*words: object) -> str:
        command = [str(installed), *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    (tmp_path / "handbook.md").write_text("# Vell\nThe harbour of Vell has nine piers.\n")
    quick = ["--inner.lora.rank=2", "--inner.optim.epochs=1", "--samples=0"]
    selfedit("adapt", small_folder, "handbook.md", "-o", "handbook/", *quick)
    assert "What" not in selfedit("ask", small_folder, "Who built it?", "--adapter", "handbook/")
    selfedit("report", "handbook/")
    assert "knowledge-cpu" in selfedit("recipes")
    assert "minutes" in selfedit("train", "--recipe", "knowledge-cpu", "--dry-run")
    # What is not installed is named with the line that installs it.
    checked = subprocess.run(
        [str(installed), "doctor"], env=plain, capture_output=True, text=True, check=False
    )
    assert "pip install 'selfedit[serve]'" in checked.stdout
