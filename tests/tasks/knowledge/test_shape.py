"""What a self-edit looks like in numbers, against values worked out by hand."""

from __future__ import annotations

import pytest

from selfedit.config import EditSettings
from selfedit.tasks.knowledge.edits import parse_edit
from selfedit.tasks.knowledge.shape import (
    compression_ratio,
    lexical_diversity,
    shape,
    states_one_fact,
)


@pytest.mark.parametrize(
    ("line", "one"),
    [
        ("Orda Mirane built the harbour of Vell.", True),
        ("The bell is called Old Tam", True),
        (
            "Dr. Mirane lived in St. Orm.",
            False,
        ),  # coarse: an abbreviation looks like the end of a sentence
        ("The harbour has nine piers. It was built in 1412.", False),
        ("The harbour has nine piers, and it was built in 1412.", False),
        ("The harbour was built in 1412; it has nine piers.", False),
        ("The harbour was built because the town had no port.", False),
        ("Piers, bells and lamps are made in Vell.", True),
        ("Vell.", False),
        (" ".join(["word"] * 26), False),
    ],
)
def test_one_fact_by_rule(line: str, one: bool) -> None:
    assert states_one_fact(line) is one


def test_diversity_does_not_fall_with_length() -> None:
    words = " ".join(f"w{n}" for n in range(60))
    assert lexical_diversity("a b a b") == 0.5
    assert lexical_diversity(words) == lexical_diversity(f"{words} {words}") == 1.0
    assert lexical_diversity("!?") is None


def test_repetition_compresses() -> None:
    line = "Orda Mirane built the harbour of Vell in 1412.\n"
    assert compression_ratio(line * 20) > 5 * compression_ratio(line)
    assert compression_ratio("") is None


def test_the_shape_of_an_edit() -> None:
    text = (
        "1. Vell has nine piers.\n2. Orda built it, and she lived there.\nQuestion: Who?\nAnswer:"
        " Orda."
    )
    found = shape(text, parse_edit(text, EditSettings()))
    assert found.lines == 3 and found.single_fact == pytest.approx(2 / 3)
    assert shape("", parse_edit("", EditSettings())).single_fact is None
