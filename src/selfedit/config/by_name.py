"""Recipes by name: those that come with selfedit, wherever it is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from selfedit.config.described import nearest_names
from selfedit.errors import FormatError
from selfedit.storage.bounded import BoundedReader, is_there

FIX = "`selfedit recipes` lists those that come with selfedit; or give a TOML file"
_READER = BoundedReader("the recipe", fix=FIX, max_bytes=2**20)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def recipes_folder() -> Path:
    """Where our recipes lie: in the installed package, or beside ``src`` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"


def recipe_names() -> list[str]:
    """The names of our recipes, sorted."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def recipe_path(recipe: str | Path) -> Path:
    """The file of a recipe: a path, or one of our names where no file is called so.

    Raises:
        FormatError: it is neither.
    """
    name = str(recipe)
    if is_there(Path(recipe)) or not _NAME.fullmatch(name):
        return Path(recipe)
    if name in (ours := recipe_names()):
        return recipes_folder() / f"{name}.toml"
    likely = ", ".join(nearest_names(name, ours))
    fix = f"did you mean {likely}? {FIX}" if likely else FIX
    raise FormatError("there is no recipe and no file of this name", where=name, fix=fix)


def read_recipe(recipe: str | Path) -> dict[str, Any]:
    """What a recipe says, unchecked.

    Args:
        recipe: a TOML file, or the name of one of ours. A file that one of ours names under
            ``recipes/`` is found beside it, whatever folder this is.

    Raises:
        FormatError: it is missing or not TOML.
    """
    path = recipe_path(recipe)
    values = _READER.toml(path)
    # The one file that comes with the recipes is named as it lies in a checkout.
    external = values.get("external")
    file = external.get("file") if isinstance(external, dict) else None
    if path.parent == recipes_folder() and isinstance(file, str) and not is_there(Path(file)):
        beside = path.parent / Path(file).name
        values["external"] |= {"file": str(beside)} if is_there(beside) else {}
    return values


def about_recipe(name: str) -> str:
    """The first sentence of what one of our recipes says about itself."""
    text = (recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return re.split(r"(?<=[a-z0-9)])\. ", " ".join(lines))[0].removesuffix(".")
