"""The held-out passages under each method, and the table of it, against hand computation."""

import math

import pytest

from selfedit.errors import UsageError
from selfedit.lm.load import load
from selfedit.results.compare import compare
from selfedit.rl.evaluate import METHODS, check_methods, context_scores, evaluate, held_out
from tiny_run import contexts, session_in, tiny_settings
from trials import answers_in, trainings_in


def as_dict(found):
    """A comparison as results.json has it."""
    return {
        "rows": [row.as_dict() for row in found.rows],
        "paired": [gap.as_dict() for gap in found.paired],
    }


def test_the_table_by_hand():
    made = as_dict(
        compare({"base": {"a": 0.0, "b": 0.5, "c": 0.25}, "own": {"c": 0.5, "a": 0.5, "b": 1.0}})
    )
    base, own = made["rows"]
    # Mean .25, deviations −.25 .25 0: variance .0625, over root 3.
    assert base == {
        "method": "base",
        "accuracy": pytest.approx(0.25),
        "se": pytest.approx(0.25 / math.sqrt(3)),
        "n": 3,
    }
    assert own["accuracy"] == pytest.approx(2 / 3) and own["n"] == 3
    # Differences .5 .5 .25: mean 1.25/3, squared deviations add up to 1/24.
    (gap,) = made["paired"]
    assert (gap["a"], gap["b"], gap["n"]) == ("own", "base", 3)
    assert gap["difference"] == pytest.approx(1.25 / 3) and gap["se"] == pytest.approx(
        math.sqrt(1 / 24 / 2 / 3)
    )


def test_neighbours_are_paired_and_one_context_has_no_error():
    made = as_dict(
        compare(
            {name: {"a": value} for name, value in [("base", 0.0), ("passage", 0.5), ("own", 1.0)]}
        )
    )
    assert [(gap["a"], gap["b"], gap["difference"]) for gap in made["paired"]] == [
        ("passage", "base", 0.5),
        ("own", "passage", 0.5),
    ]
    assert [row["se"] for row in made["rows"]] == [None] * 3
    assert as_dict(compare({})) == {"rows": [], "paired": []}


def test_unknown_methods_are_named():
    check_methods(tuple(METHODS))
    with pytest.raises(UsageError, match="'magic'") as caught:
        check_methods(("base", "magic"))
    assert "seal" in str(caught.value.fix)


@pytest.fixture(scope="module")
def measured(small_folder, tmp_path_factory):
    """Four passages under every method, two samples and two repeats."""
    settings = tiny_settings(eval__samples=2, eval__repeats=2)
    session = session_in(
        tmp_path_factory.mktemp("run") / "run", load(str(small_folder), device="cpu"), settings
    )
    with session.run:
        for method in METHODS:
            evaluate(session, method, contexts(4))
        yield session


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_means_over_samples_repeats_and_questions(measured, method):
    answers = answers_in(measured.run.ledger, held_out(method))
    each = {"base": 3, "own": 2 * 2 * 3, "seal": 2 * 2 * 3}.get(
        method, 2 * 3
    )  # a passage is there once
    scores = context_scores(measured.run.ledger, method)
    assert scores.keys() == {"c0", "c1", "c2", "c3"}
    for name, value in scores.items():
        grades = [row.correct for row in answers if row.context_id == name]
        assert len(grades) == each and value == pytest.approx(sum(grades) / each)


def test_what_each_method_trains_on(measured):
    tokens, edits = {}, {}
    for method in METHODS:
        ledger = measured.run.ledger
        tokens[method] = {row.key: row.tokens for row in trainings_in(ledger, held_out(method))}
        edits[method] = ledger.self_edits(held_out(method))
    assert not tokens["base"] and len(tokens["passage"]) == 4 * 2
    assert all(tokens["gold"][key] > tokens["passage"][key] for key in tokens["passage"])
    assert len(tokens["own"]) == len(tokens["seal"]) == 4 * 2 * 2
    assert all(tokens["own"][key] >= tokens["passage"][key] for key in tokens["passage"])
    assert [len(edits[m]) for m in METHODS] == [0, 0, 8, 8, 0]


def test_inner_seeds_are_the_same_for_every_method(measured):
    seeds = [
        {row.key: row.seed for row in trainings_in(measured.run.ledger, held_out(method))}
        for method in METHODS
        if method != "base"
    ]
    most = max(seeds, key=len)
    assert len(set(most.values())) == len(most) == 16
    assert all(of_method.items() <= most.items() for of_method in seeds)


def test_what_is_measured_is_not_measured_again(measured, monkeypatch):
    from selfedit.engine import local
    from selfedit.sampling import local as sampler

    def forbidden(*_, **__):
        raise AssertionError("done again")

    for module, name in [(sampler, "generate"), (local, "adapt"), (local, "generate")]:
        monkeypatch.setattr(module, name, forbidden)
    for method in METHODS:
        evaluate(measured, method, contexts(4))
