from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfedit.tasks.arc.parse import (
    Reason,
    Rejection,
    Tally,
    check_budget,
    parse_self_edit,
    sample_until_valid,
)
from selfedit.tasks.arc.self_edit import CHOICES, ORACLE, ArcSelfEdit, SelfEditSpec, json_schema
from selfedit.tasks.arc.tools import Toolbox

SPEC = SelfEditSpec()
GOOD = {
    "data_generation": {
        "use_basic_augmentations": True,
        "use_size_augmentations": False,
        "use_chain_augmentations": False,
        "use_repeat_augmentations": True,
    },
    "training": {
        "strategy": "train_using_all_tokens",
        "learning_rate": 1e-4,
        "num_train_epochs": 2,
    },
}


def changed(**training: Any) -> str:
    return json.dumps({**GOOD, "training": {**GOOD["training"], **training}})


def raw(learning_rate: str) -> str:
    return changed(learning_rate="HERE").replace('"HERE"', learning_rate)


def without(part: str, key: str) -> str:
    return json.dumps(
        {**GOOD, part: {name: value for name, value in GOOD[part].items() if name != key}}
    )


def reasons(text: str, spec: SelfEditSpec = SPEC) -> tuple[Reason, ...]:
    result = parse_self_edit(text, spec)
    assert isinstance(result, Rejection) and str(result)
    return result.reasons


def test_a_good_one_is_read() -> None:
    expected = ArcSelfEdit(("basic", "repeat"), "all", 1e-4, 2)
    assert parse_self_edit(json.dumps(GOOD), SPEC) == expected
    assert parse_self_edit("\n" + json.dumps(GOOD, indent=2) + " \n", SPEC) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.NOT_JSON),
        ("I would use rotations.", Reason.NOT_JSON),
        ("```json\n" + json.dumps(GOOD) + "\n```", Reason.NOT_JSON),
        (json.dumps(GOOD) + " That is my choice.", Reason.NOT_JSON),
        (json.dumps(GOOD) + json.dumps(GOOD), Reason.NOT_JSON),
        (json.dumps(GOOD).replace("true", "True"), Reason.NOT_JSON),
        ("[" * 100_000, Reason.NOT_JSON),
        (json.dumps(GOOD)[:-1], Reason.CUT_OFF),
        (json.dumps(GOOD)[:60], Reason.CUT_OFF),
        (json.dumps(GOOD)[:20], Reason.CUT_OFF),
        ("null", Reason.NOT_AN_OBJECT),
        ("[1]", Reason.NOT_AN_OBJECT),
        ("3", Reason.NOT_AN_OBJECT),
        ("NaN", Reason.NOT_FINITE),
        ("{}", Reason.MISSING_KEY),
        (without("training", "learning_rate"), Reason.MISSING_KEY),
        (without("data_generation", "use_chain_augmentations"), Reason.MISSING_KEY),
        (changed(rank=8), Reason.EXTRA_KEY),
        (json.dumps({**GOOD, "why": "because"}), Reason.EXTRA_KEY),
        (json.dumps({**GOOD, "\ud800": 1}), Reason.EXTRA_KEY),
        ('{"training": 1, "training": 2}', Reason.DUPLICATE_KEY),
        (json.dumps(GOOD).replace('"learning_rate"', '"num_train_epochs"'), Reason.DUPLICATE_KEY),
        (changed(learning_rate="0.0001"), Reason.WRONG_TYPE),
        (changed(learning_rate=None), Reason.WRONG_TYPE),
        (changed(learning_rate=True), Reason.WRONG_TYPE),
        (changed(num_train_epochs="2"), Reason.WRONG_TYPE),
        (changed(num_train_epochs=2.0), Reason.WRONG_TYPE),
        (changed(num_train_epochs=True), Reason.WRONG_TYPE),
        (json.dumps({**GOOD, "training": []}), Reason.WRONG_TYPE),
        (json.dumps(GOOD).replace("true", "1"), Reason.WRONG_TYPE),
        (raw("NaN"), Reason.NOT_FINITE),
        (raw("-Infinity"), Reason.NOT_FINITE),
        (raw("1e999"), Reason.NOT_FINITE),
        (raw("0"), Reason.OUT_OF_BOUNDS),
        (raw("-0.001"), Reason.OUT_OF_BOUNDS),
        (raw("0.5"), Reason.OUT_OF_BOUNDS),
        (raw("9" * 5000), Reason.OUT_OF_BOUNDS),
        (changed(num_train_epochs=10**9), Reason.OUT_OF_BOUNDS),
        (changed(num_train_epochs=0), Reason.OUT_OF_BOUNDS),
        (changed(strategy="train_on_everything"), Reason.NOT_A_CHOICE),
        (changed(strategy=3), Reason.NOT_A_CHOICE),
    ],
)
def test_a_bad_one_is_refused_for_its_reason(text: str, reason: Reason) -> None:
    assert reasons(text) == (reason,)


def test_every_reason_is_found_at_once_with_its_place() -> None:
    text = changed(learning_rate="fast", num_train_epochs=10**9, rank=8)
    assert set(reasons(text)) == {Reason.WRONG_TYPE, Reason.OUT_OF_BOUNDS, Reason.EXTRA_KEY}
    assert "training.learning_rate" in str(parse_self_edit(text, SPEC))


def test_value_sets_hold_nothing_between() -> None:
    for rate in CHOICES.learning_rates or ():
        assert isinstance(parse_self_edit(changed(learning_rate=rate), CHOICES), ArcSelfEdit)
    assert reasons(changed(learning_rate=3e-4), CHOICES) == (Reason.NOT_A_CHOICE,)
    assert reasons(changed(num_train_epochs=6), CHOICES) == (Reason.NOT_A_CHOICE,)
    assert reasons(changed(num_train_epochs="2"), CHOICES) == (Reason.WRONG_TYPE,)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text() | st.sampled_from([*GOOD, *GOOD["training"], *GOOD["data_generation"]]), inner
        )
    ),
)
NEAR = st.fixed_dictionaries(
    {
        "data_generation": st.fixed_dictionaries(
            {key: st.booleans() | JSON for key in GOOD["data_generation"]}
        ),
        "training": st.fixed_dictionaries(
            {key: st.just(value) | JSON for key, value in GOOD["training"].items()}
        ),
    }
)


@given(st.text() | JSON.map(json.dumps) | NEAR.map(json.dumps), st.sampled_from([SPEC, CHOICES]))
def test_reading_never_raises(text: str, spec: SelfEditSpec) -> None:
    result = parse_self_edit(text, spec)
    assert isinstance(result, ArcSelfEdit) or (result.problems and str(result))


@given(st.integers(0, len(json.dumps(GOOD)) - 1), st.text(max_size=3), st.integers(0, 4))
def test_reading_what_was_good_once_never_raises(place: int, put: str, gone: int) -> None:
    text = json.dumps(GOOD)
    assert isinstance(
        parse_self_edit(text[:place] + put + text[place + gone :], SPEC), ArcSelfEdit | Rejection
    )


@given(
    st.sets(st.sampled_from(["basic", "size", "chain", "repeat"])),
    st.sampled_from(["all", "output"]),
    st.integers(1, 10_000),
    st.integers(1, 375),
)
def test_what_is_written_is_read_back(
    families: set[str], loss_on: Any, rate: int, epochs: int
) -> None:
    ordered = tuple(family for family in ("basic", "size", "chain", "repeat") if family in families)
    edit = ArcSelfEdit(ordered, loss_on, rate * 1e-6, epochs)
    again = parse_self_edit(edit.to_json(), SPEC)
    assert isinstance(again, ArcSelfEdit)
    assert again.learning_rate == pytest.approx(edit.learning_rate, rel=1e-9)
    assert (again.families, again.loss_on, again.epochs) == (ordered, loss_on, epochs)
    assert " " not in edit.to_json() and "e-" not in edit.to_json()


def test_the_oracle_fits_every_spec_of_ours() -> None:
    for spec in (SPEC, CHOICES):
        assert parse_self_edit(ORACLE.to_json(), spec) == ORACLE
        assert check_budget(ORACLE, 250, spec) == ORACLE


def test_the_step_budget() -> None:
    # 250 examples in twos are 125 steps an epoch: 3 epochs are exactly the published 375
    fits, over = (ArcSelfEdit((), "all", 1e-4, epochs) for epochs in (3, 4))
    assert SPEC.steps(250, 3) == 375 and SPEC.steps(251, 3) == 378
    assert check_budget(fits, 250, SPEC) is fits
    refused = check_budget(over, 250, SPEC)
    assert isinstance(refused, Rejection) and refused.reasons == (Reason.TOO_MANY_STEPS,)
    assert "500 optimiser steps, at most 375" in str(refused)


def test_reasons_are_counted_and_tries_are_bounded() -> None:
    tally = Tally()
    texts = iter(["no", changed(rank=8, num_train_epochs=0), json.dumps(GOOD), "never read"])
    assert sample_until_valid(lambda: next(texts), SPEC, tally, tries=5) == parse_self_edit(
        json.dumps(GOOD), SPEC
    )
    assert (tally.accepted, tally.rejected) == (1, 2)
    assert tally.reasons == {Reason.NOT_JSON: 1, Reason.EXTRA_KEY: 1, Reason.OUT_OF_BOUNDS: 1}
    assert sample_until_valid(lambda: "no", SPEC, tally, tries=7) is None
    assert tally.reasons[Reason.NOT_JSON] == 8


def test_a_users_tool_appears_in_schema_and_parser() -> None:
    box = Toolbox.builtin()
    before = json_schema(SPEC, box)
    box.tool("swap", family="mine")(lambda cells: cells)
    generation = json_schema(SPEC, box)["$defs"]["DataGeneration"]
    assert "use_mine_augmentations" in generation["required"]
    assert "use_mine_augmentations" not in str(before)
    text = ArcSelfEdit(("mine",), "output", 1e-3, 1).to_json(box)
    assert parse_self_edit(text, SPEC, box) == ArcSelfEdit(("mine",), "output", 1e-3, 1)
    missing = parse_self_edit(json.dumps(GOOD), SPEC, box)
    assert isinstance(missing, Rejection) and missing.reasons == (Reason.MISSING_KEY,)


def test_the_schema_says_what_the_parser_asks() -> None:
    schema = json_schema(CHOICES)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False and set(part["required"]) == set(
            part["properties"]
        )
    training = schema["$defs"]["Training"]["properties"]
    assert training["learning_rate"]["enum"] == [1e-4, 5e-4, 1e-3, 2e-3, 5e-3]
    assert training["num_train_epochs"]["enum"] == [1, 2, 3, 4, 5]
    free = json_schema(SPEC)["$defs"]["Training"]["properties"]
    assert (free["learning_rate"]["minimum"], free["learning_rate"]["maximum"]) == (1e-6, 1e-2)
    assert free["num_train_epochs"]["maximum"] == 375


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate_min": 1e-2, "learning_rate_max": 1e-3},
        {"learning_rates": ()},
        {"learning_rates": (0.0,)},
        {"learning_rates": (float("nan"),)},
        {"epochs": (0,)},
        {"max_steps": 0},
        {"learning_rate_max": float("inf")},
        {"rank": 8},
    ],
)
def test_a_wrong_spec_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="SelfEditSpec"):
        SelfEditSpec(**wrong)
