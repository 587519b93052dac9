"""What the features say of plain cases, and that any text has them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfedit.grading.align import closeness, span, words_in_order
from selfedit.grading.features import features
from selfedit.grading.lexicon import stem
from selfedit.grading.quantities import periods_met, quantities
from selfedit.grading.view import answer_body, sentences, viewed_text


def measured(question: str, gold: str, answer: str) -> dict[str, float]:
    return features(question, gold, answer, lambda stem: 1.0)


@pytest.mark.parametrize(
    ("gold", "answer", "name", "value"),
    [
        ("Ada Lovelace", "It was Lovelace.", "whole_surname", 1.0),
        ("Ada Lovelace", "It was Annabella Lovelace.", "whole_surname", 0.5),
        ("Ada Lovelace", "It was Babbage.", "whole_surname", 0.0),
        ("5 million", "about 5,000,000 people", "whole_numbers", 1.0),
        ("the 1970s", "in 1978", "whole_periods", 1.0),
        ("the 1970s", "in 1981", "whole_periods", 0.0),
        ("1000", "1100", "whole_number_gap", 0.1),
        ("higher", "It is lower.", "whole_opposites", 1.0),
        ("World Health Organization", "the WHO", "whole_acronym", 1.0),
        ("NATO", "the North Atlantic Treaty Organization", "whole_acronym", 1.0),
        ("salt and pepper", "salt", "parts_least", 0.0),
        ("yes", "Yes, it does.", "yes_no", 1.0),
        ("yes", "No, it does not.", "yes_no", 0.0),
        ("blue", "It is not blue.", "whole_negation_differs", 1.0),
    ],
)
def test_measures(gold: str, answer: str, name: str, value: float) -> None:
    assert measured("What?", gold, answer)[name] == value


def test_words_of_one_family_and_of_one_meaning() -> None:
    assert stem("constructing") == stem("construction")
    assert closeness(stem("flee"), stem("escaped")) == 0.9
    assert closeness("1950", "1951") == 0.0
    assert closeness(stem("khuruldai"), stem("kurultai")) >= 0.8


def test_what_follows_the_answer_is_cut_off() -> None:
    assert answer_body("Answer: Rome\n\nQuestion: and then?\nAnswer: Paris") == "Rome"
    assert sentences("It is Rome. It was Paris.\nDone") == ["It is Rome.", "It was Paris.", "Done"]
    assert viewed_text("T. J. Ward").tokens == viewed_text("T.J. Ward").tokens == ("tj", "ward")


def test_order_and_span() -> None:
    assert words_in_order(list("abcd"), list("xaybdc")) == 3
    assert span(frozenset("ab"), list("axxbxa")) == 3  # b x a
    assert span(frozenset("z"), list("ab")) == 0


def test_centuries_and_dates() -> None:
    assert (
        periods_met(quantities(["10th", "century"]), quantities(["955"])) == 0.0
    )  # not read as a year
    assert periods_met(quantities(["1960s"]), quantities(["1960"])) == 1.0
    assert periods_met(quantities(["blue"]), quantities(["1960"])) == -1.0


@settings(max_examples=150, deadline=None)
@given(st.text(), st.text(min_size=1), st.text())
def test_any_text_has_the_same_finite_features(question: str, gold: str, answer: str) -> None:
    if viewed_text(gold).tokens:
        values = measured(question, gold, answer)
        assert list(values) == list(measured("q", "g", "a"))
        assert all(value == round(value, 4) and abs(value) < 1e9 for value in values.values())
