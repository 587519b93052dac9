"""``selfedit models``: the models with short names."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from selfedit.cli.output import print_json, print_table, write
from selfedit.errors import UsageError


def models(
    action: Literal["list", "path", "fetch"] = "list",
    name: str | None = None,
    /,
    *,
    force: bool = False,
    json: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """The models with short names: list them, fetch one, print its folder.

    A folder is printed once the model is in it: it is fetched first if need be.

    Args:
        action: list, path or fetch.
        name: for path and fetch: a short name, a folder, or a hub id (owner/name).
        force: fetch again what is there already.
        json: print JSON.
        quiet: no bar.
    """
    if action == "list":
        _list_models(json)
        return
    if name is None:
        raise UsageError(
            f"which model? `models {action}` needs a name",
            fix="`selfedit models` lists the short names",
        )
    from selfedit.cli.fetching import have_model

    folder = have_model(name, quiet=quiet, force=force and action == "fetch")
    if json:
        print_json({"model": name, "path": folder})
    else:
        write(folder)


def _list_models(json: bool) -> None:
    from selfedit.models.names import list_models

    infos = list_models()
    if json:
        print_json(infos)
        return
    rows = [
        [m.alias, f"{m.size / 1e6:.0f}", "yes" if m.cached else "no", m.licence, m.source]
        for m in infos
    ]
    print_table(["model", "MB", "here", "licence", "source"], rows)
