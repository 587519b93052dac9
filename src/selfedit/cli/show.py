"""``selfedit show``: what a recipe asks a model and trains it on, in text and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from selfedit.cli.command import say
from selfedit.cli.output import print_json, write
from selfedit.cli.setting_options import overrides_from, with_settings

if TYPE_CHECKING:
    from selfedit.experiments.preview import TokenView


@with_settings()
def show(
    recipe: Path,
    /,
    *,
    self_edit: Path | None = None,
    ids: Annotated[bool, Parameter(name=["--ids"])] = False,
    json: bool = False,
    **overrides: Any,
) -> None:
    """What a recipe asks a model and trains it on, in text and tokens; nothing is run.

    The exact texts and tokens for one passage, or one task of few-shot ARC. Of the model only its
    tokenizer is fetched.

    Args:
        recipe: a TOML file with settings, or the name of one of ours (`selfedit recipes`); one with
            a table [arc] is of few-shot ARC.
        self_edit: a text file with a self-edit to read; a short one of the recipe's format if not
            given.
        ids: print every token's number and text too.
        json: print JSON: texts, ids, tokens, and which of them carry loss.
    """
    from selfedit.config import read_recipe, read_settings
    from selfedit.experiments.preview import passage_for, show_arc, show_knowledge
    from selfedit.lm.load import load_without_weights
    from selfedit.storage.bounded import BoundedReader

    settings = read_settings(recipe, overrides_from(overrides))
    lm = load_without_weights(settings.model, prompting=settings.prompting)
    if "arc" in read_recipe(recipe):
        source = settings.arc.train
        views = show_arc(lm, settings)
    else:
        context, source = passage_for(settings)
        text = None if self_edit is None else BoundedReader("the self-edit").text(self_edit)
        views = show_knowledge(lm, settings, context, text)
        if source not in (settings.heldout, settings.train):
            say(f"the recipe's passages are not here: shown with the first of {source}")
    if json:
        print_json(
            {"model": settings.model, "source": source, "shown": [_as_data(v) for v in views]}
        )
        return
    _print_views(views, ids)


def _as_data(view: TokenView) -> dict[str, object]:
    return {**vars(view), "learned": view.learned}


def _print_views(views: Sequence[TokenView], ids: bool) -> None:
    for view in views:
        counted = f"{len(view.ids)} tokens" + (f", loss on {sum(view.loss)}" if view.loss else "")
        write(f"--- {view.name} ({counted})")
        write(view.text)
        if ids:
            marks = view.loss or (False,) * len(view.ids)
            listed = zip(view.ids, view.tokens, marks, strict=True)
            write(" ".join(f"{number}:{token}{'*' * mark}" for number, token, mark in listed))
        write()
