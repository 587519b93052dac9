"""``selfedit recipes``: the recipes that come with selfedit."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from selfedit.cli.output import print_json, write


def recipes(
    name: Annotated[str | None, Parameter(show_default=False)] = None, /, *, json: bool = False
) -> None:
    """List the recipes that come with selfedit, or print one.

    Each can be given by its name wherever a recipe is asked for (`--recipe knowledge-cpu`), in any
    folder; a file of that name in the folder is taken instead. To change one, print it into a file:
    `selfedit recipes knowledge-cpu > mine.toml`

    Args:
        name: print this recipe's TOML.
        json: print names and what they are as JSON; or the recipe's settings.
    """
    from selfedit.config.by_name import about_recipe, read_recipe, recipe_names, recipe_path

    if name is not None:
        values = read_recipe(name)
        if json:
            print_json(values)
        else:
            sys.stdout.write(recipe_path(name).read_text(encoding="utf-8"))
        return
    # One line each, not a table: what a recipe is does not fit a column.
    known = {each: about_recipe(each) for each in recipe_names()}
    if json:
        print_json(known)
        return
    for each, about in known.items():
        write(f"{each:<{max(map(len, known))}}  {about}")
