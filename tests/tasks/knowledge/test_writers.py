"""EntiGraph and SPA: what is asked, and how a list of entities is read, whatever a model wrote."""

from __future__ import annotations

from itertools import combinations

import pytest

from selfedit.tasks.knowledge.writers import entigraph, spa
from selfedit.tasks.task import Context

VELL = Context("vell", "Vell", "Orda Mirane built the harbour of Vell.")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1. Orda Mirane\n2) Vell\n- the harbour\n* Vell.", ["Orda Mirane", "Vell", "the harbour"]),
        ("**Vell**\n\nVELL\n", ["Vell"]),
        ("", []),
        ("...\n***\n\x1b[2J\x00", []),
        ("a" * 500, []),
        (
            "\n".join(f"thing {n}" for n in range(99)),
            [f"thing {n}" for n in range(entigraph.MAX_ENTITIES)],
        ),
    ],
)
def test_entities_are_read(text: str, names: list[str]) -> None:
    assert entigraph.read_entities(text) == names


def test_every_pair_then_every_triple() -> None:
    names = ["Orda", "Vell", "Tarn"]
    made = entigraph.relation_prompts(VELL, names, 10, 10, seed=0)
    assert len(made) == 4 and all(VELL.text in prompt for prompt in made)
    for prompt, pair in zip(made, combinations(names, 2), strict=False):
        assert f"{pair[0]} and {pair[1]}" in prompt
    assert "Orda, Vell and Tarn" in made[3]


def test_more_than_wanted_are_drawn_by_the_seed() -> None:
    names = [f"n{n}" for n in range(12)]
    first, again, other = (
        entigraph.relation_prompts(VELL, names, 6, 3, seed) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == len(set(first)) == 9


def test_one_entity_relates_to_nothing() -> None:
    assert entigraph.relation_prompts(VELL, ["Vell"], 6, 3, seed=0) == []


def test_spa_has_seven_kinds() -> None:
    made = spa.spa_prompts(VELL, rounds=2)
    assert len(set(made)) == 7 and len(made) == 14 and made[:7] == made[7:]
    assert all(VELL.text in prompt for prompt in made)
