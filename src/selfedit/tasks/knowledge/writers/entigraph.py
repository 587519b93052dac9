"""EntiGraph (Yang et al. 2024, arXiv 2409.07431): list a passage's entities, then write about pairs
and triples.

The first prompt asks for the entities; each further one asks how two or three of them relate in the
passage. The prompts are this project's own words for those steps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import combinations

from selfedit.tasks.task import Context

MAX_ENTITIES = 20
"""Entities of a passage that are used; the number of triples grows with its cube."""
MAX_NAME = 80
"""Characters of an entity's name: a longer line is a sentence, not a name."""

_ITEM = re.compile(r"^(?:[-*•]|\(?\d{1,3}[.):])\s*")


def entities_prompt(context: Context) -> str:
    """What asks for the entities of a passage, one a line."""
    return (
        f"{_passage(context)}\n\nList the most important names, things and ideas in this passage,"
        " one per line. Write only the names."
    )


def read_entities(text: str) -> list[str]:
    """The entities a model listed, each once, in its order; what is too long for a name is left
    out.
    """
    names: dict[str, str] = {}
    for line in text.splitlines():
        name = " ".join(_ITEM.sub("", line.strip()).strip("*_ .:;,").split())
        if any(c.isalnum() for c in name) and len(name) <= MAX_NAME and name.isprintable():
            # By case: "The Harbour" and "the harbour" are one entity, the first writing stays.
            names.setdefault(name.casefold(), name)
    return list(names.values())[:MAX_ENTITIES]


def relation_prompts(
    context: Context, entities: Sequence[str], pairs: int, triples: int, seed: int
) -> list[str]:
    """What asks how entities relate: for pairs, then for triples, at most so many of each, drawn by
    ``seed``.
    """
    chosen = [*_draw_groups(entities, 2, pairs, seed), *_draw_groups(entities, 3, triples, seed)]
    return [_relation(context, group) for group in chosen]


def _draw_groups(entities: Sequence[str], size: int, most: int, seed: int) -> list[tuple[str, ...]]:
    every = list(combinations(entities, size))
    # The size belongs to the seed: pairs and triples are drawn apart.
    return every if len(every) <= most else random.Random(f"{seed} {size}").sample(every, most)


def _relation(context: Context, group: Sequence[str]) -> str:
    names = f"{', '.join(group[:-1])} and {group[-1]}"
    return (
        f"{_passage(context)}\n\nWrite a paragraph that explains what this passage says about"
        f" {names}, and how they have to do with each other. Name each of them."
    )


def _passage(context: Context) -> str:
    return f"Passage:\n{context.title}\n{context.text}"
